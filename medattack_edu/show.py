"""Static pictures, each returned as a figure that carries its own alternative text. Nothing moves, and nothing is measured but a model's answers."""

import base64
import io
import math

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from medattack_edu import metrics

# Okabe and Ito's palette: told apart by colour-blind readers, and in grey by its lightness.
BLUE, ORANGE, GREEN, RED, SKY, PURPLE, YELLOW, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#F0E442",
    "#000000",
)
LINES = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK)
STYLES = ("-", "--", "-.", ":")  # a second way to tell lines apart
DPI = 110
TEXT = {"font.size": 12, "axes.titlesize": 13, "axes.spines.top": False, "axes.spines.right": False}


class Picture(Figure):
    """A matplotlib figure with an `alt` text. A notebook shows it as the last line of a cell, without pyplot."""

    def __init__(self, width, height, alt=""):
        super().__init__(figsize=(width, height), layout="constrained", dpi=DPI, facecolor="white")
        FigureCanvasAgg(self)
        self.alt = alt

    def png(self):
        """The picture as PNG bytes."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=DPI)
        return buffer.getvalue()

    def _repr_mimebundle_(self, include=None, exclude=None):
        data = {"image/png": base64.b64encode(self.png()).decode(), "text/plain": self.alt or "a picture"}
        return data, {"image/png": {"alt": self.alt}}


def picture(width, height, rows=1, columns=1, alt="", **grid):
    """An empty Picture (size in inches) and its axes, in the course's style.

    Returns:
        The picture and its axes: one, or an array (rows, columns) if there are several.
    """
    import matplotlib

    with matplotlib.rc_context(TEXT):
        figure = Picture(width, height, alt)
        return figure, figure.subplots(rows, columns, **grid)


def pixels(image):
    """A float image (3, H, W) in [0, 1] as an array (H, W, 3) that matplotlib draws."""
    return image.detach().cpu().clamp(0, 1).permute(1, 2, 0).float().numpy()


def answers(model, x):
    """The model's class for each image and its probability: two lists."""
    probability, answer = metrics.logits(model, x).softmax(1).max(1)
    return answer.tolist(), probability.tolist()


def percent(probability):
    """A probability for people: 97 %, and never 100 % of what is only nearly sure."""
    if 0.995 <= probability < 1:
        return f"{min(math.floor(probability * 10000) / 100, 99.99):.4g} %"
    return f"{100 * probability:.0f} %"


def readable(name):
    """A class's name as people write it."""
    return str(name).replace("_", " ")


def gallery(x, y, classes, model=None, columns=8):
    """Images in a grid, each with its diagnosis; with a model, also its answer.

    Args:
        x: images (N, 3, H, W) in [0, 1]. y: labels (N,). classes: names.
        model: optional; its wrong answers are written in red, with a cross.
        columns: images in a row.
    """
    n = len(x)
    columns = max(1, min(columns, n))
    rows = max(1, math.ceil(n / columns))
    counts = [(int((y == k).sum()), readable(name)) for k, name in enumerate(classes)]
    alt = f"{n} images: " + ", ".join(f"{count} {name}" for count, name in counts if count) + "."
    height = 1.75 if model is None else 2.2
    figure, axes = picture(1.5 * columns, height * rows, rows, columns, alt, squeeze=False)
    said = answers(model, x) if model is not None else None
    if said:
        right = sum(answer == int(truth) for answer, truth in zip(said[0], y, strict=True))
        figure.alt += f" The model is right on {right} of {n}."
    for i, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if i >= n:
            continue
        ax.imshow(pixels(x[i]))
        ax.set_title(readable(classes[int(y[i])]), fontsize=10, pad=3)
        if said:
            _verdict(ax, said[0][i], said[1][i], int(y[i]), classes)
    return figure


def compare(versions, y, model, classes=None, columns=6):
    """The same patients in several versions, a row each, with the model's answer under every image.

    Args:
        versions: {"clean": x, "noise": x_noisy, ...}, images (N, 3, H, W) each.
        y: labels (N,). model: maps images to logits.
        classes: names; default: the numbers.
        columns: how many patients are drawn.
    """
    n = min(columns, len(y))
    answered = {name: answers(model, x[:n]) for name, x in versions.items()}
    known = [int(truth) for truth in y] + [answer for said, _ in answered.values() for answer in said]
    classes = classes or [str(k) for k in range(max(known, default=1) + 1)]
    rates = {}
    figure, axes = picture(1.75 * max(n, 1) + 0.4, 2.25 * len(versions), len(versions), max(n, 1), squeeze=False)
    for row, (name, x) in zip(axes, versions.items(), strict=True):
        said, sure = answered[name]
        rates[name] = sum(a == int(t) for a, t in zip(said, y[:n], strict=True))
        for ax in row:
            _bare(ax)
        for i, ax in enumerate(row[:n]):
            ax.imshow(pixels(x[i]))
            _verdict(ax, said[i], sure[i], int(y[i]), classes)
        row[0].set_ylabel(name, fontsize=13)
    for i, ax in enumerate(axes[0][:n]):
        ax.set_title(readable(classes[int(y[i])]), fontsize=11)
    figure.alt = (
        f"{n} patients. Right answers of the model: " + ", ".join(f"{k} {v} of {n}" for k, v in rates.items()) + "."
    )
    return figure


