"""Compiled kernels: compilation and its cache, random draws, and one-dimensional root finding."""
