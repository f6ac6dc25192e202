"""The toy's baselines, where the package looks for those of a wing: beside its system."""

from __future__ import annotations

from collections.abc import Mapping

from edge_envs.core.policy import BaselineFactory, ConstantPolicy, RandomPolicy
from tests.agents.toy import WANTED, ToySystem


def available(system: ToySystem) -> Mapping[str, BaselineFactory]:
    """Random actions; and the rewarded indices, where actions are indices."""
    found: dict[str, BaselineFactory] = {"random": lambda env, seed: RandomPolicy(env.system.action_space, seed)}
    if not system.config.box:
        found["wanted"] = lambda env, seed: ConstantPolicy(WANTED.ravel())
    return found
