"""Training: the same twice, right curves, annealing, learning at all, and stopping in the middle."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from stable_baselines3 import PPO
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.evaluation.episodes import play
from agents.hyperparameters.settings import Settings
from agents.runs.folder import BEST, CONFIG, EVALUATION, FINISHED, LAST, LOCK, Run, RunConfig
from agents.training import callback, record, trainer
from agents.training.record import VALIDATIONS
from agents.training.trainer import Trained, build_model, train
from agents.training.vec_env import WorldVecEnv
from agents.worlds import TRAINING_STREAM, VALIDATION_STREAM, make_worlds, stream_seeds
from edge_envs.core.env import EdgeVectorEnv
from tests.agents.toy import CHOICES, WANTED, ToySystem

ID = "LyaPPO-v0"
SMALL = {"num_devices": 2, "num_services": 1, "max_episode_steps": 10}
VALIDATION_EPISODES = 16
QUICK = Settings(steps=640, num_envs=16, n_steps=8, batch_size=64, n_epochs=1, hidden=(16,))


def run_in(path: Path, settings: Settings = QUICK, **more: Any) -> Run:
    return Run.create(RunConfig(**{"env_id": ID, "options": SMALL, "settings": settings, **more}), path)


def weights(run: Run, name: str = LAST) -> dict[str, torch.Tensor]:
    return load((run.path / name).read_bytes())


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(one[key], other[key]) for key in one)


def rows_of(run: Run) -> list[dict[str, str]]:
    with (run.path / EVALUATION).open() as file:
        return list(csv.DictReader(file))


def curves_of(run: Run) -> EventAccumulator:
    curves = EventAccumulator(str(run.path))
    curves.Reload()
    return curves


class Spy:
    """Keeps the model that `train` builds, and calls back after every step of the training environment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, on_step: Callable[[int, Any], None] | None = None) -> None:
        self.model: Any = None
        self.worlds: Any = None
        self.steps = 0
        self.rates: list[tuple[float, float]] = []
        """Learning rate and entropy weight of every update."""

        def build(run: Run, worlds: WorldVecEnv) -> Any:
            self.model, self.worlds = build_model(run, worlds), worlds
            step, update = worlds.step_wait, self.model.train

            def step_wait() -> Any:
                self.steps += 1
                result = step()
                if on_step is not None:
                    on_step(self.steps, self)
                return result

            def train(*args: Any, **kwargs: Any) -> None:
                update(*args, **kwargs)
                policy = self.model.policy
                optimizer = policy.optimizer if isinstance(self.model, PPO) else policy.actor.optimizer
                self.rates.append((optimizer.param_groups[0]["lr"], getattr(self.model, "ent_coef", 0.0)))

            worlds.step_wait, self.model.train = step_wait, train  # type: ignore[method-assign]
            return self.model

        monkeypatch.setattr(trainer, "build_model", build)


# The same twice


@pytest.mark.parametrize("agent", ["ppo", "ddpg", "td3"])
def test_twins_are_equal_to_the_last_bit(tmp_path, agent):
    settings = QUICK if agent == "ppo" else QUICK.model_copy(update={"steps": 160})
    first, twin, other = (
        run_in(tmp_path / name, settings, agent=agent, policy="central", seed=seed)
        for name, seed in (("first", 3), ("twin", 3), ("other", 4))
    )
    for run in (first, twin, other):
        np.random.seed(len(run.path.name))  # noqa: NPY002  (what ran before must not matter)
        torch.manual_seed(len(run.path.name))
        train(run, quiet=True)
    for name in (BEST, LAST):
        assert same(weights(first, name), weights(twin, name))
    assert rows_of(first) == rows_of(twin)
    assert not same(weights(first), weights(other))
    assert rows_of(first) != rows_of(other)


