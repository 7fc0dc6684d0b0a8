"""A sweep: lessons run on a grid of parameters, with every claim and result in one table and one plot.

Each run is kept as its executed notebook, with what was measured in its metadata; the table and the plot are made from
these, and a sweep that was interrupted goes on from them. The drawing is done in `sweep_plot`.
"""

import csv
import hashlib
import io
import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat

import medattack_edu
from medattack_edu import runtime
from medattack_edu.course import sweep_plot
from medattack_edu.course.lesson_run import LessonRun, Plan, settings_for
from medattack_edu.course.parameters import check_parameters
from medattack_edu.course.run import check_jobs, run_each, write_text

TABLE, PLOTS, RUNS = "sweep.csv", ("sweep.png", "sweep.svg"), "runs"
KEPT = "medattack_run"  # the key in a notebook's metadata
MEASURED = ("name", "value", "low", "high", "holds", "seconds", "peak_mib", "error", "notebook")


@dataclass
class Place:
    """One place of the grid: what is run there, how its values were written, and what became of it (None before)."""

    plan: Plan
    texts: dict
    record: Path
    lesson: LessonRun | None = None


def run_sweep(notebooks, out, *, sweep, parameters=None, images=None, device=None, timeout=600, jobs=1, dask=None):
    """Run every notebook with every combination of values, and write one table and one plot of all.

    What was finished before, with the same notebook, values and settings, isn't run again; what failed is. Changes of the
    package's code aren't noticed: remove the folder ``runs`` to measure afresh. Ctrl-C leaves a whole table of what was
    finished.

    Args:
        notebooks: paths of notebooks.
        out: the folder for ``sweep.csv``, ``sweep.png``, ``sweep.svg`` and ``runs/``.
        sweep: ``{name: {text: value}}``, as from `parameters.read_sweep`.
        parameters: ``{name: value}``, the same in every run.
        images, device, timeout, jobs, dask: as in `run.run_lessons`.

    Returns:
        An exit code: 0 if all runs passed, else 1.

    Raises:
        ValueError: before anything runs, for parameters that can't be set, or set twice, and where `out` can't be written.
    """
    from tqdm.auto import tqdm

    check_jobs(jobs)
    runtime.check_folder(out)
    out, parameters, settings = Path(out), dict(parameters or {}), settings_for(images, device)
    _check_names(sweep, parameters)
    places = _grid([Path(path).resolve() for path in notebooks], sweep, parameters, settings, out / RUNS)
    for place in places:
        check_parameters(place.plan.path, place.plan.parameters)
    for place in places:
        place.lesson = _recall(place)
    by_run = {_key(place.plan): place for place in places}
    to_run = [place.plan for place in places if place.lesson is None]
    if len(to_run) < len(places):
        print(f"{len(places) - len(to_run)} of {len(places)} runs were finished before.")

    with tqdm(total=len(places), initial=len(places) - len(to_run), unit="run") as bar:

        def keep(lesson):
            place = by_run[_key(lesson)]
            place.lesson = lesson
            _remember(place)
            _write_table(out, places, [*parameters, *sweep])
            bar.update()

        try:
            run_each(to_run, keep, settings=settings, timeout=timeout, jobs=jobs, dask=dask)
        finally:
            if any(place.lesson for place in places):
                _write_table(out, places, [*parameters, *sweep])
                _write_plots(out, places, sweep)
    return _conclude(places, out)


def _check_names(sweep, parameters):
    if twice := sorted(set(sweep) & set(parameters)):
        raise ValueError(f"{twice[0]} is given to -p and to --sweep. Give it to one of them.")
    if taken := sorted({*sweep, *parameters} & {"lesson", *MEASURED}):
        raise ValueError(f"{taken[0]} is a column of the table of a sweep. Give the notebook's parameter another name.")
    for name, values in sweep.items():
        written = {}
        for text, value in values.items():
            if (other := written.setdefault(json.dumps(value), text)) != text:
                raise ValueError(f"--sweep {name}: {other} and {text} are the same value. Leave one of them out.")


