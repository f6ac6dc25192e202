"""Claims of Sec. VII of the SemCom paper, and ours about the joint optimum, judged on common draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from agents.evaluation.episodes import Table
from experiments.ablations.semcom import PAPERS_OWN, POLICIES, SWEEPS, TIE, excess, mean, missed
from experiments.shared.verdicts import Claim, Estimate, Part, counted, falling, judge, rising, some

Point = Mapping[str, Table]
Cases = dict[str, list[Part]]

FIXED = ("random", "average", "pb-only", "fh-rho-only")
"""The paper's four baselines."""
BOTH = ("alg3", "joint")
NAMES = {
    "alg3": "Algorithm 3", "joint": "joint", "fh-rho-only": "f, h, rho only", "pb-only": "p, B only",
    "pb-deadline": "p, B only with T", "average": "Average", "random": "Random",
}  # fmt: skip
METRICS = {"T": "delay_s", "E": "energy_j", "objective": "objective"}
NEAR, GAIN, LEVEL = 0.05, 0.01, 0.2
"""Largest excess near the optimum; smallest relevant gain; largest share of the last step in a fall that levels off."""


def series(points: Sequence[Point], policy: str, metric: str = "objective") -> list[Estimate]:
    """Return a metric of a policy along a sweep."""
    return [mean(point, policy, metric) for point in points]


def text(points: Sequence[Point], policy: str, metric: str = "objective") -> str:
    """Return the numbers of a series."""
    return ", ".join(f"{value[0]:.3g}" for value in series(points, policy, metric))


def lowest(point: Point, metric: str) -> list[Part]:
    """Return the parts of a claim that Algorithm 3 is not above any of the paper's baselines; ties are allowed."""
    own = mean(point, "alg3", metric)
    return [Part(mean(point, other, metric) / own, 2.0 - TIE) for other in FIXED]


def by_value(figure: int, points: Sequence[Point], metric: str) -> Cases:
    """Return the parts of a claim that Algorithm 3 is lowest, by the value of a sweep."""
    return {f"{value:g}": lowest(point, metric) for value, point in zip(SWEEPS[figure - 3].values, points, strict=True)}


def joint_claims(compared: Sequence[Point]) -> list[Claim]:
    """Judge our claims about the joint optimum, on the points of Figs. 3-5."""
    cheaper = sum(
        int((point[policy]["objective"] * TIE < point["joint"]["objective"]).sum())
        for point in compared
        for policy in POLICIES
    )
    gaps = [float(np.max(point["joint"]["certificate"])) for point in compared]
    excesses = [excess(point) for point in compared]
    gains = [mean(point, "fh-rho-only") / mean(point, "alg3") - 1.0 for point in compared]
    return [
        counted("Ours: no policy costs less than joint in any draw of Figs. 3-5", cheaper,
                f"it did in {cheaper} draws; certificates: largest duality gap {max(gaps):.1e}"),
        judge("Ours: Algorithm 3 is within 5 % of the joint optimum at every point of Figs. 3-5",
              [Part(value, high=NEAR) for value in excesses],
              f"mean objective over joint's: {100 * min(v[0] for v in excesses):+.0f} to "
              f"{100 * max(v[0] for v in excesses):+.0f} %"),
        judge("Ours: Algorithm 3 gains more than 1 % over optimising f, h and rho only at every point of Figs. 3-5",
              [Part(value, GAIN) for value in gains],
              f"gains {100 * min(v[0] for v in gains):.2f} to {100 * max(v[0] for v in gains):.2f} %: it stalls after "
              "one pass"),
    ]  # fmt: skip


def bandwidth_claims(band: Sequence[Point]) -> list[Claim]:
    """Judge Fig. 3."""
    last = band[-1]
    return [
        judge("Fig. 3: T, E and objective of Algorithm 3 fall with bandwidth",
              {name: falling(series(band, "alg3", metric)) for name, metric in METRICS.items()},
              "; ".join(f"{name} {text(band, 'alg3', metric)}" for name, metric in METRICS.items())),
        *(judge(f"Fig. 3{panel}: {name} of Algorithm 3 is lowest of the paper's five, or equal, at every bandwidth "
                "[MHz]",
                by_value(3, band, metric),
                "; ".join(f"{NAMES[policy]} {text(band, policy, metric)}" for policy in (*PAPERS_OWN, "pb-deadline")),
                partly=False)
          for panel, (name, metric) in zip("abc", METRICS.items(), strict=True)),
        judge("Fig. 3a: p, B only is faster than f, h, rho only at the largest bandwidth",
              {NAMES[policy]: [Part(mean(last, "fh-rho-only", "delay_s") / mean(last, policy, "delay_s"), 1.0)]
               for policy in ("pb-only", "pb-deadline")},
              "T: " + "; ".join(f"{NAMES[policy]} {text(band, policy, 'delay_s')}"
                                for policy in ("pb-only", "pb-deadline", "fh-rho-only"))),
    ]  # fmt: skip


