"""Benchmarks of ECCNOMA."""
