"""Split learning between devices and the access point, which exchange plain tensors at the cut. Needs torch.

A `Device` has its private images, the first m layers and their optimisers. The `AccessPoint` has the whole network and
trains the layers after the cut; for a device with a digital twin, the access point also runs the first layers, with the
same result. Devices send features and labels; the access point returns the gradients at the cut. With cut 12 the whole
network is on the device, and nothing is exchanged.

All copies of a layer stay equal, whatever the cuts: at the end of a round, every copy takes one step with the mean of
the K users' gradients. The mean of the gradients of the losses (16) is the gradient of their mean (17), so a round is
one step of the unsplit network on all users' batches. Each layer has its own optimiser, so that a layer can move
between the device and the access point together with its optimiser's state.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

OptimiserOf = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
"""Makes the optimiser of one layer's parameters; its update must be elementwise, as in SGD, momentum or Adam."""
Gradients = list[tuple[Tensor, ...]]
"""One tuple per layer, one gradient per parameter."""


@dataclass(frozen=True)
class Traffic:
    """Count of numbers sent over the air by and to all users."""

    features_up: int = 0
    """values at the cuts"""
    gradients_down: int = 0
    """gradients of these values"""
    weights_up: int = 0
    """gradients of the devices' weights, for the mean"""
    weights_down: int = 0
    """means of these gradients, and layers that are new to a device, with the state of their optimisers"""

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


class TrainedLayer:
    """One layer of the network and its optimiser."""

    def __init__(self, module: nn.Module, optimiser_of: OptimiserOf) -> None:
        """Wrap `module`, which is trained in place."""
        self.module = module
        self.parameters = list(module.parameters())
        self.optimiser = optimiser_of(self.parameters)
        self._optimiser_of = optimiser_of

    def copy(self) -> TrainedLayer:
        """Copy the weights and the optimiser's state."""
        twin = TrainedLayer(copy.deepcopy(self.module), self._optimiser_of)
        twin.optimiser.load_state_dict(copy.deepcopy(self.optimiser.state_dict()))
        return twin

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Take one optimiser step with these gradients."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    @property
    def weights(self) -> int:
        """Number of weights and biases."""
        return sum(parameter.numel() for parameter in self.parameters)

    @property
    def numbers(self) -> int:
        """Count of numbers in a copy: the weights, and the optimiser's state tensors."""
        state = [value for entry in self.optimiser.state.values() for value in entry.values()]
        return self.weights + sum(value.numel() for value in state if isinstance(value, Tensor) and value.dim())


