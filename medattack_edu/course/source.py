"""One lesson's source, `solutions/NN_slug.py`: reading it, finding its mistakes, making the two notebooks from it.

Nothing is written here; that, and comparing with what is on disk, is `build`.
"""

import ast
import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import jupytext
import nbformat
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"  # nbgrader's own marks
STUB = ("# YOUR CODE HERE", "...")
PARAMETERS, SOLUTION_ONLY, INSTRUCTOR = "parameters", "solution-only", "instructor"  # tags of cells
MADE = "made-by-build"  # the tag of cells that are in both notebooks and in no source
JUPYTEXTS_SPACING = "lines_to_next_cell"  # how jupytext remembers blank lines of the source; no learner needs it
# What editors, runners and Jupytext note of a cell for themselves, and what says no more than its absence does.
OF_EDITORS = {
    JUPYTEXTS_SPACING, "autoscroll", "collapsed", "colab", "colab_type", "execution", "executionInfo", "ExecuteTime",
    "heading_collapsed", "hidden", "id", "jp-MarkdownHeadingCollapsed", "outputId", "papermill", "scrolled", "trusted",
    "vscode",
}  # fmt: skip
UNSAID = {"editable": True, "deletable": True, "slideshow": {"slide_type": ""}, "tags": [], "jupyter": {}}
PASTED = re.compile(r"\battachment:\S")  # how Markdown names a picture that is kept in the notebook's cell
NO_PICTURES = (
    "a source is text and holds no pasted picture. Save it as a file and show that, or draw it in a code cell."
)
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}

_NAME = re.compile(r"\d\d_[a-z0-9_]+")
_CELL_START = re.compile(r"# %%(\s|$)")
_LIKE_A_MARK = re.compile(r"#\s*(BEGIN|END)\s+SOLUTION", re.IGNORECASE)
_NEW_CELL = {"code": new_code_cell, "markdown": new_markdown_cell, "raw": new_raw_cell}


@dataclass(frozen=True)
class Problem:
    """What is wrong where, and how to mend it."""

    file: Path
    line: int | None
    text: str

    def __str__(self):
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.text}"


@dataclass(frozen=True)
class Cell:
    """A cell of the source; its text starts in this line of the file."""

    kind: str
    text: str
    metadata: dict
    line: int

    @property
    def tags(self):
        return self.metadata.get("tags", [])


@dataclass(frozen=True)
class Source:
    """A lesson's source as it was read."""

    path: Path
    text: str
    metadata: dict
    cells: tuple[Cell, ...]

    @property
    def number(self):
        return self.path.name[:2]

    @property
    def sha256(self):
        return hashlib.sha256(self.text.encode()).hexdigest()


class SourceError(ValueError):
    """A source that can't be read as a notebook at all; `problem` says why."""

    def __init__(self, problem):
        super().__init__(str(problem))
        self.problem = problem


