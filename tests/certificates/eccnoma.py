"""Mutations of `ECCNOMA-v0`'s solvers: powers, subchannels, units with and without a pool, relaxed shares, rounding.

All losses are proven to be below the certificates: the powers' cost is convex in their logarithms, the units' duals
and tangents are bounds, and nobody sends cheaper than alone on the best subchannel. The optimum of the subchannels is
not known; their losses are measured from the unbroken search and are relative to the bound, as the certificate is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.core.kernels import order
from edge_envs.eccnoma.model import allocation
from edge_envs.eccnoma.solvers import api, assignment, band_powers, relaxation, server_units
from edge_envs.eccnoma.solvers import radio as radio_kernels
from tests.certificates.harness import Mutation, Solver
from tests.eccnoma import reference_server
from tests.eccnoma.solvers import reference_radio
from tests.eccnoma.solvers.problems import (
    DIRECTIONS,
    Floats,
    Ints,
    Pool,
    Radio,
    network,
    one_hot,
    random_pool,
    random_radio,
)


class Placed(NamedTuple):
    """Users on subchannels (U,) with powers (U,) [W] or shares (U, M)."""

    radio: Radio
    subchannel: Ints
    power_w: Floats


def crowded(seed: int) -> Radio:
    """Five users of two access points on two subchannels, all of different bits and weights."""
    radio = network(seed, (5, 2, 2), DIRECTIONS[seed % 3], energy_share=[0.05, 0.5, 0.9][seed % 3])
    rng = np.random.default_rng([7, seed])
    return radio._replace(
        bits=radio.bits * 10.0 ** rng.uniform(-1.0, 1.0, 5), energy_weight=10.0 ** rng.uniform(-1.0, 1.5, 5), capacity=5
    )


def placed(seed: int) -> Placed:
    """Users anywhere, powers between the limits."""
    radio = crowded(seed)
    rng = np.random.default_rng([8, seed])
    ratio = radio.power_max_w / radio.power_min_w
    return Placed(radio, rng.integers(0, 2, 5), radio.power_min_w * ratio ** rng.uniform(0.2, 0.8, 5))


def problem(radio: Radio) -> api.RadioProblem:
    """As the solvers want it."""
    return api.RadioProblem(**radio._asdict())


def tune(at: Placed) -> tuple[Floats, float]:
    """Powers and their certificate."""
    found = api.tune_powers(problem(at.radio), at.subchannel, at.power_w, iterations=2000)
    return found.power_w, found.power_gap


def cost_of_powers(at: Placed, power_w: Floats) -> float:
    """By the loops of the reference."""
    return reference_radio.cost(at.radio, one_hot(at.radio, at.subchannel), power_w)


def assign(radio: Radio) -> tuple[api.Assignment, float]:
    """The search and its certificate."""
    found = api.assign(problem(radio))
    return found, found.assignment_gap


def cost_of_assignment(radio: Radio, found: api.Assignment) -> float:
    """By the loops of the reference."""
    return reference_radio.cost(radio, one_hot(radio, found.subchannel), found.power_w)


def bound(radio: Radio, _: Any) -> float:
    """Cost of everybody alone."""
    return reference_radio.bound(radio)


def share(pool: Pool) -> tuple[Floats, float]:
    """Units and their certificate."""
    found = api.share_units(
        pool.work_flop, pool.delay_weight, pool.energy_coefficient, pool.units, units_max=pool.units_max,
        unit_speed_flop_s=pool.unit_speed_flop_s, overhead=pool.overhead,
    )  # fmt: skip
    return found.units, found.gap


def units_without_pool(seed: int) -> tuple[Floats, float]:
    """Units that users have for themselves in a frame, and `server_gap`."""
    env: Any = frame(seed)
    info = env.step(np.zeros(4, dtype=int))[4]
    return info["member_server_units"], info["server_gap"]


def frame(seed: int) -> Any:
    """A world whose users have different backlogs and send everything to servers without a pool."""
    env: Any = gym.make(
        "ECCNOMA-v0", num_users=4, pool_units=None, units_min=0.5, units_max=[8.0, 3.0][seed % 2], sweeps=0,
        server_energy_coefficient=[3e-29, 4e-28, 3e-27][seed % 3],
    ).unwrapped  # fmt: skip
    env.reset(seed=seed)
    env.state.queue[0] = [1.0, 7.0, 2.5, 16.0]
    return env


def cost_of_units(seed: int, units: Floats) -> float:
    """Delay of all waiting tasks and energy at the server, from the configuration."""
    env = frame(seed)
    c, p, s = env.system.config, env.system.parameters, env.state
    queue, work = s.queue[0], p.server_flop[s.network[0], 0]
    pool = Pool(
        work, c.weight_delay * queue * (queue + 1.0) / 2.0, c.weight_energy * queue * c.server_energy_coefficient, 1.0,
        1.0, c.unit_speed_flop_s, c.core_overhead,
    )  # fmt: skip
    return reference_server.cost(pool, units)


def relax(radio: Radio) -> tuple[api.Relaxed, float]:
    """Relaxed shares, and their cost over the bound."""
    found = api.relax(problem(radio), tolerance=1e-7, iterations=300)
    return found, found.cost / found.bound - 1.0


def cost_of_shares(radio: Radio, found: api.Relaxed) -> float:
    """By the loops of the reference."""
    return reference_radio.cost(radio, found.beta, found.power_w)


def round_shares(at: Placed) -> tuple[api.Assignment, float]:
    """Shares, as rows of different sharpness, rounded."""
    rng = np.random.default_rng(int(at.subchannel.sum()))
    beta = rng.dirichlet(np.full(len(at.radio.gain), 0.7), len(at.radio.ap))
    beta[np.arange(5), at.radio.gain[:, np.arange(5), at.radio.ap].argmax(axis=0)] += 1.0
    found = api.round_relaxed(problem(at.radio), beta / beta.sum(axis=1, keepdims=True), at.power_w)
    return found, found.assignment_gap


POWERS = Solver(
    "powers of a subchannel",
    [placed(seed) for seed in range(9)],
    tune,
    cost_of_powers,
    cost_of_powers,
    [
        Mutation("interference missing in the slope", band_powers.band_slope, "+= interference_price *", "+= 0.0 *"),
        Mutation("interference with the wrong sign", band_powers.band_slope, "price = -per_rate", "price = per_rate"),
        Mutation("energy counted three times", band_powers.band_slope, "+= r.energy_cost", "+= 3.0 * r.energy_cost"),
        Mutation("early stop", band_powers.descend_powers, "residual <= tolerance", "residual <= 0.2"),
        Mutation("limit halved", band_powers.descend_powers, "r.slope[0, i], 0.0), 1.0)", "r.slope[0, i], 0.0), 0.5)"),
        Mutation(
            "first user's slope for all", band_powers.descend_powers, "- step * r.slope[0, i]", "- step * r.slope[0, 0]"
        ),
        Mutation("uphill", band_powers.descend_powers, "- step * r.slope", "+ step * r.slope"),
        Mutation(
            "first user's power for all",
            band_powers.finish,
            "= r.seat_power_w[s, i]\n",
            "= r.seat_power_w[s, 0]\n",
        ),
        Mutation("power out of its limits", radio_kernels.power_at, "* math.exp(", "* 0.5 * math.exp("),
    ],
)
SEARCH = Solver(
    "subchannels by search",
    [crowded(seed) for seed in range(6)] + [random_radio(seed, DIRECTIONS[seed % 3], (7, 2, 3)) for seed in range(4)],
    assign,
    cost_of_assignment,
    bound,
    [
        Mutation(
            "least costly user first",
            order.sort_falling,
            "] < key",
            "] > key",
        ),
        Mutation("first subchannel instead of the best", assignment.best_join, "if cost < least or (", "if ("),
        Mutation("no sweeps", assignment.search, "range(sweeps if senders > 0 else 0)", "range(0)"),
        Mutation(
            "half of the candidates",
            assignment.find_candidates,
            "r.candidate.shape[1]",
            "r.candidate.shape[1] // 2",
        ),
        Mutation(
            "harm to others forgotten", radio_kernels.joining_cost, "coupling_of(link, r, s, v, k) * power_w", "0.0"
        ),
        Mutation(
            "own interference forgotten",
            radio_kernels.joining_cost,
            "other_w += coupling_of(",
            "other_w += 0.0 * coupling_of(",
        ),
        Mutation("moves that lose", assignment.sweep_moves, "saved > SAVING_MIN", "saved > -0.3"),
        Mutation(
            "interference never heard", radio_kernels.coupling_of, "return 0.0 if stronger else theirs", "return 0.0"
        ),
        Mutation("first user's gains for all", radio_kernels.take_seat, "gain[row, m, user, n]", "gain[row, m, 0, n]"),
    ],
)
POOL = Solver(
    "units of a pool",
    [pool for pool in map(random_pool, range(60)) if len(pool.work_flop) > 2 and pool.work_flop.min() > 0.0],
    share,
    reference_server.cost,
    reference_server.cost,
    [
        Mutation("no square root", server_units.share_pool, "math.sqrt(", "abs("),
        Mutation("weight forgotten", server_units.share_pool, "work_flop[i] * delay_weight[i])", "work_flop[i])"),
        Mutation("limit halved", server_units.share_pool, "units_max)", "0.5 * units_max)"),
        Mutation("limits forgotten", server_units.share_of, "if not full:", "if True:"),
        Mutation("too little left after a limit", server_units.share_of, "left -= taken", "left *= 0.3"),
        Mutation("half of the pool", server_units.share_of, "left = units", "left = 0.5 * units"),
        Mutation(
            "best speed without its factor",
            server_units.best_speed,
            "(2.0 * energy_coefficient)",
            "(16.0 * energy_coefficient)",
        ),
        Mutation(
            "last user's share for all",
            server_units.share_of,
            "given[i] = left * root[i]",
            "given[i] = left * root[-1]",
        ),
    ],
)
ALONE = Solver(
    "units without a pool",
    list(range(6)),
    units_without_pool,
    cost_of_units,
    cost_of_units,
    [
        Mutation("factor 2 forgotten", server_units.best_speed, "2.0 * energy", "energy"),
        Mutation("square root for the cube root", server_units.best_speed, "1.0 / 3.0", "1.0 / 2.0"),
        Mutation(
            "limit halved",
            allocation.separate_units,
            "p.unit_speed_flop_s, p.core_overhead), p.units_max)",
            "p.unit_speed_flop_s, p.core_overhead), 0.5 * p.units_max)",
        ),
        Mutation("first user's weight for all", allocation.separate_units, "w.server_weight[u]", "w.server_weight[0]"),
        Mutation("loss of cores forgotten", server_units.units_for, "* (1.0 - overhead) / left", "* 1.0"),
        Mutation(
            "weight over energy upside down",
            server_units.best_speed,
            "delay_weight / (2.0 * energy_coefficient)",
            "2.0 * energy_coefficient / delay_weight",
        ),
        Mutation("wrong factor", allocation.separate_units, "return min(units_for(", "return min(0.7 * units_for("),
    ],
)
RELAXED = Solver(
    "relaxed shares (Li-GD)",
    [crowded(seed) for seed in range(4)],
    relax,
    cost_of_shares,
    bound,
    [
        Mutation("early stop", relaxation.relax, "small_steps < 2", "done < 1"),
        Mutation("uphill in the shares", relaxation.mirror_step, "math.exp(-step", "math.exp(step"),
        Mutation(
            "powers' limit halved", relaxation.mirror_step, "- step * slope, 0.0), 1.0)", "- step * slope, 0.0), 0.5)"
        ),
        Mutation("interference missing in the slope", relaxation.add_interference_slope, "x.power_w[u] * harm", "0.0"),
        Mutation(
            "first user's slope for all", relaxation.mirror_step, "slope = x.power_slope[u]", "slope = x.power_slope[0]"
        ),
        Mutation(
            "own term with the wrong sign",
            relaxation.relaxed_slope,
            "= x.rate_slope[u] * link",
            "= -x.rate_slope[u] * link",
        ),
    ],
)
ROUNDED = Solver(
    "rounding of shares",
    [placed(seed) for seed in range(8)],
    round_shares,
    lambda at, found: cost_of_assignment(at.radio, found),
    lambda at, found: bound(at.radio, found),
    [
        Mutation(
            "smallest share",
            assignment.place_by_relaxation,
            "beta[s, user] > beta[best",
            "beta[s, user] < beta[best",
        ),
        Mutation(
            "first user's shares for all",
            assignment.place_by_relaxation,
            "beta[s, user] > beta[best, user]",
            "beta[s, 0] > beta[best, 0]",
        ),
        Mutation(
            "first subchannel",
            assignment.place_by_relaxation,
            "best < 0 or beta[s, user] > beta[best, user]",
            "best < 0",
        ),
        Mutation(
            "last subchannel",
            assignment.place_by_relaxation,
            "(best < 0 or beta[s, user] > beta[best, user])",
            "s >= 0",
        ),
        Mutation(
            "powers not tuned",
            assignment.place_by_relaxation,
            "finish(link, r, bands, last)",
            "finish(link, r, bands, 0)",
        ),
        Mutation(
            "half of the subchannels",
            assignment.place_by_relaxation,
            "for s in range(bands):\n            free",
            "for s in range(bands // 2):\n            free",
        ),
    ],
)
SOLVERS = (POWERS, SEARCH, POOL, ALONE, RELAXED, ROUNDED)
