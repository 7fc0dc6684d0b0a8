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
# - print it, photograph it, and say what is left of it.
#
# | | |
# |---|---|
# | Time | about 60 minutes |
# | You need | [lesson 04](04_projected_gradient_descent.ipynb) (walking along a gradient, targets); [lesson 05](05_black_box_transfer.ipynb) (surrogates) |
# | Your machine needs | nothing more: no network, no GPU, no printer |
#
# Everything that you attack here is a model of this course, on public or synthetic images. Keep it so.

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
# the EfficientNet-Lite0 that our victims grew from. It is none of those for which the first such patches were made [1]: Inception, ResNet50,
# Xception, VGG16 and VGG19 [3]. The six photographs come with the libraries scikit-image and scikit-learn.
#
# ### Predict
#
# In the paper's video, as the talk behind this course tells it, a network looks at a banana. Somebody adds a *picture of a toaster*,
# and later a patch [2]. Here is the first half. A drawn toaster is stuck into each photograph, four tenths as wide as the photograph.
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


def exhibit(rows, titles):
    """Photographs in rows, with the network's word under each; the word toaster is red."""
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


with_picture = attacks.place(picture_of_one, photos, mask="square", **CORNER)
exhibit({"as it is": photos, "with a picture": with_picture}, photo_names)

# %% [markdown]
# ### Explain
#
# Not every word was right to begin with, and some change now that a corner is hidden. But the network shrugs the toaster off. It has to
# choose *one* word for a scene, and a small picture of a toaster is less toaster than a whole cat is cat.
#
# What would be *more* of a toaster than a toaster?

# %%
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
# (move back by the centre c, turn back by the angle a, undo the scale s). Both u and v are counted from -1 to 1 across
# their image, and the second coordinate points down. Where |v| is 1 or less, the scene lies under the disc. PyTorch has both parts ready:
# `F.affine_grid` computes v for every pixel u from a matrix (N, 2, 3), and `F.grid_sample` looks the colours up.
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

# %% [markdown]
# Your operator at work: the same picture in the same scene, six times.

# %%
trials = torch.tensor([[0.5, 0.5, 0, 0.4], [0.3, 0.3, 22.5, 0.4], [0.7, 0.3, -22.5, 0.4], [0.3, 0.7, 90, 0.4], [0.6, 0.6, 0, 0.7], [0.75, 0.75, 180, 0.3]])  # fmt: skip
trials = trials.to(photos.device)
espresso = photos[:1].expand(6, -1, -1, -1)
exhibit({"your A(p, x, l, t)": place(picture_of_one, espresso, trials[:, :2], trials[:, 2], trials[:, 3])},
        [f"({a:g}, {d:g}), {turn:g}°, {s:g}" for a, d, turn, s in trials.tolist()])  # fmt: skip

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
# `draw(k)` gives you locations, angles and scales for `k` images, three tensors, new ones at each call. (`hint("expected_log_probability")`)


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
# With your two functions, training is four lines. You will watch the first 12 steps of it on each of two tasks, from a grey patch:
#
# - *toaster*, out of 1,000 classes, on made-up scenes and photographs (not the six above);
# - in your clinic, out of two classes: a patch that calls the healthy sick, on images of the attacker's own.
#
# In which of the two does the log probability rise faster? Is either done after 12 steps? (To save time both run at 128 px here.)
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
    """Climb `objective` with Adam, from grey. Returns the patch and, every four steps, its log probability on fixed scenes."""
    generator = torch.Generator().manual_seed(seed)
    fixed = supply(batch, torch.Generator().manual_seed(seed + 1))
    patch = torch.full((3, 64, 64), 0.5, device=runtime.device(), requires_grad=True)
    adam, history = torch.optim.Adam([patch], lr=0.05, maximize=True), []
    for step in tqdm(range(steps + 1), desc="training", leave=False):
        if step % 4 == 0:
            with torch.no_grad():
                history.append(expected_log_probability(model, patch, fixed, target, place, draw_with(torch.Generator().manual_seed(2)), 1).item())
        adam.zero_grad()
        objective(model, patch, supply(batch, generator), target, place, draw_with(generator), 1).backward()
        adam.step()
        patch.data.clamp_(0, 1)
    return patch.detach(), history


