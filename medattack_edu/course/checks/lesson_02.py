"""Lesson 02's exercises: normalisation, a linear probe, a training step, a threshold. The lesson itself is in solutions/."""

import copy
import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

from medattack_edu.course.checks.framework import (
    Mistake,
    call,
    describe,
    exercise,
    expect_number,
    expect_tensor,
)
from medattack_edu.models.small_cnn import SmallCNN

SAME = 1e-4  # two numbers this close are the same result

# ---- normalisation ------------------------------------------------------------------------------------------------

# Each channel has its own mean and spread, so that no two of them can be mixed up unseen. Red has so small a spread that
# its values run to 5, and a cut at 3 shows.
MEAN = torch.tensor([0.5, 0.4, 0.3])
STD = torch.tensor([0.1, 0.25, 0.5])
COLOURS = ("red", "green", "blue")


def reference_normalise(x, mean, std):
    return (x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)


@exercise(
    "normalise",
    lesson="02",
    title="From pixels to what the network was trained on",
    reference=reference_normalise,
    hints=(
        (
            "Take the mean away, then divide by the standard deviation. The work is in the shapes: PyTorch lines shapes up from "
            "the right, so three numbers would meet the *width* of the image, and not its three colours."
        ),
        (
            "Give the three numbers the shape (1, 3, 1, 1): one batch place, three colours, one row, one column. PyTorch then "
            "stretches the ones to whatever stands there in the images. `mean.view(...)` or `mean[None, :, None, None]` do it."
        ),
        "With both `mean` and `std` in the shape (1, 3, 1, 1), it is: images minus mean, in brackets, divided by std.",
    ),
)
def check_normalise(normalise):
    generator = torch.Generator().manual_seed(2)
    for shape, kind in (((2, 3, 4, 3), "3 pixels wide"), ((2, 3, 3, 5), "5 pixels wide"), ((1, 3, 6, 6), "alone")):
        x = torch.rand(shape, generator=generator)
        out = call(normalise, x, MEAN, STD)
        expect_tensor(out, shape=x.shape, dtype=x.dtype, what="the normalised images")
        _compare_normalised(out, x, kind)
    watched = torch.rand(1, 3, 4, 4, generator=generator).requires_grad_()
    if not normalise(watched, MEAN, STD).requires_grad:
        raise Mistake(
            "The numbers are right, and no gradient finds its way back through your function to the pixels. This layer will "
            "stand inside the model, and attacks will need that way. Stay with operations on tensors."
        )
    return "Each colour has its own mean and spread, in images of any size."


def _compare_normalised(out, x, kind):
    out, expected = out.detach(), reference_normalise(x, MEAN, STD)
    if torch.allclose(out, expected, atol=SAME):
        return
    image, channel, row, column = (int(i) for i in _furthest(out, expected))
    told = (
        f"Images {kind}: at image {image}, {COLOURS[channel]}, row {row}, column {column} stands the value "
        f"{x[image, channel, row, column]:.3f}. {COLOURS[channel].capitalize()} has mean {MEAN[channel]:g} and standard deviation "
        f"{STD[channel]:g}, so it becomes {expected[image, channel, row, column]:.3f}; yours is "
        f"{out[image, channel, row, column]:.3f}. "
    )
    for wrong, meaning in _normalise_slips(x, out):
        if wrong.shape == out.shape and torch.allclose(out, wrong, atol=SAME):
            raise Mistake(told + meaning)
    raise Mistake(told + "How many standard deviations from the mean is it?")


