"""A residual network with random weights that sees small pictures: `--backbone tests.random_resnet:factory`."""
from torch import nn
from torchvision.models import resnet18


def factory():
    """(B, 3, 64, 64) -> (B, 512), without its classifier."""
    module = resnet18(weights=None)
    module.fc = nn.Identity()
    return module, {"width": 512, "size": 64, "resize": "squash", "short_side": 73, "interpolation": "bilinear",
                    "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
