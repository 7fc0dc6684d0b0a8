"""The one check of what comes into an attack. Each message says what came, what was expected and what to do."""

import math
import numbers

import torch

ROUNDING = 1e-6  # that a pixel may lie beyond 0 and 1: resizing in single precision leaves as much
ROW_SUM_TOLERANCE = 1e-4  # logits of an image that add up to 1 this closely, all of them in [0, 1], are probabilities


def check_inputs(model, x, y, *, eps, norm="inf", target=None):
    """Raise a ValueError unless model, images, labels and eps fit together. Changes nothing.

    The model answers for one image, to see that it gives finite logits. `norm` is what eps is measured in: see `check_eps`.
    """
    check_white_box(model)
    check_images(x)
    check_eps(eps, x, norm)
    check_eval(model)
    check_labels(y, x, "y")
    if target is not None:
        check_labels(target, x, "target")
    if len(x):
        classes = check_logits(model, x[:1])
        for name, labels in (("y", y), ("target", target)):
            if labels is not None and (labels.min() < 0 or labels.max() >= classes):
                raise ValueError(
                    f"{name} holds labels from {int(labels.min())} to {int(labels.max())}, but the model knows the classes "
                    f"0 to {classes - 1}."
                )


def check_asking(oracle, x, y, *, eps, queries, needs, target=None, ids=None):
    """As `check_inputs`, for an attack that asks an `Oracle`: raises a ValueError unless all fits together. Asks nothing.

    Args:
        queries: the most questions about one image, a whole number.
        needs: what the attack can work with, of "probabilities", "logits" and "label".
        ids: patient ids (N,) of whole numbers, or None for the row numbers.

    Returns:
        The ids, tensor (N,), int64, on the CPU.
    """
    if not all(hasattr(oracle, name) for name in ("reveals", "left", "spent")):
        raise ValueError(
            f"This attack asks questions and sees nothing but answers. It takes an Oracle; got {type(oracle).__name__}. "
            f"attacks.Oracle(model, reveals={needs[0]!r}) makes one."
        )
    if oracle.reveals not in needs:
        raise ValueError(
            f"This attack needs an oracle that reveals {' or '.join(needs)}; this one reveals {oracle.reveals}."
            + (" For labels alone there are label_only_attack and hop_skip_jump." if oracle.reveals == "label" else "")
        )
    check_images(x)
    check_eps(eps, x)
    if not isinstance(queries, int) or queries < 0:
        raise ValueError(f"queries={queries!r}: give a whole number of questions, 0 or more.")
    check_labels(y, x, "y")
    if target is not None:
        check_labels(target, x, "target")
    ids = torch.arange(len(x)) if ids is None else torch.as_tensor(ids).cpu()
    if ids.shape != x.shape[:1] or ids.is_floating_point():
        raise ValueError(
            f"ids must hold one whole number for each of the {len(x)} images; got {ids.dtype} {tuple(ids.shape)}."
        )
    if len(ids.unique()) < len(ids):
        raise ValueError("Two images have the same id, so their questions couldn't be told apart. Give each its own.")
    left = oracle.left(ids)
    if len(x) and not (left > 0).any():
        raise ValueError(
            f"The oracle has no query left for any of these {len(x)} patients: {oracle!r}. Open a new one."
        )
    return ids


def check_images(x):
    """Images (N, C, H, W), floating point, finite, in [0, 1]."""
    if not isinstance(x, torch.Tensor):
        raise ValueError(f"x must be a torch tensor of images; got {type(x).__name__}. torch.as_tensor(x) makes one.")
    if x.ndim != 4:
        hint = " For one image, x[None] adds the batch dimension." if x.ndim == 3 else ""
        raise ValueError(f"x must have the shape (N, C, H, W); got {tuple(x.shape)}.{hint}")
    if not x.is_floating_point():
        raise ValueError(f"x must hold floats in [0, 1]; got {x.dtype}. For bytes, x.float() / 255.")
    if not len(x):
        return
    low, high = (value.item() for value in x.aminmax())
    if math.isnan(low) or math.isnan(high):
        raise ValueError("x holds NaN. Look at the images before you attack them.")
    if low < -ROUNDING and high > 1 + ROUNDING:
        raise ValueError(
            f"x runs from {low:.2f} to {high:.2f}, so it looks normalised. Models in this course take pixels in [0, 1] and "
            "normalise inside."
        )
    if low < -ROUNDING or high > 1 + ROUNDING:
        hint = " Divide by 255." if high > 2 else ""
        raise ValueError(f"x runs from {low:.2f} to {high:.2f}. Models in this course take pixels in [0, 1].{hint}")


