"""LyaPPO-v0: learned agents beside the baselines, over several training seeds.

`python -m experiments.lyappo` trains everything and writes docs/results/lyappo.json and .md; runs that exist in the
run folder are used again, so the tables can be made anew from the networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from rich.console import Console

from agents.compare import HEALTHY_RATIO, compare
from agents.entries import Entry, baseline_names
from agents.runs import BEST, Run, RunConfig
from agents.settings import AgentName, PolicyName, settings_for
from experiments.common import by_model, caption, command, publish, spread_text, summary, trained

ENV = "LyaPPO-v0"
METRICS = (
    "power_mw",
    "energy_local_j",
    "energy_transmit_j",
    "reward",
    "finished_over_arrived",
    "mean_cut",
    "backlog_local_cycles",
    "backlog_transmit_bits",
)


@dataclass(frozen=True, slots=True)
class Agent:
    """One learned agent of the tables."""

    label: str
    agent: AgentName = "ppo"
    policy: PolicyName = "shared"
    decision: str = "partition"


Preset = Literal["default", "dynamic", "dynamic-full"]
AGENTS: Mapping[Preset, tuple[Agent, ...]] = {
    "default": (
        Agent("LyaPPO, shared"),
        Agent("LyaPPO, central", policy="central"),
        Agent("DDPG-Cov, central", agent="ddpg", policy="central"),
        Agent("DDPG-Cov, shared", agent="ddpg"),
        Agent("PPO joint, shared", decision="joint"),
        Agent("PPO joint, central", policy="central", decision="joint"),
    ),
    "dynamic": (Agent("LyaPPO, shared"), Agent("LyaPPO, central", policy="central")),
    "dynamic-full": (Agent("LyaPPO, shared"),),
}


@dataclass(frozen=True)
class Arguments:
    """Train, evaluate and tabulate."""

    presets: tuple[Preset, ...] = get_args(Preset)
    """Presets to do."""
    training_seeds: int = 5
    """Trainings per agent, seeds 1, 2, ..."""
    seeds: int = 5
    """Evaluation seeds."""
    episodes: int = 16
    """Episodes per evaluation seed."""
    steps: int | None = None
    """Training steps (default: each agent's own)."""
    runs: Path = Path("runs/experiments-lyappo")
    """Where the runs are kept."""
    out: Path = Path("docs/results")
    """Where the tables go."""


def run_of(agent: Agent, preset: str, seed: int, arguments: Arguments) -> Run:
    """The run of an agent, trained now unless it is there already."""
    settings = settings_for(ENV, agent.agent, agent.policy, agent.decision)
    if arguments.steps is not None:
        settings = settings.model_copy(update={"steps": arguments.steps})
    options = {} if agent.decision == "partition" else {"decision": agent.decision}
    config = RunConfig(
        env_id=ENV, preset=preset, options=options, agent=agent.agent, policy=agent.policy, settings=settings,
        seed=seed,
    )  # fmt: skip
    return trained(config, arguments.runs / f"{preset}__{agent.agent}-{agent.policy}-{agent.decision}__{seed}")


def rows_of(preset: Preset, arguments: Arguments) -> dict[str, dict[str, Any]]:
    """Table of one preset: for each policy the metrics, and for learned ones the values by training seed."""
    common: dict[str, Any] = {"seeds": arguments.seeds, "episodes": arguments.episodes}
    baselines = [Entry(name) for name in baseline_names(ENV, preset, {})]
    rows = {name: summary(scores, METRICS) for name, scores in compare(baselines, ENV, preset, {}, **common).items()}
    for agent in AGENTS[preset]:
        runs = [run_of(agent, preset, seed, arguments) for seed in range(1, arguments.training_seeds + 1)]
        for model, scores in by_model(runs, preset, {}, **common).items():
            rows[agent.label + (" (best validated)" if model == BEST else "")] = summary(scores, METRICS)
    return rows


def markdown(preset: str, rows: Mapping[str, Mapping[str, Any]], arguments: Arguments) -> str:
    """The table of one preset."""
    best = rows["best-fixed"]["power_mw"]["mean"]
    lines = [
        f"## Preset `{preset}`",
        "",
        "| policy | mW per device | against best-fixed | reward | finished / arrived | mean local backlog [Mcycles] "
        "| by training seed [mW] |",
        "|---|---|---|---|---|---|---|",
    ]
    for label, row in rows.items():
        power, reward, ratio = row["power_mw"], row["reward"], row["finished_over_arrived"]
        by_seed = power["by_training_seed"]
        healthy = min(ratio["by_training_seed"]) >= HEALTHY_RATIO
        energy = spread_text(power, 1) if healthy else "(work left undone)"
        against = f"{100 * (power['mean'] / best - 1):+.1f} %" if healthy else "-"
        seeds = ", ".join(f"{value:.1f}" for value in by_seed) if len(by_seed) > 1 else "-"
        lines.append(
            f"| {label} | {energy} | {against} | {spread_text(reward, 3)} "
            f"| {ratio['mean']:.3f} | {row['backlog_local_cycles']['mean'] / 1e6:.1f} | {seeds} |"
        )
    units = f"{arguments.seeds * arguments.episodes} episodes ({arguments.seeds} seeds x {arguments.episodes})"
    return "\n".join([*lines, "", caption(units, arguments.training_seeds)]) + "\n"


def main(arguments: Arguments) -> None:
    """Run the experiment."""
    console = Console()
    tables = {preset: rows_of(preset, arguments) for preset in arguments.presets}
    text = [
        "# LyaPPO-v0: measured results",
        "",
        f"Made by `python -m experiments.lyappo`: {arguments.training_seeds} training seeds per learned agent, "
        f"{arguments.seeds} evaluation seeds x {arguments.episodes} episodes of 200 periods, their first quarter left "
        "out, common to all policies. Learned policies act deterministically; plain rows are the networks at the end "
        "of training, `best validated` those with the best validation reward.",
        "Energies are shown only where every run finished at least "
        f"{HEALTHY_RATIO} of the tasks that arrived: below that, energy is saved by leaving work undone.",
        "",
        *(markdown(preset, rows, arguments) for preset, rows in tables.items()),
    ]
    publish(arguments.out, "lyappo", text, {"tables": tables}, "experiments.lyappo")
    console.print("\n".join(text), markup=False, soft_wrap=True)


if __name__ == "__main__":
    raise SystemExit(command(Arguments, __doc__, main))
