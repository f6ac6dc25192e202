"""The step against the slow simulator of `reference_frame`: delays, decisions, rewards and gaps."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.dtirs.config import DTIRSConfig
from tests.dtirs.model import reference_decisions as decisions
from tests.dtirs.model import reference_frame as slow
from tests.helpers import assert_same

SMALL: dict[str, Any] = {"num_devices": 5, "num_elements": 8, "num_antennas": 4}
PRINTED: dict[str, Any] = {"model": "printed", "cuts": "all"}
STILL: dict[str, Any] = {
    "fading_correlation": 1.0, "device_share_min": 1.0, "pool_levels": (1.0,), "speed_m_per_s": 0.0,
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "small": {},
    "default": {"num_devices": 10, "num_elements": 32, "num_antennas": 32},
    "paper": {"preset": "paper"},
    "paper-six": {"preset": "paper", "num_devices": 6, "twins": "optimal", "power_total_w": 0.05},
    "printed-none": {**PRINTED, "twins": "none", "power": "equal"},
    "printed-tight": {**PRINTED, "twin_budget_flop_s": 2e9, "bits_uplink": 0.0, "weight_loss_s": 50.0},
    "printed-offline": {**PRINTED, "twins": "none", "offline": True},
    "all-cuts": {"cuts": "all"},
    "raw-input": {"first_cut": 0, "leakage_s": 0.2, "cuts": "all"},
    "leakage": {"leakage_s": 0.3, "leakage_layers": 1.5},
    "threshold": {"twins": "threshold", "compute_delay_total_s": 2.0},
    "no-twins": {"twins": "none", "rate_min_bit_s": 8e6},
    "equal-power": {"power": "equal", "power_max_w": 0.05},
    "capped-power": {"power_max_w": 0.07},
    "slack-power": {"power_max_w": 0.04, "power_total_w": 0.5},
    "ascent": {"phase": "ca"},
    "random-phases": {"phase": "random"},
    "unpolished": {"phase_polish": False, "phase_samples": 3},
    "hermitian": {"uplink": "hermitian"},
    "independent": {"uplink": "independent"},
    "no-irs": {"irs": False, "uplink": "hermitian", "direct_blockage_db": 20.0},
    "backlog": {"backlog": True, "pool_per_device_flop_s": 5e9, "frame_s": 0.5},
    "backlog-threshold": {"backlog": True, "pool_per_device_flop_s": 4e9, "twins": "threshold", "cuts": "all"},
    "shared-band": {"bandwidth_sharing": "shared", "bandwidth_hz": 2e7},
    "cheap-twins": {"weight_bits": 1, "pool_per_device_flop_s": 1e11, "pool_levels": (0.3, 2.0)},
    "alexnet": {"network": "alexnet@224", "batch_size": 2, "word_bits": 16},
    "resnet": {"network": "resnet18@64", "cuts": "all"},
    "one-device": {"num_devices": 1},
    "one-element": {"num_elements": 1, "uplink": "independent"},
    "one-antenna": {"num_antennas": 1},
    "all-one": {"num_devices": 1, "num_elements": 1, "num_antennas": 1, "backlog": True, "uplink": "hermitian"},
    "still": STILL,
    "slow-chips": {"flop_per_cycle": 4.0, "layer_flop_min": 0.0, "layer_flop_max": 1e8, "devices": "frame"},
    "far": {"distance_min_m": 50.0, "distance_max_m": 80.0, "reference_gain_db": -40.0, "ap_irs_exponent": 2.0},
    "two-passes": {"phase_passes": 2},
    "planning": {"preset": "planning"},
    "planning-optimal-power": {"preset": "planning-blind", "power": "optimal", "initial_cut": 12, "cuts": "all"},
    "migration-passes": {"migration": True, "twins": "none", "phase_passes": 2, "weight_bits": 3},
    "exchanges": {"exchanges_per_frame": 5, "backlog": True, "pool_per_device_flop_s": 5e9, "frame_s": 0.5},
    "exchanges-printed": {**PRINTED, "exchanges_per_frame": 3, "twins": "threshold"},
    "passes-own-uplink": {"phase_passes": 2, "uplink": "independent", "phase": "ca"},
}
every_config = pytest.mark.parametrize("name", CONFIGS)


def make(name: str, **more: Any) -> Any:
    return gym.make("DTIRS-v0", **{**SMALL, **CONFIGS[name], **more}).unwrapped


def gains_of(info: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    return info["member_gain_downlink"], info["member_gain_uplink"]


def computing(c: DTIRSConfig, w: slow.World, action: np.ndarray, r: slow.Result, twin: np.ndarray) -> float:
    """The delay that the choice of twins minimises, for given twins."""
    own = np.arange(c.num_devices), action
    back = w.back_flop[own] if c.model == "extended" else np.zeros(c.num_devices)
    sync = slow.bits_of(c).sync[action] / r.uplink_bit_s
    return decisions.computing_s(w.front_flop[own], w.speed_flop_s, twin, back, sync, r.capacity_flop_s, r.wait_s)


# A frame


@every_config
def test_frames_equal_the_slow_simulator(name):
    """Every number of `info`, the rewards and the backlog; gains unless `phase_passes` changes the phases."""
    env = make(name)
    c, system = env.system.config, env.system
    env.reset(seed=3)
    rng = np.random.default_rng(1)
    for _ in range(4):
        w, action = slow.world_of(env), rng.integers(0, env.action_space.nvec)
        _, reward, _, _, info = env.step(action)
        r = slow.simulate(
            c, w, action,
            gain=gains_of(info) if c.phase_passes else None,
            twin=info["member_twin"] > 0.0 if c.num_devices > decisions.MOST_TRIED else None,
        )  # fmt: skip
        for key, value in slow.expected_info(c, w, action, r).items():
            assert info[key] == pytest.approx(value, rel=1e-9, abs=1e-15), key
        for key, values in slow.expected_members(c, w, action, r).items():
            ours = info["member_" + key]
            np.testing.assert_allclose(ours, values, rtol=1e-8, atol=1e-12 * np.abs(values).max(), err_msg=key)
        assert env.state.backlog_flop[0] == pytest.approx(r.backlog_flop, rel=1e-12)
        saved = 1.0 / c.num_devices - slow.member_costs(c, w, action, r) / system.reference_s
        np.testing.assert_allclose(info["member_reward"], saved, rtol=1e-9, atol=1e-9)
        assert reward == pytest.approx(1.0 - r.objective_s / system.reference_s, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ["small", "backlog", "independent", "all-cuts", "printed-tight", "cheap-twins"])
def test_twins_are_the_best_of_all_sets(name):
    """The environment's objective equals that of the best of 2^K sets up to its reported gap."""
    env = make(name)
    c = env.system.config
    env.reset(seed=11)
    rng = np.random.default_rng(2)
    for _ in range(12):
        w, action = slow.world_of(env), rng.integers(0, env.action_space.nvec)
        info = env.step(action)[4]
        r = slow.simulate(c, w, action)
        assert info["objective_s"] == pytest.approx(r.objective_s, rel=1e-10)
        best = computing(c, w, action, r, r.allocation.twin)
        ours = computing(c, w, action, r, info["member_twin"] > 0.0)
        assert 0.0 <= info["twin_gap"] < 0.05
        assert ours * (1.0 - info["twin_gap"]) <= best * (1.0 + 1e-12)


