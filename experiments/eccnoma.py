"""ECCNOMA-v0: learned agents and baselines over several training seeds, and the same networks with more users.

`python -m experiments.eccnoma` trains all agents and writes docs/results/eccnoma.json and .md. Existing runs in the run
folder are reused, so the tables can be computed again from the networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.bootstrap import Resampled
from agents.evaluation.episodes import Table, play
from agents.evaluation.statistics import Interval
from agents.hyperparameters.lookup import settings_for
from agents.hyperparameters.settings import AgentName, PolicyName
from agents.runs.folder import BEST, LAST, Run, RunConfig
from agents.worlds import EVALUATION_STREAM, make_worlds, stream_seeds
from edge_envs.core.policy import Policy, make_baseline
from experiments.shared.common import caption, command, percent_text, publish, spread_text
from experiments.shared.kept import check_agents, kept_note, kept_rows, mean_alone
from experiments.shared.learned import NETWORKS_NOTE, LearnedArguments, trained

ENV = "ECCNOMA-v0"
REFERENCE = "iterated-best-response"
BASELINES = (
    "random", "device-only", "edge-only", "neurosurgeon", "neurosurgeon-true", "dnn-surgeon", "dnn-surgeon-true",
    "li-gd", "li-gd-true", "best-static", "best-response", "best-response-true", REFERENCE, f"{REFERENCE}-true",
    "sequential-best-response", "sequential-best-response-true", "coordinate-descent", "coordinate-descent-true",
)  # fmt: skip
SHOWN = ("relative_cost", "delay_s", "energy_j", "tasks_dropped", "local_share", "certificate")


@dataclass(frozen=True, slots=True)
class Agent:
    """A learned agent of the tables."""

    label: str
    agent: AgentName
    policy: PolicyName = "pooled"
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Prefix of the names of its run folders."""
        return "-".join([self.agent, self.policy, *(["warm"] if self.changes else [])])


AGENTS = (
    Agent("DAgger, pooled (default)", "dagger"),
    Agent("DAgger, then member-PPO", "member-ppo", changes={"imitation_rounds": 3, "steps": 64_000,
                                                            "learning_rate": 3e-4}),
    Agent("member-PPO, pooled", "member-ppo"),
    Agent("PPO, pooled", "ppo"),
    Agent("PPO, central", "ppo", "central"),
    Agent("PPO, shared", "ppo", "shared"),
)  # fmt: skip


@dataclass(frozen=True)
class Arguments(LearnedArguments):
    """Train, evaluate and tabulate."""

    episodes: int = 12
    """Episodes of 100 frames per evaluation seed, each with new users."""
    train_only: bool = False
    """Only train the missing runs."""
    runs: Path = Path("runs/experiments-eccnoma")
    """Folder for the runs."""


def run_of(agent: Agent, seed: int, arguments: Arguments) -> Run:
    """The run of an agent, trained if it does not exist yet."""
    settings = settings_for(ENV, agent.agent, agent.policy, "").model_copy(update=dict(agent.changes))
    config = RunConfig(env_id=ENV, agent=agent.agent, policy=agent.policy, settings=settings, seed=seed)
    return trained(config, arguments.runs / f"{agent.name}__{seed}")


class Instances:
    """Evaluation episodes of a preset, common to all policies."""

    def __init__(self, preset: str, arguments: Arguments) -> None:
        self._seeds = [
            word
            for seed in range(arguments.seeds)
            for word in stream_seeds(EVALUATION_STREAM, seed, arguments.episodes)
        ]
        self._env = make_worlds(ENV, len(self._seeds), preset, {})

    def play(self, make: Callable[[Any], Policy]) -> Table:
        """Metrics of a policy, one value per episode."""
        return play(self._env, make(self._env), self._seeds)

    def baseline(self, name: str) -> Table:
        """Metrics of a baseline."""
        return self.play(lambda env: make_baseline(name, env, 0))

    def network(self, run: Run, model: str) -> Table:
        """Metrics of a run's network."""
        return self.play(lambda env: run.load_policy(env.system, model))


@dataclass(frozen=True, slots=True)
class Row:
    """A policy compared with the reference, with means over its trainings in each episode."""

    cost: Interval
    """relative cost"""
    difference: Interval
    """paired difference to the reference, in percent of the reference's mean"""
    log_ratio: Interval
    """mean log ratio to the reference, in percent"""
    better: int
    """number of episodes in which the cost is below the reference's"""
    by_training_seed: list[float]
    """difference of each training, in percent"""
    means: dict[str, float]
    commit: str = ""
    """commit that computed the row, if it was kept"""


def kept(file: Path, preset: str, agent: Agent) -> dict[str, Row]:
    """The rows of an agent from the JSON file, with means alone."""
    return {
        label: Row(
            cost=mean_alone(row["relative_cost"][0]),
            difference=mean_alone(row["difference_percent"][0]),
            log_ratio=mean_alone(row["log_ratio_percent"][0]),
            better=row["better"],
            by_training_seed=row["by_training_seed_percent"],
            means=row["means"],
            commit=row["commit"],
        )
        for label, row in kept_rows(file, (preset,), agent.label).items()
    }


