"""The baselines and ablations: what they know, what they choose, how they rank."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.core.policy import ablations_of, baselines_of, make_baseline
from tests.helpers import arrays_in

SMALL: dict[str, Any] = {"num_users": 5, "num_subchannels": 3, "bandwidth_up_hz": 2e5, "pool_units": 2.0}
KNOWING = [
    "neurosurgeon", "li-gd", "best-response", "iterated-best-response",
    "sequential-best-response", "coordinate-descent", "dnn-surgeon",
]  # fmt: skip
BLIND = ["random", "device-only", "edge-only", "best-static"]
ABLATIONS = ["edge-only-oma", "neurosurgeon-oma", "ecc-oma", "ecc-tdma", "ecc-noma", "dnn-surgeon-oma"]
CONFIGS: dict[str, dict[str, Any]] = {
    "small": {},
    "fresh": {"csi_delay": 0},
    "paper": {"arrivals": "one", "csi_delay": 0, "fading_correlation": 0.0, "background_levels": [0.0]},
    "no-pool": {"pool_units": None},
    "all-cuts": {"cuts": "all"},
    "fdma": {"access": "fdma"},
    "tdma": {"access": "tdma", "power": "full"},
    "one": {"num_users": 1, "num_aps": 1, "num_subchannels": 1},
}
every_config = pytest.mark.parametrize("name", CONFIGS)


def make(**options: Any) -> Any:
    return gym.make("ECCNOMA-v0", **{**SMALL, **options}).unwrapped


def mean_cost(name: str, episodes: int, frames: int, **options: Any) -> float:
    env = make(**options)
    policy, total = make_baseline(name, env), 0.0
    for seed in range(episodes):
        observation, _ = env.reset(seed=seed)
        for _ in range(frames):
            observation, _, _, _, info = env.step(policy.predict(observation)[0])
            total += info["relative_cost"]
    return total / (episodes * frames)


@every_config
def test_baselines_and_ablations_of_every_configuration(name):
    env = make(**CONFIGS[name])
    config = env.system.config
    knowing = [each for each in KNOWING if each != "dnn-surgeon" or config.pool_units is not None]
    knowing = [each for each in knowing if each != "li-gd" or config.access == "noma"]
    endings = ["", "-true"] if config.csi_delay else [""]
    assert sorted(baselines_of(env)) == sorted([*BLIND, *(each + end for each in knowing for end in endings)])
    known = ablations_of(env)
    if config.access != "noma":
        assert not known
    else:
        assert sorted(known) == sorted(ABLATIONS)


@every_config
def test_everything_can_be_played(name):
    env = make(**CONFIGS[name])
    for each in baselines_of(env):
        policy = make_baseline(each, env)
        observation, _ = env.reset(seed=3)
        for _ in range(2):
            action, _ = policy.predict(observation)
            observation, reward, _, _, _ = env.step(action)
            assert env.action_space.contains(action)
            assert np.isfinite(reward)
    for ablation in ablations_of(env).values():
        other = make(**{**CONFIGS[name], **ablation.options})
        observation, _ = other.reset(seed=3)
        assert np.isfinite(other.step(make_baseline(ablation.policy, other).predict(observation)[0])[1])


@pytest.mark.parametrize("rule", KNOWING)
def test_what_each_knows(rule):
    """Without an ending nothing of the frame's own channels and tenants; with it nothing of the old ones."""
    env = make()
    changed = {"": 0, "-true": 0}
    for ending, hidden, open_fields in (
        ("", ("gain_up", "gain_down", "level"), ("seen_up", "seen_down", "seen_level")),
        ("-true", ("seen_up", "seen_down", "seen_level"), ("gain_up", "gain_down", "level")),
    ):
        for seed in range(6):
            observation, _ = env.reset(seed=seed)
            before, _ = make_baseline(rule + ending, env).predict(observation)
            rng = np.random.default_rng(seed)
            for names, must_not in ((hidden, True), (open_fields, False)):
                kept = deepcopy(env.state._replace(workspace=None))
                for field in names:
                    array = getattr(env.state, field)
                    if array.dtype == np.int64:
                        array[:] = 2 - array
                    else:
                        array *= 10.0 ** rng.uniform(-4.0, 4.0, array.shape)
                after, _ = make_baseline(rule + ending, env).predict(observation)
                if must_not:
                    np.testing.assert_array_equal(before, after)
                else:
                    changed[ending] += bool((before != after).any())
                for field in names:
                    getattr(env.state, field)[:] = getattr(kept, field)
    assert changed[""] > 0
    assert changed["-true"] > 0


def test_baselines_leave_the_environment_alone():
    env = make()
    observation, _ = env.reset(seed=0)
    for name in baselines_of(env):
        policy = make_baseline(name, env)
        kept = [array.copy() for array in arrays_in(env.state._replace(workspace=None))]
        policy.predict(observation)
        for array, copy in zip(arrays_in(env.state._replace(workspace=None)), kept, strict=True):
            np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("name", ["neurosurgeon", "best-static", "coordinate-descent", "li-gd-true"])
def test_a_world_does_not_depend_on_the_others(name):
    many = gym.make_vec("ECCNOMA-v0", num_envs=3, **SMALL)
    observation, _ = many.reset(seed=5)
    together, _ = make_baseline(name, many).predict(observation)
    assert together.shape == (3, 5)
    for row in range(3):
        env = make()
        alone_observation, _ = env.reset(seed=5 + row)
        if name != "neurosurgeon" or row == 0:  # its slices are drawn per row
            np.testing.assert_array_equal(make_baseline(name, env).predict(alone_observation)[0], together[row])


