"""Solvers of the radio and of the server's units."""

from edge_envs.eccnoma.solvers.api import (
    Assignment,
    Gradient,
    LiGD,
    Printed,
    RadioProblem,
    Relaxed,
    Shares,
    assign,
    brute_force,
    cores_for,
    cores_speed,
    default_candidates,
    gradient,
    li_gd,
    li_gd_printed,
    radio_cost,
    rates,
    relax,
    round_relaxed,
    server_speed,
    share_units,
    tune_powers,
)

__all__ = [
    "Assignment", "Gradient", "LiGD", "Printed", "RadioProblem", "Relaxed", "Shares", "assign", "brute_force",
    "cores_for", "cores_speed", "default_candidates", "gradient", "li_gd", "li_gd_printed", "radio_cost", "rates",
    "relax", "round_relaxed", "server_speed", "share_units", "tune_powers",
]  # fmt: skip
