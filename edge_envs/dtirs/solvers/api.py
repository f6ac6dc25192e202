"""The paper's optimisers for use from Python, with checked arguments; the environment calls the kernels directly.

Powers, shares, twins and relaxed phases come with a certificate. Algorithms 1 and 2 (`search_cuts`, `threshold_twins`)
are rules for each device alone and have none.

Units are SI; K users, N elements of the IRS, A antennas of the AP, M layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_envs.core.kernels.bracket import narrowed
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
    """Downlink powers (K,) [W], their delay [s], the power price nu [s/W] and the relative KKT residual."""

    power_w: FloatArray
    delay_s: float
    price_s_per_w: float
    residual: float


@dataclass(frozen=True, slots=True)
class PoolShares:
    """Twin boosts and back-end speeds (K,) [FLOP/s], delay [s], pool price [s per FLOP/s], relative KKT residual."""

    twin_boost_flop_s: FloatArray
    back_end_flop_s: FloatArray
    delay_s: float
    price: float
    residual: float


@dataclass(frozen=True, slots=True)
class TwinChoice:
    """Users with a twin (K,), pool shares, delay of computing and synchronisation [s], its lower bound [s]."""

    twin: NDArray[np.bool_]
    shares: PoolShares
    delay_s: float
    bound_s: float


def lambert_w_of_exp(log_z: ArrayLike) -> FloatArray:
    """Lambert's W of exp(log_z), elementwise, for any real log_z."""
    array = np.asarray(log_z, dtype=np.float64)
    return np.array([power.lambert_w_of_exp(float(value)) for value in array.ravel()]).reshape(array.shape)


def allocate_power(
    gain_per_w: ArrayLike, unit_delay_s: ArrayLike, power_total_w: float, power_max_w: float = math.inf, *,
    reference: bool = False,
) -> PowerAllocation:  # fmt: skip
    """Solve min sum_k c_k / ln(1 + a_k P_k), sum P <= P_total, 0 <= P <= P_max; (47)-(61).

    Args:
        gain_per_w: a_k = |h_k|^2 / sigma^2, shape (K,) [1/W].
        unit_delay_s: c_k = D_k ln 2 / B, the delay at 1 nat/s/Hz, shape (K,) [s]; users with 0 get no power.
        power_total_w: budget of the powers [W].
        power_max_w: limit of one user [W].
        reference: solve with CVXPY instead (slow; needs the extra `reference`).

    Raises:
        ValueError: an impossible argument; the message names it.
    """
    delay = finite_array("unit_delay_s", unit_delay_s, (None,))
    gain = finite_array("gain_per_w", gain_per_w, (len(delay),))
    if (gain[delay > 0.0] == 0.0).any():
        raise ValueError("gain_per_w=0.0 is not possible for a user with unit_delay_s > 0; give a positive gain")
    total = positive_number("power_total_w", power_total_w)
    limit = positive_number("power_max_w", power_max_w, infinite=True)
    watts = np.zeros(len(delay))
    log_price = power.allocate_power(gain, delay, total, limit, watts)
    if reference:
        from edge_envs.dtirs.solvers.reference_cvxpy import power as solve

        watts = solve(gain, delay, total, limit)
        inner = (delay > 0.0) & (watts < limit * (1.0 - 1e-6))
        if inner.any():
            log_price = float(np.mean([power.log_marginal(gain[k], delay[k], watts[k]) for k in np.flatnonzero(inner)]))
    total_delay = sum(power.transmit_delay(gain[k], delay[k], watts[k]) for k in range(len(delay)))
    residual = certificates.power_residual(gain, delay, total, limit, watts, log_price)
    return PowerAllocation(watts, float(total_delay), math.exp(log_price), float(residual))


def _pool_arguments(
    front_flop: ArrayLike, speed_flop_s: ArrayLike, capacity_flop_s: float, back_flop: ArrayLike | None
) -> tuple[FloatArray, FloatArray, float, FloatArray]:
    front = finite_array("front_flop", front_flop, (None,))
    speed = finite_array("speed_flop_s", speed_flop_s, (len(front),), strict=True)
    capacity = positive_number("capacity_flop_s", capacity_flop_s)
    back = np.zeros(len(front)) if back_flop is None else finite_array("back_flop", back_flop, (len(front),))
    return front, speed, capacity, back


