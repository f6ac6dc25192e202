"""LyaPPO-v0: learned agents and baselines over several training seeds.

`python -m experiments.lyappo` trains all agents and writes docs/results/lyappo.json and .md. Existing runs in the run
folder are reused, so the tables can be computed again from the networks. With --agents or --presets only some rows are
computed, and the other rows are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from agents.evaluation.bootstrap import Resampled, difference
from agents.evaluation.comparison import compare
from agents.evaluation.contestants import Entry
from agents.reports.console import HEALTHY_RATIO
from agents.runs.folder import BEST, LAST, Run
from agents.worlds import EVALUATION_STREAM, make_worlds, stream_seeds
from experiments.shared import learned
from experiments.shared.common import by_seed_text, caption, publish, spread_text, table
from experiments.shared.kept import kept_note
from experiments.shared.learned import Agent, LearnedArguments

ENV = "LyaPPO-v0"
MODELS = (LAST, BEST)
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
Preset = Literal["default", "dynamic", "dynamic-full"]
AGENTS: Mapping[Preset, tuple[Agent, ...]] = {
    "default": (
        Agent("LyaPPO, shared"),
        Agent("LyaPPO, central", policy="central"),
        Agent("DDPG-Cov, central", agent="ddpg", policy="central"),
        Agent("DDPG-Cov, shared", agent="ddpg"),
        Agent("PPO joint, shared", options={"decision": "joint"}),
        Agent("PPO joint, central", policy="central", options={"decision": "joint"}),
    ),
    "dynamic": (Agent("LyaPPO, shared"), Agent("LyaPPO, central", policy="central")),
    "dynamic-full": (Agent("LyaPPO, shared"),),
}


@dataclass(frozen=True)
class Arguments(LearnedArguments):
    """Train, evaluate and tabulate."""

    presets: tuple[Preset, ...] = get_args(Preset)
    """Presets to evaluate; the other tables are kept from the JSON file."""
    recipe_seeds: int = 10
    """Trainings of the default agent whose last and best validated networks are compared, with seeds 0, 1, ..."""
    episodes: int = 16
    """Episodes per evaluation seed."""
    runs: Path = Path("runs/experiments-lyappo")
    """Folder for the runs."""


def name_of(agent: Agent, preset: str) -> str:
    """Name of an agent's run folders, without the seed."""
    return f"{preset}__{agent.agent}-{agent.policy}-{agent.options.get('decision', 'partition')}"


