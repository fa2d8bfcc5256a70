"""The journal's store on raw NOR flash: a ring of sectors of 4 KB, erased ahead.

    | erased: magic u32, erases u32, CRC-32 u32 |                              bytes 0-11
    | opened: number u32, previous u32, before u32, CRC-32 u32 | whole | left |      12-29
    | records ...                                                                    32-4095

Programming clears bits, an erase sets all of a sector. "Erased" is written behind each erase: a
sector without it may be half erased. "Opened" is written when the sector is taken into use: its
`number` is higher than any before, `previous` is the number of the sector whose records it goes on
from, 0 in the first sector of a state; `before` is the sequence number of the last record before.

`whole` and `left` are marks (0; most bits decide). A state counts once `whole` is programmed in
its first sector, so a snapshot is whole before what it replaces is erased. A sector is marked
`left` once the next one has taken over: if the newest one to be found is, what came behind it is
missing, and the board must not vote. So no older state is ever taken for the newest, and no header
has to be told from one that is half erased: a bad one is none. Drawn in docs/journal.md.
"""

from array import array
from binascii import crc32
from struct import pack_into, unpack_from

from firmware.store import RECORD_MAX, JournalDamaged, Store, is_marked
from raft.message import const

SECTOR = const(4096)
SECTORS_MIN = const(8)
_MAGIC = const(0x316E7272)  # "rrn1"
_OPENED = const(12)
_WHOLE = const(28)
_LEFT = const(29)
_RECORDS = const(32)
_DIRTY = const(0)  # to be erased
_READY = const(1)  # erased, and nothing written since
_TAKEN = const(2)  # part of the state, or of the one that is being made
_WORN = const(3)  # cannot be erased, or not be read
_AHEAD_AT_BOOT = const(2)
_ERASE = const(6)  # ioctl
_NUMBERS_APART = const(1000)  # more than are skipped in a row by states that never were whole
_ENOSPC = const(28)
_EIO = const(5)
_SPOILED = bytes(_WHOLE)  # of a header; the marks stay as they are
_BLANK = b"\xff" * 256
_MARK = b"\0"


