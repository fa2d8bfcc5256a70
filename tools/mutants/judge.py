"""One core, and what is to be tried on it: `python -m tools.mutants.judge KILLER...`.

Runs in a process of its own, with the (broken) raft/ and firmware/ first on the path. Prints a JSON
object a line: the killer, whether it noticed, and what it saw.
"""

import functools
import importlib
import json
import os
import resource
import sys

from tools.sim import campaign
from tools.sim.scenario import FOLDER, Scenario

SEEDS = 120  # of the fuzzer's runs, at most, until one breaks the property
SEED_S = 15
_BOARDS = (3, 5)
_MEMORY = 2 << 30  # bytes; a core that eats more is noticed by its MemoryError


def scenario(name):
    """What is wrong with the scenario of that name, None if nothing is."""
    story = Scenario(FOLDER / (name + ".txt"))
    if story.played() != story.text:
        return "tells another story"
    return None


def portable(name):
    """What a test of tests/portable/ says."""
    module, _, test = name.rpartition(".")
    getattr(importlib.import_module("tests.portable." + module), test)()


def seeds(name):
    """The first run of the fuzzer in which that property, or `any`, is broken."""
    wanted = name.replace("_", " ")
    for seed in range(1, SEEDS + 1):
        broken = _broken_by(seed)
        if broken is not None and wanted in (broken, "any"):
            return "seed %d: %s" % (seed, broken)
    return None


@functools.cache
def _broken_by(seed):
    result = campaign.run(seed, _BOARDS[seed % 2], SEED_S)
    return None if result["ok"] else result["violation"]["property"]


def judged(killer):
    """(noticed, what it saw)"""
    kind, colon, name = killer.partition(":")
    try_it = {"portable": portable, "seeds": seeds}[kind] if colon else scenario
    try:
        seen = try_it(name if colon else killer)
    except Exception as error:
        text = (str(error).splitlines() or [""])[0]
        seen = "%s: %s" % (type(error).__name__, text[:160])
    return seen is not None, seen


def _bound_memory():
    try:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    except (OSError, ValueError):
        pass  # not every system takes such a limit


if __name__ == "__main__":
    _bound_memory()
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
    for asked in sys.argv[1:]:
        noticed, seen = judged(asked)
        print(json.dumps({"killer": asked, "noticed": noticed, "seen": seen}))
