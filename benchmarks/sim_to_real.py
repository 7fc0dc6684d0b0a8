"""What is learnt from phantoms, held against real images: train as a victim does, on phantoms alone, and score on real ones.

    python benchmarks/sim_to_real.py --data PATH [fundus chest derm] [--phantoms 1200] [--epochs 4] [--lr 2e-4] [--seeds 3]

PATH holds fundus/, chest/ and derm/, each with train/ and test/ (see README, "your own images"). Whoever changes a phantom
repeats this. Tune on ``--split train``; look at ``test`` last. About ten minutes a clinic on 2 cores.

The training learns more slowly than a lesson's victim does: at the victims' rate it goes on to learn how phantoms
are drawn, and what it has learnt of the disease gets lost.
"""

import argparse
import statistics

import torch

from medattack_edu import metrics, runtime
from medattack_edu.clinics import folder, phantoms
from medattack_edu.clinics.images import ImageSet
from medattack_edu.clinics.tasks import CLASSES
from medattack_edu.models.efficientnet_lite import efficientnet_lite0
from medattack_edu.models.finetune import augmentation, finetune
from medattack_edu.models.victims import AUGMENTATION, START_SMALL, upper_layers

HELD_OUT = 400  # phantoms to score on


def phantom_set(name, n, seed, size):
    """`n` fresh phantoms as an ImageSet."""
    images, labels = phantoms.draw_many(name, n, seed=seed, size=size)
    return ImageSet(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels), CLASSES[name])


def auc(model, images):
    """The model's AUC on an ImageSet, with its interval."""
    device = runtime.device()
    answers = torch.cat(
        [metrics.logits(model, part.to(device).float() / 255) for part in images.images.split(metrics.BATCH)]
    )
    return metrics.auc((answers[:, 1] - answers[:, 0]).cpu(), images.labels)


def measure(name, real, *, n, epochs, lr, seeds, size):
    """Print the AUC on phantoms and on the `real` ImageSet for each seed, and the mean of all."""
    on_phantoms, on_real = [], []
    for seed in range(seeds):
        train = phantom_set(name, n, 1000 + seed, size)
        held_out = phantom_set(name, HELD_OUT, 2000 + seed, size)
        torch.manual_seed(seed)
        model = efficientnet_lite0(2)
        finetune(
            model,
            train,
            epochs=epochs,
            lr=lr,
            seed=seed,
            augment=augmentation(AUGMENTATION),
            parameters=upper_layers(model),
            start_small=START_SMALL,
            title=f"{name}, seed {seed}",
        )
        drawn, photographed = auc(model, held_out), auc(model, real)
        print(f"{name} seed {seed}: phantoms {drawn}; real {photographed}", flush=True)
        on_phantoms.append(float(drawn))
        on_real.append(float(photographed))
    spread = statistics.stdev(on_real) if seeds > 1 else float("nan")
    print(
        f"{name}: mean AUC on phantoms {statistics.mean(on_phantoms):.3f}, on real images {statistics.mean(on_real):.3f} "
        f"(standard deviation over {seeds} seeds {spread:.3f}; {n} phantoms, {epochs} epochs, learning rate {lr:g}, {size} px)",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clinics", nargs="*", default=list(CLASSES), help="default: all three")
    parser.add_argument("--data", default=runtime.data_root(), help="folder of real images; default: MEDATTACK_DATA")
    parser.add_argument("--split", choices=("train", "test"), default="test", help="real images to score on")
    parser.add_argument("--phantoms", type=int, default=1200)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=2e-4, help="the highest learning rate of the cycle")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=128)
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("no real images: give --data PATH, or set MEDATTACK_DATA")
    for name in arguments.clinics:
        real = getattr(folder.load(arguments.data, arguments.size, name=name), arguments.split)
        given = {option: getattr(arguments, option) for option in ("epochs", "lr", "seeds", "size")}
        measure(name, real, n=arguments.phantoms, **given)


if __name__ == "__main__":
    main()
