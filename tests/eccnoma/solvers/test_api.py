"""The Python interface: errors that name what is wrong, extreme scales, symmetries, hopeless links, tiny searches."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge_envs.eccnoma.solvers import api
from tests.eccnoma.solvers import reference_radio as oracle
from tests.eccnoma.solvers.problems import DIRECTIONS, Radio, active, network, one_hot, random_radio
from tests.eccnoma.solvers.reference_search import brute_force
from tests.eccnoma.solvers.test_assignment import assert_sound, problem

EXACT = 1e-12
NAN, INF = math.nan, math.inf
USERS, APS, SUBCHANNELS = 5, 2, 3

in_directions = pytest.mark.parametrize("direction", DIRECTIONS)


def small() -> Radio:
    """Five users of two access points on three subchannels."""
    return random_radio(3, shape=(USERS, APS, SUBCHANNELS), silent=False)._replace(
        ap=np.array([0, 0, 1, 1, 1]), capacity=2
    )


def beta() -> np.ndarray:
    """Every user on every subchannel alike."""
    return np.full((USERS, SUBCHANNELS), 1.0 / SUBCHANNELS)


def full(radio: Radio) -> np.ndarray:
    """All at full power."""
    return np.full(len(radio.ap), radio.power_max_w)


def spoiled(values: np.ndarray, value: float) -> np.ndarray:
    """A copy with one entry replaced."""
    bad = np.array(values)
    bad.reshape(-1)[1] = value
    return bad


CALLS: dict[str, Callable[[api.RadioProblem], Any]] = {
    "rates": lambda p: api.rates(p, beta(), np.full(USERS, p.power_max_w)),
    "radio_cost": lambda p: api.radio_cost(p, beta(), np.full(USERS, p.power_max_w)),
    "gradient": lambda p: api.gradient(p, beta(), np.full(USERS, p.power_max_w)),
    "assign": api.assign,
    "tune_powers": lambda p: api.tune_powers(p, np.array([0, 1, 2, 0, 1]), np.full(USERS, p.power_max_w)),
    "relax": lambda p: api.relax(p, iterations=2),
    "round_relaxed": lambda p: api.round_relaxed(p, beta(), np.full(USERS, p.power_max_w)),
    "brute_force": api.brute_force,
}

BAD_FIELDS: list[tuple[str, Any]] = [
    ("gain", np.ones((SUBCHANNELS, USERS))),
    ("gain|ap", np.ones((SUBCHANNELS, USERS + 1, APS))),
    ("gain", spoiled(np.ones((SUBCHANNELS, USERS, APS)), 0.0)),
    ("gain", spoiled(np.ones((SUBCHANNELS, USERS, APS)), -1e-9)),
    ("gain", spoiled(np.ones((SUBCHANNELS, USERS, APS)), NAN)),
    ("gain", spoiled(np.ones((SUBCHANNELS, USERS, APS)), INF)),
    ("ap", np.zeros(USERS - 1, dtype=np.int64)),
    ("ap", np.array([0, 1, 2, 0, 1])),
    ("ap", np.array([0, 1, -1, 0, 1])),
    ("bits", np.ones((USERS, 1))),
    ("bits", np.ones(USERS + 1)),
    *(
        (field, spoiled(np.ones(USERS), bad))
        for field in ("bits", "delay_weight", "energy_weight")
        for bad in (-1.0, NAN, INF)
    ),
    ("delay_weight", np.ones(USERS - 1)),
    ("energy_weight", np.ones(USERS + 2)),
    *((field, bad) for field in ("bandwidth_hz", "noise_w") for bad in (0.0, -1.0, NAN, INF)),
    *(("power_min", bad) for bad in (0.0, -1e-3, NAN)),
    ("power_max", NAN),
    ("power_max", INF),
    ("power_m", 1e9),
    ("capacity", 0),
    ("capacity", -2),
    ("direction", "sidelink"),
]


class TestRefusals:
    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize("number", range(len(BAD_FIELDS)))
    def test_problem(self, call, number):
        """Whatever is asked about a problem with a bad field, the answer is one ValueError that names the field."""
        name, value = BAD_FIELDS[number]
        field = {"gain|ap": "gain", "power_m": "power_min_w", "power_min": "power_min_w", "power_max": "power_max_w"}
        with pytest.raises(ValueError, match=name):
            CALLS[call](api.RadioProblem(**(small()._asdict() | {field.get(name, name): value})))

    @pytest.mark.parametrize("call", CALLS)
    def test_good_problem(self, call):
        """The same calls with nothing wrong."""
        CALLS[call](problem(small()))

    @pytest.mark.parametrize("call", ["rates", "radio_cost", "gradient", "round_relaxed"])
    @pytest.mark.parametrize(
        ("name", "bad_beta"),
        [
            ("beta", np.ones((SUBCHANNELS, USERS))),
            ("beta", np.ones(USERS)),
            ("beta", spoiled(beta(), NAN)),
            ("beta", spoiled(beta(), -0.1)),
            ("beta", spoiled(beta(), INF)),
        ],
    )
    def test_beta(self, call, name, bad_beta):
        radio = small()
        with pytest.raises(ValueError, match=name):
            getattr(api, call)(problem(radio), bad_beta, full(radio))

    @pytest.mark.parametrize("call", ["rates", "radio_cost", "gradient", "round_relaxed"])
    @pytest.mark.parametrize("bad", [np.ones(USERS + 1), np.ones((USERS, 1)), -1.0, NAN, INF])
    def test_powers(self, call, bad):
        radio = small()
        power_w = bad if isinstance(bad, np.ndarray) else spoiled(full(radio), bad)
        with pytest.raises(ValueError, match="power"):
            getattr(api, call)(problem(radio), beta(), power_w)

    @pytest.mark.parametrize(
        ("subchannel", "power_w", "name"),
        [
            ([0, 1, 2, 0], None, "subchannel"),
            ([0, 1, 3, 0, 1], None, "subchannel"),
            ([0, 1, -1, 0, 1], None, "subchannel"),
            ([0, 1, -2, 0, 1], None, "subchannel"),
            ([0, 1, 2, 0, 1], NAN, "power"),
            ([0, 1, 2, 0, 1], -1.0, "power"),
            ([0, 1, 2, 0, 1], 1e9, "power"),
            ([0, 1, 2, 0, 1], 1e-30, "power"),
        ],
    )
    def test_tune_powers(self, subchannel, power_w, name):
        radio = small()
        powers = full(radio) if power_w is None else spoiled(full(radio), power_w)
        with pytest.raises(ValueError, match=name):
            api.tune_powers(problem(radio), np.array(subchannel), powers)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("sweeps", -1), ("candidates", 0), ("candidates", -3), ("power_iterations", -1)],
    )
    def test_assign_options(self, name, value):
        with pytest.raises(ValueError, match=name):
            api.assign(problem(small()), **{name: value})

    @pytest.mark.parametrize(("name", "value"), [("tolerance", -1.0), ("tolerance", NAN), ("iterations", -1)])
    def test_relax_options(self, name, value):
        with pytest.raises(ValueError, match=name):
            api.relax(problem(small()), **{name: value})

    def test_relax_start(self):
        radio = small()
        with pytest.raises(ValueError, match="beta"):
            api.relax(problem(radio), start=(np.ones((2, 2)), full(radio)))
        with pytest.raises(ValueError, match="start"):
            api.relax(problem(radio), start=(np.full((USERS, SUBCHANNELS), 0.9), full(radio)))
        with pytest.raises(ValueError, match="power"):
            api.relax(problem(radio), start=(beta(), 2.0 * full(radio)))

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("bits", {"bits": np.ones((USERS - 1, 4))}),
            ("bits", {"bits": np.ones(USERS)}),
            ("bits", {"bits": spoiled(np.ones((USERS, 4)), -1.0)}),
            ("bits", {"bits": spoiled(np.ones((USERS, 4)), NAN)}),
            ("result_bits", {"result_bits": np.ones(USERS + 1)}),
            ("result_bits", {"result_bits": spoiled(np.ones(USERS), -1.0)}),
            ("bits|fixed_cost", {"fixed_cost": np.ones(3)}),
            ("fixed_cost", {"fixed_cost": spoiled(np.ones(4), NAN)}),
        ],
    )
    @pytest.mark.parametrize("call", ["li_gd", "li_gd_printed"])
    def test_li_gd(self, call, name, change):
        radio = small()
        tables: dict[str, Any] = {"bits": np.ones((USERS, 4)), "result_bits": np.ones(USERS), "fixed_cost": np.ones(4)}
        with pytest.raises(ValueError, match=name):
            getattr(api, call)(problem(radio), problem(radio._replace(direction="downlink")), **(tables | change))

    def test_brute_force(self):
        """3^5 assignments it tries, 3^12 it does not."""
        with pytest.raises(ValueError, match=r"200.?000|531.?441"):
            api.brute_force(problem(random_radio(3, shape=(12, 2, 3), silent=False)))
        with pytest.raises(ValueError, match="capacity"):
            api.brute_force(problem(small()._replace(capacity=1, ap=np.zeros(USERS, dtype=np.int64))))

    @pytest.mark.parametrize(
        ("name", "arguments", "limits"),
        [
            ("delay_weight", (-1.0, 1e-29), (1e9, 2e9)),
            ("delay_weight", (NAN, 1e-29), (1e9, 2e9)),
            ("energy_coefficient", (1.0, -1e-29), (1e9, 2e9)),
            ("energy_coefficient", (1.0, NAN), (1e9, 2e9)),
            ("speed", (1.0, 1e-29), (2e9, 1e9)),
            ("speed", (1.0, 1e-29), (0.0, 1e9)),
            ("speed", (1.0, 1e-29), (1e9, INF)),
        ],
    )
    def test_server_speed(self, name, arguments, limits):
        with pytest.raises(ValueError, match=name):
            api.server_speed(*arguments, speed_min=limits[0], speed_max=limits[1])

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            *(
                (name, {name: value})
                for name in ("work_flop", "delay_weight", "energy_coefficient")
                for value in (np.array([1.0, -1.0]), np.array([1.0, NAN]), np.ones((2, 1)))
            ),
            ("work_flop|delay_weight", {"work_flop": np.ones(3)}),
            ("delay_weight", {"delay_weight": np.ones(3)}),
            ("energy_coefficient", {"energy_coefficient": np.ones(3)}),
            *((name, {name: bad}) for name in ("units", "units_max", "unit_speed_flop_s") for bad in (0.0, -1.0, NAN)),
            *(("overhead", {"overhead": bad}) for bad in (-0.1, NAN, 1.0)),
        ],
    )
    def test_share_units(self, name, change):
        good: dict[str, Any] = {
            "work_flop": np.ones(2),
            "delay_weight": np.ones(2),
            "energy_coefficient": np.zeros(2),
            "units": 3.0,
            "units_max": 2.0,
            "unit_speed_flop_s": 1e9,
            "overhead": 0.05,
        }
        api.share_units(**good)
        with pytest.raises(ValueError, match=name):
            api.share_units(**(good | change))


class TestBruteForce:
    @in_directions
    def test_against_own(self, direction):
        """Every assignment was tried with powers that are no worse than those of the search in the tests."""
        for seed in range(6):
            radio = random_radio(seed, direction, shape=(4, 2, 2))
            found = api.brute_force(problem(radio))
            best, _, _ = brute_force(radio)
            assert_sound(radio, found, seed)
            assert found.cost == pytest.approx(best, rel=1e-6), seed
            assert found.bound <= best * (1.0 + EXACT)

    def test_capacity(self):
        """It stays within capacity even where sharing would be cheaper."""
        radio = network(0, (4, 1, 2), capacity=2)
        found = api.brute_force(problem(radio))
        assert np.bincount(found.subchannel).tolist() == [2, 2]


class TestScales:
    @in_directions
    @pytest.mark.parametrize("scale", [2.0**-90, 2.0**90])
    def test_units(self, direction, scale):
        """Gains and noise in other units, or work, change no decision."""
        radio = random_radio(16, direction, silent=False)
        once = api.assign(problem(radio))
        for other in (
            radio._replace(gain=radio.gain * scale, noise_w=radio.noise_w * scale),
            radio._replace(bits=radio.bits * scale),
            radio._replace(bandwidth_hz=radio.bandwidth_hz * scale),
        ):
            again = api.assign(problem(other))
            assert again.subchannel.tolist() == once.subchannel.tolist()
            np.testing.assert_allclose(again.power_w, once.power_w, rtol=1e-9)
            assert again.bound / again.cost == pytest.approx(once.bound / once.cost, rel=1e-9)

    @in_directions
    def test_weights_over_many_decades(self, direction):
        """One user is a trillion times dearer than the others: it gets what it would get alone."""
        radio = network(2, (6, 1, 6), direction, capacity=1)
        dear = radio._replace(delay_weight=radio.delay_weight * np.array([1e12, 1, 1, 1, 1, 1]))
        found = api.assign(problem(dear))
        assert_sound(dear, found, direction)
        assert radio.gain[found.subchannel[0], 0, 0] == radio.gain[:, 0, 0].max()

    @in_directions
    def test_deep_interference(self, direction):
        """Users whose SINR is below the resolution of one keep finite costs, gradients and powers."""
        gain = np.full((1, 2, 2), 1.0)
        gain[0, 0, 0] = gain[0, 1, 1] = 1e-18
        radio = small()._replace(
            gain=gain,
            ap=np.array([0, 1]),
            bits=np.ones(2),
            delay_weight=np.ones(2),
            energy_weight=np.ones(2),
            noise_w=1e-3,
            power_min_w=0.5,
            power_max_w=1.0,
            direction=direction,
        )
        found = api.assign(problem(radio))
        assert_sound(radio, found, direction)
        assert math.isfinite(found.cost)
        assert (found.rate_bit_s > 0.0).all()
        relaxed = api.relax(problem(radio))
        assert math.isfinite(relaxed.cost)
        assert relaxed.cost == pytest.approx(oracle.cost(radio, relaxed.beta, relaxed.power_w), rel=EXACT)

    @in_directions
    def test_hardly_a_link(self, direction):
        """A user all but out of reach has an enormous, finite cost, and the search serves the others all the same."""
        radio = network(4, (4, 2, 3), direction)
        radio.gain[:, 0, :] = 1e-200
        found = api.assign(problem(radio))
        assert_sound(radio, found, direction)
        assert 1e150 < found.cost < INF
        assert (found.rate_bit_s > 0.0).all()
        for i in range(4):
            radio.gain[:, i, 1 - radio.ap[i]] = 1e-300
        assert_sound(radio, api.assign(problem(radio)), direction)


class TestSymmetries:
    @in_directions
    def test_order_of_users(self, direction):
        """Users renumbered (none tied): the same cost and the same subchannels."""
        for seed in range(10):
            radio = network(seed, (9, 2, 4), direction)
            radio = radio._replace(bits=radio.bits * np.linspace(1.0, 1.4, 9))
            turn = np.random.default_rng(seed).permutation(9)
            turned = radio._replace(
                gain=radio.gain[:, turn],
                ap=radio.ap[turn],
                bits=radio.bits[turn],
                delay_weight=radio.delay_weight[turn],
                energy_weight=radio.energy_weight[turn],
            )
            once, again = api.assign(problem(radio), sweeps=0), api.assign(problem(turned), sweeps=0)
            assert again.start_cost == pytest.approx(once.start_cost, rel=1e-9)
            assert again.subchannel.tolist() == once.subchannel[turn].tolist()
            assert again.cost == pytest.approx(once.cost, rel=1e-7)
            assert again.bound == pytest.approx(once.bound, rel=1e-9)

    @in_directions
    def test_order_of_access_points_and_subchannels(self, direction):
        for seed in range(10):
            radio = network(seed, (9, 3, 4), direction)
            once = api.assign(problem(radio))
            names = np.array([2, 0, 1])
            turned = radio._replace(gain=radio.gain[:, :, np.argsort(names)], ap=names[radio.ap])
            again = api.assign(problem(turned))
            assert again.cost == pytest.approx(once.cost, rel=1e-7)
            assert again.subchannel.tolist() == once.subchannel.tolist()
            mirrored = api.assign(problem(radio._replace(gain=radio.gain[::-1].copy())))
            assert mirrored.start_cost == pytest.approx(once.start_cost, rel=1e-9)
            assert mirrored.cost == pytest.approx(once.cost, rel=1e-2)

    @in_directions
    def test_silent_users_change_nothing(self, direction):
        for seed in range(10):
            radio = random_radio(seed, direction, shape=(8, 2, 3), silent=False)
            radio.bits[::3] = 0.0
            kept = active(radio)
            alone = radio._replace(
                gain=radio.gain[:, kept],
                ap=radio.ap[kept],
                bits=radio.bits[kept],
                delay_weight=radio.delay_weight[kept],
                energy_weight=radio.energy_weight[kept],
            )
            found, expected = api.assign(problem(radio)), api.assign(problem(alone))
            assert found.subchannel[kept].tolist() == expected.subchannel.tolist()
            np.testing.assert_allclose(found.power_w[kept], expected.power_w, rtol=EXACT)
            assert found.cost == pytest.approx(expected.cost, rel=EXACT)
            assert found.bound == pytest.approx(expected.bound, rel=EXACT)

    def test_lists_and_layouts(self):
        """Lists, integers, single precision and strided arrays are taken for what they say."""
        radio = small()
        expected = api.assign(problem(radio))
        strided = np.asfortranarray(np.repeat(radio.gain, 2, axis=1))[:, ::2]
        other = radio._replace(gain=strided, ap=radio.ap.astype(np.int32))
        assert api.assign(problem(other)).cost == expected.cost
        lists = radio._asdict() | {"bits": radio.bits.tolist(), "ap": radio.ap.tolist()}
        assert api.assign(api.RadioProblem(**lists)).cost == expected.cost
        chosen = one_hot(radio, expected.subchannel)
        assert api.radio_cost(problem(radio), np.asfortranarray(chosen), expected.power_w) == pytest.approx(
            expected.cost, rel=EXACT
        )


class TestHopelessLinks:
    @pytest.mark.parametrize("gain", [1e-100, 1e-200, 1e-300, 5e-324])
    def test_everybody_gets_a_seat(self, gain):
        users, aps, subchannels = 40, 2, 7
        radio = api.RadioProblem(
            gain=np.full((subchannels, users, aps), gain), ap=np.arange(users) % aps, bits=np.full(users, 1e5),
            delay_weight=np.full(users, 1.0), energy_weight=np.full(users, 0.1), bandwidth_hz=1e4, noise_w=1e-16,
            power_min_w=1e-3, power_max_w=0.3, capacity=3,
        )  # fmt: skip
        found = api.assign(radio)
        crowd = np.zeros((aps, subchannels), dtype=np.int64)
        np.add.at(crowd, (radio.ap, found.subchannel), 1)
        assert crowd.sum() == users
        assert crowd.max() <= 3
        assert found.cost > 1e80
        assert not np.isnan(found.cost)
