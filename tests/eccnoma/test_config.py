"""Presets, errors, derived tables and units of the configuration of split inference over NOMA."""

import json
import math
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import edge_envs  # noqa: F401  (registers the ids)
from edge_envs.eccnoma.config import ECCNOMAConfig
from edge_envs.eccnoma.model.parameters import ARRIVALS, parameters_of
from edge_envs.eccnoma.model.state import allocate, bands_max
from edge_envs.eccnoma.system import ECCNOMASystem
from tests.eccnoma.model import reference_step as slow
from tests.helpers import assert_names_wrong_value

PRESETS = list(ECCNOMAConfig.presets)
every_preset = pytest.mark.parametrize("preset", PRESETS)


def config(**options: Any) -> ECCNOMAConfig:
    return ECCNOMAConfig.from_options("default", options)


# Presets


@every_preset
def test_presets_build_a_system(preset):
    system = ECCNOMASystem.from_options(preset, {})
    state = system.allocate(1)
    assert system.config == ECCNOMAConfig.from_options(preset, {})
    assert system.members == system.config.num_users
    system.reset(state, np.zeros(1, dtype=np.int64), [np.random.default_rng(0)])
    observation = system.observe(state)
    assert observation[0].shape == system.observation_space.shape
    assert np.isfinite(observation).all()


@every_preset
@pytest.mark.parametrize("options", [{}, {"num_users": 10}, {"num_aps": 1, "num_subchannels": 1}, {"cuts": "all"}])
def test_presets_take_overrides(preset, options):
    built = ECCNOMAConfig.from_options(preset, options)
    assert {key: getattr(built, key) for key in options} == options
    for name, value in parameters_of(built)._asdict().items():
        assert np.isfinite(value).all(), name
        if isinstance(value, np.ndarray):
            assert value.flags.c_contiguous, name


def test_presets_do_what_they_say():
    """The paper's are Sec. VI: one task per user and frame, fresh fading that is known, no other tenants."""
    assert ECCNOMAConfig.from_options("default", {}) == ECCNOMAConfig()
    large = ECCNOMAConfig.from_options("large", {})
    assert (large.num_users, large.num_aps, large.num_subchannels, large.side_m) == (30, 3, 10, 600.0)
    assert (large.bandwidth_up_hz, large.bandwidth_down_hz, large.pool_units) == (1e6, 1e6, 5.0)
    assert large == ECCNOMAConfig(**ECCNOMAConfig.presets["large"])
    paper = ECCNOMAConfig.from_options("paper", {})
    literal = ECCNOMAConfig.from_options("paper-literal", {})
    for built in (paper, literal):
        assert (built.arrivals, built.csi_delay, built.fading_correlation) == ("one", 0, 0.0)
        assert (built.background_levels, built.mean_arrivals) == ((0.0,), 1.0)
        assert (built.speed_min_flop_s, built.speed_max_flop_s, built.side_m) == (1e9, 1e9, 1000.0)
        assert (built.num_aps, built.access, built.downlink, built.capacity) == (5, "noma", "physical", 3)
    assert (paper.num_users, paper.num_subchannels, paper.placement) == (250, 30, "balanced")
    assert (paper.pool_units, paper.bandwidth_up_hz, paper.bandwidth_down_hz) == (None, 5e6, 5e6)
    assert (literal.num_users, literal.num_subchannels, literal.placement) == (1250, 250, "uniform")
    assert (literal.pool_units, literal.bandwidth_up_hz, literal.bandwidth_down_hz) == (None, 10e6, 10e6)
    planning = ECCNOMAConfig.from_options("planning", {})
    assert (planning.slices, planning.pool_units, planning.units_max, planning.placement) == (2, 6.0, 3.0, "balanced")
    assert {preset for preset in PRESETS if ECCNOMAConfig.from_options(preset, {}).slices} == {"planning"}