class RingStore(Store):
    """Store on `partition`, an `esp32.Partition` with blocks of 4096 bytes.

    `forced`: erases that a write had to wait for; `worn`: sectors that cannot be erased or read,
    and are tried again after the next boot. Raises ValueError if the partition is too small.
    """

    def __init__(self, partition):
        super().__init__()
        count = partition.ioctl(4, 0)
        if count < SECTORS_MIN or partition.ioctl(5, 0) != SECTOR:
            raise ValueError(
                "the partition has %d sectors, the journal needs %d of %d bytes"
                % (count, SECTORS_MIN, SECTOR)
            )
        self.sectors = count
        self.forced = 0
        self.worn = 0
        self._flash = partition
        self._uses = bytearray(count)  # _DIRTY...
        self._erases = array("I", [0] * count)  # of each sector since it was new
        self._chain = []  # sectors of the state, oldest first
        self._befores = []  # the last record before each, while they are read
        self._rewriting = False
        self._replaced = -1  # the newest sector of the state that is being replaced
        self._whole_length = 1  # sectors of the state when it was written anew
        self._newest = -1  # the sector that is being written...
        self._number = 0  # ...and its number
        self._highest = 0  # number ever given
        self._at = SECTOR  # where the next record goes
        self._small = bytearray(max(RECORD_MAX, len(_BLANK)))
        self._view = memoryview(self._small)
        self._part = 0
        self._buffer = None  # the part that is being read...
        self._pos = self._end = 0  # ...from where, to behind its last byte that is not blank

    def lifetime_erases(self):
        """Of all sectors, since they were new."""
        return sum(self._erases)

    # Recovery.

    def find(self):
        opened, orphan = self._scan()
        chain = []
        lost = 0
        while opened:
            number = max(opened)
            chain, lost = _chain_to(number, opened)
            if lost or self._has_mark(opened[chain[0]][0], _WHOLE):
                break
            # The power went before this state was whole: it never counted. The newest sector
            # goes first, so that what remains is still one that is not whole.
            while chain:
                number = chain.pop()
                self._spoil(opened.pop(number)[0])
        if lost:
            raise JournalDamaged("sector number %d of the journal is missing" % lost)
        if not chain:
            if orphan >= 0:
                raise JournalDamaged("sector %d of the journal has lost its header" % orphan)
            self._newest = -1
            self._erase_ahead()
            return
        self._newest = opened[number][0]
        self._number = number
        if self._has_mark(self._newest, _LEFT):
            raise JournalDamaged("the sector behind number %d of the journal is missing" % number)
        # A cut may have come before or within these.
        self._mark(opened[chain[0]][0], _WHOLE)
        older = [n for n in opened if n < chain[0]]
        if older:
            self._mark(opened[max(older)][0], _LEFT)
        for number in chain[:-1]:
            self._mark(opened[number][0], _LEFT)
        for number in chain:
            self._chain.append(opened[number][0])
            self._befores.append(opened[number][2])
            self._use(opened[number][0], _TAKEN)
        self._erase_ahead()
        self._buffer = bytearray(SECTOR)
        self._load(0)

    def _scan(self):
        """{number: (sector, previous, before)} of all sectors in use, and one that was, but has no
        good header (-1: there is none)."""
        opened = {}
        orphan = -1
        head = self._view[:_RECORDS]
        self.dirty = self.sectors
        for sector in range(self.sectors):
            try:
                self._flash.readblocks(sector, head, 0)
            except OSError:
                self._use(sector, _WORN)
                continue
            erased = _is_good(head, 0, _OPENED) and unpack_from("<I", head)[0] == _MAGIC
            if erased:
                self._erases[sector] = unpack_from("<I", head, 4)[0]
            if _is_good(head, _OPENED, _WHOLE):
                number, previous, before = unpack_from("<III", head, _OPENED)
                if number in opened:
                    raise JournalDamaged("two sectors of the journal have number %d" % number)
                opened[number] = (sector, previous, before)
            elif erased and head[_OPENED:] == _BLANK[: _RECORDS - _OPENED]:
                self._use(sector, _READY)
            elif erased and is_marked(head[_WHOLE]) and not self._is_blank(sector, _RECORDS):
                orphan = sector
        if opened:
            self._highest = max(opened)
            self._newest = opened[self._highest][0]
        if self.worn:
            # One that cannot be read may come back: its number must not be the highest then.
            self._highest += _NUMBERS_APART
        most = max(self._erases)
        for sector in range(self.sectors):
            # The power went behind its erase: about as worn as the others.
            self._erases[sector] = self._erases[sector] or most
        return opened, orphan

    def _load(self, part):
        self._part = part
        try:
            self._flash.readblocks(self._chain[part], self._buffer, 0)
        except OSError:
            raise JournalDamaged("sector %d of the journal cannot be read" % self._chain[part])
        end = SECTOR
        while end > _RECORDS and self._buffer[end - 1] == 0xFF:
            end -= 1
        self._pos = _RECORDS
        self._end = end

    def read(self, n):
        if self._pos >= self._end:
            return b""
        piece = bytes(self._buffer[self._pos : self._pos + n])
        self._pos += len(piece)
        return piece

    def next_part(self):
        if self._part + 1 < len(self._chain):
            self._load(self._part + 1)
            return self._befores[self._part]
        if self._chain:
            self._at = self._pos
        self._buffer = None
        self._befores = []
        return None

    def place(self, at):
        if not self._chain:
            return "the empty journal"
        return "byte %d of sector %d" % (_RECORDS + at, self._chain[self._part])

    def is_torn(self, at, is_short):
        at += _RECORDS
        return not is_marked(self._buffer[at]) and self._end - at <= RECORD_MAX

    def mark(self, at):
        self._mark(self._chain[self._part], _RECORDS + at)

    def cut(self, at):
        """The rest of the sector is left; the next record opens another one."""
        self._at = SECTOR

    # Writing.

    def append(self, record, sequence):
        super().append(record, sequence)
        if self._at + len(record) > SECTOR:
            self._open(sequence - 1)
        self._program(self._newest, self._at + 1, record[1:])
        self._program(self._newest, self._at, record[:1])
        self._at += len(record)

    def sync(self):
        """`append` was durable."""

    def begin(self):
        self._replaced = self._newest
        self._rewriting = True
        self._chain = []
        self._at = SECTOR

    def finish(self):
        super().finish()
        self._program(self._chain[0], _WHOLE, _MARK)
        if self._replaced >= 0 and self._replaced not in self._chain:
            self._mark(self._replaced, _LEFT)
        self._rewriting = False
        self._whole_length = len(self._chain)
        for sector in range(self.sectors):
            if self._uses[sector] == _TAKEN and sector not in self._chain:
                self._use(sector, _DIRTY)

    def give_up(self):
        # Sectors that are erased before there is another state leave one with sectors missing.
        for sector in self._chain:
            self._use(sector, _DIRTY)

    def is_crowded(self):
        return len(self._chain) - self._whole_length >= (self.sectors - self.worn) // 4

    def _open(self, before):
        """Take another sector; `before` is the sequence number of the last record in this one."""
        previous = self._number if self._chain else 0
        while True:
            sector = self._take()
            self._highest += 1
            head = self._small
            pack_into("<III", head, 0, self._highest, previous, before)
            pack_into("<I", head, 12, crc32(self._view[:12]))
            try:
                self._program(sector, _OPENED, bytes(head[:16]))
                break
            except OSError:
                self._spoil(sector)
                self._use(sector, _WORN)
        if self._chain:
            self._mark(self._newest, _LEFT)
        elif not self._rewriting:
            self._program(sector, _WHOLE, _MARK)  # the very first state: nothing is older
        self._use(sector, _TAKEN)
        self._chain.append(sector)
        self._newest = sector
        self._number = self._highest
        self._at = _RECORDS

    def _take(self):
        """A sector that is erased; a write waits if none was erased ahead."""
        while not self.ready:
            if not self.dirty:
                raise OSError(_ENOSPC)
            self.forced += 1
            self._erase(self._next(_DIRTY))
        return self._next(_READY)

    # In quiet moments.

    def tend(self):
        if self.dirty:
            self._erase(self._next(_DIRTY))

    def needs_rest(self):
        return not self.ready and self.dirty > 0

    def _erase_ahead(self):
        """At boot nobody waits for this board yet."""
        while self.ready < _AHEAD_AT_BOOT and self.dirty:
            self.tend()

    def _next(self, use):
        """The next sector around the ring that is `use`: so all of them wear alike."""
        sector = self._newest
        for _ in range(self.sectors):
            sector = (sector + 1) % self.sectors
            if self._uses[sector] == use:
                return sector

    def _erase(self, sector):
        self.erases += 1
        try:
            # Spoiled first: half erased, a header must not look like a good one.
            self._flash.writeblocks(sector, _SPOILED, 0)
            self._flash.ioctl(_ERASE, sector)
            if not self._is_blank(sector, 0):
                raise OSError(_EIO)
            self._erases[sector] += 1
            head = self._small
            pack_into("<II", head, 0, _MAGIC, self._erases[sector])
            pack_into("<I", head, 8, crc32(self._view[:8]))
            self._program(sector, 0, bytes(head[:_OPENED]))
        except OSError:
            self._use(sector, _WORN)
            return
        self._use(sector, _READY)

    # The chip.

    def _use(self, sector, use):
        """Sector `sector` is `use` from now on."""
        for what, change in ((self._uses[sector], -1), (use, 1)):
            if what == _DIRTY:
                self.dirty += change
            elif what == _READY:
                self.ready += change
            elif what == _WORN:
                self.worn += change
        self._uses[sector] = use

    def _program(self, sector, at, data):
        """Clear bits of `sector`. Raises OSError if they are not what they should be then."""
        self._flash.writeblocks(sector, data, at)
        back = self._view[: len(data)]
        self._flash.readblocks(sector, back, at)
        if back != data:
            raise OSError(_EIO)

    def _has_mark(self, sector, at):
        self._flash.readblocks(sector, self._view[:1], at)
        return is_marked(self._small[0])

    def _mark(self, sector, at):
        """Set a mark, or what is missing of one. Most of its bits are enough."""
        try:
            self._program(sector, at, _MARK)
        except OSError:
            pass

    def _spoil(self, sector):
        """Make the header of a sector that is not to be part of the journal a bad one."""
        try:
            self._program(sector, 0, _SPOILED)
        except OSError:
            pass  # there will be higher numbers than its

    def _is_blank(self, sector, at):
        while at < SECTOR:
            size = min(len(_BLANK), SECTOR - at)
            back = self._view[:size]
            self._flash.readblocks(sector, back, at)
            if back != _BLANK[:size]:
                return False
            at += size
        return True


def _is_good(head, begin, end):
    """True if the bytes from `begin` to `end` end in the CRC of those before."""
    return crc32(head[begin : end - 4]) == unpack_from("<I", head, end - 4)[0]


def _chain_to(number, opened):
    """(numbers, oldest first, that sector `number` goes on from, and itself; the number of one
    that is missing, 0 if there is none)."""
    chain = []
    while number:
        if number not in opened:
            return chain, number
        chain.insert(0, number)
        previous = opened[number][1]
        if previous >= number:
            return chain, previous
        number = previous
    return chain, 0
