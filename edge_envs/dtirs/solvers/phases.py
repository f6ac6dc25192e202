"""IRS phases: max v^H Q v over unit-modulus v, by semidefinite relaxation with a dual certificate, (40)-(44).

Complex matrices are float64 arrays whose first axis holds real and imaginary part, which compiles to faster loops.
The relaxation max tr(Q V), V >= 0, V_ii = 1 is solved on V = X X^H with unit rows X_i of R > sqrt(N) numbers, so that
no local optimum is worse: X_i <- z_i / |z_i| with z_i = sum_{j != i} Q_ij X_j maximises over one row exactly.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel

MOST_SWEEPS = 20_000
SETTLED = 1e-10
"""Relative gain of a sweep below which phases count as settled."""
ROUNDING = 1e-12
"""Deviation of a row's squared length from one that passes for rounding."""


def factor_rank(elements: int) -> int:
    """Columns R of the factor: ceil(sqrt(N)) + 1, rounded up to whole vector registers of four numbers."""
    return 4 * math.ceil((math.isqrt(elements - 1) + 2) / 4) if elements > 1 else 4


@kernel
def row_product(q: NDArray[np.float64], x: NDArray[np.float64], i: int, z: NDArray[np.float64]) -> None:
    """z (2, R) = sum over j != i of Q_ij X_j."""
    elements, rank = x.shape[1], x.shape[2]
    for c in range(rank):
        z[0, c] = 0.0
        z[1, c] = 0.0
    for j in range(elements):
        if j != i:
            re, im = q[0, i, j], q[1, i, j]
            for c in range(rank):
                z[0, c] += re * x[0, j, c] - im * x[1, j, c]
                z[1, c] += re * x[1, j, c] + im * x[0, j, c]


@kernel
def sweep_factor(q: NDArray[np.float64], x: NDArray[np.float64], z: NDArray[np.float64]) -> tuple[float, float]:
    """Update every row of X (2, N, R) once; returns the gain and 2 sum |z_i|, which tends to twice the value."""
    gain, total = 0.0, 0.0
    rank = x.shape[2]
    for i in range(x.shape[1]):
        row_product(q, x, i, z)
        square, before = 0.0, 0.0
        for c in range(rank):
            square += z[0, c] * z[0, c] + z[1, c] * z[1, c]
            before += z[0, c] * x[0, i, c] + z[1, c] * x[1, i, c]
        norm = math.sqrt(square)
        if norm > 0.0:
            gain += 2.0 * (norm - before)
            total += 2.0 * norm
            for c in range(rank):
                x[0, i, c] = z[0, c] / norm
                x[1, i, c] = z[1, c] / norm
    return gain, total


