"""Attacks that transfer: made on the attacker's own models, for a victim that nobody asked. The walk itself is `pgd`."""

import torch
import torch.nn.functional as F
from torch import nn

from medattack_edu.attacks._draws import draw
from medattack_edu.attacks._inputs import check_eval, check_white_box
from medattack_edu.attacks.gradient import pgd


def transfer_attack(surrogates, x, y, *, eps, steps=10, momentum=1.0, diversity=0.5, target=None, generator=None):
    """PGD on one surrogate or an ensemble, with what makes an attack transfer: momentum and diverse inputs.

    Args:
        surrogates: a model, or a list of models: images in [0, 1] to logits (N, classes).
        x, y, eps, steps, target: as in `pgd`.
        momentum: share of the past directions that is kept (Dong et al. 2018, arXiv 1710.06081); 0 for none.
        diversity: how often an image is shrunk and shifted before a surrogate sees it (Xie et al. 2019, arXiv
            1803.06978), from 0, never, to 1, always.
        generator: of the start and of the shrinking.

    Returns:
        Images, same shape, dtype and device as `x`, in [0, 1] and within eps of x.

    Raises:
        ValueError: if the inputs don't fit together, as in `pgd`.
    """
    model = Ensemble(surrogates) if isinstance(surrogates, list | tuple) else surrogates
    if diversity:
        model = DiverseInputs(model, diversity, generator)
    return pgd(model, x, y, eps=eps, steps=steps, momentum=momentum, target=target, generator=generator)


class Ensemble(nn.Module):
    """Several models that answer with the mean of their logits (Dong et al. 2018, arXiv 1710.06081, section 3.2)."""

    def __init__(self, models):
        super().__init__()
        if not models:
            raise ValueError("An ensemble needs a model or more.")
        for model in models:
            check_white_box(model)
            check_eval(model, "A model of the ensemble")
        self.models = nn.ModuleList(models)
        self.eval()

    def forward(self, x):
        return torch.stack([model(x) for model in self.models]).mean(0)


class DiverseInputs(nn.Module):
    """A model that sees each image shrunk and shifted at random, as often as `probability` says (arXiv 1803.06978)."""

    SMALLEST = 0.85  # side of the shrunken image, as a share: the paper's 299 of 330 pixels, a little bolder

    def __init__(self, model, probability=0.5, generator=None):
        super().__init__()
        if not 0 <= probability <= 1:
            raise ValueError(f"diversity={probability}: a probability lies between 0 and 1.")
        check_white_box(model)
        self.model, self.probability, self.generator = model, probability, generator
        self.training = getattr(model, "training", False)

    def forward(self, x):
        return self.model(self.diverse(x))

    def diverse(self, x):
        """The images (N, C, H, W), each perhaps shrunk and put somewhere on black; the same shape."""
        if not self.probability:
            return x
        chance, shrink, down, across = draw(torch.rand, (len(x), 4), x, self.generator).T
        share = self.SMALLEST + (1 - self.SMALLEST) * shrink
        # Where each pixel looks, from -1 to 1 over the image as it came: beyond that is black.
        view = x.new_zeros(len(x), 2, 3)
        view[:, 0, 0] = view[:, 1, 1] = 1 / share
        view[:, 0, 2], view[:, 1, 2] = (((1 - share) * (1 - 2 * place)) / share for place in (across, down))
        grid = F.affine_grid(view, x.shape, align_corners=False)
        seen = F.grid_sample(x, grid, "bilinear", "zeros", align_corners=False)
        return torch.where((chance < self.probability).view(-1, 1, 1, 1), seen, x)
