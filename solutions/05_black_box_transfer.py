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
# # 05 Black box: transfer
#
# The model is locked away. So you train your own, attack that one, and send the images to the other.
#
# **You will be able to**
#
# - say who in a clinic has which access to a model, and what each can do with it;
# - count how often an attack transfers, without flattering it;
# - draw the matrix of who deceives whom, and read from it what makes a good stand-in;
# - attack several models with one perturbation;
# - choose a stand-in with a few dozen questions, and say whom an attack would serve.
#
# **Time:** about 90 minutes, with a good place for a pause before *One perturbation, several models*; computing about one
# minute, and some minutes more the first time, when the models are trained (`medattack prepare --surrogates` does that
# beforehand). **Needs:** lesson 04 (PGD, saving, the two directions).
#
# As always here, you attack a model of this course, on public or synthetic images. That is what the method is for in your hands.

# %% [markdown] tags=["instructor"]
# **In two minutes.** "Somebody locked the weights away. What is still in the brochure?" Take the sheets with the threat
# models of lesson 01: who of these people had the weights? Hardly one. Who knew how the model was built? Most of them.
#
# **Set up.** Four surrogates are trained once, which takes minutes: `medattack prepare --surrogates` the day before.
# Look at *your* matrix beforehand. Several questions of this lesson have no answer that holds for all clinics, and you
# should know yours.
#
# **Time.** An hour, if you lead and skip the typing; alone one needs 90 minutes. Who has the model and your own models:
# 8 minutes; an attack that never asks: 10; who deceives whom: 11; what makes a good stand-in: 6; how hard should one
# climb: 3; one perturbation, several models: 7; the surrogate that betrays: 5; labels for nothing: 3; one direction: 7.
# **If time is short:** stop after the matrix. "How hard should one climb?" and "Labels for nothing" are the first to
# go.

# %% tags=["parameters"]
clinic = "chest"  # "fundus", "chest" or "derm"
images = "auto"
n = 20  # patients
seed = 0

# %%
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
    metrics,
    open_clinic,
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
# ## Who has the model?
#
# Until now you had everything: the weights, and so the gradient. That is called a **white box**. Hardly anybody around a patient
# has it.
#
# | who | sees the weights | knows how it was built | sees its answers | can change an image |
# |---|---|---|---|---|
# | the vendor | yes | yes | yes | seldom |
# | the hospital that runs it | perhaps, as a file | from the manual | yes, a log of them | yes |
# | an insurer who runs it on claims | perhaps | from the contract | yes | no need to |
# | a provider who sends in claims | no | from the brochure | of their own patients | yes |
# | the sponsor of a trial | no | from the protocol | of the trial's patients | sometimes |
# | a patient | no | no | one | hardly |
#
# The rows are ours, for thinking; your hospital's may differ. What matters is the second column against the third. Those who want
# to deceive the model mostly lack its weights. But many of them know **how it was built**, because that is in the approval, the
# paper or the brochure. It is often a popular architecture with a popular start, one of the reasons why medicine is vulnerable,
# according to the study that this course follows [1].
#
# Three ways remain without the weights. *Build your own model and use its gradient*: this lesson. *Ask the model and estimate the
# gradient from its answers*: lesson 06. *Use something that works on any model*: lesson 07.

# %% [markdown]
# ## Your own models
#
# A model that an attacker trains in the victim's place is called a **surrogate**. You have images of your own, of patients whom
# the victim has never seen, and you don't know which recipe the victim followed. So you train four:
#
# | surrogate | what it shares with the victim |
# |---|---|
# | twin | the architecture, and the start from the same ImageNet weights |
# | relative | the family of the architecture (it is larger), and that it starts from ImageNet, with weights of its own |
# | scratch | the architecture, but it begins with random weights |
# | small | nothing: a small network that begins with random weights |
#
# ### Predict
#
# None of them sees an image or a weight of the victim. Which will be the best *doctor*? And which the best *stand-in*: will that
# be the same one?
#
# ### Run

# %%
surrogates = {kind: freeze(here.surrogate(kind)) for kind in ("twin", "relative", "scratch", "small")}
models = {"victim": victim} | surrogates

fingerprints = {hash(image.numpy().tobytes()) for image in here.train.images}
shared = sum(hash(image.numpy().tobytes()) in fingerprints for image in here.attacker.images)
print(f"images of yours on which the victim was trained: {shared} of {len(here.attacker)}")

many_x, many_y = here.test.sample(96, seed=seed, balanced=True)
quality = {name: evaluate(model, many_x, many_y) for name, model in models.items()}


def whiskers(estimates):
    """The 95 % intervals of some estimates, as matplotlib's errorbar draws them."""
    return [[max(e - e.low, 0) for e in estimates], [max(e.high - e, 0) for e in estimates]]


figure, ax = show.picture(8.5, 3.2)
for row, (name, scores) in enumerate(quality.items()):
    colour = show.RED if name == "victim" else show.BLUE
    ax.errorbar([scores.auc], [row], xerr=whiskers([scores.auc]), fmt="o", color=colour, capsize=4)
ax.axvline(0.5, color="0.45", linewidth=1, linestyle=":")
ax.text(0.505, 0, "guessing", fontsize=10, color="0.35", va="center")
ax.set_yticks(range(len(models)), models)
ax.set_ylim(len(models) - 0.5, -0.5)
ax.set(xlabel=f"AUC on {len(many_y)} test patients, with 95 % interval", title="How good each model is as a doctor", xlim=(0.4, 1.01))
figure.alt = "AUC of each model: " + ", ".join(f"{name} {scores.auc:.2f}" for name, scores in quality.items()) + "."
figure

# %% [markdown]
# ### Explain
#
# The figure answers the first question for your clinic. Keep the order in mind: the second question is still open.

# %%
claim("no image of yours is among those on which the victim was trained", shared == 0)

# %% [markdown]
# ## An attack that never asks
#
# ### Predict
#
# You run PGD on the *twin*, and send the images to the *victim*. They were made for another network, with other weights, trained
# on other patients. Of the answers that the victim had right, how many turn at `eps = 4/255`? And how many do with random noise
# of that size?
#
# ### Run

