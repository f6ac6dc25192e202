"""Baselines (constant cuts, rules of earlier papers, the paper's algorithm, searches in every step) and ablations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.rules import (
    Ablation,
    BaselineFactory,
    BestConstantPolicy,
    Env,
    Policy,
    RulePolicy,
    copy_row,
    random_actions,
)
from edge_envs.eccnoma.baselines import planning, search
from edge_envs.eccnoma.bounds import uncovered
from edge_envs.eccnoma.config import Access, Assignment, ECCNOMAConfig
from edge_envs.eccnoma.model import dynamics
from edge_envs.eccnoma.model.parameters import Parameters, parameters_of
from edge_envs.eccnoma.model.reward import M
from edge_envs.eccnoma.model.state import State, allocate

CutRule = Callable[[Parameters, State], NDArray[np.int64]]
"""Chooses the cuts (U,) of the next step, given a copy of a world (a *sketch*, a state with one row)."""

USER_FIELDS = ("network", "speed_flop_s", "place_m", "ap", "path_gain", "reference")
"""Fields of the state that are constant during an episode."""
TRUE_FIELDS = {name: name for name in (*USER_FIELDS, "queue", "gain_up", "gain_down", "level", "keys")}
"""Field of a sketch -> field of the state, for rules that use the true channels and background loads."""
SEEN_FIELDS = {
    **{name: name for name in (*USER_FIELDS, "queue")},
    "gain_up": "seen_up", "gain_down": "seen_down", "level": "seen_level",
}  # fmt: skip
"""Field of a sketch -> field of the state, for rules that use the observed channels and background loads."""
STATIC_EPISODES, STATIC_STEPS, STATIC_PASSES = 2, 60, 2
"""Simulated episodes, their steps, and passes of the search for constant cuts; chosen."""
SEARCHED_USERS_MAX = 64
"""Largest number of users for baselines whose search time is at least quadratic in it; chosen."""
SURGEON_UNITS = 240.0
"""Units of an AP that DNN surgeon divides if no pool is configured; fitted to Figs. 4 and 5."""
STATIC_STREAM = 0xECC0
"""Separates the random streams of the search for constant cuts from those of all environment seeds."""


def available(config: ECCNOMAConfig) -> Mapping[str, BaselineFactory]:
    """Baselines for a configuration, by name.

    Rules that decide in every step use the current tasks, and all observed channels and background loads (the agent
    only observes summaries). If csi_delay=1, each has a variant `<name>-true` that uses the true ones. With slices,
    there are fewer of these rules, which ignore slices, and planners and rankings in addition.
    """
    rules: dict[str, Callable[[bool, Env, int], Policy]] = {
        "neurosurgeon": partial(surgeon, "most"),
        "li-gd": partial(knowing, search.li_gd),
        "best-response": partial(knowing, search.best_response),
        "iterated-best-response": partial(knowing, search.iterated_best_response),
        "sequential-best-response": partial(knowing, search.sequential_best_response),
        "coordinate-descent": partial(knowing, search.coordinate_descent),
    }
    few = config.num_users <= SEARCHED_USERS_MAX
    if not few:
        del rules["coordinate-descent"]
    if config.pool_units is not None:
        rules["dnn-surgeon"] = partial(surgeon, "equal")
    if config.access != Access.NOMA:
        del rules["li-gd"]
    found: dict[str, BaselineFactory] = {
        "random": random_actions,
        "device-only": partial(RulePolicy, device_only, ("network",)),
        "edge-only": partial(RulePolicy, edge_only, ("network",)),
        **({"best-static": BestStatic} if few else {}),
    }
    if config.slices:
        rules = {name: rules[name] for name in ("iterated-best-response", "coordinate-descent") if name in rules}
        found |= {"one-step": planning.one_step, "rank": planning.rank}
        if not uncovered(parameters_of(config)):
            found |= {"planner-selfish": planning.selfish_planner, "planner": planning.planner}
    for name, rule in rules.items():
        found[name] = partial(rule, False)
        if config.csi_delay:
            found[f"{name}-true"] = partial(rule, True)
    return found


def ablations(config: ECCNOMAConfig) -> Mapping[str, Ablation]:
    """Comparison policies that need other options of the environment, by name."""
    if config.access != Access.NOMA or config.assignment != Assignment.SEARCH or config.slices:
        return {}
    plain = {"access": "fdma", "assignment": "random", "power": "full"}
    best = "iterated-best-response"
    pool = {} if config.pool_units is not None else {"pool_units": SURGEON_UNITS}
    return {
        "edge-only-oma": Ablation("edge-only", {**plain, "units": "most"}, "all at the server over random slices"),
        "neurosurgeon-oma": Ablation("neurosurgeon", {**plain, "units": "most"}, "fastest cuts over random slices"),
        "ecc-oma": Ablation(best, {"access": "fdma"}, "cuts, slices, powers and units optimised, one user per slice"),
        "ecc-tdma": Ablation(
            best, {"access": "tdma", "power": "full"}, "cuts and units optimised, turns on subchannels"
        ),
        "ecc-noma": Ablation("li-gd", {"assignment": "li-gd"}, "Algorithm 1: one cut for all, Li-GD for the radio"),
        "dnn-surgeon-oma": Ablation(
            "dnn-surgeon", {**plain, "units": "equal", **pool}, "fastest cuts over random slices, equal parts of a pool"
        ),
    }


def device_only(p: Parameters, s: State, rng: Generator) -> NDArray[np.int64]:
    """All layers on the devices, always. Uses only the users' networks."""
    return p.last_choice[s.network[0]]


