"""Checks of arguments: what passes comes back as a fresh array or number; errors name the value and the fix."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from edge_envs.core.validation import (
    finite_array,
    is_whole,
    nearest,
    number_within,
    one_of,
    positive_number,
    whole_number,
)


def test_arrays_come_back_fresh_and_contiguous():
    given = np.arange(6, dtype=np.float32).reshape(3, 2).T
    found = finite_array("x", given, (2, None))
    assert found.dtype == np.float64
    assert found.flags.c_contiguous
    found[0, 0] = 9.0
    assert given[0, 0] == 0.0
    assert finite_array("x", 2, ()) == 2.0


@pytest.mark.parametrize(
    ("values", "shape", "options", "message"),
    [
        ([1.0, 2.0], (3,), {}, "x has shape (2,), expected (3,)"),
        ([[1.0]], (None,), {}, "x has shape (1, 1), expected (any,)"),
        ([1.0, math.nan], (None,), {}, "x[1]=nan is not possible; give finite numbers >= 0"),
        ([[1.0, math.inf]], (1, 2), {}, "x[0, 1]=inf is not possible; give finite numbers >= 0"),
        ([-1.0], (1,), {}, "x[0]=-1.0 is not possible; give finite numbers >= 0"),
        ([0.0], (1,), {"strict": True}, "x[0]=0.0 is not possible; give finite numbers > 0"),
        ([-math.inf], (1,), {"low": -math.inf}, "x[0]=-inf is not possible; give finite numbers"),
        (-1.0, (), {}, "x=-1.0 is not possible; give finite numbers >= 0"),
        (["a"], (1,), {}, "x=['a'] is not possible; give an array of numbers"),
    ],
)
def test_bad_arrays_are_refused(values: Any, shape, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        finite_array("x", values, shape, **options)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_numbers_that_are_not_positive_are_refused(value):
    with pytest.raises(ValueError, match=r"^x=.* is not possible; give a finite number > 0$"):
        positive_number("x", value)


def test_positive_numbers():
    assert positive_number("x", 2) == 2.0
    assert positive_number("x", math.inf, infinite=True) == math.inf


@pytest.mark.parametrize("value", [True, 2.0, "2", None, 1, np.float64(3.0)])
def test_numbers_that_are_not_whole_are_refused(value):
    with pytest.raises(ValueError, match=r"^x=.* is not possible; give a whole number >= 2$"):
        whole_number("x", value, 2)


@pytest.mark.parametrize("value", [-1, 8, 2.0])
def test_whole_numbers_have_limits(value):
    with pytest.raises(ValueError, match=f"^x={value} is not possible; give a whole number from 0 to 7$"):
        whole_number("x", value, 0, 7)
    assert [whole_number("x", limit, 0, 7) for limit in (0, 7)] == [0, 7]


@pytest.mark.parametrize("value", ["sed", None, 3])
def test_unknown_words_are_refused(value):
    hint = r"did you mean 'seed'\?" if value == "sed" else "known: seed, mode"
    with pytest.raises(ValueError, match=f"^x={value!r} does not exist; {hint}$"):
        one_of("x", value, ["seed", "mode"])
    one_of("x", "mode", ["seed", "mode"])


def test_nearest():
    assert nearest("steal", ["steel", "glass"]) == "did you mean 'steel'?"
    assert nearest("xyz", ["steel", "glass"]) == "known: steel, glass"
    assert nearest("", []) == "known: "


def test_the_current_name_of_a_renamed_word_is_suggested():
    assert nearest("noise_dbm_h", ["noise_density", "power"], {"noise_dbm_hz": "noise_density"}).endswith(
        "'noise_density'?"
    )
    assert nearest("zzz", ["power"], {"noise_dbm_hz": "noise_density"}) == "known: power"


def test_whole_numbers():
    assert whole_number("x", np.int32(2), 2) == 2
    assert is_whole(np.uint8(1))
    assert not is_whole(np.True_)


@pytest.mark.parametrize("value", [1, 6, 3.0])
def test_whole_numbers_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match=rf"^x={value} is not possible; give a whole number from 2 to 5$"):
        whole_number("x", value, 2, 5)


@pytest.mark.parametrize("value", [-0.1, 4.1, math.nan, math.inf])
def test_numbers_out_of_range_are_refused(value):
    with pytest.raises(ValueError, match=rf"^x={value} is not possible; give a number from 0 to 4$"):
        number_within("x", value, 0.0, 4.0)


def test_numbers_within_a_range():
    assert whole_number("x", 5, 2, 5) == 5
    assert [number_within("x", value, 0.0, 4.0) for value in (0.0, 4.0)] == [0.0, 4.0]
    assert number_within("x", 4.0, 0.0, 4.0, strict=True) == 4.0
    with pytest.raises(ValueError, match=r"^x=0.0 is not possible; give a number above 0 and up to 4$"):
        number_within("x", 0.0, 0.0, 4.0, strict=True)
