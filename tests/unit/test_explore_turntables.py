"""The explorer of a turntable, on an object and a model that are right by construction."""

import io

import ipywidgets
import numpy as np
import pytest
import torch
from explorers import assert_a_move_is_quick, assert_every_control_moves_the_picture, assert_render_is_pure, options
from PIL import Image, ImageColor
from torch import nn

from medattack_edu.explore import turntables
from medattack_edu.explore.turntables import turntable

TURNS, TILTS = range(0, 360, 45), (0, 20, 40)
BOTTLE, LOLLY, CAP = 3, 1, 0
NAMES = {BOTTLE: "pill_bottle", LOLLY: "ice lolly"}
SIDE = 24


class Colours(nn.Module):
    """Answers by colour: red is class 0, green 1, blue 2, and grey 3."""

    def __init__(self):
        super().__init__()
        self.asked = 0
        self.eval()

    def forward(self, x):
        self.asked += len(x)
        colour = x.mean((2, 3))
        return 8 * torch.cat([colour - colour.mean(1, keepdim=True), torch.full_like(colour[:, :1], 0.1)], 1)


def painted(channel, turns, tilts):
    """Images in one colour, a little brighter with each turn and tilt, so that no two look the same."""
    images = (
        torch.full((len(turns), 3, SIDE, SIDE), 0.2)
        + turns[:, None, None, None] / 2000
        + tilts[:, None, None, None] / 400
    )
    if channel is not None:
        images[:, channel] += 0.4
    return images


def bottle(turns, tilts):
    return painted(None, turns, tilts)


def attacked(turns, tilts):
    """Green from the front half, grey from behind, and red from high above."""
    images = painted(1, turns, tilts)
    images[turns >= 180] = bottle(turns, tilts)[turns >= 180]
    images[tilts >= 40] = painted(0, turns, tilts)[tilts >= 40]
    return images


LOOKS = {"as it is": bottle, "for all poses": attacked, "for one pose": lambda turns, tilts: painted(2, turns, tilts)}
CHOSEN = {"truth": BOTTLE, "target": LOLLY, "names": NAMES}


@pytest.fixture(scope="module")
def widget():
    return turntable(Colours(), LOOKS, TURNS, TILTS, **CHOSEN)


def test_every_control_moves_the_picture_at_both_ends_and_in_the_middle(widget):
    assert_every_control_moves_the_picture(widget)


def test_render_is_pure_and_asks_nobody():
    model = Colours()
    widget = turntable(model, LOOKS, TURNS, TILTS, **CHOSEN)
    asked = model.asked
    assert_render_is_pure(widget)
    assert model.asked == asked


def test_a_move_renders_within_100_ms():
    """With as many poses as there is room for, at the size of a real rendering."""

    def large(turns, tilts):
        return nn.functional.interpolate(attacked(turns, tilts), size=160)

    looks = {"before": large, "after": large}
    widget = turntable(Colours(), looks, range(0, 360, 5), (0, 15, 30, 45, 60), **CHOSEN)
    assert widget.facts(**widget.values)["poses"] == 360
    assert_a_move_is_quick(widget)


def test_the_numbers_are_those_of_the_model(widget):
    model = Colours()
    for look, draw in LOOKS.items():
        for turn in TURNS:
            for tilt in TILTS:
                facts = widget.facts(turn=turn, tilt=tilt, look=look)
                at = torch.tensor([float(turn)]), torch.tensor([float(tilt)])
                answer = model(draw(*at)).softmax(1)[0]
                assert facts["after"]["target"] == pytest.approx(answer[LOLLY].item(), abs=1e-6)
                assert facts["after"]["truth"] == pytest.approx(answer[BOTTLE].item(), abs=1e-6)
                assert facts["after"]["probability"] == pytest.approx(answer.max().item(), abs=1e-6)
                assert facts["before"]["answer"] == "pill bottle"


def test_the_shares_count_every_pose_once(widget):
    facts = widget.facts(turn=0, tilt=0, look="for all poses")
    assert facts["poses"] == 24
    assert facts["before"]["shares"] == {"truth": 1, "target": 0, "other": 0}
    assert facts["after"]["shares"] == {
        "truth": pytest.approx(8 / 24),
        "target": pytest.approx(8 / 24),
        "other": pytest.approx(8 / 24),
    }
    assert widget.facts(turn=0, tilt=0, look="for one pose")["after"]["shares"]["other"] == 1


