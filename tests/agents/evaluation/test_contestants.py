"""Policies by name: groups of runs, labels, and what is wrong with a name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.evaluation.comparison import compare
from agents.evaluation.contestants import Entry, find_entries, find_entry, flattened, remarks, run_folders
from agents.hyperparameters.settings import Settings
from agents.runs.folder import BEST, CONFIG, FINISHED
from tests.agents.toy import TOY
from tests.agents.toy_runs import toy_run


@pytest.fixture
def place(tmp_path, monkeypatch, toy_id):
    """Three seeds of one run, and a run of another agent."""
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        toy_run(Path(f"runs/toy__{seed}"), seed=seed)
    toy_run(Path("runs/other"), agent="dagger", settings=Settings(hidden=(8,), imitation_rounds=1))
    return tmp_path


def find(name: str) -> Entry:
    return find_entry(name, TOY, "default", {})


def folders(entry: Entry) -> list[str]:
    return [str(run.path) for run in entry.runs]


@pytest.mark.parametrize(
    "name", ["runs/toy__*", "runs/toy__[0-2]", "runs/toy__0,runs/toy__1,runs/toy__2", "runs/toy__0,runs/toy__[12]"]
)
def test_seeds_of_a_run_are_one_entry(place, name):
    entry = find(name)
    assert folders(entry) == ["runs/toy__0", "runs/toy__1", "runs/toy__2"]
    assert (entry.label, entry.kind) == ("ppo-shared x3", "learned")
    assert len(entry.factories()) == 3


def test_one_run_may_be_all_that_a_pattern_fits(place):
    entry = find("runs/toy__1*")
    assert (folders(entry), entry.label) == (["runs/toy__1"], "toy__1")
    assert folders(find(f"{place}/runs/toy__[1]")) == [f"{place}/runs/toy__1"]


def test_labels(place):
    entry = find("ours=runs/toy__0,runs/toy__1")
    assert (entry.label, folders(entry)) == ("ours", ["runs/toy__0", "runs/toy__1"])
    entry = find("best of all=wanted")
    assert (entry.label, entry.kind, entry.baseline) == ("best of all", "baseline", "wanted")
    results = compare([entry, Entry("wanted")], TOY, "default", {}, seeds=1, episodes=2)
    np.testing.assert_array_equal(results["best of all"]["hits"], results["wanted"]["hits"])
    Path("a=b").mkdir()
    toy_run(Path("a=b/run"), seed=7)
    assert find("a=b/run").label == "run"


def test_imported_networks_say_so(place):
    for name in ("one", "two"):
        toy_run(Path("imported") / name, origin="imported")
    assert find("imported/one").label == "one, imported"
    assert find("imported/*").label == "ppo-shared x2, imported"  # of their seeds nothing is known
    assert find("x=imported/one").label == "x"
    assert find("x=imported/one").training == "preset default, imported"
    assert find("runs/toy__0").training == "preset default"
    with pytest.raises(ValueError, match="imported/one has origin='imported', runs/toy__1 has 'trained'"):
        find("runs/toy__1,imported/one")


def test_entries_of_the_same_label_are_have_unique_labels(place):
    names = ["runs/toy__0,runs/toy__1", "runs/toy__[12]", "x=runs/toy__0", "wanted"]
    entries = find_entries(names, TOY, "default", {})
    assert [entry.label for entry in entries] == [*names[:2], "x", "wanted"]
    for names in (["x=runs/toy__0", "x=random"], ["wanted", "wanted=random"]):
        with pytest.raises(ValueError, match="two entries with the label"):
            find_entries(names, TOY, "default", {})


def test_what_to_know_of_runs(place):
    (Path("runs/other") / FINISHED).unlink()
    names = ["runs/toy__0", "runs/toy__1,runs/toy__2", "runs/other", "random"]
    assert remarks(find_entries(names, TOY, "default", {})) == ["runs/other is not finished"]
    names = ["few=runs/toy__0,runs/toy__1", "many=runs/toy__*"]
    assert remarks(find_entries(names, TOY, "default", {})) == [
        "runs/toy__0 counts in both few and many", "runs/toy__1 counts in both few and many",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda origin: origin["versions"].update(torch="1.0"), "torch 1.0 in runs/toy__0, "),
        (lambda origin: origin.update(git="abc\x1b"), "git abc\\x1b in runs/toy__0, "),
        (lambda origin: origin.clear(), "runs/toy__0/config.json does not contain the versions"),
    ],
)
def test_trainings_of_different_versions_are_reported(place, change, expected):
    file = Path("runs/toy__0") / CONFIG
    document = json.loads(file.read_text())
    change(document["provenance"])
    file.write_text(json.dumps(document))
    (remark,) = remarks([find("runs/toy__*")])
    mixed = "" if expected.startswith("runs") else "ppo-shared x3 was not trained with the same versions throughout: "
    assert remark.startswith(mixed + expected)


def test_a_group_is_scored_run_by_run(place):
    entry, *single = find_entries(["runs/toy__*", *(f"runs/toy__{seed}" for seed in range(3))], TOY, "default", {})
    results = compare([entry, *single], TOY, "default", {}, seeds=2, episodes=3)
    together = results[entry.label]
    for name, values in together.episodes.items():
        assert values.shape == (3, 2, 3)
        for run, each in enumerate(single):
            np.testing.assert_array_equal(values[run : run + 1], results[each.label].episodes[name])
        np.testing.assert_allclose(together[name], np.mean([results[each.label][name] for each in single], axis=0))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("runs/none*", "policy='runs/none*' matches no run folder; give another pattern, in quotes"),
        ("runs/toy__0,", "policy='runs/toy__0,' has an empty item"),
        ("runs/toy__0,runs/nowhere", "policy='runs/nowhere' is not a run folder: it has no config.json"),
        ("runs/toy__0,runs/../runs/toy__0", "names 'runs/toy__0' twice; give each run once"),
        ("runs/*", "policy='runs/*' mixes trainings: runs/toy__0 has agent='ppo', runs/other has 'dagger'"),
        ("runs/toy__0,runs/longer", "runs/longer has settings.steps=77, runs/toy__0 has "),
        ("runs/toy__0,runs/boxed", "runs/boxed has options.box=True, runs/toy__0 has None"),
        ("runs/toy__0,runs/again", "two runs with seed 0, one of them runs/toy__0"),
        ("=wanted", "policy='=wanted' is not of the form label=policy"),
        ("x=", "policy='x=' is not of the form label=policy"),
        ("x=y=wanted=", "is not of the form label=policy"),
        ("x=wnted", "policy='wnted' is neither a baseline, an ablation, a run folder nor an agent"),
        ("  ", "policy='  ' is empty; give a baseline or a run folder"),
        ("runs/toy__0,wanted", "policy='wanted' is not a run folder"),
        ("runs/toy__0,runs/hollow", f"runs/hollow/{BEST} does not exist"),
    ],
)  # fmt: skip
def test_names_that_cannot_be(place, name, message):
    if "longer" in name:
        toy_run(Path("runs/longer"), seed=5, settings=Settings(hidden=(8,), steps=77))
    if "boxed" in name:
        toy_run(Path("runs/boxed"), seed=5, options={"box": True})
    if "again" in name:
        toy_run(Path("runs/again"))
    if "hollow" in name:
        (toy_run(Path("runs/hollow"), seed=5).path / BEST).unlink()
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        find(name)
    assert "\n" not in str(caught.value)


def test_folders_come_in_the_order_given(place):
    assert run_folders("runs/toy__2,runs/toy__0") == [Path("runs/toy__2"), Path("runs/toy__0")]
    assert run_folders("runs/toy__2") == [Path("runs/toy__2")]


def test_flattened():
    document: dict[str, Any] = {"a": 1, "b": {"c": [2], "d": {"e": {}}}}
    assert flattened(document) == {"a": 1, "b.c": [2]}
