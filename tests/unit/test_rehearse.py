"""What `medattack rehearse` promises: kernels at once, what they take together, and an extrapolation that can be checked."""

import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from medattack_edu import cli
from medattack_edu.course.lesson_run import LessonRun
from medattack_edu.course.rehearse import GIB, MIB, Rehearsal, Together, extrapolation, hold, read_counts, table

KERNEL = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}}
BIG_MIB = 120
# Each learner waits for the other one; the last to come meets an error.
MEETS = """
import os, pathlib, time
here = pathlib.Path(r"{}")
(here / str(os.getpid())).touch()
for _ in range(600):
    if len(list(here.iterdir())) == 2:
        break
    time.sleep(0.1)
else:
    raise TimeoutError("the other one isn't there")
big = bytes([1]) * ({} << 20)
time.sleep(1.2)
if os.getpid() == max(int(path.name) for path in here.iterdir()):
    raise KeyError("unlucky")
"""


def notebook(path, code):
    cells = [new_code_cell("n = 1", metadata={"tags": ["parameters"]}), new_code_cell(code)]
    path.write_text(nbformat.writes(new_notebook(cells=cells, metadata=KERNEL)), encoding="utf-8")
    return path


def test_two_learners_at_once_are_measured_each_and_together_and_a_failure_is_told(tmp_path, capsys):
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    lesson = notebook(tmp_path / "03_tiny.ipynb", MEETS.format(meeting, BIG_MIB))
    assert cli.main(["rehearse", "--learners", "2", "--lesson", str(lesson)]) == 1
    told = capsys.readouterr().out
    assert "03_tiny on " in told and "failed, with 2 at once: KeyError: 'unlucky'" in told
    row = re.search(r"^ +2 +1/2 +([\d.]+) +([\d.]+) +(\d+) +(\d+), +(\d+) +(\w+) +(\d+)$", told, re.MULTILINE)
    assert row, told
    median, slowest, _, peak, most, together, threads = row.groups()
    assert 0 < float(median) <= float(slowest) and BIG_MIB < int(peak) <= int(most) < 3 * BIG_MIB and int(threads) >= 1
    if sys.platform == "linux":
        assert 2 * BIG_MIB < int(together) < 2 * int(most), "pages that both share count once"
    assert "A class of 30, extrapolated from 2 at once" in told


def test_staggered_learners_start_one_after_the_other(monkeypatch):
    import time

    begun, started = [], time.monotonic()

    def run_lesson(path, **_):
        begun.append(time.monotonic() - started)
        return LessonRun(Path(path), new_notebook())

    monkeypatch.setattr("medattack_edu.course.rehearse.run_lesson", run_lesson)
    rehearsal = hold("03.ipynb", 3, {}, stagger=0.2)
    assert len(rehearsal.passed) == 3
    assert all(at >= 0.2 * number for number, at in enumerate(sorted(begun)))


FULLEST = Together(kernels=4, all=2000 * MIB, own=1600 * MIB)


def rehearsal(together=FULLEST):
    lessons = [
        LessonRun(Path("03.ipynb"), new_notebook(), seconds=seconds, cpu_seconds=40, peak_bytes=peak * MIB)
        for seconds, peak in ((30, 600), (31, 610), (32, 605), (50, 640))
    ]
    return Rehearsal(lessons, 1, together)


def test_the_extrapolation_is_arithmetic_that_the_reader_can_follow():
    told = extrapolation(rehearsal())
    likely = (30 * 400 + 400) / 1024 + 2
    assert f"about {likely:.1f} GiB: 30 x 400 MiB of each kernel's own + 400 MiB shared + 2 GiB" in told
    assert f"at most {30 * 640 * MIB / GIB + 2:.1f} GiB: 30 x 640 MiB" in told
    assert (
        "10 cores, if all run all cells at the same moment and wait no more than 120 s: 30 x 40 s of computing" in told
    )
    assert "1 core, if each works at a pace of their own over 45 minutes" in told
    assert "a guess, not measured" in told and "starts were at the same moment" in told
    assert "starts were 5 s apart" in extrapolation(rehearsal(), stagger=5)


def test_a_system_that_counts_no_shared_pages_gets_the_upper_bound_alone():
    told = extrapolation(rehearsal(together=None))
    assert "at most 20.8 GiB" in told and "shared" not in told
    assert "unknown" in table({4: rehearsal(together=None)})


def test_the_table_has_a_line_for_each_number_of_learners():
    lines = table({1: rehearsal(), 4: rehearsal()}).splitlines()
    assert len(lines) == 3 and lines[2].split() == ["4", "4/4", "31.5", "50.0", "40", "608,", "640", "2000", "1"]


@pytest.mark.parametrize(("text", "counts"), [("2", [2]), ("1,2, 4", [1, 2, 4])])
def test_learners_are_one_number_or_several(text, counts):
    assert read_counts(text) == counts


@pytest.mark.parametrize("text", ["", "0", "two", "1,,2", "-1", "1.5"])
def test_other_learners_are_refused_in_one_line(text, capsys, tmp_path):
    lesson = notebook(tmp_path / "03.ipynb", "1")
    assert cli.main(["rehearse", f"--learners={text}", "--lesson", str(lesson)]) == 2
    assert "--learners takes a number" in capsys.readouterr().err
