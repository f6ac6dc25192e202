"""Presets, errors, derived tables and units of the split-learning system's configuration."""

import json
import math
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.core.physics.networks import NETWORKS
from edge_envs.dtirs.config import DTIRSConfig
from edge_envs.dtirs.model.parameters import Parameters, parameters_of
from edge_envs.dtirs.system import DTIRSSystem
from tests.dtirs.model import reference_frame as slow
from tests.helpers import assert_names_wrong_value

PRESETS = list(DTIRSConfig.presets)
every_preset = pytest.mark.parametrize("preset", PRESETS)
ACTIVATIONS = (65536, 16384, 32768, 8192, 16384, 16384, 4096, 8192, 8192, 2048, 512, 0)
WEIGHTS = (1792, 36928, 73856, 147584, 295168, 590080, 590080, 1180160, 2359808, 2359808, 1049088, 5130)
"""Of the default network, per layer: number of output values, number of weights and biases."""


def config(**options: Any) -> DTIRSConfig:
    return DTIRSConfig.from_options("default", options)


def parameters(**options: Any) -> Parameters:
    return parameters_of(config(**options))


# Presets


@every_preset
def test_presets_build_a_system(preset):
    system = DTIRSSystem.from_options(preset, {})
    system.allocate(2)
    assert system.config == DTIRSConfig.from_options(preset, {})


@every_preset
@pytest.mark.parametrize("options", [{}, {"num_devices": 1}, {"num_elements": 1, "num_antennas": 1}, {"cuts": "all"}])
def test_presets_take_overrides(preset, options):
    built = DTIRSConfig.from_options(preset, options)
    assert {key: getattr(built, key) for key in options} == options
    for name, value in parameters_of(built)._asdict().items():
        assert np.isfinite(value).all(), name
        if isinstance(value, np.ndarray):
            assert value.flags.c_contiguous, name


def test_presets_do_what_they_say():
    assert DTIRSConfig.from_options("default", {}) == DTIRSConfig()
    paper = DTIRSConfig.from_options("paper", {})
    assert (paper.num_devices, paper.num_elements, paper.num_antennas, paper.num_layers) == (100, 32, 32, 12)
    assert (paper.model, paper.cuts, paper.twins, paper.phase) == ("printed", "all", "threshold", "sdr")
    assert not paper.phase_polish, "Algorithm 4 has none"
    assert (paper.power_total_w, paper.noise_w, paper.rate_min_bit_s) == (3.0, 1e-11, 5e3)
    assert paper.device_share_min == 1.0, "no load but the model's"
    assert paper.devices == "frame"
    dense = DTIRSConfig.from_options("dense", {})
    assert dense == DTIRSConfig(num_devices=100, power_total_w=3.0)
    planning = DTIRSConfig.from_options("planning", {})
    assert (planning.num_devices, planning.migration, planning.exchanges_per_frame) == (10, True, 8)
    assert planning.cut_numbers[planning.initial_choice] == 2
    assert planning.replace(forecast_frames=()) == DTIRSConfig.from_options("planning-blind", {})
    assert DTIRSConfig().cut_numbers[DTIRSConfig().initial_choice] == 7, "the middle one"


def test_defaults_of_section_six():
    default = DTIRSConfig()
    expected = {
        "num_antennas": 32, "num_elements": 32, "layer_flop_min": 0.5e9, "layer_flop_max": 1.5e9,
        "speed_min_flop_s": 5e9, "speed_max_flop_s": 12e9, "reference_gain_db": -30.0, "ap_irs_exponent": 2.2,
        "irs_ud_exponent": 2.8, "fading_correlation": 0.0, "noise_w": 1e-11, "rate_min_bit_s": 5e3,
        "device_energy_coefficient": 1e-28, "first_cut": 1,
    }  # fmt: skip
    assert {key: getattr(default, key) for key in expected} == expected


def test_kernel_parameters_are_of_one_type_for_all_presets():
    """All presets use the same compiled kernels."""
    kinds = {
        tuple(
            (type(value), getattr(value, "ndim", 0), str(getattr(value, "dtype", ""))) for value in parameters_of(built)
        )
        for built in (
            *(DTIRSConfig.from_options(preset, {}) for preset in PRESETS),
            config(num_devices=1, frame_s=1, bandwidth_hz=1000000, weight_bits=1, reference_gain_db=-30),
            config(irs=False, first_cut=0, backlog=True, pool_levels=(1,), phase="random", uplink="independent"),
        )
    }
    assert len(kinds) == 1


