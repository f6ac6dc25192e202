"""The checking mode: silent and without effect where all is well, and every invariant can fail."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from agents.worlds import make_worlds
from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.invariants import BrokenInvariant
from edge_envs.core.runtime.checking import Checked, selected
from tests.agents.crowd import CrowdSystem
from tests.agents.toy import ToySystem
from tests.helpers import assert_same, random_actions, rollout
from tests.registry.cases import EPISODE, Case, all_cases, every_case, every_id

ROWS, STEPS = 3, 2 * EPISODE + 3

Change = Callable[[np.ndarray], Any]


def plus(amount: float) -> Change:
    return lambda values: values + amount


def times(factor: float) -> Change:
    return lambda values: values * factor


def to(value: float) -> Change:
    return lambda values: np.full_like(values, value)


WHOLE = slice(None)
"""Change a row's whole array, and not its largest entry alone."""
LYAPPO: dict[str, tuple[Any, ...]] = {
    "tasks_conserved": ("state.finished", plus(-1)),
    "queue_room": ("state.queues.size", plus(2000)),
    "work_conserved": ("state.queues.backlog", plus(1e6)),
    "head": ("state.queues.head", times(100.0)),
    "empty_queue": ("state.queues.size", to(0)),
    "distance": ("state.distance_m", times(10.0)),
    "cut_range": ("state.cut", to(-1)),
    "allocation_slot": ("state.allocation", to(-1.0)),
    "local_capacity_slot": ("state.allocation", plus(1e9), 0),
    "edge_capacity_slot": ("state.allocation", plus(1e10), 2),
    "power_slot": ("state.power_w", plus(0.3)),
    "allocation_period": ("state.period_allocation", to(-1.0)),
    "local_capacity_period": ("state.period_allocation", plus(1e9), 0),
    "edge_capacity_period": ("state.period_allocation", plus(1e10), 2),
    "power_period": ("state.period_power_w", plus(0.3)),
    "rate": ("state.period_allocation", plus(1e8), 1),
    "one_cut_per_service": ("state.cut", plus(-1)),
    "period_arrivals": ("state.period_arrivals", plus(1)),
    "tasks_arrived": ("metric.tasks_arrived", plus(1)),
    "tasks_finished": ("metric.tasks_finished", plus(1)),
    "tasks_dropped": ("metric.tasks_dropped", plus(1)),
    "work_served": ("state.period_allocation", times(0.5), WHOLE),
    "work_arrived": ("state.queues.backlog", plus(1e7), 0),
    "energy_transmit": ("state.energy_transmit_j", times(1.001)),
    "energy_local": ("state.energy_local_j", plus(0.1)),
    "energy_total": ("metric.energy_j", times(1.001)),
    "power_reported": ("member.power_mw", times(1.001)),
    "member_reward": ("outcome.member_reward", times(1.001), WHOLE),
    "finished_ratio": ("metric.finished_ratio", plus(0.01)),
    "certificate": ("state.certificate", plus(1e-6)),
    "certificate_known": ("metric.certificate", to(np.nan)),
    "certificate_certifies": ("metric.certificate", to(-1.0)),
    "power_requested": ({"decision": "joint"}, "state.power_w", plus(0.2)),
    "requests_projected_counts": ("metric.requests_projected", to(-1.0)),
}
SEMCOM: dict[str, tuple[Any, ...]] = {
    "queue": ("state.queue_db", to(-0.1)),
    "compression_range": ("state.compression", plus(0.3)),
    "bandwidth_sum": ("member.bandwidth_hz", times(1.001), WHOLE),
    "bandwidth": ("member.bandwidth_hz", to(-1.0)),
    "power": ("member.power_w", plus(0.1)),
    "device_frequency": ("member.device_frequency_hz", plus(1e9)),
    "server_frequency": ("member.server_frequency_hz", plus(5e9)),
    "compression_reported": ("member.compression", times(1.001)),
    "compression_chosen": ("state.compression", times(0.999)),
    "bits_sent": ("member.upload_s", times(0.999)),
    "device_delay": ("member.delay_s", times(0.999)),
    "round_delay": ("metric.delay_s", times(0.999)),
    "missed_deadlines": ("metric.missed_deadlines", plus(1)),
    "energy_compute": ("metric.energy_compute_j", times(1.001)),
    "energy_transmit": ("metric.energy_transmit_j", times(1.001)),
    "energy_server": ("metric.energy_server_j", times(1.001)),
    "energy_total": ("metric.energy_j", times(1.001)),
    "objective": ("metric.objective", times(1.001)),
    "cost": ("metric.cost", times(1.001)),
    "psnr": ("member.psnr_db", times(1.001)),
    "shortfall": ("member.shortfall_db", plus(0.01)),
    "rounds": ("state.rounds", plus(1)),
    "psnr_sum": ("state.psnr_sum_db", plus(0.01)),
    "queue_update": ("state.queue_db", plus(0.01)),
    "reward": ("outcome.reward", plus(0.01)),
    "relaxed_devices": ("metric.relaxed_devices", plus(1)),
    "certificate": ("metric.certificate", plus(1e-3)),
    "certificate_certifies": ("metric.certificate", plus(-1.0)),
    "missed_deadlines_counts": ("metric.missed_deadlines", to(11)),
    "relaxed_devices_counts": ("metric.relaxed_devices", to(0.5)),
}
MOVES = {"migration": True, "twins": "none"}
TWINS = {"num_devices": 3, "num_elements": 6, "num_antennas": 2}
DTIRS: dict[str, tuple[Any, ...]] = {
    "distance": ("state.distance_m", times(10.0)),
    "pool_level": ("state.level", to(-1)),
    "capacity": ("state.capacity_flop_s", times(1.001)),
    "unit_phases": ("state.phase", times(1.001), WHOLE),
    "gain_downlink": ("state.gain_down", times(1.001)),
    "gain_uplink": ("state.gain_up", times(1.001)),
    "choice": ("state.choice", plus(-1)),
    "held": ("state.held", plus(-1)),
    "migration": (MOVES, "member.migration_s", to(-1.0)),
    "sum_migration": (MOVES, "metric.migration_s", plus(0.01)),
    "migration_bits": (MOVES, "member.migration_bits", plus(1.0)),
    "changed": (MOVES, "member.changed", plus(1)),
    "cut": ("member.cut", plus(1)),
    "power": ("member.power_w", plus(0.3)),
    "power_sum": ("member.power_w", times(1.001), WHOLE),
    "twin_or_device": ("member.twin", to(0.5)),
    "boost": ("member.twin", to(0.0), WHOLE),
    "back_end": ("member.back_end_flop_s", to(-1.0)),
    "pool_sum": ("member.back_end_flop_s", times(1.001), WHOLE),
    **{f"delay_{part}": (f"member.delay_{part}_s", plus(0.01)) for part in ("downlink", "uplink", "compute", "sync")},
    **{f"sum_{part}": (f"metric.delay_{part}_s", plus(0.01)) for part in ("downlink", "uplink", "compute", "sync")},
    "delay_back_end": ("member.delay_back_end_s", plus(0.01)),
    "sum_back_end": ("metric.delay_back_end_s", plus(0.01)),
    "delay_adds_up": ("member.delay_s", times(1.001)),
    "delay_max": ("metric.delay_max_s", times(1.001)),
    "deadline_violations": ("metric.deadline_violations", plus(1)),
    "rate_violations": ("metric.rate_violations", plus(1)),
    "energy": ("metric.energy_j", times(1.001)),
    "objective": ("metric.objective_s", times(1.001)),
    "reward": ("outcome.reward", plus(0.01)),
    **{name: (f"metric.{name}", plus(1.01)) for name in ("phase_gap", "twin_gap", "local_share", "twin_share")},
    "certificate": ("metric.certificate", plus(1e-4)),
    **{f"{name}_known": (f"metric.{name}", to(np.nan)) for name in ("phase_gap", "twin_gap", "certificate")},
    **{f"{name}_certifies": (f"metric.{name}", to(-1.0)) for name in ("phase_gap", "twin_gap", "certificate")},
    "certificate_finite": ("metric.certificate", to(np.inf)),
    "no_twin": ({**TWINS, "twins": "none"}, "member.twin", to(1.0)),
    "twins_by_threshold": ({"preset": "paper", **TWINS}, "member.twin", lambda twin: 1.0 - twin, WHOLE),
    "backlog": ({**TWINS, "backlog": True}, "state.backlog_flop", plus(1e9)),
    "rate_violations_counts": ("metric.rate_violations", to(-1)),
    "deadline_violations_counts": ("metric.deadline_violations", to(11)),
}
CROWDED = {"num_aps": 1, "num_subchannels": 12, "capacity": 1, "arrivals": "one"}
PRINTED = {"preset": "paper", "num_users": 12, "num_aps": 3, "num_subchannels": 4}
SLICES = {"preset": "planning"}
GAPS = ("certificate", "server_gap", "assignment_gap_uplink", "assignment_gap_downlink")
ECCNOMA: dict[str, tuple[Any, ...]] = {
    "open_choice": ("outcome.observation", to(0.0), WHOLE),
    "mask_entries": ("outcome.observation", to(0.25), WHOLE),
    "one_group": ("outcome.observation", to(1.0), WHOLE),
    "nearest_ap": ("state.ap", lambda ap: 1 - ap, WHOLE),
    "queue_room": ("state.queue", plus(20.0)),
    "background_level": ("state.level", to(-1)),
    "reference": ("state.reference", times(1.001)),
    "choice": ("state.choice", plus(-1)),
    "ap": ("member.ap", lambda ap: 1 - ap),
    "power_uplink": ("member.power_uplink_w", times(100.0)),
    "power_downlink": ("member.power_downlink_w", to(0.0)),
    "rate_uplink": ("member.rate_uplink_bit_s", times(1.001)),
    "rate_downlink": ("member.rate_downlink_bit_s", times(1.001)),
    "subchannel": ("member.subchannel", plus(0.5)),
    "band_uplink": ("member.subchannel", to(-1)),
    "band_capacity_uplink": (CROWDED, "member.subchannel", to(0), WHOLE),
    "overflow": ("metric.overflow", plus(1)),
    "band_downlink": ("scratch.workspace.down.band", to(-1)),
    "band_capacity_downlink": (CROWDED, "scratch.workspace.down.band", to(0), WHOLE),
    "one_seat_uplink": ("scratch.workspace.up.user", to(0), WHOLE),
    "one_seat_downlink": ("scratch.workspace.down.user", to(0), WHOLE),
    "units": ("member.server_units", plus(6.0)),
    "pool_sum": ("member.server_units", plus(3.0)),
    "units_reported": ("metric.server_units", plus(0.01)),
    **{f"delay_{part}": (f"member.delay_{part}_s", plus(0.01)) for part in ("device", "uplink", "server", "downlink")},
    "delay_adds_up": ("member.delay_s", times(1.001)),
    "energy_adds_up": ("member.energy_j", times(1.001)),
    "tasks_finished": ("member.tasks_finished", plus(20.0)),
    "time_of_step": ("member.tasks_finished", times(100.0), WHOLE),
    "tasks_conserved": ("state.queue", times(0.99)),
    "drops": ("member.tasks_dropped", plus(1.0)),
    "no_idling": ("member.tasks_finished", times(0.5), WHOLE),
    "cost": ("member.cost", times(1.001)),
    "member_reward": ("outcome.member_reward", times(1.001), WHOLE),
    "total_cost": ("metric.cost", times(1.001)),
    "tasks_finished_sum": ("metric.tasks_finished", plus(0.01)),
    "tasks_dropped_sum": ("metric.tasks_dropped", plus(0.01)),
    "certificate": ("metric.certificate", plus(0.1)),
    "server_gap": ("metric.server_gap", plus(1.1)),
    **{f"{name}_given": (f"metric.{name}", to(np.nan)) for name in GAPS},
    **{f"{name}_certifies": (f"metric.{name}", to(-1.0)) for name in GAPS},
    "one_task": (PRINTED, "state.queue", plus(1.0)),
    "all_served": (PRINTED, "member.tasks_finished", plus(-0.5)),
    "backlog_tasks_counts": ("metric.backlog_tasks", to(-1.0)),
    "overflow_counts": ("metric.overflow", to(13)),
    "slices_of_ap": (SLICES, "state.holds", to(1), WHOLE),
    "loaded": (SLICES, "state.loaded", plus(9)),
    "holders_stay": (SLICES, "state.holds", to(0), WHOLE),
    "only_for_those_that_ask": (SLICES, "state.holds", to(1), WHOLE),
    "no_slice_idle": (SLICES, "state.holds", to(0), WHOLE),
    "loading": (SLICES, "state.loaded", plus(1)),
    "slices_used": (SLICES, "metric.slices_used", plus(1)),
    "slices_loading": (SLICES, "metric.slices_loading", plus(1)),
}
COMMON: dict[str, tuple[Any, ...]] = {
    "observation_space": ("outcome.observation", to(11.0)),
    "member_rewards_add_up": ("outcome.reward", plus(1e-3)),
    "reward_finite": ("outcome.reward", to(np.nan)),
    "member_reward_finite": ("outcome.member_reward", to(np.inf)),
    "certificate_finite": ("metric.certificate", to(np.inf)),
}
TASKS = {f"tasks_{name}_counts": (f"metric.tasks_{name}", to(-1.0)) for name in ("arrived", "finished", "dropped")}
BREAKS = {
    "LyaPPO-v0": {**COMMON, **TASKS, **LYAPPO, "state_power_w_finite": ("state.power_w", to(np.nan)),
                  "state_queues.head_finite": ("state.queues.head", to(np.inf)),
                  "state_queues.start_limits": ("state.queues.start", to(-1)),
                  "member_power_mw_finite": ("member.power_mw", to(np.nan))},
    "SemCom-v0": {**COMMON, **SEMCOM},
    "DTIRS-v0": {**COMMON, **DTIRS},
    "ECCNOMA-v0": {**COMMON, **TASKS, **ECCNOMA},
}  # fmt: skip
"""Invariant -> what breaks it in the last row: options if any, what is changed, how, which entries but the largest."""


