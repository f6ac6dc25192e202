"""The contract between a paper's model and the Gymnasium classes.

A `System` is a batch of independent worlds. It is built from its configuration and holds no mutable state. The
Gymnasium classes `EdgeEnv` and `EdgeVectorEnv` own the state, the episode clocks and the random generators.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

import numpy as np
from gymnasium import spaces
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.config import SystemConfig
from edge_envs.core.invariants import Invariant, Step
from edge_envs.core.kernels.jit import FastCall, kernel
from edge_envs.core.kernels.metrics import Metric
from edge_envs.core.kernels.randomness import refill
from edge_envs.core.rules import Ablation, BaselineFactory, random_actions

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
StateT = TypeVar("StateT")
CLIP_HINT = "clip the agent's output, as gymnasium.wrappers.ClipAction (or gymnasium.wrappers.vector.ClipAction) does"
"""End of the error for a Box action out of bounds."""


@dataclass(slots=True)
class Outcome:
    """Result of one step of a batch of B worlds with M members; rows that were not stepped hold zeros.

    `metrics` has one column per entry of `System.metrics`; `member_metrics` maps a name to one value per member.
    `member_reward` sums to `reward` over the members.
    """

    observation: NDArray[np.float32]  # (B, n)
    reward: FloatArray  # (B,)
    terminated: BoolArray  # (B,)
    member_reward: FloatArray  # (B, M)
    metrics: FloatArray  # (B, len(System.metrics))
    member_metrics: dict[str, FloatArray]  # name -> (B, M)


@dataclass(frozen=True, slots=True)
class Bound:
    """Proven limits of what any policy reaches in given episodes, even one that knows the future; E episodes.

    `metric` names the cost; `least` is a lower bound on its mean over an episode, `reward` an upper bound on the
    episode's sum of rewards. Both have shape (E,).
    """

    metric: str
    least: FloatArray
    reward: FloatArray


class System(ABC, Generic[StateT]):
    """A paper's system as a batch of worlds, each a team of `members` members with equal spaces.

    The spaces describe ONE world. The central action is the concatenation of the members' actions. The central
    observation contains all that a member sees: `member_view[m]` lists its columns, so the member view of a batch is
    `observation[:, member_view]` with shape (B, M, m).

    If `mask_view` is set, a member's action is one index, and columns of the observation mark which of its C choices
    are open. An agent should not choose a closed one, but it is a valid action; the environment's documentation
    describes its effect.

    Rows are independent: row i of any batch draws only from `rngs[i]`, in an order that does not depend on the batch.
    """

    config_class: ClassVar[type[SystemConfig]]
    """Class of the configuration; `from_options` uses it."""
    config: Any
    action_space: spaces.Space[Any]
    observation_space: spaces.Space[Any]
    member_action_space: spaces.Space[Any]
    member_observation_space: spaces.Space[Any]
    members: int
    member_view: IntArray
    group_view: IntArray | None = None
    """Columns (M, G) with 1.0 if a member belongs to a group and 0.0 otherwise; None if members form no groups."""
    mask_view: IntArray | None = None
    """Columns (M, C) with 1.0 if a choice is open to a member, else 0.0; None if all choices are always open."""
    metrics: tuple[Metric, ...]
    member_metrics: tuple[str, ...] = ()
    """Names of the numbers that a step reports for each member, in addition to its reward."""
    headline: tuple[str, ...] = ()
    """Metrics shown in tables of results, the most important one first."""
    reference_baseline: str = "random"
    """The baseline with which others are compared."""
    strongest_baseline: str = "random"
    """The best available baseline. It has the normalised score 1 (random actions: 0) and is not a bound."""
    logged: tuple[str, ...] = ()
    """Metrics whose logarithm an evaluation also reports (`log_...`), because they vary widely between episodes."""
    warmup_fraction: float = 0.25
    """First part of an episode, in which queues fill; an evaluation excludes it from the means of metrics."""
    evaluation_episodes: int = 16
    """Recommended number of evaluation episodes per seed."""
    scratch: tuple[str, ...] = ()
    """Fields of the state that are scratch memory: their values do not matter between steps."""
    remembered: tuple[str, ...] = ()
    """Fields of the state, such as "queues.backlog", whose values before a step `invariants` needs."""
    caveat: str = ""
    """Note printed below tables of results, such as that levels were fitted; "" for none."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.headline and "metrics" in vars(cls):
            cls.headline = (cls.metrics[0].name,)

    @cached_property
    def own_view(self) -> IntArray:
        """Columns (M, f) of each member only, for networks that see all members; `member_view` by default."""
        return self.member_view

    @cached_property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        """Smallest and largest values of the state's integers, and of numbers from which indices are computed, by name.

        `EdgeVectorEnv.restore` checks a snapshot against them, because kernels do not check their indices.
        """
        return {}

    def action_mask(self, observation: NDArray[np.floating[Any]]) -> BoolArray | None:
        """Open choices in observations (..., n), as booleans (..., M, C); None if all choices always are open."""
        if self.mask_view is None:
            return None
        mask: BoolArray = observation[..., self.mask_view] > 0.5
        return mask

    @classmethod
    def from_options(cls, preset: str, options: Mapping[str, Any]) -> Self:
        """Build the system from a named preset and keyword overrides.

        Raises:
            UnknownParameter: an unknown key; it is a TypeError and a ValueError.
            ValueError: an unknown preset or an invalid value; the message names it and the fix.
        """
        return cls(cls.config_class.from_options(preset, options))  # type: ignore[call-arg]

    def baselines(self) -> Mapping[str, BaselineFactory]:
        """Factories of the configuration's baselines, by name; every system has `random`."""
        return {"random": random_actions}

    def ablations(self) -> Mapping[str, Ablation]:
        """The configuration's ablations, by name; none by default."""
        return {}

    def bound(self, seeds: Sequence[int], steps: int) -> Bound:
        """Bound the cost and the reward of every policy in the episodes that `reset(seed=...)` starts.

        Args:
            seeds: of the episodes.
            steps: length of the episodes.

        Raises:
            NotImplementedError: there is no bound for this system or configuration; the message says why.
        """
        raise NotImplementedError(f"{type(self).__name__} has no bound")

    @abstractmethod
    def allocate(self, batch: int) -> StateT:
        """State arrays of `batch` worlds, before their first reset."""

    @abstractmethod
    def reset(self, state: StateT, rows: IntArray, rngs: Sequence[Generator]) -> None:
        """Start episodes in the given rows, in place; `rngs` are the generators of ALL rows."""

    @abstractmethod
    def observe(self, state: StateT) -> NDArray[np.float32]:
        """Central observations of all rows, shape (B, n), in fresh memory."""

    @abstractmethod
    def step(self, state: StateT, rows: IntArray, actions: NDArray[Any], rngs: Sequence[Generator]) -> Outcome:
        """Advance the given rows by one decision, in place.

        Args:
            state: the batch.
            rows: indices of the worlds to step, ascending.
            actions: actions of ALL rows, already checked by `check_actions`.
            rngs: generators of all rows.
        """

    def invariants(self, state: StateT, step: Step | None) -> Iterable[Invariant]:
        """Invariants of all rows of `state`, which `check=True` verifies.

        Args:
            state: the state after a step or a reset. It has only the rows to check, except for scratch memory.
            step: the step just taken; None after a reset.
        """
        return ()

    def upgraded(self, snapshot: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Convert a snapshot of an earlier version to the present arrays; by default, return it unchanged."""
        return snapshot

    def blank_outcome(self, batch: int) -> tuple[Outcome, FloatArray]:
        """An outcome of zeros for a kernel to fill, and its members' part as one array.

        The array has shape (1 + len(member_metrics), B, M): rewards first, then the member metrics in their order.
        """
        shape = self.observation_space.shape
        assert shape is not None
        member = np.zeros((1 + len(self.member_metrics), batch, self.members))
        outcome = Outcome(
            observation=np.zeros((batch, *shape), dtype=np.float32),
            reward=np.zeros(batch),
            terminated=np.zeros(batch, dtype=np.bool_),
            member_reward=member[0],
            metrics=np.zeros((batch, len(self.metrics))),
            member_metrics=dict(zip(self.member_metrics, member[1:], strict=True)),
        )
        return outcome, member

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy a System through its configuration."""
        return type(self), (self.config,)

    @cached_property
    def _action_bounds(self) -> tuple[NDArray[Any], NDArray[Any]]:
        space = self.action_space
        if isinstance(space, spaces.MultiDiscrete):
            return np.zeros_like(space.nvec, dtype=np.int64), (space.nvec - 1).astype(np.int64)
        assert isinstance(space, spaces.Box)
        return space.low.astype(np.float64), space.high.astype(np.float64)

    def check_actions(self, actions: Any, batch: int) -> NDArray[Any]:
        """Actions as an array of shape (batch, A) in the kernels' dtype: int64, or float64 for a Box.

        Raises:
            ValueError: a wrong shape, dtype or value; the message names the entry.
        """
        low, high = self._action_bounds
        array = np.asarray(actions)
        if array.shape != (batch, len(low)):
            raise ValueError(f"actions have shape {array.shape}, expected {(batch, len(low))} for {self.action_space}")
        if array.dtype != low.dtype or not array.flags.c_contiguous:
            if array.dtype.kind not in ("iu" if low.dtype.kind == "i" else "iuf"):
                raise ValueError(f"actions have dtype {array.dtype}, expected {low.dtype} for {self.action_space}")
            array = np.ascontiguousarray(array, dtype=low.dtype)
        at = first_outside(array, low, high)
        if at >= 0:
            row, entry = divmod(at, len(low))
            value = array[row, entry]
            message = f"action[{entry}] = {value} of row {row} is not in {self.action_space}"
            # Clipping does not remove NaN.
            clip = isinstance(self.action_space, spaces.Box) and not np.isnan(value)
            raise ValueError(f"{message}; {CLIP_HINT}" if clip else message)
        return array


class Kernels(NamedTuple):
    """Functions of a paper's model, called by `CompiledSystem`."""

    allocate: Callable[[Any, int], Any]
    """(parameters, batch) -> state before its first reset."""
    encode: Callable[[Any, Any, NDArray[np.float32]], None]
    """(parameters, state, observation): writes the observations of all rows."""
    run: Callable[..., None]
    """(parameters, state, rows, actions, *kernel_arguments, observation, reward, member, metrics): one step."""


class CompiledSystem(System[StateT]):
    """A System whose step is one compiled kernel; subclasses define spaces and `reset`."""

    kernels: ClassVar[Kernels]
    parameters: Any
    """The kernels' parameters, made from `config`."""
    _reported: IntArray | None = None
    _member_reported: IntArray

    def set_spaces(self, view: IntArray, limit: float) -> None:
        """Set `members`, `member_view` and Box observation spaces with bounds ±`limit`.

        Args:
            view: columns of the central observation that each member sees, shape (M, m); all columns occur.
            limit: largest absolute value of an observation.
        """
        self.members, self.member_view = len(view), view
        self.observation_space = box(int(view.max()) + 1, limit)
        self.member_observation_space = box(view.shape[1], limit)

    def leave_out(self, names: Sequence[str]) -> None:
        """Do not report these metrics and member metrics: the configuration has no use for them."""
        declared = type(self)
        self.metrics = tuple(metric for metric in declared.metrics if metric.name not in names)
        self.member_metrics = tuple(name for name in declared.member_metrics if name not in names)
        self._reported = np.flatnonzero([metric in self.metrics for metric in declared.metrics])
        members = [True, *(name in self.member_metrics for name in declared.member_metrics)]
        self._member_reported = np.flatnonzero(members)

    def draw(self, state: StateT, rows: IntArray, rngs: Sequence[Generator]) -> None:
        """Draw the random numbers of a step of `rows` into the state, each row from its own generator.

        By default these are the blocks `uniforms` with the positions `cursor`; see `randomness.refill`.
        """
        fields: Any = state
        refill(fields.uniforms, fields.cursor, rows, rngs)

    def decode(self, state: StateT, rows: IntArray, actions: NDArray[Any]) -> NDArray[Any]:
        """Convert the actions of all rows to the kernel's form."""
        return actions

    def kernel_arguments(self) -> tuple[Any, ...]:
        """Additional arguments of the kernel, after the actions."""
        return ()

    def allocate(self, batch: int) -> StateT:
        state: StateT = self.kernels.allocate(self.parameters, batch)
        return state

    def observe(self, state: StateT) -> NDArray[np.float32]:
        fields: Mapping[str, Any] = state._asdict()  # type: ignore[attr-defined]
        array = next(value for name, value in fields.items() if name not in self.scratch)
        while isinstance(array, tuple):
            array = array[0]
        observation = np.empty((len(array), *self.observation_space.shape), dtype=np.float32)  # type: ignore[misc]
        self.kernels.encode(self.parameters, state, observation)
        return observation

    @cached_property
    def run(self) -> Callable[..., None]:
        """The kernel of a step."""
        return FastCall(self.kernels.run)

    def step(self, state: StateT, rows: IntArray, actions: NDArray[Any], rngs: Sequence[Generator]) -> Outcome:
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        decoded = self.decode(state, rows, actions)
        self.draw(state, rows, rngs)
        outcome, member = self.blank_outcome(len(actions))
        metrics, members = outcome.metrics, member
        if self._reported is not None:
            # The kernel writes all declared columns.
            metrics = np.zeros((len(actions), len(type(self).metrics)))
            members = np.zeros((1 + len(type(self).member_metrics), *member.shape[1:]))
        self.run(
            self.parameters, state, rows, decoded, *self.kernel_arguments(), outcome.observation, outcome.reward,
            members, metrics,
        )  # fmt: skip
        if self._reported is not None:
            # `take` into an array is three times as fast as indexing; "clip" leaves out its check of the indices.
            metrics.take(self._reported, 1, outcome.metrics, "clip")
            members.take(self._member_reported, 0, member, "clip")
        return outcome


def box(size: int, limit: float) -> spaces.Box:
    """A Box of float32 with bounds ±`limit`, shape (size,)."""
    return spaces.Box(-limit, limit, (size,), np.float32)


@kernel
def first_outside(array: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> int:
    """Flat index of the first entry of a matrix outside its column's bounds or NaN; -1 if there is none."""
    for row in range(array.shape[0]):
        for column in range(array.shape[1]):
            if not low[column] <= array[row, column] <= high[column]:
                return row * array.shape[1] + column
    return -1


def load_system(target: str | type[System[Any]]) -> type[System[Any]]:
    """The System class behind "package.module:Class", or the class itself.

    Raises:
        ValueError: no such module or class, or a class that is not a System.
    """
    found: object = target
    if isinstance(target, str):
        module, _, name = target.partition(":")
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"system={target!r} cannot be loaded ({error}); expected package.module:Class") from error
    if not (isinstance(found, type) and issubclass(found, System)):
        raise ValueError(f"system={target!r} is not a subclass of edge_envs.core.system.System")
    return found
