"""Sweeps over the papers' comparison policies."""
