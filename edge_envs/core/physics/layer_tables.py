"""Layer tables of neural networks: work, parameters and feature size at every cut.

A network is a chain of layers. A cut after layer k keeps the first k layers on the device and sends one feature tensor
to the server. The tables follow from the shapes of the tensors, for any input size.

Conventions: MACs are multiply-accumulates of convolutions and fully connected layers,
``Ho * Wo * Co * (Ci / groups) * kh * kw``; biases, normalisation, pooling and activations count as 0.
Other operations, counted separately, are one activation per output of each of these layers and one operation per input
of a pooling window: kernel^2 per output element, or one per input element for adaptive pooling. Sums of branches,
dropout and softmax count as 0 everywhere. The FLOP are 2 MAC plus the other operations.
Parameters are the weights and one bias per output channel of each convolution and fully connected layer, as if
normalisation were merged into it. Feature sizes are in elements (``H * W * C``); the word length converts them to bits.
A network with branches is cut only where a single tensor crosses, ResNet-18 and MobileNetV2 at the end of each stage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Layer:
    """A layer after which a network can be cut."""

    name: str
    """Unique within the network"""
    macs: int
    """Multiply-accumulates since the previous cut [MAC]"""
    output_elements: int
    """Size of the tensor that crosses this cut [elements]"""
    parameters: int = 0
    """Weights and biases since the previous cut"""
    other_operations: int = 0
    """Activations and inputs of pooling windows since the previous cut [FLOP]"""


@dataclass(frozen=True, eq=False)
class Cuts:
    """The cuts of a network with their work and sizes; every array is float64 of shape (K+1,).

    Cut 0 sends the raw input, and the server does all work; at cut K the device does all work and sends nothing.
    """

    names: tuple[str, ...]
    """Last layer on the device; "input" for cut 0"""
    device_macs: NDArray[np.float64]
    """Work before the cut [MAC], non-decreasing; 0 for cut 0"""
    server_macs: NDArray[np.float64]
    """Work after the cut [MAC]; 0 for cut K"""
    bits: NDArray[np.float64]
    """Size of the tensor sent [bit]; 0 for cut K"""
    device_parameters: NDArray[np.float64]
    """Weights and biases before the cut, non-decreasing; 0 for cut 0"""
    device_flop: NDArray[np.float64]
    """2 MAC plus the other operations before the cut [FLOP], non-decreasing; 0 for cut 0"""
    server_flop: NDArray[np.float64]
    """2 MAC plus the other operations after the cut [FLOP]; 0 for cut K"""


@dataclass(frozen=True)
class Network:
    """A chain of one or more layers at a fixed input size."""

    name: str
    """Such as "resnet18@96" or "ds-cnn@49x10", as in `parse_network`"""
    input_elements: int
    """Size of the input [elements]"""
    layers: tuple[Layer, ...]
    """The layers in the order of execution"""

    def cuts(self, word_bits: int = 8, useful: bool = True, input_bits: int | None = None) -> Cuts:
        """The cuts of this network, in order of device work.

        With `useful`, only the Pareto front of (position in the chain, bits to send) is kept: cut j dominates cut k if
        it is earlier, so that it needs no more device work, and its tensor is not larger. The bits strictly decrease
        along the kept cuts, which always include cuts 0 and K. A layer of 0 MACs does not dominate the layer before it:
        pooling needs time on a device, although it is not counted. So a first layer of pooling is kept in addition to
        the input if it reduces the size, and ResNet-18 keeps both its last stage and the global pooling after it.

        Args:
            word_bits: bits per element of every feature, at least 1.
            useful: if True, omit dominated cuts; if False, list all len(layers) + 1 cuts.
            input_bits: bits per element of the raw input, at least 1; None for `word_bits`.

        Raises:
            ValueError: `word_bits` or `input_bits` is below 1.
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
    """Indices of values that are below all earlier values, including the first one."""
    below = values[1:] < np.minimum.accumulate(values)[:-1]
    return np.flatnonzero(np.concatenate(([True], below)))
