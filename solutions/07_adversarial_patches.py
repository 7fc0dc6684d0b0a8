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
# # 07 Adversarial patches
#
# **One sticker, made once, that works on photographs it has never seen. And then on skin.**
#
# At the end you will be able to
# - write the operator that puts a patch into a scene, turned, sized and moved;
# - train a patch that is *targeted*, *universal* and *robust*, and say what each of the three words claims;
# - measure its success so that nobody can say you cheated: over scales, over rotations, on unseen images;
# - tell what a patch does to a clinic from what any odd piece of skin would do;
# - put it on paper at true size, and measure what a simulated camera leaves of it.
#
# | | |
# |---|---|
# | Time | 90 to 120 minutes; sections 7 (with the last quiz question) and 9 (up to "In the clinic") can be left out |
# | You need | [lesson 04](04_projected_gradient_descent.ipynb) (walking along a gradient, targets); [lesson 05](05_black_box_transfer.ipynb) (surrogates) |
# | Your machine needs | nothing more: no network, no GPU, no printer |
#
# Everything that you attack here is a model of this course, on public or synthetic images. Keep it so.

# %% [markdown] tags=["instructor"]
# **In two minutes.** Show the toaster row of section 1 and the three rows of section 4, and nothing else. "The top row says
# *toaster* to you. The bottom row says it to the network. Nobody hid anything." Then the question of the whole lesson:
# "How much of what it does would *any* odd sticker do?"
#
# **Set up.** The patches are made once (`medattack prepare`), the toaster in some minutes. Print `toaster_patch.pdf`
# beforehand, 15 cm wide, and bring a banana: a room that photographs it remembers it.
#
# **Time.** Two hours alone, 90 minutes if you lead. A picture of a toaster and the operator: 8 minutes, and 15 to 25 for
# Exercise 1; the expectation: 15; the patch: 6; rotation: 15; turning it yourself: 8; the logarithm: 8; medicine: 18;
# paper and camera: 7; the clinic and the quiz: 8. **If time is short:** leave out sections 7 and 9, and give Exercise 1's
# second hint at once.

# %% tags=["parameters"]
clinic = "derm"  # "derm", "fundus" or "chest"
images = "auto"  # "auto", "phantom", "medmnist", "real", or the path of a folder of your own
n = 32  # test patients, half of them sick
seed = 0  # of every random draw

# %%
import torch
import torch.nn.functional as F

from medattack_edu import (
    attacks,
    check,
    claim,
    evaluate,
    explore,
    freeze,
    hint,  # noqa: F401 (for you)
    metrics,
    models,
    open_clinic,
    progress,
    quiz,
    result,
    show,
)

here = open_clinic(clinic, images)
here.banner()
victim = freeze(here.victim())
x, y = here.test.sample(n, seed=seed, balanced=True)
names = [name.replace("_", " ") for name in here.classes]
print("accuracy before any attack:", evaluate(victim, x, y).accuracy)

# %% [markdown]
# ## 1. A picture of a toaster
#
# So far you have changed every pixel a little. Now you may change only a few of them, but as much as you like. A perturbation
# hides. A **patch** doesn't: it lies in the scene like a sticker, for everybody to see.
#
# We begin far from any clinic, with a network that knows the 1,000 classes of ImageNet. A *toaster* is one of them. The network is
# the EfficientNet-Lite0 that our victims grew from. The six photographs come with the libraries scikit-image and scikit-learn.
#
# ### Predict
#
# The paper that began this has a video. As the talk behind this course tells it, a network looks at a banana; somebody adds a *picture of
# a toaster*, and later a patch [1, 2]. We have no banana yet (section 6 asks for yours), so six other things take its place. Here is the first half: a
# drawn toaster is stuck into each photograph, four tenths as wide as the photograph.
#
# You would say: a cat with a picture of a toaster. The network has to choose one word. Which will it take?
#
# ### Run

# %%
from medattack_edu import runtime
from medattack_edu.models.imagenet import class_names
from medattack_edu.scenes.photographs import SHOWN, photographs, toaster_picture

imagenet = freeze(models.efficientnet_lite.efficientnet_lite0()).to(runtime.device())
objects = class_names()
TOASTER = objects.index("toaster")
photos, photo_names = photographs(224, SHOWN)
picture_of_one = toaster_picture(224)
CORNER = {"location": (0.68, 0.68), "scale": 0.4}  # at the lower right, so that one sees the rest


# %% jupyter={"source_hidden": true}
def exhibit(rows, titles):
    """Photographs in rows, with the network's word under each; the word toaster is bold and orange."""
    figure, axes = show.picture(1.95 * len(titles) + 0.3, 2.35 * len(rows) + 0.5, len(rows), len(titles), squeeze=False)
    told = []
    for row, (name, shown) in zip(axes, rows.items(), strict=True):
        words, sure = show.answers(imagenet, shown)
        told.append(f"{name}: " + ", ".join(objects[word] for word in words))
        row[0].set_ylabel(name, fontsize=12)
        for ax, image, word, probability in zip(row, shown, words, sure, strict=True):
            ax.imshow(show.pixels(image))
            ax.set(xticks=[], yticks=[])
            look = {"color": show.RED, "fontweight": "bold"} if word == TOASTER else {}
            ax.set_xlabel(f"{objects[word]}\n{show.percent(probability)}", fontsize=10, **look)
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=11)
    figure.alt = "Photographs, and what the network calls them. " + "; ".join(told) + "."
    return figure


# %%
with_picture = attacks.place(picture_of_one, photos, mask="square", **CORNER)
alone = metrics.logits(imagenet, picture_of_one[None]).softmax(1)[0, TOASTER]
print(f"the drawing by itself, as large as the frame: toaster {show.percent(float(alone))}")
exhibit({"as it is": photos, "with a picture": with_picture}, photo_names)

# %% [markdown]
# ### Explain
#
# Not every word was right to begin with, and some are others now: the sticker hides what lay under it, and a silver box in the scene may have a say. But
# hardly any of them, if any, becomes *toaster*. It isn't the drawing's fault. By itself, filling the frame, the network knows it for one (the printed line). But it has to
# choose *one* word for a scene, and a small picture of a toaster is less toaster than a whole cat is cat.
#
# What would be *more* of a toaster than a toaster?

# %%
claim("the drawing by itself is a toaster to the network", show.answers(imagenet, picture_of_one[None])[0] == [TOASTER], show.percent(float(alone)))
plain_words, picture_words = (torch.tensor(show.answers(imagenet, shown)[0]) for shown in (photos, with_picture))
claim("no photograph is called a toaster as it is", bool((plain_words != TOASTER).all()))
claim("with the picture, at most two of the six are", int((picture_words == TOASTER).sum()) <= 2)

