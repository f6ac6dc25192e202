"""From frame to frame: fading, what is seen of it, tenants, bursts, arrivals, backlogs; and the paper's own case."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from edge_envs.eccnoma.model import dynamics
from edge_envs.eccnoma.model.state import State
from edge_envs.eccnoma.system import ECCNOMASystem
from tests.eccnoma.model import reference_step as slow
from tests.eccnoma.model.problems import LITERAL, PAPER, every_config, make, random_action


class Walk:
    """Processes of one world without anybody who decides: no frame is solved, so that many pass quickly."""

    def __init__(self, seed: int = 0, **options: Any) -> None:
        self.system = ECCNOMASystem.from_options("default", options)
        self.rng = np.random.default_rng(seed)
        self.state: State = self.system.allocate(1)
        self.system.reset(self.state, np.zeros(1, dtype=np.int64), (self.rng,))

    def restart(self) -> None:
        """A new episode."""
        self.system.reset(self.state, np.zeros(1, dtype=np.int64), (self.rng,))

    def go(self) -> None:
        """The next frame."""
        dynamics.draw(self.system.parameters, self.state, 0, self.rng)
        dynamics.advance(self.system.parameters, self.state, 0, False)

    def history(self, frames: int, *names: str) -> list[np.ndarray]:
        """Some fields over frames, each (frames, ...)."""
        rows: list[list[np.ndarray]] = [[] for _ in names]
        for _ in range(frames):
            for row, name in zip(rows, names, strict=True):
                row.append(getattr(self.state, name)[0].copy())
            self.go()
        return [np.array(row) for row in rows]


# Fading


@pytest.mark.parametrize("correlation", [0.0, 0.9, 0.3])
def test_fading_is_rayleigh_with_the_given_correlation(correlation):
    """Gains over path gains are Exp(1), alike for all links and both directions; powers correlate with rho^2."""
    walk = Walk(fading_correlation=correlation, num_users=20)
    for name in ("gain_up", "gain_down"):
        (gain,) = walk.history(400, name)
        power = (gain / walk.state.path_gain[0]).reshape(400, -1)
        links = power.shape[1]
        # As many as independent frames: those of an AR(1) process whose powers correlate with rho^2.
        worth = 400 * links * (1.0 - correlation**2) / (1.0 + correlation**2)
        assert power.mean() == pytest.approx(1.0, abs=4.0 / np.sqrt(worth))
        for level in (0.05, 0.5, 1.0, 3.0):
            expected = 1.0 - np.exp(-level)
            assert (power < level).mean() == pytest.approx(expected, abs=4.0 * np.sqrt(expected / worth))
        centred = power - 1.0
        for lag in (1, 2, 5):
            found = (centred[lag:] * centred[:-lag]).mean()
            assert found == pytest.approx(correlation ** (2 * lag), abs=12.0 / np.sqrt(worth))
        across = np.corrcoef(power[::20].T)
        assert np.abs(across[np.triu_indices(links, 1)]).mean() < 0.25


def test_complex_fading_turns_slowly():
    """The mean of h(t + 1) conj h(t) is rho, with nothing imaginary; real and imaginary part are alike."""
    walk = Walk(fading_correlation=0.9)
    parts_up, parts_down = walk.history(500, "fading_up", "fading_down")
    for parts in (parts_up, parts_down):
        h = parts[:, 0] + 1j * parts[:, 1]
        assert (h[1:] * h[:-1].conj()).mean() == pytest.approx(0.9, abs=0.02)
        assert (h[3:] * h[:-3].conj()).mean() == pytest.approx(0.9**3, abs=0.02)
        assert (h**2).mean() == pytest.approx(0.0, abs=0.02)
        assert (parts**2).mean(axis=(0, 2, 3, 4)).tolist() == pytest.approx([0.5, 0.5], abs=0.02)
    assert np.abs(np.corrcoef(parts_up.reshape(-1), parts_down.reshape(-1))[0, 1]) < 0.01


def test_fading_that_never_changes():
    """Correlation 1 keeps the gains of the first frame, all of an episode."""
    walk = Walk(fading_correlation=1.0)
    gain_up, gain_down = walk.history(5, "gain_up", "gain_down")
    for gain in (gain_up, gain_down):
        np.testing.assert_allclose(gain, np.broadcast_to(gain[0], gain.shape), rtol=1e-12)
    walk.restart()
    assert (walk.state.gain_up[0] != gain_up[0]).all()


@every_config
def test_what_is_seen_is_one_frame_old_or_new(name):
    """Channels and background load, also right after a reset, where the frame before it is seen."""
    env = make(name)
    stale = env.system.config.csi_delay == 1
    env.reset(seed=0)
    rng, s = np.random.default_rng(0), env.state
    for _ in range(5):
        pairs = [(s.gain_up, s.seen_up), (s.gain_down, s.seen_down), (s.level, s.seen_level)]
        before = [true.copy() for true, _ in pairs]
        env.step(random_action(env, rng))
        for (true, seen), old in zip(pairs, before, strict=True):
            np.testing.assert_array_equal(seen, old if stale else true)


def test_the_first_frame_already_has_a_past():
    """Old and new gains differ by one frame's fading, as at any other time."""
    walk, products, levels = Walk(), [], []
    for _ in range(60):
        walk.restart()
        s = walk.state
        products.append(((s.gain_up - s.path_gain) * (s.seen_up - s.path_gain) / s.path_gain**2).mean())
        levels.append((s.level[0], s.seen_level[0]))
    assert np.mean(products) == pytest.approx(0.81, abs=0.06)
    moved = np.array([new != old for new, old in levels])
    # Two of three levels have two neighbours, the outer ones lose half of their moves.
    assert moved.mean() == pytest.approx(0.1 * 2.0 / 3.0, abs=4.0 * np.sqrt(0.067 / moved.size))


