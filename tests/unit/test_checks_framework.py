"""What `check` and `hint` promise a learner, whatever the learner's function does."""

import json
import random
import re
import signal
import threading
import time
from functools import partial

import numpy as np
import pytest
import torch
from checks import assert_check_is_sound
from torch import nn

from medattack_edu import check, hint, runtime
from medattack_edu.course import notices, progress
from medattack_edu.course.checks import framework
from medattack_edu.course.checks.framework import (
    CheckFailed,
    Mistake,
    call,
    describe,
    exercise,
    expect_close,
    expect_images,
    expect_number,
    expect_tensor,
    unchanged,
)

GIVEN = torch.tensor([1.0, -2.0, 3.0])


def reference_double(x):
    return 2 * x


def check_double(double):
    out = call(double, GIVEN)
    expect_close(out, 2 * GIVEN, "your double")
    return "Checked on 3 numbers."


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    """A learner with an empty record, in a folder of their own."""
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path / "cache"))
    fresh = progress.Record()
    monkeypatch.setattr(progress, "record", fresh)
    monkeypatch.setattr("medattack_edu.course.checks.record", fresh)
    return fresh


@pytest.fixture(autouse=True)
def double(monkeypatch):
    """The exercise `double`, for one test."""
    monkeypatch.setattr(framework, "EXERCISES", dict(framework.EXERCISES))
    monkeypatch.setattr("medattack_edu.course.checks.EXERCISES", framework.EXERCISES)
    register("double", limit_s=0.3)(check_double)
    return framework.EXERCISES["double"]


def register(name, **changes):
    settings = {"lesson": "99", "title": "Twice", "reference": reference_double, "hints": ("one", "two", "three")}
    return exercise(name, **(settings | changes))


def solved(record):
    return [name for name, entry in record.read()["exercises"].items() if "solved" in entry]


# -- right


def test_a_right_function_comes_back_as_the_very_object_and_is_recorded(own_progress, capsys):
    def mine(x):
        return x + x

    assert check.double(mine) is mine
    assert solved(own_progress) == ["double"]
    said = capsys.readouterr().out
    assert "is right" in said and "Checked on 3 numbers." in said


class Doubler(nn.Module):
    def forward(self, x):
        return x + x


@pytest.mark.parametrize(
    "right", [lambda x: x * 2, partial(torch.mul, other=2), Doubler(), torch.no_grad()(lambda x: 2 * x)]
)
def test_any_callable_may_be_right(right):
    assert check.double(right) is right


def test_a_right_function_with_an_ellipsis_left_over_is_right():
    def mine(x):
        # YOUR CODE HERE
        ...
        return x * 2

    assert check.double(mine) is mine


# -- not started


def only_ellipsis(x): ...


def only_docstring(x):
    """Twice x."""


def docstring_and_mark(x):
    """Twice x."""
    # YOUR CODE HERE
    ...


def only_pass(x):
    pass


def returns_ellipsis(x):
    return ...


def raises_not_implemented(x):
    raise NotImplementedError


def raises_not_implemented_with_text(x):
    """Twice x."""
    raise NotImplementedError("later")


def given_code_around_the_mark(x):
    total = x.clone()
    for _ in range(1):
        # YOUR CODE HERE
        ...
    return total


@torch.no_grad()
def decorated(x): ...


class Stub(nn.Module):
    def __init__(self):
        super().__init__()

    def forward(self, x):
        # YOUR CODE HERE
        ...


def without_source():
    namespace = {}
    exec('def double(x):\n    """Twice x."""\n    ...\n', namespace)
    return namespace["double"]


@pytest.mark.parametrize(
    "stub",
    [
        only_ellipsis, only_docstring, docstring_and_mark, only_pass, returns_ellipsis, raises_not_implemented,
        raises_not_implemented_with_text, given_code_around_the_mark, decorated, Stub(), without_source(),
        lambda x: ...,
    ],
)  # fmt: skip
def test_what_is_not_started_gets_one_friendly_line_and_the_reference(stub, own_progress, capsys):
    assert check.double(stub) is reference_double
    said = capsys.readouterr().out
    assert "`double`: Not written yet.\n  The lesson goes on with the reference, come back any time.\n" in said
    assert solved(own_progress) == []


@pytest.mark.parametrize("begun", [lambda x: 5, lambda x: x, lambda x: print, lambda x: [None]])
def test_a_function_that_does_something_is_not_taken_for_a_stub(begun, capsys):
    assert check.double(begun) is reference_double
    assert "is not there yet" in capsys.readouterr().out


