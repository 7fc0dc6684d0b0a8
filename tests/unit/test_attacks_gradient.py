"""The gradient attacks: equal to independent libraries, strong, within their budget, and clear about bad input."""

import copy

import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medattack_edu import attacks, metrics, runtime
from medattack_edu.attacks import gradient
from medattack_edu.models.freeze import freeze

EPS = 4 / 255


@pytest.fixture(scope="module")
def batch():
    model = tiny.model()
    x, y = tiny.images(16, seed=7)
    right = model(x).argmax(1) == y
    assert right.float().mean() > 0.9
    return model, x[right], y[right]


def loss(model, x, y):
    return gradient.loss_to_climb(model, x, y)


# --- equal to Foolbox and ART -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def foolbox_model():
    foolbox = pytest.importorskip("foolbox")
    return foolbox, foolbox.PyTorchModel(tiny.model(), bounds=(0, 1), device="cpu")


@pytest.fixture(scope="module")
def art_classifier():
    pytest.importorskip("art")
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        tiny.model(),
        torch.nn.CrossEntropyLoss(),
        input_shape=(3, 32, 32),
        nb_classes=2,
        clip_values=(0, 1),
        device_type="cpu",
    )


def share_that_differs(a, b):
    return ((a - b).abs() > 1e-6).float().mean().item()


def test_fgs_equals_foolbox(batch, foolbox_model):
    model, x, y = batch
    foolbox, fmodel = foolbox_model
    theirs, _, _ = foolbox.attacks.FGSM(random_start=False)(
        fmodel, x, foolbox.criteria.Misclassification(y), epsilons=EPS
    )
    assert torch.allclose(attacks.fgs(model, x, y, eps=EPS), theirs, atol=1e-6, rtol=0)


def test_fgs_equals_art(batch, art_classifier):
    from art.attacks.evasion import FastGradientMethod

    model, x, y = batch
    theirs = torch.from_numpy(FastGradientMethod(art_classifier, eps=EPS).generate(x.numpy(), y.numpy()))
    assert torch.allclose(attacks.fgs(model, x, y, eps=EPS), theirs, atol=1e-6, rtol=0)


def test_pgd_equals_foolbox(batch, foolbox_model):
    model, x, y = batch
    foolbox, fmodel = foolbox_model
    attack = foolbox.attacks.LinfPGD(steps=10, abs_stepsize=EPS / 4, random_start=False)
    theirs, _, _ = attack(fmodel, x, foolbox.criteria.Misclassification(y), epsilons=EPS)
    ours = attacks.pgd(model, x, y, eps=EPS, steps=10, step_size=EPS / 4, random_start=False)
    assert share_that_differs(ours, theirs) <= 1e-3


def test_pgd_in_l2_equals_foolbox(batch, foolbox_model):
    """In double precision: no sign forgets the last digits here, and one that tips a max-pool over parts two walks."""
    model, x, y = copy.deepcopy(batch[0]).double(), batch[1].double(), batch[2]
    foolbox, _ = foolbox_model
    fmodel = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.L2PGD(steps=10, abs_stepsize=0.125, random_start=False)
    theirs, _, _ = attack(fmodel, x, foolbox.criteria.Misclassification(y), epsilons=0.5)
    ours = attacks.pgd(model, x, y, eps=0.5, steps=10, step_size=0.125, norm="2", random_start=False)
    assert share_that_differs(ours, theirs) == 0


def test_targeted_pgd_equals_foolbox(batch, foolbox_model):
    model, x, y = batch
    foolbox, fmodel = foolbox_model
    attack = foolbox.attacks.LinfPGD(steps=10, abs_stepsize=EPS / 4, random_start=False)
    theirs, _, _ = attack(fmodel, x, foolbox.criteria.TargetedMisclassification(1 - y), epsilons=EPS)
    ours = attacks.pgd(model, x, y, eps=EPS, steps=10, step_size=EPS / 4, random_start=False, target=1 - y)
    assert share_that_differs(ours, theirs) <= 1e-3


