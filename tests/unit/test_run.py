"""What `medattack run` promises: every lesson is run, measured and shown, whatever becomes of it."""

import base64
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from medattack_edu.course import lesson_run as lesson_runs
from medattack_edu.course import pages
from medattack_edu.course.claims import CLAIM_RECORD, RESULT_RECORD
from medattack_edu.course.lesson_run import LessonRun
from medattack_edu.course.run import run_lessons

BIG_MIB = 300
KERNEL = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}}


def write(path, *codes, parameters="eps = 1"):
    """A lesson of these code cells, the first of them tagged as parameters."""
    tagged = [new_code_cell(parameters, metadata={"tags": ["parameters"]})] if parameters else []
    title = new_markdown_cell(f"# {path.stem[:2]} A <title> & more")
    page = new_notebook(cells=[title, *tagged, *map(new_code_cell, codes)], metadata=KERNEL)
    path.write_text(nbformat.writes(page), encoding="utf-8")
    return path


FIGURE = """
from matplotlib import pyplot
from IPython.display import Image, display
import io
pyplot.switch_backend("agg")
figure, axes = pyplot.subplots()
axes.plot([1, 2])
picture = io.BytesIO()
figure.savefig(picture)
display(Image(picture.getvalue()))
"""
SAYS_WHERE = """
import os
print("eps", eps, "images", os.environ["MEDATTACK_IMAGES"], "device", os.environ["MEDATTACK_DEVICE"])
print("progress", os.environ["MEDATTACK_PROGRESS"], "files", sorted(os.listdir()))
"""
FAILS = "def f():\n    raise KeyError('<gone>')"
DIES = "import os, sys\nprint('last words', file=sys.__stderr__, flush=True)\nos._exit(1)"
SAYS_WHO = "import os, pathlib\npathlib.Path(r'{}').write_text(str(os.getpid()))\n"
CLAIMS = """
from medattack_edu import claim, quiz
claim("one", True)
claim("two", False)
quiz("Why?", ["so", "not so"], "so", "Because.")
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Three lessons, run once: one that works, one that fails in its middle, one whose kernel dies."""
    folder = tmp_path_factory.mktemp("lessons")
    notebooks = [
        write(folder / "03_works.ipynb", SAYS_WHERE, CLAIMS, FIGURE, f"big = bytes([1]) * ({BIG_MIB} << 20)\ndel big"),
        write(folder / "04_fails.ipynb", "print('before')", FAILS, "f()", "print('never')"),
        write(folder / "05_dies.ipynb", DIES),
    ]
    out = folder / "out"
    before = {name: os.environ.get(name) for name in ("MEDATTACK_IMAGES", "MEDATTACK_DEVICE")}
    code = run_lessons(notebooks, out, images="phantom", device="cpu", parameters={"eps": 7}, timeout=120)
    assert before == {name: os.environ.get(name) for name in before}, "the caller's environment was changed"
    return SimpleNamespace(code=code, out=out, index=(out / "index.html").read_text(encoding="utf-8"))


def page(ran, name):
    return (ran.out / f"{name}.html").read_text(encoding="utf-8")


def row(ran, name):
    return next(part for part in ran.index.split("<tr>") if f'href="{name}.html"' in part)


def test_a_failure_stops_no_other_lesson_and_shows_in_the_exit_code(ran):
    names = ("03_works", "04_fails", "05_dies")
    wanted = {f"{name}.{kind}" for name in names for kind in ("html", "ipynb")} | {"index.html"}
    assert {path.name for path in ran.out.iterdir()} == wanted, "nothing temporary stays"
    assert ran.code == 1
    assert "1 of 3 lessons passed" in ran.index
    assert [("passed" in row(ran, name)) for name in names] == [True, False, False]


def test_settings_and_parameters_reach_the_kernel_which_starts_in_an_empty_folder(ran):
    said = page(ran, "03_works")
    assert "eps 7 images phantom device cpu" in said
    assert re.search(r"progress off files \[(&#39;|')kernel.log(&#39;|')\]", said)


