"""Fixtures of the scripts' tests."""

from tests.agents.toy import toy_id

__all__ = ["toy_id"]
