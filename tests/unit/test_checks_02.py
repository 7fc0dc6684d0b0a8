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

    def filled_in(x, mean, std):
        out = torch.empty_like(x)
        for k in range(3):
            out[:, k] = (x[:, k] - mean[k]) / std[k]
        return out

    def as_batch_norm(x, mean, std):
        return F.batch_norm(x, mean, std**2, eps=0)

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

    def cut_at_three(x, mean, std):
        return normalise(x, mean, std).clamp(-3, 3)

    def cut_below(x, mean, std):
        return normalise(x, mean, std).relu()

    def of_imagenet(x, mean, std):
        return normalise(x, torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225]))

    def of_bytes(x, mean, std):
        return normalise(255 * x, mean, std)

    def colours_swapped(x, mean, std):
        return normalise(x, mean.flip(0), std.flip(0))

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
            "cut": (cut, "You cut it at 0 and 1."),
            "cut at three": (cut_at_three, "You cut it at -3."),
            "cut below": (cut_below, "You cut it at 0."),
            "of ImageNet": (of_imagenet, "becomes -4.633; yours is -1.958"),
            "of bytes": (of_bytes, "yours is 1896.001"),
            "colours swapped": (colours_swapped, "becomes -0.538; yours is -4.690"),
            "in place": (in_place, "changed its input `x` in place"),
            "cut off": (cut_off, "no gradient finds its way back"),
        },
        alternatives=[channels_last, colour_by_colour, filled_in, as_batch_norm],
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

    def with_dropout(model, classes):
        model.requires_grad_(False)
        model.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(model.classifier.in_features, classes))
        return model.classifier.parameters()

    def after_a_look(model, classes):
        model.eval()
        with torch.no_grad():
            model(torch.rand(2, 3, 32, 32))
        return linear_probe(model, classes)

    def with_a_head_of(*layers):
        def with_a_head(model, classes):
            linear_probe(model, classes)
            model.classifier = nn.Sequential(model.classifier, *layers)
            return list(model.classifier.parameters())

        return with_a_head

    def with_a_hidden_layer(model, classes):
        model.requires_grad_(False)
        model.classifier = nn.Sequential(nn.Linear(model.classifier.in_features, 64), nn.ReLU(), nn.Linear(64, classes))
        return list(model.classifier.parameters())

    def looks_while_training(model, classes):
        model(torch.rand(2, 3, 32, 32))
        return linear_probe(model, classes)

    def everything_twice(model, classes):
        return 2 * linear_probe(model, classes)

    def bias_twice(model, classes):
        return [*linear_probe(model, classes), model.classifier.bias]

    def layers_alone(model, classes):
        model.layers.requires_grad_(False)
        model.classifier = nn.Linear(model.classifier.in_features, classes)
        return list(model.classifier.parameters())

    def convolutions_alone(model, classes):
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.requires_grad_(False)
        model.classifier = nn.Linear(model.classifier.in_features, classes)
        return list(model.classifier.parameters())

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
            "nothing frozen": (nothing_frozen, "`layers.0.weight` for one. Their gradients"),
            "convolutions alone": (convolutions_alone, "8 of the 12 tensors of the body are not frozen"),
            "layers alone": (layers_alone, "has no attribute 'layers'"),
            "softmax": (with_a_head_of(nn.Softmax(1)), "so they are probabilities"),
            "ReLU": (with_a_head_of(nn.ReLU()), "None is below 0"),
            "log-softmax": (with_a_head_of(nn.LogSoftmax(1)), "to 0.00. And it isn't linear"),
            "tanh": (with_a_head_of(nn.Tanh()), "from -1.00 to 1.00. And it isn't linear"),
            "with a hidden layer": (with_a_hidden_layer, "to 49.22. And it isn't linear"),
            "looks while training": (looks_while_training, "Did you run images through it?"),
            "everything twice": (everything_twice, "the tensor of shape (2, 16) more than once"),
            "bias twice": (bias_twice, "the tensor of shape (2,) more than once"),
            "switch on the module": (switch_on_the_module, "`requires_grad` on a module"),
            "old head": (old_head, "still the old one"),
            "everything returned": (everything_returned, "numbers of the frozen body"),
            "without bias": (without_bias, "leaves out a part"),
            "of the old head": (of_the_old_head, "belong to the old last layer"),
            "one width only": (one_width_only, "takes 1,280 numbers"),
            "two classes only": (two_classes_only, "logits of shape (2, 3)"),
            "with names": (with_names, "takes the tensors alone"),
            "the model": (the_model, "an object of type SmallCNN came"),
            "body anew": (body_anew, "in its earlier life"),
        },
        alternatives=[freeze_then_filter, head_first, with_dropout, after_a_look],
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

    def with_a_closure(model, x, y, optimiser, weight):
        def again():
            optimiser.zero_grad()
            loss = F.cross_entropy(model(x), y, weight=weight)
            loss.backward()
            return loss

        return optimiser.step(again).item()

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

    def clipped(model, x, y, optimiser, weight):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y, weight=weight)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        return loss.item()

    def two_steps(model, x, y, optimiser, weight):
        loss = training_step(model, x, y, optimiser, weight)
        optimiser.step()
        return loss

    def not_divided_by_the_weights(model, x, y, optimiser, weight):
        optimiser.zero_grad()
        losses = F.cross_entropy(model(x), y, reduction="none")
        loss = (losses if weight is None else weight[y] * losses).mean()
        loss.backward()
        optimiser.step()
        return loss.item()

    def by_its_own_hand(model, x, y, optimiser, weight):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y, weight=weight)
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= optimiser.param_groups[0]["lr"] * parameter.grad
        return loss.item()

    def smoothed(model, x, y, optimiser, weight):
        optimiser.zero_grad()
        loss = F.cross_entropy(model(x), y, weight=weight, label_smoothing=0.1)
        loss.backward()
        optimiser.step()
        return loss.item()

    def sum_of_the_loss(model, x, y, optimiser, weight):
        return len(x) * training_step(model, x, y, optimiser, weight)

    assert_check_is_sound(
        "training_step",
        solution=training_step,
        mistakes={
            "never forgets": (never_forgets, "the gradient of the first was still there"),
            "clipped": (clipped, "the weights moved 0.20 times as far"),
            "two steps": (two_steps, "the weights moved 2.90 times as far"),
            "not divided by the weights": (not_divided_by_the_weights, "the weights moved 1.40 times as far"),
            "by its own hand": (by_its_own_hand, "let the optimiser itself make the step"),
            "smoothed": (smoothed, "not against the gradient of the weighted loss"),
            "sum of the loss": (sum_of_the_loss, "look at what you return"),
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
        alternatives=[wiped_at_the_end, by_hand, with_a_closure],
    )


# ---- the threshold ------------------------------------------------------------------------------------------------


def choose_threshold(probability, y, wanted):
    sick = probability[y == 1].sort(descending=True).values
    needed = math.ceil(round(wanted * len(sick), 9))
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

    def in_plain_python(probability, y, wanted):
        sick = sorted((p for p, truth in zip(probability.tolist(), y.tolist(), strict=True) if truth), reverse=True)
        return next(p for found, p in enumerate(sick, 1) if found / len(sick) >= wanted)

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

    def to_the_nearest(probability, y, wanted):
        sick = probability[y == 1].sort(descending=True).values
        return sick[round(wanted * len(sick)) - 1]

    def with_a_crumb(probability, y, wanted):
        sick = probability[y == 1].sort(descending=True).values
        return sick[math.ceil(wanted * len(sick)) - 1]

    def lower_quantile(probability, y, wanted):
        return torch.quantile(probability[y == 1], 1 - wanted, interpolation="lower")

    def complement(probability, y, wanted):
        return 1 - wanted

    def just_above(probability, y, wanted):
        return choose_threshold(probability, y, wanted) + 1e-3

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
            "rounded down": (rounded_down, "0.9 was wanted. At your threshold 0.310, 7 of 8"),
            "to the nearest": (to_the_nearest, "0.9 was wanted. At your threshold 0.310, 7 of 8"),
            "everybody": (everybody, "At your threshold 0.120, 8 of 8"),
            "one too far": (one_too_far, "0.75 was wanted. At your threshold 0.310, 7 of 8"),
            "lower quantile": (lower_quantile, "0.75 was wanted. At your threshold 0.310, 7 of 8"),
            "complement": (complement, "At your threshold 0.250, 7 of 8"),
            "just above": (just_above, "That is too few of the sick: at least 6"),
            "with a crumb": (with_a_crumb, "is 55.00000000000001 in a computer"),
            "a tensor of two": (a_tensor_of_two, "should be one number"),
        },
        alternatives=[by_trying, by_kth_value, in_plain_python],
    )
