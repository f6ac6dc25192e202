"""Claims of the ECCNOMA paper about its Figs. 2-10, judged on played frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from experiments.ablations.eccnoma import (
    CROWDS,
    DEVICE,
    DNN,
    EDGE,
    LABELS,
    LI_GD,
    NETWORKS,
    NEURO,
    NOMA,
    OMA,
    PROPOSED,
    RANDOM,
    SUBCHANNELS,
    TDMA,
    Point,
    own_speed_up,
    saving,
    speed_up,
)
from experiments.shared.verdicts import Claim, Estimate, Part, falling, flat, judge, rising

CLOSE = 0.1
"""Relative distance within which a quoted level is met."""
FLAT = 0.2
"""Largest change that counts as "not affected", relative to the mean over the sweep."""
OFFLOADING = (EDGE, NEURO, DNN)
"""The policies of Figs. 6-10 other than ECC-NOMA and Device-Only."""

Measure = Callable[[Point, str], Estimate]
Networks = Mapping[str, Point]
Cases = dict[str, list[Part]]


def numbers(values: Sequence[Estimate], digits: int = 2) -> str:
    """Format estimates with `digits` decimals."""
    return ", ".join(f"{value[0]:.{digits}f}" for value in values)


def near(value: Estimate, quoted: float) -> Part:
    """Return the part of a claim that a level is the one that the paper quotes."""
    return Part(value, (1.0 - CLOSE) * quoted, (1.0 + CLOSE) * quoted)


def named(measure: Measure, points: Sequence[Point], names: Sequence[str], digits: int = 2) -> str:
    """Return each policy's name and values along a sweep."""
    return "; ".join(f"{LABELS[name]} {numbers([measure(point, name) for point in points], digits)}" for name in names)


def by_network(played: Networks, part: Callable[[Point], list[Part]]) -> Cases:
    """Return the parts of a claim about each network."""
    return {label: part(point) for label, point in played.items()}


def network_claims(played: Networks) -> list[Claim]:
    """Judge the claims of Figs. 2-5 about the policies other than ECC-NOMA."""
    points, order = list(played.values()), ", ".join(NETWORKS)

    def ratios(measure: Callable[..., Estimate], name: str, base: str = DEVICE) -> str:
        return numbers([measure(point, name, base) for point in points])

    return [
        judge("Fig. 2: ECC is 3.1 to 8 times faster than Device-Only",
              by_network(played, lambda x: [Part(speed_up(x, OMA), 3.1, 8.0)]),
              f"{order}: FDMA {ratios(speed_up, OMA)} (judged), TDMA {ratios(speed_up, TDMA)}; YOLOv2 at 32 x 32 "
              "pixels has too little work to gain"),
        judge("Fig. 2: ECC is faster than Edge-Only", by_network(played, lambda x: [Part(speed_up(x, OMA, EDGE), 1.0)]),
              f"by {ratios(speed_up, OMA, EDGE)}"),
        judge("Fig. 2: Edge-Only is faster than Device-Only: T",
              by_network(played, lambda x: [Part(speed_up(x, EDGE), 1.0)]),
              f"{ratios(speed_up, EDGE)}; its mean latency has no finite expectation"),
        judge("Fig. 2: Edge-Only is faster than Device-Only: mean of the users' own ratios",
              by_network(played, lambda x: [Part(own_speed_up(x, EDGE), 1.0)]), ratios(own_speed_up, EDGE)),
        judge("Fig. 3: ECC's energy reduction is 0.85 to 0.97",
              by_network(played, lambda x: [Part(saving(x, OMA), 0.85, 0.97)]),
              f"{ratios(saving, OMA)} (xi_e was fitted to this)"),
        judge("Fig. 3: ECC and Edge-Only need more energy than Device-Only",
              by_network(played, lambda x: [Part(saving(x, name), high=1.0) for name in (OMA, EDGE)]),
              f"reduction: FDMA {ratios(saving, OMA)}; Edge-Only {ratios(saving, EDGE)}"),
        judge("Fig. 4: ECC is a little slower than Neurosurgeon (T of 0.7 to 1)",
              by_network(played, lambda x: [Part(speed_up(x, OMA, NEURO), 0.7, 1.0)]),
              f"FDMA {ratios(speed_up, OMA, NEURO)} (judged), TDMA {ratios(speed_up, TDMA, NEURO)}: ECC optimises the "
              "radio"),
        judge("Fig. 4: DNN surgeon is a little slower than Neurosurgeon (T of 0.7 to 1)",
              by_network(played, lambda x: [Part(speed_up(x, DNN, NEURO), 0.7, 1.0)]), ratios(speed_up, DNN, NEURO)),
        judge("Fig. 5: ECC's energy reduction to Neurosurgeon is 1.5 to 1.7",
              by_network(played, lambda x: [Part(saving(x, OMA, NEURO), 1.5, 1.7)]), ratios(saving, OMA, NEURO)),
        judge("Fig. 5: DNN surgeon's is 1.3 to 1.49",
              by_network(played, lambda x: [Part(saving(x, DNN, NEURO), 1.3, 1.49)]),
              f"{ratios(saving, DNN, NEURO)} (its 240 units per AP were fitted to this)"),
    ]  # fmt: skip


