"""Hyper-parameters of each environment's agents."""
