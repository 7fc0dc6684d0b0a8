"""`make bench` on a tiny model: the tables have their shape, and a library that isn't there is told and not dropped."""

import json
import re

import pytest

pytest.importorskip("foolbox", reason="the libraries to compare with come with the tests' tools")

from pathlib import Path  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder that the quick run writes, with a library among the peers that nobody has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        patch.chdir(
            tmp_path_factory.mktemp("elsewhere")
        )  # where no library has been installed into a folder of its own
        import torch

        from benchmarks.side_by_side import __main__ as command
        from benchmarks.side_by_side import peers

        patch.setitem(peers.PEERS, "torchattacks", peers.Peer("torchattacks_that_nobody_has", "no-such-package", "1.0"))
        threads, out = torch.get_num_threads(), tmp_path_factory.mktemp("bench")
        command.main(["--quick", "--out", str(out)])
        torch.set_num_threads(threads)
    return out


def tables(written):
    """{heading: rows of cells}, without the heads."""
    page = (written / "side_by_side.md").read_text(encoding="utf-8")
    found = {}
    for section in page.split("\n## ")[1:]:
        lines = [line for line in section.splitlines() if line.startswith("|")]
        found[section.partition("\n")[0]] = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return found


def test_every_part_has_a_table_whose_rows_are_as_long_as_its_head(written):
    titles = [
        "FGS",
        "PGD, 10 steps",
        "PGD, 20 steps",
        "PGD, 20 steps, stopping at each image when it is fooled",
        "NES",
        "Square",
    ]
    found = tables(written)
    assert (
        list(found)[:6] == titles and list(found)[6].startswith("Training a patch") and list(found)[7] == "How it grows"
    )
    for title, (head, rule, *rows) in list(found.items())[:7]:
        assert rows and set(rule) == {"---"}, title
        assert {len(row) for row in rows} == {len(head)}, title


def test_ours_the_yardsticks_and_every_library_are_in_the_tables(written):
    found = tables(written)
    for title in ("FGS", "PGD, 10 steps", "PGD, 20 steps"):
        who = [row[0] for row in found[title][2:]]
        assert {"plain loop", "limit", "medattack", "Foolbox", "ART", "torchattacks", "CleverHans"} <= set(who)
        assert who.count("Foolbox") == who.count("ART") == 2  # as trained and frozen
    assert [row[0] for row in found["Square"][2:]].count("ART") == 2


def test_a_library_that_is_not_here_is_told_in_every_table(written):
    for title, rows in list(tables(written).items())[:7]:
        if "stopping" in title:
            continue
        missing = [row for row in rows if row[0] == "torchattacks"]
        assert len(missing) == 1 and missing[0][2].startswith("not measured: not installed here"), title


def test_nobody_else_failed(written):
    measured = json.loads((written / "measured.json").read_text(encoding="utf-8"))
    problems = {
        (name, row["who"], row["problem"])
        for name, part in measured["parts"].items()
        for row in part["rows"]
        if row["problem"] and not re.match("not installed here|has no ", row["problem"])
    }
    assert problems == set()


def test_the_same_algorithm_gives_the_same_images_everywhere(written):
    measured = json.loads((written / "measured.json").read_text(encoding="utf-8"))
    for name in ("FGS", "PGD-10", "PGD-20"):
        for row in measured["parts"][name]["rows"]:
            if row["unlike"] is not None:
                assert row["unlike"] < 1e-3, (name, row["who"])


def test_the_page_names_the_machine_without_its_name_and_its_folders(written):
    import platform

    page = (written / "side_by_side.md").read_text(encoding="utf-8")
    assert "PyTorch 2." in page and "threads 1" in page
    assert str(ROOT) not in page and platform.node() not in page.split()


def test_both_pictures_are_there_and_are_svg(written):
    for name in ("side_by_side.svg", "growth.svg"):
        assert "<svg" in (written / name).read_text(encoding="utf-8")[:1000]


def test_the_page_says_how_it_was_made_and_another_code_starts_anew(written, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.side_by_side import __main__ as command

    page = (written / "side_by_side.md").read_text(encoding="utf-8")
    assert "--batch 4 --rounds 1 --queries 42" in page
    before = json.loads((written / "measured.json").read_text(encoding="utf-8"))
    options = command.parse(["--quick"])
    assert str(options.out) != str(command.parse([]).out)  # a trial never writes over a measurement
    for changed in ("code", "arguments"):
        (written / "other.json").write_text(json.dumps(before | {changed: "another"}), encoding="utf-8")
        assert command.known(written / "other.json", options, {}, before["setting"])["parts"] == {}


def test_a_library_that_fails_in_a_counted_round_drops_out_and_ends_nothing(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.side_by_side.rounds import Run, in_turns

    calls = iter(range(10))
    fragile, sound = Run("fragile", go=lambda: 1 / (next(calls) < 2)), Run("sound", go=lambda: 1)
    in_turns([fragile, sound], {}, rounds=3)
    assert "ZeroDivisionError" in fragile.problem and not fragile.seconds and len(sound.seconds) == 3
    assert fragile.per(sound) is None


def test_a_share_of_a_yardstick_is_taken_within_each_round():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        from benchmarks.side_by_side.rounds import Run
    slow, quick = Run("slow", seconds=[2.0, 4.0, 9.0]), Run("quick", seconds=[1.0, 2.0, 3.0])
    assert quick.per(slow) == (0.5, 1 / 3, 0.5)
    assert quick.per(Run("absent")) is None
