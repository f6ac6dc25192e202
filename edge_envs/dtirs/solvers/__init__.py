"""Solvers for one frame: downlink powers, shares of the AP's pool, digital twins, IRS phases."""

from edge_envs.dtirs.solvers.api import *  # noqa: F403  (its `__all__`)
