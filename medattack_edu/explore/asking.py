"""Explorer of attacks by questions alone: what each has reached after so many queries (`queries`).

The attacks themselves are `medattack_edu.attacks`; everything here is computed once, and a move only draws.
"""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from medattack_edu import metrics, runtime
from medattack_edu.attacks import Oracle, nes_attack, square_attack
from medattack_edu.explore import canvas as ink
from medattack_edu.explore.canvas import Canvas, Plot, enlarged, fitted
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

ATTACKS = {"NES": nes_attack, "NES in blocks": partial(nes_attack, samples=20, grid=8), "Square": square_attack}
MOST_PATIENTS = 8  # each costs two attacks
STOPS = 25  # of the slider, beside 0
SEED = 0


def queries(model, x, y, classes=("healthy", "disease"), attacks=("NES", "Square"), eps=8 / 255, queries=250):
    """A slider for the queries spent: the image as it was then, the answer, and how many patients were turned by then.

    Args:
        model: maps images in [0, 1] to two logits; it is frozen if it isn't yet. The attacks see it through an Oracle that
            reveals probabilities.
        x: up to 8 images (N, 3, H, W) in [0, 1].
        y: true labels (N,), int64.
        classes: the two names; class 1 is the disease.
        attacks: any of "NES", "NES in blocks" (8 x 8 of them, whose values move together) and "Square".
        eps: the largest change of a pixel, in pixel units, e.g. ``8 / 255``.
        queries: budget of each patient.

    Returns:
        An Explorer with the controls ``spent`` (queries), ``attack`` and ``patient`` (row of x). ``.facts(...)`` gives the
        numbers on the picture.
    """
    study = AskingStudy(model, x, y, classes, attacks, eps, queries)
    controls = {
        "spent": slider("queries", study.stops, study.stops[0]),
        "attack": chooser("attack", tuple(attacks)),
        "patient": chooser("patient", patients(y, study.classes)),
    }
    return interactive(study.render, controls, alt=study.alt, facts=study.facts)


