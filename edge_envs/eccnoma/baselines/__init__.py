"""Baselines and ablations of split inference over NOMA."""

from edge_envs.eccnoma.baselines.policies import available, schemes

__all__ = ["available", "schemes"]
