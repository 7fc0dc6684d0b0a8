"""Attacked objects that are made once and then read from the cache: the stop sign's stickers and the bottle's texture.

Here is what they are made for: which views, which target, how long. How it works is in `attacks.physical`, what the objects
look like in `scenes`.
"""

from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F

from medattack_edu import runtime
from medattack_edu.attacks import physical
from medattack_edu.attacks.physical import Attacked
from medattack_edu.cache import digest_of, kept
from medattack_edu.models import efficientnet_lite
from medattack_edu.models import signs as sign_model
from medattack_edu.models.freeze import freeze
from medattack_edu.scenes import bottle, signs, streets

STOP, SPEED_LIMIT_45 = signs.CLASSES.index("stop"), signs.CLASSES.index("speed limit 45")
STICKERS = 8
SIZES = ((12, 24), (24, 12), (18, 18))  # heights and widths of a sticker, texels
CELL = 6  # texels of the smallest piece of tape: 2 inches on a sign of 30
EDGE = 2  # texels: stickers keep away from the sign's edge
ATTACKED_DISTANCES, ATTACKED_ANGLES = (
    (5.0, 80.0),
    35.0,
)  # feet and degrees: all that the laboratory and the car will see
STICKER_BATCH = 16
PRINTABILITY = 2.0
# Where the stickers lie decides more than how long a climb is. So many places are tried with a short climb, the best of
# them with a longer one, and only the best of these is refined.
PENALTIES, SEARCH_STEPS = (10.0, 40.0), 40
PLACES, SHORT = 10, 20
FINALISTS, LONG = 4, 60
JITTER = 0.6  # of the heat: what makes one choice of places differ from the next
PASSES, VIEWS = 3, 64

ICE_LOLLY = 929  # a class of ImageNet: what a child would take for a sweet
TEXTURE_STEPS, TEXTURE_BATCH = 200, 10
POOL = 64  # places of the camera that the attack on the bottle looks from; the bottle turns freely at each

_HERE = Path(__file__)
_SIGN_FILES = (_HERE, *(Path(module.__file__) for module in (physical, sign_model, signs, streets)))
_BOTTLE_FILES = (_HERE, *(Path(module.__file__) for module in (physical, efficientnet_lite, bottle, streets)))


def prepare():
    """Make what isn't in the cache yet: sign classifier, stickers, the bottle's texture. Some three minutes on one core."""
    stop_sticker()
    bottle_texture()


# --- The stop sign -------------------------------------------------------------------------------------------------


def draw_stop(texture, n, generator):
    """`n` random views of a stop sign with that texture (3, h, w): what the stickers are made to survive."""
    _, outline = signs.sign("stop", texture.shape[-1])
    views = signs.random_views(n, distances=ATTACKED_DISTANCES, angles=ATTACKED_ANGLES, generator=generator)
    return signs.look(texture, outline, views).to(runtime.device())


def sticker_room():
    """Where stickers may be put: (1, h, w), 1 on the stop sign except near its edge."""
    _, outline = signs.sign("stop")
    return (F.avg_pool2d(outline[None], 2 * EDGE + 1, 1, EDGE)[0] > 0.999).float()


def stop_sticker(seed=0):
    """Stickers that make the sign classifier read "speed limit 45" on a stop sign; made in a minute the first time.

    Returns:
        Attacked, its texture (3, 96, 96) being the whole sign.
    """
    path = runtime.cache_dir("physical") / f"stop-stickers-{digest_of(_SIGN_FILES, seed)}.safetensors"
    return _attacked(kept(path, lambda: _make_sticker(seed)), SPEED_LIMIT_45)


def _make_sticker(seed):
    from tqdm.auto import tqdm

    model, generator = sign_model.classifier(), runtime.generator(seed)
    texture, _ = signs.sign("stop")
    given = {"draw": draw_stop, "target": SPEED_LIMIT_45, "generator": generator}

    def climbed(masks, steps, title):
        made = []
        for mask in tqdm(masks, desc=title):
            made.append(
                physical.sticker_attack(
                    model, texture, mask, cell=CELL, printability=PRINTABILITY, steps=steps, batch=STICKER_BATCH,
                    progress=False, **given,
                )
            )  # fmt: skip
            if made[-1].interrupted:
                raise KeyboardInterrupt
        return made

    def best(made, n):
        seed = int(torch.randint(2**31, (1,), generator=generator))
        likely = [
            physical.mean_log_probability(model, each.texture, draw_stop, SPEED_LIMIT_45, seed=seed) for each in made
        ]
        return [made[row] for row in torch.tensor(likely).argsort(descending=True)[:n].tolist()]

    short = best(climbed(_places(model, texture, given), SHORT, "trying places for the stickers"), FINALISTS)
    (longer,) = best(climbed([made.mask for made in short], LONG, "trying the best places for longer"), 1)
    return _tensors(
        physical.refine_stickers(model, longer, draw_stop, cell=CELL, passes=PASSES, views=VIEWS, generator=generator)
    )


