"""IRS phases for use from Python: the quadratic form, effective gains, and Algorithm 4 with a certificate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_envs.core.validation import FloatArray, finite_array, positive_number
from edge_envs.dtirs.solvers import irs_links, phases

Method = Literal["sdr", "ca", "random"]
Uplink = Literal["reciprocal", "hermitian", "independent"]
Reference = Literal["SCS", "CLARABEL"]


@dataclass(frozen=True, slots=True)
class Phases:
    """Unit-modulus phases (N,) and their value v^H Q v; of the relaxation: value, upper bound, relative gap, factor.

    The gap is that between bound and relaxed value, over the relaxed value. The relaxed matrix is V = X X^H of the
    factor X (N, R). Without a relaxation these are NaN and empty.
    """

    phase: NDArray[np.complex128]
    value: float
    relaxed: float
    bound: float
    gap: float
    factor: NDArray[np.complex128]
    sweeps: int


def _split(name: str, array: Any) -> FloatArray:
    """A matrix or vector of complex numbers as (1, 2, ...) of real and imaginary part.

    Raises:
        ValueError: numbers that are not finite.
    """
    array = np.asarray(array, dtype=np.complex128)
    if not np.isfinite(array).all() or array.ndim > 2:
        raise ValueError(f"{name} has shape {array.shape}, expected a matrix or vector of finite numbers")
    return np.ascontiguousarray(np.stack([array.real, array.imag])[None])


def _channels(ap_irs: Any, irs_ud: Any, uplink: Uplink, irs_ap: Any) -> tuple[FloatArray, FloatArray, FloatArray, int]:
    """Gram matrices of both directions (1, 2, N, N), channels to the users (1, 2, K, N), and the uplink's number."""
    if uplink not in irs_links.UPLINKS:
        raise ValueError(f"uplink={uplink!r} does not exist; known: {', '.join(irs_links.UPLINKS)}")
    kind = irs_links.UPLINKS.index(uplink)
    users = _split("irs_ud", np.atleast_2d(irs_ud))
    elements = users.shape[3]
    antennas = np.shape(ap_irs)[-1]
    if np.shape(ap_irs) != (elements, antennas):
        raise ValueError(f"ap_irs has shape {np.shape(ap_irs)}, expected ({elements}, A) for irs_ud {users.shape[2:]}")
    down, up = np.zeros((1, 2, elements, elements)), np.zeros((1, 2, elements, elements))
    irs_links.gram(_split("ap_irs", np.asarray(ap_irs).T), down, 0)
    if kind == irs_links.INDEPENDENT:
        if np.shape(irs_ap) != (antennas, elements):
            raise ValueError(f"irs_ap has shape {np.shape(irs_ap)}, expected ({antennas}, {elements}) with {uplink=}")
        irs_links.gram(_split("irs_ap", np.conj(irs_ap)), up, 0)
    return down, up, users, kind


def phase_quadratic(
    ap_irs: Any, irs_ud: Any, *, uplink: Uplink = "reciprocal", irs_ap: Any = None,
    weight_dl: ArrayLike | None = None, weight_ul: ArrayLike | None = None,
) -> NDArray[np.complex128]:  # fmt: skip
    """Hermitian Q (N, N) of (42): v^H Q v is the weighted sum of all effective power gains at phases v.

    Args:
        ap_irs: G, shape (N, A).
        irs_ud: h_k as rows, shape (K, N).
        uplink: the transpose of the downlink, g = G^H as printed, or a channel of its own.
        irs_ap: g, shape (A, N), with an independent uplink.
        weight_dl: weights of the users' downlink gains, shape (K,); None for ones.
        weight_ul: weights of the uplink gains.

    Raises:
        ValueError: an impossible argument, named.
    """
    down, up, users, kind = _channels(ap_irs, irs_ud, uplink, irs_ap)
    count, elements = users.shape[2:]
    weights = [
        np.ones(count) if weight is None else finite_array(name, weight, (count,), low=-math.inf)
        for name, weight in (("weight_dl", weight_dl), ("weight_ul", weight_ul))
    ]
    q, spread = np.zeros((2, elements, elements)), np.zeros((2, elements, elements))
    irs_links.quadratic_form(down, up, users, kind, weights[0], weights[1], spread, q, 0)
    return q[0] + 1j * q[1]


