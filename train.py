"""Train one agent on one environment, then compare it with every baseline."""

from __future__ import annotations

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
        from agents.console import Activity
        from agents.evaluation.comparison import compare
        from agents.evaluation.contestants import Entry, baseline_names, without_decision
        from agents.evaluation.results import Setting
        from agents.hyperparameters.lookup import default_agent, default_policy, settings_for
        from agents.hyperparameters.settings import IMITATORS, OFF_POLICY, WARM_START, AgentName, PolicyName, Settings
        from agents.networks.build import blueprint, check_policy
        from agents.reports.console import results_table
        from agents.runs.checkpoint_files import Checkpoints
        from agents.runs.folder import BEST, CHECKPOINTS, LAST, Run, RunConfig, RunError
        from agents.training.stopping import deferred
        from agents.training.trainer import CHECKPOINT_EVERY_S, is_finished, train
        from agents.worlds import system_of
        from edge_envs.core.config import first_complaint
        from edge_envs.core.io.arguments import parse_arguments
        from edge_envs.core.system import System
        from edge_envs.core.validation import finite_array, one_of, whole_number
    except ImportError as error:
        fail(f"{error}; pip install -e '.[train]'")


@dataclass(frozen=True)
class Arguments:
    """Train an agent and compare it with the baselines."""

    env: str | None = None
    """Environment id, for example LyaPPO-v0; required unless --resume is given."""
    preset: str = "default"
    """Named configuration of the environment."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...")] = ()
    """Environment parameters that override the preset."""
    agent: AgentName | None = None
    """Learning algorithm (default: the environment's)."""
    policy: PolicyName | None = None
    """shared: one policy for every member; central: one policy for the whole team; pooled: one policy for the whole
    team whose weights all members share (default: the agent's)."""
    expert: str | None = None
    """Baseline to imitate. dagger only imitates; ppo and member-ppo imitate before they train (default: the
    environment's for dagger, none for the others)."""
    hyperparameters: Literal["default", "paper"] = "default"
    """default: tuned for this project; paper: as printed in the paper."""
    steps: int | None = None
    """Training steps, summed over all worlds and rounded up to whole updates (default: the agent's). Imitation before
    PPO is not counted."""
    num_envs: int | None = None
    """Number of worlds stepped in parallel (default: the agent's)."""
    seed: int = 0
    """Training seed; evaluation uses other random streams."""
    run: Path | None = None
    """Run folder (default: runs/<env>__<agent>__<seed>__<time>)."""
    resume: Path | None = None
    """Run folder of an interrupted training to resume; the final weights equal those of an uninterrupted training.
    The run's configuration is kept, so only --seeds, --episodes and --checkpoint-every can be given with it."""
    import_sb3: Path | None = None
    """Zip file of a Stable-Baselines3 model (ppo, ddpg or td3) to import as a run, without training. Only plain JSON
    and tensors are read; no code in the file is executed."""
    normalization: Path | None = None
    """With --import-sb3: JSON or .safetensors file with mean and variance of the VecNormalize used in training, or
    none for a model that was trained on raw observations."""
    checkpoint_every: float = CHECKPOINT_EVERY_S
    """Minimum time between two checkpoints, in seconds; 0 saves one before every rollout."""
    seeds: int = 5
    """Number of evaluation seeds of the final table; 0 for no table."""
    episodes: int | None = None
    """Episodes per evaluation seed (default: the environment's)."""


def configure(arguments: Arguments) -> RunConfig:
    """Build the run's configuration and check it before anything is written.

    Raises:
        ValueError: invalid arguments; the message says how to fix them.
    """
    options = parse_options(arguments.set)
    if arguments.env is None:
        raise ValueError("--env is missing; give --env LyaPPO-v0, for example, or --resume with a run folder")
    whole_number("--seed", arguments.seed, 0, (1 << 32) - 1)
    env_id = plain_id(arguments.env)
    system = system_of(env_id, arguments.preset, options)
    if arguments.seeds:
        baseline_names(env_id, arguments.preset, without_decision(options))
    agent = arguments.agent or default_agent(env_id)
    policy = arguments.policy or default_policy(env_id, agent)
    check_policy(agent, policy, system)
    decision = str(getattr(system.config, "decision", ""))
    settings = settings_for(env_id, agent, policy, decision, arguments.hyperparameters, arguments.preset)
    settings = with_expert(with_sizes(settings, agent, arguments), agent, arguments.expert, system)
    blueprint(agent, policy, settings, system)
    if settings.imitation_rounds:
        known = baseline_names(env_id, arguments.preset, options)
        if arguments.expert is None and settings.expert not in known:
            raise ValueError(
                f"--agent {agent} imitates {settings.expert!r} by default, which does not exist with these options; "
                f"give another baseline with --expert; known: {', '.join(known)}"
            )
        one_of("--expert", settings.expert, known)
    return RunConfig(
        env_id=env_id, preset=arguments.preset, options=options, agent=agent, policy=policy,
        hyperparameters=arguments.hyperparameters, settings=settings, seed=arguments.seed,
    )  # fmt: skip


def check_numbers(arguments: Arguments) -> None:
    """Raise ValueError if an argument that does not depend on the environment is not possible."""
    whole_number("--seeds", arguments.seeds, 0)
    if arguments.episodes is not None:
        whole_number("--episodes", arguments.episodes, 1)
    finite_array("--checkpoint-every", arguments.checkpoint_every, ())
    if arguments.normalization is not None and arguments.import_sb3 is None and arguments.resume is None:
        raise ValueError(f"--normalization {arguments.normalization} can only be used with --import-sb3; leave it out")


def with_sizes(settings: Settings, agent: AgentName, arguments: Arguments) -> Settings:
    """Settings with the given numbers of steps and worlds, which agent `dagger` has under other names.

    Raises:
        ValueError: a number is out of range.
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
        settings = settings.model_copy(
            update={"steps": settings.demonstration_steps, "num_envs": settings.imitation_worlds}
        )
    return settings


def with_expert(settings: Settings, agent: AgentName, expert: str | None, system: System[Any]) -> Settings:
    """Settings with the name of the baseline to imitate, where the agent imitates one.

    Raises:
        ValueError: an expert is given for an agent that does not imitate.
    """
    if expert is not None and agent not in IMITATORS:
        raise ValueError(f"--agent {agent} does not imitate a baseline; leave out --expert {expert!r}")
    rounds = settings.imitation_rounds or (WARM_START["imitation_rounds"] if expert is not None else 0)
    if not rounds:
        return settings
    name = settings.expert or system.reference_baseline if expert is None else expert
    return settings.model_copy(update={"imitation_rounds": rounds, "expert": name})


def rounded_steps(config: RunConfig) -> int:
    """Steps that the training takes, without imitation before PPO: the settings' steps in whole updates."""
    settings = config.settings
    update = settings.num_envs * (1 if config.agent in (*OFF_POLICY, "dagger") else settings.n_steps)
    return -(-settings.steps // update) * update


def show_comparison(run: Run, console: Console, seeds: int, episodes: int | None) -> None:
    """Print a table of the trained agent and all baselines, with the reference baseline first.

    The agent's row shows its best validated network; the last network has its own row if its scores differ.
    """
    config = run.config
    where = config.env_id, config.preset, without_decision(config.options)
    system = system_of(*where)
    setting = Setting(*where, seeds, episodes or system.evaluation_episodes)
    agent = f"{config.agent}-{config.policy}"
    label, last = f"{agent} ({config.origin})", f"{agent} (last network)"
    entries = [Entry(label, run), Entry(last, run, LAST), *map(Entry, baseline_names(*where))]
    entries.sort(key=lambda entry: entry.label != system.reference_baseline)
    with Activity() as activity:
        results = compare(entries, *where, seeds=seeds, episodes=setting.episodes, notify=activity)
    if all((results[last][name] == results[label][name]).all() for name in ("reward", "return")):
        del results[last]
        entries = [entry for entry in entries if entry.label != last]
    console.print(results_table(console, setting, entries, results))
    if system.caveat:
        console.print(f"note: {system.caveat}", soft_wrap=True)


def main() -> int:
    """Run the script; returns its exit status."""
    cannot_write = "the run folder cannot be written ({error}); fix the permissions, or name another with --run"
    return guarded(
        lambda: run_and_compare(parse_arguments(Arguments, __doc__), Console(markup=False, emoji=False)), cannot_write
    )


def resumed(arguments: Arguments, console: Console) -> Run:
    """Open the run folder to resume.

    Raises:
        ValueError: arguments that cannot be combined with --resume, or a run that cannot be resumed.
    """
    assert arguments.resume is not None
    mine = {"resume", "env", "seeds", "episodes", "checkpoint_every"}
    for field in fields(Arguments):
        if field.name not in mine and getattr(arguments, field.name) != field.default:
            name = field.name.replace("_", "-")
            raise ValueError(
                f"--{name} cannot be combined with --resume, which keeps the run's configuration; leave it out"
            )
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
    """Read configuration and network from a Stable-Baselines3 zip; nothing is written.

    Raises:
        ValueError: invalid configuration, or a file that cannot be read safely into such a network.
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
    """Create a run folder with an imported network.

    Raises:
        RunError: the folder exists and is not empty, or cannot be written.
    """
    run = Run.create(config, arguments.run)
    for name in (BEST, LAST):
        run.save_network(network, name)
    run.finish({"imported": str(arguments.import_sb3), "normalization": str(arguments.normalization or "none")})
    return run


def train_to_end(run: Run, resume: bool, arguments: Arguments, console: Console) -> None:
    """Train to the end and print a summary.

    Raises:
        RunError: the run folder can no longer be written.
        Stopped: a signal stopped the training.
    """
    try:
        result = train(
            run, resume=resume, checkpoint_every_s=arguments.checkpoint_every,
            notify=lambda line: console.print(f"note: {line}", soft_wrap=True),
        )  # fmt: skip
    except OSError as error:
        raise RunError(
            f"run folder {run.path} cannot be written ({error}); free space or fix the permissions, then rerun with "
            f"--resume {run.path}, or start a new run with --run"
        ) from error
    if result.interrupted:
        raise Stopped(result.signal or signal.SIGINT)
    share = 100.0 * result.env_seconds / result.seconds
    summary = f"{result.steps} steps in {result.seconds:.0f} s, {share:.1f} % of it in the environment"
    console.print(summary, soft_wrap=True)
    if not result.episodes and run.config.agent != "dagger":
        console.print(
            "no training episode ended, so there are validation curves only; give more --steps or a smaller "
            "--num-envs, so that every world takes the steps of a whole episode",
            soft_wrap=True,
        )
    if arguments.seeds and not result.learned:
        console.print("note: no validation was better than the untrained network's, so the table shows that network")
    if result.signal:
        raise Stopped(result.signal)


def resume_hint(run: Run | None) -> str:
    """End of the message after an interruption: what was saved, and how to resume."""
    if run is None:
        return "; nothing was written"
    if run.finished:
        return f" after the end of the training; the networks are saved in {run.path}"
    if Checkpoints(run.path / CHECKPOINTS).files():
        return f"; a checkpoint was saved, resume with --resume {run.path}"
    return f" before the first update; --resume {run.path} starts from the beginning"


def run_and_compare(arguments: Arguments, console: Console) -> int:
    """Train, compare with the baselines, and print the run folder; returns the exit status.

    Raises:
        ValueError: invalid configuration, run folder or network.
        OSError: the run folder can no longer be written.
    """
    check_numbers(arguments)
    run, status, resume = None, 0, arguments.resume is not None
    try:
        if resume:
            run = resumed(arguments, console)
        elif arguments.import_sb3 is not None:
            found = read_import(arguments, console)
            with deferred("the run folder is written"):
                run = write_import(arguments, *found)
        else:
            config = configure(arguments)
            steps = rounded_steps(config)
            if arguments.steps is not None and arguments.steps != steps:
                console.print(f"note: --steps {arguments.steps} is rounded up to {steps}, whole updates")
            with deferred("the run folder is written"):
                run = Run.create(config, arguments.run)
        if resume and is_finished(run):
            console.print(f"{run.path} is finished already; nothing to train", soft_wrap=True)
        elif resume or arguments.import_sb3 is None:
            train_to_end(run, resume, arguments, console)
        if arguments.seeds:
            show_comparison(run, console, arguments.seeds, arguments.episodes)
    except KeyboardInterrupt as stop:
        status = status_of(stop)
        console.print(f"interrupted by {name_of(stop)}{resume_hint(run)}", soft_wrap=True)
    if run is not None and run.finished:
        console.print(f"run folder: {run.path}", soft_wrap=True)
        console.print(f"curves: {tensorboard_command(run.path.parent)}", soft_wrap=True)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
