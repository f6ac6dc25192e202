"""Comparison schemes: constants, earlier work's, the paper's, searches of each frame, and other uses of the radio."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.env import EdgeEnv, EdgeVectorEnv
from edge_envs.core.rules import Ablation, BaselineFactory, Policy, random_actions
from edge_envs.eccnoma.baselines import search
from edge_envs.eccnoma.config import Parameters
from edge_envs.eccnoma.model import dynamics, reward
from edge_envs.eccnoma.model.state import State
from edge_envs.eccnoma.system import ECCNOMASystem

Env = EdgeEnv | EdgeVectorEnv
Rule = Callable[[Parameters, State], NDArray[np.int64]]
"""Chooses the cuts (U,) of the frame to come in a sketch of one world."""

USER_FIELDS = ("network", "speed_flop_s", "place_m", "ap", "path_gain", "reference")
KNOWN = {"queue": "queue"}
"""What every rule knows of a frame, as fields of a sketch and of the world."""
TRUE = {**KNOWN, "gain_up": "gain_up", "gain_down": "gain_down", "level": "level", "keys": "keys"}
SEEN = {**KNOWN, "gain_up": "seen_up", "gain_down": "seen_down", "level": "seen_level"}
STATIC_EPISODES, STATIC_FRAMES, STATIC_PASSES = 2, 60, 2
"""Simulated episodes, their frames, and passes of the search for cuts that never change; chosen."""
SEARCHED_USERS = 64
"""Up to so many users there are the baselines whose searches grow with their square and more; chosen."""
SURGEON_UNITS = 240.0
"""Units of an AP that DNN surgeon divides where no pool is configured; fitted to Figs. 4 and 5."""
STATIC_STREAM = 0xECC0
"""Sets the random streams of that search apart from those of any environment seed."""


def available(system: ECCNOMASystem) -> Mapping[str, BaselineFactory]:
    """Baselines for the system's configuration, by name.

    Those that look at a frame know its tasks, and all channels and background loads, one frame old (the agent sees
    summaries of these). With csi_delay=1 each has a twin with the ending `-true` that knows those of the frame to come.
    """
    rules: dict[str, Callable[[Env, int, bool], Policy]] = {
        "neurosurgeon": partial(Surgeon, units="most"),
        "li-gd": partial(FramePolicy, search.li_gd),
        "best-response": partial(FramePolicy, search.best_response),
        "iterated-best-response": partial(FramePolicy, search.iterated_best_response),
        "sequential-best-response": partial(FramePolicy, search.sequential_best_response),
        "coordinate-descent": partial(FramePolicy, search.coordinate_descent),
    }
    few = system.config.num_users <= SEARCHED_USERS
    if not few:
        del rules["coordinate-descent"]
    if system.config.pool_units is not None:
        rules["dnn-surgeon"] = partial(Surgeon, units="equal")
    if system.config.access != "noma":
        del rules["li-gd"]
    found: dict[str, BaselineFactory] = {
        "random": random_actions,
        "device-only": partial(same_cut, True),
        "edge-only": partial(same_cut, False),
        **({"best-static": BestStatic} if few else {}),
    }
    for name, rule in rules.items():
        found[name] = partial(_knowing, rule, False)
        if system.config.csi_delay:
            found[f"{name}-true"] = partial(_knowing, rule, True)
    return found


def ablations(system: ECCNOMASystem) -> Mapping[str, Ablation]:
    """Schemes with a use of the radio and the server of their own: a baseline in an environment with other options."""
    config = system.config
    if config.access != "noma" or config.assignment != "search":
        return {}
    plain = {"access": "fdma", "assignment": "random", "power": "full"}
    best = "iterated-best-response"
    found = {
        "edge-only-oma": Ablation("edge-only", {**plain, "units": "most"}, "all at the server over random slices"),
        "neurosurgeon-oma": Ablation("neurosurgeon", {**plain, "units": "most"}, "fastest cuts over random slices"),
        "ecc-oma": Ablation(best, {"access": "fdma"}, "cuts, slices, powers and units optimised, one user per slice"),
        "ecc-tdma": Ablation(
            best, {"access": "tdma", "power": "full"}, "cuts and units optimised, turns on subchannels"
        ),
        "ecc-noma": Ablation("li-gd", {"assignment": "li-gd"}, "Algorithm 1: one cut for all, Li-GD for the radio"),
    }
    pool = {} if config.pool_units is not None else {"pool_units": SURGEON_UNITS}
    found["dnn-surgeon-oma"] = Ablation(
        "dnn-surgeon", {**plain, "units": "equal", **pool}, "fastest cuts over random slices, equal parts of a pool"
    )
    return found


def _system(env: Env) -> ECCNOMASystem:
    system = env.system
    assert isinstance(system, ECCNOMASystem)
    return system


def _knowing(rule: Callable[..., Policy], true: bool, env: Env, seed: int) -> Policy:
    return rule(env, seed, true)


def copy_users(source: State, row: int, sketch: State) -> None:
    """Copy a row's users into a sketch of one world."""
    for name in USER_FIELDS:
        getattr(sketch, name)[0] = getattr(source, name)[row]


