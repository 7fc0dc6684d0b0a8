"""Real images from MedMNIST+: fetching a subset of an archive, and reading what was fetched. Downloading is elsewhere.

| clinic | archive         | healthy (0)       | disease (1)   |
|--------|-----------------|-------------------|---------------|
| fundus | RetinaMNIST     | grade 0 or 1      | grade 2 to 4  |
| chest  | PneumoniaMNIST  | normal            | pneumonia     |
| derm   | DermaMNIST      | melanocytic nevi  | melanoma      |

The archives name no patients. RetinaMNIST's source has four photographs of each patient, and images of the same lesion
are known to lie on both sides of DermaMNIST's splits (Abhishek, Jain, Hamarneh, arXiv 2401.14497), so that scores on
these images are a little better than a clinic would see.
"""

import zipfile
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib import format as npy

from medattack_edu import runtime
from medattack_edu.clinics import store
from medattack_edu.clinics.download import download
from medattack_edu.clinics.images import ImagesUnavailable
from medattack_edu.clinics.tasks import task

SIZES = (64, 128, 224)
# Images of each class that are kept, at most. 600 train a victim in about a minute on two cores; surrogates are
# several, so they make do with half; 200 give an accuracy to within 5 points (95 % interval).
MOST_PER_CLASS = {"train": 600, "attacker": 300, "test": 200}
MEDMNIST_PAPER = "Yang et al., MedMNIST v2, Scientific Data (2023)"


@dataclass(frozen=True)
class _Archive:
    """Which archive a clinic's images come from. `healthy` and `disease` are its labels and their texts."""

    flag: str
    healthy: dict
    disease: dict
    paper: str


_ARCHIVES = {
    "fundus": _Archive(
        "retinamnist",
        healthy={0: "0", 1: "1"},
        disease={2: "2", 3: "3", 4: "4"},
        paper="Liu et al., DeepDRiD, Patterns 3:100512 (2022)",
    ),
    "chest": _Archive(
        "pneumoniamnist",
        healthy={0: "normal"},
        disease={1: "pneumonia"},
        paper="Kermany et al., Cell 172:1122 (2018)",
    ),
    "derm": _Archive(
        "dermamnist",
        healthy={5: "melanocytic nevi"},
        disease={4: "melanoma"},
        paper="Tschandl et al., HAM10000, Scientific Data 5:180161 (2018)",
    ),
}


def is_fetched(name, size=128):
    """Whether `fetch` has put these images on this machine. Whether they are whole is for `load` to say."""
    task(name)
    return size in SIZES and place(name, size).exists()


def load(name, size=128):
    """The fetched images as `Splits`.

    Train is one half of the archive's training images; the attacker has the other half and its validation images;
    test comes from its test images. All three are class-balanced subsets (`MOST_PER_CLASS`), so that 50 % is chance.

    Raises:
        ImagesUnavailable: if they haven't been fetched, or the file is damaged.
        ValueError: if there is no such clinic or size.
    """
    _check(name, size)
    command = f"medattack fetch {name}" + ("" if size == 128 else f" --size {size}")
    try:
        return store.read(place(name, size))
    except FileNotFoundError:
        raise ImagesUnavailable(
            f"The real images of {name!r} at {size} px aren't on this machine. Fetch them with: {command}"
        ) from None
    except store.DamagedImages as damage:
        raise ImagesUnavailable(f"{damage} Fetch the images again with: {command}") from None


def fetch(name, size=128, *, url=None, md5=None):
    """Download an archive, keep the subset that `load` describes, and delete the rest. Does nothing if that is done.

    Args:
        name: the clinic: "fundus", "chest" or "derm".
        size: pixels a side: 64, 128 or 224.
        url: another place that has the archive, for example a mirror; default: the one that MedMNIST names.
        md5: its checksum; default: the one that MedMNIST publishes.

    Returns:
        The path of the file that holds the subset.

    Raises:
        DownloadError: if the archive can't be had; the message says why. What has arrived is kept for the next call.
        ValueError: if there is no such clinic or size.
    """
    _check(name, size)
    file = place(name, size)
    try:
        load(name, size)
    except ImagesUnavailable as problem:
        if file.exists():
            print(problem)
    else:
        print(f"The real images of {name!r} at {size} px are here already: {file}")
        return file

    from medmnist import INFO  # 5 s: it brings scikit-learn, pandas and torchvision with it

    archive = _ARCHIVES[name]
    info = INFO[archive.flag]
    _check_labels(archive, info)
    title = info["python_class"]
    kept = sum(2 * most for most in MOST_PER_CLASS.values()) * info["n_channels"] * size**2
    path = download(
        url or info[f"url_{size}"],
        runtime.cache_dir("medmnist") / f"{archive.flag}_{size}.npz",
        md5=md5 or info[f"MD5_{size}"],
        label=f"{title} {size} px",
        room=kept,
    )
    try:
        parts = _subset(path, archive, size)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        path.unlink()
        raise ImagesUnavailable(f"{path.name} was no MedMNIST archive of {size} px ({error}); deleted.") from None
    store.write(
        file,
        parts,
        classes=task(name).classes,
        source=f"real images, {title} at {size} px (MedMNIST, class-balanced subset)",
        licence=info["license"],
    )
    path.unlink()
    counts = ", ".join(f"{len(labels)} {split}" for split, (_, labels) in parts.items())
    print(f"{title}: {counts} images kept in {file}")
    print(f"Licence: {info['license']}. If you publish with them, cite {archive.paper} and {MEDMNIST_PAPER}.")
    return file


