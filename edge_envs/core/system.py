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
from edge_envs.core.metrics import Metric
from edge_envs.core.rules import Ablation, BaselineFactory, random_actions
from edge_envs.core.runtime.snapshot import arrays_of

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
StateT = TypeVar("StateT")
CLIP_HINT = "clip the agent's output, as gymnasium.wrappers.ClipAction (or gymnasium.wrappers.vector.ClipAction) does"
"""End of the error for a Box action out of bounds."""


@dataclass(slots=True)
class Outcome:
    """What one step of a batch of B worlds with M members returned; rows that were not stepped hold zeros.

    `metrics` has one column per entry of `System.metrics`; `member_metrics` maps a name to one value per member.
    `member_reward` sums to `reward` over the members.
    """

    observation: NDArray[np.float32]  # (B, n)
    reward: FloatArray  # (B,)
    terminated: BoolArray  # (B,)
    member_reward: FloatArray  # (B, M)
    metrics: FloatArray  # (B, len(System.metrics))
    member_metrics: dict[str, FloatArray]  # name -> (B, M)


class System(ABC, Generic[StateT]):
    """A paper's system as a batch of worlds, each a team of `members` like members.

    The spaces describe ONE world. The central action is the members' actions one after the other, and every number a
    member sees stands in the central observation: `member_view[m]` lists its columns, so the member view of a batch
    is `observation[:, member_view]` with shape (B, M, m).

    Where `mask_view` is set, a member's action is one index, and the observation itself says which of its C choices are
    open, so that whoever sees the observation can leave the closed ones out. A closed choice is still a valid action,
    whose meaning the environment's documentation gives.

    Rows are independent: row i of any batch draws from `rngs[i]` alone, in an order that does not depend on the batch.
    """

    config_class: ClassVar[type[SystemConfig]]
    """Class of the configuration, from which `from_options` builds the system."""
    config: Any
    action_space: spaces.Space[Any]
    observation_space: spaces.Space[Any]
    member_action_space: spaces.Space[Any]
    member_observation_space: spaces.Space[Any]
    members: int
    member_view: IntArray
    group_view: IntArray | None = None
    """Columns (M, G) that hold 1.0 where a member belongs to a group and 0.0 elsewhere, where members form groups."""
    mask_view: IntArray | None = None
    """Columns (M, C) that hold 1.0 where a choice is open to a member and 0.0 elsewhere, where some can be closed."""
    metrics: tuple[Metric, ...]
    member_metrics: tuple[str, ...] = ()
    """Names of the numbers that a step reports for each member, beside its reward."""
    headline: tuple[str, ...]
    """Metrics that a table of results shows, the most important one first."""
    reference_baseline: str
    """The baseline that others are compared with."""
    strongest_baseline: str
    """The best shipped rule, which scores 1 on a scale where random actions score 0; it is not a bound."""
    logged: tuple[str, ...] = ()
    """Metrics whose logarithm an evaluation reports, too (`log_...`), as they differ by orders between episodes."""
    warmup_fraction: float = 0.25
    """First part of an episode that an evaluation leaves out of the metrics' means, while queues fill."""
    evaluation_episodes: int = 16
    """Episodes per seed that make a good evaluation."""
    scratch: tuple[str, ...] = ()
    """Fields of the state that nothing is carried in from one step to the next."""
    remembered: tuple[str, ...] = ()
    """Fields of the state, dotted where nested, that `invariants` needs from before a step."""
    caveat: str = ""
    """What a reader of a table of results must know, such as that levels were fitted; empty for nothing."""

    @cached_property
    def own_view(self) -> IntArray:
        """Columns (M, f) with a member's own facts, for networks that see all members; all that it sees unless said."""
        return self.member_view

    @cached_property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        """Smallest and largest value of the state's whole numbers and of all that indices are made from, by name.

        A stored state is checked against them, as the kernels trust what they read; see `EdgeVectorEnv.restore`.
        """
        return {}

    def action_mask(self, observation: NDArray[np.floating[Any]]) -> BoolArray | None:
        """Which choices are open in observations (..., n), shape (..., M, C); None where all always are."""
        if self.mask_view is None:
            return None
        mask: BoolArray = observation[..., self.mask_view] > 0.5
        return mask

    @classmethod
    def from_options(cls, preset: str, options: Mapping[str, Any]) -> Self:
        """Build the system from a named preset and keyword overrides.

        Raises:
            UnknownParameter: an unknown key; it is a TypeError and a ValueError.
            ValueError: an unknown preset or an impossible value; the message names it and the fix.
        """
        return cls(cls.config_class.from_options(preset, options))  # type: ignore[call-arg]

    def baselines(self) -> Mapping[str, BaselineFactory]:
        """Factories of the configuration's baselines, by name; every system has `random`."""
        return {"random": random_actions}

    def ablations(self) -> Mapping[str, Ablation]:
        """The configuration's ablations, by name; none by default."""
        return {}

    @abstractmethod
    def allocate(self, batch: int) -> StateT:
        """State arrays of `batch` worlds, before their first reset."""

    @abstractmethod
    def reset(self, state: StateT, rows: IntArray, rngs: Sequence[Generator]) -> None:
        """Start the given rows afresh, in place; `rngs` are the generators of ALL rows."""

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
        """What must hold in the rows of `state`, the only ones it has but for its scratch; for the checking mode.

        Args:
            state: after a step, or after a reset.
            step: the step just taken; None after a reset.
        """
        return ()

    def blank_outcome(self, batch: int) -> tuple[Outcome, FloatArray]:
        """An outcome of zeros for a kernel to fill, and the memory behind its member part.

        That is of shape (1 + len(member_metrics), B, M): rewards first, then the member metrics in their order.
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
        """Pickle and copy a System as what it is built from."""
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
            ValueError: wrong shape, dtype or range; the message names the offending entry.
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
            # Clipping leaves NaN as it is.
            clip = isinstance(self.action_space, spaces.Box) and not np.isnan(value)
            raise ValueError(f"{message}; {CLIP_HINT}" if clip else message)
        return array


class Kernels(NamedTuple):
    """Functions of a paper's model that a `CompiledSystem` calls."""

    allocate: Callable[[Any, int], Any]
    """(parameters, batch) -> state, before its first reset."""
    encode: Callable[[Any, Any, NDArray[np.float32]], None]
    """(parameters, state, observation): writes the observations of all rows, in place."""
    run: Callable[..., None]
    """(parameters, state, rows, actions, *kernel_arguments, observation, reward, member, metrics): one step of rows."""


