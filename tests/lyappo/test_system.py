"""The System around the kernel: golden trajectory, joint decisions, dynamics, conservation."""

import itertools

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.core.physics.channel import free_space_exponent_gain
from edge_envs.core.policy import edge_env_of
from edge_envs.lyappo.config import LyaPPOConfig
from edge_envs.lyappo.model.reward import M
from edge_envs.lyappo.model.state import EDGE, LOCAL, TRANSMIT
from edge_envs.lyappo.system import LyaPPOSystem

GOLDEN: dict[str, list[float]] = {
    "default": [
        -6.662717317763977,
        -7.2017886761164505,
        -6.530927944964666,
        -5.838802276772988,
        -3.079127826828946,
        -5.372415831537612,
    ],
    "dynamic-full": [
        -3.1902632398141675,
        -4.221295183330147,
        -5.239760890779939,
        -3.0094912810673886,
        -4.2402278075841515,
        -6.150340770286642,
    ],
}
"""Rewards of the first six steps with seed 123 and the cuts of `cycle`. A change here means a new version of the id."""


def build(preset="default", batch=1, seed=0, **options):
    system = LyaPPOSystem(LyaPPOConfig.from_options(preset, options))
    rngs = [np.random.default_rng(seed + row) for row in range(batch)]
    state, rows = system.allocate(batch), np.arange(batch)
    system.reset(state, rows, rngs)
    return system, state, rows, rngs


def cycle(choices, members, step):
    return np.tile((step + np.arange(len(choices))) % choices, members)


@pytest.mark.parametrize("preset", GOLDEN)
def test_golden_trajectory(preset):
    env = edge_env_of(gym.make("LyaPPO-v0", preset=preset))
    env.reset(seed=123)
    system = env.system
    assert isinstance(system, LyaPPOSystem)
    rewards = np.array([env.step(cycle(system.config.choices, system.members, step))[1] for step in range(6)])
    np.testing.assert_allclose(rewards, GOLDEN[preset], rtol=1e-9)


@pytest.mark.parametrize("preset", LyaPPOConfig.presets)
def test_tasks_and_work_are_conserved(preset):
    """Born = finished + dropped + queued at every step, and a queue's backlog is the work of its tasks."""
    system, state, rows, rngs = build(preset, batch=3, queue_capacity=40)
    chooser = np.random.default_rng(1)
    work = system.parameters.stage_work
    for _ in range(150):
        actions = np.stack([chooser.integers(0, np.tile(system.config.choices, system.members)) for _ in rows])
        system.step(state, rows, actions, rngs)
        queued = state.queues.size.sum(axis=1)
        np.testing.assert_array_equal(state.arrived, state.finished + state.dropped + queued)
    q = state.queues
    for row, stage, j in itertools.product(rows, range(3), range(q.size.shape[2])):
        places = (q.start[row, stage, j] + np.arange(q.size[row, stage, j])) % 40
        sizes = work[stage, j % len(system.config.choices), q.ring[row, places, stage, j]]
        expected = q.head[row, stage, j] + sizes[1:].sum() if len(sizes) else 0.0
        assert q.backlog[row, stage, j] == pytest.approx(expected, rel=1e-9, abs=1e-6 * work[stage].max())
        if len(sizes):
            assert 0 < q.head[row, stage, j] <= sizes[0]


def test_full_queue_drops_and_counts():
    system, state, rows, rngs = build(queue_capacity=2, arrival_rate=3.0)
    outcome = system.step(state, rows, np.zeros((1, 8), dtype=np.int64), rngs)
    assert outcome.metrics[0, M.tasks_dropped] == state.dropped.sum() > 0


def test_no_arrivals_costs_nothing():
    system, state, rows, rngs = build(arrival_rate=0.0)
    for _ in range(3):
        outcome = system.step(state, rows, np.tile(system.config.choices - 1, (1, 4)), rngs)
    assert outcome.reward[0] == 0.0
    assert np.isfinite(outcome.observation).all()


def test_arrivals_per_second_are_per_slot_times_slot():
    per_second = LyaPPOConfig.from_options("default", {"arrival_rate": 20.0, "arrival_rate_per": "second"})
    assert per_second.arrival_rates_per_slot == pytest.approx([0.2])


