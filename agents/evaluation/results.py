"""An evaluation as a document: settings, versions, and every number of every policy."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from agents.evaluation.bootstrap import Summary, normalised, ranks, summarise
from agents.evaluation.comparison import compare, headline_of, silent
from agents.evaluation.contestants import Entry
from agents.evaluation.episodes import LOG, RATIO, Scores
from agents.evaluation.latency import Latency, episode, first_world, latency
from agents.evaluation.statistics import CONFIDENCE, RESAMPLES, Interval, interval_keys
from agents.runs.curves import curve_of
from agents.runs.provenance import processor, provenance
from agents.worlds import make_worlds, system_of
from edge_envs.core.io.files import finite
from edge_envs.core.policy import Ablation
from edge_envs.core.system import System

FORMAT = 2
"""Format of the document; `agents.reports.schema` describes it and reads older ones."""
RANDOM = "random"
"""Name of the baseline with the score 0."""
RANKED = "reward"
"""Metric that scores and ranks are computed from."""


@dataclass(frozen=True)
class Setting:
    """The environment and the episodes that policies are scored on."""

    env_id: str
    preset: str
    options: Mapping[str, Any]
    seeds: int
    episodes: int
    """Per evaluation seed."""

    @cached_property
    def system(self) -> System[Any]:
        """The system of the environment."""
        return system_of(self.env_id, self.preset, self.options)

    @property
    def title(self) -> str:
        """The setting as a title of tables."""
        options = "".join(f", {key}={json.dumps(value)}" for key, value in self.options.items())
        episodes = f"{self.episodes} episode{'s' * (self.episodes > 1)}"
        return f"{self.env_id}, preset {self.preset}{options}: {self.seeds} seed{'s' * (self.seeds > 1)} x {episodes}"


@dataclass(frozen=True)
class Evaluated:
    """Scores and decision times of an environment's policies, by label."""

    setting: Setting
    entries: Sequence[Entry]
    results: Mapping[str, Scores]
    latencies: Mapping[str, Latency]

    @cached_property
    def normalised(self) -> dict[str, Interval] | None:
        """Mean rewards scaled to 0 for random actions and 1 for the strongest baseline; None if one was not scored."""
        floor, ceiling = (self._label(name) for name in (RANDOM, self.setting.system.strongest_baseline))
        if floor is None or ceiling is None:
            return None
        return normalised(self._same_system, RANKED, floor, ceiling)

    @cached_property
    def ranks(self) -> dict[str, int]:
        """Ranks by mean reward, of the policies whose reward is finite."""
        means = {label: float(scores[RANKED].mean()) for label, scores in self._same_system.items()}
        return ranks({label: mean for label, mean in means.items() if np.isfinite(mean)})

    def _label(self, baseline: str) -> str | None:
        """The label of a baseline; None if it was not scored."""
        return next((entry.label for entry in self.entries if entry.baseline == baseline), None)

    @property
    def _same_system(self) -> dict[str, Scores]:
        """Results of the policies that act in the same system: all but ablations."""
        return {entry.label: self.results[entry.label] for entry in self.entries if entry.ablation is None}


def evaluate(entries: Sequence[Entry], setting: Setting, notify: Callable[[str], object] = silent) -> Evaluated:
    """Score the entries and time their decisions; `notify` is called with lines of progress.

    Raises:
        ValueError: a custom agent fails.
    """
    where = (setting.env_id, setting.preset, setting.options)
    results = compare(entries, *where, seeds=setting.seeds, episodes=setting.episodes, notify=notify)
    latencies = {}
    for number, entry in enumerate(entries, 1):
        notify(f"timing decisions of {entry.label} ({number} of {len(entries)})")
        latencies[entry.label] = latency(entry, *where)
    return Evaluated(setting, entries, results, latencies)


def document_of(
    evaluated: Sequence[Evaluated], notes: list[str], notify: Callable[[str], object] = silent
) -> dict[str, Any]:
    """The whole evaluation, ready for JSON; for each file that cannot be read, a line is added to `notes`."""
    sections = [section(each, notes, notify) for each in evaluated]
    return {
        "format": FORMAT,
        "confidence": CONFIDENCE,
        "resamples": RESAMPLES,
        "provenance": provenance() | {"processor": processor(), "cores": os.cpu_count()},
        "environments": sections,
        "notes": list(notes),
    }


