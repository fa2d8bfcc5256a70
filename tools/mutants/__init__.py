"""Broken cores, and the scenarios, tests and seeds that must notice. docs/reliability.md."""

from tools.mutants.campaign import mutants

__all__ = ["mutants"]