class AskingStudy:
    """Attacks by queries on a few patients, kept at every stop of a slider, and the picture of each.

    The cosine is that of the mean of all estimates so far with the mean of the true gradients where they were made. An attack
    that estimates nothing is judged by its change instead, against the true gradient at the clean image.
    """

    SIDE, GAP = 216, 10
    SUCCESS_WIDTH, COSINE_WIDTH = 308, 328
    PLOT_HEIGHT = 296

    def __init__(self, model, x, y, classes, attacks, eps, queries):
        unknown = [attack for attack in attacks if attack not in ATTACKS]
        if unknown or not attacks:
            raise ValueError(f"attacks={tuple(attacks)!r}: name one or more of {', '.join(ATTACKS)}.")
        if len(x) > MOST_PATIENTS:
            most = f"explore.queries takes up to {MOST_PATIENTS}. Pass x[:{MOST_PATIENTS}] and y[:{MOST_PATIENTS}]."
            raise ValueError(f"x holds {len(x)} images; {most}")
        if queries < 1 or eps <= 0:
            raise ValueError(f"queries={queries}, eps={eps:g}: an attack has a query or more, in a ball larger than 0.")
        model = ready(model, x, y, classes, eps)
        self.classes, self.truth, self.eps, self.budget = class_names(classes), y.cpu(), eps, queries
        self.stops = tuple(sorted({round(queries * k / STOPS) for k in range(STOPS + 1)}))
        self.magnified, self.size = magnification(eps), x[0].numel()
        self.images, self.records = as_rows(x), {}
        with tqdm(total=len(attacks) * len(x) * queries, desc=f"asking about {len(x)} patients", leave=False) as bar:
            for attack in attacks:
                record = Record(model, x, y)
                record.run(ATTACKS[attack], eps, queries, bar)
                self.records[attack] = Kept(record, model, self.stops, eps)
        self.right = self.records[attacks[0]].answers(self.stops[0]) == self.truth
        self.rises = {attack: self._rise(attack) for attack in attacks}
        self.cosines = {(attack, row): self._cosine(attack, row) for attack in attacks for row in range(len(x))}

    def success(self, attack, spent):
        """Share of patients, right before, that are turned after so many queries: overall, and {label: Estimate}."""
        turned = (self.records[attack].answers(self._stop(spent)) != self.truth) & self.right

        def of(rows):
            return metrics.proportion(turned[rows].sum(), self.right[rows].sum())

        return of(torch.ones_like(turned)), {label: of(self.truth == label) for label in (0, 1)}

    def facts(self, spent, attack, patient):
        """What the picture says: of the patient ``probabilities``, ``truth``, ``answer``, ``asked`` (queries that it cost by then),
        ``largest_change`` (in grey levels) and ``cosine`` (None before there is an estimate); of all ``success`` (an Estimate)
        and ``by_class``."""
        stop = self._stop(spent)
        probabilities = self.records[attack].probabilities(stop, patient)
        success, by_class = self.success(attack, stop)
        return {
            "spent": stop,
            "attack": attack,
            "asked": min(stop, self.records[attack].cost[patient]),
            "probabilities": tuple(probabilities.tolist()),
            "truth": self.classes[self.truth[patient]],
            "answer": self.classes[probabilities.argmax()],
            "largest_change": float(np.abs(self.records[attack].change(stop, patient)).max()),
            "cosine": self.records[attack].cosine(stop, patient),
            "success": success,
            "by_class": by_class,
        }

    def alt(self, spent, attack, patient):
        """The picture in words."""
        facts = self.facts(spent, attack, patient)
        cosine = (
            "no estimate yet" if facts["cosine"] is None else f"cosine with the true gradient {facts['cosine']:.3f}"
        )
        return (
            f"{attack} after {facts['spent']} queries a patient, eps {in_levels(self.eps)}. Patient {patient + 1}, truth "
            f"{facts['truth']}: the model answers {facts['answer']} with probability {max(facts['probabilities']):.2f}; {cosine}. "
            f"Turned {facts['success']}."
        )

    def render(self, spent, attack, patient):
        """The image as it was, its perturbation, the answer, the success over all patients, and the cosine."""
        facts, stop = self.facts(spent, attack, patient), self._stop(spent)
        change = self.records[attack].change(stop, patient)
        left, right = 8, 8 + self.SIDE + self.GAP
        below = ink.TOP + self.SIDE + 10
        canvas = Canvas()
        canvas.title(left, f"after {stop} queries")
        canvas.paste(left, ink.TOP, enlarged(as_bytes(self.images[patient] + change), self.SIDE))
        canvas.title(right, f"perturbation × {self.magnified}")
        canvas.paste(right, ink.TOP, magnified(change, self.magnified, self.SIDE))
        draw_answer(canvas, left, below, self.SIDE, facts["probabilities"], self.classes, int(self.truth[patient]))
        for row, line in enumerate(self._words(attack, patient, facts)):
            canvas.text(right, below + 22 * row, line)
        x = right + self.SIDE + self.GAP
        self._draw_success(canvas, x, attack, facts)
        self._draw_cosine(canvas, x + self.SUCCESS_WIDTH, attack, patient, facts)
        return canvas.image

    def _words(self, attack, patient, facts):
        yield f"asked {facts['asked']} of {self.budget} times"
        yield f"largest change {facts['largest_change']:.3g}/255"
        yield f"allowed {in_levels(self.eps)}"
        if not self.right[patient]:
            yield "wrong before any attack"
        elif facts["answer"] != facts["truth"]:
            yield f"turned by query {self.records[attack].cost[patient]}"

    def _draw_success(self, canvas, x, attack, facts):
        plot = self.rises[attack]
        canvas.title(x + 8, f"turned, of {int(self.right.sum())} patients")
        canvas.paste(x, ink.TOP, plot.image)
        for label in (1, 0):
            if facts["by_class"][label].n:
                across, down = plot.pixel(facts["spent"], self._lifted(label, facts["by_class"][label]))
                canvas.dot(x + across, ink.TOP + down, 7, (ink.HEALTHY, ink.SICK)[label], ring=ink.INK)
        success, top = facts["success"], ink.TOP + self.PLOT_HEIGHT + 4
        canvas.text(x + 12, top, f"together {percent(success)}", ink.TITLE, bold=True)
        canvas.text(x + 12, top + 24, f"95 %: {percent_range(success)}, n = {success.n}")
        for label in (0, 1):
            share = facts["by_class"][label]
            words = f"{self.classes[label]}: {round(share * share.n) if share.n else 0} of {share.n}"
            colour = (ink.HEALTHY, ink.SICK_WORDS)[label]
            canvas.text(
                x + 12, top + 46 + 18 * label, fitted(words, self.SUCCESS_WIDTH - 20), ink.SMALL, colour, bold=True
            )

    def _draw_cosine(self, canvas, x, attack, patient, facts):
        plot, cosine = self.cosines[attack, patient], facts["cosine"]
        canvas.title(x + 8, "cosine with the true gradient")
        canvas.paste(x, ink.TOP, plot.image)
        top = ink.TOP + self.PLOT_HEIGHT + 4
        if cosine is not None:
            across, down = plot.pixel(facts["asked"], cosine)
            canvas.dot(x + across, ink.TOP + down, 7, ink.VERMILLION, ring=ink.INK)
        canvas.text(x + 12, top, "no estimate yet" if cosine is None else f"{cosine:.3f}", ink.TITLE, bold=True)
        estimates = self.records[attack].estimates
        canvas.text(x + 12, top + 26, "of all estimates so far," if estimates else "of the change itself:")
        canvas.text(x + 12, top + 48, "this patient" if estimates else f"{attack} estimates nothing")

    def _lifted(self, label, share):
        """In per cent; the two classes a little apart, so that lines which coincide are both seen."""
        return 100 * share + (-1, 1)[label]

    def _rise(self, attack):
        """Success against queries, a line for each class."""

        def draw(axes):
            for label, (colour, style) in enumerate(((ink.HEALTHY, "-"), (ink.SICK, "--"))):
                shares = [self.success(attack, stop)[1][label] for stop in self.stops]
                if shares[0].n:
                    heights = [self._lifted(label, share) for share in shares]
                    axes.plot(self.stops, heights, style, color=colour, linewidth=2.4, drawstyle="steps-post",
                              label=f"truth: {self.classes[label]}")  # fmt: skip
            axes.set(xlim=(0, self.budget), ylim=(-4, 104), xlabel="queries a patient", ylabel="success in %")
            axes.grid(color=ink.PALE, linewidth=0.8)
            axes.figure.legend(loc="outside upper center", ncols=2, frameon=False, handlelength=1.4, columnspacing=1.0)

        return Plot(self.SUCCESS_WIDTH, self.PLOT_HEIGHT, draw)

    def _cosine(self, attack, patient):
        """The cosine against queries, and for estimates the law that they follow."""
        record = self.records[attack]

        def draw(axes):
            places, cosines = record.cosine_line(patient)
            asked = np.linspace(0, self.budget, 80)
            law = np.sqrt(asked / 2 / (asked / 2 + self.size))
            if record.estimates:
                axes.plot(asked, law, ":", color=ink.GREY, linewidth=2, label="√(pairs / values)")
            axes.plot(places, cosines, "-o", color=ink.VERMILLION, linewidth=2, markersize=4, label=attack)
            top = max([0.06, *(law if record.estimates else ()), *cosines])
            axes.set(xlim=(0, self.budget), ylim=(min([0, *cosines]) - 0.004, 1.1 * top))
            axes.set(xlabel="queries about this patient", ylabel="cosine")
            axes.grid(color=ink.PALE, linewidth=0.8)
            axes.figure.legend(loc="outside upper center", ncols=2, frameon=False, handlelength=1.4, columnspacing=1.0)

        return Plot(self.COSINE_WIDTH, self.PLOT_HEIGHT, draw)

    def _stop(self, spent):
        """The stop at `spent`; a number between two stops goes to the nearer one."""
        return min(self.stops, key=lambda stop: abs(stop - spent))