def _normalise_slips(x, out):
    """Tensors that come out of likely slips, each with what it stands for."""
    mean, std = MEAN.view(1, 3, 1, 1), STD.view(1, 3, 1, 1)
    own = "That comes out with the mean and the spread of these images themselves. Use those that were handed in: the network "
    slips = [
        (x * std + mean, "That is the way back, from normalised to pixels."),
        (x / std - mean, "You divided first and took the mean away afterwards. The brackets decide."),
        (x - mean / std, "Only the mean was divided by the standard deviation. The brackets decide."),
        ((x - mean) * std, "You multiplied by the standard deviation."),
        ((x - mean) / std**2, "You divided by the variance: by the standard deviation twice."),
        (x - mean, "The mean is gone; the spread is as it was."),
        (x / std, "The spread is right; the mean was not taken away."),
        ((x - MEAN.mean()) / STD.mean(), "You gave all three colours the same mean and spread. Each has its own."),
        (
            (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True),
            own + "knows those, and an image must not depend on its neighbours.",
        ),
        ((x - x.mean()) / x.std(), own + "knows those, and an image must not depend on its neighbours."),
    ]
    right, low, high = (x - mean) / std, out.min(), out.max()
    if low < high:
        ends = [f"{end:.3g}" for end, free in ((low, right.min()), (high, right.max())) if abs(end - free) > SAME]
        cut = f"You cut it at {' and '.join(ends)}. Normalised values run below 0 and above 1, as far as they like, and should."
        slips.append((right.clamp(low, high), cut))
    if x.shape[-1] == len(MEAN):
        across = "That comes out when the three means run along the *width*: the first column got the red one, in all colours. Here the "
        slips.append(
            ((x - MEAN) / STD, across + "image happens to be 3 wide; at another width it would have been an error.")
        )
    if x.shape[-2] == len(MEAN):
        slips.append(
            (
                (x - MEAN[:, None]) / STD[:, None],
                "That comes out when the three means run down the *rows* of the image.",
            )
        )
    return slips


# ---- the linear probe ---------------------------------------------------------------------------------------------

OLD_CLASSES = 9  # what the tiny pre-trained models tell apart before they get a new head


def reference_linear_probe(model, classes):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.classifier = nn.Linear(model.classifier.in_features, classes)
    return list(model.classifier.parameters())


@exercise(
    "linear_probe",
    lesson="02",
    title="A new last layer on a frozen body",
    reference=reference_linear_probe,
    hints=(
        (
            "Three steps, and their order matters: freeze everything that is there; put a new linear layer in the place of "
            "`model.classifier`; return the weights of the new layer, which nobody has frozen."
        ),
        (
            "A loop over `model.parameters()` with `parameter.requires_grad_(False)` freezes. The new layer takes as many numbers "
            "as the old one did, `model.classifier.in_features`, and gives `classes`."
        ),
        (
            "After freezing, assign `nn.Linear(model.classifier.in_features, classes)` to `model.classifier`, and return "
            "`list(...)` of the parameters of `model.classifier`: there are two, a weight and a bias."
        ),
    ),
)
def check_linear_probe(linear_probe):
    for model, classes in ((SmallCNN(num_classes=OLD_CLASSES, width=4), 2), (_another_body(), 3)):
        before, old_head = copy.deepcopy(model.state_dict()), model.classifier
        chosen = _parameters(call(linear_probe, model, classes))
        _look_at_the_head(model, old_head, classes)
        _look_at_the_freezing(model)
        _look_at_what_is_trained(model, chosen, old_head)
        _refuse_a_changed_body(model, before)
    trained = sum(parameter.numel() for parameter in chosen)
    return f"It trains {trained} of {sum(p.numel() for p in model.parameters()):,} numbers in a small model, and a new layer gives the answer."


def _another_body():
    """A model that has nothing in common with `SmallCNN` but the name of its last layer."""
    return nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, 24, 3),
            norm=nn.BatchNorm2d(24),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            classifier=nn.Linear(24, OLD_CLASSES),
        )
    )


def _parameters(out):
    """What a learner returned, as a list of tensors."""
    asked = "The parameters to train were expected, as a list of tensors; "
    if isinstance(out, nn.Module | str | dict | torch.Tensor) or not hasattr(out, "__iter__"):
        raise Mistake(f"{asked}{describe(out)} came.")
    listed = list(out)
    strangers = [item for item in listed if not isinstance(item, torch.Tensor)]
    if strangers:
        raise Mistake(f"{asked}{describe(strangers[0])} is among them. An optimiser takes the tensors alone.")
    return listed


def _look_at_the_head(model, old_head, classes):
    head, wanted = model.classifier, old_head.in_features
    if head is old_head:
        raise Mistake(
            f"The last layer is still the old one, with {OLD_CLASSES} answers from its earlier task. {classes} classes were "
            "asked for. Put a new layer in its place."
        )
    if isinstance(head, nn.Linear) and head.in_features != wanted:
        raise Mistake(
            f"Your last layer takes {head.in_features:,} numbers. The body of this model delivers {wanted}. Ask the old layer how "
            "many it took; then your function works for any body."
        )
    if not isinstance(head, nn.Module):
        raise Mistake(f"`model.classifier` should be a layer; {describe(head)} stands there now.")
    copied = copy.deepcopy(model).eval()  # batch norm would take note of these images
    answers = copied(torch.rand(2, 3, 32, 32))
    if tuple(answers.shape) != (2, classes):
        raise Mistake(
            f"For 2 images and {classes} classes, logits of shape (2, {classes}) were expected; {describe(answers)} came."
        )
    _refuse_what_is_not_linear(copied.classifier, wanted)


