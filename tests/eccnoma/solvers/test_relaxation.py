"""Relaxed rates, costs and gradients against loops, identities, automatic derivatives and differences."""

import math

import numpy as np
import pytest

from edge_envs.eccnoma.solvers import api
from tests.eccnoma.solvers import reference_radio as oracle
from tests.eccnoma.solvers.problems import (
    DIRECTIONS,
    Direction,
    Radio,
    active,
    network,
    one_hot,
    random_point,
    random_radio,
)

EXACT = 1e-12
"""Largest relative error of a rate or a cost"""
AUTOMATIC = 1e-9
"""Largest error of a derivative, relative to the largest of its kind"""
KINDS = ("inner", "sparse", "one-hot")

in_directions = pytest.mark.parametrize("direction", DIRECTIONS)


def one_cell(gain: list[float], direction: Direction = "uplink", noise_w: float = 1e-9) -> Radio:
    """Users of a single access point with a single subchannel."""
    users = len(gain)
    return Radio(
        gain=np.array(gain).reshape(1, users, 1),
        ap=np.zeros(users, dtype=np.int64),
        bits=np.full(users, 1e4),
        delay_weight=np.ones(users),
        energy_weight=np.ones(users),
        bandwidth_hz=1e5,
        noise_w=noise_w,
        power_min_w=1e-3,
        power_max_w=1.0,
        capacity=users,
        direction=direction,
    )


def rates(radio: Radio, beta: np.ndarray, power_w: np.ndarray) -> np.ndarray:
    """The solvers' rates."""
    return api.rates(api.RadioProblem(**radio._asdict()), beta, power_w)


def cost(radio: Radio, beta: np.ndarray, power_w: np.ndarray) -> float:
    """The solvers' cost."""
    return api.radio_cost(api.RadioProblem(**radio._asdict()), beta, power_w)


class TestAgainstLoops:
    @in_directions
    @pytest.mark.parametrize("kind", KINDS)
    def test_rates_and_cost(self, direction, kind):
        for seed in range(60):
            radio = random_radio(seed, direction)
            beta, power_w = random_point(radio, seed, kind)
            found = rates(radio, beta, power_w)
            assert found.shape == radio.ap.shape
            np.testing.assert_allclose(found, oracle.rates(radio, beta, power_w), rtol=EXACT, err_msg=str(seed))
            assert (found[~active(radio)] == 0.0).all()
            assert cost(radio, beta, power_w) == pytest.approx(oracle.cost(radio, beta, power_w), rel=EXACT), seed

    @in_directions
    def test_network(self, direction):
        radio = network(3, (30, 3, 10), direction)
        beta, power_w = random_point(radio, 3, "one-hot")
        np.testing.assert_allclose(rates(radio, beta, power_w), oracle.rates(radio, beta, power_w), rtol=EXACT)

    @pytest.mark.parametrize("seed", range(30))
    def test_printed_form_differs(self, seed):
        """The option is not a synonym: the forms differ as soon as two users share, and only in the weaker ones."""
        radio = random_radio(seed, "downlink", silent=False)
        beta, power_w = random_point(radio, seed)
        printed = rates(radio._replace(direction="downlink-printed"), beta, power_w)
        physical = rates(radio, beta, power_w)
        assert (printed <= physical * (1.0 + EXACT)).all()
        gains = radio.gain[:, np.arange(len(radio.ap)), radio.ap]
        shared = any(len(np.unique(gains[:, radio.ap == n], axis=1).T) > 1 for n in range(radio.gain.shape[2]))
        assert (printed != physical).any() == (shared and len(radio.ap) > 1)