# %%
EPS = 4 / 255


def in_parts(attack, x, y):
    """Run attack(x, y) on eight patients at a time: gradients take memory."""
    return torch.cat([attack(*part) for part in zip(x.split(8), y.split(8), strict=True)])


def pgd(model, x, y, eps=EPS):
    """PGD as in lesson 04, in five steps."""
    start = torch.Generator().manual_seed(seed)
    return in_parts(lambda x, y: attacks.pgd(model, x, y, eps=eps, steps=5, generator=start), x, y)


def noise_of(size):
    return attacks.random_noise(x, eps=size, generator=torch.Generator().manual_seed(seed))


noise = noise_of(EPS)
on_twin = pgd(surrogates["twin"], x, y)
show.compare({"clean": x, "noise": noise, "made on twin": on_twin}, y, victim, names)

# %%
which = int(((victim(x).argmax(1) == y) & (victim(on_twin).argmax(1) != y)).int().argmax())  # the first patient who is turned
show.perturbation(x[which], on_twin[which], victim, y[which], names)

# %% [markdown]
# The images look nearly the same. Do the answers under them? Six patients are no number, though. How often does the attack
# transfer?
#
# ### Exercise: `transfer_rate`
#
# Count it so that nobody can say you cheated. Some patients the victim gets wrong anyway; they prove nothing. Only those count
# whom the **target** had right before. It is the target's answers that matter, not the surrogate's. (Stuck?
# `hint("transfer_rate")`.)

# %% [markdown] tags=["instructor"]
# **Everybody's first version flatters.** Divided by all patients. All wrong answers after the attack. Every answer that
# *changed*, those that became right among them. The fall of the accuracy. **Ask:** "Patient 3 was wrong before and is
# right now. Is that a success? A failure? Is it in your count?"
#
# Whoever has no patient in the denominator returns 0 or divides by it. **Ask:** "Nobody was right before. Did the
# attack fail?" (`nan`: not defined.)


# %%
def transfer_rate(target, x, x_adv, y):
    """Success of an attack on a model that it was not made on: the share turned, of the images that were right before.

    Args:
        target: the model that is to be deceived: images in [0, 1] to logits (N, classes).
        x, x_adv: images before and after (N, 3, H, W). y: true labels (N,).

    Returns:
        metrics.proportion(hits, n): a number with its interval, `nan` if n is 0.
    """
    ### BEGIN SOLUTION
    right = target(x).argmax(1) == y
    turned = right & (target(x_adv).argmax(1) != y)
    return metrics.proportion(turned.sum(), right.sum())
    ### END SOLUTION


transfer_rate = check.transfer_rate(transfer_rate)


# %%
def by_class(target, x, x_adv, y):
    """The transfer rate of each class: {label: rate}."""
    return {label: transfer_rate(target, x[y == label], x_adv[y == label], y[y == label]) for label in (0, 1)}


for what, changed in {"noise": noise, "made on twin": on_twin}.items():
    print(f"{what:<14}{transfer_rate(victim, x, changed, y)}")
    for label, rate in by_class(victim, x, changed, y).items():
        print(f"   {names[label]:<16} {rate}")
print("made on twin, after saving", attack_success(victim, x, on_twin, y).after_saving)

# %% [markdown]
# ### Explain
#
# The victim was not asked a single question, and nobody saw its weights. Its twin was enough, for both classes or for one of
# them: look at your two lines.
#
# This is the "black box" of Finlayson and others: an attack made on a second model of the same architecture, trained
# independently, and then transferred [1]. Three of their patients, all without the disease, and what their model said about the
# probability of disease [2]:
#
# | | clean | white box | black box |
# |---|---|---|---|
# | skin: melanoma | 0.0093 | 1.000 | 0.955 |
# | chest: pneumothorax | 0.0025 | 1.000 | 0.978 |
# | eye: retinopathy | 0.048 | 1.000 | 0.9999 |
#
# Locking away the weights, then, protects less than it seems to, *if* the recipe is known. What if it is not?

# %%
twin_rate, noise_rate = transfer_rate(victim, x, on_twin, y), transfer_rate(victim, x, noise, y)
claim("made on the twin, the attack turns at least a quarter of the victim's right answers", twin_rate >= 0.25, f"{twin_rate:.2f}")
claim("noise of that size turns fewer: at least 10 points less", twin_rate - noise_rate >= 0.1, f"{noise_rate:.2f}")
result("transfer rate from the twin", twin_rate)

# %% [markdown]
# ## Who deceives whom?
#
# ### Predict
#
# Now every model is attacked, and every attack is tried on every model. Before you look:
#
# - Of the attacks made on your four, which is the most dangerous for the victim, which the least?
# - *Shared pre-training*: in a study of ophthalmology, radiology and pathology, pre-training could "dramatically increase the transferability",
#   even between different architectures [3]. Then twin *and* relative should beat scratch and small. Does the architecture or the
#   start matter more: relative or scratch?
# - Is the matrix symmetric? If attacks made on A fool B, must those made on B fool A?
#
# ### Exercise: `transfer_matrix`
#
# An attack takes seconds, trying it takes a fraction of one. So make each attack once. (`hint("transfer_matrix")`)

# %% [markdown] tags=["instructor"]
# **Take the three predictions as a show of hands**, and write them up: the worst attack for the victim, the most
# harmless, symmetric or not.
#
# **Common wrong answers.** The attack in the inner loop: right, and five times as slow ("how many attacks did you make
# for five sources?"). Keys the wrong way round (target, source). An attack started from the images of the one before.


# %%
def transfer_matrix(sources, targets, x, y, attack):
    """The transfer rate of attacks made on each source and tried on each target.

    Args:
        sources: {name: model}, to make attacks on. targets: {name: model}, to try them on.
        x: images (N, 3, H, W). y: true labels (N,).
        attack: called as attack(model, x, y); returns images. Slow: once for each source.

    Returns:
        {(source name, target name): transfer rate, as transfer_rate gives it}, for every pair.
    """
    ### BEGIN SOLUTION
    rates = {}
    for source, model in sources.items():
        x_adv = attack(model, x, y)
        for target, other in targets.items():
            rates[source, target] = transfer_rate(other, x, x_adv, y)
    return rates
    ### END SOLUTION