def copy_world(source: State, row: int, sketch: State, true: bool) -> None:
    """Copy a row into a sketch of one world, which rules are free to change: as it is (`true`) or as it is seen."""
    copy_users(source, row, sketch)
    for name, known in (TRUE if true else SEEN).items():
        getattr(sketch, name)[0] = getattr(source, known)[row]


class EachWorld:
    """Decides for one world after the other."""

    def __init__(self, env: Env) -> None:
        self._env = env

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        """Cuts for every world of the environment."""
        del episode_start, deterministic
        batch = np.array([self.cuts(row) for row in range(len(self._env.state.reference))])
        return (batch if np.ndim(observation) == 2 else batch[0]), state

    def cuts(self, row: int) -> NDArray[np.int64]:
        """Cuts (U,) for one world."""
        raise NotImplementedError


def same_cut(device: bool, env: Env, seed: int) -> Policy:
    """Everything on the devices, or everything at the servers, always. Sees nothing but which network a user has."""
    del seed
    return SameCut(env, device)


class SameCut(EachWorld):
    """All layers of every user on one side."""

    def __init__(self, env: Env, device: bool) -> None:
        super().__init__(env)
        p = _system(env).parameters
        self._choice = p.last_choice if device else p.first_choice

    def cuts(self, row: int) -> NDArray[np.int64]:
        """The first or last cut of each user's network."""
        choice: NDArray[np.int64] = self._choice[self._env.state.network[row]]
        return choice


class FramePolicy(EachWorld):
    """Applies a rule to every frame, with true or old channels and background load.

    Where subchannels are assigned at random, only the true state says which; else the policy draws its own.
    """

    def __init__(self, rule: Rule, env: Env, seed: int, true: bool) -> None:
        super().__init__(env)
        system = _system(env)
        self._rule, self._true = rule, true or system.config.csi_delay == 0
        self._parameters = system.parameters
        self._sketch = system.allocate(1)
        # one per world, so that its answers do not depend on how many others there are
        self._rngs = [np.random.default_rng([seed, row]) for row in range(len(env.state.reference))]

    def cuts(self, row: int) -> NDArray[np.int64]:
        """The rule's cuts."""
        copy_world(self._env.state, row, self._sketch, self._true)
        if not self._true:
            self._sketch.keys[0] = self._rngs[row].random(self._sketch.keys.shape[1])
        return self._rule(self._parameters, self._sketch).copy()


