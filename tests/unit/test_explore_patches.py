"""The explorers of patches, on a toy network that knows horizontal stripes from everything else."""

import io
import time
from datetime import UTC, datetime

import numpy as np
import pace
import pytest
import torch
from explorers import assert_a_move_is_quick, assert_every_control_moves_the_picture, assert_render_is_pure, options
from PIL import Image
from torch import nn

from medattack_edu import attacks, explore, metrics, runtime
from medattack_edu.explore import patches
from medattack_edu.explore.canvas import png
from medattack_edu.models.efficientnet_lite import efficientnet_lite0
from medattack_edu.models.freeze import freeze

CLASSES = ("red", "green_light", "blue", "stripes", "night", "day", "other")
STRIPES, N, SIDE = 3, 7, 48


class Eye(nn.Module):
    """Logits for colours, and for stripes that lie level: the brighter changes downwards and not across, the surer."""

    def forward(self, x):
        grey = x.mean(1)
        level = (grey[:, 1:] - grey[:, :-1]).abs().mean((1, 2)) - (grey[:, :, 1:] - grey[:, :, :-1]).abs().mean((1, 2))
        colours = 6 * x.mean((2, 3))
        rest = torch.zeros(len(x), 3, dtype=x.dtype, device=x.device)
        return torch.cat([colours, 200 * level[:, None], rest], 1)


def stripes(side=24):
    return ((torch.arange(side) // 4) % 2).float()[None, :, None].expand(3, side, side).clone().to(runtime.device())


@pytest.fixture(scope="module")
def scenes():
    """Plain images of three colours, and one of stripes, which is of the target class without a patch."""
    plain = torch.full((N, 3, SIDE, SIDE), 0.2)
    for i in range(N):
        plain[i, i % 3] = 0.5 + 0.05 * i
    plain[-1] = ((torch.arange(SIDE) // 4) % 2).float()[None, :, None]
    plain = plain.to(runtime.device())
    street = explore.Scene(
        Eye().eval(), plain, stripes(), STRIPES, CLASSES, names=tuple(f"picture {k}" for k in "abcdefg")
    )
    skin = explore.Scene(Eye().eval(), plain[:3], stripes(), 1, CLASSES)
    return {"photograph": street, "skin": skin}


@pytest.fixture(scope="module")
def widget(scenes):
    return explore.patch(scenes, scales=(0.2, 0.4, 0.6), turns=(-90, -45, 0, 45, 90))


def test_every_control_moves_the_picture_at_both_ends_and_in_the_middle(widget):
    assert_every_control_moves_the_picture(widget)


def test_it_starts_upright_on_the_first_photograph_where_success_was_measured(widget):
    values = widget.values
    assert (values["angle"], values["across"], values["down"]) == (0, patches.FIRST, patches.FIRST)
    assert values["image"] == ("photograph", 0)


def test_render_is_pure(widget):
    assert_render_is_pure(widget)


def test_a_move_renders_within_100_ms(widget):
    assert_a_move_is_quick(widget)


def test_a_turn_of_the_real_network_renders_within_100_ms_though_it_is_asked_anew(monkeypatch):
    """ImageNet's size, 224 px, and no answer remembered from before."""
    monkeypatch.setattr(patches, "REMEMBERED", 0)
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)).to(runtime.device())
    patch = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1)).to(runtime.device())
    network = freeze(efficientnet_lite0()).to(runtime.device())
    scene = explore.Scene(network, x, patch, 859, [str(k) for k in range(1000)])
    widget = explore.patch({"photograph": scene}, scales=(0.5,), turns=(0, 22.5))
    took = []
    for turn in (0, 22.5) * 4:
        start = time.process_time()
        png(widget.render(**(widget.values | {"angle": turn, "across": 0.3})))
        took.append(time.process_time() - start)
    assert min(took) < pace.stretched(0.1)


def test_turned_by_a_right_angle_the_stripes_no_longer_win(widget):
    upright, turned = (widget.facts(**(widget.values | {"angle": angle, "scale": 0.6})) for angle in (0, 90))
    assert upright["success"] == 1
    assert turned["success"] == 0
    assert upright["answers"][0][0] == "stripes"
    assert turned["answers"][0][0] != "stripes"


def test_who_was_of_the_target_class_before_does_not_count(widget):
    assert widget.facts(**widget.values)["success"].n == N - 1


def test_the_numbers_are_those_of_the_library(widget, scenes):
    for name, scene in scenes.items():
        others = scene.model(scene.x).argmax(1) != scene.target
        for scale in options(widget.controls["scale"]):
            for angle in options(widget.controls["angle"]):
                stuck = attacks.place(
                    scene.patch, scene.x, location=(patches.FIRST, patches.FIRST), angle=angle, scale=scale
                )
                hits = (scene.model(stuck).argmax(1) == scene.target) & others
                expected = metrics.proportion(hits.sum(), others.sum())
                facts = widget.facts(angle=angle, scale=scale, across=0.3, down=0.7, image=(name, 1))
                assert (facts["success"], facts["success"].n) == (expected, expected.n)
                assert facts["curve"][angle] == expected
                shown = attacks.place(scene.patch, scene.x[1:2], location=(0.3, 0.7), angle=angle, scale=scale)
                probabilities = scene.model(shown)[0].softmax(0)
                assert facts["towards"] == pytest.approx(float(probabilities[scene.target]), abs=1e-5)
                assert facts["answers"][0][1] == pytest.approx(float(probabilities.max()), abs=1e-5)