transfer_matrix = check.transfer_matrix(transfer_matrix)

# %% [markdown]
# ### Run

# %%
name_of = {id(model): name for name, model in models.items()}
made = {"twin": on_twin}  # attacks, kept for later


def kept_pgd(model, x, y):
    """PGD on one of our models; what was made before isn't made again."""
    name = name_of[id(model)]
    if name not in made:
        made[name] = pgd(model, x, y)
    return made[name]


rates = transfer_matrix(models, models, x, y, kept_pgd)
control = {("noise", name): transfer_rate(model, x, noise, y) for name, model in models.items()}
matrix = metrics.TransferMatrix((*models, "noise"), tuple(models), rates | control)
show.transfer(matrix, "Right answers turned, eps = 4/255")

# %% [markdown] tags=["instructor"]
# **Ask, with a finger on the figure:** "Which column is the victim's? Read it from top to bottom. Now read the noise
# row. Which of these numbers would you put into a report?" With twenty patients the intervals are wide, and two
# neighbouring rows often can't be told apart. Stop whoever ranks them.
#
# **"Is it symmetric?"** Let somebody find the pair that differs most. **"So ImageNet is the culprit?"** is too quick:
# *relative* began with ImageNet too, with other weights. Twin shares the very start.

# %% [markdown]
# ### Explain
#
# The white frames are white boxes: made and tried on the same model. The first column is what counts, the victim's. Read it
# from top to bottom, with the intervals: they are wide, because the patients are few.
#
# On average the two surrogates that began with ImageNet betray it more than the two that didn't, and the twin most of all. It
# shares no image with the victim, no order in which they were seen, and none of the weights that training changed. What it
# shares is the **start**: what the network had learnt to look at before it saw its first patient. Its first five blocks even
# stayed as ImageNet made them, in the hospital as at your place (they see edges and textures, lesson 02). In a hospital's
# brochure, "fine-tuned from ImageNet" next to the name of an architecture is what an attacker needs.
#
# Is it ImageNet as such, or that very start? *Relative* learnt from the same photographs, but has other weights. How far it gets,
# compared with scratch and with noise, differs from clinic to clinic: read yours with the intervals.
#
# *Scratch* and *small* are another story. Hold their numbers in the first column against the noise row: an attack that turns no
# more than noise does is noise, however well it does at home. And symmetric? Compare *relative on victim* with *victim on
# relative*: the same two networks, one number each way.

# %%
started = {"ImageNet": ("twin", "relative"), "random": ("scratch", "small")}
mean_rate = {start: sum(rates[kind, "victim"] for kind in kinds) / 2 for start, kinds in started.items()}
claim("the pre-trained surrogates transfer better than the others", mean_rate["ImageNet"] > mean_rate["random"],
      f"{mean_rate['ImageNet']:.2f} and {mean_rate['random']:.2f} on average")  # fmt: skip
loudest = max(rates[kind, "victim"] for kind in started["random"])
claim("scratch and small turn at most 20 points more of the victim's answers than noise does", loudest <= noise_rate + 0.2,
      f"{loudest:.2f}, noise {noise_rate:.2f}")  # fmt: skip
claim("no surrogate betrays the victim more than the twin", all(rates["twin", "victim"] >= rates[kind, "victim"] for kind in surrogates))
claim("on its own model each attack turns three quarters or more", all(rates[name, name] >= 0.75 for name in models))

# %% [markdown]
# ## What makes a good stand-in?
#
# ### Predict
#
# Here are two guesses. *A good stand-in is a good doctor*: who diagnoses like the victim errs like the victim. Or: *a good
# stand-in has the same slopes*: its gradient points where the victim's points. If it does, how alike are the two directions,
# on a scale from 0, at right angles, to 1, the same? (That number is called the *cosine* of the two directions.)
#
# ### Run


# %%
def slope(model):
    """Where the other class lies: the direction of the attack at the clean images, (N, 49152)."""
    return in_parts(lambda x, y: attacks.gradient.input_gradient(model, x, y, target=1 - y)[0], x, y).flatten(1)


victims_slope = slope(victim)


def mean_cosine(directions):
    """Mean over the patients of the cosine with the victim's direction, with its 95 % interval."""
    cosine = F.cosine_similarity(directions, victims_slope).cpu()
    half = metrics.Z_95 * cosine.std().item() / len(cosine) ** 0.5
    return metrics.Estimate(cosine.mean(), cosine.mean() - half, cosine.mean() + half, len(cosine))


alike = {name: mean_cosine(slope(model)) for name, model in surrogates.items()}
by_chance = (victims_slope.shape[1] * len(x)) ** -0.5  # how far from 0 the mean cosine of random directions usually is

figure, (left, right) = show.picture(11, 4, 1, 2, sharey=True)
for i, name in enumerate(surrogates):
    rate = rates[name, "victim"]
    for ax, value in ((left, quality[name].auc), (right, alike[name])):
        look = {"fmt": "osD^"[i], "color": show.LINES[i], "markersize": 8, "capsize": 3, "label": name}
        ax.errorbar([value], [rate], xerr=whiskers([value]), yerr=whiskers([rate]), **look)
right.axvspan(-by_chance, by_chance, color="0.8", label=f"chance: ±{by_chance:.4f}")
left.locator_params(axis="x", nbins=5)
left.set(xlabel="AUC of the surrogate", ylabel="right answers of the victim turned", title="A good doctor?", ylim=(-0.05, 1.05))
right.set(xlabel="cosine of its gradient with the victim's", title="The same slopes?")
for ax in (left, right):
    ax.grid(alpha=0.25)