@kernel
def multipliers(q: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Fill the dual variables y_i = Re (Q X X^H)_ii (N,); returns their sum, which is the value tr(Q X X^H).

    They are worked out from the factor alone, without the solver's product, so that a fault there shows.
    """
    value = 0.0
    for i in range(x.shape[1]):
        y[i] = q[0, i, i]
        for j in range(i):
            re, im = 0.0, 0.0
            for c in range(x.shape[2]):
                re += x[0, j, c] * x[0, i, c] + x[1, j, c] * x[1, i, c]
                im += x[1, j, c] * x[0, i, c] - x[0, j, c] * x[1, i, c]
            both = q[0, i, j] * re - q[1, i, j] * im
            y[i] += both
            y[j] += both
    for i in range(x.shape[1]):
        value += y[i]
    return value


@kernel
def largest_below(s: NDArray[np.float64], k: int) -> float:
    """Largest real or imaginary part below the diagonal in column k of a matrix (2, N, N)."""
    largest = 0.0
    for i in range(k + 1, s.shape[1]):
        largest = max(largest, abs(s[0, i, k]), abs(s[1, i, k]))
    return largest


@kernel
def is_positive(
    q: NDArray[np.float64], y: NDArray[np.float64], shift: float, s: NDArray[np.float64], column: NDArray[np.float64]
) -> bool:
    """Return True if diag(y + shift) - Q is positive semidefinite, by Cholesky's factorisation in `s` (2, N, N)."""
    elements = len(y)
    for i in range(elements):
        for j in range(i + 1):
            s[0, i, j] = -q[0, i, j]
            s[1, i, j] = -q[1, i, j]
        s[0, i, i] += y[i] + shift
    for k in range(elements):
        pivot = s[0, k, k]
        if pivot == 0.0 and largest_below(s, k) == 0.0:
            continue
        if not pivot > 0.0:
            return False
        scale = 1.0 / math.sqrt(pivot)
        for i in range(k + 1, elements):
            column[0, i] = s[0, i, k] * scale
            column[1, i] = s[1, i, k] * scale
        for i in range(k + 1, elements):
            re, im = column[0, i], column[1, i]
            for j in range(k + 1, i + 1):
                s[0, i, j] -= re * column[0, j] + im * column[1, j]
                s[1, i, j] -= im * column[0, j] - re * column[1, j]
    return True


@kernel
def certified_gap(
    q: NDArray[np.float64], y: NDArray[np.float64], value: float, goal: float, most: float, s: NDArray[np.float64],
    column: NDArray[np.float64],
) -> float:  # fmt: skip
    """A relative gap, proven: value (1 + gap) bounds the relaxation. The first of goal, 4 goal, ... that can be proven.

    Any y with diag(y) >= Q bounds it by sum y, so a shift of y, whose sum is `value`, that makes the difference
    positive semidefinite does. Beyond `most` the search ends with inf.
    """
    gap = goal
    while gap <= most:
        if is_positive(q, y, gap * value / len(y), s, column):
            return gap
        gap *= 4.0
    return math.inf


@kernel
def certify(
    q: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], goal: float, most: float,
    s: NDArray[np.float64], column: NDArray[np.float64],
) -> tuple[float, float]:  # fmt: skip
    """Value tr(Q X X^H) of a factor (2, N, R), and a proven gap as `certified_gap` has it; y receives the multipliers.

    Rows that are not of unit length, for which the value is none of the relaxation's, add their deviation to the gap.
    """
    value, off = multipliers(q, x, y), 0.0
    for i in range(x.shape[1]):
        square = 0.0
        for c in range(x.shape[2]):
            square += x[0, i, c] * x[0, i, c] + x[1, i, c] * x[1, i, c]
        if not square < math.inf:
            return value, math.inf
        off = max(off, abs(square - 1.0))
    gap = certified_gap(q, y, value, goal, most, s, column)
    return value, gap if off <= ROUNDING else gap + off


