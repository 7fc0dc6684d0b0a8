"""`download`: against a server on this machine that cuts, refuses, lies and asks for passwords."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest
from file_server import serve
from filelock import FileLock

from medattack_edu.clinics import download as module
from medattack_edu.clinics.download import ChecksumError, DownloadError, download

CONTENT = bytes(range(256)) * 4000
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server():
    with serve(CONTENT) as file:
        yield file


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.npz"


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """How long it would have waited before each new try, in seconds. No proxy, unless a test sets one."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    waited = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    return waited


def part_of(path):
    return path.with_name(f"{path.name}.part")


def left_in(folder):
    """What lies in the folder, but for the lock, which is empty."""
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock")


def test_a_file_arrives_whole_and_nothing_else_is_left(server, path, capfd):
    assert download(server.url, path, md5=MD5, label="Retina") == path
    assert path.read_bytes() == CONTENT
    assert left_in(path.parent) == ["file.npz"]
    assert "Retina: 100%" in capfd.readouterr().err


def test_a_file_that_is_there_is_not_fetched_again(server, path):
    download(server.url, path, md5=MD5)
    download(server.url, path, md5=MD5)
    assert len(server.asked) == 1


def test_a_file_that_is_there_but_damaged_is_fetched_again(server, path, capsys):
    path.write_bytes(CONTENT[:-1] + b"!")
    download(server.url, path, md5=MD5)
    assert path.read_bytes() == CONTENT
    assert "damaged" in capsys.readouterr().out


def test_after_a_cut_only_the_rest_is_asked_for_and_sent(server, path):
    server.cuts = [300_000]
    download(server.url, path, md5=MD5)
    assert path.read_bytes() == CONTENT
    assert [asked.get("Range") for asked in server.asked] == [None, "bytes=300000-"]
    assert server.asked[1]["If-Range"] == '"one"'
    assert server.sent == [300_000, len(CONTENT) - 300_000]


def test_many_cuts_are_survived_as_long_as_each_try_brings_something(server, path):
    server.cuts = [100_000] * (module.TRIES + 3)
    download(server.url, path, md5=MD5)
    assert path.read_bytes() == CONTENT
    assert sum(server.sent) == len(CONTENT)


def test_tries_that_bring_nothing_come_to_an_end_and_keep_what_arrived(server, path, pauses):
    server.cuts = [300_000] + [0] * module.TRIES
    with pytest.raises(DownloadError, match="cut after 0.3 MB of 1.02 MB.*goes on from there"):
        download(server.url, path, md5=MD5)
    assert not path.exists()
    assert part_of(path).stat().st_size == 300_000
    assert pauses == [1, 2, 4, 8]
    server.cuts = []
    download(server.url, path, md5=MD5)
    assert path.read_bytes() == CONTENT
    assert server.asked[-1]["Range"] == "bytes=300000-"


def test_a_server_that_sends_no_parts_begins_again_and_says_so(server, path, capsys):
    server.ranges, server.cuts = False, [300_000]
    download(server.url, path, md5=MD5)
    assert path.read_bytes() == CONTENT
    assert server.sent == [300_000, len(CONTENT)]
    assert "begins again" in capsys.readouterr().out


def test_a_server_that_sends_no_parts_and_always_cuts_is_given_up(server, path):
    server.ranges, server.cuts = False, [300_000] * 20
    with pytest.raises(DownloadError, match="tries brought nothing new"):
        download(server.url, path, md5=MD5)
    assert len(server.asked) == module.TRIES + 1


def test_a_file_that_has_changed_since_begins_again(server, path):
    server.cuts = [300_000] + [0] * module.TRIES
    with pytest.raises(DownloadError):
        download(server.url, path, md5=MD5)
    newer = CONTENT[::-1]
    server.content, server.etag, server.cuts = newer, '"two"', []
    download(server.url, path, md5=hashlib.md5(newer).hexdigest())
    assert path.read_bytes() == newer
    assert server.asked[-1]["If-Range"] == '"one"'
    assert server.sent[-1] == len(newer)


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_mark_it_resumes_on_trust_and_the_checksum_decides(server, path, etag):
    server.etag, server.cuts = etag, [300_000]
    download(server.url, path, md5=MD5)
    assert path.read_bytes() == CONTENT
    assert "If-Range" not in server.asked[1]
    assert sum(server.sent) == len(CONTENT)


