"""Algorithm 1: devices and base station train the codec together, exchanging data over the air. Needs torch.

A `Device` holds an encoder without gradients. The `BaseStation` holds the whole model of every device and its
optimiser. Devices send symbols up; the base station sends new encoder weights down. The paper assumes that both sides
know the training images, so the base station can run the encoder itself to compute the encoder's gradient.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import mse_loss

from edge_envs.core.validation import SEED_MAX, finite_array, number_within, whole_number
from edge_envs.semcom.jscc.networks import Codec, Encoder, awgn, channels_of

BYTES_PER_WEIGHT = 4
"""Encoder weights are sent in single precision."""
BYTES_PER_SYMBOL = 8
"""In-phase and quadrature part, each in single precision."""
WARMUP_STEPS = 100
MIN_CHANNELS, MAX_CHANNELS = 8, 29
"""Range of code channels in a training over all compression rates: 0.083 to 0.302."""
MIN_SNR_DB, MAX_SNR_DB = 0.0, 20.0
"""Range of the SNR in a training over all SNR [dB]."""
PEAK_LEARNING_RATE = 3e-3

OptimiserOf = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]
adam: OptimiserOf = partial(torch.optim.Adam, lr=PEAK_LEARNING_RATE, betas=(0.9, 0.99))
"""Adam with beta_2 = 0.99, suited to trainings of a few thousand steps."""


@dataclass(frozen=True)
class Batch:
    """One round's images, with the number of channels to send and the SNR of each."""

    images: Tensor
    """(b, 3, H, W) from 0 to 1; known to both sides"""
    kept: Tensor
    """number of code channels to send of each image, (b,)"""
    snr_db: Tensor
    """signal-to-noise ratio of each image's channel, (b,) [dB]"""


@dataclass(frozen=True)
class Traffic:
    """Amount of data sent over the air."""

    symbols_up: int = 0
    """complex channel symbols"""
    bytes_down: int = 0
    """encoder weights"""

    @property
    def bytes_up(self) -> int:
        """Bytes of the symbols, with two single-precision numbers each."""
        return self.symbols_up * BYTES_PER_SYMBOL

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.symbols_up + other.symbols_up, self.bytes_down + other.bytes_down)


class Device:
    """A device: encodes its images and installs the encoder weights that it receives."""

    def __init__(self, encoder: Encoder) -> None:
        """Copy the encoder."""
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)

    def encode(self, images: Tensor, kept: Tensor) -> Tensor:
        """Compute the symbols X_n to send (1), (b, c, h, w); channels from index `kept` on are 0 and are not sent."""
        with torch.no_grad():
            symbols: Tensor = self.encoder(images, kept)
        return symbols

    def install(self, weights: Tensor) -> None:
        """Replace the encoder's weights by those that `BaseStation.update` returned.

        Raises:
            ValueError: the number of weights differs from the encoder's.
        """
        own = sum(parameter.numel() for parameter in self.encoder.parameters())
        if weights.numel() != own:
            raise ValueError(f"received {weights.numel()} weights for an encoder with {own}")
        torch.nn.utils.vector_to_parameters(weights, self.encoder.parameters())


class BaseStation:
    """The base station: decodes, measures the loss, and updates the whole model of each device."""

    def __init__(self, codecs: Sequence[Codec], optimiser_of: OptimiserOf = adam) -> None:
        """Create a base station for the models of devices 0, 1, ...; they are trained in place."""
        self.codecs = list(codecs)
        self.optimisers = [optimiser_of(codec.parameters()) for codec in self.codecs]

    def update(self, device: int, received: Tensor, batch: Batch) -> tuple[float, Tensor]:
        """Run lines 8 to 10 of Algorithm 1 for one device: decode, compute the loss, take one step on the whole model.

        The loss is differentiated with respect to the received symbols Y_n (2), (b, c, h, w). The channel only adds
        noise, so this is also the gradient at the encoder's output; the base station backpropagates it through its own
        copy of the encoder.

        Returns:
            Mean squared error before the step, and the new weights of the encoder as one vector.
        """
        codec, optimiser = self.codecs[device], self.optimisers[device]
        optimiser.zero_grad()
        symbols = received.detach().requires_grad_()
        loss = mse_loss(codec.decoder(symbols, (batch.images.shape[2], batch.images.shape[3])), batch.images)
        loss.backward()
        codec.encoder(batch.images, batch.kept).backward(symbols.grad)
        optimiser.step()
        return loss.item(), torch.nn.utils.parameters_to_vector(codec.encoder.parameters()).detach()