def read(path):
    """Read a py:percent file.

    Raises:
        SourceError: if it isn't UTF-8, or can't be cut into cells.
    """
    try:
        return parsed(path, path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SourceError(Problem(path, line, f"isn't UTF-8 ({error.reason}). Save it in that encoding.")) from error


def parsed(path, text):
    """The source of this text, as if it stood in the file.

    Raises:
        SourceError: if it can't be cut into cells.
    """
    try:
        notebook = jupytext.reads(text, "py:percent")
    except Exception as error:  # a broken header: jupytext lets the YAML library's errors through
        raise SourceError(Problem(path, 1, f"jupytext can't read it: {error}")) from error
    starts = [number for number, line in enumerate(text.splitlines(), 1) if _CELL_START.match(line)]
    if len(starts) != len(notebook.cells):
        advice = "Start each cell, the first as well, with a line `# %%` or `# %% [markdown]`."
        raise SourceError(Problem(path, 1, f"{len(notebook.cells)} cells, but {len(starts)} cell marks. {advice}"))
    cells = tuple(
        Cell(cell.cell_type, cell.source, dict(cell.metadata), start + 1)
        for cell, start in zip(notebook.cells, starts, strict=True)
    )
    return Source(path, text, notebook.metadata, cells)


def problems(source, lesson_of):
    """Everything that is wrong with a source, in the order of its lines.

    Args:
        source: what `read` returned.
        lesson_of: ``{exercise: its lesson's two digits}``, of all registered exercises.
    """
    found = [*_problems_of_file(source), *_problems_of_parameters(source), *_problems_of_checks(source, lesson_of)]
    for cell in source.cells:
        found += [(cell.line + offset, text) for offset, text in _problems_of_cell(cell)]
    return [Problem(source.path, line, text) for line, text in sorted(found, key=lambda item: item[0])]


def solution_notebook(source):
    """The notebook with the solutions, paired with the source by jupytext."""
    cells = [cell for cell in source.cells if INSTRUCTOR not in cell.tags]
    return _notebook(source, cells, {"jupytext": source.metadata.get("jupytext", {})})


def lesson_notebook(source):
    """The notebook for learners: a stub in place of each solution."""
    cells = [
        replace(
            cell,
            text=without_solution(cell.text) if cell.kind == "code" else cell.text,
            metadata={key: value for key, value in cell.metadata.items() if key != JUPYTEXTS_SPACING},
        )
        for cell in source.cells
        if INSTRUCTOR not in cell.tags and SOLUTION_ONLY not in cell.tags
    ]
    return _notebook(source, cells, {})


def without_solution(code):
    """The code with `STUB`, at the same indentation, in place of what stands between the marks."""
    lines, inside = [], False
    for line in code.splitlines():
        if line.strip() == BEGIN:
            inside = True
            lines += _stub(line)
        elif line.strip() == END:
            inside = False
        elif not inside:
            lines.append(line)
    return "\n".join(lines)


def solution_regions(code):
    """What stands between the marks, the marks included: a list of lines for each solution."""
    regions, inside = [], False
    for line in code.splitlines():
        if line.strip() == BEGIN:
            inside = True
            regions.append([])
        if inside:
            regions[-1].append(line)
        inside = inside and line.strip() != END
    return regions


def with_solutions(code, regions):
    """The reverse of `without_solution`: code with each stub replaced by its solution, in their order.

    Raises:
        ValueError: if the stubs aren't as many, or not at the indentation, as the solutions.
    """
    lines, waiting, made = code.splitlines(), list(regions), []
    while lines:
        line = lines.pop(0)
        if line.strip() != STUB[0]:
            made.append(line)
            continue
        if not waiting or [line, *lines[: len(STUB) - 1]] != _stub(waiting[0][0]):
            raise ValueError(f"this one isn't as it was: {line.strip()!r}")
        made += waiting.pop(0)
        del lines[: len(STUB) - 1]
    if waiting:
        raise ValueError(f"of {len(regions)}, {len(waiting)} are gone or filled in")
    return "\n".join(made)


def _stub(mark):
    """The lines that a learner finds in place of the solution that begins with this line."""
    indent = mark[: len(mark) - len(mark.lstrip())]
    return [indent + line for line in STUB]


def as_text(source, cells):
    """The text of a source with these cells, as jupytext writes it."""
    cells = [_NEW_CELL[cell.kind](cell.text, metadata=cell.metadata) for cell in cells]
    return jupytext.writes(new_notebook(metadata=source.metadata, cells=cells), "py:percent")


def without_made(source):
    """The source without cells that a build makes; a sync with the notebook outside of JupyterLab leaves them in it."""
    cells = [cell for cell in source.cells if MADE not in cell.tags]
    return source if len(cells) == len(source.cells) else parsed(source.path, as_text(source, cells))


def new_notes(notebook, source):
    """The instructor's cells of a notebook that its source doesn't have.

    Those that it has come from JupyterLab, which shows and saves a solution with all cells of its source.
    """
    known = [(cell.text, cell.tags) for cell in source.cells if INSTRUCTOR in cell.tags]
    cells = [cell for cell in notebook.cells if INSTRUCTOR in cell.metadata.get("tags", [])]
    return [cell for cell in cells if (cell.source, cell.metadata.tags) not in known]


def said(metadata):
    """What of a cell's metadata somebody set on purpose, such as tags, a hidden source or the kind of a slide."""
    hidden = metadata.get("jupyter", {}).get("source_hidden")
    metadata = metadata | {"jupyter": {"source_hidden": True} if hidden else {}}
    return {key: value for key, value in metadata.items() if key not in OF_EDITORS and value != UNSAID.get(key)}


def digest(notebook):
    """A fingerprint of what somebody wrote in a notebook.

    Outputs and ids don't count, nor the instructor's cells, nor those that a build makes.
    """
    written = [
        (cell.cell_type, cell.source, said(dict(cell.metadata)), sorted(cell.get("attachments", {})))
        for cell in notebook.cells
        if not {INSTRUCTOR, MADE} & set(cell.metadata.get("tags", []))
    ]
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()


def _notebook(source, cells, metadata):
    ids = _cell_ids(cells)
    notebook = new_notebook(
        metadata={**metadata, "kernelspec": dict(KERNEL)},
        cells=[
            _NEW_CELL[cell.kind](cell.text, id=own_id, metadata=cell.metadata)
            for cell, own_id in zip(cells, ids, strict=True)
        ],
    )
    notebook.metadata["medattack"] = {
        "generated_from": f"solutions/{source.path.name}",
        "sha256": source.sha256,
        "cells_sha256": digest(notebook),
    }
    return nbformat.from_dict(notebook)


def _cell_ids(cells):
    """An id for each cell, made of its first word and a hash of its text: a change elsewhere leaves it as it is."""
    ids = []
    for cell in cells:
        word = next(iter(re.findall(r"[a-z0-9]+", cell.text.lower())), cell.kind)[:20]
        plain = f"{word}-{hashlib.sha256(f'{cell.kind}:{cell.text}'.encode()).hexdigest()[:8]}"
        own_id, copies = plain, 1
        while own_id in ids:
            copies += 1
            own_id = f"{plain}-{copies}"
        ids.append(own_id)
    return ids


def _problems_of_file(source):
    if not _NAME.fullmatch(source.path.stem):
        yield 1, "the name should be NN_slug.py: two digits, then lower-case letters, digits and underscores."
    if dict(source.metadata.get("kernelspec", {})) != KERNEL:
        yield 1, f"the header should name the kernel {KERNEL}."
    if "ipynb" not in str(source.metadata.get("jupytext", {}).get("formats", "")):
        yield 1, "the header should pair it with a notebook: `formats: ipynb,py:percent` under `jupytext`."
    if (
        not source.cells
        or source.cells[0].kind != "markdown"
        or not re.match(rf"# {source.number} \S", source.cells[0].text)
    ):
        yield 1, f"the first cell should be markdown and start with the title, `# {source.number} ...`."
    lines, canonical = source.text.splitlines(), as_text(source, source.cells).splitlines()
    for number, (line, other) in enumerate(zip([*lines, ""], [*canonical, ""], strict=False), 1):
        if line != other:
            yield number, f"jupytext, saving this file, would write {other!r} here instead of {line!r}. Write it so."
            return


def _problems_of_parameters(source):
    tagged = [cell for cell in source.cells if PARAMETERS in cell.tags]
    if len(tagged) != 1:
        line = tagged[1].line if tagged else 1
        yield line, f'{len(tagged)} cells are tagged parameters; a lesson has one, `# %% tags=["parameters"]`.'
    for cell in tagged:
        for statement in _parsed(cell.text).body:
            named = isinstance(statement, ast.Assign) and all(isinstance(name, ast.Name) for name in statement.targets)
            computed = any(isinstance(node, ast.Call | ast.Attribute) for node in ast.walk(statement))
            if not named or computed:
                yield cell.line + statement.lineno - 1, "the parameters cell holds lines `name = value` only."


def _problems_of_checks(source, lesson_of):
    used = set()
    for cell in source.cells:
        if cell.kind != "code" or {SOLUTION_ONLY, INSTRUCTOR} & set(cell.tags):
            continue
        for node in ast.walk(_parsed(without_solution(cell.text))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "check":
                used.add(node.attr)
                if node.attr not in lesson_of:
                    offset = next(n for n, line in enumerate(cell.text.splitlines()) if f"check.{node.attr}" in line)
                    yield cell.line + offset, f"no exercise {node.attr!r} is registered in medattack_edu/course/checks."
    if not used:
        yield 1, "there is no `check.NAME(...)` in the lesson; each lesson has an exercise."
    for name in sorted(name for name, lesson in lesson_of.items() if lesson == source.number and name not in used):
        yield 1, f"the exercise {name!r} is registered for this lesson, which has no `check.{name}(...)`."


def _problems_of_cell(cell):
    """(offset from the cell's first line, text) of each problem."""
    opened = None
    for offset, line in enumerate(cell.text.splitlines()):
        mark = line.strip()
        if mark not in (BEGIN, END):
            if cell.kind == "code" and _LIKE_A_MARK.search(line):
                yield offset, f"{mark!r} looks like a solution mark; those are exactly `{BEGIN}` and `{END}`."
            elif cell.kind != "code" and PASTED.search(line):
                yield offset, NO_PICTURES
        elif cell.kind != "code":
            yield offset, "a solution mark stands in a text cell; tag the cell solution-only to keep it from learners."
        elif mark == BEGIN:
            if opened is not None:
                yield offset, f"`{BEGIN}` inside a solution; end that one first."
            opened = offset
        elif opened is None:
            yield offset, f"`{END}` without its `{BEGIN}`."
        else:
            opened = None
    if opened is not None:
        yield opened, f"`{BEGIN}` without its `{END}`."
    if cell.kind == "code":
        for what, code in (("the code", cell.text), ("what is left for the learner", without_solution(cell.text))):
            if error := _syntax_error(code):
                yield (error.lineno or 1) - 1, f"{what} doesn't compile: {error.msg}."
                return


def _syntax_error(code):
    try:
        compile(_plain_python(code), "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError as error:
        return error
    return None


def _parsed(code):
    """The syntax tree, empty for code that doesn't compile: that is said elsewhere."""
    try:
        return ast.parse(_plain_python(code))
    except SyntaxError:
        return ast.parse("")


def _plain_python(code):
    """Magics and shell lines as the calls that IPython makes of them."""
    return TransformerManager().transform_cell(code)