def test_the_index_counts_claims_and_shows_small_figures(ran):
    assert "1 of 2</td>" in row(ran, "03_works")
    assert 'src="data:image/jpeg;base64,' in ran.index
    assert len(ran.index) < 100_000


def test_the_peak_memory_is_that_of_the_kernel(ran):
    def mib(name):
        return int(re.search(r"(\d+) MiB", row(ran, name)).group(1))

    assert BIG_MIB + 30 <= mib("03_works") <= BIG_MIB + 400
    assert 30 <= mib("04_fails") < BIG_MIB, "a lesson that fails is measured as well"


def test_a_failing_cell_is_shown_at_the_top_with_a_link_to_it(ran):
    said = page(ran, "04_fails")
    notice = said[said.index('class="stopped"') : said.index("</section>")]
    assert "KeyError" in notice and "&lt;gone&gt;" in notice and "<pre>f()</pre>" in notice
    anchor = re.search(r'href="#(cell-id=[\w-]+)"', notice).group(1)
    assert f'id="{anchor}"' in said[said.index("</section>") :]
    assert "&lt;gone&gt;" in row(ran, "04_fails")
    assert "papermill-error" not in said


def test_cells_before_a_failure_keep_their_outputs_and_later_ones_have_none(ran):
    cells = nbformat.read(ran.out / "04_fails.ipynb", as_version=4).cells
    assert cells[3].outputs[0].text == "before\n"
    assert cells[-1].outputs == [] and cells[-1].execution_count is None


def test_a_kernel_that_dies_is_told_with_its_last_words(ran):
    assert "Kernel died" in page(ran, "05_dies") and "last words" in page(ran, "05_dies")


def test_pages_ask_the_network_for_nothing_and_follow_the_theme(ran):
    for path in ran.out.glob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'(src|href)="(https?:)?//', text), path.name
        assert "<script src" not in text and "@import" not in text, path.name
        assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text
        assert "A &lt;title&gt; &amp; more" in text or path.name == "index.html"


def test_a_widget_is_shown_by_its_static_picture(ran):
    said = page(ran, "03_works")
    assert "<summary" in said and "Because." in said
    assert "widget-view" not in said and "RadioButtons" not in said


def test_a_cell_that_takes_too_long_is_stopped_and_its_kernel_ended(tmp_path):
    lesson = write(tmp_path / "06_hangs.ipynb", SAYS_WHO.format(tmp_path / "pid"), "while True:\n    pass")
    assert run_lessons([lesson], tmp_path / "out", timeout=8) == 1
    assert "took longer than 8 s" in (tmp_path / "out" / "06_hangs.html").read_text()
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_all_passed_is_an_exit_code_of_nothing(tmp_path):
    assert run_lessons([write(tmp_path / "00_start.ipynb", "1")], tmp_path / "out") == 0
    assert "1 of 1 lessons passed" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_leaves_whole_files_and_ends_the_kernel(tmp_path):
    quick = write(tmp_path / "00_quick.ipynb", "1")
    slow = write(tmp_path / "01_slow.ipynb", SAYS_WHO.format(tmp_path / "pid") + "import time\ntime.sleep(300)")
    heard = "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"  # also where the tests are started with &
    code = heard + "from medattack_edu.course.run import run_lessons\nrun_lessons(sys.argv[2:], sys.argv[1])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out"), str(quick), str(slow)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    kernel = int((tmp_path / "pid").read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    assert not psutil.pid_exists(kernel) or psutil.Process(kernel).status() == psutil.STATUS_ZOMBIE
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"00_quick.ipynb", "00_quick.html", "index.html"}
    index = (tmp_path / "out" / "index.html").read_text()
    assert index.rstrip().endswith("</html>") and "1 not run" in index


