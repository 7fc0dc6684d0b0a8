"""The explorers of thresholds and of readers' agreement, and the closed forms behind the latter."""

import math

import numpy as np
import pytest
import torch
from explorers import assert_a_move_is_quick, assert_every_control_moves_the_picture, assert_render_is_pure, options
from hypothesis import given
from hypothesis import strategies as st

from medattack_edu import explore, metrics
from medattack_edu.explore import readers
from medattack_edu.explore.decisions import GOOD_AUC, PATIENTS, predictive_value


@pytest.fixture(scope="module")
def scores():
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.zeros(130), torch.ones(41)]).long()
    noise = torch.randn(171, generator=generator)
    return metrics.scores(torch.sigmoid(2.5 * labels - 1.2 + 1.2 * noise), labels)


@pytest.fixture(scope="module")
def threshold(scores):
    return explore.threshold(scores, ("normal", "pneumonia"))


@pytest.fixture(scope="module")
def agreement():
    return explore.agreement()


@pytest.mark.parametrize("name", ["threshold", "agreement"])
def test_every_control_moves_the_picture_at_both_ends_and_in_the_middle(name, request):
    widget = request.getfixturevalue(name)
    # Where nobody errs, the number of readers makes no difference, and nor does the share to the measured AUC.
    start = {"error": 0.2, "readers": 3, "share": 0.24, "threshold": 0.5, "prevalence": 0.24}
    for key, control in widget.controls.items():
        control.value = start[key]
    assert_every_control_moves_the_picture(widget)


@pytest.mark.parametrize("name", ["threshold", "agreement"])
def test_render_is_pure(name, request):
    assert_render_is_pure(request.getfixturevalue(name))


@pytest.mark.parametrize("name", ["threshold", "agreement"])
def test_a_move_renders_within_100_ms(name, request):
    assert_a_move_is_quick(request.getfixturevalue(name))


def test_at_one_half_the_numbers_are_those_of_evaluate(threshold, scores):
    facts = threshold.facts(threshold=0.5, prevalence=0.5)
    for name in ("sensitivity", "specificity"):
        ours, theirs = facts[name], getattr(scores, name)
        assert (ours, ours.low, ours.high, ours.n) == (theirs, theirs.low, theirs.high, theirs.n)


def test_every_patient_is_counted_once(threshold):
    for stop in options(threshold.controls["threshold"]):
        facts = threshold.facts(threshold=stop, prevalence=0.1)
        assert facts["found"] + facts["missed"] == 41
        assert facts["cleared"] + facts["false_alarms"] == 130
        assert facts["miss_rate"] == pytest.approx(1 - facts["sensitivity"])
        assert facts["false_alarm_rate"] == pytest.approx(1 - facts["specificity"])


def test_a_higher_threshold_misses_more_and_alarms_less(threshold):
    facts = [threshold.facts(threshold=stop, prevalence=0.1) for stop in options(threshold.controls["threshold"])]
    missed, alarms = [fact["missed"] for fact in facts], [fact["false_alarms"] for fact in facts]
    assert missed == sorted(missed)
    assert alarms == sorted(alarms, reverse=True)
    assert (missed[0], alarms[0]) == (0, 130)
    assert (missed[-1], alarms[-1]) == (41, 0)


def test_counts_by_hand():
    probabilities = torch.tensor([0.1, 0.4, 0.6, 0.2, 0.7, 0.9])
    scores = metrics.scores(probabilities, torch.tensor([0, 0, 0, 1, 1, 1]))
    facts = explore.threshold(scores).facts(threshold=0.4, prevalence=0.5)
    assert [facts[name] for name in ("found", "missed", "false_alarms", "cleared")] == [2, 1, 2, 1]
    assert facts["ppv"] == pytest.approx(0.5)  # (2/3) / (2/3 + 2/3)


def test_predictive_value_by_hand():
    # IDx-DR's trial: sensitivity 87.2 %, specificity 90.7 %, 23.8 % sick (Abramoff et al. 2018).
    sensitivity = metrics.Estimate(0.872, 0.818, 0.912, 198)
    specificity = metrics.Estimate(0.907, 0.883, 0.927, 621)
    ppv = predictive_value(sensitivity, specificity, 0.238)
    assert ppv == pytest.approx(0.207536 / (0.207536 + 0.070866), abs=1e-6)
    assert ppv.low < ppv < ppv.high


def test_predictive_value_falls_where_fewer_are_sick(threshold):
    values = [
        threshold.facts(threshold=0.5, prevalence=share)["ppv"] for share in options(threshold.controls["prevalence"])
    ]
    assert values == sorted(values)
    assert values[0] < values[-1] / 2


def test_nobody_sent_on_has_no_predictive_value(threshold):
    assert math.isnan(threshold.facts(threshold=1.0, prevalence=0.1)["ppv"])
    assert "nobody is sent on" in threshold.alt(threshold=1.0, prevalence=0.1)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_has_no_threshold(label):
    scores = metrics.scores(torch.rand(4), torch.full((4,), label))
    with pytest.raises(ValueError, match="both classes"):
        explore.threshold(scores)


