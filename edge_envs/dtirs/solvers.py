"""The paper's optimisers for use from Python, each with its certificate; the environment calls the kernels behind them.

Units are SI; K users, N elements of the IRS, A antennas of the AP, M layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_envs.dtirs import links, phases, pool, power

Method = Literal["sdr", "ca", "random"]
Uplink = Literal["reciprocal", "hermitian", "independent"]
Reference = Literal["SCS", "CLARABEL"]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PowerAllocation:
    """Downlink powers (K,) [W], the delay they give [s], the price nu [s/W] and the relative KKT residual."""

    power_w: FloatArray
    delay_s: float
    price_s_per_w: float
    residual: float


@dataclass(frozen=True, slots=True)
class PoolShares:
    """Twin boosts and back-end speeds (K,) [FLOP/s], their delay [s], price [s per FLOP/s], relative KKT residual."""

    twin_boost_flop_s: FloatArray
    back_end_flop_s: FloatArray
    delay_s: float
    price: float
    residual: float


@dataclass(frozen=True, slots=True)
class TwinChoice:
    """Who computes on a twin (K,), the pool's shares then, all computing and sync delays [s], and a lower bound [s]."""

    twin: NDArray[np.bool_]
    shares: PoolShares
    delay_s: float
    bound_s: float


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


def _numbers(name: str, values: ArrayLike, low: float, users: int | None = None, strict: bool = False) -> FloatArray:
    """A fresh float array (K,) of finite numbers at or (strict) above `low`.

    Raises:
        ValueError: another shape or value.
    """
    array = np.array(values, dtype=np.float64, ndmin=1)
    if array.ndim != 1 or (users is not None and len(array) != users):
        raise ValueError(f"{name} has shape {array.shape}, expected ({'K' if users is None else users},)")
    bad = ~np.isfinite(array) | (array <= low if strict else array < low)
    if bad.any():
        raise ValueError(f"{name}={array[bad][0]!r} is not possible; give numbers {'>' if strict else '>='} {low:g}")
    return array


def _scalar(name: str, value: float) -> float:
    if not value > 0.0:
        raise ValueError(f"{name}={value!r} is not possible; give a number > 0")
    return float(value)


def lambert_w_of_exp(log_z: ArrayLike) -> FloatArray:
    """Lambert's W of exp(log_z), elementwise; log_z from -2000 to 1e4 and beyond."""
    array = np.asarray(log_z, dtype=np.float64)
    return np.array([power.lambert_w_of_exp(float(value)) for value in array.ravel()]).reshape(array.shape)


def allocate_power(
    gain_per_w: ArrayLike, nat_seconds: ArrayLike, power_total_w: float, power_max_w: float = math.inf,
    *, reference: bool = False,
) -> PowerAllocation:  # fmt: skip
    """Solve min sum_k c_k / ln(1 + a_k P_k), sum P <= P_total, 0 <= P <= P_max; (47)-(61).

    Args:
        gain_per_w: a_k = |h_k|^2 / sigma^2, shape (K,) [1/W].
        nat_seconds: c_k = D_k ln 2 / B, shape (K,) [s]; a user with 0 receives nothing and gets no power.
        power_total_w: sum of the powers [W].
        power_max_w: largest power of a user [W].
        reference: solve with CVXPY instead (slow; needs the extra `reference`).

    Raises:
        ValueError: an impossible argument, named.
    """
    nats = _numbers("nat_seconds", nat_seconds, 0.0)
    gain = _numbers("gain_per_w", gain_per_w, 0.0, len(nats))
    if (gain[nats > 0.0] == 0.0).any():
        raise ValueError("gain_per_w=0.0 is not possible for a user with nat_seconds > 0; its delay would be infinite")
    total, most = _scalar("power_total_w", power_total_w), _scalar("power_max_w", power_max_w)
    watts = np.zeros(len(nats))
    log_price = power.allocate_power(gain, nats, total, most, watts)
    if reference:
        from edge_envs.dtirs.reference import power as solve

        watts = solve(gain, nats, total, most)
        inner = (nats > 0.0) & (watts < most * (1.0 - 1e-6))
        if inner.any():
            log_price = float(np.mean([power.log_marginal(gain[k], nats[k], watts[k]) for k in np.flatnonzero(inner)]))
    delay = sum(power.transmit_delay(gain[k], nats[k], watts[k]) for k in range(len(nats)))
    residual = power.power_residual(gain, nats, total, most, watts, log_price)
    return PowerAllocation(watts, float(delay), math.exp(log_price), float(residual))


