"""The checks of lesson 08's exercises accept what is right and name what is wrong."""

import torch
import torch.nn.functional as F
from checks import assert_check_is_sound

from medattack_edu import metrics
from medattack_edu.course.checks import all_exercises
from medattack_edu.course.checks.judging import judge


def sticker_step(model, views, sign, stickers, mask, target, step_size):
    stickers = stickers.clone().requires_grad_()
    images = views(mask * stickers + (1 - mask) * sign)
    loss = F.cross_entropy(model(images), torch.full((len(images),), target))
    (gradient,) = torch.autograd.grad(loss, stickers)
    return (stickers - step_size * gradient.sign()).clamp(0, 1).detach()


def stepping(cover=None, objective=None, step=None, hand_out=None):
    """The step with one of its parts exchanged."""
    cover = cover or (lambda sign, stickers, mask: torch.where(mask > 0, stickers, sign))
    objective = objective or (lambda logits, target: logits.log_softmax(1)[:, target].mean())
    step = step or (lambda stickers, gradient, step_size: stickers + step_size * gradient.sign())
    hand_out = hand_out or (lambda stickers: stickers.clamp(0, 1).detach())

    def made(model, views, sign, stickers, mask, target, step_size):
        point = stickers.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(model(views(cover(sign, point, mask))), target), point)
        return hand_out(step(point, gradient, step_size))

    return made


