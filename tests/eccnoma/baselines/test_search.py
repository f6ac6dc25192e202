"""Searches over one frame's cuts, against enumeration and against their own definitions."""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.core.rules import copy_row
from edge_envs.eccnoma.baselines import search
from edge_envs.eccnoma.baselines.policies import TRUE_FIELDS
from edge_envs.eccnoma.model.parameters import UNITS

TINY: dict[str, Any] = {"num_users": 4, "num_subchannels": 2, "bandwidth_up_hz": 1e5, "pool_units": 1.5, "csi_delay": 0}


def sketches(count: int, warm: int = 5, **options: Any) -> Any:
    """Frames in the middle of episodes, with what waits there, as (parameters, sketch of one world)."""
    env: Any = gym.make("ECCNOMA-v0", **{**TINY, **options}).unwrapped
    rng = np.random.default_rng(0)
    for seed in range(count):
        env.reset(seed=seed)
        for _ in range(warm):
            env.step(rng.integers(0, 2, env.system.members))
        sketch = env.system.allocate(1)
        copy_row(env.state, 0, sketch, TRUE_FIELDS)
        yield env.system.parameters, sketch


def value_of(p: Any, s: Any, cuts: Any) -> float:
    s.choice[0] = cuts
    return float(search.FAST_VALUE(p, s, 0))


def brute_force(p: Any, s: Any) -> float:
    """Least cost over all combinations of cuts of the users with tasks."""
    choices = [range(int(p.choices[n])) if q > 0.0 else range(1) for n, q in zip(s.network[0], s.queue[0], strict=True)]
    return min(value_of(p, s, cuts) for cuts in itertools.product(*choices))


def test_descent_is_between_enumeration_and_its_start():
    gaps = []
    for p, s in sketches(40):
        start = value_of(p, s, search.iterated_best_response(p, s))
        found = search.coordinate_descent(p, s)
        value = value_of(p, s, found)
        best = brute_force(p, s)
        assert best <= value <= start * (1.0 + 1e-12)
        gaps.append(value / best - 1.0 if best > 0.0 else 0.0)
        for user, choice in itertools.product(range(p.num_users), range(p.num_choices)):
            if choice < p.choices[s.network[0, user]] and s.queue[0, user] > 0.0:
                other = found.copy()
                other[user] = choice
                assert value_of(p, s, other) >= value * (1.0 - 1e-12)
    # measured: see the message of the assertion
    assert np.mean(gaps) < 0.02, np.mean(gaps)
    assert max(gaps) < 0.25, max(gaps)
    assert np.median(gaps) == 0.0


def test_answers_in_turn_are_never_worse_than_all_at_once():
    """Answers given all at once overshoot where users share a pool that is too small for them."""
    better = 0
    for p, s in sketches(80, 20, num_users=12, num_subchannels=6, bandwidth_up_hz=0.5e6, pool_units=3.0):
        iterated = value_of(p, s, search.iterated_best_response(p, s))
        in_turn = value_of(p, s, search.sequential_best_response(p, s))
        assert in_turn <= iterated * (1.0 + 1e-12)
        better += in_turn < iterated
    assert better > 3


def test_iterated_answers_are_never_worse_than_all_edge():
    better = 0
    for p, s in sketches(25, num_users=6):
        edge = value_of(p, s, search.all_edge(p, s))
        once = value_of(p, s, search.best_response(p, s))
        iterated = value_of(p, s, search.iterated_best_response(p, s))
        assert iterated <= min(edge, once) * (1.0 + 1e-12)
        better += iterated < edge
    assert better > 10


@pytest.mark.parametrize(
    "options", [{}, {"pool_units": None}, {"units": "most"}, {"units": "equal"}, {"units": "most", "pool_units": None}]
)
def test_answers_of_users_that_send_weigh_what_they_get(options):
    """Every user sends: its own best cut at its own rates, and at the share of the pool it would get."""
    seen = set()
    for p, s in sketches(25, num_users=6, **options):
        s.queue[0] = np.maximum(s.queue[0], 1.0)
        value_of(p, s, search.all_edge(p, s))
        cuts = np.zeros(p.num_users, dtype=np.int64)
        w = s.workspace
        rate_up, rate_down = w.up.rate_bit_s.copy(), w.down.rate_bit_s.copy()
        power_up, power_down = w.up.power_w.copy(), w.down.power_w.copy()
        work, weight = w.work_flop.copy(), w.task_weight.copy()
        search.FAST_BEST_CUTS(p, s, cuts)
        for user in range(p.num_users):
            costs = [
                cost_at(p, s, user, c, rate_up, rate_down, power_up, power_down, work, weight)
                for c in range(p.choices[s.network[0, user]])
            ]
            assert costs[cuts[user]] == pytest.approx(min(costs), rel=1e-9)
            seen.add(int(cuts[user]))
    assert len(seen) > 1


