"""Fetching one file: resumed after a cut, checked against its MD5. What the file holds isn't known here.

The standard library's `urllib` does the talking: it finds the proxy and the certificates that the system is set up
with, which is what a hospital network needs.
"""

import errno
import hashlib
import http.client
import os
import re
import shutil
import ssl
import time
from pathlib import Path
from socket import gaierror
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, build_opener, getproxies, proxy_bypass

# Seconds without a byte after which a connection counts as dead.
TIMEOUT = 30
# Tries in a row that bring nothing new, after which the server is given up.
TRIES = 4
# Seconds before a try that brought something is followed by the next; doubled for each that brings nothing.
PAUSE = 1
# A busy server may ask for a longer pause (Retry-After); longer than this nobody watches a bar that stands still.
LONGEST_PAUSE = 60
CHUNK = 1 << 16
# What a later moment may well answer differently (RFC 9110, section 15; RFC 6585 for 429).
TRANSIENT_STATUS = {408, 429, 500, 502, 503, 504}
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}

_KEPT = "What has arrived is kept; the next run goes on from there."
_MAKE_ROOM = "Free some space, or set MEDATTACK_CACHE to a folder on another disk."


class DownloadError(RuntimeError):
    """The file didn't arrive. The message says what came instead and what to do."""


class ChecksumError(DownloadError, ValueError):
    """The file arrived, but it isn't the one that its publisher describes. It has been deleted."""


class _TryAgain(Exception):
    """What stopped this try may be gone in the next. `pause` is what the server asks for, in seconds, or None."""

    def __init__(self, message, pause=None):
        super().__init__(message)
        self.pause = pause


def download(url, path, *, md5, label=None, room=0):
    """Fetch `url` to `path`, with a progress bar, and return the path. A file that is already there and right stays.

    What has arrived is kept in ``<path>.part`` whenever the download stops, for whatever reason; the next call asks
    for the rest only. If the file has changed on the server since, or the server can't send a part, it begins again.

    Args:
        url: where the file is. Proxies are taken from the system or from HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
        path: where the file goes. It appears there when it is complete and its checksum is right, and not before.
        md5: the checksum that the publisher gives, 32 hexadecimal digits.
        label: what the progress bar calls it; default: the name of the file.
        room: bytes that must be free on the disk beside the file itself, for what the caller makes of it.

    Raises:
        ChecksumError: if what arrived has another checksum.
        DownloadError: for everything else that can go wrong on the way.
    """
    from filelock import FileLock, Timeout

    path = Path(path)
    label = label or path.name
    lock = FileLock(f"{path}.lock", timeout=0)
    try:
        with lock:
            if path.exists() and _md5(path) != md5:
                print(f"{path.name} is there but damaged; it is fetched again.")
                path.unlink()
            if not path.exists():
                part = _Part(path)
                if not part.is_whole(md5):
                    _fetch(url, part, label, room)
                _check(part, md5, label)
                part.rename(path)
    except Timeout:
        raise DownloadError(f"{label} is being fetched by another program right now. Wait for that one.") from None
    return path


class _Part:
    """The piece of a file that has arrived so far, and the server's mark of the version that it belongs to."""

    def __init__(self, path):
        self.path = path.with_name(f"{path.name}.part")
        self._mark = path.with_name(f"{path.name}.part.version")

    @property
    def size(self):
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def version(self):
        return self._mark.read_text(encoding="latin-1") if self._mark.exists() else ""

    def is_whole(self, md5):
        return self.path.exists() and _md5(self.path) == md5

    def start(self, version):
        """Empty it, for this version. The old bytes go first: they must never stand beside the new mark."""
        self.discard()
        self._mark.write_text(version, encoding="latin-1")
        self.path.touch()

    def discard(self):
        self.path.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)

    def rename(self, path):
        os.replace(self.path, path)
        self._mark.unlink(missing_ok=True)


def _fetch(url, part, label, room):
    """Fill `part`, trying again as long as tries bring something new. Raises DownloadError."""
    furthest, failures = part.size, 0
    while True:
        try:
            return _receive(url, part, label, room)
        except _TryAgain as problem:
            failures = 0 if part.size > furthest else failures + 1
            furthest = max(furthest, part.size)
            if failures == TRIES:
                raise DownloadError(f"{problem} {TRIES} tries brought nothing new. Try later. {_KEPT}") from None
            pause = PAUSE * 2**failures if problem.pause is None else problem.pause
            print(f"{problem} Next try in {pause} s.")
            time.sleep(pause)


