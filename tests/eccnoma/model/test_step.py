"""A step against the slow simulator of `reference_step`: rates, delays, costs, service; and feasible decisions."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.eccnoma.config import ECCNOMAConfig
from tests.eccnoma import reference_server
from tests.eccnoma.model import reference_report
from tests.eccnoma.model import reference_step as slow
from tests.eccnoma.model.problems import every_config, make, play, random_action
from tests.eccnoma.model.reference_step import Decisions, Floats, Result, World
from tests.eccnoma.solvers.problems import Pool

SOLVER_METRICS = {"server_gap", "sweeps", "assignment_gap_uplink", "assignment_gap_downlink", "certificate"}
"""What only the solvers can say of themselves."""


# A frame


@every_config
def test_frames_equal_the_slow_simulator(name):
    """Every number of `info`, rewards and backlogs, from the state before and the decisions alone."""
    for env, w, d, r, after, info in play(name, 6):
        c = env.system.config
        expected = reference_report.expected_info(c, w, d, r, after)
        assert set(expected) | SOLVER_METRICS == {metric.name for metric in env.system.metrics}
        for key, value in expected.items():
            assert info[key] == pytest.approx(value, rel=1e-9, abs=1e-12), key
        assert info["reward"] == pytest.approx(-expected["relative_cost"], rel=1e-9)
        members = reference_report.expected_members(c, w, d, r, after)
        assert set(members) == {key.removeprefix("member_") for key in info if key.startswith("member_")}
        for key, values in members.items():
            np.testing.assert_allclose(info["member_" + key], values, rtol=1e-9, atol=1e-12, err_msg=key)
        np.testing.assert_allclose(after.queue, slow.next_queue(c, r, after), rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(env.state.ap[0], r.ap)
        mean_gain = slow.path_gain(c, w.place_m)
        np.testing.assert_allclose(env.state.gain_up[0], after.fading_up * mean_gain, rtol=1e-9)
        np.testing.assert_allclose(env.state.gain_down[0], after.fading_down * mean_gain, rtol=1e-9)


def test_the_configurations_reach_every_corner():
    """All send, none does, some drop, some overflow, some serve a part, some share the pool: or the tests are blind."""
    seen = dict.fromkeys(("all", "none", "drops", "overflow", "partial", "pool", "sends-without-work"), False)
    for name in ("default", "crowd", "swamped", "all-cuts", "one-task"):
        for _, w, d, r, _, info in play(name, 25):
            busy = w.queue > 0.0
            seen["all"] |= bool(r.sends.all())
            seen["none"] |= bool(not r.sends.any())
            seen["drops"] |= info["tasks_dropped"] > 0.0
            seen["overflow"] |= info["overflow"] > 0.0
            seen["partial"] |= bool((r.left[busy] > 0.0).any())
            seen["pool"] |= bool((d.units > 0.0).sum() > 2)
            seen["sends-without-work"] |= bool((r.sends & (r.work_flop == 0.0)).any())
    assert seen == dict.fromkeys(seen, True)


# What may be decided


def free_and_most(c: ECCNOMAConfig, ap: np.ndarray, bands: int, sends: np.ndarray) -> list[int]:
    """Most users of each access point that may be on one band."""
    capacity = 1 if c.access == "fdma" else c.capacity if c.access == "noma" else 0
    return [max(capacity, -(-int(sends[ap == n].sum()) // bands)) for n in range(c.num_aps)]


@every_config
def test_decisions_are_feasible(name):
    """One band for each that sends and none for others, seats, limits of power, the pool, the units of a user."""
    for env, w, d, r, _, info in play(name, 8):
        c: ECCNOMAConfig = env.system.config
        bands = slow.bands_of(c, r.ap)
        for band, power_w, low, high in (
            (d.band_up, d.power_up_w, c.power_up_min_dbm, c.power_up_max_dbm),
            (d.band_down, d.power_down_w, c.power_down_min_dbm, c.power_down_max_dbm),
        ):
            assert ((band[r.sends] >= 0) & (band[r.sends] < bands)).all()
            assert (band[~r.sends] == -1).all()
            assert (power_w[~r.sends] == 0.0).all()
            assert (power_w[r.sends] >= slow.watt(low) * (1.0 - 1e-12)).all()
            assert (power_w[r.sends] <= slow.watt(high) * (1.0 + 1e-12)).all()
            if c.power == "full":
                np.testing.assert_allclose(power_w[r.sends], slow.watt(high), rtol=1e-12)
            for n, most in enumerate(free_and_most(c, r.ap, bands, r.sends)):
                load = np.bincount(band[r.sends & (r.ap == n)], minlength=bands)
                assert load.max(initial=0) <= most
        works = r.work_flop > 0.0
        assert (d.units[works] > 0.0).all()
        assert (d.units[~works] == 0.0).all()
        assert (d.units <= c.units_max * (1.0 + 1e-12)).all()
        if c.pool_units is not None:
            used = np.array([d.units[r.ap == n].sum() for n in range(c.num_aps)])
            assert (used <= reference_report.free_units(c, w) * (1.0 + 1e-12)).all()
        if c.pool_units is None:
            assert (d.units[works] >= c.units_min * (1.0 - 1e-12)).all()
        assert info["sweeps"] <= 2 * c.sweeps
        assert info["sweeps"] == int(info["sweeps"])


def pool_of(c: ECCNOMAConfig, w: World, r: Result, n: int) -> tuple[Pool, np.ndarray]:
    """One access point's pool, and who shares it: delays count Q (Q + 1) / 2 times, energies Q times."""
    here = np.flatnonzero((r.ap == n) & (r.work_flop > 0.0))
    queue = w.queue[here]
    waits = c.weight_delay * queue * (queue + 1.0) / 2.0
    energies = c.weight_energy * queue * c.server_energy_coefficient
    units = reference_report.free_units(c, w)[n]
    return Pool(r.work_flop[here], waits, energies, units, c.units_max, c.unit_speed_flop_s, c.core_overhead), here


