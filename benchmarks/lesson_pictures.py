"""Draws the picture that stands for each widget where no kernel runs, from phantoms, by running the solutions.

python benchmarks/lesson_pictures.py           # all lessons, about a minute each with a warm cache
python benchmarks/lesson_pictures.py 03 07     # these
medattack build                                # puts the words of new pictures into the notebooks
"""

import os
import sys
import tempfile
from pathlib import Path

from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from medattack_edu.course import pictures, source

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {"MEDATTACK_IMAGES": "phantom", "MEDATTACK_DEVICE": "cpu", "MEDATTACK_PROGRESS": "off"}
CELL_LIMIT_S = 600
# Where a widget's start shows nothing yet, or a photograph and not what is drawn: code of more arguments for `keep`.
ELSEWHERE = {
    "06_queries": "spent=shown.controls['spent'].options[-1][1], attack='Square'",
    "07_patch": "image=(in_clinic, 0), scale=0.4, across=shown.values['across'], down=shown.values['down']",
    "07_own_photo": "photo=[{'content': drawn}], words=shown.alt(photo=[{'content': drawn}])"
    ".replace('Your photograph', 'A drawn scene in place of your photograph')",
}
A_DRAWN_SCENE = """
import io, torch
from PIL import Image
from medattack_edu.explore.panels import as_bytes, as_rows
from medattack_edu.scenes.photographs import dead_leaves
_file = io.BytesIO()
Image.fromarray(as_bytes(as_rows(dead_leaves(1, 224, torch.Generator().manual_seed(3)))[0])).save(_file, "PNG")
drawn = _file.getvalue()
"""


def main(numbers):
    os.environ.update(SETTINGS)
    os.environ.pop("MEDATTACK_DATA", None)  # no real image can be reached
    for path in sorted((ROOT / "solutions").glob("[0-9][0-9]_*.py")):
        if not numbers or path.name[:2] in numbers:
            for picture in draw(source.read(path)):
                size = f"{picture.stat().st_size / 1000:.0f} KB"
                print(f"{picture.relative_to(ROOT)}  {size}  {pictures.words_of(picture)}")


def draw(lesson):
    """Run a solution up to its last widget and keep the picture of each. Returns the files."""
    shown = [cell for cell in lesson.cells if cell.kind == "code" and source.INSTRUCTOR not in cell.tags]
    named = pictures.names(lesson.number, [cell.text for cell in shown])
    last = max((index for index, names in enumerate(named) if names), default=-1)
    cells, files = [], []
    for cell, names in zip(shown[: last + 1], named, strict=False):
        cells.append(new_code_cell(cell.text))
        for name in names:
            files.append(pictures.place(ROOT, name))
            cells.append(new_code_cell(_keeping(name, files[-1])))
    if cells:
        with tempfile.TemporaryDirectory() as folder:
            notebook = new_notebook(cells=cells)
            NotebookClient(notebook, timeout=CELL_LIMIT_S, resources={"metadata": {"path": folder}}).execute()
    return files


def _keeping(name, path):
    """Code that keeps the picture of what the last cell showed."""
    shows, arguments = ELSEWHERE.get(name), [f"shown, {str(path)!r}"]
    return "\n".join(
        [
            "from medattack_edu.course import pictures",
            "shown = Out[max(Out)]",
            A_DRAWN_SCENE if shows and "drawn" in shows else "",
            f"pictures.keep({', '.join(arguments + [shows] if shows else arguments)})",
        ]
    )


if __name__ == "__main__":
    main(sys.argv[1:])
