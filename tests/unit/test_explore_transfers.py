"""The explorer of transfer, on small networks that are right by construction."""

import numpy as np
import pytest
import torch
from explorers import assert_a_move_is_quick, assert_every_control_moves_the_picture, assert_render_is_pure, options

from medattack_edu import attacks, explore, metrics, runtime
from medattack_edu.explore import transfers
from medattack_edu.models import SmallCNN
from medattack_edu.models.freeze import freeze

CLASSES = ("normal", "very_ill")
N, SIDE = 7, 64


def network(seed):
    """A small network with random weights, whose answers are about half of the one and half of the other class."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SmallCNN(width=8).eval().to(runtime.device())


@pytest.fixture(scope="module")
def task():
    """Two models, images and labels. The labels are the victim's answers, but for the last image, which it gets wrong."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        x = torch.nn.functional.interpolate(torch.rand(N, 3, 8, 8), size=SIDE, mode="bilinear").to(runtime.device())
    models = {"victim": network(3), "my_twin": network(4)}
    with torch.no_grad():
        for model in models.values():
            model.classifier.bias.zero_()
            logits = model(x)
            ordered = (logits[:, 1] - logits[:, 0]).sort().values
            model.classifier.bias[0] = ordered[2:4].mean()  # between two images, so that rounding turns neither
        y = models["victim"](x).argmax(1)
    assert 0 < y.sum() < N
    y[-1] = 1 - y[-1]
    return models, x, y


@pytest.fixture(scope="module")
def widget(task):
    models, x, y = task
    return explore.transfer(models, x, y, CLASSES, stops=(0, 2, 8), steps=3)


def every_stop(widget):
    for source in options(widget.controls["source"]):
        for target in options(widget.controls["target"]):
            for eps in options(widget.controls["eps"]):
                yield source, target, eps


def test_every_control_moves_the_picture_at_both_ends_and_in_the_middle(widget):
    assert_every_control_moves_the_picture(widget)


def test_it_starts_with_an_attack_made_elsewhere_than_where_it_is_tried(widget):
    assert widget.values["source"] == "my_twin"
    assert widget.values["target"] == "victim"
    assert widget.values["eps"] > 0


def test_render_is_pure(widget):
    assert_render_is_pure(widget)


def test_a_move_renders_within_100_ms(task):
    """With as many models, patients and stops as there is room for."""
    models, x, y = task
    many = {f"model {k}": list(models.values())[k % 2] for k in range(transfers.MOST_MODELS)}
    assert_a_move_is_quick(explore.transfer(many, x, y, CLASSES, steps=1))


def test_the_numbers_are_those_of_the_library(widget, task):
    models, x, y = task
    frozen = {name: freeze(model) for name, model in models.items()}
    for source, target, eps in every_stop(widget):
        generator = runtime.generator(transfers.SEED)
        if eps == 0:
            x_adv = x
        elif source == transfers.NOISE:
            x_adv = attacks.random_noise(x, eps=eps, generator=generator)
        else:
            x_adv = attacks.transfer_attack(frozen[source], x, y, eps=eps, steps=3, diversity=0, generator=generator)
        success = metrics.attack_success(frozen[target], x, x_adv, y)
        facts = widget.facts(source=source, target=target, eps=eps, patient=1)
        assert (facts["success"], facts["success"].n) == (success, success.n)
        assert (facts["success"].low, facts["success"].high) == (success.low, success.high)
        assert list(facts["by_class"].values()) == [success.by_class[label] for label in (0, 1)]
        assert facts["attacked"] == pytest.approx(frozen[target](x_adv)[1].softmax(0).tolist(), abs=1e-4)


def test_no_perturbation_is_larger_than_its_eps_and_none_at_0(widget):
    for source, _, eps in every_stop(widget):
        for patient in range(N):
            largest = widget.facts(source=source, target="victim", eps=eps, patient=patient)["largest_change"]
            assert largest <= eps * 255 + 1e-4
            assert (largest > 0) == (eps > 0)