def _pool_arguments(
    front_flop: ArrayLike, speed_flop_s: ArrayLike, capacity_flop_s: float, back_flop: ArrayLike | None
) -> tuple[FloatArray, FloatArray, float, FloatArray]:
    front = _numbers("front_flop", front_flop, 0.0)
    speed = _numbers("speed_flop_s", speed_flop_s, 0.0, len(front), strict=True)
    capacity = _scalar("capacity_flop_s", capacity_flop_s)
    if capacity == math.inf:
        raise ValueError("capacity_flop_s=inf is not possible; give a finite number")
    back = np.zeros(len(front)) if back_flop is None else _numbers("back_flop", back_flop, 0.0, len(front))
    return front, speed, capacity, back


def _twins(twin: ArrayLike, users: int) -> NDArray[np.bool_]:
    array = np.array(twin)
    if array.shape != (users,) or array.dtype != np.bool_:
        raise ValueError(f"twin has shape {array.shape} and dtype {array.dtype}, expected ({users},) and bool")
    return array


def share_pool(
    front_flop: ArrayLike, speed_flop_s: ArrayLike, twin: ArrayLike, capacity_flop_s: float,
    back_flop: ArrayLike | None = None, *, reference: bool = False,
) -> PoolShares:  # fmt: skip
    """Solve min sum_twin Cf / (f + Df) + sum Cb / x, sum x + sum_twin Df <= F; without back ends (32).

    Args:
        front_flop: Cf, work of the front end, shape (K,) [FLOP].
        speed_flop_s: f, the devices' own speed, shape (K,) [FLOP/s].
        twin: who computes on a twin, shape (K,) bool.
        capacity_flop_s: F [FLOP/s].
        back_flop: Cb, work of the back end, shape (K,) [FLOP]; None for none.
        reference: solve with CVXPY instead (slow; needs the extra `reference`).

    Raises:
        ValueError: an impossible argument, named.
    """
    front, speed, capacity, back = _pool_arguments(front_flop, speed_flop_s, capacity_flop_s, back_flop)
    return _share(front, speed, _twins(twin, len(front)), capacity, back, reference)


def _share(
    front: FloatArray, speed: FloatArray, twins: NDArray[np.bool_], capacity: float, back: FloatArray, reference: bool
) -> PoolShares:
    boost, back_end = np.zeros(len(front)), np.zeros(len(front))
    s = pool.share_pool(front, back, speed, twins, capacity, boost, back_end)
    if reference and s > 0.0:
        from edge_envs.dtirs.reference import pool as solve

        boost, back_end = solve(front, speed, twins, capacity, back)
    delay = pool.pool_delay(front, back, speed, twins, boost, back_end)
    residual = pool.pool_residual(front, back, speed, twins, capacity, boost, back_end, s)
    return PoolShares(boost, back_end, float(delay), 1.0 / s**2 if s > 0.0 else 0.0, float(residual))