def test_defaults():
    """Numbers of Sec. VI, and those that were fitted."""
    default = ECCNOMAConfig()
    expected = {
        "num_users": 12, "num_aps": 2, "num_subchannels": 6, "path_loss_exponent": 5.0, "reference_gain_db": 0.0,
        "noise_dbm_per_hz": -174.0, "power_up_max_dbm": 25.0, "capacity": 3, "result_bits": 320.0, "word_bits": 32,
        "input_bits": 8, "fading_correlation": 0.9, "csi_delay": 1, "units_min": 1.0, "units_max": 6.0,
        "unit_speed_flop_s": 2.3e9, "server_energy_coefficient": 1.5e-29, "weight_delay": 0.95, "weight_energy": 0.05,
        "device_j_per_flop": 1e-9, "core_overhead": 0.05, "pool_units": 3.0, "background_levels": (0.0, 0.35, 0.7),
        "quiet_rate": 0.5, "burst_rate": 4.0, "queue_max": 20.0, "drop_s": 10.0, "frame_s": 1.0,
    }  # fmt: skip
    assert {key: getattr(default, key) for key in expected} == expected


def test_kernel_parameters_are_of_one_type_for_all():
    """One compilation serves every configuration."""
    kinds = {
        tuple((type(each), getattr(each, "ndim", 0), str(getattr(each, "dtype", ""))) for each in parameters_of(built))
        for built in (
            *(ECCNOMAConfig.from_options(preset, {}) for preset in PRESETS),
            config(num_users=1, side_m=100, bandwidth_up_hz=1000000, queue_max=3, drop_s=1, noise_dbm_per_hz=-150),
            config(cuts="all", access="fdma", assignment="random", power="full", units="most", csi_delay=0),
            config(background_levels=(0,), quiet_rate=1, fading_correlation=0, pool_units=2),
            config(assignment="li-gd", downlink="printed", arrivals="one", pool_units=None, networks=("nin",)),
        )
    }  # fmt: skip
    assert len(kinds) == 1


@every_preset
def test_configurations_survive_json_and_change_by_replacement(preset):
    before = ECCNOMAConfig.from_options(preset, {"num_users": 10})
    assert ECCNOMAConfig.model_validate_json(before.model_dump_json()) == before
    assert ECCNOMAConfig.from_options(preset, json.loads(json.dumps(before.model_dump()))) == before
    assert parameters_of(before).num_choices == (7 if preset == "planning" else 5)
    after = before.replace(num_users=20, cuts="all", networks=["vgg16-cifar@32"])
    assert (after.num_users, after.networks, len(parameters_of(after).choices)) == (20, ("vgg16-cifar@32",), 1)
    assert parameters_of(after).num_choices == 25
    assert (before.num_users, parameters_of(before).num_users) == (10, 10)
    with pytest.raises(ValueError, match="frozen"):
        before.num_users = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match="swap them"):
        before.replace(units_min=7.0)


# Documentation


def test_every_field_is_documented_with_unit_and_source():
    for name, field in ECCNOMAConfig.model_fields.items():
        words = field.description
        assert words, f"{name} has no docstring"
        if field.annotation in (int, float):
            assert re.search(r"paper|chosen|fitted|CIFAR", words), f"{name} names no source"
            assert re.search(r"\[[^\]]+\]", words), f"{name} names no unit"


@pytest.mark.parametrize(
    ("ending", "unit"),
    [("_hz", "Hz"), ("_s", "s"), ("_m", "m"), ("_db", "dB"), ("_dbm", "dBm"), ("_dbm_per_hz", "dBm/Hz"),
     ("_bits", "bit"), ("_flop_s", "FLOP/s"), ("_probability", "-"), ("_j_per_flop", "J/FLOP"), ("_rate", "tasks/s"),
     ("units", "units")],
)  # fmt: skip
def test_names_and_units_agree(ending, unit):
    endings = (
        "_dbm_per_hz",
        "_j_per_flop",
        "_flop_s",
        "_probability",
        "_bits",
        "_rate",
        "_dbm",
        "_db",
        "_hz",
        "_s",
        "_m",
    )
    found = 0
    for name, field in ECCNOMAConfig.model_fields.items():
        own = next((each for each in endings if name.endswith(each)), "units" if name.endswith("_units") else None)
        if own == ending:
            found += 1
            assert f"[{unit}]" in (field.description or ""), name
    assert found


