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
# # 00 Start here
#
# **In twenty minutes you will have turned a medical classifier's answer round with a change that you cannot see. You
# will also know how every other lesson works.**
#
# At the end you will be able to
# - work through a lesson: predict, run, explain;
# - write an exercise, have it checked, ask for a hint, and make sense of the answer to a wrong attempt;
# - say what an image, a label, a logit and a probability are in this course;
# - say what this course is for, and what it must not be used for.
#
# | | |
# |---|---|
# | Time | about 20 minutes |
# | You need | Python (functions, indexing) and a little PyTorch (what a tensor is). No medicine. |
# | Your machine needs | no network, no GPU |
#
# The course is to have three parts. **Break**: make a good model give wrong answers (lessons 01 to 08, which are here).
# **Understand**: find out why that was so easy. **Harden**: make it difficult. (Both are in preparation.) You write every attack
# by hand before the library does it for you.
#
# Below are the settings of this lesson. Leave them as they are. The first time, images are drawn and a model is trained, which takes
# some minutes; bars show how far it is. The next time both are there at once.

# %% [markdown] tags=["instructor"]
# **In two minutes.** "This model is right about this patient, and sure of it. I am going to change its mind without
# changing anything that you can see." Don't say how: the word *gradient* is not needed today. What people should leave
# with are three habits: guess before you run; an attack stands beside its control; a number carries its interval.
#
# **Set up.** Run the lesson once on the machine that you project from: the first run draws three clinics and trains a
# model. Check that both claims at the end of "Why you are here" hold on your images. Paper on every table.
#
# **Time.** Why you are here 6 minutes, how a lesson works 1, three clinics 3, from pixels to an answer 3, the exercise
# 5, what this is for 2. **If it has to be ten minutes:** why you are here, the exercise, what this is for. The tour of
# the clinics reads well at home.

# %% tags=["parameters"]
clinic = "chest"  # "chest", "fundus" or "derm"
images = "auto"  # "auto", "phantom", "medmnist" or "real"; where images come from is explained below
n = 32  # test images that the model is asked about
levels = 2  # how far a change may move each pixel value: so many of the 255 steps from black to full
seed = 0  # of every random draw

# %%
import torch

from medattack_edu import attacks, check, claim, evaluate, hint, open_clinic, progress, quiz, show

torch.manual_seed(seed)
here = open_clinic(clinic, images)
here.banner()

# %% [markdown]
# That line stands at the top of every lesson. It says which images you have, how many, on which device the work is
# done, and under which licence the images come.
#
# ## Why you are here
#
# A model was trained to answer the question of this clinic. It is the one that we attack, so we call it the **victim**. It
# has never seen the patients of the test set. From those we pick one who is sick, and whom the model recognises with great confidence.

# %%
print(here.question)
victim = here.victim()
x, y = here.test.sample(n, seed=seed, balanced=True)
probability = victim(x).softmax(1)[:, 1]  # of the disease, for each of the n images
surest = int((probability * (y == 1)).argmax())  # the sick patient of whom the model is surest
patient, truth = x[surest : surest + 1], y[surest : surest + 1]  # still a batch, of one

answer = f"the model says: {here.classes[1]}, {show.percent(float(probability[surest]))}"
figure, ax = show.picture(3.6, 3.6, alt=f"The patient whom we picked; {answer}.")
ax.imshow(show.pixels(patient[0]))
ax.set_axis_off()
ax.set_title(answer)
figure

# %% [markdown]
# ### Predict
#
# Now we change this image, twice, and both times by very little. A screen knows 255 steps from black to white, and no
# pixel moves by more than 2 of them. This limit is called **eps**, and written 2/255.
#
# - The first change is **noise**: at each pixel a coin decides between brighter and darker. It is the **control**, a change of
#   the same size that is aimed at nothing.
# - The second change is an **attack**: it is computed.
#
# Which of the two will you be able to see? Which of the two will change the model's answer? Say it aloud, or write it
# down, before you go on. (This is meant seriously. Whoever has guessed first remembers better.)
#
# ### Run

