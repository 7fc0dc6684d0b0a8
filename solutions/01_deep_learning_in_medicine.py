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
# # 01 Deep learning in medicine
#
# **A classifier's answer becomes a treatment, or the lack of one. Here you learn to measure what such an answer is
# worth, to ask where its truth comes from, and to see who would gain if it were wrong.**
#
# At the end you will be able to
# - compute sensitivity and specificity, the AUC and Cohen's kappa, each in a few lines of your own;
# - say what moving a threshold costs, and whom;
# - explain why a perfect model can look imperfect;
# - give four reasons why medicine is a likely target of attacks, and what speaks for each;
# - write down a threat model: five questions, five answers.
#
# | | |
# |---|---|
# | Time | 60 to 85 minutes; a good place for a pause is the end of section 7 |
# | You need | [lesson 00](00_start_here.ipynb) |
# | Your machine needs | nothing more: no network, no GPU |

# %% [markdown] tags=["instructor"]
# **In two minutes.** "How good is a model? You can't say it in one number, and not without saying where, and measured
# against whose opinion. Once you can, the second question: who would be glad if it were wrong?" There is no attack in
# this lesson. Engineers get impatient; promise them that the five lines at its end decide which of the later attacks
# count.
#
# **Time.** Sections 1 and 2: 8 minutes, 3: 5, 4: 6, 5: 8, 6: 8, 7: 5. *Pause.* Sections 8 and 9: 7, 10: 5, 11: 3, 12:
# 5.
#
# **If time is short:** 2, 3, 4 and 12. Sections 5 to 7 can be read, 8 and 9 shown as two figures with a sentence each.
# Physicians know 2 to 4 by heart and enjoy 6 to 9; for them, turn it round.

# %% tags=["parameters"]
clinic = "fundus"  # "fundus", "chest" or "derm"
images = "auto"  # "auto", "phantom", "medmnist", "real", or the path of a folder of your own
n = 140  # test images that everything is measured on
reader_error = 0.15  # how often a simulated reader is wrong
seed = 0  # of every random draw

# %%
import torch

from medattack_edu import (
    check,
    claim,
    evaluate,
    explore,
    hint,  # noqa: F401 (for you)
    metrics,
    models,
    open_clinic,
    progress,
    quiz,
    show,
)

torch.manual_seed(seed)
here = open_clinic(clinic, images)
here.banner()

# %% [markdown]
# ## 1. A diagnosis without a doctor
#
# On 11 April 2018 the U.S. Food and Drug Administration permitted the marketing of IDx-DR. It was *"the first device
# authorized for marketing that provides a screening decision without the need for a clinician to also interpret the
# image or results"* [1]. A camera takes photographs of the retina, a program decides whether they show more than mild
# *diabetic retinopathy* (the damage that diabetes does to the vessels there), and nobody looks over its shoulder. (The
# event is often told as an approval. "Permitted marketing" is the agency's phrase for this route.)
#
# What had it shown? It was tried on 900 people with diabetes in ten practices of primary care [2]. Two pairs of numbers
# went round the world, and they are not quite the same:
#
# | | news of the permission, spring 2018 [2] | paper on the trial, August 2018 [3] |
# |---|---|---|
# | sick people correctly found | 87.4 % | 87.2 % (95 % interval 81.8 to 91.2) |
# | healthy people correctly cleared | 89.5 % | 90.7 % (95 % interval 88.3 to 92.7) |
#
# We use the paper's, because they come with intervals. It also says that the device could judge 96.1 % of the patients, and
# that 198 people, 23.8 %, had the disease. Remember that share. (It is of those who could be evaluated, not of all 900.)
#
# This was one application of many. A survey of 2017 reviewed over 300 contributions of deep learning to medical imaging. One
# of its figures shows nine tasks in which the method gave the best results of its time [4]:
#
# | what | kind of answer |
# |---|---|
# | masses in mammograms | a class |
# | lesions in the brain | an outline |
# | leaks in the outline of the airways | places |
# | **diabetic retinopathy in fundus photographs** | **a class** |
# | the prostate | an outline |
# | nodules in the lung | a class |
# | metastases of breast cancer in lymph nodes | places |
# | **skin lesions, as well as human experts** | **a class** |
# | X-rays without the bones | an image |
#
# This course attacks classifiers, such as the two in bold. How would *you* find out whether one is any good?
#
# ## 2. Two ways to be right
#
# A patient is sick or healthy, and the model calls them sick or healthy. That makes four cases:
#
# | | called sick | called healthy |
# |---|---|---|
# | **is sick** | found | **missed** |
# | **is healthy** | **false alarm** | cleared |
#
# - **Sensitivity**: of the *sick*, the share that is found.
# - **Specificity**: of the *healthy*, the share that is cleared.
#
# One number, such as the accuracy, would hide which of the two kinds of mistake is made. They do not hurt the same
# people.
#
# ### Exercise 1: an operating point
#
# The model gives logits. You turn them into a probability of the disease, and call a patient sick *if this probability
# reaches the threshold*. The pair of sensitivity and specificity at that threshold is called an **operating point**.
# (Stuck? `hint("operating_point")`.)

# %% [markdown] tags=["instructor"]
# **Common wrong answers, and what they mean.** *Of those called sick, how many are sick*: the predictive value in place
# of the sensitivity, the classic, among physicians too. *Divided by all ten patients*: no denominator of its own.
# *False alarms in place of specificity*. *The logit held against 0.5*. *Softmax down the patients* (`softmax(0)`). `>`
# where the text says "reaches".
#
# **Ask:** "Who is in your denominator? Put a finger on the row of the table." To the logit: "In which unit is 0.5?" To
# `softmax(0)`: "Which two numbers should add up to 1?"


# %%
def operating_point(logits, y, threshold):
    """Sensitivity and specificity of a classifier at a threshold.

    Args:
        logits: the model's answers, float tensor (N, 2); column 1 is the disease.
        y: true labels, int64 tensor (N,), 1 for the disease; both classes occur.
        threshold: a probability; whoever has at least this probability of the disease is called sick.

    Returns:
        sensitivity, specificity: two numbers from 0 to 1.
    """
    ### BEGIN SOLUTION
    called = logits.softmax(1)[:, 1] >= threshold
    sick = y == 1
    sensitivity = called[sick].float().mean().item()
    specificity = (~called)[~sick].float().mean().item()
    return sensitivity, specificity
    ### END SOLUTION


operating_point = check.operating_point(operating_point)

# %%
victim = here.victim()
x, y = here.test.sample(n, seed=seed)
logits = metrics.logits(victim, x)  # (n, 2); in batches, without gradients
scores = evaluate(victim, x, y)  # the library's own count, with intervals

sensitivity, specificity = operating_point(logits, y, 0.5)
print(here.question)
print(f"yours          sensitivity {sensitivity:.3f}, specificity {specificity:.3f}")
print(f"with interval  sensitivity {scores.sensitivity}")
print(f"               specificity {scores.specificity}")

