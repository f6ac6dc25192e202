"""The soak benchmark: what it counts, what it reports, and when it fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tyro")

from agents.worlds import known_ids
from benchmarks import soak
from benchmarks.soak import Arguments, Soak
from edge_envs.core.invariants import Invariant
from edge_envs.core.runtime.checking import Checked
from edge_envs.lyappo.system import LyaPPOSystem

ID = "LyaPPO-v0"
STEPS, WORLDS = 2000, 8


def result(**changes: Any) -> Soak:
    """One that passed, but for the changes."""
    found: dict[str, Any] = {
        "env": ID, "options": {}, "steps": 10, "episodes": 1, "seconds": 1.0, "invariants": 7, "nan": 0, "broken": "",
        "memory_mib": [100.0, 103.0, 104.9],
    }  # fmt: skip
    return Soak(**{**found, **changes})


def test_two_thousand_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # what other tests have left in this process is no matter here
    monkeypatch.setattr(soak, "resident_mib", lambda: 250.0)
    file = tmp_path / "soak.json"
    assert soak.run(Arguments(env=(ID,), steps=STEPS, num_envs=WORLDS, json=file)) == 0
    (found,) = json.loads(file.read_text())
    assert (found["env"], found["steps"], found["nan"], found["broken"]) == (ID, STEPS, 0, "")
    assert found["episodes"] == WORLDS * (STEPS // WORLDS // 200)
    assert found["invariants"] > 50 * STEPS // WORLDS
    assert len(found["memory_mib"]) == soak.SAMPLES + 1
    assert found["growth"] == 0.0
    assert found["passed"]
    assert "250.0, 250.0, 250.0" in capsys.readouterr().out


def test_a_broken_invariant_ends_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    verify, seen = Checked.verify, []

    def break_late(self: Checked, rows: Any, invariants: Any) -> None:
        seen.append(rows)
        verify(self, rows, [Invariant("made_up", np.full(WORLDS, 3.0), "<=", 2.0)] if len(seen) == 20 else invariants)

    monkeypatch.setattr(Checked, "verify", break_late)
    assert soak.run(Arguments(env=(ID,), steps=STEPS, num_envs=WORLDS)) == 1
    said = capsys.readouterr().out
    assert "failed" in said
    assert f"{ID}: invariant 'made_up' is broken" in said


def test_nan_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """In running and in finished episodes, without those that an info holds after a reset."""
    step = LyaPPOSystem.step

    def spoil(self: LyaPPOSystem, *rest: Any) -> Any:
        outcome = step(self, *rest)
        outcome.member_metrics["power_mw"] = np.full(outcome.member_reward.shape, np.nan)
        return outcome

    monkeypatch.setattr(LyaPPOSystem, "step", spoil)
    monkeypatch.setattr(Checked, "verify", lambda *_: None)
    monkeypatch.setitem(soak.OPTIONS, ID, {"num_devices": 3, "max_episode_steps": 2})
    found = soak.soak(ID, 3 * WORLDS, WORLDS)
    assert (found.episodes, found.nan) == (WORLDS, 3 * WORLDS * 3)
    assert not found.passed


@pytest.mark.parametrize(
    ("changes", "passed"),
    [
        ({}, True),
        ({"memory_mib": [100.0, 105.0]}, False),
        ({"memory_mib": [100.0, 130.0, 101.0]}, True),
        ({"nan": 1}, False),
        ({"broken": "invariant"}, False),
    ],
)
def test_what_passes(changes: dict[str, Any], passed: bool) -> None:
    assert result(**changes).passed is passed
    assert result(**changes).as_json()["passed"] is passed


def test_memory_is_this_process_s() -> None:
    before = soak.resident_mib()
    block = np.ones(2**23)
    assert 60.0 < soak.resident_mib() - before < 80.0
    del block


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (Arguments(env=("LyaPO-v0",)), "env='LyaPO-v0' does not exist; did you mean 'LyaPPO-v0'"),
        (Arguments(num_envs=0), "--num-envs=0 is not possible; give a whole number >= 1"),
        (Arguments(steps=-3), "--steps=-3 is not possible; give a whole number >= 256"),
        (Arguments(json=Path("nowhere/soak.json")), "--json nowhere/soak.json: folder nowhere does not exist"),
    ],
)
def test_bad_input(arguments: Arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        soak.run(arguments)


def test_memory_is_measured_on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "STATM", Path("nowhere/statm"))
    with pytest.raises(ValueError, match=r"nowhere/statm, .* does not exist; run this command on Linux"):
        soak.run(Arguments())


def test_every_environment_is_soaked() -> None:
    """The smaller ones in their own sizes, with phases that are solved."""
    assert soak.OPTIONS.keys() <= set(known_ids())
    for env_id in known_ids():
        found = soak.soak(env_id, 4, 2)
        assert (found.env, found.steps, found.broken, found.nan) == (env_id, 4, "", 0)
        assert found.options.keys().isdisjoint({"phase", "irs", "preset"}), env_id


def test_all_are_visited_without_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, int]] = []

    def visit(env_id: str, steps: int, num_envs: int) -> Soak:
        seen.append((env_id, steps, num_envs))
        return result(env=env_id)

    monkeypatch.setattr(soak, "soak", visit)
    assert soak.run(Arguments()) == 0
    assert seen == [(env_id, 10_000_000, 256) for env_id in known_ids()]


def test_nan_where_nothing_is_certified_is_no_fault():
    info = {"certificate": np.array([np.nan, 0.0]), "cost": np.array([np.nan, 1.0]), "final_info": {}}
    nested = {"final_info": info, "episode_mean_certificate": np.array([np.nan])}
    assert soak.count_nan(info) == 2
    assert soak.count_nan(info, {"certificate"}) == 1
    assert soak.count_nan(nested, {"certificate", "episode_mean_certificate"}) == 1
