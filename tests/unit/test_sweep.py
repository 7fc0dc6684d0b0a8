"""What `medattack run --sweep` promises: every combination in one table and one plot, none run twice, none lost."""

import csv
import io
from itertools import product
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from medattack_edu import cli
from medattack_edu.course import sweep as sweeps
from medattack_edu.course import sweep_plot
from medattack_edu.course.claims import CLAIM_RECORD, RESULT_RECORD, result
from medattack_edu.course.lesson_run import LessonRun
from medattack_edu.course.parameters import read_sweep
from medattack_edu.course.sweep import run_sweep

KERNEL = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}}
PARAMETERS = "eps = 2 / 255\nclinic = 'chest'\nn = 3"
LESSON = """
from medattack_edu import claim
from medattack_edu.course.claims import result
claim("more is worse", eps > 0.005, f"{eps:.3f}")
if clinic == "derm" and eps > 0.005:
    raise KeyError("gone")
result("accuracy", 1 - 20 * eps)
"""
GRID = read_sweep(["eps=1/255,2/255", "clinic=fundus,derm"])


def notebook(path, code="1"):
    cells = [new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}), new_code_cell(code)]
    path.write_text(nbformat.writes(new_notebook(cells=cells, metadata=KERNEL)), encoding="utf-8")
    return path


def table(out):
    return list(csv.DictReader(io.StringIO((out / "sweep.csv").read_text(encoding="utf-8"))))


def finished(path, parameters, *, claims=(), results=(), error=None):
    """A run as it comes back from a kernel, with claims as (text, holds) and results as (name, value, low, high)."""
    records = [{CLAIM_RECORD: {"text": text, "holds": holds, "detail": "0.3"}} for text, holds in claims]
    records += [{RESULT_RECORD: dict(zip(("name", "value", "low", "high"), values, strict=True))} for values in results]
    code = new_code_cell("1", outputs=[new_output("display_data", data=record) for record in records])
    return LessonRun(
        Path(path), new_notebook(cells=[code]), parameters, error=error, seconds=1.26, peak_bytes=300 << 20
    )


@pytest.fixture
def kernels(monkeypatch):
    """No kernel runs: `kernels.ran` are the parameters of what would have, `kernels.stop_after` runs Ctrl-C is pressed."""

    class Kernels:
        ran, stop_after, error, options = [], None, {}, None

    def run_each(plans, note, **options):
        Kernels.options = options
        for plan in plans:
            if len(Kernels.ran) == Kernels.stop_after:
                raise KeyboardInterrupt
            Kernels.ran.append(plan.parameters)
            error = Kernels.error.get(plan.parameters.get("clinic"))
            note(
                finished(
                    plan.path,
                    plan.parameters,
                    claims=[("holds", True)],
                    results=[("accuracy", 0.5, 0.4, 0.6)],
                    error=error,
                )
            )

    Kernels.ran = []
    monkeypatch.setattr(sweeps, "run_each", run_each)
    return Kernels


def test_the_command_runs_every_combination_into_one_table_and_one_plot(tmp_path, capsys):
    lesson, out = notebook(tmp_path / "03_fgs.ipynb", LESSON), tmp_path / "out"
    words = [
        "run",
        lesson,
        "--out",
        out,
        "--jobs",
        "2",
        "-p",
        "n=5",
        "--sweep",
        "eps=1/255,2/255",
        "--sweep",
        "clinic=fundus,derm",
    ]
    assert cli.main(list(map(str, words))) == 1, "one combination fails"
    told = capsys.readouterr().out
    assert "3 of 4 runs passed; 2 of 4 claims held; 3 results." in told
    assert "failed: 03_fgs with eps=2/255, clinic=derm: KeyError: 'gone'" in told
    rows = table(out)
    assert [(float(row["eps"]), row["clinic"], row["name"], row["holds"]) for row in rows] == [
        (1 / 255, "fundus", "more is worse", "False"), (1 / 255, "fundus", "accuracy", ""),
        (1 / 255, "derm", "more is worse", "False"), (1 / 255, "derm", "accuracy", ""),
        (2 / 255, "fundus", "more is worse", "True"), (2 / 255, "fundus", "accuracy", ""),
        (2 / 255, "derm", "more is worse", "True"), (2 / 255, "derm", "", ""),
    ]  # fmt: skip
    assert [row["error"] for row in rows] == [""] * 6 + ["KeyError: 'gone'"] * 2
    assert float(rows[1]["value"]) == pytest.approx(1 - 20 / 255) and rows[0]["value"] == "0.004"
    assert {row["lesson"] for row in rows} == {"03_fgs"} and {row["n"] for row in rows} == {"5"}
    assert all(float(row["seconds"]) > 0 and float(row["peak_mib"]) > 20 for row in rows)
    assert all((out / row["notebook"]).is_file() for row in rows)
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG") and "<svg" in (out / "sweep.svg").read_text()


