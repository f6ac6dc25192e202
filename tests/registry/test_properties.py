"""Properties of every environment over configurations and actions: what is allowed works, what is not is named.

`EDGE_ENVS_PROPERTIES=thorough` tries 20 times as many examples.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Union, cast

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import event, given, note
from hypothesis import strategies as st

from edge_envs.core.env import EdgeEnv, EdgeVectorEnv
from edge_envs.core.runtime.checking import Checked
from tests.helpers import assert_same, row_of
from tests.registry import strategies
from tests.registry.cases import SPECS, Case, every_id
from tests.registry.strategies import Options, Shape, effort, shape_of

STEPS = 3
EPISODE = 2
"""Steps after which a row starts a new episode."""
SMALL: dict[str, Options] = {
    "LyaPPO-v0": {"num_devices": 2},
    "DTIRS-v0": {"num_devices": 2, "num_elements": 4, "num_antennas": 2},
    "ECCNOMA-v0": {"num_users": 3, "num_subchannels": 2},
    "SemCom-v0": {"num_devices": 2, "calibration_rounds": 10},
}


def config_class(case: Case) -> Any:
    return type(case.system().config)


def small(case: Case) -> Case:
    return Case(case.env_id, dict(SMALL[case.env_id]))


def worlds(case: Case, options: Options) -> tuple[EdgeVectorEnv, list[gym.Env[Any, Any]]]:
    """Two worlds as one batch and one by one, all checked at every step."""
    mode = gym.vector.AutoresetMode.SAME_STEP
    batch = Case(case.env_id, options).vector(2, mode, check=True, max_episode_steps=EPISODE)
    return batch, [Case(case.env_id, options).single(check=True, max_episode_steps=EPISODE) for _ in range(2)]


def complains(error: ValueError, config: Any) -> bool:
    """Return True if an error is one line that names a field, or says that parameters are too extreme."""
    text = str(error)
    # A name of one word could be any word.
    named = any(
        re.search(rf"\b{name}\b" if "_" in name else rf"\b{name}\b['=\[]", text) for name in config.model_fields
    )
    return "\n" not in text and (named or "with these parameters" in text)


def follow(batch: EdgeVectorEnv, singles: list[gym.Env[Any, Any]], data: st.DataObject) -> None:
    """Walk through the ends of episodes: every row equals its single environment, to the last bit."""
    for _ in range(STEPS):
        chosen = data.draw(strategies.actions(batch.single_action_space, 2), label="actions")
        observation, reward, terminated, truncated, info = batch.step(chosen)
        for row, env in enumerate(singles):
            alone = env.step(chosen[row])
            ended = bool(terminated[row] or truncated[row])
            assert (float(reward[row]), bool(terminated[row]), bool(truncated[row])) == (alone[1], alone[2], alone[3])
            assert np.isfinite(float(alone[1]))
            last = info["final_obs"][row] if ended else observation[row]
            assert_same(last, alone[0], f"observation of row {row}")
            if ended:
                assert_same(row_of(info["final_info"], row), alone[4], f"info of row {row}")
                assert_same(observation[row], env.reset()[0], f"first observation of row {row}")
            else:
                assert_same(row_of(info, row), alone[4], f"info of row {row}")


@every_id
def test_any_valid_configuration_works(case):
    """Either it is refused with a word on which field, or two worlds run, keep every invariant and equal single ones.

    At the most half of the examples may be refused.
    """
    config = config_class(case)
    seen: Counter[str] = Counter()

    @effort(30)
    @given(strategies.configurations(config), st.integers(0, 2**32), st.data())
    def works(options: Options, seed: int, data: st.DataObject) -> None:
        try:
            batch, singles = worlds(case, options)
            observation, _ = batch.reset(seed=seed)
            for row, env in enumerate(singles):
                assert_same(env.reset(seed=seed + row)[0], observation[row])
            follow(batch, singles, data)
        except ValueError as error:
            if not complains(error, config):
                raise AssertionError(f"names no field: {error}") from error
            event("refused")
            note(str(error))
            seen["refused"] += 1
        else:
            seen["made"] += 1

    works()
    assert seen["made"] >= seen["refused"], f"hardly anything tried: {dict(seen)}"


@pytest.mark.parametrize(
    ("env_id", "options"),
    [
        ("LyaPPO-v0", {"bandwidth_hz": 1.0}),
        ("LyaPPO-v0", {"slot_s": 1e-8}),
        ("LyaPPO-v0", {"device_energy_coefficient": 1e-16}),
        ("LyaPPO-v0", {"device_frequency_max_hz": 1e30}),
        ("LyaPPO-v0", {"networks": ["resnet18@65536"], "num_services": 1}),
    ],
)
def test_what_once_broke_works(env_id, options):
    """Configurations whose certificates lost their digits, or whose numbers overflowed."""
    env = Case(env_id, options).bare(check=True)
    env.reset(seed=1)
    env.action_space.seed(0)
    for _ in range(4):
        env.step(env.action_space.sample())
    assert isinstance(env.world, Checked)
    assert env.world.verified > 4


@pytest.mark.parametrize(
    "options",
    [
        {"num_devices": 4, "calibration_rounds": 7, "loss_at_1_km_db": 220},
        {"num_devices": 4, "calibration_rounds": 7, "loss_at_1_km_db": 300, "preset": "mild", "samples": 1000},
        {"num_devices": 4, "calibration_rounds": 7, "loss_at_1_km_db": 220, "geometry": "random"},
    ],
)
def test_links_beyond_measure(options):
    """SemCom's certificate would fail once a round costs some 1e7, and rewards would be NaN at 1e17."""
    env = Case("SemCom-v0", options).bare()
    with pytest.raises(ValueError, match=r"a round's cost is .* with these parameters, and must be at most 1000000.0"):
        env.reset(seed=0)


