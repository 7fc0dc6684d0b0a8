"""The checks of lesson 02's exercises accept what is right and name what is wrong."""

import math

import torch
import torch.nn.functional as F
from checks import assert_check_is_sound
from torch import nn

# ---- normalisation ------------------------------------------------------------------------------------------------


def normalise(x, mean, std):
    return (x - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)


def test_check_normalise_knows_right_from_wrong():
    def channels_last(x, mean, std):
        return ((x.permute(0, 2, 3, 1) - mean) / std).permute(0, 3, 1, 2)

    def colour_by_colour(x, mean, std):
        return torch.stack([(x[:, k] - mean[k]) / std[k] for k in range(3)], 1)

    def along_the_width(x, mean, std):
        return (x - mean) / std

    def no_brackets(x, mean, std):
        return x - mean.view(1, 3, 1, 1) / std.view(1, 3, 1, 1)

    def divided_first(x, mean, std):
        return x / std.view(1, 3, 1, 1) - mean.view(1, 3, 1, 1)

    def way_back(x, mean, std):
        return x * std.view(1, 3, 1, 1) + mean.view(1, 3, 1, 1)

    def mean_alone(x, mean, std):
        return x - mean.view(1, 3, 1, 1)

    def one_for_all(x, mean, std):
        return (x - mean.mean()) / std.mean()

    def of_the_batch(x, mean, std):
        return (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True)

    def cut(x, mean, std):
        return normalise(x, mean, std).clamp(0, 1)

    def in_place(x, mean, std):
        x -= mean.view(1, 3, 1, 1)
        x /= std.view(1, 3, 1, 1)
        return x

    def cut_off(x, mean, std):
        return normalise(x.detach(), mean, std)

    assert_check_is_sound(
        "normalise",
        solution=normalise,
        mistakes={
            "along the width": (along_the_width, "run along the *width*"),
            "no brackets": (no_brackets, "Only the mean was divided"),
            "divided first": (divided_first, "You divided first"),
            "way back": (way_back, "the way back"),
            "mean alone": (mean_alone, "the spread is as it was"),
            "one for all": (one_for_all, "the same mean and spread"),
            "of the batch": (of_the_batch, "of these images themselves"),
            "cut": (cut, "You cut it to 0 and 1"),
            "in place": (in_place, "changed its input `x` in place"),
            "cut off": (cut_off, "no gradient finds its way back"),
        },
        alternatives=[channels_last, colour_by_colour],
    )


# ---- the linear probe ---------------------------------------------------------------------------------------------


def linear_probe(model, classes):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.classifier = nn.Linear(model.classifier.in_features, classes)
    return list(model.classifier.parameters())


def test_check_linear_probe_knows_right_from_wrong():
    def freeze_then_filter(model, classes):
        model.requires_grad_(False)
        model.classifier = nn.Linear(model.classifier.weight.shape[1], classes)
        return (parameter for parameter in model.parameters() if parameter.requires_grad)

    def head_first(model, classes):
        model.classifier = nn.Linear(model.classifier.in_features, classes)
        for name, parameter in model.named_parameters():
            parameter.requires_grad = name.startswith("classifier.")
        return [model.classifier.weight, model.classifier.bias]

    def frozen_head(model, classes):
        model.classifier = nn.Linear(model.classifier.in_features, classes)
        model.requires_grad_(False)
        return list(model.classifier.parameters())

    def nothing_frozen(model, classes):
        model.classifier = nn.Linear(model.classifier.in_features, classes)
        return list(model.classifier.parameters())

    def switch_on_the_module(model, classes):
        model.requires_grad = False
        model.classifier = nn.Linear(model.classifier.in_features, classes)
        return list(model.classifier.parameters())

    def old_head(model, classes):
        model.requires_grad_(False)
        model.classifier.requires_grad_(True)
        return list(model.classifier.parameters())

    def everything_returned(model, classes):
        linear_probe(model, classes)
        return list(model.parameters())

    def without_bias(model, classes):
        linear_probe(model, classes)
        return [model.classifier.weight]

    def of_the_old_head(model, classes):
        chosen = list(model.classifier.parameters())
        linear_probe(model, classes)
        return chosen

    def one_width_only(model, classes):
        model.requires_grad_(False)
        model.classifier = nn.Linear(1280, classes)
        return list(model.classifier.parameters())

    def two_classes_only(model, classes):
        model.requires_grad_(False)
        model.classifier = nn.Linear(model.classifier.in_features, 2)
        return list(model.classifier.parameters())

    def with_names(model, classes):
        linear_probe(model, classes)
        return list(model.classifier.named_parameters())

    def the_model(model, classes):
        linear_probe(model, classes)
        return model

    def body_anew(model, classes):
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()
        return linear_probe(model, classes)

    assert_check_is_sound(
        "linear_probe",
        solution=linear_probe,
        mistakes={
            "frozen head": (frozen_head, "The new layer is frozen as well"),
            "nothing frozen": (nothing_frozen, "of the body are not frozen"),
            "switch on the module": (switch_on_the_module, "`requires_grad` on a module"),
            "old head": (old_head, "still the old one"),
            "everything returned": (everything_returned, "numbers of the frozen body"),
            "without bias": (without_bias, "leaves out a part"),
            "of the old head": (of_the_old_head, "belong to the old last layer"),
            "one width only": (one_width_only, "takes 1,280 numbers"),
            "two classes only": (two_classes_only, "logits of shape (2, 3)"),
            "with names": (with_names, "takes the tensors alone"),
            "the model": (the_model, "as a list of tensors"),
            "body anew": (body_anew, "in its earlier life"),
        },
        alternatives=[freeze_then_filter, head_first],
    )


