"""CIFAR-10's binary files made here, and the built-in patches against plain loops over the photographs."""

import importlib.resources
import importlib.util
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from PIL import Image

from edge_envs.core.physics import images as module
from edge_envs.core.physics.images import PHOTOGRAPH_SPLITS, PHOTOGRAPHS, photograph, photograph_patches, read_cifar10

RECORD = 3073
TRAIN_FILES = [f"data_batch_{number}.bin" for number in range(1, 6)]


def write_batch(path, records=10_000, seed=None, first=()):
    """A file of zeros (sparse on disk) or of random records, its first record set to `first`."""
    with path.open("wb") as file:
        if seed is None:
            file.truncate(records * RECORD)
        else:
            rng = np.random.default_rng(seed)
            content = rng.integers(256, size=(records, RECORD), dtype=np.uint8)
            content[:, 0] = rng.integers(10, size=records)
            content.tofile(file)
        file.seek(0)
        file.write(bytes(first))
    return path


# CIFAR-10


def test_cifar_pixels_are_where_the_format_has_them(tmp_path):
    path = write_batch(tmp_path / "test_batch.bin", seed=1)
    raw = path.read_bytes()
    images, labels = read_cifar10(tmp_path, "test")
    assert images.shape == (10_000, 32, 32, 3)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64)
    for record, row, column, colour in [(0, 0, 0, 0), (0, 0, 1, 1), (3, 31, 0, 2), (9_999, 17, 30, 1)]:
        at = record * RECORD + 1 + colour * 1024 + row * 32 + column
        assert images[record, row, column, colour] == raw[at]
        assert labels[record] == raw[record * RECORD]


