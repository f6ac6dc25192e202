"""Shared parts of the experiments: options, result pages, learned agents, and verdicts on claims."""
