"""Bounded exhaustive exploration of three cores; docs/reliability.md has the bounds."""

from tools.explore.search import explore

__all__ = ["explore"]
