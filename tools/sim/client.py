"""A client with a session of its own, as a PC is: asks boards by radio, and asks again.

It has one command under way at a time, and repeats it under the same number through whatever board,
until one tells what became of it: the session makes that safe (raft.sessions).
"""

from raft.auth import KeyRing, cluster_hash
from raft.message import (
    ACCEPTED,
    CHALLENGE,
    COMMITTED,
    FORWARD,
    NO_SESSION,
    OPEN_SESSION,
    OUTCOME,
    PROOF,
    REJECTED,
    SESSION_COMMAND,
    UNKNOWN,
    Message,
)
from raft.sessions import client_name, head
from raft.wire import FRAME_MAX, HEADER_FIELDS, Codec
from tools.sim.workload import workload_for

_OWN_VALUES = 12  # bits: a client's commands carry values that nobody else's do
_DST = 5  # where the header says for whom a frame is
assert [name for name, _, _ in HEADER_FIELDS][4] == "dst"


class Client:
    """PC `me` (id 0xE0..0xFE) in `world`, which asks for one thing after the other.

    `retry_ms`: how long it waits for an outcome before it asks again, some other board perhaps.
    """

    def __init__(self, world, me, random, retry_ms):
        self.world = world
        self.me = me
        self.random = random
        self.goes_on = True
        self._retry_ms = retry_ms
        self._workload = workload_for(world.boards[1].config.new_machine())
        self._value = me << _OWN_VALUES
        self._restarts = random.choice((0.0, 0.0, 0.3))
        config = next(iter(world.boards.values())).config
        keys = KeyRing(config.key, config.key_generation)
        self.codec = Codec(cluster_hash(config.cluster), keys, me, 1)
        self._restart()
        self._message = Message()
        self._buf = bytearray(FRAME_MAX)
        self._request = 0
        self._asked = None  # the command under way, as checks and histories know it
        self._copies = 0
        self._addressed = set()  # boards that were asked for it
        self._board = 0
        world.hear_all(self._overhear)
        self._later(0, self._go_on)

    def _restart(self):
        """As a program that is started anew: what was under way is forgotten with its session."""
        self.codec.incarnation = 1 + self.random.randrange(0xFFFF)
        self.codec.epoch = 1 + self.random.randrange(1 << 29)
        self._name = client_name(self.me, self.codec.incarnation, self.codec.epoch)
        self._session = self._sequence = 0
        self._proved = set()

    def _later(self, delay_us, function):
        self.world.at(self.world.now_us + int(delay_us), lambda _: function(), None)

    def _go_on(self):
        """Begin the next command, or repeat the present one."""
        if self._asked is None and self.random.random() < self._restarts:
            self._restart()
        if self._asked is None and self._session:
            if not self.goes_on:
                return
            self._value += 1
            command = self._workload.command(self.random, self._value)
            self._sequence += 1
            self._request += 1
            self._addressed.clear()
            self._copies = 0
            self._asked = self.world.client_asks(self.me, command)
        if self.random.random() < 0.5 or not self._board:
            self._board = self.random.choice(list(self.world.boards))
        self._ask()
        self._later(1000 * self._retry_ms * self.random.uniform(0.5, 1.5), self._go_on)

    def _ask(self):
        if self._session and self._asked is None:
            return
        if self._session:
            self._addressed.add(self._board)
            self._copies += 1
            data = head(self._session, self._sequence, 0) + self._asked.command
            self._send(FORWARD, self._board, SESSION_COMMAND, data)
        else:
            self._send(FORWARD, self._board, OPEN_SESSION, self._name)

    def _send(self, kind, dst, entry, data):
        message = self._message
        message.type, message.dst, message.term = kind, dst, 0
        message.request, message.kind, message.data = self._request, entry, data
        length = self.codec.encode(message, self._buf)
        self.world.send_from_outside(bytes(self._buf[:length]))

    def _overhear(self, frame):
        """Every frame that a board sends."""
        if frame[_DST] != self.me or self.random.random() < 0.05:
            return
        message = self._message
        if self.codec.decode(frame, len(frame), message) is not None:
            return
        if message.type == CHALLENGE:
            if message.src in self._proved:
                self._addressed.add(None)  # it has forgotten what it did with the command
            self._proved.add(message.src)
            self._send(PROOF, message.src, 0, message.data)
            self._ask()
        elif message.type == OUTCOME and message.dst_incarnation == self.codec.incarnation:
            if message.heard_epoch == self.codec.epoch and message.request == self._request:
                self._on_outcome(message)

    def _on_outcome(self, message):
        code = message.code
        if not self._session:
            if code == COMMITTED:
                self._session = message.index
                self._sequence = 0
            return
        if self._asked is None or code == ACCEPTED:
            return
        certain = message.index or self._addressed == {message.src}
        if code == NO_SESSION:
            # Its session made room for others: what was under way may have been applied before.
            self._end(code if certain and self._copies == 1 else UNKNOWN, message)
            self._restart()
        elif code != UNKNOWN and (code < REJECTED or certain):
            self._end(code, message)
        elif code == UNKNOWN and self.random.random() < 0.1:
            self._end(UNKNOWN, message)  # it gives up
        elif code == UNKNOWN:
            self._addressed.add(None)  # the board has handed it to somebody, and forgets that

    def _end(self, code, message):
        asked, self._asked = self._asked, None
        self._request += 1
        self.world.client_hears(asked, code, message.index, message.entry_term)
