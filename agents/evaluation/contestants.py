"""Policies by name: baselines, schemes, run folders, several training seeds of a run, and one's own agents."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agents.evaluation.custom_agent import OwnAgent, is_own
from agents.runs.folder import BEST, CONFIG, Run, RunConfig, RunError
from agents.worlds import PolicyFactory, make_worlds, system_of
from edge_envs.core.config import nearest
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.policy import Ablation, Policy, ablations_of, baselines_of, make_baseline

BASELINE_SEED = 0
"""Seed of the baselines' own draws and searches."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One policy of a comparison: a baseline by its label, a scheme, one's own agent, or a run of one or more seeds."""

    label: str
    run: Run | None = None
    model: str = BEST
    scheme: Ablation | None = None
    others: tuple[Run, ...] = ()
    """Runs that differ from `run` in the training seed alone."""
    own: OwnAgent | None = None
    name: str = ""
    """Name of the baseline where the label is another."""

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
        """What it is, in a word."""
        if self.run is not None:
            return "learned"
        return "scheme" if self.scheme is not None else "own" if self.own is not None else "baseline"

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Options of its environment: those given, with a scheme's own over them.

        A run keeps its own `decision`, which says what actions mean.
        """
        if self.run is None:
            return {**given, **(self.scheme.options if self.scheme else {})}
        own = {key: value for key, value in self.run.config.options.items() if key == "decision"}
        return {**without_decision(given), **own}

    def trained_here(self, preset: str, given: Mapping[str, Any]) -> bool:
        """Whether its run was trained on this preset with these options."""
        return self.run is None or (self.run.config.preset, self.run.config.options) == (preset, self.options(given))

    @property
    def training(self) -> str:
        """The preset and options of its training, and whether it was imported, in words."""
        if self.run is None:
            return "nothing"
        config = self.run.config
        told = " ".join([f"preset {config.preset}", *(f"{key}={value}" for key, value in config.options.items())])
        return marked(told, config)

    def factories(self) -> list[PolicyFactory]:
        """What builds its policy for an environment; one for each training run."""
        if self.run is None:
            return [self._build]
        return [lambda env, run=run: run.load_policy(env.system, self.model) for run in self.runs]  # type: ignore[misc]

    def _build(self, env: EdgeVectorEnv) -> Policy:
        if self.own is not None:
            return self.own.build(env)
        return make_baseline(self.scheme.policy if self.scheme else self.baseline, env, BASELINE_SEED)


def marked(label: str, config: RunConfig) -> str:
    """A label that says so where a network was imported: its training is not the one that its configuration tells."""
    return f"{label}, imported" if config.origin == "imported" else label


