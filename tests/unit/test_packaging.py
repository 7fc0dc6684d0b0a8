"""What stands at the top of the repository: pins, the bootstrap script, continuous integration, Binder, the README."""

import ast
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import yaml

import medattack_edu

ROOT = Path(__file__).parents[2]
CONDA_NAMES = {"torch": "pytorch"}
# What environment.yml names without a version of its own: needed by what is pinned, or by the installation.
UNPINNED_IN_CONDA = {"pip", "fire", "pandas"}
# Imported though nobody asks for it by name: what ipykernel, nbconvert and Sphinx themselves are made of.
BROUGHT_ALONG = {"ipython", "traitlets", "pygments", "docutils"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")

posix_only = pytest.mark.skipif(os.name != "posix", reason="the bootstrap is a POSIX shell script; Windows uses conda")


def pins(requirements):
    return dict(requirement.split("==") for requirement in requirements)


# Style


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_the_code_is_in_order(command):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, str(ROOT)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-500:]


# Pins


@pytest.mark.skipif(
    os.environ.get("CI") != "true", reason="elsewhere whoever lacks a tool skips the tests that need it"
)
def test_in_ci_every_tool_of_the_tests_is_there_so_that_none_is_skipped_for_want_of_it():
    every = pins([*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]])
    assert {name: version(name).partition("+")[0] for name in every} == every


def test_every_dependency_is_pinned_to_one_version():
    every = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    assert [requirement for requirement in every if not re.fullmatch(r"[A-Za-z0-9-]+==[0-9.]+", requirement)] == []


def test_the_conda_environment_has_the_same_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    from_pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    from_conda = dict(entry.split("=")[:2] for entry in environment["dependencies"] if re.search(r"\w=\d", str(entry)))
    assert from_conda.pop("python") == "3.11"
    wanted = pins(PROJECT["dependencies"])
    by_pip = pins(from_pip)
    assert by_pip.items() <= wanted.items()
    assert from_conda == {CONDA_NAMES.get(name, name): pin for name, pin in wanted.items() if name not in by_pip}


def test_the_conda_environment_takes_the_cpu_build_and_names_nothing_else_without_a_version():
    entries = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    assert any(re.fullmatch(r"pytorch=[\d.]+=cpu_\*", str(entry)) for entry in entries)
    bare = {entry for entry in entries if isinstance(entry, str) and "=" not in entry}
    assert bare == UNPINNED_IN_CONDA


def test_binder_takes_the_same_conda_environment_and_leaves_the_wheels_to_postbuild():
    everywhere, binder = (
        yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
        for path in ("environment.yml", "binder/environment.yml")
    )
    assert isinstance(everywhere["dependencies"].pop(), dict)  # the part that is pip's
    assert binder == everywhere


@posix_only
def test_binder_installs_the_wheels_and_the_package_without_a_cache_and_then_prepares(tmp_path):
    """Its script is run beside a pip and a medattack that only write down what they are asked."""
    told = tmp_path / "told.txt"
    for name in ("pip", "medattack"):
        command = tmp_path / name
        command.write_text(f'#!/bin/sh\necho {name} "$@" >> "{told}"\n')
        command.chmod(0o755)
    path = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([ROOT / "binder/postBuild"], cwd=ROOT, env=os.environ | path, check=True)
    from_pip = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"][-1]["pip"]
    install, prepare = told.read_text().splitlines()
    assert install == " ".join(["pip install --no-deps --no-cache-dir .", *from_pip])
    assert prepare == "medattack prepare"


def test_binder_bounds_threads_and_memory():
    start = (ROOT / "binder/start").read_text(encoding="utf-8")
    assert (
        "export OMP_NUM_THREADS=" in start
        and "export MALLOC_ARENA_MAX=" in start
        and start.rstrip().endswith('exec "$@"')
    )


@posix_only
def test_binder_would_build_its_image_from_these_files():
    """Binder's own tool is asked for the Dockerfile that it would build."""
    ask = ["-m", "repo2docker", "--no-build", "--debug", "--user-id", "1000", "--user-name", "jovyan", str(ROOT)]
    dockerfile = subprocess.run([sys.executable, *ask], capture_output=True, text=True, check=True).stdout
    assert 'env update -p ${NB_PYTHON_PREFIX} --file "binder/environment.yml"' in dockerfile
    assert "RUN ./binder/postBuild" in dockerfile
    assert 'ENV R2D_ENTRYPOINT="${REPO_DIR}/binder/start"' in dockerfile


def test_the_citation_has_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == medattack_edu.__version__
    assert citation["license"] == PROJECT["license"] == "MIT"


