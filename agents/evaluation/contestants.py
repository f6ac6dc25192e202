"""Policies by name: baselines, ablations, run folders, several training seeds of a run, and custom agents."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agents.evaluation.custom_agent import CustomAgent, is_custom_agent
from agents.runs.folder import BEST, CONFIG, Run, RunConfig, RunError
from agents.worlds import PolicyFactory, current_options, make_worlds, system_of
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.policy import Ablation, Policy, ablations_of, baselines_of, make_baseline
from edge_envs.core.validation import nearest

BASELINE_SEED = 0
"""Seed of the random numbers that baselines draw."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One policy of a comparison: a baseline, an ablation, a custom agent, or one or more training runs."""

    label: str
    run: Run | None = None
    model: str = BEST
    ablation: Ablation | None = None
    others: tuple[Run, ...] = ()
    """Runs that differ from `run` only in the training seed."""
    custom: CustomAgent | None = None
    name: str = ""
    """Name of the baseline, if the label is different."""

    @property
    def baseline(self) -> str:
        """Name of the baseline; empty for anything else."""
        return (self.name or self.label) if self.kind == "baseline" else ""

    @property
    def runs(self) -> tuple[Run, ...]:
        """All training runs."""
        return () if self.run is None else (self.run, *self.others)

    @property
    def kind(self) -> str:
        """Kind of the policy: learned, ablation, custom or baseline."""
        if self.run is not None:
            return "learned"
        return "ablation" if self.ablation is not None else "custom" if self.custom is not None else "baseline"

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Options of its environment: those given, overridden by those of an ablation.

        A run keeps the option `decision` of its training, which defines what actions mean.
        """
        if self.run is None:
            return {**given, **(self.ablation.options if self.ablation else {})}
        own = {key: value for key, value in self.run.config.options.items() if key == "decision"}
        return {**without_decision(given), **own}

    def trained_here(self, preset: str, given: Mapping[str, Any]) -> bool:
        """Return True if its run was trained on this preset with these options, or if it has no run."""
        if self.run is None:
            return True
        config = self.run.config
        own, other = (current_options(config.env_id, each) for each in (config.options, self.options(given)))
        return (config.preset, own) == (preset, other)

    @property
    def training(self) -> str:
        """Text: preset and options of its training, and "imported" if the network was imported."""
        if self.run is None:
            return "nothing"
        config = self.run.config
        text = " ".join([f"preset {config.preset}", *(f"{key}={value}" for key, value in config.options.items())])
        return marked(text, config)

    def factories(self) -> list[PolicyFactory]:
        """Functions that build its policy for an environment; one for each training run."""
        if self.run is None:
            return [self._build]
        return [lambda env, run=run: run.load_policy(env.system, self.model) for run in self.runs]  # type: ignore[misc]

    def _build(self, env: EdgeVectorEnv) -> Policy:
        if self.custom is not None:
            return self.custom.build(env)
        return make_baseline(self.ablation.policy if self.ablation else self.baseline, env, BASELINE_SEED)


def marked(label: str, config: RunConfig) -> str:
    """Append "imported" to the label of an imported network, whose configuration does not describe its training."""
    return f"{label}, imported" if config.origin == "imported" else label


def without_decision(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options for baselines, which always use the environment's default `decision`."""
    return {key: value for key, value in options.items() if key != "decision"}


def baseline_names(env_id: str, preset: str, options: Mapping[str, Any]) -> list[str]:
    """Names of the baselines of an environment's configuration."""
    return list(baselines_of(make_worlds(env_id, 1, preset, options)))


def find_entries(names: Sequence[str], env_id: str, preset: str, options: Mapping[str, Any]) -> list[Entry]:
    """Find the entries of several names; an entry that shares its label with another is labelled by its name.

    Raises:
        ValueError: there is no name, a name or label occurs twice, or `find_entry` raises it.
    """
    if not names:
        raise ValueError("--policies is empty; give baselines or run folders")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"--policies names {twice!r} twice; give each once")
    entries = [find_entry(name, env_id, preset, options) for name in names]
    labels = [entry.label for entry in entries]
    entries = [
        replace(entry, label=name) if labels.count(entry.label) > 1 and not labelled(name) else entry
        for name, entry in zip(names, entries, strict=True)
    ]
    labels = [entry.label for entry in entries]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"--policies has two entries with the label {label!r}; give one another, as NAME=POLICY")
    return entries


