"""What follows from the course's public address, and that it is set in one place."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medattack_edu.course import address
from medattack_edu.course.address import Address

NOTEBOOK = "lessons/03_fgs.ipynb"
ADDRESSES = {
    "https://github.com/someone/a-course": Address("github.com", "someone", "a-course"),
    "https://github.com/someone/a.course.git": Address("github.com", "someone", "a.course"),
    "https://gitlab.com/group/part/course/": Address("gitlab.com", "group/part", "course"),
    "https://codeberg.org/someone/course": Address("codeberg.org", "someone", "course"),
}


@pytest.fixture
def read(tmp_path):
    def read(url):
        text = f'[project]\nname = "x"\n[project.urls]\nRepository = "{url}"\n'
        (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
        return address.read(tmp_path)

    return read


@pytest.mark.parametrize("url", ADDRESSES)
def test_an_address_is_read_where_it_is_set(url, read):
    assert read(url) == ADDRESSES[url]
    assert read(url).url == url.removesuffix("/").removesuffix(".git")


def test_there_is_none_while_it_is_not_set(tmp_path, read):
    assert address.read(tmp_path) is None
    assert read("") is None
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert address.read(tmp_path) is None


@pytest.mark.parametrize("url", ["soon", "https://github.com/someone", "http://github.com/a/b", "git@github.com:a/b"])
def test_what_is_no_address_of_a_repository_is_told(url, read):
    with pytest.raises(ValueError, match=r"\[project.urls\].*OWNER/NAME"):
        read(url)


def test_binder_gets_the_form_that_it_knows_for_each_host():
    opens = "HEAD?urlpath=lab%2Ftree%2Flessons%2F03_fgs.ipynb"
    github, _, gitlab, other = ADDRESSES.values()
    assert github.binder(NOTEBOOK) == f"https://mybinder.org/v2/gh/someone/a-course/{opens}"
    assert gitlab.binder(NOTEBOOK) == f"https://mybinder.org/v2/gl/group%2Fpart%2Fcourse/{opens}"
    quoted = "https%3A%2F%2Fcodeberg.org%2Fsomeone%2Fcourse"
    assert other.binder(NOTEBOOK) == f"https://mybinder.org/v2/git/{quoted}/{opens}"


def test_colab_opens_notebooks_of_github_alone():
    github, _, gitlab, _ = ADDRESSES.values()
    assert github.colab(NOTEBOOK) == f"https://colab.research.google.com/github/someone/a-course/blob/main/{NOTEBOOK}"
    assert gitlab.colab(NOTEBOOK) is None


NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]*", fullmatch=True)


@given(owner=NAMES, name=NAMES, end=st.sampled_from(["", "/", ".git", ".git/"]))
def test_any_owner_and_name_come_back(owner, name, end):
    assert address._ADDRESS.fullmatch(f"https://github.com/{owner}/{name}{end}").groups() == ("github.com", owner, name)


def test_the_courses_own_address_is_one_or_is_not_set_yet():
    address.read(Path(__file__).resolve().parents[2])
