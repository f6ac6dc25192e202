"""Train a network by split learning; DTIRS-v0 simulates the delay of every round.

    python -m edge_envs.dtirs.split_training --rounds 300 --users 4 --policy best-common

The command needs the extras `train` and `codec`; this module can be imported without them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_envs.core.io.arguments import parse_arguments
from edge_envs.core.io.command import guarded
from edge_envs.core.io.files import write_atomically

if TYPE_CHECKING:
    from edge_envs.dtirs.split_training.data import Data
    from edge_envs.dtirs.split_training.experiment import Recipe, Series
    from edge_envs.dtirs.split_training.simulated_delay import Frames

LOSS_MARKS = (0.1, 0.01)
"""Losses for which the table lists the time at which they are reached [nat]."""
MEGABIT = 1e6
LEGEND = """cut: mean; s: simulated delay of a round, summed over the users; to 0.1, to 0.01: simulated
time until the loss is at most 0.1 or 0.01; loss: mean of the last {rounds} rounds [nat]; test:
accuracy on held-out images; Mbit: features and gradients of a round; weights: Mbit of a
round that keep the users' layers equal, not counted in the environment's delay
"""


@dataclass(frozen=True)
class Arguments:
    """Options of the command."""

    rounds: int = 300
    """Training rounds; each takes one frame of the environment."""
    users: tuple[int, ...] = (4,)
    """Numbers of users. The first trains under every policy, the others under the first policy."""
    policy: tuple[str, ...] = ("best-common",)
    """Baselines of DTIRS-v0, or cut-m for cut m in every round."""
    preset: str = "default"
    """Named configuration of the environment."""
    seed: int = 0
    """Seed of the weights, the images, the batches and the environment."""
    width: float = 0.25
    """Width of the network; 1 is the full one."""
    learning_rate: float = 3e-4
    """Learning rate of Adam."""
    images: int = 64
    """Private images of each user."""
    cifar: Path | None = None
    """Folder with CIFAR-10's binary files, used instead of the built-in photographs."""
    out: Path = Path("runs/split")
    """Folder for the rounds and the figure."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 2 for bad input in one line, 130 after Ctrl-C."""
    description = (__doc__ or "").partition("\n")[0]
    return guarded(lambda: run(parse_arguments(Arguments, description, words)), extra="train,codec")


def run(options: Arguments) -> int:
    """Train every series, write the files, print the table; returns the exit status.

    Raises:
        ValueError: invalid option or damaged file.
        OSError: a file is missing or cannot be written.
        ImportError: a package of the extras is missing.
    """
    import torch
    from rich.console import Console

    from edge_envs.dtirs.split_training.data import load_data
    from edge_envs.dtirs.split_training.experiment import RECENT_ROUNDS, Recipe
    from edge_envs.dtirs.split_training.figure import draw_trainings
    from edge_envs.dtirs.split_training.files import save_rounds
    from edge_envs.dtirs.split_training.network import build_network

    # Several threads are slower for such small layers, and would make the order of sums depend on the machine.
    torch.set_num_threads(1)
    recipe = Recipe(options.rounds, options.width, options.learning_rate, options.images, options.seed)
    planned = _plan(options.policy, options.users, options.preset, recipe.seed)
    data = load_data(max(options.users), recipe.images_per_user, recipe.seed, options.cifar)
    build_network(data.classes, recipe.width)
    options.out.mkdir(parents=True, exist_ok=True)
    console = Console(markup=False, emoji=False, highlight=False)
    console.print(f"{data.name}: {recipe.images_per_user} per user, {len(data.held_out.labels)} held out")
    started = time.monotonic()
    trainings = _train(data, planned, recipe)
    console.print(f"{len(planned)} x {recipe.rounds} rounds in {time.monotonic() - started:.0f} s")

    policies = trainings[: len(options.policy)]
    by_users = sorted([trainings[0], *trainings[len(options.policy) :]], key=lambda series: series.users)
    config = planned[0][1].config
    settings = {
        **asdict(recipe), "preset": options.preset, "data": data.name,
        **{name: getattr(config, name) for name in ("batch_size", "word_bits", "weight_bits")},
    }  # fmt: skip
    save_rounds(options.out, trainings, settings)
    write_atomically(options.out / "loss.png", draw_trainings(policies, by_users))
    console.print(_table(trainings))
    print(LEGEND.format(rounds=RECENT_ROUNDS))
    if len(policies) > 1:
        apart = max(float(np.abs(one.losses - policies[0].losses).max()) for one in policies[1:])
        console.print(f"largest difference of a user's loss between policies, over all rounds: {apart:g} nat")
    console.print(f"rounds.csv, rounds.json and loss.png: {options.out}", soft_wrap=True)
    return 0


