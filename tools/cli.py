"""`raftnow`: the one command line. Every make target is one of its commands.

Results on standard output, progress and errors on standard error. Exit codes: 0 done, 1 it went
wrong (one line says what to do), 2 wrong use.
"""

import json
import os
import pathlib
import sys
from typing import Annotated

import typer

from raft.message import (
    LEASE,
    LINEARIZABLE,
    MEMBER_NAMES,
    MEMBERS,
    ORDER_DEMOTE,
    ORDER_PROMOTE,
    ORDER_REMOVE,
    ORDER_TEXTS,
)
from tools import demo as demo_module
from tools.cluster import Cluster, ClusterError
from tools.link import Link, LinkError
from tools.virtual.image import VirtualBoardError

app = typer.Typer(
    no_args_is_help=True,
    help="Fault-tolerant shared state for ESP32 boards. No router, no server.",
    pretty_exceptions_enable=False,
)

ClusterFile = Annotated[
    str, typer.Option("--cluster", help="Cluster file; by default that of the running demo.")
]
Port = Annotated[int, typer.Option(help="UDP port of the collector, 0: a free one.")]


def main():
    """Entry point: turns the errors that a user can mend into one line and exit code 1."""
    from tools.smoke import SmokeFailed

    try:
        app()
    except (ClusterError, LinkError, VirtualBoardError, SmokeFailed) as error:
        fail(str(error))


def fail(why):
    print("raftnow: " + why, file=sys.stderr)
    sys.exit(1)


def progress(text):
    print(text, file=sys.stderr, flush=True)


def reach_tests():
    """What tests/ is made of is not installed."""
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))


def has_screen():
    return sys.platform == "darwin" or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def connect(path):
    cluster = Cluster.load(path)
    return Link(cluster.host, cluster.port, cluster.name, cluster.key)


@app.command()
def demo(
    boards: Annotated[int, typer.Option(min=1, max=20, help="Number of virtual boards.")] = 5,
    port: Port = 5310,
    window: Annotated[bool, typer.Option(help="Open the viewer if there is a screen.")] = True,
    seconds: Annotated[float, typer.Option(help="End by itself after so long, 0: never.")] = 0,
):
    """Start virtual boards and a collector, and show them: in a window, or one line per event."""
    viewer = None
    if window and has_screen():
        viewer = import_viewer()
    with demo_module.VirtualCluster("demo", nodes=boards, port=port) as running:
        cluster = running.cluster
        progress("%d boards and a collector run here, UDP port %d" % (boards, cluster.port))
        progress("write from another terminal: build/venv/bin/raftnow set 1 2 34")
        if viewer is not None:
            code = viewer.run(
                cluster.host,
                cluster.port,
                cluster.name,
                cluster.key,
                title="raftnow demo",
                board_actions=board_actions(running),
            )
            raise typer.Exit(code)
        from tools.watch import watch_lines

        watch_lines(cluster, seconds)


def board_actions(running):
    """What a board's menu in the demo's window can do to it: (label, function of the node)."""
    boards = running.boards

    def on(do):
        return lambda node: do(running.board(node))

    return (
        ("Kill board {} (power cut)", on(boards.kill)),
        ("Start board {} again", on(boards.start)),
        ("Freeze board {}", on(boards.freeze)),
        ("Thaw board {}", on(boards.thaw)),
        ("Cut board {} off the radio", on(boards.cut_off)),
        ("Let board {} hear and be heard again", on(boards.rejoin)),
    )


def import_viewer():
    """host_ui.app, or None with a line that says what is missing."""
    try:
        from host_ui import app as viewer
    except ImportError as error:
        progress("no window, because Qt is not there (%s); 'make demo' installs it" % error)
        return None
    return viewer


@app.command()
def viewer(cluster: ClusterFile = "cluster.toml"):
    """The viewer against the boards of a cluster file."""
    loaded = Cluster.load(cluster)
    window = import_viewer()
    if window is None or not has_screen():
        fail("there is no screen for a window; 'raftnow watch' shows the same in lines")
    raise typer.Exit(window.run(loaded.host, loaded.port, loaded.name, loaded.key))


@app.command()
def watch(
    cluster: ClusterFile = str(demo_module.CLUSTER_FILE),
    seconds: Annotated[float, typer.Option(help="End after so long, 0: never.")] = 0,
):
    """One line per event of a running cluster."""
    from tools.watch import watch_lines

    watch_lines(Cluster.load(cluster), seconds)


