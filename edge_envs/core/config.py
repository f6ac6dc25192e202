"""Validated, frozen configurations: a preset with keyword overrides; errors name the parameter and the fix."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_envs.core.validation import nearest, one_of

Positive = Annotated[float, Field(ge=1e-30, le=1e30)]
"""A positive number within bounds that prevent overflow and underflow in products of a few such numbers."""
NonNegative = Annotated[float, Field(ge=0, le=1e30)]
Probability = Annotated[float, Field(ge=0, le=1)]
Length = Annotated[float, Field(ge=1e-3, le=1e12)]
"""A distance [m] with a finite gain for any path loss exponent."""
Bandwidth = Annotated[float, Field(ge=1.0, le=1e15)]
Exponent = Annotated[float, Field(gt=0, le=10)]
"""A path loss exponent [-]."""
EnergyCoefficient = Annotated[float, Field(ge=1e-40, le=1)]
"""Energy of a processor cycle, divided by the squared frequency [J s^2, that is W s^3]."""
GIB_MAX = 1.0
"""Largest array of one world [GiB]."""
P = TypeVar("P", bound=tuple[Any, ...])


def kernel_parameters(kind: type[P], config: BaseModel, **derived: Any) -> P:
    """The parameters of kernels as a named tuple of type `kind`.

    Fields that are not in `derived` are copied from the configuration's attribute of the same name. Numbers are
    converted to the type of the tuple's field, options with named values to their code (see `metrics.codes`).

    Raises:
        TypeError: a field of `kind` that is neither derived nor in the configuration.
    """
    types = get_type_hints(kind)
    values = dict(derived)
    for name in types.keys() - derived.keys():
        if not hasattr(config, name):
            raise TypeError(f"{kind.__name__}.{name} is neither derived nor in {type(config).__name__}")
        value = getattr(config, name)
        field = type(config).model_fields.get(name)
        options = _options(field.annotation) if field is not None else None
        if options is not None and types[name] is int:
            value = [each.value for each in options].index(value)
        values[name] = types[name](value) if types[name] in (bool, int, float) else value
    return kind(**values)


def _options(annotation: Any) -> type[Enum] | None:
    """The enum in the annotation of an option with named values; None for other annotations."""
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, Enum):
            return each
    return None


BESIDE = ("preset", "check", "render_mode", "max_episode_steps")
"""Arguments of `gym.make` that are not parameters of the configuration."""
IMPORTED = ("edge_envs", "gymnasium", "agents")
"""Packages between a user's script and a configuration."""


class UnknownParameter(TypeError, ValueError):  # noqa: N818  (published name)
    """A keyword is not a parameter.

    It is a TypeError, as for any unknown keyword in Python: frameworks then retry without their own keywords. It is
    also a ValueError, as for any other invalid option.
    """


def first_complaint(error: ValidationError) -> str:
    """Place of the first invalid value and the reason, in printable characters."""
    first = error.errors(include_url=False)[0]
    where = ascii(".".join(map(str, first["loc"])))[1:-1][:60]
    return f"{where or 'the whole'}: {first['msg'].removeprefix('Value error, ')}"


def _level_of_caller() -> int:
    """The `stacklevel` of the first caller outside these packages: Python hides deprecations of imported modules."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in IMPORTED:
        frame, level = frame.f_back, level + 1
    return level


class SystemConfig(BaseModel):
    """Base class of the environments' configurations.

    A field's docstring gives its meaning, its unit in square brackets, and its source; error messages quote it. The
    type of an option with named values is a StrEnum; the configuration stores the value as a plain string.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, use_enum_values=True,
        validate_default=True,
    )  # fmt: skip

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}
    """Name of a preset -> its values that differ from the defaults."""
    renamed: ClassVar[Mapping[str, str]] = {}
    """Earlier name of a field -> current name. Earlier names are accepted as keywords with a DeprecationWarning."""

    def __eq__(self, other: object) -> bool:
        """Return True if all parameters are equal; cached derived values are ignored."""
        return isinstance(other, SystemConfig) and type(self) is type(other) and self.model_dump() == other.model_dump()

    @classmethod
    def from_options(cls, preset: str, options: Mapping[str, Any]) -> Self:
        """The configuration of a preset, overridden by `options`.

        Raises:
            UnknownParameter: an unknown key (reported before invalid values); it is a ValueError and a TypeError.
            ValueError: an unknown preset or an invalid value; the message names the field, the value and its meaning.
        """
        one_of("preset", preset, list(cls.presets))
        try:
            return cls(**{**cls.presets[preset], **cls._current(options)})
        except ValidationError as error:
            unknown = any(problem["type"] == "extra_forbidden" for problem in error.errors(include_url=False))
            raise (UnknownParameter if unknown else ValueError)(cls._explain(error)) from None

    @classmethod
    def _current(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options with current names.

        Raises:
            ValueError: an option is given by both its earlier and its current name.
        """
        current = dict(options)
        for old, new in cls.renamed.items():
            if old in current:
                if new in current:
                    raise ValueError(f"{old} is the earlier name of {new}; give {new} only")
                warnings.warn(f"{old} is now called {new}", DeprecationWarning, stacklevel=_level_of_caller())
                current[new] = current.pop(old)
        return current

    def limit_array(self, numbers: int, number_bytes: int, *fields: str) -> None:
        """Raise ValueError if an array of one world is larger than `GIB_MAX`.

        Args:
            numbers: number of entries.
            number_bytes: size of an entry [bytes].
            fields: names of the parameters that determine the size, for the message.
        """
        size_gib = numbers * number_bytes / 2**30
        if size_gib > GIB_MAX:
            values = ", ".join(f"{name}={getattr(self, name)}" for name in fields)
            raise ValueError(f"{values} take {size_gib:.1f} GiB of memory for one world; make one of them smaller")

    def check_order(self, *ranges: tuple[str, str, str]) -> None:
        """Raise ValueError if a lower limit is above its upper limit; a range is the names of both and their unit."""
        for low, high, unit in ranges:
            lowest, highest = getattr(self, low), getattr(self, high)
            if lowest > highest:
                raise ValueError(f"{low}={lowest:g} is above {high}={highest:g}{unit and f' [{unit}]'}; swap them")

    def replace(self, **changes: Any) -> Self:
        """A validated copy with some fields changed; unlike with `model_copy`, derived values are computed again.

        Raises:
            ValueError: as in `from_options`.
        """
        return self.from_options("default", {**self.model_dump(), **changes})

    @classmethod
    def _explain(cls, error: ValidationError) -> str:
        lines = []
        for problem in error.errors(include_url=False):
            if not problem["loc"]:
                lines.append(problem["msg"].removeprefix("Value error, "))
                continue
            field = str(problem["loc"][0])
            place = field + "".join(f"[{part}]" for part in problem["loc"][1:] if isinstance(part, int))
            if problem["type"] == "extra_forbidden":
                hint = nearest(field, [*cls.model_fields, *BESIDE], cls.renamed)
                lines.append(f"unexpected keyword argument {field!r}; {hint}")
                continue
            message = problem["msg"].removeprefix("Value error, ")
            meaning = (cls.model_fields[field].description or "").split("\n")[0]
            lines.append(f"{place}={problem['input']!r} is not possible: {message} ({meaning})")
        return "; ".join(lines)


def __getattr__(name: str) -> Any:
    if name == "WingConfig":
        warnings.warn("WingConfig is now SystemConfig", DeprecationWarning, stacklevel=2)
        return SystemConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