def _plan(policies: Sequence[str], users: Sequence[int], preset: str, seed: int) -> list[tuple[str, Frames]]:
    """All policies at the first number of users, then the first policy at the other numbers.

    Raises:
        ValueError: invalid, repeated or no policies or numbers of users.
    """
    from edge_envs.dtirs.split_training.simulated_delay import Frames, choose_policy, make_env

    for option, given in (("policy", policies), ("users", users)):
        if not given:
            raise ValueError(f"--{option} is given without a value; give at least one")
        for entry in given:
            if list(given).count(entry) > 1:
                raise ValueError(f"--{option} names {entry} twice; give it once")
    pairs = [*((policy, users[0]) for policy in policies), *((policies[0], count) for count in users[1:])]
    planned = []
    for policy, count in pairs:
        env = make_env(count, preset)
        planned.append((policy, Frames(env, choose_policy(policy, env, seed), seed)))
    return planned


def _train(data: Data, planned: Sequence[tuple[str, Frames]], recipe: Recipe) -> list[Series]:
    from tqdm import tqdm

    from edge_envs.dtirs.split_training.experiment import train

    trainings = []
    with tqdm(total=recipe.rounds * len(planned), unit="round", dynamic_ncols=True, disable=None) as bar:
        for policy, frames in planned:
            bar.set_description(f"{policy}, K = {frames.users}")
            trainings.append(train(data, frames, policy, recipe, bar.update))
    return trainings


def _table(trainings: Sequence[Series]) -> Any:
    from rich import box
    from rich.table import Table

    from edge_envs.dtirs.split_training.experiment import RECENT_ROUNDS

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    marks = [f"to {mark:g}" for mark in LOSS_MARKS]
    for name in ("policy", "K", "cut", "s", *marks, "loss", "test", "Mbit", "weights"):
        table.add_column(name, justify="left" if name == "policy" else "right", no_wrap=True)
    for series in trainings:
        features, weights = series.bits[:, :2].sum(axis=1).mean(), series.bits[:, 2:].sum(axis=1).mean()
        table.add_row(
            series.policy, str(series.users), f"{np.mean([frame.cuts for frame in series.frames]):.1f}",
            f"{series.elapsed_s[-1] / len(series.frames):.2f}", *(_reached(series, mark) for mark in LOSS_MARKS),
            f"{series.mean_loss[-RECENT_ROUNDS:].mean():.2g}", f"{series.accuracy[-1]:.0%}",
            f"{features / MEGABIT:.2f}", f"{weights / MEGABIT:.2f}",
        )  # fmt: skip
    return table


def _reached(series: Series, mark: float) -> str:
    """Simulated time at which the running mean of the loss is at most `mark` for the first time [s]; "-" if never."""
    from edge_envs.dtirs.split_training.experiment import running_mean

    below = np.flatnonzero(running_mean(series.mean_loss) <= mark)
    return f"{series.elapsed_s[below[0]]:.0f}" if len(below) else "-"


if __name__ == "__main__":
    raise SystemExit(main())
