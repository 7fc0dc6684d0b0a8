"""Signs and streets: what is drawn, and that the camera's geometry is that of a camera."""

import math
from dataclasses import fields

import pytest
import torch

from medattack_edu.models import signs as sign_model
from medattack_edu.scenes import signs, streets
from medattack_edu.scenes.signs import CLASSES, FOCAL_PX, SIGN_FEET, Views


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def view(distance=20.0, angle=0.0, **others):
    """One plain view: no roll, no noise, no blur."""
    values = {field.name: torch.zeros(1) for field in fields(Views)} | {
        "distance": torch.tensor([distance]),
        "angle": torch.tensor([angle]),
        "margin": torch.tensor([1.25]),
        "light": torch.ones(1),
        "shift": torch.zeros(1, 2),
        "ramp": torch.zeros(1, 2),
        "background": torch.full((1, 4), 0.5),
        "grain": torch.zeros(1, 2),
    }
    return Views(
        **values | {name: torch.as_tensor(value).reshape(values[name].shape) for name, value in others.items()}
    )


def apparent(distance, angle):
    """Width and height of the sign's square, in focal lengths."""
    seen = signs.corners(signs.homography(view(distance, angle)))[0]
    return (seen.amax(0) - seen.amin(0)).tolist()


@pytest.mark.parametrize("name", CLASSES)
def test_every_sign_is_drawn_with_an_outline_and_some_of_two_colours(name):
    colour, outline = signs.sign(name)
    assert colour.shape == (3, 96, 96) and outline.shape == (1, 96, 96)
    assert 0 <= colour.min() and colour.max() <= 1 and outline.min() < 0.1
    assert outline.max() == 1 and outline.mean() > 0.3
    on_plate = colour[:, outline[0] > 0.99]
    assert on_plate.std(1).max() > 0.05


def test_signs_differ_from_each_other():
    drawn = torch.stack([signs.sign(name)[0] for name in CLASSES])
    apart = torch.cdist(drawn.flatten(1), drawn.flatten(1), p=1) / drawn[0].numel() + torch.eye(len(CLASSES))
    assert apart.min() > 0.02


def test_a_stop_sign_is_red_with_a_white_edge_and_eight_corners():
    colour, outline = signs.sign("stop", 200)
    assert colour[0, 30, 100] > 0.6 and colour[1, 30, 100] < 0.2
    assert colour[:, 2, 100].min() > 0.8
    assert outline[0, 0, 0] == 0 and outline[0, 100, 1] > 0.9
    area = outline.mean().item()
    assert area == pytest.approx(2 * (math.sqrt(2) - 1), abs=0.01)  # of an octagon in its square


def test_a_drawn_sign_can_be_changed_without_changing_the_next():
    colour, outline = signs.sign("stop")
    before = colour.clone()
    colour.zero_(), outline.zero_()
    assert torch.equal(signs.sign("stop")[0], before)


def test_an_unknown_sign_is_named_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"no sign 'halt'.*speed limit 45"):
        signs.sign("halt")


def test_a_turned_sign_is_narrower_by_the_cosine_and_as_high():
    straight, turned = apparent(400.0, 0.0), apparent(400.0, 60.0)
    assert turned[0] / straight[0] == pytest.approx(0.5, rel=0.01)
    assert turned[1] / straight[1] == pytest.approx(1, rel=0.01)


def test_apparent_size_falls_with_distance():
    for distance in (5.0, 10.0, 40.0):
        assert apparent(distance, 0.0) == pytest.approx([SIGN_FEET / distance] * 2, rel=1e-5)


def test_a_camera_to_the_right_sees_the_right_edge_nearer():
    (left_top, right_top, right_bottom, left_bottom) = signs.corners(signs.homography(view(6.0, 30.0)))[0]
    assert (right_bottom - right_top)[1] > 1.1 * (left_bottom - left_top)[1]


