"""Models trained in `VecNormalize`: imported with its statistics, they act as they did; without, they are refused."""

from __future__ import annotations

import copy
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from stable_baselines3 import PPO, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import train
from agents.hyperparameters.settings import Settings
from agents.networks.build import build_network
from agents.networks.learned_policy import member_rows
from agents.networks.normalization import PREFIX, Normalization, Statistics, normalize_observations
from agents.runs.folder import BEST, Run, RunConfig, RunError
from agents.sb3_import.importer import NOT_NORMALIZED, import_sb3
from agents.training.vec_env import WorldVecEnv
from agents.worlds import make_worlds
from edge_envs.core.wrappers import ContinuousPartition
from tests.agents.sb3_import.hostile import OPTIONS
from tests.scripts.running import ID, call

ROOT = Path(__file__).parents[3]
QUICK: dict[str, Any] = {"seed": 0, "device": "cpu"}
CASES = [
    ("ppo", "central", {}),
    ("ppo", "central", {"decision": "joint"}),
    ("ppo", "shared", {}),
    ("td3", "central", {}),
]


def config(agent: Any = "ppo", policy: Any = "central", **options: Any) -> RunConfig:
    return RunConfig(env_id=ID, options={**OPTIONS, **options}, agent=agent, policy=policy)


def system_of(setup: RunConfig) -> Any:
    return make_worlds(ID, 1, "default", setup.options).system


def trained(setup: RunConfig, **normalize: Any) -> tuple[Any, VecNormalize]:
    """A model that has learned a little in `VecNormalize`, with weights that make its actions differ."""
    if setup.policy == "shared":
        inner: Any = WorldVecEnv(make_worlds(ID, 2, "default", setup.options), shared=True, continuous=False)
    else:
        env: Any = gym.make(ID, **setup.options)
        inner = DummyVecEnv([lambda: env if setup.agent == "ppo" else ContinuousPartition(env)])
    worlds = VecNormalize(inner, **normalize)
    if setup.agent == "ppo":
        arch: Any = {"net_arch": {"pi": [8], "vf": [8]}}
        model: Any = PPO("MlpPolicy", worlds, n_steps=16, batch_size=16, n_epochs=1, policy_kwargs=arch, **QUICK)
    else:
        arch = {"net_arch": [8]}
        model = TD3("MlpPolicy", worlds, learning_starts=5, batch_size=4, buffer_size=50, policy_kwargs=arch, **QUICK)
    model.learn(64)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model, worlds


def statistics(worlds: VecNormalize) -> dict[str, Any]:
    moments: Any = worlds.obs_rms
    return {
        "mean": moments.mean.tolist(), "variance": moments.var.tolist(), "epsilon": worlds.epsilon,
        "clip_obs": worlds.clip_obs,
    }  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> tuple[Path, dict[str, Any]]:
    """A folder with a PPO zip that was trained in `VecNormalize`, and the statistics."""
    folder = tmp_path_factory.mktemp("saved")
    model, worlds = trained(config())
    model.save(folder / "model")
    worlds.save(str(folder / "vecnormalize.pkl"))
    (folder / "normalization.json").write_text(json.dumps(statistics(worlds)))
    return folder, statistics(worlds)


