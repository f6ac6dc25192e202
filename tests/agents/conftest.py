"""Fixtures of the agents' tests."""

from tests.agents.crowd import crowd_id
from tests.agents.toy import toy_id

__all__ = ["crowd_id", "toy_id"]
