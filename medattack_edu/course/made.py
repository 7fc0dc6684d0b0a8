"""The cells that a build puts into both notebooks and that no source holds: badges, Colab's first cell, pictures.

They carry the tag `MADE`. A notebook's metadata hold a fingerprint of each, so that an edit of one is noticed.
"""

import hashlib

from nbformat.v4 import new_code_cell, new_markdown_cell

from medattack_edu.course import pictures
from medattack_edu.course.address import PLACE
from medattack_edu.course.source import MADE

FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}  # in JupyterLab; on Colab
# What there is on Colab stays as it is: its PyTorch knows its GPU.
ON_COLAB = """\
# @title Only on Google Colab: installs the course. Anywhere else this cell does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet --no-deps {what}
    from medattack_edu.course.colab import install_what_is_missing

    install_what_is_missing()"""
ON_COLAB_WITHOUT_ADDRESS = f'''\
# @title Only on Google Colab: says how to install the course. Anywhere else this cell does nothing.
import sys

if "google.colab" in sys.modules:
    print("""This copy of the course has no public address from which Colab could install it.
Pack the course's folder as medattack.zip, upload that (the folder at the left), and run in a new cell:

    %pip install --quiet --no-deps medattack.zip
    from medattack_edu.course.colab import install_what_is_missing
    install_what_is_missing()

If the course is yours: set {PLACE}, and run medattack build.""")'''


def add(notebook, folder, stem, root, address):
    """Put the cells into a notebook: head and Colab's behind the title, each picture behind its widget.

    Args:
        notebook: of a lesson or a solution, as `source` makes it; changed in place.
        folder: "lessons" or "solutions". stem: the notebook's name without its ending.
        root: the course's folder, where the pictures are.
        address: the course's `Address`, or None.

    Returns:
        The notebook.
    """
    codes = [cell.source if cell.cell_type == "code" else "" for cell in notebook.cells]
    cells = []
    for cell, names in zip(notebook.cells, pictures.names(stem[:2], codes), strict=True):
        shown = filter(None, (pictures.cell_text(root, name, folder) for name in names))
        cells += [cell, *(_cell(new_markdown_cell, text) for text in shown)]
    notebook.cells = [*cells[:1], *_head(f"{folder}/{stem}.ipynb", address), *cells[1:]]
    notebook.metadata["medattack"]["made_sha256"] = [_digest(cell) for cell in notebook.cells if is_made(cell)]
    return notebook


def is_made(cell):
    """Whether a cell of a notebook is one of ours."""
    return MADE in cell.metadata.get("tags", [])


def touched(notebook):
    """The numbers, counted from 1, of our cells that somebody has edited."""
    known = notebook.metadata.get("medattack", {}).get("made_sha256", [])
    cells = enumerate(notebook.cells, 1)
    return [number for number, cell in cells if is_made(cell) and _digest(cell) not in known]


def badges(path, address):
    """The line of links that open this notebook elsewhere: words, since a picture would be fetched from the network."""
    places = {"Google Colab": address.colab(path), "Binder": address.binder(path)}
    links = [f"[**Open on {name}**]({link})" for name, link in places.items() if link]
    return f"{' · '.join(links)} · [the course's home]({address.url})"


def _head(path, address):
    if address is None:
        return [_cell(new_code_cell, ON_COLAB_WITHOUT_ADDRESS, FOLDED)]
    return [
        _cell(new_markdown_cell, badges(path, address)),
        _cell(new_code_cell, ON_COLAB.format(what=address.for_pip), FOLDED),
    ]


def _cell(new_cell, text, metadata=None):
    cell = new_cell(text, metadata={**(metadata or {}), "tags": [MADE]})
    cell.id = f"made-{_digest(cell)}"
    return cell


def _digest(cell):
    return hashlib.sha256(f"{cell.cell_type}:{cell.source}".encode()).hexdigest()[:12]
