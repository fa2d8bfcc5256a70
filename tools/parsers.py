"""The cases of tests/portable/targets.py and tests/host_targets.py, for as long as one likes.

CPython and MicroPython run the same cases side by side, one target after the other, and must agree.
Stops at the first case that does not hold.
"""

import subprocess
import sys
import time
from pathlib import Path

from tests import host_targets
from tests.portable import targets
from tools.virtual.image import find_interpreter

ROOT = Path(__file__).resolve().parent.parent
FUZZ = ROOT / "tests" / "portable" / "fuzz.py"
BLOCK = 100  # cases under one check sum
SHARES = {"driver": 8, "station": 4, "sessions": 2, "snapshot": 2}  # of the time; others get 1
_HANG_S = 60  # no case takes that long
_AGAIN = "build/venv/bin/raftnow parsers --target %r --first %d --cases 1"

TARGETS = (*targets.TARGETS, *host_targets.TARGETS)


def run(seconds, names=TARGETS, first=0, cases=0, tell=print):
    """`seconds` of all `names` together, or `cases` of each if that is not 0, from number `first`.

    Returns a dict that JSON can hold, with the `failure` if `ok` is False. `tell(line)` hears of
    each target.
    """
    began = time.monotonic()
    parts = sum(SHARES.get(name, 1) for name in names)
    result = {"ok": True, "cases": 0, "targets": {}}
    for name in names:
        share = seconds * SHARES.get(name, 1) / parts
        counts, failure = _run_target(name, first, cases, share)
        result["targets"][name] = counts
        result["cases"] += sum(counts.values())
        tell("%s: %s" % (name, ", ".join("%d on %s" % (n, who) for who, n in counts.items())))
        if failure is not None:
            result["ok"] = False
            result["failure"] = failure
            tell("%(text)s\ncase %(case)d of %(target)s does not hold" % failure)
            break
    result["seconds"] = round(time.monotonic() - began, 3)
    return result


def _run_target(name, first, cases, seconds):
    """({interpreter: cases}, failure or None)."""
    interpreters = {"CPython": [sys.executable, "-u"]}
    if name in targets.TARGETS:
        interpreters["MicroPython"] = [find_interpreter()]
    processes = {who: _start(how, name, first, cases, seconds) for who, how in interpreters.items()}
    told = {}
    failure = None
    for who, process in processes.items():
        try:
            text = process.communicate(timeout=seconds + _HANG_S)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            text = process.communicate()[0] + "HANGS\n"
        told[who] = text.split("\n")
        if process.returncode and failure is None:
            failure = _failure(name, who, first, told[who])
    counts = {who: _count(lines, first) for who, lines in told.items()}
    if failure is None and len(told) == 2:
        failure = _difference(name, told, first, cases)
    return counts, failure


def _start(interpreter, name, first, cases, seconds):
    command = [*interpreter, str(FUZZ), str(ROOT), name, str(first), str(cases), str(seconds)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )


def _count(lines, first):
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "CASES":
            return int(rest)
        if word == "FAILED":
            return int(rest) - first + 1
    return BLOCK * sum(line.startswith("BLOCK ") for line in lines)


def _failure(name, who, first, lines):
    at = [n for n, line in enumerate(lines) if line.startswith("FAILED ")]
    if not at:
        # It hangs, or the interpreter itself ended: behind the last block.
        number = first + _count(lines, first)
        return {"target": name, "case": number, "interpreter": who, "text": "\n".join(lines[-5:])}
    number = int(lines[at[0]].split()[1])
    return {
        "target": name,
        "case": number,
        "interpreter": who,
        "text": "\n".join(lines[at[0] + 1 :]).strip(),
        "again": _AGAIN % (name, number),
    }


def _difference(name, told, first, cases):
    """The first case that the two interpreters disagree on, if there is one."""
    if not cases:
        blocks = [[line for line in lines if line.startswith("BLOCK ")] for lines in told.values()]
        for one, other in zip(*blocks, strict=False):
            if one != other:
                return _run_target(name, int(one.split()[1]), BLOCK, 0)[1]
        return None
    said = [[line for line in lines if line.startswith("IS ")] for lines in told.values()]
    for one, other in zip(*said, strict=True):
        if one != other:
            number = int(one.split()[1])
            text = "; ".join("%s: %s" % pair for pair in zip(told, (one, other), strict=True))
            return {
                "target": name,
                "case": number,
                "interpreter": "both",
                "text": text,
                "again": _AGAIN % (name, number),
            }
    return None
