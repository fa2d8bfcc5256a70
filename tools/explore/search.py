"""Breadth first over the model's states, on all cores, level by level.

A state belongs to the worker that its hash names. In each round every worker expands its part of
the level, and hands the states that it finds to their owners, who keep those that are new. For each
state its owner remembers by which action it was first reached, so that a violation comes with a
shortest path.
"""

import os
import sys
import time
from hashlib import blake2b
from multiprocessing import Pipe, Process

from tools.explore.model import KINDS, Broken, Model, dump, load, told

_CHUNK = 4000  # states that a worker takes at a time
BUDGET = {
    "timeout": 2,
    "propose": 2,
    "crash": 1,
    "duplicate": 1,
    "beat": 1,
    "lose_quorum": 1,
}


def explore(states=1_500_000, seconds=600, budget=None, workers=None, say=None):
    """Explore until `states` are known, `seconds` are over, or there are none left. Returns a dict
    that JSON can hold.

    `depth`: all that less actions than so many can lead to is known; `full_paths`: states behind an
    election, two proposals and a crash with restart; `violation` with its `path` if `ok` is false.
    """
    say = say or _say
    workers = workers or os.cpu_count() or 1
    budget = dict(BUDGET if budget is None else budget)
    began_s = time.perf_counter()
    crew = [_Worker(number, workers, budget) for number in range(workers)]
    model = Model(budget)
    root = model.initial()
    known = depth = full = transitions = 0
    broken = None
    level = [[] for _ in crew]
    level[_owner(_key(root), workers)].append((root, None, None))
    complete = False
    try:
        while broken is None and any(level):
            found = [[] for _ in crew]
            for begin in range(0, max(map(len, level)), _CHUNK):
                for worker, part in zip(crew, level, strict=True):
                    worker.pipe.send(part[begin : begin + _CHUNK])
                for reply in [worker.pipe.recv() for worker in crew]:
                    broken = broken or reply["broken"]
                    known += reply["new"]
                    full += reply["full"]
                    transitions += reply["transitions"]
                    for owner, part in enumerate(reply["found"]):
                        found[owner] += part
                over = known >= states or time.perf_counter() - began_s >= seconds
                if broken or over:
                    break
            else:
                say("depth %d: %d states, %d transitions" % (depth, known, transitions))
                depth += 1
                level = found
                complete = not any(level)
                continue
            break
        path = _path(crew, broken) if broken else None
    finally:
        for worker in crew:
            worker.end()
    took_s = time.perf_counter() - began_s
    result = {
        "ok": broken is None,
        "states": known,
        "depth": depth,
        "complete": complete,
        "full_paths": full,
        "transitions": transitions,
        "seconds": round(took_s, 1),
        "states_per_second": round(known / took_s),
        "budget": budget,
    }
    if broken is not None:
        result["violation"] = broken["what"]
        result["path"] = path
    return result


def _say(text):
    print(text, file=sys.stderr, flush=True)


def _key(state):
    return int.from_bytes(blake2b(state, digest_size=8).digest(), "little")


def _owner(key, workers):
    return key % workers


class _Worker:
    """One process; `pipe` takes parts of a level and gives what came of them."""

    def __init__(self, number, workers, budget):
        self.pipe, theirs = Pipe()
        self._process = Process(target=_work, args=(theirs, workers, budget), daemon=True)
        self._process.start()

    def end(self):
        self._process.terminate()
        self._process.join()


def _work(pipe, workers, budget):
    model = Model(budget)
    came_by = {}  # key -> (key of the state before, (action, how))
    crash, propose = KINDS.index("crash"), KINDS.index("propose")
    while True:
        order = pipe.recv()
        if isinstance(order, int):
            pipe.send(came_by.get(order))
            continue
        found = [{} for _ in range(workers)]
        new = full = transitions = 0
        broken = None
        for raw, before, by in order:
            key = _key(raw)
            if key in came_by:
                continue
            came_by[key] = (before, by)
            new += 1
            state = load(raw)
            full += bool(state[3]) and state[2][crash] >= 1 and state[2][propose] >= 2
            for action in model.actions(state):
                try:
                    outcomes = model.outcomes(state, action)
                except (Broken, AssertionError) as error:
                    what = str(error) or repr(error)
                    broken = broken or {"what": what, "key": key, "by": (action, "")}
                    continue
                for how, after in outcomes:
                    transitions += 1
                    raw = dump(after)
                    after_key = _key(raw)
                    owner = after_key % workers
                    if owner != key % workers or after_key not in came_by:
                        found[owner].setdefault(after_key, (raw, key, (action, how)))
        pipe.send(
            {
                "new": new,
                "full": full,
                "transitions": transitions,
                "broken": broken,
                "found": [list(part.values()) for part in found],
            }
        )


def _path(crew, broken):
    """The actions that lead to the violation, in words."""
    actions = [broken["by"]]
    key = broken["key"]
    while key is not None:
        worker = crew[_owner(key, len(crew))]
        worker.pipe.send(key)
        key, by = worker.pipe.recv()
        if by is not None:
            actions.append(by)
    return [told(*by) for by in reversed(actions)]
