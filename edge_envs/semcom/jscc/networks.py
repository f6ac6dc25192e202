"""The paper's neural codec (Sec. VII-A): an encoder from images to channel symbols, and its decoder. Needs torch.

Both are fully convolutional. Each block of 4 x 4 pixels becomes one code position with up to `channels` real numbers;
two real numbers form one complex symbol. With the first c channels, an image of n = 3 H W values is sent in
k = c H W / 32 complex symbols, which is the compression rate rho = k / n = c / 96.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 4
"""Side length of the pixel block of one code position [pixels]."""
CHANNELS_PER_RHO = 2 * 3 * STRIDE**2
"""Code channels at compression rate 1: two real numbers per complex symbol, 48 image values per code position."""
WIDTHS = (16, 32, 32, 32)
"""Channels of the encoder's hidden layers; the decoder has them in reverse order."""
KERNEL = 5
PRELU_SLOPE = 0.5
"""Initial PReLU slope; the usual 0.25 costs 0.1 dB or more at high SNR."""
KERNEL_SPREAD = 0.65
"""Standard deviation of the Gaussian window on the initial weights [pixels]. Without it, every layer blurs the picture,
and half of a short training is spent on reducing the blur."""
LAST_LAYER_SHRINK = 0.2
"""Factor on the decoder's last initial weights, so that its first outputs are close to mid-grey."""
DEAD_CODE_POWER = 1e-12
"""A code with less power than this is not normalised."""


def channels_of(rho: float) -> int:
    """Number of code channels whose compression rate c / 96 is nearest to `rho`.

    Raises:
        ValueError: the nearest number is not in 1 to 96.
    """
    channels = round(rho * CHANNELS_PER_RHO) if math.isfinite(rho) else 0
    if not 1 <= channels <= CHANNELS_PER_RHO:
        raise ValueError(f"rho={rho} is not possible; give {1 / CHANNELS_PER_RHO:.4f} to 1")
    return channels


def rho_of(channels: int) -> float:
    """Compression rate c / 96 of a code with c channels [complex symbols per image value]."""
    return channels / CHANNELS_PER_RHO


def kept_mask(symbols: Tensor, kept: Tensor) -> Tensor:
    """Mask (b, c, 1, 1) with 1 for the first `kept` channels (b,) of `symbols` (b, c, h, w) and 0 for the others."""
    order = torch.arange(symbols.shape[1], device=symbols.device)
    return (order < kept[:, None]).to(symbols.dtype)[:, :, None, None]


def normalise_power(symbols: Tensor, kept: Tensor) -> Tensor:
    """Scale codes (b, c, h, w) to an average power of 1 per real dimension over the first `kept` (b,) channels.

    The other channels become 0.
    """
    symbols = symbols * kept_mask(symbols, kept)
    dimensions = kept * (symbols.shape[2] * symbols.shape[3])
    power = symbols.square().sum(dim=(1, 2, 3)) / dimensions
    scale = torch.where(power > DEAD_CODE_POWER, power, torch.ones_like(power)).rsqrt()
    return symbols * scale[:, None, None, None]


