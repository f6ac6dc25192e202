"""Analytic derivatives of the cost against automatic ones and against differences of the loops."""

import math

import numpy as np
import pytest

from edge_envs.eccnoma.solvers import api
from tests.eccnoma.solvers import reference_radio as oracle
from tests.eccnoma.solvers.problems import DIRECTIONS, Radio, active, random_point, random_radio

AUTOMATIC = 1e-9
"""Largest error of a derivative, relative to the largest of its kind"""
EXACT = 1e-12

in_directions = pytest.mark.parametrize("direction", DIRECTIONS)


def gradient(radio: Radio, beta: np.ndarray, power_w: np.ndarray) -> api.Gradient:
    """The solvers' gradient."""
    return api.gradient(api.RadioProblem(**radio._asdict()), beta, power_w)


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float, label: object) -> None:
    """No entry further off than the tolerance times the largest."""
    assert found.shape == expected.shape
    largest = np.abs(expected).max(initial=0.0)
    assert np.abs(found - expected).max(initial=0.0) <= tolerance * largest, (label, found, expected)


class TestAutomatic:
    @in_directions
    @pytest.mark.parametrize("kind", ["inner", "sparse", "one-hot"])
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


class TestDifferences:
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
