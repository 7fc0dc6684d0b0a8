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
# # 04 Projected gradient descent (PGD)
#
# **One step was enough to break many answers. Many small steps, with a fresh look after each, break them all.**
#
# At the end you will be able to
# - say what *projected* means, and write the projection;
# - write PGD, and tell when it has taken enough steps;
# - steer a model towards an answer of your choice;
# - find, for each patient, the smallest change that turns the diagnosis;
# - repeat the attack of the study that this course follows, in its own setting.
#
# | | |
# |---|---|
# | Time | 60 to 75 minutes; a good place for a pause is the end of section 6 |
# | You need | [lesson 03](03_fast_gradient_sign.ipynb) (the gradient at the pixels, its sign, eps, attack success) |
# | Your machine needs | nothing more: no network, no GPU |
#
# Everything that you attack here is a model of this course, on public or synthetic images. Keep it so.

# %% [markdown] tags=["instructor"]
# **In two minutes.** Draw a hill and a fence. "FGS looks once, closes its eyes and jumps. Today we open our eyes: a
# short step, look, a short step; and if we are over the fence, back to the nearest point of it." That is the whole
# algorithm; the rest of the hour asks what can be concluded from it.
#
# **Time.** Section 1: 5 minutes, 2: 6, 3: 10, 4: 5, 5: 4, 6: 6, 7: 6, 8: 8, 9: 8, 10: 2. **If time is short:** 1 to 4
# and 7. Section 6 is the one to *tell* when it can't be done: double the steps until nothing changes. Sections 8 to 10
# make good homework.

# %% tags=["parameters"]
clinic = "fundus"  # "fundus", "chest" or "derm"
images = "auto"  # "auto", "phantom", "medmnist", "real", or the path of a folder of your own
n = 24  # test patients, half of them sick
seed = 0  # of every random draw

# %%
import time

import torch
import torch.nn.functional as F

from medattack_edu import (
    attack_success,
    attacks,
    check,
    claim,
    evaluate,
    explore,
    freeze,
    hint,  # noqa: F401 (for you)
    metrics,
    open_clinic,
    progress,
    quiz,
    result,
    show,
)

here = open_clinic(clinic, images)
here.banner()
victim = freeze(here.victim())  # the same answers, with cheaper gradients
x, y = here.test.sample(n, seed=seed, balanced=True)
names = [name.replace("_", " ") for name in here.classes]
clean = evaluate(victim, x, y)
clean_answers = metrics.logits(victim, x).argmax(1)
print("accuracy before any attack:", clean.accuracy)

# %% [markdown]
# ## 1. One long step, or many short ones
#
# The fast gradient sign attack looks at the hill once, at its foot, and then jumps with its eyes closed. How far it
# gets depends on how straight the slope is.
#
# ### Predict
#
# Next comes a hill that you can see whole, because its image has only two pixels, `u` and `v`. Its height is the loss,
# counted from where you start: in the middle. A square around you is the *allowed set*: neither pixel may move by more
# than eps. Where you stand the hill rises steeply to the right, and a little towards the bottom of the map.
#
# - Where does FGS end?
# - A walker takes steps a quarter as long, each along the sign of the gradient, and looks around before each. When a step
#   leads out of the square, the walker goes back to the nearest point of the square. You can't know yet where this walk ends.
#   Guess: at the same corner as FGS, or elsewhere? And on what does it depend?
#
# ### Run


# %% jupyter={"source_hidden": true}
def height(points):
    """How far the loss of two pixels lies above that at the start, for points (..., 2)."""
    u, v = points[..., 0], points[..., 1]
    return 1.2 * u - 0.2 * v + 1.6 * u * v - 1.1 * u**2 + 0.3 * v**2


def uphill(point):
    point = point.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(height(point).sum(), point)
    return gradient


start, box = torch.zeros(2), 1.0
one_jump = torch.stack([start, start + box * uphill(start).sign()])
path, asides = [start], []
for _ in range(12):
    free = path[-1] + 0.25 * uphill(path[-1]).sign()
    path.append(free.clamp(-box, box))
    if not torch.equal(free, path[-1]):
        asides.append(torch.stack([free, path[-1]]))
path = torch.stack(path)

