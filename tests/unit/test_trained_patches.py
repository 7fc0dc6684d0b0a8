"""Patches that are made once: what they are made of, that they are kept, and when they are made again."""

import pytest
import torch

from medattack_edu import metrics, runtime, trained_patches
from medattack_edu.attacks import patches
from medattack_edu.attacks.patches import TrainedPatch, train_patch
from medattack_edu.clinics.images import ImageSet
from medattack_edu.models.efficientnet_lite import efficientnet_lite0
from medattack_edu.models.freeze import freeze
from medattack_edu.scenes import photographs
from medattack_edu.trained_patches import TOASTER, Handicapped, medical, natural, toaster


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path))
    return tmp_path / "patches"


class Brightness(torch.nn.Module):
    """Answers class 1 where red outshines blue. `bias` makes another victim of it."""

    def __init__(self, bias=0.0):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.tensor(bias), requires_grad=False)
        self.eval()

    def forward(self, x):
        red, _, blue = (x.mean((2, 3)) * 40).unbind(1)
        return torch.stack((blue, red + self.bias), 1)


class Clinic:
    """As much of a clinic as a patch needs."""

    name, classes, fingerprint = "toy", ("healthy", "sick"), "toy-1"

    def __init__(self, bias=0.0):
        generator = runtime.generator(0)
        images = (90 + 30 * torch.rand(24, 3, 40, 40, generator=generator)).byte()
        labels = torch.arange(24) % 2
        images[labels == 1, 0, 16:24, 16:24] = 250  # a red mark in the middle
        self.attacker = ImageSet(images, labels, self.classes)
        self._victim, self.surrogates_asked = Brightness(bias), []

    def victim(self):
        return self._victim

    def surrogate(self, kind):
        self.surrogates_asked.append(kind)
        return Brightness(0.5)


@pytest.fixture
def quick(monkeypatch, empty_cache):
    """A training of a few steps; the list says what was trained on."""
    monkeypatch.setattr(trained_patches, "MEDICAL_STEPS", 6)
    monkeypatch.setattr(trained_patches, "TOASTER_STEPS", 2)
    trained = []

    def noted(model, images, target, **options):
        trained.append((model, images, target, options))
        return train_patch(model, images, target, **options)

    monkeypatch.setattr(trained_patches, "train_patch", noted)
    return trained


def test_a_medical_patch_is_trained_once_on_the_attackers_patients_of_the_other_class_and_then_read(quick):
    clinic = Clinic()
    first = medical(clinic, 1)
    again = medical(clinic, 1)
    assert len(quick) == 1
    _, images, target, options = quick[0]
    assert target == 1 and options["scale"] == 0.4
    others = clinic.attacker.images[clinic.attacker.labels == 0].float() / 255
    assert sorted(images.sum((1, 2, 3)).tolist()) == pytest.approx(sorted(others.sum((1, 2, 3)).tolist()))
    assert torch.equal(first.patch, again.patch) and first.history == again.history and again.steps == 6
    assert again.target == 1 and again.mask == "disc" and not again.interrupted
    assert clinic.surrogates_asked == []


def test_a_patch_from_the_cache_can_be_trained_further_as_if_it_had_never_been_away(quick):
    clinic = Clinic()
    fresh, read = medical(clinic, 1), medical(clinic, 1)
    images = clinic.attacker.images.float() / 255
    options = {"steps": 3, "batch": 4, "progress": False}
    one = train_patch(clinic.victim(), images, 1, start=fresh, **options)
    two = train_patch(clinic.victim(), images, 1, start=read, **options)
    assert torch.equal(one.patch, two.patch) and one.steps == two.steps == 9


def test_each_target_access_victim_and_set_of_images_has_a_patch_of_its_own(quick, empty_cache):
    clinic = Clinic()
    medical(clinic, 0), medical(clinic, 1), medical(clinic, 1, "black"), medical(Clinic(bias=1.0), 1)
    assert clinic.surrogates_asked == ["twin"]
    clinic.fingerprint = "toy-2"
    medical(clinic, 1)
    assert len(quick) == 5 == len(list(empty_cache.glob("toy-*.safetensors")))