def test_a_part_longer_than_the_file_is_thrown_away(server, path):
    part_of(path).write_bytes(CONTENT + b"more")
    download(server.url, path, md5=MD5)
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_the_whole_file_needs_no_network(server, path):
    part_of(path).write_bytes(CONTENT)
    download(server.url, path, md5=MD5)
    assert path.read_bytes() == CONTENT
    assert server.asked == []


def test_another_part_than_the_one_asked_for_is_not_appended(server, path):
    part_of(path).write_bytes(CONTENT[:1000])
    server.answers = [(206, {"Content-Range": f"bytes 900-999/{len(CONTENT)}"}, CONTENT[900:1000])]
    download(server.url, path, md5=MD5)
    assert path.read_bytes() == CONTENT


def test_a_wrong_checksum_is_said_and_nothing_is_kept(server, path):
    with pytest.raises(ChecksumError, match=f"MD5 is {MD5}.*publisher says 0000.*deleted"):
        download(server.url, path, md5="0" * 32)
    assert left_in(path.parent) == []


def test_a_wrong_checksum_is_a_value_error_and_a_download_error():
    assert issubclass(ChecksumError, ValueError) and issubclass(ChecksumError, DownloadError)


def test_too_little_disk_is_noticed_before_the_first_byte(server, path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 3_000_000))
    with pytest.raises(DownloadError, match=r"needs 3\.02 MB on the disk; .* has 3 MB free.*MEDATTACK_CACHE"):
        download(server.url, path, md5=MD5, room=2_000_000)
    assert part_of(path).stat().st_size == 0


