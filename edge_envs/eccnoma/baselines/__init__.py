"""Baselines and ablations of split inference over NOMA."""

from edge_envs.eccnoma.baselines.policies import ablations, available

__all__ = ["ablations", "available"]
