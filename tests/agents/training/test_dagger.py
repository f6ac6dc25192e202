"""Imitation: who acts, what is learnt from what, that it clones an expert, and what it leaves in the run folder."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from stable_baselines3.common.policies import ActorCriticPolicy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.evaluation.episodes import play
from agents.hyperparameters.settings import Settings
from agents.networks.learned_policy import LearnedPolicy
from agents.runs.folder import BEST, EVALUATION, LAST, Run, RunConfig
from agents.training import dagger, trainer
from agents.training import record as record_module
from agents.training.dagger import Examples, agreement, collect_round, fit, imitation_loss, label_weights
from agents.training.trainer import Trained, train
from agents.worlds import IMITATION_STREAM, make_worlds, stream_seeds
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.policy import ConstantPolicy, make_baseline
from tests.agents.crowd import FACTS, GO, STAY, THIRD, CrowdConfig, CrowdSystem, crowd_worlds
from tests.agents.networks.test_masked_policy import network_of, observations_of
from tests.agents.toy import WANTED, worlds

COUNT, GROUPS = 4, 2
QUICK = Settings(
    imitation_rounds=3, imitation_worlds=8, imitation_frames=10, imitation_steps=20, imitation_batch=16,
    imitation_rate=5e-3, hidden=(16, 16), steps=256, num_envs=8, n_steps=8, batch_size=64, n_epochs=1,
)  # fmt: skip


def run_in(path: Path, env_id: str, settings: Settings = QUICK, **more: Any) -> Run:
    given: dict[str, Any] = {"agent": "dagger", "policy": "pooled", "settings": settings, **more}
    return Run.create(RunConfig(env_id=env_id, **given), path)


def weights(run: Run, name: str = LAST) -> dict[str, torch.Tensor]:
    return load((run.path / name).read_bytes())


def rows_of(run: Run) -> list[dict[str, str]]:
    with (run.path / EVALUATION).open() as file:
        return list(csv.DictReader(file))


class Silent:
    """A record that nobody reads."""

    def __init__(self, settings: Settings = QUICK) -> None:
        self.run: Any = type("Run", (), {"config": type("Config", (), {"settings": settings})})
        self.env_seconds, self.episodes, self.steps_done = 0.0, 0, 0

    def advance_to(self, steps: int) -> None:
        self.steps_done = steps


def never() -> None:
    """A check for signals that finds none."""


# Collecting


@pytest.mark.parametrize("guided", [0, 3, 8])
def test_the_expert_says_what_it_would_do_wherever_the_network_goes(guided):
    """It acts in the first worlds, the network in the others; all labels are its own."""
    env, expert = crowd_worlds(8), ConstantPolicy(np.arange(COUNT) % 2)
    stepped: list[np.ndarray] = []
    plain = env.step

    def step(actions: Any) -> Any:
        stepped.append(actions.copy())
        return plain(actions)

    env.step = step  # type: ignore[method-assign]
    record: Any = Silent()
    observations, labels = collect_round(
        expert, ConstantPolicy(np.full(COUNT, THIRD)), env, list(range(8)), guided, record, never
    )
    assert labels.shape == (80, COUNT)
    assert (labels == np.arange(COUNT) % 2).all()
    for actions in stepped:
        np.testing.assert_array_equal(actions[:guided], np.tile(np.arange(COUNT) % 2, (guided, 1)))
        assert (actions[guided:] == THIRD).all()
    assert (len(stepped), record.steps_done, record.episodes) == (10, 80, 8)
    assert record.env_seconds > 0.0
    twin, _ = crowd_worlds(8).reset(seed=list(range(8)))
    np.testing.assert_array_equal(observations[:8], twin)
    assert len(np.unique(observations, axis=0)) == 80


def test_labels_belong_to_the_observations_beside_them():
    """An expert that looks at the state, over the ends of episodes."""
    env = crowd_worlds(8)
    record: Any = Silent()
    policy = ConstantPolicy(np.full(COUNT, GO))
    observations, labels = collect_round(make_baseline("best", env), policy, env, list(range(8)), 2, record, never)
    members = observations.reshape(80, COUNT, FACTS + GROUPS)
    price, idle, third = members[:, :, 0], members[:, :, 2] == 0, members[:, :, 3] == 1
    np.testing.assert_array_equal(labels[idle], THIRD)
    stays = (labels == STAY) & ~idle
    assert (third[stays] & (price[stays] > 0.5)).sum() == 0
    for world, group in np.ndindex(80, GROUPS):
        mates = (members[world, :, FACTS + group] == 1) & ~idle[world]
        assert ((labels[world] == GO) & mates).sum() == (mates.sum() > 0)


def test_rounds_have_their_own_worlds_and_the_network_most_of_the_later_ones(tmp_path, crowd_id, monkeypatch):
    asked: list[tuple[list[int], int]] = []
    plain = collect_round

    def note(expert: Any, policy: Any, env: Any, seeds: list[int], guided: int, *more: Any) -> Any:
        asked.append((seeds, guided))
        return plain(expert, policy, env, seeds, guided, *more)

    monkeypatch.setattr(dagger, "collect_round", note)
    train(run_in(tmp_path / "run", crowd_id, seed=4), quiet=True)
    seeds = stream_seeds(IMITATION_STREAM, 4, 24)
    assert asked == [(seeds[:8], 8), (seeds[8:16], 2), (seeds[16:], 2)]
    assert len(set(seeds)) == 24


# Learning


def test_rows_of_members_and_of_worlds():
    env = worlds(3)
    observation, _ = env.reset(seed=0)
    labels = np.arange(12).reshape(3, 4)
    shown = [(observation, labels), (observation + 1, labels + 100)]
    world = Examples(env.system, False, shown)
    member = Examples(env.system, True, shown)
    assert world.size == member.size == 6
    seen, said = world.rows(np.array([4, 0]))
    np.testing.assert_array_equal(seen, np.stack([observation[1] + 1, observation[0]]))
    np.testing.assert_array_equal(said, [labels[1] + 100, labels[0]])
    seen, said = member.rows(np.array([4, 0]))
    np.testing.assert_array_equal(seen[:2], (observation[1] + 1)[env.system.member_view])
    np.testing.assert_array_equal(said, [[104, 105], [106, 107], [0, 1], [2, 3]])


def test_only_members_with_a_choice_teach():
    network, observations = network_of("pooled"), observations_of("pooled")
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (len(observations), COUNT), generator=generator)
    mask = observations.reshape(-1, COUNT, FACTS + GROUPS)[:, :, 1:FACTS] > 0.5
    expected, count = 0.0, 0
    probabilities = network.get_distribution(observations).each.probs.detach()
    for world, member in np.ndindex(len(observations), COUNT):
        label = labels[world, member]
        counts = bool(mask[world, member].sum() > 1 and mask[world, member, label])
        assert label_weights(network, observations, labels)[world, member].item() == counts
        if counts:
            expected -= probabilities[world, member, label].log().item()
            count += 1
    assert 0 < count < labels.numel()
    assert imitation_loss(network, observations, labels).item() == pytest.approx(expected / count, rel=1e-5)


def test_labels_that_nobody_can_take_teach_nothing():
    network, observations = network_of("pooled"), torch.zeros(5, 24)
    loss = imitation_loss(network, observations, torch.full((5, COUNT), THIRD))
    loss.backward()
    assert loss.item() == 0.0
    assert all((parameter.grad == 0).all() for parameter in network.actor.parameters())
    assert agreement(network, observations, torch.full((5, COUNT), THIRD)) == 0.0


def test_the_surprise_of_other_policies_is_that_of_the_whole_action():
    network = network_of("central", masks=False)
    assert type(network) is ActorCriticPolicy
    observations = observations_of("central", masks=False)
    labels = torch.ones(len(observations), COUNT, dtype=torch.int64)
    expected = -network.get_distribution(observations).log_prob(labels).mean()
    assert imitation_loss(network, observations, labels).item() == pytest.approx(expected.item(), rel=1e-6)


def test_agreement_counts_choices():
    network, observations = network_of("pooled"), observations_of("pooled")
    labels = network.forward(observations, True)[0]
    assert agreement(network, observations, labels) == 1.0
    weight = label_weights(network, observations, labels)
    labels[:20] = STAY
    still = (network.forward(observations, True)[0] == labels).float()
    weight = label_weights(network, observations, labels)
    assert agreement(network, observations, labels) == pytest.approx(float((weight * still).sum() / weight.sum()))
    assert agreement(network, observations, labels) < 1.0


def test_the_rate_falls_and_the_value_network_stays(monkeypatch):
    network, env = network_of("pooled"), crowd_worlds(4)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    rates: list[float] = []
    plain = torch.optim.Adam.step

    def step(self: Any, *args: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return plain(self, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    observation, _ = env.reset(seed=0)
    view = Examples(env.system, False, [(observation, np.zeros((4, COUNT), np.int64))])
    loss = fit(network, view, QUICK, np.random.default_rng(0))
    np.testing.assert_allclose(rates, 5e-3 * (1 - np.arange(20) / 20))
    after = network.state_dict()
    assert all(torch.equal(after[key], before[key]) == key.startswith("critic") for key in after)
    assert 0.0 < loss < imitation_loss(network_of("pooled"), *view.rows(np.arange(4))).item()


def test_it_clones_an_expert(tmp_path, crowd_id):
    """Who goes depends on the prices of all others in the group: nothing that a lucky constant would do."""
    settings = QUICK.model_copy(update={"imitation_worlds": 16, "imitation_frames": 30, "imitation_steps": 200})
    run = run_in(tmp_path / "run", crowd_id, settings)
    result = train(run, quiet=True)
    assert result.learned
    env = make_worlds(crowd_id, 64, "default", {})
    seeds = list(range(64))
    costs = {name: play(env, make_baseline(name, env), seeds)["cost"].mean() for name in ("best", "stay", "random")} | {
        "cloned": play(env, run.load_policy(env.system), seeds)["cost"].mean()
    }
    assert costs["cloned"] - costs["best"] < 0.25 * (costs["random"] - costs["best"])
    observation, _ = env.reset(seed=seeds)
    labels, _ = make_baseline("best", env).predict(observation)
    network: Any = run.load_policy(env.system).network
    assert agreement(network, torch.as_tensor(observation), torch.as_tensor(labels)) > 0.85


@pytest.mark.parametrize("policy", ["shared", "central"])
def test_other_policies_clone_too(tmp_path, toy_id, policy):
    """Several indices a member, without masks."""
    run = run_in(tmp_path / "run", toy_id, QUICK.model_copy(update={"imitation_steps": 100}), policy=policy)
    train(run, quiet=True)
    env = make_worlds(toy_id, 4, "default", {})
    observation, _ = env.reset(seed=0)
    actions, _ = run.load_policy(env.system).predict(observation)
    np.testing.assert_array_equal(actions, np.tile(WANTED.ravel(), (4, 1)))


def test_continuous_actions_are_cloned_too(tmp_path, toy_id, monkeypatch):
    wanted = np.array([0.9, -0.9, -0.2, 0.8], np.float32)
    monkeypatch.setattr(dagger, "make_baseline", lambda *_: ConstantPolicy(wanted))
    settings = QUICK.model_copy(update={"imitation_steps": 200})
    run = run_in(tmp_path / "run", toy_id, settings, policy="shared", options={"box": True})
    train(run, quiet=True)
    env = make_worlds(toy_id, 4, "default", {"box": True})
    observation, _ = env.reset(seed=0)
    actions, _ = run.load_policy(env.system).predict(observation)
    np.testing.assert_allclose(actions, np.tile(wanted, (4, 1)), atol=0.15)


# What is written


def test_steps_validations_and_curves(tmp_path, crowd_id):
    run = run_in(tmp_path / "run", crowd_id)
    result = train(run, quiet=True)
    assert (result.steps, result.episodes, result.interrupted) == (240, 24, False)
    assert 0.0 < result.env_seconds < result.seconds
    rows = rows_of(run)
    assert [row["step"] for row in rows] == ["80", "160", "240"]
    assert result.best_reward == max(float(row["reward"]) for row in rows)
    curves = EventAccumulator(str(run.path))
    curves.Reload()
    for name in ("imitation/loss", "imitation/agreement_before", "validation/cost"):
        assert [event.step for event in curves.Scalars(name)] == [80, 160, 240]
    env = make_worlds(crowd_id, 8, "default", {})
    last = play(env, run.load_policy(env.system, LAST), stream_seeds(2, 0, 8))["reward"].mean()
    assert last == pytest.approx(float(rows[-1]["reward"]), rel=1e-12)


def test_twins_are_equal_to_the_last_bit(tmp_path, crowd_id):
    runs = [run_in(tmp_path / name, crowd_id, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    for run in runs:
        torch.manual_seed(len(run.path.name) + id(run) % 7)
        train(run, quiet=True)
    one, twin, other = (weights(run) for run in runs)
    assert all(torch.equal(one[key], twin[key]) for key in one)
    assert rows_of(runs[0]) == rows_of(runs[1])
    assert not all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("agent", ["ppo", "member-ppo"])
def test_a_warm_start_comes_first_and_counts(tmp_path, crowd_id, agent):
    run = run_in(tmp_path / "run", crowd_id, agent=agent)
    result = train(run, quiet=True)
    assert result.steps == 240 + 256
    assert result.learned
    steps = [int(row["step"]) for row in rows_of(run)]
    assert steps[:4] == [80, 160, 240, 248]
    assert steps == sorted(set(steps))
    assert steps[-1] == 496
    curves = EventAccumulator(str(run.path))
    curves.Reload()
    # Stable-Baselines3 writes the curves of an update after the next rollout, of which there are four.
    assert [event.step for event in curves.Scalars("train/value_loss")] == [368, 432, 496]
    rewards = [row["reward"] for row in rows_of(run)]
    assert rewards[2] == rewards[3]  # the network that PPO starts with
    assert rewards[-1] != rewards[3]


def test_the_first_updates_learn_at_the_full_rate_after_a_warm_start(tmp_path, crowd_id, monkeypatch):
    """Annealing is over PPO's own steps, not those of the imitation."""
    schedule: list[tuple[float, float]] = []
    plain = trainer.build_model

    def build(run: Run, rows: Any) -> Any:
        model: Any = plain(run, rows)
        update = model.train

        def train() -> None:
            update()
            schedule.append((model.policy.optimizer.param_groups[0]["lr"], model.ent_coef))

        model.train = train
        return model

    monkeypatch.setattr(trainer, "build_model", build)
    settings = QUICK.model_copy(update={"ent_coef": 0.1, "learning_rate": 1e-3})
    train(run_in(tmp_path / "run", crowd_id, settings, agent="member-ppo"), quiet=True)
    rates, entropies = np.array(schedule).T
    np.testing.assert_allclose(rates, 1e-3 * (1 - np.arange(4) / 4))
    np.testing.assert_allclose(entropies, 0.1 * (1 - np.arange(1, 5) / 4), atol=1e-12)


