"""The journal: nothing synced is ever lost, a torn tail is told from damage."""

from firmware.journal import Journal, JournalDamaged
from raft.message import COMMAND, NOOP
from raft.wire import COMMAND_MAX
from tests.portable.memory_store import MemoryStore
from tests.portable.table import raises


def written():
    """A store with a bit of everything, and where each record ends."""
    store = MemoryStore()
    journal = Journal(store)
    journal.recover()
    ends = []
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
        ends.append(len(store.image))
    return store, ends


def recovered(image):
    store = MemoryStore(image)
    found = Journal(store).recover()
    return found, store


def test_what_was_synced_comes_back():
    store, _ = written()
    found, _ = recovered(store.image)
    assert (found.term, found.vote, found.epoch) == (4, 0, 1)
    assert found.entries == [(1, NOOP, b""), (3, COMMAND, bytes(COMMAND_MAX))]


def test_what_was_not_synced_does_not():
    store = MemoryStore()
    journal = Journal(store)
    journal.recover()
    journal.hard_state(9, 9)
    assert recovered(store.image)[0].term == 0


def test_a_cut_at_every_byte_loses_only_the_torn_record():
    store, ends = written()
    for length in range(len(store.image)):
        found, left = recovered(store.image[:length])
        # A record that lacks only its mark is whole: it is kept, and marked.
        whole = [end for end in ends if end <= length + 1]
        assert left.image == store.image[: whole[-1] if whole else 0], length
        assert found.epoch == (1 if whole else 0)


def test_a_torn_tail_is_cut_off_and_the_journal_goes_on():
    store, ends = written()
    torn = MemoryStore(store.image[: ends[-1] - 3])
    journal = Journal(torn)
    journal.recover()
    journal.hard_state(8, 1)
    journal.sync()
    assert recovered(torn.image)[0].term == 8


def test_a_flipped_bit_in_an_acknowledged_record_is_damage():
    store, ends = written()
    for at in range(ends[-2]):
        image = bytearray(store.image)
        image[at] ^= 1 << (at % 8)
        raises(JournalDamaged, recovered, image)


def test_a_flipped_bit_never_gives_other_contents():
    """In the last record a flip is damage, or (in the mark) is mended."""
    store, ends = written()
    for at in range(ends[-2], ends[-1]):
        for bit in range(8):
            image = bytearray(store.image)
            image[at] ^= 1 << bit
            try:
                found, _ = recovered(image)
            except JournalDamaged:
                continue
            assert at == ends[-1] - 1 and (found.term, found.vote) == (4, 0)


def test_a_missing_record_is_damage():
    store, ends = written()
    image = store.image[: ends[0]] + store.image[ends[1] :]
    raises(JournalDamaged, recovered, image)


def test_foreign_bytes_are_damage_not_an_empty_journal():
    raises(JournalDamaged, recovered, b"\x00" * 100)
    raises(JournalDamaged, recovered, b"this is somebody's diary, not a journal")


def test_an_entry_beyond_the_end_is_damage():
    store = MemoryStore()
    journal = Journal(store)
    journal.recover()
    journal.entry(2, (1, NOOP, b""))
    journal.sync()
    assert "gap" in str(raises(JournalDamaged, recovered, store.image))


def test_counters_beyond_30_bits_are_refused():
    journal = Journal(MemoryStore())
    raises(ValueError, journal.hard_state, 1 << 30, 0)
    raises(ValueError, journal.epoch, -1)