# %% [markdown]
# ## 2. The operator
#
# The paper writes A(p, x, l, t): take patch p, transform it by t, and put it into image x at location l [1]. In our hands t is a
# rotation and a size:
#
# - `location`, (across, down), is where the middle of the patch lies, as fractions of the scene's width and height;
# - `angle` is in degrees, counter-clockwise as you look at it;
# - `scale` is the patch's side over the scene's side. The patch is a **disc**: of its square only the inscribed circle is stuck on,
#   so it covers pi/4 of scale squared. At 0.4 that is 12.6 % of the scene.
#
# Each image of a batch gets a location, an angle and a scale *of its own*. And the operator must be differentiable in the patch,
# because we will ask which way every pixel of the patch should go.
#
# It is easiest backwards. Don't ask where a pixel of the patch lands. Ask, for each pixel u of the *scene*, which point v of the
# *patch* lies on it:
#
# $$ v = \frac{1}{s}\begin{pmatrix}\cos a & -\sin a\\ \sin a & \cos a\end{pmatrix}(u - c) $$
#
# (move back by the centre c, turn back by the angle a, undo the scale s). Mind the two ways to count. `location` runs from 0 to 1; u, v and c
# run from -1 to 1 across their image, so a location of 0.5 is a c of 0. The second coordinate points down. Where |v| is 1 or less, the scene lies
# under the disc.
#
# PyTorch has both parts ready. `F.affine_grid(matrix, x.shape)` computes v for every pixel u from a matrix (N, 2, 3): its first two columns
# are multiplied with u, its third is added. (Multiply the formula out. What stands before u? What is left?) `F.grid_sample` then looks the
# colours up. It wants a patch for each scene, (N, 3, h, h): `patch.expand(len(x), -1, -1, -1)`. Give both `align_corners=False`: then -1 and 1
# are the outer edges of an image, as in the formula. And give the second `padding_mode="border"`, or the disc gets a dark rim.
#
# ### Exercise 1: the operator
#
# (Stuck? `hint("place")`.)


# %%
def place(patch, x, location, angle, scale):
    """A(p, x, l, t): the scenes with the patch on them, as a disc.

    Args:
        patch: (3, h, h), float, in [0, 1]; perhaps with a gradient to come.
        x: scenes (N, 3, H, H), float, in [0, 1]. They stay as they are.
        location: (N, 2), middle of the patch (across, down), as fractions of the scene, from 0 to 1.
        angle: (N,), degrees counter-clockwise.
        scale: (N,), side of the patch over side of the scene.

    Returns:
        New scenes (N, 3, H, H). Where no patch lies they are x, to the last bit.
    """
    ### BEGIN SOLUTION
    a = torch.deg2rad(angle)
    turn = torch.stack([torch.stack([a.cos(), -a.sin()], 1), torch.stack([a.sin(), a.cos()], 1)], 1)
    back = turn / scale[:, None, None]
    centre = (2 * location - 1)[:, :, None]
    grid = F.affine_grid(torch.cat([back, -back @ centre], 2), x.shape, align_corners=False)
    stuck = F.grid_sample(patch.expand(len(x), -1, -1, -1), grid, padding_mode="border", align_corners=False)
    return torch.where((grid.norm(dim=-1) <= 1)[:, None], stuck, x)
    ### END SOLUTION


place = check.place(place)

# %% [markdown] tags=["instructor"]
# **Where everybody stops:** the location counts from 0 to 1 and the centre from -1 to 1; and the shift, which goes through
# the turn and the scale as the pixel does. Draw one scene, one patch, one arrow from a pixel of the *scene* back into the patch.
# **Ask:** "Half the scale: is the step in the patch half or double?"
#
# **Common wrong answers.** Location as (down, right). Degrees given to `sin`. The scale multiplied. Clockwise. The square
# left around the disc. `x[...] = ` in place: by the next call the scenes carry old patches.

# %% [markdown]
# Your operator at work: the same picture in the same scene, six times. (From here on the lesson uses your `place` in the exercises, and
# the course's own, `attacks.place`, where results are measured. That one does two things more: it mixes the pixels on the disc's edge by how much of each is
# covered, and it averages a patch that is finer than the scene before it shrinks it. So numbers made with yours may differ a little from the
# course's. It can also stick on the whole square, as in section 1: `mask="square"`. Yours cuts a disc, so here the drawing lacks its corners.)

# %%
trials = torch.tensor([[0.5, 0.5, 0, 0.4], [0.3, 0.3, 22.5, 0.4], [0.7, 0.3, -22.5, 0.4], [0.3, 0.7, 90, 0.4], [0.6, 0.6, 0, 0.7], [0.75, 0.75, 180, 0.3]])  # fmt: skip
trials = trials.to(photos.device)
espresso = photos[:1].expand(6, -1, -1, -1)
exhibit({"your A(p, x, l, t)": place(picture_of_one, espresso, trials[:, :2], trials[:, 2], trials[:, 3])},
        [f"location ({a:g}, {d:g})\nangle {turn:g}°, scale {s:g}" for a, d, turn, s in trials.tolist()])  # fmt: skip

# %% [markdown]
# ## 3. The expectation
#
# Three promises are asked of a patch:
#
# - **Targeted**: the attacker chooses the answer.
# - **Universal**: one patch, made once, for any scene.
# - **Robust**: it works wherever it lies, however it is turned.
#
# In a formula they are one expectation. Of all patches, find the one that maximises
#
# $$ \mathbb{E}_{x,\,l,\,t}\; \big[\log P(\text{target} \mid A(p, x, l, t))\big] $$
#
# over images x, locations l and transformations t [1]. Nobody can compute that. But a mean over some random draws estimates it, and
# the gradient of that mean tells each pixel of the patch which way to go. *It is the same gradient that you have used since lesson 03,
# seen through your operator.*
#
# ### Exercise 2: the expectation
#
# `draw(k)` gives you locations, angles and scales for `k` images, three tensors, new ones at each call. `times` says how many rounds of
# draws go into one estimate. (When we train, one round will do: each step draws anew, and the steps add up.) (`hint("expected_log_probability")`)


# %%
def expected_log_probability(model, patch, x, target, place, draw, times):
    """Estimate E[log P(target | A(p, x, l, t))] with `times` random placements on each image.

    Args:
        model: maps images in [0, 1] to logits (N, classes).
        patch: (3, h, h). x: images (N, 3, H, H). target: the class, a number.
        place: called as place(patch, x, location, angle, scale). draw: called as draw(N); returns these three.
        times: rounds, each with new draws for all images.

    Returns:
        One number, a tensor that can be differentiated with respect to the patch.
    """
    ### BEGIN SOLUTION
    total = 0
    for _ in range(times):
        scenes = place(patch, x, *draw(len(x)))
        total = total + F.log_softmax(model(scenes), 1)[:, target].mean()
    return total / times
    ### END SOLUTION


expected_log_probability = check.expected_log_probability(expected_log_probability)

