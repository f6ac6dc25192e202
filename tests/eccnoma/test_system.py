"""The System around the kernel: observation, masks, views of the users, reward and its reference, golden rewards."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces

import edge_envs  # noqa: F401  (registers the ids)
from tests.eccnoma.model import reference_report
from tests.eccnoma.model import reference_step as slow
from tests.eccnoma.model.problems import CONFIGS, PAPER, every_config, make, random_action
from tests.helpers import assert_same

GOLDEN: dict[str, list[float]] = {
    "default": [-0.7738595170, -0.7780964900, -0.9045385623, -0.4631533814, -1.0411358247, -1.2692905644],
    "large": [-1.2886319539, -1.8018282533, -2.5775623416, -1.9470259692, -1.6668787082, -6.1920165025],
    "paper": [-0.8472136402, -0.8478443226, -0.8228301291, -0.8570985275, -0.8296951801, -0.8470649660],
}
"""Rewards of the first six steps with seed 123 and the cuts of `cycle`. A change here means a new version of the id."""


def cycle(env: Any, step: int) -> np.ndarray:
    """Choices that go round from user to user and frame to frame."""
    return (step + np.arange(env.system.members)) % env.action_space.nvec


@pytest.mark.parametrize("preset", GOLDEN)
def test_golden_trajectory(preset):
    env: Any = gym.make("ECCNOMA-v0", preset=preset).unwrapped
    env.reset(seed=123)
    rewards = [env.step(cycle(env, step))[1] for step in range(6)]
    np.testing.assert_allclose(rewards, GOLDEN[preset], rtol=1e-6)


# Observation and masks


@every_config
def test_observation_is_what_the_docs_say(name):
    """Tasks, channels and loads as seen, what became of the last cut, the cell; network, open choices, access point."""
    env = make(name)
    c = env.system.config
    observation, info = env.reset(seed=6)
    rng, last = np.random.default_rng(0), None
    for _ in range(6):
        w = slow.world_of(env)
        expected = reference_report.expected_observation(c, w, last)
        assert observation.dtype == np.float32
        np.testing.assert_allclose(observation.reshape(c.num_users, -1), expected, rtol=2e-6, atol=2e-6)
        mask = reference_report.expected_mask(c, w)
        np.testing.assert_array_equal(info["action_mask"], mask)
        np.testing.assert_array_equal(env.system.action_mask(observation), mask)
        action = random_action(env, rng)
        observation, _, _, _, info = env.step(action)
        last = action, slow.simulate(c, w, action, slow.decisions_of(env))


@every_config
def test_masks_leave_the_device_and_every_cut_of_the_network(name):
    """Never empty; without tasks nothing else is open; open choices of a user are different cuts."""
    env = make(name)
    c, p = env.system.config, env.system.parameters
    rng = np.random.default_rng(0)
    info = env.reset(seed=0)[1]
    for _ in range(8):
        mask, s = info["action_mask"], env.state
        assert mask.shape == (c.num_users, env.action_space.nvec[0])
        assert mask.dtype == np.int8
        for u in range(c.num_users):
            cuts = p.cut_number[s.network[0, u]][mask[u] == 1].tolist()
            assert len(set(cuts)) == len(cuts)
            assert max(cuts) == p.cut_number[s.network[0, u]].max()
            assert len(cuts) == (p.choices[s.network[0, u]] if s.queue[0, u] > 0.0 or c.slices else 1)
        action = env.action_space.sample(mask=tuple(mask))
        assert mask[np.arange(c.num_users), action].all()
        info = env.step(random_action(env, rng))[4]


def test_last_frames_are_forgotten_at_a_reset():
    env = make("default")
    first, _ = env.reset(seed=3)
    for _ in range(3):
        env.step(np.zeros(12, dtype=int))
    again, _ = env.reset(seed=3)
    np.testing.assert_array_equal(first, again)


def test_nothing_of_the_true_channels_or_loads_shows():
    """With old CSI the observation stays the same whatever the frame to come holds; without, it does not."""
    for name, blind in (("default", True), ("fresh-csi", False)):
        env = make(name)
        before, _ = env.reset(seed=3)
        s = env.state
        s.gain_up[:] *= 3.0
        s.gain_down[:] *= 0.2
        s.level[:] = (s.level + 1) % 3
        after = env.system.observe(s)[0]
        assert np.array_equal(before, after) == blind


@pytest.mark.parametrize("name", ["default", "large", "paper"])
def test_observations_are_of_order_one(name):
    """Over many worlds every fact is seldom beyond three, and none is always at a limit."""
    env = gym.make_vec("ECCNOMA-v0", num_envs=32, **CONFIGS[name])
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    shape = env.action_space.shape
    assert shape is not None
    table = np.concatenate([env.step(rng.integers(0, 5, size=shape))[0] for _ in range(20)])
    assert np.abs(table).max() <= 8.0
    by_fact = table.reshape(-1, env.unwrapped.system.member_view.shape[1])  # type: ignore[attr-defined]
    assert (np.quantile(np.abs(by_fact), 0.9, axis=0) < 4.5).all()
    assert ((np.abs(by_fact) >= 8.0).mean(axis=0) < 0.2).all()
    assert (np.abs(by_fact) < 3.0).mean() > 0.97


# Views of the users


@every_config
def test_views_cut_the_observation_into_users(name):
    """One user after the other: its facts, then its open choices, then its access point."""
    system = make(name).system
    c = system.config
    view, facts = system.member_view, 17 + (9 if c.slices else 0) + len(c.networks)
    choices = system.action_space.nvec[0]
    assert view.shape == (c.num_users, facts + choices + c.num_aps)
    np.testing.assert_array_equal(view.reshape(-1), np.arange(view.size))
    np.testing.assert_array_equal(system.own_view, view[:, :facts])
    np.testing.assert_array_equal(system.mask_view, view[:, facts : facts + choices])
    np.testing.assert_array_equal(system.group_view, view[:, facts + choices :])
    assert len(system.observation_fields) == len(set(system.observation_fields)) == view.size
    assert system.observation_fields[view[-1, 0]] == f"backlog[{c.num_users - 1}]"
    assert ("free_slices[0]" in system.observation_fields) == (c.slices is not None)
    assert isinstance(system.observation_space, spaces.Box)
    assert system.observation_space.shape == (view.size,)
    assert (system.observation_space.high == 8.0).all()
    assert system.action_space.nvec.tolist() == [choices] * c.num_users
    assert choices == max(system.parameters.choices)
    assert choices == (max(table.last for table in slow.tables_of(c)) + 1 if c.cuts == "all" else choices)


def test_groups_are_the_users_of_an_access_point():
    env = make("large")
    observation, _ = env.reset(seed=0)
    group = observation[env.system.group_view]
    assert (group.sum(axis=1) == 1.0).all()
    info = env.step(env.action_space.nvec - 1)[4]
    np.testing.assert_array_equal(group.argmax(axis=1), info["member_ap"])
    assert len(set(info["member_ap"].tolist())) == 3


def test_own_facts_do_not_depend_on_how_many_others_there_are():
    """Networks trained for some users read those of more: the same columns, whatever U, N and M are."""
    widths = {make(name).system.own_view.shape[1] for name in ("default", "large", "paper", "one-user", "one-ap")}
    assert widths == {20}


def test_facts_of_a_cell_count_its_users_alone():
    """With the users of one AP silenced, the other's sums stay as they are."""
    env = make("default")
    before = env.reset(seed=6)[0].reshape(12, -1)
    ap = env.state.ap[0]
    env.state.queue[0, ap == 0] = 0.0
    after = env.system.observe(env.state)[0].reshape(12, -1)
    assert (after[ap == 0, 14:17] == 0.0).all()
    np.testing.assert_array_equal(after[ap == 1], before[ap == 1])
    assert (before[ap == 0, 15] > 0.0).all()


