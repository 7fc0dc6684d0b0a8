"""The checks of lesson 06's exercises accept what is right and name what is wrong."""

import torch
import torch.nn.functional as F
from checks import assert_check_is_sound

from medattack_edu import attacks
from medattack_edu.course.checks import lesson_06
from medattack_edu.course.checks.lesson_06 import climb


def nes_estimate(score, x, pairs, sigma, generator):
    total = torch.zeros_like(x)
    for _ in range(pairs):
        u = torch.randn(x.shape, generator=generator).to(x)
        slope = (score(x + sigma * u) - score(x - sigma * u)) / (2 * sigma)
        total += slope.view(-1, 1, 1, 1) * u
    return total / pairs


def estimate(score, x, pairs, sigma, generator, *, draw=None, ask=None, weigh=None, share=None):
    """The estimator with one part changed; the mistakes below are made of it."""
    total = torch.zeros_like(x)
    for _ in range(pairs):
        u = torch.randn(x.shape, generator=generator) if draw is None else draw(x, generator)
        slope = (score(x + sigma * u) - score(x - sigma * u)) / (2 * sigma) if ask is None else ask(score, x, u, sigma)
        total += slope.view(-1, 1, 1, 1) * u if weigh is None else weigh(slope, u)
    return total / (pairs if share is None else share(pairs, sigma))


def test_check_nes_estimate_knows_right_from_wrong():
    def all_at_the_end(score, x, pairs, sigma, generator):
        us = [torch.randn(x.shape, generator=generator) for _ in range(pairs)]
        forward = torch.stack([score(x + sigma * u) for u in us])
        backward = torch.stack([score(x - sigma * u) for u in us])
        return torch.einsum("kn,knchw->nchw", forward - backward, torch.stack(us)) / (2 * sigma * pairs)

    def as_the_paper_writes_it(score, x, pairs, sigma, generator):
        gradient = torch.zeros(x.shape)
        for _ in range(pairs):
            u = torch.randn(x.shape, generator=generator)
            for sign in (1, -1):
                gradient = gradient + sign * score(x + sign * sigma * u)[:, None, None, None] * u
        return gradient / (2 * pairs * sigma)

    def with_coins(score, x, pairs, sigma, generator):
        return estimate(
            score, x, pairs, sigma, generator, draw=lambda x, g: 2.0 * torch.randint(0, 2, x.shape, generator=g) - 1
        )

    def one_sided(score, x, pairs, sigma, generator):
        total, here = torch.zeros_like(x), score(x)
        for _ in range(2 * pairs - 1):
            u = torch.randn(x.shape, generator=generator)
            total += ((score(x + sigma * u) - here) / sigma).view(-1, 1, 1, 1) * u
        return total / (2 * pairs - 1)

    def one_direction(score, x, pairs, sigma, generator):
        u = torch.randn(x.shape, generator=generator)
        return estimate(score, x, pairs, sigma, generator, draw=lambda x, g: u)

    assert_check_is_sound(
        "nes_estimate",
        solution=nes_estimate,
        alternatives=[all_at_the_end, as_the_paper_writes_it, with_coins],
        mistakes={
            "one-sided": (one_sided, "never at its mirror image"),
            "downhill": (lambda *a: -nes_estimate(*a), "points downhill"),
            "divides by sigma once": (
                lambda *a: estimate(*a, ask=lambda s, x, u, sigma: (s(x + sigma * u) - s(x - sigma * u)) / sigma),
                "its length is 2.0",
            ),
            "adds up and doesn't divide": (lambda *a: estimate(*a, share=lambda pairs, sigma: 1), "its length is 1.5"),
            "forgets sigma": (
                lambda *a: estimate(*a, ask=lambda s, x, u, sigma: (s(x + u) - s(x - u)) / 2),
                "should be about 0.01",
            ),
            "same direction for all images": (
                lambda *a: estimate(*a, draw=lambda x, g: torch.randn(x[:1].shape, generator=g).expand(x.shape)),
                "moved along the same direction",
            ),
            "same direction for all pairs": (one_direction, "All 5 pairs went along the same direction"),
            "one slope for all images": (lambda *a: estimate(*a, weigh=lambda slope, u: slope.mean() * u), "its length is 0.3"),
            "steepness without its sign": (
                lambda *a: estimate(*a, weigh=lambda slope, u: slope.abs().view(-1, 1, 1, 1) * u),
                "each image by its own answers alone",
            ),
            "uniform directions": (
                lambda *a: estimate(*a, draw=lambda x, g: torch.rand(x.shape, generator=g) - 0.5),
                "standard normal directions",
            ),
            "own generator": (
                lambda s, x, p, sigma, g: nes_estimate(s, x, p, sigma, torch.Generator().manual_seed(0)),
                "Draw the directions with `generator`",
            ),
            "one image at a time": (
                lambda s, x, p, sigma, g: torch.cat([nes_estimate(s, image[None], p, sigma, g) for image in x]),
                "takes the 3 images at once",
            ),
            "twice as many questions": (lambda s, x, p, sigma, g: nes_estimate(s, x, 2 * p, sigma, g), "you asked 20"),
        },
    )


