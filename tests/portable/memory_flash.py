"""Raw NOR flash in memory, with the interface of `esp32.Partition`: it can only clear bits.

A power cut is told in operations: the `cut_at`th program or erase from now on is done in part, and
PowerCut raised; from then on nothing changes any more.
"""

SECTOR = 4096
BURST = 64  # bytes that ESP-IDF programs at a time
ERASED = b"\xff" * SECTOR


class PowerCut(Exception):
    """The power has gone in the middle of an operation."""


class MemoryFlash:
    """`image` (a bytearray) is what the chip holds. `chance` (a tests.portable.chance.Chance) says
    which bits a cut operation has changed. `worn`: sectors whose erases fail; `unreadable`: whose
    reads do. `log`, if it is a list, is given each operation: (address, bytes; None: an erase).
    """

    def __init__(self, sectors=8, chance=None, image=None):
        self.image = bytearray(ERASED * sectors) if image is None else image
        self.sectors = len(self.image) // SECTOR
        self.operations = 0
        self.erases = 0
        self.cut_at = 0
        self.is_off = False
        self.worn = set()
        self.unreadable = set()
        self.log = None
        self._chance = chance

    def power_on(self):
        self.is_off = False
        self.cut_at = 0

    def readblocks(self, sector, buffer, offset=0):
        begin = self._range(sector, offset, len(buffer))
        for touched in self.unreadable:
            if begin < (touched + 1) * SECTOR and begin + len(buffer) > touched * SECTOR:
                raise OSError(5)
        buffer[:] = self.image[begin : begin + len(buffer)]

    def writeblocks(self, sector, data, offset):
        self._do((self._range(sector, offset, len(data)), bytes(data)))

    def ioctl(self, op, arg):
        if op == 4:
            return self.sectors
        if op == 5:
            return SECTOR
        assert op == 6
        if arg in self.worn:
            raise OSError(5)
        self._do((self._range(arg, 0, SECTOR), None))
        return 0

    def _range(self, sector, offset, size):
        begin = sector * SECTOR + offset
        if not 0 <= begin <= len(self.image) - size:
            raise OSError(-260, "ESP_ERR_INVALID_SIZE")
        return begin

    def _do(self, operation):
        if self.is_off:
            raise PowerCut()
        self.operations += 1
        if operation[1] is None:
            self.erases += 1
        if self.log is not None:
            self.log.append(operation)
        if self.cut_at:
            self.cut_at -= 1
            if not self.cut_at:
                self.is_off = True
                do_partly(self.image, operation, self._chance)
                raise PowerCut()
        do(self.image, operation)


def do(image, operation):
    """An operation on `image`, done to its end."""
    at, data = operation
    if data is None:
        image[at : at + SECTOR] = ERASED
    elif image[at : at + len(data)] == ERASED[: len(data)]:
        image[at : at + len(data)] = data
    else:
        for i in range(len(data)):
            image[at + i] &= data[i]


def do_partly(image, operation, chance):
    """An operation during which the power goes: not begun, done, up to somewhere, or any bits.
    A chip programs a burst after the other; in which order it erases, it does not say."""
    at, data = operation
    how = chance.below(4)
    if how == 0:
        return
    if how == 1:
        do(image, operation)
    elif data is None:
        _erase_partly(image, at, how, chance)
    else:
        done = chance.below(len(data))
        if how == 3:
            done -= done % BURST
        do(image, (at, data[:done]))
        if how == 3:
            for i in range(done, min(done + BURST, len(data))):
                image[at + i] &= data[i] | chance.below(256)


def _erase_partly(image, at, how, chance):
    if how == 2:
        first = at + chance.below(SECTOR)
        last = first + chance.below(at + SECTOR - first + 1)
        image[first:last] = ERASED[: last - first]
    else:
        for i in range(at, at + SECTOR):
            image[i] |= chance.below(256)
