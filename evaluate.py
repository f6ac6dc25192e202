"""Score policies on one environment, or every baseline and what was trained on all of them (--all)."""

from __future__ import annotations

import importlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from edge_envs.core.io.command import fail, guarded, importing

with importing():
    try:
        import tyro
        from rich.console import Console

        from agents.command_line import parse_options, plain_id
        from agents.console import Activity, sign_of
        from agents.evaluation import leaderboard
        from agents.evaluation.comparison import headline_of, trainings_of
        from agents.evaluation.contestants import find_entries, remarks
        from agents.evaluation.results import Evaluated, Setting, document_of, evaluate
        from agents.reports import console as report_console
        from agents.reports import files as report_files
        from agents.reports import html
        from agents.reports.console import rich_table
        from agents.worlds import known_ids, system_of
        from edge_envs.core.io.arguments import parse_arguments
        from edge_envs.core.policy import Ablation
    except ImportError as error:
        fail(f"{error}; pip install -e '.[train]'")

RUNS = Path("runs")
FORMATS = {
    "--json": report_files.as_json, "--csv": report_files.as_csv, "--markdown": report_files.as_markdown,
    "--report": html.as_html,
}  # fmt: skip


@dataclass(frozen=True)
class Arguments:
    """Evaluate policies on the same seeds."""

    env: str | None = None
    """Environment id, for example LyaPPO-v0."""
    policies: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME|RUN|MODULE:FACTORY ...")] = ()
    """Baselines; schemes (baselines in a system with a part removed); run folders; several training seeds as one, as a
    list RUN,RUN or a quoted pattern; own agents; each with NAME= in front to label it. Differences are to the first."""
    preset: str = "default"
    """Named configuration of the environment."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...")] = ()
    """Parameters of the environment that differ from the preset."""
    all: bool = False
    """The benchmark: all environments' default presets, all baselines, and the agents in --runs."""
    runs: Path | None = None
    """Folder with the run folders of --all (default: runs)."""
    baselines_only: bool = False
    """--all without learned agents."""
    episodes: int | None = None
    """Episodes per evaluation seed (default: the environment's)."""
    seeds: int = 5
    """Evaluation seeds."""
    json: Path | None = None
    """File for all numbers."""
    csv: Path | None = None
    """File for all numbers as one long table."""
    markdown: Path | None = None
    """File for tables of the main numbers."""
    report: Path | None = None
    """File for a page with tables and plots (HTML)."""

    @property
    def files(self) -> dict[str, Path]:
        """Files asked for, by the option."""
        given = {name: getattr(self, name) for name in ("json", "csv", "markdown", "report")}
        return {f"--{name}": file for name, file in given.items() if file is not None}


def main() -> int:
    """Run the script; returns its exit status."""
    console = Console(markup=False, emoji=False)
    return guarded(
        lambda: score_and_show(parse_arguments(Arguments, __doc__), console),
        "{error}; name another path",
        extra="train",
    )


def score_and_show(arguments: Arguments, console: Console) -> int:
    """Score the policies, write the files, print the tables; returns the exit status.

    Raises:
        ValueError: arguments that cannot be, or a file that cannot be written.
        ImportError: a report is asked for and its package is missing.
    """
    check(arguments)
    notes: list[str] = []
    written: list[Path] = []
    with Activity() as tell:
        evaluated = run_benchmark(arguments, tell, notes) if arguments.all else [compare_named(arguments, tell, notes)]
    try:
        with Activity() as tell:
            write_files(arguments, evaluated, notes, written, tell)
    finally:
        # After the files, so that no console can cost them, and also where one cannot be written.
        show(arguments, evaluated, notes, console)
        for file in written:
            console.print(f"written: {file}", soft_wrap=True)
    return 0


def show(arguments: Arguments, evaluated: Sequence[Evaluated], notes: Sequence[str], console: Console) -> None:
    """Print the tables, and what to know of them."""
    for each in evaluated:
        system = each.setting.system
        if arguments.all:
            console.print(report_console.ranking_table(each, sign_of(console)))
        else:
            for entry in each.entries:
                if entry.scheme is not None:
                    console.print(f"note: {entry.label} is {described(entry.scheme)}", soft_wrap=True)
            console.print(
                rich_table(
                    each.results, headline_of(system), each.setting.title, console.width, system.warmup_fraction,
                    {label: found.mean for label, found in each.latencies.items()}, trainings_of(each.entries),
                    sign_of(console),
                )
            )  # fmt: skip
        if system.caveat:
            console.print(f"note: {system.caveat}", soft_wrap=True)
    if arguments.all:
        ids = [each.setting.env_id for each in evaluated]
        console.print(report_console.score_table(leaderboard.scores_of(evaluated), ids))
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)


