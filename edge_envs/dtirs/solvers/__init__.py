"""Solvers of one frame: transmit powers, the server's compute pool, digital twins and IRS phases."""

from edge_envs.dtirs.solvers.api import (
    Phases,
    PoolShares,
    PowerAllocation,
    TwinChoice,
    allocate_power,
    bisect_frequency,
    choose_twins,
    lambert_w_of_exp,
    link_gains,
    optimise_phases,
    phase_quadratic,
    search_cuts,
    share_pool,
    threshold_twins,
)

__all__ = [
    "Phases",
    "PoolShares",
    "PowerAllocation",
    "TwinChoice",
    "allocate_power",
    "bisect_frequency",
    "choose_twins",
    "lambert_w_of_exp",
    "link_gains",
    "optimise_phases",
    "phase_quadratic",
    "search_cuts",
    "share_pool",
    "threshold_twins",
]
