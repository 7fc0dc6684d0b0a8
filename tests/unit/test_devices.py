"""Every tensor is made on the device of the model and the images: attacks, metrics, pictures and widgets never mix devices.

Where there is no graphics card, one is feigned (see `card`); what is found there is found on a real one.
"""

import copy

import pytest
import tiny
import torch
from card import CARD, card
from explorers import extremes
from torch import nn

from medattack_edu import attacks, explore, freeze, metrics, runtime, sheets, show
from medattack_edu.attacks import physical
from medattack_edu.clinics.images import ImageSet
from medattack_edu.explore.canvas import png

EPS = 4 / 255
CLASSES = ("normal", "ill")


@pytest.fixture
def here(monkeypatch):
    with card(monkeypatch) as there:
        yield there


class Task:
    """A model that tells two patterns apart, and images of them; on the card if `device` says so."""

    def __init__(self, device, n=6):
        x, y = tiny.images(n)
        self.x, self.y, self.model = x.to(device), y.to(device), copy.deepcopy(tiny.model()).to(device)

    def oracle(self, reveals="probabilities", **rules):
        return attacks.Oracle(self.model, reveals, **rules)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def views(texture, n, generator):
    """Of a flat object, in some light."""
    return (texture[None] * (0.8 + 0.2 * torch.rand(n, 1, 1, 1, generator=generator)).to(texture)).clamp(0, 1)


# --- The card itself ----------------------------------------------------------------------------------------------------


def test_what_is_on_the_card_says_so_and_so_does_what_comes_of_it(here):
    x = torch.rand(2, 3).to("cuda")
    for made in (
        x,
        x + 1,
        x[0],
        x.T.reshape(-1),
        x.new_zeros(4),
        torch.ones_like(x),
        torch.zeros(2, device=CARD),
        x.to(torch.float64),
    ):
        assert made.device == CARD and made.is_cuda
    assert x.cpu().device.type == torch.rand(2).device.type == "cpu"
    assert torch.rand(2).to(x).device == CARD


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + torch.zeros(3),
        lambda x: torch.cat([x, torch.zeros(1, 3)]),
        lambda x: torch.zeros(3).add_(x[0]),
        lambda x: torch.zeros(4)[(x[:, 0] > 0).long()],
        lambda x: torch.where(x > 0, torch.zeros(2, 3), x),
        lambda x: nn.functional.linear(x, torch.rand(5, 3)),
        lambda x: torch.rand(3, generator=torch.Generator(), device=x.device),
    ],
    ids=["sum", "cat", "in place", "brackets", "where", "layer", "generator"],
)
def test_what_a_real_card_refuses_is_refused(here, mix):
    x = torch.rand(2, 3).to("cuda")
    with pytest.raises(RuntimeError, match="same device|device type for generator"):
        mix(x)


def test_what_a_real_card_allows_is_allowed(here):
    x = torch.rand(2, 3).to("cuda")
    assert (x * torch.tensor(2.0)).device == CARD
    assert x[torch.tensor([1])].device == CARD
    x[torch.tensor([True, False])] = 0.5
    copied = torch.zeros(2, 3)
    copied[:] = x
    assert copied.device.type == "cpu" and (copied[0] == 0.5).all()
    with pytest.raises(TypeError, match="cpu"):
        x.numpy()
    assert x.cpu().numpy().shape == (2, 3)


def test_gradients_cross_over_and_come_back(here):
    x = torch.rand(3, requires_grad=True)
    (x.to("cuda") * torch.full((3,), 2.0, device=CARD)).sum().backward()
    assert x.grad.device.type == "cpu" and (x.grad == 2).all()


# --- Attacks: the same images as without a card, and on it ---------------------------------------------------------------