def row_of(tables: Sequence[Table], reference: NDArray[np.float64]) -> Row:
    """Compute the row of one or several trainings, or of a baseline."""
    costs = np.array([table["relative_cost"] for table in tables])
    scale = 100.0 / reference.mean()

    def over_episodes(values: NDArray[np.float64]) -> Interval:
        return Resampled(values[:, None, :]).mean()

    return Row(
        cost=over_episodes(costs),
        difference=over_episodes((costs - reference) * scale),
        log_ratio=over_episodes(100.0 * np.log(costs / reference)),
        better=int((costs.mean(axis=0) < reference).sum()),
        by_training_seed=[float((each - reference).mean() * scale) for each in costs],
        means={name: float(np.mean([table[name].mean() for table in tables])) for name in SHOWN},
    )


def rows_of(preset: str, agents: Sequence[Agent], baselines: Sequence[str], arguments: Arguments) -> dict[str, Row]:
    """Rows of all policies on a preset; learned ones with their last and their best validated networks."""
    instances = Instances(preset, arguments)
    tables = {name: [instances.baseline(name)] for name in baselines}
    reused: dict[str, Row] = {}
    for agent in agents:
        if arguments.agents and agent.label not in arguments.agents:
            reused |= kept(arguments.out / "eccnoma.json", preset, agent)
            continue
        runs = [run_of(agent, seed, arguments) for seed in range(1, arguments.training_seeds + 1)]
        for model, ending in ((LAST, ""), (BEST, " (best validated)")):
            tables[agent.label + ending] = [instances.network(run, model) for run in runs]
    reference = tables[REFERENCE][0]["relative_cost"]
    return {label: row_of(each, reference) for label, each in tables.items()} | reused


def spread(value: Interval) -> str:
    """Format a difference like `percent_text`, without the unit."""
    return percent_text(value).removesuffix(" %")


def table(rows: Mapping[str, Row], under: str) -> list[str]:
    """Table with one row per policy, and its caption `under`."""
    lines = [
        f"| policy | relative cost | against {REFERENCE} [%] | mean log ratio [%] | better in | delay [s] | energy [J] "
        "| drops per frame | by training seed [%] |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for label, row in rows.items():
        each = ", ".join(f"{value:+.1f}" for value in row.by_training_seed) if len(row.by_training_seed) > 1 else "-"
        lines.append(
            f"| {label} | {spread_text(row.cost, 3)} | {spread(row.difference)} "
            f"| {spread(row.log_ratio)} | {row.better} | {row.means['delay_s']:.3f} | {row.means['energy_j']:.3f} "
            f"| {row.means['tasks_dropped']:.3f} | {each} |"
        )
    commits = {label: {"commit": row.commit} if row.commit else {} for label, row in rows.items()}
    return [*lines, "", under, *kept_note(commits), ""]


def as_document(rows: Mapping[str, Row]) -> dict[str, Any]:
    """Rows as a JSON-able dictionary."""
    return {
        label: {
            "relative_cost": [row.cost.mean, row.cost.half_width],
            "difference_percent": [row.difference.mean, row.difference.half_width],
            "log_ratio_percent": [row.log_ratio.mean, row.log_ratio.half_width],
            "better": row.better,
            "by_training_seed_percent": row.by_training_seed,
            "means": row.means,
            **({"commit": row.commit} if row.commit else {}),
        }
        for label, row in rows.items()
    }


def main(arguments: Arguments) -> None:
    """Run the experiment."""
    check_agents(arguments.agents, [agent.label for agent in AGENTS])
    if arguments.train_only:
        for agent in AGENTS:
            for seed in range(1, arguments.training_seeds + 1):
                run_of(agent, seed, arguments)
        return
    rows = rows_of("default", AGENTS, BASELINES, arguments)
    pooled = [agent for agent in AGENTS if agent.policy == "pooled"]
    large = rows_of("large", pooled, ("edge-only", "best-response", *BASELINES[-6:]), arguments)
    instances = arguments.seeds * arguments.episodes
    under = caption(arguments.units, arguments.training_seeds)
    text = [
        "# ECCNOMA-v0: learned agents",
        "",
        f"Made by `python -m experiments.eccnoma`: {arguments.training_seeds} training seeds per learned agent; "
        f"{instances} evaluation episodes ({arguments.seeds} seeds x {arguments.episodes}) of 100 frames, each with "
        "new users, common to all policies. Costs are relative to Device-Only's at the mean arrivals; the relative "
        f"cost is minus the mean reward. {NETWORKS_NOTE}, which `train.py` compares.",
        "",
        "The last column contains the difference of each training. Costs vary widely between episodes, so differences "
        "are paired, and the mean log ratio is given as well.",
        "",
        "Information: baselines without a suffix know the model, the current tasks, and the previous frame's channels "
        "and background loads, of which the agent observes summaries. Those with `-true` know the current channels and "
        "loads. `device-only`, `edge-only`, `best-static` and `random` do not use the state. Subchannels, powers and "
        "units are always optimised on the true state, which favours the baselines from older papers. Coordinate "
        "descent optimises each frame separately: a strong reference, not a bound.",
        "",
        "## Preset `default`: 12 users, 2 APs",
        "",
        *table(rows, under),
        "## Preset `large`: 30 users, 3 APs, with the networks trained on 12 users",
        "",
        *table(large, under),
    ]
    document = {"default": as_document(rows), "large": as_document(large)}
    publish(arguments.out, "eccnoma", text, document, "experiments.eccnoma")


if __name__ == "__main__":
    raise SystemExit(command(Arguments, __doc__, main))
