"""The doctor: ten lines, and each problem in its own line with what to do. Every problem is caused here."""

import builtins
import shutil
import sys
from types import SimpleNamespace

import psutil
import pytest
import torch

from medattack_edu import cli, container, doctor, runtime
from medattack_edu.clinics import medmnist, phantoms
from medattack_edu.models import victims

NAMES = ["Python", "PyTorch", "Device", "Cores", "Memory", "Disk", "Widgets", "Images", "Victims", "Cache"]


@pytest.fixture(autouse=True)
def healthy(tmp_path, monkeypatch):
    """A machine without problems, whatever this one is like; its cache is empty."""
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path / "cache"))
    for name in ("MEDATTACK_DATA", "MEDATTACK_IMAGES", "MEDATTACK_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(runtime, "cores", lambda: 2)
    monkeypatch.setattr(container, "cores", lambda: None)
    monkeypatch.setattr(container, "memory", lambda: None)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=6e9, total=8e9))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=50e9))


@pytest.fixture
def lines(capsys):
    """A function that runs the doctor: {name: (well, value, advice)}."""

    def lines():
        lines.code = cli.main(["doctor"])
        found, advice = {}, None
        for line in capsys.readouterr().out.splitlines()[1:]:
            mark, name, value = line[:8].strip(), line[10:18].strip(), line[19:]
            if line.strip().startswith("->"):
                found[advice] = (*found[advice][:2], line.partition("-> ")[2])
            else:
                found[name] = (mark == "ok", value, "")
                advice = name
        return found

    return lines


def only_problem(found):
    """The name of the one line that isn't ok, its value and its advice."""
    ((name, (_, value, advice)),) = [(name, line) for name, line in found.items() if not line[0]]
    return name, value, advice


def test_a_healthy_machine_has_ten_lines_that_are_all_ok(lines):
    found = lines()
    assert list(found) == NAMES
    assert [name for name, (well, _, _) in found.items() if not well] == []
    assert lines.code == 0


def test_a_problem_is_told_by_the_exit_code_too(lines, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    name, _, advice = only_problem(lines())
    assert name == "Python" and "3.11" in advice
    assert lines.code == 1


def test_another_pytorch_than_the_pinned_one(lines, monkeypatch):
    monkeypatch.setattr(doctor, "_pin", lambda _: "9.9.9")
    name, _, advice = only_problem(lines())
    assert name == "PyTorch" and "pip install torch==9.9.9" in advice


def test_a_local_build_of_the_pinned_pytorch_is_the_pinned_one(lines, monkeypatch):
    monkeypatch.setattr(doctor, "_pin", lambda _: "2.14.1")
    monkeypatch.setattr(torch, "__version__", "2.14.1+cpu")
    monkeypatch.setattr(torch.version, "cuda", None)
    assert lines()["PyTorch"] == (True, "2.14.1, CPU build", "")


def test_a_pytorch_that_cannot_be_imported_leaves_the_other_lines_standing(lines, monkeypatch):
    import_ = builtins.__import__

    def broken(name, *rest):
        if name == "torch":
            raise ImportError("libcudart.so.13: cannot open shared object file\nand more")
        return import_(name, *rest)

    monkeypatch.setattr(builtins, "__import__", broken)
    found = lines()
    assert list(found) == NAMES
    well, value, advice = found["PyTorch"]
    assert not well and "libcudart.so.13" in value and "and more" not in value and "delete the folder .venv" in advice
    assert all(found[name][0] for name in ("Python", "Memory", "Disk", "Widgets", "Cache"))


def test_any_other_surprise_becomes_its_line(lines, monkeypatch):
    def surprise():
        raise RuntimeError("driver too old")

    monkeypatch.setattr(torch.cuda, "is_available", surprise)
    name, value, advice = only_problem(lines())
    assert (name, value, advice) == ("Device", "can't be told", "driver too old")


def test_a_device_that_is_not_there(lines, monkeypatch):
    monkeypatch.setenv("MEDATTACK_DEVICE", "cuda")
    name, _, advice = only_problem(lines())
    assert name == "Device" and "Unset it" in advice


def test_a_gpu_is_named_with_its_free_memory(lines, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Fast Card")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (7_500_000_000, 8_000_000_000))
    assert lines()["Device"] == (True, "Fast Card, 7.5 GB free", "")


def test_a_gpu_that_others_have_filled(lines, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Fast Card")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (300_000_000, 8_000_000_000))
    name, value, advice = only_problem(lines())
    assert (name, value) == ("Device", "Fast Card, 0.3 GB free") and "MEDATTACK_DEVICE=cpu" in advice


def test_more_threads_than_a_container_grants(lines, monkeypatch):
    monkeypatch.setattr(container, "cores", lambda: 1.5)
    name, value, advice = only_problem(lines())
    assert name == "Cores" and value.startswith("1.5 of") and "OMP_NUM_THREADS=1" in advice


def test_little_memory(lines, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=0.6e9, total=8e9))
    name, value, advice = only_problem(lines())
    assert name == "Memory" and value == "0.6 GB free of 8.0 GB" and "Shut down" in advice


@pytest.mark.parametrize(("free", "well"), [(0.99e9, False), (1.01e9, True)])
def test_memory_is_little_below_one_gigabyte(lines, monkeypatch, free, well):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free, total=8e9))
    assert lines()["Memory"][0] is well


