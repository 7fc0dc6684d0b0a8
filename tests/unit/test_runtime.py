"""Device, cache folder, settings and whole files."""

import errno
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from medattack_edu import container, runtime

ROOT = Path(__file__).parents[2]
NOBODY = 65534  # the user without rights, as Linux numbers it


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


@pytest.mark.parametrize(
    ("wanted", "said"), [("cuda", "sees no GPU"), ("abacus", "is no device of this course. Use cpu or cuda")]
)
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


@pytest.mark.parametrize("limit, free", [(None, 8e9), (2e9, 1.5e9), (64e9, 8e9)])
def test_memory_is_the_machines_or_what_the_container_leaves_of_it(monkeypatch, limit, free):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8e9, total=16e9))
    monkeypatch.setattr(container, "memory", lambda: limit and container.Memory(limit=limit, used=0.5e9))
    assert runtime.memory()[0] == free and runtime.memory()[2] is (limit == 2e9)


@pytest.mark.parametrize("free, with_gradient, without", [(20e9, 203, 847), (400e6, 4, 16), (1e6, 1, 1)])
def test_as_many_images_at_once_as_fit_into_half_of_the_free_memory(monkeypatch, free, with_gradient, without):
    monkeypatch.setattr(runtime, "memory", lambda: (free, 32e9, False))
    runtime._free_lately.cache_clear()
    x = torch.zeros(3, 3, 128, 128)
    assert runtime.images_at_once(x) == with_gradient and runtime.images_at_once(x, gradient=False) == without
    assert runtime.images_at_once(x[:0], largest=16) == min(16, with_gradient)
    runtime._free_lately.cache_clear()


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


# A cache that somebody else has prepared, and that may only be read


@pytest.fixture
def read_only(monkeypatch):
    """A function that makes a folder answer as one on a disk mounted for reading; modes alone don't stop root."""
    access, mkdir, touch = os.access, Path.mkdir, Path.touch

    def read_only(folder):
        def refuse(path):
            if Path(path).is_relative_to(folder):
                raise OSError(errno.EROFS, "Read-only file system")

        def make(path, *arguments, **options):
            if not path.is_dir():
                refuse(path)
            return mkdir(path, *arguments, **options)

        def touched(path, *arguments, **options):
            refuse(path)
            return touch(path, *arguments, **options)

        def allowed(path, mode, **options):
            writes = mode & os.W_OK and Path(path).is_relative_to(folder)
            return not writes and access(path, mode, **options)

        monkeypatch.setattr(os, "access", allowed)
        monkeypatch.setattr(Path, "mkdir", make)
        monkeypatch.setattr(Path, "touch", touched)

    return read_only


@pytest.fixture
def hub(monkeypatch, tmp_path, read_only):
    """A cache as an administrator leaves it, which `MEDATTACK_CACHE` names, and the learner's own: (prepared, own)."""
    import platformdirs

    prepared, own = tmp_path / "prepared", tmp_path / "home" / "medattack"
    for name in ("victims/a.safetensors", "studies/b.json", "progress/progress.json", "victims/a.safetensors.lock"):
        (prepared / name).parent.mkdir(parents=True, exist_ok=True)
        (prepared / name).write_text("theirs")
    monkeypatch.setenv("MEDATTACK_CACHE", str(prepared))
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: own)
    read_only(prepared)
    return prepared, own


def test_a_prepared_cache_is_read_where_it_cannot_be_written_and_what_is_missing_goes_to_the_learners_own(hub):
    prepared, own = hub
    folder = runtime.cache_dir("victims")
    assert folder == own / "victims" and [path.name for path in folder.iterdir()] == ["a.safetensors"]
    assert (folder / "a.safetensors").read_text() == "theirs"
    for name in ("a.safetensors", "new.safetensors"):  # one that was damaged, say, and one that was missing
        with runtime.atomic_path(folder / name) as temporary:
            temporary.write_text("mine")
        assert (runtime.cache_dir("victims") / name).read_text() == "mine"
    assert runtime.cache_dir("folders").is_dir(), "one that nobody has prepared"
    assert (prepared / "victims/a.safetensors").read_text() == "theirs"
    assert {path.name for path in prepared.iterdir()} == {"victims", "studies", "progress"}


def test_the_whole_of_a_prepared_cache_is_seen_but_nobody_elses_progress(hub):
    _, own = hub
    assert runtime.cache_dir() == own
    assert {path.relative_to(own).as_posix() for path in own.rglob("*.*")} == {
        "victims/a.safetensors",
        "studies/b.json",
    }
    assert list(runtime.cache_dir("progress").iterdir()) == []


def test_a_prepared_cache_that_has_moved_is_found_again(hub):
    prepared, own = hub
    runtime.cache_dir("victims")
    (own / "victims/a.safetensors").unlink()
    (own / "victims/a.safetensors").symlink_to(prepared / "gone")
    assert (runtime.cache_dir("victims") / "a.safetensors").read_text() == "theirs"


