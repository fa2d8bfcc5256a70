"""NOR flash in one image file, and the partition table on it. Runs on both interpreters.

The rules of the chip: a program operation only clears bits, an erase sets a sector of 4096 bytes
to 0xFF. Each operation goes to the file by one unbuffered write, so a killed process loses exactly
what it had not programmed yet. With delays set, an erase goes on in 16 steps over its time, and a
process killed meanwhile leaves the sector torn, as a chip does.

The image is a whole flash: its partition table lies at 0x8000 in the format of ESP-IDF, so what is
true of `raft` and `vfs` is written where a real board has it. The application's own region is a
hole in the file.
"""

import struct
import time

SECTOR = 4096
PAGE = 256
FLASH_BYTES = 4 * 1024 * 1024
TABLE_AT = 0x8000
TABLE_BYTES = 0xC00

TYPE_APP = 0
TYPE_DATA = 1
SUBTYPE_NVS = 2
SUBTYPE_RAFT = 0x40
SUBTYPE_VFS = 0x81

# (type, subtype, address, bytes, label); the table of ESP32_GENERIC, and with `raft` behind it.
# The firmware registers `vfs` for the rest of the flash by itself when the table names none.
STOCK = (
    (TYPE_DATA, SUBTYPE_NVS, 0x9000, 0x6000, "nvs"),
    (TYPE_DATA, 1, 0xF000, 0x1000, "phy_init"),
    (TYPE_APP, 0, 0x10000, 0x1F0000, "factory"),
)
RAFT = STOCK + ((TYPE_DATA, SUBTYPE_RAFT, 0x200000, 0x40000, "raft"),)
LAYOUTS = {"raft": RAFT, "stock": STOCK}

_ENTRY = "<2sBBII16sI"
_ERASED = b"\xff" * SECTOR


def pack_table(entries):
    """The partition table of ESP-IDF without its optional MD5 entry, TABLE_BYTES long."""
    table = b""
    for kind, subtype, address, size, label in entries:
        table += struct.pack(_ENTRY, b"\xaaP", kind, subtype, address, size, label.encode(), 0)
    return table + b"\xff" * (TABLE_BYTES - len(table))


def unpack_table(table, flash_bytes=FLASH_BYTES):
    """Entries of a table as the firmware sees them at run time, `vfs` included."""
    entries = []
    end = 0
    for at in range(0, len(table), 32):
        magic, kind, subtype, address, size, label, _ = struct.unpack_from(_ENTRY, table, at)
        if magic != b"\xaaP":
            break
        entries.append((kind, subtype, address, size, label.rstrip(b"\0").decode()))
        end = max(end, address + size)
    if end < flash_bytes and not any(entry[4] == "vfs" for entry in entries):
        entries.append((TYPE_DATA, SUBTYPE_VFS, end, flash_bytes - end, "vfs"))
    return entries


def create(path, layout=RAFT, flash_bytes=FLASH_BYTES):
    """Write a blank flash with this partition table; an existing file is replaced."""
    with open(path, "wb") as image:
        image.write(_ERASED * (TABLE_AT // SECTOR))
        image.write(pack_table(layout))
        for kind, _, address, size, _ in unpack_table(pack_table(layout), flash_bytes):
            if kind != TYPE_APP:
                image.seek(address)
                for _ in range(size // SECTOR):
                    image.write(_ERASED)


class Flash:
    """One image, opened for reading and writing. Addresses and sizes in bytes.

    ``program_us`` is the time of a page program (256 bytes), ``erase_us`` that of a sector erase;
    a W25Q-class chip has about 400-1000 and 45000-80000. 0 lets them take no time.
    """

    def __init__(self, path, program_us=0, erase_us=0):
        try:
            self._file = open(path, "r+b", 0)
        except TypeError:
            self._file = open(path, "r+b")  # MicroPython takes no buffering argument, has no buffer
        self.program_us = program_us
        self.erase_us = erase_us
        self.programs = 0
        self.erases = 0
        table = bytearray(TABLE_BYTES)
        self.read(TABLE_AT, table)
        self.partitions = unpack_table(table)

    def close(self):
        self._file.close()

    def read(self, address, buffer):
        self._file.seek(address)
        self._file.readinto(buffer)

    def program(self, address, data):
        """Clear bits: what is stored becomes old AND new."""
        self.programs += 1
        data = memoryview(data)
        for at in range(0, len(data), PAGE):
            page = bytes(data[at : at + PAGE])
            old = bytearray(len(page))
            self.read(address + at, old)
            if old != _ERASED[: len(page)]:
                both = int.from_bytes(old, "little") & int.from_bytes(page, "little")
                page = both.to_bytes(len(page), "little")
            if self.program_us:
                time.sleep(self.program_us / 1e6)
            self._file.seek(address + at)
            self._file.write(page)

    def erase(self, address):
        """Set the sector at ``address``, a multiple of SECTOR, to 0xFF."""
        self.erases += 1
        if not self.erase_us:
            self._file.seek(address)
            self._file.write(_ERASED)
            return
        for at in range(0, SECTOR, PAGE):
            time.sleep(self.erase_us * PAGE / SECTOR / 1e6)
            self._file.seek(address + at)
            self._file.write(_ERASED[:PAGE])
