"""mobile-env, installed and timed in a separate virtual environment.

It has further dependencies, and the package versions that it requires must not affect our measurements.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.timing import Skipped, Worker

REQUIREMENT = "mobile-env==2.1.0"
ENV_ID = "mobile-small-central-v0"
WORKER = Path(__file__).with_name("worker.py")
INSTALL_SECONDS = 600


def home() -> Path:
    """Folder of the virtual environment, in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "edge_envs" / f"benchmark-{REQUIREMENT}-py{sys.version_info[0]}.{sys.version_info[1]}"


def install(folder: Path) -> Path:
    """Install mobile-env if necessary; returns the environment's Python interpreter.

    Raises:
        Skipped: the installation failed.
    """
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = folder / "installed"
    if done.is_file() and python.exists():
        return python
    try:
        shutil.rmtree(folder, ignore_errors=True)
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", REQUIREMENT],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        done.touch()
    except (OSError, subprocess.SubprocessError) as error:
        lines = str(getattr(error, "stderr", None) or error).strip().splitlines()
        raise Skipped(f"{REQUIREMENT} cannot be installed into {folder}: {lines[-1]}") from error
    return python


def start() -> Worker:
    """Start the process that plays mobile-env's episodes, after installing mobile-env if necessary.

    Raises:
        Skipped: the installation failed.
    """
    # -I hides our own packages, which are on PYTHONPATH.
    return Worker([str(install(home())), "-I", str(WORKER), ENV_ID])
