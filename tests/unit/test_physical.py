"""Attacks on objects, on toy models whose answer is known; and that what is made once is kept."""

import errno
from threading import Event, Thread

import pytest
import torch
from torch import nn

from medattack_edu import physical_objects
from medattack_edu.attacks import _colour, _draws, physical
from medattack_edu.attacks.physical import (
    PRINTABLE,
    apply_mask,
    find_mask,
    mean_log_probability,
    non_printability,
    rectangles,
    refine_stickers,
    sticker_attack,
    texture_attack,
)
from medattack_edu.cache import digest_of, kept

SIDE = 24
CORNER = (slice(0, 6), slice(12, 18))  # rows and columns of the only place that the toy model looks at


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class Corner(nn.Module):
    """Answers 1 where the corner is bright, 2 where it is dark, else 0."""

    def forward(self, x):
        bright = 8 * (x[:, :, CORNER[0], CORNER[1]].mean((1, 2, 3)) - 0.5)
        return torch.stack([torch.zeros_like(bright) + 0.5, bright, -bright], 1)


def draw(texture, n, generator):
    """n views that differ in their light."""
    light = 0.8 + 0.2 * torch.rand(n, 1, 1, 1, generator=generator)
    return (texture[None] * light).clamp(0, 1)


@pytest.fixture
def texture():
    return 0.35 + 0.2 * torch.rand(3, SIDE, SIDE, generator=seeded(9))


@pytest.fixture
def model():
    return Corner().eval()


def box(top, bottom, left, right):
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, top:bottom, left:right] = 1
    return mask


def options(**more):
    return {"generator": seeded(), "progress": False, "batch": 4} | more


# --- Where ---------------------------------------------------------------------------------------------------------


def test_the_heat_lies_where_the_model_looks(model, texture):
    heat = find_mask(model, texture, draw, 1, cell=3, **options(steps=60, penalty=5.0))
    assert heat.shape == (SIDE, SIDE)
    assert 0 <= heat.min() and heat.max() <= 1
    assert heat[CORNER].mean() > 5 * heat[:, :12].mean()


def test_a_higher_penalty_leaves_less(model, texture):
    def total(penalty):
        return find_mask(model, texture, draw, 1, **options(steps=20, penalty=penalty)).sum()

    assert total(100.0) < 0.7 * total(0.0)


def test_no_heat_where_no_sticker_is_allowed(model, texture):
    allowed = 1 - box(0, 3, 0, SIDE)
    heat = find_mask(model, texture, draw, 1, allowed=allowed, **options(steps=10, penalty=2.0))
    assert heat[:3].max() == 0 and heat.max() > 0


def test_rectangles_lie_apart_inside_what_is_allowed_and_the_first_on_the_heat():
    heat, allowed = torch.zeros(SIDE, SIDE), box(2, 22, 2, 22)
    heat[6:12, 12:18] = 1
    first = rectangles(heat, allowed, n=1, sizes=((6, 6),), grid=2)
    assert torch.equal(first, box(6, 12, 12, 18))
    three = rectangles(heat, allowed, n=3, sizes=((6, 6), (4, 8)), grid=2)
    assert 3 * 32 <= three.sum() <= 3 * 36  # none lies over another
    assert ((three == 0) | (three == 1)).all() and (three <= allowed).all() and (three >= first).all()


def test_too_many_stickers_are_refused():
    with pytest.raises(ValueError, match="room for 1 of 2"):
        rectangles(torch.rand(SIDE, SIDE), box(0, 6, 0, 6), n=2, sizes=((6, 6),), grid=6)


# --- Stickers ------------------------------------------------------------------------------------------------------


def test_stickers_reach_the_target_from_every_view(model, texture):
    mask = box(0, 6, 6, 18)
    for target, colour in ((1, PRINTABLE[1]), (2, PRINTABLE[0])):
        made = sticker_attack(model, texture, mask, draw, target, cell=3, **options(steps=60))
        assert (model(draw(made.texture, 16, seeded(5))).argmax(1) == target).all()
        assert made.history[-1] > made.history[0] and len(made.history) == 60
        where = made.texture[:, CORNER[0], CORNER[1]]
        assert torch.allclose(where, torch.tensor(colour)[:, None, None].expand_as(where), atol=1e-6)


