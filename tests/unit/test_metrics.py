"""Metrics: equal to independent libraries, intervals that cover, and honest edges."""

import math
import pickle

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medattack_edu import attacks, metrics


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=2, max_size=40))
def test_auc_equals_scikit_learn_with_ties(pairs):
    from sklearn.metrics import roc_auc_score

    scores = torch.tensor([score / 6 for score, _ in pairs])
    labels = torch.tensor([label for _, label in pairs])
    if labels.unique().numel() < 2:
        assert math.isnan(metrics.auc(scores, labels))
        return
    assert metrics.auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


@pytest.mark.parametrize("hits, n", [(0, 10), (3, 10), (50, 100), (10, 10), (1, 1)])
def test_the_interval_of_a_share_equals_scipy(hits, n):
    from scipy.stats import binomtest

    theirs = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    ours = metrics.proportion(hits, n)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-6)
    assert ours == hits / n and ours.n == n


def test_nine_in_ten_and_more_of_the_auc_intervals_hold_the_truth():
    # Two normals one standard deviation apart: the true AUC is Phi(1 / sqrt(2)) = 0.7602.
    generator = torch.Generator().manual_seed(0)
    inside, repeats = 0, 400
    labels = torch.arange(60) % 2
    for _ in range(repeats):
        estimate = metrics.auc(torch.randn(60, generator=generator) + labels, labels)
        inside += estimate.low <= 0.7602 <= estimate.high
    assert 0.92 <= inside / repeats <= 0.99


@pytest.mark.parametrize("order, expected", [([0.1, 0.2, 0.8, 0.9], 1.0), ([0.9, 0.8, 0.2, 0.1], 0.0)])
def test_a_perfect_auc_of_four_images_is_not_certain(order, expected):
    estimate = metrics.auc(torch.tensor(order), torch.tensor([0, 0, 1, 1]))
    assert estimate == expected
    assert estimate.high - estimate.low > 0.2


class Diverged(torch.nn.Module):
    def forward(self, x):
        return torch.full((len(x), 2), math.nan)


def test_a_model_that_answers_nan_gets_no_score():
    x, y = tiny.images(4)
    with pytest.raises(ValueError, match="NaN or infinity"):
        metrics.evaluate(Diverged().eval(), x, y)
    with pytest.raises(ValueError, match="NaN or infinity"):
        metrics.attack_success(Diverged().eval(), x, x, y)
    with pytest.raises(ValueError, match="2 of 4 scores are NaN"):
        metrics.auc(torch.tensor([math.nan, 0.2, math.nan, 0.3]), y)


def test_a_plain_function_can_be_evaluated():
    model, (x, y) = tiny.model(), tiny.images(4)
    assert metrics.evaluate(lambda images: model(images), x, y).accuracy == metrics.evaluate(model, x, y).accuracy


@pytest.mark.parametrize(
    "hits, words", [(16, "more hits than tries"), (4.1, "more hits than tries"), (-1, "fewer than none")]
)
def test_hits_that_cannot_be_are_refused_in_words(hits, words):
    with pytest.raises(ValueError, match=words):
        metrics.proportion(hits, 4)


def test_a_sum_of_shares_may_miss_a_whole_number_by_rounding():
    assert metrics.proportion(torch.full((10,), 0.1).cumsum(0)[-1] * 10, 10) == 1


def test_estimates_behave_as_floats_and_carry_their_interval():
    estimate = metrics.proportion(8, 10)
    assert estimate + 0.1 == pytest.approx(0.9) and estimate > 0.7 and f"{estimate:.2f}" == "0.80"
    assert str(estimate) == "0.800 (95 % interval 0.490 to 0.943, n = 10)"
    copy = pickle.loads(pickle.dumps(estimate))
    assert (copy, copy.low, copy.high, copy.n) == (estimate, estimate.low, estimate.high, estimate.n)


class Fixed(torch.nn.Module):
    """Answers by the first pixel alone: above the border is sick."""

    def __init__(self, border=0.5):
        super().__init__()
        self.border = border

    def forward(self, x):
        sick = 20 * (x[:, 0, 0, 0] - self.border)
        return torch.stack([-sick / 2, sick / 2], 1)


def images(*values):
    return torch.tensor(values)[:, None, None, None].expand(-1, 3, 4, 4).clone()


def test_the_five_scores_by_hand():
    x, y = images(0.9, 0.8, 0.4, 0.1, 0.6), torch.tensor([1, 1, 1, 0, 0])
    scores = metrics.evaluate(Fixed().eval(), x, y)
    assert (scores.accuracy, scores.sensitivity, scores.specificity) == pytest.approx((3 / 5, 2 / 3, 1 / 2))
    assert scores.auc == pytest.approx(5 / 6)
    expected = [1 / (1 + math.exp(-20 * abs(v - 0.5))) for v in (0.9, 0.8, 0.4, 0.1, 0.6)]
    assert scores.confidence == pytest.approx(sum(expected) / 5, abs=1e-5)
    assert (scores.sensitivity.n, scores.specificity.n, scores.accuracy.n) == (3, 2, 5)


