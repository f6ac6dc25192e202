"""Hypothesis strategies over configurations and actions, made from the fields of a configuration and its spaces."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from gymnasium import spaces
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from edge_envs.core.config import SystemConfig

Options = dict[str, Any]
THOROUGH = os.environ.get("EDGE_ENVS_PROPERTIES") == "thorough"
"""If set, tests try 20 times as many examples."""
LARGEST_DRAWN: dict[str, int] = {
    "num_devices": 6, "num_users": 6, "num_aps": 3, "num_subchannels": 5, "num_services": 3, "num_antennas": 4,
    "num_elements": 8, "slots_per_period": 12, "queue_capacity": 2048, "calibration_rounds": 30, "phase_samples": 20,
    "relaxation_iterations": 60, "phase_passes": 2, "sweeps": 8, "power_iterations": 12,
}  # fmt: skip
"""What time and memory go by is drawn small."""
COUNT_DRAWN = 1000
SEED_DRAWN = 2**70
DECADES = 2.0
"""Magnitudes are drawn over so many decades on both sides of the default."""
LEVEL_DB = 30.0
"""Levels are drawn so far on both sides of the default [dB]."""
LONGEST = 4
LEFT_OUT = ("cvxpy",)
"""Values that take seconds a step."""
NETWORKS = ("resnet18@40", "alexnet@64", "vgg12@32", "nin@32", "ds-cnn", "tiny-yolov2-cifar@32", "squeezenet1.1@32x48")


def effort(examples: int) -> settings:
    """Seeded settings, alike on every machine, for so many examples; 20 times as many when thorough."""
    return settings(
        max_examples=examples * (20 if THOROUGH else 1), derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


@dataclass
class Bounds:
    """Limits of a number or of a length, None without one; open where they are not part of the range."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    min_length: int | None = None
    max_length: int | None = None

    @classmethod
    def of(cls, metadata: Iterable[Any]) -> Bounds:
        """Limits in what pydantic keeps of `Field(...)`."""
        found = cls()
        for each in metadata:
            limits = cls.of(each.metadata) if isinstance(each, FieldInfo) else each
            if isinstance(limits, (cls, Ge, Gt, Le, Lt, MinLen, MaxLen)):
                for field in fields(cls):
                    limit = getattr(limits, field.name, None)
                    if limit is not None:
                        setattr(found, field.name, limit)
        return found

    @property
    def least(self) -> float:
        """Smallest float allowed."""
        return math.nextafter(self.gt, math.inf) if self.gt is not None else -math.inf if self.ge is None else self.ge

    @property
    def most(self) -> float:
        """Largest float allowed."""
        return math.nextafter(self.lt, -math.inf) if self.lt is not None else math.inf if self.le is None else self.le

    def clipped(self, value: float) -> float:
        """The nearest float allowed."""
        return min(max(value, self.least), self.most)


@dataclass
class Shape:
    """A field's type without its annotations, and what these say."""

    kind: Any
    bounds: Bounds
    parts: tuple[Any, ...]
    default: Any = None

    @classmethod
    def of(cls, annotation: Any, metadata: Iterable[Any] = (), default: Any = None) -> Shape:
        """Take an annotation apart."""
        said = list(metadata)
        while get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            said += more
        kind = get_origin(annotation) or annotation
        return cls(Union if kind is UnionType else kind, Bounds.of(said), get_args(annotation), default)

    def inner(self) -> list[Shape]:
        """Shapes of the alternatives of a union, or of the entries of a tuple (one for all of an open one)."""
        parts = [part for part in self.parts if part is not Ellipsis]
        defaults = [self.default] * len(parts)
        if self.kind is tuple and isinstance(self.default, tuple) and self.default:
            defaults = list(self.default[: len(parts)])
        return [
            Shape.of(part, default=default)
            if get_origin(part) is Annotated or self.kind is tuple
            else Shape(get_origin(part) or part, self.bounds, get_args(part), default)
            for part, default in zip(parts, defaults, strict=True)
        ]


def shape_of(config: type[SystemConfig], name: str) -> Shape:
    """The shape of a field."""
    field = config.model_fields[name]
    return Shape.of(field.annotation, field.metadata, field.default)


