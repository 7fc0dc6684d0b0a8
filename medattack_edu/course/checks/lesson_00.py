"""Lesson 00's exercise, the accuracy: small enough to show how exercises work. The lesson itself is in solutions/."""

import torch

from medattack_edu.course.checks.framework import Mistake, call, exercise, expect_close, expect_number

# Eight images, six of them right. A second logit above 0 does not mean "sick" here: the first one decides as well. One
# is sick and seven are healthy, so that a share of some of the images is another number.
LOGITS = torch.tensor(
    [[2.0, 1.0], [3.0, -1.0], [0.5, 0.1], [-0.5, -2.0], [-3.0, -1.0], [1.0, 4.0], [0.2, 1.1], [2.5, 0.5]]
)
LABELS = torch.tensor([0, 0, 0, 0, 0, 0, 1, 0])


def reference_accuracy(logits, y):
    return (logits.argmax(1) == y).float().mean().item()


@exercise(
    "accuracy",
    lesson="00",
    title="The share of right answers",
    reference=reference_accuracy,
    hints=(
        "The model's answer for an image is the class with the larger logit. For all images at once: `logits.argmax(1)`.",
        (
            "Comparing the answers with `y` gives a True or a False for each image. A mean takes numbers, so turn them into "
            "numbers first: `.float()`."
        ),
        (
            "`right = logits.argmax(1) == y` says which images are right. What is left to do is one line: return the mean of "
            "`right` as numbers."
        ),
    ),
)
def check_accuracy(accuracy):
    came = expect_number(call(accuracy, LOGITS, LABELS), "the accuracy of 8 images, 6 of them right")
    for wrong, meaning in _slips(LOGITS, LABELS):
        if abs(came - wrong) < 1e-4:
            raise Mistake(f"The model is right on 6 of these 8 images, and you returned {came:.4g}. {meaning}")
    expect_close(came, 0.75, "the accuracy of 8 images, 6 of them right")
    for answers, labels, expected, what in (
        ([[1.0, 0.0], [0.0, 1.0], [-5.0, -6.0]], [0, 1, 0], 1.0, "the accuracy of 3 images, all of them right"),
        ([[1.0, 0.0], [0.0, 1.0], [-5.0, -6.0]], [0, 1, 1], 2 / 3, "the accuracy of 3 images, two of them right"),
        ([[1.0, 0.0], [0.0, 1.0]], [1, 0], 0.0, "the accuracy of 2 images, both of them wrong"),
        ([[0.0, 9.0]], [1], 1.0, "the accuracy of a single image, and a right one,"),
    ):
        expect_close(call(accuracy, torch.tensor(answers), torch.tensor(labels)), expected, what)
    return "0.75 for 6 right answers of 8, 1 when all are right, 0 when none is."


def _slips(logits, y):
    """Numbers that come out of likely slips, each with what it stands for."""
    right, called = logits.argmax(1) == y, logits.argmax(1) == 1
    return (
        (6.0, "That is how many are right. An accuracy is a share: 1 when all are right, whatever their number."),
        (75.0, "That is in percent. An accuracy is a share, from 0 to 1."),
        (0.25, "That is the share of the wrong ones."),
        (
            right[y == 1].float().mean().item(),
            "That is the share among the sick alone. An accuracy counts all images, the healthy ones too.",
        ),
        (
            right[y == 0].float().mean().item(),
            "That is the share among the healthy alone. An accuracy counts all images, the sick ones too.",
        ),
        (
            right[called].float().mean().item(),
            f"That is the share among the {int(called.sum())} that the model calls sick. An accuracy counts all images.",
        ),
        (
            called.float().mean().item(),
            "That is how often the model says sick. Where does the truth come in?",
        ),
        (
            (right[y == 1].float().mean() + right[y == 0].float().mean()).item() / 2,
            "That gives the only sick one as much weight as all the healthy together. In an accuracy every image counts the same.",
        ),
        (
            ((logits[:, 1] > 0) == y).float().mean().item(),
            (
                "That comes out when an image counts as sick as soon as its second logit is above 0. One logit alone says "
                "nothing: the model chooses the larger of the two."
            ),
        ),
    )