# Tenants


@pytest.mark.parametrize(("stay", "levels"), [(0.9, 3), (0.5, 2), (0.0, 4)])
def test_background_load_is_a_birth_death_chain(stay, levels):
    """It starts evenly, goes to neighbours only, at the same rate up and down, and stays where there is none."""
    parts = tuple(np.linspace(0.0, 0.7, levels).tolist())
    walk = Walk(background_stay_probability=stay, background_levels=parts, num_aps=8, num_users=1, num_subchannels=1)
    (path,) = walk.history(3000, "level")
    counts = np.zeros((levels, levels))
    np.add.at(counts, (path[:-1].reshape(-1), path[1:].reshape(-1)), 1)
    expected = np.diag(np.full(levels, stay))
    for i in range(levels):
        for to in (i - 1, i + 1):
            expected[i, min(max(to, 0), levels - 1)] += 0.5 * (1.0 - stay)
    visits = counts.sum(axis=1, keepdims=True)
    assert (counts[expected == 0.0] == 0).all()
    assert (np.abs(counts / visits - expected) <= 4.5 * np.sqrt(expected * (1.0 - expected) / visits) + 1e-12).all()
    starts = []
    for _ in range(200):
        walk.restart()
        starts.append(walk.state.seen_level[0].copy())
    share = np.bincount(np.array(starts).reshape(-1), minlength=levels) / np.size(starts)
    assert (np.abs(share - 1.0 / levels) < 4.5 * np.sqrt(0.25 / np.size(starts))).all()


# Tasks


def test_phases_begin_and_end_as_configured():
    """From the stationary start on: each phase lasts its time, and bursts their part of it."""
    walk = Walk(num_users=40, num_aps=1, num_subchannels=1)
    (path,) = walk.history(2000, "phase")
    for phase, ends in ((dynamics.QUIET, 0.033), (dynamics.BURST, 0.1)):
        there = path[:-1] == phase
        assert (path[1:][there] != phase).mean() == pytest.approx(ends, abs=4.5 * np.sqrt(ends / there.sum()))
    stationary = 0.033 / 0.133
    starts = []
    for _ in range(100):
        walk.restart()
        starts.append(walk.state.phase[0].mean())
    assert np.mean(starts) == pytest.approx(stationary, abs=4.5 * np.sqrt(stationary / 4000))


