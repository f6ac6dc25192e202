"""Layer tables of real networks, by shape arithmetic: work, weights and feature size at every place to cut them.

A network is a chain of layers; cutting it after layer k leaves the first k layers on the device and
sends one feature tensor to the server. Only shapes are needed for that, so weights are counted, not kept,
and the input size is free.

Conventions: MACs are multiply-accumulates of convolutions and fully connected layers,
``Ho * Wo * Co * (Ci / groups) * kh * kw``; biases, normalisation, pooling and activations count as 0.
Other operations, counted apart, are one activation per output of each of these layers and one operation per
input of a pooling window: kernel^2 per output element, one per input element if pooled adaptively. Sums of
branches, dropout and softmax count as 0 throughout. FLOP are 2 MAC and the other operations.
Parameters are the weights and one bias per output channel of each convolution and fully connected layer, as if
normalisation were folded into it. Feature sizes are in elements (``H * W * C``) and become bits with a
word length. A network with branches is cut only where a single tensor crosses; ResNet-18 and MobileNetV2 at
the end of each stage.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["NETWORKS", "Cuts", "Layer", "Network", "build_network", "parse_network"]

InputSize: TypeAlias = int | tuple[int, int] | None
LARGEST_SIDE = 65_536
"""Largest input side [pixels]: numbers of layers stay within 64 bits."""
_Kernel: TypeAlias = int | tuple[int, int]
_Pad: TypeAlias = int | None
"""padding of both ends of an axis together; None is kernel - 1, for an output of ceil(size / stride)"""


@dataclass(frozen=True)
class Layer:
    """One place after which a network can be cut."""

    name: str
    """unique within its network"""
    macs: int
    """multiply-accumulates since the cut before [MAC]"""
    output_elements: int
    """size of the tensor that crosses this cut [elements]"""
    parameters: int = 0
    """trainable numbers, weights and biases, since the cut before"""
    other_operations: int = 0
    """activations and inputs of pooling windows since the cut before [FLOP]"""


@dataclass(frozen=True, eq=False)
class Cuts:
    """Where a network may be cut and what each cut costs; every array is float64 of shape (K+1,).

    Index 0 sends the raw input and leaves all work to the server; index K runs everything on the device
    and sends nothing.
    """

    names: tuple[str, ...]
    """the last layer on the device; "input" at index 0"""
    device_macs: NDArray[np.float64]
    """work before the cut [MAC], never decreasing; 0 at index 0"""
    server_macs: NDArray[np.float64]
    """work after the cut [MAC]; 0 at index K"""
    bits: NDArray[np.float64]
    """size of the tensor sent [bit]; 0 at index K"""
    device_parameters: NDArray[np.float64]
    """trainable numbers before the cut, never decreasing; 0 at index 0"""
    device_flop: NDArray[np.float64]
    """2 MAC and the other operations before the cut [FLOP], never decreasing; 0 at index 0"""
    server_flop: NDArray[np.float64]
    """2 MAC and the other operations after the cut [FLOP]; 0 at index K"""


@dataclass(frozen=True)
class Network:
    """A chain of one or more layers at a fixed input size."""

    name: str
    """as `parse_network` reads it, such as "resnet18@96" or "ds-cnn@49x10"."""
    input_elements: int
    """size of the input [elements]"""
    layers: tuple[Layer, ...]
    """in the order in which they run"""

    @property
    def total_macs(self) -> int:
        """Work of one inference [MAC]."""
        return sum(layer.macs for layer in self.layers)

    def cuts(self, word_bits: int = 8, useful: bool = True, input_bits: int | None = None) -> Cuts:
        """List the cuts of this network, in order of device work.

        With `useful`, only the Pareto front of (position in the chain, bits to send) is kept: cut j
        dominates cut k when j comes earlier, so needs no more device work, and its tensor is no larger. So
        bits strictly fall along the kept cuts, and cuts 0 and K are always among them. A layer of 0 MACs
        still comes after the layer before it and does not dominate it: pooling is not free on a device,
        only uncounted. Hence a pool at the very start is kept beside the input if it shrinks it, and
        ResNet-18 keeps both its last stage and the global pool behind it.

        Args:
            word_bits: bits per element of every feature, at least 1.
            useful: drop the dominated cuts; otherwise all K = len(layers) are listed.
            input_bits: bits per element of the raw input, at least 1; None is `word_bits`.

        Raises:
            ValueError: if `word_bits` or `input_bits` is below 1.
        """
        input_bits = word_bits if input_bits is None else input_bits
        for name, bits in (("word_bits", word_bits), ("input_bits", input_bits)):
            if bits < 1:
                raise ValueError(f"{name} must be at least 1 bit per element, not {bits}")
        names = ("input", *(layer.name for layer in self.layers))
        device = np.cumsum([0, *(layer.macs for layer in self.layers)], dtype=np.int64)
        parameters = np.cumsum([0, *(layer.parameters for layer in self.layers)], dtype=np.int64)
        flop = np.cumsum([0, *(2 * layer.macs + layer.other_operations for layer in self.layers)], dtype=np.int64)
        features = (float(layer.output_elements) * word_bits for layer in self.layers[:-1])
        sent = np.array([float(self.input_elements) * input_bits, *features, 0.0])
        keep = _strict_minima(sent) if useful else np.arange(len(sent))
        return Cuts(
            names=tuple(names[k] for k in keep),
            device_macs=device[keep].astype(np.float64),
            server_macs=(device[-1] - device[keep]).astype(np.float64),
            bits=sent[keep],
            device_parameters=parameters[keep].astype(np.float64),
            device_flop=flop[keep].astype(np.float64),
            server_flop=(flop[-1] - flop[keep]).astype(np.float64),
        )


def _strict_minima(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the indices whose value is below all values before it; the first index always is."""
    below = values[1:] < np.minimum.accumulate(values)[:-1]
    return np.flatnonzero(np.concatenate(([True], below)))


