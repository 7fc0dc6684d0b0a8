"""What this machine has, in ten lines, and what to do about each problem. Nothing is mended here.

A part that is broken becomes its own line: whatever is wrong with PyTorch, the other lines still stand.
"""

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from medattack_edu import __version__, container, runtime
from medattack_edu import cache as cache_files

GB = 1e9
OLDEST_PYTHON = (3, 11)
LEAST_MEMORY = 1 * GB  # under this the lightest lesson's kernel is killed; the heaviest peaks at 1.5 GiB
LEAST_DISK = 1 * GB  # phantoms, victims and fetched images of three clinics, with room to write them
SIZE = 128
INSTALL_ANEW = "Install it anew: delete the folder .venv, then make lab (with conda: make the environment anew)."


class Finding(NamedTuple):
    """What was found, and what to do about it; `advice` is empty where all is well."""

    value: str
    advice: str = ""


def report():
    """Print the ten lines. Returns whether all is well."""
    print(f"medattack {__version__} on {platform.system()} {platform.release()}")
    well = True
    for name, look in LINES.items():
        finding = _look_safely(look)
        print(f"{'look at' if finding.advice else 'ok':>8}  {name:<8} {finding.value}", flush=True)
        if finding.advice:
            well = False
            print(f"{'':>18} -> {finding.advice}")
    return well


def _look_safely(look):
    try:
        return look()
    except runtime.CacheUnavailable as error:
        return Finding(
            "the cache folder can't be written", str(error) if look is cache else "See the line Cache, below."
        )
    except ImportError as error:
        return Finding(f"can't be imported ({_first_line(error)})", INSTALL_ANEW)
    except Exception as error:  # noqa: BLE001  whatever it is, it is this line's news; our own errors say what to do
        return Finding("can't be told", _first_line(error) or type(error).__name__)


def _first_line(error):
    return next(iter(str(error).strip().splitlines()), "")


def python():
    here = f"{platform.python_version()} in {sys.prefix}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding(here, f"The course needs Python {'.'.join(map(str, OLDEST_PYTHON))} or newer.")
    return Finding(here)


def pytorch():
    import torch

    build = f"CUDA {torch.version.cuda} build" if torch.version.cuda else "CPU build"
    here = f"{torch.__version__.partition('+')[0]}, {build}"
    wanted = _pin("torch")
    if wanted and torch.__version__.partition("+")[0] != wanted:
        return Finding(here, f"The course is tested with {wanted}: pip install torch=={wanted}")
    return Finding(here)


def device():
    import torch

    here = runtime.device()  # raises ValueError with advice of its own if MEDATTACK_DEVICE can't be had
    if here.type == "cuda":
        name, free = torch.cuda.get_device_name(here), torch.cuda.mem_get_info(here)[0]
        advice = "" if free >= LEAST_MEMORY else "Stop what else uses the GPU, or set MEDATTACK_DEVICE=cpu."
        return Finding(f"{name}, {free / GB:.1f} GB free", advice)
    return Finding("CPU; every lesson is made for it")


def cores():
    import torch

    granted, threads = container.cores() or runtime.cores(), torch.get_num_threads()
    granted = min(granted, runtime.cores())
    here = f"{granted:g} of {os.cpu_count()}; PyTorch's threads: {threads}"
    if threads > max(1, granted):
        return Finding(
            here, f"More threads than cores slow each other down: set OMP_NUM_THREADS={max(1, int(granted))}"
        )
    return Finding(here)


def memory():
    free, total, limited = runtime.memory()
    here = f"{free / GB:.1f} GB free of {total / GB:.1f} GB" + (" (the container's limit)" if limited else "")
    if free < LEAST_MEMORY:
        return Finding(here, "A lesson needs up to 1.5 GB. Shut down other notebooks and programs.")
    return Finding(here)


def disk():
    folder = runtime.cache_dir()
    free = shutil.disk_usage(folder).free
    here = f"{free / GB:.1f} GB free in the cache folder"
    if free < LEAST_DISK:
        return Finding(here, "The course needs about 1 GB there. Free some, or set MEDATTACK_CACHE to another disk.")
    return Finding(here)


