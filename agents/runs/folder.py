"""Run folders: configuration, provenance and networks of a training. Nothing in them is ever executed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save
from stable_baselines3.common.policies import BasePolicy

from agents.hyperparameters.settings import AgentName, PolicyName, Settings
from agents.networks.build import build_network, check_size, load_network, network_arrays
from agents.networks.learned_policy import LearnedPolicy
from agents.networks.normalization import normalize_by_arrays
from agents.runs.provenance import PACKAGES, provenance, revision, versions
from agents.untrusted import TooLargeError, read_capped, shown
from edge_envs.core.config import first_complaint
from edge_envs.core.io.files import sync_folder, write_atomically, write_json
from edge_envs.core.runtime.snapshot import Arrays
from edge_envs.core.system import System

CONFIG, BEST, LAST, EVALUATION = "config.json", "model_best.safetensors", "model_last.safetensors", "evaluation.csv"

FINISHED, CHECKPOINTS, LOCK = "finished.json", "checkpoints", "lock"

LARGEST_MODEL_BYTES, LARGEST_CONFIG_BYTES = 1 << 30, 1 << 20


class RunConfig(BaseModel):
    """Everything that defines a training."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    env_id: str
    preset: str = "default"
    options: dict[str, Any] = {}
    agent: AgentName = "ppo"
    policy: PolicyName = "shared"
    hyperparameters: Literal["default", "paper"] = "default"
    settings: Settings = Settings()
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    origin: Literal["trained", "imported"] = "trained"
    """Origin of the networks: `train.py`, or a file of Stable-Baselines3."""


class RunError(ValueError):
    """A run folder is missing, incomplete, damaged or of another environment."""


def is_temporary(file: Path) -> bool:
    """Return True for a temporary file that `write_atomically` left in a killed process."""
    return file.name.startswith(".") and file.name.endswith(".tmp") and not file.is_dir()


def allowed_in_new(file: Path) -> bool:
    """Return True if the folder of a new run may hold this file; a lock must not be a link."""
    return is_temporary(file) or (file.name == LOCK and not file.is_symlink())


def read_document(path: Path) -> Any:
    """The content of a run folder's configuration file."""
    return json.loads(read_capped(path / CONFIG, LARGEST_CONFIG_BYTES).decode())


