"""Making beforehand what takes long: images, victims, surrogates, studies, patches. How they are made is told elsewhere."""

import signal
import time
from contextlib import contextmanager
from functools import partial

from medattack_edu import runtime
from medattack_edu.clinics.tasks import TASKS

# Lessons 05, 06 and 07 open these clinics unless they are told others, for which the same is made when it is first used.
NEED_SURROGATES = ("chest",)
NEED_STUDY = ("derm",)
NEED_PATCHES = ("derm",)
OBJECTS = "objects"  # the toaster patch, and the attacked objects of the physical world: they belong to no clinic


def prepare(names, images="auto", surrogates=NEED_SURROGATES):
    """Draw or read the images of these clinics and train their victims, unless all that is in the cache; likewise the objects.

    Ctrl-C stops it; what is finished by then is kept.

    Args:
        names: clinics and `OBJECTS`, e.g. ``["chest", "objects"]``.
        images: as in `open_clinic`.
        surrogates: those of the clinics whose surrogates are trained as well.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
        ValueError, ImagesUnavailable, CacheUnavailable: as `open_clinic` and `Clinic.victim` do.
    """
    for name in names:
        if name not in (*TASKS, OBJECTS):
            there = ", ".join((*TASKS, OBJECTS))
            raise ValueError(f"There is nothing called {name!r} to prepare. There are {there}.")
    clinics = [name for name in names if name != OBJECTS]
    attacked = [name for name in clinics if name in surrogates]
    also = f" {', '.join(attacked)} also needs the attacker's own models." if attacked else ""
    if clinics:
        print(
            f"Each of {', '.join(clinics)} needs images and a victim.{also} What is missing takes a minute or two each, once."
        )
    anything = False
    for name in names:
        before, start = _files(), time.perf_counter()
        with _ctrl_c_noted() as pressed:
            what, makings = _objects() if name == OBJECTS else _of_a_clinic(name, images, name in surrogates)
            for make in makings:
                if not pressed:
                    make()
        if pressed:  # a training that is stopped ends quietly, for a learner's sake
            raise KeyboardInterrupt
        new = bool(_files() - before)
        anything |= new
        print(
            f"{name}: {f'made in {time.perf_counter() - start:.0f} s' if new else 'here already'} ({what}).", flush=True
        )
    print("All is ready." if anything else "Everything was here already.", f"It is kept in {runtime.cache_dir()}.")


def _of_a_clinic(name, images, surrogates):
    """Where the clinic's images are from, and a function for each thing that its lessons need."""
    from medattack_edu import studies, trained_patches
    from medattack_edu.attacks import Oracle
    from medattack_edu.clinics.clinic import open_clinic
    from medattack_edu.models.freeze import freeze
    from medattack_edu.models.surrogates import KINDS

    clinic = open_clinic(name, images=images)
    makings = [clinic.victim]
    if surrogates:
        makings += [partial(clinic.surrogate, kind) for kind in KINDS]
        makings.append(lambda: clinic.surrogate("small", oracle=Oracle(freeze(clinic.victim()), "label")))
    if name in NEED_STUDY:
        makings.append(partial(studies.queries, clinic))
    if name in NEED_PATCHES:
        makings.append(partial(trained_patches.prepare, clinic))
    return clinic.source, makings


def _objects():
    """What they are, and a function for each."""
    from medattack_edu import physical_objects, trained_patches

    return "a toaster patch, stickers, a bottle", [trained_patches.toaster, physical_objects.prepare]


def _files():
    """What the cache holds, and since when."""
    kept = ("*.safetensors", "*.json")
    return {(path, path.stat().st_mtime_ns) for kind in kept for path in runtime.cache_dir().rglob(kind)}


@contextmanager
def _ctrl_c_noted():
    """Yields a list that isn't empty any more once Ctrl-C was pressed; what Ctrl-C does is left as it is."""
    pressed = []
    usual = signal.getsignal(signal.SIGINT)

    def note(*args):
        pressed.append(True)
        usual(*args)

    if not callable(usual):  # Ctrl-C is ignored here anyway
        yield pressed
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, usual)
