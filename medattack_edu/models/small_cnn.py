"""A small convolutional network without pre-training, for comparison. Nothing else."""

import torch
from torch import nn


class SmallCNN(nn.Module):
    """Four convolutions and a linear layer, 0.1 M parameters: images (N, 3, H, W) in [0, 1] to logits (N, classes)."""

    def __init__(self, num_classes=2, width=24):
        super().__init__()
        layers, channels = [], 3
        for factor in (1, 2, 3, 4):
            out = factor * width
            layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            layers += [nn.MaxPool2d(2)]
            channels = out
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)

    def features(self, x):
        """The numbers that the classifier sees, (N, 4 * width)."""
        return torch.amax(self.layers(2 * x - 1), (2, 3))

    def forward(self, x):
        return self.classifier(self.features(x))
