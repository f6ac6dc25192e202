"""The unit of the reward: the mean objective of the best common cut, once per configuration."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.dtirs.config import DTIRSConfig
from edge_envs.dtirs.model import allocation
from edge_envs.dtirs.model.dynamics import begin_after_warmup
from edge_envs.dtirs.model.parameters import Parameters, parameters_of
from edge_envs.dtirs.model.state import State, allocate

REFERENCE_FRAMES = 128
"""Independent frames that the mean is taken over; chosen."""
REFERENCE_STREAM = 0xD715
"""Seed of these frames."""
SOLVED: Mapping[str, Any] = {
    "first_cut": 1, "irs": True, "migration": False, "offline": False, "phase": "ca", "phase_passes": 0,
    "power": "optimal", "twins": "optimal",
}  # fmt: skip
"""Options of the reference. They override those of the environment, so that rewards of ablations can be compared."""


@kernel
def objective(p: Parameters, s: State, row: int) -> float:
    """Objective [s] of the next frame at the row's cuts."""
    return allocation.solve_frame(p, s, row)


@kernel
def value_all(p: Parameters, s: State, cuts: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    """Write the objectives (n,) [s] of world 0 at each row of `cuts` (n, K)."""
    for i in range(len(cuts)):
        for k in range(p.num_devices):
            s.choice[0, k] = cuts[i, k]
        values[i] = objective(p, s, 0)


def common_cuts(p: Parameters) -> NDArray[np.int64]:
    """All choices in which every device has the same cut, shape (L, K)."""
    return np.repeat(np.arange(len(p.cut_numbers)), p.num_devices).reshape(-1, p.num_devices)


def reference_of(config: DTIRSConfig) -> float:
    """Mean objective of the best common cut [s], solved with the options `SOLVED`; with migration also without twins.

    Raises:
        ValueError: the links are too weak, or work or bits too large, for a finite delay.
    """
    solved = {**SOLVED, "twins": "none"} if config.migration else SOLVED
    return _reference(config.replace(**solved).model_dump_json())


@lru_cache(maxsize=64)
def _reference(document: str) -> float:
    """`reference_of` by the configuration's JSON, as systems are built often and this takes a while."""
    p = parameters_of(DTIRSConfig.model_validate_json(document))
    state, rng, cuts = allocate(p, 1), np.random.default_rng(REFERENCE_STREAM), common_cuts(p)
    values, total = np.zeros(len(cuts)), np.zeros(len(cuts))
    for _ in range(REFERENCE_FRAMES):
        begin_after_warmup(p, state, 0, rng)
        value_all(p, state, cuts, values)
        total += values
    reference = float(total.min()) / REFERENCE_FRAMES
    if not 0.0 < reference < np.inf:
        raise ValueError(
            f"a frame's least delay is {reference} s with these parameters: the links are too weak, or the work or the "
            "bits too large; choose values closer to the defaults"
        )
    return reference
