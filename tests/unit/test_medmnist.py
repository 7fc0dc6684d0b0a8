"""Fetching and loading MedMNIST subsets, from archives in its format that a server on this machine sends. No network."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from file_server import serve

from medattack_edu.clinics import download, medmnist
from medattack_edu.clinics.clinic import open_clinic
from medattack_edu.clinics.download import ChecksumError, DownloadError
from medattack_edu.clinics.images import ImagesUnavailable

CLINICS = ("fundus", "chest", "derm")
# Of each clinic's archive: how many labels there are, and whether it is in colour.
LABELS = {"fundus": (5, True), "chest": (2, False), "derm": (7, True)}
DISEASE = {"fundus": {2, 3, 4}, "chest": {1}, "derm": {4}}
HEALTHY = {"fundus": {0, 1}, "chest": {0}, "derm": {5}}
COUNTS = {"train": 160, "val": 24, "test": 48}


def archive_of(name, size=64, counts=COUNTS, save=np.savez_compressed, **changes):
    """The bytes of an archive, and its labels. Each image says in its first pixels which part and row it is."""
    rng = np.random.default_rng(0)
    kinds, colour = LABELS[name]
    arrays = {}
    for number, (part, count) in enumerate(counts.items()):
        images = rng.integers(0, 256, (count, size, size, 3) if colour else (count, size, size), np.uint8)
        rows = np.arange(count)
        first = images[..., 0] if colour else images
        first[:, 0, 0], first[:, 0, 1], first[:, 0, 2] = number, rows // 256, rows % 256
        arrays[f"{part}_images"] = images
        arrays[f"{part}_labels"] = rng.integers(0, kinds, (count, 1)).astype(np.uint8)
    labels = {part: arrays[f"{part}_labels"][:, 0] for part in counts}
    file = io.BytesIO()
    save(file, **arrays | changes)
    return file.getvalue(), labels


def origins(images):
    """Which part and row of the archive each image is."""
    return [
        (list(COUNTS)[int(number)], int(high) * 256 + int(low)) for number, high, low in images[:, 0, 0, :3].tolist()
    ]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path))
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "medmnist"


def fetch(name, server, size=64, md5=None):
    md5 = md5 or hashlib.md5(server.content).hexdigest()
    return medmnist.fetch(name, size, url=server.url, md5=md5)


def files_in(folder):
    """What lies there, but for the lock, which is empty."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.fixture(scope="module")
def info():
    from medmnist import INFO

    return INFO


@pytest.mark.parametrize("name", CLINICS)
@pytest.mark.parametrize("size", medmnist.SIZES)
def test_the_medmnist_package_says_where_each_archive_is_and_its_checksum(info, name, size):
    published = info[medmnist._ARCHIVES[name].flag]
    assert published[f"url_{size}"].startswith("https://")
    assert len(published[f"MD5_{size}"]) == 32
    assert published["license"].startswith("CC BY")


@pytest.mark.parametrize("name", CLINICS)
def test_the_labels_mean_what_the_table_says_and_a_change_is_noticed(info, name):
    archive = medmnist._ARCHIVES[name]
    published = info[archive.flag]
    medmnist._check_labels(archive, published)
    with pytest.raises(ValueError, match="Update both"):
        medmnist._check_labels(archive, {"label": dict(zip(published["label"], "zyxwvut", strict=False))})


@pytest.mark.parametrize("name", CLINICS)
def test_what_is_fetched_can_be_loaded_with_the_disease_as_class_1(name):
    content, labels = archive_of(name)
    assert not medmnist.is_fetched(name, 64)
    with serve(content) as server:
        fetch(name, server)
    assert medmnist.is_fetched(name, 64)
    splits = medmnist.load(name, 64)
    seen = set()
    for split in (splits.train, splits.attacker, splits.test):
        assert split.images.shape[1:] == (3, 64, 64)
        assert split.labels.sum() * 2 == len(split) > 0
        for (part, row), label in zip(origins(split.images), split.labels.tolist(), strict=True):
            assert labels[part][row] in (DISEASE if label else HEALTHY)[name]
            assert (part == "test") == (split is splits.test)
            assert part != "val" or split is splits.attacker
            assert (part, row) not in seen
            seen.add((part, row))
    assert {"train", "val"} == {part for part, _ in origins(splits.attacker.images)}


