"""Policy for any number of members and groups: a member sees its own features, its group's and the team's."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.networks.masked_policy import ChoicePolicy

GROUP_SIZE = 6.0
"""Divisor of a group's sum, about the size of a group, so that values stay near one."""


class MemberNet(nn.Module):
    """Network that computes outputs for every member from the inputs of all members.

    A shared encoder maps a member's inputs to h features. The head of a member receives its own features, the sum over
    its group (so that a crowded group differs from an empty one) and the mean over the team.

    Args:
        inputs: inputs per member.
        hidden: widths of the encoder; the last one is h and the width of the head. Empty for no hidden layers.
        outputs: outputs per member.
        gain: of the last layer's initial weights.
    """

    def __init__(self, inputs: int, hidden: tuple[int, ...], outputs: int, gain: float) -> None:
        super().__init__()
        widths = (inputs, *hidden)
        layers = [(nn.Linear(one, two), nn.Tanh()) for one, two in pairwise(widths)]
        self.encoder = nn.Sequential(*(part for layer in layers for part in layer))
        seen = 3 * widths[-1]
        inner = [nn.Linear(seen, hidden[-1]), nn.Tanh()] if hidden else []
        last = nn.Linear(hidden[-1] if hidden else seen, outputs)
        self.head = nn.Sequential(*inner, last)
        self.apply(partial(ChoicePolicy.init_weights, gain=np.sqrt(2.0)))
        ChoicePolicy.init_weights(last, gain)

    def forward(self, inputs: Tensor, groups: Tensor | None) -> Tensor:
        """Outputs (B, M, outputs) from inputs (B, M, f) and group memberships (B, M, G), None for a single group."""
        features = self.encoder(inputs)
        if groups is None:
            group = features.sum(dim=1, keepdim=True).expand_as(features)
        else:
            group = groups @ (groups.transpose(1, 2) @ features)
        team = features.mean(dim=1, keepdim=True).expand_as(features)
        outputs: Tensor = self.head(torch.cat([features, group / GROUP_SIZE, team], dim=2))
        return outputs


class MemberValues(NamedTuple):
    """Values, log-probabilities and entropies of the members, each of shape (B, M)."""

    values: Tensor
    log_prob: Tensor
    entropy: Tensor


class PooledPolicy(ChoicePolicy):
    """Actor and critic over the central observation and action, with weights that all members share.

    No parameter depends on the number of members or groups, so the weights fit any number. The value of the team is the
    sum of the members' values.

    Args:
        observation_space: of the whole team.
        action_space: one index per member, with the same number of choices for all.
        lr_schedule: learning rate as a function of the remaining fraction of the training.
        hidden: widths of the hidden layers, see `MemberNet`.
        own_view: columns (M, f) with a member's own inputs.
        group_view: columns (M, G) with its group membership; None for a single group.
        mask_view: columns (M, C) with its open choices; None if all are always open.
        kwargs: as for `ActorCriticPolicy`; arguments of its networks have no effect.
    """

    own_view: Tensor
    group_view: Tensor | None

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        lr_schedule: Any,
        *,
        hidden: tuple[int, ...],
        own_view: NDArray[Any],
        group_view: NDArray[Any] | None = None,
        mask_view: NDArray[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(observation_space, action_space, lr_schedule, mask_view=mask_view, **kwargs)
        self.keep("own_view", own_view)
        self.keep("group_view", group_view)
        inputs, choices = own_view.shape[1], int(action_space.nvec[0])
        # The gains of Stable-Baselines3, with which the initial probabilities are nearly equal.
        self.actor = MemberNet(inputs, hidden, choices, 0.01)
        self.critic = MemberNet(inputs, hidden, 1, 1.0)
        optimizer: Any = self.optimizer_class
        self.optimizer = optimizer(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _build(self, lr_schedule: Any) -> None:
        """Do nothing: the networks need the views, which the parent's constructor does not have."""

    def groups(self, obs: Tensor) -> Tensor | None:
        """Group memberships, shape (B, M, G); None for a single group."""
        return None if self.group_view is None else obs[:, self.group_view]

    def logits(self, obs: Tensor) -> Tensor:
        """Logits without the mask, shape (B, M, C)."""
        return self.actor(obs[:, self.own_view], self.groups(obs))  # type: ignore[no-any-return]

    def predict_member_values(self, obs: Tensor) -> Tensor:
        """Values of the members, shape (B, M)."""
        values: Tensor = self.critic(obs[:, self.own_view], self.groups(obs))
        return values.squeeze(2)

    def predict_values(self, obs: Any) -> Tensor:
        """Values of the team, shape (B, 1)."""
        return self.predict_member_values(obs).sum(dim=1, keepdim=True)

    def act(self, obs: Tensor) -> tuple[Tensor, MemberValues]:
        """Random actions (B, M), with the members' values, log-probabilities and entropies."""
        distribution = self.get_distribution(obs)
        actions = distribution.sample()
        values = self.predict_member_values(obs)
        return actions, MemberValues(values, distribution.log_prob_each(actions), distribution.each.entropy())

    def evaluate_members(self, obs: Tensor, actions: Tensor) -> MemberValues:
        """Values, log-probabilities and entropies of actions (B, M)."""
        distribution = self.get_distribution(obs)
        log_prob, entropy = distribution.log_prob_each(actions), distribution.each.entropy()
        return MemberValues(self.predict_member_values(obs), log_prob, entropy)
