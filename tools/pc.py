"""The PC's end of the cluster: listens through the collector, polls boards, sends commands.

Sans-IO, as the core is: no socket, no clock. Datagrams and the time in ms go in by `datagram` and
`tick`; what is to be sent, what was heard and what became of commands is taken out by `outgoing`,
`heard` and `finished`. `tools/link.py` and the viewer put a socket around it.

A PC holds the cluster's key but is no member: it never votes, and no board waits for it. It draws
an id from 0xE0..0xFE and an incarnation at random, and draws another id when it hears its own
under a foreign incarnation.

A command goes out as FORWARD and is repeated until an OUTCOME answers it. It belongs to a session,
which the first command opens: however often a command comes, through whatever board, it is applied
once (raft.sessions). To open it, and for orders, the PC proves that it is there: CHALLENGE, PROOF,
FORWARD again (docs/protocol.md, rule 2).
"""

from dataclasses import dataclass, field

from collector import envelope
from raft.auth import KeyRing, cluster_hash
from raft.intlist import IntList, add_command, cas_command, set_command
from raft.membership import decode
from raft.message import (
    ACCEPTED,
    ACK,
    APPEND,
    CHALLENGE,
    COMMITTED,
    DATABASE,
    FIRST_PC,
    FORWARD,
    LAST_PC,
    LINEARIZABLE,
    MEMBERS,
    NO_LEADER,
    NO_SESSION,
    NOT_NOW,
    OPEN_SESSION,
    ORDER,
    ORDER_TEXTS,
    ORDER_TRANSFER,
    OUTCOME,
    OUTCOME_TEXTS,
    POLL,
    PROOF,
    SESSION_COMMAND,
    STALE,
    STATUS,
    UNKNOWN,
    Message,
)
from raft.sessions import WINDOW, client_name, head
from raft.wire import FRAME_MAX, Codec
from tools.air import airtime_us
from tools.contents import contents

SUBSCRIBE_EVERY_MS = 1000
FIRST_EVERY_MS = 50
COLLECTOR_SILENT_MS = 5000
RESEND_MS = 250  # until a first OUTCOME is heard
RESEND_ACCEPTED_MS = 1000  # the answer is on its way or lost: asking again repeats it
COMMAND_TIMEOUT_MS = 5000
POLL_TIMEOUT_MS = 150
POLL_EVERY_MS = 2000  # round robin: what no ack tells (role, vote, uptime) is never older
POLL_AGAIN_MS = 300  # a board that owes us news, but did not answer
POLL_AIRTIME_SHARE = 0.02  # polls and their answers are bulk
HEARD_LATELY_MS = 1000
FIRST_REQUEST_MAX = 1 << 29  # half of a counter's range stays to count in
LATE_DATAGRAMS = 64  # a sequence that is this far back came late; further back: a new collector

SENT = "sent"
CHALLENGED = "challenged"
IN_LOG = "accepted"
DONE = "committed"
REFUSED = "rejected"
UNSURE = "unknown"
_FINAL = (DONE, REFUSED, UNSURE)


@dataclass(slots=True)
class Heard:
    """One frame as the collector heard it, or as we gave it to the collector (`ours`).

    `message` is None if the frame was dropped; `reason` then says why (wire.DROP_REASONS).
    `database` is set on the STATUS that completed one: the integers at its applied_index.
    """

    at_ms: int
    frame: bytes
    message: Message | None
    reason: str | None = None
    ticks_ms: int | None = None  # collector's clock
    rssi: int | None = None  # dBm, at the collector
    mac: bytes | None = None
    ours: bool = False
    database: list[int] | None = None


