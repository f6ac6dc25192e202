"""Which agent can learn which policy for which system, and that every one of them survives a run folder."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from safetensors.torch import load, save
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.td3.policies import TD3Policy

from agents.hyperparameters.settings import AgentName, PolicyName, Settings
from agents.networks.build import blueprint, build_network, check_policy, has_equal_choices, member_mask_view
from agents.networks.masked_policy import ChoicePolicy
from agents.networks.pooled_policy import PooledPolicy
from agents.runs.folder import BEST, CONFIG, EVALUATION, LAST, Run, RunConfig, RunError
from agents.training.trainer import train
from agents.worlds import make_worlds
from tests.agents.crowd import FACTS, CrowdConfig, CrowdSystem
from tests.agents.toy import ToyConfig, ToySystem

AGENTS: list[AgentName] = ["ppo", "member-ppo", "dagger", "ddpg", "td3"]
POLICIES: list[PolicyName] = ["shared", "central", "pooled"]
TINY = Settings(
    imitation_rounds=1, imitation_worlds=4, imitation_frames=8, imitation_steps=5, imitation_batch=8, hidden=(8,),
    steps=64, num_envs=4, n_steps=8, batch_size=16, n_epochs=1,
)  # fmt: skip
KINDS: dict[tuple[str, str], type] = {
    **{(agent, "pooled"): PooledPolicy for agent in ("ppo", "member-ppo", "dagger")},
    **{(agent, policy): ChoicePolicy for agent in ("ppo", "dagger") for policy in ("shared", "central")},
    **{(agent, policy): TD3Policy for agent in ("ddpg", "td3") for policy in ("shared", "central")},
}
"""Networks for the crowd, by agent and policy; what is not there does not go together."""


def settings_of(agent: AgentName) -> Settings:
    return TINY.model_copy(update={} if agent == "dagger" else {"imitation_rounds": 0})


def error_of(agent: AgentName, policy: PolicyName, system: Any) -> str:
    with pytest.raises(ValueError, match="use ") as caught:
        check_policy(agent, policy, system)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("agent", "policy"), list(itertools.product(AGENTS, POLICIES)))
def test_every_combination_is_built_or_refused(agent, policy):
    system = CrowdSystem(CrowdConfig())
    if (agent, policy) in KINDS:
        check_policy(agent, policy, system)
        network = build_network(agent, policy, settings_of(agent), system)
        assert type(network) is KINDS[agent, policy]
        return
    message = error_of(agent, policy, system)
    assert f"--agent {agent} cannot learn --policy {policy}; use --policy " in message
    with pytest.raises(ValueError, match="cannot learn"):
        build_network(agent, policy, settings_of(agent), system)
    # The fix that the message names works.
    check_policy(agent, "pooled" if agent == "member-ppo" else "shared", system)


@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("agent", ["ppo", "member-ppo", "dagger"])
def test_pooled_needs_one_index_per_member(agent, box):
    """The toy's members have two, or a box."""
    message = error_of(agent, "pooled", ToySystem(ToyConfig(box=box)))
    assert "--policy pooled needs one index per member" in message
    assert ("Box" in message) == box
    assert message.endswith("use --agent ppo --policy shared" if agent == "member-ppo" else "use --policy shared")


def test_has_equal_choices():
    assert has_equal_choices(CrowdSystem(CrowdConfig()))
    assert has_equal_choices(CrowdSystem(CrowdConfig(count=1)))
    assert not has_equal_choices(ToySystem(ToyConfig()))
    assert not has_equal_choices(ToySystem(ToyConfig(box=True)))
    for nvec, start in (([3, 3, 3, 2], [0] * 4), ([3] * 4, [1] * 4), ([3] * 8, [0] * 8)):
        system = CrowdSystem(CrowdConfig())
        system.action_space = spaces.MultiDiscrete(nvec, start=np.array(start))
        assert not has_equal_choices(system)


@pytest.mark.parametrize("agent", ["ddpg", "td3"])
def test_imitation_is_not_for_everybody(agent):
    with pytest.raises(
        ValueError, match=f"--agent {agent} cannot imitate a baseline; use --agent ppo, member-ppo, dagger"
    ):
        blueprint(agent, "central", TINY, CrowdSystem(CrowdConfig()))
    with pytest.raises(ValueError, match="imitation_rounds=0 does not train --agent dagger"):
        blueprint("dagger", "pooled", TINY.model_copy(update={"imitation_rounds": 0}), CrowdSystem(CrowdConfig()))


