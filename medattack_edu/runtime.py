"""What this run stands on: device, threads, random generators and the cache folder. Read once, here and nowhere else.

Nothing about images, models or lessons lives here. PyTorch is imported inside the functions that need it.
"""

import contextlib
import errno
import functools
import math
import os
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path

from medattack_edu import container

PREPARED = (".safetensors", ".json")  # what `medattack prepare` leaves behind
SOURCES = ("auto", "phantom", "medmnist", "real")  # of images; whatever else a setting says is the path of a folder
OWN = ("progress", "jupyter")  # folders of one learner's own, of which nobody reads another's
# Bytes that a network's layers take for each byte of an image, all of them kept for a gradient or each only in passing.
# Networks of the ImageNet kind keep 60 (GoogLeNet, frozen) to 220 (DenseNet-121, as trained).
KEPT, PASSING = 250, 60


class CacheUnavailable(OSError):
    """The cache folder can't be written; the message says which one and what to do."""


def device():
    """The torch device to compute on: ``MEDATTACK_DEVICE``, else CUDA if there is one, else the CPU."""
    import torch

    wanted = os.environ.get("MEDATTACK_DEVICE")
    if not wanted:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"MEDATTACK_DEVICE={wanted}, but this PyTorch sees no GPU. Unset it, or set it to cpu.")
    try:
        here = torch.device(wanted)
    except RuntimeError:
        here = None
    if here is None or here.type not in ("cpu", "cuda"):
        raise ValueError(f"MEDATTACK_DEVICE={wanted!r} is no device of this course. Use cpu or cuda.")
    return here


def device_label():
    """The device in words, for a banner: ``CPU (2 threads)`` or the name of the GPU."""
    import torch

    here = device()
    if here.type == "cuda":
        return torch.cuda.get_device_name(here)
    return f"{here.type.upper()} ({torch.get_num_threads()} threads)"


def cores():
    """Processor cores that this process may use, at least 1 (a container often grants fewer than the machine has)."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = container.cores()
    return here if granted is None else max(1, min(here, int(granted)))


def memory():
    """Bytes that are free, bytes in all, and whether that is a container's limit, which may be tighter than the machine."""
    import psutil

    machine, group = psutil.virtual_memory(), container.memory()
    if group and group.limit - group.used < machine.available:
        return group.limit - group.used, group.limit, True
    return machine.available, machine.total, False


@functools.lru_cache(1)
def _free_lately(second):
    """The free memory when it was first asked for in this second: an attack asks at every step, and the answer takes a millisecond."""
    return memory()[0]


def images_at_once(x, gradient=True, largest=None):
    """How many of the images x (N, C, H, W) a network can take at once in half of the memory that is free, at least 1.

    Args:
        gradient: whether its layers' outputs are kept for a gradient.
        largest: a limit of the caller's own.
    """
    import torch

    if x.device.type == "cuda":  # what PyTorch holds and doesn't use is free for PyTorch
        held = torch.cuda.memory_reserved(x.device) - torch.cuda.memory_allocated(x.device)
        free = torch.cuda.mem_get_info(x.device)[0] + held
    else:
        free = _free_lately(int(time.monotonic()))
    an_image = math.prod(x.shape[1:]) * x.element_size() * (KEPT if gradient else PASSING)
    fitting = max(1, int(free / 2 / max(1, an_image)))
    return fitting if largest is None else min(fitting, largest)


def generator(seed):
    """A CPU random generator with this seed. Draws are made on the CPU, so that they are the same on every device."""
    import torch

    return torch.Generator().manual_seed(seed)


def strict():
    """Whether a failing check or claim raises (``MEDATTACK_STRICT=1``, as the tests of the solutions set it)."""
    return os.environ.get("MEDATTACK_STRICT", "") == "1"


def images_setting():
    """Which images `open_clinic` takes when it isn't told: ``MEDATTACK_IMAGES``, else ``auto``."""
    return os.environ.get("MEDATTACK_IMAGES") or "auto"


