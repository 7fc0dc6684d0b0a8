"""A picture of each widget for readers without a kernel, as on GitHub: its name, its words, and the cell that shows it.

The pictures are files of the course, drawn by `benchmarks/lesson_pictures.py`; `made` puts the cells into the notebooks.
"""

import ast
import io
import posixpath
from html import escape
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

FOLDER = "lessons/pictures"  # of the course: whoever takes the folder of lessons has them
SUMMARY = "A picture of this widget, for readers without a kernel"
WHOSE = "Drawn from phantoms. In a running notebook the widget above shows your own images and models."
WORDS = "Description"  # the PNG standard's own keyword for what a picture shows
LIMIT = 80_000  # bytes of a picture
PALETTES = (256, 192, 160, 128, 96, 64, 32, 16)  # colours: the first is taken with which the file is small enough


def makers(code):
    """The explorers that a cell makes: the NAMEs of its calls ``explore.NAME(...)``, classes left out."""
    try:
        tree = ast.parse(TransformerManager().transform_cell(code))
    except SyntaxError:  # said elsewhere
        return []
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    calls = [call for call in called if isinstance(call, ast.Attribute) and getattr(call.value, "id", "") == "explore"]
    return [call.attr for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)) if call.attr.islower()]


def names(number, codes):
    """What the pictures of a lesson are called, for each cell: ``[[], ["03_epsilon"], ...]``.

    Args:
        number: the lesson's two digits.
        codes: the code of each cell, an empty text for a cell that has none.
    """
    seen, named = {}, []
    for code in codes:
        named.append([])
        for maker in makers(code) if "explore." in code else ():
            seen[maker] = seen.get(maker, 0) + 1
            named[-1].append(f"{number}_{maker}" + (f"_{seen[maker]}" if seen[maker] > 1 else ""))
    return named


def place(root, name):
    """The file of a picture in a course."""
    return Path(root) / FOLDER / f"{name}.png"


def cell_text(root, name, folder):
    """The Markdown that shows a picture, folded for those who have the live widget above it; None if there is none.

    Args:
        root: the folder of the course. name: of the picture. folder: that of the notebook, in the course.
    """
    path = place(root, name)
    if not path.is_file():
        return None
    return (
        f"<details><summary>{SUMMARY}</summary>\n"
        f'<img src="{posixpath.relpath(FOLDER, folder)}/{path.name}" alt="{escape(words_of(path))}">\n'
        f"<p>{WHOSE}</p>\n</details>"
    )


def words_of(path):
    """What a picture shows, in words, as `keep` wrote it into the file."""
    from PIL import Image

    with Image.open(path) as picture:
        return picture.info.get(WORDS, "")


def keep(explorer, path, words=None, **values):
    """Write the picture of an explorer to a small PNG file that holds its words as well.

    Args:
        explorer: what `explore.NAME(...)` returned.
        path: the file.
        words: the picture in words; default: the explorer's own.
        values: where its controls stand; default: sliders in the middle, anything else where it is.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from medattack_edu.explore.widget import as_png, middle

    values = {name: middle(control) for name, control in explorer.controls.items()} | values
    picture = Image.open(io.BytesIO(as_png(explorer.render(**values)))).convert("RGB")
    said = PngInfo()
    said.add_itxt(WORDS, words or explorer.alt(**values))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    for colours in PALETTES:
        file = io.BytesIO()
        small = picture.quantize(colours, kmeans=1, dither=Image.Dither.NONE)  # without k-means orange turns brown
        small.save(file, "PNG", optimize=True, pnginfo=said)
        if file.tell() <= LIMIT:
            break
    Path(path).write_bytes(file.getvalue())
