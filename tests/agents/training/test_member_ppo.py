"""PPO member by member: against Stable-Baselines3's where they must agree, and by hand where they must not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from agents.hyperparameters.settings import Settings
from agents.networks.build import blueprint
from agents.training.member_ppo import MemberBuffer, MemberPPO
from agents.training.vec_env import WorldVecEnv
from edge_envs.core.policy import make_baseline
from tests.agents.crowd import FACTS, GO, CrowdState, crowd_worlds

WORLDS, STEPS, COUNT = 6, 10, 4


def model_of(
    algorithm: Any = MemberPPO, worlds: int = WORLDS, options: dict[str, Any] | None = None, **more: Any
) -> Any:
    """The algorithm on the crowd."""
    rows = WorldVecEnv(crowd_worlds(worlds, **(options or {})), reward_scale=0.5)
    agent: Any = "member-ppo" if algorithm is MemberPPO else "ppo"
    plan = blueprint(agent, "pooled", Settings(hidden=(8,)), rows.system)
    arguments: dict[str, Any] = {
        "n_steps": STEPS, "batch_size": 30, "n_epochs": 2, "gamma": 0.9, "gae_lambda": 0.8, "learning_rate": 1e-2,
        "policy_kwargs": plan.arguments, "seed": 0, "device": "cpu",
    }  # fmt: skip
    model = algorithm(plan.policy, rows, **{**arguments, **more})
    model.set_logger(Logger(None, []))
    return model


class Notes(BaseCallback):
    """What every step of the rollouts showed."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[dict[str, Any]] = []

    def _on_step(self) -> bool:
        env = self.training_env
        assert isinstance(env, WorldVecEnv)
        self.steps.append(
            {"rewards": self.locals["rewards"].copy(), "member": env.member_rewards.copy(),
             "dones": self.locals["dones"].copy(), "infos": self.locals["infos"]}
        )  # fmt: skip
        return True


def rollout(model: Any) -> Notes:
    """Fill the model's buffer once, without an update."""
    notes = Notes()
    _, callback = model._setup_learn(10**6, notes)
    assert model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)
    return notes


# Rollouts