# %% [markdown] tags=["instructor"]
# **Ask for hands:** will noise turn the answer? Will the attack? Write both counts on the board; come back to them
# after the claims.
#
# **At the second picture, ask:** "If you had only the third panel, what would you think we did to this patient?" Many
# take the *magnified* change for the change itself. Let somebody find the plain grey panel beside it, and read the
# factor aloud.
#
# **Somebody says "so it is simply a bad model".** Don't defend it. Ask how they would find out, and let them do so at
# the eight patients further down.

# %%
eps = levels / 255
noisy = attacks.random_noise(patient, eps=eps)
show.perturbation(patient, noisy, victim, truth, here.classes)

# %%
attacked = attacks.pgd(victim, patient, truth, eps=eps)
show.perturbation(patient, attacked, victim, truth, here.classes)

# %% [markdown]
# ### Explain
#
# In each row you see the image before, the change as it is, the same change magnified, and the image after. The change
# as it is looks plain grey: both are too small to see.
#
# Yet they are not alike. An image of 128 by 128 pixels holds 49,152 numbers, three for each pixel: how much red, green
# and blue. The noise pushes each of them somewhere, and the pushes cancel out. The attack has asked the model first:
# *for each of these numbers, in which direction must I move it to make your answer worse?* Then it has moved all of
# them that way, in several tiny steps, and has asked again after each.
#
# That is what this course is about. You will write this attack yourself, line by line, in lessons 03 and 04. Here it
# was one call, `attacks.pgd` (what the letters stand for, lesson 04 says).

# %%
said = victim(torch.cat([patient, noisy, attacked])).argmax(1)
claim("noise of this size leaves the answer as it was", said[1] == said[0])
claim("the attack of the same size changes the answer", said[2] != said[0])

# %% [markdown]
# ## How a lesson works
#
# You have just been through one round of it.
#
# 1. **Predict.** You answer a question before you see the result.
# 2. **Run.** `Shift` + `Enter` runs a cell. Run the cells from top to bottom; each builds on those above.
# 3. **Explain.** The text after the cell says what happened, and why.
#
# The code of some pictures, and of the quiz, is folded away. A click on the dots unfolds it.
#
# A green tick is a **claim**. Whatever a lesson asserts about results is a line of code, and it is tested on *your*
# images and *your* model. If something does not hold for you, the line says so and the lesson goes on. Then you have
# found something interesting.
#
# Change things. Set `levels` to 1 above, or `clinic` to `"derm"`, and choose *Run > Run All Cells*. A lesson always
# runs to its end, even with every exercise left open.
#
# If the machine itself gives trouble, type `medattack doctor` in a terminal (*File > New > Terminal*). It says in ten
# lines what you have, and what to do about each problem.

# %% [markdown]
# ## Three clinics
#
# The course has three clinics, each with one question to answer yes or no. They are the ones of the study that this
# course follows [1], with one difference: where the study looked for a collapsed lung in the chest, we look for
# pneumonia, because public images of that kind exist.
#
# **The eye clinic** photographs the retina, the back of the eye. The bright disc is where the optic nerve leaves;
# vessels spread from there. Diabetes damages the smallest vessels: they bulge into red dots, bleed, and leak yellow
# flecks. *Referable* means: bad enough that an eye doctor should look at it. A few dots alone are not.

# %%
eyes, grades = open_clinic("fundus", images).test.sample(8, seed=seed, balanced=True)
show.gallery(eyes, grades, ("not referable", "referable"))

# %% [markdown]
# **The chest clinic** takes radiographs. Air lets X-rays through and looks black; bone and water stop them and look
# white. In *pneumonia* a part of the lung fills with fluid: a white haze where it should be dark, and borders that
# fade.

# %%
chests, findings = open_clinic("chest", images).test.sample(8, seed=seed, balanced=True)
show.gallery(chests, findings, ("normal", "pneumonia"))

# %% [markdown]
# **The skin clinic** looks at moles through a lens pressed to the skin. A *nevus* is a harmless mole: even, regular,
# one or two colours. *Melanoma* is a cancer: lopsided, with a ragged border and several colours, sometimes a blue-white
# veil.