def training_round(
    devices: Sequence[Device], station: BaseStation, batches: Sequence[Batch], generators: Sequence[torch.Generator]
) -> tuple[list[float], Traffic]:
    """Run one iteration of Algorithm 1 over all devices, with one batch and one source of channel noise for each.

    Returns:
        Mean squared error of each device, and the amount of data sent over the air.
    """
    losses, traffic = [], Traffic()
    for n, (device, batch, generator) in enumerate(zip(devices, batches, generators, strict=True)):
        sent = device.encode(batch.images, batch.kept)
        received = awgn(sent, batch.kept, batch.snr_db, generator)
        loss, weights = station.update(n, received, batch)
        device.install(weights)
        losses.append(loss)
        places = sent.shape[2] * sent.shape[3]
        symbols = sum(math.ceil(kept * places / 2) for kept in batch.kept.tolist())
        traffic += Traffic(symbols, weights.numel() * BYTES_PER_WEIGHT)
    return losses, traffic


@dataclass(frozen=True)
class Recipe:
    """Training settings of one codec; by default, one model for all compression rates and SNR, drawn for each image."""

    steps: int = 6000
    """rounds of Algorithm 1"""
    seed: int = 0
    """seed of the weights, the batches and the noise"""
    rho: float | None = None
    """compression rate to train for; None is all from 0.083 to 0.302"""
    snr_db: float | None = None
    """SNR to train at [dB]; None is all from 0 to 20 dB"""
    batch: int = 16
    """images in a round"""
    peak_learning_rate: float = PEAK_LEARNING_RATE
    """learning rate of Adam after the warm-up"""
    mosaic_share: float = 0.1
    """share of the rounds in which a batch is joined into one large picture; see `mosaic`"""

    def __post_init__(self) -> None:
        whole_number("steps", self.steps, 1)
        whole_number("batch", self.batch, 1)
        whole_number("seed", self.seed, 0, SEED_MAX)
        number_within("mosaic_share", self.mosaic_share, 0.0, 1.0)
        if self.snr_db is not None:
            finite_array("snr_db", self.snr_db, (), low=-math.inf)
        if self.rho is not None:
            channels_of(self.rho)

    @property
    def channels(self) -> tuple[int, int]:
        """Smallest and largest number of code channels in training."""
        if self.rho is None:
            return MIN_CHANNELS, MAX_CHANNELS
        return (channels_of(self.rho),) * 2


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Learning rate of a step: linear warm-up to `peak` over min(100, steps / 10) steps, linear decay to 0."""
    warmup = min(WARMUP_STEPS, max(1, steps // 10))
    return peak * min(1.0, (step + 1) / warmup) * (1.0 - step / steps)


def mosaic(images: Tensor) -> Tensor:
    """Join images (b, 3, H, W) into one picture (1, 3, s H, s W) with s^2 <= b; the remaining images are dropped.

    The code's power is normalised over the whole picture. A codec trained on small images alone loses 2 to 4 dB on
    large pictures, because their parts do not all have the same power.
    """
    side = math.isqrt(len(images))
    rows = [torch.cat(list(images[i * side : (i + 1) * side]), dim=2) for i in range(side)]
    return torch.cat(rows, dim=1)[None]


def train(
    images: NDArray[np.uint8], recipe: Recipe, on_step: Callable[[float], object] = float
) -> tuple[Codec, Traffic]:
    """Train a codec by Algorithm 1 with one device and the base station, on images (n, H, W, 3).

    Returns:
        The base station's model, and the amount of data sent over the air. `on_step` gets the mean squared error of
        every round.
    """
    codec = Codec(recipe.channels[1], recipe.seed)
    device, station = Device(codec.encoder), BaseStation([codec])
    choices = np.random.default_rng((recipe.seed, 1))
    noise = torch.Generator().manual_seed(recipe.seed)
    total = Traffic()
    for step in range(recipe.steps):
        for group in station.optimisers[0].param_groups:
            group["lr"] = learning_rate(step, recipe.steps, recipe.peak_learning_rate)
        losses, traffic = training_round([device], station, [_draw_batch(images, recipe, choices)], [noise])
        total += traffic
        on_step(losses[0])
    return codec, total


def _draw_batch(pool: NDArray[np.uint8], recipe: Recipe, choices: np.random.Generator) -> Batch:
    low, high = recipe.channels
    images = as_tensor(pool[choices.integers(len(pool), size=recipe.batch)])
    # Mirrored pictures augment the built-in set, which has few photographs.
    flips = [axis for axis in (2, 3) if choices.random() < 0.5]
    kept = torch.from_numpy(choices.integers(low, high + 1, size=recipe.batch))
    snr_db = torch.from_numpy(choices.uniform(MIN_SNR_DB, MAX_SNR_DB, size=recipe.batch)).float()
    if recipe.snr_db is not None:
        snr_db = torch.full_like(snr_db, recipe.snr_db)
    images = images.flip(flips)
    if choices.random() < recipe.mosaic_share:
        return Batch(mosaic(images), kept[:1], snr_db[:1])
    return Batch(images, kept, snr_db)


def as_tensor(images: NDArray[np.uint8]) -> Tensor:
    """Convert uint8 images (n, H, W, 3) to network inputs (n, 3, H, W) from 0 to 1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float() / 255.0