class _VanishedError(Exception):
    """A feature map shrank to nothing: the input is too small for the network."""


@dataclass
class _Trace:
    """A feature map's shape on its way through a network, and what was counted since the last cut."""

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
        """The same shape with nothing counted, for a path beside this one."""
        return replace(self, macs=0, parameters=0, other_operations=0)

    def add(self, branch: _Trace) -> None:
        """Add what a path beside this one has counted."""
        self.macs += branch.macs
        self.parameters += branch.parameters
        self.other_operations += branch.other_operations


def _extent(size: int, kernel: int, stride: int, pad: _Pad) -> int:
    """Count the places of a sliding window along one axis."""
    places = (size + (kernel - 1 if pad is None else pad) - kernel) // stride + 1
    if places < 1:
        raise _VanishedError
    return places


def _conv(t: _Trace, out: int, kernel: _Kernel, stride: int = 1, pad: _Pad = None, groups: int = 1) -> None:
    """Convolve to `out` channels, with biases."""
    kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
    t.height, t.width = _extent(t.height, kh, stride, pad), _extent(t.width, kw, stride, pad)
    weights = out * (t.channels // groups) * kh * kw
    t.macs += t.height * t.width * weights
    t.parameters += weights + out
    t.channels = out
    t.other_operations += t.elements


def _pool(t: _Trace, kernel: int, stride: int, pad: _Pad = 0) -> None:
    """Pool; pad = stride - 1 makes one that rounds up."""
    t.height, t.width = (_extent(n, kernel, stride, pad) for n in (t.height, t.width))
    t.other_operations += kernel**2 * t.elements


def _adapt(t: _Trace, size: int) -> None:
    """Pool (or repeat) adaptively to size x size."""
    t.other_operations += t.elements
    t.height = t.width = size


def _fc(t: _Trace, units: int) -> None:
    """Connect all elements to `units` outputs, with biases."""
    weights = t.elements * units
    t.macs += weights
    t.parameters += weights + units
    t.other_operations += units
    t.channels, t.height, t.width = units, 1, 1


def _keep(t: _Trace) -> None:
    """Keep the shape and count nothing: dropout, softmax."""


def _residual(t: _Trace, channels: int, stride: int, blocks: int) -> None:
    """One ResNet stage of two-convolution blocks, with a 1x1 shortcut where the shape changes."""
    for first in (True,) + (False,) * (blocks - 1):
        step = stride if first else 1
        shortcut = t.branch()
        if step != 1 or t.channels != channels:
            _conv(shortcut, channels, 1, step)
        _conv(t, channels, 3, step)
        _conv(t, channels, 3)
        t.add(shortcut)


def _inverted(t: _Trace, expansion: int, channels: int, blocks: int, stride: int) -> None:
    """One MobileNetV2 stage: expand 1x1 (unless by 1), depthwise 3x3, project 1x1."""
    for first in (True,) + (False,) * (blocks - 1):
        hidden = expansion * t.channels
        if expansion != 1:
            _conv(t, hidden, 1)
        _conv(t, hidden, 3, stride if first else 1, groups=hidden)
        _conv(t, channels, 1)


def _fire(t: _Trace, squeeze: int, expand: int) -> None:
    """One SqueezeNet module: squeeze 1x1, then 1x1 and 3x3 side by side, joined."""
    _conv(t, squeeze, 1)
    side = t.branch()
    _conv(side, expand, 1)
    _conv(t, expand, 3)
    t.add(side)
    t.channels += side.channels


def _separable(t: _Trace, channels: int) -> None:
    """Depthwise 3x3, then pointwise to `channels`."""
    _conv(t, t.channels, 3, groups=t.channels)
    _conv(t, channels, 1)


_Row: TypeAlias = tuple[str, Callable[..., None], *tuple[Any, ...]]
"""(name, operation, its arguments); an operation without a name joins the next cut"""


@dataclass(frozen=True)
class _Builder:
    """Builds one network at any input size."""

    name: str
    channels: int
    native: tuple[int, int]
    rows: tuple[_Row, ...]

    @property
    def _square(self) -> bool:
        return self.native[0] == self.native[1]

    def __call__(self, input_size: InputSize = None) -> Network:
        """Build the network; sizes and errors as in `build_network`."""
        height, width = self._height_width(input_size)
        if max(height, width) > LARGEST_SIDE:
            raise ValueError(
                f"{self.name}: input size {height}x{width} is too large, at most {LARGEST_SIDE} a side are counted"
            )
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
        """Run the rows; None if a feature map vanishes."""
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
"""Builder of each known network, called with an input size as in `build_network`."""


def build_network(name: str, input_size: InputSize = None) -> Network:
    """Build the layer table of a known network.

    Args:
        name: one of `NETWORKS`.
        input_size: (height, width) of the input. An int is the side of a square input or, for "ds-cnn",
            the number of frames, of 10 coefficients each. None is the network's native size.

    Raises:
        ValueError: if the name is unknown, the size is not made of integers, or it is so small that a
            feature map would vanish.
    """
    if name not in NETWORKS:
        nearest = difflib.get_close_matches(str(name).lower(), NETWORKS, n=1, cutoff=0.0)[0]
        raise ValueError(f"unknown network {name!r}; nearest is {nearest!r}, known are {', '.join(NETWORKS)}")
    network: Network = NETWORKS[name](input_size)
    return network


def parse_network(spec: str) -> Network:
    """Build a network from "name", "name@size" or "name@HEIGHTxWIDTH", such as "resnet18@96".

    Raises:
        ValueError: if the text has another form, or as `build_network` does.
    """
    match = re.fullmatch(r"([^@\s]+)(?:@([0-9]+)(?:x([0-9]+))?)?", spec)
    if match is None:
        raise ValueError(
            f"network spec {spec!r} should be 'name', 'name@size' or 'name@HEIGHTxWIDTH', "
            "such as 'resnet18@96' or 'ds-cnn@49x10'"
        )
    name, height, width = match.groups()
    if height is None:
        return build_network(name)
    return build_network(name, int(height) if width is None else (int(height), int(width)))