class Device:
    """A user's device: private images with labels, and the layers before the cut."""

    def __init__(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64], batch: int, seed: int | Sequence[int]
    ) -> None:
        """Create a device without layers, with images (n, H, W, 3) and labels (n,) from 0.

        In every round it draws `batch` images at random, with replacement.
        """
        self.layers: list[TrainedLayer] = []
        self._images, self._labels, self._batch = images, torch.from_numpy(labels), batch
        self._rng = np.random.default_rng(seed)
        self._output = torch.empty(0)
        self._answers = torch.empty(0, dtype=torch.int64)

    def hold(self, layers: Sequence[TrainedLayer]) -> int:
        """Keep exactly these first layers; only missing ones are copied, since the others are equal already.

        Returns:
            Count of numbers sent down.
        """
        missing = layers[len(self.layers) :]
        self.layers = [*self.layers[: len(layers)], *(layer.copy() for layer in missing)]
        return sum(layer.numbers for layer in missing)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Compute the features of the next mini-batch at the cut, (b, ...), detached; also returns its labels (b,)."""
        chosen = self._rng.integers(len(self._images), size=self._batch)
        values = as_tensor(self._images[chosen], self.layers[0].parameters[0].dtype)
        for layer in self.layers:
            values = layer.module(values)
        self._output, self._answers = values, self._labels[chosen]
        return values.detach().clone(), self._answers

    def backward(self, gradient: Tensor) -> Gradients:
        """Backpropagate the features' gradient through the device's layers, for the mini-batch of the last `forward`.

        Raises:
            ValueError: the shapes of the gradient and the features differ.
        """
        if gradient.shape != self._output.shape:
            raise ValueError(
                f"received a gradient of shape {tuple(gradient.shape)} for features {tuple(self._output.shape)}"
            )
        return _by_layer(self.layers, torch.autograd.grad(self._output, _parameters(self.layers), gradient))

    def learn_alone(self) -> tuple[float, Gradients]:
        """Compute the loss (16) of the last `forward` and its gradients, where the device has all layers."""
        loss = cross_entropy(self._output, self._answers)
        return loss.item(), _by_layer(self.layers, torch.autograd.grad(loss, _parameters(self.layers)))


class AccessPoint:
    """The access point: has the whole network and trains the layers after each user's cut."""

    def __init__(self, network: nn.Sequential, optimiser_of: OptimiserOf) -> None:
        """Wrap `network`, which is trained in place, with one optimiser per layer."""
        self.network = network
        self.layers = [TrainedLayer(module, optimiser_of) for module in network]

    def learn(self, features: Tensor, labels: Tensor, cut: int) -> tuple[float, Tensor, Gradients]:
        """Run the layers after a cut, 1 to M - 1, forward and backward on received features (b, ...) and labels (b,).

        Returns:
            Loss (16), its gradient with respect to the features, and the gradients of layers cut + 1 to M.
        """
        back = self.layers[cut:]
        received = features.detach().clone().requires_grad_()
        values = received
        for layer in back:
            values = layer.module(values)
        loss = cross_entropy(values, labels)
        at_cut, *gradients = torch.autograd.grad(loss, [received, *_parameters(back)])
        return loss.item(), at_cut, _by_layer(back, gradients)

    def accuracy(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
        """Share of images (n, H, W, 3) whose largest output is that of their label (n,)."""
        dtype = self.layers[0].parameters[0].dtype
        with torch.no_grad():
            found = [
                self.network(as_tensor(part, dtype)).argmax(dim=1)
                for part in np.array_split(images, -(-len(images) // 256))
            ]
        return float((torch.cat(found).numpy() == labels).mean())


def training_round(
    devices: Sequence[Device], access_point: AccessPoint, cuts: Sequence[int]
) -> tuple[list[float], Traffic]:
    """Run one round: compute every user's gradients on one mini-batch, then step all layers with the mean gradients.

    Returns:
        Loss (16) of each user before the step, and the amount of data sent over the air.

    Raises:
        ValueError: a cut out of range, or a number of cuts that differs from the number of users.
    """
    depth = len(access_point.layers)
    if len(cuts) != len(devices) or not all(1 <= cut <= depth for cut in cuts):
        raise ValueError(f"cuts={list(cuts)} are not possible; give {len(devices)} whole numbers from 1 to {depth}")
    losses, gradients, traffic = [], [], Traffic()
    for device, cut in zip(devices, cuts, strict=True):
        installed = device.hold(access_point.layers[:cut])
        features, labels = device.forward()
        crossing = 0
        if cut == depth:
            loss, own = device.learn_alone()
        else:
            loss, at_cut, behind = access_point.learn(features, labels, cut)
            own = [*device.backward(at_cut), *behind]
            crossing = features.numel()
        front = sum(layer.weights for layer in device.layers)
        traffic += Traffic(crossing, crossing, front, front + installed)
        losses.append(loss)
        gradients.append(own)
    means = _mean(gradients)
    for layers in (access_point.layers, *(device.layers for device in devices)):
        for layer, mean in zip(layers, means, strict=False):
            layer.step(mean)
    return losses, traffic


def as_tensor(images: NDArray[np.uint8], dtype: torch.dtype = torch.float32) -> Tensor:
    """Convert uint8 images (n, H, W, 3) to network inputs (n, 3, H, W) from -2 to 2."""
    return (torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(dtype) / 255.0 - 0.5) * 4.0


def _parameters(layers: Sequence[TrainedLayer]) -> list[nn.Parameter]:
    return [parameter for layer in layers for parameter in layer.parameters]


def _by_layer(layers: Sequence[TrainedLayer], gradients: Iterable[Tensor]) -> Gradients:
    remaining = iter(gradients)
    return [tuple(next(remaining) for _ in layer.parameters) for layer in layers]


def _mean(gradients: Sequence[Gradients]) -> Gradients:
    """Mean over the users in fixed order, so that the result does not depend on where a gradient was computed."""
    return [
        tuple(torch.stack(same).mean(dim=0) for same in zip(*layer, strict=True))
        for layer in zip(*gradients, strict=True)
    ]
