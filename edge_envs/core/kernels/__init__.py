"""Compiled kernels: compilation and its cache, random numbers and one-dimensional root finding."""
