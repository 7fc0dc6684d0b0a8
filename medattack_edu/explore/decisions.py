"""Explorers of what a score means in the clinic: an operating threshold (`threshold`), and labels that readers disagree
on (`agreement`). The closed forms of the latter are in `readers`."""

import math
from functools import lru_cache

import numpy as np

from medattack_edu import metrics
from medattack_edu.explore import canvas as ink
from medattack_edu.explore import readers as theory
from medattack_edu.explore.canvas import Canvas, Plot
from medattack_edu.explore.panels import class_names, percent_range
from medattack_edu.explore.widget import interactive, slider
from medattack_edu.show import percent

THRESHOLDS = tuple(percent / 100 for percent in range(101))
# 23.8 % had the disease in the IDx-DR trial (Abramoff et al. 2018, npj Digit Med 1:39).
PREVALENCES = (0.01, 0.05, 0.10, 0.24, 0.50)
TRIAL = 0.24

ERRORS = tuple(percent / 100 for percent in range(41))
VOTES = (1, 3, 5)
GOOD_AUC = 0.9
PATIENTS = 400  # drawn as dots
SEED = 4


def threshold(scores, classes=("healthy", "disease")):
    """A slider for the threshold of a classifier: whom it misses, and whom it sends on for nothing.

    Args:
        scores: Scores, as `evaluate` gives them, of patients of both classes.
        classes: the two names; class 1 is the disease.

    Returns:
        An Explorer with the controls ``threshold`` (a patient is called sick from this probability on) and
        ``prevalence`` (share of the sick where the model is used). ``.facts(...)`` gives the numbers on the picture.
    """
    study = ThresholdStudy(scores, classes)
    labels = [f"{percent(share)} (IDx-DR trial)" if share == TRIAL else percent(share) for share in PREVALENCES]
    controls = {
        "threshold": slider("threshold", THRESHOLDS, 0.5, [f"{stop:.2f}" for stop in THRESHOLDS]),
        "prevalence": slider("share of sick where it is used", PREVALENCES, TRIAL, labels),
    }
    controls["prevalence"].layout.width = "520px"
    return interactive(study.render, controls, alt=study.alt, facts=study.facts)