# %%
same = abs(sensitivity - scores.sensitivity) < 1e-6 and abs(specificity - scores.specificity) < 1e-6
claim("your operating point at 0.5 is the library's", same)

# %% [markdown]
# Look at the two intervals and their n. The sensitivity rests on the sick patients alone. Where only few of the
# patients are sick, it is the number that you know least about, and it is the one that tells how much disease is
# missed.
#
# ## 3. Who is sent on?
#
# ### Predict
#
# Back to the trial: the device found 87.2 % of the sick and cleared 90.7 % of the healthy; 23.8 % of the people were
# sick. Somebody steps out of the practice with a referral in their hand.
#
# - How likely is it that this person has the disease?
# - Now the device moves to a practice where 5 % of the people are sick. Nothing else changes. How likely is it there?
#
# Write down two numbers.
#
# ### Run

# %% [markdown] tags=["instructor"]
# **Wait for two numbers on paper.** Most rooms, physicians among them, say between 80 and 90 for both practices. Don't
# compute. Ask: "Imagine 1,000 people. How many are sick?" and be silent; they get there in a minute.
#
# **At the squares, ask:** "Where in this picture is the 87.2 %? And where is your answer?" The first is red against
# black; the second is red against yellow.

# %%
trial = (0.872, 0.907)  # sensitivity and specificity of IDx-DR [3]
ends = ((0.818, 0.883), (0.912, 0.927))  # the lower and the upper ends of their 95 % intervals


def thousand_people(prevalence, sensitivity, specificity):
    """How many of 1,000 people are found, missed, false alarms and cleared, where this share is sick."""
    sick = round(1000 * prevalence)
    found, cleared = round(sick * sensitivity), round((1000 - sick) * specificity)
    return found, sick - found, 1000 - sick - cleared, cleared


def share_of_sick(prevalence, sensitivity, specificity):
    """Of those called sick, the share that is sick."""
    found, _, alarms, _ = thousand_people(prevalence, sensitivity, specificity)
    return found / (found + alarms)


for prevalence in (0.238, 0.05):
    found, missed, alarms, cleared = thousand_people(prevalence, *trial)
    low, high = (share_of_sick(prevalence, *end) for end in ends)
    print(f"where {100 * prevalence:.3g} % are sick, {found + alarms} of 1,000 are sent on, {found} of them sick:")
    print(
        f"    {100 * share_of_sick(prevalence, *trial):.0f} % (with the ends of the trial's intervals "
        f"{100 * low:.0f} to {100 * high:.0f} %)"
    )

# %% jupyter={"source_hidden": true}
names = ("sick, found", "sick, missed", "healthy, false alarm", "healthy, cleared")
looks = ((show.RED, "s"), (show.BLACK, "X"), (show.YELLOW, "s"), ("#CFE3EE", "s"))
figure, axes = show.picture(
    11, 4.4, 1, 2, alt="1,000 people where 23.8 % are sick, and where 5 % are, each as a small square."
)
for ax, prevalence in zip(axes, (0.238, 0.05), strict=True):
    counts, start = thousand_people(prevalence, *trial), 0
    for count, name, (colour, marker) in zip(counts, names, looks, strict=True):
        places = range(start, start + count)
        start += count
        across, down = [place // 20 for place in places], [place % 20 for place in places]
        ax.scatter(
            across, down, s=22, marker=marker, color=colour, edgecolor="0.35", linewidth=0.4, label=f"{name}: {count}"
        )
    ax.set(title=f"1,000 people, {100 * prevalence:.3g} % of them sick", xticks=[], yticks=[], frame_on=False)
    ax.invert_yaxis()
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, frameon=False, fontsize=11)
figure

# %% [markdown]
# ### Explain
#
# Three of four in the trial; one of three in the other practice. The device is the same. But where few are sick, there
# are many healthy people to raise a false alarm about, and the alarms outnumber the finds.
#
# This share, the sick among those called sick, is the **positive predictive value**. It belongs to the model *and the
# place where it is used*. A figure from a trial does not travel with the device.

# %%
likely, at_best = share_of_sick(0.05, *trial), share_of_sick(0.05, *ends[1])
claim("where 5 % are sick, most of those sent on are healthy", at_best < 0.5, detail=f"sick: {100 * likely:.0f} %")

# %% [markdown]
# ## 4. Moving the line
#
# Between "sick" and "healthy" stands a threshold, and somebody has put it there. Nothing says that it must be 0.5.
#
# ### Predict
#
# You move the threshold of *your* clinic's model from 0.5 down to 0.1.
#
# - Which of the two mistakes becomes rarer, and which more frequent?
# - Is there a threshold with which the model finds *all* the sick and clears *all* the healthy?
#
# ### Run
#
# Drag the threshold. Read the three sentences at the right. Then move the second slider, the share of the sick, and
# watch only the last of them change.

# %%
explore.threshold(scores, here.classes)

# %% [markdown] tags=["instructor"]
# **Ask:** "Our director says: miss nobody. Set it so. What has it cost?" Then "And who should decide?" Leave the
# silence alone. Whoever answers "the data scientist" should say it again after section 10.

# %%
probability = scores.probabilities  # of the disease, (n,)
truth = scores.labels
sick, healthy = int((truth == 1).sum()), int((truth == 0).sum())
find_all = max(0.0, probability[truth == 1].min().item() - 1e-6)  # even the least suspected sick patient reaches it
clear_all = probability[truth == 0].max().item() + 1e-6  # not even the most suspected healthy one reaches it

aims = {"find every sick one": find_all, "the usual 0.5": 0.5, "clear every healthy one": clear_all}
for name, threshold in aims.items():
    sensitivity, specificity = operating_point(logits, y, threshold)
    print(f"{name}: threshold {threshold:.4f}")
    print(f"    sensitivity {metrics.proportion(round(sensitivity * sick), sick)}")
    print(f"    specificity {metrics.proportion(round(specificity * healthy), healthy)}")

# %% [markdown]
# ### Explain
#
# A lower threshold finds more of the sick and alarms more of the healthy. A higher one does the reverse. **Moving the line
# trades one mistake for the other.** It abolishes neither where the two groups overlap, that is, where some of the sick look
# healthier to the model than some of the healthy.
#
# Which mistake is worse? That is no question for a computer. It depends on what follows:
#
# | clinic | a sick person is missed | a healthy person is called sick |
# |---|---|---|
# | eye | no treatment while it would still help; in the end, loss of sight | a needless visit, worry, time of a doctor whom others need |
# | chest | pneumonia goes untreated | antibiotics for nothing |
# | skin | a melanoma stays and may spread | a harmless mole is cut out |
#
# **Treatment missed, or treatment not needed.** An attacker chooses the direction, and an attack moves one patient
# across the line while the line stays where it is.

