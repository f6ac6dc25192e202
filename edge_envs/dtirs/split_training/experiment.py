"""Trainings under different policies, from the same initial weights and mini-batches. Needs torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from edge_envs.core.validation import SEED_MAX, positive_number, whole_number
from edge_envs.dtirs.split_training.data import Data
from edge_envs.dtirs.split_training.network import build_network
from edge_envs.dtirs.split_training.simulated_delay import Frame, Frames
from edge_envs.dtirs.split_training.training import AccessPoint, Device, Traffic, training_round

BETAS = (0.9, 0.99)
"""Adam's decay rates; with beta_2 = 0.999 the loss jumps at times."""
RECENT_ROUNDS = 10
"""Rounds over which the loss is averaged in tables and figures."""


@dataclass(frozen=True)
class Recipe:
    """Training settings; the batch size and the bits per number are the environment's."""

    rounds: int = 300
    """training rounds, each with one mini-batch per user"""
    width: float = 0.25
    """width of the network; 1 is the network of which the environment models the delay"""
    learning_rate: float = 3e-4
    """learning rate of Adam"""
    images_per_user: int = 64
    """private images of each user"""
    seed: int = 0
    """seed of the weights, images, mini-batches and the environment"""
    evaluations: int = 15
    """number of measurements of the held-out accuracy"""

    def __post_init__(self) -> None:
        for name in ("rounds", "images_per_user", "evaluations"):
            whole_number(name, getattr(self, name), 1)
        whole_number("seed", self.seed, 0, SEED_MAX)
        positive_number("learning_rate", self.learning_rate)

    def measures(self, number: int) -> bool:
        """Return True if the accuracy is measured after round `number`, counted from 1."""
        return number == self.rounds or number % max(1, self.rounds // self.evaluations) == 0


@dataclass(frozen=True, eq=False)
class Series:
    """One training, round by round (R rounds, K users)."""

    policy: str
    losses: NDArray[np.float64]
    """loss (16) of each user's mini-batch before the round's step, (R, K) [nat]"""
    frames: tuple[Frame, ...]
    """cuts and delays of each round"""
    bits: NDArray[np.int64]
    """features up, gradients down, and weight gradients up and down, (R, 4) [bit]"""
    accuracy: NDArray[np.float64]
    """accuracy on held-out images after the round, (R,); NaN where not measured"""

    @property
    def users(self) -> int:
        """Number of users K."""
        return self.losses.shape[1]

    @property
    def mean_loss(self) -> NDArray[np.float64]:
        """Loss (17), (R,) [nat]."""
        return self.losses.mean(axis=1)

    @property
    def elapsed_s(self) -> NDArray[np.float64]:
        """Simulated delay since the start, summed over the users, (R,) [s]."""
        return np.cumsum([frame.delay_s for frame in self.frames])


def train(data: Data, frames: Frames, policy: str, recipe: Recipe, on_round: Callable[[], object] = int) -> Series:
    """Train one network by split learning, with the cuts that the policy named `policy` chooses in every frame.

    Raises:
        ValueError: invalid width, or a cut out of range.
    """
    config = frames.config
    adam = partial(torch.optim.Adam, lr=recipe.learning_rate, betas=BETAS)
    access_point = AccessPoint(build_network(data.classes, recipe.width, recipe.seed), adam)
    devices = [
        Device(own.images, own.labels, config.batch_size, (recipe.seed, k))
        for k, own in enumerate(data.users[: frames.users])
    ]
    losses, seen, traffic, accuracy = [], [], [], np.full(recipe.rounds, np.nan)
    for number in range(1, recipe.rounds + 1):
        frame = frames.advance()
        loss, crossed = training_round(devices, access_point, frame.cuts)
        losses.append(loss)
        seen.append(frame)
        traffic.append(_bits(crossed, config.word_bits, config.weight_bits))
        if recipe.measures(number):
            accuracy[number - 1] = access_point.accuracy(data.held_out.images, data.held_out.labels)
        on_round()
    return Series(policy, np.array(losses), tuple(seen), np.array(traffic, dtype=np.int64), accuracy)


def running_mean(values: NDArray[np.float64], window: int = RECENT_ROUNDS) -> NDArray[np.float64]:
    """Mean of each value and the up to window - 1 values before it; same shape (R,)."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    means: NDArray[np.float64] = (sums[ends] - sums[starts]) / (ends - starts)
    return means


def _bits(crossed: Traffic, word_bits: int, weight_bits: int) -> tuple[int, int, int, int]:
    return (
        crossed.features_up * word_bits, crossed.gradients_down * word_bits,
        crossed.weights_up * weight_bits, crossed.weights_down * weight_bits,
    )  # fmt: skip
