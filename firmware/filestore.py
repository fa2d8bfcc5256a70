"""The journal's store as a littlefs file: for boards without the raw partition `raft`.

What `flush` returns from is durable, and a flush is all or nothing (littlefs; `os.sync` does
nothing there). One flush costs about one sector erase, 45-80 ms on a chip.
"""

import os


class FileStore:
    """Store for `firmware.journal.Journal` in the file `path`, created if there is none."""

    def __init__(self, path):
        self._path = path
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

    def sync(self):
        self._file.flush()

    def cut(self, length):
        """Keep the first `length` bytes. A copy takes the file's place by one atomic rename."""
        copy = self._path + ".new"
        self._file.seek(0)
        with open(copy, "wb") as out:
            while length:
                piece = self._file.read(min(length, 512))
                out.write(piece)
                length -= len(piece)
        self._file.close()
        os.rename(copy, self._path)
        self._file = open(self._path, "r+b")
        self._file.seek(0, 2)
