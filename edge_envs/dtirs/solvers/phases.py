"""IRS phases: max v^H Q v over unit-modulus v, by semidefinite relaxation with a dual certificate, (40)-(44).

Complex matrices are float64 arrays whose first axis holds real and imaginary part; this compiles to faster loops.
The relaxation max tr(Q V), V >= 0, V_ii = 1 is solved on V = X X^H. The rows X_i have unit length and R > sqrt(N)
columns, enough that local optima are global. X_i <- z_i / |z_i| with z_i = sum_{j != i} Q_ij X_j maximises over one row
exactly.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel
from edge_envs.core.kernels.metrics import columns

FloatArray = NDArray[np.float64]

REPORT = columns(("value", "gap", "sweeps"))
"""Entries of the report of `relax`: value tr(Q V), proven relative gap, sweeps."""
SWEEPS_MAX = 20_000
GAIN_TOLERANCE = 1e-10
"""Relative gain of a sweep at which coordinate ascent stops."""
ROUNDING = 1e-12
"""Deviation of a row's squared length from one that counts as rounding."""


def factor_rank(elements: int) -> int:
    """Columns R of the factor: ceil(sqrt(N)) + 1, rounded up to a multiple of the four numbers of a vector register."""
    return 4 * math.ceil((math.isqrt(elements - 1) + 2) / 4) if elements > 1 else 4


@kernel
def row_product(q: FloatArray, x: FloatArray, i: int, z: FloatArray) -> None:
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
def sweep_factor(q: FloatArray, x: FloatArray, z: FloatArray) -> tuple[float, float]:
    """Update every row of X (2, N, R) once; returns the gain and 2 sum |z_i|, which converges to twice the value."""
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
def multipliers(q: FloatArray, x: FloatArray, y: FloatArray) -> float:
    """Fill the dual variables y_i = Re (Q X X^H)_ii (N,); returns their sum, which is the value tr(Q X X^H).

    They are computed from the factor alone, without `row_product`, so that an error of the solver is detected.
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
def largest_below(s: FloatArray, k: int) -> float:
    """Largest real or imaginary part below the diagonal in column k of a matrix (2, N, N)."""
    largest = 0.0
    for i in range(k + 1, s.shape[1]):
        largest = max(largest, abs(s[0, i, k]), abs(s[1, i, k]))
    return largest


@kernel
def is_positive(q: FloatArray, y: FloatArray, shift: float, s: FloatArray, column: FloatArray) -> bool:
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
    q: FloatArray, y: FloatArray, value: float, goal: float, gap_max: float, s: FloatArray, column: FloatArray
) -> float:
    """A proven relative gap: value (1 + gap) bounds the relaxation; the first of goal, 4 goal, ... with a proof.

    Every y with diag(y) - Q positive semidefinite gives the bound sum y. The multipliers y sum to `value`; the search
    looks for the smallest shift that makes the difference positive semidefinite. Above `gap_max` it returns inf.
    """
    gap = goal
    while gap <= gap_max:
        if is_positive(q, y, gap * value / len(y), s, column):
            return gap
        gap *= 4.0
    return math.inf


@kernel
def certify(
    q: FloatArray, x: FloatArray, y: FloatArray, goal: float, gap_max: float, s: FloatArray, column: FloatArray
) -> tuple[float, float]:
    """Value tr(Q X X^H) of a factor (2, N, R), and a proven gap, see `certified_gap`; y receives the multipliers.

    If rows are not of unit length, X X^H is not feasible; their deviation is added to the gap.
    """
    value, off = multipliers(q, x, y), 0.0
    for i in range(x.shape[1]):
        square = 0.0
        for c in range(x.shape[2]):
            square += x[0, i, c] * x[0, i, c] + x[1, i, c] * x[1, i, c]
        if not square < math.inf:
            return value, math.inf
        off = max(off, abs(square - 1.0))
    gap = certified_gap(q, y, value, goal, gap_max, s, column)
    return value, gap if off <= ROUNDING else gap + off


@kernel
def relax(
    q: FloatArray, x: FloatArray, z: FloatArray, y: FloatArray, s: FloatArray, column: FloatArray, goal: float,
    report: FloatArray,
) -> None:  # fmt: skip
    """Solve the relaxation, starting from X, until a relative gap of `goal` is proven; fills `report`, see `REPORT`.

    A proof is tried when a sweep gains little, and again after further sweeps if it fails. After SWEEPS_MAX sweeps the
    smallest provable gap is reported.
    """
    sweeps, due, small = 0, 10, 0.3 * goal
    while True:
        gain, total = sweep_factor(q, x, z)
        sweeps += 1
        if (sweeps >= due and gain <= small * total) or sweeps >= SWEEPS_MAX:
            value, gap = certify(q, x, y, goal, goal if sweeps < SWEEPS_MAX else 1.0, s, column)
            if gap < math.inf or sweeps >= SWEEPS_MAX:
                report[REPORT.value], report[REPORT.gap], report[REPORT.sweeps] = value, gap, float(sweeps)
                return
            due = sweeps + max(5, sweeps // 4)


@kernel
def start_factor(x: FloatArray, normals: FloatArray, row: int, offset: int) -> None:
    """Fill X (2, N, R) with random unit rows from 2 N R standard normals of `row`, the first one at `offset`."""
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
def apply(q: FloatArray, v: FloatArray, y: FloatArray) -> float:
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
def add_column(q: FloatArray, i: int, re: float, im: float, y: FloatArray) -> None:
    """y += Q_:i (re + j im), from the conjugate of row i, which is contiguous in memory."""
    for j in range(y.shape[1]):
        y[0, j] += q[0, i, j] * re + q[1, i, j] * im
        y[1, j] += q[0, i, j] * im - q[1, i, j] * re


@kernel
def unit(re: float, im: float) -> tuple[float, float]:
    """The number over its modulus; 1 for zero."""
    size = math.hypot(re, im)
    return (re / size, im / size) if size > 0.0 else (1.0, 0.0)


@kernel
def polish(q: FloatArray, v: FloatArray, y: FloatArray) -> float:
    """Coordinate ascent: each phase in turn takes its best value, until a sweep gains little; returns v^H Q v."""
    value = apply(q, v, y)
    for _ in range(SWEEPS_MAX):
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
        if gain <= GAIN_TOLERANCE * abs(value):
            break
    return apply(q, v, y)


@kernel
def randomise(
    q: FloatArray, x: FloatArray, normals: FloatArray, row: int, offset: int, samples: int, v: FloatArray,
    trial: FloatArray, y: FloatArray,
) -> float:  # fmt: skip
    """Gaussian randomisation: write the best of `samples` directions of X w, w complex normal, to v; returns its value.

    A sample uses 2 R standard normals of `row`, the first one at `offset`.
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
def random_phases(v: FloatArray, normals: FloatArray, row: int, offset: int) -> None:
    """Uniformly random phases from 2 N standard normals of `row`, the first one at `offset`."""
    for i in range(v.shape[1]):
        v[0, i], v[1, i] = unit(normals[row, offset + 2 * i], normals[row, offset + 2 * i + 1])
