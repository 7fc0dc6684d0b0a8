"""Studies: the yardstick judges every attack alike, and what was measured is kept."""

import json

import pytest
import torch
from torch import nn

from medattack_edu import runtime, studies
from medattack_edu.clinics.images import ImageSet
from medattack_edu.studies import Over, Questioned, ask

EPS = 8 / 255


def brightness():
    """Answers 1 for an image that is brighter than grey; the mean of a pixel decides, so a small step is enough."""

    class Brightness(nn.Module):
        def forward(self, x):
            bright = 400 * (x.mean((1, 2, 3)) - 0.5)
            return torch.stack([torch.zeros_like(bright), bright], 1)

    return Brightness().eval()


class Clinic:
    """Just what a study needs of one."""

    name, fingerprint, classes = "toy", "f", ("dark", "bright")

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        levels = 0.5 + 0.006 * torch.linspace(-1, 1, 40)[torch.randperm(40, generator=generator)]
        x = (levels[:, None, None, None] + 0.05 * torch.randn(40, 3, 16, 16, generator=generator)).clamp(0, 1)
        self.model = brightness()
        y = self.model((x * 255).byte().float() / 255).argmax(1)
        self.test = self.attacker = ImageSet((x * 255).byte(), y, self.classes)

    def victim(self):
        return self.model


@pytest.fixture
def clinic(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path))
    return Clinic()


def one_patient():
    x = torch.full((1, 3, 8, 8), 0.49)
    return Questioned(brightness(), x, torch.tensor([0]), EPS, 10), x


def test_an_attack_has_succeeded_at_the_first_question_within_eps_that_is_answered_wrong():
    model, x = one_patient()
    assert model(x).argmax(1) == 0 and (model.asked, model.deceived) == (1, False)
    far = (x + 20 / 255).expand(2, -1, -1, -1)
    assert (model(far).argmax(1) == 1).all()  # wrong, but further than eps
    assert (model.asked, model.deceived) == (3, False)
    with pytest.raises(Over):
        model(torch.cat([x, x + 6 / 255, x + 7 / 255]))
    assert (model.asked, model.deceived) == (5, True)


def test_an_odd_number_of_patients_is_refused(clinic):
    with pytest.raises(ValueError, match="even number"):
        studies.queries(clinic, n=5, budget=3)


def test_where_fewer_patients_are_judged_rightly_a_study_is_still_made_once(clinic, monkeypatch):
    studies.queries(clinic, n=60, budget=2, names=("Square",))
    monkeypatch.setattr(studies, "patients", lambda *_: pytest.fail("looked for patients again"))
    study = studies.queries(clinic, n=60, budget=2, names=("Square",))["Square"]
    assert len(study.labels) == 40


def test_more_questions_than_are_left_are_over_and_an_attack_gets_no_short_answer():
    model, x = one_patient()
    with pytest.raises(Over):
        model(x.expand(16, -1, -1, -1))
    assert (model.asked, model.deceived) == (10, False)


def test_at_the_budget_the_questions_are_over_and_no_more_are_counted():
    model, x = one_patient()
    assert len(model(x.expand(8, -1, -1, -1))) == 8
    assert len(model(x.expand(2, -1, -1, -1))) == 2  # what is left of the budget
    with pytest.raises(Over):
        model(x)
    assert (model.asked, model.deceived) == (10, False)


def test_patients_are_of_both_classes_right_before_and_their_starts_are_of_the_other(clinic):
    group = studies.patients(clinic, 8)
    assert group.y.bincount().tolist() == [4, 4]
    assert torch.equal(clinic.model(group.x).argmax(1), group.y)
    assert torch.equal(clinic.model(group.start).argmax(1), 1 - group.y)


@pytest.mark.parametrize("name", studies.SETTINGS)
def test_each_of_our_attacks_can_be_judged(clinic, name):
    group = studies.patients(clinic, 4)
    results = [ask(studies.our_attack(name, EPS, 400), group, row, EPS, 400) for row in range(4)]
    assert sum(deceived for _, deceived in results) >= 2
    assert all(0 < asked <= 400 for asked, _ in results)


def test_what_was_measured_is_kept_and_an_interrupted_study_goes_on(clinic, monkeypatch):
    usual, asked = studies.ask, []

    def note(attack, group, row, eps, budget):
        if len(asked) == 3 and not monkeypatch_done:
            raise KeyboardInterrupt
        asked.append(row)
        return usual(attack, group, row, eps, budget)

    monkeypatch_done = []
    monkeypatch.setattr(studies, "ask", note)
    with pytest.raises(KeyboardInterrupt):
        studies.queries(clinic, n=4, budget=50, names=("Square",))
    monkeypatch_done.append(True)
    study = studies.queries(clinic, n=4, budget=50, names=("Square",))["Square"]
    assert asked == [0, 1, 2, 3]  # each patient once
    again = studies.queries(clinic, n=4, budget=50, names=("Square",))["Square"]
    assert len(asked) == 4 and torch.equal(again.questions, study.questions)


def test_a_damaged_study_is_made_again(clinic):
    first = studies.queries(clinic, n=2, budget=20, names=("Square",))["Square"]
    (path,) = runtime.cache_dir("studies").glob("*.json")
    path.write_text(path.read_text()[:-9])
    assert torch.equal(studies.queries(clinic, n=2, budget=20, names=("Square",))["Square"].questions, first.questions)
    assert json.loads(path.read_text())["labels"] == first.labels.tolist()


def test_another_victim_or_budget_is_another_study(clinic):
    studies.queries(clinic, n=2, budget=20, names=("Square",))
    studies.queries(clinic, n=2, budget=21, names=("Square",))
    clinic.model = nn.Sequential(clinic.model, nn.Linear(2, 2)).eval()
    with torch.no_grad():
        clinic.model[1].weight.copy_(torch.eye(2))
        clinic.model[1].bias.zero_()
    studies.queries(clinic, n=2, budget=20, names=("Square",))
    assert len(list(runtime.cache_dir("studies").glob("*.json"))) == 3


def test_success_and_median_are_counted_by_class_and_within_a_number_of_questions():
    study = studies.Asked(
        EPS,
        100,
        labels=torch.tensor([0, 0, 0, 1, 1]),
        questions=torch.tensor([10, 60, 100, 30, 100]),
        deceived=torch.tensor([True, True, False, True, False]),
    )
    assert study.success() == pytest.approx(3 / 5) and study.success().n == 5
    assert study.success(within=30) == pytest.approx(2 / 5)
    assert study.success(label=0) == pytest.approx(2 / 3) and study.success(within=9, label=1) == 0
    assert study.median() == 30 and study.median(label=0) == 35
