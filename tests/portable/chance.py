"""Random input that is nearly right: the same on both interpreters, from a number."""

from raft import wire
from raft.auth import KeyRing
from raft.message import COMMAND, NOOP, TYPE_NAMES, Message
from raft.wire import Codec, WireError

EDGES = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 1023, 1024, 65535, 1 << 29, (1 << 30) - 1)


class Chance:
    """Numbers by xorshift32 (Marsaglia, 2003): the interpreters have no generator in common."""

    def __init__(self, seed):
        # Near seeds begin alike: the multiplication and the first draws spread them.
        self._state = (seed * 2654435761 + 1) & 0xFFFFFFFF or 1
        for _ in range(8):
            self.bits()

    def bits(self):
        """32 of them."""
        x = self._state
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        self._state = x
        return x

    def below(self, n):
        return self.bits() % n

    def one_in(self, n):
        return self.bits() % n == 0

    def pick(self, some):
        return some[self.bits() % len(some)]

    def bytes(self, n):
        return bytes([self.bits() >> 12 & 0xFF for _ in range(n)])

    def number(self, least, most):
        """Of `least`..`most`: an edge, a small one, or any."""
        how = self.below(4)
        value = self.pick(EDGES) if how == 0 else self.below(10) if how < 3 else self.bits()
        if self.one_in(16):
            value = most - value
        return least + (value - least) % (most - least + 1)

    def damaged(self, data):
        """`data` (bytes) with one to four changes: bits, bytes, pieces gone, doubled or foreign."""
        data = bytearray(data)
        for _ in range(1 + self.below(4)):
            at = self.below(len(data) + 1)
            end = at + self.below(1 + min(16, len(data) - at))
            how = self.below(6)
            if how < 2 and at < len(data):
                data[at] = data[at] ^ 1 << self.below(8) if how else self.pick(EDGES) & 0xFF
            elif how == 2:
                data = data[:at]
            elif how == 3:
                data = data[:at] + data[end:]
            elif how == 4:
                data = data[:at] + data[at:end] + data[at:]
            else:
                data = data[:at] + self.bytes(self.below(9)) + data[end:]
        return bytes(data)


class Frames:
    """Authentic frames of a cluster, with whatever in them; built from the tables in raft.wire.

    `learn` takes frames that somebody really sent. Their numbers and free bytes come back in those
    of `some`, so that some of these answer questions, continue logs and prove nonces; and `changed`
    gives such a frame once more, with something else in it.
    """

    _KEPT = 8  # numbers of each field, tails, frames

    def __init__(self, chance, cluster, key):
        self._chance = chance
        self._keys = KeyRing(key)
        self._codec = Codec(cluster, KeyRing(key), 1, 1)
        self._kinds = sorted(TYPE_NAMES)
        self._head = {"version_key": wire.VERSION << 4, "cluster": cluster}
        self._numbers = {}
        self._tails = []
        self._frames = []  # (fields, tail)
        self.data = []  # what entries and free bytes may hold: commands, images

    def learn(self, frame):
        fields = {}
        at = 0
        for name, code, _ in _fields(frame[1]):
            size = wire.FIELD_SIZES[code]
            value = 0
            for i in range(size):
                value |= frame[at + i] << 8 * i
            at += size
            fields[name] = value
            self._keep(self._numbers.setdefault(name, []), value)
        tail = bytes(frame[at : len(frame) - wire.TAG_SIZE])
        self._keep(self._tails, tail)
        self._keep(self._frames, (fields, tail))

    def _keep(self, kept, one):
        if one not in kept:
            kept.append(one)
            if len(kept) > self._KEPT:
                kept.pop(0)

    def some(self, **given):
        """One sealed frame of any type; what is not `given` (a field's name) is left to chance."""
        fields = dict(self._head)
        # Entries are the hardest to read: they come more often.
        with_entries = [kind for kind in self._kinds if wire.TAILS[kind] == wire.ENTRIES]
        fields["type"] = self._chance.pick(
            self._chance.pick((self._kinds, self._kinds, with_entries))
        )
        fields.update(given)
        return self.made(fields, self._tail(fields["type"]))

    def changed(self, **given):
        """A frame that was learned, with up to two other numbers or another tail, and `given`."""
        chance = self._chance
        if not self._frames:
            return self.some(**given)
        fields, tail = chance.pick(self._frames)
        fields = dict(fields)
        table = _fields(fields["type"])
        for _ in range(chance.below(3)):
            name, code, _ = chance.pick(table)
            if name != "type" and name not in self._head:
                fields[name] = self._number(name, code)
        if chance.one_in(4):
            tail = self._tail(fields["type"])
        fields.update(given)
        return self.made(fields, tail)

    def made(self, fields, tail):
        """A sealed frame with these fields and this tail."""
        body = bytearray()
        for name, code, _ in _fields(fields["type"]):
            value = fields[name] if name in fields else self._number(name, code)
            for _ in range(wire.FIELD_SIZES[code]):
                body.append(value & 0xFF)
                value >>= 8
        return self.sealed(bytes(body) + tail)

    def _number(self, name, code):
        chance = self._chance
        known = self._numbers.get(name)
        if known and chance.below(8):
            newest = known[-1] if chance.one_in(2) else chance.pick(known)
            return max(0, newest + chance.pick((0, 0, 0, 0, 1, -1)))
        least, most = wire._RANGES[code]
        # Terms and sequences at the end of their range end the life of a member: once in a while.
        return chance.number(least, most) if chance.one_in(8) else chance.below(4)

    def _tail(self, kind):
        chance = self._chance
        how = chance.below(8)
        if how == 0:
            return chance.bytes(chance.below(40))
        if wire.TAILS[kind] == wire.ENTRIES:
            tail = self._entries(kind)
            return tail[: chance.below(len(tail) + 1)] if how == 1 else tail
        if wire.TAILS[kind] == wire.NOTHING:
            return b""
        if how < 4 and self._tails:
            return chance.pick(self._tails)
        return self._some_data()

    def _some_data(self):
        chance = self._chance
        if not self.data or chance.one_in(8):
            return chance.bytes(chance.below(wire.COMMAND_MAX))
        data = chance.pick(self.data)
        return chance.damaged(data) if chance.one_in(8) else data

    def _entries(self, kind):
        """The tail of a message with up to four entries."""
        message = Message()
        message.type = kind
        for _ in range(self._chance.below(5)):
            term = self._number("term", "I")
            data = self._some_data()[: wire.COMMAND_MAX]
            of = self._chance.pick((NOOP, COMMAND, COMMAND, self._chance.below(16)))
            message.entries.append((term, of, data))
        buf = bytearray(wire.FRAME_MAX)
        while True:
            try:
                length = self._codec.encode(message, buf)
            except WireError:
                message.entries.pop()
                continue
            start = wire.HEADER_SIZE + wire.BODY_SIZES[kind]
            return bytes(buf[start : length - wire.TAG_SIZE])

    def sealed(self, content, longest=wire.FRAME_MAX):
        """`content` (header, body, tail) with its tag, cut to `longest` bytes together."""
        content = content[: longest - wire.TAG_SIZE]
        buf = bytearray(content) + bytearray(wire.TAG_SIZE)
        self._keys.seal(buf, len(content))
        return bytes(buf)


def _fields(kind):
    return wire.HEADER_FIELDS + wire.FIELDS[kind]
