"""Two lessons as a run leaves them, one of which failed, for the tests of the site. Written here, not run."""

import base64
import io

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from medattack_edu.course.notices import GOOD, _notice_html
from medattack_edu.course.quiz import _unfolding

HEAD = """\
# 03 The <fast> & the sure

**You write *one* step, `fgs`.
No eye sees it.**

| | |
|---|---|
| Time | 30 to 40 minutes |
| You need | [lesson 04](04_fails.ipynb#2.-Down,-and-up), [lesson 05](05_not_there.ipynb) |"""
FORMULA = r"""## 1. Up the hill

### Predict

% of all patients is no comment in Markdown. At most $\pm\varepsilon$, so $\log p$ and

$$\text{loss}(x + \delta) \;\approx\; \text{loss}(x) + \sum_i g_i\,\delta_i \qquad\text{with}\qquad |\delta_i| \le \varepsilon$$"""
BOX = '<div style="border-left: 5px solid #0072B2">\n\n### In the clinic\n\nA **stethoscope** was seen.\n\n</div>'
LONG_LINE = "words = " + " + ".join(f"'word {number}'" for number in range(20))
WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}
TABLE = "<table><tr>" + "".join(f"<td>column_number_{number}</td>" for number in range(20)) + "</tr></table>"


def png(width, height):
    """A picture as a notebook holds it."""
    picture = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(picture, "PNG")
    return base64.b64encode(picture.getvalue()).decode()


def shown(data, **metadata):
    return new_output("display_data", data, metadata=metadata)


def printed(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def code(source, *outputs, count=1, **metadata):
    return new_code_cell(source, outputs=list(outputs), execution_count=count, metadata=metadata)


def write_course(folder):
    """Write the two notebooks; returns their paths."""
    quiz = _unfolding("Why?", ["so", "not so"], "so", {"so": "Because.", "not so": "No."})
    works = [
        new_markdown_cell("A badge", metadata={"tags": ["made-by-build"]}),
        new_markdown_cell(HEAD),
        new_markdown_cell("Say this.", metadata={"tags": ["instructor"]}),
        code("eps = 1", tags=["parameters"]),
        new_markdown_cell(FORMULA),
        code(LONG_LINE, printed("one "), printed("and two\n"), printed("\x1b[31mbeware\x1b[0m", "stderr")),
        code("def fgs(x):\n    # YOUR CODE HERE\n    ...", shown({"text/html": _notice_html(GOOD, "Holds", "n = 3")})),
        code("gallery", shown({"image/png": png(1300, 300)}, **{"image/png": {"alt": 'Eight "patients" & more'}})),
        code(
            "explore.epsilon()",
            shown(WIDGET | {"text/plain": "attacking:   0%|          | 0/2"}),
            shown(
                WIDGET | {"image/png": png(900, 400), "text/plain": "x"}, **{"image/png": {"alt": "A slider's picture"}}
            ),
        ),
        code("table", shown({"text/html": TABLE, "text/plain": "a table"})),
        code(
            "quiz('hidden')", shown(WIDGET | {"text/html": quiz, "text/plain": "Why?"}), jupyter={"source_hidden": True}
        ),
        new_markdown_cell(BOX),
        code("   "),
    ]
    fails = [
        new_markdown_cell("# 04 It fails\n\n**Time:** 5 minutes; computing 1. **Needs:** nothing"),
        new_markdown_cell("## 1. First\n\n```\na fence\n```\n\n## 2. Down, and up\n\nBack to [lesson 03](03_works.ipynb)."),
        code('print("```")', printed("```\n")),
        code("f()", new_output("error", ename="KeyError", evalue="'<gone>'", traceback=["\x1b[31mKeyError\x1b[0m: '<gone>'"])),
        code("never", count=None),
    ]  # fmt: skip
    paths = [folder / "03_works.ipynb", folder / "04_fails.ipynb"]
    for path, cells in zip(paths, (works, fails), strict=True):
        nbformat.write(new_notebook(cells=cells), path)
    return paths
