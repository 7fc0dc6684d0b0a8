"""Attacks by queries: right estimates, within eps and budget, blind to the model, and clear about bad input."""

import itertools
import multiprocessing

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from medattack_edu import attacks, metrics
from medattack_edu.attacks import Oracle, queries
from medattack_edu.attacks.gradient import input_gradient

EPS = 16 / 255
BY_NUMBERS = {"nes_attack": attacks.nes_attack, "square_attack": attacks.square_attack}
BY_LABEL = {"label_only_attack": attacks.label_only_attack, "hop_skip_jump": attacks.hop_skip_jump}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def fragile_model():
    """A smooth model of small images whose answers a little change turns."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.Tanh(), nn.Linear(16, 2))
        nn.init.normal_(net[1].weight, std=0.6)
        nn.init.zeros_(net[3].bias)
        with torch.no_grad():
            net[1].bias.copy_(-0.5 * net[1].weight.sum(1))  # a grey image lies on the border
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def batch():
    """A model, images (8, 3, 8, 8) that it answers with y, and y; four of each class."""
    model = fragile_model()
    x = torch.rand(200, 3, 8, 8, generator=generator(1))
    y = model(x).argmax(1)
    rows = torch.cat([torch.nonzero(y == label).flatten()[:4] for label in (0, 1)])
    return model, x[rows], y[rows]


def start_for(x, y):
    """For each image one of the other class."""
    return torch.stack([x[y != label][0] for label in y.tolist()])


def run(name, oracle, x, y, **options):
    """Any of the attacks, with what it needs."""
    options = {"eps": EPS, "generator": generator()} | options
    if name in BY_LABEL:
        return BY_LABEL[name](
            oracle, x, y, options.pop("start", None) if "start" in options else start_for(x, y), **options
        )
    return BY_NUMBERS[name](oracle, x, y, **options)


def oracle_for(name, model, **rules):
    return Oracle(model, "label" if name in BY_LABEL else "probabilities", **rules)


every_attack = pytest.mark.parametrize("name", [*BY_NUMBERS, *BY_LABEL])


# --- The estimate ------------------------------------------------------------------------------------------------------


def test_the_estimate_points_along_the_true_gradient_the_better_the_more_it_asks(batch):
    model, x, y = batch
    truth, _ = input_gradient(model, x, y)
    score = queries.score_of(Oracle(model, "logits"), y, None, torch.arange(8), torch.arange(8))

    def cosine(samples):
        estimate = attacks.nes_gradient(score, x, samples=samples, generator=generator())
        return torch.cosine_similarity(estimate.flatten(1), truth.flatten(1)).mean().item()

    few, some, many = cosine(8), cosine(64), cosine(2048)
    assert 0.05 < few < some < many and many > 0.9
    # A random subspace of m directions out of d holds about sqrt(m / d) of a vector: here m = 32 pairs, d = 192.
    assert some == pytest.approx((32 / (192 + 32)) ** 0.5, abs=0.1)


def test_on_a_linear_score_the_antithetic_estimate_is_the_projection_itself():
    """(score(x + s u) - score(x - s u)) / 2s is exactly <w, u> there, whatever s and the score at x."""
    x = torch.full((1, 1, 4, 4), 0.5)
    w = torch.randn(16, generator=generator(5))
    estimate = attacks.nes_gradient(lambda p: 1e3 + p.flatten(1) @ w, x, samples=2, sigma=0.01, generator=generator(6))
    u = queries.directions(1, x, None, generator(6))[0].flatten(1)
    assert torch.allclose(estimate.flatten(1), (u @ w)[:, None] * u, rtol=0.05)


def test_a_chunked_estimate_is_the_same_as_a_whole_one(batch, monkeypatch):
    model, x, y = batch
    score = queries.score_of(Oracle(model), y, None, torch.arange(8), torch.arange(8))

    def estimate(chunk):
        monkeypatch.setattr(queries, "CHUNK", chunk)
        return attacks.nes_gradient(score, x, samples=12, generator=generator())

    assert torch.allclose(estimate(1), estimate(10**6), rtol=1e-3, atol=1e-4)


def test_directions_on_a_grid_move_neighbours_together():
    u = queries.directions(3, torch.zeros(2, 3, 8, 8), 2, generator())
    assert u.shape == (3, 2, 3, 8, 8)
    assert torch.equal(u[..., :4, :4], u[..., :1, :1].expand(3, 2, 3, 4, 4))
    assert len(u[0, 0, 0].unique()) == 4


@pytest.mark.parametrize("samples", [0, 1, 7, -2])
def test_samples_come_in_pairs(samples):
    with pytest.raises(ValueError, match=f"samples={samples}: antithetic directions come in pairs"):
        attacks.nes_gradient(lambda p: p.sum((1, 2, 3)), torch.rand(1, 3, 4, 4), samples=samples)


# --- The margin --------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-30, 30), min_size=3, max_size=3), st.integers(0, 2))
def test_the_margin_is_positive_exactly_when_the_answer_is_wrong(row, label):
    logits, y = torch.tensor([row]), torch.tensor([label])
    others = torch.cat([logits[0, :label], logits[0, label + 1 :]])
    far = queries.margin(logits, "logits", y)
    assert far.item() == pytest.approx((others.max() - logits[0, label]).item(), abs=1e-4)
    assert queries.margin(logits, "logits", y, target=y).item() == pytest.approx(-far.item(), abs=1e-4)


def test_a_margin_from_probabilities_still_sees_a_slope_where_the_probability_rounds_to_one():
    sure = torch.tensor([[40.0, 0.0], [39.0, 0.0]]).softmax(1)
    assert sure[0, 0] == sure[1, 0] == 1
    far = queries.margin(sure, "probabilities", torch.tensor([0, 0]))
    assert far[1] - far[0] == pytest.approx(1, abs=1e-3)


# --- What every attack keeps to -----------------------------------------------------------------------------------------


@every_attack
def test_an_attack_fools_what_random_noise_does_not(batch, name):
    model, x, y = batch
    x_adv = run(name, oracle_for(name, model), x, y, queries=3000)
    success = metrics.attack_success(model, x, x_adv, y)
    noise = metrics.attack_success(model, x, attacks.random_noise(x, eps=EPS, generator=generator()), y)
    assert success >= 7 / 8 and noise <= 2 / 8


@every_attack
def test_an_attack_stays_within_eps_and_pixel_range_and_leaves_its_inputs_alone(batch, name):
    model, x, y = batch
    before = x.clone()
    x_adv = run(name, oracle_for(name, model), x, y, queries=300, eps=3 / 255)
    assert (x_adv - x).abs().max() <= 3 / 255 + 1e-6
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    assert torch.equal(x, before) and x_adv.dtype == x.dtype and not x_adv.requires_grad


@every_attack
@pytest.mark.parametrize("limit", [1, 2, 37, 150])
def test_nobody_is_asked_about_more_often_than_allowed(batch, name, limit):
    model, x, y = batch
    own, theirs = oracle_for(name, model), oracle_for(name, model, budget=limit)
    run(name, own, x, y, queries=limit, eps=0.1 / 255)
    run(name, theirs, x, y, queries=10**6, eps=0.1 / 255)
    for oracle in (own, theirs):
        assert oracle.spent(range(8)).max() <= limit
        assert oracle.total > 0


@every_attack
def test_an_image_that_is_wrong_already_costs_one_question_and_stays_as_it_is(batch, name):
    model, x, y = batch
    oracle = oracle_for(name, model)
    x_adv = run(name, oracle, x, 1 - y, queries=500)
    assert torch.equal(x_adv, x)
    assert oracle.spent(range(8)).tolist() == [1] * 8


@every_attack
def test_questions_are_counted_under_the_callers_ids(batch, name):
    model, x, y = batch
    oracle = oracle_for(name, model)
    run(name, oracle, x, y, queries=40, ids=range(100, 108), eps=0.1 / 255)
    assert set(oracle.asked) == set(range(100, 108))


@every_attack
def test_the_same_generator_gives_the_same_images(batch, name):
    model, x, y = batch
    one, other = (run(name, oracle_for(name, model), x, y, queries=120) for _ in range(2))
    assert torch.equal(one, other)


@every_attack
@pytest.mark.parametrize("n", [0, 1])
def test_a_batch_of_none_and_of_one_work(batch, name, n):
    model, x, y = batch
    start = start_for(x, y)[:n]
    options = {"start": start} if name in BY_LABEL else {}
    assert run(name, oracle_for(name, model), x[:n], y[:n], queries=60, **options).shape == x[:n].shape


@every_attack
def test_a_locked_patient_is_left_alone_and_the_others_are_still_attacked(batch, name):
    model, x, y = batch
    oracle = oracle_for(name, model, repeats=10**6, near=1)
    oracle.locked.update({0, 5})
    x_adv = run(name, oracle, x, y, queries=2000)
    assert torch.equal(x_adv[[0, 5]], x[[0, 5]]) and oracle.spent([0, 5]).sum() == 0
    turned = model(x_adv).argmax(1) != y
    assert turned.sum() >= 5


@every_attack
def test_an_oracle_that_locks_who_repeats_stops_the_attack_without_an_error(batch, name):
    model, x, y = batch
    oracle = oracle_for(name, model, repeats=5, near=1)
    x_adv = run(name, oracle, x, y, queries=2000, eps=0.5 / 255)
    assert x_adv.shape == x.shape and len(oracle.locked) >= 4
    assert oracle.spent(range(8)).max() <= 7


def test_nes_and_square_reach_a_target(batch):
    model, x, y = batch
    for name in BY_NUMBERS:
        x_adv = run(name, Oracle(model), x, y, target=1 - y, queries=3000)
        assert (model(x_adv).argmax(1) == 1 - y).float().mean() >= 7 / 8


def test_every_step_can_be_watched(batch):
    model, x, y = batch
    seen = []
    x_adv = attacks.nes_attack(
        Oracle(model), x, y, eps=EPS, queries=200, generator=generator(), on_step=lambda *step: seen.append(step)
    )
    images, rows, estimate = seen[0]
    assert images.shape == x.shape and estimate.shape == (len(rows), 3, 8, 8)
    assert torch.equal(seen[-1][0], x_adv)


def test_an_attack_by_label_keeps_the_clean_image_where_its_start_is_no_use(batch):
    model, x, y = batch
    start = start_for(x, y)
    start[2] = x[2]
    for name in BY_LABEL:
        x_adv = run(name, Oracle(model, "label"), x, y, start=start, queries=3000)
        assert torch.equal(x_adv[2], x[2])
        assert (model(x_adv).argmax(1) != y).sum() >= 6


def test_the_square_starts_with_stripes_and_its_squares_shrink():
    x = torch.full((2, 3, 128, 128), 0.5)
    first = queries.stripes(x, torch.full((2, 1, 1, 1), EPS), generator())
    assert torch.equal(first, first[:, :, :1].expand_as(first)) and ((first - x).abs() - EPS).abs().max() < 1e-6
    sides = [queries.side_of(done, 0.05, x) for done in (0, 0.01, 0.3, 0.99)]
    assert sides == sorted(sides, reverse=True) and sides[0] == round((0.05 * 128 * 128) ** 0.5) and sides[-1] >= 1
    moved = queries.with_square(x, x, torch.full((2, 1, 1, 1), EPS), torch.arange(2), 20, generator()) - x
    assert ((moved.abs().amax(1) > 0).flatten(1).sum(1) == 400).all()


# --- Blind to the model -------------------------------------------------------------------------------------------------


def _serve(pipe):
    """Another process: it alone holds the model."""
    torch.set_num_threads(1)
    model = fragile_model()
    while (x := pipe.recv()) is not None:
        pipe.send(model(torch.from_numpy(x)).numpy())


@pytest.fixture(scope="module")
def far_away():
    """A function that sends images to another process and returns the logits that come back."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,), daemon=True)
    process.start()

    def ask(x):
        here.send(x.numpy())
        return torch.from_numpy(here.recv())

    yield ask
    here.send(None)
    process.join(20)