@kernel
def relax(
    q: NDArray[np.float64], x: NDArray[np.float64], z: NDArray[np.float64], y: NDArray[np.float64],
    s: NDArray[np.float64], column: NDArray[np.float64], goal: float, report: NDArray[np.float64],
) -> None:  # fmt: skip
    """Solve the relaxation from the start in X until a relative gap of `goal` is proven.

    `report` becomes (value tr(Q V), proven gap, sweeps). Sweeps go on until the last gained little, then as long as the
    proof fails; at MOST_SWEEPS the best provable gap is reported.
    """
    spent, due, enough = 0, 10, 0.3 * goal
    while True:
        gain, total = sweep_factor(q, x, z)
        spent += 1
        if (spent >= due and gain <= enough * total) or spent >= MOST_SWEEPS:
            value, proven = certify(q, x, y, goal, goal if spent < MOST_SWEEPS else 1.0, s, column)
            if proven < math.inf or spent >= MOST_SWEEPS:
                report[0], report[1], report[2] = value, proven, float(spent)
                return
            due = spent + max(5, spent // 4)


@kernel
def start_factor(x: NDArray[np.float64], normals: NDArray[np.float64], row: int, offset: int) -> None:
    """Fill X (2, N, R) with random unit rows from 2 N R standard normals, those of `row` from `offset` on."""
    at = offset
    rank = x.shape[2]
    for i in range(x.shape[1]):
        square = 1e-300
        for c in range(rank):
            x[0, i, c], x[1, i, c] = normals[row, at], normals[row, at + 1]
            square += x[0, i, c] * x[0, i, c] + x[1, i, c] * x[1, i, c]
            at += 2
        for c in range(rank):
            x[0, i, c] /= math.sqrt(square)
            x[1, i, c] /= math.sqrt(square)


@kernel
def apply(q: NDArray[np.float64], v: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """y (2, N) = Q v; returns v^H Q v."""
    elements = v.shape[1]
    for j in range(elements):
        y[0, j] = 0.0
        y[1, j] = 0.0
    for i in range(elements):
        add_column(q, i, v[0, i], v[1, i], y)
    value = 0.0
    for j in range(elements):
        value += y[0, j] * v[0, j] + y[1, j] * v[1, j]
    return value


@kernel
def add_column(q: NDArray[np.float64], i: int, re: float, im: float, y: NDArray[np.float64]) -> None:
    """y += Q_:i (re + j im), by the conjugate of the row, which lies together in memory."""
    for j in range(y.shape[1]):
        y[0, j] += q[0, i, j] * re + q[1, i, j] * im
        y[1, j] += q[0, i, j] * im - q[1, i, j] * re


@kernel
def unit(re: float, im: float) -> tuple[float, float]:
    """The number's direction; one for zero."""
    size = math.hypot(re, im)
    return (re / size, im / size) if size > 0.0 else (1.0, 0.0)


@kernel
def polish(q: NDArray[np.float64], v: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Coordinate ascent: each phase in turn is set to its best, until a sweep gains little; returns v^H Q v."""
    value = apply(q, v, y)
    for _ in range(MOST_SWEEPS):
        gain = 0.0
        for i in range(v.shape[1]):
            re = y[0, i] - q[0, i, i] * v[0, i]
            im = y[1, i] - q[0, i, i] * v[1, i]
            size = math.hypot(re, im)
            if size > 0.0:
                gain += 2.0 * (size - re * v[0, i] - im * v[1, i])
                after_re, after_im = re / size, im / size
                add_column(q, i, after_re - v[0, i], after_im - v[1, i], y)
                v[0, i], v[1, i] = after_re, after_im
        value += gain
        if gain <= SETTLED * abs(value):
            break
    return apply(q, v, y)


@kernel
def randomise(
    q: NDArray[np.float64], x: NDArray[np.float64], normals: NDArray[np.float64], row: int, offset: int, samples: int,
    v: NDArray[np.float64], trial: NDArray[np.float64], y: NDArray[np.float64],
) -> float:  # fmt: skip
    """Gaussian randomisation: the best of `samples` directions of X w, w of R complex normals, into v; its value.

    Uses 2 R standard normals per sample, those of `row` from `offset` on.
    """
    rank = x.shape[2]
    best = -math.inf
    for sample in range(samples):
        at = offset + 2 * rank * sample
        for i in range(x.shape[1]):
            re, im = 0.0, 0.0
            for c in range(rank):
                a, b = normals[row, at + 2 * c], normals[row, at + 2 * c + 1]
                re += x[0, i, c] * a - x[1, i, c] * b
                im += x[0, i, c] * b + x[1, i, c] * a
            trial[0, i], trial[1, i] = unit(re, im)
        value = apply(q, trial, y)
        if value > best:
            best = value
            for i in range(v.shape[1]):
                v[0, i], v[1, i] = trial[0, i], trial[1, i]
    return best


@kernel
def random_phases(v: NDArray[np.float64], normals: NDArray[np.float64], row: int, offset: int) -> None:
    """Evenly random phases from 2 N standard normals, those of `row` from `offset` on."""
    for i in range(v.shape[1]):
        v[0, i], v[1, i] = unit(normals[row, offset + 2 * i], normals[row, offset + 2 * i + 1])
