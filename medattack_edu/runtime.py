"""What this run stands on: device, threads, random generators and the cache folder. Read once, here and nowhere else.

Nothing about images, models or lessons lives here. PyTorch is imported inside the functions that need it.
"""

import errno
import os
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path

from medattack_edu import container


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
        return torch.device(wanted)
    except RuntimeError as error:
        raise ValueError(f"MEDATTACK_DEVICE={wanted!r} is no device. Use cpu or cuda.") from error


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


def data_root():
    """The folder that holds a tree of real images for each clinic (``MEDATTACK_DATA``), or None."""
    root = os.environ.get("MEDATTACK_DATA")
    return Path(root).expanduser() if root else None


def cache_dir(*parts):
    """A folder under ``MEDATTACK_CACHE`` or the user's cache folder, made if it isn't there.

    Raises:
        CacheUnavailable: if it can't be made or written.
    """
    root = os.environ.get("MEDATTACK_CACHE")
    if root:
        root = Path(root).expanduser()
    else:
        import platformdirs

        root = platformdirs.user_cache_path("medattack")
    folder = root.joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise CacheUnavailable(
            f"The cache folder {folder} can't be written. Set MEDATTACK_CACHE to a folder that can, for example "
            f"MEDATTACK_CACHE={Path(tempfile.gettempdir()) / 'medattack'}."
        )
    return folder


@contextmanager
def atomic_path(path):
    """Write a file whole or not at all: yields a temporary path beside `path` and renames it when the block succeeds.

    A reader never meets half a file, and two processes that write the same file both succeed.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
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
