"""What is measured: accuracy, AUC, sensitivity, specificity, confidence and attack success, each with a 95 % interval.

Nothing is trained here, and attacks are made elsewhere: `transfer_matrix` is handed one.
"""

import math
from dataclasses import dataclass

import torch

from medattack_edu.attacks import _asking
from medattack_edu.attacks._inputs import check_eval, check_images, check_target
from medattack_edu.attacks.patches import ANGLES, place, random_placements

Z_95 = 1.959964  # two-sided 95 % quantile of the normal distribution
ROUNDING = 1e-6  # by which a sum of shares may miss a whole number
BATCH = _asking.BATCH


class Estimate(float):
    """A number that knows how sure it is: behaves as a float and carries `.low`, `.high` (95 %) and `.n` (images)."""

    def __new__(cls, value, low, high, n):
        estimate = super().__new__(cls, value)
        estimate.low, estimate.high, estimate.n = float(low), float(high), int(n)
        return estimate

    def __getnewargs__(self):
        return float(self), self.low, self.high, self.n

    def __str__(self):
        if math.isnan(self):
            return f"not defined (n = {self.n})"
        return f"{float(self):.3f} (95 % interval {self.low:.3f} to {self.high:.3f}, n = {self.n})"

    __repr__ = __str__


@dataclass(frozen=True)
class Scores:
    """How a two-class model does on a set of images. Class 1 is the disease; its probability is the score.

    Attributes:
        accuracy: share of right answers.
        auc: chance that a random sick image scores above a random healthy one; not defined with one class.
        sensitivity: share of the sick that are called sick. specificity: share of the healthy that are called healthy.
        confidence: mean probability of the answer given, right or wrong.
        probabilities: of the disease, tensor (N,), on the CPU.
        labels: the truth, tensor (N,), on the CPU.
    """

    accuracy: Estimate
    auc: Estimate
    sensitivity: Estimate
    specificity: Estimate
    confidence: Estimate
    probabilities: torch.Tensor
    labels: torch.Tensor

    def __str__(self):
        names = ("accuracy", "auc", "sensitivity", "specificity", "confidence")
        return "\n".join(f"{name:<12} {getattr(self, name)}" for name in names)

    __repr__ = __str__


class Success(Estimate):
    """An attack's success rate over the images that were right before.

    Attributes (beyond those of `Estimate`):
        by_class: {label: Estimate}, success among right images of that true class.
        after_saving: Estimate, the same attack after the images were rounded to 8 bits, as a file would.
    """

    def __getnewargs__(self):
        return float(self), self.low, self.high, self.n, self.by_class, self.after_saving

    def __new__(cls, value, low, high, n, by_class, after_saving):
        success = super().__new__(cls, value, low, high, n)
        success.by_class, success.after_saving = by_class, after_saving
        return success


def proportion(hits, n):
    """Share of `hits` in `n` with the Wilson score interval (Wilson 1927), which also holds near 0 and 1.

    `hits` need not be whole: an image may count in part, by the share of its placements that deceived the model.

    Raises:
        ValueError: if there are more hits than `n`, or fewer than none.
    """
    hits, n = float(hits), int(n)
    if n == 0:
        return Estimate(math.nan, 0, 1, 0)
    if not -ROUNDING * n <= hits <= (1 + ROUNDING) * n:
        raise ValueError(
            f"{hits:g} hits in {n}: there can't be {'fewer than none' if hits < 0 else 'more hits than tries'}. n counts images; an image that is "
            "tried several times counts by the share of its tries that hit, at most 1."
        )
    hits = min(max(hits, 0), n)
    share, z2 = hits / n, Z_95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # The interval holds the share; rounding must not put it a hair outside.
    return Estimate(share, max(min(centre - half, share), 0), min(max(centre + half, share), 1), n)


def mean(values):
    """Mean of a tensor of values in [0, 1] with a normal interval, cut at 0 and 1."""
    n = len(values)
    if n == 0:
        return Estimate(math.nan, 0, 1, 0)
    values = values.double()
    centre = values.mean().item()
    half = Z_95 * values.std().item() / math.sqrt(n) if n > 1 else 1.0
    return Estimate(centre, max(centre - half, 0), min(centre + half, 1), n)


