"""The two Gymnasium classes around a toy System that also terminates, which no registered id does."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.config import SystemConfig
from edge_envs.core.env import EdgeEnv, EdgeVectorEnv
from edge_envs.core.kernels.metrics import Metric
from edge_envs.core.system import IntArray, Outcome, System, load_system
from tests.helpers import assert_same, random_actions, rollout, row_of, steps_like

STEPS = 6
MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]
every_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)


class ToyConfig(SystemConfig):
    """Two walkers."""

    goal: float = 6.0
    """Sum of the places at which a world ends [-]."""
    continuous: bool = False
    """True for a Box action, False for indices [-]."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}, "far": {"goal": 1e9}}


class ToyState(NamedTuple):
    """Places of the walkers."""

    place: NDArray[np.float64]  # (B, 2)


class Toy(System[ToyState]):
    """Two walkers go forward by their action plus noise, until the sum of their places reaches the goal."""

    members = 2
    member_view = np.array([[0, 2], [1, 2]])
    metrics = (
        Metric("noise", "-", "mean noise"),
        Metric("way", "-", "sum of the places", "last"),
        Metric("worst", "-", "smallest noise, below zero", "max"),
    )
    member_metrics = ("noise",)
    headline = ("way",)

    def __init__(self, config: ToyConfig) -> None:
        self.config = config
        self.observation_space = spaces.Box(-1e3, 1e3, (3,), np.float32)
        self.member_observation_space = spaces.Box(-1e3, 1e3, (2,), np.float32)
        if config.continuous:
            self.action_space: spaces.Space[Any] = spaces.Box(-1.0, 1.0, (2,), np.float32)
            self.member_action_space: spaces.Space[Any] = spaces.Box(-1.0, 1.0, (1,), np.float32)
        else:
            self.action_space, self.member_action_space = spaces.MultiDiscrete([3, 3]), spaces.MultiDiscrete([3])

    @classmethod
    def from_options(cls, preset: str, options: Mapping[str, Any]) -> Toy:
        return cls(ToyConfig.from_options(preset, options))

    def allocate(self, batch: int) -> ToyState:
        return ToyState(np.full((batch, 2), np.nan))

    def reset(self, state: ToyState, rows: IntArray, rngs: Sequence[Generator]) -> None:
        assert len(rows)
        for row in rows:
            state.place[row] = rngs[row].random(2)

    def observe(self, state: ToyState) -> NDArray[np.float32]:
        return np.column_stack([state.place, state.place.sum(axis=1)]).astype(np.float32)

    def step(self, state: ToyState, rows: IntArray, actions: NDArray[Any], rngs: Sequence[Generator]) -> Outcome:
        assert len(rows)
        batch = len(state.place)
        observation = np.zeros((batch, *(self.observation_space.shape or ())), dtype=np.float32)
        metrics = np.zeros((batch, 3))
        member_reward, terminated = np.zeros((batch, 2)), np.zeros(batch, dtype=np.bool_)
        noise = np.zeros((batch, 2))
        for row in rows:
            noise[row] = rngs[row].random(2) - 1.0
            state.place[row] += actions[row] + noise[row]
            member_reward[row] = -state.place[row]
            metrics[row] = noise[row].mean(), state.place[row].sum(), noise[row].min()
            terminated[row] = state.place[row].sum() >= self.config.goal
        observation[rows] = self.observe(state)[rows]
        return Outcome(observation, member_reward.sum(axis=1), terminated, member_reward, metrics, {"noise": noise})


def vector(num_envs: int, mode: AutoresetMode = AutoresetMode.NEXT_STEP, **options: Any) -> EdgeVectorEnv:
    return EdgeVectorEnv(Toy, num_envs, **{"max_episode_steps": STEPS, "autoreset_mode": mode, **options})


def sync(num_envs: int, mode: AutoresetMode) -> SyncVectorEnv:
    return SyncVectorEnv([lambda: TimeLimit(EdgeEnv(Toy), STEPS)] * num_envs, autoreset_mode=mode)


# Ends of episodes