def test_a_damaged_file_is_said_and_made_again(quick, empty_cache):
    clinic = Clinic()
    first = medical(clinic, 1)
    (file,) = empty_cache.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:200])
    with pytest.warns(UserWarning, match="damaged"):
        again = medical(clinic, 1)
    assert torch.equal(first.patch, again.patch) and len(quick) == 2


def test_half_a_patch_is_handed_out_and_not_kept(monkeypatch, empty_cache):
    half = TrainedPatch(torch.full((3, 4, 4), 0.5), 1, "disc", [-1.0], interrupted=True)
    monkeypatch.setattr(trained_patches, "train_patch", lambda *arguments, **options: half)
    handed_out = medical(Clinic(), 1)
    assert handed_out.interrupted and handed_out.steps == 1 and torch.equal(handed_out.patch, half.patch)
    assert not list(empty_cache.glob("*.safetensors"))


def test_the_toaster_never_sees_the_photographs_that_it_is_shown_on(quick, monkeypatch):
    asked = []
    read = photographs.photographs

    def noted(size, names):
        asked.extend(names)
        return read(size, names)

    monkeypatch.setattr(photographs, "photographs", noted)
    patch = toaster()
    assert patch.target == TOASTER and patch.steps == 2
    assert len(asked) == 10 and not set(asked) & set(photographs.SHOWN)
    toaster()
    assert len(quick) == 1


def test_the_toaster_is_trained_for_the_network_that_is_asked_for(quick, monkeypatch):
    made, usual = [], trained_patches.victims.new_model
    monkeypatch.setattr(
        trained_patches.victims, "new_model", lambda *arguments: made.append(arguments) or usual(*arguments)
    )
    one, other = toaster(), toaster("efficientnet_lite1")
    assert made == [("efficientnet_lite0", 1000), ("efficientnet_lite1", 1000)]
    assert not torch.equal(one.patch, other.patch)


def test_a_handicap_lowers_one_logit_and_keeps_the_others():
    model, x = Brightness(), torch.rand(3, 3, 8, 8, generator=runtime.generator(1))
    lowered = Handicapped(model, 1, 6.0)(x)
    assert torch.equal(lowered[:, 0], model(x)[:, 0]) and torch.allclose(lowered[:, 1], model(x)[:, 1] - 6)


def test_natural_patches_are_the_middles_of_real_images_of_the_target_class():
    clinic = Clinic()
    sick, healthy = natural(clinic, 1, n=5), natural(clinic, 0, n=5)
    assert sick.shape == healthy.shape == (5, 3, 16, 16)
    assert (sick[:, 0].amax((1, 2)) > 0.9).all() and (healthy[:, 0].amax((1, 2)) < 0.6).all()
    assert torch.equal(sick, natural(clinic, 1, n=5))


@pytest.mark.parametrize(
    "target, access, words", [(2, "white", "0 is healthy and 1 is sick"), (1, "grey", "access='grey'")]
)
def test_bad_targets_and_accesses_are_named(target, access, words):
    with pytest.raises(ValueError, match=words):
        medical(Clinic(), target, access)


def test_preparing_makes_four_patches_of_a_clinic(quick, empty_cache):
    trained_patches.prepare(Clinic())
    names = sorted(path.stem.rpartition("-")[0] for path in empty_cache.glob("*.safetensors"))
    assert names == ["toy-0-black", "toy-0-white", "toy-1-black", "toy-1-white"]


def test_a_picture_of_a_toaster_is_one_to_the_network_and_is_shrugged_off_in_a_scene():
    model = freeze(efficientnet_lite0())
    picture = photographs.toaster_picture(224)
    assert model(picture[None]).argmax(1).item() == TOASTER
    shown, _ = photographs.photographs(224, photographs.SHOWN)
    placed = patches.place(picture, shown, scale=0.4, location=(0.68, 0.68), mask="square")
    assert not (metrics.logits(model, placed).argmax(1) == TOASTER).any()