# %%
_, specificity_then = operating_point(logits, y, find_all)
sensitivity_then, _ = operating_point(logits, y, clear_all)
claim("finding every sick patient costs false alarms", specificity_then < 1)
claim("clearing every healthy patient costs missed cases", sensitivity_then < 1)

# %% [markdown]
# ## 5. All thresholds at once
#
# The **ROC curve** (receiver operating characteristic: the name explains nothing) shows every operating point of a
# model: sensitivity upwards, false alarms to the right. The area under it, the **AUC** (area under the curve), sums it
# up in one number. An area says little to anybody. But it has a much better meaning:
#
# > Draw one sick and one healthy patient at random. The AUC is **the chance that the model gives the sick one the
# > higher score**.
#
# ### Predict
#
# Six such pairs come next, the sick patient above, the healthy one below. The score is the model's probability of the
# disease. In how many of the six will the model have them in the right order? And you: in how many pairs does the upper
# picture *look* sicker to you?
#
# ### Run

# %% jupyter={"source_hidden": true}
pairs = 6
sick_rows, healthy_rows = (y == 1).nonzero().flatten()[:pairs].tolist(), (y == 0).nonzero().flatten()[:pairs].tolist()
in_order = 0
figure, axes = show.picture(11, 4.6, 2, pairs)
for column, rows in enumerate(zip(sick_rows, healthy_rows, strict=True)):
    values = [probability[row].item() for row in rows]
    sign = "✓" if values[0] > values[1] else "✗" if values[0] < values[1] else "tie"
    in_order += sign == "✓"
    for row, ax, value, name in zip(rows, axes[:, column], values, ("sick", "healthy"), strict=True):
        ax.imshow(show.pixels(x[row]))
        ax.set(xticks=[], yticks=[], frame_on=False)
        ax.set_xlabel(f"score {show.percent(value)}", fontsize=12)
        if column == 0:
            ax.set_ylabel(f"is {name}", fontsize=13)
    axes[0, column].set_title(f"pair {column + 1}: {sign}", color="black" if sign == "✓" else "#b04a00")
figure.alt = (
    f"{pairs} pairs of a sick and a healthy patient, with the model's probability of the disease; {in_order} in order."
)
figure

# %% [markdown]
# ### Exercise 2: the AUC
#
# Six pairs are few. Take them all: every sick patient with every healthy one. A pair counts 1 if the sick one scores
# higher, and one half if both score the same (nobody can say who is ahead). The AUC is the mean over all pairs. Two
# loops will do; there is a shorter way. (`hint("auc")`)

# %% [markdown] tags=["instructor"]
# **Common wrong answers.** The accuracy at 0.5. Pairs of all patients, two sick ones among them. Ties counted as lost,
# or left out. The number of pairs in place of their share. **Ask:** "Two sick, three healthy: list the pairs." With six
# of them on paper, all four mistakes show.


# %%
def auc(scores, y):
    """The share of (sick, healthy) pairs in which the sick one scores higher; a tie counts half.

    Args:
        scores: float tensor (N,), higher means sicker; any numbers, not only probabilities.
        y: true labels, int64 tensor (N,), 1 for the disease; both classes occur.

    Returns:
        One number from 0 to 1.
    """
    ### BEGIN SOLUTION
    sick, healthy = scores[y == 1], scores[y == 0]
    higher = (sick[:, None] > healthy[None]).float()
    tied = (sick[:, None] == healthy[None]).float()
    return (higher + tied / 2).mean().item()
    ### END SOLUTION


auc = check.auc(auc)

# %%
print("yours         ", round(auc(probability, truth), 4))
print("with interval ", scores.auc)
show.roc({here.classes[1]: scores}, title=f"{here.name} clinic, {sick} sick and {healthy} healthy")

# %% [markdown]
# ### Explain
#
# 0.5 is a coin, 1 a perfect order. The AUC needs no threshold, and it does not care *how large* the scores are, only in which
# order they come: the difference of the two logits has the same AUC as the probability. As long as the labels are true, it
# does not depend on how many are sick, either.
#
# That is its strength, and its danger. A patient does not meet a curve. A patient meets one threshold, in one place.

# %%
margin = (logits[:, 1] - logits[:, 0]).double()  # how far the disease's logit is ahead
claim("your AUC is the library's", abs(auc(probability, truth) - scores.auc) < 1e-4)
claim("this model orders patients better than a coin", scores.auc.low > 0.5, detail=f"AUC {scores.auc}")
same = abs(auc(margin, y) - auc(torch.sigmoid(margin), y)) < 1e-6
claim("logits and probabilities have the same AUC", same)

# %% [markdown]
# ## 6. Whose truth?
#
# Everything so far was measured against the label. Who says that the label is true? For an image, it is mostly what one
# or more doctors said. **This is the first reason why medicine is an easy target: its truth is ambiguous.** (Four such
# reasons are listed in the talk that this course grew from [18]. The other three are coming.) Now you are one of the
# doctors.
#
# ### Predict
#
# Here are twelve patients, half of them sick. Read them. How often will you agree with the labels? How often with the
# model? (What to look for is in [lesson 00](00_start_here.ipynb#Three-clinics).)

# %%
twelve, labels = here.test.sample(12, seed=seed + 1, balanced=True)
print(here.question)
figure = show.gallery(twelve, torch.arange(12), [f"patient {number}" for number in range(1, 13)], columns=6)
figure.alt = "Twelve patients of the clinic, numbered, without their labels."
figure

# %% [markdown] tags=["instructor"]
# **Ninety seconds of silence**, everybody reads alone. Then hands for one image after another, until one splits the
# room. Ask one from each side to *prove* it from the picture. They can't, and that is section 6.
#
# **At `kappa`**, the usual mistakes are: chance set to one half, the agreement on "healthy" forgotten, the habits of
# one reader used for both or their mean (which is Scott's pi). **Ask:** "Both call everybody healthy. What should come
# out, and what does your function do?" (It divides 0 by 0: no patients differ, so nothing can be said.)

# %% [markdown]
# Write your reading into the next cell, a sign for each patient: `0` for healthy, `1` for sick, as in `"011010011001"`.
# Unless it is exactly twelve signs, each 0 or 1, a simulated reader stands in for you, who is wrong on three of the twelve.

# %%
my_reading = "????????????"

# %% [markdown]
# ### Exercise 3: Cohen's kappa
#
# To agree often is not yet an achievement. Two readers who call *everybody* healthy agree on every image, and have seen
# nothing. (For those two kappa would be 0 / 0; the check doesn't ask for it.) So ask how much of their agreement is more than
# chance:
#
# - `observed`: the share of images on which the two agree;
# - `by_chance`: the share on which they would agree if each said "sick" as often as they do now, but of patients picked
#   blindly. They can agree in two ways: both say sick, or both say healthy;
# - **kappa** = (`observed` - `by_chance`) / (1 - `by_chance`): of the way from chance to full agreement, how much have
#   they gone?
#
# 1 is full agreement, 0 is chance, below 0 is worse than chance. (`hint("kappa")`)