def test_check_sticker_step_knows_right_from_wrong():
    def by_backward(model, views, sign, stickers, mask, target, step_size):
        paint = stickers.detach().clone().requires_grad_()
        loss = sum(-model(view[None]).log_softmax(1)[0, target] for view in views(sign + mask * (paint - sign)))
        loss.backward()
        return torch.minimum(
            torch.maximum(stickers - step_size * paint.grad.sign(), torch.tensor(0.0)), torch.tensor(1.0)
        )

    def at_the_whole_sign(model, views, sign, stickers, mask, target, step_size):
        covered = (mask * stickers + (1 - mask) * sign).requires_grad_()
        gradient = torch.autograd.grad(model(views(covered)).log_softmax(1)[:, target].sum(), covered)[0]
        return (stickers + step_size * gradient.sign()).clip(0, 1)

    def by_func_grad(model, views, sign, stickers, mask, target, step_size):
        def loss(paint):
            return -model(views(torch.where(mask.bool(), paint, sign))).log_softmax(1)[:, target].mean()

        return torch.clamp(stickers - torch.func.grad(loss)(stickers).sign() * step_size, 0, 1)

    def only_under_the_mask(model, views, sign, stickers, mask, target, step_size):
        return mask * sticker_step(model, views, sign, stickers, mask, target, step_size) + (1 - mask) * sign

    def with_fixed(**fixed):
        def wrong(model, views, sign, stickers, mask, target, step_size):
            given = {"target": target, "step_size": step_size} | fixed
            return sticker_step(model, views, sign, stickers, mask, **given)

        return wrong

    def as_far_as_the_sign(model, views, sign, stickers, mask, target, step_size):
        return sticker_step(model, views, sign, stickers, mask, target, step_size).clamp(sign.min(), sign.max())

    def as_far_as_the_stickers(model, views, sign, stickers, mask, target, step_size):
        return sticker_step(model, views, sign, stickers, mask, target, step_size).clamp(stickers.min(), stickers.max())

    def one_view(model, views, sign, stickers, mask, target, step_size):
        return sticker_step(model, lambda covered: views(covered)[:1], sign, stickers, mask, target, step_size)

    def mean_view(model, views, sign, stickers, mask, target, step_size):
        def mean(covered):
            return views(covered).mean(0, keepdim=True)

        return sticker_step(model, mean, sign, stickers, mask, target, step_size)

    def mean_of_signs(model, views, sign, stickers, mask, target, step_size):
        def alone(number):
            return sticker_step(model, lambda c: views(c)[number : number + 1], sign, stickers, mask, target, step_size)

        return torch.stack([alone(number) for number in range(len(views(sign * (1 - mask) + stickers * mask)))]).mean(0)

    def looks_at_nothing(model, views, sign, stickers, mask, target, step_size):
        return sticker_step(model, lambda covered: covered[None], sign, stickers, mask, target, step_size)

    def by_vote(model, views, sign, stickers, mask, target, step_size):
        covered = views(mask * stickers + (1 - mask) * sign)
        moves = [
            sticker_step(model, lambda c, n=n: views(c)[n : n + 1], sign, stickers, mask, target, step_size) - stickers
            for n in range(len(covered))
        ]
        return (stickers + step_size * sum(move.sign() for move in moves).sign()).clamp(0, 1)

    def records(model, views, sign, stickers, mask, target, step_size):
        sticker_step(model, views, sign, stickers.requires_grad_(), mask, target, step_size)
        return sticker_step(model, views, sign, stickers, mask, target, step_size)

    def changes_in_place(model, views, sign, stickers, mask, target, step_size):
        stickers.copy_(sticker_step(model, views, sign, stickers, mask, target, step_size))
        return stickers

    assert_check_is_sound(
        "sticker_step",
        solution=sticker_step,
        alternatives=[stepping(), by_backward, at_the_whole_sign, by_func_grad, only_under_the_mask],
        mistakes={
            "no mask": (stepping(cover=lambda sign, stickers, mask: stickers), "leaves 69 % of this sign alone"),
            "the mask the wrong way round": (
                stepping(cover=lambda sign, stickers, mask: mask * sign + (1 - mask) * stickers),
                "shows the stickers where the mask is 0",
            ),
            "adds its colours": (
                stepping(cover=lambda sign, stickers, mask: sign + mask * stickers),
                "lets nothing through",
            ),
            "no stickers": (stepping(cover=lambda sign, stickers, mask: sign + 0 * stickers), "has no stickers on it"),
            "never looks": (looks_at_nothing, "You never called `views`"),
            "away from the target": (
                stepping(objective=lambda logits, target: -logits.log_softmax(1)[:, target].mean()),
                "walk away from the target",
            ),
            "away from what it was": (
                stepping(objective=lambda logits, target: -logits.log_softmax(1)[:, 0].mean()),
                "The target is class 2",
            ),
            "one view": (one_view, "as view 0 alone"),
            "the logit": (
                stepping(objective=lambda logits, target: logits[:, target].mean()),
                "target's *logit* alone",
            ),
            "the probability": (
                stepping(objective=lambda logits, target: logits.softmax(1)[:, target].mean()),
                "target's *probability*",
            ),
            "a vote of the views": (by_vote, "one sign each"),
            "another loss": (
                stepping(objective=lambda logits, target: -logits[:, 1].mean()),
                "Only 48 % of the stickers' colours move the way that all 5 views together ask for. The loss",
            ),
            "the largest gradient is one step": (
                stepping(step=lambda s, gradient, step_size: s + step_size * gradient / gradient.abs().max()),
                "Most of yours moved by 0.0151",
            ),
            "records the caller's stickers": (records, "its caller's `stickers` watched"),
            "mean of the signs": (mean_of_signs, "Most of yours moved by 0.01."),
            "the gradient as it is": (
                stepping(step=lambda s, gradient, step_size: s + step_size * gradient),
                "Most of yours moved by 0.00",
            ),
            "no colour has a limit": (stepping(hand_out=lambda stickers: stickers.detach()), "stay between 0 and 1"),
            "hangs on the graph": (
                stepping(hand_out=lambda stickers: stickers.clamp(0, 1)),
                "Your stickers still hang on the graph",
            ),
            "target fixed": (with_fixed(target=2), "For target 0 only"),
            "step fixed": (with_fixed(step_size=0.05), "For 0.03 it moves colours by 0.05"),
            "as far as the sign's colours": (
                as_far_as_the_sign,
                "also near black and white. One of yours moved by 0.1",
            ),
            "as far as the stickers' colours": (as_far_as_the_stickers, "All stickers had the colours 0.2 or 0.8"),
            "twice": (
                lambda m, v, sign, stickers, *rest: sticker_step(
                    m, v, sign, sticker_step(m, v, sign, stickers, *rest), *rest
                ),
                "Most of yours moved by 0.1.",
            ),
            "whole steps of 0 or 1": (
                stepping(step=lambda s, gradient, step_size: s + gradient.sign()),
                "Most of yours moved by 0.4",
            ),
            "mean of the views as one image": (mean_view, "Only 75 % of the stickers' colours"),
            "changes what came in": (changes_in_place, "`stickers` in place"),
            "never steps": (
                lambda m, v, sign, stickers, mask, t, s: [v(sign + mask * (stickers - sign)), stickers.clone()][1],
                "has moved",
            ),
        },
    )


