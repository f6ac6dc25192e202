"""`ECCNOMA-v0`: time and cost of a decision by searching the frame, and by a network that all users share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from agents.hyperparameters.lookup import default_policy, settings_for
from agents.hyperparameters.settings import AgentName
from agents.networks.build import build_network
from agents.networks.learned_policy import LearnedPolicy
from benchmarks.eccnoma.solvers import ENV_ID
from benchmarks.steps import NEVER
from benchmarks.timing import Number, Result, Row, Side
from edge_envs.core.env import EdgeEnv
from edge_envs.core.policy import Policy, make_baseline
from edge_envs.core.rules import copy_row
from edge_envs.eccnoma.baselines import search
from edge_envs.eccnoma.baselines.policies import SEEN_FIELDS
from edge_envs.eccnoma.model.state import State
from edge_envs.eccnoma.system import ECCNOMASystem

PRESETS = ("default", "large")
FRAMES = 8
"""Frames of one world in one repetition."""
WARM_UP_FRAMES = 30
"""Frames of a world before the timing."""
BATCH = 128
"""Worlds for which the network decides at once, as in training."""
DESCENT, ITERATED = "coordinate descent", "iterated best response"
NETWORK, BATCHED = "network, one frame", f"network, {BATCH} frames at once, per frame"
SOLVE = "one allocation"
BASELINES = {ITERATED: "iterated-best-response", DESCENT: "coordinate-descent"}
EXPERT: AgentName = "dagger"
"""Agent whose network is timed."""


def untrained(system: ECCNOMASystem) -> LearnedPolicy:
    """The untrained network of `train.py --env ECCNOMA-v0`."""
    policy = default_policy(ENV_ID, EXPERT)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        network = build_network(EXPERT, policy, settings_for(ENV_ID, EXPERT, policy, ""), system)
    return LearnedPolicy(network, EXPERT, policy, system)


def descend_counted(system: ECCNOMASystem, s: State, value: Callable[..., float]) -> NDArray[np.int64]:
    """`search.coordinate_descent` with every allocation computed by `value`, so that calls can be counted."""
    p = system.parameters
    s.choice[0] = search.iterated_best_response(p, s)
    least = value(p, s, 0)
    for _ in range(search.PASSES):
        before = least
        for user in np.flatnonzero(s.queue[0] > 0.0):
            best = s.choice[0, user]
            for choice in range(int(p.choices[s.network[0, user]])):
                if choice == best:
                    continue
                s.choice[0, user] = choice
                cost = value(p, s, 0)
                if cost < least:
                    least, best = cost, choice
            s.choice[0, user] = best
        if least >= before:
            break
    return s.choice[0].copy()


class Frames:
    """Worlds played by iterated best response, in whose frames all methods decide for comparison."""

    def __init__(self, preset: str) -> None:
        made = gym.make(ENV_ID, preset=preset, max_episode_steps=NEVER).unwrapped
        assert isinstance(made, EdgeEnv)
        assert isinstance(made.system, ECCNOMASystem)
        self._env, self.system = made, made.system
        self._sketch = self.system.allocate(1)
        self._network = untrained(self.system)
        self._baselines = {label: make_baseline(name, made) for label, name in BASELINES.items()}
        self._seen: list[NDArray[Any]] = []
        self.seconds: dict[str, list[float]] = {label: [] for label in (ITERATED, DESCENT, NETWORK, BATCHED, SOLVE)}
        self.allocations: dict[str, list[int]] = {label: [] for label in BASELINES}
        self.cost_ratios: list[float] = []

    def begin(self, seed: int) -> None:
        """Start another world, and step it until its backlogs are in their steady state."""
        self._observation, _ = self._env.reset(seed=seed)
        for _ in range(WARM_UP_FRAMES):
            self._step(self._decide(self._baselines[ITERATED]))

    def _decide(self, policy: Policy) -> NDArray[Any]:
        return policy.predict(self._observation, deterministic=True)[0]

    def _step(self, action: NDArray[Any]) -> None:
        self._seen = [*self._seen, self._observation][-BATCH:]
        self._observation = self._env.step(action)[0]

    def measure(self) -> None:
        """Time all decisions in one frame, compare them, and step to the next frame.

        Raises:
            RuntimeError: a decision takes a closed choice or differs from its repetition.
        """
        some = np.resize(np.array(self._seen), (BATCH, len(self._observation)))
        work: dict[str, Callable[[], Any]] = {
            **{label: partial(self._decide, policy) for label, policy in self._baselines.items()},
            NETWORK: partial(self._decide, self._network),
            BATCHED: lambda: self._network.predict(some)[0],
            SOLVE: partial(search.FAST_VALUE, self.system.parameters, self._sketch, 0),
        }
        copy_row(self._env.state, 0, self._sketch, SEEN_FIELDS)
        found = {}
        turn = len(self.seconds[SOLVE]) % 2
        for label in reversed(work) if turn else work:
            started = time.perf_counter()
            found[label] = work[label]()
            seconds = time.perf_counter() - started
            self.seconds[label].append(seconds / BATCH if label == BATCHED else seconds)
        self._check_open(NETWORK, self._observation[None], found[NETWORK][None])
        self._check_open(BATCHED, some, found[BATCHED])
        self._compare(found[ITERATED], found[DESCENT])
        self._step(found[ITERATED])

    def _check_open(self, label: str, observations: NDArray[Any], actions: NDArray[Any]) -> None:
        mask = self.system.action_mask(observations)
        assert mask is not None
        if not np.take_along_axis(mask, actions[:, :, None], axis=2).all():
            raise RuntimeError(f"{label}: takes a closed choice")

    def _compare(self, iterated: NDArray[np.int64], descended: NDArray[np.int64]) -> None:
        """Count allocations by deciding a second time, and check that the decision is the same."""
        p, s = self.system.parameters, self._sketch
        searches: dict[str, tuple[Callable[[Any], NDArray[np.int64]], NDArray[np.int64]]] = {
            ITERATED: (lambda value: search.iterated_best_response(p, s), iterated),
            DESCENT: (lambda value: descend_counted(self.system, s, value), descended),
        }
        costs = []
        for label, (decide, known) in searches.items():
            copy_row(self._env.state, 0, s, SEEN_FIELDS)
            with patch.object(search, "FAST_VALUE", side_effect=search.FAST_VALUE) as value:
                cuts = decide(value)
            self.allocations[label].append(value.call_count)
            if not np.array_equal(cuts, known):
                raise RuntimeError(f"{label}: the timed decision {known.tolist()} is not the counted {cuts.tolist()}")
            s.choice[0] = cuts
            costs.append(search.FAST_VALUE(p, s, 0))
        self.cost_ratios.append(costs[1] / costs[0] if costs[0] > 0.0 else 1.0)
        if self.cost_ratios[-1] > 1.0:
            raise RuntimeError(f"{DESCENT} costs {costs[1]!r}, more than the {costs[0]!r} from which it started")


def decisions(repetitions: int) -> list[Result]:
    """Compare decisions in the frames of one world per repetition, and count the allocations of the searches."""
    rows: list[Result] = []
    for preset in PRESETS:
        frames = Frames(preset)
        for seed in range(repetitions + 1):
            frames.begin(seed)
            for _ in range(FRAMES):
                frames.measure()
        # The first repetition is the warm-up.
        sides = {
            label: Side(label, np.reshape(seconds, (-1, FRAMES))[1:].mean(axis=1))
            for label, seconds in frames.seconds.items()
        }
        name = f"{ENV_ID}, {preset} (U = {frames.system.members}): decision"
        rows += [
            Row(name, "frame", sides[ours], sides[other], kind="speed-up")
            for ours, other in ((NETWORK, ITERATED), (NETWORK, DESCENT), (BATCHED, DESCENT))
        ]
        for label, counts in frames.allocations.items():
            values = np.reshape(counts, (-1, FRAMES))[1:].mean(axis=1)
            rows.append(Number(f"{name}, {label}", "allocations", "mean", values, (sides[label], sides[SOLVE])))
        ratios = np.reshape(frames.cost_ratios, (-1, FRAMES))[1:].mean(axis=1)
        about = f"{DESCENT}; cost of serving all waiting tasks, on the observed channels"
        rows.append(Number(f"{name}, cost", f"of the {ITERATED}'s", about, ratios))
    return rows


BENCHMARKS: Mapping[str, Callable[[int], Sequence[Result]]] = {"eccnoma.decisions": decisions}
