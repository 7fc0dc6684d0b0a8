"""Explorers of the white-box attacks: how far an attack may go (`epsilon`), and how it gets there (`steps`).

The attacks themselves are `medattack_edu.attacks`; everything here is computed once, and a move only draws.
"""

import ipywidgets
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.patheffects import withStroke
from tqdm.auto import tqdm

from medattack_edu import metrics, runtime
from medattack_edu.attacks import pgd, random_noise
from medattack_edu.attacks._inputs import check_inputs
from medattack_edu.attacks.gradient import input_gradient, loss_to_climb, project, random_point_in_ball, steepest
from medattack_edu.explore import canvas as ink
from medattack_edu.explore.canvas import Canvas, Plot, enlarged
from medattack_edu.explore.widget import chooser, interactive, slider
from medattack_edu.models.freeze import freeze

LEVELS = 255  # grey levels between black and white
STOPS = (0, 1 / 4, 1 / 2, 3 / 4, 1, 1.5, 2, 3, 4, 6, 8)
SHOWN = 16  # patients whose images are kept; all of them count in the curve
PGD_STEPS = 10
GRID = 15  # points along each side of the plane of `steps`; odd, so that the clean image is one of them
REACH = 1.25  # half the side of that plane, in eps
ASIDES = ("PGD's end", "random")  # the second direction of that plane
MOST_PATIENTS = 8  # in `steps`, where each costs 2 * GRID * GRID answers of the model
BYTE = 127  # the largest number in a signed byte
SEED = 0
PLANE_BATCH = 45  # images of the plane answered at once: a fifth of it

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
        self.classes, self.truth, self.n = readable(classes), y.cpu(), len(x)
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
        self.classes, self.truth, self.eps, self.last = readable(classes), y.cpu(), eps, steps
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
            axes.text(0, 0.99 * top, "wrong answer", color=ink.VERMILLION, va="top")
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


def ready(model, x, y, classes, eps):
    """The model made cheap to attack, after a look at what came in.

    Raises:
        ValueError: if model, images, labels and eps don't fit together, or the classes aren't two.
    """
    check_inputs(model, x, y, eps=eps)
    if not len(x):
        raise ValueError("x holds no image. Give one or more.")
    logits = metrics.logits(model, x[:1]).shape[1]
    if (len(classes), logits) != (2, 2):
        raise ValueError(f"{len(classes)} class names and {logits} logits an image came; explorers show two of each.")
    return freeze(model) if isinstance(model, torch.nn.Module) else model


def patients(labels, classes):
    """(label, row) of each patient, for a chooser."""
    return [(f"{row + 1}, truth: {classes[label]}", row) for row, label in enumerate(labels.tolist())]


def readable(classes):
    """Class names as words: no underscores."""
    return tuple(str(name).replace("_", " ") for name in classes)


def in_levels(eps):
    """A size in pixel units, as it is written: 2/255."""
    return f"{eps * LEVELS:g}/255"


def percent(share):
    """A share in whole per cent."""
    return f"{100 * share:.0f} %"


def percent_range(estimate):
    """The interval of an Estimate in whole per cent."""
    return f"{100 * estimate.low:.0f} to {100 * estimate.high:.0f} %"


def as_levels(change):
    """Perturbations (N, 3, H, W) as arrays (N, H, W, 3) in grey levels."""
    return (change * LEVELS).permute(0, 2, 3, 1).half().cpu().numpy()


def as_rows(x):
    """Images (N, 3, H, W) in [0, 1] as float arrays (N, H, W, 3) in grey levels: bytes would hide a change below one."""
    return (x * LEVELS).permute(0, 2, 3, 1).cpu().numpy()


def packed(change, eps):
    """Perturbations (N, 3, H, W) within eps in one byte a value, (N, H, W, 3): eps itself becomes BYTE."""
    return (change * (BYTE / (eps or 1))).round().to(torch.int8).permute(0, 2, 3, 1).cpu().numpy()


def magnification(eps):
    """How many times a perturbation of size eps is shown as large: a power of two that brings it near black and white."""
    return 2 ** round(np.log2(128 / (LEVELS * eps)))


def as_bytes(levels):
    """Grey levels, rounded and cut to those that a screen has."""
    return np.clip(np.rint(levels), 0, LEVELS).astype(np.uint8)


def magnified(change, factor, side):
    """A perturbation (H, W, 3) in grey levels, `factor` times as large, on grey."""
    return enlarged(as_bytes(128 + factor * change.astype(np.float32)), side, smooth=False)


def draw_answer(canvas, x, y, width, probabilities, classes, truth):
    """The model's answer: a bar for each class, the true one named, and whether it is right."""
    for label, (name, share) in enumerate(zip(classes, probabilities, strict=True)):
        top, true = y + 40 * label, label == truth
        canvas.text(x, top, ink.fitted(name, width - 45, bold=true), bold=true)
        canvas.text(x + width, top, f"{share:.2f}", anchor="ra", bold=True)
        canvas.bar(x, top + 19, width - 60, 12, share, (ink.HEALTHY, ink.SICK)[label])
        if true:
            canvas.text(x + width, top + 25, "◂ truth", ink.SMALL, anchor="rm", bold=True)
    right = int(np.argmax(probabilities)) == truth
    words = "the model is right" if right else "the model is WRONG"
    canvas.text(x, y + 82, words, bold=not right, colour=ink.INK if right else ink.VERMILLION)