words = "A hill of two pixels with the allowed square: FGS jumps to a low corner, PGD walks to another and higher one."
figure, ax = show.picture(6.4, 5.4, alt=words)
axis = torch.linspace(-1.4, 1.4, 81)
grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
levels = torch.arange(-4, 3.01, 0.5)
filled = ax.contourf(axis, axis, height(grid), levels, cmap="cividis", extend="both")
ax.contour(axis, axis, height(grid), levels, colors="white", linewidths=0.5, linestyles="solid", alpha=0.6)
figure.colorbar(filled, label="loss, counted from the start", ticks=range(-4, 4))
ax.plot([-1, 1, 1, -1, -1], [-1, -1, 1, 1, -1], color=show.BLACK, linewidth=2, label="allowed set")
ax.plot(*path.T, color=show.BLACK, linewidth=5)  # a rim, so that the white path can be seen on yellow
walker = {"color": "white", "marker": "o", "markersize": 7, "markeredgecolor": "black", "linewidth": 2.5}
ax.plot(*path.T, label=f"PGD: loss {height(path[-1]):+.2f}", **walker)
jumper = {"color": show.RED, "marker": "s", "markersize": 8, "markeredgecolor": "black", "linewidth": 2.5}
ax.plot(*one_jump.T, "--", label=f"FGS: loss {height(one_jump[-1]):+.2f}", **jumper)
ax.text(-0.08, 0, "start", ha="right", va="center", fontsize=12)
for free, back in asides[:1]:
    ax.annotate("", back, free, arrowprops={"arrowstyle": "->", "color": "black", "linewidth": 2})
ax.set(
    xlabel="change of pixel u, in eps",
    ylabel="change of pixel v, in eps",
    title="One jump against a walk",
    aspect="equal",
)
figure.legend(loc="outside lower center", ncols=3, fontsize=11, facecolor="0.75")
figure

# %% [markdown] tags=["instructor"]
# **Have them draw both ends on paper first**, on a square. Most put FGS and the walker into the same corner. **At the
# figure, ask:** "After how many steps do the two part?" (One.) "What does the arrow mean?" That answer is the exercise
# that comes next.

# %% [markdown]
# ### Explain
#
# The sign of the gradient sends FGS to the lower right corner in one jump, and there it stands *lower* than it started. One
# short step towards that corner, the slope has turned: now the hill rises towards the top of the map. Only someone who looks
# again can know. The walker turns after the first step and climbs to another corner. There every further step leads out of
# the square (the arrow), and the projection brings the walker back.
#
# Going back to the nearest allowed point is called **projection**. A walk along the gradient with a projection after
# each step is **projected gradient descent**, PGD [1]. (The method is named after its usual job, going *down* a loss.
# We go up.)

# %%
claim("on this hill the walk ends higher than the jump", height(path[-1]) > height(one_jump[-1]))
claim("and the jump ends lower than it started", height(one_jump[-1]) < height(start))

# %% [markdown]
# ## 2. The projection
#
# An image has 49,152 numbers instead of two, and the square becomes a **box**: each number may move by at most `eps`,
# up or down. (In papers it is called the L-infinity *ball*, corners and all.) There is a second limit, which the
# picture did not show: a pixel lies between 0 and 1.
#
# ### Exercise 1: the projection
#
# Bring images back to the allowed set. What was inside already stays as it is. (Stuck? `hint("project")`.)

# %% [markdown] tags=["instructor"]
# **Common wrong answers.** Only one of the two limits (the box, or 0 to 1). A clamp of the *difference*, returned
# without the image. A point that was inside already moved to the border. Back to the start in place of the border.
#
# **Ask:** "A pixel was 0.95, you moved it to 1.40, eps is 0.1. Where is the nearest allowed value?" (At 1, not at
# 1.05.) It is the case that needs both limits.


# %%
def project(x_adv, x, eps):
    """The allowed images nearest to x_adv: within eps of x at every pixel, and between 0 and 1.

    Args:
        x_adv: images after a step, float tensor (N, 3, H, W), perhaps out of bounds.
        x: the clean images, same shape, in [0, 1].
        eps: the largest change of a pixel value, in units of the [0, 1] scale, e.g. 2/255.

    Returns:
        New images (N, 3, H, W). The tensors x_adv and x stay as they are.
    """
    ### BEGIN SOLUTION
    x_adv = torch.clamp(x_adv, x - eps, x + eps)
    return x_adv.clamp(0, 1)
    ### END SOLUTION


project = check.project(project)

# %% [markdown]
# ## 3. The loop
#
# ### Exercise 2: PGD
#
# Start at the clean images. In each round: the gradient of the loss *where you are now*, one step of length `step_size` along
# its sign, and your projection. You wrote the first two in lesson 03; this notebook doesn't have those functions, so write
# the lines again (sum or mean of the loss: only the sign counts). (`hint("pgd")`)

# %% [markdown] tags=["instructor"]
# **Common wrong answers, in the order in which they come.** The gradient taken at `x` in every round: all steps go the
# same way, it is FGS in slices. Projected once, after the loop. A box around the *last* point instead of the clean
# image: it wanders off. `detach()` forgotten: the graph grows with each step. A step too many.
#
# **Ask:** "Which image do you ask the model about in round three?" and "Which point is the middle of the box in round
# three?" Two different answers, and most mistakes are a mix-up of the two. The check names each of them; let people
# read it aloud.


