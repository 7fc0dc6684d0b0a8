"""The thin layer between controls and picture, with a picture of its own."""

import asyncio
import io

import ipywidgets
import numpy as np
import pytest
from PIL import Image, ImageColor

from medattack_edu.explore import canvas as ink
from medattack_edu.explore import interactive
from medattack_edu.explore import widget as widget_module
from medattack_edu.explore.canvas import Canvas, Plot, enlarged, fitted, font, png
from medattack_edu.explore.widget import chooser, middle, slider


def square(level, colour="red"):
    """A picture for the tests: a square whose side is the level."""
    if level == 3:
        raise ValueError("three is <b>too</b> much")
    image = Image.new("RGB", (40, 20), "white")
    image.paste(colour, (0, 0, 1 + level, 1 + level))
    return image


def make(render=square, alt="a square", at_rest=None):
    controls = {
        "level": ipywidgets.IntSlider(description="level", min=0, max=10, value=0),
        "colour": chooser("colour", ("red", "blue")),
    }
    return interactive(render, controls, alt=alt, facts=lambda **values: values, at_rest=at_rest)


def drawn(widget):
    return Image.open(io.BytesIO(widget.picture.value)).convert("RGB")


def test_a_move_writes_what_render_draws_into_the_one_image():
    widget = make()
    pictures = [child for child in widget.children if isinstance(child, ipywidgets.Image)]
    assert pictures == [widget.picture]
    for level in (0, 5, 10):
        widget.controls["level"].value = level
        assert drawn(widget).tobytes() == square(level).tobytes()
    widget.controls["colour"].value = "blue"
    assert drawn(widget).tobytes() == square(10, "blue").tobytes()


def test_render_may_give_the_bytes_of_a_file():
    widget = make(lambda level, colour: png(square(level, colour)))
    widget.controls["level"].value = 7
    assert widget.picture.value == png(square(7))


def test_an_error_is_shown_in_the_widget_and_goes_with_the_next_good_move():
    widget = make()
    before = widget.picture.value
    widget.controls["level"].value = 3
    message = next(child for child in widget.children if isinstance(child, ipywidgets.HTML))
    assert isinstance(widget.error, ValueError)
    assert message.layout.display != "none"
    assert "ValueError" in message.value
    assert "three is &lt;b&gt;too&lt;/b&gt; much" in message.value, "the message is text, not markup"
    assert "Move the control back" in message.value
    assert widget.picture.value == before
    widget.controls["level"].value = 4
    assert widget.error is None
    assert (message.layout.display, message.value) == ("none", "")
    assert drawn(widget).tobytes() == square(4).tobytes()


def test_what_takes_longer_waits_until_the_controls_have_come_to_rest(monkeypatch):
    monkeypatch.setattr(widget_module, "REST_SECONDS", 0.05)
    found, drawn_levels = [], []

    def render(level, colour):
        drawn_levels.append((level, level in found))
        return square(level, colour)

    def find_out(level, colour):
        if level == 9:
            raise ValueError("nine takes too long")
        found.append(level)

    async def move():
        widget = make(render, at_rest=find_out)
        for level in (1, 2, 4):
            widget.controls["level"].value = level
        assert found == []
        await asyncio.sleep(0.3)
        assert found == [4], "only where the controls came to rest"
        assert drawn_levels[-2:] == [(4, False), (4, True)]
        widget.controls["level"].value = 9
        await asyncio.sleep(0.3)
        assert "too long" in str(widget.error)

    asyncio.run(move())


def test_without_an_event_loop_nothing_waits():
    found = []
    widget = make(at_rest=lambda **values: found.append(values))
    widget.controls["level"].value = 5
    assert found == [] and widget.error is None
    widget.rest()
    assert found == [{"level": 5, "colour": "red"}]


def test_a_widget_that_cannot_draw_its_first_picture_is_a_failed_cell():
    def broken(level, colour):
        raise RuntimeError("no picture")

    with pytest.raises(RuntimeError, match="no picture"):
        make(broken)


