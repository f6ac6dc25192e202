"""Split learning between devices and the access point, with what crosses the cut made explicit. Needs torch.

A `Device` has its private images, the first m layers and the optimisers of these; the `AccessPoint` has the whole
network (a digital twin runs its front, with the same numbers) and trains the layers after the cut. Features and labels
go up, the gradients at the cut come down, as plain tensors without history. Cut 12 leaves the whole network with the
device: nothing is exchanged.

One rule keeps the parts of all users equal, whatever their cuts: at the end of a round every layer takes one step with
the mean of its K gradients, wherever each was computed and wherever its copies lie. The mean of the gradients of the
losses (16) is the gradient of their mean (17), so a round is one step of the unsplit network on the batches of all
users. Each layer has an optimiser of its own, so that it can change sides between rounds together with its state.
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

__all__ = [
    "AccessPoint",
    "Device",
    "OptimiserOf",
    "Traffic",
    "TrainedLayer",
    "as_tensor",
    "training_round",
]  # fmt: skip

OptimiserOf = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
"""Makes the optimiser of one layer's parameters; it has to treat each number by itself, as SGD, momentum, Adam do."""
Gradients = list[tuple[Tensor, ...]]
"""One tuple per layer, one gradient per parameter."""


@dataclass(frozen=True)
class Traffic:
    """How many numbers have crossed the air, all users together."""

    features_up: int = 0
    """values at the cuts"""
    gradients_down: int = 0
    """gradients of these values"""
    weights_up: int = 0
    """gradients of the devices' weights, for the mean"""
    weights_down: int = 0
    """means of these, and layers that a device has not had before, with the state of their optimisers"""

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


class TrainedLayer:
    """One layer of the network and its optimiser."""

    def __init__(self, module: nn.Module, optimiser_of: OptimiserOf) -> None:
        """Train `module` in place."""
        self.module = module
        self.parameters = list(module.parameters())
        self.optimiser = optimiser_of(self.parameters)
        self._optimiser_of = optimiser_of

    def copy(self) -> TrainedLayer:
        """The same weights and the same state of the optimiser, sharing nothing."""
        twin = TrainedLayer(copy.deepcopy(self.module), self._optimiser_of)
        twin.optimiser.load_state_dict(copy.deepcopy(self.optimiser.state_dict()))
        return twin

    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step of the optimiser with these gradients."""
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
        """How many numbers a copy takes: the weights, and the optimiser's tensors of their shapes."""
        state = [value for entry in self.optimiser.state.values() for value in entry.values()]
        return self.weights + sum(value.numel() for value in state if isinstance(value, Tensor) and value.dim())