@torch.no_grad()
def _refuse_what_is_not_linear(head, wanted):
    """Raise `Mistake` if something bends the answers of the head, once its weights are spread widely."""
    for parameter in head.parameters():
        parameter.uniform_(-1, 1)
    one, other = 3 * torch.randn(2, 20, wanted)
    answers, nothing = head(one), head(torch.zeros(20, wanted))
    told = f"With weights between -1 and 1, the answers of the new layer run from {answers.min():.2f} to {answers.max():.2f}. "
    if torch.allclose(answers.sum(1), torch.ones(20), atol=SAME):
        raise Mistake(
            told
            + "Those for an image add up to 1, so they are probabilities. Logits were asked for, and the training makes "
            "probabilities of them itself."
        )
    if answers.min() >= 0:
        raise Mistake(
            told + "None is below 0. A logit is any number, as it comes out of a linear layer: something cuts it off."
        )
    if not torch.allclose(head(one + other) + nothing, answers + head(other), atol=1e-3):
        raise Mistake(
            told
            + "And it isn't linear: what it answers to the sum of two inputs is not the sum of its answers. A linear probe "
            "has one linear layer, with nothing before or after it that bends."
        )


def _look_at_the_freezing(model):
    frozen_head = [name for name, parameter in model.classifier.named_parameters() if not parameter.requires_grad]
    if frozen_head:
        raise Mistake(
            f"The new layer is frozen as well (its {' and '.join(frozen_head)}), so nothing is left to train. In which order did "
            "you freeze and replace?"
        )
    body = [(name, p) for name, p in model.named_parameters() if not name.startswith("classifier.")]
    moving = [name for name, parameter in body if parameter.requires_grad]
    if moving:
        told = f"{len(moving)} of the {len(body)} tensors of the body are not frozen, `{moving[0]}` for one. "
        if any("requires_grad" in vars(module) for module in model.modules()):
            told += (
                "You set `requires_grad` on a module. Python allows that, and it does nothing: only tensors have the switch. (A "
                "module has a *method*, with an underscore at its end, that passes it on.)"
            )
        else:
            told += "Their gradients would be computed at every step, and any optimiser that gets hold of them would move them."
        raise Mistake(told)


def _look_at_what_is_trained(model, chosen, old_head):
    head = list(model.classifier.parameters())
    known = {id(parameter) for parameter in model.parameters()}
    if any(id(tensor) not in known for tensor in chosen):
        old = {id(parameter) for parameter in old_head.parameters()}
        of = "They belong to the old last layer. " if any(id(tensor) in old for tensor in chosen) else ""
        raise Mistake(
            f"You returned tensors that are not in the model (any more). {of}An optimiser would train them, and the model would not notice."
        )
    extra = [tensor for tensor in chosen if all(tensor is not parameter for parameter in head)]
    if extra:
        count = sum(tensor.numel() for tensor in extra)
        raise Mistake(f"Your list holds {count:,} numbers of the frozen body. Only the new layer is to be trained.")
    twice = [tensor for tensor in head if sum(tensor is other for other in chosen) > 1]
    if twice:
        raise Mistake(
            f"Your list holds the tensor of shape {tuple(twice[0].shape)} more than once. An optimiser would move it as often in one step."
        )
    missing = [tuple(parameter.shape) for parameter in head if all(parameter is not tensor for tensor in chosen)]
    if missing:
        raise Mistake(
            f"Your list leaves out a part of the new layer: the tensor of shape {missing[0]}. A linear layer has a weight and a bias."
        )


def _refuse_a_changed_body(model, before):
    weights = dict(model.named_parameters())
    for name, value in model.state_dict().items():
        if name.startswith("classifier.") or torch.equal(value, before[name]):
            continue
        if name not in weights:
            raise Mistake(
                f"`{name}` of the body has changed. Batch norm keeps a running record of whatever passes through the model in "
                "training mode, frozen or not. Did you run images through it?"
            )
        raise Mistake(
            f"The numbers in `{name}` have changed. The body holds what was learnt in its earlier life: freeze it, don't start it "
            "anew."
        )


# ---- the training step --------------------------------------------------------------------------------------------

LEARNING_RATE = 0.01
MOMENTUM = 0.9
CLASS_WEIGHT = torch.tensor([0.6, 3.0])
BRIGHTNESS = 10  # inputs up to here make gradients longer than 1, so that whoever cuts them to 1 is seen


