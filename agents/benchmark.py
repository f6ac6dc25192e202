"""The benchmark: every environment's default preset, its baselines, and the agents found in a folder of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table as RichTable

from agents.compare import LATENCY, WEAK, spread, unhealthy
from agents.entries import Entry, baseline_names, marked, remarks
from agents.evaluation import RANKED, Evaluated
from agents.outputs import SCALE, number
from agents.runs import BEST, CONFIG, EVALUATION, Run, RunError
from agents.score import ABSENT, make_worlds, system_of

PRESET = "default"


def contestants(env_id: str, learned: Sequence[Entry]) -> list[Entry]:
    """An environment's baselines, the one that others are measured against first, and what was learned."""
    bar = system_of(env_id, PRESET, {}).bar
    names = sorted(baseline_names(env_id, PRESET, {}), key=lambda name: name != bar)
    return [*map(Entry, names), *learned]


def find_learned(folder: Path, env_ids: Sequence[str], notes: list[str]) -> dict[str, list[Entry]]:
    """Agents trained on default presets, by environment.

    Trainings that differ in the seed alone are one entry; an imported network is one by itself. What cannot be
    used is told in `notes`, a line per run folder.

    Raises:
        RunError: no such folder, or no run in it that can be used.
    """
    mend = "train an agent with train.py, name another folder with --runs, or give --baselines-only"
    if not folder.is_dir():
        raise RunError(f"--runs {folder} is not a folder; {mend}")
    groups: dict[str, dict[int, Run]] = {}
    for path in sorted(folder.iterdir()):
        try:
            run = usable(path, env_ids)
        except RunError as error:
            notes.append(f"skipped {path}: {error}")
            continue
        except OSError as error:
            notes.append(f"skipped {path}: it cannot be read ({error.strerror})")
            continue
        if run is not None:
            alike = run.config.model_dump_json(exclude={"seed"}) if run.config.origin == "trained" else str(path)
            trained = groups.setdefault(alike, {})
            earlier = trained.get(run.config.seed)
            if earlier is not None:
                notes.append(f"skipped {earlier.path}: it has the configuration and the seed of {path}")
            trained[run.config.seed] = run
    if not groups:
        raise RunError(f"--runs {folder} holds no run of a default preset; {mend}" + "".join(f"; {n}" for n in notes))
    found: dict[str, list[Entry]] = {}
    for group in groups.values():
        first, *others = (group[seed] for seed in sorted(group))
        label = marked(f"{first.config.agent}-{first.config.policy}", first.config)
        found.setdefault(first.config.env_id, []).append(Entry(label, first, others=tuple(others)))
    found = {env_id: told_apart(entries) for env_id, entries in found.items()}
    notes += remarks([entry for entries in found.values() for entry in entries])
    return found


def usable(path: Path, env_ids: Sequence[str]) -> Run | None:
    """The run of a folder; None where the folder has nothing of a run.

    Raises:
        RunError: a run that is damaged or unfinished, or that was not trained on a default preset.
    """
    if not any((path / name).is_file() for name in (CONFIG, BEST, EVALUATION)):
        return None
    run = Run.open(path)
    config = run.config
    if config.env_id not in env_ids:
        raise RunError(f"it was trained on {config.env_id!r}, which does not exist here")
    if not run.finished:
        raise RunError(f"its training is not finished; go on with train.py --resume {path}")
    try:
        trained, default = (
            make_worlds(config.env_id, 1, preset, options)
            for preset, options in ((config.preset, config.options), (PRESET, {}))
        )
    except ValueError as error:
        raise RunError(f"its environment cannot be made ({error})") from error
    if (trained.system.config, trained.max_episode_steps) != (default.system.config, default.max_episode_steps):
        raise RunError(f"it was trained on {Entry('', run).training}, which is not the default")
    run.load_policy(default.system)
    return run


