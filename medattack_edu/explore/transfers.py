"""The explorer of transfer: an attack made on one model, tried on another, and the matrix of all pairs.

The attacks themselves are in `medattack_edu.attacks`; everything here is computed once, and a move only draws.
"""

import math

import matplotlib
import numpy as np
from tqdm.auto import tqdm

from medattack_edu import metrics, runtime
from medattack_edu.attacks.gradient import random_noise
from medattack_edu.attacks.transfer import transfer_attack
from medattack_edu.explore import canvas as ink
from medattack_edu.explore.canvas import Canvas, enlarged
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
from medattack_edu.show import percent, readable

STOPS = (0, 1, 2, 4, 8)
SHOWN = 12  # patients whose images are kept; all of them count in the matrix
STEPS = 5
MOMENTUM = 1.0
NOISE = "noise"  # the control's row
MOST_MODELS = 6  # that the matrix has room for
SEED = 0
CONTROL_WIDTH = "256px"  # four in a row


def transfer(models, x, y, classes=("healthy", "disease"), targets=None, stops=STOPS, steps=STEPS):
    """Choose whom an attack is made on and whom it is tried on: the images, the answers, and the matrix of all pairs.

    The attack is PGD with momentum (`attacks.transfer_attack`); random noise of the same size is one more row.

    Args:
        models: {name: model}, up to 6 to make attacks on; each maps images in [0, 1] to two logits and is frozen if it isn't.
        x: images (N, 3, H, W) in [0, 1]; the first 12 can be looked at, all of them count.
        y: true labels (N,), int64.
        classes: the two names; class 1 is the disease.
        targets: {name: model}, up to 6 to try the attacks on; default: the same.
        stops: sizes to stop at, in grey levels, i.e. units of 1/255.
        steps: of each attack.

    Returns:
        An Explorer with the controls ``source`` and ``target`` (names; "noise" is a source too), ``eps`` (pixel units of the
        [0, 1] scale, e.g. ``4 / 255``) and ``patient`` (row of x). ``.facts(...)`` gives the numbers on the picture.
    """
    study = TransferStudy(models, x, y, classes, models if targets is None else targets, stops, steps)
    first = next((name for name in study.sources if name != study.targets[0]), NOISE)
    controls = {
        "source": chooser("made on", [(readable(name), name) for name in study.sources], first),
        "target": chooser("tried on", [(readable(name), name) for name in study.targets]),
        "eps": slider("eps", study.eps, study.eps[-2:][0], [in_levels(size) for size in study.eps]),
        "patient": chooser("patient", patients(y[:SHOWN], study.classes)),
    }
    for control in controls.values():
        control.layout.width = CONTROL_WIDTH
    return interactive(study.render, controls, alt=study.alt, facts=study.facts)


