"""The ring of raw sectors: what only it has. A cut at every operation, sectors that fail."""

from firmware.journal import Journal, JournalDamaged
from firmware.ringstore import RingStore
from raft.log import Log
from raft.message import COMMAND
from raft.snapshot import Snapshot
from tests.portable.chance import Chance
from tests.portable.memory_flash import ERASED, SECTOR, MemoryFlash, PowerCut
from tests.portable.table import raises

NO_SNAPSHOT = Snapshot(0, 0, b"")
IMAGE = bytearray(8 * SECTOR)


def flash(seed=1):
    for at in range(0, len(IMAGE), SECTOR):
        IMAGE[at : at + SECTOR] = ERASED
    return MemoryFlash(8, Chance(seed), IMAGE)


def opened(chip):
    journal = Journal(RingStore(chip))
    return journal, journal.recover()


def begun():
    """A chip, and the journal on it of a board that has an identity, and nothing else."""
    chip = flash()
    journal, _ = opened(chip)
    journal.identity(3, 2, 77)
    return chip, journal


def fill(journal, terms):
    for term in terms:
        journal.hard_state(term, 1)
        journal.sync()


def story(chip, acknowledged):
    """Some of everything; `acknowledged` is (term, snapshot's index) of the last that returned."""
    journal, found = opened(chip)
    journal.identity(3, 2, 77)
    journal.sync()
    term = found.term
    for _ in range(2):
        for _ in range(25):
            term += 1
            journal.entry(1, (term, COMMAND, bytes(150)))
            journal.hard_state(term, 1)
            journal.sync()
            acknowledged[0] = term
        log = Log()
        log.restart(term, term)
        term += 1
        journal.rewrite(term, 1, Snapshot(term - 1, 1, bytes(900)), log)
        acknowledged[0] = term
        journal.store.tend()
        # Behind a snapshot comes the entry behind it.
        journal.entry(term, (term, COMMAND, b"x"))
        journal.sync()
        log.restart(0, 0)
        journal.rewrite(term, 1, NO_SNAPSHOT, log)
        journal.store.tend()
        journal.store.tend()


def test_a_cut_at_every_operation_loses_nothing():
    whole = flash()
    story(whole, [0])
    operations = whole.operations
    assert operations > 200 and whole.erases > 5
    for cut_at in range(1, operations + 1):
        chip = flash(cut_at)
        chip.cut_at = cut_at
        acknowledged = [0]
        raises(PowerCut, story, chip, acknowledged)
        chip.power_on()
        # And once more, in the recovery.
        chip.cut_at = 1 + cut_at % 5
        try:
            opened(chip)
        except PowerCut:
            pass
        chip.power_on()
        _, found = opened(chip)
        assert acknowledged[0] <= found.term <= acknowledged[0] + 1, cut_at
        again = opened(chip)[1]
        assert (again.term, again.entries) == (found.term, found.entries), cut_at
        story(chip, [0])


def test_the_end_mark_is_programmed_second():
    """Whole, but without a mark: kept, and marked before anything depends on it."""
    chip = flash()
    journal, _ = opened(chip)
    fill(journal, range(1, 4))
    at = journal.store._newest * SECTOR + journal.store._at - 21
    assert chip.image[at] == 0
    chip.image[at] = 0xFF
    assert opened(chip)[1].term == 3
    assert chip.image[at] == 0


def test_a_torn_tail_is_left_and_the_next_sector_names_what_was_before():
    chip = flash()
    journal, _ = opened(chip)
    fill(journal, range(1, 4))
    first = journal.store._newest
    chip.image[first * SECTOR + journal.store._at + 30] = 0
    journal, found = opened(chip)
    assert found.term == 3
    fill(journal, range(4, 6))
    assert journal.store._newest != first
    assert opened(chip)[1].term == 5
    # A record of those before that is not there, either, is missed: the next sector names it.
    # It is all that tells, if the power goes before there is a record in it.
    last = journal.store._newest * SECTOR + 32
    chip.image[last : last + 42] = ERASED[:42]
    assert opened(chip)[1].term == 3
    at = first * SECTOR + 32 + 2 * 21
    for i in range(at, at + 21):
        chip.image[i] = 0xFF
    raises(JournalDamaged, opened, chip)


def test_a_bit_that_flips_makes_no_mark_and_unmakes_none():
    for bit in range(8):
        chip = flash()
        journal, _ = opened(chip)
        fill(journal, range(1, 4))
        begin = journal.store._newest * SECTOR + journal.store._at
        chip.image[begin + 4] = 0
        chip.image[begin] ^= 1 << bit
        assert opened(chip)[1].term == 3, "torn"
        chip.image[begin - 21] ^= 1 << bit
        chip.image[begin - 10] ^= 1 << bit
        raises(JournalDamaged, opened, chip)


