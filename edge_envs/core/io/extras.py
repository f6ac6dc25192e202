"""Imports of packages that only some of the extras install."""

from __future__ import annotations

from typing import Any


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
