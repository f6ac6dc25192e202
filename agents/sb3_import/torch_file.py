"""Tensors from a `policy.pth` of `torch.save`, read by `torch.load(weights_only=True)` alone."""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from typing import Any

import torch

from agents.sb3_import.zip_archive import Archive
from agents.untrusted import shown

POLICY_MAX_BYTES = 1 << 27
PICKLE_MAX_BYTES = 1 << 20
GLOBALS = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch FloatStorage"}
"""All global names that `torch.save` writes for a state_dict of float32 tensors."""


def read_state(content: bytes) -> dict[str, torch.Tensor]:
    """The tensors of a state_dict by name.

    The weights-only reader of PyTorch runs no code, but it calls `bytearray` and `torch.Tensor` with any size that a
    file gives. Therefore only the names in `GLOBALS` may occur, and sizes are compared before values are read.

    Args:
        content: the file, at most `POLICY_MAX_BYTES`.

    Raises:
        ValueError: it is not a dictionary of finite, contiguous float32 tensors with at most two dimensions and one
            storage each.
    """
    archive = Archive(content, " of policy.pth", compressed=False)
    members = {name: archive.read(name, POLICY_MAX_BYTES) for name in archive.names}
    _check_pickle(members)
    # Copy the checked members to a new archive, because PyTorch has its own way of finding the members of a zip file.
    checked = io.BytesIO()
    with zipfile.ZipFile(checked, "w") as copy:
        for name, member in members.items():
            copy.writestr(name, member)
    checked.seek(0)
    try:
        loaded: Any = torch.load(checked, weights_only=True, map_location="cpu")
    except (
        pickle.UnpicklingError, RuntimeError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError,
        EOFError,
    ) as error:  # fmt: skip
        raise ValueError(f"torch.load refuses member 'policy.pth' ({type(error).__name__})") from error
    # An OrderedDict may have attributes from the file that hide its methods.
    state: dict[str, Any] = dict(dict.items(loaded)) if isinstance(loaded, dict) else {}
    if not isinstance(loaded, dict) or not all(isinstance(name, str) for name in state):
        raise ValueError("member 'policy.pth' is not a dictionary of tensors with names")
    for name, tensor in state.items():
        if problem := _layout_problem(tensor):
            raise ValueError(f"tensor {shown(name)} of policy.pth {problem}")
    sizes = sorted(len(member) for name, member in members.items() if "/data/" in name)
    # Older versions of PyTorch trust the size in the pickle.
    if sorted(tensor.untyped_storage().nbytes() for tensor in state.values()) != sizes:
        raise ValueError("the tensors of policy.pth do not have the sizes of its members")
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"tensor {shown(name)} of policy.pth holds values that are not finite")
    return state


def _check_pickle(members: dict[str, bytes]) -> None:
    """Raise ValueError if data.pkl or the byte order is not what `torch.save` writes."""
    pickles = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise ValueError("member 'policy.pth' is not a file of torch.save: it needs one data.pkl")
    content = members[pickles[0]]
    if len(content) > PICKLE_MAX_BYTES:
        raise ValueError(f"data.pkl of policy.pth has {len(content)} bytes, more than {PICKLE_MAX_BYTES}")
    if members.get(pickles[0].replace("data.pkl", "byteorder"), b"little") != b"little":
        raise ValueError("member 'policy.pth' is not little-endian")
    try:
        opcodes = {(opcode.name, str(argument)) for opcode, argument, _ in pickletools.genops(content)}
    except ValueError as error:
        raise ValueError("data.pkl of policy.pth is damaged") from error
    for opcode, argument in sorted(opcodes):
        if opcode == "GLOBAL" and argument not in GLOBALS:
            raise ValueError(f"member 'policy.pth' holds {shown(argument)}, not only tensors of float32")
        if opcode == "PROTO" and argument != "2":
            raise ValueError(f"data.pkl of policy.pth has protocol {argument}, not 2 as torch.save writes it")


def _layout_problem(tensor: Any) -> str:
    """The problem with an entry of a state_dict, apart from its values; empty if there is none."""
    if type(tensor) is not torch.Tensor or tensor.layout != torch.strided or tensor.device.type != "cpu":
        return "is not a plain tensor"
    if tensor.dtype != torch.float32 or tensor.requires_grad:
        return f"has type {tensor.dtype} or a gradient; float32 without one is read"
    # Strides can make a large tensor of a small storage.
    whole = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == 4 * tensor.numel()
    if not whole or not 0 <= tensor.dim() <= 2:
        return f"has shape {tuple(tensor.shape)} and is not the whole of a contiguous storage, or has over 2 dimensions"
    return ""
