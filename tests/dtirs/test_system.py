"""The System around the kernel: observation, member view, reward and its reference, certificates, golden rewards."""

import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.dtirs.config import DTIRSConfig
from edge_envs.dtirs.model.calibration import SOLVED
from edge_envs.dtirs.model.state import CIRCUIT
from edge_envs.dtirs.system import DTIRSSystem
from tests.dtirs.model import reference_frame as slow
from tests.helpers import assert_same

SMALL: dict[str, Any] = {"num_devices": 4, "num_elements": 6, "num_antennas": 3}
GOLDEN: dict[str, list[float]] = {
    "default": [
        -0.18920674207881155,
        -0.04815892037845431,
        -0.009165756497249846,
        -0.07680952546758166,
        -0.06179374994148787,
        -0.37573784192686616,
    ],
    "paper": [
        -0.49725240604315457,
        -0.46821431755078924,
        -0.44632042759585144,
        -0.4090429085193995,
        -0.4737715460109018,
        -0.4361413520458006,
    ],
}
"""Rewards of the first six steps with seed 123 and the cuts of `cycle`. A change here means a new version of the id."""


def make(**options: Any) -> Any:
    return gym.make("DTIRS-v0", **{**SMALL, **options}).unwrapped


def cycle(env: Any, step: int) -> np.ndarray:
    return (step + np.arange(env.system.members)) % env.action_space.nvec


@pytest.mark.parametrize("preset", GOLDEN)
def test_golden_trajectory(preset):
    env: Any = gym.make("DTIRS-v0", preset=preset).unwrapped
    env.reset(seed=123)
    rewards = [env.step(cycle(env, step))[1] for step in range(6)]
    np.testing.assert_allclose(rewards, GOLDEN[preset], rtol=1e-6)


# Observation


def expected_observation(env: Any) -> np.ndarray:
    """The documented columns, from the state and the cuts of the last frame."""
    c: DTIRSConfig = env.system.config
    w, s = slow.world_of(env), env.state
    down, up = slow.gains(c, w, w.phases)
    layers = c.num_layers
    low, high = c.layer_flop_min, c.layer_flop_max
    facts = []
    for k in range(c.num_devices):
        facts.append((np.log(down[k] / c.noise_w) - 5.0) / 2.0)
        if c.irs and c.uplink != "reciprocal":
            facts.append((np.log(up[k] / c.noise_w) - 5.0) / 2.0)
        facts.append(2.0 * w.speed_flop_s[k] / c.speed_max_flop_s - 1.0)
        mean = (w.front_flop[k, -1]) / layers
        # The standard deviation of the mean of M layers is 1 / sqrt(M) of one layer's.
        facts.append((mean - (low + high) / 2.0) / ((high - low) / 2.0) * np.sqrt(layers) if high > low else 0.0)
        facts.append(2.0 * s.choice[0, k] / (len(env.system.cut_numbers) - 1.0) - 1.0)
    if c.model == "extended" and len(c.pool_levels) > 1:
        facts.append(np.log(c.pool_levels[w.level]))
    if c.backlog:
        capacity = c.pool_per_device_flop_s * c.num_devices * c.pool_levels[w.level]
        facts.append(np.tanh(w.backlog_flop / capacity / c.frame_s))
    return np.clip(np.array(facts), -8.0, 8.0)