# %% [markdown]
# ### Predict
#
# With your two functions, a step of training is four lines. (`adam` is PyTorch's optimiser Adam. It was made with `maximize=True`, so
# it climbs, and it gives each pixel of the patch a step length of its own.)
#
# ```python
# adam.zero_grad()
# expected_log_probability(model, patch, scenes, target, place, draw, 1).backward()
# adam.step()
# patch.data.clamp_(0, 1)  # a patch is a picture, too
# ```
#
# You will watch 12 such steps on each of two tasks, from a grey patch. (To save time both run at 128 px.)
#
# - *toaster*, out of 1,000 classes. The scenes never end: photographs (not the six above) and *dead leaves*, random shapes that cover each
#   other as leaves on the ground do, cropped, mixed and recoloured anew each time.
# - *your clinic*, out of two classes: a patch that calls the healthy sick, on images of the attacker's own.
#
# Where does each begin? Does either get beyond a probability of one half (a log probability of -0.69) in 12 steps?
#
# ### Run

# %%
from tqdm.auto import tqdm

from medattack_edu.scenes.photographs import FILES, dead_leaves, varied_scenes

DEGREES = 22.5  # each way, as in the paper's own code
SIZE = 128


def draw_with(generator, scale=0.4, degrees=DEGREES):
    """A function that draws locations, angles and scales for k images, with the patch wholly inside."""

    def draw(k):
        drawn = attacks.random_placements(k, scale=scale, angles=degrees, generator=generator)
        return tuple(value.to(runtime.device()) for value in drawn.values())

    return draw


def train(model, supply, target, objective, steps=12, batch=8):
    """Climb `objective` with Adam, from grey. Returns, before and after every four steps, the log probability on fixed scenes.

    supply(batch, generator) gives new scenes at each call.
    """
    generator = torch.Generator().manual_seed(seed)
    fixed = supply(batch, torch.Generator().manual_seed(seed + 1))
    patch = torch.full((3, 64, 64), 0.5, device=runtime.device(), requires_grad=True)
    adam = torch.optim.Adam([patch], lr=0.05, maximize=True)

    @torch.no_grad()
    def now():
        return expected_log_probability(model, patch, fixed, target, place, draw_with(torch.Generator().manual_seed(2)), 1).item()

    history = [now()]
    for step in tqdm(range(1, steps + 1), desc="training", leave=False):
        adam.zero_grad()  # these are the four lines
        objective(model, patch, supply(batch, generator), target, place, draw_with(generator), 1).backward()
        adam.step()
        patch.data.clamp_(0, 1)
        if step % 4 == 0:
            history.append(now())
    return history


others, _ = photographs(SIZE, [name for name in FILES if name not in SHOWN])
universe = varied_scenes(torch.cat([others, dead_leaves(16, SIZE, torch.Generator().manual_seed(seed)).to(others)]), SIZE)
own_x, own_y = here.attacker.sample(48, seed=seed, balanced=True)


def healthy(batch, generator):
    """Random healthy patients of the attacker's."""
    well = own_x[own_y == 0]
    return well[torch.randint(len(well), (batch,), generator=generator).to(well.device)]


toaster_climb = train(imagenet, universe, TOASTER, expected_log_probability)
clinic_climb = train(victim, healthy, 1, expected_log_probability)


# %% jupyter={"source_hidden": true}
def climbs(tasks, title):
    """A panel for each task: mean log probabilities by step, one line for each objective."""
    looks = {"log probability": (show.BLUE, "-"), "probability": (show.RED, "--")}
    figure, axes = show.picture(9.5, 3.8, 1, len(tasks))
    figure.suptitle(title)
    for ax, (task, histories) in zip(axes, tasks.items(), strict=True):
        for objective, history in histories.items():
            colour, style = looks[objective]
            ax.plot(range(0, 4 * len(history), 4), history, style, marker="o", color=colour, linewidth=2, label=f"trained on the {objective}")
        if max(map(max, histories.values())) > -3:
            ax.axhline(torch.tensor(0.5).log().item(), color="0.45", linestyle=":", label="one half")
        ax.set(xlabel="steps", ylabel="mean log probability", title=task)
        ax.set_xticks(range(0, 4 * len(history), 4))
        ax.grid(alpha=0.25)
        ax.legend(frameon=False, fontsize=10)
    told = [f"{task}, trained on the {objective}: from {h[0]:.1f} to {h[-1]:.1f}" for task, lines in tasks.items() for objective, h in lines.items()]
    figure.alt = f"{title}. " + "; ".join(told) + "."
    return figure


TASKS = ("toaster, of 1,000 classes", f"{names[1]}, of 2 classes")
climbs({task: {"log probability": climb} for task, climb in zip(TASKS, (toaster_climb, clinic_climb), strict=True)},
       "12 steps, watched on 8 fixed scenes")  # fmt: skip

# %% [markdown]
# ### Explain
#
# Both climb (the two axes differ). The toaster has 999 rivals: it begins with a probability of less than one in ten thousand (a
# log probability below -9), and 12 steps bring it nowhere near one half. In the clinic the target has a single rival, and it begins far
# higher. Is it beyond the dotted line after 12 steps? That differs from clinic to clinic.
#
# So the toaster takes minutes. It was trained once, when the course was prepared, by `attacks.train_patch`, which is your
# four lines with more care, on scenes of 224 px, at scales from 0.3 to 0.6, turned by up to 22.5 degrees. Three more things went into it:
#
# - **A universe.** A patch that is trained on a dozen photographs can learn these by heart. Ours saw scenes without end, made as above.
# - **A start.** It began as the drawn toaster, and not as grey.
# - **A handicap.** During training the toaster's logit was lowered by 6, so the patch had to win by that much before a scene
#   had nothing left to teach.
#
# They were tried in single runs, some of them together, so how much each matters is only roughly known. **The six photographs of this
# lesson it has never seen**, but its makers have: they chose the recipe while they looked at them, so the next figures flatter it a little.

# %%
claim("the log probability of the toaster rises", toaster_climb[-1] > toaster_climb[0] + 1, f"{toaster_climb[0]:.1f} to {toaster_climb[-1]:.1f}")
claim("it begins below one in ten thousand", toaster_climb[0] < -9.2, f"{toaster_climb[0]:.1f}")
claim("in the clinic it rises too, and ends far above the toaster's: by 3 or more", clinic_climb[-1] > max(clinic_climb[0], toaster_climb[-1] + 3),
      f"{clinic_climb[0]:.1f} to {clinic_climb[-1]:.1f}")  # fmt: skip
if clinic != "chest":  # where it begins lower, and 12 steps lead less far
    claim("in the clinic the 12 steps lead to more than one in five", clinic_climb[-1] > -1.6, f"{clinic_climb[-1]:.2f}")

# %% [markdown]
# ## 4. The patch
#
# ### Predict
#
# The cached patch lies where the picture of a toaster lay. How many of the six?
#
# ### Run

# %%
from medattack_edu import trained_patches

toaster = trained_patches.toaster()
large = CORNER | {"scale": 0.5}
exhibit(
    {
        "a picture, 0.5": attacks.place(picture_of_one, photos, mask="square", **large),
        "the patch, 0.4": attacks.place(toaster.patch, photos, **CORNER),
        "the patch, 0.5": attacks.place(toaster.patch, photos, **large),
    },
    photo_names,
)

# %% [markdown]
# One place each is an anecdote. Now every photograph gets the sticker in three random places, turned by up to 22.5 degrees, at
# each of five scales. That makes 18 trials at each scale, but six photographs, and the interval stands on these: a photograph that is easy is easy
# everywhere on it.

