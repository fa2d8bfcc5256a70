"""The journal: what a member must not forget, as records in a store that only grows.

    | mark u8 | check u8 | type u8 | length u16 | sequence u32 | payload | CRC-32 u32 |

`check` guards the length, the CRC all but the mark. The mark (0) is programmed second, once the
rest is there and before anything depends on the record, so that on raw flash

    CRC good, mark there    a record
    CRC good, no mark       whole, but never acknowledged: kept, and marked
    CRC bad,  no mark       the torn tail of a power cut: forgotten, normal
    CRC bad,  mark there    damage: an acknowledged record is lost; the board must not vote

A tail that is followed by anything is damage too, and so is a gap in the sequence. On littlefs,
record and mark go out in one flush, which is atomic there: a bad CRC is always damage. The whole
format is drawn in docs/journal.md.
"""

from binascii import crc32
from struct import pack_into, unpack_from

from firmware.store import RECORD_MAX, JournalDamaged
from raft.message import COUNTER_LIMIT, KIND_MAX, NOBODY, const
from raft.snapshot import Snapshot

_HEAD = const(9)
_FOOT = const(4)
_MARK = const(0)
_PAYLOAD_MAX = RECORD_MAX - _HEAD - _FOOT

_HARD_STATE = const(1)  # term u32, vote u32: one record, so that they can never disagree
_ENTRY = const(2)  # index u32, term u32, kind u8, data; replaces everything from its index on
_EPOCH = const(3)  # epoch u32: this boot's number
_SNAPSHOT = const(4)  # index u32, term u32, total u16, offset u16, piece of the image
_IDENTITY = const(5)  # id u8, incarnation u16, chip u32: whose journal this is
_PIECE = const(160)
# Bytes of a payload: least, most.
_SIZES = {
    _HARD_STATE: (8, 8),
    _ENTRY: (9, _PAYLOAD_MAX),
    _EPOCH: (4, 4),
    _SNAPSHOT: (12, 12 + _PIECE),
    _IDENTITY: (7, 7),
}


class Recovered:
    """What the journal holds: `identity` (id, incarnation, chip; None: nobody's), `term`, `vote`,
    `epoch`, `snapshot` (or None), and the `entries` ((term, kind, data)) behind it."""

    def __init__(self):
        self.identity = None
        self.term = 0
        self.vote = NOBODY
        self.epoch = 0
        self.snapshot = None
        self.entries = []


