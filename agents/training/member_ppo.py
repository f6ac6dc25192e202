"""PPO with one probability ratio, advantage and value per member of a team."""

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
    """Rollout buffer with one entry per step, world and member, shape (n_steps, B, M).

    `advantages` are each member's own; `MemberPPO` assigns the credit when it flattens the rollout.
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
        """Add one step of all worlds, with rewards, values and log-probabilities of shape (B, M)."""
        self.observations[self.pos] = obs
        self.actions[self.pos] = action
        self.rewards[self.pos] = reward
        self.episode_starts[self.pos] = episode_start
        self.values[self.pos] = value.numpy()
        self.log_probs[self.pos] = log_prob.numpy()
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def compute_returns_and_advantage(self, last_values: Tensor, dones: NDArray[Any]) -> None:
        """Compute every member's generalised advantages and lambda-returns; `last_values` has shape (B, M)."""
        next_values, ahead = last_values.numpy(), np.zeros((self.n_envs, self.members), dtype=np.float32)
        continues = 1.0 - dones.astype(np.float32)
        for step in reversed(range(self.buffer_size)):
            delta = self.rewards[step] + self.gamma * next_values * continues[:, None] - self.values[step]
            ahead = delta + self.gamma * self.gae_lambda * continues[:, None] * ahead
            self.advantages[step] = ahead
            next_values, continues = self.values[step], 1.0 - self.episode_starts[step]
        self.returns = self.advantages + self.values


class Update(NamedTuple):
    """The data of an update: a rollout flattened to N = n_steps B rows."""

    observations: Tensor  # (N, n)
    actions: Tensor  # (N, M)
    log_prob: Tensor  # (N, M) of the policy that took the actions
    advantages: Tensor  # (N, M) with credit assigned, normalised over the active entries
    returns: Tensor  # (N, M)
    active: Tensor  # (N, M) 1.0 where the member had more than one open choice

    def rows(self, rows: NDArray[Any]) -> Update:
        """The rows with these indices."""
        return Update(*(part[rows] for part in self))


class MemberPPO(PPO):
    """PPO in which every member of a team has its own ratio, clipping, value and advantage.

    Members with a single open choice count in the value loss, but not in the policy loss.

    Args:
        policy: `PooledPolicy`.
        env: the training worlds, which provide the members' rewards.
        credit: members whose advantages are summed to reward a member's action.
        kwargs: as for PPO; `normalize_advantage` normalises over the active entries of an update.

    Raises:
        ValueError: `target_kl` or `clip_range_vf` is given; they are not implemented.
    """

    policy: PooledPolicy
    rollout_buffer: MemberBuffer

    def __init__(
        self, policy: type[PooledPolicy], env: WorldVecEnv, *, credit: Credit = "group", **kwargs: Any
    ) -> None:
        for name in ("target_kl", "clip_range_vf"):
            if kwargs.get(name) is not None:
                raise ValueError(f"{name}={kwargs[name]!r} is not implemented in MemberPPO; omit it")
        self.credit = credit
        buffer: dict[str, Any] = {
            "rollout_buffer_class": MemberBuffer,
            "rollout_buffer_kwargs": {"members": env.system.members},
        }
        super().__init__(policy, env, **buffer, **kwargs)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer with steps of the current policy; returns False if the callback ends the training."""
        assert isinstance(env, WorldVecEnv)
        assert isinstance(rollout_buffer, MemberBuffer)
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        callback.on_rollout_start()
        observation: Any = self._last_obs
        starts: Any = self._last_episode_starts
        for _ in range(n_rollout_steps):
            with torch.no_grad():
                actions, outputs = self.policy.act(torch.as_tensor(observation))
            new_obs, rewards, dones, infos = env.step(actions.numpy())
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            member_rewards = env.member_rewards + self.gamma * self._values_at_truncation(infos, dones)
            rollout_buffer.add(observation, actions.numpy(), member_rewards, starts, outputs.values, outputs.log_prob)
            observation, starts = new_obs, dones
        self._last_obs, self._last_episode_starts = observation, starts
        with torch.no_grad():
            last_values = self.policy.predict_member_values(torch.as_tensor(observation))
        rollout_buffer.compute_returns_and_advantage(last_values, starts)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _values_at_truncation(self, infos: list[dict[str, Any]], dones: NDArray[Any]) -> NDArray[np.float32]:
        """Values (B, M) of the last observations of truncated episodes, zero elsewhere."""
        values = np.zeros((len(infos), self.rollout_buffer.members), dtype=np.float32)
        rows = [row for row in np.flatnonzero(dones).tolist() if infos[row].get("TimeLimit.truncated", False)]
        if rows:
            last = np.stack([infos[row]["terminal_observation"] for row in rows])
            with torch.no_grad():
                values[rows] = self.policy.predict_member_values(torch.as_tensor(last)).numpy()
        return values

    def flatten_rollout(self) -> Update:
        """The rollout as rows, with credit assigned and advantages normalised."""
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
        update, losses = self.flatten_rollout(), []
        count = len(update.observations)
        for _ in range(self.n_epochs):
            order = np.random.permutation(count)  # noqa: NPY002  (the generator that Stable-Baselines3 seeds)
            for start in range(0, count, self.batch_size):
                loss, numbers = self._loss(update.rows(order[start : start + self.batch_size]), clip_range)
                self.policy.optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
                self.policy.optimizer.step()
                losses.append({**numbers, "loss": loss.item()})
            self._n_updates += 1
        for name in losses[0]:
            self.logger.record(f"train/{name}", float(np.mean([numbers[name] for numbers in losses])))
        buffer = self.rollout_buffer
        self.logger.record(
            "train/explained_variance", explained_variance(buffer.values.flatten(), buffer.returns.flatten())
        )
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", clip_range)

    def _loss(self, batch: Update, clip_range: float) -> tuple[Tensor, dict[str, float]]:
        """Loss of a minibatch, and its terms for the curves."""
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
