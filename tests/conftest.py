"""What all tests stand on: a cache folder of their own, beside the learner's."""

import os

import pytest

from medattack_edu import runtime

# What takes minutes to make and is the same for everybody is taken from the learner's cache, and left there for the next
# run. Progress isn't: a test that solves an exercise must not mark it as solved. Nor are fetched images: "auto" means
# phantoms in a test, whatever this machine has.
SHARED = ("phantoms", "victims", "folders", "studies", "patches", "physical")
# Settings of the learner that would change what a test sees. MEDATTACK_DEVICE and MEDATTACK_DATA are the tests' own too.
UNSET = ("MEDATTACK_IMAGES", "MEDATTACK_STRICT", "MEDATTACK_PROGRESS")


def pytest_addoption(parser):
    parser.addoption(
        "--all-clinics",
        action="store_true",
        help="run each solution on every clinic's images, not on its own one's only",
    )


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory):
    """`MEDATTACK_CACHE` points to a new folder, in which `SHARED` lead to the learner's."""
    own = tmp_path_factory.mktemp("cache")
    try:
        for name in SHARED:
            (own / name).symlink_to(runtime.cache_dir(name).resolve(), target_is_directory=True)
    except OSError:  # a home that can't be written, or Windows without the right to make links: then nothing is shared
        pass
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MEDATTACK_CACHE", str(own))
        for name in UNSET:
            environment.delenv(name, raising=False)
        yield own


@pytest.fixture
def real_images():
    """The folder `MEDATTACK_DATA`; a test that asks for it is skipped where there is none."""
    root = runtime.data_root()
    if root is None or not root.is_dir():
        pytest.skip(f"MEDATTACK_DATA is {os.environ.get('MEDATTACK_DATA') or 'not set'}: no real images here")
    return root