@every_preset
def test_configurations_survive_json_and_change_by_replacement(preset):
    before = DTIRSConfig.from_options(preset, {"num_devices": 6})
    assert DTIRSConfig.model_validate_json(before.model_dump_json()) == before
    assert DTIRSConfig.from_options(preset, json.loads(json.dumps(before.model_dump()))) == before
    assert parameters_of(before).num_devices == 6
    after = before.replace(num_devices=3, uplink="independent", cuts="all")
    assert (after.num_devices, after.uplink, len(after.cut_numbers)) == (3, "independent", 12)
    assert parameters_of(after).fixed_devices.shape == (3, 18 if before.mobility == "circuit" else 15)
    assert before.num_devices == 6
    with pytest.raises(ValueError, match="frozen"):
        before.num_devices = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match="swap them"):
        before.replace(distance_min_m=14.0)


# Documentation


def test_every_field_is_documented_with_unit_and_source():
    for name, field in DTIRSConfig.model_fields.items():
        words = field.description
        assert words, f"{name} has no docstring"
        # Options that replace a component need no source; every number needs one.
        if name not in ("irs", "offline", "power", "phase"):
            assert re.search(r"paper|chosen|fitted|Fig\. 7", words), f"{name} names no source"
        if field.annotation in (int, float) and name != "devices_seed":
            assert re.search(r"\[[^\]]+\]", words), f"{name} names no unit"


@pytest.mark.parametrize(
    ("ending", "unit"),
    [("_hz", "Hz"), ("_s", "s"), ("_m", "m"), ("_m_per_s", "m/s"), ("_db", "dB"), ("_w", "W"), ("_bit_s", "bit/s"),
     ("_flop_s", "FLOP/s"), ("_probability", "-"), ("_layers", "layers"), ("_nats", "nat")],
)  # fmt: skip
def test_names_and_units_agree(ending, unit):
    endings = ("_m_per_s", "_flop_s", "_bit_s", "_probability", "_layers", "_nats", "_db", "_hz", "_s", "_w", "_m")
    others = {"weight_loss_s"}  # [s/nat]
    found = 0
    for name, field in DTIRSConfig.model_fields.items():
        if next((each for each in endings if name.endswith(each)), None) == ending and name not in others:
            found += 1
            assert f"[{unit}]" in (field.description or ""), name
    assert found


# Errors

