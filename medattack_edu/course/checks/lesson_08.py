"""Lesson 08's exercises: a step of masked stickers, the gradient over poses, and counting a drive-by. The lesson itself is in solutions/."""

import torch
import torch.nn.functional as F
from torch import nn

from medattack_edu import metrics
from medattack_edu.course.checks.framework import (
    Mistake,
    call,
    curved_model,
    describe,
    exercise,
    expect_detached,
    expect_images,
    expect_number,
    expect_tensor,
    unchanged,
)

SIDE = 8  # of the toy signs and textures, in pixels
CLASSES = 3  # of the toy models
TARGET = 2
NEAR = 1e-4  # two shares this close are the same share
SAME_DIRECTION = 0.97  # share of pixels that must move the same way: where a gradient is nearly 0, its sign is chance

# ---- stickers in a mask ------------------------------------------------------------------------------------------------


def reference_sticker_step(model, views, sign, stickers, mask, target, step_size):
    stickers = stickers.clone().requires_grad_()
    images = views(mask * stickers + (1 - mask) * sign)
    loss = F.cross_entropy(model(images), torch.full((len(images),), target, device=images.device))
    (gradient,) = torch.autograd.grad(loss, stickers)
    return (stickers - step_size * gradient.sign()).clamp(0, 1).detach()


@exercise(
    "sticker_step",
    lesson="08",
    title="One step of stickers in a mask",
    reference=reference_sticker_step,
    hints=(
        "Three things happen one after the other: the stickers cover the sign where the mask is 1, the covered sign is looked at from "
        "everywhere, and the loss towards the target says which way each colour should go.",
        "Where the mask is 1 you see the stickers, elsewhere the sign: a sum of two products. `views(...)` of that gives N images; the "
        "target is the same for all of them, `torch.full((len(images),), target, device=images.device)`. The loss is their cross-entropy, which has to fall; "
        "its gradient is wanted at the stickers.",
        "Clone the stickers and call `.requires_grad_()`. Hand `mask * stickers + (1 - mask) * sign` to `views`, take the cross-entropy "
        "of the model's answers against the target, its gradient at the stickers, one step of `step_size` *against* its sign, then "
        "`.clamp(0, 1)` and `.detach()`.",
    ),
)
def check_sticker_step(sticker_step):
    model, views, step_size = reader(), Road(), 0.05
    sign, mask = 0.15 + 0.7 * torch.rand(3, SIDE, SIDE), torch.zeros(1, SIDE, SIDE)
    mask[:, 1:3, 1:7] = mask[:, 5:7, 2:6] = 1
    stickers = torch.rand(3, SIDE, SIDE)
    stickers[:, :, ::3], stickers[:, :, 1::3] = 0.01, 0.98  # some colours stand at the edge of what can be printed
    with unchanged(model):
        out = call(sticker_step, model, views, sign, stickers, mask, TARGET, step_size)
    _expect_covered(views.seen, sign, stickers, mask)
    expect_images(out, like=stickers, what="your stickers")
    expect_detached(out, "your stickers")
    inside = mask.expand_as(stickers) > 0
    moved, wanted = (out - stickers)[inside], _wanted_step(model, Road(), sign, stickers, mask, step_size)[inside]
    before, after = (_log_probability(model, Road()(mask * s + (1 - mask) * sign)) for s in (stickers, out))
    if moved.abs().max() < 1e-7:
        raise Mistake("Not one colour of the stickers has moved. Where does the gradient come in?")
    if (moved.sign() == -wanted.sign()).float().mean() > SAME_DIRECTION:
        raise Mistake(
            f"The target has become less probable: over {len(Road.LOOKS)} views its mean log probability went from {before:.2f} to {after:.2f}. "
            "You walk away from the target. A loss against the target has to *fall*."
        )
    free = (stickers > step_size) & (stickers < 1 - step_size)
    lengths = moved[free[inside]].abs()
    if (lengths - step_size).abs().median() > 1e-3:
        raise Mistake(
            f"A step moves a colour by step_size = {step_size:g}, up or down. Most of yours moved by {lengths.median().item():.3g}. "
            "What is left of a gradient when only its direction counts, and how often is it counted?"
        )
    if moved.abs().max() > step_size + 1e-3:
        raise Mistake(
            f"A step moves a colour by step_size = {step_size:g} at most, also near black and white. One of yours moved by {moved.abs().max():.3f}."
        )
    same = (moved.sign() == wanted.sign()).float().mean().item()
    if same < SAME_DIRECTION:
        raise Mistake(_about_views(model, sign, stickers, mask, step_size, moved, inside, same))
    _steps_elsewhere(sticker_step, model, mask)
    return f"Over {len(Road.LOOKS)} views, the target's mean log probability rose from {before:.2f} to {after:.2f}."