class Journal:
    """Records over a `firmware.store.Store`. Nothing is durable before `sync` returns."""

    def __init__(self, store):
        self.store = store
        self._sequence = 0
        self._total = 0
        self._identity = None
        self._epoch = 0
        self._buf = bytearray(RECORD_MAX)
        self._view = memoryview(self._buf)

    def recover(self):
        """Read the whole store; call once, first. Raises JournalDamaged."""
        found = Recovered()
        store = self.store
        store.find()
        while True:
            torn_at = self._read_part(found)
            before = store.next_part()
            if before is None:
                break
            if before != self._sequence:
                raise JournalDamaged("records are missing before %s" % store.place(0))
        if torn_at is not None:
            store.cut(torn_at)
        self._identity, self._epoch = found.identity, found.epoch
        snapshot = found.snapshot
        if snapshot is not None:
            if len(snapshot.image) < self._total:
                raise JournalDamaged("the snapshot in the journal is not whole")
            snapshot.image = bytes(snapshot.image)
        return found

    def _read_part(self, found):
        """Read the records of this part; returns where its torn tail begins, None if it has
        none."""
        at = 0
        while True:
            head = self.store.read(_HEAD)
            if not head:
                return None
            size = self._read_record(head, found, at)
            if not size:
                return at
            at += size

    def _read_record(self, head, found, at):
        """Bytes of the record at byte `at`, which begins with `head`; 0 if it is torn."""
        store = self.store
        is_short = len(head) < _HEAD
        rest = b""
        if not is_short:
            mark, check, kind, length, sequence = unpack_from("<BBBHI", head)
            if check == _check(length, kind) and length <= _PAYLOAD_MAX:
                rest = store.read(length + _FOOT)
                is_short = len(rest) < length + _FOOT
        if not rest or is_short or _crc(head, rest, length) != unpack_from("<I", rest, length)[0]:
            if store.is_torn(at, is_short):
                return 0
            raise JournalDamaged("the record at %s is damaged" % store.place(at))
        if sequence != self._sequence + 1:
            raise JournalDamaged("records are missing before %s" % store.place(at))
        self._sequence = sequence
        self._restore(kind, rest[:length], found, at)
        if mark != _MARK:
            store.mark(at)
        return _HEAD + length + _FOOT

    def _restore(self, kind, payload, found, at):
        if kind not in _SIZES:
            raise JournalDamaged("unknown record type %d at %s" % (kind, self.store.place(at)))
        least, most = _SIZES[kind]
        if not least <= len(payload) <= most:
            raise JournalDamaged(
                "the record at %s has %d bytes, type %d has %d to %d"
                % (self.store.place(at), len(payload), kind, least, most)
            )
        if kind == _HARD_STATE:
            found.term, found.vote = self._numbers("<II", payload, at)
        elif kind == _EPOCH:
            found.epoch = self._numbers("<I", payload, at)[0]
        elif kind == _IDENTITY:
            found.identity = self._numbers("<BHI", payload, at)
        elif kind == _ENTRY:
            index, term, entry_kind = self._numbers("<IIB", payload, at)
            place = index - (0 if found.snapshot is None else found.snapshot.index)
            if not 1 <= place <= len(found.entries) + 1:
                raise JournalDamaged(
                    "entry %d at %s leaves a gap in the log" % (index, self.store.place(at))
                )
            if entry_kind > KIND_MAX:
                raise JournalDamaged(
                    "the entry at %s is of unknown kind %d" % (self.store.place(at), entry_kind)
                )
            while len(found.entries) >= place:
                found.entries.pop()
            found.entries.append((term, entry_kind, bytes(payload[9:])))
        elif kind == _SNAPSHOT:
            index, term, self._total, offset = self._numbers("<IIHH", payload, at)
            if not index:
                raise JournalDamaged("the snapshot at %s is of nothing" % self.store.place(at))
            if offset == 0:
                found.snapshot = Snapshot(index, term, bytearray())
            if found.snapshot is None or offset != len(found.snapshot.image):
                raise JournalDamaged("the snapshot at %s has a gap" % self.store.place(at))
            found.snapshot.image.extend(payload[12:])

    def _numbers(self, layout, payload, at):
        """The numbers at the beginning of the record at byte `at`."""
        numbers = unpack_from(layout, payload)
        if max(numbers) >= COUNTER_LIMIT:
            raise JournalDamaged("the record at %s counts beyond 2**30" % self.store.place(at))
        return numbers

    def hard_state(self, term, vote):
        """Note term and vote."""
        pack_into("<II", self._buf, _HEAD, _counter(term), vote)
        self._append(_HARD_STATE, 8)

    def identity(self, member, incarnation, chip):
        """Note whose journal this is."""
        self._identity = (member, incarnation, chip)
        pack_into("<BHI", self._buf, _HEAD, member, incarnation, chip)
        self._append(_IDENTITY, 7)

    def epoch(self, epoch):
        """Note the number of this boot."""
        self._epoch = epoch
        pack_into("<I", self._buf, _HEAD, _counter(epoch))
        self._append(_EPOCH, 4)

    def entry(self, index, entry):
        """Note the entry at `index`; what was there and behind it is replaced."""
        pack_into("<IIB", self._buf, _HEAD, _counter(index), _counter(entry[0]), entry[1])
        end = _HEAD + 9 + len(entry[2])
        self._buf[_HEAD + 9 : end] = entry[2]
        self._append(_ENTRY, end - _HEAD)

    def begin_anew(self, member, incarnation, chip):
        """Put an empty journal of a new identity in the place of whatever is there; returns when
        that is durable."""
        self.store.give_up()
        self.store.begin()
        self._sequence = 0
        self.identity(member, incarnation, chip)
        self.epoch(1)
        self.store.finish()

    def is_crowded(self):
        """True if it is time to `rewrite` the journal, be there a new snapshot or not."""
        return self._identity is not None and self.store.is_crowded()

    def rewrite(self, term, vote, snapshot, log):
        """Put `snapshot` (none if its index is 0) and the entries of `log` behind it in the place
        of all before; returns when that is durable. A power cut in between leaves what was
        there."""
        self.store.begin()
        self._sequence = 0
        self.identity(*self._identity)
        self.epoch(self._epoch)
        self.hard_state(term, vote)
        if snapshot.index:
            self._snapshot(snapshot)
        for index in range(snapshot.index + 1, log.last_index + 1):
            self.entry(index, log.entry(index))
        self.store.finish()

    def _snapshot(self, snapshot):
        image = snapshot.image
        for offset in range(0, max(len(image), 1), _PIECE):
            piece = image[offset : offset + _PIECE]
            pack_into(
                "<IIHH",
                self._buf,
                _HEAD,
                _counter(snapshot.index),
                _counter(snapshot.term),
                len(image),
                offset,
            )
            self._buf[_HEAD + 12 : _HEAD + 12 + len(piece)] = piece
            self._append(_SNAPSHOT, 12 + len(piece))

    def _append(self, kind, length):
        buf = self._buf
        self._sequence += 1
        pack_into("<BBBHI", buf, 0, _MARK, _check(length, kind), kind, length, self._sequence)
        end = _HEAD + length
        pack_into("<I", buf, end, crc32(self._view[1:end]))
        self.store.append(self._view[: end + _FOOT], self._sequence)

    def sync(self):
        """Return when everything noted is durable."""
        self.store.sync()


def _check(length, kind):
    return (length ^ length >> 8 ^ kind ^ 0xA5) & 0xFF


def _crc(head, rest, length):
    return crc32(rest[:length], crc32(head[1:]))


def _counter(value):
    if not 0 <= value < COUNTER_LIMIT:
        raise ValueError("%d does not fit into the journal: counters end at 2**30" % value)
    return value
