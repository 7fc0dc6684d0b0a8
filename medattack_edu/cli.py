"""The command line: what `medattack` understands. Each command's work is done by the module that it belongs to.

Those modules are imported when their command runs, so that `medattack --help` doesn't wait for PyTorch.
"""

import argparse
import difflib
import sys
from pathlib import Path

from medattack_edu import __version__, runtime
from medattack_edu.clinics.tasks import TASKS

REPORTS = Path("reports")
FAILED, TO_MEND, STOPPED = 1, 2, 130  # exit codes; 130 is what shells call a stop by Ctrl-C


def main(argv=None):
    """Run one command. Returns the exit code: 0, or FAILED, TO_MEND (said in one line), STOPPED."""
    arguments = _understand(sys.argv[1:] if argv is None else list(argv))
    runtime.anchor_paths()
    try:
        return arguments.run(arguments) or 0
    except KeyboardInterrupt:
        print("\nStopped. What was finished is kept.", file=sys.stderr)
        return STOPPED
    except ImportError as error:
        print(f"medattack: {error}. The installation is incomplete; medattack doctor says more.", file=sys.stderr)
        return TO_MEND
    except _mendable() as error:
        print(f"medattack: {error}", file=sys.stderr)
        return TO_MEND


def lab(arguments):
    """open the course in JupyterLab; what follows goes to JupyterLab, e.g. --no-browser --port 9999"""
    from medattack_edu.lab import lab

    return lab(arguments.rest)


def run(arguments):
    """run lessons without a browser; one HTML page each, and an index with time and memory"""
    from medattack_edu.course.parameters import read_setting, read_sweep
    from medattack_edu.course.run import run_lessons

    notebooks = _notebooks(arguments.lessons, "solutions" if arguments.solutions else "lessons")
    beside = arguments.solutions and not arguments.sweep  # pages of lessons and solutions have the same names
    out = arguments.out or (REPORTS / "solutions" if beside else REPORTS)
    options = {
        "images": arguments.images,
        "device": arguments.device,
        "parameters": dict(map(read_setting, arguments.parameters)),
        "timeout": arguments.timeout,
        "jobs": arguments.jobs,
        "dask": arguments.dask,
    }
    if arguments.sweep:
        from medattack_edu.course.sweep import run_sweep

        return run_sweep(notebooks, out, sweep=read_sweep(arguments.sweep), **options)
    return run_lessons(notebooks, out, **options)


def rehearse(arguments):
    """run a lesson in many kernels at once, as a class would; says what a class of 30 needs"""
    from medattack_edu.course.rehearse import read_counts, rehearse

    [notebook] = _notebooks([arguments.lesson], "solutions" if arguments.solutions else "lessons")
    return rehearse(
        notebook,
        read_counts(arguments.learners),
        stagger=arguments.stagger,
        images=arguments.images,
        device=arguments.device,
        timeout=arguments.timeout,
    )


def build(arguments):
    """make the notebooks of lessons/ and solutions/ from solutions/*.py"""
    from medattack_edu.course.build import build, watch

    if arguments.watch:
        return watch()
    if arguments.take:
        from medattack_edu.course.take import take

        take(arguments.take)
    return FAILED if build(check=arguments.check) else 0


def new_lesson(arguments):
    """write the skeleton of a new lesson: its source, the check of an exercise, and the test of that"""
    from medattack_edu.course.new_lesson import new_lesson

    new_lesson(arguments.title, arguments.number)


def guide(arguments):
    """gather the plans, the teaching notes and the hints of all lessons on one page"""
    from medattack_edu.course.guide import write_guide

    lessons, notes = write_guide(arguments.out)
    print(f"{lessons} lessons, {notes} notes: {arguments.out}")


def site(arguments):
    """make a static site of all lessons, with search; it is built and read without a network"""
    from medattack_edu.course.site import build_site, check_replaceable, check_tools, executed_notebooks

    check_tools()
    check_replaceable(arguments.out)  # also at the end, but the lessons run before that
    notebooks = _notebooks(arguments.lessons, "solutions" if arguments.solutions else "lessons")
    folder, failed = arguments.executed, 0
    if folder is None:
        from medattack_edu.course.run import run_lessons

        options = {name: getattr(arguments, name) for name in ("images", "device", "timeout", "jobs")}
        folder, failed = REPORTS, run_lessons(notebooks, REPORTS, **options)
    return build_site(executed_notebooks(notebooks, folder), arguments.out) or failed


