"""ECCNOMA-v0: the paper's comparison on preset `paper`, figure by figure, together with the claims of its text.

`python -m experiments.eccnoma_paper` writes docs/results/eccnoma_paper.json, .md and .png.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.runs.provenance import stamp
from experiments.ablations.eccnoma import (
    CROWDS,
    DEVICE,
    DNN,
    LABELS,
    LI_GD,
    NETWORKS,
    NEURO,
    NOMA,
    OMA,
    POLICIES,
    RANDOM,
    SUBCHANNELS,
    SWEPT,
    TDMA,
    Outcome,
    Point,
    crowd_options,
    over_tail,
    own_speed_up,
    play,
    play_all,
    saving,
    speed_up,
    subchannel_options,
)
from experiments.claims.eccnoma import all_claims
from experiments.shared.common import caption, command, publish, save_figure, spread_text, table
from experiments.shared.verdicts import RULES, Claim, Estimate, as_document, claims_table, spread

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TAIL_LIMITS_S = (1.0, 10.0, 100.0)


@dataclass(frozen=True)
class Arguments:
    """Play every policy on the same frames, and tabulate."""

    seeds: int = 60
    """Number of evaluation seeds, each with new users."""
    li_gd_seeds: int = 10
    """Number of seeds for Algorithm 1 with more than 50 users, where a frame takes about a second."""
    frames: int = 2
    """Frames per seed."""
    tail_seeds: int = 400
    """Seeds for the latency tails of policies with random slices."""
    out: Path = Path("docs/results")
    """Folder for the tables and the figure."""


def rules(arguments: Arguments) -> str:
    """Return the rules of the verdicts, with the comparisons that are not paired."""
    return (
        f"{RULES} Comparisons with Algorithm 1 at more than 50 users in total are an exception: it runs on "
        f"{arguments.li_gd_seeds} of the {arguments.seeds} seeds there, so their quantities are not paired."
    )


def network_table(
    played: Mapping[str, Point], policies: Sequence[str] = POLICIES, base: str = DEVICE, own: str = " [own ratios]"
) -> list[str]:
    """Return T and E to a base policy, and if `own` names it the mean of the users' own ratios."""

    def cell(point: Point, name: str) -> str:
        both = ", ".join(spread_text(spread(measure(point, name, base)), 2) for measure in (speed_up, saving))
        return both + (f" [{own_speed_up(point, name, base)[0]:.2f}]" if own else "")

    body = [[LABELS[name], *(cell(point, name) for point in played.values())] for name in policies]
    return table(["policy", *(f"{label}: T, E{own}" for label in played)], body)


def sweep_table(points: Sequence[Point], first: str, values: Sequence[int]) -> list[str]:
    """Return T and, in brackets, E to Device-Only along a sweep."""
    body = [
        [str(value)]
        + [f"{spread_text(spread(speed_up(point, name)), 2)} ({saving(point, name)[0]:.2f})" for name in SWEPT]
        for value, point in zip(values, points, strict=True)
    ]
    return table([first, *(LABELS[name] for name in SWEPT)], body)


def tail_table(base: Outcome, tails: Mapping[str, Outcome], counts: Sequence[int]) -> list[str]:
    """Return T of policies with random slices by the number of seeds, and the tails of their latencies."""
    heads = [
        "policy", *(f"T, {count} seeds" for count in counts), "own ratios",
        *(f"t P(latency > t) [s] at t = {limit:g} s" for limit in TAIL_LIMITS_S),
    ]  # fmt: skip
    body = []
    for name, outcome in tails.items():
        cells = [f"{base.delay[0] / outcome.delay_s[:count].mean():.2f}" for count in counts]
        cells.append(f"{own_speed_up({DEVICE: base, name: outcome}, name)[0]:.2f}")
        cells += [f"{value:.4f}" for value in over_tail(outcome.delay_s, TAIL_LIMITS_S)]
        body.append([LABELS[name], *cells])
    return table(heads, body)