def test_pgd_equals_art(batch, art_classifier):
    from art.attacks.evasion import ProjectedGradientDescentPyTorch

    model, x, y = batch
    attack = ProjectedGradientDescentPyTorch(
        art_classifier, eps=EPS, eps_step=EPS / 4, max_iter=10, num_random_init=0, verbose=False
    )
    theirs = torch.from_numpy(attack.generate(x.numpy(), y.numpy()))
    ours = attacks.pgd(model, x, y, eps=EPS, steps=10, step_size=EPS / 4, random_start=False)
    assert share_that_differs(ours, theirs) <= 1e-3


# --- strong, and stronger with more effort ------------------------------------------------------------------------------


def test_fgs_climbs_and_noise_does_not(batch):
    model, x, y = batch
    noise = attacks.random_noise(x, eps=EPS, generator=torch.Generator().manual_seed(0))
    assert loss(model, attacks.fgs(model, x, y, eps=EPS), y).mean() > loss(model, x, y).mean() + 0.3
    assert (loss(model, noise, y).mean() - loss(model, x, y).mean()).abs() < 0.1


def test_fgs_with_a_target_walks_towards_it(batch):
    model, x, y = batch
    target = 1 - y
    assert (loss(model, attacks.fgs(model, x, y, eps=EPS, target=target), target) < loss(model, x, target)).all()


def test_pgd_beats_fgs(batch):
    model, x, y = batch
    one = loss(model, attacks.fgs(model, x, y, eps=EPS), y).mean()
    many = loss(model, attacks.pgd(model, x, y, eps=EPS, steps=20, random_start=False), y).mean()
    assert many > one


def test_pgd_fools_every_image_at_a_generous_eps(batch):
    model, x, y = batch
    success = metrics.attack_success(model, x, attacks.pgd(model, x, y, eps=16 / 255, steps=20), y)
    assert success == 1 and success.after_saving == 1


@pytest.mark.parametrize("norm, eps", [("inf", EPS), ("2", 0.4)])
def test_restarts_keep_the_best_walk_of_each_image(batch, norm, eps):
    model, x, y = batch

    def attack(restarts):
        generator = torch.Generator().manual_seed(3)
        x_adv = attacks.pgd(model, x, y, eps=eps, steps=2, norm=norm, restarts=restarts, generator=generator)
        return loss(model, x_adv, y)

    assert (attack(4) >= attack(1) - 1e-6).all()
    assert (attack(4) > attack(1) + 1e-6).any()


def test_momentum_remembers_the_past(batch):
    model, x, y = batch
    step = {"eps": EPS, "steps": 5, "step_size": EPS, "random_start": False}
    plain, heavy = attacks.pgd(model, x, y, **step), attacks.pgd(model, x, y, momentum=1.0, **step)
    assert not torch.equal(plain, heavy)
    assert loss(model, heavy, y).mean() > loss(model, x, y).mean()


def test_one_step_of_momentum_is_plain_pgd(batch):
    model, x, y = batch
    step = {"eps": EPS, "steps": 1, "step_size": EPS, "random_start": False}
    assert torch.equal(attacks.pgd(model, x, y, **step), attacks.pgd(model, x, y, momentum=0.9, **step))


def test_one_full_step_of_pgd_is_fgs(batch):
    model, x, y = batch
    one = attacks.pgd(model, x, y, eps=EPS, steps=1, step_size=EPS, random_start=False)
    assert torch.allclose(one, attacks.fgs(model, x, y, eps=EPS), atol=1e-7)


# --- stopping early -----------------------------------------------------------------------------------------------------


class Counting(torch.nn.Module):
    """Counts the images that a model looks at."""

    def __init__(self, model):
        super().__init__()
        self.model, self.seen = model.eval(), 0
        self.eval()

    def forward(self, x):
        self.seen += len(x)
        return self.model(x)


def test_stopping_early_fools_the_same_images_for_less_work(batch):
    model, x, y = batch
    eager, patient = Counting(model), Counting(model)
    walk = {"eps": 8 / 255, "steps": 20, "random_start": False}
    early = attacks.pgd(eager, x, y, stop_when_fooled=True, **walk)
    late = attacks.pgd(patient, x, y, **walk)
    fooled = model(late).argmax(1) != y
    assert fooled.float().mean() > 0.8
    assert torch.equal(model(early).argmax(1) != y, fooled)
    assert eager.seen < patient.seen / 3


