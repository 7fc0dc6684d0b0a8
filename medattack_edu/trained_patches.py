"""Patches that take a minute or more to train: made once, then read from the cache. How training works is in `attacks.patches`."""

from pathlib import Path

import torch
from torch import nn

from medattack_edu import cache, runtime
from medattack_edu.attacks import patches
from medattack_edu.attacks.patches import TrainedPatch, train_patch
from medattack_edu.models import efficientnet_lite, victims
from medattack_edu.models.freeze import freeze
from medattack_edu.scenes import photographs

MEDICAL_FILES = (Path(__file__), Path(patches.__file__))
TOASTER_FILES = (*MEDICAL_FILES, *(Path(module.__file__) for module in (photographs, efficientnet_lite)))
TOASTER = 859  # its number among ImageNet's classes

# What made the toaster work on photographs that it was not trained on (single runs; at half of the side): from grey at 160 px
# 3 % of placements, from a drawn toaster 31 %, with the handicap and larger scales 75 %, at the 224 px that it is shown at
# 89 %. Without the handicap a hundred steps satisfy the training scenes and nothing more is learnt.
TOASTER_STEPS, TOASTER_BATCH, TOASTER_SIZE = 320, 4, 224
TOASTER_STEP_SIZE = (0.05, 0.01)
TOASTER_SCALE = (0.3, 0.6)
TOASTER_PIXELS = 112  # side of the patch: half of the scene's
HANDICAP = 6.0  # of the toaster's logit
ROOM_TO_CROP = 320  # side of the photographs that scenes are cut from
LEAVES = 48  # made-up scenes beside the photographs, and how often each photograph counts
TIMES = 3

MEDICAL_SCALE = 0.4  # as in Finlayson et al.'s test, with 22.5 degrees either way
MEDICAL_STEPS = 80
MEDICAL_BATCH = 8


# --- The toaster --------------------------------------------------------------------------------------------------------


def toaster(backbone="efficientnet_lite0"):
    """The patch that says "toaster" to an ImageNet network, wherever it lies: a TrainedPatch, from the cache.

    It was trained without the photographs in `photographs.SHOWN`.

    Args:
        backbone: the network, as `models.victims.new_model` knows it: an EfficientNet-Lite, or any of torchvision's, such as
            "vgg16" or "inception_v3", whose weights are downloaded.
    """
    key = cache.digest_of(TOASTER_FILES, trained_on(), backbone)
    return _kept(f"toaster-{backbone}", key, lambda: train_toaster(backbone=backbone), TOASTER)


def trained_on():
    """Names of the photographs that the toaster is trained on: all but those that the lesson tries it on."""
    return [name for name in photographs.FILES if name not in photographs.SHOWN]