class ThresholdStudy:
    """A classifier's operating points and the picture of each."""

    PLOT = 348  # width of either plot, in pixels
    BINS = 20

    def __init__(self, scores, classes):
        self.scores, self.classes = scores, class_names(classes)
        self.sick = scores.labels == 1
        if not self.sick.any() or self.sick.all():
            kind = "sick" if self.sick.any() else "healthy"
            raise ValueError(f"All {len(self.sick)} patients are {kind}. A threshold needs scores of both classes.")
        self.roc, self.histogram = self._roc(), self._histogram()

    def facts(self, threshold, prevalence):
        """What the picture says: the counts ``missed``, ``found``, ``false_alarms`` and ``cleared``, and as Estimates
        ``sensitivity``, ``specificity``, ``miss_rate``, ``false_alarm_rate`` and ``ppv`` (positive predictive value)."""
        called = self.scores.probabilities.double() >= threshold
        found, missed = int((called & self.sick).sum()), int((~called & self.sick).sum())
        alarms, cleared = int((called & ~self.sick).sum()), int((~called & ~self.sick).sum())
        sensitivity = metrics.proportion(found, found + missed)
        specificity = metrics.proportion(cleared, cleared + alarms)
        return {
            "found": found,
            "missed": missed,
            "false_alarms": alarms,
            "cleared": cleared,
            "sensitivity": sensitivity,
            "specificity": specificity,
            "miss_rate": metrics.proportion(missed, found + missed),
            "false_alarm_rate": metrics.proportion(alarms, cleared + alarms),
            "ppv": predictive_value(sensitivity, specificity, prevalence),
        }

    def alt(self, threshold, prevalence):
        """The picture in words."""
        facts = self.facts(threshold, prevalence)
        return (
            f"At the threshold {threshold:.2f} the model misses {facts['missed']} of {facts['missed'] + facts['found']} sick "
            f"and sends {facts['false_alarms']} of {facts['false_alarms'] + facts['cleared']} healthy on for nothing. "
            f"Where {percent(prevalence)} are sick, {sent_on(facts['ppv'])}"
        )

    def render(self, threshold, prevalence):
        """ROC curve with the operating point, the probabilities of both classes with the threshold, and the counts."""
        facts = self.facts(threshold, prevalence)
        canvas = Canvas()
        canvas.title(12, "ROC curve")
        canvas.paste(0, ink.TOP, self.roc.image)
        across, down = self.roc.pixel(100 * facts["false_alarm_rate"], 100 * facts["sensitivity"])
        canvas.dot(across, ink.TOP + down, 7, ink.VERMILLION, ring=ink.INK)
        canvas.title(self.PLOT + 12, f"called sick from {threshold:.2f} on")
        canvas.paste(self.PLOT, ink.TOP, self.histogram.image)
        free = 0.88 * self.tallest  # the line ends where the words begin
        ends = [self.histogram.pixel(threshold, height) for height in (-free, free)]
        canvas.line([(self.PLOT + across, ink.TOP + down) for across, down in ends], ink.VERMILLION, 3)
        self._draw_words(canvas, 2 * self.PLOT + 22, facts, prevalence)
        return canvas.image

    def _draw_words(self, canvas, x, facts, prevalence):
        draw_table(
            canvas, x, 8, ("truth: healthy", "truth: sick"), ("called sick", "called healthy"),
            ((facts["false_alarms"], facts["found"]), (facts["cleared"], facts["missed"])),
            wrong=((True, False), (False, True)),
        )  # fmt: skip
        sick, healthy = facts["missed"] + facts["found"], facts["false_alarms"] + facts["cleared"]
        alarms = f"{facts['false_alarms']} of {healthy} healthy sent on for nothing"
        lines = [
            (f"misses {facts['missed']} of {sick} sick", with_interval(facts["miss_rate"])),
            (alarms, with_interval(facts["false_alarm_rate"])),
            (f"where {percent(prevalence)} of the patients are sick,", sent_on(facts["ppv"])),
        ]
        for row, (strong, plain) in enumerate(lines):
            canvas.text(x, 206 + 70 * row, strong, ink.TITLE - 1, bold=True)
            canvas.text(x, 230 + 70 * row, plain)

    def _roc(self):
        _, sensitivity, specificity = metrics.roc_curve(self.scores.probabilities, self.scores.labels)
        auc = self.scores.auc

        def draw(axes):
            axes.plot([0, 100], [0, 100], ":", color=ink.GREY, linewidth=1.4)
            axes.plot(100 * (1 - specificity), 100 * sensitivity, color=ink.INK, linewidth=2, drawstyle="steps-post")
            axes.set(xlim=(-2, 102), ylim=(-2, 102), aspect="equal", anchor="N")
            axes.set(xlabel="healthy sent on (1 - specificity) in %", ylabel="sick found (sensitivity) in %")
            words = f"AUC {auc:.2f}\n95 %: {auc.low:.2f} to {auc.high:.2f}\nn = {auc.n}"
            axes.text(97, 4, words, ha="right", va="bottom", linespacing=1.5)
            axes.grid(color=ink.PALE, linewidth=0.8)

        return Plot(self.PLOT, ink.HEIGHT - ink.TOP, draw)

    def _histogram(self):
        edges = np.linspace(0, 1, self.BINS + 1)
        sick = np.histogram(self.scores.probabilities[self.sick], edges)[0]
        healthy = np.histogram(self.scores.probabilities[~self.sick], edges)[0]
        self.tallest = 1.2 * max(sick.max(), healthy.max())  # room for the words

        def draw(axes):
            axes.bar(edges[:-1], sick, 1 / self.BINS, align="edge", color=ink.SICK, edgecolor="white")
            axes.bar(edges[:-1], -healthy, 1 / self.BINS, align="edge", color=ink.HEALTHY, edgecolor="white")
            axes.axhline(0, color=ink.INK, linewidth=1)
            axes.set(xlim=(-0.01, 1.01), ylim=(-self.tallest, self.tallest))
            axes.set(xlabel="probability of the disease", ylabel="patients")
            # In the corners that a good classifier leaves empty.
            sick_words, healthy_words = (
                name if name == kind else f"{name} ({kind})"
                for name, kind in zip(self.classes[::-1], ("sick", "healthy"), strict=True)
            )
            corner = {"transform": axes.transAxes, "fontweight": "bold"}
            axes.text(0.02, 1, sick_words, ha="left", va="top", **corner)
            axes.text(0.98, 0.01, healthy_words, ha="right", va="bottom", **corner)
            axes.yaxis.set_major_formatter(lambda count, _: f"{abs(count):g}")
            axes.yaxis.get_major_locator().set_params(integer=True)

        return Plot(self.PLOT, ink.HEIGHT - ink.TOP, draw)


