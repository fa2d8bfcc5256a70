"""The list of integers of the notes: 'set index to value', replicated.

    set, add  op u8, index u16, value or delta i32
    cas       op u8, index u16, expected i32, value i32
    grow      op u8, new size u16
    snapshot  4 bytes for each integer

A state machine has check, apply, snapshot, restore and digest; it is deterministic, and applies
the same command to the same state with the same result on every board (docs/state-machines.md).
"""

from binascii import crc32
from struct import pack, pack_into, unpack_from

from raft.message import BAD_COMMAND, BAD_INDEX, BAD_SIZE, COMMITTED, MISMATCH, OVERFLOW, const

SET = const(1)
ADD = const(2)
CAS = const(3)
GROW = const(4)
_SIZES = {SET: 7, ADD: 7, CAS: 11, GROW: 3}  # bytes of a command
DEFAULT_SIZE = const(5)
SIZE_MAX = const(1024)


def set_command(index, value):
    """The 7 bytes of 'set `index` to `value`'.

    Raises ValueError, with a sentence for the user, if the index does not fit into 16 bits or the
    value into 32 bits signed. So do all builders.
    """
    return pack("<BHi", SET, _index(index), _int(value, "value"))


def add_command(index, delta):
    """The 7 bytes of 'add `delta` to what `index` holds'; refused if it would leave 32 bits."""
    return pack("<BHi", ADD, _index(index), _int(delta, "delta"))


def cas_command(index, expected, value):
    """The 11 bytes of 'set `index` to `value` if it holds `expected`' (compare and set)."""
    return pack("<BHii", CAS, _index(index), _int(expected, "expected value"), _int(value, "value"))


def grow_command(size):
    """The 3 bytes of 'have `size` integers (1..1024), the new ones 0'; a list never shrinks."""
    if type(size) is not int or not 1 <= size <= SIZE_MAX:
        raise ValueError("a list grows to at most %d integers, not %r" % (SIZE_MAX, size))
    return pack("<BH", GROW, size)


# MicroPython's struct truncates what does not fit, and takes a float.
def _index(index):
    if type(index) is not int or not 0 <= index <= 0xFFFF:
        raise ValueError("index %s is outside 0..65535" % (index,))
    return index


def _int(value, name):
    if type(value) is not int or not _fits(value):
        text = "%s %s does not fit into 32 bits (-2147483648..2147483647, whole numbers)"
        raise ValueError(text % (name, value))
    return value


def _fits(value):
    return -0x80000000 <= value <= 0x7FFFFFFF


class IntList:
    """`size` integers (1..1024) of 32 bits signed, all 0 at first. The same size on all boards."""

    name = "intlist"

    def __init__(self, size=DEFAULT_SIZE):
        if not 1 <= size <= SIZE_MAX:
            raise ValueError("an IntList has 1 to %d integers, not %r" % (SIZE_MAX, size))
        self.values = [0] * size
        self.result = 0

    def check(self, command):
        """COMMITTED if `command` (bytes) could be applied now, else the reason to refuse it.

        Says nothing about the values: entries that are not applied yet may change them.
        """
        if not command or len(command) != _SIZES.get(command[0]):
            return BAD_COMMAND
        number = command[1] | command[2] << 8
        if command[0] == GROW:
            return COMMITTED if len(self.values) <= number <= SIZE_MAX else BAD_SIZE
        return COMMITTED if number < len(self.values) else BAD_INDEX

    def apply(self, command):
        """Apply one committed command; return COMMITTED or the reason why it changed nothing.

        Leaves in `result` what the index holds now, changed or not; after a grow, the size; 0 if
        the command or its index is bad.
        """
        self.result = 0
        code = self.check(command)
        if code != COMMITTED:
            return code
        op, number = unpack_from("<BH", command)
        if op == GROW:
            self.values.extend([0] * (number - len(self.values)))
            self.result = number
            return COMMITTED
        present = self.values[number]
        self.result = present
        value = unpack_from("<i", command, len(command) - 4)[0]
        if op == ADD:
            value += present
            if not _fits(value):
                return OVERFLOW
        elif op == CAS and unpack_from("<i", command, 3)[0] != present:
            return MISMATCH
        self.values[number] = value
        self.result = value
        return COMMITTED

    def snapshot(self):
        """The whole state as bytes: 4 for each integer."""
        image = bytearray(4 * len(self.values))
        for i, value in enumerate(self.values):
            pack_into("<i", image, 4 * i, value)
        return bytes(image)

    def restore(self, image):
        """Take over a snapshot, of any size. Raises ValueError if it is none."""
        if len(image) % 4 or not 1 <= len(image) // 4 <= SIZE_MAX:
            raise ValueError("a snapshot of an IntList has 4 bytes for each of 1..1024 integers")
        self.values = [unpack_from("<i", image, i)[0] for i in range(0, len(image), 4)]

    def digest(self):
        """30 bits over the whole state, to compare boards with."""
        return crc32(self.snapshot()) & 0x3FFFFFFF