def variance_of(estimator, seeds):
    runs = torch.stack([estimator(torch.Generator().manual_seed(seed)) for seed in seeds])
    return runs.var(0).sum().item()


def runs_of(estimator, seeds):
    return torch.stack([estimator(torch.Generator().manual_seed(seed)) for seed in seeds])


def test_check_variance_of_knows_right_from_wrong():
    def by_distances(estimator, seeds):
        runs = [estimator(torch.Generator().manual_seed(seed)) for seed in seeds]
        mean = sum(runs) / len(runs)
        return sum(float((run - mean).square().sum()) for run in runs) / (len(runs) - 1)

    def by_pairs(estimator, seeds):
        runs = runs_of(estimator, seeds).flatten(1)
        return (torch.cdist(runs, runs).square().sum() / (2 * len(runs) * (len(runs) - 1))).numpy()

    def one_generator(estimator, seeds):
        generator = torch.Generator().manual_seed(seeds[0])
        return torch.stack([estimator(generator) for _ in seeds]).var(0).sum()

    assert_check_is_sound(
        "variance_of",
        solution=variance_of,
        alternatives=[by_distances, by_pairs],
        mistakes={
            "mean over pixels": (lambda e, s: runs_of(e, s).var(0).mean(), "the mean over the numbers"),
            "divides by n": (lambda e, s: runs_of(e, s).var(0, correction=0).sum(), "divide by one less"),
            "standard deviation": (lambda e, s: runs_of(e, s).std(0).sum(), "standard deviations"),
            "one pot": (lambda e, s: runs_of(e, s).var(), "one pot"),
            "its root": (lambda e, s: runs_of(e, s).var(0).sum().sqrt(), "its root, a length"),
            "from zero": (lambda e, s: runs_of(e, s).square().mean(0).sum(), "squared distance from 0"),
            "hands over seeds": (lambda e, s: torch.stack([e(seed) for seed in s]).var(0).sum(), "takes a torch.Generator"),
            "one generator for all": (one_generator, "you ran with generators of the seeds"),
            "a tensor": (lambda e, s: runs_of(e, s).var(0), "should be one number"),
            "only once": (lambda e, s: runs_of(e, s[:2]).var(0).sum(), "you ran the estimator 2 times"),
        },
    )


def label_score(tell, x, label, copies, radius, generator):
    kept = torch.zeros(len(x), device=x.device)
    for _ in range(copies):
        noise = radius * (2 * torch.rand(x.shape, generator=generator).to(x) - 1)
        kept += tell((x + noise).clamp(0, 1)) == label
    return kept / copies


def score(tell, x, label, copies, radius, generator, *, noise=None, cut=True, kept=torch.eq):
    """The score with one part changed."""
    noise = noise or (lambda: 2 * torch.rand(x.shape, generator=generator) - 1)
    told = [tell((x + radius * noise()).clamp(0, 1) if cut else x + radius * noise()) for _ in range(copies)]
    return torch.stack([kept(labels, label) for labels in told]).float().mean(0)


def test_check_label_score_knows_right_from_wrong():
    def stacked(tell, x, label, copies, radius, generator):
        told = torch.stack(
            [tell((x + radius * (1 - 2 * torch.rand(x.shape, generator=generator))).clip(0, 1)) for _ in range(copies)]
        )
        return (told == label).double().mean(0)

    def counting_losses(tell, x, label, copies, radius, generator):
        lost = torch.zeros(len(x))
        for _ in range(copies):
            noise = torch.empty(x.shape).uniform_(-radius, radius, generator=generator)
            lost = lost + (tell(torch.clamp(x + noise, 0, 1)) != label).float()
        return 1 - lost / copies

    def same_noise(tell, x, label, copies, radius, generator):
        fixed = 2 * torch.rand(x.shape, generator=generator) - 1
        return score(tell, x, label, copies, radius, generator, noise=lambda: fixed)

    def one_for_the_batch(tell, x, label, copies, radius, generator):
        return score(
            tell, x, label, copies, radius, generator, noise=lambda: 2 * torch.rand(x[:1].shape, generator=generator) - 1
        )

    def gaussian(tell, x, label, copies, radius, generator):
        return score(tell, x, label, copies, radius, generator, noise=lambda: torch.randn(x.shape, generator=generator))

    def only_brighter(tell, x, label, copies, radius, generator):
        return score(tell, x, label, copies, radius, generator, noise=lambda: torch.rand(x.shape, generator=generator))

    assert_check_is_sound(
        "label_score",
        solution=label_score,
        alternatives=[stacked, counting_losses],
        mistakes={
            "share that lost it": (lambda *a: score(*a, kept=torch.ne), "copies that lost it"),
            "share of label 1": (lambda *a: score(*a, kept=lambda told, label: told == 1), "copies that lost it"),
            "not cut to the range": (lambda *a: score(*a, cut=False), "pixels between 0 and 1"),
            "normal noise": (gaussian, "Uniform noise ends at the radius"),
            "noise only upwards": (only_brighter, "only makes pixels brighter"),
            "same noise for every copy": (same_noise, "Draw it anew"),
            "same noise for all images": (one_for_the_batch, "Each needs a draw of its own"),
            "no noise": (lambda t, x, label, c, r, g: label_score(t, x, label, c, 0.0, g), "are the image itself"),
            "counts and doesn't divide": (lambda *a: score(*a) * a[3], "A share lies between 0 and 1"),
            "one copy": (lambda t, x, label, c, r, g: label_score(t, x, label, 1, r, g), "you asked 1 times"),
            "one number for all": (lambda *a: score(*a).mean(), "the score"),
            "own generator": (
                lambda t, x, label, c, r, g: label_score(t, x, label, c, r, torch.default_generator),
                "Draw the noise with `generator`",
            ),
        },
    )


