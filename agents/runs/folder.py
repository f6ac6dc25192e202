"""Run folders: what was run, with what, and the networks it gave. Nothing in them is ever executed."""

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
from agents.runs.provenance import PACKAGES, _revision, provenance, versions
from agents.untrusted import TooLargeError, read_capped, shown
from edge_envs.core.config import first_complaint
from edge_envs.core.io.files import sync_folder, write_atomically, write_json
from edge_envs.core.runtime.snapshot import Arrays
from edge_envs.core.system import System

CONFIG, BEST, LAST, EVALUATION = "config.json", "model_best.safetensors", "model_last.safetensors", "evaluation.csv"

FINISHED, CHECKPOINTS, LOCK = "finished.json", "checkpoints", "lock"

LARGEST_MODEL_BYTES, LARGEST_CONFIG_BYTES = 1 << 30, 1 << 20


class RunConfig(BaseModel):
    """Everything that tells one training from another."""

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
    """Where its networks come from: `train.py`, or a file of Stable-Baselines3."""


class RunError(ValueError):
    """A run folder that is missing, incomplete, damaged or of another environment."""


def half_written(file: Path) -> bool:
    """Whether a file is what a killed process left of `write_atomically`."""
    return file.name.startswith(".") and file.name.endswith(".tmp") and not file.is_dir()


def of_no_run(file: Path) -> bool:
    """Whether a file may lie in the folder of a run that has not begun; a lock is not written through a link."""
    return half_written(file) or (file.name == LOCK and not file.is_symlink())


class Run:
    """A run folder that exists, with a validated configuration."""

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path = path
        self.config = config

    @classmethod
    def create(cls, config: RunConfig, path: Path | None = None, root: Path = Path("runs")) -> Run:
        """Make a new run folder and write its configuration.

        Raises:
            RunError: the folder exists and is not empty, or cannot be written.
        """
        stamp = time.strftime("%Y%m%d-%H%M%S")
        if path is None:
            name = f"{config.env_id}__{config.agent}__{config.seed}__{stamp}"
            names = (name, *(f"{name}-{copy}" for copy in range(2, 100)))
            path = next((root / free for free in names if not (root / free).exists()), root / name)
        run, made = cls(path, config), False
        try:
            run._check_new()
            made = not path.exists()
            path.mkdir(parents=True, exist_ok=True)
            with run.locked():
                # Again, for another process may have made it meanwhile.
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
                f"run folder {path} cannot be written ({error.strerror}); name another with --run"
            ) from error
        return run

    def _check_new(self) -> None:
        """Whether the folder is not there, or holds nothing of a run.

        Raises:
            RunError: it does.
        """
        path = self.path
        if path.exists() and not (path.is_dir() and all(of_no_run(file) for file in path.iterdir())):
            raise RunError(f"run folder {path} exists already; name a new one with --run, or go on with --resume")

    @classmethod
    def open(cls, path: Path) -> Run:
        """Read a run folder's configuration.

        Raises:
            RunError: no such folder, or a configuration that is missing, damaged or not valid.
        """
        file = path / CONFIG
        if not file.is_file():
            raise RunError(f"{path} is not a run folder: it has no {CONFIG}")
        try:
            document = json.loads(read_capped(file, LARGEST_CONFIG_BYTES).decode())
            return cls(path, RunConfig.model_validate(document["run"]))
        except ValidationError as error:
            raise RunError(f"{file} is not valid: run.{first_complaint(error)}; use another run") from error
        except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
            raise RunError(f"{file} is damaged ({type(error).__name__}: {error}); use another run") from error

    def save_network(self, network: BasePolicy, name: str) -> None:
        """Write a network's tensors, atomically."""
        self.save_tensors(network_arrays(network), name)

    def save_tensors(self, tensors: Arrays, name: str) -> None:
        """Write tensors, atomically."""
        # safetensors writes the memory as it lies.
        write_atomically(self.path / name, save({key: np.asarray(value, order="C") for key, value in tensors.items()}))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training in this folder; the system ends that with the process at the latest.

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
        """Whether the training has come to its end."""
        return (self.path / FINISHED).is_file()

    def finish(self, told: Mapping[str, Any]) -> None:
        """Note that the training has come to its end, and what it came to."""
        write_json(self.path / FINISHED, told)

    def made_with(self) -> list[dict[str, str]]:
        """Versions of Python, the packages and the project (git) for every part of the training, the first one first.

        Raises:
            RunError: the configuration does not tell them.
        """
        try:
            document = json.loads(read_capped(self.path / CONFIG, LARGEST_CONFIG_BYTES).decode())
            parts = [document["provenance"], *document.get("resumed", [])]
            names = ("python", *PACKAGES)
            told = [{**{name: part["versions"][name] for name in names}, "git": part["git"]} for part in parts]
        except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
            raise RunError(
                f"{self.path / CONFIG} does not tell the versions of its training "
                f"({type(error).__name__}: {shown(str(error))[1:-1]}); start a new run"
            ) from error
        return [{name: shown(str(value))[1:-1] for name, value in part.items()} for part in told]

    def note_resumed(self) -> None:
        """Add this process's provenance to the configuration, if it is not that of the part before."""
        if self.made_with()[-1] == {**versions(), "git": _revision()}:
            return
        document = json.loads(read_capped(self.path / CONFIG, LARGEST_CONFIG_BYTES).decode())
        document["resumed"] = [*document.get("resumed", []), provenance()]
        write_atomically(self.path / CONFIG, json.dumps(document, indent=2).encode())

    def check_resumable(self) -> list[str]:
        """Whether this program can go on with the training exactly; returns what may keep it from it, in words.

        Raises:
            RunError: an imported network, a run of another version of edge-envs, links in the folder, or a
                configuration that is damaged.
        """
        if self.config.origin == "imported":
            raise RunError(
                f"{self.path} holds an imported network, which has no training to go on with; start a new run"
            )
        for file in [*self.path.iterdir(), *self.path.glob(f"{CHECKPOINTS}/*")]:
            if file.is_symlink():
                raise RunError(f"{file} is a link, which a training does not write through; put the file itself there")
        then, now = self.made_with()[-1], {**versions(), "git": _revision()}
        if then["edge-envs"] != now["edge-envs"]:
            raise RunError(
                f"{self.path} was trained with edge-envs {then['edge-envs']}, and this is {now['edge-envs']}; "
                "go on with that version, or start a new run"
            )
        return [
            f"the training was made with {name} {then[name]}, and this is {now[name]}: the weights may differ a little"
            for name in then
            if then[name] != now[name]
        ]

    def tidy(self) -> None:
        """Remove what a killed process left half-written."""
        for file in [*self.path.iterdir(), *self.path.glob(f"{CHECKPOINTS}/.*")]:
            if half_written(file):
                file.unlink(missing_ok=True)

    def load_policy(self, system: System[Any], name: str = BEST) -> LearnedPolicy:
        """The trained network as a policy for `system`.

        Raises:
            RunError: a model file that is missing, too large, damaged, of other shapes, or with values not finite.
        """
        file, config = self.path / name, self.config
        misfit = f"{file} does not fit {config.env_id} with this configuration"
        if not file.is_file():
            raise RunError(f"{file} does not exist: the run saved no model yet")
        try:
            tensors = load(read_capped(file, LARGEST_MODEL_BYTES))
        except TooLargeError as error:
            raise RunError(f"{file} was not read, for {error}; use another run") from error
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