# %%
def kappa(a, b):
    """Cohen's kappa: the agreement of two readers beyond chance.

    Args:
        a, b: what each says about the same N images, int64 tensors (N,), 0 or 1.

    Returns:
        One number, 1 for full agreement, 0 for as much as chance would give.
    """
    ### BEGIN SOLUTION
    observed = (a == b).float().mean().item()
    a_sick, b_sick = a.float().mean().item(), b.float().mean().item()
    by_chance = a_sick * b_sick + (1 - a_sick) * (1 - b_sick)
    return (observed - by_chance) / (1 - by_chance)
    ### END SOLUTION


kappa = check.kappa(kappa)

# %% [markdown]
# ### Run

# %%
labels = labels.cpu()
if len(my_reading) == 12 and set(my_reading) <= {"0", "1"}:
    me, name = torch.tensor([int(sign) for sign in my_reading]), "you"
else:
    me, name = labels.clone(), "the stand-in"
    me[:3] = 1 - me[:3]
model_says = metrics.logits(victim, twelve).argmax(1).cpu()

readings = {
    f"{name} and the labels": (me, labels),
    "the model and the labels": (model_says, labels),
    f"{name} and the model": (me, model_says),
}
for pair, (a, b) in readings.items():
    observed = metrics.proportion((a == b).sum(), 12)
    chance = a.float().mean() * b.float().mean() + (1 - a.float().mean()) * (1 - b.float().mean())
    # Kappa is the agreement on another scale, so the agreement's interval becomes kappa's (chance held fixed).
    low, high = ((bound - chance) / (1 - chance) for bound in (observed.low, observed.high))
    interval = f"95 % interval {low:.2f} to {high:.2f}, n = 12"
    print(f"{pair}: agree on {100 * observed:.0f} %, kappa {kappa(a, b):.2f} ({interval})")

# %%
show.gallery(twelve, labels, ("healthy", "sick"), victim, columns=6)

# %% [markdown]
# ### Explain
#
# Twelve images leave wide intervals. If there are some on which you, the label and the model differ, look at those: could you
# *prove* who is right? Not from the picture. People who do this for a living disagree as well:
#
# | who read what | how well they agreed |
# |---|---|
# | three specialists read 3,033 radiographs of children under five for the shadow of pneumonia [5] | pairs agreed on 85 to 90 %, **kappa 0.4 to 0.6** |
# | photographs of 452 eyes graded by a screening service, then the eyes themselves examined in hospital [6] | the same grade in 77.4 %, **kappa 0.60** |
# | pathologists looked at biopsies of moles under the microscope, where melanoma is finally decided [7] | an estimated **82.8 %** (81.0 to 84.5) of the diagnoses would be confirmed by a panel of experts |
#
# Does the first row surprise you? 85 to 90 % sounds like agreement. But only about one child in six had the shadow. Of
# the three, one saw it in 21.3 % and another in 13.7 %. See how much two such readers agree by chance alone:

# %%
often, seldom, observed = 0.213, 0.137, 0.875  # how often each says "sick" [5]; the middle of 85 to 90 %
by_chance = often * seldom + (1 - often) * (1 - seldom)
from_rounded = (observed - by_chance) / (1 - by_chance)
print(f"by chance {by_chance:.3f}, observed {observed:.3f}, kappa {from_rounded:.2f}")

figure, ax = show.picture(9, 2.1)
figure.alt = f"A bar: chance up to {by_chance:.2f}, added by the readers up to {observed:.3f}, missing up to 1."
for left, right, colour, words in (
    (0, by_chance, "0.85", "chance"),
    (by_chance, observed, show.SKY, "added"),
    (observed, 1, "white", "missing"),
):
    ax.barh([0], [right - left], left=[left], color=colour, edgecolor="0.3")
    ax.text((left + right) / 2, 0, words, ha="center", va="center", fontsize=13)
ax.set(xlim=(0, 1), yticks=[], xlabel="share of the images on which two readers agree")
ax.set_title(f"kappa = added / (added + missing) = {from_rounded:.2f}")
figure

# %%
claim("chance alone makes two such readers agree on more than 70 % of the images", by_chance > 0.7)
claim("their kappa is far lower than their agreement", from_rounded < observed - 0.2)

# %% [markdown]
# ## 7. How good can a model look?
#
# ### Predict
#
# Imagine a **perfect** model: it knows the truth about every patient. You do not know the truth; you have the labels of
# one reader, who is wrong in 15 % of the images. You measure the perfect model against those labels, half of the
# patients being sick.
#
# - Which accuracy will you measure? Which AUC?
# - If only a quarter of the patients is sick, will the AUC come out higher, lower, or the same?
#
# ### Run

# %%
generator = torch.Generator().manual_seed(seed)
patients = 600


def measured_auc(share_sick, readers=1):
    """The AUC of a perfect model against the majority of readers who err independently."""
    truth = (torch.arange(patients) < share_sick * patients).long()
    mistaken = torch.rand(patients, readers, generator=generator) < reader_error
    label = torch.where(mistaken.sum(1) > readers / 2, 1 - truth, truth)
    perfect = truth.float()  # its score: 1 for every sick patient, 0 for every healthy one
    measured = metrics.auc(perfect, label)  # as yours, with an interval
    who = f"{100 * share_sick:.0f} % sick, {readers} reader{'s' * (readers > 1)}"
    print(f"{who}: yours {auc(perfect, label):.3f}; the library's {measured}")
    return measured


half, quarter = measured_auc(0.5), measured_auc(0.25)
voted = measured_auc(0.5, readers=5)

# %% [markdown]
# Now all cases at once. Find out: how many readers must vote before the perfect model is measured at 0.95 or more, if each is
# wrong in 15 %? (Leave the share of the sick at 50 %.) The widget also knows a second model, which is only *good*: its true
# AUC is 0.90. What happens to that?

# %%
agreement = explore.agreement()
agreement

# %% [markdown]
# ### Explain
#
# The model is never wrong, and yet it seems to be: every mistake of the reader is booked on the model's account. With labels
# that are wrong in 15 %, perfection measures an accuracy of 0.85, and where half are sick an AUC of 0.85 as well. Where fewer
# are sick the AUC is worse still: if a quarter are, about a third of those *labelled* sick are healthy people whom the reader
# misjudged. (So with noisy labels the AUC does depend on how many are sick.) A vote helps, as long as the readers err
# independently: where half are sick, it takes five of them to measure the perfect model at 0.95 or more. (Where one in ten is
# sick, five bring it only to 0.90.) And the good model, truly at 0.90, measures 0.78 against a single reader.
#
# Two things follow for this course.
#
# 1. No reported score means more than its labels do. Ask where the labels come from before you ask for the third digit.
# 2. **Doubt is a hiding place.** If a stop sign is taken for another sign, everybody sees the mistake. If a borderline
#    radiograph is taken for pneumonia, who could say for certain that it is not? A wrong answer that nobody can prove
#    wrong is the best that an attacker can get.

