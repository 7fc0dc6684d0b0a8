"""What `medattack run --dask` promises: a worker that is lost loses nothing, and what is missing is said."""

import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from medattack_edu.course import cluster
from medattack_edu.course.lesson_run import Plan
from medattack_edu.course.run import run_each, run_lessons
from medattack_edu.course.sweep import run_sweep

ROOT = Path(__file__).parents[2]
KERNEL = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}}
LIMIT_S = 60
# Says which worker runs it, and waits until one of them was killed.
SAYS_WHERE = """
import os, pathlib, time
here = pathlib.Path(r"{}")
(here / f"run-{{n}}-{{os.getppid()}}").touch()
for _ in range(600):
    if (here / "killed").exists():
        break
    time.sleep(0.1)
else:
    raise TimeoutError("no worker was killed")
"""


def notebook(path, code="1"):
    cells = [new_code_cell("n = 1", metadata={"tags": ["parameters"]}), new_code_cell(code)]
    path.write_text(nbformat.writes(new_notebook(cells=cells, metadata=KERNEL)), encoding="utf-8")
    return path


def wait_for(what):
    deadline = time.monotonic() + LIMIT_S
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


@pytest.fixture
def scheduler(tmp_path):
    """A function that starts a scheduler and so many workers, each a process; returns the scheduler's address."""
    pytest.importorskip("distributed", reason="Dask isn't installed; it comes with the extra cluster")
    processes, file = [], tmp_path / "scheduler.json"

    def start(*words):
        command = [sys.executable, "-m", *words, "--scheduler-file", str(file), "--no-dashboard"]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path))

    def scheduler(workers):
        import json

        start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
        for _ in range(workers):  # each of them takes seconds to start, and waits for the file
            start("distributed.cli.dask_worker", "--no-nanny", "--nthreads", "1")
        wait_for(file.exists)
        return wait_for(lambda: json.loads(file.read_text() or "{}").get("address"))

    yield scheduler
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_of_two_workers_one_is_killed_during_its_run_and_nothing_is_lost(scheduler, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    lesson = notebook(tmp_path / "03_tiny.ipynb", SAYS_WHERE.format(marks))
    killed, done = [], []

    def kill_one():
        runs = wait_for(lambda: len(found := list(marks.glob("run-*"))) == 2 and found)
        workers = {int(path.name.split("-")[2]) for path in runs}
        assert len(workers) == 2, "both workers have a run"
        killed.append(int(runs[0].name.split("-")[2]))
        os.kill(killed[0], signal.SIGKILL)
        (marks / "killed").touch()

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    plans = [Plan(lesson, {"n": n}) for n in range(3)]
    run_each(plans, done.append, settings={"MEDATTACK_PROGRESS": "off"}, dask=scheduler(workers=2))
    killer.join()
    assert sorted(run.parameters["n"] for run in done) == [0, 1, 2] and [run.error for run in done] == [None] * 3
    assert {run.path for run in done} == {lesson} and all(run.peak_bytes > 20 << 20 for run in done)
    runs = [path.name.split("-")[1:] for path in marks.glob("run-*")]
    [lost] = [n for n, worker in runs if int(worker) == killed[0]]
    assert len([n for n, _ in runs if n == lost]) == 2 and len(runs) == 4, (
        "what was lost was begun anew, and nothing else"
    )


def test_without_dask_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r'Dask isn\'t installed.*"\.\[cluster\]"'):
        run_lessons([notebook(tmp_path / "03.ipynb")], tmp_path / "out", dask="tcp://127.0.0.1:1")


def test_an_address_where_nobody_answers_is_told_and_how_to_start_a_cluster(monkeypatch, tmp_path):
    pytest.importorskip("distributed", reason="Dask isn't installed; it comes with the extra cluster")
    monkeypatch.setattr(cluster, "ANSWER_LIMIT_S", 0.5)
    with pytest.raises(ValueError, match="No Dask scheduler answers at tcp://127.0.0.1:1 .*dask scheduler"):
        run_lessons([notebook(tmp_path / "03.ipynb")], tmp_path / "out", dask="tcp://127.0.0.1:1")
    with pytest.raises(ValueError, match="No Dask scheduler"):
        run_sweep([notebook(tmp_path / "03.ipynb")], tmp_path / "out", sweep={"n": {"1": 1}}, dask="tcp://127.0.0.1:1")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("address", ["nonsense", "http://127.0.0.1:9", ""])
def test_no_client_is_made_for_what_is_no_address_because_it_would_hang_at_its_end(address, monkeypatch, tmp_path):
    distributed = pytest.importorskip("distributed", reason="Dask isn't installed; it comes with the extra cluster")
    made = []
    monkeypatch.setattr(distributed, "Client", lambda *_, **__: made.append(address))
    with pytest.raises(ValueError, match=f"No Dask scheduler answers at {address} .*address.*dask scheduler"):
        run_lessons([notebook(tmp_path / "03.ipynb")], tmp_path / "out", dask=address)
    assert made == []


def test_a_cluster_without_workers_is_told(scheduler, monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "ANSWER_LIMIT_S", 2)
    with pytest.raises(ValueError, match="has no workers. Start some with: dask worker tcp://"):
        run_lessons([notebook(tmp_path / "03.ipynb")], tmp_path / "out", dask=scheduler(workers=0))


class Client:
    """A cluster of one worker, which answers what it is told to."""

    def __init__(self, answer):
        self.answer = answer

    def wait_for_workers(self, n, timeout):
        pass

    def run(self, function, on_error):
        return {"tcp://worker": self.answer}


@pytest.mark.parametrize(
    ("answer", "told"),
    [("0.0.0", "has version 0.0.0 of the course"), (ImportError("no module"), "can't import medattack_edu")],
)
def test_a_worker_with_another_version_or_none_is_told(answer, told):
    with pytest.raises(ValueError, match=told):
        cluster._check_workers(Client(answer), "tcp://here")


def test_a_task_that_the_cluster_gives_up_is_a_failed_run(tmp_path):
    class GivenUp:
        def result(self):
            raise RuntimeError("three workers died of it")

    lesson = cluster._came_back(GivenUp(), Plan(notebook(tmp_path / "03.ipynb"), {"n": 2}))
    assert lesson.error == "RuntimeError: three workers died of it" and lesson.parameters == {"n": 2}


def test_the_extra_has_the_pins_that_the_tests_run_with():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert extras["cluster"] and set(extras["cluster"]) <= set(extras["dev"])