Node = Annotated[int, typer.Argument(help="Board that is asked.")]
Index = Annotated[int, typer.Argument(help="Which integer, from 0 on.")]
Value = Annotated[int, typer.Argument(help="32 bits signed.")]


def change(cluster, make):
    """Have `make(link)` change something, say what became of it, and end."""
    with connect(cluster) as link:
        link.wait_leader(10)
        try:
            command = link.insist(make(link), 10)
        except ValueError as error:
            fail(str(error))
    print(command.text)
    raise typer.Exit(0 if command.state == "committed" else 1)


# A value may be negative: -4 is no option.
NUMBERS = {"ignore_unknown_options": True}


@app.command(name="set", context_settings=NUMBERS)
def set_value(
    node: Node,
    index: Index,
    value: Value,
    cluster: ClusterFile = str(demo_module.CLUSTER_FILE),
):
    """Set one integer through any board, and say what became of it."""
    change(cluster, lambda link: link.set(node, index, value, 10))


@app.command(context_settings=NUMBERS)
def add(
    node: Node,
    index: Index,
    delta: Value,
    cluster: ClusterFile = str(demo_module.CLUSTER_FILE),
):
    """Add to one integer."""
    change(cluster, lambda link: link.add(node, index, delta, 10))


@app.command(context_settings=NUMBERS)
def cas(
    node: Node,
    index: Index,
    expected: Value,
    value: Value,
    cluster: ClusterFile = str(demo_module.CLUSTER_FILE),
):
    """Compare and set: change one integer only if it is what you expect."""
    change(cluster, lambda link: link.cas(node, index, expected, value, 10))


@app.command()
def transfer(
    target: Annotated[int, typer.Argument(help="Board that shall lead.")],
    cluster: ClusterFile = str(demo_module.CLUSTER_FILE),
):
    """Hand leadership over to a board."""
    with connect(cluster) as link:
        try:
            link.transfer(target, 10)
        except ValueError as error:
            fail(str(error))
    print("board %d leads" % target)


@app.command()
def get(
    cluster: ClusterFile = str(demo_module.CLUSTER_FILE),
    timeout: Annotated[float, typer.Option(help="Seconds to wait for every board.")] = 5,
    board: Annotated[
        int, typer.Option(help="Read through this board, no older than now (linearizable).")
    ] = 0,
    lease: Annotated[
        bool, typer.Option("--lease", help="With --board: let the leader answer by its lease.")
    ] = False,
):
    """The database as JSON: as each board last applied it (may lag), or with --board as of now."""
    if board:
        read_through(board, LEASE if lease else LINEARIZABLE, cluster)
    loaded = Cluster.load(cluster)
    with connect(cluster) as link:
        link.run(lambda: set(loaded.nodes) <= set(link.databases()), timeout)
        boards = {
            str(node): {"applied_index": applied, "values": values}
            for node, (applied, values) in link.databases().items()
        }
        print(json.dumps({"leader": link.leader(), "boards": boards}))
    raise typer.Exit(0 if len(boards) == len(loaded.nodes) else 1)


def read_through(board, level, cluster):
    """Print a read that is no older than now, and end."""
    with connect(cluster) as link:
        link.wait_leader(10)
        try:
            reading = link.read(board, 10, level)
        except ValueError as error:
            fail(str(error))
    if reading.values is None:
        fail(reading.reason)
    print(json.dumps({"applied_index": reading.applied_index, "values": reading.values}))
    raise typer.Exit(0)


members = typer.Typer(no_args_is_help=True, help="Who belongs to the cluster.")
app.add_typer(members, name="cluster")


@members.command()
def show(cluster: ClusterFile = str(demo_module.CLUSTER_FILE)):
    """Voters, learners and removed boards as JSON, as the leader knows them now."""
    with connect(cluster) as link:
        reading = link.read(link.wait_leader(10), 10, part=MEMBERS)
    if reading.values is None:
        fail(reading.reason)
    told = {
        str(member): {"role": MEMBER_NAMES[role], "incarnation": incarnation}
        for member, incarnation, role, _ in reading.values
    }
    print(json.dumps({"leader": reading.node, "members": told}))


def order(what, board, cluster):
    """Have the leader change the members, and say so."""
    with connect(cluster) as link:
        try:
            link.order(what, board, 10)
        except ValueError as error:
            fail(str(error))
    print("the leader begins to %s" % ORDER_TEXTS[what])


