"""The two Stable-Baselines3 adapters against the environment they stand on, row by row."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from agents.training.vec_env import WorldVecEnv
from agents.worlds import make_worlds
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.wrappers import to_index
from edge_envs.lyappo.system import LyaPPOSystem
from tests.agents.toy import CHOICES, MEMBERS, WANTED, worlds

MemberVecEnv = partial(WorldVecEnv, shared=True)
ADAPTERS: list[Any] = [WorldVecEnv, MemberVecEnv]
WORLDS, STEPS = 5, 60
LYAPPO: dict[str, Any] = {"num_devices": 3, "max_episode_steps": 7}


def lyappo(num_envs: int) -> EdgeVectorEnv:
    return make_worlds("LyaPPO-v0", num_envs, "default", LYAPPO)


def world_actions(space: Any, count: int) -> np.ndarray:
    """What world w does in its own step s, shape (STEPS, count, A)."""
    return np.random.default_rng(7).integers(space.nvec, size=(STEPS, count, len(space.nvec)))


def reference_traces(env: EdgeVectorEnv, seeds: list[int]) -> list[list[dict[str, Any]]]:
    """Own steps of every world in a NEXT_STEP environment, where no observation is hidden."""
    assert env.autoreset_mode is AutoresetMode.NEXT_STEP
    actions = world_actions(env.single_action_space, env.num_envs)
    observation, _ = env.reset(seed=seeds)
    own, waiting = np.zeros(env.num_envs, int), np.zeros(env.num_envs, bool)
    traces: list[list[dict[str, Any]]] = [[] for _ in range(env.num_envs)]
    while min(map(len, traces)) < STEPS:
        before = observation
        chosen = actions[np.minimum(own, STEPS - 1), np.arange(env.num_envs)]
        observation, reward, terminated, truncated, info = env.step(chosen)
        for world in np.flatnonzero(~waiting):
            traces[world].append(
                {
                    "before": before[world],
                    "after": observation[world],
                    "reward": reward[world],
                    "member_reward": info["member_reward"][world].copy(),
                    "terminated": bool(terminated[world]),
                    "truncated": bool(truncated[world]),
                    "means": {
                        key.removeprefix("episode_mean_"): values[world]
                        for key, values in info.items()
                        if key.startswith("episode_mean_")
                    },
                }
            )
        own += ~waiting
        waiting = terminated | truncated
    return traces


def play_adapter(adapter: WorldVecEnv, seeds: list[int]) -> list[dict[str, Any]]:
    """Everything an adapter returned, step by step."""
    actions = world_actions(adapter.env.single_action_space, adapter.env.num_envs)
    adapter.seed_worlds(seeds)
    steps = []
    observation: Any = adapter.reset()
    for step in range(STEPS):
        adapter.episodes.clear()
        after, reward, done, infos = adapter.step(actions[step].reshape(adapter.num_envs, -1))
        steps.append(
            {"before": observation, "after": after, "reward": reward, "done": done, "infos": infos,
             "episodes": list(adapter.episodes)}
        )  # fmt: skip
        observation = after
    return steps


CASES = {
    "toy": lambda mode: worlds(WORLDS, mode),
    "toy, never truncated": lambda mode: worlds(WORLDS, mode, None),
    "toy, truncated alone": lambda mode: worlds(WORLDS, mode, 3, end_probability=0.0),
    "toy, one step": lambda mode: worlds(WORLDS, mode, 1, end_probability=0.5),
    "toy, always the end": lambda mode: worlds(WORLDS, mode, 4, end_probability=1.0),
    "toy, one world": lambda mode: worlds(1, mode, 6),
    "lyappo": lambda mode: EdgeVectorEnv(LyaPPOSystem, WORLDS, max_episode_steps=7, autoreset_mode=mode, num_devices=3),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("case", CASES)
def test_rows_are_those_of_the_plain_environment(case, adapter):
    plain, rows = CASES[case]("NextStep"), adapter(CASES[case]("SameStep"))
    seeds = [100 + 17 * world for world in range(plain.num_envs)]
    traces, steps = reference_traces(plain, seeds), play_adapter(rows, seeds)
    members = plain.system.members if adapter is MemberVecEnv else 1
    view = plain.system.member_view
    assert rows.num_envs == plain.num_envs * members
    ends: dict[str, int] = defaultdict(int)
    for world, trace in enumerate(traces):
        whole, parts, length = 0.0, np.zeros(members), 0
        for step, (ours, theirs) in enumerate(zip(steps, trace, strict=False)):
            done = theirs["terminated"] or theirs["truncated"]
            length += 1
            whole += theirs["reward"]
            parts = parts + (theirs["member_reward"] if adapter is MemberVecEnv else theirs["reward"])
            for member in range(members):
                row = world * members + member
                seen = view[member] if adapter is MemberVecEnv else slice(None)
                part = theirs["member_reward"][member] if adapter is MemberVecEnv else theirs["reward"]
                np.testing.assert_array_equal(ours["before"][row], theirs["before"][seen])
                np.testing.assert_array_equal(ours["reward"][row], np.float32(part))
                assert ours["done"][row] == done
                info = ours["infos"][row]
                if not done:
                    assert info == {}
                    np.testing.assert_array_equal(ours["after"][row], theirs["after"][seen])
                    continue
                np.testing.assert_array_equal(info["terminal_observation"], theirs["after"][seen])
                assert info["TimeLimit.truncated"] is (theirs["truncated"] and not theirs["terminated"])
                assert info["episode"]["l"] == length
                assert info["episode"]["r"] == pytest.approx(parts[member], rel=1e-12)
                if step + 1 < STEPS:
                    np.testing.assert_array_equal(ours["after"][row], trace[step + 1]["before"][seen])
            if done:
                ends["truncated" if info["TimeLimit.truncated"] else "terminated"] += 1
                assert {"return": pytest.approx(whole, rel=1e-12), **theirs["means"]} in ours["episodes"]
                whole, parts, length = 0.0, np.zeros(members), 0
        assert sum(len(s["episodes"]) for s in steps) == sum(int(s["done"].sum()) for s in steps) / members
    if case == "toy":
        assert min(ends.values()) > 3
        # The worlds are out of phase.
        assert any(s["done"].any() and not s["done"].all() for s in steps)


def test_terminal_and_next_observation_differ():
    rows = MemberVecEnv(worlds(WORLDS))
    for step in play_adapter(rows, list(range(WORLDS))):
        for row in np.flatnonzero(step["done"]):
            assert (step["infos"][row]["terminal_observation"] != step["after"][row]).any()
            np.testing.assert_allclose(step["after"][row, 0], 0.0)  # the clock of a fresh episode


def test_what_was_returned_stays_as_it_was():
    """Stable-Baselines3 keeps observations and terminal observations while it steps on."""
    for adapter in ADAPTERS:
        rows = adapter(worlds(WORLDS))
        rows.seed(0)
        kept: list[tuple[np.ndarray, np.ndarray]] = []
        observation: Any = rows.reset()
        for _ in range(20):
            kept.append((observation, observation.copy()))
            observation, reward, _, infos = rows.step(np.zeros((rows.num_envs, 4 // rows.rows_per_world), int))
            kept.append((reward, reward.copy()))
            kept += [(i["terminal_observation"], i["terminal_observation"].copy()) for i in infos if i]
        for now, then in kept:
            np.testing.assert_array_equal(now, then)


def test_member_rows_see_their_columns_and_get_their_part():
    rows = MemberVecEnv(worlds(3, end_probability=0.0))
    rows.seed(0)
    first = rows.reset()
    assert first.shape == (6, 3)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first[::2, 1], 1.0)
    np.testing.assert_array_equal(first[1::2, 1], -1.0)
    # World 1 is right in member 1, world 2 in member 0.
    actions = np.zeros((3, MEMBERS, 2), int) + (WANTED + 1) % CHOICES
    actions[1, 1], actions[2, 0] = WANTED[1], WANTED[0]
    _, reward, _, _ = rows.step(actions.reshape(6, 2))
    np.testing.assert_allclose(reward - 0.125 - np.tile([0, 0.0625], 3), [0, 0, 0, 2, 2, 0])
    assert reward.dtype == np.float32


@pytest.mark.parametrize("make", [lambda: worlds(4), lambda: lyappo(4)])
def test_member_rewards_sum_to_the_worlds(make):
    central, shared = WorldVecEnv(make()), MemberVecEnv(make())
    ours, theirs = play_adapter(central, [5, 6, 7, 8]), play_adapter(shared, [5, 6, 7, 8])
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one["reward"], other["reward"].reshape(4, -1).sum(axis=1), rtol=1e-6)
        assert one["episodes"] == other["episodes"]
        np.testing.assert_array_equal(np.repeat(one["done"], shared.rows_per_world), other["done"])


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_rewards_of_the_members_are_distinguished(adapter):
    """Scaled, of the step just taken, and of the old episode where one ended."""
    rows = adapter(worlds(4), reward_scale=0.25)
    shared = MemberVecEnv(worlds(4), reward_scale=0.25)
    assert rows.member_rewards.shape == (4, MEMBERS)
    actions = world_actions(rows.env.single_action_space, 4)
    for one in (rows, shared):
        one.seed_worlds([5, 6, 7, 8])
        one.reset()
    ended = 0
    for step in range(STEPS):
        _, reward, done, _ = rows.step(actions[step].reshape(rows.num_envs, -1))
        _, expected, _, _ = shared.step(actions[step].reshape(shared.num_envs, -1))
        assert rows.member_rewards.dtype == np.float32
        np.testing.assert_array_equal(rows.member_rewards.ravel(), expected)
        np.testing.assert_allclose(rows.member_rewards.sum(), reward.sum(), rtol=1e-5)
        ended += int(done.sum())
    assert ended > 10


def test_spaces():
    central, shared = WorldVecEnv(worlds(2)), MemberVecEnv(worlds(2))
    assert central.observation_space == central.env.single_observation_space
    assert central.action_space == central.env.single_action_space
    assert shared.observation_space.shape == (3,)
    assert shared.action_space == spaces.MultiDiscrete(CHOICES)
    assert MemberVecEnv(worlds(2), continuous=True).action_space == spaces.Box(-1.0, 1.0, (2,), np.float32)
    assert WorldVecEnv(worlds(2), continuous=True).action_space == spaces.Box(-1.0, 1.0, (4,), np.float32)
    with pytest.raises(TypeError, match="MultiDiscrete"):
        WorldVecEnv(worlds(2, first=1), continuous=True)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_box_needs_no_wrapping(adapter):
    """The same space, and the same actions to the last bit, whether or not continuous actions were asked for."""
    plain, asked = adapter(worlds(2, box=True)), adapter(worlds(2, box=True), continuous=True)
    assert plain.action_space == asked.action_space == spaces.Box(-1.0, 1.0, (4 // plain.rows_per_world,), np.float32)
    for rows in (plain, asked):
        rows.seed(0)
        rows.reset()
    actions = np.random.default_rng(0).uniform(-1.5, 1.5, (plain.num_envs, 4 // plain.rows_per_world))
    for ours, theirs in zip(asked.step(actions)[:3], plain.step(actions)[:3], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(asked._actions, np.clip(actions, -1.0, 1.0).reshape(2, 4))


@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_another_autoreset_mode_is_refused(mode):
    with pytest.raises(ValueError, match=f"autoreset_mode='{mode}'.*SameStep"):
        WorldVecEnv(worlds(2, mode))


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_continuous_actions_become_indices(adapter):
    plain, boxed = adapter(worlds(3)), adapter(worlds(3), continuous=True)
    for rows in (plain, boxed):
        rows.seed(3)
        rows.reset()
    width = 4 // plain.rows_per_world
    choices = np.tile(CHOICES, width // 2)
    rng = np.random.default_rng(0)
    for step in range(20):
        action = rng.uniform(-1.3, 1.3, (boxed.num_envs, width)).astype(np.float32)  # beyond the ends: clipped
        if step == 0:
            action[:] = -1.0
        if step == 1:
            action[:] = 1.0
        indices = to_index(np.clip(action, -1, 1), choices)
        kept = action.copy()
        ours, theirs = boxed.step(action), plain.step(indices)
        np.testing.assert_array_equal(action, kept)  # the caller's array is not clipped in place
        for one, other in zip(ours[:3], theirs[:3], strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(boxed._actions, indices.reshape(3, 4))
    assert (to_index(np.full(width, -1.0), choices) == 0).all()
    assert (to_index(np.full(width, 1.0), choices) == choices - 1).all()


def test_box_actions_are_clipped():
    rows = MemberVecEnv(worlds(2, box=True))
    rows.seed(0)
    rows.reset()
    rows.step(np.full((4, 2), 5.0, np.float32))
    np.testing.assert_array_equal(rows._actions, 1.0)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_reward_scale_reaches_the_agent_alone(adapter):
    plain, scaled = adapter(worlds(3)), adapter(worlds(3), reward_scale=0.25)
    for one, other in zip(play_adapter(plain, [1, 2, 3]), play_adapter(scaled, [1, 2, 3]), strict=True):
        np.testing.assert_allclose(other["reward"], 0.25 * one["reward"], rtol=1e-6)
        assert one["episodes"] == other["episodes"]
        for ours, theirs in zip(one["infos"], other["infos"], strict=True):
            assert ours.get("episode") == theirs.get("episode")


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_seeding(adapter):
    rows = adapter(worlds(3))
    assert rows.seed(40) == [40 + row // rows.rows_per_world for row in range(rows.num_envs)]
    first = rows.reset()
    twin = adapter(worlds(3))
    twin.seed_worlds([40, 41, 42])
    np.testing.assert_array_equal(first, twin.reset())
    again = rows.reset()  # seeds are used once
    assert (again != first).any()
    rows.seed(40)
    np.testing.assert_array_equal(rows.reset(), first)
    rows.seed(41)
    assert (rows.reset() != first).any()
    assert rows.seed(None) == [None] * rows.num_envs
    rows.reset()


def test_reset_forgets_returns_and_lengths():
    rows = MemberVecEnv(worlds(2, end_probability=0.0, max_episode_steps=4))
    rows.seed(0)
    for _ in range(2):
        rows.reset()
        for _ in range(3):
            rows.step(np.zeros((4, 2), int))
    rows.reset()
    for _ in range(4):
        _, _, done, infos = rows.step(np.tile(WANTED, (2, 1)))
    assert done.all()
    for row, info in enumerate(infos):
        assert info["episode"]["l"] == 4
        assert info["episode"]["r"] == pytest.approx(4 * (2 + 0.0625 * (row % 2)) + 0.125 * 10)
    summary = rows.episodes[0]
    assert summary == {"return": pytest.approx(18.75), "hits": 4.0, "clock": 4.0, "noise": summary["noise"]}


def test_vec_env_interface():
    env = worlds(3)
    rows = MemberVecEnv(env)
    assert rows.num_envs == 6
    assert rows.get_attr("num_envs") == [3] * 6
    assert rows.get_attr("system", [0, 4]) == [env.system] * 2
    assert rows.get_attr("system", 1) == [env.system]
    assert rows.has_attr("max_episode_steps")
    assert not rows.has_attr("no_such_thing")
    assert rows.env_is_wrapped(gym.Wrapper) == [False] * 6
    assert rows.env_is_wrapped(gym.Wrapper, [1]) == [False]
    assert rows.render_mode is None
    with pytest.raises(AttributeError, match="'num_envs' cannot be set"):
        rows.set_attr("num_envs", 4)
    calls = []

    def shout(word: str, times: int = 1) -> str:
        calls.append(word)
        return word * times

    env.shout = shout  # type: ignore[attr-defined]
    assert rows.env_method("shout", "a", times=2, indices=[0, 5]) == ["aa", "aa"]
    assert calls == ["a"]
    rows.close()
    assert env.closed
    rows.close()


def test_wrong_actions_are_refused():
    rows = WorldVecEnv(worlds(2))
    rows.seed(0)
    rows.reset()
    for actions in (np.full((2, 4), 3), np.full((2, 4), -1), np.zeros((2, 3), int), np.full((2, 4), 0.5)):
        with pytest.raises(ValueError, match="action"):
            rows.step(actions)
    boxed = MemberVecEnv(worlds(2), continuous=True)
    boxed.seed(0)
    boxed.reset()
    with pytest.raises(ValueError, match="nan"):
        boxed.step(np.full((4, 2), np.nan, np.float32))


def test_environment_time_is_measured():
    rows = WorldVecEnv(worlds(2))
    rows.seed(0)
    rows.reset()
    assert rows.env_seconds == 0.0
    rows.step(np.zeros((2, 4), int))
    assert rows.env_seconds > 0.0


class Witness(BaseCallback):
    """Compares the rollout buffer with what the adapter handed over, before the network changes."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Any] = []
        self.kinds = {"truncated": 0, "terminated": 0}
        self.rollouts = 0

    def _on_step(self) -> bool:
        # PPO adds to `rewards` in place after this call.
        self.steps.append((self.locals["rewards"].copy(), self.locals["dones"].copy(), self.locals["infos"]))
        return True

    def _on_rollout_end(self) -> None:
        model = self.model
        assert isinstance(model, PPO)
        for step, (reward, done, infos) in enumerate(self.steps):
            for row in range(len(reward)):
                expected = float(reward[row])
                if done[row] and infos[row]["TimeLimit.truncated"]:
                    last, _ = model.policy.obs_to_tensor(infos[row]["terminal_observation"])
                    expected += model.gamma * model.policy.predict_values(last).item()
                    self.kinds["truncated"] += 1
                elif done[row]:
                    self.kinds["terminated"] += 1
                assert model.rollout_buffer.rewards[step, row] == pytest.approx(expected, rel=1e-5, abs=1e-6)
                if step + 1 < len(self.steps):
                    assert model.rollout_buffer.episode_starts[step + 1, row] == done[row]
        self.steps.clear()
        self.rollouts += 1


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_ppo_bootstraps_truncations_and_only_those(adapter):
    rows = adapter(worlds(4, end_probability=0.15, max_episode_steps=5))
    model = PPO("MlpPolicy", rows, n_steps=20, batch_size=40, n_epochs=2, gamma=0.9, seed=0, device="cpu")
    witness = Witness()
    model.learn(3 * 20 * rows.num_envs, callback=witness)
    assert witness.rollouts == 3
    assert min(witness.kinds.values()) > 5