# %%
def pgd(model, x, y, eps, steps, step_size):
    """Walk uphill, step by step, and stay within eps.

    Args:
        model: maps images in [0, 1] to logits (N, classes).
        x: clean images (N, 3, H, W) in [0, 1]. y: true labels (N,).
        eps: the largest change of a pixel value from x, in units of the [0, 1] scale.
        steps: how many steps. step_size: how far a pixel value moves in one of them, in the same units.

    Returns:
        Images (N, 3, H, W) in [0, 1], within eps of x, cut off from PyTorch's recording (`.detach()`).
    """
    ### BEGIN SOLUTION
    x_adv = x.clone()
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        loss = F.cross_entropy(model(x_adv), y)
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = project(x_adv + step_size * gradient.sign(), x, eps)
    return x_adv.detach()
    ### END SOLUTION


pgd = check.pgd(pgd)

# %% [markdown]
# ## 4. PGD against FGS
#
# ### Predict
#
# Both get the same budget, `eps = 0.5/255`: half of one grey level, which an ordinary file cannot even hold. FGS spends
# it in one step, PGD in ten. Of the images that the model gets right, how many answers will each turn round? And random
# noise of that size?
#
# ### Run

# %%
eps = 0.5 / 255
versions = {
    "clean": x,
    "noise": attacks.random_noise(x, eps=eps, generator=torch.Generator().manual_seed(seed)),
    "FGS": attacks.fgs(victim, x, y, eps=eps),
    "PGD": pgd(victim, x, y, eps, 10, eps / 4),
}
show.compare(versions, y, victim, names)

# %%
success = {name: attack_success(victim, x, changed, y) for name, changed in versions.items() if name != "clean"}
loss = {name: F.cross_entropy(metrics.logits(victim, changed), y).item() for name, changed in versions.items()}
for name, rate in success.items():
    print(f"{name:<6} turned {rate}; mean loss {loss[name]:.2f} (clean {loss['clean']:.2f})")

# %%
wrong = metrics.logits(victim, versions["PGD"]).argmax(1) != y
which = int(((clean_answers == y) & wrong).int().argmax())  # the first patient whose answer PGD turned
show.perturbation(x[which], versions["PGD"][which], victim, y[which], names)

# %% [markdown]
# ### Explain
#
# The same budget, spent with open eyes, climbs higher, because the slope of a deep network turns even over half a grey
# level (in lesson 03 you counted how many signs still hold). Noise of that size does next to nothing.
#
# So an accuracy under FGS says little about how robust a model is. The authors of PGD keep a list of attacks on a
# hardened model of theirs, for small photographs: FGS leaves 55.55 % right, PGD with 20 steps 47.04 %, and the best
# attack 43.95 % [2]. Whoever tests a defence with FGS alone flatters it.

# %%
claim(
    "PGD turns at least as many images as FGS",
    success["PGD"] >= success["FGS"],
    f"{success['PGD']:.2f} and {success['FGS']:.2f}",
)
claim("PGD climbs higher than FGS", loss["PGD"] > loss["FGS"], f"mean loss {loss['PGD']:.2f} and {loss['FGS']:.2f}")
claim("noise of this size turns at most one image in eight", success["noise"] <= 1 / 8, f"{success['noise']:.2f}")
result("success of PGD", success["PGD"])

# %% [markdown]
# ## 5. Watch a walk
#
# The widget shows one patient's walk. On its right is the loss over a plane through the clean image: to the right the
# direction of FGS, upwards another one. (The walk does not keep to the plane; you see its shadow.) Move the step. Then
# change the plane to one with a random direction. How does the loss change along that?

# %%
some = slice(0, 3)
explore.steps(victim, x[some], y[some], names, eps=1 / 255, steps=10)

# %% [markdown]
# Compare the loss at the diamond, where FGS lands, with that where the walk ends: they spent the same budget. Then
# compare both with what the random direction brings. That is where noise goes.
#
# The walk of the widget starts at a **random point** of the box, and yours started in its middle. The random start is
# part of PGD as Madry and others defined it [1]. Without it, the attack is also called the *basic iterative method*
# [3], "nearly identical" to PGD "modulo the initial random step" [4].

# %% [markdown]
# ## 6. How many steps are enough?
#
# ### Predict
#
# The box is made small (`eps = 0.25/255`), so that not everybody falls at once. We double the steps from 1 to 32, on
# the first eight patients. The step size shrinks as the steps grow in number: it is 2.5 times eps, divided by the
# steps. Does the success grow with every doubling? Does the loss? And what do **restarts** add: four walks from four
# random starts, of which each patient keeps the best?
#
# ### Run

# %%
few_x, few_y = x[:8], y[:8]
tight = 0.25 / 255
counts = (1, 2, 4, 8, 16, 32)


def walk(steps, restarts=1):
    return attacks.pgd(
        victim, few_x, few_y, eps=tight, steps=steps, restarts=restarts, generator=torch.Generator().manual_seed(seed)
    )


