"""Rounds of the environment against the plain reference, and the laws by which its random numbers fall."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy.stats import expon, kstest, norm

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.semcom.config import SemComConfig
from edge_envs.semcom.model.parameters import parameters_of
from edge_envs.semcom.system import SemComSystem
from tests.semcom.model.reference_decisions import decide
from tests.semcom.model.reference_round import Decision, World, account, certified, problem_of, psnr, world_of
from tests.semcom.solvers import reference_solvers

ALLOCATED = ("power_w", "bandwidth_hz", "device_frequency_hz", "server_frequency_hz")
COUNTS = ("relaxed_devices", "missed_deadlines")
SMALL: dict[str, Any] = {"num_devices": 3}
WORN: dict[str, Any] = {"device_energy_coefficient": 1e-27, "server_energy_coefficient": 3e-29}
"""Base station and device with energy coefficients of their own"""
SLOW: dict[str, Any] = {"device_frequency_max_hz": 1e8, "server_frequency_max_hz": 3e8, "weight_time": 0.9}
CASES: list[tuple[str, dict[str, Any]]] = [
    # Presets, numbers of devices.
    ("default", {}), ("default", {"num_devices": 1}), ("mild", SMALL), ("table2", SMALL), ("random", SMALL),
    ("paper", {}),
    # Who decides what.
    ("default", {**SMALL, "solver": "alg3"}), ("default", {"solver": "p3_only"}),
    ("default", {"solver": "alg3", "psnr_mode": "hard", "psnr_min_db": 28.0}),
    ("default", {**SMALL, "solver": "p3_only", "psnr_mode": "hard"}), ("table2", {"decision": "power_bandwidth"}),
    ("paper", {**SMALL, "decision": "power_bandwidth", "psnr_min_db": 28.0}),
    ("default", {"num_devices": 1, "decision": "power_bandwidth", "solver": "p3_only"}),
    ("default", {"decision": "joint"}), ("paper", {"decision": "joint", "psnr_min_db": 29.0}),
    ("default", {"num_devices": 1, "decision": "joint", "psnr_mode": "utility"}),
    # How quality counts, and how it is measured.
    ("default", {**SMALL, "psnr_mode": "utility", "psnr_weight_per_db": 0.7}),
    ("default", {**SMALL, "psnr_mode": "hard", "psnr_min_db": 27.0, "shortfall_penalty": 3.0}),
    ("default", {**SMALL, "psnr_mode": "hard", "psnr_law": "printed", "psnr_min_db": 36.0}),
    ("default", {**SMALL, "psnr_mode": "hard", "psnr_law": "offset", "psnr_min_db": 26.0}),
    ("default", {**SMALL, "psnr_mode": "hard", "psnr_law": "stretch", "psnr_min_db": 27.0}),
    ("default", {**SMALL, "psnr_mode": "hard", "psnr_law": (5.0, 1.2, 40.0, 2.0, 0.05), "psnr_min_db": 18.7}),
    ("default", {**SMALL, "psnr_mode": "hard", "snr_unit": "linear", "psnr_min_db": 30.0}),
    ("default", {**SMALL, "snr_clip_db": (0.0, 20.0)}), ("default", {**SMALL, "snr_unit": "linear"}),
    # The other parameters that enter a round.
    ("default", {**SMALL, **WORN}), ("default", {**SMALL, **WORN, "solver": "alg3", "power_max_dbm": 4.0}),
    ("table2", {**SMALL, **SLOW}), ("mild", {**SMALL, **SLOW, "solver": "p3_only"}),
    ("table2", {**SMALL, "weight_time": 0.1, "samples": 7, "bits_per_sample": 3e6, "initial_queue_max_db": 20.0,
                "queue_weight": 10.0, "psnr_target_fraction": None}),
    ("default", {**SMALL, "bandwidth_hz": 2e5, "noise_dbm_per_hz": -150.0, "compression_max": 0.9}),
]  # fmt: skip
DEADLINES: list[tuple[dict[str, Any], str]] = [
    ({**SMALL, "deadline_s": 0.5, "psnr_min_db": 28.0, "extra_gain_db": -15.0}, "relaxed missed kept"),
    ({**SMALL, "deadline_s": 0.6, "psnr_min_db": 26.0, "weight_time": 0.05}, "kept"),
    ({**SMALL, "deadline_s": 4.0, "psnr_min_db": 28.0, "extra_gain_db": -25.0}, "relaxed missed"),
    ({**SMALL, "snr_clip_db": (0.0, 20.0), "psnr_min_db": 28.8, "deadline_s": 2.0}, "relaxed"),
    ({**SMALL, "solver": "alg3", "psnr_min_db": 28.0, "extra_gain_db": -25.0, "deadline_s": 3.0}, "relaxed missed"),
    ({"num_devices": 1, "deadline_s": 0.1, "psnr_min_db": 26.0}, "relaxed missed kept"),
]


def make(preset: str, **options: Any) -> Any:
    return gym.make("SemCom-v0", preset=preset, calibration_rounds=10, **options)


def assert_close(info: dict[str, Any], expected: dict[str, Any], tolerance: float, names: set[str]) -> None:
    for name in sorted(names):
        np.testing.assert_allclose(info[name], expected[name], rtol=tolerance, atol=1e-2 * tolerance, err_msg=name)


def check_round(env: Any, action: np.ndarray) -> dict[str, Any]:
    """One step against the reference; returns its info and reward.

    What the reference makes of the action is compared with what the environment does: closely where it is the value of
    an optimum, as well as a search by values can tell where it is a part of one. What the environment's own allocation
    costs is compared to rounding; only prices of time, which are no part of an allocation, come from the reference.
    """
    config = env.unwrapped.system.config
    world = world_of(env)
    _, reward, terminated, _, info = env.step(action)
    info["reward"] = reward
    decision = decide(config, world, action)
    expected = account(config, world, decision)
    now = {name for name in info if not name.startswith("episode_mean_")}
    assert now == set(expected) | {"sweeps", "certificate"}
    searched = config.decision == "compression" and config.solver == "joint"
    exact = {"objective", "cost", "compression", "member_compression", *COUNTS}
    assert_close(info, expected, 1e-8 if searched else 1e-9, exact)
    assert_close(info, expected, 1e-5 if searched else 1e-8, set(expected) - exact - {"targets_met"})
    compression, power, band, device, server = (info["member_" + name] for name in ("compression", *ALLOCATED))
    own = Decision(compression, power, band, device, server, decision.time_price, decision.relaxed)
    priced = {"member_reward", "member_sensitivity"}
    assert_close(info, account(config, world, own), 1e-11, set(expected) - priced)
    assert not terminated
    check_limits(config, info)
    return info


def check_limits(config: SemComConfig, info: dict[str, Any]) -> None:
    """(16a)-(16d), (16f), a certificate, and everything finite."""
    room = 1.0 + 1e-12
    assert info["member_bandwidth_hz"].sum() <= config.bandwidth_hz * room
    assert info["member_power_w"].max() <= 1e-3 * 10 ** (config.power_max_dbm / 10) * room
    assert info["member_device_frequency_hz"].max() <= config.device_frequency_max_hz * room
    assert info["member_server_frequency_hz"].max() <= config.server_frequency_max_hz * room
    assert config.compression_min <= info["member_compression"].min()
    assert info["member_compression"].max() <= config.compression_max
    assert min(info["member_" + name].min() for name in ALLOCATED) > 0.0
    assert certified(config, info["certificate"])
    for name, value in info.items():
        if name not in ("certificate", "episode_mean_certificate"):
            assert np.isfinite(value).all(), name


@pytest.mark.parametrize(("preset", "options"), CASES, ids=lambda case: str(case))
def test_round_agrees_with_the_reference(preset, options):
    """Every number of info and the reward, over a few rounds of random actions (queues and means carry on)."""
    env = make(preset, **options)
    chooser = np.random.default_rng(3)
    env.reset(seed=5)
    rounds = 1 if preset == "paper" else 2 if env.unwrapped.system.members == 10 else 3
    for _ in range(rounds):
        check_round(env, chooser.uniform(-1.0, 1.0, env.action_space.shape))


@pytest.mark.parametrize(("options", "seen"), DEADLINES, ids=lambda case: str(case))
def test_round_with_a_deadline_agrees_with_the_reference(options, seen):
    """Requirements that are relaxed and counted, deadlines that are kept at a price, and those that are missed."""
    env = make("paper", **options)
    chooser, met = np.random.default_rng(3), set()
    for seed in range(6):
        env.reset(seed=seed)
        info = check_round(env, chooser.uniform(-1.0, 1.0, env.action_space.shape))
        met |= {"relaxed"} if info["relaxed_devices"] else set()
        met |= {"missed"} if info["missed_deadlines"] else set()
        met |= {"kept"} if abs(info["delay_s"] / options["deadline_s"] - 1.0) <= 1e-9 else set()
    assert met == set(seen.split())


@pytest.mark.parametrize("decision", ["power_bandwidth", "joint"])
@pytest.mark.parametrize("end", [-1.0, 1.0])
def test_ends_of_the_action_space_agree_with_the_reference(decision, end):
    """The least powers, bandwidths and frequencies, and the largest, of which the band has even shares."""
    env = make("default", **SMALL, decision=decision)
    env.reset(seed=1)
    info = check_round(env, np.full(env.action_space.shape, end))
    share = env.unwrapped.system.config.bandwidth_hz / 3
    np.testing.assert_allclose(info["member_bandwidth_hz"], share if end > 0 else share * np.exp(-4.0))
    np.testing.assert_allclose(info["member_power_w"], 0.1 if end > 0 else 0.1 * 0.04**3)


# Randomness


def started(batch: int, seed: int = 0, preset: str = "default", **options: Any) -> tuple[SemComSystem, Any, Any, Any]:
    """A batch of worlds just reset; with decision="joint" a step solves nothing and is fast."""
    options = {"decision": "joint", "calibration_rounds": 1, **options}
    system = SemComSystem.from_options(preset, options)
    rngs = [np.random.default_rng([seed, row]) for row in range(batch)]
    state, rows = system.allocate(batch), np.arange(batch)
    system.reset(state, rows, rngs)
    return system, state, rows, rngs


def fades(batch: int, steps: int, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Complex fading and power gains over the mean ones, shapes (steps, batch, N), from the reset on."""
    system, state, rows, rngs = started(batch, seed=9, **options)
    still = np.zeros((batch, 5 * system.members))
    fading, power = [], []
    for _ in range(steps):
        fading.append(state.fading[..., 0] + 1j * state.fading[..., 1])
        power.append(state.gain / state.mean_gain)
        system.step(state, rows, still, rngs)
    return np.array(fading), np.array(power)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_fading_has_the_correlation_asked_for(correlation):
    fading, _ = fades(600, 30, num_devices=2, fading_correlation=correlation)
    for lag in (1, 2, 5):
        product = np.mean(fading[lag:] * fading[:-lag].conj())
        assert product.real == pytest.approx(correlation**lag, abs=0.04)
        assert abs(product.imag) < 0.04
    between = np.mean(fading[..., 0] * fading[..., 1].conj())
    assert abs(between) < 0.04, "devices fade apart"
    assert abs(np.mean(fading**2)) < 0.04, "a circular variable"


