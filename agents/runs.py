"""Run folders: what was run, with what, and the networks it gave. Nothing in them is ever executed."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from agents.archives import shown
from agents.policies import LearnedPolicy, build_network
from agents.settings import AgentName, PolicyName, Settings
from edge_envs.core.files import sync_folder, write_atomically
from edge_envs.core.system import System

CONFIG, BEST, LAST, EVALUATION = "config.json", "model_best.safetensors", "model_last.safetensors", "evaluation.csv"
FINISHED, CHECKPOINTS, LOCK = "finished.json", "checkpoints", "lock"
LARGEST_MODEL_BYTES, LARGEST_CONFIG_BYTES = 1 << 30, 1 << 20
PACKAGES = ("edge-envs", "gymnasium", "numpy", "numba", "torch", "stable-baselines3")


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


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a training rests on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def provenance() -> dict[str, Any]:
    """Versions, machine, git revision and command line of this process."""
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "git": _revision(),
        "git_changes": _git("status", "--porcelain", "--untracked-files=no").splitlines(),
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "torch_threads": torch.get_num_threads(),
    }


def _revision() -> str:
    return _git("rev-parse", "HEAD") or "not a git checkout"


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=10, check=False, cwd=Path(__file__).parent
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def half_written(file: Path) -> bool:
    """Whether a file is what a killed process left of `write_atomically`."""
    return file.name.startswith(".") and file.name.endswith(".tmp") and not file.is_dir()


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
        made = False
        try:
            if path.exists() and (not path.is_dir() or any(not half_written(file) for file in path.iterdir())):
                raise RunError(f"run folder {path} exists already; name a new one with --run, or go on with --resume")
            made = not path.exists()
            path.mkdir(parents=True, exist_ok=True)
            document = {"run": config.model_dump(mode="json"), "provenance": provenance()}
            write_atomically(path / CONFIG, json.dumps(document, indent=2).encode())
            sync_folder(path.parent)
            run = cls(path, config)
            run.tidy()
        except OSError as error:
            if made:
                with suppress(OSError):
                    path.rmdir()
            raise RunError(
                f"run folder {path} cannot be written ({error.strerror}); name another with --run"
            ) from error
        return run

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
            if file.stat().st_size > LARGEST_CONFIG_BYTES:
                raise RunError(f"{file} is larger than {LARGEST_CONFIG_BYTES} bytes and was not read")
            return cls(path, RunConfig.model_validate(json.loads(file.read_text())["run"]))
        except RunError:
            raise
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = shown(".".join(map(str, ("run", *first["loc"]))))[1:-1]
            raise RunError(f"{file} is not valid: {where}: {first['msg']}; use another run") from error
        except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
            raise RunError(f"{file} is damaged ({type(error).__name__}: {error}); use another run") from error

    def save_network(self, network: torch.nn.Module, name: str) -> None:
        """Write a network's tensors, atomically."""
        self.save_tensors({key: value.detach().cpu().numpy() for key, value in network.state_dict().items()}, name)

    def save_tensors(self, tensors: Mapping[str, NDArray[Any]], name: str) -> None:
        """Write tensors, atomically."""
        contiguous = {key: torch.from_numpy(value).contiguous() for key, value in tensors.items()}
        write_atomically(self.path / name, save(contiguous))

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
        write_atomically(self.path / FINISHED, json.dumps(told, indent=2).encode())

    def made_with(self) -> tuple[dict[str, str], str]:
        """Versions of Python and the packages that the training began with, and the project's git revision.

        Raises:
            RunError: the configuration does not tell them.
        """
        try:
            told = json.loads((self.path / CONFIG).read_text())["provenance"]
            return {name: str(told["versions"][name]) for name in ("python", *PACKAGES)}, str(told["git"])
        except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
            raise RunError(
                f"{self.path / CONFIG} does not tell the versions of its training ({type(error).__name__}: {error}); "
                "start a new run"
            ) from error

    def check_resumable(self) -> list[str]:
        """Whether this program can go on with the training exactly; returns what may keep it from it, in words.

        Raises:
            RunError: a run of another version of edge-envs, links in the folder, or a configuration that is damaged.
        """
        for file in [*self.path.iterdir(), *self.path.glob(f"{CHECKPOINTS}/*")]:
            if file.is_symlink():
                raise RunError(f"{file} is a link, which a training does not write through; put the file itself there")
        then, commit = self.made_with()
        now, here = versions(), _revision()
        if then["edge-envs"] != now["edge-envs"]:
            raise RunError(
                f"{self.path} was trained with edge-envs {then['edge-envs']}, and this is {now['edge-envs']}; "
                "go on with that version, or start a new run"
            )
        return [
            f"the training began with {name} {then[name]}, and this is {now[name]}: the weights may differ a little"
            for name in then
            if then[name] != now[name]
        ] + ([f"the training began at {commit[:40]}, and this is {here}"] if commit != here else [])

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
        file = self.path / name
        config = self.config
        if not file.is_file():
            raise RunError(f"{file} does not exist: the run saved no model yet")
        if file.stat().st_size > LARGEST_MODEL_BYTES:
            raise RunError(f"{file} is larger than {LARGEST_MODEL_BYTES} bytes and was not read")
        try:
            tensors = load(file.read_bytes())
        except (SafetensorError, OSError) as error:
            raise RunError(f"{file} is damaged ({shown(str(error))[1:-1]}); use another model of the run") from error
        # Before a network is built: one of sixteen wide layers takes minutes and gigabytes.
        least = sum(wide * following for wide, following in pairwise(config.settings.hidden))
        if least > sum(value.numel() for value in tensors.values()):
            raise RunError(
                f"{file} does not fit {config.env_id} with this configuration: it is too small for its layers"
            )
        try:
            network = build_network(config.agent, config.policy, config.settings, system)
        except ValueError as error:
            raise RunError(f"{file} does not fit {config.env_id} with this configuration: {error}") from error
        expected = network.state_dict()
        shapes = {key: (tuple(value.shape), value.dtype) for key, value in tensors.items()}
        if shapes != {key: (tuple(value.shape), value.dtype) for key, value in expected.items()}:
            raise RunError(
                f"{file} does not fit {config.env_id} with this configuration: its tensors have other names, shapes "
                "or types; give the preset and parameters of the training"
            )
        if not all(torch.isfinite(value).all() for value in tensors.values()):
            raise RunError(f"{file} holds values that are not finite")
        network.load_state_dict(tensors)
        return LearnedPolicy(network, config.agent, config.policy, system)