# %% jupyter={"source_hidden": true}
def with_bars(ax, xs, rates, label, colour, style="-", shift=0.0):
    """Estimates as points with their 95 % intervals, moved sideways by `shift` so that two lines don't hide each other."""
    values = [float(rate) for rate in rates]
    below, above = [v - r.low for v, r in zip(values, rates, strict=True)], [r.high - v for v, r in zip(values, rates, strict=True)]
    ax.errorbar([x + shift for x in xs], values, yerr=[below, above], fmt=f"o{style}", color=colour, capsize=3, elinewidth=1, linewidth=2, label=label)
    ax.set_ylim(-0.03, 1.03)
    ax.grid(alpha=0.25)


# %%
PLACES = 3
scales = (0.2, 0.3, 0.4, 0.5, 0.6)


def by_scale(patch, mask="disc"):
    """Success at each scale, over the photographs."""
    return [
        metrics.patch_success(imagenet, photos, patch, TOASTER, placements=PLACES, scale=scale, mask=mask, generator=torch.Generator().manual_seed(seed))
        for scale in scales
    ]  # fmt: skip


patch_rates, picture_rates = by_scale(toaster.patch), by_scale(picture_of_one)
figure, ax = show.picture(8.5, 4.4)
with_bars(ax, scales, patch_rates, "the patch", show.BLUE)
with_bars(ax, scales, picture_rates, "a picture of a toaster", show.RED, "--", shift=0.006)
ax.set(xlabel="scale: side of the sticker over side of the scene", ylabel=f"called a toaster ({patch_rates[0].n} photographs)",
       title="Success by scale, on photographs it was not trained on")  # fmt: skip
ax.legend(frameon=False, loc="upper left")
figure.alt = "Success by scale. " + "; ".join(f"{s:g}: patch {float(p):.2f}, picture {float(c):.2f}" for s, p, c in zip(scales, patch_rates, picture_rates, strict=True))
figure

# %%
for scale, rate, control in zip(scales, patch_rates, picture_rates, strict=True):
    print(f"scale {scale:g}   patch, a disc on {78.5 * scale**2:4.1f} % of the scene: {float(rate):.2f} ({rate.low:.2f} to {rate.high:.2f})   "
          f"picture, a square on {100 * scale**2:4.1f} %: {float(control):.2f} ({control.low:.2f} to {control.high:.2f}),  n = {rate.n}")  # fmt: skip

# %% [markdown]
# ### Explain
#
# The picture says *toaster* to you, the patch says it to the network. And the comparison favoured the picture: it is a square, so at the
# same scale it covers more. (One of 18 trials moves a number by 0.06, so a dip of that size says nothing.)
#
# Is that how such curves look? The authors tried theirs on 100 images at each size, with Inception, ResNet50, Xception, VGG16 and VGG19, none of which is
# ours. Read off the plots in their code, give or take 3 points [3]:
#
# | share of the scene | our scale, as a disc | a patch made for one network | a *photograph* of a real toaster |
# |---|---|---|---|
# | below 4 % | below 0.23 | next to nothing, but with Xception | |
# | 10 % | 0.36 | 38 % (VGG19) to 89 % (Xception) | 0 to 4 % |
# | 50 % | 0.80 | | 33 to 83 % |

# %%
claim("the patch wins more often than the picture, at half of the side", patch_rates[3] > picture_rates[3] + 0.2,
      f"{patch_rates[3]:.2f} and {picture_rates[3]:.2f}")  # fmt: skip
claim("a larger patch wins more often: 0.5 against 0.2", patch_rates[3] > patch_rates[0])
result("success of the toaster patch, half of the side", patch_rates[3])

# %% [markdown]
# ## 5. How far can you turn it?
#
# ### Predict
#
# It was trained on turns of up to 22.5 degrees either way. The talk that this course grew from says: up to about 20 degrees in
# either direction [2]. What happens at 30? At 45? At a right angle? Upside down is 180: is there a way back up?
#
# ### Exercise 3: success over rotations
#
# Three rules keep the number honest. An image that is called a toaster *before* doesn't count. (What an image is called is the class with the
# highest logit, by however little.) Only the target is a success, not just any wrong word. And n is the number of *images*. Each is tried in T
# places, and counts by the share of them that won: 3 of 4 make it three quarters of a hit. `metrics.proportion(hits, n)` takes such sums.
# (`hint("success_over_rotations")`)


# %%
def success_over_rotations(model, x, patch, target, place, angles, locations, scale):
    """How often the patch wins when it is turned by each angle.

    Args:
        model: maps images in [0, 1] to logits (N, classes).
        x: images (N, 3, H, H), without the patch. patch: (3, h, h). target: the class.
        place: called as place(patch, x, location, angle, scale), with one row for each image.
        angles: a list of degrees.
        locations: (T, N, 2), T places for each image, the same at each angle. scale: (N,).

    Returns:
        A list of metrics.proportion(hits, n), one for each angle, over the images that weren't the target before.
    """
    ### BEGIN SOLUTION
    who = model(x).argmax(1) != target
    curve = []
    for angle in angles:
        turned = torch.full_like(scale[who], angle)
        hits = [model(place(patch, x[who], spots[who], turned, scale[who])).argmax(1) == target for spots in locations]
        shares = torch.stack(hits).float().mean(0)
        curve.append(metrics.proportion(shares.sum(), len(shares)))
    return curve
    ### END SOLUTION


success_over_rotations = check.success_over_rotations(success_over_rotations)

# %% [markdown] tags=["instructor"]
# **Common wrong answers.** Hits not divided by the places; places taken for images (n = 16); everybody counts; any wrong word
# counts; "one place works" counts. **Ask:** "I try one photograph in a thousand places. How sure am I of the *next* photograph?"
#
# **Take guesses for 180 degrees before the run**, on paper. Rooms like the idea of a way back up. **Then read the intervals
# aloud:** with six photographs they overlap from one end of the axis to the other; what convinces is that the line is falling
# on both sides and in the widget again.

# %% [markdown]
# ### Run
#
# In your clinic the same is done with a patch that calls the healthy sick. The grey dotted curve is a disc cut from an image of a patient who
# *is* sick. Why that one is there, section 8 will say. The toaster is tried in three places on each photograph, the clinic's in one on each patient.

# %%
angles = [-90, -45, -30, -20, 0, 20, 30, 45, 90, 135, 180]
WIDE = 0.4


def some_places(images, scale, places):
    """Random places (places, N, 2) for a patch of that scale, and the scale for each image."""
    drawn = attacks.random_placements(places * len(images), scale=scale, angles=0, generator=torch.Generator().manual_seed(seed))
    return drawn["location"].view(places, len(images), 2).to(images), torch.full((len(images),), scale).to(images)


