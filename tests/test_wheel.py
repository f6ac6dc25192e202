"""The wheel holds `edge_envs` alone and is enough to step every environment in an empty virtual environment."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import gymnasium as gym
import pytest

import edge_envs  # noqa: F401  (registers the ids)

ROOT = Path(__file__).parents[1]
IDS = [name for name, spec in gym.registry.items() if str(spec.entry_point).startswith("edge_envs.")]

STEP_EVERY_ID = """
import importlib.util, sys
import gymnasium as gym
import edge_envs
from edge_envs.core.policy import baselines_of, make_baseline

absent = [name for name in ("torch", "matplotlib", "cvxpy", "agents") if importlib.util.find_spec(name)]
assert not absent, absent
assert "site-packages" in edge_envs.__file__, edge_envs.__file__
for name in sys.argv[1:]:
    env = gym.make("edge_envs:" + name)
    policy = make_baseline(next(iter(baselines_of(env.unwrapped))), env.unwrapped)
    observation, _ = env.reset(seed=0)
    action, _ = policy.predict(observation)
    print(name, env.step(action)[1])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_the_package_alone(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"edge_envs"}
    assert "edge_envs/lyappo/baselines/policies.py" in names
    assert not [name for name in names if name.endswith((".nbi", ".nbc", ".stamp", ".pyc"))]


def test_wheel_steps_every_id_in_an_empty_environment(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", str(wheel)], check=True, capture_output=True, text=True)
    done = subprocess.run(
        [python, "-c", STEP_EVERY_ID, *IDS], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == IDS


def test_import_is_light():
    """Importing the package pulls in neither torch nor a plotting or optimisation library."""
    code = "import sys, edge_envs; print([m for m in ('torch', 'matplotlib', 'pygame', 'cvxpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
