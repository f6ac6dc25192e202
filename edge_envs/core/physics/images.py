"""Images for training: photographs in installed packages, and CIFAR-10 from a local folder.

Nothing is downloaded. The built-in patches are parts of seven photographs in the wheels of scikit-learn and
scikit-image, scaled down so that 32 x 32 pixels have about as much detail as in CIFAR-10. Flat patches (sky, table
tops) are omitted, because their mean colour alone would reach a good quality. Training and test patches come from
different photographs. All images are uint8 of shape (number, height, width, 3).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Images: TypeAlias = NDArray[np.uint8]
Labels: TypeAlias = NDArray[np.int64]
Split: TypeAlias = Literal["train", "test"]

CIFAR_SIZE = 32
"""Height and width of a CIFAR-10 image [pixels]."""
CIFAR_CLASSES = 10
CIFAR_RECORDS = 10_000
"""Number of images in each of the six files."""
CIFAR_RECORD_BYTES = 1 + 3 * CIFAR_SIZE**2
"""Size of a label followed by the red, green and blue planes, row by row [bytes]."""
CIFAR_FOLDER = "cifar-10-batches-bin"
"""Name of the folder inside the archive."""
CIFAR_FILES: dict[str, tuple[str, ...]] = {
    "train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    "test": ("test_batch.bin",),
}
CIFAR_SOURCE = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"


class _Source(NamedTuple):
    package: str
    path: str


PHOTOGRAPHS: dict[str, _Source] = {
    "china": _Source("sklearn", "datasets/images/china.jpg"),
    "flower": _Source("sklearn", "datasets/images/flower.jpg"),
    "coffee": _Source("skimage", "data/coffee.png"),
    "motorcycle_left": _Source("skimage", "data/motorcycle_left.png"),
    "rocket": _Source("skimage", "data/rocket.jpg"),
    "astronaut": _Source("skimage", "data/astronaut.png"),
    "chelsea": _Source("skimage", "data/chelsea.png"),
}
"""Name -> package and file; the position in this order is the label of a patch. Licences: CC BY 2.0 for the first two,
the others are in the public domain or CC0; motorcycle_left is from the Middlebury stereo data set. See the packages."""

PHOTOGRAPH_SPLITS: dict[str, tuple[str, ...]] = {
    "train": ("china", "flower", "coffee", "motorcycle_left", "rocket"),
    "test": ("astronaut", "chelsea"),
}


def read_cifar10(path: str | Path, split: Split = "train") -> tuple[Images, Labels]:
    """Read CIFAR-10 from its binary version.

    Args:
        path: folder with data_batch_1.bin to data_batch_5.bin and test_batch.bin, or the folder that contains
            `cifar-10-batches-bin`.
        split: "train" (50,000 images) or "test" (10,000 images).

    Returns:
        Images (n, 32, 32, 3) uint8 and classes (n,) int64 from 0 to 9, in the order of the files.

    Raises:
        FileNotFoundError: a file is missing; the message says how to get it.
        ValueError: an unknown split, or a damaged file; the message names it.
    """
    names = _choose(CIFAR_FILES, split)
    folder = Path(path)
    if (folder / CIFAR_FOLDER).is_dir():
        folder = folder / CIFAR_FOLDER
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"no {', '.join(missing)} in {folder}: download {CIFAR_SOURCE}, unpack it "
            f"and give the folder {CIFAR_FOLDER} (or the one that holds it)"
        )
    parts = [_cifar_file(folder / name) for name in names]
    return np.concatenate([images for images, _ in parts]), np.concatenate([labels for _, labels in parts])


def _cifar_file(path: Path) -> tuple[Images, Labels]:
    size, expected = path.stat().st_size, CIFAR_RECORDS * CIFAR_RECORD_BYTES
    if size != expected:
        raise ValueError(f"{path} has {size:,} bytes, but CIFAR-10's binary files have {expected:,}: download it again")
    records = np.fromfile(path, dtype=np.uint8).reshape(-1, CIFAR_RECORD_BYTES)
    labels = records[:, 0].astype(np.int64)
    strange = np.flatnonzero(labels >= CIFAR_CLASSES)
    if strange.size:
        first = int(strange[0])
        raise ValueError(f"{path} is damaged: image {first} has label {labels[first]}, not 0 to {CIFAR_CLASSES - 1}")
    planes = records[:, 1:].reshape(-1, 3, CIFAR_SIZE, CIFAR_SIZE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def photograph(name: str, downscale: int = 1) -> Images:
    """A photograph, with blocks of `downscale` x `downscale` pixels averaged.

    Returns:
        Image (height, width, 3) uint8, without incomplete blocks at the right and the bottom.

    Raises:
        ValueError: an unknown name, or a downscale larger than the image.
        ImportError: the package with the photograph, or Pillow, is not installed.
    """
    if name not in PHOTOGRAPHS:
        raise ValueError(f"no photograph {name!r}; there are {', '.join(PHOTOGRAPHS)}")
    pixels = read_image(_shipped(PHOTOGRAPHS[name]))
    if not 1 <= downscale <= min(pixels.shape[:2]):
        raise ValueError(f"downscale={downscale} is not possible; give 1 to {min(pixels.shape[:2])}")
    height, width = pixels.shape[0] // downscale, pixels.shape[1] // downscale
    cut = pixels[: height * downscale, : width * downscale].astype(np.float64)
    means = cut.reshape(height, downscale, width, downscale, 3).mean(axis=(1, 3))
    return np.rint(means).astype(np.uint8)


def photograph_patches(
    size: int = 32,
    split: Split = "train",
    count: int | None = None,
    *,
    downscales: Sequence[int] = (2, 3, 4),
    min_std: float = 0.08,
    seed: int = 0,
) -> tuple[Images, Labels]:
    """Square patches of the built-in photographs that are not flat.

    The spread of a patch is the root mean square of the standard deviations of its channels, for pixels from 0 to 1.

    Args:
        size: height and width of a patch [pixels].
        split: "train" or "test"; see `PHOTOGRAPH_SPLITS`.
        count: number of patches at uniformly random positions, which may overlap; None for all tiles of a grid.
        downscales: the scales of each photograph; see `photograph`.
        min_std: lower bound of the spread, exclusive [-].
        seed: seed of the random positions.

    Returns:
        Patches (n, size, size, 3) uint8 and labels (n,) int64, the photographs' positions in `PHOTOGRAPHS`.

    Raises:
        ValueError: an unknown split, an invalid size, count or downscale, or no patch with a sufficient spread.
        ImportError: scikit-learn, scikit-image or Pillow is not installed.
    """
    if size < 1 or (count is not None and count < 1) or not downscales:
        raise ValueError(f"size={size}, count={count}, downscales={downscales}: give at least one of each")
    patches, labels, step = [], [], size if count is None else 1
    for name in _choose(PHOTOGRAPH_SPLITS, split):
        for downscale in downscales:
            image = photograph(name, downscale)
            if min(image.shape[:2]) < size:
                continue
            windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(0, 1))[::step, ::step]
            places = np.argwhere(_spread(image, size)[::step, ::step] > min_std)
            patches += [(windows, place) for place in places]
            labels += [list(PHOTOGRAPHS).index(name)] * len(places)
    if not patches:
        raise ValueError(f"no {size} x {size} patch of the {split} photographs has a spread above {min_std}")
    chosen = range(len(patches)) if count is None else np.random.default_rng(seed).integers(len(patches), size=count)
    cut = np.stack([patches[i][0][tuple(patches[i][1])] for i in chosen])
    return np.ascontiguousarray(cut.transpose(0, 2, 3, 1)), np.array([labels[i] for i in chosen], dtype=np.int64)


def _spread(image: Images, size: int) -> NDArray[np.float64]:
    """Spread of the patch at each position (top, left) of an image, from cumulative sums."""
    values = image.astype(np.float64) / 255
    variance = np.zeros((image.shape[0] - size + 1, image.shape[1] - size + 1))
    for channel in np.moveaxis(values, 2, 0):
        mean, square = (_window_means(power, size) for power in (channel, channel**2))
        variance += np.maximum(square - mean**2, 0.0) / 3
    return np.sqrt(variance)


def _window_means(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    sums = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    windows: NDArray[np.float64] = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return windows / size**2


def _choose(table: dict[str, tuple[str, ...]], split: str) -> tuple[str, ...]:
    if split not in table:
        raise ValueError(f"no split {split!r}; there are {', '.join(table)}")
    return table[split]


def _shipped(source: _Source) -> Path:
    """Path of a file in an installed package, found without importing the package."""
    spec = importlib.util.find_spec(source.package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    paths = [path for folder in folders if (path := Path(folder, source.path)).is_file()]
    if not paths:
        raise ImportError(
            "the built-in photographs come with scikit-learn and scikit-image: pip install 'edge-envs[codec]'"
        )
    return paths[0]


def read_image(path: str | Path) -> Images:
    """Read an image file as (height, width, 3) uint8; grey images get three equal channels, transparency is dropped.

    Raises:
        OSError: the file is missing or is not an image.
        ImportError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("reading a photograph needs Pillow: pip install 'edge-envs[codec]'") from error
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)
