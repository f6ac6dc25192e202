"""Baselines and ablations of the split-learning system."""

from edge_envs.dtirs.baselines.policies import available, schemes

__all__ = ["available", "schemes"]
