"""The benchmarks' arithmetic and output. How fast anything is, no test says."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tyro")
pytest.importorskip("torch")

from benchmarks import cli, lyappo, mobile_env, shell
from benchmarks.timing import Row, Side, Skipped, Worker, interleave, timed
from benchmarks.worlds import ShellWorlds, SystemWorlds, sampled_actions, vector_env
from edge_envs.core.env import EdgeEnv

ROOT = Path(__file__).parents[1]
ECHO = 'import sys; print(\'{"numpy": "9"}\', flush=True)\nfor line in sys.stdin: print(0.25, flush=True)'


def row(kind: str, ours: float, other: float, target: float | None) -> Row:
    """A row whose medians are given."""
    return Row(
        "name", "step", Side("a", ours * np.array([1.0, 1.0, 9.0])), Side("b", other * np.array([1.0, 1.0, 9.0])),
        kind=kind, target=target,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "target", "ratio", "met"),
    [
        ("speed-up", 4.0, 4.0, True),
        ("speed-up", 4.1, 4.0, False),
        ("cost", 0.25, 0.25, True),
        ("cost", 0.24, 0.25, False),
        ("cost", None, 0.25, None),
    ],
)
def test_a_row_compares_medians(kind: str, target: float | None, ratio: float, met: bool | None) -> None:
    compared = row(kind, 1.0, 4.0, target)
    assert compared.ratio == pytest.approx(ratio)
    assert compared.met is met
    assert compared.ratio_quartiles == pytest.approx((ratio, ratio))


def test_ratio_quartiles_pair_the_repetitions() -> None:
    """A machine that slows down tenfold halfway changes both sides, and the ratio of neither."""
    drift = np.array([1.0, 1.0, 10.0, 10.0, 10.0])
    compared = Row("name", "step", Side("a", 2 * drift), Side("b", drift), kind="cost")
    assert compared.ratio_quartiles == pytest.approx((2.0, 2.0))


def test_row_as_json() -> None:
    side = Side("a", np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert side.as_json() == {"label": "a", "median_s": 3.0, "quartiles_s": [2.0, 4.0]}
    written = json.loads(json.dumps(Row("name", "step", side, side, kind="cost", target=1.0).as_json()))
    assert written["repetitions"] == 5
    assert (written["ratio"], written["target"], written["met"]) == (1.0, 1.0, True)


def test_interleaving_alternates_and_drops_the_warm_up() -> None:
    calls: list[str] = []

    def sampler(label: str) -> float:
        calls.append(label)
        return float(len(calls))

    sides = interleave({label: lambda label=label: sampler(label) for label in "ab"}, 3, warm_up=1)  # type: ignore[misc]
    assert "".join(calls) == "ba" + "ab" + "ba" + "ab"
    assert sides["a"].seconds.tolist() == [3.0, 6.0, 7.0]
    assert sides["b"].seconds.tolist() == [4.0, 5.0, 8.0]


def test_timed_counts_units(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 16.0])
    monkeypatch.setattr("benchmarks.timing.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert timed(lambda: None, units=3)() == 2.0


def test_worker_answers() -> None:
    with Worker([sys.executable, "-c", ECHO]) as worker:
        assert worker.about == {"numpy": "9"}
        assert [worker.sample(), worker.sample()] == [0.25, 0.25]


@pytest.mark.parametrize("script", ["raise SystemExit('gone')", "print('{}', flush=True); raise SystemExit('gone')"])
def test_worker_that_dies_is_skipped(script: str) -> None:
    with pytest.raises(Skipped, match="status 1: gone"), Worker([sys.executable, "-c", script]) as worker:
        worker.sample()


def test_what_cannot_be_installed_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(Skipped, match="cannot be installed"):
        mobile_env.install(file / "below")


def test_shell_and_system_are_timed_on_the_same_worlds() -> None:
    env = vector_env("LyaPPO-v0", 3)
    actions = sampled_actions(env)
    over, under = ShellWorlds(env, actions), SystemWorlds(env.system, 3, actions)
    over.run(3)
    under.run(3)
    np.testing.assert_array_equal(env.system.observe(env.state), under.system.observe(under.state))


def test_good_partition_is_an_action() -> None:
    env = vector_env("LyaPPO-v0", 2)
    (action,) = lyappo.good_partition(env)
    assert env.action_space.contains(action)


def test_episodes_take_as_many_steps_as_they_are_divided_by(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0
    step = EdgeEnv.step

    def counted(env: EdgeEnv, action: Any) -> Any:
        nonlocal taken
        taken += 1
        return step(env, action)

    monkeypatch.setattr(EdgeEnv, "step", counted)
    play, steps = shell.episodes("LyaPPO-v0")
    play()
    assert steps == taken


def test_selection() -> None:
    assert list(cli.select(())) == list(cli.BENCHMARKS)
    assert list(cli.select(("shell",))) == list(shell.BENCHMARKS)
    assert list(cli.select(("shell.vector", "lyappo.slot"))) == ["lyappo.slot", "shell.vector"]
    with pytest.raises(ValueError, match=r"--only 'shel' .* shell\.vector"):
        cli.select(("shel",))


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.0, "2 s"), (0.0213, "21.3 ms"), (5.432e-6, "5.43 µs"), (9.1e-7, "910 ns")]
)
def test_durations(seconds: float, text: str) -> None:
    assert cli.duration(seconds) == text


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        capture_output=True, text=True, timeout=600, cwd=ROOT, env=environment, check=False,
    )  # fmt: skip


def test_command_line_writes_what_it_measured(tmp_path: Path) -> None:
    file = tmp_path / "speed.json"
    done = run("--quick", "--repetitions", "2", "--only", "shell.pendulum", "--json", str(file))
    assert done.returncode == 0, done.stderr
    assert "Pendulum-v1" in done.stdout
    document = json.loads(file.read_text())
    assert {"rows", "skipped", "versions", "machine", "threads", "git", "repetitions", "seconds"} <= set(document)
    assert set(document["threads"].values()) == {"1"}
    assert document["torch_threads"] == 1
    assert document["machine"]["cpu"]
    assert {"numpy", "gymnasium", "numba", "cvxpy"} <= set(document["versions"])
    for each in document["rows"]:
        assert set(each) == {
            "benchmark", "name", "unit", "kind", "ours", "other", "ratio", "ratio_quartiles", "target", "met",
            "repetitions",
        }  # fmt: skip
        assert each["repetitions"] == 2
        for side in (each["ours"], each["other"]):
            low, high = side["quartiles_s"]
            assert 0.0 < low <= side["median_s"] <= high
        assert each["ratio"] == pytest.approx(each["other"]["median_s"] / each["ours"]["median_s"])
    assert len(document["rows"]) == len(shell.ENVIRONMENTS)


@pytest.mark.parametrize("arguments", [("--only", "nothing"), ("--repetitions", "-1"), ("--json", "no/such/folder")])
def test_command_line_refuses(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert arguments[1] in done.stderr