@pytest.mark.parametrize("reason", ["no home", "no links"])
def test_without_a_folder_of_ones_own_it_is_read_and_said_when_something_would_have_to_be_written(
    hub, read_only, monkeypatch, reason
):
    prepared, own = hub
    if reason == "no home":
        monkeypatch.setattr("platformdirs.user_cache_path", lambda name: prepared / "nowhere")
    else:
        monkeypatch.setattr(Path, "symlink_to", lambda *_: (_ for _ in ()).throw(OSError("no right to make links")))
    folder = runtime.cache_dir("victims")
    assert folder == prepared / "victims" and (folder / "a.safetensors").read_text() == "theirs"
    with pytest.raises(runtime.CacheUnavailable, match="prepared/victims can't be written. Set MEDATTACK_CACHE"):
        with runtime.atomic_path(folder / "new.safetensors"):
            pass


def test_victims_and_phantoms_of_a_prepared_cache_are_neither_trained_nor_drawn_again(tmp_path, read_only, monkeypatch):
    from medattack_edu.clinics import phantoms
    from medattack_edu.clinics.images import ImageSet
    from medattack_edu.models import victims

    prepared, own = tmp_path / "prepared", tmp_path / "own"
    monkeypatch.setenv("MEDATTACK_CACHE", str(prepared))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: own)
    monkeypatch.setattr(phantoms, "SPLITS", {split: (4, seed) for split, (_, seed) in phantoms.SPLITS.items()})
    few = ImageSet(torch.zeros(4, 3, 64, 64, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), ("normal", "pneumonia"))

    def victim():
        how = {"backbone": "small_cnn", "pretrained": False, "epochs": 1}
        return victims.trained(few, name="chest victim", fingerprint="few", **how).state_dict()

    def never(*_, **__):
        raise AssertionError("made again")

    before, drawn = victim(), phantoms.load("chest", 64)
    read_only(prepared)
    with monkeypatch.context() as nothing_new:
        nothing_new.setattr(victims, "finetune", never)
        nothing_new.setattr(phantoms, "draw_many", never)
        assert all(torch.equal(value, before[name]) for name, value in victim().items())
        assert torch.equal(phantoms.load("chest", 64).test.images, drawn.test.images)
    phantoms.load("derm", 64)
    assert [path.name[:4] for path in (own / "phantoms").glob("*.safetensors") if not path.is_symlink()] == ["derm"]
    assert {path.name[:5] for path in (prepared / "phantoms").iterdir()} == {"chest"}


AS_A_LEARNER = f"""
import os
from pathlib import Path
import filelock, platformdirs, safetensors.torch, torch
from medattack_edu import runtime
from medattack_edu.cache import kept

if os.geteuid() == 0:  # whom no permission stops
    os.setgroups([]), os.setgid({NOBODY}), os.setuid({NOBODY})

def never():
    raise AssertionError("made again")

path = runtime.cache_dir("victims") / "a.safetensors"
assert torch.equal(kept(path, never)["a"], torch.arange(3))
new = runtime.cache_dir("patches") / "new.safetensors"
assert torch.equal(kept(new, lambda: {{"b": torch.ones(2)}})["b"], torch.ones(2))
assert new.is_relative_to(Path(os.environ["XDG_CACHE_HOME"])) and new.is_file()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the user's cache folder is named by XDG_CACHE_HOME on Linux")
def test_tensors_that_one_user_prepared_another_reads_from_a_folder_that_is_closed_to_them():
    from medattack_edu.cache import kept

    with tempfile.TemporaryDirectory(prefix="medattack-hub-") as name:  # pytest's own folders are for one user alone
        hub = Path(name)
        for folder in ("prepared/victims", "home"):
            (hub / folder).mkdir(parents=True)
        kept(hub / "prepared/victims/a.safetensors", lambda: {"a": torch.arange(3)})
        if os.geteuid() == 0:
            os.chown(hub / "home", NOBODY, NOBODY)
        closed = [hub / "prepared/victims", hub / "prepared", hub]
        for folder in closed:
            folder.chmod(0o555)
        places = {"MEDATTACK_CACHE": str(hub / "prepared"), "XDG_CACHE_HOME": str(hub / "home")}
        command = [sys.executable, "-c", AS_A_LEARNER]
        done = subprocess.run(command, env={**os.environ, **places}, cwd=ROOT, capture_output=True, text=True)
        for folder in reversed(closed):
            folder.chmod(0o755)
    assert done.returncode == 0, done.stderr


# Files, whole or not at all


def test_a_file_may_be_read_by_whom_this_users_files_may_be_read_by(tmp_path):
    (tmp_path / "usual").touch()
    with runtime.atomic_path(tmp_path / "a.bin") as temporary:
        temporary.touch(mode=0o600)
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "usual").stat().st_mode


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
