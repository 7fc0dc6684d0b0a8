"""The toaster patch on photographs that it was not trained on: success by size, by rotation, and beside a picture of a toaster.

    python benchmarks/toaster.py [--placements 8] [--network efficientnet_lite0] [--leave-one-out]

Intervals are over photographs and not over placements. --leave-one-out trains a patch for each photograph on all the others,
two or three minutes each.
"""

import argparse

import torch

from medattack_edu import freeze, metrics, runtime, trained_patches
from medattack_edu.models import victims
from medattack_edu.scenes import photographs

SCALES = (0.2, 0.3, 0.4, 0.5, 0.62)
ANGLES = (0, 10, 20, 30, 45, 60, 75, 90)


def written(success):
    return f"{100 * success:.0f} % ({100 * success.low:.0f} to {100 * success.high:.0f}), n = {success.n}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--placements", type=int, default=8, help="of the patch on each photograph")
    parser.add_argument(
        "--leave-one-out", action="store_true", help="train a patch for each photograph on all the others"
    )
    parser.add_argument("--network", default="efficientnet_lite0", help="or any of torchvision's, which is downloaded")
    arguments = parser.parse_args()
    model = freeze(victims.new_model(arguments.network, 1000).to(runtime.device()))

    def success(x, patch, **options):
        return metrics.patch_success(
            model,
            x,
            patch,
            trained_patches.TOASTER,
            placements=arguments.placements,
            generator=runtime.generator(1),
            **options,
        )

    if arguments.leave_one_out:
        x, names = photographs.photographs(224)
        print(
            "photograph left out | "
            + " | ".join(f"at {scale}" for scale in SCALES)
            + "\n"
            + "--- | " * len(SCALES)
            + "---"
        )
        shares = []
        for row, name in enumerate(names):
            patch = trained_patches.train_toaster(
                [other for other in names if other != name], f"without the {name}", arguments.network
            ).patch
            shares.append(torch.cat([success(x[row : row + 1], patch, scale=scale).by_image for scale in SCALES]))
            print(name, *(f"{100 * share:.0f} %" for share in shares[-1].tolist()), sep=" | ", flush=True)
        overall = [metrics.proportion(of_scale.sum(), len(names)) for of_scale in torch.stack(shares, 1)]
        print("all", *map(written, overall), sep=" | ")
        return

    x, names = photographs.photographs(224, photographs.SHOWN)
    patch, picture = trained_patches.toaster(arguments.network).patch, photographs.toaster_picture(112)
    print(
        f"{', '.join(names)}; {arguments.placements} placements each.\n\nscale | patch | picture of a toaster | each photograph"
    )
    print("--- | " * 3 + "---")
    for scale in SCALES:
        by_patch, by_picture = success(x, patch, scale=scale), success(x, picture, scale=scale, mask="square")
        each = ", ".join(
            f"{name} {100 * share:.0f}" for name, share in zip(names, by_patch.by_image.tolist(), strict=True)
        )
        print(scale, written(by_patch), written(by_picture), each, sep=" | ", flush=True)
    print("\nangle at 0.5 | patch\n--- | ---")
    for angle in ANGLES:
        print(angle, written(success(x, patch, scale=0.5, angle=angle)), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