right.legend(frameon=False)
figure.alt = "Success on the victim against the surrogate's AUC, and against the cosine of the gradients: " + "; ".join(
    f"{name} AUC {quality[name].auc:.2f}, cosine {alike[name]:.3f}, success {rates[name, 'victim']:.2f}" for name in surrogates
)
for name in surrogates:
    print(f"{name:<10} AUC {quality[name].auc:.2f}   cosine {alike[name]:+.3f}   turned {rates[name, 'victim']:.2f}")
figure

# %% [markdown] tags=["instructor"]
# **The number to dwell on is the cosine.** People expect 0.8 for the twin. **Ask:** "How can a direction at nearly a
# right angle deceive anybody?" and let them go back to section 3 of lesson 03 by themselves: many small pushes, one
# sum. The grey band is what chance gives in 49,152 dimensions.

# %% [markdown]
# ### Explain
#
# On the left, compare *twin* and *relative*. Where two surrogates are equally good doctors and one betrays far more, skill
# can't be the reason. On the right, look at the scale. Even the twin's gradient is far from the victim's: its cosine is below
# one half. Liu and others saw the same with photographs: between different networks the directions are nearly at right
# angles, and some attacks transfer all the same [4].
#
# How can a direction that shares so little deceive anybody? Because it is counted in 49,152 dimensions. Two directions drawn
# at random have a cosine of 0 there, give or take 0.0045 (one divided by the root of 49,152). The mean over 20 patients is
# nearer still, give or take 0.001: that is the grey band. A cosine of 0.02 is twenty times that, and what the pixels have in
# common adds up. It is lesson 03 once more: many small pushes, one sum.
#
# Which of your surrogates have an interval that reaches into the grey band? Is their attack, to the victim, more than noise?
# Go back to the matrix and compare their rows with the control's.

# %%
claim("the twin's gradient is much closer to the victim's than chance", alike["twin"] > 25 * by_chance, f"{alike['twin']:.3f}")
claim("and yet far from the same: a cosine below 0.5", alike["twin"] < 0.5)

# %% [markdown]
# ## Look at one patient
#
# Choose where the attack is made, where it is tried, and how large it is. (To be quick, this explorer takes six patients whom the
# victim judges rightly, and two steps, with momentum, which comes in the next section; its numbers differ from the matrix above.) Which
# is the smallest eps at which the twin deceives the victim, and which for *small*? Find a patient whom one surrogate turns and another
# doesn't. Look at the two lines below the matrix, too: is one class turned more often than the other?

# %%
sources = {kind: surrogates[kind] for kind in ("twin", "relative", "small")}
six = torch.nonzero(metrics.logits(victim, x).argmax(1) == y).flatten()[:6]
explore.transfer(sources, x[six], y[six], names, targets=models, stops=(0, 1, 2, 4), steps=2)

# %% [markdown]
# ## How hard should one climb?
#
# ### Predict
#
# On its own model an attack grows stronger with every step (lesson 04). What about the *other* model? A climber who knows every
# stone of one hill may end where only that hill is high. It is reported that attacks of many steps are stronger on their own
# model "at the cost of worse transferability" [5].
#
# Two remedies are known. **Momentum** remembers the past directions and averages them, which is meant to make the attack less
# particular about one model [5]. **Input diversity** shrinks and shifts the image at random before each look, so that only what
# works on all versions counts [6].
#
# We attack *relative* with 1, 3 and 12 steps. What do you expect of them on relative itself, and on the victim?
#
# Success is a yes or no, and eight patients are few. So we also look at something finer, the **push**: how far the victim's two
# logits move apart towards the wrong answer. It is counted in the unit of the logits; 2 takes an answer from 50 to 88 %.
#
# ### Run

# %%
STEPS = (1, 3, 12)
few_x, few_y = x[:8], y[:8]


def margin(model, x, y):
    """How far the logit of the truth lies above the other (N,). Below 0 the answer is wrong."""
    logits = metrics.logits(model, x)
    return (logits.gather(1, y[:, None]) - logits.gather(1, 1 - y[:, None]))[:, 0].cpu()