def test_a_crop_shows_the_sign_where_its_corners_are():
    white, outline = torch.ones(3, 96, 96), torch.ones(1, 96, 96)
    for distance, angle in ((10.0, 0.0), (10.0, 50.0)):
        seen = view(distance, angle)
        shown = signs.look(white, outline, seen, 96) - signs.look(0 * white, outline, seen, 96)
        x, y = signs.corners(signs.homography(seen))[0].T
        area = (
            x * y.roll(-1) - y * x.roll(-1)
        ).sum().abs().item() / 2  # of the four-sided figure that the square becomes
        nominal = area / (1.25 * max(apparent(distance, angle))) ** 2
        assert shown.mean().item() == pytest.approx(nominal, rel=0.05)


def test_looking_is_repeatable_and_does_not_depend_on_the_batch():
    colour, outline = signs.sign("yield")
    views = signs.random_views(5, generator=seeded())
    together = signs.look(colour, outline, views)
    assert together.shape == (5, 3, 48, 48) and 0 <= together.min() and together.max() <= 1
    for row in range(5):
        assert torch.allclose(signs.look(colour, outline, views[row]), together[row : row + 1], atol=1e-5)
    assert torch.equal(signs.random_views(5, generator=seeded()).distance, views.distance)


def test_a_look_is_differentiable_in_the_colours_and_only_where_the_sign_is():
    colour, outline = signs.sign("stop")
    kept = colour.clone()
    colour.requires_grad_()
    views = signs.random_views(6, generator=seeded(1))
    signs.look(colour, outline, views).sum().backward()
    seen = torch.nn.functional.max_pool2d(outline[None], 11, 1, 5)[0, 0] > 0
    assert (colour.grad[:, outline[0] > 0].abs() > 0).float().mean() > 0.9
    assert colour.grad[:, ~seen].abs().max() == 0
    assert torch.equal(colour.detach(), kept)


def test_the_gradient_of_a_look_is_that_of_its_finite_difference():
    colour, outline = signs.sign("stop")
    colour = (0.2 + 0.6 * colour).requires_grad_()  # so that nothing is clipped
    views = view(12.0, 20.0, defocus=0.5)
    weight = torch.rand(1, 3, 48, 48, generator=seeded())
    (gradient,) = torch.autograd.grad((weight * signs.look(colour, outline, views)).sum(), colour)
    step = 0.1 * torch.rand(colour.shape, generator=seeded(2))
    with torch.no_grad():
        change = (weight * (signs.look(colour + step, outline, views) - signs.look(colour, outline, views))).sum()
    assert (gradient * step).sum().item() == pytest.approx(change.item(), rel=1e-3)


def test_one_texture_for_each_view():
    colour, outline = signs.sign("stop")
    views = signs.random_views(2, generator=seeded())
    both = torch.stack([colour, 1 - colour])
    looked = signs.look(both, outline, views)
    assert torch.allclose(looked[:1], signs.look(colour, outline, views[0]), atol=1e-5)
    assert torch.allclose(looked[1:], signs.look(1 - colour, outline, views[1]), atol=1e-5)


def test_further_away_less_detail_is_left():
    colour, outline = signs.sign("speed limit 45")
    detail = [
        signs.look(colour, outline, view(distance)).diff(dim=3).abs().mean().item() for distance in (5.0, 40.0, 80.0)
    ]
    assert detail[0] > 1.05 * detail[1] > 1.2 * detail[2]


def test_no_view_gives_no_picture():
    assert signs.look(*signs.sign("stop"), signs.random_views(0)).shape == (0, 3, 48, 48)


def test_a_laboratory_has_one_view_for_each_distance_and_angle():
    views = signs.lab_views((5, 40), (-15, 0, 15), generator=seeded())
    assert views.distance.tolist() == [5, 5, 5, 40, 40, 40] and views.angle.tolist() == [-15, 0, 15] * 2
    assert len(signs.lab_views()) == 35