def test_advantages_of_a_member_are_those_of_its_column_alone():
    """Every column against Stable-Baselines3's buffer, with episodes that end within and at the end."""
    rng = np.random.default_rng(0)
    box, choices = spaces.Box(-1, 1, (3,)), spaces.MultiDiscrete([3] * COUNT)
    sizes: dict[str, Any] = {"n_envs": WORLDS, "gamma": 0.9, "gae_lambda": 0.7}
    ours = MemberBuffer(STEPS, box, choices, members=COUNT, **sizes)
    columns = [RolloutBuffer(STEPS, box, spaces.Discrete(3), **sizes) for _ in range(COUNT)]
    starts: Any = np.ones(WORLDS)
    for _ in range(STEPS):
        reward, value, log_prob = rng.normal(size=(3, WORLDS, COUNT)).astype(np.float32)
        obs, action = rng.normal(size=(WORLDS, 3)), rng.integers(3, size=(WORLDS, COUNT))
        ours.add(obs, action, reward, starts, torch.as_tensor(value), torch.as_tensor(log_prob))
        for member, column in enumerate(columns):
            column.add(
                obs, action[:, member], reward[:, member], starts, torch.as_tensor(value[:, member]),
                torch.as_tensor(log_prob[:, member]),
            )  # fmt: skip
        starts = rng.random(WORLDS) < 0.3
    assert ours.full
    last = torch.as_tensor(rng.normal(size=(WORLDS, COUNT)).astype(np.float32))
    ours.compute_returns_and_advantage(last, starts)
    for member, column in enumerate(columns):
        column.compute_returns_and_advantage(last[:, member], starts)
        np.testing.assert_allclose(ours.advantages[:, :, member], column.advantages, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(ours.returns[:, :, member], column.returns, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(ours.log_probs[:, :, member], column.log_probs)
    assert starts.any()


def test_members_rewards_are_scaled_and_sum_to_the_worlds():
    model = model_of()
    for step in rollout(model).steps:
        assert step["member"].shape == (WORLDS, COUNT)
        assert step["member"].dtype == np.float32
        np.testing.assert_allclose(step["member"].sum(axis=1), step["rewards"], rtol=1e-5, atol=1e-6)
    assert np.ptp([step["member"] for step in rollout(model).steps]) > 0.1


def test_a_rollout_bootstraps_where_the_clock_ended_an_episode():
    """With each member's own value of the last observation; episodes of 8 steps end once within 10."""
    model = model_of()
    notes = rollout(model)
    buffer, ends = model.rollout_buffer, 0
    for number, step in enumerate(notes.steps):
        expected = step["member"].copy()
        for world in np.flatnonzero(step["dones"]):
            last = torch.as_tensor(step["infos"][world]["terminal_observation"])[None]
            expected[world] += 0.9 * model.policy.predict_member_values(last)[0].detach().numpy()
            ends += 1
        np.testing.assert_allclose(buffer.rewards[number], expected, rtol=1e-5, atol=1e-6)
        if number + 1 < STEPS:
            np.testing.assert_array_equal(buffer.episode_starts[number + 1], step["dones"])
    assert ends == WORLDS


def test_what_terminates_is_not_bootstrapped():
    model = model_of()
    infos: list[dict[str, Any]] = [{} for _ in range(WORLDS)]
    observation = np.ones(model.observation_space.shape, np.float32)
    infos[1] = {"terminal_observation": observation, "TimeLimit.truncated": False}
    infos[4] = {"terminal_observation": observation, "TimeLimit.truncated": True}
    values = model._values_at_truncation(infos, np.array([False, True, False, False, True, False]))
    assert np.flatnonzero(values.any(axis=1)).tolist() == [4]
    last = model.policy.predict_member_values(torch.as_tensor(observation)[None])[0]
    np.testing.assert_allclose(values[4], last.detach().numpy(), rtol=1e-6)


def test_the_buffer_holds_what_the_policy_said():
    model = model_of()
    rollout(model)
    rows, buffer = model.flatten_rollout(), model.rollout_buffer
    evaluated = model.policy.evaluate_members(rows.observations, rows.actions)
    torch.testing.assert_close(evaluated.log_prob, rows.log_prob)
    torch.testing.assert_close(rows.returns, torch.as_tensor(buffer.swap_and_flatten(buffer.returns)))
    values = torch.as_tensor(buffer.swap_and_flatten(buffer.values))
    torch.testing.assert_close(evaluated.values, values)


def test_a_second_rollout_goes_on_where_the_first_ended():
    model = model_of()
    first = rollout(model)
    ended = model._last_obs.copy()
    second = Notes()
    second.init_callback(model)
    model.collect_rollouts(model.env, second, model.rollout_buffer, STEPS)
    np.testing.assert_array_equal(model.rollout_buffer.observations[0], ended)
    ends = [int(step["dones"].all()) for step in first.steps + second.steps]
    assert np.flatnonzero(ends).tolist() == [7, 15]
    assert model.num_timesteps == 2 * STEPS * WORLDS


def test_a_callback_may_end_the_training():
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.n_calls < 4

    model = model_of()
    _, callback = model._setup_learn(10**6, Stop())
    assert not model.collect_rollouts(model.env, callback, model.rollout_buffer, STEPS)
    assert model.num_timesteps == 4 * WORLDS


# Credit


@pytest.mark.parametrize("credit", ["group", "team", "own"])
def test_credit_by_plain_loops(credit):
    model = model_of(credit=credit, normalize_advantage=False)
    rollout(model)
    update, buffer = model.flatten_rollout(), model.rollout_buffer
    own = buffer.swap_and_flatten(buffer.advantages)
    groups = update.observations.reshape(len(own), COUNT, -1)[:, :, FACTS:].argmax(dim=2).numpy()
    for row in range(len(own)):
        for member in range(COUNT):
            shares = {
                "own": [member],
                "team": list(range(COUNT)),
                "group": [i for i in range(COUNT) if groups[row, i] == groups[row, member]],
            }[credit]
            expected = own[row, shares].sum()
            assert update.advantages[row, member].item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_without_groups_the_team_shares_the_credit():
    found = []
    for credit in ("group", "team", "own"):
        model = model_of(credit=credit, options={"grouped": False})
        rollout(model)
        found.append(model.flatten_rollout().advantages)
    torch.testing.assert_close(found[0], found[1], rtol=0.0, atol=0.0)
    assert (found[0] != found[2]).any()


def test_advantages_are_normalised_over_those_who_have_a_choice():
    model = model_of()
    rollout(model)
    update = model.flatten_rollout()
    model.normalize_advantage = False
    raw = model.flatten_rollout().advantages
    mask = update.observations.reshape(len(raw), COUNT, -1)[:, :, 1:FACTS].sum(dim=2) > 1
    assert torch.equal(update.active, mask.float())
    assert 0.1 < (~mask).float().mean() < 0.5
    chosen = update.advantages[mask]
    assert chosen.mean().abs() < 1e-5
    assert chosen.std().item() == pytest.approx(1.0, abs=1e-5)
    torch.testing.assert_close(update.advantages, (raw - raw[mask].mean()) / (raw[mask].std() + 1e-8))


# Updates


def test_one_member_without_masks_is_plain_ppo():
    """The same weights after several updates, with one minibatch a pass, as Stable-Baselines3 normalises those."""
    options = {"count": 1, "groups": 1, "masks": False}
    sizes: dict[str, Any] = {"batch_size": WORLDS * STEPS, "ent_coef": 0.01}
    ours, theirs = (model_of(algorithm, options=options, **sizes) for algorithm in (MemberPPO, PPO))
    for model in (ours, theirs):
        model.env.seed_worlds(list(range(WORLDS)))
        before = {key: value.clone() for key, value in model.policy.state_dict().items()}
        torch.manual_seed(1)
        np.random.seed(1)  # noqa: NPY002  (Stable-Baselines3's generator)
        model.learn(3 * WORLDS * STEPS)
    assert ours._n_updates == theirs._n_updates == 6
    for key, value in theirs.policy.state_dict().items():
        torch.testing.assert_close(ours.policy.state_dict()[key], value, rtol=1e-4, atol=1e-6)
        assert (value != before[key]).any()
    for name in ("policy_gradient_loss", "value_loss", "entropy_loss", "clip_fraction", "explained_variance"):
        numbers = [float(model.logger.name_to_value[f"train/{name}"]) for model in (ours, theirs)]
        assert numbers[0] == pytest.approx(numbers[1], abs=1e-5), name


def test_each_member_is_clipped_by_itself():
    """One member beyond the clip leaves the gradient of the others alone; a joint ratio would stop all of them."""
    model = model_of(ent_coef=0.0, vf_coef=0.0, options={"masks": False})
    rollout(model)
    update = model.flatten_rollout()
    row = update.rows(np.array([0]))
    up = row._replace(advantages=torch.ones(1, COUNT), log_prob=row.log_prob - torch.tensor([[9.0, 0.0, 0.0, 0.0]]))
    logits = model.policy.logits(row.observations).detach().requires_grad_()
    model.policy.logits = lambda _: logits
    loss, numbers = model._loss(up, 0.2)
    loss.backward()
    gradient = logits.grad[0]
    assert (gradient[0] == 0.0).all()
    assert (gradient[1:] != 0.0).all()
    assert numbers["clip_fraction"] == pytest.approx(1 / COUNT)
    expected = -(1.2 + 3.0) / COUNT
    assert numbers["policy_gradient_loss"] == pytest.approx(expected, abs=1e-5)


def test_who_has_no_choice_teaches_the_critic_alone():
    model = model_of(vf_coef=0.0)
    rollout(model)
    update = model.flatten_rollout()
    rows = np.flatnonzero(update.active.sum(dim=1).numpy() < COUNT)
    idle = update.rows(rows)._replace(active=torch.zeros(len(rows), COUNT))
    loss, numbers = model._loss(idle, 0.2)
    assert loss.item() == 0.0
    model.vf_coef = 1.0
    assert model._loss(idle, 0.2)[0].item() == numbers["value_loss"] > 0.0
    # Rewards of idle members do not change what the others learn.
    batch = update.rows(rows)
    spoiled = batch._replace(advantages=torch.where(batch.active > 0, batch.advantages, torch.tensor(1e6)))
    model.vf_coef = 0.0
    assert model._loss(spoiled, 0.2)[0].item() == model._loss(batch, 0.2)[0].item()


@pytest.mark.parametrize(("name", "value"), [("target_kl", 0.01), ("clip_range_vf", 0.2)])
def test_what_is_not_implemented_is_refused(name, value):
    given: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"{name}={value} is not implemented in MemberPPO"):
        model_of(**given)
    given[name] = None
    model_of(**given)


def test_it_learns_to_keep_out_of_each_others_way():
    """Only one of a group may go, which no member can know from its own facts."""
    model = model_of(
        worlds=32, n_steps=8, batch_size=64, n_epochs=4, gamma=0.0, gae_lambda=0.0, learning_rate=5e-3
    )  # fmt: skip
    model.learn(6000)
    env = crowd_worlds(64)
    costs = {}
    for name in ("trained", "best", "stay"):
        observation, _ = env.reset(seed=7)
        policy = model if name == "trained" else make_baseline(name, env)
        costs[name], crowded = 0.0, 0
        for _ in range(5):
            actions, _ = policy.predict(observation, deterministic=True)
            state: CrowdState = env.state
            for row in range(64):
                going = state.group[row][(actions[row] == GO) & ~state.idle[row]]
                crowded += len(going) - len(set(going.tolist()))
            observation, reward, *_ = env.step(actions)
            costs[name] -= reward.mean() / 5
        if name == "trained":
            assert crowded < 64  # 320 worlds with 4 members each
    assert costs["best"] < costs["trained"] < 0.5 * costs["stay"]
