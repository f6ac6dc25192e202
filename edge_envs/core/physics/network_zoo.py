"""Builders of the known networks, which compute layer tables from the shapes of the tensors."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from types import MappingProxyType
from typing import Any, TypeAlias

from edge_envs.core.physics.layer_tables import Layer, Network

InputSize: TypeAlias = int | tuple[int, int] | None
SIDE_MAX = 65_536
"""Largest side of an input [pixels], so that all numbers fit into 64 bits."""
_Kernel: TypeAlias = int | tuple[int, int]
_Pad: TypeAlias = int | None
"""Padding of both ends of an axis together; None is kernel - 1, for an output of ceil(size / stride)"""


class _VanishedError(Exception):
    """A feature map has no elements, because the input is too small for the network."""


@dataclass
class _Trace:
    """Shape of the current feature map, and the counts since the last cut."""

    channels: int
    height: int
    width: int
    macs: int = 0
    parameters: int = 0
    other_operations: int = 0

    @property
    def elements(self) -> int:
        """Size of the feature map."""
        return self.channels * self.height * self.width

    def branch(self) -> _Trace:
        """A trace with the same shape and counts of zero, for a parallel branch."""
        return replace(self, macs=0, parameters=0, other_operations=0)

    def add(self, branch: _Trace) -> None:
        """Add the counts of a parallel branch."""
        self.macs += branch.macs
        self.parameters += branch.parameters
        self.other_operations += branch.other_operations


def _extent(size: int, kernel: int, stride: int, pad: _Pad) -> int:
    """Number of positions of a sliding window along one axis."""
    places = (size + (kernel - 1 if pad is None else pad) - kernel) // stride + 1
    if places < 1:
        raise _VanishedError
    return places


def _conv(t: _Trace, out: int, kernel: _Kernel, stride: int = 1, pad: _Pad = None, groups: int = 1) -> None:
    """Convolution to `out` channels, with biases."""
    kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
    t.height, t.width = _extent(t.height, kh, stride, pad), _extent(t.width, kw, stride, pad)
    weights = out * (t.channels // groups) * kh * kw
    t.macs += t.height * t.width * weights
    t.parameters += weights + out
    t.channels = out
    t.other_operations += t.elements


def _pool(t: _Trace, kernel: int, stride: int, pad: _Pad = 0) -> None:
    """Pooling; with pad = stride - 1 the output size is rounded up."""
    t.height, t.width = (_extent(n, kernel, stride, pad) for n in (t.height, t.width))
    t.other_operations += kernel**2 * t.elements


def _adapt(t: _Trace, size: int) -> None:
    """Adaptive pooling (or repetition) to size x size."""
    t.other_operations += t.elements
    t.height = t.width = size


def _fc(t: _Trace, units: int) -> None:
    """Fully connected layer with `units` outputs and biases."""
    weights = t.elements * units
    t.macs += weights
    t.parameters += weights + units
    t.other_operations += units
    t.channels, t.height, t.width = units, 1, 1


def _keep(t: _Trace) -> None:
    """Dropout or softmax, which keeps the shape and adds no counts."""


def _residual(t: _Trace, channels: int, stride: int, blocks: int) -> None:
    """A ResNet stage of blocks with two convolutions, and a 1x1 shortcut if the shape changes."""
    for first in (True,) + (False,) * (blocks - 1):
        step = stride if first else 1
        shortcut = t.branch()
        if step != 1 or t.channels != channels:
            _conv(shortcut, channels, 1, step)
        _conv(t, channels, 3, step)
        _conv(t, channels, 3)
        t.add(shortcut)


def _inverted(t: _Trace, expansion: int, channels: int, blocks: int, stride: int) -> None:
    """A MobileNetV2 stage: 1x1 expansion (unless the factor is 1), 3x3 depthwise convolution, 1x1 projection."""
    for first in (True,) + (False,) * (blocks - 1):
        hidden = expansion * t.channels
        if expansion != 1:
            _conv(t, hidden, 1)
        _conv(t, hidden, 3, stride if first else 1, groups=hidden)
        _conv(t, channels, 1)


def _fire(t: _Trace, squeeze: int, expand: int) -> None:
    """A SqueezeNet module: 1x1 squeeze, then parallel 1x1 and 3x3 convolutions, concatenated."""
    _conv(t, squeeze, 1)
    side = t.branch()
    _conv(side, expand, 1)
    _conv(t, expand, 3)
    t.add(side)
    t.channels += side.channels


def _separable(t: _Trace, channels: int) -> None:
    """3x3 depthwise convolution, then a pointwise one to `channels`."""
    _conv(t, t.channels, 3, groups=t.channels)
    _conv(t, channels, 1)


_Row: TypeAlias = tuple[str, Callable[..., None], *tuple[Any, ...]]
"""(name, operation, arguments of the operation); an operation with the name "" belongs to the next cut"""


@dataclass(frozen=True)
class _Builder:
    """Builds the layer table of one network for any input size."""

    name: str
    channels: int
    native: tuple[int, int]
    rows: tuple[_Row, ...]

    @property
    def _square(self) -> bool:
        return self.native[0] == self.native[1]

    def __call__(self, input_size: InputSize = None) -> Network:
        """Build the network; see `build_network` for sizes and errors."""
        height, width = self._height_width(input_size)
        if max(height, width) > SIDE_MAX:
            raise ValueError(f"{self.name}: input size {height}x{width} is too large; use at most {SIDE_MAX} per side")
        layers = self._walk(height, width)
        if layers is None:
            low_h = next(n for n in count(1) if self._walk(n, self.native[1]))
            low_w = next(n for n in count(1) if self._walk(self.native[0], n))
            raise ValueError(
                f"{self.name}: input size {height}x{width} is too small, a feature map would vanish; "
                f"needs a height of at least {low_h} and a width of at least {low_w}"
            )
        size = height if self._square and height == width else f"{height}x{width}"
        return Network(f"{self.name}@{size}", height * width * self.channels, layers)

    def _height_width(self, input_size: InputSize) -> tuple[int, int]:
        if input_size is None:
            return self.native
        try:
            if isinstance(input_size, Sequence):
                height, width = input_size
            else:
                height, width = input_size, (input_size if self._square else self.native[1])
            return operator.index(height), operator.index(width)
        except (TypeError, ValueError):
            raise ValueError(f"{self.name}: input size must be an int or (height, width), not {input_size!r}") from None

    def _walk(self, height: int, width: int) -> tuple[Layer, ...] | None:
        """The layers; None if a feature map has no elements."""
        layers = []
        trace = _Trace(self.channels, height, width)
        for name, operation, *arguments in self.rows:
            try:
                operation(trace, *arguments)
            except _VanishedError:
                return None
            if name:
                layers.append(Layer(name, trace.macs, trace.elements, trace.parameters, trace.other_operations))
                trace = trace.branch()
        return tuple(layers)


# fmt: off
_RESNET18 = _Builder("resnet18", 3, (224, 224), (
    ("", _conv, 64, 7, 2), ("stem", _pool, 3, 2, None), ("l1.1", _residual, 64, 1, 2),
    ("l2.1", _residual, 128, 2, 2), ("l3.1", _residual, 256, 2, 2), ("l4.1", _residual, 512, 2, 2),
    ("pool", _adapt, 1), ("fc", _fc, 1000),
))
_MOBILENETV2 = _Builder("mobilenetv2", 3, (224, 224), (
    ("conv1", _conv, 32, 3, 2), ("bneck16", _inverted, 1, 16, 1, 1), ("bneck24", _inverted, 6, 24, 2, 2),
    ("bneck32", _inverted, 6, 32, 3, 2), ("bneck64", _inverted, 6, 64, 4, 2),
    ("bneck96", _inverted, 6, 96, 3, 1), ("bneck160", _inverted, 6, 160, 3, 2),
    ("bneck320", _inverted, 6, 320, 1, 1), ("conv2", _conv, 1280, 1), ("pool", _adapt, 1), ("fc", _fc, 1000),
))
_ALEXNET = _Builder("alexnet", 3, (224, 224), (  # torchvision's: pooled or repeated to 6x6 before fc6
    ("conv1", _conv, 64, 11, 4, 4), ("pool1", _pool, 3, 2), ("conv2", _conv, 192, 5), ("pool2", _pool, 3, 2),
    ("conv3", _conv, 384, 3), ("conv4", _conv, 256, 3), ("conv5", _conv, 256, 3), ("pool5", _pool, 3, 2),
    ("", _adapt, 6), ("fc6", _fc, 4096), ("fc7", _fc, 4096), ("fc8", _fc, 1000),
))
_SQUEEZENET11 = _Builder("squeezenet1.1", 3, (224, 224), (  # torchvision's: the first three pools round up
    ("conv1", _conv, 64, 3, 2, 0), ("pool1", _pool, 3, 2, 1),
    ("fire2", _fire, 16, 64), ("fire3", _fire, 16, 64), ("pool3", _pool, 3, 2, 1),
    ("fire4", _fire, 32, 128), ("fire5", _fire, 32, 128), ("pool5", _pool, 3, 2, 1),
    ("fire6", _fire, 48, 192), ("fire7", _fire, 48, 192), ("fire8", _fire, 64, 256),
    ("fire9", _fire, 64, 256), ("conv10", _conv, 1000, 1), ("pool10", _adapt, 1),
))
_TINY_YOLOV2 = _Builder("tiny-yolov2", 3, (416, 416), (  # the VOC model; pool6 keeps the size
    ("conv1", _conv, 16, 3), ("pool1", _pool, 2, 2), ("conv2", _conv, 32, 3), ("pool2", _pool, 2, 2),
    ("conv3", _conv, 64, 3), ("pool3", _pool, 2, 2), ("conv4", _conv, 128, 3), ("pool4", _pool, 2, 2),
    ("conv5", _conv, 256, 3), ("pool5", _pool, 2, 2), ("conv6", _conv, 512, 3), ("pool6", _pool, 2, 1, None),
    ("conv7", _conv, 1024, 3), ("conv8", _conv, 1024, 3), ("det", _conv, 125, 1),
))
_VGG16 = _Builder("vgg16", 3, (224, 224), (  # torchvision's: pooled or repeated to 7x7 before fc1
    ("conv1", _conv, 64, 3), ("conv2", _conv, 64, 3), ("pool1", _pool, 2, 2),
    ("conv3", _conv, 128, 3), ("conv4", _conv, 128, 3), ("pool2", _pool, 2, 2),
    ("conv5", _conv, 256, 3), ("conv6", _conv, 256, 3), ("conv7", _conv, 256, 3), ("pool3", _pool, 2, 2),
    ("conv8", _conv, 512, 3), ("conv9", _conv, 512, 3), ("conv10", _conv, 512, 3), ("pool4", _pool, 2, 2),
    ("conv11", _conv, 512, 3), ("conv12", _conv, 512, 3), ("conv13", _conv, 512, 3), ("pool5", _pool, 2, 2),
    ("", _adapt, 7), ("fc1", _fc, 4096), ("fc2", _fc, 4096), ("fc3", _fc, 1000),
))
_TINY_YOLOV2_CIFAR = _Builder("tiny-yolov2-cifar", 3, (32, 32), (  # a classifier's head; pool6 keeps the size
    *_TINY_YOLOV2.rows[:14], ("conv9", _conv, 10, 1), ("gap", _adapt, 1), ("softmax", _keep),
))
_VGG16_CIFAR = _Builder("vgg16-cifar", 3, (32, 32), (  # darknet's; fc1 has more weights if the input is larger
    *_VGG16.rows[:18], ("fc1", _fc, 512), ("dropout1", _keep), ("fc2", _fc, 512), ("dropout2", _keep),
    ("fc3", _fc, 10), ("softmax", _keep),
))
_VGG12 = _Builder("vgg12", 3, (32, 32), (  # each pool is counted with the convolution before it
    ("conv1", _conv, 64, 3), ("", _conv, 64, 3), ("conv2", _pool, 2, 2),
    ("conv3", _conv, 128, 3), ("", _conv, 128, 3), ("conv4", _pool, 2, 2),
    ("conv5", _conv, 256, 3), ("conv6", _conv, 256, 3), ("", _conv, 256, 3), ("conv7", _pool, 2, 2),
    ("conv8", _conv, 512, 3), ("conv9", _conv, 512, 3), ("", _conv, 512, 3), ("conv10", _pool, 2, 2),
    ("fc1", _fc, 512), ("fc2", _fc, 10),
))
_NIN = _Builder("nin", 3, (32, 32), (  # each pool is counted with the convolution before it
    ("conv1", _conv, 192, 5), ("cccp1", _conv, 160, 1), ("", _conv, 96, 1), ("cccp2", _pool, 3, 2, None),
    ("conv2", _conv, 192, 5), ("cccp3", _conv, 192, 1), ("", _conv, 192, 1), ("cccp4", _pool, 3, 2, None),
    ("conv3", _conv, 192, 3), ("cccp5", _conv, 192, 1), ("", _conv, 10, 1), ("cccp6", _adapt, 1),
))
_DS_CNN = _Builder("ds-cnn", 1, (49, 10), (  # the small model: 49 frames of 10 coefficients, 12 words
    ("conv1", _conv, 64, (10, 4), 2), ("ds1", _separable, 64), ("ds2", _separable, 64),
    ("ds3", _separable, 64), ("ds4", _separable, 64), ("pool", _adapt, 1), ("fc", _fc, 12),
))
# fmt: on

_ALL = (
    *(_RESNET18, _TINY_YOLOV2, _MOBILENETV2, _ALEXNET, _SQUEEZENET11, _VGG16, _VGG12, _NIN, _DS_CNN),
    *(_TINY_YOLOV2_CIFAR, _VGG16_CIFAR),
)
NETWORKS: Mapping[str, Callable[..., Network]] = MappingProxyType({builder.name: builder for builder in _ALL})
"""Builders of the known networks by name; call them with an input size as in `build_network`."""