class Spy(nn.Module):
    """A tiny classifier of 2 x 2 images that notes in which mode it was asked."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(12, 2)
        self.modes = []

    def forward(self, x):
        self.modes.append(self.training)
        return self.linear(x.flatten(1))


def reference_training_step(model, x, y, optimiser, weight):
    optimiser.zero_grad()
    loss = F.cross_entropy(model(x), y, weight=weight)
    loss.backward()
    optimiser.step()
    return loss.item()


@exercise(
    "training_step",
    lesson="02",
    title="One step of training",
    reference=reference_training_step,
    hints=(
        (
            "Five things in this order: forget the gradients of the step before; ask the model; compute the loss; compute the "
            "gradients; let the optimiser move the weights."
        ),
        (
            "The first is `optimiser.zero_grad()`, the last `optimiser.step()`. `F.cross_entropy` takes the logits as they come out of "
            "the model, the labels, and `weight=`. The gradients come from a method of the loss."
        ),
        (
            "`loss = F.cross_entropy(model(x), y, weight=weight)`, then call `backward()` on it, then the optimiser's `step()`. Return "
            "`.item()` of the loss, which is a plain number."
        ),
    ),
)
def check_training_step(training_step):
    generator = torch.Generator().manual_seed(3)
    batches = [
        (BRIGHTNESS * torch.rand(6, 3, 2, 2, generator=generator), torch.tensor(labels))
        for labels in ([0, 0, 1, 0, 0, 1], [1, 0, 0, 0, 1, 0])
    ]
    for weight in (CLASS_WEIGHT, None):
        _two_steps(training_step, batches, weight)
    return "It moves the weights as it should, twice in a row, with class weights and without."


def _two_steps(training_step, batches, weight):
    model = Spy()
    twin = copy.deepcopy(model)
    optimiser, twins = _optimiser(model), _optimiser(twin)
    for number, (x, y) in enumerate(batches, start=1):
        start = copy.deepcopy(twin)
        expected = reference_training_step(twin, x, y, twins, weight)
        out = call(training_step, model, x, y, optimiser, weight)
        _look_at_the_mode(model)
        _look_at_the_update(model, start, twin, x, y, weight, number)
        _look_at_the_loss(out, expected, start, twin, x, y, weight)


def _optimiser(model):
    return torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)


def _look_at_the_mode(model):
    if not model.modes:
        raise Mistake("The model was never asked: `model(x)` was not called.")
    if not all(model.modes) or not model.training:
        raise Mistake(
            "The model came to you in training mode, and your step switched it to `eval()`. Dropout and batch norm then behave as in "
            "an examination, while it should be learning."
        )


def _look_at_the_update(model, start, twin, x, y, weight, number):
    moved, expected = _change(start, model), _change(start, twin)
    if _same_step(moved, expected):
        return
    gradient = model.linear.weight.grad
    loss_before, loss_after = (_loss(m, x, y, weight).item() for m in (start, model))
    if number == 1 and not moved.abs().max() > 0:
        if gradient is None or not gradient.abs().max() > 0:
            raise Mistake(
                "No weight has moved, and the weights hold no gradient. Either none was computed, or it was wiped out before the "
                "optimiser could use it."
            )
        raise Mistake(
            "No weight has moved, though each now holds a gradient. When the optimiser made its step (if it made one), the "
            "gradient was not there yet."
        )
    told = f"In step {number} the loss of the batch went from {loss_before:.4f} to {loss_after:.4f}; with a right step it goes to {_loss(twin, x, y, weight).item():.4f}. "
    for wrong, meaning in _update_slips(start, twin, x, y, weight, number):
        if _same_step(moved, wrong):
            raise Mistake(told + meaning)
    farther = ((moved * expected).sum() / expected.square().sum()).item()
    if number == 1 and farther > 0 and _same_step(moved, farther * expected):
        raise Mistake(
            told
            + f"The direction is right, and the weights moved {farther:.2f} times as far as the optimiser takes them along the "
            "gradient of the mean loss."
        )
    if number == 2:
        raise Mistake(
            told + "The first step was right and the second is not. What did you take along from one step to the next?"
        )
    raise Mistake(told + "The weights moved, but not against the gradient of the weighted loss.")


def _update_slips(start, twin, x, y, weight, number):
    """Changes of the weights that come out of likely slips, each with what it stands for."""
    logits = start(x)

    def change(loss):
        gradients = torch.autograd.grad(loss, list(start.parameters()), retain_graph=True)
        return -LEARNING_RATE * torch.cat([gradient.flatten() for gradient in gradients])

    if number > 1:
        alone, expected = change(_loss(start, x, y, weight)), _change(start, twin)
        return [
            (
                expected + (expected - alone) / MOMENTUM,
                "The first step was right and the second is not, since the gradient of the first was still there. Gradients are "
                "*added* to those that a weight holds already.",
            ),
            (
                alone,
                "That is a step along this gradient alone. The optimiser keeps something of its last step (a momentum), so let the "
                "optimiser itself make the step.",
            ),
        ]

    softmax = "That comes out when softmax runs before `F.cross_entropy`, which does it itself. It wants logits; done twice, the slope fades."
    slips = [
        (-change(_loss(start, x, y, weight)), "You walked up the hill. Training goes down."),
        (change(F.cross_entropy(logits.softmax(1), y, weight=weight)), softmax),
        (change(F.cross_entropy(logits.softmax(1), y)), softmax),
        (
            change(F.cross_entropy(logits, y, weight=weight, reduction="sum")),
            "You summed the losses of the batch. The mean keeps a step as long in a large batch as in a small one.",
        ),
        (change(F.cross_entropy(logits, 1 - y, weight=weight)), "That is a step towards the wrong labels."),
        (
            change(F.cross_entropy(logits, logits.argmax(1), weight=weight)),
            "That is a step towards the model's own answers; the labels were not used.",
        ),
    ]
    if weight is not None:
        slips.append(
            (
                change(F.cross_entropy(logits, y)),
                f"That is a step without the class weights. Here a sick patient counts {CLASS_WEIGHT[1]:g}, a healthy one {CLASS_WEIGHT[0]:g}.",
            )
        )
    return slips


def _change(start, model):
    """What has changed in the weights and the biases, as one row."""
    return torch.cat([(b - a).detach().flatten() for a, b in zip(start.parameters(), model.parameters(), strict=True)])


def _same_step(moved, other):
    return torch.allclose(moved, other, rtol=SAME, atol=SAME * LEARNING_RATE)


def _look_at_the_loss(out, expected, start, twin, x, y, weight):
    if isinstance(out, torch.Tensor) and out.requires_grad:
        raise Mistake(
            "The loss that you return still holds on to everything it was computed from. Kept in a list, step after step, that fills "
            "the memory. Return it as a plain number."
        )
    came = expect_number(out, "the loss")
    if abs(came - expected) <= SAME:
        return
    told = f"The loss of this batch, before the update, is {expected:.4f}; you returned {came:.4f}. "
    for wrong, meaning in (
        (_loss(twin, x, y, weight).item(), "That is the loss after the update."),
        (_loss(start, x, y, None).item(), "That is the loss without the class weights."),
    ):
        if abs(came - wrong) <= SAME:
            raise Mistake(told + meaning)
    raise Mistake(told + "The weights moved as they should; look at what you return.")


def _loss(model, x, y, weight):
    return F.cross_entropy(model(x), y, weight=weight)


# ---- the threshold ------------------------------------------------------------------------------------------------

# Eight sick and twelve healthy patients in no order. Eight: every share of the sick is exact in binary.
SICK_PROBABILITIES = [0.93, 0.31, 0.78, 0.66, 0.52, 0.88, 0.47, 0.12]
HEALTHY_PROBABILITIES = [0.05, 0.61, 0.22, 0.35, 0.08, 0.49, 0.72, 0.15, 0.28, 0.41, 0.33, 0.10]
WANTED = (0.75, 0.9, 0.5, 0.6, 1.0)
CRUMB = 0.55  # 0.55 * 100 is 55.00000000000001 in a computer, and rounded up 56


def reference_choose_threshold(probability, y, wanted):
    sick = probability[y == 1].sort(descending=True).values
    needed = math.ceil(round(wanted * len(sick), 9))
    return sick[needed - 1].item()


@exercise(
    "choose_threshold",
    lesson="02",
    title="The highest threshold that finds enough of the sick",
    reference=reference_choose_threshold,
    hints=(
        (
            "Only the sick decide. Line their probabilities up from the highest to the lowest, and walk down the line until enough of "
            "them are behind you. Where you stop is the threshold: whoever *reaches* it is called sick."
        ),
        (
            "`probability[y == 1].sort(descending=True).values` is the line. How many must be found? The wanted share times their "
            "number, rounded *up* (`math.ceil`): 0.9 of 8 is 7.2, and 7 would not be enough. (A product may come out a crumb above "
            "a whole number; `round(..., 9)` takes it away.)"
        ),
        (
            "With `sick` the sorted line and `needed` how many must be found, the last one found stands at position `needed - 1`, "
            "because counting begins at 0. Return that probability as a plain number with `.item()`."
        ),
    ),
)
def check_choose_threshold(choose_threshold):
    order = torch.randperm(20, generator=torch.Generator().manual_seed(5))
    probability = torch.tensor(SICK_PROBABILITIES + HEALTHY_PROBABILITIES)[order]
    y = torch.tensor([1] * len(SICK_PROBABILITIES) + [0] * len(HEALTHY_PROBABILITIES))[order]
    for wanted in WANTED:
        _judge_threshold(call(choose_threshold, probability, y, wanted), probability, y, wanted)
    tied, sick = torch.tensor([0.9, 0.6, 0.6, 0.6, 0.2, 0.6, 0.3, 0.1]), torch.tensor([1, 1, 1, 0, 1, 0, 0, 0])
    _judge_threshold(call(choose_threshold, tied, sick, 0.5), tied, sick, 0.5)
    crowd, sick = (
        torch.linspace(0.995, 0.005, 199),
        torch.tensor([1, 0] * 99 + [1]),
    )  # a healthy one between any two sick
    _judge_threshold(call(choose_threshold, crowd, sick, CRUMB), crowd, sick, CRUMB)
    return "It finds as many of the sick as was wanted, and no threshold does so with fewer false alarms."


def _judge_threshold(out, probability, y, wanted):
    threshold = expect_number(out, "the threshold")
    sick, healthy = probability[y == 1].double(), probability[y == 0].double()
    found, alarms = int((sick >= threshold).sum()), int((healthy >= threshold).sum())
    best = reference_choose_threshold(probability, y, wanted)
    needed, fewest = math.ceil(round(wanted * len(sick), 9)), int((healthy >= best).sum())
    if found >= needed and alarms == fewest:
        return
    told = (
        f"{len(sick)} patients are sick and {len(healthy)} healthy; a sensitivity of {wanted:g} was wanted. At your threshold "
        f"{threshold:.3f}, {found} of {len(sick)} sick are found ({found / len(sick):.3f}), and {alarms} of {len(healthy)} healthy are "
        "called sick. "
    )
    for wrong, meaning in _threshold_slips(probability, y, wanted):
        if abs(threshold - wrong) <= SAME:
            raise Mistake(told + meaning)
    if found < needed:
        raise Mistake(told + f"That is too few of the sick: at least {needed} must be found.")
    raise Mistake(
        told
        + f"That is enough of the sick, at the cost of needless alarms: another threshold finds enough with {fewest}."
    )


def _threshold_slips(probability, y, wanted):
    """Thresholds that come out of likely slips, each with what it stands for."""
    sick, healthy = probability[y == 1], probability[y == 0]
    blended = torch.quantile(sick, 1 - wanted).item()
    asked = wanted * len(sick)
    slips = [
        (0.5, "0.5 is the usual threshold. Yours should follow from what was wanted."),
        (
            torch.quantile(sick, wanted).item(),
            "Above it lies the share that may be *missed*. You counted from the wrong end of the line.",
        ),
        (
            torch.quantile(probability, 1 - wanted).item(),
            "You looked at all patients. Sensitivity is a share of the sick alone.",
        ),
        (
            torch.quantile(healthy, wanted).item(),
            "That comes out of the healthy ones. Sensitivity is a share of the sick.",
        ),
    ]
    if math.ceil(asked) != math.ceil(round(asked, 9)):
        slips.append(
            (
                sick.sort(descending=True).values[math.ceil(asked) - 1].item(),
                f"One too many: `{wanted:g} * {len(sick)}` is {asked!r} in a computer, and that is rounded up to {math.ceil(asked)}. Take "
                "the crumb away before you round up.",
            )
        )
    if all(abs(blended - value) > SAME for value in sick.tolist()):
        slips.append(
            (
                blended,
                "A quantile may fall *between* two patients, and nobody stands there. It must be a step at which a patient is found.",
            )
        )
    return slips


# ---- small helpers ------------------------------------------------------------------------------------------------


def _furthest(out, expected):
    """The place at which two tensors differ most."""
    return torch.unravel_index((out - expected).abs().argmax(), out.shape)