def climb(steps, momentum=0.0, diversity=0.0):
    """An attack made on relative: success there, success on the victim, and the push on the victim for each patient."""
    x_adv = attacks.transfer_attack(
        surrogates["relative"], few_x, few_y, eps=EPS, steps=steps, momentum=momentum, diversity=diversity,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    own, other = (transfer_rate(model, few_x, x_adv, few_y) for model in (surrogates["relative"], victim))
    return own, other, margin(victim, few_x, few_y) - margin(victim, x_adv, few_y)


recipes = {f"{steps} step{'s' * (steps > 1)}": climb(steps) for steps in STEPS}
recipes |= {"12, momentum": climb(12, momentum=1.0), "12, diversity": climb(12, diversity=0.5)}

figure, (left, right) = show.picture(12, 4.2, 1, 2)
places = range(len(recipes))
for shift, (what, place, colour) in enumerate((("on relative, where it was made", 0, show.GREEN), ("on the victim", 1, show.RED))):
    rate = [told[place] for told in recipes.values()]
    left.errorbar([p + 0.15 * shift for p in places], rate, yerr=whiskers(rate), fmt="os"[shift], color=colour, capsize=3, label=what)
for label in (0, 1):
    mine = few_y.cpu() == label
    mean = [told[2][mine].mean().item() for told in recipes.values()]
    look = {"marker": "os"[label], "color": (show.BLUE, show.ORANGE)[label], "linestyle": ""}
    beside = [place + 0.3 * label - 0.15 for place in places]
    for place, told in zip(beside, recipes.values(), strict=True):
        right.plot([place] * int(mine.sum()), told[2][mine], **look, markersize=4, alpha=0.5)
    right.plot(beside, mean, **look, markersize=10, label=f"{names[label]}: mean and each of {mine.sum()}")
right.axhline(0, color="0.5", linewidth=1)
right.margins(y=0.25)  # room for the legend
left.set(ylabel="right answers turned", title="Success", ylim=(-0.05, 1.25))
right.set(ylabel="push, in logits", title="Push on the victim, towards the wrong answer")
for ax in (left, right):
    ax.set_xticks(places, recipes, rotation=35, ha="right")
    ax.axvline(len(STEPS) - 0.5, color="0.7", linewidth=1, linestyle=":")
    ax.grid(alpha=0.25)
    ax.legend(frameon=False, loc="upper left", fontsize=10)
figure.alt = "Success and push on the victim of attacks made on relative: " + "; ".join(
    f"{what}: on relative {own:.2f}, on the victim {other:.2f}, mean push {push.mean():.1f}" for what, (own, other, push) in recipes.items()
)
figure

# %% [markdown]
# ### Explain
#
# On relative itself the walk arrives, as in lesson 04. On the victim a difference counts only if it is large next to the
# scatter of the small points, the patients. Is any of the five ways to climb that far ahead, in both classes? *What the
# literature reports on average need not hold in your clinic.* An attacker would measure it. So does a good evaluation: it
# tries several ways on patients of its own, and reports the best of them on the test patients, not the first that came to
# mind.

# %%
claim("on its own model twelve steps do at least as much as one", recipes["12 steps"][0] >= recipes["1 step"][0])

# %% [markdown]
# ## One perturbation, several models
#
# The talk that this course grew from asks: *can one attack defeat several of them?* Suppose that you don't know the victim's
# architecture, so you have no twin. You have the other three. An **ensemble attack** looks for one perturbation that raises the
# loss of all of them. What fools three different models, the hope goes, fools a fourth.
#
# ### Exercise: `ensemble_attack`
#
# PGD again, but the slope is that of all models together. In every step each of them is asked. The reference takes the mean of the
# *logits*, because for photographs that did better than the mean of probabilities or of losses [5]: a model that is sure of its
# answer has a probability without slope, but its logits go on changing. (`hint("ensemble_attack")`)

# %% [markdown] tags=["instructor"]
# **Common wrong answers.** The attacks made one after another and added up: the budget is spent several times. The mean
# of the *steps* (signs cancel where models disagree) in place of the mean of logits or losses. Only the last model
# asked. **Ask:** "In round two, how many models do you ask, and about which image?"
#
# **At its figure, ask:** "Would a second vendor's model have warned you?" (Not if it grew from the same start. The
# lesson shows both cases.)


# %%
def ensemble_attack(models, x, y, eps, steps, step_size):
    """PGD on several models at once: one perturbation that raises the loss of them all. It starts at x, not at random.

    The models' logits, losses or probabilities are averaged before the gradient is taken.

    Args:
        models: list of models: images in [0, 1] to logits (N, classes).
        x: clean images (N, 3, H, W) in [0, 1]. y: true labels (N,).
        eps: the largest change of a pixel, for the whole ensemble. steps: how many. step_size: the change of a pixel in one.

    Returns:
        Images (N, 3, H, W) in [0, 1], within eps of x, cut off from the graph (`.detach()`).
    """
    ### BEGIN SOLUTION
    x_adv = x.clone()
    for _ in range(steps):
        x_adv = x_adv.detach().requires_grad_()
        logits = torch.stack([model(x_adv) for model in models]).mean(0)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, y), x_adv)
        x_adv = (x_adv + step_size * gradient.sign()).clamp(x - eps, x + eps).clamp(0, 1)
    return x_adv.detach()
    ### END SOLUTION


ensemble_attack = check.ensemble_attack(ensemble_attack)

# %% [markdown]
# ### Predict
#
# In their study of photographs, Liu and others attacked four networks at once, and a fifth, which had no part in it, was left
# with 0 to 6 % of its right answers, depending on which one it was [4]. Here the ensemble is relative, scratch and small, the
# victim is the fourth, and *twin* a fifth that nobody asked either. Will the ensemble beat the best of its members? Will it beat
# the twin?
#
# ### Run

# %%
team = ("relative", "scratch", "small")
members = [surrogates[kind] for kind in team]
made["ensemble"] = in_parts(lambda x, y: ensemble_attack(members, x, y, EPS, 5, EPS / 2), x, y)
rows = rates | {("ensemble", target): transfer_rate(model, x, made["ensemble"], y) for target, model in models.items()}
show.transfer(
    metrics.TransferMatrix((*team, "ensemble", "twin"), tuple(models), rows), "The ensemble knows relative, scratch and small. eps = 4/255"
)

# %%
had_right = {name: model(x).argmax(1) == y for name, model in models.items()}


def all_of(chosen, source):
    """Of the patients whom all chosen models had right: the share whom this one attack turns in all of them."""
    right = torch.stack([had_right[name] for name in chosen]).all(0)
    turned = torch.stack([models[name](made[source]).argmax(1) != y for name in chosen]).all(0)
    return metrics.proportion((right & turned).sum(), right.sum())


both = all_of(("twin", "victim"), "twin")
together = {source: all_of(team, source) for source in (*team, "ensemble")}
print(f"made on twin:      turned in twin and victim alike          {both}")
for source, share in together.items():
    print(f"made on {source:<10} turned in relative, scratch and small  {share}")

# %% [markdown]
# ### Explain
#
# Yes, one attack can defeat several. Two systems that grew from the same start fall to one image for each patient, although
# the image was made for only one of them. Can models that don't fall together by themselves be made to, by somebody who has
# all of them? Compare the ensemble's last line with those of its members, with the intervals. A second model from the same
# start is no second opinion. One with another start is a weak one: whoever has it too can aim at both.
#
# Two things to read off. *Small* is in the ensemble: does the ensemble turn it as often as its own attack does? If not, why might
# that be? (We take the mean of logits. Whose are the largest?) And does the ensemble deceive the *victim* more often than
# *relative* alone does? What could a member add that is itself no better than noise?

# %%
claim("made on the twin, one perturbation turns at least a quarter of the patients in twin and victim alike", both >= 0.25, f"{both:.2f}")
claim("the ensemble turns at least as many in all three models as any member's attack does",
      together["ensemble"] >= max(together[kind] for kind in team), f"{together['ensemble']:.2f}")  # fmt: skip
result("turned by the ensemble in all three models", together["ensemble"])

