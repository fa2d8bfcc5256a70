"""Keys and values, replicated: 'set "lamp" to "on"', 'add 1 to "visitors"'.

    set       op u8, key, value; without a value: delete
    add       op u8, key, delta (a value of kind int)
    cas       op u8, key, expected value, new value
    key       length u8 (1..32), utf-8
    value     kind u8 (0: none | 1: int | 2: text | 3: bytes), then
              int: i32 | text, bytes: length u8 (0..128), utf-8 or bytes
    snapshot  key, value, key, value, ... with keys ascending (their length byte counts)

Keys and values are held in this very form: two are equal if their bytes are, on any interpreter.
"""

from binascii import crc32
from struct import pack, unpack_from

from raft.message import BAD_COMMAND, COMMITTED, FULL, MISMATCH, NOT_A_NUMBER, OVERFLOW, const
from raft.wire import COMMAND_MAX

SET = const(1)
ADD = const(2)
CAS = const(3)

_NONE = const(0)
_INT = const(1)
_TEXT = const(2)
_BYTES = const(3)
_NOTHING = b"\x00"  # the value of a key that is not there
_LEAST = (0, 0x80, 0x800, 0x10000)  # first character that takes so many more bytes in utf-8

KEY_MAX = const(32)
VALUE_MAX = const(128)
DEFAULT_KEYS = const(64)
DEFAULT_BYTES = const(4096)


def set_command(key, value):
    """The bytes of 'set `key` to `value`'.

    `key`: text of 1 to 32 bytes in utf-8. `value`: an int of 32 bits signed, or text or bytes of at
    most 128 bytes. Raises ValueError, with a sentence for the user. So do all builders.
    """
    if value is None:
        raise ValueError("to set key %r to nothing is to delete it: say so" % (key,))
    return _command(SET, key, _value(value))


def delete_command(key):
    """The bytes of 'delete `key`', which is no error if it is not there."""
    return _command(SET, key, _NOTHING)


def add_command(key, delta):
    """The bytes of 'add the int `delta` to what `key` holds', 0 if it is not there."""
    if type(delta) is not int:
        raise ValueError("only a whole number can be added, not %r" % (delta,))
    return _command(ADD, key, _value(delta))


def cas_command(key, expected, value):
    """The bytes of 'set `key` to `value` if it holds `expected`' (compare and set).

    None is 'not there': as `expected` it creates the key, as `value` it deletes it. The two values
    share one command: two long ones raise ValueError.
    """
    return _command(CAS, key, _value(expected) + _value(value))


def _command(op, key, values):
    command = bytes([op]) + _key(key) + values
    if len(command) > COMMAND_MAX:
        text = "the command takes %d bytes, and one has at most %d: shorten key or values"
        raise ValueError(text % (len(command), COMMAND_MAX))
    return command


def _key(key):
    if not isinstance(key, str):
        raise ValueError("a key is text, not %r" % (key,))
    data = _utf8(key)
    if not 1 <= len(data) <= KEY_MAX:
        raise ValueError("a key has 1 to %d bytes in utf-8, not %d" % (KEY_MAX, len(data)))
    return bytes([len(data)]) + data


def _value(value):
    if value is None:
        return _NOTHING
    if type(value) is int:  # not a bool, which is an int for CPython only
        if not _fits(value):
            text = "%d does not fit into 32 bits (-2147483648..2147483647)"
            raise ValueError(text % value)
        return pack("<Bi", _INT, value)
    if isinstance(value, str):
        kind, data = _TEXT, _utf8(value)
    elif isinstance(value, (bytes, bytearray)):
        kind, data = _BYTES, bytes(value)
    else:
        raise ValueError("a value is a whole number, text or bytes, not %r" % (value,))
    if len(data) > VALUE_MAX:
        raise ValueError("a value has at most %d bytes, not %d" % (VALUE_MAX, len(data)))
    return bytes([kind, len(data)]) + data


def _fits(value):
    return -0x80000000 <= value <= 0x7FFFFFFF


def _utf8(text):
    try:
        data = text.encode()
    except ValueError:  # CPython refuses half a surrogate pair, MicroPython encodes it
        data = None
    if data is None or not _is_utf8(data, 0, len(data)):
        raise ValueError("the text has characters that utf-8 has no bytes for")
    return data


def _is_utf8(data, at, end):
    """True if data[at:end] is valid. Not left to the interpreter: MicroPython decodes overlong
    forms and surrogates, CPython raises, and boards and PCs must agree."""
    while at < end:
        lead = data[at]
        at += 1
        if lead < 0x80:
            continue
        if lead < 0xC0 or lead >= 0xF8:
            return False
        more = 1 if lead < 0xE0 else 2 if lead < 0xF0 else 3
        if at + more > end:
            return False
        point = lead & 0x3F >> more
        for _ in range(more):
            if data[at] & 0xC0 != 0x80:
                return False
            point = point << 6 | data[at] & 0x3F
            at += 1
        if not _LEAST[more] <= point <= 0x10FFFF or 0xD800 <= point <= 0xDFFF:
            return False
    return True


def _end_of_key(data, at):
    """Where the key that begins at `at` ends, -1 if none does."""
    if at >= len(data):
        return -1
    start = at + 1
    end = start + data[at]
    if not 1 <= data[at] <= KEY_MAX or end > len(data) or not _is_utf8(data, start, end):
        return -1
    return end


