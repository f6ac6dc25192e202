"""Real split training: the network and its exchange against the unsplit one, data, frames, files and the command."""

import copy
import csv
import json
import math
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from edge_envs.core.policy import ConstantPolicy
from edge_envs.dtirs.config import CutSet, DTIRSConfig
from edge_envs.dtirs.model.parameters import parameters_of
from edge_envs.dtirs.split_training import __main__
from edge_envs.dtirs.split_training import data as data_module
from edge_envs.dtirs.split_training.data import Data, Labelled, load_data
from edge_envs.dtirs.split_training.experiment import Recipe, running_mean, train
from edge_envs.dtirs.split_training.files import rounds_of, save_rounds
from edge_envs.dtirs.split_training.network import LAYERS, build_network
from edge_envs.dtirs.split_training.simulated_delay import DELAY_PARTS, Frames, choose_policy, make_env
from edge_envs.dtirs.split_training.training import (
    AccessPoint,
    Device,
    Traffic,
    TrainedLayer,
    as_tensor,
    training_round,
)
from tests.helpers import assert_interrupt_is_quiet, assert_one_line_error

CUTS = range(1, LAYERS + 1)
OPTIMISERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
}
CLASSES, WIDTH, BATCH = 5, 0.125, 3


def random_data(users, images=10, seed=0):
    draw = np.random.default_rng(seed)
    shapes = [(draw.integers(256, size=(images, 32, 32, 3), dtype=np.uint8)) for _ in range(users)]
    return [Labelled(own, draw.integers(CLASSES, size=images)) for own in shapes]


def output_values(classes, width=1.0):
    """Values per image at the output of each layer."""
    values, outputs = torch.zeros(1, 3, 32, 32), []
    for layer in build_network(classes, width):
        values = layer(values)
        outputs.append(values.numel())
    return outputs


def make_parties(users, optimiser="adam", dtype=torch.float32):
    network = build_network(CLASSES, WIDTH, seed=7).to(dtype)
    devices = [Device(own.images, own.labels, BATCH, (1, k)) for k, own in enumerate(random_data(users))]
    return devices, AccessPoint(network, OPTIMISERS[optimiser])


class Unsplit:
    """The same network in one piece, on the batches of all users, trained on the mean (17) of their losses."""

    def __init__(self, users, optimiser="adam", dtype=torch.float32):
        self.network = build_network(CLASSES, WIDTH, seed=7).to(dtype)
        self.optimiser = OPTIMISERS[optimiser](self.network.parameters())
        self.data, self.dtype = random_data(users), dtype
        self.draws = [np.random.default_rng((1, k)) for k in range(users)]

    def round(self):
        self.optimiser.zero_grad()
        losses = []
        for own, draw in zip(self.data, self.draws, strict=True):
            chosen = draw.integers(len(own.images), size=BATCH)
            logits = self.network(as_tensor(own.images[chosen], self.dtype))
            losses.append(cross_entropy(logits, torch.from_numpy(own.labels[chosen])))
        torch.stack(losses).mean().backward()
        self.optimiser.step()
        return [loss.item() for loss in losses]


def assert_equal_weights(network, other):
    for mine, its in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, its)


# The network


def test_layers_have_the_outputs_and_weights_of_the_wings_table():
    network, values = build_network(10), torch.zeros(1, 3, 32, 32)
    outputs = []
    for layer in network:
        values = layer(values)
        outputs.append(values.numel())
    assert outputs == [65536, 16384, 32768, 8192, 16384, 16384, 4096, 8192, 8192, 2048, 512, 10]
    weights = [sum(parameter.numel() for parameter in layer.parameters()) for layer in network]
    assert weights[:6] == [1792, 36928, 73856, 147584, 295168, 590080]
    assert weights[6:] == [590080, 1180160, 2359808, 2359808, 1049088, 5130]