# %%
claim("against one noisy reader, a perfect model measures less than AUC 1", half.high < 1, detail=f"AUC {half}")
claim("it measures even less where fewer are sick", quarter < half, detail=f"AUC {quarter}")
claim("a vote of five readers brings it nearer to 1", voted > half, detail=f"AUC {voted}")

one, three, five = (agreement.facts(error=0.15, readers=voters, share=0.5) for voters in (1, 3, 5))
claim("five readers bring the perfect model to 0.95, three do not", three["perfect"].auc < 0.95 <= five["perfect"].auc)
claim("a model of AUC 0.90 measures 0.78 against one reader", abs(one["good"].auc - 0.78) < 0.005)

# %% [markdown]
# ## 8. Images that look alike
#
# **The second reason: medical images are standardised.** The patient is placed, the camera is fixed, the exposure is
# set.
#
# ### Predict
#
# Take twelve photographs of all sorts of things, cut them square, and average them, pixel by pixel. Do the same with
# twelve images of this clinic. What will the two means look like?
#
# ### Run

# %% jupyter={"source_hidden": true}
from skimage import data, util  # its wheel carries a few real photographs


def square(photograph, size):
    """The middle square of a photograph (H, W) or (H, W, 3) as an image (3, size, size) in [0, 1]."""
    pixels = torch.as_tensor(util.img_as_float32(photograph))
    pixels = pixels[None].expand(3, -1, -1) if pixels.ndim == 2 else pixels.permute(2, 0, 1)[:3]
    side = min(pixels.shape[1:])
    top, left = (pixels.shape[1] - side) // 2, (pixels.shape[2] - side) // 2
    cut = pixels[:, top : top + side, left : left + side]
    return torch.nn.functional.interpolate(cut[None], (size, size), mode="bilinear", antialias=True)[0]


names = "astronaut brick camera cat coffee coins grass gravel hubble_deep_field moon rocket".split()
originals = [getattr(data, name)() for name in names] + [data.stereo_motorcycle()[0]]
photographs = torch.stack([square(photograph, x.shape[-1]) for photograph in originals])
ours = x[:12].cpu()

figure, axes = show.picture(11, 4.2, 2, 6)
for name, row, pictures in (("photographs", axes[0], photographs), (f"{here.name} clinic", axes[1], ours)):
    chosen = [*pictures[[0, 3, 4, 10, 11]], pictures.mean(0)]
    for ax, picture in zip(row, chosen, strict=True):
        ax.imshow(show.pixels(picture))
        ax.set(xticks=[], yticks=[], frame_on=False)
    row[0].set_ylabel(name, fontsize=13)
    row[-1].set_title("mean of 12", fontsize=13)
figure.alt = (
    "Five photographs and the mean of twelve, a grey blur; below, five images of the clinic and the mean of twelve."
)
figure


# %%
def known_beforehand(pictures):
    """How much of a picture you could draw before you see it: 1 all of it, 0 no more than a plain grey.

    You draw the mean of the other pictures. pictures: (N, 3, H, W) in [0, 1], N > 2.
    """
    grey = pictures.mean(1)
    others = (grey.sum(0) - grey) / (len(grey) - 1)
    plain = others.mean((1, 2), keepdim=True)
    return (1 - ((grey - others) ** 2).mean() / ((grey - plain) ** 2).mean()).item()


def mean_difference(pictures):
    """How much two pictures differ at a pixel (root of the mean square), on average over all pairs."""
    flat = pictures.mean(1).flatten(1)
    return (torch.pdist(flat) / flat.shape[1] ** 0.5).mean().item()


everything, draws = x.cpu(), 100
groups = [everything[torch.randperm(len(everything), generator=generator)[:12]] for _ in range(draws)]
known = torch.tensor([known_beforehand(group) for group in groups])
differ = torch.tensor([mean_difference(group) for group in groups])

print("                    12 photographs   12 images of this clinic (the middle 95 of 100 draws)")
table = {"known beforehand": (known_beforehand, known), "difference of two": (mean_difference, differ)}
for words, (measure, values) in table.items():
    low, high = values.quantile(torch.tensor([0.025, 0.975])).tolist()
    print(f"{words:<18}  {measure(photographs):>8.2f}         {values.mean():.2f} ({low:.2f} to {high:.2f})")

# %% [markdown]
# ### Explain
#
# Twelve photographs average to mud. From eleven of them you can say nothing about the twelfth: a plain grey would be
# the better guess. Twelve images of a clinic average to *an image of that clinic*. You know much of the next patient's
# picture before they have walked in.
#
# So does an attacker. Those who attack a stop sign must succeed from every distance and angle and in every light. In the
# clinic the camera takes care of that. What works on one image has a good chance on the next (a later lesson, in
# preparation), and a patch lands where its maker planned, and as large (lesson 07).

# %%
claim(
    "more of a clinic's image is known beforehand than of a photograph, in 95 of 100 draws or more",
    (known > known_beforehand(photographs)).float().mean() >= 0.95,
)
claim("of a photograph, a plain grey is the better guess", known_beforehand(photographs) < 0)
claim(
    "on average, two images of this clinic differ less than two photographs",
    differ.mean() < mean_difference(photographs),
    detail=f"{differ.mean():.3f} against {mean_difference(photographs):.3f} of the pixel range",
)

# %% [markdown]
# ## 9. A model that everybody has
#
# **The third reason: popular architectures.** (The *architecture* is the plan of a network: which layers, in which order, how
# large. The *weights* are the numbers that training fills in.) Hardly anybody trains a medical network from nothing. One
# takes a well-known network, already trained on ImageNet (a million photographs of dogs, cups, ships), gives it a new last
# layer, and trains it a little more. The study that we follow did so with a ResNet-50, and found an Inception network to
# behave nearly the same [8]. Our victim is an EfficientNet-Lite0 made in the same way, and its starting point is in a package
# that anybody can install.
#
# ### Predict
#
# The victim's first layers were left as they were: edges and textures are the same in a radiograph as in a photograph.
# All the others were trained on this clinic's images. Compare its convolution weights with the public ones from which
# they started. The *cosine* between two long lists of numbers is 1 if they point the same way, and 0 if they have
# nothing to do with each other.
#
# Where between 0 and 1 do you expect it? And for a network of the same architecture with random weights?
#
# ### Run

# %%
lite0 = models.efficientnet_lite.efficientnet_lite0


def convolutions(model):
    """The weights of each convolution of a model, a list of numbers each."""
    return [w.detach().cpu().flatten() for w in model.parameters() if w.ndim == 4]


