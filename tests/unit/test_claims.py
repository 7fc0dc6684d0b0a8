"""What `claim` promises: one truth value in, a tick or a plain no out, and a record that programs can count."""

import numpy as np
import pytest
import torch

from medattack_edu import claim
from medattack_edu.course import notices
from medattack_edu.course.claims import CLAIM_RECORD, ClaimFailed


@pytest.mark.parametrize("true", [True, np.bool_(True), np.array(True), torch.tensor(True), torch.tensor(0.1) < 0.2])
def test_a_claim_that_holds_gets_a_tick_and_its_numbers(true, capsys):
    claim("PGD beats FGS", true, detail="0.02 against 0.31")
    assert capsys.readouterr().out == "✓ Holds: PGD beats FGS\n  0.02 against 0.31\n"


@pytest.mark.parametrize("false", [False, np.bool_(False), torch.tensor(False)])
def test_a_claim_that_does_not_hold_says_so_and_the_lesson_goes_on(false, capsys):
    claim("PGD beats FGS", false)
    assert capsys.readouterr().out == "→ Does not hold here: PGD beats FGS\n"


def test_strict_mode_raises_with_the_text_and_the_numbers(monkeypatch):
    monkeypatch.setenv("MEDATTACK_STRICT", "1")
    claim("this one holds", True)
    with pytest.raises(ClaimFailed, match=r"PGD beats FGS \(0.4 against 0.3\)"):
        claim("PGD beats FGS", False, detail="0.4 against 0.3")


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (torch.ones(3) > 0, "all"), (np.ones((2, 2)) > 0, "all"), (torch.tensor([True]), "all"), (None, "Compare two"),
        (0.3, "Compare two"), (torch.tensor(0.3), "Compare two"), ("yes", "Compare two"), (1, "Compare two"),
    ],
)  # fmt: skip
def test_what_is_not_one_truth_value_is_refused_with_advice(value, advice):
    with pytest.raises(ValueError, match=f"one truth value.*{advice}"):
        claim("PGD beats FGS", value)


@pytest.mark.parametrize("holds", [True, False])
def test_in_a_notebook_a_claim_leaves_html_text_and_a_record(holds, monkeypatch):
    shown = []
    monkeypatch.setattr(notices, "in_kernel", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda value, raw: shown.append(value))
    claim("a < b", torch.tensor(holds), detail="1 & 2")
    assert shown[0][CLAIM_RECORD] == {"text": "a < b", "holds": holds, "detail": "1 & 2"}
    assert "a &lt; b" in shown[0]["text/html"] and "1 &amp; 2" in shown[0]["text/html"]
    words, symbol = ("Holds", "✓") if holds else ("Does not hold here", "→")
    assert words in shown[0]["text/html"] and symbol in shown[0]["text/html"], "colour alone must not say it"
    assert shown[0]["text/plain"].startswith(f"{symbol} {words}")


def test_a_terminal_without_the_symbols_gets_text_all_the_same(monkeypatch):
    import io
    import sys

    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    claim("PGD beats FGS", True)
    terminal.flush()
    assert b"Holds: PGD beats FGS" in terminal.buffer.getvalue()