# %%
moles, diagnoses = open_clinic("derm", images).test.sample(8, seed=seed, balanced=True)
show.gallery(moles, diagnoses, ("nevus", "melanoma"))

# %% [markdown]
# ### Where the images come from
#
# | `images=` | what you get | what it takes |
# |---|---|---|
# | `"phantom"` | images drawn by this package, no two alike, with disease that a model can learn to see | nothing: they are there at once, on any machine |
# | `"medmnist"` | real patients from the public MedMNIST collections [2]: RetinaMNIST, PneumoniaMNIST, DermaMNIST | once, in a terminal: `medattack fetch`. It shows the licence of each |
# | `"path/to/folder"` | images of your own: `train/` and `test/`, with a folder for each class | a folder for one clinic; in this lesson one that holds `fundus/`, `chest/` and `derm/` |
# | `"real"` | images of your own for all three clinics; if there are none, MedMNIST | a folder that holds `fundus/`, `chest/` and `derm/`, and its path in the environment variable `MEDATTACK_DATA` |
# | `"auto"` | MedMNIST if it was fetched, otherwise phantoms | nothing. (The environment variable `MEDATTACK_IMAGES` overrules it.) |
#
# The banner always says which you have. The claims of this course are tested on phantoms and on real images. Run a lesson
# twice and you get the same figures. On another machine the victim is trained anew and sums are added in another order, so
# your neighbour's figures are near yours and not the same.
#
# ### Predict
#
# Back to the clinic that you opened. The model is about to diagnose eight patients whom it has never seen. How many of
# the eight will it get right? And is it unsure where it is wrong?
#
# ### Run

# %%
show.gallery(x[:8], y[:8], ("healthy", "sick"), victim)

# %%
scores = evaluate(victim, x, y)
print("accuracy  ", scores.accuracy)
print("confidence", scores.confidence)

given, answers = victim(x).softmax(1).max(1)  # the probability of each answer, and the answer
mistakes = given[answers != y].tolist()
print(f"{len(mistakes)} mistakes; the model was sure of them by", ", ".join(map(show.percent, mistakes)) or "-")

# %% [markdown] tags=["instructor"]
# **Ask:** "Which of its mistakes would you have caught by looking at the probability?" Then, at the interval: "How many
# patients would you need to make it half as wide?" The usual guess is twice as many; it is four times.

# %% [markdown]
# ### Explain
#
# Under each image stands the model's answer, with a tick or a cross, and the probability that the model gives to it. A
# model like this is useful, and it makes mistakes. The last line above says how sure it was of each of them: a wrong
# answer can be a confident one. **A high probability is not a promise.** You will make much of that.
#
# *Accuracy* is the share of right answers, *confidence* the mean probability of the answers given. Behind every number
# stand its **95 % interval** and the number of images, n. You have asked about a few patients and would like to know
# about all. The interval holds the values for *all* that fit what you saw on the few; drawn up in this way, it holds
# the right one in about 95 of 100 studies. The fewer images, the wider it is: an accuracy of 0.90 from 10 images and
# one from 1,000 are not the same piece of news.

# %% [markdown]
# ## From pixels to an answer
#
# ### Predict
#
# To the model an image is a block of numbers. Below is one of them, with a few of its pixels enlarged; of their three
# numbers you see the one for red. For each image the model gives two numbers, its **logits**, one for each class.
# Suppose that they are `-1.0` for healthy and `2.0` for sick.
#
# - Which class is the answer?
# - If you add 5 to *both* logits, does the answer change? Does the probability?
#
# ### Run

# %% jupyter={"source_hidden": true}
image, label = x[0], y[0].item()
side, edge = 6, image.shape[-1] // 3
middle = image[0, edge:-edge, edge:-edge]  # channel 0 is red
contrast = middle.unfold(0, side, 1).unfold(1, side, 1).std((2, 3))
down, across = divmod(int(contrast.argmax()), contrast.shape[1])
row, column = edge + down, edge + across  # where there is most to see

