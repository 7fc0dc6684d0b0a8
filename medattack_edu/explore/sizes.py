"""The explorer of how far an attack may go (`epsilon`): image, perturbation, answer, and accuracy at every size.

The attacks themselves are `medattack_edu.attacks`; everything here is computed once, and a move only draws.
"""

import numpy as np
import torch
from tqdm.auto import tqdm

from medattack_edu import metrics, runtime
from medattack_edu.attacks import pgd, random_noise
from medattack_edu.attacks.gradient import input_gradient
from medattack_edu.explore import canvas as ink
from medattack_edu.explore.canvas import Canvas, Plot, enlarged
from medattack_edu.explore.panels import (
    BYTE,
    LEVELS,
    as_bytes,
    as_rows,
    class_names,
    draw_answer,
    in_levels,
    magnification,
    magnified,
    packed,
    patients,
    percent_range,
    ready,
)
from medattack_edu.explore.widget import chooser, interactive, slider
from medattack_edu.show import percent

STOPS = (0, 1 / 4, 1 / 2, 3 / 4, 1, 1.5, 2, 3, 4, 6, 8)
SHOWN = 16  # patients whose images are kept; all of them count in the curve
PGD_STEPS = 10
SEED = 0

CURVES = {"FGS": (ink.GREEN, "o", "-"), "PGD": (ink.VERMILLION, "s", "-"), "noise": (ink.GREY, "^", "--")}


def epsilon(model, x, y, classes=("healthy", "disease"), attacks=("FGS", "PGD", "noise"), stops=STOPS):
    """A slider for the size of an attack: the image, the perturbation, the answer, and the accuracy over all patients.

    Args:
        model: maps images in [0, 1] to two logits; it is frozen if it isn't yet.
        x: images (N, 3, H, W) in [0, 1]; the first 16 can be looked at, all of them count.
        y: true labels (N,), int64.
        classes: the two names; class 1 is the disease.
        attacks: any of "FGS", "PGD" (10 steps) and "noise", the control.
        stops: sizes to stop at, in grey levels, i.e. units of 1/255.

    Returns:
        An Explorer with the controls ``eps`` (pixel units of the [0, 1] scale, e.g. ``2 / 255``), ``attack`` and
        ``patient`` (row of x). ``.facts(eps=..., attack=..., patient=...)`` gives the numbers on the picture.
    """
    study = EpsilonStudy(model, x, y, classes, attacks, stops)
    names = [f"{size * LEVELS:g}/255" for size in study.eps]
    controls = {
        "eps": slider("eps", study.eps, study.eps[0], names),
        "attack": chooser("attack", tuple(attacks), attacks[min(1, len(attacks) - 1)]),
        "patient": chooser("patient", patients(y[:SHOWN], study.classes)),
    }
    return interactive(study.render, controls, alt=study.alt, facts=study.facts)


