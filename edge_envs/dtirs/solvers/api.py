"""The paper's optimisers for use from Python; the environment calls the kernels behind them.

Powers, shares, twins and relaxed phases come with a certificate. Algorithms 1 and 2 (`search_cuts`, `threshold_twins`)
are rules that optimise nothing but a device's own delay, and certify nothing.

Units are SI; K users, N elements of the IRS, A antennas of the AP, M layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_envs.core.validation import FloatArray, finite_array, positive_number
from edge_envs.dtirs.solvers import certificates, compute_pool, power
from edge_envs.dtirs.solvers.api_phases import Phases, link_gains, optimise_phases, phase_quadratic

__all__ = [
    "Phases", "PoolShares", "PowerAllocation", "TwinChoice", "allocate_power", "bisect_frequency", "choose_twins",
    "lambert_w_of_exp", "link_gains", "optimise_phases", "phase_quadratic", "search_cuts", "share_pool",
    "threshold_twins",
]  # fmt: skip


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
    nats = finite_array("nat_seconds", nat_seconds, (None,))
    gain = finite_array("gain_per_w", gain_per_w, (len(nats),))
    if (gain[nats > 0.0] == 0.0).any():
        raise ValueError("gain_per_w=0.0 is not possible for a user with nat_seconds > 0; its delay would be infinite")
    total, most = (
        positive_number("power_total_w", power_total_w, infinite=True),
        positive_number("power_max_w", power_max_w, infinite=True),
    )
    if total == math.inf:
        raise ValueError("power_total_w=inf is not possible; give a finite number")
    watts = np.zeros(len(nats))
    log_price = power.allocate_power(gain, nats, total, most, watts)
    if reference:
        from edge_envs.dtirs.solvers.reference_cvxpy import power as solve

        watts = solve(gain, nats, total, most)
        inner = (nats > 0.0) & (watts < most * (1.0 - 1e-6))
        if inner.any():
            log_price = float(np.mean([power.log_marginal(gain[k], nats[k], watts[k]) for k in np.flatnonzero(inner)]))
    delay = sum(power.transmit_delay(gain[k], nats[k], watts[k]) for k in range(len(nats)))
    residual = certificates.power_residual(gain, nats, total, most, watts, log_price)
    return PowerAllocation(watts, float(delay), math.exp(log_price), float(residual))


def _pool_arguments(
    front_flop: ArrayLike, speed_flop_s: ArrayLike, capacity_flop_s: float, back_flop: ArrayLike | None
) -> tuple[FloatArray, FloatArray, float, FloatArray]:
    front = finite_array("front_flop", front_flop, (None,))
    speed = finite_array("speed_flop_s", speed_flop_s, (len(front),), strict=True)
    capacity = positive_number("capacity_flop_s", capacity_flop_s, infinite=True)
    if capacity == math.inf:
        raise ValueError("capacity_flop_s=inf is not possible; give a finite number")
    back = np.zeros(len(front)) if back_flop is None else finite_array("back_flop", back_flop, (len(front),))
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
    s = compute_pool.share_pool(front, back, speed, twins, capacity, boost, back_end)
    if reference and s > 0.0:
        from edge_envs.dtirs.solvers.reference_cvxpy import pool as solve

        boost, back_end = solve(front, speed, twins, capacity, back)
    return _certified(front, speed, twins, capacity, back, boost, back_end, s)


def _certified(
    front: FloatArray, speed: FloatArray, twins: NDArray[np.bool_], capacity: float, back: FloatArray,
    boost: FloatArray, back_end: FloatArray, s: float,
) -> PoolShares:  # fmt: skip
    delay = compute_pool.pool_delay(front, back, speed, twins, boost, back_end)
    residual = certificates.pool_residual(front, back, speed, twins, capacity, boost, back_end, s)
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
    sync = finite_array("sync_s", sync_s, (len(front),))
    twin = np.zeros(len(front), dtype=np.bool_)
    scratch, order = np.zeros(len(front)), np.zeros(len(front), dtype=np.int64)
    root_price = compute_pool.choose_twins(front, back, speed, sync, capacity, scratch, order, twin)
    bound = certificates.computing_bound(front, back, speed, sync, capacity, root_price)
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
    most = finite_array("compute_delay_max_s", compute_delay_max_s, (None,))
    if len(most) not in (1, len(front)):
        raise ValueError(f"compute_delay_max_s has shape {most.shape}, expected a number or ({len(front)},)")
    late: NDArray[np.bool_] = front / speed > most
    return late


def bisect_frequency(
    front_flop: ArrayLike, speed_flop_s: ArrayLike, twin: ArrayLike, capacity_flop_s: float, tolerance: float = 1e-9
) -> PoolShares:
    """Algorithm 3: the twins' boosts by bisection of the price, in a bracket and with a relative tolerance.

    As printed it has no bracket and never ends where nobody has a twin; `share_pool` is exact and faster.

    Raises:
        ValueError: an impossible argument, named.
    """
    front, speed, capacity, _ = _pool_arguments(front_flop, speed_flop_s, capacity_flop_s, None)
    positive_number("tolerance", tolerance, infinite=True)
    twins, none = _twins(twin, len(front)), np.zeros(len(front))
    boosted = twins & (front > 0.0)
    if not boosted.any():
        return _certified(front, speed, twins, capacity, none, none.copy(), none.copy(), 0.0)

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
    price = math.sqrt(low * high)
    return _certified(front, speed, twins, capacity, none, boost(price), none.copy(), 1.0 / math.sqrt(price))


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
    speed = finite_array("speed_flop_s", speed_flop_s, (len(work),), strict=True)
    boost = finite_array("twin_boost_flop_s", twin_boost_flop_s, (len(work),))
    boosted = speed + np.where(_twins(twin, len(work)), boost, 0.0)
    return np.argmin(work / boosted[:, None], axis=1).astype(np.int64) + 1
