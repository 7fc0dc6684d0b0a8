"""Bringing an edit that somebody made in a lesson's or a solution's notebook into the source, `solutions/NN_slug.py`.

Which notebook belongs to a source is decided in `source`, and writing it is the work of `build`. What can't be decided
is refused: nothing is taken by halves.
"""

import difflib
import shutil
import time
from dataclasses import replace
from pathlib import Path

import nbformat

from medattack_edu import runtime
from medattack_edu.course import address, made
from medattack_edu.course import source as sources
from medattack_edu.course.build import course_root
from medattack_edu.course.source import Cell

BACKUPS = "build/before-take"  # under the course's folder, and kept out of the repository
CONTEXT_LINES = 1  # of the diff
ALIKE = 0.5  # cells without a known id that share more than this of their text are one cell, edited


class NotTaken(ValueError):
    """An edit that can't be brought into the source; the message says why, and what to do."""


def take(path, root=None, exercises=None):
    """Bring the edit of a notebook into its source, write the notebook as it is then built, and print what was taken.

    Cells that were changed, added, removed or moved follow; what the notebook doesn't show stays (solutions where the
    stub is unchanged, cells for instructors, in a lesson those of the solution only). Both files as they were are kept
    in `BACKUPS`. Build afterwards: the other notebook follows.

    Args:
        path: the notebook, in `lessons/` or `solutions/`.
        root: the folder that holds both; default: the clone, else the current folder.
        exercises: ``{name: Exercise}``; default: all that are registered.

    Returns:
        The folder of the backup; None if there was nothing to take.

    Raises:
        NotTaken: if it can't be decided what the source should be; nothing has been changed then.
    """
    root, path = course_root(root), Path(path)
    place = root / "solutions" / f"{path.stem}.py"
    kind = path.resolve().parent.name
    in_course = kind in ("lessons", "solutions") and path.resolve().parent == (root / kind).resolve()
    if path.suffix != ".ipynb" or not in_course:
        raise NotTaken(
            f"{path} is no notebook in lessons/ or solutions/ of {root}. Copy it there first, in its old place."
        )
    if not path.is_file():
        raise NotTaken(f"There is no notebook {path}.")
    if not place.is_file():
        raise NotTaken(f"{path} has no source {place.name} in solutions/.")
    notebook, source = _read(path), sources.without_made(sources.read(place))
    for number in made.touched(notebook):
        raise NotTaken(
            f"Cell {number} of {path.name} is made by medattack build, from course/made.py; no source holds it. "
            "Put it back, or delete it, and take the rest."
        )
    make = sources.lesson_notebook if kind == "lessons" else sources.solution_notebook
    if sources.digest(notebook) == sources.digest(make(source)) and not sources.new_notes(notebook, source):
        print(f"{path} holds nothing that its source doesn't.")
        return None
    text = _taken(source, notebook, make)
    after = _checked(source, text, exercises)
    if sources.digest(make(after)) != sources.digest(_without_empty_cells(notebook)):
        raise NotTaken(f"{path} can't be taken: what is built from the new source is not the notebook that you edited. "
                       f"Make the change in solutions/{place.name}.")  # fmt: skip
    backup = _keep(root, path, place)
    again = made.add(make(after), kind, path.stem, root, address.read(root))
    for file, written in ((place, text), (path, nbformat.writes(again) + "\n")):
        with runtime.atomic_path(file) as temporary:
            temporary.write_text(written, encoding="utf-8", newline="\n")
    print(*_diff(source.text, text, f"solutions/{place.name}"), sep="\n")
    print(f"Taken from {path}. As they were, both are in {backup.relative_to(root)}.")
    return backup


def _read(path):
    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat has no common error for what is no notebook
        raise NotTaken(f"{path} can't be read as a notebook: {error}") from error


def _taken(source, notebook, make):
    """The text of the source with the notebook's edit."""
    generated = make(source)
    if notebook.metadata.get("medattack", {}).get("cells_sha256") != sources.digest(generated):
        raise NotTaken(
            f"Since this notebook was made, its source {source.path.name} has changed as well, and nobody can tell "
            "which of the two should win. Get the source as it was then, take the edit, and make the other change again."
        )
    shown = [cell for cell in source.cells if _is_shown(cell, make)]
    new_notes = sources.new_notes(notebook, source)
    numbered = [
        (number, cell)
        for number, cell in enumerate(notebook.cells, 1)
        if cell.source.strip() and not made.is_made(cell)
        if cell in new_notes or sources.INSTRUCTOR not in cell.metadata.get("tags", [])
    ]
    origins = _origins([cell for _, cell in numbered], generated.cells)
    cells = [
        _cell(cell, *((shown[origin], generated.cells[origin]) if origin is not None else (None, None)), number, make)
        for (number, cell), origin in zip(numbered, origins, strict=True)
    ]
    return sources.as_text(source, _with_hidden(source, make, origins, cells))


