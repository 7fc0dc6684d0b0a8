"""Making beforehand what takes long: images, victims, surrogates, studies, patches. How they are made is told elsewhere."""

import signal
import time
from contextlib import contextmanager
from functools import partial

from medattack_edu import runtime

# Lessons 05, 06 and 07 open these clinics unless they are told others, for which the same is made when it is first used.
NEED_SURROGATES = ("chest",)
NEED_STUDY = ("derm",)
NEED_PATCHES = ("derm",)


def prepare(names, images="auto", surrogates=NEED_SURROGATES):
    """Draw or read the images of these clinics and train their victims, unless all that is in the cache; then what belongs
    to no clinic: the toaster patch, and the attacked objects of the physical world.

    Ctrl-C stops it; what is finished by then is kept.

    Args:
        names: clinics, e.g. ``["fundus", "chest", "derm"]``.
        images: as in `open_clinic`.
        surrogates: those of the clinics whose surrogates are trained as well.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
        ValueError, ImagesUnavailable, CacheUnavailable: as `open_clinic` and `Clinic.victim` do.
    """
    from medattack_edu import physical_objects, studies, trained_patches
    from medattack_edu.clinics.clinic import open_clinic
    from medattack_edu.clinics.tasks import task

    for name in names:
        task(name)
    attacked = [name for name in names if name in surrogates]
    also = f" {', '.join(attacked)} also needs the attacker's own models." if attacked else ""
    print(f"Each of {', '.join(names)} needs images and a victim.{also} What is missing takes a minute or two each, once.")
    anything = False
    for name in names:
        before, start = _files(), time.perf_counter()
        with _ctrl_c_noted() as pressed:
            clinic = open_clinic(name, images=images)
            clinic.victim()
            for make in _attackers_models(clinic) if name in surrogates else ():
                if not pressed:
                    make()
            if name in NEED_STUDY and not pressed:
                studies.queries(clinic)
            if name in NEED_PATCHES and not pressed:
                trained_patches.prepare(clinic)
        if pressed:  # a training that is stopped ends quietly, for a learner's sake
            raise KeyboardInterrupt
        if _files() - before:
            anything = True
            print(f"{name}: made in {time.perf_counter() - start:.0f} s ({clinic.source}).", flush=True)
        else:
            print(f"{name}: here already ({clinic.source}).", flush=True)
    before, start = _files(), time.perf_counter()
    with _ctrl_c_noted() as pressed:
        for make in (trained_patches.toaster, physical_objects.prepare):
            if not pressed:
                make()
    if pressed:
        raise KeyboardInterrupt
    if _files() - before:
        anything = True
        print(f"photographs, signs and a bottle: made in {time.perf_counter() - start:.0f} s.", flush=True)
    print("All is ready." if anything else "Everything was here already.", f"It is kept in {runtime.cache_dir()}.")


def _attackers_models(clinic):
    """Functions that each train one of the attacker's models, as lesson 05 asks for them."""
    from medattack_edu.attacks import Oracle
    from medattack_edu.models.freeze import freeze
    from medattack_edu.models.surrogates import KINDS

    yield from (partial(clinic.surrogate, kind) for kind in KINDS)
    yield lambda: clinic.surrogate("small", oracle=Oracle(freeze(clinic.victim()), "label"))


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