by_steps = {steps: walk(steps) for steps in counts}
turned = {steps: attack_success(victim, few_x, x_adv, few_y) for steps, x_adv in by_steps.items()}
climbed = {steps: attacks.gradient.loss_to_climb(victim, x_adv, few_y) for steps, x_adv in by_steps.items()}
told = ", ".join(f"{steps}: {float(turned[steps]):.2f} and {climbed[steps].mean():.2f}" for steps in counts)
figure, axes = show.picture(11, 4.2, 1, 2, alt=f"Attack success and mean loss at eps 0.25/255, by steps. {told}.")
rates, losses = list(turned.values()), torch.stack(list(climbed.values())).cpu()  # losses: (walks, patients)
axes[0].plot(counts, list(map(float, rates)), "o-", color=show.BLUE, linewidth=2)
axes[0].fill_between(counts, [r.low for r in rates], [r.high for r in rates], color=show.BLUE, alpha=0.15, linewidth=0)
axes[0].set(ylim=(-0.03, 1.03), ylabel="attack success", title=f"How many fall ({turned[1].n} patients, band: 95 %)")
axes[1].plot(counts, losses, color="0.6", linewidth=1)
axes[1].plot(counts, losses.mean(1), "o-", color=show.BLUE, linewidth=2.5, label="mean")
axes[1].axhline(torch.tensor(2.0).log().item(), color=show.BLACK, linestyle=":", label="the answer turns")
axes[1].set(ylabel="loss", title="How high each patient's walk climbs")
axes[1].legend(frameon=False, loc="upper left")
for ax in axes:
    ax.set_xscale("log")
    ax.set_xticks(counts, counts)
    ax.minorticks_off()
    ax.set_xlabel("steps, doubled each time")
    ax.grid(alpha=0.25)
figure

# %% [markdown] tags=["instructor"]
# **Ask:** "Left is flat, right still climbs. Has the attack converged?" It depends on what you report. Then: "A vendor
# shows you 62 % under PGD with 5 steps. Which single number do you ask for?" (The same with 10, and on until it stands
# still. It comes back in the quiz.)

# %%
restarted = attacks.gradient.loss_to_climb(victim, walk(8, restarts=4), few_y)
print(f"mean loss with  1 step   {climbed[1].mean():.3f}")
print(f"mean loss with 16 steps  {climbed[16].mean():.3f}")
print(f"mean loss with 32 steps  {climbed[32].mean():.3f}")
print(f"mean loss with  8 steps  {climbed[8].mean():.3f}, best of 4 starts {restarted.mean():.3f}")

# %% [markdown]
# ### Explain
#
# With 16 steps the walk climbs higher than with one. The success may rise with it or stand still: it only asks on which
# side of the border a patient ends, and whoever is close enough crosses with the first step. From 16 to 32 steps it
# hardly moves, even where the loss still creeps up. As far as eight patients can tell, more steps would turn no more
# answers. That is the test which Carlini and others ask of every evaluation: **double the number of steps. If the
# result changes, you had too few** [4]. (Do it with all patients where something depends on it. Eight are enough to see
# the idea.)
#
# What restarts add on your images stands in the last line. They are for rugged surfaces, where a single walk may get stuck.
# Then the best of several is nearer to the worst that this eps can do.

# %%
claim("16 steps climb higher than one", climbed[16].mean() > climbed[1].mean())
claim("twice 16 steps turn at most one image more or less", abs(turned[32] - turned[16]) * turned[16].n <= 1.01)
claim("the best of four starts is at least as high as the first", bool((restarted >= climbed[8] - 1e-4).all()))

# %% [markdown]
# ## 7. The study's own setting
#
# Finlayson and others attacked three medical classifiers with PGD [5]: 20 steps, `eps = 2.55/255`, step size
# `1.275/255`, towards the other class. (Their code says 0.02 and 0.01, on a scale from -1 to 1, which is twice as long
# as ours.)
#
# ### Predict
#
# What will be left of the accuracy? Of the AUC? And how *sure* will the model be of its wrong answers?
#
# ### Run

# %%
paper = {"eps": 2.55 / 255, "steps": 20, "step_size": 1.275 / 255}
begun = time.perf_counter()
attacked = attacks.pgd(victim, x, y, target=1 - y, generator=torch.Generator().manual_seed(seed), **paper)
seconds = time.perf_counter() - begun
noisy = attacks.random_noise(x, eps=paper["eps"], generator=torch.Generator().manual_seed(seed))
rows = {"clean": clean, "noise": evaluate(victim, noisy, y), "PGD": evaluate(victim, attacked, y)}


def with_interval(estimate):
    return f"{float(estimate):.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


print(f"{n} images, 95 % intervals in brackets\n{'':<8}{'accuracy':<24}{'AUC':<24}confidence")
for name, scores in rows.items():
    print(
        f"{name:<8}"
        + "".join(f"{with_interval(value):<24}" for value in (scores.accuracy, scores.auc, scores.confidence))
    )

# %%
show.perturbation(x[0], attacked[0], victim, y[0], names)

