"""DTIRS-v0: learned agents and baselines over several training seeds, and the value of the state by what varies.

`python -m experiments.dtirs` trains all agents and writes docs/results/dtirs.json and .md. Existing runs in the run
folder are reused, so the tables can be computed again from the networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents.evaluation.bootstrap import Resampled
from agents.evaluation.comparison import compare
from agents.evaluation.contestants import Entry
from agents.evaluation.statistics import Interval
from agents.runs.folder import Run
from experiments.shared import learned
from experiments.shared.common import by_seed_text, caption, percent, percent_text, publish, spread_text, table
from experiments.shared.kept import kept_note, kept_rows
from experiments.shared.learned import Agent, LearnedArguments

ENV = "DTIRS-v0"
METRICS = ("delay_s", "reward", "mean_cut", "local_share", "twin_share", "certificate")
SHARES = {"mean_cut": 1, "local_share": 2, "twin_share": 2}
"""Metrics that tables show without an interval, and their number of decimals."""
STATIC, UPPER = "best-static", "bcd"
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
    runs: Path = Path("runs/experiments-dtirs")
    """Folder for the runs."""


def runs(agent: Agent, arguments: Arguments) -> list[Run]:
    """The runs of an agent, trained if they do not exist yet."""
    return learned.runs_of(ENV, agent, f"{agent.agent}-{agent.policy}", arguments)


def learned_rows(arguments: Arguments) -> learned.Rows:
    """Metrics of each policy, and of learned ones also the values by training seed."""
    scores = learned.baseline_scores(ENV, "default", arguments)
    kept: learned.Rows = {}
    for agent in AGENTS:
        if arguments.omits(agent):
            kept |= kept_rows(arguments.out / "dtirs.json", ("default",), agent.label)
        else:
            scores |= learned.by_model(agent.label, runs(agent, arguments), "default", arguments)
    rows = {
        label: {
            **learned.summary(each, METRICS),
            "against": {name: asdict(percent(each, scores[name], "delay_s")) for name in (STATIC, UPPER)},
        }
        for label, each in scores.items()
    }
    for row in kept.values():
        ratios = {name: row["delay_s"]["mean"] / rows[name]["delay_s"]["mean"] for name in (STATIC, UPPER)}
        row["against"] = {
            name: asdict(Interval(100.0 * (ratio - 1.0), math.nan, math.nan)) for name, ratio in ratios.items()
        }
    return rows | kept


def learned_table(rows: Mapping[str, Mapping[str, Any]], under: str) -> list[str]:
    """Table with one row per policy, and its caption `under`."""
    heads = [
        "policy", "delay [s]", f"against {STATIC}", f"against {UPPER}", "reward", "mean cut", "all on the device",
        "on twins", "delay by training seed",
    ]  # fmt: skip
    body = []
    for label, row in rows.items():
        against = [percent_text(Interval(**row["against"][name])) if name != label else "" for name in (STATIC, UPPER)]
        cells = [label, spread_text(row["delay_s"], 2), *against, spread_text(row["reward"], 3)]
        cells += [f"{row[name]['mean']:.{digits}f}" for name, digits in SHARES.items()]
        body.append([*cells, by_seed_text(row["delay_s"]["by_training_seed"], 2)])
    return [*table(heads, body), "", under, *kept_note(rows), ""]


def changing_table(arguments: Arguments) -> tuple[list[str], dict[str, Any]]:
    """Table of the gain of block coordinate descent over constant cuts, by what changes from frame to frame."""
    heads = [
        "what changes", "best-common [s]", "best-static [s]", "bcd [s]", "bcd below best-common", "below best-static",
    ]  # fmt: skip
    body = []
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
        body.append([label, *cells])
        document[label] = {name: values.mean(axis=(0, 2)).tolist() for name, values in delays.items()}
    return [*table(heads, body), "", caption(arguments.units), ""], document


def main(arguments: Arguments) -> None:
    """Run the experiment."""
    if arguments.train_only:
        for agent in AGENTS:
            runs(agent, arguments)
        return
    rows = learned_rows(arguments)
    changing, changes = changing_table(arguments)
    text = [
        "# DTIRS-v0: learned agents",
        "",
        f"Made by `python -m experiments.dtirs` with {arguments.training_seeds} training seeds per learned agent. All "
        f"policies are evaluated on the same {arguments.seeds} seeds x {arguments.episodes} episodes of 100 frames. "
        f"{learned.NETWORKS_NOTE}. `train.py` reports the best validated network.",
        "",
        "Delays are sums over the ten devices. In each episode, `best-static` uses the best constant cuts that a "
        "search finds on simulated frames, given the speeds and workloads of the devices. `bcd` searches the cuts of "
        "every frame, given all channels and the IRS phases of the frame. Differences are paired by episode.",
        "",
        "## Preset `default`",
        "",
        *learned_table(rows, caption(arguments.units, arguments.training_seeds)),
        "## Value of observing the state, by what varies",
        "",
        "This table only contains baselines. It shows the objective, which is the delay plus leakage and loss. The "
        "gain of `bcd` over `best-static` shows how much a policy can gain from observing the state.",
        "",
        *changing,
    ]
    publish(arguments.out, "dtirs", text, {"default": rows, "changing": changes})


if __name__ == "__main__":
    raise SystemExit(learned.learned_command(Arguments, __doc__, main, AGENTS))