@pytest.mark.parametrize("num_envs", [1, 2, 7])
@every_mode
def test_terminations_as_in_sync_vector_env(mode, num_envs):
    """Rows end by themselves, by the clock and by both, alone and together, and everything equals Gymnasium's own."""
    ours, theirs = vector(num_envs, mode), sync(num_envs, mode)
    seen = set()
    for result in steps_like(ours, theirs, 300):
        seen |= set(zip(result[2].tolist(), result[3].tolist(), strict=True))
    assert seen == {(False, False), (True, False), (False, True), (True, True)}


@every_mode
def test_episodes_of_one_step(mode):
    env = vector(2, mode, max_episode_steps=1)
    env.reset(seed=0)
    for step, actions in enumerate(random_actions(env.action_space, 6)):
        truncated = env.step(actions)[3]
        assert truncated.all() == (mode is AutoresetMode.SAME_STEP or step % 2 == 0)


def test_without_autoreset_as_in_sync_vector_env():
    mode = AutoresetMode.DISABLED
    ours, theirs = vector(4, mode), sync(4, mode)
    assert_same(ours.reset(seed=1), theirs.reset(seed=1))
    for actions in random_actions(ours.action_space, 120):
        result = ours.step(actions)
        assert_same(result, theirs.step(actions))
        done = result[2] | result[3]
        if done.any():
            rows = np.flatnonzero(done).tolist()
            with pytest.raises(RuntimeError, match=rf"rows \[{', '.join(map(str, rows))}\] have finished"):
                ours.step(actions)
            assert_same(ours.reset(options={"reset_mask": done}), theirs.reset(options={"reset_mask": done.copy()}))


def test_a_reset_of_all_rows_clears_what_was_waiting():
    env = vector(3, max_episode_steps=1)
    env.reset(seed=0)
    actions = np.zeros((3, 2), dtype=int)
    assert env.step(actions)[3].all()
    env.reset(seed=0)
    assert env.step(actions)[3].all(), "a step, not a second reset"


def test_the_clock_stands_still_while_a_row_waits():
    env = vector(2, max_episode_steps=3, preset="far")
    env.reset(seed=0)
    ends = np.array([env.step(np.zeros((2, 2), dtype=int))[3] for _ in range(12)])
    assert np.flatnonzero(ends[:, 0]).tolist() == [2, 6, 10]


# Info


def test_episode_means_start_afresh_and_match_their_definition():
    env = EdgeEnv(Toy, preset="far")
    for episode in range(3):
        env.reset(seed=episode)
        infos = []
        for action in random_actions(env.action_space, 9, seed=episode):
            infos.append(env.step(action)[4])
            info = infos[-1]
            noise = np.mean([info["noise"] for info in infos])
            assert info["episode_mean_noise"] == pytest.approx(noise, rel=1e-14)
            assert info["episode_mean_way"] == info["way"]
            assert info["episode_mean_worst"] == max(info["worst"] for info in infos) < 0.0


def test_info_holds_what_the_docstring_says():
    env = EdgeEnv(Toy)
    blank = env.reset(seed=0)[1]
    _, reward, _, _, info = env.step([1, 2])
    names = ["noise", "way", "worst"]
    keys = [*names, "member_reward", "member_noise", *(f"episode_mean_{name}" for name in names)]
    assert list(info) == keys
    unknown, nobody = np.float64(np.nan), np.full(2, np.nan)
    assert_same(blank, dict.fromkeys(keys, unknown) | {"member_reward": np.zeros(2), "member_noise": nobody})
    assert all(type(value) in (np.float64, np.ndarray) for value in info.values())
    assert info["member_reward"].sum() == pytest.approx(reward)
    many = vector(3)
    many.reset(seed=0)
    assert_same(row_of(many.step(np.tile([1, 2], (3, 1)))[4], 0), info)


# Seeds


def test_seeds_of_the_rows():
    env = vector(3)
    by_number, _ = env.reset(seed=4)
    by_list, _ = env.reset(seed=[4, 5, 6])
    np.testing.assert_array_equal(by_number, by_list)
    np.testing.assert_array_equal(env.reset(seed=(6, 5, 4))[0], by_list[::-1])
    again, _ = env.reset(seed=[4, None, None])
    assert (again[1:] != by_list[1:]).all()
    np.testing.assert_array_equal(again[0], by_list[0])


