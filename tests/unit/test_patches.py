"""Adversarial patches: where the operator puts them, what the expectation draws, and what training promises."""

import math
import pickle

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from medattack_edu import attacks, metrics
from medattack_edu.attacks import Oracle, patches
from medattack_edu.attacks.patches import PLASTER, place, random_placements, train_patch


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=generator(seed))


# Areas as shares of the square of the patch's side.
AREAS = {"disc": math.pi / 4, "square": 1.0, "plaster": PLASTER * (1 - PLASTER) + math.pi / 4 * PLASTER**2}


def area(image_size, mask, angle, scale):
    white = place(torch.ones(3, 48, 48), torch.zeros(1, 3, image_size, image_size), angle=angle, scale=scale, mask=mask)
    return white[0, 0].sum().item()


# --- The operator -------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([64, 97, 128, 224]), st.sampled_from(list(AREAS)), st.floats(-360, 360), st.floats(0.2, 0.7))
def test_the_area_covered_is_the_nominal_one(image_size, mask, angle, scale):
    nominal = AREAS[mask] * (scale * image_size) ** 2
    assert area(image_size, mask, angle, scale) == pytest.approx(nominal, rel=0.02)


@settings(max_examples=50, deadline=None)
@given(st.integers(5, 200), st.floats(-360, 360), st.floats(0.2, 0.7))
def test_a_mask_of_ones_and_a_mask_of_a_disc_cover_what_they_should(side, angle, scale):
    black = torch.zeros(1, 3, 128, 128)
    rows = (torch.arange(side) + 0.5) / side - 0.5
    hole = (torch.hypot(rows[:, None], rows) < 0.5).float()
    for mask in (torch.ones(side, side), hole):
        white = place(torch.ones(3, 40, 40), black, angle=angle, scale=scale, mask=mask)
        assert white[0, 0].sum().item() == pytest.approx(mask.mean().item() * (scale * 128) ** 2, rel=0.02)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(list(AREAS)), st.floats(0.1, 0.9), st.floats(-90, 90))
def test_the_rest_of_the_image_is_the_same_to_the_last_bit(seed, mask, scale, angle):
    x, patch = noise(2, 3, 50, 70, seed=seed), noise(3, 16, 16, seed=seed + 1)
    before, patch_before = x.clone(), patch.clone()
    where = random_placements(2, scale=scale, angles=angle, generator=generator(seed))
    placed = place(patch, x, **where, mask=mask)
    covered = place(torch.ones(3, 16, 16), torch.zeros_like(x), **where, mask=mask) > 0
    assert torch.equal(placed[~covered], x[~covered])
    assert torch.equal(x, before) and torch.equal(patch, patch_before)
    assert placed.shape == x.shape and placed.dtype == x.dtype and placed.min() >= 0 and placed.max() <= 1


def test_patches_do_not_pile_up_over_calls():
    x = torch.zeros(1, 3, 64, 64)
    for corner in ((0.3, 0.3), (0.7, 0.7), (0.3, 0.7)):
        placed = place(torch.ones(3, 8, 8), x, location=corner, scale=0.2)
    assert placed.mean().item() == pytest.approx(math.pi / 4 * 0.04, rel=0.02)
    assert x.sum() == 0


def test_without_a_turn_the_patch_is_copied_pixel_by_pixel():
    patch, x = noise(3, 16, 16), torch.zeros(1, 3, 32, 32)
    placed = place(patch, x, scale=0.5, mask="square")
    assert torch.allclose(placed[0, :, 8:24, 8:24], patch, atol=1e-6)
    assert placed.sum().item() == pytest.approx(patch.sum().item(), rel=1e-5)


