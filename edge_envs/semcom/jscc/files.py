"""Files of the codec: its weights as safetensors, and the fitted law's coefficients as JSON. Needs safetensors."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from edge_envs.core.io.files import write_atomically
from edge_envs.semcom.jscc.networks import Codec
from edge_envs.semcom.jscc.quality_law import Law
from edge_envs.semcom.jscc.training import Recipe


def save_codec(path: Path, codec: Codec, recipe: Recipe, data: str) -> None:
    """Write a codec's weights, its number of channels, its recipe and the name of its training set."""
    tensors = {name: tensor.contiguous() for name, tensor in codec.state_dict().items()}
    notes = {"channels": str(codec.channels), "recipe": json.dumps(asdict(recipe)), "data": data}
    write_atomically(path, save(tensors, metadata=notes))


def load_codec(path: Path) -> Codec:
    """Load a codec that `save_codec` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or was not written by `save_codec`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no codec at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            codec = Codec(int(file.metadata()["channels"]))
            codec.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (no mapping)
    except (SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no codec of this project, or is damaged: {error}") from error
    return codec


def save_coefficients(path: Path, law: Law, mae_db: float, notes: dict[str, Any]) -> None:
    """Write a fitted law, its mean absolute error and further entries as JSON, for the environment's `psnr_law`."""
    document = {"psnr_law": list(law.coefficients), "snr_unit": law.snr_unit, "mae_db": mae_db, **notes}
    write_atomically(path, (json.dumps(document, indent=2) + "\n").encode())
