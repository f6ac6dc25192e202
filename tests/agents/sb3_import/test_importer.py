"""Stable-Baselines3's zip files: honest ones act as they did, crafted ones are refused, and nothing runs."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import DDPG, PPO, TD3
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.torch_layers import FlattenExtractor

import edge_envs  # noqa: F401  (registers the environments)
from agents.hyperparameters.settings import Settings
from agents.networks.build import blueprint
from agents.networks.masked_policy import ChoicePolicy
from agents.runs.folder import BEST, Run, RunConfig, RunError
from agents.sb3_import import importer
from agents.sb3_import.importer import import_sb3
from agents.training.trainer import build_model
from agents.training.vec_env import WorldVecEnv
from agents.worlds import make_worlds
from edge_envs.core.wrappers import ContinuousPartition
from tests.agents.sb3_import import hostile
from tests.agents.sb3_import.hostile import DATA, OPTIONS, POLICY, Members

ID = "LyaPPO-v0"
ROOT = Path(__file__).parents[3]
KINDS: dict[str, Any] = {"ppo": PPO, "ddpg": DDPG, "td3": TD3}
HIDDEN = [8, 8]
QUICK: dict[str, Any] = {"seed": 0, "device": "cpu"}


def config(agent: Any = "ppo", policy: Any = "central", env_id: str = ID, **options: Any) -> RunConfig:
    options = {**(OPTIONS if env_id == ID else {}), **options}
    return RunConfig(env_id=env_id, options=options, agent=agent, policy=policy, settings=Settings(hidden=(3,)))


def stir(model: Any) -> None:
    """Weights with which actions differ between observations; the last layers start near zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))


def trained(agent: str) -> Any:
    """A model that has learned a little, so that its file has everything that one can have."""
    env: gym.Env[Any, Any] = gym.make(ID, **OPTIONS)
    if agent == "ppo":
        arch = {"net_arch": {"pi": HIDDEN, "vf": HIDDEN}}
        model: Any = PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, policy_kwargs=arch, **QUICK)
    else:
        env = ContinuousPartition(env)
        size = env.action_space.shape[0]  # type: ignore[index]
        kind = NormalActionNoise if agent == "ddpg" else OrnsteinUhlenbeckActionNoise
        model = KINDS[agent](
            "MlpPolicy", env, learning_starts=5, batch_size=4, buffer_size=50, policy_kwargs={"net_arch": HIDDEN},
            action_noise=kind(np.zeros(size), np.ones(size)), **QUICK,
        )  # fmt: skip
    model.learn(16)
    stir(model)
    return model


@pytest.fixture(scope="module")
def zips(tmp_path_factory) -> dict[str, Members]:
    """The members of an honest file of each agent."""
    place = tmp_path_factory.mktemp("zips")
    for agent in KINDS:
        trained(agent).save(place / agent)
    return {agent: hostile.members_of((place / f"{agent}.zip").read_bytes()) for agent in KINDS}


def error_of(file: Path, setup: RunConfig) -> str:
    """The one line that an import is refused with."""
    system = make_worlds(setup.env_id, 1, setup.preset, setup.options).system
    with pytest.raises(RunError) as caught:
        import_sb3(file, setup, system)
    message = str(caught.value)
    assert "\n" not in message
    assert message.isascii()
    assert len(message) < 500
    return message


# Honest files


HONEST: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "ppo, indices": ("ppo", "central", ID, {}),
    "ppo, a box": ("ppo", "central", ID, {"decision": "joint"}),
    "ppo, members": ("ppo", "shared", ID, {}),
    "ppo, members with a box": ("ppo", "shared", ID, {"decision": "joint"}),
    "ddpg": ("ddpg", "central", ID, {}),
    "ddpg, a box": ("ddpg", "central", ID, {"decision": "joint"}),
    "td3": ("td3", "central", ID, {}),
    "td3, members": ("td3", "shared", ID, {}),
    "ppo, SemCom": ("ppo", "central", "SemCom-v0", {}),
    "td3, SemCom": ("td3", "shared", "SemCom-v0", {}),
    "ppo, DTIRS": ("ppo", "central", "DTIRS-v0", {}),
    "ddpg, DTIRS": ("ddpg", "shared", "DTIRS-v0", {}),
}


def original(agent: str, policy: str, env_id: str, options: dict[str, Any], hidden: list[int]) -> Any:
    """A model as its owner would have made it, on the single environment or on the members' view."""
    arch: Any = {"pi": hidden, "vf": hidden} if agent == "ppo" else hidden
    more: dict[str, Any] = {} if agent == "ppo" else {"buffer_size": 10}
    env: Any
    if policy == "shared":
        env = WorldVecEnv(make_worlds(env_id, 1, "default", options), shared=True, continuous=agent != "ppo")
    else:
        env = gym.make(env_id, **options)
        if agent != "ppo" and isinstance(env.action_space, gym.spaces.MultiDiscrete):
            env = ContinuousPartition(env)
    model = KINDS[agent]("MlpPolicy", env, policy_kwargs={"net_arch": arch}, **more, **QUICK)
    stir(model)
    return model