def choose_twins(
    front_flop: ArrayLike, speed_flop_s: ArrayLike, sync_s: ArrayLike, capacity_flop_s: float,
    back_flop: ArrayLike | None = None,
) -> TwinChoice:  # fmt: skip
    """Choose who computes on a twin, at the cost of `sync_s` (K,) [s] each, and share the pool; see `share_pool`.

    The choice is a local optimum over beginnings of an order and single changes, at most `delay_s - bound_s` from the
    best.

    Raises:
        ValueError: an impossible argument, named.
    """
    front, speed, capacity, back = _pool_arguments(front_flop, speed_flop_s, capacity_flop_s, back_flop)
    sync = _numbers("sync_s", sync_s, 0.0, len(front))
    twin = np.zeros(len(front), dtype=np.bool_)
    scratch, order = np.zeros(len(front)), np.zeros(len(front), dtype=np.int64)
    bound = pool.choose_twins(front, back, speed, sync, capacity, scratch, order, twin)
    shares = _share(front, speed, twin, capacity, back, reference=False)
    delay = shares.delay_s + float((front / speed)[~twin].sum() + sync[twin].sum())
    return TwinChoice(twin, shares, delay, float(bound))


def threshold_twins(
    front_flop: ArrayLike, speed_flop_s: ArrayLike, compute_delay_max_s: ArrayLike
) -> NDArray[np.bool_]:
    """Algorithm 2, rule (29): a twin for every user whose own computing takes longer than T_max, shape (K,).

    Raises:
        ValueError: an impossible argument, named.
    """
    front, speed, _, _ = _pool_arguments(front_flop, speed_flop_s, 1.0, None)
    most = _numbers("compute_delay_max_s", compute_delay_max_s, 0.0)
    if len(most) not in (1, len(front)):
        raise ValueError(f"compute_delay_max_s has shape {most.shape}, expected a number or ({len(front)},)")
    late: NDArray[np.bool_] = front / speed > most
    return late


def bisect_frequency(
    front_flop: ArrayLike, speed_flop_s: ArrayLike, twin: ArrayLike, capacity_flop_s: float, tolerance: float = 1e-9
) -> FloatArray:
    """Algorithm 3: boosts (K,) [FLOP/s] by bisection of the price, in a bracket and with a relative tolerance.

    As printed it has no bracket and never ends where nobody has a twin; `share_pool` is exact and faster.

    Raises:
        ValueError: an impossible argument, named.
    """
    front, speed, capacity, _ = _pool_arguments(front_flop, speed_flop_s, capacity_flop_s, None)
    boosted = _twins(twin, len(front)) & (front > 0.0)
    if not boosted.any():
        return np.zeros(len(front))

    def boost(price: float) -> FloatArray:
        return np.where(boosted, np.maximum(np.sqrt(front / price) - speed, 0.0), 0.0)

    low = float(front[boosted].min() / (speed.sum() + capacity) ** 2)
    high = float((front / speed**2)[boosted].max())
    while boost(low).sum() < capacity:
        low /= 4.0
    for _ in range(2000):
        price = math.sqrt(low * high)
        used = boost(price).sum()
        if abs(used - capacity) <= tolerance * capacity:
            break
        low, high = (price, high) if used > capacity else (low, price)
    return boost(math.sqrt(low * high))


