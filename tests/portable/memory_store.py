"""A store for the journal in memory: what was not synced is lost with the power."""


class MemoryStore:
    """`image` is what a power cut leaves."""

    def __init__(self, image=b""):
        self.image = bytearray(image)
        self._pending = bytearray()
        self._at = 0
        self.syncs = 0
        self.failing = False

    def read(self, n):
        piece = bytes(self.image[self._at : self._at + n])
        self._at += len(piece)
        return piece

    def append(self, buf):
        if self.failing:
            raise OSError(28)
        self._pending.extend(bytes(buf))

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
        self.image = self._pending
        self._pending = bytearray()
        self.syncs += 1

    def cut(self, length):
        self.image = bytearray(self.image[:length])
