"""Benchmarks of DTIRS."""