def search_cuts(
    front_flop: ArrayLike, speed_flop_s: ArrayLike, twin: ArrayLike, twin_boost_flop_s: ArrayLike
) -> NDArray[np.int64]:
    """Algorithm 1: each user's cut (K,), from 1, with the least delay at fixed twins and boosts, (28).

    In the printed model the other delays and the loss are the same at every cut, and the work grows with it: the answer
    is 1 wherever the first layer is not free and the next ones not either.

    Args:
        front_flop: work up to each cut, shape (K, M) [FLOP].
        speed_flop_s: the devices' own speed, shape (K,) [FLOP/s].
        twin: who computes on a twin, shape (K,) bool.
        twin_boost_flop_s: the twins' boosts, shape (K,) [FLOP/s].

    Raises:
        ValueError: an impossible argument, named.
    """
    work = np.asarray(front_flop, dtype=np.float64)
    if work.ndim != 2 or work.shape[1] == 0 or not (np.isfinite(work) & (work >= 0.0)).all():
        raise ValueError(f"front_flop has shape {work.shape}, expected (K, M) finite numbers >= 0 with M >= 1")
    speed = _numbers("speed_flop_s", speed_flop_s, 0.0, len(work), strict=True)
    boost = _numbers("twin_boost_flop_s", twin_boost_flop_s, 0.0, len(work))
    boosted = speed + np.where(_twins(twin, len(work)), boost, 0.0)
    return np.argmin(work / boosted[:, None], axis=1).astype(np.int64) + 1


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
    if uplink not in links.UPLINKS:
        raise ValueError(f"uplink={uplink!r} does not exist; known: {', '.join(links.UPLINKS)}")
    kind = links.UPLINKS.index(uplink)
    users = _split("irs_ud", np.atleast_2d(irs_ud))
    elements = users.shape[3]
    antennas = np.shape(ap_irs)[-1]
    if np.shape(ap_irs) != (elements, antennas):
        raise ValueError(f"ap_irs has shape {np.shape(ap_irs)}, expected ({elements}, A) for irs_ud {users.shape[2:]}")
    down, up = np.zeros((1, 2, elements, elements)), np.zeros((1, 2, elements, elements))
    links.gram(_split("ap_irs", np.asarray(ap_irs).T), down, 0)
    if kind == links.INDEPENDENT:
        if np.shape(irs_ap) != (antennas, elements):
            raise ValueError(f"irs_ap has shape {np.shape(irs_ap)}, expected ({antennas}, {elements}) with {uplink=}")
        links.gram(_split("irs_ap", np.conj(irs_ap)), up, 0)
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
        np.ones(count) if weight is None else _numbers(name, weight, -math.inf, count)
        for name, weight in (("weight_dl", weight_dl), ("weight_ul", weight_ul))
    ]
    q, spread = np.zeros((2, elements, elements)), np.zeros((2, elements, elements))
    links.quadratic_form(down, up, users, kind, weights[0], weights[1], spread, q, 0)
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
    gain_down, gain_up = np.zeros((1, count)), np.zeros((1, count))
    w, y = np.zeros((2, elements)), np.zeros((2, elements))
    links.link_gains(down, up, users, kind, _split("phase", phase), w, y, gain_down, gain_up, 0)
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
    _scalar("gap", gap)
    elements = len(form)
    q = np.ascontiguousarray(np.stack([form.real, form.imag]))
    rank = phases.factor_rank(elements)
    normals = np.random.default_rng(seed).standard_normal((1, 2 * rank * (elements + samples)))
    v, y = np.zeros((2, elements)), np.zeros((2, elements))
    found, factor = np.array([math.nan, math.nan, 0.0]), np.zeros((2, elements, 0))
    if method == "sdr":
        factor, found = _relax(q, rank, normals, gap, reference)
        rank = factor.shape[2]
        value = phases.randomise(q, factor, normals, 0, 2 * rank * elements, samples, v, np.zeros_like(v), y)
    else:
        phases.random_phases(v, normals, 0, 0)
        value = phases.apply(q, v, y)
    if method == "ca" or (method == "sdr" and polish):
        value = phases.polish(q, v, y)
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
    from edge_envs.dtirs.reference import phases as solve

    levels, vectors = np.linalg.eigh(solve(q[0] + 1j * q[1], reference))
    full = vectors * np.sqrt(np.maximum(levels, 0.0))
    full /= np.linalg.norm(full, axis=1, keepdims=True)
    keep = full[:, -rank:] / np.linalg.norm(full[:, -rank:], axis=1, keepdims=True)
    x = np.ascontiguousarray(np.stack([keep.real, keep.imag]))
    value = phases.multipliers(q, x, z, y)
    return x, np.array([value, phases.certified_gap(q, y, value, gap, 1.0, s, column), 0.0])
