"""Common parts of the experiments with learned agents: options, stored trainings, and scores over training seeds."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from agents.evaluation.bootstrap import Resampled
from agents.evaluation.comparison import compare
from agents.evaluation.contestants import Entry, baseline_names
from agents.evaluation.episodes import Scores
from agents.hyperparameters.lookup import settings_for
from agents.hyperparameters.settings import AgentName, PolicyName
from agents.runs.folder import BEST, CONFIG, LAST, Run, RunConfig
from agents.training.trainer import train
from agents.worlds import system_of
from edge_envs.core.io.command import Stopped
from experiments.shared.common import command
from experiments.shared.kept import NONE, VALIDATED, check_agents, kept_rows

NETWORKS_NOTE = (
    "Learned policies act deterministically. Rows marked `best validated` are the networks with the highest validation "
    "reward; the other learned rows are the networks at the end of the training"
)
"""Explanation of the rows of learned policies."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A learned agent of the tables."""

    label: str
    agent: AgentName = "ppo"
    policy: PolicyName = "shared"
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the environment."""
    training_options: Mapping[str, Any] = field(default_factory=dict)
    """Further options of the environment in training."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the training other than the agent's defaults."""


@dataclass(frozen=True)
class LearnedArguments:
    """Options of all experiments with learned agents."""

    training_seeds: int = 5
    """Trainings per agent, with seeds 1, 2, ..."""
    agents: tuple[str, ...] = ()
    """Labels of the agents to train and evaluate (default: all); other rows are kept from the JSON file."""
    seeds: int = 5
    """Number of evaluation seeds."""
    episodes: int = 4
    """Episodes per evaluation seed."""
    steps: int | None = None
    """Training steps of agents other than DAgger (default: each agent's default)."""
    train_only: bool = False
    """Only train the missing runs."""
    out: Path = Path("docs/results")
    """Folder for the results."""
    runs: Path = Path("runs")
    """Folder for the runs."""

    @property
    def units(self) -> str:
        """Number of evaluation episodes, as text for captions."""
        return f"{self.seeds * self.episodes} episodes ({self.seeds} seeds x {self.episodes})"

    def omits(self, agent: Agent) -> bool:
        """Return True if the rows of an agent are kept from the JSON file."""
        return bool(self.agents) and agent.label not in self.agents


A = TypeVar("A", bound=LearnedArguments)


def learned_command(
    kind: type[A], description: str | None, job: Callable[[A], None], agents: Iterable[Agent]
) -> int:  # fmt: skip
    """Run an experiment as `common.command` does, with a validated --agents whose labels --help lists."""
    labels = list(dict.fromkeys(agent.label for agent in agents))

    def checked(arguments: A) -> None:
        check_agents(arguments.agents, labels)
        job(arguments)

    return command(
        kind, f"{description}\nLabels for --agents: {'; '.join(labels)}; {NONE} (train and evaluate no agent).", checked
    )


def run_of(
    env_id: str, agent: Agent, name: str, seed: int, arguments: LearnedArguments, preset: str = "default"
) -> Run:  # fmt: skip
    """The run of an agent in the folder `name`__`seed`, trained if it does not exist yet."""
    decision = str(getattr(system_of(env_id, preset, agent.options).config, "decision", ""))
    settings = settings_for(env_id, agent.agent, agent.policy, decision)
    changes = {**agent.changes, "training_options": {**settings.training_options, **agent.training_options}}
    if arguments.steps is not None and agent.agent != "dagger":
        changes["steps"] = arguments.steps
    config = RunConfig(
        env_id=env_id, preset=preset, options=dict(agent.options), agent=agent.agent, policy=agent.policy,
        settings=settings.model_copy(update=changes), seed=seed,
    )  # fmt: skip
    return trained(config, arguments.runs / f"{name}__{seed}")


def runs_of(
    env_id: str, agent: Agent, name: str, arguments: LearnedArguments, preset: str = "default"
) -> list[Run]:  # fmt: skip
    """The runs of an agent with all training seeds; see `run_of`."""
    return [run_of(env_id, agent, name, seed, arguments, preset) for seed in range(1, arguments.training_seeds + 1)]


