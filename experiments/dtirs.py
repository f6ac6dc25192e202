"""DTIRS-v0: learned agents and baselines over several training seeds, and the value of the state by what varies.

`python -m experiments.dtirs` trains all agents and writes docs/results/dtirs.json and .md. Existing runs in the run
folder are reused, so the tables can be computed again from the networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.evaluation.bootstrap import Resampled
from agents.evaluation.comparison import compare
from agents.evaluation.contestants import Entry, baseline_names
from agents.evaluation.statistics import Interval
from agents.hyperparameters.lookup import settings_for
from agents.hyperparameters.settings import AgentName, PolicyName
from agents.runs.folder import BEST, Run, RunConfig
from experiments.shared.common import caption, command, percent, percent_text, publish, spread_text
from experiments.shared.kept import check_agents, kept_note, kept_rows, mean_alone
from experiments.shared.learned import NETWORKS_NOTE, LearnedArguments, by_model, summary, trained

ENV = "DTIRS-v0"
METRICS = ("delay_s", "reward", "mean_cut", "local_share", "twin_share", "certificate")
STATIC, UPPER = "best-static", "bcd"


@dataclass(frozen=True, slots=True)
class Agent:
    """A learned agent of the tables."""

    label: str
    agent: AgentName = "ppo"
    policy: PolicyName = "shared"


AGENTS = (
    Agent("PPO, shared"), Agent("PPO, central", policy="central"), Agent("DDPG, shared", "ddpg"),
    Agent("TD3, shared", "td3"),
)  # fmt: skip
STILL: Mapping[str, Any] = {"speed_m_per_s": 0.0, "device_share_min": 1.0, "pool_levels": (1.0,)}
CHANGING: Mapping[str, Mapping[str, Any]] = {
    "fading only": STILL,
    "fading, AP load": {**STILL, "pool_levels": (0.4, 1.0, 1.6)},
    "fading, AP load, device load": {"speed_m_per_s": 0.0},
    "fading, AP load, places": {"device_share_min": 1.0},
    "everything (default)": {},
    "everything, no twins": {"twins": "none"},
    "everything, leakage of 0.3 s": {"leakage_s": 0.3, "cuts": "all"},
}
"""Options by what changes from frame to frame within an episode; every episode has new devices."""


@dataclass(frozen=True)
class Arguments(LearnedArguments):
    """Train, evaluate and tabulate."""

    episodes: int = 4
    """Episodes of 100 frames per evaluation seed."""
    steps: int | None = None
    """Training steps (default: each agent's default)."""
    train_only: bool = False
    """Only train the missing runs."""
    runs: Path = Path("runs/experiments-dtirs")
    """Folder for the runs."""


def run_of(agent: Agent, seed: int, arguments: Arguments) -> Run:
    """The run of an agent, trained if it does not exist yet."""
    settings = settings_for(ENV, agent.agent, agent.policy, "")
    if arguments.steps is not None:
        settings = settings.model_copy(update={"steps": arguments.steps})
    config = RunConfig(
        env_id=ENV, preset="default", agent=agent.agent, policy=agent.policy, settings=settings, seed=seed
    )  # fmt: skip
    return trained(config, arguments.runs / f"{agent.agent}-{agent.policy}__{seed}")


def learned_rows(arguments: Arguments) -> dict[str, dict[str, Any]]:
    """Metrics of each policy, and of learned ones also the values by training seed."""
    common: dict[str, Any] = {"seeds": arguments.seeds, "episodes": arguments.episodes}
    baselines = [Entry(name) for name in baseline_names(ENV, "default", {})]
    scores = compare(baselines, ENV, "default", {}, **common)
    kept: dict[str, dict[str, Any]] = {}
    for agent in AGENTS:
        if arguments.agents and agent.label not in arguments.agents:
            kept |= kept_rows(arguments.out / "dtirs.json", ("default",), agent.label)
            continue
        runs = [run_of(agent, seed, arguments) for seed in range(1, arguments.training_seeds + 1)]
        for network, found in by_model(runs, "default", {}, **common).items():
            scores[agent.label + (" (best validated)" if network == BEST else "")] = found
    rows = {
        label: {
            **summary(each, METRICS),
            "against": {name: asdict(percent(each, scores[name], "delay_s")) for name in (STATIC, UPPER)},
        }
        for label, each in scores.items()
    }
    for row in kept.values():
        ratios = {name: row["delay_s"]["mean"] / rows[name]["delay_s"]["mean"] for name in (STATIC, UPPER)}
        row["against"] = {name: asdict(mean_alone(100.0 * (ratio - 1.0))) for name, ratio in ratios.items()}
    return rows | kept


def learned_table(rows: Mapping[str, Mapping[str, Any]], under: str) -> list[str]:
    """Table with one row per policy, and its caption `under`."""
    lines = [
        f"| policy | delay [s] | against {STATIC} | against {UPPER} | reward | mean cut | all on the device | on twins "
        "| delay by training seed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for label, row in rows.items():
        delay = row["delay_s"]
        own = delay["by_training_seed"]
        against = [percent_text(Interval(**row["against"][name])) if name != label else "" for name in (STATIC, UPPER)]
        lines.append(
            f"| {label} | {spread_text(delay, 2)} | {' | '.join(against)} | {spread_text(row['reward'], 3)} "
            f"| {row['mean_cut']['mean']:.1f} | {row['local_share']['mean']:.2f} | {row['twin_share']['mean']:.2f} "
            f"| {', '.join(f'{value:.2f}' for value in own) if len(own) > 1 else '-'} |"
        )
    return [*lines, "", under, *kept_note(rows), ""]


def changing_table(arguments: Arguments) -> tuple[list[str], dict[str, Any]]:
    """Table of the gain of block coordinate descent over constant cuts, by what changes from frame to frame."""
    lines = [
        "| what changes | best-common [s] | best-static [s] | bcd [s] | bcd below best-common | below best-static |",
        "|---|---|---|---|---|---|",
    ]
    document: dict[str, Any] = {}
    names = ("best-common", STATIC, UPPER)
    for label, options in CHANGING.items():
        scores = compare(
            [Entry(name) for name in names], ENV, "default", options, seeds=arguments.seeds,
            episodes=arguments.episodes,
        )  # fmt: skip
        delays = {name: scores[name].episodes["objective_s"] for name in names}
        cells = [spread_text(Resampled(delays[name]).mean(), 2) for name in names]
        for other in names[:2]:
            gap = percent(scores[UPPER], scores[other], "objective_s")
            cells.append(f"{-gap.mean:.1f} ± {gap.half_width:.1f} %")
        lines.append(f"| {label} | {' | '.join(cells)} |")
        document[label] = {name: values.mean(axis=(0, 2)).tolist() for name, values in delays.items()}
    return [*lines, "", caption(arguments.units), ""], document


def main(arguments: Arguments) -> None:
    """Run the experiment."""
    check_agents(arguments.agents, [agent.label for agent in AGENTS])
    if arguments.train_only:
        for agent in AGENTS:
            for seed in range(1, arguments.training_seeds + 1):
                run_of(agent, seed, arguments)
        return
    rows = learned_rows(arguments)
    changing, changes = changing_table(arguments)
    text = [
        "# DTIRS-v0: learned agents",
        "",
        f"Made by `python -m experiments.dtirs`: {arguments.training_seeds} training seeds per learned agent, "
        f"{arguments.seeds} evaluation seeds x {arguments.episodes} episodes of 100 frames, common to all policies. "
        f"{NETWORKS_NOTE}, which `train.py` compares.",
        "",
        "Delays are sums over the ten devices. `best-static` takes, in each episode, the best constant cuts that a "
        "search finds on simulated frames, given the devices' speeds and workloads. `bcd` searches every frame, given "
        "all channels and the frame's phases. Differences are paired by episode.",
        "",
        "## Preset `default`",
        "",
        *learned_table(rows, caption(arguments.units, arguments.training_seeds)),
        "## What must vary for the state to matter",
        "",
        "Baselines only, with the objective in place of the delay (they differ by leakage and loss). The gain of `bcd` "
        "over `best-static` shows how much a policy can gain from observing the state.",
        "",
        *changing,
    ]
    publish(arguments.out, "dtirs", text, {"default": rows, "changing": changes}, "experiments.dtirs")


if __name__ == "__main__":
    raise SystemExit(command(Arguments, __doc__, main))
