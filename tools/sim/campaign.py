"""Runs of the simulator, as `raftnow sim` and `raftnow fuzz` start them."""

import signal
import sys
import time
import traceback
from multiprocessing import Pool
from random import Random

from rich.console import Console
from rich.progress import track

from raft.intlist import set_command
from raft.message import COMMITTED
from tools.sim.checks import Violation
from tools.sim.faults import Faults, demand
from tools.sim.histories import judge
from tools.sim.trace import Trace
from tools.sim.world import World

MIX = (3, 5, 7)  # boards of a run with faults, by its seed
CALM_BOARDS = 5
FAULTS_S = 30
CALM_S = 300
KINDS = (
    "elections",
    "truncations",
    "snapshots",
    "installed",
    "transfers",
    "changes",
    "crashes",
    "committed",
)
LEAST_PRESENT = 0.3  # share of the runs in which each kind must occur...
_JUDGED_RUNS = 100  # ...as far as fewer runs can tell
_JUDGED_BOARDS = 3  # two have hardly any conflicts, one has nobody to send a snapshot to
_DRIFT_PPM = 100  # of a clock: an ESP32's crystal is good for 10, a hot one for more
_MACHINES = (
    {"size": 5},
    {"size": 200},
    {"machine": "keyvalue", "keys_max": 6, "bytes_max": 300},  # often full
    {"machine": "keyvalue"},
)
_DRIFTS_PPM = (100, 9000)  # two clocks may run apart by `drift_percent`, 2 by default
_PROGRESS_S = 5
_SHRINK = "build/venv/bin/raftnow shrink %d --boards %d --seconds %g --out tests/scenarios/new.txt"
_SUMS = ("events", "virtual_seconds", "deliveries", "operations", "undecided", *KINDS)


class Calm:
    """What a day without faults is like: one write a second, at each board in turn."""

    kinds = ()

    def __init__(self, world, seconds):
        self.world = world
        self._asked = []
        for second in range(1, int(seconds) + 1):
            world.at(second * 1_000_000, self._ask, second)

    def _ask(self, second):
        me = 1 + second % len(self.world.boards)
        self._asked.append(self.world.propose(me, set_command(0, second)))

    def _all_written(self):
        return self.world.checks.all_equal() and all(a.code == COMMITTED for a in self._asked)

    def finish(self):
        """Demand that every write is on every board. Raises Violation."""
        demand(self.world, self._all_written, "every write on every board")
        self.world.checks.finish()


def prepare(seed, boards=0, seconds=FAULTS_S, faults=True, trace=False, story=None):
    """A World, and what will happen in it: Faults or Calm. `boards` 0: as many as fuzz takes;
    `story`: a list for what is done to it (see World)."""
    options = drawn(seed, boards) if faults else {"boards": boards or CALM_BOARDS}
    told = (" --faults" * faults, seed, options["boards"], seconds)
    world = World(
        seed,
        **{"drift_ppm": _DRIFT_PPM, **options},
        trace=Trace() if trace else None,
        replay="build/venv/bin/raftnow sim%s --seed %d --boards %d --seconds %g --trace" % told,
    )
    world.story = story
    return world, (Faults if faults else Calm)(world, seconds)


def failed(world, error):
    """The Violation for what a board must never do: raise `error`."""
    return world.violation("no board fails", "".join(traceback.format_exception(error)))


def drawn(seed, boards=0):
    """Of a World with faults, what follows from the seed beside these: its options."""
    boards = boards or MIX[seed % len(MIX)]
    return {
        "boards": boards,
        "drift_ppm": Random("%d/drift" % seed).choice(_DRIFTS_PPM),
        "settings": _limits(seed, boards),
        "born": Random("%d/birth" % seed).random() < 0.8,
    }


def run(seed, boards=0, seconds=FAULTS_S, faults=True, trace=False):
    """One run: `seconds` virtual seconds of faults, then all is healed, and must come to rest.

    Returns a dict that JSON can hold. `ok` is False if a property did not hold; `violation` then
    has its name, the facts, the virtual time and the command that shows it again.
    """
    world, events = prepare(seed, boards, seconds, faults, trace)
    began_s = time.perf_counter()
    broken = None
    undecided = 0
    try:
        world.run_until(seconds * 1000)
        events.finish()
        undecided = judge(world)
    except Violation as violation:
        broken = violation
    except Exception as error:
        broken = failed(world, error)
    took_s = time.perf_counter() - began_s
    checks = world.checks
    result = {
        "ok": broken is None,
        "seed": seed,
        "boards": len(world.boards),
        "faults": list(events.kinds),
        "virtual_seconds": round(world.now_us / 1e6, 3),
        "seconds": round(took_s, 3),
        "speed": round(world.now_us / 1e6 / took_s, 1),
        "deliveries": world.deliveries,
        "deliveries_per_second": round(world.deliveries / took_s),
        "events": world.events,
        "elections": len(checks.leaders),
        "truncations": checks.truncations,
        "snapshots": checks.snapshots,
        "installed": checks.installed,
        "transfers": checks.transfers,
        "changes": checks.changes,
        "crashes": world.crashes,
        "committed": len(checks.committed),
        "operations": len(world.asked) + len(world.readings),
        "undecided": undecided,
        "hash": world.hash(),
    }
    if broken is not None:
        result["violation"] = {
            "property": broken.property,
            "facts": broken.facts,
            "at_ms": round(broken.at_ms, 3),
            "replay": broken.replay,
        }
    return result


