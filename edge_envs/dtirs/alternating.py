"""`algorithm_5` under the name that earlier versions published."""

from edge_envs.dtirs.baselines.paper_algorithm_5 import algorithm_5

__all__ = ["algorithm_5"]
