"""The policies of the SemCom paper on common draws, and the parameters that its figures vary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.evaluation.episodes import Table, play
from agents.worlds import EVALUATION_STREAM, make_worlds, stream_seeds
from edge_envs.core.policy import make_baseline
from experiments.shared.verdicts import Estimate, mean_of

ENV, PRESET = "SemCom-v0", "paper"
PAPERS_OWN = ("random", "average", "pb-only", "fh-rho-only", "alg3")
POLICIES = ("random", "average", "pb-only", "pb-deadline", "fh-rho-only", "alg3", "joint")
SHORT_DB = 1e-3
"""Shortfall from which on a draw misses its PSNR requirement [dB]."""
TIE = 1.0 + 1e-9
"""Ratio of costs up to which they count as equal."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One of the paper's figures: a parameter and its values."""

    figure: str
    option: str
    label: str
    values: tuple[float, ...]
    scale: float = 1.0
    policies: tuple[str, ...] = POLICIES


SWEEPS = (
    Sweep("Fig. 3", "bandwidth_hz", "total bandwidth [MHz]", (1.0, 5.0, 10.0, 20.0), 1e6),
    Sweep("Fig. 4", "power_max_dbm", "largest power [dBm]", (4.0, 8.0, 12.0, 16.0, 20.0)),
    Sweep("Fig. 5", "device_frequency_max_hz", "largest device frequency [GHz]", (0.1, 0.25, 0.5, 1.0), 1e9),
    Sweep("Fig. 6", "weight_time", "weight of time", (0.1, 0.3, 0.5, 0.7, 0.9), 1.0, ("alg3", "joint")),
    Sweep("Fig. 7", "num_devices", "devices", (10.0, 20.0, 30.0, 40.0, 50.0), 1.0, ("alg3", "joint")),
    Sweep("Fig. 8", "psnr_min_db", "PSNR requirement [dB]", (20.0, 24.0, 26.0, 27.0, 28.0, 29.0, 30.0), 1.0,
          ("alg3", "joint")),
)  # fmt: skip


def evaluate(policy: str, options: Mapping[str, Any], draws: int) -> Table:
    """Play one round per draw under a policy; returns the metrics, one value per draw.

    `joint` sets the compression rates; the solver inside the step sets the rest and reports its duality gap as
    `certificate`. The other policies set all variables.
    """
    decision = "compression" if policy == "joint" else "joint"
    env = make_worlds(ENV, draws, PRESET, {**options, "max_episode_steps": 1, "decision": decision})
    return play(env, make_baseline(policy, env), stream_seeds(EVALUATION_STREAM, 0, draws))


def run_sweep(sweep: Sweep, draws: int) -> list[dict[str, Table]]:
    """Compute the tables by policy for every value of a sweep."""
    points = []
    for value in sweep.values:
        setting = int(value) if sweep.option == "num_devices" else value * sweep.scale
        points.append({policy: evaluate(policy, {sweep.option: setting}, draws) for policy in sweep.policies})
    return points


def mean(point: Mapping[str, Table], policy: str, metric: str = "objective") -> Estimate:
    """Return the mean over the draws."""
    return mean_of(point[policy][metric])


def excess(point: Mapping[str, Table], policy: str = "alg3") -> Estimate:
    """Return the part by which a policy's mean objective is above the joint optimum's."""
    return mean(point, policy) / mean(point, "joint") - 1.0


def missed(scores: Table) -> int:
    """Return the number of draws in which a policy misses its PSNR requirement."""
    return int((scores["round_shortfall_db"] > SHORT_DB).sum())