def test_cifar_training_files_come_in_order_and_in_the_archives_folder(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for number, name in enumerate(TRAIN_FILES):
        write_batch(folder / name, first=[number + 3, 200 + number])
    images, labels = read_cifar10(tmp_path)
    assert images.shape == (50_000, 32, 32, 3)
    np.testing.assert_array_equal(labels[::10_000], [3, 4, 5, 6, 7])
    np.testing.assert_array_equal(images[::10_000, 0, 0, 0], [200, 201, 202, 203, 204])
    assert np.count_nonzero(images) == 5


def test_cifar_missing_files_are_named_with_the_fix(tmp_path):
    write_batch(tmp_path / TRAIN_FILES[0])
    with pytest.raises(FileNotFoundError, match=r"no data_batch_2.bin, .*data_batch_5.bin in .*cifar-10-binary.tar.gz"):
        read_cifar10(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no test_batch\.bin"):
        read_cifar10(tmp_path / "nowhere", "test")


@pytest.mark.parametrize("size", [0, 9_999 * RECORD, 10_000 * RECORD - 1, 10_001 * RECORD])
def test_cifar_file_of_another_size_is_refused_by_name(tmp_path, size):
    with (tmp_path / "test_batch.bin").open("wb") as file:
        file.truncate(size)
    with pytest.raises(ValueError, match=rf"test_batch.bin has {size:,} bytes, but .* 30,730,000"):
        read_cifar10(tmp_path, "test")


def test_cifar_label_out_of_range_is_refused_by_name(tmp_path):
    for name in TRAIN_FILES:
        write_batch(tmp_path / name, first=[10] if name == TRAIN_FILES[3] else [9])
    with pytest.raises(ValueError, match=r"data_batch_4.bin is damaged: image 0 has label 10"):
        read_cifar10(tmp_path)


@pytest.mark.parametrize("read", [partial(read_cifar10, "."), photograph_patches])
def test_unknown_split(read):
    with pytest.raises(ValueError, match="no split 'valid'; there are train, test"):
        read(split="valid")


# Photographs


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photograph_is_the_file_that_ships(name):
    package, path = PHOTOGRAPHS[name]
    with importlib.resources.as_file(importlib.resources.files(package) / path) as file, Image.open(file) as image:
        np.testing.assert_array_equal(photograph(name), np.asarray(image.convert("RGB")))


def test_downscaled_photograph_is_the_mean_of_blocks():
    full, third = photograph("chelsea").astype(float), photograph("chelsea", 3)
    assert third.shape == (100, 150, 3)
    for row, column in [(0, 0), (99, 149), (40, 77)]:
        block = full[3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        np.testing.assert_array_equal(third[row, column], np.rint(block.mean(axis=(0, 1))))


def spread(patch):
    return np.sqrt((patch / 255).var(axis=(0, 1)).mean())


def test_tiles_are_those_of_a_plain_loop():
    expected = []
    for name in PHOTOGRAPH_SPLITS["test"]:
        for downscale in (2, 3, 4):
            image = photograph(name, downscale)
            for top in range(0, image.shape[0] - 31, 32):
                for left in range(0, image.shape[1] - 31, 32):
                    patch = image[top : top + 32, left : left + 32]
                    if spread(patch) > 0.08:
                        expected.append((list(PHOTOGRAPHS).index(name), patch))
    patches, labels = photograph_patches(split="test")
    np.testing.assert_array_equal(labels, [label for label, _ in expected])
    np.testing.assert_array_equal(patches, [patch for _, patch in expected])
    assert patches.dtype == np.uint8
    everything, _ = photograph_patches(split="test", min_std=-1.0)
    assert len(patches) < len(everything)


def places_of(patch, image):
    windows = np.lib.stride_tricks.sliding_window_view(image[:, :, 0], (2, 2))
    corner = (windows == patch[:2, :2, 0]).all(axis=(2, 3))
    size = patch.shape[0]
    return [(y, x) for y, x in np.argwhere(corner) if np.array_equal(image[y : y + size, x : x + size], patch)]


def test_random_patches_are_cut_from_the_photograph_of_their_label_and_no_test_photograph():
    patches, labels = photograph_patches(split="train", count=12, seed=3, downscales=(2, 4))
    names = list(PHOTOGRAPHS)
    assert len(set(labels)) > 1
    for patch, label in zip(patches, labels, strict=True):
        assert names[label] in PHOTOGRAPH_SPLITS["train"]
        assert any(places_of(patch, photograph(names[label], downscale)) for downscale in (2, 4))
        others = [photograph(name, downscale) for name in PHOTOGRAPH_SPLITS["test"] for downscale in (2, 4)]
        assert not any(places_of(patch, image) for image in others)
        assert spread(patch) > 0.08


def test_splits_share_no_photograph():
    assert not set(PHOTOGRAPH_SPLITS["train"]) & set(PHOTOGRAPH_SPLITS["test"])
    train, test = (set(photograph_patches(size=16, split=split)[1]) for split in ("train", "test"))
    assert (train, test) == ({0, 1, 2, 3, 4}, {5, 6})


def test_seed_decides_the_random_patches():
    (first, labels), (again, _), (other, _) = (photograph_patches(count=40, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (40, 32, 32, 3)
    assert labels.shape == (40,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size=0"),
        ({"count": 0}, "count=0"),
        ({"downscales": ()}, "downscales"),
        ({"downscales": (0,)}, "downscale=0"),
        ({"downscales": (1000,)}, "downscale=1000"),
        ({"size": 400}, "no 400 x 400 patch"),
        ({"min_std": 1.0}, "spread above 1.0"),
    ],
)
def test_impossible_patches(options, message):
    with pytest.raises(ValueError, match=message):
        photograph_patches(**options)


def test_unknown_photograph():
    with pytest.raises(ValueError, match="no photograph 'lena'; there are china, flower"):
        photograph("lena")


@pytest.mark.parametrize("hidden", ["sklearn", "skimage", "PIL"])
def test_missing_package_is_one_clear_error(monkeypatch, hidden):
    found = importlib.util.find_spec
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None if name == hidden else found(name))
    if hidden == "PIL":
        monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'edge-envs\[codec\]'"):
        photograph_patches()


def test_grey_picture_gets_three_channels(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(module.read_image(tmp_path / "grey.png"), np.repeat(grey[:, :, None], 3, axis=2))


def test_reading_a_photograph_imports_no_heavy_package():
    code = """
import sys
import edge_envs.core.physics.images as images
assert "PIL" not in sys.modules
images.photograph("rocket"), images.photograph("china")
print([name for name in ("sklearn", "skimage", "torch", "scipy", "pooch") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
