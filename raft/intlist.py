"""The list of integers of the notes: 'set index to value', replicated.

A state machine has check, apply, snapshot, restore and digest; it is deterministic, and applies
the same command to the same state with the same result on every board.
"""

from binascii import crc32
from struct import pack_into, unpack_from

from raft.message import BAD_COMMAND, BAD_INDEX, COMMITTED, const

SET = const(1)
_SET_SIZE = const(7)  # op u8, index u16, value i32
DEFAULT_SIZE = const(5)


def set_command(index, value):
    """The 7 bytes of 'set `index` to `value`'.

    Raises ValueError, with a sentence for the user, if the index does not fit into 16 bits or the
    value into 32 bits signed.
    """
    if not 0 <= index <= 0xFFFF:
        raise ValueError("index %d is outside 0..65535" % index)
    if not -0x80000000 <= value <= 0x7FFFFFFF:
        raise ValueError("value %d does not fit into 32 bits (-2147483648..2147483647)" % value)
    command = bytearray(_SET_SIZE)
    pack_into("<BHi", command, 0, SET, index, value)
    return bytes(command)


class IntList:
    """`size` integers of 32 bits signed, all 0 at first."""

    name = "intlist"

    def __init__(self, size=DEFAULT_SIZE):
        if not 1 <= size <= 0xFFFF:
            raise ValueError("an IntList has 1 to 65535 integers, not %r" % (size,))
        self.values = [0] * size

    def check(self, command):
        """COMMITTED if `command` (bytes) could be applied now, else the reason to refuse it."""
        if len(command) != _SET_SIZE or command[0] != SET:
            return BAD_COMMAND
        if command[1] | command[2] << 8 >= len(self.values):
            return BAD_INDEX
        return COMMITTED

    def apply(self, command):
        """Apply one committed command; return COMMITTED or the reason why it changed nothing."""
        code = self.check(command)
        if code == COMMITTED:
            _, index, value = unpack_from("<BHi", command)
            self.values[index] = value
        return code

    def snapshot(self):
        """The whole state as bytes: 4 for each integer."""
        image = bytearray(4 * len(self.values))
        for i, value in enumerate(self.values):
            pack_into("<i", image, 4 * i, value)
        return bytes(image)

    def restore(self, image):
        """Take over a snapshot. Raises ValueError if it is not a whole number of integers."""
        if not image or len(image) % 4:
            raise ValueError("a snapshot of an IntList has 4 bytes for each integer")
        self.values = [unpack_from("<i", image, i)[0] for i in range(0, len(image), 4)]

    def digest(self):
        """30 bits over the whole state, to compare boards with."""
        return crc32(self.snapshot()) & 0x3FFFFFFF
