"""Proximal policy optimisation with a ratio, an advantage and a value for every member of a team."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents.hyperparameters.settings import Credit
from agents.networks.pooled_policy import PooledPolicy
from agents.training.vec_env import WorldVecEnv


class MemberBuffer(RolloutBuffer):
    """Stable-Baselines3's rollout buffer with a column per member, shape (n_steps, B, M), where it has one per world.

    `advantages` are those of the members themselves until `MemberPPO` hands out the credit.
    """

    def __init__(self, *args: Any, members: int, **kwargs: Any) -> None:
        self.members = members
        super().__init__(*args, **kwargs)

    def reset(self) -> None:
        """Empty the buffer."""
        super().reset()
        shape = (5, self.buffer_size, self.n_envs, self.members)
        self.rewards, self.values, self.log_probs, self.advantages, self.returns = np.zeros(shape, dtype=np.float32)

    def add(
        self,
        obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        episode_start: NDArray[Any],
        value: Tensor,
        log_prob: Tensor,
    ) -> None:
        """One step of all worlds; rewards, values and log-probabilities of shape (B, M)."""
        self.observations[self.pos] = obs
        self.actions[self.pos] = action
        self.rewards[self.pos] = reward
        self.episode_starts[self.pos] = episode_start
        self.values[self.pos] = value.numpy()
        self.log_probs[self.pos] = log_prob.numpy()
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[Any]) -> None:
        """Generalised advantages and lambda-returns of every member, from the values (B, M) after the last step."""
        next_values, ahead = last_values.numpy(), np.zeros((self.n_envs, self.members), dtype=np.float32)
        goes_on = 1.0 - dones.astype(np.float32)
        for step in reversed(range(self.buffer_size)):
            delta = self.rewards[step] + self.gamma * next_values * goes_on[:, None] - self.values[step]
            ahead = delta + self.gamma * self.gae_lambda * goes_on[:, None] * ahead
            self.advantages[step] = ahead
            next_values, goes_on = self.values[step], 1.0 - self.episode_starts[step]
        self.returns = self.advantages + self.values

    def _get_samples(self, batch_inds: NDArray[Any], env: Any = None) -> Any:
        """Rows of the flattened buffer; Stable-Baselines3's own would run the members into one column."""
        raise NotImplementedError("use batches()")


class Update(NamedTuple):
    """What a rollout taught, flattened to N = n_steps B rows."""

    observations: Tensor  # (N, n)
    actions: Tensor  # (N, M)
    log_prob: Tensor  # (N, M) when they were taken
    advantages: Tensor  # (N, M) with the credit handed out, normalised over the active entries
    returns: Tensor  # (N, M)
    active: Tensor  # (N, M) 1.0 where the member had a choice

    def rows(self, rows: NDArray[Any]) -> Update:
        """Some of the rows."""
        return Update(*(part[rows] for part in self))


