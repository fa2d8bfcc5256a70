"""Faults without end on real processes, judged by what clients saw. docs/reliability.md."""

from tools.soak.soak import run

__all__ = ["run"]