POSITIVE: list[Any] = [0, -1.0, math.nan, math.inf, None]
NOT_NEGATIVE: list[Any] = [-1e-9, math.nan, math.inf, "much"]
SHARE: list[Any] = [-0.1, 1.1, math.nan]
CHOICE: list[Any] = ["maybe", None, 1]
WRONG: dict[str, list[Any]] = {
    "num_devices": [0, -1, 1025, 2.5, "many", None],
    "num_antennas": [0, 1025, 1.5],
    "num_elements": [0, 513, 8.5],
    "model": CHOICE,
    "network": ["resnet17@32", "vgg12@", "vgg12@-3", "", 12, None],
    "cuts": CHOICE,
    "first_cut": [-1, 2, 0.5],
    "batch_size": [0, 1025, 1.5],
    "word_bits": [0, 65, 7.5],
    "weight_bits": [0, 65, None],
    "bits_downlink": NOT_NEGATIVE,
    "bits_uplink": NOT_NEGATIVE,
    "layer_flop_min": NOT_NEGATIVE,
    "layer_flop_max": POSITIVE,
    "speed_min_flop_s": POSITIVE,
    "speed_max_flop_s": POSITIVE,
    "device_share_min": [0, *SHARE],
    "device_share_mean": [0, *SHARE],
    "device_share_deviation": NOT_NEGATIVE,
    "device_share_correlation": SHARE,
    "devices": CHOICE,
    "devices_seed": [-1, 0.5, None],
    "distance_min_m": POSITIVE,
    "distance_max_m": POSITIVE,
    "speed_m_per_s": NOT_NEGATIVE,
    "ap_irs_distance_m": POSITIVE,
    "reference_gain_db": [1, -201, math.nan],
    "ap_irs_exponent": POSITIVE,
    "irs_ud_exponent": POSITIVE,
    "fading_correlation": SHARE,
    "uplink": CHOICE,
    "irs": ["perhaps", None, 2],
    "direct_distance_m": POSITIVE,
    "direct_exponent": POSITIVE,
    "direct_blockage_db": NOT_NEGATIVE,
    "offline": ["perhaps", None, 2],
    "bandwidth_hz": POSITIVE,
    "bandwidth_sharing": CHOICE,
    "noise_w": POSITIVE,
    "power_total_w": POSITIVE,
    "power_max_w": POSITIVE,
    "power_uplink_w": POSITIVE,
    "power": CHOICE,
    "twin_budget_flop_s": POSITIVE,
    "pool_per_device_flop_s": POSITIVE,
    "pool_levels": [(), (1.0, 0.0), (1.0, -1.0), (1.0,) * 17, 1.0, (1.0, math.inf), None],
    "pool_stay_probability": SHARE,
    "backlog": ["perhaps", None, 2],
    "frame_s": POSITIVE,
    "twins": CHOICE,
    "compute_delay_total_s": POSITIVE,
    "rate_min_bit_s": NOT_NEGATIVE,
    "phase": CHOICE,
    "phase_samples": [0, 10_001, 1.5],
    "phase_polish": ["perhaps", None, 2],
    "phase_gap": [0, 1e-10, 0.1, math.nan],
    "phase_passes": [-1, 21, 0.5],
    "leakage_s": NOT_NEGATIVE,
    "leakage_layers": POSITIVE,
    "weight_loss_s": NOT_NEGATIVE,
    "loss_nats": NOT_NEGATIVE,
    "device_energy_coefficient": NOT_NEGATIVE,
    "flop_per_cycle": POSITIVE,
    "exchanges_per_frame": [0, 1_000_001, 1.5],
    "migration": ["perhaps", None, 2],
    "initial_cut": [-1, 1.5, "two"],
    "device_load": CHOICE,
    "busy_probability": SHARE,
    "free_probability": SHARE,
    "mobility": CHOICE,
    "period_min_frames": [0.5, math.nan, None],
    "period_max_frames": [0.5, math.inf, None],
    "stop_probability": SHARE,
    "go_probability": SHARE,
    "shadow_share_min": SHARE,
    "shadow_share_max": SHARE,
    "shadow_db": NOT_NEGATIVE,
    "observation": CHOICE,
    "forecast_frames": [(0,), (1, 1001), (1,) * 65, 3, None],
    "view": CHOICE,
}


def test_every_field_has_a_wrong_value():
    assert set(WRONG) == set(DTIRSConfig.model_fields)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong_values_are_named(name, value):
    assert assert_names_wrong_value(config, DTIRSConfig, name, value).count("is not possible") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer_flop_min": 2e9}, "layer_flop_min=2e+09 is above layer_flop_max=1.5e+09 [FLOP]"),
        ({"speed_max_flop_s": 1e9}, "speed_min_flop_s=5e+09 is above speed_max_flop_s=1e+09 [FLOP/s]"),
        ({"distance_min_m": 13.5}, "distance_min_m=13.5 is above distance_max_m=13 [m]"),
        ({"model": "printed"}, "cuts='useful' leaves only the first cut of model='printed'; use cuts='all'"),
        ({"model": "printed", "cuts": "all", "first_cut": 0}, "first_cut=0 needs model='extended'; use first_cut=1"),
        ({"model": "printed", "cuts": "all", "backlog": True}, "backlog=True needs model='extended'"),
        ({"model": "printed", "cuts": "all", "leakage_s": 0.1}, "leakage_s=0.1 needs model='extended'"),
        ({"offline": True}, "offline=True needs model='printed'"),
        ({"period_min_frames": 70.0}, "period_min_frames=70 is above period_max_frames=60 [frames]"),
        ({"shadow_share_min": 0.5}, "shadow_share_min=0.5 is above shadow_share_max=0.4 [-]"),
        ({"migration": True}, "migration=True needs twins='none'"),
        ({"migration": True, "twins": "none", "model": "printed", "cuts": "all"}, "migration=True needs model='ext"),
        ({"initial_cut": 3}, "initial_cut=3 is not a cut to choose from; known: 1, 2, 4, 7, 10, 11, 12"),
        ({"mobility": "circuit", "devices": "frame"}, "mobility='circuit' needs devices that last"),
        ({"forecast_frames": (1,), "mobility": "circuit"}, "forecast_frames needs mobility='circuit' and observ"),
        ({"forecast_frames": (1,), "observation": "full"}, "forecast_frames needs mobility='circuit' and observ"),
        ({"phase_passes": 1, "irs": False}, "phase_passes=1 has no IRS to set with irs=False"),
        ({"phase_passes": 2, "phase": "random"}, "phase_passes=2 needs phase='sdr' or 'ca'"),
    ],
)
def test_contradictions_are_named(options, words):
    with pytest.raises(ValueError, match="^" + re.escape(words)):
        config(**options)