# Errors

POSITIVE: list[Any] = [0, -1.0, math.nan, math.inf, None, "much"]
NOT_NEGATIVE: list[Any] = [-1e-9, math.nan, math.inf, None]
SHARE: list[Any] = [-0.1, 1.1, math.nan, None]
DECIBEL: list[Any] = [-301.0, 301.0, math.nan, None]
CHOICE: list[Any] = ["maybe", None, 1]
WRONG: dict[str, list[Any]] = {
    "num_users": [0, -1, 4097, 2.5, "many", None],
    "num_aps": [0, 65, 1.5, None],
    "num_subchannels": [0, 1025, 8.5, None],
    "networks": [(), ("nin@32",) * 17, None, "nin@32", ("nin@",), ("nim@32",), ("nin@32", "nin@3x")],
    "cuts": CHOICE,
    "word_bits": [0, 65, 7.5, None],
    "input_bits": [0, 65, 7.5, None],
    "result_bits": POSITIVE,
    "side_m": POSITIVE,
    "distance_min_m": POSITIVE,
    "placement": CHOICE,
    "path_loss_exponent": [10.1, *POSITIVE],
    "reference_gain_db": DECIBEL,
    "fading_correlation": SHARE,
    "csi_delay": [-1, 2, 0.5, None],
    "bandwidth_up_hz": [0.9, 2e15, *POSITIVE],
    "bandwidth_down_hz": [0.9, 2e15, *POSITIVE],
    "noise_dbm_per_hz": DECIBEL,
    "power_up_max_dbm": DECIBEL,
    "power_up_min_dbm": DECIBEL,
    "power_down_max_dbm": DECIBEL,
    "power_down_min_dbm": DECIBEL,
    "capacity": [0, 65, 1.5, None],
    "access": CHOICE,
    "downlink": CHOICE,
    "assignment": CHOICE,
    "power": CHOICE,
    "units": CHOICE,
    "sweeps": [-1, 101, 0.5, None],
    "power_iterations": [-1, 1001, 0.5, None],
    "relaxation_iterations": [0, 10_001, 0.5, None],
    "relaxation_tolerance": [0, 0.11, math.nan, None],
    "speed_min_flop_s": [0.9, 2e18, *POSITIVE],
    "speed_max_flop_s": [0.9, 2e18, *POSITIVE],
    "device_j_per_flop": NOT_NEGATIVE,
    "unit_speed_flop_s": [0.9, 2e18, *POSITIVE],
    "units_min": POSITIVE,
    "units_max": POSITIVE,
    "core_overhead": [-0.1, 1.0, math.nan, None],
    "pool_units": [0, -1.0, math.nan, math.inf, "much"],
    "background_levels": [(), (0.0,) * 17, (0.2, 1.0), (0.0, -0.1), (0.0, math.nan), 0.5, None],
    "background_stay_probability": SHARE,
    "server_energy_coefficient": NOT_NEGATIVE,
    "slices": [0, -1, 4097, 1.5, "many"],
    "weight_bits": [0, 65, 7.5, None],
    "load_bits_per_frame": POSITIVE,
    "weight_delay": POSITIVE,
    "weight_energy": NOT_NEGATIVE,
    "arrivals": CHOICE,
    "frame_s": POSITIVE,
    "quiet_rate": NOT_NEGATIVE,
    "burst_rate": NOT_NEGATIVE,
    "burst_begins_probability": [0, *SHARE],
    "burst_ends_probability": [0, *SHARE],
    "queue_max": POSITIVE,
    "drop_s": NOT_NEGATIVE,
}


