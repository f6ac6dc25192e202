"""Private data of the users, and held-out images with the same labels: photographs or CIFAR-10.

The built-in task is to classify from which of the five training photographs a patch was cut. The test photographs of
`edge_envs.core.physics.images` have other labels, so held-out patches come from a part of the same photographs that no
training patch touches: the band from half to three quarters of their width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.physics.images import CIFAR_CLASSES, PHOTOGRAPH_SPLITS, photograph, read_cifar10
from edge_envs.core.validation import whole_number

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

SIDE = 32
DOWNSCALES = (2, 3, 4)
COMMON_MULTIPLE = 12
"""Common multiple of the downscales: the band's borders are multiples of it, and so whole columns at every scale."""
HELD_OUT_FROM, HELD_OUT_TO = 0.5, 0.75
"""Held-out columns of each photograph, as fractions of its width."""
HELD_OUT_IMAGES = 500
MIN_SPREAD = 0.08
"""Minimum root mean square of the channels' standard deviations, for pixels from 0 to 1; rejects flat patches."""
MAX_TRIES = 10_000
HELD_OUT_STREAM, CIFAR_STREAM = 1 << 20, 1 << 21
"""Random streams above those of any user."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images (n, 32, 32, 3) uint8 and their labels (n,) from 0."""

    images: Images
    labels: Labels


@dataclass(frozen=True, eq=False)
class Data:
    """Each user's images, and the held-out images."""

    name: str
    classes: int
    users: tuple[Labelled, ...]
    held_out: Labelled


def load_data(users: int, images_per_user: int, seed: int, cifar: Path | None = None) -> Data:
    """Load the users' data; a user's images do not depend on the number of users.

    The seed determines positions in the photographs or, with a folder of CIFAR-10's binary files, the order of its
    images.

    Raises:
        ValueError: invalid numbers, more images than CIFAR-10 has, or a damaged file.
        FileNotFoundError: a file of CIFAR-10 is missing.
        ImportError: a package that ships the photographs is missing.
    """
    whole_number("users", users, 1)
    whole_number("images_per_user", images_per_user, 1)
    if cifar is not None:
        return _from_cifar(cifar, users, images_per_user, seed)
    names = PHOTOGRAPH_SPLITS["train"]
    scenes = [{scale: photograph(name, scale) for scale in DOWNSCALES} for name in names]
    own = [_patches(scenes, images_per_user, np.random.default_rng((seed, k)), False) for k in range(users)]
    held_out = _patches(scenes, HELD_OUT_IMAGES, np.random.default_rng((seed, HELD_OUT_STREAM)), True)
    return Data(f"patches of {len(names)} photographs", len(names), tuple(own), held_out)


def _from_cifar(folder: Path, users: int, each: int, seed: int) -> Data:
    images, labels = read_cifar10(folder, "train")
    if users * each > len(images):
        raise ValueError(f"{users} users with {each} images each need {users * each}, CIFAR-10 has {len(images)}")
    order = np.random.default_rng((seed, CIFAR_STREAM)).permutation(len(images))
    shares = [order[k * each : (k + 1) * each] for k in range(users)]
    tested, answers = read_cifar10(folder, "test")
    own = tuple(Labelled(images[share], labels[share]) for share in shares)
    return Data("CIFAR-10", CIFAR_CLASSES, own, Labelled(tested[:HELD_OUT_IMAGES], answers[:HELD_OUT_IMAGES]))


def _patches(scenes: list[dict[int, Images]], count: int, rng: np.random.Generator, held_out: bool) -> Labelled:
    """Patches at random positions and scales, balanced over the photographs, in random order."""
    labels = rng.permutation(np.arange(count) % len(scenes))
    patches = np.empty((count, SIDE, SIDE, 3), dtype=np.uint8)
    for i, label in enumerate(labels.tolist()):
        patches[i] = _patch(scenes[label], rng, held_out)
    return Labelled(patches, labels.astype(np.int64))


def _patch(scene: dict[int, Images], rng: np.random.Generator, held_out: bool) -> Images:
    """A patch that is not flat and lies entirely inside or entirely outside the held-out band.

    Raises:
        ValueError: no such patch was found.
    """
    width = scene[DOWNSCALES[0]].shape[1] * DOWNSCALES[0]
    borders = [int(part * width) // COMMON_MULTIPLE * COMMON_MULTIPLE for part in (HELD_OUT_FROM, HELD_OUT_TO)]
    for _ in range(MAX_TRIES):
        scale = int(rng.choice(DOWNSCALES))
        first, last = (border // scale for border in borders)
        image = scene[scale][:, first:last] if held_out else scene[scale]
        top, left = (int(rng.integers(size - SIDE + 1)) for size in image.shape[:2])
        if not held_out and first - SIDE < left < last:
            continue
        patch = image[top : top + SIDE, left : left + SIDE]
        if np.sqrt((patch / 255.0).var(axis=(0, 1)).mean()) > MIN_SPREAD:
            return patch
    raise ValueError(f"no {SIDE} x {SIDE} patch of a photograph has a spread above {MIN_SPREAD}")
