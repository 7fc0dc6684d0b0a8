"""The checks of lesson 07's exercises accept what is right and name what is wrong."""

import torch
import torch.nn.functional as F
from checks import assert_check_is_sound
from torchvision import transforms

from medattack_edu import attacks, metrics
from medattack_edu.course.checks import all_exercises
from medattack_edu.course.checks.judging import judge

# ---- the operator ------------------------------------------------------------------------------------------------------


def place(patch, x, location, angle, scale):
    turn = torch.deg2rad(angle)
    cos, sin = turn.cos() / scale, turn.sin() / scale
    back = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    centre = (2 * location - 1)[:, :, None]
    grid = F.affine_grid(torch.cat([back, -back @ centre], 2), x.shape, align_corners=False)
    stuck = F.grid_sample(patch.expand(len(x), -1, -1, -1), grid, padding_mode="border", align_corners=False)
    return torch.where((grid.norm(dim=-1) <= 1)[:, None], stuck, x)


def bent(**changes):
    """The solution with something done otherwise: `angle`, `location`, `scale` are functions of what comes in."""

    def wrong(patch, x, location, angle, scale):
        given = {"location": location, "angle": angle, "scale": scale}
        given |= {name: change(given[name]) for name, change in changes.items()}
        return place(patch, x, **given)

    return wrong


def sampled(patch, x, location, angle, scale, mask=None):
    """Patch and mask (1, h, w) looked up together, mixed by the mask."""
    size = patch.shape[-1]
    mask = torch.ones(1, size, size) if mask is None else mask
    turn = torch.deg2rad(angle)
    cos, sin = turn.cos() / scale, turn.sin() / scale
    back = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    grid = F.affine_grid(torch.cat([back, -back @ (2 * location - 1)[:, :, None]], 2), x.shape, align_corners=False)
    both = F.grid_sample(torch.cat([patch, mask]).expand(len(x), -1, -1, -1), grid, align_corners=False)
    return both[:, 3:] * both[:, :3] + (1 - both[:, 3:]) * x


def disc(size):
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    return ((axis[None] ** 2 + axis[:, None] ** 2) <= 1).float()[None]


