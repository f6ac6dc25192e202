"""Versions and git revision behind a result."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

NO_REVISION = "not a git checkout"

PACKAGES = ("edge-envs", "gymnasium", "numpy", "numba", "torch", "stable-baselines3")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect a training."""
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
        "git": revision(),
        "git_changes": _changes(),
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "torch_threads": torch.get_num_threads(),
    }


@lru_cache(maxsize=1)
def stamp() -> str:
    """Version and git revision of this program, read once because the code is loaded once."""
    return stamp_of({"versions": versions(), "git": revision(), "git_changes": _changes()})


def stamp_of(origin: Mapping[str, Any]) -> str:
    """Version and git revision of a `provenance`, as printed under tables; the version alone outside a checkout."""
    text = f"edge-envs {origin['versions'].get('edge-envs', 'of an unknown version')}"
    commit = str(origin.get("git", NO_REVISION))
    if commit == NO_REVISION:
        return text
    return f"{text}, commit {commit[:10]}" + (" + changes" if origin.get("git_changes") else "")


def processor() -> str:
    """Name of the processor, as far as the operating system provides it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def revision() -> str:
    """Git revision of this checkout, or `NO_REVISION`."""
    # A copy that is installed inside another project's checkout is not part of it.
    return (_git("ls-files", Path(__file__).name) and _git("rev-parse", "HEAD")) or NO_REVISION


def _changes() -> list[str]:
    return _git("status", "--porcelain", "--untracked-files=no").splitlines()


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, timeout=10, check=False, cwd=Path(__file__).parent
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