def _is_shown(cell, make):
    hidden = {sources.INSTRUCTOR} | ({sources.SOLUTION_ONLY} if make is sources.lesson_notebook else set())
    return not hidden & set(cell.tags)


def _without_empty_cells(notebook):
    """The notebook less the empty cells, such as the one that JupyterLab leaves at the end."""
    return nbformat.from_dict({**notebook, "cells": [cell for cell in notebook.cells if cell.source.strip()]})


def _origins(edited, generated):
    """For each edited cell the index of the generated cell that it comes from, None for a new one.

    An id tells, wherever the cell has moved. Cells without a known one (some editors give all cells new ids) are found
    by their text, then by a text that is like it.
    """
    places = {cell.id: index for index, cell in enumerate(generated)}
    origins, free = [], set(range(len(generated)))
    for cell in edited:
        origin = places.get(cell.get("id"))
        origins.append(origin if origin in free else None)
        free.discard(origin)
    for alike in (_same, _similar):
        for number, cell in enumerate(edited):
            if origins[number] is None:
                origin = next((index for index in sorted(free) if alike(cell, generated[index])), None)
                origins[number] = origin
                free.discard(origin)
    return origins


def _same(cell, other):
    return cell.cell_type == other.cell_type and cell.source == other.source


def _similar(cell, other):
    if cell.cell_type != other.cell_type:
        return False
    return difflib.SequenceMatcher(None, cell.source, other.source, autojunk=False).ratio() > ALIKE


def _cell(cell, origin, generated, number, make):
    """A cell of the new source from an edited one, its origin in the source, and what was generated from that."""
    if cell.get("attachments"):
        raise NotTaken(
            f"Cell {number} holds a picture that was pasted into it: {sources.NO_PICTURES} Then take the rest."
        )
    metadata = sources.said(dict(cell.metadata))
    if origin is None:
        return Cell(cell.cell_type, cell.source, metadata, 0)
    of_jupytext = {key: value for key, value in origin.metadata.items() if key == sources.JUPYTEXTS_SPACING}
    text = cell.source
    if text == generated.source:
        text = origin.text
    elif make is sources.lesson_notebook:
        text = _with_solution(text, origin.text, number)
    return replace(origin, kind=cell.cell_type, text=text, metadata=of_jupytext | metadata)


def _with_solution(edited, original, number):
    """A learner's cell with the solutions of the original in place of its stubs."""
    try:
        return sources.with_solutions(edited, sources.solution_regions(original))
    except ValueError as error:
        raise NotTaken(
            f"Cell {number}, which begins {edited.splitlines()[0]!r}, was edited where the learner's gap is ({error}). "
            "What becomes of the solution can't be told. Put the gap back as it was, or make this change in the source."
        ) from error


def _with_hidden(source, make, origins, cells):
    """The cells, with those that the notebook doesn't show behind the cell that they followed."""
    followers, last = {None: []}, None
    for cell in source.cells:
        if _is_shown(cell, make):
            last = 0 if last is None else last + 1
        else:
            followers.setdefault(last, []).append(cell)
    removed = set(range(0 if last is None else last + 1)) - set(origins)
    for index in sorted(followers.keys() & removed):  # what followed a removed cell follows the one before it
        before = next((other for other in range(index - 1, -1, -1) if other not in removed), None)
        followers.setdefault(before, []).extend(followers.pop(index))
    result = list(followers[None])
    for cell, origin in zip(cells, origins, strict=True):
        result.append(cell)
        result += followers.get(origin, []) if origin is not None else []
    return result


def _checked(source, text, exercises):
    """The new text as a source, if it is one without problems."""
    if exercises is None:
        from medattack_edu.course.checks import all_exercises

        exercises = all_exercises()
    after = sources.parsed(source.path, text)
    wrong = sources.problems(after, {name: exercise.lesson for name, exercise in exercises.items()})
    if wrong:
        told = "\n".join(f"    {problem}" for problem in wrong)
        raise NotTaken(
            f"With this edit the source would no longer be in order:\n{told}\nMend the notebook and take it again."
        )
    return after


def _keep(root, *paths):
    """Copies of the files in a new folder under `BACKUPS`."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder, copies = root / BACKUPS / stamp, 1
    while folder.exists():
        copies += 1
        folder = root / BACKUPS / f"{stamp}-{copies}"
    folder.mkdir(parents=True)
    for path in paths:
        shutil.copy2(path, folder)
    return folder


def _diff(before, after, name):
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="", n=CONTEXT_LINES)
    return [line for line in lines if not line.startswith("+++")]