def test_every_field_has_a_wrong_value():
    assert set(WRONG) == set(ECCNOMAConfig.model_fields)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong_values_are_named(name, value):
    assert assert_names_wrong_value(config, ECCNOMAConfig, name, value).count("is not possible") == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"speed_min_flop_s": 4e9}, "speed_min_flop_s=4e+09 is above speed_max_flop_s=3e+09 [FLOP/s]; swap them"),
        ({"power_up_min_dbm": 26.0}, "power_up_min_dbm=26 is above power_up_max_dbm=25 [dBm]; swap them"),
        ({"power_down_max_dbm": -1.0}, "power_down_min_dbm=0 is above power_down_max_dbm=-1 [dBm]; swap them"),
        ({"units_max": 0.5}, "units_min=1 is above units_max=0.5 [units]; swap them"),
        ({"placement": "balanced", "num_users": 7}, "placement='balanced' needs num_users=7 to be a multiple of num"),
        ({"access": "fdma", "assignment": "li-gd"}, "assignment='li-gd' needs access='noma', not 'fdma'"),
        ({"access": "tdma", "assignment": "li-gd", "power": "full"}, "assignment='li-gd' needs access='noma'"),
        ({"access": "tdma"}, "access='tdma' sends at full power on the best subchannels, so power='optimal'"),
        ({"access": "tdma", "assignment": "random", "power": "full"}, "access='tdma' sends at full power"),
        ({"units": "equal", "pool_units": None}, "units='equal' needs a pool to divide; give pool_units"),
        ({"quiet_rate": 51.0}, "quiet_rate=51 tasks/s at frame_s=1 is above 50 tasks per step"),
        ({"frame_s": 20.0}, "burst_rate=4 tasks/s at frame_s=20 is above 50 tasks per step"),
        ({"quiet_rate": 0.0, "burst_rate": 0.0}, "quiet_rate=0.0 and burst_rate=0.0 leave no tasks"),
    ],
)  # fmt: skip
def test_contradictions_are_named(options, words):
    with pytest.raises(ValueError, match="^" + re.escape(words)) as caught:
        config(**options)
    assert ";" in str(caught.value), "the message says how to fix it"


@pytest.mark.parametrize(
    ("preset", "options", "words"),
    [
        ("default", {"num_user": 3}, "unexpected keyword argument 'num_user'; did you mean 'num_users'"),
        ("default", {"pool_unit": 3}, "unexpected keyword argument 'pool_unit'; did you mean 'pool_units'"),
        ("papers", {}, "preset='papers' does not exist; did you mean 'paper'"),
        (None, {}, "preset=None does not exist"),
        ("default", {"networks": ["vgg17"]}, r"networks=\['vgg17'\] is not possible: unknown network 'vgg17'; nearest"),
    ],
)
def test_unknown_names_come_with_the_nearest(preset, options, words):
    with pytest.raises(ValueError, match=words):
        ECCNOMAConfig.from_options(preset, options)
    with pytest.raises(ValueError, match=words):
        gym.make("ECCNOMA-v0", preset=preset, **options)


