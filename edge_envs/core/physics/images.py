"""Images for the wings with a neural part: photographs that installed packages ship, and CIFAR-10 where a user has it.

Nothing is downloaded. The built-in patches are cut from seven photographs inside the wheels of scikit-learn and
scikit-image, scaled down so that 32 x 32 pixels hold about as much detail as they do in CIFAR-10; flat patches (sky,
table tops) are left out, because their mean colour alone would score well. Training and test patches come from
different photographs. All images are uint8 of shape (number, height, width, 3).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "PHOTOGRAPHS",
    "PHOTOGRAPH_SPLITS",
    "photograph",
    "photograph_patches",
    "read_cifar10",
    "read_image",
]  # fmt: skip

Images: TypeAlias = NDArray[np.uint8]
Labels: TypeAlias = NDArray[np.int64]
Split: TypeAlias = Literal["train", "test"]

CIFAR_SIZE = 32
"""Height and width of a CIFAR-10 image [pixels]."""
CIFAR_CLASSES = 10
CIFAR_RECORDS = 10_000
"""Images in each of the six files."""
CIFAR_RECORD_BYTES = 1 + 3 * CIFAR_SIZE**2
"""A label, then the red, green and blue planes, row by row [bytes]."""
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
"""Name -> package and file; the place in this order is the label of a patch. Licences: CC BY 2.0 for the first two,
else public domain or CC0, motorcycle_left from the Middlebury stereo data set; see the packages' own notes."""

PHOTOGRAPH_SPLITS: dict[str, tuple[str, ...]] = {
    "train": ("china", "flower", "coffee", "motorcycle_left", "rocket"),
    "test": ("astronaut", "chelsea"),
}


def read_cifar10(path: str | Path, split: Split = "train") -> tuple[Images, Labels]:
    """CIFAR-10 from its binary version.

    Args:
        path: folder with data_batch_1.bin to data_batch_5.bin and test_batch.bin, or the folder that holds
            `cifar-10-batches-bin`.
        split: "train" (50,000 images) or "test" (10,000 images).

    Returns:
        Images (n, 32, 32, 3) uint8 and classes (n,) int64 from 0 to 9, in the order of the files.

    Raises:
        FileNotFoundError: a file is missing; the message says where to get it and where to put it.
        ValueError: an unknown split, or a file that is damaged; the message names it.
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
        raise ValueError(f"{path} has {size:,} bytes where CIFAR-10's binary files have {expected:,}: fetch it again")
    records = np.fromfile(path, dtype=np.uint8).reshape(-1, CIFAR_RECORD_BYTES)
    labels = records[:, 0].astype(np.int64)
    strange = np.flatnonzero(labels >= CIFAR_CLASSES)
    if strange.size:
        first = int(strange[0])
        raise ValueError(f"{path} is damaged: image {first} has label {labels[first]}, not 0 to {CIFAR_CLASSES - 1}")
    planes = records[:, 1:].reshape(-1, 3, CIFAR_SIZE, CIFAR_SIZE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def photograph(name: str, downscale: int = 1) -> Images:
    """One whole photograph, with every `downscale` x `downscale` pixels averaged into one.

    Returns:
        Image (height, width, 3) uint8; remainders at the right and the bottom are cut off.

    Raises:
        ValueError: an unknown name, or a downscale that leaves no pixel.
        ImportError: the package that ships it, or Pillow, is not installed.
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

    A patch's spread is the root mean square of its three channels' standard deviations, pixels counted from 0 to 1.

    Args:
        size: height and width of a patch [pixels].
        split: which photographs: `PHOTOGRAPH_SPLITS`.
        count: number of patches at random places, all places alike, overlaps allowed; None is every tile of a grid,
            without overlaps and without chance.
        downscales: the scales at which each photograph is cut.
        min_std: smallest spread of a patch, exclusive [-].
        seed: of the random places.

    Returns:
        Patches (n, size, size, 3) uint8 and labels (n,) int64, the photograph's place in `PHOTOGRAPHS`.

    Raises:
        ValueError: an unknown split, an impossible size, count or downscale, or no patch that qualifies.
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
    """Spread of the patch at each place (top, left) of an image, by differences of running sums."""
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
    """The file inside the installed package, found without importing the package."""
    spec = importlib.util.find_spec(source.package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    paths = [path for folder in folders if (path := Path(folder, source.path)).is_file()]
    if not paths:
        raise ImportError(
            "the built-in photographs come with scikit-learn and scikit-image: pip install 'edge-envs[codec]'"
        )
    return paths[0]


def read_image(path: str | Path) -> Images:
    """A picture file as (height, width, 3) uint8; grey ones get three equal channels, transparency is dropped.

    Raises:
        OSError: the file is missing or no picture.
        ImportError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("reading a photograph needs Pillow: pip install 'edge-envs[codec]'") from error
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)
