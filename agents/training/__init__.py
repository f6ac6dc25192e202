"""Training: agents, imitation, checkpoints and resume."""
