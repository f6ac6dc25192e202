"""Dynamics between frames, and the random numbers that ablations share."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.dtirs.system import DTIRSSystem

SMALL: dict[str, Any] = {"num_devices": 5, "num_elements": 8, "num_antennas": 4}
STILL: dict[str, Any] = {
    "fading_correlation": 1.0, "device_share_min": 1.0, "pool_levels": (1.0,), "speed_m_per_s": 0.0,
}  # fmt: skip


def make(**options: Any) -> Any:
    return gym.make("DTIRS-v0", **{**SMALL, **options}).unwrapped


def batch(rows: int, seed: int = 0, **options: Any) -> tuple[DTIRSSystem, Any, Any]:
    """A small system, its state after a reset, and a function that steps it."""
    cheap = {"num_devices": 3, "num_elements": 2, "num_antennas": 2, "phase": "random", "cuts": "all"}
    system = DTIRSSystem.from_options("default", {**cheap, **options})
    state, every = system.allocate(rows), np.arange(rows)
    rngs = [np.random.default_rng([seed, row]) for row in range(rows)]
    system.reset(state, every, rngs)
    still = np.zeros((rows, system.members), dtype=np.int64)

    def step(actions: np.ndarray = still) -> Any:
        return system.step(state, every, actions, rngs)

    return system, state, step


def assert_uniform(values: np.ndarray, low: float, high: float) -> None:
    """Within its limits, with the quantiles of a uniform distribution (to four standard errors)."""
    unit = (values.ravel() - low) / (high - low)
    assert unit.min() >= 0.0
    assert unit.max() <= 1.0
    for share in (0.1, 0.5, 0.9):
        assert (unit < share).mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / unit.size))


def test_devices_are_drawn_evenly():
    _, state, _ = batch(600)
    assert_uniform(state.own_speed_flop_s, 5e9, 12e9)
    assert_uniform(state.distance_m, 3.0, 13.0)
    assert_uniform(state.waypoint_m, 3.0, 13.0)
    layers = np.diff(state.front_flop, axis=2, prepend=0.0)
    assert_uniform(layers, 0.5e9, 1.5e9)
    # Draws are independent within a device and between devices.
    table = np.stack([state.own_speed_flop_s, state.distance_m, state.waypoint_m, *np.moveaxis(layers, 2, 0)], axis=2)
    matrix = np.corrcoef(table.reshape(600, -1), rowvar=False)
    assert np.abs(matrix - np.eye(len(matrix))).max() < 5 / np.sqrt(600)


def test_work_is_split_at_the_cut():
    _, state, _ = batch(20, first_cut=0)
    np.testing.assert_array_equal(state.front_flop[..., 0], 0.0)
    np.testing.assert_array_equal(state.back_flop[..., -1], 0.0)
    total = state.front_flop + state.back_flop
    np.testing.assert_allclose(total, np.broadcast_to(total[..., :1], total.shape), rtol=1e-12)
    np.testing.assert_allclose(state.layer_flop, total[..., 0] / 12.0, rtol=1e-12)
    _, useful, _ = batch(20, cuts="useful")
    np.testing.assert_array_equal(useful.front_flop, state.front_flop[..., [1, 2, 4, 7, 10, 11, 12]])


def test_devices_walk_towards_their_waypoint():
    _, state, step = batch(200, speed_m_per_s=1.5, frame_s=2.0)
    reach = 3.0
    arrived = 0
    for _ in range(25):
        before, aim = state.distance_m.copy(), state.waypoint_m.copy()
        step()
        near = np.abs(aim - before) <= reach
        np.testing.assert_allclose(state.distance_m[~near], (before + reach * np.sign(aim - before))[~near], rtol=1e-12)
        np.testing.assert_array_equal(state.waypoint_m[~near], aim[~near])
        assert (np.abs(state.distance_m - before)[near] <= reach + 1e-12).all()
        assert (state.waypoint_m[near] != aim[near]).all(), "a new waypoint on arrival"
        assert_within(state.distance_m, 3.0, 13.0)
        arrived += int(near.sum())
    assert arrived > 1000
    assert_within(state.waypoint_m, 3.0, 13.0)


def assert_within(values: np.ndarray, low: float, high: float) -> None:
    assert values.min() >= low
    assert values.max() <= high


def test_new_waypoints_are_even_and_independent():
    _, state, step = batch(400, speed_m_per_s=100.0)
    old, new, where = [], [], []
    for _ in range(10):
        old.append(state.waypoint_m.copy())
        step()
        where.append(state.distance_m.copy())
        new.append(state.waypoint_m.copy())
    assert_uniform(np.array(new), 3.0, 13.0)
    between = np.corrcoef(np.array(new).reshape(-1, 3), rowvar=False)
    assert np.abs(between - np.eye(3)).max() < 5 / np.sqrt(4000), "each device has its own"
    assert abs(np.corrcoef(np.ravel(old), np.ravel(new))[0, 1]) < 0.04
    np.testing.assert_array_equal(np.array(where), np.array(old), err_msg="so fast that each is reached at once")


def test_path_loss_follows_the_distance():
    """One element, one antenna: the gain is the product of two path losses and two fading powers."""
    options: dict[str, Any] = {
        "reference_gain_db": -25.0,
        "irs_ud_exponent": 3.1,
        "ap_irs_exponent": 2.4,
        "ap_irs_distance_m": 20.0,
    }
    _, state, step = batch(30, num_elements=1, num_antennas=1, **options)
    for _ in range(4):
        near = 10.0**-2.5 * state.distance_m**-3.1 * (state.irs_ud**2).sum(axis=(1, 3))
        ap = 10.0**-2.5 * 20.0**-2.4 * (state.ap_irs**2).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(state.gain_down, near * ap[:, None], rtol=1e-12)
        step()


def test_direct_path_does_not_depend_on_places_or_phases():
    _, state, step = batch(30, num_antennas=3, irs=False, direct_distance_m=40.0, direct_blockage_db=12.0)
    for _ in range(4):
        gain = 10.0**-3 * 40.0**-2.8 * 10.0**-1.2 * (state.direct**2).sum(axis=(1, 3))
        np.testing.assert_allclose(state.gain_down, gain, rtol=1e-12)
        np.testing.assert_array_equal(state.gain_up, state.gain_down)
        step()


@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_fading_has_unit_power_and_the_correlation_asked_for(correlation):
    _, state, step = batch(500, fading_correlation=correlation, uplink="independent")
    names = ("ap_irs", "irs_ap", "irs_ud", "direct")
    series: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for _ in range(8):
        for name in names:
            parts = getattr(state, name)
            series[name].append((parts[:, 0] + 1j * parts[:, 1]).reshape(500, -1))
        step()
    for name in names:
        fading = np.array(series[name])
        error = 5 / np.sqrt(fading.size / 8)  # neighbours in time are not independent
        assert (np.abs(fading) ** 2).mean() == pytest.approx(1.0, abs=error), name
        assert (np.abs(fading[0]) ** 2).mean() == pytest.approx(1.0, abs=error), f"{name} at the start"
        assert (np.abs(fading) ** 4).mean() == pytest.approx(2.0, abs=6 * error), f"{name} is not Rayleigh"
        assert abs((fading**2).mean()) < error, f"{name}: real and imaginary part"
        assert abs(fading.mean()) < error
        lag = (fading[1:] * fading[:-1].conj()).mean()
        assert lag == pytest.approx(correlation, abs=error), name
    flat = np.concatenate([np.array(series[name])[-1] for name in names], axis=1)
    cross = np.abs(flat.conj().T @ flat / 500 - np.eye(flat.shape[1]))
    assert cross.max() < 5 / np.sqrt(500), "links fade independently of one another"


def test_load_is_a_clipped_autoregression():
    _, state, step = batch(800, device_share_mean=0.6, device_share_deviation=0.2, device_share_correlation=0.75)
    series = []
    for _ in range(12):
        series.append(state.load.copy())
        left = np.clip(state.load, 0.4, 1.0)
        np.testing.assert_allclose(state.speed_flop_s, state.own_speed_flop_s * left, rtol=1e-12)
        step()
    load = np.array(series)
    assert ((load < 0.4) | (load > 1.0)).mean() > 0.1, "the regression itself is not clipped"
    for part in (load[0], load[-1]):
        assert part.mean() == pytest.approx(0.6, abs=0.02)
        assert part.std() == pytest.approx(0.2, abs=0.01)
    for lag in (1, 2):
        assert np.corrcoef(load[lag:].ravel(), load[:-lag].ravel())[0, 1] == pytest.approx(0.75**lag, abs=0.03)
    assert abs(np.corrcoef(load[-1][:, 0], load[-1][:, 1])[0, 1]) < 5 / np.sqrt(800), "each device its own"


def test_pool_is_a_markov_chain():
    _, state, step = batch(600, pool_levels=(0.3, 1.0, 1.5, 2.0), pool_stay_probability=0.6)
    moves = np.zeros((4, 4))
    starts = np.bincount(state.level, minlength=4) / 600
    np.testing.assert_allclose(starts, 0.25, atol=0.08)
    for _ in range(30):
        before = state.level.copy()
        nominal = 3 * 2e10 * np.array([0.3, 1.0, 1.5, 2.0])[before]
        np.testing.assert_allclose(state.capacity_flop_s, nominal, rtol=1e-12)
        step()
        np.add.at(moves, (before, state.level), 1)
    shares = moves / moves.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, np.where(np.eye(4) > 0, 0.6, 0.4 / 3), atol=0.02)


@pytest.mark.parametrize("stay", [0.0, 1.0])
def test_pool_that_always_or_never_stays(stay):
    _, state, step = batch(50, pool_stay_probability=stay)
    for _ in range(6):
        before = state.level.copy()
        step()
        assert ((state.level == before) == (stay == 1.0)).all()


def test_frozen_things_stay_bit_for_bit():
    _, state, step = batch(20, **STILL, uplink="independent")
    names = (
        "front_flop", "back_flop", "layer_flop", "own_speed_flop_s", "speed_flop_s", "distance_m", "level",
        "capacity_flop_s", "ap_irs", "irs_ap", "irs_ud", "direct", "channel", "gram_down", "gram_up",
    )  # fmt: skip
    kept = {name: getattr(state, name).copy() for name in names}
    assert not np.array_equal(kept["distance_m"][0], kept["distance_m"][1])
    for _ in range(5):
        step()
        for name in names:
            np.testing.assert_array_equal(getattr(state, name), kept[name], err_msg=name)
    np.testing.assert_array_equal(state.speed_flop_s, state.own_speed_flop_s)


@pytest.mark.parametrize(
    ("options", "moving"),
    [
        ({"speed_m_per_s": 1.0}, {"distance_m", "channel"}),
        ({"device_share_min": 0.4}, {"speed_flop_s"}),
        ({"device_share_min": 0.4, "device_share_correlation": 1.0}, set()),
        ({"pool_levels": (0.5, 1.5), "pool_stay_probability": 0.2}, {"level", "capacity_flop_s"}),
        ({"fading_correlation": 0.5}, {"ap_irs", "irs_ud", "direct", "channel", "gram_down"}),
        ({"devices": "frame"}, {"front_flop", "own_speed_flop_s", "speed_flop_s", "distance_m", "channel"}),
    ],
)
def test_each_motion_can_be_thawed_alone(options, moving):
    _, state, step = batch(20, **{**STILL, **options})
    names = (
        "front_flop", "own_speed_flop_s", "speed_flop_s", "distance_m", "level", "capacity_flop_s", "ap_irs", "irs_ud",
        "direct", "channel", "gram_down",
    )  # fmt: skip
    kept = {name: getattr(state, name).copy() for name in names}
    step()
    assert {name for name in names if not np.array_equal(getattr(state, name), kept[name])} == moving


def test_devices_stay_for_an_episode_or_for_ever():
    def devices(seed: int, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        _, state, step = batch(2, seed, **options)
        first = np.concatenate([state.own_speed_flop_s, state.front_flop[..., 0], state.distance_m])
        step()
        return first, np.concatenate([state.own_speed_flop_s, state.front_flop[..., 0]])

    for mode in ("fixed", "episode"):
        first, after = devices(0, devices=mode)
        np.testing.assert_array_equal(first[:4], after)
    first, after = devices(0, devices="frame")
    assert (first[:4] != after).all()
    fixed = devices(0, devices="fixed")[0]
    np.testing.assert_array_equal(fixed[0], fixed[1], err_msg="the same in every world")
    np.testing.assert_array_equal(fixed, devices(1, devices="fixed")[0])
    assert (fixed != devices(0, devices="fixed", devices_seed=1)[0]).all()
    assert (devices(0)[0] != devices(1)[0]).all()


def test_devices_of_every_frame_are_drawn_evenly():
    _, state, step = batch(600, devices="frame")
    kept = state.own_speed_flop_s.copy(), state.distance_m.copy()
    step()
    assert_uniform(state.own_speed_flop_s, 5e9, 12e9)
    assert_uniform(state.distance_m, 3.0, 13.0)
    assert_uniform(np.diff(state.front_flop, axis=2, prepend=0.0), 0.5e9, 1.5e9)
    for old, new in zip(kept, (state.own_speed_flop_s, state.distance_m), strict=True):
        assert abs(np.corrcoef(old.ravel(), new.ravel())[0, 1]) < 0.1


CIRCUIT: dict[str, Any] = {"mobility": "circuit", "distance_min_m": 2.0, "distance_max_m": 8.0}


def test_devices_go_round_their_circuits():
    """While it moves, a device advances by 1 / period; the distance follows from its place."""
    _, state, step = batch(300, **CIRCUIT, stop_probability=0.2, go_probability=0.4)
    assert_uniform(state.lap, 0.0, 1.0)
    assert_uniform(state.period_frames, 30.0, 60.0)
    assert_uniform(state.shadow_share, 0.2, 0.4)
    assert_uniform(state.shadow_start, 0.0, 1.0)
    assert state.moving.mean() == pytest.approx(2 / 3, abs=0.06), "stationary from the start"
    fixed = {name: getattr(state, name).copy() for name in ("period_frames", "shadow_share", "shadow_start")}
    moves = np.zeros((2, 2))
    for _ in range(20):
        lap, moving = state.lap.copy(), state.moving.copy()
        step()
        way = (state.lap - lap) % 1.0
        np.testing.assert_allclose(way, state.moving / state.period_frames, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(state.distance_m, 5.0 - 3.0 * np.cos(2.0 * np.pi * state.lap), rtol=1e-12)
        np.add.at(moves, (moving, state.moving), 1)
        for name, values in fixed.items():
            np.testing.assert_array_equal(getattr(state, name), values)
    shares = moves / moves.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, [[0.6, 0.4], [0.2, 0.8]], atol=0.02)


def test_the_shadow_is_an_arc_of_the_circuit():
    """The same random numbers without a shadow: gains differ by its loss where a device is in the arc, and only there.

    Random phases do not depend on the gains.
    """
    pair = [batch(100, **CIRCUIT, shadow_db=loss) for loss in (13.0, 0.0)]
    shadowed = 0
    for _ in range(5):
        (_, state, _), (_, clear, _) = pair
        inside = (state.lap - state.shadow_start) % 1.0 < state.shadow_share
        ratio = state.gain_down / clear.gain_down
        np.testing.assert_allclose(ratio, np.where(inside, 10.0**-1.3, 1.0), rtol=1e-9)
        shadowed += int(inside.sum())
        for _, _, step in pair:
            step()
    assert shadowed / 1500 == pytest.approx(0.3, abs=0.05)


def test_load_that_is_busy_or_free_is_a_markov_chain():
    options: dict[str, Any] = {"device_load": "busy-free", "device_share_min": 0.35}
    _, state, step = batch(500, **options, busy_probability=0.1, free_probability=0.3)
    assert (state.load < 1.0).mean() == pytest.approx(0.25, abs=0.05), "stationary from the start"
    moves = np.zeros((2, 2))
    for _ in range(20):
        before = (state.load < 1.0).astype(int)
        np.testing.assert_array_equal(state.load, np.where(before, 0.35, 1.0))
        np.testing.assert_allclose(state.speed_flop_s, state.own_speed_flop_s * state.load, rtol=1e-12)
        step()
        np.add.at(moves, (before, (state.load < 1.0).astype(int)), 1)
    shares = moves / moves.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, [[0.9, 0.1], [0.3, 0.7]], atol=0.02)
    _, always, step = batch(20, **options, busy_probability=0.0, free_probability=0.0)
    for _ in range(3):
        step()
        assert (always.load == 1.0).all(), "a chain without changes is free"


def test_a_frame_has_the_work_of_all_its_exchanges():
    _, one, _ = batch(5)
    _, many, _ = batch(5, exchanges_per_frame=6)
    np.testing.assert_allclose(many.front_flop, 6.0 * one.front_flop, rtol=1e-12)
    np.testing.assert_allclose(many.back_flop, 6.0 * one.back_flop, rtol=1e-9, atol=1.0)
    np.testing.assert_array_equal(many.layer_flop, one.layer_flop)


def test_weights_move_when_the_cut_changes():
    """The bits of the layers between the cuts, trained ones up and new ones down, in the frame of the change only."""
    options: dict[str, Any] = {"migration": True, "twins": "none", "initial_cut": 2, "weight_bits": 4}
    system, state, step = batch(2, **options)
    sizes = np.cumsum([1792, 36928, 73856, 147584, 295168, 590080, 590080, 1180160, 2359808, 2359808, 1049088, 5130])
    assert (system.cut_numbers[state.held] == 2).all()
    assert system.members == 3
    before = np.full((2, 3), 2)
    for cuts in ([5, 1, 2], [5, 1, 12], [12, 12, 12], [1, 2, 3]):
        now = np.tile(cuts, (2, 1))
        outcome = step(now - 1)
        bits = 4.0 * (sizes[now - 1] - sizes[before - 1])
        of = outcome.member_metrics
        np.testing.assert_allclose(of["migration_bits"], np.abs(bits), rtol=1e-12)
        np.testing.assert_array_equal(of["changed"], now != before)
        up, down = of["delay_uplink_s"], of["delay_downlink_s"]
        np.testing.assert_array_less(0.0, of["migration_s"][bits != 0.0])
        assert (of["migration_s"][bits == 0.0] == 0.0).all()
        sent = np.where(bits > 0.0, down, up)
        assert (of["migration_s"] <= sent * (1.0 + 1e-12)).all()
        last = (now == 12) & (bits != 0.0)
        np.testing.assert_allclose(of["migration_s"][last], down[last], rtol=1e-12, err_msg="it exchanges nothing else")
        np.testing.assert_array_equal(state.held, now - 1)
        before = now


def test_backlog_is_what_the_frame_could_not_serve():
    """The backlog grows if the pool is too slow for the work, and empties if it is fast enough."""
    system, state, step = batch(4, backlog=True, pool_levels=(1.0,), pool_per_device_flop_s=5e9, twins="none")
    last = np.full((4, 3), 11)
    for _ in range(3):
        before = state.backlog_flop.copy()
        work = state.back_flop[..., 0].sum(axis=1)
        outcome = step()
        np.testing.assert_allclose(state.backlog_flop, before + work - 1.5e10, rtol=1e-12)
    waiting = outcome.metrics[:, [metric.name for metric in system.metrics].index("backlog_s")]
    np.testing.assert_allclose(waiting, before / 1.5e10, rtol=1e-12)
    for _ in range(30):
        before = state.backlog_flop.copy()
        step(last)
        np.testing.assert_allclose(state.backlog_flop, np.maximum(before - 1.5e10, 0.0), rtol=1e-12)
    assert (state.backlog_flop == 0.0).all()


# Random numbers


ABLATIONS: dict[str, dict[str, Any]] = {
    "no-irs": {"irs": False},
    "random-phase": {"phase": "random"},
    "ascent": {"phase": "ca"},
    "no-dt": {"twins": "none"},
    "threshold": {"twins": "threshold"},
    "equal-power": {"power": "equal"},
    "passes": {"phase_passes": 2},
    "leakage": {"leakage_s": 0.5},
    "raw-input": {"first_cut": 0},
    "backlog": {"backlog": True},
    "hermitian": {"uplink": "hermitian"},
    "migration": {"migration": True, "twins": "none", "exchanges_per_frame": 3, "initial_cut": 2},
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_ablations_share_their_random_numbers(name):
    """The same seed gives the same devices, channels and pool in every ablation, over two episodes."""
    plain, other = make(), make(**ABLATIONS[name])
    one, two = plain.state, other.state
    shared = (
        "own_speed_flop_s", "load", "speed_flop_s", "layer_flop", "distance_m", "waypoint_m", "level",
        "capacity_flop_s", "ap_irs", "irs_ud", "direct",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for env in (plain, other):
        env.reset(seed=21)
    for step in range(9):
        for field in shared:
            np.testing.assert_array_equal(getattr(one, field), getattr(two, field), err_msg=f"{field} at {step}")
        if step == 4:
            plain.reset()
            other.reset()
        plain.step(rng.integers(0, plain.action_space.nvec))
        other.step(rng.integers(0, other.action_space.nvec))
    assert not np.array_equal(one.gain_down, two.gain_down) or name not in ("no-irs", "random-phase")


def test_actions_do_not_change_what_comes():
    one, other = make(), make()
    for env, action in ((one, 0), (other, 6)):
        env.reset(seed=4)
        for _ in range(5):
            env.step(np.full(5, action))
    np.testing.assert_array_equal(one.state.gain_down, other.state.gain_down)
    np.testing.assert_array_equal(one.state.speed_flop_s, other.state.speed_flop_s)
    np.testing.assert_array_equal(one.state.capacity_flop_s, other.state.capacity_flop_s)
