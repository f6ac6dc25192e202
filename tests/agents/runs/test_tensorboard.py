"""TensorBoard's files, read back: curves named alike everywhere, hyper-parameters, and the configuration as text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from agents.hyperparameters.lookup import settings_for
from agents.hyperparameters.settings import Settings
from agents.runs.folder import CONFIG, Run, RunConfig
from agents.runs.tensorboard import cut_events, event_files, event_sizes
from agents.training.trainer import train

ALIKE = {"reward", "return", "energy_j", "certificate"}
"""What every environment tells by the same name, of trainings and of validations."""
LEARNING = {"train/learning_rate", "train/loss", "rollout/ep_rew_mean", "time/env_share", "time/seconds"}
OPTIONS = {
    "LyaPPO-v0": {"num_devices": 2},
    "SemCom-v0": {"num_devices": 2},
    "DTIRS-v0": {"num_devices": 2, "num_elements": 4, "num_antennas": 2},
    "ECCNOMA-v0": {"num_users": 3, "num_aps": 2, "num_subchannels": 2},
}
SIZES = {"steps": 64, "num_envs": 4, "n_steps": 8, "batch_size": 16, "hidden": (8,)}


@pytest.fixture(scope="module", params=OPTIONS)
def run(request, tmp_path_factory):
    """A small training of each environment."""
    env_id = request.param
    found = settings_for(env_id, "ppo", "shared", "partition" if env_id == "LyaPPO-v0" else "")
    more = {"training_options": {"max_episode_steps": 5}}
    config = RunConfig(
        env_id=env_id, options={"max_episode_steps": 5, **OPTIONS[env_id]}, seed=3,
        settings=Settings(**{**found.model_dump(), **SIZES, **more}),
    )  # fmt: skip
    run = Run.create(config, tmp_path_factory.mktemp("runs") / "run")
    train(run, quiet=True)
    return run


@pytest.fixture(scope="module")
def read(run):
    accumulator = EventAccumulator(str(run.path))
    accumulator.Reload()
    return accumulator


def test_curves_are_named_alike(read):
    tags = set(read.Tags()["scalars"])
    assert tags >= LEARNING
    for group in ("training", "validation"):
        names = {tag.removeprefix(f"{group}/") for tag in tags if tag.startswith(f"{group}/")}
        assert names >= ALIKE - ({"reward"} if group == "training" else set()), group
    validated = {tag.partition("/")[2] for tag in tags if tag.startswith("validation/")}
    trained = {tag.partition("/")[2] for tag in tags if tag.startswith("training/")}
    assert trained <= validated, "an episode of a training is written under the names of the validations"
    assert {tag.partition("/")[0] for tag in tags} == {"training", "validation", "rollout", "train", "time"}


def test_hyper_parameters_are_written(run, read):
    metadata = read.summary_metadata
    start = HParamsPluginData.FromString(metadata["_hparams_/session_start_info"].plugin_data.content)
    hparams = dict(start.session_start_info.hparams.items())
    assert hparams["env_id"].string_value == run.config.env_id
    assert hparams["agent"].string_value == "ppo"
    assert hparams["seed"].number_value == 3
    assert hparams["learning_rate"].number_value == run.config.settings.learning_rate
    assert bool(hparams["anneal"].number_value) == run.config.settings.anneal
    experiment = HParamsPluginData.FromString(metadata["_hparams_/experiment"].plugin_data.content).experiment
    assert [metric.name.tag for metric in experiment.metric_infos] == ["validation/reward"]
    assert "validation/reward" in read.Tags()["scalars"]


def test_the_configuration_can_be_read(run, read):
    def table(title: str) -> dict[str, str]:
        text = read.Tensors(f"{title}/text_summary")[0].tensor_proto.string_val[0].decode()
        lines = text.splitlines()
        assert lines[:2] == [f"| {title} | |", "|---|---|"]
        return dict(line.removeprefix("| ").removesuffix(" |").split(" | ", 1) for line in lines[2:])

    assert table("run")["env_id"] == run.config.env_id
    assert table("settings")["n_steps"] == "8"
    environment = table("environment")
    for name, value in OPTIONS[run.config.env_id].items():
        assert environment[name] == str(value)
    assert len(environment) > 20
    versions = json.loads((run.path / CONFIG).read_text())["provenance"]["versions"]
    assert table("versions") == versions


def test_cutting_back(tmp_path: Path):
    first, second = tmp_path / "events.out.tfevents.1.a", tmp_path / "events.out.tfevents.2.a"
    first.write_bytes(b"0123456789")
    sizes = event_sizes(tmp_path)
    assert sizes == {first.name: 10}
    first.write_bytes(b"0123456789abc")
    second.write_bytes(b"later")
    (tmp_path / "other").write_bytes(b"mine")
    cut_events(tmp_path, {**sizes, "events.out.tfevents.0.gone": 5})
    assert event_files(tmp_path) == [first]
    assert first.read_bytes() == b"0123456789"
    cut_events(tmp_path, {first.name: 99})
    assert first.read_bytes() == b"0123456789"
    cut_events(tmp_path, {})
    assert [file.name for file in tmp_path.iterdir()] == ["other"]
