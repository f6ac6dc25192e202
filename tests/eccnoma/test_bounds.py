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
from edge_envs.eccnoma import bounds
from edge_envs.eccnoma.baselines import planning
from edge_envs.eccnoma.bounds import slice_paths
from edge_envs.eccnoma.bounds.slice_paths import Costs, SliceProblem

SMALL: dict[str, Any] = {"preset": "planning", "num_users": 6, "num_subchannels": 4}
EPISODES, FRAMES = 100, 12
COSTS = Costs(weight_delay=0.95, weight_energy=0.05, frame_s=1.0, queue_max=4.0, drop_s=3.0)


@pytest.fixture(autouse=True)
def short_searches(monkeypatch):
    """Searched rules need not be good here."""
    monkeypatch.setattr(planning, "SEARCH_EPISODES", 2)
    monkeypatch.setattr(planning, "SEARCH_FRAMES", 10)
    monkeypatch.setattr(planning, "_RANKINGS", {})


def played(name: str, seeds: list[int], frames: int, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Mean relative cost and return of a baseline in the episodes of the seeds, shapes (E,)."""
    env: Any = gym.make_vec("ECCNOMA-v0", num_envs=len(seeds), **{**SMALL, **options})
    policy = make_baseline(name, env)
    observation, _ = env.reset(seed=seeds)
    total, rewards = np.zeros(len(seeds)), np.zeros(len(seeds))
    for _ in range(frames):
        observation, reward, _, _, info = env.step(policy.predict(observation)[0])
        total += info["relative_cost"]
        rewards += reward
    return total / frames, rewards


# Policies


def test_no_policy_is_below_the_bound():
    """All baselines on 100 episodes each; the clairvoyant bound is below the planner, but not far."""
    seeds = list(range(300, 300 + EPISODES))
    env: Any = gym.make("ECCNOMA-v0", **SMALL).unwrapped
    bound = env.system.bound(seeds, FRAMES)
    assert bound.metric == "relative_cost"
    assert bound.least.shape == bound.reward.shape == (EPISODES,)
    means = {}
    for name in set(baselines_of(env)) - {"best-static"}:
        cost, reward = played(name, seeds, FRAMES)
        assert (cost >= bound.least * (1.0 - 1e-9)).all(), name
        assert (reward <= bound.reward + 1e-9 * np.abs(bound.reward)).all(), name
        means[name] = cost.mean()
    assert min(means, key=lambda name: means[name]) == "planner"
    assert 0.6 * means["planner"] < bound.least.mean(), "the bound is of use"


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "default"},
        {"preset": "default", "slices": 1, "queue_max": 7.3, "assignment": "random", "power": "full"},
        {"pool_units": None, "csi_delay": 0, "frame_s": 0.7, "quiet_rate": 2.0},
        {"units": "equal", "weight_energy": 20.0, "load_bits_per_frame": 1e7},
    ],
)
def test_bound_of_other_configurations(options):
    seeds = [3, 4, 5]
    system = gym.make("ECCNOMA-v0", **{**SMALL, **options}).unwrapped.system  # type: ignore[attr-defined]
    bound = system.bound(seeds, 8)
    for name in ("random", "iterated-best-response", "device-only", "edge-only"):
        cost, _ = played(name, seeds, 8, **options)
        assert (cost >= bound.least * (1.0 - 1e-9)).all(), name


@pytest.mark.parametrize("options", [{}, {"preset": "default", "slices": 2, "weight_energy": 1.0}])
def test_the_trace_is_never_slower_than_the_environment(options):
    """Recorded delays and energies of the cuts in use are at most the environment's; arrivals and backlogs are its."""
    seeds = [0, 1, 2]
    env: Any = gym.make_vec("ECCNOMA-v0", num_envs=3, **{**SMALL, **options})
    traces = bounds.record(env.system, [np_random(seed)[0] for seed in seeds], FRAMES)
    env.reset(seed=seeds)
    p, rng = env.system.parameters, np.random.default_rng(0)
    held = close = 0
    for row, trace in enumerate(traces):
        np.testing.assert_array_equal(trace.problem.queue, env.state.queue[row])
    for t in range(FRAMES):
        busy = env.state.queue > 0.0
        # Few users change their mind, so that slices get loaded.
        actions = np.where(rng.random(busy.shape) < 0.9, 0, rng.integers(0, p.num_choices, size=busy.shape))
        info = env.step(actions)[4]
        for row, trace in enumerate(traces):
            q = trace.problem
            np.testing.assert_array_equal(q.arrivals[t], env.state.arrived[row])
            at = np.arange(6), env.state.choice[row]
            delay, energy = q.delay_s[t][at], q.energy_j[t][at]
            assert (info["member_delay_s"][row] >= delay * busy[row] * (1.0 - 1e-9)).all()
            assert (info["member_energy_j"][row] >= energy * busy[row] * (1.0 - 1e-9)).all()
            offloads = busy[row] & (info["member_cut"][row] == 0)
            held += offloads.sum()
            close += (info["member_delay_s"][row] < 1.3 * delay)[offloads].sum()
    assert held > 10
    assert close > 0.2 * held, "the bound on the delay is of use"


# Prices and brute force


def random_problem(number: int, frames: int, users: int, slices: int = 1) -> SliceProblem:
    """Users with three cuts of similar worth, one AP; the last cut needs no slice."""
    rng = np.random.default_rng([7, number])
    delay = rng.uniform(0.15, 0.6, (frames, users, 3))
    delay[:, :, 2] = rng.uniform(0.5, 2.0, users)
    load = np.column_stack([rng.integers(1, 3, users), rng.integers(0, 2, users), np.zeros(users, dtype=np.int64)])
    arrivals = rng.integers(0, 4, (frames, users)).astype(float)
    return SliceProblem(
        delay, rng.uniform(0.0, 3.0, delay.shape), arrivals, rng.integers(0, 4, users).astype(float), load,
        np.ones((users, 3), dtype=np.bool_), np.full(users, 2), np.zeros(users, dtype=np.int64), np.array([slices]),
    )  # fmt: skip


def schedules(q: SliceProblem, u: int) -> list[tuple[float, tuple[bool, ...]]]:
    """Cost of every sequence of moves of a user with the environment's service, and the frames in which it holds."""
    found = []
    for moves in itertools.product((-1, 0, 1, 2), repeat=len(q.arrivals)):
        queue, loaded, cost = float(q.queue[u]), 0, 0.0
        for t, move in enumerate(moves):
            if move in (0, 1) and loaded < q.load_steps[u, move]:
                break  # not loaded yet
            cut = move if move in (0, 1) else 2
            loaded = 0 if move == -1 else loaded + (move == 2)
            delay, energy = q.delay_s[t, u, cut], q.energy_j[t, u, cut]
            served = min(queue, COSTS.frame_s / delay)
            waiting = delay * served * (served + 1.0) / 2.0 + (queue - served) * COSTS.frame_s
            cost += COSTS.weight_delay * waiting + COSTS.weight_energy * served * energy
            full = queue - served + q.arrivals[t, u]
            cost += COSTS.weight_delay * COSTS.drop_s * max(full - COSTS.queue_max, 0.0)
            queue = min(full, COSTS.queue_max)
        else:
            found.append((cost, tuple(move >= 0 for move in moves)))
    return found


def cheapest(q: SliceProblem, u: int) -> dict[tuple[bool, ...], float]:
    """Least cost of a user by the frames in which it holds a slice."""
    least: dict[tuple[bool, ...], float] = {}
    for cost, holds in schedules(q, u):
        least[holds] = min(cost, least.get(holds, np.inf))
    return least


def brute_force(q: SliceProblem) -> float:
    """Least cost of two users that never hold more slices together than there are."""
    one, other = cheapest(q, 0), cheapest(q, 1)
    return min(
        one[a] + other[b]
        for a, b in itertools.product(one, other)
        if all(x + y <= q.slices[0] for x, y in zip(a, b, strict=True))
    )


LEAST = {
    (number, slices): brute_force(random_problem(number, 4, 2, slices)) for number in range(25) for slices in (1, 2)
}


def gaps(slices: int) -> list[float]:
    """Relative distances from the bound up to the optimum, on tiny problems."""
    found = []
    for number in range(25):
        q = random_problem(number, 4, 2, slices)
        value = slice_paths.dual_bound(q, COSTS, 60, 8, 64, np.zeros((4, 1)))
        found.append(1.0 - value / LEAST[number, slices])
    return found


def test_bound_is_close_to_brute_force():
    """It never exceeds the optimum; with a slice for each user, only rounding and partial service are left."""
    scarce, plenty = gaps(1), gaps(2)
    assert min(scarce + plenty) >= -1e-12
    assert np.mean(plenty) < 0.045
    assert np.mean(scarce) < 0.08
    assert max(scarce + plenty) < 0.15


def test_any_prices_give_a_bound():
    rng = np.random.default_rng(1)
    for number in range(20):
        q = random_problem(number, 4, 2)
        for scale in (0.0, 0.1, 1.0, 10.0, 1e3):
            for levels in (1, 3, 20):
                value = slice_paths.dual_value(q, COSTS, scale * rng.random((4, 1)), levels, np.zeros((4, 1)))
                assert value <= LEAST[number, 1] * (1.0 + 1e-12)


def test_prices_and_finer_levels_help():
    """Or the searches for them would be of no use."""
    for number in range(10):
        q = random_problem(number, 4, 2)
        free, coarse, fine = (
            slice_paths.dual_bound(q, COSTS, iterations, 8, levels, np.zeros((4, 1)))
            for iterations, levels in ((0, 64), (60, 1), (60, 64))
        )
        assert free <= fine
        assert coarse <= fine
    assert free < fine


MUTATIONS = [
    (slice_paths.user_bound, "stage < deepest", "False", "nobody can load"),
    (slice_paths.user_bound, "range(q.load_steps[u, c], deepest + 1)", "range(deepest + 1)", "no need to load"),
    (slice_paths.user_bound, "cost[i] + value[0, after[i]]", "cost[i] + value[stage, after[i]]", "nothing forgotten"),
    (slice_paths.user_bound, "using = cost[i] + slice_price", "using = cost[i]", "use is free"),
    (
        slice_paths.user_bound,
        "loading = cost[i] + slice_price",
        "loading = cost[i] + 3.0 * slice_price",
        "dear loading",
    ),
    (slice_paths.user_bound, "full = max(i - shift, 0)", "full = i", "nothing served"),
    (slice_paths.user_bound, "k.weight_delay * k.drop_s * dropped", "0.0 * dropped", "free drops"),
    (slice_paths.user_bound, "full / levels - k.queue_max", "full / levels - 0.5 * k.queue_max", "early drops"),
    (slice_paths.frame_cost, "(queue - served) * k.frame_s", "queue * k.frame_s", "served tasks wait, too"),
    (slice_paths.frame_cost, "0.5 * delay * served * (served + 1.0)", "delay * served * (served + 1.0)", "waits twice"),
    (slice_paths.dual_value, "total -= price", "total += price", "sign of the payment"),
    (slice_paths.dual_value, "price[t, n] * q.slices[n]", "0.5 * price[t, n] * q.slices[n]", "half paid"),
]


@pytest.mark.parametrize(("function", "old", "new", "name"), MUTATIONS, ids=[each[3] for each in MUTATIONS])
def test_broken_bounds_are_caught(function, old, new, name):
    """On tiny problems, a broken bound exceeds the optimum or is farther below it than the sound one."""
    source = inspect.getsource(slice_paths)
    whole = inspect.getsource(inspect.unwrap(getattr(function, "py_func", function)))
    assert whole.count(old) == 1
    assert source.count(whole) == 1
    path = inspect.getfile(slice_paths)
    namespace: dict[str, Any] = {"__name__": slice_paths.__name__, "__file__": path}
    plain = source.replace(whole, whole.replace(old, new)).replace("@compiled\n", "")
    exec(compile(plain, "<mutant>", "exec"), namespace)
    found: list[list[float]] = [[], []]
    for number, slices in itertools.product(range(6), (1, 2)):
        q = random_problem(number, 4, 2, slices)
        for gap, dual_bound in zip(found, (slice_paths.dual_bound, namespace["dual_bound"]), strict=True):
            gap.append(1.0 - dual_bound(q, COSTS, 15, 4, 32, np.zeros((4, 1))) / LEAST[number, slices])
    sound, broken = found
    assert min(sound) >= -1e-12
    assert min(broken) < -1e-9 or np.mean(broken) > np.mean(sound) + 0.01, name


# Limits


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"arrivals": "one"}, "no bound with arrivals='one'"),
        ({"access": "fdma"}, "no bound with orthogonal access; use access='noma'"),
        ({"queue_max": 1e6}, "no bound with queue_max or steps of loading above 200"),
        ({"load_bits_per_frame": 1.0}, "no bound with queue_max or steps of loading above 200"),
    ],
)
def test_what_the_bound_does_not_cover_is_refused(options, words):
    env: Any = gym.make("ECCNOMA-v0", **{**SMALL, **options}).unwrapped
    with pytest.raises(NotImplementedError, match=words):
        env.system.bound([0], 3)
    assert "planner" not in baselines_of(env)
    assert env.system.strongest_baseline == "rank"