# ---- the training step --------------------------------------------------------------------------------------------


def training_step(model, x, y, optimiser, weight):
    optimiser.zero_grad()
    loss = F.cross_entropy(model(x), y, weight=weight)
    loss.backward()
    optimiser.step()
    return loss.item()


def test_check_training_step_knows_right_from_wrong():
    def wiped_at_the_end(model, x, y, optimiser, weight):
        loss = nn.CrossEntropyLoss(weight=weight)(model(x), y)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=False)
        return loss.detach()

    def by_hand(model, x, y, optimiser, weight):
        weight = torch.ones(2) if weight is None else weight
        log_probability = model(x).log_softmax(1).gather(1, y[:, None])[:, 0]
        loss = -(weight[y] * log_probability).sum() / weight[y].sum()
        parameters = list(model.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient
        optimiser.step()
        return loss.item()

    def never_forgets(model, x, y, optimiser, weight):
        loss = F.cross_entropy(model(x), y, weight=weight)
        loss.backward()
        optimiser.step()
        return loss.item()

    def softmax_first(model, x, y, optimiser, weight):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x).softmax(1), y, weight=weight)
        loss.backward()
        optimiser.step()
        return loss.item()

    def step_before_backward(model, x, y, optimiser, weight):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y, weight=weight)
        optimiser.step()
        loss.backward()
        return loss.item()

    def wiped_before_use(model, x, y, optimiser, weight):
        loss = F.cross_entropy(model(x), y, weight=weight)
        loss.backward()
        optimiser.zero_grad()
        optimiser.step()
        return loss.item()

    def no_class_weights(model, x, y, optimiser, weight):
        return training_step(model, x, y, optimiser, None)

    def in_eval_mode(model, x, y, optimiser, weight):
        model.eval()
        return training_step(model, x, y, optimiser, weight)

    def holds_on(model, x, y, optimiser, weight):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y, weight=weight)
        loss.backward()
        optimiser.step()
        return loss

    def summed(model, x, y, optimiser, weight):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y, weight=weight, reduction="sum")
        loss.backward()
        optimiser.step()
        return loss.item()

    def up_the_hill(model, x, y, optimiser, weight):
        optimiser.zero_grad()
        loss = -F.cross_entropy(model(x), y, weight=weight)
        loss.backward()
        optimiser.step()
        return -loss.item()

    def loss_after(model, x, y, optimiser, weight):
        training_step(model, x, y, optimiser, weight)
        return F.cross_entropy(model(x), y, weight=weight).item()

    assert_check_is_sound(
        "training_step",
        solution=training_step,
        mistakes={
            "never forgets": (never_forgets, "something of the first was still there"),
            "softmax first": (softmax_first, "softmax runs before"),
            "step before backward": (step_before_backward, "the gradient was not there yet"),
            "wiped before use": (wiped_before_use, "the weights hold no gradient"),
            "no class weights": (no_class_weights, "a step without the class weights"),
            "in eval mode": (in_eval_mode, "switched it to `eval()`"),
            "holds on": (holds_on, "holds on to everything"),
            "summed": (summed, "You summed the losses"),
            "up the hill": (up_the_hill, "You walked up the hill"),
            "loss after": (loss_after, "the loss after the update"),
        },
        alternatives=[wiped_at_the_end, by_hand],
    )


# ---- the threshold ------------------------------------------------------------------------------------------------


def choose_threshold(probability, y, wanted):
    sick = probability[y == 1].sort(descending=True).values
    needed = math.ceil(wanted * len(sick))
    return sick[needed - 1].item()


def test_check_choose_threshold_knows_right_from_wrong():
    def by_trying(probability, y, wanted):
        for threshold in probability.unique().flip(0):
            if (probability[y == 1] >= threshold).double().mean() >= wanted:
                return threshold

    def by_kth_value(probability, y, wanted):
        sick = probability[y == 1]
        may_be_missed = math.floor((1 - wanted) * len(sick) + 1e-6)
        return float(sick.kthvalue(may_be_missed + 1).values) - 1e-6

    def always_half(probability, y, wanted):
        return 0.5

    def other_end(probability, y, wanted):
        return torch.quantile(probability[y == 1], wanted)

    def of_all(probability, y, wanted):
        return torch.quantile(probability, 1 - wanted)

    def of_the_healthy(probability, y, wanted):
        return torch.quantile(probability[y == 0], wanted)

    def blended(probability, y, wanted):
        return torch.quantile(probability[y == 1], 1 - wanted)

    def rounded_down(probability, y, wanted):
        sick = probability[y == 1].sort(descending=True).values
        return sick[math.floor(wanted * len(sick)) - 1]

    def everybody(probability, y, wanted):
        return probability[y == 1].min()

    def one_too_far(probability, y, wanted):
        sick = probability[y == 1].sort(descending=True).values
        return sick[min(math.ceil(wanted * len(sick)), len(sick) - 1)]

    def a_tensor_of_two(probability, y, wanted):
        return probability[:2]

    assert_check_is_sound(
        "choose_threshold",
        solution=choose_threshold,
        mistakes={
            "always half": (always_half, "the usual threshold"),
            "other end": (other_end, "the wrong end of the line"),
            "of all": (of_all, "You looked at all patients"),
            "of the healthy": (of_the_healthy, "comes out of the healthy ones"),
            "blended": (blended, "nobody stands there"),
            "rounded down": (rounded_down, "too few of the sick"),
            "everybody": (everybody, "at the cost of needless alarms"),
            "one too far": (one_too_far, "another threshold finds enough"),
            "a tensor of two": (a_tensor_of_two, "should be one number"),
        },
        alternatives=[by_trying, by_kth_value],
    )