def _steps_elsewhere(sticker_step, model, mask):
    """Another target, another step, and a sign and stickers that stay away from black and white."""
    target, step_size = 0, 0.03
    sign, stickers = 0.2 + 0.6 * torch.rand(3, SIDE, SIDE), 0.2 + 0.6 * torch.randint(0, 2, (3, SIDE, SIDE))
    inside = mask.expand_as(stickers) > 0
    out = call(sticker_step, model, Road(), sign, stickers, mask, target, step_size)
    expect_images(out, like=stickers, what="your stickers")
    moved = (out - stickers)[inside]
    length = moved.abs().max().item()
    if abs(length - step_size) > 1e-3:
        raise Mistake(
            f"For step_size = 0.05 your step was right. For {step_size:g} it moves colours by {length:.3g}. Is its length fixed somewhere?"
        )
    stopped = (moved.abs() < 0.5 * step_size).float().mean().item()
    if stopped > 1 - SAME_DIRECTION:
        raise Mistake(
            f"All stickers had the colours 0.2 or 0.8 before this step, and {stopped:.0%} of yours have moved by less than half of it. Whatever "
            "colours there are now, only 0 and 1 end a colour's way."
        )
    right = reference_sticker_step(model, Road(), sign, stickers, mask, target, step_size)
    same = (moved.sign() == (right - stickers)[inside].sign()).float().mean().item()
    if same < SAME_DIRECTION:
        raise Mistake(
            f"For target {TARGET} your step was right. For target {target} only {same:.0%} of the colours move the right way. Is the target fixed somewhere?"
        )


def _expect_covered(seen, sign, stickers, mask):
    """Raise `Mistake` unless what was looked at is the sign, covered by the stickers where the mask is 1."""
    if not seen:
        raise Mistake(
            "You never called `views`. What the camera sees is `views(...)` of the covered sign, N images of it."
        )
    covered = seen[0]
    if tuple(covered.shape) != tuple(sign.shape):
        raise Mistake(f"`views` takes one sign of shape {tuple(sign.shape)}; you gave it {describe(covered)}.")
    inside = mask.expand_as(sign) > 0
    if torch.allclose(covered, torch.where(inside, sign, stickers), atol=1e-5):
        raise Mistake(
            "The sign that you looked at shows the stickers where the mask is 0, and the clean sign where it is 1."
        )
    outside_moved = (covered - sign)[~inside].abs().max().item()
    if outside_moved > 1e-5:
        share = 100 * (1 - inside.float().mean().item())
        raise Mistake(
            f"The sign that you looked at differs from the real one where there is no sticker, by up to {outside_moved:.2f}. The mask "
            f"leaves {share:.0f} % of this sign alone."
        )
    for what, mixed in (
        ("added the stickers' colours to the sign's", sign + stickers),
        ("mixed sticker and sign", (sign + stickers) / 2),
    ):
        if torch.allclose(covered[inside], mixed[inside], atol=1e-4):
            raise Mistake(f"You {what}. A sticker lets nothing through: where the mask is 1, only its colour is seen.")
    if torch.allclose(covered[inside], sign[inside], atol=1e-5):
        raise Mistake("The sign that you looked at has no stickers on it: inside the mask it is still the clean sign.")
    if not torch.allclose(covered[inside], stickers[inside], atol=1e-4):
        off = (covered - stickers)[inside].abs().max().item()
        raise Mistake(
            f"Where the mask is 1, the sign should show the stickers' colours; yours are off by up to {off:.2f}."
        )


def _wanted_step(model, views, sign, stickers, mask, step_size):
    return reference_sticker_step(model, views, sign, stickers, mask, TARGET, step_size) - stickers


def _uphill(model, sign, stickers, mask, inside, of):
    """Signs of the gradient of something else than the loss, `of` the model's logits (N, classes), inside the mask."""
    point = stickers.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(of(model(Road()(mask * point + (1 - mask) * sign))), point)
    return gradient[inside].sign()