# %% [markdown]
# ## The surrogate that betrays the victim
#
# You have four surrogates, and no idea which is the best: the matrix above needed the victim's answers to everything. An attacker
# has to find out, and questions are dear: each one may be logged, or cost money. So try each attack on a few patients *of your
# own* first. The test patients are left alone.
#
# The door to the victim is an `Oracle`: it answers with a label, tells nothing else, and counts. It allows each patient `1 + 4`
# questions.
#
# ### Exercise: `find_surrogate`
#
# Ask as little as you can. (`hint("find_surrogate")`)


# %%
def find_surrogate(oracle, x, y, attacked):
    """The surrogate whose attacks turn most of the victim's right answers, found by asking.

    Args:
        oracle: oracle(images, ids) gives the victim's labels (N,). Every image is a query, counted by patient: ids are their
            row numbers in x, and without them the oracle takes an image's place in the batch. Each question must be counted
            for the patient whose image it is.
        x: your own patients (N, 3, H, W). y: true labels (N,).
        attacked: {surrogate: its attack on these patients (N, 3, H, W)}.

    Returns:
        The best name, and {name: rate}, the share turned of those whom the victim had right.
    """
    ### BEGIN SOLUTION
    right = (oracle(x) == y).nonzero().flatten()  # rows of the patients who count
    rates = {name: (oracle(x_adv[right], right) != y[right]).float().mean().item() for name, x_adv in attacked.items()}
    return max(rates, key=rates.get), rates
    ### END SOLUTION


find_surrogate = check.find_surrogate(find_surrogate)

# %%
own_x, own_y = here.attacker.sample(12, seed=seed, balanced=True)
candidates = {name: pgd(model, own_x, own_y) for name, model in surrogates.items()}
door = attacks.Oracle(victim, "label", budget=1 + len(candidates))
best, found = find_surrogate(door, own_x, own_y, candidates)
print("share turned:", {name: round(float(rate), 2) for name, rate in found.items()}, "of 12 or fewer")
print("the choice:", best)
print(door)

# %% [markdown]
# ### Predict
#
# A few dozen questions. Each image looks like an ordinary patient; but the same patient comes up to five times, nearly
# unchanged, and whoever looks for that sees it (lesson 06). Twelve patients are few; they suffice where one surrogate is far
# ahead, and where two are close it matters little which you take. The choice is made, and from here on nobody is asked any
# more. How large must eps be until half of the test patients are turned? And until it survives being saved?
#
# ### Run

# %%
sizes = (0.25, 0.5, 1, 2, 4)


def attack_of(size):
    """The chosen surrogate's attack on the test patients, `size` in grey levels."""
    return made[best] if size / 255 == EPS else pgd(surrogates[best], x, y, size / 255)


curve = [attack_success(victim, x, attack_of(size), y) for size in sizes]
quiet = [transfer_rate(victim, x, noise_of(size / 255), y) for size in sizes]
saved = [success.after_saving for success in curve]
for what, shares in {"as it is": curve, "saved": saved}.items():
    enough = [f"{size:g}/255" for size, share in zip(sizes, shares, strict=True) if share >= 0.5]
    print(f"{what:<9} half of the patients are turned at", enough[0] if enough else f"none of these sizes, up to {sizes[-1]}/255")
figure = show.curves(
    {f"made on {best}": (sizes, curve), "the same, saved": (sizes, saved), "noise": (sizes, quiet)},
    xlabel="eps in grey levels (1/255)",
    ylabel="right answers turned",
    title=f"An attack made on {best}, tried on the victim, {curve[0].n} patients",
    logx=True,
)
figure.axes[0].set_xticks(sizes, [f"{size:g}" for size in sizes])
figure.axes[0].minorticks_off()
figure

# %% [markdown]
# ### Explain
#
# The two lines above the figure answer both questions, to within the sizes tried. A quarter of a grey level is rounded away when the
# image is saved, as in lesson 04, whoever made it; whole grey levels stay; exactly half a level may go either way. You paid a few
# dozen questions, before the attack and not during it.

# %%
claim("the chosen surrogate's attack turns at least a quarter at 4/255, saved", saved[-1] >= 0.25, f"{saved[-1]:.2f}")
claim("a quarter of a grey level doesn't survive being saved", saved[0] == 0)
claim("each patient was asked about at most five times", max(door.asked.values()) <= 5, f"{door.total} questions in all")

# %% [markdown]
# ## Labels for nothing
#
# So far you had labels for your own images. Suppose that you have none: labels cost a doctor's time. But the victim gives
# them away. **Ask it about your images, and train on its answers.** The result is called a *substitute*. Papernot and others
# built one with 6,400 queries against a model at MetaMind, which then got 84.24 % of their adversarial examples wrong;
# Amazon's and Google's, 96.19 % and 88.94 % [7]. They also made new images along the slopes of their substitute, and asked
# about those; ours asks about the images that it has, no more.
#
# ### Predict
#
# You know nothing else of the victim: your network is *small*, which shares neither architecture nor start with it. Will its copy
# of the victim's answers be a better or a worse stand-in than the same network trained on the truth?
#
# ### Run

# %%
labels_only = attacks.Oracle(victim, "label", budget=1)
substitute = freeze(here.surrogate("small", oracle=labels_only))
print(labels_only)

pair = {"small, from the truth": surrogates["small"], "small, from answers": substitute}
strong = 8 / 255
for what, model in pair.items():
    same = metrics.proportion((metrics.logits(model, many_x).argmax(1) == metrics.logits(victim, many_x).argmax(1)).sum(), len(many_x))
    print(f"{what:<24} answers as the victim: {same}")
    print(f"{'':<24} its attack, eps 8/255: {transfer_rate(victim, x, pgd(model, x, y, strong), y)}")
print(f"{'noise':<24} eps 8/255:             {transfer_rate(victim, x, noise_of(strong), y)}")

