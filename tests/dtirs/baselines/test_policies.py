"""Baselines and ablations: their actions, that they change nothing in the environment, and their ranking."""

import itertools
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.core.policy import ablations_of, baselines_of, make_baseline
from edge_envs.core.rules import copy_row
from edge_envs.dtirs.baselines import search
from edge_envs.dtirs.baselines.policies import WORLD_FIELDS
from edge_envs.dtirs.system import DTIRSSystem
from tests.dtirs.model import reference_frame as slow
from tests.helpers import arrays_in

SMALL: dict[str, Any] = {"num_devices": 3, "num_elements": 8, "num_antennas": 16, "phase": "ca", "power_total_w": 0.1}
PRINTED: dict[str, Any] = {"model": "printed", "cuts": "all"}
NAMES = [
    "random", "first-cut", "last-cut", "best-common", "best-static", "price", "ga", "admm", "proposed",
    "proposed-safe", "bcd",
]  # fmt: skip
WITHOUT_DRAWS = ["first-cut", "last-cut", "best-common", "best-static", "price", "bcd"]
ABLATIONS = ["no-irs", "no-dt", "random-phase", "admm-equal", "full-local"]
CONFIGS: dict[str, dict[str, Any]] = {
    "small": {},
    "all-cuts": {"cuts": "all", "leakage_s": 0.2},
    "printed": {**PRINTED, "twins": "threshold", "phase": "random"},
    "backlog": {"backlog": True, "pool_per_device_flop_s": 5e9, "uplink": "independent"},
    "no-irs": {"irs": False},
    "passes": {"phase_passes": 2, "phase": "sdr", "devices": "frame"},
    "one": {"num_devices": 1, "num_elements": 1, "num_antennas": 1, "first_cut": 0},
}
every_config = pytest.mark.parametrize("name", CONFIGS)


def make(**options: Any) -> Any:
    return gym.make("DTIRS-v0", **{**SMALL, **options}).unwrapped


