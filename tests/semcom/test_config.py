"""Presets, errors, units and derived values of the semantic communication system's configuration."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.semcom.config import SemComConfig
from edge_envs.semcom.image_quality import PSNR_LAWS
from edge_envs.semcom.model.parameters import parameters_of
from edge_envs.semcom.system import SemComSystem
from tests.helpers import assert_names_wrong_value
from tests.semcom.model.reference_round import COEFFICIENTS

PRESETS = list(SemComConfig.presets)
every_preset = pytest.mark.parametrize("preset", PRESETS)
OPTIONS: list[dict[str, Any]] = [
    {}, {"num_devices": 1}, {"num_devices": 3, "decision": "joint"},
    {"psnr_law": "printed", "snr_clip_db": (0.0, 20.0)}, {"decision": "power_bandwidth", "solver": "p3_only"},
    {"psnr_mode": "utility"}, {"psnr_target_fraction": None},
    {"psnr_law": (5.0, 1.0, 4.0, 2.0, 0.05), "snr_unit": "linear"}, {"observe_geometry": True}, {"samples": 7},
]  # fmt: skip


def config(**options: Any) -> SemComConfig:
    return SemComConfig.from_options("default", options)


# Presets


@every_preset
def test_presets_build_a_system(preset):
    system = SemComSystem.from_options(preset, {})
    system.allocate(2)
    assert system.config == SemComConfig.from_options(preset, {})


@every_preset
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_presets_take_overrides(preset, options):
    built = SemComConfig.from_options(preset, {"calibration_rounds": 2, **options})
    assert {key: getattr(built, key) for key in options} == options
    for name, value in parameters_of(built)._asdict().items():
        if name != "law":
            assert np.isfinite(value).all(), name
        if isinstance(value, np.ndarray):
            assert value.dtype == np.float64
            assert value.flags.c_contiguous, name


def test_presets_do_what_they_say():
    """Each differs from the defaults in nothing but what it is for."""
    differing = {
        preset: {
            name for name, value in SemComConfig.from_options(preset, {}) if value != getattr(SemComConfig(), name)
        }
        for preset in PRESETS
    }
    assert differing == {
        "default": set(), "mild": {"extra_gain_db"}, "table2": {"extra_gain_db"},
        "random": {"geometry", "calibration_rounds"},
        "paper": {"num_devices", "bandwidth_hz", "extra_gain_db", "geometry", "fading", "psnr_mode"},
    }  # fmt: skip
    gains = {preset: SemComConfig.from_options(preset, {}).extra_gain_db for preset in PRESETS}
    assert gains == {"default": -25.0, "mild": -15.0, "table2": 0.0, "random": -25.0, "paper": 0.0}
    paper = SemComConfig.from_options("paper", {})
    assert (paper.num_devices, paper.bandwidth_hz, paper.fading, paper.psnr_mode) == (50, 20e6, False, "hard")
    assert paper.geometry == SemComConfig.from_options("random", {}).geometry == "random"


def test_defaults_of_table_two():
    """What the paper gives, and the same bandwidth per device for fewer devices."""
    default = SemComConfig()
    expected = {
        "radius_m": 250.0, "loss_at_1_km_db": 128.1, "loss_per_decade_db": 37.6, "shadowing_db": 8.0,
        "noise_dbm_per_hz": -174.0, "power_max_dbm": 20.0, "device_frequency_max_hz": 1e9,
        "server_frequency_max_hz": 5e9, "device_energy_coefficient": 1e-28, "server_energy_coefficient": 1e-28,
        "samples": 32, "bits_per_sample": 1e6, "device_cycles": (1e6, 3e6), "server_cycles": (3e6, 5e6),
        "compression_min": 0.1, "compression_max": 0.3, "weight_time": 0.5, "psnr_min_db": 25.0,
    }  # fmt: skip
    assert {key: getattr(default, key) for key in expected} == expected
    assert default.bandwidth_hz / default.num_devices == 20e6 / 50


def test_kernel_parameters_are_of_one_type_for_all():
    """One compilation serves them all."""
    kinds = {
        tuple(
            (type(value), getattr(value, "ndim", 0))
            for value in parameters_of(SemComConfig.from_options(preset, {"calibration_rounds": 2, **options}))
        )
        for preset in PRESETS
        for options in [*OPTIONS, {"bandwidth_hz": 4_000_000, "psnr_min_db": 25, "deadline_s": 3}]
    }
    assert len(kinds) == 1
    laws = {tuple(map(type, config(**options).law)) for options in [*OPTIONS, {"psnr_law": (5, 1, 4, 2, 1)}]}
    assert len(laws) == 1


@every_preset
def test_configurations_go_through_text(preset):
    """Options are what a JSON file can hold, lists in place of tuples included."""
    options = {"psnr_law": [5.0, 1.0, 4.0, 2.0, 0.05], "snr_clip_db": [0, 20], "device_cycles": [1e6, 2e6]}
    built = SemComConfig.from_options(preset, options)
    assert built.psnr_law == (5.0, 1.0, 4.0, 2.0, 0.05)
    assert SemComConfig.from_options("default", json.loads(built.model_dump_json())) == built


def test_replace_validates_and_forgets_what_was_derived():
    before = config(num_devices=2)
    assert before.law.offset == 3.689
    after = before.replace(psnr_law="printed", compression_max=0.4)
    assert (after.law.offset, after.compression_max, after.num_devices) == (5.11, 0.4, 2)
    assert before.law.offset == 3.689
    with pytest.raises(ValueError, match=r"compression_min=.* is above"):
        before.replace(compression_max=0.05)
    with pytest.raises(ValueError, match="frozen"):
        before.num_devices = 3  # type: ignore[misc]


# Documentation


def test_every_field_is_documented_with_unit_and_source():
    for name, field in SemComConfig.model_fields.items():
        words = field.description
        assert words, f"{name} has no docstring"
        # psnr_mode selects among designs of our own and the paper's; every other field names its source.
        if name != "psnr_mode":
            assert re.search(r"paper|chosen", words), f"{name} names no source"
        if field.annotation in (int, float):
            assert re.search(r"\[[^\]]+\]", words), f"{name} names no unit"


@pytest.mark.parametrize(
    ("ending", "unit"),
    [("_hz", ("Hz", "cycles/s")), ("_s", ("s",)), ("_m", ("m",)), ("_db", ("dB",)), ("_dbm", ("dBm",)),
     ("_dbm_per_hz", ("dBm/Hz",)), ("_per_db", ("1/dB",)), ("_cycles", ("cycles/image",)), ("_rounds", ("rounds",))],
)  # fmt: skip
def test_names_and_units_agree(ending, unit):
    endings = ("_dbm_per_hz", "_per_db", "_rounds", "_cycles", "_dbm", "_db", "_hz", "_s", "_m")
    others = {"loss_at_1_km_db", "psnr_target_fraction"}
    found = 0
    for name, field in SemComConfig.model_fields.items():
        own = next((each for each in endings if name.endswith(each)), None)
        if own == ending and name not in others:
            found += 1
            assert any(f"[{each}" in (field.description or "") for each in unit), name
    assert found


# Errors

WRONG: dict[str, list[Any]] = {
    "num_devices": [0, -1, 10_001, 2.5, "many", None],
    "bandwidth_hz": [0, -1.0, math.nan, math.inf],
    "radius_m": [0, -250, math.inf],
    "distance_min_m": [0, -10],
    "loss_at_1_km_db": [-301, 301, math.nan],
    "loss_per_decade_db": [-0.1, 301],
    "shadowing_db": [-1, 51],
    "extra_gain_db": [-41, 101, math.nan],
    "geometry": ["circle", None, 1],
    "geometry_seed": [-1, 0.5, None],
    "fading": ["maybe", None, 2],
    "fading_correlation": [-0.1, 1.1, math.nan],
    "fade_floor": [0, -0.01, 1e-7, 1.1],
    "noise_dbm_per_hz": [1, -301, math.nan, "low"],
    "power_max_dbm": [61, -21, math.inf],
    "device_frequency_max_hz": [0, -1e9],
    "server_frequency_max_hz": [0, math.inf],
    "device_energy_coefficient": [0, -1e-28],
    "server_energy_coefficient": [0, math.nan],
    "samples": [0, 1_000_001, 1.5],
    "bits_per_sample": [0, -1e6],
    "device_cycles": [(0, 1e6), (1e6,), (1e6, 2e6, 3e6), 1e6, (1e6, math.inf)],
    "server_cycles": [(-1, 1e6), (1e6, math.nan), None],
    "compression_min": [0, 1, -0.1, 1.5],
    "compression_max": [0, 1.01],
    "weight_time": [0, 1, -0.5, 2],
    "psnr_law": ["print", 3, (1, 2, 3, 4), (0, 1, 4, 2, 1), (5, 1, 4, -2, 1), (5, 1, math.nan, 2, 1), None],
    "snr_unit": ["dB", "ratio", None],
    "snr_clip_db": [(0,), 20.0, (0, math.inf), "high"],
    "psnr_mode": ["soft", None],
    "psnr_target_fraction": [-0.1, 1.1, "half"],
    "psnr_min_db": [-1, 101, None],
    "queue_weight": [0, -1, math.inf],
    "initial_queue_max_db": [-1, math.nan],
    "shortfall_penalty": [-1, math.inf],
    "psnr_weight_per_db": [-1],
    "deadline_s": [0, -120, 2e9, math.inf],
    "decision": ["all", None],
    "solver": ["fast", None],
    "observe_price": ["x", None],
    "observe_geometry": ["x", 2],
    "calibration_rounds": [0, 100_001, 2.5],
}


def test_every_field_has_a_wrong_value():
    assert set(WRONG) == set(SemComConfig.model_fields)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong_values_are_named(name, value):
    assert_names_wrong_value(config, SemComConfig, name, value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"distance_min_m": 251}, "distance_min_m=251 is above radius_m=250 [m]"),
        ({"radius_m": 5}, "distance_min_m=10 is above radius_m=5 [m]"),
        ({"compression_min": 0.31}, "compression_min=0.31 is above compression_max=0.3"),
        ({"compression_max": 0.09}, "compression_min=0.1 is above compression_max=0.09"),
        ({"device_cycles": (3e6, 1e6)}, "device_cycles=(3000000.0, 1000000.0) has its limits in the wrong order"),
        ({"server_cycles": (5e6, 3e6)}, "server_cycles=(5000000.0, 3000000.0) has its limits in the wrong order"),
        ({"snr_clip_db": (20, 0)}, "snr_clip_db=(20.0, 0.0) has its limits in the wrong order"),
        ({"decision": "power_bandwidth", "solver": "alg3"}, "solver='alg3' sets powers and bandwidths"),
        ({"decision": "joint", "solver": "alg3"}, "solver='alg3' solves nothing with decision='joint'"),
        ({"decision": "joint", "solver": "p3_only"}, "solver='p3_only' solves nothing with decision='joint'"),
        (
            {"fading": False, "psnr_mode": "hard", "observe_price": False, "observe_geometry": False},
            "observe_geometry=False leaves nothing to observe",
        ),
        ({"psnr_law": (18.67, 1.0, -0.153, 1.52, 0.03)}, "has no logarithm at 0 dB SNR; raise its third number"),
        ({"psnr_law": (18.67, 2.0, -0.31, 1.52, 0.03)}, "psnr_law=(18.67, 2.0, -0.31, 1.52, 0.03) has no logarithm"),
    ],
)
def test_contradictions_are_named(options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        config(**options)


@pytest.mark.parametrize(
    ("preset", "options", "words"),
    [
        ("default", {"num_device": 3}, "unexpected keyword argument 'num_device'; did you mean 'num_devices'"),
        ("default", {"psnr_min": 3}, "unexpected keyword argument 'psnr_min'; did you mean 'psnr_min_db'"),
        ("papers", {}, "preset='papers' does not exist; did you mean 'paper'"),
        (None, {}, "preset=None does not exist"),
    ],
)
def test_unknown_keys_and_presets_name_the_nearest(preset, options, words):
    with pytest.raises(ValueError, match=words):
        SemComConfig.from_options(preset, options)
    with pytest.raises(ValueError, match=words):
        gym.make("SemCom-v0", preset=preset, **options)


def test_limits_are_allowed():
    limits: list[dict[str, Any]] = [
        {"num_devices": 10_000, "calibration_rounds": 1}, {"distance_min_m": 250.0}, {"compression_min": 0.3},
        {"compression_max": 1.0}, {"device_cycles": (2e6, 2e6)}, {"snr_clip_db": (3.0, 3.0)}, {"fade_floor": 1.0},
        {"fading_correlation": 0.0}, {"fading_correlation": 1.0}, {"psnr_target_fraction": 0.0}, {"shadowing_db": 0.0},
        {"psnr_target_fraction": 1.0}, {"psnr_law": (18.67, 1.0, -0.15, 1.52, 0.03)},
        {"fading": False, "psnr_mode": "hard", "observe_geometry": False, "observe_price": True},
        {"fading": False, "psnr_mode": "hard", "observe_price": False},
    ]  # fmt: skip
    for options in limits:
        built = config(**options)
        assert {key: getattr(built, key) for key in options} == options


# Derived values and units


def test_kernel_is_in_si_units():
    p = parameters_of(config(num_devices=5, power_max_dbm=17.0, extra_gain_db=-13.0, samples=7, bits_per_sample=3e5))
    assert p.noise_w_per_hz == pytest.approx(3.981e-21, rel=1e-4)
    assert p.power_max_w == pytest.approx(0.0501187, rel=1e-5)
    assert p.placement.extra_gain == pytest.approx(0.0501187, rel=1e-5)
    assert p.raw_bits == pytest.approx(2.1e6)
    assert p.weight_time + p.weight_energy == pytest.approx(1.0)
    assert p.fixed_geometry.shape == (3, 5)
    assert p.calibration_fades.shape == (1000, 5)


def test_laws_by_name():
    assert dict(PSNR_LAWS) == COEFFICIENTS
    for name, numbers in COEFFICIENTS.items():
        assert config(psnr_law=name).law[:5] == numbers
    own = config(psnr_law=(5.0, 1.0, 4.0, 2.0, 0.05), snr_unit="linear", snr_clip_db=(-3.0, 17.0)).law
    assert own == (5.0, 1.0, 4.0, 2.0, 0.05, False, -3.0, 17.0)
    assert config().law[5:] == (True, -math.inf, math.inf)


def test_geometry_is_shown_where_it_can_differ():
    assert not config().shows_geometry
    assert config(geometry="random").shows_geometry
    assert config(fading=False).shows_geometry
    assert config(observe_geometry=True).shows_geometry
    assert not config(geometry="random", observe_geometry=False).shows_geometry


def test_geometry_belongs_to_its_seed_and_nothing_else():
    base = parameters_of(config(num_devices=4)).fixed_geometry
    np.testing.assert_array_equal(
        base, parameters_of(config(num_devices=4, queue_weight=7.0, fading=False)).fixed_geometry
    )
    assert not (base == parameters_of(config(num_devices=4, geometry_seed=2)).fixed_geometry).any()
    # A weaker link is the same link.
    weak = parameters_of(config(num_devices=4, extra_gain_db=-35.0)).fixed_geometry
    np.testing.assert_allclose(weak[0] * 10.0, base[0], rtol=1e-12)
    np.testing.assert_array_equal(weak[1:], base[1:])


def test_one_round_calibrates_a_channel_that_stands_still():
    np.testing.assert_array_equal(parameters_of(config(fading=False, num_devices=3)).calibration_fades, np.ones((1, 3)))