def _twins(twin: ArrayLike, users: int) -> NDArray[np.bool_]:
    array = np.array(twin)
    if array.shape != (users,) or array.dtype != np.bool_:
        raise ValueError(f"twin has shape {array.shape} and dtype {array.dtype}; give booleans of shape ({users},)")
    return array


def share_pool(
    front_flop: ArrayLike, speed_flop_s: ArrayLike, twin: ArrayLike, capacity_flop_s: float,
    back_flop: ArrayLike | None = None, *, reference: bool = False,
) -> PoolShares:  # fmt: skip
    """Solve min sum_twin Cf / (f + Df) + sum Cb / x, sum x + sum_twin Df <= F; without back ends (32).

    Args:
        front_flop: Cf, work before the cut, shape (K,) [FLOP].
        speed_flop_s: f, speed of the devices, shape (K,) [FLOP/s].
        twin: who computes on a twin, shape (K,) bool.
        capacity_flop_s: F [FLOP/s].
        back_flop: Cb, work behind the cut, shape (K,) [FLOP]; None for none.
        reference: solve with CVXPY instead (slow; needs the extra `reference`).

    Raises:
        ValueError: an impossible argument; the message names it.
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
    """Choose the users that compute on a twin, at a cost of `sync_s` (K,) [s], and share the pool; see `share_pool`.

    The choice is a local optimum; its delay exceeds the optimum by at most `delay_s - bound_s`.

    Raises:
        ValueError: an impossible argument; the message names it.
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
    """Algorithm 2, rule (29): a twin for every user whose computing time exceeds T_max, shape (K,).

    Raises:
        ValueError: an impossible argument; the message names it.
    """
    front, speed, _, _ = _pool_arguments(front_flop, speed_flop_s, 1.0, None)
    limit = finite_array("compute_delay_max_s", np.atleast_1d(compute_delay_max_s), (None,))
    if len(limit) not in (1, len(front)):
        raise ValueError(f"compute_delay_max_s has shape {limit.shape}, expected a number or ({len(front)},)")
    late: NDArray[np.bool_] = front / speed > limit
    return late


def bisect_frequency(
    front_flop: ArrayLike, speed_flop_s: ArrayLike, twin: ArrayLike, capacity_flop_s: float, tolerance: float = 1e-9
) -> PoolShares:
    """Algorithm 3: the twins' boosts by bisection on the pool price, in a bracket and to a relative tolerance.

    As printed, it has no bracket and does not terminate if no device has a twin. `share_pool` is exact and faster.

    Raises:
        ValueError: an impossible argument; the message names it.
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
        low, high = narrowed(low, high, price, bool(used > capacity))
    price = math.sqrt(low * high)
    return _certified(front, speed, twins, capacity, none, boost(price), none.copy(), 1.0 / math.sqrt(price))


def search_cuts(
    front_flop: ArrayLike, speed_flop_s: ArrayLike, twin: ArrayLike, twin_boost_flop_s: ArrayLike
) -> NDArray[np.int64]:
    """Algorithm 1: each user's cut (K,), counted from 1, with the smallest delay at fixed twins and boosts, (28).

    In the printed model the other delays and the loss do not depend on the cut, and the work grows with it. So the
    answer is 1, unless the first layers need no work.

    Args:
        front_flop: work before each cut, shape (K, M) [FLOP].
        speed_flop_s: speed of the devices, shape (K,) [FLOP/s].
        twin: who computes on a twin, shape (K,) bool.
        twin_boost_flop_s: boosts of the twins, shape (K,) [FLOP/s].

    Raises:
        ValueError: an impossible argument; the message names it.
    """
    work = finite_array("front_flop", front_flop, (None, None))
    if work.shape[1] == 0:
        raise ValueError(f"front_flop has shape {work.shape}, expected (K, M) with M >= 1")
    speed = finite_array("speed_flop_s", speed_flop_s, (len(work),), strict=True)
    boost = finite_array("twin_boost_flop_s", twin_boost_flop_s, (len(work),))
    boosted = speed + np.where(_twins(twin, len(work)), boost, 0.0)
    return np.argmin(work / boosted[:, None], axis=1).astype(np.int64) + 1