@pytest.mark.parametrize(
    ("env_id", "options", "words"),
    [
        ("LyaPPO-v0", {"num_devices": 1024, "queue_capacity": 10**6}, "num_devices=1024, num_services=2, queue_cap"),
        ("LyaPPO-v0", {"num_devices": 1024, "slots_per_period": 10_000}, "slots_per_period=10000 take"),
        ("SemCom-v0", {"num_devices": 10_000, "calibration_rounds": 100_000}, "calibration_rounds=100000 take"),
        ("ECCNOMA-v0", {"num_users": 4096, "num_aps": 64, "num_subchannels": 1024}, "num_subchannels=1024 take"),
    ],
)
def test_what_takes_too_much_memory_is_named(env_id, options, words):
    with pytest.raises(ValueError, match=r"GiB of memory for one world") as caught:
        gym.make(env_id, **options)
    assert words in str(caught.value)


def field_cases() -> list[Any]:
    """Every field of every configuration."""
    return [
        pytest.param(small(Case(spec.id)), name, id=f"{spec.id}-{name}")
        for spec in SPECS
        for name in config_class(Case(spec.id)).model_fields
    ]


ANY_SIZE = {"devices_seed", "geometry_seed", "k_min"}
"""Seeds, and what is compared with a network's cuts."""


@pytest.mark.parametrize(("case", "name"), field_cases())
def test_every_number_has_limits(case, name):
    """Otherwise there are values at which numbers overflow, and the strategies would not try the ends."""

    def numbers(shape: Shape) -> list[Shape]:
        if shape.kind in (int, float):
            return [shape]
        return [part for each in shape.inner() for part in numbers(each)] if shape.kind in (tuple, Union) else []

    for number in numbers(shape_of(config_class(case), name)):
        assert np.isfinite(number.bounds.least)
        assert np.isfinite(number.bounds.most) or name in ANY_SIZE


