"""`esp32`: partitions of the flash image, and NVS on the partition of that name.

NVS is a log in two halves of its partition: a value is appended when it is set (as ESP-IDF does, so
a crash before commit() keeps it), and a full half is copied to the other one without what was
overwritten. Capacity follows the accounting of ESP-IDF: entries of 32 bytes in 5 of the 6 pages,
an old value counted until the new one is written.
"""

import binascii
import errno
import struct

import _chip
import nor

HEAP_DATA = 4
HEAP_EXEC = 1

_ERRORS = {
    -258: "ESP_ERR_INVALID_ARG",
    -260: "ESP_ERR_INVALID_SIZE",
    -261: "ESP_ERR_NOT_FOUND",
    -4354: "ESP_ERR_NVS_NOT_FOUND",
    -4357: "ESP_ERR_NVS_NOT_ENOUGH_SPACE",
    -4361: "ESP_ERR_NVS_KEY_TOO_LONG",
    -4364: "ESP_ERR_NVS_INVALID_LENGTH",
}


def _error(number):
    return OSError(number, _ERRORS[number])


def raw_temperature():
    return 128


def idf_heap_info(capabilities):
    """Sizes of a chip after Wi-Fi has started: (total, free, largest free, lowest free)."""
    return [(113840, 98304, 98304, 98304)]


class Partition:
    TYPE_APP = 0
    TYPE_DATA = 1
    BOOT = 0
    RUNNING = 1

    def __init__(self, which, block_size=4096):
        if block_size != nor.SECTOR:
            raise ValueError("a virtual board has blocks of 4096 bytes only")
        if which == Partition.RUNNING:
            which = "factory"
        for entry in _chip.flash.partitions:
            if entry[4] == which:
                self._entry = entry
                break
        else:
            raise OSError(errno.ENOENT)
        self._address = self._entry[2]
        self._size = self._entry[3]

    @staticmethod
    def find(type=TYPE_APP, subtype=0xFF, label=None, block_size=4096):
        return [
            Partition(entry[4], block_size)
            for entry in _chip.flash.partitions
            if entry[0] == type
            and (subtype == 0xFF or entry[1] == subtype)
            and (label is None or entry[4] == label)
        ]

    def __repr__(self):
        return "<Partition type=%d, subtype=%d, address=%d, size=%d, label=%s, encrypted=0>" % (
            self._entry
        )

    def info(self):
        return self._entry + (False,)

    def _at(self, block, offset, size):
        """Flash address of a range in this partition."""
        at = block * nor.SECTOR + offset
        if at < 0:
            raise _error(-258)
        if at + size > self._size or at >= self._size:
            raise _error(-260)
        return self._address + at

    def readblocks(self, block, buffer, offset=0):
        if not len(buffer):
            raise _error(-258)
        _chip.flash.read(self._at(block, offset, len(buffer)), buffer)

    def writeblocks(self, block, buffer, offset=None):
        """With an offset it programs; without one it erases the range first, whole sectors."""
        if offset is None:
            at = self._at(block, 0, len(buffer))
            if len(buffer) % nor.SECTOR:
                raise _error(-260)
            for sector in range(at, at + len(buffer), nor.SECTOR):
                _chip.flash.erase(sector)
        else:
            at = self._at(block, offset, len(buffer))
        _chip.flash.program(at, buffer)

    def ioctl(self, op, arg=0):
        if op == 4:
            return self._size // nor.SECTOR
        if op == 5:
            return nor.SECTOR
        if op == 6:
            _chip.flash.erase(self._at(arg, 0, nor.SECTOR))
            return 0
        if op in (1, 2, 3):
            return 0

    def get_next_update(self):
        raise OSError(errno.ENOENT)

    def set_boot(self):
        raise _error(-261)

    @classmethod
    def mark_app_valid_cancel_rollback(cls):
        raise _error(-261)