def test_a_positive_angle_turns_counter_clockwise():
    arrow = torch.zeros(3, 16, 16)
    arrow[:, 6:10, 8:] = 1  # points to the right
    x = torch.zeros(1, 3, 64, 64)
    rows, columns = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")

    def points_to(angle):
        image = place(arrow, x, angle=angle, scale=0.5, mask="square")[0, 0]
        return (image * columns).sum() / image.sum(), (image * rows).sum() / image.sum()

    for angle, (right, down) in {0: (1, 0), 90: (0, -1), 180: (-1, 0), -90: (0, 1), 30: (0.866, -0.5)}.items():
        across, below = points_to(angle)
        assert math.hypot(across, below) == pytest.approx(8, rel=0.02)
        assert (across / 8, below / 8) == (pytest.approx(right, abs=0.02), pytest.approx(down, abs=0.02))


def test_location_is_counted_from_the_top_left_in_width_and_height():
    placed = place(torch.ones(3, 8, 8), torch.zeros(1, 3, 60, 100), location=(0.25, 0.5), scale=0.3)[0, 0]
    rows, columns = torch.nonzero(placed > 0.5).double().mean(0) + 0.5
    assert (columns.item(), rows.item()) == (pytest.approx(25, abs=0.1), pytest.approx(30, abs=0.1))
    assert placed.sum().item() == pytest.approx(math.pi / 4 * 18**2, rel=0.02)  # a share of the shorter side


def test_each_image_has_its_own_placement_and_may_have_its_own_patch():
    x = noise(3, 3, 40, 40)
    where = {"location": torch.tensor([[0.3, 0.3], [0.6, 0.5], [0.5, 0.7]]), "angle": torch.tensor([0.0, 40.0, -80.0])}
    where["scale"] = torch.tensor([0.2, 0.4, 0.5])
    own = noise(3, 3, 12, 12, seed=5)
    together = place(own, x, **where, mask="plaster")
    for row in range(3):
        alone = place(
            own[row],
            x[row : row + 1],
            location=tuple(where["location"][row].tolist()),
            angle=where["angle"][row].item(),
            scale=where["scale"][row].item(),
            mask="plaster",
        )
        assert torch.allclose(together[row : row + 1], alone, atol=1e-5)


@pytest.mark.parametrize("mask", [*AREAS, "tensor"])
def test_the_gradient_to_the_patch_is_the_true_one(mask):
    mask = noise(6, 6).double() if mask == "tensor" else mask
    x, where = noise(2, 3, 20, 20).double(), random_placements(2, scale=0.6, generator=generator())
    patch = (0.2 + 0.6 * noise(3, 6, 6)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: place(p, x, **where, mask=mask), (patch,))


def test_a_patch_finer_than_the_image_is_averaged_and_not_skipped():
    checkers = ((torch.arange(128)[:, None] + torch.arange(128)) % 2).float().expand(3, -1, -1)
    placed = place(checkers, torch.zeros(1, 3, 64, 64), scale=0.25, mask="square")[0, 0, 25:39, 25:39]
    assert (placed - 0.5).abs().max() < 0.1


def test_images_keep_their_precision():
    x = noise(1, 3, 16, 16).double()
    assert place(noise(3, 4, 4), x).dtype == torch.float64