class TestIdentities:
    @in_directions
    def test_single_user(self, direction):
        """b log2(1 + p g / noise), and the cost of its time and energy."""
        radio = one_cell([3e-7], direction)
        found = rates(radio, np.ones((1, 1)), np.array([0.2]))
        expected = 1e5 * math.log2(1.0 + 0.2 * 3e-7 / 1e-9)
        assert found[0] == pytest.approx(expected, rel=EXACT)
        assert cost(radio, np.ones((1, 1)), np.array([0.2])) == pytest.approx(1.2 * 1e4 / expected, rel=EXACT)

    @pytest.mark.parametrize("users", [2, 3, 7])
    def test_uplink_sum_rate(self, users):
        """Cancelled one after the other, all that a cluster sends counts as one signal."""
        rng = np.random.default_rng(users)
        radio = one_cell(list(10.0 ** rng.uniform(-11.0, -6.0, users)))
        power_w = rng.uniform(0.01, 1.0, users)
        total = math.fsum(rates(radio, np.ones((users, 1)), power_w))
        signal = math.fsum(power_w * radio.gain[0, :, 0])
        assert total == pytest.approx(1e5 * math.log2(1.0 + signal / 1e-9), rel=EXACT)

    @pytest.mark.parametrize("users", [2, 3, 7])
    def test_downlink_strongest_is_free(self, users):
        """The strongest hears noise only; with equal gains the downlink's sum rate is that of one signal too."""
        power_w = np.random.default_rng(users).uniform(0.01, 1.0, users)
        radio = one_cell([1e-8] * users, "downlink")
        found = rates(radio, np.ones((users, 1)), power_w)
        assert found[0] == pytest.approx(1e5 * math.log2(1.0 + 10.0 * power_w[0]), rel=EXACT)
        assert math.fsum(found) == pytest.approx(1e5 * math.log2(1.0 + 10.0 * math.fsum(power_w)), rel=EXACT)

    @in_directions
    def test_ties_favour_the_first(self, direction):
        """Of users with equal gains the first is the stronger: decoded first uplink, undisturbed downlink."""
        radio = one_cell([1e-8, 1e-8], direction)
        first, second = rates(radio, np.ones((2, 1)), np.array([1.0, 1.0]))
        disturbed, free = 1e5 * math.log2(1.0 + 10.0 / 11.0), 1e5 * math.log2(11.0)
        expected = (disturbed, free) if direction == "uplink" else (free, disturbed)
        assert (first, second) == pytest.approx(expected, rel=EXACT)

    @in_directions
    def test_deep_interference(self, direction):
        """A signal far below the resolution of 1 + SINR still has its rate, to all digits."""
        gain = np.array([[[1e-14, 1.0], [1.0, 1.0]]])
        if direction != "uplink":
            gain = gain.copy()
            gain[0, 0, 0] = 1e-18
        radio = one_cell([1.0, 1.0], direction)._replace(gain=gain, ap=np.array([0, 1]))
        beta, power_w = np.ones((2, 1)), np.array([1e-3, 10.0])
        found = rates(radio, beta, power_w)
        sinr = 1e-3 * gain[0, 0, 0] / (10.0 + 1e-9)
        assert sinr < 1e-17
        assert found[0] == pytest.approx(1e5 * sinr / math.log(2.0), rel=EXACT)
        assert math.isfinite(cost(radio, beta, power_w))

    @in_directions
    def test_silent_users_do_not_exist(self, direction):
        """Their gains and weights, even their betas and powers, change nothing for the others."""
        for seed in range(20):
            radio = random_radio(seed, direction, shape=(8, 2, 3), silent=False)
            radio.bits[::3] = 0.0
            beta, power_w = random_point(radio, seed)
            kept = active(radio)
            alone = radio._replace(
                gain=radio.gain[:, kept],
                ap=radio.ap[kept],
                bits=radio.bits[kept],
                delay_weight=radio.delay_weight[kept],
                energy_weight=radio.energy_weight[kept],
            )
            found = rates(radio, beta, power_w)
            np.testing.assert_allclose(found[kept], rates(alone, beta[kept], power_w[kept]), rtol=EXACT)
            beta[~kept] = 1.0 / 3.0
            assert rates(radio, beta, power_w).tolist() == found.tolist()

    @in_directions
    def test_units_scale(self, direction):
        """Powers and noise in other units, or gains and noise, leave the rates; bandwidth and bits scale the cost."""
        radio = random_radio(23, direction)
        beta, power_w = random_point(radio, 23)
        before = rates(radio, beta, power_w)
        watts = radio._replace(power_min_w=radio.power_min_w * 1e6, power_max_w=radio.power_max_w * 1e6)
        np.testing.assert_allclose(
            rates(watts._replace(noise_w=radio.noise_w * 1e6), beta, power_w * 1e6), before, rtol=EXACT
        )
        quieter = radio._replace(gain=radio.gain * 1e-9, noise_w=radio.noise_w * 1e-9)
        np.testing.assert_allclose(rates(quieter, beta, power_w), before, rtol=EXACT)
        double = radio._replace(bandwidth_hz=2.0 * radio.bandwidth_hz, bits=6.0 * radio.bits)
        assert cost(double, beta, power_w) == pytest.approx(3.0 * cost(radio, beta, power_w), rel=EXACT)

    def test_all_silent(self):
        radio = one_cell([1e-8, 1e-9])._replace(bits=np.zeros(2))
        assert rates(radio, np.zeros((2, 1)), np.full(2, 0.5)).tolist() == [0.0, 0.0]
        assert cost(radio, np.zeros((2, 1)), np.full(2, 0.5)) == 0.0

    def test_one_hot_helper(self):
        """What the other tests rely on: a row of one 1 for users that send, and of zeros for the others."""
        radio = random_radio(5, shape=(4, 2, 3), silent=False)
        radio.bits[2] = 0.0
        assert one_hot(radio, np.array([2, 0, 1, 1])).tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 1, 0]]


def gradient(radio: Radio, beta: np.ndarray, power_w: np.ndarray) -> api.Gradient:
    """The solvers' gradient."""
    return api.gradient(api.RadioProblem(**radio._asdict()), beta, power_w)


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float, label: object) -> None:
    """No entry further off than the tolerance times the largest."""
    assert found.shape == expected.shape
    largest = np.abs(expected).max(initial=0.0)
    assert np.abs(found - expected).max(initial=0.0) <= tolerance * largest, (label, found, expected)


