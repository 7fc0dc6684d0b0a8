"""Running lessons without a browser: several at a time, with a page for each and an index of all.

A single run is the matter of `lesson_run`, the HTML of `pages`, other machines of `cluster`, grids of parameters of
`sweep`. Exercises stay as they are in the notebook; strictness is the caller's `MEDATTACK_STRICT`.
"""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime
from pathlib import Path

import nbformat

from medattack_edu import runtime
from medattack_edu.course import pages
from medattack_edu.course.lesson_run import Plan, run_lesson, settings_for, threads_each
from medattack_edu.course.parameters import check_parameters

SHOWN_OF_NAMES = 40  # characters of the names of running lessons, beside the progress bar


def run_lessons(notebooks, out, *, images=None, device=None, parameters=None, timeout=600, jobs=1, dask=None):
    """Run notebooks and write, for each, the executed notebook and a page, and an index of all.

    A lesson that fails doesn't stop the others. Ctrl-C ends the kernels and leaves whole files: those of the lessons
    that were finished, and an index of them. Nothing is recorded as a learner's progress.

    Args:
        notebooks: paths of notebooks, each with one cell tagged ``parameters``.
        out: the folder to write to, made if it isn't there.
        images, device: as in `MEDATTACK_IMAGES` and `MEDATTACK_DEVICE`; default: what these are.
        parameters: ``{name: value}``, put in place of the values in each notebook's parameters cell.
        timeout: seconds that one cell may take.
        jobs: kernels at a time; each gets its share of the cores.
        dask: the address of a Dask scheduler, whose workers run the lessons instead of this machine.

    Returns:
        An exit code: 0 if all passed, else 1.

    Raises:
        ValueError: before anything runs, if a notebook has no parameters cell, doesn't know a parameter or takes
            another type; if two notebooks have one name; if `jobs` is less than 1; if `out` can't be written; if the
            cluster isn't there.
    """
    from tqdm.auto import tqdm

    check_jobs(jobs)
    runtime.check_folder(out)
    out, parameters = Path(out), dict(parameters or {})
    plans = [Plan(Path(path).resolve(), parameters) for path in notebooks]
    for plan in plans:
        check_parameters(plan.path, parameters)
    names = [plan.path.stem for plan in plans]
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise ValueError(f"Two notebooks are called {twice[0]}, and both would be written to {out / twice[0]}.html.")
    settings, started, done = settings_for(images, device), datetime.now(), {}

    with tqdm(total=len(plans), unit="lesson", disable=not plans) as bar:

        def show_what_runs():
            running = [name for name in names[: len(done) + jobs] if name not in done]
            bar.set_description("" if dask else ", ".join(running)[:SHOWN_OF_NAMES])

        def write(lesson):
            done[lesson.name] = lesson
            in_order = [done[name] for name in names if name in done]
            out.mkdir(parents=True, exist_ok=True)
            write_text(out / f"{lesson.name}.ipynb", nbformat.writes(lesson.notebook) + "\n")
            write_text(out / f"{lesson.name}.html", pages.lesson_page(lesson))
            write_text(out / "index.html", pages.index_page(in_order, started, len(plans), settings))
            bar.update()
            show_what_runs()

        show_what_runs()
        run_each(plans, write, settings=settings, timeout=timeout, jobs=jobs, dask=dask)
    for name in names:
        print(_line(done[name]))
    if done:
        print(f"Open {out / 'index.html'}")
    return 1 if any(lesson.error for lesson in done.values()) else 0


def check_jobs(jobs):
    """Raise a `ValueError` unless at least one kernel may run."""
    if jobs < 1:
        raise ValueError(f"jobs={jobs}: at least one lesson runs at a time. Leave --jobs out, or write --jobs 2.")


def run_each(plans, note, *, settings, timeout=600, jobs=1, dask=None):
    """Make every run of `plans`, and call ``note(lesson_run)`` as each is finished, one call at a time.

    Args:
        plans: `Plan` objects.
        settings: as from `settings_for`.
        timeout, jobs, dask: as in `run_lessons`.

    If this is left early, by Ctrl-C or an error of `note`, then a call of `note` that was begun is finished, the kernels
    that run here are ended, and no other is started.
    """
    with ThreadPoolExecutor(1) as writer:  # a thread of its own, which Ctrl-C doesn't reach

        def note_whole(lesson):
            writer.submit(note, lesson).result()

        if dask is not None:
            from medattack_edu.course.cluster import run_each_there

            run_each_there(plans, note_whole, address=dask, settings=settings, timeout=timeout)
        else:
            _run_each_here(plans, note_whole, settings, timeout, jobs)


def _run_each_here(plans, note, settings, timeout, jobs):
    if jobs > 1:
        settings = settings | {"OMP_NUM_THREADS": str(threads_each(jobs))}
    options, stop = {"settings": settings, "timeout": timeout}, threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        runs = [pool.submit(run_lesson, plan.path, parameters=plan.parameters, stop=stop, **options) for plan in plans]
        try:
            for run in as_completed(runs):
                note(run.result())
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def write_text(path, text):
    """Write a whole file or none."""
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
