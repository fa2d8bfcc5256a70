"""The journal's store as a littlefs file: for boards without the raw partition `raft`.

What `flush` returns from is durable, and a flush is all or nothing (littlefs; `os.sync` does
nothing there). One flush costs about one sector erase, 45-80 ms on a chip.
"""

import os


class FileStore:
    """Store for `firmware.journal.Journal` in the file `path`, created if there is none."""

    def __init__(self, path):
        self._path = path
        self._old = None
        try:
            self._file = open(path, "r+b")
        except OSError:
            open(path, "wb").close()
            self._file = open(path, "r+b")

    def read(self, n):
        """The next `n` bytes from the beginning on, fewer at the end."""
        return self._file.read(n)

    def append(self, buf):
        self._file.write(buf)

    def begin(self):
        """What is appended from now on goes into a copy..."""
        self._old = self._file
        self._file = open(self._path + ".new", "wb")

    def finish(self):
        """...which takes the file's place by one atomic rename."""
        self._file.close()
        self._old.close()
        os.rename(self._path + ".new", self._path)
        self._file = open(self._path, "r+b")
        self._file.seek(0, 2)

    def sync(self):
        self._file.flush()

    def cut(self, length):
        """Keep the first `length` bytes."""
        self._file.seek(0)
        self.begin()
        while length:
            piece = self._old.read(min(length, 512))
            self._file.write(piece)
            length -= len(piece)
        self.finish()
