"""The check of lesson 00's exercise accepts what is right and names what is wrong."""

import numpy as np
import torch
from checks import assert_check_is_sound


def solution(logits, y):
    return (logits.argmax(1) == y).float().mean().item()


def test_check_accuracy_knows_right_from_wrong():
    def as_a_tensor(logits, y):
        return (logits.max(1).indices == y).double().mean()

    def from_probabilities(logits, y):
        called_sick = logits.softmax(1)[:, 1] > 0.5
        return int((called_sick == (y == 1)).sum()) / len(y)

    def in_a_loop(logits, y):
        right = 0
        for pair, truth in zip(logits.tolist(), y.tolist(), strict=True):
            right += pair.index(max(pair)) == truth
        return right / len(y)

    def in_numpy(logits, y):
        return np.mean(logits.numpy().argmax(1) == y.numpy())

    def count(logits, y):
        return (logits.argmax(1) == y).sum()

    def percent(logits, y):
        return 100 * (logits.argmax(1) == y).float().mean()

    def share_of_wrong_ones(logits, y):
        return (logits.argmax(1) != y).float().mean()

    def smaller_logit(logits, y):
        return (logits.argmin(1) == y).float().mean()

    def one_logit(logits, y):
        return ((logits[:, 1] > 0).long() == y).float().mean()

    def mean_of_truth_values(logits, y):
        return (logits.argmax(1) == y).mean()

    def down_the_images(logits, y):
        return (logits.argmax(0) == y).float().mean()

    def one_for_each_image(logits, y):
        return (logits.argmax(1) == y).float()

    def divided_by_eight(logits, y):
        return ((logits.argmax(1) == y).sum() / 8).item()

    def no_return(logits, y):
        (logits.argmax(1) == y).float().mean().item()

    def mean_probability(logits, y):
        return logits.softmax(1)[torch.arange(len(y)), y].mean()

    def sensitivity(logits, y):
        return logits[y == 1].argmax(1).float().mean()

    def specificity(logits, y):
        return (logits[y == 0].argmax(1) == 0).float().mean()

    def precision(logits, y):
        return y[logits.argmax(1) == 1].float().mean()

    def balanced(logits, y):
        return (sensitivity(logits, y) + specificity(logits, y)) / 2

    def called_sick(logits, y):
        return logits.argmax(1).float().mean()

    def rounded(logits, y):
        return round(solution(logits, y), 2)

    def larger_in_size(logits, y):
        return (logits.abs().argmax(1) == y).float().mean()

    assert_check_is_sound(
        "accuracy",
        solution=solution,
        mistakes={
            "count": (count, "how many are right"),
            "percent": (percent, "in percent"),
            "share of wrong ones": (share_of_wrong_ones, "the share of the wrong ones"),
            "smaller logit": (smaller_logit, "the share of the wrong ones"),
            "one logit": (one_logit, "One logit alone says nothing"),
            "mean of truth values": (mean_of_truth_values, "RuntimeError: mean()"),
            "down the images": (down_the_images, "RuntimeError: The size of tensor a (2)"),
            "one for each image": (one_for_each_image, "should be one number; a tensor (8,)"),
            "divided by eight": (divided_by_eight, "all of them right should be 1; yours is 0.375"),
            "no return": (no_return, "Does it end with a `return`?"),
            "mean probability": (mean_probability, "should be 0.75"),
            "sensitivity": (sensitivity, "the share among the sick alone"),
            "specificity": (specificity, "the share among the healthy alone"),
            "precision": (precision, "the share among the 3 that the model calls sick"),
            "balanced": (balanced, "as much weight as all the healthy together"),
            "called sick": (called_sick, "how often the model says sick"),
            "rounded": (rounded, "should be 0.6667; yours is 0.67"),
            "larger in size": (larger_in_size, "all of them right should be 1; yours is 0.6667"),
        },
        alternatives=[as_a_tensor, from_probabilities, in_a_loop, in_numpy],
    )
