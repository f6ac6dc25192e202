"""Hyper-parameters by environment, agent and policy, from one YAML file per environment in this folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from agents.hyperparameters.settings import WARM_START, AgentName, PolicyName, Settings

FOLDER = Path(__file__).parent

GENERAL_POLICY: dict[AgentName, PolicyName] = {
    "ppo": "shared", "member-ppo": "pooled", "dagger": "shared", "ddpg": "central", "td3": "central"
}  # fmt: skip
"""Default policy of each agent on an environment whose file names none; DDPG is central as in the LyaPPO paper."""

Kind = Literal["default", "paper"]

OneOrMore = BeforeValidator(lambda value: value if isinstance(value, list) else [value])


class Entry(BaseModel):
    """The hyper-parameters of one or more agents, policies and decisions on one environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: Annotated[list[AgentName], OneOrMore]
    policy: Annotated[list[PolicyName | Literal["any"]], OneOrMore]
    decision: Annotated[list[str], OneOrMore] = ["any"]
    """Values of the configuration's field `decision`; "" stands for a configuration without that field."""
    preset: Annotated[list[str], OneOrMore] = []
    """Presets to which the entry applies; empty: those without an entry of their own."""
    kind: Kind = "default"
    why: str = Field(min_length=1)
    """Origin of the values, the paper's or ours, and how they were found."""
    values: Settings

    def applies_to(self, agent: list[Any], policy: list[Any], decision: list[Any], kind: Kind) -> bool:
        """Return True if the entry applies to any combination of these agents, policies and decisions."""
        pairs = (self.agent, agent), (self.policy, policy), (self.decision, decision)
        return self.kind == kind and all("any" in [*own, *asked] or set(own) & set(asked) for own, asked in pairs)


class Table(BaseModel):
    """The content of an environment's YAML file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default_agent: AgentName = "ppo"
    default_policy: dict[AgentName, PolicyName] = {}
    entries: list[Entry] = []

    @model_validator(mode="after")
    def _check_unique(self) -> Self:
        for number, entry in enumerate(self.entries, 1):
            for earlier, other in enumerate(self.entries[: number - 1], 1):
                presets = bool(set(entry.preset) & set(other.preset)) or entry.preset == other.preset
                if presets and entry.applies_to(other.agent, other.policy, other.decision, other.kind):
                    raise ValueError(f"entries {earlier} and {number} apply to the same agent, policy and decision")
        return self


def read_table(file: Path) -> Table:
    """Read and validate the YAML file of an environment.

    Raises:
        ValueError: the file is not valid; the message names the file, the entry and the field.
    """
    try:
        return Table.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ValueError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = [str(part) for part in first["loc"]]
        if place[:1] == ["entries"] and len(place) > 1:
            place = [f"entry {int(place[1]) + 1}", *place[2:]]
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(": ".join(filter(None, (str(file), ", ".join(place), message)))) from error


@cache
def table_of(env_id: str) -> Table:
    """The table of an environment; an empty one where it has no file."""
    files = {file.stem: file for file in FOLDER.glob("*.yaml")}
    return read_table(files[env_id]) if env_id in files else Table()


def default_agent(env_id: str) -> AgentName:
    """The agent that `train.py` uses on an environment unless another is given."""
    return table_of(env_id).default_agent


def default_policy(env_id: str, agent: AgentName) -> PolicyName:
    """The policy that an agent learns on an environment unless another is given."""
    return {**GENERAL_POLICY, **table_of(env_id).default_policy}[agent]


def settings_for(
    env_id: str, agent: AgentName, policy: PolicyName, decision: str, kind: Kind = "default", preset: str = "default"
) -> Settings:
    """The hyper-parameters of an agent on an environment; the general defaults where its file has no entry.

    Args:
        env_id: the environment.
        agent: the learning agent.
        policy: shared, central or pooled.
        decision: the value of the configuration's field `decision`; "" where there is no such field.
        kind: "default" for the values that we recommend, "paper" for those of the paper.
        preset: the preset of the environment.

    Raises:
        ValueError: no paper gives hyper-parameters for this agent on this environment, or the file is not valid.
    """
    found = [entry for entry in table_of(env_id).entries if entry.applies_to([agent], [policy], [decision], kind)]
    found.sort(key=lambda entry: preset not in entry.preset)
    found = [entry for entry in found if preset in entry.preset or not entry.preset]
    if kind == "paper" and not found:
        raise ValueError(f"--hyperparameters paper: no paper trains {agent} on {env_id}; use --hyperparameters default")
    settings = found[0].values if found else Settings()
    if agent != "dagger":
        return settings
    settings = Settings(**{**WARM_START, **settings.model_dump(exclude_unset=True)})
    return settings.model_copy(update={"steps": settings.demonstration_steps, "num_envs": settings.imitation_worlds})