def test_training_worlds_have_the_seeds_of_their_stream(tmp_path, monkeypatch):
    """Stable-Baselines3 seeds its environment with the run's seed, under which neighbouring runs share worlds."""
    asked: list[Any] = []
    plain = EdgeVectorEnv.reset

    def reset(self: EdgeVectorEnv, *, seed: Any = None, options: Any = None) -> Any:
        asked.append(seed)
        return plain(self, seed=seed, options=options)

    monkeypatch.setattr(EdgeVectorEnv, "reset", reset)
    train(run_in(tmp_path / "run", QUICK.model_copy(update={"steps": 256}), seed=5), quiet=True)
    training = stream_seeds(TRAINING_STREAM, 5, QUICK.num_envs)
    validation = stream_seeds(VALIDATION_STREAM, 5, VALIDATION_EPISODES)
    assert asked.count(training) == 1
    assert asked.count(validation) > 1
    # The rest is the warm-up that compiles the kernels; it never reaches the training environment.
    assert [seed for seed in asked if seed not in (training, validation)] == [0]


# Learning


LEARNER = Settings(
    steps=6000, num_envs=16, n_steps=16, batch_size=128, n_epochs=6, learning_rate=5e-3, gamma=0.5, hidden=(32,),
    ent_coef=0.001,
)  # fmt: skip


@pytest.mark.parametrize("policy", ["shared", "central"])
def test_ppo_solves_the_toy(tmp_path, toy_id, policy):
    run = run_in(tmp_path / "run", LEARNER, env_id=toy_id, options={}, policy=policy)
    result = train(run, quiet=True)
    assert not result.interrupted
    assert 6000 <= result.steps < 6000 + 256
    env = make_worlds(toy_id, 4, "default", {"end_probability": 0.0})
    for name in (BEST, LAST):
        trained = run.load_policy(env.system, name)
        observation, _ = env.reset(seed=0)
        np.testing.assert_array_equal(trained.predict(observation)[0], np.tile(WANTED.ravel(), (4, 1)))
        assert (play(env, trained, [0, 1, 2, 3])["hits"] == 4.0).all()


def test_ppo_solves_the_toy_with_continuous_actions(tmp_path, toy_id):
    options = {"box": True}
    run = run_in(tmp_path / "run", LEARNER, env_id=toy_id, options=options)
    train(run, quiet=True)
    env = make_worlds(toy_id, 4, "default", options)
    assert play(env, run.load_policy(env.system), [0, 1, 2, 3])["hits"].mean() > 3.5  # 1.17 by chance


@pytest.mark.parametrize("box", [False, True], ids=["indices", "box"])
@pytest.mark.parametrize(("agent", "policy"), [("ddpg", "shared"), ("ddpg", "central"), ("td3", "central")])
def test_off_policy_agents_learn_the_toy(tmp_path, toy_id, agent, policy, box):
    """Through a box in place of the indices, and in a box of the environment's own."""
    settings = Settings(
        steps=2000, num_envs=4, batch_size=64, learning_rate=1e-3, gamma=0.3, hidden=(64,), anneal=False,
        action_noise=1.0, gradient_steps=2, tau=0.02,
    )  # fmt: skip
    options = {"box": box}
    run = run_in(tmp_path / "run", settings, env_id=toy_id, options=options, agent=agent, policy=policy)
    result = train(run, quiet=True)
    assert result.steps == 2000
    env = make_worlds(toy_id, 4, "default", options)
    assert play(env, run.load_policy(env.system), [0, 1, 2, 3])["hits"].mean() > 2.5  # 1.17 by chance


