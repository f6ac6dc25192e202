"""Policies that choose actions by rules: the interface, and base classes of the papers' baselines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray


class Policy(Protocol):
    """A map from observations to actions; models of Stable-Baselines3 are policies.

    A policy with a memory returns it as the second value, and continues from `state` if that is given. Without `state`,
    a baseline of this package continues from its previous call, so `action, _ = policy.predict(observation)` in every
    step suffices. `episode_start`, booleans (B,), is True in rows whose memory restarts. By default, a baseline
    restarts the rows that its environment has not stepped since their reset. After `restore`, pass the `state` that
    belongs to the snapshot.
    """

    @abstractmethod
    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        """Actions for one observation (n,) or a batch (B, n), and the recurrent state (None if there is none)."""
        ...


class Env(Protocol):
    """Attributes of an `EdgeEnv` or `EdgeVectorEnv` that a baseline reads."""

    system: Any
    state: Any

    @property
    def episode_steps(self) -> NDArray[np.int64]:
        """Steps of each world's episode so far, shape (B,)."""
        ...


BaselineFactory = Callable[[Any, int], Policy]
"""Builds a baseline for an environment (see `Env`) and a seed. The baseline may read the environment's state."""
Rule = Callable[[Any, Any, Generator], NDArray[Any]]
"""Maps kernel parameters, a state with one world (which the rule may change) and a generator to an action (A,)."""


@dataclass(frozen=True, slots=True)
class Ablation:
    """A baseline in a system with a component removed or replaced.

    To run it, make the environment with `options` in addition to your own, and use the baseline `policy` in it.
    """

    policy: str
    """Name of the baseline"""
    options: Mapping[str, Any]
    """Options of the environment that remove or replace the component"""
    meaning: str
    """What is compared, in a few words"""


class StatelessPolicy:
    """A policy without a memory, which returns `state` unchanged; subclasses define `actions`."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        """Actions for one observation (n,) or a batch (B, n), and `state`."""
        del episode_start, deterministic
        return self.actions(np.asarray(observation)), state

    @abstractmethod
    def actions(self, observation: NDArray[Any]) -> NDArray[Any]:
        """Actions for one observation (n,) or a batch (B, n)."""


class ConstantPolicy(StatelessPolicy):
    """A policy that always returns the same action, of shape (A,)."""

    def __init__(self, action: NDArray[Any]) -> None:
        self.action = action

    def actions(self, observation: NDArray[Any]) -> NDArray[Any]:
        """The action, repeated for each observation of a batch."""
        return np.broadcast_to(self.action, (*observation.shape[:-1], *self.action.shape)).copy()


class RandomPolicy(StatelessPolicy):
    """Uniformly random actions from the policy's own generator."""

    def __init__(self, space: Any, seed: int) -> None:
        self._low, self._high = (
            (space.start, space.start + space.nvec) if hasattr(space, "nvec") else (space.low, space.high)
        )
        self._discrete = hasattr(space, "nvec")
        self._rng = np.random.default_rng(seed)

    def actions(self, observation: NDArray[Any]) -> NDArray[Any]:
        """A random action for each observation of a batch, even with `deterministic=True`."""
        shape = (*observation.shape[:-1], *np.shape(self._low))
        if self._discrete:
            return self._rng.integers(self._low, self._high, size=shape)
        return self._rng.uniform(self._low, self._high, size=shape).astype(np.float32)


def random_actions(env: Env, seed: int) -> Policy:
    """Uniformly random actions, the baseline `random` of every environment. Uses no observation."""
    return RandomPolicy(env.system.action_space, seed)


def beginning(env: Env, episode_start: Any = None) -> NDArray[np.bool_]:
    """Rows (B,) in which a policy's memory restarts: those not stepped since their reset, and those of `episode_start`.

    Raises:
        ValueError: `episode_start` has another shape.
    """
    fresh: NDArray[np.bool_] = env.episode_steps == 0
    if episode_start is None:
        return fresh
    start = np.atleast_1d(np.asarray(episode_start, dtype=np.bool_))
    if start.shape != fresh.shape:
        raise ValueError(f"episode_start has shape {start.shape}, expected {fresh.shape}")
    return fresh | start


def copy_row(source: Any, row: int, target: Any, fields: Iterable[str] | Mapping[str, str]) -> None:
    """Copy fields from one row of a state to row 0 of another state, in place.

    Args:
        source: the state to read.
        row: index of the row in `source`.
        target: the state to write; usually it has one row.
        fields: names of the fields, or a mapping from the target's names to the source's.
    """
    pairs = fields.items() if isinstance(fields, Mapping) else ((name, name) for name in fields)
    for name, source_name in pairs:
        getattr(target, name)[0] = getattr(source, source_name)[row]


class WorldPolicy(StatelessPolicy):
    """A policy that computes one world's action from the environment's state; subclasses define `action`."""

    def __init__(self, env: Env) -> None:
        self.env = env

    def actions(self, observation: NDArray[Any]) -> NDArray[Any]:
        """Actions of all worlds of the environment; only the number of axes of the observation is used."""
        batch = np.array([self.action(row) for row in range(len(self.env.episode_steps))])
        return batch if observation.ndim == 2 else batch[0]

    @abstractmethod
    def action(self, row: int) -> NDArray[Any]:
        """Action (A,) of one world."""


class RulePolicy(WorldPolicy):
    """Applies a rule to a copy of each world.

    Args:
        rule: computes the action from the copy.
        fields: fields of the state that the rule uses; see `copy_row`.
        env: the environment.
        seed: seed of the rule's random numbers. Each world has its own generator, independent of the batch.
    """

    def __init__(self, rule: Rule, fields: Iterable[str] | Mapping[str, str], env: Env, seed: int) -> None:
        super().__init__(env)
        self.rule, self.fields = rule, fields
        self.parameters = env.system.parameters
        self.sketch = env.system.allocate(1)
        self.rngs = [np.random.default_rng([seed, row]) for row in range(len(env.episode_steps))]

    def action(self, row: int) -> NDArray[Any]:
        """The rule's action for the current state of a world."""
        copy_row(self.env.state, row, self.sketch, self.fields)
        return np.array(self.rule(self.parameters, self.sketch, self.rngs[row]))


class BestConstantPolicy(WorldPolicy):
    """The best constant action for an episode, found by a search.

    Subclasses define `search`, and `key`, which identifies all that is constant during an episode. Episodes with equal
    keys share one search.
    """

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self._known: dict[bytes, NDArray[Any]] = {}

    def action(self, row: int) -> NDArray[Any]:
        """The constant action for a world's episode."""
        key = self.key(row)
        if key not in self._known:
            self._known[key] = self.search(row)
        return self._known[key]

    @abstractmethod
    def key(self, row: int) -> bytes:
        """All that is constant during a world's episode, as bytes."""

    @abstractmethod
    def search(self, row: int) -> NDArray[Any]:
        """The best constant action (A,) for the world's episode."""
