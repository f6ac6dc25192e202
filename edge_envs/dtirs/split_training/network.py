"""The network that is split: VGG style, 12 layers, 32 x 32 colour images. Needs torch.

Ten 3 x 3 convolutions (64, 64P, 128, 128P, 256, 256, 256P, 512, 512, 512P; P: max-pooling 2 x 2, counted with the layer
before it), then fully connected layers of 512 and of as many outputs as there are classes; ReLU after all but the last.
There is no batch normalisation: what a layer computes then depends on one image only, and the values at each cut are
those of the table by which the environment counts bits.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import nn

__all__ = ["IMAGE_SIDE", "LAYERS", "build_network", "output_values"]

IMAGE_SIDE = 32
"""Height and width of an image [pixels]."""
CONVOLUTIONS = (
    (64, False), (64, True), (128, False), (128, True), (256, False), (256, False), (256, True),
    (512, False), (512, False), (512, True),
)  # fmt: skip
"""Output channels at width 1 and whether the layer ends with a pooling by 2."""
HIDDEN = 512
"""Outputs of the layer before the last, at width 1."""
LAYERS = len(CONVOLUTIONS) + 2
"""M: cut m leaves layers 1 to m with the device."""
WIDEST = 4.0


def build_network(classes: int, width: float = 1.0, seed: int = 0) -> nn.Sequential:
    """The 12 layers in order, with random weights; torch's own generator is left alone.

    Args:
        classes: outputs of the last layer, from 2.
        width: factor on all other numbers of channels, above 0 and up to 4; each is at least 1.
        seed: of the weights.

    Raises:
        ValueError: a number of classes or a width that cannot be.
    """
    _check(classes, width)
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


def output_values(classes: int, width: float = 1.0) -> tuple[int, ...]:
    """Values per image at the output of each of the 12 layers: what crosses the air at each cut but the last.

    Raises:
        ValueError: as `build_network`.
    """
    _check(classes, width)
    values, side = [], IMAGE_SIDE
    for channels, pooled in CONVOLUTIONS:
        side //= 1 + pooled
        values.append(_scaled(channels, width) * side**2)
    return (*values, _scaled(HIDDEN, width), classes)


def _check(classes: int, width: float) -> None:
    if classes < 2:
        raise ValueError(f"classes={classes} is not possible; give at least 2")
    if not (math.isfinite(width) and 0.0 < width <= WIDEST):
        raise ValueError(f"width={width} is not possible; give a factor above 0 and up to {WIDEST:g}")


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def _weighted(kind: Any, *sizes: int, generator: torch.Generator, **options: Any) -> nn.Module:
    """A layer with normal weights that keep the variance through a ReLU, which twelve layers need; biases of 0."""
    layer: Any = nn.utils.skip_init(kind, *sizes, **options)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(layer.bias)
    module: nn.Module = layer
    return module
