"""How much of raft/ the scenarios and the fuzzing run: statements and branches.

The tests that were written for one line each do not count here: what only they reach, no story and
no accident has ever come to.
"""

import os
import subprocess
import sys
import tempfile
from io import StringIO
from multiprocessing.pool import ThreadPool
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).resolve().parent.parent
LEAST_PERCENT = 95
_SEEDS_A_JOB = 10


class CoverageFailed(Exception):
    """Something is broken, so that nothing was counted; the text says what."""


def covered(runs, cases, say):
    """All scenarios, `runs` runs of the fuzzer, `cases` of each target of the parsers.

    Returns a dict that JSON can hold; `ok` is True from LEAST_PERCENT on. `say(line)` hears the
    table. Raises CoverageFailed.
    """
    jobs = [("scenarios",), ("cases", cases)]
    for first in range(1, runs + 1, _SEEDS_A_JOB):
        jobs.append(("seeds", first, min(first + _SEEDS_A_JOB, runs + 1)))
    with tempfile.TemporaryDirectory() as folder, ThreadPool(os.cpu_count()) as pool:
        files = pool.starmap(_watched, [(folder, job) for job in jobs], 1)
        whole = Coverage(folder + "/whole", branch=True)
        whole.combine(files)
        text = StringIO()
        percent = whole.report(file=text, show_missing=True, precision=1)
    for line in text.getvalue().splitlines():
        say(line)
    return {
        "ok": percent >= LEAST_PERCENT,
        "percent": round(percent, 2),
        "least": LEAST_PERCENT,
        "runs": runs,
        "cases": cases,
    }


def _watched(folder, job):
    """Run `job` in a process that coverage watches from its start; return the file it leaves."""
    words = list(map(str, job))
    name = "%s/%s" % (folder, "-".join(words))
    command = [sys.executable, "-m", "coverage", "run", "--branch", "--source=raft"]
    command += ["--data-file=" + name, "-m", "tools.covered", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise CoverageFailed("%s: %s" % (" ".join(words), (done.stdout + done.stderr)[-2000:]))
    return name


# The jobs. Each imports for itself, so that coverage sees the imports, too.


def _scenarios():
    from tools.sim import scenario

    for story in scenario.scenarios():
        story.played()


def _seeds(first, end):
    from tools.sim import campaign

    for seed in range(first, end):
        result = campaign.run(seed)
        if not result["ok"]:
            raise CoverageFailed("seed %d breaks something: 'make fuzz' says more" % seed)


def _cases(count):
    from tests.portable.chance import Chance
    from tests.portable.targets import TARGETS

    for case in TARGETS.values():
        for number in range(count):
            case(Chance(number))


if __name__ == "__main__":
    jobs = {"scenarios": _scenarios, "seeds": _seeds, "cases": _cases}
    jobs[sys.argv[1]](*map(int, sys.argv[2:]))