def test_an_image_already_wrong_is_left_as_it_is(batch):
    model, x, y = batch
    untouched = attacks.pgd(model, x, 1 - y, eps=EPS, stop_when_fooled=True, random_start=False)
    assert torch.equal(untouched, x)


def test_stopping_early_counts_the_target_and_not_any_change(batch):
    model, x, y = batch
    already = attacks.pgd(model, x, y, eps=EPS, target=y, stop_when_fooled=True, random_start=False)
    assert torch.equal(already, x)


# --- promises that hold for any input -----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(0, 4),
    eps=st.floats(0, 0.2),
    steps=st.integers(0, 3),
    norm=st.sampled_from(["inf", "2"]),
    start=st.booleans(),
    stop=st.booleans(),
    momentum=st.sampled_from([0.0, 0.9]),
    seed=st.integers(0, 99),
)
def test_pgd_stays_within_eps_and_pixel_range(n, eps, steps, norm, start, stop, momentum, seed):
    model = tiny.model()
    x, y = tiny.images(n, seed=seed)
    x_adv = attacks.pgd(
        model, x, y, eps=eps, steps=steps, norm=norm, random_start=start, stop_when_fooled=stop, momentum=momentum
    )
    assert x_adv.shape == x.shape and x_adv.dtype == x.dtype
    assert x_adv.numel() == 0 or (x_adv.min() >= 0 and x_adv.max() <= 1)
    change = (x_adv - x).flatten(1)
    size = change.abs().amax(1) if norm == "inf" else change.norm(dim=1)
    assert (size <= eps + 1e-5).all()


@settings(max_examples=20, deadline=None)
@given(n=st.integers(0, 3), eps=st.floats(0, 1), seed=st.integers(0, 99))
def test_fgs_and_noise_stay_within_eps_and_pixel_range(n, eps, seed):
    model = tiny.model()
    x, y = tiny.images(n, seed=seed)
    for changed in (attacks.fgs(model, x, y, eps=eps), attacks.random_noise(x, eps=eps)):
        assert changed.shape == x.shape
        assert ((changed - x).abs() <= eps + 1e-6).all()
        assert ((changed >= 0) & (changed <= 1)).all()


