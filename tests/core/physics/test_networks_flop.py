"""Operations beside MACs, raw inputs of another word length, the two CIFAR classifiers: against sums made here."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edge_envs.core.physics.networks import NETWORKS, Layer, Network, build_network, parse_network


def total_macs(network: Network) -> int:
    return sum(layer.macs for layer in network.layers)


# (MMAC, output elements) of every layer at 32x32
NIN = [
    *[(14.7456, 196608), (31.4573, 163840), (15.7286, 24576), (117.9648, 49152), (9.4372, 49152), (9.4372, 12288)],
    *[(21.2337, 12288), (2.3593, 12288), (0.1229, 10)],
]
TINY_YOLOV2 = [
    *[(0.4424, 16384), (0, 4096), (1.1796, 8192), (0, 2048), (1.1796, 4096), (0, 1024), (1.1796, 2048), (0, 512)],
    *[(1.1796, 1024), (0, 256), (1.1796, 512), (0, 512), (4.7186, 1024), (9.4372, 1024), (0.0102, 10), (0, 10)],
    (0, 10),
]
VGG16 = [
    *[(1.7695, 65536), (37.7487, 65536), (0, 16384), (18.8744, 32768), (37.7487, 32768), (0, 8192)],
    *[(18.8744, 16384), (37.7487, 16384), (37.7487, 16384), (0, 4096), (18.8744, 8192), (37.7487, 8192)],
    *[(37.7487, 8192), (0, 2048), (9.4372, 2048), (9.4372, 2048), (9.4372, 2048), (0, 512)],
    *[(0.2621, 512), (0, 512), (0.2621, 512), (0, 512), (0.0051, 10), (0, 10)],
]


@pytest.mark.parametrize(
    ("name", "rows", "mega_macs", "mega_flop"),
    [
        ("nin", NIN, 222.49, 445.9),
        ("tiny-yolov2-cifar", TINY_YOLOV2, 20.51, 41.1),
        ("vgg16-cifar", VGG16, 313.73, 627.9),
    ],
)
def test_layers_and_totals_of_the_cifar_classifiers(
    name: str, rows: list[tuple[float, int]], mega_macs: float, mega_flop: float
) -> None:
    network = build_network(name)
    assert network.input_elements == 32 * 32 * 3
    assert [(round(layer.macs / 1e6, 4), layer.output_elements) for layer in network.layers] == rows
    assert round(total_macs(network) / 1e6, 2) == mega_macs
    assert round(network.cuts().server_flop[0] / 1e6, 1) == mega_flop


def test_layer_names_of_the_cifar_classifiers() -> None:
    yolo = [layer.name for layer in build_network("tiny-yolov2-cifar").layers]
    assert yolo == [
        *[f"{kind}{i}" for i in range(1, 7) for kind in ("conv", "pool")],
        *["conv7", "conv8", "conv9", "gap", "softmax"],
    ]
    vgg = [layer.name for layer in build_network("vgg16-cifar").layers]
    assert vgg[:18] == [layer.name for layer in build_network("vgg16").layers[:18]]
    assert vgg[18:] == ["fc1", "dropout1", "fc2", "dropout2", "fc3", "softmax"]


def test_parameters_of_the_cifar_classifiers_by_hand() -> None:
    yolo = [3, 16, 32, 64, 128, 256, 512, 1024, 1024]
    expected = sum(9 * ci * co + co for ci, co in pairwise(yolo)) + 1024 * 10 + 10
    assert build_network("tiny-yolov2-cifar").cuts().device_parameters[-1] == expected
    vgg = [3, *[64] * 2, *[128] * 2, *[256] * 3, *[512] * 6]
    convolutions = sum(9 * ci * co + co for ci, co in pairwise(vgg))
    for side, flat in [(32, 512), (64, 2 * 2 * 512)]:
        head = (flat + 1) * 512 + 513 * 512 + 513 * 10
        assert build_network("vgg16-cifar", side).cuts().device_parameters[-1] == convolutions + head


NIN_CUTS, YOLO_CUTS, VGG_CUTS = [0, 9], [0, 8, 10, 15, 17], [0, 18, 23, 24]


@pytest.mark.parametrize(
    ("spec", "word_bits", "expected"),
    [
        ("nin@32", 32, NIN_CUTS),
        ("nin@64", 32, NIN_CUTS),
        ("nin@224", 32, NIN_CUTS),
        ("tiny-yolov2-cifar@32", 32, YOLO_CUTS),
        # Above 32x32 the last map has more than one pixel, so that its average is smaller than itself.
        ("tiny-yolov2-cifar@64", 32, [0, 8, 10, 15, 16, 17]),
        ("tiny-yolov2-cifar@224", 32, [0, 8, 10, 15, 16, 17]),
        ("vgg16-cifar@32", 32, VGG_CUTS),
        # Likewise, fc1 has fewer outputs than inputs.
        ("vgg16-cifar@64", 32, [0, 18, 19, 23, 24]),
        ("vgg16-cifar@224", 32, [0, 18, 19, 23, 24]),
        ("vgg16-cifar@32", 8, [0, 14, 18, 23, 24]),
    ],
)
def test_useful_cuts_with_an_image_of_bytes(spec: str, word_bits: int, expected: list[int]) -> None:
    network = parse_network(spec)
    every = network.cuts(word_bits, useful=False, input_bits=8)
    useful = network.cuts(word_bits, input_bits=8)
    assert [every.names.index(name) for name in useful.names] == expected
    for field in ("device_macs", "server_macs", "bits", "device_parameters", "device_flop", "server_flop"):
        np.testing.assert_array_equal(getattr(useful, field), getattr(every, field)[expected])


def test_input_bits_change_the_raw_input_only() -> None:
    network = build_network("vgg16-cifar")
    plain, other = network.cuts(32, useful=False), network.cuts(32, useful=False, input_bits=8)
    assert (plain.bits[0], other.bits[0]) == (98_304, 24_576)
    np.testing.assert_array_equal(other.bits[1:], plain.bits[1:])
    np.testing.assert_array_equal(network.cuts(32, useful=False, input_bits=32).bits, plain.bits)


def test_larger_input_words_keep_more_cuts() -> None:
    network = Network("toy", 10, (Layer("same", 1, 10), Layer("grow", 1, 15), Layer("last", 1, 5)))
    assert network.cuts(8).names == ("input", "last")
    assert network.cuts(8, input_bits=9).names == ("input", "same", "last")
    assert network.cuts(8, input_bits=16).names == ("input", "same", "last")
    assert network.cuts(8, input_bits=7).names == ("input", "last")


@pytest.mark.parametrize("bits", [0, -8])
def test_input_below_one_bit_is_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=rf"input_bits.*not {bits}"):
        build_network("nin").cuts(input_bits=bits)


@pytest.mark.parametrize("spec", [*NETWORKS, "vgg16@32", "tiny-yolov2@100x75", "alexnet@64", "ds-cnn@98"])
def test_flop_are_two_macs_and_the_other_operations(spec: str) -> None:
    network = parse_network(spec)
    cuts = network.cuts(useful=False)
    total = 2 * total_macs(network) + sum(layer.other_operations for layer in network.layers)
    assert cuts.device_flop.dtype == cuts.server_flop.dtype == np.float64
    per_layer = [2 * layer.macs + layer.other_operations for layer in network.layers]
    np.testing.assert_array_equal(np.diff(cuts.device_flop), per_layer)
    np.testing.assert_array_equal(cuts.device_flop + cuts.server_flop, total)
    assert (cuts.device_flop[0], cuts.server_flop[-1]) == (0, 0)


def others(spec: str) -> dict[str, int]:
    return {layer.name: layer.other_operations for layer in parse_network(spec).layers}


def test_other_operations_of_chains_by_hand() -> None:
    pools = {3: 9 * 24576, 6: 9 * 12288, 9: 64 * 10}  # joined to the convolution before
    activations = [196608, 163840, 98304, 49152, 49152, 49152, 12288, 12288, 640]
    expected = [a + pools.get(i, 0) for i, a in enumerate(activations, start=1)]
    assert list(others("nin").values()) == expected
    yolo = [elements if macs else 4 * elements for macs, elements in TINY_YOLOV2[:15]]
    assert list(others("tiny-yolov2-cifar").values()) == [*yolo, 10, 0]
    assert others("tiny-yolov2-cifar@64")["gap"] == 2 * 2 * 10
    vgg = {
        name: (elements if macs else 4 * elements)
        for name, (macs, elements) in zip(others("vgg16-cifar"), VGG16, strict=True)
    }
    vgg |= {"dropout1": 0, "dropout2": 0, "softmax": 0}
    assert others("vgg16-cifar") == vgg


def test_other_operations_of_windows_that_overlap_or_reach_out() -> None:
    alexnet = others("alexnet")
    assert alexnet["pool1"] == 9 * 27 * 27 * 64
    assert alexnet["fc6"] == 6 * 6 * 256 + 4096  # the adaptive pool before it is joined to it
    assert others("alexnet@64")["fc6"] == 1 * 1 * 256 + 4096
    assert others("squeezenet1.1")["pool5"] == 9 * 13 * 13 * 256
    assert others("ds-cnn")["pool"] == 25 * 5 * 64
    assert others("resnet18")["stem"] == 112 * 112 * 64 + 9 * 56 * 56 * 64


def test_other_operations_of_branches_are_counted_once() -> None:
    assert others("squeezenet1.1")["fire2"] == 55 * 55 * (16 + 64 + 64)
    resnet = others("resnet18")
    assert resnet["l1.1"] == 4 * 56 * 56 * 64
    assert resnet["l2.1"] == 5 * 28 * 28 * 128  # the shortcut's convolution is the fifth
    assert others("mobilenetv2")["bneck16"] == 112 * 112 * (32 + 16)
    assert others("ds-cnn")["ds1"] == 25 * 5 * (64 + 64)
