"""From `solutions/NN_slug.py` to the notebooks: writing them, and finding those that aren't what they should be.

What a notebook holds is decided in `source`, and what a build adds to that in `made`. A notebook that somebody has
edited is never overwritten; bringing such an edit into the source is the work of `take`.
"""

import os
import time
from pathlib import Path

import nbformat

from medattack_edu import runtime
from medattack_edu.course import address, links, made
from medattack_edu.course import source as sources
from medattack_edu.course.source import Problem

REBUILD = "To mend: medattack build."
POLL_S = 0.5  # how often `watch` looks at the sources


def build(check=False, root=None, exercises=None):
    """Make `lessons/*.ipynb` and `solutions/*.ipynb` from `solutions/*.py`, and print what is wrong.

    Args:
        check: write nothing; a notebook that differs from what would be written, is missing or has no source is a
            problem as well.
        root: the folder that holds `solutions/` and `lessons/`; default: the clone, else the current folder.
        exercises: ``{name: Exercise}``; default: all that are registered.

    Returns:
        A list of `Problem`, empty if all is well.
    """
    root = course_root(root)
    found = _build(root, check, exercises)
    for problem in found:
        print(problem)
    lessons = len(_sources_of(root))
    print(f"{lessons} lessons, {len(found)} problems." if found else f"{lessons} lessons, all well.")
    return found


def watch(root=None, exercises=None, poll_s=POLL_S):
    """Build, and build again whenever a source has changed, with a line on each; until Ctrl-C.

    A lesson's exercises are looked up at the start: after a change of `course/checks`, start anew.
    """
    root = course_root(root)
    built, seen = {}, None
    print(f"Watching {root / 'solutions'}; Ctrl-C ends it.", flush=True)
    try:
        while True:
            now = _stamps(root)
            if now == seen and now != built:  # an editor may need a moment to write: build once it is quiet
                changed = sorted(path.name for path in now.keys() | built.keys() if now.get(path) != built.get(path))
                _tell(changed if built else [], _build(root, False, exercises))
                built = now
            seen = now
            time.sleep(poll_s)
    except KeyboardInterrupt:
        print("\nNo longer watching.", flush=True)


def _tell(changed, found):
    what = f"{', '.join(changed)} changed; " if changed else ""
    result = f"{len(found)} problems:" if found else "all notebooks are up to date."
    told = "".join(f"\n    {problem}" for problem in found)
    print(f"{time.strftime('%H:%M:%S')}  {what}{result}{told}", flush=True)


def _stamps(root):
    """When each source was last written."""
    return {path: path.stat().st_mtime_ns for path in _sources_of(root) if path.exists()}


def _sources_of(root):
    return sorted((root / "solutions").glob("*.py"))


def _build(root, check, exercises):
    if exercises is None:
        from medattack_edu.course.checks import all_exercises

        exercises = all_exercises()
    lesson_of = {name: exercise.lesson for name, exercise in exercises.items()}
    paths = _sources_of(root)
    found = [*_same_numbers(paths), *_leftovers(root, paths)]
    try:
        home = address.read(root)
    except ValueError as error:
        return [Problem(Path("pyproject.toml"), None, str(error))]
    for path in paths:
        try:
            source, synced = _read(path, check)
        except sources.SourceError as error:
            found.append(error.problem)
            continue
        wrong = synced + sources.problems(source, lesson_of)
        found += wrong
        if not wrong:
            solution = made.add(sources.solution_notebook(source), "solutions", path.stem, root, home)
            lesson = made.add(sources.lesson_notebook(source), "lessons", path.stem, root, home)
            of_solution = _bring_up_to_date(root / "solutions", source, solution, check)
            of_lesson = _bring_up_to_date(root / "lessons", source, lesson, check)
            found += of_solution + of_lesson
            if not (check or of_solution):
                _let_the_source_be_newest(path)
    found += links.bring_up_to_date(root, home, check)
    return [Problem(_relative(problem.file, root), problem.line, problem.text) for problem in found]


