"""The command `python -m edge_envs.semcom.jscc`, its files, and what it says to bad input."""

import json
import math
import subprocess
import sys

import pytest
import torch
from PIL import Image

from edge_envs.core.physics.images import photograph
from edge_envs.semcom.config import SemComConfig
from edge_envs.semcom.jscc import __main__
from edge_envs.semcom.jscc.files import load_codec, save_codec
from edge_envs.semcom.jscc.networks import Codec
from edge_envs.semcom.jscc.training import Recipe
from tests.helpers import assert_interrupt_is_quiet, assert_one_line_error


def test_saved_codec_comes_back(tmp_path):
    codec = Codec(29, seed=6)
    path = tmp_path / "codec.safetensors"
    save_codec(path, codec, Recipe(steps=250), "patches")
    again = load_codec(path)
    assert again.channels == 29
    for a, b in zip(codec.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [file.name for file in tmp_path.iterdir()] == ["codec.safetensors"]


def test_file_that_is_no_codec(tmp_path):
    with pytest.raises(FileNotFoundError, match="no codec at"):
        load_codec(tmp_path / "none.safetensors")
    path = tmp_path / "codec.safetensors"
    save_codec(path, Codec(8), Recipe(), "patches")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="holds no codec of this project, or is damaged"):
        load_codec(path)


# The command


def run_command(*arguments, before=""):
    code = f"import sys; {before}; from edge_envs.semcom.jscc.__main__ import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_command_trains_measures_fits_and_writes(tmp_path):
    small = tmp_path / "small.png"
    Image.fromarray(photograph("rocket", 4)).save(small)
    out, law = tmp_path / "deep" / "out", tmp_path / "law.json"
    done = subprocess.run(
        [sys.executable, "-m", "edge_envs.semcom.jscc", "--steps", "30", "--seed", "4", "--image", str(small),
         "--out", str(out), "--coefficients", str(law)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "30/30" in done.stderr  # the progress bar
    for expected in (
        "complex symbols up",
        "encoder weights down",
        "0.302  JPEG files",
        "law (57)",
        "small.png, 106 x 160",
    ):
        assert expected in done.stdout
    document = json.loads(law.read_text())
    a, l, b, c_rho, c_s = document["psnr_law"]  # noqa: E741 (the paper's name)
    assert l == 1.0
    assert document["snr_unit"] in ("db", "linear")
    assert (document["steps"], document["seed"], document["data"]) == (30, 4, "built-in photographs")
    assert a > 0.0
    assert c_rho > 0.0
    assert c_s > 0.0
    assert math.isfinite(a * math.log(l * c_rho * 0.1 + b + (l * c_s * -30.0 if document["snr_unit"] == "db" else 0.0)))
    assert 0.0 < document["mae_db"] < 2.0
    config = SemComConfig.from_options("default", {name: document[name] for name in ("psnr_law", "snr_unit")})
    assert config.law[:5] == (a, l, b, c_rho, c_s)
    assert load_codec(out / "codec.safetensors").channels == 29
    with Image.open(out / "codec.png") as figure:
        assert figure.size == (1100, 792)
    assert sorted(path.name for path in out.iterdir()) == ["codec.png", "codec.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "abc"], "--steps 'abc' is not possible; give a whole number"),
        (["--steps", "0"], "steps=0"),
        (["--seed", "-1"], "seed=-1"),
        (["--frames", "3"], "--frames does not exist"),
        (["--rho", "2"], "rho=2.0 is not possible"),
        (["--snr-db", "nan"], "snr_db=nan"),
        (["--rho", "0.1", "--coefficients", "law.json"], "leave out --rho"),
        (["--cifar", "no/such/folder"], "no data_batch_1.bin, "),
        (["--image", "no/such/picture.png"], "no/such/picture.png"),
    ],
)
def test_bad_input_is_one_line_and_status_two(arguments, message, capsys):
    assert message in assert_one_line_error(__main__.main, arguments, capsys)


def test_folder_that_cannot_be_written_is_reported_before_training(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert "file" in assert_one_line_error(
        __main__.main, ["--out", str(tmp_path / "file" / "out"), "--steps", "1000000"], capsys
    )


@pytest.mark.parametrize("package", ["torch", "matplotlib", "PIL", "safetensors"])
def test_missing_package_names_the_extra(package):
    done = run_command("--steps", "1000000", before=f"sys.modules[{package!r}] = None")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'edge-envs[codec]'" in done.stderr


def test_interrupt_ends_quietly(monkeypatch, capsys):
    assert_interrupt_is_quiet(__main__, monkeypatch, capsys)