# %% [markdown] tags=["instructor"]
# **Before the table, ask for the AUC.** Rooms say 0.5. It is near 0, and that is worth two minutes: "To be wrong every
# time you must know the truth. Who knows it here?" People say "the model learnt the opposite"; ask whether any weight
# has moved.
#
# **A doubt to welcome:** "The attacker had the labels, so this is unfair." Right. Ask what an attacker without labels
# could do. (Take the model's own answer for the truth, or ask for one answer for everybody.)

# %% [markdown]
# ### Explain
#
# Nothing is left. Not one answer is right, and the AUC is not 0.5, as of one who guesses, but close to 0: the order of
# the patients is turned round. Whoever is wrong *every* time must know the truth. Who knows it here? Not the model.
# **The attacker does**: you handed the labels to the attack, and it pushed each patient to the other side. An attacker
# who is not told the truth can take the model's own answer for it, or ask for one and the same answer for everybody.
#
# The figure of the study shows it for six patients: the probability of disease of the three healthy ones goes from 0.0,
# 0.2 and 0.0 % to 100 %, and that of the three sick ones from 99 to 100 % down to 0.0 % [6].
#
# The wrong answers are surer than the answers before the attack were. So confidence is no warning. Neither is the eye: look
# at the image above.

# %%
claim("not one answer is right any more", rows["PGD"].accuracy == 0)
claim("the order of the patients is turned round: the AUC is below 0.05", rows["PGD"].auc < 0.05)
claim("the wrong answers are surer than the answers before the attack were", rows["PGD"].confidence > clean.confidence)
result("AUC under PGD", rows["PGD"].auc)
as_before = ((rows["noise"].probabilities > 0.5) == (clean.probabilities > 0.5)).float().mean().item()
claim("noise of this size leaves at least 6 in 10 answers as they were", as_before >= 0.6, f"{as_before:.2f}")

# %% [markdown]
# ## 8. Away from the truth, or towards a target
#
# There are two ways to ask for a wrong answer. *Untargeted*: raise the loss of the true class. *Targeted*: lower the
# loss of a class that you have chosen.
#
# ### Predict
#
# Our models know two classes. Is "away from healthy" another direction than "towards sick"?
#
# ### Run


# %%
def gradient_of(model, x, label, sign):
    point = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(sign * F.cross_entropy(model(point), label), point)
    return gradient.flatten()


surest = int(victim(x).diff(dim=1).abs().argmax())
patient, truth = x[surest : surest + 1], y[surest : surest + 1]
away, towards = gradient_of(victim, patient, truth, +1), gradient_of(victim, patient, 1 - truth, -1)
same_way = F.cosine_similarity(away, towards, dim=0).item()


def overconfident(images):
    """The same answers, but the logits are 1,000 times as large: a model that is never in doubt."""
    return 1000 * victim(images)


answer = victim(patient).argmax(1)
away_sure = gradient_of(overconfident, patient, answer, +1)
towards_sure = gradient_of(overconfident, patient, 1 - answer, -1)
print(f"cosine of the two directions:                    {same_way:.4f}")
print(f"never in doubt: probability of its answer        {overconfident(patient).softmax(1).max().item()!r}")
print(f"  largest gradient, away from its answer         {away_sure.abs().max():.3g}")
print(f"  largest gradient, towards the other class      {towards_sure.abs().max():.3g}")

# %% [markdown]
# ### Explain
#
# With two classes it is one and the same direction: what the one loses the other gains. There is one exception, and it
# is a trap. When the model is so sure that its probability *rounds to exactly 1*, the loss of its answer is exactly 0,
# and so is its gradient. The attack "away" stands still on a plateau, although the model is not robust at all;
# "towards" still sees the slope. A defence that only flattens gradients looks strong to whoever forgets this. You will
# meet such defences in lesson 11.

# %%
claim("with two classes the two directions are the same", same_way > 0.999)
claim("where the probability rounds to 1, one gradient is exactly zero", away_sure.abs().max() == 0)
claim("and the other is not", towards_sure.abs().max() > 0)

# %% [markdown]
# ### Exercise 3: towards a target
#
# With 1,000 classes, away and towards differ, and the attacker can choose. Write the walk *towards* a target.
# (`hint("targeted")`)


# %%
def targeted(model, x, target, eps, steps, step_size):
    """Walk towards the class `target`, and stay within eps.

    Args:
        model: maps images in [0, 1] to logits (N, classes).
        x: clean images (N, 3, H, W) in [0, 1]. target: the wanted labels (N,).
        eps, steps, step_size: as in pgd.

    Returns:
        Images (N, 3, H, W) in [0, 1], within eps of x, cut off from PyTorch's recording.
    """
    ### BEGIN SOLUTION
    x_adv = x.clone()
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        loss = F.cross_entropy(model(x_adv), target)
        (gradient,) = torch.autograd.grad(loss, x_adv)
        x_adv = project(x_adv - step_size * gradient.sign(), x, eps)
    return x_adv.detach()
    ### END SOLUTION


targeted = check.targeted(targeted)

