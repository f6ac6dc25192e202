"""The benchmarks' arithmetic and output. How fast anything is, no test says."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tyro")
pytest.importorskip("torch")

from rich.console import Console

from agents.hyperparameters.lookup import settings_for
from benchmarks import command_line, gym_overhead, output, training_share
from benchmarks.lyappo import solvers as lyappo_solvers
from benchmarks.mobile_env import compare as mobile_env
from benchmarks.semcom import kernels as semcom_kernels
from benchmarks.semcom import solvers as semcom_solvers
from benchmarks.semcom import steps as semcom_steps
from benchmarks.solvers import checked_sampler
from benchmarks.steps import EnvWorlds, PartWorlds, SystemWorlds, sampled_actions, vector_env
from benchmarks.timing import Bound, Number, Result, Row, Side, Skipped, Worker, interleave, per_second, timed
from edge_envs import _SYSTEMS
from edge_envs.core.env import EdgeEnv
from edge_envs.semcom.solvers import api
from edge_envs.semcom.system import SemComSystem

ROOT = Path(__file__).parents[2]
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
        ("share", 0.25, 0.25, True),
        ("share", 0.26, 0.25, False),
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


@pytest.mark.parametrize(
    ("bound", "target", "met"),
    [("at most", 2.0, True), ("at most", 1.9, False), ("at least", 2.0, True), ("at least", 2.1, False),
     ("at least", None, None)],
)  # fmt: skip
def test_a_number_is_a_median(bound: Bound, target: float | None, met: bool | None) -> None:
    side = Side("a", np.ones(5))
    number = Number("name", "exponent", "fit", np.array([1.0, 1.5, 2.0, 3.0, 90.0]), (side,), bound, target)
    assert number.met is met
    written = json.loads(json.dumps(number.as_json()))
    assert (written["value"], written["quartiles"], written["met"]) == (2.0, [1.5, 3.0], met)
    assert (written["kind"], written["unit"], written["target"]) == ("number", "exponent", target)
    assert written["sides"] == [side.as_json()]


def test_per_second() -> None:
    number = per_second("name", "step", Side("a", np.array([0.1, 0.2, 0.5])), target=6.0)
    assert (number.value, number.unit, number.met) == (pytest.approx(5.0), "steps/s", False)


def test_the_table_says_what_was_met(capsys: pytest.CaptureFixture[str]) -> None:
    side = Side("as such", np.array([2e-3]))
    rows: list[Result] = [
        Number("growth", "exponent", "fit", np.array([1.25]), (Side("N = 10", np.array([3e-6])),), "at most", 1.1),
        per_second("rate", "step", side, target=400.0),
        row("share", 1.0, 4.0, 0.2),
    ]
    Console(width=200).print(output.table(rows))
    lines = [line for line in capsys.readouterr().out.splitlines() if "│" in line]
    growth, rate, share = (next(line for line in lines if f"│ {name} " in line) for name in ("growth", "rate", "name"))
    for text in ("1.25 exponent", "≤ 1.1", "not met"):
        assert text in growth
    assert any("fit: 3 µs (N = 10)" in line for line in lines)
    for text in ("500 steps/s", "≥ 400", "│ met"):
        assert text in rate
    for text in ("share 0.25", "≥ 0.2", "│ met"):
        assert text in share


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


def test_vector_env_and_system_are_timed_on_the_same_worlds() -> None:
    env = vector_env("LyaPPO-v0", 3)
    actions = sampled_actions(env)
    over, under = EnvWorlds("LyaPPO-v0", 3, actions), SystemWorlds(env.system, 3, actions)
    over.run(3)
    under.run(3)
    np.testing.assert_array_equal(over.env.system.observe(over.env.state), under.system.observe(under.state))


@pytest.mark.parametrize("env_id", list(_SYSTEMS))
def test_a_single_world_is_the_first_of_them(env_id: str) -> None:
    env = vector_env(env_id, 2)
    actions = sampled_actions(env)
    alone, both = EnvWorlds(env_id, 1, actions), SystemWorlds(env.system, 2, actions)
    alone.run(3)
    both.run(3)
    single = alone.env.unwrapped
    assert isinstance(single, EdgeEnv)
    np.testing.assert_array_equal(single.system.observe(single.state)[0], both.system.observe(both.state)[0])


def test_every_environment_is_timed() -> None:
    assert set(gym_overhead.ENVIRONMENTS) == set(training_share.ENVIRONMENTS) == set(_SYSTEMS)


@pytest.mark.parametrize(("env_id", "decision"), [("LyaPPO-v0", "partition"), ("SemCom-v0", "compression")])
@pytest.mark.parametrize("policy", ["shared", "central"])
def test_the_training_timed_is_the_usual_one(
    monkeypatch: pytest.MonkeyPatch, env_id: str, decision: str, policy: Any
) -> None:
    monkeypatch.setattr(training_share, "default_policy", lambda *asked: policy if asked == (env_id, "ppo") else None)
    run = training_share.usual_run(env_id, 3)
    assert (run.env_id, run.agent, run.policy, run.seed) == (env_id, "ppo", policy, 3)
    usual = settings_for(env_id, "ppo", policy, decision)
    assert run.settings == usual.model_copy(update={"steps": training_share.STEPS})


def test_good_partition_is_an_action() -> None:
    env = vector_env("LyaPPO-v0", 2)
    (action,) = lyappo_solvers.good_partition(env)
    assert env.action_space.contains(action)


def test_episodes_take_as_many_steps_as_they_are_divided_by(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0
    step = EdgeEnv.step

    def counted(env: EdgeEnv, action: Any) -> Any:
        nonlocal taken
        taken += 1
        return step(env, action)

    monkeypatch.setattr(EdgeEnv, "step", counted)
    play, steps = gym_overhead.episodes("LyaPPO-v0")
    play()
    assert steps == taken


def test_semcom_kernels_solve_what_the_solvers_solve() -> None:
    instance = semcom_solvers.Instance(4, 0)
    problem, workspace, rates = instance.problem, instance.workspace, instance.rates_bps
    np.testing.assert_allclose(problem.bits / instance.upload_s, rates)
    semcom_kernels.repeat_p3(problem, workspace, 2)
    compute = api.solve_p3(problem, instance.upload_s)
    assert instance.objective == compute.objective
    semcom_kernels.repeat_p4(problem, workspace, rates, 2)
    assert instance.objective == api.solve_p4(problem, rates).objective
    semcom_kernels.repeat_joint(problem, workspace, 2)
    best = api.solve_joint(problem).objective
    assert instance.objective == best
    semcom_kernels.repeat_alternating(problem, workspace, instance.rule, 2)
    even = 0.5 * problem.power_max_w @ instance.upload_s * problem.weight_energy + compute.objective
    assert best < instance.objective < even


def test_what_is_not_certified_is_not_timed() -> None:
    instance = semcom_solvers.Instance(3, 0)
    sample = semcom_solvers.our_sampler([instance], semcom_kernels.repeat_joint, lambda _: (), 2)
    assert sample() > 0.0
    assert semcom_solvers.certified(instance) == api.solve_joint(instance.problem).objective
    instance.workspace.totals[semcom_solvers.TOTAL.lower_bound] *= 1.0 - 2e-6
    with pytest.raises(RuntimeError, match=r"duality gap of 2\.0e-06, above 1e-06"):
        semcom_solvers.certified(instance)


def test_others_must_come_to_the_same_optimum() -> None:
    draws = [semcom_solvers.Instance(2, seed) for seed in range(2)]
    answers = iter([1.0, 2.0, 1.0 + 2e-6])
    seen: list[semcom_solvers.Instance] = []

    def solve(instance: semcom_solvers.Instance) -> float:
        seen.append(instance)
        return next(answers)

    sample = checked_sampler([partial(solve, each) for each in draws], [1.0, 2.0], semcom_solvers.AGREEMENT)
    assert sample() > 0.0
    assert sample() > 0.0
    with pytest.raises(RuntimeError, match=r"not the certified 1\.0"):
        sample()
    assert seen == [draws[0], draws[1], draws[0]]


def test_semcom_is_compared_at_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cvxpy")
    for name, value in {"SIZES": (2, 3), "DRAWS": 2, "DEVICES_PER_SAMPLE": 4, "GROWTH_SIZES": (2, 4)}.items():
        monkeypatch.setattr(semcom_solvers, name, value)
    links = [*semcom_solvers.p3(1), *semcom_solvers.p4(1)]
    assert [each.name.partition(": ")[2] for each in links[::2]] == ["P3, N = 2", "P3, N = 3", "P4, N = 2", "P4, N = 3"]
    assert [each.target for each in links] == [1000.0, None] * 2 + [80.0, None] * 2
    found = semcom_solvers.joint(1)
    most = [10_000.0, None, None, None]
    assert [each.target for each in found] == [*most, None, 1.0, *most, 1.0]
    assert "SLSQP" in found[4].other.label
    assert found[5].other.label.startswith("Algorithm 3, kernel: costs ")
    (growth,) = semcom_solvers.growth(2)
    assert (growth.target, growth.bound, len(growth.sides), len(growth.values)) == (1.1, "at most", 2, 2)


def test_semcom_needs_cvxpy_only_to_be_compared_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    for benchmark in (semcom_solvers.p3, semcom_solvers.p4, semcom_solvers.joint):
        with pytest.raises(Skipped, match="edge-envs"):
            benchmark(1)


@pytest.mark.parametrize("batch", [1, 2])
def test_worlds_solved_alone_go_through_the_same_rounds(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    vector = vector_env("SemCom-v0", batch)
    actions = sampled_actions(vector)
    stepped, solved = SystemWorlds(vector.system, batch, actions), PartWorlds(vector.system, batch, actions)
    assert isinstance(vector.system, SemComSystem)
    solves: list[float] = []
    rounds: list[float] = []
    solve_rounds = semcom_kernels.solve_rounds

    def recorded(p: Any, state: Any, taken: Any, repeats: int) -> None:
        solve_rounds(p, state, taken, repeats)
        solves.append(state.workspace.totals[semcom_solvers.TOTAL.objective])

    def step(taken: Any) -> None:
        outcome = solved.system.step(solved.state, solved.rows, taken, solved._rngs)
        rounds.append(outcome.metrics[-1, 0])

    monkeypatch.setattr(semcom_steps, "FastCall", lambda _: recorded)
    monkeypatch.setattr(solved, "step", step)
    assert solved.sampler(3, *semcom_steps.solves_of(vector.system, batch))() > 0.0
    stepped.run(3)
    # Before each step its own round, and after it the one that sets the price.
    assert solves[::2] == pytest.approx(rounds, rel=1e-12)
    assert len(solves) == 6
    np.testing.assert_array_equal(stepped.system.observe(stepped.state), solved.system.observe(solved.state))


def test_selection() -> None:
    assert list(command_line.select(())) == list(command_line.BENCHMARKS)
    assert list(command_line.select(("gym_overhead",))) == list(gym_overhead.BENCHMARKS)
    assert list(command_line.select(("gym_overhead.vector", "lyappo.slot"))) == [
        "lyappo.slot",
        "gym_overhead.vector",
    ]
    assert list(command_line.select(("semcom",))) == [*semcom_solvers.BENCHMARKS, *semcom_steps.BENCHMARKS]
    with pytest.raises(ValueError, match=r"--only .* does not exist; did you mean .gym_overhead\.vector.\?"):
        command_line.select(("gym_overhead.vectr",))


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.0, "2 s"), (0.0213, "21.3 ms"), (5.432e-6, "5.43 µs"), (9.1e-7, "910 ns")]
)
def test_durations(seconds: float, text: str) -> None:
    assert output.duration(seconds) == text


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        capture_output=True, text=True, timeout=600, cwd=ROOT, env=environment, check=False,
    )  # fmt: skip


def test_command_line_writes_what_it_measured(tmp_path: Path) -> None:
    file = tmp_path / "speed.json"
    done = run("--quick", "--repetitions", "2", "--only", "gym_overhead.pendulum", "--json", str(file))
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
    assert len(document["rows"]) == len(gym_overhead.ENVIRONMENTS)


def test_help_lists_the_names() -> None:
    done = run("--help")
    assert done.returncode == 0
    words = done.stdout.replace(",", " ").replace(".\n", " ").split()
    assert {*command_line.GROUPS, *command_line.BENCHMARKS} <= set(words)


@pytest.mark.parametrize("arguments", [("--only", "nothing"), ("--repetitions", "-1"), ("--json", "no/such/folder")])
def test_command_line_refuses(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert arguments[1] in done.stderr
