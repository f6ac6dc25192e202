"""Channel formulas against hand-computed values, random variables against scipy, Python against kernels."""

import math

import numba
import numpy as np
import pytest
from scipy import special, stats

from edge_envs.core.physics import channel
from edge_envs.core.physics.units import db_to_linear, dbm_to_watt, linear_to_db

FREE_SPACE = (3.0, 915e6, 3.0)
"""Antenna gain 3, 915 MHz, exponent 3."""


def uniforms(seed, *shape):
    return np.random.default_rng(seed).random(shape)


def poisson_counts(grid, rate):
    return np.array([channel.poisson(uniform, math.exp(-rate), rate) for uniform in grid])


# Path loss


def test_free_space_gain_by_hand():
    # 3 * 3e8 / (4 pi * 915e6 * 200) = 3.91366e-4, cubed
    assert channel.free_space_exponent_gain(200.0, *FREE_SPACE) == pytest.approx(5.9944e-11, rel=1e-4)
    # Friis between isotropic antennas: a wavelength of 1 m leaves 1 / (4 pi)^2 at 1 m
    assert channel.free_space_exponent_gain(1.0, 1.0, 3e8, 2.0) == pytest.approx(1 / (4 * math.pi) ** 2)


def test_full_power_link_at_200_m():
    """0.3 W over 250 kHz: 43 dB of SNR on the mean gain, and 3.3 Mbit/s averaged over Rayleigh fading."""
    gain, bandwidth_hz = channel.free_space_exponent_gain(200.0, *FREE_SPACE), 250e3
    snr = 0.3 * gain / (dbm_to_watt(-174.0) * bandwidth_hz)
    assert round(linear_to_db(snr)) == 43
    assert bandwidth_hz * math.log2(1 + snr) == pytest.approx(3.535e6, rel=1e-3)

    # E ln(1 + snr h) = e^(1/snr) E1(1/snr) for h ~ Exp(1)
    ergodic_rate = bandwidth_hz * math.exp(1 / snr) * special.exp1(1 / snr) / math.log(2)
    assert ergodic_rate == pytest.approx(3.3e6, rel=0.01)
    midpoints = (np.arange(200_000) + 0.5) / 200_000
    rates = bandwidth_hz * np.log2(1 + snr * channel.exponential(midpoints))
    assert rates.mean() == pytest.approx(ergodic_rate, rel=1e-5)


@pytest.mark.parametrize("parameters", [FREE_SPACE, (1.0, 2.4e9, 2.0), (4.11, 28e9, 3.7)])
def test_distance_for_gain_inverts_the_gain(parameters):
    distances = np.logspace(-1, 5, 61)
    gains = channel.free_space_exponent_gain(distances, *parameters)
    np.testing.assert_allclose(channel.distance_for_gain(gains, *parameters), distances, rtol=1e-13)
    gain = channel.free_space_exponent_gain(173.0, *parameters)
    assert channel.distance_for_gain(gain, *parameters) == pytest.approx(173.0, rel=1e-13)


@pytest.mark.parametrize(
    ("distance_m", "reference_gain", "exponent", "gain"),
    [
        (1.0, 1e-3, 2.8, 1e-3),
        (30.0, 1e-3, 2.2, 5.62773e-7),
        (8.0, 1e-3, 2.8, 2.96040e-6),
        (200.0, 1.0, 5.0, 3.125e-12),
    ],
)
def test_power_law_gain_by_hand(distance_m, reference_gain, exponent, gain):
    assert channel.power_law_gain(distance_m, reference_gain, exponent) == pytest.approx(gain, rel=1e-5)


def test_power_law_gain_of_whole_numbers_does_not_overflow():
    assert channel.power_law_gain(10_000, 1, 5) == pytest.approx(1e-20, rel=1e-12)
    np.testing.assert_allclose(channel.power_law_gain(np.array([10, 10_000]), 1, 5), [1e-5, 1e-20], rtol=1e-12)


def test_log_distance_gain_by_hand():
    assert channel.log_distance_gain(1000.0, 128.1, 37.6) == pytest.approx(10**-12.81, rel=1e-12)
    # two decades nearer: 128.1 - 75.2 = 52.9 dB
    assert channel.log_distance_gain(10.0, 128.1, 37.6) == pytest.approx(10**-5.29, rel=1e-12)
    # the same law as a power of the distance: 128.1 dB at 1 km is 15.3 dB at 1 m
    distances = np.logspace(0, 4, 17)
    power_law = channel.power_law_gain(distances, db_to_linear(-15.3), 3.76)
    np.testing.assert_allclose(channel.log_distance_gain(distances, 128.1, 37.6), power_law, rtol=1e-12)


def test_log_normal_gain_is_a_loss_of_the_given_deviation():
    assert channel.log_normal_gain(0.0, 8.0) == 1.0
    # one deviation of 8 dB more loss
    assert channel.log_normal_gain(1.0, 8.0) == pytest.approx(0.158489319, rel=1e-8)
    normals = channel.standard_normal(uniforms(1, 100_000), uniforms(2, 100_000))
    gains_db = linear_to_db(channel.log_normal_gain(normals, 8.0))
    assert stats.kstest(gains_db, "norm", args=(0.0, 8.0)).pvalue > 0.01
    assert channel.log_normal_gain(normals, 3.0).mean() == pytest.approx(
        math.exp((3 * math.log(10) / 10) ** 2 / 2), rel=0.01
    )