@pytest.mark.parametrize("attack", [attacks.fgs, attacks.pgd, attacks.smallest_eps])
def test_attacks_leave_no_trace(batch, attack):
    model, x, y = batch
    model = torch.nn.Sequential(model)  # a fresh wrapper, with gradients switched on
    model.eval().requires_grad_(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x_before, y_before, random_state = x.clone(), y.clone(), torch.get_rng_state()
    options = {} if attack is attacks.smallest_eps else {"eps": EPS}
    attack(model, x, y, **options)
    assert not model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(x, x_before) and torch.equal(y, y_before) and not x.requires_grad
    model.requires_grad_(False)
    if attack is attacks.fgs:
        assert torch.equal(torch.get_rng_state(), random_state)


def test_attacks_work_where_gradients_are_switched_off(batch):
    model, x, y = batch
    with torch.no_grad():
        inside = attacks.fgs(model, x, y, eps=EPS)
    assert torch.equal(inside, attacks.fgs(model, x, y, eps=EPS))
    assert not inside.requires_grad


def test_the_same_generator_gives_the_same_attack(batch):
    model, x, y = batch

    def attack(seed):
        return attacks.pgd(model, x, y, eps=EPS, steps=2, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(attack(1), attack(1))
    assert not torch.equal(attack(1), attack(2))


def test_an_image_is_attacked_the_same_alone_and_in_a_batch(batch):
    model, x, y = batch
    together = attacks.pgd(model, x, y, eps=EPS, steps=5, random_start=False)
    alone = attacks.pgd(model, x[:1], y[:1], eps=EPS, steps=5, random_start=False)
    assert share_that_differs(together[:1], alone) <= 1e-3


def test_each_image_may_have_its_own_eps(batch):
    model, x, y = batch
    eps = torch.linspace(0, 8 / 255, len(x))
    size = (attacks.pgd(model, x, y, eps=eps, steps=3) - x).flatten(1).abs().amax(1)
    assert (size <= eps + 1e-6).all() and size[0] == 0 and size[-1] > 6 / 255


def test_the_frozen_model_is_attacked_as_the_model_itself(batch):
    model, x, y = batch
    walk = {"eps": EPS, "steps": 5, "random_start": False}
    plain, frozen = attacks.pgd(model, x, y, **walk), attacks.pgd(freeze(model), x, y, **walk)
    assert (loss(model, plain, y) - loss(model, frozen, y)).abs().max() < 0.02


# --- the smallest eps ---------------------------------------------------------------------------------------------------


class Ramp(torch.nn.Module):
    """Calls an image sick when its mean is above 0.5: the smallest eps is known by hand."""

    def forward(self, x):
        excess = x.mean((1, 2, 3)) - 0.5
        return torch.stack([-100 * excess, 100 * excess], 1)


def test_smallest_eps_is_the_distance_to_the_border():
    model = Ramp().eval()
    means = torch.tensor([0.5 + 3 / 255, 0.5 - 5 / 255, 0.5 + 10 / 255, 0.9, 0.52])
    x = means[:, None, None, None].expand(-1, 3, 8, 8).clone()
    y = torch.tensor([1, 0, 1, 1, 0])  # the last is wrong from the start; the fourth is out of reach
    found = attacks.smallest_eps(model, x, y, attack=attacks.fgs, largest=16 / 255, halvings=10)
    assert torch.allclose(found[:3] * 255, torch.tensor([3.0, 5.0, 10.0]), atol=16 / 2**10 + 1e-2)
    assert found[3] == float("inf") and found[4] == 0


def test_every_smallest_eps_was_seen_to_succeed(batch):
    model, x, y = batch
    found = attacks.smallest_eps(model, x, y, attack=attacks.fgs, halvings=5)
    reached = found.isfinite()
    x_adv = attacks.fgs(model, x[reached], y[reached], eps=found[reached])
    assert (model(x_adv).argmax(1) != y[reached]).all()


# --- bad input ----------------------------------------------------------------------------------------------------------


class Probabilities(torch.nn.Module):
    def forward(self, x):
        return tiny.model()(x).softmax(1)


class Broken(torch.nn.Module):
    def forward(self, x):
        return tiny.model()(x) * float("nan")


class BrokenLater(torch.nn.Module):
    """Right for one image, NaN for a batch: what the look at one image can't see."""

    def forward(self, x):
        logits = tiny.model()(x)
        return logits if len(x) == 1 else logits * float("nan")


class Flat(torch.nn.Module):
    def forward(self, x):
        return x.mean((1, 2, 3))


X, Y = tiny.images(4)


def half_in_training():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(), torch.nn.Linear(3072, 2)).eval()
    model[1].train()
    return model


BAD_INPUT = {
    "grey levels as eps": ({"eps": 8}, "for 8 grey levels write eps=8/255"),
    "negative eps": ({"eps": -0.1}, "the radius of a ball is 0 or more"),
    "eps that is NaN": ({"eps": float("nan")}, "0 or more"),
    "eps that is text": ({"eps": "small"}, "eps must be a number"),
    "too few eps": ({"eps": torch.tensor([0.1])}, "1 radii for 4 images"),
    "normalised images": ({"x": (X - 0.5) / 0.1}, "looks normalised"),
    "bytes as floats": ({"x": X * 255}, "Divide by 255"),
    "bytes": ({"x": (X * 255).byte()}, "x.float() / 255"),
    "one image without a batch": ({"x": X[0]}, "x[None] adds the batch dimension"),
    "images that are NaN": ({"x": X * float("nan")}, "x holds NaN"),
    "an array": ({"x": X.numpy()}, "must be a torch tensor"),
    "grey images": ({"x": X[:, :1]}, "grey in three channels"),
    "colours last": ({"x": X.permute(0, 2, 3, 1)}, "(32, 32, 3) each"),
    "images with transparency": ({"x": X[:, [0, 1, 2, 0]]}, "can't take these images, torch.float32 (4, 32, 32) each"),
    "double precision": ({"x": X.double()}, "can't take these images, torch.float64"),
    "a label too few": ({"y": Y[:3]}, "one label for each of the 4 images"),
    "one-hot labels": ({"y": torch.eye(2)[Y]}, "argmax(1)"),
    "float labels": ({"y": Y.float()}, "y.long() converts"),
    "labels that are no classes": ({"y": Y + 5}, "the model knows the classes 0 to 1"),
    "a target that is no class": ({"target": Y + 5}, "target holds labels from 5 to 6"),
    "a model in training mode": (
        {"model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 2)).train()},
        "model.eval()",
    ),
    "a model of which a part is in training mode": (
        {"model": half_in_training()},
        "is, in its part '1', in training mode",
    ),
    "a model with one logit": (
        {"model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 1)).eval()},
        "one logit an image",
    ),
    "a model that gives probabilities": ({"model": Probabilities().eval()}, "take the softmax out"),
    "a model that gives NaN": ({"model": Broken().eval()}, "NaN or infinity"),
    "a model that gives NaN later": ({"model": BrokenLater().eval()}, "NaN or infinity. Look at its weights"),
    "a model with one number an image": ({"model": Flat().eval()}, "must answer with logits (N, classes)"),
}


@pytest.mark.parametrize("attack", [attacks.fgs, attacks.pgd])
@pytest.mark.parametrize("what", BAD_INPUT)
def test_bad_input_is_named(attack, what):
    changed, message = BAD_INPUT[what]
    arguments = {"model": tiny.model(), "x": X, "y": Y, "eps": EPS} | changed
    with pytest.raises(ValueError) as error:
        attack(arguments.pop("model"), arguments.pop("x"), arguments.pop("y"), **arguments)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "what", [what for what in BAD_INPUT if set(BAD_INPUT[what][0]) <= {"model", "x", "y", "target"}]
)
def test_bad_input_of_the_smallest_eps_is_named(what):
    changed, message = BAD_INPUT[what]
    arguments = {"model": tiny.model(), "x": X, "y": Y} | changed
    with pytest.raises(ValueError) as error:
        attacks.smallest_eps(arguments.pop("model"), arguments.pop("x"), arguments.pop("y"), **arguments)
    assert message in str(error.value)


NOISE = (
    "grey levels as eps",
    "negative eps",
    "eps that is NaN",
    "eps that is text",
    "too few eps",
    "normalised images",
)
NOISE += ("bytes as floats", "bytes", "one image without a batch", "images that are NaN", "an array")


@pytest.mark.parametrize("what", NOISE)
def test_bad_input_of_the_noise_is_named(what):
    changed, message = BAD_INPUT[what]
    with pytest.raises(ValueError) as error:
        attacks.random_noise(**{"x": X, "eps": EPS} | changed)
    assert message in str(error.value)


def test_the_last_digit_of_a_resized_image_is_no_reason_to_refuse_it():
    white = torch.nn.functional.interpolate(torch.ones(4, 3, 50, 50), 37, mode="bilinear", antialias=True)
    assert attacks.fgs(tiny.model(), white + 2e-7, Y, eps=EPS).max() <= 1


def test_the_smallest_eps_may_be_a_length():
    assert (attacks.smallest_eps(tiny.model(), X, Y, largest=3.0, norm="2", halvings=2) <= 3.0).any()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"norm": "1"}, '"inf" and "2"'),
        ({"steps": -1}, "0 or more"),
        ({"steps": 2.5}, "whole number"),
        ({"steps": "3"}, "steps='3'"),
        ({"restarts": 2.5}, "restarts=2.5"),
        ({"step_size": [0.1, 0.2]}, "one for each of the 4 images"),
        ({"restarts": 0}, "at least one walk"),
        ({"restarts": 2, "random_start": False}, "same way each time"),
        ({"step_size": 0}, "longer than 0"),
        ({"step_size": torch.tensor([0.1, float("nan"), 0.1, 0.1])}, "longer than 0"),
        ({"step_size": torch.full((3,), 0.1)}, "one for each of the 4 images"),
        ({"norm": "2", "eps": -1.0}, "0 or more"),
        ({"norm": "2", "eps": float("nan")}, "0 or more"),
        ({"norm": "2", "eps": float("inf")}, "finite"),
        ({"norm": "2", "eps": "a"}, "must be a number"),
        ({"norm": "2", "eps": torch.ones(3)}, "3 radii for 4 images"),
        ({"momentum": 2}, "between 0 and 1"),
    ],
)
def test_options_that_pgd_cannot_follow_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        attacks.pgd(tiny.model(), X, Y, **{"eps": EPS} | options)