@pytest.mark.parametrize("name", ["default", "paper"])
def test_no_single_change_of_twins_helps_many_devices(name):
    options = {"num_devices": 30, "num_elements": 4, "twins": "optimal"}
    env = make(name, **options)
    c = env.system.config
    env.reset(seed=5)
    rng = np.random.default_rng(3)
    for _ in range(3):
        w, action = slow.world_of(env), rng.integers(0, env.action_space.nvec)
        info = env.step(action)[4]
        twin = info["member_twin"] > 0.0
        r = slow.simulate(c, w, action, twin=twin)
        least = computing(c, w, action, r, twin)
        for k in range(c.num_devices):
            other = twin.copy()
            other[k] = not other[k]
            assert computing(c, w, action, r, other) >= least * (1.0 - 1e-12)


@pytest.mark.parametrize("uplink", ["reciprocal", "hermitian", "independent"])
def test_phase_gap_is_the_distance_to_the_relaxation(uplink):
    env = make("small", uplink=uplink, phase_polish=False, phase_samples=2)
    c = env.system.config
    ones = np.ones(c.num_devices)
    env.reset(seed=0)
    seen = []
    for _ in range(12):
        w = slow.world_of(env)
        q = slow.quadratic(c, w, ones, ones)
        reached, bound = slow.relaxed_bounds(q)
        info = env.step(np.zeros(c.num_devices, dtype=np.int64))[4]
        np.testing.assert_allclose(np.abs(w.phases), 1.0, rtol=1e-12)
        value = (w.phases.conj() @ q @ w.phases).real
        assert value == pytest.approx(sum(np.sum(gain) for gain in gains_of(info)), rel=1e-12)
        assert value <= bound * (1.0 + 1e-12)
        # The gap bounds the loss, and exceeds it by at most the relaxation's own gap.
        assert info["phase_gap"] >= 1.0 - value / reached - 1e-12
        assert info["phase_gap"] <= 1.0 - value / bound + c.phase_gap
        assert info["certificate"] <= c.phase_gap
        seen.append(info["phase_gap"])
    assert max(seen) > 1e-3, "two samples alone should lose something"


