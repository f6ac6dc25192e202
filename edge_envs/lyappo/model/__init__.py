"""One step of `LyaPPO-v0`: parameters, state, dynamics, allocation, reward and observation, compiled by numba."""
