"""Environments by id, and their seed streams."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from agents.worlds import (
    EVALUATION_STREAM,
    IMITATION_STREAM,
    TRAINING_STREAM,
    VALIDATION_STREAM,
    current_options,
    known_ids,
    make_worlds,
    step_values,
    stream_seeds,
    system_of,
)

ID = "LyaPPO-v0"


def test_step_values_takes_each_row_from_where_it_is():
    done = np.array([True, False, True])
    info = {"x": np.array([0.0, 2.0, 0.0]), "final_info": {"x": np.array([1.0, 0.0, 3.0])}}
    np.testing.assert_array_equal(step_values(info, "x", done), [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(step_values({"x": done}, "x", ~done & done), done)
    np.testing.assert_array_equal(step_values({"final_info": info}, "x", done | ~done), info["x"])
    wide = {"x": np.zeros((3, 2)), "final_info": {"x": np.ones((3, 2))}}
    np.testing.assert_array_equal(step_values(wide, "x", done), [[1, 1], [0, 0], [1, 1]])


def test_streams_never_meet():
    streams = [EVALUATION_STREAM, VALIDATION_STREAM, TRAINING_STREAM, IMITATION_STREAM]
    words = [set(stream_seeds(s, seed, 300)) for s, seed in itertools.product(streams, range(20))]
    assert len(set.union(*words)) == 80 * 300
    assert all(type(word) is int and word >= 0 for word in words[0])


def test_fewer_seeds_are_the_first_ones():
    assert stream_seeds(EVALUATION_STREAM, 0, 16)[:4] == stream_seeds(EVALUATION_STREAM, 0, 4)


@pytest.mark.parametrize(
    ("env_id", "options", "message"),
    [
        ("LyaPPO-v1", {}, "env='LyaPPO-v1' does not exist; did you mean 'LyaPPO-v0'"),
        ("CartPole-v1", {}, "env='CartPole-v1' does not exist"),
        (ID, {"check": True}, "check=True is not a parameter of the environment"),
        (ID, {"max_episode_steps": 0}, "max_episode_steps=0 is not possible; give a whole number >= 1"),
        (ID, {"max_episode_steps": True}, "max_episode_steps=True is not possible; give a whole number >= 1"),
        (ID, {"num_devices": 0}, "num_devices=0 is not possible"),
    ],
)
def test_worlds_that_do_not_exist(env_id, options, message):
    with pytest.raises(ValueError, match=message):
        make_worlds(env_id, 2, "default", options)


def test_worlds_have_the_options():
    assert ID in known_ids()
    env = make_worlds(ID, 3, "dynamic", {"num_devices": 2, "max_episode_steps": 5})
    assert (env.num_envs, env.system.members, env.max_episode_steps) == (3, 2, 5)
    assert system_of(ID, "dynamic", {"num_devices": 2}).config == env.system.config


def test_earlier_names_of_options_are_current_ones(monkeypatch):
    config = type(system_of(ID, "default", {}).config)
    monkeypatch.setattr(config, "renamed", {"devices": "num_devices"})
    assert current_options(ID, {"devices": 2, "cuts": "all"}) == {"num_devices": 2, "cuts": "all"}
    assert current_options("of-nobody", {"devices": 2}) == {"devices": 2}