Member = Annotated[int, typer.Argument(help="Board that it is about.")]


@members.command()
def remove(board: Member, cluster: ClusterFile = str(demo_module.CLUSTER_FILE)):
    """Remove a board; when it is heard again, it stands by as a learner."""
    order(ORDER_REMOVE, board, cluster)


@members.command()
def promote(board: Member, cluster: ClusterFile = str(demo_module.CLUSTER_FILE)):
    """Make a learner a voter."""
    order(ORDER_PROMOTE, board, cluster)


@members.command()
def demote(board: Member, cluster: ClusterFile = str(demo_module.CLUSTER_FILE)):
    """Make a voter a learner."""
    order(ORDER_DEMOTE, board, cluster)


@app.command()
def smoke():
    """The main job from end to end on virtual boards; the last line is a JSON object."""
    from tools import smoke as smoke_module

    result = smoke_module.run(progress)
    print(json.dumps(result))


@app.command()
def sim(
    seed: Annotated[int, typer.Option(help="Everything in the run comes from it.")] = 1,
    boards: Annotated[
        int, typer.Option(min=0, max=20, help="0: 5, or with faults as many as fuzz takes.")
    ] = 0,
    seconds: Annotated[
        float, typer.Option(min=0, help="Virtual seconds; 0: 300, or with faults 30.")
    ] = 0,
    faults: Annotated[bool, typer.Option("--faults", help="With faults, as fuzz does.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="A line per event.")] = False,
):
    """One run of the simulator with all checks; the last line is a JSON object.

    By default a calm one, which tells the speed: one write a second.
    """
    from tools.sim import campaign

    seconds = seconds or (campaign.FAULTS_S if faults else campaign.CALM_S)
    report(campaign.run(seed, boards, seconds, faults, trace))


@app.command()
def fuzz(
    runs: Annotated[int, typer.Option(min=1)] = 200,
    boards: Annotated[int, typer.Option(min=0, max=20, help="0: a mix of 3, 5 and 7.")] = 0,
    seconds: Annotated[float, typer.Option(min=1, help="Virtual seconds of faults a run.")] = 30,
    first_seed: Annotated[int, typer.Option(help="Seed of the first run.")] = 1,
):
    """Many runs of the simulator with faults on all cores, up to the first violation.

    The last line is a JSON object. From 100 runs on, every kind of event must be in 30 % of them.
    """
    from tools import sim as simulator

    report(simulator.fuzz(runs, boards, seconds, first_seed))


@app.command()
def shrink(
    seed: Annotated[int, typer.Argument(help="Seed of a run that breaks something.")],
    boards: Annotated[int, typer.Option(min=0, max=20, help="As in the run; 0: as fuzz.")] = 0,
    seconds: Annotated[float, typer.Option(min=1, help="As in the run: of faults.")] = 30,
    limit: Annotated[float, typer.Option(min=1, help="Seconds to try for.")] = 600,
    out: Annotated[str, typer.Option(help="File for the scenario; by default it is printed.")] = "",
):
    """Reduce a run of the fuzzer that breaks something to a short scenario that breaks the same.

    Without --out the scenario is printed; the last line is a JSON object.
    """
    from tools.sim import shrink as shrinker

    try:
        text, result = shrinker.shrink(seed, boards, seconds, limit, progress)
    except shrinker.NotShrunk as error:
        fail(str(error))
    if out:
        write(out, text)
    else:
        print(text)
    report(result)


def write(path, text):
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError as error:
        fail("cannot write %s: %s" % (path, error.strerror))


@app.command()
def play(file: Annotated[str, typer.Argument(help="Scenario file, see docs/scenarios.md.")]):
    """Play a scenario, and print it with what it does now; what is broken ends it."""
    from tools.sim import scenario

    try:
        print(scenario.Scenario(file).played(), end="")
    except scenario.ScenarioError as error:
        fail(str(error))
    except (OSError, UnicodeDecodeError) as error:
        fail("cannot read %s: %s" % (file, getattr(error, "strerror", None) or error))


@app.command()
def explore(
    states: Annotated[int, typer.Option(min=1, help="End when so many are known.")] = 1_500_000,
    seconds: Annotated[float, typer.Option(min=1, help="End after so long.")] = 600,
):
    """All that three cores can come to, step by step, up to a bound; on all cores of this computer.

    The last line is a JSON object.
    """
    from tools.explore import explore as run

    report(run(states, seconds))


@app.command()
def mutants(
    full: Annotated[bool, typer.Option("--full", help="Every scenario on every mutant.")] = False,
    only: Annotated[str, typer.Option(help="Those with this in their name.")] = "",
):
    """Break the core in every way that the catalogue knows, and see that it is noticed.

    A line a mutant; the last line is a JSON object.
    """
    from tools.mutants import mutants as run

    report(run(full, only))


@app.command()
def parsers(
    seconds: Annotated[float, typer.Option(min=0.1, help="All targets together.")] = 120,
    target: Annotated[
        list[str] | None, typer.Option(help="Only this one; may be given more than once.")
    ] = None,
    first: Annotated[int, typer.Option(min=0, help="Number of the first case.")] = 0,
    cases: Annotated[int, typer.Option(min=0, help="So many of each, whatever the time.")] = 0,
):
    """Whatever takes in bytes takes anything, on both interpreters; up to the first that does not.

    The last line is a JSON object.
    """
    reach_tests()
    from tools import parsers as campaign

    names = target or campaign.TARGETS
    unknown = set(names) - set(campaign.TARGETS)
    if unknown:
        fail("no target is called %s: there are %s" % (unknown.pop(), ", ".join(campaign.TARGETS)))
    report(campaign.run(seconds, names, first, cases, progress))


@app.command()
def bench(
    name: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
):
    """Airtime, latency, failover, catching up, in virtual time; and the simulator's own speed.

    A table each, and build/bench/NAME.json; the last line is a JSON object.
    """
    from tools import bench as benchmarks

    try:
        report(benchmarks.bench(name or ()))
    except benchmarks.BenchError as error:
        fail(str(error))


@app.command()
def coverage(
    runs: Annotated[int, typer.Option(min=0, help="Runs of the fuzzer.")] = 100,
    cases: Annotated[int, typer.Option(min=0, help="Of each target of the parsers.")] = 300,
):
    """How much of raft/ the scenarios and the fuzzing run: statements and branches.

    The last line is a JSON object; less than 95 % is not ok.
    """
    from tools import covered

    try:
        report(covered.covered(runs, cases, progress))
    except covered.CoverageFailed as error:
        fail(str(error))


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(min=0.05, help="Of faults, in real time.")] = 2,
    seed: Annotated[
        int, typer.Option(min=-1, help="The faults come from it; -1: others each time.")
    ] = -1,
):
    """Five virtual boards under faults in real time, and clients whose history is judged.

    A line a fault; the last line is a JSON object.
    """
    from tools import soak as soak_module

    report(soak_module.run(minutes, None if seed < 0 else seed, progress))


