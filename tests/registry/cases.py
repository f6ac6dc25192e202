"""The registered ids and presets that every test of the registry walks over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

from edge_envs.core.env import EdgeEnv, EdgeVectorEnv
from edge_envs.core.system import System, load_system
from tests.helpers import row_of

EPISODE = 9
"""Steps of the short episodes in which the tests walk over the ends of several."""
SPECS = [spec for spec in gym.registry.values() if str(spec.entry_point).startswith("edge_envs")]
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "LyaPPO-v0": [
        {"decision": "joint"},
        {"preset": "dynamic-full", "decision": "joint", "num_devices": 3},
        {"num_devices": 1, "num_services": 1, "cuts": "all"},
    ],
    "DTIRS-v0": [
        {"num_devices": 3, "num_elements": 8, "num_antennas": 4, "uplink": "independent", "backlog": True},
        {"num_devices": 3, "num_antennas": 4, "model": "printed", "cuts": "all", "irs": False, "uplink": "hermitian"},
        {"num_devices": 3, "num_elements": 6, "phase": "ca", "phase_passes": 2, "devices": "frame", "first_cut": 0},
        {"num_devices": 1, "num_elements": 1, "num_antennas": 1, "phase": "random", "uplink": "independent"},
    ],
    "ECCNOMA-v0": [
        {"preset": "paper", "num_users": 12, "num_aps": 3, "num_subchannels": 4},
        {"preset": "paper-literal", "num_users": 9, "num_aps": 3, "num_subchannels": 6},
        {"cuts": "all", "access": "fdma", "assignment": "random", "power": "full", "num_users": 8},
        {"access": "tdma", "power": "full", "csi_delay": 0, "pool_units": None, "num_users": 6},
        {"assignment": "li-gd", "fading_correlation": 0.0, "downlink": "printed", "num_users": 6, "num_subchannels": 3},
        {"num_users": 1, "num_aps": 1, "num_subchannels": 1, "units": "equal"},
        {"slices": 1, "load_bits_per_frame": 1e7, "num_users": 4, "num_subchannels": 2, "cuts": "all"},
    ],
    "SemCom-v0": [
        {"decision": "power_bandwidth", "num_devices": 3},
        {"decision": "joint"},
        {"psnr_mode": "hard", "solver": "alg3"},
        {"psnr_mode": "utility", "solver": "p3_only", "num_devices": 1, "observe_price": False},
    ],
}
"""Options beside the presets that are worth the same tests."""
MOST_ENTRIES = 4096
"""Presets whose observation has more numbers go through the tests as a variant with fewer members."""


@dataclass
class Case:
    """One environment as a user would make it."""

    env_id: str
    options: dict[str, Any] = field(default_factory=dict)

    def single(self, **more: Any) -> gym.Env[Any, Any]:
        return gym.make(self.env_id, **{"max_episode_steps": EPISODE, **self.options, **more})

    def bare(self, **more: Any) -> EdgeEnv:
        env = gym.make(self.env_id, **self.options, **more).unwrapped
        assert isinstance(env, EdgeEnv)
        return env

    def vector(self, num_envs: int, mode: AutoresetMode = AutoresetMode.NEXT_STEP, **more: Any) -> EdgeVectorEnv:
        options = {"max_episode_steps": EPISODE, "autoreset_mode": mode, **self.options, **more}
        env = gym.make_vec(self.env_id, num_envs=num_envs, **options)
        assert isinstance(env, EdgeVectorEnv)
        return env

    def sync(self, num_envs: int, mode: AutoresetMode) -> Any:
        return gym.make_vec(
            self.env_id, num_envs=num_envs, vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode},
            max_episode_steps=EPISODE, **self.options,
        )  # fmt: skip

    def system(self) -> System[Any]:
        return self.bare().system


def system_class(spec: EnvSpec) -> type[System[Any]]:
    return load_system(spec.kwargs["system"])


def reset_info(system: System[Any], observation: np.ndarray, rows: np.ndarray | None = None) -> dict[str, Any]:
    """The info of a reset that returned this observation, of a single environment or of some rows of a batch."""
    if observation.ndim == 1:
        return row_of(reset_info(system, observation[None]), 0)
    rows = np.ones(len(observation), dtype=np.bool_) if rows is None else rows
    unknown = np.where(rows, np.nan, 0.0)
    members = np.repeat(unknown[:, None], system.members, axis=1)
    names = [metric.name for metric in system.metrics]
    info = {
        **dict.fromkeys([*names, *(f"episode_mean_{name}" for name in names)], unknown),
        **dict.fromkeys([f"member_{name}" for name in system.member_metrics], members),
        "member_reward": np.zeros((len(rows), system.members)),
    }
    mask = system.action_mask(observation)
    if mask is not None:
        info["action_mask"] = np.where(rows[:, None, None], mask, 0).astype(np.int8)
    return info | {f"_{name}": rows for name in info}


def presets_of(spec: EnvSpec, heavy: bool) -> list[str]:
    """Presets of an id, those of many members or the others."""
    system = system_class(spec)
    presets = type(system.from_options("default", {}).config).presets
    sizes = {preset: np.prod(system.from_options(preset, {}).observation_space.shape or ()) for preset in presets}
    return [preset for preset, size in sizes.items() if (size > MOST_ENTRIES) == heavy]


def all_cases() -> list[Any]:
    cases = []
    for spec in SPECS:
        presets = presets_of(spec, heavy=False)
        for options in [*({"preset": preset} for preset in presets), *VARIANTS.get(spec.id, [])]:
            name = "-".join([spec.id, *(str(value) for value in options.values())])
            cases.append(pytest.param(Case(spec.id, options), id=name))
    return cases


def heavy_cases() -> list[Any]:
    presets = [(spec.id, preset) for spec in SPECS for preset in presets_of(spec, heavy=True)]
    return [pytest.param(Case(name, {"preset": preset}), id=f"{name}-{preset}") for name, preset in presets]


every_case = pytest.mark.parametrize("case", all_cases())
every_heavy_case = pytest.mark.parametrize("case", heavy_cases())
every_id = pytest.mark.parametrize("case", [pytest.param(Case(spec.id), id=spec.id) for spec in SPECS])