toaster_curve = success_over_rotations(imagenet, photos, toaster.patch, TOASTER, place, angles, *some_places(photos, WIDE, 3))
well_x = x[y == 0]
skin_patch = trained_patches.medical(here, 1, "white")
well_places = some_places(well_x, WIDE, 1)
clinic_curve = success_over_rotations(victim, well_x, skin_patch.patch, 1, place, angles, *well_places)
piece_curve = success_over_rotations(victim, well_x, trained_patches.natural(here, 1, 1)[0], 1, place, angles, *well_places)

# %% jupyter={"source_hidden": true}
figure, (left, right) = show.picture(11, 4.4, 1, 2, sharey=True)
with_bars(left, angles, toaster_curve, "the patch", show.BLUE)
with_bars(right, angles, clinic_curve, "the patch", show.BLUE)
with_bars(right, angles, piece_curve, "a piece of a real image", "0.45", ":", shift=3)
left.set(title=f"toaster, {toaster_curve[0].n} photographs", ylabel=f"success at scale {WIDE:g}")
right.set(title=f"{names[1]}, {clinic_curve[0].n} healthy patients")
for ax in (left, right):
    for edge in (-DEGREES, DEGREES):
        ax.axvline(edge, color="0.4", linestyle=(0, (1, 2)), linewidth=1.2, label="trained within these" if edge > 0 else None)
    ax.set_xlabel("rotation in degrees, counter-clockwise")
    ax.set_xticks([-90, -45, 0, 45, 90, 135, 180])
figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
figure.alt = f"Success over rotations, scale {WIDE:g}. " + "; ".join(
    f"{a:g} degrees: toaster {float(t):.2f}, {names[1]} {float(c):.2f}, a piece {float(p):.2f}"
    for a, t, c, p in zip(angles, toaster_curve, clinic_curve, piece_curve, strict=True))  # fmt: skip
figure

# %%
for angle, rate, other, piece in zip(angles, toaster_curve, clinic_curve, piece_curve, strict=True):
    print(f"{angle:6g}°   toaster {float(rate):.2f} ({rate.low:.2f} to {rate.high:.2f})   {names[1]} {float(other):.2f} ({other.low:.2f} to {other.high:.2f})   "
          f"a piece {float(piece):.2f}")  # fmt: skip

# %% [markdown]
# ### Explain
#
# Between the dotted lines lies what the patch was trained for, and there the toaster loses little. Beyond them nobody promised anything. It falls,
# but not off a cliff: it fades, and at a right angle a good part of it is left. Upside down is no way back to where it was. *A patch is as robust as the expectation
# it was trained on.* Whoever wants one that works upside down draws angles up to 180 degrees.
#
# Look at the bars, too. Six photographs can show that it fades, and not at which degree: single points jump about.
#
# Now read the curve of your clinic. Does it fall like the toaster's, or at all? With two classes there is only one border to cross, and a patch
# that crosses it with texture and colour alone has no up and down. And don't give the patch credit for all of it. How high does a piece of a real image get?


# %%
def mean_between(curve, low, high):
    """Mean success over the angles whose size lies between two."""
    inside = [float(rate) for angle, rate in zip(angles, curve, strict=True) if low <= abs(angle) <= high]
    return sum(inside) / len(inside)


upright, twenty, right_angle = (mean_between(toaster_curve, *part) for part in ((0, 0), (20, 20), (90, 90)))
claim("at 20 degrees the toaster keeps at least two thirds of what it has upright", twenty >= 2 / 3 * upright, f"{twenty:.2f} of {upright:.2f}")
claim("at a right angle it has lost at least a quarter of it", right_angle <= 0.75 * upright, f"{right_angle:.2f} of {upright:.2f}")
claim("upside down it hasn't come back: at least a quarter is missing there, too", float(toaster_curve[-1]) <= 0.75 * upright,
      f"{float(toaster_curve[-1]):.2f} of {upright:.2f}")  # fmt: skip

# %% [markdown]
# ## 6. Turn it yourself
#
# Choose a photograph, and move the rotation. Where does *toaster* lose its lead, and what takes its place? Is it the same angle in both
# directions? Which of the two scales, 0.4 or 0.5, cares more about the angle? Then move x and y: find a place where it fails. Keep the patch
# wholly inside, between 0.3 and 0.7: what hangs over the edge is cut off, and it was never trained to be cut.
#
# Picture and bars follow every slider. The curve at the right was measured beforehand, at x 0.6 and y 0.6, and stays. When the sliders
# have rested for a moment, the dot moves to the success over all images where the patch lies now. (One of six photographs is 17 points.
# And this is one place, where section 5 had three, so the two curves differ.)
#
# Then change to the clinic, to patients whom the model calls healthy without the patch. Can you find an angle, or a place, at which *that*
# patch fails?

# %%
in_clinic = f"{here.name}, {names[0]}"
called_well = well_x[metrics.logits(victim, well_x).argmax(1) == 0]
called_well = called_well if len(called_well) else well_x
scenes = {
    "photo": explore.Scene(imagenet, photos, toaster.patch, TOASTER, objects, photo_names),
    in_clinic: explore.Scene(victim, called_well[:6], skin_patch.patch, 1, names),
}
explore.patch(scenes, scales=(0.4, 0.5), turns=range(-180, 181, 20))

# %% [markdown]
# ### Your own photograph
#
# This is where the banana belongs. Put one on a table, photograph it, and press the button. (The photograph stays on this machine. Its
# middle square is used.) The drawn
# toaster and the patch are stuck in for you, half as wide as the photograph. A patch that is *universal* should not care what you bring.

# %%
explore.own_photo(scenes["photo"], picture_of_one)

# %% [markdown]
# ## 7. Why the logarithm?
#
# The paper maximises the expected *log* probability. Why not the probability itself? The talk's answer: optimisers perform better [2]. Is that
# all? For *one* scene both have their top at the same patch. For a *mean over scenes* they need not. Two patches, ten scenes:
#
# | | the target's probability | mean of it | mean of its logarithm |
# |---|---|---|---|
# | patch A | 0.99 in nine scenes, 0.0001 in the tenth | 0.89 | -0.93 |
# | patch B | 0.80 in each | 0.80 | -0.22 |
#
# ### Predict
#
# Which of the two does each mean prefer? Which would you call universal?
#
# And the way there: the gradient of a probability is the probability times the gradient of its logarithm. With a grey patch the toaster begins far
# below one in ten thousand. How steep is it where the optimiser starts? We train again, with the same draws and the same
# Adam, on the probability. Does it matter for the toaster? Does it for your clinic?
#
# ### Run


# %%
def expected_probability(model, patch, x, target, place, draw, times):
    """As expected_log_probability, without the logarithm."""
    rounds = [model(place(patch, x, *draw(len(x)))).softmax(1)[:, target].mean() for _ in range(times)]
    return torch.stack(rounds).mean()


def start_of(objective):
    """Of a grey toaster patch, on eight scenes: the objective, and the root mean square of its gradient over the pixels."""
    grey = torch.full((3, 64, 64), 0.5, device=runtime.device(), requires_grad=True)
    scenes = universe(8, torch.Generator().manual_seed(seed))
    value = objective(imagenet, grey, scenes, TOASTER, place, draw_with(torch.Generator().manual_seed(2)), 1)
    (gradient,) = torch.autograd.grad(value, grey)
    return value.item(), gradient.square().mean().sqrt().item()


