"""SemCom-v0: learned agents and baselines over several training seeds.

`python -m experiments.semcom` trains all agents and writes docs/results/semcom.json and .md. Existing runs in the run
folder are reused, so the tables can be computed again from the networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agents.evaluation.episodes import Scores
from agents.runs.folder import BEST, Run
from experiments.shared.common import by_seed_text, caption, publish, spread_text, table
from experiments.shared.kept import TRANSFERRED, kept_note
from experiments.shared.learned import (
    NETWORKS_NOTE,
    Agent,
    LearnedArguments,
    learned_command,
    runs_of,
    scores_of,
    tables_of,
)

ENV = "SemCom-v0"
METRICS = ("cost", "shortfall_db", "targets_met", "queue_db", "reward", "psnr_mean_db", "delay_s", "energy_j")
REFERENCE, STRONGEST, POLISHED = "best-static", "drift", "drift-polish"
PPO, CENTRAL = Agent("PPO, shared"), Agent("PPO, central", policy="central")
DDPG, TD3 = Agent("DDPG, shared", "ddpg"), Agent("TD3, shared", "td3")
AGENTS: Mapping[str, tuple[Agent, ...]] = {
    "default": (PPO, CENTRAL, DDPG, TD3),
    "random": (Agent("PPO, shared, V = 100 in training", training_options={"queue_weight": 100.0}), TD3),
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
    runs: Path = Path("runs/experiments-semcom")
    """Folder for the runs."""


def markdown(preset: str, rows: Mapping[str, Mapping[str, Any]], arguments: Arguments) -> list[str]:
    """The table of one preset."""
    heads = [
        "policy", "cost", f"against {REFERENCE}", STRONGEST, POLISHED, "shortfall [dB]", "targets met", "queue [dB]",
        "reward", "cost by training seed", "shortfall by training seed",
    ]  # fmt: skip
    body = []
    for label, row in rows.items():
        cost = row["cost"]
        levels = [rows[name]["cost"]["mean"] for name in (REFERENCE, STRONGEST, POLISHED) if name in rows]
        differences = [f"{100 * (cost['mean'] / level - 1):+.1f} %" for level in levels]
        if label.endswith(TRANSFERRED):
            differences = ["-"] * 3
        cells = [label, spread_text(cost, 3), *differences, spread_text(row["shortfall_db"], 4)]
        cells += [f"{row['targets_met']['mean']:.2f}", f"{row['queue_db']['mean']:.1f}", spread_text(row["reward"], 3)]
        body.append([*cells, *(by_seed_text(row[name]["by_training_seed"], 3) for name in METRICS[:2])])
    under = [caption(arguments.units, arguments.training_seeds), *kept_note(rows)]
    return [f"## Preset `{preset}`", "", *table(heads, body), "", *under, ""]


def main(arguments: Arguments) -> None:
    """Run the experiment."""

    def runs(agent: Agent, preset: str) -> list[Run]:
        return runs_of(ENV, agent, f"{preset}__{agent.agent}-{agent.policy}", arguments, preset)

    def transferred(agent: Agent, preset: str, trained: list[Run]) -> dict[str, Scores]:
        # Trainings on preset `random` did not use the geometry of the default preset.
        if preset != "random":
            return {}
        there = scores_of(trained, BEST, "default", {"observe_geometry": True}, arguments)
        return {f"{agent.label}{TRANSFERRED}": there}

    if arguments.train_only:
        for preset in arguments.presets:
            for agent in AGENTS[preset]:
                runs(agent, preset)
        return
    tables = tables_of(ENV, AGENTS, arguments.presets, METRICS, "semcom.json", arguments, runs, transferred)
    text = [
        "# SemCom-v0: learned agents",
        "",
        f"Made by `python -m experiments.semcom` with {arguments.training_seeds} training seeds per learned agent. All "
        f"policies are evaluated on the same {arguments.seeds} seeds x {arguments.episodes} episodes of 1000 rounds. "
        f"{NETWORKS_NOTE}. `train.py` reports the best validated network.",
        "",
        "The cost is the objective divided by its mean at the smallest compression rates. The shortfall of a device is "
        "the difference by which its mean PSNR misses the requirement; the table shows the mean over the devices. An "
        "agent that misses the requirement has a low cost because it sends too little. `drift` and `drift-polish` use "
        "the model and solve it in every round; the agents do not.",
        "",
        *(line for preset, rows in tables.items() for line in markdown(preset, rows, arguments)),
    ]
    publish(arguments.out, "semcom", text, {"tables": tables})


if __name__ == "__main__":
    agents = [agent for each in AGENTS.values() for agent in each]
    raise SystemExit(learned_command(Arguments, __doc__, main, agents))
