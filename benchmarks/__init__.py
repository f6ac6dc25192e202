"""Speed of solvers and environments, compared with alternatives: `python -m benchmarks`."""
