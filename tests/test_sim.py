"""The simulator: the same run from the same seed, what a cluster must do, and for each check a
broken core that it catches.

Each core below is broken by a few lines, as real ones were (docs/protocol.md lists the rules); the
property that has to catch it is named beside it.
"""

import json
import os
import pathlib
import subprocess
import sys
from multiprocessing.pool import ThreadPool

import pytest
from typer.testing import CliRunner

from firmware.driver import Driver
from raft import core, election, overhearing, replication, sessions, snapshot, turns
from raft.core import Raft
from raft.intlist import IntList, set_command
from raft.log import Log
from raft.message import (
    APPEND,
    CANDIDATE,
    COMMITTED,
    LEADER,
    LEASE,
    NO_LEADER,
    NOBODY,
    PRE,
    UNKNOWN,
    VOTE_REQUEST,
    identity,
)
from raft.proposals import Proposals
from raft.reads import Reads
from raft.sessions import Sessions
from tools import cli
from tools.sim import board as board_module
from tools.sim import campaign, fuzz, run
from tools.sim.checks import Checks, Violation
from tools.sim.faults import Faults
from tools.sim.histories import LINEARIZABILITY, judge
from tools.sim.trace import Trace
from tools.sim.world import World

ROOT = pathlib.Path(__file__).parent.parent


def led(seed=1, boards=5, **options):
    """A world with a leader and equal logs."""
    world = World(seed, boards, **options)
    assert world.run_until_true(lambda: world.leader() and world.checks.all_equal(), 5000)
    return world


def write(world, me, index, value):
    asked = world.propose(me, set_command(index, value))
    assert world.run_until_true(lambda: asked.code is not None, 5000)
    return asked.code


def settle(world):
    assert world.run_until_true(lambda: world.leader() and world.checks.all_equal(), 10_000)


# Determinism.


def test_a_seed_is_a_run():
    first, again, other = run(4, 5, 5), run(4, 5, 5), run(5, 5, 5)
    assert first["hash"] == again["hash"] != other["hash"]
    assert first["events"] == again["events"] > 1000 and first["ok"]


def test_in_any_process():
    code = "import json; from tools.sim import run; print(json.dumps(run(4, 5, 5)))"
    hashes = {run(4, 5, 5)["hash"]}
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        hashes.add(json.loads(done.stdout)["hash"])
    assert len(hashes) == 1


# What must hold, over a slice of seeds; `make fuzz` runs more.


@pytest.mark.parametrize("boards,runs", [(1, 10), (2, 10), (3, 30), (5, 20)])
def test_no_violation(boards, runs):
    result = fuzz(runs, boards, 15, first_seed=100)
    assert result["ok"], result
    assert result["runs"] == runs and result["committed"] > runs
    assert boards == 1 or result["elections"] > runs


def printed(code, *words):
    """The exit code is `code`; the last line of the command's standard output, as JSON."""
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_what_the_command_line_prints_of_a_run():
    keys = "ok seed boards virtual_seconds seconds speed deliveries deliveries_per_second events"
    calm = printed(0, "sim", "--seconds", "20")
    assert set((keys + " elections crashes committed hash").split()) <= set(calm)
    assert calm["boards"] == 5 and calm["faults"] == [] and calm["virtual_seconds"] >= 20
    assert calm["committed"] >= 20 and calm["elections"] == 1
    faulty = printed(0, "sim", "--faults", "--seed", "3")
    assert faulty["hash"] == run(3)["hash"] and faulty["boards"] == 3 and faulty["faults"]


def test_what_the_command_line_prints_of_many_runs():
    fuzzed = printed(0, "fuzz", "--runs", "3", "--seconds", "2")
    runs = [run(seed, 0, 2) for seed in (1, 2, 3)]
    assert sorted(r["boards"] for r in runs) == [3, 5, 7]
    assert (fuzzed["ok"], fuzzed["runs"], fuzzed["violations"]) == (True, 3, 0)
    assert fuzzed["events"] == sum(r["events"] for r in runs)
    assert fuzzed["virtual_seconds"] >= 6 and fuzzed["seconds"] > 0
    assert fuzzed["present"]["elections"] == 1.0