class _Store:
    """All namespaces: {(namespace, key): int or bytes} in RAM, a log of records in flash.

    A half begins with "NVS" and its generation (u32); a record is kind u8, key lengths u8 u8, value
    length u16, crc32 of the whole, then namespace, key, value. The valid half is the one with the
    higher generation; its log ends at the first record that does not check.
    """

    _HEAD = "<BBBHI"
    _HEAD_BYTES = 9
    _CAPACITY = 5 * 126 * 32

    def __init__(self):
        self.values = {}
        for _, subtype, address, size, _ in _chip.flash.partitions:
            if subtype == nor.SUBTYPE_NVS:
                self.half_bytes = size // 2
                self.halves = (address, address + self.half_bytes)
                break
        generations = [self._generation(half) for half in self.halves]
        self.current = 0 if generations[0] >= generations[1] else 1
        self.generation = generations[self.current]
        self.at = self.half_bytes
        if self.generation:
            self._replay()

    def _generation(self, half):
        head = bytearray(8)
        _chip.flash.read(half, head)
        return struct.unpack_from("<I", head, 4)[0] if head[:4] == b"NVS\0" else 0

    def _replay(self):
        half = bytearray(self.half_bytes)
        _chip.flash.read(self.halves[self.current], half)
        at = 8
        while at + self._HEAD_BYTES <= len(half):
            kind, n, k, size, crc = struct.unpack_from(self._HEAD, half, at)
            end = at + self._HEAD_BYTES + n + k + size
            if kind not in _KINDS or end > len(half):
                break
            body = bytes(half[at + self._HEAD_BYTES : end])
            if binascii.crc32(bytes(half[at : at + 5]) + body) != crc:
                break
            name = (body[:n].decode(), body[n : n + k].decode())
            value = body[n + k :]
            if kind == _INT:
                self.values[name] = struct.unpack("<i", value)[0]
            elif kind == _BLOB:
                self.values[name] = value
            else:
                self.values.pop(name, None)
            at = end
        # What follows must be blank to be programmed; a torn record closes this half.
        blank = all(byte == 0xFF for byte in half[at:])
        self.at = at if blank else self.half_bytes

    def _record(self, kind, name, value):
        namespace, key = name[0].encode(), name[1].encode()
        head = struct.pack("<BBBH", kind, len(namespace), len(key), len(value))
        body = namespace + key + value
        return head + struct.pack("<I", binascii.crc32(head + body)) + body

    def put(self, kind, name, value):
        record = self._record(kind, name, value)
        if self.at + len(record) <= self.half_bytes:
            _chip.flash.program(self.halves[self.current] + self.at, record)
            self.at += len(record)
        else:
            self._move(name, record)
        if kind == _ERASED:
            self.values.pop(name)
        else:
            self.values[name] = struct.unpack("<i", value)[0] if kind == _INT else value

    def _move(self, name, record):
        """Write the living values and the new record to the other half; its header comes last."""
        log = b""
        for other, value in self.values.items():
            if other != name:
                if isinstance(value, int):
                    log += self._record(_INT, other, struct.pack("<i", value))
                else:
                    log += self._record(_BLOB, other, value)
        log += record
        if 8 + len(log) > self.half_bytes:
            raise _error(-4357)
        self.current = 1 - self.current
        half = self.halves[self.current]
        for sector in range(half, half + self.half_bytes, nor.SECTOR):
            _chip.flash.erase(sector)
        _chip.flash.program(half + 8, log)
        self.generation += 1
        _chip.flash.program(half, b"NVS\0" + struct.pack("<I", self.generation))
        self.at = 8 + len(log)

    def used(self):
        return sum(self.cost(value) for value in self.values.values())

    def cost(self, value):
        """Bytes of entries: a blob has an index, a header and its data, in steps of 32."""
        return 32 if isinstance(value, int) else 64 + (len(value) + 31) // 32 * 32


_INT = 1
_BLOB = 2
_ERASED = 3
_KINDS = (_INT, _BLOB, _ERASED)
_store = None


class NVS:
    def __init__(self, namespace):
        global _store
        if _store is None:
            _store = _Store()
        self._namespace = namespace[:15]

    def __repr__(self):
        return "<NVS namespace>"

    def _name(self, key):
        # Longer keys are silently truncated on get and erase (measured).
        return (self._namespace, key[:15])

    def _get(self, key, integer):
        value = _store.values.get(self._name(key))
        if value is None or isinstance(value, int) != integer:
            raise _error(-4354)
        return value

    def _set(self, key, kind, value, stored):
        name = self._name(key)
        if _store.values.get(name) == value:
            return
        if len(key) > 15:
            raise _error(-4361)
        if _store.used() + _store.cost(value) > _store._CAPACITY:
            raise _error(-4357)
        _store.put(kind, name, stored)

    def set_i32(self, key, value):
        if not isinstance(value, int):
            raise TypeError("can't convert %s to int" % type(value).__name__)
        if not -(2**31) < value < 2**31:
            raise OverflowError("overflow converting long int to machine word")
        self._set(key, _INT, value, struct.pack("<i", value))

    def get_i32(self, key):
        return self._get(key, True)

    def set_blob(self, key, value):
        value = bytes(memoryview(value))
        self._set(key, _BLOB, value, value)

    def get_blob(self, key, buffer):
        if isinstance(buffer, bytes):
            raise TypeError("object with buffer protocol required")
        value = self._get(key, False)
        if len(buffer) < len(value):
            raise _error(-4364)
        memoryview(buffer)[: len(value)] = value
        return len(value)

    def erase_key(self, key):
        name = self._name(key)
        if name not in _store.values:
            raise _error(-4354)
        _store.put(_ERASED, name, b"")

    def commit(self):
        """Nothing is left to do: every value was written when it was set."""
