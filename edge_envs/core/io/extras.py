"""Imports of packages that only extras install."""

from __future__ import annotations

from typing import Any


def load_cvxpy() -> Any:
    """The module `cvxpy`.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import cvxpy
    except ImportError as error:
        raise ImportError("the reference solver needs CVXPY: pip install 'edge-envs[reference]'") from error
    return cvxpy