def fastest_cuts(p: Parameters, s: State) -> NDArray[np.int64]:
    """Each user's cut of least delay (U,), at the rates and speeds of world 0 when all users with tasks send."""
    s.choice[0] = search.all_edge(p, s)
    search.FAST_VALUE(p, s)
    w, network = s.work, s.network[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        delay_s = p.device_flop[network] / s.speed_flop_s[0][:, None]
        delay_s += np.where(p.bits_up[network] > 0.0, p.bits_up[network] / w.up.rate_bit_s[:, None], 0.0)
        delay_s += np.where(p.bits_up[network] > 0.0, p.result_bits / w.down.rate_bit_s[:, None], 0.0)
        delay_s += np.where(p.server_flop[network] > 0.0, p.server_flop[network] / w.speed_flop_s[:, None], 0.0)
    open_choices = np.arange(p.num_choices) < p.choices[network][:, None]
    fastest: NDArray[np.int64] = np.where(open_choices, delay_s, np.inf).argmin(axis=1)
    return np.where(s.queue[0] > 0.0, fastest, p.last_choice[network])


class Surgeon(FramePolicy):
    """Neurosurgeon and DNN surgeon: each user's cut of least delay, at the rates of random slices when all users send.

    Neurosurgeon counts on as many units of the server as a user can have, DNN surgeon on an equal part of the pool.
    Slices are those of the environment where it assigns them at random and the policy may know, else its own.
    """

    def __init__(self, env: Env, seed: int, true: bool, *, units: str) -> None:
        super().__init__(fastest_cuts, env, seed, true)
        config = _system(env).config
        pool = config.pool_units if units == "equal" else None
        own = ECCNOMASystem(
            config.replace(access="fdma", assignment="random", power="full", units=units, pool_units=pool)
        )
        self._parameters, self._sketch = own.parameters, own.allocate(1)
        self._own_slices = not self._true or config.assignment != "random"

    def cuts(self, row: int) -> NDArray[np.int64]:
        """The fastest cuts."""
        copy_world(self._env.state, row, self._sketch, self._true)
        if self._own_slices:
            self._sketch.keys[0] = self._rngs[row].random(self._sketch.keys.shape[1])
        return self._rule(self._parameters, self._sketch)


class BestStatic(EachWorld):
    """The best cuts that never change, for the users that an episode has.

    Found by coordinate descent on simulated episodes with these users, with fading, tasks and tenants of their own,
    from everything on the device and from the cuts that iterated best responses choose most often there. Sees the
    users' networks, speeds and places.
    """

    def __init__(self, env: Env, seed: int) -> None:
        super().__init__(env)
        self._system, self._seed = _system(env), seed
        self._sketch = self._system.allocate(1)
        self._known: dict[bytes, NDArray[np.int64]] = {}

    def cuts(self, row: int) -> NDArray[np.int64]:
        """The constants of the world's users."""
        state = self._env.state
        key = state.speed_flop_s[row].tobytes() + state.place_m[row].tobytes() + state.network[row].tobytes()
        if key not in self._known:
            copy_users(state, row, self._sketch)
            self._known[key] = self._search()
        return self._known[key]

    def _search(self) -> NDArray[np.int64]:
        p = self._system.parameters
        starts = [p.last_choice[self._sketch.network[0]], self._usual()]
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

    def _episodes(self) -> list[np.random.Generator]:
        return [np.random.default_rng([STATIC_STREAM, self._seed, episode]) for episode in range(STATIC_EPISODES)]

    def _value(self, cuts: NDArray[np.int64]) -> float:
        """Cost of constant cuts over the simulated episodes."""
        return sum(self._play(rng, lambda: cuts) for rng in self._episodes())

    def _usual(self) -> NDArray[np.int64]:
        """What iterated best responses choose most often for users with tasks."""
        p, sketch = self._system.parameters, self._sketch
        counts = np.zeros((p.num_users, p.num_choices))
        other = self._system.allocate(1)

        def respond() -> NDArray[np.int64]:
            copy_world(sketch, 0, other, True)
            cuts = search.iterated_best_response(p, other)
            counts[np.arange(p.num_users), cuts] += sketch.queue[0] > 0.0
            return cuts

        self._play(self._episodes()[0], respond)
        usual: NDArray[np.int64] = counts.argmax(axis=1)
        return usual

    def _play(self, rng: np.random.Generator, choose: Callable[[], NDArray[np.int64]]) -> float:
        system, state = self._system, self._sketch
        dynamics.start_processes(system.parameters, state, 0, rng)
        cost, rows = 0.0, np.zeros(1, dtype=np.int64)
        for _ in range(STATIC_FRAMES):
            outcome = system.step(state, rows, choose()[None], (rng,))
            cost += float(outcome.metrics[0, reward.FRAME_COST])
        return cost