def test_what_was_finished_before_ctrl_c_is_in_the_table_and_not_run_again(tmp_path, kernels):
    lesson, out = notebook(tmp_path / "03_fgs.ipynb"), tmp_path / "out"
    kernels.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        run_sweep([lesson], out, sweep=GRID)
    assert len(table(out)) == 6 and (out / "sweep.png").exists()
    assert {path.suffix for path in out.rglob("*.*")} == {".csv", ".png", ".svg", ".ipynb"}, "nothing temporary stays"
    kernels.stop_after = None
    assert run_sweep([lesson], out, sweep=GRID) == 0
    values = [(parameters["eps"], parameters["clinic"]) for parameters in kernels.ran]
    assert values == list(product((1 / 255, 2 / 255), ("fundus", "derm"))), "each once"
    rows = table(out)
    assert len(rows) == 8 and rows[1]["value"] == "0.5" and (rows[1]["low"], rows[1]["high"]) == ("0.4", "0.6")
    assert {(row["seconds"], row["peak_mib"]) for row in rows} == {("1.3", "300")}, "what was measured is kept"


def test_what_failed_is_tried_again(tmp_path, kernels, monkeypatch):
    monkeypatch.setattr(sweeps, "_write_plots", lambda *_: None)
    lesson, out = notebook(tmp_path / "03_fgs.ipynb"), tmp_path / "out"
    kernels.error = {"derm": "KeyError: 'gone'\nmore"}
    assert run_sweep([lesson], out, sweep=GRID) == 1
    assert [row["error"] for row in table(out) if row["clinic"] == "derm"] == ["KeyError: 'gone'"] * 6
    kernels.error, kernels.ran[:] = {}, []
    assert run_sweep([lesson], out, sweep=GRID) == 0
    assert [parameters["clinic"] for parameters in kernels.ran] == ["derm", "derm"]
    assert {row["error"] for row in table(out)} == {""}


@pytest.mark.parametrize("change", ["the notebook", "another value", "the images", "a value for all"])
def test_a_run_of_something_else_is_not_taken_for_a_finished_one(change, tmp_path, kernels, monkeypatch):
    monkeypatch.setattr(sweeps, "_write_plots", lambda *_: None)
    lesson, out, sweep, options = notebook(tmp_path / "03_fgs.ipynb"), tmp_path / "out", read_sweep(["eps=1/255"]), {}
    run_sweep([lesson], out, sweep=sweep)
    match change:
        case "the notebook":
            notebook(lesson, "2")
        case "another value":
            sweep = read_sweep(["eps=2/255"])
        case "the images":
            options = {"images": "real"}
        case "a value for all":
            options = {"parameters": {"n": 4}}
    run_sweep([lesson], out, sweep=sweep, **options)
    assert len(kernels.ran) == 2 and len(table(out)) == 2


def test_several_lessons_and_the_choice_of_machine_reach_the_runner(tmp_path, kernels, monkeypatch):
    monkeypatch.setattr(sweeps, "_write_plots", lambda *_: None)
    both = [notebook(tmp_path / f"{name}.ipynb") for name in ("03_fgs", "04_pgd")]
    run_sweep(both, tmp_path / "out", sweep=read_sweep(["n=1,2"]), jobs=3, dask="tcp://there", timeout=7, device="cpu")
    assert [row["lesson"] for row in table(tmp_path / "out")] == ["03_fgs"] * 4 + ["04_pgd"] * 4
    assert (kernels.options["jobs"], kernels.options["dask"], kernels.options["timeout"]) == (3, "tcp://there", 7)
    assert kernels.options["settings"]["MEDATTACK_DEVICE"] == "cpu"


