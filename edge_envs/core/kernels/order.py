"""Sorting of indices by a key."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel


@kernel
def sort_falling(order: NDArray[np.int64], first: int, count: int, key: NDArray[np.float64]) -> None:
    """Sort the indices `order[first : first + count]` by falling `key[index]`, equal keys by rising index.

    Shell sort: insertion sort for few indices, and fast for thousands.
    """
    gap = 1
    while 9 * gap < count:
        gap = 3 * gap + 1
    while gap > 0:
        for end in range(first + gap, first + count):
            index, place = order[end], end
            while place >= first + gap:
                before = order[place - gap]
                later = key[before] < key[index]
                if not (later or (key[before] == key[index] and before > index)):
                    break
                order[place] = before
                place -= gap
            order[place] = index
        gap //= 3