def pose_gradient(model, render, texture, poses, target):
    total = torch.zeros_like(texture)
    for pose in poses:
        point = texture.clone().requires_grad_()
        log_probability = model(render(point, pose)).log_softmax(1)[0, target]
        total += torch.autograd.grad(log_probability, point)[0]
    return total / len(poses)


def gradient_of(objective):
    """The gradient of a function of all images and the model at once."""

    def made(model, render, texture, poses, target):
        point = texture.clone().requires_grad_()
        images = torch.cat([render(point, pose) for pose in poses])
        return torch.autograd.grad(objective(model, images, target), point)[0]

    return made


def test_check_pose_gradient_knows_right_from_wrong():
    def by_backward(model, render, texture, poses, target):
        point = texture.detach().clone().requires_grad_()
        for pose in poses:
            (-F.cross_entropy(model(render(point, pose)), torch.tensor([target])) / len(poses)).backward()
        return point.grad

    def last_pose(model, render, texture, poses, target):
        for pose in poses:
            gradient = pose_gradient(model, render, texture, [pose], target)
        return gradient

    def mean_pose(model, render, texture, poses, target):
        return pose_gradient(model, render, texture, [sum(poses) / len(poses)], target)

    def by_func_grad(model, render, texture, poses, target):
        def expected(texture):
            return torch.stack([model(render(texture, pose)).log_softmax(1)[0, target] for pose in poses]).mean()

        return torch.func.grad(expected)(texture)

    def each_pose_once(model, render, texture, poses, target):
        return pose_gradient(model, render, texture, sorted(set(poses)), target)

    def of_five(model, render, texture, poses, target):
        return pose_gradient(model, render, texture, poses, target) * len(poses) / 5

    def records(model, render, texture, poses, target):
        texture.requires_grad_(True)
        objective = sum(model(render(texture, pose)).log_softmax(1)[0, target] for pose in poses) / len(poses)
        return torch.autograd.grad(objective, texture)[0]

    def mean_of_directions(model, render, texture, poses, target):
        return sum(pose_gradient(model, render, texture, [pose], target).sign() for pose in poses) / len(poses)

    def still_on_the_graph(*arguments):
        return pose_gradient(*arguments).requires_grad_()

    assert_check_is_sound(
        "pose_gradient",
        solution=pose_gradient,
        alternatives=[
            gradient_of(lambda model, x, target: model(x).log_softmax(1)[:, target].mean()),
            by_backward,
            by_func_grad,
        ],
        mistakes={
            "a sum": (lambda *a: 5 * pose_gradient(*a), "5 times too long"),
            "downhill": (lambda *a: -pose_gradient(*a), "points the wrong way"),
            "log of the mean": (
                gradient_of(lambda model, x, t: model(x).softmax(1)[:, t].mean().log()),
                "logarithm of the mean",
            ),
            "no log": (gradient_of(lambda model, x, t: model(x).softmax(1)[:, t].mean()), "without the logarithm"),
            "the mean image": (
                gradient_of(lambda model, x, t: model(x.mean(0, keepdim=True)).log_softmax(1)[0, t]),
                "a ghost",
            ),
            "the logit": (gradient_of(lambda model, x, t: model(x)[:, t].mean()), "the target's *logit*"),
            "the last pose": (last_pose, "that of the last alone"),
            "the direction": (lambda *a: pose_gradient(*a).sign(), "directions alone"),
            "the mean direction": (mean_of_directions, "the sign of each pose's gradient"),
            "records the caller's texture": (records, "its caller's `texture` watched"),
            "each pose once": (each_pose_once, "cosine of 0.95 with it"),
            "divides by five": (of_five, "and 0.6 times its length. Is something"),
            "target fixed": (
                lambda m, r, texture, poses, target: pose_gradient(m, r, texture, poses, 2),
                "a cosine of -0.05",
            ),
            "the largest is one": (
                lambda *a: pose_gradient(*a) / pose_gradient(*a).abs().max(),
                "a cosine of 1.00 with it, and 4.45 times",
            ),
            "mean of all pixels": (
                lambda *a: pose_gradient(*a).mean(0, keepdim=True).expand(3, -1, -1),
                "a cosine of 0.61",
            ),
            "the mean pose": (mean_pose, "isn't among `poses`"),
            "the first pose": (
                lambda m, r, t, poses, target: pose_gradient(m, r, t, poses[:1], target),
                "Of the poses [0, 2, 3, 5, 7] you rendered 1; pose 2 has no say",
            ),
            "a batch of textures": (
                lambda m, r, t, poses, target: pose_gradient(m, r, t[None], poses, target),
                "takes one texture",
            ),
            "hangs on the graph": (still_on_the_graph, "The values of your gradient still hang"),
        },
    )


