"""Benchmarks: what radio, protocol and simulator cost, in virtual time from fixed seeds.

docs/benchmarks.md says what each number means.
"""

from tools.bench.report import BENCHMARKS, BenchError, bench

__all__ = ["BENCHMARKS", "BenchError", "bench"]