def slides(arguments):
    """make slides of a lesson: one HTML page that needs no network, the teaching notes behind a key"""
    from medattack_edu.course.slides import make_slides

    [notebook] = _notebooks([arguments.lesson], "solutions" if arguments.solutions else "lessons")
    options = {"images": arguments.images, "device": arguments.device, "timeout": arguments.timeout}
    return make_slides(notebook, arguments.out, **options)


def fetch(arguments):
    """download real images (MedMNIST), keep a subset, show its licence"""
    from medattack_edu.clinics import medmnist

    for clinic in arguments.clinics or TASKS:
        medmnist.fetch(clinic, arguments.size)


def prepare(arguments):
    """draw the phantoms and train the victims now, so that no lesson has to wait for them"""
    from medattack_edu.prepare import NEED_SURROGATES, OBJECTS, prepare

    names = arguments.names or (*TASKS, OBJECTS)
    prepare(names, arguments.images or "auto", names if arguments.surrogates else NEED_SURROGATES)


def doctor(arguments):
    """say in ten lines what this machine has, and what to do about each problem"""
    from medattack_edu.doctor import report

    return 0 if report() else FAILED


def progress(arguments):
    """show which exercises are solved; --html writes a page to keep or to print"""
    from medattack_edu.course.progress import progress

    progress()
    if arguments.html:
        progress.save(arguments.html)


