"""Benchmarks of SemCom."""
