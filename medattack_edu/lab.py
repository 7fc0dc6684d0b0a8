"""Starting JupyterLab on the first lesson, calm and offline, also where the home folder can't be written."""

import os
import subprocess
import sys
from pathlib import Path

from medattack_edu import runtime

FIRST_LESSON = "lessons/00_start_here.ipynb"
# No news, no search for updates: the course asks the network for nothing.
QUIET = (
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
)
# Folders that JupyterLab, IPython and matplotlib write to, with what each is called under the cache folder.
OWN_FOLDERS = {
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "IPYTHONDIR": "ipython",
    "MPLCONFIGDIR": "matplotlib",
}


def course_folder():
    """The folder that holds lessons/ and solutions/: the clone that this package is installed from, else the current one.

    Raises:
        ValueError: if there are no lessons in either.
    """
    clone = Path(__file__).resolve().parents[1]
    for folder in (clone, Path.cwd()):
        if (folder / "lessons").is_dir():
            return folder
    raise ValueError(
        f"There are no lessons in {Path.cwd()}. Change to the folder that holds lessons/, and run this again."
    )


def lab(arguments=()):
    """Open JupyterLab on the first lesson. `arguments` go to JupyterLab. Returns its exit code, where it returns at all."""
    folder = course_folder()
    if not (folder / FIRST_LESSON).is_file():
        raise ValueError(f"There is no {folder / FIRST_LESSON}. Make the notebooks with: medattack build")
    command = [
        sys.executable, "-m", "jupyterlab", str(folder / FIRST_LESSON),
        f"--ServerApp.root_dir={folder}", *QUIET, *arguments,
    ]  # fmt: skip
    return _become(command, {**os.environ, "PATH": _with_own_commands(), **_places()})


def _with_own_commands():
    """PATH for JupyterLab and its terminals, in which `medattack` is this installation's."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _become(command, environment):
    if os.name == "posix":  # so that Ctrl-C reaches JupyterLab and nobody else
        os.execve(command[0], command, environment)
    return subprocess.call(command, env=environment)


def _places():
    """Variables that move what JupyterLab writes into the cache folder; none where the home folder can be written."""
    if _can_write(Path.home()):
        return {}
    return {
        variable: str(runtime.cache_dir("jupyter", folder))
        for variable, folder in OWN_FOLDERS.items()
        if variable not in os.environ
    }


def _can_write(folder):
    """Whether a folder can be made in `folder`. Asking for permission isn't enough: the disk itself may be read-only."""
    probe = folder / f".medattack-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return True
