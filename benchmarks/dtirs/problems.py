"""Convex problems of `DTIRS-v0` to be timed, from frames at random cuts, and their solution by CVXPY."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.io.extras import load_cvxpy
from edge_envs.dtirs.config import DTIRSConfig
from edge_envs.dtirs.model import calibration, dynamics, state
from edge_envs.dtirs.model.parameters import Parameters, parameters_of
from edge_envs.dtirs.model.state import State
from edge_envs.dtirs.solvers import reference_cvxpy


def new_frame(preset: str, seed: int, **options: Any) -> tuple[Parameters, State]:
    """One world at its first frame and at random cuts, with its allocation in the workspace."""
    config = DTIRSConfig.from_options(preset, {"cuts": "all", "phase": "ca", **options})
    p = parameters_of(config)
    s = state.allocate(p, 1)
    rng = np.random.default_rng(seed)
    dynamics.draw(s, 0, rng)
    dynamics.begin_episode(p, s, 0)
    s.choice[0] = rng.integers(len(p.cut_numbers), size=p.num_devices)
    calibration.objective(p, s, 0)
    return p, s


class Powers:
    """Downlink powers of a frame, (47)-(49)."""

    def __init__(self, devices: int, seed: int) -> None:
        p, s = new_frame("default", seed, num_devices=devices)
        self.gain_per_w, self.unit_delay_s = s.workspace.gain_per_w, s.workspace.unit_delay_s
        self.total_w, self.most_w = p.power_total_w, p.power_max_w
        self.power_w = np.zeros(devices)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Arguments of the kernel, except the number of solves."""
        return self.gain_per_w, self.unit_delay_s, self.total_w, self.most_w, self.power_w

    def delay(self, power_w: NDArray[np.float64]) -> float:
        """Sum of the delays of the devices that receive data [s]."""
        busy = self.unit_delay_s > 0.0
        return float((self.unit_delay_s[busy] / np.log1p(self.gain_per_w[busy] * power_w[busy])).sum())

    @property
    def objective(self) -> float:
        """Objective of the kernel's last solution [s]."""
        return self.delay(self.power_w)

    def rebuilt(self) -> float:
        """Build and solve the problem by CVXPY; returns the objective [s]."""
        return self.delay(reference_cvxpy.power(self.gain_per_w, self.unit_delay_s, self.total_w, self.most_w))

    def compile(self) -> Callable[[], float]:
        """Compile the problem once; returns a function that solves it by CVXPY and returns the objective [s].

        The variables are SNRs, so that no product of two parameters occurs.
        """
        cp = load_cvxpy()
        busy = self.unit_delay_s > 0.0
        equal_w = self.total_w / busy.sum()
        gain, weight = self.gain_per_w[busy] * equal_w, self.unit_delay_s[busy]
        snr = cp.Variable(len(gain), nonneg=True)
        weights, inverses = (cp.Parameter(len(gain), nonneg=True) for _ in range(2))
        shares = cp.multiply(inverses, snr)
        limits = [cp.sum(shares) <= len(gain), shares <= self.most_w / equal_w]
        problem = cp.Problem(cp.Minimize(weights @ cp.inv_pos(cp.log1p(snr))), limits)

        def solve() -> float:
            weights.value, inverses.value = weight / weight.max(), 1.0 / gain
            problem.solve(solver="CLARABEL")
            found = np.zeros(len(busy))
            found[busy] = snr.value / self.gain_per_w[busy]
            return self.delay(found)

        solve()
        return solve


class Shares:
    """Speeds of the twins and back ends of a frame; with `printed`, only of twins by rule (29), which is (32)."""

    def __init__(self, printed: bool, devices: int, seed: int) -> None:
        preset, options = ("paper", {"devices": "episode"}) if printed else ("default", {})
        _, s = new_frame(preset, seed, num_devices=devices, **options)
        self.front_flop, self.back_flop = s.workspace.front_flop, s.workspace.back_flop
        self.speed_flop_s, self.twin = s.workspace.speed_flop_s, s.workspace.twin
        self.capacity_flop_s = float(s.capacity_flop_s[0])
        self.boost_flop_s, self.back_end_flop_s = np.zeros(devices), np.zeros(devices)

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Arguments of the kernel, except the number of solves."""
        given = self.front_flop, self.back_flop, self.speed_flop_s, self.twin, self.capacity_flop_s
        return *given, self.boost_flop_s, self.back_end_flop_s

    def delay(self, boost_flop_s: NDArray[np.float64], back_end_flop_s: NDArray[np.float64]) -> float:
        """Sum of the delays of twins and back ends [s]."""
        twin, back = self.twin, self.back_flop > 0.0
        front = self.front_flop[twin] / (self.speed_flop_s + boost_flop_s)[twin]
        return float(front.sum() + (self.back_flop[back] / back_end_flop_s[back]).sum())

    @property
    def objective(self) -> float:
        """Objective of the kernel's last solution [s]."""
        return self.delay(self.boost_flop_s, self.back_end_flop_s)

    def rebuilt(self) -> float:
        """Build and solve the problem by CVXPY; returns the objective [s]."""
        found = reference_cvxpy.pool(
            self.front_flop, self.speed_flop_s, self.twin, self.capacity_flop_s, self.back_flop
        )
        return self.delay(*found)

    def compile(self) -> Callable[[], float]:
        """Compile the problem once; returns a function that solves it by CVXPY and returns the objective [s].

        The variables are total speeds, so that no parameter is inside an inverse.
        """
        cp = load_cvxpy()
        twins, backs = np.flatnonzero(self.twin), np.flatnonzero(self.back_flop > 0.0)
        work = np.concatenate((self.front_flop[twins], self.back_flop[backs]))
        unit = self.capacity_flop_s / len(work)
        own = np.concatenate((self.speed_flop_s[twins], np.zeros(len(backs)))) / unit
        speed = cp.Variable(len(work))
        weights, least, most = cp.Parameter(len(work), nonneg=True), cp.Parameter(len(work)), cp.Parameter()
        limits = [speed >= least, cp.sum(speed) <= most]
        problem = cp.Problem(cp.Minimize(weights @ cp.inv_pos(speed)), limits)

        def solve() -> float:
            weights.value, least.value, most.value = work / work.max(), own, len(work) + own.sum()
            problem.solve(solver="CLARABEL")
            boost, back_end = np.zeros(len(self.twin)), np.zeros(len(self.twin))
            found = (speed.value - own) * unit
            boost[twins], back_end[backs] = found[: len(twins)], found[len(twins) :]
            return self.delay(boost, back_end)

        solve()
        return solve


Problem = Powers | Shares