def expected_full_observation(env: Any) -> np.ndarray:
    """The observation with observation="full", by the tables of the documentation."""
    c, s = env.system.config, env.state
    w = slow.world_of(env)
    down, up = slow.gains(c, w, w.phases)
    numbers, n = env.system.cut_numbers, c.exchanges_per_frame
    middle, half = (c.layer_flop_max + c.layer_flop_min) / 2.0, (c.layer_flop_max - c.layer_flop_min) / 2.0

    def scaled(gain: float) -> float:
        return (np.log(gain / c.noise_w) - 5.0) / 2.0

    facts: list[float] = []
    for k in range(c.num_devices):
        facts.append(scaled(down[k]))
        if c.irs and c.uplink != "reciprocal":
            facts.append(scaled(up[k]))
        for frames in c.forecast_frames:
            place = (s.circuit[0, k, CIRCUIT.lap] + frames / s.circuit[0, k, CIRCUIT.period_frames]) % 1.0
            reach = (c.distance_max_m - c.distance_min_m) / 2.0
            distance = (c.distance_max_m + c.distance_min_m) / 2.0 - reach * np.cos(2.0 * np.pi * place)
            gain = slow.path_gain(c, distance, c.irs_ud_exponent) * slow.path_gain(
                c, c.ap_irs_distance_m, c.ap_irs_exponent
            )
            if (place - s.circuit[0, k, CIRCUIT.shadow_start]) % 1.0 < s.circuit[0, k, CIRCUIT.shadow_share]:
                gain /= 10.0 ** (c.shadow_db / 10.0)
            facts.append(scaled(gain * c.num_antennas * c.num_elements))
        facts.append(2.0 * s.own_speed_flop_s[0, k] / c.speed_max_flop_s - 1.0)
        facts.append(2.0 * w.speed_flop_s[k] / s.own_speed_flop_s[0, k] - 1.0)
        if c.mobility == "circuit":
            facts.append(float(s.circuit[0, k, CIRCUIT.moving]))
        facts += [
            (w.front_flop[k, i] / n - m * middle) / (half * np.sqrt(m)) if m else 0.0 for i, m in enumerate(numbers)
        ]
        facts += [float(i == w.held[k]) for i in range(len(numbers))]
    capacity = c.pool_per_device_flop_s * c.num_devices * c.pool_levels[w.level]
    back = w.back_flop[np.arange(c.num_devices), w.held] / n
    facts.append(np.log(np.sqrt(back).sum() ** 2 / capacity / c.num_devices + 0.01))
    facts += [float(level == w.level) for level in range(len(c.pool_levels))]
    if c.backlog:
        facts.append(np.tanh(w.backlog_flop / capacity / c.frame_s))
    return np.clip(np.array(facts), -8.0, 8.0)


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "planning"},
        {"preset": "planning-blind", "uplink": "independent", "cuts": "all"},
        {"preset": "planning", "forecast_frames": (3,), "pool_levels": (1.0,), "first_cut": 0, "devices": "fixed"},
        {"observation": "full", "backlog": True, "view": "own"},
    ],
)
def test_full_observation_is_what_the_docs_say(options):
    env = make(**options)
    observation, _ = env.reset(seed=6)
    rng = np.random.default_rng(0)
    for _ in range(8):
        expected = expected_full_observation(env)
        assert observation.shape == expected.shape == (len(env.system.observation_fields),)
        np.testing.assert_allclose(observation, expected, rtol=1e-6, atol=1e-6)
        observation, *_ = env.step(rng.integers(0, env.action_space.nvec))


def test_own_view_hides_the_other_devices():
    system = make(preset="planning").system
    fields = np.array(system.observation_fields)
    shared = [name for name in fields if not name.endswith("]")]
    assert shared == ["pool_delay", "pool_level_0", "pool_level_1", "pool_level_2"]
    for k in range(system.members):
        own = [name for name in fields if name.endswith(f"[{k}]")]
        assert fields[system.member_view[k]].tolist() == [*own, *shared]
    np.testing.assert_array_equal(system.own_view, system.member_view)
    blind = make(preset="planning-blind").system.observation_fields
    assert [name for name in fields if "forecast" not in name] == blind


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"uplink": "hermitian", "cuts": "all"},
        {"uplink": "independent", "backlog": True, "pool_per_device_flop_s": 4e9, "frame_s": 0.7},
        {"model": "printed", "cuts": "all", "irs": False},
        {"irs": False, "uplink": "independent"},
        {"pool_levels": (1.3,), "backlog": True},
        {"pool_levels": (1e-5, 1.0)},
        {"layer_flop_min": 1e9, "layer_flop_max": 1e9, "first_cut": 0},
        {"noise_w": 1e-20},
        {"noise_w": 1.0},
        {"network": "alexnet@224", "devices": "frame"},
    ],
)
def test_observation_is_what_the_docs_say(options):
    env = make(**options)
    observation, _ = env.reset(seed=6)
    rng = np.random.default_rng(0)
    assert observation.dtype == np.float32
    for _ in range(5):
        expected = expected_observation(env)
        assert observation.shape == expected.shape
        np.testing.assert_allclose(observation, expected, rtol=1e-6, atol=1e-6)
        action = rng.integers(0, env.action_space.nvec)
        observation, *_ = env.step(action)
        np.testing.assert_array_equal(env.state.choice[0], action)
    if "noise_w" in options:
        assert np.abs(observation).max() == 8.0


