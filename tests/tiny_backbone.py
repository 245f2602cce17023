"""A backbone that looks at a photo in microseconds, for tests: `--backbone tests.tiny_backbone:factory`."""
import os
import time

import torch
from torch import nn

SPEC = {"width": 8, "size": 32, "resize": "squash", "interpolation": "bilinear", "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25]}


def factory():
    """Two convolutions and a mean; TINY_SECONDS makes each batch take as long, so that it can be interrupted."""
    return Tiny(), dict(SPEC)


def with_map():
    """Ends in pooling over a map of 7 x 7, as --tokens wants."""
    net = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(7), nn.Conv2d(8, 8, 1),
                        nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return net, dict(SPEC)


def with_places():
    """Whatever it is shown, each place of its map says which it is, row by row."""
    return Placed(), dict(SPEC)


class Placed(nn.Module):
    """(B, 3, 32, 32) -> (B, 8)."""

    def __init__(self):
        super().__init__()
        self.pool, self.places = nn.AdaptiveAvgPool2d(1), nn.Parameter(torch.arange(49.0).view(1, 1, 7, 7))

    def forward(self, images):
        return self.pool(self.places.expand(len(images), 8, 7, 7) + 0 * images[:, :1, :7, :7]).flatten(1)


def with_holes():
    """Makes no number of a black picture, as padding is, and more than float16 holds of a white one."""
    return Holey(), dict(SPEC)


def broken():
    """Makes no number of any picture."""
    net = Tiny()
    nn.init.constant_(net.net[3].bias, float("nan"))
    return net, dict(SPEC)


class Tiny(nn.Module):
    """(B, 3, 32, 32) -> (B, 8)."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 16, 5, stride=4), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 8, 3))

    def forward(self, images):
        time.sleep(float(os.environ.get("TINY_SECONDS", 0)))
        return self.net(images).mean(dim=(2, 3))


class Holey(Tiny):
    """(B, 3, 32, 32) -> (B, 8)."""

    def forward(self, images):
        brightness = images.mean(dim=(1, 2, 3))[:, None]
        features = super().forward(images)
        features = torch.where(brightness > 1.7, features * 1e7, features)
        return torch.where(brightness < -1.7, features * float("nan"), features)


def with_blocks():
    """Has repeated blocks and a last stage, as a ResNet has."""
    return Blocky(), dict(SPEC)


class Block(nn.Module):
    """Residual, with batch norm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)

    def forward(self, x):
        return x + self.norm(self.conv(x)).relu()


class Blocky(nn.Module):
    """(B, 3, 32, 32) -> (B, 8)."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8)
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(8, 8)

    def forward(self, images):
        return self.head(self.blocks(self.norm(self.stem(images)).relu()).mean(dim=(2, 3)))
