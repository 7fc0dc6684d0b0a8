"""Device, cache folder, settings and whole files."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from medattack_edu import runtime


def test_the_device_is_the_cpu_where_there_is_no_gpu(monkeypatch):
    monkeypatch.delenv("MEDATTACK_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert runtime.device() == torch.device("cpu")
    assert runtime.device_label() == f"CPU ({torch.get_num_threads()} threads)"


def test_the_device_is_the_gpu_where_there_is_one_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.delenv("MEDATTACK_DEVICE", raising=False)
    assert runtime.device().type == "cuda"
    monkeypatch.setenv("MEDATTACK_DEVICE", "cpu")
    assert runtime.device().type == "cpu"


@pytest.mark.parametrize(("wanted", "said"), [("cuda", "sees no GPU"), ("abacus", "is no device. Use cpu or cuda")])
def test_a_device_that_cannot_be_had_is_said(monkeypatch, wanted, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("MEDATTACK_DEVICE", wanted)
    with pytest.raises(ValueError, match=said):
        runtime.device()


def test_the_same_seed_draws_the_same_and_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    assert torch.equal(torch.rand(5, generator=runtime.generator(3)), torch.rand(5, generator=runtime.generator(3)))
    assert not torch.equal(torch.rand(5, generator=runtime.generator(3)), torch.rand(5, generator=runtime.generator(4)))
    assert torch.equal(state, torch.get_rng_state())


def test_cores_are_those_that_this_process_may_use():
    assert 1 <= runtime.cores() <= os.cpu_count()


@pytest.mark.parametrize(("value", "strict"), [(None, False), ("", False), ("0", False), ("1", True)])
def test_strict_mode_is_on_for_1_only(monkeypatch, value, strict):
    if value is None:
        monkeypatch.delenv("MEDATTACK_STRICT", raising=False)
    else:
        monkeypatch.setenv("MEDATTACK_STRICT", value)
    assert runtime.strict() is strict


def test_settings_have_defaults_and_paths_know_the_home(monkeypatch):
    for name in ("MEDATTACK_IMAGES", "MEDATTACK_DATA"):
        monkeypatch.delenv(name, raising=False)
    assert runtime.images_setting() == "auto"
    assert runtime.data_root() is None
    monkeypatch.setenv("MEDATTACK_IMAGES", "phantom")
    monkeypatch.setenv("MEDATTACK_DATA", "~/images")
    assert runtime.images_setting() == "phantom"
    assert runtime.data_root() == Path.home() / "images"


# The cache folder


def test_the_cache_folder_is_made_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path / "new one"))
    assert runtime.cache_dir("a", "b") == tmp_path / "new one" / "a" / "b"
    assert (tmp_path / "new one" / "a" / "b").is_dir()


def test_the_cache_folder_is_the_users_without_the_variable(monkeypatch, tmp_path):
    import platformdirs

    monkeypatch.delenv("MEDATTACK_CACHE")
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    assert runtime.cache_dir() == tmp_path / "medattack"


def test_a_cache_folder_that_cannot_be_made_is_said_with_what_to_do(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path / "file"))
    with pytest.raises(runtime.CacheUnavailable, match=r"file/victims can't be written. Set MEDATTACK_CACHE"):
        runtime.cache_dir("victims")


def test_a_cache_folder_that_cannot_be_written_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)  # for root every folder can be written
    with pytest.raises(runtime.CacheUnavailable, match="can't be written"):
        runtime.cache_dir()


# Files, whole or not at all


def test_a_file_appears_when_the_block_ends_and_nothing_is_left_beside_it(tmp_path):
    with runtime.atomic_path(tmp_path / "a.bin") as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".bin"
        temporary.write_bytes(b"whole")
        assert not (tmp_path / "a.bin").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"whole"


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
def test_a_block_that_fails_leaves_the_old_file(tmp_path, stop):
    (tmp_path / "a.bin").write_bytes(b"old")
    with pytest.raises(stop), runtime.atomic_path(tmp_path / "a.bin") as temporary:
        temporary.write_bytes(b"half")
        raise stop
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_a_full_disk_is_said_with_what_to_do(tmp_path):
    with (
        pytest.raises(runtime.CacheUnavailable, match="disk is full.*MEDATTACK_CACHE"),
        runtime.atomic_path(tmp_path / "a"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_another_error_of_the_system_is_left_as_it_is(tmp_path):
    with pytest.raises(PermissionError), runtime.atomic_path(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "Permission denied")


WRITE_OFTEN = """
import sys
from medattack_edu import runtime
for _ in range(50):
    with runtime.atomic_path(sys.argv[1]) as temporary:
        temporary.write_text(sys.argv[2] * 1000)
"""


def test_two_processes_that_write_the_same_file_never_mix(tmp_path):
    path = tmp_path / "shared"
    path.write_text("a" * 1000)
    writers = [subprocess.Popen([sys.executable, "-c", WRITE_OFTEN, path, letter]) for letter in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        seen.add(path.read_text())
        time.sleep(0.001)
    assert seen <= {"a" * 1000, "b" * 1000}
    assert [writer.returncode for writer in writers] == [0, 0]
    assert [left.name for left in tmp_path.iterdir()] == ["shared"]
