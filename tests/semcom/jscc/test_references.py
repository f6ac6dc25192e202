"""The codes and the law that the neural codec is measured against: by hand, by plain loops, by known coefficients."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from edge_envs.core.physics.images import photograph_patches
from edge_envs.semcom.jscc.quality_law import cross_validated_mae_db, fit_law, interpolation_mae_db
from edge_envs.semcom.jscc.reference_codes import LinearCode, jpeg_curves, jpeg_psnr, mean_colour_psnr, psnr_db

TRAIN = photograph_patches(split="train", count=1000)[0]
TEST = photograph_patches(split="test")[0][::4]
LINEAR = LinearCode.fit(TRAIN)


def linear_psnr(channels, snr_db, seed=0):
    return LINEAR.psnr(TEST, channels, snr_db, np.random.default_rng(seed))


# PSNR


def test_psnr_by_hand():
    original = np.full((3, 2, 2, 3), 100, dtype=np.uint8)
    guess = original.astype(float)
    guess[0] += 1.0
    guess[2, 0, 0, 0] += 1000.0  # clipped to 255, so off by 155 in 1 of 12 values
    expected = [20 * math.log10(255), 100.0, 10 * math.log10(255**2 / (155**2 / 12))]
    np.testing.assert_allclose(psnr_db(original, guess), expected, rtol=1e-12)


def test_mean_colour_by_hand():
    image = np.zeros((1, 2, 2, 3), dtype=np.uint8)
    image[0, 0] = (10, 20, 30)
    mse = (5**2 + 10**2 + 15**2) / 3
    assert mean_colour_psnr(image) == pytest.approx(10 * math.log10(255**2 / mse))


# Linear code


def test_linear_code_beats_the_mean_colour_and_rises_with_snr_and_rate():
    table = np.array([[linear_psnr(channels, snr) for snr in (1, 4, 10, 13, 19)] for channels in (10, 19, 29)])
    assert (table > mean_colour_psnr(TEST) + 3.0).all()
    assert (np.diff(table, axis=0) > 0.5).all()
    assert (np.diff(table, axis=1) > 0.5).all()


def test_linear_code_is_exact_without_noise_and_compression():
    assert linear_psnr(48, 120.0) > 90.0


def test_linear_code_shows_the_mean_when_nothing_gets_through():
    mean = LINEAR.mean.reshape(4, 4, 3)
    plain = np.broadcast_to(np.tile(mean, (8, 8, 1)), TEST.shape)
    assert linear_psnr(10, -60.0) == pytest.approx(float(psnr_db(TEST, plain).mean()), abs=0.02)


def test_linear_code_keeps_the_power_it_is_allowed():
    """Without compression nothing else is lost, so the error is that of the noise after the receiver's weights."""
    image = TEST[:1]
    blocks = image.reshape(8, 4, 8, 4, 3).transpose(0, 2, 1, 3, 4).reshape(64, 48).astype(float)
    symbols = ((blocks - LINEAR.mean) @ LINEAR.basis) * LINEAR.variance**-0.25
    scale = 1 / np.sqrt((symbols**2).mean())
    noise = np.random.default_rng(7).standard_normal((1, 64, 48))[0] * math.sqrt(1 / 10**1.2)
    gain = scale * LINEAR.variance**-0.25  # what one unit of a component becomes on the air
    estimate = LINEAR.variance * gain / (LINEAR.variance * gain**2 + 10**-1.2) * (symbols * scale + noise)
    back = (estimate @ LINEAR.basis.T + LINEAR.mean).reshape(8, 8, 4, 4, 3).transpose(0, 2, 1, 3, 4)
    sent = LINEAR.transmit(image, 48, 12.0, np.random.default_rng(7))
    np.testing.assert_allclose(sent[0], back.reshape(32, 32, 3), rtol=1e-9, atol=1e-9)


def test_linear_code_fits_in_chunks_as_at_once():
    blocks = TRAIN.reshape(-1, 8, 4, 8, 4, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 48).astype(float)
    many = LinearCode.fit(np.concatenate([TRAIN, TRAIN]))  # more images than one chunk holds
    np.testing.assert_allclose(many.mean, blocks.mean(axis=0))
    covariance = np.cov(blocks, rowvar=False, bias=True)
    np.testing.assert_allclose(many.basis.T @ covariance @ many.basis, np.diag(many.variance), atol=1e-6)
    assert (np.diff(many.variance) <= 0).all()