def edge_only(p: Parameters, s: State, rng: Generator) -> NDArray[np.int64]:
    """All layers at the servers, always. Uses only the users' networks."""
    return search.all_edge(p, s)


def knowing(rule: CutRule, true: bool, env: Env, seed: int, own_keys: bool | None = None) -> RulePolicy:
    """A policy that applies a rule at every step.

    Args:
        rule: chooses the cuts.
        true: the rule uses the true channels and background loads, otherwise the observed ones.
        env: the environment.
        seed: of the policy's own draws.
        own_keys: if subchannels are random, draw those that the rule assumes, instead of using those of the environment
            (None: only if the rule does not use the true state).
    """
    true = true or not env.system.parameters.csi_delay
    draws = not true if own_keys is None else own_keys

    def decide(p: Parameters, s: State, rng: Generator) -> NDArray[np.int64]:
        if draws:
            s.keys[0] = rng.random(s.keys.shape[1])
        return rule(p, s)

    return RulePolicy(decide, TRUE_FIELDS if true else SEEN_FIELDS, env, seed)


def surgeon(units: str, true: bool, env: Env, seed: int) -> RulePolicy:
    """Neurosurgeon and DNN surgeon: each user's fastest cut, at the rates of random slices when all users send.

    Neurosurgeon assumes the largest number of units per user, DNN surgeon an equal part of the pool. The slices are
    those of the environment if it assigns them at random and the policy uses the true state. Otherwise the policy draws
    its own slices.
    """
    config: ECCNOMAConfig = env.system.config
    known = (true or config.csi_delay == 0) and config.assignment == Assignment.RANDOM
    policy = knowing(fastest_cuts, true, env, seed, own_keys=not known)
    pool = config.pool_units if units == "equal" else None
    policy.parameters = parameters_of(
        config.replace(access="fdma", assignment="random", power="full", units=units, pool_units=pool)
    )
    policy.sketch = allocate(policy.parameters, 1)
    return policy


