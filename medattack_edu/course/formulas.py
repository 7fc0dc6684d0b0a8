"""Formulas of a text as MathML, which browsers draw by themselves: no script, no network. Nothing else of Markdown is read."""

import re

# What comes first at a place counts: a formula within code is code.
_CODE_OR_FORMULA = re.compile(
    r"(?P<code>^```.*?^```|`+[^`].*?`+)|\$\$(?P<block>.+?)\$\$|\$(?P<inline>[^\s$](?:[^$\n]*[^\s$\\])?)\$",
    re.DOTALL | re.MULTILINE,
)

_FRAMES = {"inline": "{}", "block": '<span class="math">{}</span>'}  # of what may be too wide for a small screen
_MARK = "⟦formula {}⟧"  # stands for a formula while a text becomes HTML


def as_mathml(markdown):
    """A Markdown text with each ``$...$`` and ``$$...$$`` as MathML; what can't be set stays as it was written."""
    drawn = []
    return put_in(take_out(markdown, drawn), drawn)


def take_out(markdown, drawn):
    """The text with a mark in place of each formula, which is set and added to the list `drawn`.

    For converters that take HTML within Markdown to pieces: `put_in` undoes it in what comes out.
    """
    try:
        import latex2mathml.converter  # noqa: F401 (only asked whether it is there)
    except ImportError:
        return markdown

    def take_one(found):
        if found["code"]:
            return found[0]
        display = "block" if found["block"] else "inline"
        try:
            drawn.append(_FRAMES[display].format(" ".join(mathml(found[display].strip(), display).split())))
        except Exception:  # its errors have no common name
            return found[0]
        return _MARK.format(len(drawn) - 1)

    return _CODE_OR_FORMULA.sub(take_one, markdown)


def put_in(text, drawn):
    """The text or the HTML with the formulas of `take_out` in place of their marks."""
    return re.sub(_MARK.format(r"(\d+)"), lambda mark: drawn[int(mark[1])], text)


def mathml(formula, display):
    """One formula as MathML.

    Args:
        formula: TeX, without the dollars.
        display: "inline" or "block".

    Raises:
        Exception: whatever the converter raises at a formula that it doesn't know.
    """
    from latex2mathml.converter import convert

    # A named function stands apart from what it is applied to, unless that is in brackets.
    return re.sub(
        r"(<mi>[a-z]{2,}</mi>)(?=<m[in]>)", r'\1<mspace width="0.167em" />', convert(formula, display=display)
    )
