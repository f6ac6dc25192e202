"""The normalisation of observations by Stable-Baselines3's `VecNormalize`, as the first layer of a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from agents.untrusted import read_capped, shown
from edge_envs.core.config import first_complaint

FILE_MAX_BYTES = 1 << 24
PREFIX = "normalization."
"""Prefix of the names of these tensors in a model file."""
CLIP_MAX = 1e30
"""Largest `clip_obs`, finite as float32."""


class Statistics(BaseModel):
    """The statistics that `VecNormalize` keeps of observations with n entries."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    mean: list[float]
    """Mean of each entry, length n."""
    variance: list[Annotated[float, Field(ge=0)]]
    """Variance of each entry, length n."""
    epsilon: Annotated[float, Field(ge=0)] = 1e-8
    """Added to the variance."""
    clip_obs: Annotated[float, Field(gt=0, le=CLIP_MAX)] = 10.0
    """Largest absolute value of a normalised entry."""

    @classmethod
    def checked(cls, values: Mapping[str, Any], size: int) -> Statistics:
        """Statistics of observations with `size` entries.

        Raises:
            ValueError: a name is unknown or missing, a value is impossible, or the lengths do not fit.
        """
        try:
            statistics = cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            found = "" if first["type"] == "missing" else f", found {shown(str(first['input']))}"
            raise ValueError(f"{first_complaint(error)}{found}") from error
        for name, value in (("mean", statistics.mean), ("variance", statistics.variance)):
            if len(value) != size:
                raise ValueError(f"{name} has {len(value)} values, but an observation has {size}")
        if min(statistics.variance) + statistics.epsilon == 0.0:
            raise ValueError("a variance and epsilon are both 0, which divides by 0")
        return statistics


class Normalization(torch.nn.Module):
    """The layer `clip((observation - mean) / sqrt(variance + epsilon))`, computed in float64 as `VecNormalize` does."""

    mean: torch.Tensor
    variance: torch.Tensor
    epsilon: torch.Tensor
    clip_obs: torch.Tensor

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        for name, value in statistics.model_dump().items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float64))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Normalise observations (B, n)."""
        scaled = (observation - self.mean) / torch.sqrt(self.variance + self.epsilon)
        return scaled.clamp(-self.clip_obs, self.clip_obs).float()

    def before(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Normalise the input of another module (a forward pre-hook)."""
        del module
        return (self(inputs[0]),)


def normalize_by_file(network: BasePolicy, file: Path) -> None:
    """Add the normalisation in a .safetensors or JSON file to a network.

    Raises:
        ValueError: the file cannot be read or does not fit; the message names the value and the fix.
    """
    try:
        content = read_capped(file, FILE_MAX_BYTES)
        if file.suffix == ".safetensors":
            values: Any = {name: array.tolist() for name, array in load(content).items()}
        else:
            values = json.loads(content.decode())
        if not isinstance(values, dict):
            raise ValueError("it is not a JSON object")
        normalize_observations(network, values)
        return
    except OSError as error:
        problem = str(error.strerror)
    except SafetensorError as error:
        problem = f"it is not a safetensors file ({shown(str(error))[1:-1]})"
    except (KeyError, RecursionError) as error:
        problem = f"it has an unknown type of values, or is too deep ({type(error).__name__})"
    except json.JSONDecodeError as error:
        problem = f"it is not JSON ({error})"
    except ValueError as error:
        problem = str(error)
    raise ValueError(
        f"--normalization {file}: {problem}; give a JSON or .safetensors file with mean and variance of the model's "
        "VecNormalize, and with epsilon and clip_obs unless they are 1e-8 and 10"
    )


def normalize_by_arrays(network: BasePolicy, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Add the normalisation among the arrays of a model file to its network, if there is one.

    Raises:
        ValueError: it does not fit the network.
    """
    values = {name.removeprefix(PREFIX): array.tolist() for name, array in arrays.items() if name.startswith(PREFIX)}
    if values:
        normalize_observations(network, values)


def normalize_observations(network: BasePolicy, values: Mapping[str, Any]) -> None:
    """Add a first layer that normalises; masks of closed choices are still read from raw observations.

    Raises:
        ValueError: the values are not valid `Statistics` of the network's observations.
    """
    shape = network.observation_space.shape
    assert shape is not None
    normalization = Normalization(Statistics.checked(values, shape[0]))
    network.add_module(PREFIX.rstrip("."), normalization)
    for module in network.modules():
        if isinstance(module, BaseFeaturesExtractor):
            module.register_forward_pre_hook(normalization.before)