# %% [markdown]
# We try it on a cat. The model is the EfficientNet-Lite0 that our victims grew from, with its 1,000 ImageNet classes;
# the photograph comes with scikit-image. The target is *toaster*.

# %%
from skimage.data import chelsea

from medattack_edu import models, runtime

TOASTER = 859
KNOWN = {
    281: "tabby cat",
    282: "tiger cat",
    283: "Persian cat",
    284: "Siamese cat",
    285: "Egyptian cat",
    287: "lynx",
    TOASTER: "toaster",
}
imagenet = freeze(models.efficientnet_lite.efficientnet_lite0()).to(runtime.device())
photograph = torch.from_numpy(chelsea()).permute(2, 0, 1)[None, :, :, 75:375].float() / 255
cat = F.interpolate(photograph, (160, 160), mode="bilinear", antialias=True).to(runtime.device())
is_cat = imagenet(cat).argmax(1)
toaster = torch.full_like(is_cat, TOASTER)

towards_toaster = targeted(imagenet, cat, toaster, 4 / 255, 20, 1 / 255)
away_from_cat = pgd(imagenet, cat, is_cat, 4 / 255, 20, 1 / 255)
labelled = [KNOWN.get(k, f"class {k}") for k in range(1000)]
three_cats = torch.cat([cat, away_from_cat, towards_toaster])
figure = show.gallery(three_cats, is_cat.repeat(3), labelled, imagenet)
figure.set_size_inches(9, 4)
for ax, title in zip(figure.axes, ("the photograph", "away from its class", "towards toaster"), strict=True):
    ax.set_title(title)
told = ", ".join(labelled[k] for k in imagenet(three_cats).argmax(1).tolist())
figure.alt = f"A cat, three times, to the eye the same: as it is, away, towards toaster. The model answers {told}."
figure

# %% [markdown]
# Away ends wherever it is easiest. Towards ends where you say.
#
# In a clinic the target matters. *Healthy to sick* sends a person to a treatment that they don't need, and pays whoever
# is paid for treatments. *Sick to healthy* misses a treatment that is needed, and pays whoever would have to cover it.
# An attacker has one of the two in mind, seldom both.

# %%
claim("the cat is answered with toaster", imagenet(towards_toaster).argmax() == TOASTER)
claim(
    "away from the cat is a wrong answer, but not the toaster",
    imagenet(away_from_cat).argmax().item() not in (is_cat.item(), TOASTER),
)

# %% [markdown]
# ## 9. The smallest eps of each patient
#
# So far eps was ours to choose, the same for all. Turn the question around: how little would have sufficed for *this*
# patient? It is the patient's distance to the border between the two answers, as far as PGD can tell.
#
# ### Predict
#
# The model's probability for a patient says how sure it is. Are those of whom it is surest also the furthest from the
# border? And is it further from healthy to sick, or back?
#
# ### Exercise 4: the smallest eps
#
# You get a function `fooled(eps)`. It takes one eps for each of the `n` patients, runs an attack, and says for each
# whether it succeeded. Find the border of each patient by halving an interval. (`hint("smallest_eps")`)

# %% [markdown] tags=["instructor"]
# **`targeted`, before.** Two things change, the label and the direction; whoever changes one of them walks the wrong
# way. The check gives the loss against the *target*: ask whether it should rise or fall.
#
# **`smallest_eps`.** One border for everybody instead of one each. The lower end returned (the attack *failed* there).
# No infinity for whom nothing fooled. A loop over 1,000 sizes: right in the end, but each is a whole attack, and the
# check counts. **Ask:** "I think of a number between 0 and 100. How many questions do you need? Now every patient
# thinks of one at the same time."


# %%
def smallest_eps(fooled, n, largest, halvings):
    """The smallest eps at which the attack was seen to succeed, for each patient.

    Args:
        fooled: takes eps, float tensor (n,), one for each patient; returns a bool tensor (n,): did the attack succeed?
        n: number of patients.
        largest: the eps at which to give up, a plain number, in units of the [0, 1] scale as every eps here.
        halvings: how often the interval from 0 to largest is halved.

    Returns:
        eps, float tensor (n,); infinity for a patient whom not even `largest` fooled.
    """
    ### BEGIN SOLUTION
    low, high = torch.zeros(n), torch.full((n,), largest)
    never = ~fooled(high)
    for _ in range(halvings):
        middle = (low + high) / 2
        success = fooled(middle)
        low = torch.where(success, low, middle)
        high = torch.where(success, middle, high)
    high[never] = float("inf")
    return high
    ### END SOLUTION


smallest_eps = check.smallest_eps(smallest_eps)

# %% [markdown]
# Now with a real attack. `stop_when_fooled` leaves a patient alone as soon as the answer has turned, so the work goes
# to those who hold out.
#
# ### Run

# %%
right = victim(x).argmax(1) == y
well_x, well_y = x[right], y[right]
LARGEST = 2 / 255


