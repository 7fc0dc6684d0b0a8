"""The explorers of the white-box attacks, on a small network with random weights that is right by construction."""

import itertools

import numpy as np
import pytest
import torch
from explorers import assert_a_move_is_quick, assert_every_control_moves_the_picture, assert_render_is_pure, options

from medattack_edu import attacks, explore, metrics, runtime
from medattack_edu.attacks.gradient import loss_to_climb
from medattack_edu.explore import panels, sizes, walks
from medattack_edu.models import SmallCNN
from medattack_edu.models.freeze import freeze

CLASSES = ("normal", "very_ill")
N, SIDE = 6, 64


@pytest.fixture(scope="module")
def task():
    """Model, images and labels: the labels are the model's own answers, but for the last image, which it gets wrong."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = SmallCNN(width=8).eval().to(runtime.device())
        x = torch.nn.functional.interpolate(torch.rand(N, 3, 8, 8), size=SIDE, mode="bilinear").to(runtime.device())
    with torch.no_grad():
        model.classifier.bias.zero_()
        logits = model(x)
        # Between the two in the middle: on one of them, rounding would decide the answer.
        model.classifier.bias[0] = (logits[:, 1] - logits[:, 0]).quantile(0.5)
        y = model(x).argmax(1)
    assert 0 < y.sum() < N
    y[-1] = 1 - y[-1]
    return model, x, y


@pytest.fixture(scope="module")
def epsilon(task):
    return explore.epsilon(*task, classes=CLASSES)


@pytest.fixture(scope="module")
def steps(task):
    return explore.steps(*task, classes=CLASSES, eps=2 / 255, steps=5)


@pytest.mark.parametrize("name", ["epsilon", "steps"])
def test_every_control_moves_the_picture_at_both_ends_and_in_the_middle(name, request):
    assert_every_control_moves_the_picture(request.getfixturevalue(name))


@pytest.mark.parametrize("name", ["epsilon", "steps"])
def test_render_is_pure(name, request):
    assert_render_is_pure(request.getfixturevalue(name))


@pytest.mark.parametrize("name", ["epsilon", "steps"])
def test_a_move_renders_within_100_ms(name, request):
    assert_a_move_is_quick(request.getfixturevalue(name))


def test_at_eps_0_every_attack_shows_the_clean_accuracy(epsilon, task):
    model, x, y = task
    clean = metrics.evaluate(freeze(model), x, y).accuracy
    for attack in options(epsilon.controls["attack"]):
        facts = epsilon.facts(eps=0, attack=attack, patient=0)
        assert facts["accuracy"] == clean == (N - 1) / N
        assert (facts["accuracy"].low, facts["accuracy"].high, facts["accuracy"].n) == (clean.low, clean.high, N)
        assert facts["attacked"] == pytest.approx(facts["clean"])
        assert facts["largest_change"] == 0


def test_the_numbers_of_epsilon_are_those_of_the_library(epsilon, task):
    model, x, y = task
    for attack, made in (
        ("FGS", lambda eps: attacks.fgs(model, x, y, eps=eps)),
        ("noise", lambda eps: attacks.random_noise(x, eps=eps, generator=runtime.generator(sizes.SEED))),
    ):
        for eps in (1 / 255, 8 / 255):
            scores = metrics.evaluate(model, made(eps), y)
            facts = [epsilon.facts(eps=eps, attack=attack, patient=patient) for patient in range(N)]
            assert facts[0]["accuracy"] == scores.accuracy
            # A sign may flip where folding batch norm rounds a gradient near 0 differently.
            assert [fact["attacked"][1] for fact in facts] == pytest.approx(scores.probabilities.tolist(), abs=2e-3)


def test_pgd_at_its_first_size_is_the_librarys_pgd(task):
    model, x, y = task
    model = freeze(model)
    eps = 1 / 255
    ours = next(sizes.pgd_series(model, x, y, (eps,)))
    options = {"eps": eps, "steps": sizes.PGD_STEPS, "stop_when_fooled": True}
    theirs = attacks.pgd(model, x, y, **options, generator=runtime.generator(sizes.SEED))
    right = model(x).argmax(1) == y
    assert torch.equal(ours[right], theirs[right])


def test_accuracy_under_pgd_never_rises_with_eps_and_reaches_0(epsilon):
    sizes = options(epsilon.controls["eps"])
    accuracies = [epsilon.facts(eps=eps, attack="PGD", patient=0)["accuracy"] for eps in sizes]
    assert all(later <= sooner for sooner, later in itertools.pairwise(accuracies))
    assert accuracies[-1] == 0


def test_no_perturbation_is_larger_than_its_eps(epsilon):
    for attack in options(epsilon.controls["attack"]):
        for eps in options(epsilon.controls["eps"]):
            for patient in range(N):
                assert epsilon.facts(eps=eps, attack=attack, patient=patient)["largest_change"] <= eps * 255 + 1e-4


def test_fgs_spends_the_whole_eps(epsilon):
    for eps in options(epsilon.controls["eps"]):
        assert epsilon.facts(eps=eps, attack="FGS", patient=0)["largest_change"] == pytest.approx(eps * 255, abs=1e-4)


def test_packing_keeps_a_perturbation_to_a_hundredth_of_eps():
    change = (torch.rand(2, 3, 8, 8) * 2 - 1) * 0.25 / 255
    unpacked = panels.packed(change, 0.25 / 255) * (0.25 / 255 / panels.BYTE)
    assert np.abs(unpacked - change.permute(0, 2, 3, 1).numpy()).max() < 0.01 * 0.25 / 255


def test_the_magnified_perturbation_is_grey_where_nothing_changed(epsilon):
    picture = epsilon.render(eps=0, attack="FGS", patient=0)
    left = 8 + 256 + 10
    assert picture.crop((left, 32, left + 256, 32 + 256)).getcolors() == [(256 * 256, (128, 128, 128))]


def test_the_model_and_its_images_are_left_alone(task):
    model, x, y = task
    before, weights = x.clone(), [p.clone() for p in model.parameters()]
    explore.epsilon(model, x[:2], y[:2], attacks=("PGD",), stops=(0, 1))
    explore.steps(model, x[:2], y[:2], steps=1)
    assert torch.equal(x, before)
    assert all(torch.equal(a, b) and a.requires_grad for a, b in zip(model.parameters(), weights, strict=True))


def test_memory_stays_within_100_mb_at_full_size():
    patients, side, stops, kinds = sizes.SHOWN, 128, len(sizes.STOPS), len(sizes.SERIES)
    one = panels.packed(torch.zeros(1, 3, side, side), 1 / 255)
    assert one.nbytes * patients * stops * kinds + patients * side * side * 3 * 4 < 100e6


def test_one_patient_one_attack_one_stop_suffice(task):
    model, x, y = task
    widget = explore.epsilon(model, x[:1], y[:1], CLASSES, attacks=("noise",), stops=(2,))
    assert widget.facts(**widget.values)["accuracy"].n == 1


def test_more_patients_than_are_shown_all_count(task, monkeypatch):
    monkeypatch.setattr(sizes, "SHOWN", 2)
    widget = explore.epsilon(*task, classes=CLASSES, attacks=("FGS",), stops=(0, 2))
    assert options(widget.controls["patient"]) == [0, 1]
    assert widget.facts(**widget.values)["accuracy"].n == N


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attacks": ("FGS", "CW")}, "FGS, PGD, noise"),
        ({"attacks": ()}, "name one or more"),
        ({"classes": ("a", "b", "c")}, "3 class names and 2 logits"),
        ({"stops": (0, 300)}, "whole pixel range"),
    ],
)
def test_epsilon_says_what_it_cannot_show(task, changes, message):
    with pytest.raises(ValueError, match=message):
        explore.epsilon(*task, **changes)


@pytest.mark.parametrize(("changes", "message"), [({"steps": 0}, "a step or more"), ({"eps": 0.0}, "larger than 0")])
def test_steps_says_what_it_cannot_show(task, changes, message):
    with pytest.raises(ValueError, match=message):
        explore.steps(*task, **changes)


def test_steps_takes_no_more_than_8_patients(task):
    model, x, y = task
    with pytest.raises(ValueError, match=r"Pass x\[:8\]"):
        explore.steps(model, x.repeat(2, 1, 1, 1), y.repeat(2))


def test_a_model_in_training_mode_is_refused(task):
    _, x, y = task
    with pytest.raises(ValueError, match="training mode"):
        explore.epsilon(SmallCNN(width=8).to(x.device), x, y)


def test_the_walk_is_the_librarys_pgd(steps, task):
    model, x, y = task
    end = attacks.pgd(freeze(model), x, y, eps=2 / 255, steps=5, generator=runtime.generator(walks.SEED))
    losses = loss_to_climb(freeze(model), end, y)
    assert [steps.facts(step=5, patient=row, aside="random")["loss"] for row in range(N)] == pytest.approx(
        losses.tolist(), abs=1e-5
    )
    largest = (255 * (end - x)).abs().amax((1, 2, 3)).tolist()
    assert [steps.facts(step=5, patient=row, aside="random")["largest_change"] for row in range(N)] == pytest.approx(
        largest, abs=2e-3
    )


def test_the_loss_climbs_from_start_to_end(steps):
    for patient in range(N):
        assert (
            steps.facts(step=5, patient=patient, aside="random")["loss"]
            > steps.facts(step=0, patient=patient, aside="random")["loss"]
        )


def test_the_plane_holds_the_clean_image_fgs_and_the_walks_end(task, steps):
    model, x, y = task
    uphill = walks.input_gradient(freeze(model), x, y)[0].sign()
    end = attacks.pgd(freeze(model), x, y, eps=2 / 255, steps=5, generator=runtime.generator(walks.SEED)) - x
    directions = torch.stack([uphill, walks.orthogonal(end, uphill)], 1)
    assert walks.places(torch.zeros_like(x), directions).abs().max() == 0
    fgs = walks.places(2 * uphill, directions)
    assert fgs.tolist() == [pytest.approx([2.0, 0.0], abs=1e-3)] * N
    place = walks.places(end, directions)
    assert torch.allclose((place[:, :, None, None, None] * directions).sum(1), end, atol=1e-6)
    for patient in range(N):
        shown = steps.facts(step=5, patient=patient, aside="PGD's end")["place"]
        assert shown == pytest.approx((255 * place[patient]).tolist(), abs=1e-3)


def test_the_second_direction_is_orthogonal_to_the_first_and_as_long():
    generator = runtime.generator(0)
    first = torch.randn(2, 3, 8, 8, generator=generator).sign()
    second = walks.orthogonal(torch.randn(2, 3, 8, 8, generator=generator), first)
    assert (first * second).mean((1, 2, 3)).abs().max() < 1e-6
    assert second.square().mean((1, 2, 3)).tolist() == pytest.approx([1, 1])


def test_the_map_of_the_loss_is_true_at_the_clean_image_and_at_fgs(task, monkeypatch):
    model, x, y = task
    monkeypatch.setattr(walks, "REACH", 1.0)  # so that FGS is a point of the grid
    eps, middle = 2 / 255, walks.GRID // 2
    uphill = walks.input_gradient(model, x[:1], y[:1])[0].sign()
    plane = torch.cat([uphill, walks.orthogonal(torch.ones_like(uphill), uphill)])
    losses = walks.loss_over_plane(model, x[0], y[0], plane, eps)
    fgs = attacks.fgs(model, x[:1], y[:1], eps=eps)
    assert losses[middle, middle] == pytest.approx(loss_to_climb(model, x[:1], y[:1]).item(), abs=1e-4)
    assert losses[middle, -1] == pytest.approx(loss_to_climb(model, fgs, y[:1]).item(), abs=1e-4)


def test_the_ball_cuts_a_plane_of_sign_vectors_in_a_diamond():
    first = torch.ones(1, 4, 4)
    second = torch.tensor([1.0, -1.0]).repeat(8).view(1, 4, 4)
    edge = walks.edge_of_ball(torch.stack([first, second]), 2.0)
    assert np.abs(edge).sum(1) == pytest.approx(np.full(len(edge), 2.0))


@pytest.mark.parametrize("aside", walks.ASIDES)
def test_one_step_from_nowhere_to_go_still_draws(task, aside):
    """An image whose gradient is 0 everywhere has no direction; the picture says so by standing still."""
    _, x, y = task

    class Deaf(torch.nn.Module):
        def forward(self, x):
            return x.mean((1, 2, 3))[:, None] * torch.tensor([0.0, 0.0], device=x.device)

    widget = explore.steps(Deaf().eval(), x[:1], y[:1], steps=1)
    widget.controls["aside"].value = aside
    assert widget.error is None
