"""The explorer of attacks by questions, on a small network with random weights that is right by construction."""

import copy
import itertools

import pytest
import torch
from explorers import assert_a_move_is_quick, assert_every_control_moves_the_picture, assert_render_is_pure, options

from medattack_edu import attacks, explore, metrics, runtime
from medattack_edu.explore import asking
from medattack_edu.models import SmallCNN
from medattack_edu.models.freeze import freeze

CLASSES = ("normal", "very_ill")
N, SIDE, EPS, BUDGET = 6, 32, 8 / 255, 130


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
        gaps = (logits[:, 1] - logits[:, 0]).sort().values
        model.classifier.bias[0] = gaps[N // 2 - 1 : N // 2 + 1].mean()  # between two images: none stands on the border
        y = model(x).argmax(1)
    assert 0 < y.sum() < N
    y[-1] = 1 - y[-1]
    return model, x, y


@pytest.fixture(scope="module")
def widget(task):
    return explore.queries(*task, classes=CLASSES, attacks=tuple(asking.ATTACKS), eps=EPS, queries=BUDGET)


def places(widget):
    """Every attack with every patient."""
    return itertools.product(options(widget.controls["attack"]), range(N))


def test_every_control_moves_the_picture_at_both_ends_and_in_the_middle(widget):
    widget.controls["spent"].value = BUDGET
    assert_every_control_moves_the_picture(widget)


def test_render_is_pure(widget):
    assert_render_is_pure(widget)


def test_a_move_renders_within_100_ms(widget):
    assert_a_move_is_quick(widget)


def test_before_the_first_question_nothing_has_happened(widget, task):
    model, x, y = task
    clean = metrics.logits(freeze(model), x).softmax(1)
    for attack, patient in places(widget):
        facts = widget.facts(spent=0, attack=attack, patient=patient)
        assert facts["probabilities"] == pytest.approx(tuple(clean[patient].tolist()), abs=1e-5)
        assert facts["largest_change"] == facts["asked"] == facts["success"] == 0
        assert facts["cosine"] is None


def test_at_the_end_it_is_the_librarys_attack(widget, task):
    model, x, y = task
    model = freeze(model)
    for name, attack in asking.ATTACKS.items():
        oracle = attacks.Oracle(model)
        x_adv = attack(oracle, x, y, eps=EPS, queries=BUDGET, generator=runtime.generator(asking.SEED))
        success = metrics.attack_success(model, x, x_adv, y)
        told = metrics.logits(model, x_adv).softmax(1)
        facts = [widget.facts(spent=BUDGET, attack=name, patient=row) for row in range(N)]
        assert (facts[0]["success"], facts[0]["success"].n) == (success, success.n) == (success, N - 1)
        assert {label: float(share) for label, share in facts[0]["by_class"].items()} == pytest.approx(success.by_class)
        assert [fact["asked"] for fact in facts] == oracle.spent(range(N)).tolist()
        assert [fact["probabilities"][1] for fact in facts] == pytest.approx(told[:, 1].tolist(), abs=1e-5)


def test_success_never_falls_and_the_wrong_from_the_start_do_not_count(widget):
    for attack in options(widget.controls["attack"]):
        shares = [
            widget.facts(spent=stop, attack=attack, patient=0)["success"] for stop in options(widget.controls["spent"])
        ]
        assert all(later >= sooner for sooner, later in itertools.pairwise(shares))
        assert {share.n for share in shares} == {N - 1}


def test_no_perturbation_is_larger_than_eps_and_an_attack_changes_something(widget):
    for attack, patient in places(widget):
        changes = [
            widget.facts(spent=stop, attack=attack, patient=patient)["largest_change"]
            for stop in options(widget.controls["spent"])
        ]
        assert max(changes) <= 255 * EPS + 1e-3
        if patient < N - 1:
            assert max(changes) > 0


def test_an_image_is_shown_no_sooner_than_its_questions_were_asked(task):
    """NES moves for the first time after its first estimate, and not before."""
    model, x, y = task
    widget = explore.queries(model, x, y, CLASSES, attacks=("NES",), eps=EPS, queries=100)
    first = 1 + 40
    for stop in options(widget.controls["spent"]):
        change = widget.facts(spent=stop, attack="NES", patient=0)["largest_change"]
        assert (change > 0) == (stop >= first)


def test_the_cosine_of_an_estimate_is_with_the_gradient_where_it_was_made(task):
    model, x, y = task
    model = freeze(model)
    widget = explore.queries(model, x, y, CLASSES, attacks=("NES",), eps=EPS, queries=45)
    seen = []
    attacks.nes_attack(
        attacks.Oracle(model), x, y, eps=EPS, queries=45, generator=runtime.generator(asking.SEED),
        on_step=lambda x_adv, rows, estimate: seen.append(estimate),
    )  # fmt: skip
    truth = asking.slope(model, x, y)
    expected = torch.nn.functional.cosine_similarity(seen[0][0].flatten(), truth[0].flatten(), dim=0).item()
    assert widget.facts(spent=45, attack="NES", patient=0)["cosine"] == pytest.approx(expected, abs=1e-5)


def test_the_slope_is_that_of_the_other_logit_over_the_true_one(task):
    model, x, y = task
    model, x, h = copy.deepcopy(model).double(), x.double(), 1e-8
    direction = torch.randn(x.shape, generator=runtime.generator(4)).to(x)

    def gap(points):
        with torch.no_grad():
            logits = model(points)
        return (logits.gather(1, 1 - y[:, None]) - logits.gather(1, y[:, None]))[:, 0]

    measured = (gap(x + h * direction) - gap(x - h * direction)) / (2 * h)
    assert torch.allclose((asking.slope(model, x, y) * direction).sum((1, 2, 3)), measured, rtol=1e-3, atol=1e-6)


def test_the_model_and_its_images_are_left_alone(task):
    model, x, y = task
    before, weights = x.clone(), [p.clone() for p in model.parameters()]
    explore.queries(model, x[:2], y[:2], queries=30)
    assert torch.equal(x, before)
    assert all(torch.equal(a, b) and a.requires_grad for a, b in zip(model.parameters(), weights, strict=True))


@pytest.mark.parametrize("queries", [1, 2, 41, 42])
def test_the_smallest_budgets_draw(task, queries):
    model, x, y = task
    widget = explore.queries(model, x[:1], y[:1], CLASSES, queries=queries)
    widget.controls["spent"].value = queries
    assert widget.error is None
    assert "no estimate yet" in widget.alt(spent=0, attack="NES", patient=0)


def test_patients_of_one_class_only_draw(task):
    model, x, y = task
    sick = y == 1
    widget = explore.queries(model, x[sick], y[sick], CLASSES, queries=60)
    widget.controls["spent"].value = 60
    assert widget.error is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attacks": ("NES", "Boundary")}, "NES, NES in blocks, Square"),
        ({"attacks": ()}, "name one or more"),
        ({"classes": ("a", "b", "c")}, "3 class names and 2 logits"),
        ({"queries": 0}, "a query or more"),
        ({"eps": 0.0}, "larger than 0"),
    ],
)
def test_it_says_what_it_cannot_show(task, changes, message):
    with pytest.raises(ValueError, match=message):
        explore.queries(*task, **changes)


def test_it_takes_no_more_than_8_patients(task):
    model, x, y = task
    with pytest.raises(ValueError, match=r"Pass x\[:8\]"):
        explore.queries(model, x.repeat(2, 1, 1, 1), y.repeat(2))