def pgd_at(eps):
    return attacks.pgd(
        victim, well_x, well_y, eps=eps.to(well_x.device), steps=10, random_start=False, stop_when_fooled=True
    )


def fooled_by_pgd(eps):
    return (victim(pgd_at(eps)).argmax(1) != well_y).cpu()


border = smallest_eps(fooled_by_pgd, len(well_x), LARGEST, 6)
grey_levels = 255 * border
sure_of_it = victim(well_x).softmax(1).gather(1, well_y[:, None])[:, 0].cpu()

words = "Left: the share of patients whose diagnosis still stands, by eps. Right: smallest eps against probability."
figure, (left, right_side) = show.picture(11, 4.3, 1, 2, alt=words)
furthest = grey_levels[grey_levels.isfinite()].max().item()
stops = torch.linspace(0, max(0.6, 1.1 * furthest), 400)
for label, (colour, style) in enumerate(((show.BLUE, "-"), (show.RED, "--"))):
    mine = grey_levels[well_y.cpu() == label]
    standing = [(mine > stop).float().mean() for stop in stops]
    left.plot(stops, standing, style, color=colour, linewidth=2, label=f"{names[label]} ({len(mine)})")
    look = {"color": colour, "markeredgecolor": "white", "markersize": 8, "alpha": 0.8}
    right_side.plot(sure_of_it[well_y.cpu() == label], mine, "os"[label], label=names[label], **look)
left.axvline(0.5, color="0.4", linestyle=":", label="half a grey level")
left.set(
    xlabel="eps, in grey levels (1/255)",
    ylabel="share that still stands",
    title="Each patient attacked with just enough",
    ylim=(-0.02, 1.05),
)
right_side.set(
    xlabel="probability of the true class", ylabel="smallest eps (1/255)", title="Sure, and how far from the border?"
)
for ax in (left, right_side):
    ax.grid(alpha=0.25)
    ax.legend(frameon=False)
figure

# %%
for label in (0, 1):
    print(f"median smallest eps in 1/255, {names[label]}: {metrics.median(grey_levels[well_y.cpu() == label])}")
toughest = int(grey_levels.nan_to_num(posinf=1e9).argmax())
show.perturbation(well_x[toughest], pgd_at(border.clamp(max=LARGEST))[toughest], victim, well_y[toughest], names)

# %% [markdown]
# ### Explain
#
# On the left, each line falls by one step where a patient does. Half of the patients fall to less than one grey level.
# The row of pictures shows the toughest of all.
#
# On the right, look at the patients of whom the model is surest: how far from the border are they? And which of the two
# classes is closer to it? Read both off your own figure, and keep the second in mind: *it is one of the two directions
# that an attacker wants*.

# %%
claim(
    "half of the patients fall to less than one grey level",
    grey_levels.median() < 1,
    f"median {grey_levels.median():.2f}/255",
)
claim("nobody holds out against two grey levels", bool(grey_levels.isfinite().all()))

# %% [markdown]
# ## 10. Will it survive being saved?
#
# ### Predict
#
# An image file with 8 bits holds whole grey levels only. Take the smallest perturbations that you have just found, and
# save the images. How many still work? And those with `eps = 2/255`?
#
# ### Run

# %%
smallest = attack_success(victim, well_x, pgd_at(border.clamp(max=LARGEST)), well_y)
ample = attack_success(victim, well_x, pgd(victim, well_x, well_y, 2 / 255, 10, 0.5 / 255), well_y)
print("smallest eps, before saving", smallest)
print("smallest eps, after saving ", smallest.after_saving)
print("2/255, after saving        ", ample.after_saving)

# %% [markdown]
# ### Explain
#
# Rounding moves each pixel value by up to half a grey level. A change below 0.5/255 is rounded away altogether. **A
# perturbation that vanishes when it is saved is no attack**, however small its eps looks in a table.
#
# The remedy is cheap: choose an eps of one grey level or more, and measure after saving. FGS with a whole eps passes
# unchanged; PGD leaves some values between two levels, and the attack has to bear their rounding. Every number in this course
# that is meant for the world outside comes with its value after saving; `attack_success(...).after_saving` has it.

# %%
claim("saving undoes some of the smallest perturbations", smallest.after_saving < smallest)
claim("with 2/255 at least 95 % survive being saved", ample.after_saving >= 0.95, f"{ample.after_saving:.2f}")

# %% [markdown]
# > ### In the clinic
# >
# > **One patient, or an archive?** The next cell says what your attack in the study's setting took for each image, on
# > this machine. Twice the images take twice the time, and no more. So an archive is no harder than a patient: it takes
# > patience.
# >
# > **Who would?** A provider who is paid for each treatment wants *healthy to sick*; an insurer who pays for it, *sick
# > to healthy*; the sponsor of a trial whose result is read by a machine wants whichever the drug needs. Each needs a
# > place on the image's way where pixels can be changed, after the picture is taken and before the model reads it.
# >
# > **What would show?** Not the image, not the confidence. The *original* would: if the device signs the image when it
# > is taken, a changed grey level breaks the signature. That is an old and boring remedy, and a good one.

