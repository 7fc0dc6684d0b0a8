"""The command: measures every part, and writes `side_by_side.md`, two pictures and `measured.json` into a folder."""

import argparse
import datetime
import json
from pathlib import Path

import torch

from benchmarks.side_by_side import figures, gradients, growth, page, patches, peers, questions
from benchmarks.side_by_side.rounds import Run, both, in_turns
from medattack_edu import attacks, cache, freeze, metrics, models, open_clinic, runtime
from medattack_edu.attacks import place, random_placements
from medattack_edu.clinics.tasks import TASKS
from medattack_edu.models.small_cnn import SmallCNN

PARTS = ("FGS", "PGD-10", "PGD-20", "early stop", "NES", "Square", "patch", "growth")
CODE = [Path(package.__file__).parent for package in (attacks, models)]  # what is measured
TOLERANCE = 1e-6  # two results that differ by less are the same
TARGET, UNSEEN, SCALE, ANGLES = 1, 32, 0.4, 22.5  # of the patches


def main(arguments=None):
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    libraries = peers.find(Path("build/peers"), install=not (options.quick or options.offline))
    scene = tiny_scene() if options.quick else clinic_scene(options)
    measured = known(options.out / "measured.json", options, libraries, scene["words"])
    for name in options.parts:
        print(f"{name} ...", flush=True)
        if name == "growth":
            measured["growth"] = scene["growth"](options.rounds)
        else:
            measured["parts"][name] = MEASURE[name](scene, options, libraries)
        measured["parts"] = {part: measured["parts"][part] for part in PARTS if part in measured["parts"]}
        write(measured, options.out)
    print((options.out / "side_by_side.md").read_text(encoding="utf-8"))
    print(f"Written to {options.out}/side_by_side.md, with its pictures.")