@pytest.mark.parametrize("decision", ["partition", "joint"])
@pytest.mark.parametrize(
    ("agent", "policy"), [("ppo", "shared"), ("ppo", "central"), ("ddpg", "shared"), ("td3", "central")]
)
def test_every_agent_trains_on_lyappo(tmp_path, monkeypatch, agent, policy, decision):
    """The joint decision included, and the training's own backlog price."""
    options = {**SMALL, "decision": decision}
    settings = QUICK.model_copy(update={"training_options": {"reward_backlog": 20.0}, "steps": 256, "batch_size": 32})
    run = run_in(tmp_path / "run", settings, agent=agent, policy=policy, options=options)
    spy = Spy(monkeypatch)
    train(run, quiet=True)
    assert type(spy.model).__name__.lower() == agent
    assert isinstance(spy.worlds, WorldVecEnv)
    assert spy.worlds.shared == (policy == "shared")
    assert spy.worlds.system.config.reward_backlog == 20.0
    assert Run.open(run.path).config.options == options
    system = make_worlds(ID, 1, "default", options).system
    network: Any = run.load_policy(system, LAST).network
    assert same(network.state_dict(), spy.model.policy.state_dict())
    if agent != "ppo":
        assert len(network.critic.q_networks) == (2 if agent == "td3" else 1)


@pytest.mark.parametrize("agent", ["ddpg", "td3"])
def test_off_policy_agents_refuse_what_they_cannot_drive(tmp_path, toy_id, agent):
    run = run_in(tmp_path / "run", agent=agent, env_id=toy_id, options={"first": 1})
    with pytest.raises(TypeError, match="MultiDiscrete"):
        train(run, quiet=True)


def test_what_the_user_sets_holds_in_training_too(tmp_path, monkeypatch):
    """The agent's own training options give way to it, and fill in where nothing was set."""
    own = {"reward_backlog": 20.0, "max_episode_steps": 5}
    settings = QUICK.model_copy(update={"training_options": own, "steps": 128})
    spy = Spy(monkeypatch)
    train(run_in(tmp_path / "run", settings, options={**SMALL, "reward_backlog": 7.0}), quiet=True)
    assert spy.worlds.system.config.reward_backlog == 7.0
    assert spy.worlds.env.max_episode_steps == 10
    del (options := dict(SMALL))["max_episode_steps"]
    train(run_in(tmp_path / "other", settings, options=options), quiet=True)
    assert spy.worlds.system.config.reward_backlog == 20.0
    assert spy.worlds.env.max_episode_steps == 5


@pytest.mark.parametrize(("learning_starts", "updates"), [(None, 8), (0, 10), (100, 4)])
def test_updates_begin_where_set(tmp_path, monkeypatch, toy_id, learning_starts, updates):
    """Beyond that many transitions, of which each step of 16 worlds gives 16; by default beyond a minibatch of 32."""
    settings = Settings(
        steps=160, num_envs=16, batch_size=32, learning_starts=learning_starts, hidden=(8,), anneal=False
    )
    spy = Spy(monkeypatch)
    train(run_in(tmp_path / "run", settings, env_id=toy_id, options={}, agent="ddpg", policy="central"), quiet=True)
    assert len(spy.rates) == updates


def test_validations_have_the_systems_number_of_episodes(tmp_path, monkeypatch, toy_id):
    counts: list[int] = []

    def note(env: EdgeVectorEnv, policy: Any, seeds: list[int]) -> Any:
        counts.append(len(seeds))
        return play(env, policy, seeds)

    monkeypatch.setattr(record, "play", note)
    for episodes in (3, None):
        if episodes is not None:
            monkeypatch.setattr(ToySystem, "evaluation_episodes", episodes)
        else:
            monkeypatch.delattr(ToySystem, "evaluation_episodes")
        counts.clear()
        train(run_in(tmp_path / str(episodes), QUICK, env_id=toy_id, options={}), quiet=True)
        assert set(counts) == {episodes or VALIDATION_EPISODES}


# Annealing


def test_learning_rate_and_entropy_fall_to_zero(tmp_path, monkeypatch):
    spy = Spy(monkeypatch)
    train(run_in(tmp_path / "run"), quiet=True)
    rates, entropies = np.array(spy.rates).T
    assert len(rates) == 640 / (16 * 8)
    left = 1 - np.arange(1, 6) / 5
    # The rate of an update is that at the start of its rollout: the last update counts.
    np.testing.assert_allclose(rates, QUICK.learning_rate * (left + 1 / 5), atol=1e-12)
    np.testing.assert_allclose(entropies, QUICK.ent_coef * left, atol=1e-12)


