"""Both kinds of stores behind one handle, so that one suite holds for both.

On MicroPython the file is on a littlefs in memory, as on a board; on CPython in a folder.
"""

import os

from firmware.filestore import FileStore
from firmware.ringstore import RingStore
from tests.portable.chance import Chance
from tests.portable.memory_flash import ERASED, SECTOR, MemoryFlash
from tests.portable.memory_store import MemoryStore

_ring = bytearray(8 * SECTOR)


class Ring:
    """A journal's store on raw flash. `flash` is the chip."""

    name = "ring"

    def __init__(self):
        # One image for all: MicroPython's heap has few holes of its size.
        self.flash = MemoryFlash(8, Chance(1), _ring)
        for at in range(0, len(_ring), SECTOR):
            _ring[at : at + SECTOR] = ERASED

    def open(self):
        """A store over what the medium holds: the board restarts."""
        self.flash.power_on()
        self.store = Watched(RingStore(self.flash), self._place)
        return self.store

    def _place(self, store, size):
        return store._newest * SECTOR + store._at - size

    def flip(self, at, bit):
        self.flash.image[at] ^= 1 << bit

    def remove(self, at, end):
        """As if the record at `at`..`end` had never been written."""
        image = self.flash.image
        sector_end = (at // SECTOR + 1) * SECTOR
        image[at:sector_end] = image[end:sector_end] + b"\xff" * (end - at)


class File:
    """A journal's store in a file."""

    name = "file"

    def __init__(self):
        self._path = new_path()
        self.store = None

    def open(self):
        self._close()
        self.store = Watched(FileStore(self._path), self._place)
        _files.append(self.store)
        return self.store

    def _place(self, store, size):
        return store._file.tell() - size

    def _close(self):
        if self.store is not None:
            self.store._file.close()

    def _image(self):
        self._close()
        with open(self._path, "rb") as file:
            return bytearray(file.read())

    def _replace(self, image):
        with open(self._path, "wb") as file:
            file.write(image)

    def flip(self, at, bit):
        image = self._image()
        image[at] ^= 1 << bit
        self._replace(image)

    def remove(self, at, end):
        image = self._image()
        self._replace(image[:at] + image[end:])


class Memory:
    """The store that other tests use."""

    name = "memory"

    def __init__(self):
        self._medium = MemoryStore()

    def open(self):
        self._medium = MemoryStore(self._medium.image)
        self.store = Watched(self._medium, lambda store, size: len(store.image) - size)
        self.store.is_late = True  # it is nowhere before `sync`
        return self.store

    def flip(self, at, bit):
        self._medium.image[at] ^= 1 << bit

    def remove(self, at, end):
        image = self._medium.image
        self._medium.image = image[:at] + image[end:]


BACKENDS = (Ring, File, Memory)


class Watched:
    """A store, and where the first records of the present state are: `records`, of (begin, end)."""

    def __init__(self, store, place):
        self._store = store
        self._place = place
        self.is_late = False
        self.records = []

    def __getattr__(self, name):
        return getattr(self._store, name)

    def append(self, record, sequence):
        self._store.append(record, sequence)
        at = self._place(self._store, len(record))
        if self.is_late:
            at += len(self._store._pending)
        if len(self.records) < 100:
            self.records.append((at, at + len(record)))

    def begin(self):
        self.records = []
        self._store.begin()

    def finish(self):
        self._store.finish()


_files = []  # littlefs cannot be told of a file that is closed while garbage is collected
_folder = None


def new_path():
    """Of a file that is not there, on littlefs if this interpreter has it."""
    global _folder
    if _folder is None:
        try:
            import vfs
        except ImportError:
            import tempfile

            _folder = tempfile.mkdtemp()
        else:
            _folder = "/journals"
            device = BlockDevice(16)
            vfs.VfsLfs2.mkfs(device)
            vfs.mount(vfs.VfsLfs2(device), _folder)
    for name in os.listdir(_folder):
        os.remove(_folder + "/" + name)
    return _folder + "/journal"


class BlockDevice(MemoryFlash):
    """What MicroPython mounts a littlefs on."""

    def readblocks(self, block, buffer, offset=0):
        super().readblocks(block, buffer, offset)

    def ioctl(self, op, arg):
        if op in (1, 2, 3):  # begin, end, sync
            return 0
        return super().ioctl(op, arg) or 0
