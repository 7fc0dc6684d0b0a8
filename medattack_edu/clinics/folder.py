"""Your own images: a tree of `train/CLASS/*.jpg` and `test/CLASS/*.jpg` as `Splits`. Nothing is downloaded or guessed.

This is the tree that `torchvision.datasets.ImageFolder` reads; its import (3 s) isn't needed to read it.
"""

import dataclasses
import hashlib
import re
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm.auto import tqdm

from medattack_edu import runtime
from medattack_edu.clinics import store
from medattack_edu.picture_files import to_8_bit

# The endings that ImageFolder accepts.
ENDINGS = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
# Pictures as well, of kinds that aren't read: whoever has them among the others is told.
UNREAD = {".avif", ".dcm", ".dicom", ".gif", ".heic", ".heif", ".jp2", ".jxl", ".nii"}
# Folder names, as `_plain` writes them, that say which class they are. Anything else needs `positive=`.
HEALTHY = {
    *("benign", "healthy", "naevus", "negative", "nevus", "no_disease", "no_finding", "non_referable"),
    *("nonreferable", "normal", "not_referable", "nv"),
}
DISEASE = {
    *("abnormal", "disease", "diseased", "malignant", "mel", "melanoma", "pathological", "pneumonia"),
    *("positive", "referable", "sick"),
}
# Every image stays in memory as bytes. A free Binder kernel has 2 GB, and PyTorch and a model take one of them.
MOST_BYTES = 1 << 30
HALVING_SEED = 0
# How many files a message names.
NAMED = 5
# Part of the cache key: raise it when an image would be decoded differently than before.
DECODER_VERSION = 1


def load(path, size=128, name=None, positive=None):
    """The images in a folder as `Splits`.

    The folder holds `train/` and `test/`, and may hold `attacker/` or `val/`; each has one folder for each of the two
    classes. Without `attacker/` and `val/`, the attacker gets half of the training images, drawn at random.

    Each image is turned upright (EXIF), made RGB and 8-bit, scaled until its shorter side is `size`, and its central
    square is kept: what lies further out along the longer side is lost. Transparent parts become black. 16-bit grey
    is scaled so that full white stays white. Of an animation or a stack, the first image counts.

    Decoded images are cached; a folder that hasn't changed opens at once.

    Args:
        path: the folder, or a folder of folders, one of which is called `name`.
        size: pixels a side.
        name: the clinic's name.
        positive: the class folder that holds the disease; needed where the names don't say it.

    Returns:
        `Splits`; class 1 is the disease. The fingerprint depends on pixels, labels and class names alone, not on where
        the folder lies or when its files were written.

    Raises:
        ValueError: if the tree isn't as above, a file can't be read, or the images don't fit into memory.
        OSError: if there is no such folder.
    """
    root = _resolve(path, name)
    found = _find(root)
    _tell_unread(root)
    classes = _order_classes(found["train"], positive)
    files, attacker_from = _deal(found, classes)
    _check_memory(files, size)

    place = _cache_place(root, files, size, classes)
    splits = _read_cache(place)
    if splits is None:
        parts = _decode(root, files, size)
        facts = {
            "classes": classes,
            "source": f"your images in {root.name!r} (attacker: {attacker_from}{_leak(parts)})",
            "licence": "the folder does not say; check before you share",
        }
        _write_cache(place, parts, facts)
        splits = store.assemble(parts, **facts)
    return dataclasses.replace(splits, licence=_licence(root) or splits.licence)


def look(path, name=None, positive=None):
    """Raise what `load` would raise for a tree that isn't as it should be, without reading an image."""
    found = _find(_resolve(path, name))
    _deal(found, _order_classes(found["train"], positive))


def _resolve(path, name):
    """The folder that holds train/: `path`, or the folder called `name` in it."""
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"There is no folder {path}.")
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is a file. Give the folder that holds train/ and test/.")
    for folder in (path / name, path) if name else (path,):
        if holds_train(folder):
            return folder
    holds = ", ".join(child.name for child in _subfolders(path)) or "no folders"
    raise ValueError(f"{path} has no train/; it holds {holds}. Expected: train/CLASS/*.jpg and test/CLASS/*.jpg.")


def holds_train(folder):
    """Whether there is such a folder, with a train/ in it."""
    return folder.is_dir() and any(child.name.casefold() == "train" for child in _subfolders(folder))


