"""Links over the IRS: Gram matrices, effective gains and the quadratic form of the phases, (3), (10)-(13), (38)-(42).

Of the AP's antennas only M = G G^H is left: the downlink gain |h^H diag(v) G|^2 is w^H M w with w = h o conj(v), and an
uplink gain |g diag(v) h|^2 is w^H M' w with w = h o v and M' = g^H g. With the transpose of the downlink as uplink
(reciprocity) both gains are the same; with g = G^H, as printed, M' = M. Complex arrays hold real and imaginary part on
an axis of length two; `row` is the world in arrays with a leading batch axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel

RECIPROCAL, HERMITIAN, INDEPENDENT = range(3)
UPLINKS = ("reciprocal", "hermitian", "independent")


@kernel
def gram(channel: NDArray[np.float64], out: NDArray[np.float64], row: int) -> None:
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
def covariance(channel: NDArray[np.float64], weight: NDArray[np.float64], out: NDArray[np.float64], row: int) -> None:
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
def add_form(
    matrix: NDArray[np.float64], spread: NDArray[np.float64], conjugate: bool, q: NDArray[np.float64], row: int
) -> None:
    """Add conj(M) o S (downlink) or, with `conjugate`, M o conj(S) (uplink) to Q (2, N, N)."""
    sign = -1.0 if conjugate else 1.0
    for n in range(q.shape[1]):
        for m in range(q.shape[1]):
            re, im = matrix[row, 0, n, m], -matrix[row, 1, n, m]
            q[0, n, m] += re * spread[0, n, m] - im * spread[1, n, m]
            q[1, n, m] += sign * (re * spread[1, n, m] + im * spread[0, n, m])


@kernel
def quadratic_form(
    down: NDArray[np.float64], up: NDArray[np.float64], irs_ud: NDArray[np.float64], uplink: int,
    weight_down: NDArray[np.float64], weight_up: NDArray[np.float64], spread: NDArray[np.float64],
    q: NDArray[np.float64], row: int,
) -> None:  # fmt: skip
    """Fill Q (2, N, N) of (42), v^H Q v = sum_k weight_down_k gain_down_k + weight_up_k gain_up_k.

    `down` and `up` are Gram matrices (B, 2, N, N); only an independent uplink has its own.
    """
    for n in range(q.shape[1]):
        for m in range(q.shape[1]):
            q[0, n, m] = 0.0
            q[1, n, m] = 0.0
    covariance(irs_ud, weight_down, spread, row)
    add_form(down, spread, False, q, row)
    covariance(irs_ud, weight_up, spread, row)
    add_form(up if uplink == INDEPENDENT else down, spread, uplink != RECIPROCAL, q, row)


@kernel
def gain_of(
    matrix: NDArray[np.float64], irs_ud: NDArray[np.float64], v: NDArray[np.float64], k: int, conjugate: bool,
    w: NDArray[np.float64], y: NDArray[np.float64], row: int,
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
    down: NDArray[np.float64], up: NDArray[np.float64], irs_ud: NDArray[np.float64], uplink: int,
    v: NDArray[np.float64], w: NDArray[np.float64], y: NDArray[np.float64], gain_down: NDArray[np.float64],
    gain_up: NDArray[np.float64], row: int,
) -> None:  # fmt: skip
    """Fill the effective power gains (B, K) of both directions at the phases v (B, 2, N)."""
    for k in range(irs_ud.shape[2]):
        gain_down[row, k] = gain_of(down, irs_ud, v, k, True, w, y, row)
        if uplink == RECIPROCAL:
            gain_up[row, k] = gain_down[row, k]
        else:
            gain_up[row, k] = gain_of(up if uplink == INDEPENDENT else down, irs_ud, v, k, False, w, y, row)