figure, (whole, part) = show.picture(
    9, 4.2, 1, 2, alt=f"An image, and {side} by {side} of its pixels with their values."
)
whole.imshow(show.pixels(image))
box = [column, column + side, column + side, column, column], [row, row, row + side, row + side, row]
whole.plot(*box, color=show.ORANGE, linewidth=2.5)
whole.set(title=f"label {label}: {here.classes[label]}", xlabel="column", ylabel="row")
close_up = image[0, row : row + side, column : column + side].cpu()
part.imshow(close_up, cmap="gray", vmin=0, vmax=1)
for r in range(side):
    for c in range(side):
        value = close_up[r, c].item()
        part.text(c, r, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.5 else "black")
part.set(title="the red channel inside the small square", xticks=[], yticks=[])
figure

# %%
logits = victim(image[None])  # the model takes a batch: here one image


def short(numbers):
    return ", ".join(f"{number:.4f}" for number in numbers.flatten().tolist())


print(f"image          {tuple(image.shape)}, {image.dtype}, from {image.min():.2f} to {image.max():.2f}")
print(f"numbers in it  {image.numel():,}")
print(f"label          {label}, that is {here.classes[label]}")
print(f"logits         {short(logits)}")
print(f"probabilities  {short(logits.softmax(1))}")
print(f"  after + 5    {short((logits + 5).softmax(1))}")

# %% [markdown]
# ### Explain
#
# These words come back in every lesson:
#
# | word | here |
# |---|---|
# | **image** | a tensor of shape (3, height, width), 3 for red, green and blue. Every value lies **between 0 (black) and 1 (full)**. |
# | **batch** | several images in one tensor `x`, of shape (N, 3, height, width) |
# | **label** | the truth `y`: 0 healthy, **1 the disease**, in every clinic |
# | **logits** | what the model gives for a batch, of shape (N, 2): a number for each class. The larger one is the answer. |
# | **probabilities** | the logits pressed by *softmax* into numbers from 0 to 1 that add up to 1 |
#
# Only the *difference* of the two logits counts. Adding 5 to both changes neither the answer nor the probability,
# because softmax divides away what they have in common. With the logits `a` (healthy) and `b` (sick), the probability
# of sick is
#
# > exp(b) / (exp(a) + exp(b)) = 1 / (1 + exp(a - b)).
#
# With -1.0 and 2.0 the answer is sick, and its probability is 1 / (1 + exp(-3)) = 0.95.

# %%
shifted = (victim(x) + 5).softmax(1)
claim("adding 5 to both logits changes no probability", (shifted - victim(x).softmax(1)).abs().max() < 1e-5)

# %% [markdown]
# ## Your first exercise
#
# An exercise is a function with a name, a docstring that says what goes in and what comes out, and a gap. You fill the
# gap and run the cell. The last line hands your function to a **check**, which tries it on cases of its own.
#
# This one computes the accuracy: the share of right answers. It needs three steps. Here they are on three images:

# %% [markdown] tags=["instructor"]
# **What you will see on the screens.** A count in place of a share (`.sum()`: 6 came, 0.75 was expected). `(logits[:,
# 1] > 0)`, which takes a positive second logit for "sick". `argmax(0)`, which stops with a size mismatch. `.mean()` of
# True and False, which PyTorch refuses.
#
# **Ask instead of telling.** To the count: "What would yours say of 1,000 images, all right?" To the single logit: "The
# logits are 3 and 2. Who wins?" To `argmax(0)`: "Which two numbers belong to one patient: a row or a column?" To the
# refused mean: "What does the error say about the type?"
#
# Let everybody see a wrong answer once. Whoever is right at the first go may break their function on purpose and read
# what comes.

# %%
three_logits = torch.tensor([[2.0, -1.0], [0.3, 0.9], [-1.0, 0.5]])
three_labels = torch.tensor([0, 0, 1])

answers = three_logits.argmax(1)  # 1. in each row, which logit is larger? That is the answer: 0, 1, 1
matches = answers == three_labels  # 2. is it the label? True, False, True
share = matches.float().mean()  # 3. as numbers 1, 0, 1; their mean is 2 of 3
print(answers, matches, share, sep="\n")

# %% [markdown]
# Before you write your own: somebody has tried, and has forgotten something. This is what the answer to an attempt
# looks like.