def test_full_correlation_stands_still():
    fading, _ = fades(5, 4, fading_correlation=1.0)
    np.testing.assert_array_equal(fading, fading[:1] * np.ones((4, 1, 1)))
    assert len(np.unique(fading[0])) == fading[0].size


@pytest.mark.parametrize("at", [0, 7])
def test_fading_is_rayleigh_from_the_reset_on(at):
    fading, power = fades(1500, at + 1, num_devices=2)
    squared = (np.abs(fading[at]) ** 2).ravel()
    assert kstest(squared, expon.cdf).pvalue > 0.01
    np.testing.assert_allclose(power[at].ravel(), np.maximum(squared, 0.01), rtol=1e-12)


@pytest.mark.parametrize("floor", [0.01, 0.5, 1.0])
def test_floor_of_the_fading(floor):
    """An exponential variable below the floor counts as the floor: its mean is then floor + e^-floor."""
    _, power = fades(1000, 20, num_devices=2, fading_correlation=0.0, fade_floor=floor)
    assert power.min() >= floor * (1.0 - 1e-12)
    assert power.mean() == pytest.approx(floor + np.exp(-floor), abs=0.02)
    assert (power <= floor * (1.0 + 1e-12)).mean() == pytest.approx(1.0 - np.exp(-floor), abs=0.01)