def test_check_place_knows_right_from_wrong():
    def one_at_a_time(patch, x, location, angle, scale):
        rows = [
            place(patch, x[i : i + 1], location[i : i + 1], angle[i : i + 1], scale[i : i + 1]) for i in range(len(x))
        ]
        return torch.cat(rows)

    def by_hand(patch, x, location, angle, scale):
        n, _, height, width = x.shape
        below, right = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        right = (right[None] / width - location[:, 0, None, None]) * 2 / scale[:, None, None]
        below = (below[None] / height - location[:, 1, None, None]) * 2 / scale[:, None, None]
        turn = torch.deg2rad(angle)[:, None, None]
        across, down = turn.cos() * right - turn.sin() * below, turn.sin() * right + turn.cos() * below
        seen = F.grid_sample(
            patch.expand(n, -1, -1, -1), torch.stack([across, down], -1), padding_mode="border", align_corners=False
        )
        under = (across**2 + down**2 < 1).float()[:, None]
        return under * seen + (1 - under) * x

    def library(patch, x, location, angle, scale):
        return attacks.place(patch, x, location=location, angle=angle, scale=scale)

    def in_place(patch, x, location, angle, scale):
        x[:] = place(patch, x, location, angle, scale)
        return x

    def square(patch, x, location, angle, scale):
        return sampled(patch, x, location, angle, scale)

    def where_not_black(patch, x, location, angle, scale):
        stuck = sampled(patch * disc(patch.shape[-1]), torch.zeros_like(x), location, angle, scale)
        return torch.where(stuck.sum(1, keepdim=True) > 0, stuck, x)

    def added(patch, x, location, angle, scale):
        return (x + sampled(patch, torch.zeros_like(x), location, angle, scale, disc(patch.shape[-1]))).clamp(0, 1)

    def rest_resampled(patch, x, location, angle, scale):
        grid = F.affine_grid(torch.eye(2, 3).expand(len(x), -1, -1) * 0.999, x.shape, align_corners=False)
        return place(patch, F.grid_sample(x, grid, align_corners=False, padding_mode="border"), location, angle, scale)

    def mirrored(patch, x, location, angle, scale):
        return place(patch.flip(2), x, location, angle, scale)

    def transposed(patch, x, location, angle, scale):
        return place(patch.transpose(1, 2), x, location, angle, scale)

    def with_matrix(patch, x, location, angle, scale, matrix):
        """The solution with another matrix, made by `matrix` from the rotation (N, 2, 2), the scale (N, 1, 1) and the centre (N, 2, 1)."""
        a = torch.deg2rad(angle)
        turn = torch.stack([torch.stack([a.cos(), -a.sin()], 1), torch.stack([a.sin(), a.cos()], 1)], 1)
        grid = F.affine_grid(
            matrix(turn, scale[:, None, None], (2 * location - 1)[:, :, None]), x.shape, align_corners=False
        )
        stuck = F.grid_sample(patch.expand(len(x), -1, -1, -1), grid, padding_mode="border", align_corners=False)
        return torch.where((grid.norm(dim=-1) <= 1)[:, None], stuck, x)

    def with_shift(shift):
        return lambda *given: with_matrix(*given, lambda turn, s, c: torch.cat([turn / s, shift(turn, s, c)], 2))

    def multiplied(*given):
        return with_matrix(*given, lambda turn, s, c: torch.cat([turn * s, -turn @ c * s], 2))

    def coarse(patch, *rest):
        """The patch from four pixels."""
        return place(F.interpolate(F.adaptive_avg_pool2d(patch, 2)[None], patch.shape[-2:])[0], *rest)

    def corner_learns(patch, *rest):
        corner = torch.zeros_like(patch)
        corner[:, : patch.shape[1] // 2] = 1
        return place(corner * patch + (1 - corner) * patch.detach(), *rest)

    def nearest_colours(patch, x, location, angle, scale):
        turn = torch.deg2rad(angle)
        cos, sin = turn.cos() / scale, turn.sin() / scale
        back = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
        grid = F.affine_grid(torch.cat([back, -back @ (2 * location - 1)[:, :, None]], 2), x.shape, align_corners=False)
        seen = F.grid_sample(patch[None].repeat(len(x), 1, 1, 1), grid, mode="nearest", align_corners=False)
        return x.where(grid.square().sum(-1)[:, None] >= 1, seen)

    def softly_cut(patch, x, location, angle, scale):
        """A mask with a rim of a pixel, looked up with the patch."""
        size = patch.shape[-1]
        axis = (torch.arange(size) + 0.5) * 2 / size - 1
        radius = (axis[None] ** 2 + axis[:, None] ** 2).sqrt()
        return sampled(patch, x, location, angle, scale, ((1 - radius) * size / 2 + 0.5).clamp(0, 1)[None])

    assert_check_is_sound(
        "place",
        solution=place,
        alternatives=[one_at_a_time, by_hand, library, nearest_colours, softly_cut],
        mistakes={
            "in place": (in_place, "changed its input"),
            "same location for all": (bent(location=lambda v: v[:1].expand_as(v)), "each has a location of its own"),
            "same angle for all": (bent(angle=lambda v: v[:1].expand_as(v)), "each has an angle of its own"),
            "same scale for all": (bent(scale=lambda v: v[:1].expand_as(v)), "each has a scale of its own"),
            "row, column": (bent(location=lambda v: v.flip(1)), "as (down, right)"),
            "sign of the shift": (bent(location=lambda v: 1 - v), "opposite side of the scene"),
            "location left from 0 to 1": (bent(location=lambda v: (v + 1) / 2), "The grid runs from -1 to 1"),
            "clockwise": (bent(angle=lambda v: -v), "turned clockwise"),
            "radians": (bent(angle=torch.rad2deg), "degrees for radians"),
            "share of the area": (bent(scale=torch.sqrt), "share of the *area*"),
            "scale as radius": (bent(scale=lambda v: 2 * v), "as the disc's radius"),
            "scale multiplied": (multiplied, "Did you multiply by the scale?"),
            "shift neither turned nor scaled": (
                with_shift(lambda turn, s, c: -c),
                "wasn't turned and scaled as the pixel was",
            ),
            "shift scaled, not turned": (with_shift(lambda turn, s, c: -c / s), "wasn't turned as the pixel was"),
            "shift turned, not scaled": (with_shift(lambda turn, s, c: -turn @ c), "wasn't scaled as the pixel was"),
            "half as wide": (bent(scale=lambda v: v / 2), "half as wide"),
            "a square": (square, "That is the square around it"),
            "black parts are seen through": (where_not_black, "a black patch of 0 lies in a white scene"),
            "added": (added, "a grey patch of 0.5 lies in a white scene"),
            "half seen through": (lambda p, x, *a: 0.5 * place(p, x, *a) + 0.5 * x, "yours covers 7.9%"),
            "the rest resampled": (rest_resampled, "that the patch doesn't cover have changed"),
            "mirrored": (mirrored, "The red one lies above, the green one to the left"),
            "transposed": (transposed, "The red one lies to the left, the green one below"),
            "squared": (lambda p, *a: place(p**2, *a), "and has (0.81, 0.16, 0.16)"),
            "coarse": (coarse, "and has (0.90, 0.40, 0.46)"),
            "black and white": (
                lambda p, *a: place(p + ((p > 0.5).float() - p).detach(), *a),
                "and has (1.00, 0.00, 0.00)",
            ),
            "grey": (lambda p, *a: place(p.mean(0, keepdim=True).expand(3, -1, -1), *a), "and has (0.57, 0.57, 0.57)"),
            "channels in the order blue, green, red": (
                lambda p, *a: place(p.flip(0), *a),
                "and has (0.40, 0.40, 0.90)",
            ),
            "paler": (lambda p, *a: place(0.97 * p, *a), "and has (0.87, 0.39, 0.39)"),
            "one image is left alone": (
                lambda p, x, *a: place(p, x, *a) if len(x) > 1 else x.clone(),
                "A scene that comes alone",
            ),
            "the gradient of a corner": (corner_learns, "The gradient reaches only"),
            "from the lower edge": (
                bent(location=lambda v: torch.stack([v[:, 0], 1 - v[:, 1]], 1)),
                "from the upper edge, downwards",
            ),
            "quarter turn more": (bent(angle=lambda v: v + 90), "(its green half by -71)"),
            "no gradient": (lambda *a: place(*a).detach(), "No gradient reaches the patch"),
            "nothing": (lambda patch, x, *a: x.clone(), "Nothing was placed"),
            "one image": (lambda *a: place(*a)[:1], "The shape of your images is (1, 3"),
        },
    )


def test_under_a_misplaced_patch_stands_what_was_wanted():
    verdict = judge(all_exercises()["place"], bent(location=lambda v: v.flip(1)))
    yours, wanted = verdict.figure.axes[:5], verdict.figure.axes[5:]
    assert [axes[0].get_ylabel() for axes in (yours, wanted)] == ["yours", "wanted"]
    assert "location (0.30, 0.60)" in yours[1].get_title() and "scale 0.5" in yours[1].get_title()
    pixels = [axes[1].images[0].get_array() for axes in (yours, wanted)]
    assert abs(pixels[0] - pixels[1]).max() > 0.5


# ---- the expectation ---------------------------------------------------------------------------------------------------


def expected_log_probability(model, patch, x, target, place, draw, times):
    total = 0
    for _ in range(times):
        scenes = place(patch, x, *draw(len(x)))
        total = total + F.log_softmax(model(scenes), 1)[:, target].mean()
    return total / times


def test_check_expectation_knows_right_from_wrong():
    def by_cross_entropy(model, patch, x, target, place, draw, times):
        labels = torch.full((len(x),), target)
        losses = [F.cross_entropy(model(place(patch, x, *draw(len(x)))), labels) for _ in range(times)]
        return -torch.stack(losses).mean()

    def in_one_batch(model, patch, x, target, place, draw, times):
        many = x.repeat(times, 1, 1, 1)
        return model(place(patch, many, *draw(len(many)))).log_softmax(1)[:, target].mean()

    def one_placement_at_a_time(model, patch, x, target, place, draw, times):
        """Each image draws for itself, anew in each round."""
        scores = [
            F.log_softmax(model(place(patch, image[None], *draw(1))), 1)[0, target] for _ in range(times) for image in x
        ]
        return torch.stack(scores).mean()

    def image_after_image(model, patch, x, target, place, draw, times):
        return sum(
            F.log_softmax(model(place(patch, image[None], *draw(1))), 1)[0, target] for image in x for _ in range(times)
        ) / (times * len(x))

    def drawn_once_a_round(model, patch, x, target, place, draw, times):
        total = 0
        for _ in range(times):
            where = draw(1)
            total = (
                total + torch.stack([mean_log(model(place(patch, image[None], *where)), target) for image in x]).mean()
            )
        return total / times

    def rounds(score, join=lambda values: torch.stack(values).mean(), n=len):
        """The expectation with another score of (logits, target), another way to join the rounds, another number of draws."""

        def wrong(model, patch, x, target, place, draw, times):
            return join([score(model(place(patch, x, *draw(n(x)))), target) for _ in range(times)])

        return wrong

    def mean_log(logits, target):
        return F.log_softmax(logits, 1)[:, target].mean()

    def drawn_beforehand(model, patch, x, target, place, draw, times):
        rounds = [draw(len(x)) for _ in range(times)]
        scores = [F.log_softmax(model(place(patch, x, *rounds[k])), -1) for k in range(times)]
        return torch.cat(scores)[:, target].mean()

    def by_name(model, patch, x, target, place, draw, times):
        total = torch.zeros(())
        for _ in range(times):
            location, angle, scale = draw(x.shape[0])
            total += (
                model(place(patch=patch, x=x, location=location, angle=angle, scale=scale))
                .log_softmax(1)[:, target]
                .sum()
            )
        return total / (times * len(x))

    def with_where(where, placed=lambda patch, k, times: patch):
        """The solution with other placements, made of what was drawn in this round and in the first, or another patch in round k."""

        def wrong(model, patch, x, target, place, draw, times):
            total, first = 0, None
            for k in range(times):
                drawn = draw(len(x))
                first = first or drawn
                total = total + mean_log(model(place(placed(patch, k, times), x, *where(drawn, first))), target)
            return total / times

        return wrong

    def one_draw(model, patch, x, target, place, draw, times):
        where = draw(len(x))
        return torch.stack([mean_log(model(place(patch, x, *where)), target) for _ in range(times)]).mean()

    def on_top(model, patch, x, target, place, draw, times):
        total, scenes = 0, x
        for _ in range(times):
            scenes = place(patch, scenes, *draw(len(x)))
            total = total + mean_log(model(scenes), target)
        return total / times

    assert_check_is_sound(
        "expected_log_probability",
        solution=expected_log_probability,
        alternatives=[
            by_cross_entropy,
            in_one_batch,
            one_placement_at_a_time,
            image_after_image,
            drawn_beforehand,
            by_name,
        ],
        mistakes={
            "probability": (rounds(lambda o, t: o.softmax(1)[:, t].mean()), "without the logarithm"),
            "log of the mean": (
                rounds(lambda o, t: o.softmax(1)[:, t].mean(), lambda values: torch.stack(values).mean().log()),
                "logarithm of the mean probability",
            ),
            "downhill": (rounds(lambda o, t: -mean_log(o, t)), "The attack climbs"),
            "sum of rounds": (rounds(mean_log, sum), "didn't divide by their number"),
            "last round": (rounds(mean_log, lambda values: values[-1]), "Only the last round"),
            "logits": (rounds(lambda o, t: o[:, t].mean()), "the target's logit"),
            "softmax over images": (
                rounds(lambda o, t: F.log_softmax(o, 0)[:, t].mean()),
                "over the classes, dimension 1",
            ),
            "all classes": (rounds(lambda o, t: F.log_softmax(o, 1).mean()), "mean over all classes"),
            "log of the mean, in the loop": (
                rounds(lambda o, t: o.softmax(1)[:, t].mean().log()),
                "logarithm of each round's mean",
            ),
            "the first image": (rounds(lambda o, t: F.log_softmax(o, 1)[0, t]), "Only the first image"),
            "draw(1)": (rounds(mean_log, n=lambda x: 1), "4 images with one placement"),
            "one draw a round, image by image": (drawn_once_a_round, "drew 3 placements"),
            "one draw for all rounds": (one_draw, "used them in every round"),
            "a single round": (lambda *a: expected_log_probability(*a[:-1], 1), "you made 4"),
            "angle and scale exchanged": (
                with_where(lambda drawn, first: (drawn[0], drawn[2], drawn[1])),
                "angle 0.42 and scale -14.50",
            ),
            "across and down exchanged": (
                with_where(lambda drawn, first: (drawn[0].flip(1), *drawn[1:])),
                "location (0.27, 0.71), angle -14.50",
            ),
            "always the first draw": (
                with_where(lambda drawn, first: first),
                "8 of your 12 scenes have one that was used before",
            ),
            "always in the middle": (
                with_where(lambda drawn, first: (torch.full_like(drawn[0], 0.5), 0 * drawn[1], 0 * drawn[2] + 0.4)),
                "location (0.50, 0.50), angle 0.00",
            ),
            "never turned": (
                with_where(lambda drawn, first: (drawn[0], 0 * drawn[1], drawn[2])),
                "location (0.71, 0.27), angle 0.00",
            ),
            "the last round's gradient": (
                with_where(
                    lambda drawn, first: drawn, lambda patch, k, times: patch if k == times - 1 else patch.detach()
                ),
                "In every scene of every round",
            ),
            "one image in all scenes": (
                lambda model, patch, x, *rest: expected_log_probability(model, patch, x[:1].expand_as(x), *rest),
                "Yours were in [12, 0, 0, 0]",
            ),
            "class fixed": (
                lambda m, p, x, target, *rest: expected_log_probability(m, p, x, 2, *rest),
                "For class 0 and 2 rounds",
            ),
            "three rounds, always": (lambda *a: expected_log_probability(*a[:-1], 3), "2 rounds of 4 images"),
            "patch on patch": (on_top, "already have a patch"),
            "no gradient": (lambda *a: expected_log_probability(*a).item(), "no gradient leads from it"),
        },
    )


# ---- success over rotations --------------------------------------------------------------------------------------------


def success_over_rotations(model, x, patch, target, place, angles, locations, scale):
    who = model(x).argmax(1) != target
    curve = []
    for angle in angles:
        turned = torch.full((int(who.sum()),), float(angle))
        hits = [model(place(patch, x[who], spots[who], turned, scale[who])).argmax(1) == target for spots in locations]
        shares = torch.stack(hits).float().mean(0)
        curve.append(metrics.proportion(shares.sum(), len(shares)))
    return curve


def test_check_success_knows_right_from_wrong():
    def image_by_image(model, x, patch, target, place, angles, locations, scale):
        curve = []
        for angle in angles:
            shares = []
            for i in range(len(x)):
                one = slice(i, i + 1)
                if model(x[one]).argmax() == target:
                    continue
                scenes = [place(patch, x[one], spots[one], torch.tensor([angle]), scale[one]) for spots in locations]
                shares.append((model(torch.cat(scenes)).argmax(1) == target).float().mean())
            curve.append(metrics.proportion(sum(shares), len(shares)))
        return curve

    def all_at_once(model, x, patch, target, place, angles, locations, scale):
        who = model(x).argmax(1) != target
        spots, n = locations[:, who].flatten(0, 1), len(locations)
        many, scales = x[who].repeat(n, 1, 1, 1), scale[who].repeat(n)
        wins = [
            model(place(patch, many, spots, torch.full_like(scales, angle), scales)).argmax(1) == target
            for angle in angles
        ]
        return tuple(metrics.proportion(hits.sum() / n, int(who.sum())) for hits in wins)

    def with_hits(summary, everyone=False, hit=lambda answers, target, clean: answers == target):
        """The solution with another summary of hits (places, images), or with all images, or with another idea of a hit."""

        def wrong(model, x, patch, target, place, angles, locations, scale):
            clean = model(x).argmax(1)
            who = clean != target if not everyone else torch.ones(len(x), dtype=torch.bool)
            curve = []
            for angle in angles:
                turned = torch.full((int(who.sum()),), float(angle))
                answers = [model(place(patch, x[who], spots[who], turned, scale[who])).argmax(1) for spots in locations]
                curve.append(summary(torch.stack([hit(a, target, clean[who]) for a in answers]).float()))
            return curve

        return wrong

    def of_images(shares):
        return metrics.proportion(shares.sum(), len(shares))

    def share(hits):
        return of_images(hits.mean(0))

    def never_turned(model, x, patch, target, place, angles, locations, scale):
        return success_over_rotations(model, x, patch, target, place, [0.0] * len(angles), locations, scale)

    def other_images_places(model, x, patch, target, place, angles, locations, scale):
        who = model(x).argmax(1) != target
        n = int(who.sum())
        return [
            share(torch.stack([
                (model(place(patch, x[who], spots[:n], torch.full((n,), angle), scale[:n])).argmax(1) == target).float() for spots in locations
            ]))
            for angle in angles
        ]  # fmt: skip

    def other_images_scales(model, x, patch, target, place, angles, locations, scale):
        def put(patch, x, location, angle, its):
            return place(patch, x, location, angle, scale[: len(x)])

        return success_over_rotations(model, x, patch, target, put, angles, locations, scale)

    def with_class_0(model, x, patch, target, place, angles, locations, scale):
        who = model(x).argmax(1) == 0
        return success_over_rotations(model, x[who], patch, target, place, angles, locations[:, who], scale[who])

    def on_top(model, x, patch, target, place, angles, locations, scale):
        def again(patch, images, *where):
            return place(patch, place(patch, images, *where), *where)

        return success_over_rotations(model, x, patch, target, again, angles, locations, scale)

    def by_half(before=False, after=False):
        """P(target) of one half and more in place of the likeliest class: for who counts, or for a hit."""

        def says(model, x, target, half):
            logits = model(x)
            return logits.softmax(1)[:, target] >= 0.5 if half else logits.argmax(1) == target

        def wrong(model, x, patch, target, place, angles, locations, scale):
            who, curve = ~says(model, x, target, before), []
            for angle in angles:
                turned = torch.full((int(who.sum()),), float(angle))
                hits = [
                    says(model, place(patch, x[who], spots[who], turned, scale[who]), target, after)
                    for spots in locations
                ]
                curve.append(share(torch.stack(hits).float()))
            return curve

        return wrong

    def clockwise(model, x, patch, target, place, angles, locations, scale):
        return success_over_rotations(model, x, patch, target, place, [-angle for angle in angles], locations, scale)

    assert_check_is_sound(
        "success_over_rotations",
        solution=success_over_rotations,
        alternatives=[image_by_image, all_at_once],
        mistakes={
            "who was of the target class counts": (with_hits(share, everyone=True), "You count all 6 images"),
            "target fixed": (
                lambda m, x, p, target, *rest: success_over_rotations(m, x, p, 1, *rest),
                "For target 2 it should be",
            ),
            "placements as n": (
                with_hits(lambda hits: metrics.proportion(hits.sum(), hits.numel())),
                "placements on one image are not",
            ),
            "divides by all": (
                with_hits(lambda hits: metrics.proportion(hits.sum(), 6 * len(hits))),
                "You divide by all 6",
            ),
            "untargeted": (with_hits(share, hit=lambda a, t, clean: a != clean), "another wrong answer is a failure"),
            "any place": (with_hits(lambda hits: of_images(hits.amax(0))), "as soon as one place works"),
            "every place": (with_hits(lambda hits: of_images(hits.amin(0))), "only if all places work"),
            "first place": (with_hits(lambda hits: of_images(hits[0])), "Only the first place"),
            "hits not divided by the places": (
                with_hits(lambda hits: metrics.proportion(hits.sum(), hits.shape[1])),
                "more hits than tries",
            ),
            "a share as hits": (
                with_hits(lambda hits: metrics.proportion(hits.mean(), hits.shape[1])),
                "divided twice",
            ),
            "half and more were so before": (
                by_half(before=True),
                "You returned 0.600. You ask for a probability of one half",
            ),
            "half and more is a hit": (
                by_half(after=True),
                "You returned 0.188. You ask for a probability of one half",
            ),
            "half and more, always": (
                by_half(before=True, after=True),
                "You returned 0.150. You ask for a probability of one half",
            ),
            "withstood": (with_hits(lambda hits: of_images(1 - hits.mean(0))), "the share that withstood"),
            "bare numbers": (with_hits(lambda hits: hits.mean().item()), "how many images stand behind it"),
            "mean over the angles": (
                lambda *a: sum(map(float, success_over_rotations(*a))) / len(a[5]),
                "What happens *between* the angles",
            ),
            "never turned": (never_turned, "was the patch turned"),
            "turned the other way": (clockwise, "isn't among the angles"),
            "locations of others": (other_images_places, "the location of another"),
            "other images' scales": (other_images_scales, "the scale of another"),
            "last place": (with_hits(lambda hits: of_images(hits[-1])), "Only the last place"),
            "most places": (
                with_hits(lambda hits: of_images((hits.mean(0) > 0.5).float())),
                "if most of its places work",
            ),
            "who was class 0 counts": (with_class_0, "Who counts (which images)"),
            "patch on patch": (on_top, "already have a patch"),
            "one angle for the batch": (
                lambda m, x, p, t, put, angles, locations, scale: [
                    put(p, x, locations[0], torch.tensor([a]), scale) for a in angles
                ],
                "one angle for each",
            ),
        },
    )


def test_an_interval_that_is_too_narrow_is_named():
    def narrow(*given):
        return [metrics.Estimate(float(v), float(v), float(v), v.n) for v in success_over_rotations(*given)]

    assert "is not that of `metrics.proportion`" in str(judge(all_exercises()["success_over_rotations"], narrow))


# ---- the natural patch -------------------------------------------------------------------------------------------------


def natural_patch(model, x, y, target, side):
    mine = x[y == target]
    image = mine[model(mine).softmax(1)[:, target].argmax()]
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    return image[:, top : top + side, left : left + side]


def test_check_natural_patch_knows_right_from_wrong():
    def with_a_penalty(model, x, y, target, side):
        sure = torch.where(y == target, model(x).softmax(1)[:, target], -1.0)
        edge = (x.shape[-1] - side) // 2
        return x[sure.argmax()][:, edge : edge + side, edge : edge + side].clone()

    def in_order(model, x, y, target, side):
        rows = torch.nonzero(y == target).flatten()
        gap = model(x[rows])[:, target] - model(x[rows])[:, 1 - target]
        row = rows[gap.sort().indices[-1]].item()
        edge = (x.shape[-1] - side) // 2
        return x.narrow(2, edge, side).narrow(3, edge, side)[row]

    def piece(image, side, top=None):
        top = (image.shape[-1] - side) // 2 if top is None else top
        return image[:, top : top + side, top : top + side]

    def mine(x, y, target):
        return x[y == target]

    def by_halves(m, x, y, t, side):
        image, half = mine(x, y, t)[m(mine(x, y, t)).softmax(1)[:, t].argmax()], side // 2
        middle = image.shape[-1] // 2
        return image[:, middle - half : middle + half, middle - half : middle + half]

    def from_row_3(m, x, y, t, side):
        return piece(mine(x, y, t)[m(mine(x, y, t)).softmax(1)[:, t].argmax()], side, 3)

    def center_crop(m, x, y, t, side):
        which = max((i for i in range(len(x)) if y[i] == t), key=lambda i: m(x[i : i + 1]).softmax(1)[0, t].item())
        return transforms.functional.center_crop(x[which], [side, side])

    assert_check_is_sound(
        "natural_patch",
        solution=natural_patch,
        alternatives=[with_a_penalty, in_order, center_crop],
        mistakes={
            "any label": (
                lambda m, x, y, t, side: piece(x[m(x).softmax(1)[:, t].argmax()], side),
                "the image is of the other class",
            ),
            "logits": (
                lambda m, x, y, t, side: piece(mine(x, y, t)[m(mine(x, y, t))[:, t].argmax()], side),
                "Compare probabilities",
            ),
            "row of the part used on the whole": (
                lambda m, x, y, t, side: piece(x[m(mine(x, y, t)).softmax(1)[:, t].argmax()], side),
                "was used on all of them",
            ),
            "least sure": (
                lambda m, x, y, t, side: piece(mine(x, y, t)[m(mine(x, y, t)).softmax(1)[:, t].argmin()], side),
                "weak on purpose",
            ),
            "surest of any class": (
                lambda m, x, y, t, side: piece(mine(x, y, t)[m(mine(x, y, t)).softmax(1).amax(1).argmax()], side),
                "Surest of *what*?",
            ),
            "a corner": (
                lambda m, x, y, t, side: piece(mine(x, y, t)[m(mine(x, y, t)).softmax(1)[:, t].argmax()], side, 0),
                "The middle begins at row 3",
            ),
            "the whole image shrunk": (
                lambda m, x, y, t, side: F.interpolate(
                    mine(x, y, t)[m(mine(x, y, t)).softmax(1)[:, t].argmax()][None],
                    (side, side),
                    mode="bilinear",
                    antialias=True,
                )[0],
                "a whole image made smaller",
            ),
            "the mean of the class": (
                lambda m, x, y, t, side: piece(mine(x, y, t).mean(0), side),
                "Your patch isn't a piece",
            ),
            "a batch of one": (lambda *a: natural_patch(*a)[None], "a batch of one"),
            "target fixed": (
                lambda m, x, y, t, side: natural_patch(m, x, y, 1, side),
                "of class 1. Is the target fixed",
            ),
            "side fixed": (lambda m, x, y, t, side: natural_patch(m, x, y, t, 6), "its shape is (3, 6, 6)"),
            "from the third row": (from_row_3, "it isn't the middle of any image"),
            "half a side each way": (by_halves, "its shape is (3, 2, 2)"),
        },
    )