def test_the_entropy_bonus_may_be_gone_before_the_learning_rate(tmp_path, monkeypatch):
    spy = Spy(monkeypatch)
    train(run_in(tmp_path / "run", QUICK.model_copy(update={"ent_until": 0.5})), quiet=True)
    rates, entropies = np.array(spy.rates).T
    np.testing.assert_allclose(entropies, QUICK.ent_coef * np.array([0.6, 0.2, 0.0, 0.0, 0.0]), atol=1e-12)
    assert (rates[2:] > 0).all()


def test_no_rate_is_ever_negative(tmp_path, monkeypatch):
    """Updates come whole, so the last one may end after the last step."""
    spy = Spy(monkeypatch)
    result = train(run_in(tmp_path / "run", QUICK.model_copy(update={"steps": 200})), quiet=True)
    assert result.steps == 256
    assert len(spy.rates) == 2
    assert spy.rates[0][0] == QUICK.learning_rate
    assert 0 < spy.rates[1][0] < QUICK.learning_rate
    assert spy.rates[1][1] == 0.0


def test_the_rate_of_off_policy_agents_falls_to_zero(tmp_path, monkeypatch, toy_id):
    """They update after every step of all worlds, whatever PPO's `n_steps` says."""
    settings = Settings(steps=160, num_envs=16, batch_size=16, n_steps=8, learning_rate=1e-3, hidden=(8,))
    spy = Spy(monkeypatch)
    train(run_in(tmp_path / "run", settings, env_id=toy_id, options={}, agent="td3", policy="central"), quiet=True)
    rates = [rate for rate, _ in spy.rates]
    np.testing.assert_allclose(rates, 1e-3 * (1 - np.arange(1, 10) / 10), atol=1e-12)


def test_rates_stay_without_annealing(tmp_path, monkeypatch):
    spy = Spy(monkeypatch)
    train(run_in(tmp_path / "run", QUICK.model_copy(update={"anneal": False})), quiet=True)
    assert set(spy.rates) == {(QUICK.learning_rate, QUICK.ent_coef)}


# What is written


def test_curves_and_table(tmp_path, monkeypatch):
    """Training and validation apart, counted in steps of a world although the policy sees two rows a world."""
    returns: list[float] = []

    def note(step: int, spy: Any) -> None:
        returns.extend(episode["return"] for episode in spy.worlds.episodes)

    spy = Spy(monkeypatch, note)
    run = run_in(tmp_path / "run")
    result = train(run, quiet=True)
    metrics = [metric.name for metric in spy.worlds.system.metrics]
    assert (result.steps, spy.steps) == (640, 40)
    assert 0.0 < result.env_seconds < result.seconds

    curves = curves_of(run)
    names = curves.Tags()["scalars"]
    wanted = {
        "return", "energy_j", "energy_local_j", "energy_transmit_j", "power_mw", "backlog_local_cycles",
        "backlog_transmit_bits", "backlog_edge_cycles", "finished_ratio", "mean_cut", "certificate",
    }  # fmt: skip
    for part in ("training", "validation"):
        assert {f"{part}/{name}" for name in wanted} <= set(names)
    assert {"train/learning_rate", "rollout/ep_rew_mean", "time/env_share", "time/seconds"} <= set(names)
    assert max(event.step for name in names for event in curves.Scalars(name)) == 640

    # All 16 worlds end together after every tenth step.
    training = curves.Scalars("training/return")
    assert [event.step for event in training] == [160, 320, 480, 640]
    assert [e.value for e in training] == pytest.approx(np.reshape(returns, (4, 16)).mean(axis=1), rel=1e-5)
    assert all(0 <= event.value < 1e-6 for event in curves.Scalars("training/certificate"))

    rows = rows_of(run)
    assert list(rows[0]) == ["step", "return", "reward", *metrics, "finished_over_arrived"]
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(set(steps))
    assert steps[0] == 16
    assert steps[-1] == 640
    assert len(steps) == VALIDATIONS + 1
    assert [event.step for event in curves.Scalars("validation/return")] == steps
    for name in ("return", "power_mw", "mean_cut"):
        values = [float(row[name]) for row in rows]
        assert [event.value for event in curves.Scalars(f"validation/{name}")] == pytest.approx(values, rel=1e-5)
    assert result.best_reward == max(float(row["reward"]) for row in rows)

    assert sorted(file.name for file in run.path.iterdir() if "tfevents" not in file.name) == sorted(
        [BEST, LAST, CONFIG, EVALUATION, FINISHED, LOCK]
    )
    assert len([file for file in run.path.iterdir() if "tfevents" in file.name]) == 1

    # The last row is the network that was saved, the best one the best of the table.
    env = make_worlds(ID, VALIDATION_EPISODES, "default", SMALL)
    seeds = stream_seeds(VALIDATION_STREAM, 0, VALIDATION_EPISODES)
    for name, reward in ((LAST, float(rows[-1]["reward"])), (BEST, result.best_reward)):
        assert play(env, run.load_policy(env.system, name), seeds)["reward"].mean() == pytest.approx(reward, rel=1e-12)