def test_train_and_attacker_take_a_half_each_so_that_neighbours_stay_together():
    content, _ = archive_of("chest")
    with serve(content) as server:
        fetch("chest", server)
    splits = medmnist.load("chest", 64)
    for label in (0, 1):
        train = [row for _, row in origins(splits.train.images[splits.train.labels == label])]
        attacker = origins(splits.attacker.images[splits.attacker.labels == label])
        assert max(train) < min(row for part, row in attacker if part == "train")


def test_pixels_survive_as_they_are():
    content, _ = archive_of("derm")
    with serve(content) as server:
        fetch("derm", server)
    with np.load(io.BytesIO(content)) as arrays:
        test = arrays["test_images"]
    images = medmnist.load("derm", 64).test.images
    for (_, row), image in zip(origins(images), images, strict=True):
        assert torch.equal(image, torch.from_numpy(test[row]).permute(2, 0, 1))


def test_grey_images_become_three_equal_channels():
    content, _ = archive_of("chest")
    with serve(content) as server:
        fetch("chest", server)
    images = medmnist.load("chest", 64).train.images
    assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])


def test_no_class_is_kept_more_often_than_the_cap(monkeypatch):
    monkeypatch.setattr(medmnist, "MOST_PER_CLASS", {"train": 7, "attacker": 5, "test": 3})
    content, _ = archive_of("chest")
    with serve(content) as server:
        fetch("chest", server)
    splits = medmnist.load("chest", 64)
    assert [len(s) for s in (splits.train, splits.attacker, splits.test)] == [14, 10, 6]


def test_only_the_subset_stays_and_licence_and_papers_are_said(cache, capsys):
    content, _ = archive_of("derm")
    with serve(content) as server:
        fetch("derm", server)
    assert files_in(cache) == ["derm_64.safetensors"]
    said = capsys.readouterr().out
    assert "CC BY-NC 4.0" in said and "HAM10000" in said and "MedMNIST v2" in said
    splits = medmnist.load("derm", 64)
    assert splits.licence == "CC BY-NC 4.0"
    assert "DermaMNIST" in splits.source and "64 px" in splits.source


def test_fetching_twice_does_nothing_the_second_time(capsys):
    content, _ = archive_of("chest")
    with serve(content) as server:
        fetch("chest", server)
        fetch("chest", server)
        assert len(server.asked) == 1
    assert "here already" in capsys.readouterr().out


def test_the_fingerprint_is_that_of_the_images():
    prints = []
    for size in (64, 128):
        content, _ = archive_of("chest", size)
        for _ in range(2):
            with serve(content) as server:
                fetch("chest", server, size)
            prints.append(medmnist.load("chest", size).fingerprint)
            medmnist.place("chest", size).unlink()
    assert prints[0] == prints[1] != prints[2] == prints[3]


@pytest.mark.parametrize("size", [64, 128])
def test_images_that_are_not_fetched_are_unavailable_and_the_command_is_said(size):
    command = "medattack fetch chest --size 64" if size == 64 else "medattack fetch chest$"
    with pytest.raises(ImagesUnavailable, match=f"'chest' at {size} px.*{command}"):
        medmnist.load("chest", size)


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b[:-1] + b"?", lambda b: b""])
def test_a_damaged_file_is_noticed_and_fetched_again(damage, capsys):
    content, _ = archive_of("chest")
    with serve(content) as server:
        place = fetch("chest", server)
        place.write_bytes(damage(place.read_bytes()))
        with pytest.raises(ImagesUnavailable, match="damaged.*medattack fetch chest --size 64"):
            medmnist.load("chest", 64)
        fetch("chest", server)
    assert "damaged" in capsys.readouterr().out
    assert len(medmnist.load("chest", 64).test) > 0


def test_auto_takes_what_is_fetched_and_phantoms_when_it_is_damaged(monkeypatch, capsys):
    from medattack_edu.clinics import phantoms

    content, _ = archive_of("chest")
    with serve(content) as server:
        place = fetch("chest", server)
    monkeypatch.delenv("MEDATTACK_IMAGES", raising=False)
    assert "PneumoniaMNIST" in open_clinic("chest", size=64).source
    drawn = medmnist.load("chest", 64)
    monkeypatch.setattr(phantoms, "load", lambda name, size: drawn)
    place.write_bytes(place.read_bytes()[:-1])
    assert open_clinic("chest", size=64).train is drawn.train
    said = capsys.readouterr().out
    assert "damaged" in said and "Phantoms are used" in said


