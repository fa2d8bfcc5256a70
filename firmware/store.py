"""What a journal is kept on: the interface of both kinds, and what they have in common.

`firmware.ringstore` keeps it on raw flash, `firmware.filestore` in a file for boards without the
partition `raft`. A store holds records in parts, oldest first (a file is one part, a ring has one
in each sector), and knows what a power cut can leave on its medium; what records mean is the
journal's.
"""

from raft.message import const
from raft.wire import COMMAND_MAX

RECORD_MAX = COMMAND_MAX + 32 + 13  # bytes: head, payload, check sum
ENDURANCE = const(100_000)  # erases that a sector of NOR flash bears (data sheets)
_YEAR_S = const(31_536_000)
_CROWDED = const(32768)


class JournalDamaged(Exception):
    """The store holds something that a power cut cannot explain; the text says what and where."""


def is_marked(byte):
    """True if most bits of a mark are programmed, from 0xFF to 0: no single bit that flips, either
    way, makes or unmakes one."""
    ones = 0
    while byte:
        byte &= byte - 1
        ones += 1
    return ones < 4


class Store:
    """A store that fails raises OSError, and the member has to stop: what it was about to promise
    is not safe.

    Counted since boot: `writes` (records), `written` (bytes of them), `erases` (of sectors).
    `sectors`: that share the wear; `dirty`: to be erased in a quiet moment (`tend`); `ready`:
    erased ahead.
    """

    def __init__(self):
        self.writes = 0
        self.written = 0
        self.erases = 0
        self.sectors = 0
        self.dirty = 0
        self.ready = 0
        self._grown = 0  # bytes behind what the last `finish` has made

    def find(self):
        """Go to the beginning of the newest whole state; call once, before `read`. Raises
        JournalDamaged."""

    def read(self, n):
        """The next `n` bytes of this part, fewer at its end."""
        raise NotImplementedError

    def next_part(self):
        """Go on to the next part: the sequence number that it goes on from; None: no more."""
        return None

    def place(self, at):
        """Where byte `at` of this part is, for people."""
        return "byte %d of the journal" % at

    def is_torn(self, at, is_short):
        """True if a power cut explains that there is no whole record at byte `at` of this part;
        `is_short`: the part ends within it."""
        return is_short

    def mark(self, at):
        """The record at byte `at` of this part is whole, but lacks its mark: nothing may depend on
        it before it has one."""

    def cut(self, at):
        """Forget the torn tail that begins at byte `at` of the last part."""
        raise NotImplementedError

    def append(self, record, sequence):
        """Write `record`, whose sequence number is `sequence`; durable when `sync` returns."""
        self.writes += 1
        self.written += len(record)
        self._grown += len(record)

    def sync(self):
        """Return when all that was appended is durable."""
        raise NotImplementedError

    def begin(self):
        """What is appended from now on shall take the place of everything before..."""
        raise NotImplementedError

    def finish(self):
        """...which it does now, by one atomic step; returns when that is durable."""
        self._grown = 0

    def give_up(self):
        """What was there need not outlive a power cut: its room may be used."""

    def is_crowded(self):
        """True if a journal of the same contents, written anew, would be much shorter."""
        return self._grown > _CROWDED

    def tend(self):
        """Do a part of what had better be done in a quiet moment: about one sector's erase."""

    def needs_rest(self):
        """True if one of the next writes has to wait for an erase."""
        return False

    def years(self, uptime_s):
        """How long the flash lasts at the rate of the last `uptime_s` seconds; None: unknown, or
        more than 1000."""
        if not self.erases or not uptime_s:
            return None
        years = ENDURANCE * self.sectors * uptime_s // self.erases // _YEAR_S
        return years if years <= 1000 else None
