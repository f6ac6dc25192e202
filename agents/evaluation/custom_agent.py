"""Custom agents by name, `module:factory`: any object with the `predict` method of Stable-Baselines3."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from edge_envs.core.env import EdgeVectorEnv
from edge_envs.core.policy import Policy

NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")

FAILURES = (Exception, SystemExit)
"""Errors of custom code that are reported in one line; `exit` would end the evaluation without a message."""


def is_custom_agent(name: str) -> bool:
    """Return True if a policy's name has the form module:factory."""
    return NAME.fullmatch(name) is not None and not Path(name).exists()


@dataclass(frozen=True, slots=True)
class CustomAgent:
    """A factory of agents from the user's code."""

    name: str
    factory: Callable[[EdgeVectorEnv], Any]

    @classmethod
    def load(cls, name: str) -> CustomAgent:
        """Import the factory `module:factory`; the module may lie in the working directory.

        Raises:
            ValueError: the module or the factory does not exist, cannot be imported or cannot be called.
        """
        module_name, _, attribute = name.partition(":")
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)
        try:
            module = importlib.import_module(module_name)
        except FAILURES as error:
            if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
                raise ValueError(
                    f"policy={name!r}: there is no module {error.name!r}; give one that can be imported from {here}"
                ) from error
            _fail(name, f"importing {module_name}", error)
        if not hasattr(module, attribute):
            raise ValueError(f"policy={name!r}: {module_name} has no {attribute!r}; define it there")
        factory = getattr(module, attribute)
        if not callable(factory):
            raise ValueError(f"policy={name!r}: {attribute} cannot be called; give a function of the environment")
        return cls(name, factory)

    def build(self, env: EdgeVectorEnv) -> Policy:
        """Build the agent for an environment.

        Raises:
            ValueError: the factory fails, or returns an object without `predict`.
        """
        try:
            agent = self.factory(env)
        except FAILURES as error:
            _fail(self.name, "the factory", error)
        if not callable(getattr(agent, "predict", None)):
            raise ValueError(
                f"policy={self.name!r}: the factory returned {type(agent).__name__}, which has no predict; "
                "return an agent with predict(observation, state, episode_start, deterministic)"
            )
        return CheckedPolicy(self.name, agent, env)

    def check(self, env: EdgeVectorEnv) -> None:
        """Raise ValueError if the agent cannot be built or cannot take one decision."""
        observation, _ = env.reset(seed=0)
        self.build(env).predict(observation, None, np.ones(env.num_envs, dtype=np.bool_), deterministic=True)


class CheckedPolicy:
    """A custom agent whose failures and invalid actions raise errors of one line."""

    def __init__(self, name: str, agent: Any, env: EdgeVectorEnv) -> None:
        self._name, self._agent, self._env = name, agent, env

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        """The agent's answer, checked.

        Raises:
            ValueError: the agent fails, or its answer is not (actions, state) with valid actions.
        """
        return self.checked(self.ask(observation, state, episode_start, deterministic=deterministic))

    def ask(self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False) -> Any:
        """The agent's unchecked answer.

        Raises:
            ValueError: the agent fails.
        """
        try:
            return self._agent.predict(observation, state, episode_start, deterministic=deterministic)
        except FAILURES as error:
            _fail(self._name, "predict", error)

    def checked(self, answer: Any) -> tuple[NDArray[Any], Any]:
        """Actions and state of an answer.

        Raises:
            ValueError: the answer is not (actions, state), or the actions are not valid.
        """
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise ValueError(
                f"policy={self._name!r}: predict returned {type(answer).__name__}; return (actions, state)"
            )
        actions, state = answer
        try:
            return self._env.system.check_actions(actions, self._env.num_envs), state
        except ValueError as error:
            raise ValueError(f"policy={self._name!r}: {error}") from error


def _fail(name: str, what: str, error: BaseException) -> NoReturn:
    """Raise a ValueError of one line that names the place in the user's code."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    raise ValueError(
        f"policy={name!r}: {what} failed at {last.filename}:{last.lineno} ({type(error).__name__}: {error})"
    ) from error