def _find(root):
    """The image files, ``{split: {class folder: sorted paths}}``, of train, test and, if they are there, attacker, val."""
    found = {}
    for folder in _subfolders(root):
        split = folder.name.casefold()
        if split in ("train", "test", "attacker", "val"):
            if split in found:
                raise ValueError(
                    f"{root} has two folders that are called {split}, in small letters and in others. Keep one."
                )
            found[split] = {child.name: _images(child) for child in _subfolders(folder)}
    if "test" not in found:
        raise ValueError(f"{root} has no test/. Results are measured on images that no model has seen: put some there.")
    train = found["train"]
    if len(train) != 2:
        raise ValueError(
            f"{root / 'train'} has {len(train)} class folders ({', '.join(train) or 'none'}); the course needs two, "
            "healthy and diseased. Merge them into two, or move away what doesn't belong."
        )
    for split, classes in found.items():
        if classes.keys() != train.keys():
            here, there = _names(classes) or "no class folders", _names(train)
            raise ValueError(f"{split}/ holds {here}, but train/ holds {there}. The same two must be in both.")
        for folder, images in classes.items():
            if not images:
                raise ValueError(f"{root / split / folder} has no images{_what_instead(root / split / folder)}.")
    return found


def _subfolders(folder):
    return sorted(child for child in folder.iterdir() if child.is_dir() and not _is_hidden(child))


def _images(folder):
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.casefold() in ENDINGS
        and path.is_file()
        and not any(_is_hidden(part) for part in (path, *path.relative_to(folder).parents))
    )


def _is_hidden(path):
    """Whether an operating system or program put it there for itself (.DS_Store, ._0001.jpg, __MACOSX)."""
    return path.name.startswith((".", "__"))


def _what_instead(folder):
    endings = Counter(path.suffix for path in folder.rglob("*") if path.is_file() and not _is_hidden(path))
    if not endings:
        return ""
    seen = ", ".join(f"{count} {ending or 'without ending'}" for ending, count in endings.most_common(3))
    return f" that can be read (there are {seen}; readable are {', '.join(sorted(ENDINGS))})"


def _tell_unread(root):
    """Warn of pictures of a kind that isn't read: otherwise they would be missed by nobody."""
    unread = sorted(path for path in root.rglob("*") if path.suffix.casefold() in UNREAD and path.is_file())
    if unread:
        warnings.warn(
            f"{len(unread)} files of {root} are left out, since their kind isn't read, {unread[0].relative_to(root)} being the "
            f"first. Save them as .png to have them too; readable are {', '.join(sorted(ENDINGS))}.",
            stacklevel=3,
        )


def _order_classes(folders, positive):
    """The two folder names, healthy first: by what they are called, or as `positive` says."""
    names = list(folders)
    if positive is not None:
        disease = [name for name in names if _plain(name) == _plain(positive)]
        if len(disease) != 1:
            raise ValueError(f"positive={positive!r}, but the class folders are {_names(names)}. Give one of these.")
    else:
        disease = [name for name in names if _plain(name) in DISEASE]
        healthy = [name for name in names if _plain(name) in HEALTHY]
        if len(disease) != 1 or len(healthy) != 1:
            raise ValueError(
                f"Which of {_names(names)} is the disease? The names don't say. Add positive={names[0]!r} or "
                f"positive={names[1]!r}."
            )
    return tuple(sorted(names, key=lambda name: name == disease[0]))


def _plain(name):
    """Not-Referable, "not referable" and NOT_REFERABLE are one name."""
    return re.sub(r"[\W_]+", "_", str(name).casefold()).strip("_")


def _names(names):
    return " and ".join(map(repr, names))


