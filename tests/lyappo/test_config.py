"""Presets, errors, derived tables and units of the XR system's configuration."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from edge_envs.core.physics.networks import parse_network
from edge_envs.lyappo.config import TASKS_PER_SLOT_MAX, LyaPPOConfig
from edge_envs.lyappo.model.parameters import parameters_of
from edge_envs.lyappo.system import LyaPPOSystem

PRESETS = list(LyaPPOConfig.presets)
every_preset = pytest.mark.parametrize("preset", PRESETS)


def config(**options: Any) -> LyaPPOConfig:
    return LyaPPOConfig.from_options("default", options)


# Presets


@every_preset
def test_presets_build_a_system(preset):
    system = LyaPPOSystem.from_options(preset, {})
    system.allocate(2)
    assert system.config == LyaPPOConfig.from_options(preset, {})


@every_preset
@pytest.mark.parametrize("options", [{}, {"num_devices": 1}, {"num_devices": 9, "num_services": 1}, {"cuts": "all"}])
def test_presets_take_overrides(preset, options):
    built = LyaPPOConfig.from_options(preset, options)
    assert {key: getattr(built, key) for key in options} == options
    parameters = parameters_of(built)
    for name, value in parameters._asdict().items():
        assert np.isfinite(value).all(), name
        if isinstance(value, np.ndarray):
            assert value.dtype == np.float64
            assert value.flags.c_contiguous, name


def test_presets_do_what_they_say():
    assert LyaPPOConfig.from_options("default", {}) == LyaPPOConfig()
    paper = LyaPPOConfig.from_options("paper", {})
    assert (paper.weight_local, paper.weight_transmit, paper.k_min, paper.observation) == (1e18, 1e12, 1, "paper")
    dynamic = LyaPPOConfig.from_options("dynamic", {})
    assert (dynamic.placement, dynamic.blockage_loss_db, dynamic.distance_min_m) == ("mobile", 30.0, 50.0)
    full = LyaPPOConfig.from_options("dynamic-full", {})
    assert (full.placement, len(full.arrival_levels), full.fading_correlation) == ("mobile", 3, 0.9)


def test_earlier_names_still_work():
    earlier = {"frequency_local_max_hz": 1e9, "frequency_edge_max_hz": 2e9, "energy_coefficient": 3e-28}
    with pytest.warns(DeprecationWarning, match="is now called"):
        built = config(**earlier)
    now = built.device_frequency_max_hz, built.server_frequency_max_hz, built.device_energy_coefficient
    assert now == tuple(earlier.values())


@pytest.mark.parametrize("name", ["cuts", "arrival_rate_per", "placement", "decision", "solver", "observation"])
def test_options_with_named_values_are_plain_strings(name):
    """The default and every value listed in the error are of type str, as a JSON document holds them."""
    assert type(getattr(config(), name)) is str
    with pytest.raises(ValueError, match="Input should be") as caught:
        config(**{name: "none of them"})
    values = re.findall(r"'(\w+)'", str(caught.value).split("Input should be")[1].split("(")[0])
    assert len(values) >= 2
    for value in values:
        options = {"decision": "partition", name: value}
        assert type(getattr(config(**options), name)) is str


# Documentation


def test_every_field_is_documented_with_unit_and_source():
    for name, field in LyaPPOConfig.model_fields.items():
        words = field.description
        assert words, f"{name} has no docstring"
        assert re.search(r"paper|chosen|constraint C|slow reference", words), f"{name} names no source"
        if field.annotation in (int, float):
            assert re.search(r"\[[^\]]+\]", words), f"{name} names no unit"


@pytest.mark.parametrize(
    ("ending", "unit"),
    [("_hz", ("Hz", "cycles/s")), ("_s", ("s",)), ("_w", ("W",)), ("_m", ("m",)), ("_m_per_s", ("m/s",)),
     ("_db", ("dB",)), ("_dbm_per_hz", ("dBm/Hz",)), ("_periods", ("periods",)), ("_probability", ("-",))],
)  # fmt: skip
def test_names_and_units_agree(ending, unit):
    endings = ("_dbm_per_hz", "_m_per_s", "_periods", "_probability", "_db", "_hz", "_s", "_w", "_m")
    found = 0
    for name, field in LyaPPOConfig.model_fields.items():
        own = next((each for each in endings if name.endswith(each)), None)
        if own == ending:
            found += 1
            assert any(f"[{each}]" in (field.description or "") for each in unit), name
    assert found


def test_defaults_of_table_two():
    default = LyaPPOConfig()
    expected = {
        "num_devices": 4, "num_services": 2, "slot_s": 0.01, "slots_per_period": 10, "arrival_rate": 0.2,
        "device_frequency_max_hz": 1.5e9, "server_frequency_max_hz": 20e9, "power_max_w": 0.3, "bandwidth_hz": 1e6,
        "noise_dbm_per_hz": -174.0, "antenna_gain": 3.0, "carrier_hz": 915e6, "path_loss_exponent": 3.0,
        "distance_min_m": 150.0, "distance_max_m": 250.0, "cycles_per_mac": 0.12, "device_energy_coefficient": 1e-28,
        "backlog_weights": (0.6, 0.2, 0.2),
    }  # fmt: skip
    assert {key: getattr(default, key) for key in expected} == expected


# Errors

WRONG: dict[str, list[Any]] = {
    "num_devices": [0, -1, 1025, 2.5, "many", None],
    "num_services": [0, 17, 1.5],
    "networks": ["resnet18@96", 3, (1, 2), [None]],
    "cuts": ["some", None, 1],
    "word_bits": [0, 65, 7.5],
    "k_min": [-1, 0.5],
    "slot_s": [0, -0.01, math.nan, math.inf, "short"],
    "slots_per_period": [0, -3, 1.5],
    "arrival_rate": [-0.1, math.nan, math.inf],
    "arrival_rate_per": ["minute", None],
    "device_frequency_max_hz": [0, -1e9],
    "server_frequency_max_hz": [0, math.inf],
    "power_max_w": [0, -0.3, math.nan],
    "bandwidth_hz": [0, -1],
    "noise_dbm_per_hz": [math.nan, math.inf, -math.inf, "low"],
    "antenna_gain": [0, -3],
    "carrier_hz": [0, -1],
    "path_loss_exponent": [0, -3],
    "placement": ["circle", None],
    "distance_min_m": [0, -5],
    "distance_max_m": [0, math.inf],
    "speed_m_per_s": [-1],
    "reversal_probability": [-0.1, 1.1],
    "blockage_loss_db": [-3, math.inf],
    "blockage_clear_periods": [0.9, 0, math.inf],
    "blockage_blocked_periods": [0.9, -1],
    "fading_correlation": [-0.1, 1.0, 2],
    "arrival_levels": [(0.1, -0.1), (math.nan, 0.1), 0.1],
    "arrival_switch_probability": [-0.1, 1.1],
    "cycles_per_mac": [0, -0.12],
    "device_energy_coefficient": [0, -1e-28],
    "weight_local": [0, -1],
    "weight_transmit": [0, -1],
    "reward_energy_per_j": [-1, math.nan],
    "reward_backlog": [-1, math.inf],
    "backlog_weights": [(1, 1), (1, 1, 1, 1), (0.5, -0.1, 0.6), 1],
    "backlog_scales": [(1e9, 0, 1e9), (1e9, 1e6)],
    "queue_capacity": [0, 1_000_001, 1.5],
    "decision": ["both", None],
    "solver": ["fast", None],
    "observation": ["full", None],
}


def test_every_field_has_a_wrong_value():
    assert set(WRONG) == set(LyaPPOConfig.model_fields)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong_values_are_named(name, value):
    with pytest.raises(ValueError, match=rf"{name}(\[\d\])?=?.* is not possible: ") as caught:
        config(**{name: value})
    message = str(caught.value)
    assert message.startswith(name)
    # the value itself, or that of the entry which is wrong
    parts = [value, *(value if isinstance(value, (tuple, list)) else [])]
    assert any(f"={part!r} is not possible" in message for part in parts) or "[" in message
    assert (LyaPPOConfig.model_fields[name].description or "?").split("\n")[0] in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_services": 5}, "num_services=5 is more than the 4 entries of networks"),
        ({"networks": ()}, "num_services=2 is more than the 0 entries of networks"),
        ({"networks": ("alexnet@64",)}, "num_services=2 is more than the 1 entries of networks"),
        ({"distance_min_m": 251}, "distance_min_m=251 is above distance_max_m=250 [m]"),
        ({"distance_max_m": 100}, "distance_min_m=150 is above distance_max_m=100 [m]"),
        ({"arrival_levels": (0.2,)}, "arrival_levels has one entry"),
        ({"arrival_rate": 50.1}, "arrivals of 50.1 tasks per slot and service are above 50"),
        ({"arrival_levels": (0.1, 51)}, "arrivals of 51 tasks per slot and service are above 50"),
        ({"arrival_rate": 600, "arrival_rate_per": "second", "slot_s": 0.1}, "arrivals of 60 tasks per slot"),
        ({"decision": "joint", "solver": "cvxpy"}, "solver='cvxpy' has no effect with decision='joint'"),
        ({"k_min": 6}, "k_min=6 is above the last cut 5 of resnet18@96"),
        ({"num_services": 1, "networks": ("nin",), "k_min": 99}, "k_min=99 is above the last cut"),
    ],
)
def test_contradictions_are_named(options, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        config(**options)


@pytest.mark.parametrize(
    "networks",
    [
        ("resnet99@96", "alexnet@64"),
        ("resnet18@", "alexnet@64"),
        ("resnet18@0", "alexnet@64"),
        ("alexnet@64", "alexnet@20"),
    ],
)
def test_unknown_networks_are_named(networks):
    with pytest.raises(ValueError, match="network") as caught:
        config(networks=networks)
    assert "networks" in str(caught.value)


def test_unknown_networks_are_refused():
    with pytest.raises(ValueError, match="unknown network 'resnet99'; nearest is 'resnet18'"):
        config(networks=("resnet99@96", "alexnet@64"))
    with pytest.raises(ValueError, match="network spec 'resnet18@' should be"):
        config(networks=("resnet18@", "alexnet@64"))


def test_absurd_noise_is_refused():
    with pytest.raises(ValueError, match="noise_dbm_per_hz"):
        parameters_of(config(noise_dbm_per_hz=4000.0))


def test_limits_are_allowed():
    limits: list[dict[str, Any]] = [
        {"arrival_rate": TASKS_PER_SLOT_MAX},
        {"distance_min_m": 250.0, "distance_max_m": 250.0},
        {"k_min": 5},
        {"num_devices": 1024, "num_services": 4},
        {"blockage_clear_periods": 1, "blockage_blocked_periods": 1, "blockage_loss_db": 3},
        {"reversal_probability": 1, "arrival_switch_probability": 0},
    ]
    for options in limits:
        built = config(**options)
        assert {key: getattr(built, key) for key in options} == options


# Derived tables


@pytest.mark.parametrize("cuts", ["useful", "all"])
@pytest.mark.parametrize("networks", [LyaPPOConfig().networks, ("vgg16", "ds-cnn@49x10", "nin", "squeezenet1.1@224")])
def test_stage_work(networks, cuts):
    built = config(networks=networks, num_services=4, cuts=cuts, cycles_per_mac=0.3, word_bits=16)
    work, last = built.stage_work, built.last_cut
    assert work.shape == (3, 4, last.max() + 1)
    for n, spec in enumerate(networks):
        network = parse_network(spec)
        local, bits, edge = work[:, n, : last[n] + 1]
        total = 0.3 * sum(layer.macs for layer in network.layers)
        # whatever the cut, the cycles of device and server are those of the network
        np.testing.assert_allclose(local + edge, total, rtol=1e-12)
        assert (np.diff(local) >= 0).all()
        # nothing on the device at the first cut, which sends the input; nothing beyond the device at the last
        assert (local[0], bits[0]) == (0.0, network.input_elements * 16)
        assert (local[-1], bits[-1], edge[-1]) == (pytest.approx(total), 0.0, 0.0)
        assert (bits[:-1] > 0).all()
        if cuts == "useful":
            assert (np.diff(bits) < 0).all()
        assert not work[:, n, last[n] + 1 :].any()
    np.testing.assert_array_equal(parameters_of(built).stage_work_max, work.max(axis=2))


def test_stage_work_scales_with_words_and_cycles():
    base, wide = config().stage_work, config(word_bits=32, cycles_per_mac=0.24).stage_work
    np.testing.assert_allclose(wide[[0, 2]], 2 * base[[0, 2]], rtol=1e-15)
    np.testing.assert_array_equal(wide[1], 4 * base[1])


def test_only_the_services_in_use_count():
    one = config(num_services=1, networks=("alexnet@64", "resnet18@96"))
    assert len(one.service_cuts) == 1
    assert one.stage_work.shape[1] == 1


@pytest.mark.parametrize("k_min", [0, 1, 3])
def test_choices_start_at_k_min(k_min):
    system = LyaPPOSystem(config(k_min=k_min))
    assert system.config.choices.tolist() == [6 - k_min, 6 - k_min]
    assert (system.config.initial_cut >= k_min).all()
    assert (system.config.initial_cut <= np.tile(system.config.last_cut, 4)).all()


# Units


def test_arrivals_per_slot_and_per_second():
    np.testing.assert_array_equal(config().arrival_rates_per_slot, [0.2])
    per_second = config(arrival_rate=20.0, arrival_rate_per="second")
    np.testing.assert_allclose(per_second.arrival_rates_per_slot, [0.2])
    np.testing.assert_allclose(parameters_of(per_second).arrival_zero_probability, [math.exp(-0.2)])
    levels = config(arrival_levels=(10, 30), arrival_rate_per="second", slot_s=0.02)
    np.testing.assert_allclose(levels.arrival_rates_per_slot, [0.2, 0.6])
