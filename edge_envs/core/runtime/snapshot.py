"""Snapshots of a batch of worlds as plain arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray

from edge_envs.core.system import System

BELOW_ONE = float(np.nextafter(1.0, 0.0))
"""Largest value of a uniform random number."""
COUNT_MAX = float(1 << 53)
"""Largest value of a counter."""
FINITE_MAX = float(np.finfo(np.float64).max)
Arrays = dict[str, NDArray[Any]]
ANYTHING = (-np.inf, np.inf)
"""Limits that allow any value, for arrays on which nothing depends."""
WORD = 1 << 64


def fields_of(state: Any) -> dict[str, Any]:
    """Fields of a state (a NamedTuple or a dataclass) by name."""
    if isinstance(state, tuple):
        return state._asdict()  # type: ignore[attr-defined, no-any-return]
    return {field.name: getattr(state, field.name) for field in fields(state)}


def arrays_of(state: Any, scratch: Sequence[str] = (), prefix: str = "") -> Iterator[tuple[str, NDArray[Any]]]:
    """Names and arrays of a state, without scratch memory; arrays of nested tuples have names like "outer.inner"."""
    for name, value in fields_of(state).items():
        if name in scratch:
            continue
        if isinstance(value, np.ndarray):
            yield prefix + name, value
        else:
            yield from arrays_of(value, prefix=f"{prefix}{name}.")


def pack_generators(rngs: Sequence[Generator]) -> NDArray[np.uint64]:
    """States of PCG64 generators, six words per row.

    Raises:
        ValueError: a generator is not a PCG64.
    """
    rows = []
    for rng in rngs:
        state: Any = rng.bit_generator.state
        if state["bit_generator"] != "PCG64":
            raise ValueError(f"a snapshot holds PCG64 generators only, not {state['bit_generator']}")
        words = [word for name in ("state", "inc") for word in divmod(state["state"][name], WORD)]
        rows.append([*words, state["has_uint32"], state["uinteger"]])
    return np.array(rows, dtype=np.uint64).reshape(-1, 6)


def unpack_generators(words: NDArray[np.uint64]) -> list[Generator]:
    """Generators from the states that `pack_generators` returned."""
    rngs = []
    for row in words.tolist():
        bits = PCG64()
        bits.state = {
            "bit_generator": "PCG64",
            "state": {"state": row[0] << 64 | row[1], "inc": row[2] << 64 | row[3]},
            "has_uint32": row[4] & 1,
            "uinteger": row[5] & 0xFFFFFFFF,
        }
        rngs.append(Generator(bits))
    return rngs


def take_snapshot(system: System[Any], state: Any, progress: Arrays, rngs: Sequence[Generator]) -> Arrays:
    """Copies of all arrays that determine future steps of a batch, by name; the first axis of each is the batch.

    Args:
        system: the system.
        state: the state of the batch.
        progress: clocks and running summaries, by name.
        rngs: the rows' generators.

    Raises:
        ValueError: a generator is not a PCG64.
    """
    return {
        **{f"state.{name}": array.copy() for name, array in arrays_of(state, system.scratch)},
        **{name: array.copy() for name, array in progress.items()},
        "generators": pack_generators(rngs),
    }


def restore_snapshot(snapshot: Arrays, system: System[Any], state: Any, progress: Arrays) -> list[Generator]:
    """Write a snapshot into `state` and `progress` of a batch of equal size; returns the rows' generators.

    Raises:
        ValueError: a snapshot of another configuration, or invalid values; nothing is changed then.
    """
    snapshot = dict(system.upgraded(snapshot))
    arrays = {f"state.{name}": array for name, array in arrays_of(state, system.scratch)} | progress
    check_alike(snapshot, {**arrays, "generators": np.zeros((len(progress["started"]), 6), dtype=np.uint64)})
    check_values({name: snapshot[f"state.{name}"] for name, _ in arrays_of(state, system.scratch)}, system.limits)
    taken = {name: snapshot[name] for name in progress}
    # Certificates may be NaN or infinite, and so may their summaries.
    certifies = np.array([metric.certifies for metric in system.metrics])
    totals = taken["summary.totals"]
    taken["summary.totals"] = np.where(~np.isfinite(totals) & certifies, 0.0, totals)
    check_values(taken, {"summary.steps": (0, COUNT_MAX)})
    rngs = unpack_generators(snapshot["generators"])
    for name, array in arrays.items():
        array[...] = snapshot[name]
    return rngs


def check_alike(found: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> None:
    """Raise ValueError if two sets of arrays differ in names, shapes or types."""
    for name in sorted(found.keys() ^ expected.keys()):
        raise ValueError(f"{name!r} is {'missing' if name in expected else 'unknown'}")
    for name, array in expected.items():
        given = found[name]
        if (given.shape, given.dtype) != (array.shape, array.dtype):
            raise ValueError(
                f"{name!r} has shape {given.shape} and type {given.dtype}, expected {array.shape} and {array.dtype}"
            )


def check_values(arrays: Mapping[str, NDArray[Any]], limits: Mapping[str, tuple[float, float]]) -> None:
    """Raise ValueError if values are not finite or are outside their limits; kernels use them as unchecked indices."""
    for name, array in arrays.items():
        low, high = limits.get(name, (-FINITE_MAX, FINITE_MAX))
        if (low, high) == ANYTHING or not array.size:
            continue
        # Convert to Python's float: a comparison with float32 would round large limits to infinity.
        if not (float(array.min()) >= low and float(array.max()) <= high):
            if (low, high) == (-FINITE_MAX, FINITE_MAX):
                raise ValueError(f"{name!r} holds values that are not finite")
            raise ValueError(f"{name!r} holds values that are not within {low:g} to {high:g}")