# %% [markdown]
# ### Explain
#
# One question for each image, one label for each question, and no doctor: that is all the copy needed. But what is it worth?
# Two comparisons decide. Does it answer more like the victim than the network trained on the truth, beyond the intervals? And
# does its attack turn more than the last line, noise? On the drawn radiographs neither is so: the copy's attack does what
# noise does, and the twin's, which never asked but knew the recipe, turned most of the patients at half this size. **There
# labels were free, and slopes were not** (with our plain copy; with theirs it may be otherwise). Does your clinic say the
# same?

# %%
claim("one question for each image of yours, no more", labels_only.total == len(here.attacker), f"{labels_only.total}")

# %% [markdown]
# ## A fraudster needs one direction
#
# A *fraudster* paid for treatment needs healthy → sick; one who must not pay needs sick → healthy. A *saboteur* who wants disease
# missed needs the second too; one who only wants confusion takes either.
#
# ### Predict
#
# You have seen by class what the twin's attack and the noise do. Half of your patients are healthy and half are sick. So is
# it half of each? Or one class, and not the other? Which of the two directions do you expect to be easier in your clinic,
# healthy to sick or sick to healthy? And **why**? Four explanations are on the table:
#
# 1. The victim is lopsided: one class lies nearer to its border.
# 2. The attack pushes one class harder than the other.
# 3. It isn't the attack at all: *any* disturbance of the image, even noise, drives the answers in one direction.
# 4. Noise makes the model less sure: all answers move towards one value, which may lie beyond the border of one class.
#
# ### Run

# %% [markdown] tags=["instructor"]
# **Keep seven minutes for this**, whatever else goes. Have the room commit: which direction is easier here, and which
# of the four explanations is it? **At the three panels, ask:** "Look at the noise panel alone. Is one colour pushed
# towards the border? Or are the surest of both pushed most?" If either, part of what looked like an attack is drift, and
# the control has to be read class by class. No claim says which it is, because clinics differ; "ours is explanation 3,
# and here is the panel" is a full answer.

# %%
def in_short(rate):
    return f"{rate:.2f} ({rate.low:.2f} to {rate.high:.2f}, n = {rate.n})"


LOUD = 8 / 255
attempts = {name: made[name] for name in ("twin", "relative", "scratch", "small", "ensemble")}
attempts |= {"noise, 4/255": noise, "noise, 8/255 (twice)": noise_of(LOUD)}
print(f"{'on the victim, by truth':<26}" + "".join(f"{name + ' turned':<36}" for name in names))
for what, changed in attempts.items():
    print(f"{what:<26}" + "".join(f"{in_short(rate):<36}" for rate in by_class(victim, x, changed, y).values()))


# %%
truth = y.cpu()
distance = margin(victim, x, y)  # how far from the border, on the right side
shown = {"made on twin": made["twin"], "made on small": made["small"], "noise, 8/255": attempts["noise, 8/255 (twice)"]}
push = {what: distance - margin(victim, changed, y) for what, changed in shown.items()}  # towards the border and beyond
pushes = torch.cat(list(push.values()))
span = torch.stack([distance.min(), distance.max()])

figure, axes = show.picture(12, 4.4, 1, 3, sharey=True)
top = pushes.max().item() + 1
for ax, (what, moved) in zip(axes, push.items(), strict=True):
    ax.fill_between([0, span[1].item()], [0, span[1].item()], max(top, span[1].item()), color=show.RED, alpha=0.07, linewidth=0)
    ax.plot(span, span, color="0.3", linewidth=1.5)
    ax.axhline(0, color="0.7", linewidth=1)
    ax.axvline(0, color="0.7", linewidth=1)
    for label in (0, 1):
        mine = truth == label
        ax.plot(distance[mine], moved[mine], "os"[label], color=(show.BLUE, show.ORANGE)[label], label=names[label], alpha=0.8)
    title = f"{what} (twice the attack)" if what.startswith("noise") else what
    ax.set(title=title, xlabel="distance from the border (difference of the logits)", ylim=(min(pushes.min().item(), 0) - 1, top))
axes[0].set_ylabel("push towards the other class\n(difference of the logits)")
axes[1].annotate("shaded: turned", (0.97, 0.03), xycoords="axes fraction", color="0.3", ha="right")
axes[2].legend(frameon=False, loc="lower right")
figure.alt = "Push of an attack against the distance from the border, for each patient: " + "; ".join(
    f"{what}: mean push {names[0]} {moved[truth == 0].mean():.1f}, {names[1]} {moved[truth == 1].mean():.1f}"
    for what, moved in push.items()
)
figure

# %%
print(f"{'median, by truth':<26}" + "".join(f"{name:>16}" for name in names))
print(f"{'distance from the border':<26}" + "".join(f"{distance[truth == label].median().item():16.2f}" for label in (0, 1)))
for what, moved in push.items():
    print(f"{'push, ' + what:<26}" + "".join(f"{moved[truth == label].median().item():16.2f}" for label in (0, 1)))
scores = quality["victim"]
print(f"the victim on {len(many_y)} patients: sensitivity {scores.sensitivity}, specificity {scores.specificity}")

# %% [markdown]
# ### Explain
#
# A patient right of the vertical line and above the slanted one is turned: right before, and pushed further than the distance. (Left
# of the vertical line are those whom the victim had wrong; they don't count.) Now each explanation can be seen. If the victim is
# lopsided (1), one colour lies further to the left. If the attack pushes one class harder (2), one colour lies higher. If any
# disturbance does it (3), then in the *noise* panel one colour is pushed towards the border, above zero, and the other away from
# it, below. And if noise makes the model less sure (4), then in that panel the points *rise to the right*, in both colours: the
# surer an answer was, the more it loses.
#
# The first one can be tested. Take away the victim's lean: move its threshold to the middle between the two classes, so that both
# are equally far from the border. Does the difference between the directions go away?

