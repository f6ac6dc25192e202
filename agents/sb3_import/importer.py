"""Networks from zip files of Stable-Baselines3, read as plain JSON and tensors, never as serialised objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from stable_baselines3.common.policies import BasePolicy

from agents.hyperparameters.settings import OFF_POLICY, AgentName, Settings
from agents.networks.build import blueprint, build_network
from agents.networks.masked_policy import ChoicePolicy
from agents.networks.normalization import normalize_by_file
from agents.runs.folder import RunConfig, RunError
from agents.sb3_import.torch_file import POLICY_MAX_BYTES, read_state
from agents.sb3_import.zip_archive import Archive
from agents.untrusted import read_capped, shown
from edge_envs.core.config import first_complaint
from edge_envs.core.system import System

FILE_MAX_BYTES = 1 << 29
DATA_MAX_BYTES = 1 << 23
NOT_NORMALIZED = Path("none")
"""Value of --normalization for a model that was trained on raw observations."""
POLICY_MODULES = {
    "stable_baselines3.common.policies", "stable_baselines3.td3.policies", ChoicePolicy.__module__, "agents.choices",
}  # fmt: skip
"""Modules of the policy classes that can be rebuilt; older zips name the last one for `ChoicePolicy`."""
FIX = "give a file that save() of Stable-Baselines3's PPO, DDPG or TD3 wrote"
NO_TRACE = (
    "a file of --agent {} does not record VecNormalize; if the model was trained in one, give --normalization FILE"
)


def import_sb3(
    file: Path, config: RunConfig, system: System[Any], normalization: Path | None = None
) -> tuple[RunConfig, BasePolicy]:
    """Read a network and its configuration from a zip file of Stable-Baselines3.

    The network is the one that `config` would train, with the tensors of `policy.pth` and their hidden widths. Use
    `central` for a model of `gym.make(env)` (DDPG and TD3: wrapped in `ContinuousPartition`), and `shared` for a model
    of the member view. If the system has a mask, the imported PPO network applies it even if the original did not.

    The plain JSON of `data` is used to check the activation function, the features extractor, the module of the policy
    class and, for PPO, `VecNormalize`. The file does not reveal a model of another environment with equal spaces, a
    model behind another wrapper that changes observations, or a DDPG or TD3 model trained in `VecNormalize`.

    Args:
        file: the zip file.
        config: agent, policy and environment; `settings.hidden` is replaced.
        system: of that environment.
        normalization: file with the statistics of the model's `VecNormalize`, `NOT_NORMALIZED` for a model that was
            trained in one on raw observations, or None.

    Raises:
        RunError: a file cannot be read or does not fit; the message names the fix.
    """
    try:
        check_kind(config, system)
        archive = Archive(read_capped(file, FILE_MAX_BYTES))
        data = read_data(archive.read("data", DATA_MAX_BYTES))
        check_data(data, config.agent)
        check_normalization(data, config.agent, normalization)
        state = read_state(archive.read("policy.pth", POLICY_MAX_BYTES))
        settings = settings_of(state, config)
        network = build_network(config.agent, config.policy, settings, system)
        check_fit(state, network.state_dict(), config)
        network.load_state_dict(state)
    except OSError as error:
        raise RunError(f"{file} cannot be imported ({error.strerror}); give another file with --import-sb3") from error
    except MisfitError as error:
        raise RunError(f"{file} cannot be imported: {error}") from error
    except ValueError as error:
        raise RunError(f"{file} cannot be imported: {error}; {FIX}") from error
    if normalization not in (None, NOT_NORMALIZED):
        try:
            normalize_by_file(network, normalization)
        except ValueError as error:
            raise RunError(str(error)) from error
    network.set_training_mode(False)
    return config.model_copy(update={"settings": settings}), network


class MisfitError(ValueError):
    """A valid file does not fit the configuration; the message names the fix."""


def check_kind(config: RunConfig, system: System[Any]) -> None:
    """Raise MisfitError if Stable-Baselines3 has no such agent and policy, or they do not fit the system."""
    if config.agent not in ("ppo", *OFF_POLICY) or config.policy == "pooled":
        raise MisfitError(
            f"Stable-Baselines3 has no --agent {config.agent} --policy {config.policy}; use --agent ppo, ddpg or td3 "
            "with --policy central or shared"
        )
    try:
        blueprint(config.agent, config.policy, config.settings, system)
    except ValueError as error:
        raise MisfitError(str(error)) from error


def read_data(content: bytes) -> dict[str, Any]:
    """The member `data` as plain JSON; serialised values in it remain text.

    Raises:
        ValueError: it is not a JSON object.
    """
    try:
        document = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"member 'data' is not JSON ({type(error).__name__})") from error
    if not isinstance(document, dict):
        raise ValueError("member 'data' is not a JSON object")
    return document


def check_data(data: dict[str, Any], agent: AgentName) -> None:
    """Raise MisfitError if `data` names a policy class or keyword arguments that cannot be rebuilt."""
    policy_class, arguments = data.get("policy_class"), data.get("policy_kwargs")
    module = _text(policy_class.get("__module__")) if isinstance(policy_class, dict) else "unknown"
    if module not in POLICY_MODULES:
        raise MisfitError(f"its policy class is from module {shown(module)}; train one with MlpPolicy")
    ours = "ReLU" if agent in OFF_POLICY else "Tanh"
    known = {
        "activation_fn": f"torch.nn.modules.activation.{ours}",
        "features_extractor_class": "stable_baselines3.common.torch_layers.FlattenExtractor",
    }
    for name, expected in known.items():
        if isinstance(arguments, dict) and name in arguments and arguments[name] != f"<class '{expected}'>":
            found = shown(_text(arguments[name]).removeprefix("<class '").removesuffix("'>"))
            raise MisfitError(f"its network has {name} {found}; train one with {expected}, as --agent {agent} uses it")


def _text(value: Any) -> str:
    """A text as it is; the type of any other value, because a deep value cannot be printed."""
    return value if isinstance(value, str) else type(value).__name__


def check_normalization(data: dict[str, Any], agent: AgentName, given: Path | None) -> None:
    """Raise MisfitError unless --normalization is given exactly for a PPO model trained in `VecNormalize`.

    PPO sets `_last_original_obs` only then; DDPG and TD3 always set it and are not checked.
    """
    if agent in OFF_POLICY:
        return
    inside = data.get("_last_original_obs", "not there") is not None
    if inside and given is None:
        raise MisfitError(
            "it was trained in VecNormalize (_last_original_obs in its data is not null); give the statistics with "
            "--normalization FILE (docs/runs.md shows how to write it), or --normalization none if it saw raw "
            "observations (norm_obs=False)"
        )
    if not inside and given not in (None, NOT_NORMALIZED):
        raise MisfitError(
            f"it was trained without VecNormalize (_last_original_obs in its data is null), so --normalization {given} "
            "does not apply; omit it"
        )


def settings_of(state: dict[str, torch.Tensor], config: RunConfig) -> Settings:
    """The settings with the hidden widths of the tensors.

    Raises:
        ValueError: the tensors are of another agent, or the widths of policy and value network differ.
    """
    if "critic.qf0.0.weight" in state and "actor.mu.0.weight" in state:
        kind = "td3" if "critic.qf1.0.weight" in state else "ddpg"
        stems, outputs = ["actor.mu", "critic.qf0"], 1
    elif "action_net.weight" in state:
        kind, stems, outputs = "ppo", ["mlp_extractor.policy_net", "mlp_extractor.value_net"], 0
    else:
        raise ValueError("policy.pth does not hold a network of PPO, DDPG or TD3 with an MlpPolicy")
    if kind != config.agent:
        raise MisfitError(f"it holds a network of --agent {kind}, not {config.agent}; give --agent {kind}")
    hidden, other = (_widths(state, stem, outputs) for stem in stems)
    if hidden != other:
        raise MisfitError(f"its networks have the widths {hidden} and {other}; train one with the same for both")
    try:
        return Settings(**{**config.settings.model_dump(), "hidden": hidden})
    except ValidationError as error:
        raise MisfitError(
            f"its hidden layers are not possible here ({first_complaint(error)}); train a smaller network"
        ) from error


def _widths(state: dict[str, torch.Tensor], stem: str, outputs: int) -> tuple[int, ...]:
    """Widths of the layers of a perceptron, without the last `outputs` layers.

    Raises:
        ValueError: the inputs of a layer do not match the outputs of the layer before.
    """
    widths: list[int] = []
    while (layer := state.get(f"{stem}.{2 * len(widths)}.weight")) is not None:
        if layer.dim() != 2 or (widths and layer.shape[1] != widths[-1]):
            raise ValueError(
                f"layer {2 * len(widths)} of {stem} has shape {tuple(layer.shape)}, which does not fit the layer before"
            )
        widths.append(layer.shape[0])
    return tuple(widths[: len(widths) - outputs])


def check_fit(state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], config: RunConfig) -> None:
    """Raise MisfitError if the names or shapes of the tensors are not the expected ones."""
    theirs = {name: tuple(tensor.shape) for name, tensor in state.items()}
    ours = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    for name in sorted(theirs.keys() | ours.keys(), key=lambda name: (name in ours and name in theirs, name)):
        if theirs.get(name) != ours.get(name):
            raise MisfitError(
                f"it does not fit {config.env_id} with this configuration: tensor {shown(name)} has shape "
                f"{theirs.get(name, 'nothing')}, not {ours.get(name, 'nothing')}; give the preset, parameters, --agent "
                "and --policy of its training"
            )
