"""Ablations: a baseline in an environment with other options."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import gymnasium as gym
import numpy as np
import pytest

import evaluate
import train
from agents.evaluation import comparison as comparing
from agents.evaluation.contestants import find_entries, find_entry
from edge_envs.core.policy import Ablation, ablations_of, baselines_of, make_baseline
from tests.agents.toy import ToySystem
from tests.scripts.running import call, policies, table_rows

SHIFT = 10.0
ABLATIONS = MappingProxyType(
    {
        "shifted": Ablation("wanted", MappingProxyType({"offset": SHIFT}), "all metrics are larger"),
        "longer": Ablation("wanted", {"end_probability": 0.0, "offset": -1.0}, "nothing ends an episode"),
    }
)
Define = Callable[[Mapping[str, Ablation]], None]


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Define:
    """Give the toy ablations, where actions are indices."""

    def define(ablations: Mapping[str, Ablation]) -> None:
        def found(system: ToySystem) -> Mapping[str, Ablation]:
            return {} if system.config.box else ablations

        monkeypatch.setattr(ToySystem, "ablations", found)

    return define


def test_ablations_of_an_environment(toy_id, define):
    env = gym.make(toy_id)
    assert ablations_of(env) == {}
    define(ABLATIONS)
    assert ablations_of(env) == ABLATIONS
    assert ablations_of(gym.make_vec(toy_id, num_envs=2)) == ABLATIONS
    assert ablations_of(gym.make(toy_id, box=True)) == {}
    assert not ABLATIONS.keys() & baselines_of(env).keys()
    assert ablations_of(gym.make("LyaPPO-v0")) == ablations_of(gym.make("SemCom-v0")) == {}


def test_an_ablation_has_a_name_of_its_own(toy_id, define):
    define({**ABLATIONS, "random": Ablation("wanted", {"offset": 1.0}, "")})
    with pytest.raises(RuntimeError, match="has both a baseline and an ablation named 'random'"):
        ablations_of(gym.make(toy_id))


def test_an_ablation_is_no_baseline(toy_id, define):
    define(ABLATIONS)
    with pytest.raises(
        ValueError, match=r"'longer' is an ablation.*use 'wanted' .* end_probability=0\.0, offset=-1\.0$"
    ):
        make_baseline("longer", gym.make(toy_id))
    with pytest.raises(ValueError, match=r"'shifte' does not exist for ToySystem; known: random, wanted"):
        make_baseline("shifte", gym.make(toy_id))


def test_an_entry_plays_the_baseline_with_the_options_of_the_ablation(toy_id, define):
    define(ABLATIONS)
    options = {"max_episode_steps": 5}
    names = ["wanted", "random", "shifted", "longer"]
    entries = find_entries(names, toy_id, "default", options)
    assert [entry.label for entry in entries] == names
    assert [entry.ablation for entry in entries] == [None, None, ABLATIONS["shifted"], ABLATIONS["longer"]]
    assert entries[2].options(options) == {"max_episode_steps": 5, "offset": SHIFT}
    assert entries[0].options(options) == options
    assert entries[2].options({"offset": 3.0}) == {"offset": SHIFT}
    assert all(entry.trained_here("default", options) for entry in entries)
    assert options == {"max_episode_steps": 5}
    results = comparing.compare(entries, toy_id, "default", options, seeds=2, episodes=3)
    assert list(results) == names
    np.testing.assert_array_equal(results["wanted"]["hits"], 4.0)
    np.testing.assert_array_equal(results["shifted"]["hits"], 4.0 + SHIFT)
    np.testing.assert_array_equal(results["shifted"]["noise"], results["wanted"]["noise"] + SHIFT)
    np.testing.assert_array_equal(results["longer"]["clock"], 5.0 - 1.0)
    assert (results["wanted"]["clock"] < 5.0).any()
    assert (results["random"]["hits"] < 4.0).all()


def test_an_option_of_the_ablation_cannot_be_set_to_another_value(toy_id, define):
    define(ABLATIONS)
    message = "policy='shifted' sets offset=10.0, against --set offset=3.0; leave out one of them"
    with pytest.raises(ValueError, match=re.escape(message)):
        find_entry("shifted", toy_id, "default", {"offset": 3.0})
    assert find_entry("shifted", toy_id, "default", {"offset": SHIFT}).ablation == ABLATIONS["shifted"]
    both = {"offset": 3.0, "end_probability": 0.5}
    with pytest.raises(ValueError, match=r"'longer' sets end_probability=0\.0, against --set end_probability=0\.5"):
        find_entry("longer", toy_id, "default", both)
    assert find_entry("shifted", toy_id, "default", {"end_probability": 0.5}).label == "shifted"


def test_an_ablation_that_cannot_be_played_is_refused_at_once(toy_id, define):
    define(
        {
            "missing": Ablation("wanted", {"box": True}, ""),
            "wrong": Ablation("wanted", {"offset": "much"}, ""),
            "unknown": Ablation("wanted", {"ofset": 1.0}, ""),
        }
    )
    for name, message in (
        ("missing", "policy='missing' uses 'wanted', which does not exist with these options; known: random"),
        ("wrong", "policy='wrong' cannot be used with these options: offset='much' is not possible"),
        ("unknown", "policy='unknown' cannot be used with these options: unexpected keyword argument 'ofset'"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            find_entry(name, toy_id, "default", {})


def test_an_unknown_policy_suggests_ablations(toy_id, define):
    with pytest.raises(ValueError, match=r"a run folder nor an agent as MODULE:FACTORY; known: random, wanted$"):
        find_entry("shift", toy_id, "default", {})
    define(ABLATIONS)
    message = r"an ablation, a run folder nor an agent as MODULE:FACTORY; did you mean 'shifted'\?$"
    with pytest.raises(ValueError, match=message):
        find_entry("shift", toy_id, "default", {})
    with pytest.raises(ValueError, match=r"a run folder nor an agent as MODULE:FACTORY; known: random$"):
        find_entry("shifted", toy_id, "default", {"box": True})


def test_evaluate_describes_ablations(tmp_path, monkeypatch, capsys, toy_id, define):
    define(ABLATIONS)
    monkeypatch.chdir(tmp_path)
    arguments = ("--env", toy_id, "--policies", "wanted", "longer", "shifted", "--seeds", "2", "--episodes", "1")
    assert call(monkeypatch, evaluate, *arguments, "--json", "out.json") == 0
    out = capsys.readouterr().out
    assert table_rows(out) == ["wanted", "longer", "shifted"]
    assert "note: shifted is wanted with offset=10.0: all metrics are larger\n" in out
    assert "note: longer is wanted with end_probability=0.0 offset=-1.0: nothing ends an episode\n" in out
    document = json.loads(Path("out.json").read_text())
    policies = {policy["label"]: policy for policy in document["environments"][0]["policies"]}
    assert list(policies) == ["wanted", "longer", "shifted"]
    assert policies["shifted"]["metrics"]["hits"]["difference"] == SHIFT
    for name, each in ABLATIONS.items():
        assert policies[name]["kind"] == "ablation"
        expected = {"policy": each.policy, "options": dict(each.options), "meaning": each.meaning}
        assert policies[name]["ablation"] == expected
    assert call(monkeypatch, evaluate, *arguments[:3], "wanted", *arguments[-4:], "--json", "out.json") == 0
    assert "note" not in capsys.readouterr().out
    assert json.loads(Path("out.json").read_text())["environments"][0]["policies"][0]["ablation"] is None


def test_a_conflict_takes_one_line(monkeypatch, capsys, toy_id, define):
    define(ABLATIONS)
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, evaluate, "--env", toy_id, "--policies", "shifted", "--set", "offset=1")
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert err == "error: policy='shifted' sets offset=10.0, against --set offset=1; leave out one of them\n"


def test_the_table_of_a_training_has_no_ablations(tmp_path, monkeypatch, capsys, toy_id, define):
    define(ABLATIONS)
    monkeypatch.chdir(tmp_path)
    more = ("--steps", "64", "--num-envs", "16", "--seeds", "1", "--episodes", "1", "--run", "run")
    assert call(monkeypatch, train, "--env", toy_id, *more) == 0
    assert policies(capsys.readouterr().out) == ["wanted", "ppo-shared", "random"]


SMALL = {"num_devices": 2, "num_elements": 4, "num_antennas": 2, "max_episode_steps": 3}
OTHERWISE = {
    "irs": True, "phase": "ca", "phase_passes": 1, "phase_polish": False, "twins": "threshold", "power": "optimal",
    "first_cut": 1, "offline": False,
}  # fmt: skip
"""Possible values that no ablation sets."""


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_all_ablations_of_the_split_learning_system_can_be_played(preset):
    env = gym.make("DTIRS-v0", preset=preset, num_devices=2, num_elements=4, num_antennas=2)
    ablations = ablations_of(env)
    assert {"no-irs", "no-dt", "random-phase", "full-local"} <= ablations.keys()
    entries = find_entries(["last-cut", *ablations], "DTIRS-v0", preset, SMALL)
    results = comparing.compare(entries, "DTIRS-v0", preset, SMALL, seeds=1, episodes=2)
    (metrics,) = {tuple(scores) for scores in results.values()}
    assert "delay_s" in metrics
    for name in ("no-dt", "full-local"):
        assert results[name]["twin_share"] == 0.0
    assert results["full-local"]["local_share"] == 1.0
    assert results["full-local"]["delay_uplink_s"] == results["full-local"]["delay_downlink_s"] == 0.0
    assert np.isnan(results["no-irs"]["phase_gap"]).all()
    assert np.isnan(results["random-phase"]["phase_gap"]).all()
    values = [float(scores["delay_s"][0]) for scores in results.values()]
    assert len(set(values)) > len(values) // 2
    for entry in entries[1:]:
        assert entry.ablation is not None
        for key, value in entry.ablation.options.items():
            message = f"policy='{entry.label}' sets {key}={value!r}, against --set {key}={OTHERWISE[key]!r}"
            with pytest.raises(ValueError, match=re.escape(message)):
                find_entry(entry.label, "DTIRS-v0", preset, {**SMALL, key: OTHERWISE[key]})
