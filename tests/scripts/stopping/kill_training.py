"""A program that kills trainings: one that is never stopped, then the same again and again under SIGKILL and resumed.

Only kills that leave a checkpoint count.

Usage: python kill_training.py FOLDER SEED KILLS ARGUMENT ... (those of train.py). Prints the outcome as JSON.
Processes are forked from this one, which has everything loaded, so that most of a victim's life is training.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))

import train  # noqa: E402  (the project is not installed as a package)
from agents.training.trainer import warm_up  # noqa: E402
from agents.worlds import make_worlds  # noqa: E402

PATIENCE_S = 120.0
Fault = Callable[[], None]


def forked(arguments: list[str], log: Path, fault: Fault | None = None) -> int:
    """Start train.py in a process of its own; returns its number."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        if fault is not None:
            fault()
        sys.argv = ["train.py", *arguments]
        status = train.main()
        sys.stdout.flush()
    finally:
        os._exit(status)


def ended(process: int, within_s: float) -> int | None:
    """Exit status of a process, -9 if it was killed, None if it still runs."""
    until = time.monotonic() + within_s
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            return None
        time.sleep(0.001)


def dies_writing(rng: random.Random) -> Fault:
    """A fault that kills the process in one of its next writes: before the sync, before or after the rename."""
    countdown, where = rng.randrange(1, 12), rng.choice(["sync", "before", "after"])

    def install() -> None:
        sync, replace = os.fsync, Path.replace
        left = [countdown]

        def due() -> bool:
            left[0] -= 1
            return left[0] <= 0

        def syncing(handle: Any) -> None:
            if where == "sync" and due():
                os.kill(os.getpid(), signal.SIGKILL)
            sync(handle)

        def replacing(self: Path, target: Any) -> Any:
            if where == "before" and due():
                os.kill(os.getpid(), signal.SIGKILL)
            result = replace(self, target)
            if where == "after" and due():
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        os.fsync = syncing  # type: ignore[assignment]
        Path.replace = replacing  # type: ignore[method-assign]

    return install


def main() -> None:
    folder, seed, kills, arguments = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    rng = random.Random(seed)
    os.chdir(folder)
    env_id = arguments[arguments.index("--env") + 1]
    warm_up(make_worlds(env_id, 1, "default", {}))
    log = Path("log.txt")
    common = ["--seeds", "0", "--checkpoint-every", "0"]
    began = time.monotonic()
    if ended(forked([*arguments, *common, "--run", "straight"], log), PATIENCE_S) != 0:
        raise SystemExit(f"the training that is never stopped failed: {log.read_text()}")
    length_s = time.monotonic() - began
    done, victims, writing = 0, 0, 0
    while done < kills:
        name = f"victim{victims}"
        victims += 1
        going_on = False
        while True:
            own = ["--resume", name] if going_on else [*arguments, "--run", name]
            by_fault = rng.random() < 0.4
            process = forked([*own, *common], log, dies_writing(rng) if by_fault else None)
            status = ended(process, PATIENCE_S if by_fault else rng.uniform(0.0, length_s))
            if status is None:
                os.kill(process, signal.SIGKILL)
                status = ended(process, PATIENCE_S)
            if status == 0:
                break
            if status != -signal.SIGKILL:
                raise SystemExit(f"a victim ended with status {status}: {log.read_text()}")
            kept = any((Path(name) / "checkpoints").glob("checkpoint-*"))
            done += kept
            writing += kept and by_fault
            going_on = (Path(name) / "config.json").exists()
            if not going_on and Path(name).exists():
                for file in Path(name).iterdir():
                    file.unlink()
                Path(name).rmdir()
    gone_on = log.read_text().count("note: going on after ")
    print(json.dumps({"kills": done, "while_writing": writing, "gone_on": gone_on, "victims": victims}))


if __name__ == "__main__":
    main()
