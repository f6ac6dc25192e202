"""Options as key=value."""

from __future__ import annotations

import math
import sys

import pytest

from agents.command_line import parse_options, plain_id


def test_values_are_json_where_they_parse():
    pairs = [
        "a=1", "b=2.5", "c=true", "d=null", 'e=["x", "y@32"]', "f=text", 'g="quoted"', "h=1e-3", "i=-4", "j=",
        "k=a=b", "l= 3 ", "m=True", "n=01", 'o={"p": 1}', "q=mobile",
    ]  # fmt: skip
    assert parse_options(pairs) == {
        "a": 1, "b": 2.5, "c": True, "d": None, "e": ["x", "y@32"], "f": "text", "g": "quoted", "h": 1e-3, "i": -4,
        "j": "", "k": "a=b", "l": 3, "m": "True", "n": "01", "o": {"p": 1}, "q": "mobile",
    }  # fmt: skip
    assert type(parse_options(["a=1"])["a"]) is int
    assert math.isnan(parse_options(["a=NaN"])["a"])  # refused later, by the configuration
    assert parse_options([]) == {}


@pytest.mark.parametrize("pair", ["", "novalue", "=3", "="])
def test_what_is_no_pair_is_named(pair):
    with pytest.raises(ValueError, match="is not of the form key=value") as caught:
        parse_options(["a=1", pair])
    assert repr(pair) in str(caught.value)


def test_a_key_twice_is_refused():
    with pytest.raises(ValueError, match="'a' twice"):
        parse_options(["a=1", "b=2", "a=1"])


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 100_000])
def test_json_beyond_the_parsers_limits_is_text(text):
    assert parse_options([f"a={text}"]) == {"a": text}


def test_plain_id_imports_the_module_in_front(tmp_path, monkeypatch):
    (tmp_path / "own_module_of_a_user.py").write_text("imported = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert plain_id("LyaPPO-v0") == plain_id("edge_envs:LyaPPO-v0") == "LyaPPO-v0"
    assert plain_id("own_module_of_a_user:Own-v0") == "Own-v0"
    assert sys.modules["own_module_of_a_user"].imported
    for wrong in ("no_such_module:Own-v0", ".relative:Own-v0"):
        with pytest.raises(ValueError, match=rf"env='{wrong}' names the module .* which cannot be imported"):
            plain_id(wrong)