def cosine(ours, theirs):
    return torch.cosine_similarity(ours, theirs, dim=0).item()


ours, public, random = (convolutions(model) for model in (victim, lite0(), lite0(pretrained=False)))
nearness, control = cosine(torch.cat(ours), torch.cat(public)), cosine(torch.cat(ours), torch.cat(random))
print(f"{sum(map(len, ours)):,} weights in {len(ours)} layers")
print(f"cosine of the victim's and the public ones: {nearness:.3f}")
print(f"cosine of the victim's and random ones:     {control:.3f}")
moved = (torch.cat(ours) - torch.cat(public)).norm() / torch.cat(public).norm()
print(f"in training the weights have moved by {100 * moved:.1f} % of their length")

lines = {
    "victim and public network": (range(1, len(ours) + 1), list(map(cosine, ours, public))),
    "victim and random weights": (range(1, len(ours) + 1), list(map(cosine, ours, random))),
}
show.curves(
    lines, xlabel="layer, from the image to the answer", ylabel="cosine", title="How near are the victim's weights?"
)

# %% [markdown]
# ### Explain
#
# After its medical training the victim's weights still point nearly where the public ones do; its trained layers have not
# gone far either. Whoever downloads that network holds most of the victim in their hands, without having seen the hospital
# from inside. Lesson 05 turns this into an attack: train a copy of your own, attack the copy, and carry the result over. A
# study in ophthalmology, radiology and pathology found that pre-training of this kind can make such transfer dramatically
# easier [9].
#
# There is another side to it. An architecture that everybody knows can be inspected by everybody, and those who
# supervise medical devices may want just that. To hide it is no defence that lasts.

# %%
claim("the victim's weights still point nearly where the public ones do", nearness > 0.9)
claim("random weights of the same architecture do not", abs(control) < 0.1)

# %% [markdown]
# ## 10. Who would gain?
#
# **The fourth reason: many adversaries.** An attack needs somebody who wants it.
#
# ### Predict
#
# Follow one patient: from the appointment to the picture, through the network into the archive, to the model, the
# report, the treatment, the bill; perhaps into a clinical trial. At each step write down one person or firm who would
# gain if the model were *wrong*, and in which direction. Take two minutes. Then look.

# %% [markdown] tags=["instructor"]
# **Two minutes in pairs, on paper, before the figure.** Nearly everybody writes "hackers", and nobody writes a
# direction. Ask: "Who touches this image on an ordinary Tuesday, with every right to?" Somebody objects that no
# colleague would do such a thing. Agree, and point at the sentence in brackets: it says where the incentive is.
#
# **At the threat model (12)** the weak line is the goal: "to fool the model". Ask: "Which answer, for whom, and when
# does the money arrive?" Have each pair read one out. Keep the sheets: lessons 05 and 06 come back to them.

# %% jupyter={"source_hidden": true}
steps = (
    ("appointment", "practice paid\nfor each\ntreatment", "sick"),
    ("picture", "patient who\nwants a drug,\nor cover", "both"),
    ("network,\narchive", "intruder,\nblackmailer", "both"),
    ("model", "rival of\nits maker", "both"),
    ("report,\ntreatment", "seller of the\ntreatment", "sick"),
    ("bill", "insurer who\npays for it", "healthy"),
    ("clinical\ntrial", "sponsor whose\ndrug should\nwork", "healthy"),
)
figure, ax = show.picture(
    11.5,
    3.6,
    alt="A patient's way in seven steps, at each somebody who would gain from a wrong answer, and in which direction.",
)
colours = {"sick": show.RED, "healthy": show.BLUE, "both": show.BLACK}
arrows = {"sick": "▲ called sick", "healthy": "▼ called healthy", "both": "▲▼ either"}
for place, (step, who, direction) in enumerate(steps):
    ax.text(
        place,
        1,
        step,
        ha="center",
        va="center",
        fontsize=12,
        bbox={"boxstyle": "round,pad=0.45", "facecolor": "#EEF3F6", "edgecolor": "0.5"},
    )
    ax.text(place, 0.42, who, ha="center", va="center", fontsize=11)
    ax.text(
        place,
        -0.02,
        arrows[direction],
        ha="center",
        va="center",
        fontsize=11,
        color=colours[direction],
        fontweight="bold",
    )
    if place:
        ax.annotate("", (place - 0.42, 1), (place - 0.58, 1), arrowprops={"arrowstyle": "->", "linewidth": 1.5})
ax.set(xlim=(-0.6, len(steps) - 0.4), ylim=(-0.2, 1.3), title="Who gains, and what they want the model to say")
ax.set_axis_off()
figure

# %% [markdown]
# ### Explain
#
# | step | who could gain | wants the answer to be | what they can touch |
# |---|---|---|---|
# | appointment, picture | a practice that is paid for each operation | sick | the image before anyone else has it; thousands of images |
# | picture | a patient who hopes for a drug or a pension; or for cheap insurance | sick; or healthy | the skin, the eye, what lies beside it: a patch, not pixels |
# | network and archive | an intruder; a blackmailer; somebody with one person in mind | either | files on their way. In a covert test, researchers intercepted scans in the active network of a hospital [10] |
# | model | a rival of its maker, before a tender; an employee with a grudge | either | the model itself, its training images |
# | report, treatment | whoever sells what the report leads to | sick | often only the report; sometimes the settings, such as the threshold |
# | bill | an insurer who asks the model before paying | healthy | the image that was handed in, and a copy of the model |
# | clinical trial | a sponsor whose drug is to look effective | healthy after treatment, sick before | all images of the trial, once |
#
# Note three things. The direction differs. The *access* differs, from a copy of the image file to a patch on the skin. And
# few of these people look like a hacker. Most of them have a right to handle the image.
#
# (None of this says that such people do it. It says where the incentive is.)
#
# ### How much money is there?
#
# You will meet large figures in talks on this subject. Here are three of them, each followed back to where it came
# from. That was worth the trouble:
#
# | what is told | what the origin says |
# |---|---|
# | The world spends more than 7 trillion dollars a year on health | an editorial of 2014 says so [11]. The World Health Organization's figure for 2021 is **9.8 trillion**, 10.3 % of the world's economic output [12] |
# | In 2011 the United States lost between 82 and 272 billion dollars to medical embezzlement | "embezzlement" is the editorial's word [11]. Its source is an estimate of Berwick and Hackbarth (JAMA, 2012), whose category is **fraud and abuse** (as quoted in [13]) |
# | (the same) | an estimate of 2019 is far lower: **58.5 to 83.9 billion** a year [14] |
# | A single cancer drug is worth 1.67 billion dollars four years after approval | it is a **median over ten drugs**: a total revenue of 1,658.4 million dollars, a median of 4.0 years after approval (0.8 to 8.8), against 648.0 million spent on development [15] |

