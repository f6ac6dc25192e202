"""The evaluation document: what `evaluate.py` writes as JSON and makes its report from. Nothing in it is NaN or inf."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_serializer, model_validator

from edge_envs.core.config import first_complaint

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Values = list[Number | None]
"""Numbers; null where there is none or it is not finite."""


class Part(BaseModel):
    """A part of the document; parts that are not described here are allowed and left out."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Statistics(Part):
    """One metric of one policy: mean, interquartile mean and paired difference to the first policy, with intervals."""

    mean: Number | None
    low: Number | None
    high: Number | None
    iqm: Number | None
    iqm_low: Number | None
    iqm_high: Number | None
    difference: Number | None
    difference_low: Number | None
    difference_high: Number | None
    by_seed: list[Values]
    """A row per training run, a column per evaluation seed."""
    by_episode: list[Values]
    """A row per training run, a column per episode."""


class Normalised(Part):
    """A policy's score, 0 where random actions are and 1 where the upper bar is."""

    mean: Number | None
    low: Number | None
    high: Number | None


class Latency(Part):
    """Time of one decision in one world [ms]."""

    mean: Number | None
    p99: Number | None
    steps: int


class Policy(Part):
    """One policy of an environment."""

    label: str
    kind: Literal["baseline", "scheme", "learned", "own"]
    runs: list[str]
    training: str | None
    scheme: dict[str, JsonValue] | None
    metrics: dict[str, Statistics]
    normalised: Normalised | None
    rank: int | None
    latency_ms: Latency | None


class MetricText(Part):
    """What a metric is."""

    name: str
    unit: str
    meaning: str


class Curve(Part):
    """Validations of one training run: metrics by name, one value per entry of `steps`."""

    label: str
    run: str
    steps: list[int]
    metrics: dict[str, Values]


class Episode(Part):
    """One episode of some policies in the same world: label, name of the series, one value per step."""

    seed: int
    series: dict[str, dict[str, Values]]

    @field_serializer("seed", when_used="json")
    def _as_text(self, seed: int) -> str:
        # A seed has up to 64 bits, of which JavaScript's numbers keep 53.
        return str(seed)


class Environment(Part):
    """One environment with all its policies; the first is what the others are compared with."""

    env_id: str
    preset: str
    options: dict[str, JsonValue]
    seeds: int = Field(ge=1)
    episodes: int = Field(ge=1)
    settling: Number
    caveat: str
    bar: str
    upper_bar: str
    main: str
    headline: list[str] = Field(min_length=1)
    metrics: list[MetricText]
    configuration: dict[str, JsonValue]
    policies: list[Policy] = Field(min_length=1)
    curves: list[Curve]
    episode: Episode | None

    @model_validator(mode="after")
    def _agrees(self) -> Environment:
        for complaint in self._complaints():
            raise ValueError(complaint)
        return self

    def _complaints(self) -> Iterator[str]:
        known = {metric.name for metric in self.metrics}
        for name in (self.main, *self.headline):
            if name not in known:
                yield f"headline metric {name!r} is not among metrics"
        labels = [policy.label for policy in self.policies]
        for label in labels:
            if labels.count(label) > 1:
                yield f"label {label!r} belongs to two policies"
        for policy in self.policies:
            if self.main not in policy.metrics:
                yield f"policy {policy.label!r} has no {self.main!r}"
            for name in policy.metrics.keys() - known:
                yield f"metric {name!r} of policy {policy.label!r} is not among metrics"
        for curve in self.curves:
            if curve.label not in labels:
                yield f"curve {curve.run!r} belongs to {curve.label!r}, which is not a policy"
            for name, values in curve.metrics.items():
                if len(values) != len(curve.steps):
                    yield f"curve {curve.run!r} has {len(values)} values of {name!r} for {len(curve.steps)} steps"


class Score(Part):
    """Normalised scores of one label over the environments that it plays on."""

    label: str
    by_env: dict[str, Number | None]
    mean: Number | None


class Document(Part):
    """A whole evaluation."""

    format: Literal[1]
    """Version; a change that a reader must know of raises it."""
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)]
    resamples: int
    provenance: dict[str, JsonValue]
    environments: list[Environment] = Field(min_length=1)
    scores: list[Score] | None = None
    notes: list[str] = []
    """What a reader should know: runs left out or not finished, curves that cannot be read, and the like."""

    @model_validator(mode="after")
    def _agrees(self) -> Document:
        ids = [environment.env_id for environment in self.environments]
        for name in ids:
            if ids.count(name) > 1:
                raise ValueError(f"environment {name!r} stands in it twice")
        for score in self.scores or []:
            for name in score.by_env.keys() - set(ids):
                raise ValueError(f"the scores of {score.label!r} name {name!r}, which is not among environments")
        return self


def checked(document: Mapping[str, Any]) -> Document:
    """The document, validated.

    Raises:
        ValueError: a part is missing or wrong; the message names the first.
    """
    try:
        return Document.model_validate(document)
    except ValidationError as error:
        raise ValueError(f"the evaluation document is not valid: {first_complaint(error)}; make it anew") from error
