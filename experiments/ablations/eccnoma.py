"""The policies of the ECCNOMA paper, played on common frames, and the measures that compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.contestants import find_entry
from agents.worlds import EVALUATION_STREAM, make_worlds, step_values, stream_seeds
from experiments.shared.verdicts import Estimate, mean_of

ENV, PRESET = "ECCNOMA-v0", "paper"
NETWORKS = {"NiN": "nin@32", "YOLOv2": "tiny-yolov2-cifar@32", "VGG16": "vgg16-cifar@32"}
DEVICE, EDGE, NEURO, DNN = "device-only", "edge-only-oma", "neurosurgeon-oma", "dnn-surgeon-oma"
TDMA, OMA, LI_GD, NOMA = "ecc-tdma", "ecc-oma", "ecc-noma", "iterated-best-response"
LABELS = {
    DEVICE: "Device-Only", EDGE: "Edge-Only", NEURO: "Neurosurgeon", DNN: "DNN surgeon", TDMA: "ECC-TDMA",
    OMA: "ECC-FDMA", LI_GD: "ECC-NOMA (Algorithm 1)", NOMA: "ECC-NOMA (local search)",
}  # fmt: skip
POLICIES = tuple(LABELS)
SWEPT = tuple(name for name in POLICIES if name != DEVICE)
RANDOM = (EDGE, NEURO, DNN)
"""Policies with random slices at full power, whose latencies have no finite expectation."""
PROPOSED = (LI_GD, NOMA)
"""The paper's policy: by its Algorithm 1, and with a cut per user and a local search for the subchannels."""
SMALL, LARGE = 50, 250
"""Largest total number of users for which Algorithm 1 is fast, and that of preset `paper`."""
CROWDS = (10, 30, 50, 70, 90)
SUBCHANNELS = (1, 2, 4, 6, 8, 10)


@dataclass(frozen=True)
class Outcome:
    """Latencies and energies of a policy."""

    delay_s: NDArray[np.float64]  # (seeds, frames, U) of each user's task
    energy_j: NDArray[np.float64]  # (seeds, frames, U)

    @cached_property
    def delay(self) -> Estimate:
        """Mean latency over seeds, frames and users [s]."""
        return mean_of(self.delay_s.mean(axis=(1, 2)))

    @cached_property
    def energy(self) -> Estimate:
        """Mean energy over seeds, frames and users [J]."""
        return mean_of(self.energy_j.mean(axis=(1, 2)))


Point = Mapping[str, Outcome]
"""Outcomes by policy on the same frames; one with fewer seeds has the first seeds, and is compared unpaired."""


def play(name: str, options: Mapping[str, Any], seeds: int, frames: int) -> Outcome:
    """Play a policy on `frames` frames of each evaluation seed; the same frames for all policies."""
    given = {**options, "max_episode_steps": frames}
    entry = find_entry(name, ENV, PRESET, given)
    env = make_worlds(ENV, seeds, PRESET, entry.options(given))
    policy = entry.factories()[0](env)
    observation, _ = env.reset(seed=[stream_seeds(EVALUATION_STREAM, seed, 1)[0] for seed in range(seeds)])
    delays, energies = [], []
    for _ in range(frames):
        actions, _ = policy.predict(observation)
        observation, _, terminated, truncated, info = env.step(actions)
        done = terminated | truncated
        delays.append(step_values(info, "member_delay_s", done))
        energies.append(step_values(info, "member_energy_j", done))
    return Outcome(np.stack(delays, axis=1), np.stack(energies, axis=1))


def crowd_options(users: int) -> dict[str, Any]:
    """Options of Fig. 6: users per AP, with the smallest sufficient capacity of the subchannels."""
    return {"num_users": 5 * users, "capacity": max(3, -(-users // 30))}


def subchannel_options(subchannels: int) -> dict[str, Any]:
    """Options of Fig. 7: number of subchannels for ten users per AP at 1 MHz, where an interior optimum is possible."""
    return {
        "num_users": 50, "num_subchannels": subchannels, "capacity": 10, "bandwidth_up_hz": 1e6,
        "bandwidth_down_hz": 1e6,
    }  # fmt: skip


def play_all(options: Mapping[str, Any], seeds: int, li_gd_seeds: int, frames: int) -> Point:
    """Play every policy with the same options; Algorithm 1 only on `li_gd_seeds` seeds where it is slow."""
    slow = options.get("num_users", LARGE) > SMALL
    return {name: play(name, options, li_gd_seeds if slow and name == LI_GD else seeds, frames) for name in POLICIES}


def speed_up(point: Point, name: str, base: str = DEVICE) -> Estimate:
    """Return T: the base's mean latency over the policy's."""
    return point[base].delay / point[name].delay


def saving(point: Point, name: str, base: str = DEVICE) -> Estimate:
    """Return E, the paper's "energy reduction": the base's mean energy over the policy's."""
    return point[base].energy / point[name].energy


def own_speed_up(point: Point, name: str, base: str = DEVICE) -> Estimate:
    """Return the mean over users of the ratio of each user's two latencies."""
    own = point[name].delay_s
    return mean_of((point[base].delay_s[: len(own)] / own).mean(axis=(1, 2)))


def over_tail(delay_s: NDArray[np.float64], limits_s: Sequence[float]) -> list[float]:
    """Return limit times the share of latencies above it [s], per limit; constant where a tail falls as 1 / limit.

    Such a tail has no finite mean. At full power on a random slice the rate of a user in a deep fade is proportional
    to its power gain, which is exponential under Rayleigh fading: 1 / gain has this tail.
    """
    return [float(limit * (delay_s > limit).mean()) for limit in limits_s]