def test_a_disk_that_fills_up_on_the_way_is_said(server, path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_append", full)
    with pytest.raises(DownloadError, match="disk is full.*MEDATTACK_CACHE"):
        download(server.url, path, md5=MD5)


def test_a_busy_server_is_asked_again_when_it_wants_to_be(server, path, pauses):
    server.answers = [(503, {}, b""), (429, {"Retry-After": "7"}, b""), (503, {"Retry-After": "86400"}, b"")]
    download(server.url, path, md5=MD5)
    assert path.read_bytes() == CONTENT
    assert pauses == [2, 7, module.LONGEST_PAUSE]


def test_a_server_that_stays_busy_is_given_up(server, path):
    server.answers = [(503, {}, b"")] * 20
    with pytest.raises(DownloadError, match="127.0.0.1 answered 503 .Service Unavailable.*Try later"):
        download(server.url, path, md5=MD5)
    assert len(server.asked) == module.TRIES


@pytest.mark.parametrize("status, advice", [(404, "has moved.*Update the package"), (403, "in a browser")])
def test_a_refusal_is_not_repeated(server, path, status, advice):
    server.answers = [(status, {}, b"")]
    with pytest.raises(DownloadError, match=f"answered {status}.*{advice}"):
        download(server.url, path, md5=MD5)
    assert len(server.asked) == 1


def test_a_login_page_is_not_taken_for_the_file(server, path):
    server.answers = [(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Welcome to the hospital</html>")]
    with pytest.raises(DownloadError, match="web page came instead"):
        download(server.url, path, md5=MD5)
    assert left_in(path.parent) == []


@pytest.mark.parametrize("url", ["http://zenodo.example/file.npz", "https://zenodo.example/file.npz"])
def test_a_proxy_that_wants_a_password_is_named_without_giving_one_away(server, path, monkeypatch, url):
    proxy = server.url.removeprefix("http://").partition("/")[0]
    monkeypatch.setenv("http_proxy", f"http://kim:secret@{proxy}")
    monkeypatch.setenv("https_proxy", f"http://kim:secret@{proxy}")
    server.answers = [(407, {}, b"")] if url.startswith("http:") else []
    with pytest.raises(DownloadError, match=f"proxy {proxy} asks for a name and a password") as caught:
        download(url, path, md5=MD5)
    assert "secret" not in str(caught.value)


def test_a_proxy_is_used_and_its_502_is_told_as_such(server, path, monkeypatch):
    proxy = server.url.removeprefix("http://").partition("/")[0]
    monkeypatch.setenv("http_proxy", f"http://{proxy}")
    server.answers = [(502, {}, b"")] * 20
    with pytest.raises(DownloadError, match=f"The proxy {proxy} or zenodo.example answered 502"):
        download("http://zenodo.example/file.npz", path, md5=MD5)
    assert server.asked[0]["Host"] == "zenodo.example"


def test_a_proxy_that_is_not_there_is_told(path, monkeypatch):
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{unused_port()}")
    with pytest.raises(DownloadError, match="The proxy 127.0.0.1:.* doesn't lead to zenodo.example .*Check HTTP_PROXY"):
        download("https://zenodo.example/file.npz", path, md5=MD5)


def test_a_proxy_set_after_a_failure_is_used_by_the_next_call(server, path, monkeypatch):
    url = f"http://127.0.0.1:{unused_port()}/file.npz"
    with pytest.raises(DownloadError, match="set HTTPS_PROXY"):
        download(url, path, md5=MD5)
    monkeypatch.setenv("http_proxy", server.url.rpartition("/")[0])
    download(url, path, md5=MD5)
    assert path.read_bytes() == CONTENT


def test_no_proxy_is_honoured(server, path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    download(server.url, path, md5=MD5)
    assert path.read_bytes() == CONTENT


def test_being_offline_is_told_at_once(path, monkeypatch, pauses):
    def no_such_name(*_, **__):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    with pytest.raises(DownloadError, match="zenodo.example wasn't found: this machine seems to be offline"):
        download("https://zenodo.example/file.npz", path, md5=MD5)
    assert pauses == []
    assert not path.exists()


def test_a_server_that_refuses_connections_is_told(path):
    with pytest.raises(DownloadError, match="127.0.0.1 can't be reached .*behind a proxy, set HTTPS_PROXY"):
        download(f"http://127.0.0.1:{unused_port()}/file.npz", path, md5=MD5)


def test_a_silent_server_is_not_waited_for_for_ever(path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.05)
    cut = "connection to 127.0.0.1 was cut.*tries brought nothing new"
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DownloadError, match=cut):
        download(f"http://127.0.0.1:{silent.getsockname()[1]}/file.npz", path, md5=MD5)


def test_a_certificate_that_is_not_trusted_is_told(path, monkeypatch):
    error = module.ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate in certificate chain"

    def distrust(*_, **__):
        raise error

    monkeypatch.setattr(module.http.client.HTTPSConnection, "connect", distrust)
    with pytest.raises(DownloadError, match="isn't trusted .self-signed.*SSL_CERT_FILE"):
        download("https://zenodo.example/file.npz", path, md5=MD5)


def test_errors_hide_the_frames_of_the_libraries_below(path):
    with pytest.raises(DownloadError) as caught:
        download(f"http://127.0.0.1:{unused_port()}/file.npz", path, md5=MD5)
    assert caught.value.__suppress_context__


def test_two_at_once_do_not_mix_their_bytes(server, path):
    with FileLock(f"{path}.lock"), pytest.raises(DownloadError, match="being fetched by another program"):
        download(server.url, path, md5=MD5)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system can't kill a process on the spot")
def test_a_process_killed_halfway_is_taken_up_where_it_was(server, path):
    program = textwrap.dedent(f"""
        import os, signal
        from medattack_edu.clinics import download as module
        append = module._append
        def killed(answer, part, total, label):
            answer.read = lambda size, read=answer.read: read(size) if part.path.stat().st_size < 200_000 else die()
            append(answer, part, total, label)
        def die():
            os.kill(os.getpid(), signal.SIGKILL)
        module._append = killed
        module.download({server.url!r}, {str(path)!r}, md5={MD5!r})
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", program], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    kept = part_of(path).stat().st_size
    assert not path.exists() and kept >= 200_000
    download(server.url, path, md5=MD5)
    assert path.read_bytes() == CONTENT
    assert server.asked[-1]["Range"] == f"bytes={kept}-"
    assert server.sent[-1] == len(CONTENT) - kept


def test_an_interrupt_keeps_what_arrived(server, path, monkeypatch):
    server.cuts = [300_000]

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        download(server.url, path, md5=MD5)
    assert part_of(path).stat().st_size == 300_000


def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
