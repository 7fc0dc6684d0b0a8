"""What the record of a learner's progress promises: whole, shared between kernels, and never in the way."""

import json
import os
import subprocess
import sys

import pytest

from medattack_edu import runtime
from medattack_edu.course import progress as module
from medattack_edu.course.progress import Record, progress


@pytest.fixture(autouse=True)
def record(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path / "cache"))
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
    assert "1 of 1" in line and "accuracy ✓" in line and line.endswith("1")
    assert "Quiz questions answered: 2, right at once: 1." in said


def test_reset_starts_anew_and_says_what_is_forgotten(record, capsys):
    record.solve("accuracy")
    progress.reset()
    assert "Solved exercises forgotten: 1" in capsys.readouterr().out
    assert Record().read() == module.EMPTY
    assert "progress.reset()" in repr(progress)
