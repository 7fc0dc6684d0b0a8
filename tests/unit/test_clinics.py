"""Clinics: which images win, how they are drawn from, and what the victims' cache does when it is hurt."""

import warnings

import numpy as np
import pytest
import tiny
import torch

from medattack_edu import runtime
from medattack_edu.clinics import clinic, medmnist, phantoms
from medattack_edu.clinics.images import ImageSet, ImagesUnavailable
from medattack_edu.clinics.tasks import CLASSES
from medattack_edu.models import victims


@pytest.fixture
def few_phantoms(monkeypatch, tmp_path):
    """A cache of its own, and phantoms few and small enough to draw in a moment."""
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path))
    monkeypatch.delenv("MEDATTACK_IMAGES", raising=False)
    monkeypatch.delenv("MEDATTACK_DATA", raising=False)
    monkeypatch.setattr(phantoms, "SPLITS", {"train": (8, 101), "attacker": (8, 202), "test": (6, 303)})
    monkeypatch.setattr(runtime, "cores", lambda: 1)


def image_set(n=20):
    images = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4).clone()
    return ImageSet(images, torch.arange(n) % 4 == 0, ("healthy", "sick"))


# --- sampling -----------------------------------------------------------------------------------------------------------


def test_a_sample_is_drawn_without_replacement_and_repeatably():
    x, y = image_set().sample(12, seed=3)
    assert x.shape == (12, 3, 4, 4) and x.dtype == torch.float32 and y.dtype == torch.int64
    patients = (x[:, 0, 0, 0] * 255).round().long()
    assert patients.unique().numel() == 12
    assert torch.equal(y, (patients % 4 == 0).long())
    assert torch.equal(x, image_set().sample(12, seed=3)[0])
    assert not torch.equal(x, image_set().sample(12, seed=4)[0])


def test_a_balanced_sample_holds_as_many_of_each_class():
    _, y = image_set().sample(10, balanced=True)
    assert y.sum() == 5
    _, y = image_set().sample(7, balanced=True)
    assert y.sum() == 3


def test_a_balanced_sample_of_a_rare_disease_stays_balanced_and_says_why_it_is_small():
    with pytest.warns(
        UserWarning, match="asked for 14 balanced images; this set has 5 sick: 10 are used, half of each class"
    ):
        _, y = image_set().sample(14, balanced=True)
    assert y.bincount().tolist() == [5, 5]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_set().sample(11, balanced=True)[1].bincount().tolist() == [6, 5]


def test_asking_for_more_than_there_is_gives_all_and_says_so_once():
    images = image_set()
    with pytest.warns(UserWarning, match="asked for 99 images; this set has 20"):
        x, _ = images.sample(99)
    assert len(x) == 20
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(images.sample(99)[0]) == 20


def test_nothing_can_be_asked_for_and_less_cannot():
    assert len(image_set().sample(0)[0]) == 0
    with pytest.raises(ValueError, match="ask for 0 images or more"):
        image_set().sample(-1)


def test_an_item_is_a_float_image_and_an_int():
    x, y = image_set()[4]
    assert x.shape == (3, 4, 4) and x[0, 0, 0].item() == pytest.approx(4 / 255)
    assert y == 1 and isinstance(y, int)


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (torch.rand(2, 3, 4, 4), torch.tensor([0, 1]), "must be uint8"),
        (torch.zeros(2, 4, 4, 3, dtype=torch.uint8), torch.tensor([0, 1]), "must be uint8"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0]), "2 images need as many labels"),
    ],
)
def test_a_set_that_does_not_fit_together_is_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        ImageSet(images, labels, ("healthy", "sick"))


# --- phantoms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSES)
def test_any_number_of_workers_draws_the_same_patients(name):
    alone, labels = phantoms.draw(name, 6, seed=9, size=64)
    assert alone.shape == (6, 64, 64, 3) and alone.dtype == np.uint8
    assert labels.tolist() == [0, 1, 0, 1, 0, 1]
    later, _ = phantoms.draw(name, 2, seed=9, size=64, first=4)
    assert np.array_equal(alone[4:], later)
    together, _ = phantoms.draw_many(name, 6, seed=9, size=64)
    assert np.array_equal(alone, together)


@pytest.mark.parametrize("size", [32, 512])
def test_a_size_that_phantoms_are_not_made_for_is_named(size):
    with pytest.raises(ValueError, match="from 64 to 256"):
        phantoms.draw("fundus", 1, seed=0, size=size)


def test_phantoms_come_from_the_cache_the_second_time_and_are_drawn_again_when_it_is_damaged(few_phantoms, monkeypatch):
    first = phantoms.load("derm", 64)
    (file,) = runtime.cache_dir("phantoms").glob("*.safetensors")

    def fail(*args, **kwargs):
        raise AssertionError("drawn again")

    with monkeypatch.context() as patch:
        patch.setattr(phantoms, "draw_many", fail)
        assert torch.equal(phantoms.load("derm", 64).test.images, first.test.images)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="damaged.*made again"):
        assert torch.equal(phantoms.load("derm", 64).test.images, first.test.images)


def test_no_patient_is_in_two_splits(few_phantoms):
    splits = phantoms.load("chest", 64)
    images = torch.cat([splits.train.images, splits.attacker.images, splits.test.images]).flatten(1)
    assert len(images.unique(dim=0)) == len(images)


def test_the_fingerprint_changes_with_size_and_clinic():
    assert len({phantoms.fingerprint(name, size) for name in CLASSES for size in (64, 128)}) == 6


