"""`BrokenInvariant` under its earlier name; it is defined in `edge_envs.core.invariants`."""

from edge_envs.core.invariants import BrokenInvariant as BrokenInvariant
