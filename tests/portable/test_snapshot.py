"""Snapshots (§7): the log stays bounded, and a board that lags behind it is brought up."""

from firmware.journal import Journal, JournalDamaged
from raft.core import Busy
from raft.intlist import set_command
from raft.message import APPEND, COMMAND, SNAPSHOT, SNAPSHOT_ACK, SUCCESS, Message
from raft.replication import on_append
from raft.settings import Settings
from raft.snapshot import Snapshot, image_digest
from tests.portable.memory_store import MemoryStore
from tests.portable.table import LONG_MS, Table, raises


def small():
    return Settings(snapshot_entries=8, keep_entries=2)


def lagging(size=5, n=3):
    """Board 3 has heard nothing for long; returns (table, values of the others)."""
    table = Table(n, small())
    for me in table.voters:
        table[me].machine.values = [0] * size
    table.elect(1)
    table.cut = {(i, 3) for i in table.voters} | {(3, i) for i in table.voters}
    for i in range(40):
        table.write(1, set_command(i % size, i))
    assert table[1].log.base_index > 20
    table.cut = set()
    return table


def spend(table, leader, rounds=40, each=None):
    for n in range(rounds):
        table.tick(30, [leader])
        table.settle()
        if each:
            each(n)


def assert_equal(table):
    first = table[table.voters[0]].machine.values
    assert all(table[me].machine.values == first for me in table.voters), [
        table[me].machine.values for me in table.voters
    ]
    assert len({table[me].applied_index for me in table.voters}) == 1


def test_the_log_stays_bounded():
    table = Table(3, small())
    table.elect(1)
    for i in range(200):
        table.write(1, set_command(i % 5, i))
        assert max(len(table[me].log) for me in table.voters) <= 8 + 2 + 2
    assert_equal(table)
    assert table[1].log.last_index == 201


def test_a_leader_compacts_nothing_that_it_has_not_sent():
    """A lone board commits before it has spoken."""
    table = Table(1, small())
    table.tick(300)
    table.tick(0)
    for i in range(30):
        table[1].propose(set_command(0, i))
        table.flush(1)
    table.tick(50)
    table.tick(50)
    assert table[1].sent_index == table[1].applied_index == 31


def test_the_log_is_bounded_in_bytes_too():
    settings = Settings(log_bytes=1024, snapshot_entries=10000)
    table = Table(3, settings)
    table.elect(1)
    for i in range(300):
        table.write(1, set_command(i % 5, i))
        assert table[1].log.size <= 1024
    assert_equal(table)


def test_a_log_that_no_majority_takes_is_busy_not_endless():
    table = Table(3, Settings(log_bytes=1024, window=100000))
    table.elect(1)
    table.cut = {(1, 2), (1, 3)}

    def flood():
        for i in range(1000):
            table[1].propose(set_command(0, i))

    raises(Busy, flood)
    assert table[1].log.size <= 1024 and table[1].commit_index == 1


def test_a_board_that_lags_behind_the_log_gets_the_snapshot():
    table = lagging()
    spend(table, 1)
    assert_equal(table)
    assert table[3].log.base_index >= table[3].snapshot.index - 2
    table.write(1, set_command(0, 99))
    assert_equal(table)


def test_a_snapshot_of_many_frames():
    table = lagging(size=300)
    seen = []

    def note(n):
        seen.append(table[3].applied_index)

    spend(table, 1, each=note)
    assert_equal(table)
    assert len(table[1].snapshot.image) > 1200 and len(set(seen)) > 1


def test_every_chunk_lost_once_and_sent_twice():
    table = lagging(size=300)
    dropped = set()
    for _ in range(100):
        table.tick(30, [1])
        while table.frames:
            _, dst, frame = table.frames.pop(0)
            body = frame[20:-8]
            if frame[1] in (SNAPSHOT, SNAPSHOT_ACK) and body not in dropped:
                dropped.add(body)
                continue
            table.hand(dst, frame)
            table.hand(dst, frame)
    assert len(dropped) > 8
    assert_equal(table)