others, _ = photographs(SIZE, [name for name in FILES if name not in SHOWN])
universe = varied_scenes(torch.cat([others, dead_leaves(16, SIZE, torch.Generator().manual_seed(seed)).to(others)]), SIZE)
own_x, own_y = here.attacker.sample(48, seed=seed, balanced=True)


def healthy(batch, generator):
    """Random healthy patients of the attacker's."""
    well = own_x[own_y == 0]
    return well[torch.randint(len(well), (batch,), generator=generator).to(well.device)]


short_toaster, toaster_climb = train(imagenet, universe, TOASTER, expected_log_probability)
short_clinic, clinic_climb = train(victim, healthy, 1, expected_log_probability)

# %%
def climbs(lines, title):
    """Log probabilities by step, and the line above which the target is likelier than not."""
    figure, ax = show.picture(8.5, 3.6)
    for (label, history), colour, style in zip(lines.items(), show.LINES, show.STYLES, strict=False):
        ax.plot(range(0, 4 * len(history), 4), history, style, marker="o", color=colour, linewidth=2, label=label)
    ax.axhline(torch.tensor(0.5).log().item(), color="0.45", linestyle=":", label="probability one half")
    ax.set(xlabel="steps", ylabel="log probability of the target", title=title)
    ax.grid(alpha=0.25)
    ax.legend(frameon=False)
    figure.alt = f"{title}. " + "; ".join(f"{label}: from {history[0]:.1f} to {history[-1]:.1f}" for label, history in lines.items()) + "."
    return figure


climbs({"toaster, of 1,000 classes": toaster_climb, f"{names[1]}, of 2": clinic_climb}, "The first 12 steps, on 8 fixed scenes")

# %% [markdown]
# ### Explain
#
# Both climb. In the clinic the target has a single rival and begins near it: a few steps go most of the way. The toaster
# has 999 rivals, and begins with a probability of less than one in ten thousand (a log probability below -9).
#
# So the toaster takes minutes. It was trained once, when the course was prepared, by `attacks.train_patch`, which is your
# four lines with more care. Three things went into it:
#
# - **A universe.** A patch that is trained on a dozen photographs can learn these by heart. Ours saw scenes without
#   end: photographs cropped, mixed and recoloured, and *dead leaves*, random shapes that cover each other as leaves on the ground do.
# - **A start.** It began as the drawn toaster that the network shrugs off, and not as grey.
# - **A handicap.** During training the toaster's logit was lowered, so that scenes which are already won still have
#   something to teach.
#
# How much each of them matters was not measured one by one. **The six photographs of this lesson it has never seen**, but its makers
# have: they chose the recipe while they looked at them, so the next figures flatter it a little.

# %%
claim("the log probability of the toaster rises", toaster_climb[-1] > toaster_climb[0] + 1, f"{toaster_climb[0]:.1f} to {toaster_climb[-1]:.1f}")
claim("it begins below one in ten thousand", toaster_climb[0] < -9.2, f"{toaster_climb[0]:.1f}")
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
# each of five scales. That makes 18 trials at each scale, but what counts are the photographs. Places on one photograph go well or badly
# together, so the interval stands on six.

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
figure = show.curves(
    {"the patch": (scales, patch_rates), "a picture of a toaster": (scales, picture_rates)},
    xlabel="scale: side of the sticker over side of the scene",
    ylabel=f"called a toaster ({patch_rates[0].n} photographs)",
    title="Success by scale, on photographs it was not trained on",
)
figure.axes[0].set_ylim(-0.03, 1.03)
figure

