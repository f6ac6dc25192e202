"""Certificates: gaps to lower bounds from dual functions, and the reasons why a problem has no solution."""
