"""One simulated board: the real driver, journal and core over a radio and a flash in memory.

What a power cut leaves is `image`; driver, receive ring and the core's memory are gone with it.
"""

from binascii import crc32
from collections import deque
from random import Random

from firmware.driver import Driver
from firmware.journal import Journal
from firmware.store import Store as AnyStore
from raft.message import identity
from raft.wire import BYTES, ENTRIES, FIELDS, FRAME_MAX, HEADER_FIELDS, NOTHING, TAILS, Codec

RING_BYTES = 8192  # what firmware.radio asks ESP-NOW for
RING_OVERHEAD = 13  # bytes of a frame's record in that ring beside its payload
FREE_HEAP = 100_000  # bytes; telemetry only
_DRIFT = 1_000_000

# What a frame of each type sets in a Message.
_TAIL_NAMES = {NOTHING: (), BYTES: ("data",), ENTRIES: ("entries",)}
_NAMES = {
    kind: ["type", *(f[0] for f in HEADER_FIELDS[3:] + fields), *_TAIL_NAMES[TAILS[kind]]]
    for kind, fields in FIELDS.items()
}


_WITH_ENTRIES = [kind for kind, tail in TAILS.items() if tail == ENTRIES]


class PowerCut(Exception):
    """The power goes in the middle of a flash write; raised through the driver, which ends."""


class Store(AnyStore):
    """The journal's store: what `sync` has not finished is lost with the power.

    Each sync takes `write_us`, and with probability `stall` `stall_us` more (a sector erase), in
    which the board does nothing else: it sends late and lets its receive ring fill.
    """

    def __init__(self, board):
        super().__init__()
        self._board = board
        self._image = board.image
        self._pending = bytearray()
        self._at = 0

    def read(self, n):
        """The next `n` bytes from the beginning on, fewer at the end."""
        piece = bytes(self._image[self._at : self._at + n])
        self._at += len(piece)
        return piece

    def append(self, record, sequence):
        super().append(record, sequence)
        self._pending += record

    def begin(self):
        """What is appended from now on shall take the place of all before..."""
        self._pending = bytearray()

    def finish(self):
        """...which it does at once or, if the power goes, not at all."""
        super().finish()
        self._cut_if_told(0)
        self._image[:] = self._pending
        size = len(self._pending)
        self._pending = bytearray()
        self._take_time(size)

    def sync(self):
        # NOR keeps what was programmed before the power went; littlefs all or nothing.
        board = self._board
        self._cut_if_told(board.tears and len(self._pending))
        self._image += self._pending
        size = len(self._pending)
        self._pending = bytearray()
        self._take_time(size)

    def _cut_if_told(self, torn_max):
        board = self._board
        if board.cut_at_sync:
            board.cut_at_sync -= 1
            if not board.cut_at_sync:
                torn = board.random.randrange(torn_max + 1)
                self._image += self._pending[:torn]
                raise PowerCut()

    def _take_time(self, size):
        board = self._board
        if board.chip is not None:
            board.chip.wrote(board, size)
        board.elapsed_us += board.write_us
        if board.stall and board.random.random() < board.stall:
            board.elapsed_us += board.stall_us

    def cut(self, at):
        """Keep the first `at` bytes."""
        del self._image[at:]


class DurableView:
    """What the board's flash surely holds: whose it is (`identity`, 0: nobody's), `term`, `vote`,
    the `terms` of its log's entries behind the snapshot that ends at `base`; `writes` counts how
    often that changed.

    Kept beside the image, by the records that were synced, so that no check has to parse it.
    """

    def __init__(self):
        self.identity = 0
        self.term = 0
        self.vote = 0
        self.base = 0
        self.terms = []
        self.writes = 0
        self.fresh = []  # (index, entry) written in the last step

    @property
    def last_index(self):
        return self.base + len(self.terms)

    def holds(self, index, term):
        """True if the entry is there, or in the snapshot, whose contents are checked elsewhere."""
        if index <= self.base:
            return True
        return index <= self.last_index and self.terms[index - self.base - 1] == term