starts = {"log probability": start_of(expected_log_probability), "probability": start_of(expected_probability)}
for name, (value, length) in starts.items():
    print(f"toaster, grey patch: mean {name} {value:.2g}, slope along a typical pixel {length:.1e}")
toaster_plain = train(imagenet, universe, TOASTER, expected_probability)
clinic_plain = train(victim, healthy, 1, expected_probability)
climbs({TASKS[0]: {"log probability": toaster_climb, "probability": toaster_plain},
        TASKS[1]: {"log probability": clinic_climb, "probability": clinic_plain}}, "The same optimiser on the probability and on its logarithm")  # fmt: skip

# %% [markdown]
# ### Explain
#
# The probability prefers patch A, the logarithm patch B. In a mean of probabilities the scenes that stand near one half pull hardest: what
# happens in a lost scene hardly moves the mean. The logarithm turns this round, and the scenes in which the patch fails worst pull hardest. That is what
# "universal" needs. So it is not only an easier way to the same patch; it asks for another one. (And our yardstick asks for it, too: the axis
# is the mean *log* probability, which only one of the two was told to raise. That is why the other line may even fall.)
#
# The way there is harder, too. Where the target is unlikely, its probability is almost flat. Adam divides each step by the size of the slopes
# it has met, so it forgives small slopes much. But it adds a small number to the divisor (in PyTorch, 1e-8), so that it never divides by
# zero. How near do the slopes printed above come to it? Where they do, the steps shrink.
#
# In the clinic, with one rival, the target is never that unlikely. Look at the right panel: is the logarithm ahead there at all? Where little is lost at the start, it
# has little to give.

# %%
claim("for the toaster, the logarithm has climbed higher after the same steps", toaster_climb[-1] > toaster_plain[-1],
      f"{toaster_climb[-1]:.2f} and {toaster_plain[-1]:.2f}")  # fmt: skip
claim("the probability's slopes are less than a hundredth as steep", starts["probability"][1] < starts["log probability"][1] / 100)

# %% [markdown] tags=["instructor"]
# **Vote on A or B** before anybody computes. A wins the mean of probabilities; B is the one you would print. **Ask:** "Who is
# patient number ten?" The table carries the section; the curves only show that it happens.
#
# **A common half-truth:** "the logarithm has the same maximum, it only helps the optimiser." True for one scene. The quiz asks.

# %% [markdown]
# ## 8. In medicine
#
# Finlayson and others made patches for three medical classifiers, one for each class. They were trained at sizes from 0.1 to 1.0 of the
# image's side, turned by up to 22.5 degrees, wherever on the image, and tested at 0.4 [4]. (Ours are trained at 0.4, too.) Each patient
# gets the patch of the class that they are *not*. There were two kinds:
#
# - **white box**: trained on the victim;
# - **black box**: trained on a surrogate of the same architecture, and carried over (lesson 05).
#
# Covering an eighth of an image does harm even without any attack: it may hide what the diagnosis rests on. So they had a control, the
# **natural patch**: a disc cut from a real image of the target class. What a patch does *beyond* it is the attack.
#
# ### Exercise 4: the natural patch
#
# Make the control as strong as nature makes it: of the images that *are* of the target class, take the one to which the model gives that class
# the highest probability, and cut out its middle. (`hint("natural_patch")`)


# %%
def natural_patch(model, x, y, target, side):
    """The middle of that image of a class to which the model gives the class the highest probability.

    Args:
        model: maps images in [0, 1] to logits (N, classes).
        x: images (N, 3, H, W). y: their true labels (N,). target: the class to cut from.
        side: of the piece, in pixels.

    Returns:
        (3, side, side), a piece of one of the images, as it is.
    """
    ### BEGIN SOLUTION
    mine = x[y == target]
    image = mine[model(mine).softmax(1)[:, target].argmax()]
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    return image[:, top : top + side, left : left + side]
    ### END SOLUTION


natural_patch = check.natural_patch(natural_patch)

# %% [markdown]
# ### Predict
#
# Three patches, on the same patients in the same places. The natural one is cut from one of the attacker's own patients, whom the model calls sick (or healthy)
# more surely than all others. How many right answers does it cost? And the surrogate's, which was made without the victim: nearer to the natural one,
# or to the victim's own? (With 32 patients an accuracy is uncertain by some 15 points either way. If the two
# come out near each other, set `n` at the top to 96 and ask again.)
#
# ### Run

# %%
side = round(0.4 * x.shape[-1])
patches = {
    "natural": [natural_patch(victim, own_x, own_y, target, side) for target in (0, 1)],
    "black box": [trained_patches.medical(here, target, "black").patch for target in (0, 1)],
    "white box": [trained_patches.medical(here, target, "white").patch for target in (0, 1)],
}

