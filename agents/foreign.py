"""Networks from Stable-Baselines3's own zip files: the tensors alone are read, and nothing in them is ever executed."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from stable_baselines3.common.policies import BasePolicy

from agents.archives import Archive, read_capped, shown
from agents.pickles import PICKLE_MAX_BYTES, Inert, check_names, read_inert
from agents.policies import blueprint, build_network
from agents.runs import RunConfig, RunError
from agents.settings import OFF_POLICY, AgentName, Settings
from agents.weights import POLICY_MAX_BYTES, Tensor, announced_tensors, read_tensors
from edge_envs.core.config import first_complaint
from edge_envs.core.system import System

FILE_MAX_BYTES = 1 << 29
DATA_MAX_BYTES = 1 << 23
SERIALIZED = ":serialized:"
PICKLES_MAX = 1000
KEYS_MAX = 200
"""Characters of all keys that lead to a value, together."""
ACTIVATIONS = re.compile(r"torch\.nn\.modules\.activation\.(\w+)")
HARMLESS = re.compile(
    r"stable_baselines3\.(common\.(policies|buffers|noise|utils|type_aliases|torch_layers)|\w+\.policies)\.[A-Z]\w*"
    r"|agents\.choices\.ChoicePolicy"
    r"|gymnasium\.spaces\.\w+\.[A-Z]\w*"
    r"|torch\.(nn\.modules\.activation|optim\.\w+)\.[A-Z]\w*"
    r"|numpy\.(dtype|ndarray|bool_?|u?int\d+|float\d+)"
    r"|numpy\._?core\.(numeric\._frombuffer|multiarray\.(_reconstruct|scalar))"
    r"|numpy\.random\._pickle\.__(generator|bit_generator|randomstate)_ctor"
    r"|numpy\.random\.(_pcg64\.PCG64|_mt19937\.MT19937)"
    r"|numpy\.random\.bit_generator\.(__pyx_unpickle_SeedSequence|SeedSequence)"
    r"|collections\.(deque|OrderedDict)"
    r"|types\.CodeType"
    r"|cloudpickle\.cloudpickle(_fast)?\.(_builtin_type|_make_function|_function_setstate|_make_cell|_make_empty_cell)"
    r"|list|dict|set|frozenset",
    re.ASCII,
)
"""What Stable-Baselines3 itself writes into `data`, for PPO, DDPG and TD3, with schedules given as functions too."""
MEND = "give a file that save() of Stable-Baselines3's PPO, DDPG or TD3 wrote"


def import_sb3(file: Path, config: RunConfig, system: System[Any]) -> tuple[RunConfig, BasePolicy]:
    """Network and configuration, with the zip's widths of hidden layers, from a zip file of Stable-Baselines3.

    The network is the one that `config` would train, with the tensors of `policy.pth`: `central` for a model of
    `gym.make(env)` (DDPG and TD3: with `ContinuousPartition` around it), `shared` for one of the member view. Where
    the system closes choices, PPO's network leaves them out here, whatever the original did.

    The activation function is Stable-Baselines3's default (tanh for PPO, ReLU for DDPG and TD3); another one is
    refused where `data` names it, but tensors alone do not tell. Nor do they tell a model of another environment with
    the same spaces, or one that saw normalised observations (`VecNormalize`).

    Args:
        file: the zip file.
        config: agent, policy and environment; `settings.hidden` is replaced.
        system: of that environment.

    Raises:
        RunError: a file that cannot be read, that would execute something if it were unpickled, or that does not fit;
            one line with the mend.
    """
    try:
        check_kind(config, system)
        archive = Archive(read_capped(file, FILE_MAX_BYTES))
        check_activation(check_data(archive.read("data", DATA_MAX_BYTES)), config.agent)
        inner = Archive(archive.read("policy.pth", POLICY_MAX_BYTES), " of policy.pth", compressed=False)
        folder, announced = announced_tensors(inner)
        settings = settings_of(announced, config)
        # Before a network of that size is built: what is announced must be there.
        tensors = read_tensors(inner, folder, announced)
        network = build_network(config.agent, config.policy, settings, system)
        check_fit(announced, network.state_dict(), config)
        network.load_state_dict(tensors)
    except OSError as error:
        raise RunError(f"{file} cannot be imported ({error.strerror}); name another file with --import-sb3") from error
    except MisfitError as error:
        raise RunError(f"{file} cannot be imported: {error}") from error
    except ValueError as error:
        raise RunError(f"{file} cannot be imported: {error}; {MEND}") from error
    network.set_training_mode(False)
    return config.model_copy(update={"settings": settings}), network


class MisfitError(ValueError):
    """A harmless file that does not go with the configuration; the message has its own mend."""


def check_kind(config: RunConfig, system: System[Any]) -> None:
    """Whether Stable-Baselines3 has such an agent with such a policy, and the system can be driven by it.

    Raises:
        MisfitError: the agent, the policy or both are ours alone, or do not go with the system.
    """
    if config.agent not in ("ppo", *OFF_POLICY) or config.policy == "pooled":
        raise MisfitError(
            f"Stable-Baselines3 has no --agent {config.agent} --policy {config.policy}; use --agent ppo, ddpg or td3 "
            "with --policy central or shared"
        )
    try:
        blueprint(config.agent, config.policy, config.settings, system)
    except ValueError as error:
        raise MisfitError(str(error)) from error


def check_data(content: bytes) -> dict[str, Inert]:
    """What the pickles in the member `data` hold, by their keys; none of them is unpickled.

    Raises:
        ValueError: no JSON, or a pickle that would call anything that Stable-Baselines3 does not write.
    """
    try:
        # Pairs, for a dictionary would hide all but the last of equal keys.
        document = json.loads(content.decode(), object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"member 'data' is no JSON ({type(error).__name__})") from error
    if not isinstance(document, _Pairs):
        raise ValueError("member 'data' is no JSON object")
    found: dict[str, Inert] = {}
    for count, (key, text) in enumerate(_serialized(document)):
        if count >= PICKLES_MAX:
            raise ValueError(f"member 'data' holds more than {PICKLES_MAX} pickles")
        told = f"key {shown(key)} of member 'data'"
        if key in found:
            raise ValueError(f"{told} is there twice")
        if not isinstance(text, str) or len(text) > PICKLE_MAX_BYTES:
            raise ValueError(f"{told} is no text of at most {PICKLE_MAX_BYTES} bytes")
        try:
            found[key] = read_inert(base64.b64decode(text.encode(), validate=True))
        except binascii.Error as error:
            raise ValueError(f"{told} is no base64") from error
        except ValueError as error:
            raise ValueError(f"{told} {error}") from error
        check_names(found[key], HARMLESS, told)
    return found


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all its pairs."""


