"""Radio problems of `ECCNOMA-v0` to be timed, and their cost and gradient by PyTorch's autograd.

All users send their raw image, or receive their result, over the channels of one frame of the environment. At every
size, the links are those of the preset `paper-literal`: bandwidth and noise of a subchannel, powers, capacity, area per
AP.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot, pad

from edge_envs.eccnoma.config import ECCNOMAConfig
from edge_envs.eccnoma.model import dynamics, state
from edge_envs.eccnoma.model.parameters import parameters_of
from edge_envs.eccnoma.solvers import api
from edge_envs.eccnoma.solvers.problem import RadioProblem, relaxed_memory
from edge_envs.eccnoma.solvers.radio import Radio
from edge_envs.eccnoma.solvers.relaxation import Relaxation

Array = NDArray[np.float64]
LITERAL = ECCNOMAConfig.from_options("paper-literal", {})
AGREEMENT = 1e-9
"""Largest difference between a gradient and ours, relative to the largest entry."""


class Size(NamedTuple):
    """Size of a problem."""

    users: int
    aps: int
    subchannels: int

    def __str__(self) -> str:
        """The size as it appears in a row's name."""
        return f"U = {self.users}, N = {self.aps}, M = {self.subchannels}"


def options_of(size: Size, balanced: bool = False) -> dict[str, Any]:
    """Options that scale the preset `paper-literal` to a size; if balanced, with equal numbers of users per cell."""
    return {
        "placement": "balanced" if balanced else "uniform",
        "num_users": size.users,
        "num_aps": size.aps,
        "num_subchannels": size.subchannels,
        "side_m": LITERAL.side_m * math.sqrt(size.aps / LITERAL.num_aps),
        "bandwidth_up_hz": LITERAL.bandwidth_up_hz * size.subchannels / LITERAL.num_subchannels,
        "bandwidth_down_hz": LITERAL.bandwidth_down_hz * size.subchannels / LITERAL.num_subchannels,
    }


def radio_problems(size: Size, seed: int, balanced: bool = False) -> tuple[RadioProblem, RadioProblem]:
    """Uplink and downlink of one frame in which the server does all the work."""
    config = ECCNOMAConfig.from_options("paper-literal", options_of(size, balanced))
    p = parameters_of(config)
    s = state.allocate(p, 1)
    dynamics.begin_episode(p, s, 0, np.random.default_rng(seed))
    band_hz = LITERAL.bandwidth_up_hz / LITERAL.num_subchannels
    per_user = np.ones(size.users)

    def problem(gain: Array, bits: float, low_w: float, high_w: float, direction: Any) -> RadioProblem:
        return RadioProblem(
            gain=gain, ap=s.ap[0], bits=bits * per_user, delay_weight=p.weight_delay * per_user,
            energy_weight=p.weight_energy * per_user, bandwidth_hz=band_hz, noise_w=p.noise_w_per_hz * band_hz,
            power_min_w=low_w, power_max_w=high_w, capacity=p.capacity, direction=direction,
        )  # fmt: skip

    raw_bits = float(p.bits_up[0, 0])
    return (
        problem(s.gain_up[0], raw_bits, p.power_up_min_w, p.power_up_max_w, "uplink"),
        problem(s.gain_down[0], p.result_bits, p.power_down_min_w, p.power_down_max_w, "downlink"),
    )


class Point:
    """Random shares and powers of a problem, with memory for our kernels' gradient."""

    def __init__(self, problem: RadioProblem, seed: int) -> None:
        self.problem = problem
        rng = np.random.default_rng(seed)
        self.beta = rng.dirichlet(np.ones(problem.subchannels), problem.users)
        self.power_w = problem.power_min_w * (problem.power_max_w / problem.power_min_w) ** rng.random(problem.users)
        self._radio, self.memory = relaxed_memory(problem, self.beta, self.power_w)
        self.expected = api.gradient(problem, self.beta, self.power_w)

    @property
    def arguments(self) -> tuple[Any, Radio, Relaxation, Array, int]:
        """Arguments of the kernels; the users are ordered already."""
        return self.problem.link, self._radio, self.memory, self.problem.gain[None], 0

    def check(self, label: str, cost: float, beta: Array, power_w: Array) -> None:
        """Raise RuntimeError if cost or derivatives in shares (U, M) and powers (U,) differ from `api.gradient`."""
        known = self.expected
        for name, found, value in (
            ("cost", np.array(cost), np.array(known.cost)),
            ("slope in the shares", beta, known.beta),
            ("slope in the powers", power_w, known.power_w),
        ):
            worst = float(np.abs(found - value).max() / np.abs(value).max())
            if not worst <= AGREEMENT:
                raise RuntimeError(f"{label}: {name} is off by {worst:.1e} of its largest, above {AGREEMENT:g}")


