"""Layer tables against published totals, hand sums, and brute force over all cuts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edge_envs.core.physics.network_zoo import _extent, _VanishedError
from edge_envs.core.physics.networks import NETWORKS, Cuts, Layer, Network, build_network, parse_network


def total_macs(network: Network) -> int:
    return sum(layer.macs for layer in network.layers)


# (spec, total MACs, input bits, useful cuts as (name, device share of the MACs, bits over input bits))
USEFUL = [
    (
        "resnet18@96",
        333_615_104,
        221_184,
        [
            ("input", 0.0000, 1.0000),
            ("l2.1", 0.5459, 0.6667),
            ("l3.1", 0.7722, 0.3333),
            ("l4.1", 0.9985, 0.1667),
            ("pool", 0.9985, 0.0185),
            ("fc", 1.0000, 0.0000),
        ],
    ),
    (
        "tiny-yolov2@64",
        82_497_536,
        98_304,
        [
            ("input", 0.0000, 1.0000),
            ("pool2", 0.0786, 0.6667),
            ("pool3", 0.1358, 0.3333),
            ("pool4", 0.1930, 0.1667),
            ("pool5", 0.2502, 0.0833),
            ("det", 1.0000, 0.0000),
        ],
    ),
    (
        "mobilenetv2@64",
        25_728_512,
        98_304,
        [
            ("input", 0.0000, 1.0000),
            ("bneck24", 0.2406, 0.5000),
            ("bneck32", 0.3594, 0.1667),
            ("bneck64", 0.4815, 0.0833),
            ("bneck160", 0.8136, 0.0521),
            ("fc", 1.0000, 0.0000),
        ],
    ),
    (
        "alexnet@64",
        98_144_960,
        98_304,
        [
            ("input", 0.0000, 1.0000),
            ("pool1", 0.0533, 0.2552),
            ("pool2", 0.2066, 0.1406),
            ("pool5", 0.4027, 0.0208),
            ("fc8", 1.0000, 0.0000),
        ],
    ),
]

SPECS = [
    *NETWORKS,
    *(row[0] for row in USEFUL),
    "vgg16@32",
    "vgg12@48",
    "tiny-yolov2@100x75",
    "squeezenet1.1@97",
    "nin@30",
    "ds-cnn@98",
]


@pytest.mark.parametrize(("spec", "macs", "bits", "table"), USEFUL, ids=[row[0] for row in USEFUL])
def test_useful_cuts_match_the_known_tables(
    spec: str, macs: int, bits: int, table: list[tuple[str, float, float]]
) -> None:
    network = parse_network(spec)
    cuts = network.cuts()
    assert total_macs(network) == macs
    assert 8 * network.input_elements == bits
    assert cuts.names == tuple(name for name, _, _ in table)
    np.testing.assert_array_equal(np.round(cuts.device_macs / macs, 4), [row[1] for row in table])
    np.testing.assert_array_equal(np.round(cuts.bits / bits, 4), [row[2] for row in table])


@pytest.mark.parametrize(
    ("name", "mega_macs", "digits"),
    [
        ("mobilenetv2", 300.77, 2),
        ("resnet18", 1814.07, 2),
        ("alexnet", 714.19, 2),
        ("squeezenet1.1", 349.15, 2),
        ("tiny-yolov2", 3485.5, 1),
        ("nin", 222.49, 2),
    ],
)
def test_native_totals_are_the_published_ones(name: str, mega_macs: float, digits: int) -> None:
    assert round(total_macs(build_network(name)) / 1e6, digits) == mega_macs


def test_vgg16_total_by_hand() -> None:
    convs = [  # side, channels in, channels out
        *[(224, 3, 64), (224, 64, 64)],
        *[(112, 64, 128), (112, 128, 128)],
        *[(56, 128, 256), (56, 256, 256), (56, 256, 256)],
        *[(28, 256, 512), (28, 512, 512), (28, 512, 512)],
        *[(14, 512, 512)] * 3,
    ]
    by_hand = sum(9 * side**2 * ci * co for side, ci, co in convs)
    by_hand += 7 * 7 * 512 * 4096 + 4096 * 4096 + 4096 * 1000
    network = build_network("vgg16")
    assert total_macs(network) == by_hand == 15_470_264_320
    assert len(network.layers) == 13 + 5 + 3


def test_ds_cnn_by_hand() -> None:
    network = build_network("ds-cnn")
    block = 25 * 5 * 64 * (9 + 64)
    assert [layer.macs for layer in network.layers] == [25 * 5 * 64 * 40, *[block] * 4, 0, 64 * 12]
    assert [layer.output_elements for layer in network.layers] == [25 * 5 * 64] * 5 + [64, 12]
    assert network.input_elements == 490


def total_parameters(name: str) -> int:
    return sum(layer.parameters for layer in build_network(name).layers)


@pytest.mark.parametrize(
    ("name", "published", "normalised"),
    [  # torchvision's totals and, per network, the channels that it normalises: two numbers each where we have a bias
        ("alexnet", 61_100_840, 0),
        ("vgg16", 138_357_544, 0),
        ("squeezenet1.1", 1_235_496, 0),
        ("resnet18", 11_689_512, 64 + 4 * 64 + 5 * (128 + 256 + 512)),
        ("mobilenetv2", 3_504_872, 17_056),
    ],
)
def test_parameters_are_the_published_ones(name: str, published: int, normalised: int) -> None:
    assert total_parameters(name) == published - 2 * normalised + normalised


def test_normalised_channels_of_mobilenetv2_by_hand() -> None:
    channels = 32 + 32 + 16 + 1280  # the first convolution, the stage without expansion, the last convolution
    width = 16
    for out, blocks in [(24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1)]:
        for _ in range(blocks):
            channels += 6 * width + 6 * width + out
            width = out
    assert channels == 17_056


def test_parameters_of_chains_by_hand() -> None:
    yolo = [3, 16, 32, 64, 128, 256, 512, 1024, 1024]
    by_hand = sum(9 * ci * co + co for ci, co in pairwise(yolo)) + 1024 * 125 + 125
    assert total_parameters("tiny-yolov2") == by_hand
    nin = [(5, 3, 192), (1, 192, 160), (1, 160, 96), (5, 96, 192), (1, 192, 192), (1, 192, 192)]
    nin += [(3, 192, 192), (1, 192, 192), (1, 192, 10)]
    expected = [k * k * ci * co + co for k, ci, co in nin]
    assert [layer.parameters for layer in build_network("nin").layers] == expected
    depthwise_and_pointwise = 64 * (9 + 1) + 64 * (64 + 1)
    expected = [64 * (10 * 4 + 1), *[depthwise_and_pointwise] * 4, 0, 12 * (64 + 1)]
    assert [layer.parameters for layer in build_network("ds-cnn").layers] == expected


def test_parameters_of_side_branches_are_counted_once() -> None:
    layers = {layer.name: layer for layer in build_network("squeezenet1.1").layers}
    assert layers["fire2"].parameters == (64 * 16 + 16) + (16 * 64 + 64) + (9 * 16 * 64 + 64)
    assert layers["pool5"].parameters == 0
    layers = {layer.name: layer for layer in build_network("resnet18").layers}
    convolutions = 9 * 64 * 128 + 3 * 9 * 128 * 128
    assert layers["l2.1"].parameters == convolutions + 4 * 128 + (64 * 128 + 128)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2", "alexnet", "squeezenet1.1", "vgg16", "nin", "ds-cnn"])
def test_parameters_do_not_depend_on_the_input(name: str) -> None:
    native, other = build_network(name).layers, build_network(name, (120, 77)).layers
    assert [layer.parameters for layer in other] == [layer.parameters for layer in native]


def test_vgg12_rows() -> None:
    network = build_network("vgg12")
    outputs = [65536, 16384, 32768, 8192, 16384, 16384, 4096, 8192, 8192, 2048, 512, 10]
    parameters = [1792, 36928, 73856, 147584, 295168, 590080, 590080, 1180160, 2359808, 2359808, 1049088, 5130]
    assert network.name == "vgg12@32"
    assert [layer.output_elements for layer in network.layers] == outputs
    assert [layer.parameters for layer in network.layers] == parameters
    convs = [(32, 3, 64), (32, 64, 64), (16, 64, 128), (16, 128, 128), (8, 128, 256), (8, 256, 256), (8, 256, 256)]
    convs += [(4, 256, 512), (4, 512, 512), (4, 512, 512)]  # side before the pool, channels in, channels out
    by_hand = [9 * side**2 * ci * co for side, ci, co in convs] + [2048 * 512, 512 * 10]
    assert [layer.macs for layer in network.layers] == by_hand
    assert build_network("vgg12", 64).layers[10].parameters == 4 * 2048 * 512 + 512


def test_nin_has_one_layer_per_convolution() -> None:
    expected = [  # MACs, elements after the pool that follows, at 32x32
        (1024 * 192 * 75, 32 * 32 * 192),
        (1024 * 160 * 192, 32 * 32 * 160),
        (1024 * 96 * 160, 16 * 16 * 96),
        (256 * 192 * 96 * 25, 16 * 16 * 192),
        (256 * 192 * 192, 16 * 16 * 192),
        (256 * 192 * 192, 8 * 8 * 192),
        (64 * 192 * 192 * 9, 8 * 8 * 192),
        (64 * 192 * 192, 8 * 8 * 192),
        (64 * 10 * 192, 10),
    ]
    assert [(layer.macs, layer.output_elements) for layer in build_network("nin").layers] == expected


def test_tiny_yolov2_rows_at_32() -> None:
    layers = build_network("tiny-yolov2", 32).layers
    convs = [layer.macs for layer in layers if layer.macs]
    assert convs == [442_368, *[1_179_648] * 5, 4_718_592, 9_437_184, 1024 * 125]
    sizes = [16384, 4096, 8192, 2048, 4096, 1024, 2048, 512, 1024, 256, 512, 512, 1024, 1024, 125]
    assert [layer.output_elements for layer in layers] == sizes


def test_squeezenet_joins_both_branches() -> None:
    layers = {layer.name: layer for layer in build_network("squeezenet1.1").layers}
    assert layers["fire2"].output_elements == 55 * 55 * 128
    assert layers["fire2"].macs == 55**2 * (64 * 16 + 16 * 64 + 9 * 16 * 64)
    assert layers["pool5"].output_elements == 13 * 13 * 256


@pytest.mark.parametrize("spec", SPECS)
def test_all_cuts_account_for_all_work(spec: str) -> None:
    network = parse_network(spec)
    cuts = network.cuts(useful=False)
    last = len(network.layers)
    assert cuts.names == ("input", *(layer.name for layer in network.layers))
    assert len(set(cuts.names)) == last + 1
    assert all(layer.macs >= 0 and layer.output_elements > 0 for layer in network.layers)
    for array in (cuts.device_macs, cuts.server_macs, cuts.bits, cuts.device_parameters):
        assert array.shape == (last + 1,)
        assert array.dtype == np.float64
    assert np.all(np.diff(cuts.device_macs) >= 0)
    np.testing.assert_array_equal(cuts.device_macs + cuts.server_macs, total_macs(network))
    assert (cuts.device_macs[0], cuts.server_macs[-1], cuts.bits[-1], cuts.device_parameters[0]) == (0, 0, 0, 0)
    np.testing.assert_array_equal(np.diff(cuts.device_parameters), [layer.parameters for layer in network.layers])
    assert all((layer.parameters > 0) == (layer.macs > 0) for layer in network.layers)
    assert cuts.bits[0] == 8 * network.input_elements
    assert np.all(cuts.bits[:-1] > 0)


def assert_useful_cuts_are_the_front(network: Network) -> None:
    every, useful = network.cuts(useful=False), network.cuts()
    total = range(len(every.names))
    front = [k for k in total if not any(every.bits[j] <= every.bits[k] for j in range(k))]
    assert useful.names == tuple(every.names[k] for k in front)
    np.testing.assert_array_equal(useful.device_macs, every.device_macs[front])
    np.testing.assert_array_equal(useful.server_macs, every.server_macs[front])
    np.testing.assert_array_equal(useful.bits, every.bits[front])
    np.testing.assert_array_equal(useful.device_parameters, every.device_parameters[front])
    assert {0, total[-1]} <= set(front)
    assert np.all(np.diff(useful.bits) < 0)
    # No cut at all beats a kept one with strictly less work and no more to send.
    better = (every.device_macs < useful.device_macs[:, None]) & (every.bits <= useful.bits[:, None])
    assert not better.any()
    # Every dropped cut is beaten by a kept one: no more work and no more to send.
    for k in set(total) - set(front):
        assert np.any((useful.device_macs <= every.device_macs[k]) & (useful.bits <= every.bits[k]))


@pytest.mark.parametrize("spec", SPECS)
def test_useful_cuts_are_the_front(spec: str) -> None:
    assert_useful_cuts_are_the_front(parse_network(spec))


@pytest.mark.parametrize("seed", range(50))
def test_useful_cuts_are_the_front_of_random_chains(seed: int) -> None:
    rng = np.random.default_rng(seed)  # small ranges, so that ties in work and in size are common
    draws = zip(rng.integers(0, 3, 12).tolist(), rng.integers(1, 9, 12).tolist(), strict=True)
    layers = tuple(Layer(f"layer{i}", macs, size, 10**i) for i, (macs, size) in enumerate(draws))
    assert_useful_cuts_are_the_front(Network("random", int(rng.integers(1, 12)), layers))


def test_layers_without_work() -> None:
    layers = (Layer("shrink", 0, 50), Layer("grow", 0, 60), Layer("fc", 7, 5), Layer("softmax", 0, 5))
    cuts = Network("toy", 100, layers).cuts()
    assert cuts.names == ("input", "shrink", "fc", "softmax")
    np.testing.assert_array_equal(cuts.device_macs, [0, 0, 7, 7])
    np.testing.assert_array_equal(cuts.bits, [800, 400, 40, 0])


@pytest.mark.parametrize("useful", [True, False])
@pytest.mark.parametrize("word_bits", [1, 4, 32])
def test_bits_scale_with_the_word(word_bits: int, useful: bool) -> None:
    network = parse_network("alexnet@64")
    one: Cuts = network.cuts(word_bits=8, useful=useful)
    other = network.cuts(word_bits=word_bits, useful=useful)
    assert other.names == one.names
    np.testing.assert_array_equal(other.bits * 8, one.bits * word_bits)
    np.testing.assert_array_equal(other.device_macs, one.device_macs)


def test_word_below_one_bit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"word_bits.*not 0"):
        build_network("nin").cuts(word_bits=0)


@pytest.mark.parametrize("size", range(1, 20))
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (10, 2), (11, 4)])
@pytest.mark.parametrize("pad", [None, 0, 1, 4])
def test_window_count_by_enumeration(size: int, kernel: int, stride: int, pad: int | None) -> None:
    padded = size + (kernel - 1 if pad is None else pad)
    expected = sum(start + kernel <= padded for start in range(0, padded, stride))
    if expected:
        assert _extent(size, kernel, stride, pad) == expected
    else:
        with pytest.raises(_VanishedError):
            _extent(size, kernel, stride, pad)
    if pad is None:
        assert expected == -(-size // stride)


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_and_names(name: str) -> None:
    native = build_network(name)
    assert parse_network(native.name) == NETWORKS[name]() == native
    assert parse_network(name) == native
    assert native.name.split("@")[0] == name
    tall = build_network(name, (200, 120))
    assert tall.name == f"{name}@200x120"
    assert parse_network(tall.name) == tall
    channels = 1 if name == "ds-cnn" else 3
    assert tall.input_elements == 200 * 120 * channels
    assert build_network(name, 100).input_elements == 100 * (10 if name == "ds-cnn" else 100) * channels
    assert parse_network(build_network(name, (99, 99)).name).input_elements == 99 * 99 * channels


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("alexnet", 63),
        ("squeezenet1.1", 17),
        ("tiny-yolov2", 32),
        ("vgg16", 32),
        ("vgg12", 16),
        ("tiny-yolov2-cifar", 32),
        ("vgg16-cifar", 32),
        ("resnet18", 1),
        ("ds-cnn", 1),
    ],
)
def test_smallest_input(name: str, least: int) -> None:
    assert total_macs(build_network(name, (least, least))) > 0
    for size in [(least - 1, least), (least, least - 1), (-3, least)]:
        message = f"{name}.*{size[0]}x{size[1]}.*height of at least {least} and a width of at least {least}"
        with pytest.raises(ValueError, match=message):
            build_network(name, size)


@pytest.mark.parametrize("size", [9.5, "96", (96,), (96, 96, 3), (96, 9.5), ("9", "6")])
def test_size_must_be_integers(size: object) -> None:
    with pytest.raises(ValueError, match=r"resnet18.*int or \(height, width\)"):
        build_network("resnet18", size)  # type: ignore[arg-type]


def test_size_may_come_from_numpy_or_json() -> None:
    assert build_network("resnet18", np.int64(96)) == build_network("resnet18", 96)  # type: ignore[arg-type]
    assert build_network("ds-cnn", [49, 10]) == build_network("ds-cnn")  # type: ignore[arg-type]


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'ResNet-18'.*nearest is 'resnet18'") as error:
        build_network("ResNet-18", 96)
    assert all(name in str(error.value) for name in NETWORKS)


@pytest.mark.parametrize("spec", ["", "@96", "nin@", "nin@a", "nin@32x", "nin@32x32x3", "nin@-1", "nin @32", "nin@32 "])
def test_bad_spec_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match=r"network spec .* should be 'name'"):
        parse_network(spec)


def test_spec_of_an_unknown_network() -> None:
    with pytest.raises(ValueError, match="unknown network 'resnet99'"):
        parse_network("resnet99@96")


def test_registry_is_read_only() -> None:
    with pytest.raises(TypeError):
        NETWORKS["mine"] = NETWORKS["nin"]  # type: ignore[index]
