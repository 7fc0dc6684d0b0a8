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
# # 02 Fine-tune the victim
#
# **Before you break a model you make one: a network that has only ever seen cats, cars and teapots learns to read
# medical images, in less than a minute. You will know each of its parts, and which of them help an attacker.**
#
# At the end you will be able to
# - put the normalisation inside a model, and say what happens silently when it is forgotten or done twice;
# - give a pre-trained network a new last layer, freeze the rest, and write the training step that trains it;
# - compare a probe, fine-tuning and training from scratch on the same patients, with intervals;
# - show what it does to a result when a patient is in the training and in the test set;
# - choose an operating threshold on patients who may decide it, and measure it on others.
#
# | | |
# |---|---|
# | Time | 60 to 80 minutes, one or two of them for training; a good place for a pause is the end of section 4 |
# | You need | [lesson 00](00_start_here.ipynb) (images, logits, checks); [lesson 01](01_deep_learning_in_medicine.ipynb) (sensitivity, AUC) |
# | Your machine needs | nothing more: no network, no GPU |

# %% [markdown] tags=["instructor"]
# **In two minutes.** "Today you make what you will break. Nearly all of it is borrowed, and whoever wants to attack it
# can borrow the same." Two sentences should stay: *normalisation lives inside the model*, and *a threshold is chosen on
# patients who taught nothing and judge nothing*.
#
# **Set up.** Section 5 trains for about a minute on a laptop's processor: start that cell and use the minute (see
# there). On a machine that thirty people share it is several minutes; then run it yourself beforehand and show the
# page.
#
# **Time.** Section 1: 4 minutes, 2: 10, 3: 15, 4: 4, 5: 8, 6: 6, 7: 8, 8 and 9: 5. **If time is short,** leave out 4, 8
# and 9; nothing later needs them. Keep 2 (eps is counted in its pixels) and 7.

# %% tags=["parameters"]
clinic = "fundus"  # "fundus", "chest" or "derm"
images = "auto"  # "auto", "phantom", "medmnist", "real", or the path of a folder of your own
n_train = 400  # patients whom your own models learn from
n_validation = 160  # patients who choose: when to stop, and where the threshold stands
n = 200  # test patients, whom everything is measured on (fewer, if the clinic has fewer)
epochs = 2  # how often fine-tuning goes through the training patients
wanted = 0.9  # the sensitivity that your threshold is to reach
seed = 0  # of every random draw

# %%
import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

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
from medattack_edu.clinics.images import ImageSet
from medattack_edu.models.finetune import augmentation, class_weights, finetune, train_step

torch.manual_seed(seed)
here = open_clinic(clinic, images)
here.banner()

# %% [markdown]
# First the patients, in three piles that stay apart through the whole lesson:
#
# | pile | what for |
# |---|---|
# | **training** | their images and labels move the weights |
# | **validation** | they choose: when to stop, which threshold |
# | **test** | they only judge. Nothing is chosen on them |
#
# The clinic also has a pile for the attacker. It stays closed until lesson 05.

# %%
shuffled = torch.randperm(len(here.train), generator=torch.Generator().manual_seed(seed))
validation = here.train.subset(shuffled[:n_validation])
training = here.train.subset(shuffled[n_validation : n_validation + n_train])
x, y = here.test.sample(min(n, len(here.test)), seed=seed)
device = x.device
classes = [name.replace("_", " ") for name in here.classes]

print(here.question)
for name, labels in (("training", training.labels), ("validation", validation.labels), ("test", y)):
    print(f"{name:<11}{len(labels):>4} patients, {int(labels.sum()):>3} of them {classes[1]}")

# %% [markdown]
# ## 1. Borrowed eyes
#
# A hospital has hundreds or thousands of labelled images. A network like ours has millions of weights. So hardly
# anybody starts from nothing. You take a network that was trained on **ImageNet**, photographs of 1,000 kinds of
# things, and go on from there: you **fine-tune** it. Finlayson and colleagues, whose attacks this course repeats, did
# so [1]:
#
# | | Finlayson et al., their published code [2] | here |
# |---|---|---|
# | network, pre-trained on ImageNet | ResNet-50 | EfficientNet-Lite0 |
# | image | 224 x 224 pixels | 128 x 128 |
# | new end | two linear layers (128, then 2), with dropout 0.2 | dropout 0.2, one linear layer |
# | what is trained | all layers | for the victim all but the first five of 16 blocks, which see edges and textures; below you try other ways |
# | optimiser | SGD, learning rate 0.001, momentum 0.9, batch 32 | AdamW, batch 16, the learning rate rises and falls once |
# | how long | up to 300 epochs | a few |
# | augmentation | shear, zoom, rotation, shift, horizontal flip | the same kinds, milder |
#
# You need not know every word in that table; those that matter here are explained below. Theirs wants a GPU and
# patience; ours has to fit a laptop. The idea is the same.
#
# For an attacker it is a gift. The talk that this course grew from lists among the reasons why medicine is susceptible:
# "Popular architecture are often used; quite possible that they will be public for transparency" [3]. Whoever guesses
# the network and its first weights knows a good part of your model before you have trained it. How much that is worth,
# you measure in lesson 05. One group has found, in ophthalmology, radiology and pathology, that pre-training "may
# dramatically increase the transferability" of attacks from one model to another [4].
#
# ## 2. What goes in
#
# An image comes as pixels from 0 to 1. The network was not trained on that. Each network has its own idea of what comes in: a
# *mean* was taken away and the rest divided by a *standard deviation*, colour by colour. That is **normalisation**. For this
# network both numbers are 0.5, in each colour. Black becomes -1, full becomes 1. (Others use the mean and spread of
# ImageNet's colours.)
#
# ### Exercise 1: normalise
#
# Three colours, three means, three standard deviations. Mind the shapes. (Stuck? `hint("normalise")`.)

# %% [markdown] tags=["instructor"]
# **The mistake that matters:** `(x - mean) / std` with three numbers as they come. PyTorch lines shapes up from the
# right, so they meet the *width*. Mostly that is an error, and an error is luck; on an image three pixels wide it runs
# through, and the check has one. **Ask:** "Write the two shapes below each other, flush right. Under which number does
# your 3 stand?"
#
# Others: the mean of *these images* in place of the one given ("then what does the answer for one patient depend on?"),
# the brackets, a `clamp` at the end ("should black stay 0 after normalising?").


