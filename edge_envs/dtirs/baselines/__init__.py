"""Baselines and ablations of the split-learning system."""

from edge_envs.dtirs.baselines.policies import ablations, available

__all__ = ["ablations", "available"]