def trained(config: RunConfig, path: Path) -> Run:
    """Open the finished run in a folder, or train it to its end first.

    Raises:
        ValueError: the folder contains a run with another configuration, or one that cannot be resumed.
        Stopped: a signal arrived; the run is finished if it arrived in the last update.
    """
    resume = (path / CONFIG).exists()
    run = Run.open(path) if resume else Run.create(config, path)
    if run.config != config:
        raise ValueError(f"{path} is a run with another configuration; remove it, or name another folder with --runs")
    if run.finished:
        return run
    for note in run.check_resumable() if resume else ():
        print(f"{path.name}: {note}", flush=True)
    result = train(run, resume=resume, quiet=True)
    if result.interrupted or result.signal:
        raise Stopped(result.signal or signal.SIGINT)
    share = result.env_seconds / result.seconds
    print(f"{path.name}: {result.steps} steps, {result.seconds:.0f} s, {share:.1%} in the environment", flush=True)
    return run


def scores_of(
    runs: Sequence[Run], model: str, preset: str, options: Mapping[str, Any], arguments: LearnedArguments
) -> Scores:  # fmt: skip
    """Scores of all runs' networks of a model file."""
    entries = [Entry(f"{number}", run, model) for number, run in enumerate(runs)]
    env_id, seeds, episodes = runs[0].config.env_id, arguments.seeds, arguments.episodes
    return Scores.of_runs(list(compare(entries, env_id, preset, options, seeds=seeds, episodes=episodes).values()))


def by_model(label: str, runs: Sequence[Run], preset: str, arguments: LearnedArguments) -> dict[str, Scores]:
    """Scores of all runs' last networks and of their best validated networks, by label of the row."""
    models = {label: LAST, f"{label}{VALIDATED}": BEST}
    return {each: scores_of(runs, model, preset, {}, arguments) for each, model in models.items()}


def baseline_scores(env_id: str, preset: str, arguments: LearnedArguments) -> dict[str, Scores]:
    """Scores of all baselines."""
    baselines = [Entry(name) for name in baseline_names(env_id, preset, {})]
    return compare(baselines, env_id, preset, {}, seeds=arguments.seeds, episodes=arguments.episodes)


Rows = dict[str, dict[str, Any]]
"""Rows of a table by label of the policy."""


def tables_of(
    env_id: str, agents: Mapping[Any, Sequence[Agent]], chosen: Sequence[str], metrics: Sequence[str], file: str,
    arguments: LearnedArguments, runs: Callable[[Agent, str], list[Run]],
    more: Callable[[Agent, str, list[Run]], Mapping[str, Scores]] = lambda *_: {},
) -> dict[str, Rows]:  # fmt: skip
    """Metrics of each policy by preset, and of learned ones also the values by training seed.

    Args:
        env_id: the environment.
        agents: learned agents by preset.
        chosen: presets to evaluate; the tables of the others are kept.
        metrics: metrics of the tables.
        file: name of the JSON file with the rows that are kept.
        arguments: options of the experiment.
        runs: returns the runs of an agent on a preset.
        more: returns the scores of further rows of an agent on a preset, given its runs.
    """
    kept, tables = arguments.out / file, {}
    for preset, learned in agents.items():
        if preset not in chosen:
            tables[preset] = kept_rows(kept, ("tables", preset))
            continue
        scores = baseline_scores(env_id, preset, arguments)
        rows = {label: summary(each, metrics) for label, each in scores.items()}
        for agent in learned:
            if arguments.omits(agent):
                rows |= kept_rows(kept, ("tables", preset), agent.label)
                continue
            found = runs(agent, preset)
            scores = {**by_model(agent.label, found, preset, arguments), **more(agent, preset, found)}
            rows |= {label: summary(each, metrics) for label, each in scores.items()}
        tables[preset] = rows
    return tables


def summary(scores: Scores, names: Sequence[str]) -> dict[str, Any]:
    """Means over trainings and episodes with the half widths of their intervals, and the mean of each training."""
    result: dict[str, Any] = {}
    for name in names:
        spread = Resampled(scores.episodes[name]).mean()
        result[name] = {
            "mean": spread.mean,
            "half_width": spread.half_width,
            "by_training_seed": scores.episodes[name].mean(axis=(1, 2)).tolist(),
        }
    return result