class Record:
    """What an attack did to each patient: images with the queries they had cost, and how good its estimates were."""

    def __init__(self, model, x, y):
        self.model, self.x, self.y, self.oracle = model, x, y, Oracle(model)
        self.history = [[(0, image)] for image in x]
        self.cosines = [[] for _ in x]
        self.clean_slope = slope(model, x, y)
        self.estimated, self.true = torch.zeros_like(x), torch.zeros_like(x)

    def run(self, attack, eps, queries, bar):
        """Let an attack of the library ask, and look over its shoulder after each step."""

        def on_step(x_adv, rows, estimate):
            if estimate is not None:
                self._compare(rows, estimate)
            for row, spent in zip(rows.tolist(), self.oracle.spent(rows).tolist(), strict=True):
                if not torch.equal(x_adv[row], self.history[row][-1][1]):
                    self.history[row].append((spent, x_adv[row].clone()))
            bar.update(self.oracle.total - seen.pop())
            seen.append(self.oracle.total)

        seen = [0]
        attack(
            self.oracle, self.x, self.y, eps=eps, queries=queries, generator=runtime.generator(SEED), on_step=on_step
        )
        self.cost = self.oracle.spent(range(len(self.x))).tolist()
        bar.update(len(self.x) * queries - seen.pop())  # of patients who were turned before their budget was spent

    def _compare(self, rows, estimate):
        """Estimates against the gradients where they were made: at each image as it was before this step."""
        before = torch.stack([self.history[row][-1][1] for row in rows.tolist()])
        self.estimated[rows] += estimate
        self.true[rows] += slope(self.model, before, self.y[rows])
        spent = self.oracle.spent(rows).tolist()
        for row, asked, cosine in zip(
            rows.tolist(), spent, cosines(self.estimated[rows], self.true[rows]), strict=True
        ):
            self.cosines[row].append((asked, cosine))


