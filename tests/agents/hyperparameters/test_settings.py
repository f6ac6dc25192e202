"""Hyper-parameters: what each agent gets, and what cannot be."""

from __future__ import annotations

import itertools

import pytest
from pydantic import ValidationError

from agents.hyperparameters.settings import IMITATORS, OFF_POLICY, Settings
from agents.hyperparameters.tables import default_agent, default_policy, settings_for

ID, SEMCOM, ECCNOMA = "LyaPPO-v0", "SemCom-v0", "ECCNOMA-v0"
AGENTS, POLICIES = ("ppo", "ddpg", "td3"), ("shared", "central")
CASES = list(itertools.product(AGENTS, POLICIES, ["partition", "joint"]))
SEMCOM_CASES = list(itertools.product(AGENTS, POLICIES, ["compression", "power_bandwidth", "joint"]))


def test_default_agent():
    assert default_agent(ECCNOMA) == "dagger"
    for env_id in (ID, SEMCOM, "DTIRS-v0", "Other-v0"):
        assert default_agent(env_id) == "ppo"


def test_default_policy():
    for env_id in (ID, SEMCOM, "DTIRS-v0", "Other-v0"):
        assert default_policy(env_id, "ppo") == default_policy(env_id, "dagger") == "shared"
        assert default_policy(env_id, "member-ppo") == "pooled"
    assert {default_policy(ECCNOMA, agent) for agent in IMITATORS} == {"pooled"}
    assert {default_policy(ECCNOMA, agent) for agent in OFF_POLICY} == {"central"}
    for env_id in (ID, "Other-v0"):
        assert default_policy(env_id, "ddpg") == default_policy(env_id, "td3") == "central"
    for agent in AGENTS:
        assert default_policy(SEMCOM, agent) == "shared"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "case",
    [(env_id, *case) for env_id, cases in ((ID, CASES), (SEMCOM, SEMCOM_CASES)) for case in cases]
    + [(ID, agent, "central", "partition", "paper") for agent in ("ppo", "ddpg")],
    ids=str,
)
def test_every_agent_has_settings_that_survive_json(case):
    settings = settings_for(*case)
    assert settings != Settings()
    assert Settings.model_validate_json(settings.model_dump_json()) == settings
    assert settings.steps >= settings.num_envs


def test_settings_of_the_image_wing():
    """Whole updates and annealing with PPO; queues that do not start empty, and short episodes, in training only."""
    for agent, policy, decision in SEMCOM_CASES:
        settings = settings_for(SEMCOM, agent, policy, decision)  # type: ignore[arg-type]
        assert settings.anneal == (agent == "ppo")
        assert settings.steps > 10 * settings.n_steps * settings.num_envs or agent != "ppo"
        assert settings.buffer_size >= settings.steps or agent == "ppo"
        assert settings.training_options.keys() >= {"initial_queue_max_db", "max_episode_steps"}


def test_defaults_that_learn():
    """Learning rate and entropy bonus fall to zero for the agent that the project is about, the bonus much earlier."""
    settings = settings_for(ID, "ppo", "shared", "partition")
    assert settings.anneal
    assert settings.ent_coef > 0
    assert settings.ent_until <= 0.5
    assert settings.batch_size == settings.n_steps * settings.num_envs  # four members: four minibatches
    # Whole updates: nothing of the training is spent on a last one at learning rate zero only.
    assert settings.steps > 10 * settings.n_steps * settings.num_envs


@pytest.mark.parametrize("policy", ["shared", "central"])
@pytest.mark.parametrize("decision", ["partition", "joint"])
def test_the_papers_settings(policy, decision):
    settings = settings_for(ID, "ppo", policy, decision, "paper")
    assert settings.learning_rate == 3e-4
    assert settings.hidden == (128, 128)
    assert settings.steps == 2500 * 200
    assert settings.num_envs == 1
    assert settings.gae_lambda == 0.0  # one-step advantage
    assert not settings.anneal
    assert settings_for(ID, "ddpg", "central", "partition", "paper").learning_rate == 3e-4


def test_an_unknown_environment_gets_the_defaults():
    assert settings_for("Other-v0", "ppo", "shared", "partition") == Settings()
    assert settings_for(ID, "ppo", "shared", "another") == Settings()


