"""Atomic writing of files."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_envs.core.io.files import finite, write_atomically, write_json


def test_a_failed_write_leaves_the_old_file_whole(tmp_path, monkeypatch):
    file = tmp_path / "model"
    write_atomically(file, b"old")

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="Input/output"):
            write_atomically(file, b"new and longer")
    assert file.read_bytes() == b"old"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            write_atomically(file, b"new and longer")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]
    write_atomically(file, b"new")
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_json_has_null_in_place_of_nan_and_infinities(tmp_path):
    document: dict[str, Any] = {
        "a": [1.0, math.nan, (math.inf, "nan")],
        "b": {"c": -math.inf, "d": True},
        "e": np.float64(np.nan),
    }
    write_json(tmp_path / "a.json", document)
    expected = {"a": [1.0, None, [None, "nan"]], "b": {"c": None, "d": True}, "e": None}
    assert json.loads((tmp_path / "a.json").read_text()) == expected == finite(document)
    assert math.isnan(document["a"][1])