# --- which images -------------------------------------------------------------------------------------------------------


def test_auto_draws_phantoms_when_nothing_was_fetched(few_phantoms):
    here = clinic.open_clinic("fundus", size=64)
    assert "phantom" in here.source and here.classes == CLASSES["fundus"]
    assert (len(here.train), len(here.attacker), len(here.test)) == (8, 8, 6)


def test_the_argument_wins_over_the_variable_and_the_variable_over_auto(few_phantoms, monkeypatch):
    seen = []
    monkeypatch.setattr(medmnist, "is_fetched", lambda name, size=128: True)
    monkeypatch.setattr(medmnist, "load", lambda name, size=128: seen.append("medmnist") or phantoms.load(name, size))
    clinic.open_clinic("derm", size=64)
    assert seen == ["medmnist"]
    monkeypatch.setenv("MEDATTACK_IMAGES", "phantom")
    clinic.open_clinic("derm", size=64)
    assert seen == ["medmnist"]
    clinic.open_clinic("derm", "medmnist", size=64)
    assert seen == ["medmnist"] * 2


def test_damaged_real_images_fall_back_to_phantoms_and_say_so(few_phantoms, monkeypatch, capsys):
    def damaged(name, size=128):
        raise ImagesUnavailable("The fetched images are damaged.")

    monkeypatch.setattr(medmnist, "is_fetched", lambda name, size=128: True)
    monkeypatch.setattr(medmnist, "load", damaged)
    assert "phantom" in clinic.open_clinic("derm", size=64).source
    assert "damaged. Phantoms are used" in capsys.readouterr().out
    with pytest.raises(ImagesUnavailable):
        clinic.open_clinic("derm", "medmnist", size=64)


def test_real_without_any_real_images_says_how_to_get_them(few_phantoms):
    with pytest.raises(ImagesUnavailable, match="medattack fetch"):
        clinic.open_clinic("derm", "real")


@pytest.mark.parametrize(
    "name, images, message",
    [
        ("lung", "phantom", "no clinic 'lung'.*'fundus', 'chest', 'derm'"),
        ("chest", "no/such/folder", "nor a folder that exists"),
    ],
)
def test_a_clinic_or_source_that_is_not_there_is_named(name, images, message):
    with pytest.raises(ValueError, match=message):
        clinic.open_clinic(name, images)


def test_the_banner_says_images_numbers_device_and_licence(few_phantoms, capsys):
    clinic.open_clinic("chest", size=64).banner()
    (line,) = capsys.readouterr().out.strip().splitlines()[-1:]
    for part in ("phantoms", "8 to train", "64 px", "Device:", "Licence: MIT"):
        assert part in line


# --- victims ------------------------------------------------------------------------------------------------------------


def victim(images, **changes):
    recipe = {"name": "test victim", "fingerprint": "images-1", "epochs": 1, "pretrained": False} | changes
    return victims.trained(images, **recipe)


@pytest.fixture
def quick_training(monkeypatch, tmp_path):
    """A cache of its own; training is counted, and moves the last layer only a little."""
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path))
    trainings = []

    def finetune(model, images, **options):
        trainings.append(options)
        with torch.no_grad():
            model.classifier.bias.add_(len(trainings))
        return victims_history(interrupted=False)

    monkeypatch.setattr(victims, "finetune", finetune)
    return trainings


def victims_history(interrupted):
    from medattack_edu.models.finetune import History

    return History(interrupted=interrupted)


@pytest.fixture
def few_images():
    x, y = tiny.images(8, 64)
    return ImageSet((x * 255).byte(), y, ("healthy", "sick"))


def test_a_victim_is_trained_once_and_read_after_that(quick_training, few_images):
    first, second = victim(few_images), victim(few_images)
    assert len(quick_training) == 1
    x, _ = few_images.sample(2)
    assert torch.equal(first(x), second(x))
    assert not first.training and not any(p.requires_grad for p in second.parameters())


@pytest.mark.parametrize(
    "change", [{"fingerprint": "images-2"}, {"epochs": 2}, {"seed": 1}, {"backbone": "efficientnet_lite1"}]
)
def test_whatever_changes_a_victim_trains_another(quick_training, few_images, change):
    victim(few_images)
    victim(few_images, **change)
    assert len(quick_training) == 2


def test_a_damaged_victim_is_noticed_said_and_trained_again(quick_training, few_images):
    victim(few_images)
    (file,) = runtime.cache_dir("victims").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.warns(UserWarning, match="damaged.*made again"):
        victim(few_images)
    assert len(quick_training) == 2
    victim(few_images)
    assert len(quick_training) == 2


def test_an_interrupted_victim_is_handed_out_but_not_kept(monkeypatch, quick_training, few_images):
    monkeypatch.setattr(victims, "finetune", lambda *args, **options: victims_history(interrupted=True))
    victim(few_images)
    assert victims.cached_names() == []


def test_a_victim_that_cannot_be_kept_is_handed_out_and_no_half_of_it_is_left(monkeypatch, quick_training, few_images):
    import safetensors.torch

    def full_disk(state, path, metadata=None):
        path.write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full_disk)
    with pytest.warns(UserWarning, match="can't be kept.*disk is full"):
        model = victim(few_images)
    assert model.classifier.bias.abs().min() > 0.5  # the one that was trained
    assert list(runtime.cache_dir("victims").glob("*.safetensors")) == []


def test_a_backbone_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no backbone 'efficientnet_lite9'"):
        victims.new_model("efficientnet_lite9")