class TransferStudy:
    """Every attack on every model at every size, and the picture of each."""

    SIDE, GAP = 196, 8  # of the three images, in pixels
    NAMES = 92  # room for the names of the rows

    def __init__(self, models, x, y, classes, targets, stops, steps):
        check_models(models, targets)
        if steps < 1:
            raise ValueError(f"steps={steps}: an attack takes a step or more.")
        self.eps = tuple(stop / LEVELS for stop in sorted(set(stops)))
        every = {
            id(model): ready(model, x, y, classes, max(self.eps)) for model in (*models.values(), *targets.values())
        }
        self.sources, self.targets = (*models, NOISE), tuple(targets)
        self.same = {(s, t) for s in models for t in targets if models[s] is targets[t]}
        self.classes, self.truth, self.n = class_names(classes), y.cpu(), len(x)
        self.magnified = magnification(max(self.eps) or 1 / LEVELS)
        self.images = as_rows(x[:SHOWN])
        judges = {name: every[id(model)] for name, model in targets.items()}
        self.clean = {name: metrics.logits(judge, x).softmax(1).cpu() for name, judge in judges.items()}
        self.changes, self.answers = {}, {}
        with tqdm(total=len(self.sources) * len(self.eps), desc=f"attacking {len(x)} patients", leave=False) as bar:
            for source in self.sources:
                for stop, eps in enumerate(self.eps):
                    x_adv = self._attacked(every[id(models[source])] if source in models else None, x, y, eps, steps)
                    self.changes[source, stop] = packed(x_adv[:SHOWN] - x[:SHOWN], eps)
                    for target, judge in judges.items():
                        self.answers[source, target, stop] = metrics.logits(judge, x_adv).softmax(1).cpu()
                    bar.update()
        self.success = {key: self._success(*key) for key in self.answers}

    def _attacked(self, model, x, y, eps, steps):
        """The images after an attack made on `model`, or after noise where there is none."""
        if not eps:
            return x
        generator = runtime.generator(SEED)
        if model is None:
            return random_noise(x, eps=eps, generator=generator)
        return transfer_attack(model, x, y, eps=eps, steps=steps, momentum=MOMENTUM, diversity=0, generator=generator)

    def _success(self, source, target, stop):
        """Success over the images that the target had right before: of all, and {label: of that class}."""
        right = self.clean[target].argmax(1) == self.truth
        turned = right & (self.answers[source, target, stop].argmax(1) != self.truth)
        of_class = [self.truth == label for label in range(2)]
        by_class = {
            label: metrics.proportion(turned[mine].sum(), right[mine].sum()) for label, mine in enumerate(of_class)
        }
        return metrics.proportion(turned.sum(), right.sum()), by_class

    def facts(self, source, target, eps, patient):
        """What the picture says: ``success`` (an Estimate) and ``by_class`` ({class: Estimate}) of this source and target, and
        of the patient ``truth``, ``clean`` and ``attacked`` (the target's probability of each class), ``counted`` (had the
        target this patient right before?), ``answer`` and ``largest_change`` (in grey levels)."""
        stop = self._stop(eps)
        success, by_class = self.success[source, target, stop]
        attacked = self.answers[source, target, stop][patient]
        return {
            "source": source,
            "target": target,
            "eps": self.eps[stop],
            "success": success,
            "by_class": {self.classes[label]: rate for label, rate in by_class.items()},
            "truth": self.classes[self.truth[patient]],
            "clean": tuple(self.clean[target][patient].tolist()),
            "attacked": tuple(attacked.tolist()),
            "counted": bool(self.clean[target][patient].argmax() == self.truth[patient]),
            "answer": self.classes[attacked.argmax()],
            "largest_change": float(np.abs(self.change(source, stop, patient)).max()),
        }

    def alt(self, **values):
        """The picture in words."""
        facts = self.facts(**values)
        by_class = "; ".join(f"{name} {rate}" for name, rate in facts["by_class"].items())
        return (
            f"Patient {values['patient'] + 1}, truth {facts['truth']}. {self._made_on(facts['source'])}, eps "
            f"{in_levels(facts['eps'])}, tried on {readable(facts['target'])}: it answers {facts['answer']} with probability "
            f"{max(facts['attacked']):.2f}, before the attack {facts['truth']} with {facts['clean'][self._label(values['patient'])]:.2f}. "
            f"Over all patients this turns {facts['success']} of its right answers. By class: {by_class}."
        )

    def change(self, source, stop, patient):
        """A perturbation (H, W, 3) in grey levels."""
        return self.changes[source, stop][patient] * np.float32(self.eps[stop] * LEVELS / BYTE)

    def render(self, source, target, eps, patient):
        """The clean image, the perturbation, the attacked image, the target's answers, and the matrix."""
        facts, stop = self.facts(source, target, eps, patient), self._stop(eps)
        change = self.change(source, stop, patient)
        left, middle, right = (8 + column * (self.SIDE + self.GAP) for column in range(3))
        canvas = Canvas()
        for x, title, image in (
            (left, "clean image", enlarged(as_bytes(self.images[patient]), self.SIDE)),
            (middle, f"perturbation × {self.magnified}", magnified(change, self.magnified, self.SIDE)),
            (
                right,
                f"attacked, eps {in_levels(self.eps[stop])}",
                enlarged(as_bytes(self.images[patient] + change), self.SIDE),
            ),
        ):
            canvas.title(x, title)
            canvas.paste(x, ink.TOP, image)
        below, who = ink.TOP + self.SIDE + 8, readable(target)
        for x, when, answer in ((left, "before", facts["clean"]), (right, "after", facts["attacked"])):
            canvas.text(x, below, ink.fitted(f"{who} {when}:", self.SIDE), ink.SMALL, ink.GREY)
            draw_answer(canvas, x, below + 20, self.SIDE, answer, self.classes, self._label(patient))
        for row, words in enumerate(self._about(facts)):
            canvas.text(middle + 4, below + 20 + 21 * row, words, ink.SMALL)
        self._draw_matrix(canvas, right + self.SIDE + 20, source, target, stop)
        return canvas.image

    def _about(self, facts):
        """What stands below the perturbation, line by line: where it comes from, and whether the patient counts."""
        made, tried = (ink.fitted(readable(facts[key]), self.SIDE - 80) for key in ("source", "target"))
        where = (
            ["random noise: no model", "was needed for it"]
            if facts["source"] == NOISE
            else [f"made on {made},", f"tried on {tried}"]
        )
        if (facts["source"], facts["target"]) in self.same:
            where = [f"made and tried on {made}:", "a white box"]
        counted = [] if facts["counted"] else ["wrong before the attack:", "this patient doesn't count"]
        return [*where, f"largest change {facts['largest_change']:.3g}/255", *counted]

    def _draw_matrix(self, canvas, x, source, target, stop):
        """Success of every source on every target at this size, with the chosen cell framed and spelt out below."""
        wide = (ink.WIDTH - 8 - x - self.NAMES) / len(self.targets)
        tall = min(40, 236 // len(self.sources))
        canvas.title(x, f"right answers turned, eps {in_levels(self.eps[stop])}")
        top = ink.TOP + 42
        canvas.text(x + self.NAMES - 8, ink.TOP + 12, "tried on →", ink.SMALL, ink.GREY, anchor="rm")
        canvas.text(x, ink.TOP + 29, "made on ↓", ink.SMALL, ink.GREY, anchor="lm")
        for column, name in enumerate(self.targets):
            centre, chosen = x + self.NAMES + (column + 0.5) * wide, name == target
            canvas.text(
                centre,
                ink.TOP + 12,
                ink.fitted(readable(name), wide - 4, ink.SMALL, chosen),
                ink.SMALL,
                bold=chosen,
                anchor="mm",
            )
            n = self.success[source, name, stop][0].n
            canvas.text(centre, ink.TOP + 29, f"n = {n}", ink.SMALL, ink.GREY, anchor="mm")
        for row, name in enumerate(self.sources):
            # A gap before the control: it is no attack.
            y = top + row * tall + (6 if name == NOISE else 0)
            words = ink.fitted(readable(name), self.NAMES - 8, ink.SMALL, name == source)
            canvas.text(x, y + tall / 2, words, ink.SMALL, bold=name == source, anchor="lm")
            for column, tried in enumerate(self.targets):
                rate = self.success[name, tried, stop][0]
                self._draw_cell(canvas, round(x + self.NAMES + column * wide), round(y), round(wide), tall, rate)
                if (name, tried) == (source, target):
                    marked = (round(x + self.NAMES + column * wide), round(y), round(wide), tall)
        for grow, colour in ((1, "white"), (0, ink.VERMILLION), (-1, ink.VERMILLION), (-2, ink.VERMILLION)):
            canvas.box(marked[0] - grow, marked[1] - grow, marked[2] + 2 * grow, marked[3] + 2 * grow, outline=colour)
        self._spell_out(canvas, x, top + len(self.sources) * tall + 14, source, target, stop)

    def _draw_cell(self, canvas, x, y, wide, tall, rate):
        """A cell of the matrix: its success as a colour, in per cent, and its interval."""
        known = not math.isnan(rate)
        ground = matplotlib.colors.to_hex(matplotlib.colormaps["cividis"](float(rate))) if known else ink.PALE
        letters = ink.INK if not known or rate > 0.55 else "white"
        canvas.box(x + 1, y + 1, wide - 2, tall - 2, fill=ground)
        canvas.text(
            x + wide / 2,
            y + tall / 2 - 7,
            percent(rate) if known else "nobody",
            ink.BODY,
            letters,
            bold=True,
            anchor="mm",
        )
        if known:
            interval = f"{100 * rate.low:.0f} to {100 * rate.high:.0f}"
            canvas.text(x + wide / 2, y + tall / 2 + 9, interval, ink.SMALL - 1, letters, anchor="mm")

    def _spell_out(self, canvas, x, y, source, target, stop):
        """The chosen cell in words: all patients, then each class."""
        success, by_class = self.success[source, target, stop]
        made, tried = readable(source), readable(target)
        canvas.text(
            x, y, ink.fitted(f"{made} → {tried}: {rate_in_words(success)}", ink.WIDTH - 8 - x, bold=True), bold=True
        )
        for label, rate in by_class.items():
            colour = (ink.HEALTHY, ink.SICK)[label]
            line = y + 26 + 24 * label
            canvas.box(x, line + 2, 12, 12, fill=colour)
            canvas.text(
                x + 20, line, ink.fitted(f"{self.classes[label]} turned: {rate_in_words(rate)}", ink.WIDTH - 28 - x)
            )

    def _made_on(self, source):
        return "Random noise" if source == NOISE else f"An attack made on {readable(source)}"

    def _label(self, patient):
        return int(self.truth[patient])

    def _stop(self, eps):
        """Number of the stop at `eps`; a number between two stops goes to the nearer one."""
        return int(np.abs(np.array(self.eps) - eps).argmin())


def check_models(models, targets):
    """Raise a ValueError for models that the matrix can't show."""
    for what, chosen in (("models", models), ("targets", targets)):
        if not isinstance(chosen, dict) or not 0 < len(chosen) <= MOST_MODELS:
            came = f"{len(chosen)} came" if isinstance(chosen, dict) else f"a {type(chosen).__name__} came"
            raise ValueError(f"{what} must be a dictionary {{name: model}} of 1 to {MOST_MODELS}; {came}.")
    if NOISE in models:
        raise ValueError(f"{NOISE!r} is the control's name here. Call the model otherwise.")


def rate_in_words(rate):
    """An Estimate with its interval and n, in per cent."""
    return "nobody was right before" if math.isnan(rate) else f"{percent(rate)} ({percent_range(rate)}, n = {rate.n})"
