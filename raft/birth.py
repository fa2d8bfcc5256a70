"""Which board this is: how a cluster is born, and how a board without an identity gets one.

    VIRGIN --a majority of the first boards is virgin, too--> READY
      |                                                         |
      one of them is born                all are ready, or time is up
      v                                                         v
    LOST --the leader's WELCOME, with the next incarnation--> BORN

An identity is (id, incarnation), and stands for what its journal holds. Who has no journal, a
damaged one, or that of another chip (a cloned image), has forgotten votes and acks that the others
count on: it may not vote under that identity again (rule 7). Boards say in HELLO what they are.

A HELLO carries its sender's nonce of this boot, and repeats those of others: what repeats mine is
no recording. So a recorded HELLO can neither be taken for a virgin board nor make the leader admit
anybody, and a recorded WELCOME names no nonce of this boot.

    data of a HELLO   own nonce (8 bytes), then (id u8, nonce 8 bytes) for each one heard lately
"""

from raft.membership import NotNow, change
from raft.message import (
    ASKS,
    BORN,
    EVERYONE,
    HELLO,
    LEADER,
    LEARNER,
    LOST,
    NOBODY,
    READY,
    REMOVED,
    VIRGIN,
    WELCOME,
    const,
    identity,
)
from raft.wire import VERSION

NONCE_SIZE = const(8)
_ANSWER = const(9)
_HEARD_MAX = const(23)  # as many answers as fit into a HELLO
_FIRST_MS = const(100)
_LAST_MS = const(1600)
_TRIES_MAX = const(64)
_JITTER_MS = const(30)
_CHALLENGE_MS = const(1000)
_ABSENT = const(4)  # longest election timeouts in which a board that lives is heard
_READABLE = VERSION << 4 | VERSION


