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
# # 06 Black box: queries
#
# No weights, no gradient, no model of your own. You may only ask. It is enough.
#
# **You will be able to**
#
# - estimate a gradient from answers, and say how many questions that takes;
# - attack a model that tells its probabilities, and one that tells its label alone;
# - try to spend a budget of 220 questions better than a famous attack, and say whether eight patients can show it;
# - see why hiding the gradient protects nobody;
# - judge what a defender can do, and what it costs honest customers.
#
# **Time:** about 120 minutes; computing about a minute and a half, and some minutes more, once, for the study of 1,000 queries
# (`long_curves = False` leaves it out). **Needs:** lesson 04 (PGD, the projection), and lesson 02 (the threshold) at the end.
#
# You ask a model of this course, on your own machine, about public or synthetic images. Services of other people have terms of
# use, and their patients have names.

# %% [markdown] tags=["instructor"]
# **In two minutes.** "No weights, no model of your own. A door, and a bell that counts. How many times do you have to
# ring?" Play it: you are the oracle, think of a hill, the room finds the way up by asking for heights. Somebody soon
# asks at two opposite points: that is the antithetic pair.
#
# **Set up.** The study of 1,000 queries is made once for a clinic and takes some minutes: run the lesson beforehand, or
# set `long_curves = False`. With eight patients every share is a multiple of one in eight; say so before somebody reads
# 0.62 as a measurement.
#
# **Time.** An hour, if you lead and skip the typing; alone one needs two hours. A door with a counter: 5 minutes; wide
# questions: 10; why in pairs: 7; fewer dimensions: 4; the attack and its directions: 8; labels alone: 7; a thousand
# questions, hiding the gradient: 4; spend your own: 10 or more; the defender: 5. **If time is short:** leave out "Why
# in pairs?" and "Fewer dimensions", and go from the estimate to the attack. As a contest, "Spend your own" fills half
# an hour by itself.

# %% tags=["parameters"]
clinic = "derm"  # "fundus", "chest" or "derm"
images = "auto"
n = 8  # patients, half of each class
seed = 0
queries = 220  # for each patient
eps = 4 / 255  # the largest change of a pixel
long_curves = True  # show the study of 1,000 queries; made once for a clinic, which takes some minutes

# %%
import math

import torch
import torch.nn.functional as F

from medattack_edu import (
    attack_success,
    attacks,
    check,
    claim,
    explore,
    freeze,
    metrics,
    open_clinic,
    quiz,
    result,
    show,
    studies,
)