# Reward


@every_config
def test_rewards_are_the_users_parts_of_the_cost(name):
    env = make(name)
    env.reset(seed=2)
    rng = np.random.default_rng(0)
    for _ in range(5):
        reference = env.state.reference[0]
        _, reward, terminated, truncated, info = env.step(random_action(env, rng))
        assert (terminated, truncated) == (False, False)
        assert reward == pytest.approx(-info["cost"] / reference, rel=1e-12)
        assert reward == pytest.approx(-info["relative_cost"], rel=1e-12)
        assert info["member_reward"].sum() == pytest.approx(reward, rel=1e-12)
        np.testing.assert_allclose(info["member_cost"], -info["member_reward"] * reference, rtol=1e-12)
        assert (info["member_reward"] <= 0.0).all()
        assert env.state.reference[0] == reference, "the reference holds for the whole episode"
    assert reference == pytest.approx(slow.device_only_cost(env.system.config, slow.world_of(env)), rel=1e-12)


def test_reference_follows_weights_and_arrivals():
    """Of the same users: linear in the weights of delay and energy, and in the tasks that come."""

    def reference(**options: Any) -> float:
        env = make("default", **options)
        env.reset(seed=7)
        return float(env.state.reference[0])

    base = reference()
    assert reference(weight_delay=1.9, weight_energy=0.1) == pytest.approx(2.0 * base, rel=1e-12)
    assert reference(frame_s=2.0) == pytest.approx(2.0 * base, rel=1e-12)
    assert reference(quiet_rate=1.0, burst_rate=8.0) == pytest.approx(2.0 * base, rel=1e-12)
    parts = reference(weight_energy=0.0), reference(weight_delay=1e-12)
    assert sum(parts) == pytest.approx(base, rel=1e-9)
    assert reference(pool_units=None, bandwidth_up_hz=1.0, drop_s=0.0) == base