def test_stationary_dynamics():
    """Blockage, levels and distances follow the laws of the configuration."""
    system, state, rows, rngs = build("dynamic-full", batch=200, seed=3)
    p = system.parameters
    blocked, levels, moves = [], [], []
    still = np.zeros((200, 8), dtype=np.int64)
    for _ in range(120):
        before = state.distance_m.copy()
        system.step(state, rows, still, rngs)
        assert state.distance_m.min() >= p.distance_min_m
        assert state.distance_m.max() <= p.distance_max_m
        blocked.append(state.blocked.mean())
        levels.append(np.bincount(state.level.ravel(), minlength=3) / state.level.size)
        moves.append(np.abs(state.distance_m - before))
        gain = free_space_exponent_gain(state.distance_m, p.antenna_gain, p.carrier_hz, p.path_loss_exponent)
        np.testing.assert_allclose(state.mean_gain, gain * np.where(state.blocked, p.blocked_gain, 1.0), rtol=1e-12)
    assert np.mean(blocked) == pytest.approx(1 / 3, abs=0.03)
    np.testing.assert_allclose(np.mean(levels, axis=0), 1 / 3, atol=0.03)
    # All move 1.5 m per step, except those that reverse at an end.
    assert np.median(np.concatenate(moves)) == pytest.approx(p.step_m)
    assert np.concatenate(moves).max() <= p.step_m * (1 + 1e-9)


def test_correlated_fading_has_the_correlation_asked_for():
    system, state, rows, rngs = build("dynamic-full", batch=400, seed=9, slots_per_period=1)
    still = np.zeros((400, 8), dtype=np.int64)
    series = []
    for _ in range(40):
        system.step(state, rows, still, rngs)
        series.append(state.fading[..., 0] + 1j * state.fading[..., 1])
    fading = np.array(series)
    assert np.mean(np.abs(fading) ** 2) == pytest.approx(1.0, abs=0.05)
    lag = np.mean(fading[1:] * fading[:-1].conj())
    assert lag.real == pytest.approx(0.9, abs=0.05)
    assert abs(lag.imag) < 0.05


def joint_action(system, cut=0.0, local=-1.0, rate=-1.0, edge=-1.0, power=-1.0):
    services = len(system.config.choices)
    member = np.concatenate([np.tile([cut, local, rate, edge], services), [power]])
    return np.tile(member, system.members)[None].astype(np.float64)


def test_joint_requests_are_projected_and_counted():
    system, state, rows, rngs = build(decision="joint", num_services=2)
    outcome = system.step(state, rows, joint_action(system, local=1.0, rate=1.0, edge=1.0, power=1.0), rngs)
    # Four devices exceed C.4 and C.6 each, and all together C.7.
    assert outcome.metrics[0, M.requests_projected] == 9
    config = system.config
    per_device = state.request[0].reshape(3, 4, 2).sum(axis=2)
    np.testing.assert_allclose(per_device[LOCAL], config.device_frequency_max_hz)
    np.testing.assert_allclose(per_device[TRANSMIT], 1.0)
    np.testing.assert_allclose(per_device[EDGE].sum(), config.server_frequency_max_hz)
    modest = system.step(state, rows, joint_action(system, local=-0.5, rate=-0.5, edge=-0.9, power=0.0), rngs)
    assert modest.metrics[0, M.requests_projected] == 0


def test_joint_requests_are_what_is_served():
    """With everything local the energy is that of the requested speed as long as work is left."""
    system, state, rows, rngs = build(decision="joint", num_services=1, num_devices=1, arrival_rate=5.0)
    for _ in range(5):
        outcome = system.step(state, rows, joint_action(system, cut=1.0, local=0.0), rngs)
    speed = 0.5 * system.config.device_frequency_max_hz
    expected = 10 * system.config.slot_s * system.config.device_energy_coefficient * speed**3
    assert outcome.metrics[0, M.energy_local_j] == pytest.approx(expected, rel=1e-12)
    assert outcome.metrics[0, M.energy_transmit_j] == 0.0
    assert np.isnan(outcome.metrics[0, M.certificate])


def test_joint_power_is_never_above_the_request():
    system, state, rows, rngs = build(decision="joint", arrival_rate=2.0)
    for _ in range(10):
        system.step(state, rows, joint_action(system, cut=-1.0, rate=0.0, edge=-0.8, power=0.2), rngs)
    request = 0.6**3 * system.config.power_max_w
    assert state.period_power_w.max() <= request * (1 + 1e-12)
    assert state.period_power_w.min() >= 0.999 * request, "with a full queue all of it is used"