def _serialized(document: _Pairs) -> Iterator[tuple[str, Any]]:
    """Every pickle at any depth, with the keys that lead to it.

    Raises:
        ValueError: a key, or all those together that lead to a value, too long to be honest.
    """
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, _Pairs):
            for key, inner in value:
                if len(path) + len(key) > KEYS_MAX:
                    raise ValueError(f"member 'data' has keys of more than {KEYS_MAX} characters")
                if key == SERIALIZED:
                    yield path, inner
                # Only what can hold a pickle, so that names of other values take no memory.
                if isinstance(inner, list):
                    waiting.append((f"{path}.{key}" if path else key, inner))
        elif isinstance(value, list):
            waiting.extend((path, inner) for inner in value)


def check_activation(data: dict[str, Inert], agent: AgentName) -> None:
    """Whether the model's keyword arguments name no other activation function than ours.

    Raises:
        ValueError: they do.
    """
    ours = "ReLU" if agent in OFF_POLICY else "Tanh"
    for name in data["policy_kwargs"].names if "policy_kwargs" in data else []:
        match = ACTIVATIONS.fullmatch(name)
        if match and match[1] != ours:
            raise MisfitError(
                f"its network has the activation function {match[1]}; train one with {ours}, as --agent {agent}"
            )


def settings_of(announced: dict[str, Tensor], config: RunConfig) -> Settings:
    """The settings with the widths of the hidden layers that the tensors have.

    Raises:
        ValueError: the network of another agent, or widths that differ between policy and value network.
    """
    if "critic.qf0.0.weight" in announced and "actor.mu.0.weight" in announced:
        kind = "td3" if "critic.qf1.0.weight" in announced else "ddpg"
        stems, outputs = ["actor.mu", "critic.qf0"], 1
    elif "action_net.weight" in announced:
        kind, stems, outputs = "ppo", ["mlp_extractor.policy_net", "mlp_extractor.value_net"], 0
    else:
        raise ValueError("policy.pth holds no network of PPO, DDPG or TD3 with an MlpPolicy")
    if kind != config.agent:
        raise MisfitError(f"it holds a network of --agent {kind}, not {config.agent}; give --agent {kind}")
    hidden, other = (_widths(announced, stem, outputs) for stem in stems)
    if hidden != other:
        raise MisfitError(f"its networks have the widths {hidden} and {other}; train one with the same for both")
    try:
        return Settings(**{**config.settings.model_dump(), "hidden": hidden})
    except ValidationError as error:
        raise MisfitError(
            f"its hidden layers are not possible here ({first_complaint(error)}); train a smaller network"
        ) from error


def _widths(announced: dict[str, Tensor], stem: str, outputs: int) -> tuple[int, ...]:
    """Widths of the layers of a perceptron, without its `outputs` last ones.

    Raises:
        ValueError: a layer that does not take what the one before gives.
    """
    widths: list[int] = []
    while (layer := announced.get(f"{stem}.{2 * len(widths)}.weight")) is not None:
        if len(layer.shape) != 2 or (widths and layer.shape[1] != widths[-1]):
            raise ValueError(f"layer {2 * len(widths)} of {stem} has shape {layer.shape}, which fits no layer before")
        widths.append(layer.shape[0])
    return tuple(widths[: len(widths) - outputs])


def check_fit(announced: dict[str, Tensor], expected: dict[str, torch.Tensor], config: RunConfig) -> None:
    """Whether the tensors have the names and shapes of ours.

    Raises:
        ValueError: the first that differs, by its name.
    """
    theirs = {name: tensor.shape for name, tensor in announced.items()}
    ours = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    for name in sorted(theirs.keys() | ours.keys(), key=lambda name: (name in ours and name in theirs, name)):
        if theirs.get(name) != ours.get(name):
            raise MisfitError(
                f"it does not fit {config.env_id} with this configuration: tensor {shown(name)} has shape "
                f"{theirs.get(name, 'nothing')}, not {ours.get(name, 'nothing')}; give the preset, parameters, --agent "
                "and --policy of its training"
            )