def check(arguments: Arguments) -> None:
    """Whether the arguments go together and the files can be written.

    Raises:
        ValueError: they do not, or one cannot.
        ImportError: a report is asked for and its package is missing.
    """
    for name, value in (("seeds", arguments.seeds), ("episodes", arguments.episodes)):
        if value is not None and value < 1:
            raise ValueError(f"--{name} {value} is not possible; give at least 1")
    ours = {"--env": arguments.env is not None, "--policies": arguments.policies, "--set": arguments.set}
    ours["--preset"] = arguments.preset != "default"
    theirs = {"--runs": arguments.runs is not None, "--baselines-only": arguments.baselines_only}
    for name, given in (ours if arguments.all else theirs).items():
        if given:
            mend = "--all takes every environment as it is" if arguments.all else f"{name} belongs to --all"
            raise ValueError(f"{name} does not go with {'--all' if arguments.all else '--env'}: {mend}; leave it out")
    if arguments.baselines_only and arguments.runs is not None:
        raise ValueError(f"--runs {arguments.runs} does not go with --baselines-only; leave out one of them")
    if not arguments.all and arguments.env is None:
        raise ValueError("--env is missing; name an environment, or give --all for all of them")
    check_files(arguments.files)


def check_files(files: dict[str, Path]) -> None:
    """Whether the files can be written, before any work.

    Raises:
        ValueError: one cannot, or two are the same.
        ImportError: the report's package is missing.
    """
    for name, file in files.items():
        if file.is_dir() or not file.parent.is_dir():
            raise ValueError(f"{name} {file} cannot be written; name a file in a folder that exists")
        if file.exists() and not file.is_file():
            raise ValueError(f"{name} {file} is not a regular file and would be replaced; name another")
        try:
            with tempfile.TemporaryFile(dir=file.parent):
                pass
        except OSError as error:
            raise ValueError(f"{name} {file} cannot be written ({error.strerror}); name another folder") from error
    places = [file.parent.resolve() / file.name for file in files.values()]
    for (name, file), place in zip(files.items(), places, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"{name} {file} is named twice; give every output a file of its own")
    if "--report" in files:
        importlib.import_module("plotly")


def compare_named(arguments: Arguments, tell: Activity, notes: list[str]) -> Evaluated:
    """Score the policies named on one environment; what to know of them is added to `notes`.

    Raises:
        ValueError: an environment, a policy or a run that cannot be.
    """
    options = parse_options(arguments.set)
    env_id = plain_id(arguments.env or "")
    entries = find_entries(arguments.policies, env_id, arguments.preset, options)
    episodes = arguments.episodes or system_of(env_id, arguments.preset, options).evaluation_episodes
    for entry in entries:
        if entry.run is not None and not entry.trained_here(arguments.preset, options):
            notes.append(f"{entry.label} was trained on {entry.training}; --preset and --set can score it there")
    notes += remarks(entries)
    return evaluate(entries, Setting(env_id, arguments.preset, options, arguments.seeds, episodes), tell)


def with_prefix(tell: Activity, prefix: str) -> Callable[[str], None]:
    """Return `tell` with the same prefix before every text."""
    return lambda text: tell(f"{prefix}: {text}")


def run_benchmark(arguments: Arguments, tell: Activity, notes: list[str]) -> list[Evaluated]:
    """Score all baselines and the agents found on all environments.

    Raises:
        ValueError: no run that can be used.
    """
    ids = known_ids()
    learned = {} if arguments.baselines_only else leaderboard.find_learned(arguments.runs or RUNS, ids, notes)
    found = []
    for env_id in ids:
        episodes = arguments.episodes or system_of(env_id, leaderboard.PRESET, {}).evaluation_episodes
        setting = Setting(env_id, leaderboard.PRESET, {}, arguments.seeds, episodes)
        entries = leaderboard.contestants(env_id, learned.get(env_id, ()))
        found.append(evaluate(entries, setting, with_prefix(tell, env_id)))
    notes += [note for each in found for note in leaderboard.above_bar(each)]
    return found


def write_files(
    arguments: Arguments, evaluated: Sequence[Evaluated], notes: list[str], written: list[Path], tell: Activity
) -> None:
    """Write every file that was asked for, also after one that fails; those written are added to `written`.

    Raises:
        ValueError: the first that cannot be written.
    """
    if not (arguments.files or arguments.all):
        return
    document = document_of(evaluated, notes, tell)
    if arguments.all:
        document["scores"] = leaderboard.scores_of(evaluated)
    errors: list[ValueError] = []
    for name, file in arguments.files.items():
        try:
            report_files.write(file, FORMATS[name](document), name)
            written.append(file)
        except ValueError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def described(scheme: Ablation) -> str:
    """A scheme's baseline, options and meaning, in words."""
    options = " ".join(f"{key}={json.dumps(value)}" for key, value in scheme.options.items())
    return f"{scheme.policy} with {options}: {scheme.meaning}"


if __name__ == "__main__":
    raise SystemExit(main())