class ManyClasses(torch.nn.Module):
    """Ten classes and a rough landscape: the highest loss isn't always an answer that is wrong."""

    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(5)
        self.first, self.last = (torch.randn(shape, generator=draw) for shape in ((48, 24), (24, 10)))
        self.training = False

    def forward(self, x):
        return torch.tanh(x.flatten(1) @ self.first) @ self.last


@pytest.mark.parametrize("early", [False, True])
def test_restarts_never_lose_a_success(early):
    model, x = ManyClasses(), torch.rand(200, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(1)
    options = {"eps": 0.02, "steps": 3, "stop_when_fooled": early}
    draw = torch.Generator().manual_seed(0)
    each = [model(attacks.pgd(model, x, y, generator=draw, **options)).argmax(1) != y for _ in range(5)]
    together = attacks.pgd(model, x, y, restarts=5, generator=torch.Generator().manual_seed(0), **options)
    found = model(together).argmax(1) != y
    assert 0 < torch.stack(each).any(0).sum() < len(x)
    if early:
        assert found.sum() >= torch.stack(each).sum(1).max()
    else:
        assert torch.equal(found, torch.stack(each).any(0))


def test_the_smallest_eps_towards_a_target_is_that_of_the_target():
    model, x = ManyClasses(), torch.rand(40, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    answers = model(x)
    y, target = answers.argmax(1), answers.topk(3).indices[:, 2]
    y[0] = target[0] = answers[0].argmax()  # answered as wanted before
    options = {"largest": 0.2, "halvings": 8, "steps": 5, "random_start": False}
    to_target, to_any = (gradient.smallest_eps(model, x, y, target=t, **options) for t in (target, None))
    assert to_target[0] == 0
    found = to_target.isfinite()
    assert found.sum() > 10 and (to_target[found][1:] >= to_any[found][1:] - 0.02).all()
    reached = attacks.pgd(
        model, x[found], y[found], eps=to_target[found], target=target[found], steps=5, random_start=False
    )
    assert torch.equal(model(reached).argmax(1), target[found])


def test_a_model_with_probabilities_is_recognised_and_logits_that_add_up_to_one_are_not():
    class OddLogits(torch.nn.Module):
        def forward(self, x):
            return torch.tensor([[3.0, -2.0]]).repeat(len(x), 1) + 0 * x.mean()

    attacks.fgs(OddLogits().eval(), X, Y, eps=EPS)


# --- where memory is short --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"target": True}, {"stop_when_fooled": True}, {"restarts": 2}])
def test_images_take_turns_where_memory_is_short_and_come_out_the_same(batch, monkeypatch, options):
    model, x, y = batch
    options = options | ({"target": 1 - y} if "target" in options else {})
    seen = []
    handle = model.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))

    def attacked():
        seen.clear()
        x_adv = attacks.pgd(model, x, y, eps=EPS, steps=3, generator=torch.Generator().manual_seed(0), **options)
        return x_adv, max(seen)

    try:
        together, most = attacked()
        assert most == len(x)
        runtime._free_lately.cache_clear()
        monkeypatch.setattr(runtime, "memory", lambda: (2 * 250 * 3 * x[0].numel() * 4, 1e9, False))
        in_turns, most = attacked()
    finally:
        handle.remove()
        runtime._free_lately.cache_clear()
    assert most <= 3 or "restarts" in options  # the answers that compare two walks need no gradient, and less memory
    assert ((together - in_turns).abs() > 1e-6).float().mean() < 1e-3  # a gradient near 0 may flip its sign


def test_an_oracle_in_place_of_a_model_is_named(batch):
    model, x, y = batch
    oracle = attacks.Oracle(model, "logits")
    for attack in (attacks.fgs, attacks.pgd, attacks.smallest_eps, attacks.transfer_attack):
        with pytest.raises(ValueError, match="needs a gradient, and an Oracle only answers"):
            attack(oracle, x, y, **({} if attack is attacks.smallest_eps else {"eps": EPS}))
    with pytest.raises(ValueError, match="an Oracle only answers"):
        attacks.transfer_attack([model, oracle], x, y, eps=EPS)
