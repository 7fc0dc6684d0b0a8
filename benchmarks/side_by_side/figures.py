"""The two pictures of a comparison, as SVG: who takes how long, and how it grows. Nothing is measured here."""

import matplotlib
from matplotlib.figure import Figure

from benchmarks.side_by_side.rounds import Spread
from medattack_edu.explore.canvas import BLUE, GREY, INK, PALE, SKY, VERMILLION

COLOURS = {"medattack": VERMILLION, "limit": INK, "plain loop": BLUE}
AXES = {
    "batch": "images in the batch",
    "steps": "steps",
    "side": "side of the images in pixels",
    "model": "multiply-adds of a forward pass, thousand millions",
}
STEADY = {"svg.hashsalt": "side by side", "svg.fonttype": "path", "font.size": 10}


def bars(parts, path):
    """Bars for each part: the median of what `page.measure_of` says, whiskers from the quickest to the slowest round."""
    from benchmarks.side_by_side.page import measure_of

    shown = [part for part in parts if part["rows"]]
    with matplotlib.rc_context(STEADY):
        heights = [1 + sum(1 for row in part["rows"] if measure_of(part, row)) for part in shown]
        figure = Figure(figsize=(9, 0.24 * sum(heights) + 0.55 * len(shown)), layout="constrained")
        every = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axes, part in zip(every, shown, strict=True):
            rows = [(row, Spread(*measure_of(part, row))) for row in part["rows"] if measure_of(part, row)][::-1]
            names = [f"{row['who']} ({row['model']})" for row, _ in rows]
            colours = [_colour(part, row) for row, _ in rows]
            middles = [spread.median for _, spread in rows]
            whiskers = [[s.median - s.low for _, s in rows], [s.high - s.median for _, s in rows]]
            axes.barh(names, middles, xerr=whiskers, color=colours, ecolor=INK, error_kw={"linewidth": 1})
            for place, spread in enumerate(s for _, s in rows):
                axes.text(spread.high, place, f"  {spread.median:.3g}", va="center", fontsize=8.5)
            axes.set_title(f"{part['title']}: {part['unit']}", loc="left", fontsize=10.5, fontweight="bold")
            axes.margins(x=0.1)
            axes.grid(axis="x", color=PALE)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
        _save(figure, path)


def _colour(part, row):
    """Ours and the yardsticks have their own; a library's is darker where its model is the slower one."""
    if part["kind"] == "early stop":
        return COLOURS["medattack"]
    return COLOURS.get(row["who"].partition(",")[0], SKY if row["model"] == "frozen" else GREY)


def growth(points, path):
    """Four small plots: seconds against batch, steps, side and model."""
    with matplotlib.rc_context(STEADY):
        figure = Figure(figsize=(9, 6.4), layout="constrained")
        for axes, (axis, rows) in zip(figure.subplots(2, 2).flat, points.items(), strict=True):
            rows = sorted(rows, key=lambda row: row["at"])
            at = [row["at"] for row in rows]
            for who, marker in (("plain loop", "s"), ("medattack", "o")):
                spreads = [Spread.of(row[who]) for row in rows]
                axes.fill_between(
                    at, [s.low for s in spreads], [s.high for s in spreads], color=COLOURS[who], alpha=0.2, lw=0
                )
                axes.plot(at, [s.median for s in spreads], marker=marker, color=COLOURS[who], label=who)
            if axis == "model":
                axes.set(xscale="log", yscale="log")
                for number, row in enumerate(rows):  # below and above in turn: neighbours are close
                    who, away = ("plain loop", 8) if number % 2 else ("medattack", -14)
                    there = (row["at"], Spread.of(row[who]).median)
                    axes.annotate(row["label"], there, (0, away), textcoords="offset points", ha="center", fontsize=8)
                axes.margins(0.15, 0.2)
            else:
                axes.set(xlim=(0, None), ylim=(0, None))
            axes.set(xlabel=AXES[axis], ylabel="seconds")
            axes.grid(color=PALE)
            axes.spines[["top", "right"]].set_visible(False)
        figure.axes[0].legend(frameon=False)
        _save(figure, path)


def _save(figure, path):
    figure.savefig(path, format="svg", metadata={"Date": None})
