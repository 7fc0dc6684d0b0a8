"""How the course speaks: a notice, as HTML in a notebook and as text elsewhere. What is said lives with who says it."""

import html
import io
import re
import sys
from typing import NamedTuple


class Tone(NamedTuple):
    """A symbol and a colour. The colours are told apart by colour-blind readers, on white and on black."""

    symbol: str
    colour: str


GOOD = Tone("✓", "#009e73")
NOT_YET = Tone("→", "#d55e00")
NEUTRAL = Tone("•", "#0072b2")


def in_kernel():
    """Whether this process is a notebook kernel, where a front end shows rich output."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")


def tell(tone, title, text="", *, figure=None, record=None):
    """Show a notice: a symbol and a title, then a text, then a figure.

    Args:
        tone: `GOOD`, `NOT_YET` or `NEUTRAL`.
        title, text: plain text; `backticks` set code, line breaks and indents are kept.
        figure: a matplotlib figure, or anything that IPython displays; in a notebook only.
        record: ``{media type: JSON value}``, put beside the notice for programs that read the notebook.
    """
    lines = [f"{tone.symbol} {title}", *(f"  {line}" for line in text.strip().splitlines())]
    show("\n".join(lines), _notice_html(tone, title, text), record)
    if figure is not None and in_kernel():
        show_figure(figure, alt=f"{title}: {text}")


def show(plain, page, record=None):
    """Show a piece of HTML in a notebook, with `plain` for readers without HTML; print `plain` elsewhere."""
    if in_kernel():
        from IPython.display import display

        display({"text/plain": plain, "text/html": page, **(record or {})}, raw=True)
    else:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        print(plain.encode(encoding, "replace").decode(encoding))


def show_figure(figure, alt):
    """Display a figure once. A matplotlib figure is drawn here, so that it shows whatever backend is active."""
    from IPython.display import Image, display

    if not hasattr(figure, "savefig"):
        display(figure)
        return
    picture = io.BytesIO()
    figure.savefig(picture, format="png", bbox_inches="tight", dpi=110)
    display(Image(picture.getvalue(), alt=alt))
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(figure)  # else the inline backend shows it a second time at the end of the cell


def rich(text):
    """Escape `text` for HTML and set what stands between backticks as code."""
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def _notice_html(tone, title, text):
    body = f'<div style="white-space: pre-wrap">{rich(text.strip())}</div>' if text else ""
    return (
        f'<div role="status" style="border-left: 0.3em solid {tone.colour}; padding: 0.3em 0.9em; margin: 0.4em 0; '
        f'max-width: 52em; line-height: 1.5">'
        f'<strong><span style="color: {tone.colour}">{tone.symbol}</span> {rich(title)}</strong>{body}</div>'
    )