class EpsilonStudy:
    """Every answer and every perturbation of some attacks at some sizes, and the picture of each."""

    SIDE, GAP = 256, 10  # of the three images, in pixels
    CURVE_HEIGHT = 290

    def __init__(self, model, x, y, classes, attacks, stops):
        unknown = [attack for attack in attacks if attack not in SERIES]
        if unknown or not attacks:
            raise ValueError(f"attacks={tuple(attacks)!r}: name one or more of {', '.join(SERIES)}.")
        self.eps = tuple(stop / LEVELS for stop in sorted(set(stops)))
        model = ready(model, x, y, classes, max(self.eps))
        self.classes, self.truth, self.n = class_names(classes), y.cpu(), len(x)
        self.largest = max(self.eps) or 1 / LEVELS
        self.magnified = magnification(self.largest)
        self.images = as_rows(x[:SHOWN])
        self.clean = metrics.logits(model, x[:SHOWN]).softmax(1).cpu()
        self.perturbations, self.probabilities = {}, {}
        with tqdm(total=len(attacks) * len(self.eps), desc=f"attacking {len(x)} patients", leave=False) as bar:
            for attack in attacks:
                changes, answers = [], []
                for x_adv in SERIES[attack](model, x, y, self.eps):
                    changes.append(packed(x_adv[:SHOWN] - x[:SHOWN], self.eps[len(changes)]))
                    answers.append(metrics.logits(model, x_adv).softmax(1).cpu())
                    bar.update()
                self.perturbations[attack], self.probabilities[attack] = changes, torch.stack(answers)
        self.curves = {attack: self._curve(attack) for attack in attacks}

    def change(self, attack, stop, patient):
        """A perturbation (H, W, 3) in grey levels."""
        return self.perturbations[attack][stop][patient] * np.float32(self.eps[stop] * LEVELS / BYTE)

    def accuracy(self, attack, stop):
        """Accuracy over all patients under an attack at the size number `stop`, an Estimate."""
        right = self.probabilities[attack][stop].argmax(1) == self.truth
        return metrics.proportion(right.sum(), self.n)

    def facts(self, eps, attack, patient):
        """What the picture says: ``accuracy`` (an Estimate), and of the patient ``truth``, ``clean`` and ``attacked``
        (probability of each class), ``answer`` and ``largest_change`` (in grey levels)."""
        stop = self._stop(eps)
        attacked = self.probabilities[attack][stop, patient]
        return {
            "eps": self.eps[stop],
            "attack": attack,
            "accuracy": self.accuracy(attack, stop),
            "truth": self.classes[self.truth[patient]],
            "clean": tuple(self.clean[patient].tolist()),
            "attacked": tuple(attacked.tolist()),
            "answer": self.classes[attacked.argmax()],
            "largest_change": float(np.abs(self.change(attack, stop, patient)).max()),
        }

    def alt(self, **values):
        """The picture in words."""
        facts = self.facts(**values)
        return (
            f"Patient {values['patient'] + 1}, truth {facts['truth']}. {facts['attack']} at eps {in_levels(facts['eps'])}: "
            f"the model answers {facts['answer']} with probability {max(facts['attacked']):.2f}. "
            f"Accuracy over all patients {facts['accuracy']}."
        )

    def render(self, eps, attack, patient):
        """The clean image, the perturbation, the attacked image, the model's answers, and the accuracy curve."""
        facts, stop = self.facts(eps, attack, patient), self._stop(eps)
        change = self.change(attack, stop, patient)
        left, middle, right = (8 + column * (self.SIDE + self.GAP) for column in range(3))
        below = ink.TOP + self.SIDE + 10
        canvas = Canvas()
        attacked = as_bytes(self.images[patient] + change)
        panels = [
            (left, "clean image", enlarged(as_bytes(self.images[patient]), self.SIDE)),
            (middle, f"perturbation × {self.magnified}", magnified(change, self.magnified, self.SIDE)),
            (right, f"{attack}, eps {in_levels(eps)}", enlarged(attacked, self.SIDE)),
        ]
        for x, title, image in panels:
            canvas.title(x, title)
            canvas.paste(x, ink.TOP, image)
        truth = int(self.truth[patient])
        draw_answer(canvas, left, below, self.SIDE, facts["clean"], self.classes, truth)
        draw_answer(canvas, right, below, self.SIDE, facts["attacked"], self.classes, truth)
        words = ["grey: no change", "largest change of a pixel value:", f"{facts['largest_change']:.3g} of 255 levels"]
        for row, line in enumerate(words):
            canvas.text(middle, below + 22 * row, line)
        self._draw_curve(canvas, right + self.SIDE + self.GAP, attack, stop, facts["accuracy"])
        return canvas.image

    def _draw_curve(self, canvas, x, attack, stop, accuracy):
        plot = self.curves[attack]
        canvas.title(x + 8, f"accuracy, {self.n} patients")
        canvas.paste(x, ink.TOP, plot.image)
        across, down = plot.pixel(self.eps[stop] * LEVELS, 100 * accuracy)
        canvas.dot(x + across, ink.TOP + down, 7, CURVES[attack][0], ring=ink.INK)
        lines = [
            f"{attack}, eps {in_levels(self.eps[stop])}",
            f"accuracy {percent(accuracy)}",
            f"95 %: {percent_range(accuracy)}, n = {accuracy.n}",
        ]
        for row, line in enumerate(lines):
            size = ink.TITLE if row == 1 else ink.BODY
            canvas.text(x + 12, ink.TOP + self.CURVE_HEIGHT + 10 + 25 * row, line, size, bold=row == 1)

    def _curve(self, chosen):
        """Accuracy against eps, the chosen attack in front."""

        def draw(axes):
            for attack in [*(name for name in self.probabilities if name != chosen), chosen]:
                colour, marker, style = CURVES[attack]
                points = [self.accuracy(attack, stop) for stop in range(len(self.eps))]
                sizes, front = [size * LEVELS for size in self.eps], attack == chosen
                axes.plot(sizes, [100 * point for point in points], style, color=colour, marker=marker, markersize=4,
                          linewidth=2.4 if front else 1.4, label=attack)  # fmt: skip
                axes.fill_between(sizes, [100 * point.low for point in points], [100 * point.high for point in points],
                                  color=colour, alpha=0.22 if front else 0.08, linewidth=0)  # fmt: skip
            # The square root spreads the small sizes, where everything happens.
            axes.set_xscale("function", functions=(lambda size: np.sqrt(np.maximum(size, 0)), np.square))
            axes.set(ylim=(-3, 103), xlim=(0, self.largest * LEVELS * 1.06))
            axes.set(xlabel="eps in 1/255, square-root scale", ylabel="accuracy in %")
            ticks = [size * LEVELS for size in self.eps if size * LEVELS in (0, 0.25, 1, 2, 4, 8)]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.minorticks_off()
            axes.grid(color=ink.PALE, linewidth=0.8)
            axes.figure.legend(loc="outside upper center", ncols=3, frameon=False, handlelength=1.4, columnspacing=1.0)

        left = 8 + 3 * (self.SIDE + self.GAP)
        return Plot(ink.WIDTH - left, self.CURVE_HEIGHT, draw)

    def _stop(self, eps):
        """Number of the stop at `eps`; a number between two stops goes to the nearer one."""
        return int(np.abs(np.array(self.eps) - eps).argmin())


def fgs_series(model, x, y, sizes):
    """FGS at each size: the gradient is the same for all of them."""
    gradient, _ = input_gradient(model, x, y)
    for eps in sizes:
        yield (x + eps * gradient.sign()).clamp(0, 1)


def noise_series(model, x, y, sizes):
    """The control at each size, with the same coins."""
    for eps in sizes:
        yield random_noise(x, eps=eps, generator=runtime.generator(SEED))


def pgd_series(model, x, y, sizes):
    """PGD at each size. A success at a smaller size lies in the larger ball too and is kept where the larger walk fails."""
    kept, done = x, metrics.logits(model, x).argmax(1) != y
    for eps in sizes:
        if eps > 0:
            start = runtime.generator(SEED)
            walked = pgd(model, x, y, eps=eps, steps=PGD_STEPS, stop_when_fooled=True, generator=start)
            fooled = metrics.logits(model, walked).argmax(1) != y
            kept = torch.where((done & ~fooled)[:, None, None, None], kept, walked)
            done = done | fooled
        yield kept


SERIES = {"FGS": fgs_series, "PGD": pgd_series, "noise": noise_series}