def test_one_class_alone_has_no_auc_and_says_so():
    scores = metrics.evaluate(Fixed().eval(), images(0.9, 0.8), torch.tensor([1, 1]))
    assert math.isnan(scores.auc) and math.isnan(scores.specificity)
    assert "not defined" in str(scores)


def test_the_roc_curve_passes_through_both_corners_and_its_area_is_the_auc():
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(50) % 2
    scores = (torch.randn(50, generator=generator) + labels).mul(4).round() / 4  # with ties
    _, sensitivity, specificity = metrics.roc_curve(scores, labels)
    false_alarms = 1 - specificity
    assert (sensitivity[0], false_alarms[0], sensitivity[-1], false_alarms[-1]) == (0, 0, 1, 1)
    assert torch.trapezoid(sensitivity, false_alarms).item() == pytest.approx(metrics.auc(scores, labels), abs=1e-6)


def test_success_counts_only_images_that_were_right_before():
    x, y = images(0.9, 0.8, 0.2, 0.9), torch.tensor([1, 1, 1, 0])  # the last two are wrong from the start
    x_adv = images(0.1, 0.8, 0.1, 0.9)
    success = metrics.attack_success(Fixed().eval(), x, x_adv, y)
    assert success == 1 / 2 and success.n == 2
    assert success.by_class[1] == 1 / 2 and success.by_class[0].n == 0


def test_a_change_that_rounding_undoes_is_no_success_after_saving():
    model = Fixed(border=127.7 / 255).eval()
    x, y = images(128 / 255), torch.tensor([1])
    gone = metrics.attack_success(model, x, images(127.6 / 255), y)  # the nearest grey level is 128: sick again
    stays = metrics.attack_success(model, x, images(127.4 / 255), y)
    assert (gone, gone.after_saving) == (1, 0)
    assert (stays, stays.after_saving) == (1, 1)


def test_as_saved_puts_every_pixel_on_a_grey_level_and_moves_it_by_half_a_level_at_most():
    x, _ = tiny.images(2)
    saved = metrics.as_saved(x)
    assert (saved - x).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.equal(metrics.as_saved(saved), saved)


def test_evaluate_in_batches_is_evaluate_at_once():
    x, _ = tiny.images(metrics.BATCH + 5)
    at_once = tiny.model()(x)
    assert torch.allclose(metrics.logits(tiny.model(), x), at_once, atol=1e-5)


@pytest.mark.parametrize(
    "model, x, y, message",
    [
        (torch.nn.Sequential(Fixed()).train(), images(0.5), torch.tensor([0]), "training mode"),
        (Fixed().eval(), images(0.5, 0.6), torch.tensor([0]), "2 images and y has the shape .1,"),
        (
            torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3)).eval(),
            images(0.5),
            torch.tensor([0]),
            "two logits",
        ),
    ],
)
def test_bad_input_is_named(model, x, y, message):
    with pytest.raises(ValueError, match=message):
        metrics.evaluate(model, x, y)


def test_images_before_and_after_must_be_the_same_ones():
    with pytest.raises(ValueError, match="before and after"):
        metrics.attack_success(Fixed().eval(), images(0.1, 0.2), images(0.1), torch.tensor([0, 0]))


def test_a_successful_attack_on_a_real_model_is_seen_as_one():
    x, y = tiny.images(12, seed=3)
    success = metrics.attack_success(tiny.model(), x, attacks.pgd(tiny.model(), x, y, eps=16 / 255), y)
    assert success == 1 and set(success.by_class) == {0, 1}


@pytest.mark.parametrize("n", [6, 9, 25, 100])
def test_a_medians_interval_covers_it_as_often_as_it_says(n):
    generator = torch.Generator().manual_seed(n)
    samples = torch.rand(2000, n, generator=generator)
    medians = [metrics.median(row) for row in samples]
    covered = sum(m.low <= 0.5 <= m.high for m in medians) / len(medians)
    assert 0.94 <= covered <= 0.995
    assert all(m.low <= m <= m.high for m in medians)


def test_a_median_of_few_and_of_none():
    assert metrics.median(torch.tensor([5, 1, 9])) == 5
    assert metrics.median(torch.tensor([4, 1])) == 2.5
    assert metrics.median(torch.tensor([3])).n == 1
    assert math.isnan(metrics.median(torch.tensor([])))


@given(n=st.integers(1, 60), share=st.floats(0, 1))
def test_a_share_is_never_outside_its_interval_not_even_by_rounding(n, share):
    estimate = metrics.proportion(share * n, n)
    assert 0 <= estimate.low <= estimate <= estimate.high <= 1
