"""Train the paper's neural codec, measure its PSNR, and fit the PSNR law that the environment uses.

    python -m edge_envs.semcom.jscc --steps 6000

The command needs the extra `codec`; this module can be imported without it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.io.arguments import parse_arguments
from edge_envs.core.io.command import guarded
from edge_envs.core.io.files import write_atomically
from edge_envs.core.physics.images import photograph, photograph_patches, read_cifar10, read_image

if TYPE_CHECKING:
    from edge_envs.semcom.jscc.networks import Codec
    from edge_envs.semcom.jscc.quality_law import Law, Points
    from edge_envs.semcom.jscc.reference_codes import LinearCode
    from edge_envs.semcom.jscc.scores import Scores
    from edge_envs.semcom.jscc.training import Recipe

Images = NDArray[np.uint8]

TRAINING_PATCHES = 8192
CIFAR_TEST_IMAGES = 256
"""Number of CIFAR-10 test images that are scored: the first of 10,000."""
TABLE_CHANNELS = (10, 19, 29)
"""Compression rates 0.104, 0.198 and 0.302, next to the paper's 0.1, 0.2 and 0.3."""
TABLE_SNR_DB = (1.0, 4.0, 7.0, 10.0, 13.0, 19.0)
LAW_CHANNELS = range(8, 30, 3)
LAW_SNR_DB = range(0, 21, 2)
PAPER_SCALE_DB = 18.67
"""a of (58)."""
JPEG_RULE = """
JPEG: the best quality within k log2(1 + SNR) bits, k = 3 rho H W complex symbols over an ideal channel code.
"data" counts the entropy-coded data and one byte; "files" counts whole files. "-": no image fits.
"/%": share of images that fit; the others count with their mean colour."""
LARGE_PHOTOGRAPH = "astronaut"
LARGE_SNR_DB = (4.0, 10.0, 13.0)


@dataclass(frozen=True)
class Arguments:
    """Options of the command."""

    steps: int = 6000
    """Training steps, rounds of Algorithm 1."""
    cifar: Path | None = None
    """Folder with CIFAR-10's binary files, used instead of the built-in photographs."""
    seed: int = 0
    """Seed of the weights, the batches and the channel noise."""
    rho: float | None = None
    """Train for this compression rate only (default: 0.083 to 0.302)."""
    snr_db: float | None = None
    """Train at this SNR only (default: 0 to 20 dB)."""
    image: Path | None = None
    """Large picture to encode after training (default: a built-in photograph)."""
    out: Path = Path("runs/jscc")
    """Folder for the codec and the figure."""
    coefficients: Path | None = None
    """JSON file for the coefficients of the fitted PSNR law."""