@dataclass(slots=True, eq=False)
class Command:
    """One 'set', or an order, on its way; `state` and what follows it change until `finished`.

    An order (`order` is one of ORDER_TEXTS, about board `cell`) is done when the leader took it.
    """

    request: int
    node: int
    cell: int
    value: int
    data: bytes
    started_ms: int
    state: str = SENT
    log_index: int = 0
    log_term: int = 0
    elapsed_ms: int = 0
    reason: str = ""
    due_ms: int = 0
    order: int = 0
    code: int = 0  # of the last outcome
    session: int = 0  # under which it goes, and its number there; 0: not begun
    sequence: int = 0
    copies: int = 0  # in how many frames it went out
    boards: int = 0  # how many were asked so far, each boot of a board for itself

    @property
    def finished(self):
        return self.state in _FINAL

    @property
    def may_pass(self):
        """True if the refusal says nothing of a later try: nobody led, or the time was wrong."""
        return self.code in (NO_LEADER, NOT_NOW)

    @property
    def text(self):
        """One sentence for the user."""
        if self.state == SENT and not self.order and not self.session:
            return "waiting for board %d to open a session" % self.node
        if self.state == SENT:
            return "sent to board %d, waiting for its answer" % self.node
        if self.state == CHALLENGED:
            return "board %d asked who we are, answered" % self.node
        if self.state == IN_LOG and not self.log_index:
            return "board %d has taken it and passes it to the leader" % self.node
        if self.state == IN_LOG:
            return "in the leader's log at index %d, term %d" % (self.log_index, self.log_term)
        if self.state == DONE and self.order:
            return "board %d begins to %s" % (self.node, ORDER_TEXTS[self.order])
        if self.state == DONE:
            return "committed at index %d in %d ms" % (self.log_index, self.elapsed_ms)
        return self.reason


def _check_board(node):
    if not 1 <= node < FIRST_PC:
        raise ValueError("board %d is outside 1..%d" % (node, FIRST_PC - 1))


@dataclass(slots=True, eq=False)
class Reading:
    """One read on its way: `values` as they were at some moment after `started_ms`."""

    request: int
    node: int
    started_ms: int
    level: int = LINEARIZABLE
    part: int = DATABASE
    state: str = SENT
    values: list[int] | None = None  # of MEMBERS: (id, incarnation, role, chip)
    applied_index: int = 0
    boot: tuple | None = None  # (incarnation, epoch) of the board that answered
    elapsed_ms: int = 0
    reason: str = ""
    due_ms: int = 0
    image: bytearray = field(default_factory=bytearray)
    image_of: tuple | None = None  # (applied index, digest, total)

    @property
    def finished(self):
        return self.state in _FINAL


@dataclass(slots=True)
class _Seen:
    """What the scheduler of polls knows of one board."""

    boot: tuple | None = None  # (incarnation, epoch), None: polled, but never heard
    heard_ms: int = 0
    request: int = -1  # of the last poll
    polled_ms: int = -POLL_EVERY_MS
    told: tuple | None = None  # (applied index, digest or None), overheard
    status: tuple | None = None  # the same, in its last STATUS
    status_length: int = FRAME_MAX
    piece: bytearray = field(default_factory=bytearray)
    piece_of: tuple | None = None  # (applied index, digest, total) that the piece belongs to
    database: tuple | None = None  # (applied index, [integers])

    def wants(self, now_ms, known):
        """How urgent a poll is: 0: the rest of its database is missing, 1: it has news,
        2: its news are `known`, by (applied index, digest), 3: its turn, None: nothing is wanted.
        """
        waited_ms = now_ms - self.polled_ms
        lately = now_ms - self.heard_ms < HEARD_LATELY_MS
        if lately and self.piece_of and waited_ms >= POLL_TIMEOUT_MS:
            return 0
        if lately and self._has_news() and waited_ms >= POLL_AGAIN_MS:
            return 2 if self.told in known else 1
        return 3 if waited_ms >= POLL_EVERY_MS else None

    def _has_news(self):
        if self.status is None:
            return True
        if self.told is None:
            return False
        index, digest = self.told
        if digest is None:  # a leader states no digest, only what it committed
            return index > self.status[0]
        return self.told != self.status


