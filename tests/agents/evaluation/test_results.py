"""The document of an evaluation, and what is written from it."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agents.evaluation import latency as latency_module
from agents.evaluation import results as results_module
from agents.evaluation.bootstrap import summarise
from agents.evaluation.comparison import headline_of
from agents.evaluation.contestants import Entry, find_entries
from agents.evaluation.custom_agent import CustomAgent
from agents.evaluation.episodes import Scores, play
from agents.evaluation.latency import Latency
from agents.evaluation.results import Evaluated, Setting, document_of, evaluate
from agents.evaluation.statistics import Interval
from agents.reports import files as report_files
from agents.reports.schema import checked
from agents.runs.folder import EVALUATION
from agents.worlds import EVALUATION_STREAM, make_worlds, stream_seeds
from edge_envs.core.policy import Ablation, make_baseline
from tests.agents.toy import TOY, TOY_STEPS, ToySystem
from tests.agents.toy_runs import toy_run

NAMES = ["wanted", "random", "x=runs/a,runs/b", "shifted"]


@pytest.fixture
def evaluated(tmp_path, monkeypatch, toy_id):
    """All kinds of entries but custom agents, two seeds of three episodes."""
    monkeypatch.chdir(tmp_path)
    ablations = {"shifted": Ablation("wanted", {"offset": 10.0}, "metrics | are larger")}
    monkeypatch.setattr(ToySystem, "ablations", lambda self: ablations)
    for seed, name in enumerate("ab"):
        toy_run(Path(f"runs/{name}"), seed=seed)
    return evaluate(find_entries(NAMES, TOY, "default", {}), Setting(TOY, "default", {}, 2, 3))


@pytest.fixture
def document(evaluated):
    notes: list[str] = []
    found = document_of([evaluated], notes)
    assert notes == []
    return found


def test_the_document_is_valid_and_whole(document, evaluated):
    checked(json.loads(report_files.as_json(document)))
    assert {"python", "numpy"} <= document["provenance"]["versions"].keys()
    assert document["provenance"]["processor"]
    assert document["provenance"]["torch_threads"] >= 1
    (section,) = document["environments"]
    assert (section["env_id"], section["preset"], section["options"]) == (TOY, "default", {})
    assert (section["seeds"], section["episodes"], section["warmup_fraction"]) == (2, 3, 0.25)
    assert (section["reference_baseline"], section["strongest_baseline"], section["main"]) == (
        "wanted",
        "wanted",
        "hits",
    )
    assert section["headline"] == list(headline_of(evaluated.setting.system))
    assert section["configuration"] == {
        "box": False, "end_probability": 0.1, "first": 0, "offset": 0.0, "max_episode_steps": TOY_STEPS,
    }  # fmt: skip
    assert {metric["name"] for metric in section["metrics"]} == {"hits", "clock", "noise", "reward", "return"}
    wanted, random, learned, ablation = section["policies"]
    assert [policy["label"] for policy in section["policies"]] == ["wanted", "random", "x", "shifted"]
    assert [policy["kind"] for policy in section["policies"]] == ["baseline", "baseline", "learned", "ablation"]
    assert (learned["runs"], learned["training"]) == (["runs/a", "runs/b"], "preset default")
    assert (wanted["runs"], wanted["training"], wanted["ablation"]) == ([], None, None)
    assert ablation["ablation"] == {"policy": "wanted", "options": {"offset": 10.0}, "meaning": "metrics | are larger"}
    assert (wanted["rank"], {random["rank"], learned["rank"]}, ablation["rank"]) == (1, {2, 3}, None)
    assert (random["normalised"]["mean"], wanted["normalised"]["mean"], ablation["normalised"]) == (0.0, 1.0, None)
    floor, ceiling, mean = (np.mean(policy["metrics"]["reward"]["by_episode"]) for policy in (random, wanted, learned))
    assert learned["normalised"]["mean"] == pytest.approx((mean - floor) / (ceiling - floor))
    assert learned["rank"] == (2 if mean > floor else 3)


def test_numbers_are_those_of_the_episodes(document, evaluated):
    """Against episodes played again, and the statistics of the module that is tested for itself."""
    section = document["environments"][0]
    env = make_worlds(TOY, 6, "default", {})
    seeds = [word for seed in range(2) for word in stream_seeds(EVALUATION_STREAM, seed, 3)]
    rows = play(env, make_baseline("wanted", env), seeds)
    summaries = {name: summarise(evaluated.results, name) for name in rows}
    for name, values in rows.items():
        metric = section["policies"][0]["metrics"][name]
        assert metric["by_episode"] == [values.tolist()]
        np.testing.assert_allclose(metric["by_seed"], [values.reshape(2, 3).mean(axis=1)])
        assert metric["mean"] == pytest.approx(values.mean())
        learned = section["policies"][2]["metrics"][name]
        assert np.shape(learned["by_episode"]) == (2, 6)
        assert np.shape(learned["by_seed"]) == (2, 2)
        summary = summaries[name]["x"]
        assert [learned[key] for key in ("mean", "low", "high")] == [
            summary.mean.mean, summary.mean.low, summary.mean.high,
        ]  # fmt: skip
        assert learned["difference"] == pytest.approx(np.mean(learned["by_episode"]) - values.mean())
        assert (learned["iqm"], learned["iqm_high"]) == (summary.iqm.mean, summary.iqm.high)
        assert (learned["difference_low"], learned["difference_high"]) == (
            summary.difference.low, summary.difference.high,
        )  # fmt: skip


def test_one_episode_step_by_step(document):
    """In the first evaluation world, of the learned and the named, without the ablation."""
    recorded = document["environments"][0]["episode"]
    assert recorded["seed"] == stream_seeds(EVALUATION_STREAM, 0, 1)[0]
    assert list(recorded["series"]) == ["wanted", "random", "x"]
    env = make_worlds(TOY, 1, "default", {})
    policy = make_baseline("wanted", env)
    observation, _ = env.reset(seed=[recorded["seed"]])
    series = recorded["series"]["wanted"]
    assert set(series) == {"hits", "clock", "noise", "reward", "action_mean"}
    steps = len(series["reward"])
    assert {len(values) for values in series.values()} == {steps}
    for step in range(steps):
        actions, _ = policy.predict(observation)
        observation, reward, terminated, truncated, info = env.step(actions)
        over = bool(terminated[0] | truncated[0])
        values = info["final_info"] if over else info
        assert series["reward"][step] == pytest.approx(reward[0], rel=1e-5)
        assert series["noise"][step] == pytest.approx(values["noise"][0], rel=1e-5)
        assert series["clock"][step] == step + 1
        assert series["action_mean"][step] == np.mean(actions)
        assert over == (step == steps - 1)


def test_notes_are_shown_everywhere(evaluated):
    (evaluated.entries[2].run.path / EVALUATION).unlink()
    document = document_of([evaluated], ["x & <b>\nis not finished"])
    assert document["notes"] == [
        "x & <b>\nis not finished",
        "no curve of runs/a/evaluation.csv (No such file or directory)",
    ]
    assert checked(document).notes == document["notes"]
    lines = report_files.as_markdown(document).split("\n")
    assert lines[:3] == ["- Note: x &amp; &lt;b&gt; is not finished", f"- Note: {document['notes'][1]}", ""]
    assert report_files.as_markdown(document | {"notes": []}).startswith("## Toy-v0")


def test_only_runs_need_a_word_on_their_number(document):
    text = " ".join(report_files.as_markdown(document).split())
    assert "With one training run, an interval only covers the variation between episodes, not the variation" in text
    del document["environments"][0]["policies"][2]
    assert "training run, an interval" not in report_files.as_markdown(document)


def test_the_same_numbers_again(document, evaluated):
    again = document_of([evaluate(evaluated.entries, evaluated.setting)], [])
    for one, other in zip(document["environments"][0]["policies"], again["environments"][0]["policies"], strict=True):
        assert {**one, "latency_ms": None} == {**other, "latency_ms": None}


def test_latency_is_that_of_predict_alone(monkeypatch, toy_id):
    """A clock that only moves in predict and in the environment's step."""
    now = [0.0]
    monkeypatch.setattr(latency_module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    costs = iter([9.0, 9.0, 9.0, *[0.001] * 99, 0.5, *[0.001] * 1000])
    step = ToySystem.step

    def slow_step(self: Any, *args: Any) -> Any:
        now[0] += 0.005
        return step(self, *args)

    class Slow:
        def predict(self, observation: Any, *args: Any, **kwargs: Any) -> Any:
            now[0] += next(costs)
            return np.zeros((1, 4), dtype=np.int64), None

    monkeypatch.setattr(ToySystem, "step", slow_step)
    monkeypatch.setattr(Entry, "factories", lambda self: [lambda env: Slow()])
    found = latency_module.latency(Entry("slow"), TOY, "default", {})
    assert found.steps == 200
    assert found.mean == pytest.approx((199 * 1.0 + 500.0) / 200)
    assert 1.0 <= found.p99 < 500.0
    now[0], costs = 0.0, iter([0.1] * 1000)
    found = latency_module.latency(Entry("slow"), TOY, "default", {})
    assert found.steps == 20  # 2 s of 0.105 s each
    assert (found.mean, found.p99) == (pytest.approx(100.0), pytest.approx(100.0))


def test_latency_of_an_own_agent_is_without_the_checks(monkeypatch, toy_id):
    """A clock that moves in the checks, and less in predict."""
    now = [0.0]
    monkeypatch.setattr(latency_module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    check_actions, checks = ToySystem.check_actions, []

    def slow_check(self: Any, *args: Any) -> Any:
        now[0] += 7.0
        checks.append(args)
        return check_actions(self, *args)

    class Quick:
        def predict(self, observation: Any, *args: Any, **kwargs: Any) -> Any:
            now[0] += 0.002
            return np.zeros((1, 4), dtype=np.int64), None

    monkeypatch.setattr(ToySystem, "check_actions", slow_check)
    monkeypatch.setattr(latency_module, "TIMED_SECONDS", np.inf)
    own = CustomAgent("mine:make", lambda env: Quick())
    found = latency_module.latency(Entry("mine", custom=own), TOY, "default", {})
    assert (found.mean, found.steps) == (pytest.approx(2.0), 200)
    assert len(checks) >= 203
    monkeypatch.setattr(Quick, "predict", lambda *args, **kwargs: None)
    with pytest.raises(ValueError, match="policy='mine:make': predict returned NoneType"):
        latency_module.latency(Entry("mine", custom=own), TOY, "default", {})


def small_evaluation(rewards: dict[str, float], toy_id: str) -> Evaluated:
    results = {
        label: Scores({"reward": np.full((1, 1, 2), value), "hits": np.full((1, 1, 2), np.inf)})
        for label, value in rewards.items()
    }
    latencies = dict.fromkeys(rewards, Latency(1.0, 2.0, 3))
    return Evaluated(Setting(toy_id, "default", {}, 1, 2), [Entry(label) for label in rewards], results, latencies)


def test_scores_and_ranks(toy_id):
    found = small_evaluation({"wanted": 4.0, "random": 2.0, "mine": 3.5, "lost": np.nan}, toy_id)
    assert found.ranks == {"wanted": 1, "random": 3, "mine": 2}
    assert found.normalised is not None
    assert found.normalised["mine"] == Interval(0.75, 0.75, 0.75)
    assert small_evaluation({"random": 2.0, "mine": 3.5}, toy_id).normalised is None
    assert small_evaluation({"wanted": 4.0, "mine": 3.5}, toy_id).normalised is None


def test_what_is_not_finite_is_null(toy_id):
    found = small_evaluation({"wanted": 4.0, "lost": np.nan}, toy_id)
    document = json.loads(json.dumps(results_module.policies(found), allow_nan=False))
    assert document[0]["metrics"]["hits"]["mean"] is None
    assert document[0]["metrics"]["hits"]["by_episode"] == [[None, None]]
    assert document[1]["rank"] is None
    assert document[1]["metrics"]["reward"]["low"] is None


def test_csv_holds_every_number(document):
    rows = list(csv.DictReader(io.StringIO(report_files.as_csv(document))))
    assert list(rows[0]) == list(report_files.FIELDS)
    section = document["environments"][0]
    for policy in section["policies"]:
        mine = [row for row in rows if row["policy"] == policy["label"]]
        for name, metric in policy["metrics"].items():
            table = {row["statistic"]: row for row in mine if row["metric"] == name and row["statistic"] != "episode"}
            assert {key: float(row["value"]) for key, row in table.items()} == {
                key: metric[key] for key in report_files.STATISTICS
            }
            for row in mine:
                if row["metric"] == name and row["statistic"] == "episode":
                    assert float(row["value"]) == metric["by_episode"][int(row["run"])][int(row["episode"])]
        episodes = sum(len(run) for metric in policy["metrics"].values() for run in metric["by_episode"])
        assert sum(row["statistic"] == "episode" for row in mine) == episodes
        latency = {row["statistic"]: float(row["value"]) for row in mine if row["metric"] == "latency"}
        assert latency == policy["latency_ms"]
        assert [row["value"] for row in mine if row["metric"] == "rank"] == [str(policy["rank"] or "")]
    assert {row["unit"] for row in rows if row["metric"] == "clock"} == {"steps"}


def test_markdown_has_a_row_for_each_policy(document):
    text = report_files.as_markdown(document | {"scores": [{"label": "a|b", "by_env": {TOY: None}, "mean": 0.25}]})
    lines = text.split("\n")
    assert "## Toy-v0, preset `default`" in lines
    assert "| a\\|b | n/a | 0.25 |" in lines
    (wanted,) = (line for line in lines if line.startswith("| wanted | baseline |  | 1 | 1 [1, 1] |"))
    metrics = document["environments"][0]["policies"][0]["metrics"]
    assert f" {metrics['reward']['mean']:.4g} [{metrics['reward']['low']:.4g}, " in wanted
    lines = lines[lines.index("## Toy-v0, preset `default`") :]
    table = [line for line in lines if line.startswith("| ")]
    assert [line.split()[1] for line in table] == ["policy", "---", "wanted", "random", "x", "shifted"]
    assert len({line.count("|") for line in table}) == 1
    assert "95 % percentile bootstrap intervals from 2000 resamples" in text
    assert "without the first 25 % of each episode (warm-up)" in text


def test_a_curve(document, evaluated):
    curves = document["environments"][0]["curves"]
    assert [(curve["label"], curve["run"]) for curve in curves] == [("x", "runs/a"), ("x", "runs/b")]
    assert curves[0]["steps"] == [0, 64]
    assert curves[0]["metrics"] == {"return": [1.5, 2.5], "reward": [-2.0, -1.0]}
