"""The course's public address: set in one place, `[project.urls]` of pyproject.toml, and what follows from it."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

PLACE = "Repository, under [project.urls] in pyproject.toml"
BRANCH = "main"
BINDERS_NAMES = {"github.com": "gh", "gitlab.com": "gl"}  # of the hosts that Binder knows; it clones from any other

_ADDRESS = re.compile(r"https://([\w.-]+)/([\w.-]+(?:/[\w.-]+)*)/([\w.-]+?)(?:\.git)?/?")


@dataclass(frozen=True)
class Address:
    """Where the course's repository can be cloned from: ``https://HOST/OWNER/NAME``."""

    host: str
    owner: str
    name: str

    @property
    def url(self):
        return f"https://{self.host}/{self.owner}/{self.name}"

    @property
    def for_pip(self):
        """What pip installs the course from."""
        return f"git+{self.url}"

    def binder(self, path):
        """The link that opens a file of the repository in JupyterLab on mybinder.org."""
        kind, place = BINDERS_NAMES.get(self.host), f"{self.owner}/{self.name}"
        if kind == "gl":
            place = quote(place, safe="")
        elif kind is None:
            kind, place = "git", quote(self.url, safe="")
        return f"https://mybinder.org/v2/{kind}/{place}/HEAD?urlpath={quote(f'lab/tree/{path}', safe='')}"

    def colab(self, path):
        """The link that opens a notebook of the repository on Google Colab; None off GitHub: Colab reads no other."""
        if self.host != "github.com":
            return None
        return f"https://colab.research.google.com/github/{self.owner}/{self.name}/blob/{BRANCH}/{path}"


def read(root):
    """The `Address` of the course in this folder, None while it has none.

    Raises:
        ValueError: if what is set is no address of a repository.
    """
    project = Path(root) / "pyproject.toml"
    if not project.is_file():
        return None
    url = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {}).get("urls", {}).get("Repository")
    if not url:
        return None
    match = _ADDRESS.fullmatch(url)
    if not match:
        raise ValueError(f"{PLACE}, is {url!r}. Set it to an address like https://github.com/OWNER/NAME.")
    return Address(*match.groups())