def auc(scores, labels):
    """Area under the ROC curve: the share of (sick, healthy) pairs in the right order, ties counted half.

    The interval is Newcombe's method 5 (Stat Med 25:559, 2006): the values that a test at the 5 % level would not
    reject, with Hanley and McNeil's variance. It stays honest when the AUC is 0 or 1.

    Args:
        scores: tensor (N,), higher means sicker.
        labels: tensor (N,), 1 for the disease.

    Raises:
        ValueError: if a score is NaN, which is neither higher nor lower than another.
    """
    if scores.isnan().any():
        raise ValueError(
            f"{int(scores.isnan().sum())} of {len(scores)} scores are NaN, and can't be put in an order. Look at the model."
        )
    sick, healthy = scores[labels == 1].double(), scores[labels == 0].double()
    pairs = len(sick) * len(healthy)
    if pairs == 0:
        return Estimate(math.nan, 0, 1, len(scores))
    ordered, _ = healthy.sort()
    below = torch.searchsorted(ordered, sick, right=False)
    not_above = torch.searchsorted(ordered, sick, right=True)
    area = (below + not_above).sum().item() / (2 * pairs)

    def excess(truth):
        others = (len(sick) + len(healthy)) / 2 - 1
        spread = 1 + others * ((1 - truth) / (2 - truth) + truth / (1 + truth))
        return abs(area - truth) - Z_95 * math.sqrt(truth * (1 - truth) * spread / pairs)

    low = 0.0 if area == 0 else _bisect(excess, inside=area, outside=0.0)
    high = 1.0 if area == 1 else _bisect(excess, inside=area, outside=1.0)
    return Estimate(area, low, high, len(scores))


def _bisect(excess, inside, outside):
    """Where `excess` changes sign between a point inside the interval and its far end."""
    for _ in range(50):
        middle = (inside + outside) / 2
        if excess(middle) <= 0:
            inside = middle
        else:
            outside = middle
    return inside


def roc_curve(scores, labels):
    """Every operating point of a classifier.

    Returns:
        thresholds (T,), sensitivity (T,), specificity (T,): an image is called sick when its score is at least the
        threshold. The first threshold calls nobody sick; the last one everybody.
    """
    thresholds = torch.cat([torch.tensor([math.inf]), scores.unique().flip(0).cpu().double()])
    called = scores.cpu().double()[None] >= thresholds[:, None]
    sick = (labels == 1).cpu()[None]
    sensitivity = (called & sick).sum(1) / sick.sum().clamp(min=1)
    specificity = (~called & ~sick).sum(1) / (~sick).sum().clamp(min=1)
    return thresholds, sensitivity, specificity


def logits(model, x, batch=BATCH):
    """The model's answers (N, classes) for x (N, C, H, W), without gradients, on x's device.

    They are made `batch` images at a time, or fewer where memory is short.

    Raises:
        ValueError: if the model answers with NaN or infinity.
    """
    return _asking.logits(model, x, batch)


def scores(probabilities, labels):
    """Scores from the probabilities of the disease (N,) and the labels (N,), both 1-D tensors."""
    probabilities, labels = probabilities.detach().cpu(), labels.cpu()
    answers = (probabilities > 0.5).long()
    right = answers == labels
    sick = labels == 1
    return Scores(
        accuracy=proportion(right.sum(), len(labels)),
        auc=auc(probabilities, labels),
        sensitivity=proportion(right[sick].sum(), sick.sum()),
        specificity=proportion(right[~sick].sum(), (~sick).sum()),
        confidence=mean(torch.maximum(probabilities, 1 - probabilities)),
        probabilities=probabilities,
        labels=labels,
    )