def _receive(url, part, label, room):
    """One try: ask for what `part` lacks and append it. Raises _TryAgain or DownloadError."""
    request = Request(url, headers={"User-Agent": "medattack"})
    if part.size:
        request.add_header("Range", f"bytes={part.size}-")
        if part.version:
            request.add_header("If-Range", part.version)
    try:
        # urllib.request.urlopen would keep the proxies of its first call, so that setting HTTPS_PROXY wouldn't help.
        with build_opener().open(request, timeout=TIMEOUT) as answer:
            _refuse_web_page(answer, url)
            _agree_on_start(answer, part)
            length = answer.headers.get("Content-Length")
            total = part.size + int(length) if length is not None else None
            if total is not None:
                _check_room(part.path.parent, total - part.size, room)
            _append(answer, part, total, label)
    except HTTPError as error:
        with error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and part.size:
                part.discard()
                raise _TryAgain("What was kept of an earlier download doesn't fit the file on the server.", 0) from None
            raise _refusal(error, url) from None
    except URLError as error:
        raise DownloadError(_unreachable(error.reason, url)) from None
    except (TimeoutError, ConnectionError, http.client.HTTPException, ssl.SSLError):
        raise _TryAgain(f"The connection to {_host(url)} was cut.") from None
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise DownloadError(f"The disk is full: {part.path.parent}. {_MAKE_ROOM} {_KEPT}") from None
    if total is not None and part.size < total:
        raise _TryAgain(f"The connection was cut after {_megabytes(part.size)} of {_megabytes(total)}.")


def _agree_on_start(answer, part):
    """Begin `part` anew unless the answer continues it: a server may send everything although a part was asked for."""
    if answer.status == http.client.PARTIAL_CONTENT:
        first = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        if first and int(first[1]) == part.size:
            return
        part.discard()
        raise _TryAgain("The server sent another part of the file than the one asked for.", 0)
    if part.size:
        print("The file begins again: the server can't send a part of it, or has a newer version.")
    # A weak ETag doesn't promise equal bytes and isn't allowed in If-Range (RFC 9110, section 13.1.5).
    etag = answer.headers.get("ETag", "")
    part.start(etag if etag.startswith('"') else answer.headers.get("Last-Modified", ""))


def _append(answer, part, total, label):
    from tqdm.auto import tqdm

    bar = tqdm(desc=label, total=total, initial=part.size, unit="B", unit_scale=True, unit_divisor=1024)
    with bar, open(part.path, "ab") as out:
        while chunk := answer.read(CHUNK):
            out.write(chunk)
            bar.update(len(chunk))


def _check(part, md5, label):
    came = _md5(part.path)
    if came != md5:
        part.discard()
        raise ChecksumError(
            f"{label} arrived damaged: its MD5 is {came}, its publisher says {md5}. It has been deleted. Run it again; "
            "if that gives the same, something between here and the server changes files."
        )


def _check_room(folder, missing, room):
    free = shutil.disk_usage(folder).free
    if missing + room > free:
        raise DownloadError(
            f"This needs {_megabytes(missing + room)} on the disk; {folder} has {_megabytes(free)} free. {_MAKE_ROOM}"
        )


def _refuse_web_page(answer, url):
    if answer.headers.get_content_type() == "text/html":
        raise DownloadError(
            f"A web page came instead of the file, perhaps the login page of your network. Open {url} in a browser, "
            "sign in if you are asked to, and run this again."
        )


def _refusal(error, url):
    """What to raise for an HTTP status that isn't success: _TryAgain or DownloadError."""
    proxy = _proxy(url)
    came = f"{f'The proxy {proxy} or {_host(url)}' if proxy else _host(url)} answered {error.code} ({error.reason})."
    if error.code == http.client.PROXY_AUTHENTICATION_REQUIRED:
        return DownloadError(_proxy_wants_password(proxy))
    if error.code in TRANSIENT_STATUS:
        asked = error.headers.get("Retry-After", "")
        return _TryAgain(came, min(int(asked), LONGEST_PAUSE) if asked.isdecimal() else None)
    if error.code in (http.client.NOT_FOUND, http.client.GONE):
        return DownloadError(f"{came} The file has moved: {url}. Update the package, or fetch from another address.")
    return DownloadError(f"{came} Open {url} in a browser to see why; your network may not let it through.")


def _unreachable(reason, url):
    """One or two sentences for a request that never reached the server. `reason` is an exception or a text."""
    host, proxy = _host(url), _proxy(url)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            f"The certificate that came for {host} isn't trusted ({reason.verify_message}). If your network inspects "
            "traffic, set SSL_CERT_FILE to its certificate file (ask your IT department)."
        )
    if "Tunnel connection failed: 407" in str(reason):
        return _proxy_wants_password(proxy)
    if proxy:
        return f"The proxy {proxy} doesn't lead to {host} ({reason}). Check HTTP_PROXY and HTTPS_PROXY. {_KEPT}"
    if isinstance(reason, gaierror):
        return f"{host} wasn't found: this machine seems to be offline. Connect it, or set HTTPS_PROXY. {_KEPT}"
    return f"{host} can't be reached ({reason}). Check the network; behind a proxy, set HTTPS_PROXY. {_KEPT}"


def _proxy_wants_password(proxy):
    return (
        f"The proxy {proxy} asks for a name and a password (407). Set HTTP_PROXY and HTTPS_PROXY to "
        "http://NAME:PASSWORD@HOST:PORT and run this again."
    )


def _proxy(url):
    """``host:port`` of the proxy that `url` is fetched through, without name and password; None if there is none."""
    parts = urlsplit(url)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    proxy = getproxies().get(parts.scheme, "")
    return proxy.rpartition("@")[2].removeprefix(f"{urlsplit(proxy).scheme}://").rstrip("/") or None


def _host(url):
    return urlsplit(url).hostname or url


def _md5(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _megabytes(size):
    return f"{size / 1e6:.3g} MB"
