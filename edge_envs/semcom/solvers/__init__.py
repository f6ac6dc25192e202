"""Solvers of one training round."""

from edge_envs.semcom.solvers.api import (
    Allocation,
    ComputeAllocation,
    Infeasibility,
    InfeasibleError,
    LinkAllocation,
    Problem,
    RefinedLink,
    algorithm_2,
    algorithm_3,
    diagnose,
    solve_joint,
    solve_p3,
    solve_p4,
)

__all__ = [
    "Allocation", "ComputeAllocation", "Infeasibility", "InfeasibleError", "LinkAllocation", "Problem", "RefinedLink",
    "algorithm_2", "algorithm_3", "diagnose", "solve_joint", "solve_p3", "solve_p4",
]  # fmt: skip