def test_last_cuts_are_forgotten_at_a_reset():
    env = make()
    first, _ = env.reset(seed=3)
    env.step(env.action_space.nvec - 1)
    again, _ = env.reset(seed=3)
    np.testing.assert_array_equal(first, again)


def test_observations_of_the_default_are_of_order_one():
    """Over many worlds every column varies, is centred and rarely exceeds three."""
    env = gym.make_vec("DTIRS-v0", num_envs=40)
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    table = np.concatenate([env.step(rng.integers(0, 7, size=(40, 10)))[0] for _ in range(10)])
    by_fact = table[:, :-1].reshape(-1, 4)
    assert (np.abs(by_fact.mean(axis=0)) < 0.6).all()
    assert ((by_fact.std(axis=0) > 0.2) & (by_fact.std(axis=0) < 1.5)).all()
    assert (np.abs(by_fact) < 3.0).mean() > 0.99


# Member view


@pytest.mark.parametrize(
    ("options", "facts", "shared"),
    [
        ({}, 4, 1),
        ({"uplink": "independent", "backlog": True}, 5, 2),
        ({"uplink": "hermitian", "irs": False, "num_devices": 3}, 4, 1),
        ({"num_devices": 1, "pool_levels": (1.0,), "backlog": True}, 4, 1),
        ({"preset": "paper", "num_devices": 5, "uplink": "hermitian"}, 5, 0),
    ],
)
def test_member_view_is_own_facts_shared_facts_then_the_others_in_turn(options, facts, shared):
    env = make(**options)
    system = env.system
    members = system.members
    assert env.observation_space.shape == (members * facts + shared,)
    assert system.member_view.shape == (members, members * facts + shared)
    named = np.array([f"{k}:{i}" for k in range(members) for i in range(facts)] + [f"all:{i}" for i in range(shared)])
    for m in range(members):
        order = [f"{m}:{i}" for i in range(facts)] + [f"all:{i}" for i in range(shared)]
        for step in range(1, members):
            order += [f"{(m + step) % members}:{i}" for i in range(facts)]
        assert named[system.member_view[m]].tolist() == order
    assert system.member_observation_space.shape == system.member_view.shape[1:]
    assert isinstance(system.member_action_space, spaces.MultiDiscrete)
    assert system.member_action_space.nvec.tolist() == [len(system.cut_numbers)]
    assert env.action_space.nvec.tolist() == [len(system.cut_numbers)] * members


# Reward


def test_member_rewards_price_what_the_others_lose():
    """Power price and pool price are the derivatives of the objective by the budgets."""
    step = 1e-5
    for seed in range(5):
        action = np.random.default_rng(seed).integers(0, 6, size=4)
        objectives = []
        for options in ({}, {"power_total_w": 0.3 * (1 + step)}, {"pool_per_device_flop_s": 2e10 * (1 + step)}):
            env = make(**options)
            env.reset(seed=seed)
            w = slow.world_of(env)
            info = env.step(action)[4]
            objectives.append(info["objective_s"])
            if not options:
                c, plain = env.system.config, info
                r = slow.simulate(c, w, action)
                reference = env.system.reference_s
        watt, speed = slow.prices(c, w, action, r)
        assert (objectives[0] - objectives[1]) / (0.3 * step) == pytest.approx(watt, rel=1e-3)
        assert (objectives[0] - objectives[2]) / (r.capacity_flop_s * step) == pytest.approx(speed, rel=1e-3)
        paid = reference / 4 - plain["member_reward"] * reference
        own = r.delay_s + c.weight_loss_s * c.loss_nats / 4
        taken = watt * r.allocation.power_w + speed * (r.allocation.boost_flop_s + r.allocation.back_end_flop_s)
        # Beyond its own delay a device pays these prices, less the refund, which is equal for all.
        np.testing.assert_allclose(np.diff(paid - own), np.diff(taken), rtol=1e-6, atol=1e-9)
        assert paid.sum() == pytest.approx(plain["objective_s"], rel=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"num_devices": 3},
        {"num_devices": 2, "model": "printed", "cuts": "all"},
        {"num_devices": 2, "uplink": "independent", "leakage_s": 0.4, "devices": "fixed"},
    ],
)
def test_reference_is_the_best_common_cut_by_plain_simulation(options):
    """128 frames, each the 20th after a reset, with phases by coordinate ascent."""
    system = DTIRSSystem.from_options("default", {**SMALL, **options})
    solved = DTIRSSystem(system.config.replace(**SOLVED))
    state, row, rngs = solved.allocate(1), np.zeros(1, dtype=np.int64), [np.random.default_rng(0xD715)]
    idle = np.zeros((1, solved.members), dtype=np.int64)
    totals = np.zeros(len(solved.cut_numbers))
    for _ in range(128):
        solved.reset(state, row, rngs)
        for _ in range(20):
            solved.step(state, row, idle, rngs)
        w = slow.world_in(state, 0)
        for cut in range(len(totals)):
            totals[cut] += slow.simulate(solved.config, w, np.full(solved.members, cut)).objective_s
    assert system.reference_s == pytest.approx(totals.min() / 128, rel=1e-9)