def draw(played: Mapping[str, Point], crowd: Sequence[Point], channels: Sequence[Point]) -> Figure:
    """Draw Figs. 2, 3, 6, 7, 9 and 10."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 13), dpi=90, layout="constrained")
    panels = figure.subplots(3, 2)
    colours = {name: f"C{number}" for number, name in enumerate(POLICIES)}
    for panel, measure, title in (
        (panels[0, 0], speed_up, "Fig. 2: latency speed-up T to Device-Only"),
        (panels[0, 1], saving, "Fig. 3: energy reduction E to Device-Only"),
    ):
        width = 0.8 / len(POLICIES)
        for i, name in enumerate(POLICIES):
            spreads = [spread(measure(point, name)) for point in played.values()]
            panel.bar(
                np.arange(len(played)) + (i - len(POLICIES) / 2) * width, [each.mean for each in spreads], width,
                yerr=np.array([[each.mean - each.low, each.high - each.mean] for each in spreads]).T,
                color=colours[name], label=LABELS[name], capsize=2,
            )  # fmt: skip
        panel.set_xticks(np.arange(len(played)), list(played))
        panel.set_title(title)
    for row, measure, titles in ((1, speed_up, ("Fig. 6: T", "Fig. 7: T")), (2, saving, ("Fig. 9: E", "Fig. 10: E"))):
        for panel, points, values, title in (
            (panels[row, 0], crowd, CROWDS, f"{titles[0]} by users per AP (NiN)"),
            (panels[row, 1], channels, SUBCHANNELS, f"{titles[1]} by subchannels M (NiN, 10 users per AP, 1 MHz)"),
        ):
            draw_sweep(panel, measure, points, values, colours)
            panel.set(title=title, xlabel="users per AP" if points is crowd else "subchannels M")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def draw_sweep(
    panel: Any, measure: Callable[[Point, str], Estimate], points: Sequence[Point], values: Sequence[int],
    colours: Mapping[str, str],
) -> None:  # fmt: skip
    """Draw a measure of all policies along a sweep; DNN surgeon dashed, as it can lie on Neurosurgeon."""
    for name in SWEPT:
        spreads = [spread(measure(point, name)) for point in points]
        panel.errorbar(
            values, [each.mean for each in spreads],
            np.array([[each.mean - each.low, each.high - each.mean] for each in spreads]).T, marker="o", ms=3,
            capsize=2, color=colours[name], linestyle="--" if name == DNN else "-",
        )  # fmt: skip
    panel.axhline(1.0, color=colours[DEVICE], lw=0.8)


def point_document(point: Point) -> dict[str, Any]:
    """Return means by seed, and the ratios of the overall means, as a JSON-able dictionary."""
    return {
        name: {
            "T": speed_up(point, name)[0],
            "E": saving(point, name)[0],
            "own ratios": own_speed_up(point, name)[0],
            "delay_s": np.round(outcome.delay_s.mean(axis=(1, 2)), 7).tolist(),
            "energy_j": np.round(outcome.energy_j.mean(axis=(1, 2)), 7).tolist(),
        }
        for name, outcome in point.items()
    }


def progress(label: str, options: Mapping[str, Any], arguments: Arguments) -> Point:
    """Play every policy, and print the time."""
    begin = time.perf_counter()
    point = play_all(options, arguments.seeds, arguments.li_gd_seeds, arguments.frames)
    print(f"{label}: {time.perf_counter() - begin:.0f} s", flush=True)
    return point


def main(arguments: Arguments) -> None:
    """Run the experiment."""
    stamp()  # Cached before the long computation, during which the checkout can change.
    nin = {"networks": (NETWORKS["NiN"],)}
    played = {label: progress(label, {"networks": (network,)}, arguments) for label, network in NETWORKS.items()}
    crowd = [
        progress(f"{users} users per AP", nin | crowd_options(users), arguments) if users != 50 else played["NiN"]
        for users in CROWDS
    ]
    channels = [progress(f"M = {m}", nin | subchannel_options(m), arguments) for m in SUBCHANNELS]
    tails = {name: play(name, nin, arguments.tail_seeds, arguments.frames) for name in (DEVICE, *RANDOM)}
    base = tails.pop(DEVICE)
    counts = [count for count in (10, 60, arguments.tail_seeds) if count <= arguments.tail_seeds]
    claims = all_claims(played, crowd, channels)
    text = page(arguments, played, crowd, channels, tail_table(base, tails, counts), claims)
    document = {
        "seeds": arguments.seeds,
        "li_gd_seeds": arguments.li_gd_seeds,
        "frames": arguments.frames,
        "networks": {label: point_document(point) for label, point in played.items()},
        "users per AP": {str(users): point_document(point) for users, point in zip(CROWDS, crowd, strict=True)},
        "subchannels": {str(m): point_document(point) for m, point in zip(SUBCHANNELS, channels, strict=True)},
        "tails": tail_document(base, tails, counts),
        "claims": as_document(claims),
    }
    publish(arguments.out, "eccnoma_paper", text, document)
    save_figure(arguments.out, "eccnoma_paper", draw(played, crowd, channels))


def page(
    arguments: Arguments, played: Mapping[str, Point], crowd: Sequence[Point], channels: Sequence[Point],
    tails: Sequence[str], claims: Sequence[Claim],
) -> list[str]:  # fmt: skip
    """Return the lines of the page."""
    units = (
        f"{arguments.seeds} seeds (Algorithm 1 with more than 50 users: the first {arguments.li_gd_seeds}) of "
        f"{arguments.frames} frames each, common to all policies"
    )
    below, judged = caption(units), caption(units, spread=False)
    return [
        *introduction(arguments), "",
        "## Claims", "", rules(arguments), "", *claims_table(claims), judged, "",
        "![Figs. 2, 3, 6, 7, 9 and 10](eccnoma_paper.png)", "",
        "## Figs. 2 and 3: to Device-Only", "", *network_table(played), "", below, "",
        "## Figs. 4 and 5: to Neurosurgeon", "",
        *network_table(played, (DNN, TDMA, OMA, LI_GD, NOMA), NEURO, ""), "", below, "",
        "## Figs. 6 and 9: users per AP (NiN), T (E)", "", *sweep_table(crowd, "users", CROWDS), "", below, "",
        "## Figs. 7 and 10: subchannels (NiN, 10 users per AP, 1 MHz, no cap), T (E)", "",
        *sweep_table(channels, "M", SUBCHANNELS), "", below, "",
        "Figs. 8 and 11 (workload K per user, relative to Device-Only at K = 500) contain no information without "
        "queues: all delays and energies are proportional to K, so every curve is its value at 500 times 500 / K.", "",
        "## Latencies without a finite mean (NiN, 50 users per AP)", "", *tails, "",
        caption(f"numbers of seeds that the columns name (own ratios and tails: {arguments.tail_seeds}), each with "
                f"{arguments.frames} frames", spread=False),
    ]  # fmt: skip


def tail_document(base: Outcome, tails: Mapping[str, Outcome], counts: Sequence[int]) -> dict[str, Any]:
    """Return the numbers of `tail_table` as a JSON-able dictionary; T to Device-Only by number of seeds."""
    return {
        name: {
            "seeds": len(outcome.delay_s),
            "T": {str(count): base.delay[0] / outcome.delay_s[:count].mean() for count in counts},
            "t P(latency > t)": dict(
                zip(map(str, TAIL_LIMITS_S), over_tail(outcome.delay_s, TAIL_LIMITS_S), strict=True)
            ),
        }
        for name, outcome in tails.items()
    }


def introduction(arguments: Arguments) -> list[str]:
    """Return the page's first lines."""
    return [
        "# ECCNOMA-v0: the paper's comparison",
        "",
        "Made by `python -m experiments.eccnoma_paper` with preset `paper` (5 APs, 50 users each, 30 subchannels). "
        f"All policies run on the same {arguments.seeds} seeds x {arguments.frames} frames. Algorithm 1 is slow with "
        f"more than 50 users in total, so it only runs on the first {arguments.li_gd_seeds} seeds there; comparisons "
        "with it are then unpaired. The paper does not state bandwidths, speeds, energies and weights. The speed and "
        "the energy of the server, the weights and the pool of DNN surgeon were fitted to its figures, so agreement "
        "of levels confirms little; orders and trends follow from the model.",
        "",
        "**Policies.** Edge-Only, Neurosurgeon and DNN surgeon use random slices of the band at full power; each "
        "user of DNN surgeon has an equal part of a pool of server units. ECC-FDMA and ECC-TDMA are two "
        "interpretations of the paper's ECC-OMA. There are two versions of ECC-NOMA: Algorithm 1 as in the paper "
        "(one cut for all users, Li-GD), and a version with one cut per user and our local search for the "
        "subchannels. Neither has a certificate of optimality.",
        "",
        "**Measures.** The paper does not define its ratios. T is the mean latency of Device-Only (or Neurosurgeon) "
        "divided by that of the policy, where both means are over all seeds, frames and users. E is the same ratio "
        "for energies. *Own ratios* is the mean over users of the ratio of each user's own two latencies; slow users "
        "hardly affect it.",
        "",
        "**T of Edge-Only, Neurosurgeon and DNN surgeon depends on the sample.** On a random slice at full power, "
        "the latency of a user in a deep Rayleigh fade is inversely proportional to its gain. The probability of a "
        "latency above t therefore falls as c / t ([measured "
        "below](#latencies-without-a-finite-mean-nin-50-users-per-ap)). The latency has no finite expectation, T "
        "falls slowly as the sample grows, and its interval is too narrow. The same holds for the energies of these "
        "policies. Where this matters, the claims are also judged by own ratios, which have a finite expectation.",
    ]  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(command(Arguments, __doc__, main))
