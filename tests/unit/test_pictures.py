"""What readers without a kernel are promised: a picture of each widget, small, and in words too."""

import re
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from PIL import Image

from medattack_edu.course import made, pictures

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted(path for folder in ("lessons", "solutions") for path in (ROOT / folder).glob("*.ipynb"))
WITH_WIDGETS = {f"{number:02}" for number in range(1, 9)}  # others may have some


def named(notebook):
    """The cells of a notebook with the names of the pictures that belong to each."""
    codes = [cell.source if cell.cell_type == "code" else "" for cell in notebook.cells]
    return list(zip(notebook.cells, pictures.names(notebook.number, codes), strict=True))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def notebook(request):
    notebook = nbformat.read(request.param, as_version=4)
    return SimpleNamespace(cells=notebook.cells, folder=request.param.parent, number=request.param.name[:2])


def test_each_widget_has_its_picture_in_words_too_in_the_cell_behind_it(notebook):
    cells = named(notebook)
    for place, (_, names) in enumerate(cells):
        for offset, name in enumerate(names, 1):
            shown = cells[place + offset][0]
            assert made.is_made(shown), f"{name}: draw it with `python benchmarks/lesson_pictures.py {notebook.number}`"
            source, words = re.search(r'<img src="([^"]+)" alt="([^"]+)">', shown.source).groups()
            path = (notebook.folder / source).resolve()
            assert path == pictures.place(ROOT, name) and path.is_file()
            assert unescape(words) == pictures.words_of(path) and len(words.split()) >= 8
            assert shown.source.startswith("<details><summary>") and shown.source.endswith("</details>")


def test_there_are_widgets_in_the_lessons_from_01_to_08_and_no_picture_without_one():
    names = {path.name[:2]: [] for path in NOTEBOOKS}
    for path in NOTEBOOKS:
        page = SimpleNamespace(cells=nbformat.read(path, as_version=4).cells, number=path.name[:2])
        names[page.number] += [name for _, there in named(page) for name in there]
    assert {number for number, there in names.items() if there} >= WITH_WIDGETS
    drawn = {path.stem for path in (ROOT / pictures.FOLDER).iterdir()}
    assert drawn == {name for there in names.values() for name in there}


@pytest.mark.parametrize("path", sorted((ROOT / pictures.FOLDER).glob("*")), ids=lambda path: path.stem)
def test_a_picture_is_a_small_png_of_a_widgets_size(path):
    assert path.suffix == ".png" and path.stat().st_size <= pictures.LIMIT
    with Image.open(path) as picture:
        assert picture.format == "PNG" and picture.width >= 1000 and 300 <= picture.height <= 600


# -- names


def test_a_widget_is_a_call_of_explore_and_a_class_of_it_is_none():
    code = (
        "%matplotlib inline\nscene = explore.Scene(x)\nexplore.patch(scene); explore.own_photo(scene)\nother.epsilon()"
    )
    assert pictures.makers(code) == ["patch", "own_photo"]
    assert pictures.makers("explore.epsilon(") == pictures.makers("explore.epsilon") == []


def test_a_second_widget_of_a_kind_gets_a_name_of_its_own():
    assert pictures.names("03", ["explore.epsilon(a)", "", "explore.epsilon(b)\nexplore.steps(c)"]) == [
        ["03_epsilon"], [], ["03_epsilon_2", "03_steps"]
    ]  # fmt: skip


# -- keeping


def test_an_explorers_picture_is_kept_small_with_its_words_at_the_values_wanted(tmp_path, monkeypatch):
    import numpy as np
    from ipywidgets import Dropdown, IntSlider

    from medattack_edu import explore

    monkeypatch.setattr(pictures, "LIMIT", 3000)  # too little for 256 colours of this
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    seen = []

    def render(level, kind):
        seen.append((level, kind))
        return noise

    controls = {"level": IntSlider(max=10), "kind": Dropdown(options=["a", "b"])}
    explorer = explore.interactive(render, controls, alt=lambda level, kind: f"é {level} {kind}")
    path = tmp_path / "new" / "03_epsilon.png"
    pictures.keep(explorer, path)
    assert seen[-1] == (5, "a") and path.stat().st_size <= pictures.LIMIT
    pictures.keep(explorer, path, kind="b")
    assert seen[-1] == (5, "b") and pictures.words_of(path) == "é 5 b"
    before = path.read_bytes()
    pictures.keep(explorer, path, kind="b")
    assert path.read_bytes() == before, "drawn again it is the same file"
    pictures.keep(explorer, path, words="other words")
    assert pictures.words_of(path) == "other words"