class TorchGradient:
    """Cost and gradient of a point by reverse-mode differentiation in float64; constants are computed before.

    Subchannels are the first axis, so that memory is read contiguously; users are sorted by AP.
    """

    def __init__(self, point: Point) -> None:
        problem = point.problem
        self.users = np.argsort(problem.ap, kind="stable")
        gain = np.ascontiguousarray(problem.gain[:, self.users])
        ap = problem.ap[self.users]
        own = np.take_along_axis(gain, ap[None, :, None], axis=2)[:, :, 0]
        self._delay_cost = torch.from_numpy((problem.delay_weight * problem.bits)[self.users])
        self._energy_cost = torch.from_numpy((problem.energy_weight * problem.bits)[self.users])
        self._scale = problem.bandwidth_hz / math.log(2.0)
        self._noise_w = problem.noise_w
        self.is_up = problem.direction == "uplink"
        self.own = torch.from_numpy(own)
        self.beta = torch.from_numpy(point.beta[self.users].T.copy()).requires_grad_()
        self.power_w = torch.from_numpy(point.power_w[self.users]).requires_grad_()
        self.prepare(gain, ap, own)

    def prepare(self, gain: Array, ap: NDArray[np.int64], own: Array) -> None:
        """Compute what depends on the gains (M, U, N) alone; `own` (M, U) are the gains to the users' own APs."""
        raise NotImplementedError

    def interference(self, sent_w: Tensor, received_w: Tensor) -> Tensor:
        """Interference (M, U) from beta p (M, U) and from beta p times the own gain."""
        raise NotImplementedError

    def cost(self) -> Tensor:
        """Sum of (w_T + w_E p) bits / R."""
        signal_w = self.own * self.power_w
        others_w = self.interference(self.beta * self.power_w, self.beta * signal_w)
        nats = torch.log1p(signal_w / (self._noise_w + others_w))
        rate = self._scale * (self.beta * nats).sum(dim=0)
        return ((self._delay_cost + self._energy_cost * self.power_w) / rate).sum()

    def solve(self) -> tuple[Tensor, Tensor, Tensor]:
        """Cost, and its derivatives in shares (M, U) and powers (U,), with users sorted by AP."""
        cost = self.cost()
        beta, power_w = torch.autograd.grad(cost, (self.beta, self.power_w))
        return cost, beta, power_w

    def natural(self, found: tuple[Tensor, Tensor, Tensor]) -> tuple[float, Array, Array]:
        """Convert the result of `solve` to numpy arrays (U, M) and (U,), with users in the problem's order."""
        back = np.argsort(self.users)
        return found[0].item(), found[1].numpy().T[back], found[2].numpy()[back]


class SortedGradient(TorchGradient):
    """Cumulative sums in the order of cancellation within a cell, a product with the gains between cells: O(U M N)."""

    def prepare(self, gain: Array, ap: NDArray[np.int64], own: Array) -> None:
        """Compute the orders of cancellation, from the user without interference on, and the gains between cells."""
        self._counts = np.bincount(ap, minlength=gain.shape[2]).tolist()
        order = np.empty(own.shape, dtype=np.int64)
        first = 0
        for count in self._counts:
            falling = np.argsort(-own[:, first : first + count], axis=1, kind="stable")
            order[:, first : first + count] = first + (falling[:, ::-1] if self.is_up else falling)
            first += count
        self._order, self._back = torch.from_numpy(order), torch.from_numpy(np.argsort(order, axis=1))
        cross = gain.copy()
        np.put_along_axis(cross, ap[None, :, None], 0.0, axis=2)
        self._cross, self._ap = torch.from_numpy(cross), torch.from_numpy(ap)
        self._cell = one_hot(self._ap, gain.shape[2]).to(torch.float64)

    def interference(self, sent_w: Tensor, received_w: Tensor) -> Tensor:
        """See `TorchGradient`."""
        ordered = (received_w if self.is_up else sent_w).gather(1, self._order)
        # Sums exclude the own term; subtracting it afterwards would leave rounding errors of the strong terms.
        sums = [torch.cumsum(pad(cell, (1, -1)), dim=1) for cell in ordered.split(self._counts, dim=1) if cell.numel()]
        inside_w = torch.cat(sums, dim=1).gather(1, self._back)
        if self.is_up:
            heard_w = torch.bmm(sent_w.unsqueeze(1), self._cross).squeeze(1)
            return inside_w + heard_w[:, self._ap]
        cells_w = (sent_w @ self._cell).unsqueeze(2)
        return self.own * inside_w + torch.bmm(self._cross, cells_w).squeeze(2)


class DenseGradient(TorchGradient):
    """A product with the table (M, U, U) of the interference of each pair of users per watt."""

    def prepare(self, gain: Array, ap: NDArray[np.int64], own: Array) -> None:
        """Compute the table."""
        rank = np.argsort(np.argsort(-own, axis=1, kind="stable"), axis=1)
        stronger = rank[:, None, :] < rank[:, :, None]
        same = ap[:, None] == ap
        if self.is_up:
            inside = np.where(stronger, 0.0, own[:, None, :])
            outside = gain.transpose(0, 2, 1)[:, ap]
        else:
            inside = np.where(stronger, own[:, :, None], 0.0)
            outside = gain[:, :, ap]
        table = np.where(same, inside, outside)
        table[:, np.arange(len(ap)), np.arange(len(ap))] = 0.0
        self._table = torch.from_numpy(table)

    def interference(self, sent_w: Tensor, received_w: Tensor) -> Tensor:
        """See `TorchGradient`."""
        del received_w
        return torch.bmm(self._table, sent_w.unsqueeze(2)).squeeze(2)