@pytest.mark.parametrize(("quiet", "burst", "frame_s"), [(0.5, 4.0, 1.0), (3.0, 20.0, 2.0), (0.0, 5.0, 0.5)])
def test_arrivals_are_poisson_at_the_rate_of_the_phase(quiet, burst, frame_s):
    """Of the frame's own phase, and independent from user to user and frame to frame."""
    options: dict[str, Any] = {"num_users": 30, "num_aps": 1, "num_subchannels": 1, "burst_begins_probability": 0.1}
    walk = Walk(quiet_rate=quiet, burst_rate=burst, frame_s=frame_s, **options)
    path, arrived = walk.history(1500, "phase", "arrived")
    for phase, rate in ((dynamics.QUIET, quiet * frame_s), (dynamics.BURST, burst * frame_s)):
        counts = arrived[path == phase]
        if rate == 0.0:
            assert not counts.any()
            continue
        highest = int(stats.poisson.ppf(0.999, rate))
        expected = stats.poisson.pmf(np.arange(highest + 1), rate) * len(counts)
        usual = expected > 8.0
        found = np.bincount(counts.astype(int), minlength=highest + 1)[: highest + 1]
        excess = ((found - expected) ** 2 / expected)[usual].sum()
        assert excess < stats.chi2.ppf(0.9999, usual.sum())
    quiet_only = np.where(path == dynamics.QUIET, arrived - quiet * frame_s, 0.0)
    assert abs((quiet_only[1:] * quiet_only[:-1]).mean()) < 0.05 * max(quiet * frame_s, 1.0)
    assert arrived.mean() == pytest.approx(walk.system.config.mean_arrivals, rel=0.08)


@pytest.mark.parametrize("name", ["default", "swamped", "quiet", "narrow"])
def test_tasks_are_served_dropped_or_wait(name):
    """Over an episode nothing is lost or made; backlogs follow their recursion and stay within their limits."""
    env = make(name)
    c = env.system.config
    env.reset(seed=8)
    rng = np.random.default_rng(0)
    begun = env.state.queue[0].sum()
    np.testing.assert_array_equal(env.state.queue[0], np.minimum(env.state.arrived[0], c.queue_max))
    came, finished, dropped = 0.0, 0.0, 0.0
    for _ in range(60):
        before = env.state.queue[0].copy()
        info = env.step(random_action(env, rng))[4]
        after, arrived = env.state.queue[0], env.state.arrived[0]
        assert (arrived == np.round(arrived)).all()
        left = np.maximum(before - info["member_tasks_finished"], 0.0)
        np.testing.assert_allclose(after, np.minimum(left + arrived, c.queue_max), rtol=1e-12)
        np.testing.assert_allclose(info["member_tasks_dropped"], left + arrived - after, atol=1e-12)
        assert ((after >= 0.0) & (after <= c.queue_max)).all()
        assert (info["member_tasks_finished"] <= before * (1.0 + 1e-12)).all()
        came, finished, dropped = (
            came + arrived.sum(),
            finished + info["tasks_finished"],
            dropped + info["tasks_dropped"],
        )
        assert info["backlog_tasks"] == pytest.approx(after.sum(), rel=1e-12)
    assert begun + came == pytest.approx(finished + dropped + env.state.queue[0].sum(), rel=1e-10)
    assert (dropped > 0.0) == (name != "quiet")