def _end_of_value(data, at):
    """Where the value that begins at `at` ends, -1 if none does, or if `at` is -1."""
    if not 0 <= at < len(data):
        return -1
    kind = data[at]
    if kind == _NONE:
        return at + 1
    if kind == _INT:
        return at + 5 if at + 5 <= len(data) else -1
    start = at + 2
    if kind > _BYTES or start > len(data) or data[at + 1] > VALUE_MAX:
        return -1
    end = start + data[at + 1]
    if end > len(data) or kind == _TEXT and not _is_utf8(data, start, end):
        return -1
    return end


def _parse(command):
    """(op, key, expected value, value) as bytes, expected is b"" but for a cas; None: malformed."""
    if not command or command[0] not in (SET, ADD, CAS):
        return None
    op = command[0]
    key_end = _end_of_key(command, 1)
    value_at = _end_of_value(command, key_end) if op == CAS else key_end
    if _end_of_value(command, value_at) != len(command):
        return None
    if op == ADD and command[value_at] != _INT:
        return None
    return op, command[1:key_end], command[key_end:value_at], command[value_at:]


def _number(value):
    return unpack_from("<i", value, 1)[0] if value[0] == _INT else 0


class KeyValue:
    """At most `keys_max` keys, which take with their values at most `bytes_max` bytes of snapshot
    (up to 65535). Both must be the same on all boards, or one refuses what another applies."""

    name = "keyvalue"

    def __init__(self, keys_max=DEFAULT_KEYS, bytes_max=DEFAULT_BYTES):
        if keys_max < 1 or not 1 <= bytes_max <= 0xFFFF:
            raise ValueError("a KeyValue has room for a key and for 1 to 65535 bytes")
        self.keys_max = keys_max
        self.bytes_max = bytes_max
        self.result = 0
        self._size = 0  # bytes of the snapshot
        self._values = {}

    def get(self, key):
        """The int, text or bytes at `key` (text), None if it is not there.

        Raises ValueError if it can be no key.
        """
        value = self._values.get(_key(key), _NOTHING)
        if value[0] == _NONE:
            return None
        if value[0] == _INT:
            return _number(value)
        return str(value[2:], "utf-8") if value[0] == _TEXT else value[2:]

    def keys(self):
        """All keys as text, sorted."""
        return sorted([str(key[1:], "utf-8") for key in self._values])

    def check(self, command):
        """COMMITTED if `command` (bytes) is well formed, else BAD_COMMAND.

        Whether values fit or match is seen when it is applied: entries before it may change that.
        """
        return BAD_COMMAND if _parse(command) is None else COMMITTED

    def apply(self, command):
        """Apply one committed command; return COMMITTED or the reason why it changed nothing.

        Leaves in `result` the int that the key holds now, changed or not; 0 if it holds none.
        """
        self.result = 0
        parts = _parse(command)
        if parts is None:
            return BAD_COMMAND
        op, key, expected, value = parts
        present = self._values.get(key, _NOTHING)
        self.result = _number(present)
        if op == CAS and present != expected:
            return MISMATCH
        if op == ADD:
            if present[0] > _INT:
                return NOT_A_NUMBER
            total = _number(present) + _number(value)
            if not _fits(total):
                return OVERFLOW
            value = pack("<Bi", _INT, total)
        return self._put(key, present, value)

    def _put(self, key, present, value):
        keys = len(self._values)
        size = self._size
        if present[0] != _NONE:
            keys -= 1
            size -= len(key) + len(present)
        if value[0] != _NONE:
            keys += 1
            size += len(key) + len(value)
        if keys > self.keys_max or size > self.bytes_max:
            return FULL
        if value[0] != _NONE:
            self._values[key] = value
        elif present[0] != _NONE:
            del self._values[key]
        self._size = size
        self.result = _number(value)
        return COMMITTED

    def snapshot(self):
        """The whole state as bytes; the same for equal states, in whatever order they came."""
        return b"".join([key + self._values[key] for key in sorted(self._values)])

    def restore(self, image):
        """Take over a snapshot (bytes).

        Raises ValueError, and changes nothing, if it is none or is larger than this one may be.
        """
        values = {}
        at = 0
        before = b""
        while at < len(image):
            key_end = _end_of_key(image, at)
            end = _end_of_value(image, key_end)
            key = bytes(image[at:key_end])
            # Ascending: no key twice, and one snapshot only for one state.
            if end < 0 or image[key_end] == _NONE or key <= before:
                raise ValueError("not the snapshot of a KeyValue: wrong at byte %d" % at)
            values[key] = bytes(image[key_end:end])
            before = key
            at = end
        if len(values) > self.keys_max or len(image) > self.bytes_max:
            text = "a snapshot of %d keys and %d bytes, and there is room for %d and %d"
            raise ValueError(text % (len(values), len(image), self.keys_max, self.bytes_max))
        self._values = values
        self._size = len(image)

    def digest(self):
        """30 bits over the whole state, to compare boards with: of the snapshot's CRC-32."""
        crc = 0
        for key in sorted(self._values):  # piece by piece: a heap in use has no 4 KB in one block
            crc = crc32(self._values[key], crc32(key, crc))
        return crc & 0x3FFFFFFF