@every_attack
def test_an_attack_needs_nothing_but_answers_which_may_come_from_another_process(batch, far_away, name):
    model, x, y = batch
    near = run(name, oracle_for(name, model), x, y, queries=600)
    far = run(name, oracle_for(name, far_away), x, y, queries=600)
    assert torch.allclose(near, far, atol=1e-6)
    assert (model(far).argmax(1) != y).any()


@pytest.mark.parametrize("patience, last", [(5, EPS / 16), (None, EPS / 2)])
def test_an_image_that_gets_no_further_takes_shorter_steps_down_to_an_eighth(patience, last):
    """The model has a slope, but moves away from the attacker with every question."""
    asked = itertools.count(1)

    def model(images):
        margins = images.mean((1, 2, 3)) - 10.0 * next(asked)
        return torch.stack([torch.zeros_like(margins), margins], 1)

    seen = [torch.full((1, 3, 8, 8), 0.5)]
    note = lambda x_adv, rows, estimate: seen.append(x_adv.clone())  # noqa: E731
    options = {"samples": 10, "momentum": 0.0, "queries": 11 * 40, "patience": patience, "on_step": note}
    run("nes_attack", Oracle(model, "logits"), seen[0], torch.tensor([0]), **options)
    lengths = [(after - before).abs().max().item() for before, after in itertools.pairwise(seen)]
    assert lengths[0] == pytest.approx(EPS / 2, abs=1e-6) and lengths[-1] == pytest.approx(last, abs=1e-6)


