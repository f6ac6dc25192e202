"""Reference codes for the neural codec: a linear code, JPEG over an ideal channel code, and the mean colour.

Images are uint8 (n, height, width, 3); PSNR values are in dB and averaged over images. An image of n values sent at
compression rate rho takes k = rho n complex symbols of power 2 (1 per real dimension). JPEG needs Pillow.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.physics.units import db_to_linear
from edge_envs.core.validation import whole_number

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]

BLOCK = 4
"""Side length of a block of the linear code [pixels]."""
FIT_IMAGES = 1024
"""Images whose blocks are in memory at a time."""
MIN_VARIANCE = 1e-9
"""Lower limit of a component's variance; very plain images have fewer than 48 components."""
QUALITIES = range(1, 96)
"""Pillow's JPEG qualities; above 95, files grow without better pictures."""
QUALITY_BITS = 8
"""Bits that signal the quality to the decoder where the file's headers are not sent."""
NO_ERROR_PSNR_DB = 100.0
"""PSNR of an image that is reconstructed exactly."""


def psnr_db(original: NDArray[np.uint8], reconstructed: Floats) -> Floats:
    """Peak signal-to-noise ratio of each image, (n,) [dB]: 10 log10(255^2 / mean squared error), 100 at most.

    Both are (n, H, W, 3), from 0 to 255; reconstructed values outside are clipped first.
    """
    error = np.clip(reconstructed, 0.0, 255.0) - original
    mse = np.maximum((error**2).mean(axis=(1, 2, 3)), 255.0**2 / db_to_linear(NO_ERROR_PSNR_DB))
    ratio: Floats = 10.0 * np.log10(255.0**2 / mse)
    return ratio


def mean_colour_psnr(images: Images) -> float:
    """PSNR of replacing each image by its mean colour [dB]; a codec below this value is useless."""
    means = np.broadcast_to(images.mean(axis=(1, 2), keepdims=True), images.shape)
    return float(psnr_db(images, means).mean())


@dataclass(frozen=True, eq=False)
class LinearCode:
    """Principal components of 4 x 4 x 3 blocks, sent uncoded (SoftCast) and estimated linearly (LMMSE).

    The components come from an eigendecomposition. The code keeps the c strongest components of each block, so its
    compression rate is c / 96, as in the neural codec. Component i of variance v_i is sent with the gain v_i^(-1/4),
    which minimises the error at high SNR under a power constraint; then each image's symbols are scaled to an average
    power of 1. The receiver knows this scale and the SNR, which the neural decoder does not.
    """

    mean: Floats
    """mean of the blocks, (48,)"""
    basis: Floats
    """orthonormal components as columns, strongest first, (48, 48)"""
    variance: Floats
    """variance of the components, (48,)"""

    @classmethod
    def fit(cls, images: Images) -> LinearCode:
        """Fit the code to the statistics of images (n, H, W, 3)."""
        size = 3 * BLOCK**2
        count, total, products = 0, np.zeros(size), np.zeros((size, size))
        for start in range(0, len(images), FIT_IMAGES):
            blocks = _blocks(images[start : start + FIT_IMAGES]).reshape(-1, size)
            count += len(blocks)
            total += blocks.sum(axis=0)
            products += blocks.T @ blocks
        mean = total / count
        variance, basis = np.linalg.eigh(products / count - np.outer(mean, mean))
        return cls(mean, basis[:, ::-1], np.maximum(variance[::-1], MIN_VARIANCE))

    def transmit(self, images: Images, channels: int, snr_db: float, rng: np.random.Generator) -> Floats:
        """Send images (n, H, W, 3) through the code and an AWGN channel; returns them before clipping to 0 to 255.

        Of each block, `channels` real numbers are kept, 1 to 48. Both sides know the SNR.

        Raises:
            ValueError: `channels` is out of range.
        """
        whole_number("channels", channels, 1, len(self.mean))
        variance, basis = self.variance[:channels], self.basis[:, :channels]
        symbols = (_blocks(images) - self.mean) @ basis * variance**-0.25
        power = np.mean(symbols**2, axis=(1, 2), keepdims=True)
        noise_variance = power / db_to_linear(snr_db)
        received = symbols + np.sqrt(noise_variance) * rng.standard_normal(symbols.shape)
        estimate = received * (variance**0.75 / (np.sqrt(variance) + noise_variance))
        return _unblock(estimate @ basis.T + self.mean, images.shape[1], images.shape[2])

    def psnr(self, images: Images, channels: int, snr_db: float, rng: np.random.Generator) -> float:
        """Mean PSNR [dB] over images; arguments as for `transmit`."""
        return float(psnr_db(images, self.transmit(images, channels, snr_db, rng)).mean())