def test_reference_is_the_same_for_ablations_and_for_no_other_system():
    near = {"ap_irs_distance_m": 10.0}  # so that the best common cut is not the last one, where nothing is sent

    def reference(**options: Any) -> float:
        return float(make(**near, **options).system.reference_s)

    base = reference()
    ablations: list[dict[str, Any]] = [
        {"irs": False}, {"twins": "none"}, {"twins": "threshold"}, {"phase": "random"}, {"phase_passes": 3},
        {"power": "equal"}, {"phase": "ca"}, {"first_cut": 0},
    ]  # fmt: skip
    for options in ablations:
        assert reference(**options) == base, options
    printed: dict[str, Any] = {"model": "printed", "cuts": "all"}
    assert reference(**printed, offline=True) == reference(**printed)
    others: list[dict[str, Any]] = [
        {"num_devices": 5}, {"noise_w": 1e-10}, {"pool_per_device_flop_s": 1e10}, {"batch_size": 9},
    ]  # fmt: skip
    for options in others:
        assert reference(**options) != base, options


def test_reward_is_about_zero_for_the_best_common_cut():
    """The mean reward of the best common cut is near 0; phases by SDR differ from those of the reference."""
    env = gym.make_vec("DTIRS-v0", num_envs=60, **SMALL)
    means = []
    for cut in range(7):
        env.reset(seed=50)
        action = np.full((60, 4), cut)
        means.append(np.mean([env.step(action)[1].mean() for _ in range(5)]))
    assert -0.1 < max(means) < 0.1
    assert min(means) < -0.2


def test_impossible_links_are_refused_with_words():
    """Extreme values that the configuration allows."""
    far = dict.fromkeys(("ap_irs_distance_m", "distance_min_m", "distance_max_m"), 1e12)
    weak = {"reference_gain_db": -200.0, "noise_w": 1e30, "ap_irs_exponent": 10.0, "irs_ud_exponent": 10.0}
    with pytest.raises(ValueError, match=r"least delay is .* links are too weak"):
        make(**far, **weak, bits_downlink=1e30, bits_uplink=1e30, bandwidth_hz=1.0).reset(seed=0)


# Robustness and certificates


@pytest.mark.parametrize("preset", DTIRSConfig.presets)
def test_certificate_of_the_presets(preset):
    env: Any = gym.make("DTIRS-v0", preset=preset).unwrapped
    rng = np.random.default_rng(4)
    for seed in range(2):
        env.reset(seed=seed)
        for _ in range(3):
            info = env.step(rng.integers(0, env.action_space.nvec))[4]
            assert 0.0 < info["certificate"] <= 1e-6 * (1.0 + 1e-9)
            planning = preset.startswith("planning")
            assert 0.0 <= info["phase_gap"] < 0.05 or planning
            assert np.isnan(info["phase_gap"]) == planning
            assert 0.0 <= info["twin_gap"] < 1e-3 or planning or preset == "paper"
            assert np.isnan(info["twin_gap"]) == (planning or preset == "paper")
            assert info["power_w"] == pytest.approx(env.system.config.power_total_w, rel=1e-12)