class Kept:
    """A Record at the stops of a slider, with the model's answers, in a twentieth of the memory."""

    def __init__(self, record, model, stops, eps):
        self.cost, self.estimates, self.eps = record.cost, any(record.cosines), eps
        self._shown, self._changes, self._told, self._cosines = {}, [], [], []
        for row, history in enumerate(record.history):
            last = {stop: max(k for k, (spent, _) in enumerate(history) if spent <= stop) for stop in stops}
            kept = sorted(set(last.values()))
            images = torch.stack([history[k][1] for k in kept])
            self._changes.append(packed(images - record.x[row], eps))
            self._told.append(metrics.logits(model, images).softmax(1).cpu())
            self._shown |= {(stop, row): kept.index(k) for stop, k in last.items()}
            found = record.cosines[row]
            if not self.estimates:
                asked = [history[k][0] for k in kept[1:]]
                changes = images[1:] - record.x[row]
                found = list(zip(asked, cosines(changes, record.clean_slope[row].expand_as(changes)), strict=True))
            self._cosines.append(found)

    def change(self, stop, row):
        """A perturbation (H, W, 3) in grey levels."""
        return self._changes[row][self._shown[stop, row]] * np.float32(self.eps * LEVELS / BYTE)

    def probabilities(self, stop, row):
        """What the model answers at that stop."""
        return self._told[row][self._shown[stop, row]]

    def answers(self, stop):
        """The class that it answers with, for all patients (N,)."""
        return torch.stack([self.probabilities(stop, row) for row in range(len(self.cost))]).argmax(1)

    def cosine(self, stop, row):
        """The last cosine by then, or None."""
        found = [cosine for asked, cosine in self._cosines[row] if asked <= stop]
        return found[-1] if found else None

    def cosine_line(self, row):
        """All of them: queries, cosines."""
        return tuple(zip(*self._cosines[row], strict=True)) or ((), ())


def slope(model, x, y):
    """The gradient of what the attacks climb, the logit of the other class less that of `y`, shaped as `x`."""
    with torch.enable_grad():
        point = x.detach().requires_grad_()
        logits = model(point)
        other = F.one_hot(1 - y, 2).to(logits) - F.one_hot(y, 2).to(logits)
        (gradient,) = torch.autograd.grad((logits * other).sum(), point)
    return gradient


def cosines(one, other):
    """Cosine of each pair of images, a list."""
    return F.cosine_similarity(one.flatten(1), other.flatten(1), dim=1).tolist() if len(one) else []
