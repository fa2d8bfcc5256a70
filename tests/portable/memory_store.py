"""A store for the journal, and a nameplate, in memory: what is not synced goes with the power."""

from firmware.store import Store


class MemoryStore(Store):
    """`image` is what a power cut leaves."""

    def __init__(self, image=b""):
        super().__init__()
        self.image = bytearray(image)
        self._pending = bytearray()
        self._at = 0
        self.syncs = 0
        self.failing = False

    def read(self, n):
        piece = bytes(self.image[self._at : self._at + n])
        self._at += len(piece)
        return piece

    def append(self, record, sequence):
        if self.failing:
            raise OSError(28)
        super().append(record, sequence)
        self._pending.extend(bytes(record))

    def sync(self):
        if self.failing:
            raise OSError(5)
        self.image.extend(self._pending)
        self._pending = bytearray()
        self.syncs += 1

    def begin(self):
        self._pending = bytearray()

    def finish(self):
        if self.failing:
            raise OSError(5)
        super().finish()
        self.image = self._pending
        self._pending = bytearray()
        self.syncs += 1

    def cut(self, at):
        self.image = bytearray(self.image[:at])


class MemoryPlate:
    """What `firmware.nameplate.Nameplate` is on a board."""

    def __init__(self, chip, born=False):
        self.chip = chip
        self.born = born

    def was_born(self):
        return self.born

    def mark_born(self):
        self.born = True
