"""The deterministic simulator: real drivers in virtual time, from one seed. docs/simulator.md."""

from tools.sim.campaign import fuzz, run

__all__ = ["fuzz", "run"]