def cost_at(
    p: Any, s: Any, user: int, choice: int, rate_up: Any, rate_down: Any, power_up: Any, power_down: Any, work: Any,
    weight: Any,
) -> float:  # fmt: skip
    network, queue = s.network[0, user], s.queue[0, user]
    flop_device, flop = p.device_flop[network, choice], p.server_flop[network, choice]
    delay, energy = flop_device / s.speed_flop_s[0, user], flop_device * 1e-9
    if p.bits_up[network, choice] > 0.0:
        up_s, down_s = p.bits_up[network, choice] / rate_up[user], 320.0 / rate_down[user]
        delay, energy = delay + up_s + down_s, energy + power_up[user] * up_s + power_down[user] * down_s
    if flop > 0.0:
        speed = speed_of(p, s, user, flop, work, weight)
        delay, energy = delay + flop / speed, energy + flop * 1.5e-29 * speed**2
    return float(0.95 * weight[user] * delay + 0.05 * queue * energy)


def speed_of(p: Any, s: Any, user: int, flop: float, work: Any, weight: Any) -> float:
    if p.units != UNITS.OPTIMAL:
        units = 6.0
        if p.pool:
            cell = [v for v in range(p.num_users) if s.ap[0, v] == s.ap[0, user]]
            asking = [v for v in cell if p.units == UNITS.EQUAL or v == user or work[v] > 0.0]
            units = min(p.pool_units * (1.0 - p.background_levels[s.level[0, s.ap[0, user]]]) / len(asking), 6.0)
    else:
        best = (0.95 * weight[user] / (2.0 * 0.05 * s.queue[0, user] * 1.5e-29)) ** (1.0 / 3.0)
        compensated = best / 2.3e9
        most = compensated * 0.95 / (1.0 - 0.05 * compensated) if compensated > 1.0 else compensated
        if not p.pool:
            units = min(max(most, 1.0), 6.0)
        else:
            own = np.sqrt(flop * weight[user])
            others = [
                np.sqrt(work[v] * weight[v]) for v in range(p.num_users) if v != user and s.ap[0, v] == s.ap[0, user]
            ]
            free = p.pool_units * (1.0 - p.background_levels[s.level[0, s.ap[0, user]]])
            units = min(free * own / (own + sum(others)), most, 6.0)
    return float((units / (1.0 + 0.05 * (units - 1.0)) if units >= 1.0 else units) * 2.3e9)


def test_a_silent_user_answers_with_the_rate_it_would_get():
    """Alone in the system a user that computes itself answers as if its rate were that of sending alone."""
    moved = 0
    for p, s in sketches(20, num_users=1, num_aps=1, num_subchannels=3):
        s.queue[0] = 3.0
        last = int(np.argmax(p.cut_number[s.network[0, 0], : p.choices[s.network[0, 0]]]))
        value_of(p, s, [last])
        cuts = np.zeros(1, dtype=np.int64)
        search.FAST_BEST_CUTS(p, s, cuts)
        values = [value_of(p, s, [c]) for c in range(p.choices[s.network[0, 0]])]
        assert values[cuts[0]] == pytest.approx(min(values), rel=1e-3)
        moved += cuts[0] != last
    assert moved > 5


def test_common_cuts_cover_all_layers_once():
    p, _ = next(sketches(1))
    rows = search.common_cuts(p, 24)
    assert (rows[0] == 0).all()
    assert rows[-1].tolist() == [1, 1, 1]
    assert len(np.unique(rows, axis=0)) == len(rows)
    numbers = np.array([[p.cut_number[n, c] for n, c in enumerate(row)] for row in rows])
    assert (np.diff(numbers, axis=0) >= 0).all()
    assert {0, 8, 9, 10, 15, 17, 18, 23, 24} == {int(number) for number in numbers.ravel()}
    everything, _ = next(sketches(1, cuts="all", networks=["vgg16-cifar@32"]))
    np.testing.assert_array_equal(search.common_cuts(everything, 24)[:, 0], np.arange(25))


def test_li_gd_takes_the_best_common_cut():
    """Valued afresh from a cold start: the warm starts end within a few percent of it."""
    from edge_envs.eccnoma.solvers.relaxation import allocate_relaxation

    for p, s in sketches(6, num_users=6, num_subchannels=3):
        found = search.li_gd(p, s)
        values = {}
        for row in search.common_cuts(p, 24):
            s.choice[0] = row[s.network[0]]
            memory = [allocate_relaxation(p.num_users, p.num_subchannels, p.num_aps, 500) for _ in range(2)]
            values[tuple(s.choice[0].tolist())] = search.FAST_RELAXED(p, s, *memory, True)
        assert values[tuple(found.tolist())] <= 1.03 * min(values.values())