def _deal(found, classes):
    """Who gets which files: ``{split: [(path, label), ...]}``, and in words where the attacker's come from."""

    def labelled(split):
        return [(path, label) for label, name in enumerate(classes) for path in found[split][name]]

    for split in ("attacker", "val"):
        if split in found:
            files = {"train": labelled("train"), "attacker": labelled(split), "test": labelled("test")}
            return files, f"its {split} folder"

    draw = np.random.default_rng(HALVING_SEED)
    train, attacker = [], []
    for label, name in enumerate(classes):
        paths = found["train"][name]
        if len(paths) < 2:
            raise ValueError(f"train/{name} has one image. To share it with the attacker, it needs two, or add val/.")
        taken = set(draw.permutation(len(paths))[: len(paths) // 2].tolist())
        for row, path in enumerate(paths):
            (attacker if row in taken else train).append((path, label))
    return {"train": train, "attacker": attacker, "test": labelled("test")}, "a random half of train"


def _check_memory(files, size):
    if size < 1:
        raise ValueError(f"size={size}: images need at least 1 px a side.")
    count = sum(map(len, files.values()))
    most = MOST_BYTES // (3 * size**2)
    if count > most:
        raise ValueError(
            f"{count:,} images at {size} px take {count * 3 * size**2 / 1e9:.1f} GB of memory; there is room for "
            f"{most:,}. Take fewer of them, or a smaller size."
        )


def _decode(root, files, size):
    """Images (N, 3, size, size), uint8, and labels (N,), int64, of each split, as `store` takes them."""
    jobs, arrays = [], {}
    for split, labelled in files.items():
        arrays[split] = np.empty((len(labelled), 3, size, size), np.uint8)
        jobs += [(path, arrays[split][row]) for row, (path, _) in enumerate(labelled)]

    with warnings.catch_warnings(), ThreadPoolExecutor(runtime.cores()) as pool:
        warnings.filterwarnings("ignore", module="PIL")  # odd metadata is no reason to worry a learner
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        outcomes = pool.map(lambda job: _read_image(*job, size), jobs)
        outcomes = list(tqdm(outcomes, total=len(jobs), desc="Reading images", delay=1))
    problems = [
        f"{path.relative_to(root)}: {problem}" for (path, _), problem in zip(jobs, outcomes, strict=True) if problem
    ]
    if problems:
        problems.sort()
        more = f"\n  and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        listed = "".join(f"\n  {problem}" for problem in problems[:NAMED])
        raise ValueError(f"{len(problems)} of {len(jobs)} images can't be used. Repair or remove them:{listed}{more}")
    return {
        split: (torch.from_numpy(arrays[split]), torch.tensor([label for _, label in labelled]))
        for split, labelled in files.items()
    }


def _read_image(path, out, size):
    """Decode one file into `out` (3, size, size). Returns None, or in words what is wrong with the file."""
    try:
        with Image.open(path) as image:
            # A JPEG can be decoded at half, a quarter or an eighth: as long as twice the size is left, nobody sees it.
            image.draft(None, (2 * size, 2 * size))
            upright = to_8_bit(ImageOps.exif_transpose(image), "black")
        square = ImageOps.fit(upright, (size, size), method=Image.Resampling.BICUBIC)
        out[:] = np.asarray(square.convert("RGB")).transpose(2, 0, 1)
    except UnidentifiedImageError:
        return "isn't an image, or is damaged"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return f"has more than {Image.MAX_IMAGE_PIXELS / 1e6:.0f} megapixels; make it smaller first"
    except Exception as error:  # noqa: BLE001 (a damaged file raises whatever its decoder stumbles over)
        return str(error) or type(error).__name__
    return None


def _leak(parts):
    """In words, how many test images are also among the training images, to the pixel; nothing if none is."""
    train = {image.numpy().tobytes() for image in parts["train"][0]}
    both = sum(image.numpy().tobytes() in train for image in parts["test"][0])
    return f"; {both} of {len(parts['test'][0])} test images are also in train!" if both else ""


def _cache_place(root, files, size, classes):
    """Where the decoded images go, or None if there is no cache: ``<which folder>-<its state>.safetensors``."""
    try:
        cache = runtime.cache_dir("folders")
    except runtime.CacheUnavailable as problem:
        warnings.warn(f"{problem} Until then, images are decoded anew each time.", stacklevel=3)
        return None
    state = [DECODER_VERSION]
    for split, labelled in files.items():
        for path, label in labelled:
            facts = path.stat()
            state.append((split, label, path.relative_to(root).as_posix(), facts.st_size, facts.st_mtime_ns))
    return cache / f"{_digest((str(root.resolve()), size, classes))}-{_digest(state)}.safetensors"


def _digest(facts):
    return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()


def _read_cache(place):
    if place is None or not place.exists():
        return None
    try:
        return store.read(place)
    except store.DamagedImages as damage:
        print(f"{damage} It is made anew.")
        return None


def _write_cache(place, parts, facts):
    """Keep the decoded images, in place of those of an earlier state of the folder."""
    if place is None:
        return
    try:
        for outdated in place.parent.glob(f"{place.name.partition('-')[0]}-*"):
            outdated.unlink()
        store.write(place, parts, **facts)
    except OSError as problem:
        warnings.warn(f"{problem} Until then, images are decoded anew each time.", stacklevel=3)


def _licence(root):
    """The first line of the folder's licence file, or None."""
    for path in sorted(root.iterdir()):
        if path.stem.casefold() in ("licence", "license") and path.is_file():
            lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
            return next((line.strip("# \t\r") for line in lines if line.strip("# \t\r")), None)
    return None
