"""Baselines of the semantic communication system."""

from edge_envs.semcom.baselines.policies import available

__all__ = ["available"]
