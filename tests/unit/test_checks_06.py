"""The checks of lesson 06's exercises accept what is right and name what is wrong."""

import ast
from pathlib import Path

import torch
import torch.nn.functional as F
from checks import assert_check_is_sound

from medattack_edu import attacks
from medattack_edu.course.checks import judging, lesson_06
from medattack_edu.course.checks.lesson_06 import climb, lead


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
            "divides by one pair more": (
                lambda *a: estimate(*a, share=lambda pairs, sigma: pairs + 1),
                "0.833 times the length",
            ),
            "the same direction for all colours": (
                lambda *a: estimate(*a, draw=lambda x, g: torch.randn(x[:, :1].shape, generator=g).expand(x.shape)),
                "a cosine of 0.4",
            ),
            "only the sign of each slope": (
                lambda *a: estimate(*a, weigh=lambda slope, u: slope.sign().view(-1, 1, 1, 1) * u),
                "its length is 0.06",
            ),
            "adds up and doesn't divide": (lambda *a: estimate(*a, share=lambda pairs, sigma: 1), "its length is 1.5"),
            "forgets sigma": (
                lambda *a: estimate(*a, ask=lambda s, x, u, sigma: (s(x + u) - s(x - u)) / 2),
                "Your questions lie 1.0",
            ),
            "same direction for all images": (
                lambda *a: estimate(*a, draw=lambda x, g: torch.randn(x[:1].shape, generator=g).expand(x.shape)),
                "moved along the same direction",
            ),
            "same direction for all pairs": (one_direction, "All 5 pairs went along the same direction"),
            "one slope for all images": (
                lambda *a: estimate(*a, weigh=lambda slope, u: slope.mean() * u),
                "its length is 0.3",
            ),
            "steepness without its sign": (
                lambda *a: estimate(*a, weigh=lambda slope, u: slope.abs().view(-1, 1, 1, 1) * u),
                "Image by image: -",
            ),
            "uniform directions": (
                lambda *a: estimate(*a, draw=lambda x, g: torch.rand(x.shape, generator=g) - 0.5),
                "Your questions lie 0.00",
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

    def one_generator_seeded_anew(estimator, seeds):
        generator = torch.Generator()
        return torch.stack([estimator(generator.manual_seed(seed)) for seed in seeds]).var(0).sum()

    def one_generator(estimator, seeds):
        generator = torch.Generator().manual_seed(seeds[0])
        return torch.stack([estimator(generator) for _ in seeds]).var(0).sum()

    assert_check_is_sound(
        "variance_of",
        solution=variance_of,
        alternatives=[by_distances, by_pairs, one_generator_seeded_anew],
        mistakes={
            "mean over pixels": (lambda e, s: runs_of(e, s).var(0).mean(), "the mean over the numbers"),
            "divides by n": (lambda e, s: runs_of(e, s).var(0, correction=0).sum(), "divide by one less"),
            "standard deviation": (lambda e, s: runs_of(e, s).std(0).sum(), "standard deviations"),
            "one pot": (lambda e, s: runs_of(e, s).var(), "one pot"),
            "its root": (lambda e, s: runs_of(e, s).var(0).sum().sqrt(), "its root, a length"),
            "from zero": (lambda e, s: runs_of(e, s).square().mean(0).sum(), "squared distance from 0"),
            "hands over seeds": (
                lambda e, s: torch.stack([e(seed) for seed in s]).var(0).sum(),
                "takes a torch.Generator",
            ),
            "one generator for all": (one_generator, "you ran with generators of the seeds [3, 3, 3, 3, 3]"),
            "a tensor": (lambda e, s: runs_of(e, s).var(0), "should be one number"),
            "of each run, not between runs": (
                lambda e, s: runs_of(e, s).flatten(1).var(1).sum(),
                "How far is each run from the mean of all runs",
            ),
            "not the seeds": (
                lambda e, s: runs_of(e, range(len(s))).var(0).sum(),
                "you ran with generators of the seeds [0, 1, 2, 3, 4]",
            ),
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

    def all_drawn_before(tell, x, label, copies, radius, generator):
        noise = 2 * torch.rand((copies, *x.shape), generator=generator) - 1
        kept = [tell((x + radius * one).clamp(0, 1)) == label for one in noise]
        return torch.stack(kept).float().mean(0)

    def drawn(draw):
        """The score with another draw, of (shape of x, generator)."""

        def wrong(tell, x, label, copies, radius, generator):
            return score(tell, x, label, copies, radius, generator, noise=lambda: draw(x.shape, generator))

        return wrong

    def uniform(shape, generator):
        return 2 * torch.rand(shape, generator=generator) - 1

    def same_noise(tell, x, label, copies, radius, generator):
        fixed = 2 * torch.rand(x.shape, generator=generator) - 1
        return score(tell, x, label, copies, radius, generator, noise=lambda: fixed)

    assert_check_is_sound(
        "label_score",
        solution=label_score,
        alternatives=[stacked, counting_losses, all_drawn_before],
        mistakes={
            "share that lost it": (
                lambda *a: score(*a, kept=torch.ne),
                "your score is 0.29. That is the share of copies that lost it",
            ),
            "share of label 1": (
                lambda *a: score(*a, kept=lambda told, label: told == 1),
                "Image 3 should keep label 0",
            ),
            "not cut to the range": (lambda *a: score(*a, cut=False), "pixels between 0 and 1"),
            "normal noise": (drawn(lambda n, g: torch.randn(n, generator=g)), "Uniform noise ends at the radius"),
            "half the radius": (drawn(lambda n, g: uniform(n, g) / 2), "is further than 0.025"),
            "noise only upwards": (drawn(lambda n, g: torch.rand(n, generator=g)), "only makes pixels brighter"),
            "noise only downwards": (drawn(lambda n, g: -torch.rand(n, generator=g)), "only makes pixels darker"),
            "coins": (drawn(lambda n, g: uniform(n, g).sign()), "has its middle at 0.025"),
            "one number for each image": (
                drawn(lambda n, g: uniform((n[0], 1, 1, 1), g).expand(n)),
                "one noise for all pixels of an image",
            ),
            "one number for each row": (
                drawn(lambda n, g: uniform((*n[:3], 1), g).expand(n)),
                "one noise for all pixels of a row",
            ),
            "one number for each column": (
                drawn(lambda n, g: uniform((*n[:2], 1, n[3]), g).expand(n)),
                "one noise for all pixels of a column",
            ),
            "grey noise": (
                drawn(lambda n, g: uniform((n[0], 1, *n[2:]), g).expand(n)),
                "one noise for all colours of a pixel",
            ),
            "same noise for every copy": (same_noise, "one noise for all copies"),
            "same noise for all images": (
                drawn(lambda n, g: uniform((1, *n[1:]), g).expand(n)),
                "one noise for all images of a copy",
            ),
            "no noise": (lambda t, x, label, c, r, g: label_score(t, x, label, c, 0.0, g), "are the image itself"),
            "counts and doesn't divide": (lambda *a: score(*a) * a[3], "A share lies between 0 and 1"),
            "one copy": (lambda t, x, label, c, r, g: label_score(t, x, label, 1, r, g), "you asked 1 times"),
            "one number for all": (lambda *a: score(*a).mean(), "The shape of the score is ()"),
            "own generator": (
                lambda t, x, label, c, r, g: label_score(t, x, label, c, r, torch.Generator().manual_seed(0)),
                "Draw the noise with `generator`",
            ),
            "against the clean answer": (
                lambda t, x, label, c, r, g: label_score(t, x, t(x), c - 1, r, g),
                "Image 1 should keep label 1",
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
        x_adv, worst = x.clone(), lead(oracle(x), y)
        for _ in range(queries - 1):
            proposal = (x + eps * F.interpolate(torch.randn(len(x), 3, 4, 4).sign(), x.shape[-2:])).clamp(0, 1)
            told = lead(oracle(proposal), y)
            x_adv[told < worst], worst = proposal[told < worst], told.minimum(worst)
        return x_adv

    def a_pixel_at_a_time(oracle, x, y, eps, queries):
        def propose(x_adv, x, done):
            row, column = torch.randint(0, x.shape[-1], (2,)).tolist()
            x_adv[..., row, column] = (x + eps * torch.randn(x.shape).sign())[..., row, column].clamp(0, 1)
            return x_adv

        return climb(oracle, x, y, queries, propose)

    def saves_the_budget(oracle, x, y, eps, queries):
        return my_attack(oracle, x, y, eps, queries // 20)

    def only_the_first(oracle, x, y, eps, queries):
        return torch.cat([my_attack(oracle, x[:2], y[:2], eps, queries), x[2:]])

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
            oracle,
            x,
            y,
            queries,
            lambda x_adv, x, done: (x_adv + eps * torch.randn(len(x), 3, 1, 1).sign()).clamp(0, 1),
        )

    def asks_nothing(oracle, x, y, eps, queries):
        return attacks.random_noise(x, eps=eps)

    def as_grey_levels(oracle, x, y, eps, queries):
        return 255 * my_attack(oracle, x, y, eps, queries)

    assert_check_is_sound(
        "my_attack",
        solution=my_attack,
        alternatives=[nes, square, cells, a_pixel_at_a_time],
        mistakes={
            "noise again and again": (noise, "noise alone gets as far"),
            "keeps what hurts": (keeps_what_hurts, "away from the border"),
            "saves the budget": (saves_the_budget, "Spend the questions on larger parts"),
            "only the first two patients": (only_the_first, "About 6 of the patients you never asked"),
            "keeps everything": (keeps_everything, "hardly anything"),
            "asks too often": (counts_wrong, "The oracle stopped answering"),
            "returns the clean images": (without_return_of_gains, "are the clean images"),
            "leaves the ball": (drifts, "eps allows 8/255"),
            "asks nothing": (asks_nothing, "You asked the oracle nothing"),
            "grey levels": (as_grey_levels, "stay between 0 and 1"),
        },
    )


def test_the_reference_climbs_as_the_lesson_does():
    lesson = Path(__file__).parents[2] / "solutions" / "06_black_box_queries.py"
    given = [part for part in ast.parse(lesson.read_text()).body if getattr(part, "name", "") in ("lead", "climb")]
    names = {"attacks": attacks}
    exec(compile(ast.Module(given, []), str(lesson), "exec"), names)

    def climbed(climb):
        model, x, y = lesson_06._guarded_patients()
        oracle = attacks.Oracle(model, budget=40)
        draws = torch.Generator().manual_seed(1)
        shares = []

        def propose(x_adv, x, done):
            shares.append(done)
            step = torch.randn(x.shape[-3:], generator=draws).sign()
            return (x_adv + 0.5 * lesson_06.EPS * step).clamp(x - lesson_06.EPS, x + lesson_06.EPS).clamp(0, 1)

        return climb(oracle, x, y, 40, propose), oracle.spent(range(len(x))), torch.tensor(shares)

    results = []
    for function in (names["climb"], climb):
        torch.manual_seed(0)
        results.append(climbed(function))
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
    assert results[0][1].min() < 40, (
        "nobody was turned before the budget was spent, so half of the loop wasn't compared"
    )


def test_the_attacks_patients_stand_where_the_check_says():
    with judging._world_restored():  # with the seed that checks run with
        model, x, y = lesson_06._guarded_patients()
    logits = model(x)
    assert (logits.argmax(1) == y).all()
    assert torch.allclose((logits[:, 1] - logits[:, 0]).abs(), torch.tensor(lesson_06.MARGINS), atol=0.2)