@pytest.mark.parametrize("preset", ["default", "large", "paper"])
def test_no_simple_rule_is_good_everywhere(preset):
    """Everybody at the edge crowds it and nobody wastes it, where users share a pool; the paper's own case is easy."""
    means = {}
    for name, choice in (("edge", 0), ("device", 1)):
        env = gym.make_vec("ECCNOMA-v0", num_envs=24, **({"preset": preset} if preset != "paper" else PAPER))
        env.reset(seed=1)
        shape = env.action_space.shape
        assert shape is not None
        means[name] = float(np.mean([env.step(np.full(shape, choice))[1] for _ in range(30)]))
    if preset == "paper":
        assert means["device"] == pytest.approx(-1.0, rel=1e-9)
        assert means["edge"] > -0.8
    else:
        assert means["device"] < -3.0
        assert means["edge"] < -2.0


def test_batches_of_rows_keep_their_own_users():
    """Rows of a vector environment start and go on like single ones, with the scratch memory shared by all."""
    vector: Any = gym.make_vec("ECCNOMA-v0", num_envs=3, **CONFIGS["default"])
    singles = [make("default") for _ in range(3)]
    vector.reset(seed=20)
    rng = np.random.default_rng(0)
    for row, env in enumerate(singles):
        env.reset(seed=20 + row)
    for _ in range(6):
        actions = np.array([random_action(env, rng) for env in singles])
        rewards, info = vector.step(actions)[1::3]
        for row, env in enumerate(singles):
            assert env.step(actions[row])[1] == rewards[row]
            np.testing.assert_array_equal(env.state.queue[0], vector.unwrapped.state.queue[row])
        assert len(set(rewards.tolist())) == 3
        assert info["member_cut"].shape == (3, 12)


def test_a_snapshot_from_before_the_slices_is_restored():
    """Earlier versions had no slices in the state, and their infos no metrics of slices."""
    options: dict[str, Any] = {"num_users": 4, "num_aps": 2, "num_subchannels": 2}
    env: Any = gym.make("ECCNOMA-v0", **options).unwrapped
    _, info = env.reset(seed=3)
    assert info.keys().isdisjoint(("slices_used", "slices_loading", "member_slice", "member_loading"))
    present = env.snapshot()
    earlier = {name: array for name, array in present.items() if name not in ("state.holds", "state.loaded")}
    assert len(earlier) == len(present) - 2
    following = env.step(np.zeros(4, dtype=np.int64))
    env.restore(earlier)
    assert_same(env.snapshot(), present)
    assert_same(env.step(np.zeros(4, dtype=np.int64)), following)
    sliced: Any = gym.make("ECCNOMA-v0", slices=1, **options).unwrapped
    sliced.reset(seed=3)
    incomplete = {name: array for name, array in sliced.snapshot().items() if name != "state.holds"}
    with pytest.raises(ValueError, match=r"'state\.holds' is missing"):
        sliced.restore(incomplete)
