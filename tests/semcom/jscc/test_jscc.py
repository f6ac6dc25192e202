"""The neural codec: shapes, power, noise, Algorithm 1 against the unsplit model, and short trainings."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import mse_loss

from edge_envs.core.physics.images import photograph, photograph_patches
from edge_envs.semcom.jscc import training
from edge_envs.semcom.jscc.networks import Codec, awgn, channels_of, normalise_power, rho_of
from edge_envs.semcom.jscc.reference_codes import mean_colour_psnr
from edge_envs.semcom.jscc.scores import reconstruct, surface
from edge_envs.semcom.jscc.training import (
    BaseStation,
    Batch,
    Device,
    Recipe,
    as_tensor,
    learning_rate,
    mosaic,
    train,
    training_round,
)

STEPS = 250
TRAIN = photograph_patches(count=2000)[0]
TEST = photograph_patches(split="test")[0][::3]


@pytest.fixture(scope="module")
def trained():
    losses: list[float] = []
    codec, traffic = train(TRAIN, Recipe(steps=STEPS, seed=3), losses.append)
    return codec, traffic, losses


def noise(seed=0):
    return torch.Generator().manual_seed(seed)


def random_batch(seed, images=3, size=(32, 32), channels=29):
    draw = noise(seed)
    return Batch(
        images=torch.rand((images, 3, *size), generator=draw),
        kept=torch.randint(1, channels + 1, (images,), generator=draw),
        snr_db=20.0 * torch.rand(images, generator=draw),
    )


# Encoder, channel, decoder


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7), (32, 32), (33, 46)])
def test_any_size_goes_in_and_comes_out(size):
    codec, batch = Codec(12), random_batch(1, size=size, channels=12)
    symbols = codec.encoder(batch.images, batch.kept)
    assert symbols.shape == (3, 12, math.ceil(size[0] / 4), math.ceil(size[1] / 4))
    images = codec(batch.images, batch.kept, batch.snr_db, noise())
    assert images.shape == batch.images.shape
    assert images.min() >= 0.0
    assert images.max() <= 1.0


def test_an_odd_size_is_continued_by_its_last_row_and_column():
    image, kept = torch.rand((1, 3, 7, 10), generator=noise()), torch.tensor([8])
    continued = image[:, :, [0, 1, 2, 3, 4, 5, 6, 6]][:, :, :, [*range(10), 9, 9]]
    encoder = Codec(8).encoder
    assert torch.equal(encoder(image, kept), encoder(continued, kept))


def test_each_code_has_power_one_on_the_channels_sent_and_none_elsewhere():
    codec = Codec(29)
    kept = torch.tensor([1, 8, 29])
    symbols = codec.encoder(random_batch(2, size=(20, 36)).images, kept)
    for code, sent in zip(symbols, kept.tolist(), strict=True):
        assert code[:sent].square().mean().item() == pytest.approx(1.0, rel=1e-5)
        assert not code[sent:].any()


def test_a_dead_code_stays_finite():
    dead = torch.zeros(2, 4, 3, 3, requires_grad=True)
    sent = normalise_power(dead, torch.tensor([2, 4]))
    sent.sum().backward()
    assert not sent.any()
    assert dead.grad is not None
    assert torch.isfinite(dead.grad).all()


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 13.0])
def test_channel_adds_noise_of_the_stated_power_to_what_is_sent(snr_db):
    symbols, kept = torch.full((2, 10, 100, 100), 0.5), torch.tensor([10, 4])
    added = awgn(symbols, kept, torch.full((2,), snr_db), noise(5)) - symbols
    assert not added[1, 4:].any()
    for image, sent in enumerate(kept.tolist()):
        part = added[image, :sent]
        # 4e4 and 1e5 draws: standard error of the variance below 0.8 %
        assert float(part.var()) == pytest.approx(10 ** (-snr_db / 10), rel=0.03)
        assert abs(float(part.mean())) < 0.02 * 10 ** (-snr_db / 20)
    assert float(torch.corrcoef(added[:, :4].reshape(2, -1))[0, 1]) == pytest.approx(0.0, abs=0.02)


def test_signal_scale_survives_both_stacks_at_the_start():
    """Layer by layer, the spread of white noise stays of order one: no more than a factor 2 in or out."""
    codec = Codec(32, seed=1)
    with torch.no_grad():
        for stack, width in ((list(codec.encoder.layers), 3), (list(codec.decoder.layers)[:-2], 32)):
            for number, (filters, activation) in enumerate(zip(stack[::2], stack[1::2], strict=True)):
                signal = activation(filters(torch.randn((4, width, 24, 24), generator=noise(number))))
                assert 0.5 < float(signal.square().mean().sqrt()) < 2.0
                width = signal.shape[1]


def test_compression_rate_counts_complex_symbols_per_image_value():
    assert [channels_of(rho) for rho in (0.1, 0.2, 0.3, 1.0)] == [10, 19, 29, 96]
    assert rho_of(10) == pytest.approx(0.104, abs=1e-3)
    # 32 x 32 x 3 values; 10 channels on 8 x 8 places are 640 real numbers, 320 complex symbols
    assert rho_of(10) == 320 / 3072


@pytest.mark.parametrize("rho", [0.0, -0.1, 1.01, math.nan, math.inf])
def test_impossible_compression_rate(rho):
    with pytest.raises(ValueError, match="rho="):
        channels_of(rho)


def test_seed_decides_the_weights_and_torchs_own_generator_is_left_alone():
    state = torch.get_rng_state()
    first, again, other = Codec(8, seed=1), Codec(8, seed=1), Codec(8, seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


# Algorithm 1


def unsplit_step(codec, optimiser, batch, generator):
    optimiser.zero_grad()
    loss = mse_loss(codec(batch.images, batch.kept, batch.snr_db, generator), batch.images)
    loss.backward()
    optimiser.step()
    return loss.item()


@pytest.mark.parametrize(
    "optimiser_of",
    [lambda parameters: torch.optim.SGD(parameters, lr=0.1), training.adam],
    ids=["sgd", "adam"],
)
def test_split_training_equals_the_unsplit_model_bit_for_bit(optimiser_of):
    """Three devices with models, images, rates and SNR of their own, over several rounds."""
    codecs = [Codec(29, seed=n) for n in range(3)]
    whole = copy.deepcopy(codecs)
    optimisers = [optimiser_of(codec.parameters()) for codec in whole]
    devices, station = [Device(codec.encoder) for codec in codecs], BaseStation(codecs, optimiser_of)
    ours, theirs = ([noise(10 + n) for n in range(3)] for _ in range(2))
    start = copy.deepcopy(whole[1].state_dict())
    for round_number in range(4):
        sizes = [(32, 32), (12, 18), (9, 21)]
        batches = [random_batch(100 * round_number + n, size=size) for n, size in enumerate(sizes)]
        losses, _ = training_round(devices, station, batches, ours)
        for n, batch in enumerate(batches):
            assert losses[n] == unsplit_step(whole[n], optimisers[n], batch, theirs[n])
            for mine, its in zip(station.codecs[n].parameters(), whole[n].parameters(), strict=True):
                assert mine.grad is not None
                assert its.grad is not None
                assert torch.equal(mine.grad, its.grad)
                assert torch.equal(mine, its)
    for n, device in enumerate(devices):
        for mine, its in zip(device.encoder.parameters(), whole[n].encoder.parameters(), strict=True):
            assert torch.equal(mine, its)
    assert any(not torch.equal(value, start[name]) for name, value in whole[1].state_dict().items())


def test_device_shares_nothing_with_the_base_station_and_keeps_no_gradients():
    codec = Codec(8)
    device = Device(codec.encoder)
    assert not device.encode(*[getattr(random_batch(1, channels=8), name) for name in ("images", "kept")]).requires_grad
    with torch.no_grad():
        for parameter in codec.parameters():
            parameter.zero_()
    assert any(parameter.any() for parameter in device.encoder.parameters())


def test_what_crosses_the_air_is_counted():
    codec = Codec(29)
    batch = Batch(torch.rand(2, 3, 12, 20, generator=noise()), torch.tensor([7, 10]), torch.tensor([5.0, 5.0]))
    _, traffic = training_round([Device(codec.encoder)], BaseStation([codec]), [batch], [noise()])
    # 3 x 5 places: 105 real numbers need 53 complex symbols, 150 need 75
    assert traffic.symbols_up == 53 + 75
    assert traffic.bytes_up == 8 * traffic.symbols_up
    weights = 5 * 5 * (3 * 16 + 16 * 32 + 32 * 32 + 32 * 32 + 32 * 29) + 2 * (16 + 32 + 32 + 32 + 29)
    assert traffic.bytes_down == 4 * weights


def test_device_refuses_another_encoders_weights():
    with pytest.raises(ValueError, match="received 3 weights for an encoder with"):
        Device(Codec(8).encoder).install(torch.zeros(3))


# Training


def test_training_lowers_the_loss_fourfold(trained):
    _, _, losses = trained
    assert len(losses) == STEPS
    assert np.mean(losses[-25:]) < 0.25 * np.mean(losses[:25])


def test_trained_codec_beats_the_mean_colour_and_gains_with_snr(trained):
    codec, _, _ = trained
    psnr = surface(codec, TEST, (10, 29), (-20.0, 0.0, 10.0))
    assert (psnr[:, 2] > mean_colour_psnr(TEST) + 3.0).all()
    assert (np.diff(psnr, axis=1) > 0.5).all()


def test_trained_codec_takes_a_large_photograph(trained):
    image = photograph("chelsea")[None, :, :, :]
    assert image.shape == (1, 300, 451, 3)
    codec, _, _ = trained
    pixels = reconstruct(codec, image, 10, 13.0, noise())
    assert pixels.shape == image.shape
    assert np.corrcoef(pixels.ravel(), image.ravel())[0, 1] > 0.8


def test_traffic_of_a_training(trained):
    codec, traffic, _ = trained
    encoder = sum(parameter.numel() for parameter in codec.encoder.parameters())
    assert traffic.bytes_down == 4 * encoder * STEPS
    # 16 images of 8 to 29 channels, or one mosaic of them with one such number: 18.5 on average
    assert traffic.symbols_up / STEPS == pytest.approx(16 * 18.5 * 32, rel=0.05)


def test_training_is_decided_by_its_seed():
    runs: list[list[float]] = [[], [], []]
    codecs = [train(TRAIN, Recipe(steps=6, seed=s), run.append)[0] for s, run in zip((1, 1, 2), runs, strict=True)]
    assert runs[0] == runs[1] != runs[2]
    for a, b in zip(codecs[0].parameters(), codecs[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_rate_and_snr_can_be_fixed(monkeypatch):
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def channel(sent, kept, snr_db, generator):
        seen.append((kept, snr_db))
        return sent

    monkeypatch.setattr(training, "awgn", channel)
    codec, traffic = train(TRAIN, Recipe(steps=12, rho=0.2, snr_db=7.0))
    assert codec.channels == 19
    assert {int(k) for kept, _ in seen for k in kept} == {19}
    assert {float(s) for _, snr in seen for s in snr} == {7.0}
    assert traffic.symbols_up == 12 * 16 * 19 * 32
    seen.clear()
    train(TRAIN, Recipe(steps=12))
    drawn = [int(k) for kept, _ in seen for k in kept]
    assert min(drawn) >= 8
    assert max(drawn) <= 29
    assert len(set(drawn)) > 10
    levels = [float(s) for _, snr in seen for s in snr]
    assert 0.0 <= min(levels) < 2.0
    assert 18.0 < max(levels) <= 20.0


def test_learning_rate_rises_then_falls_to_nothing():
    rates = [learning_rate(step, 6000, 1.0) for step in range(6000)]
    assert np.argmax(rates) in (98, 99, 100)
    assert rates[0] == pytest.approx(0.01, rel=1e-3)
    assert rates[-1] == pytest.approx(1 / 6000)
    assert np.all(np.diff(rates[100:]) < 0)
    assert learning_rate(0, 1, 1.0) == 1.0


def test_mosaic_lays_images_side_by_side():
    images = as_tensor(TRAIN[:11])
    large = mosaic(images)
    assert large.shape == (1, 3, 96, 96)
    for i in range(9):
        row, column = divmod(i, 3)
        assert torch.equal(large[0, :, 32 * row : 32 * row + 32, 32 * column : 32 * column + 32], images[i])


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"batch": 0},
        {"seed": -1},
        {"seed": 1 << 32},
        {"rho": 0.0},
        {"snr_db": math.nan},
        {"mosaic_share": 1.5},
    ],
)
def test_impossible_recipe(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Recipe(**options)


def test_more_channels_than_the_codec_has():
    with pytest.raises(ValueError, match="channels=11 is not possible; give a whole number from 1 to 10"):
        surface(Codec(10), TEST[:1], (11,), (1.0,))
