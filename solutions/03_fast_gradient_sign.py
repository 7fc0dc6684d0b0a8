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
# # 03 The fast gradient sign attack (FGS)
#
# **You write your first attack. It takes one step, it fits in two lines, and no eye can see what it did.**
#
# At the end you will be able to
# - compute the gradient of the loss at the *pixels*, and say how that differs from training;
# - write the fast gradient sign attack, and say why it takes the sign;
# - judge an attack fairly: against a control of the same size, on the patients who were diagnosed rightly before, in
#   each direction;
# - draw and read a curve of accuracy against the size of the attack;
# - say which sizes survive in a file, and why one big step is not the strongest attack.
#
# | | |
# |---|---|
# | Time | 60 to 80 minutes; a good place for a pause is the end of section 4 |
# | You need | [lesson 00](00_start_here.ipynb) (images, logits, checks); what a loss and a training step are ([lesson 02](02_fine_tune_the_victim.ipynb)); sensitivity and specificity ([lesson 01](01_deep_learning_in_medicine.ipynb)) |
# | Your machine needs | nothing more: no network, no GPU |
#
# Everything that you attack here is a model of this course, on public or synthetic images. Keep it so.

# %% [markdown] tags=["instructor"]
# **In two minutes.** "In training you ask which way each weight should move so that the loss falls. The pixels went
# into the same computation. Nobody stops you from asking the pixels, and nobody stops you from going *up*." Then go
# straight to the first question.
#
# **Set up.** Nothing to train. Turn the projector's sharpening off if it has any: 2/255 should not be seen, and on some
# it is.
#
# **Time.** Section 1: 10 minutes, 2: 5, 3: 15, 4: 12, 5: 10, 6: 5, the rest 3. **To stop after half an hour:** at the
# end of section 4, without the comparison with the scaled gradient. Section 6 can be told in one sentence: less than
# half a grey level is rounded away.

# %% tags=["parameters"]
clinic = "derm"  # "chest", "fundus" or "derm"
images = "auto"  # "auto", "phantom", "medmnist", "real" or a folder of your own
n = 28  # test patients, half of them sick
levels = 2  # size of the attack in most of the lesson, in grey levels: the 255 steps from black to full
seed = 0  # of every random draw

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
    hint,  # noqa: F401 (for you)
    metrics,
    models,
    open_clinic,
    progress,
    quiz,
    result,
    show,
)

torch.manual_seed(seed)
here = open_clinic(clinic, images)
here.banner()

# %% [markdown]
# Your victim is the classifier of this clinic. `freeze` makes a copy of it that gives the same answers, and whose
# weights cannot move: from now on only pixels do. That also makes its gradients cheaper.

# %%
victim = freeze(here.victim())
classes = [name.replace("_", " ") for name in here.classes]
eps = levels / 255
x, y = here.test.sample(n, seed=seed, balanced=True)
before = evaluate(victim, x, y)
print("accuracy   ", before.accuracy)
print("sensitivity", before.sensitivity)
print("specificity", before.specificity)
show.gallery(x[:8], y[:8], classes, victim)

# %% [markdown]
# You need one patient to look at closely: somebody who is sick, whom the victim recognises, and whom the attack of this
# lesson is going to fool. Not everybody is; how many, the line of the sick in section 4 shows. Of those who are, take the one
# in the middle. (If it fools none, you get the sick patient of whom the victim is surest.)