def test_channel_without_fading_stands_still():
    system, state, rows, rngs = started(3, fading=False)
    for _ in range(6):
        np.testing.assert_array_equal(state.gain, state.mean_gain)
        system.step(state, rows, np.zeros((3, 5 * system.members)), rngs)
    system.reset(state, rows, rngs)
    np.testing.assert_array_equal(state.gain, state.mean_gain)


def geometries(**options: Any) -> dict[str, np.ndarray]:
    """Geometries by number, a fixed one and one per reset; each 3000 x (mean gain, device cycles, server cycles)."""
    fixed = parameters_of(
        SemComConfig.from_options("default", {"num_devices": 3000, "calibration_rounds": 1, **options})
    )
    _, state, _, _ = started(1500, num_devices=2, geometry="random", **options)
    drawn = np.stack([state.mean_gain.ravel(), state.device_cycles.ravel(), state.server_cycles.ravel()])
    return {"fixed": fixed.fixed_geometry, "random": drawn}


def distance_m(gain: np.ndarray, extra_db: float) -> np.ndarray:
    return np.asarray(1000.0 * 10.0 ** ((extra_db - 10.0 * np.log10(gain) - 128.1) / 37.6))


@pytest.mark.parametrize("kind", ["fixed", "random"])
def test_devices_are_spread_evenly_over_the_area(kind):
    gain = geometries(shadowing_db=0.0, extra_gain_db=-7.0)[kind][0]
    distance = distance_m(gain, -7.0)
    assert distance.min() >= 10.0 * (1 - 1e-12)
    assert distance.max() <= 250.0 * (1 + 1e-12)
    assert kstest((distance**2 - 10.0**2) / (250.0**2 - 10.0**2), "uniform").pvalue > 0.01