def _check(name, size):
    task(name)
    if size not in SIZES:
        raise ValueError(f"MedMNIST comes at {', '.join(map(str, SIZES))} px; got size={size}.")


def place(name, size):
    return runtime.cache_dir("medmnist") / f"{name}_{size}.safetensors"


def _check_labels(archive, info):
    """The labels must still mean what the table above says."""
    for label, text in (archive.healthy | archive.disease).items():
        if info["label"].get(str(label)) != text:
            raise ValueError(
                f"Label {label} of {archive.flag} now means {info['label'].get(str(label))!r}, not {text!r}: this "
                "version of the medmnist package doesn't go with this version of medattack. Update both."
            )


def _subset(path, archive, size):
    """Images and labels of the three splits, as `store.write` takes them, read from the archive at `path`."""
    with np.load(path, allow_pickle=False) as arrays:
        diagnoses = {part: _diagnoses(arrays[f"{part}_labels"], archive) for part in ("train", "val", "test")}
    parts = {}
    with zipfile.ZipFile(path) as opened:
        for split, rows in _choose(diagnoses).items():
            images = np.concatenate([_read_rows(opened, f"{part}_images", rows[part], size) for part in rows])
            labels = np.concatenate([diagnoses[part][rows[part]] for part in rows])
            parts[split] = torch.from_numpy(images), torch.from_numpy(labels)
    return parts


def _diagnoses(labels, archive):
    """1 for the disease, 0 for healthy, -1 for what this clinic doesn't ask about; int64 (N,)."""
    labels = labels.reshape(-1)
    return np.where(np.isin(labels, list(archive.disease)), 1, np.where(np.isin(labels, list(archive.healthy)), 0, -1))


def _choose(diagnoses):
    """Which rows of which part of the archive go into each split: ``{split: {part: sorted rows}}``, class-balanced.

    The training images are cut in the middle, not dealt out: where the images of a patient lie side by side, at most
    one patient of each class is then on both sides. What is kept is spread evenly, to have many patients.
    """

    def rows(part, label):
        return [(part, row) for row in np.flatnonzero(diagnoses[part] == label)]

    pools = {"train": [], "attacker": [], "test": []}
    for label in (0, 1):
        train = rows("train", label)
        middle = (len(train) + 1) // 2
        pools["train"].append(train[:middle])
        pools["attacker"].append(train[middle:] + rows("val", label))
        pools["test"].append(rows("test", label))

    chosen = {}
    for split, (healthy, disease) in pools.items():
        count = min(MOST_PER_CLASS[split], len(healthy), len(disease))
        if count == 0:
            raise ValueError(f"no images of one class for {split}")
        kept = [pool[i * len(pool) // count] for pool in (healthy, disease) for i in range(count)]
        parts = sorted({part for part, _ in kept})
        chosen[split] = {part: np.array(sorted(row for home, row in kept if home == part)) for part in parts}
    return chosen


def _read_rows(archive, member, rows, size):
    """Some rows of one array in an open .npz, uint8 (len(rows), channels, size, size).

    The array is read as a stream, because as a whole it takes up to 1 GB.
    """
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    with archive.open(f"{member}.npy") as stream:
        shape, fortran_order, dtype = read_header[npy.read_magic(stream)](stream)
        if shape[1:3] != (size, size) or dtype != np.uint8 or fortran_order:
            raise ValueError(f"{member} holds {dtype} {shape}")
        channels = shape[3] if len(shape) == 4 else 1
        kept = np.empty((len(rows), channels, size, size), np.uint8)
        wanted = {row: place for place, row in enumerate(rows)}
        for row in range(rows[-1] + 1):
            pixels = stream.read(kept[0].size)
            if row in wanted:
                kept[wanted[row]] = np.frombuffer(pixels, np.uint8).reshape(size, size, channels).transpose(2, 0, 1)
    return kept
