"""What `quiz` promises: radio buttons with an explanation in a notebook, the same to unfold without a kernel."""

import pytest

from medattack_edu import quiz
from medattack_edu.course import notices
from medattack_edu.course import quiz as module
from medattack_edu.course.progress import Record

QUESTION = "Why does noise of the same size do so little?"
OPTIONS = ["It has no direction", "It is too small", "It is <rounded> away"]
WHY = "Each pixel pushes another way."


@pytest.fixture
def record(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path))
    fresh = Record()
    monkeypatch.setattr("medattack_edu.course.quiz.record", fresh)
    return fresh


def test_without_a_notebook_the_question_and_its_answer_are_printed(capsys):
    quiz(QUESTION, OPTIONS, OPTIONS[0], WHY)
    said = capsys.readouterr().out
    assert all(option in said for option in OPTIONS) and f"Answer: {OPTIONS[0]}. {WHY}" in said


def test_a_notebook_gets_the_widget_and_beside_it_a_page_that_needs_no_kernel(monkeypatch):
    shown = []
    monkeypatch.setattr("medattack_edu.course.quiz.in_kernel", lambda: True)
    monkeypatch.setattr(notices, "in_kernel", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda value, raw: shown.append(value))
    quiz(QUESTION, OPTIONS, OPTIONS[0], WHY)
    (bundle,) = shown
    assert "model_id" in bundle["application/vnd.jupyter.widget-view+json"]
    page = bundle["text/html"]
    before, unfolded = page.split("<details>")
    assert "It is &lt;rounded&gt; away" in before and WHY not in before
    assert OPTIONS[0] in unfolded and WHY in unfolded
    assert WHY not in bundle["text/plain"]


def parts(widget):
    _, *choices, said = widget.children
    return choices, said


@pytest.fixture
def asked(record):
    return parts(module.question_widget(QUESTION, OPTIONS, OPTIONS[0], dict.fromkeys(OPTIONS, WHY)))


def test_nothing_is_chosen_at_first(asked, record):
    choices, said = asked
    assert [choice.options for choice in choices] == [(option,) for option in OPTIONS]
    assert all(choice.value is None for choice in choices) and said.value == ""
    assert record.read()["quizzes"] == {}


def test_a_choice_is_explained_at_once_and_recorded(asked, record):
    choices, said = asked
    choices[1].value = OPTIONS[1]
    assert "Not this one." in said.value and WHY in said.value
    choices[0].value = OPTIONS[0]
    assert "Yes." in said.value and 'role="status"' in said.value
    assert record.read()["quizzes"][QUESTION] == {"right_at_once": False, "right": True}


def test_one_choice_takes_the_place_of_another_and_can_be_made_again(asked):
    choices, said = asked
    for chosen in (1, 2, 1):
        choices[chosen].value = OPTIONS[chosen]
        assert [choice.value for choice in choices if choice.value] == [OPTIONS[chosen]]
        assert "Not this one." in said.value


def test_each_option_can_have_its_own_explanation():
    reasons = {option: f"because {number}" for number, option in enumerate(OPTIONS)}
    assert module.explanation(OPTIONS[2], OPTIONS[0], reasons)[1] == "Not this one. because 2"
    assert module.explanation(OPTIONS[0], OPTIONS[0], reasons)[1] == "Yes. because 0"


@pytest.mark.parametrize(
    ("options", "answer", "why", "told"),
    [
        (OPTIONS, "It has no Direction", WHY, "none of its options"), (["one"], "one", WHY, "two or more"),
        (["a", "a", "b"], "a", WHY, "different"), (OPTIONS, OPTIONS[0], "", "`why`"),
        (OPTIONS, OPTIONS[0], None, "`why`"),
        (OPTIONS, OPTIONS[0], {OPTIONS[0]: WHY}, "one text for each"),
    ],
)  # fmt: skip
def test_a_question_that_does_not_fit_is_refused(options, answer, why, told):
    with pytest.raises(ValueError, match=told):
        quiz(QUESTION, options, answer, why)