class TestGradientAgainstAutomatic:
    @in_directions
    @pytest.mark.parametrize("kind", KINDS)
    def test_against_autograd(self, direction, kind):
        pytest.importorskip("torch")
        for seed in range(60):
            radio = random_radio(seed, direction)
            beta, power_w = random_point(radio, seed, kind)
            found = gradient(radio, beta, power_w)
            total, by_beta, by_power = oracle.gradient(radio, beta, power_w)
            assert found.cost == pytest.approx(total, rel=EXACT), seed
            assert_close(found.beta, by_beta, AUTOMATIC, seed)
            assert_close(found.power_w, by_power, AUTOMATIC, seed)

    @in_directions
    def test_user_by_user(self, direction):
        """Relative to each user's own largest derivative, so that cheap users cannot hide behind dear ones."""
        pytest.importorskip("torch")
        for seed in range(60):
            radio = random_radio(seed, direction)
            beta, power_w = random_point(radio, seed)
            found = gradient(radio, beta, power_w)
            _, by_beta, by_power = oracle.gradient(radio, beta, power_w)
            for i in np.flatnonzero(active(radio)):
                assert_close(found.beta[i], by_beta[i], 1e-8, (seed, i))
                scale = max(abs(by_power[i]), math.fsum(np.abs(by_beta[i])) / power_w[i])
                assert abs(found.power_w[i] - by_power[i]) <= 1e-8 * scale, (seed, i)

    @in_directions
    def test_silent_users(self, direction):
        """Their rows are zeros, and what stands in them for betas is not read."""
        for seed in range(20):
            radio = random_radio(seed, direction, shape=(9, 3, 4), silent=False)
            radio.bits[1::3] = 0.0
            beta, power_w = random_point(radio, seed)
            found = gradient(radio, beta, power_w)
            assert (found.beta[1::3] == 0.0).all()
            assert (found.power_w[1::3] == 0.0).all()
            assert (np.abs(found.beta[0::3]).max(axis=1) > 0.0).all()
            beta[1::3] = 0.25
            again = gradient(radio, beta, power_w)
            assert again.beta.tolist() == found.beta.tolist()
            assert again.power_w.tolist() == found.power_w.tolist()


class TestGradientAgainstDifferences:
    @in_directions
    @pytest.mark.parametrize("seed", range(12))
    def test_against_differences(self, direction, seed):
        """Central differences of the loops, in parts of each variable."""
        radio = random_radio(seed, direction, shape=(5, 2, 3))
        beta, power_w = random_point(radio, seed)
        found = gradient(radio, beta, power_w)
        total, part = oracle.cost(radio, beta, power_w), 1e-5
        for i in np.flatnonzero(active(radio)):
            for m in range(3):
                up, down = beta.copy(), beta.copy()
                up[i, m] *= 1.0 + part
                down[i, m] *= 1.0 - part
                slope = (oracle.cost(radio, up, power_w) - oracle.cost(radio, down, power_w)) / (2.0 * part)
                assert found.beta[i, m] * beta[i, m] == pytest.approx(slope, rel=1e-6, abs=1e-9 * total), (i, m)
            more, less = power_w.copy(), power_w.copy()
            more[i] *= 1.0 + part
            less[i] *= 1.0 - part
            slope = (oracle.cost(radio, beta, more) - oracle.cost(radio, beta, less)) / (2.0 * part)
            assert found.power_w[i] * power_w[i] == pytest.approx(slope, rel=1e-6, abs=1e-9 * total), i

    def test_single_user(self):
        """By hand: J = (A + C p) / (b beta log2(1 + p g / noise))."""
        radio = random_radio(0, shape=(1, 1, 1), silent=False)
        beta, power_w = np.array([[0.5]]), np.array([radio.power_max_w * 0.3])
        snr = float(power_w[0] * radio.gain[0, 0, 0] / radio.noise_w)
        rate = 0.5 * radio.bandwidth_hz * math.log1p(snr) / math.log(2.0)
        delay, energy = radio.delay_weight[0] * radio.bits[0], radio.energy_weight[0] * radio.bits[0]
        total = (delay + energy * power_w[0]) / rate
        found = gradient(radio, beta, power_w)
        assert found.cost == pytest.approx(total, rel=EXACT)
        assert found.beta[0, 0] == pytest.approx(-total / 0.5, rel=EXACT)
        by_log = snr / ((1.0 + snr) * math.log1p(snr))
        assert found.power_w[0] == pytest.approx(energy / rate - total / power_w[0] * by_log, rel=1e-11)

    def test_all_silent(self):
        radio = random_radio(1, shape=(3, 2, 2))._replace(bits=np.zeros(3))
        found = gradient(radio, np.zeros((3, 2)), np.full(3, radio.power_max_w))
        assert found.cost == 0.0
        assert (found.beta == 0.0).all()
        assert (found.power_w == 0.0).all()
