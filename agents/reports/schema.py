"""The evaluation document: what `evaluate.py` writes as JSON and builds its report from; all numbers are finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_serializer, model_validator

from edge_envs.core.config import first_complaint

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Values = list[Number | None]
"""Numbers; null where a number is missing or not finite."""


class Part(BaseModel):
    """A part of the document; keys that are not described here are allowed and ignored."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Interval(Part):
    """A mean with its confidence interval."""

    mean: Number | None
    low: Number | None
    high: Number | None


class Statistics(Interval):
    """One metric of one policy: mean, interquartile mean and paired difference to the first policy, with intervals."""

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


class Latency(Part):
    """Time of one decision in one world [ms]."""

    mean: Number | None
    p99: Number | None
    steps: int


class Policy(Part):
    """One policy of an environment."""

    label: str
    kind: Literal["baseline", "ablation", "learned", "custom"]
    runs: list[str]
    training: str | None
    ablation: dict[str, JsonValue] | None
    metrics: dict[str, Statistics]
    normalised: Interval | None
    """The score: 0 for random actions, 1 for the strongest baseline."""
    rank: int | None
    latency_ms: Latency | None


class MetricText(Part):
    """Name, unit and meaning of a metric."""

    name: str
    unit: str
    meaning: str


class Curve(Part):
    """Validations of one training run: for each metric one value per entry of `steps`."""

    label: str
    run: str
    steps: list[int]
    metrics: dict[str, Values]


class Episode(Part):
    """One episode of several policies in the same world: one value per step, by label and metric."""

    seed: int
    series: dict[str, dict[str, Values]]

    @field_serializer("seed", when_used="json")
    def _as_text(self, seed: int) -> str:
        # A seed has up to 64 bits, of which JavaScript's numbers keep 53.
        return str(seed)


class Environment(Part):
    """One environment with all its policies; differences are to the first."""

    env_id: str
    preset: str
    options: dict[str, JsonValue]
    seeds: int = Field(ge=1)
    episodes: int = Field(ge=1)
    warmup_fraction: Number
    caveat: str
    reference_baseline: str
    strongest_baseline: str
    main: str
    headline: list[str] = Field(min_length=1)
    metrics: list[MetricText]
    configuration: dict[str, JsonValue]
    policies: list[Policy] = Field(min_length=1)
    curves: list[Curve]
    episode: Episode | None

    @property
    def scored_metrics(self) -> list[str]:
        """Metrics of which some policy has scores."""
        scored = {name for policy in self.policies for name in policy.metrics}
        return [metric.name for metric in self.metrics if metric.name in scored]

    @property
    def curve_metrics(self) -> list[str]:
        """Metrics of the validations during training."""
        return list(dict.fromkeys(name for curve in self.curves for name in curve.metrics))

    @property
    def series_metrics(self) -> list[str]:
        """Metrics of the recorded episode."""
        series = self.episode.series.values() if self.episode else ()
        return list(dict.fromkeys(name for values in series for name in values))

    def having(self, name: str) -> dict[str, Statistics]:
        """Return a metric's statistics by label, of the policies that have a mean of it."""
        found = {policy.label: policy.metrics[name] for policy in self.policies if name in policy.metrics}
        return {label: statistics for label, statistics in found.items() if statistics.mean is not None}

    def unit(self, name: str) -> str:
        """Return a metric's unit; empty if it has none."""
        unit = next((metric.unit for metric in self.metrics if metric.name == name), "-")
        return "" if unit == "-" else unit

    def titled(self, name: str) -> str:
        """Return a metric's name with its unit."""
        return f"{name} ({self.unit(name)})" if self.unit(name) else name

    def meaning(self, name: str) -> str:
        """Return what a metric measures; empty if the document does not say."""
        if name == "action_mean":
            return "mean action of the members"
        return next((metric.meaning for metric in self.metrics if metric.name == name), "")

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
    """Normalised scores of one label by environment."""

    label: str
    by_env: dict[str, Number | None]
    mean: Number | None


class Document(Part):
    """A whole evaluation."""

    format: Literal[2]
    """Version of the document; `upgraded` turns older ones into this one."""
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)]
    resamples: int
    provenance: dict[str, JsonValue]
    environments: list[Environment] = Field(min_length=1)
    scores: list[Score] | None = None
    notes: list[str] = []
    """Warnings: runs left out or not finished, curves that cannot be read."""

    @model_validator(mode="after")
    def _agrees(self) -> Document:
        ids = [environment.env_id for environment in self.environments]
        for name in ids:
            if ids.count(name) > 1:
                raise ValueError(f"environment {name!r} occurs twice")
        for score in self.scores or []:
            for name in score.by_env.keys() - set(ids):
                raise ValueError(f"the scores of {score.label!r} name {name!r}, which is not among environments")
        return self


def checked(document: Mapping[str, Any]) -> Document:
    """Validate a document of any format.

    Raises:
        ValueError: a part is missing or wrong; the message names the first.
    """
    try:
        return Document.model_validate(upgraded(document))
    except ValidationError as error:
        raise ValueError(
            f"the evaluation document is not valid: {first_complaint(error)}; write it again with evaluate.py"
        ) from error


RENAMED_KEYS = {
    "settling": "warmup_fraction", "bar": "reference_baseline", "upper_bar": "strongest_baseline", "scheme": "ablation",
}  # fmt: skip
RENAMED_KINDS = {"scheme": "ablation", "own": "custom"}


def upgraded(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a document of format 1 in format 2, any other unchanged."""
    if not isinstance(document, Mapping) or document.get("format") != 1:
        return document
    return {**document, "format": 2, "environments": _renamed(document.get("environments"))}


def _renamed(part: Any) -> Any:
    # A part of the wrong type stays as it is: validation reports it.
    if isinstance(part, list):
        return [_renamed(each) for each in part]
    if not isinstance(part, Mapping):
        return part
    found = {RENAMED_KEYS.get(key, key): value for key, value in part.items()}
    changes = {"policies": _renamed, "kind": lambda kind: RENAMED_KINDS.get(str(kind), kind)}
    return found | {key: change(found[key]) for key, change in changes.items() if key in found}