def test_a_page_without_kernel_gets_the_middle_picture_and_its_words():
    widget = make(alt=lambda level, colour: f"a {colour} square of level {level}")
    widget.controls["level"].value = 9
    data, metadata = widget._repr_mimebundle_()
    assert data["image/png"] == png(square(5)) == widget.static().data
    assert data["text/plain"] == repr(widget) == "a red square of level 5"
    assert metadata == {"image/png": {"alt": "a red square of level 5"}}
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id


def test_the_words_follow_the_picture():
    widget = make(alt=lambda level, colour: f"a {colour} square of level {level}")
    widget.controls["level"].value = 9
    assert "a red square of level 9</div>" in widget.words.value
    assert 'role="status"' in widget.words.value


def test_the_image_has_no_tooltip_which_would_break_it_in_the_browser():
    assert make().picture.tooltip is None


def test_descriptions_are_never_cut():
    for control in make().controls.values():
        assert control.style.description_width == "initial"
        assert control.layout.width


@pytest.mark.parametrize(
    ("control", "expected"),
    [
        (ipywidgets.IntSlider(min=2, max=6), 4),
        (ipywidgets.FloatSlider(min=0, max=1, step=0.25), 0.5),
        (slider("eps", (0, 1, 2, 4, 8), 0), 2),
        (ipywidgets.SelectionSlider(options=["a", "b", "c"]), "b"),
        (chooser("patient", [("first", 0), ("second", 1), ("third", 2)]), 0),
    ],
)
def test_the_middle_of_a_slider_is_a_stop_and_a_chooser_stays(control, expected):
    assert middle(control) == expected


def test_a_value_lies_where_the_axes_drew_it():
    def draw(axes):
        axes.set(xlim=(0, 10), ylim=(0, 10))
        axes.plot([7], [3], "s", color="red", markersize=4)

    plot = Plot(200, 150, draw)
    across, down = plot.pixel(7, 3)
    assert plot.image.size == (200, 150)
    assert plot.image.getpixel((round(across), round(down))) == (255, 0, 0)


def test_a_bar_is_as_long_as_its_share_and_no_longer():
    for share, length in ((0.0, 0), (0.25, 25), (1.0, 100), (1.5, 100), (-1.0, 0)):
        canvas = Canvas(120, 10)
        canvas.bar(10, 0, 100, 10, share, "#000000")
        assert sum(canvas.image.getpixel((x, 5)) == (0, 0, 0) for x in range(120)) == length


def test_a_dot_covers_its_place_and_stays_within_its_ring():
    canvas = Canvas(40, 40)
    canvas.dot(20, 20, 5, "#FF0000", ring="#0000FF")
    assert canvas.image.getpixel((20, 20)) == (255, 0, 0)
    assert canvas.image.getpixel((20, 26)) == (0, 0, 255)
    assert canvas.image.getpixel((20, 30)) == (255, 255, 255)


def luminance(colour):
    """Relative luminance, as WCAG 2.2 defines it."""
    levels = np.array(ImageColor.getrgb(colour)) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


@pytest.mark.parametrize(
    "name", ["ORANGE", "SKY", "GREEN", "YELLOW", "BLUE", "VERMILLION", "PURPLE", "INK", "GREY", "SICK_WORDS"]
)
def test_words_of_every_colour_can_be_read_on_white(name):
    canvas = Canvas(120, 60)
    canvas.text(5, 5, "█", 40, getattr(ink, name))
    colour = "#{:02x}{:02x}{:02x}".format(*canvas.image.getpixel((15, 30)))
    assert colour != "#ffffff" and 1.05 / (luminance(colour) + 0.05) >= 4.5


def test_drawing_over_the_edge_is_cut_not_refused():
    canvas = Canvas(20, 20)
    canvas.dot(0, 19, 6, "#FF0000")
    canvas.line([(-5, -5), (30, 30)], "#0000FF", 3)
    assert canvas.image.getpixel((10, 10)) == (0, 0, 255)


def test_words_that_are_too_wide_end_in_an_ellipsis():
    assert fitted("short", 200) == "short"
    cut = fitted("a very long class name indeed", 100)
    assert cut.endswith("…")
    assert font(14).getlength(cut) <= 100


def test_pixels_enlarged_by_a_whole_factor_stay_squares():
    import numpy as np

    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    large = np.asarray(enlarged(pixels, 8, smooth=False))
    assert (large == pixels.repeat(4, 0).repeat(4, 1)).all()
