"""Evaluation: episodes, statistics, comparisons and benchmark scores."""
