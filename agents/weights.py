"""Tensors from files of `torch.save`: judged before torch reads them, for torch makes whatever a file announces."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from typing import Any, NamedTuple

import torch

from agents.archives import Archive, shown
from agents.pickles import PICKLE_MAX_BYTES, Made, Name, Stored, check_names, read_inert

POLICY_MAX_BYTES = 1 << 27
TABLES = ("dict", "collections.OrderedDict")
STATE_DICT = re.compile(r"dict|collections\.OrderedDict|torch\._utils\._rebuild_tensor_v2|torch\.\w+Storage", re.ASCII)


class Tensor(NamedTuple):
    """A tensor as policy.pth announces it."""

    shape: tuple[int, ...]
    member: str
    """The number of its storage, which is the name of a member below data/."""


def announced_tensors(archive: Archive) -> tuple[str, dict[str, Tensor]]:
    """The folder within policy.pth, and the tensors that it announces, by their names.

    Every tensor must be a whole contiguous storage of float32, so that no shape takes more room than the file has.

    Raises:
        ValueError: anything else than a state_dict as `torch.save` writes one today.
    """
    pickles = [name for name in archive.names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise ValueError("member 'policy.pth' is no file of torch.save: it needs one data.pkl")
    folder = pickles[0].partition("/")[0]
    if f"{folder}/byteorder" in archive.names and archive.read(f"{folder}/byteorder", 16) != b"little":
        raise ValueError("member 'policy.pth' has another byte order than little")
    told = "member 'policy.pth'"
    try:
        read = read_inert(archive.read(pickles[0], PICKLE_MAX_BYTES))
    except ValueError as error:
        raise ValueError(f"{told} {error}") from error
    check_names(read, STATE_DICT, told)
    rebuilt = [made for made in read.made if made.function not in TABLES]
    table = read.value
    if not isinstance(table, Made) or table.function not in TABLES or table.arguments != () or len(table.content) % 2:
        raise ValueError(f"{told} is no table of tensors")
    names, values = table.content[::2], table.content[1::2]
    if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise ValueError(f"{told} has names that are no text, or a name twice")
    # What is called and then dropped would be called all the same.
    if {id(made) for made in rebuilt} != {id(value) for value in values} or len(rebuilt) != len(values):
        raise ValueError(f"{told} makes other things than the tensors of its table, each once")
    announced = {name: _announced(name, value) for name, value in zip(names, values, strict=True)}
    if len({tensor.member for tensor in announced.values()}) != len(announced):
        raise ValueError(f"{told} has tensors that share their storage")
    return folder, announced


def _announced(name: str, made: Made) -> Tensor:
    """A tensor from the arguments of torch's `_rebuild_tensor_v2`.

    Raises:
        ValueError: not the whole of a contiguous storage of float32.
    """
    told = f"tensor {shown(name)} of policy.pth"
    match made:
        case Made(
            arguments=(
                Stored(("storage", Name(kind), str(member), str(place), int(count))),
                0, tuple(shape), tuple(strides), False, Made("collections.OrderedDict", (), [], []),
            ), content=[], states=[],
        ):  # fmt: skip
            pass
        case _:
            raise ValueError(f"{told} is not stored as torch.save stores one")
    if kind != "torch.FloatStorage":
        raise ValueError(f"{told} is of {kind.removeprefix('torch.').removesuffix('Storage')}, not of float32")
    if not re.fullmatch(r"(cpu|cuda|mps|xpu)(:\d{1,3})?", place, re.ASCII):
        raise ValueError(f"{told} lies on {shown(place)}, not on the CPU")
    if not all(type(size) is int and 0 < size <= POLICY_MAX_BYTES for size in (*shape, *strides)) or len(shape) > 2:
        raise ValueError(f"{told} has no shape or strides that a layer could have")
    expected: list[int] = []
    length = 1
    for size in reversed(shape):
        expected.insert(0, length)
        length *= size
    if list(strides) != expected or length != count:
        raise ValueError(f"{told} has shape {shape} and strides {strides} over {count} values, and is not contiguous")
    return Tensor(shape, member)


def read_tensors(archive: Archive, folder: str, announced: dict[str, Tensor]) -> dict[str, torch.Tensor]:
    """The announced tensors, by torch's own reader of weights.

    Torch gets an archive of only those members that were judged here, for it reads zip files in its own way.

    Raises:
        ValueError: tensors that are not what was announced, or values that are not finite.
    """
    members = {"data.pkl": archive.read(f"{folder}/data.pkl", PICKLE_MAX_BYTES), "version": b"3\n"}
    for name, tensor in announced.items():
        content = archive.read(f"{folder}/data/{tensor.member}", POLICY_MAX_BYTES)
        if len(content) != 4 * torch.Size(tensor.shape).numel():
            raise ValueError(f"tensor {shown(name)} of policy.pth has {len(content)} bytes for shape {tensor.shape}")
        members[f"data/{tensor.member}"] = content
    judged = io.BytesIO()
    with zipfile.ZipFile(judged, "w") as copied:
        for name, content in members.items():
            copied.writestr(f"archive/{name}", content)
    judged.seek(0)
    try:
        tensors: dict[str, Any] = torch.load(judged, weights_only=True, map_location="cpu")
    except (
        pickle.UnpicklingError, RuntimeError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError,
        EOFError,
    ) as error:  # fmt: skip
        raise ValueError(f"member 'policy.pth' is refused by torch ({type(error).__name__})") from error
    for name, tensor in announced.items():
        value = tensors[name]
        kind = (type(value), value.layout, value.device.type, value.dtype, tuple(value.shape))
        if kind != (torch.Tensor, torch.strided, "cpu", torch.float32, tensor.shape):
            raise ValueError(f"tensor {shown(name)} of policy.pth is not what it announces")
        if not torch.isfinite(value).all():
            raise ValueError(f"tensor {shown(name)} of policy.pth holds values that are not finite")
    return {name: tensors[name] for name in announced}