def evaluate(model, x, y):
    """How a two-class model does on images x (N, C, H, W) in [0, 1] with labels y (N,).

    Raises:
        ValueError: if the model is in training mode, or doesn't answer with two finite logits an image; if these are no images
            in [0, 1], or not a label 0 or 1 for each.
    """
    check_eval(model)
    check_images(x)
    check_labels_of(x, y)
    if len(y) and (y.min() < 0 or y.max() > 1):
        raise ValueError(
            f"y holds labels from {int(y.min())} to {int(y.max())}; evaluate knows 0, healthy, and 1, the disease."
        )
    answers = logits(model, x)
    if answers.ndim != 2 or answers.shape[1] != 2:
        raise ValueError(
            f"evaluate needs two logits an image, shape ({len(x)}, 2); the model gave {tuple(answers.shape)}."
        )
    return scores(answers.softmax(1)[:, 1], y)


def as_saved(x):
    """The images as an 8-bit file would hold them: every pixel on one of 256 levels. Same shape, in [0, 1]."""
    return (x * 255).round().clamp(0, 255) / 255


def check_labels_of(x, y):
    """Raise a ValueError unless y (N,) holds one label for each of the images x (N, C, H, W)."""
    if y.shape != x.shape[:1]:
        raise ValueError(f"x holds {len(x)} images and y has the shape {tuple(y.shape)}. Each image needs one label.")


def attack_success(model, x, x_adv, y):
    """Success of an attack: the share of images, right before, that are wrong after.

    Images that the model got wrong from the start don't count: nobody had to attack them.

    Args:
        model: maps images to logits (N, classes).
        x, x_adv: images before and after, both (N, C, H, W).
        y: true labels (N,).

    Raises:
        ValueError: if the model is in training mode, or images and labels don't belong together.
    """
    check_eval(model)
    check_labels_of(x, y)
    if x.shape != x_adv.shape:
        raise ValueError(
            f"x and x_adv are the same images before and after; got {tuple(x.shape)} and {tuple(x_adv.shape)}."
        )
    return _success(model, x_adv, y, (logits(model, x).argmax(1) == y).cpu())


def _success(model, x_adv, y, right):
    """The Success on attacked images, whose clean ones the model had `right` (N,), on the CPU."""
    labels = y.cpu()

    def fooled(images):
        return (logits(model, images).argmax(1) != y).cpu() & right

    after, after_saving = fooled(x_adv), fooled(as_saved(x_adv))
    overall = proportion(after.sum(), right.sum())
    by_class = {
        label: proportion(after[labels == label].sum(), right[labels == label].sum())
        for label in labels.unique().tolist()
    }
    saved = proportion(after_saving.sum(), right.sum())
    return Success(overall, overall.low, overall.high, overall.n, by_class, saved)


class PatchSuccess(Success):
    """A patch's success over images that the model didn't call its target before, each at several placements.

    The interval is over images and not over placements: those on one image go together, so they count as one, in part.

    Attributes (beyond those of `Success`):
        by_class: {label: Estimate}, by what the model answered before.
        by_image: tensor (N,), the share of its placements at which each image was answered as the target; NaN for those that
            don't count.
    """

    def __new__(cls, value, low, high, n, by_class, after_saving, by_image):
        success = super().__new__(cls, value, low, high, n, by_class, after_saving)
        success.by_image = by_image
        return success

    def __getnewargs__(self):
        return *super().__getnewargs__(), self.by_image


