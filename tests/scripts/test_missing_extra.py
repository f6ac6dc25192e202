"""The scripts without the packages of their extra: one line that says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.scripts.running import ROOT, environment

PROGRAM = """
import runpy, sys
script, missing = sys.argv[1:]

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Missing())
sys.argv = [script]
runpy.run_path(script, run_name="__main__")
"""


@pytest.mark.parametrize("script", ["train.py", "evaluate.py"])
@pytest.mark.parametrize("missing", ["tyro", "torch"])
def test_a_missing_package_is_named_with_its_extra(tmp_path, script, missing):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT / script), missing], cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == f"error: No module named {missing!r}; pip install -e '.[train]'\n"
