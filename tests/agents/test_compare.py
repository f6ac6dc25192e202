"""The table that compares policies."""

from __future__ import annotations

import numpy as np

from agents import compare as comparing


def test_the_table_marks_the_first_policy_and_unfinished_work(capsys):
    from rich.console import Console

    scores = {
        "good": {"power_mw": np.array([100.0, 102.0]), "reward": np.array([-4.0, -4.2])},
        "bad": {"power_mw": np.array([200.0, 204.0]), "reward": np.array([-9.0, -9.0])},
    }
    for label, ratio in (("good", 1.0), ("bad", 0.5)):
        scores[label]["finished_over_arrived"] = np.full(2, ratio)
    table = comparing.rich_table(scores, ("power_mw", "reward", "finished_over_arrived"), "title")
    Console(width=150, markup=False).print(table)
    out = capsys.readouterr().out
    good, bad = (line for line in out.split("\n") if line.strip().startswith(("good", "bad")))
    assert good.split()[:3] == ["good", "101", "±"]
    assert "%" not in good
    # 100 and 102 mW more than 101 mW on average.
    assert "+100.0 ± 12.6 %" in bad
    assert bad.split()[-3:] == ["±", "0", "*"]
    assert [row.style for row in table.rows] == [None, "dim"]
