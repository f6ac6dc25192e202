"""Links over the IRS: Gram matrices, effective gains and the quadratic form of the phases, (3), (10)-(13), (38)-(42).

The AP's antennas enter only through M = G G^H: the downlink gain |h^H diag(v) G|^2 is w^H M w with w = h o conj(v), and
the uplink gain |g diag(v) h|^2 is w^H M' w with w = h o v and M' = g^H g. If the uplink is the transpose of the
downlink (reciprocity), both gains are equal; with g = G^H, as printed, M' = M. Complex arrays hold real and imaginary
part on an axis of length two; `row` is the world in arrays with a leading batch axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel

FloatArray = NDArray[np.float64]


@kernel
def gram(channel: FloatArray, out: FloatArray, row: int) -> None:
    """M (B, 2, N, N) = sum over antennas a of x_an conj(x_am), from channels x (B, 2, A, N)."""
    elements = channel.shape[3]
    for n in range(elements):
        for m in range(elements):
            out[row, 0, n, m] = 0.0
            out[row, 1, n, m] = 0.0
    for a in range(channel.shape[2]):
        for n in range(elements):
            re, im = channel[row, 0, a, n], channel[row, 1, a, n]
            for m in range(n + 1):
                out[row, 0, n, m] += re * channel[row, 0, a, m] + im * channel[row, 1, a, m]
                out[row, 1, n, m] += im * channel[row, 0, a, m] - re * channel[row, 1, a, m]
    for n in range(elements):
        for m in range(n):
            out[row, 0, m, n] = out[row, 0, n, m]
            out[row, 1, m, n] = -out[row, 1, n, m]


@kernel
def covariance(channel: FloatArray, weight: FloatArray, out: FloatArray, row: int) -> None:
    """S (2, N, N) = sum over users k of weight_k h_k h_k^H, from channels h (B, 2, K, N)."""
    elements = channel.shape[3]
    for n in range(elements):
        for m in range(elements):
            out[0, n, m] = 0.0
            out[1, n, m] = 0.0
    for k in range(channel.shape[2]):
        for n in range(elements):
            re, im = weight[k] * channel[row, 0, k, n], weight[k] * channel[row, 1, k, n]
            for m in range(n + 1):
                out[0, n, m] += re * channel[row, 0, k, m] + im * channel[row, 1, k, m]
                out[1, n, m] += im * channel[row, 0, k, m] - re * channel[row, 1, k, m]
    for n in range(elements):
        for m in range(n):
            out[0, m, n] = out[0, n, m]
            out[1, m, n] = -out[1, n, m]


@kernel
def add_form(matrix: FloatArray, covariances: FloatArray, conjugate: bool, q: FloatArray, row: int) -> None:
    """Add conj(M) o S (downlink) or, with `conjugate`, M o conj(S) (uplink) to Q (2, N, N)."""
    sign = -1.0 if conjugate else 1.0
    for n in range(q.shape[1]):
        for m in range(q.shape[1]):
            re, im = matrix[row, 0, n, m], -matrix[row, 1, n, m]
            q[0, n, m] += re * covariances[0, n, m] - im * covariances[1, n, m]
            q[1, n, m] += sign * (re * covariances[1, n, m] + im * covariances[0, n, m])


@kernel
def quadratic_form(
    down: FloatArray, up: FloatArray, irs_ud: FloatArray, reciprocal: bool, weight_down: FloatArray,
    weight_up: FloatArray, covariances: FloatArray, q: FloatArray, row: int,
) -> None:  # fmt: skip
    """Fill Q (2, N, N) of (42), v^H Q v = sum_k weight_down_k gain_down_k + weight_up_k gain_up_k.

    `down` and `up` are Gram matrices (B, 2, N, N) of both directions; `covariances` (2, N, N) is scratch.
    """
    for n in range(q.shape[1]):
        for m in range(q.shape[1]):
            q[0, n, m] = 0.0
            q[1, n, m] = 0.0
    covariance(irs_ud, weight_down, covariances, row)
    add_form(down, covariances, False, q, row)
    covariance(irs_ud, weight_up, covariances, row)
    add_form(up, covariances, not reciprocal, q, row)


@kernel
def gain_of(
    matrix: FloatArray, irs_ud: FloatArray, v: FloatArray, k: int, conjugate: bool, w: FloatArray, y: FloatArray,
    row: int,
) -> float:  # fmt: skip
    """Gain w^H M w of user k with w = h o v, or with `conjugate` h o conj(v); v is (B, 2, N), w, y (2, N) scratch."""
    elements = irs_ud.shape[3]
    sign = -1.0 if conjugate else 1.0
    for n in range(elements):
        re, im = irs_ud[row, 0, k, n], irs_ud[row, 1, k, n]
        w[0, n] = re * v[row, 0, n] - sign * im * v[row, 1, n]
        w[1, n] = im * v[row, 0, n] + sign * re * v[row, 1, n]
        y[0, n] = 0.0
        y[1, n] = 0.0
    for n in range(elements):
        re, im = w[0, n], w[1, n]
        for m in range(elements):
            y[0, m] += matrix[row, 0, n, m] * re + matrix[row, 1, n, m] * im
            y[1, m] += matrix[row, 0, n, m] * im - matrix[row, 1, n, m] * re
    gain = 0.0
    for n in range(elements):
        gain += y[0, n] * w[0, n] + y[1, n] * w[1, n]
    return gain


@kernel
def link_gains(
    down: FloatArray, up: FloatArray, irs_ud: FloatArray, reciprocal: bool, v: FloatArray, w: FloatArray, y: FloatArray,
    gain_down: FloatArray, gain_up: FloatArray, row: int,
) -> None:  # fmt: skip
    """Fill the effective power gains (B, K) of both directions at phases v (B, 2, N); w, y (2, N) are scratch."""
    for k in range(irs_ud.shape[2]):
        gain_down[row, k] = gain_of(down, irs_ud, v, k, True, w, y, row)
        if reciprocal:
            gain_up[row, k] = gain_down[row, k]
        else:
            gain_up[row, k] = gain_of(up, irs_ud, v, k, False, w, y, row)
