"""Uniform random numbers for the kernels, drawn in blocks from the generator of each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel

BLOCK_STEPS = 4
"""Steps per block. Larger blocks need fewer calls, but exceed the processor's cache with 1024 worlds."""


def allocate_uniforms(batch: int, draws_per_step: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Blocks of shape (batch, BLOCK_STEPS, draws_per_step), and cursors that mark them as used up."""
    return np.zeros((batch, BLOCK_STEPS, draws_per_step)), np.full(batch, BLOCK_STEPS, dtype=np.int64)


def refill(
    uniforms: NDArray[np.float64],
    cursor: NDArray[np.int64],
    rows: NDArray[np.integer[Any]],
    rngs: Sequence[Generator],
) -> None:
    """Draw new blocks, in place, for those of `rows` that have used up theirs.

    A row draws after a fixed number of its own steps, so its random numbers do not depend on the batch. A reset sets
    the cursor to BLOCK_STEPS, which discards the rest of the block.
    """
    if used_up(cursor, rows):
        empty = rows[cursor[rows] >= BLOCK_STEPS]
        for row in empty.tolist():
            rngs[row].random(out=uniforms[row])
        cursor[empty] = 0


@kernel
def used_up(cursor: NDArray[np.int64], rows: NDArray[np.integer[Any]]) -> bool:
    """Return True if any of `rows` has used up its block."""
    found = False
    for i in range(len(rows)):
        found = found or cursor[rows[i]] >= BLOCK_STEPS
    return found
