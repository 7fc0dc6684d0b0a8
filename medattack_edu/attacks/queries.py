"""Attacks by questions alone, where the answer holds numbers: NES estimates the gradient, Square searches at random.

Both take an `Oracle` in place of a model. They stop asking about an image as soon as it is answered as wanted, and work on
the unfinished ones only. Attacks on an oracle that gives labels alone are in `labels`.
"""

import torch
import torch.nn.functional as F

from medattack_edu.attacks._draws import coins, draw, home
from medattack_edu.attacks._inputs import check_asking
from medattack_edu.attacks.gradient import per_image, project
from medattack_edu.attacks.oracle import QueriesRefused

CHUNK = 64  # images that are drawn at once for an estimate
# How the square's area shrinks: halved at these shares of the queries (Andriushchenko et al. 2020, section 5, for 10,000).
SHRINK_AT = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
HALVINGS = 3  # of the step of `nes_attack`, at most
REDRAWS = 10  # of a square that changes nothing; an image that is at its limits everywhere would need for ever


def nes_gradient(score, x, *, samples=40, sigma=1e-3, grid=None, generator=None):
    """The gradient of `score` at `x`, estimated from its values alone (Ilyas et al. 2018, arXiv 1804.08598, algorithm 1).

    Asks at pairs of points, a little to one side and a little to the other (antithetic), in random directions u:
    the mean of (score(x + sigma u) - score(x - sigma u)) / (2 sigma) * u. Points are cut to the pixel range.

    Args:
        score: from images (M, C, H, W) to numbers (M,). Image i is a neighbour of ``x[i % N]``.
        x: images (N, C, H, W) in [0, 1].
        samples: questions about each image, an even number.
        sigma: size of the little steps, in pixel units.
        grid: draw directions of so many pixels a side and enlarge them, so that neighbouring pixels move together: a guess
            that the gradient is smooth, which pays where it is; default: each pixel by itself.
        generator: of the directions.

    Returns:
        The estimate, shaped as `x`.
    """
    if samples < 2 or samples % 2:
        raise ValueError(f"samples={samples}: antithetic directions come in pairs; give an even number, 2 or more.")
    total = torch.zeros_like(x)
    pairs_left = samples // 2
    while pairs_left and len(x):
        pairs = min(pairs_left, max(1, CHUNK // (2 * len(x))))
        u = directions(pairs, x, grid, generator)
        points = torch.cat([x + sigma * u, x - sigma * u]).clamp_(0, 1)
        values = score(points.flatten(0, 1)).view(2, pairs, len(x), 1, 1, 1)
        total += ((values[0] - values[1]) / (2 * sigma) * u).sum(0)
        pairs_left -= pairs
    return total / (samples // 2)


def nes_attack(
    oracle,
    x,
    y,
    *,
    eps,
    queries=2000,
    samples=40,
    sigma=1e-3,
    step_size=None,
    patience=5,
    momentum=0.9,
    grid=None,
    target=None,
    generator=None,
    ids=None,
    on_step=None,
):
    """PGD along the estimated gradient (Ilyas et al. 2018, arXiv 1804.08598), in the L-infinity ball.

    As in the authors' code, an image that gets no further takes shorter steps: first large ones, that get away from where the
    model is flat and sure, then small ones, that an estimate's noise doesn't carry back and forth.

    Args:
        oracle: an `Oracle` that reveals probabilities or logits.
        x: images (N, C, H, W), float, in [0, 1].
        y: true labels (N,), int64.
        eps: radius of the ball, in pixel units; one number or one for each image (N,).
        queries: the most questions about one image; the oracle's own budget holds as well.
        samples, sigma, grid: of the estimate, as in `nes_gradient`.
        step_size: length of the first steps; default ``eps / 2``.
        patience: after so many steps without a better answer an image's step is halved, down to an eighth of the first; None:
            never.
        momentum: share of the past estimates that is kept.
        target: labels (N,) to move towards; default: move away from `y`.
        generator: of the directions.
        ids: patient ids (N,), under which the oracle counts; default: the row numbers.
        on_step: a function that is shown ``(x_adv, rows, estimate)`` after each step: all images as they are, the rows that
            were worked on, and their estimates.

    Returns:
        Images, same shape, dtype and device as `x`, in [0, 1] and within eps of x: the last step where queries ran out.

    Raises:
        ValueError: if the inputs don't fit together, or the oracle has nothing left to ask.
    """
    ids = check_asking(
        oracle, x, y, eps=eps, queries=queries, target=target, ids=ids, needs=("probabilities", "logits")
    )
    if patience is not None and patience < 1:
        raise ValueError(f"patience={patience}: wait for one step or more, or None to keep the step's length.")
    eps = per_image(eps, x)
    step_size = (eps / 2 if step_size is None else per_image(step_size, x)).clone()
    shortest, best, waited = step_size / 2**HALVINGS, torch.full((len(x),), -float("inf")), torch.zeros(len(x))
    affordable = purse(oracle, ids, queries)
    x_adv, direction = x.clone(), torch.zeros_like(x)
    going = affordable(torch.arange(len(x)), 1)
    going = going[margins_now(oracle, x_adv, y, target, ids, going) <= 0]
    while len(going := affordable(going, samples + 1)):
        score = score_of(oracle, y, target, ids, going)
        try:
            estimate = nes_gradient(score, x_adv[going], samples=samples, sigma=sigma, grid=grid, generator=generator)
        except QueriesRefused:  # a patient was locked meanwhile and has nothing left; the others go on
            continue
        direction[going] = momentum * direction[going] + estimate
        x_adv[going] = project(x_adv[going] + step_size[going] * direction[going].sign(), x[going], eps[going])
        if on_step is not None:
            on_step(x_adv, going, estimate)
        margins = margins_now(oracle, x_adv, y, target, ids, going)
        waited[going] = torch.where(margins > best[going], 0, waited[going] + 1)
        best[going] = torch.maximum(margins, best[going])
        if patience is not None and (stuck := waited[going] >= patience).any():
            rows = going[stuck]
            step_size[rows] = torch.maximum(step_size[rows] / 2, shortest[rows])
            waited[rows], best[rows] = 0, margins[stuck]
        going = going[margins <= 0]
    return x_adv


def square_attack(oracle, x, y, *, eps, queries=1000, area=0.05, target=None, generator=None, ids=None, on_step=None):
    """The Square attack (Andriushchenko et al. 2020, arXiv 1912.00049), L-infinity: random search without any gradient.

    Starts with vertical stripes of plus and minus eps. Then proposes one square at a time, whose pixels all move to plus or
    minus eps in each colour, and keeps it where the answer came closer to what is wanted. The squares shrink.

    Args:
        oracle, x, y, eps, target, generator, ids: as in `nes_attack`.
        queries: the most questions about one image; the squares shrink along this number.
        area: share of the image that the first squares cover.
        on_step: a function that is shown ``(x_adv, rows, None)`` after each question.

    Returns, Raises: as `nes_attack`.
    """
    ids = check_asking(
        oracle, x, y, eps=eps, queries=queries, target=target, ids=ids, needs=("probabilities", "logits")
    )
    if not 0 < area <= 1:
        raise ValueError(f"area={area}: a square covers a share of the image, above 0 and at most 1.")
    eps = per_image(eps, x)
    affordable = purse(oracle, ids, queries)
    x_adv, best = x.clone(), torch.full((len(x),), -float("inf"), dtype=x.dtype, device=x.device)
    going = affordable(torch.arange(len(x)), 1)
    going = going[margins_now(oracle, x_adv, y, target, ids, going) <= 0]
    for step in range(queries):
        going = affordable(going, 1)
        if not len(going):
            break
        if step == 0:
            proposal = stripes(x[going], eps[going], generator)
        else:
            proposal = with_square(x_adv, x, eps, going, side_of(step / queries, area, x), generator)
        try:
            values = score_of(oracle, y, target, ids, going)(proposal).to(best)
        except QueriesRefused:
            continue
        better = values > best[going]
        x_adv[going[better.cpu()]], best[going[better.cpu()]] = proposal[better], values[better]
        if on_step is not None:
            on_step(x_adv, going, None)
        going = going[best[going].cpu() <= 0]
    return x_adv


def margin(answers, reveals, y, target=None):
    """How far the answers are beyond the border to what the attacker wants (N,): positive when they are there.

    From probabilities it is taken between logarithms, because a model that is sure of one class still tells
    1e-9 from 1e-8 in the other, where 1 minus that is 1 in either case.

    Args:
        answers: probabilities or logits (N, classes), as `reveals` says.
        y: true labels (N,). target: wanted labels (N,), or None for any but `y`.
    """
    tiny = torch.finfo(answers.dtype).tiny
    logits = answers.clamp(min=tiny).log() if reveals == "probabilities" else answers
    label = y if target is None else target
    chosen = F.one_hot(label, logits.shape[1]).bool()
    of_label = logits[chosen]
    of_others = logits.masked_fill(chosen, -float("inf")).amax(1)
    return of_others - of_label if target is None else of_label - of_others


def score_of(oracle, y, target, ids, rows):
    """What an attack climbs: a function from neighbours of the images `rows` (M, C, H, W), M a multiple of them, to (M,)."""

    def score(points):
        which = rows.repeat(len(points) // len(rows))
        return margin(oracle(points, ids[which]), oracle.reveals, y[which], None if target is None else target[which])

    return score


def margins_now(oracle, x_adv, y, target, ids, rows):
    """How far the images `rows` are beyond the border (M,), on the CPU; one question each. Refused, all are endlessly far from it."""
    try:
        return score_of(oracle, y, target, ids, rows)(x_adv[rows]).float().cpu() if len(rows) else torch.zeros(0)
    except QueriesRefused:
        return torch.full((len(rows),), -float("inf"))


def purse(oracle, ids, queries):
    """A function from rows and a price to those rows that can still pay it, by the oracle's budget and by `queries`."""
    before = oracle.spent(ids)

    def affordable(rows, price):
        spent = oracle.spent(ids[rows]) - before[rows]
        return rows[(oracle.left(ids[rows]) >= price) & (spent + price <= queries)]

    return affordable


def directions(pairs, x, grid, generator):
    """Standard normal directions (pairs, N, C, H, W), drawn where the generator lives; coarse and enlarged with a `grid`."""
    height, width = x.shape[-2:] if grid is None else (grid, grid)
    u = draw(torch.randn, (pairs * len(x), x.shape[1], height, width), x, generator)
    if grid is not None:
        u = F.interpolate(u, x.shape[-2:], mode="nearest")
    return u.view(pairs, *x.shape)


def stripes(x, eps, generator):
    """Images with a vertical stripe of plus or minus eps in each column and colour: where the Square attack begins."""
    return (x + eps * coins((len(x), x.shape[1], 1, x.shape[3]), x, generator)).clamp(0, 1)


def side_of(done, area, x):
    """The side of the squares, in pixels, when this share of the queries is done."""
    halvings = sum(done > share for share in SHRINK_AT)
    height, width = x.shape[-2:]
    return min(max(round((area / 2**halvings * height * width) ** 0.5), 1), height - 1, width - 1)


def with_square(x_adv, x, eps, rows, side, generator):
    """A copy of the images `rows` with one square in each: there it is x plus or minus eps, by a coin for each colour.

    A square that would change nothing is drawn again, as in the authors' code.
    """
    proposal = x_adv[rows]
    height, width = x.shape[-2:]
    for place, row in enumerate(rows.tolist()):
        top = int(torch.randint(0, height - side + 1, (1,), generator=generator, device=home(generator)))
        left = int(torch.randint(0, width - side + 1, (1,), generator=generator, device=home(generator)))
        window = (slice(None), slice(top, top + side), slice(left, left + side))
        for _ in range(REDRAWS):
            square = (x[row][window] + eps[row] * coins((x.shape[1], 1, 1), x, generator)).clamp(0, 1)
            if not torch.equal(square, x_adv[row][window]):
                break
        proposal[place][window] = square
    return proposal
