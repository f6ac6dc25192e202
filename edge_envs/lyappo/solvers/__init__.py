"""Exact solvers of the paper's Problems 3, 4 and 5."""

from edge_envs.lyappo.solvers.api import Split, solve_edge, solve_local, solve_transmit

__all__ = ["Split", "solve_edge", "solve_local", "solve_transmit"]