ATTACKS = {
    "noise": lambda t: attacks.random_noise(t.x, eps=EPS, generator=seeded()),
    "FGS": lambda t: attacks.fgs(t.model, t.x, t.y, eps=EPS),
    "FGS, an eps for each": lambda t: attacks.fgs(t.model, t.x, t.y, eps=torch.full((len(t.x),), EPS), target=1 - t.y),
    "PGD": lambda t: attacks.pgd(t.model, t.x, t.y, eps=EPS, steps=3, generator=seeded()),
    "PGD, all options": lambda t: attacks.pgd(
        t.model, t.x, t.y, eps=2.0, steps=3, step_size=0.5, norm="2", restarts=2, momentum=0.9, target=1 - t.y,
        stop_when_fooled=True, generator=seeded(),
    ),
    "smallest eps": lambda t: attacks.smallest_eps(t.model, t.x, t.y, steps=2, halvings=2, random_start=False),
    "transfer": lambda t: attacks.transfer_attack([t.model, t.model], t.x, t.y, eps=EPS, steps=3, generator=seeded()),
    "NES": lambda t: attacks.nes_attack(t.oracle(), t.x, t.y, eps=EPS, queries=25, samples=6, grid=8, generator=seeded()),
    "NES, of a strict oracle": lambda t: attacks.nes_attack(
        t.oracle(noise=0.1, decimals=3, repeats=20, budget=20, generator=seeded(1)), t.x, t.y, eps=EPS, samples=6, target=1 - t.y,
        generator=seeded(),
    ),
    "Square": lambda t: attacks.square_attack(t.oracle(), t.x, t.y, eps=EPS, queries=20, generator=seeded()),
    "label-only": lambda t: attacks.label_only_attack(
        t.oracle("label"), t.x[:2], t.y[:2], t.x[1:3], eps=EPS, queries=120, samples=10, generator=seeded()
    ),
    "HopSkipJump": lambda t: attacks.hop_skip_jump(
        t.oracle("label"), t.x[:2], t.y[:2], t.x[1:3], eps=EPS, queries=120, samples=10, generator=seeded()
    ),
    "place": lambda t: attacks.place(t.x[0], t.x, **attacks.random_placements(len(t.x), scale=(0.2, 0.5), generator=seeded())),
    "place, a mask of one's own": lambda t: attacks.place(t.x[0], t.x, angle=20.0, mask=torch.ones(8, 8)),
    "patch": lambda t: attacks.train_patch(
        t.model, t.x, 1, steps=2, batch=4, size=16, light=0.1, contrast=0.1, blur=0.5, perspective=0.2, printable=True, progress=False
    ).patch,
    "patch, gone on with": lambda t: attacks.train_patch(
        t.model, t.x, 1, steps=1, batch=4, start=attacks.train_patch(t.model, t.x, 1, steps=1, batch=4, size=16, progress=False),
        progress=False,
    ).patch,
    "heat": lambda t: physical.find_mask(t.model, t.x[0], views, 1, steps=2, batch=3, generator=seeded(), progress=False),
    "rectangles": lambda t: physical.rectangles(t.x[0, 0], torch.ones_like(t.x[0, :1]), n=2, sizes=((6, 6),)),
    "stickers": lambda t: refined_stickers(t),
    "texture": lambda t: physical.texture_attack(
        t.model, t.x[0], views, 1, eps=0.2, steps=2, batch=3, generator=seeded(), progress=False
    ).texture,
}  # fmt: skip


def refined_stickers(task):
    texture = task.x[0]
    mask = torch.zeros_like(texture[:1])
    mask[:, 6:18, 6:18] = 1
    made = physical.sticker_attack(
        task.model, texture, mask, views, 1, steps=2, batch=3, generator=seeded(), progress=False
    )
    return physical.refine_stickers(
        task.model, made, views, passes=1, views=2, generator=seeded(), progress=False
    ).texture


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_stays_on_the_card_and_finds_there_what_it_finds_elsewhere(name, monkeypatch):
    expected = ATTACKS[name](Task("cpu"))
    with card(monkeypatch):
        made = ATTACKS[name](Task(CARD))
        assert made.device == CARD
        assert torch.equal(made.cpu(), expected)


def test_a_frozen_model_is_where_the_model_was(here):
    task = Task(CARD)
    frozen = freeze(task.model)
    assert {parameter.device for parameter in frozen.parameters()} == {CARD}
    assert attacks.pgd(frozen, task.x, task.y, eps=EPS, steps=2).device == CARD


# --- Metrics and images --------------------------------------------------------------------------------------------------


