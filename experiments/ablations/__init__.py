"""Sweeps over the papers' comparison schemes."""