@pytest.mark.parametrize(("case", "name"), field_cases())
def test_any_invalid_value_is_named(case, name):
    """Another type, no number, beyond the limits: a `ValueError` of one line with the field and the value."""
    for value in strategies.invalid(shape_of(config_class(case), name)):
        with pytest.raises(ValueError, match=name) as caught:
            gym.make(case.env_id, **{**case.options, name: value})
        text = str(caught.value)
        assert type(caught.value) is ValueError
        assert "\n" not in text
        shown = [repr(value), *(repr(each) for each in (value if isinstance(value, (list, tuple, np.ndarray)) else ()))]
        assert any(each.splitlines()[0] in text for each in shown), f"{value!r} is not shown: {text}"


@every_id
def test_any_unknown_key_is_named(case):
    """Any name that is no parameter is refused as such."""
    system, make = case.system(), cast(Any, EdgeEnv)
    known = {*config_class(case).model_fields, "system", "preset", "check", "render_mode"}

    @effort(20)
    @given(st.text(max_size=20).filter(lambda key: key not in known and key not in {"id", "max_episode_steps"}))
    def refused(key: str) -> None:
        with pytest.raises(ValueError, match="unexpected keyword argument") as caught:
            make(type(system), **{key: 1})
        assert repr(key) in str(caught.value)

    refused()


BAD_COUNTS: tuple[Any, ...] = (0, -3, 2.5, True, "3", [3], float("nan"), {}, object())


@every_id
def test_bad_counts_of_a_vector_are_named(case):
    make_vec = cast(Any, gym.make_vec)
    for value in BAD_COUNTS:
        for name in ("num_envs", "max_episode_steps"):
            with pytest.raises(ValueError, match=f"{name}=") as caught:
                make_vec(case.env_id, **{"num_envs": 1, name: value})
            assert repr(value) in str(caught.value)


@every_id
def test_bad_episode_lengths_are_named(case):
    """Of a single environment by Gymnasium's `TimeLimit`, which takes True for 1 and -1 for no limit."""
    for value in BAD_COUNTS:
        if value is not True:
            with pytest.raises((ValueError, TypeError), match="max_episode_steps"):
                gym.make(case.env_id, max_episode_steps=value)


def contents(env: EdgeVectorEnv | EdgeEnv) -> list[Any]:
    """All that a later step can depend on: the state's bytes and the generators."""
    rngs = env.rngs if isinstance(env, EdgeVectorEnv) else [env.np_random]

    def arrays(state: Any) -> list[Any]:
        return [arrays(value) if isinstance(value, tuple) else np.asarray(value).tobytes() for value in state]

    return [arrays(env.state), [rng.bit_generator.state for rng in rngs]]


@pytest.mark.parametrize("joint", [False, True])
@every_id
def test_any_invalid_action_is_named_and_leaves_no_trace(case, joint):
    """Of a batch or of a single world: refused, the state untouched, and the next step that of a twin without it."""
    options = small(case).options
    if joint:
        if "joint" not in str(config_class(case).model_fields.get("decision")):
            pytest.skip("its agent decides indices alone")
        options |= {"decision": "joint"}
    made = Case(case.env_id, options)
    batch, twin, single = made.vector(2), made.vector(2), made.bare()
    for env in (batch, twin, single):
        env.reset(seed=5)
    low, high = batch.system._action_bounds

    @effort(30)
    @given(st.data())
    def refused(data: st.DataObject) -> None:
        good = data.draw(strategies.actions(batch.single_action_space, 2))
        bad, words = data.draw(strategies.spoilt(good, low, high))
        before = contents(batch)
        with pytest.raises(ValueError, match=r"action|inhomogeneous") as caught:
            batch.step(bad)
        assert words in str(caught.value) or "inhomogeneous" in str(caught.value)
        assert contents(batch) == before
        assert_same(batch.step(good), twin.step(good))
        alone, words = data.draw(strategies.spoilt(good[:1], low, high))
        before = contents(single)
        with pytest.raises(ValueError, match=r"action|inhomogeneous"):
            single.step(alone[0] if isinstance(alone, (np.ndarray, list)) and len(alone) else alone)
        assert contents(single) == before

    refused()