def link_gains(
    phase: Any, ap_irs: Any, irs_ud: Any, *, uplink: Uplink = "reciprocal", irs_ap: Any = None
) -> tuple[FloatArray, FloatArray]:
    """Effective power gains of the downlink and the uplink, shapes (K,), at phases (N,) of unit modulus.

    Raises:
        ValueError: an impossible argument, named; see `phase_quadratic`.
    """
    down, up, users, kind = _channels(ap_irs, irs_ud, uplink, irs_ap)
    count, elements = users.shape[2:]
    if np.shape(phase) != (elements,):
        raise ValueError(f"phase has shape {np.shape(phase)}, expected ({elements},)")
    size = float(np.abs(np.abs(phase) - 1.0).max())
    if size > 1e-6:
        raise ValueError(f"phase has a modulus {size:g} away from one; divide each number by its modulus")
    gain_down, gain_up = np.zeros((1, count)), np.zeros((1, count))
    w, y = np.zeros((2, elements)), np.zeros((2, elements))
    irs_links.link_gains(down, up, users, kind, _split("phase", phase), w, y, gain_down, gain_up, 0)
    return gain_down[0], gain_up[0]


def optimise_phases(
    quadratic: Any, *, method: Method = "sdr", samples: int = 100, polish: bool = True, seed: int = 0,
    gap: float = 1e-7, reference: Reference | None = None,
) -> Phases:  # fmt: skip
    """Maximise v^H Q v over unit-modulus v; Algorithm 4.

    "sdr" solves the relaxation to a proven relative gap, draws directions from it (Gaussian randomisation) and polishes
    the best one by coordinate ascent; "ca" polishes random phases; "random" draws them.

    Args:
        quadratic: Q, Hermitian, of a trace >= 0, shape (N, N).
        method: how.
        samples: directions drawn from the relaxed solution.
        polish: coordinate ascent at the end, which the paper does not have.
        seed: of all draws.
        gap: relative duality gap of the relaxation to be proven.
        reference: solve the relaxation with CVXPY and this solver instead (slow; needs the extra `reference`).

    Raises:
        ValueError: an impossible argument, named.
    """
    form = np.asarray(quadratic, dtype=np.complex128)
    if form.ndim != 2 or form.shape[0] != form.shape[1] or not form.size or not np.isfinite(form).all():
        raise ValueError(f"quadratic has shape {form.shape}, expected finite numbers of shape (N, N), N >= 1")
    if np.trace(form).real < 0.0:
        raise ValueError("quadratic has a negative trace; add a multiple of the identity, which moves all values alike")
    if not np.allclose(form, form.conj().T, rtol=1e-9, atol=1e-12 * float(np.abs(form).max(initial=0.0))):
        raise ValueError("quadratic is not Hermitian")
    if method not in ("sdr", "ca", "random"):
        raise ValueError(f"method={method!r} does not exist; known: sdr, ca, random")
    if reference not in (None, "SCS", "CLARABEL"):
        raise ValueError(f"reference={reference!r} does not exist; known: SCS, CLARABEL")
    for name, number, least in (("samples", samples, 1), ("seed", seed, 0)):
        if not isinstance(number, int | np.integer) or number < least:
            raise ValueError(f"{name}={number!r} is not possible; give a whole number of at least {least}")
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
    relaxed, proven = float(found[0]), float(found[1])
    return Phases(
        phase=v[0] + 1j * v[1], value=float(value), relaxed=relaxed, bound=relaxed * (1.0 + proven), gap=proven,
        factor=factor[0] + 1j * factor[1], sweeps=int(found[2]),
    )  # fmt: skip


def _relax(
    q: FloatArray, rank: int, normals: FloatArray, gap: float, reference: Reference | None
) -> tuple[FloatArray, FloatArray]:
    """Factor (2, N, R) of the relaxed matrix, and its value, proven gap and sweeps."""
    elements = q.shape[1]
    x, z, y = np.zeros((2, elements, rank)), np.zeros((2, rank)), np.zeros(elements)
    s, column, report = np.zeros_like(q), np.zeros((2, elements)), np.zeros(3)
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
