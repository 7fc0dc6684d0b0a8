"""Phantoms: procedural images of the three modalities, drawn from a seed and cached. The drawing itself is beside this file.

A phantom depends on its clinic, class, seed, number and size alone, so any number of workers draws the same set.
"""

from importlib import import_module
from pathlib import Path

import numpy as np

from medattack_edu import cache, runtime

# How many images each split holds, half of them sick. Each split has a seed of its own: no patient is in two of them.
SPLITS = {"train": (1000, 101), "attacker": (1000, 202), "test": (400, 303)}
SMALLEST, LARGEST = 64, 256
CHUNK = 25  # patients a worker draws before it comes back, so that the progress bar moves


def draw(name, n, *, seed, size=128, first=0):
    """Draw `n` patients of a clinic, healthy and sick in turn, in this process.

    Args:
        name: "fundus", "chest" or "derm".
        n: how many. first: number of the first patient.
        seed: of the whole set. size: side in pixels, 64 to 256.

    Returns:
        images, uint8 array (n, size, size, 3), and labels, int64 array (n,), 1 for the disease.
    """
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size={size}: phantoms are drawn from {SMALLEST} to {LARGEST} pixels.")
    module = import_module(f"{__name__}.{name}")
    labels = np.arange(first, first + n) % 2
    images = [
        module.draw(int(label), np.random.default_rng([seed, patient]), size)
        for patient, label in zip(range(first, first + n), labels, strict=True)
    ]
    stacked = np.stack(images) if images else np.zeros((0, size, size, 3), np.uint8)
    return stacked, labels.astype(np.int64)


def draw_many(name, n, *, seed, size=128, title=None):
    """As `draw`, over all cores, with a progress bar. Same arguments, same images."""
    from joblib import Parallel, delayed
    from tqdm.auto import tqdm

    starts = range(0, n, CHUNK)
    jobs = (delayed(draw)(name, min(CHUNK, n - start), seed=seed, size=size, first=start) for start in starts)
    parts = Parallel(n_jobs=min(runtime.cores(), max(1, len(starts))), return_as="generator")(jobs)
    with tqdm(total=n, desc=title or f"drawing {name} phantoms") as bar:
        done = []
        for part in parts:
            done.append(part)
            bar.update(len(part[0]))
    return np.concatenate([images for images, _ in done]), np.concatenate([labels for _, labels in done])


def fingerprint(name, size):
    """A short text that changes with the drawing code, the seeds and the size: phantoms are cached under it."""
    folder = Path(__file__).parent
    sources = [Path(__file__), *sorted(folder.glob(f"{name}*.py")), folder / "optics.py"]
    return f"phantom-{cache.digest_of(sources, name, size, SPLITS)}"


def place(name, size):
    """The file that a clinic's phantoms are cached in."""
    return runtime.cache_dir("phantoms") / f"{name}-{size}-{fingerprint(name, size)}.safetensors"


def load(name, size=128):
    """The clinic's phantoms as `Splits`: from the cache, or drawn now and cached."""
    import torch

    from medattack_edu.clinics.images import ImageSet, Splits
    from medattack_edu.clinics.tasks import task

    classes = task(name).classes
    key = fingerprint(name, size)
    tensors = cache.kept(place(name, size), lambda: _drawn(name, size))
    sets = {
        split: ImageSet(tensors[f"{split}.images"], tensors[f"{split}.labels"].to(torch.int64), classes)
        for split in SPLITS
    }
    return Splits(**sets, source="phantoms drawn by this package", licence="MIT", fingerprint=key)


def _drawn(name, size):
    """Images, uint8 (N, 3, size, size), and labels of each split, as tensors for a file."""
    import torch

    tensors = {}
    for split, (n, seed) in SPLITS.items():
        images, labels = draw_many(name, n, seed=seed, size=size, title=f"drawing {name} phantoms, {split}")
        tensors[f"{split}.images"] = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
        tensors[f"{split}.labels"] = torch.from_numpy(labels)
    return tensors
