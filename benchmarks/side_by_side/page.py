"""The Markdown page of a comparison: its tables, what was compared how, and on which machine. Nothing is measured here."""

import platform
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks.side_by_side.rounds import Run, Spread
from medattack_edu import runtime


def machine(threads):
    """{what: value} of everything that decides how fast things are; no name of the machine or of a folder on it."""
    return {
        "processor": _processor(),
        "device": "CPU" if runtime.device().type == "cpu" else runtime.device_label(),
        "threads": threads,
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "NumPy": version("numpy"),
    }


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    known = dict([part.strip() for part in line.split(":", 1)] for line in lines if ":" in line)
    wide = next((name for name in ("avx512f", "avx2", "avx") if name in known.get("flags", "").split()), "")
    family = f"family {known['cpu family']}, model {known['model']}" if "cpu family" in known else platform.machine()
    return f"{known.get('model name', platform.machine())} ({', '.join(filter(None, (family, wide)))})"


def as_run(row):
    """A Run again, from a row as it is written to JSON."""
    return Run(
        row["who"], row["model"], problem=row["problem"], seconds=row["seconds"], wall=row["wall"], asked=row["asked"],
        steps=row["steps"],
    )  # fmt: skip


def yardstick(part, who):
    """The Run of a part that others are told as a share of, or None."""
    return next((as_run(row) for row in part["rows"] if row["who"] == who and row["seconds"]), None)


def measure_of(part, row):
    """What a part's bars show of a row: a Spread of its first column of times; None if it wasn't run."""
    run = as_run(row)
    if not run.seconds:
        return None
    if part["kind"] == "gradient":
        base = yardstick(part, "plain loop")
        return run.per(base) if base else None
    if part["kind"] == "questions":
        return run.each and Spread(*(1000 * value for value in run.each))
    return Spread.of(run.seconds)


def page(measured):
    """The page, Markdown, of what `__main__` measured."""
    here, libraries = measured["machine"], measured["libraries"]
    lines = [
        "# Speed, side by side",
        "",
        f'Made on {measured["date"]} by `make bench ARGS="{measured["arguments"]}"`, from the code with the digest '
        f"{measured['code']}; written by the command and not by hand. Lower is faster everywhere.",
        "",
        "- " + ", ".join(f"{name} {value}" for name, value in here.items()),
        f"- {measured['setting']}",
        "- " + "; ".join(f"{name} {found['version'] or found['problem']}" for name, found in libraries.items()),
        f"- {HOW_TIMED}",
        f"- {MODELS}",
        "",
        "![Bars of the time that each takes](side_by_side.svg)",
    ]
    for part in measured["parts"].values():
        words = f"{part['words']} Rounds: {max(len(row['seconds']) for row in part['rows'])}."
        lines += ["", f"## {part['title']}", "", words, "", *TABLES[part["kind"]](part)]
    if measured.get("growth"):
        lines += ["", "## How it grows", "", GROWTH, "", "![Seconds against batch, steps, side and model](growth.svg)"]
    return "\n".join(lines) + "\n"


HOW_TIMED = (
    "Seconds are processor time, which a neighbour on the machine disturbs less (with several threads, or on a GPU: time on the "
    "clock). Everything runs in turns, in another order each round; the first round warms up and isn't counted. A number is the median over the rounds, with the smallest and "
    "the largest behind it; a share is taken within each round."
)
MODELS = (
    "*As trained* is the model as people have it after training. *Frozen* is what `freeze` makes of it. Each library is "
    "measured on both, so that what `freeze` gains and what the attack itself costs can be told apart."
)
GROWTH = "PGD, ours on the frozen model and a plain loop on the model as trained: 4 images, 2 steps, 128 px, except for what grows."


def _gradient_table(part):
    plain, limit = yardstick(part, "plain loop"), yardstick(part, "limit")
    lines = _head("who", "model", "s", "on the clock", "of the plain loop", "of the limit", "answers an image", "success",
                  "values unlike ours")  # fmt: skip
    for row in part["rows"]:
        run = as_run(row)
        if row["problem"]:
            lines.append(_missing(row, 9))
            continue
        answers = f"{run.asked[0] / part['images']:.1f}"
        unlike = "" if row["unlike"] is None else f"{row['unlike']:.1e}" if row["unlike"] else "none"
        lines.append(_row(row["who"], row["model"], told(Spread.of(run.seconds)), clock(run), told(plain and run.per(plain)),
                          told(limit and run.per(limit)), answers, _share(row["success"]), unlike))  # fmt: skip
    return lines


def _questions_table(part):
    limit = yardstick(part, "limit")
    lines = _head("who", "model", "ms a question", "of the limit", "questions an image", "ms a step", "success")
    for row in part["rows"]:
        run = as_run(row)
        if row["problem"]:
            lines.append(_missing(row, 7))
            continue
        each = run.each and Spread(*(1000 * value for value in run.each))
        share = None
        if limit and each:
            pairs = zip(run.seconds, run.asked, limit.seconds, limit.asked, strict=True)
            share = Spread.of([(mine / asked) / (theirs / others) for mine, asked, theirs, others in pairs])
        steps = run.steps and Spread.of([1000 * seconds / part["images"] / run.steps for seconds in run.seconds])
        lines.append(_row(row["who"], row["model"], told(each), told(share), f"{run.asked[0] / part['images']:.0f}",
                          told(steps), _share(row["success"])))  # fmt: skip
    return lines


def _patch_table(part):
    first = next((as_run(row) for row in part["rows"] if row["seconds"]), None)
    lines = _head(
        "who", "model", "s", "on the clock", f"times {first.who if first else 'the first'}", "target probability"
    )
    for row in part["rows"]:
        run = as_run(row)
        if row["problem"]:
            lines.append(_missing(row, 6))
            continue
        sure = "" if row["success"] is None else f"{row['success']:.3f}"
        lines.append(
            _row(row["who"], row["model"], told(Spread.of(run.seconds)), clock(run), told(run.per(first)), sure)
        )
    return lines


def _early_table(part):
    lines = _head("clinic", "", "s", "times quicker than without", "success")
    for row in part["rows"]:
        run = as_run(row)
        if row["problem"]:
            lines.append(_missing(row, 5))
            continue
        without = next(as_run(other) for other in part["rows"] if other["who"] == row["who"])
        lines.append(
            _row(row["who"], row["model"], told(Spread.of(run.seconds)), told(without.per(run)), _share(row["success"]))
        )
    return lines


TABLES = {"gradient": _gradient_table, "questions": _questions_table, "patch": _patch_table, "early stop": _early_table}


def told(spread):
    """A Spread in words, three digits of each."""
    if not spread:
        return ""
    return (
        f"{spread.median:.3g} ({spread.low:.3g} to {spread.high:.3g})"
        if spread.low != spread.high
        else f"{spread.median:.3g}"
    )


def clock(run):
    """The median seconds of a Run on the clock."""
    return f"{Spread.of(run.wall).median:.3g}"


def _share(value):
    return "" if value is None else f"{100 * value:.0f} %"


def _head(*names):
    return [_row(*names), _row(*["---"] * len(names))]


def _row(*cells):
    return "| " + " | ".join(cells) + " |"


def _missing(row, columns):
    return _row(row["who"], row["model"], f"not measured: {row['problem']}", *[""] * (columns - 3))
