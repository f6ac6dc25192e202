"""Image quality by compression rate and SNR: the fitted law (57), forwards and backwards."""

from __future__ import annotations

import math
from typing import NamedTuple

from edge_envs.core.kernels.jit import kernel

LEAST_SNR = 1e-30
"""Floor of an SNR before it is turned into decibels."""


class PsnrLaw(NamedTuple):
    """P(rho, S) = a ln(l (c_rho rho + c_s S) + b) [dB], eq. (57), with S in dB or as a ratio, never below 0 dB."""

    scale_db: float  # a
    stretch: float  # l
    offset: float  # b
    by_compression: float  # c_rho
    by_snr: float  # c_s, per dB or per unit of the ratio
    decibel: bool  # unit of S
    snr_low_db: float  # a lower SNR counts as this, -inf for none
    snr_high_db: float  # a higher SNR counts as this, inf for none


@kernel
def snr_term(law: PsnrLaw, snr: float) -> float:
    """S as the law takes it: clipped, in its unit."""
    level_db = min(max(10.0 * math.log10(max(snr, LEAST_SNR)), law.snr_low_db), law.snr_high_db)
    return level_db if law.decibel else 10.0 ** (level_db / 10.0)


@kernel
def psnr_db(law: PsnrLaw, compression: float, snr: float) -> float:
    """P(rho, S) [dB]."""
    inside = law.stretch * (law.by_compression * compression + law.by_snr * snr_term(law, snr)) + law.offset
    return law.scale_db * math.log(max(inside, 1.0))


@kernel
def demand(law: PsnrLaw, psnr_min_db: float) -> float:
    """What c_rho rho + c_s S must be for a PSNR."""
    return (math.exp(psnr_min_db / law.scale_db) - law.offset) / law.stretch


@kernel
def snr_needed(law: PsnrLaw, compression: float, psnr_min_db: float) -> float:
    """Least SNR, a ratio, at which a compression rate gives a PSNR: 0 where any does, inf where none does."""
    wanted = (demand(law, psnr_min_db) - law.by_compression * compression) / law.by_snr
    if not law.decibel:
        wanted = 10.0 * math.log10(wanted) if wanted > 0.0 else -math.inf
    if wanted > law.snr_high_db:
        return math.inf
    return 10.0 ** (wanted / 10.0) if wanted > law.snr_low_db else 0.0


@kernel
def compression_needed(law: PsnrLaw, snr: float, psnr_min_db: float) -> float:
    """Least compression rate, rho-bar of eq. (20), at which an SNR gives a PSNR; may lie outside the limits."""
    return (demand(law, psnr_min_db) - law.by_snr * snr_term(law, snr)) / law.by_compression