class WatchedJournal(Journal):
    """The journal, telling `view` what became durable."""

    def __init__(self, store, view):
        super().__init__(store)
        self._noted = []
        self._durable = view

    def recover(self):
        found = super().recover()
        view = self._durable
        view.identity = identity(*found.identity[:2]) if found.identity else 0
        view.term, view.vote = found.term, found.vote
        view.base = 0 if found.snapshot is None else found.snapshot.index
        view.terms = [entry[0] for entry in found.entries]
        return found

    def hard_state(self, term, vote):
        super().hard_state(term, vote)
        self._noted.append((0, term, vote))

    def identity(self, member, incarnation, chip):
        super().identity(member, incarnation, chip)
        self._noted.append((None, member, incarnation))

    def entry(self, index, entry):
        super().entry(index, entry)
        self._durable.fresh.append((index, entry))
        self._noted.append((index, entry[0], 0))

    def sync(self):
        super().sync()
        self._now_durable()

    def begin_anew(self, member, incarnation, chip):
        super().begin_anew(member, incarnation, chip)
        view = self._durable
        view.term = view.vote = view.base = 0
        view.terms = []
        self._now_durable()

    def rewrite(self, term, vote, snapshot, log):
        super().rewrite(term, vote, snapshot, log)
        self._durable.base = snapshot.index
        self._durable.terms = []
        self._now_durable()

    def _now_durable(self):
        view = self._durable
        view.writes += 1
        for index, term, vote in self._noted:
            if index is None:
                view.identity = identity(term, vote)
            elif index:
                del view.terms[index - view.base - 1 :]
                view.terms.append(term)
            else:
                view.term, view.vote = term, vote
        self._noted.clear()


def watched(machine, heard):
    """`machine`, which tells `heard(command)` of each command that it is given."""
    apply = machine.apply

    def tell_and_apply(command):
        heard(command)
        return apply(command)

    machine.apply = tell_and_apply
    return machine


class Ears:
    """Decodes a frame once for all boards that hear it: a third of a run's time, saved.

    Right as long as all boards hold the same keys: what a frame means is then a function of its
    bytes alone. `limit`: frames remembered, more than are ever on their way to ears at a time.
    """

    def __init__(self, limit=64):
        self._limit = limit
        self._known = {}  # frame -> {field: value}

    def decode(self, codec, raw, frame, length, message):
        """As `codec.decode(frame, length, message)`; `raw` is the frame as it came."""
        known = self._known.get(raw)
        if known is None:
            reason = Codec.decode(codec, frame, length, message)
            if reason is None:
                self._learn(raw, message)
            return reason
        values = message.__dict__
        values.update(known)
        if "entries" in known:
            values["entries"] = list(known["entries"])
        return None

    def _learn(self, raw, message):
        if len(self._known) == self._limit:
            del self._known[next(iter(self._known))]
        values = message.__dict__
        known = {name: values[name] for name in _NAMES[message.type]}
        if "entries" in known:
            known["entries"] = tuple(message.entries)
        self._known[raw] = known


def chip_of(mac):
    """A board's chip id, as firmware.nameplate makes it."""
    return crc32(mac) & 0x3FFFFFFF


class Plate:
    """The board's nameplate: its chip and the mark of birth, which outlive its journal."""

    def __init__(self, chip):
        self.chip = chip
        self.born = False

    def was_born(self):
        return self.born

    def mark_born(self):
        self.born = True


