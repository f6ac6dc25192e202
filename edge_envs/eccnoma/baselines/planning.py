"""Baselines for slices: planners that know the Markov chains, and rules that rank the users of an AP.

All use the observed channels and background loads, and no future random number.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.rules import Env, StatelessPolicy, WorldPolicy
from edge_envs.eccnoma.bounds import alone, costs_of
from edge_envs.eccnoma.bounds.slice_paths import best_hold, chain_values, move_value
from edge_envs.eccnoma.model.dynamics import BURST, QUIET
from edge_envs.eccnoma.model.parameters import Parameters
from edge_envs.eccnoma.model.state import State

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
HORIZON = 20
"""Frames that a planner looks ahead; chosen: with 10 or 80, the cost differs by less than 0.5 %."""
PRICES = (0.0, *(0.05 * 1.6**i for i in range(14)))
"""Prices of a slice per frame that a planner tries, as parts of the cost of a waiting task; chosen."""
SEARCH_STREAM = 0xECC5
"""First word of the seeds of the search below, so that no environment seed gives the same random numbers."""
SEARCH_EPISODES, SEARCH_FRAMES = 24, 100
"""Episodes on which the weights of the rule are searched, and their length; chosen."""
BURST_TASKS, STAY_FACTORS = (0.0, 2.0, 4.0, 8.0, 16.0, 32.0), (1.0, 1.25, 1.5, 2.0, 3.0, 5.0)
"""Weights that the search tries; see `Ranking`."""


class Ranking(NamedTuple):
    """Weights of a rule: users with the largest (Q + `burst_tasks` in a burst) x saving get slices."""

    burst_tasks: float  # tasks by which a burst counts
    stay_factor: float  # factor for users that hold a slice


def observed_alone(p: Parameters, s: State) -> list[FloatArray]:
    """`bounds.alone` with the observed channels and background loads."""
    return alone(p, s, s.seen_up, s.seen_down, s.seen_level)


def ranked_cuts(p: Parameters, s: State, rule: Ranking) -> IntArray:
    """Cuts (B, U): the fastest for the `slices` users of each AP with the largest score, the device for the others."""
    delay = observed_alone(p, s)[0]
    last = p.last_choice[s.network]
    device = np.take_along_axis(delay, last[:, :, None], axis=2)[:, :, 0]
    choice = np.arange(p.num_choices)
    offloads = (choice < p.choices[s.network][:, :, None]) & (choice != last[:, :, None])
    delay = np.where(offloads, delay, np.inf)
    score = (s.queue + rule.burst_tasks * s.phase) * np.maximum(device - delay.min(axis=2), 0.0)
    score = score * np.where(s.holds == 1, rule.stay_factor, 1.0)
    higher = score[:, None] > score[:, :, None]
    earlier = np.tri(p.num_users, k=-1, dtype=np.bool_)
    before = higher | ((score[:, None] == score[:, :, None]) & earlier)
    rank = (before & (s.ap[:, None] == s.ap[:, :, None])).sum(axis=2)
    return np.where((rank < p.slices) & (score > 0.0), delay.argmin(axis=2), last)


class RankingPolicy(StatelessPolicy):
    """Plays `ranked_cuts` in all worlds."""

    def __init__(self, env: Env, rule: Ranking) -> None:
        self.env, self.rule = env, rule

    def actions(self, observation: NDArray[Any]) -> NDArray[Any]:
        """Cuts of all worlds of the environment; only the number of axes of the observation is used."""
        batch = ranked_cuts(self.env.system.parameters, self.env.state, self.rule)
        return batch if observation.ndim == 2 else batch[0]


def one_step(env: Env, seed: int) -> RankingPolicy:
    """Slices for the users whose waiting tasks would save most time in a loaded slice now."""
    del seed
    return RankingPolicy(env, Ranking(0.0, 1.0))


def rank(env: Env, seed: int) -> RankingPolicy:
    """As `one-step`, with weights for bursts and for users that hold a slice, which were searched."""
    return RankingPolicy(env, searched_ranking(env.system, seed))


_RANKINGS: dict[tuple[str, int], Ranking] = {}


def searched_ranking(system: Any, seed: int) -> Ranking:
    """The weights with the smallest relative cost on episodes of random streams of their own."""
    key = system.config.model_dump_json(), seed
    if key not in _RANKINGS:
        tried = [Ranking(*each) for each in product(BURST_TASKS, STAY_FACTORS)]
        _RANKINGS[key] = min(tried, key=lambda rule: simulated_cost(system, seed, rule))
    return _RANKINGS[key]


def simulated_cost(system: Any, seed: int, rule: Ranking) -> float:
    """Relative cost of a rule on the episodes of the search."""
    rngs = [np.random.default_rng([SEARCH_STREAM, seed, row]) for row in range(SEARCH_EPISODES)]
    rows, state = np.arange(SEARCH_EPISODES), system.allocate(SEARCH_EPISODES)
    system.reset(state, rows, rngs)
    cost = 0.0
    for _ in range(SEARCH_FRAMES):
        cost -= float(system.step(state, rows, ranked_cuts(system.parameters, state, rule), rngs).reward.sum())
    return cost


class PlanningPolicy(WorldPolicy):
    """An index rule from the values of each user's own Markov chain, at a price per frame of a slice.

    Once per episode, `chain_values` gives each user's expected cost over `HORIZON` frames with its mean channels. In
    each frame, a user's index is the advantage of its best move that holds a slice over releasing it, with the present
    channels. The `slices` users of an AP with the largest positive indices get the slices.

    Args:
        env: the environment.
        together: the price is that which maximises the Lagrangian bound of the AP's users; False: there is no price,
            and all users with positive indices ask for a slice.
    """

    def __init__(self, env: Env, together: bool) -> None:
        super().__init__(env)
        self.together = together
        self._known: dict[int, tuple[bytes, list[FloatArray]]] = {}

    def action(self, row: int) -> NDArray[Any]:
        """The cuts (U,) for the next frame of a world."""
        p: Parameters = self.env.system.parameters
        s = row_of(self.env.state, row)
        key = s.path_gain.tobytes() + s.speed_flop_s.tobytes() + s.network.tobytes()
        if row not in self._known or self._known[row][0] != key:
            self._known[row] = key, self.values(p, s)
        values, costs = self._known[row][1], costs_of(p)
        delay, _, energy = (part[0] for part in observed_alone(p, s))
        network = s.network[0]
        cuts: IntArray = p.last_choice[network].copy()
        index = np.zeros(p.num_users)
        wanted = cuts.copy()
        for u in range(p.num_users):
            last, load = p.last_choice[network[u]], p.load_steps[network[u]]
            after, queue = values[u][s.phase[0, u]], float(s.queue[0, u])
            alone_cost = move_value(costs, after[0], queue, delay[u, last], energy[u, last])
            held, cut = best_hold(
                costs, after, queue, int(s.loaded[0, u]), delay[u], energy[u], load, p.choices[network[u]], last
            )
            index[u] = alone_cost - held
            wanted[u] = p.first_choice[network[u]] if cut == last else cut
        for n in range(p.num_aps):
            users = np.flatnonzero((s.ap[0] == n) & (index > 0.0))
            if self.together:
                users = users[np.argsort(-index[users], kind="stable")[: p.slices]]
            cuts[users] = wanted[users]
        return cuts

    def values(self, p: Parameters, s: State) -> list[FloatArray]:
        """Expected costs after a frame (2, S, R + 1) of each user, see `chain_values`."""
        delay, energy = mean_service(p, s)
        probability = np.array(
            [[1.0 - p.burst_begins_probability, p.burst_begins_probability],
             [p.burst_ends_probability, 1.0 - p.burst_ends_probability]]
        )  # fmt: skip
        arrival = np.array([poisson_probabilities(p.arrival_rate[z]) for z in (QUIET, BURST)])
        network, top, costs = s.network[0], math.ceil(p.queue_max), costs_of(p)
        values: list[FloatArray] = [np.zeros(0)] * p.num_users
        for n in range(p.num_aps):
            users, most = np.flatnonzero(s.ap[0] == n).tolist(), -np.inf
            for part in PRICES if self.together else (0.0,):
                price = part * p.weight_delay * p.frame_s
                found, total = {}, -price * p.slices * HORIZON
                for u in users:
                    load = p.load_steps[network[u]]
                    found[u] = np.zeros((2, int(load[p.first_choice[network[u]]]) + 1, top + 1))
                    total += chain_values(
                        costs, HORIZON, price, delay[u], energy[u], load, p.choices[network[u]],
                        p.last_choice[network[u]], probability, arrival, found[u],
                    )  # fmt: skip
                if total > most:
                    most = total
                    for u in users:
                        values[u] = found[u]
        return values


def row_of(s: State, row: int) -> State:
    """A view of one world of a state."""
    return State(*(part if name == "workspace" else part[row : row + 1] for name, part in s._asdict().items()))


def mean_service(p: Parameters, s: State) -> tuple[FloatArray, FloatArray]:
    """Delay and energy (U, C) of a task for the mean of the best subchannel's gain, averaged over background loads."""
    # The largest of M exponential numbers with mean 1 has the mean 1 + 1/2 + ... + 1/M.
    best = s.path_gain[:, None] * (1.0 / np.arange(1, p.num_subchannels + 1)).sum()
    parts = [
        alone(p, s, best, best, np.full((1, p.num_aps), level)) for level in range(len(p.background_levels))
    ]  # fmt: skip
    return np.mean([part[0][0] for part in parts], axis=0), np.mean([part[2][0] for part in parts], axis=0)


def poisson_probabilities(mean: float, most: int = 24) -> FloatArray:
    """Probabilities of 0, 1, ..., `most` arrivals; the last one includes all above."""
    found = np.exp(-mean) * np.cumprod(np.concatenate([[1.0], mean / np.arange(1, most + 1)]))
    found[-1] += max(1.0 - found.sum(), 0.0)
    return found


def planner(env: Env, seed: int) -> PlanningPolicy:
    """Slices by the indices of the users' own plans, at the best price of a slice. Knows the model."""
    del seed
    return PlanningPolicy(env, True)


def selfish_planner(env: Env, seed: int) -> PlanningPolicy:
    """Each user plans for itself, without a price, and asks for a slice if that is better for it alone."""
    del seed
    return PlanningPolicy(env, False)