def anchor_paths():
    """Make the relative paths in this process's settings absolute, for the kernels that it starts in other folders."""
    for name in ("MEDATTACK_DATA", "MEDATTACK_CACHE", "MEDATTACK_IMAGES"):
        if value := os.environ.get(name):
            os.environ[name] = (
                anchored(value) if name == "MEDATTACK_IMAGES" else str(Path(value).expanduser().absolute())
            )


def anchored(images):
    """What ``images=`` may be, the path of a folder made absolute."""
    return images if images in SOURCES else str(Path(images).expanduser().absolute())


def data_root():
    """The folder that holds a tree of real images for each clinic (``MEDATTACK_DATA``), or None."""
    root = os.environ.get("MEDATTACK_DATA")
    return Path(root).expanduser() if root else None


def cache_dir(*parts):
    """A folder under ``MEDATTACK_CACHE`` or the user's cache folder, made if it isn't there.

    A cache that somebody else has prepared and that may only be read, as on a hub, is read all the same: the folder is then
    one under the user's own cache folder, with a link to each prepared file, and what is missing is made and kept there.

    Raises:
        CacheUnavailable: if it can neither be made nor read.
    """
    import platformdirs

    users = platformdirs.user_cache_path("medattack")
    named = os.environ.get("MEDATTACK_CACHE")
    root = Path(named).expanduser() if named else users
    folder = root.joinpath(*parts)
    if _can_be_written(folder):
        return folder
    if root.is_dir() and os.access(root, os.R_OK | os.X_OK):
        own = users.joinpath(*parts)
        if _can_be_written(own) and _linked(folder, own, shared=not set(parts) & set(OWN)):
            return own
        if folder.is_dir():
            return folder  # for reading alone; whoever has to write is told by `atomic_path`
    raise CacheUnavailable(_unwritable(f"The cache folder {folder} can't be written."))


def _can_be_written(folder):
    """Whether the folder is there, or could be made now, and takes files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.access(folder, os.W_OK)
    except OSError:
        return False


def _linked(prepared, own, shared):
    """Link every prepared file into the own folder; False where the system makes no links. What is there already stays."""
    for path in prepared.rglob("*") if shared else ():
        inside = path.relative_to(prepared)
        if path.suffix not in PREPARED or path.name.startswith(".") or set(inside.parts) & set(OWN):
            continue
        link = own / inside
        if link.exists():
            continue
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            if link.is_symlink():  # to a prepared folder that has moved
                link.unlink(missing_ok=True)
            with contextlib.suppress(FileExistsError):  # another kernel was faster
                link.symlink_to(path.resolve())
        except OSError:
            return False
    return True


def _unwritable(what):
    """What is wrong, and what to do about it."""
    example = f"MEDATTACK_CACHE={Path(tempfile.gettempdir()) / 'medattack'}"
    return f"{what} Set MEDATTACK_CACHE to a folder that can, for example {example}."


def check_folder(path):
    """See to it, before the work whose results go there, that files can be written into a folder. Nothing is made yet.

    Raises:
        ValueError: if they can't.
    """
    path = Path(path).absolute()
    there = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise ValueError(f"{there} is no folder, so nothing can be written into {path}. Choose another place.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"The folder {there} can't be written. Choose another place.")


@contextmanager
def atomic_path(path):
    """Write a file whole or not at all: yields a temporary path beside `path` and renames it when the block succeeds.

    A reader never meets half a file, and two processes that write the same file both succeed. The file may be read by
    whom this user's files may be read by: some libraries write theirs for the user alone, and a cache is shared.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    usual = _usual_mode(temporary)
    try:
        yield temporary
        temporary.chmod(usual)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise CacheUnavailable(
                f"The disk is full, so {path.name} couldn't be written. Free some space in {path.parent}, or set "
                "MEDATTACK_CACHE to a folder on another disk."
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _usual_mode(path):
    """The permissions that a new file gets at this path, which isn't there; nothing stays there.

    Raises:
        CacheUnavailable: if none may be made there.
    """
    try:
        path.touch()
        mode = path.stat().st_mode
        path.unlink()
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise CacheUnavailable(_unwritable(f"The folder {path.parent} can't be written.")) from error
        raise
    return mode
