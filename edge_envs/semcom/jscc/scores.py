"""PSNR of a trained codec and of reference codes, over compression rate and SNR. Needs torch and Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from edge_envs.core.validation import whole_number
from edge_envs.semcom.jscc.networks import Codec, awgn, rho_of
from edge_envs.semcom.jscc.reference_codes import LinearCode, jpeg_curves, jpeg_psnr, mean_colour_psnr, psnr_db
from edge_envs.semcom.jscc.training import as_tensor

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]

BATCH_PIXELS = 1 << 18
"""Pixels decoded at a time, to limit memory."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Mean PSNR [dB] over one set of images; every array is (rates, SNR)."""

    rho: Floats
    """compression rates, (rates,)"""
    snr_db: Floats
    """(SNR,) [dB]"""
    codec_db: Floats
    linear_db: Floats
    jpeg_db: Floats
    """whole files; an image that fits at no quality counts with its mean colour"""
    jpeg_share: Floats
    """share of the images of which a whole file fits"""
    jpeg_data_db: Floats
    """entropy-coded data alone, by the same rule"""
    mean_colour_db: float
    """PSNR of each image's mean colour [dB]"""


def reconstruct(codec: Codec, images: Images, channels: int, snr_db: float, generator: torch.Generator) -> Floats:
    """Send images (n, H, W, 3) of any size through the first `channels` code channels; returns images from 0 to 255.

    Raises:
        ValueError: `channels` exceeds the codec's.
    """
    whole_number("channels", channels, 1, codec.channels)
    parts = []
    for part in _split(images):
        pixels = as_tensor(part)
        kept, snr = torch.full((len(part),), channels), torch.full((len(part),), float(snr_db))
        with torch.no_grad():
            parts.append(_as_pixels(codec(pixels, kept, snr, generator)))
    return np.concatenate(parts)


def surface(codec: Codec, images: Images, channels: Sequence[int], snr_db: Sequence[float], seed: int = 0) -> Floats:
    """Mean PSNR [dB] of a codec at every number of code channels sent and SNR, (len(channels), len(snr_db)).

    Raises:
        ValueError: the codec has fewer channels.
    """
    generator = torch.Generator().manual_seed(seed)
    result = np.zeros((len(channels), len(snr_db)))
    for i, count in enumerate(channels):
        whole_number("channels", count, 1, codec.channels)
        for part in _split(images):
            kept = torch.full((len(part),), count)
            with torch.no_grad():
                sent = codec.encoder(as_tensor(part), kept)
                for j, level in enumerate(snr_db):
                    received = awgn(sent, kept, torch.full((len(part),), float(level)), generator)
                    pixels = _as_pixels(codec.decoder(received, (part.shape[1], part.shape[2])))
                    result[i, j] += psnr_db(part, pixels).sum()
    return result / len(images)


def score(
    codec: Codec, linear: LinearCode, images: Images, channels: Sequence[int], snr_db: Sequence[float], seed: int = 0
) -> Scores:
    """Score the codec, a linear code, JPEG and the mean colour on the same images and rates."""
    rng = np.random.default_rng(seed)
    floor = mean_colour_psnr(images)
    curves = jpeg_curves(images)
    places = int(np.prod([-(-side // 4) for side in images.shape[1:3]]))
    grid = [[(count, level) for level in snr_db] for count in channels]

    def jpeg(headers: bool) -> Floats:
        rule = partial(jpeg_psnr, curves, headers=headers, otherwise_db=floor)
        return np.array([[rule(c * places / 2, s) for c, s in row] for row in grid])

    files, data = jpeg(headers=True), jpeg(headers=False)
    return Scores(
        rho=np.array([rho_of(count) for count in channels]),
        snr_db=np.array(snr_db, dtype=np.float64),
        codec_db=surface(codec, images, channels, snr_db, seed=seed),
        linear_db=np.array([[linear.psnr(images, c, s, rng) for c, s in row] for row in grid]),
        jpeg_db=files[:, :, 0],
        jpeg_share=files[:, :, 1],
        jpeg_data_db=data[:, :, 0],
        mean_colour_db=floor,
    )


def _split(images: Images) -> list[Images]:
    pixels = images.shape[1] * images.shape[2]
    return np.array_split(images, max(1, min(len(images), -(-len(images) * pixels // BATCH_PIXELS))))


def _as_pixels(images: torch.Tensor) -> Floats:
    return images.permute(0, 2, 3, 1).numpy().astype(np.float64) * 255.0
