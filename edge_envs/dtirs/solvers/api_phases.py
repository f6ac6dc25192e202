"""IRS phases for use from Python: the quadratic form, effective gains, and Algorithm 4 with a certificate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_envs.core.validation import FloatArray, finite_array, one_of, positive_number, whole_number
from edge_envs.dtirs.solvers import irs_links, phases
from edge_envs.dtirs.solvers.phases import REPORT

Method = Literal["sdr", "ca", "random"]
Uplink = Literal["reciprocal", "hermitian", "independent"]
Reference = Literal["SCS", "CLARABEL"]


@dataclass(frozen=True, slots=True)
class Phases:
    """Unit-modulus phases (N,) and their value v^H Q v; value, upper bound, gap and factor of the relaxation.

    The gap is the distance of bound and relaxed value over the relaxed value. The factor X (N, R) gives the relaxed
    matrix V = X X^H. Without a relaxation these are NaN and empty.
    """

    phase: NDArray[np.complex128]
    value: float
    relaxed: float
    bound: float
    gap: float
    factor: NDArray[np.complex128]
    sweeps: int


def _split(name: str, array: Any) -> FloatArray:
    """Real and imaginary part of a complex matrix or vector, shape (1, 2, ...).

    Raises:
        ValueError: numbers that are not finite.
    """
    array = np.asarray(array, dtype=np.complex128)
    if not np.isfinite(array).all() or array.ndim > 2:
        raise ValueError(f"{name} has shape {array.shape}, expected a matrix or vector of finite numbers")
    return np.ascontiguousarray(np.stack([array.real, array.imag])[None])


def _channels(ap_irs: Any, irs_ud: Any, uplink: Uplink, irs_ap: Any) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Gram matrices of both directions (1, 2, N, N), and channels to the users (1, 2, K, N)."""
    one_of("uplink", uplink, get_args(Uplink))
    users = _split("irs_ud", np.atleast_2d(irs_ud))
    elements = users.shape[3]
    antennas = np.shape(ap_irs)[-1]
    if np.shape(ap_irs) != (elements, antennas):
        raise ValueError(f"ap_irs has shape {np.shape(ap_irs)}, expected ({elements}, A) for irs_ud {users.shape[2:]}")
    down = np.zeros((1, 2, elements, elements))
    irs_links.gram(_split("ap_irs", np.asarray(ap_irs).T), down, 0)
    up = down
    if uplink == "independent":
        if np.shape(irs_ap) != (antennas, elements):
            raise ValueError(f"irs_ap has shape {np.shape(irs_ap)}, expected ({antennas}, {elements}) with {uplink=}")
        up = np.zeros_like(down)
        irs_links.gram(_split("irs_ap", np.conj(irs_ap)), up, 0)
    return down, up, users


def phase_quadratic(
    ap_irs: Any, irs_ud: Any, *, uplink: Uplink = "reciprocal", irs_ap: Any = None, weight_dl: ArrayLike | None = None,
    weight_ul: ArrayLike | None = None,
) -> NDArray[np.complex128]:  # fmt: skip
    """Hermitian Q (N, N) of (42): v^H Q v is the weighted sum of the effective power gains at phases v.

    Args:
        ap_irs: G, shape (N, A).
        irs_ud: h_k as rows, shape (K, N).
        uplink: the transpose of the downlink, g = G^H as printed, or an independent channel.
        irs_ap: g of an independent uplink, shape (A, N).
        weight_dl: weights of the users' downlink gains, shape (K,); None for ones.
        weight_ul: weights of the users' uplink gains, shape (K,); None for ones.

    Raises:
        ValueError: an impossible argument; the message names it.
    """
    down, up, users = _channels(ap_irs, irs_ud, uplink, irs_ap)
    count, elements = users.shape[2:]
    weights = [
        np.ones(count) if weight is None else finite_array(name, weight, (count,), low=-math.inf)
        for name, weight in (("weight_dl", weight_dl), ("weight_ul", weight_ul))
    ]
    q, scratch = np.zeros((2, elements, elements)), np.zeros((2, elements, elements))
    irs_links.quadratic_form(down, up, users, uplink == "reciprocal", weights[0], weights[1], scratch, q, 0)
    return q[0] + 1j * q[1]


def link_gains(
    phase: Any, ap_irs: Any, irs_ud: Any, *, uplink: Uplink = "reciprocal", irs_ap: Any = None
) -> tuple[FloatArray, FloatArray]:
    """Effective power gains of the downlink and the uplink, shapes (K,), at phases (N,) of unit modulus.

    Raises:
        ValueError: an impossible argument; the message names it; see `phase_quadratic`.
    """
    down, up, users = _channels(ap_irs, irs_ud, uplink, irs_ap)
    count, elements = users.shape[2:]
    if np.shape(phase) != (elements,):
        raise ValueError(f"phase has shape {np.shape(phase)}, expected ({elements},)")
    size = float(np.abs(np.abs(phase) - 1.0).max())
    if size > 1e-6:
        raise ValueError(f"phase has a modulus that differs from 1 by {size:g}; divide each number by its modulus")
    gain_down, gain_up = np.zeros((1, count)), np.zeros((1, count))
    w, y = np.zeros((2, elements)), np.zeros((2, elements))
    split = _split("phase", phase)
    irs_links.link_gains(down, up, users, uplink == "reciprocal", split, w, y, gain_down, gain_up, 0)
    return gain_down[0], gain_up[0]