def error_of(action: Callable[[], Any]) -> str:
    with pytest.raises(RunError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
    return message


# Actions


@pytest.mark.parametrize(("agent", "policy", "options"), CASES)
@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_actions_are_those_of_stable_baselines3(tmp_path, agent, policy, options, suffix):
    """On 100 observations, some of which are clipped, through a run folder."""
    setup = config(agent, policy, **options)
    model, worlds = trained(setup, clip_obs=1.5, epsilon=1e-4)
    model.save(tmp_path / "model")
    file, values = tmp_path / f"file.{suffix}", statistics(worlds)
    if suffix == "json":
        file.write_text(json.dumps(values))
    else:
        save_file({name: np.asarray(value, dtype=np.float64) for name, value in values.items()}, file)
    system = system_of(setup)
    made, network = import_sb3(tmp_path / "model.zip", setup, system, file)
    run = Run.create(made, tmp_path / "run")
    run.save_network(network, BEST)
    space: Any = model.observation_space
    space.seed(0)
    observations = np.stack([space.sample() for _ in range(100)])
    normalized: Any = worlds.normalize_obs(observations)
    assert (np.abs(normalized) == 1.5).any()
    expected, _ = model.predict(normalized, deterministic=True)
    np.testing.assert_array_equal(network.predict(observations, deterministic=True)[0], expected)
    assert (model.predict(observations, deterministic=True)[0] != expected).any()  # it matters
    with torch.no_grad():
        features: Any = Normalization(Statistics.checked(values, observations.shape[1]))(torch.tensor(observations))
    np.testing.assert_array_equal(features.numpy(), normalized)
    whole = np.stack([system.observation_space.sample() for _ in range(100)])
    rows = member_rows(system, whole) if policy == "shared" else whole
    expected, _ = model.predict(worlds.normalize_obs(rows), deterministic=True)
    if agent == "td3":
        expected = ContinuousPartition(gym.make(ID, **setup.options)).action(expected)
    ours, _ = Run.open(run.path).load_policy(system).predict(whole)
    np.testing.assert_array_equal(ours, expected.reshape(100, -1))


def test_a_copy_of_a_network_normalizes_too():
    setup = config("td3")
    system = system_of(setup)
    network = build_network("td3", "central", Settings(hidden=(8,)), system)
    size = system.observation_space.shape[0]
    observation = system.observation_space.sample()
    before, _ = network.predict(observation, deterministic=True)
    normalize_observations(network, {"mean": [3.0] * size, "variance": [0.25] * size})
    after, _ = network.predict(observation, deterministic=True)
    assert (after != before).any()
    np.testing.assert_array_equal(copy.deepcopy(network).predict(observation, deterministic=True)[0], after)


def test_closed_choices_are_read_from_raw_observations():
    """With a mean of 1, an open choice is at 0 after the normalisation, and would be closed by it."""
    system: Any = make_worlds("ECCNOMA-v0", 1, "default", {}).system
    network: Any = build_network("ppo", "central", Settings(hidden=(8,)), system)
    size = system.observation_space.shape[0]
    observation = make_worlds("ECCNOMA-v0", 4, "default", {}).reset(seed=0)[0]
    tensor = torch.as_tensor(observation)
    before = network.open_choices(tensor)
    normalize_observations(network, {"mean": [1.0] * size, "variance": [1.0] * size})
    probabilities = network.get_distribution(tensor).each.probs
    assert (~before).any()
    assert ((probabilities > 0) == before).all()


# What a zip tells


def test_a_ppo_zip_from_vec_normalize_needs_its_statistics(saved):
    folder, _ = saved
    setup = config()
    message = error_of(lambda: import_sb3(folder / "model.zip", setup, system_of(setup)))
    assert "it was trained in VecNormalize" in message
    assert "--normalization FILE" in message
    import_sb3(folder / "model.zip", setup, system_of(setup), folder / "normalization.json")
    _, network = import_sb3(folder / "model.zip", setup, system_of(setup), NOT_NORMALIZED)
    assert not any(name.startswith(PREFIX) for name in network.state_dict())


def test_rewards_alone_normalized(tmp_path):
    """`VecNormalize` without normalised observations looks like one with them, so that it must be stated."""
    setup = config()
    model, _ = trained(setup, norm_obs=False)
    model.save(tmp_path / "model")
    assert "(norm_obs=False)" in error_of(lambda: import_sb3(tmp_path / "model.zip", setup, system_of(setup)))
    _, network = import_sb3(tmp_path / "model.zip", setup, system_of(setup), NOT_NORMALIZED)
    observations = np.stack([model.observation_space.sample() for _ in range(100)])
    expected, _ = model.predict(observations, deterministic=True)
    np.testing.assert_array_equal(network.predict(observations, deterministic=True)[0], expected)


def test_statistics_for_a_zip_from_elsewhere(tmp_path, saved):
    setup = config()
    model = PPO("MlpPolicy", gym.make(ID, **OPTIONS), n_steps=16, batch_size=16, **QUICK)
    model.learn(16)
    model.save(tmp_path / "model")
    file = saved[0] / "normalization.json"
    message = error_of(lambda: import_sb3(tmp_path / "model.zip", setup, system_of(setup), file))
    assert "it was trained without VecNormalize" in message
    assert f"--normalization {file} does not apply; omit it" in message


def test_an_off_policy_zip_tells_nothing(tmp_path):
    """The plain JSON of both is the same, apart from times and addresses: that is why a note is all there is."""
    documents = []
    for inside in (False, True):
        env: Any = DummyVecEnv([lambda: ContinuousPartition(gym.make(ID, **OPTIONS))])
        model = TD3("MlpPolicy", VecNormalize(env) if inside else env, learning_starts=5, buffer_size=50, **QUICK)
        model.learn(8)
        model.save(tmp_path / "model")
        with zipfile.ZipFile(tmp_path / "model.zip") as archive:
            document = json.loads(archive.read("data"), object_hook=without_serialized)
        del document["start_time"]
        documents.append(document)
    assert documents[0] == documents[1]
    assert documents[0]["_last_original_obs"] is not None


def without_serialized(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key != ":serialized:"}


# Files of statistics

SIZE = 31


def changed(**values: Any) -> str:
    return json.dumps({"mean": [0.0] * SIZE, "variance": [1.0] * SIZE, **values})


BAD: dict[str, tuple[str | bytes, str]] = {
    "no JSON": ("{", "it is not JSON"),
    "a list": ("[]", "it is not a JSON object"),
    "deep": ("[" * 100_000, "too deep"),
    "no text": (bytes(range(128, 256)), "codec can't decode"),
    "nothing": ("{}", "mean: Field required"),
    "no variance": (json.dumps({"mean": [0.0] * SIZE}), "variance: Field required"),
    "another name": (changed(var=[1.0]), "var: Extra inputs are not permitted, found '[1.0]'"),
    "short": (changed(mean=[0.0] * 30), "mean has 30 values, but an observation has 31"),
    "long": (changed(variance=[1.0] * 32), "variance has 32 values, but an observation has 31"),
    "a number": (changed(mean=0.0), "mean: Input should be a valid list, found '0.0'"),
    "nested": (changed(mean=[[0.0] * SIZE]), "mean.0: Input should be a valid number"),
    "text": (changed(mean=["0.0"] * SIZE), "mean.0: Input should be a valid number, found '0.0'"),
    "a boolean": (changed(mean=[True] * SIZE), "mean.0: Input should be a valid number, found 'True'"),
    "NaN": (changed(mean=[0.0, float("nan")]), "mean.1: Input should be a finite number, found 'nan'"),
    "infinite": (changed(variance=[float("inf")]), "variance.0: Input should be a finite number, found 'inf'"),
    "negative": (changed(variance=[1.0, -1.0]), "variance.1: Input should be greater than or equal to 0, found '-1.0'"),
    "no variance and no epsilon": (changed(variance=[0.0] * SIZE, epsilon=0.0), "divides by 0"),
    "a negative epsilon": (
        changed(epsilon=-1e-8),
        "epsilon: Input should be greater than or equal to 0, found '-1e-08'",
    ),
    "nothing is left": (changed(clip_obs=0.0), "clip_obs: Input should be greater than 0, found '0.0'"),
    "no clipping": (changed(clip_obs=1e39), "clip_obs: Input should be less than or equal to 1000"),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD.keys())
def test_impossible_statistics(tmp_path, saved, content, words):
    file, setup = tmp_path / "file.json", config()
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    message = error_of(lambda: import_sb3(saved[0] / "model.zip", setup, system_of(setup), file))
    assert message.startswith(f"--normalization {file}: ")
    assert words in message
    assert "give a JSON or .safetensors file with mean and variance" in message


def test_files_that_are_none(tmp_path, saved, monkeypatch):
    setup, file = config(), tmp_path / "file.safetensors"
    cases: dict[str, tuple[Callable[[], Any], str]] = {
        "missing": (lambda: None, "No such file"),
        "JSON": (lambda: file.write_text(changed()), "not a safetensors file"),
        "short": (lambda: save_file({"mean": np.zeros(3), "variance": np.zeros(3)}, file), "mean has 3 values"),
        "folder": (lambda: (file.unlink(), file.mkdir()), "not a regular file"),
    }
    for what, (make, words) in cases.items():
        make()
        message = error_of(lambda: import_sb3(saved[0] / "model.zip", setup, system_of(setup), file))
        assert words in message, what
    monkeypatch.setattr("agents.networks.normalization.FILE_MAX_BYTES", 100)
    file = saved[0] / "normalization.json"
    assert "larger than 100 bytes" in error_of(
        lambda: import_sb3(saved[0] / "model.zip", setup, system_of(setup), file)
    )


def test_defaults_are_those_of_vec_normalize():
    worlds = VecNormalize(DummyVecEnv([lambda: gym.make(ID, **OPTIONS)]))
    read = Statistics.checked({"mean": [0.0], "variance": [1.0]}, 1)
    assert (read.epsilon, read.clip_obs) == (worlds.epsilon, worlds.clip_obs)


def test_a_model_file_with_impossible_statistics(tmp_path, saved):
    setup = config()
    made, network = import_sb3(saved[0] / "model.zip", setup, system_of(setup), saved[0] / "normalization.json")
    run = Run.create(made, tmp_path / "run")
    run.save_network(network, BEST)
    honest = load_file(run.path / BEST)
    bad = {
        "variance": honest[f"{PREFIX}variance"] - 100.0, "mean": honest[f"{PREFIX}mean"][:-1],
        "epsilon": np.array(np.nan), "clip_obs": np.array(0.0), "surprise": np.zeros(1),
    }  # fmt: skip
    for name, array in bad.items():
        save_file({**honest, PREFIX + name: np.ascontiguousarray(array)}, run.path / BEST)
        message = error_of(lambda: run.load_policy(system_of(setup)))
        assert "does not fit" in message
        assert name in message
    del honest[f"{PREFIX}variance"]
    save_file(honest, run.path / BEST)
    assert "variance: Field required" in error_of(lambda: run.load_policy(system_of(setup)))


# The command line


def test_the_command_line(tmp_path, saved, monkeypatch, capsys):
    folder, values = saved
    small = [f"{key}={value}" for key, value in OPTIONS.items()]
    asked = ("--env", ID, "--agent", "ppo", "--policy", "central", "--set", *small, "--seeds", "0")
    asked = (*asked, "--import-sb3", str(folder / "model.zip"), "--run", str(tmp_path / "run"))
    with pytest.raises(SystemExit):
        call(monkeypatch, train, *asked)
    assert "it was trained in VecNormalize" in capsys.readouterr().err
    assert call(monkeypatch, train, *asked, "--normalization", str(folder / "normalization.json")) == 0
    arrays = load_file(tmp_path / "run" / BEST)
    np.testing.assert_array_equal(arrays[f"{PREFIX}mean"], values["mean"])
    np.testing.assert_array_equal(arrays[f"{PREFIX}variance"], values["variance"])
    with pytest.raises(SystemExit):
        call(monkeypatch, train, "--env", ID, "--normalization", "x.json")
    assert "--normalization x.json can only be used with --import-sb3" in capsys.readouterr().err


def test_an_off_policy_import_says_that_it_cannot_know(tmp_path, monkeypatch, capsys):
    env = ContinuousPartition(gym.make(ID, **OPTIONS))
    TD3("MlpPolicy", env, policy_kwargs={"net_arch": [8]}, buffer_size=10, **QUICK).save(tmp_path / "model")
    small = [f"{key}={value}" for key, value in OPTIONS.items()]
    asked = ("--env", ID, "--agent", "td3", "--policy", "central", "--set", *small, "--seeds", "0")
    asked = (*asked, "--import-sb3", str(tmp_path / "model.zip"))
    for more, notes in (((), 1), (("--normalization", "none"), 0)):
        assert call(monkeypatch, train, *asked, "--run", str(tmp_path / f"run-{notes}"), *more) == 0
        assert capsys.readouterr().out.count("note: a file of --agent td3 does not record VecNormalize") == notes


def test_the_snippet_of_the_documentation(tmp_path, saved, monkeypatch):
    """It writes what an import accepts, from the file that `VecNormalize.save` wrote."""
    folder, values = saved
    text = (ROOT / "docs/runs.md").read_text()
    (snippet,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "obs_rms" in block]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vecnormalize.pkl").write_bytes((folder / "vecnormalize.pkl").read_bytes())
    env = DummyVecEnv([lambda: gym.make(ID, **OPTIONS)])
    exec(snippet, {"env": env})
    assert json.loads((tmp_path / "normalization.json").read_text()) == values
