"""A model that can only be asked: the black box's door, with a counter at it. The attacks through it are in `queries`.

The model is held in a closure. Whoever holds an Oracle has its answers and its rules, and neither weights nor gradient.
"""

from collections import Counter

import torch
import torch.nn.functional as F

from medattack_edu.attacks import _asking
from medattack_edu.attacks._draws import draw
from medattack_edu.attacks._inputs import check_eval, check_images

REVEALS = ("probabilities", "label", "logits")
SKETCH_SIDE = 16  # an image is remembered as a grey picture of so many pixels a side


class QueriesRefused(RuntimeError):
    """The oracle didn't answer. `.ids` holds the patients it refused; nothing was asked and nothing counted."""

    def __init__(self, message, ids):
        super().__init__(message)
        self.ids = tuple(ids)


class Oracle:
    """Answers for images, counted by patient, and refused past a budget.

    What a defender may do about curious customers stands behind the keyword arguments: tell less (`reveals`, `decimals`),
    tell it inexactly (`noise`), answer slowly (`per_minute`), or stop answering who asks the same again and again
    (`repeats`, `near`; after the idea of Chen, Carlini and Wagner 2019, arXiv 1907.05587, in a simpler form).

    Args:
        model: maps images (N, C, H, W) in [0, 1] to logits (N, classes).
        reveals: "probabilities" (N, classes), "logits" (N, classes), or "label" (N,), int64.
        budget: queries that each patient may cost; None for no limit.
        decimals: digits after the point that probabilities or logits are rounded to; None for all.
        noise: standard deviation of normal noise added to the logits before anything is revealed.
        per_minute: images answered per minute. You don't wait: `minutes` says how long the attack would have taken.
        repeats: how often a patient may be asked about with nearly the same image; then the patient is locked. None: always.
        near: two images count as nearly the same if their sketches (16 x 16, grey) differ by at most this much a pixel on
            average, in pixel units of the [0, 1] scale.
        generator: of the noise.

    Attributes:
        reveals: as given. asked: {patient id: queries so far}. locked: ids that are refused from now on.

    Raises:
        ValueError: if an argument can't be followed.
    """

    def __init__(
        self,
        model,
        reveals="probabilities",
        *,
        budget=None,
        decimals=None,
        noise=0.0,
        per_minute=None,
        repeats=None,
        near=2 / 255,
        generator=None,
    ):
        check_rules(model, reveals, budget, decimals, noise, per_minute, repeats, near)
        self.reveals, self.budget, self.per_minute = reveals, budget, per_minute
        self.asked, self.locked = Counter(), set()
        self._repeats, self._near, self._sketches = repeats, near, {}

        def answer(x):
            logits = _asking.logits(model, x)
            if noise:
                logits = logits + noise * draw(torch.randn, logits.shape, logits, generator)
            if reveals == "label":
                return logits.argmax(1)
            told = logits.softmax(1) if reveals == "probabilities" else logits
            return told.clone() if decimals is None else told.round(decimals=decimals)

        self._answer = answer

    def __call__(self, x, ids=None):
        """Ask about images.

        Args:
            x: images (N, C, H, W) in [0, 1].
            ids: whose image each is (N,), so that a shrinking batch is counted right; default: the row numbers.

        Returns:
            What the oracle reveals, one row an image, without a gradient, on the device of `x`.

        Raises:
            QueriesRefused: if a patient's budget would be passed, or the patient is locked. The model is asked nothing then.
            ValueError: if these are no images in [0, 1], or not one id for each.
        """
        check_images(x)
        ids = list(range(len(x))) if ids is None else patient_numbers(ids)
        if len(ids) != len(x):
            raise ValueError(f"{len(x)} images came with {len(ids)} ids. Give one for each: whose image is it?")
        self._refuse_or_count(x, ids)
        return self._answer(x.detach()).detach()

    def left(self, ids):
        """How many queries each of these patients has left (N,), float: infinity without a budget, 0 where locked."""
        limit = float("inf") if self.budget is None else self.budget
        return torch.tensor([0.0 if i in self.locked else limit - self.asked[i] for i in patient_numbers(ids)])

    def spent(self, ids):
        """How many queries each of these patients has cost (N,), int64."""
        return torch.tensor([self.asked[i] for i in patient_numbers(ids)], dtype=torch.int64)

    @property
    def total(self):
        """Queries so far, of all patients together."""
        return self.asked.total()

    @property
    def minutes(self):
        """How long the answers so far would have taken at `per_minute` images a minute; 0 without such a limit."""
        return self.total / self.per_minute if self.per_minute else 0.0

    def __repr__(self):
        limit = "no limit" if self.budget is None else f"{self.budget} a patient"
        return f"Oracle(reveals {self.reveals}; {self.total:,} queries about {len(self.asked)} patients; {limit})"

    def _refuse_or_count(self, x, ids):
        wanted = Counter(ids)
        locked = sorted(self.locked & wanted.keys(), key=str)
        if locked:
            raise QueriesRefused(f"{_patients(locked)} locked: too many images that are nearly the same.", locked)
        over = [i for i, n in wanted.items() if self.budget is not None and self.asked[i] + n > self.budget]
        if over:
            raise QueriesRefused(
                f"The budget is {self.budget} queries a patient; {_patients(over)} at {self.asked[over[0]]}, and "
                f"{wanted[over[0]]} more were asked for. Ask fewer, or give the Oracle a larger budget.",
                over,
            )
        if self._repeats is not None:
            self._lock_who_repeats(x, ids)
        self.asked.update(wanted)

    def _lock_who_repeats(self, x, ids):
        """Lock a patient of whom more than `repeats` earlier images are close to a new one; else remember the new ones.

        A call that is refused is remembered for nobody in it: those who aren't locked will ask the same once more.
        """
        sketches = F.adaptive_avg_pool2d(x.detach().mean(1, keepdim=True), SKETCH_SIDE).flatten(1).cpu()
        known, caught = {}, []
        for patient in dict.fromkeys(ids):
            new = sketches[torch.tensor([other == patient for other in ids])]
            old = self._sketches.get(patient, new[:0])
            known[patient] = torch.cat([old, new])
            near = torch.cdist(new, known[patient], p=1) / new.shape[1] <= self._near
            earlier = torch.ones_like(near).tril(len(old) - 1)
            if ((near & earlier).sum(1) > self._repeats).any():
                caught.append(patient)
        if caught:
            self.locked.update(caught)
            raise QueriesRefused(
                f"{_patients(caught)} locked from now on: more than {self._repeats} images that are nearly the same.",
                caught,
            )
        self._sketches |= known