def all_breaks() -> list[Any]:
    found = []
    for env_id, breaks in BREAKS.items():
        for name, spec in breaks.items():
            options, path, change = arguments(spec)
            found.append(pytest.param(Case(env_id, options), name, path, change, id=f"{env_id}-{name}"))
    return found


def arguments(spec: tuple[Any, ...]) -> tuple[Any, ...]:
    """(options, path, change of an array) of a line of the table."""
    options, spec = (spec[0], spec[1:]) if isinstance(spec[0], dict) else ({}, spec)
    return options, spec[0], partial(change_entries, spec[1], spec[2] if len(spec) > 2 else None)


def change_entries(change: Change, which: Any, array: np.ndarray) -> None:
    """Change the largest entry of an array, or those of an index, in place."""
    if which is None:
        which = np.unravel_index(np.abs(array).argmax(), array.shape)
    array[which] = change(array[which])


def break_step(env: Any, path: str, change: Callable[[np.ndarray], None], monkeypatch: Any) -> None:
    """Let the system's next steps go wrong in their last row."""
    step = env.system.step

    def broken(state: Any, rows: Any, *rest: Any) -> Any:
        outcome = step(state, rows, *rest)
        kind, _, name = path.partition(".")
        if kind == "scratch":
            change(attrgetter(name)(state))
        elif kind == "metric":
            column = [metric.name for metric in env.system.metrics].index(name)
            change(outcome.metrics[rows[-1], column : column + 1])
        else:
            found = (
                outcome.member_metrics[name]
                if kind == "member"
                else attrgetter(name)({"state": state}.get(kind, outcome))
            )
            change(found[rows[-1] : rows[-1] + 1] if found.ndim == 1 else found[rows[-1]])
        return outcome

    monkeypatch.setattr(env.system, "step", broken)


