"""The journal on each of its stores: nothing synced is ever lost, a torn tail is told from
damage, never is an older state taken for the newest."""

from firmware.journal import Journal, JournalDamaged
from raft.log import Log
from raft.message import COMMAND, NOOP
from raft.snapshot import Snapshot
from raft.wire import COMMAND_MAX
from tests.portable.backends import BACKENDS, File, Memory
from tests.portable.memory_store import MemoryStore
from tests.portable.table import raises


def written(backend):
    """A bit of everything in `backend`; returns its records' places."""
    journal = Journal(backend.open())
    journal.recover()
    for write in (
        lambda: journal.epoch(1),
        lambda: journal.hard_state(3, 2),
        lambda: journal.entry(1, (1, NOOP, b"")),
        lambda: journal.entry(2, (1, COMMAND, b"old")),
        lambda: journal.entry(3, (1, COMMAND, b"older")),
        lambda: journal.entry(2, (3, COMMAND, bytes(COMMAND_MAX))),
        lambda: journal.hard_state(4, 0),
    ):
        write()
        journal.sync()
    return backend.store.records


def begun(backend):
    """The journal of a board that has an identity, and nothing else."""
    journal = Journal(backend.open())
    journal.recover()
    journal.identity(3, 2, 77)
    return journal


def recovered(backend):
    return Journal(backend.open()).recover()


def recovered_from(image):
    store = MemoryStore(image)
    return Journal(store).recover(), store


def is_whole(found):
    assert (found.term, found.vote, found.epoch) == (4, 0, 1)
    assert found.entries == [(1, NOOP, b""), (3, COMMAND, bytes(COMMAND_MAX))]


def test_what_was_synced_comes_back():
    for make in BACKENDS:
        backend = make()
        written(backend)
        is_whole(recovered(backend))
        is_whole(recovered(backend))


def test_what_was_not_synced_does_not():
    """Raw flash may be ahead of that."""
    for make in (File, Memory):
        backend = make()
        journal = Journal(backend.open())
        journal.recover()
        journal.hard_state(9, 9)
        if make is Memory:
            assert recovered(backend).term == 0


def test_it_goes_on_where_it_was():
    for make in BACKENDS:
        backend = make()
        written(backend)
        for term in range(5, 9):
            journal = Journal(backend.open())
            assert journal.recover().term == term - 1
            journal.hard_state(term, 1)
            journal.sync()
        assert recovered(backend).term == 8, backend.name


def test_what_is_rewritten_takes_the_place_of_all_before():
    for make in BACKENDS:
        backend = make()
        journal = begun(backend)
        for term in range(1, 40):
            journal.hard_state(term, 1)
        log = Log()
        log.restart(7, 3)
        log.append((3, COMMAND, b"eight"))
        journal.rewrite(40, 2, Snapshot(7, 3, bytes(500)), log)
        journal.hard_state(41, 3)
        journal.sync()
        found = recovered(backend)
        assert found.identity == (3, 2, 77) and (found.term, found.vote) == (41, 3)
        assert found.snapshot.image == bytes(500) and found.entries == [(3, COMMAND, b"eight")]
        written(backend)


def test_an_empty_log_is_rewritten_without_a_snapshot():
    for make in BACKENDS:
        backend = make()
        journal = begun(backend)
        log = Log()
        log.append((1, NOOP, b""))
        journal.rewrite(1, 2, Snapshot(0, 0, b""), log)
        found = recovered(backend)
        assert found.snapshot is None and found.entries == [(1, NOOP, b"")]


def test_a_damaged_journal_is_begun_anew():
    for make in BACKENDS:
        backend = make()
        backend.flip(written(backend)[1][0] + 12, 0)
        journal = Journal(backend.open())
        raises(JournalDamaged, journal.recover)
        journal.begin_anew(3, 9, 77)
        found = recovered(backend)
        assert found.identity == (3, 9, 77) and found.term == 0 and found.entries == []


def test_a_flipped_bit_in_an_acknowledged_record_is_damage():
    """But harmless in a mark: there are others, and the CRC tells that the record is whole."""
    for make in BACKENDS:
        backend = make()
        records = written(backend)
        for begin, end in records:
            for at in range(begin, end):
                if backend.name == "file" and at % 5 and at - begin > 20:
                    continue  # one flip is two files written
                backend.flip(at, at % 8)
                if at == begin:
                    is_whole(recovered(backend))
                    if backend.name == "ring":
                        continue  # it was mended
                else:
                    raises(JournalDamaged, recovered, backend)
                backend.flip(at, at % 8)
        is_whole(recovered(backend))


def test_a_missing_record_is_damage():
    for make in BACKENDS:
        backend = make()
        records = written(backend)
        backend.remove(*records[1])
        raises(JournalDamaged, recovered, backend)


def test_an_entry_beyond_the_end_is_damage():
    for make in BACKENDS:
        backend = make()
        journal = Journal(backend.open())
        journal.recover()
        journal.entry(2, (1, NOOP, b""))
        journal.sync()
        assert "gap" in str(raises(JournalDamaged, recovered, backend))


def test_a_journal_that_grows_without_a_snapshot_says_so():
    """Elections alone must not fill it."""
    for make in BACKENDS:
        backend = make()
        journal = begun(backend)
        for term in range(1, 4000):
            journal.hard_state(term, 1)
            journal.sync()
            if journal.is_crowded():
                journal.rewrite(term, 1, Snapshot(0, 0, b""), Log())
                assert not journal.is_crowded()
        assert recovered(backend).term == 3999, backend.name


def test_counters_beyond_30_bits_are_refused():
    journal = Journal(MemoryStore())
    raises(ValueError, journal.hard_state, 1 << 30, 0)
    raises(ValueError, journal.epoch, -1)


# In a file, whose tail may be short.


def test_a_cut_at_every_byte_loses_only_the_torn_record():
    backend = Memory()
    ends = [end for _, end in written(backend)]
    image = backend.store.image
    for length in range(len(image)):
        found, left = recovered_from(image[:length])
        whole = [end for end in ends if end <= length]
        assert left.image == image[: whole[-1] if whole else 0], length
        assert found.epoch == (1 if whole else 0)


def test_a_torn_tail_is_cut_off_and_the_journal_goes_on():
    backend = Memory()
    written(backend)
    torn = MemoryStore(backend.store.image[:-3])
    journal = Journal(torn)
    journal.recover()
    journal.hard_state(8, 1)
    journal.sync()
    assert recovered_from(torn.image)[0].term == 8


def test_foreign_bytes_are_damage_not_an_empty_journal():
    raises(JournalDamaged, recovered_from, b"\x00" * 100)
    raises(JournalDamaged, recovered_from, b"this is somebody's diary, not a journal")


def test_a_snapshot_of_nothing_is_damage():
    """Nobody writes one: rewritten, it would not come back (found by raftnow parsers)."""
    for make in BACKENDS:
        backend = make()
        journal = begun(backend)
        journal._snapshot(Snapshot(0, 3, b"x"))
        journal.sync()
        assert "of nothing" in str(raises(JournalDamaged, recovered, backend)), backend.name