# %%
print(f"{1000 * seconds / n:.0f} ms an image ({n} images, 20 steps each; {seconds:.1f} s in all)")
print(f"An archive of 100,000 images would take {seconds / n * 1e5 / 3600:.1f} hours.")

# %% [markdown]
# ## Quiz

# %% jupyter={"source_hidden": true}
quiz(
    "Why is the image projected after every step, and not once at the end?",
    [
        "Many small projections need less memory than a large one",
        "Without it, the loss would fall from step to step",
        "So that every gradient is asked for inside the box",
    ],
    answer="So that every gradient is asked for inside the box",
    why="Far outside, the hill has another shape. Cut back at the end, you stand where nobody has looked.",
)

# %% jupyter={"source_hidden": true}
quiz(
    "A colleague reports 62 % accuracy under PGD with 5 steps, and 41 % with 10. What do you answer?",
    [
        "The model keeps 41 %: that is the number to report",
        "Go on doubling the steps until the number stands still",
        "The mean of the two is the best estimate there is",
    ],
    answer="Go on doubling the steps until the number stands still",
    why="An attack that has not converged measures itself and not the model.",
)

# %% jupyter={"source_hidden": true}
quiz(
    "Under attack, a two-class model has an AUC of 0.00, and one that guesses has 0.50. To be wrong every time, somebody "
    "must know the truth. Who?",
    ["The attacker, who used the labels", "The model, which learnt the opposite", "Nobody: 0.00 is only bad luck"],
    answer="The attacker, who used the labels",
    why={
        "The attacker, who used the labels": "The attack was told each patient's label and pushed the answer to the other side. "
        "A model that knows nothing can be brought to 0 in the same way.",
        "The model, which learnt the opposite": "The model's weights have not moved: on clean images it answers as before.",
        "Nobody: 0.00 is only bad luck": "Bad luck would put about half of the pairs in the right order.",
    },
)

# %% jupyter={"source_hidden": true}
quiz(
    "An untargeted attack leaves a very sure model untouched: its gradient is exactly 0. Is the model robust?",
    [
        "Yes, there is no direction that leads up",
        "No: its probability may have rounded to 1",
        "Yes, if it holds for 100 steps and more",
    ],
    answer="No: its probability may have rounded to 1",
    why="The slope is still there. Walk towards the other class, or use the logits, and you see it.",
)

# %% [markdown]
# ## Go further
#
# - Set `clinic` at the top to another one, and run all cells. Which clinic's patients lie nearest to the border?
# - In section 9, draw the smallest eps of FGS beside that of PGD (`attacks.fgs` takes one eps for each image, too). For
#   whom do the two differ most?
# - Another rule: bound the *length* of the whole change (L2). `attacks.pgd(victim, x, y, eps=0.5, norm="2", steps=20)`
#   allows a change of length 0.5. How many answers does it turn, and how large does the largest change of a single
#   pixel value become?

# %% [markdown]
# ## What you now know
#
# - PGD is FGS with open eyes: a short step along the sign of the gradient, a projection, and again.
# - It turns no fewer answers than FGS and climbs higher, within half a grey level. In the study's own setting no right answer
#   is left, and the wrong ones are surer than the answers before the attack were.
# - An attack has converged when twice the steps no longer change its success. Only then does the number speak about the
#   model.
# - With two classes, away and towards are one direction, until a probability rounds to 1.
# - The smallest eps of a patient is a distance to a border. For half of them it is less than one grey level, and much
#   of that is lost when the image is saved. Whole grey levels survive.

# %%
progress()

# %% [markdown]
# **Next:** [lesson 05](05_black_box_transfer.ipynb), black box. Until now you could look into the model. There you can't.
# That protects the victim less than you think less than you think.
#
# ## Sources
#
# 1. Madry, Makelov, Schmidt, Tsipras, Vladu: *Towards Deep Learning Models Resistant to Adversarial Attacks*, ICLR
#    2018, arXiv 1706.06083.
# 2. The authors' leaderboard for CIFAR-10, eps 8/255: github.com/MadryLab/cifar10_challenge.
# 3. Kurakin, Goodfellow, Bengio: *Adversarial examples in the physical world*, arXiv 1607.02533.
# 4. Carlini et al.: *On Evaluating Adversarial Robustness*, arXiv 1902.06705, with its checklist.
# 5. Finlayson, Chung, Kohane, Beam: *Adversarial Attacks Against Medical Deep Learning Systems*, arXiv 1804.05296; the
#    setting is in their code, github.com/sgfin/adversarial-medicine. The later article: Finlayson et al., Science
#    363:1287 (2019), doi 10.1126/science.aaw4399.
# 6. The figure of [5], as reproduced in the slides of J. Campbell, Cardiff University, 27 June 2018
#    ([notes and slides](https://github.com/theref/Adversarial-Talk)).