# %% jupyter={"source_hidden": true}
estimates = (("estimate for 2011\n(published 2012)", 82, 272), ("estimate of 2019", 58.5, 83.9))
figure, ax = show.picture(
    9,
    2.5,
    alt="US fraud and abuse in health care: 82 to 272 billion dollars for 2011, 58.5 to 83.9 in an estimate of 2019.",
)
for place, (_, low, high) in enumerate(estimates):
    ax.barh([-place], [high - low], left=[low], height=0.55, color=(show.ORANGE, show.SKY)[place], edgecolor="black")
    ax.text(high + 4, -place, f"{low:g} to {high:g}", va="center", fontsize=12)
ax.set(yticks=[0, -1], yticklabels=[name for name, *_ in estimates], xlim=(0, 340), xlabel="billion dollars a year")
ax.set_title("Fraud and abuse in US health care: two estimates that hardly meet")
figure

# %% [markdown]
# The sums are enormous either way, and so is the uncertainty. A motive is established; a figure with three digits is
# not.
#
# Why do drugs appear here? Because models are coming into use in clinical trials as well. Where a model decides whether
# a tumour has shrunk, a billion may depend on a few hundred images.

# %% [markdown]
# ## 11. What was done elsewhere
#
# None of this began in medicine. Two attacks on real objects made everybody look up. You will build both in lesson 08.
#
# **Stop signs** [16]. With black and white stickers, a real stop sign was classified as another sign. You will hear
# "100 % in the laboratory, and 84.8 % of the frames filmed from a moving car". Both figures are for *one* of the two
# classifiers that were tried (LISA-CNN). On the other (GTSRB-CNN) the same style of stickers reached 80 % in the
# laboratory. Other designs reached 66.67 and 73.33 %.
#
# **Three-dimensional objects** [17]. A printed turtle is taken for a rifle, and a baseball for an espresso, by Google's
# Inception-v3. The turtle succeeded in 82 of 100 photographs, the baseball in 59 of 100. So not "from every angle", as
# it is often told. Before the attack, all photographs of the same objects were classified correctly.

# %%
for name, photographs_fooled in {"turtle, as a rifle": 82, "baseball, as an espresso": 59}.items():
    print(f"{name:<26} {metrics.proportion(photographs_fooled, 100)}")

# %% [markdown]
# Now compare: the authors of [16] and [17] had to print, light, turn and photograph. Their attack had to survive all of
# it. In a clinic, the image *is* a file. Nobody drives past.
#
# **And in medicine?** Finlayson and colleagues attacked three tasks [8]. Here is how they map to our clinics:
#
# | their task | our clinic |
# |---|---|
# | fundus photographs: absent or mild retinopathy, or moderate to severe | eye: not referable, or referable |
# | chest radiographs: normal, or **pneumothorax** (air beside a collapsed lung) | chest: normal, or **pneumonia**. This differs, because public images of it exist |
# | dermoscopy: nevus, or melanoma | skin: nevus, or melanoma |
#
# Their best-known figure shows six images, one of each class. Under each stands the probability of the disease, as the
# model saw it [18]:
#
# | | eye − | eye + | chest − | chest + | skin − | skin + |
# |---|---|---|---|---|---|---|
# | the image itself | 0.0 % | 100.0 % | 0.2 % | 99 % | 0.0 % | 100.0 % |
# | **PGD**: a change too small to see | 100.0 % | 0.0 % | 100.0 % | 0.0 % | 100.0 % | 0.0 % |
# | a natural patch, the control | 0.01 % | 99.9 % | 0.3 % | 96.7 % | 69.7 % | 54.2 % |
# | **an adversarial patch**, in plain sight | 98.3 % | 35.0 % | 100.0 % | 0.1 % | 100.0 % | 0.0 % |
#
# Before you read on, find the two cells that surprise you most.
#
# Look at the last two columns. There the *natural* patch, a mere piece of a photograph, does half the damage by itself.
# Without that row you would have credited all of it to the attack. **Never believe an attack without its control.**
#
# The authors themselves warn against panic. Are adversarial attacks the biggest concern about machine learning in
# medicine? *"Nowhere close!"* they answer [19]. Most machine learning in health care today works on insurance claims,
# they say. There, the incentive to bend the input a little is as old as billing. That is one more reason to understand
# the matter before it is urgent.

# %% [markdown]
# ## 12. A threat model
#
# "Can this model be attacked?" has no answer. It is always yes, if the attacker may do everything. A claim about an
# attack or a defence only means something together with a **threat model**. Five questions will do:
#
# | question | means | eye clinic: a practice that is paid for each laser treatment |
# |---|---|---|
# | **Goal** | which answer, for whom? | healthy eyes are to be called *referable*. A few hundred a year; which ones does not matter |
# | **Knowledge** | what of the model is known? | the architecture and its public starting weights; not the trained weights |
# | **Capability** | what may be changed, and by how much? | every pixel of the file, by at most `eps` = 2/255, so that nobody notices on the screen |
# | **Access** | how is the model asked, and how often? | it answers with a label, one image at a time; some 50 a day without attracting attention |
# | **Constraints** | what must hold besides? | the file is saved with 8 bits a pixel; a doctor may look at it; the share of referrals must not jump |
#
# Each of these lines decides which lessons matter: knowing all the weights makes it a *white-box* attack (03, 04); not
# knowing them, transfer (05); asking the model, queries (06); a sticker instead of pixels, patches (07).
#
# Now yours. Pick another row of the big table above, and fill in the five lines. Nobody checks it. Keep it: whenever a
# later lesson claims that an attack works, hold it against your five lines.

# %%
my_threat_model = {
    "goal": "",
    "knowledge": "",
    "capability": "",
    "access": "",
    "constraints": "",
}
still_open = [question for question, answer in my_threat_model.items() if not answer.strip()]
if still_open:
    print("still open:", ", ".join(still_open))
else:
    print("Complete. Could somebody else tell from it whether an attack counts?")

# %% [markdown]
# > ### In the clinic
# >
# > When a product is offered to your hospital, you can now ask better questions than "how accurate is it?"
# >
# > - Sensitivity and specificity *at which threshold*, with which intervals, on how many sick patients?
# > - How frequent was the disease in the trial, and how frequent is it with us?
# > - Who made the labels, how many readers, and how well did they agree?
# > - Which public network did it start from?
# > - Between camera and report, who can touch the image? Would anyone notice?
# >
# > The last question costs nothing to ask. The rest of this course is about what hangs on its answer.

# %% [markdown]
# ## Quiz

# %% jupyter={"source_hidden": true}
quiz(
    "A test finds 90 % of the sick and clears 90 % of the healthy. In your practice 1 % of the people are sick. Somebody is "
    "called sick. How likely are they to be sick?",
    ["about 90 %", "about 50 %", "about 8 %"],
    answer="about 8 %",
    why={
        "about 90 %": "That is the sensitivity: of the sick, the share found. The question starts from those called sick.",
        "about 50 %": "Count 1,000 people: 10 are sick, 9 of them are found. How many of the 990 healthy are called sick?",
        "about 8 %": "Of 1,000 people 10 are sick and 9 of them are found. Of the 990 healthy, 99 are called sick. 9 of 108 are sick.",
    },
)