def listen(env: Any, monkeypatch: Any) -> tuple[set[str], set[str]]:
    """Names of all invariants and of the broken ones, filled while the environment runs on."""
    names: set[str] = set()
    broken: set[str] = set()

    def verify(rows: Any, invariants: Any) -> None:
        with np.errstate(all="ignore"):
            for invariant in invariants:
                names.add(invariant.name)
                # so that the message names the row
                assert np.shape(invariant.deviation())[:1] in {(len(rows),), (1,)} or invariant.name.endswith("_finite")
                if not invariant.holds():
                    broken.add(invariant.name)

    monkeypatch.setattr(env.world, "verify", verify)
    return names, broken


@every_case
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_nothing_is_broken_and_nothing_changes(case, mode):
    """Some episodes of random actions with their resets, in every mode: as without checks, bit for bit."""
    plain, checked = case.vector(ROWS, mode), case.vector(ROWS, mode, check=True)
    actions = random_actions(plain.action_space, STEPS)
    if mode is not AutoresetMode.DISABLED:
        assert_same(rollout(checked, actions, seed=3), rollout(plain, actions, seed=3))
        return
    for env in (plain, checked):
        env.reset(seed=3)
    for i, action in enumerate(actions[:EPISODE]):
        assert_same(checked.step(action), plain.step(action))
        if i == 3:
            some = {"reset_mask": np.array([False, True, False])}
            assert_same(checked.reset(options=some), plain.reset(options=some))
    assert checked.world.verified > 0


