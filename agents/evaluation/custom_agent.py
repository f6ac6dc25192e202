"""One's own agent by name, `module:factory`: anything with Stable-Baselines3's `predict`."""

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
"""What ends in one line; an agent that calls `exit` would end the evaluation without a word."""


def is_own(name: str) -> bool:
    """Whether a policy's name has the form module:factory."""
    return NAME.fullmatch(name) is not None and not Path(name).exists()


@dataclass(frozen=True, slots=True)
class OwnAgent:
    """A factory from the user's own code."""

    name: str
    factory: Callable[[EdgeVectorEnv], Any]

    @classmethod
    def load(cls, name: str) -> OwnAgent:
        """The factory behind `module:factory`; the module is looked for in the working directory, too.

        Raises:
            ValueError: no such module or name, a module that cannot be imported, or nothing that can be called.
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
            _complain(name, f"importing {module_name}", error)
        if not hasattr(module, attribute):
            raise ValueError(f"policy={name!r}: {module_name} has no {attribute!r}; define it there")
        factory = getattr(module, attribute)
        if not callable(factory):
            raise ValueError(f"policy={name!r}: {attribute} cannot be called; give a function of the environment")
        return cls(name, factory)

    def build(self, env: EdgeVectorEnv) -> Policy:
        """The agent for an environment.

        Raises:
            ValueError: the factory fails, or gives nothing with a `predict`.
        """
        try:
            agent = self.factory(env)
        except FAILURES as error:
            _complain(self.name, "the factory", error)
        if not callable(getattr(agent, "predict", None)):
            raise ValueError(
                f"policy={self.name!r}: the factory gave {type(agent).__name__}, which has no predict; "
                "return an agent with predict(observation, state, episode_start, deterministic)"
            )
        return CheckedPolicy(self.name, agent, env)

    def check(self, env: EdgeVectorEnv) -> None:
        """Whether the agent can be built and can take one decision.

        Raises:
            ValueError: it cannot; the message says why.
        """
        observation, _ = env.reset(seed=0)
        self.build(env).predict(observation, None, np.ones(env.num_envs, dtype=np.bool_), deterministic=True)


class CheckedPolicy:
    """One's own agent, whose failures and impossible actions are told in one line."""

    def __init__(self, name: str, agent: Any, env: EdgeVectorEnv) -> None:
        self._name, self._agent, self._env = name, agent, env

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[NDArray[Any], Any]:
        """The agent's answer, checked.

        Raises:
            ValueError: it fails, answers with anything but (actions, state), or with actions that cannot be.
        """
        return self.checked(self.ask(observation, state, episode_start, deterministic=deterministic))

    def ask(self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False) -> Any:
        """The agent's answer as it is, for `checked`.

        Raises:
            ValueError: it fails.
        """
        try:
            return self._agent.predict(observation, state, episode_start, deterministic=deterministic)
        except FAILURES as error:
            _complain(self._name, "predict", error)

    def checked(self, answer: Any) -> tuple[NDArray[Any], Any]:
        """Actions and state of an answer.

        Raises:
            ValueError: it is anything but (actions, state), or its actions cannot be.
        """
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise ValueError(f"policy={self._name!r}: predict gave {type(answer).__name__}; return (actions, state)")
        actions, state = answer
        try:
            return self._env.system.check_actions(actions, self._env.num_envs), state
        except ValueError as error:
            raise ValueError(f"policy={self._name!r}: {error}") from error


def _complain(name: str, what: str, error: BaseException) -> NoReturn:
    """One line with the place in the user's code where it failed."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    raise ValueError(
        f"policy={name!r}: {what} failed at {last.filename}:{last.lineno} ({type(error).__name__}: {error})"
    ) from error
