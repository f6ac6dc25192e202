"""Summaries of metrics over episodes, and the entries of `info`."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from edge_envs.core.runtime.episodes import (
    EpisodeSummary,
    Info,
    Names,
    announced,
    check_reset_options,
    choices_of,
    entries,
    replaced,
)
from tests.core.test_env import Toy, ToyConfig


def test_summary_of_some_rows():
    summary = EpisodeSummary(Toy(ToyConfig()), 3)
    first = np.array([[1.0, 2.0, -3.0], [9.0, 9.0, 9.0], [3.0, 4.0, -5.0]])
    np.testing.assert_array_equal(summary.add(np.array([0, 2]), first), [first[0], [0, 0, 0], first[2]])
    second = np.array([[3.0, 1.0, -4.0], [1.0, 1.0, -1.0], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(summary.add(np.array([0, 1]), second), [[2, 1, -3], [1, 1, -1], [0, 0, 0]])
    assert summary.steps.tolist() == [2, 1, 1]
    summary.restart(np.array([0]))
    np.testing.assert_array_equal(summary.add(np.array([0]), second), [second[0], [0, 0, 0], [0, 0, 0]])


def test_a_largest_value_stays_nan():
    summary = EpisodeSummary(Toy(ToyConfig()), 1)
    rows = np.array([0])
    found = [summary.add(rows, np.array([[0.0, 0.0, value]]))[0, 2] for value in (-3.0, -5.0, np.nan, -1.0)]
    np.testing.assert_array_equal(found, [-3.0, -3.0, np.nan, np.nan])


def blank_info(system: Toy, batch: int) -> Info:
    nothing = system.blank_outcome(batch)[0]
    return entries(Names.of(system), nothing, nothing.metrics)


def test_rows_are_replaced_in_a_copy():
    blank = blank_info(Toy(ToyConfig()), 3)
    reset = replaced(blank, np.array([1]), np.nan)
    for key, values in reset.items():
        expected = [0.0, 0.0 if key == "member_reward" else np.nan, 0.0]
        np.testing.assert_array_equal(values.reshape(3, -1), np.repeat(np.array(expected)[:, None], values[0].size, 1))
    assert not any(values.any() for values in blank.values())


def test_entries_have_the_keys_of_the_system():
    info = blank_info(Toy(ToyConfig()), 2)
    assert list(info) == [
        "noise", "way", "worst", "member_reward", "member_noise", "episode_mean_noise", "episode_mean_way",
        "episode_mean_worst",
    ]  # fmt: skip
    assert {key: value.shape for key, value in info.items() if key.startswith("member")} == {
        "member_reward": (2, 2), "member_noise": (2, 2),
    }  # fmt: skip


def test_masks_are_copies():
    present = np.array([True, False])
    info = announced({"x": np.zeros(2), "y": np.ones(2)}, present)
    assert list(info) == ["x", "y", "_x", "_y"]
    info["_x"][:] = True
    assert info["_y"].tolist() == present.tolist() == [True, False]


def test_only_choices_can_be_closed():
    assert choices_of(spaces.MultiDiscrete([2, 3])).nvec.tolist() == [2, 3]
    with pytest.raises(AttributeError, match="no action_masks"):
        choices_of(spaces.Box(0.0, 1.0))


@pytest.mark.parametrize(("known", "words"), [(None, "there is none"), ("reset_mask", "the only one is 'reset_mask'")])
def test_unknown_reset_options_are_named(known, words):
    check_reset_options(None, known)
    check_reset_options({known: 1} if known else {}, known)
    with pytest.raises(ValueError, match=f"reset option 'seed' does not exist: {words}"):
        check_reset_options({"seed": 1}, known)