@pytest.mark.parametrize(
    ("parameters", "asked", "told"),
    [
        ("eps = 1\nclinic = 'chest'", {"epsilon": 2}, "no parameter epsilon; it has clinic, eps"),
        ("", {}, "0 cells tagged parameters"),
        ("# nothing", {"eps": 1}, "it has none"),
        ("eps = 1", {"eps": 0.5}, "01_bad.ipynb: eps takes a whole number, as in eps=1; 0.5 came"),
        ("eps = 'large'", {"eps": 1 / 255}, "01_bad.ipynb: eps takes text"),
    ],
)
def test_parameters_that_cannot_be_set_are_refused_before_anything_runs(parameters, asked, told, tmp_path):
    good = write(tmp_path / "00_good.ipynb", "1", parameters="eps = 1 / 2\nepsilon = 1.0")
    bad = write(tmp_path / "01_bad.ipynb", "1", parameters=parameters)
    with pytest.raises(ValueError, match=told):
        run_lessons([good, bad], tmp_path / "out", parameters=asked)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["taken", "taken/pages"])
def test_a_place_that_cannot_be_written_is_told_before_anything_runs(place, tmp_path):
    (tmp_path / "taken").touch()
    lesson = write(tmp_path / "00_runs.ipynb", SAYS_WHO.format(tmp_path / "pid"))
    with pytest.raises(ValueError, match="taken is no folder, so nothing can be written into .*Choose another"):
        run_lessons([lesson], tmp_path / place)
    assert not (tmp_path / "pid").exists()


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "CPU"])
def test_what_is_no_device_of_the_course_is_told_before_anything_runs(device, tmp_path, monkeypatch):
    lesson = write(tmp_path / "00_runs.ipynb", "1")
    with pytest.raises(ValueError, match=f"'{device}' is no device of this course. Use cpu or cuda."):
        run_lessons([lesson], tmp_path / "out", device=device)
    monkeypatch.setenv("MEDATTACK_DEVICE", device)
    with pytest.raises(ValueError, match="no device of this course"):
        run_lessons([lesson], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert lesson_runs.settings_for(device="cuda:1")["MEDATTACK_DEVICE"] == "cuda:1"


def test_two_notebooks_of_one_name_are_refused_before_one_overwrites_the_other(tmp_path):
    (tmp_path / "mine").mkdir()
    both = [write(folder / "03_fgs.ipynb", "1") for folder in (tmp_path, tmp_path / "mine")]
    with pytest.raises(ValueError, match="Two notebooks are called 03_fgs"):
        run_lessons(both, tmp_path / "out")


# -- several at a time

WAITS_FOR_THE_OTHER = """
import os, pathlib, time
here = pathlib.Path(r"{}")
(here / "{}").touch()
for _ in range(600):
    if len(list(here.iterdir())) == 2:
        break
    time.sleep(0.1)
else:
    raise TimeoutError("the other one isn't there")
print("threads", os.environ["OMP_NUM_THREADS"])
big = bytes([1]) * ({} << 20)
"""


def test_jobs_run_at_the_same_time_each_with_its_share_of_the_cores_and_its_own_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("medattack_edu.runtime.cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    sizes = {"00_small": 1, "01_big": 200}
    both = [
        write(tmp_path / f"{name}.ipynb", WAITS_FOR_THE_OTHER.format(meeting, name, mib)) for name, mib in sizes.items()
    ]
    assert run_lessons(both, tmp_path / "out", jobs=2) == 0
    index = (tmp_path / "out" / "index.html").read_text()
    small, big = (int(mib) for mib in re.findall(r"(\d+) MiB", index))
    assert small < 200 < big, "the rows are in the order of the lessons, each with its kernel's memory"
    assert all("threads 3" in (tmp_path / "out" / f"{name}.html").read_text() for name in sizes)


@pytest.mark.parametrize(
    ("kernels", "asked", "threads"), [(1, "", 6), (2, "", 3), (4, "", 1), (9, "", 1), (2, "1", 1), (2, "8", 3)]
)
def test_kernels_at_once_never_ask_for_more_cores_than_there_are(kernels, asked, threads, monkeypatch):
    monkeypatch.setattr("medattack_edu.runtime.cores", lambda: 6)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert lesson_runs.threads_each(kernels) == threads


def test_less_than_one_at_a_time_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one lesson"):
        run_lessons([], tmp_path, jobs=0)


@pytest.mark.parametrize(("deaths", "starts", "passes"), [(1, 2, True), (2, 3, True), (5, 3, False)])
def test_a_kernel_that_died_before_its_first_cell_gets_another_start(deaths, starts, passes, monkeypatch):
    errors, started = ["RuntimeError: Kernel died before replying to kernel_info"] * deaths + [None] * starts, []

    def run_once(path, *_):
        started.append(path)
        return LessonRun(path, new_notebook(), error=errors[len(started) - 1])

    monkeypatch.setattr(lesson_runs, "_run_once", run_once)
    lesson = lesson_runs.run_lesson(Path("03_fgs.ipynb"), settings={})
    assert (len(started), lesson.error is None) == (starts, passes)


# -- pages, without a kernel


def lesson_run(outputs=(), **settings):
    code = new_code_cell("1", outputs=[nbformat.from_dict(output) for output in outputs])
    return LessonRun(Path("03_fgs.ipynb"), new_notebook(cells=[new_markdown_cell("# 03 FGS"), code]), **settings)


def test_claims_results_and_pictures_are_read_from_the_outputs():
    claims = [{"text": "a", "holds": True, "detail": ""}, {"text": "b", "holds": False, "detail": ""}]
    outputs = [{"output_type": "display_data", "data": {CLAIM_RECORD: claim}, "metadata": {}} for claim in claims]
    outputs.append({"output_type": "stream", "name": "stdout", "text": "no data"})
    outputs.append({"output_type": "display_data", "data": {"image/png": "cGlj"}, "metadata": {}})
    kept = {"name": "AUC", "value": 0.9, "low": 0.8, "high": 0.95}
    outputs.append({"output_type": "display_data", "data": {RESULT_RECORD: kept}, "metadata": {}})
    lesson = lesson_run(outputs)
    assert (
        lesson.claims == claims
        and lesson.results == [kept]
        and lesson.pictures == ["cGlj"]
        and lesson.title == "03 FGS"
    )


def test_a_thumbnail_is_small_and_keeps_its_shape():
    from PIL import Image

    large = io.BytesIO()
    Image.new("RGBA", (1200, 300), (0, 0, 0, 0)).save(large, "PNG")
    address = pages._thumbnail(base64.b64encode(large.getvalue()))
    small = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))
    assert small.size == (pages.THUMBNAIL_SIZE[0], pages.THUMBNAIL_SIZE[0] // 4) and small.getpixel((0, 0)) == (
        255,
        255,
        255,
    ), "what is transparent is white"


