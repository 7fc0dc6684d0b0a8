"""Every lesson and every solution runs from top to bottom, within its time and memory."""

import json
import sys
from contextlib import nullcontext

import pace
import pytest
from executed import LIMIT_S, ROOT, Outcome, execute, with_parameters

LESSONS = sorted((ROOT / "lessons").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))
CLINICS = ("fundus", "chest", "derm")

# Seconds on two quiet cores, by lesson. A test may not depend on how quiet or how fast the cores are, so what is held to
# this bar is the processor time that two cores have in it, stretched where `pace` says that the machine is slower than the
# one that the bars are for; seconds on the clock and pace are reported beside it.
DEFAULT_BAR_S, BARS_S = 60, {"02": 90}
CORES = 2
MEMORY_BAR = 1.5 * 2**30


def on_a_gpu():
    """There the processes hold the driver's memory as well, and the bars, which are for the CPU, aren't held."""
    from medattack_edu import runtime

    return runtime.device().type == "cuda"


@pytest.fixture
def run(tmp_path, record_property):
    """Execute a notebook, note what it took, and hold it to its bars."""

    def run(notebook, *, images, strict, clinic=None, data=None):
        page = with_parameters(notebook, tmp_path, clinic=clinic) if clinic else notebook
        with pace.watched() as laps:
            outcome = execute(page, tmp_path, images=images, strict=strict, data=data)
        slowness = pace.slowness(laps)
        peak = outcome.peak_bytes / 2**20
        what = f"{images}, {clinic}" if clinic else images
        record_property(
            "measured", (str(notebook.relative_to(ROOT)), what, outcome.wall_s, outcome.cpu_s, slowness, peak)
        )
        assert outcome.passed, f"{notebook.name} failed:\n{outcome.output[-6000:]}"
        if on_a_gpu():
            return
        bar = CORES * BARS_S.get(notebook.name[:2], DEFAULT_BAR_S) * max(1, slowness)
        assert outcome.cpu_s <= bar, (
            f"{notebook.name} took {outcome.cpu_s:.0f} s of processor time; its bar is {bar:.0f} s "
            f"on this machine, which is {slowness:.2f} times as slow as the one that the bars are for"
        )
        assert peak <= MEMORY_BAR / 2**20, f"{notebook.name} peaked at {peak:.0f} MiB; the bar is 1536 MiB"

    return run


def names(notebooks):
    return [notebook.stem for notebook in notebooks]


def own_clinic(notebook):
    """The clinic that the notebook's parameters name, or None if it has none."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            for line in "".join(cell["source"]).splitlines():
                name, _, value = line.partition("=")
                if name.strip() == "clinic":
                    return value.split("#")[0].strip().strip("\"'")
    return None


def clinics_to_try(notebook, config):
    """Of a solution: its own clinic (as None); with --all-clinics the other ones too."""
    own = own_clinic(notebook)
    others = [clinic for clinic in CLINICS if clinic != own] if own and config.getoption("all_clinics") else []
    return [None, *others]


def pytest_generate_tests(metafunc):
    if "solution" in metafunc.fixturenames:
        cases = [(path, clinic) for path in SOLUTIONS for clinic in clinics_to_try(path, metafunc.config)]
        ids = [path.stem if clinic is None else f"{path.stem}-{clinic}" for path, clinic in cases]
        metafunc.parametrize(("solution", "clinic"), cases, ids=ids)


def test_there_is_a_lesson_for_every_solution_and_the_first_one_is_the_start():
    assert names(LESSONS) == names(SOLUTIONS)
    assert LESSONS[0].name == "00_start_here.ipynb"


@pytest.mark.parametrize("lesson", LESSONS, ids=names(LESSONS))
def test_a_lesson_runs_to_its_end_though_nothing_is_written_yet(lesson, run):
    run(lesson, images="phantom", strict=False)


def test_a_solution_passes_its_checks_and_its_claims_hold_on_phantoms(solution, clinic, run):
    run(solution, images="phantom", strict=True, clinic=clinic)


def test_a_solution_passes_its_checks_and_its_claims_hold_on_real_images(solution, clinic, run, real_images):
    run(solution, images="real", strict=True, clinic=clinic, data=real_images)


def test_a_lesson_runs_from_an_empty_cache(tmp_path, monkeypatch):
    """As on the first day: phantoms are drawn and the victim is trained on the way, which no bar holds for."""
    monkeypatch.setenv("MEDATTACK_CACHE", str(tmp_path / "cache"))
    (lesson,) = [path for path in LESSONS if path.name.startswith("01")]  # of one clinic, and short
    outcome = execute(lesson, tmp_path, images="phantom", strict=False, cell_limit_s=LIMIT_S)
    assert outcome.passed, outcome.output[-6000:]
    assert list((tmp_path / "cache" / "victims").glob("*.safetensors"))


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome(True, "", 1.0, 1.0, 1600 * 2**20), "peaked at 1600 MiB; the bar is 1536 MiB"),
        (Outcome(True, "", 999.0, 999.0, 2**20), "took 999 s of processor time; its bar is 120 s"),
        (Outcome(False, "a cell that failed", 1.0, 1.0, 2**20), "a cell that failed"),
    ],
    ids=["memory", "time", "error"],
)
def test_a_lesson_that_outgrows_a_bar_fails_with_the_figure(outcome, said, run, monkeypatch, request):
    here = sys.modules[__name__]
    monkeypatch.setattr(here, "execute", lambda *_, **__: outcome)
    monkeypatch.setattr(here, "on_a_gpu", lambda: False)
    monkeypatch.setattr(pace, "watched", lambda: nullcontext([1.0]))
    with pytest.raises(AssertionError, match=said):
        run(LESSONS[0], images="phantom", strict=False)
    request.node.user_properties.clear()  # nothing was measured, so nothing belongs in the table
