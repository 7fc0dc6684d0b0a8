"""The explorer of how PGD gets where it gets (`steps`): the image step by step, the loss, and the path over two planes.

The attack itself is in `medattack_edu.attacks.gradient`; everything here is computed once, and a move only draws.
"""

import ipywidgets
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.patheffects import withStroke
from tqdm.auto import tqdm

from medattack_edu import metrics, runtime
from medattack_edu.attacks.gradient import input_gradient, loss_to_climb, project, random_point_in_ball, steepest
from medattack_edu.explore import canvas as ink
from medattack_edu.explore.canvas import Canvas, Plot, enlarged
from medattack_edu.explore.panels import (
    LEVELS,
    as_bytes,
    as_levels,
    as_rows,
    class_names,
    draw_answer,
    in_levels,
    magnification,
    magnified,
    patients,
    ready,
)
from medattack_edu.explore.widget import chooser, interactive

GRID = 15  # points along each side of the plane of `steps`; odd, so that the clean image is one of them
REACH = 1.25  # half the side of that plane, in eps
ASIDES = ("PGD's end", "random")  # the second direction of that plane
MOST_PATIENTS = 8  # each costs 2 * GRID * GRID answers of the model
SEED = 0
PLANE_BATCH = 45  # images of the plane answered at once: a fifth of it


def steps(model, x, y, classes=("healthy", "disease"), eps=2 / 255, steps=10):
    """A slider for the steps of PGD: the image, the perturbation, the loss, and the path over the loss.

    Args:
        model: maps images in [0, 1] to two logits; it is frozen if it isn't yet.
        x: up to 8 images (N, 3, H, W) in [0, 1].
        y: true labels (N,), int64.
        classes: the two names; class 1 is the disease.
        eps: radius of the ball, in pixel units, e.g. ``2 / 255``.
        steps: of the walk.

    Returns:
        An Explorer with the controls ``step`` (0 is the random start), ``patient`` (row of x) and ``aside``, the second
        direction of the plane ("PGD's end" or "random"; the first is that of FGS). ``.facts(...)`` gives the numbers on
        the picture.
    """
    study = StepsStudy(model, x, y, classes, eps, steps)
    controls = {
        "step": ipywidgets.IntSlider(description="step", min=0, max=steps, value=0),
        "patient": chooser("patient", patients(y, study.classes)),
        "aside": chooser("plane: FGS and", ASIDES),
    }
    return interactive(study.render, controls, alt=study.alt, facts=study.facts)


