"""Slow references: effective channels by loops over users, antennas and elements; phases by grids."""

import cmath
import itertools
import math

import numpy as np

from tests.dtirs.solvers.problems import Complexes, Floats, Links


def downlink(links: Links, phase: Complexes, user: int) -> list[complex]:
    """h^H diag(v) G of one user, (38): one number per antenna of the access point."""
    elements, antennas = links.ap_irs.shape
    return [
        sum(links.irs_ud[user, n].conjugate() * phase[n] * links.ap_irs[n, a] for n in range(elements))
        for a in range(antennas)
    ]


def uplink(links: Links, phase: Complexes, user: int, kind: str) -> list[complex]:
    """Uplink of one user, (39), one number per antenna: over the transpose of the downlink, G^H or g."""
    elements, antennas = links.ap_irs.shape
    found = []
    for a in range(antennas):
        total = 0j
        for n in range(elements):
            h = links.irs_ud[user, n]
            if kind == "reciprocal":
                total += links.ap_irs[n, a] * phase[n] * h.conjugate()
            elif kind == "hermitian":
                total += links.ap_irs[n, a].conjugate() * phase[n] * h
            else:
                total += links.irs_ap[a, n] * phase[n] * h
        found.append(total)
    return found


def squared(channel: list[complex]) -> float:
    """Squared Euclidean norm."""
    return math.fsum(abs(each) ** 2 for each in channel)


def gains(links: Links, phase: Complexes, kind: str) -> tuple[Floats, Floats]:
    """Squared norms of all users' effective channels, down and up."""
    users = range(len(links.irs_ud))
    return (
        np.array([squared(downlink(links, phase, k)) for k in users]),
        np.array([squared(uplink(links, phase, k, kind)) for k in users]),
    )


def value(quadratic: Complexes, phase: Complexes) -> float:
    """v^H Q v, element by element."""
    size = len(phase)
    total = [
        (phase[i].conjugate() * quadratic[i, j] * phase[j]).real for i, j in itertools.product(range(size), repeat=2)
    ]
    return math.fsum(total)


def best_by_grid(quadratic: Complexes, points: int = 24) -> float:
    """The largest v^H Q v over unit-modulus v of a few elements, by a grid that is refined around its best point.

    The first phase may be 1, as a common phase changes nothing.
    """
    size = len(quadratic)
    centre, width = np.zeros(size - 1), 2.0 * math.pi
    best = -math.inf
    for _ in range(40):
        steps = [np.linspace(-0.5, 0.5, points) * width + c for c in centre]
        angles = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, size - 1)
        phases = np.exp(1j * np.concatenate((np.zeros((len(angles), 1)), angles), axis=1))
        values = np.einsum("pi,ij,pj->p", phases.conj(), quadratic, phases).real
        at = int(values.argmax())
        best = max(best, float(values[at]))
        centre, width = angles[at], 0.5 * width
    return best


def dual_bound(quadratic: Complexes, factor: Complexes) -> float:
    """An upper bound on tr(QV) over all V with unit diagonal, from an approximate solution V = X X^H.

    diag(y) - Q is positive semidefinite once its least eigenvalue is added to every y, and then tr(QV) <= sum y.
    """
    y = np.real(np.einsum("ij,jr,ir->i", quadratic, factor, factor.conj()))
    least = float(np.linalg.eigvalsh(np.diag(y) - quadratic)[0])
    return float(y.sum()) + len(y) * max(0.0, -least)


def feasible_value(quadratic: Complexes, relaxed: Complexes) -> float:
    """tr(QV) of a solver's V, made feasible: eigenvalues clipped at zero, diagonal scaled to one."""
    values, vectors = np.linalg.eigh((relaxed + relaxed.conj().T) / 2.0)
    factor = vectors * np.sqrt(np.maximum(values, 0.0))
    factor /= np.linalg.norm(factor, axis=1)[:, None]
    return float(np.real(np.einsum("ij,jr,ir->", quadratic, factor, factor.conj())))


def misaligned(quadratic: Complexes, phase: Complexes) -> float:
    """Largest relative gain of v^H Q v from optimising one element alone."""
    gain = 0.0
    for i in range(len(phase)):
        rest = sum(quadratic[i, j] * phase[j] for j in range(len(phase)) if j != i)
        gain = max(gain, 2.0 * (abs(rest) - (phase[i].conjugate() * rest).real))
    return gain / value(quadratic, phase)


def aligned(vector: Complexes) -> Complexes:
    """The phases that maximise |a^H v|, the optimum of the form a a^H."""
    return np.array([cmath.exp(1j * cmath.phase(each)) for each in vector])
