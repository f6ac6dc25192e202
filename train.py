"""Train one agent on one environment, then compare it with every baseline."""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from edge_envs.core.io.command import Stopped, fail, guarded, importing, name_of, status_of

with importing():
    try:
        import tyro
        from pydantic import ValidationError
        from rich.console import Console
        from stable_baselines3.common.policies import BasePolicy

        from agents.command_line import parse_options, plain_id, tensorboard_command
        from agents.console import Activity, sign_of
        from agents.evaluation.comparison import compare, headline_of, title_of, trainings_of
        from agents.evaluation.contestants import Entry, baseline_names, without_decision
        from agents.hyperparameters.settings import IMITATORS, OFF_POLICY, WARM_START, AgentName, PolicyName, Settings
        from agents.hyperparameters.tables import default_agent, default_policy, settings_for
        from agents.networks.build import blueprint, check_policy
        from agents.reports.console import rich_table
        from agents.runs.checkpoint_files import Checkpoints
        from agents.runs.folder import BEST, CHECKPOINTS, LAST, Run, RunConfig, RunError
        from agents.training.stopping import held_back
        from agents.training.trainer import CHECKPOINT_EVERY_S, left_over, train
        from agents.worlds import system_of
        from edge_envs.core.config import first_complaint, nearest
        from edge_envs.core.io.arguments import parse_arguments
        from edge_envs.core.system import System
    except ImportError as error:
        fail(f"{error}; pip install -e '.[train]'")


