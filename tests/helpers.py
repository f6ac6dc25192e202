"""Helpers for tests of environments: exact comparison of everything an environment returns, and random actions."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np


def assert_same(ours: Any, theirs: Any, where: str = "it") -> None:
    """Equal to the last bit, in type, dtype, shape and keys too; NaN equals NaN."""
    assert type(ours) is type(theirs), f"{where}: {type(ours)} is not {type(theirs)}"
    if isinstance(ours, dict):
        assert sorted(ours) == sorted(theirs), f"{where}: other keys"
        for key in ours:
            assert_same(ours[key], theirs[key], f"{where}[{key!r}]")
    elif isinstance(ours, (tuple, list)):
        assert len(ours) == len(theirs), f"{where}: other length"
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(one, other, f"{where}[{i}]")
    elif isinstance(ours, np.ndarray):
        assert ours.dtype == theirs.dtype, f"{where}: dtype {ours.dtype} is not {theirs.dtype}"
        assert ours.shape == theirs.shape, f"{where}: shape {ours.shape} is not {theirs.shape}"
        if ours.dtype == object:
            assert_same(ours.tolist(), theirs.tolist(), where)
        else:
            np.testing.assert_array_equal(ours, theirs, err_msg=where)
    else:
        np.testing.assert_equal(ours, theirs, err_msg=where)


def row_of(info: dict[str, Any], row: int) -> dict[str, Any]:
    """The info of one row of a vector environment in the form of a single one: only what its masks announce."""
    single: dict[str, Any] = {}
    for key, value in info.items():
        if key.startswith("_") or not info["_" + key][row]:
            continue
        if isinstance(value, dict):
            single[key] = row_of(value, row)
        else:
            single[key] = value[row]
    return single


def arrays_in(data: Any) -> Iterator[np.ndarray]:
    """All arrays in nested tuples, lists, dictionaries and object arrays."""
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, np.ndarray):
        yield data
        data = data.tolist() if data.dtype == object else []
    if isinstance(data, (tuple, list)):
        for part in data:
            yield from arrays_in(part)


def scribble(data: Any) -> None:
    """Overwrite every array with rubbish, as a careless user might."""
    for array in {id(array): array for array in arrays_in(data)}.values():
        if array.dtype == bool:
            np.logical_not(array, out=array)
        elif array.dtype != object:
            array.fill(77)


def random_actions(space: Any, steps: int, seed: int = 0) -> list[np.ndarray]:
    """`steps` samples of a space, which keeps its own generator untouched."""
    space = deepcopy(space)
    space.seed(seed)
    return [space.sample() for _ in range(steps)]


def rollout(env: Any, actions: list[np.ndarray], seed: int | None = None, *, spoil: bool = False) -> list[Any]:
    """Everything a single or vector environment returns: the reset, then steps; a single one resets when done.

    With `spoil` each action is overwritten after its step.
    """
    trace: list[Any] = [env.reset(seed=seed)]
    for action in actions:
        mine = action.copy()
        trace.append(env.step(mine))
        if spoil:
            mine.fill(0)
        if np.ndim(trace[-1][1]) == 0 and (trace[-1][2] or trace[-1][3]):
            trace.append(env.reset())
    return trace
