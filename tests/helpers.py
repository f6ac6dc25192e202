"""Helpers for tests of environments, configurations and commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import pytest


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


def steps_like(ours: Any, theirs: Any, steps: int) -> Iterator[Any]:
    """Step two vector environments with random actions, reset some of their rows in between, and yield each result.

    Raises:
        AssertionError: they return different things.
    """
    assert_same(ours.reset(seed=1), theirs.reset(seed=1))
    for step, actions in enumerate(random_actions(ours.action_space, steps)):
        if step % 37 == 5:
            mask = np.arange(ours.num_envs) % 2 == 0
            options = [{"reset_mask": mask.copy()} for _ in range(2)]
            assert_same(ours.reset(options=options[0]), theirs.reset(options=options[1]), f"mask before {step}")
        result = ours.step(actions)
        assert_same(result, theirs.step(actions), f"step {step}")
        yield result


def assert_names_wrong_value(make: Callable[..., Any], kind: Any, name: str, value: Any) -> str:
    """`make(name=value)` raises ValueError with the field, the wrong value or entry, and the field's meaning.

    Returns the message.
    """
    with pytest.raises(ValueError, match=rf"^{re.escape(name)}(\[\d+\])?=.* is not possible: ") as caught:
        make(**{name: value})
    message = str(caught.value)
    parts = [value, *(value if isinstance(value, (tuple, list)) else [])]
    assert any(f"={part!r} is not possible" in message for part in parts)
    assert (kind.model_fields[name].description or "?").split("\n")[0] in message
    return message


def assert_one_line_error(main: Callable[[Sequence[str]], Any], arguments: Sequence[str], capsys: Any) -> str:
    """A command ends with status 2 and one line on standard error, which is returned."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    written = str(capsys.readouterr().err)
    assert written.startswith("error: ")
    assert written.count("\n") == 1
    return written


def assert_interrupt_is_quiet(module: Any, monkeypatch: Any, capsys: Any) -> None:
    """Ctrl-C during the work of a command ends in one line and status 130."""

    def stop(options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run", stop)
    assert module.main([]) == 130
    assert capsys.readouterr().err == "interrupted by SIGINT\n"