def proposed_network_claims(played: Networks, name: str) -> list[Claim]:
    """Judge the claims of Figs. 2-5 about ECC-NOMA."""
    points, label = list(played.values()), LABELS[name]
    over_oma = {kind: speed_up(played["NiN"], name, base) for kind, base in (("over TDMA", TDMA), ("over FDMA", OMA))}

    def energy_over(base: str) -> str:
        return numbers([1.0 / saving(point, name, base) for point in points], 3)

    return [
        judge(f"Fig. 2: {label} is faster than ECC-OMA",
              by_network(played, lambda x: [Part(speed_up(x, name, OMA), 1.0)]),
              f"than FDMA by {numbers([speed_up(point, name, OMA) for point in points])}"),
        judge(f"Fig. 2: NiN, {label} over OMA is 6.1 / 4.1 = 1.49",
              {kind: [near(ratio, 6.1 / 4.1)] for kind, ratio in over_oma.items()},
              "; ".join(f"{kind} {ratio[0]:.2f}" for kind, ratio in over_oma.items())),
        judge(f"Fig. 3: {label} needs more energy than ECC-OMA",
              by_network(played, lambda x: [Part(saving(x, name, OMA), high=1.0)]),
              f"energy over that of FDMA {energy_over(OMA)}"),
        judge(f"Fig. 4: {label} is much faster than Neurosurgeon (T above 1.2)",
              by_network(played, lambda x: [Part(speed_up(x, name, NEURO), 1.2)]),
              numbers([speed_up(point, name, NEURO) for point in points])),
        judge(f"Fig. 5: the energy reduction of {label} is between ECC's and DNN surgeon's",
              by_network(played, lambda x: [Part(saving(x, name, DNN), 1.0), Part(saving(x, name, OMA), high=1.0)]),
              f"energy over that of FDMA {energy_over(OMA)}, over that of DNN surgeon {energy_over(DNN)}"),
    ]  # fmt: skip


def series(measure: Measure, points: Sequence[Point], name: str) -> list[Estimate]:
    """Return a measure of a policy along a sweep."""
    return [measure(point, name) for point in points]


def trends(measure: Measure, points: Sequence[Point], names: Sequence[str]) -> Cases:
    """Return the parts of a claim that a measure of each policy falls along a sweep."""
    return {LABELS[name]: falling(series(measure, points, name)) for name in names}


def levels(measure: Measure, points: Sequence[Point], names: Sequence[str]) -> Cases:
    """Return the parts of a claim that a measure of each policy does not change along a sweep."""
    return {LABELS[name]: flat(series(measure, points, name), FLAT) for name in names}


def crowd_claims(crowd: Sequence[Point]) -> list[Claim]:
    """Judge the claims of Figs. 6 and 9 about all policies over the users per AP."""
    all_ = (*PROPOSED, *OFFLOADING)
    return [
        judge("Fig. 6: all but Device-Only slow down with more users: T", trends(speed_up, crowd, all_),
              f"10, 30, 50, 70, 90 users per AP: {named(speed_up, crowd, all_)}"),
        judge("Fig. 6: all but Device-Only slow down with more users: mean of the users' own ratios",
              trends(own_speed_up, crowd, all_), named(own_speed_up, crowd, all_)),
        judge("Fig. 9: all but Device-Only need more energy with more users", trends(saving, crowd, all_),
              f"reduction: {named(saving, crowd, all_, 3)}"),
    ]  # fmt: skip