def test_the_reference_handed_back_by_an_earlier_run_does_not_count_as_solved(own_progress, capsys):
    handed_back = check.double(lambda x: x)
    assert check.double(handed_back) is reference_double
    assert "This is the reference." in capsys.readouterr().out
    assert solved(own_progress) == []


# -- wrong


def test_a_mistake_is_told_with_its_numbers_and_the_reference_goes_on(own_progress, capsys):
    assert check.double(lambda x: 3 * x) is reference_double
    said = capsys.readouterr().out
    assert "should be 6 at position (2,); yours is 9. 3 of 3 values differ." in said
    assert 'hint("double")' in said
    assert "incorrect" not in said.lower() and "wrong" not in said.lower()
    assert solved(own_progress) == []


def test_an_error_in_the_learners_code_is_told_by_its_own_line_without_library_frames(capsys):
    def mine(x):
        y = x + 1
        return y.view(7, 7)

    assert check.double(mine) is reference_double
    said = capsys.readouterr().out
    assert "Your code stopped with RuntimeError: shape '[7, 7]' is invalid" in said
    assert re.search(r"Line \d+: `return y.view\(7, 7\)`", said)
    assert "Traceback" not in said and "site-packages" not in said


def test_an_error_in_a_helper_of_the_learner_is_told_by_the_helpers_line(capsys):
    def helper(x):
        return x.undefined

    check.double(lambda x: helper(x))
    assert "`return x.undefined`" in capsys.readouterr().out


@pytest.mark.parametrize("ending", [SystemExit(3), RecursionError("deep"), MemoryError()])
def test_whatever_a_function_raises_the_lesson_goes_on(ending, capsys):
    def mine(x):
        raise ending

    assert check.double(mine) is reference_double
    assert type(ending).__name__ in capsys.readouterr().out


def test_an_error_of_the_check_itself_is_not_blamed_on_a_line_of_the_learner(capsys):
    register("fragile")(lambda fn: fn(GIVEN).no_such_attribute)
    assert check.fragile(lambda x: x) is reference_double
    said = capsys.readouterr().out
    assert "could not be checked" in said and "Line" not in said