def predictive_value(sensitivity, specificity, prevalence):
    """Positive predictive value by Bayes' rule: the share of the sick among those called sick.

    The interval goes from both lower to both upper ends; that both are off at once is rare, so it is a wide one.

    Args:
        sensitivity, specificity: Estimates.
        prevalence: share of the sick where the model is used.
    """

    def value(sensitivity, specificity):
        sick, healthy = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
        return sick / (sick + healthy) if sick + healthy else math.nan

    low, high = value(sensitivity.low, specificity.low), value(sensitivity.high, specificity.high)
    return metrics.Estimate(value(sensitivity, specificity), low, high, sensitivity.n + specificity.n)


def agreement():
    """Sliders for the readers who made the labels: how good can a model measure against them?

    Returns:
        An Explorer with the controls ``error`` (how often one reader is wrong), ``readers`` (who vote: 1, 3 or 5) and
        ``share`` (of the patients who are sick). ``.facts(...)`` gives the numbers on the picture.
    """
    study = AgreementStudy()
    controls = {
        "error": slider("one reader is wrong in", ERRORS, ERRORS[0], [percent(error) for error in ERRORS]),
        "readers": slider("readers who vote", VOTES, VOTES[0]),
        "share": slider("share of sick", PREVALENCES, PREVALENCES[-1], [percent(share) for share in PREVALENCES]),
    }
    return interactive(study.render, controls, alt=study.alt, facts=study.facts)


