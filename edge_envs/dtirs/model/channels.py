"""Fading channels over the IRS, IRS phases, and the gains that follow from them, (3), (10)-(13), (40)-(44), (68).

A device at the part x of its circuit is at the distance middle - half cos(2 pi x) to the IRS, which covers the range of
distances.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel, kernel_part
from edge_envs.core.physics.channel import gauss_markov, power_law_gain
from edge_envs.dtirs.model.parameters import MOBILITY, PHASE, UPLINK, Parameters
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.solvers import irs_links, phases
from edge_envs.dtirs.solvers.phases import REPORT

ROOT_HALF = math.sqrt(0.5)


@kernel
def in_shadow(lap: float, shadow_start: float, shadow_share: float) -> bool:
    """Return True if a device at this part of its circuit is in the shadow."""
    behind = lap - shadow_start
    return behind - math.floor(behind) < shadow_share


@kernel
def distance_on_circuit(lap: float, least_m: float, most_m: float) -> float:
    """Distance to the IRS at a part of the circuit, whose nearest and farthest point are given [m]."""
    middle, half = 0.5 * (most_m + least_m), 0.5 * (most_m - least_m)
    return min(max(middle - half * math.cos(2.0 * math.pi * lap), least_m), most_m)


@kernel_part
def mean_gain(p: Parameters, lap: float, shadow_start: float, shadow_share: float) -> float:
    """Mean power gain over all antennas at a part of the circuit, with random phases of the IRS."""
    distance = distance_on_circuit(lap, p.distance_min_m, p.distance_max_m)
    gain = power_law_gain(distance, p.reference_gain, p.irs_ud_exponent) * p.ap_irs_gain
    if in_shadow(lap, shadow_start, shadow_share):
        gain *= p.shadow_gain
    return gain * p.num_antennas * p.num_elements


@kernel_part
def forecast_gain(p: Parameters, s: State, row: int, k: int, frames: float) -> float:
    """Forecast of a device's gain: `mean_gain` where it is after `frames` frames without stops.

    A device that has stopped now counts as one that moves on at once.
    """
    lap = s.lap[row, k] + frames / s.period_frames[row, k]
    return mean_gain(p, lap - math.floor(lap), s.shadow_start[row, k], s.shadow_share[row, k])


@kernel
def fade(fading: NDArray[np.float64], normals: NDArray[np.float64], correlation: float, row: int, offset: int) -> int:
    """Advance Gauss-Markov fading (B, 2, ., .) by two normals per number; returns the index of the next normal."""
    at = offset
    for i in range(fading.shape[2]):
        for j in range(fading.shape[3]):
            re, im = ROOT_HALF * normals[row, at], ROOT_HALF * normals[row, at + 1]
            after = gauss_markov(fading[row, 0, i, j], fading[row, 1, i, j], correlation, re, im)
            fading[row, 0, i, j], fading[row, 1, i, j] = after
            at += 2
    return at


@kernel_part
def advance_channels(p: Parameters, s: State, row: int, first: bool) -> None:
    """Fading of all links, path loss of those to the devices, Gram matrices of those to the AP."""
    correlation = 0.0 if first else p.fading_correlation
    at = fade(s.ap_irs, s.normals, correlation, row, 0)
    at = fade(s.irs_ud, s.normals, correlation, row, at)
    at = fade(s.direct, s.normals, correlation, row, at)
    if p.uplink == UPLINK.INDEPENDENT:
        fade(s.irs_ap, s.normals, correlation, row, at)
    if not p.irs:
        return
    for k in range(p.num_devices):
        path = power_law_gain(s.distance_m[row, k], p.reference_gain, p.irs_ud_exponent) * p.ap_irs_gain
        if p.mobility == MOBILITY.CIRCUIT and in_shadow(s.lap[row, k], s.shadow_start[row, k], s.shadow_share[row, k]):
            path *= p.shadow_gain
        amplitude = math.sqrt(path)
        for n in range(p.num_elements):
            s.channel[row, 0, k, n] = amplitude * s.irs_ud[row, 0, k, n]
            s.channel[row, 1, k, n] = amplitude * s.irs_ud[row, 1, k, n]
    irs_links.gram(s.ap_irs, s.gram_down, row)
    if p.uplink == UPLINK.INDEPENDENT:
        irs_links.gram(s.irs_ap, s.gram_up, row)


@kernel_part
def set_gains(p: Parameters, s: State, row: int) -> None:
    """Effective gains of both directions at the row's phases."""
    irs_links.link_gains(
        s.gram_down, s.gram_up if p.uplink == UPLINK.INDEPENDENT else s.gram_down, s.channel,
        p.uplink == UPLINK.RECIPROCAL, s.phase, s.workspace.vector, s.workspace.product, s.gain_down, s.gain_up, row,
    )  # fmt: skip


