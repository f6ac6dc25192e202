"""Fit of the paper's PSNR law (57), P = a ln(c_rho rho + c_s S + b), to a measured surface. Needs scipy.

(58) has a further constant l in front of c_rho rho + c_s S. Data determine only the products l c_rho and l c_s, so the
fits here set l = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_envs.core.physics.units import db_to_linear
from edge_envs.core.validation import number_within

SnrUnit: TypeAlias = Literal["db", "linear"]
Floats = NDArray[np.float64]
Points: TypeAlias = tuple[Floats, Floats, Floats]
"""Compression rates, SNR [dB] and PSNR [dB] of measured points; arrays (points,)."""

STARTS_DB = (3.0, 10.0, 30.0)
"""Initial values of a; the fit with the smallest error is kept."""
MIN_SCALE_DB, MAX_SCALE_DB = 0.5, 1000.0
"""Range of a. A surface that is linear in rho and S would drive a to infinity; one that is flat except at a few points
would drive it to 0, where the logarithm's argument overflows."""
LOWEST_SNR_DB = -30.0
"""The law must be defined from this SNR on. With S in dB it cannot be defined for every S > 0 as Condition 1 demands,
and an unconstrained fit to a saturating surface has its pole just below the measured range, where faded devices are."""
MIN_FALL, MAX_FALL = 1e-9, 0.999
"""Range of the relative fall of the logarithm's argument from the lowest measured point to the domain's lowest point:
below 1 so that the argument stays positive, above 0 because the environment requires positive slopes."""
FOLDS, REPEATS = 5, 10
"""Folds and repetitions of the cross-validation, as in the paper."""


@dataclass(frozen=True)
class Law:
    """The law (57) with its coefficients; `snr_unit` is the unit of S."""

    scale_db: float
    """a [dB]"""
    offset: float
    """b [-]"""
    per_rho: float
    """c_rho [-]"""
    per_snr: float
    """c_s [1/dB], or [-] where S is linear"""
    snr_unit: SnrUnit = "db"

    @property
    def coefficients(self) -> tuple[float, float, float, float, float]:
        """a, l, b, c_rho, c_s: the environment's option `psnr_law`; l is 1."""
        return self.scale_db, 1.0, self.offset, self.per_rho, self.per_snr

    def position(self, rho: ArrayLike, snr_db: ArrayLike) -> Floats:
        """x = c_rho rho + c_s S; the SNR is given in dB even where the law's unit is linear."""
        snr = _in_unit(np.asarray(snr_db, dtype=np.float64), self.snr_unit)
        x: Floats = self.per_rho * np.asarray(rho, dtype=np.float64) + self.per_snr * snr
        return x

    def psnr_db(self, rho: ArrayLike, snr_db: ArrayLike) -> Floats:
        """PSNR [dB] by the law; NaN where the logarithm's argument is not positive."""
        value: Floats = self.scale_db * np.log(self.position(rho, snr_db) + self.offset)
        return value

    def mae_db(self, rho: ArrayLike, snr_db: ArrayLike, psnr_db: ArrayLike) -> float:
        """Mean absolute error [dB] at measured points."""
        return float(np.abs(self.psnr_db(rho, snr_db) - np.asarray(psnr_db)).mean())


def fit_law(
    rho: ArrayLike, snr_db: ArrayLike, psnr_db: ArrayLike, snr_unit: SnrUnit = "db", scale_db: float | None = None,
    lowest_snr_db: float = LOWEST_SNR_DB,
) -> Law:  # fmt: skip
    """Least-squares fit of (57) that is concave and non-decreasing, as Condition 1 of the paper demands.

    The law is defined for all rho >= 0 and, with S in dB, from `lowest_snr_db` on (with S linear, for all S >= 0).

    Compression rates, SNR [dB] and measured PSNR [dB] have shape (n,); `snr_unit` is the unit of S. With `scale_db`, a
    has this value [dB] and is not fitted.

    Raises:
        ValueError: arrays that differ in shape, numbers that are not finite, fewer points than coefficients, points
            that all share one rho or one SNR, or an impossible a.
        ImportError: scipy is not installed.
    """
    x, y, z = _checked(rho, snr_db, psnr_db)
    if scale_db is not None:
        number_within("scale_db", scale_db, MIN_SCALE_DB, MAX_SCALE_DB)
    data = _Scaled(x, _in_unit(y, snr_unit), z, lowest_snr_db if snr_unit == "db" else 0.0)
    scales = STARTS_DB if scale_db is None else (scale_db,)
    _, law = min((data.fit(scale, snr_unit, free=scale_db is None) for scale in scales), key=lambda fit: fit[0])
    return law