@pytest.mark.parametrize(("env_id", "agent"), [(ID, "td3"), (SEMCOM, "ppo"), ("Other-v0", "ddpg")])
def test_no_paper_no_settings_of_a_paper(env_id, agent):
    with pytest.raises(ValueError, match=f"no paper trains {agent} on {env_id}; use --hyperparameters default"):
        settings_for(env_id, agent, "central", "partition", "paper")


def test_trained_otherwise_than_evaluated_only_where_said():
    """LyaPPO-v0's training-only parameters are the joint agent's steeper backlog price, and nothing else."""
    for agent, policy, decision in CASES:
        options = settings_for(ID, agent, policy, decision).training_options  # type: ignore[arg-type]
        assert options == ({"reward_backlog": 20.0} if decision == "joint" else {})


def test_imitation_alone_counts_the_steps_that_it_shows():
    for env_id, policy in ((ECCNOMA, "pooled"), (ECCNOMA, "central"), (ID, "shared"), ("Other-v0", "shared")):
        settings = settings_for(env_id, "dagger", policy, "")  # type: ignore[arg-type]
        rounds, shown_at_once, frames = (4, 64, 100) if env_id == ECCNOMA else (3, 32, 60)
        assert settings.steps == settings.shown == rounds * shown_at_once * frames
        assert settings.num_envs == settings.imitation_worlds == shown_at_once
        assert settings.expert == ("coordinate-descent" if env_id == ECCNOMA else "")
    assert Settings(imitation_rounds=2, imitation_worlds=3, imitation_frames=5).shown == 30
    assert Settings().shown == 0


def test_settings_of_the_split_inference_wing():
    """Whole minibatches, an update's part alike for every policy, and no imitation unless asked for."""
    steps = {"member-ppo": 240_000, "ppo": 160_000}
    for agent, policy, members in (
        ("member-ppo", "pooled", 1), ("ppo", "pooled", 1), ("ppo", "central", 1), ("ppo", "shared", 12),
    ):  # fmt: skip
        settings = settings_for(ECCNOMA, agent, policy, "")  # type: ignore[arg-type]
        assert settings.steps == steps[agent]
        rows = settings.n_steps * settings.num_envs * members
        assert settings.batch_size == rows / 8
        assert settings.imitation_rounds == 0
        assert (settings.gamma, settings.hidden, settings.anneal) == (0.8, (64, 64), True)


def test_settings_of_old_runs_are_still_read():
    """What is new since has a default."""
    new = {name for name in Settings.model_fields if name.startswith("imitation_")} | {"credit", "expert", "ent_until"}
    old = {name: value for name, value in Settings().model_dump(mode="json").items() if name not in new}
    assert Settings(**old) == Settings()
    assert len(new) == 9


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("imitation_rounds", -1), ("imitation_worlds", 0), ("imitation_worlds", 65_537), ("imitation_frames", 0),
        ("imitation_steps", 0), ("imitation_batch", 0), ("imitation_rate", 0.0), ("credit", "nobody"), ("expert", 3),
        ("steps", 0), ("steps", -1), ("steps", 1.5), ("num_envs", 0), ("num_envs", 65_537), ("learning_rate", 0.0),
        ("learning_rate", float("nan")), ("learning_rate", float("inf")), ("gamma", 1.1), ("gamma", -0.1),
        ("batch_size", 0), ("hidden", (0,)), ("hidden", (10**9,)), ("hidden", (8,) * 17), ("reward_scale", 0.0),
        ("n_steps", 0), ("n_epochs", 0), ("gae_lambda", 2.0), ("ent_coef", -0.1), ("ent_until", 0.0),
        ("ent_until", 1.5), ("clip_range", 0.0),
        ("tau", 0.0), ("tau", 1.5), ("action_noise", -1.0), ("gradient_steps", 0), ("buffer_size", 0),
        ("learning_starts", -1), ("log_std_init", float("nan")), ("no_such_setting", 1),
    ],
)  # fmt: skip
def test_impossible_values_are_refused(name, value):
    with pytest.raises(ValidationError, match=name):
        Settings(**{name: value})


def test_an_update_needs_two_rows():
    with pytest.raises(ValidationError, match="at least 2"):
        Settings(n_steps=1, num_envs=1)
    Settings(n_steps=2, num_envs=1)
    Settings(n_steps=1, num_envs=2)


def test_settings_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().steps = 3  # type: ignore[misc]
