"""mobile-env, installed into a virtual environment of its own and timed there.

It depends on packages that ours does not need, and whatever versions it asks for must not change what we measure.
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
    """Where the virtual environment lies: in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "edge_envs" / f"benchmark-{REQUIREMENT}-py{sys.version_info[0]}.{sys.version_info[1]}"


def install(folder: Path) -> Path:
    """Its Python interpreter, after installing mobile-env unless that was done before.

    Raises:
        Skipped: it cannot be installed.
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
    """The process that plays its episodes; install it first if need be.

    Raises:
        Skipped: it cannot be installed.
    """
    # -I: our own packages, on PYTHONPATH, are not to be seen there.
    return Worker([str(install(home())), "-I", str(WORKER), ENV_ID])