def section(evaluated: Evaluated, notes: list[str], notify: Callable[[str], object] = silent) -> dict[str, Any]:
    """One environment of the document."""
    setting, system = evaluated.setting, evaluated.setting.system
    headline = headline_of(system)
    env = make_worlds(setting.env_id, 1, setting.preset, setting.options)
    notify(f"{setting.env_id}: intervals, and one episode step by step")
    return {
        "env_id": setting.env_id,
        "preset": setting.preset,
        "options": dict(setting.options),
        "seeds": setting.seeds,
        "episodes": setting.episodes,
        "warmup_fraction": system.warmup_fraction,
        "caveat": system.caveat,
        "reference_baseline": system.reference_baseline,
        "strongest_baseline": system.strongest_baseline,
        "main": headline[0],
        "headline": list(headline),
        "metrics": metric_texts(system, evaluated.results),
        "configuration": {**system.config.model_dump(mode="json"), "max_episode_steps": env.max_episode_steps},
        "policies": policies(evaluated),
        "curves": curves(evaluated.entries, notes),
        "episode": episodes(evaluated),
    }


def metric_texts(system: System[Any], results: Mapping[str, Scores]) -> list[dict[str, str]]:
    """Name, unit and meaning of every metric that was scored."""
    texts = {metric.name: (metric.unit, metric.meaning) for metric in system.metrics}
    for name in system.logged:
        texts[LOG + name] = ("-", f"natural logarithm of an episode's {name}")
    texts |= {
        "reward": ("-", "mean reward per step, after the warm-up"),
        "return": ("-", "sum of an episode's rewards"),
        RATIO: ("-", "tasks finished over tasks arrived, after the warm-up"),
    }
    scored = next(iter(results.values()))
    return [{"name": name, "unit": texts[name][0], "meaning": texts[name][1]} for name in texts if name in scored]


def policies(evaluated: Evaluated) -> list[dict[str, Any]]:
    """Every policy of an environment with all its numbers; None in place of numbers that are not finite."""
    results, entries = evaluated.results, evaluated.entries
    summaries = {name: summarise(results, name) for name in next(iter(results.values()))}
    scaled = evaluated.normalised or {}
    found: list[dict[str, Any]] = [
        {
            "label": entry.label,
            "kind": entry.kind,
            "runs": [str(run.path) for run in entry.runs],
            "training": entry.training if entry.runs else None,
            "ablation": as_document(entry.ablation) if entry.ablation is not None else None,
            "metrics": {
                name: statistics(summary[entry.label], results[entry.label].episodes[name])
                for name, summary in summaries.items()
                if entry.label in summary
            },
            "normalised": ends(scaled[entry.label]) if entry.label in scaled else None,
            "rank": evaluated.ranks.get(entry.label),
            "latency_ms": evaluated.latencies[entry.label]._asdict(),
        }
        for entry in entries
    ]
    return [finite(policy) for policy in found]


def as_document(ablation: Ablation) -> dict[str, Any]:
    """An ablation, ready for JSON."""
    return {"policy": ablation.policy, "options": dict(ablation.options), "meaning": ablation.meaning}


def statistics(summary: Summary, episodes: Any) -> dict[str, Any]:
    """A metric's statistics, with its scores `episodes` of shape (runs, seeds, episodes)."""
    return {
        **ends(summary.mean),
        **ends(summary.iqm, "iqm"),
        **ends(summary.difference, "difference"),
        "by_seed": episodes.mean(axis=2).tolist(),
        "by_episode": episodes.reshape(len(episodes), -1).tolist(),
    }


def ends(value: Interval, name: str = "") -> dict[str, float]:
    """An interval's mean and ends."""
    return dict(zip(interval_keys(name), (value.mean, value.low, value.high), strict=True))


def curves(entries: Sequence[Entry], notes: list[str]) -> list[dict[str, Any]]:
    """Validations of all training runs; for each that cannot be read, a line is added to `notes`."""
    found = []
    for entry in entries:
        for run in entry.runs:
            try:
                found.append({"label": entry.label, **curve_of(run)})
            except ValueError as error:
                notes.append(str(error))
    return found


def episodes(evaluated: Evaluated) -> dict[str, Any]:
    """One episode of random actions, the reference and strongest baselines, and all agents, in the same world."""
    setting = evaluated.setting
    shown = {RANDOM, setting.system.reference_baseline, setting.system.strongest_baseline}
    where = (setting.env_id, setting.preset, setting.options)
    series = {
        entry.label: episode(entry, *where)
        for entry in evaluated.entries
        if entry.baseline in shown or entry.kind in ("learned", "custom")
    }
    return {"seed": first_world()[0], "series": finite(series)}
