"""Training: one step, and the loop around it. Which images, and where the result is kept, is decided elsewhere."""

import copy
import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from medattack_edu import metrics, runtime

BATCH = 16  # 32 at 128 px peaks 0.4 GB higher, which a small Binder machine doesn't have
SMALL = 0.75  # of an image's side: a step on so small images costs a little more than half


@dataclass
class History:
    """What training left behind: the loss of every step, and the AUC after every epoch.

    `auc` is measured on the validation images if there were any, else on the training images as they went by.
    """

    loss: list = field(default_factory=list)
    auc: list = field(default_factory=list)
    interrupted: bool = False


def train_step(model, x, y, optimiser, weight=None):
    """One step of training: forward, loss, backward, update.

    Args:
        model: in training mode.
        x: images (N, 3, H, W) in [0, 1]. y: labels (N,).
        optimiser: a torch optimiser over the model's parameters.
        weight: how much each class counts (classes,), or None for all the same.

    Returns:
        The loss before the update (a float) and the logits (N, classes), detached.
    """
    optimiser.zero_grad(set_to_none=True)
    logits = model(x)
    loss = F.cross_entropy(logits, y, weight=weight)
    loss.backward()
    optimiser.step()
    return loss.item(), logits.detach()


def augmentation(strength=1.0):
    """Random shear, zoom, rotation, shift and flip after Finlayson et al. (their code: shear 0.2, zoom 0.2, rotation 45
    degrees, shift 0.2, horizontal flip). One draw per image.

    Args:
        strength: 1 for the paper's ranges, made for hundreds of epochs; less shrinks them all, for short training.

    Returns:
        A function from one image (3, H, W) in [0, 1] to another.
    """
    from torchvision.transforms import v2

    affine = v2.RandomAffine(
        degrees=45 * strength,
        translate=(0.2 * strength, 0.2 * strength),
        scale=(1 - 0.2 * strength, 1 + 0.2 * strength),
        shear=math.degrees(0.2) * strength,
        interpolation=v2.InterpolationMode.BILINEAR,
    )
    return v2.Compose([v2.RandomHorizontalFlip(), affine])


def class_weights(labels):
    """Weights (2,) that make both classes count the same, however many images each has."""
    counts = torch.bincount(labels, minlength=2).float()
    return len(labels) / (2 * counts.clamp(min=1))


def finetune(
    model,
    train,
    *,
    epochs=3,
    validation=None,
    lr=1e-3,
    augment=None,
    seed=0,
    parameters=None,
    start_small=0.0,
    title="training",
):
    """Train `model` in place: AdamW, one-cycle learning rate, class weights, a progress bar with loss and AUC.

    Interrupt it (Ctrl-C, or the stop button) and the model keeps the best weights so far; you are told so.

    Args:
        model: maps images in [0, 1] to two logits.
        train: an ImageSet. validation: another, or None.
        epochs: passes over `train`.
        lr: the highest learning rate of the cycle.
        augment: a function from image (3, H, W) to image, or None for horizontal flips only.
        seed: of order, augmentation and dropout; the global generators are left as they were.
        parameters: those to train (an iterable); default: all. The rest, batch norms included, stays as it is.
        start_small: share of the steps, the first ones, that see images of three quarters of the side. What is coarse is
            learnt from them in half the time (progressive resizing; Tan and Le 2021, arXiv 2104.00298, section 4).
        title: what the progress bar says.

    Returns:
        A History. The model is left in eval mode.

    Raises:
        ValueError: if the loss becomes NaN or infinite.
    """
    from tqdm.auto import tqdm

    device = runtime.device()
    model.to(device, memory_format=torch.channels_last)  # a step takes 0.6 of the time on a CPU
    chosen = list(model.parameters() if parameters is None else parameters)
    wanted_gradients = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.requires_grad_(False)
    for parameter in chosen:
        parameter.requires_grad_(True)
    steps = epochs * max(1, len(train) // BATCH)
    optimiser = torch.optim.AdamW(chosen, lr=lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=lr, total_steps=steps + 1)
    weight = class_weights(train.labels).to(device)
    history = History()
    best, best_auc = None, -math.inf
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), tqdm(total=steps, desc=title) as bar:
        torch.manual_seed(seed)
        try:
            for _ in range(epochs):
                _train_mode(model)
                seen = []
                for rows in torch.randperm(len(train)).split(BATCH)[: max(1, len(train) // BATCH)]:
                    x = _batch(train.images[rows], augment)
                    if len(history.loss) < start_small * steps:
                        x = F.interpolate(x, scale_factor=SMALL, mode="bilinear", antialias=True)
                    x = x.to(device, memory_format=torch.channels_last)
                    y = train.labels[rows].to(device)
                    loss, logits = train_step(model, x, y, optimiser, weight)
                    if not math.isfinite(loss):
                        raise ValueError(
                            f"The training diverged: at step {len(history.loss) + 1} the loss is {loss}. Start again with a fresh model and "
                            f"a smaller learning rate than lr={lr:g}."
                        )
                    schedule.step()
                    seen.append((logits, y))
                    history.loss.append(loss)
                    bar.set_postfix(loss=f"{_recent(history.loss):.3f}", auc=f"{_running_auc(seen):.3f}", refresh=False)
                    bar.update()
                model.eval()
                history.auc.append(_validated_auc(model, validation) if validation is not None else _running_auc(seen))
                bar.set_postfix(loss=f"{_recent(history.loss):.3f}", auc=f"{history.auc[-1]:.3f}")
                if history.auc[-1] >= best_auc:
                    best, best_auc = copy.deepcopy(model.state_dict()), history.auc[-1]
        except KeyboardInterrupt:
            history.interrupted = True
            kept = "the weights of the best epoch" if best else "the weights as they stand"
            bar.write(f"{title} stopped after {len(history.loss)} of {steps} steps; the model keeps {kept}.")
        finally:
            for parameter, wanted in wanted_gradients:
                parameter.requires_grad_(wanted)
    # Without images to validate on, a training that wasn't stopped keeps its last epoch, whose steps were the smallest.
    if best is not None and (history.interrupted or validation is not None):
        model.load_state_dict(best)
    model.eval()
    return history


def _train_mode(model):
    """Training mode, except where nothing is trained: a batch norm there keeps its statistics."""
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()


def _batch(images, augment):
    """Bytes to floats in [0, 1], each image augmented by itself."""
    x = images.float() / 255
    if augment is None:
        flip = torch.rand(len(x)) < 0.5
        return torch.where(flip[:, None, None, None], x.flip(3), x)
    return torch.stack([augment(image) for image in x])


def _recent(losses, window=20):
    return sum(losses[-window:]) / len(losses[-window:])


def _running_auc(seen):
    logits = torch.cat([part for part, _ in seen])
    return float(metrics.auc(logits[:, 1] - logits[:, 0], torch.cat([y for _, y in seen])))


@torch.no_grad()
def _validated_auc(model, images):
    device = next(model.parameters()).device
    parts = [model(part.to(device).float() / 255) for part in images.images.split(metrics.BATCH)]
    logits = torch.cat(parts).cpu()
    return float(metrics.auc(logits[:, 1] - logits[:, 0], images.labels))
