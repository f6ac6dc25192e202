"""Presets, overrides and the one clear error, on a configuration made for the purpose."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pytest
from pydantic import Field, ValidationError, model_validator

from edge_envs.core.config import SystemConfig


class Kettle(SystemConfig):
    """A kettle."""

    volume_l: Annotated[float, Field(gt=0, le=3)] = 1.5
    """Volume [litre]; chosen: a pot of tea.
    The second line is not quoted."""
    cups: Annotated[int, Field(ge=1)] = 4
    """Cups [cups]; paper, Table I."""
    shares: tuple[Annotated[float, Field(ge=0)], ...] = (0.5, 0.5)
    """Share of each guest [-]; chosen."""
    kind: Literal["steel", "glass"] = "steel"
    """Material; chosen."""
    undocumented: float = 0.0

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "large": {"volume_l": 3.0, "cups": 9},
        "broken": {"cups": 0},
    }

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.cups > 10 * self.volume_l:
            raise ValueError(f"cups={self.cups} do not fit into volume_l={self.volume_l} [litre]")
        return self

    @cached_property
    def table(self) -> np.ndarray:
        return np.arange(3.0) * self.volume_l


def test_presets_and_overrides():
    assert Kettle.from_options("default", {}) == Kettle()
    large = Kettle.from_options("large", {"cups": 8})
    assert (large.volume_l, large.cups, large.kind) == (3.0, 8, "steel")
    assert Kettle.presets["large"] == {"volume_l": 3.0, "cups": 9}, "the preset itself is untouched"


@pytest.mark.parametrize("preset", ["Large", "larg", "", "volume_l", None, 3, ["large"], {}])
def test_unknown_preset(preset):
    with pytest.raises(
        ValueError, match=r"preset=.* does not exist; (known: default, large, broken|did you mean 'large'\?)$"
    ) as caught:
        Kettle.from_options(preset, {})
    assert repr(preset) in str(caught.value)
    assert not isinstance(caught.value, ValidationError)


def test_unknown_key():
    """An error of both kinds: frameworks retry on a TypeError that speaks of an unexpected keyword argument."""
    beside = "preset, check, render_mode, max_episode_steps"
    for key, tail in (
        ("volume", "did you mean 'volume_l'?"),
        ("zzz", f"known: volume_l, cups, shares, kind, undocumented, {beside}"),
        ("presets", "did you mean 'preset'?"),
        ("table", f"known: volume_l, cups, shares, kind, undocumented, {beside}"),
    ):
        for kind in (TypeError, ValueError):
            with pytest.raises(kind) as caught:
                Kettle.from_options("default", {key: 1})
            assert str(caught.value) == f"unexpected keyword argument {key!r}; {tail}"
            assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(ValueError, match="cups=0") as caught:
        Kettle.from_options("default", {"cups": 0})
    assert not isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"volume_l": 0}, "volume_l=0 is not possible: Input should be greater than 0 (Volume [litre]; chosen: a pot"),
        ({"volume_l": 4.0}, "volume_l=4.0 is not possible: Input should be less than or equal to 3 (Volume [litre]"),
        ({"volume_l": "big"}, "volume_l='big' is not possible"),
        ({"volume_l": None}, "volume_l=None is not possible"),
        ({"volume_l": float("nan")}, "volume_l=nan is not possible: Input should be a finite number (Volume [litre]"),
        ({"volume_l": float("inf")}, "volume_l=inf is not possible: Input should be a finite number"),
        (
            {"cups": 0},
            "cups=0 is not possible: Input should be greater than or equal to 1 (Cups [cups]; paper, Table I",
        ),
        ({"cups": 2.5}, "cups=2.5 is not possible"),
        ({"shares": (0.1, -0.2)}, "shares[1]=-0.2 is not possible: Input should be greater than or equal to 0 (Share"),
        ({"shares": (float("nan"),)}, "shares[0]=nan is not possible: Input should be a finite number"),
        ({"shares": 3}, "shares=3 is not possible"),
        ({"kind": "wood"}, "kind='wood' is not possible: Input should be 'steel' or 'glass' (Material; chosen"),
        ({"cups": 16}, "cups=16 do not fit into volume_l=1.5 [litre]"),
        ({"undocumented": "x"}, "undocumented='x' is not possible"),
    ],
)
def test_impossible_values(options, words):
    with pytest.raises(ValueError, match=r"cups|volume_l|shares|kind|undocumented") as caught:
        Kettle.from_options("default", options)
    assert words in str(caught.value)
    assert "second line" not in str(caught.value)
    assert not isinstance(caught.value, ValidationError)
    assert caught.value.__cause__ is None


def test_all_problems_are_named_at_once():
    with pytest.raises(
        ValueError, match=r"volume_l=-1 .*; .*shares\[0\]=-2 .*; .*unexpected keyword argument 'zzz'"
    ) as caught:
        Kettle.from_options("default", {"volume_l": -1, "shares": [-2], "zzz": 0})
    assert isinstance(caught.value, TypeError)


def test_a_broken_preset_is_an_error_too():
    with pytest.raises(ValueError, match="cups=0 is not possible"):
        Kettle.from_options("broken", {})
    assert Kettle.from_options("broken", {"cups": 3}).cups == 3


def test_configurations_cannot_be_changed():
    config = Kettle()
    with pytest.raises(ValidationError, match="frozen"):
        config.cups = 5  # type: ignore[misc]


def test_equality_and_hash_look_at_parameters_only():
    one, other = Kettle(), Kettle()
    assert one.table is not other.table, "both are cached now"
    assert one == other
    assert hash(one) == hash(other)
    assert one != Kettle(cups=5)
    assert one != "a kettle"
    assert {one: 1}[other] == 1

    class Pot(Kettle):
        """Not the same thing."""

    assert Pot() != Kettle()


def test_json_and_pickle():
    config = Kettle(shares=(0.25, 0.75))
    _ = config.table
    options = json.loads(config.model_dump_json())
    assert set(options) == set(Kettle.model_fields)
    assert Kettle.from_options("default", options) == config
    copied = pickle.loads(pickle.dumps(config))
    assert copied == config
    np.testing.assert_array_equal(copied.table, config.table)


class Renamed(SystemConfig):
    """A configuration with a field that had another name."""

    presets = {"default": {}, "long": {"frame_s": 2.0}}  # noqa: RUF012
    renamed = {"frame": "frame_s"}  # noqa: RUF012
    frame_s: float = 1.0
    """Length of a frame [s]; chosen."""


def test_an_earlier_name_still_works_with_a_warning():
    with pytest.warns(DeprecationWarning, match="frame is now called frame_s") as record:
        assert Renamed.from_options("long", {"frame": 3.0}).frame_s == 3.0
    assert record[0].filename == __file__  # Python shows deprecations of the main module only
    with pytest.raises(ValueError, match=r"unexpected keyword argument 'frames'; did you mean 'frame_s'\?"):
        Renamed.from_options("default", {"frames": 3.0})
    with pytest.raises(ValueError, match="frame is the earlier name of frame_s; give frame_s only"):
        Renamed.from_options("default", {"frame": 3.0, "frame_s": 3.0})


def test_earlier_names_still_import():
    from edge_envs.core import checking, config, invariants

    with pytest.warns(DeprecationWarning, match="WingConfig is now SystemConfig"):
        assert config.WingConfig is SystemConfig
    assert checking.BrokenInvariant is invariants.BrokenInvariant
    with pytest.raises(AttributeError, match="no attribute 'Wing'"):
        _ = config.Wing
