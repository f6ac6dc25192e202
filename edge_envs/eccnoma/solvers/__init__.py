"""Solvers of the radio and of the server's units."""

from edge_envs.eccnoma.solvers.api import *  # noqa: F403  (its `__all__`)