def my_attack(oracle, x, y, eps, queries):
    def propose(x_adv, x, done):
        side = round(x.shape[-1] * (0.75 - 0.55 * done))
        top, left = torch.randint(0, x.shape[-1] - side + 1, (2,)).tolist()
        window = (..., slice(top, top + side), slice(left, left + side))
        coins = torch.randint(0, 2, x.shape if torch.rand(()) < 0.5 else (len(x), 3, 1, 1)).to(x)
        x_adv[window] = (x + eps * (2 * coins - 1))[window]
        return x_adv.clamp(0, 1)

    return climb(oracle, x, y, queries, propose)


def test_check_my_attack_knows_right_from_wrong():
    def nes(oracle, x, y, eps, queries):
        return attacks.nes_attack(oracle, x, y, eps=eps, queries=queries, samples=20)

    def square(oracle, x, y, eps, queries):
        return attacks.square_attack(oracle, x, y, eps=eps, queries=queries, area=0.25)

    def cells(oracle, x, y, eps, queries):
        def propose(x_adv, x, done):
            new = x + eps * F.interpolate(2.0 * torch.randint(0, 2, (len(x), 3, 4, 4)) - 1, x.shape[-2:])
            where = F.interpolate((torch.rand(len(x), 1, 4, 4) < 0.15).float(), x.shape[-2:]) > 0
            return torch.where(where, new, x_adv).clamp(0, 1)

        return climb(oracle, x, y, queries, propose)

    def noise(oracle, x, y, eps, queries):
        return climb(oracle, x, y, queries, lambda x_adv, x, done: attacks.random_noise(x, eps=eps))

    def keeps_what_hurts(oracle, x, y, eps, queries):
        return my_attack(oracle, x, 1 - y, eps, queries)

    def keeps_everything(oracle, x, y, eps, queries):
        x_adv = x.clone()
        for _ in range(queries):
            x_adv = (x_adv + 0.1 * eps * torch.randn(x.shape).sign()).clamp(x - eps, x + eps).clamp(0, 1)
            oracle(x_adv)
        return x_adv

    def counts_wrong(oracle, x, y, eps, queries):
        return climb(oracle, x, y, 2 * queries, lambda x_adv, x, done: attacks.random_noise(x, eps=eps))

    def without_return_of_gains(oracle, x, y, eps, queries):
        my_attack(oracle, x, y, eps, queries)
        return x.clone()

    def drifts(oracle, x, y, eps, queries):
        return climb(
            oracle, x, y, queries, lambda x_adv, x, done: (x_adv + eps * torch.randn(len(x), 3, 1, 1).sign()).clamp(0, 1)
        )

    def asks_nothing(oracle, x, y, eps, queries):
        return attacks.random_noise(x, eps=eps)

    def as_grey_levels(oracle, x, y, eps, queries):
        return 255 * my_attack(oracle, x, y, eps, queries)

    assert_check_is_sound(
        "my_attack",
        solution=my_attack,
        alternatives=[nes, square, cells],
        mistakes={
            "noise again and again": (noise, "tries of random noise turn"),
            "keeps what hurts": (keeps_what_hurts, "tries of random noise turn"),
            "keeps everything": (keeps_everything, "tries of random noise turn"),
            "asks too often": (counts_wrong, "The oracle stopped answering"),
            "returns the clean images": (without_return_of_gains, "return the images that it led to"),
            "leaves the ball": (drifts, "eps allows 8/255"),
            "asks nothing": (asks_nothing, "You asked the oracle nothing"),
            "grey levels": (as_grey_levels, "stay between 0 and 1"),
        },
    )


def test_the_attacks_patients_stand_where_the_check_says():
    model, x, y = lesson_06._guarded_patients()
    logits = model(x)
    assert (logits.argmax(1) == y).all()
    assert torch.allclose((logits[:, 1] - logits[:, 0]).abs(), torch.tensor(lesson_06.MARGINS), atol=0.2)