def fastest_cuts(p: Parameters, s: State) -> NDArray[np.int64]:
    """Each user's fastest cut (U,), at the rates and speeds of world 0 when all users with tasks send."""
    s.choice[0] = search.all_edge(p, s)
    search.FAST_VALUE(p, s, 0)
    w, network = s.workspace, s.network[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        delay_s = p.device_flop[network] / s.speed_flop_s[0][:, None]
        delay_s += np.where(p.bits_up[network] > 0.0, p.bits_up[network] / w.up.rate_bit_s[:, None], 0.0)
        delay_s += np.where(p.bits_up[network] > 0.0, p.result_bits / w.down.rate_bit_s[:, None], 0.0)
        delay_s += np.where(p.server_flop[network] > 0.0, p.server_flop[network] / w.speed_flop_s[:, None], 0.0)
    open_choices = np.arange(p.num_choices) < p.choices[network][:, None]
    fastest: NDArray[np.int64] = np.where(open_choices, delay_s, np.inf).argmin(axis=1)
    return np.where(s.queue[0] > 0.0, fastest, p.last_choice[network])


class BestStatic(BestConstantPolicy):
    """The best constant cuts for the users of an episode.

    Coordinate descent on simulated episodes with the same users finds them, starting from all layers on the devices and
    from the cuts that iterated best responses choose most often. Uses the users' networks, speeds and positions.
    """

    def __init__(self, env: Env, seed: int) -> None:
        super().__init__(env)
        self._seed = seed
        self._sketch: State = env.system.allocate(1)

    def key(self, row: int) -> bytes:
        """Speeds, positions and networks of the users."""
        state = self.env.state
        return b"".join(each[row].tobytes() for each in (state.speed_flop_s, state.place_m, state.network))

    def search(self, row: int) -> NDArray[np.int64]:
        """The best constant cuts (U,) for the users of a world."""
        copy_row(self.env.state, row, self._sketch, USER_FIELDS)
        p: Parameters = self.env.system.parameters
        starts = [p.last_choice[self._sketch.network[0]], self._usual_cuts()]
        values = [self._value(cuts) for cuts in starts]
        best, least = starts[int(np.argmin(values))].copy(), min(values)
        for _ in range(STATIC_PASSES):
            before = least
            for user in range(p.num_users):
                for choice in range(int(p.choices[self._sketch.network[0, user]])):
                    trial = best.copy()
                    trial[user] = choice
                    if choice != best[user] and (cost := self._value(trial)) < least:
                        best, least = trial, cost
            if least >= before:
                break
        return best

    def _episodes(self) -> list[Generator]:
        return [np.random.default_rng([STATIC_STREAM, self._seed, episode]) for episode in range(STATIC_EPISODES)]

    def _value(self, cuts: NDArray[np.int64]) -> float:
        """Cost of constant cuts over the simulated episodes."""
        return sum(self._play(rng, lambda: cuts) for rng in self._episodes())

    def _usual_cuts(self) -> NDArray[np.int64]:
        """The cuts that iterated best responses choose most often for users with tasks."""
        p: Parameters = self.env.system.parameters
        counts = np.zeros((p.num_users, p.num_choices))
        other: State = self.env.system.allocate(1)

        def respond() -> NDArray[np.int64]:
            copy_row(self._sketch, 0, other, TRUE_FIELDS)
            cuts = search.iterated_best_response(p, other)
            counts[np.arange(p.num_users), cuts] += self._sketch.queue[0] > 0.0
            return cuts

        self._play(self._episodes()[0], respond)
        usual: NDArray[np.int64] = counts.argmax(axis=1)
        return usual

    def _play(self, rng: Generator, choose: Callable[[], NDArray[np.int64]]) -> float:
        """Cost of a simulated episode."""
        system = self.env.system
        dynamics.start_processes(system.parameters, self._sketch, 0, rng)
        cost, rows = 0.0, np.zeros(1, dtype=np.int64)
        for _ in range(STATIC_STEPS):
            outcome = system.step(self._sketch, rows, choose()[None], (rng,))
            cost += float(outcome.metrics[0, M.cost])
        return cost
