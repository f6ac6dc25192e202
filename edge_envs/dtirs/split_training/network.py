"""The network that is split: VGG style, 12 layers, 32 x 32 colour images. Needs torch.

Ten 3 x 3 convolutions (64, 64P, 128, 128P, 256, 256, 256P, 512, 512, 512P; P: max-pooling 2 x 2, counted with the layer
before it), then two fully connected layers with 512 outputs and one output per class; ReLU after all but the last.
There is no batch normalisation, so that a layer's output depends on one image only and has the size by which the
environment counts bits.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from edge_envs.core.validation import number_within, whole_number

IMAGE_SIDE = 32
"""Height and width of an image [pixels]."""
CONVOLUTIONS = (
    (64, False), (64, True), (128, False), (128, True), (256, False), (256, False), (256, True),
    (512, False), (512, False), (512, True),
)  # fmt: skip
"""Output channels at width 1; True where the layer ends with a pooling by 2."""
HIDDEN = 512
"""Outputs of the layer before the last, at width 1."""
LAYERS = len(CONVOLUTIONS) + 2
"""Number of layers M; with cut m, layers 1 to m are on the device."""
MAX_WIDTH = 4.0


def build_network(classes: int, width: float = 1.0, seed: int = 0) -> nn.Sequential:
    """Build the 12 layers with random weights; torch's global generator is not used.

    Args:
        classes: outputs of the last layer, at least 2.
        width: factor on all other numbers of channels, above 0 and up to 4; each is at least 1.
        seed: seed of the weights.

    Raises:
        ValueError: invalid number of classes or width.
    """
    whole_number("classes", classes, 2)
    number_within("width", width, 0.0, MAX_WIDTH, strict=True)
    generator = torch.Generator().manual_seed(seed)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    before = 3
    for number, (channels, pooled) in enumerate(CONVOLUTIONS, start=1):
        after = _scaled(channels, width)
        parts = [_weighted(nn.Conv2d, before, after, 3, generator=generator, padding=1), nn.ReLU()]
        layers[f"layer{number}"] = nn.Sequential(*parts, *([nn.MaxPool2d(2)] if pooled else []))
        before = after
    places = (IMAGE_SIDE >> sum(pooled for _, pooled in CONVOLUTIONS)) ** 2
    hidden = _scaled(HIDDEN, width)
    full = _weighted(nn.Linear, before * places, hidden, generator=generator)
    layers[f"layer{LAYERS - 1}"] = nn.Sequential(nn.Flatten(), full, nn.ReLU())
    layers[f"layer{LAYERS}"] = nn.Sequential(_weighted(nn.Linear, hidden, classes, generator=generator))
    return nn.Sequential(layers)


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def _weighted(kind: Any, *sizes: int, generator: torch.Generator, **options: Any) -> nn.Module:
    """A layer with normal weights that preserve the variance through a ReLU, and zero biases."""
    layer: Any = nn.utils.skip_init(kind, *sizes, **options)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(layer.bias)
    module: nn.Module = layer
    return module
