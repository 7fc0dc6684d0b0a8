"""Models that are trained once and then read from the cache. How they train is in `finetune`; on what, the caller says."""

from pathlib import Path

import torch

from medattack_edu import cache, runtime
from medattack_edu.models import efficientnet_lite
from medattack_edu.models.finetune import augmentation, finetune
from medattack_edu.models.small_cnn import SmallCNN

LEARNING_RATE = 1e-3
AUGMENTATION = 0.5  # strength: a few epochs are too few to profit from the paper's full ranges
IMAGES_SEEN = 4600  # in training, however many there are: about a minute on 2 cores
# The first blocks see edges and textures, which medical images share with photographs. Left as ImageNet made them they save
# a third of the time for a step, which pays for more epochs and stronger augmentation.
UNTRAINED_BLOCKS = 5
START_SMALL = 0.6  # share of the steps that see smaller images, which saves another quarter of the time and no AUC
RECIPE_FILES = [
    Path(__file__).with_name(name) for name in ("efficientnet_lite.py", "finetune.py", "small_cnn.py", "victims.py")
]


def new_model(backbone, num_classes=2, pretrained=True, seed=0):
    """An untrained or ImageNet-trained model with a fresh last layer.

    Args:
        backbone: "efficientnet_lite0" (or 1, 2), "small_cnn" (not pre-trained), or any torchvision classification model,
            e.g. "resnet50", whose weights torchvision downloads.
        num_classes: width of the last layer.
        pretrained: start from ImageNet weights.
        seed: of what is random in it; the global generator is left as it was.

    Returns:
        A model from images in [0, 1] to logits, in eval mode, on the CPU.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if backbone.startswith("efficientnet_lite"):
            maker = getattr(efficientnet_lite, backbone, None)
            if maker is None:
                raise ValueError(f"There is no backbone {backbone!r}; efficientnet_lite0, 1 and 2 are here.")
            return maker(num_classes, pretrained)
        if backbone == "small_cnn":
            return SmallCNN(num_classes).eval()
        from medattack_edu.models.torchvision_model import torchvision_model

        return torchvision_model(backbone, num_classes, pretrained)


def trained(images, *, name, fingerprint, backbone="efficientnet_lite0", pretrained=True, epochs=None, seed=0):
    """A classifier trained on `images`, from the cache if it was trained before.

    Args:
        images: an ImageSet to train on.
        name: what it is called, e.g. "chest victim"; part of the file's name.
        fingerprint: changes whenever the images do.
        backbone, pretrained, seed: what else decides the result.
        epochs: passes over the images; default: as many as make about `IMAGES_SEEN`.

    Returns:
        A model in eval mode, without parameter gradients, on the device: pixels in [0, 1] to two logits.
    """
    epochs = epochs or max(1, round(IMAGES_SEEN / len(images)))
    key = cache.digest_of(RECIPE_FILES, fingerprint, backbone, pretrained, epochs, seed)
    path = runtime.cache_dir("victims") / f"{name.replace(' ', '-')}-{key}.safetensors"
    model = new_model(backbone, pretrained=pretrained, seed=seed)

    def train():
        history = finetune(
            model,
            images,
            epochs=epochs,
            lr=LEARNING_RATE,
            augment=augmentation(AUGMENTATION),
            seed=seed,
            parameters=upper_layers(model) if pretrained else None,
            start_small=START_SMALL,
            title=f"training the {name} (once; a minute or so on 2 cores)",
        )
        state = model.cpu().state_dict()
        if history.interrupted:  # half a victim is good enough to look at, not to keep
            raise cache.Unfinished(state)
        return state

    model.load_state_dict(cache.kept(path, train))
    model.eval().to(runtime.device(), memory_format=torch.channels_last)
    return model.requires_grad_(False)


def upper_layers(model):
    """The parameters that a pre-trained model's training changes: all but the first blocks of an EfficientNet-Lite."""
    if not isinstance(model, efficientnet_lite.EfficientNetLite):
        return list(model.parameters())
    parts = (*model.blocks[UNTRAINED_BLOCKS:], model.head, model.classifier)
    return [parameter for part in parts for parameter in part.parameters()]


def cached_names():
    """Names of the models in the cache, sorted."""
    return sorted(path.stem for path in runtime.cache_dir("victims").glob("*.safetensors"))