@dataclass(frozen=True)
class Arguments:
    """Train an agent and compare it with the baselines."""

    env: str | None = None
    """Environment id, for example LyaPPO-v0; needed, but for --resume."""
    preset: str = "default"
    """Named configuration of the environment."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...")] = ()
    """Parameters of the environment that differ from the preset."""
    agent: AgentName | None = None
    """What learns (default: the environment's)."""
    policy: PolicyName | None = None
    """One policy that all members share, one for the whole team, or one for the whole team with weights that all
    members share (default: the agent's)."""
    expert: str | None = None
    """Baseline to imitate: dagger learns from it alone, ppo and member-ppo start from there (default: the
    environment's for dagger, none for the others)."""
    hyperparameters: Literal["default", "paper"] = "default"
    """Those that learn, or the paper's."""
    steps: int | None = None
    """Training steps of a world, all worlds together, rounded up to whole updates (default: the agent's); imitation
    before PPO comes on top."""
    num_envs: int | None = None
    """Worlds that run side by side (default: the agent's)."""
    seed: int = 0
    """Seed of the training; evaluation seeds are others."""
    run: Path | None = None
    """Run folder (default: runs/<env>__<agent>__<seed>__<time>)."""
    resume: Path | None = None
    """Run folder to go on with, after the training was stopped or killed; ends with the same weights as without that.
    Its configuration stays, so that only --seeds, --episodes and --checkpoint-every go with it."""
    import_sb3: Path | None = None
    """Zip file of Stable-Baselines3 (ppo, ddpg or td3) whose network makes the run, without training; plain JSON and
    tensors are read from it, and no code in it runs."""
    normalization: Path | None = None
    """With --import-sb3: JSON or .safetensors file with mean and variance of the VecNormalize that the model was
    trained in, or none for a model that saw raw observations there."""
    checkpoint_every: float = CHECKPOINT_EVERY_S
    """Least time between two checkpoints, in seconds; 0 for one before every rollout."""
    seeds: int = 5
    """Evaluation seeds of the table at the end; 0 for no table."""
    episodes: int | None = None
    """Episodes per evaluation seed (default: the environment's)."""


def configure(arguments: Arguments) -> RunConfig:
    """The run's configuration, checked as far as possible before anything is written.

    Raises:
        ValueError: anything that cannot be; the message names it and the mend.
    """
    options = parse_options(arguments.set)
    if arguments.env is None:
        raise ValueError("no environment; give --env, for example --env LyaPPO-v0, or --resume with a run folder")
    if not 0 <= arguments.seed < 1 << 32:
        raise ValueError(f"--seed {arguments.seed} is not possible; give a whole number from 0 to {(1 << 32) - 1}")
    env_id = plain_id(arguments.env)
    system = system_of(env_id, arguments.preset, options)
    if arguments.seeds:
        baseline_names(env_id, arguments.preset, without_decision(options))
    agent = arguments.agent or default_agent(env_id)
    policy = arguments.policy or default_policy(env_id, agent)
    check_policy(agent, policy, system)
    decision = str(getattr(system.config, "decision", ""))
    settings = settings_for(env_id, agent, policy, decision, arguments.hyperparameters)
    settings = with_expert(with_sizes(settings, agent, arguments), agent, arguments.expert, system)
    blueprint(agent, policy, settings, system)
    if settings.imitation_rounds:
        known = baseline_names(env_id, arguments.preset, options)
        if settings.expert not in known:
            raise ValueError(f"--expert {settings.expert!r} does not exist here; {nearest(settings.expert, known)}")
    return RunConfig(
        env_id=env_id, preset=arguments.preset, options=options, agent=agent, policy=policy,
        hyperparameters=arguments.hyperparameters, settings=settings, seed=arguments.seed,
    )  # fmt: skip


def check_numbers(arguments: Arguments) -> None:
    """Whether the numbers that every training takes can be.

    Raises:
        ValueError: they cannot.
    """
    if arguments.seeds < 0:
        raise ValueError(f"--seeds {arguments.seeds} is not possible; give seeds >= 0")
    if arguments.normalization is not None and arguments.import_sb3 is None and arguments.resume is None:
        raise ValueError(f"--normalization {arguments.normalization} goes with --import-sb3 only; leave it out")
    if arguments.episodes is not None and arguments.episodes < 1:
        raise ValueError(f"--episodes {arguments.episodes} is not possible; give episodes >= 1")
    if not 0.0 <= arguments.checkpoint_every < math.inf:
        raise ValueError(f"--checkpoint-every {arguments.checkpoint_every} is not possible; give seconds >= 0")


def with_sizes(settings: Settings, agent: AgentName, arguments: Arguments) -> Settings:
    """The settings with the steps and worlds that were asked for; imitation alone gets them by other names.

    Raises:
        ValueError: numbers that cannot be.
    """
    own = {"num_envs": "imitation_worlds", "steps": "imitation_frames"} if agent == "dagger" else {}
    for name, value in (("num_envs", arguments.num_envs), ("steps", arguments.steps)):
        if value is None:
            continue
        number = value
        if own and name == "steps":
            number = -(-value // (settings.imitation_rounds * settings.imitation_worlds))
        try:
            settings = Settings(**{**settings.model_dump(), own.get(name, name): number})
        except ValidationError as error:
            message = first_complaint(error).partition(": ")[2]
            raise ValueError(f"--{name.replace('_', '-')} {value} is not possible: {message}") from None
    if own:
        settings = settings.model_copy(update={"steps": settings.shown, "num_envs": settings.imitation_worlds})
    return settings


def with_expert(settings: Settings, agent: AgentName, expert: str | None, system: System[Any]) -> Settings:
    """The settings with the baseline to imitate by its name, where one is imitated.

    Raises:
        ValueError: an expert for an agent that imitates nobody.
    """
    if expert is not None and agent not in IMITATORS:
        raise ValueError(f"--agent {agent} imitates nobody, so leave out --expert {expert!r}")
    rounds = settings.imitation_rounds or (WARM_START["imitation_rounds"] if expert is not None else 0)
    if not rounds:
        return settings
    name = settings.expert or system.reference_baseline if expert is None else expert
    return settings.model_copy(update={"imitation_rounds": rounds, "expert": name})


def show_comparison(run: Run, console: Console, seeds: int, episodes: int | None) -> None:
    """Print the trained agent beside every baseline; the one that others are measured against comes first.

    The agent is its best validated network. Where the last one scores otherwise, it has a row too.
    """
    config = run.config
    plain = without_decision(config.options)
    system = system_of(config.env_id, config.preset, plain)
    episodes = episodes or system.evaluation_episodes
    agent = f"{config.agent}-{config.policy}"
    label, last = f"{agent} ({config.origin})", f"{agent} (last network)"
    names = baseline_names(config.env_id, config.preset, plain)
    bar = [name for name in names if name == system.reference_baseline]
    others = [Entry(name) for name in names if name not in bar]
    entries = [*map(Entry, bar), Entry(label, run), Entry(last, run, LAST), *others]
    with Activity() as tell:
        results = compare(entries, config.env_id, config.preset, plain, seeds=seeds, episodes=episodes, tell=tell)
    if all((results[last][name] == results[label][name]).all() for name in ("reward", "return")):
        del results[last]
        entries = [entry for entry in entries if entry.label != last]
    title = title_of(config.env_id, config.preset, plain, seeds, episodes)
    console.print(
        rich_table(
            results, headline_of(system), title, console.width, system.warmup_fraction, trainings=trainings_of(entries),
            sign=sign_of(console),
        )
    )  # fmt: skip
    if system.caveat:
        console.print(f"note: {system.caveat}", soft_wrap=True)


def main() -> int:
    """Run the script; returns its exit status."""
    cannot_write = "the run folder cannot be written ({error}); fix the permissions, or name another with --run"
    return guarded(
        lambda: run_and_compare(parse_arguments(Arguments, __doc__), Console(markup=False, emoji=False)), cannot_write
    )


def resumed(arguments: Arguments, console: Console) -> Run:
    """The run folder to go on with.

    Raises:
        ValueError: arguments that do not go with --resume, or a folder that cannot be gone on with.
    """
    assert arguments.resume is not None
    mine = {"resume", "env", "seeds", "episodes", "checkpoint_every"}
    for field in fields(Arguments):
        if field.name not in mine and getattr(arguments, field.name) != field.default:
            name = field.name.replace("_", "-")
            raise ValueError(f"--{name} does not go with --resume, which keeps the run's configuration; leave it out")
    run = Run.open(arguments.resume)
    config = run.config
    if arguments.env is not None and plain_id(arguments.env) != config.env_id:
        raise RunError(f"{run.path} is a run of {config.env_id}, not of {arguments.env}; leave out --env")
    system = system_of(config.env_id, config.preset, config.options)
    blueprint(config.agent, config.policy, config.settings, system)
    for note in run.check_resumable():
        console.print(f"note: {note}", soft_wrap=True)
    return run


def read_import(arguments: Arguments, console: Console) -> tuple[RunConfig, BasePolicy]:
    """Configuration and network from a Stable-Baselines3 zip; nothing is written.

    Raises:
        ValueError: a configuration that cannot be, or a file that cannot be read safely into such a network.
    """
    from agents.sb3_import.importer import NO_TRACE, import_sb3

    assert arguments.import_sb3 is not None
    asked = configure(arguments)
    system = system_of(asked.env_id, asked.preset, asked.options)
    config, network = import_sb3(arguments.import_sb3, asked, system, arguments.normalization)
    if asked.agent in OFF_POLICY and arguments.normalization is None:
        console.print(f"note: {NO_TRACE.format(asked.agent)}", soft_wrap=True)
    return config.model_copy(update={"origin": "imported"}), network


def write_import(arguments: Arguments, config: RunConfig, network: BasePolicy) -> Run:
    """Make a run folder with an imported network.

    Raises:
        RunError: if the folder exists and is not empty, or cannot be written.
    """
    run = Run.create(config, arguments.run)
    for name in (BEST, LAST):
        run.save_network(network, name)
    run.finish({"imported": str(arguments.import_sb3), "normalization": str(arguments.normalization or "none")})
    return run


def trained(run: Run, going_on: bool, arguments: Arguments, console: Console) -> None:
    """Train to the end.

    Raises:
        RunError: the run folder can no longer be written.
        Stopped: a signal came meanwhile.
    """
    try:
        result = train(
            run, resume=going_on, checkpoint_every_s=arguments.checkpoint_every,
            tell=lambda line: console.print(f"note: {line}", soft_wrap=True),
        )  # fmt: skip
    except OSError as error:
        raise RunError(
            f"run folder {run.path} cannot be written ({error}); mend that, and go on with --resume {run.path}, or "
            "name another with --run"
        ) from error
    if result.interrupted:
        raise Stopped(result.signal or signal.SIGINT)
    share = 100.0 * result.env_seconds / result.seconds
    summary = f"{result.steps} steps in {result.seconds:.0f} s, {share:.1f} % of it in the environment"
    console.print(summary, soft_wrap=True)
    if not result.episodes and run.config.agent != "dagger":
        console.print("no training episode came to its end, so there are validation curves only; give more --steps")
    if arguments.seeds and not result.learned:
        console.print("note: no validation beat that of the untrained network, so the table shows that one")
    if result.signal:
        raise Stopped(result.signal)


def how_to_go_on(run: Run | None) -> str:
    """What a training that was stopped leaves, and how to go on, in words."""
    if run is None:
        return "before anything was written; start again"
    if run.finished:
        return f"after the training's end; its networks are saved in {run.path}"
    if Checkpoints(run.path / CHECKPOINTS).files():
        return f"; a checkpoint is saved, go on with --resume {run.path}"
    return f"before the first update; nothing is lost, --resume {run.path} starts from the beginning"


def run_and_compare(arguments: Arguments, console: Console) -> int:
    """Train, compare, and say where everything is; returns the exit status.

    Raises:
        ValueError: a configuration, run folder or network that cannot be.
        OSError: the run folder can no longer be written.
    """
    check_numbers(arguments)
    run, status, going_on = None, 0, arguments.resume is not None
    try:
        if going_on:
            run = resumed(arguments, console)
        elif arguments.import_sb3 is not None:
            found = read_import(arguments, console)
            with held_back("the run folder is written"):
                run = write_import(arguments, *found)
        else:
            config = configure(arguments)
            with held_back("the run folder is written"):
                run = Run.create(config, arguments.run)
        if going_on and left_over(run):
            console.print(f"{run.path} has come to its end already; nothing to train", soft_wrap=True)
        elif going_on or arguments.import_sb3 is None:
            trained(run, going_on, arguments, console)
        if arguments.seeds:
            show_comparison(run, console, arguments.seeds, arguments.episodes)
    except KeyboardInterrupt as stop:
        status = status_of(stop)
        console.print(f"interrupted by {name_of(stop)} {how_to_go_on(run)}".replace(" ;", ";"), soft_wrap=True)
    if run is not None and run.finished:
        console.print(f"run folder: {run.path}", soft_wrap=True)
        console.print(f"curves: {tensorboard_command(run.path.parent)}", soft_wrap=True)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