def test_a_container_with_little_memory_on_a_large_machine(lines, monkeypatch):
    monkeypatch.setattr(container, "memory", lambda: container.Memory(limit=2_000_000_000, used=1_300_000_000))
    name, value, _ = only_problem(lines())
    assert name == "Memory" and value == "0.7 GB free of 2.0 GB (the container's limit)"


def test_a_full_disk(lines, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0.4e9))
    name, value, advice = only_problem(lines())
    assert name == "Disk" and value.startswith("0.4 GB") and "MEDATTACK_CACHE" in advice


@pytest.mark.parametrize("missing", ["ipywidgets", "jupyterlab_widgets", "jupyterlab"])
def test_missing_widgets(lines, monkeypatch, missing):
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda package: "" if package == missing else version(package))
    name, value, advice = only_problem(lines())
    assert name == "Widgets" and f"{missing} missing" in value and advice.endswith(f"pip install {missing}")


@pytest.mark.parametrize("old", [("ipywidgets", "7.8.1"), ("jupyterlab_widgets", "1.1.0")])
def test_widgets_that_do_not_go_together(lines, monkeypatch, old):
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda package: old[1] if package == old[0] else version(package))
    name, _, advice = only_problem(lines())
    assert name == "Widgets" and "ipywidgets>=8,<9" in advice


def test_a_cache_that_cannot_be_written(lines, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path / "file"))
    found = lines()
    assert not found["Cache"][0] and "Set MEDATTACK_CACHE" in found["Cache"][2]
    for name in ("Disk", "Images", "Victims"):  # they need it: their line leads there
        assert found[name][0] or found[name][2] == "See the line Cache, below."


# Images and victims


def test_phantoms_are_what_there_is_without_anything_else(lines):
    assert lines()["Images"][1] == "fundus, chest, derm: phantoms, to be drawn on first use (MEDATTACK_IMAGES=auto)"


def test_drawn_phantoms_are_seen(lines, monkeypatch):
    monkeypatch.setattr(phantoms, "SPLITS", {split: (4, seed) for split, (_, seed) in phantoms.SPLITS.items()})
    phantoms.load("chest", 128)
    assert lines()["Images"][1].startswith("fundus, derm: phantoms, to be drawn on first use; chest: phantoms (")