def test_samples_and_polish_raise_the_gain():
    """All variants start from the same relaxation and the same first samples; gains are compared on average."""
    gains = {}
    variants: dict[str, dict[str, Any]] = {
        "few": {"phase_polish": False, "phase_samples": 1},
        "many": {"phase_polish": False, "phase_samples": 100},
        "polished": {"phase_samples": 100},
        "random": {"phase": "random"},
        "ascent": {"phase": "ca"},
    }
    for name, options in variants.items():
        env = make("independent", num_elements=16, **options)
        values = []
        for seed in range(20):
            env.reset(seed=seed)
            values.append(env.state.gain_down[0].sum() + env.state.gain_up[0].sum())
        gains[name] = np.array(values)
    assert gains["random"].mean() < 0.8 * gains["few"].mean() < 0.8 * gains["many"].mean()
    assert (gains["many"] >= gains["random"]).all()
    assert gains["many"].mean() < gains["polished"].mean()
    assert gains["ascent"].mean() > 0.95 * gains["polished"].mean()


@pytest.mark.parametrize("uplink", ["reciprocal", "independent"])
def test_phase_passes_never_raise_the_objective(uplink):
    """On the same frame, the objective with passes is at most that without."""
    plain = make("small", uplink=uplink, num_elements=16)
    passed = make("small", uplink=uplink, num_elements=16, phase_passes=3)
    saved = []
    for seed in range(25):
        for env in (plain, passed):
            env.reset(seed=seed)
        action = np.random.default_rng(seed).integers(0, plain.action_space.nvec)
        before, after = (env.step(action)[4]["objective_s"] for env in (plain, passed))
        assert after <= before * (1.0 + 1e-12)
        saved.append(1.0 - after / before)
    assert np.mean(np.array(saved) > 1e-5) > 0.5


def test_a_refused_pass_leaves_no_trace():
    """If new phases are rejected, everything reported belongs to the old phases."""
    plain, passed = make("small", num_elements=16), make("small", num_elements=16, phase_passes=1)
    refused = 0
    for seed in range(40):
        infos = []
        for env in (plain, passed):
            env.reset(seed=seed)
            infos.append(env.step(np.random.default_rng(seed).integers(0, env.action_space.nvec))[4])
        if infos[0]["objective_s"] == infos[1]["objective_s"]:
            refused += 1
            means = [{key: info[key] for key in info if key.startswith("episode_mean_")} for info in infos]
            assert_same(means[0], means[1])
    assert refused