def test_stopping_the_kernel_by_hand_is_not_swallowed():
    def mine(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check.double(mine)


@pytest.mark.parametrize("called", [None, 3.0, torch.ones(2), "double"])
def test_a_result_in_place_of_the_function_is_told_to_leave_out_the_call(called, capsys):
    assert check.double(called) is reference_double
    assert "takes the function itself" in capsys.readouterr().out


def takes_too_few():
    return 2


def takes_too_many(x, y):
    return x + y


def takes_by_name_only(*, x):
    return 2 * x


@pytest.mark.parametrize("other", [takes_too_few, takes_too_many, takes_by_name_only])
def test_other_parameters_are_told_with_the_documented_call(other, capsys):
    assert check.double(other) is reference_double
    said = capsys.readouterr().out
    assert "It is called as `double(x)`, and your function takes `(" in said


def test_renamed_parameters_and_more_optional_ones_are_fine():
    def mine(images, factor=2):
        return images * factor

    assert check.double(mine) is mine


# -- time


def endless(x):
    while True:
        pass


def endless_and_swallowing(x):
    while True:
        try:
            time.sleep(0.01)
        except:  # noqa: E722
            pass


@pytest.mark.parametrize("fn", [endless, endless_and_swallowing])
def test_a_loop_that_never_ends_is_stopped_and_nothing_of_the_alarm_remains(fn, capsys):
    def handler(signum, frame):
        raise AssertionError("a late alarm")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        started = time.monotonic()
        assert check.double(fn) is reference_double
        assert time.monotonic() - started < 20
        assert "did not come back within 0.3 s: is there a loop that never ends?" in capsys.readouterr().out
        assert signal.getsignal(signal.SIGALRM) is handler
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_an_alarm_that_ran_before_goes_on_afterwards():
    before = signal.signal(signal.SIGALRM, lambda signum, frame: None)
    try:
        signal.setitimer(signal.ITIMER_REAL, 100)
        check.double(lambda x: 2 * x)
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < left <= 100
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_check_works_in_a_thread_that_has_no_alarms():
    mine, came = (lambda x: 2 * x), []
    thread = threading.Thread(target=lambda: came.append(check.double(mine)))
    thread.start()
    thread.join()
    assert came == [mine]


# -- strict mode


@pytest.mark.parametrize("fn", [only_ellipsis, lambda x: x, endless, takes_too_many, None, reference_double])
def test_strict_mode_raises_for_whatever_is_not_right(fn, monkeypatch):
    monkeypatch.setenv("MEDATTACK_STRICT", "1")
    with pytest.raises(CheckFailed, match="^double: "):
        check.double(fn)


def test_strict_mode_records_nothing(monkeypatch, own_progress):
    monkeypatch.setenv("MEDATTACK_STRICT", "1")
    check.double(lambda x: 2 * x)
    monkeypatch.setenv("MEDATTACK_STRICT", "0")
    assert solved(own_progress) == []


# -- what a check leaves behind


def draws_and_switches(x):
    torch.rand(3), np.random.rand(3), random.random()
    torch.set_grad_enabled(False)
    return 2 * x


@pytest.mark.parametrize(
    "fn", [draws_and_switches, lambda x: draws_and_switches(x) + 1, lambda x: draws_and_switches(x).no]
)
@pytest.mark.parametrize("gradients", [True, False])
def test_a_check_leaves_random_states_and_gradient_mode_as_they_were(fn, gradients):
    with torch.set_grad_enabled(gradients):
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
        check.double(fn)
        assert torch.equal(before[0], torch.get_rng_state())
        assert (before[1] == np.random.get_state()[1]).all()
        assert before[2] == random.getstate()
        assert torch.is_grad_enabled() is gradients


def test_the_same_function_always_gets_the_same_verdict():
    seen = []
    register("drawing")(lambda fn: seen.append((torch.rand(1).item(), np.random.rand(), random.random())))
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        check.drawing(lambda x: 2 * x)
    assert seen[0] == seen[1]


def test_a_check_runs_with_gradients_even_under_no_grad():
    seen = []
    register("mode")(lambda fn: seen.append(torch.is_grad_enabled()))
    with torch.no_grad():
        check.mode(lambda x: 2 * x)
    assert seen == [True]


# -- the helpers of a check


def add_in_place(x):
    x += 1
    return x


@pytest.mark.parametrize("given", [torch.zeros(2), np.zeros(2), [torch.zeros(2)], {"x": torch.zeros(2)}])
def test_an_input_changed_in_place_is_a_mistake_and_the_caller_keeps_the_original(given):
    def spoil(x):
        add_in_place(x if not isinstance(x, list | dict) else x["x"] if isinstance(x, dict) else x[0])
        return x

    with pytest.raises(Mistake, match="changed its input `x` in place"):
        call(spoil, given)
    with pytest.raises(Mistake, match="`x`"):
        call(spoil, x=given)
    inner = given["x"] if isinstance(given, dict) else given[0] if isinstance(given, list) else given
    assert float(inner.sum()) == 0


def with_a_gradient_left(x):
    x.requires_grad_()
    (x**2).sum().backward()
    x.requires_grad_(False)
    return 2 * x


@pytest.mark.parametrize("left", [lambda x: x.requires_grad_() * 1, with_a_gradient_left])
def test_an_input_that_is_left_watched_is_a_mistake(left):
    with pytest.raises(Mistake, match="left its caller's `x` watched"):
        call(left, torch.ones(2))
    assert not GIVEN.requires_grad


def test_an_input_that_was_watched_may_stay_so_and_a_copy_may_be():
    assert call(lambda x: x * 1, torch.ones(2, requires_grad=True)).requires_grad
    assert call(lambda x: x.clone().requires_grad_() * 1, torch.ones(2)).requires_grad


def test_a_model_that_is_thawed_is_a_mistake():
    model = torch.nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(Mistake, match="weights are watched"), unchanged(model):
        model.requires_grad_()


def test_a_missing_return_is_told():
    with pytest.raises(Mistake, match="gave back None"):
        call(lambda x: None, GIVEN)


def leave_training(model):
    model.train()


def move_weights(model):
    with torch.no_grad():
        next(model.parameters()).add_(1)


def leave_gradients(model):
    model(torch.ones(1, 2)).sum().backward()


@pytest.mark.parametrize(
    ("deed", "told"), [(leave_training, "train"), (move_weights, "weight"), (leave_gradients, "gradients")]
)
def test_what_a_function_does_to_the_model_is_noticed(deed, told):
    model = nn.Linear(2, 2).eval()
    with unchanged(model):
        model(torch.ones(1, 2))
    with pytest.raises(Mistake, match=told), unchanged(model):
        deed(model)


IMAGES = torch.full((2, 3, 4, 4), 0.5)


@pytest.mark.parametrize(
    ("out", "told"),
    [
        (None, "None came"),
        (IMAGES.numpy(), "a NumPy array"),
        (IMAGES[0], r"shape of your images is \(3, 4, 4\); expected was \(2, 3, 4, 4\)"),
        (IMAGES.double(), "float64; expected was float32"),
        (IMAGES * float("nan"), "96 of 96 values"),
        (IMAGES * 3, "from 1.500 to 1.500.*96 of 96 don't"),
        (IMAGES - 0.6, "from -0.100"),
    ],
)
def test_what_is_no_image_is_told_with_its_numbers(out, told):
    expect_images(IMAGES, like=IMAGES, what="your images")
    expect_images(IMAGES[:0], like=IMAGES[:0])
    with pytest.raises(Mistake, match=told):
        expect_images(out, like=IMAGES, what="your images")


@pytest.mark.parametrize("number", [1, 1.0, np.float32(1), torch.tensor(1.0), np.array(1)])
def test_one_number_in_any_form_is_a_number(number):
    assert expect_number(number, "the loss", low=0, high=1) == 1.0


@pytest.mark.parametrize(
    ("out", "told"),
    [
        (None, "None came"), (True, "True came"), ("1", "'1' came"), (torch.ones(3), r"a tensor \(3,\)"),
        (torch.tensor(True), "of bool"), (float("nan"), "finite"), (83.3, "between 0 and 1; yours is 83.3"),
        (-1, "between 0 and 1; yours is -1"),
    ],
)  # fmt: skip
def test_what_is_not_one_number_in_its_bounds_is_told(out, told):
    with pytest.raises(Mistake, match=told):
        expect_number(out, "the sensitivity", low=0, high=1)


def test_a_bound_on_one_side_is_told_alone():
    with pytest.raises(Mistake, match="at least 0; yours is -2"):
        expect_number(-2, "the loss", low=0)
    with pytest.raises(Mistake, match="at most 1; yours is 2"):
        expect_number(2, "the share", high=1)


def test_close_numbers_and_tensors_pass_and_others_are_told_where():
    expect_close(0.5000001, 0.5, "the mean")
    expect_close(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.000001]]), "the step")
    with pytest.raises(Mistake, match="The mean should be 0.5; yours is 0.75."):
        expect_close(0.75, 0.5, "the mean")
    with pytest.raises(Mistake, match=r"be 2 at position \(0, 1\); yours is 5. 1 of 2 values differ"):
        expect_close(torch.tensor([[1.0, 5.0]]), torch.tensor([[1.0, 2.0]]), "the step")
    with pytest.raises(Mistake, match="shape of the step"):
        expect_close(torch.ones(3), torch.ones(2), "the step")
    with pytest.raises(Mistake, match="NaN"):
        expect_tensor(torch.tensor([float("inf")]))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.ones(2, 3), "a tensor (2, 3) of float32"), (np.ones(2), "a NumPy array (2,) of float64"),
        ([1, 2], "a list of 2"), (0.5, "the number 0.5"), (object(), "an object of type object"), (..., "Ellipsis"),
    ],
)  # fmt: skip
def test_a_value_is_described_in_a_few_words(value, words):
    assert describe(value) == words