# %%
for scale, rate, control in zip(scales, patch_rates, picture_rates, strict=True):
    print(f"scale {scale:g} ({78.5 * scale**2:4.1f} % of the scene)   patch {float(rate):.2f} ({rate.low:.2f} to {rate.high:.2f})   "
          f"picture {float(control):.2f} ({control.low:.2f} to {control.high:.2f}),  n = {rate.n}")  # fmt: skip

# %% [markdown]
# ### Explain
#
# The same size, the same places: the picture says *toaster* to you, the patch says it to the network.
#
# The authors' own code tried theirs on 100 images at each size. Read off its plots, give or take 3 points: a patch on a
# tenth of the area (our scale 0.36), made for one network, wins on 89 % with Xception, 77 with ResNet50, 74 with Inception, 68 with
# VGG16 and 38 with VGG19. A *photograph* of a real toaster on a tenth of the area wins on 0 to 4 %, on half of the area on 33 to 83 % [3]. Other networks,
# other images, many more of them: compare the shape of the curves, not the digits.

# %%
claim("the patch wins more often than the picture, at half of the side", patch_rates[3] > picture_rates[3] + 0.2,
      f"{patch_rates[3]:.2f} and {picture_rates[3]:.2f}")  # fmt: skip
claim("a larger patch wins more often: 0.5 against 0.2", patch_rates[3] > patch_rates[0])

# %% [markdown]
# ## 5. How far can you turn it?
#
# ### Predict
#
# It was trained on turns of up to 22.5 degrees either way. The talk that this course grew from says: up to about 20 degrees in
# either direction [2]. What happens at 30? At 45? Upside down would be 180: is there a way back up?
#
# ### Exercise 3: success over rotations
#
# Three rules keep the number honest. An image that is called a toaster *before* doesn't count. Only the target is
# a success, not just any wrong word. And n is the number of *images*: `metrics.proportion(hits, n)` takes parts of an image, too.
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

# %% [markdown]
# ### Run

# %%
angles = [-90, -65, -45, -30, -20, 0, 20, 30, 45, 65, 90]
WIDE = 0.4


def some_places(images, scale, places):
    """Random places (places, N, 2) for a patch of that scale, and the scale for each image."""
    drawn = attacks.random_placements(places * len(images), scale=scale, angles=0, generator=torch.Generator().manual_seed(seed))
    return drawn["location"].view(places, len(images), 2).to(images), torch.full((len(images),), scale).to(images)


toaster_curve = success_over_rotations(imagenet, photos, toaster.patch, TOASTER, place, angles, *some_places(photos, WIDE, 3))
well_x = x[y == 0]
skin_patch = trained_patches.medical(here, 1, "white")
clinic_curve = success_over_rotations(victim, well_x, skin_patch.patch, 1, place, angles, *some_places(well_x, WIDE, 1))
figure = show.curves(
    {
        f"toaster, {toaster_curve[0].n} photographs": (angles, toaster_curve),
        f"{names[1]}, {clinic_curve[0].n} patients": (angles, clinic_curve),
    },
    xlabel="rotation in degrees, counter-clockwise",
    ylabel="success",
    title=f"Success over rotations, scale {WIDE:g}",
)
ax = figure.axes[0]
ax.axvspan(-DEGREES, DEGREES, color="0.9", zorder=0)
ax.set_ylim(-0.03, 1.03)
ax.set_xticks([-90, -45, -22.5, 0, 22.5, 45, 90], ["-90", "-45", "-22.5", "0", "22.5", "45", "90"])
figure

# %%
for angle, rate, other in zip(angles, toaster_curve, clinic_curve, strict=True):
    print(f"{angle:6g}°   toaster {float(rate):.2f} ({rate.low:.2f} to {rate.high:.2f})   {names[1]} {float(other):.2f} ({other.low:.2f} to {other.high:.2f})")