def train_toaster(
    names=None,
    title="training the toaster patch (once; two or three minutes on one core)",
    backbone="efficientnet_lite0",
    **options,
):
    """Train the toaster patch on scenes varied from photographs and from dead leaves. Not cached; see `toaster`.

    Args:
        names: of the photographs; default: all but those in `photographs.SHOWN`.
        title: of the progress bar. backbone: as for `toaster`.
        options: what `train_patch` should be told otherwise, e.g. ``angles=180``.
    """
    names = trained_on() if names is None else names
    model = victims.new_model(backbone, 1000).to(runtime.device())
    generator = runtime.generator(0)
    pictures, _ = photographs.photographs(ROOM_TO_CROP, names)
    leaves = photographs.dead_leaves(LEAVES, ROOM_TO_CROP // 2, generator).to(pictures)
    leaves = nn.functional.interpolate(leaves, ROOM_TO_CROP, mode="bilinear")
    supply = photographs.varied_scenes(torch.cat([*[pictures] * TIMES, leaves]), TOASTER_SIZE)
    recipe = {
        "steps": TOASTER_STEPS,
        "batch": TOASTER_BATCH,
        "scale": TOASTER_SCALE,
        "step_size": TOASTER_STEP_SIZE,
        "start": photographs.toaster_picture(TOASTER_PIXELS),
        "generator": generator,
        "title": title,
    }
    return train_patch(Handicapped(freeze(model), TOASTER, HANDICAP), supply, TOASTER, **recipe | options)


class Handicapped(nn.Module):
    """A model whose logit for one class is lowered, so that a patch for it has to win by that much and goes on learning."""

    def __init__(self, model, label, handicap):
        super().__init__()
        self.model, self.label, self.handicap = model, label, handicap
        self.eval()

    def forward(self, x):
        logits = self.model(x)
        return logits - self.handicap * torch.nn.functional.one_hot(torch.tensor(self.label), logits.shape[1]).to(
            logits
        )


# --- Medical patches ----------------------------------------------------------------------------------------------------


def medical(clinic, target, access="white"):
    """A patch that makes a clinic's victim answer `target`: a TrainedPatch, from the cache.

    It is trained on the attacker's patients of the other class, and works on patients that nobody trained on.

    Args:
        clinic: from `open_clinic`. target: 0 (healthy) or 1 (the disease).
        access: "white" follows the victim's gradient; "black" that of the attacker's twin surrogate, and never asks the victim.

    Raises:
        ValueError: if there is no such class or access.
    """
    if target not in (0, 1):
        raise ValueError(f"target={target!r} is not a class: 0 is {clinic.classes[0]} and 1 is {clinic.classes[1]}.")
    if access not in ("white", "black"):
        raise ValueError(f"access={access!r}: 'white' knows the victim, 'black' a surrogate.")
    model = clinic.victim() if access == "white" else clinic.surrogate("twin")
    key = cache.digest_of(MEDICAL_FILES, clinic.fingerprint, cache.digest_of_weights(model), target)

    def train():
        rows = torch.nonzero(clinic.attacker.labels != target).flatten()
        others, _ = clinic.attacker.subset(rows).sample(len(rows))
        return train_patch(
            freeze(model),
            others,
            target,
            steps=MEDICAL_STEPS,
            batch=MEDICAL_BATCH,
            scale=MEDICAL_SCALE,
            title=f"training a patch for {clinic.classes[target]}, {access} box (once; half a minute on one core)",
        )

    return _kept(f"{clinic.name}-{target}-{access}", key, train, target)


def natural(clinic, target, n=8):
    """The control: the middle of `n` real images of the target class, to be placed as discs of the same size.

    Returns:
        (n, 3, side, side) in [0, 1], on the device; side is `MEDICAL_SCALE` of the images', so that nothing is enlarged.
    """
    rows = torch.nonzero(clinic.attacker.labels == target).flatten()
    images, _ = clinic.attacker.subset(rows).sample(n)
    size = images.shape[-1]
    side = round(MEDICAL_SCALE * size)
    corner = (size - side) // 2
    return images[:, :, corner : corner + side, corner : corner + side].contiguous()


def prepare(clinic):
    """Make the patches of this clinic that aren't in the cache."""
    for target in (0, 1):
        for access in ("white", "black"):
            medical(clinic, target, access)


# --- The cache ----------------------------------------------------------------------------------------------------------


def _kept(name, key, train, target):
    """The patch in the file of that name and key, else the one that `train` makes; that is kept unless it was interrupted."""

    def make():
        made = train()
        tensors = {"patch": made.patch, "history": torch.tensor(made.history, dtype=torch.float64)} | made.state
        if made.interrupted:  # half a patch is good enough to look at, not to keep
            raise cache.Unfinished(tensors | {"interrupted": torch.tensor(True)})
        return tensors

    state = cache.kept(runtime.cache_dir("patches") / f"{name}-{key}.safetensors", make)
    patch, history = state.pop("patch").to(runtime.device()), state.pop("history").tolist()
    return TrainedPatch(patch, target, "disc", history, bool(state.pop("interrupted", False)), state)
