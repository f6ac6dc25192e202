"""`python -m tests.certificates lyappo dtirs [--json]`: the mutation tables of some papers; without names, of all."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

PAPERS = ("lyappo", "semcom", "dtirs", "eccnoma")
PREAMBLE = """# Mutation tables of the certificates

Made by `python -m tests.certificates`. For every row, one line of a solver is broken on purpose, and the broken solver
solves random asymmetric instances over several decades of scale. The loss is the cost of the broken solver's solution
minus that of the original solver, relative to the same quantity as the certificate; the test computes it independently
of the solver. If the loss of an instance exceeds 1e-6, the instance counts as noticed if its certificate is at least
half of the loss, and otherwise as missed. `inf` stands for a solution that violates a limit or serves nothing.
`tests/certificates/test_mutations.py` requires that nothing is missed.
"""


def main(arguments: Sequence[str]) -> None:
    """Print the tables of the papers named, as Markdown or with --json.

    Raises:
        SystemExit: if a name is no paper.
    """
    papers = [name for name in arguments if name != "--json"] or list(PAPERS)
    if unknown := [name for name in papers if name not in PAPERS]:
        raise SystemExit(f"{unknown[0]!r} is no paper; give some of {', '.join(PAPERS)}, or none for all")
    # Before numba is imported, which reads it then.
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    from importlib import import_module

    from tests.certificates.harness import table

    rows: dict[str, list[Any]] = {
        paper: [row for solver in import_module(f"tests.certificates.{paper}").SOLVERS for row in table(solver)]
        for paper in papers
    }
    if "--json" in arguments:
        print(json.dumps([asdict(row) for each in rows.values() for row in each]))
        return
    print(PREAMBLE)
    for paper, each in rows.items():
        print(f"## {paper}\n")
        print("| solver | mutation | largest loss | its certificate | noticed | missed | smallest certificate / loss |")
        print("|---|---|---|---|---|---|---|")
        for row in each:
            print(
                f"| {row.solver} | {row.mutation} | {row.loss:.2g} | {row.certificate:.2g} | {row.noticed} "
                f"| {row.missed} | {row.smallest_share:.2g} |"
            )
        print()


if __name__ == "__main__":
    main(sys.argv[1:])