def check_eps(eps, x, norm="inf"):
    """One radius for all images, or one for each (N,): 0 or more, and in the L-infinity norm at most 1, the pixel range."""
    if isinstance(eps, torch.Tensor) and eps.ndim == 1 and len(eps) != len(x):
        raise ValueError(f"eps holds {len(eps)} radii for {len(x)} images. Give one number, or one for each image.")
    if isinstance(eps, torch.Tensor) and eps.ndim > 1:
        raise ValueError(f"eps must be one number, or one for each image (N,); got the shape {tuple(eps.shape)}.")
    try:
        low, high = (
            (eps.min().item(), eps.max().item()) if isinstance(eps, torch.Tensor) and eps.numel() else (float(eps),) * 2
        )
    except (TypeError, ValueError):
        if isinstance(eps, torch.Tensor):  # an empty one, for an empty batch
            return
        raise ValueError(f"eps must be a number in pixel units of the [0, 1] scale, e.g. 2/255; got {eps!r}.") from None
    if not low >= 0:
        raise ValueError(f"eps={low:g}: the radius of a ball is 0 or more.")
    if not math.isfinite(high):
        raise ValueError(f"eps={high:g}: a radius is finite.")
    if norm == "inf" and high > 1:
        raise ValueError(
            f"eps={high:g} is larger than the whole pixel range. Pixels here run from 0 to 1; for {high:g} grey levels write "
            f"eps={high:g}/255."
        )


def check_labels(labels, x, name):
    """Labels (N,), int64, on the device of the images."""
    if not isinstance(labels, torch.Tensor):
        raise ValueError(f"{name} must be a tensor of labels (N,); got {type(labels).__name__}.")
    if labels.shape != x.shape[:1]:
        hint = " Labels are class numbers, not one-hot rows: argmax(1) gives them." if labels.ndim == 2 else ""
        raise ValueError(
            f"{name} must hold one label for each of the {len(x)} images; got the shape {tuple(labels.shape)}.{hint}"
        )
    if labels.dtype != torch.int64:
        raise ValueError(f"{name} must be int64; got {labels.dtype}. {name}.long() converts.")
    if labels.device != x.device:
        raise ValueError(f"x is on {x.device} and {name} on {labels.device}. Move one with .to(...).")


def check_white_box(model):
    """A model, whose gradient can be taken: not an `Oracle`, which only answers."""
    if hasattr(model, "reveals"):
        raise ValueError(
            "This attack needs a gradient, and an Oracle only answers. Give it the model itself, or a surrogate; "
            "nes_attack, square_attack, label_only_attack and hop_skip_jump ask an Oracle."
        )


def check_target(target, classes):
    """The number of a class, of so many."""
    if (
        not isinstance(target, numbers.Integral | torch.Tensor)
        or not 0 <= int(target) < classes
        or int(target) != target
    ):
        raise ValueError(f"target={target!r} is not a class: the model knows 0 to {classes - 1}.")


def check_eval(model, whose="The model"):
    """A module in eval mode, or a plain function."""
    if isinstance(model, torch.nn.Module):
        for part, module in model.named_modules():
            if module.training:
                where = f", in its part {part!r}," if part else ""
                raise ValueError(
                    f"{whose} is{where} in training mode, where its answers depend on the batch. Call model.eval() first."
                )


def check_finite(answers):
    """Logits, a loss or anything else that a model answered, without NaN and infinity."""
    if not answers.isfinite().all():
        raise ValueError(
            "The model answers with NaN or infinity. Look at its weights: did its training diverge? And at the images."
        )


def check_logits(model, x):
    """The number of classes, if the model answers with finite logits (N, classes)."""
    try:
        with torch.no_grad():
            logits = model(x)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(
            f"The model can't take these images, {x.dtype} {tuple(x.shape[1:])} each: {reason} "
            "The models of this course take torch.float32, and (3, height, width): RGB first, grey in three channels."
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(x):
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(f"The model must answer with logits (N, classes); for {len(x)} image it gave {shape}.")
    if logits.shape[1] < 2:
        raise ValueError("The model answers with one logit an image. Attacks need one for each class, two or more.")
    check_finite(logits)
    sums_to_one = ((logits.sum(1) - 1).abs() < ROW_SUM_TOLERANCE).all()
    if sums_to_one and logits.min() >= 0:
        raise ValueError(
            "The model answers with probabilities. Attacks need logits: take the softmax out of the model, because its "
            "gradient vanishes where the model is sure."
        )
    return logits.shape[1]