def test_at_eps_0_nothing_is_turned(widget):
    for source, target, _ in every_stop(widget):
        assert widget.facts(source=source, target=target, eps=0, patient=0)["success"] == 0


def test_who_was_wrong_before_does_not_count_and_is_told_so(widget):
    facts = widget.facts(source="my_twin", target="victim", eps=0, patient=N - 1)
    assert not facts["counted"]
    assert facts["success"].n == N - 1
    lines = widget.render.__self__._about(facts)
    assert "this patient doesn't count" in lines


def test_a_white_box_is_called_one(widget):
    facts = widget.facts(source="victim", target="victim", eps=0, patient=0)
    assert "a white box" in widget.render.__self__._about(facts)


def test_the_words_say_who_was_attacked_how_and_with_what_success(widget):
    words = widget.alt(source="my_twin", target="victim", eps=2 / 255, patient=0)
    for piece in ("made on my twin", "eps 2/255", "tried on victim", "95 % interval", "very ill"):
        assert piece in words


def test_other_models_can_be_the_targets(task):
    models, x, y = task
    widget = explore.transfer(
        {"twin": models["my_twin"]}, x, y, CLASSES, targets={"victim": models["victim"]}, stops=(4,), steps=1
    )
    assert options(widget.controls["source"]) == ["twin", "noise"]
    assert options(widget.controls["target"]) == ["victim"]
    assert widget.values["source"] == "twin"


def test_one_class_one_patient_one_stop_suffice(task):
    models, x, y = task
    widget = explore.transfer(models, x[:1], y[:1], CLASSES, stops=(2,), steps=1)
    facts = widget.facts(**widget.values)
    assert facts["success"].n == 1
    assert np.isnan(facts["by_class"][("normal", "very ill")[1 - int(y[0])]])


def test_more_patients_than_are_shown_all_count(task, monkeypatch):
    monkeypatch.setattr(transfers, "SHOWN", 2)
    models, x, y = task
    widget = explore.transfer(models, x, y, CLASSES, stops=(0, 2), steps=1)
    assert options(widget.controls["patient"]) == [0, 1]
    assert widget.facts(**widget.values)["success"].n == N - 1


def test_models_and_images_are_left_alone(task):
    models, x, y = task
    before, weights = x.clone(), [p.clone() for p in models["victim"].parameters()]
    explore.transfer(models, x[:2], y[:2], CLASSES, stops=(2,), steps=1)
    assert torch.equal(x, before)
    assert all(
        torch.equal(a, b) and a.requires_grad for a, b in zip(models["victim"].parameters(), weights, strict=True)
    )


def test_memory_stays_within_100_mb_at_full_size():
    one = transfers.packed(torch.zeros(1, 3, 128, 128), 1 / 255)
    images = transfers.SHOWN * len(transfers.STOPS) * (transfers.MOST_MODELS + 1)
    assert one.nbytes * images + transfers.SHOWN * 128 * 128 * 3 * 4 < 100e6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": {}}, "1 to 6; 0 came"),
        ({"models": [1]}, "a list came"),
        ({"targets": {str(k): None for k in range(7)}}, "7 came"),
        ({"classes": ("a", "b", "c")}, "3 class names and 2 logits"),
        ({"stops": (0, 300)}, "whole pixel range"),
        ({"steps": 0}, "a step or more"),
    ],
)
def test_it_says_what_it_cannot_show(task, changes, message):
    models, x, y = task
    with pytest.raises(ValueError, match=message):
        explore.transfer(**({"models": models, "x": x, "y": y} | changes))


def test_a_model_may_not_take_the_controls_name(task):
    models, x, y = task
    with pytest.raises(ValueError, match="the control's name"):
        explore.transfer({"noise": models["victim"]}, x, y)


def test_a_model_in_training_mode_is_refused(task):
    _, x, y = task
    with pytest.raises(ValueError, match="training mode"):
        explore.transfer({"twin": SmallCNN(width=8).to(x.device)}, x, y)