def test_fetched_images_are_taken_of_themselves(lines, monkeypatch):
    monkeypatch.setattr(medmnist, "is_fetched", lambda name, size: name == "derm")
    assert "derm: MedMNIST" in lines()["Images"][1]


@pytest.mark.parametrize("setting", ["medmnist", "real"])
def test_images_that_were_asked_for_but_not_fetched(lines, monkeypatch, setting):
    monkeypatch.setenv("MEDATTACK_IMAGES", setting)
    name, value, advice = only_problem(lines())
    assert name == "Images" and "not fetched" in value and "medattack fetch fundus" in advice


@pytest.mark.parametrize(("setting", "variable"), [("real", "MEDATTACK_DATA"), (None, "MEDATTACK_IMAGES")])
def test_a_folder_is_looked_into(lines, monkeypatch, tmp_path, setting, variable):
    monkeypatch.setenv("MEDATTACK_IMAGES", setting or str(tmp_path))
    if setting:
        monkeypatch.setenv("MEDATTACK_DATA", str(tmp_path))
    name, value, advice = only_problem(lines())
    assert name == "Images" and f"nothing in {tmp_path}" in value and f"Set {variable}" in advice
    for clinic in ("fundus", "chest", "derm"):
        (tmp_path / clinic / "Train").mkdir(parents=True)
    name, value, advice = only_problem(lines())
    assert name == "Images" and f"not as they should be in {tmp_path}" in value and "test/" in advice
    for clinic in ("fundus", "chest", "derm"):
        for split in ("Train", "test"):
            for kind in ("healthy", "disease"):
                (tmp_path / clinic / split / kind).mkdir(parents=True)
                for number in range(2):
                    (tmp_path / clinic / split / kind / f"{number}.png").touch()
    assert lines()["Images"][:2] == (
        True,
        f"fundus, chest, derm: the folder {tmp_path} (MEDATTACK_IMAGES={setting or tmp_path})",
    )


@pytest.mark.parametrize("wanted", ["mps", "meta", "gpu"])
def test_a_device_that_the_course_does_not_know(lines, monkeypatch, wanted):
    monkeypatch.setenv("MEDATTACK_DEVICE", wanted)
    name, value, _ = only_problem(lines())
    assert name == "Device" and f"{wanted!r} is no device of this course. Use cpu or cuda." in lines()["Device"][2]


def test_a_setting_that_is_no_folder_names_the_other_sources(lines, monkeypatch):
    monkeypatch.setenv("MEDATTACK_IMAGES", "medmist")
    assert "one of auto, phantom, medmnist, real" in only_problem(lines())[2]


def test_files_that_only_carry_the_name_are_no_images_and_no_victims(lines, tmp_path):
    junk = [medmnist.place("derm", 128), runtime.cache_dir("victims") / "chest-victim-abc.safetensors"]
    for file in junk:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"not a tensor in it")
    found = lines()
    assert "damaged" in found["Images"][1] and "medattack fetch derm" in found["Images"][2]
    assert "chest none" in found["Victims"][1]


def test_a_cache_that_somebody_else_prepared_is_named_beside_ones_own(lines, monkeypatch, tmp_path):
    monkeypatch.setenv("MEDATTACK_CACHE", "/srv/prepared")
    monkeypatch.setattr(runtime, "cache_dir", lambda *parts: tmp_path.joinpath(*parts))
    assert lines()["Cache"][:2] == (
        True,
        f"{tmp_path}, with links to what was prepared in /srv/prepared, which may only be read",
    )


def test_victims_in_the_cache_are_counted(lines):
    from medattack_edu.clinics.images import ImageSet

    assert "fundus none, chest none, derm none; trained on first use" in lines()["Victims"][1]
    few = ImageSet(torch.zeros(4, 3, 64, 64, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), ("normal", "pneumonia"))
    victims.trained(few, name="chest victim", fingerprint="few", epochs=1)
    assert lines()["Victims"][1].startswith("in the cache: fundus none, chest 1, derm none")
