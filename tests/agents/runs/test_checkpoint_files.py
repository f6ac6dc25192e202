"""Checkpoint files: exact contents, damage found wherever it is, and the one before taken."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from safetensors.numpy import save

from agents.runs import checkpoint_files
from agents.runs.checkpoint_files import Checkpoint, Checkpoints, digest, pack, unpack
from agents.runs.folder import RunError
from edge_envs.core.runtime.snapshot import Arrays

VALUES = {"steps": 17, "best": -1.5, "rows": [{"a": 0.1 + 0.2}], "none": None, "worst": -math.inf}


def example(number: int = 0) -> Checkpoint:
    rng = np.random.default_rng(number)
    arrays: Arrays = {
        "floats": rng.normal(size=(3, 4)),
        "turned": rng.normal(size=(3, 4)).astype(np.float32).T,
        "words": rng.integers(1 << 63, size=(2, 6), dtype=np.uint64),
        "bytes": rng.integers(256, size=50, dtype=np.uint8),
        "truth": np.array([True, False]),
        "number": np.array(1.5, dtype=np.float32),
        "empty": np.zeros((0, 3)),
    }
    return Checkpoint(arrays, {**VALUES, "number": number})


def same(ours: Checkpoint, theirs: Checkpoint) -> bool:
    return (
        ours.values == theirs.values
        and ours.arrays.keys() == theirs.arrays.keys()
        and all(
            (a.shape, a.dtype, a.tobytes()) == (b.shape, b.dtype, b.tobytes())
            for a, b in ((ours.arrays[name], theirs.arrays[name]) for name in ours.arrays)
        )
    )


def test_what_was_packed_comes_back_bit_for_bit():
    assert same(unpack(pack(example())), example())


def test_arrays_of_a_checkpoint_can_be_written_to():
    array = unpack(pack(example())).arrays["floats"]
    array[0] = 1.5
    assert (array[0] == 1.5).all()


def test_every_flipped_byte_is_found():
    content = pack(example())
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 0x40
        with pytest.raises(ValueError, match=r"it is damaged|it has format"):
            unpack(bytes(damaged))


def test_every_truncation_is_found():
    content = pack(example())
    for length in range(len(content)):
        with pytest.raises(ValueError, match="it is damaged"):
            unpack(content[:length])


def test_added_bytes_are_found():
    with pytest.raises(ValueError, match="it is damaged"):
        unpack(pack(example()) + b"\0")


def test_arrays_that_changed_their_names_are_found():
    arrays, values = example().arrays, json.dumps(VALUES)
    header = {"format": str(checkpoint_files.FORMAT), "values": values, "sha256": digest(arrays, values)}
    arrays["float"] = arrays.pop("floats")
    with pytest.raises(ValueError, match="digest"):
        unpack(save({name: np.asarray(array, order="C") for name, array in arrays.items()}, header))


def test_other_formats_are_refused():
    values = json.dumps(VALUES)
    with pytest.raises(RunError, match="it has format 7, and this version reads 1; resume with"):
        unpack(save({}, {"format": "7", "values": values, "sha256": digest({}, values)}))
    with pytest.raises(ValueError, match="KeyError"):
        unpack(save({"a": np.zeros(2)}))
    with pytest.raises(ValueError, match="it is damaged"):
        unpack(b"\x80\x04]\x94.")


def test_the_two_newest_are_kept(tmp_path):
    kept = Checkpoints(tmp_path / "checkpoints")
    for number in range(5):
        kept.save(example(number))
    assert [file.name for file in kept.files()] == ["checkpoint-000004.safetensors", "checkpoint-000005.safetensors"]
    again = Checkpoints(tmp_path / "checkpoints")
    found = again.newest(pytest.fail)
    assert found is not None
    assert same(found, example(4))
    again.save(example(5))
    assert [file.name for file in again.files()] == ["checkpoint-000005.safetensors", "checkpoint-000006.safetensors"]
    again.clear()
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "folder", "text"])
def test_a_damaged_one_is_reported_and_the_one_before_it_taken(tmp_path, damage):
    kept = Checkpoints(tmp_path)
    kept.save(example(1))
    newest = kept.save(example(2))
    content = newest.read_bytes()
    if damage == "folder":
        newest.unlink()
        newest.mkdir()
    else:
        flipped = content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]
        newest.write_bytes(
            {"cut": content[: len(content) // 2], "flip": flipped, "empty": b"", "text": b"{}" * 60}[damage]
        )
    messages: list[str] = []
    again = Checkpoints(tmp_path)
    found = again.newest(messages.append)
    assert found is not None
    assert same(found, example(1))
    assert len(messages) == 1
    assert messages[0].startswith(f"{newest} cannot be used: it is ")
    assert messages[0].endswith("; trying the one before it")
    if damage == "folder":
        return
    # What is known to be whole outlives the damaged one.
    again.save(example(3))
    assert [file.name for file in again.files()] == ["checkpoint-000001.safetensors", "checkpoint-000003.safetensors"]


def test_none_whole(tmp_path):
    kept = Checkpoints(tmp_path)
    assert kept.newest(pytest.fail) is None
    for number in (1, 2):
        kept.save(example(number)).write_bytes(b"")
    messages: list[str] = []
    assert Checkpoints(tmp_path).newest(messages.append) is None
    assert len(messages) == 2


def test_other_files_are_left_alone(tmp_path):
    kept = Checkpoints(tmp_path)
    for name in ("notes.txt", "checkpoint-1.safetensors", "my-checkpoint-000009.safetensors"):
        (tmp_path / name).write_text("mine")
    for number in range(4):
        kept.save(example(number))
    kept.clear()
    assert {file.name for file in tmp_path.iterdir()} == {
        "notes.txt", "checkpoint-1.safetensors", "my-checkpoint-000009.safetensors"
    }  # fmt: skip


def test_values_too_deep_to_read(tmp_path):
    values = "[" * 100_000 + "]" * 100_000
    with pytest.raises(ValueError, match="RecursionError"):
        unpack(save({}, {"format": "1", "values": values, "sha256": digest({}, values)}))


@pytest.mark.parametrize("kind", ["unreadable", "of another format"])
def test_what_is_not_damaged_is_never_passed_over(tmp_path, monkeypatch, kind):
    """A checkpoint that could be read some other day: going on from the one before would lose it."""
    kept = Checkpoints(tmp_path)
    for number in (1, 2):
        kept.save(example(number))

    def fail(*_: object) -> bytes:
        raise OSError(13, "Permission denied")

    if kind == "unreadable":
        monkeypatch.setattr(checkpoint_files, "read_capped", fail)
    else:
        monkeypatch.setattr(checkpoint_files, "FORMAT", 2)
    with pytest.raises(RunError, match="cannot be"):
        Checkpoints(tmp_path).newest(pytest.fail)
    assert len(kept.files()) == 2


def test_what_could_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_files, "LARGEST_BYTES", 100)
    with pytest.raises(RunError, match="more than 100; give a smaller buffer_size"):
        Checkpoints(tmp_path).save(example())
    assert list(tmp_path.iterdir()) == []


def test_too_large_a_file_is_not_read(tmp_path, monkeypatch):
    kept = Checkpoints(tmp_path)
    kept.save(example())
    monkeypatch.setattr(checkpoint_files, "LARGEST_BYTES", 100)
    with pytest.raises(RunError, match="cannot be used: it is larger than 100 bytes; remove it"):
        Checkpoints(tmp_path).newest(pytest.fail)


def test_a_disk_that_is_full_leaves_those_before(tmp_path, monkeypatch):
    kept = Checkpoints(tmp_path)
    kept.save(example(1))
    kept.save(example(2))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            kept.save(example(3))
    assert [file.name for file in tmp_path.iterdir() if not file.name.startswith("checkpoint-00000")] == []
    found = Checkpoints(tmp_path).newest(pytest.fail)
    assert found is not None
    assert same(found, example(2))