def test_an_answer_computed_before_is_the_one_that_the_network_would_give(widget, scenes):
    values = widget.values | {"angle": 45, "image": ("photograph", 2)}
    scene = scenes["photograph"]
    shown = attacks.place(
        scene.patch, scene.x[2:3], location=(patches.FIRST, patches.FIRST), angle=45, scale=values["scale"]
    )
    assert widget.facts(**values)["answers"][0][1] == pytest.approx(
        float(scene.model(shown)[0].softmax(0).max()), abs=1e-5
    )


def test_the_likeliest_answers_come_first_and_are_readable(widget):
    answers = widget.facts(**(widget.values | {"image": ("photograph", 1)}))["answers"]
    assert len(answers) == patches.BARS
    assert [p for _, p in answers] == sorted((p for _, p in answers), reverse=True)
    assert "green light" in dict(answers)


def test_the_words_say_what_was_stuck_where_and_what_came_of_it(widget):
    words = widget.alt(angle=45.0, scale=0.4, across=0.2, down=0.8, image=("photograph", 2))
    for piece in (
        "picture c",
        "calls blue",
        "patch for stripes",
        "turned by 45 degrees",
        "0.2 of the width",
        "95 % interval",
    ):
        assert piece in words


@pytest.fixture
def written(monkeypatch):
    """A list of all words that are drawn."""
    words_drawn, text = [], patches.Canvas.text

    def noted(self, x, y, words, *rest, **options):
        words_drawn.append(words)
        return text(self, x, y, words, *rest, **options)

    monkeypatch.setattr(patches.Canvas, "text", noted)
    return words_drawn


def test_where_the_patch_was_moved_the_panel_says_that_the_curve_was_measured_elsewhere(widget, written):
    widget.render(**widget.values)
    assert any("measured at x 0.6, y 0.6; one image = 17 points" in words for words in written)
    assert widget.facts(**widget.values)["measured_here"]
    written.clear()
    moved = widget.values | {"across": 0.3}
    widget.render(**moved)
    assert any("y 0.6, not here" in words for words in written)
    assert not widget.facts(**moved)["measured_here"]


class Corner(nn.Module):
    """Answers 1 where the upper left quarter is bright."""

    def forward(self, x):
        bright = 20 * (x[:, :, : SIDE // 2, : SIDE // 2].mean((1, 2, 3)) - 0.2)
        return torch.stack([-bright, bright], 1)


def test_at_rest_success_is_measured_over_all_images_where_the_patch_lies(written):
    dark = torch.full((N, 3, SIDE, SIDE), 0.1)
    scene = explore.Scene(Corner().eval(), dark, torch.ones(3, 20, 20), 1, ("dark", "bright"))
    widget = explore.patch({"corner": scene}, scales=(0.4,), turns=(0, 90))
    widget.controls["across"].value = widget.controls["down"].value = 0.2
    before, facts = widget.picture.value, widget.facts(**widget.values)
    assert not facts["measured_here"] and facts["success"] == 0 and facts["towards"] > 0.5
    widget.rest()
    facts = widget.facts(**widget.values)
    assert facts["measured_here"] and facts["success"] == 1 and facts["success"].n == N
    assert all(rate == 0 for rate in facts["curve"].values()) and widget.picture.value != before
    assert any("measured here; the curve, at x 0.6, y 0.6" in words for words in written)
    assert "with the patch there, success" in widget.alt(**widget.values)


def test_unless_told_otherwise_it_turns_all_the_way_round():
    assert patches.TURNS[0] == -180 and patches.TURNS[-1] == 180 and 0 in patches.TURNS


def test_a_number_between_two_stops_goes_to_the_nearer_one(widget):
    facts = widget.facts(**(widget.values | {"angle": 30.0, "scale": 0.33}))
    assert (facts["angle"], facts["scale"]) == (45, 0.4)


def test_images_without_names_are_numbered(widget):
    assert ("skin: image 1", ("skin", 0)) in widget.render.__self__.choices()


def test_more_images_than_are_shown_all_count(scenes, monkeypatch):
    monkeypatch.setattr(patches, "SHOWN", 2)
    widget = explore.patch({"photograph": scenes["photograph"]}, scales=(0.4,), turns=(0, 10))
    assert options(widget.controls["image"]) == [("photograph", 0), ("photograph", 1)]
    assert widget.facts(**widget.values)["success"].n == N - 1


def test_where_all_are_of_the_target_class_it_says_so(scenes):
    scene = scenes["photograph"]
    only = explore.Scene(scene.model, scene.x[-1:], scene.patch, STRIPES, CLASSES)
    widget = explore.patch({"photograph": only}, scales=(0.4,), turns=(0, 90))
    success = widget.facts(**widget.values)["success"]
    assert success.n == 0
    assert np.isnan(success)
    assert widget.error is None


def test_images_and_patch_are_left_alone(scenes):
    before = [(scene.x.clone(), scene.patch.clone()) for scene in scenes.values()]
    widget = explore.patch(scenes, scales=(0.4,), turns=(0, 20))
    widget.controls["angle"].value = 20.0
    for scene, (x, patch) in zip(scenes.values(), before, strict=True):
        assert torch.equal(scene.x, x)
        assert torch.equal(scene.patch, patch)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(0, 3, 8, 8)}, "holds no image"),
        ({"target": 7}, "its target is 7"),
        ({"names": ("one",)}, "7 images and 1 names"),
        ({"classes": ("a", "b", "c", "d")}, "answers with 7 logits"),
    ],
)
def test_it_says_what_it_cannot_show(scenes, changes, message):
    scene = scenes["photograph"]
    fields = {name: getattr(scene, name) for name in ("model", "x", "patch", "target", "classes", "names")} | changes
    with pytest.raises(ValueError, match=message):
        explore.patch({"photograph": explore.Scene(**fields)})


