"""The command line: what `medattack` understands. Each command's work is done by the module that it belongs to.

Those modules are imported when their command runs, so that `medattack --help` doesn't wait for PyTorch.
"""

import argparse
import difflib
import json
import sys
from pathlib import Path

from medattack_edu import __version__

CLINICS = ("fundus", "chest", "derm")
FAILED, TO_MEND, STOPPED = 1, 2, 130  # exit codes; 130 is what shells call a stop by Ctrl-C


def main(argv=None):
    """Run one command. Returns the exit code: 0, or FAILED, TO_MEND (said in one line), STOPPED."""
    arguments = _understand(sys.argv[1:] if argv is None else list(argv))
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
    from medattack_edu.course.run import run_lessons

    notebooks = _notebooks(arguments.lessons, "solutions" if arguments.solutions else "lessons")
    return run_lessons(
        notebooks,
        arguments.out,
        images=arguments.images,
        device=arguments.device,
        parameters=dict(map(_parameter, arguments.parameters)),
        timeout=arguments.timeout,
    )


def build(arguments):
    """make the notebooks of lessons/ and solutions/ from solutions/*.py"""
    from medattack_edu.course.build import build

    return FAILED if build(check=arguments.check) else 0


def fetch(arguments):
    """download real images (MedMNIST), keep a subset, show its licence"""
    from medattack_edu.clinics import medmnist

    for clinic in arguments.clinics or CLINICS:
        medmnist.fetch(clinic, arguments.size)


def prepare(arguments):
    """draw the phantoms and train the victims now, so that no lesson has to wait for them"""
    from medattack_edu.prepare import NEED_SURROGATES, prepare

    clinics = arguments.clinics or CLINICS
    prepare(clinics, arguments.images or "auto", clinics if arguments.surrogates else NEED_SURROGATES)


def doctor(arguments):
    """say in ten lines what this machine has, and what to do about each problem"""
    from medattack_edu.doctor import report

    return 0 if report() else FAILED


def progress(arguments):
    """show which exercises are solved"""
    from medattack_edu.course.progress import progress

    progress()


def _understand(argv):
    """The parsed arguments; `run` is the command's function. Help and mistakes in the command line end here."""
    parser = argparse.ArgumentParser(
        prog="medattack", description="Break, understand and harden medical image classifiers."
    )
    parser.add_argument("--version", action="version", version=f"medattack {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(function):
        added = commands.add_parser(function.__name__, help=function.__doc__, description=_sentence(function.__doc__))
        added.set_defaults(run=function)
        return added

    command(lab)
    _add_run_options(command(run))
    command(build).add_argument(
        "--check", action="store_true", help="change nothing; fail if a notebook isn't up to date"
    )
    fetching = command(fetch)
    _add_clinics(fetching)
    fetching.add_argument("--size", type=int, default=128, help="pixels a side: 64, 128 (default) or 224")
    preparing = command(prepare)
    _add_clinics(preparing)
    _add_images(preparing)
    preparing.add_argument("--surrogates", action="store_true", help="the attacker's models of every clinic named, too")
    command(doctor)
    command(progress)

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
    parser.add_argument("lessons", nargs="*", help="numbers (03) or notebooks; default: all")
    parser.add_argument("--solutions", action="store_true", help="run the solutions instead of the lessons")
    parser.add_argument("--out", type=Path, default=Path("reports"), help="folder for the pages (default: reports)")
    parser.add_argument("--device", help="cpu or cuda (default: what there is)")
    parser.add_argument("--timeout", type=int, default=600, help="seconds that one cell may take (default: 600)")
    parser.add_argument(
        "-p", dest="parameters", metavar="NAME=VALUE", action="append", default=[],
        help="set a parameter of the lessons; may be repeated",
    )  # fmt: skip
    _add_images(parser)


def _add_clinics(parser):
    parser.add_argument("clinics", nargs="*", metavar="CLINIC", help="fundus, chest, derm; default: all three")


def _add_images(parser):
    parser.add_argument("--images", help="auto (default), phantom, medmnist, real, or the path of a folder")


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


def _parameter(text):
    """NAME=VALUE as a name and a value: a number, true, false or null where it reads as one, else the text."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"-p takes NAME=VALUE, for example -p n=16; {text!r} came.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _mendable():
    """The errors whose message says what to do. Looked up only once there is an error: the look-up needs PyTorch."""
    from medattack_edu.clinics.download import DownloadError
    from medattack_edu.runtime import CacheUnavailable

    mendable = (ValueError, CacheUnavailable, DownloadError)
    images = sys.modules.get("medattack_edu.clinics.images")
    return (*mendable, images.ImagesUnavailable) if images else mendable
