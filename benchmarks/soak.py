"""Long test: ten million steps of every environment in one process, each step checked; `python -m benchmarks.soak`.

Memory must not grow, no number may be NaN and no invariant may break; otherwise the exit status is 1.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from tqdm import tqdm

from agents.worlds import known_ids
from benchmarks.output import check_parent, page_console
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.invariants import BrokenInvariant
from edge_envs.core.io.arguments import parse_arguments
from edge_envs.core.io.command import guarded
from edge_envs.core.io.files import write_json
from edge_envs.core.runtime.checking import Checked
from edge_envs.core.runtime.episodes import EPISODE_MEAN
from edge_envs.core.validation import nearest, whole_number

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "DTIRS-v0": {"num_devices": 4, "num_elements": 8, "num_antennas": 8},
}
"""Options in addition to the default preset. With its default size, DTIRS-v0 would take two hours, mostly for phases,
which are solved at the smaller size as well."""
WARM_UP, SAMPLES = 0.01, 100
"""Fraction of the steps before the first memory measurement, and number of further measurements."""
MAX_GROWTH = 0.05
"""Relative growth of the memory above which it counts as a leak."""
STATM = Path("/proc/self/statm")
"""Linux's memory statistics of this process."""


@dataclass(frozen=True)
class Arguments:
    """Run many checked steps with random actions in one process."""

    env: tuple[str, ...] = ()
    """Environments (default: all)."""
    steps: int = 10_000_000
    """Steps per environment, summed over its worlds."""
    num_envs: int = 256
    """Number of worlds stepped in parallel."""
    json: Path | None = None
    """JSON file for the results."""


@dataclass(frozen=True, slots=True)
class Soak:
    """Result for one environment."""

    env: str
    options: dict[str, Any]
    steps: int
    """Completed steps; fewer than requested if an invariant broke."""
    episodes: int
    seconds: float
    invariants: int
    """Number of invariants verified; each covers all rows of a step or reset."""
    nan: int
    """Number of NaN in observations, rewards and metrics."""
    broken: str
    """Message of the broken invariant, empty if none broke."""
    memory_mib: list[float]
    """Resident memory of the process after the warm-up, and at equal intervals from then on."""

    @property
    def growth(self) -> float:
        """Relative growth of the memory from the warm-up to the end."""
        return self.memory_mib[-1] / self.memory_mib[0] - 1.0

    @property
    def passed(self) -> bool:
        """Return True if no invariant broke, no number was NaN, and memory did not grow."""
        return not self.broken and self.nan == 0 and self.growth < MAX_GROWTH

    def as_json(self) -> dict[str, Any]:
        """The result as a JSON-able dictionary, including `growth` and `passed`."""
        return {**asdict(self), "growth": self.growth, "passed": self.passed}