def _about_views(model, sign, stickers, mask, step_size, moved, inside, same):
    told = f"Only {100 * same:.0f} % of the stickers' colours move the way that all {len(Road.LOOKS)} views together ask for. "
    for number in range(len(Road.LOOKS)):
        alone = _wanted_step(model, Road(only=number), sign, stickers, mask, step_size)[inside]
        if (moved.sign() == alone.sign()).float().mean() > SAME_DIRECTION:
            return told + f"They move as view {number} alone would have it: the others had no say."
    towards_another = reference_sticker_step(model, Road(), sign, stickers, mask, 0, step_size) - stickers
    if (moved.sign() == -towards_another[inside].sign()).float().mean() > SAME_DIRECTION:
        return told + "They move away from class 0, wherever that leads. The target is class 2."
    loss = "The loss of this step is the mean cross-entropy against the target"
    for of, words in (
        (
            lambda logits: logits[:, TARGET].sum(),
            "the target's *logit* alone asks for. It may grow while another class's grows faster.",
        ),
        (
            lambda logits: logits.softmax(1)[:, TARGET].sum(),
            "the target's *probability* asks for. It is flat where a view still fails, and that view has no say.",
        ),
    ):
        if (moved.sign() == _uphill(model, sign, stickers, mask, inside, of)).float().mean() > SAME_DIRECTION:
            return f"{told}They move as {words} {loss}."
    votes = sum(
        _wanted_step(model, Road(only=n), sign, stickers, mask, step_size)[inside].sign()
        for n in range(len(Road.LOOKS))
    )
    if (moved.sign() == votes.sign()).float().mean() > SAME_DIRECTION:
        return f"{told}The views voted, one sign each. {loss}: how much a view stands to gain counts too, so the sign comes last."
    return f"{told}{loss}. What did you take the gradient of?"


# ---- expectation over poses --------------------------------------------------------------------------------------------

POSES = (0, 2, 3, 5, 7)


def reference_pose_gradient(model, render, texture, poses, target):
    total = torch.zeros_like(texture)
    for pose in poses:
        point = texture.clone().requires_grad_()
        log_probability = model(render(point, pose)).log_softmax(1)[0, target]
        total += torch.autograd.grad(log_probability, point)[0]
    return total / len(poses)


@exercise(
    "pose_gradient",
    lesson="08",
    title="The gradient over all poses",
    reference=reference_pose_gradient,
    hints=(
        "An expectation over poses is a mean over some that you draw. The mean of what: of the images, of the probabilities, or of the "
        "*log* probabilities? And the gradient of a mean is the mean of the gradients.",
        "For each pose: render, ask the model, `.log_softmax(1)`, take the target's entry, and its gradient at the texture. Add the "
        "gradients up; divide once, at the end.",
        "`point = texture.clone().requires_grad_()`; `model(render(point, pose)).log_softmax(1)[0, target]`; `torch.autograd.grad` of "
        "it at `point`. Do this for each pose in a loop and return the sum over `len(poses)`.",
    ),
)
def check_pose_gradient(pose_gradient):
    model, turntable = reader(), Turntable()
    texture = torch.rand(3, SIDE, SIDE)
    with unchanged(model):
        out = call(pose_gradient, model, turntable, texture, list(POSES), TARGET)
    order = list(turntable.events)
    asked = [pose for kind, pose in order if kind == "seen"]
    strange = [pose for pose in asked if pose not in POSES]
    if strange:
        raise Mistake(
            f"You rendered a pose, {describe(strange[0])}, that isn't among `poses`. The mean is over poses, not of them."
        )
    missing = [pose for pose in POSES if pose not in asked]
    if missing:
        raise Mistake(f"Of the poses {list(POSES)} you rendered {len(set(asked))}; pose {missing[0]} has no say.")
    expect_tensor(out, shape=texture.shape, dtype=texture.dtype, what="your gradient")
    expect_detached(out, "the values of your gradient")
    right = reference_pose_gradient(model, Turntable(), texture, POSES, TARGET)
    if not torch.allclose(out, right, rtol=1e-3, atol=1e-6 * right.abs().max().item() + 1e-7):
        raise Mistake(_about_gradient(model, texture, out, right))
    drawn, target = [POSES[1], POSES[4], POSES[1]], 0
    other = call(pose_gradient, model, Turntable(), texture, drawn, target)
    expect_tensor(other, shape=texture.shape, dtype=texture.dtype, what="your gradient")
    right = reference_pose_gradient(model, Turntable(), texture, drawn, target)
    if not torch.allclose(other, right, rtol=1e-3, atol=1e-3 * right.abs().max().item()):
        raise Mistake(
            f"For the poses {list(POSES)} and target {TARGET} your gradient is right. For the poses {drawn} and target {target} {_compared(other, right)}. "
            "Is something fixed that your function is given? And how often does a pose count that was drawn twice?"
        )
    first_answer = next((i for i, (kind, _) in enumerate(order) if kind == "differentiated"), len(order))
    held = sum(kind == "seen" for kind, _ in order[:first_answer])
    kept = (
        "never more than one of them in memory"
        if held == 1
        else f"{held} of them in memory at once: fine for {len(POSES)}, heavy for 500"
    )
    return f"The mean over {len(POSES)} poses, with {kept}."


