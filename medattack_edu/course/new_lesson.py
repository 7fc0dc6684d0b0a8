"""The skeleton of a new lesson: its source, the check of its exercise and the test of that check, small and working.

The README's table of lessons gets its row.

It shows each part that a lesson has, on a modest question. Making notebooks from the source is the work of `build`.
"""

import re
import unicodedata
from string import Template

from medattack_edu.course.build import course_root

CHECKS, TESTS = "medattack_edu/course/checks", "tests/unit"  # beside solutions/, in a clone
EXERCISE = "mean_brightness"
BUILT_BY_HAND, TIME = "the mean brightness of an image", "30 min"  # what the README's table says of the skeleton
LONGEST_NAME = 60  # characters of a file's name that come from the title

LESSON = '''\
# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # $number $title
#
# **One or two sentences that promise something: what the reader will have seen or done, and why they'd want to.**
#
# At the end you will be able to
# - measure how far noise moves an image as a whole;
# - say why it is less than it moves a pixel.
#
# | | |
# |---|---|
# | Time | about 30 minutes |
# | You need | [lesson 00](00_start_here.ipynb) (images, checks) |
# | Your machine needs | nothing more: no network, no GPU |

# %% [markdown] tags=["instructor"]
# **In two minutes.** What to say before anybody types. This cell is tagged `instructor`: it appears in neither
# notebook, and in `make guide` at this place.
#
# **Time.** Minutes for each section, and where to stop if time is short.

# %% tags=["parameters"]
clinic = "chest"  # "chest", "fundus" or "derm"
images = "auto"  # "auto", "phantom", "medmnist", "real", or the path of a folder of your own
n = 16  # test images
levels = 8  # how far noise moves each pixel value, in grey levels
seed = 0  # of every random draw

# %%
import torch

from medattack_edu import (
    attacks,
    check,
    claim,
    hint,  # noqa: F401 (for you)
    metrics,
    open_clinic,
    progress,
    quiz,
    show,
)

here = open_clinic(clinic, images)
here.banner()
x, y = here.test.sample(n, seed=seed, balanced=True)
show.gallery(x[:8], y[:8], here.classes)

# %% [markdown]
# ## 1. The first section
#
# What the reader must know before the question, in a few short sentences.
#
# ### Exercise: `$exercise`
#
# What to write, in one sentence. (Stuck? `hint("$exercise")`.)

# %% [markdown] tags=["instructor"]
# **Common wrong answers**, what each of them means, and the question to ask instead of telling: "How many numbers
# should come out for four images?"


# %%
def $exercise(x):
    """The mean brightness of each image.

    Args:
        x: images, float tensor (N, 3, H, W), in [0, 1].

    Returns:
        A tensor (N,): the mean over all pixels and colours of an image, from 0 (black) to 1 (white).
    """
    ### BEGIN SOLUTION
    return x.mean((1, 2, 3))
    ### END SOLUTION


$exercise = check.$exercise($exercise)

# %% [markdown]
# ### Predict
#
# Noise moves each pixel value by `eps`, up or down by the toss of a coin. How far does it move the mean of an
# image: as far, half as far, or hardly at all?
#
# ### Run

# %%
sizes = [1, 2, 4, 8, 16]


def shift(size):
    """How far noise of this size, in grey levels, moves the mean of each image, in grey levels; (N,)."""
    noisy = attacks.random_noise(x, eps=size / 255, generator=torch.Generator().manual_seed(seed))
    return 255 * ($exercise(noisy) - $exercise(x)).abs().cpu()


shifts = [metrics.mean(shift(size)) for size in sizes]
show.curves(
    {"a pixel": (sizes, sizes), "the mean of an image": (sizes, shifts)},
    xlabel="size of the noise, in grey levels",
    ylabel="moved by, in grey levels",
    title=f"What noise moves (n = {len(x)} images)",
)

# %%
furthest = shift(levels).max().item()
claim(
    f"noise of {levels} grey levels moves the mean of no image by half as much",
    furthest < levels / 2,
    detail=f"at most by {furthest:.2f}; n = {len(x)}",
)

# %% [markdown]
# ### Explain
#
# The coins cancel out. What is left comes from the edges of the range: a black pixel can't become darker, so there the
# noise only brightens. What the text says about results is said by a claim as well, so that it is tested on every
# clinic's images.

# %% [markdown]
# > ### In the clinic
# >
# > What follows from this where models are used: who could do it, who would notice, what can be done at once.

# %% [markdown]
# ## Quiz

# %% jupyter={"source_hidden": true}
quiz(
    "In which images does noise move the mean most?",
    ["In those with many black or white pixels", "In those with much detail", "In all of them alike"],
    answer="In those with many black or white pixels",
    why={
        "In those with many black or white pixels": "There the noise can go one way only, so its pushes don't cancel.",
        "In those with much detail": "The noise does not look at the image. Only the ends of the range stop it.",
        "In all of them alike": "Away from the ends of the range that is so. At the ends the noise is cut off.",
    },
)

# %% [markdown]
# ## What you now know
#
# - Noise moves pixels, and hardly the image as a whole.
# - One line for each thing that should stay.

# %%
progress()

# %% [markdown]
# **Next:** where to go from here.
#
# ## Sources
#
# 1. Each fact about the world carries its source: who, what, where, and where to find it.
'''