# %%
from contextlib import suppress


def somebodys_accuracy(logits, y):
    return (logits.argmax(1) == y).sum()


with suppress(AssertionError):  # only here: the course's own tests stop at an attempt that isn't right
    check.accuracy(somebodys_accuracy)

# %% [markdown]
# The message does not just say "wrong". It says what the function was tried on, what it gave back, and what that number
# is.
#
# If you are stuck, ask for a hint. There are three for each exercise; every call shows the next one, and the last one
# gives nearly all of it away. (The cell below shows you how. Run it again, and the next one comes. Hints cost nothing, but your
# summary counts them.)

# %%
hint("accuracy")

# %% [markdown]
# Now you. Replace the line with the three dots, and run the cell. (While the gap is empty, the lesson goes on with its
# own version, so nothing stops you.)


# %%
def accuracy(logits, y):
    """The share of right answers.

    Args:
        logits: the model's answers, float tensor (N, 2).
        y: true labels, int64 tensor (N,), 0 or 1.

    Returns:
        One number, from 0 (all wrong) to 1 (all right).
    """
    ### BEGIN SOLUTION
    right = logits.argmax(1) == y
    return right.float().mean().item()
    ### END SOLUTION


accuracy = check.accuracy(accuracy)

# %% [markdown]
# From here on the lesson uses *your* function, if it is right. That is so with everything that you write.

# %%
yours = accuracy(victim(x), y)
print(f"yours {yours:.3f}, the library's {scores.accuracy}")
claim("your accuracy is the library's", abs(yours - scores.accuracy) < 1e-6)

# %% [markdown]
# > ### In the clinic
# >
# > A model's answer is a number on a screen, until somebody acts on it. Then it is an appointment, a biopsy, a drug; or
# > it is the lack of one. The answer that you turned round at the top of this page would have sent a sick person home.
# >
# > Nobody has to be evil for that to matter. If a change that no eye can see turns the answer round, then the answer
# > rests on something other than what a doctor sees in the image. To find out on what, and to put it right, is the aim
# > of this course.

# %% [markdown]
# ## What this is for, and what it is not for
#
# You are about to learn how to make medical models fail. The methods are public; hospitals and makers need people who
# master them.
#
# - **Attack what is yours.** Use public or synthetic images and models on your own machine, as this course does. For
#   any other system get permission first, in writing, from whoever is responsible for it.
# - **Never touch what is in use.** Not a record, not an image on its way to a diagnosis, not a camera or a scanner.
# - **This is no medical device.** Its models diagnose nobody. Do not upload your own mole to see what they say.
# - **If you find a weakness in a real product**, tell its maker first and in private, say exactly how to repeat it, and
#   give them time to mend it before you publish. If patients may come to harm, tell the hospital and the authority that
#   supervises medical devices as well.
# - **Respect the licence** of every set of images. The banner shows it.
#
# ## The lessons
#
# | | lesson | what you build |
# |---|---|---|
# | 00 | Start here | you are here |
# | 01 | [Deep learning in medicine](01_deep_learning_in_medicine.ipynb) | the numbers that doctors use; a threat model |
# | 02 | [Fine-tune the victim](02_fine_tune_the_victim.ipynb) | the model that the rest of the course attacks |
# | 03 | [The fast gradient sign attack](03_fast_gradient_sign.ipynb) | your first attack: one step up the hill |
# | 04 | [Projected gradient descent](04_projected_gradient_descent.ipynb) | the strong one: many small steps |
# | 05 | [Black box: transfer](05_black_box_transfer.ipynb) | an attack on a model that you never see |
# | 06 | [Black box: queries](06_black_box_queries.ipynb) | an attack by questions alone |
# | 07 | [Adversarial patches](07_adversarial_patches.ipynb) | a sticker that wins wherever it is stuck |
# | 08 | [The physical world](08_the_physical_world.ipynb) | attacks on things, that a camera has to see |
# | 09 to 12 | in preparation | three clinics; why it works; how to harden a model |
#
# Each takes one to two hours, and builds on those before it. Here is what you have solved so far.
# `progress.save("summary.html")`, in a cell of your own, writes the same as a page to keep or to print, with the hints
# that you used and the time that you worked.