def test_signal_neither_dies_nor_explodes_in_twelve_layers():
    images = torch.randn((8, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for layer in build_network(5, 0.5, seed=2):
            images = layer(images)
            assert 0.2 < float(images.square().mean().sqrt()) < 5.0


def test_seed_decides_the_weights_and_torchs_own_generator_is_left_alone():
    state = torch.get_rng_state()
    first, again, other = (build_network(5, WIDTH, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert_equal_weights(first, again)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


@pytest.mark.parametrize(("options", "name"), [((1, 1.0), "classes"), ((5, 0.0), "width"), ((5, math.nan), "width")])
def test_impossible_network(options, name):
    with pytest.raises(ValueError, match=f"{name}="):
        build_network(*options)


# Two parties against one


@pytest.mark.parametrize("cut", CUTS)
def test_gradients_across_the_cut_are_those_of_the_unsplit_network_bit_for_bit(cut):
    (device,), access_point = make_parties(1)
    unsplit = Unsplit(1)
    device.hold(access_point.layers[:cut])
    features, labels = device.forward()
    if cut == LAYERS:
        loss, gradients = device.learn_alone()
    else:
        loss, at_cut, behind = access_point.learn(features, labels, cut)
        assert not at_cut.requires_grad
        assert at_cut.shape == features.shape
        gradients = [*device.backward(at_cut), *behind]
    assert not features.requires_grad
    assert [loss] == unsplit.round()
    flat = [gradient for layer in gradients for gradient in layer]
    for gradient, parameter in zip(flat, unsplit.network.parameters(), strict=True):
        assert parameter.grad is not None
        assert parameter.grad.any()
        assert torch.equal(gradient, parameter.grad)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("cut", CUTS)
def test_split_training_of_one_user_equals_the_unsplit_one_bit_for_bit(cut, optimiser):
    devices, access_point = make_parties(1, optimiser)
    unsplit = Unsplit(1, optimiser)
    for _ in range(4):
        losses, _ = training_round(devices, access_point, [cut])
        assert losses == unsplit.round()
    assert_equal_weights(access_point.network, unsplit.network)
    assert len(devices[0].layers) == cut


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_users_with_other_cuts_in_every_round_equal_the_unsplit_network(optimiser):
    """Float64: the order of the sum over users differs from that of one backward pass, so the last bits may."""
    devices, access_point = make_parties(4, optimiser, torch.float64)
    unsplit = Unsplit(4, optimiser, torch.float64)
    draw = np.random.default_rng(3)
    for _ in range(8):
        losses, _ = training_round(devices, access_point, draw.integers(1, LAYERS + 1, size=4).tolist())
        assert losses == pytest.approx(unsplit.round(), rel=1e-9)
    for mine, its in zip(access_point.network.parameters(), unsplit.network.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_cuts_do_not_change_a_single_bit(optimiser):
    draw = np.random.default_rng(4)
    results = []
    for plan in ([[1] * 3] * 6, [[LAYERS] * 3] * 6, draw.integers(1, LAYERS + 1, size=(6, 3)).tolist()):
        devices, access_point = make_parties(3, optimiser)
        losses = [training_round(devices, access_point, cuts)[0] for cuts in plan]
        results.append((losses, access_point.network))
    for losses, network in results[1:]:
        assert losses == results[0][0]
        assert_equal_weights(network, results[0][1])
    assert len({tuple(losses) for losses in results[0][0]}) == 6


def test_copies_of_all_parties_stay_equal_and_share_nothing():
    devices, access_point = make_parties(2)
    for cuts in ([2, 12], [5, 1], [4, 7], [12, 3]):
        training_round(devices, access_point, cuts)
        for device, cut in zip(devices, cuts, strict=True):
            assert len(device.layers) == cut
            for mine, its in zip(device.layers, access_point.layers, strict=False):
                assert_equal_weights(mine.module, its.module)
    before = copy.deepcopy(devices[0].layers[0].module)
    with torch.no_grad():
        for parameter in access_point.network.parameters():
            parameter.zero_()
    for state in access_point.layers[0].optimiser.state.values():
        state["exp_avg"].zero_()
    assert_equal_weights(devices[0].layers[0].module, before)
    assert all(state["exp_avg"].any() for state in devices[0].layers[0].optimiser.state.values())


def test_what_crosses_the_cut_is_counted():
    devices, access_point = make_parties(2)
    values = output_values(CLASSES, WIDTH)
    weights = np.cumsum([layer.weights for layer in access_point.layers])
    # Adam keeps two numbers for each weight; before the first step it has none.
    assert training_round(devices, access_point, [4, 12])[1] == Traffic(
        BATCH * values[3], BATCH * values[3], weights[3] + weights[11], 2 * (weights[3] + weights[11])
    )
    assert training_round(devices, access_point, [6, 12])[1] == Traffic(
        BATCH * values[5],
        BATCH * values[5],
        weights[5] + weights[11],
        weights[5] + weights[11] + 3 * (weights[5] - weights[3]),
    )
    _, alone = training_round(devices, access_point, [12, 12])
    assert (alone.features_up, alone.gradients_down) == (0, 0)


def test_exchanged_bits_at_full_width_are_those_that_the_environment_counts():
    config = DTIRSConfig(cuts=CutSet.ALL)
    values = np.array([*output_values(10)[:-1], 0])
    assert config.cut_numbers.tolist() == list(CUTS)
    parameters = parameters_of(config)
    for bits in (parameters.bits_up, parameters.bits_down):
        np.testing.assert_array_equal(bits, values * config.batch_size * config.word_bits)
    weights = np.cumsum([TrainedLayer(layer, OPTIMISERS["sgd"]).weights for layer in build_network(10)])
    np.testing.assert_array_equal(parameters.sync_bits, weights * config.weight_bits)


def test_features_that_go_up_are_a_copy_without_history():
    (device,), access_point = make_parties(1)
    device.hold(access_point.layers[:1])
    features, labels = device.forward()
    assert features.shape == (BATCH, 8, 32, 32)
    again = features.clone()
    expected = access_point.learn(again, labels, 1)[1]
    features.zero_()
    gradients = device.backward(expected)
    device._rng = np.random.default_rng((1, 0))
    device.forward()
    for mine, its in zip(gradients[0], device.backward(expected)[0], strict=True):
        assert torch.equal(mine, its)


def test_impossible_exchange():
    devices, access_point = make_parties(2)
    for cuts in ([0, 3], [3, 13], [3], [1, 2, 3]):
        with pytest.raises(ValueError, match="cuts="):
            training_round(devices, access_point, cuts)
    devices[0].hold(access_point.layers[:3])
    devices[0].forward()
    with pytest.raises(ValueError, match="received a gradient of shape"):
        devices[0].backward(torch.zeros(1, 1, 1, 1))


# Data


def test_photographs_are_balanced_and_a_users_images_do_not_depend_on_the_others():
    few, many = load_data(2, 25, seed=3), load_data(3, 25, seed=3)
    for one, same in zip(few.users, many.users, strict=False):
        np.testing.assert_array_equal(one.images, same.images)
        np.testing.assert_array_equal(one.labels, same.labels)
    np.testing.assert_array_equal(few.held_out.images, many.held_out.images)
    assert few.classes == 5
    for own in (*many.users, many.held_out):
        assert len(set(np.bincount(own.labels, minlength=5).tolist())) == 1
        assert own.images.shape[1:] == (32, 32, 3)
        assert (np.sqrt((own.images / 255).var(axis=(1, 2)).mean(axis=1)) > 0.08).all()
    assert not np.array_equal(many.users[0].images, many.users[1].images)
    assert not np.array_equal(many.users[0].images, load_data(1, 25, seed=4).users[0].images)


def test_no_training_patch_touches_what_is_held_out(monkeypatch):
    """Photographs whose red says whether a column is held out, and whose other colours are noise."""

    def painted(name, scale):
        columns = np.arange(641 // scale) * scale
        image = np.random.default_rng(scale).integers(256, size=(420 // scale, len(columns), 3), dtype=np.uint8)
        image[:, :, 0] = np.where((columns >= 312) & (columns < 480), 255, 0)
        return image

    monkeypatch.setattr(data_module, "photograph", painted)
    data = load_data(2, 300, seed=0)
    for own in data.users:
        assert not own.images[..., 0].any()
    assert (data.held_out.images[..., 0] == 255).all()


def test_flat_photographs_are_refused(monkeypatch):
    monkeypatch.setattr(data_module, "photograph", lambda name, scale: np.zeros((100, 200, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="no 32 x 32 patch"):
        load_data(1, 1, seed=0)


def test_cifar_images_are_divided_among_the_users(monkeypatch):
    def numbered(folder, split):
        images = np.zeros((60, 32, 32, 3), dtype=np.uint8)
        images[:, 0, 0, 0] = np.arange(60)
        return images + (100 if split == "test" else 0), np.arange(60) % 10

    monkeypatch.setattr(data_module, "read_cifar10", numbered)
    data = load_data(3, 20, seed=1, cifar=data_module.Path("somewhere"))
    assert data.classes == 10
    owned = [own.images[:, 0, 0, 0] for own in data.users]
    assert sorted(np.concatenate(owned).tolist()) == list(range(60))
    for own, numbers in zip(data.users, owned, strict=True):
        np.testing.assert_array_equal(own.labels, numbers % 10)
    assert data.held_out.images.min() == 100
    with pytest.raises(ValueError, match="need 63"):
        load_data(3, 21, seed=1, cifar=data_module.Path("somewhere"))


# Frames


class StandIn:
    """Looks like DTIRS-v0: a frame's delay is the sum of its cuts plus a number that changes by frame."""

    def __init__(self, users=2, episode=3):
        config = SimpleNamespace(batch_size=BATCH, word_bits=8, weight_bits=16)
        system = SimpleNamespace(members=users, cut_numbers=np.array([2, 4, 12]), config=config)
        self.unwrapped = SimpleNamespace(system=system)
        self.episode, self.seeds, self.frame = episode, [], 0

    def reset(self, *, seed=None):
        self.seeds.append(seed)
        self.clock = 0
        return np.zeros(4, dtype=np.float32), {}

    def step(self, action):
        self.clock += 1
        self.frame += 1
        cuts = self.unwrapped.system.cut_numbers[action]
        info = {name: float(i) for i, name in enumerate(DELAY_PARTS)}
        info |= {"delay_s": float(cuts.sum()) + 0.1 * self.frame, "twin_share": 0.5}
        return np.zeros(4, dtype=np.float32), 0.0, False, self.clock == self.episode, info


def frames_of(*action, episode=3):
    env: Any = StandIn(len(action), episode)
    return Frames(env, ConstantPolicy(np.array(action)), seed=5)


def test_frames_translate_actions_and_go_on_after_an_episode():
    frames = frames_of(0, 2)
    seen = [frames.advance() for _ in range(7)]
    assert {frame.cuts for frame in seen} == {(2, 12)}
    assert [frame.delay_s for frame in seen] == pytest.approx([14.1, 14.2, 14.3, 14.4, 14.5, 14.6, 14.7])
    assert seen[0].parts_s == (0.0, 1.0, 2.0, 3.0, 4.0)
    assert seen[0].twin_share == 0.5
    assert frames._env.seeds == [5, None, None]


def test_cut_zero_cannot_be_trained():
    frames = frames_of(0, 2)
    frames._system.cut_numbers = np.array([0, 4, 12])
    with pytest.raises(ValueError, match="cut 0"):
        frames.advance()


def test_constant_policies_name_a_cut():
    env: Any = StandIn()
    assert choose_policy("cut-4", env, 0).predict(np.zeros(4))[0].tolist() == [1, 1]
    with pytest.raises(ValueError, match="cuts are 2, 4, 12"):
        choose_policy("cut-3", env, 0)


# Training


def small_data(users=2):
    return load_data(users, 20, seed=0)


def test_losses_agree_between_policies_to_the_bit_and_times_do_not():
    recipe = Recipe(rounds=6, width=WIDTH, images_per_user=20)
    data = small_data()
    one, other = (train(data, frames_of(*action), "p", recipe) for action in ((0, 0), (2, 1)))
    np.testing.assert_array_equal(one.losses, other.losses)
    np.testing.assert_array_equal(one.accuracy, other.accuracy)
    assert one.elapsed_s[-1] == pytest.approx(6 * 4 + 0.1 * 21)
    assert other.elapsed_s[-1] == pytest.approx(6 * 16 + 0.1 * 21)
    values = output_values(5, WIDTH)
    assert (one.bits[:, :2] == 2 * BATCH * values[1] * 8).all()
    assert (other.bits[:, :2] == BATCH * values[3] * 8).all()
    fronts = np.cumsum([sum(p.numel() for p in layer.parameters()) for layer in build_network(5, WIDTH)])
    assert (other.bits[:, 2] == (fronts[3] + fronts[11]) * 16).all()
    assert one.mean_loss.tolist() == pytest.approx([(a + b) / 2 for a, b in one.losses.tolist()])


def test_a_users_batches_and_the_weights_do_not_depend_on_the_number_of_users():
    recipe = Recipe(rounds=1, width=WIDTH, images_per_user=20)
    data = small_data(3)
    two, three = (train(data, frames_of(*[0] * k), "p", recipe) for k in (2, 3))
    np.testing.assert_array_equal(two.losses[0], three.losses[0, :2])


def test_training_learns_and_is_decided_by_its_seed():
    data = small_data()
    results = [train(data, frames_of(1, 2), "p", Recipe(rounds=60, width=WIDTH, seed=seed)) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(results[0].losses, results[1].losses)
    assert not np.array_equal(results[0].losses, results[2].losses)
    loss = results[0].mean_loss
    assert loss[:5].mean() > 1.0
    assert loss[-10:].mean() < 0.5 * loss[:5].mean()
    measured = results[0].accuracy[~np.isnan(results[0].accuracy)]
    assert len(measured) == 15
    assert measured[-1] > 0.3  # a guess has 0.2
    assert results[0].accuracy[-1] == measured[-1]


def test_first_loss_is_that_of_the_seeds_weights_on_the_seeds_images():
    data = small_data()
    found = train(data, frames_of(0, 0), "p", Recipe(rounds=1, width=WIDTH, seed=3)).losses[0]
    network = build_network(5, WIDTH, seed=3)
    for k, own in enumerate(data.users):
        chosen = np.random.default_rng((3, k)).integers(len(own.labels), size=BATCH)
        logits = network(as_tensor(own.images[chosen]))
        assert found[k] == pytest.approx(cross_entropy(logits, torch.from_numpy(own.labels[chosen])).item(), rel=1e-5)


def test_accuracy_counts_the_largest_output():
    _, access_point = make_parties(1)
    own = random_data(1, images=300)[0]
    with torch.no_grad():
        best = access_point.network(as_tensor(own.images)).argmax(dim=1).numpy()
    assert access_point.accuracy(own.images, best) == 1.0
    wrong = np.where(np.arange(300) < 75, (best + 1) % CLASSES, best)
    assert access_point.accuracy(own.images, wrong) == 0.75


@pytest.mark.parametrize(
    "options",
    [{"rounds": 0}, {"seed": -1}, {"seed": 1 << 32}, {"learning_rate": 0.0}, {"learning_rate": math.inf},
     {"images_per_user": 0}, {"evaluations": 0}],
)  # fmt: skip
def test_impossible_recipe(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Recipe(**options)


def test_running_mean_looks_back_only():
    values = np.random.default_rng(0).random(25)
    expected = [values[max(0, i - 3) : i + 1].mean() for i in range(25)]
    np.testing.assert_allclose(running_mean(values, 4), expected, rtol=1e-12)


# Files and the command


def test_files_hold_every_round(tmp_path):
    data = small_data(3)
    recipe = Recipe(rounds=4, width=WIDTH, evaluations=2)
    runs = [train(data, frames_of(*action), "p", recipe) for action in ((0, 1), (2, 1, 0))]
    save_rounds(tmp_path, runs, {"rounds": 4})
    document = json.loads((tmp_path / "rounds.json").read_text())
    assert document["settings"] == {"rounds": 4}
    assert document["rounds"] == [*rounds_of(runs[0]), *rounds_of(runs[1])]
    with (tmp_path / "rounds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    for row, run, number in zip(rows, [runs[0]] * 4 + [runs[1]] * 4, [*range(4)] * 2, strict=True):
        assert (int(row["users"]), int(row["round"])) == (run.users, number + 1)
        assert [float(row[f"loss_{k + 1}"]) for k in range(run.users)] == run.losses[number].tolist()
        assert float(row["loss_mean"]) == run.losses[number].mean()
        assert float(row["delay_sum_s"]) == run.elapsed_s[number]
        assert [int(row[f"cut_{k + 1}"]) for k in range(run.users)] == list(run.frames[number].cuts)
        assert (row["accuracy"] == "") == (number % 2 == 0)
        assert int(row["bits_up"]) == run.bits[number, 0]
    assert rows[0]["loss_3"] == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rounds.csv", "rounds.json"]


def test_command_trains_under_several_policies(tmp_path):
    out = tmp_path / "deep" / "out"
    done = subprocess.run(
        [sys.executable, "-m", "edge_envs.dtirs.split_training", "--rounds", "3", "--users", "2", "1", "--width",
         "0.05", "--policy", "cut-2", "best-common", "--images", "5", "--out", str(out)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "between policies, over all rounds: 0 nat" in done.stdout
    assert sorted(path.name for path in out.iterdir()) == ["loss.png", "rounds.csv", "rounds.json"]
    assert (out / "loss.png").read_bytes().startswith(b"\x89PNG")
    document = json.loads((out / "rounds.json").read_text())
    assert document["settings"]["batch_size"] == 8
    rounds = document["rounds"]
    assert [(row["policy"], row["users"]) for row in rounds[::3]] == [("cut-2", 2), ("best-common", 2), ("cut-2", 1)]
    values = output_values(5, 0.05)[1] * 8 * 8
    assert [row["bits_up"] for row in rounds[:3]] == [2 * values] * 3
    for row in rounds:
        assert row["delay_s"] == pytest.approx(sum(row[name] for name in DELAY_PARTS), rel=1e-6)
        assert row["delay_s"] > 0.0


def test_every_policy_meets_the_same_frames():
    """The environment's randomness does not depend on the cuts, so that two policies with one cut agree in full."""
    env = make_env(2)
    policies = [choose_policy("cut-2", env, 0), choose_policy("cut-12", env, 0)]
    first, last, again = (Frames(make_env(2), policies[i], seed=3) for i in (0, 1, 0))
    one = [first.advance() for _ in range(3)]
    [last.advance() for _ in range(3)]
    assert one == [again.advance() for _ in range(3)]
    mixed = Frames(make_env(2), Switching(policies), seed=3)
    assert [mixed.advance() for _ in range(3)][::2] == one[::2]


class Switching:
    def __init__(self, policies):
        self.policies = policies

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        turn = state or 0
        return self.policies[turn % 2].predict(observation)[0], turn + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "abc"], "--rounds 'abc' is not possible; give a whole number"),
        (["--rounds", "0"], "rounds=0"),
        (["--seed", "-1"], "seed=-1"),
        (["--frames", "3"], "--frames does not exist"),
        (["--users"], "--users is given without a value"),
        (["--users", "2", "two"], "--users 'two' is not possible; give a whole number"),
        (["--width", "0"], "width=0.0 is not possible"),
        (["--images", "0"], "images_per_user=0"),
        (["--users", "0"], "num_devices=0 is not possible"),
        (["--users", "2", "3", "2"], "--users names 2 twice"),
        (["--policy", "cut-2", "cut-2"], "--policy names cut-2 twice"),
        (["--policy", "cut-99"], "cut-99' is not possible; cuts are"),
        (["--policy", "best-comon"], "did you mean 'best-common'?"),
        (["--preset", "papr"], "did you mean 'paper'?"),
        (["--cifar", "no/such/folder"], "no data_batch_1.bin, "),
    ],
)
def test_bad_input_is_one_line_and_status_two(arguments, message, capsys):
    assert message in assert_one_line_error(__main__.main, arguments, capsys)


def test_folder_that_cannot_be_written_is_reported_before_training(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert "file" in assert_one_line_error(
        __main__.main, ["--out", str(tmp_path / "file" / "out"), "--rounds", "1000000"], capsys
    )


@pytest.mark.parametrize("package", ["torch", "matplotlib", "rich", "PIL"])
def test_missing_package_names_the_extras(package):
    code = (
        f"import sys; sys.modules[{package!r}] = None; from edge_envs.dtirs.split_training.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'edge-envs[" in done.stderr


def test_interrupt_ends_quietly(monkeypatch, capsys):
    assert_interrupt_is_quiet(__main__, monkeypatch, capsys)


def test_data_of_more_users_than_the_environment_has_are_left_out():
    data = small_data(3)
    assert isinstance(data, Data)
    assert train(data, frames_of(0, 0), "p", Recipe(rounds=1, width=WIDTH)).users == 2