@every_id
def test_a_single_environment_checks_as_well(case, monkeypatch):
    plain, checked = case.single(), case.single(check=True)
    actions = random_actions(plain.action_space, STEPS)
    assert_same(rollout(checked, actions, seed=3), rollout(plain, actions, seed=3))
    assert isinstance(checked.unwrapped.world, Checked)
    assert not isinstance(plain.unwrapped.world, Checked)


@every_id
def test_what_is_broken_is_reported(case, monkeypatch):
    """The message names the invariant, the row, the step of the row's episode, and the numbers."""
    env = case.vector(ROWS, check=True)
    env.reset(seed=0)
    actions = random_actions(env.action_space, 3)
    env.step(actions[0])
    env.reset(options={"reset_mask": np.array([True, True, False])})
    env.step(actions[1])
    break_step(env, "outcome.reward", partial(change_entries, plus(1.0), None), monkeypatch)
    with pytest.raises(BrokenInvariant, match=r"'member_rewards_add_up' is broken in row 2 at step 3 of its episode: "
                       r"-?\d.* should be == -?\d.* and misses it by 1, "):  # fmt: skip
        env.step(actions[2])


@pytest.mark.parametrize(("case", "name", "path", "change"), all_breaks())
def test_every_invariant_can_fail(case, name, path, change, monkeypatch):
    env = case.vector(ROWS, check=True)
    env.reset(seed=0)
    actions = random_actions(env.action_space, 6)
    for action in actions[:-1]:
        env.step(action)
    break_step(env, path, change, monkeypatch)
    _, broken = listen(env, monkeypatch)
    env.step(actions[-1])
    assert name in broken


