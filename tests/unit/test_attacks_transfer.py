"""Attacks that transfer: ensembles, diverse inputs, and the matrix of who deceives whom."""

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medattack_edu import attacks, metrics, runtime, show
from medattack_edu.attacks.transfer import DiverseInputs, Ensemble
from medattack_edu.models.small_cnn import SmallCNN

EPS = 8 / 255


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def cousin(seed):
    """A model like `tiny.model`, trained on other images from another start."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = SmallCNN(width=8)
        optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
        for step in range(60):
            x, y = tiny.images(32, seed=10_000 * seed + step)
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net.train()(x), y).backward()
            optimiser.step()
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def cousins():
    return [cousin(1), cousin(2)]


@pytest.fixture(scope="module")
def batch():
    x, y = tiny.images(24, seed=77)
    return x, y


def test_an_ensemble_answers_with_the_mean_of_its_models(batch, cousins):
    x, _ = batch
    assert torch.allclose(Ensemble(cousins)(x), (cousins[0](x) + cousins[1](x)) / 2, atol=1e-6)
    assert not Ensemble(cousins).training


def test_an_attack_on_surrogates_deceives_a_model_that_nobody_asked(batch, cousins):
    x, y = batch
    success = metrics.attack_success(
        tiny.model(), x, attacks.transfer_attack(cousins, x, y, eps=EPS, generator=generator()), y
    )
    noise = metrics.attack_success(tiny.model(), x, attacks.random_noise(x, eps=EPS, generator=generator()), y)
    assert success > noise + 0.3


@pytest.mark.parametrize("momentum, diversity", [(0, 0), (1, 0), (0, 1), (1, 0.5)])
def test_it_stays_within_eps_and_pixel_range_and_is_repeated_by_its_generator(batch, cousins, momentum, diversity):
    x, y = batch
    before = x.clone()
    one, other = (
        attacks.transfer_attack(
            cousins, x, y, eps=EPS, steps=4, momentum=momentum, diversity=diversity, generator=generator(3)
        )
        for _ in range(2)
    )
    assert torch.equal(one, other) and torch.equal(x, before)
    assert (one - x).abs().max() <= EPS + 1e-6 and one.min() >= 0 and one.max() <= 1


def test_without_its_options_it_is_plain_pgd_on_one_surrogate(batch, cousins):
    x, y = batch
    plain = attacks.pgd(cousins[0], x, y, eps=EPS, steps=5, generator=generator())
    ours = attacks.transfer_attack(cousins[0], x, y, eps=EPS, steps=5, momentum=0, diversity=0, generator=generator())
    assert torch.equal(ours, plain)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(8, 40), st.integers(8, 40))
def test_diverse_inputs_keep_shape_and_range_and_lie_on_black(seed, height, width):
    x = torch.full((2, 3, height, width), 0.7)
    seen = DiverseInputs(torch.nn.Identity(), 1.0, generator(seed))(x)
    assert seen.shape == x.shape and seen.min() >= 0 and seen.max() <= 0.7 + 1e-6
    covered = (seen[:, 0] > 0).float().mean((1, 2))
    assert (covered >= (0.85 - 1 / min(height, width)) ** 2).all()
    assert ((seen - 0.7).abs() < 1e-4).float().mean() > 0.5  # shrunk and shifted, and no darker


def test_diverse_inputs_are_as_frequent_as_asked_for_and_each_image_has_its_own(batch):
    x, _ = batch
    model = DiverseInputs(torch.nn.Identity(), 0.5, generator())
    changed = torch.stack([(model(x) != x).flatten(1).any(1) for _ in range(20)])
    assert 0.4 < changed.float().mean() < 0.6
    assert not changed.all(1).any() and changed.any(1).all()  # never all of a batch alike
    assert torch.equal(DiverseInputs(torch.nn.Identity(), 0.0, generator())(x), x)


def test_diverse_inputs_are_the_same_where_images_take_turns(batch, cousins, monkeypatch):
    x, y = batch

    def attacked():
        runtime._free_lately.cache_clear()
        return attacks.transfer_attack(cousins, x, y, eps=EPS, steps=3, generator=generator(3))

    together = attacked()
    monkeypatch.setattr(runtime, "memory", lambda: (2 * 250 * 3 * x[0].numel() * 4, 1e9, False))
    in_turns = attacked()
    runtime._free_lately.cache_clear()
    assert ((together - in_turns).abs() > 1e-6).float().mean() < 1e-3  # a gradient near 0 may flip its sign


def test_an_image_that_is_shrunk_lies_where_it_was_put():
    x = torch.zeros(1, 1, 40, 40)
    x[..., 10:30, 10:30] = 1
    seen = torch.cat([DiverseInputs(torch.nn.Identity(), 1.0, generator(seed))(x) for seed in range(30)])
    assert (seen.sum((1, 2, 3)) <= 400.5).all() and (seen.sum((1, 2, 3)) >= 0.85**2 * 400 - 20).all()
    places = torch.nonzero(seen[:, 0] > 0.5).float()
    middle = torch.stack([places[places[:, 0] == k, 1:].mean(0) for k in range(30)])
    assert middle.std(0).min() > 0.3 and ((middle - 19.5).abs() <= 0.15 * 20 + 0.5).all()


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Ensemble([]), "needs a model or more"),
        (lambda: Ensemble([SmallCNN().train()]), "training mode"),
        (lambda: DiverseInputs(torch.nn.Identity(), 1.5), "diversity=1.5"),
    ],
)
def test_bad_ensembles_and_diversities_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_the_callers_models_are_left_as_they_were(cousins):
    before = [model.training for model in cousins]
    Ensemble(cousins)
    assert [model.training for model in cousins] == before


# --- The matrix ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def matrix(batch, cousins):
    x, y = batch
    models = {"victim": tiny.model(), "one": cousins[0], "two": cousins[1]}
    return metrics.transfer_matrix(
        models,
        x,
        y,
        lambda model, x, y: attacks.pgd(model, x, y, eps=EPS, steps=5, generator=generator()),
        controls={"random noise": attacks.random_noise(x, eps=EPS, generator=generator())},
    )


def test_each_cell_is_the_success_of_the_rows_attack_on_the_columns_model(batch, cousins, matrix):
    x, y = batch
    x_adv = attacks.pgd(cousins[0], x, y, eps=EPS, steps=5, generator=generator())
    expected = metrics.attack_success(tiny.model(), x, x_adv, y)
    cell = matrix["one", "victim"]
    assert (cell, cell.n, cell.by_class) == (expected, expected.n, expected.by_class)


def test_an_attack_works_best_where_it_was_made_and_noise_hardly_at_all(matrix):
    for name in matrix.targets:
        assert matrix[name, name] == max(matrix[source, name] for source in matrix.sources)
        assert matrix["random noise", name] <= 0.2


def test_each_attack_is_made_once_whatever_the_number_of_targets(batch):
    x, y = batch
    made = []

    def attack(model, x, y):
        made.append(model)
        return x

    models = {"a": tiny.model(), "b": cousin(1)}
    matrix = metrics.transfer_matrix(models, x, y, attack, targets={"t": tiny.model(), **models})
    assert len(made) == 2 and matrix.sources == ("a", "b") and matrix.targets == ("t", "a", "b")


def test_a_matrix_is_printed_with_intervals_and_drawn_with_an_alt_text(matrix):
    assert "random noise" in str(matrix) and "95 % intervals" in str(matrix)
    figure = show.transfer(matrix)
    assert "one on victim" in figure.alt and figure.png().startswith(b"\x89PNG")
