"""Baselines of the XR system."""

from edge_envs.lyappo.baselines.policies import available

__all__ = ["available"]