def test_the_receiver_reboots_at_every_chunk():
    """logcabin #174: the leader must not go on in the middle for ever."""
    for chunk in range(6):
        table = lagging(size=300)
        chunks = 0
        for _ in range(400):
            table.tick(30, [1])
            while table.frames:
                _, dst, frame = table.frames.pop(0)
                table.hand(dst, frame)
                if frame[1] == SNAPSHOT and dst == 3:
                    chunks += 1
                    if chunks == chunk + 1:
                        table.crash(3)
        assert chunks > chunk
        assert_equal(table)


def test_the_leader_changes_in_the_middle():
    table = lagging(size=300)
    table.tick(60, [1])
    for _ in range(3):
        for _, dst, frame in [table.frames.pop(0) for _ in range(len(table.frames))]:
            table.hand(dst, frame)
    assert table[3].incoming is not None
    table.frames.clear()
    table.cut = {(1, i) for i in (2, 3)}
    table.elect(2)
    table.cut = set()
    spend(table, 2)
    assert_equal(table)


def test_a_frame_across_the_snapshot_s_edge_deletes_nothing():
    """openraft #511: what is compacted is committed, and no conflict."""
    table = Table(3, small())
    table.elect(1)
    for i in range(30):
        table.write(1, set_command(0, i))
    follower = table[2]
    base, last = follower.log.base_index, follower.log.last_index
    message = Message()
    message.type, message.src, message.term = APPEND, 1, 1
    message.prev_index, message.prev_term, message.commit_index = base - 3, 1, last
    message.entries = [(1, COMMAND, set_command(0, 0))] * 2
    on_append(follower, message)
    assert (follower.log.base_index, follower.log.last_index) == (base, last)
    message.entries = [(1, COMMAND, set_command(0, 0))] * 3 + [follower.log.entry(base + 1)]
    on_append(follower, message)
    answers = []
    follower.outbox.drain_late(lambda m: answers.append((m.flags, m.index)), True)
    # The whole log was agreed on before; an ack speaks of all of it.
    assert [(flags & SUCCESS, i) for flags, i in answers] == [(1, last), (1, last)]
    assert (follower.log.base_index, follower.log.last_index) == (base, last)


def test_a_conflict_right_at_the_leader_s_base_is_no_dead_end():
    """Found by the simulator: a tail of an older term that reaches over the leader's base."""
    table = Table(3, small())
    table.elect(1)
    table.cut = {(1, i) for i in (2, 3)} | {(i, 1) for i in (2, 3)}
    for i in range(9):
        table[1].propose(set_command(0, i))
    table.tick(0, [1])
    table.elect(2)
    while not table[2].log.base_index:
        table.write(2, set_command(1, 7))
    assert 0 < table[2].log.base_index < table[1].log.last_index
    table.cut = set()
    spend(table, 2)
    assert_equal(table)


def chunk(snapshot, offset, data, term=1):
    message = Message()
    message.type, message.src, message.dst, message.term = SNAPSHOT, 1, 2, term
    message.last_index, message.last_term = snapshot.index, snapshot.term
    message.total, message.digest = len(snapshot.image), image_digest(snapshot.image)
    message.offset, message.data = offset, data
    return message


def wanted(raft):
    answers = []
    raft.outbox.drain_late(lambda m: answers.append((m.type, m.last_index, m.offset)), True)
    return answers


def test_chunks_out_of_order_only_name_what_is_wanted():
    table = Table()
    table.elect(1)
    raft = table[2]
    snapshot = Snapshot(50, 1, bytes(20))
    raft.receive(chunk(snapshot, 10, bytes(10)), table.now_ms)
    raft.receive(chunk(snapshot, 0, bytes(10)), table.now_ms)
    raft.receive(chunk(snapshot, 0, bytes(10)), table.now_ms)
    assert wanted(raft) == [(SNAPSHOT_ACK, 50, o) for o in (0, 10, 10)]
    raft.receive(chunk(snapshot, 10, bytes(10)), table.now_ms)
    assert raft.snapshot_unsaved and raft.commit_index == raft.applied_index == 50
    assert wanted(raft) == [(SNAPSHOT_ACK, 50, 20)]