# %% [markdown] tags=["instructor"]
# **Never drop "What this is for".** Two minutes: read the bold sentences in turn, and ask: "May you attack the model of
# your own hospital, at night, on a copy? Who would have to agree?" (Whoever is responsible for it, in writing. A copy
# of a product has a licence, and its images have patients.) Somebody in a room of thirty works with such a system: say
# that you are there for questions afterwards.

# %%
progress()

# %% [markdown]
# ## Quiz
#
# Choose an answer: its explanation appears below. You may try them all.

# %% jupyter={"source_hidden": true}
quiz(
    "For one image the logits are 0.2 (healthy) and -0.3 (sick). What does the model answer?",
    ["sick, because the second logit is below 0", "healthy", "that can't be said without softmax"],
    answer="healthy",
    why={
        "healthy": "The larger logit wins. Softmax would turn the two into 0.62 and 0.38; it never changes which one is larger.",
        "sick, because the second logit is below 0": "The sign of one logit says nothing. The two are compared with each "
        "other, and the larger one is the answer.",
        "that can't be said without softmax": "Softmax turns logits into probabilities. It never changes which of them is "
        "larger, so the answer can be read from the logits.",
    },
)

# %% jupyter={"source_hidden": true}
quiz(
    "Why did the attack succeed where noise of the same size did nothing?",
    [
        "It moved some pixels by more than the noise did",
        "It changed the part of the image that shows the disease",
        "All its pushes move the answer the same way",
    ],
    answer="All its pushes move the answer the same way",
    why={
        "All its pushes move the answer the same way": "Each push is tiny. There are 49,152 of them, and they add up, while "
        "those of the noise cancel out. Lesson 03 shows this in numbers.",
        "It moved some pixels by more than the noise did": "Both were held to the same limit at every pixel, and the noise "
        "used all of it everywhere.",
        "It changed the part of the image that shows the disease": "Look at the magnified change above: it is spread over the "
        "whole image, and nothing in it was painted over.",
    },
)

# %% jupyter={"source_hidden": true}
quiz(
    "A claim says: does not hold here. What has happened?",
    [
        "I made a mistake in one of the exercises",
        "The result here is not what the lesson expected",
        "The notebook is broken and must be started again",
    ],
    answer="The result here is not what the lesson expected",
    why={
        "The result here is not what the lesson expected": "A claim is tested every time it runs, on your images and your model. "
        "If you changed a setting, find out why it fails now. That is research.",
        "I made a mistake in one of the exercises": "Exercises are answered by their checks. If a check refuses your function, the lesson "
        "goes on with its own, so a claim does not suffer from it.",
        "The notebook is broken and must be started again": "Nothing is broken: the claim did its work. The lesson goes on.",
    },
)

# %% [markdown]
# ## What you now know
#
# - A change of two steps in 255, too small to see, turned a confident and right answer into a wrong one. Noise of the
#   same size did not. **An attack is always shown next to its control.**
# - Images are numbers from 0 to 1. A model turns a batch into logits; the larger logit is the answer; softmax makes
#   probabilities.
# - In every clinic class 1 is the disease.
# - Predict, run, explain. Checks for what you write, hints when you are stuck, claims for what the lesson asserts.
# - Attack what is yours, and tell the maker first.
#
# **Next:** [01 Deep learning in medicine](01_deep_learning_in_medicine.ipynb). What is a medical classifier's answer
# worth, who could want it to be wrong, and in which direction?
#
# ## Sources
#
# 1. S. G. Finlayson, H. W. Chung, I. S. Kohane, A. L. Beam. *Adversarial attacks against medical deep learning
#    systems.* [arXiv 1804.05296](https://arxiv.org/abs/1804.05296) (2018, rewritten 2019). Its three tasks: fundus
#    photographs, chest radiographs (pneumothorax), dermoscopy.
# 2. Yang et al., *MedMNIST v2*, Scientific Data (2023). `medattack fetch` shows the source and the licence of each
#    collection.
