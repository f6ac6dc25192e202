"""Agents: training, evaluation and reports; not part of the wheel."""