class Birth:
    """`state`: VIRGIN, LOST or BORN, as the driver found it; `chip`: 30 bits of the chip's id;
    `random_bytes(n)`: unpredictable bytes; `adopt(incarnation)`: makes that identity durable, lets
    `raft` have it, and starts it."""

    def __init__(self, raft, state, chip, random_bytes, adopt):
        self.raft = raft
        self.state = state
        self.chip = chip
        self._random_bytes = random_bytes
        self._nonce = random_bytes(NONCE_SIZE)
        self._nonce_term = 0  # in which we led when we took it...
        self._nonce_index = 0  # ...and where the configuration stood that counted then
        self._adopt = adopt
        self._heard = []  # [id, nonce], the lately heard last
        self._virgin = []  # ids of first boards that told us freshly that they are...
        self._ready = []  # ...and that they are ready
        self._gathered_at_ms = 0
        self._tries = 0
        self._hello_at_ms = 0
        self._reply_to = NOBODY
        self._challenge_at_ms = 0
        self._admitted = {}  # leader: id -> (incarnation, nonce of the boot that it is for)

    def takes_part(self):
        """True if the core may vote, ack and follow."""
        return self.state in (READY, BORN)

    def start(self, now_ms):
        """Begin, at `now_ms`."""
        self._hello_at_ms = now_ms
        self.raft.chips[self.raft.me] = self.chip
        self._look_around(now_ms)

    # What comes in.

    def on_hello(self, message, now_ms):
        data = message.data
        if len(data) < NONCE_SIZE or (len(data) - NONCE_SIZE) % _ANSWER:
            return
        self._renew_nonce()
        self._note(message.src, data[:NONCE_SIZE])
        fresh = False
        for at in range(NONCE_SIZE, len(data), _ANSWER):
            if data[at] == self.raft.me and data[at + 1 : at + _ANSWER] == self._nonce:
                fresh = True
        if self.state == BORN:
            if message.state != BORN:
                self._reply(EVERYONE, now_ms)
            elif message.flags & ASKS and message.dst == self.raft.me:
                self._reply(message.src, now_ms)
            if fresh and self.raft.role == LEADER:
                self._admit(message)
        elif fresh and self.state != LOST:
            self._gather(message, now_ms)

    def on_welcome(self, message):
        """The leader gives us an identity that nobody has had."""
        if message.chip != self.chip or message.data != self._nonce:
            return
        if self.state == LOST or message.dst_incarnation > self.raft.identity >> 8:
            self.state = BORN
            self._adopt(message.dst_incarnation)

    def on_namesake(self, message):
        """A HELLO under our own id: ours, played back, or that of a second board with this id.
        Which of the two is meant, a leader can say; before there is one, none may vote as it."""
        if message.chip != self.chip and self.state == VIRGIN:
            self.state = LOST

    def tick(self, now_ms):
        """Do what is due."""
        raft = self.raft
        self._renew_nonce()
        if raft.stranger != NOBODY and now_ms >= self._challenge_at_ms:
            # Who is no member and answers us: is it really there, and what is it?
            self._challenge_at_ms = now_ms + _CHALLENGE_MS
            self._send(raft.stranger, ASKS)
            raft.stranger = NOBODY
        if self.state == READY:
            self._look_around(now_ms)
        if now_ms < self._hello_at_ms:
            return
        if self.state != BORN:
            self._send(EVERYONE)
            wait_ms = min(_FIRST_MS << self._tries // 8, _LAST_MS)
            self._tries = min(self._tries + 1, _TRIES_MAX)
            self._hello_at_ms = now_ms + wait_ms + raft.random_below(_JITTER_MS)
        elif self._reply_to != NOBODY:
            self._send(self._reply_to)
            self._reply_to = NOBODY
            self._hello_at_ms = now_ms + _FIRST_MS // 2

    def deadline_ms(self):
        """When `tick` has something to do again, None if nothing is to come."""
        if self.state == BORN and self._reply_to == NOBODY:
            return None
        return self._hello_at_ms

    # Birth.

    def _gather(self, message, now_ms):
        """Another board says what it is."""
        if message.state == BORN:
            # The cluster has begun, perhaps with votes of ours that we have forgotten.
            if self.state == VIRGIN:
                self.state = LOST
            return
        if message.sender not in self.raft.configuration.voters:
            return
        self.raft.chips[message.src] = message.chip
        if message.state in (VIRGIN, READY) and message.src not in self._virgin:
            self._virgin.append(message.src)
        if message.state == READY and message.src not in self._ready:
            self._ready.append(message.src)
        self._look_around(now_ms)

    def _look_around(self, now_ms):
        raft = self.raft
        first = raft.configuration
        if self.state == VIRGIN and len(self._virgin) + 1 >= first.majority:
            self.state = READY
            self._hello_at_ms = now_ms
            self._gathered_at_ms = now_ms + raft.settings.gather_ms
            self._adopt(raft.identity >> 8)
            # It votes, but waits with standing for the others: who comes after the first election
            # is taken for one that has forgotten.
            raft.hold_back(self._gathered_at_ms)
        if self.state != READY:
            return
        if raft.term or raft.log.last_index or now_ms >= self._gathered_at_ms:
            self.state = BORN
        elif len(self._ready) + 1 == len(first.voters):
            self.state = BORN
            raft.hold_back(now_ms)
            self._reply_to = EVERYONE

    # The leader's side.

    def _renew_nonce(self):
        """What a board said before it got its identity, or before it was removed, must have no
        effect a second time; nor under the next leader, to whom it was as fresh."""
        raft = self.raft
        if raft.role != LEADER:
            return
        if self._nonce_term != raft.term or self._nonce_index != raft.configuration_index:
            self._nonce_term = raft.term
            self._nonce_index = raft.configuration_index
            self._nonce = self._random_bytes(NONCE_SIZE)

    def _admit(self, message):
        """A board that is really there says what it is: does it need an identity, or a seat?"""
        raft = self.raft
        member = message.src
        incarnation, role, chip = raft.configuration.find(member)
        try:
            if message.state == LOST or message.state == BORN and message.incarnation < incarnation:
                if member != raft.me:
                    self._give_identity(message, incarnation, chip)
            elif message.state == BORN and message.incarnation == incarnation and role == REMOVED:
                change(raft, member, incarnation, LEARNER, chip)
        except (NotNow, ValueError):
            pass  # it will say hello again

    def _give_identity(self, message, incarnation, chip):
        """Let in a board that has forgotten, or whose identity another one was given after: under
        the next incarnation, which is for this boot of it alone."""
        raft = self.raft
        member = message.src
        nonce = message.data[:NONCE_SIZE]
        if self._admitted.get(member) == (incarnation, nonce):
            self._welcome(message, incarnation)
            return
        present = raft.followers.get(identity(member, incarnation))
        if present is not None and message.chip != chip:
            # Another chip than the one that has this id: it keeps it while it lives. A chip that
            # nobody knows was not there at birth, or it would be known.
            patience_ms = (
                raft.settings.remove_ms if chip else _ABSENT * raft.settings.election_max_ms
            )
            if raft.now_ms - present.heard_ms < patience_ms:
                return
        change(raft, member, incarnation + 1, LEARNER, message.chip)
        self._admitted[member] = (incarnation + 1, nonce)

    def _welcome(self, message, incarnation):
        raft = self.raft
        if raft.commit_index < raft.configuration_index:
            return
        welcome = raft.outbox.late(WELCOME, message.src, raft.term)
        welcome.dst_incarnation = incarnation
        welcome.chip = message.chip
        welcome.data = message.data[:NONCE_SIZE]

    # HELLO.

    def _note(self, member, nonce):
        for heard in self._heard:
            if heard[0] == member:
                self._heard.remove(heard)
                break
        if len(self._heard) == _HEARD_MAX:
            self._heard.pop(0)
        self._heard.append([member, nonce])

    def _reply(self, dst, now_ms):
        if self._reply_to == NOBODY:
            self._reply_to = dst
            due_ms = now_ms + self.raft.random_below(_JITTER_MS)
            self._hello_at_ms = max(self._hello_at_ms, due_ms)
        elif self._reply_to != dst:
            self._reply_to = EVERYONE

    def _send(self, dst, flags=0):
        raft = self.raft
        hello = raft.outbox.late(HELLO, dst, raft.term)
        hello.flags = flags
        hello.state = self.state
        if self.state == BORN and raft.term == 0 and raft.log.last_index == 0:
            hello.state = READY
        hello.chip = self.chip
        hello.versions = _READABLE
        data = bytearray(self._nonce)
        for member, nonce in self._heard:
            data.append(member)
            data += nonce
        hello.data = bytes(data)
