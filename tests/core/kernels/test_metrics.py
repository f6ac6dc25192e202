"""Metrics, and the names of columns and codes."""

from __future__ import annotations

from enum import StrEnum

import pytest

from edge_envs.core.kernels.metrics import Metric, OverEpisode, codes, columns


def test_a_summary_that_does_not_exist():
    assert Metric("delay_s", "s", "delay").over_episode == OverEpisode.MEAN
    with pytest.raises(ValueError, match="'sum' is not a valid OverEpisode"):
        Metric("delay_s", "s", "delay", "sum")


def test_columns_are_numbered_in_the_declared_order():
    found = columns([Metric("delay_s", "s", "delay"), "energy_j", Metric("cost", "-", "cost")])
    assert (found.delay_s, found.energy_j, found.cost) == (0, 1, 2)
    assert found._fields == ("delay_s", "energy_j", "cost")
    with pytest.raises(ValueError, match="duplicate field name: 'cost'"):
        columns(["cost", "cost"])


def test_codes_have_the_names_of_the_members():
    class Access(StrEnum):
        """Ways to share a band."""

        TDMA = "tdma"
        FDMA = "one slice each"

    found = codes(Access)
    assert (found.TDMA, found.FDMA) == (0, 1)
    assert [list(Access).index(Access(text)) for text in ("tdma", "one slice each")] == list(found)