class _Scaled:
    """The points with both axes scaled to [0, 1], and the distance by which the domain extends below 0 on each."""

    def __init__(self, rho: Floats, snr: Floats, psnr: Floats, lowest_snr: float) -> None:
        self.origin = float(rho.min()), float(snr.min())
        self.span = float(np.ptp(rho)), float(np.ptp(snr))
        below = self.origin[0] / self.span[0], (self.origin[1] - lowest_snr) / self.span[1]
        self.below = max(below[0], 1e-9), max(below[1], 1e-9)
        self.rho, self.snr = (rho - self.origin[0]) / self.span[0], (snr - self.origin[1]) / self.span[1]
        self.psnr = psnr

    def slopes(self, fall: float, share: float) -> tuple[float, float]:
        """Slopes along both axes of an argument that is 1 at the lowest measured point.

        The argument is 1 - `fall` at the domain's lowest point; `share` of that fall is due to rho.
        """
        return fall * share / self.below[0], fall * (1.0 - share) / self.below[1]

    def fit(self, start_db: float, snr_unit: SnrUnit, *, free: bool) -> tuple[float, Law]:
        """Fit from one initial value of a, or with a fixed; returns the sum of squared errors and the law."""
        try:
            from scipy.optimize import least_squares
        except ImportError as error:
            raise ImportError("fitting needs scipy: pip install 'edge-envs[codec]'") from error

        def residual(unknown: Floats) -> Floats:
            log_scale, value, fall, share = unknown if free else (math.log(start_db), *unknown)
            slope_rho, slope_snr = self.slopes(fall, share)
            rise: Floats = np.log1p(slope_rho * self.rho + slope_snr * self.snr)
            return value + math.exp(log_scale) * rise - self.psnr

        start = [math.log(start_db)] * free + [float(self.psnr.min()), 0.3, 0.5]
        low = [math.log(MIN_SCALE_DB)] * free + [-math.inf, MIN_FALL, MIN_FALL]
        high = [math.log(MAX_SCALE_DB)] * free + [math.inf, MAX_FALL, 1.0 - MIN_FALL]
        done = least_squares(residual, start, bounds=(low, high), xtol=1e-12, ftol=1e-12, gtol=1e-12)
        log_scale, value, fall, share = done.x if free else (math.log(start_db), *done.x)
        scale = math.exp(log_scale)
        argument = math.exp(value / scale)
        per_rho, per_snr = (argument * s / span for s, span in zip(self.slopes(fall, share), self.span, strict=True))
        offset = argument - per_rho * self.origin[0] - per_snr * self.origin[1]
        return 2.0 * float(done.cost), Law(scale, float(offset), float(per_rho), float(per_snr), snr_unit)


def cross_validated_mae_db(
    rho: ArrayLike, snr_db: ArrayLike, psnr_db: ArrayLike, snr_unit: SnrUnit = "db", seed: int = 0
) -> float:
    """Mean absolute error [dB] of the fitted law on points left out of the fit: 5 folds, repeated ten times."""
    x, y, z = _checked(rho, snr_db, psnr_db)
    errors = []
    for inside, outside in _folds(len(z), seed):
        law = fit_law(x[inside], y[inside], z[inside], snr_unit)
        errors.append(law.mae_db(x[outside], y[outside], z[outside]))
    return float(np.mean(errors))


def interpolation_mae_db(rho: ArrayLike, snr_db: ArrayLike, psnr_db: ArrayLike, seed: int = 0) -> float:
    """Mean absolute error [dB] of linear interpolation on points left out; the paper's 0.4381 dB is of this kind.

    Outside the convex hull of the remaining points, the nearest point's value is used.
    """
    from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator

    x, y, z = _checked(rho, snr_db, psnr_db)
    places = np.column_stack((x / np.ptp(x), y / np.ptp(y)))
    errors = []
    for inside, outside in _folds(len(z), seed):
        guess = LinearNDInterpolator(places[inside], z[inside])(places[outside])
        nearest = NearestNDInterpolator(places[inside], z[inside])(places[outside])
        errors.append(np.abs(np.where(np.isnan(guess), nearest, guess) - z[outside]).mean())
    return float(np.mean(errors))


def _folds(points: int, seed: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    rng = np.random.default_rng(seed)
    folds = [fold for _ in range(REPEATS) for fold in np.array_split(rng.permutation(points), FOLDS)]
    return [(np.setdiff1d(np.arange(points), fold), fold) for fold in folds]


def _checked(rho: ArrayLike, snr_db: ArrayLike, psnr_db: ArrayLike) -> Points:
    x, y, z = (np.asarray(values, dtype=np.float64).ravel() for values in (rho, snr_db, psnr_db))
    if not len(x) == len(y) == len(z) or len(z) < 4:
        raise ValueError(f"{len(x)} rates, {len(y)} SNR and {len(z)} PSNR: give equal numbers, at least 4 of each")
    if not np.isfinite(np.concatenate((x, y, z))).all():
        raise ValueError("the law cannot be fitted to values that are not finite")
    if not np.ptp(x) or not np.ptp(y):
        raise ValueError("the law needs points at two or more compression rates and two or more SNR")
    return x, y, z


def _in_unit(snr_db: Floats, snr_unit: SnrUnit) -> Floats:
    return snr_db if snr_unit == "db" else db_to_linear(snr_db)