def test_an_empty_batch_stays_empty():
    assert place(noise(3, 4, 4), torch.zeros(0, 3, 16, 16)).shape == (0, 3, 16, 16)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"scale": 1.2}, "larger than the image"),
        ({"scale": 0}, "more than 0"),
        ({"scale": torch.tensor([0.4, -0.1])}, "more than 0"),
        ({"scale": torch.tensor([0.4, 0.4, 0.4])}, "one for each image"),
        ({"scale": "big"}, "scale must be"),
        ({"location": (1.2, 0.5)}, r"\(1.2, 0.5\) lies outside"),
        ({"location": (30, 40)}, "Pixels divided by width and height"),
        ({"location": (0.5, 0.5, 0.5)}, "location must be"),
        ({"location": (math.nan, 0.5)}, "lies outside"),
        ({"angle": math.inf}, "finite"),
        ({"mask": "star"}, "'star'.*'disc'"),
        ({"mask": torch.ones(3, 4, 4)}, r"\(3, 4, 4\)"),
        ({"mask": 2 * torch.ones(4, 4)}, "leaves that range"),
        ({"patch": torch.ones(4, 4)}, "must have the shape"),
        ({"patch": torch.ones(1, 4, 4)}, "must have the shape"),
        ({"patch": torch.ones(5, 3, 4, 4)}, "must have the shape"),
        ({"patch": 2 * torch.ones(3, 4, 4)}, "from 2.00 to 2.00"),
        ({"patch": torch.full((3, 4, 4), math.nan)}, "nan"),
        ({"patch": torch.ones(3, 4, 4, dtype=torch.uint8)}, "torch.uint8"),
        ({"patch": [1, 2]}, "got list"),
        ({"patch": patches.TrainedPatch(torch.ones(3, 4, 4), 0, "disc")}, "Take its .patch"),
        ({"x": torch.ones(3, 16, 16)}, "x\\[None\\]"),
        ({"x": 255 * torch.ones(2, 3, 16, 16)}, "Divide by 255"),
    ],
)
def test_bad_placements_are_named(changes, words):
    arguments = {"patch": torch.ones(3, 4, 4), "x": torch.zeros(2, 3, 16, 16)} | changes
    with pytest.raises(ValueError, match=words):
        place(**arguments)


# --- Drawing placements -------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(list(AREAS)), st.floats(0.1, 0.65), st.floats(0, 180))
def test_random_placements_lie_wholly_inside(seed, mask, scale, angles):
    where = random_placements(4, scale=scale, angles=angles, mask=mask, generator=generator(seed))
    white = place(torch.ones(3, 8, 8), torch.zeros(4, 3, 96, 128), **where, mask=mask)
    assert torch.allclose(white[:, 0].sum((1, 2)), torch.tensor(AREAS[mask] * (scale * 96) ** 2), rtol=0.02)
    assert (where["angle"].abs() <= angles).all() and torch.allclose(where["scale"], torch.tensor(scale))


def test_random_placements_are_spread_evenly_and_repeated_by_their_generator():
    where = random_placements(4000, scale=(0.2, 0.6), angles=30, generator=generator(1))
    again = random_placements(4000, scale=(0.2, 0.6), angles=30, generator=generator(1))
    assert all(torch.equal(where[name], again[name]) for name in where)
    assert where["angle"].mean().abs() < 1.5 and where["angle"].std().item() == pytest.approx(30 / 3**0.5, rel=0.05)
    assert where["scale"].mean().item() == pytest.approx(0.4, abs=0.01)
    assert where["location"].mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    small = where["scale"] < 0.25
    assert where["location"][small].min() < 0.15 and where["location"][small].max() > 0.85


def test_angles_may_be_a_pair_and_a_patch_too_large_for_its_turn_stands_in_the_middle():
    assert random_placements(100, angles=(40, 50))["angle"].min() >= 40
    where = random_placements(5, scale=0.9, angles=(45, 45), mask="square")
    assert torch.equal(where["location"], torch.full((5, 2), 0.5))
    with pytest.raises(ValueError, match="scale=1.5"):
        random_placements(3, scale=1.5)


# --- Training -----------------------------------------------------------------------------------------------------------

QUICK = {"batch": 8, "size": 12, "progress": False}


@pytest.fixture(scope="module")
def batch():
    return tiny.images(16, seed=3)


@pytest.fixture(scope="module")
def trained(batch):
    x, y = batch
    return train_patch(tiny.model(), x[y == 0], 1, steps=60, generator=generator(), **QUICK)


def share_answered(patch, x, target):
    placed = place(patch, x, **random_placements(len(x), generator=generator(9)))
    return (tiny.model()(placed).argmax(1) == target).double().mean()