def optimise_phases(
    quadratic: Any, *, method: Method = "sdr", samples: int = 100, polish: bool = True, seed: int = 0,
    gap: float = 1e-7, reference: Reference | None = None,
) -> Phases:  # fmt: skip
    """Maximise v^H Q v over unit-modulus v; Algorithm 4.

    "sdr" solves the relaxation to a proven relative gap, draws directions from its solution (Gaussian randomisation)
    and improves the best one by coordinate ascent. "ca" improves random phases by coordinate ascent. "random" returns
    random phases.

    Args:
        quadratic: Q, Hermitian with trace >= 0, shape (N, N).
        method: "sdr", "ca" or "random".
        samples: directions drawn from the relaxed solution.
        polish: use coordinate ascent at the end of "sdr", which the paper does not have.
        seed: seed of all draws.
        gap: relative duality gap of the relaxation that must be proven.
        reference: solve the relaxation with CVXPY and this solver instead (slow; needs the extra `reference`).

    Raises:
        ValueError: an impossible argument; the message names it.
    """
    form = np.asarray(quadratic, dtype=np.complex128)
    if form.ndim != 2 or form.shape[0] != form.shape[1] or not form.size or not np.isfinite(form).all():
        raise ValueError(f"quadratic has shape {form.shape}, expected finite numbers of shape (N, N), N >= 1")
    if np.trace(form).real < 0.0:
        raise ValueError("quadratic has a negative trace; add a multiple of the identity")
    if not np.allclose(form, form.conj().T, rtol=1e-9, atol=1e-12 * float(np.abs(form).max(initial=0.0))):
        raise ValueError("quadratic is not Hermitian; give (Q + Q^H) / 2")
    one_of("method", method, get_args(Method))
    one_of("reference", reference, (None, *get_args(Reference)))
    whole_number("samples", samples, 1)
    whole_number("seed", seed, 0)
    positive_number("gap", gap, infinite=True)
    elements = len(form)
    q = np.ascontiguousarray(np.stack([form.real, form.imag]))
    rank = phases.factor_rank(elements)
    normals = np.random.default_rng(seed).standard_normal((1, 2 * rank * (elements + samples)))
    v, y = np.zeros((2, elements)), np.zeros((2, elements))
    found, factor = np.array([math.nan, math.nan, 0.0]), np.zeros((2, elements, 0))
    if method == "sdr":
        factor, found = _relax(q, rank, normals, gap, reference)
        rank = factor.shape[2]
        phases.randomise(q, factor, normals, 0, 2 * rank * elements, samples, v, np.zeros_like(v), y)
    else:
        phases.random_phases(v, normals, 0, 0)
    if method == "ca" or (method == "sdr" and polish):
        phases.polish(q, v, y)
    value = phases.apply(q, v, y)
    relaxed, proven = float(found[REPORT.value]), float(found[REPORT.gap])
    return Phases(
        phase=v[0] + 1j * v[1], value=float(value), relaxed=relaxed, bound=relaxed * (1.0 + proven), gap=proven,
        factor=factor[0] + 1j * factor[1], sweeps=int(found[REPORT.sweeps]),
    )  # fmt: skip


def _relax(
    q: FloatArray, rank: int, normals: FloatArray, gap: float, reference: Reference | None
) -> tuple[FloatArray, FloatArray]:
    """Factor (2, N, R) of the relaxed matrix, and the report, see `phases.REPORT`."""
    elements = q.shape[1]
    x, z, y = np.zeros((2, elements, rank)), np.zeros((2, rank)), np.zeros(elements)
    s, column, report = np.zeros_like(q), np.zeros((2, elements)), np.zeros(len(REPORT))
    phases.start_factor(x, normals, 0, 0)
    if reference is None:
        phases.relax(q, x, z, y, s, column, gap, report)
        return x, report
    from edge_envs.dtirs.solvers.reference_cvxpy import phases as solve

    levels, vectors = np.linalg.eigh(solve(q[0] + 1j * q[1], reference))
    full = vectors * np.sqrt(np.maximum(levels, 0.0))
    full /= np.linalg.norm(full, axis=1, keepdims=True)
    keep = full[:, -rank:] / np.linalg.norm(full[:, -rank:], axis=1, keepdims=True)
    x = np.ascontiguousarray(np.stack([keep.real, keep.imag]))
    return x, np.array([*phases.certify(q, x, y, gap, 1.0, s, column), 0.0])