@dataclass(frozen=True)
class Data:
    """Images (n, H, W, 3) uint8 to train on and to test with."""

    name: str
    train: Images
    test: Images


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 2 for bad input in one line, 130 after Ctrl-C."""
    description = (__doc__ or "").partition("\n")[0]
    return guarded(lambda: run(parse_arguments(Arguments, description, words)), extra="codec")


def run(options: Arguments) -> int:
    """Train, print the tables, fit the law, write the files; returns the exit status.

    Raises:
        ValueError: invalid option or damaged file.
        OSError: a file is missing or cannot be written.
        ImportError: a package of the extra `codec` is missing.
    """
    from edge_envs.semcom.jscc.figure import draw_codec
    from edge_envs.semcom.jscc.files import save_codec, save_coefficients
    from edge_envs.semcom.jscc.reference_codes import LinearCode
    from edge_envs.semcom.jscc.scores import score
    from edge_envs.semcom.jscc.training import Recipe

    recipe = Recipe(steps=options.steps, seed=options.seed, rho=options.rho, snr_db=options.snr_db)
    if options.coefficients and options.rho is not None:
        raise ValueError("--coefficients needs a codec for all compression rates; leave out --rho")
    if options.coefficients and options.coefficients.is_dir():
        raise ValueError(f"--coefficients {options.coefficients} is a folder; name a file")
    large = photograph(LARGE_PHOTOGRAPH) if options.image is None else read_image(options.image)
    data = load_data(options.cifar, options.seed)
    for folder in (options.out, *([options.coefficients.parent] if options.coefficients else [])):
        folder.mkdir(parents=True, exist_ok=True)

    codec = _train(data, recipe)
    linear = LinearCode.fit(data.train)
    channels = TABLE_CHANNELS if recipe.rho is None else (codec.channels,)
    scores = score(codec, linear, data.test, channels, TABLE_SNR_DB, recipe.seed)
    _print_scores(scores, "mean PSNR [dB] over the test images")
    fitted = _fit(codec, data.test, recipe) if recipe.rho is None else None
    name = LARGE_PHOTOGRAPH if options.image is None else options.image.name
    size = f"{large.shape[0]} x {large.shape[1]}"
    large_scores = score(codec, linear, large[None], channels, LARGE_SNR_DB, recipe.seed)
    _print_scores(large_scores, f"PSNR [dB] of one picture larger than the training images: {name}, {size}")
    print(JPEG_RULE)
    pictures = _pictures(codec, linear, large, channels[0], recipe.seed)

    save_codec(options.out / "codec.safetensors", codec, recipe, data.name)
    write_atomically(options.out / "codec.png", draw_codec(scores, fitted, pictures))
    print(f"\ncodec and figure: {options.out}")
    if options.coefficients and fitted:
        law, (rho, snr_db, psnr_db) = fitted
        notes = {
            "rho_range": [float(rho.min()), float(rho.max())],
            "snr_db_range": [float(snr_db.min()), float(snr_db.max())],
            "data": data.name, "steps": recipe.steps, "seed": recipe.seed,
        }  # fmt: skip
        save_coefficients(options.coefficients, law, law.mae_db(rho, snr_db, psnr_db), notes)
        print(f"coefficients: {options.coefficients}")
    return 0


def load_data(cifar: Path | None, seed: int) -> Data:
    """Load CIFAR-10 from a folder, or the built-in patches; training and test images do not overlap."""
    if cifar is not None:
        train, test = read_cifar10(cifar, "train")[0], read_cifar10(cifar, "test")[0][:CIFAR_TEST_IMAGES]
        return Data("CIFAR-10", train, test)
    train = photograph_patches(split="train", count=TRAINING_PATCHES, seed=seed)[0]
    return Data("built-in photographs", train, photograph_patches(split="test")[0])


def _train(data: Data, recipe: Recipe) -> Codec:
    from tqdm import tqdm

    from edge_envs.semcom.jscc.training import train

    print(f"{data.name}: {len(data.train)} training and {len(data.test)} test images")
    started, recent = time.monotonic(), 0.0
    with tqdm(total=recipe.steps, unit="step", dynamic_ncols=True, desc="codec") as bar:

        def on_step(loss: float) -> None:
            nonlocal recent
            recent = 0.99 * recent + 0.01 * loss if recent else loss
            bar.update()
            if bar.n % 50 == 0:
                bar.set_postfix_str(f"training PSNR {-10 * np.log10(recent):.1f} dB", refresh=False)

        codec, traffic = train(data.train, recipe, on_step)
    steps = recipe.steps
    print(
        f"{steps} rounds of Algorithm 1 in {time.monotonic() - started:.0f} s; a round sends "
        f"{traffic.symbols_up / steps:,.0f} complex symbols up ({traffic.bytes_up / steps / 1e3:,.0f} kB as floats) "
        f"and {traffic.bytes_down / steps / 1e3:,.0f} kB of encoder weights down"
    )
    return codec


def _print_scores(scores: Scores, title: str) -> None:
    print(f"\n{title}; the mean colour alone has {scores.mean_colour_db:.1f}")
    print(f"{'rho':>6}  {'code':<12}" + "".join(f"{f'{snr:g} dB':>10}" for snr in scores.snr_db))
    for i, rho in enumerate(scores.rho):
        files = [_file_cell(*cell) for cell in zip(scores.jpeg_db[i], scores.jpeg_share[i], strict=True)]
        rows = (("CNN", scores.codec_db[i]), ("linear", scores.linear_db[i]), ("JPEG data", scores.jpeg_data_db[i]))
        for name, values in rows:
            print(f"{rho:>6.3f}  {name:<12}" + "".join(f"{value:>10.1f}" for value in values))
        print(f"{rho:>6.3f}  {'JPEG files':<12}" + "".join(f"{cell:>10}" for cell in files))


def _file_cell(value: float, share: float) -> str:
    if share == 0.0:
        return "-"
    return f"{value:.1f}" if share == 1.0 else f"{value:.1f}/{share:.0%}"


def _fit(codec: Codec, images: Images, recipe: Recipe) -> tuple[Law, Points]:
    from edge_envs.semcom.jscc.networks import rho_of
    from edge_envs.semcom.jscc.quality_law import (
        LOWEST_SNR_DB,
        SnrUnit,
        cross_validated_mae_db,
        fit_law,
        interpolation_mae_db,
    )
    from edge_envs.semcom.jscc.scores import surface

    psnr = surface(codec, images, LAW_CHANNELS, LAW_SNR_DB, seed=recipe.seed)
    rho, snr_db = np.meshgrid([rho_of(c) for c in LAW_CHANNELS], np.array(LAW_SNR_DB, dtype=np.float64), indexing="ij")
    points = rho.ravel(), snr_db.ravel(), psnr.ravel()
    low, high = psnr.min(), psnr.max()
    print(f"\nlaw (57), P = a ln(l (c_rho rho + c_s S) + b), over {psnr.size} points from {low:.1f} to {high:.1f} dB")
    print(f"{'S in':<20}{'a':>8}{'l':>4}{'b':>11}{'c_rho':>11}{'c_s':>11}{'MAE dB':>8}{'5-fold':>8}")
    units: tuple[SnrUnit, ...] = ("db", "linear")
    laws = [fit_law(*points, unit) for unit in units]
    for unit, law in zip(units, laws, strict=True):
        crossed = cross_validated_mae_db(*points, unit)
        _print_law("dB" if unit == "db" else unit, law, law.mae_db(*points), f"{crossed:.2f}")
    for label, held in (
        ("dB, a of (58)", fit_law(*points, "db", PAPER_SCALE_DB)),
        ("dB, S >= 0 dB only", fit_law(*points, "db", lowest_snr_db=0.0)),
    ):
        _print_law(label, held, held.mae_db(*points), "")
    print("l = 1, because the data determine only the products l c_rho and l c_s")
    print(f"with S in dB, all laws but the last are defined for every rho and S >= {LOWEST_SNR_DB:g} dB")
    print(f"linear interpolation between points, 5-fold: {interpolation_mae_db(*points):.2f} dB (paper 0.44)")
    best = min(laws, key=lambda law: law.mae_db(*points))
    return best, points


def _print_law(label: str, law: Law, mae_db: float, crossed: str) -> None:
    a, l, b, c_rho, c_s = law.coefficients  # noqa: E741 (the paper's name)
    print(f"{label:<20}{a:>8.3f}{l:>4.0f}{b:>11.4g}{c_rho:>11.4g}{c_s:>11.4g}{mae_db:>8.2f}{crossed:>8}")


def _pictures(codec: Codec, linear: LinearCode, image: Images, channels: int, seed: int) -> list[tuple[str, Images]]:
    import torch

    from edge_envs.semcom.jscc.networks import rho_of
    from edge_envs.semcom.jscc.reference_codes import psnr_db
    from edge_envs.semcom.jscc.scores import reconstruct

    noise, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    shown = [(f"original\n{image.shape[0]} x {image.shape[1]}", image)]
    made = [(f"CNN, SNR {snr:g} dB", reconstruct(codec, image[None], channels, snr, noise)) for snr in (4.0, 13.0)]
    made.append(("linear code, SNR 13 dB", linear.transmit(image[None], channels, 13.0, rng)))
    for name, pixels in made:
        title = f"{name}\nrho {rho_of(channels):.3f}: {psnr_db(image[None], pixels)[0]:.1f} dB"
        shown.append((title, np.rint(np.clip(pixels[0], 0, 255)).astype(np.uint8)))
    return shown


if __name__ == "__main__":
    raise SystemExit(main())