def random_options(rng: np.random.Generator) -> dict[str, Any]:
    """A random configuration, with numbers within a decade of the defaults."""

    def around(name: str) -> float:
        return float(DTIRSConfig.model_fields[name].default * 10.0 ** rng.uniform(-1, 1))

    def one(*values: Any) -> Any:
        return values[rng.integers(len(values))]

    scaled = (
        "layer_flop_max", "noise_w", "power_total_w", "power_max_w", "power_uplink_w", "bandwidth_hz", "frame_s",
        "twin_budget_flop_s", "pool_per_device_flop_s", "compute_delay_total_s", "leakage_layers", "speed_m_per_s",
    )  # fmt: skip
    printed = bool(rng.random() < 0.3)
    options = {name: around(name) for name in scaled} | {
        "num_devices": int(rng.integers(1, 7)), "num_elements": int(rng.integers(1, 7)),
        "num_antennas": int(rng.integers(1, 5)), "layer_flop_min": 0.0, "irs": bool(rng.random() < 0.8),
        "model": "printed" if printed else "extended", "cuts": "all" if printed else one("all", "useful"),
        "first_cut": 1 if printed else one(0, 1), "backlog": not printed and bool(rng.random() < 0.5),
        "leakage_s": 0.0 if printed else one(0.0, 0.3), "network": one("vgg12@32", "alexnet@224", "ds-cnn@49x10"),
        "bits_downlink": one(0.0, 5e5), "offline": printed and bool(rng.random() < 0.3),
        "device_share_min": one(1.0, 0.1), "devices": one("fixed", "episode", "frame"),
        "fading_correlation": one(0.0, 0.9, 1.0), "uplink": one("reciprocal", "hermitian", "independent"),
        "bandwidth_sharing": one("each", "shared"), "power": one("optimal", "equal"),
        "pool_levels": one((1.0,), (0.1, 10.0)), "twins": one("optimal", "threshold", "none"),
        "phase": one("sdr", "ca", "random"), "phase_samples": one(1, 50), "phase_polish": bool(rng.random() < 0.5),
    }  # fmt: skip
    if options["irs"] and options["phase"] != "random":
        options["phase_passes"] = one(0, 0, 2)
    return options


def test_random_configurations_give_sound_numbers():
    """Numbers are finite, keep the budgets, and parts add up, in 80 random configurations."""
    for number in range(80):
        rng = np.random.default_rng([7, number])
        options = random_options(rng)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            env: Any = gym.make("DTIRS-v0", **options).unwrapped
            observation, _ = env.reset(seed=number)
        for _ in range(2):
            observation, reward, _, _, info = env.step(rng.integers(0, env.action_space.nvec))
            where = f"configuration {number}: {options}"
            assert env.observation_space.contains(observation), where
            gaps = [metric.name for metric in env.system.metrics if metric.certifies]
            gaps += [f"episode_mean_{name}" for name in gaps]
            numbers = {key: value for key, value in info.items() if key not in gaps}
            assert all(np.isnan(info[name]) or 0.0 <= info[name] <= 1.0 for name in gaps), where
            assert all(np.isfinite(value).all() for value in numbers.values()), where
            assert all(np.min(numbers[key]) >= -1e-12 for key in numbers if key != "member_reward"), where
            parts = ("downlink", "uplink", "compute", "back_end", "sync")
            assert info["delay_s"] == pytest.approx(sum(info[f"delay_{part}_s"] for part in parts), rel=1e-9), where
            assert info["member_reward"].sum() == pytest.approx(reward, rel=1e-6, abs=1e-6), where
            assert info["power_w"] <= env.system.config.power_total_w * (1 + 1e-9), where
            assert info["power_max_w"] <= env.system.config.power_max_w * (1 + 1e-9), where
            used = info["member_boost_flop_s"].sum() + info["member_back_end_flop_s"].sum()
            full = env.system.parameters.pool_flop_s * info["pool_level"]
            assert used <= full * (1 + 1e-9), where
            assert not info["certificate"] > 1e-6 * (1 + 1e-9), where
            assert not (info["member_boost_flop_s"] * (1.0 - info["member_twin"])).any(), where


def test_a_snapshot_from_before_the_migration_is_restored():
    """Earlier versions had neither circuits nor held cuts in the state."""
    env = make()
    env.reset(seed=3)
    env.step(cycle(env, 1))
    present = env.snapshot()
    earlier = {name: array for name, array in present.items() if name not in ("state.held", "state.circuit")}
    assert len(earlier) == len(present) - 2
    following = env.step(cycle(env, 2))
    env.restore(earlier)
    assert_same(env.snapshot(), present)
    assert_same(env.step(cycle(env, 2)), following)
    travelling = make(preset="planning")
    travelling.reset(seed=3)
    incomplete = {name: array for name, array in travelling.snapshot().items() if name != "state.circuit"}
    with pytest.raises(ValueError, match=r"'state\.circuit' is missing"):
        travelling.restore(incomplete)