# %% [markdown]
# ### Explain
#
# The grey band is what the patch was trained for. Up to 20 degrees the toaster loses little. Beyond, it falls on both sides, and at a
# right angle a good part of it is gone. Nobody promised anything out there. *A patch is as robust as the expectation it was trained
# on*. Whoever wants one that works upside down draws angles up to 180 degrees.
#
# Now read the curve of your clinic. Does it fall like the toaster's, or at all? With two classes there is only one border to cross, and a patch
# that crosses it with texture and colour alone has no up and down.


# %%
def mean_between(curve, low, high):
    """Mean success over the angles whose size lies between two."""
    inside = [float(rate) for angle, rate in zip(angles, curve, strict=True) if low <= abs(angle) <= high]
    return sum(inside) / len(inside)


upright, twenty, right_angle = (mean_between(toaster_curve, *part) for part in ((0, 0), (20, 20), (90, 90)))
claim("at 20 degrees the toaster keeps at least two thirds of what it has upright", twenty >= 2 / 3 * upright, f"{twenty:.2f} of {upright:.2f}")
claim("at a right angle it has lost at least a quarter of it", right_angle <= 0.75 * upright, f"{right_angle:.2f} of {upright:.2f}")

# %% [markdown]
# ## 6. Turn it yourself
#
# Choose a photograph, and move the rotation. Where does *toaster* lose its lead, and what takes its place? Is it the same angle in both
# directions?
# Which of the two scales cares more about the angle? Then find a place where it fails. Change to the clinic: can you find an angle, or a place,
# at which *that* patch fails?

# %%
in_clinic = f"{here.name}, {names[0]}"
scenes = {
    "photo": explore.Scene(imagenet, photos, toaster.patch, TOASTER, objects, photo_names),
    in_clinic: explore.Scene(victim, well_x[:6], skin_patch.patch, 1, names),
}
explore.patch(scenes, scales=(0.4, 0.5))

# %% [markdown]
# ### Your own photograph
#
# This is where the banana belongs. Put one on a table, photograph it, and press the button. (The photograph stays on this machine.) The drawn
# toaster and the patch are stuck in for you, half as wide as the photograph. A patch that is *universal* should not care what you bring.

# %%
explore.own_photo(scenes["photo"], picture_of_one)

# %% [markdown]
# ## 7. Why the logarithm?
#
# The paper maximises the expected *log* probability. Why not the probability itself? Both have their top in the same place. The talk's
# answer: optimisers perform better [2].
#
# ### Predict
#
# The gradient of a probability is the probability times the gradient of its logarithm. With a grey patch the toaster has less than one in
# ten thousand. How long is the gradient, then, with which the optimiser starts? We train again, with the same draws and the same
# Adam, on the probability. Does it matter for the toaster? Does it for your clinic?
#
# ### Run


# %%
def expected_probability(model, patch, x, target, place, draw, times):
    """As expected_log_probability, without the logarithm."""
    rounds = [model(place(patch, x, *draw(len(x)))).softmax(1)[:, target].mean() for _ in range(times)]
    return torch.stack(rounds).mean()


def length_of_gradient(objective):
    """Of a grey toaster patch, on eight scenes: the root mean square over its pixels."""
    grey = torch.full((3, 64, 64), 0.5, device=runtime.device(), requires_grad=True)
    scenes = universe(8, torch.Generator().manual_seed(seed))
    (gradient,) = torch.autograd.grad(objective(imagenet, grey, scenes, TOASTER, place, draw_with(torch.Generator().manual_seed(2)), 1), grey)
    return gradient.square().mean().sqrt().item()


lengths = {"log probability": length_of_gradient(expected_log_probability), "probability": length_of_gradient(expected_probability)}
print(", ".join(f"gradient of the {name}: {length:.1e}" for name, length in lengths.items()))
_, toaster_plain = train(imagenet, universe, TOASTER, expected_probability)
_, clinic_plain = train(victim, healthy, 1, expected_probability)
climbs({"toaster, log probability": toaster_climb, "toaster, probability": toaster_plain,
        "clinic, log probability": clinic_climb, "clinic, probability": clinic_plain}, "The same optimiser on the probability and on its logarithm")  # fmt: skip

