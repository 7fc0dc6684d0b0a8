"""What the record of a learner's progress promises: whole, shared between kernels, and never in the way."""

import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medattack_edu import cli, runtime
from medattack_edu.course import progress as module
from medattack_edu.course.progress import Record, progress


@pytest.fixture(autouse=True)
def record(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    fresh = Record()
    monkeypatch.setattr(module, "record", fresh)
    return fresh


def file():
    return runtime.cache_dir("progress") / "progress.json"


def test_what_one_kernel_writes_another_reads(record):
    record.solve("fgs")
    assert record.use_hint("fgs", 3) == 0
    record.answer("Why?", True)
    known = Record().read()
    assert known["exercises"]["fgs"]["solved"] and known["exercises"]["fgs"]["hints"] == 1
    assert known["quizzes"]["Why?"] == {"right_at_once": True, "right": True}


def test_the_time_of_the_first_solution_stays(record, monkeypatch):
    monkeypatch.setattr(module, "_now", lambda: "2031-01-01T00:00:00+00:00")
    record.solve("fgs")
    monkeypatch.setattr(module, "_now", lambda: "2032-01-01T00:00:00+00:00")
    record.solve("fgs")
    assert record.read()["exercises"]["fgs"]["solved"] == "2031-01-01T00:00:00+00:00"


def test_a_second_answer_does_not_count_as_known_at_once(record):
    record.answer("Why?", False)
    record.answer("Why?", True)
    record.answer("Why?", False)
    assert record.read()["quizzes"]["Why?"] == {"right_at_once": False, "right": True}


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still; `pass_time(minutes)` moves it."""
    now = [datetime(2031, 1, 1, tzinfo=UTC)]
    monkeypatch.setattr(module, "_now", lambda: now[0].isoformat())

    def pass_time(minutes):
        now[0] += timedelta(minutes=minutes)

    return pass_time


def test_a_check_notes_when_it_first_ran_and_when_it_passed(record, clock):
    record.check("fgs", "03", right=False)
    clock(minutes=10)
    record.check("fgs", "03", right=False)
    record.use_hint("fgs", 3, "03")
    clock(minutes=5)
    record.check("fgs", "03", right=True)
    record.use_hint("fgs", 3, "03")
    fgs = record.read()["exercises"]["fgs"]
    assert fgs["met"].startswith("2031-01-01T00:00") and fgs["solved"].startswith("2031-01-01T00:15")
    assert (fgs["hints_when_solved"], fgs["hints"]) == (1, 2), "a hint after the solution was no help"


def test_the_time_of_a_lesson_leaves_pauses_out(record, clock):
    for pause in (0, 10, module.PAUSE_S / 60, module.PAUSE_S / 60 + 1, 60 * 24, -90, 2):
        clock(minutes=pause)
        record.check("fgs", "03", right=False)
    assert record.read()["lessons"]["03"]["seconds"] == 10 * 60 + module.PAUSE_S + 2 * 60


def test_hints_and_quiz_answers_are_time_in_the_lesson_that_they_belong_to(record, clock):
    record.answer("before anything", True)
    record.check("fgs", "03", right=True)
    clock(minutes=1)
    record.check("pgd", "04", right=False)
    clock(minutes=4)
    record.use_hint("pgd", 3, "04")
    clock(minutes=5)
    record.answer("Why?", True)
    assert {number: lesson["seconds"] for number, lesson in record.read()["lessons"].items()} == {"03": 0, "04": 540}


@pytest.mark.parametrize("name", ["/home/me/medattack/solutions/03_fast_gradient_sign.ipynb", "solutions/03.ipynb"])
def test_what_passes_in_a_solutions_notebook_is_told_apart_and_solves_nothing(name, record, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", name)
    record.check("fgs", "03", right=True)
    fgs = record.read()["exercises"]["fgs"]
    assert "solution" in fgs and "solved" not in fgs
    monkeypatch.setenv("JPY_SESSION_NAME", name.replace("solutions", "lessons"))
    record.check("fgs", "03", right=True)
    assert {"solution", "solved"} <= record.read()["exercises"]["fgs"].keys()


def test_a_record_from_before_there_were_times_goes_on_as_it_is(record, capsys):
    old = {
        "version": 1,
        "exercises": {"fgs": {"solved": "2025-01-01T00:00:00+00:00", "hints": 2}, "pgd": {"hints": 1}},
        "quizzes": {"Why?": {"right_at_once": True, "right": True}},
    }
    file().write_text(json.dumps(old))
    assert record.read() == old | {"lessons": {}}
    record.check("fgs", "03", right=True)
    fgs = record.read()["exercises"]["fgs"]
    assert fgs["solved"] == old["exercises"]["fgs"]["solved"] and fgs["hints"] == 2
    assert capsys.readouterr().out == ""


def test_two_kernels_that_write_at_once_lose_nothing():
    many = 25
    code = "import sys\nfrom medattack_edu.course.progress import record\n" + (
        f"for n in range({many}):\n    record.solve(f'{{sys.argv[1]}}{{n}}')\n    record.use_hint('shared', 1000)\n"
    )
    kernels = [subprocess.Popen([sys.executable, "-c", code, name], env=os.environ) for name in "ab"]
    assert [kernel.wait(120) for kernel in kernels] == [0, 0]
    known = Record().read()["exercises"]
    assert set(known) == {f"{name}{n}" for name in "ab" for n in range(many)} | {"shared"}
    assert known["shared"]["hints"] == 2 * many


@pytest.mark.parametrize(
    "damage",
    [
        b"", b"{", b"\xff\xfe", b"[]", b'{"version": 1}', b'{"version": 7, "exercises": {}, "quizzes": {}}',
        b'{"version": 1, "exercises": {"fgs": 3}, "quizzes": {}}',
        b'{"version": 1, "exercises": {"fgs": {"hints": "x"}}, "quizzes": {}}',
        b'{"version": 1, "exercises": {}, "quizzes": {"Why?": {}}}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_said_moved_aside_and_started_anew(damage, record, capsys):
    file().write_bytes(damage)
    record.solve("fgs")
    said = capsys.readouterr().out
    assert said.count("was damaged") == 1
    aside = list(file().parent.glob("damaged-*.json"))
    assert [path.read_bytes() for path in aside] == [damage] and str(aside[0]) in said
    assert "solved" in Record().read()["exercises"]["fgs"]


def test_what_can_be_read_of_a_damaged_file_goes_on(record, capsys):
    whole = {"solved": "2025-01-01T00:00:00+00:00", "hints": 2}
    damaged = {
        "version": 1, "more": "of a later version",
        "exercises": {"fgs": whole, "pgd": {"solved": "yesterday"}, "noise": {"hints": -1}, "nes": {"met": "2025-01"}},
        "quizzes": {"Why?": {"right_at_once": True, "right": 3}}, "lessons": [],
    }  # fmt: skip
    file().write_text(json.dumps(damaged))
    for _ in range(2):
        known = record.read()
        assert known["exercises"] == {"fgs": whole} and known["more"] == "of a later version"
        assert known["quizzes"] == known["lessons"] == {}
    assert capsys.readouterr().out.count("was damaged; its 1 readable entries go on.") == 1
    (aside,) = file().parent.glob("damaged-*.json")
    assert json.loads(aside.read_text()) == damaged


TIMES = st.datetimes(datetime(2000, 1, 2), datetime(2999, 1, 1), timezones=st.just(UTC)).map(datetime.isoformat)
EXERCISES = st.fixed_dictionaries(
    {}, optional={"met": TIMES, "solved": TIMES, "hints": st.integers(0, 3), "hints_when_solved": st.integers(0, 3)}
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda parts: st.lists(parts) | st.dictionaries(st.text(), parts),
)
UNHURRIED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(suppress_health_check=UNHURRIED, deadline=None, max_examples=60)
@given(whole=st.dictionaries(st.text(), EXERCISES), broken=st.dictionaries(st.text(), ANYTHING), rest=ANYTHING)
def test_no_damage_stops_a_learner_or_costs_a_whole_entry(whole, broken, rest, monkeypatch):
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("MEDATTACK_CACHE", folder)
        written = json.dumps({"version": 1, "exercises": broken | whole, "quizzes": rest, "lessons": rest})
        file().write_text(written)
        Record().check("fgs", "03", right=True)
        known = Record().read()
        assert all(known["exercises"][name].items() >= entry.items() for name, entry in whole.items())
        assert "solved" in known["exercises"]["fgs"]
        asides = [path.read_text() for path in Path(folder).rglob("damaged-*.json")]
        assert asides in ([], [written]) and (asides or isinstance(rest, dict))


def test_the_file_is_replaced_whole_and_nothing_temporary_stays(record):
    record.solve("fgs")
    json.loads(file().read_text(encoding="utf-8"))
    assert {path.name for path in file().parent.iterdir()} <= {"progress.json", "progress.lock"}


def test_a_folder_that_cannot_be_written_is_said_once_and_the_session_remembers(tmp_path, record, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path / "file"))
    assert [record.use_hint("fgs", 3) for _ in range(3)] == [0, 1, 2]
    record.solve("fgs")
    assert record.read()["exercises"]["fgs"]["hints"] == 3
    assert capsys.readouterr().out.count("Progress can't be saved") == 1


def test_a_full_disk_breaks_nothing(record, monkeypatch, capsys):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runtime, "atomic_path", full)
    record.solve("fgs")
    assert "No space left" in capsys.readouterr().out
    assert "solved" in record.read()["exercises"]["fgs"]


@pytest.mark.parametrize(("name", "value"), [("MEDATTACK_STRICT", "1"), ("MEDATTACK_PROGRESS", "off")])
def test_solutions_that_tests_run_are_not_recorded_as_a_learners(name, value, record, monkeypatch):
    record.solve("before")
    monkeypatch.setenv(name, value)
    record.solve("fgs")
    assert record.use_hint("fgs", 3) == 0 and record.use_hint("fgs", 3) == 1, "hints open one by one all the same"
    monkeypatch.delenv(name)
    assert list(record.read()["exercises"]) == ["before"]


def test_the_table_counts_what_is_solved_in_each_lesson(record, capsys):
    record.solve("accuracy")
    record.use_hint("accuracy", 3)
    record.answer("Why?", True)
    record.answer("How?", False)
    progress()
    said = capsys.readouterr().out
    line = next(line for line in said.splitlines() if line.startswith("00"))
    assert re.search(r"1 of 1 +accuracy ✓ +1 +–$", line)
    assert "Quiz questions answered: 2, right at once: 1." in said
    assert "1 of them without a hint" in said and "medattack progress --html summary.html" in said


def test_the_page_is_written_where_it_is_wanted_and_the_command_writes_the_same(tmp_path, record, capsys):
    record.check("accuracy", "00", right=True)
    progress.save(tmp_path / "mine.html")
    assert str(tmp_path / "mine.html") in capsys.readouterr().out
    assert cli.main(["progress", "--html", str(tmp_path / "too.html")]) == 0
    assert "accuracy ✓" in capsys.readouterr().out
    assert (tmp_path / "too.html").read_text(encoding="utf-8") == (tmp_path / "mine.html").read_text(encoding="utf-8")
    assert cli.main(["progress", "--html", str(tmp_path)]) == cli.TO_MEND
    assert "is a folder" in capsys.readouterr().err


def test_reset_starts_anew_and_says_what_is_forgotten(record, capsys):
    record.solve("accuracy")
    progress.reset()
    assert "Solved exercises forgotten: 1" in capsys.readouterr().out
    assert Record().read() == module.EMPTY
    assert "progress.reset()" in repr(progress)