@pytest.mark.parametrize(
    ("sweep", "parameters", "told"),
    [
        (["eps=1/255"], {"eps": 1}, "eps is given to -p and to --sweep"),
        (["epsilon=1/255"], {}, "no parameter epsilon"),
        (["eps=1/255,large"], {}, 'eps takes a number.*"large" came'),
        (["seconds=1"], {}, "seconds is a column of the table"),
        (["eps=2/255,4/510"], {}, "--sweep eps: 2/255 and 4/510 are the same value"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_runs(sweep, parameters, told, tmp_path, kernels):
    lesson = notebook(tmp_path / "03_fgs.ipynb")
    with pytest.raises(ValueError, match=told):
        run_sweep([lesson], tmp_path / "out", sweep=read_sweep(sweep), parameters=parameters)
    assert kernels.ran == [] and not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_told_before_anything_runs(tmp_path, kernels):
    lesson = notebook(tmp_path / "03_fgs.ipynb")
    with pytest.raises(ValueError, match="03_fgs.ipynb is no folder, so nothing can be written into"):
        run_sweep([lesson], lesson / "out", sweep=GRID)
    assert kernels.ran == []


# -- the plot


def columns(sweep, **made):
    combinations = [dict(zip(sweep, texts, strict=True)) for texts in product(*sweep.values())]
    return [sweep_plot.Column(finished("03_fgs.ipynb", {}, **made), texts) for texts in combinations]


def words_of(figure):
    """All that is written on a figure."""
    import matplotlib.text

    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def test_the_plot_says_what_holds_where_in_symbols_and_names_its_axes():
    some = columns(GRID, claims=[("PGD beats FGS", True), ("noise does nothing", False)])
    some[3].lesson.notebook.cells[0].outputs.pop()
    some[3].lesson.error = "KeyError"
    words = words_of(sweep_plot.draw(some, GRID))
    assert [words.count(symbol) for symbol in "✓✗!"] == [4, 3, 1]
    assert {
        "PGD beats FGS",
        "noise does nothing",
        "1/255\nfundus",
        "2/255\nderm\nfailed",
        "eps, clinic",
        "claim",
    } <= set(words)
    assert "A sweep of eps and clinic" in words


def test_results_stand_against_the_parameter_of_numbers_with_a_line_for_each_of_the_others():
    sweep = read_sweep(["clinic=fundus,derm", "eps=1/255,2/255,4/255"])
    some = columns(sweep, results=[("accuracy", 0.5, 0.4, 0.7), ("AUC", 0.9, None, None)])
    figure = sweep_plot.draw(some, sweep)
    axes = next(
        axes
        for axes in figure.findobj(lambda part: hasattr(part, "get_xlabel"))
        if axes.get_title("left") == "accuracy"
    )
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("eps", "value")
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1/255", "2/255", "4/255"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["fundus", "derm"]
    line = axes.containers[0]
    assert line[0].get_xdata() == pytest.approx([1 / 255, 2 / 255, 4 / 255])
    assert line[2][0].get_segments()[0][:, 1] == pytest.approx([0.4, 0.7]), "the interval is drawn"


def test_values_that_are_no_numbers_stand_side_by_side_without_a_line_between_them():
    sweep = read_sweep(["clinic=fundus,derm"])
    figure = sweep_plot.draw(columns(sweep, results=[("accuracy", 0.5, None, None)]), sweep)
    axes = next(
        axes
        for axes in figure.findobj(lambda part: hasattr(part, "get_xlabel"))
        if axes.get_title("left") == "accuracy"
    )
    assert list(axes.containers[0][0].get_xdata()) == [0, 1] and axes.containers[0][0].get_linestyle() == "None"


# -- results


class Score(float):
    low, high = 0.1, 0.3


def test_a_result_is_shown_with_its_interval(capsys):
    result("accuracy under FGS", Score(0.2))
    result("patients", 12)
    assert capsys.readouterr().out == "• accuracy under FGS: 0.2  (0.1 to 0.3)\n• patients: 12\n"


@pytest.mark.parametrize("value", [None, "many", float("nan"), float("inf"), [1, 2]])
def test_what_is_not_one_finite_number_is_no_result(value):
    with pytest.raises(ValueError, match="one finite number.*'accuracy'"):
        result("accuracy", value)
