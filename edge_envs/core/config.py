"""Validated, frozen configuration: a named preset, then keyword overrides, and one clear error for anything else."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from difflib import get_close_matches
from enum import Enum
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Positive = Annotated[float, Field(ge=1e-30, le=1e30)]
"""A positive number so bounded that products of a few neither overflow nor vanish."""
NonNegative = Annotated[float, Field(ge=0, le=1e30)]
Probability = Annotated[float, Field(ge=0, le=1)]
Length = Annotated[float, Field(ge=1e-3, le=1e12)]
"""A distance [m] that has a finite gain at any path loss exponent."""
Bandwidth = Annotated[float, Field(ge=1.0, le=1e15)]
Exponent = Annotated[float, Field(gt=0, le=10)]
"""A path loss exponent."""
EnergyCoefficient = Annotated[float, Field(ge=1e-40, le=1)]
"""Energy of a processor's cycle over its squared speed."""
MOST_GIB = 1.0
"""Largest array of one world [GiB]."""


def nearest(word: str, known: list[str]) -> str:
    """The tail of an error message: the word probably meant, or all known words where none is near."""
    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


P = TypeVar("P", bound=tuple[Any, ...])


def kernel_parameters(kind: type[P], config: BaseModel, **derived: Any) -> P:
    """The named tuple of type `kind` that kernels read: derived values, and fields of equal name of the configuration.

    Numbers get the type of the tuple's field. An option with named values becomes its code (see `metrics.codes`).

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
    """The enum of an option with named values, also of an optional one; None for other types."""
    for each in (annotation, *get_args(annotation)):
        if isinstance(each, type) and issubclass(each, Enum):
            return each
    return None


BESIDE = ("preset", "check", "render_mode", "max_episode_steps")
"""Arguments of `gym.make` beside the configuration's parameters."""


class UnknownParameter(TypeError, ValueError):  # noqa: N818  (the name says what happened)
    """A keyword that is no parameter.

    A TypeError as Python raises it for an unknown keyword, on which frameworks retry without a keyword of their own,
    and a ValueError as for every other impossible option.
    """


def first_complaint(error: ValidationError) -> str:
    """Where the first value stands that pydantic refuses, and why, in printable characters."""
    first = error.errors(include_url=False)[0]
    where = ascii(".".join(map(str, first["loc"])))[1:-1][:60]
    return f"{where or 'the whole'}: {first['msg'].removeprefix('Value error, ')}"


class SystemConfig(BaseModel):
    """Base of every environment's configuration.

    A field's docstring gives its meaning, its unit in square brackets, and its source; error messages quote it. An
    option with named values has a StrEnum as its type; the configuration holds the value as a plain string.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, use_enum_values=True,
        validate_default=True,
    )  # fmt: skip

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}
    """Preset name -> the fields in which it differs from the defaults."""
    renamed: ClassVar[Mapping[str, str]] = {}
    """Earlier name of a field -> its name; earlier names still work as keywords, with a DeprecationWarning."""

    def __eq__(self, other: object) -> bool:
        """Return True if all parameters are equal; cached derived values do not count."""
        return isinstance(other, SystemConfig) and type(self) is type(other) and self.model_dump() == other.model_dump()

    @classmethod
    def from_options(cls, preset: str, options: Mapping[str, Any]) -> Self:
        """The preset's configuration with `options` put over it.

        Raises:
            UnknownParameter: an unknown key, beside anything else that is wrong; it is a ValueError and a TypeError.
            ValueError: unknown preset or impossible value, naming the field, the value and its meaning.
        """
        if not isinstance(preset, str) or preset not in cls.presets:
            raise ValueError(f"preset={preset!r} does not exist; {nearest(str(preset), list(cls.presets))}")
        try:
            return cls(**{**cls.presets[preset], **cls._current(options)})
        except ValidationError as error:
            unknown = any(problem["type"] == "extra_forbidden" for problem in error.errors(include_url=False))
            raise (UnknownParameter if unknown else ValueError)(cls._explain(error)) from None

    @classmethod
    def _current(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options under their current names.

        Raises:
            ValueError: an option under both its earlier and its current name.
        """
        current = dict(options)
        for old, new in cls.renamed.items():
            if old in current:
                if new in current:
                    raise ValueError(f"{old} is the earlier name of {new}; give {new} only")
                warnings.warn(f"{old} is now called {new}", DeprecationWarning, stacklevel=4)
                current[new] = current.pop(old)
        return current

    def limit_array(self, numbers: int, number_bytes: int, *fields: str) -> None:
        """Raise ValueError if an array is too large for one world.

        Args:
            numbers: entries of the array.
            number_bytes: bytes of an entry.
            fields: parameters that determine the size, for the message.

        Raises:
            ValueError: it is larger than `MOST_GIB`.
        """
        size_gib = numbers * number_bytes / 2**30
        if size_gib > MOST_GIB:
            values = ", ".join(f"{name}={getattr(self, name)}" for name in fields)
            raise ValueError(f"{values} take {size_gib:.1f} GiB of memory for one world; make one of them smaller")

    def replace(self, **changes: Any) -> Self:
        """The same configuration with some fields changed, validated (a plain copy would keep cached properties).

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
                lines.append(f"unexpected keyword argument {field!r}; {nearest(field, [*cls.model_fields, *BESIDE])}")
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
