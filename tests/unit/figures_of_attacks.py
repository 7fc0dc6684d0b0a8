"""Every attack once, on small models and images, each told in one figure: `python figures_of_attacks.py` prints them all."""

import hashlib
import json
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))  # as a program, in another process

import tiny  # noqa: E402

from medattack_edu import attacks, freeze, runtime  # noqa: E402
from medattack_edu.attacks import physical  # noqa: E402

EPS = 4 / 255


def views(texture, n, generator):
    """Of a flat object, in some light."""
    return (texture[None] * (0.8 + 0.2 * torch.rand(n, 1, 1, 1, generator=generator))).clamp(0, 1)


def made(seed):
    """{attack: what it made}, with this seed for whatever is drawn."""
    x, y = tiny.images(4)
    model = freeze(tiny.model())
    draw = lambda: runtime.generator(seed)  # noqa: E731

    def oracle(reveals):
        return attacks.Oracle(model, reveals, noise=0.05, generator=runtime.generator(seed))

    box = torch.zeros(1, 32, 32)
    box[:, 6:18, 6:18] = 1
    objects = {"steps": 2, "batch": 3, "progress": False}
    stickers = physical.sticker_attack(model, x[0], box, views, 1, generator=draw(), **objects)
    refined = physical.refine_stickers(model, stickers, views, passes=1, views=2, generator=draw(), progress=False)
    asked = {"eps": EPS, "queries": 60}
    return {
        "noise": attacks.random_noise(x, eps=EPS, generator=draw()),
        "FGS": attacks.fgs(model, x, y, eps=EPS),
        "PGD": attacks.pgd(model, x, y, eps=EPS, steps=4, restarts=2, generator=draw()),
        "transfer": attacks.transfer_attack(model, x, y, eps=EPS, steps=4, generator=draw()),
        "NES": attacks.nes_attack(oracle("probabilities"), x, y, samples=10, generator=draw(), **asked),
        "Square": attacks.square_attack(oracle("probabilities"), x, y, generator=draw(), **asked),
        "label-only": attacks.label_only_attack(
            oracle("label"), x, y, x.flip(0), generator=draw(), samples=10, **asked
        ),
        "HopSkipJump": attacks.hop_skip_jump(oracle("label"), x, y, x.flip(0), generator=draw(), samples=10, **asked),
        "patch": attacks.train_patch(
            model, x, 1, steps=3, batch=4, size=16, light=0.1, generator=draw(), progress=False
        ).patch,
        "heat": physical.find_mask(model, x[0], views, 1, generator=draw(), **objects),
        "stickers": refined.texture,
        "texture": physical.texture_attack(model, x[0], views, 1, generator=draw(), **objects).texture,
    }


def figures(seed=0):
    """{attack: a digest of every bit that it made}."""
    return {
        name: hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest()[:16]
        for name, image in made(seed).items()
    }


if __name__ == "__main__":
    print(json.dumps(figures()))
