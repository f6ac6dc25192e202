"""ECCNOMA-v0: the paper's own comparison on preset `paper`, figure by figure, beside what its text claims.

`python -m experiments.eccnoma_paper` writes docs/results/eccnoma_paper.json, .md and .png.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from agents.entries import Entry, find_entry
from agents.score import EVALUATION_STREAM, Interval, interval, make_worlds, of_step, stream_seeds
from edge_envs.core.files import write_atomically
from edge_envs.core.policy import make_baseline
from experiments.common import command, publish, spread_text

ENV, PRESET = "ECCNOMA-v0", "paper"
NETWORKS = {"NiN": "nin@32", "YOLOv2": "tiny-yolov2-cifar@32", "VGG16": "vgg16-cifar@32"}
DEVICE, EDGE, NEURO, DNN = "device-only", "edge-only-oma", "neurosurgeon-oma", "dnn-surgeon-oma"
TDMA, OMA, LI_GD, NOMA = "ecc-tdma", "ecc-oma", "ecc-noma", "iterated-best-response"
SCHEMES = (DEVICE, EDGE, NEURO, DNN, TDMA, OMA, LI_GD, NOMA)
MEANING = {
    DEVICE: "Device-Only", EDGE: "Edge-Only (random slices, full power)", NEURO: "Neurosurgeon (the same radio)",
    DNN: "DNN surgeon (the same, equal parts of the pool)", TDMA: "ECC over TDMA", OMA: "ECC over FDMA",
    LI_GD: "ECC-NOMA as Algorithm 1: one cut for all, Li-GD", NOMA: "ECC-NOMA, a cut per user, local search",
}  # fmt: skip
CROWDS = (10, 30, 50, 70, 90)
SUBCHANNELS = (1, 2, 4, 6, 8, 10)
SWEPT = (EDGE, NEURO, DNN, TDMA, OMA, NOMA)


@dataclass(frozen=True)
class Arguments:
    """Play every scheme on the same frames, and tabulate."""

    seeds: int = 10
    """Evaluation seeds, each with users of its own."""
    frames: int = 2
    """Frames per seed."""
    out: Path = Path("docs/results")
    """Where the tables and the figure go."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Delays and energies of a scheme: means over the users and frames of each seed, and the mean of their ratios."""

    delay_s: NDArray[np.float64]  # (seeds,)
    energy_j: NDArray[np.float64]  # (seeds,)
    user_delay_s: NDArray[np.float64]  # (seeds, frames, U)


def play(name: str, options: Mapping[str, Any], arguments: Arguments) -> Outcome:
    """A scheme on the frames of all seeds, the same for all schemes."""
    given = {**options, "max_episode_steps": arguments.frames}
    entry: Entry = find_entry(name, ENV, PRESET, given)
    env = make_worlds(ENV, arguments.seeds, PRESET, entry.options(given))
    policy = make_baseline(entry.scheme.policy if entry.scheme else name, env, 0)
    seeds = [stream_seeds(EVALUATION_STREAM, seed, 1)[0] for seed in range(arguments.seeds)]
    observation, _ = env.reset(seed=seeds)
    delays, energies = [], []
    for _ in range(arguments.frames):
        actions, _ = policy.predict(observation)
        observation, _, terminated, truncated, info = env.step(actions)
        done = terminated | truncated
        delays.append(of_step(info, "member_delay_s", done))
        energies.append(of_step(info, "member_energy_j", done))
    user_delay_s = np.stack(delays, axis=1)
    return Outcome(user_delay_s.mean(axis=(1, 2)), np.stack(energies, axis=1).mean(axis=(1, 2)), user_delay_s)


def speed_up(base: Outcome, scheme: Outcome) -> Interval:
    """Ratio of the mean latencies, over seeds."""
    return interval(base.delay_s / scheme.delay_s)


def saving(base: Outcome, scheme: Outcome) -> Interval:
    """What the paper calls energy reduction: the base's energy over the scheme's, over seeds."""
    return interval(base.energy_j / scheme.energy_j)


