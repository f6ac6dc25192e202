"""One network for any number of members in any number of groups: each sees itself, its group and the whole team."""

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
"""Members that a group has or so: what its sum is divided by, so that the numbers stay near one."""


class MemberNet(nn.Module):
    """Outputs for every member from its own facts, its group's and the team's.

    A member's facts become h features by an encoder that all share. Beside its own features, a member sees those of
    its group summed (a crowded group differs from an empty one) and those of the team averaged.

    Args:
        facts: numbers that a member has of its own.
        hidden: widths of the encoder; the last one is h, and the width of the head. Empty for no hidden layers.
        outputs: numbers per member.
        gain: of the last layer's weights at the start.
    """

    def __init__(self, facts: int, hidden: tuple[int, ...], outputs: int, gain: float) -> None:
        super().__init__()
        widths = (facts, *hidden)
        layers = [(nn.Linear(one, two), nn.Tanh()) for one, two in pairwise(widths)]
        self.encoder = nn.Sequential(*(part for layer in layers for part in layer))
        seen = 3 * widths[-1]
        inner = [nn.Linear(seen, hidden[-1]), nn.Tanh()] if hidden else []
        last = nn.Linear(hidden[-1] if hidden else seen, outputs)
        self.head = nn.Sequential(*inner, last)
        self.apply(partial(ChoicePolicy.init_weights, gain=np.sqrt(2.0)))
        ChoicePolicy.init_weights(last, gain)

    def forward(self, facts: Tensor, groups: Tensor | None) -> Tensor:
        """Outputs (B, M, outputs) from facts (B, M, f) and group memberships (B, M, G), None for one group."""
        features = self.encoder(facts)
        if groups is None:
            group = features.sum(dim=1, keepdim=True).expand_as(features)
        else:
            group = groups @ (groups.transpose(1, 2) @ features)
        team = features.mean(dim=1, keepdim=True).expand_as(features)
        outputs: Tensor = self.head(torch.cat([features, group / GROUP_SIZE, team], dim=2))
        return outputs


class MemberValues(NamedTuple):
    """What a policy says of actions taken, member by member, each of shape (B, M)."""

    values: Tensor
    log_prob: Tensor
    entropy: Tensor


class PooledPolicy(ChoicePolicy):
    """Actor and critic over the central observation and action, with weights that all members share.

    No parameter depends on the number of members or groups, so the weights fit any of them. The members' values sum to
    the value that Stable-Baselines3 sees.

    Args:
        observation_space: of the whole team.
        action_space: one index per member, all with as many choices.
        lr_schedule: learning rate by the part of the training that remains.
        hidden: widths of the hidden layers, see `MemberNet`.
        own_view: columns (M, f) with a member's own facts.
        group_view: columns (M, G) that tell its group; None where all are one group.
        mask_view: columns (M, C) with its open choices; None where all always are open.
        kwargs: as for `ActorCriticPolicy`; its own networks' arguments have no effect.
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
        facts, choices = own_view.shape[1], int(action_space.nvec[0])
        # The gains are Stable-Baselines3's: nearly equal chances at the start.
        self.actor = MemberNet(facts, hidden, choices, 0.01)
        self.critic = MemberNet(facts, hidden, 1, 1.0)
        optimizer: Any = self.optimizer_class
        self.optimizer = optimizer(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def _build(self, lr_schedule: Any) -> None:
        """Nothing: the networks need the views, which the parent's constructor does not have."""

    def groups(self, obs: Tensor) -> Tensor | None:
        """Group memberships, shape (B, M, G); None where all are one group."""
        return None if self.group_view is None else obs[:, self.group_view]

    def logits(self, obs: Tensor) -> Tensor:
        """Logits with nothing closed, shape (B, M, C)."""
        return self.actor(obs[:, self.own_view], self.groups(obs))  # type: ignore[no-any-return]

    def predict_member_values(self, obs: Tensor) -> Tensor:
        """Values of the members, shape (B, M)."""
        values: Tensor = self.critic(obs[:, self.own_view], self.groups(obs))
        return values.squeeze(2)

    def predict_values(self, obs: Any) -> Tensor:
        """Values of the team, shape (B, 1)."""
        return self.predict_member_values(obs).sum(dim=1, keepdim=True)

    def act(self, obs: Tensor) -> tuple[Tensor, MemberValues]:
        """Random actions (B, M), and what the policy says of them."""
        distribution = self.get_distribution(obs)
        actions = distribution.sample()
        values = self.predict_member_values(obs)
        return actions, MemberValues(values, distribution.log_prob_each(actions), distribution.each.entropy())

    def evaluate_members(self, obs: Tensor, actions: Tensor) -> MemberValues:
        """What the policy says of actions (B, M)."""
        distribution = self.get_distribution(obs)
        log_prob, entropy = distribution.log_prob_each(actions), distribution.each.entropy()
        return MemberValues(self.predict_member_values(obs), log_prob, entropy)