class StepsStudy:
    """A walk of PGD for a few patients, and the loss over two planes through each.

    A plane goes through the clean image. Its first direction is that of FGS. Its second, made orthogonal to the first, is
    that of the walk's end, which so lies on the plane, or the signs of the random start, which show how flat it is almost
    everywhere. Both have a root mean square of 1. A perturbation's place along a direction d is
    <perturbation, d> / <d, d>, in grey levels: how much the pixel values move along it on average. FGS lies at (eps, 0).
    """

    SIDE, GAP = 216, 10
    LOSS_WIDTH, PLANE_WIDTH = 268, 364

    def __init__(self, model, x, y, classes, eps, steps):
        if len(x) > MOST_PATIENTS:
            most = f"explore.steps takes up to {MOST_PATIENTS}. Pass x[:{MOST_PATIENTS}] and y[:{MOST_PATIENTS}]."
            raise ValueError(f"x holds {len(x)} images; {most}")
        if steps < 1 or eps <= 0:
            raise ValueError(f"steps={steps}, eps={eps:g}: a walk has a step or more, in a ball larger than 0.")
        model = ready(model, x, y, classes, eps)
        self.classes, self.truth, self.eps, self.last = class_names(classes), y.cpu(), eps, steps
        self.magnified = magnification(eps)
        self.images = as_rows(x)
        with tqdm(total=steps + len(x) * len(ASIDES), desc="walking, and mapping the loss", leave=False) as bar:
            walk, self.losses, self.probabilities = self._walk(model, x, y, steps, bar)
            self.changes = [as_levels(x_adv - x) for x_adv in walk]
            uphill = input_gradient(model, x, y)[0].sign()
            self.paths, self.maps = {}, {}
            for aside, towards in zip(ASIDES, (walk[-1] - x, (walk[0] - x).sign()), strict=True):
                directions = torch.stack([uphill, orthogonal(towards, uphill)], 1)  # (N, 2, 3, H, W)
                # (steps + 1, N, 2): where the walk stands on each patient's plane, in grey levels
                self.paths[aside] = (
                    torch.stack([places(x_adv - x, directions) for x_adv in walk]).cpu().numpy() * LEVELS
                )
                for patient, plane in enumerate(directions):
                    losses = loss_over_plane(model, x[patient], y[patient], plane, eps)
                    self.maps[aside, patient] = self._map(losses, edge_of_ball(plane, eps) * LEVELS, aside)
                    bar.update()
        self.curves = [self._curve(self.losses[:, patient]) for patient in range(len(x))]

    def _walk(self, model, x, y, steps, bar):
        """Each point of the walk, its loss (steps + 1, N) and the model's answer (steps + 1, N, 2)."""
        x_adv = random_point_in_ball(x, self.eps, generator=runtime.generator(SEED))
        walk, answers = [x_adv], []
        for _ in range(steps):
            gradient, logits = input_gradient(model, x_adv, y)
            x_adv = project(x_adv + 2.5 * self.eps / steps * steepest(gradient, "inf"), x, self.eps)
            walk.append(x_adv)
            answers.append(logits)
            bar.update()
        answers.append(metrics.logits(model, x_adv))
        losses = [F.cross_entropy(logits, y, reduction="none") for logits in answers]
        return walk, torch.stack(losses).cpu(), torch.stack(answers).softmax(2).cpu()

    def facts(self, step, patient, aside):
        """What the picture says: ``loss``, ``probabilities``, ``truth``, ``answer``, ``largest_change`` (in grey levels)
        and ``place``, that of the perturbation on the plane (along FGS, along the second direction; in grey levels)."""
        probabilities = self.probabilities[step, patient]
        return {
            "step": step,
            "loss": self.losses[step, patient].item(),
            "probabilities": tuple(probabilities.tolist()),
            "truth": self.classes[self.truth[patient]],
            "answer": self.classes[probabilities.argmax()],
            "largest_change": float(np.abs(self.changes[step][patient]).max()),
            "place": tuple(self.paths[aside][step, patient].tolist()),
        }

    def alt(self, step, patient, aside):
        """The picture in words."""
        facts = self.facts(step, patient, aside)
        return (
            f"Patient {patient + 1}, truth {facts['truth']}. PGD at step {step} of {self.last}, eps {in_levels(self.eps)}: "
            f"loss {facts['loss']:.2f}, the model answers {facts['answer']} with probability "
            f"{max(facts['probabilities']):.2f}."
        )

    def render(self, step, patient, aside):
        """The image at that step, its perturbation, the loss of all steps, and the path on the plane."""
        facts, change = self.facts(step, patient, aside), self.changes[step][patient]
        left, right = 8, 8 + self.SIDE + self.GAP
        below = ink.TOP + self.SIDE + 10
        canvas = Canvas()
        attacked = as_bytes(self.images[patient] + change)
        canvas.title(left, "random start" if step == 0 else f"after step {step} of {self.last}")
        canvas.paste(left, ink.TOP, enlarged(attacked, self.SIDE))
        canvas.title(right, f"perturbation × {self.magnified}")
        canvas.paste(right, ink.TOP, magnified(change, self.magnified, self.SIDE))
        draw_answer(canvas, left, below, self.SIDE, facts["probabilities"], self.classes, int(self.truth[patient]))
        words = ["grey: no change", "largest change of a pixel:", f"{facts['largest_change']:.3g} of 255 levels"]
        words += [f"allowed: {in_levels(self.eps)}"]
        for row, line in enumerate(words):
            canvas.text(right, below + 22 * row, line)
        x = right + self.SIDE + self.GAP
        self._draw_curve(canvas, x, step, facts["loss"], patient)
        self._draw_path(canvas, x + self.LOSS_WIDTH, step, patient, aside)
        return canvas.image

    def _draw_curve(self, canvas, x, step, loss, patient):
        plot = self.curves[patient]
        canvas.title(x + 8, f"loss at this step: {loss:.2f}")
        canvas.paste(x, ink.TOP, plot.image)
        across, down = plot.pixel(step, loss)
        canvas.dot(x + across, ink.TOP + down, 7, ink.VERMILLION, ring=ink.INK)

    def _draw_path(self, canvas, x, step, patient, aside):
        plot = self.maps[aside, patient]
        canvas.title(x + 12, "shadow of the walk on a plane")
        canvas.paste(x, ink.TOP, plot.image)
        points = [plot.pixel(*place) for place in self.paths[aside][: step + 1, patient]]
        points = [(x + across, ink.TOP + down) for across, down in points]
        if len(points) > 1:
            canvas.line(points, "white", 5)
            canvas.line(points, ink.VERMILLION, 3)
        for point in points[:-1]:
            canvas.dot(*point, 3, ink.VERMILLION)
        canvas.dot(*points[-1], 7, ink.VERMILLION)

    def _curve(self, losses):
        """The loss of every step."""

        def draw(axes):
            axes.plot(range(len(losses)), losses, "-o", color=ink.INK, markersize=4, linewidth=1.6)
            top = max(float(losses.max()), np.log(2)) * 1.08
            axes.axhspan(np.log(2), top, color=ink.VERMILLION, alpha=0.1, linewidth=0)
            axes.text(0, 0.99 * top, "wrong answer", color=ink.WORDS[ink.VERMILLION], va="top")
            axes.set(ylim=(0, top), xlim=(-0.3, self.last + 0.3), xlabel="step", ylabel="loss (cross-entropy)")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(color=ink.PALE, linewidth=0.8)

        return Plot(self.LOSS_WIDTH, ink.HEIGHT - ink.TOP, draw)

    def _map(self, plane, edge, aside):
        """The loss over a plane, with the line in which the ball cuts it."""

        def draw(axes):
            reach, eps = REACH * self.eps * LEVELS, self.eps * LEVELS
            half = reach / (GRID - 1)  # imshow's extent goes to the outer edges of the outer pixels
            extent = (-reach - half, reach + half) * 2
            picture = axes.imshow(plane, origin="lower", extent=extent, cmap="cividis", interpolation="bilinear")
            seen = {"path_effects": [withStroke(linewidth=3, foreground=ink.INK)], "color": "white"}  # on any ground
            axes.plot(*edge.T, linewidth=1.6, **seen)
            axes.plot([0], [0], "o", markersize=5, **seen)
            axes.plot([eps], [0], "D", markersize=5, **seen)
            for words, place, offset, side in (
                ("clean", (0, 0), (0, -7), "center"),
                ("FGS", (eps, 0), (2, -9), "center"),
                ("eps ball", edge[len(edge) * 5 // 8], (-4, -2), "right"),
            ):
                axes.annotate(words, place, offset, textcoords="offset points", ha=side, va="top", **seen)
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
            towards = "towards PGD's end" if aside == ASIDES[0] else "in a random direction"
            axes.set(xlabel="along FGS: mean change in 1/255", ylabel=f"{towards}, in 1/255")
            axes.figure.colorbar(picture, ax=axes, location="bottom", aspect=30, pad=0.02, label="loss on the plane")

        return Plot(self.PLANE_WIDTH, ink.HEIGHT - ink.TOP, draw)


def orthogonal(towards, direction):
    """The part of each perturbation (N, 3, H, W) that is orthogonal to `direction`, its root mean square made 1."""
    overlap = (towards * direction).sum((1, 2, 3)) / direction.square().sum((1, 2, 3)).clamp(min=1)
    rest = towards - overlap[:, None, None, None] * direction
    return rest / rest.square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12)


def places(change, directions):
    """Where perturbations (N, 3, H, W) lie along directions (N, 2, 3, H, W): (N, 2), in the perturbation's unit."""
    products = (change[:, None] * directions).sum((2, 3, 4))
    return products / directions.square().sum((2, 3, 4)).clamp(min=1)


def loss_over_plane(model, image, label, directions, eps):
    """The loss over one patient's plane, (GRID, GRID): rows along the second direction, columns along the first."""
    ticks = torch.linspace(-REACH, REACH, GRID, device=image.device) * eps
    losses = []
    for part in torch.cartesian_prod(ticks, ticks).split(PLANE_BATCH):  # (second, first)
        change = part[:, 1, None, None, None] * directions[0] + part[:, 0, None, None, None] * directions[1]
        losses.append(loss_to_climb(model, (image + change).clamp(0, 1), label.expand(len(part))))
    return torch.cat(losses).reshape(GRID, GRID).cpu().numpy()


def edge_of_ball(directions, eps, angles=73):
    """The line (angles, 2) along which the ball of radius eps cuts a plane, in eps's unit.

    Along an angle the edge is where the value that moves most has moved by eps.
    """
    first, second = directions.flatten(1)
    edge = []
    for angle in np.linspace(0, 2 * np.pi, angles):
        fastest = (np.cos(angle) * first + np.sin(angle) * second).abs().max().item()
        radius = min(eps / max(fastest, 1e-12), 2 * REACH * eps)
        edge.append((radius * np.cos(angle), radius * np.sin(angle)))
    return np.array(edge)
