"""The thin layer of every explorer: controls -> render -> one picture. What is drawn, and how, lives beside this file."""

import asyncio
from html import escape

import ipywidgets
from IPython.display import Image as Picture

from medattack_edu.explore.canvas import png

CONTROL_WIDTH = "345px"  # three controls in a row
ERROR_STYLE = (
    "border: 2px solid var(--jp-error-color1, #D55E00); padding: 6px 10px; line-height: 1.4; "
    "color: var(--jp-ui-font-color1, inherit); white-space: pre-wrap;"
)
# Off the screen, but read aloud: an ipywidgets image has no alt text, and a tooltip on one breaks it (ipywidgets 8.1).
SPOKEN_STYLE = "position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);"
REST_SECONDS = 0.5  # controls that stood still for so long have come to rest
WHAT_TO_DO = "Move the control back and the picture returns. If it doesn't, run the cell again."


class Explorer(ipywidgets.VBox):
    """Controls above a picture that follows them.

    Attributes:
        render: the pure function from the controls' values to the picture.
        facts: the pure function from the controls' values to a dict of what the picture says.
        controls: {name: ipywidget}, the names being `render`'s arguments.
        picture: the `ipywidgets.Image` that every move writes to.
        words: the same for those who can't see it, off the screen.
        error: what the last move raised, or None.
    """

    def __init__(self, render, controls, alt, facts, at_rest=None):
        self.render, self.controls, self.facts, self._alt = render, dict(controls), facts, alt
        self.at_rest, self._waiting = at_rest, None
        self.error = None
        self._static = self._drawn({name: middle(control) for name, control in self.controls.items()})
        self.picture = ipywidgets.Image(format="png")
        # Its own size, so that pixels stay sharp, but never wider than the cell.
        self.picture.layout = {"max_width": "100%", "align_self": "flex-start", "border": "1px solid #999999"}
        self._message = ipywidgets.HTML(layout={"display": "none"})
        self.words = ipywidgets.HTML(layout={"height": "0px", "margin": "0"})
        for control in self.controls.values():
            lay_out(control)
            control.observe(self._move, names="value")
        row = ipywidgets.Box([*self.controls.values()], layout={"flex_flow": "row wrap", "grid_gap": "0px 12px"})
        super().__init__(
            [row, self._message, self.picture, self.words], layout={"max_width": "100%", "overflow": "hidden"}
        )
        self._show(*self._drawn(self.values))

    @property
    def values(self):
        """Where the controls stand, as `render` takes it."""
        return {name: control.value for name, control in self.controls.items()}

    def alt(self, **values):
        """The picture in words."""
        return self._alt(**values) if callable(self._alt) else self._alt

    def static(self):
        """The picture with every slider in the middle and every chooser at its start, for a page without a kernel."""
        picture, words = self._static
        return Picture(data=picture, alt=words)

    def _drawn(self, values):
        """The picture at these values as bytes, and in words."""
        return as_png(self.render(**values)), self.alt(**values)

    def _move(self, _change=None):
        self._draw()
        if self.at_rest is not None:
            self._wait()

    def _wait(self):
        """Call `rest` when no control has moved for a while. Without a kernel's event loop nobody waits."""
        if self._waiting is not None:
            self._waiting.cancel()
        try:
            self._waiting = asyncio.get_running_loop().call_later(REST_SECONDS, self.rest)
        except RuntimeError:
            self._waiting = None

    def rest(self):
        """What happens when the controls have come to rest: what takes longer than a move is found out, and drawn."""
        self._draw(before=self.at_rest)

    def _draw(self, before=None):
        """The picture where the controls stand, or what went wrong. `before`: what to call with their values first."""
        try:
            if before is not None:
                before(**self.values)
            picture, words = self._drawn(self.values)
        except Exception as error:  # noqa: BLE001, whatever a learner's own model or function raises belongs before their eyes
            self.error = error
            self._message.value = (
                f'<div role="alert" style="{ERROR_STYLE}"><b>{escape(type(error).__name__)}</b>: {escape(str(error))}\n'
                f"{escape(WHAT_TO_DO)}</div>"
            )
            self._message.layout.display = None
            return
        self.error = None
        self._message.layout.display, self._message.value = "none", ""
        self._show(picture, words)

    def _show(self, picture, words):
        self.picture.value = picture
        self.words.value = f'<div role="status" style="{SPOKEN_STYLE}">{escape(words)}</div>'

    def __repr__(self):
        return self._static[1]

    def _repr_mimebundle_(self, **kwargs):
        """The widget, and the static picture for where no kernel draws it."""
        data = super()._repr_mimebundle_(**kwargs) or {}
        picture, words = self._static
        return data | {"image/png": picture, "text/plain": words}, {"image/png": {"alt": words}}


def interactive(render, controls, *, alt, facts=None, at_rest=None):
    """A widget whose picture follows its controls.

    A move calls `render` and writes the picture into one image widget. What `render` raises is shown above the picture and
    goes away with the next move that works.

    Args:
        render: a pure function from the controls' values, by name, to a PIL image or the bytes of a PNG file. Whatever
            is slow was computed before, or waits for `at_rest`: a move has 100 ms.
        controls: {name: an ipywidget with a `value`}.
        alt: the picture in words, or a function from the controls' values to them.
        facts: a function from the controls' values to a dict of the numbers that the picture shows.
        at_rest: a function of the controls' values that finds out what takes longer than a move. It is called when they have
            stood still for half a second, and then the picture is drawn once more.

    Returns:
        An Explorer; the last line of a cell shows it.

    Raises:
        Whatever `render` raises at the controls' start or in their middle: a widget that can't draw there is a failed cell.
    """
    return Explorer(render, controls, alt, facts, at_rest)


def lay_out(control):
    """Give a control the room that its description and its value need, and nothing more."""
    control.style.description_width = "initial"
    if control.layout.width is None:
        control.layout.width = CONTROL_WIDTH


def middle(control):
    """The middle of a slider; the present value of anything else."""
    if isinstance(control, ipywidgets.SelectionSlider):
        option = control.options[len(control.options) // 2]
        return option[1] if isinstance(option, tuple) else option
    if isinstance(control, ipywidgets.IntSlider | ipywidgets.FloatSlider):
        stops = round((control.max - control.min) / control.step)
        return type(control.value)(control.min + stops // 2 * control.step)
    return control.value


def slider(description, stops, start, labels=None):
    """A slider over `stops`, each written as in `labels`. Keyboard: arrow keys, once it has the focus."""
    options = list(zip(labels or [f"{stop:g}" for stop in stops], stops, strict=True))
    return ipywidgets.SelectionSlider(description=description, options=options, value=start)


def chooser(description, options, start=None):
    """A list to choose from; `options` are values, or (label, value) pairs."""
    return ipywidgets.Dropdown(description=description, options=options, **({} if start is None else {"value": start}))


def as_png(picture):
    """The bytes of a PNG file, from those or from a PIL image."""
    return bytes(picture) if isinstance(picture, bytes | bytearray) else png(picture)