# What goes wrong


def check_stopped(run: Run, result: Trained, steps: int) -> None:
    assert result.interrupted
    assert result.steps == steps
    system = CrowdSystem(CrowdConfig())
    for name in (BEST, LAST):
        actions, _ = Run.open(run.path).load_policy(system, name).predict(np.zeros((3, 24), np.float32))
        assert actions.shape == (3, COUNT)


@pytest.mark.parametrize("agent", ["dagger", "member-ppo"])
def test_an_interrupt_leaves_everything_saved(tmp_path, crowd_id, monkeypatch, agent):
    calls: list[int] = []

    def stop(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return play(*args)

    monkeypatch.setattr(record_module, "play", stop)
    run = run_in(tmp_path / "run", crowd_id, agent=agent)
    check_stopped(run, train(run, quiet=True), 160)
    assert len(rows_of(run)) == 1
    assert not all(torch.equal(value, weights(run, LAST)[key]) for key, value in weights(run, BEST).items())


def test_an_interrupt_while_watching(tmp_path, crowd_id, monkeypatch):
    plain, steps = EdgeVectorEnv.step, [0]

    def stop(self: EdgeVectorEnv, actions: Any) -> Any:
        steps[0] += 1
        if steps[0] == 1 + 4:  # after one of the warm-up
            raise KeyboardInterrupt
        return plain(self, actions)

    monkeypatch.setattr(EdgeVectorEnv, "step", stop)
    run = run_in(tmp_path / "run", crowd_id)
    check_stopped(run, train(run, quiet=True), 3 * 8)


def test_an_expert_that_does_not_exist(tmp_path, crowd_id):
    run = run_in(tmp_path / "run", crowd_id, QUICK.model_copy(update={"expert": "bets"}))
    with pytest.raises(ValueError, match=r"policy='bets' does not exist for CrowdSystem.*'best'"):
        train(run, quiet=True)


def test_the_expert_is_the_one_asked_for(tmp_path, crowd_id):
    """Without a name it is the baseline that others are measured against."""
    env = make_worlds(crowd_id, 8, "default", {})
    observation, _ = env.reset(seed=0)
    shares = {}
    for expert in ("stay", "best", ""):
        settings = QUICK.model_copy(update={"expert": expert, "imitation_steps": 100})
        run = run_in(tmp_path / f"run-{expert}", crowd_id, settings)
        train(run, quiet=True)
        actions, _ = run.load_policy(env.system).predict(observation)
        shares[expert] = (actions == GO).mean()
    assert shares["stay"] == 0.0
    assert shares[""] == shares["best"] > 0.1


def test_a_network_of_the_shared_policy_learns_from_rows_of_members(tmp_path, crowd_id):
    run = run_in(tmp_path / "run", crowd_id, QUICK.model_copy(update={"expert": "stay"}), policy="shared")
    train(run, quiet=True)
    env = make_worlds(crowd_id, 8, "default", {"count": 7})
    policy = run.load_policy(env.system)
    assert isinstance(policy, LearnedPolicy)
    observation, _ = env.reset(seed=0)
    assert (policy.predict(observation)[0] == STAY).all()
