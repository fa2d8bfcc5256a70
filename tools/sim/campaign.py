"""Runs of the simulator, as `raftnow sim` and `raftnow fuzz` start them."""

import multiprocessing
import sys
import time
from random import Random

from tools.sim.checks import Violation
from tools.sim.faults import Faults
from tools.sim.trace import Trace
from tools.sim.world import World

_DRIFT_PPM = 100  # of a clock: an ESP32's crystal is good for 10, a hot one for more
_PROGRESS_S = 5


def run(seed, boards=5, seconds=30, trace=False):
    """One run: `seconds` virtual seconds of faults, then all is healed, and must come to rest.

    Returns a dict that JSON can hold. `ok` is False if a property did not hold; `violation` then
    has its name, the facts, the virtual time and the command that shows it again.
    """
    replay = "raftnow sim --seed %d --boards %d --seconds %g --trace" % (seed, boards, seconds)
    world = World(
        seed,
        boards,
        drift_ppm=_DRIFT_PPM,
        settings=_limits(seed, boards),
        trace=Trace() if trace else None,
        replay=replay,
    )
    faults = Faults(world, seconds)
    began_s = time.perf_counter()
    broken = None
    try:
        world.run_until(seconds * 1000)
        faults.finish()
    except Violation as violation:
        broken = violation
    took_s = time.perf_counter() - began_s
    result = {
        "ok": broken is None,
        "seed": seed,
        "boards": boards,
        "faults": faults.kinds,
        "virtual_seconds": round(world.now_us / 1e6, 3),
        "seconds": round(took_s, 3),
        "speed": round(world.now_us / 1e6 / took_s, 1),
        "deliveries": world.deliveries,
        "deliveries_per_second": round(world.deliveries / took_s),
        "events": world.events,
        "elections": len(world.checks.leaders),
        "crashes": world.crashes,
        "committed": len(world.checks.committed),
        "snapshots": world.checks.snapshots,
        "installed": world.checks.installed,
        "transfers": world.transfers,
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
        "size": random.choice((5, 5, 200)),
    }


def fuzz(runs, boards=5, seconds=30, first_seed=1):
    """`runs` runs with the seeds from `first_seed` on, on all cores, up to the first violation.

    Returns sums over the runs that ended; `ok` False and the `violation` of one run if there was
    any. Progress goes to standard error.
    """
    began_s = told_s = time.perf_counter()
    sums = dict.fromkeys(
        ("virtual_seconds", "deliveries", "events", "elections", "crashes", "committed")
        + ("snapshots", "installed", "transfers"),
        0,
    )
    done = 0
    broken = None
    jobs = [(seed, boards, seconds) for seed in range(first_seed, first_seed + runs)]
    with multiprocessing.Pool() as pool:
        for result in pool.imap_unordered(_job, jobs):
            done += 1
            for name in sums:
                sums[name] += result[name]
            if not result["ok"]:
                broken = result
                break
            now_s = time.perf_counter()
            if now_s - told_s >= _PROGRESS_S:
                told_s = now_s
                print("%d of %d runs, no violation" % (done, runs), file=sys.stderr, flush=True)
    took_s = time.perf_counter() - began_s
    result = {
        "ok": broken is None,
        "runs": done,
        "boards": boards,
        "first_seed": first_seed,
        "seconds": round(took_s, 3),
        "speed": round(sums["virtual_seconds"] / took_s, 1),
        "deliveries_per_second": round(sums["deliveries"] / took_s),
        **sums,
    }
    result["virtual_seconds"] = round(sums["virtual_seconds"], 3)
    if broken is not None:
        result["seed"] = broken["seed"]
        result["violation"] = broken["violation"]
    return result


def _job(arguments):
    return run(*arguments)
