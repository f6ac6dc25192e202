"""Every certificate notices a broken solver: at least half of what a mutation loses shows in it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from tests.certificates.__main__ import PAPERS

MUTATIONS_PER_SOLVER = 5


@pytest.fixture(scope="module", params=PAPERS)
def rows(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """The mutation table of a paper, from a process that compiles nothing."""
    command = [sys.executable, "-m", "tests.certificates", request.param, "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NUMBA_DISABLE_JIT": "1"})
    assert ran.returncode == 0, ran.stderr
    table: list[dict[str, Any]] = json.loads(ran.stdout)
    return table


def test_every_solver_has_enough_mutations(rows):
    counts = Counter(row["solver"] for row in rows)
    assert counts
    assert min(counts.values()) >= MUTATIONS_PER_SOLVER, counts


def test_every_mutation_loses_something(rows):
    harmless = [f"{row['solver']}: {row['mutation']}" for row in rows if row["noticed"] + row["missed"] == 0]
    assert not harmless


def test_the_certificate_shows_at_least_half_of_every_loss(rows):
    unnoticed = [row for row in rows if row["missed"] > 0]
    assert not unnoticed
    assert not any(math.isnan(row["loss"]) for row in rows)