class CompiledSystem(System[StateT]):
    """A System whose step is one compiled kernel; subclasses define spaces, `reset` and `draw`."""

    kernels: ClassVar[Kernels]
    parameters: Any
    """What the kernels read, made from `config`."""

    def set_spaces(self, view: IntArray, limit: float) -> None:
        """Set `members`, `member_view` and Box observation spaces with bounds ±`limit`.

        Args:
            view: columns of the central observation that each member sees, shape (M, m); all columns occur.
            limit: largest absolute value of an observation.
        """
        self.members, self.member_view = len(view), view
        self.observation_space = box(int(view.max()) + 1, limit)
        self.member_observation_space = box(view.shape[1], limit)

    @abstractmethod
    def draw(self, state: StateT, rows: IntArray, rngs: Sequence[Generator]) -> None:
        """Draw the random numbers of a step of `rows` into the state, each row from its own generator."""

    def decode(self, state: StateT, rows: IntArray, actions: NDArray[Any]) -> NDArray[Any]:
        """Actions of all rows as the kernel takes them."""
        return actions

    def kernel_arguments(self) -> tuple[Any, ...]:
        """Further arguments of the kernel, after the actions."""
        return ()

    def allocate(self, batch: int) -> StateT:
        """State arrays of `batch` worlds, before their first reset."""
        state: StateT = self.kernels.allocate(self.parameters, batch)
        return state

    def observe(self, state: StateT) -> NDArray[np.float32]:
        """Central observations of all rows, shape (B, n), in fresh memory."""
        batch = len(next(iter(arrays_of(state, self.scratch)))[1])
        observation = np.empty((batch, *self.observation_space.shape), dtype=np.float32)  # type: ignore[misc]
        self.kernels.encode(self.parameters, state, observation)
        return observation

    @cached_property
    def run(self) -> Callable[..., None]:
        """The kernel of a step."""
        return FastCall(self.kernels.run)

    def step(self, state: StateT, rows: IntArray, actions: NDArray[Any], rngs: Sequence[Generator]) -> Outcome:
        """Advance the given rows by one decision, in place; see `System.step`."""
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        decoded = self.decode(state, rows, actions)
        self.draw(state, rows, rngs)
        outcome, member = self.blank_outcome(len(actions))
        self.run(
            self.parameters, state, rows, decoded, *self.kernel_arguments(), outcome.observation, outcome.reward,
            member, outcome.metrics,
        )  # fmt: skip
        return outcome


def box(size: int, limit: float) -> spaces.Box:
    """A Box of float32 with bounds ±`limit`, shape (size,)."""
    return spaces.Box(-limit, limit, (size,), np.float32)


@kernel
def first_outside(array: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> int:
    """Flat index of the first entry of a matrix outside its column's bounds (or NaN), -1 if there is none."""
    for row in range(array.shape[0]):
        for column in range(array.shape[1]):
            if not low[column] <= array[row, column] <= high[column]:
                return row * array.shape[1] + column
    return -1


def load_system(target: str | type[System[Any]]) -> type[System[Any]]:
    """The System class behind "package.module:Class", or the class itself.

    Raises:
        ValueError: nothing of that name, or not a System.
    """
    found: object = target
    if isinstance(target, str):
        module, _, name = target.partition(":")
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise ValueError(
                f"system={target!r} cannot be loaded ({error}); expected 'package.module:Class'"
            ) from error
    if not (isinstance(found, type) and issubclass(found, System)):
        raise ValueError(f"system={target!r} is not a subclass of edge_envs.core.system.System")
    return found
