"""Solvers of one training round."""

from edge_envs.semcom.solvers.api import *  # noqa: F403  (its `__all__`)
