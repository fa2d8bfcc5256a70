"""Raw NOR flash in memory, with the interface of `esp32.Partition`: it can only clear bits.

A power cut is told in operations: the `cut_at`th program or erase from now on is done by half, and
PowerCut raised; nothing works any more until `power_on`.
"""

SECTOR = 4096
PAGE = 256
BURST = 64  # bytes that ESP-IDF programs at a time, never across a page


class PowerCut(Exception):
    """The power has gone in the middle of an operation."""


class MemoryFlash:
    """`image` (a bytearray) is what the chip holds. `chance` (a tests.portable.chance.Chance) says
    which bits a cut operation has changed. `worn`: sectors whose erases fail; `unreadable`: whose
    reads do."""

    def __init__(self, sectors=8, chance=None, image=None):
        self.image = bytearray(b"\xff" * (sectors * SECTOR)) if image is None else image
        self.sectors = len(self.image) // SECTOR
        self.operations = 0  # programs (a burst each) and erases
        self.programs = 0
        self.erases = 0
        self.cut_at = 0
        self.worn = set()
        self.unreadable = set()
        self._chance = chance
        self._is_off = False

    def power_on(self):
        self._is_off = False
        self.cut_at = 0

    def readblocks(self, sector, buffer, offset=0):
        self._check_power()
        begin = sector * SECTOR + offset
        if not 0 <= begin <= len(self.image) - len(buffer):
            raise OSError(-260, "ESP_ERR_INVALID_SIZE")
        for touched in range(sector, (begin + len(buffer) - 1) // SECTOR + 1):
            if touched in self.unreadable:
                raise OSError(5)
        buffer[:] = self.image[begin : begin + len(buffer)]

    def writeblocks(self, sector, data, offset):
        self._check_power()
        begin = sector * SECTOR + offset
        if not 0 <= begin <= len(self.image) - len(data):
            raise OSError(-260, "ESP_ERR_INVALID_SIZE")
        data = bytes(data)
        done = 0
        while done < len(data):
            at = begin + done
            size = min(len(data) - done, BURST, PAGE - at % PAGE)
            self._program(at, data[done : done + size])
            done += size

    def ioctl(self, op, arg):
        if op == 4:
            return self.sectors
        if op == 5:
            return SECTOR
        assert op == 6
        self._check_power()
        if arg in self.worn:
            raise OSError(5)
        self.erases += 1
        begin = arg * SECTOR
        if self._is_cut():
            self._erase_by_half(begin)
            raise PowerCut()
        self.image[begin : begin + SECTOR] = b"\xff" * SECTOR
        return 0

    def _program(self, at, data):
        self.programs += 1
        cut = self._is_cut()
        for i in range(len(data)):
            byte = data[i]
            if cut:
                byte |= self._some_bits(i, len(data))
            self.image[at + i] &= byte
        if cut:
            raise PowerCut()

    def _some_bits(self, i, size):
        """Bits of byte `i` that were not programmed when the power went."""
        how = self._how
        if how == 0:
            return 0xFF  # it had just begun
        if how == 1:
            return 0  # it had just ended
        if how == 2:
            return 0 if i < self._until % size else 0xFF  # from the beginning on
        return self._chance.below(256)

    def _erase_by_half(self, begin):
        how = self._how
        end = begin + SECTOR
        if how == 1:
            self.image[begin:end] = b"\xff" * SECTOR
        elif how == 2:
            # Some of it is done: the chip says nothing about the order.
            first = begin + self._until % SECTOR
            last = first + self._chance.below(end - first + 1)
            self.image[first:last] = b"\xff" * (last - first)
        elif how == 3:
            for at in range(begin, end):
                self.image[at] |= self._chance.below(256)

    def _is_cut(self):
        self.operations += 1
        if not self.cut_at:
            return False
        self.cut_at -= 1
        if self.cut_at:
            return False
        self._is_off = True
        self._how = self._chance.below(4)
        self._until = self._chance.below(SECTOR)
        return True

    def _check_power(self):
        if self._is_off:
            raise PowerCut()