@kernel_part
def solve_phases(p: Parameters, s: State, row: int) -> None:
    """Phases for the gains weighted by the workspace's `weight_down` and `weight_up`, and the resulting gains.

    The form is scaled by its trace, so that the solver's numbers are near one. `phase_value` is the weighted sum of the
    gains; it does not use the solver's value of the form.
    """
    w = s.workspace
    irs_links.quadratic_form(
        s.gram_down, s.gram_up if p.uplink == UPLINK.INDEPENDENT else s.gram_down, s.channel,
        p.uplink == UPLINK.RECIPROCAL, w.weight_down, w.weight_up, w.square, w.form, row,
    )  # fmt: skip
    trace = 0.0
    for n in range(p.num_elements):
        trace += w.form[0, n, n]
    scale = p.num_elements / trace if trace > 0.0 else 1.0
    for n in range(p.num_elements):
        for m in range(p.num_elements):
            w.form[0, n, m] *= scale
            w.form[1, n, m] *= scale
    start = s.normals.shape[1] - 2 * p.phase_rank * (p.num_elements + p.phase_samples)
    w.report[REPORT.value], w.report[REPORT.gap], w.report[REPORT.sweeps] = math.nan, math.nan, 0.0
    if p.phase == PHASE.SDR:
        phases.start_factor(w.factor, s.normals, row, start)
        phases.relax(w.form, w.factor, w.factor_row, w.multipliers, w.square, w.vector, p.phase_gap, w.report)
        samples = start + 2 * p.phase_rank * p.num_elements
        phases.randomise(w.form, w.factor, s.normals, row, samples, p.phase_samples, w.phase, w.candidate, w.product)
    else:
        phases.random_phases(w.phase, s.normals, row, start)
    if p.phase == PHASE.CA or (p.phase != PHASE.RANDOM and p.phase_polish):
        phases.polish(w.form, w.phase, w.product)
    for i in range(len(w.report)):
        s.relaxation[row, i] = w.report[i]
    for n in range(p.num_elements):
        s.phase[row, 0, n], s.phase[row, 1, n] = w.phase[0, n], w.phase[1, n]
    set_gains(p, s, row)
    s.phase_value[row] = 0.0
    for k in range(p.num_devices):
        value = w.weight_down[k] * s.gain_down[row, k] + w.weight_up[k] * s.gain_up[row, k]
        s.phase_value[row] += scale * value


@kernel_part
def weigh_equally(p: Parameters, s: State) -> None:
    """Weight 1 for every gain."""
    for k in range(p.num_devices):
        s.workspace.weight_down[k] = s.workspace.weight_up[k] = 1.0


@kernel_part
def use_direct_path(p: Parameters, s: State, row: int) -> None:
    """Gains of the blocked direct path, equal in both directions."""
    for k in range(p.num_devices):
        gain = 0.0
        for a in range(p.num_antennas):
            gain += s.direct[row, 0, k, a] ** 2 + s.direct[row, 1, k, a] ** 2
        s.gain_down[row, k] = s.gain_up[row, k] = p.direct_gain * gain
    s.relaxation[row, REPORT.value] = s.relaxation[row, REPORT.gap] = math.nan
    s.relaxation[row, REPORT.sweeps] = s.phase_value[row] = 0.0


@kernel_part
def advance_links(p: Parameters, s: State, row: int, first: bool) -> None:
    """Channels of the next frame, and phases for the unweighted sum of all gains."""
    advance_channels(p, s, row, first)
    if p.irs:
        weigh_equally(p, s)
        solve_phases(p, s, row)
    else:
        use_direct_path(p, s, row)


@kernel
def start_links(p: Parameters, s: State, row: int) -> None:
    """`advance_links` with fading that does not depend on the previous frame."""
    advance_links(p, s, row, True)