def test_a_damaged_image_is_wanted_again():
    table = Table()
    table.elect(1)
    raft = table[2]
    before = list(raft.machine.values)
    snapshot = Snapshot(50, 1, bytes(20))
    raft.receive(chunk(snapshot, 0, b"x" * 20), table.now_ms)
    assert wanted(raft) == [(SNAPSHOT_ACK, 50, 0)]
    assert raft.machine.values == before and raft.commit_index == 1
    raft.receive(chunk(snapshot, 0, snapshot.image), table.now_ms)
    assert raft.commit_index == 50


def test_an_old_snapshot_changes_nothing():
    table = Table()
    table.elect(1)
    for i in range(10):
        table.write(1, set_command(0, i))
    raft = table[2]
    old = Snapshot(5, 1, bytes(20))
    raft.receive(chunk(old, 0, bytes(20)), table.now_ms)
    assert raft.machine.values[0] == 9 and raft.commit_index == 11
    newer, newest = Snapshot(50, 1, bytes(20)), Snapshot(60, 1, bytes(24))
    raft.receive(chunk(newest, 0, bytes(10)), table.now_ms)
    raft.receive(chunk(newer, 0, bytes(20)), table.now_ms)
    assert raft.incoming.index == 60 and raft.commit_index == 11


def test_what_follows_the_snapshot_stays():
    """Figure 13, 6: entries behind one that the snapshot ends with are kept, and not committed."""
    table = Table()
    table.elect(1)
    raft = table[2]
    for i in range(4):
        raft.log.append((1, COMMAND, set_command(0, i)))
    raft.receive(chunk(Snapshot(3, 1, bytes(20)), 0, bytes(20)), table.now_ms)
    assert (raft.log.base_index, raft.log.last_index, raft.commit_index) == (3, 5, 3)
    raft.receive(chunk(Snapshot(4, 9, bytes(20)), 0, bytes(20), term=9), table.now_ms)
    assert (raft.log.base_index, raft.log.base_term, raft.log.last_index) == (4, 9, 4)


def test_after_a_power_cut_the_snapshot_and_what_follows_are_there():
    table = Table(3, small())
    table.elect(1)
    for i in range(30):
        table.write(1, set_command(i % 5, i))
    values = list(table[1].machine.values)
    table.crash_all()
    assert all(table[me].commit_index == table[me].snapshot.index > 0 for me in table.voters)
    table.now_ms += LONG_MS
    table.elect(2)
    assert all(table[me].machine.values == values for me in table.voters)


def rewritten(store):
    """A journal with a snapshot of 500 bytes at 7 and two entries behind it."""
    journal = Journal(store)
    journal.recover()
    journal.identity(3, 2, 77)
    journal.epoch(5)
    journal.hard_state(1, 1)
    journal.sync()
    before = bytes(store.image)

    class Entries:
        last_index = 9

        def entry(self, index):
            return (3, COMMAND, bytes([index]))

    journal.rewrite(4, 2, Snapshot(7, 3, bytes(range(250)) * 2), Entries())
    return before


def test_the_journal_keeps_snapshot_state_and_entries():
    store = MemoryStore()
    rewritten(store)
    found = Journal(MemoryStore(store.image)).recover()
    assert (found.identity, found.epoch) == ((3, 2, 77), 5)
    assert (found.term, found.vote) == (4, 2)
    assert (found.snapshot.index, found.snapshot.term) == (7, 3)
    assert found.snapshot.image == bytes(range(250)) * 2
    assert found.entries == [(3, COMMAND, b"\x08"), (3, COMMAND, b"\x09")]


def test_a_power_cut_in_the_rewrite_leaves_what_was_there():
    class Cut(Exception):
        pass

    class CutStore(MemoryStore):
        def finish(self):
            raise Cut()

    store = CutStore()
    raises(Cut, rewritten, store)
    found = Journal(MemoryStore(store.image)).recover()
    assert (found.term, found.vote, found.snapshot) == (1, 1, None)


def test_a_snapshot_that_is_not_whole_is_damage():
    store = MemoryStore()
    rewritten(store)
    whole = Journal(MemoryStore(store.image))
    whole.recover()
    ends = []
    for length in range(len(store.image)):
        try:
            Journal(MemoryStore(store.image[:length])).recover()
        except JournalDamaged:
            ends.append(length)
    assert len(ends) > 300
