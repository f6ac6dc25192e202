"""`python -m tests.certificates lyappo [--json]`: the mutation table of one paper."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

PAPERS = ("lyappo", "semcom", "dtirs", "eccnoma")


def main(arguments: list[str]) -> None:
    """Print the table of the paper named first, as Markdown or with --json."""
    # Before numba is imported, which reads it then.
    os.environ["NUMBA_DISABLE_JIT"] = "1"
    from importlib import import_module

    from tests.certificates.harness import table

    rows = [row for solver in import_module(f"tests.certificates.{arguments[0]}").SOLVERS for row in table(solver)]
    if "--json" in arguments:
        print(json.dumps([asdict(row) for row in rows]))
        return
    print("| solver | mutation | largest loss | its certificate | noticed | missed | smallest certificate / loss |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.solver} | {row.mutation} | {row.loss:.2g} | {row.certificate:.2g} | {row.noticed} | {row.missed} "
            f"| {row.smallest_share:.2g} |"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
