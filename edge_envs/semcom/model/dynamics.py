"""Fading from round to round."""

from __future__ import annotations

from edge_envs.core.kernels.jit import kernel_part
from edge_envs.core.physics.channel import complex_normal, gauss_markov
from edge_envs.semcom.model.parameters import Parameters
from edge_envs.semcom.model.state import State


@kernel_part
def update_gain(p: Parameters, s: State, row: int) -> None:
    """Gain of the next round: mean gain times the power of the fading, which has a floor."""
    for n in range(p.num_devices):
        power = 1.0
        if p.fading:
            real, imaginary = s.fading[row, n, 0], s.fading[row, n, 1]
            power = max(real * real + imaginary * imaginary, p.fade_floor)
        s.gain[row, n] = s.mean_gain[row, n] * power


@kernel_part
def advance_fading(p: Parameters, s: State, row: int) -> None:
    """Gauss-Markov fading of the next round, from the row's next draws."""
    if p.fading:
        block = s.cursor[row]
        for n in range(p.num_devices):
            real, imaginary = complex_normal(s.uniforms[row, block, 2 * n], s.uniforms[row, block, 2 * n + 1])
            after = gauss_markov(s.fading[row, n, 0], s.fading[row, n, 1], p.fading_correlation, real, imaginary)
            s.fading[row, n, 0], s.fading[row, n, 1] = after
        update_gain(p, s, row)
    s.cursor[row] += 1