def awgn(symbols: Tensor, kept: Tensor, snr_db: Tensor, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise to symbols (b, c, h, w) of power 1, in the `kept` (b,) channels sent: (2), Y = X + N."""
    noise = torch.randn(symbols.shape, generator=generator)
    deviation = 10.0 ** (-snr_db / 20.0)
    return symbols + noise * deviation[:, None, None, None] * kept_mask(symbols, kept)


class Encoder(nn.Module):
    """Five 5 x 5 convolutions with PReLU, the first two with stride 2, and the power normalisation (1)."""

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        """Draw the weights of an encoder with up to `channels` code channels from `generator`."""
        super().__init__()
        self.channels = channels
        widths, strides = (3, *WIDTHS, channels), (2, 2, 1, 1, 1)
        layers: list[nn.Module] = []
        for before, after, stride in zip(widths, widths[1:], strides, strict=False):
            layers += [_convolution(before, after, stride, generator), nn.PReLU(after, init=PRELU_SLOPE)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor, kept: Tensor) -> Tensor:
        """Symbols of power 1, (b, channels, ceil(H / 4), ceil(W / 4)), for images (b, 3, H, W) from 0 to 1."""
        height, width = images.shape[2:]
        padding = (0, -width % STRIDE, 0, -height % STRIDE)
        padded = functional.pad(images, padding, mode="replicate")
        return normalise_power(self.layers(2.0 * padded - 1.0), kept)


class Decoder(nn.Module):
    """Five 5 x 5 transposed convolutions, the last two with stride 2; PReLU between them, a sigmoid at the end (3)."""

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        """Draw the weights of a decoder for up to `channels` code channels from `generator`."""
        super().__init__()
        widths, strides = (channels, *reversed(WIDTHS), 3), (1, 1, 1, 2, 2)
        layers: list[nn.Module] = []
        for before, after, stride in zip(widths, widths[1:], strides, strict=False):
            layers += [_transposed(before, after, stride, generator), nn.PReLU(after, init=PRELU_SLOPE)]
        last: Any = layers[-2]
        layers[-1] = nn.Sigmoid()
        with torch.no_grad():
            last.weight *= LAST_LAYER_SHRINK
        self.layers = nn.Sequential(*layers)

    def forward(self, symbols: Tensor, size: tuple[int, int]) -> Tensor:
        """Decode noisy symbols (b, channels, h, w) to images (b, 3, *size) from 0 to 1."""
        images: Tensor = self.layers(symbols)
        return images[:, :, : size[0], : size[1]]


class Codec(nn.Module):
    """Encoder and decoder of one device: the whole model of Algorithm 1."""

    def __init__(self, channels: int, seed: int = 0) -> None:
        """Create a codec with up to `channels` code channels; `seed` determines the initial weights."""
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.channels = channels
        self.encoder = Encoder(channels, generator)
        self.decoder = Decoder(channels, generator)

    def forward(self, images: Tensor, kept: Tensor, snr_db: Tensor, generator: torch.Generator) -> Tensor:
        """Encode images (b, 3, H, W) from 0 to 1, send them over an AWGN channel (see `awgn`), and decode them."""
        received = awgn(self.encoder(images, kept), kept, snr_db, generator)
        reconstructed: Tensor = self.decoder(received, (images.shape[2], images.shape[3]))
        return reconstructed


def _convolution(before: int, after: int, stride: int, generator: torch.Generator) -> nn.Module:
    layer: Any = nn.utils.skip_init(nn.Conv2d, before, after, KERNEL, stride, KERNEL // 2)
    return _draw_weights(layer, before * KERNEL**2, generator)


def _transposed(before: int, after: int, stride: int, generator: torch.Generator) -> nn.Module:
    layer: Any = nn.utils.skip_init(nn.ConvTranspose2d, before, after, KERNEL, stride, KERNEL // 2, stride - 1)
    # With a stride, each output depends on only 1 / stride^2 of the kernel's weights.
    return _draw_weights(layer, before * KERNEL**2 / stride**2, generator)


def _draw_weights(layer: Any, fan_in: float, generator: torch.Generator) -> nn.Module:
    """Initialise with windowed normal weights that preserve the variance through a PReLU, and zero biases."""
    gain = math.sqrt(2.0 / (1.0 + PRELU_SLOPE**2))
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in), generator=generator)
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer.weight *= _window()
    module: nn.Module = layer
    return module


def _window() -> Tensor:
    """Gaussian window over a kernel, (KERNEL, KERNEL), with a mean square of 1."""
    offsets = torch.arange(KERNEL) - KERNEL // 2
    fall = torch.exp(-((offsets / KERNEL_SPREAD) ** 2) / 2)
    window = fall[:, None] * fall
    return window / window.square().mean().sqrt()
