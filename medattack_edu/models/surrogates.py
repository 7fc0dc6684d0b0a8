"""The attacker's own models: trained on other patients than the victim's, and cached like victims."""

import hashlib
from dataclasses import dataclass

import torch

from medattack_edu import metrics, runtime
from medattack_edu.models import victims


@dataclass(frozen=True)
class Kind:
    """A way to make a surrogate. `words` says what it shares with the victim."""

    backbone: str
    pretrained: bool
    words: str


KINDS = {
    "twin": Kind("efficientnet_lite0", True, "the victim's architecture and ImageNet start"),
    "relative": Kind("efficientnet_lite1", True, "a related architecture and its ImageNet start"),
    "scratch": Kind("efficientnet_lite0", False, "the victim's architecture, from scratch"),
    "small": Kind("small_cnn", False, "nothing: a small network from scratch"),
}
# Not the victim's 0: whoever trains on their own throws other dice for the last layer, the order and the dropout.
SEED = 1


def surrogate(images, kind, *, name, fingerprint, oracle=None, seed=SEED):
    """A classifier that an attacker trains on images of their own.

    Args:
        images: an ImageSet of other patients than the victim's: ``clinic.attacker``.
        kind: one of `KINDS`.
        name: the clinic's. fingerprint: changes whenever the images do.
        oracle: an `Oracle` on the victim. With one, the images' own labels are set aside and the victim is asked for its
            answers, one query an image (the substitute of Papernot et al. 2017, arXiv 1602.02697, without their
            augmentation by the substitute's gradients).
        seed: of the training.

    Returns:
        A model in eval mode, without parameter gradients, on the device: pixels in [0, 1] to two logits.

    Raises:
        ValueError: if there is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"There is no surrogate {kind!r}. The kinds are {', '.join(map(repr, KINDS))}.")
    chosen, called = KINDS[kind], f"{name} {kind} surrogate"
    if oracle is not None:
        images = relabelled(images, oracle)
        fingerprint = f"{fingerprint}-{hashlib.sha256(images.labels.numpy().tobytes()).hexdigest()[:12]}"
        called = f"{name} {kind} substitute"
    return victims.trained(
        images,
        name=called,
        fingerprint=f"attacker-{fingerprint}",
        backbone=chosen.backbone,
        pretrained=chosen.pretrained,
        seed=seed,
    )


def relabelled(images, oracle):
    """The same images with the labels that an oracle gives them. One query each, counted under the row's number."""
    told = []
    for rows in torch.arange(len(images)).split(metrics.BATCH):
        answer = oracle(images.images[rows].to(runtime.device()).float() / 255, ids=rows)
        told.append((answer if answer.ndim == 1 else answer.argmax(1)).cpu())
    return images.relabelled(torch.cat(told))