def test_limits_are_allowed():
    limits: list[dict[str, Any]] = [
        {"num_users": 4096}, {"num_aps": 64}, {"num_subchannels": 1024}, {"networks": ("nin@32",) * 16},
        {"word_bits": 64, "input_bits": 1}, {"reference_gain_db": -300.0}, {"noise_dbm_per_hz": 300.0},
        {"fading_correlation": 1.0}, {"fading_correlation": 0.0}, {"capacity": 64}, {"sweeps": 0}, {"sweeps": 100},
        {"power_iterations": 0}, {"power_iterations": 1000}, {"relaxation_iterations": 10_000},
        {"relaxation_tolerance": 0.1}, {"speed_min_flop_s": 3e9}, {"device_j_per_flop": 0.0},
        {"path_loss_exponent": 10.0}, {"bandwidth_up_hz": 1.0, "bandwidth_down_hz": 1e15}, {"unit_speed_flop_s": 1.0},
        {"speed_min_flop_s": 1.0, "speed_max_flop_s": 1e18}, {"power_up_min_dbm": 25.0}, {"power_down_min_dbm": 30.0},
        {"units_min": 6.0}, {"core_overhead": 0.0},
        {"background_levels": (0.0,) * 16}, {"background_stay_probability": 1.0}, {"background_stay_probability": 0.0},
        {"server_energy_coefficient": 0.0}, {"weight_energy": 0.0}, {"quiet_rate": 0.0}, {"quiet_rate": 50.0},
        {"burst_rate": 0.0}, {"burst_begins_probability": 1.0, "burst_ends_probability": 1.0}, {"drop_s": 0.0},
        {"quiet_rate": 0.0, "burst_rate": 0.0, "arrivals": "one"}, {"units": "most", "pool_units": None},
    ]  # fmt: skip
    for options in limits:
        built = config(**options)
        assert {key: getattr(built, key) for key in options} == options
        parameters_of(built)


# Derived values


@pytest.mark.parametrize(
    "options",
    [{}, {"cuts": "all"}, {"word_bits": 8}, {"input_bits": 32}, {"networks": ("alexnet@224", "nin@64", "ds-cnn")},
     {"networks": ("tiny-yolov2-cifar@64",), "cuts": "all"},
     {"networks": ("vgg16-cifar@32", "vgg12@32"), "input_bits": 1}],
)  # fmt: skip
def test_tables_equal_the_slow_ones(options):
    """Cuts, operations before and after them, bits sent there; what a network lacks in choices is the device."""
    built = config(**options)
    p = parameters_of(built)
    for row, table in enumerate(slow.tables_of(built)):
        np.testing.assert_array_equal(p.cut_number[row], table.cut)
        np.testing.assert_array_equal(p.device_flop[row], table.device_flop)
        np.testing.assert_array_equal(p.server_flop[row], table.server_flop)
        np.testing.assert_array_equal(p.bits_up[row], table.bits)
        assert p.choices[row] == table.choices
        padding = p.cut_number[row, table.choices :]
        assert (padding == table.last).all()
        assert (p.bits_up[row, table.choices :] == 0.0).all()


def test_cuts_of_the_default_by_hand():
    """Edge, device, then between: NiN has nothing there, YOLOv2 three cuts, VGG16 two; the rest is the device."""
    p = parameters_of(config())
    assert p.cut_number.tolist() == [[0, 9, 9, 9, 9], [0, 17, 8, 10, 15], [0, 24, 18, 23, 24]]
    assert p.choices.tolist() == [2, 5, 4]
    assert p.bits_up.tolist() == [[24576, 0, 0, 0, 0], [24576, 0, 16384, 8192, 320], [24576, 0, 16384, 320, 0]]
    assert (p.device_flop[:, 1] / 1e6).round(1).tolist() == [445.9, 41.1, 627.9]
    np.testing.assert_array_equal(p.device_flop + p.server_flop, np.tile(p.device_flop[:, 1:2], (1, 5)))
    assert (p.device_flop[:, 0] == 0.0).all()
    assert p.device_flop[1, 2] / p.device_flop[1, 1] == pytest.approx(0.195, abs=0.002)
    assert p.server_flop[2, 3] == 0.0, "behind the last connected layer of VGG16 only softmax is left"
    assert parameters_of(config(word_bits=8)).cut_number[2].tolist()[:5] == [0, 24, 14, 18, 23]
    whole = parameters_of(config(cuts="all"))
    assert whole.cut_number[0].tolist() == [*range(10), *[9] * 15]
    assert whole.cut_number[2].tolist() == list(range(25))
    assert whole.choices.tolist() == [10, 18, 25]