def test_a_blur_keeps_the_light_and_leaves_an_even_picture_alone():
    even = torch.full((2, 3, 16, 16), 0.3)
    assert torch.allclose(signs.blur(even, torch.tensor([0.1, 3.0])), even, atol=1e-6)
    picture = torch.rand(1, 3, 16, 16, generator=seeded())
    assert torch.allclose(signs.blur(picture, torch.tensor([0.0])), picture, atol=1e-6)
    assert signs.blur(picture, torch.tensor([1.5])).std() < 0.6 * picture.std()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: signs.random_views(2, distances=(40, 5)), "nearest"),
        (lambda: signs.random_views(2, distances=(0.5, 5)), "at least 2 feet"),
        (lambda: signs.random_views(2, angles=90), "85 degrees"),
        (lambda: signs.lab_views(()), "at least one distance"),
        (lambda: signs.look(torch.zeros(96, 96), torch.ones(1, 96, 96), signs.random_views(2)), r"shape \(3, h, w\)"),
        (lambda: signs.look(torch.zeros(3, 96, 96), torch.ones(1, 48, 48), signs.random_views(2)), "outline"),
        (lambda: signs.drive_by(*signs.sign("stop"), every=0), "every=0"),
        (lambda: signs.drive_by(*signs.sign("stop"), start=10), "comes nearer"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.fixture(scope="module")
def approach():
    return signs.drive_by(*signs.sign("stop"), seed=5, every=15)


def test_a_car_comes_nearer_and_the_sign_grows(approach):
    assert (approach.distance.diff() < 0).all() and approach.distance[0] == 80
    sides = (approach.box[:, 2] - approach.box[:, 0]).tolist()
    assert sides[-1] > 2.5 * sides[0]
    per_frame = -approach.distance.diff() / 15
    assert (per_frame <= 20 * 5280 / 3600 / 30 + 1e-4).all()  # never faster than 20 miles an hour


def test_crops_are_cut_out_of_the_frames(approach):
    for frame, crop, (left, top, right, bottom) in zip(
        approach.frames, approach.crops, approach.box.tolist(), strict=True
    ):
        cut = frame[None, :, top:bottom, left:right]
        again = torch.nn.functional.interpolate(cut, (48, 48), mode="bilinear", antialias=True)[0]
        assert torch.allclose(again.clamp(0, 1), crop)
        assert (right - left) >= SIGN_FEET / 80 * FOCAL_PX


def test_a_drive_is_repeatable_and_another_number_is_another_drive(approach):
    again = signs.drive_by(*signs.sign("stop"), seed=5, every=15)
    assert torch.equal(again.frames, approach.frames)
    assert not torch.equal(signs.drive_by(*signs.sign("stop"), seed=6, every=15).frames[0], approach.frames[0])


def test_a_street_moves_past_the_camera():
    road = streets.Street(3)
    assert torch.equal(road.picture(0.0), streets.Street(3).picture(0.0))
    near, far = (
        (road.picture(0.0) - road.picture(15.0)).abs(),
        (road.picture(0.0) - streets.Street(4).picture(0.0)).abs(),
    )
    assert 0.002 < near.mean() < far.mean()
    top = int(streets.horizon_row() / 3)
    assert near[:, :top, streets.WIDTH // 2 - 20 : streets.WIDTH // 2 + 20].max() == 0  # the sky ahead stands still


def test_the_classifier_reads_unseen_views():
    """At least 99 % of views that it wasn't trained on; the answer to each sign is its own class."""
    model = sign_model.classifier()
    x, y = sign_model.views_of_all(480, distances=(5, 40), angles=45, generator=seeded(4711))
    with torch.no_grad():
        answers = torch.cat([model(part) for part in x.to(next(model.parameters()).device).split(48)]).argmax(1).cpu()
    assert torch.bincount(y, minlength=len(CLASSES)).tolist() == [40] * len(CLASSES)
    assert (answers == y).float().mean() >= 0.99
