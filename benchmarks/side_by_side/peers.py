"""The other libraries: where they come from and which version is here. How each is called, the modules of the attacks say.

A library whose pins clash with the course's is installed without its dependencies into a folder of its own that is searched
last. It gets this environment's PyTorch and NumPy, and nothing of this environment changes.
"""

import importlib
import subprocess
import sys
from importlib.metadata import distributions
from typing import NamedTuple

INSTALL_LIMIT_S = 120


class Peer(NamedTuple):
    """A library: the module to import, its name among packages, and, if it needs a folder of its own, the version for that."""

    module: str
    package: str
    own_version: str = ""


class Found(NamedTuple):
    """A library's version, or why it isn't here."""

    version: str = ""
    problem: str = ""


PEERS = {
    "Foolbox": Peer("foolbox", "foolbox"),
    "ART": Peer("art", "adversarial-robustness-toolbox"),
    # It asks for requests 2.25.1, which breaks jupyterlab-server.
    "torchattacks": Peer("torchattacks", "torchattacks", "3.5.1"),
    # It asks for TensorFlow.
    "CleverHans": Peer("cleverhans", "cleverhans", "4.0.0"),
}


def find(folder, *, install, peers=PEERS):
    """{name: Found} of each of `peers`.

    Args:
        folder: where those that need a folder of their own get one.
        install: whether what isn't here yet is installed there.
    """
    return {name: _find(peer, folder / peer.package, install) for name, peer in peers.items()}


def _find(peer, own, install):
    if peer.own_version and str(own) not in sys.path:
        sys.path.append(str(own))
    try:
        importlib.import_module(peer.module)
    except ImportError as missing:
        if not (install and peer.own_version):
            return Found(problem=f"not installed here ({missing})")
        problem = _installed(f"{peer.package}=={peer.own_version}", own)
        if problem:
            return Found(problem=problem)
        importlib.invalidate_caches()
        try:
            importlib.import_module(peer.module)
        except ImportError as error:
            return Found(problem=f"installed, but can't be imported ({error})")
    return Found(version=_version(peer.package))


def _installed(requirement, own):
    """Install into the folder `own`. Returns what went wrong, or nothing."""
    print(f"Installing {requirement} into a folder of its own ...", flush=True)
    pip = [sys.executable, *"-m pip install --quiet --no-deps --disable-pip-version-check --target".split()]
    try:
        done = subprocess.run(
            [*pip, str(own), requirement], capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"can't be installed here (no answer within {INSTALL_LIMIT_S} s)"
    if done.returncode:
        return f"can't be installed here ({(done.stderr.strip().splitlines() or ['pip failed'])[-1]})"
    return ""


def _version(package):
    """Of the package as it is found on the path; the names of packages know no case."""
    for one in distributions():
        if one.name.lower() == package.lower():
            return one.version
    return "of unknown version"