def find_entry(name: str, env_id: str, preset: str, options: Mapping[str, Any]) -> Entry:
    """Find the entry of a name: a baseline, ablation, run folders or custom agent, with an optional `label=` in front.

    Raises:
        ValueError: the name is none of them; `options` contradict an ablation; a run belongs to another environment or
            has no network that fits; runs differ in more than their seed; an agent cannot be built or cannot act.
    """
    if not name.strip():
        raise ValueError(f"policy={name!r} is empty; give a baseline or a run folder")
    if labelled(name):
        label, _, rest = name.partition("=")
        if not label.strip() or not rest:
            raise ValueError(f"policy={name!r} is not of the form label=policy; give both")
        entry = find_entry(rest, env_id, preset, options)
        return replace(entry, label=label, name=entry.baseline)
    env = make_worlds(env_id, 1, preset, options)
    known, ablations = list(baselines_of(env)), ablations_of(env)
    if name in known:
        return Entry(name)
    if name in ablations:
        entry = Entry(name, ablation=ablations[name])
        check_ablation(entry, env_id, preset, options)
        return entry
    if is_custom_agent(name):
        agent = CustomAgent.load(name)
        agent.check(env)
        return Entry(name, custom=agent)
    if not is_several(name) and not Path(name).exists():
        raise ValueError(
            f"policy={name!r} is neither a baseline, an ablation, a run folder nor an agent as MODULE:FACTORY; "
            f"{nearest(name, [*known, *ablations])}"
        )
    entry = entry_of_runs(name, [open_run(path, env_id) for path in run_folders(name)])
    for run in entry.runs:
        run.load_policy(system_of(env_id, preset, entry.options(options)))
    return entry


def labelled(name: str) -> bool:
    """Return True if a policy's name has the form label=policy."""
    return "=" in name and not Path(name).exists()


def is_several(name: str) -> bool:
    """Return True if a name is a list of run folders with commas, or a pattern."""
    return not Path(name).exists() and ("," in name or has_pattern(name))


def has_pattern(name: str) -> bool:
    """Return True if a name contains wildcards."""
    return glob.escape(name) != name


def run_folders(name: str) -> list[Path]:
    """Run folders of a path, a list or a pattern, in this order; those of a pattern are sorted by name.

    Raises:
        ValueError: a pattern matches no folder, an item of a list is empty, or a folder occurs twice.
    """
    if not is_several(name):
        return [Path(name)]
    found: list[Path] = []
    for part in name.split(","):
        if not part:
            raise ValueError(f"policy={name!r} has an empty item; give run folders with commas between them")
        if has_pattern(part) and not Path(part).exists():
            # Path.glob refuses absolute patterns.
            fitting = [path for path in map(Path, sorted(glob.glob(part))) if path.is_dir()]  # noqa: PTH207
            if not fitting:
                raise ValueError(f"policy={part!r} matches no run folder; give another pattern, in quotes")
            found += fitting
        else:
            found.append(Path(part))
    places = [path.resolve() for path in found]
    for path, place in zip(found, places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"policy={name!r} names {str(path)!r} twice; give each run once")
    return found


def open_run(path: Path, env_id: str) -> Run:
    """Open the run of a folder.

    Raises:
        RunError: the folder is no run folder, or its run belongs to another environment.
    """
    if not (path / CONFIG).is_file():
        raise RunError(f"policy={str(path)!r} is not a run folder: it has no {CONFIG}")
    run = Run.open(path)
    if run.config.env_id != env_id:
        raise RunError(
            f"policy={str(path)!r} was trained on {run.config.env_id}, not on {env_id}; give a run of {env_id}"
        )
    try:
        make_worlds(env_id, 1, run.config.preset, run.config.options)
    except ValueError as error:
        raise RunError(f"{path / CONFIG} is not valid: {error}; use another run") from error
    return run


