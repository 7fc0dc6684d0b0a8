"""Installing on Google Colab what the course needs and Colab lacks: called there by each notebook's first cell."""

import re
import subprocess
import sys
from importlib import metadata

COURSE = "medattack-edu"
# Requirements of instructors' commands, which no lesson imports.
NOT_IN_LESSONS = ("jupyterlab", "jupytext", "nbclient", "nbconvert", "nbformat", "papermill")


def missing():
    """The requirements of lessons, with the course's pins, that aren't installed here in any version."""
    required = [requirement for requirement in metadata.requires(COURSE) or () if "extra ==" not in requirement]
    named = {re.match(r"[\w.-]+", requirement)[0]: requirement for requirement in required}
    return [pin for name, pin in named.items() if name not in NOT_IN_LESSONS and not _is_installed(name)]


def install_what_is_missing():
    """Install the `missing`; what is there stays as it is, since Colab's own libraries fit its machines.

    Raises:
        RuntimeError: if pip can't; its own words stand above.
    """
    lacking = missing()
    if not lacking:
        return
    done = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *lacking], check=False)
    if done.returncode:
        raise RuntimeError(
            f"pip could not install {', '.join(lacking)}; see above. "
            "Choose Runtime, Restart session, and run this cell again."
        )


def _is_installed(name):
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
