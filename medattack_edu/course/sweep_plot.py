"""The plot of a sweep: which claims hold where, and how results change. What is run and kept is decided in `sweep`."""

import textwrap
from typing import NamedTuple

from medattack_edu.course.lesson_run import LessonRun
from medattack_edu.course.notices import GOOD, NOT_YET

WIDTH = 11.0  # inches
CLAIM_HEIGHT, LABEL_HEIGHT, RESULT_HEIGHT = (
    0.42,
    1.5,
    3.1,
)  # inches: of a claim, of what stands around them, of a result
RESULTS_IN_A_ROW = 3
CLAIM_WRAP, NAME_WRAP = 52, 34  # characters
LEVEL_LABELS = 8  # more columns than these get upright labels
GONE, NOT_MADE = "#b0b0b0", "#e8e8e8"
# Okabe and Ito's colours, told apart by colour-blind readers; markers tell the lines apart without colour.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = "osD^vPX"


class Column(NamedTuple):
    """A finished run, and its swept values as they were written."""

    lesson: LessonRun
    texts: dict


def draw(columns, sweep):
    """One figure: for each lesson a grid of claims against combinations, then a panel for each result.

    Args:
        columns: `Column` objects, in the order of the grid.
        sweep: ``{name: {text: value}}``.

    Returns:
        A matplotlib figure that no window knows of.
    """
    from matplotlib.figure import Figure

    lessons = {}
    for column in columns:
        lessons.setdefault(column.lesson.name, []).append(column)
    bands = [band for name, its in lessons.items() for band in _bands(name, its, sweep)]
    heights = [height for height, _, _ in bands]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.6), layout="constrained")
    figure.suptitle(f"A sweep of {' and '.join(sweep)}", fontsize=14, fontweight="bold")
    for part, (_, panels, draw_band) in zip(
        _in_list(figure.subfigures(len(bands), 1, height_ratios=heights)), bands, strict=True
    ):
        draw_band(_in_list(part.subplots(1, panels)))
    return figure


def _bands(name, columns, sweep):
    """What is drawn below each other for one lesson: (height in inches, panels side by side, function that draws them)."""
    claims = list(dict.fromkeys(claim["text"] for column in columns for claim in column.lesson.claims))
    results = list(dict.fromkeys(result["name"] for column in columns for result in column.lesson.results))
    yield (
        LABEL_HEIGHT + CLAIM_HEIGHT * max(1, len(claims)), 1,
        lambda axes: _draw_claims(axes[0], name, columns, claims, sweep),
    )  # fmt: skip
    for first in range(0, len(results), RESULTS_IN_A_ROW):
        few = results[first : first + RESULTS_IN_A_ROW]
        yield RESULT_HEIGHT, RESULTS_IN_A_ROW, lambda axes, few=few: _draw_results(axes, name, columns, few, sweep)


def _draw_claims(axes, name, columns, claims, sweep):
    """A row a claim, a column a combination. Symbols say what colours say."""
    for at, column in enumerate(columns):
        made = {claim["text"]: claim["holds"] for claim in column.lesson.claims}
        gone = "stopped" if column.lesson.error else "not made"
        for row, claim in enumerate(claims or [""]):
            symbol, colour = {
                True: ("✓", GOOD.colour), False: ("✗", NOT_YET.colour), "stopped": ("!", GONE), "not made": ("", NOT_MADE),
            }[made.get(claim, gone)]  # fmt: skip
            axes.add_patch(_cell(at, row, colour))
            axes.text(at, row, symbol, ha="center", va="center", color="white", fontsize=11, fontweight="bold")
    axes.set(
        xlim=(-0.5, max(len(columns), 4) - 0.5), ylim=(max(1, len(claims)) - 0.5, -0.5),
        xlabel=", ".join(sweep), ylabel="claim",
    )  # fmt: skip
    axes.set_title(f"{name}: claims (✓ holds, ✗ does not hold, ! the run failed before)", fontsize=11, loc="left")
    labels = ["\n".join([*column.texts.values(), *["failed"] * bool(column.lesson.error)]) for column in columns]
    upright = len(columns) > LEVEL_LABELS
    axes.set_xticks(
        range(len(columns)), [label.replace("\n", ", ") for label in labels] if upright else labels,
        rotation=90 if upright else 0, fontsize=9,
    )  # fmt: skip
    axes.set_yticks(
        range(max(1, len(claims))),
        [textwrap.fill(claim, CLAIM_WRAP) for claim in claims] or ["(none was made)"],
        fontsize=8,
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_results(panels, name, columns, results, sweep):
    for axes, result in zip(panels, results, strict=False):
        _draw_result(axes, name, columns, result, sweep)
    for axes in panels[len(results) :]:
        axes.set_visible(False)


def _draw_result(axes, name, columns, result, sweep):
    """One result against the first parameter of numbers, with a line for each combination of the others."""
    along = _along(sweep)
    numbers = _of_numbers(sweep[along])
    place = sweep[along] if numbers else {text: at for at, text in enumerate(sweep[along])}
    lines = {}
    for column in columns:
        others = ", ".join(text for parameter, text in column.texts.items() if parameter != along)
        for found in column.lesson.results:
            if found["name"] == result:
                lines.setdefault(others, []).append((place[column.texts[along]], found))
    for at, (others, points) in enumerate(lines.items()):
        points.sort(key=lambda point: point[0])
        axes.errorbar(
            [x for x, _ in points], [found["value"] for _, found in points], yerr=_whiskers(points), label=others,
            color=LINES[at % len(LINES)], marker=MARKERS[at % len(MARKERS)], linestyle="-" if numbers else "none",
            capsize=3, markersize=5,
        )  # fmt: skip
    axes.set_xticks(list(place.values()), list(place), fontsize=9, rotation=90 if len(place) > LEVEL_LABELS else 0)
    if not numbers:
        axes.set_xlim(-0.5, len(place) - 0.5)
    axes.set_xlabel(along)
    axes.set_ylabel("value")
    axes.set_title(textwrap.fill(result, NAME_WRAP), fontsize=10, loc="left")
    axes.grid(alpha=0.3)
    if any(lines):
        others = ", ".join(parameter for parameter in sweep if parameter != along)
        axes.legend(title=others, fontsize=8, title_fontsize=8)


def _along(sweep):
    """The parameter along the axis: the first whose values are all numbers, else the first."""
    return next((name for name, values in sweep.items() if _of_numbers(values)), next(iter(sweep)))


def _of_numbers(values):
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values.values())


def _whiskers(points):
    """Distances from each value to the ends of its interval, (2, points); 0 where there is none, None if all are without."""
    if all(found["low"] is None and found["high"] is None for _, found in points):
        return None

    def to(end, found):
        return 0.0 if found[end] is None else abs(found["value"] - found[end])

    return [[to(end, found) for _, found in points] for end in ("low", "high")]


def _cell(column, row, colour):
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, color=colour, linewidth=0)


def _in_list(one_or_many):
    """What matplotlib gives for a row of things: an array of them, or the only one itself."""
    return list(one_or_many.flat) if hasattr(one_or_many, "flat") else [one_or_many]