# -- registering and finding


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "two words"}, "plain function name"), ({"name": "_hidden"}, "plain function name"),
        ({"lesson": "3"}, "two digits"), ({"hints": ("a", "b")}, "2 hints; it needs 3"), ({"hints": "abc"}, "1 hints"),
        ({"hints": ("a", "b", " ")}, "needs 3"), ({"reference": None}, "give a function"),
        ({"reference": torch.mul}, "give a function"),
    ],
)  # fmt: skip
def test_an_exercise_that_does_not_fit_is_refused_when_registered(changes, told):
    with pytest.raises(ValueError, match=told):
        register(changes.pop("name", "new"), **changes)


def test_two_lessons_cannot_use_one_name_but_a_lesson_can_be_reloaded():
    register("double")(check_double)

    def elsewhere(fn): ...

    elsewhere.__module__ = "another.lesson"
    with pytest.raises(ValueError, match="exists already"):
        register("double")(elsewhere)


def test_an_unknown_name_is_answered_with_the_near_ones():
    with pytest.raises(AttributeError, match="Did you mean double"):
        check.doubel  # noqa: B018
    with pytest.raises(ValueError, match="Did you mean double"):
        hint("doubel")
    with pytest.raises(ValueError, match="in quotes"):
        hint(reference_double)
    with pytest.raises(ValueError, match="name of an exercise in quotes"):
        hint()


def test_tab_completion_and_help_know_the_exercises():
    assert "double" in dir(check)
    assert "double(x)" in check.double.__doc__
    assert "double" in repr(check)
    assert not hasattr(check, "_repr_html_")