@pytest.mark.parametrize(
    ("preset", "options", "words"),
    [
        ("default", {"num_device": 3}, "unexpected keyword argument 'num_device'; did you mean 'num_devices'"),
        ("default", {"phases": "ca"}, "unexpected keyword argument 'phases'; did you mean 'phase'"),
        ("papers", {}, "preset='papers' does not exist; did you mean 'paper'"),
        (None, {}, "preset=None does not exist"),
    ],
)
def test_unknown_keys_and_presets_name_the_nearest(preset, options, words):
    with pytest.raises(ValueError, match=words):
        DTIRSConfig.from_options(preset, options)
    with pytest.raises(ValueError, match=words):
        gym.make("DTIRS-v0", preset=preset, **options)


def test_limits_are_allowed():
    limits: list[dict[str, Any]] = [
        {"num_devices": 1024}, {"num_elements": 512, "num_antennas": 1}, {"first_cut": 0}, {"layer_flop_min": 0.0},
        {"layer_flop_min": 1.5e9}, {"speed_min_flop_s": 12e9}, {"distance_min_m": 13.0}, {"device_share_min": 1.0},
        {"device_share_correlation": 0.0}, {"device_share_correlation": 1.0}, {"device_share_deviation": 0.0},
        {"speed_m_per_s": 0.0}, {"fading_correlation": 1.0}, {"direct_blockage_db": 0.0}, {"pool_levels": (2.0,)},
        {"pool_stay_probability": 0.0}, {"pool_stay_probability": 1.0}, {"phase_passes": 20}, {"loss_nats": 0.0},
        {"device_energy_coefficient": 0.0}, {"rate_min_bit_s": 0.0}, {"pool_levels": (1.0,) * 16}, {"phase_gap": 1e-9},
        {"model": "printed", "cuts": "all", "bits_downlink": 0.0, "bits_uplink": 0.0},
    ]  # fmt: skip
    for options in limits:
        built = config(**options)
        assert {key: getattr(built, key) for key in options} == options
        parameters_of(built)


# Derived values


def test_bits_by_cut_of_the_default_network():
    p = parameters(cuts="all")
    np.testing.assert_array_equal(p.cut_numbers, np.arange(1, 13))
    np.testing.assert_array_equal(p.bits_up, np.array(ACTIVATIONS) * 64.0)
    np.testing.assert_array_equal(p.bits_down, p.bits_up)
    np.testing.assert_array_equal(p.sync_bits, np.cumsum(WEIGHTS) * 8.0)
    assert p.num_layers == 12
    useful = parameters()
    at = np.array([1, 2, 4, 7, 10, 11, 12])
    np.testing.assert_array_equal(useful.cut_numbers, at)
    for name in ("bits_up", "bits_down", "sync_bits"):
        np.testing.assert_array_equal(getattr(useful, name), getattr(p, name)[at - 1], err_msg=name)
    other = parameters(cuts="all", batch_size=3, word_bits=16, weight_bits=4)
    np.testing.assert_array_equal(other.bits_up, p.bits_up * 6 / 8)
    np.testing.assert_array_equal(other.sync_bits, p.sync_bits / 2)


def test_a_frame_of_many_exchanges_sends_as_many_features_but_the_weights_once():
    one, many = parameters(), parameters(exchanges_per_frame=7)
    for name in ("bits_up", "bits_down", "compute_delay_max_s"):
        np.testing.assert_allclose(getattr(many, name), 7.0 * np.asarray(getattr(one, name)), rtol=1e-15)
    np.testing.assert_array_equal(many.sync_bits, one.sync_bits)
    assert not one.migration_bits.any()
    moving = parameters(migration=True, twins="none", weight_bits=16)
    np.testing.assert_array_equal(moving.migration_bits, 2.0 * one.sync_bits)