def test_powers_rates_and_levels_by_hand():
    p = parameters_of(config())
    assert p.power_up_max_w == pytest.approx(0.316227766, rel=1e-9)
    assert (p.power_up_min_w, p.power_down_min_w, p.power_down_max_w) == pytest.approx((1e-3, 1e-3, 1.0), rel=1e-12)
    assert p.noise_w_per_hz == pytest.approx(3.98107e-21, rel=1e-5)
    assert (p.reference_gain, p.csi_delay, p.pool, p.arrivals) == (1.0, 1, True, ARRIVALS.BURSTY)
    assert parameters_of(config(reference_gain_db=-30.0)).reference_gain == pytest.approx(1e-3, rel=1e-12)
    assert p.mean_arrivals == pytest.approx(0.5 * 0.1 / 0.133 + 4.0 * 0.033 / 0.133, rel=1e-12)
    assert p.mean_arrivals == pytest.approx(1.368, abs=1e-3)
    longer = config(frame_s=2.0)
    assert longer.mean_arrivals == pytest.approx(2.0 * p.mean_arrivals, rel=1e-12)
    assert parameters_of(longer).arrival_rate.tolist() == [1.0, 8.0]
    assert config(arrivals="one", frame_s=2.0).mean_arrivals == 1.0
    assert (parameters_of(config(pool_units=None)).pool, parameters_of(config(csi_delay=0)).csi_delay) == (False, 0)
    assert parameters_of(config(power="full")).power_iterations == 0
    assert parameters_of(config(power_iterations=3)).power_iterations == 3


def test_bands_and_candidates():
    """Slices can be as many as users; few bands are all tried, of many an eighth but no fewer than 16."""
    assert bands_max(parameters_of(config())) == 6
    assert bands_max(parameters_of(config(access="fdma"))) == 12
    assert bands_max(parameters_of(config(access="fdma", num_subchannels=30))) == 30
    for count, tried in {1: 1, 6: 6, 20: 20, 21: 16, 128: 16, 136: 17, 250: 32}.items():
        state = allocate(parameters_of(config(num_users=1, num_subchannels=count)), 1)
        assert state.workspace.up.candidate.shape == state.workspace.down.candidate.shape == (1, tried)


EARLIER: dict[str, tuple[str, Any]] = {
    "noise_dbm_hz": ("noise_dbm_per_hz", -0.5),
    "delay_weight": ("weight_delay", 0.5),
    "energy_weight": ("weight_energy", 0.5),
    "server_coefficient": ("server_energy_coefficient", 0.5),
    "feature_bits": ("word_bits", 5),
    "actions": ("cuts", "all"),
}


def test_earlier_names_are_complete():
    assert {old: new for old, (new, _) in EARLIER.items()} == ECCNOMAConfig.renamed


@pytest.mark.parametrize("name", EARLIER)
def test_earlier_names_still_work(name):
    """As keywords of `gym.make`, with a warning, but not together with the current name."""
    new, value = EARLIER[name]
    with pytest.warns(DeprecationWarning, match=f"{name} is now called {new}"):
        built = config(**{name: value})
    assert getattr(built, new) == value
    with pytest.raises(ValueError, match=f"{name} is the earlier name of {new}"):
        config(**{name: value, new: value})


@pytest.mark.parametrize("options", [{}, {"preset": "paper"}, {"preset": "paper-literal"}])
def test_a_table_of_results_says_what_was_fitted(options):
    """The paper's presets hold numbers fitted to its own figures, the sequential one no claim of the paper."""
    system = ECCNOMASystem.from_options(options.get("preset", "default"), {})
    assert bool(system.caveat) == bool(options)
    assert set(system.headline) <= {metric.name for metric in system.metrics}
    assert system.headline[0] == ("delay_s" if options else "relative_cost")
