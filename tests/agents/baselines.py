"""The toys' baselines, where the package looks for those of a wing: beside its system."""

from __future__ import annotations

from collections.abc import Mapping

from edge_envs.core.policy import BaselineFactory, ConstantPolicy, RandomPolicy
from tests.agents.crowd import BestOfCrowd, CrowdSystem, StayOfCrowd
from tests.agents.toy import WANTED, ToySystem


def available(system: ToySystem | CrowdSystem) -> Mapping[str, BaselineFactory]:
    """Random actions; and what is best, where the toy's actions are indices."""
    found: dict[str, BaselineFactory] = {"random": lambda env, seed: RandomPolicy(env.system.action_space, seed)}
    if isinstance(system, CrowdSystem):
        return found | {"best": lambda env, seed: BestOfCrowd(env), "stay": lambda env, seed: StayOfCrowd(env)}
    if not system.config.box:
        found["wanted"] = lambda env, seed: ConstantPolicy(WANTED.ravel())
    return found