class Station:
    """This PC in cluster `cluster` (name) with `key` (bytes); `random_bytes(n)` as os.urandom.

    Raises ValueError if the key is shorter than 16 or longer than 64 bytes.
    """

    def __init__(self, cluster, key, random_bytes, machine=IntList):
        self._random_bytes = random_bytes
        self._machine = machine
        incarnation = 1 + int.from_bytes(random_bytes(2), "little") % 0xFFFF
        # Id, incarnation and epoch name a session's client: nobody else may have all three.
        epoch = 1 + self._draw_number()
        keys = KeyRing(key)
        self.codec = Codec(cluster_hash(cluster), keys, self._draw_id(()), incarnation, epoch)
        self._session = 0
        self._sequence_in_session = 0
        self._openings = epoch - 1  # names, beside id and incarnation, the client of a session
        self._open_request = 0
        self._open_due_ms = 0
        self._unsure = []  # the commands last given up, which may be tried again
        self.counts = {
            "datagrams": 0,
            "bad_datagrams": 0,  # none of ours, damaged, or of another version
            "lost_datagrams": 0,  # gaps in the collector's sequence
            "frames": 0,
            "refused": 0,
            "torn_databases": 0,  # pieces whose digest does not fit
            "id_changes": 0,
        }
        self.collector_heard_ms = None
        self.collector_counts = {}
        self.channel = None
        self.refusal = None  # why the collector last refused a frame, as a sentence
        self.wrong_key_ms = None  # when a frame of our cluster last failed authentication
        self.authentic_ms = None  # when a board's frame last passed it
        self.leader = None  # (term, node) of the newest AppendEntries
        self.boards = {}
        self._buf = bytearray(FRAME_MAX)
        self._request = self._draw_number()
        self._poll_request = self._draw_number()
        self._poll = None  # (request, node, sent at ms)
        self._next_poll_ms = 0
        self._next_subscribe_ms = None
        self._sequence = None
        self._collector_ticks = None
        self._pending = {}
        self._readings = {}
        self._proved = set()  # boards that this id answered a challenge of
        self._outgoing = []
        self._heard = []
        self._finished = []

    @property
    def id(self):
        return self.codec.src

    @property
    def wrong_key_frames(self):
        """Frames of this cluster (by its name's hash) that failed authentication."""
        return self.codec.drops["tag"] + self.codec.drops["key"]

    def outgoing(self):
        """Take the datagrams that are to be sent to the collector, oldest first."""
        taken, self._outgoing = self._outgoing, []
        return taken

    def heard(self):
        """Take the frames heard since the last call, oldest first."""
        taken, self._heard = self._heard, []
        return taken

    def finished(self):
        """Take the commands that came to an end since the last call."""
        taken, self._finished = self._finished, []
        return taken

    def databases(self):
        """{node: (applied index, [integers])} as the boards last reported them whole."""
        return {n: seen.database for n, seen in sorted(self.boards.items()) if seen.database}

    def tick(self, now_ms):
        """Do what is due: subscribe, repeat commands, give up on them, poll."""
        if self._next_subscribe_ms is None or now_ms >= self._next_subscribe_ms:
            # A collector that starts together with us is not to be missed for a second.
            unheard = self.collector_heard_ms is None
            self._next_subscribe_ms = now_ms + (FIRST_EVERY_MS if unheard else SUBSCRIBE_EVERY_MS)
            self._outgoing.append(envelope.subscribe())
        for command in list(self._pending.values()):
            if now_ms - command.started_ms >= COMMAND_TIMEOUT_MS:
                self._give_up(command, now_ms)
            elif now_ms >= command.due_ms:
                self._forward(command, now_ms)
        for reading in list(self._readings.values()):
            if now_ms - reading.started_ms >= COMMAND_TIMEOUT_MS:
                reading.reason = "no answer from board %d, nothing was read" % reading.node
                self._end_reading(reading, REFUSED, now_ms)
            elif now_ms >= reading.due_ms:
                self._ask(reading, now_ms)
        self.poll_if_due(now_ms)

    def datagram(self, data, now_ms):
        """Take one datagram, whatever it holds: what is none of ours is counted and dropped."""
        self.counts["datagrams"] += 1
        kind = envelope.kind_of(data)
        if kind == envelope.FRAMES:
            read = envelope.read_frames(data)
            if read is not None:
                self.collector_heard_ms = now_ms
                self._count_gap(read[0])
                for record in read[1]:
                    self._hear(record, now_ms)
                return
        elif kind == envelope.WELCOME:
            read = envelope.read_welcome(data)
            if read is not None:
                self.collector_heard_ms = now_ms
                self._welcome(*read)
                return
        elif kind == envelope.REFUSED:
            reason = envelope.read_refused(data)
            if reason is not None:
                self.counts["refused"] += 1
                self.refusal = envelope.REFUSED_TEXTS.get(reason, "refused for reason %d" % reason)
                return
        self.counts["bad_datagrams"] += 1

    def set(self, node, index, value, now_ms):
        """Start 'set `index` to `value`' at board `node`; return its Command.

        Raises ValueError, with a sentence for the user, if a number is out of range.
        """
        return self._start(node, index, value, set_command(index, value), now_ms)

    def add(self, node, index, delta, now_ms):
        """Start 'add `delta` to `index`', as `set`."""
        return self._start(node, index, delta, add_command(index, delta), now_ms)

    def cas(self, node, index, expected, value, now_ms):
        """Start 'set `index` to `value` if it is `expected`', as `set`."""
        return self._start(node, index, value, cas_command(index, expected, value), now_ms)

    def change(self, node, data, now_ms):
        """Start `data` (bytes), a command of the state machine, at board `node`, as `set`."""
        return self._start(node, 0, 0, data, now_ms)

    def retry(self, command, node, now_ms):
        """Ask board `node` for a `command` that ended UNSURE, once more under its number: if it was
        applied, it is not applied again. Raises ValueError if it is too late for that."""
        if command not in self._unsure or command.session != self._session:
            raise ValueError("too late to try again: read the value, then decide")
        _check_board(node)
        self._unsure.remove(command)
        command.node = node
        command.state = SENT
        command.boards += 1
        command.started_ms = now_ms
        self._pending[command.request] = command
        self._forward(command, now_ms)

    def order(self, node, order, target, now_ms):
        """Order leader `node` to do `order` (ORDER_TEXTS) to board `target`; return the Command.

        Raises ValueError if a number is out of range.
        """
        _check_board(target)
        return self._start(node, target, 0, b"", now_ms, order)

    def transfer(self, node, target, now_ms):
        """Order leader `node` to hand over to voter `target`, as `order`."""
        return self.order(node, ORDER_TRANSFER, target, now_ms)

    def read(self, node, now_ms, level=LINEARIZABLE, part=DATABASE):
        """Start a read of `level` (STALE, LINEARIZABLE or LEASE) through board `node`, of the
        database or of the members; return its Reading. ValueError for a wrong id."""
        _check_board(node)
        self._request += 1
        reading = Reading(self._request, node, now_ms, level, part)
        self._readings[reading.request] = reading
        self._ask(reading, now_ms)
        return reading

    def _ask(self, reading, now_ms):
        message = Message()
        message.type = POLL
        message.dst = reading.node
        message.request = reading.request
        # The rest of what was read need not be confirmed again, only be of the same moment.
        message.level = STALE if reading.image else reading.level
        message.part = reading.part
        message.offset = len(reading.image)
        self._send(message, now_ms)
        reading.due_ms = now_ms + RESEND_MS

    def _end_reading(self, reading, state, now_ms):
        reading.state = state
        reading.elapsed_ms = now_ms - reading.started_ms
        del self._readings[reading.request]

    def _read_piece(self, reading, message, now_ms):
        of = (message.applied_index, message.digest, message.total)
        if message.src != reading.node or message.offset != len(reading.image):
            return
        if reading.image and of != reading.image_of:
            reading.image.clear()  # it has changed meanwhile: begin again
        else:
            reading.image_of = of
            reading.image += message.data
        if len(reading.image) < message.total:
            self._ask(reading, now_ms)
            return
        if reading.part == MEMBERS:
            try:
                reading.values = decode(bytes(reading.image)).members
            except ValueError:
                reading.image.clear()
                return
            self._answered(reading, message, now_ms)
            return
        machine = self._machine()
        try:
            machine.restore(bytes(reading.image))
        except ValueError:
            machine = None
        if machine is None or machine.digest() != message.digest:
            reading.image.clear()
            return
        reading.values = contents(machine)
        self._answered(reading, message, now_ms)

    def _answered(self, reading, message, now_ms):
        reading.applied_index = message.applied_index
        reading.boot = (message.incarnation, message.epoch)
        self._end_reading(reading, DONE, now_ms)

    def _start(self, node, cell, value, data, now_ms, order=0):
        _check_board(node)
        self._request += 1
        command = Command(self._request, node, cell, value, data, now_ms, order=order, boards=1)
        self._pending[command.request] = command
        self._forward(command, now_ms)
        return command

    def poll(self, node, now_ms):
        """Ask board `node` for its STATUS, from the first byte of its database still missing."""
        seen = self.boards.setdefault(node, _Seen())
        self._poll_request += 1
        message = Message()
        message.type = POLL
        message.dst = node
        message.request = self._poll_request
        message.offset = len(seen.piece)
        length = self._send(message, now_ms)
        cost_us = airtime_us(length) + airtime_us(seen.status_length)
        seen.polled_ms = now_ms
        seen.request = self._poll_request
        self._poll = (self._poll_request, node, now_ms)
        self._next_poll_ms = now_ms + cost_us / 1000 / POLL_AIRTIME_SHARE

    def poll_if_due(self, now_ms):
        """Poll the board that needs it most, if the airtime share allows one more."""
        if self._poll is not None and now_ms - self._poll[2] < POLL_TIMEOUT_MS:
            return
        self._poll = None
        silent = self.collector_heard_ms is None
        if silent or now_ms - self.collector_heard_ms > COLLECTOR_SILENT_MS:
            return
        if now_ms < self._next_poll_ms:
            return
        known = {seen.status for seen in self.boards.values()}
        waiting = []
        for node, seen in self.boards.items():
            wish = seen.wants(now_ms, known)
            if wish is not None:
                waiting.append((wish, seen.polled_ms, node))
        if waiting:
            self.poll(min(waiting)[2], now_ms)

    def _draw_id(self, taken):
        free = [i for i in range(FIRST_PC, LAST_PC + 1) if i not in taken]
        return free[int.from_bytes(self._random_bytes(2), "little") % len(free)]

    def _draw_number(self):
        return int.from_bytes(self._random_bytes(4), "little") % FIRST_REQUEST_MAX

    def _send(self, message, now_ms):
        """Put a frame into a SEND datagram; return the frame's length."""
        length = self.codec.encode(message, self._buf)
        frame = bytes(self._buf[:length])
        self._outgoing.append(envelope.send(frame))
        self._heard.append(Heard(now_ms, frame, message, ours=True))
        return length

    def _forward(self, command, now_ms):
        message = Message()
        message.dst = command.node
        message.request = command.request
        if command.order:
            message.type = ORDER
            message.order = command.order
            message.member = command.cell & 0xFF
        elif self._has_place(command):
            message.type = FORWARD
            message.kind = SESSION_COMMAND
            command.copies += 1
            waiting = command.sequence - self._oldest(command)
            message.data = head(command.session, command.sequence, waiting) + command.data
        else:
            if not self._session and now_ms >= self._open_due_ms:
                self._open(command.node, now_ms)
            command.due_ms = now_ms + RESEND_MS
            return
        self._send(message, now_ms)
        command.due_ms = now_ms + (RESEND_ACCEPTED_MS if command.state == IN_LOG else RESEND_MS)

    def _open(self, node, now_ms):
        self._open_due_ms = now_ms + RESEND_MS
        if not self._open_request:
            # Another name than before: a board that lags would name the session that was closed.
            self._openings += 1
            self._request += 1
            self._open_request = self._request
        message = Message()
        message.type = FORWARD
        message.dst = node
        message.request = self._open_request
        message.kind = OPEN_SESSION
        message.data = client_name(self.id, self.codec.incarnation, self._openings)
        self._send(message, now_ms)

    def _opened(self, session, now_ms):
        self._session = session
        self._sequence_in_session = 0
        self._open_request = 0
        self._open_due_ms = now_ms
        self._unsure.clear()
        for command in list(self._pending.values()):
            if not command.order and command.session != session:
                self._forward(command, now_ms)

    def _has_place(self, command):
        """True if `command` has its number in the session, or gets one now."""
        if command.session or not self._session:
            return bool(command.session)
        if self._sequence_in_session + 1 - self._oldest(command) >= WINDOW:
            return False
        self._sequence_in_session += 1
        command.session = self._session
        command.sequence = self._sequence_in_session
        return True

    def _oldest(self, command):
        """The lowest number of the session whose outcome is still wanted, beside `command`'s."""
        oldest = command.sequence or self._sequence_in_session + 1
        for other in self._pending.values():
            if other.session == self._session and other.session:
                oldest = min(oldest, other.sequence)
        for other in self._unsure:
            if self._sequence_in_session - other.sequence < WINDOW - 2:
                oldest = min(oldest, other.sequence)
        return oldest

    def _give_up(self, command, now_ms):
        seconds = COMMAND_TIMEOUT_MS // 1000
        if command.node not in self._proved if command.order else not command.session:
            # It never left: boards take no order of a PC that did not prove itself, and no command
            # without a session. So this answer is certain.
            text = "rejected: no answer from board %d within %d s, nothing was changed"
            command.reason = text % (command.node, seconds)
            self._finish(command, REFUSED, now_ms)
            return
        if command.log_index:
            command.reason = (
                "unknown: in the leader's log at index %d, but not committed within %d s;"
                " it may still be" % (command.log_index, seconds)
            )
        else:
            command.reason = (
                "unknown: no answer from board %d within %d s; the change may still be committed"
                % (command.node, seconds)
            )
        self._finish(command, UNSURE, now_ms)

    def _finish(self, command, state, now_ms):
        command.state = state
        command.elapsed_ms = now_ms - command.started_ms
        del self._pending[command.request]
        self._finished.append(command)
        if state == UNSURE and not command.order:
            self._unsure.append(command)
            del self._unsure[: -WINDOW // 2]

    def _count_gap(self, sequence):
        last = self._sequence
        if last is not None and sequence != 1:
            gap = sequence - last - 1
            if gap >= 0:
                self.counts["lost_datagrams"] += gap
            elif gap >= -LATE_DATAGRAMS:
                self.counts["lost_datagrams"] = max(0, self.counts["lost_datagrams"] - 1)
                return
        self._sequence = sequence

    def _welcome(self, ticks_ms, channel, counts):
        if self._collector_ticks is not None and ticks_ms < self._collector_ticks:
            self._sequence = None  # it rebooted and counts anew: that is no loss
        self._collector_ticks = ticks_ms
        self.channel = channel
        self.collector_counts = counts

    def _hear(self, record, now_ms):
        ticks_ms, rssi, mac, frame = record
        self.counts["frames"] += 1
        message = Message()
        reason = self.codec.decode(frame, len(frame), message)
        heard = Heard(now_ms, frame, None if reason else message, reason, ticks_ms, rssi, mac)
        self._heard.append(heard)
        if reason is not None:
            if reason in ("tag", "key"):
                self.wrong_key_ms = now_ms
            return
        if message.src == self.id and message.incarnation != self.codec.incarnation:
            self._change_id(now_ms)
        if not 1 <= message.src < FIRST_PC:
            return
        self.authentic_ms = now_ms
        seen = self._seen(message)
        seen.heard_ms = now_ms
        if message.type == APPEND:
            seen.told = (message.commit_index, None)
            if self.leader is None or message.term >= self.leader[0]:
                self.leader = (message.term, message.src)
        elif message.type == ACK:
            seen.told = (message.applied_index, message.digest)
        elif message.type == STATUS:
            self._status(message, seen, heard)
        elif message.dst == self.id:
            if message.type == CHALLENGE:
                self._answer(message, now_ms)
            elif message.type == OUTCOME:
                self._outcome(message, now_ms)

    def _seen(self, message):
        """What is known of the sender in its present boot: a reboot forgets the database."""
        boot = (message.incarnation, message.epoch)
        seen = self.boards.setdefault(message.src, _Seen(boot))
        if seen.boot is None:
            seen.boot = boot
        elif boot > seen.boot:
            seen = self.boards[message.src] = _Seen(boot)
        return seen

    def _change_id(self, now_ms):
        """Somebody else has our id: leave it. Commands go on in their session; of an order under
        way nobody will tell us any more."""
        self.counts["id_changes"] += 1
        self.codec.src = self._draw_id((self.id,))
        self._poll = None
        self._open_request = 0
        self._proved.clear()
        for command in list(self._pending.values()):
            if command.order:
                command.reason = "unknown: another PC had our id, the answer may be meant for it"
                self._finish(command, UNSURE, now_ms)

    def _answer(self, message, now_ms):
        proof = Message()
        proof.type = PROOF
        proof.dst = message.src
        proof.data = message.data
        self._send(proof, now_ms)
        again = message.src in self._proved
        self._proved.add(message.src)
        self._open_due_ms = now_ms
        for command in self._pending.values():
            if command.node == message.src:
                if again:
                    # It has started anew: what it did before with the command, it has forgotten.
                    command.boards += 1
                if command.state == SENT:
                    command.state = CHALLENGED
                self._forward(command, now_ms)

    def _outcome(self, message, now_ms):
        to = (message.dst_incarnation, message.heard_epoch)
        if to != (self.codec.incarnation, self.codec.epoch):
            return
        reading = self._readings.get(message.request)
        if reading is not None and reading.node == message.src:
            reading.reason = OUTCOME_TEXTS.get(message.code, "code %d" % message.code)
            self._end_reading(reading, REFUSED, now_ms)
            return
        if message.request == self._open_request:
            if message.code == COMMITTED:
                self._opened(message.index, now_ms)
            return
        command = self._pending.get(message.request)
        if command is None or command.node != message.src:
            return
        command.code = message.code
        if message.index:
            command.log_index = message.index
            command.log_term = message.entry_term
        if message.code == ACCEPTED and command.order:
            self._finish(command, DONE, now_ms)
        elif message.code == ACCEPTED:
            command.state = IN_LOG
            command.due_ms = now_ms + RESEND_ACCEPTED_MS
        elif message.code == COMMITTED:
            self._finish(command, DONE, now_ms)
        elif message.code == NO_SESSION and command.boards == command.copies == 1:
            # It made room for others, and the command was not applied: again in a new one.
            if command.session == self._session:
                self._session = 0
            command.session = command.sequence = command.copies = 0
            self._forward(command, now_ms)
        elif message.code in (UNKNOWN, NO_SESSION) or command.boards > 1 and not message.index:
            # A no of the second board says nothing of what the first one did.
            command.reason = OUTCOME_TEXTS[UNKNOWN]
            self._finish(command, UNSURE, now_ms)
        else:
            command.reason = OUTCOME_TEXTS.get(message.code, "rejected: code %d" % message.code)
            self._finish(command, REFUSED, now_ms)

    def _status(self, message, seen, heard):
        reading = self._readings.get(message.request)
        if reading is not None and message.dst == self.id:
            self._read_piece(reading, message, heard.at_ms)
            return
        if message.dst != self.id or message.request != seen.request:
            return  # another PC's, or a recorded one: only an answer to our last poll is fresh
        if self._poll and self._poll[:2] == (message.request, message.src):
            self._poll = None
        seen.status = (message.applied_index, message.digest)
        # What an older ack said is answered by this; a newer one will say it again.
        seen.told = seen.status
        seen.status_length = len(heard.frame)
        of = (message.applied_index, message.digest, message.total)
        if message.offset == 0 or seen.piece_of != of:
            seen.piece.clear()
            seen.piece_of = of
        if message.offset == len(seen.piece):
            seen.piece += message.data
        if len(seen.piece) < message.total:
            return
        machine = self._machine()
        try:
            machine.restore(bytes(seen.piece))
            whole = machine.digest() == message.digest
        except ValueError:
            whole = False
        if whole:
            heard.database = contents(machine)
            seen.database = (message.applied_index, heard.database)
        elif message.total:
            self.counts["torn_databases"] += 1
        seen.piece.clear()
        seen.piece_of = None