@pytest.mark.parametrize("case", HONEST.values(), ids=HONEST.keys())
def test_an_honest_file_acts_as_it_did(tmp_path, case):
    agent, policy, env_id, options = case
    setup = config(agent, policy, env_id, **options)
    hidden = [12, 7, 5] if agent == "ppo" else [12, 7]
    model = original(agent, policy, env_id, dict(setup.options), hidden)
    model.save(tmp_path / "model")
    before = (tmp_path / "model.zip").read_bytes()
    system = make_worlds(env_id, 1, "default", setup.options).system
    made, network = import_sb3(tmp_path / "model.zip", setup, system)
    assert made == setup.model_copy(update={"settings": setup.settings.model_copy(update={"hidden": tuple(hidden)})})
    assert not network.training
    space = model.observation_space
    space.seed(0)
    observations = np.stack([space.sample() for _ in range(100)])
    ours, theirs = (
        network.predict(observations, deterministic=True)[0],
        model.predict(observations, deterministic=True)[0],
    )
    np.testing.assert_array_equal(ours, theirs)
    assert len(np.unique(theirs, axis=0)) > 1
    for name, value in model.policy.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name
    assert (tmp_path / "model.zip").read_bytes() == before


@pytest.mark.parametrize("agent", KINDS)
def test_a_file_of_a_model_that_has_learned(tmp_path, zips, agent):
    (tmp_path / "model.zip").write_bytes(hostile.stored(zips[agent]))
    system = make_worlds(ID, 1, "default", OPTIONS).system
    made, network = import_sb3(tmp_path / "model.zip", config(agent), system)
    assert made.settings.hidden == (8, 8)
    run = Run.create(made, tmp_path / "run")
    run.save_network(network, BEST)
    observation, _ = make_worlds(ID, 20, "default", OPTIONS).reset(seed=0)
    theirs, _ = KINDS[agent].load(tmp_path / "model.zip").predict(observation, deterministic=True)
    ours, _ = Run.open(run.path).load_policy(system).predict(observation)
    if agent != "ppo":
        theirs = ContinuousPartition(gym.make(ID, **OPTIONS)).action(theirs)
    np.testing.assert_array_equal(ours, theirs)


def test_a_model_of_this_project_saved_by_stable_baselines3(tmp_path):
    """With closed choices, a schedule given as a function, and Stable-Baselines3's names for our policy."""
    setup = config("ppo", "central", "ECCNOMA-v0")
    worlds = WorldVecEnv(make_worlds("ECCNOMA-v0", 2, "default", {}))
    plan = blueprint("ppo", "central", setup.settings, worlds.system)
    assert plan.policy is ChoicePolicy
    model = build_model(Run(tmp_path, setup), worlds)
    stir(model)
    model.save(tmp_path / "model")
    _, network = import_sb3(tmp_path / "model.zip", setup, worlds.system)
    model.observation_space.seed(0)
    observations = np.stack([model.observation_space.sample() for _ in range(100)])
    ours, theirs = (it.predict(observations, deterministic=True)[0] for it in (network, model))
    np.testing.assert_array_equal(ours, theirs)


