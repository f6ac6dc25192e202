"""An image of the episode so far, equal for all environments (needs matplotlib, extra `train`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.system import Outcome, System

SIZE_INCHES, DOTS_PER_INCH = (9.6, 5.4), 100
INK, GRID = "#30343f", "#d9dce3"
MEMBERS_MAX = 10
"""Largest number of members drawn as single lines; for more, the mean and quantiles are drawn."""


def draw_episode(system: System[Any], history: Sequence[Outcome]) -> NDArray[np.uint8]:
    """Draw the cost of each member and the headline metrics over the steps of an episode.

    Args:
        system: the system, whose `headline` metrics are drawn.
        history: outcomes of the steps of one world, oldest first; may be empty.

    Returns:
        RGB image of shape (540, 960, 3).

    Raises:
        ImportError: matplotlib is not installed; the message names the extra.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("rendering needs matplotlib: pip install 'edge-envs[train]'") from error
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1 + len(system.headline), 1, sharex=True, squeeze=False)[:, 0]
    steps = np.arange(1, len(history) + 1)
    cost = np.array([-outcome.member_reward[0] for outcome in history]).reshape(len(history), system.members)
    _draw_members(panels[0], steps, cost)
    names = [metric.name for metric in system.metrics]
    for panel, name in zip(panels[1:], system.headline, strict=True):
        metric = system.metrics[names.index(name)]
        values = np.array([outcome.metrics[0, names.index(name)] for outcome in history])
        panel.plot(steps, values, color="#0072b2", linewidth=1.4)
        panel.set_ylabel(f"{name}\n[{metric.unit}]")
    for panel in panels:
        panel.grid(color=GRID, linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
        panel.yaxis.label.set_color(INK)
        panel.set_xlim(0, max(50, len(history)))
    panels[-1].set_xlabel("step")
    total = sum(float(outcome.reward[0]) for outcome in history)
    figure.suptitle(f"{type(system).__name__}   step {len(history)}   return {total:.1f}", color=INK, fontsize=11)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()


def _draw_members(panel: Any, steps: NDArray[np.int64], cost: NDArray[np.float64]) -> None:
    if cost.shape[1] <= MEMBERS_MAX:
        for m in range(cost.shape[1]):
            panel.plot(steps, cost[:, m], linewidth=1.0, label=f"member {m + 1}")
        if len(steps):
            panel.legend(loc="upper left", ncols=5, fontsize=8, frameon=False)
    else:
        panel.plot(steps, cost.mean(axis=1), color="#d55e00", linewidth=1.4)
        low, high = np.quantile(cost, (0.1, 0.9), axis=1) if len(steps) else (steps, steps)
        panel.fill_between(steps, low, high, color="#d55e00", alpha=0.2, linewidth=0)
    panel.set_ylabel("cost of a\nmember [-]")