def _about_gradient(model, texture, out, right):
    def gradient(of):
        point = texture.clone().requires_grad_()
        images = torch.cat([Turntable()(point, pose) for pose in POSES])
        return torch.autograd.grad(of(images), point)[0]

    def like(other):
        return torch.allclose(out, other, rtol=1e-2, atol=1e-3 * other.abs().max().item())

    n = len(POSES)
    if like(-right) or like(-n * right):
        return (
            "Your gradient points the wrong way: it is that of the *loss*, uphill of which the target becomes less probable. Asked for "
            "was the gradient of the log probability."
        )
    if like(n * right):
        return f"Your gradient is {n} times too long: a sum over {n} poses. An expectation is a mean; else more poses mean longer steps."
    if like(gradient(lambda images: model(images).softmax(1)[:, TARGET].mean().log())):
        return (
            "You take the logarithm of the mean probability. Then a pose that is lost already hardly counts. The mean is of the log "
            "probabilities, which look hardest at the poses that still fail."
        )
    if like(gradient(lambda images: model(images).softmax(1)[:, TARGET].mean())):
        return (
            "You take the mean of the probabilities, without the logarithm. Where a pose still fails, a probability is flat, and that "
            "pose has no say."
        )
    if like(gradient(lambda images: model(images.mean(0, keepdim=True)).log_softmax(1)[0, TARGET])):
        return "You take the mean of the *images*, a ghost that no camera ever sees, and ask the model about it. Ask about each pose."
    if like(gradient(lambda images: model(images)[:, TARGET].mean())):
        return "You take the mean of the target's *logit*. It may grow while another class's grows faster. The log probability knows both."
    each = [reference_pose_gradient(model, Turntable(), texture, [pose], TARGET) for pose in POSES]
    for number, alone in enumerate(each):
        if like(alone) or like(alone / n):
            which = {0: "the first", n - 1: "the last"}.get(number, f"number {number + 1}")
            return f"You rendered {n} poses, but your gradient is that of {which} alone. Is something overwritten in the loop?"
    signs = torch.stack([alone.sign() for alone in each])
    if like(signs.mean(0)) or like(signs.sum(0)):
        return (
            "You take the sign of each pose's gradient before the mean: every pose then has the same say, however much it stands to gain. Asked "
            "for is the mean of the gradients themselves."
        )
    if like(right.sign()):
        return (
            "You return directions alone: a sign has forgotten how steep it was. Asked for is the gradient itself; the lesson takes its "
            "sign afterwards, once for all poses."
        )
    return f"Asked for was the gradient of the mean log probability over {n} poses: {_compared(out, right)}."


def _compared(out, right):
    cosine = F.cosine_similarity(out.flatten(), right.flatten(), dim=0)
    return f"yours has a cosine of {cosine:.2f} with it, and {out.norm() / right.norm():.3g} times its length"


# ---- lab against drive-by ----------------------------------------------------------------------------------------------

# Four approaches: brightness of each frame with the clean sign, and with the stickers. The toy model answers 0 up to 0.33, then 1, then 2.
STOP, OTHER, LIMIT = 0.1, 0.5, 0.9
APPROACHES = (
    ([STOP] * 10, [STOP] * 2 + [LIMIT] * 8),
    ([STOP, STOP, STOP, OTHER], [LIMIT, OTHER, STOP, LIMIT]),
    ([STOP, STOP], [STOP, STOP]),
    ([OTHER, LIMIT, LIMIT], [LIMIT, LIMIT, LIMIT]),
)


def reference_drive_by_success(model, before, after, truth, target):
    shares = []
    for clean, attacked in zip(before, after, strict=True):
        right = model(clean).argmax(1) == truth
        if right.any():
            shares.append((model(attacked).argmax(1) == target)[right].float().mean().item())
    return metrics.proportion(sum(shares), len(shares))