def test_every_folder_of_the_package_is_installed():
    folders = {path.parent for path in (ROOT / "medattack_edu").rglob("*.py")}
    assert [folder.name for folder in folders if not (folder / "__init__.py").exists()] == []


# Commands


@posix_only
@pytest.mark.parametrize("script", ["bin/setup", "bin/test", ".ci/run", "binder/postBuild", "binder/start"])
def test_scripts_may_be_executed_and_parse(script):
    path = ROOT / script
    assert path.stat().st_mode & stat.S_IXUSR
    shell = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("#!")
    assert subprocess.run([shell, "-n", path], check=False).returncode == 0


def test_ci_runs_the_command_of_the_readme_from_an_empty_cache():
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert ci.splitlines()[-1] == "make test"
    assert "MEDATTACK_CACHE=$(mktemp -d)" in ci


@posix_only
def test_make_help_lists_every_command():
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(targets) == {"help", "lab", "test", "run", "bench", "build", "guide", "site"}
    assert all(f"make {target} " in told for target in targets)


@posix_only
def test_make_passes_arguments_and_the_device_on():
    plan = ["make", "-n", "lab", "test", 'ARGS=--port 9999 -k "a or b"', "DEVICE=cuda"]
    told = subprocess.run(plan, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert 'lab -- --port 9999 -k "a or b"' in told
    assert 'bin/test --port 9999 -k "a or b"' in told


# The bootstrap: a folder with a space in its name, and a Python that only pretends

FAKE_PYTHON = """#!/bin/sh
case "$*" in
--version) echo "Python ${FAKE_VERSION:-3.11.7}" ;;
*version_info\\ *) [ -z "$FAKE_VERSION" ] ;;
*version_info*) echo 3.11 ;;
*ensurepip*) [ -z "$FAKE_NO_VENV" ] ;;
"-m venv --clear .venv") rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo made >>log ;;
"-m pip --version") ;;
"-m pip install"*) echo "$*" >>log; [ -z "$FAKE_PIP_FAILS" ] ;;
*) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""
TOOLS = ("sh", "awk", "cat", "cksum", "cp", "dirname", "df", "du", "mkdir", "rm", "uname")


@pytest.fixture
def clone(tmp_path):
    """A function that runs bin/setup in a clone with a fake python3; keyword arguments are environment variables."""
    folder = tmp_path / "a clone"
    (folder / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "bin/setup", folder / "bin/setup")
    shutil.copy(ROOT / "pyproject.toml", folder)
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in TOOLS:
        (tools / tool).symlink_to(shutil.which(tool))

    def write_tool(name, text):
        (tools / name).unlink(missing_ok=True)
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)

    def setup(extras="learner", **environment):
        return subprocess.run(
            [folder / "bin/setup", extras],
            env={"PATH": str(tools), **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    write_tool("python3", FAKE_PYTHON)
    setup.folder, setup.tools, setup.write_tool = folder, tools, write_tool
    setup.log = lambda: (folder / "log").read_text().splitlines() if (folder / "log").exists() else []
    return setup


def one_line(done):
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


@posix_only
def test_setup_installs_once_and_is_quiet_after_that(clone):
    first = clone()
    assert first.returncode == 0, first.stderr
    assert clone.log() == ["made", "-m pip install --disable-pip-version-check --editable ."]
    second = clone()
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert len(clone.log()) == 2


@posix_only
def test_the_tests_add_their_tools_and_a_learner_then_needs_nothing_more(clone):
    clone()
    clone("dev")
    assert clone.log()[-1].endswith("--editable .[dev]")
    clone()
    assert len(clone.log()) == 3


@posix_only
def test_a_site_adds_its_tools_and_a_learner_then_needs_nothing_more(clone):
    clone("site")
    assert clone.log()[-1].endswith("--editable .[site]")
    clone()
    clone("site")
    assert len(clone.log()) == 2
    clone("dev")
    assert clone.log()[-1].endswith("--editable .[dev]")


@posix_only
@pytest.mark.parametrize("change", ["another pyproject.toml", "another place"])
def test_setup_installs_again_after(change, clone):
    clone()
    if change == "another place":
        clone.folder.rename(clone.folder.with_name("elsewhere"))
        done = subprocess.run(
            [clone.folder.with_name("elsewhere") / "bin/setup", "learner"], env={"PATH": str(clone.tools)}, check=True
        )
        assert done.returncode == 0
        clone.folder.with_name("elsewhere").rename(clone.folder)
    else:
        with open(clone.folder / "pyproject.toml", "a") as file:
            file.write("\n")
        clone()
    assert len(clone.log()) == 3  # the environment stays, the installation is repeated


@posix_only
def test_a_failed_installation_is_said_and_not_taken_for_a_finished_one(clone):
    assert "did not finish" in one_line(clone(FAKE_PIP_FAILS="1"))
    assert clone().returncode == 0
    assert clone.log()[1:] == ["-m pip install --disable-pip-version-check --editable ."] * 2


@posix_only
def test_a_half_made_environment_is_made_anew(clone):
    (clone.folder / ".venv/bin").mkdir(parents=True)
    (clone.folder / ".venv/bin/python").write_text("#!/bin/sh\nexit 1\n")
    (clone.folder / ".venv/bin/python").chmod(0o755)
    assert clone().returncode == 0
    assert clone.log()[0] == "made"


@posix_only
def test_an_old_python_gets_one_line(clone):
    line = one_line(clone(FAKE_VERSION="3.9.18"))
    assert "Python 3.9.18" in line and "3.11 or newer" in line and "PYTHON=" in line
    line = one_line(clone(FAKE_VERSION="3.9.18", PYTHON="python3"))
    assert "python3 is Python 3.9.18" in line


@posix_only
def test_a_newer_python_beside_an_old_one_is_found(clone):
    clone.write_tool("python3.12", FAKE_PYTHON)
    clone.write_tool(
        "python3", FAKE_PYTHON.replace("${FAKE_VERSION:-3.11.7}", "3.9.1").replace('[ -z "$FAKE_VERSION" ]', "false")
    )
    assert clone().returncode == 0


@posix_only
def test_no_python_gets_one_line(clone):
    (clone.tools / "python3").unlink()
    assert "no python3 here" in one_line(clone())
    assert "no python9 here" in one_line(clone(PYTHON="python9"))


@posix_only
def test_a_missing_venv_module_gets_one_line_that_says_what_to_install(clone):
    assert "sudo apt install python3.11-venv" in one_line(clone(FAKE_NO_VENV="1"))
    assert not (clone.folder / ".venv").exists()


@posix_only
def test_a_full_disk_gets_one_line_before_anything_is_made(clone):
    clone.write_tool(
        "df",
        "#!/bin/sh\necho 'Filesystem 1024-blocks Used Available Capacity Mounted on'\n"
        "echo '/dev/my disk 90000000 88000000 2200000 98% /media/my disk'\n",
    )
    line = one_line(clone())
    assert re.search(r"2 GB are free .* needs about \d GB", line)
    assert clone.log() == []


# The parts of `make test`

RECORDING_PYTHON = """#!/bin/sh
echo "$OMP_NUM_THREADS $*" >>log
case "$*" in *"$FAILS"*) exit 1 ;; esac
"""


@pytest.fixture
def parts(tmp_path):
    """A function that runs bin/test with a Python that only notes what it is told; returns exit code and notes."""
    folder = tmp_path / "a clone"
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "tests/browser").mkdir(parents=True)
    (folder / "tests/browser/test_sliders.py").touch()
    shutil.copy(ROOT / "bin/test", folder / "bin/test")
    (folder / ".venv/bin/python").write_text(RECORDING_PYTHON)
    (folder / ".venv/bin/python").chmod(0o755)

    def parts(*arguments, fails="nothing", **environment):
        done = subprocess.run(
            [folder / "bin/test", *arguments],
            env={"PATH": os.environ["PATH"], "FAILS": fails, **environment},
            cwd=tmp_path,
            check=False,
        )
        notes = [line.split(" ", 1) for line in (folder / "log").read_text().splitlines()]
        (folder / "log").unlink()
        return done.returncode, notes

    return parts


def made(notes):
    """What was prepared, of which images, whatever the order; each with one thread."""
    making = [words for threads, words in notes if threads == "1" and "prepare" in words]
    assert notes[: len(making)] == [["1", words] for words in making]
    return sorted(words.removeprefix("-m medattack_edu prepare ").split(" --images ") for words in making)


@posix_only
def test_the_victims_are_made_before_the_tests_share_the_cores(parts):
    code, notes = parts()
    assert code == 0
    assert made(notes) == sorted([what, "phantom"] for what in ("chest", "derm", "objects", "fundus"))
    notes = notes[4:]
    assert notes[0][0] == "1" and notes[0][1].startswith("-m pytest tests/unit -n 2")
    assert notes[1][0] == "1" and notes[1][1].startswith("-m pytest tests/notebooks -n 2")
    assert notes[2][0] == "1" and notes[2][1].startswith(
        "-m pytest tests/browser --ignore tests/browser/test_widgets.py -n 2"
    )
    assert notes[3] == ["", "-m pytest tests/browser/test_widgets.py"]


@posix_only
def test_the_victims_of_real_images_are_made_beside_the_others_where_there_are_real_images(parts):
    code, notes = parts(MEDATTACK_DATA="somewhere")
    clinics = [[what, images] for what in ("chest", "derm", "fundus") for images in ("phantom", "real")]
    assert code == 0 and made(notes) == sorted([*clinics, ["objects", "phantom"]])
    assert notes[7][1].startswith("-m pytest tests/unit")


@posix_only
@pytest.mark.parametrize("images", ["phantom", "real"])
def test_images_that_cannot_be_prepared_stop_everything(parts, images):
    code, notes = parts(MEDATTACK_DATA="somewhere", fails=f"--images {images}")
    assert code == 1 and not any("pytest" in note for _, note in notes)


@posix_only
@pytest.mark.parametrize("part", ["tests/unit", "tests/notebooks", "tests/browser"])
def test_a_part_that_fails_fails_the_whole_and_stops_no_other(parts, part):
    code, notes = parts(fails=part)
    assert code == 1 and len(notes) == 8


@posix_only
def test_arguments_make_one_plain_run_of_pytest(parts):
    code, notes = parts("tests/unit", "-k", "a or b")
    assert (code, notes) == (0, [["", "-m pytest tests/unit -k a or b"]])


# Imports


LESSON_NAMES = "open_clinic, attacks, check, hint, claim, freeze, evaluate, show, explore"
HEAVY = {"torchvision", "sklearn", "timm", "medmnist", "skimage", "pandas", "scipy"}


def loaded_after(statement):
    """The top-level modules that are loaded after `statement` in a new process."""
    code = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(done.stdout.split())


def test_what_a_lesson_imports_brings_nothing_heavy():
    loaded = loaded_after(f"from medattack_edu import {LESSON_NAMES}")
    assert "torch" in loaded
    assert loaded & HEAVY == set()


def test_the_package_itself_and_the_command_line_bring_not_even_pytorch():
    assert loaded_after("import medattack_edu, medattack_edu.cli") & (HEAVY | {"torch", "numpy"}) == set()


# README


def lessons_there():
    return {path.name[:2] for path in (ROOT / "solutions").glob("[0-9][0-9]_*.py")}


def feature_rows():
    table = README.partition("## What the course covers")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| ")]
    return [(what.strip(), where.strip()) for what, where in rows[1:] if where.strip()]


def test_every_feature_names_lessons_that_exist_or_says_that_they_are_planned():
    assert len(feature_rows()) >= 39
    for what, where in feature_rows():
        lessons = re.findall(r"\b(\d\d)\b( \([^)]*planned\))?", where)
        assert lessons, f"{what!r} names no lesson"
        for number, planned in lessons:
            assert number in lessons_there() or planned, f"{what!r}: lesson {number} isn't there"


def test_the_table_of_lessons_tells_what_is_there():
    table = README.partition("## The lessons")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if re.match(r"\| \d\d", line)
    ]
    numbers = [row[0] for row in rows]
    assert numbers[:13] == [f"{number:02}" for number in range(13)] and numbers == sorted(set(numbers))
    assert {row[0] for row in rows if row[-1] != "planned"} == lessons_there()
    for number, *_, time in rows:
        for source in (ROOT / "solutions").glob(f"{number}_*.py"):
            told = re.search(r"\d+( to \d+)? min", source.read_text(encoding="utf-8"))
            assert told and told[0] == time, f"{source.name} says {told and told[0]}, the README {time}"


def test_every_file_that_the_readme_links_to_exists():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


# What is imported is installed


def imported_by(path):
    """The top-level modules that a Python file imports, wherever in it, from outside of the course."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"medattack_edu"}


def projects(requirements):
    return {re.match(r"[A-Za-z0-9_.-]+", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def test_every_import_of_the_package_and_the_lessons_is_provided_by_what_is_installed():
    """By the dependencies, which the conda environments have too, or by the extra that names a module of the course."""
    extras = PROJECT["optional-dependencies"]
    of_module = {"course/cluster.py": "cluster", "course/formulas.py": "site"}
    of_module |= {f"course/{name}.py": "site" for name in ("site", "site_text", "site_theme")}
    homes = packages_distributions()
    missing = {}
    for path in [*(ROOT / "medattack_edu").rglob("*.py"), *(ROOT / "solutions").glob("*.py")]:
        extra = (
            of_module.get(path.relative_to(ROOT / "medattack_edu").as_posix())
            if "solutions" not in path.parts
            else None
        )
        provided = projects(PROJECT["dependencies"]) | projects(extras.get(extra, ())) | BROUGHT_ALONG
        for module in imported_by(path):
            if not {home.lower().replace("_", "-") for home in homes.get(module, [module])} & provided:
                missing.setdefault(path.relative_to(ROOT).as_posix(), set()).add(module)
    assert missing == {}
