"""What is made once and kept: keys that change with what the code does, half-made things that aren't kept."""

import pytest
import torch

from medattack_edu import cache

CODE = '''"""A module."""


def f(x):
    """Twice."""
    return 2 * x  # why not
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "code.py"
    path.write_text(CODE)
    return path


@pytest.mark.parametrize(
    ("was", "becomes", "same"),
    [
        ("# why not", "# because", True),
        ('"""Twice."""', '"""Two times, in more words."""', True),
        ('"""A module."""', "", True),
        ("return 2 * x", "return (\n        2 * x\n    )", True),
        ("2 * x", "3 * x", False),
        ("def f(x)", "def f(x, y=1)", False),
        ("return 2", "print(1)\n    return 2", False),
    ],
)
def test_a_key_changes_with_what_the_code_does_and_with_nothing_else(file, was, becomes, same):
    before = cache.digest_of([file], 1)
    assert was in CODE
    file.write_text(CODE.replace(was, becomes))
    assert (cache.digest_of([file], 1) == before) is same
    assert cache.digest_of([file], 2) != cache.digest_of([file], 1)


def test_a_text_that_is_no_docstring_counts(file):
    file.write_text("x = 'one'\n")
    before = cache.digest_of([file])
    file.write_text("x = 'two'\n")
    assert cache.digest_of([file]) != before


def test_a_digest_of_weights_changes_with_a_weight_and_a_buffer():
    model = torch.nn.BatchNorm1d(2)
    before = cache.digest_of_weights(model)
    assert cache.digest_of_weights(torch.nn.BatchNorm1d(2)) == before
    model.running_mean[0] = 1
    changed = cache.digest_of_weights(model)
    model.weight.data[1] = 2
    assert len({before, changed, cache.digest_of_weights(model)}) == 3


def test_what_was_stopped_on_its_way_is_handed_out_and_not_kept(tmp_path):
    def stopped():
        raise cache.Unfinished({"half": torch.ones(2)})

    path = tmp_path / "made.safetensors"
    assert torch.equal(cache.kept(path, stopped)["half"], torch.ones(2))
    assert not path.exists()
    assert torch.equal(cache.kept(path, lambda: {"whole": torch.zeros(1)})["whole"], torch.zeros(1))
    assert list(cache.kept(path, stopped)) == ["whole"]
