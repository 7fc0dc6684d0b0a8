"""From `solutions/NN_slug.py` to the notebooks: writing them, and finding those that aren't what they should be.

What a notebook holds is decided in `source`. A notebook that somebody has edited is never overwritten.
"""

from pathlib import Path

import nbformat

from medattack_edu import runtime
from medattack_edu.course import source as sources
from medattack_edu.course.source import Problem

REBUILD = "To mend: medattack build."


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
    root = _root(root)
    if exercises is None:
        from medattack_edu.course.checks import all_exercises

        exercises = all_exercises()
    lesson_of = {name: exercise.lesson for name, exercise in exercises.items()}
    paths = sorted((root / "solutions").glob("*.py"))
    found = [*_same_numbers(paths), *_leftovers(root, paths)]
    for path in paths:
        try:
            source = sources.read(path)
        except sources.SourceError as error:
            found.append(error.problem)
            continue
        wrong = sources.problems(source, lesson_of)
        found += wrong
        if not wrong:
            found += _bring_up_to_date(root / "solutions", source, sources.solution_notebook(source), check)
            found += _bring_up_to_date(root / "lessons", source, sources.lesson_notebook(source), check)
    found = [Problem(_relative(problem.file, root), problem.line, problem.text) for problem in found]
    for problem in found:
        print(problem)
    print(f"{len(paths)} lessons, {len(found)} problems." if found else f"{len(paths)} lessons, all well.")
    return found


def _bring_up_to_date(folder, source, notebook, check):
    """Write the notebook into the folder, or with `check` say why that would be needed; returns problems."""
    path = folder / f"{source.path.stem}.ipynb"
    wanted = nbformat.writes(notebook) + "\n"
    there = path.read_text(encoding="utf-8") if path.exists() else None
    if there == wanted:
        return []
    if there is not None and _edited_by_hand(there, notebook):
        return [
            Problem(path, None, f"was edited by hand. Edits belong in its source, solutions/{source.path.name}; take "
                                "them over there, delete this file, and build again.")
        ]  # fmt: skip
    if check:
        return [Problem(path, None, f"{_difference(there, notebook)}. {REBUILD}")]
    folder.mkdir(exist_ok=True)
    with runtime.atomic_path(path) as temporary:
        temporary.write_text(wanted, encoding="utf-8", newline="\n")
    return []


def _edited_by_hand(text, notebook):
    """Whether a notebook's cells are neither what was once generated nor what is generated now."""
    there = _notebook_or_none(text)
    if there is None:
        return True
    note = there.metadata.get("medattack", {})
    return sources.digest(there) not in (note.get("cells_sha256"), sources.digest(notebook))


def _difference(text, notebook):
    if text is None:
        return "is missing"
    there = _notebook_or_none(text)
    if any(cell.get("outputs") or cell.get("execution_count") for cell in there.cells):
        return "holds the outputs of a run"
    if sources.digest(there) == sources.digest(notebook):
        return "differs in its metadata from what is built"
    return "is older than its source"


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


def _root(root):
    clone = Path(__file__).resolve().parents[2]
    for folder in [Path(root)] if root else [clone, Path.cwd()]:
        if (folder / "solutions").is_dir():
            return folder
    raise ValueError(f"There is no folder solutions/ in {root or Path.cwd()}. Change to the folder that holds it.")


def _relative(path, root):
    return path.relative_to(root) if path.is_relative_to(root) else path
