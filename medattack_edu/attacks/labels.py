"""Attacks on an oracle that tells its top label and nothing else. Each starts at an image of the wanted class and moves in.

Both take one patient at a time: how many questions a patient needs depends on where the border happens to run.
"""

import torch

from medattack_edu.attacks._draws import draw
from medattack_edu.attacks._inputs import check_asking, check_images
from medattack_edu.attacks.gradient import per_image, project
from medattack_edu.attacks.oracle import QueriesRefused
from medattack_edu.attacks.queries import purse

HALVINGS = 12  # of the distance, when moving in: the border is found to a four-thousandth of it
# Of the noise that asks around an image, as a share of the distance still to go: a vote among noisy copies needs some that
# change their label; a direction at the border itself is told best from close by.
FIRST_REACH = {"votes": 0.1, "directions": 0.01}
# Noise that is too large carries every copy over the border, and then their answers say nothing: if fewer hold, it is halved.
FEWEST_THAT_HOLD = 0.2


def label_only_attack(
    oracle,
    x,
    y,
    start,
    *,
    eps,
    queries=5000,
    samples=50,
    votes=2,
    generator=None,
    ids=None,
    on_step=None,
):
    """After the label-only attack of Ilyas et al. (2018, arXiv 1804.08598, section 2.4): the gradient of a counted vote.

    A label has no slope, but the share of noisy copies that still carry it has one. This Monte Carlo score takes the
    place of the probability in an NES estimate. From an image of the wanted class the attack moves in: as close to x as the
    label holds, a step up the score, and again. The authors shrink the ball by little steps, and step back where the label is
    lost; here the border is found by halving, and few votes are counted at many points: it takes fewer questions.

    Args:
        oracle: an `Oracle` that reveals labels (or more, of which only the label is used).
        x: images (N, C, H, W), float, in [0, 1].
        y: true labels (N,), int64.
        start: the attacker's own images (N, C, H, W) in [0, 1] which the oracle doesn't answer with `y`. An image whose start
            is answered with `y` stays as it is.
        eps: radius of the L-infinity ball to get into, in pixel units; one number or one for each image (N,).
        queries: the most questions about one image; the oracle's own budget holds as well.
        samples: points of one estimate, an even number. votes: noisy copies that are asked at each.
        generator: of directions and noise.
        ids: patient ids (N,), under which the oracle counts; default: the row numbers.
        on_step: a function that is shown ``(row, image, distance)`` after each step.

    Returns:
        Images, same shape, dtype and device as `x`: within eps of x where the attack got there, and else x itself.

    Raises:
        ValueError: if the inputs don't fit together, or the oracle has nothing left to ask.
    """

    def climb(holds, image, size, step):
        def score(points):
            noise = size * (2 * draw(torch.rand, (votes, *points.shape), points, generator) - 1)
            return holds((points + noise).clamp(0, 1).flatten(0, 1)).view(votes, len(points)).mean(0)

        u = draw(torch.randn, (samples // 2, *image.shape), image, generator)
        values = score(torch.cat([image + size * u, image - size * u]))
        if values.min() == 1:
            return u.mean(0), 1.0
        ahead, behind = values.view(2, -1, 1, 1, 1)
        return ((ahead - behind) / (2 * size) * u).mean(0), values.mean().item()

    if samples < 2 or samples % 2 or votes < 1:
        raise ValueError(f"samples={samples}, votes={votes}: give an even number of directions, and a vote or more.")
    return move_in(oracle, x, y, start, eps, queries, climb, FIRST_REACH["votes"], ids, on_step)


def hop_skip_jump(oracle, x, y, start, *, eps, queries=5000, samples=100, generator=None, ids=None, on_step=None):
    """HopSkipJump (Chen, Jordan and Wainwright 2020, arXiv 1904.02144), L-infinity: the baseline among attacks by label.

    At the border itself, each random direction is answered by yes or no. Their mean, less what is common to all, points
    into the wanted class.

    Args:
        oracle, x, y, start, eps, queries, generator, ids, on_step: as in `label_only_attack`.
        samples: directions of the first estimate; their number grows as the square root of the step's.

    Returns, Raises: as `label_only_attack`.
    """

    def climb(holds, image, size, step):
        u = draw(torch.randn, (round(samples * step**0.5), *image.shape), image, generator)
        points = u.mul_(size).add_(image).clamp_(0, 1)  # in place: there may be a thousand of them
        share = holds(points)
        if share.min() == 1:
            return (points - image).mean(0), 1.0
        votes = share - share.mean()  # they add up to 0, so what all points have in common, the image, drops out
        return torch.tensordot(votes, points, 1) / len(points), share.mean().item()

    if samples < 2:
        raise ValueError(f"samples={samples}: give two directions or more.")
    return move_in(oracle, x, y, start, eps, queries, climb, FIRST_REACH["directions"], ids, on_step)


def move_in(oracle, x, y, start, eps, queries, climb, reach, ids, on_step):
    """What both attacks share: from `start` in to the border, a step along it to where there is room, and in again.

    `climb` takes the answering function, an image at the border, the size of the noise and the step's number, and gives a
    direction and the share of its points that hold. Where all hold, no direction is better than another: any one, the mean of
    those drawn, leads on along the border, as in the code of HopSkipJump's authors.
    """
    ids = check_asking(oracle, x, y, eps=eps, queries=queries, ids=ids, needs=("label", "probabilities", "logits"))
    check_images(start)
    if start.shape != x.shape:
        raise ValueError(f"start must hold one image for each of x, {tuple(x.shape)}; got {tuple(start.shape)}.")
    eps = per_image(eps, x)
    affordable = purse(oracle, ids, queries)
    x_adv = x.clone()
    for row in range(len(x)):
        clean, goal = x[row], eps[row].item()

        def holds(points, row=row):
            """1 for each point that is answered as wanted, else 0; refuses to ask more than may be asked."""
            if not len(affordable(torch.tensor([row]), len(points))):
                raise QueriesRefused("There are too few queries left.", [int(ids[row])])
            told = oracle(points, ids[row].repeat(len(points)))
            return ((told if oracle.reveals == "label" else told.argmax(1)) != y[row]).to(points.dtype)

        try:
            if not holds(clean[None]):
                walk_in(holds, clean, start[row], goal, climb, reach, x_adv, row, on_step)
        except QueriesRefused:
            pass
    return x_adv


def walk_in(holds, clean, image, goal, climb, reach, x_adv, row, on_step):
    """One patient's walk. Writes to `x_adv[row]` as soon as an image within `goal` is answered as wanted."""
    if not holds(image[None]):
        return
    distance = (image - clean).abs().max().item()
    step = 1
    while True:
        if holds(project(image, clean, goal)[None]):
            x_adv[row] = project(image, clean, goal)
            return
        image, distance = to_the_border(holds, image, clean, goal, distance)
        if on_step is not None:
            on_step(row, image, distance)
        uphill, share = climb(holds, image, reach * distance, step)
        while share < FEWEST_THAT_HOLD:
            reach /= 2
            uphill, share = climb(holds, image, reach * distance, step)
        image = first_that_holds(holds, image, uphill.sign(), distance / step**0.5)
        distance = (image - clean).abs().max().item()
        step += 1


def first_that_holds(holds, image, direction, length):
    """The image moved by `length` along a direction, or by a half of it, a quarter, and so on, until its label holds."""
    for _ in range(HALVINGS):
        moved = (image + length * direction).clamp(0, 1)
        if holds(moved[None]):
            return moved
        length /= 2
    return image


def to_the_border(holds, image, clean, low, high):
    """The nearest image to `clean` found by halving: `image` cut to smaller and smaller balls while the label holds.

    Returns:
        It, and its L-infinity distance from `clean`.
    """
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if holds(project(image, clean, middle)[None]):
            high = middle
        else:
            low = middle
    return project(image, clean, high), high