def test_stickers_are_black_and_white_and_the_rest_is_untouched(model, texture):
    mask = box(0, 6, 6, 20)
    made = sticker_attack(model, texture, mask, draw, 1, cell=4, **options(steps=5))
    assert non_printability(made.texture)[mask[0] == 1].max() < 1e-5
    assert torch.equal(made.texture[:, mask[0] == 0], texture[:, mask[0] == 0])
    assert torch.equal(made.mask, mask) and made.target == 1 and not made.interrupted


def test_nothing_of_the_callers_changes_and_the_result_is_repeatable(model, texture):
    mask, before = box(0, 6, 6, 18), texture.clone()
    first = sticker_attack(model, texture, mask, draw, 1, **options(steps=4))
    second = sticker_attack(model, texture, mask, draw, 1, **options(steps=4))
    assert torch.equal(first.texture, second.texture) and first.history == second.history
    assert torch.equal(texture, before) and torch.equal(mask, box(0, 6, 6, 18)) and not texture.requires_grad
    other = texture_attack(model, texture, draw, 1, **options(steps=4))
    assert (
        torch.equal(texture, before)
        and other.texture.data_ptr() != texture.data_ptr()
        and not other.texture.requires_grad
    )


def test_a_later_run_can_start_from_an_earlier_result(model, texture):
    mask = box(0, 6, 6, 18)
    made = sticker_attack(model, texture, mask, draw, 1, cell=3, **options(steps=60))
    again = sticker_attack(model, texture, mask, draw, 1, cell=3, start=made.texture, **options(steps=0))
    assert torch.equal(again.texture, made.texture) and again.history == []


