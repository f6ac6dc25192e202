"""Safeguards of root finding: a step that leaves its bracket is replaced by the bracket's middle."""

from __future__ import annotations

import math

import pytest

from edge_envs.core.kernels.bracket import inside_or_geometric_middle, inside_or_middle, narrowed


@pytest.mark.parametrize("candidate", [1.0, 4.0, -3.0, math.nan, math.inf, -math.inf])
def test_steps_outside_give_the_middle(candidate):
    """The ends of the bracket are outside, too: they would not shrink it."""
    assert inside_or_middle(candidate, 1.0, 4.0) == 2.5
    assert inside_or_geometric_middle(candidate, 1.0, 4.0) == 2.0


def test_steps_inside_stay():
    assert inside_or_middle(3.0, 1.0, 4.0) == 3.0
    assert inside_or_geometric_middle(3.0, 1.0, 4.0) == 3.0


def test_the_geometric_middle_halves_decades():
    assert inside_or_geometric_middle(0.0, 1e-8, 1e8) == pytest.approx(1.0)


@pytest.mark.parametrize(("above", "expected"), [(True, (2.0, 4.0)), (False, (1.0, 2.0))])
def test_brackets_are_narrowed_towards_the_root(above, expected):
    assert narrowed(1.0, 4.0, 2.0, above) == expected


def test_an_undefined_error_moves_the_upper_end():
    """Searches call it with `error > 0.0`, which is False for NaN."""
    assert narrowed(1.0, 4.0, 2.0, math.nan > 0.0) == (1.0, 2.0)
