"""The attacker's models: of other patients, of the kind that was asked for, cached, and labelled by the victim if wanted."""

import pytest
import tiny
import torch

from medattack_edu import attacks, runtime
from medattack_edu.clinics import phantoms
from medattack_edu.clinics.clinic import open_clinic
from medattack_edu.clinics.images import ImageSet
from medattack_edu.models import surrogates, victims
from medattack_edu.models.efficientnet_lite import EfficientNetLite
from medattack_edu.models.finetune import History
from medattack_edu.models.small_cnn import SmallCNN


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path))


@pytest.fixture
def trainings(monkeypatch):
    """What was trained, and on what; nothing is."""
    seen = []

    def note(model, images, **options):
        seen.append((model, images, options))
        return History()

    monkeypatch.setattr(victims, "finetune", note)
    return seen


@pytest.fixture
def images():
    x, y = tiny.images(40, seed=5)
    return ImageSet((x * 255).byte(), y, ("healthy", "sick"))


def make(images, kind, **options):
    return surrogates.surrogate(images, kind, name="toy", fingerprint="f", **options)


def test_the_attacker_throws_other_dice_than_the_hospital(images, trainings):
    """Else both would begin with the same last layer, and see their patients in the same order."""
    twin = make(images, "twin")
    victim = victims.trained(images, name="victim", fingerprint="f")
    (_, _, attackers), (_, _, hospitals) = trainings
    assert attackers["seed"] != hospitals["seed"]
    assert not torch.equal(twin.classifier.weight, victim.classifier.weight)
    assert torch.equal(twin.stem[0][0].conv.weight, victim.stem[0][0].conv.weight)  # the ImageNet start is the same


@pytest.mark.parametrize("kind", surrogates.KINDS)
def test_each_kind_shares_with_the_victim_what_it_says(images, trainings, kind):
    model = make(images, kind)
    (_, _, options) = trainings[0]
    pretrained = kind in ("twin", "relative")
    assert isinstance(model, SmallCNN if kind == "small" else EfficientNetLite)
    assert (options["parameters"] is not None) == pretrained  # from scratch everything is trained
    victim_blocks = len(victims.new_model("efficientnet_lite0", pretrained=False).blocks)
    if kind in ("twin", "scratch"):
        assert len(model.blocks) == victim_blocks
    if kind == "relative":
        assert len(model.blocks) > victim_blocks
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 2)


def test_a_surrogate_is_trained_once_and_another_kind_or_other_images_anew(images, trainings):
    for _ in range(2):
        make(images, "small")
    assert len(trainings) == 1
    make(images, "scratch")
    surrogates.surrogate(images, "small", name="toy", fingerprint="other")
    assert len(trainings) == 3


def test_a_clinics_surrogate_sees_the_attackers_patients_and_none_of_the_victims(trainings, monkeypatch):
    monkeypatch.setattr(phantoms, "SPLITS", {split: (4, seed) for split, (_, seed) in phantoms.SPLITS.items()})
    clinic = open_clinic("chest", "phantom", size=64)
    assert clinic.surrogate("small") is clinic.surrogate("small")
    clinic.victim()
    (_, others, _), (_, own, _) = trainings
    assert others is clinic.attacker and own is clinic.train
    assert not any(torch.equal(a, b) for a in others.images for b in own.images)


def test_a_substitute_learns_the_victims_answers_and_each_one_is_counted(images, trainings):
    oracle = attacks.Oracle(lambda x: torch.stack([torch.zeros(len(x)), x.mean((1, 2, 3)) - 0.5], 1), "label")
    make(images, "small", oracle=oracle)
    _, seen, _ = trainings[0]
    assert torch.equal(seen.labels, (images.images.float().mean((1, 2, 3)) / 255 > 0.5).long())
    assert torch.equal(seen.images, images.images) and oracle.total == len(images)
    assert oracle.spent(range(40)).tolist() == [1] * 40


def test_probabilities_give_a_substitute_the_same_labels(images, trainings):
    for reveals in ("label", "probabilities"):
        make(images, "small", oracle=attacks.Oracle(tiny.model(), reveals))
    assert len(trainings) == 1  # the second one comes from the cache, because its labels are the same


def test_a_substitute_is_cached_apart_from_a_surrogate_that_learnt_the_truth(images, trainings):
    make(images, "small")
    make(images, "small", oracle=attacks.Oracle(lambda x: torch.tensor([[1.0, 0.0]]).repeat(len(x), 1), "label"))
    assert len(trainings) == 2
    assert len(list(runtime.cache_dir("victims").glob("toy-small-su*.safetensors"))) == 2


def test_an_unknown_kind_is_named(images):
    with pytest.raises(
        ValueError, match="no surrogate 'triplet'. The kinds are 'twin', 'relative', 'scratch', 'small'"
    ):
        make(images, "triplet")