def mean_ratio(base: Outcome, scheme: Outcome) -> Interval:
    """Mean over users of the ratio of their latencies, over seeds."""
    return interval((base.user_delay_s / scheme.user_delay_s).mean(axis=(1, 2)))


Points = Sequence[Mapping[str, Outcome]]


def networks_played(arguments: Arguments) -> dict[str, dict[str, Outcome]]:
    """Figs. 2-5: every scheme with each network alone."""
    return {
        label: {name: play(name, {"networks": (network,)}, arguments) for name in SCHEMES}
        for label, network in NETWORKS.items()
    }


def swept(arguments: Arguments, option_sets: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Points:
    """Schemes with NiN at every point of a sweep."""
    nin = {"networks": (NETWORKS["NiN"],)}
    return [{name: play(name, {**nin, **options}, arguments) for name in (DEVICE, *names)} for options in option_sets]


def crowd_options(users: int) -> dict[str, Any]:
    """So many users per AP; subchannels hold as many as they must."""
    return {"num_users": 5 * users, "capacity": max(3, -(-users // 30))}


def subchannel_options(subchannels: int) -> dict[str, Any]:
    """Fig. 7: so many subchannels for ten users per AP, and 1 MHz, which leaves room for a best number of them."""
    return {
        "num_users": 50, "num_subchannels": subchannels, "capacity": 10, "bandwidth_up_hz": 1e6,
        "bandwidth_down_hz": 1e6,
    }  # fmt: skip


def means(points: Points, name: str, base: str = DEVICE) -> list[float]:
    """Speed-ups along a sweep."""
    return [speed_up(point[base], point[name]).mean for point in points]


def network_table(played: Mapping[str, Mapping[str, Outcome]]) -> list[str]:
    """Speed-ups and energy ratios to Device-Only, Figs. 2 and 3, and the mean of the users' own ratios."""
    lines = [
        "| scheme | " + " | ".join(f"{label}: T, E [, mean ratio of T]" for label in played) + " |",
        "|---|" + "---|" * len(played),
    ]
    for name in SCHEMES:
        cells = []
        for schemes in played.values():
            base, scheme = schemes[DEVICE], schemes[name]
            cells.append(
                f"{spread_text(speed_up(base, scheme), 2)}, {spread_text(saving(base, scheme), 2)} "
                f"[{mean_ratio(base, scheme).mean:.2f}]"
            )
        lines.append(f"| {MEANING[name]} | {' | '.join(cells)} |")
    return [*lines, ""]


def neurosurgeon_table(played: Mapping[str, Mapping[str, Outcome]]) -> list[str]:
    """The same to Neurosurgeon, Figs. 4 and 5."""
    lines = ["| scheme | " + " | ".join(f"{label}: T, E" for label in played) + " |", "|---|" + "---|" * len(played)]
    for name in (DNN, TDMA, OMA, LI_GD, NOMA):
        cells = []
        for schemes in played.values():
            base, scheme = schemes[NEURO], schemes[name]
            cells.append(f"{spread_text(speed_up(base, scheme), 2)}, {spread_text(saving(base, scheme), 2)}")
        lines.append(f"| {MEANING[name]} | {' | '.join(cells)} |")
    return [*lines, ""]


def sweep_table(points: Points, first: str, values: Sequence[int], names: Sequence[str]) -> list[str]:
    """Speed-up and, in brackets, energy ratio to Device-Only along a sweep."""
    lines = [f"| {first} | " + " | ".join(MEANING[name] for name in names) + " |", "|---|" + "---|" * len(names)]
    for value, point in zip(values, points, strict=True):
        cells = [
            f"{spread_text(speed_up(point[DEVICE], point[name]), 2)} ({saving(point[DEVICE], point[name]).mean:.2f})"
            for name in names
        ]
        lines.append(f"| {value} | {' | '.join(cells)} |")
    return [*lines, ""]


def numbers(values: Sequence[float]) -> str:
    """Numbers with two digits after the point."""
    return ", ".join(f"{value:.2f}" for value in values)


def claims(played: Mapping[str, Mapping[str, Outcome]], crowd: Points, channels: Points) -> list[tuple[str, bool, str]]:
    """Each claim of Sec. VI, whether it holds here, and the numbers."""

    def each(name: str, base: str = DEVICE) -> list[float]:
        return [speed_up(schemes[base], schemes[name]).mean for schemes in played.values()]

    def energy(name: str, base: str = DEVICE) -> list[float]:
        return [saving(schemes[base], schemes[name]).mean for schemes in played.values()]

    oma, tdma, noma, literal, edge = each(OMA), each(TDMA), each(NOMA), each(LI_GD), each(EDGE)
    by_crowd, neuro_crowd = means(crowd, NOMA), means(crowd, NEURO)
    by_channel = means(channels, NOMA)
    neuro_channel = means(channels, NEURO)
    best = SUBCHANNELS[int(np.argmax(by_channel))]
    noma_energy = [saving(point[DEVICE], point[NOMA]).mean for point in channels]
    crowd_energy = [saving(point[DEVICE], point[NOMA]).mean for point in crowd]
    others = [means(channels, name) for name in (EDGE, NEURO, DNN)]
    crowd_oma = [saving(point[DEVICE], point[OMA]).mean for point in crowd]
    order = ", ".join(NETWORKS)
    rising = [name for name in SWEPT if np.any(np.diff(means(crowd, name)) >= 0)]
    return [
        ("Fig. 2: ECC (OMA) is 3.1 to 8 times faster than Device-Only", min(oma) >= 3.1 and max(oma) <= 8.0,
         f"{order}: FDMA {numbers(oma)}, TDMA {numbers(tdma)}; YOLOv2 at 32 x 32 pixels has too little work to gain"),
        ("Fig. 2: ECC is faster than Edge-Only", all(a > b for a, b in zip(oma, edge, strict=True)),
         f"Edge-Only {numbers(edge)}"),
        ("Fig. 2: Edge-Only is faster than Device-Only", min(edge) > 1.0, numbers(edge)),
        ("Fig. 2: NOMA is faster than OMA", all(a > b for a, b in zip(noma, oma, strict=True)),
         f"NOMA {numbers(noma)}, as Algorithm 1 {numbers(literal)}"),
        ("Fig. 2: NiN, NOMA over OMA 6.1 / 4.1 = 1.49 (here OMA as TDMA)", abs(noma[0] / tdma[0] - 1.49) < 0.15,
         f"over TDMA {noma[0] / tdma[0]:.2f}, over FDMA {noma[0] / oma[0]:.2f}"),
        ("Fig. 3: ECC's energy reduction is 0.85 to 0.97", all(0.85 <= x <= 0.97 for x in energy(OMA)),
         f"{numbers(energy(OMA))} (xi_e was fitted to this)"),
        ("Fig. 3: Edge-Only needs more energy than Device-Only", max(energy(EDGE)) < 1.0, numbers(energy(EDGE))),
        ("Fig. 3: NOMA needs more energy than OMA", all(
            a < 0.99 * b for a, b in zip(energy(NOMA), energy(OMA), strict=True)),
         f"NOMA {numbers(energy(NOMA))}, OMA {numbers(energy(OMA))}"),
        ("Fig. 4: ECC (OMA) is a little slower than Neurosurgeon", all(0.7 < x < 1.0 for x in each(OMA, NEURO)),
         f"{numbers(each(OMA, NEURO))}, TDMA {numbers(each(TDMA, NEURO))}: ECC optimises the radio"),
        ("Fig. 4: DNN surgeon is a little slower than Neurosurgeon", all(0.7 < x < 1.0 for x in each(DNN, NEURO)),
         numbers(each(DNN, NEURO))),
        ("Fig. 4: ECC-NOMA is much faster than Neurosurgeon", min(each(NOMA, NEURO)) > 1.2, numbers(each(NOMA, NEURO))),
        ("Fig. 5: ECC's energy reduction to Neurosurgeon is 1.5 to 1.7", all(
            1.5 <= x <= 1.7 for x in energy(OMA, NEURO)), f"{order}: {numbers(energy(OMA, NEURO))}"),
        ("Fig. 5: DNN surgeon's is 1.3 to 1.49", all(1.3 <= x <= 1.49 for x in energy(DNN, NEURO)),
         f"{numbers(energy(DNN, NEURO))} (its 240 units per AP were fitted to this)"),
        ("Fig. 5: ECC-NOMA's is between ECC's and DNN surgeon's", all(
            low < x < high for low, x, high in zip(
                energy(DNN, NEURO), energy(NOMA, NEURO), energy(OMA, NEURO), strict=True)),
         f"ECC-NOMA {numbers(energy(NOMA, NEURO))}"),
        ("Fig. 6: all but Device-Only slow down with more users", not rising,
         f"NOMA {numbers(by_crowd)}" + "".join(f"; {name} {numbers(means(crowd, name))}" for name in rising)
         ),
        ("Fig. 6: 10 users per AP: NOMA 7.1, Neurosurgeon 6.3",
         abs(by_crowd[0] - 7.1) < 0.7 and abs(neuro_crowd[0] - 6.3) < 0.7,
         f"{by_crowd[0]:.2f}, {neuro_crowd[0]:.2f}"),
        ("Fig. 6: 90 users per AP: NOMA 3.85, Neurosurgeon 1.9",
         abs(by_crowd[-1] - 3.85) < 0.4 and abs(neuro_crowd[-1] - 1.9) < 0.4,
         f"{by_crowd[-1]:.2f}, {neuro_crowd[-1]:.2f}"),
        ("Fig. 7: NOMA is best at M = 4 and falls after M = 6", best in (4, 6) and by_channel[-1] < max(by_channel),
         f"M = {', '.join(map(str, SUBCHANNELS))}: {numbers(by_channel)}"),
        ("Fig. 7: with M other than 4 Neurosurgeon is fastest", all(
            b > a for m, a, b in zip(SUBCHANNELS, by_channel, neuro_channel, strict=True) if m != 4),
         f"Neurosurgeon {numbers(neuro_channel)}; it contradicts Fig. 6 in the paper, too"),
        ("Fig. 7: Edge-Only, Neurosurgeon and DNN surgeon do not depend on M", all(
            np.ptp(x) < 0.2 * np.mean(x) for x in others),
         f"largest over smallest {numbers([float(np.max(x) / np.min(x)) for x in others])}"
         ": slices are as many as users, but random ones"),
        ("Fig. 9: of those that offload ECC-NOMA saves most energy", all(
            saving(point[DEVICE], point[NOMA]).mean >= max(saving(point[DEVICE], point[n]).mean for n in SWEPT) - 1e-9
            for point in crowd), f"NOMA {numbers(crowd_energy)}, FDMA {numbers(crowd_oma)}"),
        ("Fig. 10: NOMA's energy falls slightly with M", noma_energy[-1] > noma_energy[0],
         f"reduction {numbers(noma_energy)}"),
        ("Fig. 10: Device-Only needs least energy", max(
            saving(point[DEVICE], point[name]).mean for point in channels for name in SWEPT) < 1.0,
         f"largest reduction of another {max(saving(p[DEVICE], p[n]).mean for p in channels for n in SWEPT):.2f}"),
    ]  # fmt: skip


def draw(played: Mapping[str, Mapping[str, Outcome]], crowd: Points, channels: Points) -> bytes:
    """Figs. 2, 3, 6 and 7 as one picture, PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 8), layout="constrained")
    axes = figure.subplots(2, 2)
    for axis, ratio, title in (
        (axes[0, 0], speed_up, "Fig. 2: latency speed-up to Device-Only"),
        (axes[0, 1], saving, "Fig. 3: energy reduction to Device-Only"),
    ):
        width = 0.8 / len(SCHEMES)
        for i, name in enumerate(SCHEMES):
            ratios = [ratio(schemes[DEVICE], schemes[name]) for schemes in played.values()]
            places = np.arange(len(played)) + (i - len(SCHEMES) / 2) * width
            axis.bar(
                places, [v.mean for v in ratios], width, yerr=[v.half_width for v in ratios], label=name, capsize=2
            )  # fmt: skip
        axis.set_xticks(np.arange(len(played)), list(played))
        axis.set_title(title)
    axes[0, 0].legend(fontsize=7)
    for axis, points, values, title in (
        (axes[1, 0], crowd, CROWDS, "Fig. 6: speed-up by users per AP (NiN)"),
        (axes[1, 1], channels, SUBCHANNELS, "Fig. 7: speed-up by subchannels (NiN, 10 users per AP, 1 MHz)"),
    ):
        for name in SWEPT:
            spreads = [speed_up(point[DEVICE], point[name]) for point in points]
            axis.errorbar(
                values, [v.mean for v in spreads], [v.half_width for v in spreads], marker="o", ms=3, capsize=2,
                label=name,
            )  # fmt: skip
        axis.axhline(1.0, color="grey", lw=0.8)
        axis.set_title(title)
        axis.legend(fontsize=7)
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=110)
    return memory.getvalue()


def as_document(points: Mapping[str, Mapping[str, Outcome]]) -> dict[str, Any]:
    """Delays and energies by seed as JSON takes them."""
    return {
        label: {
            name: {"delay_s": outcome.delay_s.tolist(), "energy_j": outcome.energy_j.tolist()}
            for name, outcome in schemes.items()
        }
        for label, schemes in points.items()
    }


def main(arguments: Arguments) -> None:
    """Run the experiment."""
    played = networks_played(arguments)
    crowd = swept(arguments, [crowd_options(users) for users in CROWDS], SWEPT)
    channels = swept(arguments, [subchannel_options(m) for m in SUBCHANNELS], SWEPT)
    found = claims(played, crowd, channels)
    text = [
        "# ECCNOMA-v0: the paper's comparison",
        "",
        f"Made by `python -m experiments.eccnoma_paper`: preset `paper` (5 APs, 50 users each, 30 subchannels), "
        f"{arguments.seeds} seeds x {arguments.frames} frames, common to all schemes; ± is half of the 95 % confidence "
        "interval over seeds. The paper leaves bandwidths, speeds, energies and weights open. The server's speed and "
        "energy, the weights and DNN surgeon's pool were fitted to its figures, so levels confirm little; orders and "
        "trends are the model's own.",
        "",
        "## Figs. 2 and 3: to Device-Only",
        "",
        "T is the ratio of mean latencies, E that of mean energies; in brackets the mean of the users' own ratios of "
        "latencies, which hides slow users.",
        "",
        *network_table(played),
        "## Figs. 4 and 5: to Neurosurgeon",
        "",
        *neurosurgeon_table(played),
        "## Figs. 6 and 9: users per AP (NiN), speed-up (energy reduction)",
        "",
        *sweep_table(crowd, "users", CROWDS, SWEPT),
        "## Figs. 7 and 10: subchannels (NiN, 10 users per AP, 1 MHz, no cap)",
        "",
        *sweep_table(channels, "M", SUBCHANNELS, SWEPT),
        "Figs. 8 and 11 (workload K per user, relative to Device-Only at K = 500) hold no information without queues: "
        "all delays and energies are proportional to K, so every curve is its value at 500 times 500 / K.",
        "",
        "![Figs. 2, 3, 6, 7](eccnoma_paper.png)",
        "",
        "## Claims",
        "",
        "| claim | holds | here |",
        "|---|---|---|",
        *(f"| {claim} | {'yes' if holds else 'no'} | {told} |" for claim, holds, told in found),
    ]
    document = {
        "networks": as_document(played),
        "users per AP": as_document(dict(zip(map(str, CROWDS), crowd, strict=True))),
        "subchannels": as_document(dict(zip(map(str, SUBCHANNELS), channels, strict=True))),
        "claims": [{"claim": claim, "holds": bool(holds), "here": told} for claim, holds, told in found],
    }
    publish(arguments.out, "eccnoma_paper", text, document, "experiments.eccnoma_paper")
    write_atomically(arguments.out / "eccnoma_paper.png", draw(played, crowd, channels))
    Console().print("\n".join(text), markup=False, soft_wrap=True)


if __name__ == "__main__":
    raise SystemExit(command(Arguments, __doc__, main))
