"""Bad actions and options are refused; good ones in any form are not."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode

from tests.helpers import assert_same, random_actions
from tests.registry.cases import every_case, every_id


def bad_actions(space: spaces.Space[Any]) -> list[tuple[Any, str]]:
    """Actions that must be refused, and what the message has to say."""

    assert isinstance(space, (spaces.MultiDiscrete, spaces.Box))
    size = space.shape[0]

    def spoilt(value: Any, dtype: type) -> np.ndarray:
        action: np.ndarray = np.zeros(size, dtype=dtype)
        action[-1] = value
        return action

    good = np.zeros(size, dtype=space.dtype)
    entry = f"action[{size - 1}] = "
    if isinstance(space, spaces.MultiDiscrete):
        high, lowest = int(space.nvec[-1]), np.iinfo(np.int64).min
        special: list[tuple[Any, str]] = [
            (spoilt(high, np.int64), f"{entry}{high}"),
            (spoilt(high, np.int8), f"{entry}{high}"),
            (spoilt(-1, np.int64), f"{entry}-1"),
            (spoilt(lowest, np.int64), f"{entry}{lowest}"),
            (spoilt(2**64 - 1, np.uint64), entry),
            (good.astype(np.float32), "dtype float32"),
            (spoilt(np.nan, np.float64), "dtype float64"),
        ]
    else:
        special = [
            (spoilt(np.nan, np.float32), f"{entry}nan"),
            (spoilt(-np.inf, np.float32), f"{entry}-inf"),
            (spoilt(1.0 + 1e-9, np.float64), f"{entry}1.000000001"),
            (spoilt(-1.0000001, np.float32), f"{entry}-1.0000001"),
            (spoilt(2, np.int64), f"{entry}2"),
            (good.astype(np.complex64), "dtype complex64"),
        ]
    return [
        *special,
        (good[:-1], "shape"),
        (np.append(good, good[:1]), "shape"),
        (good[None], "shape"),
        (good[0], "shape"),
        (None, "shape"),
        ([], "shape"),
        (good > 1, "dtype bool"),
        (good.astype(str), "dtype <U"),
        (good.astype(object), "dtype object"),
        ([None] * size, "dtype object"),
    ]


def can_be_clipped(space: spaces.Space[Any], words: str) -> bool:
    """True if clipping makes a bad action valid, by what the message must say: a Box out of bounds, but not NaN."""
    return isinstance(space, spaces.Box) and words.startswith("action[") and not words.endswith("nan")


@every_id
def test_the_wrapper_that_the_message_names_makes_the_action_valid(case):
    if not isinstance(case.bare().action_space, spaces.Box):
        pytest.skip("choices cannot be clipped")
    single, vector = gym.wrappers.ClipAction(case.single()), gym.wrappers.vector.ClipAction(case.vector(2))
    for env, shape in ((single, ()), (vector, (2,))):
        env.reset(seed=0)
        action = np.full((*shape, *case.bare().action_space.shape), 3.0, np.float32)
        reward: Any = env.step(action)[1]  # type: ignore[attr-defined]
        assert np.isfinite(reward).all()


@every_case
def test_bad_actions_are_refused_and_leave_no_trace(case):
    env, twin = case.bare(), case.bare()
    actions = random_actions(env.action_space, 40)
    env.reset(seed=0)
    twin.reset(seed=0)
    for (bad, words), action in zip(bad_actions(env.action_space), actions, strict=False):
        with pytest.raises(ValueError, match="action") as caught:
            env.step(bad)
        assert words in str(caught.value)
        assert ("gymnasium.wrappers.ClipAction" in str(caught.value)) == can_be_clipped(env.action_space, words)
        assert_same(env.step(action), twin.step(action))
    with pytest.raises(ValueError, match=r"inhomogeneous|actions have shape"):
        env.step([[0], [0, 1]])
    assert_same(env.step(actions[-1]), twin.step(actions[-1]))


@every_case
def test_bad_actions_of_a_row_are_refused(case):
    env, twin = case.vector(3), case.vector(3)
    space = env.single_action_space
    assert space.shape is not None
    actions = random_actions(env.action_space, 40)
    env.reset(seed=0)
    twin.reset(seed=0)
    for (bad, words), action in zip(bad_actions(space), actions, strict=False):
        batch = [np.zeros_like(bad)] * 2 + [bad]
        with pytest.raises(ValueError, match="action") as caught:
            env.step(batch)
        assert words in str(caught.value)
        assert ("of row 2 " in str(caught.value)) == words.startswith("action[")
        assert_same(env.step(action), twin.step(action))
    for shape in ((2,), (4,), (3, 1), ()):
        with pytest.raises(ValueError, match="actions have shape"):
            env.step(np.zeros((*shape, *space.shape), dtype=space.dtype))
    with pytest.raises(ValueError, match="inhomogeneous"):
        env.step([[0], [0, 1], [0]])


@every_case
def test_actions_may_come_in_other_clothes(case):
    """Lists, narrow, unsigned, swapped, strided and read-only arrays mean the same."""
    env, twin = case.bare(), case.bare()
    env.reset(seed=0)
    twin.reset(seed=0)
    discrete = isinstance(env.action_space, spaces.MultiDiscrete)
    forms = [
        lambda a: a.tolist(),
        lambda a: tuple(a),
        lambda a: np.repeat(a, 2)[::2],
        lambda a: np.asfortranarray(a),
        lambda a: a.astype(a.dtype.newbyteorder()),
        lambda a: np.frombuffer(a.tobytes(), dtype=a.dtype),  # read-only
        *([lambda a: a.astype(np.int8), lambda a: a.astype(np.uint64)] if discrete else [lambda a: a.astype(float)]),
    ]
    for form, action in zip(forms, random_actions(env.action_space, len(forms)), strict=True):
        assert_same(env.step(form(action)), twin.step(action))


@every_case
def test_the_corners_of_the_action_space_are_allowed(case):
    env = case.bare()
    low, high = env.system._action_bounds
    env.reset(seed=0)
    for bound in (low, high):
        action = bound.astype(env.action_space.dtype)
        assert action in env.action_space
        observation, reward, *_ = env.step(action)
        assert observation in env.observation_space
        assert np.isfinite(reward)


@pytest.mark.parametrize("make", [gym.make, gym.make_vec])
@every_id
def test_bad_options_are_refused(case, make):
    config = case.system().config
    field_name = next(iter(type(config).model_fields))
    for kind in (ValueError, TypeError):
        with pytest.raises(kind, match=rf"unexpected keyword argument '{field_name}x'; did you mean '{field_name}'\?"):
            make(case.env_id, **{field_name + "x": 1})
        with pytest.raises(kind, match=rf"unexpected keyword argument 'zzz'; known: {field_name}, "):
            make(case.env_id, zzz=1)
    with pytest.raises(ValueError, match=rf"{field_name}='many' is not possible"):
        make(case.env_id, **{field_name: "many"})
    with pytest.raises(ValueError, match=r"preset='papr' does not exist; did you mean 'paper'\?"):
        make(case.env_id, preset="papr")
    presets: list[Any] = [None, 3, ["paper"], {}]
    for preset in presets:
        with pytest.raises(ValueError, match=r"preset=.* does not exist"):
            make(case.env_id, preset=preset)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Gymnasium's own
        with pytest.raises(ValueError, match="render_mode='ansi'"):
            make(case.env_id, render_mode="ansi")


@every_id
def test_bad_vector_options_are_refused(case):
    for num_envs in (0, -1):
        with pytest.raises(ValueError, match=f"num_envs={num_envs}"):
            case.vector(num_envs)
    for steps in (0, -3):
        with pytest.raises(ValueError, match=f"max_episode_steps={steps}"):
            case.vector(1, max_episode_steps=steps)
    with pytest.raises(ValueError, match=r"autoreset_mode='Sometimes'.*NextStep.*SameStep.*Disabled"):
        case.vector(1, autoreset_mode="Sometimes")
    for mode in AutoresetMode:
        assert case.vector(1, autoreset_mode=mode.value).metadata["autoreset_mode"] is mode
