"""Runs benchmarks, shows them as tables, and keeps each as a JSON file."""

import json
import pathlib

from rich.console import Console
from rich.table import Table

from tools.bench import rows
from tools.bench.goals import judged

BENCHMARKS = {
    "airtime": rows.airtime,
    "latency": rows.latency,
    "throughput": rows.throughput,
    "failover": rows.failover,
    "jam": rows.jam,
    "catch_up": rows.catch_up,
    "scale": rows.scale,
    "sim_speed": rows.sim_speed,
}
FOLDER = pathlib.Path("build/bench")


class BenchError(Exception):
    """There is no such benchmark; the text names those that there are."""


def bench(names=(), folder=FOLDER, console=None):
    """Run the benchmarks `names` (all). Returns {"ok": True, name: its numbers but the rows}; each
    is kept with its rows as `folder`/NAME.json. Raises BenchError."""
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        text = "there is no benchmark '%s': there are %s"
        raise BenchError(text % (unknown[0], ", ".join(BENCHMARKS)))
    console = console or Console(stderr=True)
    result = {"ok": True}
    for name in names or BENCHMARKS:
        numbers = BENCHMARKS[name]()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / (name + ".json")).write_text(json.dumps({"name": name, **numbers}, indent=1))
        console.print("[bold]%s[/]: %s" % (name, " ".join(BENCHMARKS[name].__doc__.split())))
        console.print(_table(numbers["rows"]))
        result[name] = {key: value for key, value in numbers.items() if key != "rows"}
    lines = judged(folder)
    if lines:
        console.print("[bold]goals[/], and what was measured last:")
        console.print(_table(lines))
    return result


def _table(lines):
    table = Table(*lines[0])
    for line in lines:
        table.add_row(*map(str, line.values()))
    return table