# %%
def normalise(x, mean, std):
    """Images as a network expects them: each colour with its mean taken away, then divided by its standard deviation.

    Args:
        x: images, float tensor (N, 3, H, W), pixels in [0, 1].
        mean, std: one number for each colour, float tensors (3,), in the same units.

    Returns:
        A new tensor (N, 3, H, W).
    """
    ### BEGIN SOLUTION
    mean, std = mean.view(1, 3, 1, 1), std.view(1, 3, 1, 1)
    return (x - mean) / std
    ### END SOLUTION


normalise = check.normalise(normalise)

# %% [markdown]
# Where should it stand? You could normalise each image when you load it. Then every line of every program that meets the
# model must know about it. The other way is to put it **inside the model**, once, and to let pixels in [0, 1] come in. (The
# course's models have theirs inside already. To try out yours, `Bare`, further down, first takes it away, and `Normalised`
# puts yours in front.)


# %%
class Normalised(nn.Module):
    """A network with its normalisation in front: pixels in [0, 1] go in, logits come out."""

    def __init__(self, network, mean, std):
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean))  # a buffer moves to the GPU and into the file with the
        self.register_buffer("std", torch.tensor(std))  # weights, but no optimiser touches it

    def forward(self, x):
        return self.network(normalise(x, self.mean, self.std))