# %% [markdown]
# ### Explain
#
# Where the target is unlikely, its probability is almost flat, and a climber who looks at the slope has nothing to go by.
# Adam measures each step by the slopes it has met, so it forgives much; but it takes slopes below a certain size for rounding, and
# in a mean of probabilities the few scenes that are nearly won drown all others. The logarithm turns this round: the scenes in
# which the patch fails worst pull hardest. That is what "universal" needs.
#
# In the clinic, with one rival, the target is never that unlikely. Look at the other pair of lines: does the logarithm help there at all?

# %%
claim("for the toaster, the logarithm has climbed higher after the same steps", toaster_climb[-1] > toaster_plain[-1],
      f"{toaster_climb[-1]:.2f} and {toaster_plain[-1]:.2f}")  # fmt: skip
claim("the probability's gradient is less than a hundredth as long", lengths["probability"] < lengths["log probability"] / 100)

# %% [markdown]
# ## 8. In medicine
#
# Finlayson and others made patches for three medical classifiers: one for each class, on the scale 0.4, turned by up to 22.5 degrees,
# wherever on the image [4]. Each patient gets the patch of the class that they are *not*. There were two kinds:
#
# - **white box**: trained on the victim;
# - **black box**: trained on a surrogate of the same architecture, and carried over (lesson 05).
#
# Covering an eighth of an image does harm even without any attack: it may hide what the doctor should see. So they had a control, the
# **natural patch**: a disc cut from a real image of the target class.
#
# ### Exercise 4: the natural patch
#
# Make the control as strong as nature makes it: of the images that *are* of the target class, take the one of which the model is
# surest, and cut out its middle. (`hint("natural_patch")`)