# %%
lopsided = (distance[truth == 1].median() - distance[truth == 0].median()) / 2
balanced = distance - torch.where(truth == 1, lopsided, -lopsided)  # with the threshold in the middle between the classes
for what, moved in push.items():
    for where, far in (("as it is", distance), ("in the middle", balanced)):
        counted = [(far > 0) & (truth == label) for label in (0, 1)]
        shares = [metrics.proportion((moved > far)[mine].sum(), mine.sum()) for mine in counted]
        told = [f"{name} {in_short(rate)}" for name, rate in zip(names, shares, strict=True)]
        print(f"{what:<18} threshold {where:<14}" + "".join(f"{words:<44}" for words in told))

# %% [markdown]
# *One worked reading, of the drawn radiographs.* Loud noise turns some of the healthy and none of the sick. In its panel the healthy
# are pushed over the border, the sick near the border are pushed away from it, and the surest of the sick are pulled back a little:
# that is explanation 4, with a value on the sick side of the border. *Small* pushes nobody far and turns no more of either class than
# noise does: on the victim it is no attack. Twin pushes everybody towards the wrong answer, and far: that is an attack. Is your
# clinic's reading another one?
#
# Two things follow, whichever it is.
#
# **A single success rate hides whom it serves.** Half of all patients may mean half of each class, or all of one and none of the
# other: then it serves one fraudster fully, and the other not at all.
#
# **The control belongs to each class.** If loud noise already turns one class, then part of what looks like an attack in that
# direction is the victim's weakness to any disturbance.

# %%
claim("the push of the twin's attack goes towards the wrong answer in both classes",
      all(push["made on twin"][truth == label].mean() > 0 for label in (0, 1)))  # fmt: skip

# %% [markdown]
# <div style="border-left: 5px solid #0072B2; padding: 4px 14px;">
#
# ### In the clinic
#
# **What would a log show?** Of the attack itself, nothing: the victim sees each image once, as it sees any other. Of the
# preparation, at most the questions: a few dozen for the choice, up to five about one patient, and one an image for the
# substitute. Each looks like a patient; only the repeats are odd. Whoever runs a model can count who asks how much, and can
# make the answers coarser. Lesson 06 lets you try both.
#
# **Is secrecy a defence?** Of the weights: a weak one. Of the recipe: a little better, until the brochure is printed.
# Transparency has good reasons in medicine, and a model that is safe only as long as nobody knows how it was built isn't safe.
#
# **Is a second system a defence?** Only if it errs differently. Ask a vendor what theirs was *pre-trained* on. A model with
# another start, or a person, is a better second opinion than a copy.
#
# **Which direction would hurt us?** Ask this before anything is measured, and report both.
#
# </div>

# %% [markdown]
# ## Quiz

# %%
quiz(
    "After an attack 40 % of a model's answers are wrong. Before it 15 % were. What is the success rate?",
    [
        "Not known: it counts those that were right before and are wrong after",
        "40 %",
        "25 %",
    ],
    answer="Not known: it counts those that were right before and are wrong after",
    why="The 15 % prove nothing, and the attack may have made some of them right. At the least it is 25 of the "
    "85 that were right, 29 %. Compare before and after, patient by patient.",
)

# %%
quiz(
    "A vendor keeps the weights secret and prints: EfficientNet-Lite0, fine-tuned from ImageNet. What has been given away?",
    [
        "Where it started: whoever starts there gets slopes that share something with its own",
        "Nothing, without the weights there is no gradient",
        "The patients it was trained on",
    ],
    answer="Where it started: whoever starts there gets slopes that share something with its own",
    why="Anybody can start where the vendor started. The twin did, on other patients, and betrayed the victim like no other.",
)

# %%
quiz(
    "Two models' gradients have a cosine of 0.03. Can an attack on the one deceive the other?",
    [
        "Yes: over 49,152 pixel values a small common part adds up",
        "No, the directions are as good as unrelated",
        "Only if eps is large enough to be seen",
    ],
    answer="Yes: over 49,152 pixel values a small common part adds up",
    why="By chance it would be 0, give or take 0.0045. What is common is small at each value, and there are many.",
)

# %%
quiz(
    "An attack turns 90 % of the healthy and 10 % of the sick. Whom does it serve?",
    [
        "Whoever is paid for treating: it finds disease where there is none",
        "Whoever wants disease to be overlooked",
        "Nobody: on average it is a coin",
    ],
    answer="Whoever is paid for treating: it finds disease where there is none",
    why="On average it looks like half. By class it is nearly perfect in one direction.",
)

# %% [markdown]
# ## What you now know
#
# - A model can be attacked without its weights and without a question: train your own, attack that, and send the images.
# - Success is counted over the images that the *target* had right, for each class, with its interval, next to noise.
# - Who starts where the victim started gets slopes that share more with the victim's than anybody else's do, with other
#   patients and other training. That betrays it.
# - Gradients of different models are nearly at right angles, and the small part that they share is enough.
# - One perturbation can deceive several models. A few dozen questions find the best stand-in, and the victim labels your images itself.
# - One direction is often easier than the other. Ask whom it serves, and look at the control before you call it an attack.
#
# What if you have no images to train on, and can only ask? Lesson 06.

# %% [markdown]
# ## Sources
#
# 1. Finlayson, Chung, Kohane, Beam: *Adversarial Attacks Against Medical Deep Learning Systems*, arXiv 1804.05296; later Finlayson et al.,
#    Science 363:1287 (2019), doi 10.1126/science.aaw4399.
# 2. Their code, github.com/sgfin/adversarial-medicine, notebook generate_pgd_figures.
# 3. Bortsova et al.: *Adversarial attack vulnerability of medical image analysis systems: Unexplored factors*, Medical Image Analysis 2021,
#    arXiv 2006.06356.
# 4. Liu, Chen, Liu, Song: *Delving into Transferable Adversarial Examples and Black-box Attacks*, ICLR 2017, arXiv 1611.02770.
# 5. Dong et al.: *Boosting Adversarial Attacks with Momentum*, CVPR 2018, arXiv 1710.06081.
# 6. Xie et al.: *Improving Transferability of Adversarial Examples with Input Diversity*, CVPR 2019, arXiv 1803.06978.
# 7. Papernot et al.: *Practical Black-Box Attacks against Machine Learning*, AsiaCCS 2017, arXiv 1602.02697.