def check_rules(model, reveals, budget, decimals, noise, per_minute, repeats, near):
    """Raise a ValueError for a model that can't be asked, or a rule that can't be followed."""
    if not callable(model):
        raise ValueError(f"model must be a function from images to logits; got {type(model).__name__}.")
    if isinstance(model, Oracle):
        raise ValueError("The model is an Oracle already. An Oracle is made of a model.")
    check_eval(model)
    if reveals not in REVEALS:
        raise ValueError(f"reveals={reveals!r}: an Oracle reveals {', '.join(map(repr, REVEALS))}.")
    if budget is not None and not (isinstance(budget, int) and budget >= 0):
        raise ValueError(f"budget={budget!r}: give a whole number of queries, 0 or more, or None.")
    if decimals is not None and not (isinstance(decimals, int) and decimals >= 0):
        raise ValueError(f"decimals={decimals!r}: give a whole number of digits, 0 or more, or None.")
    if decimals is not None and reveals == "label":
        raise ValueError("decimals: a label has none. Leave it out, or reveal probabilities.")
    if not noise >= 0:
        raise ValueError(f"noise={noise}: a standard deviation is 0 or more.")
    if per_minute is not None and not per_minute > 0:
        raise ValueError(f"per_minute={per_minute}: give a number of images above 0, or None.")
    if repeats is not None and not (isinstance(repeats, int) and repeats >= 0):
        raise ValueError(f"repeats={repeats!r}: give a whole number, 0 or more, or None.")
    if not near >= 0:
        raise ValueError(f"near={near}: a distance is 0 or more.")


def patient_numbers(ids):
    """Patient ids (N,), a tensor or a sequence of whole numbers, as a list.

    Raises:
        ValueError: if they are something else.
    """
    try:
        numbers = torch.as_tensor(ids)
    except (TypeError, ValueError, RuntimeError):
        numbers = None
    if numbers is None or numbers.ndim != 1 or (len(numbers) and numbers.is_floating_point()):
        raise ValueError(f"ids must be whole numbers, one for each image, such as torch.arange(len(x)); got {ids!r}.")
    return numbers.tolist()


def _patients(ids):
    """The first few ids in words, with their verb."""
    named = ", ".join(map(str, ids[:3])) + (" and others" if len(ids) > 3 else "")
    return f"patient {named} is" if len(ids) == 1 else f"patients {named} are"
