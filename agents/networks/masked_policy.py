"""Policy for several indices with equal numbers of choices, with closed choices masked before the softmax."""

from __future__ import annotations

from typing import Any, Self

import torch
from numpy.typing import NDArray
from stable_baselines3.common.distributions import MultiCategoricalDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor
from torch.distributions import Categorical

CLOSED = -1e8
"""Logit of a closed choice: its probability is exactly zero, and all values stay finite."""


class EqualChoices(MultiCategoricalDistribution):
    """K independent indices with C choices each, as one tensor instead of a list of distributions.

    Args:
        logits: shape (B, K, C).
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__([logits.shape[2]] * logits.shape[1])
        self.proba_distribution(logits.flatten(1))

    def proba_distribution(self, action_logits: Tensor) -> Self:
        """Set the logits, shape (B, K C)."""
        shape = (len(action_logits), len(self.action_dims), self.action_dims[0])
        self.each = Categorical(logits=action_logits.reshape(shape), validate_args=False)
        return self

    def log_prob_each(self, actions: Tensor) -> Tensor:
        """Log-probability of every index, shape (B, K)."""
        chosen: Tensor = self.each.log_prob(actions)
        return chosen

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log-probability of the whole action, shape (B,)."""
        return self.log_prob_each(actions).sum(dim=1)

    def entropy(self) -> Tensor:
        """Entropy of the whole action [nat], shape (B,)."""
        return self.each.entropy().sum(dim=1)

    def sample(self) -> Tensor:
        """Random indices, shape (B, K)."""
        drawn: Tensor = self.each.sample()
        return drawn

    def mode(self) -> Tensor:
        """The most probable indices, shape (B, K)."""
        return self.each.logits.argmax(dim=2)


class ChoicePolicy(ActorCriticPolicy):
    """Policy for K indices with C choices each, some of which may be closed.

    Its networks have the structure and the names of Stable-Baselines3's `MlpPolicy`.

    Args:
        args: spaces and learning rate, as for `ActorCriticPolicy`.
        mask_view: columns (K, C) of the observation that are 1.0 where a choice is open; None if all are always open.
        kwargs: as for `ActorCriticPolicy`.
    """

    mask_view: Tensor | None

    def __init__(self, *args: Any, mask_view: NDArray[Any] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keep("mask_view", mask_view)

    def keep(self, name: str, columns: NDArray[Any] | None) -> None:
        """Store columns of the observation outside the state_dict, whose weights fit any number of members."""
        tensor = None if columns is None else torch.as_tensor(columns, dtype=torch.int64)
        self.register_buffer(name, tensor, persistent=False)

    def open_choices(self, obs: Tensor) -> Tensor | None:
        """True where a choice is open, shape (B, K, C); None if all are."""
        return None if self.mask_view is None else obs[:, self.mask_view] > 0.5

    def active(self, obs: Tensor) -> Tensor | None:
        """True where more than one choice is open, shape (B, K); None if all are."""
        open_choices = self.open_choices(obs)
        return None if open_choices is None else open_choices.sum(dim=2) > 1

    def logits(self, obs: Tensor) -> Tensor:
        """Logits without the mask, shape (B, K, C)."""
        features: Any = self.extract_features(obs, self.pi_features_extractor)
        flat: Tensor = self.action_net(self.mlp_extractor.forward_actor(features))
        assert self.action_space.shape is not None
        return flat.reshape(len(flat), self.action_space.shape[0], -1)

    def get_distribution(self, obs: Any) -> EqualChoices:
        """Distribution over the open choices."""
        logits, open_choices = self.logits(obs), self.open_choices(obs)
        return EqualChoices(logits if open_choices is None else logits.masked_fill(~open_choices, CLOSED))

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Actions (B, K), values (B, 1) and log-probabilities (B,)."""
        distribution = self.get_distribution(obs)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, self.predict_values(obs), distribution.log_prob(actions)

    def evaluate_actions(self, obs: Any, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values (B, 1), log-probabilities (B,) and entropies (B,) of actions (B, K)."""
        distribution = self.get_distribution(obs)
        return self.predict_values(obs), distribution.log_prob(actions), distribution.entropy()
