"""Files that an attacker could hand out as trained models, and a recorder of what reading them does.

`python -m tests.agents.sb3_import.hostile FOLDER` imports every zip file of a folder under an audit hook and
prints the outcome; with `naive` after it, Stable-Baselines3 itself loads them under that hook, which executes them;
with `runs` after it, the folder is one of run folders.
"""

from __future__ import annotations

import base64
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[3]
OPTIONS: dict[str, Any] = {"num_devices": 2, "num_services": 1}
DATA, POLICY, SERIALIZED = "data", "policy.pth", ":serialized:"
Members = dict[str, bytes]


@dataclass(frozen=True)
class Entry:
    """A member of a zip file, with headers that may lie."""

    name: str
    content: bytes
    """As it stands in the file."""
    size: int | None = None
    """Size unpacked that the headers claim; None for the truth about a stored member."""
    method: int = zipfile.ZIP_STORED
    flags: int = 0
    mode: int = 0o100600
    crc: int | None = None


def raw_zip(entries: Iterable[Entry]) -> bytes:
    """A zip file written by hand, for Python's own writer refuses to lie."""
    body, directory, count = bytearray(), bytearray(), 0
    for entry in entries:
        name, size = entry.name.encode("utf-8"), len(entry.content) if entry.size is None else entry.size
        crc = zlib.crc32(entry.content) if entry.crc is None else entry.crc
        flags = entry.flags | (0 if entry.name.isascii() else 0x800)
        common = struct.pack(
            "<HHHHHIIIHH", 20, flags, entry.method, 0, 33, crc, len(entry.content), size, len(name), 0
        )  # fmt: skip
        directory += b"PK\1\2" + struct.pack("<H", 0x0314) + common
        directory += struct.pack("<HHHII", 0, 0, 0, entry.mode << 16, len(body)) + name
        body += b"PK\3\4" + common + name + entry.content
        count = (count + 1) & 0xFFFF
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + b"PK\5\6" + end)


def stored(members: Members, *more: Entry) -> bytes:
    """An honest zip file of members, and perhaps others."""
    return raw_zip([*(Entry(name, content) for name, content in members.items()), *more])


def members_of(content: bytes) -> Members:
    """The members of an honest zip file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def saved(value: Any) -> bytes:
    """What `torch.save` writes."""
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


def touching(marker: Path) -> dict[str, bytes]:
    """Pickles that make the marker file when they are loaded, by what they call."""
    shell, code = f"touch '{marker}'", f"open({str(marker)!r}, 'w').close()"
    quoted = b"S" + repr(shell).encode() + b"\n"
    return {
        "os.system": pickle.dumps(Calls(os.system, shell)),
        "os.system, protocol 2": pickle.dumps(Calls(os.system, shell), 2),
        "exec": pickle.dumps(Calls(exec, code)),
        "a constructor": pickle.dumps(Calls(Path.touch, marker)),
        "protocol 0": b"cos\nsystem\n(" + quoted + b"tR.",
        "instance": b"(" + quoted + b"ios\nsystem\n.",
        "object": b"(cos\nsystem\n" + quoted + b"o.",
        "called, then dropped": b"cos\nsystem\n(" + quoted + b"tR0N.",
    }


def with_payloads(members: Members, payload: bytes) -> bytes:
    """A zip file with a pickle in place of every one that `data` holds."""
    document = json.loads(members[DATA])
    for value in document.values():
        if isinstance(value, dict) and SERIALIZED in value:
            value[SERIALIZED] = base64.b64encode(payload).decode()
    return stored({**members, DATA: json.dumps(document).encode()})


def with_state(members: Members, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """A zip file whose policy.pth is what a change makes of its tensors; in place where it returns nothing."""
    state = torch.load(io.BytesIO(members[POLICY]), weights_only=True)
    result = change(state)
    return stored({**members, POLICY: saved(state if result is None else result)})


def dropped(state: dict[str, Any], name: str) -> None:
    """Drop a tensor, in place."""
    del state[name]


def with_inner(members: Members, *more: Entry, drop: str = "", changed: Members | None = None) -> bytes:
    """A zip file with other members in its policy.pth, by the last part of their names."""
    inner = {
        name: (changed or {}).get(name.rpartition("/")[2], content)
        for name, content in members_of(members[POLICY]).items()
        if not drop or drop not in name
    }
    return stored({**members, POLICY: stored(inner, *more)})


def zeros(mebibytes: int) -> bytes:
    """A deflate stream of the given MiB of zeros, a thousandth as long."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packer.compress(bytes(1 << 20))
    packer.flush(zlib.Z_FULL_FLUSH)
    chunk = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return chunk * mebibytes + packer.flush(zlib.Z_FINISH)