def _places(model, texture, given):
    """Masks to try: rectangles where the search finds most heat, and others where chance adds to it."""
    room = sticker_room()
    heats = [
        physical.find_mask(
            model, texture, allowed=room, penalty=penalty, cell=CELL, steps=SEARCH_STEPS, batch=STICKER_BATCH, **given
        )
        for penalty in PENALTIES
    ]
    masks = []
    for number in range(PLACES):
        heat = heats[number % len(heats)]
        if number >= len(heats):
            chance = torch.rand(1, 1, heat.shape[0] // CELL, heat.shape[1] // CELL, generator=given["generator"])
            heat = heat / heat.max() + JITTER * F.interpolate(chance, heat.shape)[0, 0]
        masks.append(physical.rectangles(heat, room, n=STICKERS, sizes=SIZES, grid=CELL))
    return masks


def random_sticker(mask, *, cell=CELL, generator=None):
    """The control: stickers of the same place and size, each square of them black or white by the toss of a coin.

    Returns:
        The stop sign with them, (3, h, w).
    """
    texture, _ = signs.sign("stop", mask.shape[-1])
    dark, light = torch.tensor(physical.PRINTABLE)[:, :, None, None]
    squares = -(-mask.shape[-1] // cell)
    coins = (torch.rand(squares, squares, generator=generator) < 0.5).float()
    coins = coins.repeat_interleave(cell, 0).repeat_interleave(cell, 1)[: mask.shape[1], : mask.shape[2]]
    return physical.apply_mask(texture, dark + (light - dark) * coins, mask)


# --- The bottle ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def object_classifier():
    """EfficientNet-Lite0 with its 1,000 ImageNet classes, made ready for attacks, on the device."""
    return freeze(efficientnet_lite.efficientnet_lite0().to(runtime.device()))


@lru_cache(maxsize=2)
def _pool(seed, size):
    return bottle.maps(bottle.random_poses(POOL, generator=runtime.generator(seed)), size)


def draw_bottle(texture, n, generator, *, seed=1, size=bottle.SIZE):
    """`n` random views of the bottle with that texture (3, h, w): one of `POOL` places and rooms each, turned at random."""
    pool = _pool(seed, size)
    rows = torch.randint(0, len(pool), (n,), generator=generator)
    return bottle.render(texture, pool[rows].spun(360 * torch.rand(n, generator=generator))).to(runtime.device())


def bottle_texture(seed=0):
    """A new surface that makes the bottle an ice lolly to EfficientNet-Lite0; made in two minutes the first time.

    Returns:
        Attacked, its texture (3, 112, 176) being the unrolled bottle.
    """
    path = runtime.cache_dir("physical") / f"bottle-texture-{digest_of(_BOTTLE_FILES, seed)}.safetensors"
    return _attacked(kept(path, lambda: _tensors(make_texture(seed))), ICE_LOLLY)


def make_texture(seed=0, colour=0.0):
    """Make that surface anew, which isn't kept; `colour` is the price of a step in colour, see `texture_attack`."""
    return physical.texture_attack(
        object_classifier(), bottle.label(), draw_bottle, ICE_LOLLY, colour=colour, steps=TEXTURE_STEPS, batch=TEXTURE_BATCH,
        generator=runtime.generator(seed),
    )  # fmt: skip


def random_texture(attacked, *, generator=None):
    """The control: the ordinary label changed as much at every texel as `attacked` changed it, in a random direction.

    Each texel's change is taken from another texel of the label, its sign by the toss of a coin.

    Returns:
        (3, h, w) in [0, 1].
    """
    plain = bottle.label()
    change = (attacked.texture - plain) * attacked.mask
    inside = torch.nonzero(attacked.mask.flatten() > 0).flatten()
    moved = change.flatten(1).clone()
    moved[:, inside] = moved[:, inside[torch.randperm(len(inside), generator=generator)]]
    signs_of = torch.where(torch.rand(moved.shape, generator=generator) < 0.5, -1.0, 1.0)
    return (plain + (moved * signs_of).view_as(plain)).clamp(0, 1)


# --- Kept tensors ----------------------------------------------------------------------------------------------------


def _tensors(made):
    """An `Attacked` as tensors for a file."""
    if made.interrupted:
        raise KeyboardInterrupt  # half of it isn't worth keeping
    return {"texture": made.texture, "mask": made.mask, "history": torch.tensor(made.history)}


def _attacked(tensors, target):
    return Attacked(tensors["texture"], tensors["mask"], target, tensors["history"].tolist())