@pytest.mark.parametrize(
    ("formula", "parameters"),
    [
        (channel.free_space_exponent_gain, FREE_SPACE),
        (channel.distance_for_gain, FREE_SPACE),
        (channel.power_law_gain, (1.0, 5.0)),
    ],
)
def test_zero_gives_infinity(formula, parameters):
    assert formula(0.0, *parameters) == math.inf
    assert formula(np.zeros(2), *parameters).tolist() == [math.inf, math.inf]


def test_log_distance_gain_is_infinite_at_zero():
    assert channel.log_distance_gain(0.0, 128.1, 37.6) == math.inf
    assert channel.log_distance_gain(np.zeros(2), 128.1, 37.6).tolist() == [math.inf, math.inf]


# Random variables


def test_exponential_is_the_quantile_function():
    grid = np.concatenate([[0.0, 2.0**-53, 1e-9], np.linspace(0.001, 0.999, 999), [1 - 1e-9, 1 - 2.0**-53]])
    # multiples of 2^-53, as numpy draws them
    grid = np.floor(grid * 2.0**53) / 2.0**53
    np.testing.assert_allclose(channel.exponential(grid), stats.expon.ppf(grid), rtol=1e-15)
    assert channel.exponential(0.0) == 0.0
    assert math.isfinite(channel.exponential(1 - 2.0**-53))
    assert stats.kstest(channel.exponential(uniforms(3, 100_000)), "expon").pvalue > 0.01


def test_complex_normal_has_independent_parts_and_unit_power():
    real, imaginary = channel.complex_normal(uniforms(4, 200_000), uniforms(5, 200_000))
    for part in (real, imaginary):
        assert stats.kstest(part, "norm", args=(0.0, math.sqrt(0.5))).pvalue > 0.01
    power = real**2 + imaginary**2
    assert stats.kstest(power, "expon").pvalue > 0.01
    assert stats.kstest(np.arctan2(imaginary, real), "uniform", args=(-math.pi, 2 * math.pi)).pvalue > 0.01
    # independence beyond second moments: signs, and magnitudes, of the two parts
    assert abs(np.corrcoef(real, imaginary)[0, 1]) < 0.01
    assert abs(np.corrcoef(real**2, imaginary**2)[0, 1]) < 0.01


def test_complex_normal_power_is_the_exponential_of_the_first_uniform():
    first, second = uniforms(6, 1000), uniforms(7, 1000)
    real, imaginary = channel.complex_normal(first, second)
    np.testing.assert_allclose(real**2 + imaginary**2, channel.exponential(first), rtol=1e-14)


def test_standard_normal():
    normals = channel.standard_normal(uniforms(8, 200_000), uniforms(9, 200_000))
    assert stats.kstest(normals, "norm").pvalue > 0.01


@pytest.mark.parametrize("edge", [0.0, 1 - 2.0**-53])
def test_normals_are_finite_at_the_edges_of_the_unit_interval(edge):
    for other in (0.0, 0.37, 1 - 2.0**-53):
        assert all(math.isfinite(part) for part in channel.complex_normal(edge, other))
        assert math.isfinite(channel.standard_normal(edge, other))


# Fading in time


@pytest.mark.parametrize("correlation", [0.3, 0.9, 0.99])
def test_gauss_markov_is_stationary_with_a_geometric_autocorrelation(correlation):
    chains, steps = 40_000, 6
    first, second = uniforms(10, steps + 1, chains), uniforms(11, steps + 1, chains)
    start = real, imaginary = channel.complex_normal(first[0], second[0])
    for step in range(1, steps + 1):
        innovation = channel.complex_normal(first[step], second[step])
        real, imaginary = channel.gauss_markov(real, imaginary, correlation, *innovation)
        lagged = np.mean((real + 1j * imaginary) * (start[0] - 1j * start[1]))
        assert lagged == pytest.approx(correlation**step, abs=5 / math.sqrt(chains))
        assert stats.kstest(real**2 + imaginary**2, "expon").pvalue > 0.001
    assert stats.kstest(real, "norm", args=(0.0, math.sqrt(0.5))).pvalue > 0.001


def test_gauss_markov_by_hand_and_at_its_limits():
    # 3-4-5: sqrt(1 - 0.6^2) = 0.8
    assert channel.gauss_markov(1.0, -2.0, 0.6, 0.5, 0.25) == pytest.approx((1.0, -1.0), rel=1e-15)
    assert channel.gauss_markov(0.3, -0.7, 0.0, 1.1, 0.2) == (1.1, 0.2)
    assert channel.gauss_markov(0.3, -0.7, 1.0, 1.1, 0.2) == (0.3, -0.7)


# Poisson