def test_a_linear_network_and_a_compressed_file(tmp_path):
    original("ppo", "central", ID, OPTIONS, []).save(tmp_path / "model")
    members = hostile.members_of((tmp_path / "model.zip").read_bytes())
    with hostile.zipfile.ZipFile(tmp_path / "packed.zip", "w", hostile.zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    system = make_worlds(ID, 1, "default", OPTIONS).system
    for file in ("model.zip", "packed.zip"):
        assert import_sb3(tmp_path / file, config(), system)[0].settings.hidden == ()


# Honest files that do not fit


@pytest.mark.parametrize(
    ("saved", "setup", "words"),
    [
        ("ppo", config("ddpg"), "a network of --agent ppo, not ddpg; give --agent ppo"),
        ("ddpg", config("td3"), "a network of --agent ddpg, not td3; give --agent ddpg"),
        ("td3", config("ddpg"), "a network of --agent td3, not ddpg; give --agent td3"),
        ("ppo", config("ppo", "shared"), "give the preset, parameters, --agent and --policy of its training"),
        ("ppo", config(num_devices=3), "does not fit LyaPPO-v0 with this configuration"),
        ("ppo", config(env_id="DTIRS-v0"), "does not fit DTIRS-v0 with this configuration"),
        ("ppo", config(env_id="SemCom-v0"), "does not fit SemCom-v0 with this configuration"),
        ("td3", config("td3", env_id="SemCom-v0"), "does not fit SemCom-v0 with this configuration"),
        ("ppo", config("ppo", "pooled"), "use --agent ppo, ddpg or td3 with --policy central or shared"),
        ("ppo", config("member-ppo", "pooled"), "no --agent member-ppo --policy pooled; use --agent ppo"),
        ("ppo", config("dagger", "shared"), "no --agent dagger --policy shared; use --agent ppo"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path, zips, saved, setup, words):
    (tmp_path / "model.zip").write_bytes(hostile.stored(zips[saved]))
    assert words in error_of(tmp_path / "model.zip", setup)


def test_other_activation_functions_are_refused_where_the_file_names_them(tmp_path):
    for agent, theirs, ours in (("ppo", torch.nn.ReLU, "Tanh"), ("td3", torch.nn.Tanh, "ReLU")):
        for function in (theirs, getattr(torch.nn, ours)):
            env: Any = gym.make(ID, **OPTIONS)
            env = env if agent == "ppo" else ContinuousPartition(env)
            arch = {"net_arch": [8], "activation_fn": function}
            KINDS[agent]("MlpPolicy", env, policy_kwargs=arch).save(tmp_path / "model")
            if function is theirs:
                message = error_of(tmp_path / "model.zip", config(agent))
                expected = f"torch.nn.modules.activation.{ours}, as --agent {agent} uses it"
                assert (
                    f"activation_fn 'torch.nn.modules.activation.{theirs.__name__}'; train one with {expected}"
                    in message
                )
            else:
                import_sb3(tmp_path / "model.zip", config(agent), make_worlds(ID, 1, "default", OPTIONS).system)


def test_a_features_extractor_of_somebody_else(tmp_path):
    class Doubled(FlattenExtractor):
        def forward(self, observations: torch.Tensor) -> torch.Tensor:
            return 2.0 * super().forward(observations)

    for extractor in (FlattenExtractor, Doubled):
        arguments = {"net_arch": [8], "features_extractor_class": extractor}
        PPO("MlpPolicy", gym.make(ID, **OPTIONS), policy_kwargs=arguments).save(tmp_path / "model")
        if extractor is Doubled:
            assert "its network has features_extractor_class" in error_of(tmp_path / "model.zip", config())
        else:
            import_sb3(tmp_path / "model.zip", config(), make_worlds(ID, 1, "default", OPTIONS).system)


def test_a_policy_class_of_somebody_else(tmp_path):
    class OwnPolicy(ChoicePolicy):
        pass

    PPO(OwnPolicy, gym.make(ID, **OPTIONS)).save(tmp_path / "model")
    message = error_of(tmp_path / "model.zip", config())
    assert f"its policy class is from module {__name__!r}; train one with MlpPolicy" in message


def test_zips_may_name_our_policy_by_its_first_path(tmp_path, zips):
    """Wherever the class lies today."""
    document = json.loads(zips["ppo"][DATA])
    document["policy_class"]["__module__"] = "agents.choices"
    (tmp_path / "model.zip").write_bytes(hostile.stored({**zips["ppo"], DATA: json.dumps(document).encode()}))
    import_sb3(tmp_path / "model.zip", config(), make_worlds(ID, 1, "default", OPTIONS).system)


# Files that are none


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "device", "too large", "loop"])
def test_no_file(tmp_path, monkeypatch, kind):
    file, words = tmp_path / "model.zip", "not a regular file"
    if kind == "missing":
        words = "No such file or directory); give another file with --import-sb3"
    elif kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "loop":
        file.symlink_to(file)
        words = "symbolic link"
    else:
        monkeypatch.setattr(importer, "FILE_MAX_BYTES", 100)
        file.write_bytes(bytes(101))
        words = "larger than 100 bytes"
    message = error_of(file, config())
    assert words in message
    assert str(file) in message


# Crafted files


@pytest.fixture(scope="module")
def crafted(tmp_path_factory, zips) -> tuple[Path, dict[str, str]]:
    """A folder of crafted files, and the words that each must be refused with; "imported" where it is harmless."""
    folder = tmp_path_factory.mktemp("crafted") / "below" / "below"
    folder.mkdir(parents=True)
    marker, honest = folder / "marker", zips["ppo"]
    cases = {**hostile.containers(honest), **hostile.documents(honest), **hostile.networks(honest, marker)}
    words = {}
    for number, (what, (content, expected)) in enumerate(cases.items()):
        file = f"ppo-{number:03}.zip"
        (folder / file).write_bytes(content)
        words[file] = expected
        words[f"{file}, which is"] = what
    for agent, members in zips.items():
        (folder / f"{agent}-genuine.zip").write_bytes(hostile.stored(members))
        words[f"{agent}-genuine.zip"] = "imported"
        for number, payload in enumerate(hostile.touching(marker).values()):
            (folder / f"{agent}-data-{number}.zip").write_bytes(hostile.with_payloads(members, payload))
            words[f"{agent}-data-{number}.zip"] = "imported"
    return folder, words


def listing(folder: Path) -> dict[str, int]:
    return {str(file): file.lstat().st_size for file in folder.parents[1].rglob("*")}


def test_crafted_files_are_refused_and_nothing_runs(crafted):
    folder, words = crafted
    before = listing(folder)
    escaped = [Path("/tmp/escaped"), ROOT / "escaped", ROOT.parent / "escaped", Path("escaped")]
    seen = hostile.observe(folder)
    assert seen["events"] == []
    assert listing(folder) == before  # and so there is no marker
    assert not any(path.exists() for path in escaped)
    assert len(seen["outcomes"]) > 130
    for file, message in seen["outcomes"].items():
        if words[file] == "imported":
            assert message == "imported", file
            continue
        assert words[file] in message, (file, words.get(f"{file}, which is"), message)
        assert message.startswith(f"{folder / file} cannot be imported: ")
        assert "\n" not in message
        assert message.isascii()
        assert len(message) < 500
        assert "; " in message  # what to do


def test_damaged_files_end_in_one_line_or_not_at_all(tmp_path, zips):
    """Bytes changed, dropped and added at random, within `policy.pth`, its pickle, and `data` too."""
    rng = np.random.default_rng(0)
    members, setup = zips["ppo"], config()
    system = make_worlds(ID, 1, "default", OPTIONS).system
    inner = hostile.members_of(members[POLICY])
    pickled = inner["archive/data.pkl"]
    makers: list[Any] = [
        lambda: damaged(hostile.stored(members), rng),
        lambda: hostile.stored({**members, DATA: damaged(members[DATA], rng)}),
        lambda: hostile.stored({**members, POLICY: damaged(members[POLICY], rng)}),
        lambda: hostile.with_inner(members, changed={"data.pkl": damaged(pickled, rng)}),
    ]
    reported: list[str] = []
    for number in range(600):
        (tmp_path / "model.zip").write_bytes(makers[number % len(makers)]())
        try:
            import_sb3(tmp_path / "model.zip", setup, system)
        except RunError as error:
            reported.append(str(error))
    assert 400 < len(reported) < 600
    assert all(message.isascii() and "\n" not in message and len(message) < 500 for message in reported)


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(len(content)))
    length = int(rng.integers(1, 5))
    kind = int(rng.integers(4))
    middle = (rng.bytes(length), b"", rng.bytes(length) + content[place : place + length], b"\xff" * length)[kind]
    return content[:place] + middle + content[place + length :]


