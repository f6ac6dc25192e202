"""Uniform draws for the kernels: each row from its own generator, in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from edge_envs.core.kernels.jit import kernel

BLOCK_STEPS = 4
"""Steps drawn at once. A larger block saves calls but leaves the processor's cache at 1024 worlds."""


def allocate_uniforms(batch: int, draws_per_step: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Empty blocks of shape (batch, BLOCK_STEPS, draws_per_step) and their cursors, all used up."""
    return np.zeros((batch, BLOCK_STEPS, draws_per_step)), np.full(batch, BLOCK_STEPS, dtype=np.int64)


def refill(
    uniforms: NDArray[np.float64],
    cursor: NDArray[np.int64],
    rows: NDArray[np.integer[Any]],
    rngs: Sequence[Generator],
) -> None:
    """Draw the next block of every row of `rows` whose block is used up, in place.

    When a row draws depends on its own steps alone, so its stream is the same in any batch. A reset sets the cursor to
    BLOCK_STEPS, which drops what is left of the block.
    """
    if used_up(cursor, rows):
        empty = rows[cursor[rows] >= BLOCK_STEPS]
        for row in empty.tolist():
            rngs[row].random(out=uniforms[row])
        cursor[empty] = 0


@kernel
def used_up(cursor: NDArray[np.int64], rows: NDArray[np.integer[Any]]) -> bool:
    """Whether any of `rows` has used up its block."""
    found = False
    for i in range(len(rows)):
        found = found or cursor[rows[i]] >= BLOCK_STEPS
    return found