# %%
def natural_patch(model, x, y, target, side):
    """The middle of the surest image of a class.

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
# Three patches, on the same patients in the same places. The natural one is a piece of a real patient whom the model calls sick (or healthy)
# without doubt. How many answers does it turn? And the surrogate's, which was made without the victim: nearer to the natural one,
# or to the victim's own?
#
# ### Run

# %%
side = round(0.4 * x.shape[-1])
patches = {
    "natural": [natural_patch(victim, own_x, own_y, target, side) for target in (0, 1)],
    "black box": [trained_patches.medical(here, target, "black").patch for target in (0, 1)],
    "white box": [trained_patches.medical(here, target, "white").patch for target in (0, 1)],
}
figure, axes = show.picture(7.2, 5, 2, 3, alt="The patches for each class: natural, black box, white box. The natural ones are pieces of images; the others are loud patterns.")
disc = place(torch.ones(3, 96, 96), torch.zeros(1, 3, 96, 96), torch.tensor([[0.5, 0.5]]), torch.zeros(1), torch.ones(1))[0]
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
    axes[0, 0].set_ylabel(f"speaks for\n{names[0]}", fontsize=12)
    axes[1, 0].set_ylabel(f"speaks for\n{names[1]}", fontsize=12)
figure

# %%
spots = draw_with(torch.Generator().manual_seed(seed))(len(x))  # the same places for all kinds


def other_class(pair, where=spots):
    """Each patient with the patch of the class that they are not."""
    stuck = x.clone()
    for label in (0, 1):
        rows = y == label
        stuck[rows] = place(pair[1 - label], x[rows], *(value[rows] for value in where))
    return stuck


versions = {"clean": x} | {kind: other_class(pair) for kind, pair in patches.items()}
show.compare(versions, y, victim, names)

# %%
rows = {kind: evaluate(victim, changed, y) for kind, changed in versions.items()}


def with_interval(estimate):
    return f"{float(estimate):.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


print(f"{here.name}, {len(x)} patients, scale 0.4, 95 % intervals in brackets\n{'':<12}{'accuracy':<24}{'AUC':<24}confidence")
for kind, scores in rows.items():
    print(f"{kind:<12}" + "".join(f"{with_interval(value):<24}" for value in (scores.accuracy, scores.auc, scores.confidence)))

# %% [markdown]
# The study's rows, for its three clinics, are printed in the authors' notebooks [4]: accuracy, AUC and mean confidence on
# whole test sets, scale 0.4. (Their models, images and tasks are others: chest is pneumothorax there. The rows of clean images
# are not in these notebooks.)
#
# | | eye: retinopathy | chest: pneumothorax | skin: melanoma |
# |---|---|---|---|
# | natural patch | 78.53 % / 0.8275 / 80.84 % | 92.05 % / 0.5386 / 95.76 % | 67.58 % / 0.4872 / 85.55 % |
# | patch, black box | 3.97 % / 0.0002 / 97.50 % | 9.67 % / 0.0038 / 83.26 % | 1.37 % / 0.0004 / 97.60 % |
# | patch, white box | 0.29 % / 0.0000 / 99.16 % | 0.01 % / 0.0000 / 98.77 % | 0.00 % / 0.0000 / 99.72 % |
#
# ### Explain
#
# The natural patch is not always harmless: it covers things, and it shows real signs of the other class. In the study, the skin
# clinic under natural patches ordered its patients no better than a coin (AUC 0.4872). That is why it is there: *what a patch does beyond it
# is the attack*.
#
# Made on the victim, the patch leaves little or nothing, wherever it lies. Made on the surrogate, it was never shown to the victim.
# In the study it came close to the victim's own in all three clinics. In yours: is it an attack, or does it do what the natural one does? Mind
# the intervals. (In lesson 05 you saw that clinics differ in how much a surrogate knows of its victim.)

# %%
claim("the victim's own patch leaves at most one answer in four right", rows["white box"].accuracy <= 0.25, f"{rows['white box'].accuracy:.2f}")
claim("the natural patch leaves more right answers, by 20 points or more", rows["natural"].accuracy - rows["white box"].accuracy >= 0.2,
      f"{rows['natural'].accuracy:.2f}")  # fmt: skip
claim("the surrogate's patch costs at least 10 points of the clean accuracy", rows["clean"].accuracy - rows["black box"].accuracy >= 0.1,
      f"{rows['clean'].accuracy:.2f} to {rows['black box'].accuracy:.2f}")  # fmt: skip

# %% [markdown]
# ## 9. Print it
#
# A patch is made to be printed. The sheet has it 5, 10 and 15 cm wide, with a ruler to check that the printer did not scale it, marks to cut
# along, and what it is for. Put it beside a banana, hold your phone over both, and give the photograph to section 6.

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
# Between the paper and the network stands a camera. `photograph` plays one: it tilts the view a little, lights it from one side, gets the
# white balance slightly wrong, focuses and holds still as people do, adds the noise of its sensor, and saves a JPEG. What is left of the patch?
#
# ### Run

# %%
WIDTH = 0.55
shots = torch.Generator().manual_seed(seed)
in_scene = attacks.place(toaster.patch, photos, location=(0.6, 0.6), scale=WIDTH)
exhibit({"in the scene": in_scene, "photographed": photograph(in_scene, generator=shots)}, photo_names)


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
# A perturbation of one grey level does not outlive a printer and a camera. A patch does: its message is large, loud and redundant.
# What it loses is what the expectation did not contain. `attacks.train_patch` can put it in (`light`, `contrast`, `blur`,
# `perspective`, `printable`), and lesson 08 will.

# %%
claim("after the camera the patch still does more than the picture", camera["patch"]["after"] > camera["picture"]["after"],
      f"{camera['patch']['after']:.2f} and {camera['picture']['after']:.2f}")  # fmt: skip

# %% [markdown]
# > ### In the clinic
# >
# > **Where would a sticker go?** On the skin beside the mole, where a ruler or a skin marker lies anyway. On the X-ray cassette, in place of
# > the lead letter that says which side is left. On the lens of the fundus camera, where it would be in every patient's picture until somebody
# > cleans it. Nobody needs to reach the computer: the image is changed *before* it is taken, so a signature by the device, the
# > remedy of lesson 04, signs the patch along with the patient.
# >
# > In a study of dermoscopy, without any knowledge of the model, physical attacks cost 31 % of accuracy on average, and changed the
# > diagnosis in "one of two cases" [5].
# >
# > **What would show?** The sticker. A person who looks at the image sees it at once, and a person who doesn't, doesn't. So patches
# > belong to those pathways where *nobody looks*: screening without a reader, claims without a reviewer. Ask of each pathway: who looks at
# > the image itself, and when?
# >
# > **How small may it be?** The next cell moves the victim's patch into a corner, and makes it as small as a marker. (It was
# > trained for scale 0.4; a smaller one would be trained for its own.) Compare each line with its control.

# %%
for scale in (0.15, 0.25, 0.4):
    corner = (torch.full((len(x), 2), 1 - scale / 2 - 0.02).to(x), torch.zeros(len(x)).to(x), torch.full((len(x),), scale).to(x))
    marker, odd = (evaluate(victim, other_class(patches[kind], corner), y).accuracy for kind in ("white box", "natural"))
    print(f"in a corner, scale {scale:g} ({78.5 * scale**2:4.1f} % of the image): accuracy {with_interval(marker)}, natural patch {with_interval(odd)}")

# %% [markdown]
# ## Quiz

# %% jupyter={"source_hidden": true}
quiz(
    "Your patch turns 97 % of its training photographs, and 8 % of new ones. Which of the three promises is broken?",
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
        "6": "Places on one photograph win or lose together. What you want to know is how it does on the next *photograph*.",
        "50": "There are 50 places on each, but they are not independent of each other.",
        "300": "Then 3,000 places on the same six photographs would make you almost certain of a seventh.",
    },
)

# %% jupyter={"source_hidden": true}
quiz(
    "A patch covers a mole, and the model no longer says melanoma. The natural patch does the same. What have you shown?",
    [
        "That the patch is an adversarial attack",
        "That the model needs to see the mole",
        "That the model is robust",
    ],
    answer="That the model needs to see the mole",
    why="The control did it, too. The attack is what goes beyond the control.",
)

# %% jupyter={"source_hidden": true}
quiz(
    "Why does the expectation hold the logarithm?",
    [
        "It has its maximum elsewhere, at a better patch",
        "The scenes where the target is least likely pull hardest",
        "Probabilities can't be differentiated",
    ],
    answer="The scenes where the target is least likely pull hardest",
    why="The gradient of log p is the gradient of p divided by p: where p is tiny, what was flat becomes a slope.",
)

# %% [markdown]
# ## Go further
#
# - Train a patch that works upside down: `attacks.train_patch(imagenet, universe, TOASTER, angles=180, start=toaster, steps=200)`. Draw its curve
#   beside the old one. What did it pay?
# - Is the toaster of one network a toaster for another? EfficientNet-Lite1 is here: `freeze(models.efficientnet_lite.efficientnet_lite1())`.
#   With a connection, take any of torchvision's: `from medattack_edu.models.torchvision_model import torchvision_model`, then
#   `freeze(torchvision_model("resnet50", 1000).eval())`. A *list* of models makes `attacks.train_patch` train one patch for all of them.
# - Choose another target. Is a *banana* easier than a toaster?
# - Set `clinic` at the top to "fundus" or "chest". Where does the surrogate's patch come closest to the victim's?

# %% [markdown]
# ## What you now know
#
# - A patch gives up hiding and buys everything else: one sticker, any scene, an answer of the attacker's choice.
# - It is the maximum of an expectation over images, places and transformations. What isn't in the expectation, isn't in the patch: it
#   holds for the turns it was trained on, and then it falls.
# - A picture of the target is no patch. In a clinic the natural patch is the control, and the attack is what goes beyond it.
# - Success is counted over images that weren't the target before, and n is the number of images.
# - The logarithm makes the scenes pull in which the patch fails.

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