def proposed_crowd_claims(crowd: Sequence[Point], name: str) -> list[Claim]:
    """Judge the claims of Figs. 6 and 9 about ECC-NOMA."""
    label, first, last = LABELS[name], crowd[0], crowd[-1]
    over_neuro = [speed_up(point, name, NEURO) for point in crowd]
    others = (DEVICE, *OFFLOADING)
    energy_over = {other: [saving(point, name, other) for point in crowd] for other in OFFLOADING}
    return [
        judge(f"Fig. 6: {label} is fastest at every density",
              {f"{users} users": [Part(speed_up(point, name, other), 1.0) for other in others]
               for users, point in zip(CROWDS, crowd, strict=True)},
              f"over Neurosurgeon {numbers(over_neuro)}; ECC-FDMA, which is not in the figure, has T "
              f"{numbers(series(speed_up, crowd, OMA))}", partly=False),
        judge(f"Fig. 6: the advantage of {label} over Neurosurgeon grows from 10 to 90 users per AP",
              rising([over_neuro[0], over_neuro[-1]]), numbers(over_neuro)),
        judge(f"Fig. 6: 10 users per AP: {label} 7.1, Neurosurgeon 6.3 (within 10 %)",
              [near(speed_up(first, name), 7.1), near(speed_up(first, NEURO), 6.3)],
              numbers([speed_up(first, name), speed_up(first, NEURO)])),
        judge(f"Fig. 6: 90 users per AP: {label} 3.85, Neurosurgeon 1.9 (within 10 %)",
              [near(speed_up(last, name), 3.85), near(speed_up(last, NEURO), 1.9)],
              numbers([speed_up(last, name), speed_up(last, NEURO)])),
        judge(f"Fig. 9: of those that offload {label} needs least energy at every density",
              {f"{users} users": [Part(energy_over[other][at], 1.0) for other in OFFLOADING]
               for at, users in enumerate(CROWDS)},
              f"reduction: {named(saving, crowd, (name, DNN, NEURO, EDGE))}; ECC-FDMA, not in the figure, "
              f"{numbers(series(saving, crowd, OMA))}", partly=False),
        judge(f"Fig. 9: the advantage of {label} shrinks from 10 to 90 users per AP",
              {f"over {LABELS[other]}": falling([ratios[0], ratios[-1]]) for other, ratios in energy_over.items()},
              "; ".join(f"over {LABELS[other]} {numbers(ratios)}" for other, ratios in energy_over.items())),
    ]  # fmt: skip


def channel_claims(channels: Sequence[Point]) -> list[Claim]:
    """Judge the claims of Figs. 7 and 10 about the other policies over the subchannels."""
    return [
        judge("Fig. 7: Edge-Only, Neurosurgeon and DNN surgeon do not depend on M (within 20 %): T",
              levels(speed_up, channels, RANDOM), named(speed_up, channels, RANDOM)),
        judge("Fig. 7: Edge-Only, Neurosurgeon and DNN surgeon do not depend on M (within 20 %): mean of the users' "
              "own ratios", levels(own_speed_up, channels, RANDOM), named(own_speed_up, channels, RANDOM)),
        judge("Fig. 10: Edge-Only, Neurosurgeon and DNN surgeon do not depend on M (within 20 %)",
              levels(saving, channels, RANDOM), f"reduction: {named(saving, channels, RANDOM)}"),
        judge("Fig. 10: Device-Only needs least energy",
              {LABELS[name]: [Part(saving(point, name), high=1.0) for point in channels]
               for name in (*PROPOSED, *OFFLOADING)},
              f"largest reduction of another "
              f"{max(saving(point, name)[0] for point in channels for name in (*PROPOSED, *OFFLOADING)):.2f}"),
    ]  # fmt: skip


def proposed_channel_claims(channels: Sequence[Point], name: str) -> list[Claim]:
    """Judge the claims of Figs. 7 and 10 about ECC-NOMA."""
    label, own = LABELS[name], series(speed_up, channels, name)
    four, six = SUBCHANNELS.index(4), SUBCHANNELS.index(6)
    return [
        judge(f"Fig. 7: {label} is best at M = 4",
              [Part(own[four] - value, 0.0) for at, value in enumerate(own) if at != four],
              f"M = {', '.join(map(str, SUBCHANNELS))}: {numbers(own)}"),
        judge(f"Fig. 7: {label} rises at first and falls after M = 6",
              [*rising(own[: four + 1]), *falling(own[six:])], f"{numbers(own)}; between 4 and 6 the text is open"),
        judge(f"Fig. 7: with M other than 4 Neurosurgeon is faster than {label}",
              {f"M = {m}": [Part(speed_up(point, NEURO, name), 1.0)]
               for m, point in zip(SUBCHANNELS, channels, strict=True) if m != 4},
              f"Neurosurgeon {numbers(series(speed_up, channels, NEURO))}; it contradicts Fig. 6 in the paper, too",
              partly=False),
        judge(f"Fig. 10: the energy of {label} falls slightly with M", rising(series(saving, channels, name)),
              f"reduction {numbers(series(saving, channels, name), 3)}"),
    ]  # fmt: skip


def all_claims(played: Networks, crowd: Sequence[Point], channels: Sequence[Point]) -> list[Claim]:
    """Judge every claim, in the order of the figures; those about ECC-NOMA for both of its policies."""
    found = [*network_claims(played), *crowd_claims(crowd), *channel_claims(channels)]
    for name in (LI_GD, NOMA):
        found += proposed_network_claims(played, name)
        found += proposed_crowd_claims(crowd, name)
        found += proposed_channel_claims(channels, name)
    return sorted(found, key=lambda claim: int(claim.text.removeprefix("Fig. ").split(":")[0]))