def test_a_frame_ends_for_all_at_once():
    """What is served takes the frame or empties the backlog; a task's delay takes no more than its part of it."""
    env = make("swamped")
    env.reset(seed=0)
    partial = 0
    for _ in range(10):
        before = env.state.queue[0].copy()
        info = env.step(np.zeros(12, dtype=int))[4]
        spent = info["member_tasks_finished"] * info["member_delay_s"]
        done = info["member_tasks_finished"] == before
        np.testing.assert_allclose(spent[~done], 1.0, rtol=1e-12)
        assert (spent[done] <= 1.0 + 1e-12).all()
        partial += int((~done).sum())
    assert partial > 10


def test_episodes_differ_and_seeds_do_not():
    """Users are drawn in each episode: networks evenly, speeds log-uniform, places all over the square."""
    walk = Walk(num_users=50)
    networks, speeds, places = [], [], []
    for _ in range(60):
        walk.restart()
        networks.append(walk.state.network[0].copy())
        speeds.append(walk.state.speed_flop_s[0].copy())
        places.append(walk.state.place_m[0].copy())
    share = np.bincount(np.concatenate(networks), minlength=3) / 3000
    assert share.tolist() == pytest.approx([1 / 3] * 3, abs=0.04)
    levels = np.log(np.concatenate(speeds) / 0.5e9) / np.log(6.0)
    assert stats.kstest(levels, "uniform").pvalue > 1e-3
    assert stats.kstest(np.concatenate(places).reshape(-1) / 400.0, "uniform").pvalue > 1e-3
    corner = np.corrcoef(np.concatenate(places).T)[0, 1]
    assert abs(corner) < 0.06
    one, other, third = Walk(3), Walk(3), Walk(4)
    for walk in (one, other, third):
        walk.go()
    for name, values in one.state._asdict().items():
        if name != "workspace":
            np.testing.assert_array_equal(values, getattr(other.state, name), err_msg=name)
    assert (one.state.gain_up != third.state.gain_up).all()


# The paper's own case


@pytest.mark.parametrize("options", [PAPER, LITERAL, {**PAPER, "speed_min_flop_s": 0.3e9, "speed_max_flop_s": 4e9}])
def test_the_papers_reward_is_the_cost_over_that_of_device_only(options):
    """One task per user and frame, none waits: the mean delay and energy are (12) and (17), their weighted sum (22)."""
    env = make("default", **options)
    c = env.system.config
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(5):
        w, action = slow.world_of(env), random_action(env, rng)
        assert (w.queue == 1.0).all()
        assert (w.arrived == 1.0).all()
        _, reward, _, _, info = env.step(action)
        gamma = c.num_users * (0.95 * info["delay_s"] + 0.05 * info["energy_j"])
        assert info["cost"] == pytest.approx(gamma, rel=1e-12)
        assert info["sojourn_s"] == pytest.approx(c.num_users * info["delay_s"], rel=1e-12)
        alone = sum(
            0.95 * slow.tables_of(c)[k].device_flop[1] / speed + 0.05 * 1e-9 * slow.tables_of(c)[k].device_flop[1]
            for k, speed in zip(w.network, w.speed_flop_s, strict=True)
        )
        assert reward == pytest.approx(-gamma / alone, rel=1e-9)
        assert (info["tasks_finished"], info["tasks_dropped"], info["backlog_tasks"]) == (c.num_users, 0.0, 0.0)
        assert env.step(np.ones(c.num_users, dtype=int))[1] == pytest.approx(-1.0, rel=1e-12)


def test_device_only_with_a_backlog_costs_more_than_its_reference():
    """The reference lets nobody wait: with tasks one at a time and fast devices both agree on average."""
    env = make("default", quiet_rate=0.01, burst_rate=0.01, num_users=60, num_subchannels=20)
    total = 0.0
    for seed in range(4):
        env.reset(seed=seed)
        total -= sum(env.step(np.ones(60, dtype=int))[1] for _ in range(250))
    # Some 600 tasks of different costs.
    assert total / 1000 == pytest.approx(1.0, abs=0.2)
    busy = make("default")
    busy.reset(seed=0)
    assert np.mean([-busy.step(np.ones(12, dtype=int))[1] for _ in range(100)]) > 2.0
