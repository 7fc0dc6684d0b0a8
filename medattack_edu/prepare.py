"""Making beforehand what takes long: each clinic's images and its victim. How they are made is in `clinics` and `models`."""

import signal
import time
from contextlib import contextmanager

from medattack_edu import runtime


def prepare(names, images="auto"):
    """Draw or read the images of these clinics and train their victims, unless all that is in the cache.

    Ctrl-C stops it; what is finished by then is kept.

    Args:
        names: clinics, e.g. ``["fundus", "chest", "derm"]``.
        images: as in `open_clinic`.

    Raises:
        KeyboardInterrupt: after Ctrl-C.
        ValueError, ImagesUnavailable, CacheUnavailable: as `open_clinic` and `Clinic.victim` do.
    """
    from medattack_edu.clinics.clinic import open_clinic
    from medattack_edu.clinics.tasks import task

    for name in names:
        task(name)
    print(f"Each of {', '.join(names)} needs images and a victim. What is missing takes a minute or two each, once.")
    anything = False
    for name in names:
        before, start = _files(), time.perf_counter()
        with _ctrl_c_noted() as pressed:
            clinic = open_clinic(name, images=images)
            clinic.victim()
        if pressed:  # a training that is stopped ends quietly, for a learner's sake
            raise KeyboardInterrupt
        if _files() - before:
            anything = True
            print(f"{name}: made in {time.perf_counter() - start:.0f} s ({clinic.source}).", flush=True)
        else:
            print(f"{name}: here already ({clinic.source}).", flush=True)
    print("All is ready." if anything else "Everything was here already.", f"It is kept in {runtime.cache_dir()}.")


def _files():
    """What the cache holds, and since when."""
    return {(path, path.stat().st_mtime_ns) for path in runtime.cache_dir().rglob("*.safetensors")}


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
