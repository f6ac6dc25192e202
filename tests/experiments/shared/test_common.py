"""What the experiments' pages share: captions, numbers with their spread, and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agents.evaluation.episodes import Scores
from agents.evaluation.statistics import Interval, interval
from agents.runs import provenance
from agents.runs.provenance import NO_REVISION, stamp, stamp_of
from experiments.shared.common import caption, percent, percent_text, publish, spread_text, wrapped
from experiments.shared.learned import summary


def test_a_caption_says_what_the_spread_is_how_many_trainings_and_which_commit():
    assert caption("30 draws") == (
        "± is half the width of the 95 % percentile bootstrap interval of the mean, from 2,000 resamples of the 30 "
        f"draws; no row has trained networks; {stamp()}."
    )
    text = caption("20 episodes (5 seeds x 4)", 5)
    assert "resamples of the 20 episodes (5 seeds x 4) and, in rows with several trainings, of the trainings;" in text
    assert "; 5 trainings per learned row; edge-envs " in text
    assert "several trainings" not in caption("20 episodes", 1)
    assert "; 1 training per learned row; " in caption("20 episodes", 1)
    assert caption("30 draws", spread=False).startswith("Means over the 30 draws; no row has trained networks; ")


def test_a_stamp():
    origin = {"versions": {"edge-envs": "0.9.0"}, "git": "0123456789abcdef" * 2 + "01234567", "git_changes": []}
    assert stamp_of(origin) == "edge-envs 0.9.0, commit 0123456789"
    assert stamp_of(origin | {"git_changes": [" M a.py"]}) == "edge-envs 0.9.0, commit 0123456789 + changes"
    assert stamp_of(origin | {"git": NO_REVISION}) == stamp_of({"versions": origin["versions"]}) == "edge-envs 0.9.0"


def test_a_copy_within_another_checkout_has_no_commit(monkeypatch):
    """As one that is installed in an environment that lies in somebody's project."""
    asked = []

    def git(*arguments: str) -> str:
        asked.append(arguments[0])
        return "" if arguments[0] == "ls-files" else "f" * 40

    monkeypatch.setattr(provenance, "_git", git)
    assert provenance.revision() == NO_REVISION
    assert asked == ["ls-files"]


def scores(*by_run: list[list[float]]) -> Scores:
    return Scores({"cost": np.array(by_run, dtype=np.float64)})


def test_a_summary_has_the_interval_of_all_tables():
    one = scores([[1.0, 2.0], [3.0, 6.0]])
    found = summary(one, ["cost"])["cost"]
    same = interval([1.0, 2.0, 3.0, 6.0])
    assert (found["mean"], found["half_width"]) == (3.0, same.half_width)
    assert found["by_training_seed"] == [3.0]
    several = summary(scores([[1.0, 1.0]], [[3.0, 3.0]], [[5.0, 5.0]]), ["cost"])["cost"]
    assert (several["mean"], several["by_training_seed"]) == (3.0, [1.0, 3.0, 5.0])
    # Episodes are all alike, so that what is left is the spread of the trainings: no wider than from one to the other.
    assert 1.0 < several["half_width"] <= 2.0


def test_differences_are_paired_and_in_percent():
    worlds = 100.0 + 50.0 * np.arange(8.0).reshape(2, 4)
    gap = percent(scores((1.1 * worlds).tolist()), scores(worlds.tolist()), "cost")
    assert gap.mean == pytest.approx(10.0)
    assert gap.half_width < 6.0  # the worlds themselves spread by 200 %
    assert percent_text(Interval(10.0, 8.0, 12.0)) == "+10.0 ± 2.0 %"
    assert percent_text(Interval(10.0, -np.inf, np.inf)) == "+10.0 %"


def test_numbers_that_are_not_defined():
    assert spread_text(Interval(np.nan, np.nan, np.nan), 2) == "n/a"
    assert spread_text(Interval(1.0, -np.inf, np.inf), 2) == "1.00"
    assert spread_text({"mean": 1.0, "half_width": 0.25}, 2) == "1.00 ± 0.25"


def test_json_has_null_for_what_is_not_finite(tmp_path):
    document = {"rows": [{"certificate": np.nan, "half": [np.inf, 1.0]}], "seeds": (1, 2)}
    publish(tmp_path, "page", ["# Page"], document)

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    found = json.loads(Path(tmp_path / "page.json").read_text(), parse_constant=refuse)
    assert found["rows"] == [{"certificate": None, "half": [None, 1.0]}]
    assert found["seeds"] == [1, 2]


def test_paragraphs_are_wrapped_and_tables_are_not():
    words = " ".join(["word"] * 60)
    row = "| " + words + " |"
    page = wrapped(f"# {words}\n\n{words}\n\n{row}\n")
    heading, _, *paragraph, _, table, end = page.split("\n")
    assert (heading, table, end) == (f"# {words}", row, "")
    assert " ".join(paragraph) == words
    assert max(map(len, paragraph)) == 119


@pytest.mark.parametrize("mark", ["+", "-", "*", "#", "3."])
def test_no_wrapped_line_begins_like_a_list_item(mark):
    for length in range(100, 125):
        text = f"{'a' * length} {mark} changes"
        lines = wrapped(text).split("\n")
        assert " ".join(lines) == text
        assert not any(line.startswith(mark) for line in lines)
