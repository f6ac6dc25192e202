"""Run the benchmarks in one process and one thread; print a table, and optionally write JSON."""

from __future__ import annotations

import os
import sys

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def main() -> int:
    """Limit the number of threads before the numerical libraries are imported, then run."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    from benchmarks.command_line import run

    return run({name: os.environ[name] for name in THREAD_VARIABLES})


if __name__ == "__main__":
    sys.exit(main())