@pytest.mark.parametrize("kind", ["fixed", "random"])
def test_shadowing_is_log_normal_and_cycles_are_even(kind):
    found = geometries(distance_min_m=250.0, extra_gain_db=3.0)[kind]
    median_db = 3.0 - (128.1 + 37.6 * np.log10(0.25))
    assert kstest(10.0 * np.log10(found[0]), norm(median_db, 8.0).cdf).pvalue > 0.01
    for row, (low, high) in ((1, (1e6, 3e6)), (2, (3e6, 5e6))):
        assert kstest((found[row] - low) / (high - low), "uniform").pvalue > 0.01
    ranks = np.corrcoef(np.log(found[0]), found[1])[0, 1], np.corrcoef(found[1], found[2])[0, 1]
    assert max(map(abs, ranks)) < 0.06, "gains and cycles have nothing to do with each other"


def test_path_loss_by_hand():
    """At the cell's edge and without shadowing a link loses 105.46 dB."""
    _, state, _, _ = started(1, shadowing_db=0.0, distance_min_m=250.0, extra_gain_db=0.0)
    np.testing.assert_allclose(10.0 * np.log10(state.mean_gain), -105.4625, atol=1e-4)


def test_fixed_geometry_stays_and_random_ones_differ():
    def seen(**options: Any) -> list[bytes]:
        system, state, rows, rngs = started(2, **options)
        kept = [state.mean_gain.tobytes(), state.device_cycles.tobytes(), state.server_cycles.tobytes()]
        system.reset(state, rows, rngs)
        return [*kept, state.mean_gain.tobytes(), state.device_cycles.tobytes(), state.server_cycles.tobytes()]

    fixed = seen()
    assert fixed[:3] == fixed[3:]
    assert fixed == seen(seed=77), "whatever the environment's seed"
    assert fixed[0] != seen(geometry_seed=2)[0]
    first = seen(geometry="random")
    assert all(before != after for before, after in zip(first[:3], first[3:], strict=True))
    _, state, _, _ = started(2, geometry="random")
    assert len(np.unique(state.mean_gain)) == state.mean_gain.size


@pytest.mark.parametrize("limit", [0.0, 10.0])
def test_virtual_queues_start_evenly(limit):
    _, state, _, _ = started(1500, num_devices=2, initial_queue_max_db=limit)
    if limit == 0.0:
        assert not state.queue_db.any()
    else:
        assert kstest(state.queue_db.ravel() / limit, "uniform").pvalue > 0.01


