"""Breaks a solver on purpose, one line at a time, and compares what is lost with what the certificate says.

The solvers run as plain Python (`NUMBA_DISABLE_JIT=1`), so a mutation costs no compilation. Each paper has a module in
this folder that defines `SOLVERS`; `python -m tests.certificates <paper>` prints its table, and `test_mutations.py`
runs it and checks every row.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import numpy as np

WORTH_NOTICING = 1e-6
"""Relative loss from which on a certificate must notice it."""
SHARE = 0.5
"""Part of the loss that the certificate must show."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One piece of a function's source, replaced.

    Attributes:
        name: what is wrong with the mutant, for the table.
        function: the function that is broken, wherever it is called from.
        old: text that stands exactly once in the function's source.
        new: what replaces it.
    """

    name: str
    function: Callable[..., Any]
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Solver:
    """A solver with its certificate, and the mutations that the certificate must notice.

    Attributes:
        name: for the table.
        instances: problems to solve, asymmetric and over several decades of scale.
        solve: solves one instance; returns its solution and the certificate reported for it.
        cost: the cost of a solution of an instance, computed here and not by the solver; to be minimised.
        scale: what the certificate of a solution is relative to, in the unit of the cost, computed here.
        mutations: at least five.
    """

    name: str
    instances: Sequence[Any]
    solve: Callable[[Any], tuple[Any, float]]
    cost: Callable[[Any, Any], float]
    scale: Callable[[Any, Any], float]
    mutations: Sequence[Mutation]


@dataclass(frozen=True, slots=True)
class Row:
    """One mutation in the table.

    Attributes:
        solver: name of the solver.
        mutation: name of the mutation.
        noticed: instances that lose more than `WORTH_NOTICING`, and whose certificate shows at least `SHARE` of it.
        missed: instances that lose more than `WORTH_NOTICING`, and whose certificate shows less.
        loss: largest relative loss over the instances.
        certificate: certificate of the same instance.
        smallest_share: smallest certificate over loss among the instances that lose more than `WORTH_NOTICING`.
    """

    solver: str
    mutation: str
    noticed: int
    missed: int
    loss: float
    certificate: float
    smallest_share: float


def mutated_code(mutation: Mutation) -> CodeType:
    """The code of the mutated function.

    Raises:
        ValueError: the text to be replaced does not stand exactly once in the source.
    """
    function = inspect.unwrap(mutation.function)
    source = textwrap.dedent(inspect.getsource(function))
    found = source.count(mutation.old)
    if found != 1:
        raise ValueError(f"{function.__name__}: {mutation.old!r} stands {found} times in its source, expected once")
    namespace = dict(function.__globals__)
    exec(compile(source.replace(mutation.old, mutation.new), f"<{mutation.name}>", "exec"), namespace)
    mutant = inspect.unwrap(namespace[function.__name__])
    assert isinstance(mutant, FunctionType)
    return mutant.__code__


@contextmanager
def applied(mutation: Mutation) -> Iterator[None]:
    """Run with a mutated function; it is replaced in place, so every module that imported it calls the mutant.

    Raises:
        TypeError: the function is compiled; set NUMBA_DISABLE_JIT=1 before numba is imported.
        ValueError: as `mutated_code`.
    """
    function = inspect.unwrap(mutation.function)
    if not isinstance(function, FunctionType):
        raise TypeError(f"{function!r} is compiled; run with NUMBA_DISABLE_JIT=1")
    original = function.__code__
    function.__code__ = mutated_code(mutation)
    try:
        yield
    finally:
        function.__code__ = original


def table(solver: Solver) -> list[Row]:
    """Solve all instances with every mutation; the unbroken solver gives the optimum that losses are measured from."""
    with np.errstate(all="ignore"):
        best = [solver.cost(instance, solver.solve(instance)[0]) for instance in solver.instances]
        return [_row(solver, mutation, best) for mutation in solver.mutations]


def _row(solver: Solver, mutation: Mutation, best: Sequence[float]) -> Row:
    losses, certificates = [], []
    with applied(mutation):
        solved = [solver.solve(instance) for instance in solver.instances]
    for instance, (solution, certificate), optimum in zip(solver.instances, solved, best, strict=True):
        losses.append((solver.cost(instance, solution) - optimum) / solver.scale(instance, solution))
        certificates.append(certificate)
    loss, shown = np.array(losses), np.array(certificates)
    counted = loss > WORTH_NOTICING
    share = np.where(counted & ~np.isposinf(shown), shown / np.where(counted, loss, 1.0), np.inf)
    noticed = counted & (share >= SHARE)  # a certificate of NaN notices nothing
    worst = int(np.nanargmax(loss))
    return Row(
        solver=solver.name,
        mutation=mutation.name,
        noticed=int(noticed.sum()),
        missed=int((counted & ~noticed).sum()),
        loss=float(loss[worst]),
        certificate=float(shown[worst]),
        smallest_share=float(np.nan_to_num(share, nan=0.0).min()),
    )