def test_a_sector_that_has_vanished_is_damage_not_an_older_state():
    chip, journal = begun()
    fill(journal, range(1, 400))
    journal.rewrite(400, 1, NO_SNAPSHOT, Log())
    fill(journal, range(401, 700))
    image = bytes(chip.image)
    chain = list(journal.store._chain)
    assert len(chain) == 2
    for how in (b"\xff", b"\0", b"\x55"):
        for sector in chain:
            chip.image[:] = image
            chip.image[sector * SECTOR : (sector + 1) * SECTOR] = how * SECTOR
            raises(JournalDamaged, opened, chip)
    # One bit of its header, too.
    for sector in chain:
        for at in range(12, 28):
            chip.image[:] = image
            chip.image[sector * SECTOR + at] ^= 1 << at % 8
            raises(JournalDamaged, opened, chip)
    # Of the marks, one bit does nothing; nor does any of what was replaced.
    for sector in chain:
        for at in (0, 3, 4, 8, 28, 29, 30):
            chip.image[:] = image
            chip.image[sector * SECTOR + at] ^= 1 << at % 8
            assert opened(chip)[1].term == 699
    for sector in range(8):
        if sector not in chain:
            chip.image[:] = image
            chip.image[sector * SECTOR : (sector + 1) * SECTOR] = b"\x5a" * SECTOR
            assert opened(chip)[1].term == 699


def test_a_state_of_one_sector_whose_header_is_bad_is_not_an_empty_journal():
    chip = flash()
    journal, _ = opened(chip)
    fill(journal, range(1, 4))
    chip.image[journal.store._newest * SECTOR + 13] ^= 1
    assert "header" in str(raises(JournalDamaged, opened, chip))


def test_sectors_wear_alike_and_are_counted():
    chip, journal = begun()
    for term in range(1, 5000):
        journal.hard_state(term, 1)
        if term % 150 == 0:
            journal.rewrite(term, 1, NO_SNAPSHOT, Log())
        journal.store.tend()
    store = journal.store
    assert store.forced == 0
    assert max(store._erases) - min(store._erases) <= 1
    assert store.erases == sum(store._erases) == chip.erases > 30
    # The least wear there can be is a sector for each of those that were filled.
    assert store.erases < 8 + 5000 // 150 + 2
    again = RingStore(chip)
    again.find()
    assert sum(again._erases) == store.erases
    assert store.years(3600) == 100_000 * 8 * 3600 // store.erases // 31_536_000


def test_without_quiet_moments_a_write_waits_and_the_leader_is_told():
    chip, journal = begun()
    waits = 0
    for term in range(1, 2000):
        rests = journal.store.needs_rest()
        before = journal.store.forced
        journal.hard_state(term, 1)
        if journal.is_crowded():
            journal.rewrite(term, 1, NO_SNAPSHOT, Log())
        if journal.store.forced > before:
            waits += 1
            assert rests, "nobody was told"
    assert waits > 3
    assert opened(chip)[1].term == 1999


def test_a_worn_sector_is_left_out():
    chip = flash()
    chip.worn = {1, 4}
    journal, _ = opened(chip)
    journal.identity(3, 2, 77)
    for term in range(1, 2000):
        journal.hard_state(term, 1)
        if term % 100 == 0:
            journal.rewrite(term, 1, NO_SNAPSHOT, Log())
            journal.store.tend()
    assert journal.store.worn == 2
    assert opened(chip)[1].term == 1999


def test_a_sector_that_wears_out_later_is_left_out():
    chip = flash()
    for round_ in range(5):
        journal, found = opened(chip)
        journal.identity(3, 2, 77)
        for term in range(found.term + 1, found.term + 500):
            journal.hard_state(term, 1)
            if term % 100 == 0:
                journal.rewrite(term, 1, NO_SNAPSHOT, Log())
                journal.store.tend()
        assert opened(chip)[1].term == term
        chip.worn.add(round_)


def test_an_unreadable_sector_is_damage_if_it_counts():
    chip = flash()
    journal, _ = opened(chip)
    fill(journal, range(1, 400))
    chain = journal.store._chain
    for sector in range(8):
        chip.unreadable = {sector}
        if sector in chain:
            raises(JournalDamaged, opened, chip)
        else:
            assert opened(chip)[1].term == 399


def test_a_full_ring_is_an_error_and_loses_nothing():
    chip = flash()
    journal, _ = opened(chip)
    term = 0
    try:
        while term < 10_000:
            journal.hard_state(term + 1, 1)
            term += 1
    except OSError as error:
        assert error.args[0] == 28
    assert 1000 < term < 10_000
    journal, found = opened(chip)
    assert found.term == term
    # Even then another board may begin.
    journal.begin_anew(3, 3, 77)
    assert opened(chip)[1].identity == (3, 3, 77)


