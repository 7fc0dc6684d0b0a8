"""A real JupyterLab on a free port and a real Chromium, for the tests of this folder."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

CHROMIUM_FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                  "--disable-component-update", "--disable-sync"]  # fmt: skip
START_SECONDS = 90  # for the server, on a busy machine


def chromium():
    """Path of the browser: ``MEDATTACK_CHROMIUM``, else the first one that is installed, else None."""
    named = os.environ.get("MEDATTACK_CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome")
    return named or next((path for path in map(shutil.which, names) if path), None)


def is_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Where tests run at once, those of one lesson share a process, in which it runs once; so do those of one file."""
    from xdist.scheduler import LoadScopeScheduling

    class ByLesson(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            lesson = re.search(r"\[(\d\d_\w+)", nodeid)
            return lesson[1] if lesson else nodeid.split("::")[0]

    return ByLesson(config, log)


@pytest.fixture(scope="session")
def browser_type_launch_args():
    """How pytest-playwright starts the browser; without one the tests skip, and fail where CI demands them."""
    path = chromium()
    if path is None:
        reason = "No Chromium found. Install one, or set MEDATTACK_CHROMIUM to its path."
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    # Chromium refuses its own sandbox when it runs as root, as it does in a container.
    return {"executable_path": path, "args": [*CHROMIUM_FLAGS, *(["--no-sandbox"] if is_root() else [])]}


@pytest.fixture(scope="session")
def screenshots():
    """Folder for pictures of what the browser showed: ``MEDATTACK_SCREENSHOTS``, else a temporary one."""
    folder = Path(os.environ.get("MEDATTACK_SCREENSHOTS") or tempfile.mkdtemp(prefix="medattack-screenshots-"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """A JupyterLab server with settings of its own: (its address, the folder it serves)."""
    home = tmp_path_factory.mktemp("jupyter")
    served = home / "notebooks"
    served.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
        "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={served}", "--IdentityProvider.token=",
        "--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        *(["--allow-root"] if is_root() else []),
    ]  # fmt: skip
    quiet = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false"}')  # else it asks, in front of the notebook
    own = {"JUPYTER_CONFIG_DIR": "config", "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "spaces"}
    environment = os.environ | {name: str(home / folder) for name, folder in own.items()}
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=served)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(server, address, home / "server.log")
        yield address, served
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def wait_until_up(server, address, log):
    """Return when the server answers; fail with its log if it doesn't."""
    local = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business with 127.0.0.1
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            local.open(f"{address}/api", timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not start within {START_SECONDS} s:\n{log.read_text()[-3000:]}")
