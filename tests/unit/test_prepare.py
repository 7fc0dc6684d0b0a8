"""Preparing: what is missing is made, what is there is left, and Ctrl-C keeps what is finished."""

import os
import signal

import pytest

from medattack_edu import cli, physical_objects, runtime, studies, trained_patches
from medattack_edu.clinics import phantoms
from medattack_edu.clinics.clinic import Clinic
from medattack_edu.models import victims

studied = []  # clinics that a study was asked for
patched = []  # clinics that patches were asked for, and whatever belongs to no clinic


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Few phantoms, and victims that train on them for one step, in a cache of their own."""
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path))
    monkeypatch.setattr(phantoms, "SPLITS", {split: (4, seed) for split, (_, seed) in phantoms.SPLITS.items()})
    monkeypatch.setattr(
        phantoms, "draw_many", lambda name, n, *, seed, size, title: phantoms.draw(name, n, seed=seed, size=size)
    )
    monkeypatch.setattr(studies, "queries", lambda clinic: studied.append(clinic.name))
    monkeypatch.setattr(trained_patches, "prepare", lambda clinic: patched.append(clinic.name))
    monkeypatch.setattr(trained_patches, "toaster", lambda: patched.append("toaster"))
    monkeypatch.setattr(physical_objects, "prepare", lambda: patched.append("objects"))
    studied.clear()
    patched.clear()
    trained = victims.trained
    monkeypatch.setattr(victims, "trained", lambda *images, **options: trained(*images, **options, epochs=1))


def files():
    return {
        path.relative_to(runtime.cache_dir()): path.stat().st_mtime_ns
        for path in runtime.cache_dir().rglob("*.safetensors")
    }


def models_in_the_cache():
    """What the trained models are, without their digests."""
    return sorted(path.stem.rpartition("-")[0] for path in files() if path.parts[0] == "victims")


def test_images_and_victim_of_each_clinic_are_made_and_the_second_call_makes_nothing(capsys):
    assert cli.main(["prepare", "fundus", "derm"]) == 0
    told = capsys.readouterr().out
    assert "fundus: made in" in told and "derm: made in" in told and "All is ready." in told
    made = files()
    assert sorted(path.parts[0] for path in made) == ["phantoms", "phantoms", "victims", "victims"]

    assert cli.main(["prepare", "fundus", "derm"]) == 0
    told = capsys.readouterr().out
    assert "fundus: here already" in told and "Everything was here already." in told
    assert files() == made


def test_the_attackers_models_are_made_for_the_lesson_that_needs_them_and_elsewhere_when_asked_for():
    chest = [f"chest-{kind}-surrogate" for kind in ("relative", "scratch", "small", "twin")]
    chest.append("chest-small-substitute")
    assert cli.main(["prepare", "chest"]) == 0
    assert models_in_the_cache() == sorted([*chest, "chest-victim"])
    assert cli.main(["prepare", "derm"]) == 0
    assert models_in_the_cache() == sorted([*chest, "chest-victim", "derm-victim"])
    assert cli.main(["prepare", "derm", "--surrogates"]) == 0
    assert len(models_in_the_cache()) == 12


def test_the_study_of_lesson_06_is_made_for_its_clinic_only():
    assert cli.main(["prepare", "fundus", "derm"]) == 0
    assert studied == ["derm"]


def test_the_patches_of_lesson_07_are_made_for_its_clinic_only_and_the_objects_where_they_are_named(capsys):
    assert cli.main(["prepare", "fundus", "derm"]) == 0
    assert patched == ["derm"]
    assert cli.main(["prepare", "objects"]) == 0
    assert patched == ["derm", "toaster", "objects"]
    assert "objects: here already (a toaster patch, stickers, a bottle)." in capsys.readouterr().out


def test_without_a_name_everything_is_made():
    assert cli.main(["prepare"]) == 0
    assert {name.split("-")[0] for name in models_in_the_cache()} == {"fundus", "chest", "derm"}
    assert studied == ["derm"] and patched == ["derm", "toaster", "objects"]


@pytest.fixture
def ctrl_c_heard():
    """As at a terminal: programs that a script started with & ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_during_a_training_stops_and_keeps_what_is_finished(ctrl_c_heard, monkeypatch, capsys):
    victim = Clinic.victim

    def pressed_meanwhile(clinic):
        if clinic.name == "derm":
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                return None  # as a training does, which keeps the best so far and ends quietly
        return victim(clinic)

    monkeypatch.setattr(Clinic, "victim", pressed_meanwhile)
    assert cli.main(["prepare", "fundus", "derm", "chest"]) == 130
    assert "What was finished is kept" in capsys.readouterr().err
    names = {path.name.split("-")[0] for path in files()}
    assert names == {"fundus", "derm"}  # derm's images, and nothing of chest
    assert len(victims.cached_names()) == 1
    assert patched == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_unknown_clinic_is_said_before_anything_is_made(capsys):
    assert cli.main(["prepare", "chest", "dentist"]) == 2
    said = capsys.readouterr().err
    assert "'dentist'" in said and "fundus, chest, derm, objects" in said
    assert files() == {}


def test_images_that_are_not_there_are_said(capsys):
    assert cli.main(["prepare", "chest", "--images", "medmnist"]) == 2
    assert "medattack fetch chest" in capsys.readouterr().err
