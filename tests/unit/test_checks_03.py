"""The checks of lesson 03's exercises accept what is right and name what is wrong."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from checks import assert_check_is_sound

from medattack_edu import evaluate
from medattack_edu.attacks import fgs as library_fgs
from medattack_edu.attacks import random_noise

# ---- the input gradient -------------------------------------------------------------------------------------------


def input_gradient(model, x, y):
    x = x.clone().requires_grad_()
    loss = F.cross_entropy(model(x), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    return gradient


def gradient_of(score, model, x):
    """The gradient at the images of a score of the logits."""
    x = x.clone().requires_grad_()
    return torch.autograd.grad(score(model(x)), x)[0]


def test_check_input_gradient_knows_right_from_wrong():
    def with_backward(model, x, y):
        watched = x.detach().clone()
        watched.requires_grad = True
        F.cross_entropy(model(watched), y, reduction="sum").backward()
        return watched.grad

    def image_by_image(model, x, y):
        rows = []
        for image, label in zip(x, y, strict=True):
            image = image[None].clone().requires_grad_()
            F.cross_entropy(model(image), label[None]).backward()
            rows.append(image.grad[0])
        return torch.stack(rows)

    def by_log_softmax(model, x, y):
        return gradient_of(lambda logits: -logits.log_softmax(1).gather(1, y[:, None]).sum(), model, x)

    def switched_off_again(model, x, y):
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)
        x.requires_grad_(False)
        return gradient

    def with_torch_func(model, x, y):
        return torch.func.grad(lambda images: F.cross_entropy(model(images), y, reduction="sum"))(x)

    def mean_over_the_batch(model, x, y):
        return gradient_of(lambda logits: F.cross_entropy(logits, y), model, x)

    def downhill(model, x, y):
        return -input_gradient(model, x, y)

    def sign_already(model, x, y):
        return input_gradient(model, x, y).sign()

    def sizes_only(model, x, y):
        return input_gradient(model, x, y).abs()

    def softmax_first(model, x, y):
        return gradient_of(lambda logits: F.cross_entropy(logits.softmax(1), y, reduction="sum"), model, x)

    def answers_for_labels(model, x, y):
        return gradient_of(lambda logits: F.cross_entropy(logits, logits.argmax(1), reduction="sum"), model, x)

    def logit_of_the_truth(model, x, y):
        return gradient_of(lambda logits: logits.gather(1, y[:, None]).sum(), model, x)

    def probability_of_the_truth(model, x, y):
        return gradient_of(lambda logits: logits.softmax(1).gather(1, y[:, None]).sum(), model, x)

    def the_callers_images(model, x, y):
        x.requires_grad_()
        F.cross_entropy(model(x), y, reduction="sum").backward()
        return x.grad

    def left_behind(model, x, y):
        x.requires_grad_()
        F.cross_entropy(model(x), y, reduction="sum").backward()
        gradient = x.grad
        x.requires_grad_(False)
        return gradient

    def with_its_graph(model, x, y):
        x = x.clone().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x, create_graph=True)[0]

    def times_eight(model, x, y):
        return 8 * mean_over_the_batch(model, x, y)

    def scaled(model, x, y):
        gradient = input_gradient(model, x, y)
        return gradient / gradient.abs().max()

    def margin(model, x, y):
        return gradient_of(lambda logits: (logits.sum(1) - 2 * logits.gather(1, y[:, None])[:, 0]).sum(), model, x)

    def the_loss(model, x, y):
        return F.cross_entropy(model(x), y, reduction="sum")

    def summed_colours(model, x, y):
        return input_gradient(model, x, y).sum(1)

    def never_watched(model, x, y):
        loss = F.cross_entropy(model(x), y)
        return torch.autograd.grad(loss, x)[0]

    def no_return(model, x, y):
        input_gradient(model, x, y)

    def trains_the_model(model, x, y):
        model.train()
        return input_gradient(model, x, y)

    def the_tuple(model, x, y):
        x = x.clone().requires_grad_()
        return torch.autograd.grad(F.cross_entropy(model(x), y, reduction="sum"), x)

    assert_check_is_sound(
        "input_gradient",
        solution=input_gradient,
        mistakes={
            "mean over the batch": (mean_over_the_batch, "8 times too little, and there are 8 images"),
            "downhill": (downhill, "the direction in which the loss falls"),
            "sign already": (sign_already, "Those are the signs alone"),
            "sizes only": (sizes_only, "the direction is lost"),
            "softmax first": (softmax_first, "softmax runs before"),
            "answers for labels": (answers_for_labels, "the model's own answers stand in"),
            "logit of the truth": (logit_of_the_truth, "the slope of a logit"),
            "probability of the truth": (probability_of_the_truth, "the true class's probability"),
            "the caller's images": (the_callers_images, "left its caller's `x` watched by PyTorch"),
            "left behind": (left_behind, "left its caller's `x` watched by PyTorch"),
            "with its graph": (with_its_graph, "still hang on the graph"),
            "times eight": (times_eight, "a slope of 0.30. Your gradient says 2.38"),
            "scaled": (scaled, "Your gradient says 1.00 there. Is it"),
            "margin": (margin, "Your gradient says 1.27 there. Is it"),
            "the loss": (the_loss, "is (); expected was (8, 3, 8, 8)"),
            "summed colours": (summed_colours, "(8, 8, 8); expected was (8, 3, 8, 8)"),
            "never watched": (never_watched, "RuntimeError"),
            "no return": (no_return, "Does it end with a `return`?"),
            "trains the model": (trains_the_model, "left it so"),
            "the tuple": (the_tuple, "a tuple of 1 came"),
        },
        alternatives=[with_backward, image_by_image, by_log_softmax, switched_off_again, with_torch_func],
    )


# ---- the step -----------------------------------------------------------------------------------------------------


def fgs(model, x, y, eps):
    gradient = input_gradient(model, x, y)
    return (x + eps * gradient.sign()).clamp(0, 1)


def test_check_fgs_knows_right_from_wrong():
    def with_backward_of_the_mean(model, x, y, eps):
        watched = x.clone().requires_grad_()
        F.cross_entropy(model(watched), y).backward()
        return torch.clamp(watched + eps * watched.grad.sign(), min=0, max=1).detach()

    def from_the_library(model, x, y, eps):
        return library_fgs(model, x, y, eps=eps)

    def with_where(model, x, y, eps):
        gradient = input_gradient(model, x, y)
        steps = torch.where(gradient > 0, eps, torch.where(gradient < 0, -eps, 0.0))
        return torch.minimum(torch.maximum(x + steps, torch.zeros_like(x)), torch.ones_like(x))

    def down_for_the_other_label(model, x, y, eps):
        return (x - eps * input_gradient(model, x, 1 - y).sign()).clamp(0, 1)

    def downhill(model, x, y, eps):
        return (x - eps * input_gradient(model, x, y).sign()).clamp(0, 1)

    def out_of_range(model, x, y, eps):
        return x + eps * input_gradient(model, x, y).sign()

    def raw_gradient(model, x, y, eps):
        return (x + eps * input_gradient(model, x, y)).clamp(0, 1)

    def scaled_gradient(model, x, y, eps):
        gradient = input_gradient(model, x, y)
        return (x + eps * gradient / gradient.abs().amax((1, 2, 3), keepdim=True)).clamp(0, 1)

    def divided_again(model, x, y, eps):
        return fgs(model, x, y, eps / 255)

    def twice_as_far(model, x, y, eps):
        return fgs(model, x, y, 2 * eps)

    def away_from_the_answer(model, x, y, eps):
        return fgs(model, x, model(x).argmax(1), eps)

    def one_for_all(model, x, y, eps):
        step = input_gradient(model, x, y).mean(0, keepdim=True).sign()
        return (x + eps * step).clamp(0, 1)

    def only_the_perturbation(model, x, y, eps):
        return eps * input_gradient(model, x, y).sign()

    def still_recording(model, x, y, eps):
        watched = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(watched), y), watched)
        return (watched + eps * gradient.sign()).clamp(0, 1)

    def as_in_tutorials(model, x, y, eps):
        x.requires_grad = True
        F.cross_entropy(model(x), y).backward()
        return (x + eps * x.grad.sign()).clamp(0, 1).detach()

    def clamped_to_its_own_range(model, x, y, eps):
        return (x + eps * input_gradient(model, x, y).sign()).clamp(x.min(), x.max())

    def clamped_to_its_own_black(model, x, y, eps):
        return (x + eps * input_gradient(model, x, y).sign()).clamp(x.min().item(), 1)

    def in_two_steps(model, x, y, eps):
        return fgs(model, fgs(model, x, y, eps / 2), y, eps / 2)

    def rounded_to_bytes(model, x, y, eps):
        return (255 * fgs(model, x, y, eps)).round() / 255

    def only_where_there_is_room(model, x, y, eps):
        return torch.where((x >= eps) & (x <= 1 - eps), fgs(model, x, y, eps), x)

    def in_place(model, x, y, eps):
        step = eps * input_gradient(model, x, y).sign()
        x += step
        return x.clamp(0, 1)

    def one_sign_for_three_colours(model, x, y, eps):
        step = input_gradient(model, x, y).sum(1, keepdim=True).sign().expand_as(x)
        return (x + eps * step).clamp(0, 1)

    def eps_of_its_own(model, x, y, eps):
        return fgs(model, x, y, 0.1)

    def clamped_to_bytes(model, x, y, eps):
        return (x + eps * input_gradient(model, x, y).sign()).clamp(0, 255)

    assert_check_is_sound(
        "fgs",
        solution=fgs,
        mistakes={
            "downhill": (downhill, "easier for the model: its loss fell"),
            "out of range": (out_of_range, "run from -0.100 to 1.100. Those of an image stay between 0 and 1"),
            "clamped to bytes": (clamped_to_bytes, "run from 0.000 to 1.100. Those of an image stay between 0 and 1"),
            "as in tutorials": (as_in_tutorials, "left its caller's `x` watched by PyTorch"),
            "clamped to its own range": (clamped_to_its_own_range, "came out within just these bounds"),
            "clamped to its own black": (clamped_to_its_own_black, "of 192 pixel values kept some of their budget"),
            "in two steps": (in_two_steps, "rose from 0.69 to 5.2"),
            "rounded to bytes": (rounded_to_bytes, "on average they moved by 0.1000"),
            "only where there is room": (only_where_there_is_room, "rose from 0.69 to 4.5"),
            "raw gradient": (raw_gradient, "on average they moved by 0.0133"),
            "scaled gradient": (scaled_gradient, "on average they moved by 0.0267"),
            "divided again": (divided_again, "divided by 255"),
            "twice as far": (twice_as_far, "moved by 0.200; the budget is 0.1 for each"),
            "away from the answer": (away_from_the_answer, "The model had it wrong from the start"),
            "one for all": (one_for_all, "changed in the same way"),
            "only the perturbation": (only_the_perturbation, "that is the step alone"),
            "still recording": (still_recording, "still carry the recording"),
            "in place": (in_place, "in place"),
            "one sign for three colours": (one_sign_for_three_colours, "rose from 0.69 to 2.9"),
            "eps of its own": (eps_of_its_own, "the budget is 0.02 for each"),
        },
        alternatives=[with_backward_of_the_mean, from_the_library, with_where, down_for_the_other_label],
    )


# ---- the control --------------------------------------------------------------------------------------------------


def noise(x, eps, generator):
    coins = torch.randint(0, 2, x.shape, generator=generator)
    signs = (2 * coins - 1).to(x)
    return (x + eps * signs).clamp(0, 1)


def test_check_noise_knows_right_from_wrong():
    def from_the_library(x, eps, generator):
        return random_noise(x, eps=eps, generator=generator)

    def sign_of_normal(x, eps, generator):
        return torch.clamp(x + eps * torch.randn(x.shape, generator=generator).sign(), 0, 1)

    def where_of_uniform(x, eps, generator):
        up = torch.rand(x.shape, generator=generator) < 0.5
        return torch.where(up, x + eps, x - eps).clip(0, 1)

    def with_bernoulli(x, eps, generator):
        signs = torch.full_like(x, 0.5).bernoulli(generator=generator) * 2 - 1
        return (x + eps * signs).clamp(0, 1)

    def image_by_image(x, eps, generator):
        return torch.stack([noise(image, eps, generator) for image in x])

    def with_numpy(x, eps, generator):
        draw = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        return (x + eps * torch.from_numpy(draw.choice([-1.0, 1.0], x.shape)).to(x)).clamp(0, 1)

    def uniform(x, eps, generator):
        return (x + eps * (2 * torch.rand(x.shape, generator=generator) - 1)).clamp(0, 1)

    def normal(x, eps, generator):
        return (x + eps * torch.randn(x.shape, generator=generator)).clamp(0, 1)

    def all_brighter(x, eps, generator):
        return (x + eps * torch.rand(x.shape, generator=generator).sign()).clamp(0, 1)

    def two_thirds_brighter(x, eps, generator):
        signs = (torch.rand(x.shape, generator=generator) < 2 / 3) * 2 - 1
        return (x + eps * signs).clamp(0, 1)

    def sometimes_zero(x, eps, generator):
        return (x + eps * torch.randint(-1, 2, x.shape, generator=generator)).clamp(0, 1)

    def up_or_not(x, eps, generator):
        return (x + eps * torch.randint(0, 2, x.shape, generator=generator)).clamp(0, 1)

    def same_for_all_images(x, eps, generator):
        signs = 2 * torch.randint(0, 2, x.shape[1:], generator=generator) - 1
        return (x + eps * signs).clamp(0, 1)

    def grey(x, eps, generator):
        signs = 2 * torch.randint(0, 2, (len(x), 1, *x.shape[2:]), generator=generator) - 1
        return (x + eps * signs).clamp(0, 1)

    def one_coin_an_image(x, eps, generator):
        signs = 2 * torch.randint(0, 2, (len(x), 3, 1, 1), generator=generator) - 1
        return (x + eps * signs).clamp(0, 1)

    def horizontal_stripes(x, eps, generator):
        signs = 2 * torch.randint(0, 2, (*x.shape[:3], 1), generator=generator) - 1
        return (x + eps * signs).clamp(0, 1)

    def vertical_stripes(x, eps, generator):
        signs = 2 * torch.randint(0, 2, (*x.shape[:2], 1, x.shape[3]), generator=generator) - 1
        return (x + eps * signs).clamp(0, 1)

    def tiles(x, eps, generator):
        signs = 2 * torch.randint(0, 2, (*x.shape[:2], 8, 8), generator=generator) - 1
        return (x + eps * signs.repeat(1, 1, x.shape[2] // 8, x.shape[3] // 8)).clamp(0, 1)

    def blocks(x, eps, generator):
        signs = 2 * torch.randint(0, 2, (*x.shape[:2], x.shape[2] // 2, x.shape[3] // 2), generator=generator) - 1
        return (x + eps * signs.repeat_interleave(2, 2).repeat_interleave(2, 3)).clamp(0, 1)

    def chessboard(x, eps, generator):
        rows, columns = torch.arange(x.shape[2])[:, None], torch.arange(x.shape[3])
        coins = torch.randint(0, 2, (*x.shape[:2], 1, 1), generator=generator)
        return (x + eps * (2 * ((rows + columns + coins) % 2) - 1)).clamp(0, 1)

    def slightly_brighter(x, eps, generator):
        signs = (torch.rand(x.shape, generator=generator) < 0.55) * 2 - 1
        return (x + eps * signs).clamp(0, 1)

    def clamped_to_its_own_range(x, eps, generator):
        return (x + eps * (2 * torch.randint(0, 2, x.shape, generator=generator) - 1)).clamp(x.min(), x.max())

    def eps_of_its_own(x, eps, generator):
        return noise(x, 0.1, generator)

    def seeds_for_nothing(x, eps, generator):
        torch.manual_seed(0)
        return noise(x, eps, generator)

    def no_generator(x, eps, generator):
        return noise(x, eps, None)

    def seeds_anew(x, eps, generator):
        torch.manual_seed(0)
        return noise(x, eps, None)

    def generator_of_its_own(x, eps, generator):
        return noise(x, eps, torch.Generator().manual_seed(0))

    def out_of_range(x, eps, generator):
        return x + eps * (2 * torch.randint(0, 2, x.shape, generator=generator) - 1)

    def only_the_noise(x, eps, generator):
        return eps * (2.0 * torch.randint(0, 2, x.shape, generator=generator) - 1)

    def in_place(x, eps, generator):
        x += eps * (2 * torch.randint(0, 2, x.shape, generator=generator) - 1)
        return x.clamp_(0, 1)

    assert_check_is_sound(
        "noise",
        solution=noise,
        mistakes={
            "uniform": (uniform, "19563 of 19564 pixel values with room"),
            "horizontal stripes": (horizontal_stripes, "Neighbouring columns got the same coins"),
            "vertical stripes": (vertical_stripes, "Neighbouring rows got the same coins (100 %"),
            "tiles": (tiles, "Rows at a distance of 16 got the same coins"),
            "blocks": (blocks, "Neighbouring rows got the same coins (7"),
            "chessboard": (chessboard, "Neighbouring rows got opposite coins"),
            "slightly brighter": (slightly_brighter, "55 % of the pixel values went up"),
            "clamped to its own range": (clamped_to_its_own_range, "came out within just these bounds"),
            "eps of its own": (eps_of_its_own, "At eps = 0 nothing may move"),
            "seeds for nothing": (seeds_for_nothing, "Leave it alone: draw from `generator`"),
            "normal": (normal, "the budget is 0.1 for each"),
            "all brighter": (all_brighter, "100 % of the pixel values went up"),
            "two thirds brighter": (two_thirds_brighter, "67 % of the pixel values went up"),
            "sometimes zero": (sometimes_zero, "6695 of 19564 pixel values with room"),
            "up or not": (up_or_not, "9823 of 19564 pixel values with room"),
            "same for all images": (same_for_all_images, "Neighbouring images got the same coins"),
            "grey": (grey, "Neighbouring colours got the same coins"),
            "one coin an image": (one_coin_an_image, "Neighbouring rows got the same coins (100 %"),
            "no generator": (no_generator, "generators of the same seed gave different noise"),
            "seeds anew": (seeds_anew, "Every call gives the same noise"),
            "generator of its own": (generator_of_its_own, "Every call gives the same noise"),
            "out of range": (out_of_range, "stay between 0 and 1"),
            "only the noise": (only_the_noise, "that is the step alone"),
            "in place": (in_place, "in place"),
        },
        alternatives=[from_the_library, sign_of_normal, where_of_uniform, with_bernoulli, image_by_image, with_numpy],
    )


# ---- accuracy against eps -----------------------------------------------------------------------------------------


def accuracy_curve(model, x, y, attack, sizes):
    accuracies = []
    for eps in sizes:
        x_attacked = attack(x, eps)
        accuracies.append(evaluate(model, x_attacked, y).accuracy)
    return accuracies


def test_check_accuracy_curve_knows_right_from_wrong():
    def in_one_line(model, x, y, attack, sizes):
        return tuple(evaluate(model, attack(x, size), y).accuracy for size in sizes)

    def in_two_rounds(model, x, y, attack, sizes):
        batches = {size: attack(x.clone(), size) for size in sorted(sizes)}
        scores = {size: evaluate(model, images, y) for size, images in batches.items()}
        return [scores[size].accuracy for size in sizes]

    def taking_from_a_list(model, x, y, attack, sizes):
        left, accuracies = sizes.copy(), []
        while left:
            accuracies.append(evaluate(model, attack(x, left.pop(0)), y).accuracy)
        return accuracies

    def over_a_tensor(model, x, y, attack, sizes):
        return [evaluate(model, attack(x, size), y).accuracy for size in torch.tensor(sizes)]

    def on_and_on(model, x, y, attack, sizes):
        accuracies = []
        for eps in sizes:
            x = attack(x, eps)
            accuracies.append(evaluate(model, x, y).accuracy)
        return accuracies

    def clean_images(model, x, y, attack, sizes):
        for eps in sizes:
            attack(x, eps)
        return [evaluate(model, x, y).accuracy for _ in sizes]

    def never_attacked(model, x, y, attack, sizes):
        return [evaluate(model, x, y).accuracy for _ in sizes]

    def bare_numbers(model, x, y, attack, sizes):
        return [float(value) for value in accuracy_curve(model, x, y, attack, sizes)]

    def sorted_sizes(model, x, y, attack, sizes):
        return accuracy_curve(model, x, y, attack, sorted(sizes))

    def first_only(model, x, y, attack, sizes):
        for eps in sizes:
            return [evaluate(model, attack(x, eps), y).accuracy]

    def the_last_one(model, x, y, attack, sizes):
        accuracy = None
        for eps in sizes:
            accuracy = evaluate(model, attack(x, eps), y).accuracy
        return accuracy

    def divided_sizes(model, x, y, attack, sizes):
        return accuracy_curve(model, x, y, attack, [size / 255 for size in sizes])

    def whole_scores(model, x, y, attack, sizes):
        return [evaluate(model, attack(x, eps), y) for eps in sizes]

    def errors(model, x, y, attack, sizes):
        return [1 - value for value in accuracy_curve(model, x, y, attack, sizes)]

    def right_before_only(model, x, y, attack, sizes):
        right = model(x).argmax(1) == y
        return [evaluate(model, attack(x, eps)[right], y[right]).accuracy for eps in sizes]

    def success(model, x, y, attack, sizes):
        return [1 - value for value in right_before_only(model, x, y, attack, sizes)]

    def the_answers_before(model, x, y, attack, sizes):
        return [evaluate(model, attack(x, eps), model(x).argmax(1)).accuracy for eps in sizes]

    def of_the_last_attack(model, x, y, attack, sizes):
        for eps in sizes:
            x_attacked = attack(x, eps)
        return [evaluate(model, x_attacked, y).accuracy for _ in sizes]

    def of_the_sick(model, x, y, attack, sizes):
        return [evaluate(model, attack(x, eps), y).sensitivity for eps in sizes]

    def by_size(model, x, y, attack, sizes):
        return dict(zip(sizes, accuracy_curve(model, x, y, attack, sizes), strict=True))

    def pairs(model, x, y, attack, sizes):
        return list(by_size(model, x, y, attack, sizes).items())

    def auc_instead(model, x, y, attack, sizes):
        return [evaluate(model, attack(x, eps), y).auc for eps in sizes]

    assert_check_is_sound(
        "accuracy_curve",
        solution=accuracy_curve,
        mistakes={
            "on and on": (on_and_on, "Each size starts from the clean images"),
            "clean images": (clean_images, "That is the accuracy on the clean images"),
            "never attacked": (never_attacked, "`attack` was never called, so"),
            "bare numbers": (bare_numbers, "they came without their intervals"),
            "sorted sizes": (sorted_sizes, "in another order"),
            "first only": (first_only, "was never called with the size 0"),
            "the last one": (the_last_one, "for each of the 4 sizes was expected; the number 0.6667"),
            "divided sizes": (divided_sizes, "in pixel units, as they are"),
            "whole scores": (whole_scores, "should be one number; an object of type"),
            "errors": (errors, "the shares of wrong answers"),
            "right before only": (right_before_only, "You left out the images that were wrong before"),
            "success": (success, "Those are success rates of the attack"),
            "AUC instead": (auc_instead, "yours are 0.857, 0.857, 0.857, 0.857. Each is"),
            "the answers before": (the_answers_before, "yours are 0.583, 1, 0.5, 0.833. Each is"),
            "of the last attack": (of_the_last_attack, "yours are 0.667, 0.667, 0.667, 0.667. Each is"),
            "of the sick": (of_the_sick, "yours are 0.286, 0.857, 0.143, 0.571. Each is"),
            "by size": (by_size, "a dict of 4 came"),
            "pairs": (pairs, "a tuple of 2 came"),
        },
        alternatives=[in_one_line, in_two_rounds, taking_from_a_list, over_a_tensor],
    )


# ---- all four -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["input_gradient", "fgs", "noise", "accuracy_curve"])
def test_the_reference_passes_its_own_check(name):
    from medattack_edu.course.checks import all_exercises

    exercise = all_exercises()[name]
    torch.manual_seed(0)
    exercise.check(exercise.reference)