def test_linear_code_takes_any_size():
    image = TEST[:2, :13, :30]
    assert LINEAR.transmit(image, 48, 120.0, np.random.default_rng(0)).shape == image.shape
    assert psnr_db(image, LINEAR.transmit(image, 48, 120.0, np.random.default_rng(0))).min() > 90.0


@pytest.mark.parametrize("channels", [0, 49])
def test_linear_code_channels_out_of_range(channels):
    with pytest.raises(ValueError, match=f"channels={channels}"):
        linear_psnr(channels, 10.0)


# JPEG


def picture_bits(file):
    """Bits between the start-of-scan header and the end marker, by walking the segments of a JPEG file."""
    at = 2
    while file[at + 1] != 0xDA:
        at += 2 + int.from_bytes(file[at + 2 : at + 4], "big")
    at += 2 + int.from_bytes(file[at + 2 : at + 4], "big")
    assert file[-2:] == b"\xff\xd9"
    return 8 * (len(file) - 2 - at)


def test_jpeg_sizes_are_those_of_the_files():
    curve = jpeg_curves(TEST[:1])[0]
    for quality in (1, 40, 95):
        plain, small = io.BytesIO(), io.BytesIO()
        Image.fromarray(TEST[0]).save(plain, format="JPEG", quality=quality)
        Image.fromarray(TEST[0]).save(small, format="JPEG", quality=quality, optimize=True)
        assert curve.file_bits[quality - 1] == 8 * len(small.getvalue())
        assert curve.data_bits[quality - 1] == picture_bits(plain.getvalue()) + 8
        decoded = np.asarray(Image.open(plain), dtype=float)
        assert curve.psnr_db[quality - 1] == pytest.approx(psnr_db(TEST[:1], decoded[None])[0])


def test_jpeg_takes_the_best_quality_that_fits():
    curve = jpeg_curves(TEST[:1])[0]
    for headers, bits in ((True, curve.file_bits), (False, curve.data_bits)):
        assert curve.best(bits.min() - 1, headers=headers) is None
        assert curve.best(bits.max(), headers=headers) == curve.psnr_db.max()
        budget = float(np.median(bits))
        assert curve.best(budget, headers=headers) == max(
            value for value, size in zip(curve.psnr_db, bits, strict=True) if size <= budget
        )


def test_jpeg_rate_rule():
    """10 symbols at 0 dB carry 10 bits, 320 at 20 dB carry 2131; an image of which nothing fits counts as stated."""
    curves = jpeg_curves(TEST[:3])
    assert jpeg_psnr(curves, 10.0, 0.0, headers=False, otherwise_db=7.0) == (7.0, 0.0)
    value, share = jpeg_psnr(curves, 320.0, 20.0, headers=False, otherwise_db=7.0)
    best = [curve.psnr_db[curve.data_bits <= 320 * math.log2(101)].max() for curve in curves]
    assert share == 1.0
    assert value == pytest.approx(np.mean(best))
    cut = 0.5 * sum(sorted(float(curve.file_bits.min()) for curve in curves)[:2])
    value, share = jpeg_psnr(curves, cut, 0.0, headers=True, otherwise_db=7.0)
    assert share == pytest.approx(1 / 3)
    assert 7.0 < value < curves[0].psnr_db.max()


# The law (57)

RHO, SNR_DB = (grid.ravel() for grid in np.meshgrid(np.linspace(0.08, 0.3, 8), np.arange(0.0, 21.0, 2.0)))
KNOWN = [
    ("db", (18.67, 3.689, 1.52, 0.03)),
    ("db", (5.0, 30.0, 120.0, 0.8)),
    ("linear", (3.0, 60.0, 900.0, 4.0)),
]


def law_values(snr_unit, coefficients, rho=RHO, snr_db=SNR_DB):
    a, b, c_rho, c_s = coefficients
    snr = snr_db if snr_unit == "db" else 10 ** (snr_db / 10)
    return a * np.log(c_rho * rho + c_s * snr + b)


