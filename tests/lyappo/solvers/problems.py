"""Problems 3, 4 and 5 as their tests see them: instances, objectives, dual functions and regimes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_envs.lyappo.solvers import api, reference_cvxpy
from edge_envs.lyappo.solvers.api import Split
from tests.lyappo.solvers import reference_solvers as oracle

Floats = NDArray[np.float64]
Options = dict[str, float]

SLOT_S = 0.01
LOCAL = {"slot_s": SLOT_S, "weight": 3e17, "energy_coefficient": 1e-28, "frequency_max_hz": 1.5e9}
TRANSMIT = {
    "slot_s": SLOT_S, "weight": 3e11, "gain": 6e-11, "power_max_w": 0.3, "bandwidth_hz": 2.5e5,
    "noise_w_per_hz": 4e-21,
}  # fmt: skip
EDGE = {"slot_s": SLOT_S, "frequency_max_hz": 20e9}


@dataclass(frozen=True)
class Problem:
    """One of the three problems: its exact solver, how to draw instances, and what its solution must satisfy."""

    name: str
    options: Options
    queue_counts: range
    backlog_decades: tuple[float, float]
    option_decades: dict[str, tuple[float, float]]
    """Decades around `options` from which instances are drawn"""
    cap: Callable[[Options], float]
    cost: Callable[[float, Options], float]
    """Energy term of the objective over tau, from the total"""
    best_total: Callable[[float, Options], float]
    """Total at which the marginal cost meets a price, were there no cap"""
    regimes: tuple[str, ...]
    """What can end the service: no more backlog, the cap, the price, or a price above any backlog"""

    def exact(self, backlog: Any, options: Options) -> Split:
        return getattr(api, f"solve_{self.name}")(backlog, **options)  # type: ignore[no-any-return]

    def rebuilt(self, backlog: Any, options: Options) -> Split:
        return getattr(reference_cvxpy, f"solve_{self.name}_cvxpy")(backlog, **options)  # type: ignore[no-any-return]

    def instances(self, per_count: int, seed: int) -> Iterator[tuple[Floats, Options]]:
        """Unequal backlogs over two decades, a fifth with an empty queue and a fifth with a tie, at a random scale."""
        rng = np.random.default_rng(seed)
        for count in self.queue_counts:
            for _ in range(per_count):
                backlog = 10.0 ** (rng.uniform(*self.backlog_decades) + rng.uniform(-2, 0, count))
                kind = rng.random()
                if kind < 0.2 and count > 1:
                    backlog[rng.integers(count)] = 0.0
                elif kind < 0.4:
                    backlog[rng.integers(count)] = backlog[rng.integers(count)]
                drawn = {key: 10.0 ** rng.uniform(*decades) for key, decades in self.option_decades.items()}
                yield backlog, {key: value * drawn.get(key, 1.0) for key, value in self.options.items()}

    def objective(self, backlog: Floats, split: Split, options: Options) -> float:
        """Objective over tau at an allocation."""
        return self.energy(split, options) - float(backlog @ split.share)

    def energy(self, split: Split, options: Options) -> float:
        """Energy term of the objective at an allocation, at the power that it reports."""
        if self.name == "transmit":
            return options["weight"] * split.power_w
        return self.cost(float(split.share.sum()), options)

    def dual(self, backlog: Floats, price: float, options: Options) -> float:
        """Dual function over tau: no allocation has an objective below it, at any price."""
        total = min(self.cap(options), self.best_total(price, options))
        left = np.maximum(backlog - price, 0.0) @ backlog / options["slot_s"]
        return self.cost(total, options) - price * total - float(left)


def first_bit(o: Options) -> float:
    return o["weight"] * o["noise_w_per_hz"] * math.log(2) / o["gain"]


def full_rate(o: Options) -> float:
    return oracle.full_power_rate(o["power_max_w"], o["bandwidth_hz"], o["noise_w_per_hz"], o["gain"])


PROBLEMS = [
    Problem(
        "local", LOCAL, range(1, 7), (4, 9), {"weight": (-2.5, 2.5), "frequency_max_hz": (-1, 1)},
        cap=lambda o: o["frequency_max_hz"],
        cost=lambda total, o: o["weight"] * o["energy_coefficient"] * total**3,
        best_total=lambda price, o: math.sqrt(price / (3 * o["weight"] * o["energy_coefficient"])),
        regimes=("emptied", "capped", "priced"),
    ),
    Problem(
        "transmit", TRANSMIT, range(1, 7), (2, 7), {"weight": (-2.5, 2.5), "gain": (-3, 2), "power_max_w": (-2, 0)},
        cap=full_rate,
        cost=lambda total, o: o["weight"] * oracle.power_for_rate(
            total, o["bandwidth_hz"], o["noise_w_per_hz"], o["gain"]
        ),
        best_total=lambda price, o: o["bandwidth_hz"] * math.log2(max(1.0, price / first_bit(o))),
        regimes=("emptied", "capped", "priced", "idle"),
    ),
    Problem(
        "edge", EDGE, range(1, 17), (6, 11), {"frequency_max_hz": (-2, 1)},
        cap=lambda o: o["frequency_max_hz"],
        cost=lambda total, o: 0.0,
        best_total=lambda price, o: math.inf if price > 0 else 0.0,
        regimes=("emptied", "capped"),
    ),
]  # fmt: skip
BY_NAME = {problem.name: problem for problem in PROBLEMS}
every_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
