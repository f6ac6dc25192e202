"""The kernels' parameters: types, SI units and derived values."""

from __future__ import annotations

import numpy as np
import pytest

from edge_envs.lyappo.config import LyaPPOConfig
from edge_envs.lyappo.model.parameters import parameters_of
from tests.lyappo.test_config import PRESETS, config


def test_kernel_parameters_are_of_one_type_for_all_presets():
    """One compilation serves them all."""
    kinds = {
        tuple(
            (type(value), getattr(value, "ndim", 0))
            for value in parameters_of(LyaPPOConfig.from_options(preset, options))
        )
        for preset in PRESETS
        for options in ({}, {"num_devices": 1, "decision": "joint"}, {"slot_s": 1, "bandwidth_hz": 1000000})
    }
    assert len(kinds) == 1


def test_parameters_are_in_si_units():
    p = parameters_of(config(num_devices=5))
    assert p.noise_w_per_hz == pytest.approx(10 ** (-17.4) / 1000, rel=1e-12)
    assert p.device_bandwidth_hz == pytest.approx(1e6 / 5)
    assert p.slots_per_period * p.slot_s == pytest.approx(0.1)
    np.testing.assert_allclose(p.backlog_price, [0.6 / 1e9, 0.2 / 1e6, 0.2 / 1e9])
    np.testing.assert_array_equal(p.distances_m, [150.0, 175.0, 200.0, 225.0, 250.0])


def test_regimes():
    still = parameters_of(config())
    assert (still.step_m, still.block_probability, still.clear_probability) == (0.0, 0.0, 1.0)
    assert (still.arrival_switch_probability, still.blocked_gain) == (0.0, 1.0)
    assert len(parameters_of(config(placement="uniform")).distances_m) == 0
    moving = parameters_of(LyaPPOConfig.from_options("dynamic-full", {"speed_m_per_s": 20.0, "slots_per_period": 5}))
    assert moving.step_m == pytest.approx(20.0 * 5 * 0.01)
    assert moving.blocked_gain == pytest.approx(1e-3)
    assert (moving.block_probability, moving.clear_probability) == (1 / 40, 1 / 20)
    assert moving.arrival_switch_probability == 0.025
    assert len(moving.distances_m) == 0


def test_one_device_stands_at_the_smallest_distance():
    np.testing.assert_array_equal(parameters_of(config(num_devices=1)).distances_m, [150.0])