def test_a_row_keeps_its_generator_while_others_are_seeded():
    env, twin = vector(2), vector(2)
    env.reset(seed=1)
    twin.reset(seed=1)
    env.reset(seed=[None, 9])
    twin.reset()
    np.testing.assert_array_equal(env.reset()[0][0], twin.reset()[0][0])


def test_a_seed_outside_the_mask_is_not_used():
    env, twin = vector(2), vector(2)
    mask = np.array([True, False])
    for one, seed in ((env, 7), (twin, [7, 123])):
        one.reset(seed=0)
        one.reset(seed=seed, options={"reset_mask": mask})
    assert_same(env.reset(), twin.reset())


@pytest.mark.parametrize("seed", [[], [1], [1, 2, 3], (1, None, 2, 3)])
def test_wrong_number_of_seeds(seed):
    env = vector(2)
    with pytest.raises(ValueError, match=f"seed has {len(seed)} entries, expected num_envs=2"):
        env.reset(seed=seed)


# Errors


@pytest.mark.parametrize("mask", [[True, False], (True, True), 1, "all", np.array([1, 0]), np.array([1.0, 0.0])])
def test_mask_of_a_wrong_type(mask):
    env = vector(2)
    env.reset(seed=0)
    with pytest.raises(TypeError, match=r"options\['reset_mask'\] must be a numpy array of booleans"):
        env.reset(options={"reset_mask": mask})


@pytest.mark.parametrize("mask", [[True], [True] * 3, [[True, False]], [False, False], []])
def test_mask_of_a_wrong_shape_or_without_a_true(mask):
    env = vector(2)
    before = env.reset(seed=0)[0]
    with pytest.raises(ValueError, match=r"options\['reset_mask'\] must have shape \(2,\) and a True"):
        env.reset(seed=3, options={"reset_mask": np.array(mask, dtype=bool)})
    np.testing.assert_array_equal(env.system.observe(env.state), before)


def test_options_are_left_as_they_were():
    env = vector(2)
    options = {"reset_mask": np.array([True, True])}
    env.reset(options=options)
    assert list(options) == ["reset_mask"]
    env.reset(options={"reset_mask": None})
    env.reset(options={})
    EdgeEnv(Toy).reset(options={})


def test_unknown_reset_options_are_refused_before_anything_happens():
    many, one = vector(2), EdgeEnv(Toy)
    cases: tuple[tuple[Any, dict[str, Any], str], ...] = (
        (many, {"reset_masks": np.array([True, False])}, "'reset_masks' does not exist: the only one is 'reset_mask'"),
        (many, {"reset_mask": np.array([True, False]), "goal": 3.0}, "'goal' does not exist: the only one is"),
        (one, {"goal": 3.0}, "'goal' does not exist: there is none"),
        (one, {"reset_mask": np.array([True])}, "'reset_mask' does not exist: there is none"),
    )
    for env, options, words in cases:
        before = env.reset(seed=0)[0]
        with pytest.raises(ValueError, match=f"reset option {words}"):
            env.reset(seed=1, options=options)
        np.testing.assert_array_equal(np.atleast_2d(before), env.system.observe(env.state))
        assert np.ravel(env.np_random_seed)[0] == 0


def test_step_before_reset():
    with pytest.raises(RuntimeError, match="reset"):
        EdgeEnv(Toy).step([0, 0])
    env = vector(3)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros((3, 2), dtype=int))
    env.reset(options={"reset_mask": np.array([True, False, True])})
    with pytest.raises(RuntimeError, match="all rows"):
        env.step(np.zeros((3, 2), dtype=int))
    env.reset(options={"reset_mask": np.array([False, True, False])})
    env.step(np.zeros((3, 2), dtype=int))


@pytest.mark.parametrize("num_envs", [0, -2])
def test_num_envs_too_small(num_envs):
    with pytest.raises(ValueError, match=f"num_envs={num_envs} is not possible; give a whole number >= 1"):
        vector(num_envs)


