"""LyaPPO-v0: Problems 3, 4 and 5 with mutations of their solvers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.lyappo.solvers import api, drift_plus_penalty
from edge_envs.lyappo.solvers.api import Split
from tests.certificates.harness import Mutation, Solver

SLOT_S = 0.01
INSTANCES = 60


class Instance(NamedTuple):
    """Backlogs of the queues, and the keyword arguments of the solver."""

    backlog: NDArray[np.float64]  # (N,)
    options: dict[str, float]


def instances(
    options: dict[str, float], backlog_decades: tuple[float, float], decades: dict[str, tuple[float, float]], seed: int
) -> list[Instance]:
    """Unequal backlogs over two decades, at random scales, some of them empty; options over the given decades."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(INSTANCES):
        backlog = 10.0 ** (rng.uniform(*backlog_decades) + rng.uniform(-2.0, 0.0, rng.integers(2, 7)))
        backlog[-1] *= rng.random() < 0.8
        factors = {name: 10.0 ** rng.uniform(*span) for name, span in decades.items()}
        drawn.append(Instance(backlog, {name: value * factors.get(name, 1.0) for name, value in options.items()}))
    return drawn


def solved(solve: Callable[..., Split]) -> Callable[[Instance], tuple[Split, float]]:
    """A solver that takes an instance."""

    def solve_instance(instance: Instance) -> tuple[Split, float]:
        split = solve(instance.backlog, slot_s=SLOT_S, **instance.options)
        return split, split.gap

    return solve_instance


def served(instance: Instance, split: Split) -> float:
    """Drift that the shares remove, what the duality gap is relative to."""
    return max(float(instance.backlog @ split.share), 1e-300 / SLOT_S)


def local_cost(instance: Instance, split: Split) -> float:
    """Objective of Problem 3 over tau."""
    o = instance.options
    return o["weight"] * o["energy_coefficient"] * float(split.share.sum()) ** 3 - float(instance.backlog @ split.share)


def transmit_cost(instance: Instance, split: Split) -> float:
    """Objective of Problem 4 over tau, at the reported power or at that of the rates, whichever is larger."""
    o = instance.options
    bandwidth_hz, noise_w = o["bandwidth_hz"], o["bandwidth_hz"] * o["noise_w_per_hz"]
    needed_w = noise_w / o["gain"] * math.expm1(float(split.share.sum()) / bandwidth_hz * math.log(2.0))
    return o["weight"] * max(split.power_w, needed_w) - float(instance.backlog @ split.share)


def edge_cost(instance: Instance, split: Split) -> float:
    """Objective of Problem 5 over tau."""
    return -float(instance.backlog @ split.share)


local: Any = drift_plus_penalty.local_frequency
rates: Any = drift_plus_penalty.split_rate
edge: Any = drift_plus_penalty.edge_frequency
ascending = Mutation(
    "smallest backlog first",
    drift_plus_penalty.largest_first,
    "< backlog[row, stage, candidate]",
    "> backlog[row, stage, candidate]",
)

TAIL = "queue = backlog[row, stage, order[i]]"
ONE_FOR_ALL = "queue = backlog[row, stage, order[0]]"
LOCAL_MUTATIONS = [
    Mutation("0.7 of the target", local, "math.sqrt(queue / scale)", "0.7 * math.sqrt(queue / scale)"),
    Mutation("factor 3 forgotten", local, "scale = 3.0 * weight", "scale = weight"),
    ascending,
    Mutation("stops after one queue", local, "            continue", "            break"),
    Mutation("half the limit", local, "target = min(cap,", "target = min(0.5 * cap,"),
    Mutation("largest backlog used for all", local, TAIL, ONE_FOR_ALL),
    Mutation("the last share is lost", local, "= target - total", "= 0.0"),
]
TRANSMIT_MUTATIONS = [
    Mutation("0.7 of the last share", rates, "= target - total", "= 0.7 * (target - total)"),
    Mutation("0.7 of the target", rates, "target = min(", "target = 0.7 * min("),
    Mutation("ln 2 forgotten", rates, "math.log(queue / first_bit) / LN2", "math.log(queue / first_bit)"),
    ascending,
    Mutation("stops after one queue", rates, "        total += wanted\n", "        return total + wanted, queue\n"),
    Mutation("half the limit", rates, "min(rate_max, bandwidth", "min(0.5 * rate_max, bandwidth"),
    Mutation("largest backlog used for all", rates, TAIL, ONE_FOR_ALL),
    Mutation("serves nothing", rates, "or rate_max <= 0.0", "or rate_max > 0.0"),
    Mutation("half the power limit", drift_plus_penalty.full_power_rate, "snr = power_max", "snr = 0.5 * power_max"),
    Mutation("0.9 of the largest rate", drift_plus_penalty.full_power_rate, "/ LN2", "/ LN2 * 0.9"),
    Mutation("twice the power", drift_plus_penalty.power_for_rate, "return bandwidth", "return 2.0 * bandwidth"),
]
FULL = "backlog[row, stage, i] / slot_s"
LAST = "= cap - total"
SERVE = """        if frequency[row, stage, queue] < cap - total:
                total += frequency[row, stage, queue]
                continue
            if resource_price == 0.0:
                resource_price = backlog[row, stage, queue]
            frequency[row, stage, queue] = cap - total
            total = cap
"""
EDGE_MUTATIONS = [
    Mutation("half the capacity", edge, SERVE, SERVE.replace("cap", "0.5 * cap")),
    Mutation("half of the last share", edge, LAST, "= 0.5 * (cap - total)"),
    ascending,
    Mutation("half of every queue", edge, FULL, f"0.5 * {FULL}"),
    Mutation("first backlog used for all", edge, FULL, f"min(1.0, backlog[row, stage, first] / {FULL[:22]}) * {FULL}"),
    Mutation("last queue forgotten", edge, "in range(first, first + count)", "in range(first, first + count - 1)"),
]

SOLVERS = [
    Solver(
        "Problem 3",
        instances(
            {"weight": 3e17, "energy_coefficient": 1e-28, "frequency_max_hz": 1.5e9}, (4.0, 9.0),
            {"weight": (-2.5, 2.5), "frequency_max_hz": (-1.0, 1.0)}, 1,
        ),
        solved(api.solve_local), local_cost, served, LOCAL_MUTATIONS,
    ),
    Solver(
        "Problem 4",
        instances(
            {"weight": 3e11, "gain": 6e-11, "power_max_w": 0.3, "bandwidth_hz": 2.5e5, "noise_w_per_hz": 4e-21},
            (2.0, 7.0), {"weight": (-2.5, 2.5), "gain": (-3.0, 2.0), "power_max_w": (-2.0, 0.0)}, 2,
        ),
        solved(api.solve_transmit), transmit_cost, served, TRANSMIT_MUTATIONS,
    ),
    Solver(
        "Problem 5",
        instances({"frequency_max_hz": 20e9}, (6.0, 11.0), {"frequency_max_hz": (-2.0, 1.0)}, 3),
        solved(api.solve_edge), edge_cost, served, EDGE_MUTATIONS,
    ),
]  # fmt: skip