def objectives(policies: list[str], frames: int, each: int = 1, **options: Any) -> dict[str, np.ndarray]:
    """Objective of every frame [s] by policy, on the same frames; `each` frames per episode and seed."""
    found: dict[str, np.ndarray] = {}
    for name in policies:
        env = make(**options)
        policy, values = make_baseline(name, env), []
        for seed in range(frames // each):
            observation, _ = env.reset(seed=seed)
            for _ in range(each):
                observation, _, _, _, info = env.step(policy.predict(observation)[0])
                values.append(info["objective_s"])
        found[name] = np.array(values)
    return found


# Names


@every_config
def test_baselines_and_ablations_of_every_configuration(name):
    env = make(**CONFIGS[name])
    assert list(baselines_of(env)) == NAMES
    c = env.system.config
    safeguarded = ["safeguarded"] if c.irs and c.phase != "random" else []
    offload = [] if c.model == "printed" else ["full-offload"]
    assert list(ablations_of(env)) == ABLATIONS + safeguarded + offload
    for ablation in ablations_of(env).values():
        assert ablation.policy in NAMES
        assert ablation.meaning


@every_config
def test_every_ablation_can_be_played(name):
    """Also if the configuration lacks the component already."""
    for ablation_name, ablation in ablations_of(make(**CONFIGS[name])).items():
        env = make(**{**CONFIGS[name], **ablation.options})
        observation, _ = env.reset(seed=1)
        info = env.step(make_baseline(ablation.policy, env).predict(observation)[0])[4]
        assert np.isfinite(info["objective_s"]), ablation_name


@pytest.mark.parametrize("kind", [gym.make, gym.make_vec])
@every_config
def test_every_baseline_acts_in_both_environment_classes(kind, name):
    env: Any = kind("DTIRS-v0", **{**SMALL, **CONFIGS[name]})
    for policy_name in baselines_of(env):
        policy = make_baseline(policy_name, env, seed=1)
        observation, _ = env.reset(seed=0)
        state = None
        for _ in range(2):
            action, state = policy.predict(observation, state, np.zeros(np.shape(observation)[:-1], bool))
            assert env.action_space.contains(action), policy_name
            observation, *_ = env.step(action)


def test_errors_for_unknown_names_and_for_ablations():
    env = make()
    with pytest.raises(ValueError, match=r"policy='bdc' does not exist.*did you mean 'bcd'"):
        make_baseline("bdc", env)
    with pytest.raises(ValueError, match=r"policy='no-irs' is an ablation, not a baseline: use 'proposed'.*irs=False"):
        make_baseline("no-irs", env)


@every_config
def test_looking_ahead_leaves_the_world_as_it_is(name):
    """State, generator and next step are the same whether or not baselines have predicted."""
    env, other = make(**CONFIGS[name]), make(**CONFIGS[name])
    policies = [make_baseline(each, env) for each in NAMES]
    observation, _ = env.reset(seed=5)
    other.reset(seed=5)
    action = env.action_space.nvec // 2
    for _ in range(2):
        kept, draws = deepcopy(env.state), env.np_random.bit_generator.state
        for policy in policies:
            policy.predict(observation)
        assert env.np_random.bit_generator.state == draws
        for field in kept._fields:
            if field != "workspace":
                np.testing.assert_array_equal(getattr(env.state, field), getattr(kept, field), err_msg=field)
        observation, *ours = env.step(action)
        theirs = other.step(action)
        np.testing.assert_array_equal(observation, theirs[0])
        assert ours[0] == theirs[1]
    assert sum(array.size for array in arrays_in(tuple(env.state))) > 0


@pytest.mark.parametrize("policy_name", NAMES)
def test_the_same_seed_chooses_the_same(policy_name):
    def choices(seed: int) -> np.ndarray:
        env = make(num_devices=6)
        policy = make_baseline(policy_name, env, seed=seed)
        observation, _ = env.reset(seed=2)
        actions = []
        for _ in range(4):
            actions.append(policy.predict(observation)[0])
            observation, *_ = env.step(actions[-1])
        return np.array(actions)

    np.testing.assert_array_equal(choices(3), choices(3))
    if policy_name == "random":
        assert (choices(3) != choices(4)).any()


@pytest.mark.parametrize("policy_name", WITHOUT_DRAWS)
def test_a_row_is_served_like_a_single_environment(policy_name):
    vector: Any = gym.make_vec("DTIRS-v0", num_envs=3, **SMALL)
    singles = [make() for _ in range(3)]
    policy = make_baseline(policy_name, vector)
    own = [make_baseline(policy_name, env) for env in singles]
    observations, _ = vector.reset(seed=8)
    rows = [env.reset(seed=8 + i)[0] for i, env in enumerate(singles)]
    for _ in range(4):
        actions = policy.predict(observations)[0]
        for i, env in enumerate(singles):
            action = own[i].predict(rows[i])[0]
            np.testing.assert_array_equal(actions[i], action)
            rows[i] = env.step(action)[0]
        observations, *_ = vector.step(actions)
        np.testing.assert_array_equal(observations, np.array(rows))


@pytest.mark.parametrize("policy_name", ["ga", "admm", "proposed", "proposed-safe"])
def test_a_world_is_served_alike_whoever_else_there_is(policy_name):
    few: Any = gym.make_vec("DTIRS-v0", num_envs=2, **SMALL)
    many: Any = gym.make_vec("DTIRS-v0", num_envs=4, **SMALL)
    policies = [make_baseline(policy_name, env, seed=6) for env in (few, many)]
    seen = [env.reset(seed=8)[0] for env in (few, many)]
    for _ in range(3):
        actions = [policy.predict(observation)[0] for policy, observation in zip(policies, seen, strict=True)]
        np.testing.assert_array_equal(actions[0], actions[1][:2])
        seen = [env.step(action)[0] for env, action in zip((few, many), actions, strict=True)]


# Actions


def test_constants():
    env = make(num_devices=4)
    none = np.zeros(env.observation_space.shape)
    assert make_baseline("first-cut", env).predict(none)[0].tolist() == [0] * 4
    assert make_baseline("last-cut", env).predict(none)[0].tolist() == [6] * 4
    policy = make_baseline("random", env)
    table = np.array([policy.predict(none)[0] for _ in range(700)])
    np.testing.assert_allclose(np.bincount(table.ravel(), minlength=7) / table.size, 1 / 7, atol=0.03)


def all_cuts(choices: int, users: int) -> np.ndarray:
    return np.array(list(itertools.product(range(choices), repeat=users)), dtype=np.int64)


@pytest.mark.parametrize(
    ("options", "misses", "worst"),
    [
        ({"cuts": "all"}, 1, 0.001),
        ({"cuts": "all", "leakage_s": 0.3, "uplink": "independent"}, 1, 0.001),
        ({"cuts": "all", "pool_per_device_flop_s": 1e10}, 1, 0.001),
        (PRINTED, 0, 0.0),
        ({**PRINTED, "twins": "threshold", "compute_delay_total_s": 0.18}, 0, 0.0),
    ],
)
def test_block_descent_finds_the_best_of_all_cuts(options, misses, worst):
    """On 60 small frames with 12^3 choices each; `misses` and `worst` limit how often and how far it misses."""
    env = make(**options)
    everything = all_cuts(12, 3)
    values = np.zeros(len(everything))
    sketch, policy = env.system.allocate(1), make_baseline("bcd", env)
    lost = []
    for seed in range(60):
        observation, _ = env.reset(seed=seed)
        copy_row(env.state, 0, sketch, WORLD_FIELDS)
        search.FAST_VALUE_ALL(env.system.parameters, sketch, everything, values)
        action = policy.predict(observation)[0]
        chosen = values[np.ravel_multi_index(tuple(action), (12,) * 3)]
        assert chosen <= search.best_common(env.system.parameters, sketch)[1]
        w = slow.world_of(env)
        if seed < 3:
            # The values of the search equal those of the slow simulator and of the step.
            for at in (int(values.argmin()), int(values.argmax()), 77):
                assert slow.simulate(env.system.config, w, everything[at]).objective_s == pytest.approx(values[at])
        assert env.step(action)[4]["objective_s"] == pytest.approx(chosen, rel=1e-10)
        lost.append(chosen / values.min() - 1.0)
    assert np.count_nonzero(np.array(lost) > 1e-9) <= misses
    assert max(lost) <= worst + 1e-9


def test_no_single_move_improves_on_block_descent():
    """Also with a backlog."""
    env = make(num_devices=4, cuts="all", backlog=True, pool_per_device_flop_s=4e9, frame_s=0.2)
    policy = make_baseline("bcd", env)
    observation, _ = env.reset(seed=3)
    observation, *_ = env.step(np.zeros(4, dtype=np.int64))
    for _ in range(3):
        w, action = slow.world_of(env), policy.predict(observation)[0]
        assert w.backlog_flop > 1e9
        observation, _, _, _, info = env.step(action)
        for k, cut in itertools.product(range(4), range(12)):
            other = action.copy()
            other[k] = cut
            assert slow.simulate(env.system.config, w, other).objective_s >= info["objective_s"] * (1.0 - 1e-10)
        observation, *_ = env.step(np.zeros(4, dtype=np.int64))


def test_ranking_of_the_default_system():
    """In every frame where a search cannot do worse, otherwise on average."""
    names = [name for name in NAMES if name not in ("first-cut", "proposed-safe")]
    j = objectives(names, 30, num_devices=10, num_elements=32, num_antennas=32, power_total_w=0.3)
    common = objectives(["best-common"], 30, num_devices=10, num_elements=32, num_antennas=32, power_total_w=0.3)
    np.testing.assert_array_equal(j["best-common"], common["best-common"])
    assert (j["bcd"] <= j["best-common"] * (1 + 1e-12)).all()
    assert (j["price"] <= j["best-common"] * (1 + 1e-12)).all()
    assert (j["bcd"] <= j["price"] * (1 + 1e-12)).all()
    mean = {name: values.mean() for name, values in j.items()}
    assert mean["bcd"] < 0.96 * mean["best-static"]
    assert mean["best-static"] < 0.99 * mean["best-common"]
    assert mean["best-common"] < 0.9 * mean["random"]
    assert mean["ga"] < 1.01 * mean["bcd"]
    assert mean["admm"] < mean["random"]
    assert mean["proposed"] < mean["best-static"]


def test_constant_cuts_are_the_best_of_all_constants():
    """With fixed devices, over many frames that the search did not use."""
    # Devices reach a new position in every frame, so the first positions do not matter.
    options = {**SMALL, "num_devices": 2, "devices": "fixed", "speed_m_per_s": 100.0}
    env: Any = gym.make_vec("DTIRS-v0", num_envs=64, **options)
    everything = all_cuts(7, 2)
    means = []
    for cuts in everything:
        env.reset(seed=500)
        means.append(np.mean([env.step(np.tile(cuts, (64, 1)))[4]["objective_s"].mean() for _ in range(3)]))
    value = dict(zip(map(tuple, everything.tolist()), means, strict=True))
    one = make(**options)
    observation, _ = one.reset(seed=0)
    static, common = (make_baseline(name, one).predict(observation)[0] for name in ("best-static", "best-common"))
    assert value[tuple(static)] <= 1.02 * min(means)
    assert common[0] == common[1]
    assert value[tuple(common)] <= 1.02 * min(value[cut, cut] for cut in range(7))


def test_useful_cuts_are_enough():
    """Block descent gains nothing from the cuts that `cuts="useful"` leaves out."""
    options = {"num_devices": 6, "num_elements": 32, "num_antennas": 32}
    few, many = (objectives(["bcd"], 15, **options, cuts=cuts)["bcd"] for cuts in ("useful", "all"))
    np.testing.assert_allclose(few, many, rtol=1e-9)


def test_best_static_follows_the_devices_of_the_episode():
    env = make(num_devices=6)
    policy = make_baseline("best-static", env)
    chosen = []
    for seed in range(4):
        observation, _ = env.reset(seed=seed)
        first = policy.predict(observation)[0]
        for _ in range(3):
            observation, *_ = env.step(first)
            np.testing.assert_array_equal(policy.predict(observation)[0], first, err_msg="constant in an episode")
        chosen.append(tuple(first))
    assert len(set(chosen)) > 1
    redrawn = make(num_devices=6, devices="frame")
    common = make_baseline("best-common", redrawn).predict(np.zeros(1))[0]
    np.testing.assert_array_equal(make_baseline("best-static", redrawn).predict(redrawn.reset(seed=0)[0])[0], common)


def test_constants_are_fitted_to_frames_of_their_own():
    """The best common cut does not depend on the environment's seed."""
    choices = []
    for seed in (0, 1):
        env = make()
        observation, _ = env.reset(seed=seed)
        choices.append(make_baseline("best-common", env).predict(observation)[0])
    np.testing.assert_array_equal(choices[0], choices[1])


def test_genetic_search_never_loses_its_best():
    system = DTIRSSystem.from_options("default", {**SMALL, "num_devices": 8})
    state = system.allocate(1)
    system.reset(state, np.zeros(1, dtype=np.int64), [np.random.default_rng(0)])
    trace: list[float] = []
    cuts = search.genetic(system.parameters, state, np.random.default_rng(1), trace)
    assert len(trace) == 121
    assert (np.diff(trace) <= 0.0).all()
    assert trace[-1] < 0.9 * trace[0]
    values = np.zeros(1)
    search.FAST_VALUE_ALL(system.parameters, state, cuts[None], values)
    assert values[0] == trace[-1]


# Ablations


def played(name: str, seed: int, **options: Any) -> tuple[Any, slow.World, np.ndarray, dict[str, Any]]:
    ablation = ablations_of(make(**options))[name]
    env = make(**{**options, **ablation.options})
    observation, _ = env.reset(seed=seed)
    w = slow.world_of(env)
    action = make_baseline(ablation.policy, env).predict(observation)[0]
    return env, w, action, env.step(action)[4]


@pytest.mark.parametrize("options", [{}, PRINTED])
def test_full_local_is_only_the_devices_own_work(options):
    for seed in range(3):
        _, w, _, info = played("full-local", seed, **options)
        assert info["delay_s"] == pytest.approx((w.front_flop[:, -1] / w.speed_flop_s).sum(), rel=1e-12)
        assert info["local_share"] == pytest.approx(1.0)
        assert info["delay_s"] == info["delay_compute_s"]


def test_full_offload_leaves_all_work_to_the_access_point():
    for seed in range(3):
        env, w, action, info = played("full-offload", seed)
        assert (info["mean_cut"], info["delay_compute_s"], info["delay_downlink_s"]) == (0.0, 0.0, 0.0)
        total = w.front_flop[:, -1]
        capacity = env.system.parameters.pool_flop_s * info["pool_level"]
        assert info["delay_back_end_s"] == pytest.approx(np.sqrt(total).sum() ** 2 / capacity, rel=1e-12)
        up = slow.simulate(env.system.config, w, action).uplink_s.sum()
        assert info["delay_uplink_s"] == pytest.approx(up, rel=1e-12)


def test_components_are_left_out():
    """Each ablation lacks its component, and costs more than the whole on average."""
    options = {**PRINTED, "num_elements": 32, "num_antennas": 32}
    delays: dict[str, list[float]] = {}
    for name in ("safeguarded", "no-irs", "no-dt", "random-phase"):
        for seed in range(8):
            env, w, _, info = played(name, seed, **options)
            delays.setdefault(name, []).append(info["delay_s"])
            assert env.system.config.irs == (name != "no-irs")
            if name == "no-dt":
                assert info["twin_share"] == 0.0
            if name != "safeguarded":
                np.testing.assert_allclose(info["member_gain_downlink"], slow.gains(env.system.config, w, w.phases)[0])
    for name in ("no-irs", "no-dt", "random-phase"):
        assert np.mean(delays[name]) > 1.05 * np.mean(delays["safeguarded"]), name
    equal = played("admm-equal", 0)[3]["member_power_w"]
    np.testing.assert_allclose(equal, 0.1 / 3)