def _understand(argv):
    """The parsed arguments; `run` is the command's function. Help and mistakes in the command line end here."""
    parser = argparse.ArgumentParser(
        prog="medattack", description="Break, understand and harden medical image classifiers."
    )
    parser.add_argument("--version", action="version", version=f"medattack {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(function):
        name, does = function.__name__.replace("_", "-"), function.__doc__
        added = commands.add_parser(name, help=does, description=_sentence(does))
        added.set_defaults(run=function)
        return added

    command(lab)
    _add_run_options(command(run))
    building = command(build).add_mutually_exclusive_group()
    building.add_argument("--check", action="store_true", help="change nothing; fail if a notebook isn't up to date")
    building.add_argument("--watch", action="store_true", help="build whenever a source changes, until Ctrl-C")
    building.add_argument("--take", metavar="NOTEBOOK", type=Path, help="bring what was edited there into its source")
    making = command(new_lesson)
    making.add_argument("title", help='in quotes, for example "Why it works"')
    making.add_argument("--number", metavar="NN", help="two digits (default: the next that is free)")
    command(guide).add_argument(
        "--out", type=Path, default=Path("reports/guide.html"), help="the page (default: reports/guide.html)"
    )
    _add_site_options(command(site))
    showing = command(slides)
    showing.add_argument("lesson", help="a number (03), which is run, or a notebook that was run already")
    showing.add_argument("--out", type=Path, default=Path("reports"), help="folder for the slides (default: reports)")
    _add_kernel_options(showing)
    fetching = command(fetch)
    _add_clinics(fetching)
    fetching.add_argument("--size", type=int, default=128, help="pixels a side: 64, 128 (default) or 224")
    preparing = command(prepare)
    what = "fundus, chest, derm, or objects: the toaster and the physical world, of no clinic; default: all"
    preparing.add_argument("names", nargs="*", metavar="NAME", help=what)
    _add_images(preparing)
    preparing.add_argument("--surrogates", action="store_true", help="the attacker's models of every clinic named, too")
    command(doctor)
    command(progress).add_argument(
        "--html", type=Path, metavar="FILE", help="write a summary there: one page that needs no network, prints on A4"
    )
    _add_rehearse_options(command(rehearse))

    if argv and not argv[0].startswith("-") and argv[0] not in commands.choices:
        near = difflib.get_close_matches(argv[0], commands.choices, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"The commands are {', '.join(commands.choices)}."
        parser.error(f"there is no command {argv[0]!r}. {hint}")
    own, passed_on = _cut(argv, "--")
    arguments, unknown = parser.parse_known_args(own)
    arguments.rest = [*unknown, *passed_on]
    if arguments.rest and arguments.run is not lab:
        parser.error(f"not understood: {' '.join(arguments.rest)}. See medattack {argv[0]} --help.")
    return arguments


def _add_run_options(parser):
    _add_lessons(parser)
    parser.add_argument("--out", type=Path, help="folder for the pages (default: reports, or reports/solutions)")
    parser.add_argument(
        "-p", dest="parameters", metavar="NAME=VALUE", action="append", default=[],
        help="set a parameter of the lessons, n=16 or eps=2/255; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--sweep", metavar="NAME=VALUES", action="append", default=[],
        help="run with each of these values, eps=1/255,2/255; repeated: with every combination. Writes one table and one "
        "plot; the same command again goes on where it was stopped",
    )  # fmt: skip
    _add_jobs(parser)
    parser.add_argument("--dask", metavar="ADDRESS", help="run on a Dask cluster, tcp://10.0.0.1:8786")
    _add_kernel_options(parser)


def _add_site_options(parser):
    _add_lessons(parser)
    parser.add_argument(
        "--out", type=Path, default=REPORTS / "site", help="folder for the site (default: reports/site)"
    )
    parser.add_argument(
        "--executed", metavar="DIR", type=Path,
        help="take the notebooks that medattack run left there; default: run the lessons now, into reports",
    )  # fmt: skip
    _add_jobs(parser)
    _add_kernel_options(parser, images="phantom")  # a site is made to be shown, and phantoms may be


def _add_rehearse_options(parser):
    parser.add_argument("--learners", metavar="N", default="2", help="kernels at once; 1,2,4 tries each (default: 2)")
    parser.add_argument("--lesson", default="03", help="a number or a notebook (default: 03)")
    parser.add_argument(
        "--stagger", type=float, default=0.0, metavar="SECONDS", help="between one start and the next (default: 0)"
    )
    _add_kernel_options(parser)


def _add_lessons(parser):
    parser.add_argument("lessons", nargs="*", help="numbers (03) or notebooks; default: all")


def _add_jobs(parser):
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="lessons at a time (default: 1)")


def _add_kernel_options(parser, images=None):
    parser.add_argument("--solutions", action="store_true", help="run the solutions instead of the lessons")
    parser.add_argument("--device", help="cpu or cuda (default: what there is)")
    parser.add_argument("--timeout", type=_seconds, default=600, help="seconds that one cell may take (default: 600)")
    _add_images(parser, images)


def _seconds(text):
    """A time limit: nbclient takes one of 0 or less for none at all."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no time limit. Give whole seconds, 1 or more.")
    return int(text)


def _add_clinics(parser):
    parser.add_argument("clinics", nargs="*", metavar="CLINIC", help="fundus, chest, derm; default: all three")


def _add_images(parser, default=None):
    kinds = "auto, phantom, medmnist, real, or the path of a folder"
    parser.add_argument("--images", default=default, help=f"{kinds} (default: {default or 'auto'})")


def _sentence(text):
    return f"{text[0].upper()}{text[1:]}."


def _cut(words, mark):
    """What stands before the first `mark`, and what stands after it."""
    place = words.index(mark) if mark in words else len(words)
    return words[:place], words[place + 1 :]


def _notebooks(wanted, kind):
    """The notebooks that are meant by numbers ("03") or paths; all of `kind` ("lessons" or "solutions") by nothing."""
    from medattack_edu.lab import course_folder

    known = sorted((course_folder() / kind).glob("[0-9][0-9]_*.ipynb"))
    if not known:
        raise ValueError(f"There are no notebooks in {course_folder() / kind}. Make them with: medattack build")
    return [_notebook(name, known) for name in wanted] or known


def _notebook(name, known):
    if name.endswith(".ipynb"):
        if Path(name).is_file():
            return Path(name)
        raise ValueError(f"There is no notebook {name}.")
    for path in known:
        if path.name.startswith(f"{name}_") or path.stem == name:
            return path
    raise ValueError(f"There is no lesson {name!r}. There are {', '.join(path.name[:2] for path in known)}.")


def _mendable():
    """The errors whose message says what to do. Looked up only once there is an error: the look-up needs PyTorch."""
    from medattack_edu.clinics.download import DownloadError
    from medattack_edu.runtime import CacheUnavailable

    mendable = (ValueError, CacheUnavailable, DownloadError)
    images = sys.modules.get("medattack_edu.clinics.images")
    return (*mendable, images.ImagesUnavailable) if images else mendable
