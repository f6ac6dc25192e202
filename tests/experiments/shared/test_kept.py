"""Rows of earlier tables that an experiment keeps."""

from __future__ import annotations

import json
import math

import pytest

from experiments.shared.common import spread_text
from experiments.shared.kept import check_agents, kept_note, kept_rows

ROW = {"cost": {"mean": 1.5, "half_width": 0.2, "by_training_seed": [1.4, 1.6]}}


@pytest.fixture
def file(tmp_path):
    rows = {"random": ROW, "PPO": ROW, "PPO (best validated)": ROW, "DDPG": {**ROW, "commit": "b" * 40}}
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"tables": {"default": rows}, "provenance": {"git": "a" * 40}}))
    return path


def test_an_agents_rows_are_kept_with_their_commit_and_without_their_interval(file):
    rows = kept_rows(file, ("tables", "default"), "PPO")
    assert list(rows) == ["PPO", "PPO (best validated)"]
    assert rows["PPO"]["commit"] == "a" * 40
    assert math.isnan(rows["PPO"]["cost"]["half_width"])
    assert rows["PPO"]["cost"]["by_training_seed"] == [1.4, 1.6]
    assert spread_text(rows["PPO"]["cost"], 2) == "1.50"


def test_a_row_that_was_kept_before_keeps_its_first_commit(file):
    rows = kept_rows(file, ("tables", "default"))
    assert len(rows) == 4
    assert rows["DDPG"]["commit"] == "b" * 40


def test_the_note_names_what_was_kept(file):
    assert kept_note({"PPO": ROW}) == []
    assert (
        "(aaaaaaa): PPO; PPO (best validated)."
        in kept_note({"random": ROW, **kept_rows(file, ("tables", "default"), "PPO")})[1]
    )
    assert "all" in kept_note(kept_rows(file, ("tables", "default")))[1]


def test_an_agent_that_does_not_exist_is_refused():
    check_agents(["PPO", "none"], ["PPO", "DDPG"])
    with pytest.raises(ValueError, match="did you mean 'PPO'"):
        check_agents(["PP0"], ["PPO", "DDPG"])
