"""Linearizable reads (§8; thesis 6.4): what a board shows is no older than when it was asked.

    asked --> WAITING --> ASKED_LEADER --> CONFIRMED --> applied up to its index: answer
                 \\___ at the leader ____/

The leader notes an index, and confirms that it still leads by a majority's acks of an AppendEntries
that it sent after the read came in. The index is the highest that it has sent in its term, not its
commit index: a follower may have told a client already of an entry that this leader does not know
to be committed (docs/protocol.md, rule 6). A follower asks the leader for such an index, and waits
until it has applied so far. A read changes nothing, so all of it may be repeated freely.

With a lease the leader need not ask: a majority has promised to elect nobody for a while (rule 5).
"""

from raft import turns
from raft.message import (
    BUSY,
    COMMITTED,
    LEADER,
    LEASE,
    LINEARIZABLE,
    NO_LEADER,
    NOBODY,
    READ,
    READ_INDEX,
    const,
)

CAPACITY = const(8)
RESEND_MS = const(100)

_WAITING = const(0)
_ASKED_LEADER = const(1)
_CONFIRMING = const(2)
_CONFIRMED = const(3)


class _Read:
    def __init__(self, asker, level, done, deadline_ms):
        self.level = level
        self.asker = (
            asker  # (src, incarnation, epoch, request) of a board, or None if this board was asked
        )
        self.done = done
        self.key = None
        self.deadline_ms = deadline_ms
        self.state = _WAITING
        self.index = 0
        self.term = 0
        self.after_seq = 0
        self.leader = NOBODY
        self.request = 0
        self.resend_at_ms = 0


class Reads:
    """The reads that one board has under way, CAPACITY at most."""

    def __init__(self, raft):
        self.raft = raft
        self._reads = []
        self._request = 0

    def begin(self, done, level=LINEARIZABLE, key=None):
        """`done(code)` is called once: COMMITTED when the state machine may be read here, at once
        and only then; NO_LEADER if none confirmed it in `settings.proposal_ms`; BUSY.

        LINEARIZABLE and LEASE promise the same: nothing that was acknowledged to anybody before
        this call is missing. LEASE saves the leader's round trip, and relies on clocks that run
        apart by at most `settings.drift_percent`.

        `key` tells a repeated question, which is dropped while the first is under way.
        """
        if key is not None and any(read.key == key for read in self._reads):
            return
        if len(self._reads) >= CAPACITY:
            done(BUSY)
            return
        read = _Read(None, level, done, self.raft.now_ms + self.raft.settings.proposal_ms)
        read.key = key
        self._reads.append(read)
        self.tick()

    def on_read(self, message):
        """A board asks the leader. What cannot be taken is dropped: it asks again."""
        raft = self.raft
        if raft.role != LEADER or message.sender not in raft.followers:
            return
        asker = (message.src, message.incarnation, message.epoch, message.request)
        if len(self._reads) >= CAPACITY or any(read.asker == asker for read in self._reads):
            return
        deadline_ms = raft.now_ms + raft.settings.election_max_ms
        self._reads.append(_Read(asker, message.level, None, deadline_ms))
        self.tick()

    def on_read_index(self, message, epoch):
        """The leader's answer to what we asked in `epoch`, our present one."""
        for read in self._reads:
            if (
                read.state == _ASKED_LEADER
                and read.request == message.request
                and read.leader == message.src
                and message.heard_epoch == epoch
                and self.raft.is_me(message)
            ):
                read.index = message.index
                read.state = _CONFIRMED
        self.tick()

    def tick(self):
        """Do what is due at `raft.now_ms`; to be called after entries were applied, too."""
        if self._reads:
            self._reads = [read for read in self._reads if not self._go_on(read)]

    def _go_on(self, read):
        """True if it has come to an end."""
        raft = self.raft
        if read.state == _CONFIRMING and (raft.role != LEADER or raft.term != read.term):
            read.state = _WAITING  # what the acks confirmed is not its leadership any more
        if read.state == _WAITING:
            if raft.role == LEADER:
                self._note_index(read)
            elif read.asker is not None:
                return True
            elif raft.leader != NOBODY:
                self._ask_leader(read)
        elif read.state == _ASKED_LEADER and raft.now_ms >= read.resend_at_ms:
            if raft.leader != read.leader:
                read.state = _WAITING
            else:
                self._ask_leader(read)
        if read.state == _CONFIRMING and turns.is_confirmed(raft, read.after_seq):
            read.state = _CONFIRMED
        if read.state == _CONFIRMED and read.asker is not None:
            self._answer(read)
            return True
        if read.state == _CONFIRMED and raft.applied_index >= read.index:
            read.done(COMMITTED)
            return True
        if raft.now_ms >= read.deadline_ms:
            if read.done is not None:
                read.done(NO_LEADER)
            return True
        return False

    def _note_index(self, read):
        raft = self.raft
        read.state = _CONFIRMING
        read.term = raft.term
        # A new leader begins with the whole log that it was elected with: to apply all of that, it
        # must commit in its own term first (thesis 6.4, step 1).
        read.index = raft.sent_index
        read.after_seq = raft.append_seq
        if read.level == LEASE and raft.lease_holds():
            read.state = _CONFIRMED
            return
        turns.want_confirmation(raft)

    def _ask_leader(self, read):
        raft = self.raft
        if read.leader != raft.leader:
            # A repeat keeps its number: the answer may be on its way already.
            self._request += 1
            read.request = self._request
            read.leader = raft.leader
        read.state = _ASKED_LEADER
        read.resend_at_ms = raft.now_ms + RESEND_MS
        message = raft.outbox.late(READ, raft.leader, raft.term)
        message.request = read.request
        message.level = read.level

    def _answer(self, read):
        message = self.raft.outbox.late(READ_INDEX, read.asker[0], self.raft.term)
        message.dst_incarnation = read.asker[1]
        message.heard_epoch = read.asker[2]
        message.request = read.asker[3]
        message.index = read.index