# %% jupyter={"source_hidden": true}
figure, axes = show.picture(7.2, 5, 2, 3, alt="The patches for each class: natural, black box, white box. The natural ones are pieces of images; the others are loud patterns.")
disc = attacks.place(torch.ones(3, 96, 96), torch.zeros(1, 3, 96, 96), scale=1.0)[0]
for column, (kind, pair) in enumerate(patches.items()):
    for target, patch in enumerate(pair):
        ax = axes[target, column]
        shown = F.interpolate(patch[None].cpu(), (96, 96), mode="bilinear", antialias=True)[0]
        ax.imshow(show.pixels(shown * disc + 1 - disc))
        ax.set(xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set_visible(False)
        if not target:
            ax.set_title(kind)
    axes[0, 0].set_ylabel(f"made to say\n{names[0]}", fontsize=12)
    axes[1, 0].set_ylabel(f"made to say\n{names[1]}", fontsize=12)
figure

# %%
spots = attacks.random_placements(len(x), scale=0.4, angles=DEGREES, generator=torch.Generator().manual_seed(seed))  # the same for all kinds


def other_class(pair, where=spots):
    """Each patient with the patch of the class that they are not."""
    stuck = x.clone()
    for label in (0, 1):
        rows = y == label
        stuck[rows] = attacks.place(pair[1 - label], x[rows], **{name: value[rows.cpu()] for name, value in where.items()})
    return stuck


versions = {"clean": x} | {kind: other_class(pair) for kind, pair in patches.items()}
right_before = torch.nonzero(metrics.logits(victim, x).argmax(1) == y).flatten()[:6]  # patients who can still be lost
show.compare({kind: changed[right_before] for kind, changed in versions.items()}, y[right_before], victim, names)

# %%
rows = {kind: evaluate(victim, changed, y) for kind, changed in versions.items()}


def with_interval(estimate):
    return f"{float(estimate):.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


print(f"{here.name}, {len(x)} patients, scale 0.4, 95 % intervals in brackets\n{'':<12}{'accuracy':<24}{'AUC':<24}confidence")
for kind, scores in rows.items():
    print(f"{kind:<12}" + "".join(f"{with_interval(value):<24}" for value in (scores.accuracy, scores.auc, scores.confidence)))

# %% [markdown]
# The study's rows, for its three clinics, are printed in the authors' notebooks [4], for whole test sets and scale 0.4. (Their models, images and
# tasks are others: chest is pneumothorax there. The rows of clean images are not in these notebooks.)
#
# | accuracy / AUC / mean confidence | eye: retinopathy | chest: pneumothorax | skin: melanoma |
# |---|---|---|---|
# | natural | 78.53 % / 0.8275 / 80.84 % | 92.05 % / 0.5386 / 95.76 % | 67.58 % / 0.4872 / 85.55 % |
# | black box | 3.97 % / 0.0002 / 97.50 % | 9.67 % / 0.0038 / 83.26 % | 1.37 % / 0.0004 / 97.60 % |
# | white box | 0.29 % / 0.0000 / 99.16 % | 0.01 % / 0.0000 / 98.77 % | 0.00 % / 0.0000 / 99.72 % |
#
# ### Explain
#
# The natural patch is not always harmless: it covers things, and it shows real signs of the other class. In the study, the skin
# clinic under natural patches ordered its patients no better than a coin (AUC 0.4872). In the chest clinic the accuracy hides the same: 92 % right beside an AUC of 0.54.
# (Where one class is rare, whoever always names the other is mostly right. Read both columns.)
#
# Made on the victim, a patch left the study's models few right answers or none. Ours, after half a minute of training, leaves more in
# some clinics than in others. Made on the surrogate, a patch was never shown to the victim. In the study it came close to the
# victim's own in all three clinics. In yours: is it an attack, or does it do what the natural one does? Compare it
# with the row *natural*, not with *clean*, column by column. If the intervals lie apart, that column tells. If they overlap, it is
# still open: these are the same patients, and only a comparison patient by patient would say (lesson 02). (How much a surrogate knows
# of its victim differs from clinic to clinic, as lesson 05 says. It opens with the chest, this one with the skin.)

# %%
most = 0.5 if clinic == "chest" else 0.25  # on real radiographs half a minute of training does less
claim(f"the victim's own patch leaves at most {100 * most:g} % of the answers right", rows["white box"].accuracy <= most, f"{rows['white box'].accuracy:.2f}")
claim("the natural patch leaves more right answers, by 20 points or more", rows["natural"].accuracy - rows["white box"].accuracy >= 0.2,
      f"{rows['natural'].accuracy:.2f}")  # fmt: skip
claim("the surrogate's patch leaves at least as many right as the victim's own", rows["black box"].accuracy >= rows["white box"].accuracy,
      f"{rows['black box'].accuracy:.2f} and {rows['white box'].accuracy:.2f}")  # fmt: skip
if clinic != "fundus":  # on real fundus photographs the surrogate's patch does nothing to the victim
    claim("the surrogate's patch costs at least 10 points of the clean accuracy, as a natural one may", rows["clean"].accuracy - rows["black box"].accuracy >= 0.1,
          f"{rows['clean'].accuracy:.2f} to {rows['black box'].accuracy:.2f}")  # fmt: skip
result("accuracy under the white-box patch", rows["white box"].accuracy)

# %% [markdown]
# ## 9. Paper and camera
#
# A patch is made to be printed. The sheet (two pages) has it 5, 10 and 15 cm wide, with a ruler to check that the printer did not scale it, and marks
# to cut along. Cut out the circle and lay it beside a banana. Photograph both, square on. Only the middle square of a photograph is used: have
# both in it, and the patch about half as wide as that square. (It was trained for 0.3 to 0.6.) Give the photograph to section 6, and
# read the left panel there, "as it is": the two others stick one more thing on.

# %%
import base64
import tempfile
from pathlib import Path

from IPython.display import HTML

from medattack_edu.sheets import photograph, print_sheet

with tempfile.TemporaryDirectory() as folder:
    sheet = Path(folder) / "toaster_patch.pdf"
    print_sheet(toaster.patch, sheet, width_cm=[5, 10, 15], target="toaster", mask="disc")
    content = base64.b64encode(sheet.read_bytes()).decode()
HTML(f'<a download="toaster_patch.pdf" href="data:application/pdf;base64,{content}">toaster_patch.pdf</a>: print it at 100 %, on plain paper.')

# %% [markdown]
# ### Predict
#
# Say that the printer was perfect. (None is; nothing in this lesson plays one.) Between the paper and the network there is still a camera. `photograph`
# plays it: it tilts the view a little, lights it from one side, gets the
# white balance slightly wrong, focuses and holds still as people do, adds the noise of its sensor, and saves a JPEG. What is left of the patch?
#
# ### Run

# %%
WIDTH = 0.5  # half of the side, as in section 4
shots = torch.Generator().manual_seed(seed)
in_scene = attacks.place(toaster.patch, photos, location=(0.6, 0.6), scale=WIDTH)
taken = photograph(in_scene, generator=shots)
print(f"the camera changes a value by {float((taken - in_scene).abs().mean()) * 255:.0f} grey levels on average")
exhibit({"in the scene": in_scene, "photographed": taken}, photo_names)


# %%
def through_the_camera(patch, mask="disc", places=4):
    """Success at WIDTH in random places, before and after the camera, over the photographs."""
    draws, kept = torch.Generator().manual_seed(seed), {"before": [], "after": []}
    for _ in range(places):
        stuck = attacks.place(patch, photos, mask=mask, **attacks.random_placements(len(photos), scale=WIDTH, mask=mask, generator=draws))
        for when, seen in (("before", stuck), ("after", photograph(stuck, generator=shots))):
            kept[when].append(metrics.logits(imagenet, seen).argmax(1) == TOASTER)
    shares = {when: torch.stack(hits).float().mean(0) for when, hits in kept.items()}
    return {when: metrics.proportion(share.sum(), len(share)) for when, share in shares.items()}


camera = {"patch": through_the_camera(toaster.patch), "picture": through_the_camera(picture_of_one, "square")}
for what, rates in camera.items():
    print(f"{what:<8} before the camera {rates['before']}\n{'':<8} after it          {rates['after']}")

# %% [markdown]
# ### Explain
#
# Compare the printed mean with the budgets of lessons 03 to 06: most attacks there could change no value by more than four grey levels.
# And yet the patch gets through: its message is large and loud. How much it loses, six photographs can't say exactly; read the intervals. What would make it lose less is to have the camera in
# the expectation: `attacks.train_patch` takes `light`, `contrast`, `blur`, `perspective` and, for the printer's inks, `printable`. Lesson 08 takes camera and printer up again, on objects.

# %%
claim("after the camera the patch still does more than the picture", camera["patch"]["after"] > camera["picture"]["after"],
      f"{camera['patch']['after']:.2f} and {camera['picture']['after']:.2f}")  # fmt: skip

# %% [markdown]
# > ### In the clinic
# >
# > **Where would a sticker go?** On the skin beside the mole, where a ruler or a skin marker lies anyway. On the X-ray cassette, in place of
# > the lead letter that says which side is left. On the lens of the fundus camera, where it would be in every patient's picture until somebody
# > cleans it. Nobody needs to reach the computer: the scene is changed *before* the image is taken. A signature by the device, the
# > remedy of lesson 04, then signs the patch along with the patient.
# >
# > In a study of dermoscopy, without any knowledge of the model, physical attacks cost 31 % of accuracy on average, and changed the
# > diagnosis in "one of two cases" [5].
# >
# > **What would show?** The sticker. A person who looks at the image sees it at once, and a person who doesn't, doesn't. So patches
# > belong where *nobody looks*: screening without a reader, insurance bills that no person reviews. Ask of each such path of an image: who looks at
# > the image itself, and when?
# >
# > **How small may it be?** The next cell moves the victim's patch into a corner, away from what the image is about, and makes it as small as
# > a marker. Compare each line with its control. What would you fear?

# %%
print(f"no patch: accuracy {with_interval(rows['clean'].accuracy)}")
in_a_corner = {}
for scale in (0.15, 0.4):
    k = len(x)
    corner = {"location": torch.full((k, 2), 1 - scale / 2 - 0.02), "angle": torch.zeros(k), "scale": torch.full((k,), scale)}
    in_a_corner[scale], odd = (evaluate(victim, other_class(patches[kind], corner), y).accuracy for kind in ("white box", "natural"))
    print(f"in a corner, scale {scale:g} ({78.5 * scale**2:4.1f} % of the image): accuracy {with_interval(in_a_corner[scale])}, natural patch {with_interval(odd)}")
claim("as small as a marker, in a corner, the patch leaves more right than at the scale it was made for", in_a_corner[0.15] > in_a_corner[0.4],
      f"{in_a_corner[0.15]:.2f} and {in_a_corner[0.4]:.2f}")  # fmt: skip

# %% [markdown]
# Take the line with scale 0.15. Compare its accuracy with that of the natural patch in the same line, and with "no patch" above: does *this*
# patch, as small as a marker, do more than either? That size was not in its expectation, and so need not be in the patch. Where it does nothing, that doesn't make a marker safe. It makes it untested: an attacker with a marker in mind would train
# for a marker's size, and nobody has done that here.

# %% [markdown] tags=["instructor"]
# **Ask before the last table:** "Your clinic allows a ruler in the picture. Is that a risk?" Most say yes after the toaster. Then
# the printed lines: at a marker's size this patch did little. **Both are half right.** What was measured is one patch, made for
# another size. "We tested it and it was safe" and "we tested something else" sound the same in a report.
#
# **Watch for** "accuracy fell from 0.75 to 0.2, so it is an attack". Which row is the control?

# %% [markdown]
# ## Quiz

# %% jupyter={"source_hidden": true}
quiz(
    "Your patch wins on 97 % of its training photographs, and on 8 % of new ones, at the same angles and sizes. Which of the three promises is broken?",
    ["Targeted", "Universal", "Robust"],
    answer="Universal",
    why="It has learnt these photographs by heart. A universal patch needs a universe to learn from.",
)

# %% jupyter={"source_hidden": true}
quiz(
    "Six photographs, the patch tried in 50 places on each, 240 of 300 placements won. What is n in the interval?",
    ["6", "50", "300"],
    answer="6",
    why={
        "6": "What you want to know is how it does on the next *photograph*, and you have tried six.",
        "50": "There are 50 places on each, but they are not independent of each other.",
        "300": "Then 3,000 places on the same six photographs would make you almost certain of a seventh.",
    },
)

# %% jupyter={"source_hidden": true}
quiz(
    "A patch covers a mole, and the model no longer says melanoma. The natural patch does the same. What have you shown?",
    [
        "That the patch is an adversarial attack",
        "That a piece of a real image does as much",
        "That the model fails because the mole is hidden",
    ],
    answer="That a piece of a real image does as much",
    why={
        "That the patch is an adversarial attack": "The control did it, too. The attack is what goes beyond the control.",
        "That a piece of a real image does as much": "And no more than that: the attack is what goes beyond the control.",
        "That the model fails because the mole is hidden": "Perhaps. Or it is what the piece shows. A grey disc would tell.",
    },
)

# %% jupyter={"source_hidden": true}
quiz(
    "Why does the expectation hold the logarithm?",
    [
        "It changes nothing for the best patch, but makes the numbers handier",
        "The scenes where the target is least likely pull hardest",
        "Probabilities can't be differentiated",
    ],
    answer="The scenes where the target is least likely pull hardest",
    why="The gradient of log p is the gradient of p divided by p: where p is tiny, what was flat becomes a slope. For one scene the best patch is the "
    "same; for a mean over scenes it isn't (patches A and B).",
)

# %% [markdown]
# ## Go further
#
# - Train a patch that works upside down, and change nothing else: `trained_patches.train_toaster(angles=180)`, some three minutes. Draw its
#   curve beside the old one. What did it pay?
# - Is the toaster of one network a toaster for another? EfficientNet-Lite1 is here: `freeze(models.efficientnet_lite.efficientnet_lite1())`.
#   With a connection, `trained_patches.toaster("vgg16")` trains one for any of torchvision's networks, VGG and Inception among them.
#   A *list* of models makes `attacks.train_patch` train one patch for all of them.
# - Choose another target. Is a *banana* easier than a toaster?
# - Set `clinic` at the top to "fundus" or "chest". Where does the surrogate's patch come closest to the victim's?

# %% [markdown]
# ## What you now know
#
# - A patch gives up hiding and buys everything else: one sticker, any scene, an answer of the attacker's choice.
# - It is the maximum of an expectation over images, places and transformations. What isn't in the expectation, isn't in the patch: it
#   holds for the turns it was trained on, and beyond them it fades.
# - A picture of the target is no patch. In a clinic the natural patch is the control, and the attack is what goes beyond it.
# - Success is counted over images that weren't the target before, and n is the number of images.
# - The logarithm makes the scenes pull in which the patch fails: for a mean over scenes it asks for another patch, not only for an easier climb.

# %%
progress()

# %% [markdown]
# **Next:** [lesson 08](08_the_physical_world.ipynb), the physical world: stickers on a stop sign, and a thing that can be turned in the hand.
#
# ## Sources
#
# 1. Brown, Mané, Roy, Abadi, Gilmer: *Adversarial Patch*, arXiv 1712.09665.
# 2. J. Campbell: *Adversarial Attacks Against Medical Deep Learning Systems*, a talk, Cardiff University, 27 June 2018
#    ([notes and slides](https://github.com/theref/Adversarial-Talk)).
# 3. The authors' notebook for [1]: github.com/cleverhans-lab/cleverhans, `cleverhans_v3.1.0/examples/adversarial_patch`. Read off its plots, 100 images a point.
# 4. Finlayson, Chung, Kohane, Beam: *Adversarial Attacks Against Medical Deep Learning Systems*, arXiv 1804.05296; the patches and
#    their results are in github.com/sgfin/adversarial-medicine, `patch_attacks`.
# 5. Kügler et al., dermoscopy, submitted to MIDL 2019: openreview.net/forum?id=Byl6W7WeeN.