def stuck(texture, mask):
    """Stickers of chequered black and white, from which no climb has begun."""
    chequers = (torch.arange(SIDE // 3)[:, None] + torch.arange(SIDE // 3)) % 2
    chequers = chequers.repeat_interleave(3, 0).repeat_interleave(3, 1)
    dark, light = torch.tensor(PRINTABLE)[:, :, None, None]
    return physical.Attacked(apply_mask(texture, dark + (light - dark) * chequers, mask), mask, 1, [-9.0])


def test_refining_turns_the_squares_that_matter_and_ends_at_the_best(model, texture):
    mask = box(0, 7, 5, 18)  # squares of 3 texels; some of them are cut
    made = stuck(texture, mask)
    before = made.texture.clone()
    refined = refine_stickers(model, made, draw, cell=3, passes=2, views=4, generator=seeded(), progress=False)
    where = refined.texture[:, CORNER[0], CORNER[1]]
    assert torch.allclose(where, torch.tensor(PRINTABLE[1])[:, None, None].expand_as(where), atol=1e-6)
    assert non_printability(refined.texture)[mask[0] == 1].max() < 1e-5
    assert torch.equal(refined.texture[:, mask[0] == 0], texture[:, mask[0] == 0])
    elsewhere = (mask[0] == 1) & (box(0, 6, 12, 18)[0] == 0)
    assert torch.allclose(refined.texture[:, elsewhere], before[:, elsewhere], atol=1e-6)  # what doesn't help stays
    assert torch.equal(made.texture, before) and made.history == [-9.0] and len(refined.history) == 3
    assert not refined.interrupted and refined.target == 1


def test_refining_never_makes_the_target_less_likely_on_its_views(model, texture):
    made = stuck(texture, box(0, 12, 6, 18))
    refined = refine_stickers(model, made, draw, cell=3, passes=1, views=8, generator=seeded(4), progress=False)
    seed = _draws.seed(seeded(4))
    was, now = (mean_log_probability(model, each.texture, draw, 1, views=8, seed=seed) for each in (made, refined))
    assert now == pytest.approx(refined.history[-1], abs=1e-6) and now > was
    assert refine_stickers(model, made, draw, cell=3, passes=0, progress=False).history == made.history


def test_the_same_seed_is_the_same_views(model, texture):
    first, second, other = (mean_log_probability(model, texture, draw, 1, views=4, seed=seed) for seed in (1, 1, 2))
    assert first == second != other


def test_a_mask_splits_a_texture_in_two(texture):
    mask, sticker = box(3, 9, 3, 9), torch.zeros(3, SIDE, SIDE)
    both = apply_mask(texture, sticker, mask)
    assert both[:, 3:9, 3:9].max() == 0 and torch.equal(both[:, mask[0] == 0], texture[:, mask[0] == 0])


def test_only_printable_colours_score_nothing():
    sheet = torch.tensor(PRINTABLE).T.reshape(3, 1, 2)
    assert non_printability(sheet).max() < 1e-5
    between = torch.full((3, 2, 2), 0.5, requires_grad=True)
    score = non_printability(between)
    assert score.shape == (2, 2) and score.min() > 0.1
    assert torch.autograd.grad(score.sum(), between)[0].isfinite().all()


def test_ctrl_c_keeps_what_there_is(model, texture):
    calls = []

    def impatient(texture, n, generator):
        calls.append(n)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return draw(texture, n, generator)

    made = sticker_attack(model, texture, box(0, 6, 6, 18), impatient, 1, **options(steps=20))
    assert made.interrupted and len(made.history) == 3
    assert made.texture.shape == texture.shape
    calls.clear()
    with pytest.raises(KeyboardInterrupt):  # of places that were looked for by half there is nothing to keep
        find_mask(model, texture, impatient, 1, **options(steps=20))


def test_a_penalty_on_change_draws_stickers_to_the_colour_that_is_nearer(model):
    """Over dark texels far from where the model looks, only the penalty has an opinion."""
    dark, mask = torch.full((3, SIDE, SIDE), 0.3), box(0, 24, 6, 18)
    made = sticker_attack(model, dark, mask, draw, 1, cell=3, penalty=2.0, **options(steps=40))
    elsewhere = (mask[0] == 1) & (torch.arange(SIDE)[:, None] >= 6)
    assert torch.allclose(made.texture[:, elsewhere], torch.tensor(PRINTABLE[0])[:, None], atol=1e-6)
    assert torch.allclose(made.texture[:, CORNER[0], CORNER[1]].mean((1, 2)), torch.tensor(PRINTABLE[1]), atol=1e-6)
    bright = sticker_attack(model, 1 - dark, mask, draw, 1, cell=3, penalty=2.0, **options(steps=40))
    assert torch.allclose(bright.texture[:, elsewhere], torch.tensor(PRINTABLE[1])[:, None], atol=1e-6)


# --- Textures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [0.05, 1.0])
def test_a_texture_stays_within_eps_mask_and_range(model, texture, eps):
    mask = box(0, 12, 0, SIDE)
    made = texture_attack(model, texture, draw, 2, mask=mask, eps=eps, **options(steps=25, step_size=0.05))
    change = (made.texture - texture).abs()
    assert change.max() <= eps + 1e-6 and change[:, mask[0] == 0].max() == 0 and change.max() > 0.04
    assert 0 <= made.texture.min() and made.texture.max() <= 1
    assert made.history[-1] > made.history[0]


def test_a_free_texture_reaches_its_target(model, texture):
    made = texture_attack(model, texture, draw, 2, **options(steps=40, step_size=0.05))
    assert (model(draw(made.texture, 16, seeded(5))).argmax(1) == 2).all()
    assert texture_attack(model, texture, draw, 2, start=made.texture, **options(steps=1)).history[0] > made.history[0]


def test_colour_is_measured_as_scikit_image_measures_it():
    from skimage.color import rgb2lab

    images = torch.cat(
        [torch.rand(3, 3, 16, 16, generator=seeded()), torch.rand(3, 3, 16, 16, generator=seeded(1)) / 30]
    )
    theirs = torch.from_numpy(rgb2lab(images.permute(0, 2, 3, 1).numpy())).permute(0, 3, 1, 2)
    assert torch.allclose(_colour.to_lab(images), theirs.float(), atol=0.02)
    apart = (theirs[:3] - theirs[3:]).square().sum(1).mean((1, 2)).sqrt()
    assert torch.allclose(_colour.colour_distance(images[:3], images[3:]), apart.float(), atol=0.02)


@pytest.mark.parametrize("grey", [0.0, 0.002, 1.0])
def test_colour_has_a_gradient_where_nothing_has_changed_and_in_black(grey):
    image = torch.full((1, 3, 4, 4), grey, requires_grad=True)
    _colour.colour_distance(image, image.detach()).sum().backward()
    assert torch.equal(image.grad, torch.zeros_like(image))


def test_a_texture_that_pays_for_its_colour_stays_nearer_to_the_original(model, texture):
    free, dear = (
        texture_attack(model, texture, draw, 2, colour=colour, **options(steps=25, step_size=0.05))
        for colour in (0.0, 0.05)
    )
    apart = [_colour.colour_distance(made.texture[None], texture[None]).item() for made in (free, dear)]
    assert dear.history[-1] > dear.history[0] and apart[1] < 0.6 * apart[0]


@pytest.mark.parametrize("given", [{"generator": seeded(3)}, {"generator": None}], ids=["seeded", "global"])
def test_the_original_is_seen_from_the_same_views_and_no_view_is_used_up(model, texture, given):
    """Else the light alone, which differs between views, would count as a change of colour."""
    seen = []

    def noting(shown, n, generator):
        pictures = draw(shown, n, generator)
        seen.append((pictures.detach() / shown.detach()).mean((1, 2, 3)))
        return pictures

    torch.manual_seed(0)
    texture_attack(model, texture, noting, 1, colour=1e-9, **options(steps=3, step_size=1e-6) | given)
    views = torch.stack(seen[1:])
    assert torch.allclose(views[0::2], views[1::2], atol=1e-4)
    assert len(views[0::2].mul(1e3).round().unique()) == 12


def test_the_expectation_is_over_fresh_views(model, texture):
    seen = []

    def noting(texture, n, generator):
        pictures = draw(texture, n, generator)
        seen.append(pictures.detach().mean((1, 2, 3)))
        return pictures

    texture_attack(model, texture, noting, 1, **options(steps=3, step_size=1e-6))
    views = torch.cat(seen[1:])  # the first is the look at what comes in
    assert len(views) == 12 and len(views.unique()) == 12


# --- What comes in ---------------------------------------------------------------------------------------------------


class Nan(Corner):
    def forward(self, x):
        return super().forward(x) * float("nan")


class Sure(Corner):
    def forward(self, x):
        return super().forward(x).softmax(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": 3}, "not a class: the model knows 0 to 2"),
        ({"target": 0.5}, "not a class"),
        ({"mask": torch.zeros(1, SIDE, SIDE)}, "empty"),
        ({"mask": torch.ones(1, SIDE, 5)}, "mask must have the shape"),
        ({"texture": torch.zeros(1, 3, SIDE, SIDE)}, r"\(3, h, w\)"),
        ({"texture": 255 * torch.ones(3, SIDE, SIDE)}, "Divide by 255"),
        ({"model": Corner().train()}, "training mode"),
        ({"model": Nan().eval()}, "NaN"),
        ({"model": Sure().eval()}, "probabilities"),
        ({"steps": -1}, "steps=-1"),
        ({"batch": 0}, "batch=0"),
        ({"step_size": 0}, "step_size=0"),
        ({"draw": lambda texture, n, generator: texture}, "must return n pictures"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(model, texture, change, message):
    given = (
        {"model": model, "texture": texture, "mask": box(0, 6, 6, 18), "draw": draw, "target": 1}
        | options(steps=2)
        | change
    )
    for attack in (sticker_attack, texture_attack):
        with pytest.raises(ValueError, match=message):
            attack(**given)


def test_a_mask_between_0_and_1_and_a_wrong_eps_are_refused(model, texture):
    with pytest.raises(ValueError, match="zeros and ones"):
        sticker_attack(model, texture, 0.5 * torch.ones(1, SIDE, SIDE), draw, 1, **options(steps=1))
    with pytest.raises(ValueError, match="eps=8"):
        texture_attack(model, texture, draw, 1, eps=8, **options(steps=1))


def test_a_change_never_pays_for_itself(model, texture):
    with pytest.raises(ValueError, match="colour=-1"):
        texture_attack(model, texture, draw, 1, colour=-1, **options(steps=1))
    for name in ("penalty", "printability"):
        with pytest.raises(ValueError, match=f"{name}=-1"):
            sticker_attack(model, texture, box(0, 6, 6, 18), draw, 1, **options(steps=1) | {name: -1})
    with pytest.raises(ValueError, match="penalty=-1"):
        find_mask(model, texture, draw, 1, penalty=-1, **options(steps=1))


# --- What is made once -----------------------------------------------------------------------------------------------


def test_what_was_made_is_read_and_what_is_damaged_is_made_again(tmp_path):
    path, made = tmp_path / "thing.safetensors", []

    def make():
        made.append(1)
        return {"a": torch.arange(3.0)}

    assert torch.equal(kept(path, make)["a"], kept(path, make)["a"]) and len(made) == 1
    path.write_bytes(b"half a file")
    with pytest.warns(UserWarning, match="damaged"):
        assert torch.equal(kept(path, make)["a"], torch.arange(3.0))
    assert len(made) == 2 and torch.equal(kept(path, make)["a"], torch.arange(3.0)) and len(made) == 2


def test_of_two_that_ask_at_once_one_makes_and_the_other_waits_and_reads(tmp_path, capsys):
    path, begun, may_end, made, got = tmp_path / "thing.safetensors", Event(), Event(), [], []

    def make():
        made.append(1)
        begun.set()
        assert may_end.wait(20)
        return {"a": torch.arange(3.0)}

    first, second = (Thread(target=lambda: got.append(kept(path, make))) for _ in range(2))
    first.start()
    assert begun.wait(20)
    second.start()
    second.join(0.5)
    assert second.is_alive() and not got
    may_end.set()
    first.join(20), second.join(20)
    assert len(made) == 1 and len(got) == 2 and all(torch.equal(each["a"], torch.arange(3.0)) for each in got)
    assert "waiting for it" in capsys.readouterr().out


def test_whoever_is_stopped_leaves_the_way_free(tmp_path):
    path = tmp_path / "thing.safetensors"

    def stopped():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept(path, stopped)
    assert torch.equal(kept(path, lambda: {"a": torch.ones(2)})["a"], torch.ones(2))


def test_what_can_not_be_kept_is_made_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "no folder").write_text("")
    with pytest.warns(UserWarning, match=r"thing.safetensors can't be kept"):
        made = kept(tmp_path / "no folder" / "thing.safetensors", lambda: {"a": torch.ones(2)})
    assert torch.equal(made["a"], torch.ones(2))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.warns(UserWarning, match="disk is full"):
        made = kept(tmp_path / "thing.safetensors", lambda: {"a": torch.ones(2)})
    assert torch.equal(made["a"], torch.ones(2)) and not list(tmp_path.glob("*.safetensors"))


def test_a_key_changes_with_files_and_settings(tmp_path):
    file = tmp_path / "code.py"
    file.write_text("a = 1")
    before = digest_of([file], 1)
    assert digest_of([file], 1) == before != digest_of([file], 2)
    file.write_text("a = 2")
    assert digest_of([file], 1) != before


def test_random_stickers_lie_where_the_real_ones_do():
    room = physical_objects.sticker_room()
    assert 0.5 < room.mean() < 0.8
    mask = rectangles(torch.rand(96, 96, generator=seeded()), room, n=3)
    plain, _ = physical_objects.signs.sign("stop")
    control = physical_objects.random_sticker(mask, generator=seeded(1))
    assert torch.equal(control[:, mask[0] == 0], plain[:, mask[0] == 0])
    assert non_printability(control)[mask[0] == 1].max() < 1e-5
    light = (control.mean(0) > 0.5)[mask[0] == 1].float().mean()
    assert 0.25 < light < 0.75


def test_a_random_label_changes_as_much_as_the_attack_did():
    plain, mask = physical_objects.bottle.label(), physical_objects.bottle.paper()
    moved = (plain + 0.1 * mask * torch.randn(plain.shape, generator=seeded())).clamp(0, 1)
    attacked = physical.Attacked(moved, mask, 0)
    control = physical_objects.random_texture(attacked, generator=seeded(1))
    assert torch.equal(control[:, mask[0] == 0], plain[:, mask[0] == 0])
    assert 0 <= control.min() and control.max() <= 1
    sizes = [((texture - plain) * mask).abs().mean().item() for texture in (moved, control)]
    assert 0.5 < sizes[1] / sizes[0] < 1.2  # what leaves the range is cut


def test_the_objects_views_are_repeatable_and_follow_the_texture():
    sign, _ = physical_objects.signs.sign("stop")
    first, second = (physical_objects.draw_stop(sign, 3, seeded(2)) for _ in range(2))
    assert torch.equal(first, second) and first.shape == (3, 3, 48, 48)
    assert not torch.equal(physical_objects.draw_stop(0 * sign, 3, seeded(2)), first)
