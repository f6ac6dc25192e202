"""ECCNOMA-v0: learned agents and baselines over several training seeds, and the same networks with more users.

`python -m experiments.eccnoma` trains all agents and writes docs/results/eccnoma.json and .md. Existing runs in the run
folder are reused, so the tables can be computed again from the networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.evaluation.bootstrap import Resampled
from agents.evaluation.episodes import Table, play
from agents.runs.folder import BEST, LAST, Run
from agents.worlds import EVALUATION_STREAM, make_worlds, stream_seeds
from edge_envs.core.policy import make_baseline
from experiments.shared.common import by_seed_text, caption, publish, spread_text, table
from experiments.shared.kept import VALIDATED, kept_note, kept_rows
from experiments.shared.learned import NETWORKS_NOTE, Agent, LearnedArguments, Rows, learned_command, runs_of

ENV = "ECCNOMA-v0"
REFERENCE = "iterated-best-response"
BASELINES = (
    "random", "device-only", "edge-only", "neurosurgeon", "neurosurgeon-true", "dnn-surgeon", "dnn-surgeon-true",
    "li-gd", "li-gd-true", "best-static", "best-response", "best-response-true", REFERENCE, f"{REFERENCE}-true",
    "sequential-best-response", "sequential-best-response-true", "coordinate-descent", "coordinate-descent-true",
)  # fmt: skip
SHOWN = ("relative_cost", "delay_s", "energy_j", "tasks_dropped", "local_share", "certificate")
SPREADS = ("relative_cost", "difference_percent", "log_ratio_percent")
"""Entries of a row that have a half width."""
AGENTS = (
    Agent("DAgger, pooled (default)", "dagger", "pooled"),
    Agent("DAgger, then member-PPO", "member-ppo", "pooled",
          changes={"imitation_rounds": 3, "steps": 64_000, "learning_rate": 3e-4}),
    Agent("member-PPO, pooled", "member-ppo", "pooled"),
    Agent("PPO, pooled", "ppo", "pooled"),
    Agent("PPO, central", "ppo", "central"),
    Agent("PPO, shared", "ppo", "shared"),
)  # fmt: skip


@dataclass(frozen=True)
class Arguments(LearnedArguments):
    """Train, evaluate and tabulate."""

    episodes: int = 12
    """Episodes of 100 frames per evaluation seed, each with new users."""
    runs: Path = Path("runs/experiments-eccnoma")
    """Folder for the runs."""


def runs(agent: Agent, arguments: Arguments) -> list[Run]:
    """The runs of an agent, trained if they do not exist yet."""
    name = "-".join([agent.agent, agent.policy, *(["warm"] if agent.changes else [])])
    return runs_of(ENV, agent, name, arguments)


def kept(file: Path, preset: str, agent: Agent) -> Rows:
    """The rows of an agent from the JSON file, with means alone."""
    rows = kept_rows(file, (preset,), agent.label)
    return {label: {**row, **{name: [row[name][0], math.nan] for name in SPREADS}} for label, row in rows.items()}


def row_of(tables: Sequence[Table], reference: NDArray[np.float64]) -> dict[str, Any]:
    """Compute the row of one or several trainings, or of a baseline, with means over the trainings in each episode.

    Returns:
        relative_cost: mean and half width.
        difference_percent: paired difference to the reference in percent of the reference's mean: mean and half width.
        log_ratio_percent: log ratio to the reference in percent: mean and half width.
        better: number of episodes in which the cost is below the reference's.
        by_training_seed_percent: difference of each training.
        means: means of `SHOWN`.
    """
    costs = np.array([table["relative_cost"] for table in tables])
    scale = 100.0 / reference.mean()
    spreads = costs, (costs - reference) * scale, 100.0 * np.log(costs / reference)
    means = [Resampled(values[:, None, :]).mean() for values in spreads]
    return {
        **{name: [found.mean, found.half_width] for name, found in zip(SPREADS, means, strict=True)},
        "better": int((costs.mean(axis=0) < reference).sum()),
        "by_training_seed_percent": [float((each - reference).mean() * scale) for each in costs],
        "means": {name: float(np.mean([table[name].mean() for table in tables])) for name in SHOWN},
    }


def rows_of(preset: str, agents: Sequence[Agent], baselines: Sequence[str], arguments: Arguments) -> Rows:
    """Rows of all policies on a preset; learned ones with their last and their best validated networks."""
    seeds = [
        word for seed in range(arguments.seeds) for word in stream_seeds(EVALUATION_STREAM, seed, arguments.episodes)
    ]
    env = make_worlds(ENV, len(seeds), preset, {})
    tables = {name: [play(env, make_baseline(name, env, 0), seeds)] for name in baselines}
    reused: Rows = {}
    for agent in agents:
        if arguments.omits(agent):
            reused |= kept(arguments.out / "eccnoma.json", preset, agent)
            continue
        found = runs(agent, arguments)
        for model, ending in ((LAST, ""), (BEST, VALIDATED)):
            tables[agent.label + ending] = [play(env, run.load_policy(env.system, model), seeds) for run in found]
    reference = tables[REFERENCE][0]["relative_cost"]
    return {label: row_of(each, reference) for label, each in tables.items()} | reused


def learned_table(rows: Rows, under: str) -> list[str]:
    """Table with one row per policy, and its caption `under`."""
    heads = [
        "policy", "relative cost", f"against {REFERENCE} [%]", "mean log ratio [%]", "better in", "delay [s]",
        "energy [J]", "drops per frame", "by training seed [%]",
    ]  # fmt: skip
    body = []
    for label, row in rows.items():
        spreads = [{"mean": row[name][0], "half_width": row[name][1]} for name in SPREADS]
        texts = [spread_text(spreads[0], 3), *(spread_text(each, 1, "+") for each in spreads[1:])]
        means = [f"{row['means'][name]:.3f}" for name in ("delay_s", "energy_j", "tasks_dropped")]
        body.append([label, *texts, str(row["better"]), *means, by_seed_text(row["by_training_seed_percent"], 1, "+")])
    return [*table(heads, body), "", under, *kept_note(rows), ""]


def main(arguments: Arguments) -> None:
    """Run the experiment."""
    if arguments.train_only:
        for agent in AGENTS:
            runs(agent, arguments)
        return
    rows = rows_of("default", AGENTS, BASELINES, arguments)
    pooled = [agent for agent in AGENTS if agent.policy == "pooled"]
    large = rows_of("large", pooled, ("edge-only", "best-response", *BASELINES[-6:]), arguments)
    instances = arguments.seeds * arguments.episodes
    under = caption(arguments.units, arguments.training_seeds)
    text = [
        "# ECCNOMA-v0: learned agents",
        "",
        f"Made by `python -m experiments.eccnoma` with {arguments.training_seeds} training seeds per learned agent. "
        f"All policies are evaluated on the same {instances} episodes ({arguments.seeds} seeds x "
        f"{arguments.episodes}) of 100 frames; each episode has new users. Costs are divided by the cost of "
        f"Device-Only for the mean number of arrivals; the relative cost is minus the mean reward. {NETWORKS_NOTE}. "
        "`train.py` reports the best validated network.",
        "",
        "The last column contains the difference of each training. Costs vary widely between episodes, so differences "
        "are paired, and the mean log ratio is given as well.",
        "",
        "The policies use different information. Baselines without a suffix use the model, the current tasks, and "
        "the channels and background loads of the previous frame; the agent only observes summaries of these. "
        "Baselines with the suffix `-true` use the current channels and loads. `device-only`, `edge-only`, "
        "`best-static` and `random` do not use the state. Subchannels, powers and units are always optimised for the "
        "true state, which favours the baselines from older papers. Coordinate descent optimises each frame "
        "separately, so it is a strong reference, but not a bound.",
        "",
        "## Preset `default`: 12 users, 2 APs",
        "",
        *learned_table(rows, under),
        "## Preset `large`: 30 users, 3 APs, with the networks trained on 12 users",
        "",
        *learned_table(large, under),
    ]
    publish(arguments.out, "eccnoma", text, {"default": rows, "large": large})


if __name__ == "__main__":
    raise SystemExit(learned_command(Arguments, __doc__, main, AGENTS))