def containers(members: Members) -> dict[str, tuple[bytes, str]]:
    """Zip files that are wrong as such, and the words that they must be refused with."""
    whole, rest = stored(members), {name: content for name, content in members.items() if name != DATA}
    bomb, deflated = zeros(1024), zipfile.ZIP_DEFLATED
    small = zlib.compress(members[DATA], 9)[2:-4]
    many = [Entry(f"m{number}", b"") for number in range(100_000)]
    cases: dict[str, tuple[bytes, str]] = {
        "empty": (b"", "truncated or not a zip file"),
        "not a zip": (b"PK" + bytes(5000), "truncated or not a zip file"),
        "truncated": (whole[:-1], "truncated or not a zip file"),
        "half": (whole[: len(whole) // 2], "truncated or not a zip file"),
        "something after": (whole + bytes(100), "truncated or not a zip file"),
        "a directory elsewhere": (whole[:-10] + struct.pack("<I", 7) + whole[-6:], "is damaged"),
        "a byte flipped": (whole.replace(b"policy_class", b"policy_clasS", 1), "is damaged"),
        "100000 members": (raw_zip(many), "more than 10000 members"),
        "600 members": (stored(members, *many[:600]), "more than 512"),
        "bomb": (stored(rest, Entry(DATA, bomb, 1 << 30, deflated, crc=0)), "100 to 1"),
        "bomb as the policy": (
            stored({DATA: members[DATA]}, Entry(POLICY, bomb, 1 << 30, deflated, crc=0)), "100 to 1",
        ),
        "bomb that denies it": (stored(rest, Entry(DATA, bomb, 1000, deflated, crc=0)), "holds more than 8388608"),
        "bomb with the right sum": (
            stored(rest, Entry(DATA, bomb, 1000, deflated, crc=zlib.crc32(bytes(1000)))), "holds more than 8388608",
        ),
        "more than it claims": (
            stored(rest, Entry(DATA, small, 100, deflated, crc=zlib.crc32(members[DATA]))), "and claims 100",
        ),
        "less than it claims": (
            stored(rest, Entry(DATA, small, 60_000, deflated, crc=zlib.crc32(members[DATA]))), "and claims 60000",
        ),
        "claims 4 GB": (stored(rest, Entry(DATA, bytes(1 << 16), 0xFFFFFFF0)), "100 to 1"),
        "claims 3 GB in parts": (
            stored(members, *(Entry(f"m{part}", bytes(1 << 16), 100 << 16) for part in range(200))), "bytes unpacked",
        ),
        "too much data": (stored(rest, Entry(DATA, bytes((1 << 23) + 1))), "more than 8388608"),
        "broken stream": (stored(rest, Entry(DATA, b"\xff" * 900, 900, deflated)), "is damaged"),
        "encrypted": (stored(rest, Entry(DATA, members[DATA], flags=1)), "is encrypted"),
        "lzma": (stored(rest, Entry(DATA, bytes(50), 50, zipfile.ZIP_LZMA)), "compressed in a way"),
        "unknown method": (stored(rest, Entry(DATA, bytes(50), 50, 99)), "compressed in a way"),
        "a symlink": (stored(rest, Entry(DATA, b"/etc/passwd", mode=0o120777)), "but a link or a device"),
        "another symlink": (stored(members, Entry("log", b"/etc/passwd", mode=0o120777)), "but a link or a device"),
        "a device": (stored(members, Entry("log", b"", mode=0o020600)), "but a link or a device"),
        "twice": (stored(members, Entry(DATA, b"{}")), "member 'data' occurs twice"),
        "policy twice": (stored(members, Entry(POLICY, members[POLICY])), "member 'policy.pth' occurs twice"),
        "no data": (stored(rest), "no member 'data'"),
        "no policy": (stored({DATA: members[DATA]}), "no member 'policy.pth'"),
    }  # fmt: skip
    names = ("../escaped", "a/../../escaped", "/tmp/escaped", "..\\escaped", "C:\\escaped", "C:escaped", "data\0.pth",
             "..", "a//b", "./escaped", "new\nline", "\x1b[31mred", "é", "", "folder/")  # fmt: skip
    for name in names:
        cases[f"named {name!a}"] = (stored(members, Entry(name, b"hostile")), "no plain relative name")
    return cases


def documents(members: Members) -> dict[str, tuple[bytes, str]]:
    """Zip files with something wrong in `data`."""
    honest = json.loads(members[DATA])

    def said(content: str | bytes) -> bytes:
        return stored({**members, DATA: content if isinstance(content, bytes) else content.encode()})

    def changed(**values: Any) -> bytes:
        return said(json.dumps({**honest, **values}))

    return {
        "data cut": (said(members[DATA][:-5]), "is not JSON"),
        "data too deep": (said("[" * 100_000), "is not JSON"),
        "data with a long number": (said('{"x": ' + "9" * 5000 + "}"), "is not JSON"),
        "data that is a list": (said("[]"), "not a JSON object"),
        "data in bytes": (said(bytes(range(256))), "is not JSON"),
        "a policy class that is text": (changed(policy_class="os.system"), "policy class is from module 'unknown'"),
        "a policy class of os": (changed(policy_class={"__module__": "os"}), "policy class is from module 'os'"),
        "a module that is a list": (changed(policy_class={"__module__": ["os"]}), "policy class is from module"),
        "a deep activation": (
            said(json.dumps({**honest, "policy_kwargs": {"activation_fn": 0}}).replace(
                '"activation_fn": 0', '"activation_fn": ' + "[" * 900 + "]" * 900
            )), "activation_fn 'list'",
        ),
        "an activation without end": (
            changed(policy_kwargs={"activation_fn": "x\n\x1b[31m" * 100_000}), "activation_fn 'x\\n",
        ),
        "no word of VecNormalize": (
            said(json.dumps({key: value for key, value in honest.items() if key != "_last_original_obs"})),
            "trained in VecNormalize",
        ),
    }  # fmt: skip


def networks(members: Members, marker: Path) -> dict[str, tuple[bytes, str]]:
    """Zip files with something wrong in `policy.pth`, and the words that they must be refused with, if they must."""
    name = "action_net.weight"

    def tensor(make: Callable[[torch.Tensor], Any]) -> bytes:
        return with_state(members, lambda state: state.update({name: make(state[name])}))

    def more(value: Any) -> bytes:
        return with_state(members, lambda state: state.update(more=value))

    def layers(*nets: str, **shapes: tuple[int, int]) -> bytes:
        changed = {
            f"mlp_extractor.{net}_net.{place[1:]}.weight": torch.zeros(shape)
            for net in nets
            for place, shape in shapes.items()
        }
        return with_state(members, lambda state: state.update(changed))

    def calls(function: Any, *arguments: Any) -> bytes:
        return more(Calls(function, *arguments))

    def resized(*shape: int) -> bytes:
        storage = torch.zeros(4)._typed_storage()
        rebuild: Any = torch._utils._rebuild_tensor_v2  # type: ignore[attr-defined]
        return calls(rebuild, storage, 0, shape, (1,), False, OrderedDict())

    def legacy(state: dict[str, Any]) -> bytes:
        file = io.BytesIO()
        torch.save(state, file, _use_new_zipfile_serialization=False)
        return stored({**members, POLICY: file.getvalue()})

    def spoilt(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda weight: torch.where(torch.arange(len(weight))[:, None] == 1, value, weight)

    inner = members_of(members[POLICY])
    packed = [
        Entry(part, zlib.compress(content)[2:-4], len(content), zipfile.ZIP_DEFLATED, crc=zlib.crc32(content))
        for part, content in inner.items()
    ]
    payloads = touching(marker)
    attributes = b"}(X\x05\0\0\0itemsK\x03X\x04\0\0\0keysK\x03ub."
    state = torch.load(io.BytesIO(members[POLICY]), weights_only=True)
    return {
        **{
            f"policy.pth, {what}": (with_inner(members, changed={"data.pkl": payload}), "policy.pth")
            for what, payload in payloads.items()
        },
        "policy.pth is a pickle": (stored({**members, POLICY: payloads["os.system"]}), "truncated or not a zip file"),
        "policy.pth of an object": (
            stored({**members, POLICY: saved(Calls(os.system, f"touch '{marker}'"))}), "holds 'posix system'",
        ),
        "a nested zip": (stored({**members, POLICY: stored(members)}), "not a file of torch.save"),
        "an old torch file": (legacy(state), "truncated or not a zip file"),
        "a compressed torch file": (stored({**members, POLICY: raw_zip(packed)}), "compressed in a way"),
        "two data.pkl": (with_inner(members, Entry("other/data.pkl", inner["archive/data.pkl"])), "one data.pkl"),
        "no data.pkl": (with_inner(members, drop="data.pkl"), "one data.pkl"),
        "a data.pkl twice": (with_inner(members, Entry("archive/data.pkl", payloads["exec"])), "occurs twice"),
        "a TorchScript archive": (
            with_inner(
                members, Entry("archive/constants.pkl", payloads["os.system"]),
                Entry("archive/code/__torch__.py", b"import os\n"), Entry("version", b"3\n"),
            ), "torch.load refuses",
        ),
        "an inner path": (with_inner(members, Entry("../escaped", b"")), "no plain relative name"),
        "600 inner members": (with_inner(members, *(Entry(f"m{i}", b"") for i in range(600))), "more than 512"),
        "a large pickle": (with_inner(members, changed={"data.pkl": b"]" * ((1 << 20) + 1)}), "more than 1048576"),
        "a cut pickle": (with_inner(members, changed={"data.pkl": inner["archive/data.pkl"][:-1]}), "is damaged"),
        "an empty stack": (with_inner(members, changed={"data.pkl": b"R."}), "torch.load refuses"),
        "a storage missing": (with_inner(members, drop="data/3"), "torch.load refuses"),
        "a storage too short": (with_inner(members, changed={"3": b"1234"}), "policy.pth"),
        "a storage too long": (with_inner(members, changed={"3": bytes(1 << 16)}), "policy.pth"),
        "a storage too many": (with_inner(members, Entry("archive/data/99", bytes(64))), "sizes of its members"),
        "a big end first": (with_inner(members, changed={"byteorder": b"big"}), "not little-endian"),
        "a list": (with_state(members, lambda _: [torch.zeros(2)]), "not a dictionary of tensors"),
        "a tensor alone": (with_state(members, lambda _: torch.zeros(2)), "not a dictionary of tensors"),
        "nothing": (with_state(members, lambda _: {}), "does not hold a network of PPO"),
        "attributes in place of methods": (
            with_inner(members, changed={"data.pkl": inner["archive/data.pkl"][:-1] + attributes}), "imported",
        ),
        "names that are numbers": (with_state(members, lambda _: {1: torch.zeros(2)}), "not a dictionary of tensors"),
        "other values": (more(3), "'more' of policy.pth is not a plain tensor"),
        "a storage alone": (more(torch.zeros(2).untyped_storage()), "member 'policy.pth'"),
        "wrong shape": (tensor(lambda t: t[:, :-1].clone()), "has shape"),
        "transposed": (tensor(lambda t: t.T.contiguous()), "has shape"),
        "strided": (tensor(lambda t: t.T.contiguous().T), "contiguous storage"),
        "part of a storage": (tensor(lambda t: torch.zeros(100, t.shape[1])[: len(t)]), "contiguous storage"),
        "two views of a storage": (with_state(members, lambda t: t.update(more=t[name][:])), "sizes of its members"),
        "stride 0": (tensor(lambda t: torch.zeros(1).expand(t.shape)), "contiguous storage"),
        "stride 0, huge": (tensor(lambda t: torch.zeros(1).expand(1 << 30, 1 << 30)), "contiguous storage"),
        "larger than its storage": (resized(1 << 40), "torch.load refuses"),
        "negative": (resized(-1), "torch.load refuses"),
        "many dimensions": (tensor(lambda t: torch.zeros([1] * 60)), "over 2 dimensions"),
        "double": (tensor(torch.Tensor.double), "holds 'torch DoubleStorage'"),
        "sparse": (tensor(torch.Tensor.to_sparse), "holds 'torch LongStorage'"),
        "parameter": (tensor(torch.nn.Parameter), "holds 'torch._utils _rebuild_parameter'"),
        "a gradient": (tensor(lambda t: t.clone().requires_grad_()), "or a gradient"),
        "a large bytearray": (calls(bytearray, 1 << 40), "holds '__builtin__ bytearray'"),
        "a large tensor": (calls(torch.Tensor, 1 << 20, 1 << 20), "holds 'torch Tensor'"),
        "NaN": (tensor(spoilt(float("nan"))), "not finite"),
        "infinite": (tensor(spoilt(float("inf"))), "not finite"),
        "a tensor too many": (more(torch.zeros(1)), "'more' has shape (1,), not nothing"),
        "a tensor missing": (with_state(members, lambda t: dropped(t, name)), "does not hold a network of PPO"),
        "a bias missing": (with_state(members, lambda t: dropped(t, "value_net.bias")), "has shape nothing"),
        "a layer too wide": (layers("policy", "value", _0=(5000, 9), _2=(8, 5000)), "less than or equal to 4096"),
        "too many layers": (
            layers("policy", "value", **{f"_{2 * layer}": (8, 8) for layer in range(2, 17)}), "at most 16",
        ),
        "layers that make no chain": (layers("policy", _2=(4096, 3)), "does not fit the layer before"),
        "a layer without columns": (
            with_state(members, lambda t: t.update({"mlp_extractor.policy_net.0.weight": torch.zeros(8)})),
            "does not fit the layer before",
        ),
        "wide layers that are not there": (
            with_inner(members_of(layers("policy", "value", _2=(4096, 8), _4=(4096, 4096))), drop="/data/"),
            "torch.load refuses",
        ),
        "other widths of the values": (layers("value", _2=(5, 8)), "widths (8, 8) and (8, 5)"),
        "one layer more": (layers("policy", "value", _4=(8, 8)), "does not fit LyaPPO-v0"),
        "a network of something else": (
            with_state(members, lambda _: {"q_net.weight": torch.zeros(2, 2)}), "does not hold a network of PPO",
        ),
    }  # fmt: skip


FORBIDDEN = (
    "compile", "code.__new__", "cpython.", "ctypes.", "exec", "ftplib.", "http.", "import", "marshal.", "mmap.",
    "os.", "pickle.", "pty.", "shutil.", "signal.", "socket.", "subprocess.", "tempfile.", "urllib.",
)  # fmt: skip
"""Audit events, or the beginnings of their names, that reading tensors does not raise."""


def observe(folder: Path, *way: str) -> dict[str, Any]:
    """What the recorder sees in a process of its own: "outcomes" by file, and "events"."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, str(folder), *way],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def import_or_load(way: str) -> Callable[[Path], str]:
    """What is done with each file; "import", or "naive" for what Stable-Baselines3 does, or "runs" for run folders."""
    from stable_baselines3 import DDPG, PPO, TD3

    from agents.runs.folder import Run, RunConfig
    from agents.sb3_import.importer import import_sb3
    from agents.worlds import make_worlds

    system = make_worlds("LyaPPO-v0", 1, "default", OPTIONS).system
    kinds: dict[str, Any] = {"ppo": PPO, "ddpg": DDPG, "td3": TD3}

    def job(file: Path) -> str:
        agent: Any = file.name.partition("-")[0]
        if way == "runs":
            Run.open(file).load_policy(system)
            return "opened"
        if way == "naive":
            kinds[agent].load(file)
            return "loaded"
        import_sb3(file, RunConfig(env_id="LyaPPO-v0", options=OPTIONS, agent=agent, policy="central"), system)
        return "imported"

    def guarded(file: Path) -> str:
        try:
            return job(file)
        except Exception as error:
            if way != "naive" and type(error).__name__ != "RunError":
                raise
            return str(error)

    return guarded


def main(folder: Path, way: str = "import") -> None:
    """Do it with all of a folder; print what came of each, and what was done besides, as JSON."""
    one = import_or_load(way)
    events: list[str] = []

    def recorder(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            read = not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            # A number is a file that was opened before.
            if not (read and (isinstance(path, int) or Path(os.fsdecode(path)).is_relative_to(folder))):
                events.append(f"open {path}")
        elif event.startswith(FORBIDDEN):
            events.append(f"{event} {ascii(arguments)[:200]}")

    paths = sorted(folder.iterdir() if way == "runs" else folder.glob("*.zip"))
    for path in paths:  # what Python imports and compiles once, it does before it is watched
        if "genuine" in path.name or "honest" in path.name:
            one(path)
    sys.addaudithook(recorder)
    outcomes = {path.name: one(path) for path in paths}
    print(json.dumps({"outcomes": outcomes, "events": events}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