def _blocks(images: Images) -> Floats:
    """Split each image into blocks, (n, blocks, 48) float64."""
    n, height, width, _ = images.shape
    padded = np.pad(images, ((0, 0), (0, -height % BLOCK), (0, -width % BLOCK), (0, 0)), mode="edge")
    rows, columns = padded.shape[1] // BLOCK, padded.shape[2] // BLOCK
    tiles = padded.reshape(n, rows, BLOCK, columns, BLOCK, 3).transpose(0, 1, 3, 2, 4, 5)
    return tiles.reshape(n, rows * columns, 3 * BLOCK**2).astype(np.float64)


def _unblock(blocks: Floats, height: int, width: int) -> Floats:
    rows, columns = math.ceil(height / BLOCK), math.ceil(width / BLOCK)
    tiles = blocks.reshape(len(blocks), rows, columns, BLOCK, BLOCK, 3).transpose(0, 1, 3, 2, 4, 5)
    return tiles.reshape(len(blocks), rows * BLOCK, columns * BLOCK, 3)[:, :height, :width]


@dataclass(frozen=True, eq=False)
class JpegCurve:
    """Size and PSNR of one image at every quality, for the whole file and for its entropy-coded data alone."""

    file_bits: Floats
    """size of the whole file with optimised Huffman tables, (qualities,) [bit]"""
    data_bits: Floats
    """size of the entropy-coded data with the standard's tables, plus one byte for the quality, (qualities,) [bit]"""
    psnr_db: Floats
    """(qualities,) [dB]"""

    def best(self, budget_bits: float, *, headers: bool) -> float | None:
        """Best PSNR within a budget of bits [dB]; None where no quality fits."""
        fits = (self.file_bits if headers else self.data_bits) <= budget_bits
        return float(self.psnr_db[fits].max()) if fits.any() else None


def jpeg_curves(images: Images) -> list[JpegCurve]:
    """Rate and distortion of each image (n, H, W, 3) under Pillow's JPEG with its default 4:2:0 subsampling.

    Raises:
        ImportError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("JPEG needs Pillow: pip install 'edge-envs[codec]'") from error
    curves = []
    for pixels in images:
        picture, rows = Image.fromarray(pixels), []
        for quality in QUALITIES:
            standard, optimised = io.BytesIO(), io.BytesIO()
            picture.save(standard, format="JPEG", quality=quality)
            picture.save(optimised, format="JPEG", quality=quality, optimize=True)
            with Image.open(standard) as decoded:
                value = psnr_db(pixels[None], np.asarray(decoded, dtype=np.float64)[None])[0]
            rows.append((8 * len(optimised.getvalue()), 8 * _scan_bytes(standard.getvalue()) + QUALITY_BITS, value))
        curves.append(JpegCurve(*np.array(rows, dtype=np.float64).T))
    return curves


def _scan_bytes(file: bytes) -> int:
    """Number of entropy-coded bytes in a baseline JPEG file: from the start-of-scan header to the end marker."""
    start = file.index(b"\xff\xda")
    header = int.from_bytes(file[start + 2 : start + 4], "big")
    return len(file) - (start + 2 + header) - 2


def jpeg_psnr(
    curves: Sequence[JpegCurve], symbols: float, snr_db: float, *, headers: bool, otherwise_db: float
) -> tuple[float, float]:
    """PSNR of JPEG at the best quality within k log2(1 + SNR) bits, for each image.

    This is the capacity of k complex symbols per image, so no real system that uses JPEG does better. Whole files count
    with `headers`, else the entropy-coded data alone. An image that fits at no quality counts with `otherwise_db`.

    Returns:
        Mean PSNR [dB] and the share of the images that fit.
    """
    budget = symbols * math.log2(1.0 + db_to_linear(snr_db))
    best = [curve.best(budget, headers=headers) for curve in curves]
    fitting = [value for value in best if value is not None]
    total = sum(fitting) + otherwise_db * (len(best) - len(fitting))
    return total / len(best), len(fitting) / len(best)
