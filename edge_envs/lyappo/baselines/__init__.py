"""Baselines of `LyaPPO-v0`."""

from edge_envs.lyappo.baselines.policies import available

__all__ = ["available"]