def test_what_is_not_read_is_not_refused(tmp_path, zips):
    """Optimisers and other variables, whatever they hold."""
    honest, marker = zips["td3"], tmp_path / "marker"
    system = make_worlds(ID, 1, "default", OPTIONS).system
    for name in ("actor.optimizer.pth", "critic.optimizer.pth", "pytorch_variables.pth", "system_info.txt"):
        assert name in honest
        for payload in (*hostile.touching(marker).values(), hostile.stored({"../x": b""})):
            (tmp_path / "model.zip").write_bytes(hostile.stored({**honest, name: payload}))
            import_sb3(tmp_path / "model.zip", config("td3"), system)
    assert not marker.exists()


# The tests themselves


def test_stable_baselines3_itself_runs_the_payloads_and_the_recorder_sees_it(tmp_path, zips):
    markers = tmp_path / "markers"
    markers.mkdir()
    wanted = set()
    for agent, members in zips.items():
        for number, payload in enumerate(hostile.touching(markers)):
            name = f"{agent}-{number}"
            content = hostile.with_payloads(members, hostile.touching(markers / name)[payload])
            (tmp_path / f"{name}.zip").write_bytes(content)
            wanted.add(name)
    seen = hostile.observe(tmp_path, "naive")
    assert {file.name for file in markers.iterdir()} == wanted
    for event in ("pickle.find_class", "os.system", "exec", "compile", f"open {markers}"):
        assert any(name.startswith(event) for name in seen["events"]), event


def test_the_payloads_of_torch_files_work(tmp_path):
    marker = tmp_path / "marker"
    torch.load(hostile.io.BytesIO(hostile.saved(hostile.Calls(os.system, f"touch '{marker}'"))), weights_only=False)
    assert marker.exists()
    marker.unlink()
    for payload in hostile.touching(marker).values():
        pickle.loads(payload)
        assert marker.exists()
        marker.unlink()
