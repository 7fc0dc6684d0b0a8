"""What README and docs say of the course's public address, between two marks in each; a build writes it from `address`.

The cells of the lessons that name the address are made in `made`.
"""

import re
from urllib.parse import quote

from medattack_edu import runtime
from medattack_edu.course.address import BRANCH
from medattack_edu.course.source import Problem

FIRST_LESSON = "lessons/00_start_here.ipynb"
_BLOCK = r"(<!-- made by medattack build: {} -->\n).*?(<!-- end -->)"


def bring_up_to_date(root, home, check):
    """Write the blocks of the address into the files that have them; with `check` only say which aren't up to date.

    Args:
        root: the folder of the course.
        home: its `Address`, or None.
        check: write nothing.

    Returns:
        A list of `Problem`.
    """
    found = []
    for name, blocks in BLOCKS.items():
        path = root / name
        if not path.is_file():  # an installation without the clone
            continue
        text = wanted = path.read_text(encoding="utf-8")
        for block, make in blocks.items():
            wanted, there = re.subn(_BLOCK.format(block), rf"\g<1>{make(home)}\n\g<2>", wanted, flags=re.DOTALL)
            if there != 1:
                found.append(
                    Problem(path, None, f"has {there} blocks `<!-- made by medattack build: {block} -->`, not 1.")
                )
        if wanted != text and check:
            found.append(Problem(path, None, "hasn't the address that the course has now. To mend: medattack build."))
        elif wanted != text:
            with runtime.atomic_path(path) as temporary:
                temporary.write_text(wanted, encoding="utf-8", newline="\n")
    return found


def binder(home):
    """The badge that opens the first lesson on Binder."""
    if home is None:
        return (
            "This copy of the course has no public\naddress yet, so there is no badge to click. Set `Repository` under "
            "`[project.urls]` in `pyproject.toml` and run\n`medattack build`: it puts the badge here."
        )
    return f"[![Open the first lesson on Binder](https://mybinder.org/badge_logo.svg)]({home.binder(FIRST_LESSON)})"


def pull(home):
    """The link by which nbgitpuller brings the course to a learner on a hub."""
    if home is None:
        return f"```\n{_pull('ADDRESS', 'NAME')}\n```\n\n" + (
            "This copy of the course has no public address yet. Put that of your clone in place of `ADDRESS`, and the clone's name in\n"
            "place of `NAME`; or set `Repository` under `[project.urls]` in `pyproject.toml`, run `medattack build`, and both stand here."
        )
    return f"```\n{_pull(quote(home.url, safe=''), home.name)}\n```"


def clone(home):
    """How to clone the course on a server."""
    return f"```sh\nsudo git clone {home.url if home else 'ADDRESS'} /srv/medattack\n```"


def image(home):
    """How to build an image of the course for a hub on Kubernetes."""
    address = home.url if home else "ADDRESS"
    return f"```sh\njupyter-repo2docker --no-run --user-id 1000 --user-name jovyan --image-name medattack-base {address}\n```"


def _pull(address, name):
    place = quote(f"lab/tree/{name}/{FIRST_LESSON}", safe="")
    return f"https://HUB/hub/user-redirect/git-pull?repo={address}&branch={BRANCH}&urlpath={place}"


BLOCKS = {
    "README.md": {"binder": binder, "nbgitpuller": pull},
    "docs/hub.md": {"clone": clone, "image": image, "nbgitpuller": pull},
}