def _limits(seed, boards):
    """Limits of the log, so that most runs take many snapshots, of one chunk or of several."""
    random = Random("%d/limits" % seed)
    return {
        "snapshot_entries": random.choice((4, 8, 16, 64)),
        # A lone board commits and compacts in one step; the checks must see the entry once.
        "keep_entries": random.choice((0, 2, 16) if boards > 1 else (64,)),
        "log_bytes": random.choice((1024, 8192)),
        "window": random.choice((4, 64)),
        **random.choice(_MACHINES),
        # Short, so that the leader changes the members by itself many times in a run.
        "planned_voters": random.choice((boards, boards, max(1, boards - 2))) | 1,
        "promote_ms": random.choice((100, 500, 2000)),
        "remove_ms": random.choice((1000, 3000, 60_000)),
        "gather_ms": 1000,
        "adaptive": seed % 2,
    }


class Tally:
    """What happened in many runs, and in how many of them."""

    # Of a histogram's columns: the count in binary has as many digits as the column's number.
    _HEADS = ("0", "1", "2-3", "4-7", "8-15", "16-31", "32-63", "64-127", "128+")

    def __init__(self):
        self.runs = 0
        self.sums = dict.fromkeys(_SUMS, 0)
        self._columns = {kind: [0] * len(self._HEADS) for kind in KINDS}

    def add(self, result):
        """Count the result of one run."""
        self.runs += 1
        for name in _SUMS:
            self.sums[name] += result[name]
        for kind, columns in self._columns.items():
            columns[min(result[kind].bit_length(), len(columns) - 1)] += 1

    def present(self):
        """{kind: share of the runs in which it occurred}"""
        return {kind: round(1 - n[0] / self.runs, 3) for kind, n in self._columns.items()}

    def rare(self):
        """The kinds of which there was too little to say that they were tested."""
        return [kind for kind, share in self.present().items() if share < LEAST_PRESENT]

    def lines(self):
        """Histograms: in how many runs each kind occurred how often."""
        yield ("%-12s" + "%7s" * len(self._HEADS) + "  present") % ("times a run", *self._HEADS)
        present = self.present()
        for kind, columns in self._columns.items():
            cells = "".join("%7s" % (runs or ".") for runs in columns)
            yield "%-12s%s  %5.1f %%" % (kind, cells, 100 * present[kind])


def fuzz(runs, boards=0, seconds=FAULTS_S, first_seed=1):
    """`runs` runs with the seeds from `first_seed` on, on all cores, up to the first violation.

    Returns sums over the runs that ended, and the share of them in which each kind of event was
    `present`; `ok` False with the `violation` of one run if there was any, or with the kinds that
    were too `rare`. Progress, histograms and what is wrong go to standard error.
    """
    began_s = time.perf_counter()
    tally = Tally()
    broken = None
    jobs = [(seed, boards, seconds) for seed in range(first_seed, first_seed + runs)]
    with Pool(None, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        for result in _watched(pool.imap_unordered(_job, jobs), runs):
            tally.add(result)
            if not result["ok"]:
                broken = result
                break
    took_s = time.perf_counter() - began_s
    judged = broken is None and runs >= _JUDGED_RUNS and not 0 < boards < _JUDGED_BOARDS
    rare = tally.rare() if judged else []
    result = {
        "ok": broken is None and not rare,
        "runs": tally.runs,
        "events": tally.sums["events"],
        "violations": 0 if broken is None else 1,
        "virtual_seconds": round(tally.sums["virtual_seconds"], 3),
        "seconds": round(took_s, 3),
        "present": tally.present(),
        "boards": boards or list(MIX),
        "first_seed": first_seed,
        "speed": round(tally.sums["virtual_seconds"] / took_s, 1),
        "deliveries_per_second": round(tally.sums["deliveries"] / took_s),
        **{name: tally.sums[name] for name in ("deliveries", "operations", "undecided", *KINDS)},
    }
    for line in tally.lines():
        _say(line)
    if rare:
        result["rare"] = rare
        _say("in too few of the runs to be tested: " + ", ".join(rare))
    if broken is not None:
        violation = broken["violation"]
        result["seed"] = broken["seed"]
        result["violation"] = violation
        result["replay"] = violation["replay"]
        _say("broken: %(property)s, at %(at_ms).3f ms: %(facts)s\nagain: %(replay)s" % violation)
        told = (result["seed"], broken["boards"], seconds)
        _say("as a short scenario: " + _SHRINK % told)
    return result


def _job(arguments):
    return run(*arguments)


def _watched(results, runs):
    """The `results`, with a progress bar, or without a terminal a line every few seconds."""
    console = Console(stderr=True)
    if console.is_terminal:
        yield from track(results, "no violation", runs, console=console)
        return
    told_s = time.perf_counter()
    for done, result in enumerate(results, 1):
        yield result
        if time.perf_counter() - told_s >= _PROGRESS_S:
            told_s = time.perf_counter()
            _say("%d of %d runs, no violation" % (done, runs))


def _say(text):
    print(text, file=sys.stderr, flush=True)
