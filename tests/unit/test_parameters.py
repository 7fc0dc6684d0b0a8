"""What parameters promise: a value means what it looks like, and what a notebook can't take is said with what it takes."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from medattack_edu.course.parameters import (
    ANYTHING,
    check_parameters,
    parameters_of,
    read_setting,
    read_sweep,
    read_value,
)

CELL = """
# what a lesson may have
clinic = "derm"  # a comment = no parameter
n = 28
eps: float = 4 / 255
quick = True
widths = [1, 2]
pair = (1, 2)
folder = None
seed = other = 0
made = max(1, 2)
"""


def notebook(path, cell=CELL, cells=1):
    tagged = [new_code_cell(cell, metadata={"tags": ["parameters"]}) for _ in range(cells)]
    path.write_text(nbformat.writes(new_notebook(cells=tagged)), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16", 16), ("0.5", 0.5), ("1/255", 1 / 255), ("2.55 / 255", 2.55 / 255), ("-1/4", -0.25), ("true", True), ("null", None),
        ("[1, 2]", [1, 2]), ("chest", "chest"), ('"3"', "3"), ("/data/1/2", "/data/1/2"), ("1/x", "1/x"), ("", ""),
    ],
)  # fmt: skip
def test_a_value_is_a_number_a_fraction_or_what_json_says_else_text(text, value):
    assert read_value(text) == value and type(read_value(text)) is type(value)


def test_a_division_by_zero_is_said():
    with pytest.raises(ValueError, match="1/0 divides by zero"):
        read_value("1/0")


def test_a_setting_may_hold_an_equals_sign():
    assert read_setting("images=/data/a=b") == ("images", "/data/a=b")


def test_a_sweep_keeps_how_its_values_were_written_and_adds_up():
    sweep = read_sweep(["eps=1/255, 2/255", "clinic=fundus", "clinic=chest,fundus"])
    assert sweep == {"eps": {"1/255": 1 / 255, "2/255": 2 / 255}, "clinic": {"fundus": "fundus", "chest": "chest"}}
    assert list(sweep) == ["eps", "clinic"]


@pytest.mark.parametrize("setting", ["eps", "eps=", "eps=1,,2", "eps=1,", "=1", "2n=1"])
def test_a_sweep_without_name_or_values_is_refused_with_an_example(setting):
    with pytest.raises(ValueError, match="NAME=VALUE,VALUE.*eps=1/255,2/255"):
        read_sweep([setting])


def test_defaults_are_read_without_running_the_notebook(tmp_path):
    assert parameters_of(notebook(tmp_path / "03.ipynb")) == {
        "clinic": "derm", "n": 28, "eps": 4 / 255, "quick": True, "widths": [1, 2], "pair": (1, 2), "folder": None, "seed": 0,
        "other": 0, "made": ANYTHING,
    }  # fmt: skip


@pytest.mark.parametrize(
    "good",
    [
        {"clinic": "chest"}, {"n": 3}, {"eps": 0.1}, {"eps": 1}, {"quick": False}, {"widths": []}, {"pair": [3, 4]},
        {"folder": "x"}, {"folder": 3}, {"made": "anything"}, {"seed": 1, "other": 2}, {},
    ],
)  # fmt: skip
def test_values_of_the_right_type_are_taken(good, tmp_path):
    check_parameters(notebook(tmp_path / "03.ipynb"), good)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"clinic": 3}, 'clinic takes text, as in clinic="derm"; 3 came. .*write -p \'clinic="3"\''),
        ({"n": 1.5}, "n takes a whole number, as in n=28; 1.5 came"),
        ({"n": True}, "n takes a whole number.*true came"),
        ({"eps": "1/x"}, 'eps takes a number.*"1/x" came'),
        ({"eps": None}, "eps takes a number.*null came"),
        ({"quick": 1}, "quick takes true or false, as in quick=true; 1 came"),
        ({"widths": 1}, "widths takes a list"),
        ({"epsilon": 1}, "no parameter epsilon; it has clinic, eps,"),
    ],
)
def test_what_a_parameter_takes_is_said_where_something_else_came(wrong, told, tmp_path):
    with pytest.raises(ValueError, match=f"^03.ipynb.*{told}"):
        check_parameters(notebook(tmp_path / "03.ipynb"), {"n": 3} | wrong)


@pytest.mark.parametrize("cells", [0, 2])
def test_a_notebook_has_one_cell_of_parameters(cells, tmp_path):
    with pytest.raises(ValueError, match=f"{cells} cells tagged parameters"):
        parameters_of(notebook(tmp_path / "03.ipynb", cells=cells))


def test_a_parameters_cell_that_is_no_python_is_said_with_its_line(tmp_path):
    with pytest.raises(ValueError, match="line 2 of its parameters cell"):
        parameters_of(notebook(tmp_path / "03.ipynb", "n = 1\n!ls"))
