"""Conversions between units of wireless papers and the SI units of the models.

Every function takes a float or a float array and returns the same type.
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", float, NDArray[np.float64])
"""A float or an array of floats."""

SPEED_OF_LIGHT = 3e8
"""Speed of light [m/s], rounded as in the papers; with the exact 299 792 458, a cubed gain would be 0.2 % lower."""


def db_to_linear(level_db: Value) -> Value:
    """Power ratio 10^(level_db / 10) of a level in dB."""
    ratio: Value = 10.0 ** (level_db / 10.0)
    return ratio


def linear_to_db(ratio: Value) -> Value:
    """Level 10 log10(ratio) [dB] of a power ratio; a ratio of 0 gives -inf, with a warning of numpy."""
    level_db: Value = 10.0 * np.log10(ratio)
    return level_db


def dbm_to_watt(level_dbm: Value) -> Value:
    """Power 10^((level_dbm - 30) / 10) [W] of a level in dBm, relative to one milliwatt; also dBm/Hz to W/Hz."""
    return db_to_linear(level_dbm - 30.0)