def power_claims(power: Sequence[Point]) -> list[Claim]:
    """Judge Fig. 4."""
    faster = {
        NAMES[policy]: [Part(mean(point, "alg3", "delay_s") / mean(point, policy, "delay_s"), 1.0) for point in power]
        for policy in ("pb-only", "pb-deadline")
    }
    sometimes = {name: some(parts) for name, parts in faster.items()}
    return [
        judge("Fig. 4a: T of all five falls with power",
              {NAMES[policy]: falling(series(power, policy, "delay_s")) for policy in PAPERS_OWN},
              "; ".join(f"{NAMES[policy]} {text(power, policy, 'delay_s')}" for policy in PAPERS_OWN)),
        Claim("Fig. 4a: p, B only is sometimes faster than Algorithm 3", sometimes[NAMES["pb-deadline"]],
              f"judged with T optimised, of which T is {text(power, 'pb-deadline', 'delay_s')}. With the Average's T: "
              f"{sometimes[NAMES['pb-only']]}, T {text(power, 'pb-only', 'delay_s')}"),
        judge("Fig. 4b: E of Algorithm 3 rises with power", rising(series(power, "alg3", "energy_j")),
              text(power, "alg3", "energy_j")),
        judge("Fig. 4c: the objective of Algorithm 3 is lowest of the paper's five, or equal, at every power [dBm]",
              by_value(4, power, "objective"),
              "; ".join(f"{NAMES[policy]} {text(power, policy)}" for policy in PAPERS_OWN), partly=False),
    ]  # fmt: skip


def clock_claims(clock: Sequence[Point]) -> list[Claim]:
    """Judge Fig. 5."""
    delay = series(clock, "alg3", "delay_s")
    return [
        judge("Fig. 5a: T of Algorithm 3 falls with the device frequency and levels off (last step below 20 % of it)",
              [*falling(delay), Part((delay[-2] - delay[-1]) / (delay[0] - delay[-1]), high=LEVEL)],
              f"T {text(clock, 'alg3', 'delay_s')}"),
        judge("Fig. 5b: E of Algorithm 3 rises with the device frequency", rising(series(clock, "alg3", "energy_j")),
              f"E {text(clock, 'alg3', 'energy_j')}"),
        judge("Fig. 5c: the objective of Algorithm 3 is lowest of the paper's five, or equal, at every frequency "
              "[GHz]",
              by_value(5, clock, "objective"),
              "; ".join(f"{NAMES[policy]} {text(clock, policy)}" for policy in PAPERS_OWN), partly=False),
    ]  # fmt: skip


def weight_claims(weight: Sequence[Point], crowd: Sequence[Point]) -> list[Claim]:
    """Judge Figs. 6 and 7, which show Algorithm 3 alone, for Algorithm 3 and joint."""
    found = []
    for policy in BOTH:
        name = NAMES[policy]
        found += [
            judge(f"Fig. 6: T falls and E rises with the weight of time ({name})",
                  {"T": falling(series(weight, policy, "delay_s")), "E": rising(series(weight, policy, "energy_j"))},
                  f"T {text(weight, policy, 'delay_s')}; E {text(weight, policy, 'energy_j')}"),
            judge(f"Figs. 6, 7: the devices use more energy than the base station ({name})",
                  [Part(mean(point, policy, "energy_device_j") / mean(point, policy, "energy_server_j"), 1.0)
                   for point in (*weight, *crowd)],
                  f"device E {text((*weight, *crowd), policy, 'energy_device_j')}; server E "
                  f"{text((*weight, *crowd), policy, 'energy_server_j')}"),
            judge(f"Fig. 7: T and E rise with the number of devices ({name})",
                  {"T": rising(series(crowd, policy, "delay_s")), "E": rising(series(crowd, policy, "energy_j"))},
                  f"T {text(crowd, policy, 'delay_s')}; E {text(crowd, policy, 'energy_j')}"),
        ]  # fmt: skip
    return found


def quality_claims(quality: Sequence[Point]) -> list[Claim]:
    """Judge Fig. 8, below and above 27 dB: requirements below are met at the smallest compression rate."""
    values = SWEEPS[5].values
    turn = values.index(27.0)
    ranges = {f"{values[0]:g} to {values[turn]:g} dB": slice(0, turn + 1),
              f"{values[turn]:g} to {values[-1]:g} dB": slice(turn, None)}  # fmt: skip
    found = []
    for policy in BOTH:
        psnr = series(quality, policy, "psnr_mean_db")
        misses = ", ".join(f"{missed(point[policy])} of {len(point[policy]['objective'])}" for point in quality)
        found += [
            judge(f"Fig. 8a: mean PSNR rises with the requirement ({NAMES[policy]})",
                  {label: rising(psnr[part]) for label, part in ranges.items()},
                  ", ".join(f"{value[0]:.2f}" for value in psnr) + f" dB; the requirement is missed in {misses} draws"),
            judge(f"Fig. 8b: T and E rise with the requirement ({NAMES[policy]})",
                  {f"{name}, {label}": rising(series(quality, policy, METRICS[name])[part])
                   for name in ("T", "E") for label, part in ranges.items()},
                  f"T {text(quality, policy, 'delay_s')}; E {text(quality, policy, 'energy_j')}"),
        ]  # fmt: skip
    return found


def all_claims(results: Mapping[str, Sequence[Point]]) -> list[Claim]:
    """Judge every claim, in the order of the figures, ours first."""
    band, power, clock, weight, crowd, quality = (results[sweep.figure] for sweep in SWEEPS)
    return [
        *joint_claims([*band, *power, *clock]), *bandwidth_claims(band), *power_claims(power), *clock_claims(clock),
        *weight_claims(weight, crowd), *quality_claims(quality),
    ]  # fmt: skip