# Masks of the policies that one member's row goes into


def test_the_choices_of_a_member_in_its_own_view():
    system = CrowdSystem(CrowdConfig())
    np.testing.assert_array_equal(member_mask_view(system), [[1, 2, 3]])
    masks = system.mask_view
    assert masks is not None
    # In another order of the columns, as long as it is the same for all.
    system.member_view = system.member_view[:, ::-1]
    view = member_mask_view(system)
    np.testing.assert_array_equal(view, [[4, 3, 2]])
    assert view is not None
    for member in range(system.members):
        np.testing.assert_array_equal(system.member_view[member, view[0]], masks[member])


def test_choices_that_members_do_not_see_alike_are_not_masked():
    assert member_mask_view(CrowdSystem(CrowdConfig(masks=False))) is None
    hidden, turned = CrowdSystem(CrowdConfig()), CrowdSystem(CrowdConfig())
    hidden.member_view = hidden.member_view[:, :3]
    turned.member_view = turned.member_view.copy()
    turned.member_view[2] = turned.member_view[2, ::-1]
    for system in (hidden, turned):
        assert member_mask_view(system) is None
        assert type(build_network("ppo", "shared", TINY, system)) is ActorCriticPolicy


# Run folders


@pytest.mark.parametrize(("agent", "policy"), KINDS)
def test_a_run_folder_survives_a_round_trip(tmp_path, crowd_id, agent, policy):
    """From a training on, by every agent and policy: the configuration, and networks that act the same."""
    config = RunConfig(env_id=crowd_id, agent=agent, policy=policy, settings=settings_of(agent), seed=1)
    run = Run.create(config, tmp_path / "run")
    train(run, quiet=True)
    assert {BEST, LAST, CONFIG, EVALUATION} < {file.name for file in run.path.iterdir()}
    again = Run.open(run.path)
    assert again.config == config
    env = make_worlds(crowd_id, 16, "default", {})
    observation, _ = env.reset(seed=5)
    saved: Any = again.load_policy(env.system, LAST)
    twin: Any = build_network(agent, policy, config.settings, env.system)
    assert (twin.state_dict().keys()) == load((run.path / LAST).read_bytes()).keys()
    twin.load_state_dict(load((run.path / LAST).read_bytes()))
    assert all(torch.equal(value, saved.network.state_dict()[key]) for key, value in twin.state_dict().items())
    actions, _ = saved.predict(observation)
    np.testing.assert_array_equal(actions, run.load_policy(env.system, LAST).predict(observation)[0])
    assert actions.shape == (16, 4)
    open_choices = env.system.action_mask(observation)
    assert open_choices is not None
    taken = np.take_along_axis(open_choices, actions[:, :, None], axis=2)
    assert taken.all() or agent in ("ddpg", "td3")  # continuous actions know no closed choices


@pytest.mark.parametrize("agent", ["ppo", "member-ppo", "dagger"])
def test_a_pooled_network_is_loaded_for_another_number_of_members_and_groups(tmp_path, crowd_id, agent):
    run = Run.create(
        RunConfig(env_id=crowd_id, agent=agent, policy="pooled", settings=settings_of(agent)), tmp_path / "run"
    )
    train(run, quiet=True)
    env = make_worlds(crowd_id, 4, "default", {"count": 9, "groups": 3})
    observation, _ = env.reset(seed=0)
    actions, _ = Run.open(run.path).load_policy(env.system).predict(observation)
    assert actions.shape == (4, 9)
    assert env.system.own_view.shape == (9, FACTS)
    env.step(actions)
    central = Run.create(
        RunConfig(env_id=crowd_id, agent="ppo", policy="central", settings=settings_of("ppo")), tmp_path / "central"
    )
    train(central, quiet=True)
    with pytest.raises(RunError, match="does not fit"):
        central.load_policy(env.system)


def test_a_network_for_a_system_that_it_cannot_act_in(tmp_path: Path, toy_id):
    """A configuration written by hand: refused as a run that does not fit."""
    run = Run.create(RunConfig(env_id=toy_id, agent="ppo", policy="pooled", settings=TINY), tmp_path / "run")
    (run.path / BEST).write_bytes(save({"weights": torch.zeros(sum(TINY.hidden) ** 2)}))
    with pytest.raises(RunError, match="does not fit Toy-v0 with this configuration: --policy pooled needs one index"):
        run.load_policy(ToySystem(ToyConfig()))