@pytest.mark.parametrize("name", ["default", "large", "paper-pooled", "wide-pool", "one-ap", "dear-energy", "swamped"])
def test_the_pools_shares_are_within_the_gap_of_the_optimum(name):
    """Of all access points together; nothing is lost where there is room for everybody."""
    largest = 0.0
    for env, w, d, r, _, info in play(name, 8):
        c = env.system.config
        ours, best, bound = 0.0, 0.0, 0.0
        for n in range(c.num_aps):
            pool, here = pool_of(c, w, r, n)
            if len(here):
                optimum = reference_server.solve(pool)
                ours += reference_server.cost(pool, d.units[here])
                best, bound = best + optimum.cost, bound + optimum.bound
        assert ours >= bound * (1.0 - 1e-9)
        assert 0.0 <= info["server_gap"] < 0.06
        assert ours * (1.0 - info["server_gap"]) <= best * (1.0 + 1e-9)
        largest = max(largest, ours / best - 1.0 if best > 0.0 else 0.0)
    assert largest < 0.05
    assert (largest > 1e-6) == (name not in ("wide-pool", "dear-energy"))


@pytest.mark.parametrize("name", ["no-pool", "no-pool-slow", "paper", "free-energy"])
def test_units_without_a_pool_are_each_users_best(name):
    """Against a fine grid of all units from the least to the most."""
    for env, w, d, r, _, info in play(name, 4, pool_units=None):
        c = env.system.config
        grid = np.linspace(c.units_min, c.units_max, 20001)
        speed = np.array([slow.speed_flop_s(c, units) for units in grid])
        assert 0.0 <= info["server_gap"] <= 1e-12
        for u in np.flatnonzero(r.work_flop > 0.0).tolist():
            queue = w.queue[u]
            wait = c.weight_delay * queue * (queue + 1.0) / 2.0
            energy = c.weight_energy * queue * c.server_energy_coefficient
            best = grid[np.argmin(wait / speed + energy * speed**2)]
            assert d.units[u] == pytest.approx(best, abs=1.5 * (grid[1] - grid[0]))


@pytest.mark.parametrize(("name", "everybody"), [("full-power", False), ("equal-units", True)])
def test_equal_parts_of_the_pool(name, everybody):
    """For each user that asks, or for each of the access point's users; never more than a user can have."""
    capped, parts = 0, 0
    for env, w, d, r, _, info in play(name, 10):
        c = env.system.config
        for n in range(2):
            here = (r.work_flop > 0.0) & (r.ap == n)
            if here.any():
                part = reference_report.free_units(c, w)[n] / ((r.ap == n) if everybody else here).sum()
                np.testing.assert_allclose(d.units[here], min(part, c.units_max), rtol=1e-12)
                capped += part > c.units_max
                parts += 1
        assert np.isnan(info["server_gap"])
    assert 0 < capped < parts


def test_as_many_units_as_can_be_without_a_pool():
    for _, _, d, r, _, info in play("most-units-alone", 4):
        assert d.units[r.work_flop > 0.0].tolist() == [6.0] * int((r.work_flop > 0.0).sum())
        assert np.isnan(info["server_gap"])


# Rules of the frame by hand


def test_padding_is_computed_on_the_device():
    """A choice that a network does not have is the device, in costs and in the shares that are reported."""
    one, other = (make("default", networks=("nin@32", "tiny-yolov2-cifar@32")) for _ in range(2))
    for env in (one, other):
        env.reset(seed=2)
    nin = one.state.network[0] == 0
    assert 0 < nin.sum() < 12
    ours, theirs = one.step(np.where(nin, 4, 1)), other.step(np.ones(12, dtype=int))
    assert ours[1] == theirs[1]
    assert ours[4]["local_share"] == theirs[4]["local_share"] == 1.0
    np.testing.assert_array_equal(ours[0], theirs[0])