@pytest.mark.parametrize("name", BY_LABEL)
def test_where_every_noisy_copy_holds_the_walk_goes_on_all_the_same(name):
    """At the border of bright and dim grey pictures any noise keeps the wanted label, so no direction is told from another."""

    def model(images):
        rough = (images[..., 1:] - images[..., :-1]).abs().mean((1, 2, 3)) > 1e-4
        wanted = (rough | (images.mean((1, 2, 3)) > 0.7)).float()
        return torch.stack([1 - wanted, wanted], 1)

    grey, bright = torch.full((1, 3, 16, 16), 0.5), torch.full((1, 3, 16, 16), 0.9)
    x_adv = run(name, Oracle(model, "label"), grey, torch.tensor([0]), start=bright, eps=8 / 255, queries=1000)
    assert model(x_adv).argmax(1).item() == 1 and (x_adv - grey).abs().max() <= 8 / 255 + 1e-6


# --- Bad input ----------------------------------------------------------------------------------------------------------


@every_attack
def test_a_plain_model_in_place_of_an_oracle_is_named(batch, name):
    model, x, y = batch
    with pytest.raises(ValueError, match=r"takes an Oracle; got Sequential. attacks.Oracle\(model"):
        run(name, model, x, y)


@pytest.mark.parametrize("name", BY_NUMBERS)
def test_labels_are_too_little_for_an_attack_by_numbers(batch, name):
    model, x, y = batch
    with pytest.raises(
        ValueError, match="needs an oracle that reveals probabilities or logits; this one reveals label"
    ):
        run(name, Oracle(model, "label"), x, y)


