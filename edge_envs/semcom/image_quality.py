"""Image quality as a function of compression rate and SNR: the fitted law (57) and its inverses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from edge_envs.core.kernels.jit import kernel

SNR_MIN = 1e-30
"""Smallest SNR; smaller values are raised to it before the conversion to decibels."""

PSNR_LAWS: Mapping[str, tuple[float, float, float, float, float]] = {
    "printed": (18.67, 3.35, 5.11, 1.52, 0.03),
    "offset": (18.67, 3.35, 3.050, 1.52, 0.03),
    "stretch": (18.67, 0.882, 3.721, 1.52, 0.03),
    "unscaled": (18.67, 1.0, 3.689, 1.52, 0.03),
}
"""(a, l, b, c_rho, c_s) of eq. (57) by name. "printed" is eq. (58), which gives 33.5 dB where the paper's text and
figures have 25.7 dB. The others are refitted to those values: the offset; the stretch and the offset; the offset with a
stretch of one."""


class PsnrLaw(NamedTuple):
    """P(rho, S) = a ln(l (c_rho rho + c_s S) + b) [dB], eq. (57), at least 0 dB, with S in dB or as a ratio."""

    scale_db: float  # a
    stretch: float  # l
    offset: float  # b
    by_compression: float  # c_rho
    by_snr: float  # c_s, per dB or per unit of the ratio
    decibel: bool  # True if S is in dB, False if it is a ratio
    snr_low_db: float  # lower SNRs are clipped to this; -inf for no limit
    snr_high_db: float  # higher SNRs are clipped to this; inf for no limit


@kernel
def snr_term(law: PsnrLaw, snr: float) -> float:
    """S of the law for an SNR (a ratio): clipped, in the law's unit."""
    level_db = min(max(10.0 * math.log10(max(snr, SNR_MIN)), law.snr_low_db), law.snr_high_db)
    return level_db if law.decibel else 10.0 ** (level_db / 10.0)


@kernel
def psnr_db(law: PsnrLaw, compression: float, snr: float) -> float:
    """P(rho, S) [dB]."""
    inside = law.stretch * (law.by_compression * compression + law.by_snr * snr_term(law, snr)) + law.offset
    return law.scale_db * math.log(max(inside, 1.0))


@kernel
def demand(law: PsnrLaw, psnr_min_db: float) -> float:
    """Value of c_rho rho + c_s S at which the law gives a PSNR."""
    return (math.exp(psnr_min_db / law.scale_db) - law.offset) / law.stretch


@kernel
def snr_needed(law: PsnrLaw, compression: float, psnr_min_db: float) -> float:
    """Smallest SNR (a ratio) at which a compression rate gives a PSNR; 0 if every SNR does, inf if none does."""
    wanted = (demand(law, psnr_min_db) - law.by_compression * compression) / law.by_snr
    if not law.decibel:
        wanted = 10.0 * math.log10(wanted) if wanted > 0.0 else -math.inf
    if wanted > law.snr_high_db:
        return math.inf
    return 10.0 ** (wanted / 10.0) if wanted > law.snr_low_db else 0.0


@kernel
def compression_needed(law: PsnrLaw, snr: float, psnr_min_db: float) -> float:
    """Smallest compression rate at which an SNR gives a PSNR, rho-bar of eq. (20); may be outside the limits."""
    return (demand(law, psnr_min_db) - law.by_snr * snr_term(law, snr)) / law.by_compression