def test_many_worlds_do_not_mean_many_validations(tmp_path):
    """Steps come in lots of num_envs, which may be more than a tenth of the training."""
    settings = QUICK.model_copy(update={"steps": 512, "num_envs": 128, "n_steps": 8})
    result = train(run_in(tmp_path / "run", settings), quiet=True)
    assert result.steps == 1024
    assert [int(row["step"]) for row in rows_of(Run.open(tmp_path / "run"))] == [128, 256, 384, 1024]


def test_steps_are_those_of_a_world_for_shared_and_central(tmp_path):
    for policy in ("shared", "central"):
        result = train(run_in(tmp_path / policy, policy=policy), quiet=True)
        assert result.steps == 640
        curves = curves_of(Run.open(tmp_path / policy))
        assert [event.step for event in curves.Scalars("train/learning_rate")] == [256, 384, 512, 640]


def test_validation_does_not_disturb_the_training(tmp_path, monkeypatch):
    train(run_in(tmp_path / "often"), quiet=True)
    monkeypatch.setattr(callback, "VALIDATIONS", 1)
    train(run_in(tmp_path / "once"), quiet=True)
    assert len(rows_of(Run.open(tmp_path / "often"))) > len(rows_of(Run.open(tmp_path / "once")))
    assert same(weights(Run.open(tmp_path / "often")), weights(Run.open(tmp_path / "once")))


@pytest.mark.parametrize(
    ("agent", "rewards", "learned"),
    [
        ("ppo", [-1.0, -2.0, -1.0, *[-5.0] * 20], False),
        ("ppo", [-2.0, *[-5.0] * 19, -1.0], True),
        ("td3", [-1.0, -2.0, *[-5.0] * 20], False),
        ("td3", [-3.0, -2.0, -1.0, *[-5.0] * 20], False),
        ("td3", [-2.0, *[-5.0] * 19, -1.0], True),
    ],
)
def test_an_untrained_network_may_be_the_best_and_is_reported(tmp_path, monkeypatch, agent, rewards, learned):
    """Before PPO's first update come some validations; with td3, those before it has a minibatch of 64."""
    numbers = iter(rewards)
    monkeypatch.setattr(record, "play", lambda *_: {"reward": np.array([next(numbers)]), "return": np.zeros(1)})
    settings = QUICK.model_copy(update={"anneal": False})
    assert train(run_in(tmp_path / "run", settings, agent=agent, policy="central"), quiet=True).learned is learned


