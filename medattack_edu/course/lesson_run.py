"""One notebook, run in a kernel of its own: what became of it, its time and memory, its claims and results.

Running many is the work of `run` (here) and `cluster` (elsewhere); pages are made in `pages`.
"""

import os
import re
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import nbformat
import psutil
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.execute import execute_notebook, remove_error_markers

from medattack_edu import runtime
from medattack_edu.course.claims import CLAIM_RECORD, RESULT_RECORD

START_LIMIT_S = 120  # a cold disk and a busy machine; a kernel takes about 1 s
# Two kernels that start at once may be given the same free port, and one of them then dies before its first cell. That
# says nothing of the notebook, so it gets another start.
STARTS, NOT_STARTED = 3, "Kernel died before replying"
KERNEL_LOG, LAST_WORDS = "kernel.log", 2000  # characters of it that are shown when the kernel dies
LOOK_AGAIN_S = 0.2  # between two looks at the kernel: its memory, and whether it is to stop
# Settings of the caller that decide what a lesson shows. They go along to kernels on other machines too.
SETTINGS = ("MEDATTACK_IMAGES", "MEDATTACK_DEVICE", "MEDATTACK_STRICT")


class Plan(NamedTuple):
    """A run to be made: a notebook, and the values put in place of those in its parameters cell."""

    path: Path
    parameters: dict


@dataclass
class LessonRun:
    """What became of one run. `error` is None, or what stopped it; `stopped_at` the index of the cell."""

    path: Path
    notebook: nbformat.NotebookNode
    parameters: dict = field(default_factory=dict)
    error: str | None = None
    stopped_at: int | None = None
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of all cores
    peak_bytes: int = 0

    @property
    def name(self):
        return self.path.stem

    @property
    def title(self):
        """The lesson's own title, else the file's name."""
        first = self.notebook.cells[0].source.splitlines() if self.notebook.cells else []
        return first[0].lstrip("# ") if first else self.name

    @property
    def claims(self):
        """The records of the claims that were made, in their order."""
        return [data[CLAIM_RECORD] for data in self._shown() if CLAIM_RECORD in data]

    @property
    def results(self):
        """The records of the numbers that were kept under a name, in their order."""
        return [data[RESULT_RECORD] for data in self._shown() if RESULT_RECORD in data]

    @property
    def pictures(self):
        """The figures shown, as base64 of PNG files."""
        return [data["image/png"] for data in self._shown() if "image/png" in data]

    def _shown(self):
        outputs = [output for cell in self.notebook.cells for output in cell.get("outputs", [])]
        return [output["data"] for output in outputs if "data" in output]


def settings_for(images=None, device=None):
    """The environment variables that a run's kernel gets beyond those of the machine that it runs on.

    Args:
        images, device: as in `MEDATTACK_IMAGES` and `MEDATTACK_DEVICE`; default: what these are.

    Raises:
        ValueError: for a device that no machine of the course has. Whether the one that runs it has a GPU, it says itself.
    """
    settings = {name: os.environ[name] for name in SETTINGS if os.environ.get(name)}
    settings |= {"MEDATTACK_IMAGES": runtime.anchored(str(images))} if images else {}
    settings |= {"MEDATTACK_DEVICE": str(device)} if device else {}
    wanted = settings.get("MEDATTACK_DEVICE", "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", wanted):
        raise ValueError(f"{wanted!r} is no device of this course. Use cpu or cuda.")
    return settings | {"MEDATTACK_PROGRESS": "off"}


