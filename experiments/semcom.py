"""SemCom-v0: learned agents and baselines over several training seeds.

`python -m experiments.semcom` trains all agents and writes docs/results/semcom.json and .md. Existing runs in the run
folder are reused, so the tables can be computed again from the networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agents.evaluation.comparison import compare
from agents.evaluation.contestants import Entry, baseline_names
from agents.hyperparameters.lookup import settings_for
from agents.hyperparameters.settings import AgentName, PolicyName
from agents.runs.folder import BEST, Run, RunConfig
from experiments.shared.common import caption, command, publish, spread_text
from experiments.shared.kept import check_agents, kept_note, kept_rows
from experiments.shared.learned import NETWORKS_NOTE, LearnedArguments, by_model, summary, trained

ENV = "SemCom-v0"
METRICS = ("cost", "shortfall_db", "targets_met", "queue_db", "reward", "psnr_mean_db", "delay_s", "energy_j")
REFERENCE, STRONGEST, POLISHED = "best-static", "drift", "drift-polish"


@dataclass(frozen=True, slots=True)
class Agent:
    """A learned agent of the tables."""

    label: str
    agent: AgentName = "ppo"
    policy: PolicyName = "shared"
    training_queue_weight: float | None = None
    """V in training; None for the agent's default."""


PPO, CENTRAL = Agent("PPO, shared"), Agent("PPO, central", policy="central")
DDPG, TD3 = Agent("DDPG, shared", "ddpg"), Agent("TD3, shared", "td3")
AGENTS: Mapping[str, tuple[Agent, ...]] = {
    "default": (PPO, CENTRAL, DDPG, TD3),
    "random": (Agent("PPO, shared, V = 100 in training", training_queue_weight=100.0), TD3),
    "mild": (TD3,),
    "table2": (TD3,),
}


@dataclass(frozen=True)
class Arguments(LearnedArguments):
    """Train, evaluate and tabulate."""

    presets: tuple[Literal["default", "random", "mild", "table2"], ...] = ("default", "random", "mild", "table2")
    """Presets to evaluate; the other tables are kept from the JSON file."""
    episodes: int = 4
    """Episodes of 1000 rounds per evaluation seed."""
    steps: int | None = None
    """Training steps (default: each agent's default)."""
    train_only: bool = False
    """Only train the missing runs."""
    runs: Path = Path("runs/experiments-semcom")
    """Folder for the runs."""


def run_of(agent: Agent, preset: str, seed: int, arguments: Arguments) -> Run:
    """The run of an agent, trained if it does not exist yet."""
    settings = settings_for(ENV, agent.agent, agent.policy, "compression")
    if arguments.steps is not None:
        settings = settings.model_copy(update={"steps": arguments.steps})
    if agent.training_queue_weight is not None:
        options = {**settings.training_options, "queue_weight": agent.training_queue_weight}
        settings = settings.model_copy(update={"training_options": options})
    config = RunConfig(
        env_id=ENV, preset=preset, agent=agent.agent, policy=agent.policy, settings=settings, seed=seed
    )  # fmt: skip
    return trained(config, arguments.runs / f"{preset}__{agent.agent}-{agent.policy}__{seed}")


def rows_of(preset: str, arguments: Arguments) -> dict[str, dict[str, Any]]:
    """Metrics of each policy on one preset, and of learned ones also the values by training seed."""
    common: dict[str, Any] = {"seeds": arguments.seeds, "episodes": arguments.episodes}
    baselines = [Entry(name) for name in baseline_names(ENV, preset, {})]
    rows = {name: summary(scores, METRICS) for name, scores in compare(baselines, ENV, preset, {}, **common).items()}
    for agent in AGENTS[preset]:
        if arguments.agents and agent.label not in arguments.agents:
            elsewhere = f"{agent.label}, on the geometry of `default`"
            rows |= kept_rows(arguments.out / "semcom.json", ("tables", preset), agent.label, elsewhere)
            continue
        runs = [run_of(agent, preset, seed, arguments) for seed in range(1, arguments.training_seeds + 1)]
        for model, scores in by_model(runs, preset, {}, **common).items():
            rows[agent.label + (" (best validated)" if model == BEST else "")] = summary(scores, METRICS)
        if preset == "random":
            # These trainings did not use the geometry of the default preset.
            there = by_model(runs, "default", {"observe_geometry": True}, models=(BEST,), **common)
            rows[f"{agent.label}, on the geometry of `default`"] = summary(there[BEST], METRICS)
    return rows


def markdown(preset: str, rows: Mapping[str, Mapping[str, Any]], arguments: Arguments) -> str:
    """The table of one preset."""
    lines = [
        f"## Preset `{preset}`",
        "",
        f"| policy | cost | against {REFERENCE} | {STRONGEST} | {POLISHED} | shortfall [dB] | targets met | queue [dB] "
        "| reward | cost by training seed | shortfall by training seed |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for label, row in rows.items():
        cost = row["cost"]
        differences = [f"{100 * (cost['mean'] / rows[name]['cost']['mean'] - 1):+.1f} %" for name in _references(rows)]
        if "on the geometry" in label:
            differences = ["-"] * 3
        several = len(cost["by_training_seed"]) > 1
        seeds = [", ".join(f"{value:.3f}" for value in row[name]["by_training_seed"]) for name in METRICS[:2]]
        lines.append(
            f"| {label} | {spread_text(cost, 3)} | {' | '.join(differences)} | {spread_text(row['shortfall_db'], 4)} "
            f"| {row['targets_met']['mean']:.2f} | {row['queue_db']['mean']:.1f} | {spread_text(row['reward'], 3)} "
            f"| {' | '.join(seeds) if several else '- | -'} |"
        )
    return "\n".join([*lines, "", caption(arguments.units, arguments.training_seeds), *kept_note(rows)]) + "\n"


def _references(rows: Mapping[str, Any]) -> list[str]:
    return [name for name in (REFERENCE, STRONGEST, POLISHED) if name in rows]


def main(arguments: Arguments) -> None:
    """Run the experiment."""
    check_agents(arguments.agents, [agent.label for agents in AGENTS.values() for agent in agents])
    if arguments.train_only:
        for preset in arguments.presets:
            for agent in AGENTS[preset]:
                for seed in range(1, arguments.training_seeds + 1):
                    run_of(agent, preset, seed, arguments)
        return
    tables = {
        preset: rows_of(preset, arguments)
        if preset in arguments.presets
        else kept_rows(arguments.out / "semcom.json", ("tables", preset))
        for preset in AGENTS
    }
    text = [
        "# SemCom-v0: learned agents",
        "",
        f"Made by `python -m experiments.semcom`: {arguments.training_seeds} training seeds per learned agent, "
        f"{arguments.seeds} evaluation seeds x {arguments.episodes} episodes of 1000 rounds, common to all policies. "
        f"{NETWORKS_NOTE}, which `train.py` compares.",
        "",
        "Cost is the objective divided by its mean at the smallest compression rates. The shortfall is the mean over "
        "devices of the difference by which the mean PSNR misses the requirement; an agent that misses it has a low "
        "cost because it sends too little. `drift` and `drift-polish` know the model and solve it; the agents do not.",
        "",
        *(markdown(preset, rows, arguments) for preset, rows in tables.items()),
    ]
    publish(arguments.out, "semcom", text, {"tables": tables}, "experiments.semcom")


if __name__ == "__main__":
    raise SystemExit(command(Arguments, __doc__, main))