def test_only_a_better_network_replaces_the_best(tmp_path, monkeypatch):
    rewards = iter([-1.0, -2.0, -1.0, *[-5.0] * 20])
    monkeypatch.setattr(record, "play", lambda *_: {"reward": np.array([next(rewards)]), "return": np.zeros(1)})
    saved: list[str] = []
    plain = Run.save_tensors

    def save(self: Run, tensors: Any, name: str) -> None:
        saved.append(name)
        plain(self, tensors, name)

    monkeypatch.setattr(Run, "save_tensors", save)
    result = train(run_in(tmp_path / "run"), quiet=True)
    assert saved == [BEST, LAST]
    assert result.best_reward == -1.0


# Stopping in the middle


def check_stopped(run: Run, result: Trained, steps: int) -> None:
    assert result.interrupted
    assert result.steps == steps
    system = make_worlds(ID, 1, "default", SMALL).system
    observation = np.zeros((3, *(system.observation_space.shape or ())), np.float32)
    for name in (BEST, LAST):
        assert Run.open(run.path).load_policy(system, name).predict(observation)[0].shape == (3, 2)
    assert not [file.name for file in run.path.iterdir() if file.name.endswith(".tmp")]


@pytest.mark.parametrize("agent", ["ppo", "ddpg", "td3"])
@pytest.mark.parametrize("at", [1, 20])
def test_an_interrupt_leaves_everything_saved(tmp_path, monkeypatch, agent, at):
    def stop(step: int, spy: Any) -> None:
        if step == at:
            raise KeyboardInterrupt

    spy = Spy(monkeypatch, stop)
    run = run_in(tmp_path / "run", agent=agent)
    result = train(run, quiet=True)
    check_stopped(run, result, 16 * (at - 1))
    assert same(weights(run), spy.model.policy.state_dict())
    assert spy.worlds.env.closed
    assert (len(rows_of(run)) > 1) if at > 1 else not (run.path / EVALUATION).exists()
    curves_of(run).Scalars("time/seconds")


def test_an_interrupt_in_a_validation(tmp_path, monkeypatch):
    calls = []

    def stop(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return play(*args)

    monkeypatch.setattr(record, "play", stop)
    run = run_in(tmp_path / "run")
    check_stopped(run, train(run, quiet=True), 2 * (QUICK.steps // VALIDATIONS))
    assert len(rows_of(run)) == 2


def test_an_interrupt_before_the_first_step(tmp_path, monkeypatch):
    def stop(*args: Any) -> Any:
        raise KeyboardInterrupt

    run = run_in(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(WorldVecEnv, "reset", stop)
        check_stopped(run, train(run, quiet=True), 0)
    assert not (run.path / EVALUATION).exists()
    assert same(weights(run, BEST), weights(run, LAST))


def test_an_interrupt_while_everything_is_made_leaves_nothing_but_the_configuration(tmp_path, monkeypatch):
    def stop(*args: Any) -> Any:
        raise KeyboardInterrupt

    run = run_in(tmp_path / "run")
    monkeypatch.setattr(trainer, "warm_up", stop)
    with pytest.raises(KeyboardInterrupt):
        train(run, quiet=True)
    assert {file.name for file in run.path.iterdir()} == {CONFIG, LOCK}


def test_an_error_leaves_the_last_network_too(tmp_path, monkeypatch):
    def break_down(step: int, spy: Any) -> None:
        if step == 20:
            raise RuntimeError("out of order")

    Spy(monkeypatch, break_down)
    run = run_in(tmp_path / "run")
    with pytest.raises(RuntimeError, match="out of order"):
        train(run, quiet=True)
    assert (run.path / LAST).exists()
    assert (run.path / BEST).exists()


def test_the_toy_is_worth_learning():
    chance = (1 / CHOICES).sum() * len(WANTED)
    assert chance == pytest.approx(1.17, abs=0.01)