class Board:
    """One board; `id` is the world's number for it, by default also its member id.

    `born`: it has an identity and an empty log; else `image` is what its flash holds. `drift` in
    parts per million: how much faster its clock runs; `ears`: an Ears that all boards share;
    `transmit(board, frame)` takes what the radio sends; `commanded(board, command)` hears of each
    command that the state machine is given.
    """

    def __init__(
        self, number, config, mac, seed, ears, transmit, commanded, drift=0, born=True, image=b""
    ):
        self.config = config
        self.id = number
        self.member = config.id
        self.mac = mac
        self.plate = Plate(chip_of(mac))
        self.random = Random(seed)
        self.image = bytearray(image)
        self.durable = DurableView()
        self.driver = None
        self.boots = 0
        # The radio port: ESP-NOW's receive ring, in bytes, the newest frame dropped when full.
        self.frame = bytearray(FRAME_MAX)
        self.rssi = 0
        self.ring_limit = RING_BYTES
        self.ring_drops = 0
        self._ring = deque()
        self._ring_bytes = 0
        # The flash: how slow it is, and when the power goes in the middle of a write.
        self.write_us = 0
        self.stall = 0.0
        self.stall_us = 0
        self.chip = None  # a tools.sim.chip.Chip: how slow it is beyond that...
        self.spent = {}  # ...and what it was busy with, microseconds...
        self.garbage = 0  # ...bytes to be collected...
        self.written = 0  # ...and to be erased...
        self.erases = 0  # ...and how often that was done
        self.cut_at_sync = 0  # 1: the next sync is cut; 0: none
        self.tears = False
        # Time: what this step has used so far, when the next one may begin, when it has to.
        self.elapsed_us = 0
        self.busy_until_us = 0
        self.wake_us = 0
        self.timer_us = None  # the world's earliest timer for this board
        self.calls = []  # of the app, which wait for the processor
        self._zero_us = 0
        self._rate = _DRIFT + drift
        self._ears = ears
        self._raw = b""
        self._transmit = transmit
        self._commanded = commanded
        self._now_us = 0  # of the present step
        self._paused_us = None  # when the pause began that lies right before the next step...
        self._stale_us = None  # ...and in that step: what the clock showed then
        if born:
            self._give_birth()

    def _give_birth(self):
        journal = WatchedJournal(Store(self), self.durable)
        journal.recover()
        journal.identity(self.member, self.config.first.find(self.member)[0], self.plate.chip)
        journal.sync()
        self.plate.mark_born()

    def wipe(self):
        """The flash forgets everything but the config and the mark of birth."""
        self.image.clear()
        self.durable = DurableView()

    @property
    def alive(self):
        return self.driver is not None

    @property
    def raft(self):
        return self.driver.raft

    def boot(self, now_us):
        """Power on. Raises PowerCut, firmware.journal.JournalDamaged."""
        self.boots += 1
        # Boards are switched on apart from each other, and count from there.
        self._zero_us = now_us - self.random.randrange(1_000_000)
        self.elapsed_us = 0
        self._now_us = now_us
        self._ring.clear()
        self._ring_bytes = 0
        machine = watched(self.config.new_machine(), lambda c: self._commanded(self, c))
        driver = Driver(
            self.config,
            self,
            WatchedJournal(Store(self), self.durable),
            machine,
            self.plate,
            self.clock_ms,
            self.random.randbytes,
            self.random.randrange,
            lambda: FREE_HEAP,
        )
        driver.codec.decode = self._decode
        if self.chip is not None:
            encode = driver.codec.encode
            driver.codec.encode = lambda message, buf: self._encode(encode, message, buf)
        driver.start()
        self.driver = driver

    def step(self, now_us):
        """One step of the driver; returns when it wants the next one, on its own clock, ms.

        What the app had to wait with comes first: the driver has not looked at the clock since
        before the processor stood still.
        """
        self.wake_up(now_us)
        calls, self.calls = self.calls, []
        for call in calls:
            call(self.driver)
        self._stale_us, self._paused_us = self._paused_us, None
        if self.chip is None:
            return self.driver.step()
        is_idle = not calls and not self._ring
        deadline_ms = self.driver.step()
        self.chip.stepped(self, is_idle)
        return deadline_ms

    def wake_up(self, now_us):
        """The processor begins with something."""
        self.elapsed_us = 0
        self._now_us = now_us
        self._stale_us = None

    def pause(self, now_us, end_us):
        """The processor stands still: what it has read of the clock before is old behind it."""
        self.busy_until_us = end_us
        self._paused_us = now_us

    def power_off(self):
        self.driver = None
        self.calls = []
        self.cut_at_sync = 0
        self._stale_us = self._paused_us = None

    def clock_ms(self):
        """The board's clock: flash writes take time in the middle of a step. A stall may lie
        between a reading and the first frame that is taken after it."""
        if self._stale_us is not None:
            return self.local_ms(self._stale_us)
        return self.local_ms(self._now_us + self.elapsed_us)

    def local_ms(self, now_us):
        """The world's time on this board's own clock."""
        return (now_us - self._zero_us) * self._rate // (_DRIFT * 1000)

    def world_us(self, local_ms):
        """The first moment of the world's time at which this board's clock shows `local_ms`."""
        return self._zero_us - (-local_ms * 1000 * _DRIFT // self._rate)

    # The driver's radio.

    def receive(self):
        """Length of the next frame, left in `frame`; 0 if there is none."""
        self._stale_us = None
        if not self._ring:
            return 0
        frame, self.rssi = self._ring.popleft()
        self._raw = frame
        length = len(frame)
        self._ring_bytes -= length + RING_OVERHEAD
        self.frame[:length] = frame
        return length

    def _decode(self, frame, length, message):
        reason = self._ears.decode(self.driver.codec, self._raw, frame, length, message)
        if self.chip is not None:
            entries = len(message.entries) if message.type in _WITH_ENTRIES else 0
            self.chip.decoded(self, reason, 0 if reason else entries)
        return reason

    def _encode(self, encode, message, buf):
        """What it costs lies before the frame leaves."""
        entries = len(message.entries) if message.type in _WITH_ENTRIES else 0
        self.chip.encoded(self, entries)
        return encode(message, buf)

    def note(self, member):
        """Whose address that is, the world knows."""

    def send_to(self, member, view):
        self._transmit(self, bytes(view), member)
        return True

    def send(self, view):
        self._transmit(self, bytes(view))
        return True

    def hear(self, frame, rssi):
        """A frame has arrived at the antenna."""
        size = len(frame) + RING_OVERHEAD
        if self._ring_bytes + size > self.ring_limit:
            self.ring_drops += 1
            return
        self._ring_bytes += size
        self._ring.append((frame, rssi))