CHECK = '''\
"""Lesson $number's exercise, the brightness of images. The lesson itself is in solutions/."""

import torch

from medattack_edu.course.checks.framework import Mistake, call, exercise, expect_close, expect_tensor


def reference_$exercise(x):
    return x.mean((1, 2, 3))


@exercise(
    "$exercise",
    lesson="$number",
    title="The mean brightness of each image",
    reference=reference_$exercise,
    hints=(
        "Of four images you want four numbers. Which sides of the tensor are to go away?",
        "The first side counts the images and stays. The other three are colours, rows and columns.",
        "`mean` takes the sides over which it is to go as a tuple; they are numbered from 0.",
    ),
)
def check_$exercise($exercise):
    x = torch.rand(4, 3, 5, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.3, 0.6, 0.9]).view(3, 1, 1)
    what, expected = "the brightness of 4 images", reference_$exercise(x)
    came = call($exercise, x)
    expect_tensor(came, shape=(4,), what=what)
    for wrong, meaning in _slips(x):
        if torch.allclose(came.double(), wrong.double(), rtol=1e-4):
            raise Mistake(f"The mean of image 0 is {expected[0]:.3f}, and you returned {came[0]:.4g}. {meaning}")
    expect_close(came, expected, what)
    expect_close(call($exercise, x[:1]), expected[:1], "the brightness of a single image")
    return f"{expected[0]:.3f} for the first of 4 images, alone as in the batch."


def _slips(x):
    """What comes out of likely slips, each with what it stands for."""
    mean = reference_$exercise(x)
    return (
        (x.sum((1, 2, 3)), "That is the sum over all values. A mean doesn't grow with the size of the image."),
        (255 * mean, "That is in grey levels. Images here run from 0 to 1, and so does their mean."),
        (x[:, 0].mean((1, 2)), "That is the red channel alone. There are three."),
        (1 - mean, "That is how dark the image is."),
    )
'''

TEST = '''\
"""The check of lesson $number's exercise accepts what is right and names what is wrong."""

import torch
from checks import assert_check_is_sound


def solution(x):
    return x.mean((1, 2, 3))


def test_check_${exercise}_knows_right_from_wrong():
    def flattened(x):
        return x.flatten(1).mean(1)

    def in_a_loop(x):
        return torch.stack([image.sum() / image.numel() for image in x])

    def of_the_whole_batch(x):
        return x.mean()

    def of_each_colour(x):
        return x.mean((2, 3))

    def total(x):
        return x.sum((1, 2, 3))

    def in_levels(x):
        return 255 * x.mean((1, 2, 3))

    def red_alone(x):
        return x[:, 0].mean((1, 2))

    def darkness(x):
        return 1 - x.mean((1, 2, 3))

    def middle_value(x):
        return x.flatten(1).median(1).values

    def no_return(x):
        x.flatten(1).mean(1)

    assert_check_is_sound(
        "$exercise",
        solution=solution,
        mistakes={
            "of the whole batch": (of_the_whole_batch, "is (); expected was (4,)"),
            "of each colour": (of_each_colour, "is (4, 3); expected was (4,)"),
            "total": (total, "the sum over all values"),
            "in levels": (in_levels, "in grey levels"),
            "red alone": (red_alone, "the red channel alone"),
            "darkness": (darkness, "how dark the image is"),
            "middle value": (middle_value, "values differ"),
            "no return": (no_return, "Does it end with a `return`?"),
        },
        alternatives=[flattened, in_a_loop],
    )
'''