def _grid(notebooks, sweep, parameters, settings, folder):
    """The places of all notebooks and combinations, the last parameter changing fastest."""
    places = []
    for path in dict.fromkeys(notebooks):
        for combination in itertools.product(*(values.items() for values in sweep.values())):
            values = parameters | {name: value for name, (_, value) in zip(sweep, combination, strict=True)}
            texts = {name: text for name, (text, _) in zip(sweep, combination, strict=True)}
            plan = Plan(path, values)
            places.append(Place(plan, texts, folder / f"{path.stem}-{_identity(plan, settings)[:10]}.ipynb"))
    return places


def _identity(plan, settings):
    """A digest of all that makes two runs the same, as far as the notebook and the command line know."""
    known = [plan.path.read_text(encoding="utf-8"), plan.parameters, settings, medattack_edu.__version__]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _key(run):
    return run.path, json.dumps(run.parameters, sort_keys=True)


def _remember(place):
    """Write the executed notebook of a place, with what was measured in its metadata."""
    lesson, notebook = place.lesson, place.lesson.notebook
    place.record.parent.mkdir(parents=True, exist_ok=True)
    notebook.metadata.pop("widgets", None)  # the state of live widgets, megabytes that no static reader needs
    notebook.metadata[KEPT] = {name: getattr(lesson, name) for name in ("parameters", "error", "seconds", "peak_bytes")}
    write_text(place.record, nbformat.writes(notebook) + "\n")


def _recall(place):
    """The finished run of a place from an earlier time; None if there is none, or it failed."""
    if not place.record.exists():
        return None
    notebook = nbformat.read(place.record, as_version=4)
    lesson = LessonRun(place.plan.path, notebook, **notebook.metadata[KEPT])
    return None if lesson.error else replace(lesson, parameters=place.plan.parameters)


def _write_table(out, places, names):
    text = io.StringIO()
    table = csv.DictWriter(text, ["lesson", *names, *MEASURED], lineterminator="\n")
    table.writeheader()
    for place in places:
        if place.lesson is not None:
            table.writerows(_rows(place))
    write_text(out / TABLE, text.getvalue())


def _rows(place):
    """A row for each claim and result; one without a name for a run that made none, or that failed."""
    lesson = place.lesson
    measured = {
        "seconds": round(lesson.seconds, 1),
        "peak_mib": round(lesson.peak_bytes / 2**20),
        "error": lesson.error.splitlines()[0] if lesson.error else "",
        "notebook": f"{RUNS}/{place.record.name}",
    }
    claims = [{"name": claim["text"], "value": claim["detail"], "holds": claim["holds"]} for claim in lesson.claims]
    found = [*claims, *lesson.results]
    if lesson.error or not found:
        found.append({})
    return [{"lesson": lesson.name} | place.plan.parameters | measured | each for each in found]


def _write_plots(out, places, sweep):
    figure = sweep_plot.draw([sweep_plot.Column(place.lesson, place.texts) for place in places if place.lesson], sweep)
    for name in PLOTS:
        with runtime.atomic_path(out / name) as temporary:
            figure.savefig(temporary, dpi=150)


def _conclude(places, out):
    failed = [place for place in places if place.lesson.error]
    claims = [claim for place in places for claim in place.lesson.claims]
    results = sum(len(place.lesson.results) for place in places)
    print(
        f"{len(places) - len(failed)} of {len(places)} runs passed; "
        f"{sum(claim['holds'] for claim in claims)} of {len(claims)} claims held; {results} results."
    )
    for place in failed:
        values = ", ".join(f"{name}={text}" for name, text in place.texts.items())
        print(f"  failed: {place.lesson.name} with {values}: {place.lesson.error.splitlines()[0][:100]}")
    print(f"Open {out / PLOTS[0]}; the table is {out / TABLE}.")
    return 1 if failed else 0