def test_reported_gap_belongs_to_what_it_says():
    """Gaps are NaN without a relaxation (random phases, ascent, no IRS) or without a bound (other twin rules)."""
    for name in ("random-phases", "ascent", "no-irs", "no-twins", "threshold"):
        env = make(name)
        env.reset(seed=0)
        info = env.step(env.action_space.nvec // 2)[4]
        gap = "twin_gap" if name in ("no-twins", "threshold") else "phase_gap"
        other = "phase_gap" if gap == "twin_gap" else "twin_gap"
        assert np.isnan(info[gap])
        assert 0.0 <= info[other] <= 1.0
        assert 0.0 <= info["certificate"] <= 1e-6


def test_nothing_solved_is_nothing_certified():
    """Without pool, optimal powers and relaxation, all certificates are NaN."""
    nothing = {**PRINTED, "twins": "none", "power": "equal", "phase": "ca"}
    for changed, known in (
        ({}, set()),
        ({"power": "optimal"}, {"certificate"}),
        ({"twins": "optimal"}, {"certificate", "twin_gap"}),
        ({"phase": "sdr"}, {"certificate", "phase_gap"}),
        ({"phase": "sdr", "irs": False}, set()),
    ):
        env = make("small", **{**nothing, **changed}, check=True)
        env.reset(seed=0)
        info = env.step(env.action_space.nvec // 2)[4]
        names = [metric.name for metric in env.system.metrics if metric.certifies]
        assert names == ["phase_gap", "twin_gap", "certificate"]
        assert {name for name in names if not np.isnan(info[name])} == known, changed


def test_gap_of_phases_is_that_of_the_gains_reported():
    """Also with passes for weighted gains, the gap is between 0 and the loss of random phases."""
    env = make("small", num_elements=16, phase_passes=3)
    for seed in range(10):
        env.reset(seed=seed)
        info = env.step(np.random.default_rng(seed).integers(0, env.action_space.nvec))[4]
        assert 0.0 <= info["phase_gap"] <= 0.05


# The first cut in the printed model


@pytest.mark.parametrize("twins", ["optimal", "none"])
def test_first_cut_is_best_for_everybody_in_the_printed_model(twins):
    """A later cut only adds work, so neither a single device nor all together find a lower objective."""
    env = make("small", **PRINTED, twins=twins, num_devices=4)
    c = env.system.config
    for seed in range(20):
        env.reset(seed=seed)
        w = slow.world_of(env)
        first = np.zeros(4, dtype=np.int64)
        least = env.step(first)[4]["objective_s"]
        assert least == pytest.approx(slow.simulate(c, w, first).objective_s, rel=1e-10)
        rng = np.random.default_rng(seed)
        for k in range(4):
            other = first.copy()
            other[k] = rng.integers(1, 12)
            assert slow.simulate(c, w, other).objective_s > least
        assert slow.simulate(c, w, rng.integers(1, 12, size=4)).objective_s > least


def test_rule_29_can_make_a_later_cut_pay():
    """A device without a twin at the first cut may be faster with one more layer, as the rule then gives it one."""
    paid = 0
    for seed in range(5):
        env = make("paper", num_devices=40)
        env.reset(seed=seed)
        w, first = slow.world_of(env), np.zeros(40, dtype=np.int64)
        info = env.step(first)[4]
        second = np.where(info["member_twin"] > 0.0, 0, 1)
        paid += slow.simulate(env.system.config, w, second).objective_s < info["objective_s"]
    assert paid >= 3


def test_rule_29_can_only_hurt():
    worse = 0
    for seed in range(20):
        delays = []
        for twins in ("optimal", "threshold"):
            env = make("paper", twins=twins, num_devices=20)
            env.reset(seed=seed)
            info = env.step(np.zeros(20, dtype=np.int64))[4]
            delays.append(info["delay_s"])
            if twins == "optimal":
                assert info["twin_share"] == pytest.approx(1.0), "a twin is free in the printed model"
        assert delays[1] >= delays[0] * (1.0 - 1e-12)
        worse += delays[1] > delays[0]
    assert worse > 5