def new_lesson(title, number=None, root=None):
    """Write the three files of a new lesson and its row in the README, and print what to do next.

    Args:
        title: of the lesson, without its number.
        number: two digits; default: the one after the last lesson's.
        root: a clone of the course, with `solutions/`, the package and `tests/`; default: the one that runs.

    Returns:
        The paths of the lesson, its check and its test.

    Raises:
        ValueError: if the title or the number won't do, or a lesson with this number has one of the files already.
    """
    root, slug = course_root(root), _slug(title)
    for folder in (CHECKS, TESTS):
        if not (root / folder).is_dir():
            raise ValueError(f"There is no folder {folder} in {root}. A new lesson needs a clone of the course.")
    number = _number(root, number)
    lesson = root / "solutions" / f"{number}_{slug}.py"
    check, test = root / CHECKS / f"lesson_{number}.py", root / TESTS / f"test_checks_{number}.py"
    there = [*(root / "solutions").glob(f"{number}_*"), *(path for path in (check, test) if path.exists())]
    if there:
        names = ", ".join(str(path.relative_to(root)) for path in sorted(there))
        raise ValueError(f"Lesson {number} exists already: {names}. Nothing was written; give another --number.")
    words = {"number": number, "title": title.strip(), "exercise": _free_exercise(root, number)}
    for path, text in ((lesson, LESSON), (check, CHECK), (test, TEST)):
        path.write_text(Template(text).substitute(words), encoding="utf-8", newline="\n")
    _name_in_readme(root / "README.md", number, title.strip())
    _tell(number, *(path.relative_to(root) for path in (lesson, check, test)))
    return lesson, check, test


def _slug(title):
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:LONGEST_NAME].rstrip("_")
    if not slug or "\n" in title.strip():
        raise ValueError(f'The title {title!r} gives no file name. Give one line with letters, such as "Why it works".')
    return slug


def _number(root, number):
    if number is None:
        taken = [int(path.name[:2]) for path in (root / "solutions").glob("[0-9][0-9]_*.py")]
        number = f"{max(taken, default=-1) + 1:02d}"
    if not re.fullmatch(r"\d\d", number):
        raise ValueError(f"--number takes two digits, such as 09; {number!r} came.")
    return number


def _free_exercise(root, number):
    """The name of the skeleton's exercise, with the lesson's number where an earlier skeleton still has it."""
    taken = any(f'"{EXERCISE}"' in path.read_text(encoding="utf-8") for path in (root / CHECKS).glob("lesson_*.py"))
    return f"{EXERCISE}_{number}" if taken else EXERCISE


def _name_in_readme(path, number, title):
    """Give the lesson its row in the table of lessons, in place of one that is planned under its number."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [place for place, line in enumerate(lines) if re.match(r"\| \d\d \|", line)]
    if not rows:  # an own course without such a table
        return
    after = max((place for place in rows if lines[place][2:4] <= number), default=rows[0] - 1)
    taken = lines[after].startswith(f"| {number} |")
    title = title.replace("|", r"\|")
    lines[after + (not taken) : after + 1] = [f"| {number} | {title} | {BUILT_BY_HAND} | {TIME} |"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _tell(number, lesson, check, test):
    print(
        f"Lesson {number} is there, small and in working order:",
        f"    {lesson}    the lesson, with its teaching notes",
        f"    {check}    the check of its exercise",
        f"    {test}    the test of that check",
        "Next:",
        "    medattack build --watch                 makes the notebooks, and again after each change",
        f"    pytest {test}    after each change of the check",
        f"    medattack run {number}                        runs the lesson; read the page as a learner would",
        "The README's table has a row for it: say there what is built by hand, and name it in the table of lesson 00, too.",
        sep="\n",
    )