def test_the_map_shows_each_pose_where_it_belongs(widget):
    """From the front green is the target, from behind the truth, and from high above neither."""
    kinds = widget.render.__self__.kinds["for all poses"]
    assert (kinds[:2, :4] == "target").all()
    assert (kinds[:2, 4:] == "truth").all()
    assert (kinds[2] == "other").all()
    picture = np.asarray(widget.render(turn=0, tilt=0, look="for all poses"))
    for kind, colour in turntables.COLOURS.items():
        assert (picture == ImageColor.getrgb(colour)).all(-1).any(), kind


def test_what_is_shown_is_what_was_drawn(widget):
    study = widget.render.__self__
    expected = (attacked(torch.tensor([90.0]), torch.tensor([20.0]))[0] * 255).round().byte().permute(1, 2, 0).numpy()
    assert (study.images["for all poses"][1, 2] == expected).all()


def test_an_angle_between_two_stops_goes_to_the_nearer_one(widget):
    assert widget.facts(turn=50, tilt=29, look="for all poses")["turn"] == 45
    assert widget.facts(turn=50, tilt=29, look="for all poses")["tilt"] == 20


def test_the_words_say_the_pose_and_both_answers(widget):
    words = widget.alt(turn=45, tilt=20, look="for all poses")
    for piece in ("45°", "20° above", "pill bottle", "ice lolly", "as it is", "for all poses", "24 poses", "33 %"):
        assert piece in words


def test_buttons_play_the_turn_in_the_browser_and_begin_again(widget):
    assert isinstance(widget.play, ipywidgets.Play)
    assert widget.play in widget.children[0].children
    assert (widget.play.min, widget.play.max, widget.play.repeat) == (0, len(TURNS) - 1, True)
    link = widget.play.link
    assert link.source == (widget.play, "value")
    assert link.target == (widget.controls["turn"], "index")


def test_playing_through_all_turns_shows_each(widget):
    turn, seen = widget.controls["turn"], []
    for index in range(widget.play.max + 1):
        turn.index = index
        assert widget.error is None
        seen.append(widget.picture.value)
    assert len(set(seen)) == len(TURNS)


def test_the_animation_is_one_turn_that_needs_no_kernel(widget):
    film = widget.animation(tilt=20, look="for all poses")
    data, metadata = film._repr_mimebundle_()
    assert metadata["image/gif"]["alt"].endswith("in 4 of 8 pictures.")
    with Image.open(io.BytesIO(film.data)) as picture:
        assert (picture.format, picture.n_frames, picture.info["loop"]) == ("GIF", len(TURNS), 2)  # and then it rests
        first = np.asarray(picture.convert("RGB"), int)
    drawn = np.asarray(widget.render(turn=0, tilt=20, look="for all poses"), int)[:, : first.shape[1]]
    assert np.abs(first - drawn).mean() < 8  # a GIF has 256 colours
    assert set(data) >= {"image/gif"}


def test_one_turn_one_tilt_two_looks_suffice():
    widget = turntable(Colours(), {"before": bottle, "after": attacked}, [30], [0], **CHOSEN)
    assert widget.facts(**widget.values)["after"]["answer"] == "ice lolly"


def test_a_class_without_a_name_is_called_by_its_number():
    widget = turntable(Colours(), LOOKS, TURNS, TILTS, truth=BOTTLE, target=LOLLY, names={})
    assert widget.facts(turn=0, tilt=0, look="for one pose")["after"]["answer"] == "class 2"


def test_angles_are_put_in_order_and_counted_once():
    widget = turntable(Colours(), LOOKS, [90, 0, 90], [20, 0], **CHOSEN)
    assert options(widget.controls["turn"]) == [0, 90]
    assert options(widget.controls["tilt"]) == [0, 20]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"looks": {"before": bottle}}, "2 or more, first the object as it is; 1 came"),
        ({"looks": [bottle, attacked]}, "a list came"),
        ({"turns": []}, "turns holds no angle"),
        ({"turns": range(360), "tilts": (0, 1)}, "720 poses are more than the 400"),
        ({"target": BOTTLE}, "two different classes"),
        ({"target": 4}, "0 to 3"),
        ({"model": Colours().train()}, "training mode"),
        ({"looks": {"a": lambda turns, tilts: bottle(turns, tilts)[:1], "b": bottle}}, "asked for 12 poses and drew"),
        (
            {"looks": {"a": lambda turns, tilts: bottle(turns, tilts)[..., 1:], "b": bottle}},
            "One square image for each pose",
        ),
        ({"looks": {"a": lambda turns, tilts: 255 * bottle(turns, tilts), "b": bottle}}, "Divide by 255"),
    ],
)
def test_it_says_what_it_cannot_show(changes, message):
    arguments = {"model": Colours(), "looks": LOOKS, "turns": TURNS, "tilts": TILTS} | CHOSEN
    with pytest.raises(ValueError, match=message):
        turntable(**(arguments | changes))