def threads_each(kernels):
    """Threads for each of so many kernels at once: its share of the cores, or fewer if `OMP_NUM_THREADS` asks for fewer.

    Kernels that together start more threads than there are cores take several times as long.
    """
    share, asked = max(1, runtime.cores() // kernels), os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(asked)) if asked.isdigit() and int(asked) else share


def run_lesson(path, *, settings, parameters=None, timeout=600, stop=None):
    """Run one notebook in a kernel of its own, in an empty scratch folder. Returns a `LessonRun`, whatever happens.

    Args:
        path: the notebook.
        settings: environment variables beyond this process's own, as from `settings_for`.
        parameters: ``{name: value}``, checked before.
        timeout: seconds that one cell may take.
        stop: a `threading.Event`; once it is set, the kernel is ended and what is returned is only a part.
    """
    stop = stop or threading.Event()
    for _ in range(STARTS):
        lesson = _run_once(path, settings, parameters or {}, timeout, stop)
        if stop.is_set() or NOT_STARTED not in (lesson.error or ""):
            break
    return lesson


def _run_once(path, settings, parameters, timeout, stop):
    lesson = LessonRun(Path(path), nbformat.read(path, as_version=4), dict(parameters))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="medattack-") as scratch:
        try:
            lesson.notebook = execute_notebook(
                str(path), None, parameters=parameters, engine_name=MeasuringEngine.NAME, progress_bar=False,
                lesson=lesson, scratch=scratch, environment=os.environ | settings, cell_limit_s=timeout, stop=stop,
            )  # fmt: skip
        except PapermillExecutionError as error:
            lesson.error = f"{error.ename}: {error.evalue}".rstrip(": ")
        except CellTimeoutError:
            lesson.error = f"A cell took longer than {timeout:g} s."
        except DeadKernelError as error:
            log = Path(scratch, KERNEL_LOG).read_text(encoding="utf-8", errors="replace")
            lesson.error = f"{error}. Its last words:\n{log[-LAST_WORDS:]}"
        except Exception as error:  # a kernel that doesn't start, for instance
            lesson.error = f"{type(error).__name__}: {error}".strip()
    lesson.notebook = remove_error_markers(lesson.notebook)
    if lesson.error is None:
        lesson.stopped_at = None
    lesson.seconds = time.perf_counter() - started
    return lesson


class MeasuringEngine(NBClientEngine):
    """papermill's own engine, with an environment for the kernel, and a look at what it uses as long as it lives."""

    NAME = "medattack"

    @classmethod
    def execute_managed_notebook(
        cls, nb_man, kernel_name, *, lesson, scratch, environment, cell_limit_s, stop, start_timeout=START_LIMIT_S, **_
    ):
        lesson.notebook = nb_man.nb  # filled in place, so that it is there even if the kernel dies

        client = PapermillNotebookClient(
            nb_man, kernel_name=kernel_name, timeout=cell_limit_s, startup_timeout=start_timeout
        )
        client.km = client.create_kernel_manager()
        with open(Path(scratch, KERNEL_LOG), "wb") as log:
            client.start_new_kernel(env=environment, cwd=scratch, stderr=log)
        kernel = psutil.Process(client.km.provisioner.pid)

        def note_place(cell, cell_index):
            lesson.stopped_at = cell_index

        def note_use(cell, cell_index, execute_reply):
            _note_use(kernel, lesson)

        client.on_cell_start, client.on_cell_executed = note_place, note_use
        try:
            with _watched(kernel, lesson, stop):
                client.execute()
        finally:
            _end(kernel)


papermill_engines.register(MeasuringEngine.NAME, MeasuringEngine)


@contextmanager
def _watched(kernel, lesson, stop):
    """Keep what the kernel uses up to date, also within a cell that it doesn't survive; end it when it is to stop."""
    over = threading.Event()

    def look_again():
        while not over.wait(LOOK_AGAIN_S):
            _note_use(kernel, lesson)
            if stop.is_set():
                _end(kernel)

    watcher = threading.Thread(target=look_again, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _note_use(kernel, lesson):
    lesson.peak_bytes = max(lesson.peak_bytes, _peak_bytes(kernel))
    lesson.cpu_seconds = max(lesson.cpu_seconds, _cpu_seconds(kernel))


def _peak_bytes(process):
    """The most resident memory that a process ever had (Linux, Windows), or has now where no system remembers it."""
    try:
        if sys.platform == "linux":
            status = Path(f"/proc/{process.pid}/status").read_text()
            return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)
        memory = process.memory_info()
        return getattr(memory, "peak_wset", memory.rss)
    except (psutil.Error, OSError):  # it has ended
        return 0


def _cpu_seconds(process):
    try:
        times = process.cpu_times()
        return times.user + times.system
    except psutil.Error:  # it has ended
        return 0.0


def _end(process):
    """End a kernel and what it started, if they are still there."""
    try:
        for each in [*process.children(recursive=True), process]:
            each.kill()
    except psutil.NoSuchProcess:
        pass
