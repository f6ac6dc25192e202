"""Figure of split trainings: the loss over rounds and over simulated time. Needs matplotlib and Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edge_envs.core.io.figures import COLOURS, INK, STYLE, as_png, style_axes
from edge_envs.dtirs.split_training.experiment import RECENT_ROUNDS, Series, running_mean

THICKEST, THINNER = 6.0, 1.5
"""Line widths where curves coincide: the first is the thickest, and each next one is thinner by this [points]."""


def draw_trainings(policies: Sequence[Series], users: Sequence[Series]) -> bytes:
    """Draw a row that compares policies at one number of users, and a row that compares numbers of users.

    The second row is left out if `users` has only one training. Returns the content of the PNG file.
    """
    rows = [(policies, [series.policy for series in policies], f"K = {policies[0].users}")]
    if len(users) > 1:
        rows.append((users, [f"K = {series.users}" for series in users], users[0].policy))
    figure = Figure(figsize=(10.0, 3.3 * len(rows)), **STYLE)
    grid: Any = figure.subplots(len(rows), 2, squeeze=False)
    for number, (panels, (shown, names, title)) in enumerate(zip(grid, rows, strict=True)):
        _draw_row(panels, shown, names, title, coincide=number == 0)
    return as_png(figure)


def _draw_row(panels: Any, shown: Sequence[Series], names: Sequence[str], title: str, coincide: bool) -> None:
    by_round, by_time = panels
    for i, (series, name) in enumerate(zip(shown, names, strict=True)):
        colour = COLOURS[i % len(COLOURS)]
        rounds = np.arange(1, len(series.frames) + 1)
        width = max(1.2, THICKEST - THINNER * i) if coincide and len(shown) > 1 else 1.6
        _draw_loss(by_round, rounds, series.mean_loss, colour, width, name, faint=i == 0 or not coincide)
        _draw_loss(by_time, series.elapsed_s, series.mean_loss, colour, 1.6, name, faint=True)
    by_round.set_xlabel("round")
    by_time.set_xlabel("simulated delay, summed over the users [s]")
    for panel in panels:
        panel.set_yscale("log")
        panel.set_ylabel("training loss (17) [nat]")
        panel.set_title(title, fontsize=10, color=INK)
        panel.set_xlim(left=0)
        style_axes(panel)
        panel.legend(fontsize=8, frameon=False, title=f"mean of {RECENT_ROUNDS} rounds", title_fontsize=8)


def _draw_loss(
    panel: Any, x: NDArray[Any], loss: NDArray[np.float64], colour: str, width: float, name: str, faint: bool
) -> None:
    if faint:
        panel.plot(x, loss, color=colour, linewidth=0.5, alpha=0.3)
    panel.plot(x, running_mean(loss), color=colour, linewidth=width, label=name)