def perturbation(x, x_adv, model, y, classes, factor=None):
    """One patient before and after, and between them the perturbation: as it is, and magnified.

    Args:
        x, x_adv: one image each (3, H, W) or (1, 3, H, W).
        model: maps images to logits. y: the true label. classes: names.
        factor: of the magnification; default: so that the largest change fills the range.
    """
    x, x_adv = (image[0] if image.ndim == 4 else image for image in (x, x_adv))
    change = (x_adv - x).cpu()
    largest = change.abs().max().item()
    factor = factor or max(1, math.floor(0.5 / largest) if largest else 1)
    said, sure = answers(model, torch.stack([x, x_adv]))
    figure, axes = picture(12, 3.9, 1, 4)
    panels = (x, 0.5 + change, 0.5 + factor * change, x_adv)
    titles = ("before", "change, as it is", f"change, {factor} times", "after")
    for ax, panel, title in zip(axes, panels, titles, strict=True):
        _bare(ax)
        ax.imshow(pixels(panel))
        ax.set_title(title)
    for ax, answer, probability in zip((axes[0], axes[3]), said, sure, strict=True):
        _verdict(ax, answer, probability, int(y), classes)
    axes[1].set_xlabel("grey means none", fontsize=11)
    axes[2].set_xlabel(f"largest {255 * largest:.3g}/255", fontsize=11)
    figure.alt = (
        f"A {classes[int(y)]} image. Before: the model says {classes[said[0]]}, {percent(sure[0])}. After a change of at most "
        f"{255 * largest:.3g}/255 a pixel, drawn as it is and {factor} times: {classes[said[1]]}, {percent(sure[1])}."
    )
    return figure


def curves(lines, *, xlabel, ylabel, title, chance=None, logx=False):
    """Lines of estimates with their 95 % bands.

    Args:
        lines: {name: (xs, estimates)}; estimates are `metrics.Estimate`s, or plain numbers drawn without a band.
        xlabel, ylabel, title: with units.
        chance: a level to mark as guessing, or None.
        logx: a logarithmic horizontal axis.
    """
    figure, ax = picture(8.5, 4.6)
    for i, (name, (xs, values)) in enumerate(lines.items()):
        colour, style = LINES[i % len(LINES)], STYLES[i % len(STYLES)]
        ax.plot(xs, [float(v) for v in values], style, color=colour, marker="o", markersize=5, linewidth=2, label=name)
        if all(isinstance(v, metrics.Estimate) for v in values):
            ax.fill_between(
                xs, [v.low for v in values], [v.high for v in values], color=colour, alpha=0.15, linewidth=0
            )
    if chance is not None:
        ax.axhline(chance, color="0.45", linewidth=1, linestyle=(0, (1, 3)), label="guessing")
    if logx:
        ax.set_xscale("log")
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.grid(alpha=0.25)
    ax.legend(frameon=False)
    ends = "; ".join(f"{name} from {float(v[0]):.2f} to {float(v[-1]):.2f}" for name, (_, v) in lines.items())
    figure.alt = f"{title}. {ylabel} against {xlabel}: {ends}."
    return figure


def roc(curves_by_name, title="ROC curve"):
    """ROC curves: sensitivity against false alarms.

    Args:
        curves_by_name: {name: Scores}, as `evaluate` gives them.
    """
    figure, ax = picture(5.6, 5.2)
    for i, (name, scores) in enumerate(curves_by_name.items()):
        _, sensitivity, specificity = metrics.roc_curve(scores.probabilities, scores.labels)
        label = f"{name}: AUC {float(scores.auc):.2f} ({scores.auc.low:.2f} to {scores.auc.high:.2f})"
        ax.plot(
            1 - specificity, sensitivity, STYLES[i % len(STYLES)], color=LINES[i % len(LINES)], linewidth=2, label=label
        )
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=(0, (1, 3)), label="guessing: 0.50")
    ax.set(xlabel="false alarms among the healthy", ylabel="sensitivity", title=title, aspect="equal")
    ax.grid(alpha=0.25)
    ax.legend(frameon=False, loc="lower right", fontsize=10)
    figure.alt = f"{title}. " + "; ".join(f"{n} AUC {float(s.auc):.2f}" for n, s in curves_by_name.items()) + "."
    return figure


