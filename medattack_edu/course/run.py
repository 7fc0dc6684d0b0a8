"""Running lessons without a browser: each in a kernel of its own, with time, memory and claims measured.

The HTML that comes of it is made in `pages`. Exercises stay as they are in the notebook; strictness is the caller's
`MEDATTACK_STRICT`.
"""

import os
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nbformat
import psutil
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.execute import execute_notebook, remove_error_markers
from papermill.inspection import inspect_notebook

from medattack_edu import runtime
from medattack_edu.course import pages
from medattack_edu.course.claims import CLAIM_RECORD

PARAMETERS = "parameters"
START_LIMIT_S = 120  # a cold disk and a busy machine; a kernel takes about 1 s
KERNEL_LOG, LAST_WORDS = "kernel.log", 2000  # characters of it that are shown when the kernel dies
LOOK_AGAIN_S = 0.2  # between two looks at the kernel's memory


@dataclass
class LessonRun:
    """What became of one lesson. `error` is None, or what stopped it; `stopped_at` the index of the cell."""

    path: Path
    notebook: nbformat.NotebookNode
    error: str | None = None
    stopped_at: int | None = None
    seconds: float = 0.0
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
    def pictures(self):
        """The figures shown, as base64 of PNG files."""
        return [data["image/png"] for data in self._shown() if "image/png" in data]

    def _shown(self):
        outputs = [output for cell in self.notebook.cells for output in cell.get("outputs", [])]
        return [output["data"] for output in outputs if "data" in output]


def run_lessons(notebooks, out, *, images=None, device=None, parameters=None, timeout=600):
    """Run notebooks one after the other and write, for each, the executed notebook and a page, and an index of all.

    A lesson that fails doesn't stop the others. Ctrl-C ends the kernel and leaves whole files: those of the lessons
    that were finished, and an index of them. Nothing is recorded as a learner's progress.

    Args:
        notebooks: paths of notebooks, each with one cell tagged ``parameters``.
        out: the folder to write to, made if it isn't there.
        images, device: as in `MEDATTACK_IMAGES` and `MEDATTACK_DEVICE`; default: what these are.
        parameters: ``{name: value}``, put in place of the values in each notebook's parameters cell.
        timeout: seconds that one cell may take.

    Returns:
        An exit code: 0 if all passed, else 1.

    Raises:
        ValueError: before anything runs, if a notebook has no parameters cell or doesn't know a parameter.
    """
    from tqdm.auto import tqdm

    notebooks, out, parameters = [Path(path).resolve() for path in notebooks], Path(out), dict(parameters or {})
    for path in notebooks:
        _check_parameters(path, parameters)
    out.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ, MEDATTACK_PROGRESS="off")
    environment |= {"MEDATTACK_IMAGES": str(images)} if images else {}
    environment |= {"MEDATTACK_DEVICE": str(device)} if device else {}

    started, done = datetime.now(), []
    with tqdm(notebooks, unit="lesson", disable=not notebooks) as bar:
        for path in bar:
            bar.set_description(path.stem)
            lesson = run_lesson(path, environment=environment, parameters=parameters, timeout=timeout)
            done.append(lesson)
            _write(out / f"{lesson.name}.ipynb", nbformat.writes(lesson.notebook) + "\n")
            _write(out / f"{lesson.name}.html", pages.lesson_page(lesson))
            _write(out / "index.html", pages.index_page(done, started, len(notebooks), environment))
    for lesson in done:
        print(_line(lesson))
    if done:
        print(f"Open {out / 'index.html'}")
    return 1 if any(lesson.error for lesson in done) else 0


def run_lesson(path, *, environment, parameters=None, timeout=600):
    """Run one notebook in a kernel of its own, in an empty scratch folder. Returns a `LessonRun`, whatever happens."""
    lesson = LessonRun(Path(path), nbformat.read(path, as_version=4))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="medattack-") as scratch:
        try:
            lesson.notebook = execute_notebook(
                str(path), None, parameters=parameters or {}, engine_name=MeasuringEngine.NAME, progress_bar=False,
                lesson=lesson, scratch=scratch, environment=environment, cell_limit_s=timeout,
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
    """papermill's own engine, with an environment for the kernel, and a look at its memory as long as it lives."""

    NAME = "medattack"

    @classmethod
    def execute_managed_notebook(
        cls, nb_man, kernel_name, *, lesson, scratch, environment, cell_limit_s, start_timeout=START_LIMIT_S, **_
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

        def note_memory(cell, cell_index, execute_reply):
            lesson.peak_bytes = max(lesson.peak_bytes, _peak_bytes(kernel))

        client.on_cell_start, client.on_cell_executed = note_place, note_memory
        try:
            with _memory_watched(kernel, lesson):
                client.execute()
        finally:
            _end(kernel)


papermill_engines.register(MeasuringEngine.NAME, MeasuringEngine)


@contextmanager
def _memory_watched(kernel, lesson):
    """Keep `lesson.peak_bytes` at the kernel's peak, also within a cell that the kernel doesn't survive."""
    over = threading.Event()

    def look_again():
        while not over.wait(LOOK_AGAIN_S):
            lesson.peak_bytes = max(lesson.peak_bytes, _peak_bytes(kernel))

    watcher = threading.Thread(target=look_again, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


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


def _end(process):
    """End a kernel and what it started, if they are still there."""
    try:
        for each in [*process.children(recursive=True), process]:
            each.kill()
    except psutil.NoSuchProcess:
        pass


def _check_parameters(path, parameters):
    tagged = [cell for cell in nbformat.read(path, as_version=4).cells if PARAMETERS in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{path.name} has {len(tagged)} cells tagged {PARAMETERS}; it needs one to set values in.")
    known = inspect_notebook(str(path))
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(
            f"{path.name} has no parameter {', '.join(unknown)}; it has {', '.join(sorted(known)) or 'none'}."
        )


def _write(path, text):
    with runtime.atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def _line(lesson):
    """One lesson in one line, for the terminal."""
    held = sum(claim["holds"] for claim in lesson.claims)
    result = f"failed: {lesson.error.splitlines()[0][:100]}" if lesson.error else "passed"
    return (
        f"{lesson.name:<28} {lesson.seconds:6.1f} s {lesson.peak_bytes / 2**20:7.0f} MiB "
        f"{held:3} of {len(lesson.claims)} claims  {result}"
    )
