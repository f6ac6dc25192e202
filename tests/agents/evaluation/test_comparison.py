"""The table that compares policies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rich.console import Console

from agents.evaluation.comparison import headline_of
from agents.evaluation.episodes import Scores
from agents.reports.console import rich_table
from agents.worlds import system_of
from edge_envs.core.system import System
from tests.agents.toy import ToySystem

COLUMNS = ("cost", "shortfall", "spread", "reward", "finished_over_arrived")


def scores(weak: bool = False) -> dict[str, Scores]:
    """Two policies with two episodes each; numbers of all columns are seven characters wide or less."""
    table = {label: {name: [cost, cost] for name in COLUMNS} for label, cost in (("good", 1.0), ("bad", 2.0))}
    for label in table:
        table[label]["finished_over_arrived"] = [0.5 if weak and label == "bad" else 1.0] * 2
    return {label: episodes(columns) for label, columns in table.items()}


def episodes(table: dict[str, list[float]]) -> Scores:
    """One seed's episodes by metric."""
    return Scores({name: np.reshape(values, (1, 1, -1)) for name, values in table.items()})


def printed(capsys: pytest.CaptureFixture[str], width: int, results: Any, columns: Any = COLUMNS, **more: Any) -> str:
    Console(width=width, markup=False).print(rich_table(results, columns, "title", width, **more))
    return capsys.readouterr().out


def shown(out: str) -> list[str]:
    """Headers of a table."""
    return out.split("\n")[1].split()


def test_the_table_marks_the_first_policy_and_unfinished_work(capsys):
    scores = {
        label: episodes({"power_mw": power, "reward": reward, "finished_over_arrived": [ratio, ratio]})
        for label, power, reward, ratio in (
            ("good", [100.0, 102.0], [-4.0, -4.2], 1.0), ("bad", [200.0, 204.0], [-9.0, -9.0], 0.5),
        )
    }  # fmt: skip
    table = rich_table(scores, ("power_mw", "reward", "finished_over_arrived"), "title")
    Console(width=150, markup=False).print(table)
    out = capsys.readouterr().out
    good, bad = (line for line in out.split("\n") if line.strip().startswith(("good", "bad")))
    # Half of the resamples have both episodes; the others have one of them twice, which are the ends.
    assert good.split()[:4] == ["good", "101.0", "±", "1.0"]
    assert "%" not in good
    # 100 and 102 mW more than 101 mW on average.
    assert "+100.0 ± 1.0 %" in bad
    assert "bootstrap" in " ".join(out.split())
    assert bad.split()[-3:] == ["±", "0", "*"]
    assert [row.style for row in table.rows] == [None, "dim"]


def test_a_narrow_console_keeps_what_matters_most(capsys):
    """The first two metrics and reward always; then the ratio, then the others, as long as they fit."""
    always = ["policy", "cost", "difference", "shortfall", "reward"]
    # Policy, "1 ± 0 *", "+100.0 ± 0.0 %", "shortfall", "reward", "finished/arrived", "spread".
    widths = [14, 7, 14, 9, 6, 16, 6]
    needed = [sum(widths[:count]) + count - 1 for count in (5, 6, 7)]
    for width, expected in (
        (20, always), (needed[0], always), (needed[1] - 1, [*always[:4], "spread", "reward"]),
        (needed[1], [*always, "finished/arrived"]), (needed[2] - 1, [*always, "finished/arrived"]),
        (needed[2], [*always[:4], "spread", "reward", "finished/arrived"]),
        (200, [*always[:4], "spread", "reward", "finished/arrived"]),
    ):  # fmt: skip
        table = rich_table(scores(), COLUMNS, "title", width)
        assert [column.header for column in table.columns] == expected, width
        if width >= needed[0]:
            out = printed(capsys, width, scores())
            assert shown(out) == expected
            assert "…" not in out


@pytest.mark.parametrize("width", [60, 200])
def test_unfinished_work_is_marked_on_any_console(capsys, width):
    out = printed(capsys, width, scores(weak=True))
    good, bad = (line for line in out.split("± is half")[0].split("\n") if line.strip().startswith(("good", "bad")))
    assert ("finished/arrived" in shown(out)) == (width == 200)
    assert bad.count("*") == 1
    assert "2 ± 0 *" in bad if width == 60 else bad.rstrip().endswith("*")
    assert "*" not in good
    assert "less than 0.98" in " ".join(out.split())
    assert "less than" not in printed(capsys, width, scores())


@pytest.mark.parametrize(
    ("fraction", "said"),
    [
        (0.25, "without the first 25 % of each episode (warm-up);"),
        (0.1, "the first 10 % of"),
        (0.0, "over whole episodes;"),
    ],
)
def test_the_caption_says_what_was_left_out(capsys, fraction, said):
    assert said in " ".join(printed(capsys, 120, scores(), warmup_fraction=fraction).split())


def test_a_difference_to_nothing_has_no_percentage(capsys):
    results = scores()
    results["good"] = Scores({**results["good"].episodes, "cost": np.zeros((1, 1, 2))})
    out = printed(capsys, 200, results)
    assert "+2.0 ± 0.0 " in out
    assert "+2.0 ± 0.0 %" not in out
    assert "+100.0 ± 0.0 %" in printed(capsys, 200, scores())


def test_the_headline_is_the_systems_own(toy_id):
    assert headline_of(system_of(toy_id, "default", {})) == ("hits", "reward")
    lyappo: System[Any] = system_of("LyaPPO-v0", "default", {})
    assert headline_of(lyappo) == (*lyappo.headline, "reward", "finished_over_arrived")
    assert isinstance(system_of(toy_id, "default", {"box": True}), ToySystem)


def test_a_column_for_the_time_of_a_decision_where_it_fits(capsys):
    latency = {"good": 0.01234, "bad": 5.0}
    out = printed(capsys, 200, scores(), latency_ms=latency)
    assert shown(out)[-1] == "ms/decision"
    good, bad = (line.split() for line in out.split("\n") if line.strip().startswith(("good", "bad")))
    assert (good[-1], bad[-1]) == ("0.0123", "5")
    assert "ms/decision" not in printed(capsys, 200, scores())
    assert "ms/decision" not in printed(capsys, 60, scores(), latency_ms=latency)


def test_one_episode_has_no_interval(capsys):
    single = {label: episodes({name: [value] for name in COLUMNS}) for label, value in (("good", 1.0), ("bad", 2.0))}
    out = printed(capsys, 200, single)
    assert "±" not in out
    assert "a single episode has no interval" in " ".join(out.split())
    assert "+100.0 %" in out