def cuts_of(run: Run, model: str, episodes: int) -> str:
    """The most frequent cuts of a device's services under a network, with their share if it is below 1."""
    env = make_worlds(ENV, episodes, run.config.preset, run.config.options)
    policy = run.load_policy(env.system, model)
    observation, _ = env.reset(seed=stream_seeds(EVALUATION_STREAM, 0, episodes))
    played = []
    for _ in range(env.max_episode_steps or 1):
        actions, _ = policy.predict(observation)
        played.append(actions.reshape(-1, actions.shape[1] // env.system.members))
        observation, *_ = env.step(actions)
    env.close()
    cuts, counts = np.unique(np.concatenate(played), axis=0, return_counts=True)
    share = counts.max() / counts.sum()
    return f"({', '.join(map(str, cuts[counts.argmax()]))})" + (f" in {share:.1%}" if share < 1.0 else "")


def last_and_best(arguments: Arguments) -> list[dict[str, Any]]:
    """Results of the last and the best validated network of every training of the default agent, with differences."""
    agent = AGENTS["default"][0]
    name = name_of(agent, "default")
    runs = [learned.run_of(ENV, agent, name, seed, arguments) for seed in range(arguments.recipe_seeds)]
    trained = [Entry(f"{run.config.seed} {model}", run, model) for run in runs for model in MODELS]
    entries = [Entry("best-fixed"), *trained]
    scores = compare(entries, ENV, "default", {}, seeds=arguments.seeds, episodes=arguments.episodes)
    power = {label: Resampled(score.episodes["power_mw"]) for label, score in scores.items()}
    rows = []
    for run in runs:
        seed = run.config.seed
        row: dict[str, Any] = {"training_seed": seed}
        for name, model in zip(("last", "best"), MODELS, strict=True):
            label = f"{seed} {model}"
            row[name] = {
                "cuts": cuts_of(run, model, arguments.episodes), "power_mw": float(power[label].values.mean()),
                "reward": float(scores[label]["reward"].mean()),
                "to_best_fixed_mw": gap(power[label], power["best-fixed"]),
            }  # fmt: skip
        row["last_to_best_mw"] = gap(*(power[f"{seed} {model}"] for model in MODELS))
        rows.append(row)
    return rows


def gap(own: Resampled, reference: Resampled) -> dict[str, float]:
    """Mean and half width of a paired difference."""
    found = difference(own, reference)
    return {"mean": found.mean, "half_width": found.half_width}


def recipe_markdown(rows: Sequence[Mapping[str, Any]], arguments: Arguments) -> list[str]:
    """Table of the last and the best validated networks."""
    heads = [
        "training seed", "last: cuts", "mW", "reward", "to best-fixed [mW]", "best: cuts", "mW", "reward",
        "to best-fixed [mW]", "last to best [mW]",
    ]  # fmt: skip
    body = []
    for row in rows:
        cells = [str(row["training_seed"])]
        for each in (row["last"], row["best"]):
            cells += [each["cuts"], f"{each['power_mw']:.2f}", f"{each['reward']:.3f}"]
            cells.append(spread_text(each["to_best_fixed_mw"], 2))
        body.append([*cells, spread_text(row["last_to_best_mw"], 2)])
    return [
        "## Last and best validated network of the default training",
        "",
        f"`train.py --env {ENV} --seed N`: the network's cuts for a device's two services, mean power per device, and "
        "paired differences on the same episodes.",
        "",
        *table(heads, body),
        "",
        caption(f"{arguments.seeds * arguments.episodes} episodes", 1),
    ]


def markdown(preset: str, rows: Mapping[str, Mapping[str, Any]], arguments: Arguments) -> list[str]:
    """Table of one preset."""
    best = rows["best-fixed"]["power_mw"]["mean"]
    heads = [
        "policy", "mW per device", "against best-fixed", "reward", "finished / arrived",
        "mean local backlog [Mcycles]", "by training seed [mW]",
    ]  # fmt: skip
    body = []
    for label, row in rows.items():
        power, reward, ratio = row["power_mw"], row["reward"], row["finished_over_arrived"]
        healthy = min(ratio["by_training_seed"]) >= HEALTHY_RATIO
        energy = spread_text(power, 1) if healthy else "(tasks unfinished)"
        against = f"{100 * (power['mean'] / best - 1):+.1f} %" if healthy else "-"
        backlog = f"{row['backlog_local_cycles']['mean'] / 1e6:.1f}"
        seeds = by_seed_text(power["by_training_seed"], 1)
        body.append([label, energy, against, spread_text(reward, 3), f"{ratio['mean']:.3f}", backlog, seeds])
    under = [caption(arguments.units, arguments.training_seeds), *kept_note(rows)]
    return [f"## Preset `{preset}`", "", *table(heads, body), "", *under, ""]


def main(arguments: Arguments) -> None:
    """Run the experiment."""

    def runs(agent: Agent, preset: str) -> list[Run]:
        return learned.runs_of(ENV, agent, name_of(agent, preset), arguments, preset)

    if arguments.train_only:
        for preset in arguments.presets:
            for agent in AGENTS[preset]:
                runs(agent, preset)
        return
    recipe = last_and_best(arguments)
    tables = learned.tables_of(ENV, AGENTS, arguments.presets, METRICS, "lyappo.json", arguments, runs)
    text = [
        "# LyaPPO-v0: measured results",
        "",
        f"Made by `python -m experiments.lyappo` with {arguments.training_seeds} training seeds per learned agent. All "
        f"policies are evaluated on the same {arguments.seeds} seeds x {arguments.episodes} episodes of 200 periods, "
        f"without the first quarter of each episode. {learned.NETWORKS_NOTE}.",
        f"An energy is only shown if every run finished at least {HEALTHY_RATIO} of the tasks that arrived, because a "
        "policy that finishes fewer tasks saves energy by doing less work.",
        "",
        *(line for preset, rows in tables.items() for line in markdown(preset, rows, arguments)),
        *recipe_markdown(recipe, arguments),
    ]
    publish(arguments.out, "lyappo", text, {"tables": tables, "last_and_best": recipe})


if __name__ == "__main__":
    agents = [agent for each in AGENTS.values() for agent in each]
    raise SystemExit(learned.learned_command(Arguments, __doc__, main, agents))
