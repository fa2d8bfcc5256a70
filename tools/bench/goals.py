"""What the benchmarks are to reach, held against what they have measured."""

import json

# (benchmark, what of it: a key, or (keys of the row, key in it), the most it may be; or the least)
GOALS = (
    ("airtime", "ratio_floor", "most", 1.2),
    ("airtime", "ratio_unicast", "most", 0.36),
    ("airtime", ({"boards": 5, "loss": 0.1}, "ratio_unicast"), "most", 0.5),
    ("airtime", ({"boards": 15, "loss": 0.0}, "ratio_unicast"), "most", 0.27),
    ("airtime", ({"boards": 5, "loss": 0.0}, "idle_share"), "most", 0.05),
    ("airtime", ({"boards": 15, "loss": 0.0}, "idle_share"), "most", 0.1),
    ("latency", "ratio", "most", 1.2),
    ("failover", "median_ms", "most", 250),
    ("failover", "p99_ms", "most", 500),
    ("throughput", ({"cap": 30, "elections": 0}, "committed"), "least", 400),
    ("throughput", ({"cap": 100, "elections": 0}, "committed"), "least", 1000),
    ("jam", "lost", "most", 0),
    ("jam", "leader_most_ms", "most", 600),
)


def judged(folder):
    """[{goal, limit, measured, reached}] for all that `folder` holds the results of."""
    lines = []
    for name, what, kind, limit in GOALS:
        path = folder / (name + ".json")
        if not path.exists():
            continue
        measured = _measured(json.loads(path.read_text()), what)
        if measured is None:
            continue  # a benchmark of fewer boards
        reached = measured <= limit if kind == "most" else measured >= limit
        words = what if isinstance(what, str) else _spelled(*what)
        lines.append(
            {
                "goal": "%s: %s" % (name, words),
                "limit": "at %s %s" % (kind, limit),
                "measured": measured,
                "reached": "yes" if reached else "NO",
            }
        )
    return lines


def _measured(numbers, what):
    if isinstance(what, str):
        return numbers.get(what)
    keys, name = what
    rows = [row for row in numbers["rows"] if all(row.get(key) == keys[key] for key in keys)]
    return max((row[name] for row in rows), default=None)


def _spelled(keys, name):
    return "%s with %s" % (name, ", ".join("%s %s" % pair for pair in keys.items()))