def test_foreign_bytes_are_no_journal():
    chip = flash()
    chance = Chance(5)
    for at in range(len(chip.image)):
        chip.image[at] = chance.below(256)
    journal, found = opened(chip)
    assert found.term == 0 and found.identity is None
    fill(journal, range(1, 400))
    assert opened(chip)[1].term == 399


def test_a_partition_that_is_too_small_is_refused():
    assert "8" in str(raises(ValueError, RingStore, MemoryFlash(7)))


def test_programming_that_does_not_hold_is_noticed():
    """A bit that was not erased after all."""
    chip = flash()
    journal, _ = opened(chip)
    fill(journal, range(1, 4))
    store = journal.store
    at = store._newest * SECTOR + store._at
    for i in range(at, at + 21):
        chip.image[i] = 0
    assert raises(OSError, journal.hard_state, 4, 1).args[0] == 5


class Stubborn(MemoryFlash):
    """The first `refusals` erases say that all is well, and leave a bit as it was."""

    refusals = 0

    def ioctl(self, op, arg):
        answer = super().ioctl(op, arg)
        if op == 6 and self.refusals:
            self.refusals -= 1
            self.image[arg * SECTOR + 4000] = 0xFE
        return answer


def test_an_erase_that_did_not_erase_is_noticed():
    flash()
    chip = Stubborn(8, Chance(1), IMAGE)
    chip.refusals = 2
    journal, _ = opened(chip)
    assert journal.store.worn == 2
    fill(journal, range(1, 400))
    assert opened(chip)[1].term == 399


class HalfErasing(MemoryFlash):
    """The power goes while a sector is erased: all but its first bytes is blank."""

    def ioctl(self, op, arg):
        if op != 6 or not self.cut_at:
            return super().ioctl(op, arg)
        self.image[arg * SECTOR + 12 : arg * SECTOR + 100] = ERASED[:88]
        raise PowerCut()


def test_a_half_erased_sector_is_not_taken_for_an_erased_one():
    flash()
    chip = HalfErasing(8, Chance(1), IMAGE)
    journal, _ = opened(chip)
    journal.identity(3, 2, 77)
    while journal.store.dirty:
        journal.store.tend()
    fill(journal, range(1, 400))
    journal.rewrite(400, 1, NO_SNAPSHOT, Log())
    chip.cut_at = 1_000_000
    for _ in range(8):
        raises(PowerCut, journal.store.tend)
        chip.cut_at = 0
        journal, found = opened(chip)
        assert found.term == 400
        chip.cut_at = 1_000_000
        if not journal.store.dirty:
            break
    chip.cut_at = 0
    fill(journal, range(401, 1600))
    assert opened(chip)[1].term == 1599


def test_a_page_that_has_vanished_is_no_torn_tail():
    """The mark is gone with it; but more follows than one record."""
    chip = flash()
    journal, _ = opened(chip)
    fill(journal, range(1, 60))
    at = journal.store._newest * SECTOR + 32 + 10 * 21
    chip.image[at : at + 256] = ERASED[:256]
    raises(JournalDamaged, opened, chip)


def test_marks_that_a_cut_has_left_out_are_completed():
    """Whole and left: or a sector that vanishes later would not be missed."""
    chip, journal = begun()
    fill(journal, range(1, 10))
    older = journal.store._newest
    journal.rewrite(10, 1, NO_SNAPSHOT, Log())
    fill(journal, range(11, 250))
    first, second = journal.store._chain
    for sector, at, torn in ((older, 29, 0xFF), (first, 28, 0x07), (first, 29, 0x3F)):
        place = sector * SECTOR + at
        assert chip.image[place] == 0
        chip.image[place] = torn
        assert opened(chip)[1].term == 249
        assert chip.image[place] == 0, (sector, at)


def test_a_state_that_was_not_whole_goes_newest_sector_first():
    """So that a cut meanwhile leaves no sectors that go on from nothing."""
    chip, journal = begun()
    fill(journal, range(1, 10))
    journal.store.finish = lambda: None  # the power goes before it is whole
    log = Log()
    log.restart(1, 1)
    journal.rewrite(10, 1, Snapshot(1, 1, bytes(6000)), log)
    before = bytes(chip.image)
    for seed in range(40):
        chip = MemoryFlash(8, Chance(seed), IMAGE)
        chip.image[:] = before
        chip.cut_at = 1 + seed % 5
        try:
            opened(chip)
        except PowerCut:
            pass
        chip.power_on()
        assert opened(chip)[1].term == 9


def test_erase_counts_outlive_a_cut():
    """Behind the erase, and before the count was written."""
    chip = flash()
    journal, _ = opened(chip)
    fill(journal, range(1, 4))
    for at in range(12):
        chip.image[7 * SECTOR + at] = 0xFF
    store = RingStore(chip)
    store.find()
    assert min(store._erases) > 0