@pytest.mark.parametrize("steps", [0, -1])
def test_max_episode_steps_too_small(steps):
    with pytest.raises(ValueError, match=f"max_episode_steps={steps} is not possible; give a whole number >= 1"):
        vector(1, max_episode_steps=steps)


@pytest.mark.parametrize("mode", ["NEXT_STEP", "sometimes", None, 3])
def test_unknown_autoreset_mode(mode):
    with pytest.raises(ValueError, match=f"autoreset_mode={mode!r} does not exist; known: NextStep"):
        vector(1, mode)


def test_render_modes():
    assert EdgeEnv(Toy).render() is None
    for mode in ("human", "ansi", 3):
        with pytest.raises(ValueError, match=f"render_mode={mode!r} does not exist"):
            EdgeEnv(Toy, render_mode=mode)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="render_mode='rgb_array' is not possible for a vector"):
        vector(2, render_mode="rgb_array")


@pytest.mark.parametrize(
    "target",
    [
        "", ":", "edge_envs", "edge_envs:", "edge_envs.nothing:Toy", "tests.core.test_env:Nothing", ".env:Toy",
        "tests.core.test_env:ToyState", "tests.core.test_env:STEPS", "os.path:join", ToyState, None, 3,
    ],
)  # fmt: skip
def test_systems_that_cannot_be_loaded(target):
    with pytest.raises(ValueError, match="system=") as caught:
        load_system(target)
    assert repr(target) in str(caught.value)


def test_systems_by_name_and_class():
    assert load_system(Toy) is Toy
    assert load_system("tests.core.test_env:Toy").__name__ == "Toy"


def test_unknown_parameters():
    for make in (lambda **options: EdgeEnv(Toy, **options), lambda **options: vector(2, **options)):
        with pytest.raises(ValueError, match=r"^unexpected keyword argument 'gaol'; did you mean 'goal'\?$"):
            make(gaol=3)
        with pytest.raises(ValueError, match=r"goal=nan is not possible: .*\(Sum of the places at which a world ends"):
            make(goal=float("nan"))


# Actions


def test_box_actions_reach_the_system_unrounded():
    env = EdgeEnv(Toy, continuous=True, preset="far")
    start, _ = env.reset(seed=0)
    observation, *_, info = env.step(np.array([0.25, -1.0]))
    np.testing.assert_allclose(observation[:2], start[:2] + [0.25, -1.0] + info["member_noise"], rtol=1e-6)
    for bad in ([1.0 + 1e-15, 0.0], [0.0, -np.inf], [np.nan, 0.0]):
        with pytest.raises(ValueError, match=r"action\[[01]\] = .* of row 0 is not in Box") as caught:
            env.step(bad)
        assert ("gymnasium.wrappers.ClipAction" in str(caught.value)) == (not np.isnan(bad).any())


def test_the_message_names_row_and_entry():
    env = vector(3)
    env.reset(seed=0)
    actions = np.zeros((3, 2), dtype=int)
    actions[1, 1] = 3
    with pytest.raises(ValueError, match=r"action\[1\] = 3 of row 1 is not in MultiDiscrete\(\[3 3\]\)"):
        env.step(actions)


def test_actions_are_refused_before_anything_happens():
    """Also in the step that restarts waiting rows."""
    for mode in MODES:
        env, twin = vector(3, mode, max_episode_steps=2), vector(3, mode, max_episode_steps=2)
        env.reset(seed=0)
        twin.reset(seed=0)
        for actions in random_actions(env.action_space, 9):
            with pytest.raises(ValueError, match="action"):
                env.step(actions + 3)
            assert_same(env.step(actions), twin.step(actions))


def test_toy_can_be_pickled_like_the_others():
    env = vector(3)
    actions = random_actions(env.action_space, 20)
    env.reset(seed=0)
    env.step(actions[0])
    copied = pickle.loads(pickle.dumps(env))
    for action in actions:
        assert_same(copied.step(action), env.step(action))
    assert_same(rollout(copied, actions), rollout(env, actions))


def test_pickle_is_of_the_configuration():
    copied = pickle.loads(pickle.dumps(Toy(ToyConfig(goal=3.0))))
    assert copied.config == ToyConfig(goal=3.0)
    assert copied.config != ToyConfig()