class Bare(nn.Module):
    """One of the course's models without the normalisation that it has inside: it wants values from -1 to 1.

    The course's models can't be normalised wrongly. This one can, and that is what it is for.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, scaled):
        return self.model((scaled + 1) / 2)


HALF = [0.5, 0.5, 0.5]
imagenet = models.efficientnet_lite.efficientnet_lite0().to(device)  # 1,000 classes, as it came
network = Bare(imagenet)
whole = Normalised(network, HALF, HALF).to(device)

# %% [markdown]
# ### Predict
#
# Below is a cat. The network is asked five times:
#
# - with your normalisation, **once**;
# - with none: it was **forgotten**;
# - with two: it was **done twice**, when the image was loaded and again inside the model;
# - with pixels **from 0 to 255**, as they come out of a file, and then your normalisation;
# - with pixels **divided by 255 twice**, by two people who both meant well, and then your normalisation.
#
# Which of the five still see a cat? Which raise an error?
#
# ### Run

# %%
from skimage import data
from torchvision.models import EfficientNet_B0_Weights

THINGS = EfficientNet_B0_Weights.DEFAULT.meta["categories"]  # the names of the 1,000 classes, in ImageNet's order
CATS = [281, 282, 283, 284, 285]  # tabby, tiger cat, Persian, Siamese, Egyptian

photograph = torch.tensor(data.chelsea()).permute(2, 0, 1)[None, :, :, 75:375].float() / 255
cat = F.interpolate(photograph, size=224, mode="bilinear", antialias=True).to(device)
half = torch.tensor(HALF, device=device)
ways = {
    "normalised once": lambda x: normalise(x, half, half),
    "forgotten": lambda x: x,
    "done twice": lambda x: normalise(normalise(x, half, half), half, half),
    "pixels 0 to 255": lambda x: normalise(255 * x, half, half),
    "divided by 255 twice": lambda x: normalise(x / 255, half, half),
}
with torch.no_grad():
    beliefs = {name: network(way(cat)).softmax(1)[0].cpu() for name, way in ways.items()}
    same_inside = torch.allclose(whole(cat), imagenet(cat), atol=1e-3)

figure, axes = show.picture(11.5, 5.6, 2, 3)
axes[0, 0].imshow(show.pixels(cat[0]))
axes[0, 0].set(xticks=[], yticks=[], title="the photograph")
for ax, (name, belief) in zip(axes.flat[1:], beliefs.items(), strict=True):
    top, things = belief.topk(3)
    ax.barh(range(3), top, 0.45, color=[show.BLUE if int(k) in CATS else show.ORANGE for k in things])
    for row, (probability, k) in enumerate(zip(top.tolist(), things.tolist(), strict=True)):
        ax.text(0.01, row - 0.27, f"{THINGS[k]}, {show.percent(probability)}", fontsize=11, va="bottom")
    ax.set(xlim=(0, 0.6), xticks=[0, 0.2, 0.4], ylim=(2.4, -0.7), yticks=[], title=name, xlabel="probability")
told = "; ".join(
    f"{name}: {THINGS[int(belief.argmax())]} {float(belief.max()):.2f}" for name, belief in beliefs.items()
)
figure.alt = f"A cat, and the three likeliest answers of the network. The first of them: {told}."
figure

# %% [markdown] tags=["instructor"]
# **Hands before the run:** which of the five still see a cat, which raise an error? Rooms vote for errors. There is
# none.
#
# **At the figure, ask:** "Which of these five would you notice in production?" and after the victim's table below:
# "Your monitoring watches the AUC. Which of these mistakes does it see? And what do the patients see?" The share called
# sick moves where the AUC may hardly do so.

# %%
sees_a_cat = {name: int(belief.argmax()) in CATS for name, belief in beliefs.items()}
for name, belief in beliefs.items():
    print(f"{name:<22}all kinds of cats together: {belief[CATS].sum():.3f}")
claim("your normalisation is the one that the library's model has inside", same_inside)
claim("forgotten or done twice, the network still sees a cat", sees_a_cat["forgotten"] and sees_a_cat["done twice"])
claim("off by a factor of 255, it does not", not (sees_a_cat["pixels 0 to 255"] or sees_a_cat["divided by 255 twice"]))

# %% [markdown]
# ### Explain
#
# **No error, anywhere.** The shapes fit, and a network answers whatever numbers you give it. The gross mistakes turn
# the cat into something else. The mild ones are worse in their way: on an easy photograph you can't even see them. They
# shift brightness and contrast, and a network that has seen cats by day and by night doesn't mind.
#
# A diagnosis is a finer question than "cat or teapot". Now try the same on the model that the rest of the course
# attacks, your clinic's **victim**. Before you run it: will the mild mistakes be harmless here too?

# %%
victim = here.victim()
bare_victim, asked = Bare(victim), x[:100]
answers = {name: metrics.logits(bare_victim, way(asked), batch=16).softmax(1)[:, 1] for name, way in ways.items()}
mistakes = {name: metrics.scores(probability, y[:100]) for name, probability in answers.items()}
for name, scores in mistakes.items():
    print(f"{name:<22}AUC {scores.auc}")
    called = (scores.probabilities > 0.5).float().mean()
    print(f"{'':<22}calls {100 * called:.0f} % of the patients {classes[1]}")

# %%
right_way = mistakes.pop("normalised once").probabilities
drifts = {name: float((scores.probabilities - right_way).abs().mean()) for name, scores in mistakes.items()}
claim(
    "each mistake moves the victim's probabilities, and none raises an error",
    min(drifts.values()) > 0.01,
    detail="on average by " + ", ".join(f"{drift:.2f} ({name})" for name, drift in drifts.items()),
)

# %% [markdown]
# Look at both lines of each. The AUC looks at the order alone. A model may keep its order and yet call far more patients sick
# than before, or far fewer: its threshold no longer fits. Were the mild mistakes harmless? Compare *forgotten* and *done
# twice* with the first two lines: if the AUC lies within the interval, the order held; if the share of the called has moved,
# the decisions did not. Nobody who only watches for errors will know.
#
# So in this course **normalisation lives inside the model**. Every model takes pixels in [0, 1]. Two more good things
# come with that:
#
# - The size of an attack, **eps**, can be said in pixels, for every model alike. Finlayson and colleagues' code attacks
#   with 0.02 on a scale from -1 to 1 [2]. That scale is twice as long, so it is 0.01 on ours, or 2.55 of the 255 steps
#   from black to full (*grey levels*). Papers differ in such things all the time, and a factor of two is the difference
#   between a strong attack and a weak one.
# - The gradient of lesson 03 flows through the normalisation to the pixels, where the attacker is.
#
# ## 3. A new head
#
# A classifier has a **body**, which turns an image into 1,280 numbers (its *features*), and a **head**: one linear
# layer, which turns those into a logit for each class. The head that came with the body knows cats and teapots. Yours
# shall know two classes.
#
# The cheapest way to make a medical model is a **linear probe**: a new head, and not one weight of the body is touched.
#
# ### Exercise 2: set up the probe
#
# Replace `model.classifier`, freeze everything else, and return what is to be trained. (To *freeze* a weight is to switch off
# its `requires_grad`: no gradient is computed for it, so no optimiser moves it.) (`hint("linear_probe")`)


# %%
def linear_probe(model, classes):
    """Give `model` a fresh last layer and freeze the rest, in place.

    Args:
        model: a network whose last layer is `model.classifier`, an nn.Linear.
        classes: how many logits the new layer gives.

    Returns:
        The parameters to train: those of the new layer, as a list. All others no longer ask for gradients.
    """
    ### BEGIN SOLUTION
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    model.classifier = nn.Linear(model.classifier.in_features, classes)
    return list(model.classifier.parameters())
    ### END SOLUTION


linear_probe = check.linear_probe(linear_probe)

# %%
probe = models.efficientnet_lite.efficientnet_lite0()
to_train = linear_probe(probe, 2)
probe.to(device)
print(
    f"the network has {sum(p.numel() for p in probe.parameters()):,} numbers; "
    f"{sum(p.numel() for p in to_train):,} of them are trained"
)

# %% [markdown]
# ### Exercise 3: a training step
#
# Training is one small step, again and again. Take a **batch**: a few patients. Ask the model. Compute the **loss**,
# which says how badly it did. Compute its **gradient**: how the loss would change with each weight. Let the
# **optimiser** move the weights a little, so that the loss falls.
#
# The loss is the cross-entropy: for one patient $-\log p$, where $p$ is the probability that the model gave to the
# truth. `F.cross_entropy` takes logits, and applies softmax itself. Its `weight` says how much each class counts;
# you'll see below why that matters.
#
# PyTorch has a habit that you must know: `backward()` **adds** to the gradients that are there already.
# (`hint("training_step")`)

# %% [markdown] tags=["instructor"]
# **`linear_probe`, just before.** Frozen after replacing: nothing is left to train. `model.requires_grad = False`:
# Python allows it, and nothing happens. A width typed in as 1280. Names returned with the parameters. **Ask:** "Print
# how many numbers ask for a gradient, after each of your lines."
#
# **`training_step`.** Without `zero_grad()` the first step is right and the second is not; that is why the check takes
# two. Softmax in front of the cross-entropy. The loss returned with its whole history. **Ask:** "Print one weight's
# `.grad` before and after the second `backward()`. What did it do to what was there?"


# %%
def training_step(model, x, y, optimiser, weight):
    """One step of training: the weights of `model` move, once.

    Args:
        model: gives logits (N, 2); it is in training mode, and stays so.
        x: a batch of inputs. y: their labels, int64 tensor (N,).
        optimiser: a torch optimiser over the parameters that are to be trained.
        weight: how much each class counts, float tensor (2,), or None for all the same.

    Returns:
        The loss of the batch before the update, a plain number.
    """
    ### BEGIN SOLUTION
    optimiser.zero_grad()
    loss = F.cross_entropy(model(x), y, weight=weight)
    loss.backward()
    optimiser.step()
    return loss.item()
    ### END SOLUTION


training_step = check.training_step(training_step)

# %% [markdown]
# ### Predict
#
# The body has never seen a medical image. You will read its 1,280 numbers for each patient, and train the new head on
# those alone: a weighted sum and no more.
#
# - AUC on the test patients: a coin (0.5)? 0.6? 0.75? 0.95?
# - On the *training* patients, whom the head has seen twenty times: the same, or more?
#
# ### Run
#
# The body is frozen, so a patient's features never change. You compute them once and keep them; then a step takes a
# thousandth of a second. The loop below calls *your* step.


# %%
def features_of(images):
    """What the body sees in images (N, 3, H, W), bytes or floats in [0, 1]: 1,280 numbers for each."""
    probe.eval()
    with torch.no_grad():
        parts = [part.to(device).float() / (255 if part.dtype == torch.uint8 else 1) for part in images.split(16)]
        return torch.cat([probe.features(part) for part in parts])


def train_head(head, parameters, features, labels, weight, rounds=20):
    """Train a head on features with your step; returns the losses."""
    torch.manual_seed(seed)
    optimiser = torch.optim.AdamW(parameters, lr=1e-3)
    losses = []
    for _ in range(rounds):
        for rows in torch.randperm(len(features)).split(16):
            losses.append(training_step(head, features[rows], labels[rows], optimiser, weight))
    return losses


def judge(head, features, labels):
    """Scores of a head, as `evaluate` gives them for a whole model."""
    with torch.no_grad():
        return metrics.scores(head(features).softmax(1)[:, 1], labels)


train_features, train_labels = features_of(training.images), training.labels.to(device)
validation_features, validation_labels = features_of(validation.images), validation.labels.to(device)
test_features = features_of(x)
weight = class_weights(training.labels).to(device)

losses = train_head(probe.classifier, to_train, train_features, train_labels, weight)
probe_seen = judge(probe.classifier, train_features, train_labels)
probe_scores = judge(probe.classifier, test_features, y)
print(f"loss of the first 20 steps {sum(losses[:20]) / 20:.3f}, of the last 20 {sum(losses[-20:]) / 20:.3f}")
print("AUC, training patients", probe_seen.auc)
print("AUC, test patients    ", probe_scores.auc)
show.roc({"training": probe_seen, "test": probe_scores}, title="Linear probe")

# %%
twins = [nn.Linear(1280, 2).to(device) for _ in range(2)]
twins[1].load_state_dict(twins[0].state_dict())
with_yours, with_theirs = (torch.optim.AdamW(twin.parameters(), lr=1e-3) for twin in twins)
batch, batch_labels = train_features[:16], train_labels[:16]
yours = [training_step(twins[0], batch, batch_labels, with_yours, weight) for _ in range(3)]
theirs = [train_step(twins[1], batch, batch_labels, with_theirs, weight)[0] for _ in range(3)]
claim(
    "your step is the library's: the same losses, three times in a row",
    all(abs(a - b) < 1e-4 for a, b in zip(yours, theirs, strict=True)),
)
claim("a head on eyes that never saw medicine beats a coin", probe_scores.auc.low > 0.5, detail=str(probe_scores.auc))
claim(
    "it does better on the patients whom it learnt from",
    probe_seen.auc > probe_scores.auc,
    detail=f"{probe_seen.auc:.3f} against {probe_scores.auc:.3f}",
)

# %% [markdown]
# ### Explain
#
# Edges, spots, textures, colours: what tells a tabby from a teapot also tells something about tissue. And with 1,280
# numbers for each of a few hundred patients, a weighted sum can also learn the *patients*: it does better on those whom
# it has seen. That gap is **overfitting**. The training score says how well the model remembers; only the test
# score says how well it will do.
#
# **A trap in this frozen body.** It holds *batch norm* layers. They rescale what passes through. In `eval()` mode they use a
# mean and a spread that they have kept; in training mode (`model.train()`) they use the batch at hand, and update what they
# keep, frozen or not. It is no parameter. No optimiser moves it. Yet look:

# %%
shaken = copy.deepcopy(probe).train()
weights_before = [parameter.clone() for parameter in shaken.parameters()]
with torch.no_grad():
    for part in training.images[:48].split(16):
        shaken(part.to(device).float() / 255)  # only looks: no loss, no gradient, no step
    shaken.eval()
    drift = (shaken.features(x[:16]) - test_features[:16]).abs().mean() / test_features[:16].abs().mean()
still = all(torch.equal(a, b) for a, b in zip(weights_before, shaken.parameters(), strict=True))
claim(
    "three batches in training mode change no weight, and yet they change the features",
    still and drift > 0.01,
    detail=f"by {100 * drift:.0f} % on average",
)

# %% [markdown]
# That is why your features were computed in `eval()` mode, and why a model under attack must be in it too: it would be
# another model after each query.
#
# ## 4. The same patient, ten times
#
# Training images are few. So each is shown a little differently each time: turned, shifted, sheared, zoomed, mirrored.
# This is **augmentation**. It says to the model: *these differences mean nothing*. Finlayson and colleagues used shear
# 0.2, zoom 0.2, rotation to 45 degrees, shift 0.2, and horizontal flips [2].
#
# ### Predict
#
# - Below is one patient, ten times, with the victim's answer to each. Is it ten times the same answer? Ten times the
#   same probability?
# - Which change must *not* be in the list for your clinic, because it would change the diagnosis? (Think of colours; of
#   stretching.)
#
# ### Run

# %%
turn = augmentation(1.0)  # the paper's full ranges
torch.manual_seed(seed)
sick_rows = (y == 1).nonzero()[:6, 0].tolist()
six = x[sick_rows].cpu()
tens = [torch.stack([image, *(turn(image) for _ in range(9))]) for image in six]  # each of the six, ten times
believed = torch.stack([victim(ten.to(device)).softmax(1)[:, 1].cpu() for ten in tens])  # (6, 10)
spread = believed.max(1).values - believed.min(1).values
restless = int(spread.argmax())
sick_row = sick_rows[restless]
print("Of six sick patients, the one on whom the victim changes its mind most:")
figure, axes = show.picture(11.5, 5.4, 2, 5)
for number, (ax, image, value) in enumerate(zip(axes.flat, tens[restless], believed[restless].tolist(), strict=True)):
    ax.imshow(show.pixels(image))
    ax.set(xticks=[], yticks=[], frame_on=False, title="as taken" if number == 0 else "")
    ax.set_xlabel(f"{classes[1]}: {show.percent(value)}")
figure.alt = (
    f"One patient, as taken and in nine augmented versions. Probability of {classes[1]}: "
    + ", ".join(show.percent(value) for value in believed[restless].tolist())
    + "."
)
figure

# %%
for row, values in enumerate(believed):
    print(
        f"patient {row + 1}: {show.percent(float(values[0]))} as taken; {show.percent(float(values.min()))} to "
        f"{show.percent(float(values.max()))} over the ten"
    )
claim(
    "the same patient, turned and shifted, gets another probability",
    spread.max() > 0.02,
    detail=f"by up to {float(spread.max()):.2f}",
)

# %% [markdown]
# ### Explain
#
# The first image is the patient as taken. The patient is the same in all ten, so the label is too. (Look whether a shift has
# pushed the disease out of the picture: then the model can't be blamed.) (The black corners are where the photograph ends.)
# To the victim they are ten different images, and its probability wanders. Augmentation is there to make it wander less, for
# the changes that are in the list. An attack is a change that is *not* in the list.
#
# What belongs in the list is a medical decision. A mirrored retina is a possible retina. A mirrored chest shows the heart on
# the other side: rare, but a pneumonia in it remains one. Change the colours of a mole, and you may have painted one of the
# signs of melanoma. Stretch it far enough, and a round mole becomes a lopsided one. Our list holds a little shear; that is
# why it is kept small.
#
# The study's ranges were made for up to 300 epochs. Ours are few, so the next cells use a quarter of each range.
#
# ## 5. Probe, fine-tune, or from scratch?
#
# Three ways to use the same patients:
#
# | | body starts from | what is trained |
# |---|---|---|
# | **probe** | ImageNet | the head |
# | **fine-tuning** | ImageNet | everything |
# | **from scratch** | random numbers | everything |
#
# ### Predict
#
# The last two get the same patients in the same number of steps. Put the three in order, by AUC on the test patients.
# Where will the victim stand, which was fine-tuned on all of the clinic's training patients, and for longer?
#
# ### Run
#
# This is the minute of training. The bar shows the loss and the AUC. You may stop it: with *Interrupt the kernel* (the
# square) or Ctrl-C the model keeps the best weights so far, and says so. "Best" is decided by the validation patients,
# after each epoch.
#
# Training needs memory for every step on the way through the network, and it grows with the area of the images. So that
# a small machine can do it too, the fine-tuned model and the one from scratch see their patients, in training and in
# test, at 80 by 80 pixels; the probe and the victim stay at the clinic's size. That is a handicap for the two. It is
# the same for both, and so the comparison of *these two* is fair.

# %% [markdown] tags=["instructor"]
# **Start the training cell, then collect the orders on the board** while the bar runs: probe, fine-tuned, scratch, and
# where the victim stands. Let one person interrupt the kernel to see that the best weights are kept.
#
# **At the ROC curves** somebody says: "The intervals overlap, so there is no difference." **Ask:** "Did the four judge
# different patients?" That leads to the next cell, the bootstrap of the difference. If an interval holds zero, insist
# on the sentence "these patients can't tell".

# %%
SIDE = 80  # pixels


def smaller(images):
    """The same patients and labels, with images of SIDE by SIDE pixels."""
    return ImageSet(F.interpolate(images.images, SIDE, mode="bilinear", antialias=True), images.labels, images.classes)


histories, scores = {}, {"probe": probe_scores}
small_training, small_validation = smaller(training), smaller(validation)
small_x = F.interpolate(x, SIDE, mode="bilinear", antialias=True)
for name, pretrained in (("fine-tuned", True), ("from scratch", False)):
    torch.manual_seed(seed)
    model = models.efficientnet_lite.efficientnet_lite0(num_classes=2, pretrained=pretrained)
    histories[name] = finetune(
        model,
        small_training,
        epochs=epochs,
        validation=small_validation,
        augment=augmentation(0.25),
        seed=seed,
        title=name,
    )
    scores[name] = evaluate(model, small_x, y)
scores["victim"] = evaluate(victim, x, y)
show.training(histories, title=f"{n_train} patients, {epochs} epochs")

# %%
for name, score in scores.items():
    print(f"{name:<13}AUC {score.auc}")
show.roc(scores, title=f"The same {len(y)} test patients")

# %% [markdown]
# The intervals overlap, perhaps. But all four judged the *same* patients: a hard one is hard for all of them. So look
# at the **difference**, patient by patient: draw the patients again and again with replacement (a *bootstrap*), and see
# how much the difference of two AUCs varies.


# %%
def difference(better, worse, draws=200):
    """The difference of two AUCs on the same patients, and its 95 % interval by bootstrap."""
    generator = torch.Generator().manual_seed(seed)
    gaps = []
    for _ in range(draws):
        rows = torch.randint(0, len(better.labels), (len(better.labels),), generator=generator)
        gaps.append(
            metrics.auc(better.probabilities[rows], better.labels[rows])
            - metrics.auc(worse.probabilities[rows], worse.labels[rows])
        )
    low, high = torch.tensor(gaps).nanquantile(torch.tensor([0.025, 0.975])).tolist()
    return better.auc - worse.auc, low, high


for better, worse in (
    ("fine-tuned", "from scratch"),
    ("probe", "from scratch"),
    ("victim", "from scratch"),
    ("victim", "probe"),
    ("fine-tuned", "probe"),
):
    gap, low, high = difference(scores[better], scores[worse])
    print(f"{better:>10} minus {worse:<12} {gap:+.3f} (95 % interval {low:+.3f} to {high:+.3f}, n = {len(y)})")

# %%
borrowed = max(scores["probe"].auc, scores["fine-tuned"].auc)
claim(
    "the better of the two on borrowed eyes beats the one from scratch",
    borrowed > scores["from scratch"].auc,
    detail=f"{borrowed:.3f} against {scores['from scratch'].auc:.3f}",
)
claim("so does the victim", scores["victim"].auc > scores["from scratch"].auc)
claim("the victim is better than a coin", scores["victim"].auc.low > 0.5, detail=str(scores["victim"].auc))
claim(
    "and not worse than the probe, as far as these patients can tell",
    difference(scores["victim"], scores["probe"])[2] > 0,
)

# %% [markdown]
# ### Explain
#
# From scratch, the network spends its few steps on what the others brought along: what an edge is. With far more
# patients and far more epochs it might catch up; few hospitals have both.
#
# Between the probe and *your* fine-tuned model, read the interval of the difference. If it holds zero, then these patients
# can't tell which is better, and you should not either. (The interval knows the luck of the patients, not that of the
# training: another `seed` gives another model. And the fine-tuned one saw smaller images.) The probe is quick and can do no
# more than weigh what is there. Fine-tuning may bend the body itself, and needs time for it. The victim had it.
#
# The price: **whatever was borrowed, others can borrow too.** A body that a thousand products share is a body that an
# attacker can download.
#
# ## 6. One patient in two piles
#
# Many patients have several images: two eyes, two views, a control a year later. Split the *images* at random, and the
# same person lands in the training pile and in the test pile. Is that so bad? It is another image, after all.
#
# ### Predict
#
# To find out, we make a task that **nobody can learn**: for each patient a coin decides who is "sick". Then we take the
# simplest of models: it answers with the label of the training patient whose features are nearest.
#
# - Its accuracy, if no patient is in both piles?
# - And if the training pile also holds a *second photograph* of each test patient: the camera moved a little, the light
#   5 % weaker?
#
# ### Run

# %% [markdown] tags=["instructor"]
# **Ask for a number before the run:** accuracy on labels by coin, with the second photograph in the training pile. The
# guesses lie between 0.5 and 0.6.
#
# **At the bars, ask:** "You read a paper with 0.97. Which word do you search for in its section on data?" (*Patient*,
# in the sentence that says how it was split.)

# %%
second_photograph = F.interpolate(x[:, :, 6:-2, 3:-5], size=x.shape[-1], mode="bilinear") * 0.95
second_features = features_of(second_photograph)
coin = torch.randint(0, 2, (len(training) + len(y),), generator=torch.Generator().manual_seed(seed + 1)).to(device)


def nearest_accuracy(known, known_labels, labels):
    """How often the label of the nearest known patient is right for the test patients."""
    nearest = torch.cdist(test_features, known).argmin(1)
    return metrics.proportion((known_labels[nearest] == labels).sum(), len(labels))


everybody = torch.cat([train_features, second_features])
results = {}
for task, train_truth, test_truth in (
    ("labels by coin", coin[: len(training)], coin[len(training) :]),
    ("true labels", train_labels, y),
):
    results[task, "apart"] = nearest_accuracy(train_features, train_truth, test_truth)
    results[task, "leaking"] = nearest_accuracy(everybody, torch.cat([train_truth, test_truth]), test_truth)
for (task, piles), accuracy in results.items():
    print(f"{task:<15} piles {piles:<8} accuracy {accuracy}")

told = "; ".join(f"{task}, {piles}: {float(accuracy):.2f}" for (task, piles), accuracy in results.items())
figure, axes = show.picture(11, 4.2, 1, 2, alt=f"A patient's two photographs; accuracies {told}.")
first, second = (torch.from_numpy(show.pixels(image[sick_row])) for image in (x, second_photograph))
axes[0].imshow(torch.cat([first, torch.ones(len(first), 6, 3), second], 1))
axes[0].set(xticks=[], yticks=[], frame_on=False, title="the same patient, photographed twice")
for place, ((_, piles), accuracy) in enumerate(results.items()):
    colour, hatch = (show.BLUE, "") if piles == "apart" else (show.ORANGE, "//")
    axes[1].bar(
        place + place // 2 * 0.6,
        accuracy,
        color=colour,
        hatch=hatch,
        edgecolor="white",
        label=f"piles {piles}" if place < 2 else None,
    )
    axes[1].vlines(place + place // 2 * 0.6, accuracy.low, accuracy.high, color=show.BLACK)
axes[1].axhline(0.5, color="0.4", linestyle=":")
axes[1].set(
    xticks=[0.5, 3.1],
    xticklabels=["labels by coin", "true labels"],
    ylim=(0, 1.25),
    yticks=[0, 0.25, 0.5, 0.75, 1],
    ylabel="accuracy",
    title=f"Nearest patient (95 %, n = {len(y)})",
)
axes[1].legend(frameon=False, ncols=2, loc="upper center")
figure

# %%
apart, leaking = results["labels by coin", "apart"], results["labels by coin", "leaking"]
claim("with the piles apart, nobody can foresee a coin", apart.low < 0.6, detail=str(apart))
claim(
    "with the same patients in both piles, the coin seems to be foreseen",
    leaking.low > max(0.6, apart.high),
    detail=str(leaking),
)

# %% [markdown]
# ### Explain
#
# Nothing about disease was learnt, because there was nothing to learn. The model *recognised the patients*, and looked
# up what it had been told about them. On a real task that adds to what is honestly known, and nobody sees the
# difference: it just looks like a very good model.
#
# The remedy is to split by **patient**, not by image. Finlayson and colleagues pooled the public images and split them
# anew, by patient [2]. An attacker gains from a leak as well. In lesson 05 you attack a victim by way of a *surrogate*,
# a copy that stands in for it. Differences between the data of the two "considerably decrease" how well attacks carry
# over [4]. That is why the attacker's pile here holds other people.
#
# ## 7. Where to draw the line
#
# You have a probability. The clinic wants an answer. In lesson 01 you moved the threshold by hand. Now you choose it,
# by a rule that a clinic could write down: *find at least 90 % of the sick, with as few false alarms as possible.*
#
# ### Exercise 4: choose a threshold
#
# The highest threshold that still reaches the wanted sensitivity on the patients at hand. (Mind the rounding: in a computer
# 0.55 * 100 is 55.00000000000001, and `math.ceil` makes 56 of it. `round(..., 9)` first takes the crumb away.) Whoever
# reaches it is called sick. (`hint("choose_threshold")`)

# %% [markdown] tags=["instructor"]
# **Common wrong answers.** A quantile that falls between two patients. Rounding down (0.9 of 8 is 7.2; 7 are not
# enough). All patients instead of the sick. The wrong end of the line. 0.5. **Ask:** "Ten sick people stand in a row,
# the surest in front. You want nine. At whose feet do you draw the line?"
#
# **At the figure below, ask:** "Which of these two bars would the vendor print?"


# %%
def choose_threshold(probability, y, wanted):
    """The highest threshold at which at least the wanted share of the sick is found.

    Args:
        probability: of the disease, float tensor (N,).
        y: true labels, int64 tensor (N,), 1 for the disease; some are sick.
        wanted: the sensitivity to reach, above 0 and up to 1.

    Returns:
        The threshold, a plain number: a patient is called sick when `probability >= threshold`.
    """
    ### BEGIN SOLUTION
    sick = probability[y == 1].sort(descending=True).values
    needed = math.ceil(round(wanted * len(sick), 9))  # 0.55 * 100 comes out a crumb above 55
    return sick[needed - 1].item()
    ### END SOLUTION


choose_threshold = check.choose_threshold(choose_threshold)

# %% [markdown]
# ### Predict
#
# You choose the threshold of your probe twice: on its *training* patients, and on the *validation* patients. Each time
# it finds 90 % of the sick there. Then both thresholds meet the test patients.
#
# - Which of the two thresholds is higher?
# - How many of the sick will each find in the test?
#
# ### Run

# %%
probe_validation = judge(probe.classifier, validation_features, validation_labels)


def at_threshold(scores, threshold):
    """Sensitivity and specificity at a threshold, with intervals."""
    called, sick = scores.probabilities.double() >= threshold, scores.labels == 1
    sensitivity = metrics.proportion((called & sick).sum(), sick.sum())
    specificity = metrics.proportion((~called & ~sick).sum(), (~sick).sum())
    return sensitivity, specificity


found_there, found_in_test = {}, {}
for pile, chosen_on in (("training", probe_seen), ("validation", probe_validation)):
    threshold = choose_threshold(chosen_on.probabilities, chosen_on.labels, wanted)
    found_there[pile], _ = at_threshold(chosen_on, threshold)
    found_in_test[pile], cleared = at_threshold(probe_scores, threshold)
    print(f"chosen on the {pile} patients: threshold {threshold:.3f}")
    print(f"    sensitivity there    {found_there[pile]}")
    print(f"    sensitivity in test  {found_in_test[pile]}")
    print(f"    specificity in test  {cleared}")

told = "; ".join(
    f"chosen on {pile}: {float(found_there[pile]):.2f} there, {float(found_in_test[pile]):.2f} in the test"
    for pile in found_there
)
figure, ax = show.picture(8, 4.2, alt=f"Sensitivity promised and kept: {told}.")
for shift, colour, hatch, label, found in (
    (-0.2, show.SKY, "//", "where it was chosen", found_there),
    (0.2, show.BLUE, "", "test patients", found_in_test),
):
    places = [place + shift for place in range(2)]
    shares = list(found.values())
    ax.bar(places, list(map(float, shares)), 0.4, color=colour, hatch=hatch, edgecolor="white", label=label)
    ax.vlines(places, [share.low for share in shares], [share.high for share in shares], color=show.BLACK)
ax.axhline(wanted, color=show.RED, linestyle="--", label=f"wanted: {100 * wanted:.0f} %")
ax.set(
    xticks=[0, 1],
    xticklabels=["chosen on training patients", "chosen on validation patients"],
    ylim=(0, 1.2),
    yticks=[0, 0.25, 0.5, 0.75, 1],
    ylabel="sensitivity",
    title="The promise, and what became of it",
)
ax.legend(frameon=False, ncols=3, loc="upper center", fontsize=11)
figure

# %%
claim("your threshold reaches the wanted sensitivity where it was chosen", min(found_there.values()) >= wanted - 1e-6)
claim(
    "chosen on training patients, it finds fewer of the sick in the test than chosen on validation patients",
    found_in_test["training"] < found_in_test["validation"],
    detail=f"{found_in_test['training']:.2f} against {found_in_test['validation']:.2f}",
)

# %% [markdown]
# ### Explain
#
# Of the patients whom it learnt from, the model is surer than of anybody else. So the line can stand high there, and
# new patients fall below it. A threshold is learnt from data like any weight: it has to be measured on patients who did
# not choose it. And even from validation to test it is not exact, because both piles are small. Read the intervals.
#
# Move the line once more, on the test patients, and see what 90 % costs in false alarms. (This time to look, not to
# choose.)

# %%
explore.threshold(probe_scores, classes)

# %% [markdown]
# ## 8. Rare diseases
#
# ### Predict
#
# In life the sick are few. Take your training patients again, and keep so many of the sick that there is one for every
# five healthy. Train the probe on those twice: without class weights, and with weights that let both classes count the
# same. The threshold stays at 0.5.
#
# - Which of the two finds more of the sick?
# - Which has the better AUC?
#
# ### Run

# %%
healthy_rows, sick_rows = (train_labels == 0).nonzero()[:, 0], (train_labels == 1).nonzero()[:, 0]
rare = torch.cat([healthy_rows, sick_rows[: len(healthy_rows) // 5]])
rare_scores = {}
for name, rare_weight in (
    ("without weights", None),
    ("with class weights", class_weights(train_labels[rare].cpu()).to(device)),
):
    torch.manual_seed(seed)
    head = nn.Linear(1280, 2).to(device)
    train_head(head, head.parameters(), train_features[rare], train_labels[rare], rare_weight, rounds=10)
    rare_scores[name] = judge(head, test_features, y)
    print(name)
    print("    AUC        ", rare_scores[name].auc)
    print("    sensitivity", rare_scores[name].sensitivity)
    print("    specificity", rare_scores[name].specificity)

# %%
plain, weighted = rare_scores["without weights"], rare_scores["with class weights"]
claim(
    "with class weights, more of the sick are found at 0.5",
    weighted.sensitivity > plain.sensitivity,
    detail=f"{weighted.sensitivity:.2f} against {plain.sensitivity:.2f}",
)
claim(
    "and not fewer of the healthy are alarmed",
    weighted.specificity <= plain.specificity,
    detail=f"specificity {weighted.specificity:.2f} against {plain.specificity:.2f}",
)
claim(
    "the order of the patients is nearly the same",
    abs(weighted.auc - plain.auc) < 0.05,
    detail=f"AUC {weighted.auc:.3f} against {plain.auc:.3f}",
)

# %% [markdown]
# ### Explain
#
# Where five of six are healthy, "healthy" is a good guess, and more of the sick fall below 0.5. Class weights lift them. But
# they hardly change the *order*: they move the operating point along nearly the same curve. So does a threshold. **Whoever
# reports sensitivity at 0.5 reports a choice, not a property of the model.**
#
# ## 9. How sure is sure?
#
# ### Predict
#
# A last question to your models: when they say 90 %, are they right nine times out of ten? Sort the test patients by
# the confidence of the answer, cut the line into four quarters, and count the right answers in each. On which side of
# "as sure as right" will the marks of each model lie?
#
# ### Run

# %%
figure, ax = show.picture(6.6, 5.2)
words = []
for (name, score), colour, marker in zip(
    {"probe": probe_scores, "victim": scores["victim"]}.items(), (show.ORANGE, show.BLUE), ("s", "o"), strict=True
):
    confidence = torch.maximum(score.probabilities, 1 - score.probabilities)
    right = (score.probabilities > 0.5).long() == score.labels
    order = confidence.argsort()
    bins = [
        (confidence[rows].mean().item(), metrics.proportion(right[rows].sum(), len(rows))) for rows in order.chunk(4)
    ]
    said, kept = [said for said, _ in bins], [kept for _, kept in bins]
    ax.plot(said, [float(share) for share in kept], marker=marker, color=colour, linewidth=2, label=name)
    ax.vlines(said, [share.low for share in kept], [share.high for share in kept], color=colour)
    surest_mistake = float(confidence[~right].max()) if (~right).any() else 0.0
    words.append(f"{name}: mean confidence {score.confidence:.2f}, accuracy {score.accuracy:.2f}")
    print(f"{name:<7} mean confidence {score.confidence}\n        accuracy        {score.accuracy}")
    print(f"        {int((~right).sum())} mistakes, the surest at {show.percent(surest_mistake)}")
ax.plot([0.5, 1], [0.5, 1], ":", color="0.4", label="as sure as right")
ax.set(
    xlim=(0.49, 1.01),
    ylim=(0, 1.03),
    xlabel="confidence of the answer",
    ylabel="share of right answers",
    title=f"A quarter of {len(y)} patients at each mark",
)
ax.legend(frameon=False, loc="lower right")
figure.alt = "Share of right answers against confidence. " + "; ".join(words) + "."
figure

# %% [markdown]
# ### Explain
#
# Below the dotted line a model is surer than it is right. Look where yours lie. Whichever side it is: a probability
# that comes out of softmax is a *score between 0 and 1*. Nothing in the training step made it the chance of being right
# for new patients. An attacked model, you'll see, can be surer of its wrong answer than it ever was of a right one.
#
# > ### In the clinic
# >
# > **Who trains?** Mostly a vendor. They take a public body, because everybody does, and fine-tune it on images from a
# > few hospitals, yours perhaps not among them. Ask which body. If it has a name that you can look up, an attacker can
# > download it.
# >
# > **Who validates?** The vendor's test patients are not your patients. Cameras, protocols and people differ. Before
# > first use, collect a few hundred patients of your own, keep them away from the vendor, and measure there. The
# > interval tells you when "a few hundred" is too few: the sick among them decide.
# >
# > **Who sets the threshold?** It weighs a missed disease against a needless referral. That is policy, and belongs to
# > those who answer for both: written down, with a name and a date. A threshold that a vendor's update may move is a
# > part of the device that changes under your hands. (It is also a quiet place for an attack: no image has to be
# > touched.)
# >
# > **What does the image pass before it is normalised?** Resizing, windowing, a change of colours: each stands in a
# > line of code between the camera and the model. Every mistake there is as silent as those of section 2. A handful of
# > images with known answers, sent through the whole chain every morning, finds it.

# %% [markdown]
# ## Quiz

# %% jupyter={"source_hidden": true}
quiz(
    "A colleague loads images with the usual ImageNet normalisation and gives them to one of this course's models. What "
    "happens?",
    [
        "PyTorch raises an error because the range is wrong",
        "Nothing: normalising twice is the same as once",
        "Answers come, not the same ones, and no error",
    ],
    answer="Answers come, not the same ones, and no error",
    why={
        "Answers come, not the same ones, and no error": "The images are normalised twice. Our models take pixels in [0, 1] and normalise inside. The attacks of the "
        "course check the range of what comes in, for exactly this reason; a network does not.",
        "PyTorch raises an error because the range is wrong": "A network multiplies and adds whatever it gets. You saw the cat.",
        "Nothing: normalising twice is the same as once": "The second time takes the mean away from values that have none left. The cat survived it; the victim's probabilities moved.",
    },
)

# %% jupyter={"source_hidden": true}
quiz(
    "You forget `zero_grad()`. What does the second step do?",
    [
        "It raises an error, because there are gradients already",
        "It moves along the gradients of both batches together",
        "It does once more exactly what the first step did",
    ],
    answer="It moves along the gradients of both batches together",
    why={
        "It moves along the gradients of both batches together": "`backward()` adds. After a hundred steps you'd walk along the sum of a hundred gradients, most of them out of date.",
        "It raises an error, because there are gradients already": "PyTorch adds without a word. Some people use that on purpose, to make a large batch out of small ones.",
        "It does once more exactly what the first step did": "The gradient of the second batch is in it as well: the two are added.",
    },
)

# %% jupyter={"source_hidden": true}
quiz(
    "You want a threshold for the *victim*. It was trained on all of `here.train`. On whom may you choose it?",
    [
        "On this lesson's validation patients, as you did for the probe",
        "On the test patients, because all of them are new to it",
        "On patients who neither taught it nor will judge it",
    ],
    answer="On patients who neither taught it nor will judge it",
    why={
        "On patients who neither taught it nor will judge it": "In a hospital: a collection of its own. Here you would have to set aside a part of the test patients.",
        "On this lesson's validation patients, as you did for the probe": "They were held back from the probe. The victim has learnt from them: for the victim they are training patients.",
        "On the test patients, because all of them are new to it": "They are new to it; but whoever chooses on them can't judge on them afterwards.",
    },
)

# %% jupyter={"source_hidden": true}
quiz(
    "100 patients with 5 images each, split at random by image, 80 to 20. The test accuracy is 0.97. What do you know?",
    [
        "That the model is right for about 97 % of new patients",
        "Little: it may only have recognised the patients",
        "That the model overfits, so the true accuracy is 0.5",
    ],
    answer="Little: it may only have recognised the patients",
    why={
        "Little: it may only have recognised the patients": "Nearly every test image shows a patient whom it was trained on. Split by patient, and measure again.",
        "That the model is right for about 97 % of new patients": "Hardly one of those patients was new. The model may simply have recognised them.",
        "That the model overfits, so the true accuracy is 0.5": "It may be good or bad; this number can't tell. Split by patient, and measure again.",
    },
)

# %% [markdown]
# ## Go further
#
# - Set `clinic` to another one and run all. Is the probe ahead of fine-tuning there? Then `epochs = 6` (and a cup of
#   tea).
# - Train the probe on 50 patients, 100, 200, 400, and draw the AUC. Where would a hundred more help?
# - Train with the wrong normalisation from the start, and test with the same wrong one. Does it matter then? Why?

# %% [markdown]
# ## What you now know
#
# - **Normalisation lives inside the model.** Pixels in [0, 1] go in. Forgotten or done twice, the answers change without an
#   error.
# - A classifier is a body and a head. A **probe** trains the head; **fine-tuning** trains the body too. Both start from
#   weights that anybody can download.
# - A training step: forget, ask, loss, gradient, move. Batch norm learns even when frozen, unless in `eval()` mode.
# - Training patients teach, validation patients choose, test patients judge. A patient belongs to **one** pile.
# - A threshold is chosen, on patients who did not teach the model. Class weights and thresholds move along the curve;
#   they don't lift it.
# - Sure is not right.

# %%
progress()

# %% [markdown]
# **Next:** [03 The fast gradient sign attack](03_fast_gradient_sign.ipynb). The same gradient, asked of the pixels
# instead of the weights, and one step up the hill.
#
# ## Sources
#
# 1. S. G. Finlayson, H. W. Chung, I. S. Kohane, A. L. Beam. *Adversarial attacks against medical deep learning
#    systems.* [arXiv 1804.05296](https://arxiv.org/abs/1804.05296) (2018, rewritten 2019).
# 2. The authors' code and its README:
#    [github.com/sgfin/adversarial-medicine](https://github.com/sgfin/adversarial-medicine). Settings from
#    `train_models/train_model.py` and `pgd_attacks/craft_attacks.py`.
# 3. J. Campbell. *Adversarial attacks against medical deep learning systems.* Talk, Cardiff University, 27 June 2018
#    ([notes and slides](https://github.com/theref/Adversarial-Talk)).
# 4. G. Bortsova and others. *Adversarial attack vulnerability of medical image analysis systems: unexplored factors.*
#    Medical Image Analysis (2021), [arXiv 2006.06356](https://arxiv.org/abs/2006.06356), abstract.
