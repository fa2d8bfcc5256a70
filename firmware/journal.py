"""The journal: what a member must not forget, as records in a store that only grows.

    | length u16 | type u8 | check u8 | sequence u32 | payload | CRC-32 u32 | mark u8 |

`check` guards the length. The CRC covers all before it. The mark says that the record was whole
before anything could depend on it, so that at recovery

    CRC good, mark there    a record
    CRC good, no mark       whole, but never acknowledged: kept, and marked
    CRC bad,  no mark       the torn tail of a power cut: forgotten, normal
    CRC bad,  mark there    damage: an acknowledged record is lost; the board must not vote

A tail that is followed by anything is damage too, and so is a gap in the sequence. On littlefs,
record and mark go out in one flush, which is atomic there.
"""

from binascii import crc32
from struct import pack_into, unpack_from

from raft.message import COUNTER_LIMIT, KIND_MAX, NOBODY, const
from raft.snapshot import Snapshot
from raft.wire import COMMAND_MAX

_HEAD = const(8)
_FOOT = const(5)
_MARK = const(0x4D)
_PAYLOAD_MAX = COMMAND_MAX + 32

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


class JournalDamaged(Exception):
    """The store holds something that a power cut cannot explain; the text says what and where."""


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
    """Records over a store: anything with read(n), append(buf), sync(), cut(length), and begin()
    and finish() around what shall take the place of everything before, by one atomic step.

    Nothing is durable before `sync` returns. A store that fails raises OSError, and the member has
    to stop: what it was about to promise is not safe.
    """

    def __init__(self, store):
        self._store = store
        self._sequence = 0
        self._total = 0
        self._identity = None
        self._epoch = 0
        self._buf = bytearray(_HEAD + _PAYLOAD_MAX + _FOOT)
        self._view = memoryview(self._buf)

    def recover(self):
        """Read the whole store; call once, first. Raises JournalDamaged."""
        found = Recovered()
        good = 0
        while True:
            record, size = self._read_record(good)
            if record is None:
                break
            kind, payload, marked = record
            self._restore(kind, payload, found, good)
            if not marked:
                self._mark_again(good, kind, payload)
                size = 0
                break
            good += size
        if size:
            self._store.cut(good)
        self._identity, self._epoch = found.identity, found.epoch
        snapshot = found.snapshot
        if snapshot is not None:
            if len(snapshot.image) < self._total:
                raise JournalDamaged("the snapshot in the journal is not whole")
            snapshot.image = bytes(snapshot.image)
        return found

    def _read_record(self, at):
        """((kind, payload, marked), size) of the next record; at the end (None, tail's size)."""
        head = self._store.read(_HEAD)
        if len(head) < _HEAD:
            return None, len(head)
        length, kind, check, sequence = unpack_from("<HBBI", head)
        if check != _check(length, kind) or length > _PAYLOAD_MAX:
            raise JournalDamaged("no record begins at byte %d of the journal" % at)
        rest = self._store.read(length + _FOOT)
        size = _HEAD + len(rest)
        if len(rest) < length + _FOOT - 1:
            return None, size
        marked = len(rest) == length + _FOOT and rest[-1] == _MARK
        if not marked and self._store.read(1):
            raise JournalDamaged("the record at byte %d of the journal has lost its mark" % at)
        if unpack_from("<I", rest, length)[0] != crc32(rest[:length], crc32(head)):
            if marked:
                raise JournalDamaged("the record at byte %d of the journal is damaged" % at)
            return None, size
        if sequence != self._sequence + 1:
            raise JournalDamaged("records are missing before byte %d of the journal" % at)
        self._sequence = sequence
        return (kind, rest[:length], marked), size

    def _mark_again(self, good, kind, payload):
        """The last record is whole but has no mark: it gets one before anything depends on it."""
        self._store.cut(good)
        self._sequence -= 1
        self._buf[_HEAD : _HEAD + len(payload)] = payload
        self._append(kind, len(payload))
        self.sync()

    def _restore(self, kind, payload, found, at):
        if kind not in _SIZES:
            raise JournalDamaged("unknown record type %d at byte %d of the journal" % (kind, at))
        least, most = _SIZES[kind]
        if not least <= len(payload) <= most:
            raise JournalDamaged(
                "the record at byte %d of the journal has %d bytes, type %d has %d to %d"
                % (at, len(payload), kind, least, most)
            )
        if kind == _HARD_STATE:
            found.term, found.vote = _numbers("<II", payload, at)
        elif kind == _EPOCH:
            found.epoch = _numbers("<I", payload, at)[0]
        elif kind == _IDENTITY:
            found.identity = _numbers("<BHI", payload, at)
        elif kind == _ENTRY:
            index, term, entry_kind = _numbers("<IIB", payload, at)
            place = index - (0 if found.snapshot is None else found.snapshot.index)
            if not 1 <= place <= len(found.entries) + 1:
                raise JournalDamaged("entry %d at byte %d leaves a gap in the log" % (index, at))
            if entry_kind > KIND_MAX:
                raise JournalDamaged(
                    "the entry at byte %d is of unknown kind %d" % (at, entry_kind)
                )
            while len(found.entries) >= place:
                found.entries.pop()
            found.entries.append((term, entry_kind, bytes(payload[9:])))
        elif kind == _SNAPSHOT:
            index, term, self._total, offset = _numbers("<IIHH", payload, at)
            if offset == 0:
                found.snapshot = Snapshot(index, term, bytearray())
            if found.snapshot is None or offset != len(found.snapshot.image):
                raise JournalDamaged("the snapshot at byte %d of the journal has a gap" % at)
            found.snapshot.image.extend(payload[12:])

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
        self._store.begin()
        self._sequence = 0
        self.identity(member, incarnation, chip)
        self.epoch(1)
        self._store.finish()

    def rewrite(self, term, vote, snapshot, log):
        """Put `snapshot` and the entries of `log` behind it in the place of all before; returns
        when that is durable. A power cut in between leaves what was there."""
        self._store.begin()
        self._sequence = 0
        self.identity(*self._identity)
        self.epoch(self._epoch)
        self.hard_state(term, vote)
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
        for index in range(snapshot.index + 1, log.last_index + 1):
            self.entry(index, log.entry(index))
        self._store.finish()

    def _append(self, kind, length):
        buf = self._buf
        self._sequence += 1
        pack_into("<HBBI", buf, 0, length, kind, _check(length, kind), self._sequence)
        end = _HEAD + length
        pack_into("<I", buf, end, crc32(self._view[:end]))
        buf[end + 4] = _MARK
        self._store.append(self._view[: end + _FOOT])

    def sync(self):
        """Return when everything noted is durable."""
        self._store.sync()


def _check(length, kind):
    return (length ^ length >> 8 ^ kind ^ 0xA5) & 0xFF


def _numbers(layout, payload, at):
    """The numbers at the beginning of a record, which is at byte `at`."""
    numbers = unpack_from(layout, payload)
    if max(numbers) >= COUNTER_LIMIT:
        raise JournalDamaged("the record at byte %d of the journal counts beyond 2**30" % at)
    return numbers


def _counter(value):
    if not 0 <= value < COUNTER_LIMIT:
        raise ValueError("%d does not fit into the journal: counters end at 2**30" % value)
    return value