@exercise(
    "drive_by_success",
    lesson="08",
    title="Success over drives, not over frames",
    reference=reference_drive_by_success,
    hints=(
        "Two drives: 10 frames, 8 of them turned, and 2 frames, none turned. Counted by frames that is 8 of 12; counted by drives it is the "
        "mean of 0.8 and 0. Which of the two would change if the first car had driven half as fast?",
        "Within a drive: which frames of the *clean* sign does the model read right? Of these, which share is answered with the target "
        "when the stickers are on? A drive without a frame that was right says nothing: leave it out.",
        "Loop over `zip(before, after)`. `right = model(clean).argmax(1) == truth`; if `right.any()`, append the mean of "
        "`model(attacked).argmax(1) == target` over the frames in `right`. At the end `metrics.proportion` of their sum and their number: a drive may count in part.",
    ),
)
def check_drive_by_success(drive_by_success):
    model = Lightmeter()
    before, after = ([_frames(approach[which]) for approach in APPROACHES] for which in (0, 1))
    try:
        with unchanged(model):
            out = call(drive_by_success, model, before, after, 0, TARGET)
    except ValueError as error:
        if not str(error).startswith("nan hits"):  # as `metrics.proportion` says it of a sum with 0 / 0 in it
            raise
        raise Mistake(_about_share(float("nan"))) from error
    if _is_nan(out):
        raise Mistake(_about_share(float("nan")))
    share = expect_number(out, "the success")
    if abs(share - (0.8 + 1 / 3) / 3) > NEAR:
        raise Mistake(_about_share(share))
    if not hasattr(out, "n"):
        raise Mistake(
            f"The success is right, {share:.3f}. But it came as {describe(out)}, without an interval. `metrics.proportion(hits, n)` "
            "makes one, and its hits need not be whole: a drive may count in part."
        )
    if out.n != 3:
        raise Mistake(
            f"The success is right, {share:.3f}, but it says that it stands on {out.n}. Three drives had a frame that was right before. "
            "Frames of one drive are no independent witnesses."
        )
    single = call(
        drive_by_success,
        model,
        [_frames([STOP])] * 4,
        [_frames([level]) for level in (LIMIT, LIMIT, OTHER, STOP)],
        0,
        TARGET,
    )
    if abs(float(single) - 0.5) > NEAR:
        raise Mistake(
            f"With four still views, drives of a single frame, two of which are read as the target, you return {float(single):.3g}. Half was "
            "expected: the lab is counted by the same function."
        )
    _counts_some_frames(drive_by_success, model)
    always = call(drive_by_success, model, [_frames([STOP] * 5)] * 3, [_frames([LIMIT] * 5)] * 3, 0, TARGET)
    if hasattr(always, "low") and always.low > 0.95:
        raise Mistake(
            f"Three drives, and the target in every frame: your interval runs from {always.low:.2f} to {always.high:.2f}. Three drives "
            "can't make anybody so sure. An interval that is made from the spread of the shares vanishes where they are all the same; "
            "that of `metrics.proportion` doesn't."
        )
    return "0.8, 0.33 and 0 in three drives: 0.378, and it says that three stand behind it."


def _counts_some_frames(drive_by_success, model):
    """Another truth and another target; and two drives in which a single clean frame is right, the last of one and the first of the other."""
    before = [_frames([OTHER, OTHER, LIMIT]), _frames([LIMIT, OTHER, OTHER]), _frames([LIMIT, LIMIT])]
    after = [_frames([OTHER, OTHER, STOP]), _frames([STOP, OTHER, OTHER]), _frames([LIMIT, STOP])]
    out = call(drive_by_success, model, before, after, 2, 0)
    share = float("nan") if _is_nan(out) else expect_number(out, "the success")
    if abs(share - 2.5 / 3) <= NEAR:
        return
    known = {
        0.75: "You left out a drive: it counts as soon as one of its frames was right, whichever that is.",
        0.5: "You left out the drives in which most frames were wrong: a drive counts as soon as one of its frames was right.",
    }
    hint = next(
        (words for value, words in known.items() if abs(share - value) <= NEAR),
        "Is the truth, or the target, fixed somewhere?",
    )
    raise Mistake(
        "Three drives, truth 2 and target 0. In the first, only the last of 3 clean frames is right, in the second only the first of 3; with "
        "stickers, both are answered with the target. In the third, 2 of 2 are right, and 1 is answered so: shares of 1, 1 and 0.5, so 0.833. You "
        f"returned {share:.3f}. {hint}"
    )


def _is_nan(out):
    try:
        return float(out) != float(out)
    except (TypeError, ValueError, RuntimeError):  # no number at all: expect_number says so
        return False


