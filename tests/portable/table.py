"""A table with a few cores on it, no radio, no flash, no time of its own: tests move the messages.

Runs on CPython and on MicroPython.
"""

from raft import overhearing
from raft.auth import KeyRing
from raft.core import Raft
from raft.intlist import IntList
from raft.membership import Configuration
from raft.message import (
    APPEND,
    BATCH,
    EVERYONE,
    FORWARD,
    LEADER,
    OUTCOME,
    READ,
    READ_INDEX,
    VOTER,
    Message,
    identity,
)
from raft.proposals import Proposals
from raft.reads import Reads
from raft.settings import Settings
from raft.wire import FRAME_MAX, Codec

KEY = b"0123456789abcdef"
LONG_MS = 1000  # longer than any timeout or promise


def raises(error, function, *arguments):
    """The exception of class `error` that the call raises; AssertionError if it raises none."""
    try:
        function(*arguments)
    except error as caught:
        return caught
    raise AssertionError("no %s was raised" % error.__name__)


def name(me):
    """The identity of board `me`, in its first life."""
    return identity(me, 1)


def voters_of(ids):
    return Configuration([(me, 1, VOTER, me) for me in ids])


class Member:
    """One core, and what is durable of it."""

    def __init__(self, me, voters, durable=None, settings=None):
        self.durable = durable or {"term": 0, "vote": 0, "entries": [], "snapshot": None}
        self.raft = Raft(
            me, 1, voters_of(voters), IntList(), settings or Settings(), lambda n: (37 * me) % n
        )
        kept = self.durable
        self.raft.restore(kept["term"], kept["vote"], kept["entries"], kept["snapshot"])
        self.proposals = Proposals(self.raft)
        self.reads = Reads(self.raft)
        self.raft.epoch = 1
        self.codec = Codec(1, KeyRing(KEY), me, 1, 1)
        self.applied = []

    def save(self):
        raft = self.raft
        taken = raft.snapshot if raft.snapshot.index else None
        first = raft.snapshot.index + 1
        entries = [raft.log.entry(i) for i in range(first, raft.log.last_index + 1)]
        self.durable = {
            "term": raft.term,
            "vote": raft.vote,
            "entries": entries,
            "snapshot": taken,
        }
        raft.persisted()


class Table:
    """Cores 1..n, that speak the Raft of the paper or, with `overhears`, ours. `frames` holds (src,
    dst, bytes) on their way, oldest first."""

    def __init__(self, n=3, settings=None, overhears=False):
        self.settings = settings or Settings()
        self.settings.overhears = overhears
        self.voters = list(range(1, n + 1))
        self.now_ms = 0
        self.members = {}
        self.frames = []
        self.cut = set()  # (src, dst) pairs over which nothing passes
        for me in self.voters:
            self._seat(me, None)

    def _seat(self, me, durable):
        self.members[me] = Member(me, self.voters, durable, self.settings)
        self.members[me].raft.start(self.now_ms)

    def __getitem__(self, me):
        return self.members[me].raft

    def crash(self, me):
        """Power cut and restart: only what is durable comes back."""
        self._seat(me, self.members[me].durable)

    def crash_all(self):
        for me in self.voters:
            self.crash(me)

    def flush(self, me):
        """The driver's duties for one member, in their order."""
        member = self.members[me]
        member.proposals.tick()
        member.reads.tick()
        member.raft.outbox.drain_early(lambda m: self._put(me, m))
        if member.raft.unsaved or member.raft.snapshot_unsaved:
            member.save()
        member.raft.outbox.drain_late(lambda m: self._put(me, m), not member.raft.unsaved)

        def applied(index, entry, result):
            member.applied.append((index, entry[0]))
            member.proposals.on_applied(index, entry, result)

        member.raft.apply_committed(applied)
        member.reads.tick()
        member.raft.outbox.drain_late(lambda m: self._put(me, m), not member.raft.unsaved)

    def _put(self, src, message):
        buf = bytearray(FRAME_MAX)
        if message.type == APPEND:
            self[src].append_left(self.members[src].codec.seq + 1)
        frame = bytes(buf[: self.members[src].codec.encode(message, buf)])
        for dst in self.voters:
            if dst == src or (src, dst) in self.cut:
                continue
            overhears = self.settings.overhears and message.type in overhearing.HANDLERS
            if message.dst in (dst, EVERYONE) or overhears:
                self.frames.append((src, dst, frame))

    def hand(self, dst, frame):
        """Give one frame to `dst`, and do its duties."""
        message = Message()
        assert self.members[dst].codec.decode(frame, len(frame), message) is None
        self[dst].receive(message, self.now_ms)
        if message.type == FORWARD:
            self.members[dst].proposals.on_forward(message)
        elif message.type == BATCH:
            self.members[dst].proposals.on_batch(message)
        elif message.type == OUTCOME:
            self.members[dst].proposals.on_outcome(message, 1)
        elif message.type == READ:
            self.members[dst].reads.on_read(message)
        elif message.type == READ_INDEX:
            self.members[dst].reads.on_read_index(message, 1)
        self.flush(dst)

    def settle(self):
        """Deliver until nothing is on its way."""
        for _ in range(1000):
            if not self.frames:
                return
            _, dst, frame = self.frames.pop(0)
            self.hand(dst, frame)
        raise AssertionError("the members never stop talking")

    def tick(self, ms, only=None):
        """Let `ms` pass for all, or for `only` these; what they say is not delivered yet."""
        self.now_ms += ms
        for me in self.voters:
            if only is None or me in only:
                self[me].tick(self.now_ms)
                self.flush(me)

    def elect(self, me):
        """Make `me` the leader of a new term: by now nobody hears the old one any more."""
        self.now_ms += LONG_MS
        self[me].election_at_ms = self.now_ms
        self.tick(0, [me])
        self.settle()
        self.tick(0, [me])  # a lone voter leads in the step behind the write of its vote
        assert self[me].role == LEADER, "no majority for %d" % me
        self.spread(me)

    def write(self, me, command):
        """Propose at leader `me`, and let it commit."""
        index = self[me].propose(command)
        self.flush(me)
        self.spread(me)
        return index

    def spread(self, me):
        """Let leader `me` send its news, hear of it, and send that the news is committed."""
        for _ in range(3):
            self[me].heartbeat_at_ms = self.now_ms
            self.tick(0, [me])
            self.settle()

    def entries(self, me):
        log = self[me].log
        return [log.entry(i) for i in range(log.base_index + 1, log.last_index + 1)]
