"""Hyper-parameters by environment, agent and policy: frozen values, valid files, clear errors."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest

from agents.hyperparameters import lookup
from agents.hyperparameters.lookup import FOLDER, Kind, default_agent, default_policy, read_table, settings_for
from agents.hyperparameters.settings import IMITATORS, OFF_POLICY, AgentName, PolicyName, Settings

ID, SEMCOM, ECCNOMA = "LyaPPO-v0", "SemCom-v0", "ECCNOMA-v0"
AGENTS, POLICIES = ("ppo", "ddpg", "td3"), ("shared", "central")
CASES = list(itertools.product(AGENTS, POLICIES, ["partition", "joint"]))
SEMCOM_CASES = list(itertools.product(AGENTS, POLICIES, ["compression", "power_bandwidth", "joint"]))
FROZEN = json.loads((Path(__file__).parent / "frozen_settings.json").read_text())
"""The values from before the YAML files: those of saved experiments. Never generate this file again."""
DECISIONS = {
    ID: ("partition", "joint"), "DTIRS-v0": ("",), ECCNOMA: ("",), SEMCOM: ("compression", "power_bandwidth", "joint"),
    "Other-v0": ("",),
}  # fmt: skip


# Frozen values


@pytest.mark.parametrize("env_id", DECISIONS)
def test_defaults_are_those_of_before(env_id):
    assert default_agent(env_id) == FROZEN["default_agent"][env_id]
    for agent in get_args(AgentName):
        assert default_policy(env_id, agent) == FROZEN["default_policy"][f"{env_id} {agent}"]


@pytest.mark.parametrize("env_id", DECISIONS)
def test_settings_are_those_of_before(env_id):
    found = {}
    for agent, policy, decision, kind in itertools.product(
        get_args(AgentName), get_args(PolicyName), DECISIONS[env_id], get_args(Kind)
    ):
        key = f"{env_id} {agent} {policy} {decision or '-'} {kind}"
        with suppress(ValueError):  # where no paper has hyper-parameters, which another test checks
            found[key] = settings_for(env_id, agent, policy, decision, kind).model_dump(mode="json")
    general, differences = FROZEN["general"], FROZEN["differences"]
    cases = {key: number for key, number in FROZEN["cases"].items() if key.startswith(f"{env_id} ")}
    assert found == {key: {**general, **differences[number]} for key, number in cases.items()}


def test_an_entry_for_a_preset_applies_to_this_preset_only():
    own = settings_for("DTIRS-v0", "ppo", "shared", "", "default", "planning")
    assert (own.gamma, own.training_options) == (0.95, {})
    assert settings_for("DTIRS-v0", "ppo", "shared", "", "default", "planning-blind") == own
    usual = settings_for("DTIRS-v0", "ppo", "shared", "")
    assert usual.gamma == 0.0
    for preset in ("default", "dense", "another"):
        assert settings_for("DTIRS-v0", "ppo", "shared", "", "default", preset) == usual
    central = settings_for("DTIRS-v0", "ppo", "central", "", "default", "planning")
    assert central == settings_for("DTIRS-v0", "ppo", "central", ""), "no entry of its own"


@pytest.mark.parametrize(("one", "other", "clash"), [([], [], True), (["a"], ["a", "b"], True), (["a"], [], False)])
def test_entries_for_the_same_preset_are_refused(one, other, clash):
    entries = [
        {"agent": "ppo", "policy": "shared", "why": "test", "values": {}, "preset": each} for each in (one, other)
    ]
    if clash:
        with pytest.raises(ValueError, match="entries 1 and 2 apply to the same agent"):
            lookup.Table.model_validate({"entries": entries})
    else:
        assert len(lookup.Table.model_validate({"entries": entries}).entries) == 2


# Files


def test_every_file_is_of_a_registered_environment():
    assert {file.stem for file in FOLDER.glob("*.yaml")} == set(DECISIONS) - {"Other-v0"}
    for file in FOLDER.glob("*.yaml"):
        assert read_table(file).default_policy.keys() == set(get_args(AgentName))


def test_another_environment_needs_a_file_only(tmp_path, monkeypatch):
    (tmp_path / "Mine-v0.yaml").write_text(
        """
