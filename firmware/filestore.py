"""The journal's store as a littlefs file: for boards without the raw partition `raft`.

What `flush` returns from is durable, and a flush is all or nothing (littlefs; `os.sync` does
nothing there). One flush costs about one sector erase, 45-80 ms on a chip, and is counted as one.
"""

import os

from firmware.store import Store


class FileStore(Store):
    """Store for `firmware.journal.Journal` in the file `path`, created if there is none."""

    def __init__(self, path):
        super().__init__()
        self._path = path
        self._old = None
        try:
            self._file = open(path, "r+b")
        except OSError:
            open(path, "wb").close()
            self._file = open(path, "r+b")

    def find(self):
        try:
            self.sectors = os.statvfs(self._path)[2]
        except (OSError, AttributeError):
            pass  # a file system that cannot tell

    def read(self, n):
        piece = self._file.read(n)
        self._grown += len(piece)
        return piece

    def append(self, record, sequence):
        super().append(record, sequence)
        self._file.write(record)

    def begin(self):
        """What is appended from now on goes into a copy..."""
        self._old = self._file
        self._file = open(self._path + ".new", "wb")

    def finish(self):
        """...which takes the file's place by one atomic rename."""
        super().finish()
        self._file.close()
        self._old.close()
        os.rename(self._path + ".new", self._path)
        self._file = open(self._path, "r+b")
        self._file.seek(0, 2)
        self.erases += 1

    def sync(self):
        self._file.flush()
        self.erases += 1

    def cut(self, at):
        """Keep the first `at` bytes."""
        self._file.seek(0)
        self.begin()
        while at:
            piece = self._old.read(min(at, 512))
            self._file.write(piece)
            at -= len(piece)
        self.finish()