def test_a_trained_patch_brings_unseen_images_to_its_class_where_a_grey_one_does_not(trained):
    x, y = tiny.images(40, seed=11)
    x = x[y == 0]
    assert share_answered(trained.patch, x, 1) >= 0.9
    assert share_answered(torch.full((3, 12, 12), 0.5), x, 1) <= 0.5
    assert trained.history[-1] > trained.history[0] and trained.steps == len(trained.history) == 60
    assert trained.patch.min() >= 0 and trained.patch.max() <= 1 and not trained.patch.requires_grad


def test_a_training_resumed_is_the_same_as_one_never_stopped(batch, trained):
    x, y = batch
    for shared in (generator(), None):
        one = train_patch(tiny.model(), x[y == 0], 1, steps=25, generator=shared, **QUICK)
        two = train_patch(tiny.model(), x[y == 0], 1, steps=35, start=one, generator=shared, **QUICK)
        whole = train_patch(
            tiny.model(), x[y == 0], 1, steps=60, generator=None if shared is None else generator(), **QUICK
        )
        assert torch.equal(two.patch, whole.patch) and two.history == whole.history and two.steps == 60
        assert one.steps == 25  # the start is left as it was


def test_training_is_repeated_by_its_generator_and_leaves_everything_else_alone(batch, trained):
    x, y = batch
    model = tiny.model()
    before, weights = torch.get_rng_state(), {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [None if parameter.grad is None else parameter.grad.clone() for parameter in model.parameters()]
    images = x[y == 0].clone()
    start = torch.full((3, 12, 12), 0.5)
    again = train_patch(model, images, 1, steps=60, generator=generator(), start=start, **QUICK)
    assert torch.equal(again.patch, trained.patch)
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(images, x[y == 0])
    assert torch.equal(start, torch.full((3, 12, 12), 0.5)) and not start.requires_grad
    assert not model.training and all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is gradient is None or torch.equal(parameter.grad, gradient)


def test_the_history_is_the_log_probability_and_both_objectives_climb_it(batch):
    x, y = batch
    log = train_patch(tiny.model(), x[y == 0], 1, steps=30, generator=generator(), **QUICK)
    plain = train_patch(tiny.model(), x[y == 0], 1, steps=30, objective="probability", generator=generator(), **QUICK)
    assert log.history[0] == plain.history[0] <= 0
    assert log.history[-1] > log.history[0] and plain.history[-1] > plain.history[0]
    assert not torch.equal(log.patch, plain.patch)


def test_images_may_come_from_a_supply_and_an_ensemble_is_the_mean_of_its_log_probabilities(batch):
    x, y = batch
    asked = []

    def supply(n, draws):
        asked.append(n)
        return x[torch.randint(len(x), (n,), generator=draws)]

    double = train_patch([tiny.model(), tiny.model()], supply, 1, steps=5, generator=generator(), **QUICK)
    single = train_patch(tiny.model(), x, 1, steps=5, generator=generator(), **QUICK)
    assert asked[-5:] == [8] * 5
    assert torch.allclose(double.patch, single.patch, atol=1e-4)


def test_camera_and_printer_can_be_trained_for(batch):
    x, y = batch
    options = {"light": 0.1, "contrast": 0.2, "blur": 1.0, "perspective": 0.3, "printable": True, "scale": (0.3, 0.6)}
    one = train_patch(tiny.model(), x[y == 0], 1, steps=20, mask="square", generator=generator(), **options, **QUICK)
    two = train_patch(tiny.model(), x[y == 0], 1, steps=20, mask="square", generator=generator(), **options, **QUICK)
    assert one.history[-1] > one.history[0] and torch.equal(one.patch, two.patch)


def test_ctrl_c_keeps_the_patch_so_far(batch):
    x, y = batch
    model, calls = tiny.model(), []

    class Interrupted(nn.Module):
        def forward(self, images):
            calls.append(len(images))
            if len(calls) == 12:
                raise KeyboardInterrupt
            return model(images)

    stopped = train_patch(Interrupted().eval(), x[y == 0], 1, steps=60, generator=generator(), **QUICK)
    assert stopped.interrupted and stopped.steps == len(stopped.history) == 10  # one call was the check's
    whole = train_patch(model, x[y == 0], 1, steps=10, generator=generator(), **QUICK)
    assert torch.equal(stopped.patch, whole.patch)


class Answers(nn.Module):
    """A model that answers every image with the same logits."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = torch.tensor(logits)
        self.eval()

    def forward(self, x):
        return self.logits.expand(len(x), -1) + 0 * x.mean((1, 2, 3))[:, None]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"target": 2}, "target=2 is not a class.*0 to 1"),
        ({"target": -1}, "target=-1 is not a class"),
        ({"target": 0.5}, "target=0.5 is not a class"),
        ({"target": "toaster"}, "target='toaster' is not a class"),
        ({"model": Oracle(Answers(0.0, 5.0))}, "needs a gradient, and an Oracle only answers"),
        ({"model": Answers(math.nan, 0.0)}, "NaN"),
        ({"model": Answers(0.3, 0.7)}, "probabilities"),
        ({"model": Answers(0.0, 5.0).train()}, "training mode"),
        ({"model": []}, "a model or more"),
        ({"images": torch.zeros(0, 3, 16, 16)}, "no images"),
        ({"images": torch.zeros(2, 3, 16, 16) - 1}, "Models in this course take pixels in"),
        ({"steps": -1}, "steps=-1"),
        ({"batch": 0}, "batch=0"),
        ({"scale": 1.1}, "scale=1.1"),
        ({"scale": 0.0}, "scale=0.0"),
        ({"mask": "star"}, "'star'"),
        ({"objective": "logits"}, "objective='logits'"),
        ({"blur": -1}, "blur=-1"),
        ({"perspective": 3}, "perspective=3"),
        ({"start": torch.zeros(1, 8, 8)}, "must have the shape"),
        ({"start": patches.TrainedPatch(torch.zeros(3, 8, 8), 0, "disc")}, "a patch for class 0"),
        ({"start": patches.TrainedPatch(torch.zeros(3, 8, 8), 1, "square")}, "another shape than mask says"),
    ],
)
def test_bad_trainings_are_named(changes, words):
    arguments = {"model": tiny.model(), "images": torch.zeros(2, 3, 16, 16), "target": 1, "steps": 2} | changes
    with pytest.raises(ValueError, match=words):
        train_patch(
            arguments.pop("model"), arguments.pop("images"), arguments.pop("target"), **arguments, progress=False
        )


# --- Printer and camera -------------------------------------------------------------------------------------------------


def test_print_is_paler_than_the_screen_and_keeps_grey_grey():
    black, white, red = (
        torch.zeros(3, 2, 2),
        torch.ones(3, 2, 2),
        torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 2, 2),
    )
    assert patches.printed(black).unique().item() == pytest.approx(patches.INK_TO_PAPER[0])
    assert patches.printed(white).unique().item() == pytest.approx(patches.INK_TO_PAPER[1])
    assert 0 < patches.printed(red).min() < patches.printed(red).max() < 0.95


def test_defocus_keeps_the_brightness_and_spreads_a_point_by_its_sigma():
    x = torch.zeros(2, 3, 41, 41)
    x[:, :, 20, 20] = 1
    blurred = patches.defocused(x, torch.tensor([0.0, 2.0]))
    assert torch.allclose(blurred[0], x[0], atol=1e-6)
    assert torch.allclose(blurred.sum((2, 3)), torch.ones(2, 3), atol=1e-4)
    offsets = torch.arange(41) - 20.0
    assert (blurred[1, 0].sum(0) * offsets**2).sum().sqrt().item() == pytest.approx(2, rel=0.03)


def test_tilt_makes_the_near_side_larger_and_none_changes_nothing():
    x = noise(2, 3, 32, 32)
    zero = torch.zeros(2)
    assert torch.allclose(patches.tilted(x, zero, zero), x, atol=1e-5)
    dots = torch.zeros(1, 3, 64, 64)
    dots[:, :, 28:36, 8:16] = dots[:, :, 28:36, 48:56] = 1
    seen = patches.tilted(dots, torch.tensor([0.5]), torch.tensor([0.0]))[0, 0]
    near, far = (part.sum(0).count_nonzero() for part in (seen[:, 32:], seen[:, :32]))
    assert seen[:, 32:].sum() > 1.5 * seen[:, :32].sum() and near > far


def test_a_camera_that_does_nothing_returns_the_same_and_all_of_it_lets_the_gradient_through():
    x = noise(3, 3, 24, 24).requires_grad_()
    assert patches.through_camera(x) is x
    seen = patches.through_camera(x, 0.1, 0.2, 1.0, 0.3, generator())
    seen.sum().backward()
    assert seen.min() >= 0 and seen.max() <= 1 and x.grad.abs().sum() > 0


def test_the_names_are_reached_through_attacks():
    assert (
        attacks.place is place and attacks.train_patch is train_patch and attacks.random_placements is random_placements
    )


# --- How well a patch does ----------------------------------------------------------------------------------------------


class Bright(nn.Module):
    """Answers class 1 where the image is brighter than half on average."""

    def forward(self, x):
        brightness = 100 * (x.mean((1, 2, 3)) - 0.5)
        return torch.stack((-brightness, brightness), 1)


def test_the_success_of_a_patch_for_no_class_is_no_number():
    with pytest.raises(ValueError, match="target=7 is not a class"):
        metrics.patch_success(tiny.model(), torch.rand(2, 3, 32, 32), torch.ones(3, 8, 8), 7)


def test_patch_success_is_the_share_of_placements_over_images_that_were_not_the_target_before():
    x = torch.stack([torch.full((3, 32, 32), level) for level in (0.9, 0.45, 0.45, 0.0)])
    success = metrics.patch_success(Bright().eval(), x, torch.ones(3, 8, 8), 1, scale=0.6, placements=3)
    assert success == pytest.approx(2 / 3) and success.n == 3
    assert success.by_image[1:].tolist() == [1, 1, 0] and success.by_image[0].isnan()
    expected = metrics.proportion(2, 3)
    assert (success.low, success.high) == (expected.low, expected.high)
    assert success.by_class[0] == success == success.after_saving and list(success.by_class) == [0]


def test_more_placements_on_the_same_images_do_not_narrow_the_interval(trained):
    x, y = tiny.images(20, seed=12)
    widths = []
    for placements in (2, 16):
        success = metrics.patch_success(
            tiny.model(), x[y == 0], trained.patch, 1, scale=0.3, placements=placements, generator=generator()
        )
        assert success.n <= 10
        widths.append(success.high - success.low)
    assert widths[1] > 0.8 * widths[0]


def test_patch_success_takes_an_angle_a_patch_for_each_image_and_repeats(trained):
    x, y = tiny.images(12, seed=13)
    options = {"angle": 15.0, "placements": 4, "scale": 0.35}
    one, two = (
        metrics.patch_success(tiny.model(), x, trained.patch, 1, generator=generator(), **options) for _ in range(2)
    )
    each = metrics.patch_success(
        tiny.model(), x, trained.patch.expand(12, -1, -1, -1), 1, generator=generator(), **options
    )
    assert one == two == each and torch.equal(one.by_image.nan_to_num(2), each.by_image.nan_to_num(2))
    again = pickle.loads(pickle.dumps(one))
    assert again == one and torch.equal(again.by_image.nan_to_num(2), one.by_image.nan_to_num(2))


def test_patch_success_over_no_images_is_not_defined():
    success = metrics.patch_success(Bright().eval(), torch.ones(2, 3, 16, 16), torch.ones(3, 4, 4), 1)
    assert math.isnan(success) and success.n == 0
    with pytest.raises(ValueError, match="placements=0"):
        metrics.patch_success(Bright().eval(), torch.ones(2, 3, 16, 16), torch.ones(3, 4, 4), 1, placements=0)