@every_attack
def test_an_oracle_without_budget_left_is_named(batch, name):
    model, x, y = batch
    oracle = oracle_for(name, model, budget=1)
    oracle(x)
    with pytest.raises(ValueError, match="no query left for any of these 8 patients"):
        run(name, oracle, x, y)


@every_attack
def test_a_model_that_answers_nan_is_named(batch, name):
    _, x, y = batch
    with pytest.raises(ValueError, match="NaN"):
        run(name, oracle_for(name, lambda images: torch.full((len(images), 2), float("nan"))), x, y)


@every_attack
@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"eps": 8}, "larger than the whole pixel range"),
        ({"eps": -1 / 255}, "0 or more"),
        ({"ids": [1, 2]}, "one whole number for each of the 8 images"),
        ({"ids": [1] * 8}, "same id"),
    ],
)
def test_bad_options_are_named(batch, name, wrong, words):
    model, x, y = batch
    with pytest.raises(ValueError, match=words):
        run(name, oracle_for(name, model), x, y, **wrong)


@every_attack
def test_bad_images_and_labels_are_named(batch, name):
    model, x, y = batch
    with pytest.raises(ValueError, match="looks normalised"):
        run(name, oracle_for(name, model), x * 6 - 2, y)
    with pytest.raises(ValueError, match="int64"):
        run(name, oracle_for(name, model), x, y.float())


def test_a_start_of_another_shape_and_votes_that_cannot_be_counted_are_named(batch):
    model, x, y = batch
    for name in BY_LABEL:
        with pytest.raises(ValueError, match="start must hold one image for each of x"):
            run(name, Oracle(model, "label"), x, y, start=x[:2])
    with pytest.raises(ValueError, match="samples=3, votes=2"):
        attacks.label_only_attack(Oracle(model, "label"), x, y, start_for(x, y), eps=EPS, samples=3)
    with pytest.raises(ValueError, match="patience=0"):
        attacks.nes_attack(Oracle(model), x, y, eps=EPS, patience=0)
    with pytest.raises(ValueError, match="area=0"):
        attacks.square_attack(Oracle(model), x, y, eps=EPS, area=0)