def numbers(bounds: Bounds, default: Any) -> st.SearchStrategy[float]:
    """Numbers of the default's order of magnitude, or anything where the range is small."""
    centre = float(default) if isinstance(default, (int, float)) else bounds.clipped(1.0)
    if bounds.least >= 0.0 and bounds.most <= 1.0:
        usual = st.floats(bounds.least, bounds.most).map(lambda value: bounds.clipped(float(f"{value:.4g}")))
    elif bounds.least < 0.0:
        usual = st.floats(-LEVEL_DB, LEVEL_DB).map(lambda shift: bounds.clipped(round(centre + shift, 2)))
    else:
        powers = st.floats(-DECADES, DECADES)
        usual = powers.map(lambda power: bounds.clipped(float(f"{(centre or 1.0) * 10.0**power:.4g}")))
    return st.sampled_from([centre, bounds.clipped(0.0)]) | usual if bounds.least <= 0.0 else usual


def ends(name: str, shape: Shape) -> st.SearchStrategy[Any]:
    """The least and the largest value of a number; sizes stay small."""
    low, high = shape.bounds.least, shape.bounds.most
    if shape.kind is int:
        low = max(low, 0)
        high = min(high, LARGEST_DRAWN.get(name, SEED_DRAWN if name.endswith("seed") else COUNT_DRAWN))
        return st.sampled_from([int(low), int(high)])
    return st.sampled_from([low, high])