def test_users_without_tasks_change_nothing():
    """Whatever they choose: no cost, no interference, no units; only their cut is reported, and seen next time."""
    one, other = make("default"), make("default")
    idle_frames = 0
    for env in (one, other):
        env.reset(seed=1)
    for _ in range(10):
        idle = one.state.queue[0] == 0.0
        idle_frames += bool(idle.any() and not idle.all())
        ours, theirs = one.step(np.zeros(12, dtype=int)), other.step(np.where(idle, 1, 0))
        assert ours[1] == theirs[1]
        for key, values in ours[4].items():
            if key not in ("member_cut", "action_mask"):
                np.testing.assert_array_equal(values, theirs[4][key], err_msg=key)
        assert (ours[4]["member_cut"] != theirs[4]["member_cut"]).tolist() == idle.tolist()
        numbers = [values for key, values in ours[4].items() if key.startswith("member_")]
        for key in ("cost", "delay_s", "energy_j", "rate_uplink_bit_s", "server_units", "tasks_finished"):
            assert not ours[4]["member_" + key][idle & (ours[4]["member_tasks_dropped"] == 0.0)].any(), key
        assert (ours[4]["member_subchannel"][idle] == -1.0).all()
        assert all(np.isfinite(values).all() for values in numbers)
    assert idle_frames >= 5


@every_config
def test_nobody_sends_with_everything_on_the_device(name):
    """Device-Only makes no radio call: no rates, no powers, no units, no sweeps."""
    env = make(name)
    env.reset(seed=0)
    device = np.array([np.argmax(table.cut) for table in slow.tables_of(env.system.config)])
    for _ in range(3):
        info = env.step(device[env.state.network[0]])[4]
        for key in ("rate_uplink_bit_s", "rate_downlink_bit_s", "power_uplink_w", "server_units", "overflow",
                    "delay_uplink_s", "energy_server_j", "sweeps"):  # fmt: skip
            assert info[key] == 0.0, key
        for key in ("certificate", "server_gap", "assignment_gap_uplink", "assignment_gap_downlink"):
            assert info[key] == 0.0 or np.isnan(info[key]), key
        assert not any(info["member_" + key].any() for key in ("rate_uplink_bit_s", "power_downlink_w", "server_units"))
        assert info["local_share"] == (1.0 if info["tasks_finished"] > 0.0 else 0.0)


def test_what_is_decided_is_for_the_true_channels():
    """Not for those that are seen: shuffling what is seen changes no decision."""
    one, other = make("default"), make("default")
    for env in (one, other):
        env.reset(seed=4)
    rng = np.random.default_rng(0)
    for _ in range(4):
        other.state.seen_up[:] = rng.permutation(other.state.seen_up, axis=2)
        other.state.seen_level[:] = 0
        action = random_action(one, rng)
        assert one.step(action)[1] == other.step(action)[1]


def array_of(values: Floats | Decisions) -> Floats:
    """All numbers of some decisions."""
    return np.concatenate([np.atleast_1d(part) for part in values])


def test_the_same_state_gives_the_same_decisions():
    """The solvers remember nothing from frame to frame."""
    one, other = make("default"), make("default")
    one.reset(seed=4)
    other.reset(seed=9)
    for _ in range(3):
        other.step(np.zeros(12, dtype=int))
    for old, new in zip(other.state[:-1], one.state[:-1], strict=True):
        old[:] = new
    action = random_action(one, np.random.default_rng(3))
    one.step(action)
    other.step(action)
    np.testing.assert_array_equal(array_of(slow.decisions_of(one)), array_of(slow.decisions_of(other)))


# Extremes


@pytest.mark.parametrize(
    "options",
    [
        {"path_loss_exponent": 10.0, "side_m": 1e6},
        {"path_loss_exponent": 10.0, "side_m": 1e30, "reference_gain_db": -300.0, "num_users": 40},
        {"unit_speed_flop_s": 1.0, "speed_min_flop_s": 1.0, "speed_max_flop_s": 1.0},
        {"bandwidth_up_hz": 1.0, "bandwidth_down_hz": 1.0, "power_up_min_dbm": -300.0, "power_up_max_dbm": -300.0},
        {"bandwidth_up_hz": 1e15, "noise_dbm_per_hz": 300.0},
        {"reference_gain_db": 300.0, "noise_dbm_per_hz": -300.0},
    ],
)  # fmt: skip
def test_extreme_systems_have_finite_rewards(options: dict[str, Any]):
    env: Any = gym.make("ECCNOMA-v0", **options).unwrapped
    observation, _ = env.reset(seed=0)
    for step in range(6):
        action = np.full(env.system.members, step % 2)
        observation, reward, _, _, info = env.step(action)
        assert np.isfinite(reward)
        assert np.isfinite(observation).all()
        assert all(np.isfinite(value).all() for key, value in info.items() if not isinstance(value, dict)), step
        assert reward == pytest.approx(info["member_reward"].sum(), rel=1e-12)
