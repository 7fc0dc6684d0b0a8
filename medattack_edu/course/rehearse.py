"""A rehearsal: one lesson in many kernels at once, as a class would run it, and what a larger class needs.

Each kernel's own time and memory come from `lesson_run`; here is what they take together, and the extrapolation from it.
"""

import statistics
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from medattack_edu import runtime
from medattack_edu.course.lesson_run import run_lesson, settings_for, threads_each
from medattack_edu.course.parameters import parameters_of

MIB, GIB = 2**20, 2**30
LOOK_AGAIN_S = 0.5  # between two looks at what all kernels take together
CLASS_SIZE = 30
LESSON_MIN = 45  # a person's time for the lesson, of which the kernel computes for a small part
PATIENCE_S = 120  # for a whole lesson, if all of the class run all of its cells at the same moment
SYSTEM_GIB = (
    2  # for the operating system, the hub and one Jupyter server a learner, beside the kernels: a guess, not measured
)


class Together(NamedTuple):
    """What all kernels took at their fullest moment, in bytes; pages that they share are counted once in `all`."""

    kernels: int
    all: int  # the sum of their proportional set sizes
    own: int  # the sum of what is each one's alone

    @property
    def own_each(self):
        return self.own / self.kernels

    @property
    def shared(self):
        return self.all - self.own


@dataclass
class Rehearsal:
    """One rehearsal: a `LessonRun` for each learner. `together` is None where the system doesn't tell."""

    lessons: list
    threads: int
    together: Together | None

    @property
    def passed(self):
        return [lesson for lesson in self.lessons if lesson.error is None]

    @property
    def most_bytes(self):
        """The highest peak of one kernel."""
        return max(lesson.peak_bytes for lesson in self.lessons)

    @property
    def cpu_seconds(self):
        """What one learner's kernel computes, on all cores together (median)."""
        return statistics.median(lesson.cpu_seconds for lesson in self.passed or self.lessons)


def read_counts(text):
    """``"1,2,4"`` as ``[1, 2, 4]``."""
    counts = text.split(",")
    if not all(count.strip().isdigit() and int(count) for count in counts):
        raise ValueError(f"--learners takes a number, or several like 1,2,4; {text!r} came.")
    return [int(count) for count in counts]


def rehearse(notebook, counts, *, stagger=0.0, images=None, device=None, timeout=600):
    """Rehearse a lesson with each of so many learners, one rehearsal after the other, and print what came of it.

    Args:
        notebook: the path of a lesson. What it needs is prepared before (`medattack prepare`), or the preparing is measured.
        counts: numbers of learners.
        stagger: seconds between one learner's start and the next one's.
        images, device, timeout: as in `run.run_lessons`.

    Returns:
        An exit code: 0 if every learner's run passed, else 1.
    """
    from tqdm.auto import tqdm

    parameters_of(Path(notebook))  # a notebook that can't be read, or isn't a lesson, is said now
    settings, done = settings_for(images, device), {}
    print(f"{Path(notebook).stem} on {runtime.cores()} cores, images: {settings.get('MEDATTACK_IMAGES', 'auto')}")
    with tqdm(total=sum(counts), unit="learner") as bar:
        for learners in counts:
            bar.set_description(f"{learners} at once")
            done[learners] = hold(notebook, learners, settings, stagger, timeout, bar.update)
    print(table(done))
    for learners, rehearsal in done.items():
        for lesson in rehearsal.lessons:
            if lesson.error:
                print(f"failed, with {learners} at once: {lesson.error.splitlines()[0]}")
    most = max(done)
    print("\n" + extrapolation(done[most], stagger))
    return 0 if all(len(rehearsal.passed) == learners for learners, rehearsal in done.items()) else 1


def hold(notebook, learners, settings, stagger=0.0, timeout=600, note=lambda: None):
    """One rehearsal. Calls ``note()`` as each learner is through. Returns a `Rehearsal`."""
    threads, stop = threads_each(learners), threading.Event()
    settings = settings | {"OMP_NUM_THREADS": str(threads)}

    def learn(number):
        if not stop.wait(number * stagger):
            lesson = run_lesson(notebook, settings=settings, timeout=timeout, stop=stop)
            note()
            return lesson

    with _memory_watched() as seen, ThreadPoolExecutor(learners) as pool:
        runs = [pool.submit(learn, number) for number in range(learners)]
        try:
            lessons = [run.result() for run in runs]
        finally:
            stop.set()
    return Rehearsal(lessons, threads, max(seen, key=lambda together: together.all, default=None))


