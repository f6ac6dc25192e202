"""Invariants and the helpers that build them."""

from __future__ import annotations

import numpy as np
import pytest

from edge_envs.core.invariants import LARGEST, Invariant, finite, over, within


@pytest.mark.parametrize(
    ("invariant", "holds"),
    [
        (Invariant("x", [1.0, 2.0], "<=", 2.0), True),
        (Invariant("x", [1.0, 2.0 + 1e-6], "<=", 2.0), False),
        (Invariant("x", 2.0 * (1.0 + 1e-10), "<=", 2.0), True),
        (Invariant("x", [1.0, 2.0], ">=", 1.0), True),
        (Invariant("x", [1.0, 2.0], ">=", 1.1), False),
        (Invariant("x", 1e-12, "==", 0.0), False),
        (Invariant("x", 1e-12, "==", 0.0, 1.0), True),
        (Invariant("x", 1e-6, "==", 0.0, 1.0), False),
        (Invariant("x", np.nan, "<=", 1.0), False),
        (Invariant("x", np.nan, "==", np.nan), False),
        (Invariant("x", np.inf, "<=", 1.0), False),
        (Invariant("x", -np.inf, ">=", 1.0), False),
        (Invariant("x", np.inf, "==", 1.0), False),
        (Invariant("x", 5.0, "<=", np.inf), True),
        (Invariant("x", np.True_, "==", True), True),
        (Invariant("x", np.False_, "==", True), False),
        *((next(finite("x", np.array([[1.0, bad]]))), False) for bad in (np.nan, np.inf, -np.inf)),
        (next(finite("x", np.array([1e308, 1e308]))), True),
        (next(finite("x", np.array([1, 2]))), True),
    ],
)
def test_an_invariant(invariant, holds):
    assert invariant.holds() is holds


def test_finite_does_not_warn_of_overflow():
    (found,) = finite("x", np.array([LARGEST, LARGEST]))
    assert found.holds()
    assert (found.name, found.relation, found.limit) == ("x", "<=", LARGEST)


@pytest.mark.parametrize(("value", "holds"), [(0.0, True), (2.0, True), (-0.1, False), (2.1, False)])
def test_within_includes_its_limits(value, holds):
    assert all(each.holds() for each in within("x", np.array([1.0, value]), 0.0, 2.0)) is holds


def test_time_for_an_amount_is_zero_outside():
    amount, rate = np.array([[2.0, 3.0], [4.0, 5.0]]), np.array([[4.0, 0.0], [0.0, 2.0]])
    np.testing.assert_array_equal(over(amount, rate, rate > 0.0), [[0.5, 0.0], [0.0, 2.5]])
    np.testing.assert_array_equal(over(amount, amount, np.array([[True], [False]])), [[1.0, 1.0], [0.0, 0.0]])
