"""The bound: below every policy on every trace, valid at any prices, close to brute force; broken ones are caught."""

import inspect
import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.seeding import np_random

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.core.policy import baselines_of, make_baseline
from edge_envs.core.system import System
from edge_envs.dtirs import bounds
from edge_envs.dtirs.baselines import hysteresis, planning
from edge_envs.dtirs.solvers import cut_paths
from edge_envs.dtirs.system import DTIRSSystem

SMALL: dict[str, Any] = {"preset": "planning", "num_devices": 4, "num_elements": 6, "num_antennas": 16, "shadow_db": 12}
EPISODES, FRAMES = 100, 12


@pytest.fixture(autouse=True)
def short_searches(monkeypatch):
    """Searched rules need not be good here."""
    monkeypatch.setattr(planning, "SEARCH_EPISODES", 2)
    monkeypatch.setattr(planning, "SEARCH_FRAMES", 20)
    monkeypatch.setattr(hysteresis, "TRIES", 40)
    monkeypatch.setattr(hysteresis, "REFINEMENTS", 20)
    monkeypatch.setattr(planning, "_TRACES", {})


def played(name: str, seeds: list[int], frames: int, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean objective and return of a baseline in the episodes of the seeds, shapes (E,)."""
    env: Any = gym.make_vec("DTIRS-v0", num_envs=len(seeds), **{**SMALL, **options})
    policy = make_baseline(name, env)
    observation, _ = env.reset(seed=seeds)
    total, rewards = np.zeros(len(seeds)), np.zeros(len(seeds))
    for _ in range(frames):
        observation, reward, _, _, info = env.step(policy.predict(observation)[0])
        total += info["objective_s"]
        rewards += reward
    return total / frames, rewards


def random_problem(rng: np.random.Generator, frames: int, devices: int, choices: int) -> cut_paths.CutProblem:
    """A problem with costs of similar sizes, so that every term matters."""

    def uniform(*shape: int) -> np.ndarray:
        return rng.uniform(0.1, 1.0, shape)

    return cut_paths.CutProblem(
        uniform(frames, devices, choices), uniform(frames, devices, choices), uniform(frames), uniform(frames, devices),
        uniform(frames, devices), np.sort(uniform(choices)), rng.integers(choices, size=devices),
    )  # fmt: skip


def plain_cost(q: cut_paths.CutProblem, paths: np.ndarray) -> float:
    """Cost of cuts (T, K), term by term."""
    cost, held = 0.0, q.first
    for t, cuts in enumerate(paths):
        devices = range(len(cuts))
        cost += q.pool_s[t] * sum(q.root[t, k, cuts[k]] for k in devices) ** 2
        for k in devices:
            more = q.bits[cuts[k]] - q.bits[held[k]]
            cost += q.own_s[t, k, cuts[k]] + (more * q.down_s[t, k] if more > 0 else -more * q.up_s[t, k])
        held = cuts
    return float(cost)


def brute_force(q: cut_paths.CutProblem) -> float:
    """Least cost over all sequences of all devices' cuts, by dynamic programming over the joint choice."""
    frames, devices, choices = q.own_s.shape
    joint = list(itertools.product(range(choices), repeat=devices))
    least = {tuple(q.first.tolist()): 0.0}
    for t in range(frames):
        now, at = {}, slice(t, t + 1)
        one = q._replace(
            own_s=q.own_s[at], root=q.root[at], pool_s=q.pool_s[at], up_s=q.up_s[at], down_s=q.down_s[at]
        )  # fmt: skip
        for cuts in joint:
            now[cuts] = min(
                value + plain_cost(one._replace(first=np.array(held)), np.array([cuts]))
                for held, value in least.items()
            )
        least = now
    return min(least.values())


# Policies


def test_no_policy_is_below_the_bound():
    """All baselines on 100 episodes each."""
    seeds = list(range(300, 300 + EPISODES))
    env: Any = gym.make("DTIRS-v0", **SMALL).unwrapped
    bound = env.system.bound(seeds, FRAMES)
    assert bound.metric == "objective_s"
    assert bound.least.shape == bound.reward.shape == (EPISODES,)
    means = {}
    for name in baselines_of(env):
        cost, reward = played(name, seeds, FRAMES)
        assert (cost >= bound.least * (1.0 - 1e-9)).all(), name
        assert (reward <= bound.reward + 1e-9 * np.abs(bound.reward)).all(), name
        means[name] = cost.mean()
    assert min(means, key=lambda name: means[name]) == "planner"
    assert means["planner"] < 1.1 * bound.least.mean(), "the bound is of use"


@pytest.mark.parametrize(
    "options",
    [
        {"migration": False, "leakage_s": 0.3},
        {"preset": "planning-blind", "uplink": "independent", "exchanges_per_frame": 1, "first_cut": 0},
        {"preset": "default", "twins": "none", "power": "equal", "phase": "sdr", "pool_per_device_flop_s": 1e10},
        {"mobility": "waypoint", "forecast_frames": (), "devices": "frame", "irs": False, "direct_blockage_db": 10.0},
    ],
)
def test_bound_of_other_configurations(options):
    seeds = [3, 4, 5]
    system = gym.make("DTIRS-v0", **{**SMALL, **options}).unwrapped.system  # type: ignore[attr-defined]
    bound = system.bound(seeds, 6)
    for name in ("random", "bcd", "best-common", "last-cut"):
        cost, _ = played(name, seeds, 6, **options)
        assert (cost >= bound.least * (1.0 - 1e-9)).all(), name


def test_the_trace_holds_all_that_an_action_costs():
    """The cost of recorded problems equals the environment's objectives, for random cuts."""
    seeds = [0, 1, 2]
    env: Any = gym.make_vec("DTIRS-v0", num_envs=3, **SMALL)
    traces = bounds.record(env.system, [np_random(seed)[0] for seed in seeds], FRAMES)
    env.reset(seed=seeds)
    rng, total, actions = np.random.default_rng(0), np.zeros(3), []
    for t in range(FRAMES):
        for row, trace in enumerate(traces):
            np.testing.assert_allclose(10.0 * np.log10(env.state.gain_down[row]), trace.gain_db[t])
            np.testing.assert_array_equal(env.state.load[row] < 1.0, trace.busy[t])
        actions.append(rng.integers(0, 7, size=(3, 4)))
        total += env.step(actions[-1])[4]["objective_s"]
    for row, trace in enumerate(traces):
        paths = np.array(actions)[:, row]
        assert cut_paths.paths_cost(trace.problem, paths) + trace.constant_s == pytest.approx(total[row], rel=1e-10)
        assert plain_cost(trace.problem, paths) + trace.constant_s == pytest.approx(total[row], rel=1e-10)


# Prices and brute force


def test_any_prices_give_a_bound():
    rng = np.random.default_rng(1)
    for _ in range(20):
        q = random_problem(rng, 4, 3, 3)
        least = brute_force(q)
        paths = np.zeros((4, 3), dtype=np.int64)
        for scale in (0.0, 1e-3, 0.1, 1.0, 10.0, 1e3):
            value = cut_paths.priced_paths(q, scale * rng.random(4), paths)
            assert value <= least * (1.0 + 1e-12)


def gaps(instances: int) -> list[float]:
    """Relative distances from the bound up to the optimum, on tiny problems."""
    found = []
    for number in range(instances):
        rng = np.random.default_rng([2, number])
        q = random_problem(rng, int(rng.integers(1, 5)), int(rng.integers(2, 4)), 3)
        least = brute_force(q)
        value = cut_paths.dual_bound(q, bounds.ITERATIONS, np.zeros(q.up_s.shape, dtype=np.int64))
        found.append((least - value) / least)
    return found


def test_bound_is_close_to_brute_force():
    """With two or three devices the duality gap is not zero; the bound never exceeds the optimum."""
    found = gaps(40)
    assert min(found) >= -1e-12
    assert np.mean(found) < 0.03
    assert max(found) < 0.12


MUTATIONS = [
    (cut_paths.move_cost, "-moved * q.up_s", "moved * q.up_s", "sign of weights that a device gives up"),
    (cut_paths.move_cost, "q.bits[after] - q.bits[before]", "q.bits[before] - q.bits[after]", "direction of a move"),
    (cut_paths.move_cost, "moved * q.down_s[t, k] if", "0.0 if", "weights that a device takes on are free"),
    (cut_paths.priced_paths, "value -= root_price", "value += root_price", "sign of the pool's value"),
    (cut_paths.priced_paths, "root_price[t] * root_price[t] / q", "root_price[t] / q", "price for its root"),
    (cut_paths.priced_paths, "2.0 * root_price", "4.0 * root_price", "factor of the payment"),
    (cut_paths.priced_paths, "2.0 * root_price", "0.0 * root_price", "nothing paid"),
    (cut_paths.best_path, "node_s[t, c]\n", "node_s[0, c]\n", "costs of the first frame for all"),
    (cut_paths.best_path, "0.0 if c == q.first[k] else math.inf", "0.0", "free choice of the first cut"),
]


@pytest.mark.parametrize(("function", "old", "new", "name"), MUTATIONS, ids=[each[3] for each in MUTATIONS])
def test_broken_bounds_are_caught(function, old, new, name, monkeypatch):
    """On tiny problems, a broken bound exceeds the optimum or is far below it."""
    source = inspect.getsource(cut_paths)
    whole = inspect.getsource(inspect.unwrap(getattr(function, "py_func", function)))
    assert whole.count(old) == 1
    assert source.count(whole) == 1
    namespace: dict[str, Any] = {"__name__": cut_paths.__name__}
    plain = source.replace(whole, whole.replace(old, new)).replace("@compiled\n", "")
    exec(compile(plain, "<mutant>", "exec"), namespace)
    monkeypatch.setattr(cut_paths, "dual_bound", namespace["dual_bound"])
    monkeypatch.setattr(bounds, "ITERATIONS", 40)
    found = gaps(25)
    assert min(found) < -1e-9 or np.mean(found) > 0.03 or max(found) > 0.12, name


def test_descent_shows_that_the_duality_gap_is_small():
    """A clairvoyant schedule from the bound's own paths, on episodes of the preset's size."""
    system = DTIRSSystem.from_options("planning", {"num_elements": 6, "num_antennas": 16, "shadow_db": 12.0})
    for trace in bounds.record(system, [np_random(seed)[0] for seed in range(4)], 40):
        paths = np.zeros(trace.gain_db.shape, dtype=np.int64)
        value = cut_paths.dual_bound(trace.problem, bounds.ITERATIONS, paths)
        schedule = cut_paths.descend_paths(trace.problem, paths)
        assert value <= schedule <= 1.01 * value
        assert schedule == pytest.approx(plain_cost(trace.problem, paths), rel=1e-12)


def test_best_path_is_the_best_of_all():
    rng = np.random.default_rng(3)
    for _ in range(20):
        q = random_problem(rng, 4, 1, 3)._replace(pool_s=np.zeros(4))
        path = np.zeros(4, dtype=np.int64)
        cost = cut_paths.best_path(q, 0, q.own_s[:, 0], path)
        every = [plain_cost(q, np.array(cuts)[:, None]) for cuts in itertools.product(range(3), repeat=4)]
        assert cost == pytest.approx(min(every), rel=1e-12)
        assert plain_cost(q, path[:, None]) == pytest.approx(cost, rel=1e-12)


# Limits


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"power": "optimal"}, "no bound with optimal powers; use power='equal'"),
        ({"phase_passes": 1}, "no bound with phases that depend on the cuts"),
        ({"backlog": True}, "no bound with a backlog"),
        ({"preset": "default", "power": "equal"}, "no bound with twins"),
        ({"preset": "paper"}, "no bound with model='printed'"),
    ],
)
def test_what_the_bound_does_not_cover_is_refused(options, words):
    system = gym.make("DTIRS-v0", **{**SMALL, "preset": "planning", **options}).unwrapped.system  # type: ignore[attr-defined]
    with pytest.raises(NotImplementedError, match=words):
        system.bound([0], 3)


def test_systems_have_no_bound_by_default():
    with pytest.raises(NotImplementedError, match="DTIRSSystem has no bound"):
        System.bound(DTIRSSystem.from_options("default", {}), [0], 1)
