"""Score policies on one environment, or all baselines and trained agents on all environments (--all)."""

from __future__ import annotations

import importlib
import json
import tempfile
from collections.abc import Sequence
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
        from agents.evaluation.contestants import find_entries, remarks
        from agents.evaluation.results import Evaluated, Setting, document_of, evaluate
        from agents.reports import console as report_console
        from agents.reports import files as report_files
        from agents.reports import html
        from agents.reports.console import results_table
        from agents.worlds import known_ids, system_of
        from edge_envs.core.io.arguments import parse_arguments
        from edge_envs.core.policy import Ablation
        from edge_envs.core.validation import whole_number
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
    """Baselines; ablations (baselines in a system with a component removed); run folders; several training seeds as
    one entry, given as a list RUN,RUN or a quoted pattern; agents of your own as MODULE:FACTORY. NAME= in front of an
    entry labels it. Differences are to the first entry."""
    preset: str = "default"
    """Named configuration of the environment."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...")] = ()
    """Environment parameters that override the preset."""
    all: bool = False
    """Benchmark: the default presets of all environments, with all baselines and the agents in --runs."""
    runs: Path | None = None
    """Folder that contains the run folders for --all (default: runs)."""
    baselines_only: bool = False
    """With --all: leave out trained agents."""
    episodes: int | None = None
    """Episodes per evaluation seed (default: the environment's)."""
    seeds: int = 5
    """Number of evaluation seeds."""
    json: Path | None = None
    """JSON file for all numbers."""
    csv: Path | None = None
    """CSV file for all numbers in one long table."""
    markdown: Path | None = None
    """Markdown file for tables of the main numbers."""
    report: Path | None = None
    """HTML file with tables and plots."""

    @property
    def files(self) -> dict[str, Path]:
        """Requested output files by option."""
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
        ValueError: invalid arguments, or a file that cannot be written.
        ImportError: --report is given and plotly is missing.
    """
    check(arguments)
    notes: list[str] = []
    written: list[Path] = []
    with Activity() as activity:
        evaluated = (
            run_benchmark(arguments, activity, notes) if arguments.all else [compare_named(arguments, activity, notes)]
        )
    try:
        with Activity() as activity:
            write_files(arguments, evaluated, notes, written, activity)
    finally:
        # After the files, so that a console error cannot prevent them; in `finally`, so that a file error still
        # leaves the tables.
        show(arguments, evaluated, notes, console)
        for file in written:
            console.print(f"written: {file}", soft_wrap=True)
    return 0


def show(arguments: Arguments, evaluated: Sequence[Evaluated], notes: Sequence[str], console: Console) -> None:
    """Print the tables and notes."""
    for each in evaluated:
        if arguments.all:
            console.print(report_console.ranking_table(each, sign_of(console)))
        else:
            for entry in each.entries:
                if entry.ablation is not None:
                    console.print(f"note: {entry.label} is {described(entry.ablation)}", soft_wrap=True)
            latencies = {label: found.mean for label, found in each.latencies.items()}
            console.print(results_table(console, each.setting, each.entries, each.results, latencies))
        if each.setting.system.caveat:
            console.print(f"note: {each.setting.system.caveat}", soft_wrap=True)
    if arguments.all:
        ids = [each.setting.env_id for each in evaluated]
        console.print(report_console.score_table(leaderboard.scores_of(evaluated), ids))
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)


def check(arguments: Arguments) -> None:
    """Check that the arguments can be combined and the files can be written.

    Raises:
        ValueError: otherwise.
        ImportError: --report is given and plotly is missing.
    """
    whole_number("--seeds", arguments.seeds, 1)
    if arguments.episodes is not None:
        whole_number("--episodes", arguments.episodes, 1)
    without_all = {"--env": arguments.env is not None, "--policies": arguments.policies, "--set": arguments.set}
    without_all["--preset"] = arguments.preset != "default"
    with_all = {"--runs": arguments.runs is not None, "--baselines-only": arguments.baselines_only}
    for name, given in (without_all if arguments.all else with_all).items():
        if given and arguments.all:
            raise ValueError(f"{name} cannot be combined with --all, which runs all default presets; leave it out")
        if given:
            raise ValueError(f"{name} can be used with --all only; leave it out")
    if arguments.baselines_only and arguments.runs is not None:
        raise ValueError(f"--runs {arguments.runs} cannot be combined with --baselines-only; leave out one of them")
    if not arguments.all and arguments.env is None:
        raise ValueError("--env is missing; name an environment, or give --all for all of them")
    check_files(arguments.files)


def check_files(files: dict[str, Path]) -> None:
    """Check before any work that the files can be written.

    Raises:
        ValueError: one cannot, or two are the same.
        ImportError: --report is given and plotly is missing.
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
            raise ValueError(f"{name} {file} is named twice; give each output a file of its own")
    if "--report" in files:
        importlib.import_module("plotly")


def compare_named(arguments: Arguments, activity: Activity, notes: list[str]) -> Evaluated:
    """Score the given policies on one environment; remarks on them are appended to `notes`.

    Raises:
        ValueError: invalid environment, policy or run.
    """
    options = parse_options(arguments.set)
    env_id = plain_id(arguments.env or "")
    entries = find_entries(arguments.policies, env_id, arguments.preset, options)
    episodes = arguments.episodes or system_of(env_id, arguments.preset, options).evaluation_episodes
    for entry in entries:
        if entry.run is not None and not entry.trained_here(arguments.preset, options):
            notes.append(f"{entry.label} was trained on {entry.training}; use --preset and --set to evaluate it there")
    notes += remarks(entries)
    return evaluate(entries, Setting(env_id, arguments.preset, options, arguments.seeds, episodes), activity)


def run_benchmark(arguments: Arguments, activity: Activity, notes: list[str]) -> list[Evaluated]:
    """Score all baselines and the trained agents on all environments.

    Raises:
        ValueError: no usable run was found.
    """
    ids = known_ids()
    learned = {} if arguments.baselines_only else leaderboard.find_learned(arguments.runs or RUNS, ids, notes)
    found = []
    for env_id in ids:
        episodes = arguments.episodes or system_of(env_id, leaderboard.PRESET, {}).evaluation_episodes
        setting = Setting(env_id, leaderboard.PRESET, {}, arguments.seeds, episodes)
        entries = leaderboard.contestants(env_id, learned.get(env_id, ()))
        found.append(evaluate(entries, setting, lambda text, env_id=env_id: activity(f"{env_id}: {text}")))  # type: ignore[misc]
    notes += [note for each in found for note in leaderboard.better_baselines(each)]
    return found


def write_files(
    arguments: Arguments, evaluated: Sequence[Evaluated], notes: list[str], written: list[Path], activity: Activity
) -> None:
    """Write all requested files, also after one has failed; the files written are appended to `written`.

    Raises:
        ValueError: a file cannot be written; the first one's error.
    """
    if not (arguments.files or arguments.all):
        return
    document = document_of(evaluated, notes, activity)
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


def described(ablation: Ablation) -> str:
    """An ablation's baseline, options and meaning."""
    options = " ".join(f"{key}={json.dumps(value)}" for key, value in ablation.options.items())
    return f"{ablation.policy} with {options}: {ablation.meaning}"


if __name__ == "__main__":
    raise SystemExit(main())
