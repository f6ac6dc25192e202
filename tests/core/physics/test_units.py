"""Unit conversions against hand-computed values."""

import numpy as np
import pytest

from edge_envs.core.physics import units


@pytest.mark.parametrize(
    ("level_db", "ratio"),
    [(0.0, 1.0), (10.0, 10.0), (-30.0, 1e-3), (3.0, 1.9952623149688795), (35.3, 3388.44156)],
)
def test_decibels_are_ten_times_the_decimal_logarithm(level_db, ratio):
    assert units.db_to_linear(level_db) == pytest.approx(ratio, rel=1e-9)
    assert units.linear_to_db(ratio) == pytest.approx(level_db, abs=1e-8)


@pytest.mark.parametrize(
    ("level_dbm", "power_w"),
    [(0.0, 1e-3), (20.0, 0.1), (25.0, 0.31622776601683794), (30.0, 1.0), (50.0, 100.0)],
)
def test_dbm_is_decibels_over_one_milliwatt(level_dbm, power_w):
    assert units.dbm_to_watt(level_dbm) == pytest.approx(power_w, rel=1e-14)


def test_thermal_noise_is_ten_to_the_minus_17_4_milliwatt_per_hertz():
    assert units.dbm_to_watt(-174.0) == pytest.approx(10**-17.4 * 1e-3, rel=1e-14)
    assert units.dbm_to_watt(-174.0) == pytest.approx(3.981e-21, rel=1e-4)


@pytest.mark.parametrize(
    "convert",
    [
        units.db_to_linear,
        units.linear_to_db,
        units.dbm_to_watt,
    ],
)
def test_arrays_convert_entry_by_entry_and_keep_their_shape(convert):
    values = np.array([[0.3, 1.0, 7.5], [20.0, 174.0, 3e5 / 1e4]])
    converted = convert(values)
    assert converted.shape == values.shape
    assert converted.dtype == np.float64
    expected = [[convert(float(value)) for value in row] for row in values]
    np.testing.assert_allclose(converted, expected, rtol=1e-14)
    assert isinstance(convert(0.3), float)


def test_round_trips_over_forty_decades():
    values = np.logspace(-25, 15, 81)
    np.testing.assert_allclose(units.db_to_linear(units.linear_to_db(values)), values, rtol=1e-13)


def test_no_power_is_minus_infinity_decibels():
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        assert units.linear_to_db(0.0) == -np.inf


def test_the_speed_of_light_is_the_papers_round_number():
    assert units.SPEED_OF_LIGHT == 3e8