def told_apart(entries: Sequence[Entry]) -> list[Entry]:
    """Entries whose labels differ: several trainings of one kind of agent have the name of their first folder, too."""
    labels = [entry.label for entry in entries]
    return [
        Entry(f"{entry.label} ({entry.run.path.name})", entry.run, others=entry.others)
        if entry.run is not None and labels.count(entry.label) > 1
        else entry
        for entry in entries
    ]


def above_bar(evaluated: Evaluated) -> list[str]:
    """A line for each baseline that is better than the upper bar, by more than its interval."""
    setting, scaled = evaluated.setting, evaluated.normalised or {}
    return [
        f"{setting.env_id}: the baseline {label} is above the upper bar {setting.system.upper_bar}, with a score of "
        f"{scaled[label].mean:.4g} [{scaled[label].low:.4g}, {scaled[label].high:.4g}]"
        for label in (entry.label for entry in evaluated.entries if entry.kind == "baseline")
        if label in scaled and scaled[label].low > 1.0
    ]


def scores_of(evaluated: Sequence[Evaluated]) -> list[dict[str, Any]]:
    """Normalised scores by label and environment, the best mean first; `mean` is over those that a label plays on.

    Baselines of a single environment are left out.
    """
    by_label: dict[str, dict[str, float | None]] = {}
    learned = set()
    for each in evaluated:
        scaled = each.normalised or {}
        for entry in each.entries:
            score = scaled[entry.label].mean if entry.label in scaled else None
            by_label.setdefault(entry.label, {})[each.setting.env_id] = score
            if entry.runs:
                learned.add(entry.label)
    rows = []
    for label, by_env in by_label.items():
        known = [score for score in by_env.values() if score is not None]
        if known and (label in learned or len(by_env) > 1):
            rows.append({"label": label, "by_env": by_env, "mean": sum(known) / len(known)})
    return sorted(rows, key=lambda row: -row["mean"])


def ranking_table(evaluated: Evaluated) -> RichTable:
    """One environment: its policies from the best mean reward to the worst."""
    main = evaluated.setting.system.headline[0]
    weak = unhealthy(evaluated.results)
    table = RichTable(
        title=evaluated.setting.title, box=box.SIMPLE_HEAD, padding=(0, 0), show_edge=False,
        caption=f"\nscore: {SCALE[0].lower()}{SCALE[1:]} ({evaluated.setting.system.upper_bar}); ± half of the 95 % "
        f"bootstrap interval{WEAK if weak else ''}",
    )  # fmt: skip
    table.add_column("policy", overflow="fold")
    for name in ("rank", "score", RANKED, main, LATENCY):
        table.add_column(name, justify="right", no_wrap=True)
    scaled, ranks = evaluated.normalised or {}, evaluated.ranks
    means = {name: {label: each.mean for label, each in evaluated.summary(name).items()} for name in (RANKED, main)}
    kinds = {entry.label: entry.kind for entry in evaluated.entries}
    for label in sorted(kinds, key=lambda label: ranks.get(label, len(kinds) + 1)):
        table.add_row(
            label, str(ranks.get(label, ABSENT)), spread(scaled[label]) if label in scaled else ABSENT,
            spread(means[RANKED][label]), spread(means[main][label]) + " *" * (label in weak),
            f"{evaluated.latencies[label].mean:.3g}",
            style="bold" if kinds[label] == "learned" else None,
        )  # fmt: skip
    return table


def score_table(scores: Sequence[Mapping[str, Any]], env_ids: Sequence[str]) -> RichTable:
    """Normalised scores over all environments."""
    table = RichTable(
        title="Normalised scores", box=box.SIMPLE_HEAD, padding=(0, 0), show_edge=False,
        caption=f"\n{SCALE}; the mean is over the environments that a policy plays on, and baselines of a single "
        "environment are in its table only",
    )  # fmt: skip
    table.add_column("policy", overflow="fold")
    for name in (*env_ids, "mean"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in scores:
        table.add_row(row["label"], *(number(row["by_env"].get(env_id)) for env_id in env_ids), number(row["mean"]))
    return table
