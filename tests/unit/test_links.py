"""The address in README and docs: written by a build from the one place where it is set, and told where it isn't set."""

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from medattack_edu.course import address, links

ROOT = Path(__file__).parents[2]
HOME = address.Address("github.com", "some-clinic", "attacks")
HOMES = [HOME, address.Address("gitlab.com", "some-clinic/teaching", "attacks")]


BLOCK = re.compile("<!-- made by medattack build: .*?<!-- end -->", re.DOTALL)


@pytest.fixture
def course(tmp_path):
    """A copy of the files that have such blocks."""
    for name in links.BLOCKS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


def text_of(course):
    return {name: (course / name).read_text(encoding="utf-8") for name in links.BLOCKS}


def test_readme_and_docs_have_what_a_build_would_write():
    assert links.bring_up_to_date(ROOT, address.read(ROOT), check=True) == []


@pytest.mark.parametrize("home", HOMES, ids=lambda home: home.host)
def test_an_address_reaches_badge_and_links_and_leaves_no_placeholder(home, course):
    told = links.bring_up_to_date(course, home, check=True)
    assert {str(problem.file.relative_to(course)) for problem in told} == set(links.BLOCKS)
    assert all("medattack build" in problem.text for problem in told)
    assert links.bring_up_to_date(course, home, check=False) == [] == links.bring_up_to_date(course, home, check=True)
    text = text_of(course)
    assert "mybinder.org/badge_logo.svg" in text["README.md"]
    assert home.binder(links.FIRST_LESSON) in text["README.md"] and "no public\naddress" not in text["README.md"]
    assert f"sudo git clone {home.url} /srv/medattack\n" in text["docs/hub.md"]
    assert f"--user-name jovyan --image-name medattack-base {home.url}\n" in text["docs/hub.md"]
    assert not any("ADDRESS" in made for page in text.values() for made in BLOCK.findall(page))


@pytest.mark.parametrize("page", links.BLOCKS)
def test_the_nbgitpuller_link_clones_the_course_and_opens_its_first_lesson(page, course):
    links.bring_up_to_date(course, HOME, check=False)
    [link] = re.findall(r"https://HUB/\S+", text_of(course)[page])
    asked = parse_qs(urlsplit(link).query)
    assert asked == {
        "repo": ["https://github.com/some-clinic/attacks"],
        "branch": [address.BRANCH],
        "urlpath": [f"lab/tree/attacks/{links.FIRST_LESSON}"],
    }
    assert (ROOT / links.FIRST_LESSON).is_file()


def test_without_an_address_each_place_says_what_to_do(course):
    links.bring_up_to_date(course, HOME, check=False)
    links.bring_up_to_date(course, None, check=False)
    assert text_of(course) == {
        name: (ROOT / name).read_text(encoding="utf-8") for name in links.BLOCKS
    } or address.read(ROOT)
    text = text_of(course)
    assert "mybinder.org" not in text["README.md"]
    assert all("`[project.urls]`" in page and "medattack build" in page for page in text.values())


def test_a_block_that_is_gone_is_told(course):
    (course / "README.md").write_text("# nothing here\n", encoding="utf-8")
    problems = links.bring_up_to_date(course, None, check=False)
    told = [problem.text for problem in problems if problem.file.name == "README.md"]
    assert ["has 0 blocks" in text for text in told] == [True, True]
    assert (course / "README.md").read_text(encoding="utf-8") == "# nothing here\n"


def test_a_folder_without_these_files_has_nothing_to_write(tmp_path):
    assert links.bring_up_to_date(tmp_path, HOME, check=False) == [] == list(tmp_path.iterdir())