def _read(path, check):
    """The source without cells of ours that a sync has left in it; with `check` the problem that they are there."""
    read = sources.read(path)
    source = sources.without_made(read)
    if source is read:
        return source, []
    if check:
        return source, [Problem(path, 1, f"holds cells tagged {sources.MADE}, which a build makes. {REBUILD}")]
    with runtime.atomic_path(path) as temporary:
        temporary.write_text(source.text, encoding="utf-8", newline="\n")
    return source, []


def _bring_up_to_date(folder, source, notebook, check):
    """Write the notebook into the folder, or with `check` say why that would be needed; returns problems."""
    path = folder / f"{source.path.stem}.ipynb"
    wanted = nbformat.writes(notebook) + "\n"
    there = path.read_text(encoding="utf-8") if path.exists() else None
    if there == wanted:
        return []
    if there is not None and _edited_by_hand(there, notebook, source):
        return [
            Problem(path, None, f"was edited by hand. Edits belong in its source, solutions/{source.path.name}. To "
                                f"bring this one there: medattack build --take {folder.name}/{path.name}. To give it "
                                "up: delete the notebook, and build again.")
        ]  # fmt: skip
    if check:
        return [Problem(path, None, f"{_difference(there, notebook)}. {REBUILD}")]
    folder.mkdir(exist_ok=True)
    with runtime.atomic_path(path) as temporary:
        temporary.write_text(wanted, encoding="utf-8", newline="\n")
    return []


def _let_the_source_be_newest(path):
    """Give a solution's notebook its source's time if it is newer: JupyterLab opens no pair with an outdated text."""
    notebook, written = path.with_suffix(".ipynb"), path.stat()
    if notebook.exists() and notebook.stat().st_mtime_ns > written.st_mtime_ns:
        os.utime(notebook, ns=(written.st_atime_ns, written.st_mtime_ns))


def _edited_by_hand(text, notebook, source):
    """Whether a notebook's cells are neither what was once generated nor what is generated now."""
    there = _notebook_or_none(text)
    if there is None or sources.new_notes(there, source) or made.touched(there):
        return True
    note = there.metadata.get("medattack", {})
    return sources.digest(there) not in (note.get("cells_sha256"), sources.digest(notebook))


def _difference(text, notebook):
    if text is None:
        return "is missing"
    there = _notebook_or_none(text)
    if any(cell.get("outputs") or cell.get("execution_count") for cell in there.cells):
        return "holds the outputs of a run"
    if any(sources.INSTRUCTOR in cell.metadata.get("tags", []) for cell in there.cells):
        return "holds the instructor's cells, which belong in the source alone"
    if sources.digest(there) != sources.digest(notebook):
        return "is older than its source"
    ours, wanted = ([cell.source for cell in each.cells if made.is_made(cell)] for each in (there, notebook))
    if ours != wanted:
        return "hasn't the pictures, or the address, that the course has now"
    return "differs in its metadata from what is built"


def _notebook_or_none(text):
    try:
        return nbformat.reads(text, as_version=4)
    except Exception:  # nbformat has no common error for what is no notebook
        return None


def _leftovers(root, paths):
    known = {path.stem for path in paths}
    for folder in ("solutions", "lessons"):
        for path in sorted((root / folder).glob("*.ipynb")):
            if path.stem not in known:
                yield Problem(path, None, f"has no source solutions/{path.stem}.py. To mend: move or delete it.")


def _same_numbers(paths):
    first = {}
    for path in paths:
        if first.setdefault(path.name[:2], path) != path:
            yield Problem(path, None, f"has the number of {first[path.name[:2]].name}. To mend: give it another.")


def course_root(root=None):
    """The folder that holds `solutions/`: the one given, else the clone, else the current one.

    Raises:
        ValueError: if there is no such folder.
    """
    clone = Path(__file__).resolve().parents[2]
    for folder in [Path(root)] if root else [clone, Path.cwd()]:
        if (folder / "solutions").is_dir():
            return folder
    raise ValueError(f"There is no folder solutions/ in {root or Path.cwd()}. Change to the folder that holds it.")


def _relative(path, root):
    return path.relative_to(root) if path.is_relative_to(root) else path