@pytest.mark.parametrize(("snr_unit", "coefficients"), KNOWN)
def test_fit_recovers_known_coefficients(snr_unit, coefficients):
    psnr = law_values(snr_unit, coefficients)
    law = fit_law(RHO, SNR_DB, psnr, snr_unit)
    a, l, b, c_rho, c_s = law.coefficients  # noqa: E741 (the paper's name)
    np.testing.assert_allclose((a, b, c_rho, c_s), coefficients, rtol=1e-3)
    assert l == 1.0
    assert law.mae_db(RHO, SNR_DB, psnr) < 1e-5
    assert law.psnr_db(0.2, 7.0) == pytest.approx(law_values(snr_unit, coefficients, 0.2, 7.0), abs=1e-5)
    assert cross_validated_mae_db(RHO, SNR_DB, psnr, snr_unit) < 1e-4


def test_fit_tells_the_right_unit_from_the_wrong_one():
    psnr = law_values("db", KNOWN[1][1]) + np.random.default_rng(0).normal(0.0, 0.1, RHO.size)
    right, wrong = (fit_law(RHO, SNR_DB, psnr, unit).mae_db(RHO, SNR_DB, psnr) for unit in ("db", "linear"))
    assert right < 0.1
    assert wrong > 2 * right
    # errors on points left out are those of the noise, mean |N(0, 0.1)| = 0.08
    assert cross_validated_mae_db(RHO, SNR_DB, psnr) == pytest.approx(0.08, abs=0.015)


def test_fit_with_the_scale_given():
    psnr = law_values("db", (18.67, 3.689, 1.52, 0.03))
    law = fit_law(RHO, SNR_DB, psnr, scale_db=18.67)
    np.testing.assert_allclose(law.coefficients, (18.67, 1.0, 3.689, 1.52, 0.03), rtol=1e-5)
    assert fit_law(RHO, SNR_DB, psnr, scale_db=5.0).scale_db == pytest.approx(5.0)


def test_fit_to_a_saturating_surface_holds_for_faded_devices():
    psnr = 28.0 - 8.0 * np.exp(-SNR_DB / 5.0) - 0.3 / RHO
    law = fit_law(RHO, SNR_DB, psnr)
    assert np.isfinite(law.psnr_db(0.0, -30.0))
    left_alone = fit_law(RHO, SNR_DB, psnr, lowest_snr_db=0.0)
    assert left_alone.mae_db(RHO, SNR_DB, psnr) < law.mae_db(RHO, SNR_DB, psnr)
    with np.errstate(invalid="ignore"):
        assert np.isnan(left_alone.psnr_db(0.0, -30.0))


def test_fit_never_falls():
    law = fit_law(RHO, SNR_DB, 25.0 - 3.0 * RHO + 0.1 * SNR_DB)
    assert 0.0 < law.per_rho < 1e-6 * law.per_snr
    assert law.per_snr > 0.0


def test_interpolation_is_exact_between_points_of_a_plane():
    psnr = 20.0 + 10.0 * RHO + 0.2 * SNR_DB
    assert interpolation_mae_db(RHO, SNR_DB, psnr) < 0.1  # only the points left out at the rim are not
    assert interpolation_mae_db(RHO, SNR_DB, psnr + np.random.default_rng(1).normal(0.0, 1.0, RHO.size)) > 0.5


@pytest.mark.parametrize(
    ("rho", "snr_db", "psnr", "message"),
    [
        ([0.1, 0.2], [1, 2], [20, 21], "at least 4"),
        ([0.1] * 5, [1, 2, 3, 4], [20] * 5, "give equal numbers"),
        ([0.1, 0.2, 0.3, 0.1], [1, 2, 3, 4], [20, 21, math.nan, 22], "not finite"),
        ([0.1] * 4, [1, 2, 3, 4], [20, 21, 22, 23], "two or more compression rates"),
        ([0.1, 0.2, 0.1, 0.2], [5] * 4, [20, 21, 22, 23], "two or more SNR"),
    ],
)
def test_fit_refuses_what_cannot_be_fitted(rho, snr_db, psnr, message):
    with pytest.raises(ValueError, match=message):
        fit_law(rho, snr_db, psnr)


@pytest.mark.parametrize("scale_db", [0.0, -1.0, 1e4, math.nan])
def test_fit_refuses_an_impossible_scale(scale_db):
    with pytest.raises(ValueError, match="scale_db="):
        fit_law(RHO, SNR_DB, 20.0 + RHO + SNR_DB, scale_db=scale_db)