# %%
# The probability of the true class, for each patient.
truth_probability = metrics.logits(victim, x).softmax(1).gather(1, y[:, None])[:, 0]
recognised = (truth_probability > 0.5) & (y == 1)
will_fall = metrics.logits(victim, attacks.fgs(victim, x, y, eps=eps)).argmax(1) != y
# Those who will fall first, the surest of them in front.
ranked = (truth_probability * recognised * (1 + will_fall)).argsort(descending=True)
chosen = int(ranked[int((recognised & will_fall).sum()) // 2])
patient, truth = x[chosen : chosen + 1], y[chosen : chosen + 1]  # still a batch, of one
sure = show.percent(truth_probability[chosen].item())
print(f"Your patient: {classes[int(truth)]}, and the victim says so with probability {sure}.")

# %% [markdown]
# ## 1. One loss, two gradients
#
# The **loss** measures how badly the victim does on an image. Here it is the cross-entropy, $-\log p$, where $p$ is the
# probability that the victim gives to the truth. It is near 0 when the victim is right and sure. With two classes the answer
# turns at $p = 0.5$, where the loss is $\log 2 \approx 0.69$. As $p$ falls further, towards 0, the loss grows without end.
#
# In training you asked: *if this weight grew a little, what would the loss do?* The answers, one for each weight, are
# the **gradient**, and training takes a step against it, down the hill.
#
# ### Predict
#
# The image went into the same computation. What stops you from asking the same question about a *pixel*?
#
# The cell below asks both, with the same line. (It uses a small model with fresh weights, because those of your victim
# are frozen.) What will the shape of each gradient be? How many numbers is that?
#
# ### Run

# %%
small = models.SmallCNN().to(x.device).eval()  # 0.1 million weights, just drawn: it knows nothing yet
image = patient.clone().requires_grad_()  # "watch these pixels"
loss = F.cross_entropy(small(image), truth)

at_the_weights = torch.autograd.grad(loss, list(small.parameters()), retain_graph=True)
(at_the_pixels,) = torch.autograd.grad(loss, image)

numbers = sum(part.numel() for part in at_the_weights)
print(f"gradient at the weights: {numbers:,} numbers, in {len(at_the_weights)} tensors")
print(f"gradient at the pixels:  {at_the_pixels.numel():,} numbers, in the shape {tuple(at_the_pixels.shape)}")

# %% [markdown]
# ### Explain
#
# Nothing stops you. The gradient at the pixels has the shape of the image: a number for each colour of each pixel. If
# it says 3 at some place, then making that value larger by a tiny $h$ makes the loss larger by about $3h$.
#
# | | training | attack |
# |---|---|---|
# | what is held still | the images | the weights |
# | what moves | the weights | **the pixels** |
# | which way | down the hill: the loss shall fall | **up the hill: the loss shall rise** |
# | for whom | all patients together | this one patient |
#
# The talk that this course grew from has it in one line: "FGS, small perturbation in the direction of gradient (up the
# hill)" [1].
#
# ### Exercise 1: the input gradient
#
# Write it for a batch. Mind one thing: **each image has a loss of its own**, and its gradient must not depend on who
# else is in the batch. Work on a copy of `x`, so that the caller's images are left alone. (Stuck?
# `hint("input_gradient")`.)

# %% [markdown] tags=["instructor"]
# **Common wrong answers.** The mean over the batch: everything is right but 8 times too small. Softmax in front of the
# cross-entropy. The gradient of a logit, or of the probability. The model's answers in place of the labels.
# `requires_grad` left on in the caller's images.
#
# **Ask:** "Push one pixel by 0.001. What does the loss do, and what did your gradient say?" (The check does just that,
# and quotes both.) To the mean: "Would FGS notice?" It wouldn't, it takes the sign; whoever compares patients would.


# %%
def input_gradient(model, x, y):
    """The gradient of each image's own loss at its pixels.

    Args:
        model: maps images to logits (N, 2).
        x: images, float tensor (N, 3, H, W), in [0, 1].
        y: true labels, int64 tensor (N,).

    Returns:
        A tensor shaped as x: how fast the cross-entropy of an image grows with each of its pixel values.
    """
    ### BEGIN SOLUTION
    x = x.clone().requires_grad_()
    loss = F.cross_entropy(model(x), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    return gradient
    ### END SOLUTION


input_gradient = check.input_gradient(input_gradient)

# %% [markdown]
# ## 2. Up the hill
#
# ### Predict
#
# You stand on your patient's image, and you may take one step. Every pixel value moves by the same amount, at most 2
# levels of 255. You choose for each value whether it goes up or down. Three ways to choose:
#
# - **uphill**: as the sign of the gradient says;
# - **at random**: by the toss of a coin, for each value;
# - **downhill**: against the sign of the gradient.
#
# Nobody could tell the three images apart by eye. What does the loss do in each case, as the step grows? Sketch three
# curves.
#
# ### Run

# %%
steps = torch.tensor([0, 0.06, 0.12, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2], device=x.device) / 255
uphill = input_gradient(victim, patient, truth).sign()


def probability_after(walked):
    """The probability of the truth on versions (S, 3, H, W) of the patient's image."""
    return metrics.logits(victim, walked).softmax(1)[:, int(truth)].cpu()


def walk(direction):
    """The patient's image after steps of every size along a direction."""
    return (patient + steps[:, None, None, None] * direction).clamp(0, 1)


paths = {"uphill": probability_after(walk(uphill)), "downhill": probability_after(walk(-uphill))}
tosses = [
    probability_after(attacks.random_noise(patient.expand(len(steps), -1, -1, -1), eps=steps, generator=generator))
    for generator in (torch.Generator().manual_seed(seed + toss) for toss in range(5))
]

at_one = int((steps * 255 - 1).abs().argmin())
said = ", ".join(f"{name} {path[at_one]:.2f}" for name, path in [*paths.items(), ("at random", tosses[0])])
words = f"Loss and probability of the truth of one patient after a step. Probability after 1/255: {said}."
figure, (left, right) = show.picture(11, 4.6, 1, 2, alt=words)
for panel, measure in ((left, lambda p: -p.clamp(min=1e-12).log()), (right, lambda p: p)):
    for (name, path), colour, style in zip(paths.items(), (show.RED, show.BLUE), ("-o", "-s"), strict=True):
        panel.plot(steps.cpu() * 255, measure(path), style, color=colour, linewidth=2, markersize=5, label=name)
    for toss, path in enumerate(tosses):
        label = f"at random, {len(tosses)} times" if toss == 0 else None
        panel.plot(steps.cpu() * 255, measure(path), "--", color="0.35", linewidth=1.2, label=label)
    panel.set_xlabel("size of the step, in 1/255")
    panel.grid(alpha=0.25)
left.axhline(torch.tensor(2.0).log().item(), color=show.BLACK, linewidth=1, linestyle=":", label="the answer turns")
right.axhline(0.5, color=show.BLACK, linewidth=1, linestyle=":")
left.set(ylabel="loss (cross-entropy)", title="The hill")
right.set(ylabel=f"probability of {classes[int(truth)]}", title="What the victim says", ylim=(-0.03, 1.03))
figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
figure

# %% [markdown] tags=["instructor"]
# **Ask the room, in this order:** "Which of the three curves did you draw wrong?" (Mostly the noise: people expect it
# to climb.) "Downhill makes the model surer. Could somebody want that?" (On an image it gets wrong: a mistake that
# nobody questions.) "Why does the red curve bend at its right end?" Don't answer the last one: it is section 5, and
# lesson 04.

# %% [markdown]
# ### Explain
#
# Three steps of the same size; three fates. At random, little happens, whichever coins you toss. Along the gradient's
# sign the loss shoots up. Against it the victim becomes *surer*. Directions picked blindly are nearly flat; this one is
# steep.
#
# Look at the right end of your curves as well. You asked for the way up once, at the start, and then walked straight
# on. Further out the path may flatten, or lead down again. Keep that in mind until section 5.
#
# One patient proves little. Here are the means over all of them, for a small step: a quarter of a level.

# %%
slopes = input_gradient(victim, x, y)
tiny = 0.25 / 255
coins = attacks.random_noise(x, eps=tiny, generator=torch.Generator().manual_seed(seed))


def mean_loss(walked):
    """Mean cross-entropy over all patients."""
    return F.cross_entropy(metrics.logits(victim, walked), y).item()


still, noise_loss = mean_loss(x), mean_loss(coins)
up_loss, down_loss = (mean_loss((x + way * tiny * slopes.sign()).clamp(0, 1)) for way in (1, -1))
claim(
    "0.25/255 uphill raises the mean loss, and by far more than noise of that size changes it",
    up_loss - still > 5 * abs(noise_loss - still),
    detail=f"from {still:.2f} to {up_loss:.2f}; noise {noise_loss:.2f}; n = {len(x)}",
)
claim("0.25/255 downhill lowers it", down_loss < still, detail=f"from {still:.2f} to {down_loss:.2f}; n = {len(x)}")

# %% [markdown]
# ## 3. What the hill looks like, and why the sign
#
# ### Predict
#
# The gradient is an image itself: here steep, there flat. Your patient is sick, and the victim recognised it. **Where
# will the gradient be large?** On the disease, on its border, everywhere? In large patches or in specks?
#
# ### Run
#
# The slope is summed over the three colours. Orange: the loss grows if this pixel becomes brighter. Purple: it grows if
# the pixel becomes darker. White: flat. The scale ends at the 99th percentile, the same on both sides; steeper pixels
# have the last colour.

# %%
slope = slopes[chosen].cpu() / 255  # for one level
summed = slope.sum(0)
top = summed.abs().flatten().quantile(0.99).item()
ordered = slopes.abs().flatten(1).sort(1, descending=True).values
steepest = ordered[:, : ordered.shape[1] // 10].sum(1)
tenth = steepest / ordered.sum(1)  # the share of the slope that a tenth of the values holds

words = "An image; its slope, scattered in specks over the whole image; and the sign of the slope, full on everywhere."
figure, (one, two, three) = show.picture(12.5, 4.1, 1, 3, alt=words)
one.imshow(show.pixels(patient[0]))
one.set_title(f"the patient: {classes[int(truth)]}")
drawn = two.imshow(1000 * summed, cmap="PuOr_r", vmin=-1000 * top, vmax=1000 * top)
two.set_title("the gradient")
figure.colorbar(drawn, ax=two, label="change of the loss per level, times 1,000", shrink=0.8)
three.imshow(show.pixels((1 + slope.sign()) / 2))
three.set_title("its sign, in each colour")
for panel in (one, two, three):
    panel.set(xticks=[], yticks=[], frame_on=False)
print(f"The steepest tenth of the values holds {100 * tenth.mean():.0f} % of all slope (mean of {len(x)} patients).")
figure

# %% [markdown] tags=["instructor"]
# **Ask:** "Where is the disease in the middle picture?" and let somebody point. Then: "Would you show this to a doctor
# as the reason for the diagnosis?"
#
# **At the next prediction** (2, 20 or 200 times?) take a vote. Hardly anybody says 200; the line under the figure gives
# the number for your patients. The step from that line to the square root of 49,152 is the one piece of arithmetic
# worth doing on the board.

# %%
claim(
    "for no patient does the steepest tenth of the pixel values hold three quarters of the slope",
    tenth.max() < 0.75,
    detail=f"at most {tenth.max():.2f}, at least {tenth.min():.2f}; n = {len(x)}",
)

# %% [markdown]
# ### Explain
#
# You may find more of it near the disease. Is it a drawing of the disease, or a dust of specks, with orange and purple side
# by side? The line above says how much lies outside the steepest tenth. So small changes in many places, also where no doctor
# would look, move the loss. Such a picture is sometimes offered as an explanation of what a model "sees" (a *saliency map*).
# You now know what it really answers: in which direction the answer is easiest to move.
#
# ### Predict
#
# Now spend your budget. The rule is a common one of this field, the **L-infinity** limit: *no pixel value may move by
# more than* $\varepsilon$ (eps), and all may move at once. For a small change $\delta$ the loss follows its slope $g$:
#
# $$\text{loss}(x + \delta) \;\approx\; \text{loss}(x) + \sum_i g_i\,\delta_i \qquad\text{with}\qquad -\varepsilon \le \delta_i \le \varepsilon$$
#
# 1. Which $\delta$ makes the sum largest? Should the steep pixels get more than the flat ones?
# 2. Noise spends $\pm\varepsilon$ at each value too, but its terms cancel for the most part. With the 49,152 values of
#    a 128 by 128 image, how much larger is the best sum than that of noise? Nearer to 2 times, to 20 or to 200?
#
# ### Run
#
# Suppose that you could touch only a few of your patient's pixel values, drawn at random, and then more and more of
# them.

# %%
values = slopes[chosen].flatten().cpu().double() * eps  # what each value can add to the sum
shuffled = values[torch.randperm(len(values), generator=torch.Generator().manual_seed(seed))]
counts = [count for count in (10, 30, 100, 300, 1_000, 3_000, 10_000) if count < len(values)] + [len(values)]
best = [shuffled[:count].abs().sum().item() for count in counts]
signs = 2 * torch.randint(0, 2, (30, len(values)), generator=torch.Generator().manual_seed(seed)).double() - 1
typical = [(signs[:, :count] @ shuffled[:count]).square().mean().sqrt().item() for count in counts]

flat = slopes.flatten(1)
advantage = flat.norm(p=1, dim=1) / flat.norm(p=2, dim=1)  # of the sign over noise, for each patient
figure = show.curves(
    {"along the sign": (counts, best), "noise (typical of 30 draws)": (counts, typical)},
    xlabel="pixel values that may move",
    ylabel="change of the loss, if the slope held",
    title="Many small pushes",
    logx=True,
)
figure.axes[0].set_yscale("log")
figure

# %%
span = f"{advantage.min():.0f} to {advantage.max():.0f}"
print(f"The sign's sum is {span} times as large as the noise's (n = {len(x)} patients).")
claim("for every patient, the sign pushes more than 50 times as hard as noise of the same size", advantage.min() > 50)

# %% [markdown]
# ### Explain
#
# 1. Each term of the sum has a budget of its own, and what one pixel leaves unused helps no other. So each takes all of
#    it: $\delta_i = \varepsilon\,\operatorname{sign}(g_i)$. The size of the slope says how much a pixel is worth, and
#    its sign is all that you need to spend it. The sum is then $\varepsilon\,(|g_1| + |g_2| + \dots)$, which is
#    $\varepsilon\,\lVert g\rVert_1$.
# 2. With $d$ values, the sign's sum grows like $d$: ten times as many values push ten times as hard. The noise's terms
#    cancel, and its sum grows like $\sqrt d$: about three times. (Both axes are logarithmic; compare how steep the
#    lines are.) The advantage can be at most $\sqrt{49{,}152} \approx 222$, and you get a good part of that, as the line
#    above says.
#
# That is the argument of the paper that gave the attack its name [2]: "the primary cause of neural networks'
# vulnerability to adversarial perturbation is their linear nature". Not because the models are crooked, but because
# they are so straight, in so many dimensions. Its famous picture, as quoted in [3], is a panda, recognised with 57.7 %
# confidence, that becomes a gibbon with 99.3 %.
#
# ### Exercise 2: the step
#
# Now write the attack. Use your `input_gradient`. Images stay between 0 and 1, so a white pixel cannot become whiter.
# (`hint("fgs")`)

# %% [markdown] tags=["instructor"]
# **Common wrong answers.** Minus in place of plus: the loss falls, and the check says from where to where. `eps / 255`
# once more: `eps` is in pixel units already. The gradient without its sign: nearly all of the budget is left. No
# `clamp`. The loss of the model's own answer: patients it had wrong come out right.
#
# **Ask:** "What was the loss before, what is it now, and is that where you wanted to go?" The check prints it. Whoever
# is done early: "How many pixel values did *not* move by exactly eps, and why?"


# %%
def fgs(model, x, y, eps):
    """The fast gradient sign attack: one step of size eps up the hill.

    Args:
        model: maps images in [0, 1] to logits (N, 2).
        x: images, float tensor (N, 3, H, W), in [0, 1].
        y: true labels, int64 tensor (N,).
        eps: how far each pixel value moves, in units of the [0, 1] scale, e.g. 2/255.

    Returns:
        Attacked images, a tensor shaped as x, in [0, 1].
    """
    ### BEGIN SOLUTION
    gradient = input_gradient(model, x, y)
    return (x + eps * gradient.sign()).clamp(0, 1)
    ### END SOLUTION


fgs = check.fgs(fgs)

# %%
x_adv = fgs(victim, x, y, eps)
difference = (x_adv - attacks.fgs(victim, x, y, eps=eps)).abs()
claim(
    "your attack is the library's: fewer than 1 value in 1,000 differs",
    (difference > 1e-6).double().mean() < 1e-3,
    detail=f"n = {len(x)} images",
)

# %% [markdown]
# ### Predict
#
# Test the argument about the sign on the victim itself, with a very small budget: a quarter of a level, where the slope
# can still be trusted. The rival takes the gradient *as it is*, scaled so that its largest entry is eps. That obeys the
# same limit, and it gives most to the pixels that matter most. It sounds clever. How many of the patients does it fool,
# compared with the sign?
#
# ### Run
#
# **Attack success** is counted over the patients whom the victim diagnosed rightly before. The others need no attack.

# %%
scaled = slopes / slopes.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-30)
ways = {
    "noise": coins,
    "gradient, scaled": (x + tiny * scaled).clamp(0, 1),
    "sign of the gradient": fgs(victim, x, y, tiny),
}
successes = {name: attack_success(victim, x, changed, y) for name, changed in ways.items()}
for name, changed in ways.items():
    spent = (changed - x).abs().mean() / tiny
    print(f"{name:<21} spends {100 * spent:3.0f} % of the budget; success {successes[name]}")

told = ", ".join(f"{name} {float(success):.2f}" for name, success in successes.items())
figure, ax = show.picture(8.5, 2.9, alt=f"Attack success at 0.25/255 with 95 % intervals: {told}.")
for row, (success, colour) in enumerate(zip(successes.values(), ("0.55", show.SKY, show.RED), strict=True)):
    ax.barh(row, float(success), color=colour)
    ax.plot([success.low, success.high], [row, row], color=show.BLACK, linewidth=2, marker="|", markersize=10)
ax.set(
    yticks=range(len(successes)),
    yticklabels=list(successes),
    xlim=(0, 1.02),
    xlabel="attack success, with its 95 % interval",
)
ax.set_title("The same limit of 0.25/255, spent in three ways")
figure

# %%
rise = {name: mean_loss(changed) - still for name, changed in ways.items()}
claim(
    "the sign raises the mean loss more than the scaled gradient does",
    rise["sign of the gradient"] > rise["gradient, scaled"],
    detail=f"by {rise['sign of the gradient']:.2f}, against {rise['gradient, scaled']:.2f}; n = {len(x)}",
)
claim("and it fools no fewer patients", successes["sign of the gradient"] >= successes["gradient, scaled"])

# %% [markdown]
# ### Explain
#
# The scaled gradient moves one single value by all of eps. The others could move as far, and it leaves nearly all of
# that unspent. Under *this* limit that is waste. Under another limit it would be right: if the *length* of the whole
# change were bounded (the L2 norm), then the gradient itself would be the best step. The rule decides the attack. (The
# last page of lesson 04 shows how to try L2.)

# %% [markdown]
# ## 4. Against the control
#
# An attack without a control proves nothing: perhaps any change of that size would confuse the victim. So every attack
# of this course stands next to noise of the same size.
#
# ### Exercise 3: the control
#
# Write the noise that you met above. For each pixel value of each image a fair coin decides between `+ eps` and
# `- eps`. A control must be repeatable, so draw the coins from the `generator` that comes in, and from nowhere else. It
# lives on the CPU; should `x` live elsewhere, draw first and convert with `.to(x)`. (`hint("noise")`)

# %% [markdown] tags=["instructor"]
# **The instructive mistake is Gaussian or uniform noise:** it does not spend the budget. **Ask:** "Your attack moves
# every pixel by 2. Your control moves it by 1 on average. Who wins, and what have you shown?" Others: a coin for each
# image or each colour, the global random numbers, the same coins at every call.
#
# **If time is short,** leave this one open (the reference runs), and do not leave out the figure that follows.


# %%
def noise(x, eps, generator):
    """Plus or minus eps at each pixel value, by the toss of a fair coin.

    Args:
        x: images, float tensor (N, 3, H, W), in [0, 1].
        eps: how far each pixel value moves, in units of the [0, 1] scale.
        generator: a torch.Generator on the CPU, the source of the coins.

    Returns:
        Noisy images, a tensor shaped as x, in [0, 1].
    """
    ### BEGIN SOLUTION
    coins = torch.randint(0, 2, x.shape, generator=generator)
    signs = (2 * coins - 1).to(x)
    return (x + eps * signs).clamp(0, 1)
    ### END SOLUTION


noise = check.noise(noise)

# %% [markdown]
# ### Predict
#
# Six patients, in three versions. In which row will you see crosses? Will you see any difference between the rows,
# other than the writing?
#
# ### Run

# %%
noisy = noise(x, eps, torch.Generator().manual_seed(seed))
show.compare({"clean": x, "noise": noisy, "FGS": x_adv}, y, victim, classes)

# %% [markdown] tags=["instructor"]
# **Ask:** "Cover the writing. Which row is which?" Then count crosses: somebody will count those in the *clean* row as
# successes. That is the definition of attack success, found by themselves.
#
# **At "Which direction falls first?"** have the room commit to one class before the curve. If the bands overlap, the
# right answer is "we can't tell"; reward whoever says so.

# %% [markdown]
# Now your patient, close up: the noise first, then the attack. The change stands there as it is, and magnified by the
# factor written above it.

# %%
show.perturbation(patient, noisy[chosen], victim, truth, classes)

# %%
show.perturbation(patient, x_adv[chosen], victim, truth, classes)

# %% [markdown]
# And all patients in numbers:

# %%
after = {"clean": before, "noise": evaluate(victim, noisy, y), "FGS": evaluate(victim, x_adv, y)}
for name, scores in after.items():
    print(f"{name:<6} accuracy   {scores.accuracy}")
    print(f"{'':<6} confidence {scores.confidence}")

# %%
fooled = {"noise": attack_success(victim, x, noisy, y), "FGS": attack_success(victim, x, x_adv, y)}
claim(
    f"at {levels}/255 FGS fools more patients than noise does",
    fooled["FGS"] > fooled["noise"],
    detail=f"FGS {fooled['FGS']}; noise {fooled['noise']}",
)
claim("noise of this size fools fewer than one in three", fooled["noise"] < 1 / 3)
claim("the accuracy under FGS is below that under noise", after["FGS"].accuracy < after["noise"].accuracy)
result("accuracy under FGS", after["FGS"].accuracy)
result("success of FGS", fooled["FGS"])

# %% [markdown]
# ### Explain
#
# Same images to the eye, same size, same number of changed pixels. The noise asks nothing of the victim. The attack asked it
# one question, *which way is up?* How many patients each of them fooled stands above; the difference is what the answer was
# worth. Look at the confidence as well. Somebody proposes an alarm that rings when the victim is unsure. If the confidence
# under attack is about what it was before, that alarm stays silent.
#
# ### Which direction falls first?
#
# An attack on a sick patient makes a *missed* disease; an attack on a healthy patient makes a *false alarm*. They don't
# cost the same, and they need not fall at the same size either.
#
# **Predict** which of the two falls first in your clinic, from the probabilities in the gallery at the top of this page: of
# those diagnosed rightly, of whom is the victim surer, the sick or the healthy? (Sensitivity and specificity say how often it
# is right, and not how surely.)

# %%
COSTS = {
    "derm": ("a harmless mole is cut out: a scar, a fright, a bill", "a melanoma stays where it is, and grows"),
    "chest": ("drugs against a pneumonia that isn't there", "a pneumonia goes untreated"),
    "fundus": (
        "a visit to the eye clinic that somebody else needed",
        "a diseased eye goes untreated, and sight may be lost",
    ),
}


def uphill_by(size):
    """FGS at any size, in levels. The gradient at the clean images serves all sizes, so it is computed once."""
    return (x + size / 255 * slopes.sign()).clamp(0, 1)


small_sizes = [0.06, 0.12, 0.25, 0.5, 1, 2]
by_size = [attack_success(victim, x, uphill_by(size), y) for size in small_sizes]
directions = {
    f"{classes[label]} patients": (small_sizes, [success.by_class[label] for success in by_size]) for label in (0, 1)
}
for (name, (_, rates)), cost in zip(directions.items(), COSTS[here.name], strict=True):
    print(f"{name}: success at 0.25/255 {rates[2]}\n    the price: {cost}")


def label_sizes(figure, sizes):
    """Write the sizes under a picture with a logarithmic axis, as they are."""
    figure.axes[0].set_xticks(sizes, [f"{size:g}" for size in sizes])
    figure.axes[0].minorticks_off()
    figure.axes[0].set_ylim(-0.03, 1.03)
    return figure


picture = show.curves(
    directions,
    xlabel="eps, in 1/255, logarithmic",
    ylabel="attack success in this class",
    title="FGS: which direction falls first?",
    logx=True,
)
label_sizes(picture, small_sizes)

# %% [markdown]
# Read your own picture: which line rises first? Do their bands overlap so much that you cannot tell? A class falls
# first when its patients lie closer to the border between the two answers. That depends on what the victim was taught,
# on how many of each class, and on where its threshold lies, and it differs from clinic to clinic: that is why there is
# no claim here. In lesson 04 you measure the distance to that border for each patient.
#
# Ask then **who would want which**. Treatment that nobody needs pays whoever is paid for treatment. A treatment that is
# missed saves money for whoever would have had to pay for it. The patient loses either way.

# %% [markdown]
# ## 5. How large must it be?
#
# ### Predict
#
# A part of your patient's image, attacked with 1, 2, 8 and 32 levels of 255. From which size on will *you* see it?
#
# ### Run

# %%
side = patient.shape[-1] // 2
corner = side // 2
shown = [0, 1, 2, 8, 32]
words = f"The middle of an image, attacked with {', '.join(map(str, shown))} levels: 8 shows a grain, 32 a strong one."
figure, panels = show.picture(12.5, 3.0, 1, len(shown), alt=words)
for panel, size in zip(panels, shown, strict=True):
    attacked = fgs(victim, patient, truth, size / 255)
    panel.imshow(show.pixels(attacked[0, :, corner : corner + side, corner : corner + side]))
    wrong = victim(attacked).argmax(1).item() != int(truth)
    panel.set(xticks=[], yticks=[], frame_on=False, xlabel="victim: wrong" if wrong else "victim: right")
    panel.set_title("clean" if size == 0 else f"{size}/255")
figure

# %% [markdown]
# ### Explain
#
# A screen shows 256 levels, from 0 to 255, so 1/255 is the smallest change that it can show at all. Up to 2 you will
# hardly see anything; 8 you may notice as a grain, most of all on smooth ground; 32 is plain. The sizes that matter in
# this lesson are the invisible ones.
#
# ### Exercise 4: accuracy against eps
#
# One size tells little. The honest picture is the whole curve: the accuracy at every size, of the attack and of its
# control. Write the function that measures it. `attack` is a function that you get: `attack(x, eps)` returns the
# attacked images. Use `evaluate(model, images, y).accuracy`, which carries its 95 % interval with it.
# (`hint("accuracy_curve")`)


# %%
def accuracy_curve(model, x, y, attack, sizes):
    """The accuracy of a model under an attack, at each of several sizes.

    Args:
        model: maps images in [0, 1] to logits (N, 2).
        x: clean images, float tensor (N, 3, H, W), in [0, 1]. y: true labels, int64 tensor (N,).
        attack: a function of images and eps; returns the attacked images, shaped as x.
        sizes: a list of values of eps, in units of the [0, 1] scale.

    Returns:
        A list with an accuracy for each size, as `evaluate` gives it, with its interval.
    """
    ### BEGIN SOLUTION
    accuracies = []
    for eps in sizes:
        x_attacked = attack(x, eps)
        accuracies.append(evaluate(model, x_attacked, y).accuracy)
    return accuracies
    ### END SOLUTION


accuracy_curve = check.accuracy_curve(accuracy_curve)

# %% [markdown]
# ### Predict
#
# Before you run it: draw the two curves, from 0.12/255 to 16/255. Where does FGS start to bite? Where does noise? **And
# must the curve of FGS go down all the way?**
#
# ### Run

# %%
sizes = [0.12, 0.25, 0.5, 1, 2, 4, 8, 16]
in_pixel_units = [size / 255 for size in sizes]
fgs_curve = accuracy_curve(victim, x, y, lambda images, size: fgs(victim, images, y, size), in_pixel_units)
noise_curve = accuracy_curve(
    victim, x, y, lambda images, size: noise(images, size, torch.Generator().manual_seed(seed)), in_pixel_units
)
unharmed = [float(before.accuracy)] * len(sizes)
picture = show.curves(
    {"FGS": (sizes, fgs_curve), "noise": (sizes, noise_curve), "clean images": (sizes, unharmed)},
    xlabel="eps, in 1/255, logarithmic",
    ylabel="accuracy",
    title=f"Accuracy against eps (n = {len(x)}, bands: 95 %)",
    chance=0.5,
    logx=True,
)
label_sizes(picture, sizes)

# %%
lowest = min(range(len(sizes)), key=lambda i: fgs_curve[i])
print(f"FGS does most harm at {sizes[lowest]:g}/255: accuracy {fgs_curve[lowest]}")
print(f"                  at {sizes[-1]:g}/255:   accuracy {fgs_curve[-1]}")
claim(
    f"at {sizes[lowest]:g}/255 the accuracy under FGS is below that under noise, and their intervals don't touch",
    fgs_curve[lowest].high < noise_curve[lowest].low,
    detail=f"FGS {fgs_curve[lowest]}; noise {noise_curve[lowest]}",
)

# %% [markdown]
# ### Explain
#
# Read the *gap* between the two curves: that is what the direction adds. Where the noise falls as well, the size alone
# does the harm, and any change would. A guessing model would have an accuracy of one half. Below that line the victim
# is worse than a coin: it has been turned round. And a curve from few patients has wide bands; look at them before you
# read anything into a wiggle.
#
# Did your FGS curve turn up again at large sizes? You will see why in a moment.
#
# Now move through the sizes yourself. Choose a patient whom the attack fools early and one who holds out, and compare
# FGS with noise.

# %%
explore.epsilon(victim, x, y, classes, attacks=("noise", "FGS"))

# %% [markdown]
# ### More is not always better
#
# Does each patient, once fooled, stay fooled? The next picture follows every patient whom the victim diagnosed rightly: a row
# for each, sorted, with whoever is fooled at the fewest sizes at the top; a column for each size. Dark purple: the victim is
# sure of the truth. Dark orange: sure of the wrong answer. A dot marks a patient who **had been fooled at a smaller size and
# is diagnosed rightly again**.

# %%
fine_sizes = [0, 0.12, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16]
right_before = truth_probability > 0.5
fate = torch.stack(
    [
        metrics.logits(victim, uphill_by(size)[right_before]).softmax(1).gather(1, y[right_before][:, None])[:, 0]
        for size in fine_sizes
    ],
    1,
).cpu()  # (patients, sizes): the probability of the truth
fell = fate <= 0.5
fell_before = fell.cummax(1).values
back = fell_before & ~fell
fate, back = (table[fell.sum(1).argsort()] for table in (fate, back))

words = f"Probability of the truth for {len(fate)} patients at {len(fine_sizes)} sizes of FGS."
figure, ax = show.picture(10, 5.2, alt=f"{words} {int(back.any(1).sum())} come back after they were fooled.")
drawn = ax.imshow(fate, cmap="PuOr", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
rows, columns = torch.nonzero(back, as_tuple=True)
ax.plot(columns, rows, "o", color=show.BLACK, markeredgecolor="white", markersize=5.5)
ax.set(xticks=range(len(fine_sizes)), xticklabels=[f"{size:g}" for size in fine_sizes], yticks=[])
ax.set(xlabel="eps, in 1/255", ylabel="a row for each patient", title="One step of FGS, at every size")
figure.colorbar(drawn, label="probability of the truth")
figure

# %% [markdown] tags=["instructor"]
# **Ask:** "You may spend 16 and it is worse for you than 2. What kind of attacker are you?" The dots are the whole
# argument for lesson 04. If your images show none, say so and use the agreement of signs in the next cell instead: it
# holds on all clinics.

# %%
ever, at_the_end = fell.any(1), fell[:, -1]
best_single = int(fell.sum(0).max())
print(
    f"{int(back.any(1).sum())} of {len(fell)} patients were fooled at some size and diagnosed rightly at a larger one."
)
print(f"The best single size fools {best_single}; the largest, 16/255, fools {int(at_the_end.sum())};")
print(f"if each patient gets the size that suits them best, {int(ever.sum())} are fooled.")

# %% [markdown]
# ### Explain
#
# With a budget of 16/255 an attacker may do whatever they could do with 2/255. So a *good* attack never gets weaker
# when it is given more. If a row of yours has a dot, FGS did: it took one step of full length, in the direction that
# was right at the start, and walked across the summit and down the other side. (No dots? Then this victim's hills are
# broad. Try another clinic.)
#
# How long does the direction hold? Ask the victim again after the step, and compare the signs. Where half of them
# agree, the old direction is worth no more than the toss of a coin.

# %%
agreement = []
for size in (0.12, 0.5, 2):
    agree = (input_gradient(victim, uphill_by(size), y).sign() == slopes.sign()).double().mean((1, 2, 3))
    agreement.append(metrics.mean(agree.cpu()))
    print(f"after {size:>4}/255: {100 * agreement[-1]:.0f} % of the signs still hold (n = {len(x)} patients)")
claim("after 2/255 hardly more than half of the signs still hold", agreement[-1].high < 0.6, detail=str(agreement[-1]))

# %% [markdown]
# Very soon, most of what the gradient told you is out of date. "Linear" is true of a small neighbourhood only. The remedy
# suggests itself: take a small step, **ask again**, take another. That is projected gradient descent, lesson 04. (Does this
# contradict section 3? Only in part. There the argument needed a straight slope for one tiny step, and you tested it with a
# quarter of a level. How far the slope stays straight, the argument doesn't say. Here you measured it.)
#
# It also means that surviving FGS proves little. A checklist for honest evaluations [4] puts it so: "Do not use Fast
# Gradient Sign (exclusively)".

# %% [markdown]
# ## 6. Will it survive the file?
#
# So far the attacked image was a tensor of floats. To reach a hospital's classifier it has to be stored, and a common
# image file stores each value in 8 bits: 0, 1, 2 ... 255. Whatever lies between is rounded. `metrics.as_saved(x)` does
# just that.
#
# ### Predict
#
# Every pixel value of your image came from such a file, so it sits on a whole level. You attack with 0.4, 0.6, 1, 1.4
# and 2 levels, and save. What is left of each?
#
# ### Run

# %%
asked = torch.arange(0, 2.55, 0.1)
ground = x[:8]
up_or_down = slopes[:8].sign()
roomy = (ground > 3 / 255) & (ground < 252 / 255) & (up_or_down != 0)  # values with room on both sides
kept = [
    ((metrics.as_saved(ground + size / 255 * up_or_down) - ground).abs()[roomy].mean() * 255).item()
    for size in asked.tolist()
]

tried = [0.4, 0.6, 1, 1.4, 2]
saved = [attack_success(victim, x, uphill_by(size), y) for size in tried]
for size, success in zip(tried, saved, strict=True):
    print(f"{size:>3}/255  in memory {success}\n         as saved  {success.after_saving}")

told = ", ".join(
    f"{size}: {float(s):.2f} and {float(s.after_saving):.2f}" for size, s in zip(tried, saved, strict=True)
)
words = f"Left: a staircase of change asked and kept. Right: success in memory and as saved, {told}."
figure, (left, right) = show.picture(11.5, 4.2, 1, 2, alt=words)
left.plot(asked, kept, "o-", color=show.BLUE, linewidth=2, markersize=4, label="what the file keeps")
left.plot(asked, asked, ":", color=show.BLACK, label="what was asked for")
left.set(xlabel="eps, in levels", ylabel="mean change kept, in levels", title="Rounding to 8 bits")
left.grid(alpha=0.25)
left.legend(frameon=False)
for shift, colour, hatch, label, rates in (
    (-0.2, show.RED, "", "in memory", saved),
    (0.2, show.SKY, "//", "as saved", [success.after_saving for success in saved]),
):
    places = [row + shift for row in range(len(tried))]
    right.bar(places, [float(rate) for rate in rates], 0.4, color=colour, hatch=hatch, edgecolor="white", label=label)
    right.vlines(places, [rate.low for rate in rates], [rate.high for rate in rates], color=show.BLACK, linewidth=1.5)
right.set(
    xticks=range(len(tried)),
    xticklabels=[f"{size}/255" for size in tried],
    ylim=(0, 1.2),
    yticks=[0, 0.25, 0.5, 0.75, 1],
    ylabel="attack success",
    title=f"FGS before and after saving (95 %, n = {saved[0].n})",
)
right.legend(frameon=False, ncols=2, loc="upper left")
figure

# %%
too_small, whole = uphill_by(0.4), uphill_by(2)
claim(
    "of 0.4/255 nothing is left in the file: it holds the clean image",
    (metrics.as_saved(too_small) - x).abs().max() < 1e-6,
)
claim("so its success as saved is 0", saved[0].after_saving == 0, detail=str(saved[0].after_saving))
claim("2/255 comes out of the file as it went in", (metrics.as_saved(whole) - whole).abs().max() < 1e-6)
claim("and so does 1/255", saved[2].after_saving == saved[2], detail=str(saved[2].after_saving))

# %% [markdown]
# ### Explain
#
# A staircase. Less than half a level is rounded away: an attack of 0.4/255 may work in memory, and the file holds the
# clean image. More than half a level is rounded *up*: 0.6 becomes a whole level, so the file makes the change larger.
# Whole levels pass as they are, because they lead from one level to another. That is why this course writes `1/255` and
# `2/255`, and why it reports success as saved.
#
# And exactly 0.5 (or 1.5, or 2.5)? There the last bit of the arithmetic decides for each value which way it goes (look at the
# point at 0.5 in your picture). Whoever claims a success at half a level should say how it was rounded.
#
# Eight bits is one format of many. A file with 12 bits has 4,096 levels, sixteen for each of these, and keeps much
# smaller steps. JPEG does more than round: it throws fine detail away, and fine detail is what this attack is made of.
# What outlives JPEG, printing and a camera is the subject of lessons 07 and 08.

# %% [markdown]
# > ### In the clinic
# >
# > **Where could anyone change a pixel?** Follow the image. A camera or detector *acquires* it and processes it:
# > software, with updates. It is *wrapped* as a DICOM file (the format that medical images travel in), often with more
# > than 8 bits, sometimes *compressed* as JPEG. It *travels* over the hospital's network into the archive (called
# > PACS), and lies there. A gateway may re-encode, crop and *resize* it for the classifier. Each station is a place to
# > attack, and each rounds, scales or compresses, and may so destroy an attack made at the station before. An attacker
# > who sits right in front of the classifier has it easiest. Is the network closed to strangers? In a study of tampered
# > scans, the authors intercepted scans in an active hospital network, in a covert test [5] (the tampering there was of
# > another kind: whole nodules drawn in or out).
# >
# > **What would a radiologist see?** You have looked yourself: at 2/255 there is next to nothing to see, so a reader would
# > most likely judge the image as before. (That is our guess; no study of readers stands behind it.) If so, there is good
# > news: the attack on the classifier is no attack on the doctor. It does harm where the classifier decides alone:
# > which patient is seen first, which bill is paid, who is screened and sent home without anyone looking.
# >
# > **What can be done at once?** Keep the original, with a signature made at the camera, and check it before the
# > classifier. Then a pixel that was changed on the way is found, however small the change. It does not help against
# > whoever sits before the signature.

# %% [markdown]
# ## Quiz

# %% jupyter={"source_hidden": true}
quiz(
    "What differs between a training step and a step of FGS?",
    [
        "FGS needs another loss than training does",
        "FGS changes the weights so that one patient is diagnosed wrongly",
        "FGS moves the pixels and not the weights, and up instead of down",
    ],
    answer="FGS moves the pixels and not the weights, and up instead of down",
    why={
        "FGS moves the pixels and not the weights, and up instead of down": "The loss and the way to its gradient are "
        "the same. What may move, and which way, is exchanged.",
        "FGS needs another loss than training does": "You used the same cross-entropy of the true label. Only the "
        "direction was turned.",
        "FGS changes the weights so that one patient is diagnosed wrongly": "The weights were frozen all along. The "
        "victim is the same; the image is not.",
    },
)

# %% jupyter={"source_hidden": true}
quiz(
    "A value's slope is 100 times steeper than its neighbour's. Under the L-infinity limit, how far should each move?",
    ["The steep one by eps, the other by eps/100", "Both by eps", "Only the steep one"],
    answer="Both by eps",
    why={
        "Both by eps": "Each has a budget of its own. What the flat one doesn't spend is lost, and helps nobody.",
        "The steep one by eps, the other by eps/100": "That is the scaled gradient. You tried it above: most of the "
        "budget stays unspent.",
        "Only the steep one": "Then the flat one's budget is lost. There are tens of thousands of flat ones, and "
        "they add up.",
    },
)

# %% jupyter={"source_hidden": true}
quiz(
    "A vendor reports: our model keeps 70 % accuracy under FGS at 8/255, so it is robust. What do you answer?",
    [
        "70 % is too little for a model that is to be called robust",
        "Show more than one size, and a stronger attack",
        "FGS at 8/255 can be seen, so the figure does not count",
    ],
    answer="Show more than one size, and a stronger attack",
    why={
        "Show more than one size, and a stronger attack": "One step may have overshot. An attack that gets weaker with "
        "more budget says something about the attack. Surviving a weak attack proves little.",
        "70 % is too little for a model that is to be called robust": "Perhaps. But the number itself can't be trusted: a smaller step, or several, may "
        "leave far less.",
        "FGS at 8/255 can be seen, so the figure does not count": "That is a fair point about the threat. It doesn't answer "
        "whether the model is robust at sizes that can't be seen.",
    },
)

# %% jupyter={"source_hidden": true}
quiz(
    "An attack of 0.4/255 fools half of the patients in memory. You save the images as 8-bit PNG and load them "
    "again. What is left?",
    [
        "Nearly half of the successes",
        "More: rounding makes every change larger",
        "Nothing: the file holds the clean images",
    ],
    answer="Nothing: the file holds the clean images",
    why={
        "Nothing: the file holds the clean images": "Each value was on a whole level, moved by less than half of "
        "one, and is rounded back.",
        "Nearly half of the successes": "PNG is lossless, but only for whole levels. Less than half a level never "
        "gets into the file.",
        "More: rounding makes every change larger": "That happens above half a level: 0.6 becomes 1. Below half it "
        "goes to 0.",
    },
)

# %% [markdown]
# ## Go further
#
# - Set `clinic` at the top to another one, and run all cells. Which victim falls at the smallest size? Do its hills
#   overshoot?
# - Repeat the comparison of section 3 (sign against scaled gradient) at 2/255 in place of 0.25/255. The scaled gradient
#   may win now. Why? (It takes a smaller step.)
# - A radiograph has one channel, and your attack changes red, green and blue apart from each other: a grey file could
#   not hold it. Write `grey_fgs`, which moves the three by the same amount. (Which sum of the three slopes decides?)
#   How much does the attack lose?
# - Attack only a frame at the edge of the image, an eighth of its side wide. How much success is left?

# %% [markdown]
# ## What you now know
#
# - Training asks how the loss changes with the weights and walks down. An attack asks how it changes with the
#   **pixels** and walks **up**.
# - Under the L-infinity limit every value spends all of eps, so only the **sign** of the gradient matters. Tens of
#   thousands of tiny pushes the same way add up; noise cancels.
# - Success is counted over patients who were diagnosed rightly before, in each direction, **next to a control of the
#   same size**, with an interval.
# - Draw the whole curve. One step can overshoot, so surviving FGS proves little.
# - A change of less than half a level does not survive an 8-bit file.

# %%
progress()

# %% [markdown]
# **Next:** [04 Projected gradient descent](04_projected_gradient_descent.ipynb). Small steps, and a fresh look at the
# slope after each.
#
# ## Sources
#
# 1. J. Campbell. *Adversarial attacks against medical deep learning systems.* Talk, Cardiff University, 27 June 2018
#    ([notes and slides](https://github.com/theref/Adversarial-Talk)).
# 2. I. J. Goodfellow, J. Shlens, C. Szegedy. *Explaining and harnessing adversarial examples.* ICLR 2015,
#    [arXiv 1412.6572](https://arxiv.org/abs/1412.6572); the quotation is from its abstract.
# 3. D. Geng, R. Veerapaneni. *Tricking neural networks: create your own adversarial examples.* Tutorial, 10 January
#    2018. It quotes the panda of [2].
# 4. N. Carlini and others. *On evaluating adversarial robustness.* 2019, [arXiv
#    1902.06705](https://arxiv.org/abs/1902.06705), evaluation checklist.
# 5. Y. Mirsky and others. *CT-GAN: malicious tampering of 3D medical imagery using deep learning.* USENIX Security
#    2019, [arXiv 1901.03597](https://arxiv.org/abs/1901.03597).