@every_case
def test_no_invariant_is_left_out(case, monkeypatch):
    """The table of breaks has a line for everything verified; numbers that must be finite are alike."""
    env = case.vector(2, check=True)
    names, broken = listen(env, monkeypatch)
    env.reset(seed=0)
    env.step(random_actions(env.action_space, 1)[0])
    assert not broken
    assert {name for name in names if not name.endswith(("_finite", "_limits", "_declared"))} <= BREAKS[
        case.env_id
    ].keys()


def test_the_table_covers_all_cases():
    assert {case.values[0].env_id for case in all_cases()} == BREAKS.keys()


def test_rows_of_a_state():
    """Views of all rows, copies of some, nested ones too, and scratch as it is."""
    env = Case("LyaPPO-v0").vector(ROWS)
    env.reset(seed=0)
    part = selected(env.state, np.array([0, 2]), env.system.scratch)
    np.testing.assert_array_equal(part.queues.backlog, env.state.queues.backlog[[0, 2]])
    assert part.rate_max is env.state.rate_max
    assert selected(env.state, slice(None)).cut.base is env.state.cut


@pytest.mark.parametrize("system", [ToySystem, CrowdSystem])
def test_any_system_can_be_checked(system, monkeypatch):
    """Also one that says nothing of invariants, and whose state is a dataclass."""
    env = EdgeVectorEnv(system, ROWS, check=True, max_episode_steps=EPISODE)
    env.reset(seed=0)
    actions = random_actions(env.action_space, STEPS)
    for action in actions:
        env.step(action)
    assert isinstance(env.world, Checked)
    assert env.world.verified > STEPS
    break_step(env, "outcome.member_reward", partial(change_entries, plus(1.0), None), monkeypatch)
    with pytest.raises(BrokenInvariant, match="'member_rewards_add_up' is broken in row 2"):
        env.step(actions[0])


@every_id
@pytest.mark.parametrize("check", ["yes", 1, None])
def test_check_is_true_or_false(case, check):
    for make in (partial(gym.make, case.env_id), partial(gym.make_vec, case.env_id, 2)):
        with pytest.raises(ValueError, match=f"check={check!r} is neither True nor False"):
            make(check=check)


def test_training_and_evaluation_refuse_it_as_an_option():
    with pytest.raises(ValueError, match="check=True is not a parameter of the environment"):
        make_worlds("LyaPPO-v0", 2, "default", {"check": True})