class Device:
    """A user: private images with labels, and the layers before the cut."""

    def __init__(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64], batch: int, seed: int | Sequence[int]
    ) -> None:
        """A device without any layer.

        Args:
            images: its data, (n, H, W, 3).
            labels: (n,), from 0.
            batch: images per round, drawn at random with replacement.
            seed: of the draws.
        """
        self.layers: list[TrainedLayer] = []
        self._images, self._labels, self._batch = images, torch.from_numpy(labels), batch
        self._rng = np.random.default_rng(seed)
        self._output = torch.empty(0)
        self._answers = torch.empty(0, dtype=torch.int64)

    def hold(self, layers: Sequence[TrainedLayer]) -> int:
        """Have copies of exactly these first layers; those it has already are the same and stay.

        Returns:
            How many numbers came down for it.
        """
        missing = layers[len(self.layers) :]
        self.layers = [*self.layers[: len(layers)], *(layer.copy() for layer in missing)]
        return sum(layer.numbers for layer in missing)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Features of the next mini-batch at the cut, (b, ...) without history, and its labels (b,)."""
        chosen = self._rng.integers(len(self._images), size=self._batch)
        values = as_tensor(self._images[chosen], self.layers[0].parameters[0].dtype)
        for layer in self.layers:
            values = layer.module(values)
        self._output, self._answers = values, self._labels[chosen]
        return values.detach().clone(), self._answers

    def backward(self, gradient: Tensor) -> Gradients:
        """Gradients of its weights from that of the features, for the mini-batch of the last `forward`.

        Raises:
            ValueError: the gradient has another shape than the features.
        """
        if gradient.shape != self._output.shape:
            raise ValueError(
                f"a gradient of shape {tuple(gradient.shape)} came down for features {tuple(self._output.shape)}"
            )
        return _by_layer(self.layers, torch.autograd.grad(self._output, _parameters(self.layers), gradient))

    def learn_alone(self) -> tuple[float, Gradients]:
        """Loss (16) of the last `forward` and its gradients, for the cut after the last layer."""
        loss = cross_entropy(self._output, self._answers)
        return loss.item(), _by_layer(self.layers, torch.autograd.grad(loss, _parameters(self.layers)))

    def step(self, gradients: Gradients) -> None:
        """Step with the mean gradients of its layers."""
        for layer, mean in zip(self.layers, gradients, strict=True):
            layer.step(mean)


class AccessPoint:
    """The access point: the whole network, of which it trains what lies behind each user's cut."""

    def __init__(self, network: nn.Sequential, optimiser_of: OptimiserOf) -> None:
        """Train `network` in place, layer by layer with optimisers of their own."""
        self.network = network
        self.layers = [TrainedLayer(module, optimiser_of) for module in network]

    def learn(self, features: Tensor, labels: Tensor, cut: int) -> tuple[float, Tensor, Gradients]:
        """Forward and backward through the layers after a cut.

        Args:
            features: what came up, (b, ...).
            labels: (b,).
            cut: 1 to M - 1.

        Returns:
            Loss (16), its gradient at the features, and the gradients of layers cut + 1 to M.
        """
        back = self.layers[cut:]
        received = features.detach().clone().requires_grad_()
        values = received
        for layer in back:
            values = layer.module(values)
        loss = cross_entropy(values, labels)
        at_cut, *gradients = torch.autograd.grad(loss, [received, *_parameters(back)])
        return loss.item(), at_cut, _by_layer(back, gradients)

    def step(self, gradients: Gradients) -> None:
        """Step with the mean gradients of all layers; those before the cuts keep up with the devices."""
        for layer, mean in zip(self.layers, gradients, strict=True):
            layer.step(mean)

    def accuracy(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
        """Share of images (n, H, W, 3) whose largest output is at their label (n,)."""
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
    """One frame: every user learns from one mini-batch, then all layers step with their mean gradients.

    Args:
        devices: the users.
        access_point: their common network.
        cuts: cut of each user, 1 to M.

    Returns:
        Loss (16) of each user before the step, and what crossed the air.

    Raises:
        ValueError: a cut that the network does not have, or not one per user.
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
    access_point.step(means)
    for device, cut in zip(devices, cuts, strict=True):
        device.step(means[:cut])
    return losses, traffic


def as_tensor(images: NDArray[np.uint8], dtype: torch.dtype = torch.float32) -> Tensor:
    """Images (n, H, W, 3) uint8 as the network takes them: (n, 3, H, W), from -2 to 2."""
    return (torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(dtype) / 255.0 - 0.5) * 4.0


def _parameters(layers: Sequence[TrainedLayer]) -> list[nn.Parameter]:
    return [parameter for layer in layers for parameter in layer.parameters]


def _by_layer(layers: Sequence[TrainedLayer], gradients: Iterable[Tensor]) -> Gradients:
    following = iter(gradients)
    return [tuple(next(following) for _ in layer.parameters) for layer in layers]


def _mean(gradients: Sequence[Gradients]) -> Gradients:
    """Mean over the users, always in their order: its bits do not depend on where a gradient was computed."""
    return [
        tuple(torch.stack(same).mean(dim=0) for same in zip(*layer, strict=True))
        for layer in zip(*gradients, strict=True)
    ]
