"""Kernels: compiled, called quickly, or run as plain Python."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from numba.core.errors import NumbaError

from edge_envs.core.kernels.jit import PLAIN, FastCall, compiled, kernel, kernel_part


class Pair(NamedTuple):
    """Arguments as the environments pass them."""

    floats: np.ndarray
    number: int


@kernel_part
def scaled(pair: Pair, i: int) -> float:
    return pair.floats[i] * pair.number


@kernel
def fill(pair: Pair, rows: np.ndarray, out: np.ndarray) -> None:
    for i in range(len(rows)):
        out[rows[i]] = scaled(pair, rows[i])


@kernel
def ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator


@kernel
def shifted(number: int, by: int) -> int:
    return number + by


@kernel
def shifted_by_constants(number: int) -> int:
    return shifted(shifted(number, 1), 2)


def arguments(size: int) -> tuple[Pair, np.ndarray, np.ndarray]:
    return Pair(np.arange(float(size)), 3), np.arange(size), np.zeros(size)


def test_fast_call_does_what_the_kernel_does():
    call = FastCall(fill)
    for size in (1, 4, 4, 0):
        pair, rows, out = arguments(size)
        assert call(pair, rows, out) is None
        assert out.tolist() == [3.0 * i for i in range(size)]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda pair, rows, out: (pair, rows.astype(np.int32), out),
        lambda pair, rows, out: (pair, rows, out.astype(np.float32)),
        lambda pair, rows, out: (pair._replace(floats=pair.floats.astype(np.float32)), rows, out),
        lambda pair, rows, out: ((pair.floats,), rows, out),
        lambda pair, rows, out: (pair, rows, out.tolist()),
        lambda pair, rows, out: (pair, rows, None),
        lambda pair, rows, out: (pair, rows),
    ],
)
def test_fast_call_refuses_another_item_size_and_other_types(spoil):
    call = FastCall(fill)
    call(*arguments(4))
    with pytest.raises((TypeError, IndexError)):
        call(*spoil(*arguments(4)))
    pair, rows, out = arguments(4)
    call(pair, rows, out)
    assert out.tolist() == [0.0, 3.0, 6.0, 9.0]


def test_fast_calls_are_apart():
    """Two of the same kernel may serve different types."""
    one, other = FastCall(ratio), FastCall(ratio)
    assert one(1.0, 4.0) == 0.25
    assert other(1, 4) == 0.25


def test_kernels_divide_as_numpy_does():
    assert ratio(1.0, 0.0) == np.inf
    assert np.isnan(ratio(0.0, 0.0))


def test_kernels_must_not_allocate():
    @kernel
    def allocating(size: int) -> float:
        return np.zeros(size).sum()

    with pytest.raises((NumbaError, RuntimeError)):
        allocating(3)


def test_compiled_functions_keep_name_and_docstring():
    @compiled
    def documented(x: float) -> float:
        """What it does."""
        return x

    assert documented.__doc__ == "What it does."
    assert documented(2.0) == 2.0
    assert isinstance(documented, numba.core.registry.CPUDispatcher)


def test_functions_of_the_package_can_be_pickled():
    from edge_envs.core.physics import channel

    assert pickle.loads(pickle.dumps(channel.exponential))(0.0) == 0.0


# Without compilation

TRAJECTORIES = """
import json, sys
import gymnasium as gym
import edge_envs
import numpy as np
found = {}
for name, options in json.loads(sys.argv[1]):
    env = gym.make(name, **options)
    env.action_space.seed(3)
    found[name] = [env.reset(seed=3)[0].tolist()]
    for _ in range(3):
        observation, reward, _, _, info = env.step(env.action_space.sample())
        numbers = {key: np.asarray(value).tolist() for key, value in info.items() if not isinstance(value, dict)}
        found[name] += [observation.tolist(), reward, numbers]
print(json.dumps(found))
"""
WORLDS = [
    ("LyaPPO-v0", {}),
    ("SemCom-v0", {"num_devices": 3}),
    ("DTIRS-v0", {"num_devices": 3, "num_elements": 6}),
    ("ECCNOMA-v0", {}),
]


def trajectories(**environment: str) -> tuple[dict[str, Any], str]:
    """Three steps of small worlds in a process of its own, and what it wrote to stderr."""
    command = [sys.executable, "-W", "error", "-c", TRAJECTORIES, json.dumps(WORLDS)]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout), ran.stderr


def test_everything_runs_without_compilation():
    """Transcendental functions may differ in the last digit, so the same trajectory is that of 1e-9."""
    compiled_run, _ = trajectories(NUMBA_DISABLE_JIT="0")
    plain, said = trajectories(NUMBA_DISABLE_JIT="1")
    assert not said
    for name, steps in compiled_run.items():
        for one, other in zip(steps, plain[name], strict=True):
            if isinstance(one, dict):
                assert one.keys() == other.keys()
                for key in one:
                    np.testing.assert_allclose(one[key], other[key], rtol=1e-9, atol=1e-12, err_msg=f"{name} {key}")
            else:
                np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.skipif(PLAIN, reason="kernels run as Python")
def test_constants_in_a_call_compile_no_further_versions():
    assert shifted_by_constants(3) == shifted(3, 3) == 6
    assert len(shifted.signatures) == 1  # type: ignore[attr-defined]