here = open_clinic(clinic, images)
here.banner()
names = [name.replace("_", " ") for name in here.classes]
victim = freeze(here.victim())
pool_x, pool_y = here.test.sample(8 * n, seed=seed, balanced=True)
right = metrics.logits(victim, pool_x).argmax(1) == pool_y
chosen = torch.cat([torch.nonzero(right & (pool_y == label)).flatten()[: n // 2] for label in (0, 1)])
x, y = pool_x[chosen], pool_y[chosen]
torch.manual_seed(seed)
print(f"{len(x)} patients whom the model judges rightly: {n // 2} {names[0]}, {n // 2} {names[1]}")

# %% [markdown]
# ## A door with a counter
#
# A hospital buys diagnoses from a service: it sends an image, it gets an answer, and each answer is counted. In the course the
# door to such a service is an **oracle**. It hands out what the service *reveals*, for each patient at most a *budget* of times,
# and nothing else.
#
# ### Predict
#
# The oracle below answers two questions a patient. You ask about two patients twice, and then about the first once more. What comes?
#
# ### Run


# %%
def rounded(answers):
    return [[round(value, 3) for value in row] for row in answers.tolist()]


oracle = attacks.Oracle(victim, reveals="probabilities", budget=2)
print("probabilities", rounded(oracle(x[[0, -1]], ids=[17, 42])))
print("once more    ", rounded(oracle(x[[0, -1]], ids=[17, 42])))
try:
    oracle(x[:1], ids=[17])
except attacks.QueriesRefused as refused:
    print("refused:", refused)
print(oracle)
print("label alone  ", attacks.Oracle(victim, reveals="label")(x[[0, -1]]).tolist())

# %% [markdown]
# ### Explain
#
# The same image gets the same answer, and the third question is refused. That is all an attacker has here: answers and a count.
#
# We turn the answer into one number to climb, the **lead** of the wrong answer: log p(wrong) minus log p(right). Below 0 the
# model is right; the attack is done when it is above 0. Why logarithms? Two models may both say "1.00",
# one of them a hundred times as sure as the other. Their logarithms tell them apart.


# %%
def lead(told, y):
    """How far the answers are beyond the border (N,), from probabilities (N, 2): positive where the attack is done."""
    logits = told.clamp(min=1e-30).log()
    return (logits.gather(1, 1 - y[:, None]) - logits.gather(1, y[:, None]))[:, 0]


distance = lead(attacks.Oracle(victim)(x), y)
print("lead of the wrong answer:", [round(value, 1) for value in distance.tolist()])

# %% [markdown]
# ### Predict
#
# The slope along one pixel value is easy: change it a little, ask again, take the difference. An image has 49,152 values. How
# long would the whole gradient take for one patient, at one answer a second? And how much does the answer move when one value
# moves by one grey level?
#
# ### Run

# %%
nudged = x[:1].repeat(5, 1, 1, 1)
for k, value in enumerate((20, 40, 64, 90, 110)):
    nudged[k, 1, value, value] += torch.where(nudged[k, 1, value, value] > 0.5, -1, 1) / 255
moves = lead(attacks.Oracle(victim)(nudged), y[:1].expand(5)) - distance[:1]
values = x[0].numel()
print("one value by one grey level moves the lead by", [f"{move:+.4f}" for move in moves.tolist()])
print(f"{values:,} questions and one for one gradient: {values / 3600:.0f} hours at one a second; PGD in lesson 04 took ten gradients")

# %% [markdown]
# ### Explain
#
# Fourteen hours for one gradient of one patient, and twice that if each value is moved both ways. The differences are so
# small that a service which rounds its answers to two decimals would hide most of them. That is the wrong way to ask: 49,152
# narrow questions.
#
# ## Wide questions
#
# Ask along a direction in which *all* values move at once. Draw a random direction `u`. Ask a little forward along it, and a
# little backward:
#
# **slope along u ≈ (score(x + σ u) − score(x − σ u)) / (2σ)**
#
# The *score* is whatever number one climbs; here, the lead. If the slope is positive, `u` leads uphill, and by how steeply
# you know how much to trust it. So add up `slope * u` over some random directions: steep ones count more, falling ones count
# backwards. The mean over many is the gradient. Each pair goes both ways from the middle, which is called *antithetic*. With
# normal directions this is the estimate of **natural evolution strategies**, NES, as Ilyas and others use it to attack [1].
#
# ### Exercise: `nes_estimate`
#
# Estimate the gradient from pairs of questions. (Stuck? `hint("nes_estimate")`.)

# %% [markdown] tags=["instructor"]
# **Common wrong answers.** The sign turned round (which answer is subtracted from which?). Divided by `sigma` in place
# of `2 * sigma`: right direction, twice the length. One direction for the whole batch. The same direction in every
# pair. Questions that do not come in pairs. The slope multiplied into the batch without a `view`.
#
# **Ask:** "Your two points are how far apart?" and "Patient 1 has a slope of 3, patient 2 of -1. What happens to
# *their* direction?"


# %%
def nes_estimate(score, x, pairs, sigma, generator):
    """The gradient of a score, from its values alone.

    Args:
        score: a function from images (N, 3, H, W) to numbers (N,), one for each. It has no gradient.
        x: images (N, 3, H, W) in [0, 1].
        pairs: how many directions to draw. Each costs two questions about each image.
        sigma: how far one value moves along a standard normal direction (root mean square), in pixel units.
        generator: torch.Generator to draw with: for each pair one standard normal direction for each image.
            Don't cut the points to [0, 1]: `score` sees to that.

    Returns:
        The estimate (N, 3, H, W): the mean of slope times direction.
    """
    ### BEGIN SOLUTION
    total = torch.zeros_like(x)
    for _ in range(pairs):
        u = torch.randn(x.shape, generator=generator).to(x)
        slope = (score(x + sigma * u) - score(x - sigma * u)) / (2 * sigma)
        total += slope.view(-1, 1, 1, 1) * u
    return total / pairs
    ### END SOLUTION


nes_estimate = check.nes_estimate(nes_estimate)

# %% [markdown]
# ### Predict
#
# You know the victim from inside, so you can compare your estimate with the true gradient. The **cosine** of two directions is 1
# where they agree, and 0 where they are at right angles. After 16 questions about a patient, what is the cosine? After 160? How
# large must it be before a step along the estimate is worth taking?
#
# ### Run


# %%
def true_gradient(model, x, y):
    """The gradient of the lead, which an attacker without the model's weights can't see."""
    point = x.detach().requires_grad_()
    logits = model(point)
    gap = logits.gather(1, 1 - y[:, None]) - logits.gather(1, y[:, None])
    (gradient,) = torch.autograd.grad(gap.sum(), point)
    return gradient


def cosine(a, b):
    return F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1)


def score_by(oracle, y, rows):
    """What the attacks climb: a function from images to leads. It cuts the images to the pixel range."""
    return lambda points: lead(oracle(points.clamp(0, 1), rows), y)


two = torch.tensor([0, n - 1])  # a patient of each class
oracle = attacks.Oracle(victim)
truth = true_gradient(victim, x[two], y[two])
generator, total = torch.Generator().manual_seed(seed), torch.zeros_like(x[two])
asked, cosines = [], []
for _ in range(10):
    total += nes_estimate(score_by(oracle, y[two], two), x[two], 8, 1e-3, generator)
    asked.append(int(oracle.spent([0])))
    cosines.append(cosine(total, truth))

figure, ax = show.picture(8.5, 4.6, alt="Cosine of the estimate with the true gradient: it follows the square root law.")
expected = [(q / 2 / values) ** 0.5 for q in asked]
ax.plot(asked, expected, ":", color="0.3", linewidth=2, label=f"square root of (pairs / {values:,})")
for k, (colour, marker) in enumerate(((show.BLUE, "o"), (show.RED, "s"))):
    ax.plot(asked, [float(c[k]) for c in cosines], color=colour, marker=marker, linewidth=2, label=f"a patient, {names[int(y[two[k]])]}")
ax.set(xlabel="queries about the patient", ylabel="cosine with the true gradient", title="How good is the estimate?", ylim=(0, None))
ax.grid(alpha=0.25)
ax.legend(frameon=False)
figure

# %% [markdown] tags=["instructor"]
# **Collect guesses for the cosine after 160 questions first.** Rooms say 0.5 and more. It is a few hundredths, and the
# dotted line is the square root law. **Ask:** "Would you follow an arrow that is nearly at a right angle to the way?"
# Take the noes. Then run the next cell.
#
# The word that helps is *vote*: a poor arrow, 49,152 voters, a tiny majority.

# %% [markdown]
# ### Explain
#
# Of m pairs the estimate knows m directions out of 49,152, and its cosine is about the square root of that share. A few
# hundredths. For a cosine of one half, the law asks for 12,288 pairs. It looks hopeless. Take a step along it all the
# same, half a grey level at each value, and compare with noise of that size and with the true gradient:

# %%
step = 0.5 / 255
mean_of_last = cosines[-1].mean().item()
tries = torch.stack([attacks.random_noise(x[two], eps=step) for _ in range(12)])
gain_of_noise = torch.stack([lead(attacks.Oracle(victim)(tried), y[two]) for tried in tries]) - distance[two]
ways = {"estimate": total, "true gradient": truth}
gain = {way: lead(attacks.Oracle(victim)((x[two] + step * d.sign()).clamp(0, 1)), y[two]) - distance[two] for way, d in ways.items()}
print(f"noise, 12 draws for each of two patients: the lead changes by {gain_of_noise.mean():+.2f} on average, spread {gain_of_noise.std():.2f}")
for way, gained in gain.items():
    print(f"{way:<14} the lead changes by {gained.mean():+.2f}")
print(f"a straight hill would give the estimate {0.8 * (asked[-1] / 2) ** 0.5:.0f} times the spread of noise")

# %% [markdown]
# The estimate is poor as an arrow and good as a *vote*. Each value of its sign is wrong nearly half of the time. But 49,152
# values vote, and a tiny majority among so many moves the answer. On a straight hill the gain is 0.8 times the square root of the
# pairs, in units of what noise does by chance (the 0.8 is the mean size of a normal number). The number of pixels drops out: a
# larger image needs no more questions for that.

# %%
claim("a cosine of a few hundredths: below 0.1", abs(mean_of_last) < 0.1, f"{mean_of_last:.3f}")
claim("it is near the square root law", abs(mean_of_last / expected[-1] - 1) < 0.5, f"{mean_of_last:.3f}, law {expected[-1]:.3f}")
by_chance = gain_of_noise.mean() + gain_of_noise.std()
claim("a step along it raises the lead by more than noise does, its spread included", gain["estimate"].mean() > by_chance)
claim("the true gradient raises it more", gain["true gradient"].mean() > gain["estimate"].mean())

# %% [markdown]
# ## Why in pairs?
#
# A simpler estimate asks only forward, and averages `score(x + sigma * u) / sigma * u`. On average over *all* directions it is
# right too, because `score(x) * u` averages to 0. A third way subtracts the score at `x`, asked once.
#
# ### Predict
#
# All three get 8 questions. Which one depends least on the luck of the draw? Does it matter how small sigma is?
#
# ### Exercise: `variance_of`
#
# Run an estimator several times with different seeds and measure how far the results are from each other. (`hint("variance_of")`)

# %% [markdown] tags=["instructor"]
# **Common wrong answers.** The mean over the values instead of the sum. The standard deviation. Divided by the number
# of runs and not by one less. Squared distance from 0. One pot of all runs and values. **Ask:** "What is the unit of
# your number? And what should come out if all runs agree?"


# %%
def variance_of(estimator, seeds):
    """How much an estimator depends on chance.

    Args:
        estimator: a function from a torch.Generator to an estimate, a tensor of any shape.
        seeds: whole numbers. Run the estimator once for each, with a fresh generator of that seed.

    Returns:
        The variance of the runs around their mean (divide by the runs less one), added up over all numbers of the
        estimate: one number.
    """
    ### BEGIN SOLUTION
    runs = torch.stack([estimator(torch.Generator().manual_seed(seed)) for seed in seeds])
    return runs.var(0).sum().item()
    ### END SOLUTION


variance_of = check.variance_of(variance_of)


# %%
def one_sided(score, x, questions, sigma, generator, baseline):
    """Forward questions only, with the score at x subtracted or not."""
    start = score(x) if baseline else 0.0
    total = torch.zeros_like(x)
    for _ in range(questions - baseline):
        u = torch.randn(x.shape, generator=generator).to(x)
        total += ((score(x + sigma * u) - start) / sigma).view(-1, 1, 1, 1) * u
    return total / (questions - baseline)


QUESTIONS = 8
surest = int(distance.argmin())
patient = slice(surest, surest + 1)
score = score_by(attacks.Oracle(victim), y[patient], [surest])
estimators = {
    "forward only": lambda sigma: lambda g: one_sided(score, x[patient], QUESTIONS, sigma, g, 0),
    "less the score at x": lambda sigma: lambda g: one_sided(score, x[patient], QUESTIONS, sigma, g, 1),
    "in pairs": lambda sigma: lambda g: nes_estimate(score, x[patient], QUESTIONS // 2, sigma, g),
}
sigmas = (1e-4, 1e-3, 1e-2)
length = true_gradient(victim, x[patient], y[patient]).square().sum().item()
variances = {name: [variance_of(make(sigma), range(4)) / length for sigma in sigmas] for name, make in estimators.items()}

figure, ax = show.picture(8.5, 4.6, alt="Variance of three estimators against sigma: asking forward only is far worse than the other two.")
for (name, values_of), colour, marker in zip(variances.items(), (show.RED, show.GREEN, show.BLUE), "^so", strict=True):
    ax.plot(sigmas, values_of, marker=marker, color=colour, linewidth=2, label=name)
ax.axhline(values / (QUESTIONS / 2), color="0.3", linestyle=":", label=f"{values:,} values / {QUESTIONS // 2} pairs")
ax.axhline(values / (QUESTIONS - 1), color="0.3", linestyle="--", label=f"{values:,} values / {QUESTIONS - 1} directions")
ax.set(xscale="log", yscale="log", xlabel="sigma, in pixel units", ylabel="variance / squared length of the gradient")
ax.set_title(f"Three ways to spend {QUESTIONS} questions (one patient, 4 runs each)")
ax.grid(alpha=0.25)
ax.legend(frameon=False)
figure

# %% [markdown]
# ### Explain
#
# Asked forward only, the answer is nearly the same number each time, the score at `x`. Divided by a small sigma it multiplies a
# random direction and drowns the slope. Both other ways remove it. The pairs remove more: whatever is the same on both sides,
# such as the curvature of the hill. The other has almost twice as many directions for the same money. Which of these two is ahead
# at which sigma, on your figure?
#
# On a straight hill each way has a price of its own: the number of values divided by the number of directions, 4 for the
# pairs (dotted) and 7 for the way that subtracts the score at `x` (dashed). As long as each value is drawn by itself, no way
# of asking gets below its line *on average*. It is the same law as before: with noise that long, the cosine is the square
# root of pairs divided by values. A curve may lie a little off its line all along: four runs scatter by a third or so, and
# every sigma was tried with the same four draws, so that one lucky draw lowers all its points. (At the largest sigma there is
# a second reason: the hill isn't straight over that distance, and what you estimate is the slope of a smoother one.)

# %%
ratio = [forward / paired for forward, paired in zip(variances["forward only"], variances["in pairs"], strict=True)]
claim("forward only has at least 100 times the variance of pairs at sigma = 0.001", ratio[1] > 100, f"{ratio[1]:,.0f} times")
claim("a smaller sigma makes it worse", variances["forward only"][0] > variances["forward only"][1])

# %% [markdown]
# ## Fewer dimensions
#
# 49,152 dimensions are the price of treating each value as if it had nothing to do with its neighbour. In an image it has. So
# ask about **blocks**: divide the image into 64 blocks, 8 across and 8 down (16 × 16 pixels each), and let all values of a
# block and colour move together. That leaves 3 × 64 = 192 dimensions. Your function needs no change: it estimates the
# gradient with respect to a small tensor `z`, one number for each block, that is enlarged and added to the image. What one
# knows about images beforehand is called a *prior*.
#
# ### Predict
#
# Over 192 dimensions the estimate settles soon. But close to what? The gradient in blocks is only the shadow of the full one.
# What happens to its cosine with the *full* gradient: is it higher or lower than before, after 160 questions?
#
# ### Run


# %%
CELLS = 8


def enlarge(z):
    """Blocks (N, 3, CELLS, CELLS) as an image (N, 3, H, W), the same number all over a block."""
    return F.interpolate(z, x.shape[-2:])


def nes_in_blocks(score, x, pairs, sigma, generator):
    """nes_estimate over blocks; returns an image (N, 3, H, W)."""
    z = torch.zeros(len(x), 3, CELLS, CELLS, device=x.device)
    return enlarge(nes_estimate(lambda z: score(x + enlarge(z)), z, pairs, sigma, generator))


oracle = attacks.Oracle(victim)
generator, total = torch.Generator().manual_seed(seed), torch.zeros_like(x[two])
in_blocks = []
for _ in range(10):
    total += nes_in_blocks(score_by(oracle, y[two], two), x[two], 8, 1e-3, generator)
    in_blocks.append(cosine(total, truth))

figure, ax = show.picture(8.5, 4.6, alt="The cosine with the true gradient, asked pixel by pixel and in blocks.")
for k, colour in enumerate((show.BLUE, show.RED)):
    name = names[int(y[two[k]])]
    ax.plot(asked, [float(c[k]) for c in cosines], color=colour, marker="o", linewidth=2, label=f"each value by itself, {name}")
    ax.plot(asked, [float(c[k]) for c in in_blocks], "--", color=colour, marker="s", linewidth=2, label=f"in {CELLS} × {CELLS} blocks, {name}")
ax.set(xlabel="queries about the patient", ylabel="cosine with the true gradient", title="The same number of questions, asked in blocks", ylim=(0, None))
ax.grid(alpha=0.25)
ax.legend(frameon=False, fontsize=10)
figure

# %% [markdown]
# ### Explain
#
# Blocks can't follow the fine grain of the gradient, so their cosine ends at a ceiling, printed below, however much you ask;
# 160 questions come about half of the way up. Do they start faster? That is a property of the victim: how much of its
# gradient points the same way all over a block. The last points of the figure:

# %%
ceiling = cosine(enlarge(F.adaptive_avg_pool2d(truth, CELLS)), truth)
for k, label in enumerate(y[two]):
    print(f"{names[int(label)]:<16} after {asked[-1]} questions: each value by itself {cosines[-1][k]:.3f}, in blocks {in_blocks[-1][k]:.3f}; their ceiling {ceiling[k]:.3f}")

# %% [markdown]
# Where blocks lose, as they do for the drawn patients of the skin clinic, the guess was wrong: in this gradient neighbouring
# values hardly go together. We use blocks in the attack all the same, for how their *noise* acts and not for the cosine. A
# poor estimate is mostly noise, and noise of single pixels does things of its own to these models. You will see both kinds
# below.

# %% [markdown]
# ## The attack
#
# PGD, with the estimate in place of the gradient. Some economy on top: an image is left alone as soon as it is turned, and
# old estimates are not thrown away but fade (*momentum*). `attacks.nes_attack` follows the same plan, but begins with steps
# of eps / 2 and shortens them where it is stuck.


# %%
def nes(oracle, x, y, eps, queries, pairs=10, momentum=0.9):
    generator = torch.Generator().manual_seed(seed)
    x_adv, direction, reached = x.clone(), torch.zeros_like(x), lead(oracle(x), y)
    for _ in range((queries - 1) // (2 * pairs + 1)):
        going = (reached <= 0).nonzero().flatten()  # rows of the patients who aren't turned yet
        if not len(going):
            break
        estimate = nes_in_blocks(score_by(oracle, y[going], going), x_adv[going], pairs, 1e-3, generator)
        direction[going] = momentum * direction[going] + estimate
        x_adv[going] = attacks.gradient.project(x_adv[going] + eps / 4 * direction[going].sign(), x[going], eps)
        reached[going] = lead(oracle(x_adv[going], going), y[going])
    return x_adv


# %% [markdown]
# The control must have the same budget: noise of size eps, drawn anew for each question, and the best draw kept. We write it as a
# **random search**, because you will need that again: somebody proposes a change, the oracle is asked, and what comes closer to
# the border is kept.


# %%
def climb(oracle, x, y, queries, propose):
    """Random search. `propose(x_adv, x, done)` returns new images to try; `done` is the share of the budget that is spent."""
    x_adv, best = x.clone(), lead(oracle(x), y)
    for k in range(1, queries):
        going = (best <= 0).nonzero().flatten()
        if not len(going):
            break
        proposal = propose(x_adv[going], x[going], k / queries)
        told = lead(oracle(proposal, going), y[going])
        better = told > best[going]
        x_adv[going[better]], best[going[better]] = proposal[better], told[better]
    return x_adv


def noise(oracle, x, y, eps, queries):
    return climb(oracle, x, y, queries, lambda x_adv, x, done: attacks.random_noise(x, eps=eps))


board = {}  # name: (images, success, queries of each patient)


def play(name, attack):
    """Let an attack at the patients, through a new oracle with the budget, and write the result on the board."""
    oracle = attacks.Oracle(victim, budget=queries)
    x_adv = attack(oracle, x, y, eps, queries)
    board[name] = x_adv, attack_success(victim, x, x_adv, y), oracle.spent(range(len(x)))


def print_board():
    print(f"eps {255 * eps:g}/255, at most {queries} queries a patient; 95 % intervals in brackets\n")
    print(f"{'':<11}{'turned':<21}{names[0]:<23}{names[1]:<23}median queries if turned")
    for name, (x_adv, success, spent) in board.items():
        turned = (metrics.logits(victim, x_adv).argmax(1) != y).cpu()
        middle = metrics.median(spent[turned].float())
        overall = f"{success:.2f} ({success.low:.2f} to {success.high:.2f})"
        classes = [f"{round(s * s.n)} of {s.n} ({s.low:.2f} to {s.high:.2f})" for s in success.by_class.values()]
        costs = f"{middle:.0f} ({middle.low:.0f} to {middle.high:.0f}), n = {middle.n}" if middle.n else "nobody turned"
        print(f"{name:<11}{overall:<21}{classes[0]:<23}{classes[1]:<23}{costs}")


# %% [markdown]
# ### Predict
#
# Eight patients, 220 questions each. How many does NES turn? And the best of 219 draws of noise? Do both classes fall alike?
#
# ### Run

# %%
play("noise", noise)
play("NES", nes)
print_board()

# %% [markdown] tags=["instructor"]
# **Read the noise row first**, aloud, before the room looks at NES. **Ask:** "Of those NES turned, how many would
# anything have turned?" Then class by class. If NES turned nobody more than noise did, that is a result: ask what the
# *figure* below shows which the table hides.

# %% jupyter={"source_hidden": true}
reached = {name: lead(attacks.Oracle(victim)(images), y) for name, (images, *_) in board.items()}
figure, ax = show.picture(9, 4.4, alt="For each patient: the lead of the wrong answer before, after the best noise, and after NES.")
place = torch.arange(n)
ax.axhspan(0, max(1.0, *(float(v.max()) + 0.5 for v in reached.values())), color=show.RED, alpha=0.08)
looks = {"clean": ("0.35", "_"), "noise": (show.GREEN, "^"), "NES": (show.BLUE, "o")}
for name, values_of in {"clean": distance, **reached}.items():
    colour, marker = looks[name]
    ax.plot(place, values_of.cpu(), marker, color=colour, markersize=11 if marker == "_" else 8, markeredgewidth=2, linestyle="", label=name)
ax.set_xticks(place, [f"{k + 1}\n{names[int(label)]}" for k, label in enumerate(y)], fontsize=9)
ax.set(ylabel="lead of the wrong answer", title=f"How far did {queries} questions get? (shaded: turned)")
ax.grid(alpha=0.25, axis="y")
ax.margins(y=0.2)  # room for the legend
ax.legend(frameon=False, ncols=3, loc="lower right")
figure

# %%
which = int((reached["NES"] - distance).argmax())  # the patient whose answer moved most
show.perturbation(x[which], board["NES"][0][which], victim, y[which], names)

# %% [markdown]
# ### Explain
#
# Where noise turns somebody, the attack deserves no credit: anything would have done it. That is what a control is for, and it must
# have the same budget. So look at the others. The figure shows what the table hides: how far did the questions get where nobody
# turned, and who got further there, NES or the best of 219 draws?
#
# 220 questions are few. NES never saw a gradient, and yet it moves the answers towards the border. Ilyas and others give their attack
# 10,000 queries as a default, and a million in the script for the paper [2].
#
# Now watch it at work, with 43 questions, of which NES spends 21 on a step. In the explorer below four of the patients are
# attacked by NES, and by an attack called Square which you will meet soon. Move the queries. Which patient turns first? What
# does the perturbation look like?

# %%
moved_by_nes = (reached["NES"] - distance).mean().item()
claim("NES moves the answers towards the border, on the mean of the patients", moved_by_nes > 0, f"lead {moved_by_nes:+.1f}, n = {n}")

# %%
some = torch.tensor([0, 1, n - 2, n - 1])
explore.queries(victim, x[some], y[some], names, attacks=("NES in blocks", "Square"), eps=eps, queries=43)

# %% [markdown]
# ## One direction, or the other
#
# Look at the board once more, class by class. A **fraudster** paid for treatment needs healthy → sick; one who must not pay needs
# sick → healthy. A **saboteur** who wants disease missed needs the second too; one who only wants confusion takes either. So a
# success rate over both classes answers only the last one's question.
#
# ### Predict
#
# Which of the two directions is easier here, and why? Two reasons are possible. Either the patients of one class stand closer
# to the border. Or *any* change of this size, noise included, pushes the answer the same way. The first can be measured by
# PGD, which has the gradient; the second by noise, which has no direction. There are two kinds of it: **grain**, each value
# by itself, as in the control, and **blocks**, as in the steps of NES. The figure shows the **log-odds** of the disease, log
# p(sick) minus log p(healthy): for a healthy patient that is the lead, for a sick one minus the lead.
#
# ### Run

# %% jupyter={"source_hidden": true}
FINEST = 2 / 255 / 2**7  # the search for the border ends here
border = attacks.smallest_eps(victim, x, y, largest=2 / 255, halvings=7, steps=5, random_start=False, stop_when_fooled=True).cpu()
dice = torch.Generator().manual_seed(seed)


def grain():
    return attacks.random_noise(x, eps=eps, generator=dice)


def blocks():
    signs = 2.0 * torch.randint(0, 2, (len(x), 3, CELLS, CELLS), generator=dice) - 1
    return (x + eps * enlarge(signs.to(x))).clamp(0, 1)


def log_odds(images):
    """Of the disease (N,)."""
    return metrics.logits(victim, images).diff(dim=1)[:, 0].cpu()


before = log_odds(x)
after = {kind.__name__: torch.stack([log_odds(kind()) for _ in range(6)]).mean(0) for kind in (grain, blocks)}

figure, (left, *others) = show.picture(13, 4.4, 1, 3, alt="Left: the smallest eps at which PGD turns each patient. "
                                       "Middle and right: log-odds of the disease before and after two kinds of noise.")  # fmt: skip
left.bar(place, 255 * border, color=[(show.BLUE, show.ORANGE)[int(label)] for label in y])
left.axhline(255 * FINEST, color="0.3", linestyle=":", label="the search ends here")
left.set(ylabel="smallest eps, in 1/255", title="With the gradient: distance")
left.legend(frameon=False)
for ax, (kind, ends) in zip(others, after.items(), strict=True):
    for label, colour in enumerate((show.BLUE, show.ORANGE)):
        mine = (y == label).cpu()
        for k in torch.nonzero(mine).flatten().tolist():
            ax.annotate("", (k, ends[k]), (k, before[k]), arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2.5})
        ax.plot(place[mine], before[mine], "o", color=colour, label=f"truth: {names[label]}")
    ax.axhline(0, color="0.3", linewidth=1)
    ax.set(ylabel=f"log-odds of {names[1]}", title=f"Without it: {kind} of {255 * eps:g}/255")
others[1].sharey(others[0])
others[0].autoscale()
others[0].legend(frameon=False)
for ax in (left, *others):
    ax.set_xticks(place, [str(k + 1) for k in range(n)])
    ax.set_xlabel("patient")
figure

# %%
drift = {kind: ends - before for kind, ends in after.items()}
for label in (0, 1):
    mine = (y == label).cpu()
    middle = metrics.median(255 * border[mine])
    print(f"{names[label]}, n = {int(mine.sum())}: median smallest eps {middle:.2f}/255 ({middle.low:.2f} to {middle.high:.2f})")
    for kind, by in drift.items():
        told = f"{by[mine].mean():+.1f} ({by[mine].min():+.1f} to {by[mine].max():+.1f})"
        print(f"    {kind:<7} moves the log-odds of {names[1]} by {told}")

# %% [markdown]
# ### Explain
#
# On the left: with the gradient in hand every patient falls to a fraction of the eps that we allow. The ball is not what saves
# those who are still standing; the questions ran out. Middle and right: noise doesn't leave the answer where it was. It *drifts*.
# Where an arrow points towards the border, the line at 0, an attack made of poor estimates gets help, because much of its
# perturbation is noise. Where it points away, the attack fights its own noise.
#
# So, on your images: which direction is easy, and is it the distance or the drift? The drift that helps an attack is that of its own
# kind of noise: blocks for NES, grain for the control. Compare both arrows with the board. If neither explains it, say so: four
# patients of a class may also differ by chance.
#
# *One worked reading, of the drawn skin patients.* Blocks push every answer towards melanoma, whatever the truth; grain does nothing
# of the kind. NES, which moves in blocks, turned nevi and no melanoma. So it is the drift, with some help from the distance, for the
# nevi stand nearer to the border. It would serve whoever is paid for treatment. Is your clinic's reading another one? Try another
# clinic (`clinic = "chest"` in the parameters, and run again).

# %%
claim("with the gradient every patient falls within half of the eps", bool((border <= eps / 2).all()), f"largest {255 * border.max():.2f}/255")
furthest = max(by.abs().max().item() for by in drift.values())
claim("noise does not leave the answers where they are: some log-odds move by more than 0.2", furthest > 0.2, f"{furthest:.1f}")

# %% [markdown]
# ## Labels alone
#
# The service learns from this and stops telling probabilities: *sick*, or *healthy*, no more. A label has no slope. A small
# step changes nothing, again and again, until it changes all at once.
#
# But a label can be asked *around* the image. Add noise of a radius, ask, and count in how many of the noisy copies the label is
# kept. That share does have a slope: closer to the border more copies fall on the other side. It is a **Monte Carlo** score, and
# NES can climb it [1].
#
# ### Exercise: `label_score`
#
# Count the noisy copies that keep the label. (`hint("label_score")`)

# %% [markdown] tags=["instructor"]
# **Common wrong answers.** `torch.rand` as it comes: the noise only makes brighter. Normal noise, which reaches beyond
# the radius. One draw for all copies, or for all images. **Ask:** "What score should an image get that lies exactly on
# the border?" Hold the answer (one half) against the figure that follows: where it isn't so, noise drifts.


# %%
def label_score(tell, x, label, copies, radius, generator):
    """The share of noisy copies that still carry the label.

    Args:
        tell: a function from images (N, 3, H, W) in [0, 1] to labels (N,), one question about each.
        x: images (N, 3, H, W) in [0, 1]. label: the labels (N,) to look for.
        copies: questions about each image.
        radius: of the noise: uniform, between -radius and radius at each value, drawn anew each time. Copies are cut to [0, 1].
        generator: torch.Generator of the noise.

    Returns:
        The score (N,), floats between 0 and 1.
    """
    ### BEGIN SOLUTION
    kept = torch.zeros(len(x), device=x.device)
    for _ in range(copies):
        noise = radius * (2 * torch.rand(x.shape, generator=generator).to(x) - 1)
        kept += tell((x + noise).clamp(0, 1)) == label
    return kept / copies
    ### END SOLUTION


label_score = check.label_score(label_score)

# %% [markdown]
# ### Predict
#
# The attacker brings an image of their own that already gets the answer that they want: from another patient, of the other class.
# Take the difference between the two at every pixel, and cut it off at a largest change: first at a large one, which leaves the
# attacker's image, then at smaller and smaller ones, which leave the patient's. Where along the way does the label change, and what
# does the score do there?
#
# ### Run

# %%
own_x, own_y = here.attacker.sample(64, seed=seed, balanced=True)
told = metrics.logits(victim, own_x).argmax(1)


def start_for(k):
    """The attacker's own image that gets the other answer and looks most like patient k."""
    others = own_x[told != y[k]]
    return others[(others - x[k]).flatten(1).norm(dim=1).argmin()]


start = torch.stack([start_for(k) for k in two.tolist()])
labels_only = attacks.Oracle(victim, reveals="label")
wanted = 1 - y[two[:1]]
COPIES = 20


def cut(size):
    """The attacker's image, cut off at `size` from the patient's."""
    return attacks.gradient.project(start[:1], x[two[:1]], size)


low, high = 0.0, (start[0] - x[two[0]]).abs().max().item()
for _ in range(8):  # halving: the label holds at `high`
    middle = (low + high) / 2
    low, high = (low, middle) if labels_only(cut(middle)) == wanted else (middle, high)


def score_at(images, radius):
    copies = torch.Generator().manual_seed(seed)
    return label_score(labels_only, images, wanted.expand(len(images)), COPIES, radius, copies).cpu()


radius = high  # by the attack's rule: halved until a fifth of the copies hold at the border
while score_at(cut(high), radius) < 0.2 and radius > high / 2**10:
    radius /= 2

cuts = torch.linspace(0, 2 * high, 13)
path = torch.cat([cut(size) for size in cuts.tolist()])
answers = (labels_only(path) == wanted).cpu()
smooth = score_at(path, radius)
between = int(((smooth > 0) & (smooth < 1)).sum())
figure, ax = show.picture(8.5, 4.4)
ax.step(255 * cuts, answers.float(), where="mid", color="0.35", linewidth=2, label="label: 1 where it is the wanted one")
ax.plot(255 * cuts, smooth, "o-", color=show.BLUE, linewidth=2, label=f"score: share of {COPIES} noisy copies, 95 % band")
bands = [metrics.proportion(round(share * COPIES), COPIES) for share in smooth.tolist()]
ax.fill_between(255 * cuts, [band.low for band in bands], [band.high for band in bands], color=show.BLUE, alpha=0.15, linewidth=0)
ax.set(xlabel="difference cut off at, in 1/255", ylabel="label, score", ylim=(-0.05, 1.05))
ax.set_title(f"A step, and a slope? (noise of radius {255 * radius:.2g}/255)")
ax.grid(alpha=0.25)
ax.legend(frameon=False)
figure.alt = (
    f"The label holds at {int(answers.sum())} of {len(cuts)} cuts, the nearest near {255 * high:.1f}/255. "
    f"The Monte Carlo score lies between 0 and 1 at {between} of them."
)
figure

# %% [markdown]
# ### Explain
#
# The label says *which side*. The score says *how near*, wherever it lies between 0 and 1. Does it pass one half where the
# label jumps? If not, that is the drift again: noise pushes the copies to one side by itself, and they cross the border
# before or after the image does. And where the score is flat, it is as silent as the label: the radius has to fit the
# distance. Here it was halved until a fifth of the copies held at the border. The attack follows the same rule, but starts
# from a tenth of the distance.
#
# The attack therefore doesn't begin at the patient's image, where all around the label isn't the wanted one. It begins at the
# *attacker's* image, where it is, and moves in: as close to the patient as the label holds, then a step up the score to gain
# room, and in again. `attacks.label_only_attack` does that. A rival, HopSkipJump [3], goes in the same way, but asks each
# random direction once: yes or no? Because a label says so little, the goal is twice the eps above, 8/255.

# %% jupyter={"source_hidden": true}
ways_in = {"Monte Carlo score": attacks.label_only_attack, "HopSkipJump": attacks.hop_skip_jump}
walks = {name: [[] for _ in two] for name in ways_in}
for name, attack in ways_in.items():
    oracle = attacks.Oracle(victim, reveals="label", budget=queries)

    def note(row, image, distance, oracle=oracle, walk=walks[name]):
        walk[row].append((int(oracle.spent([row])), distance, image))

    ends = attack(oracle, x[two], y[two], start, eps=2 * eps, queries=queries, generator=torch.Generator().manual_seed(seed), on_step=note)
    for row, image in enumerate(ends):
        if not torch.equal(image, x[two[row]]):  # it arrived
            note(row, image, (image - x[two[row]]).abs().max().item())

figure, axes = show.picture(11.5, 4.2, 1, 2, alt="Distance from the patient against queries, for two attacks that see labels alone.", sharey=True)
for row, ax in enumerate(axes):
    first = 255 * (start[row] - x[two[row]]).abs().max().item()
    for (name, walk), colour, marker in zip(walks.items(), (show.BLUE, show.RED), ("o-", "s--"), strict=True):
        ax.plot([0] + [q for q, *_ in walk[row]], [first] + [255 * d for _, d, _ in walk[row]], marker, color=colour, linewidth=2, label=name)
    ax.axhline(255 * 2 * eps, color="0.3", linestyle=":", label=f"goal: {255 * 2 * eps:g}/255")
    ax.set(xlabel="queries", title=f"a patient, {names[int(y[two[row]])]}", ylim=(0, None), xlim=(0, queries))
    ax.grid(alpha=0.25)
axes[0].set_ylabel("largest change of a pixel, in 1/255")
axes[0].legend(frameon=False)
figure

# %%
nearest = [min((step for walk in walks.values() for step in walk[row]), key=lambda step: step[1])[2] for row in range(2)]
show.perturbation(x[two[0]], nearest[0], victim, y[two[0]], names)

# %% [markdown]
# The label of this image is the wanted one. Does anything of the other patient show? Most of the way is made in the first 15
# questions or so. That is halving, which needs no gradient: is the label still the wanted one half of the way in? After that
# every step must be paid with an estimate. The Monte Carlo score pays 100 questions for each, and the budget buys two at
# most. HopSkipJump pays 100 for the first and 141 for the second, which is too dear: it makes one, and leaves the rest.
# Compare the two columns below: what did they gain, or lose? A vote of two copies says 0, a half or 1 and nothing finer, and
# may gain nothing at all with so few questions.

# %%
for name, walk in walks.items():
    ends = [255 * w[-1][1] for w in walk]
    halved = [255 * w[0][1] for w in walk]
    for k, label in enumerate(y[two]):
        print(f"{name:<18}{names[int(label)]:<16} after halving {halved[k]:3.0f}/255, after {queries} queries {ends[k]:3.0f}/255")
held = [int(victim(image[None]).argmax()) != int(y[k]) for k, image in zip(two.tolist(), nearest, strict=True)]
away = (start - x[two]).abs().amax((1, 2, 3)).tolist()
claim("both attacks move in, for both patients", all(w[-1][1] < first for walk in walks.values() for w, first in zip(walk, away, strict=True)))
claim("the label holds all the way", all(held))

# %% [markdown]
# ## A thousand questions
#
# Attacks of these kinds with 1,000 questions a patient, more than four times the budget above, on patients of this clinic. That takes
# minutes the first time, then it is kept, and with `long_curves = False` in the parameters it is left out: go on to the next
# section then. NES stands there twice, in blocks, as you asked, and pixel by pixel, as its paper has it. Both and Square see
# probabilities and may change a pixel by 4/255; the two that see labels may change it by 8/255.
#
# ### Predict
#
# Where are the curves of the two that see labels? Do the two classes rise alike?
#
# ### Run

# %% jupyter={"source_hidden": true}
if long_curves:
    study = studies.queries(here)
    figure, axes = show.picture(11.5, 4.3, 1, 2, alt="Success against queries for five attacks, one panel for each class.", sharey=True)
    for label, ax in enumerate(axes):
        for (name, outcome), colour, style in zip(study.items(), show.LINES, show.STYLES * 2, strict=False):
            grid = range(0, outcome.budget + 1, 10)
            ax.step(grid, [outcome.success(within=q, label=label) for q in grid], style, where="post", color=colour, linewidth=2.2, label=name)
        ax.set(xlabel="queries about a patient", title=f"truth: {names[label]}, n = {outcome.success(label=label).n}", ylim=(-0.03, 1.03))
        ax.grid(alpha=0.25)
    axes[0].set_ylabel("share of patients turned")
    axes[0].legend(frameon=False)
    for name, outcome in study.items():
        median = outcome.median()
        middle = f"median {median:.0f} queries ({median.low:.0f} to {median.high:.0f})" if median.n else "nobody turned"
        print(f"{name:<12} eps {255 * outcome.eps:g}/255: turned {outcome.success()}; {middle}")
        for label in (0, 1):
            print(f"{'':<13}{names[label]}: {outcome.success(label=label)}")
else:
    figure = "The study is left out, and so is what is said of it; set long_curves = True to see it."
figure

# %% [markdown]
# ### Explain
#
# Does a service that reveals only labels make the attack dearer here? Read the prices off your own curves, class by class, and mind
# that the attacks by labels were allowed twice the change. More patients, and the attacks of
# other libraries at the same budget, come from the command `python benchmarks/query_attacks.py`.

# %% [markdown]
# ## Hiding the gradient
#
# A vendor has read lesson 04 and builds a wall: before the model sees an image, its pixels are rounded to 32 levels. A small
# change then leaves most pixels on their level, and the levels are flat: the gradient is exactly zero.
#
# ### Predict
#
# What do PGD, NES and a search that looks at answers alone make of this victim? The search is the **Square attack** [4]: it
# proposes one square at a time, whose pixels all move by the full eps, and keeps it if the answer came closer. It has no
# gradient, estimated or other.
#
# ### Run


# %%
class Coarse(torch.nn.Module):
    """A victim whose gradient is masked: it sees images in 32 grey levels."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model((x * 31).round() / 31)


TRIAL = queries // 5  # a fifth of the budget, for four patients
masked = Coarse(victim).eval()
point = x[some].clone().requires_grad_()
(its_gradient,) = torch.autograd.grad(masked(point).sum(), point)
tried = {
    "PGD": lambda oracle, x, y: attacks.pgd(masked, x, y, eps=eps, steps=5, generator=torch.Generator().manual_seed(seed), random_start=False),
    "NES": lambda oracle, x, y: nes(oracle, x, y, eps, TRIAL),
    "Square": lambda oracle, x, y: attacks.square_attack(oracle, x, y, eps=eps, queries=TRIAL, generator=torch.Generator().manual_seed(seed)),
}
print("largest gradient of the masked victim:", its_gradient.abs().max().item())
moved = {}  # by the mask and the attack
for what, model in {"masked": masked, "no mask": victim}.items():
    at_first = lead(attacks.Oracle(model)(x[some]), y[some])
    for name, attack in tried.items():
        if model is victim and name == "PGD":
            continue  # lesson 04 showed what it does with a gradient
        x_adv = attack(attacks.Oracle(model, budget=TRIAL), x[some], y[some])
        moved[what, name] = lead(attacks.Oracle(model)(x_adv), y[some]) - at_first
        turned = int((lead(attacks.Oracle(model)(x_adv), y[some]) > 0).sum())
        print(f"{what:<9}{name:<8}turned {turned} of {len(some)}; the lead moved by", [round(value, 1) for value in moved[what, name].tolist()])
by_label = attacks.Oracle(masked, reveals="label", budget=TRIAL)
seen = [255 * (start[0] - x[0]).abs().max().item()]
arrived = attacks.hop_skip_jump(
    by_label, x[:1], y[:1], start[:1], eps=2 * eps, queries=TRIAL, on_step=lambda row, image, distance: seen.append(255 * distance)
)
if not torch.equal(arrived, x[:1]):
    seen.append(255 * (arrived - x[:1]).abs().max().item())
unmasked = [255 * d for q, d, _ in walks["HopSkipJump"][0] if q <= TRIAL]
print(f"labels alone, {TRIAL} queries, patient 1: in to {seen[-1]:.0f}/255; without the mask {min(unmasked, default=math.nan):.0f}/255")

# %% [markdown]
# ### Explain
#
# PGD stands still: there is nothing to follow, and whom it "turned" without moving was turned by the rounding alone. In a
# report that would read "robust". But behind the wall is the same model, with wrong answers nearly as close by, and whoever
# only asks finds them. Square's steps are the full eps, which takes about half of the pixels across an edge between two
# levels. NES asks with tiny steps; most values stay on their level, but the few near an edge jump, and their votes still
# count. Compare their rows with those without a mask: what did the wall cost? Labels never had a gradient to lose. (The last
# line shows the halving only: so few questions don't pay for an estimate.)
#
# The gradient was **masked**, not removed. That is why Carlini and others ask every evaluation of a defence for one attack that
# needs no gradient, and one that needs labels alone [5]. On ImageNet models and with eps 0.05, the Square attack fails on 0.0 to
# 0.3 % of images within 10,000 queries, and half of them take 24 queries or fewer [4].

# %%
claim("the gradient of the masked victim is exactly zero", its_gradient.abs().max() == 0)
claim("PGD moves nothing", bool((moved["masked", "PGD"] == 0).all()))
claim("Square brings at least one of them closer to the border", moved["masked", "Square"].max() > 0)

# %% [markdown]
# ## Spend your own
#
# Now you have 220 questions for each of the eight patients. What is the best attack that you can think of?
#
# You have seen what is wasteful. Noise forgets everything between two draws. NES spends 20 questions before it moves at all.
# Square begins with vertical stripes; its squares start at 2.4 % of the image and are below 1 % after a few questions, a plan
# that was chosen for photographs and for 10,000 queries. What is different about your images, your eps and your budget?
#
# ### Exercise: `my_attack`
#
# Write it as you like. `climb` above does the asking and the keeping; the easiest way is to give it a `propose` of your own.
# The check wants it to stay within eps and the budget, to use answers alone, and to turn four of eight patients of a small
# model, more than noise does. Its images have 16 × 16 pixels, so take every size from `x.shape`. (`enlarge` and `nes` above
# know the size of your patients only; use `F.interpolate(z, x.shape[-2:])`.) The score board says the rest.
# (`hint("my_attack")`)

# %% [markdown] tags=["instructor"]
# **As a contest:** one board; name, turned healthy, turned sick, median questions. Same parameters for all, twelve
# minutes. The hint gives the idea of the reference in words (windows first large, then small); offer it after five
# minutes, not before.
#
# **What people try, and what to ask.** Single pixels ("how much did one value move the answer, at the top of this
# lesson?"). Steps smaller than eps ("what do you save it for?"). The true gradient ("what does the oracle tell you?";
# the check notices). Noise kept forever ("what did your last question teach you?").
#
# **The winner runs it again with `seed = 1`.** Does the ranking stand? That is what eight patients
# can and can't tell; the text behind the board counts it.


# %%
def my_attack(oracle, x, y, eps, queries):
    """Turn as many patients as you can, with as few questions.

    Args:
        oracle: reveals probabilities (N, 2). oracle(images, ids) asks, with the row numbers of the patients as ids;
            oracle.left(ids) says how many questions they have left.
        x: images (N, 3, H, W) in [0, 1]. y: their labels (N,), which the model gets right.
        eps: the largest change of a pixel. queries: the budget of each patient.

    Returns:
        Images (N, 3, H, W) in [0, 1], within eps of x. The check's small model: at least 4 of its 8 patients turned.
    """
    ### BEGIN SOLUTION
    def propose(x_adv, x, done):
        side = round(x.shape[-1] * (0.75 - 0.55 * done))
        top, left = torch.randint(0, x.shape[-1] - side + 1, (2,)).tolist()
        window = (..., slice(top, top + side), slice(left, left + side))
        coins = torch.randint(0, 2, x.shape if torch.rand(()) < 0.5 else (len(x), 3, 1, 1)).to(x)
        x_adv[window] = (x + eps * (2 * coins - 1))[window]
        return x_adv.clamp(0, 1)

    return climb(oracle, x, y, queries, propose)
    ### END SOLUTION


my_attack = check.my_attack(my_attack)

# %%
torch.manual_seed(seed)


def square(oracle, x, y, eps, queries):
    return attacks.square_attack(oracle, x, y, eps=eps, queries=queries, generator=torch.Generator().manual_seed(seed))


play("Square", square)
play("my_attack", my_attack)
print_board()
fell = {name: (metrics.logits(victim, board[name][0]).argmax(1) != y) for name in ("Square", "my_attack")}
alone = {name: int((fell[name] & ~fell[other]).sum()) for name, other in (("Square", "my_attack"), ("my_attack", "Square"))}
print(f"\nturned by my_attack and not by Square: {alone['my_attack']}; by Square and not by my_attack: {alone['Square']}")

# %%
mine = board["my_attack"][0]
best = int((lead(attacks.Oracle(victim)(mine), y) - distance).argmax())
show.perturbation(x[best], mine[best], victim, y[best], names)

# %% [markdown]
# ### Explain
#
# Is yours ahead of the others? In which class? And could eight patients show it? Only those count whom one of the two turned and the
# other didn't, as if each were a toss of a coin. Six to nothing would happen by chance, one way or the other, in 3 of 100 such
# boards. Five to nothing, in 6. Less than that is no proof.
#
# A reference is behind `hint("my_attack")`, in words: large windows first, from the clean image; in one question the window
# moves as a whole, in another each of its pixels by a coin. Look at the perturbation above: what did the search keep, whole
# areas or grain? If your search proposed both, what it kept hints at what this victim listens to, in this patient; and you
# learnt it from answers alone.
#
# An area moved as a whole is not one direction among 49,152 but among a few dozen, and if the model listens to it, a few
# questions suffice. Grain is what noise has, and it drifts: a help in one direction, a hindrance in the other. A good **prior**,
# a guess what the model listens to, may be worth more than a good estimator.

# %%
ours, control = board["my_attack"][1], board["noise"][1]
claim("my_attack turns as many patients as noise or more, but for at most one", ours >= control - 1.01 / n, f"{ours:.2f} and {control:.2f}")
result("turned by my_attack", ours)
result("turned by noise", control)

# %% [markdown]
# ## Five minutes as the defender
#
# Change sides. You run the service, and you can't change the model tonight. What you can change is the door. The Oracle has a few
# switches:
#
# - `decimals=2`: round the probabilities;
# - `noise=0.5`: add noise to the logits of every answer;
# - `reveals="label"`: tell the label alone (in the table below as `decimals=0`, so that your attack can read it: 0 or 1);
# - `repeats=5, near=4/255`: lock who *repeats* nearly the same image more than five times, so at the seventh question. The
#   idea of remembering past queries to catch an attack is that of Chen, Carlini and Wagner [6];
# - `per_minute=6`: answer slowly.
#
# ### Predict
#
# Which of them stops your attack? And which will your honest customers notice?
#
# ### Run

# %% [markdown] tags=["instructor"]
# **Change sides physically**: whoever attacked now defends. Each pair names one switch and the honest customer whom it
# hurts, *before* the table. **At the last figure, ask:** "Move `near` so that the attacker who shifts is caught. Who
# else is gone?" A setting may catch a few who shift and none who average; none catches nearly all of the one and spares
# the other. Stop there; it is the right feeling to go home with.

# %%
doors = {
    "open": {},
    "2 decimals": {"decimals": 2},
    "label": {"decimals": 0},
    "noise 0.5": {"noise": 0.5},
    "5 repeats": {"repeats": 5, "near": 4 / 255},
}
honest_x, honest_y = here.test.sample(32, seed=seed + 1, balanced=True)
usual = metrics.logits(victim, honest_x).argmax(1)


SHORT = queries // 5  # a fifth of the budget, for four patients


def behind(door):
    """The victim behind a door. All doors draw the same random numbers, so that only the door makes a difference."""
    torch.manual_seed(seed)
    return attacks.Oracle(victim, **door, generator=torch.Generator().manual_seed(seed))


def attacked_through(door):
    """How many patients my_attack turns, and the questions that it got answered."""
    oracle = behind({"budget": SHORT, **door})
    try:
        x_adv = my_attack(oracle, x[some], y[some], eps, SHORT)
    except attacks.QueriesRefused:
        x_adv = x[some]  # caught: whatever it had found, it never came to return it
    return int((metrics.logits(victim, x_adv).argmax(1) != y[some]).sum()), oracle.total


print(f"{'the door':<14}{'turned':<12}{'questions':<12}honest customers whose answer changed")
through = {}
for name, door in doors.items():
    turned, through[name] = attacked_through(door)
    other = metrics.proportion((behind(door)(honest_x).argmax(1) != usual).sum(), len(usual))
    print(f"{name:<14}{turned} of {len(some):<7}{through[name]:<12}{other}")
slow = attacks.Oracle(victim, per_minute=6)
slow(honest_x)
hours = len(x) * queries / 6 / 60
print(f"\nsix a minute: {len(x)} patients with {queries} questions each take {hours:.1f} hours; {slow.total} honest ones, {slow.minutes:.0f} minutes")

# %% [markdown]
# ### Explain
#
# Read the table with care: each row is four patients and a fifth of the budget, and even four to nothing comes by chance now
# and then. So read the column of questions too. Whoever is locked out counts as 0: the attack never came to return an image.
#
# Rounding blunts small differences, and an attack that moves in large steps hardly minds it. Noise on the answers misleads a
# search that keeps whatever looks better, and it misleads customers who stand near the border: how many in your table? (An
# attacker can ask twice and take the mean, at twice the price.) Labels alone blind a search that needs to see each small
# gain, and what it still turns it turns by luck; the attacks made for labels go on, at the price you read off above. They
# cost the honest customer the probability, on which the operating threshold of lesson 02 was built. The rate limit turns
# minutes into an afternoon.
#
# The lock works: the attack is caught after a handful of questions a patient. But who else asks about nearly the same image again? A
# machine that sends a file once more after a time-out. A customer who averages the answers to several slightly shifted copies,
# which is a common way to make a model steadier. And what counts as "nearly"? The door compares small grey sketches of 16 × 16
# pixels.
#
# ### Predict
#
# We widen `near`, the distance below which two sketches count as the same. Whom does the door lock out, in which order: the
# attack, the customers who average, the customers whose machine sends a file six times? And an attacker who has read this page, and
# shifts every question by a pixel or two before sending it?
#
# ### Run


# %% jupyter={"source_hidden": true}
def proposals(image, count=20):
    """Questions as the reference attack asks them: the image with one window after another moved by eps."""
    for _ in range(count):
        side, tried = 64, image.clone()
        top, left = torch.randint(0, image.shape[-1] - side + 1, (2,)).tolist()
        tried[:, top : top + side, left : left + side] += eps * (2 * torch.randint(0, 2, (3, 1, 1)).to(image) - 1)
        yield tried.clamp(0, 1)


def shifted(image):
    return image.roll(torch.randint(-2, 3, (2,)).tolist(), (1, 2))


SHIFTS = [(0, 0), (1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, -1), (2, 2)]
habits = {
    "the attack": proposals,
    "the attack, each question shifted": lambda image: (shifted(tried) for tried in proposals(image)),
    "honest: average eight shifted copies": lambda image: [image.roll(shift, (1, 2)) for shift in SHIFTS],
    "honest: send a file six times": lambda image: [image] * 6,
}


def locked_out(habit, near, repeats=5):
    """Share of 24 customers whom the door locks out, when each asks about their own image in the way of a habit."""
    door = attacks.Oracle(lambda images: torch.zeros(len(images), 2), repeats=repeats, near=near)  # it need not think to refuse
    torch.manual_seed(seed)
    for customer, image in enumerate(honest_x[:24]):
        try:
            for version in habits[habit](image):
                door(version[None], ids=[customer])
        except attacks.QueriesRefused:
            pass
    return metrics.proportion(len(door.locked), 24)


nears = (0.5, 1, 2, 4, 8, 16)
figure, ax = show.picture(9.5, 4.8, alt="Share of customers locked out against how wide the door's idea of nearly the same is, for four habits.")
looks = ((show.RED, "o", "-"), (show.PURPLE, "^", "--"), (show.BLUE, "s", "-"), (show.GREEN, "D", ":"))
locked = {habit: [locked_out(habit, near / 255) for near in nears] for habit in habits}
for (habit, shares_locked), (colour, marker, style) in zip(locked.items(), looks, strict=True):
    ax.plot(nears, shares_locked, style, marker=marker, color=colour, linewidth=2, label=habit)
    ax.fill_between(nears, [v.low for v in shares_locked], [v.high for v in shares_locked], color=colour, alpha=0.1, linewidth=0)
ax.set(xscale="log", xlabel="near, in 1/255", ylabel="share of 24 customers locked out", ylim=(-0.05, 1.05))
ax.set_title("Who looks like an attacker? (five repeats allowed)")
ax.set_xticks(nears, [f"{near:g}" for near in nears])
ax.minorticks_off()
ax.grid(alpha=0.25)
ax.legend(frameon=False, fontsize=10, loc="center left")
for near, caught, lost in zip(nears, locked["the attack, each question shifted"], locked["honest: average eight shifted copies"], strict=True):
    print(f"near = {near:g}/255: locked out {round(24 * caught):2} of 24 attackers who shift, {round(24 * lost):2} of 24 customers who average")
figure

# %% [markdown]
# ### Explain
#
# At near = 4/255, as in the table, the plain attack is caught at once; with a much narrower `near` some slip through. Whoever
# sends a file six times is let in: five repeats are allowed, whatever `near` is, and the seventh would be refused just as
# surely. So this defence is worth having, and its edge is sharp.
#
# But compare the two lines in the middle: an attacker who shifts every question, and a customer who averages shifted copies. There
# may be a setting that catches some of the one and none of the other, because the attack's windows come on top of its shifts. The
# lines above the figure say what it costs to catch *nearly all* who shift. The paper that proposes the defence also introduces
# such attacks against it, which it calls *query blinding* [6]. (Our sketches are simpler than its detector.)
#
# And the counter counts *accounts*. Whoever opens a new one for each question is nobody's repeat. Lesson 05 needs hardly a
# question at all.

# %%
allowed = len(some) * SHORT
claim("with five repeats, the attack gets at most a fifth of its questions", through["5 repeats"] <= allowed / 5, f"{through['5 repeats']} of {allowed}")
plain, file = locked["the attack"][nears.index(4)], locked["honest: send a file six times"][nears.index(4)]
claim("at near = 4/255 the plain attack is locked out for nearly all of the 24", plain >= 0.9, f"{plain:.2f}")
claim("and nobody who sends a file six times", file == 0)
all_caught = [lost for caught, lost in zip(*(locked[habit] for habit in list(habits)[1:3]), strict=True) if caught >= 0.9]
claim("wherever nearly all who shift are caught, some who average are caught with them", min(all_caught, default=1.0) > 0,
      f"at least {min(all_caught, default=1.0):.2f}")  # fmt: skip

# %% [markdown]
# <div style="border-left: 5px solid #0072B2; padding: 4px 14px;">
#
# ### In the clinic
#
# **Who can ask?** The *vendor* has the weights and needs no question. The *hospital* asks all day, under its own account, and
# sees probabilities where the product shows them. An *insurer* or the *sponsor of a trial* may run the same product on files of
# their own: a licence is all they need. A *patient* sees a letter with a word in it, once: labels, and a budget of one.
#
# **What does a question cost?** Money, if answers are billed one by one. Time: 220 questions at six a minute are 37 minutes, and
# nobody needs to sit there. An account with a name on it. None of it is much next to one false claim.
#
# **What would the log show?** 220 images of one patient in one night, all alike, none of them from the scanner's own series. A
# person who looks sees it at once. So: keep the images that were asked about, not just the count; look at them by patient; and
# know what a normal night looks like.
#
# </div>

# %% [markdown]
# ## Quiz

# %%
quiz(
    "The cosine of your estimate with the true gradient is 0.04. Why is a step along its sign still worth taking?",
    [
        "Each pixel's vote is only a little better than chance, but there are 49,152 of them",
        "The cosine is measured wrongly in high dimensions",
        "Momentum turns it into the true gradient",
    ],
    answer="Each pixel's vote is only a little better than chance, but there are 49,152 of them",
    why="The gain over noise is about 0.04 times the square root of 49,152, times 0.8: seven times what noise does by chance.",
)

# %%
quiz(
    "You want twice the cosine. How many more questions does it take, as long as they are few next to the pixel values?",
    ["Four times as many", "Twice as many", "None: a smaller sigma does it"],
    answer="Four times as many",
    why="The cosine grows with the square root of the number of pairs.",
)

# %%
quiz(
    "A vendor reports: PGD with 100 steps and 10 restarts turns no image. What do you ask for first?",
    [
        "An attack that needs no gradient, such as Square, and one on labels alone",
        "1,000 steps",
        "A larger test set",
    ],
    answer="An attack that needs no gradient, such as Square, and one on labels alone",
    why="If the gradient is masked, no number of steps along it helps. An attack by answers tells a hidden gradient from a robust model.",
)

# %%
quiz(
    "An attack turns 50 % of patients: all healthy ones and no sick one. Who should worry?",
    [
        "Whoever pays for treatments: a fraudster needs just that direction",
        "Nobody much: half of the attacks fail",
        "Whoever fears missed diseases",
    ],
    answer="Whoever pays for treatments: a fraudster needs just that direction",
    why="Healthy people who look sick are treated and billed. For that fraudster the success is 100 %. Read success class by class.",
)

# %% [markdown]
# ## What you now know
#
# - From answers alone one can estimate a gradient. The cosine is about the square root of pairs divided by values; a few
#   hundredths suffice, and the number of pixels drops out.
# - Ask in pairs, or subtract what is known: else the estimate drowns in its own variance.
# - A label has no slope, but the share of noisy copies that keep it has one.
# - A masked gradient stops PGD and stops nobody else.
# - A prior may be worth many questions: whole areas, or grain? Let the answers tell what the model listens to.
# - Two directions, two success rates. Ask which one your attacker wants, and whether noise alone already drifts there.
# - A defender can make questions dearer. What each measure costs the honest has to be counted too.
#
# In lesson 07 the attack leaves the pixels' small changes behind: a patch may look like anything, as long as it works everywhere.

# %% [markdown]
# ## Sources
#
# 1. Ilyas, Engstrom, Athalye, Lin: *Black-box Adversarial Attacks with Limited Queries and Information*, ICML 2018, arXiv 1804.08598.
# 2. The authors' code, github.com/labsix/limited-blackbox-attacks.
# 3. Chen, Jordan, Wainwright: *HopSkipJumpAttack*, arXiv 1904.02144.
# 4. Andriushchenko, Croce, Flammarion, Hein: *Square Attack*, ECCV 2020, arXiv 1912.00049; the figures are in the table of
#    github.com/max-andr/square-attack: Inception-v3 0.3 % and 24 queries, ResNet-50 0.0 % and 11, VGG-16-BN 0.0 % and 1.
# 5. Carlini et al.: *On Evaluating Adversarial Robustness*, arXiv 1902.06705, the checklist.
# 6. Chen, Carlini, Wagner: *Stateful Detection of Black-Box Adversarial Attacks*, arXiv 1907.05587.
