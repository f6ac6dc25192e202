"""Benchmarks of LyaPPO."""