def test_metrics_take_what_is_on_the_card(here):
    task = Task(CARD)
    x_adv = attacks.fgs(task.model, task.x, task.y, eps=EPS)
    scores = metrics.evaluate(task.model, task.x, task.y)
    assert scores.accuracy.n == len(task.x)
    metrics.roc_curve(scores.probabilities, scores.labels)
    metrics.attack_success(task.model, task.x, x_adv, task.y)
    patch_of_each = torch.rand(len(task.x), 3, 8, 8).to(task.x)
    for patch in (patch_of_each[0], patch_of_each):
        metrics.patch_success(task.model, task.x, patch, 1, placements=2, generator=seeded())
    twins = {"one": task.model, "two": task.model}
    metrics.transfer_matrix(
        twins, task.x, task.y, lambda model, x, y: attacks.fgs(model, x, y, eps=EPS), controls={"noise": x_adv}
    )
    assert metrics.median(task.x[:, 0, 0, 0]).n == len(task.x)


def test_images_come_to_the_card_as_they_are_sampled(here):
    kept = ImageSet(torch.zeros(6, 3, 8, 8, dtype=torch.uint8), torch.arange(6) % 2, CLASSES)
    x, y = kept.sample(4, balanced=True)
    assert x.device == y.device == kept[0][0].device == CARD
    assert kept.images.device.type == "cpu"


def test_a_sheet_and_its_photograph_come_from_the_card(here, tmp_path):
    task = Task(CARD)
    sheets.print_sheet(task.x[0], tmp_path / "sheet.pdf", width_cm=(5,))
    assert sheets.photograph(task.x, generator=seeded()).device == CARD


# --- Pictures and widgets --------------------------------------------------------------------------------------------------


def test_pictures_are_drawn_of_what_is_on_the_card(here):
    task = Task(CARD)
    x_adv = attacks.fgs(task.model, task.x, task.y, eps=EPS)
    show.gallery(task.x, task.y, CLASSES, model=task.model)
    show.compare({"clean": task.x, "FGS": x_adv}, task.y, task.model, CLASSES)
    show.perturbation(task.x[0], x_adv[0], task.model, task.y[0], CLASSES)


def turntable(task):
    def looks(turns, tilts):
        return task.x[:1].expand(len(turns), -1, -1, -1) * (0.5 + tilts / 100).to(task.x).view(-1, 1, 1, 1)

    names = {"truth": 0, "target": 1, "names": dict(enumerate(CLASSES))}
    return explore.turntable(task.model, {"as it is": looks, "attacked": looks}, (0, 90), (0, 20), **names)


WIDGETS = {
    "epsilon": lambda t: explore.epsilon(t.model, t.x, t.y, CLASSES, stops=(0, 2)),
    "steps": lambda t: explore.steps(t.model, t.x[:2], t.y[:2], CLASSES, steps=2),
    "queries": lambda t: explore.queries(
        t.model, t.x[:2], t.y[:2], CLASSES, attacks=("NES", "NES in blocks", "Square"), queries=45
    ),
    "transfer": lambda t: explore.transfer(
        {"victim": t.model, "twin": t.model}, t.x, t.y, CLASSES, stops=(0, 2), steps=1
    ),
    "patch": lambda t: explore.patch(
        {"skin": explore.Scene(t.model, t.x[:2], t.x[0, :, :16, :16], 1, CLASSES)}, scales=(0.4,), turns=(0, 10)
    ),
    "turntable": turntable,
    "threshold": lambda t: explore.threshold(metrics.evaluate(t.model, t.x, t.y), CLASSES),
}


@pytest.mark.parametrize("name", WIDGETS)
def test_a_widget_is_made_and_draws_from_the_card(name, here):
    widget = WIDGETS[name](Task(CARD))
    for control, values in ((name, extremes(control)) for name, control in widget.controls.items()):
        for value in values:
            png(widget.render(**(widget.values | {control: value})))
    widget.facts(**widget.values)


def test_a_photograph_of_ones_own_is_taken_to_the_card(here):
    task = Task(CARD)
    scene = explore.Scene(task.model, task.x[:2], task.x[0, :, :16, :16], 1, CLASSES)
    assert runtime.device() == CARD
    explore.own_photo(scene, task.x[1, :, :16, :16], scale=0.6)
