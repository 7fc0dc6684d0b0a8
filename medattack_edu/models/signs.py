"""The network that reads traffic signs, trained once on views drawn as it goes. Signs are drawn in `scenes.signs`."""

from pathlib import Path

import torch
import torch.nn.functional as F

from medattack_edu import runtime
from medattack_edu.cache import digest_of, kept
from medattack_edu.models.freeze import freeze
from medattack_edu.models.small_cnn import SmallCNN
from medattack_edu.scenes import signs, streets

STEPS, BATCH = 100, 64
LEARNING_RATE = 4e-3
DISTANCES, ANGLES = (5.0, 80.0), 50.0  # wider than any test, so that no test asks about something never seen
RECIPE = (Path(__file__), Path(signs.__file__), Path(streets.__file__), Path(__file__).with_name("small_cnn.py"))


def classifier(seed=0):
    """The sign classifier, made ready for attacks: crops (n, 3, 48, 48) in [0, 1] to a logit for each of `signs.CLASSES`.

    A `SmallCNN` of 0.1 M parameters. The first call trains it, in about half a minute on one core; later ones read it.
    """
    model = SmallCNN(len(signs.CLASSES)).eval()
    path = runtime.cache_dir("physical") / f"sign-classifier-{digest_of(RECIPE, STEPS, BATCH, seed)}.safetensors"
    state = kept(path, lambda: _trained(seed))
    model.load_state_dict(state)
    return freeze(model.to(runtime.device()))


def views_of_all(n, *, distances=DISTANCES, angles=ANGLES, size=signs.SIZE, generator=None):
    """`n` random views of random signs: images (n, 3, size, size) and their classes (n,), each class about as often."""
    first = int(torch.randint(len(signs.CLASSES), (1,), generator=generator))
    y = (torch.randperm(n, generator=generator) + first) % len(signs.CLASSES)
    views = signs.random_views(n, distances=distances, angles=angles, generator=generator)
    x = torch.zeros(n, 3, size, size)
    for number, name in enumerate(signs.CLASSES):
        rows = torch.nonzero(y == number).flatten()
        if len(rows):
            x[rows] = signs.look(*signs.sign(name), views[rows], size)
    return x, y


def _trained(seed):
    """Train the classifier. Returns its state, {name: tensor}."""
    from tqdm.auto import tqdm

    generator, device = runtime.generator(seed), runtime.device()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SmallCNN(len(signs.CLASSES))
    model.to(device, memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=LEARNING_RATE, total_steps=STEPS + 1)
    right = 0.0
    for _ in (bar := tqdm(range(STEPS), desc="training the sign classifier (once; half a minute)")):
        x, y = views_of_all(BATCH, generator=generator)
        y = y.to(device)
        logits = model(x.to(device, memory_format=torch.channels_last))
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(logits, y).backward()
        optimiser.step()
        schedule.step()
        right = 0.95 * right + 0.05 * (logits.argmax(1) == y).float().mean().item()
        bar.set_postfix(right=f"{right:.3f}", refresh=False)
    return {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