def table(rehearsals):
    """What was measured, a line a rehearsal: ``{learners: Rehearsal}`` as text."""
    lines = ["learners  passed  seconds: median  slowest  CPU  MiB: peak of one (median, most)  together  threads each"]
    for learners, rehearsal in rehearsals.items():
        seconds = [lesson.seconds for lesson in rehearsal.lessons]
        peak = statistics.median(lesson.peak_bytes for lesson in rehearsal.lessons) / MIB
        together = f"{rehearsal.together.all / MIB:9.0f}" if rehearsal.together else "  unknown"
        lines.append(
            f"{learners:8}  {len(rehearsal.passed):3}/{learners:<3} {statistics.median(seconds):15.1f}  {max(seconds):7.1f} "
            f"{rehearsal.cpu_seconds:4.0f}  {peak:22.0f}, {rehearsal.most_bytes / MIB:7.0f} {together} {rehearsal.threads:13}"
        )
    return "\n".join(lines)


def extrapolation(rehearsal, stagger=0.0):
    """What a class of `CLASS_SIZE` needs, in words, with the sums and the assumptions behind them."""
    learners, together = len(rehearsal.lessons), rehearsal.together
    computing = CLASS_SIZE * rehearsal.cpu_seconds
    most_gib = CLASS_SIZE * rehearsal.most_bytes / GIB + SYSTEM_GIB
    lines = [f"A class of {CLASS_SIZE}, extrapolated from {learners} at once:"]
    if together:
        likely_gib = (CLASS_SIZE * together.own_each + together.shared) / GIB + SYSTEM_GIB
        lines.append(
            f"  memory   about {likely_gib:.1f} GiB: {CLASS_SIZE} x {together.own_each / MIB:.0f} MiB of each kernel's own "
            f"+ {together.shared / MIB:.0f} MiB shared + {SYSTEM_GIB} GiB for the rest"
        )
    lines += [
        f"           at most {most_gib:.1f} GiB: {CLASS_SIZE} x {rehearsal.most_bytes / MIB:.0f} MiB, the highest peak of one "
        f"kernel, + {SYSTEM_GIB} GiB",
        f"  cores    {_rounded_up(computing / PATIENCE_S)}, if all run all cells at the same moment and wait no more than "
        f"{PATIENCE_S} s: {CLASS_SIZE} x {rehearsal.cpu_seconds:.0f} s of computing",
        f"           {_rounded_up(computing / (60 * LESSON_MIN))}, if each works at a pace of their own over {LESSON_MIN} minutes",
        "Assumed:",
        "  - every learner has this lesson open and no other: a kernel keeps its memory until it is shut down;",
    ]
    if together:
        lines.append(
            f"  - each further kernel takes as much of its own as the {together.kernels} did at their fullest moment"
            + (
                ", and shares what they shared;"
                if together.kernels > 1
                else " (one kernel alone shares nothing: an upper bound);"
            )
        )
    lines += [
        f"  - each kernel has {rehearsal.threads} thread{'s' * (rehearsal.threads > 1)}, and computing shares cores without loss;",
        f"  - {SYSTEM_GIB} GiB for the system, the hub and the Jupyter servers is a guess, not measured;",
        f"  - starts were {f'{stagger:g} s apart' if stagger else 'at the same moment'}; victims and images as they were in the cache.",
    ]
    return "\n".join(lines)


def _rounded_up(cores):
    whole = max(1, -int(-cores // 1))
    return f"{whole} core{'s' * (whole > 1)}"


@contextmanager
def _memory_watched():
    """Yields a list that what all kernels take together is added to, as long as the block runs; empty beyond Linux."""
    seen, over = [], threading.Event()

    def look_again():
        while not over.wait(LOOK_AGAIN_S):
            kernels = [memory for pid in _kernels() if (memory := _all_and_own(pid))]
            if kernels:
                seen.append(Together(len(kernels), sum(every for every, _ in kernels), sum(own for _, own in kernels)))

    watcher = threading.Thread(target=look_again, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _kernels():
    """The ids of the kernels that this process has started."""
    for child in psutil.Process().children():
        try:
            if "ipykernel_launcher" in child.cmdline():
                yield child.pid
        except psutil.Error:  # it has ended
            continue


def _all_and_own(pid):
    """A process's proportional set size and what of it is its alone, in bytes; None where the system doesn't tell."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:  # not Linux, or it has ended
        return None
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
    own = kilobytes.get("Private_Clean", 0) + kilobytes.get("Private_Dirty", 0)
    return (kilobytes["Pss"] * 1024, own * 1024) if kilobytes.get("Pss") else None
