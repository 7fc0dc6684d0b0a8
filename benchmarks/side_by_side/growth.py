"""How the time of PGD, ours and a plain loop's, grows with the batch, the steps, the side of the images and the model."""

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.side_by_side.gradients import ours, plain_loop
from benchmarks.side_by_side.rounds import Run, both, in_turns
from medattack_edu.models.efficientnet_lite import efficientnet_lite
from medattack_edu.models.small_cnn import SmallCNN

BATCHES, STEPS, SIDES = (1, 2, 4, 8, 16, 32), (1, 2, 5, 10, 20), (64, 96, 128, 160, 192, 224)
BATCH, STEP, SIDE = 4, 2, 128  # what stays, while another grows


def measure(model, x, y, rounds, *, batches=BATCHES, steps=STEPS, sides=SIDES, models=None):
    """{axis: a list of {"at": where, "label": in words, "medattack": seconds, "plain loop": seconds}}; seconds of each round.

    Args:
        model: the victim, for all axes but that of the models. x, y: images and labels.
        models: {name: model}; default: the course's own and the paper's, untrained.
    """
    pairs, settings = both(model), {"batch": [], "steps": [], "side": [], "model": []}
    for batch in batches:
        settings["batch"].append((batch, str(batch), pairs, _enough(x, batch), _enough(y, batch), STEP))
    few, truth = _enough(x, BATCH), _enough(y, BATCH)
    for number in steps:
        settings["steps"].append((number, str(number), pairs, few, truth, number))
    for side in sides:
        settings["side"].append(
            (side, str(side), pairs, F.interpolate(few, (side, side), mode="bilinear"), truth, STEP)
        )
    for name, other in (_models() if models is None else models).items():
        other = other.eval().to(x.device)
        settings["model"].append((multiply_adds(other, few[:1]), name, both(other), few, truth, STEP))
    return {axis: _timed(points, rounds) for axis, points in settings.items()}


def _timed(points, rounds):
    every = []
    for _, _, pair, x, y, steps in points:
        for who, kind, call in (("medattack", "frozen", ours), ("plain loop", "as trained", plain_loop)):
            model = pair[kind].model
            go = lambda call=call, model=model, x=x, y=y, steps=steps: call(model, x, y, steps)  # noqa: E731
            every.append(Run(who, go=go))
    in_turns(every, {}, rounds)
    return [
        {"at": at, "label": label} | {run.who: run.seconds for run in every[2 * row : 2 * row + 2]}
        for row, (at, label, *_) in enumerate(points)
    ]


def multiply_adds(model, x):
    """Of one forward pass, for these images, in thousand millions."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(x)
    return counter.get_total_flops() / 2e9


def _models():
    from torchvision.models import resnet50

    lite = {f"Lite{version}": efficientnet_lite(version, 2, pretrained=False) for version in (0, 1, 2)}
    return {"SmallCNN": SmallCNN()} | lite | {"ResNet-50": resnet50(weights=None, num_classes=2)}


def _enough(rows, n):
    """The first `n` rows, over again from the start where there are fewer."""
    return rows.repeat(-(-n // len(rows)), *[1] * (rows.ndim - 1))[:n]
