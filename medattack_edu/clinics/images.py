"""Sets of labelled images in memory, and the three-way split that a clinic is made of. Nothing is read or drawn here."""

import warnings
from dataclasses import dataclass

import torch

from medattack_edu import runtime


class ImagesUnavailable(RuntimeError):
    """The images asked for aren't here (not fetched, or damaged); the message says how to get them."""


class ImageSet:
    """Labelled images, kept as bytes and handed out as floats.

    Args:
        images: uint8 tensor (N, 3, H, W).
        labels: int64 tensor (N,); 1 is the disease.
        classes: the two class names, healthy first.
    """

    def __init__(self, images, labels, classes):
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images must be uint8 (N, 3, H, W); got {images.dtype} {tuple(images.shape)}.")
        if labels.shape != images.shape[:1]:
            raise ValueError(f"{len(images)} images need as many labels; got {tuple(labels.shape)}.")
        self.images = images
        self.labels = labels.long()
        self.classes = tuple(classes)
        self._said_all = False

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        """One image (3, H, W), float32 in [0, 1], on the device, and its label (an int)."""
        return self.images[index].to(runtime.device()).float() / 255, int(self.labels[index])

    def __repr__(self):
        counts = ", ".join(f"{int((self.labels == k).sum())} {name}" for k, name in enumerate(self.classes))
        return f"ImageSet({len(self)} images of {self.images.shape[-1]} px: {counts})"

    def sample(self, n, *, seed=0, balanced=False):
        """Draw `n` images without replacement, the same ones for the same seed.

        Args:
            n: how many; if the set holds fewer, you get as many as there are and are told so once.
            seed: of the draw.
            balanced: as many of one class as of the other (one more healthy image if `n` is odd). Of a class that has fewer than
                half of `n` images you get all, and as many of the other.

        Returns:
            x (n, 3, H, W), float32 in [0, 1], and y (n,), int64, both on the device, in random order.
        """
        if n < 0:
            raise ValueError(f"n={n}: ask for 0 images or more.")
        generator = runtime.generator(seed)
        order = torch.randperm(len(self), generator=generator)
        if balanced:
            counts = [int((self.labels == label).sum()) for label in (0, 1)]
            share = min(n // 2, *counts)
            one_more = n % 2 == 1 and share == n // 2 < counts[0]
            shares = (share + one_more, share)
            chosen = torch.cat([order[self.labels[order] == label][:share] for label, share in enumerate(shares)])
            order = chosen[torch.randperm(len(chosen), generator=generator)]
        chosen = order[:n]
        if len(chosen) < n and not self._said_all:
            self._said_all = True
            if balanced:
                rare = self.classes[counts.index(min(counts))]
                words = f"You asked for {n} balanced images; this set has {min(counts)} {rare}: {len(chosen)} are used, half of each class."
            else:
                words = f"You asked for {n} images; this set has {len(chosen)}: all are used."
            warnings.warn(words, stacklevel=2)
        x = self.images[chosen].to(runtime.device()).float() / 255
        return x, self.labels[chosen].to(runtime.device())

    def subset(self, indices):
        """The set of these rows only."""
        return ImageSet(self.images[indices], self.labels[indices], self.classes)

    def relabelled(self, labels):
        """The same images with other labels (N,), int64, e.g. those that a model gives them."""
        return ImageSet(self.images, labels, self.classes)


@dataclass(frozen=True)
class Splits:
    """What a source of images delivers.

    Attributes:
        train: the victim's training images.
        attacker: other patients, for surrogates; the victim never sees them.
        test: held-out images that everything is measured on.
        source: one phrase that says what the images are, for the banner.
        licence: one phrase that says under which terms.
        fingerprint: changes whenever the images change; part of the key that victims are cached under.
    """

    train: ImageSet
    attacker: ImageSet
    test: ImageSet
    source: str
    licence: str
    fingerprint: str
