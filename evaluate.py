"""Score policies on one environment: baselines and comparison schemes by name, trained agents by run folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.text import Text

from agents.cli import parse_arguments, parse_options, plain_id
from agents.compare import as_json, compare, find_entries, headline_of, rich_table, system_of
from agents.runs import provenance
from edge_envs.core.command import guarded
from edge_envs.core.files import write_atomically
from edge_envs.core.policy import Scheme


@dataclass(frozen=True)
class Arguments:
    """Evaluate policies on the same seeds."""

    env: str
    """Environment id, for example LyaPPO-v0."""
    policies: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME|RUN ...")]
    """Baselines, schemes (baselines in a system with a part removed), run folders; differences are to the first."""
    preset: str = "default"
    """Named configuration of the environment."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...")] = ()
    """Parameters of the environment that differ from the preset."""
    episodes: int | None = None
    """Episodes per evaluation seed (default: the environment's)."""
    seeds: int = 5
    """Evaluation seeds."""
    json: Path | None = None
    """File for all numbers."""


def main() -> int:
    """Run the script; returns its exit status."""
    arguments = parse_arguments(Arguments, __doc__)
    console = Console(markup=False, emoji=False)
    return guarded(lambda: score_and_show(arguments, console), "{error}; name another path")


def score_and_show(arguments: Arguments, console: Console) -> int:
    """Score the policies, print the table, write the file; returns the exit status.

    Raises:
        ValueError: arguments that cannot be, or a file that cannot be written.
    """
    options = parse_options(arguments.set)
    for name, value in (("seeds", arguments.seeds), ("episodes", arguments.episodes)):
        if value is not None and value < 1:
            raise ValueError(f"--{name} {value} is not possible; give at least 1")
    if arguments.json is not None and (arguments.json.is_dir() or not arguments.json.parent.is_dir()):
        raise ValueError(f"--json {arguments.json} cannot be written; name a file in a folder that exists")
    env_id = plain_id(arguments.env)
    entries = find_entries(arguments.policies, env_id, arguments.preset, options)
    system = system_of(env_id, arguments.preset, options)
    episodes = arguments.episodes or system.evaluation_episodes
    for entry in entries:
        if entry.run is not None and not entry.trained_here(arguments.preset, options):
            console.print(f"note: {entry.label} was trained on {entry.training}", soft_wrap=True)
        if entry.scheme is not None:
            console.print(f"note: {entry.label} is {described(entry.scheme)}", soft_wrap=True)
    with console.status("evaluating") as status:
        results = compare(
            entries, env_id, arguments.preset, options, seeds=arguments.seeds, episodes=episodes,
            on_done=lambda name: status.update(Text(f"evaluated {name}")),
        )  # fmt: skip
    title = f"{env_id}, preset {arguments.preset}: {arguments.seeds} seeds x {episodes} episodes"
    console.print(rich_table(results, headline_of(system), title, console.width, system.settling))
    if system.caveat:
        console.print(f"note: {system.caveat}", soft_wrap=True)
    if arguments.json is not None:
        setting = asdict(arguments) | {
            "set": options, "json": str(arguments.json), "episodes": episodes, "settling": system.settling,
        }  # fmt: skip
        schemes = {each.label: as_document(each.scheme) for each in entries if each.scheme is not None}
        told = {"setting": setting, "caveat": system.caveat, "schemes": schemes}
        document = {**told, **as_json(results), "provenance": provenance()}
        try:
            write_atomically(arguments.json, json.dumps(document, indent=2, allow_nan=False).encode())
        except OSError as error:
            raise ValueError(f"--json {arguments.json} cannot be written ({error.strerror})") from error
        console.print(f"written: {arguments.json}", soft_wrap=True)
    return 0


def described(scheme: Scheme) -> str:
    """A scheme's baseline, options and meaning, in words."""
    options = " ".join(f"{key}={json.dumps(value)}" for key, value in scheme.options.items())
    return f"{scheme.policy} with {options}: {scheme.meaning}"


def as_document(scheme: Scheme) -> dict[str, Any]:
    """A scheme as JSON takes it."""
    return {"policy": scheme.policy, "options": dict(scheme.options), "meaning": scheme.meaning}


if __name__ == "__main__":
    raise SystemExit(main())