@app.command()
def linearizable(
    file: Annotated[str, typer.Argument(help="A history, as tools/history.py writes it.")],
    whole: Annotated[
        bool, typer.Option("--whole", help="A read of several cells is one moment: short ones.")
    ] = False,
    states: Annotated[
        int, typer.Option(min=0, help="Give up, undecided, after so many; 0: half a million.")
    ] = 0,
):
    """Was what clients heard possible? Check a saved history; the last line is a JSON object."""
    from tools import linearizable as checker
    from tools.history import HistoryError, from_text

    try:
        with open(file) as opened:
            history = from_text(opened.read())
    except (OSError, ValueError) as error:
        why = error if isinstance(error, HistoryError) else "cannot be read: %s" % error
        fail("%s: %s" % (file, why))
    report(checker.judge(history, whole, states or checker.STATES_MAX, progress))


@app.command()
def rewrite():
    """Make the generated parts of docs/ and what the scenarios are expected to print anew."""
    from tools import tables
    from tools.sim import scenario

    for path in tables.DOCUMENTS:
        path.write_text(tables.rewritten(path, path.read_text()))
    scenario.MANUAL.write_text(scenario.manual(scenario.MANUAL.read_text()))
    try:
        for story in scenario.scenarios():
            story.rewrite()
    except scenario.ScenarioError as error:
        fail(str(error))


@app.command()
def pictures():
    """Take the pictures in docs/ anew, from the running demo, on a screen of its own."""
    from tools.pictures import PictureError, take

    try:
        take()
    except PictureError as error:
        fail(str(error))


def report(result):
    print(json.dumps(result))
    raise typer.Exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
