"""What every explorer is held to: its controls move the picture, a render is pure, and a move is quick."""

import io
import time

import numpy as np
import pace
from PIL import Image

from medattack_edu.explore.canvas import HEIGHT, WIDTH, png

MOVE_S = 0.1  # of processor time, at the 95th percentile
TRIES = 3  # of which the quickest counts: another process may have disturbed the others


def options(control):
    """All stops of a slider or entries of a chooser."""
    if hasattr(control, "options"):
        return [option[1] if isinstance(option, tuple) else option for option in control.options]
    return list(range(control.min, control.max + 1))


def extremes(control):
    """The first, the middle and the last of them."""
    stops = options(control)
    return stops[0], stops[len(stops) // 2], stops[-1]


def assert_every_control_moves_the_picture(widget):
    """At both ends and in the middle: another picture each time, of the right size, and the one that `render` draws."""
    for name, control in widget.controls.items():
        before, seen = control.value, set()
        for value in extremes(control):
            control.value = value
            assert widget.error is None
            assert Image.open(io.BytesIO(widget.picture.value)).size == (WIDTH, HEIGHT)
            assert widget.picture.value == png(widget.render(**widget.values))
            seen.add(widget.picture.value)
        assert len(seen) == len(set(extremes(control))), f"{name} leaves the picture as it is"
        control.value = before


def assert_render_is_pure(widget):
    """The same values give the same picture and the same words."""
    values = widget.values
    assert png(widget.render(**values)) == png(widget.render(**values))
    assert widget.alt(**values) == widget.alt(**values)


def assert_a_move_is_quick(widget):
    """At both ends and in the middle of every control."""
    best = []
    for name, control in widget.controls.items():
        for value in extremes(control):
            took = []
            for _ in range(TRIES):
                start = time.process_time()
                png(widget.render(**(widget.values | {name: value})))
                took.append(time.process_time() - start)
            best.append(min(took))
    assert np.percentile(best, 95) < pace.stretched(MOVE_S)