def test_raw_input_is_sent_up_but_nothing_comes_down():
    p = parameters(first_cut=0, cuts="all")
    assert p.cut_numbers[0] == 0
    assert (p.bits_up[0], p.bits_down[0], p.sync_bits[0]) == (3 * 32 * 32 * 64.0, 0.0, 0.0)
    np.testing.assert_array_equal(p.bits_up[1:], parameters(cuts="all").bits_up)


def test_printed_model_sends_the_same_at_any_cut():
    p = parameters_of(DTIRSConfig.from_options("paper", {"bits_downlink": 3e5}))
    assert p.bits_down.tolist() == [3e5] * 12
    assert p.bits_up.tolist() == [5e5] * 12
    assert p.sync_bits.tolist() == [0.0] * 12
    silent = parameters_of(DTIRSConfig.from_options("paper", {"offline": True}))
    assert silent.bits_up.tolist() == silent.bits_down.tolist() == [0.0] * 12
    assert p.pool_levels.tolist() == [1.0]
    assert p.pool_flop_s == 5e12


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("first_cut", [0, 1])
@pytest.mark.parametrize("cuts", ["all", "useful"])
def test_bits_of_every_network_equal_the_slow_ones(name, first_cut, cuts):
    size = {"vgg12": "32", "ds-cnn": "49x10", "nin": "32"}.get(name, "224")
    built = config(network=f"{name}@{size}", first_cut=first_cut, cuts=cuts)
    p, bits = parameters_of(built), slow.bits_of(built)
    for ours, theirs in zip((p.cut_numbers, p.bits_down, p.bits_up, p.sync_bits), bits, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert p.cut_numbers[-1] == p.num_layers
    assert p.bits_up[-1] == 0.0


def test_path_losses_and_shares_by_hand():
    p = parameters()
    assert p.reference_gain == pytest.approx(1e-3, rel=1e-12)
    assert p.ap_irs_gain == pytest.approx(1e-3 * 30.0**-2.2, rel=1e-12)
    assert p.ap_irs_gain == pytest.approx(5.6272e-7, rel=1e-4)
    assert p.direct_gain == pytest.approx(1e-3 * 30.0**-2.8 * 10**-3.53, rel=1e-12)
    assert p.direct_gain == pytest.approx(2.1579e-11, rel=1e-4)
    assert p.compute_delay_max_s == pytest.approx(0.6)
    assert p.pool_flop_s == 2e11
    assert p.loss_s == pytest.approx(1e-3)
    assert p.step_m == 1.0
    assert parameters(frame_s=0.25, speed_m_per_s=3.0).step_m == 0.75
    assert parameters(bandwidth_sharing="shared").device_bandwidth_hz == 2e5
    assert parameters(bandwidth_sharing="shared", num_devices=1).device_bandwidth_hz == 2e6


def test_leakage_by_hand():
    p = parameters(cuts="all", leakage_s=0.3, first_cut=0)
    assert p.cut_leakage_s[:3] == pytest.approx([0.3, 0.3, 0.3 * math.exp(-1 / 3)])
    assert p.cut_leakage_s[11] == pytest.approx(0.3 * math.exp(-10 / 3))
    assert p.cut_leakage_s[12] == 0.0, "nothing is sent"
    steep = parameters(cuts="all", leakage_s=0.3, first_cut=0, leakage_layers=1e-5)
    assert steep.cut_leakage_s.tolist() == [0.3, 0.3] + [0.0] * 11
    assert not parameters(first_cut=0, leakage_layers=1e-5).cut_leakage_s.any()


def test_fixed_devices_belong_to_their_seed_and_nothing_else():
    base = parameters(num_devices=4).fixed_devices
    np.testing.assert_array_equal(base, parameters(num_devices=4, irs=False, twins="none").fixed_devices)
    assert not (base == parameters(num_devices=4, devices_seed=1).fixed_devices).any()


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [("energy_coefficient", "device_energy_coefficient", 0.5), ("loss_weight_s", "weight_loss_s", 0.5),
     ("value_bits", "word_bits", 5)],
)  # fmt: skip
def test_earlier_names_still_work(old, new, value):
    with pytest.warns(DeprecationWarning, match=f"{old} is now called {new}"):
        assert config(**{old: value}) == config(**{new: value})
    assert set(DTIRSConfig.renamed) == {"energy_coefficient", "loss_weight_s", "value_bits"}
