"""The bottle: rays, label and poses obey geometry, and its pictures are linear in the label."""

import time

import pytest
import torch

from medattack_edu.scenes import bottle
from medattack_edu.scenes.bottle import (
    HALF_PICTURE,
    Maps,
    label,
    maps,
    paper,
    random_poses,
    render,
    turntable,
    turntable_poses,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def seen():
    return maps(random_poses(4, generator=seeded(1)), 64)


def covered(poses, size=64):
    """Where label is seen, (n, size, size)."""
    return maps(poses, size).sight.mean(1) > 0


def poses(n=1, **changed):
    plain = turntable_poses(n, elevation=0.0)
    values = {name: getattr(plain, name).clone() for name in plain.__dataclass_fields__}
    for name, value in changed.items():
        values[name] = torch.as_tensor(value, dtype=values[name].dtype).expand(n).clone()
    return bottle.Poses(**values)


def test_the_label_is_paper_on_plastic():
    texture, on_paper = label(), paper()
    assert texture.shape == (3, *bottle.TEXTURE) and on_paper.shape == (1, *bottle.TEXTURE)
    assert 0 <= texture.min() and texture.max() <= 1
    assert texture[:, :20].min() > 0.85 and on_paper[:, :20].max() == 0  # the cap
    assert (texture[0, -8:] > 1.5 * texture[2, -8:]).all() and on_paper[:, -8:].max() == 0  # amber
    assert texture[:, on_paper[0] == 1].mean() > 0.6 and 0.4 < on_paper.mean() < 0.6
    assert torch.equal(label(), label()) and not torch.equal(label(1), label())


def test_a_picture_is_linear_in_the_label(seen):
    texture = label()
    fetched = render(texture, Maps(seen.where, torch.ones_like(seen.sight), torch.zeros_like(seen.rest)))
    assert torch.allclose(render(texture, seen), (seen.rest + seen.sight * fetched).clamp(0, 1), atol=1e-6)
    assert torch.allclose(render(torch.zeros_like(texture), seen), seen.rest.clamp(0, 1))


def test_an_even_label_looks_even_wherever_it_is_fetched(seen):
    even = torch.full((3, *bottle.TEXTURE), 0.4)
    shown = render(even, Maps(seen.where, torch.ones_like(seen.sight), torch.zeros_like(seen.rest)))
    assert torch.allclose(shown, torch.full_like(shown, 0.4), atol=1e-6)


def test_pictures_are_differentiable_and_the_back_of_the_bottle_has_no_say():
    texture = label().requires_grad_()
    render(texture, maps(turntable_poses(1), 96)).sum().backward()
    columns = texture.grad.abs().sum((0, 1)) > 0
    assert 0.4 < columns.float().mean() < 0.55  # a camera sees not quite half of a cylinder
    width = bottle.TEXTURE[1]
    assert not columns[int(0.35 * width) : int(0.65 * width)].any()  # u = 0 faces the camera at spin 0
    assert columns[0] and columns[-1]


def test_the_gradient_is_that_of_a_finite_difference(seen):
    texture = (0.2 + 0.3 * label()).requires_grad_()
    weight = torch.rand(4, 3, 64, 64, generator=seeded())
    (gradient,) = torch.autograd.grad((weight * render(texture, seen)).sum(), texture)
    step = 0.02 * torch.randn(texture.shape, generator=seeded(2))
    with torch.no_grad():
        change = (weight * (render(texture + step, seen) - render(texture, seen))).sum()
    assert (gradient * step).sum().item() == pytest.approx(change.item(), rel=0.01)


def test_text_reads_from_left_to_right_and_from_top_to_bottom():
    where = maps(poses(), 96)
    u, v = where.where[0, ..., 0], where.where[0, ..., 1]
    on = where.sight[0].mean(0) > 0
    row = int(on.sum(1).argmax())
    across = ((u[row][on[row]] + 0.5) % 1).diff()
    assert (across > 0).all()
    column = 48
    assert (v[:, column][on[:, column]].diff() > 0).all()


def test_a_quarter_turn_moves_the_label_by_a_quarter_and_a_whole_turn_by_nothing():
    front, side, again = (maps(poses(spin=spin), 48) for spin in (0.0, 90.0, 360.0))
    on = front.sight[0].mean(0) > 0
    moved = (side.where[0, ..., 0] - front.where[0, ..., 0])[on] % 1
    assert torch.allclose(moved, torch.full_like(moved, 0.75), atol=1e-5)
    assert torch.allclose(front.where, again.where, atol=1e-5)
    assert torch.equal(front.spun(90).where, side.where) and torch.equal(front.sight, side.sight)


def test_the_bottle_is_as_wide_and_high_as_its_cylinders():
    for distance in (10.0, 40.0):
        on = covered(poses(distance=distance), 200)[0]
        body, whole = on[150].sum(), on.any(1).sum()  # row 150 crosses the body
        nominal = 2 / (1 - 1 / distance**2) ** 0.5  # the camera sees the tangents
        assert body.item() / 200 * 2 * HALF_PICTURE == pytest.approx(nominal, rel=0.03)
        assert whole.item() / 200 * 2 * HALF_PICTURE == pytest.approx(bottle.CAP[1], rel=1.2 / distance)


def test_a_larger_zoom_shows_the_bottle_smaller():
    small, large = (covered(poses(zoom=zoom), 200).float().mean() for zoom in (1.4, 1.0))
    assert (large / small).item() == pytest.approx(1.4**2, rel=0.05)


def test_from_above_the_side_is_foreshortened():
    def tall(elevation):
        return covered(poses(elevation=elevation), 128)[0].any(1).sum().item()

    assert tall(0) > tall(30) > tall(60)


def test_a_quarter_roll_is_a_quarter_turn_of_the_picture():
    upright, rolled = covered(poses(up=0.0), 64)[0], covered(poses(roll=90.0), 64)[0]
    assert (torch.rot90(upright) == rolled).float().mean() > 0.99


def test_a_turntable_shows_what_render_shows():
    table = turntable_poses(4, elevation=20)
    assert table.spin.tolist() == [0, 90, 180, 270]
    shown = turntable(label(), table, 64)
    assert torch.allclose(shown, render(label(), maps(table, 64)), atol=1e-5)
    assert shown.shape == (4, 3, 64, 64) and 0 <= shown.min() and shown.max() <= 1


def test_a_turntable_is_quick_once_its_place_was_seen():
    table, texture = turntable_poses(1), label()
    turntable(texture, table)
    taken = []
    for _ in range(5):
        start = time.process_time()
        turntable(texture, table)
        taken.append(time.process_time() - start)
    assert min(taken) < 0.02


def test_drawing_changes_neither_label_nor_maps(seen):
    texture = label()
    before = [tensor.clone() for tensor in (texture, seen.where, seen.sight, seen.rest)]
    render(texture, seen), seen.spun(40)
    assert all(
        torch.equal(old, new) for old, new in zip(before, (texture, seen.where, seen.sight, seen.rest), strict=True)
    )


def test_one_label_for_each_picture(seen):
    both = torch.stack([label(), 1 - label(), label(), label()])
    assert torch.allclose(render(both, seen)[1], render(1 - label(), seen[1])[0])


def test_no_pose_gives_no_picture():
    none = random_poses(0)
    assert render(label(), maps(none, 32)).shape == (0, 3, 32, 32) and turntable(label(), none).shape[0] == 0


def test_poses_are_repeatable():
    assert torch.equal(random_poses(3, generator=seeded(2)).spin, random_poses(3, generator=seeded(2)).spin)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda seen: random_poses(2, elevation=(40, 10)), "between 0 and 85"),
        (lambda seen: turntable_poses(elevation=95), "between 0 and 85"),
        (lambda seen: random_poses(2, roll=200), "180"),
        (lambda seen: render(torch.zeros(80, 176), seen), r"\(3, h, w\)"),
        (lambda seen: render(torch.zeros(3, 3, 112, 176), seen), "for 4 pictures"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(call, message, seen):
    with pytest.raises(ValueError, match=message):
        call(seen)