default_agent: td3
default_policy: {td3: shared}
entries:
  - {agent: [td3, ddpg], policy: any, decision: [a, b], why: ours, values: {steps: 700, hidden: [7]}}
  - {agent: dagger, policy: pooled, why: ours, values: {imitation_frames: 9}}
  - {agent: td3, policy: any, kind: paper, why: paper, values: {steps: 800}}
"""
    )
    monkeypatch.setattr(lookup, "FOLDER", tmp_path)
    lookup.table_of.cache_clear()
    try:
        assert default_agent("Mine-v0") == "td3"
        assert default_policy("Mine-v0", "td3") == "shared"
        assert default_policy("Mine-v0", "ddpg") == "central"
        assert settings_for("Mine-v0", "ddpg", "central", "b") == Settings(steps=700, hidden=(7,))
        assert settings_for("Mine-v0", "ddpg", "central", "c") == Settings()
        assert settings_for("Mine-v0", "td3", "central", "c", "paper") == Settings(steps=800)
        assert settings_for("Mine-v0", "dagger", "pooled", "").steps == 3 * 32 * 9
        assert settings_for(ID, "ppo", "shared", "partition") == Settings()
    finally:
        lookup.table_of.cache_clear()


EMPTY = "''"
GOOD = "{agent: ppo, policy: any, why: ours, values: {steps: 7}}"


@pytest.mark.parametrize(
    ("content", "message"),
    {
        "no mapping": ("7", "Input should be"),
        "no YAML": ("entries: [", "is not valid YAML: while parsing"),
        "an object": ("default_agent: !!python/object/apply:os.system [ls]", "is not valid YAML: could not determine"),
        "an unknown agent": ("default_agent: pop", "default_agent: Input should be 'ppo'"),
        "an unknown policy": ("default_policy: {ppo: all}", "default_policy, ppo: Input should be 'shared'"),
        "an unknown field": ("agent: ppo", "agent: Extra inputs are not permitted"),
        "no reason": ("entries: [{agent: ppo, policy: any, values: {}}]", "entry 1, why: Field required"),
        "an empty reason": (f"entries: [{GOOD.replace('ours', EMPTY)}]", "entry 1, why: String should have at least"),
        "an unknown kind": (f"entries: [{GOOD.replace('why', 'kind: mine, why')}]", "entry 1, kind: Input should be"),
        "no value": (f"entries: [{GOOD}, {GOOD.replace('ppo', 'td3').replace('7', '0')}]", "entry 2, values, steps: "),
        "an unknown value": (f"entries: [{GOOD.replace('steps', 'step')}]", "entry 1, values, step: Extra inputs"),
        "a second entry": (f"entries: [{GOOD}, {GOOD.replace('any', 'pooled')}]", "entries 1 and 2 apply to the same"),
    }.values(),
    ids=lambda case: ascii(case)[:30],
)
def test_an_invalid_file_is_refused_with_its_name_entry_and_field(tmp_path, content, message):
    file = tmp_path / "Mine-v0.yaml"
    file.write_text(content)
    with pytest.raises(ValueError, match=r"Mine-v0\.yaml") as caught:
        read_table(file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# What the values mean


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


def test_settings_of_the_semcom():
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
        assert settings.steps == settings.demonstration_steps == rounds * shown_at_once * frames
        assert settings.num_envs == settings.imitation_worlds == shown_at_once
        assert settings.expert == ("coordinate-descent" if env_id == ECCNOMA else "")
    assert Settings(imitation_rounds=2, imitation_worlds=3, imitation_frames=5).demonstration_steps == 30
    assert Settings().demonstration_steps == 0


def test_settings_of_the_eccnoma():
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
