"""Small configurations of the environment that the tests of the frame go through, and frames of random actions."""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from tests.eccnoma.model import reference_step as slow

PAPER: dict[str, Any] = {"preset": "paper", "num_users": 12, "num_aps": 3, "num_subchannels": 4}
LITERAL: dict[str, Any] = {"preset": "paper-literal", "num_users": 9, "num_aps": 5, "num_subchannels": 6}
FDMA: dict[str, Any] = {"access": "fdma", "num_users": 8, "num_aps": 3, "num_subchannels": 5}
TDMA: dict[str, Any] = {"access": "tdma", "power": "full", "num_users": 8, "num_aps": 3, "num_subchannels": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "default": {},
    "large": {"preset": "large", "num_users": 15, "num_subchannels": 5},
    "paper": PAPER,
    "paper-literal": LITERAL,
    "paper-one-network": {**PAPER, "networks": ("tiny-yolov2-cifar@32",), "cuts": "all"},
    "paper-pooled": {**PAPER, "pool_units": 8.0},
    "paper-stale": {
        **PAPER, "pool_units": 8.0, "csi_delay": 1, "background_levels": (0.0, 0.4), "background_stay_probability": 0.2,
    },
    "fdma": FDMA,
    "fdma-few-slices": {**FDMA, "num_subchannels": 11},
    "fdma-random": {**FDMA, "assignment": "random", "power": "full", "units": "most"},
    "fdma-full": {**FDMA, "power": "full", "downlink": "printed"},
    "tdma": TDMA,
    "tdma-fresh": {**TDMA, "fading_correlation": 0.0, "pool_units": None, "num_subchannels": 4, "capacity": 1},
    "printed": {"downlink": "printed", "num_subchannels": 3},
    "li-gd": {"assignment": "li-gd", "num_users": 6, "num_subchannels": 3},
    "li-gd-short": {**PAPER, "assignment": "li-gd", "downlink": "printed", "num_users": 6, "relaxation_iterations": 40},
    "random": {"assignment": "random", "power": "full", "units": "equal"},
    "random-tuned": {"assignment": "random", "num_subchannels": 3},
    "li-gd-full": {"assignment": "li-gd", "power": "full", "num_users": 6, "num_subchannels": 3},
    "random-crowd": {"assignment": "random", "power": "full", "capacity": 1, "num_subchannels": 2},
    "full-power": {"power": "full", "units": "most", "pool_units": 9.0, "units_max": 3.0, "units_min": 0.5},
    "equal-units": {"units": "equal", "pool_units": 20.0, "units_max": 2.0},
    "most-units-alone": {"units": "most", "pool_units": None},
    "no-pool": {"pool_units": None, "units_min": 2.0, "units_max": 3.5, "server_energy_coefficient": 4e-28},
    "no-pool-slow": {"pool_units": None, "server_energy_coefficient": 1e-26},
    "wide-pool": {"pool_units": 200.0, "units_max": 64.0},
    "all-cuts": {"cuts": "all", "num_users": 10},
    "one-task": {"arrivals": "one", "background_levels": (0.5, 0.1)},
    "fresh-csi": {"csi_delay": 0},
    "fresh-fading": {"fading_correlation": 0.0},
    "still": {"fading_correlation": 1.0, "background_stay_probability": 1.0},
    "fresh-everything": {"csi_delay": 0, "fading_correlation": 0.0, "background_stay_probability": 0.0},
    "one-ap": {"num_aps": 1, "num_users": 6},
    "one-user": {"num_users": 1},
    "one-subchannel": {"num_subchannels": 1, "num_users": 7, "capacity": 2},
    "all-one": {"num_users": 1, "num_aps": 1, "num_subchannels": 1, "networks": ("nin@32",)},
    "crowd": {"num_users": 14, "num_subchannels": 2, "capacity": 1},
    "swamped": {"quiet_rate": 20.0, "burst_rate": 30.0, "queue_max": 7.5, "drop_s": 3.0},
    "quiet": {"quiet_rate": 0.05, "burst_rate": 0.2, "frame_s": 0.5},
    "free-energy": {"weight_energy": 0.0, "server_energy_coefficient": 0.0, "device_j_per_flop": 0.0},
    "dear-energy": {"weight_energy": 50.0, "power_up_min_dbm": -20.0},
    "one-power": {"power_up_min_dbm": 25.0, "power_down_min_dbm": 30.0},
    "loud": {"noise_dbm_per_hz": -90.0, "side_m": 3000.0},
    "near": {"side_m": 15.0, "path_loss_exponent": 2.0, "reference_gain_db": -30.0},
    "other-networks": {"networks": ("vgg12@32", "resnet18@64", "ds-cnn"), "word_bits": 8, "input_bits": 16},
    "narrow": {"bandwidth_up_hz": 2e4, "bandwidth_down_hz": 1e3, "result_bits": 5e4},
    "balanced": {"placement": "balanced", "num_aps": 4},
    "slices": {"preset": "planning", "num_users": 8, "num_subchannels": 4},
    "one-slice": {"slices": 1, "load_bits_per_frame": 1e7, "num_users": 7, "cuts": "all", "csi_delay": 0},
    "many-slices": {"slices": 9, "weight_bits": 1, "num_users": 8, "pool_units": None, "access": "fdma"},
    "rough-search": {"sweeps": 0, "power_iterations": 0},
}  # fmt: skip
every_config = pytest.mark.parametrize("name", CONFIGS)


def make(name: str, **more: Any) -> Any:
    """The bare environment of a configuration."""
    return gym.make("ECCNOMA-v0", **{**CONFIGS[name], **more}).unwrapped


def random_action(env: Any, rng: np.random.Generator) -> np.ndarray:
    """Any choice for most users, and now and then the same for all, so that all send or none does."""
    choices = env.action_space.nvec
    if rng.random() < 0.3:
        return np.full(len(choices), rng.integers(choices[0]))
    return np.asarray(rng.integers(0, choices))


Frame = tuple[Any, slow.World, slow.Decisions, slow.Result, slow.World, dict[str, Any]]
"""Environment, world before, decisions, slow result, world after, and info with the reward."""


def play(name: str, frames: int, **more: Any) -> Iterator[Frame]:
    """Frames of random actions."""
    env = make(name, **more)
    env.reset(seed=3)
    rng = np.random.default_rng(1)
    for _ in range(frames):
        w, action = slow.world_of(env), random_action(env, rng)
        _, reward, _, _, info = env.step(action)
        d = slow.decisions_of(env)
        yield env, w, d, slow.simulate(env.system.config, w, action, d), slow.world_of(env), {**info, "reward": reward}
