"""Formulas become MathML where they are formulas, and nowhere else."""

import sys

import pytest

from medattack_edu.course.formulas import as_mathml

pytest.importorskip("latex2mathml", reason="latex2mathml isn't installed; formulas then stay as they are written")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (r"The loss $-\log p$ of one.", ("The loss <math", "</math> of one.", 'display="inline"')),
        ("$$\n\\sum_i g_i\n$$", ('<span class="math"><math', 'display="block"')),
        ("$p$ and $q$", ("</math> and <math",)),
    ],
)
def test_a_formula_is_set_where_it_stands(written, kept):
    came = as_mathml(written)
    assert all(part in came for part in kept) and "$" not in came and "\n" not in came


@pytest.mark.parametrize(
    "written",
    ["`echo $HOME $PATH`", "```\na = $x$\n```", "it costs $5 or $ 6", "5 $ and more", r"$\begin{nothing}$", "plain"],
)
def test_code_and_prices_and_what_cannot_be_set_stay(written):
    assert as_mathml(written) == written


def test_without_the_library_a_formula_stays_as_it_is_written(monkeypatch):
    monkeypatch.setitem(sys.modules, "latex2mathml.converter", None)
    assert as_mathml("$p$") == "$p$"
