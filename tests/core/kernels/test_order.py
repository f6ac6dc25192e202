"""Sorting of indices by a key, against Python's sort."""

from __future__ import annotations

import numpy as np
import pytest

from edge_envs.core.kernels.order import sort_falling

SIZES = (0, 1, 2, 3, 9, 10, 36, 37, 200, 1250)


def expected(indices, key):
    """Largest key first, equal keys by index."""
    return sorted(indices, key=lambda i: (-key[i], i))


@pytest.mark.parametrize("count", SIZES)
@pytest.mark.parametrize("different", [2, 10, 10_000])
def test_it_sorts_a_part_with_ties_by_index(count, different):
    rng = np.random.default_rng(count)
    key = rng.integers(0, different, count + 5).astype(float)
    order = rng.permutation(count + 5)
    before = order.copy()
    sort_falling(order, 2, count, key)
    assert order[2 : 2 + count].tolist() == expected(before[2 : 2 + count].tolist(), key)
    assert order[:2].tolist() == before[:2].tolist()
    assert order[2 + count :].tolist() == before[2 + count :].tolist()


def test_infinite_keys_are_the_ends():
    order = np.arange(4)
    sort_falling(order, 0, 4, np.array([0.0, -np.inf, np.inf, 1.0]))
    assert order.tolist() == [2, 3, 0, 1]
