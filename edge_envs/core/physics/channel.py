"""Radio channels: the factors of a link's gain and their random variables.

A gain is a POWER ratio, received over transmitted, so SNR = gain * power / (N0 * bandwidth). A link's gain is the
product of its path loss by distance, shadowing (median one) and fading (mean one), if a paper has them.

The functions are pure: callers pass uniform random numbers. They are compiled by numba, for calls from Python and from
kernels. Arguments of type `Value` are floats or float arrays of equal shapes. Ranges are not checked; configurations
validate them. A distance or gain of zero gives inf.
"""

import math

import numpy as np

from edge_envs.core.kernels.jit import compiled
from edge_envs.core.physics.units import SPEED_OF_LIGHT, Value


@compiled
def free_space_exponent_gain(distance_m: Value, antenna_gain: float, carrier_hz: float, exponent: float) -> Value:
    """Mean gain (A c / (4 pi f d))^e: the amplitude ratio of free space with a path loss exponent.

    A is the antenna gain as a ratio, f the carrier [Hz], d > 0 the distance [m] and e > 0 the exponent.
    """
    gain: Value = (antenna_gain * SPEED_OF_LIGHT / (4.0 * math.pi * carrier_hz) / distance_m) ** exponent
    return gain


@compiled
def distance_for_gain(gain: Value, antenna_gain: float, carrier_hz: float, exponent: float) -> Value:
    """Distance A c / (4 pi f) * g^(-1/e) [m] at which `free_space_exponent_gain` is `gain` > 0."""
    unit_gain_distance_m = antenna_gain * SPEED_OF_LIGHT / (4.0 * math.pi * carrier_hz)
    distance_m: Value = unit_gain_distance_m * (1.0 / gain) ** (1.0 / exponent)
    return distance_m


@compiled
def power_law_gain(distance_m: Value, reference_gain: float, exponent: float) -> Value:
    """Mean gain C0 (d / 1 m)^(-e), with C0 the gain at 1 m as a ratio, d > 0 the distance [m].

    The exponent e is 2 in free space, and larger with absorption by ground and walls.
    """
    # not d ** -e: for integers numba would compute in int64, which overflows at 10 km to the fifth power
    gain: Value = reference_gain * (1.0 / distance_m) ** exponent
    return gain


@compiled
def log_distance_gain(distance_m: Value, loss_at_1_km_db: float, db_per_decade: float) -> Value:
    """Median gain 10^(-L / 10) of the loss L = L0 + s log10(d / 1 km) [dB].

    L0 is the loss at 1 km [dB], s the slope [dB per decade of distance], d > 0 the distance in METRES.
    """
    loss_db = loss_at_1_km_db + db_per_decade * np.log10(distance_m / 1000.0)
    gain: Value = 10.0 ** (-loss_db / 10.0)
    return gain


@compiled
def log_normal_gain(normal: Value, deviation_db: float) -> Value:
    """Shadowing gain 10^(-X / 10), where the loss X = deviation_db * normal [dB] is N(0, deviation_db^2).

    `normal` is a `standard_normal`. The median is one, the mean exp((deviation_db ln 10 / 10)^2 / 2).
    """
    gain: Value = 10.0 ** (-deviation_db * normal / 10.0)
    return gain


@compiled
def exponential(uniform: Value) -> Value:
    """Exp(1) variable -ln(1 - u), for u in [0, 1): the power gain |h|^2 of Rayleigh fading, of mean one."""
    # numpy's uniforms are multiples of 2^-53, so 1 - u is exact, and log1p, which takes twice as long, is not needed
    variable: Value = -np.log(1.0 - uniform)
    return variable


@compiled
def complex_normal(uniform_1: Value, uniform_2: Value) -> tuple[Value, Value]:
    """Real and imaginary part of a CN(0, 1) variable z: independent, each of variance 1/2, |z|^2 ~ Exp(1).

    Box-Muller: z = sqrt(-ln(1 - u1)) exp(2 pi i u2), for u1 and u2 in [0, 1).
    """
    radius = np.sqrt(exponential(uniform_1))
    angle = 2.0 * math.pi * uniform_2
    return radius * np.cos(angle), radius * np.sin(angle)


@compiled
def standard_normal(uniform_1: Value, uniform_2: Value) -> Value:
    """N(0, 1) variable sqrt(2) Re z, with z the `complex_normal` of the same two uniforms in [0, 1)."""
    real, _ = complex_normal(uniform_1, uniform_2)
    return math.sqrt(2.0) * real


@compiled
def gauss_markov(
    real: Value, imaginary: Value, correlation: float, innovation_real: Value, innovation_imaginary: Value
) -> tuple[Value, Value]:
    """Next value rho g + sqrt(1 - rho^2) w of a Gauss-Markov fading g: its real and imaginary part.

    If g and the innovation w are independent CN(0, 1), so is the next value, and E[g(t + n) g(t)^*] = rho^n.
    The correlation rho is in [0, 1]: 0 returns w, a fresh draw; 1 returns g, a static channel.
    """
    spread = math.sqrt((1.0 - correlation) * (1.0 + correlation))
    return (
        correlation * real + spread * innovation_real,
        correlation * imaginary + spread * innovation_imaginary,
    )


@compiled
def poisson(uniform: float, exp_minus_rate: float, rate: float) -> int:
    """Poisson count by inversion of a uniform u in [0, 1]: the smallest k with P(count <= k) >= u.

    `exp_minus_rate` is exp(-rate), which the caller computes once per rate. All arguments are floats. The search starts
    at 0 and takes about `rate` steps, so it is suitable for rates up to 50. Rounding of the sum of probabilities can
    change the count only if u is within about 1e-15 of a step of the distribution function, or of 1. The search ends if
    the sum stops growing, even for u = 1. Rates above 700 give wrong counts, because exp(-rate) underflows.
    """
    count = 0
    probability = exp_minus_rate
    cumulative = exp_minus_rate
    while uniform > cumulative:
        count += 1
        probability *= rate / count
        following = cumulative + probability
        if following == cumulative:
            break
        cumulative = following
    return count
