"""The Python of the README and of the page about the architecture runs as it stands."""

import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def test_readme_has_a_python_example():
    assert BLOCKS


@pytest.mark.parametrize("block", BLOCKS)
def test_python_block_runs(block, capsys):
    exec(compile(block, "README.md", "exec"), {})
    assert "mW per device" in capsys.readouterr().out


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    missing = [target for target in targets if not target.startswith("http") and not (ROOT / target).exists()]
    assert not missing


def test_the_system_in_one_file_runs(capsys):
    """Its episode is checked, and its rows equal the single environment, also after a reset of one row."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/architecture.md").read_text(), flags=re.DOTALL)
    try:
        exec(compile(blocks[-1], "docs/architecture.md", "exec"), {"__name__": "architecture"})
        assert capsys.readouterr().out.endswith(" s\n")
        worlds = gym.make_vec("Uplink-v0", num_envs=2, check=True)
        worlds.reset(seed=3)
        found, _ = worlds.reset(options={"reset_mask": np.array([False, True])})
        single = gym.make("Uplink-v0")
        single.reset(seed=4)
        np.testing.assert_array_equal(found[1], single.reset()[0])
    finally:
        gym.registry.pop("Uplink-v0", None)
