"""The benchmark: all baselines and the agents in a folder of runs, on every environment's default preset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.evaluation.contestants import Entry, baseline_names, marked, remarks
from agents.evaluation.results import Evaluated
from agents.runs.folder import BEST, CONFIG, EVALUATION, Run, RunError
from agents.worlds import make_worlds, system_of

PRESET = "default"


def contestants(env_id: str, learned: Sequence[Entry]) -> list[Entry]:
    """An environment's baselines, the reference baseline first, followed by the learned entries."""
    reference = system_of(env_id, PRESET, {}).reference_baseline
    names = sorted(baseline_names(env_id, PRESET, {}), key=lambda name: name != reference)
    return [*map(Entry, names), *learned]


def find_learned(folder: Path, env_ids: Sequence[str], notes: list[str]) -> dict[str, list[Entry]]:
    """Find agents trained on default presets, by environment.

    Runs that differ only in the seed form one entry; an imported network forms its own. For each run that is not used,
    a line is added to `notes`.

    Raises:
        RunError: the folder does not exist, or contains no run that can be used.
    """
    advice = "train an agent with train.py, name another folder with --runs, or give --baselines-only"
    if not folder.is_dir():
        raise RunError(f"--runs {folder} is not a folder; {advice}")
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
            key = run.config.model_dump_json(exclude={"seed"}) if run.config.origin == "trained" else str(path)
            trained = groups.setdefault(key, {})
            earlier = trained.get(run.config.seed)
            if earlier is not None:
                notes.append(f"skipped {earlier.path}: it has the configuration and the seed of {path}")
            trained[run.config.seed] = run
    if not groups:
        raise RunError(
            f"--runs {folder} contains no run of a default preset; {advice}" + "".join(f"; {n}" for n in notes)
        )
    found: dict[str, list[Entry]] = {}
    for group in groups.values():
        first, *others = (group[seed] for seed in sorted(group))
        label = marked(f"{first.config.agent}-{first.config.policy}", first.config)
        found.setdefault(first.config.env_id, []).append(Entry(label, first, others=tuple(others)))
    found = {env_id: with_unique_labels(entries) for env_id, entries in found.items()}
    notes += remarks([entry for entries in found.values() for entry in entries])
    return found


def usable(path: Path, env_ids: Sequence[str]) -> Run | None:
    """Open the run of a folder; None if the folder contains no run.

    Raises:
        RunError: the run is damaged or unfinished, or was not trained on a default preset.
    """
    if not any((path / name).is_file() for name in (CONFIG, BEST, EVALUATION)):
        return None
    run = Run.open(path)
    config = run.config
    if config.env_id not in env_ids:
        raise RunError(f"it was trained on {config.env_id!r}, which does not exist here")
    if not run.finished:
        raise RunError(f"its training is not finished; finish it with train.py --resume {path}")
    try:
        trained, default = (
            make_worlds(config.env_id, 1, preset, options)
            for preset, options in ((config.preset, config.options), (PRESET, {}))
        )
    except ValueError as error:
        raise RunError(f"its environment cannot be created ({error})") from error
    if (trained.system.config, trained.max_episode_steps) != (default.system.config, default.max_episode_steps):
        raise RunError(f"it was trained on {Entry('', run).training}, which is not the default")
    run.load_policy(default.system)
    return run


def with_unique_labels(entries: Sequence[Entry]) -> list[Entry]:
    """Add the name of its first run folder to the label of each entry that shares its label with another."""
    labels = [entry.label for entry in entries]
    return [
        replace(entry, label=f"{entry.label} ({entry.run.path.name})")
        if entry.run is not None and labels.count(entry.label) > 1
        else entry
        for entry in entries
    ]


def better_baselines(evaluated: Evaluated) -> list[str]:
    """A line for each baseline that scores above the strongest baseline by more than its interval."""
    setting, scaled = evaluated.setting, evaluated.normalised or {}
    return [
        f"{setting.env_id}: the baseline {label} scores {scaled[label].mean:.4g} [{scaled[label].low:.4g}, "
        f"{scaled[label].high:.4g}], more than {setting.system.strongest_baseline}, the declared strongest baseline"
        for label in (entry.label for entry in evaluated.entries if entry.kind == "baseline")
        if label in scaled and scaled[label].low > 1.0
    ]


def scores_of(evaluated: Sequence[Evaluated]) -> list[dict[str, Any]]:
    """Normalised scores by label and environment, the best mean first; `mean` is over the environments of the label.

    Baselines that exist in one environment only are left out.
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
