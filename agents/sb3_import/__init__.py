"""Import of models saved by Stable-Baselines3, without unpickling."""
