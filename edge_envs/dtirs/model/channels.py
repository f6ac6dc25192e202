"""Fading channels over the IRS, and the phases and links that follow from them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.physics.channel import gauss_markov, power_law_gain
from edge_envs.dtirs.config import ASCENT, RANDOM, SDR, Parameters
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.solvers import irs_links, phases
from edge_envs.dtirs.solvers.irs_links import INDEPENDENT

HALF = math.sqrt(0.5)


@kernel
def fade(fading: NDArray[np.float64], normals: NDArray[np.float64], correlation: float, row: int, offset: int) -> int:
    """Next value of Gauss-Markov fading (B, 2, ., .) from two normals per number; returns the next unused normal."""
    at = offset
    for i in range(fading.shape[2]):
        for j in range(fading.shape[3]):
            re, im = HALF * normals[row, at], HALF * normals[row, at + 1]
            after = gauss_markov(fading[row, 0, i, j], fading[row, 1, i, j], correlation, re, im)
            fading[row, 0, i, j], fading[row, 1, i, j] = after
            at += 2
    return at


@kernel_part
def renew_channels(p: Parameters, s: State, row: int, first: bool) -> None:
    """Fading of all links, path loss of those to the devices, Gram matrices of those to the AP."""
    correlation = 0.0 if first else p.fading_correlation
    at = fade(s.ap_irs, s.normals, correlation, row, 0)
    at = fade(s.irs_ud, s.normals, correlation, row, at)
    at = fade(s.direct, s.normals, correlation, row, at)
    if p.uplink == INDEPENDENT:
        fade(s.irs_ap, s.normals, correlation, row, at)
    if not p.irs:
        return
    for k in range(p.num_devices):
        amplitude = math.sqrt(power_law_gain(s.distance_m[row, k], p.reference_gain, p.irs_ud_exponent) * p.ap_irs_gain)
        for n in range(p.num_elements):
            s.channel[row, 0, k, n] = amplitude * s.irs_ud[row, 0, k, n]
            s.channel[row, 1, k, n] = amplitude * s.irs_ud[row, 1, k, n]
    irs_links.gram(s.ap_irs, s.gram_down, row)
    if p.uplink == INDEPENDENT:
        irs_links.gram(s.irs_ap, s.gram_up, row)


@kernel_part
def solve_phases(p: Parameters, s: State, row: int) -> None:
    """Phases for the gains weighted by `work.weight_down` and `weight_up`, and the gains that they give.

    The form is scaled by its trace, so that the solver's numbers are near one. The value of the phases is the weighted
    sum of the gains, and not what the solver made of the form.
    """
    w = s.work
    irs_links.quadratic_form(
        s.gram_down, s.gram_up, s.channel, p.uplink, w.weight_down, w.weight_up, w.spread, w.q, row
    )
    trace = 0.0
    for n in range(p.num_elements):
        trace += w.q[0, n, n]
    scale = p.num_elements / trace if trace > 0.0 else 1.0
    for n in range(p.num_elements):
        for m in range(p.num_elements):
            w.q[0, n, m] *= scale
            w.q[1, n, m] *= scale
    start = s.normals.shape[1] - 2 * p.phase_rank * (p.num_elements + p.phase_samples)
    w.report[0], w.report[1], w.report[2] = math.nan, math.nan, 0.0
    if p.phase == SDR:
        phases.start_factor(w.factor, s.normals, row, start)
        phases.relax(w.q, w.factor, w.z, w.dual, w.spread, w.column, p.phase_gap, w.report)
        samples = start + 2 * p.phase_rank * p.num_elements
        phases.randomise(w.q, w.factor, s.normals, row, samples, p.phase_samples, w.v, w.trial, w.y)
    else:
        phases.random_phases(w.v, s.normals, row, start)
    if p.phase == ASCENT or (p.phase != RANDOM and p.phase_polish):
        phases.polish(w.q, w.v, w.y)
    for i in range(3):
        s.relaxation[row, i] = w.report[i]
    for n in range(p.num_elements):
        s.phase[row, 0, n], s.phase[row, 1, n] = w.v[0, n], w.v[1, n]
    irs_links.link_gains(
        s.gram_down, s.gram_up, s.channel, p.uplink, s.phase, w.trial, w.y, s.gain_down, s.gain_up, row
    )
    s.phase_value[row] = 0.0
    for k in range(p.num_devices):
        value = w.weight_down[k] * s.gain_down[row, k] + w.weight_up[k] * s.gain_up[row, k]
        s.phase_value[row] += scale * value


@kernel_part
def use_direct_path(p: Parameters, s: State, row: int) -> None:
    """Gains of the blocked direct path, the same in both directions; there is nothing to set."""
    for k in range(p.num_devices):
        gain = 0.0
        for a in range(p.num_antennas):
            gain += s.direct[row, 0, k, a] ** 2 + s.direct[row, 1, k, a] ** 2
        s.gain_down[row, k] = s.gain_up[row, k] = p.direct_gain * gain
    s.relaxation[row, 0] = s.relaxation[row, 1] = math.nan
    s.relaxation[row, 2] = s.phase_value[row] = 0.0


@kernel_part
def set_links(p: Parameters, s: State, row: int, first: bool) -> None:
    """Channels of the frame to come, and phases for the plain sum of all gains."""
    renew_channels(p, s, row, first)
    if p.irs:
        for k in range(p.num_devices):
            s.work.weight_down[k] = s.work.weight_up[k] = 1.0
        solve_phases(p, s, row)
    else:
        use_direct_path(p, s, row)


@kernel
def renew_links(p: Parameters, s: State, row: int) -> None:
    """`set_links`, with fading that has no past."""
    set_links(p, s, row, True)