@pytest.mark.parametrize("mode", ["hard", "utility"])
def test_no_virtual_queues_in_other_modes(mode):
    system, state, rows, rngs = started(3, initial_queue_max_db=10.0, psnr_mode=mode)
    assert not state.queue_db.any()
    system.step(state, rows, np.full((3, 5 * system.members), -1.0), rngs)
    assert not state.queue_db.any()


# Calibration


def simulated(config: SemComConfig, state: Any, rate: float) -> tuple[float, np.ndarray]:
    """Mean objective and mean PSNRs at one rate for all, over the calibration's fading, by the independent solver."""
    costs, qualities = [], []
    zeros = np.zeros(config.num_devices)
    for power in parameters_of(config).calibration_fades:
        world = World(
            state.mean_gain[0] * power, state.device_cycles[0], state.server_cycles[0], zeros, zeros, zeros, 0, 1.0
        )
        problem = problem_of(config, world, np.full(config.num_devices, rate))
        found = reference_solvers.solve_joint(problem)
        snr = found.power_w * world.gain / (problem.noise_w_per_hz * found.bandwidth_hz)
        costs.append(found.objective)
        qualities.append([psnr(config, rate, each) for each in snr])
    return float(np.mean(costs)), np.mean(qualities, axis=0)


@pytest.mark.parametrize("geometry", ["fixed", "random"])
@pytest.mark.parametrize(
    "options",
    [
        {}, {"psnr_target_fraction": 0.0}, {"psnr_target_fraction": 1.0}, {"fading": False},
        {"psnr_target_fraction": None}, {"psnr_target_fraction": None, "psnr_min_db": 40.0},
        {"psnr_mode": "hard", "psnr_min_db": 33.0}, {"psnr_mode": "utility", "weight_time": 0.8},
    ],
    ids=str,
)  # fmt: skip
def test_calibration(geometry, options):
    """The cost scale is the mean cost at the smallest rates; requirements lie between the qualities at both ends."""
    options = {"num_devices": 2, "calibration_rounds": 3, "decision": "compression", "geometry": geometry, **options}
    system, state, _, _ = started(1, **options)
    config = system.config
    scale, low = simulated(config, state, config.compression_min)
    assert state.cost_scale[0] == pytest.approx(scale, rel=1e-8)
    if config.psnr_mode != "long_term":
        np.testing.assert_array_equal(state.target_db[0], config.psnr_min_db)
        return
    _, high = simulated(config, state, config.compression_max)
    if config.psnr_target_fraction is None:
        expected = np.minimum(config.psnr_min_db, high - 0.1)
    else:
        expected = low + config.psnr_target_fraction * (high - low)
        assert (low - 1e-5 <= state.target_db[0]).all()
        assert (state.target_db[0] <= high + 1e-5).all()
    np.testing.assert_allclose(state.target_db[0], expected, atol=1e-5)


def test_calibration_s_fading_is_rayleigh_with_its_floor():
    parts = parameters_of(SemComConfig(calibration_rounds=1000)).calibration_fades
    assert parts.shape == (1000, 10)
    assert parts.min() == 0.01
    above = parts[parts > 0.01]
    assert kstest(above - 0.01, expon.cdf).pvalue > 0.01
    assert parts.mean() == pytest.approx(1.0, abs=0.03)
    other = parameters_of(SemComConfig(calibration_rounds=1000, geometry_seed=2)).calibration_fades
    assert np.abs(parts / other - 1.0).mean() > 0.1


def test_calibration_foretells_the_environment():
    """At the smallest rates cost is around one and each device's PSNR around what fraction zero asks for."""
    system, state, rows, rngs = started(
        100, decision="compression", num_devices=3, psnr_target_fraction=0.0, fading_correlation=0.0,
        calibration_rounds=2000,
    )  # fmt: skip
    names = [metric.name for metric in system.metrics]
    cost = []
    for _ in range(30):
        cost.append(system.step(state, rows, np.full((100, 3), -1.0), rngs).metrics[:, names.index("cost")])
    assert np.mean(cost) == pytest.approx(1.0, abs=0.1)
    np.testing.assert_allclose(state.psnr_sum_db.mean(axis=0) / 30, state.target_db[0], atol=0.1)