def without_decision(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options under which a wing's baselines act: they decide what its usual decision says."""
    return {key: value for key, value in options.items() if key != "decision"}


def baseline_names(env_id: str, preset: str, options: Mapping[str, Any]) -> list[str]:
    """Names of the baselines for an environment's configuration."""
    return list(baselines_of(make_worlds(env_id, 1, preset, options)))


def find_entries(names: Sequence[str], env_id: str, preset: str, options: Mapping[str, Any]) -> list[Entry]:
    """The entries behind names; those that share a label with another are labelled by what was given.

    Raises:
        ValueError: no name, a name or a label given twice, or one that `find_entry` refuses.
    """
    if not names:
        raise ValueError("--policies names none; give baselines or run folders")
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
    """The entry behind a name: a baseline, a scheme, run folders, or one's own agent; `label=` may stand in front.

    Raises:
        ValueError: none of them, a scheme that `options` contradict, a run of another environment or without a network
            that fits, runs that differ in more than their seed, or an agent that cannot be built or cannot act.
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
    known, schemes = list(baselines_of(env)), ablations_of(env)
    if name in known:
        return Entry(name)
    if name in schemes:
        entry = Entry(name, scheme=schemes[name])
        check_ablation(entry, env_id, preset, options)
        return entry
    if is_own(name):
        agent = OwnAgent.load(name)
        agent.check(env)
        return Entry(name, own=agent)
    if not is_several(name) and not Path(name).exists():
        kinds = "neither a baseline, a scheme nor a run folder" if schemes else "neither a baseline nor a run folder"
        raise ValueError(f"policy={name!r} is {kinds}; {nearest(name, [*known, *schemes])}")
    entry = entry_of_runs(name, [open_run(path, env_id) for path in run_folders(name)])
    for run in entry.runs:
        run.load_policy(system_of(env_id, preset, entry.options(options)))
    return entry


def labelled(name: str) -> bool:
    """Whether a label stands in front of a policy's name."""
    return "=" in name and not Path(name).exists()


def is_several(name: str) -> bool:
    """Whether a name stands for several run folders: a list with commas, or a pattern."""
    return not Path(name).exists() and ("," in name or has_pattern(name))


def has_pattern(name: str) -> bool:
    """Whether a name has wildcards."""
    return glob.escape(name) != name


def run_folders(name: str) -> list[Path]:
    """The run folders that a path, a list or a pattern stands for, in its order, a pattern's by name.

    Raises:
        ValueError: a pattern that fits no folder, an empty place in a list, or a folder named twice.
    """
    if not is_several(name):
        return [Path(name)]
    found: list[Path] = []
    for part in name.split(","):
        if not part:
            raise ValueError(f"policy={name!r} has an empty place; give run folders with commas between them")
        if has_pattern(part) and not Path(part).exists():
            # Path.glob refuses absolute patterns.
            fitting = [path for path in map(Path, sorted(glob.glob(part))) if path.is_dir()]  # noqa: PTH207
            if not fitting:
                raise ValueError(f"policy={part!r} fits no run folder; give another pattern, in quotes")
            found += fitting
        else:
            found.append(Path(part))
    places = [path.resolve() for path in found]
    for path, place in zip(found, places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"policy={name!r} names {str(path)!r} twice; give each run once")
    return found


def open_run(path: Path, env_id: str) -> Run:
    """The run of a folder.

    Raises:
        RunError: no run folder, or one of another environment.
    """
    if not (path / CONFIG).is_file():
        raise RunError(f"policy={str(path)!r} is not a run folder: it has no {CONFIG}")
    run = Run.open(path)
    if run.config.env_id != env_id:
        raise RunError(f"policy={str(path)!r} was trained on {run.config.env_id}, not on {env_id}; give a run of that")
    try:
        make_worlds(env_id, 1, run.config.preset, run.config.options)
    except ValueError as error:
        raise RunError(f"{path / CONFIG} is not valid: {error}; use another run") from error
    return run


def entry_of_runs(name: str, runs: Sequence[Run]) -> Entry:
    """Runs as one entry.

    Raises:
        RunError: runs that differ in more than their seed, or trainings that share it.
    """
    first, *others = runs
    for run in others:
        gap = first_difference(first, run)
        if gap is not None:
            place, value, expected = gap
            raise RunError(
                f"policy={name!r} mixes trainings: {run.path} has {place}={value!r}, {first.path} has {expected!r}; "
                "give runs that differ in the seed alone"
            )
    seeds = [run.config.seed for run in runs]
    for run in runs:
        # The seed of an imported network's training is not known.
        if run.config.origin == "trained" and seeds.count(run.config.seed) > 1:
            raise RunError(
                f"policy={name!r} has two runs with seed {run.config.seed}, {run.path} one of them, which repeat each "
                "other; give one of them"
            )
    label = first.path.name if not others else f"{first.config.agent}-{first.config.policy} x{len(runs)}"
    return Entry(marked(label, first.config), first, others=tuple(others))


def remarks(entries: Sequence[Entry]) -> list[str]:
    """What a reader of the entries' scores should know of their runs, a line each."""
    told = []
    holders: dict[Path, str] = {}
    for entry in entries:
        told += [f"{run.path} is not finished" for run in entry.runs if not run.finished]
        for run in entry.runs:
            other = holders.setdefault(run.path.resolve(), entry.label)
            if other != entry.label:
                told.append(f"{run.path} counts in both {other} and {entry.label}")
        try:
            gap = first_mismatch(entry.runs)
        except RunError as error:
            told.append(str(error).partition(";")[0])
            gap = None
        if gap is not None:
            told.append(f"{entry.label} was not trained with the same versions throughout: {gap}")
    return told


def first_mismatch(runs: Sequence[Run]) -> str | None:
    """The first version in which parts of trainings differ, in words.

    Raises:
        RunError: a run does not tell its versions.
    """
    parts = [(run, part) for run in runs for part in run.made_with()]
    for run, part in parts[1:]:
        for name, value in parts[0][1].items():
            if part[name] != value:
                return f"{name} {value} in {parts[0][0].path}, {part[name]} in {run.path}"
    return None


def first_difference(one: Run, other: Run) -> tuple[str, Any, Any] | None:
    """Where two runs' configurations differ first, seeds aside: the place, the other's value and the one's."""
    ours, theirs = (flattened(run.config.model_dump(exclude={"seed"})) for run in (one, other))
    for place in (*ours, *theirs):
        if place not in ours or place not in theirs or ours[place] != theirs[place]:
            return place, theirs.get(place), ours.get(place)
    return None


def flattened(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values of nested dictionaries by their place, with dots between the keys."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        nested = isinstance(value, Mapping)
        flat |= flattened(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def check_ablation(entry: Entry, env_id: str, preset: str, options: Mapping[str, Any]) -> None:
    """Whether a scheme can be played with the options given.

    Raises:
        ValueError: an option that the scheme sets itself, others that do not go with its own, or a baseline missing.
    """
    scheme = entry.scheme
    assert scheme is not None
    for key in sorted(key for key in scheme.options.keys() & options.keys() if scheme.options[key] != options[key]):
        raise ValueError(
            f"policy={entry.label!r} sets {key}={scheme.options[key]!r}, against --set {key}={options[key]!r}; "
            "leave out one of them"
        )
    try:
        known = baseline_names(env_id, preset, entry.options(options))
    except ValueError as error:
        raise ValueError(f"policy={entry.label!r} cannot be played here: {error}") from error
    if scheme.policy not in known:
        raise ValueError(
            f"policy={entry.label!r} plays {scheme.policy!r}, which does not exist here; known: {', '.join(known)}"
        )