def test_the_praise_says_how_many_poses_were_in_memory():
    check = all_exercises()["pose_gradient"].check
    together = gradient_of(lambda model, x, target: model(x).log_softmax(1)[:, target].mean())
    assert "never more than one" in check(pose_gradient)
    assert "5 of them in memory" in check(together)


def drive_by_success(model, before, after, truth, target):
    shares = []
    for clean, attacked in zip(before, after, strict=True):
        right = model(clean).argmax(1) == truth
        if right.any():
            shares.append((model(attacked).argmax(1) == target)[right].float().mean().item())
    return metrics.proportion(sum(shares), len(shares))


def mean_share(shares):
    return metrics.proportion(sum(shares), len(shares))


def counting(of_drive, together=mean_share):
    """The success with another share of each drive (from what was right, and what is the target), or another mean."""

    def made(model, before, after, truth, target):
        drives = [
            (model(clean).argmax(1), model(attacked).argmax(1)) for clean, attacked in zip(before, after, strict=True)
        ]
        return together([of_drive(b == truth, a == target, a == truth) for b, a in drives])

    return made


def test_check_drive_by_success_knows_right_from_wrong():
    def share(right, hit, _):
        return (hit & right).sum() / right.sum()

    def without_empty(shares):
        return mean_share([share for share in shares if share == share])

    def pooled(model, before, after, truth, target):
        right = model(torch.cat(before)).argmax(1) == truth
        return metrics.proportion((right & (model(torch.cat(after)).argmax(1) == target)).sum(), right.sum())

    def in_one_go(model, before, after, truth, target):
        sizes = [len(frames) for frames in before]
        right = (model(torch.cat(before)).argmax(1) == truth).split(sizes)
        hit = (model(torch.cat(after)).argmax(1) == target).split(sizes)
        return mean_share([h[r].float().mean() for r, h in zip(right, hit, strict=True) if r.any()])

    def says_frames(*arguments):
        success = drive_by_success(*arguments)
        return metrics.Estimate(success, success.low, success.high, 15)

    def all_frames(model, before, after, truth, target):
        hit = model(torch.cat(after)).argmax(1) == target
        return metrics.proportion(hit.sum(), len(hit))

    def only_long_drives(*arguments):
        return drive_by_success(*arguments) if len(arguments[1][0]) > 1 else metrics.proportion(0, 4)

    def only_if(counts):
        """Over those drives of which `counts` is true, of which clean frames were right."""

        def wrong(model, before, after, truth, target):
            rows = [counts(model(clean).argmax(1) == truth) for clean in before]
            before, after = (
                [drive for drive, row in zip(drives, rows, strict=True) if row] for drives in (before, after)
            )
            return drive_by_success(model, before, after, truth, target)

        return wrong

    def last_frame(model, before, after, truth, target):
        return drive_by_success(
            model, [clean[-1:] for clean in before], [attacked[-1:] for attacked in after], truth, target
        )

    assert_check_is_sound(
        "drive_by_success",
        solution=drive_by_success,
        alternatives=[counting(share, without_empty), in_one_go],
        mistakes={
            "all frames together": (pooled, "outvotes the others"),
            "all frames, right or not": (all_frames, "also of those that were wrong before"),
            "drives that were wrong before": (
                counting(lambda right, hit, _: hit.float().mean()),
                "and a drive, that were wrong before",
            ),
            "divides by all frames of a drive": (
                counting(
                    lambda right, hit, _: (hit & right).float().mean() if right.any() else torch.tensor(torch.nan),
                    without_empty,
                ),
                "Within a drive you divide by all frames",
            ),
            "every wrong answer": (
                counting(lambda right, hit, stayed: (~stayed & right).sum() / right.sum(), without_empty),
                "nothing else is a success",
            ),
            "an empty drive is a failure": (
                counting(lambda right, hit, _: (hit & right).sum() / right.sum().clamp(min=1)),
                "isn't a failure",
            ),
            "not a number": (counting(share), "gives 0 / 0. Leave it out"),
            "the mean as hits": (
                counting(share, lambda shares: metrics.proportion(sum(s for s in shares if s == s) / 3, 3)),
                "the *sum* of the drives' shares",
            ),
            "most frames": (
                counting(share, lambda shares: mean_share([float(s > 0.5) for s in shares if s == s])),
                "in which most frames are turned",
            ),
            "who withstood": (
                counting(lambda right, hit, _: (~hit & right).sum() / right.sum(), without_empty),
                "the share that withstood",
            ),
            "only if the first frame was right": (only_if(lambda right: right[0]), "You left out a drive"),
            "only if most frames were right": (
                only_if(lambda right: right.float().mean() > 0.5),
                "You left out the drives in which most",
            ),
            "target fixed": (
                lambda m, b, a, truth, target: drive_by_success(m, b, a, 0, 2),
                "or the target, fixed somewhere",
            ),
            "the last frame": (last_frame, "You returned 0.500. Who counts within a drive"),
            "a bare number": (lambda *a: float(drive_by_success(*a)), "without an interval"),
            "an interval of no width": (
                counting(share, lambda shares: metrics.mean(torch.tensor([s for s in shares if s == s]))),
                "can't make anybody so sure",
            ),
            "stands on frames": (says_frames, "no independent witnesses"),
            "not for still views": (only_long_drives, "the lab is counted by the same function"),
        },
    )


def test_a_drive_of_which_nothing_is_known_is_named_however_the_mean_is_made():
    def mean_of_a_tensor(model, before, after, truth, target):
        shares = []
        for clean, attacked in zip(before, after, strict=True):
            right = model(clean).argmax(1) == truth
            shares.append((right & (model(attacked).argmax(1) == target)).sum() / right.sum())
        return torch.stack(shares).mean()

    assert "gives 0 / 0. Leave it out" in judge(all_exercises()["drive_by_success"], mean_of_a_tensor).text
