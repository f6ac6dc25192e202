"""Comparison with mobile-env."""
