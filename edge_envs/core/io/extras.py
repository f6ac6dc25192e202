"""CVXPY, which only the extra `reference` installs: its import, and solving and reusing its problems."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

Form = Callable[..., tuple[Any, Any]]
"""Builds a CVXPY problem and its variables from named numbers or from CVXPY parameters."""


def load_cvxpy() -> Any:
    """Return the module `cvxpy`.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import cvxpy
    except ImportError as error:
        raise ImportError("the reference solver needs CVXPY: pip install 'edge-envs[reference]'") from error
    return cvxpy


def solve_by_clarabel(problem: Any, steps: Sequence[float], **options: Any) -> None:
    """Solve a CVXPY problem in place; tries values of Clarabel's `max_step_fraction` until one gives a solution.

    Raises:
        RuntimeError: none gives a solution; the message has the last status.
    """
    cvxpy, status = load_cvxpy(), ""
    for step in steps:
        with warnings.catch_warnings(), suppress(cvxpy.error.SolverError):
            # Callers certify the solution or compare it with the exact one.
            warnings.filterwarnings("ignore", message="Solution may be inaccurate")
            warnings.filterwarnings("ignore", message="Constraint .* contains too many subexpressions")
            problem.solve(solver="CLARABEL", max_step_fraction=step, **options)
            if problem.status in cvxpy.settings.SOLUTION_PRESENT:
                return
            status = f": {problem.status}"
    raise RuntimeError(f"Clarabel found no solution{status}")


class CompiledForms:
    """CVXPY problems that are built once per form and size; later calls only set their parameters.

    The forms must follow CVXPY's rules for parametrised problems ("DPP").

    Raises:
        ImportError: CVXPY is not installed.
    """

    def __init__(self) -> None:
        self._cvxpy = load_cvxpy()
        self._known: dict[tuple[Form, int], tuple[Any, Any, dict[str, Any]]] = {}

    def build(self, form: Form, numbers: Mapping[str, Any], signs: Callable[[str], Mapping[str, bool]]) -> Any:
        """The problem and the variables of a form, with parameters set to these numbers.

        The length of the first of the numbers is the problem's size. `signs` gives the attributes of a parameter by its
        name, such as `{"pos": True}`.
        """
        key = form, len(next(iter(numbers.values())))
        if key not in self._known:
            kinds = self._cvxpy.Parameter
            parameters = {name: kinds(np.shape(value), **signs(name)) for name, value in numbers.items()}
            self._known[key] = *form(**parameters), parameters
        problem, variables, parameters = self._known[key]
        for name, value in numbers.items():
            parameters[name].value = value
        return problem, variables