def resident_mib() -> float:
    """Resident memory of this process [MiB]."""
    pages = int(STATM.read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def count_nan(found: Any, allowed: Collection[str] = ()) -> int:
    """Count NaN in arrays and nested dictionaries, except under the keys `allowed`."""
    if isinstance(found, dict):
        return sum(count_nan(value, allowed) for key, value in found.items() if key not in allowed)
    if isinstance(found, np.ndarray) and found.dtype.kind == "f":
        # A sum is NaN if a term is, and is faster than a test of each.
        return int(np.isnan(found).sum()) if np.isnan(found.sum()) else 0
    return 0


def of_steps(info: dict[str, Any], finished: NDArray[np.bool_]) -> dict[str, Any]:
    """The entries of a SAME_STEP info that describe steps.

    Outside `final_info`, the entries of `finished` rows describe the reset and may be NaN.
    """
    if not finished.any():
        return info
    return {key: value if key == "final_info" else value[~finished] for key, value in info.items()}


def soak(env_id: str, steps: int, num_envs: int) -> Soak:
    """Take random actions in an environment's worlds for `steps` steps in total, or until an invariant breaks."""
    options = dict(OPTIONS.get(env_id, {}))
    env = gym.make_vec(env_id, num_envs, autoreset_mode="SameStep", check=True, **options)
    assert isinstance(env, EdgeVectorEnv)
    assert isinstance(env.world, Checked)
    # Certificates are NaN where nothing is certified.
    certificates = [metric.name for metric in env.system.metrics if metric.certifies]
    allowed = {*certificates, *(EPISODE_MEAN + name for name in certificates)}
    rng = np.random.default_rng(0)
    batches = -(-steps // num_envs)
    measured = set(np.linspace(max(int(WARM_UP * batches), 1), batches, SAMPLES + 1).astype(int).tolist())
    memory: list[float] = []
    nan = episodes = done = 0
    broken = ""
    started = time.perf_counter()
    try:
        env.reset(seed=0)
        for batch in tqdm(range(1, batches + 1), desc=env_id, unit_scale=num_envs, unit="step", mininterval=5.0):
            observation, reward, terminated, truncated, info = env.step(random_actions(env, rng))
            finished = terminated | truncated
            nan += count_nan(observation) + count_nan(reward) + count_nan(of_steps(info, finished), allowed)
            episodes += int(finished.sum())
            done += num_envs
            if batch in measured:
                gc.collect()
                memory.append(resident_mib())
    except BrokenInvariant as error:
        broken = str(error)
        memory.append(resident_mib())
    seconds = time.perf_counter() - started
    env.close()
    return Soak(env_id, options, done, episodes, seconds, env.world.verified, nan, broken, memory)


def random_actions(env: EdgeVectorEnv, rng: np.random.Generator) -> NDArray[Any]:
    """Draw uniformly random actions of all worlds at once, which is faster than a space's own `sample`."""
    space = env.single_action_space
    if isinstance(space, gym.spaces.MultiDiscrete):
        return rng.integers(space.nvec, size=(env.num_envs, len(space.nvec)))
    assert isinstance(space, gym.spaces.Box)
    return rng.uniform(space.low, space.high, size=(env.num_envs, *space.shape)).astype(np.float32)


def table(results: list[Soak]) -> Table:
    """Table of the results."""
    page = Table(title="Random actions, all invariants verified after every step", show_lines=True)
    for column in (
        "environment", "steps", "episodes", "steps/s", "memory MiB:\nstart, end, most", "growth", "NaN",
        "invariants\nverified", "",
    ):  # fmt: skip
        page.add_column(column)
    for each in results:
        options = ", ".join(f"{key}={value}" for key, value in each.options.items())
        start, end, most = each.memory_mib[0], each.memory_mib[-1], max(each.memory_mib)
        page.add_row(
            f"{each.env}\n[dim]{options}[/dim]" if options else each.env,
            f"{each.steps:,}",
            f"{each.episodes:,}",
            f"{each.steps / each.seconds:,.0f}",
            f"{start:.1f}, {end:.1f}, {most:.1f}",
            f"{each.growth:+.2%}",
            str(each.nan),
            f"{each.invariants:,}",
            "[green]passed[/green]" if each.passed else "[red]failed[/red]",
        )
    return page


def check_arguments(arguments: Arguments) -> None:
    """Raise ValueError for an unknown environment, too few steps or worlds, or a missing folder."""
    if not STATM.exists():
        raise ValueError(f"{STATM}, from which memory is read, does not exist; run this command on Linux")
    for env_id in arguments.env:
        if env_id not in known_ids():
            raise ValueError(f"env={env_id!r} does not exist; {nearest(env_id, known_ids())}")
    whole_number("--steps", arguments.steps, whole_number("--num-envs", arguments.num_envs, 1))
    check_parent("--json", arguments.json)


def run(arguments: Arguments) -> int:
    """Test the environments one after the other; returns the exit status.

    Raises:
        ValueError: invalid arguments.
    """
    check_arguments(arguments)
    results = []
    for env_id in arguments.env or known_ids():
        results.append(soak(env_id, arguments.steps, arguments.num_envs))
        if arguments.json is not None:
            write_json(arguments.json, [each.as_json() for each in results])
    console = page_console()
    console.print(table(results))
    for each in results:
        if each.broken:
            console.print(f"{each.env}: {each.broken}", soft_wrap=True, markup=False)
    return 0 if all(each.passed for each in results) else 1


if __name__ == "__main__":
    sys.exit(guarded(lambda: run(parse_arguments(Arguments, __doc__)), "cannot write the results: {error}"))