@pytest.mark.parametrize("there", [0, 1, 4, 5, 9, 40])
def test_a_few_pictures_are_taken_from_all_over_the_lesson(there):
    taken = pages._spread(list(range(there)), 4)
    assert min(there, 3) <= len(taken) <= min(there, 4) and taken[:1] == list(range(there))[:1]
    assert there <= 4 or taken[-1] >= there // 2


def test_what_is_folded_in_jupyterlab_is_not_on_the_page_but_what_it_showed_is():
    answer = nbformat.v4.new_code_cell(
        "quiz('Which?', answer='the secret one')", metadata={"jupyter": {"source_hidden": True}}
    )
    answer.outputs = [nbformat.v4.new_output("stream", text="Which?")]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("open_code = 1"), answer])
    body = pages._body(SimpleNamespace(notebook=notebook))
    assert "open_code" in body and "Which?" in body
    assert "the secret one" not in body


def test_formulas_are_set_and_what_a_build_adds_is_left_out():
    pytest.importorskip("latex2mathml", reason="latex2mathml isn't installed; formulas then stay as they are written")
    added = new_markdown_cell("![a still picture](x.png)", metadata={"tags": ["made-by-build"]})
    body = pages.cells_as_html(new_notebook(cells=[new_markdown_cell("The loss is $-\\log p$."), added]))
    assert re.search(r"<p>The loss is <math [^>]*><mrow>.*<mi>p</mi></mrow></math>\.</p>", body), body
    assert "$" not in body and "still picture" not in body
