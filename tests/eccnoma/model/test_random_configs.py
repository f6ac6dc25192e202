"""Hundreds of small random configurations: whatever is allowed also works, with numbers that make sense."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.random import Generator

import edge_envs  # noqa: F401  (registers the ids)
from tests.eccnoma.model import reference_report
from tests.eccnoma.model import reference_step as slow
from tests.eccnoma.model.problems import random_action

NETWORKS = ("nin@32", "tiny-yolov2-cifar@32", "vgg16-cifar@32", "vgg12@32", "ds-cnn", "nin@64", "resnet18@32")
FRAMES = 5


def spread(rng: Generator, low: float, high: float) -> float:
    """Log-uniform between two positive numbers."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def pair(rng: Generator, low: float, high: float) -> tuple[float, float]:
    """Two of them in order; now and then equal."""
    one, other = sorted((spread(rng, low, high), spread(rng, low, high)))
    return (one, one) if rng.random() < 0.15 else (one, other)


def random_radio_options(rng: Generator) -> dict[str, Any]:
    """Bands, powers, channels and their use."""
    up, down = np.sort(rng.uniform(-30.0, 40.0, 2)), np.sort(rng.uniform(-30.0, 45.0, 2))
    options = {
        "num_subchannels": int(rng.integers(1, 8)),
        "bandwidth_up_hz": spread(rng, 1e3, 1e8),
        "bandwidth_down_hz": spread(rng, 1e3, 1e8),
        "noise_dbm_per_hz": float(rng.uniform(-180.0, -90.0)),
        "power_up_min_dbm": up[0],
        "power_up_max_dbm": up[rng.integers(2)],
        "power_down_min_dbm": down[0],
        "power_down_max_dbm": down[1],
        "capacity": int(rng.integers(1, 5)),
        "access": rng.choice(["noma", "noma", "fdma", "tdma"]),
        "downlink": rng.choice(["physical", "printed"]),
        "assignment": rng.choice(["search", "search", "li-gd", "random"]),
        "power": rng.choice(["optimal", "optimal", "full"]),
        "sweeps": int(rng.integers(0, 8)),
        "power_iterations": int(rng.integers(0, 12)),
        "relaxation_iterations": int(rng.integers(1, 60)),
        "side_m": spread(rng, 20.0, 3000.0),
        "distance_min_m": spread(rng, 1.0, 30.0),
        "path_loss_exponent": float(rng.uniform(1.5, 5.5)),
        "reference_gain_db": float(rng.uniform(-40.0, 0.0)),
        "fading_correlation": float(rng.choice([0.0, 0.5, 0.9, 1.0])),
    }
    if options["access"] == "tdma":
        options |= {"assignment": "search", "power": "full"}
    elif options["access"] == "fdma" and options["assignment"] == "li-gd":
        options["assignment"] = "search"
    return options


def random_options(rng: Generator) -> dict[str, Any]:
    """A configuration within what is allowed, of a few users, far around the defaults."""
    aps = int(rng.integers(1, 4))
    speeds, units = pair(rng, 1e8, 1e11), pair(rng, 0.2, 30.0)
    alone = rng.random() < 0.3
    levels = np.round(rng.uniform(0.0, 0.95, rng.integers(1, 4)), 3)
    return {
        "num_users": aps * int(rng.integers(1, 5)),
        "num_aps": aps,
        "networks": tuple(rng.choice(NETWORKS, rng.integers(1, 4)).tolist()),
        "cuts": rng.choice(["pareto", "all"]),
        "word_bits": int(rng.integers(1, 65)),
        "input_bits": int(rng.integers(1, 65)),
        "result_bits": spread(rng, 1.0, 1e6),
        "placement": rng.choice(["uniform", "balanced"]),
        "csi_delay": int(rng.integers(2)),
        "units": rng.choice(["optimal", "most"] if alone else ["optimal", "optimal", "most", "equal"]),
        "speed_min_flop_s": speeds[0],
        "speed_max_flop_s": speeds[1],
        "device_j_per_flop": float(rng.choice([0.0, spread(rng, 1e-11, 1e-7)])),
        "unit_speed_flop_s": spread(rng, 1e8, 1e11),
        "units_min": units[0],
        "units_max": units[1],
        "core_overhead": float(rng.choice([0.0, 0.05, 0.9])),
        "pool_units": None if alone else spread(rng, 0.1, 100.0),
        "background_levels": tuple(levels.tolist()),
        "background_stay_probability": float(rng.random()),
        "server_energy_coefficient": float(rng.choice([0.0, spread(rng, 1e-32, 1e-25)])),
        "weight_delay": spread(rng, 1e-3, 10.0),
        "weight_energy": float(rng.choice([0.0, spread(rng, 1e-3, 10.0)])),
        "arrivals": rng.choice(["bursty", "bursty", "one"]),
        "frame_s": spread(rng, 0.01, 5.0),
        "quiet_rate": float(rng.choice([0.0, spread(rng, 0.1, 8.0)])),
        "burst_rate": spread(rng, 0.1, 9.0),
        "burst_begins_probability": spread(rng, 1e-3, 1.0),
        "burst_ends_probability": spread(rng, 1e-3, 1.0),
        "queue_max": spread(rng, 0.3, 100.0),
        "drop_s": float(rng.choice([0.0, 10.0])),
        **random_radio_options(rng),
    }


def step_and_check(env: Any, rng: Generator) -> dict[str, Any]:
    """One frame: all of it finite, equal to the slow simulator's, and solved as well as it says."""
    c = env.system.config
    w, action = slow.world_of(env), random_action(env, rng)
    observation, reward, terminated, truncated, info = env.step(action)
    assert observation in env.observation_space
    assert not terminated
    assert not truncated
    assert np.isfinite(reward)
    assert reward <= 0.0
    d, after = slow.decisions_of(env), slow.world_of(env)
    r = slow.simulate(c, w, action, d)
    for key, value in reference_report.expected_info(c, w, d, r, after).items():
        assert info[key] == pytest.approx(value, rel=1e-8, abs=1e-12), key
    for key, values in reference_report.expected_members(c, w, d, r, after).items():
        np.testing.assert_allclose(info["member_" + key], values, rtol=1e-8, atol=1e-12, err_msg=key)
    mask = info["action_mask"]
    assert (mask.sum(axis=1) >= 1).all()
    assert ((mask.sum(axis=1) > 1) <= (env.state.queue[0] > 0.0)).all()
    assert (env.state.queue[0] >= 0.0).all()
    if c.arrivals == "bursty":
        assert (env.state.queue[0] <= c.queue_max).all()
    return dict(info)


@pytest.mark.parametrize("block", range(8))
def test_random_configurations_work(block):
    """Forty of them each, a few frames of random choices; powers end within 1e-6 of the best but for a few."""
    gaps = []
    for number in range(40):
        rng = np.random.default_rng([block, number])
        options = random_options(rng)
        env: Any = gym.make("ECCNOMA-v0", **options).unwrapped
        env.reset(seed=number)
        for frame in range(FRAMES):
            try:
                info = step_and_check(env, rng)
            except AssertionError as error:
                raise AssertionError(f"frame {frame} of {options}: {error}") from error
            gaps.append(info["certificate"])
            assert np.isnan(info["server_gap"]) or 0.0 <= info["server_gap"] < 0.4
    certificates = np.array(gaps)[~np.isnan(gaps)]
    assert ((certificates >= 0.0) & (certificates < 1e-3)).all()
    assert (certificates <= 1e-6).mean() > 0.97