# %% jupyter={"source_hidden": true}
quiz(
    "The threshold of a melanoma model is lowered. What follows?",
    [
        "more melanomas are missed, fewer harmless moles are cut out",
        "fewer melanomas are missed, and the AUC of the model rises",
        "fewer melanomas are missed, more harmless moles are cut out",
    ],
    answer="fewer melanomas are missed, more harmless moles are cut out",
    why={
        "fewer melanomas are missed, more harmless moles are cut out": "More patients reach a lower threshold, of both kinds.",
        "more melanomas are missed, fewer harmless moles are cut out": "That is what a higher threshold does: fewer patients reach it.",
        "fewer melanomas are missed, and the AUC of the model rises": "The first half is right. The AUC looks at the order of the scores; no "
        "threshold changes it.",
    },
)

# %% jupyter={"source_hidden": true}
quiz(
    "A paper reports that its model agrees with the labels on 91 % of the images; two radiologists agree with each other on "
    "85 %. What can you conclude?",
    [
        "the model is better than the two radiologists",
        "the labels may not allow much more",
        "the model is wrong on 9 % of the patients",
    ],
    answer="the labels may not allow much more",
    why={
        "the labels may not allow much more": "Two who err equally often and independently, and agree on 85 %, "
        "are each wrong on about 8 %. Against the labels of one of them even a perfect model agrees on only about 92 %.",
        "the model is better than the two radiologists": "The model was compared with labels, the radiologists with each other. "
        "Two who are each right on 92 % agree on only 85 %.",
        "the model is wrong on 9 % of the patients": "It differs from the label on 9 %. Some of those labels are wrong.",
    },
)

# %% jupyter={"source_hidden": true}
quiz(
    "Which statement about a defence can be tested?",
    [
        "it makes the model secure, because it hides everything that an attack depends on",
        "no attack on it has succeeded so far, although several groups of experts have tried",
        "of changes up to 2/255, made by someone who knows the weights, it stops four in five",
    ],
    answer="of changes up to 2/255, made by someone who knows the weights, it stops four in five",
    why={
        "of changes up to 2/255, made by someone who knows the weights, it stops four in five": "Capability and knowledge are "
        "stated, so you can try to break it within them.",
        "it makes the model secure, because it hides everything that an attack depends on": "Against whom, allowed to do what? Without a threat model there is nothing to test.",
        "no attack on it has succeeded so far, although several groups of experts have tried": "Who has tried, how hard, and with what access? A later lesson, in preparation, shows how such claims fell.",
    },
)

# %% [markdown]
# ## What you now know
#
# - **Sensitivity** is about the sick, **specificity** about the healthy. A threshold trades one for the other. What a
#   positive answer means depends on how many are sick.
# - The **AUC** is the chance that a sick patient scores above a healthy one.
# - Labels are opinions. **Kappa** says how much better than chance readers agree, and a perfect model measured against
#   noisy labels looks imperfect.
# - Four reasons why medicine is exposed: *ambiguous truth, standardised images, popular architectures, many
#   adversaries.* You have measured the first three yourself.
# - A wrong answer has a direction: treatment missed, or treatment not needed. So has every motive.
# - Figures change on their way. Follow them to the origin.
# - Five questions make a threat model: goal, knowledge, capability, access, constraints.

# %%
progress()

# %% [markdown]
# **Next:** [02 Fine-tune the victim](02_fine_tune_the_victim.ipynb). You train models in the way in which the victim was
# trained, which the rest of the course attacks.
#
# ## Sources
#
# 1. The agency's words of 11 April 2018, as quoted at reviewob.com/new-ai-device-to-detect-diabetic-eye-disease.
# 2. American College of Physicians, 11 May 2018: diabetes.acponline.org/archives/2018/05/11/6.htm.
# 3. M. D. Abramoff et al., npj Digital Medicine 1:39 (2018): pmc.ncbi.nlm.nih.gov/articles/PMC6550188.
# 4. G. Litjens et al., *A survey on deep learning in medical image analysis*, Medical Image Analysis 42:60 (2017),
#    arXiv 1702.05747.
# 5. *Variability and accuracy in interpretation of consolidation on chest radiography for diagnosing pneumonia in
#    children under 5 years of age*, Pediatric Pulmonology 48:1195 (2013), doi 10.1002/ppul.22806.
# 6. Diabetic Medicine 28:741 (2011), doi 10.1111/j.1464-5491.2011.03273.x.
# 7. J. G. Elmore et al., *Pathologists' diagnosis of invasive melanoma and melanocytic proliferations*, BMJ 357:j2813
#    (2017), doi 10.1136/bmj.j2813.
# 8. S. G. Finlayson, H. W. Chung, I. S. Kohane, A. L. Beam, *Adversarial attacks against medical deep learning
#    systems*, arXiv 1804.05296; on the two networks: the authors' code, github.com/sgfin/adversarial-medicine. See also
#    Finlayson et al., Science 363:1287 (2019), doi 10.1126/science.aaw4399.
# 9. Bortsova et al., Medical Image Analysis (2021), doi 10.1016/j.media.2021.102141, arXiv 2006.06356.
# 10. Y. Mirsky et al., *CT-GAN*, USENIX Security 2019, arXiv 1901.03597.
# 11. Jain, Nundy, Abbasi, BMJ 348:g4184 (2014).
# 12. World Health Organization, *Global health expenditure report* (2023):
#     p4h.world/en/documents/global-health-expenditure-report-2023.
# 13. Berwick and Hackbarth, JAMA 307:1513 (2012), as quoted at myforum24.online/jama-spotlights-medical-waste-health.
# 14. Shrank, Rogstad, Parekh, JAMA 322:1501 (2019): edhub.ama-assn.org/jn-learning/module/2752664.
# 15. Prasad and Mailankody, JAMA Internal Medicine 177:1569 (2017): pmc.ncbi.nlm.nih.gov/articles/PMC5710275.
# 16. Eykholt et al., *Robust physical-world attacks on deep learning models*, CVPR 2018, arXiv 1707.08945.
# 17. Athalye, Engstrom, Ilyas, Kwok, *Synthesizing robust adversarial examples*, ICML 2018, arXiv 1707.07397.
# 18. The figure of [8] as reproduced in the slides of J. Campbell, Cardiff, 27 June 2018:
#     github.com/theref/Adversarial-Talk. This course grew out of that talk.
# 19. The authors' questions and answers: sgfin.github.io/2019/03/21/FAQ-On-Adversarial-Science-Paper.
#
# Cohen's kappa: J. Cohen, *A coefficient of agreement for nominal scales* (1960).