def test_a_cut_download_goes_on_where_it_was():
    content, _ = archive_of("chest")
    with serve(content) as server:
        server.cuts = [len(content) // 2] + [0] * download.TRIES
        with pytest.raises(DownloadError):
            fetch("chest", server)
        assert not medmnist.is_fetched("chest", 64)
        fetch("chest", server)
        assert server.asked[-1]["Range"] == f"bytes={len(content) // 2}-"
        assert sum(server.sent) == len(content)
    assert medmnist.is_fetched("chest", 64)


def test_a_wrong_checksum_leaves_nothing(cache):
    content, _ = archive_of("chest")
    with serve(content) as server, pytest.raises(ChecksumError, match="PneumoniaMNIST 64 px arrived damaged"):
        fetch("chest", server, md5="0" * 32)
    assert files_in(cache) == []
    assert not medmnist.is_fetched("chest", 64)


def test_the_published_checksum_holds_for_a_mirror_too(info):
    content, _ = archive_of("chest")
    with serve(content) as server, pytest.raises(ChecksumError, match=info["pneumoniamnist"]["MD5_64"]):
        medmnist.fetch("chest", 64, url=server.url)


def test_a_disk_too_small_for_archive_and_subset_is_noticed_before_the_download(monkeypatch):
    content, _ = archive_of("chest")
    free = len(content) + 1000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(free, 0, free))
    with serve(content) as server, pytest.raises(DownloadError, match="on the disk"):
        fetch("chest", server)
    assert not medmnist.is_fetched("chest", 64)


@pytest.mark.parametrize(
    "content",
    [
        b"no zip at all",
        archive_of("chest", 128)[0],
        archive_of("derm", val_labels=np.array([{}], object))[0],
        archive_of("chest", test_labels=np.zeros((48, 1), np.uint8))[0],
    ],
    ids=["no zip", "another size", "pickled objects", "one class only"],
)
def test_an_archive_of_another_kind_is_refused_and_removed(cache, content):
    with serve(content) as server, pytest.raises(ImagesUnavailable, match="no MedMNIST archive of 64 px"):
        fetch("chest", server)
    assert files_in(cache) == []


def test_an_archive_that_is_not_compressed_is_read_too():
    content, _ = archive_of("chest", save=np.savez)
    with serve(content) as server:
        fetch("chest", server)
    assert medmnist.is_fetched("chest", 64)


def test_no_array_of_the_archive_is_ever_in_memory_whole(tmp_path):
    rows = 3000
    with zipfile.ZipFile(tmp_path / "big.npz", "w", zipfile.ZIP_DEFLATED) as archive, io.BytesIO() as file:
        np.save(file, np.zeros((rows, 64, 64), np.uint8))
        archive.writestr("train_images.npy", file.getvalue())
    with zipfile.ZipFile(tmp_path / "big.npz") as archive:
        tracemalloc.start()
        kept = medmnist._read_rows(archive, "train_images", np.array([0, 7, rows - 1]), 64)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert kept.shape == (3, 1, 64, 64)
    assert peak < rows * 64 * 64 / 10


@pytest.mark.parametrize("call", [medmnist.load, medmnist.fetch])
def test_sizes_and_clinics_that_do_not_exist_are_said(call):
    with pytest.raises(ValueError, match="64, 128, 224 px; got size=96"):
        call("chest", 96)
    with pytest.raises(ValueError, match="no clinic 'brain'"):
        call("brain", 64)


def test_a_size_that_is_not_published_is_not_fetched():
    assert not medmnist.is_fetched("chest", 96)


def test_loading_does_not_import_the_medmnist_package():
    content, _ = archive_of("chest")
    with serve(content) as server:
        fetch("chest", server)
    program = (
        "import sys; from medattack_edu.clinics import medmnist; medmnist.load('chest', 64); "
        "print([name for name in ('medmnist', 'torchvision', 'sklearn', 'skimage', 'pandas') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "[]"
