"""What an ESP32 takes for what a PC does in no time: processor, flash, garbage collection, and the
sleep of the loop. Off unless a world is given a Chip: scenarios tell of order, not of speed.

Numbers are microseconds; where they come from stands in docs/simulator.md, which is held to `TABLE`
by a test.
"""

from collections import namedtuple

Part = namedtuple("Part", "us what source")

TABLE = {
    "reject": Part(100, "a frame that is dropped before its tag", "0.9 us on the PC, x 100"),
    "decode": Part(1600, "a frame whose tag and fields are read", "16 us on the PC, x 100"),
    "entry": Part(250, "each log entry of a frame, read or written", "2.5 us on the PC, x 100"),
    "handle": Part(700, "what the core does about a frame", "7 us on the PC, x 100"),
    "encode": Part(1600, "a frame that is made and sealed", "16 us on the PC, x 100"),
    "step": Part(150, "a step of the loop in which nothing came", "1.5 us on the PC, x 100"),
    "program": Part(600, "a record on erased flash, and its end mark", "platform.md: 1 ms a pair"),
    "byte": Part(2, "each byte of it", "a page of 256 bytes: 0.5 ms"),
    "erase": Part(60_000, "a sector that has to be erased first", "45-80 ms typical"),
    "collect": Part(2500, "a garbage collection without PSRAM", "1.8-2.5 ms"),
}
SECTOR = 4096  # bytes
COLLECT_AFTER = 60_000  # bytes of garbage: what the heap leaves beside the node
GARBAGE = 600  # bytes a frame leaves behind, about
TICK_US = 10_000  # a sleeping loop looks so often: FreeRTOS ticks

SPINS = "spins"
SLEEPS = "sleeps"
LOOPS = (SPINS, SLEEPS)


class Chip:
    """Which parts of the model are on. `loop`: SPINS or SLEEPS."""

    def __init__(self, loop=SPINS, cpu=True, flash=True, collects=True):
        if loop not in LOOPS:
            raise ValueError("the loop %s, not %r" % (" or ".join(LOOPS), loop))
        self.loop = loop
        self.cpu = cpu
        self.flash = flash
        self.collects = collects

    def decoded(self, board, reason, entries):
        """A frame was read; `reason` if it was dropped."""
        early = reason is not None and reason not in ("tag", "field", "body")
        self._spend(board, "reject" if early else "decode")
        if not early:
            self._spend(board, "handle")
            self._spend(board, "entry", entries)
        self._litter(board)

    def encoded(self, board, entries):
        self._spend(board, "encode")
        self._spend(board, "entry", entries)
        self._litter(board)

    def stepped(self, board, is_idle):
        """A step ends; one in which nothing came is the moment to erase what was filled."""
        self._spend(board, "step")
        if self.flash and is_idle and board.written >= SECTOR:
            board.written -= SECTOR
            board.erases += 1
            board.elapsed_us += TABLE["erase"].us

    def wrote(self, board, size):
        """`size` bytes are programmed into the ring of erased sectors."""
        if self.flash:
            board.elapsed_us += TABLE["program"].us + size * TABLE["byte"].us
            board.written += size

    def wakes_us(self, now_us, number):
        """When the loop of board `number` looks again, that has something to do from now on."""
        if self.loop == SPINS:
            return now_us
        phase = number * 997 % TICK_US  # boards do not tick together
        return now_us + (phase - now_us) % TICK_US

    def _spend(self, board, what, times=1):
        if self.cpu:
            board.elapsed_us += TABLE[what].us * times
            board.spent[what] = board.spent.get(what, 0) + TABLE[what].us * times

    def _litter(self, board):
        if not self.collects:
            return
        board.garbage += GARBAGE
        if board.garbage >= COLLECT_AFTER:
            board.garbage = 0
            board.elapsed_us += TABLE["collect"].us
