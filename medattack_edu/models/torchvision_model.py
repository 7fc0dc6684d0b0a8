"""Any torchvision classifier as a course model: pixels in [0, 1] in, logits out. Needs torchvision's download once."""

import torch
from torch import nn


class Normalised(nn.Module):
    """A backbone with its normalisation in front, so that it takes pixels in [0, 1] as every model here does."""

    def __init__(self, backbone, mean, std):
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, x):
        return self.backbone((x - self.mean) / self.std)


def torchvision_model(name, num_classes, pretrained=True):
    """A torchvision classifier with a last layer of `num_classes`.

    Args:
        name: as `torchvision.models.list_models()` gives it, e.g. "resnet50", the model of Finlayson et al.
        num_classes: width of the last layer; 1000 keeps the ImageNet one.
        pretrained: download torchvision's ImageNet weights (checked by torchvision against the hash in their name).

    Raises:
        ValueError: if there is no such model, or it has no linear last layer.
    """
    import torchvision.models as zoo

    if name not in zoo.list_models(module=zoo):
        raise ValueError(f"There is no torchvision classifier {name!r}. torchvision.models.list_models() lists them.")
    if pretrained:
        weights = zoo.get_model_weights(name).DEFAULT
        backbone = zoo.get_model(name, weights=weights)
        preset = weights.transforms()
        mean, std = preset.mean, preset.std
    else:
        backbone = zoo.get_model(name, weights=None)
        mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    if num_classes != 1000:
        _replace_last_layer(backbone, num_classes)
    return Normalised(backbone, mean, std).eval()


def _replace_last_layer(backbone, num_classes):
    linear = [(path, module) for path, module in backbone.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(f"{type(backbone).__name__} has no linear last layer to replace.")
    path, last = linear[-1]
    parent, _, child = path.rpartition(".")
    setattr(backbone.get_submodule(parent), child, nn.Linear(last.in_features, num_classes))