def _about_share(share):
    told = (
        "Of four drives, the model reads the clean sign right in 10 of 10, 3 of 4, 2 of 2 and 0 of 3 frames. Of these, 8, 1 and 0 are "
        f"answered with the target when the stickers are on. You returned {share:.3f}. "
    )
    before = "were wrong before the attack. They prove nothing."
    by_all = "Those that were wrong before can't be turned."
    known = (
        (9 / 15, "That is the share of all frames together: the drive with 10 frames outvotes the others."),
        (13 / 19, "That is the share of all frames together, also of those that were wrong before."),
        ((0.8 + 2 / 4 + 0 + 1) / 4, f"You count frames, and a drive, that {before}"),
        ((0.8 + 2 / 4 + 0) / 3, f"Within a drive you count frames that {before}"),
        ((0.8 + 1 / 4 + 0) / 3, f"Within a drive you divide by all frames. {by_all}"),
        ((0.8 + 1 / 4 + 0) / 4, f"You divide by all frames and all drives. {by_all}"),
        (
            (0.8 + 2 / 3 + 0) / 3,
            "You count every wrong answer. The attack wants one answer, the target; nothing else is a success.",
        ),
        (
            (0.8 + 1 / 3 + 0) / 4,
            "You divide by four drives. In the last one no frame was right before: it says nothing, and isn't a failure.",
        ),
        (1 / 3, "That looks like the share of drives in which most frames are turned. Keep the share of each drive."),
        (2 / 3, "That looks like the share of drives with a frame that is turned. Keep the share of each drive."),
        ((0.2 + 2 / 3 + 1) / 3, "That is the share that withstood."),
        ((0.2 + 1 / 3 + 1) / 3, "That is the share of right answers that stayed."),
        (
            (0.8 + 1 / 3) / 9,
            "You divide by the number of drives twice: the hits are the *sum* of the drives' shares, and n divides it.",
        ),
    )
    if share != share:
        return told + "A drive without a frame that was right before gives 0 / 0. Leave it out of the mean."
    for value, words in known:
        if abs(share - value) <= NEAR:
            return told + words
    return told + "Who counts within a drive, and how do the drives come together?"


# ---- toys --------------------------------------------------------------------------------------------------------------


def reader():
    """A small smooth model of three classes, curved enough that each view asks for something else."""
    return curved_model(3 * SIDE * SIDE, CLASSES)


class Road:
    """Views of a sign: shifted by some pixels, in some light. `.seen` are the signs that were looked at."""

    LOOKS = ((0, 0, 1.0), (1, 0, 0.6), (0, 2, 0.8), (-2, 1, 0.5), (3, -3, 0.9))  # down, across, light

    def __init__(self, only=None):
        self.seen, self.looks = [], self.LOOKS if only is None else (self.LOOKS[only],)

    def __call__(self, sign):
        self.seen.append(sign.detach().clone())
        if sign.ndim != 3:
            raise Mistake(f"`views` takes one sign (3, {SIDE}, {SIDE}); you gave it {describe(sign)}.")
        return torch.stack([light * sign.roll((down, across), (1, 2)) for down, across, light in self.looks])


class Turntable:
    """Renders a toy texture from a pose, and writes down what is seen and what is differentiated, in order."""

    def __init__(self):
        self.events = []

    def __call__(self, texture, pose):
        if texture.ndim != 3:
            raise Mistake(f"`render` takes one texture (3, {SIDE}, {SIDE}); you gave it {describe(texture)}.")
        self.events.append(("seen", pose))
        shift = round(float(pose))
        image = (texture.roll(shift, 2) * (0.4 + 0.08 * shift)).clone()
        if image.requires_grad:
            image.register_hook(lambda gradient: self.events.append(("differentiated", pose)))
        return image[None]


class Lightmeter(nn.Module):
    """A toy model: 0 for dark frames, 1 for those in between, 2 for bright ones."""

    def forward(self, x):
        level = x.mean((1, 2, 3))
        return -torch.stack([(level - middle).abs() for middle in (STOP, OTHER, LIMIT)], 1)

    def __init__(self):
        super().__init__()
        self.eval()


def _frames(levels):
    """Uniform grey frames (T, 3, 4, 4)."""
    return torch.tensor(levels)[:, None, None, None].expand(len(levels), 3, 4, 4).clone()


@torch.no_grad()
def _log_probability(model, images):
    """Mean log probability of the target."""
    return model(images).log_softmax(1)[:, TARGET].mean().item()
