"""The compiled period against the plain task-by-task simulator of `reference.py`."""

import numpy as np
import pytest
from scipy.stats import poisson

from edge_envs.core.kernels.randomness import BLOCK_STEPS
from edge_envs.lyappo.config import LyaPPOConfig
from edge_envs.lyappo.model.reward import M
from edge_envs.lyappo.system import LyaPPOSystem
from tests.lyappo.model.reference import Parameters as ReferenceParameters
from tests.lyappo.model.reference import simulate

PERIODS = 120


def reference_parameters(config: LyaPPOConfig) -> ReferenceParameters:
    """The oracle's parameters, from the cut tables and the configuration alone."""
    tables = config.service_cuts
    return ReferenceParameters(
        num_devices=config.num_devices,
        num_services=config.num_services,
        slot_s=config.slot_s,
        slots_per_period=config.slots_per_period,
        frequency_local_max_hz=config.device_frequency_max_hz,
        frequency_edge_max_hz=config.server_frequency_max_hz,
        power_max_w=config.power_max_w,
        device_bandwidth_hz=config.bandwidth_hz / config.num_devices,
        noise_w_per_hz=10 ** (config.noise_dbm_per_hz / 10) / 1000,
        energy_coefficient=config.device_energy_coefficient,
        weight_local=config.weight_local,
        weight_transmit=config.weight_transmit,
        reward_energy_per_j=config.reward_energy_per_j,
        reward_backlog=config.reward_backlog,
        backlog_weights=config.backlog_weights,
        backlog_scales=config.backlog_scales,
        local_cycles=tuple(tuple(config.cycles_per_mac * table.device_macs) for table in tables),
        transmit_bits=tuple(tuple(table.bits) for table in tables),
        edge_cycles=tuple(tuple(config.cycles_per_mac * table.server_macs) for table in tables),
    )


def drawn(config: LyaPPOConfig, uniforms: np.ndarray, distance_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Arrivals (G, M, N) and gains (G, M) of one period, from its uniforms, without the package's channel functions."""
    devices, services = config.num_devices, config.num_devices * config.num_services
    by_slot = uniforms[: config.slots_per_period * (devices + services)].reshape(config.slots_per_period, -1)
    loss = config.antenna_gain * 3e8 / (4 * np.pi * config.carrier_hz * distance_m)
    gain = -np.log(1 - by_slot[:, :devices]) * loss**config.path_loss_exponent
    born = poisson.ppf(by_slot[:, devices:], config.arrival_rates_per_slot[0])
    return born.astype(int).reshape(-1, devices, config.num_services), gain


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("default", {}),
        ("paper", {"num_services": 3, "num_devices": 2}),
        ("default", {"num_devices": 3, "num_services": 4, "server_frequency_max_hz": 0.6e9, "slots_per_period": 7}),
        ("default", {"cuts": "all", "arrival_rate": 0.35, "power_max_w": 0.02}),
    ],
)
def test_period_matches_task_by_task_simulation(preset, options):
    """Random cuts over 120 periods: equal task counts, and every mean and energy to rounding."""
    config = LyaPPOConfig.from_options(preset, options)
    system = LyaPPOSystem(config)
    state, rows = system.allocate(1), np.arange(1)
    rngs = [np.random.default_rng(5)]
    chooser = np.random.default_rng(6)
    system.reset(state, rows, rngs)
    cuts, arrivals, gains, records = [], [], [], []
    for _ in range(PERIODS):
        action = chooser.integers(0, np.tile(system.config.choices, system.members))[None]
        outcome = system.step(state, rows, action, rngs)
        cuts.append(state.cut[0].reshape(config.num_devices, config.num_services).copy())
        born, gain = drawn(config, state.uniforms[0, (state.cursor[0] - 1) % BLOCK_STEPS], state.distance_m[0])
        arrivals.append(born)
        gains.append(gain)
        records.append({
            "backlog": state.period_backlog[0].copy(), "end": state.queues.backlog[0].copy(),
            "share": state.period_allocation[0].copy(), "power": state.period_power_w[0].copy(),
            "full": state.period_rate_max[0].copy(), "local_j": state.energy_local_j[0].copy(),
            "transmit_j": state.energy_transmit_j[0].copy(), "reward": outcome.member_reward[0],
            "count": state.queues.size[0].copy(), "born": state.period_arrivals[0].copy(),
            "finished": outcome.metrics[0, M.tasks_finished], "certificate": outcome.metrics[0, M.certificate],
        })  # fmt: skip
    expected = simulate(reference_parameters(config), np.array(cuts), np.concatenate(arrivals), np.concatenate(gains))
    for ours, theirs in zip(records, expected, strict=True):
        np.testing.assert_array_equal(ours["count"], theirs.tasks_in_queue.reshape(-1, 3).T)
        np.testing.assert_array_equal(ours["born"], theirs.arrived.ravel())
        assert ours["finished"] == theirs.finished.sum()
        assert ours["certificate"] <= 1e-10
        stages = ("local", "transmit", "edge")
        mean = [getattr(theirs, f"mean_backlog_{stage}").ravel() for stage in stages]
        end = [getattr(theirs, f"end_backlog_{stage}").ravel() for stage in stages]
        share = [theirs.mean_frequency_local.ravel(), theirs.mean_rate.ravel(), theirs.mean_frequency_edge.ravel()]
        scale = np.array([[1e7], [1e4], [1e7]])
        np.testing.assert_allclose(ours["backlog"] / scale, np.array(mean) / scale, rtol=1e-9, atol=1e-8)
        np.testing.assert_allclose(ours["end"] / scale, np.array(end) / scale, rtol=1e-9, atol=1e-8)
        np.testing.assert_allclose(ours["share"] / scale, np.array(share) / scale, rtol=1e-8, atol=1e-6)
        np.testing.assert_allclose(ours["power"], theirs.mean_power, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(ours["full"], theirs.mean_rate_full_power, rtol=1e-12)
        np.testing.assert_allclose(ours["local_j"], theirs.energy_local_j, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ours["transmit_j"], theirs.energy_transmit_j, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(ours["reward"], theirs.reward, rtol=1e-9, atol=1e-12)