def test_a_kind_of_event_that_is_too_rare():
    tally = campaign.Tally()
    result = {**run(1, 3, 2), **dict.fromkeys(campaign.KINDS, 5)}
    for number in range(10):
        tally.add({**result, "crashes": number // 7, "transfers": number // 8})
    assert tally.rare() == ["transfers"]
    assert tally.present()["transfers"] == 0.2 and tally.present()["crashes"] == 0.3
    lines = {line.split()[0]: line.split()[1:] for line in tally.lines()}
    assert lines["crashes"] == ["7", "3", *"." * 7, "30.0", "%"]
    assert lines["committed"] == [*"...", "10", *"." * 5, "100.0", "%"]


# Stories.


def test_a_minority_is_cut_off_and_heals():
    world = led()
    old = world.leader()
    term = world.boards[old].raft.term
    assert write(world, old, 0, 1) == COMMITTED
    follower, *majority = [me for me in world.boards if me != old]
    assert write(world, follower, 4, 5) == COMMITTED
    world.partition([[old, follower], majority])
    lost = world.propose(old, set_command(1, 666))
    lost_too = world.propose(follower, set_command(2, 666))
    assert world.run_until_true(lambda: world.leader() in majority, 5000)
    assert world.boards[world.leader()].raft.term > term
    for me in majority:
        assert write(world, me, 0, 100 + me) == COMMITTED
    world.run(3500)  # so long they look for a leader that could take it
    assert lost.code == lost_too.code == UNKNOWN
    world.heal()
    settle(world)
    assert write(world, old, 3, 4) == COMMITTED
    settle(world)
    assert list(world.databases().values()) == [[100 + majority[-1], 0, 0, 4, 5]] * 5
    assert lost.code == lost_too.code == UNKNOWN


@pytest.mark.parametrize("entries", [3, 100])  # fewer and more than the window of uncommitted ones
def test_all_are_killed_at_once_and_start_again(entries):
    world = led()
    for value in range(1, entries + 1):
        assert write(world, value % 5 + 1, value % 5, value) == COMMITTED
    settle(world)
    before = world.databases()
    for me in world.boards:
        world.crash(me)
    world.run(1000)
    assert world.leader() is None and world.databases() == {}
    for me in world.boards:
        world.restart(me)
        world.run(70)
    settle(world)
    assert world.databases() == before
    assert write(world, 1, 0, 7) == COMMITTED


def hold_back(world, *ids):
    """Those of `ids` that have power do not stand by themselves for long."""
    for me in ids:
        if world.boards[me].alive:
            world.touch(me, lambda raft: raft.hold_back(raft.now_ms + 10_000))


@pytest.mark.parametrize("seed", range(1, 21))
def test_after_a_power_cycle_a_leader_within_two_election_timeouts(seed):
    """Rule 4 costs the time of the longest promise; counted from the boot of the last board that
    makes a majority."""
    world = led(seed)
    for me in world.boards:
        world.crash(me)
    world.run(100)
    order = list(world.boards)
    world.random.shuffle(order)
    for me in order[:3]:
        world.run(world.random.randrange(1000))
        world.restart(me)
    settings = world.boards[1].config.settings
    assert world.run_until_true(world.leader, 2 * settings.election_max_ms)


def lead_alone(world, ids):
    """Let one of `ids` win an election and nobody hear its first entry; cut its power."""

    def elected():
        for me in ids:
            raft = world.boards[me].raft
            if raft.role == CANDIDATE:
                others = [world.boards[other].durable for other in ids if other != me]
                if all((o.term, o.vote) == (raft.term, raft.identity) for o in others):
                    return me
        return None

    winner = world.run_until_true(elected, 5000)
    for me in ids:
        world.cut(winner, me)
    assert world.run_until_true(lambda: world.boards[winner].raft.role == LEADER, 5000)
    world.crash(winner)
    world.heal()
    return winner


def test_a_tail_of_a_newer_term_that_is_older_news_is_repaired():
    """Two repairs in a row are too high: the first by term, the second by index."""
    world = led(boards=3)
    old = world.leader()
    assert write(world, old, 1, 1) == COMMITTED
    others = [me for me in world.boards if me != old]
    world.partition([[old], others])
    for value in (1, 2, 3):
        world.propose(old, set_command(0, value))
    world.crash(old)
    newer = lead_alone(world, others)
    world.restart(old)
    hold_back(world, *others)
    assert world.run_until_true(lambda: world.leader() == old, 5000)
    world.restart(newer)
    settle(world)
    assert world.databases()[newer][0] == 3


def test_a_clock_that_runs_fast_and_a_slow_flash_change_nothing():
    world = led(drift_ppm=20_000)
    for board in world.boards.values():
        board.write_us = 20_000
    assert [write(world, me, me - 1, me) for me in world.boards] == [COMMITTED] * 5
    settle(world)
    assert world.databases()[1] == [1, 2, 3, 4, 5]


def test_a_full_receive_ring_drops_the_newest():
    world = led()
    board = world.boards[1]
    for number in range(100):
        board.hear(bytes([number]) * 250, -50)
    assert board.ring_drops == 100 - 8192 // 263
    assert board.receive() == 250 and board.frame[0] == 0


def test_the_trace_has_a_column_for_each_board():
    lines = []
    world = led(boards=3, trace=Trace(lines.append))
    assert lines[0].split() == ["ms", "1", "2", "3"]
    leader = world.leader()
    line = next(line for line in lines if line.endswith("leads, appends 1"))
    assert line.split()[leader] == "*" and "1 0/1" in line
    world.crash(leader)
    assert lines[-1].split()[leader] == "x" and lines[-1].endswith("power off")


# Broken cores.


def swarm(boards, seconds=20, seeds=range(1, 60)):
    for seed in seeds:
        world = World(seed, boards)
        faults = Faults(world, seconds)
        world.run_until(seconds * 1000)
        faults.finish()


def caught_in_a_swarm(name, play, boards):
    """In some run the broken core breaks just that property; in others another may come first."""
    seen = set()
    for seed in range(1, 100):
        try:
            play(boards, seeds=[seed])
        except Violation as violation:
            seen.add(violation.property)
            if violation.property == name:
                return
        except AssertionError as failed:  # the core's own, when it is beyond what can be
            seen.add(str(failed) or "no board fails")
    raise AssertionError("only %s" % seen)


def caught(name, play, *arguments):
    with pytest.raises(Violation) as violation:
        play(*arguments)
    assert violation.value.property == name, violation.value
    assert "seed %d" % violation.value.seed in str(violation.value)
    return violation.value


def handle(monkeypatch, kind, handler):
    monkeypatch.setitem(core._HANDLERS, kind, handler)


def test_caught_voting_twice(monkeypatch):
    def on_vote_request(raft, message):
        if not message.flags & PRE:
            raft.vote = NOBODY
        election.on_vote_request(raft, message)

    handle(monkeypatch, VOTE_REQUEST, on_vote_request)
    caught("one vote per term", swarm, 5)


def test_caught_a_vote_forgotten_at_restart(monkeypatch):
    restore = Raft.restore
    monkeypatch.setattr(Raft, "restore", lambda r, t, vote, e, s: restore(r, t, NOBODY, e, s))
    caught("one vote per term", two_candidates, led(boards=3))


def test_a_vote_survives_a_restart():
    two_candidates(led(boards=3))


def two_candidates(world):
    """Two stand at the same moment; who voted for one restarts, and is asked by the other again."""
    voter, *rivals = [me for me in world.boards]
    for board in world.boards.values():
        board.config.settings.promise_ms = 0
    for me in world.boards:
        world.crash(me)
        world.restart(me)
    world.partition([[voter, rivals[0]], [voter, rivals[1]]])  # rivals do not hear each other
    term = world.boards[voter].durable.term + 1
    for me in rivals:
        raft = world.boards[me].raft
        raft.become_candidate()
        raft.election_at_ms += 1000
        raft.heartbeat_at_ms = 0
    world.boards[voter].raft.election_at_ms += 2000
    for me in rivals:
        world.cut(voter, me)  # no answer arrives: both go on asking
    assert world.run_until_true(lambda: world.boards[voter].durable.term == term, 1000)
    world.run(20)
    world.crash(world.boards[voter].durable.vote & 0xFF)  # the other one asks alone
    world.crash(voter)
    world.restart(voter)
    world.run(140)
    assert world.boards[voter].durable.term == term


def test_caught_a_minority_that_elects(monkeypatch):
    monkeypatch.setattr(Raft, "majority", lambda raft: 2)
    for module in (replication, overhearing):
        monkeypatch.setattr(module, "advance_commit", lambda raft: None)  # no other sign of it
    world = World(1, 5)
    world.partition([[1, 2], [3, 4, 5]])
    caught("election safety", world.run, 2000)


def figure_8(world):
    """Figure 8 of the paper. An old entry gets onto a majority, (c), and a leader whose last entry
    is of a newer term takes over, (d)."""
    s1 = world.leader()
    s2, *three = [me for me in world.boards if me != s1]
    first = world.boards[s1].raft.log.last_index + 1
    world.partition([[s1, s2], three])
    for value in range(40):  # more than one frame holds: else the new leader's no-op is with them
        world.boards[s1].raft.propose(set_command(0, value))
    assert world.run_until_true(lambda: len(world.boards[s2].durable.terms) >= first + 39, 200)
    world.crash(s1)
    world.crash(s2)
    s5 = lead_alone(world, three)
    s3, s4 = [me for me in three if me != s5]
    world.crash(s4)
    world.restart(s1)
    world.restart(s2)
    hold_back(world, s3)

    def old_entry_on_a_majority():
        leader = world.leader()
        return leader and world.boards[leader].raft.followers[identity(s3, 1)].match_index >= first

    assert world.run_until_true(old_entry_on_a_majority, 5000)
    for me in (s1, s2, s3):
        world.crash(me)
    world.run(10)  # what is on the air finds nobody
    for me in (s3, s4, s5):
        world.restart(me)
    hold_back(world, s3, s4)
    assert world.run_until_true(lambda: world.leader() == s5, 5000)
    assert world.run_until_true(lambda: world.boards[s3].raft.commit_index >= first, 5000)


TEXTBOOK = {"overhears": False}


@pytest.mark.parametrize("settings", [{}, TEXTBOOK])
def test_figure_8(settings):
    figure_8(led(settings=settings))


def test_caught_committing_an_old_term_by_counting(monkeypatch):
    def advance_commit(raft):
        matched = [f.match_index for f in raft.followers.values()] + [raft.durable_index]
        index = sorted(matched)[len(matched) - raft.majority()]
        raft.commit_index = max(raft.commit_index, index)

    monkeypatch.setattr(replication, "advance_commit", advance_commit)
    # Elsewhere the acks of the old entries alone are not asked for.
    caught("leader completeness", figure_8, led(settings=TEXTBOOK))


def test_caught_a_vote_for_a_shorter_log(monkeypatch):
    monkeypatch.setattr(Log, "is_up_to_date", lambda log, index, term: True)
    caught("leader completeness", swarm, 3)


def test_caught_deleting_without_a_conflict(monkeypatch):
    def on_append(raft, message):
        if message.term >= raft.term and raft.log.term_at(message.prev_index) is not None:
            raft.log.truncate(message.prev_index + 1)
        replication.on_append(raft, message)

    def play(world):
        world.record()
        for value in range(5):
            write(world, world.leader(), 0, value)
        settle(world)
        follower = next(me for me in world.boards if me != world.leader())
        for number in range(len(world.recorded)):
            world.play_back(follower, number)

    handle(monkeypatch, APPEND, on_append)
    caught("state machine safety", play, led(boards=3))


def test_caught_accepting_behind_another_entry(monkeypatch):
    def on_append(raft, message):
        held = raft.log.term_at(message.prev_index)
        message.prev_term = message.prev_term if held is None else held
        replication.on_append(raft, message)

    handle(monkeypatch, APPEND, on_append)
    caught_in_a_swarm("log matching", swarm, 3)


def test_caught_replacing_in_place_and_keeping_the_tail(monkeypatch):
    def truncate(log, index):
        log._entries[index - 1 : index] = [(0, 0, b"")]

    monkeypatch.setattr(Log, "truncate", truncate)
    caught("log matching", swarm, 3)


def test_caught_committing_what_is_not_matched(monkeypatch):
    def on_append(raft, message):
        replication.on_append(raft, message)
        if message.term == raft.term:
            commit_index = min(message.commit_index, raft.log.last_index)
            raft.commit_index = max(raft.commit_index, commit_index)

    handle(monkeypatch, APPEND, on_append)
    caught("state machine safety", swarm, 3)


def test_caught_a_commit_index_that_falls(monkeypatch):
    def on_append(raft, message):
        replication.on_append(raft, message)
        if message.term == raft.term:
            raft.commit_index = min(raft.commit_index, message.commit_index)

    handle(monkeypatch, APPEND, on_append)
    caught("monotonicity", swarm, 3)


def test_caught_a_term_forgotten_at_restart(monkeypatch):
    restore = Raft.restore
    monkeypatch.setattr(Raft, "restore", lambda raft, t, v, e, s: restore(raft, 0, NOBODY, e, s))
    caught("monotonicity", swarm, 3)


def read_at_a_deposed_leader():
    """It was cut off, another leads and has answered a client, and it does not know it yet."""
    settings = {"election_max_ms": 2000}
    world = World(5, 5, settings=settings)
    assert world.run_until_true(lambda: world.leader() and world.checks.committed, 10_000)
    world.run(200)
    old = world.leader()
    world.partition([[old], [me for me in world.boards if me != old]])
    assert world.run_until_true(lambda: world.leader() != old, 10_000)
    asked = world.propose(world.leader(), set_command(0, 1))
    assert world.run_until_true(lambda: asked.code is not None, 1000)
    assert asked.code == COMMITTED and world.boards[old].raft.role == LEADER
    world.read(old)
    world.run(1000)
    return world


def test_a_deposed_leader_answers_no_read():
    assert read_at_a_deposed_leader().checks.reads == 0


def test_caught_a_read_without_a_majority(monkeypatch):
    monkeypatch.setattr(turns, "is_confirmed", lambda raft, seq: True)
    caught("linearizable reads", read_at_a_deposed_leader)


def test_caught_a_read_confirmed_by_old_acks(monkeypatch):
    def old_acks_count(raft, seq):
        heard = [f for f in raft.followers.values() if f.heard_seq]
        return len(heard) + 1 >= raft.majority()

    monkeypatch.setattr(turns, "is_confirmed", old_acks_count)
    caught("linearizable reads", read_at_a_deposed_leader)


def test_caught_a_follower_that_does_not_wait(monkeypatch):
    def impatient(reads, message, epoch):
        message.index = 0
        on_read_index(reads, message, epoch)

    on_read_index = Reads.on_read_index
    monkeypatch.setattr(Reads, "on_read_index", impatient)
    caught("linearizable reads", swarm, 5)


SMALL_LOG = {"snapshot_entries": 4, "keep_entries": 0}


def small_logs(boards, seconds=20, seeds=range(1, 60)):
    for seed in seeds:
        world = World(seed, boards, settings=SMALL_LOG)
        faults = Faults(world, seconds)
        world.run_until(seconds * 1000)
        faults.finish()


def isolated_leader(seed, drift_ppm):
    """It is read by its lease, while others elect and write."""
    world = led(seed, 3, drift_ppm=drift_ppm)
    leader = world.leader()
    others = [me for me in world.boards if me != leader]
    for value in range(4):  # these ask for acks: the lease is new
        write(world, leader, 1, value)
    world.partition([[leader], others])
    for _ in range(80):
        world.propose(others[0], set_command(0, 1))
        world.read(leader, LEASE)
        world.run(10)
    return world


@pytest.mark.parametrize("seed", range(1, 21))
def test_a_lease_ends_in_time_on_clocks_within_the_bound(seed):
    """Two clocks are 2 % apart at most, as `drift_percent` says."""
    assert isolated_leader(seed, 10_000).checks.reads > 0


def test_caught_clocks_beyond_the_bound():
    """A leader's clock that is far too slow keeps a lease that nobody has promised any more."""
    with pytest.raises(Violation) as violation:
        for seed in range(1, 61):
            isolated_leader(seed, 400_000)
    assert violation.value.property == "linearizable reads"


def test_caught_by_the_judge_of_histories_alone(monkeypatch):
    """What clients heard gives the same away, without a look into the boards."""
    monkeypatch.setattr(Checks, "read_ends", lambda *_: None)
    with pytest.raises(Violation) as violation:
        for seed in range(1, 61):
            judge(isolated_leader(seed, 400_000))
    assert violation.value.property == LINEARIZABILITY
    assert "read all lease" in violation.value.facts


def test_caught_a_snapshot_of_what_is_not_committed(monkeypatch):
    def hasty(raft):
        last = raft.log.last_index
        if last - raft.log.base_index > 4:
            raft.snapshot = snapshot.pack(raft)
            raft.snapshot.index, raft.snapshot.term = last, raft.log.last_term
            raft.snapshot_unsaved = True
            raft.log.compact(last)

    monkeypatch.setattr(snapshot, "take_if_due", hasty)
    caught_in_a_swarm("state machine safety", small_logs, 3)


def test_caught_a_snapshot_that_forgets(monkeypatch):
    restore = IntList.restore

    def forgetful(machine, image):
        restore(machine, image)
        machine.values[0] = 0

    monkeypatch.setattr(IntList, "restore", forgetful)
    caught("database", small_logs, 3)


def test_caught_a_snapshot_acknowledged_before_it_is_durable(monkeypatch):
    """The ack leaves first, and the power goes before the write."""
    install = snapshot._install

    def careless(raft, incoming):
        installed = install(raft, incoming)
        raft.unsaved = raft.snapshot_unsaved = False
        return installed

    monkeypatch.setattr(snapshot, "_install", careless)
    caught_in_a_swarm("durable before sent", small_logs, 3)


def test_caught_a_leader_that_changes_its_own_log(monkeypatch):
    propose = Raft.propose

    def replacing(raft, data, kind):
        if raft.role == LEADER and raft.log.last_index > raft.commit_index:
            raft.log.truncate(raft.log.last_index)
        return propose(raft, data, kind)

    def play(world):
        leader = world.leader()
        write(world, leader, 0, 0)
        for value in (1, 2):
            world.propose(leader, set_command(0, value))

    monkeypatch.setattr(Raft, "propose", replacing)
    caught("leader append-only", play, led())


def test_caught_speaking_before_the_flash(monkeypatch):
    monkeypatch.setattr(Driver, "_save", lambda driver: driver.raft.persisted())
    caught("durable before sent", swarm, 3)


def test_caught_a_majority_that_is_none(monkeypatch):
    def advance_commit(raft):
        raft.commit_index = raft.log.last_index

    monkeypatch.setattr(replication, "advance_commit", advance_commit)
    caught("durable majority", swarm, 3)


def test_caught_applying_something_else(monkeypatch):
    entry = Log.entry
    apply_committed = Raft.apply_committed

    def on_board_2(raft, applied):
        if raft.me == 2:
            raft.log.entry = lambda index: (1, 1, set_command(0, entry(raft.log, index)[0]))
        apply_committed(raft, applied)
        raft.log.__dict__.pop("entry", None)

    monkeypatch.setattr(Raft, "apply_committed", on_board_2)
    caught("state machine safety", swarm, 3)


def test_caught_a_database_that_differs(monkeypatch):
    def idle(machine, heard):
        machine.apply = lambda command: heard(command) or COMMITTED
        return machine

    monkeypatch.setattr(board_module, "watched", idle)
    caught("database", swarm, 3)


def test_caught_a_false_yes(monkeypatch):
    append_own = Proposals._append_own

    def hasty(proposals, proposal):
        append_own(proposals, proposal)
        if proposal.index and proposal.answer is not None:
            proposals._finish(proposal, COMMITTED)

    monkeypatch.setattr(Proposals, "_append_own", hasty)
    caught("durability", swarm, 3)


def test_caught_a_repeat_applied_twice(monkeypatch):
    """CockroachDB #10602."""
    monkeypatch.setattr(sessions._Session, "outcome", lambda session, sequence: (0, 0))
    caught("exactly once", swarm, 3)


def test_caught_a_session_table_that_is_not_in_the_snapshot(monkeypatch):
    """redisraft #568."""
    monkeypatch.setattr(Sessions, "take_over", lambda table, found: None)
    caught("database", small_logs, 3)


@pytest.mark.parametrize("named", (False, True), ids=("no entry", "its entry"))
def test_caught_a_no_that_is_none(monkeypatch, named):
    append_own = Proposals._append_own

    def hasty(proposals, proposal):
        append_own(proposals, proposal)
        if proposal.index and proposal.answer is not None:
            proposal.index = named and proposal.index
            proposals._finish(proposal, NO_LEADER)

    monkeypatch.setattr(Proposals, "_append_own", hasty)
    caught("exactly once", swarm, 3)


def test_caught_an_assertion(monkeypatch):
    def on_append(raft, message):
        assert raft.role == LEADER, "only leaders hear"

    handle(monkeypatch, APPEND, on_append)
    assert "only leaders hear" in caught("no board fails", swarm, 3).facts


def never(raft):
    raft.election_at_ms = 1 << 29


def test_caught_standing_still(monkeypatch):
    monkeypatch.setattr(election, "reset_timer", never)
    caught("liveness", swarm, 3)


def test_a_violation_says_how_to_see_it_again(monkeypatch, capsys):
    monkeypatch.setattr(election, "reset_timer", never)
    monkeypatch.setattr(campaign, "Pool", lambda *_: ThreadPool(1))  # which is broken, too
    fuzzed = fuzz(1, 0, 2, first_seed=7)
    assert (fuzzed["ok"], fuzzed["violations"], fuzzed["seed"]) == (False, 1, 7)
    assert fuzzed["violation"]["property"] == "liveness"
    assert fuzzed["replay"] in capsys.readouterr().err
    raftnow, *words = fuzzed["replay"].split()
    assert raftnow == "build/venv/bin/raftnow"
    assert printed(1, *words)["violation"] == fuzzed["violation"]