class Run:
    """An existing run folder with a validated configuration."""

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path = path
        self.config = config

    @classmethod
    def create(cls, config: RunConfig, path: Path | None = None) -> Run:
        """Create a run folder and write its configuration.

        Raises:
            RunError: the folder exists and is not empty, or cannot be written.
        """
        if path is None:
            name = f"{config.env_id}__{config.agent}__{config.seed}__{time.strftime('%Y%m%d-%H%M%S')}"
            paths = [Path("runs", name), *(Path("runs", f"{name}-{copy}") for copy in range(2, 100))]
            path = next((free for free in paths if not free.exists()), paths[0])
        run, made = cls(path, config), False
        try:
            run._check_new()
            made = not path.exists()
            path.mkdir(parents=True, exist_ok=True)
            with run.locked():
                # Check again, because another process may have created it in the meantime.
                run._check_new()
                document = {"run": config.model_dump(mode="json"), "provenance": provenance()}
                write_atomically(path / CONFIG, json.dumps(document, indent=2).encode())
                sync_folder(path.parent)
                run.tidy()
        except OSError as error:
            if made:
                with suppress(OSError):
                    (path / LOCK).unlink(missing_ok=True)
                    path.rmdir()
            raise RunError(
                f"run folder {path} cannot be written ({error.strerror}); give another folder with --run"
            ) from error
        return run

    def _check_new(self) -> None:
        """Raise RunError if the folder holds other files than those of `allowed_in_new`."""
        path = self.path
        if path.exists() and not (path.is_dir() and all(allowed_in_new(file) for file in path.iterdir())):
            raise RunError(f"run folder {path} exists already; give a new one with --run, or resume it with --resume")

    @classmethod
    def open(cls, path: Path) -> Run:
        """Read a run folder's configuration.

        Raises:
            RunError: the folder does not exist, or its configuration is missing, damaged or not valid.
        """
        file = path / CONFIG
        if not file.is_file():
            raise RunError(f"{path} is not a run folder: it has no {CONFIG}")
        try:
            return cls(path, RunConfig.model_validate(read_document(path)["run"]))
        except ValidationError as error:
            raise RunError(f"{file} is not valid: run.{first_complaint(error)}; use another run") from error
        except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
            raise RunError(f"{file} is damaged ({type(error).__name__}: {error}); use another run") from error

    def save_network(self, network: BasePolicy, name: str) -> None:
        """Write a network's tensors to a file, atomically."""
        self.save_tensors(network_arrays(network), name)

    def save_tensors(self, tensors: Arrays, name: str) -> None:
        """Write tensors to a file, atomically."""
        # safetensors writes the memory in its own order.
        write_atomically(self.path / name, save({key: np.asarray(value, order="C") for key, value in tensors.items()}))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder within the block; the operating system releases the lock when the process ends.

        Raises:
            RunError: another process trains in it.
        """
        lock = FileLock(self.path / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(f"run folder {self.path} is in use by another process; wait for it, or stop it") from None
        try:
            yield
        finally:
            lock.release()

    @property
    def finished(self) -> bool:
        """True if the training is finished."""
        return (self.path / FINISHED).is_file()

    def finish(self, result: Mapping[str, Any]) -> None:
        """Mark the training as finished and save its result."""
        write_json(self.path / FINISHED, result)

    def made_with(self) -> list[dict[str, str]]:
        """Versions of Python, the packages and the project (git) of every process of the training, in order.

        Raises:
            RunError: the configuration does not contain them.
        """
        try:
            document = read_document(self.path)
            parts = [document["provenance"], *document.get("resumed", [])]
            names = ("python", *PACKAGES)
            found = [{**{name: part["versions"][name] for name in names}, "git": part["git"]} for part in parts]
        except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
            raise RunError(
                f"{self.path / CONFIG} does not contain the versions of its training "
                f"({type(error).__name__}: {shown(str(error))[1:-1]}); start a new run"
            ) from error
        return [{name: shown(str(value))[1:-1] for name, value in part.items()} for part in found]

    def note_resumed(self) -> None:
        """Add the provenance of this process to the configuration, if it differs from the previous process."""
        if self.made_with()[-1] == {**versions(), "git": revision()}:
            return
        document = read_document(self.path)
        document["resumed"] = [*document.get("resumed", []), provenance()]
        write_atomically(self.path / CONFIG, json.dumps(document, indent=2).encode())

    def check_resumable(self) -> list[str]:
        """Warnings about differences that may change the weights of the resumed training.

        Raises:
            RunError: the run holds an imported network, another version of edge-envs trained it, the folder contains
                links, or the configuration is damaged.
        """
        if self.config.origin == "imported":
            raise RunError(f"{self.path} holds an imported network, which has no training to resume; start a new run")
        for file in [*self.path.iterdir(), *self.path.glob(f"{CHECKPOINTS}/*")]:
            if file.is_symlink():
                raise RunError(
                    f"{file} is a link, and a training does not write through links; replace it with the file itself"
                )
        then, now = self.made_with()[-1], {**versions(), "git": revision()}
        if then["edge-envs"] != now["edge-envs"]:
            raise RunError(
                f"{self.path} was trained with edge-envs {then['edge-envs']}, and this is {now['edge-envs']}; "
                "resume with that version, or start a new run"
            )
        return [
            f"the training used {name} {then[name]}, and this is {now[name]}: the weights may differ slightly"
            for name in then
            if then[name] != now[name]
        ]

    def tidy(self) -> None:
        """Remove the temporary files of killed processes."""
        for file in [*self.path.iterdir(), *self.path.glob(f"{CHECKPOINTS}/.*")]:
            if is_temporary(file):
                file.unlink(missing_ok=True)

    def load_policy(self, system: System[Any], name: str = BEST) -> LearnedPolicy:
        """The trained network as a policy for `system`.

        Raises:
            RunError: the model file is missing, too large or damaged, or its tensors have other shapes or values that
                are not finite.
        """
        file, config = self.path / name, self.config
        misfit = f"{file} does not fit {config.env_id} with this configuration"
        if not file.is_file():
            raise RunError(f"{file} does not exist: the run saved no model yet")
        try:
            tensors = load(read_capped(file, LARGEST_MODEL_BYTES))
        except TooLargeError as error:
            raise RunError(f"{file} is not read: {error}; use another run") from error
        except (SafetensorError, OSError, ValueError) as error:
            raise RunError(f"{file} is damaged ({shown(str(error))[1:-1]}); use another model of the run") from error
        except KeyError as error:
            raise RunError(f"{misfit}: it has tensors of type {shown(str(error.args[0]))}; use another run") from error
        try:
            check_size(config.settings, tensors)
            network = build_network(config.agent, config.policy, config.settings, system)
            normalize_by_arrays(network, tensors)
            load_network(network, tensors)
        except ValueError as error:
            raise RunError(f"{misfit}: {error}; give the preset and parameters of the training") from error
        return LearnedPolicy(network, config.agent, config.policy, system)
