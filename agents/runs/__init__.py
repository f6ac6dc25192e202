"""Run folders: configuration, weights, checkpoints, curves."""