def test_scenes_come_in_a_dictionary_and_with_stops(scenes):
    with pytest.raises(ValueError, match="got list"):
        explore.patch([*scenes.values()])
    with pytest.raises(ValueError, match="one angle or more"):
        explore.patch(scenes, turns=())


def test_a_model_in_training_mode_is_refused(scenes):
    scene = scenes["photograph"]
    training = explore.Scene(Eye().train(), scene.x, scene.patch, STRIPES, CLASSES)
    with pytest.raises(ValueError, match="training mode"):
        explore.patch({"photograph": training})


# ---- a photograph of one's own -----------------------------------------------------------------------------------------


def chosen(name, mime, content):
    """What a FileUpload holds after this file was chosen: every field, because a widget with a kernel behind it sends all."""
    return (
        {
            "name": name,
            "type": mime,
            "size": len(content),
            "last_modified": datetime(2026, 1, 1, tzinfo=UTC),
            "content": memoryview(content),
        },
    )


def uploaded(image, kind="PNG"):
    """The same for a picture."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return chosen(f"mine.{kind.lower()}", f"image/{kind.lower()}", buffer.getvalue())


@pytest.fixture(scope="module")
def trial(scenes):
    return explore.own_photo(scenes["photograph"], torch.full((3, 20, 20), 0.5, device=runtime.device()), scale=0.6)


def test_until_there_is_an_upload_the_first_photograph_stands_there(trial, scenes):
    facts = trial.facts(photo=())
    assert torch.equal(facts["image"], scenes["photograph"].x[:1])
    assert [answers[0][0] for answers in facts["answers"].values()] == ["red", "red", "stripes"]
    assert trial.error is None


def test_an_upload_is_seen_three_times(trial):
    photo = uploaded(Image.new("RGB", (90, 60), (20, 20, 230)), "JPEG")
    facts = trial.facts(photo=photo)
    assert facts["image"].shape == (1, 3, SIDE, SIDE)
    assert [answers[0][0] for answers in facts["answers"].values()] == ["blue", "blue", "stripes"]
    assert "Your photograph" in trial.alt(photo=photo)
    trial.controls["photo"].value = photo
    assert trial.picture.value == png(trial.render(photo=photo))
    trial.controls["photo"].value = ()


def test_an_upload_that_is_no_image_says_so_in_the_widget(trial):
    trial.controls["photo"].value = chosen("letter.txt", "text/plain", b"dear colleague")
    assert "no image that can be read" in str(trial.error)
    trial.controls["photo"].value = ()
    assert trial.error is None


def test_what_there_is_to_say_about_an_upload_is_said_on_the_picture_and_in_words(trial):
    film = io.BytesIO()
    first, second = (Image.new("RGB", (40, 40), colour) for colour in ("red", "blue"))
    first.save(film, "GIF", save_all=True, append_images=[second])
    photo = chosen("film.gif", "image/gif", film.getvalue())
    assert "an animation of 2 pictures; the first one is taken" in trial.alt(photo=photo)
    still = uploaded(first)
    assert trial.facts(photo=still)["notes"] == []
    bottom = [np.asarray(trial.render(photo=p))[-20:] for p in (photo, still)]
    assert (bottom[0] < 200).any() and not (bottom[1] < 200).any()


def test_the_three_versions_differ_only_where_something_was_stuck(trial):
    plain, decoy, patched = trial.facts(photo=())["seen"].values()
    assert torch.equal(plain[..., :8, :8], decoy[..., :8, :8])
    assert torch.equal(plain[..., :8, :8], patched[..., :8, :8])
    assert not torch.equal(decoy, patched)