def test_hints_open_one_by_one_and_the_last_one_stays(capsys, own_progress):
    texts = []
    for _ in range(5):
        hint("double")
        texts.append(capsys.readouterr().out)
    assert ["one" in texts[0], "two" in texts[1], "three" in texts[2]] == [True] * 3
    assert "there are no more" not in texts[2]
    assert all("three" in text and "there are no more" in text for text in texts[3:])
    assert own_progress.read()["exercises"]["double"]["hints"] == 3
    file = json.loads((runtime.cache_dir("progress") / "progress.json").read_text())
    assert file["exercises"]["double"]["hints"] == 3


def test_a_cache_that_cannot_be_written_breaks_no_check_and_is_said_once(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path / "file"))
    mine = lambda x: 2 * x  # noqa: E731
    assert check.double(mine) is mine
    hint("double")
    hint("double")
    said = capsys.readouterr().out
    assert said.count("Progress can't be saved") == 1
    assert "one" in said and "two" in said


# -- in a notebook


@pytest.fixture
def shown(monkeypatch):
    """What a notebook would show."""
    came = []
    monkeypatch.setattr(notices, "in_kernel", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda value, **_: came.append(value))
    return came


def test_a_notice_is_html_that_escapes_what_a_learner_wrote_and_is_text_as_well(shown):
    def mine(x):
        raise ValueError("<script>alert(1)</script>")

    check.double(mine)
    assert "&lt;script&gt;" in shown[0]["text/html"] and "<script>" not in shown[0]["text/html"]
    assert "<code>hint(" in shown[0]["text/html"]
    assert "is not there yet" in shown[0]["text/plain"]


def test_a_mistakes_figure_is_shown_once_as_a_picture_with_a_text(shown):
    from matplotlib import pyplot

    def check_with_figure(fn):
        raise Mistake("Look.", figure=pyplot.figure())

    register("pictured")(check_with_figure)
    open_before = pyplot.get_fignums()
    check.pictured(lambda x: x)
    picture = shown[1]
    assert picture.data.startswith(b"\x89PNG") and "Look." in picture.alt
    assert pyplot.get_fignums() == open_before


def test_a_check_in_a_real_kernel_stops_an_endless_loop_and_shows_html():
    import nbformat
    from nbclient import NotebookClient

    code = """
from medattack_edu.course.checks import check
from medattack_edu.course.checks.framework import Mistake, exercise

@exercise("loop", lesson="99", title="Loop", reference=lambda x: x, hints=("a", "b", "c"), limit_s=0.3)
def check_loop(fn):
    fn(1)

def loop(x):
    while True:
        pass

loop = check.loop(loop)
loop(7)
"""
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(page, timeout=120, kernel_name="python3").execute()
    notice, result = page.cells[0].outputs
    assert "did not come back within 0.3 s" in notice["data"]["text/html"]
    assert result["data"]["text/plain"] == "7"


# -- the helper of the lessons' tests


def doubled(x):
    return torch.stack([x, x]).sum(0)


SOUND = {
    "solution": doubled,
    "mistakes": {
        "not at all": (lambda x: x, "yours is 3"), "three times": (lambda x: 3 * x, "yours is 9"),
        "none": (lambda x: print(end=""), "gave back None"), "negative": (lambda x: -2 * x, "yours is -6"),
        "in place": (lambda x: x.mul_(2), "in place"),
    },
    "alternatives": [lambda x: x + x, lambda x: 2 * x],
}  # fmt: skip


def test_the_helper_accepts_a_check_that_knows_right_from_wrong():
    assert_check_is_sound("double", **SOUND)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"solution": lambda x: 3 * x}, {"alternatives": [lambda x: 2 * x]},
        {"alternatives": [lambda x: 2 * x, lambda x: x]},
        {"mistakes": dict(list(SOUND["mistakes"].items())[:4])},
        {"mistakes": SOUND["mistakes"] | {"right": (lambda x: 2 * x, "yours")}},
        {"mistakes": SOUND["mistakes"] | {"another reason": (lambda x: x, "in place")}},
        {"mistakes": SOUND["mistakes"] | {"no reason": (lambda x: x, " ")}},
    ],
)  # fmt: skip
def test_the_helper_refuses_what_it_should(spoilt):
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        assert_check_is_sound("double", **(SOUND | spoilt))


def test_the_helper_refuses_a_message_that_gives_the_solution_away():
    def telling(fn):
        if not torch.equal(fn(GIVEN), 2 * GIVEN):
            raise Mistake("Write `return torch.stack([x, x]).sum(0)`.")

    register("double")(telling)
    telling_mistakes = {str(n): (lambda x, n=n: n * x, "Write") for n in range(3, 8)}
    with pytest.raises(AssertionError, match="gives the solution away"):
        assert_check_is_sound("double", **(SOUND | {"mistakes": telling_mistakes}))