def entry_of_runs(name: str, runs: Sequence[Run]) -> Entry:
    """Combine runs into one entry.

    Raises:
        RunError: the runs differ in more than their seed, or two trainings have the same seed.
    """
    first, *others = runs
    for run in others:
        gap = first_difference(first, run)
        if gap is not None:
            place, value, expected = gap
            raise RunError(
                f"policy={name!r} mixes trainings: {run.path} has {place}={value!r}, {first.path} has {expected!r}; "
                "give runs that differ only in the seed"
            )
    seeds = [run.config.seed for run in runs]
    for run in runs:
        # The seed of an imported network's training is not known.
        if run.config.origin == "trained" and seeds.count(run.config.seed) > 1:
            raise RunError(
                f"policy={name!r} has two runs with seed {run.config.seed}, one of them {run.path}; they are the "
                "same training, give one of them"
            )
    label = first.path.name if not others else f"{first.config.agent}-{first.config.policy} x{len(runs)}"
    return Entry(marked(label, first.config), first, others=tuple(others))


def remarks(entries: Sequence[Entry]) -> list[str]:
    """Warnings about the entries' runs, a line each."""
    found = []
    holders: dict[Path, str] = {}
    for entry in entries:
        found += [f"{run.path} is not finished" for run in entry.runs if not run.finished]
        for run in entry.runs:
            other = holders.setdefault(run.path.resolve(), entry.label)
            if other != entry.label:
                found.append(f"{run.path} counts in both {other} and {entry.label}")
        try:
            gap = first_mismatch(entry.runs)
        except RunError as error:
            found.append(str(error).partition(";")[0])
            gap = None
        if gap is not None:
            found.append(f"{entry.label} was not trained with the same versions throughout: {gap}")
    return found


def first_mismatch(runs: Sequence[Run]) -> str | None:
    """Describe the first version in which parts of the trainings differ; None if there is none.

    Raises:
        RunError: the versions of a run cannot be read.
    """
    parts = [(run, part) for run in runs for part in run.made_with()]
    for run, part in parts[1:]:
        for name, value in parts[0][1].items():
            if part[name] != value:
                return f"{name} {value} in {parts[0][0].path}, {part[name]} in {run.path}"
    return None


def first_difference(one: Run, other: Run) -> tuple[str, Any, Any] | None:
    """First difference of two configurations apart from the seed: key, value of `other`, value of `one`."""
    ours, theirs = (
        flattened(
            run.config.model_dump(exclude={"seed"})
            | {"options": current_options(run.config.env_id, run.config.options)}
        )
        for run in (one, other)
    )
    for place in (*ours, *theirs):
        if place not in ours or place not in theirs or ours[place] != theirs[place]:
            return place, theirs.get(place), ours.get(place)
    return None


def flattened(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested dictionaries; keys are joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        nested = isinstance(value, Mapping)
        flat |= flattened(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def check_ablation(entry: Entry, env_id: str, preset: str, options: Mapping[str, Any]) -> None:
    """Raise ValueError if an ablation and the options contradict each other, or its baseline does not exist."""
    ablation = entry.ablation
    assert ablation is not None
    for key in sorted(key for key in ablation.options.keys() & options.keys() if ablation.options[key] != options[key]):
        raise ValueError(
            f"policy={entry.label!r} sets {key}={ablation.options[key]!r}, against --set {key}={options[key]!r}; "
            "leave out one of them"
        )
    try:
        known = baseline_names(env_id, preset, entry.options(options))
    except ValueError as error:
        raise ValueError(f"policy={entry.label!r} cannot be used with these options: {error}") from error
    if ablation.policy not in known:
        raise ValueError(
            f"policy={entry.label!r} uses {ablation.policy!r}, which does not exist with these options; known: "
            f"{', '.join(known)}"
        )