def parse(arguments):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.side_by_side", description=__doc__)
    parser.add_argument("--clinic", default="derm", choices=tuple(TASKS), help="whose victim and patients")
    parser.add_argument("--images", default="phantom", help="phantom, medmnist, real or a path")
    parser.add_argument("--batch", type=int, default=16, help="images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=83, help="questions an image, of NES and Square")
    parser.add_argument("--patch-steps", type=int, default=20)
    parser.add_argument("--patch-batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--parts", nargs="+", default=PARTS, choices=PARTS, help="measure these; the others stay as they were"
    )
    parser.add_argument("--out", type=Path, help="default: reports/bench, or reports/bench-quick")
    parser.add_argument("--offline", action="store_true", help="install no library that isn't here")
    parser.add_argument(
        "--quick", action="store_true", help="a tiny model and few images: tries the command, measures nothing"
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.batch, options.rounds, options.queries, options.patch_steps, options.patch_batch = 4, 1, 42, 2, 2
    options.out = options.out or Path("reports/bench-quick" if options.quick else "reports/bench")
    return options


def clinic_scene(options):
    """A clinic's victim, and test patients whom it judges rightly."""
    clinic = open_clinic(options.clinic, options.images)
    clinic.banner()
    victim = clinic.victim()
    x, y = right_ones(victim, *clinic.test.sample(4 * options.batch), options.batch)
    own, truth = clinic.attacker.sample(16 * options.batch)
    unseen, other = clinic.test.sample(4 * UNSEEN, seed=1)

    def others():
        for name in TASKS:
            there = open_clinic(name, options.images)
            model = freeze(there.victim())
            yield (name, model, *right_ones(model, *there.test.sample(4 * options.batch), options.batch))

    return {
        "words": f"EfficientNet-Lite0, the victim of the clinic {options.clinic} ({clinic.source}), {len(x)} patients whom it "
        f"judges rightly, {x.shape[-1]} px; the same eps, steps and start for all",
        "model": victim,
        "x": x,
        "y": y,
        "train": own[truth != TARGET],
        "unseen": unseen[other != TARGET][:UNSEEN],
        "clinics": others,
        "growth": lambda rounds: growth.measure(victim, x, y, rounds),
    }


def tiny_scene():
    """Random images of 32 px and an untrained model, to try the command with."""
    draw = runtime.generator(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SmallCNN(width=8).eval().to(runtime.device())
    x = torch.rand(4, 3, 32, 32, generator=draw).to(runtime.device())
    y = model(x).argmax(1)
    few = {
        "batches": (1, 2),
        "steps": (1, 2),
        "sides": (32, 48),
        "models": {"small": model, "smaller": SmallCNN(width=4)},
    }
    return {
        "words": "random images and an untrained model of 32 px: these numbers say nothing",
        "model": model,
        "x": x,
        "y": y,
        "train": x,
        "unseen": x,
        "clinics": lambda: [("no clinic", freeze(model), x, y)],
        "growth": lambda rounds: growth.measure(model, x, y, rounds, **few),
    }


def right_ones(model, x, y, n):
    rows = torch.nonzero(metrics.logits(model, x).argmax(1) == y).flatten()[:n]
    return x[rows], y[rows]


def gradient_part(steps):
    def measure(scene, options, libraries):
        models = both(scene["model"])
        runs = gradients.runs(models, scene["x"], scene["y"], steps, libraries)
        in_turns(runs, models, options.rounds)
        mine = {
            kind: next(run.result for run in runs if run.who == "medattack" and run.model == kind) for kind in models
        }
        rows = [
            row(run, success=success(scene, run), unlike=None if "," in run.who else unlike(run, mine.get(run.model)))
            for run in runs
        ]
        words = f"{steps} steps of {gradients.STEP * 255:g}/255" if steps else "One step"
        return {
            "kind": "gradient",
            "title": f"PGD, {steps} steps" if steps else "FGS",
            "unit": "time, as a share of the plain loop's",
            "images": len(scene["x"]),
            "words": f"{words}, eps {255 * gradients.EPS:g}/255, {len(scene['x'])} images. *Values unlike ours*: the share that differs by more than {TOLERANCE:g} from "
            "ours on the same model; where a gradient is nearly 0, rounding decides its sign.",
            "rows": rows,
        }

    return measure


def success(scene, run):
    """Share of the images that the model as trained answers wrongly; None where there are none."""
    if not isinstance(run.result, torch.Tensor):
        return None
    return float((metrics.logits(scene["model"], run.result).argmax(1) != scene["y"]).float().mean())


def unlike(run, mine):
    """Share of the values that are not those of `mine`; None where there is nothing to compare."""
    if not isinstance(run.result, torch.Tensor) or mine is None:
        return None
    return float(((run.result - mine).abs() > TOLERANCE).float().mean())


def early_stop(scene, options, libraries):
    """PGD-20 with its default step and start, with and without early stop, on the victim of every clinic."""
    rows = []
    for name, model, x, y in scene["clinics"]():
        runs = []
        for how, early in (("all 20 steps", False), ("stop when fooled", True)):
            go = lambda early=early, model=model, x=x, y=y: attacks.pgd(  # noqa: E731
                model, x, y, eps=gradients.EPS, steps=20, stop_when_fooled=early, generator=runtime.generator(0)
            )
            runs.append(Run(name, how, go))
        in_turns(runs, {}, options.rounds)
        rows += [
            row(run, success=float((metrics.logits(model, run.result).argmax(1) != y).float().mean())) for run in runs
        ]
    return {
        "kind": "early stop",
        "title": "PGD, 20 steps, stopping at each image when it is fooled",
        "unit": "seconds",
        "words": f"Ours, frozen, on the default victims: {options.batch} images of each clinic, eps 2/255, default step and start.",
        "rows": rows,
    }


def question_part(attack):
    def measure(scene, options, libraries):
        models = both(scene["model"])
        runs = questions.runs(models, scene["x"], scene["y"], attack, options.queries, libraries)
        in_turns(runs, models, options.rounds)
        return {
            "kind": "questions",
            "title": attack,
            "unit": "milliseconds a question",
            "images": len(scene["x"]),
            "words": f"About {options.queries} questions an image, {len(scene['x'])} images, eps {255 * questions.EPS:g}/255: too small to "
            "succeed, on purpose, so that all ask about all images to the end. (How often they succeed is measured elsewhere: "
            f"`benchmarks/query_attacks.py`.) *A step* is {STEP_OF[attack]}, for one image; some libraries ask about it more often than it needs.",
            "rows": [row(run, success=success(scene, run)) for run in runs],
        }

    return measure


def patch_part(scene, options, libraries):
    models = both(scene["model"])
    runs = patches.runs(models, scene["train"], TARGET, options.patch_steps, options.patch_batch, libraries)
    in_turns(runs, models, options.rounds)
    unseen = scene["unseen"]
    where = random_placements(len(unseen), scale=SCALE, angles=ANGLES, generator=runtime.generator(1))

    def sure(run):
        if not isinstance(run.result, torch.Tensor):
            return None
        placed = place(run.result, unseen, **where)
        return float(metrics.logits(scene["model"], placed).softmax(1)[:, TARGET].mean())

    return {
        "kind": "patch",
        "title": f"Training a patch, {options.patch_steps} steps of {options.patch_batch}",
        "unit": "seconds",
        "words": f"The same pool of images, the same steps, batch and ranges of placement; each library draws from them on its own. "
        f"*Target probability*: its mean over {len(unseen)} unseen patients, the patch "
        "placed by the same operator; after so few steps it says that the training works, not how strong it is.",
        "rows": [row(run, success=sure(run)) for run in runs],
    }


STEP_OF = {"NES": f"an estimate from {questions.SAMPLES} questions", "Square": "a square that is proposed"}
MEASURE = {
    "FGS": gradient_part(None),
    "PGD-10": gradient_part(10),
    "PGD-20": gradient_part(20),
    "early stop": early_stop,
    "NES": question_part("NES"),
    "Square": question_part("Square"),
    "patch": patch_part,
}


def row(run, *, success=None, unlike=None):
    """A Run as it is written to JSON."""
    kept = {name: getattr(run, name) for name in ("who", "model", "problem", "seconds", "wall", "asked", "steps")}
    return kept | {"success": success, "unlike": unlike}


SAME = ("machine", "libraries", "setting", "code", "arguments")  # of two measurements that stand on one page


def known(path, options, libraries, setting):
    """What was measured before, if it was of this code, on this machine, with the same versions and arguments; else an empty start."""
    names = ("clinic", "images", "batch", "rounds", "queries", "patch_steps", "patch_batch", "threads")
    fresh = {
        "date": datetime.date.today().isoformat(),
        "arguments": " ".join(f"--{name.replace('_', '-')} {getattr(options, name)}" for name in names),
        "code": cache.digest_of(sorted(path for folder in CODE for path in folder.glob("*.py"))),
        "machine": page.machine(options.threads),
        "libraries": {name: found._asdict() for name, found in libraries.items()},
        "setting": setting,
        "parts": {},
        "growth": {},
    }
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return fresh
    return before if all(before.get(name) == fresh[name] for name in SAME) else fresh


def write(measured, out):
    """The numbers, the page and its pictures."""
    (out / "measured.json").write_text(json.dumps(measured, indent=1), encoding="utf-8")
    (out / "side_by_side.md").write_text(page.page(measured), encoding="utf-8")
    if measured["parts"]:
        figures.bars(list(measured["parts"].values()), out / "side_by_side.svg")
    if measured["growth"]:
        figures.growth(measured["growth"], out / "growth.svg")


if __name__ == "__main__":
    main()