def test_device_only_and_edge_only():
    for name, cut, share in (("device-only", None, "local_share"), ("edge-only", 0, "edge_share")):
        env = make(cuts="all")
        observation, _ = env.reset(seed=1)
        info = env.step(make_baseline(name, env).predict(observation)[0])[4]
        layers = np.array([9, 17, 24])[env.state.network[0]]
        np.testing.assert_array_equal(info["member_cut"], layers if cut is None else 0)
        assert info[share] == 1.0


def test_device_only_is_the_reference_of_the_paper():
    """With one task per frame its cost is the constant that the reward divides by."""
    env = make(**CONFIGS["paper"])
    observation, _ = env.reset(seed=1)
    assert env.step(make_baseline("device-only", env).predict(observation)[0])[1] == pytest.approx(-1.0, rel=1e-12)


def test_the_order_that_the_study_found():
    """Means over the same frames, in the default system: far apart, so that few frames tell."""
    costs = {
        name: mean_cost(name, 4, 40, **env_defaults())
        for name in (
            "device-only",
            "dnn-surgeon",
            "li-gd",
            "iterated-best-response",
            "sequential-best-response",
            "coordinate-descent",
        )
    }
    assert costs["coordinate-descent"] < 0.97 * costs["iterated-best-response"]
    assert costs["coordinate-descent"] < costs["sequential-best-response"] < costs["iterated-best-response"]
    assert costs["iterated-best-response"] < 0.9 * costs["li-gd"]
    assert costs["li-gd"] < costs["device-only"]
    assert costs["dnn-surgeon"] < costs["device-only"]


def env_defaults() -> dict[str, Any]:
    """The default preset's own numbers in place of `SMALL`."""
    return {"num_users": 12, "num_subchannels": 6, "bandwidth_up_hz": 0.5e6, "pool_units": 3.0}


@pytest.mark.parametrize("units", ["most", "equal"])
def test_surgeons_take_the_fastest_cut_at_the_rates_of_all_users(units):
    """Rates and speeds of the step in which all send, from an environment with the options of their ablation."""
    name = {"most": "neurosurgeon", "equal": "dnn-surgeon"}[units]
    options = {"access": "fdma", "assignment": "random", "power": "full", "units": units, "csi_delay": 0}
    if units == "most":
        options["pool_units"] = None
    differs = 0
    for seed in range(8):
        env = make(**options, arrivals="one", num_users=6)
        observation, _ = env.reset(seed=seed)
        chosen, _ = make_baseline(name, env).predict(observation)
        p, state = env.system.parameters, deepcopy(env.state)
        info = env.step(np.zeros(6, dtype=np.int64))[4]
        for user in range(6):
            network, delays = state.network[0, user], []
            for choice in range(p.choices[network]):
                delay = p.device_flop[network, choice] / state.speed_flop_s[0, user]
                if p.bits_up[network, choice] > 0.0:
                    delay += p.bits_up[network, choice] / info["member_rate_uplink_bit_s"][user]
                    delay += p.result_bits / info["member_rate_downlink_bit_s"][user]
                units_given = info["member_server_units"][user]
                bent = units_given / (1.0 + 0.05 * (units_given - 1.0)) if units_given > 1.0 else units_given
                delays.append(delay + p.server_flop[network, choice] / (bent * 2.3e9))
            assert chosen[user] == np.argmin(delays)
            differs += chosen[user] != 0
    assert differs > 0


def test_best_static_is_constant_and_good():
    env = make(**env_defaults())
    policy = make_baseline("best-static", env)
    observation, _ = env.reset(seed=2)
    first, _ = policy.predict(observation)
    for _ in range(5):
        observation = env.step(first)[0]
        np.testing.assert_array_equal(policy.predict(observation)[0], first)
    assert mean_cost("best-static", 3, 60, **env_defaults()) < mean_cost("edge-only", 3, 60, **env_defaults())
    assert mean_cost("best-static", 3, 60, **env_defaults()) < mean_cost("device-only", 3, 60, **env_defaults())


def test_an_ablation_is_refused_as_a_baseline():
    env = make()
    with pytest.raises(ValueError, match=r"policy='ecc-oma' is an ablation.*access='fdma'"):
        make_baseline("ecc-oma", env)


def test_searches_that_grow_too_fast_are_for_few_users():
    few, many = (list(baselines_of(make(num_users=users, num_subchannels=30))) for users in (64, 65))
    assert {"best-static", "coordinate-descent", "coordinate-descent-true"} == set(few) - set(many)


def test_delayed_rules_do_not_know_random_subchannels():
    """Which slice a user gets in the frame to come is drawn; only the true state knows it."""
    env = make(access="fdma", assignment="random", power="full", num_users=8)
    changed = {"": 0, "-true": 0}
    for seed in range(8):
        observation, _ = env.reset(seed=seed)
        env.state.queue[:] = np.maximum(env.state.queue, 1.0)
        for ending in changed:
            before, _ = make_baseline("neurosurgeon" + ending, env).predict(observation)
            kept = env.state.keys.copy()
            env.state.keys[:] = np.random.default_rng(seed).random(kept.shape)
            after, _ = make_baseline("neurosurgeon" + ending, env).predict(observation)
            env.state.keys[:] = kept
            changed[ending] += bool((before != after).any())
    assert changed[""] == 0
    assert changed["-true"] > 0