@pytest.mark.parametrize("rate", [0.01, 0.2, 1.0, 3.7, 10.0, 20.0, 50.0, 300.0, 700.0])
def test_poisson_is_the_quantile_function(rate):
    grid = (np.arange(20_000) + 0.5) / 20_000
    np.testing.assert_array_equal(poisson_counts(grid, rate), stats.poisson.ppf(grid, rate))
    counts = np.arange(int(rate + 5 * math.sqrt(rate)) + 3)
    steps = stats.poisson.cdf(counts, rate)
    steps = steps[steps < 1 - 1e-9]
    # on either side of every step of the distribution
    np.testing.assert_array_equal(poisson_counts(steps * (1 - 1e-12), rate), counts[: len(steps)])
    np.testing.assert_array_equal(poisson_counts(steps * (1 + 1e-12), rate), counts[: len(steps)] + 1)


@pytest.mark.parametrize("rate", [0.2, 3.7, 20.0, 50.0])
def test_poisson_passes_a_chi_square_test(rate):
    draws = 50_000
    counts = poisson_counts(uniforms(12, draws), rate)
    lowest, highest = stats.poisson.ppf([1e-3, 1 - 1e-3], rate)
    inner = np.arange(lowest, highest)
    probabilities = stats.poisson.pmf(inner, rate)
    observed = [np.sum(counts == count) for count in inner]
    observed = [np.sum(counts < lowest), *observed, np.sum(counts >= highest)]
    expected = [stats.poisson.cdf(lowest - 1, rate), *probabilities, stats.poisson.sf(highest - 1, rate)]
    used = np.array(expected) > 0
    assert stats.chisquare(np.array(observed)[used], draws * np.array(expected)[used]).pvalue > 0.01


@pytest.mark.parametrize("rate", [0.01, 0.2, 3.7, 20.0, 50.0])
def test_poisson_ends_next_to_one(rate):
    exp_minus_rate = math.exp(-rate)
    far = channel.poisson(1 - 1e-12, exp_minus_rate, rate)
    assert stats.poisson.sf(far, rate) <= 1e-12 < stats.poisson.sf(far - 1, rate)
    # 1.1e-16 from one the sum has too few digits to separate counts: right to a factor of ten in the tail
    farther = channel.poisson(1 - 2.0**-53, exp_minus_rate, rate)
    assert stats.poisson.sf(farther, rate) <= 1e-15
    assert stats.poisson.sf(farther - 1, rate) >= 1e-17
    assert farther <= channel.poisson(1.0, exp_minus_rate, rate) <= farther + 2


def test_poisson_of_a_zero_uniform_or_rate_is_zero():
    assert channel.poisson(0.0, math.exp(-20.0), 20.0) == 0
    assert channel.poisson(1 - 2.0**-53, 1.0, 0.0) == 0
    assert isinstance(channel.poisson(0.9, math.exp(-3.7), 3.7), int)


# From Python, from kernels, on arrays


@numba.njit
def draw_in_kernel(first, second, out):
    for i in range(len(first)):
        out[i, 0] = channel.free_space_exponent_gain(100.0 + 200.0 * first[i], 3.0, 915e6, 3.0)
        out[i, 1] = channel.distance_for_gain(out[i, 0], 3.0, 915e6, 3.0)
        out[i, 2] = channel.power_law_gain(100.0 + 200.0 * first[i], 1e-3, 2.8)
        out[i, 3] = channel.log_distance_gain(100.0 + 200.0 * first[i], 128.1, 37.6)
        out[i, 4] = channel.exponential(first[i])
        out[i, 5], out[i, 6] = channel.complex_normal(first[i], second[i])
        out[i, 7] = channel.standard_normal(first[i], second[i])
        out[i, 8] = channel.log_normal_gain(out[i, 7], 8.0)
        out[i, 9], out[i, 10] = channel.gauss_markov(0.3, -0.7, 0.9, out[i, 5], out[i, 6])
        out[i, 11] = channel.poisson(first[i], math.exp(-3.7), 3.7)


def draw_in_python(first, second):
    """The columns of `draw_in_kernel` but the last, for floats or for arrays."""
    distance = 100.0 + 200.0 * first
    gain = channel.free_space_exponent_gain(distance, *FREE_SPACE)
    fading = channel.complex_normal(first, second)
    normal = channel.standard_normal(first, second)
    return [
        gain,
        channel.distance_for_gain(gain, *FREE_SPACE),
        channel.power_law_gain(distance, 1e-3, 2.8),
        channel.log_distance_gain(distance, 128.1, 37.6),
        channel.exponential(first),
        *fading,
        normal,
        channel.log_normal_gain(normal, 8.0),
        *channel.gauss_markov(first * 0.0 + 0.3, first * 0.0 - 0.7, 0.9, *fading),
    ]


def test_floats_arrays_and_kernels_agree():
    first, second = uniforms(13, 257), uniforms(14, 257)
    out = np.empty((257, 12))
    draw_in_kernel(first, second, out)
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    np.testing.assert_allclose([draw_in_python(*pair) for pair in pairs], out[:, :-1], rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(np.transpose(draw_in_python(first, second)), out[:, :-1], rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(poisson_counts(first, 3.7), out[:, -1])


def test_floats_give_floats():
    assert all(isinstance(value, float) for value in draw_in_python(0.3, 0.8))