class AgreementStudy:
    """Two models, one perfect and one good, scored against the labels of readers who err."""

    CELL, CELLS_TOP = 178, 64  # side of a cell of dots, and where the cells begin, in pixels
    CURVE_WIDTH = 330

    def __init__(self):
        self.models = {"perfect": theory.binormal(1.0), "good": theory.binormal(GOOD_AUC)}
        # One draw for each patient and reader decides at every error rate: dots move one by one, and never back.
        self.draws = np.random.default_rng(SEED).random((PATIENTS, max(VOTES)))
        self.axes = self._axes()

    def facts(self, error, readers, share):
        """What the picture says: ``label_error``, ``agreement`` and ``kappa`` of two readers, ``perfect`` and ``good``
        (each a Measured), and ``patients``: drawn ones, counted [truth][label]."""
        wrong = theory.label_error(error, readers)
        return {
            "label_error": wrong,
            "agreement": theory.agreement(error),
            "kappa": theory.kappa(error, share),
            **{name: theory.measured(true, wrong, share) for name, true in self.models.items()},
            "patients": self._patients(error, readers, share),
        }

    def _patients(self, error, readers, share):
        """Drawn patients, counted by truth and by the label that the readers' majority gives."""
        sick = np.arange(PATIENTS) < round(share * PATIENTS)
        mistaken = (self.draws[:, :readers] < error).sum(1) > readers / 2
        label = sick ^ mistaken
        return tuple(tuple(int(((sick == truth) & (label == said)).sum()) for said in (0, 1)) for truth in (0, 1))

    def alt(self, error, readers, share):
        """The picture in words."""
        facts = self.facts(error, readers, share)
        return (
            f"One reader is wrong in {percent(error)}, {readers} vote, {percent(share)} of the patients are sick. Two readers agree in "
            f"{percent(facts['agreement'])} (kappa {facts['kappa']:.2f}). Measured against their labels a perfect model has AUC "
            f"{facts['perfect'].auc:.2f}, a good one (AUC {GOOD_AUC:.2f}) {facts['good'].auc:.2f}."
        )

    def render(self, error, readers, share):
        """Patients by truth and label, the AUC that can be measured, and the numbers."""
        facts = self.facts(error, readers, share)
        canvas = Canvas()
        self._draw_patients(canvas, facts["patients"])
        x = 408
        canvas.title(x + 12, "the best you can measure")
        canvas.paste(x, ink.TOP, self.axes.image)
        for name, colour in (("perfect", ink.INK), ("good", ink.PURPLE)):
            curve = zip(ERRORS, self._curve(name, readers, share), strict=True)
            points = [self.axes.pixel(100 * step, auc) for step, auc in curve]
            canvas.line([(x + across, ink.TOP + down) for across, down in points], colour, 3)
            across, down = self.axes.pixel(100 * error, facts[name].auc)
            canvas.dot(x + across, ink.TOP + down, 7, colour)
        self._draw_numbers(canvas, x + self.CURVE_WIDTH + 24, facts)
        return canvas.image

    @lru_cache  # noqa: B019 (a study lives as long as its widget, and has a few dozen curves)
    def _curve(self, name, readers, share):
        """Measured AUC at every error rate."""
        return [theory.measured(self.models[name], theory.label_error(error, readers), share).auc for error in ERRORS]

    def _draw_patients(self, canvas, patients):
        left = 34
        canvas.title(left, f"{PATIENTS} simulated patients")
        for truth, name in enumerate(("truth: healthy", "truth: sick")):
            x = left + truth * (self.CELL + 6)
            colour = (ink.HEALTHY, ink.SICK_WORDS)[truth]
            canvas.text(x + self.CELL / 2, self.CELLS_TOP - 8, name, colour=colour, bold=True, anchor="md")
            for row, label in enumerate((1, 0)):
                y, count = self.CELLS_TOP + row * (self.CELL - 4), patients[truth][label]
                wrong = truth != label
                canvas.box(x, y, self.CELL, self.CELL - 10, fill=ink.WARM if wrong else ink.FAINT)
                canvas.text(x + 6, y + 4, f"{count}  label wrong" if wrong else f"{count}", bold=True)
                places = [(x + 8 + 7.7 * (dot % 22), y + 28 + 7.2 * (dot // 22)) for dot in range(count)]
                canvas.dots(places, 3, (ink.HEALTHY, ink.SICK)[truth])
        for row, label in enumerate(("label: sick", "label: healthy")):
            canvas.sideways(14, self.CELLS_TOP + row * (self.CELL - 4) + (self.CELL - 10) / 2, label)

    def _draw_numbers(self, canvas, x, facts):
        canvas.title(x, "against the labels")
        canvas.text(x + 222, 36, "true", anchor="ra", colour=ink.GREY)
        canvas.text(x + 310, 36, "measured", anchor="ra", colour=ink.GREY)
        y = 58
        for name, colour in (("perfect", ink.INK), ("good", ink.PURPLE)):
            canvas.text(x, y, f"a {name} model", ink.TITLE - 1, bold=True, colour=colour)
            for row, what in enumerate(("auc", "sensitivity", "specificity")):
                line = y + 26 + 24 * row
                canvas.text(x + 8, line, what.upper() if what == "auc" else what)
                canvas.text(x + 222, line, f"{getattr(self.models[name], what):.2f}", anchor="ra")
                canvas.text(x + 310, line, f"{getattr(facts[name], what):.2f}", anchor="ra", bold=True)
            y += 112
        lines = [
            ("labels that are wrong", f"{100 * facts['label_error']:.1f} %"),
            ("two readers agree", percent(facts["agreement"])),
            ("Cohen's kappa of two readers", f"{facts['kappa']:.2f}"),
        ]
        for row, (words, number) in enumerate(lines):
            canvas.text(x, 296 + 26 * row, words)
            canvas.text(x + 310, 296 + 26 * row, number, anchor="ra", bold=True)
        canvas.text(x, 384, "readers err independently, alike on all", ink.SMALL, colour=ink.GREY)

    def _axes(self):
        def draw(axes):
            axes.set(xlim=(-1, 41), ylim=(0.48, 1.02), xlabel="one reader is wrong, in %", ylabel="measured AUC")
            axes.axhline(0.5, color=ink.GREY, linestyle=":", linewidth=1.4)
            axes.text(0, 0.505, "guessing", color=ink.GREY)
            axes.grid(color=ink.PALE, linewidth=0.8)

        return Plot(self.CURVE_WIDTH, ink.HEIGHT - ink.TOP, draw)


def draw_table(canvas, x, y, columns, rows, counts, wrong):
    """A table of 2 x 2 counts; those that are mistakes stand on a warm ground."""
    side, high, head = 118, 62, 112
    for column, name in enumerate(columns):
        canvas.text(x + head + (column + 0.5) * (side + 4), y + 18, name, ink.SMALL, anchor="md", bold=True)
    for row, name in enumerate(rows):
        top = y + 26 + row * (high + 4)
        canvas.text(x, top + high / 2, name, ink.SMALL, anchor="lm", bold=True)
        for column in range(2):
            left = x + head + column * (side + 4)
            canvas.box(left, top, side, high, fill=ink.WARM if wrong[row][column] else ink.COOL)
            canvas.text(left + side / 2, top + high / 2, str(counts[row][column]), 24, anchor="mm", bold=True)


def with_interval(estimate):
    """An Estimate in per cent, with its interval."""
    return f"{percent(estimate)} (95 %: {percent_range(estimate)})"


def sent_on(ppv):
    """The positive predictive value in words."""
    if math.isnan(ppv):
        return "nobody is sent on."
    return f"{percent(ppv)} of those sent on are sick ({percent_range(ppv)})."