def valid(name: str, shape: Shape, extreme: bool = False) -> st.SearchStrategy[Any]:
    """Values that a field allows; of numbers the ends alone if `extreme`."""
    kind, bounds = shape.kind, shape.bounds
    if kind is Union:
        return st.one_of(*(valid(name, part, extreme) for part in shape.inner()))
    if kind is tuple and shape.parts[-1] is not Ellipsis:
        return st.tuples(*(valid(name, part, extreme) for part in shape.inner()))
    if kind is tuple:
        entries = valid(name, shape.inner()[0], extreme)
        longest = min(bounds.max_length or LONGEST, LONGEST)
        return st.lists(entries, min_size=bounds.min_length or 0, max_size=longest).map(tuple)
    if kind in (int, float) and extreme:
        return ends(name, shape)
    if kind is int:
        low, high = int(max(bounds.least, 0)), LARGEST_DRAWN.get(name, COUNT_DRAWN)
        return st.integers(low, int(min(bounds.most, high)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from([each.value for each in kind if each.value not in LEFT_OUT])
    simple = {NoneType: st.none(), bool: st.booleans(), str: st.sampled_from(NETWORKS)}
    if kind is float:
        return numbers(bounds, shape.default)
    return st.sampled_from([part for part in shape.parts if part not in LEFT_OUT]) if kind is Literal else simple[kind]


@st.composite
def configurations(draw: st.DrawFn, config: type[SystemConfig]) -> Options:
    """A preset at small sizes, some fields of any allowed value, and at times some at the ends of their range."""
    names = list(config.model_fields)
    options: Options = {"preset": draw(st.sampled_from(list(config.presets)))}
    small = [name for name in names if name in LARGEST_DRAWN]
    chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=8))
    for name in dict.fromkeys([*small, *chosen]):
        options[name] = draw(valid(name, shape_of(config, name)))
    if {"num_users", "num_aps"} <= options.keys():
        # The usual placement deals users evenly, so that most other numbers would be refused.
        options["num_users"] = max(1, options["num_users"] // options["num_aps"]) * options["num_aps"]
    for name in draw(st.just([]) | st.lists(st.sampled_from(names), unique=True, max_size=2)):
        options[name] = draw(valid(name, shape_of(config, name), extreme=True))
    return options


def outside(shape: Shape) -> list[Any]:
    """Numbers just beyond the limits of a number, far beyond them, and none at all."""
    low, high = shape.bounds.least, shape.bounds.most
    if shape.kind is int:
        beyond = [low - 1] if math.isfinite(low) else []
        beyond += [high + 1, 2**63, 10**30] if math.isfinite(high) else []
        return [*(int(value) for value in beyond), 1.5]
    beyond = [math.nextafter(low, -math.inf), -1e300] if math.isfinite(low) else []
    return beyond + ([math.nextafter(high, math.inf), 1e300, 10**400] if math.isfinite(high) else [])


def invalid(shape: Shape) -> list[Any]:
    """Values that a field must refuse: of another type, no number, or beyond its limits."""
    never: list[Any] = [object(), {"a": 1}, b"\xff", 1j, np.zeros((1, 2)), "no such thing", [[]], [None]]
    kind = shape.kind
    nothing = [] if kind is Union and NoneType in shape.parts else [None]
    if kind is Union:
        known = [part for part in shape.inner() if part.kind is not NoneType]
        return [*never, *(value for part in known for value in outside(part) if part.kind in (int, float))]
    if kind in (int, float):
        return [*never, *nothing, math.nan, math.inf, -math.inf, "nan", [], *outside(shape)]
    if kind is tuple:
        entry = shape.inner()[0]
        count = 1 if shape.parts[-1] is Ellipsis else len(shape.inner())
        entries = [math.nan, math.inf, *outside(entry)] if entry.kind in (int, float) else ["no@such", "alexnet@1", 3]
        lengths: list[tuple[float, ...]] = [(0.5,) * 40] if shape.bounds.max_length else []
        lengths += [()] if shape.bounds.min_length or count > 1 else []
        return [*never, *nothing, 3, *lengths, *((value,) * count for value in entries)]
    if kind is str:
        return [*never, *nothing, 3, "", "resnet18@0", "alexnet@1", "nin@" + "9" * 400, "nin@99999999999"]
    return [*never, *nothing, 2, -1, math.nan, ""]


@st.composite
def actions(draw: st.DrawFn, space: spaces.Space[Any], batch: int) -> np.ndarray:
    """A batch of actions (batch, A): a corner, or random ones with some entries at their ends."""
    if isinstance(space, spaces.MultiDiscrete):
        low, high = np.zeros_like(space.nvec), space.nvec - 1
    else:
        assert isinstance(space, spaces.Box)
        low, high = space.low, space.high
    at_ends = draw(st.sampled_from([0.0, 0.3, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (batch, *low.shape)
    inside = rng.integers(low, high + 1, shape) if low.dtype.kind == "i" else rng.uniform(low, high, shape)
    end = np.where(rng.random(shape if draw(st.booleans()) else (1, 1)) < 0.5, low, high)
    chosen: np.ndarray = np.where(rng.random(shape) < at_ends, end, inside).astype(low.dtype)
    return chosen


@st.composite
def spoilt(draw: st.DrawFn, action: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[Any, str]:
    """A valid batch of actions with something wrong in one place, and the words that the complaint must have."""
    at = draw(st.integers(0, action.size - 1))
    row, entry = divmod(at, action.shape[1])
    whole = action.dtype.kind == "i"
    where = f"action[{entry}] = "
    far = st.integers(1, 2**31) if whole else st.floats(1e-9, 1e300)
    numeric = [np.nan, np.inf, -np.inf, 0.5] if whole else [np.nan, np.inf, -np.inf]

    def put(value: Any, dtype: Any) -> np.ndarray:
        bad = action.astype(dtype)
        bad[row, entry] = value
        return bad

    exact = np.int64 if whole else np.float64
    dtypes: list[Any] = [str, complex, bool, "S3", "M8[s]"]
    kinds: list[st.SearchStrategy[tuple[Any, str]]] = [
        far.map(lambda by: (put(high[entry] + exact(by), exact), where)),
        far.map(lambda by: (put(low[entry] - exact(by), exact), where)),
        st.sampled_from(numeric).map(lambda value: (put(value, np.float64), "dtype float64" if whole else where)),
        st.sampled_from([None, "1", object(), {}, [1]]).map(lambda value: (put(value, object), "dtype object")),
        st.sampled_from(dtypes).map(lambda dtype: (action.astype(dtype), "dtype")),
        st.sampled_from([action[:, :-1], action[:, :0], np.hstack([action, action]), action[..., None], action[0]]).map(
            lambda bad: (bad, "shape")
        ),
        st.sampled_from([None, "left", object(), {}, [], 3, b"1"]).map(lambda bad: (bad, "shape")),
        st.just(([[0], *action.tolist()], "actions")),
        st.just(([[*action[0].tolist(), [1, 2]], *action[1:].tolist()], "actions")),
    ]
    return draw(st.one_of(kinds))