def widgets():
    versions = {name: _version(name) for name in ("ipywidgets", "jupyterlab_widgets", "jupyterlab")}
    missing = [name for name, found in versions.items() if not found]
    here = ", ".join(f"{name} {found or 'missing'}" for name, found in versions.items())
    if missing:
        return Finding(here, f"Sliders will show as text: pip install {' '.join(missing)}")
    if versions["ipywidgets"].split(".")[0] != "8" or versions["jupyterlab_widgets"].split(".")[0] != "3":
        return Finding(here, "These don't go together: pip install 'ipywidgets>=8,<9' 'jupyterlab_widgets>=3,<4'")
    return Finding(here)


def images():
    from medattack_edu.clinics.tasks import TASKS

    clinics, advice = {}, ""
    for name in TASKS:
        source, problem = _images_of(name)
        clinics.setdefault(source, []).append(name)
        advice = advice or problem
    here = "; ".join(f"{', '.join(names)}: {source}" for source, names in clinics.items())
    return Finding(f"{here} (MEDATTACK_IMAGES={runtime.images_setting()})", advice)


def victims():
    from medattack_edu.clinics.tasks import TASKS
    from medattack_edu.models.victims import cached_names

    cached = [
        name for name in cached_names() if cache_files.is_whole(runtime.cache_dir("victims") / f"{name}.safetensors")
    ]
    counts = {name: sum(stem.startswith(f"{name}-victim") for stem in cached) for name in TASKS}
    here = ", ".join(f"{name} {count or 'none'}" for name, count in counts.items())
    waiting = "" if all(counts.values()) else "; trained on first use, or now: medattack prepare"
    return Finding(f"in the cache: {here}{waiting}")


def cache():
    folder, named = runtime.cache_dir(), os.environ.get("MEDATTACK_CACHE")
    if named and Path(named).expanduser() != folder:
        return Finding(f"{folder}, with links to what was prepared in {named}, which may only be read")
    return Finding(str(folder))


LINES = {
    "Python": python,
    "PyTorch": pytorch,
    "Device": device,
    "Cores": cores,
    "Memory": memory,
    "Disk": disk,
    "Widgets": widgets,
    "Images": images,
    "Victims": victims,
    "Cache": cache,
}


def _images_of(name):
    """What `open_clinic(name)` would take, as (words, advice)."""
    from medattack_edu.clinics import folder as images_in_folder
    from medattack_edu.clinics import medmnist, phantoms

    setting = runtime.images_setting()
    root = runtime.data_root()
    fetched = medmnist.is_fetched(name, SIZE)
    if setting == "phantom" or (setting == "auto" and not fetched):
        return "phantoms" if phantoms.place(name, SIZE).exists() else "phantoms, to be drawn on first use", ""
    if setting in ("auto", "medmnist") or (setting == "real" and not root):
        if fetched and not cache_files.is_whole(medmnist.place(name, SIZE)):
            return "MedMNIST, damaged", f"Fetch them anew: medattack fetch {name}"
        advice = "" if fetched else f"Fetch them (medattack fetch {name}), or unset MEDATTACK_IMAGES."
        return f"MedMNIST{'' if fetched else ', not fetched'}", advice
    folder = root if setting == "real" else Path(setting).expanduser()
    variable = "MEDATTACK_DATA" if setting == "real" else "MEDATTACK_IMAGES"
    other = "" if setting == "real" else " Or is it to be one of auto, phantom, medmnist, real?"
    if not any(images_in_folder.holds_train(place) for place in (folder, folder / name)):
        return (
            f"nothing in {folder}",
            f"Set {variable} to a folder that holds {name}/train and {name}/test, or unset it.{other}",
        )
    try:
        images_in_folder.look(folder, name)
    except (ValueError, OSError) as error:
        return f"not as they should be in {folder}", _first_line(error)
    return f"the folder {folder}", ""


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _pin(package):
    """The version of `package` that this installation of medattack asks for, or None."""
    from importlib.metadata import requires

    try:
        wanted = requires("medattack-edu") or []
    except PackageNotFoundError:
        return None
    return next((line.removeprefix(f"{package}==") for line in wanted if line.startswith(f"{package}==")), None)