def probabilities(scores, classes, threshold=0.5, title="What the model answers"):
    """How the probability of the disease is spread in each class, with the threshold between the two answers.

    Args:
        scores: as `evaluate` gives them. classes: names. threshold: where "sick" begins.
    """
    import numpy as np

    figure, ax = picture(8.5, 3.8)
    edges = np.linspace(0, 1, 26)
    for label, (colour, hatch) in enumerate(((BLUE, ""), (ORANGE, "//"))):
        values = scores.probabilities[scores.labels == label].numpy()
        ax.hist(
            values,
            edges,
            color=colour,
            alpha=0.65,
            hatch=hatch,
            edgecolor="white",
            label=f"{classes[label]} ({len(values)})",
        )
    ax.axvline(threshold, color=BLACK, linewidth=2, linestyle="--", label=f"threshold {threshold:.2f}")
    ax.set(xlabel=f"probability of {classes[1]}", ylabel="images", title=title)
    ax.legend(frameon=False)
    figure.alt = (
        f"{title}. Histogram of the probability of {classes[1]}: sensitivity {float(scores.sensitivity):.2f}, specificity "
        f"{float(scores.specificity):.2f} at 0.5; the line stands at {threshold:.2f}."
    )
    return figure


def training(histories, title="Training"):
    """Loss by step, smoothed, and AUC by epoch.

    Args:
        histories: {name: History}, as `finetune` gives them.
    """
    figure, (left, right) = picture(11, 3.8, 1, 2)
    for i, (name, history) in enumerate(histories.items()):
        look = {"color": LINES[i % len(LINES)], "linestyle": STYLES[i % len(STYLES)], "linewidth": 2, "label": name}
        smooth = []
        for loss in history.loss:
            smooth.append(0.9 * smooth[-1] + 0.1 * loss if smooth else loss)
        left.plot(range(1, len(smooth) + 1), smooth, **look)
        right.plot(range(1, len(history.auc) + 1), history.auc, marker="o", **look)
    left.set(xlabel="step", ylabel="loss (smoothed)", title=title)
    right.set(xlabel="epoch", ylabel="AUC", title="AUC after each epoch", ylim=(0.4, 1.01))
    right.xaxis.get_major_locator().set_params(integer=True)
    for ax in (left, right):
        ax.grid(alpha=0.25)
        ax.legend(frameon=False)
    last = "; ".join(f"{name}: AUC {history.auc[-1]:.2f}" for name, history in histories.items() if history.auc)
    figure.alt = f"{title}: loss by step and AUC by epoch. At the end {last}."
    return figure


def transfer(matrix, title="Success of attacks made on one model and tried on another"):
    """A heat map of a `metrics.TransferMatrix`: rows are where attacks were made, columns where they were tried.

    Each cell says the success and its 95 % interval. A frame marks attacks tried on the model that they were made on.
    """
    rows, columns = matrix.sources, matrix.targets
    values = [[float(matrix[source, target]) for target in columns] for source in rows]
    figure, ax = picture(2.6 + 1.5 * len(columns), 1.4 + 0.72 * len(rows))
    drawn = ax.imshow(values, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for row, source in enumerate(rows):
        for column, target in enumerate(columns):
            cell = matrix[source, target]
            colour = "black" if values[row][column] > 0.55 else "white"
            ax.text(column, row - 0.1, percent(float(cell)), ha="center", va="center", color=colour, fontsize=13)
            interval = f"{100 * cell.low:.0f} to {100 * cell.high:.0f} %"
            ax.text(column, row + 0.28, interval, ha="center", va="center", color=colour, fontsize=9)
            if source == target:
                for edge, width in (("black", 5), ("white", 2)):  # seen on any ground
                    frame = {"fill": False, "edgecolor": edge, "linewidth": width}
                    ax.add_patch(Rectangle((column - 0.47, row - 0.46), 0.94, 0.92, **frame))
    ax.set_xticks(range(len(columns)), [f"{readable(name)}\n(n = {matrix[rows[0], name].n})" for name in columns])
    ax.set_yticks(range(len(rows)), [readable(name) for name in rows])
    ax.set(xlabel="tried on", ylabel="made on", title=title)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    figure.colorbar(drawn, label="right answers turned", shrink=0.9)
    told = "; ".join(
        f"{source} on {target} {percent(float(matrix[source, target]))}" for source in rows for target in columns
    )
    figure.alt = f"{title}. Heat map: {told}."
    return figure


def _bare(ax):
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)


def _verdict(ax, answer, probability, truth, classes):
    """Write the model's answer under an image, in two lines; a wrong one in red and with a cross: colour is not alone."""
    right = answer == truth
    text = f"{'✓' if right else '✗'} {readable(classes[answer])}\n{percent(probability)}"
    ax.text(
        0.5,
        -0.04,
        text,
        transform=ax.transAxes,
        ha="center",
        va="top",
        fontsize=10,
        color="#00664b" if right else "#b04a00",
        fontweight="normal" if right else "bold",
    )