def test_the_majority_by_hand():
    assert readers.label_error(0.1, 1) == pytest.approx(0.1)
    assert readers.label_error(0.1, 3) == pytest.approx(3 * 0.01 * 0.9 + 0.001)
    assert readers.label_error(0.2, 5) == pytest.approx(10 * 0.008 * 0.64 + 5 * 0.0016 * 0.8 + 0.00032)


def test_kappa_by_hand():
    # Half are sick, one in ten wrong: agreement 0.82, chance 0.5.
    assert readers.agreement(0.1) == pytest.approx(0.82)
    assert readers.kappa(0.1, 0.5) == pytest.approx(0.64)
    assert readers.kappa(0.5, 0.3) == pytest.approx(0.0)


def test_measured_by_hand():
    # 1 in 10 labels wrong, 1 in 10 sick: half of those labelled sick are sick, and 81/82 of the others are healthy.
    perfect = readers.measured(readers.binormal(1.0), 0.1, 0.1)
    assert perfect.sensitivity == pytest.approx(0.5)
    assert perfect.specificity == pytest.approx(81 / 82)
    assert perfect.auc == pytest.approx((0.5 + 81 / 82) / 2)


def test_no_mistakes_change_nothing():
    for auc in (0.5, 0.9, 1.0):
        true = readers.binormal(auc)
        measured = readers.measured(true, 0.0, 0.24)
        assert (measured.auc, measured.sensitivity) == pytest.approx((true.auc, true.sensitivity))
    assert readers.kappa(0.0, 0.24) == pytest.approx(1.0)


@given(error=st.floats(0, 0.4), share=st.floats(0.01, 0.5), auc=st.floats(0.5, 1.0))
def test_labels_with_mistakes_never_flatter_a_model_and_votes_help(error, share, auc):
    true = readers.binormal(auc)
    by_votes = [readers.measured(true, readers.label_error(error, votes), share).auc for votes in (1, 3, 5)]
    assert by_votes == sorted(by_votes) or by_votes == pytest.approx([by_votes[0]] * 3)
    assert by_votes[-1] <= auc + 1e-12


@pytest.mark.parametrize("votes", [1, 3, 5])
@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("name", ["perfect", "good"])
def test_closed_forms_agree_with_a_simulation(name, share, votes, agreement):
    error, n = 0.2, 200_000
    rng = np.random.default_rng(votes)
    truth = rng.random(n) < share
    said = truth[:, None] ^ (rng.random((n, 5)) < error)
    label = said[:, :votes].mean(1) > 0.5
    # Scores whose true AUC is 0.9 (distance sqrt(2) z(0.9) = 1.8124), or 1.
    distance = {"perfect": 50.0, "good": 1.8124}[name]
    score = distance * truth + rng.standard_normal(n)
    called = score > distance / 2
    measured = agreement.facts(error=error, readers=votes, share=share)[name]
    assert (called[label]).mean() == pytest.approx(measured.sensitivity, abs=0.01)
    assert (~called[~label]).mean() == pytest.approx(measured.specificity, abs=0.01)
    auc = metrics.auc(torch.as_tensor(score), torch.as_tensor(label).long())
    assert float(auc) == pytest.approx(measured.auc, abs=0.01)
    facts = agreement.facts(error=error, readers=votes, share=share)
    both = said[:, 0] == said[:, 1]
    chance = said[:, 0].mean() * said[:, 1].mean() + (1 - said[:, 0].mean()) * (1 - said[:, 1].mean())
    assert both.mean() == pytest.approx(facts["agreement"], abs=0.01)
    assert (both.mean() - chance) / (1 - chance) == pytest.approx(facts["kappa"], abs=0.015)
    assert (label != truth).mean() == pytest.approx(facts["label_error"], abs=0.005)


def test_the_good_models_auc_is_what_it_is_called(agreement):
    facts = agreement.facts(error=0.0, readers=1, share=0.5)
    assert facts["good"].auc == pytest.approx(GOOD_AUC)
    assert facts["good"].sensitivity == pytest.approx(0.8176, abs=1e-4)  # Phi(z(0.9) / sqrt(2))


def test_the_drawn_patients_are_those_of_the_sliders(agreement):
    for share in options(agreement.controls["share"]):
        healthy, sick = agreement.facts(error=0.0, readers=1, share=share)["patients"]
        assert (healthy[0], healthy[1], sick[0], sick[1]) == (PATIENTS - sick[1], 0, 0, round(share * PATIENTS))
    wrong = []
    for error in options(agreement.controls["error"]):
        healthy, sick = agreement.facts(error=error, readers=3, share=0.24)["patients"]
        assert sum(healthy) + sum(sick) == PATIENTS
        wrong.append(healthy[1] + sick[0])
    assert wrong == sorted(wrong), "a patient whose label is wrong stays so when readers err more often"
    assert wrong[-1] / PATIENTS == pytest.approx(readers.label_error(0.4, 3), abs=0.08)