class MemberPPO(PPO):
    """PPO in which every member of a team has its own ratio, clipping, value and advantage.

    Args:
        policy: `PooledPolicy`.
        env: `WorldVecEnv`, which tells the members' rewards.
        credit: whose advantages a member's action is rewarded with, summed up.
        normalize_advantage: bring the advantages of an update's active entries to mean 0 and deviation 1.
        kwargs: as for Stable-Baselines3's PPO.

    Members with one open choice count in the value loss, but not in the policy loss.

    Raises:
        ValueError: `target_kl` or `clip_range_vf`, which are not implemented.
    """

    policy: PooledPolicy
    rollout_buffer: MemberBuffer

    def __init__(
        self, policy: type[PooledPolicy], env: WorldVecEnv, *, credit: Credit = "group", **kwargs: Any
    ) -> None:
        for name in ("target_kl", "clip_range_vf"):
            if kwargs.get(name) is not None:
                raise ValueError(f"{name}={kwargs[name]!r} is not implemented in MemberPPO; leave it out")
        self.credit = credit
        buffer: dict[str, Any] = {
            "rollout_buffer_class": MemberBuffer,
            "rollout_buffer_kwargs": {"members": env.system.members},
        }
        super().__init__(policy, env, **buffer, **kwargs)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer with steps of the present policy; False where the callback ends the training."""
        assert isinstance(env, WorldVecEnv)
        assert isinstance(rollout_buffer, MemberBuffer)
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        observation: Any = self._last_obs
        starts: Any = self._last_episode_starts
        for _ in range(n_rollout_steps):
            with torch.no_grad():
                actions, told = self.policy.act(torch.as_tensor(observation))
            new_obs, rewards, dones, infos = env.step(actions.numpy())
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            member_rewards = env.member_rewards + self.gamma * self._values_cut_off(infos, dones)
            rollout_buffer.add(observation, actions.numpy(), member_rewards, starts, told.values, told.log_prob)
            observation, starts = new_obs, dones
        self._last_obs, self._last_episode_starts = observation, starts
        with torch.no_grad():
            last_values = self.policy.predict_member_values(torch.as_tensor(observation))
        rollout_buffer.compute_returns_and_advantage(last_values, starts)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _values_cut_off(self, infos: list[dict[str, Any]], dones: NDArray[Any]) -> NDArray[np.float32]:
        """Values (B, M) of the last observations of episodes that the clock ended, zero elsewhere."""
        values = np.zeros((len(infos), self.rollout_buffer.members), dtype=np.float32)
        rows = [row for row in np.flatnonzero(dones).tolist() if infos[row].get("TimeLimit.truncated", False)]
        if rows:
            last = np.stack([infos[row]["terminal_observation"] for row in rows])
            with torch.no_grad():
                values[rows] = self.policy.predict_member_values(torch.as_tensor(last)).numpy()
        return values

    def flatten_rollout(self) -> Update:
        """The rollout as rows, with the credit handed out and the advantages normalised."""
        buffer = self.rollout_buffer
        observations, actions, log_prob, advantages, returns = (
            torch.as_tensor(buffer.swap_and_flatten(part))
            for part in (buffer.observations, buffer.actions, buffer.log_probs, buffer.advantages, buffer.returns)
        )
        mask = self.policy.active(observations)
        active = torch.ones_like(returns) if mask is None else mask.float()
        advantages = self._with_credit(advantages, observations)
        chosen = advantages[active > 0]
        if self.normalize_advantage and len(chosen) > 1:
            advantages = (advantages - chosen.mean()) / (chosen.std() + 1e-8)
        return Update(observations, actions, log_prob, advantages, returns, active)

    def _with_credit(self, advantages: Tensor, observations: Tensor) -> Tensor:
        groups = self.policy.groups(observations)
        if self.credit == "own":
            return advantages
        if self.credit == "team" or groups is None:
            return advantages.sum(dim=1, keepdim=True).expand_as(advantages)
        together = groups @ (groups.transpose(1, 2) @ advantages[:, :, None])
        return together.squeeze(2)

    def train(self) -> None:
        """Update the policy with the rollout in the buffer."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        clip_range = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        update, told = self.flatten_rollout(), []
        count = len(update.observations)
        for _ in range(self.n_epochs):
            order = np.random.permutation(count)  # noqa: NPY002  (the generator that Stable-Baselines3 seeds)
            for start in range(0, count, self.batch_size):
                loss, numbers = self._loss(update.rows(order[start : start + self.batch_size]), clip_range)
                self.policy.optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
                self.policy.optimizer.step()
                told.append({**numbers, "loss": loss.item()})
            self._n_updates += 1
        for name in told[0]:
            self.logger.record(f"train/{name}", float(np.mean([numbers[name] for numbers in told])))
        buffer = self.rollout_buffer
        self.logger.record(
            "train/explained_variance", explained_variance(buffer.values.flatten(), buffer.returns.flatten())
        )
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", clip_range)

    def _loss(self, batch: Update, clip_range: float) -> tuple[Tensor, dict[str, float]]:
        """Loss of a minibatch, and what the curves show of it."""
        now = self.policy.evaluate_members(batch.observations, batch.actions)
        weight = batch.active / batch.active.sum().clamp(min=1.0)
        log_ratio = now.log_prob - batch.log_prob
        ratio = torch.exp(log_ratio)
        clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
        policy_loss = -(weight * torch.min(batch.advantages * ratio, batch.advantages * clipped)).sum()
        value_loss = torch.nn.functional.mse_loss(batch.returns, now.values)
        entropy_loss = -(weight * now.entropy).sum()
        loss = policy_loss + self.ent_coef * entropy_loss + self.vf_coef * value_loss
        with torch.no_grad():
            numbers = {
                "policy_gradient_loss": policy_loss.item(),
                "value_loss": value_loss.item(),
                "entropy_loss": entropy_loss.item(),
                "approx_kl": (weight * (ratio - 1 - log_ratio)).sum().item(),
                "clip_fraction": (weight * ((ratio - 1).abs() > clip_range)).sum().item(),
            }
        return loss, numbers
