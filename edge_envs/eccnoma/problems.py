"""`RadioProblem` under the name that earlier versions published."""

from edge_envs.eccnoma.solvers.problem import RadioProblem

__all__ = ["RadioProblem"]