def patch_success(model, x, patch, target, *, placements=8, angle=None, scale=0.4, mask="disc", generator=None):
    """How often a patch makes a model answer `target`: the share of placements, over images that weren't answered so before.

    Args:
        model: maps images to logits (N, classes).
        x: images (N, C, H, W) in [0, 1].
        patch: (3, h, w) in [0, 1], or one for each image (N, 3, h, w).
        target: the class, a number.
        placements: how many random ones each image gets, with the patch wholly inside.
        angle: the same for all, in degrees counter-clockwise; default: drawn from 22.5 degrees either way.
        scale, mask: as in `attacks.place`; scale may be a pair to draw from.
        generator: of the draw.

    Returns:
        A PatchSuccess. The model sees each patched image rounded to 8 bits, so `after_saving` is the same number.

    Raises:
        ValueError: if there is no placement to try or no such class, or as `attacks.place` does.
    """
    if placements < 1:
        raise ValueError(f"placements={placements}: each image needs one or more.")
    answers = logits(model, x)
    check_target(target, answers.shape[1])
    before = answers.argmax(1).cpu()
    counted = before != target
    rows = torch.nonzero(counted).flatten()
    angles = ANGLES if angle is None else (angle, angle)
    hits = torch.zeros(len(rows))
    for _ in range(placements):
        where = random_placements(len(rows), scale=scale, angles=angles, mask=mask, generator=generator)
        chosen = rows.to(x.device)
        own = patch[chosen] if patch.ndim == 4 and len(patch) == len(x) else patch
        placed = place(own, x[chosen], **where, mask=mask)
        hits += (logits(model, as_saved(placed)).argmax(1) == target).cpu()
    shares = hits / placements
    overall = proportion(shares.sum(), len(rows))
    labels = before[rows]
    by_class = {
        label: proportion(shares[labels == label].sum(), (labels == label).sum()) for label in labels.unique().tolist()
    }
    by_image = torch.full((len(x),), math.nan)
    by_image[rows] = shares
    return PatchSuccess(overall, overall.low, overall.high, overall.n, by_class, overall, by_image)


@dataclass(frozen=True)
class TransferMatrix:
    """What attacks made on some models do to others.

    Attributes:
        sources: names of the rows: the models that attacks were made on, then the controls.
        targets: names of the columns: the models that were attacked.
        success: {(source, target): Success}.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    success: dict

    def __getitem__(self, pair):
        """The `Success` of ``matrix[source, target]``."""
        return self.success[pair]

    def __str__(self):
        width = max(len(name) for name in (*self.sources, "made on")) + 2
        lines = ["made on".ljust(width) + "".join(f"{name:>24}" for name in self.targets)]
        for source in self.sources:
            cells = (self.success[source, target] for target in self.targets)
            lines.append(
                source.ljust(width) + "".join(f"{f'{c:.2f} ({c.low:.2f} to {c.high:.2f})':>24}" for c in cells)
            )
        counts = ", ".join(f"{target} {self.success[self.sources[0], target].n}" for target in self.targets)
        return "\n".join([*lines, f"Success with 95 % intervals, among images right before: {counts}."])

    __repr__ = __str__


def transfer_matrix(models, x, y, attack, *, targets=None, controls=None):
    """Attack each model, and try every attack on every model.

    Each column counts its own target's images that were right before, so that a weak model doesn't look easy to attack.

    Args:
        models: {name: model}, those to make attacks on. A list of models as the value is an ensemble, if `attack` takes one.
        x: images (N, C, H, W) in [0, 1]. y: true labels (N,).
        attack: called as ``attack(model, x, y)``; returns images.
        targets: {name: model}, those to try the attacks on; default: the same.
        controls: {name: images}, e.g. random noise of the same size; each gives a row.

    Returns:
        A TransferMatrix.
    """
    targets = models if targets is None else targets
    images = {name: attack(model, x, y) for name, model in models.items()} | (controls or {})
    right = {target: (logits(model, x).argmax(1) == y).cpu() for target, model in targets.items()}
    success = {
        (source, target): _success(model, x_adv, y, right[target])
        for source, x_adv in images.items()
        for target, model in targets.items()
    }
    return TransferMatrix(tuple(images), tuple(targets), success)


def median(values):
    """The median of a tensor of numbers, with the interval between order statistics that covers it with at least 95 %.

    Of fewer than six numbers the interval runs from the smallest to the largest, and covers it less often.
    """
    n = len(values)
    if n == 0:
        return Estimate(math.nan, -math.inf, math.inf, 0)
    ordered = values.double().sort().values
    below, rank = 0.5**n, 0  # chance that fewer than `rank + 1` of n lie below the median
    while rank + 1 < n / 2 and below + math.comb(n, rank + 1) * 0.5**n <= 0.025:
        rank += 1
        below += math.comb(n, rank) * 0.5**n
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    return Estimate(middle, ordered[rank], ordered[n - 1 - rank], n)
