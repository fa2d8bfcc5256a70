"""Message types, the entries they carry, and the one reusable Message record.

Names and rules: Figure 2 of the extended Raft paper; what radio adds: docs/protocol.md.
"""

try:
    from micropython import const
except ImportError:  # CPython

    def const(value):
        return value


# A member id is one byte. 0 is nobody; PCs share the cluster's key but never vote.
NOBODY = const(0)
FIRST_PC = const(0xE0)
LAST_PC = const(0xFE)
EVERYONE = const(0xFF)

# Terms, log indexes and counters stay below this: small ints on the chip are 31 bits signed.
COUNTER_LIMIT = const(1 << 30)

# Types of frames. A number, once given, is never reused.
APPEND = const(1)
ACK = const(2)
VOTE_REQUEST = const(3)
VOTE = const(4)
FORWARD = const(5)
OUTCOME = const(6)
POLL = const(7)
STATUS = const(8)
CHALLENGE = const(9)
PROOF = const(10)
TIMEOUT_NOW = const(11)
ORDER = const(12)
SNAPSHOT = const(13)
SNAPSHOT_ACK = const(14)
READ = const(15)
READ_INDEX = const(16)
HELLO = const(17)
WELCOME = const(18)
LEND = const(19)
BATCH = const(20)

TYPE_NAMES = {
    APPEND: "AppendEntries",
    ACK: "Ack",
    VOTE_REQUEST: "RequestVote",
    VOTE: "Vote",
    FORWARD: "Forward",
    OUTCOME: "Outcome",
    POLL: "Poll",
    STATUS: "Status",
    CHALLENGE: "Challenge",
    PROOF: "Proof",
    TIMEOUT_NOW: "TimeoutNow",
    ORDER: "Order",
    SNAPSHOT: "InstallSnapshot",
    SNAPSHOT_ACK: "SnapshotAck",
    READ: "Read",
    READ_INDEX: "ReadIndex",
    HELLO: "Hello",
    WELCOME: "Welcome",
    LEND: "Lend",
    BATCH: "Batch",
}

# Kinds of log entries: the low four bits of an entry's first byte on the air.
NOOP = const(0)
COMMAND = const(1)
CONFIGURATION = const(2)  # raft.membership
OPEN_SESSION = const(3)  # raft.sessions
SESSION_COMMAND = const(4)
KIND_MAX = const(4)

# What a member is in a configuration.
REMOVED = const(0)
LEARNER = const(1)
VOTER = const(2)
MEMBER_NAMES = ("removed", "learner", "voter")

# What a board says of itself in a HELLO (raft.birth).
VIRGIN = const(0)
READY = const(1)
BORN = const(2)
LOST = const(3)
ASKS = const(1)  # flag of a HELLO: its addressee is to answer

# Roles, as STATUS reports them.
FOLLOWER = const(0)
CANDIDATE = const(1)
LEADER = const(2)
PRE_CANDIDATE = const(3)
ROLE_NAMES = ("follower", "candidate", "leader", "pre-candidate")

# Flags of an ACK; of a VOTE; of a VOTE_REQUEST and its VOTE; of a VOTE_REQUEST.
SUCCESS = const(1)
PROMISED = const(2)
GRANTED = const(1)
PRE = const(2)
TRANSFER = const(4)

# How fresh a read must be: as applied here; no older than the question, by a majority's acks; the
# same by the leader's lease, without a round trip.
STALE = const(0)
LINEARIZABLE = const(1)
LEASE = const(2)

# What a POLL asks for.
DATABASE = const(0)
MEMBERS = const(1)

# What an ORDER asks of the leader.
ORDER_TRANSFER = const(1)
ORDER_REMOVE = const(2)
ORDER_PROMOTE = const(3)
ORDER_DEMOTE = const(4)
ORDER_TEXTS = {
    ORDER_TRANSFER: "hand leadership over",
    ORDER_REMOVE: "remove the board",
    ORDER_PROMOTE: "make the board a voter",
    ORDER_DEMOTE: "make the board a learner",
}

# What becomes of a proposal. From REJECTED on it is a certain no; after UNKNOWN the command may or
# may not be applied.
ACCEPTED = const(1)
COMMITTED = const(2)
UNKNOWN = const(3)
REJECTED = const(16)
NO_LEADER = const(16)
BUSY = const(17)
BAD_COMMAND = const(19)
BAD_INDEX = const(20)
BAD_SIZE = const(21)
OVERFLOW = const(22)
MISMATCH = const(23)
NOT_A_NUMBER = const(24)
FULL = const(25)

NOT_A_VOTER = const(26)
BAD_ORDER = const(27)
NO_SESSION = const(28)
BAD_CHANGE = const(29)
NOT_NOW = const(30)

OUTCOME_TEXTS = {
    ACCEPTED: "taken, not committed yet",
    COMMITTED: "committed",
    UNKNOWN: "unknown: the board heard no answer in time, the change may still be committed",
    NO_LEADER: "rejected: no leader was found in time, nothing was changed",
    BUSY: "rejected: no room for one more just now, or leadership is being handed over: try again",
    NOT_A_VOTER: "rejected: that board is no voter that could take over",
    BAD_ORDER: "rejected: this firmware does not know the order",
    NO_SESSION: "rejected: the session is not open any more, the change was not applied",
    BAD_CHANGE: "rejected: the members would not be fit to serve with that change",
    NOT_NOW: "rejected: the members are being changed already, or the leader is new: try again",
    BAD_COMMAND: "rejected: the state machine does not know this command",
    BAD_INDEX: "rejected: the index is outside the list",
    BAD_SIZE: "rejected: a list only grows, to at most 1024 integers",
    OVERFLOW: "rejected: the sum does not fit into 32 bits",
    MISMATCH: "rejected: the present value is another one",
    NOT_A_NUMBER: "rejected: the present value is not a number",
    FULL: "rejected: there is no room for it, delete something first",
}


class Message:
    """One frame, decoded. Reused: valid until the next decode or the next step of its owner.

    `entries` holds (term, kind, data) tuples, `data` the free bytes at a frame's end. Which of the
    other attributes a type carries stands in `wire.FIELDS`; the rest are leftovers.
    """

    def __init__(self):
        self.type = 0
        self.src = NOBODY
        self.dst = NOBODY
        self.incarnation = 0
        self.epoch = 0
        self.seq = 0
        self.term = 0
        self.prev_index = 0
        self.prev_term = 0
        self.commit_index = 0
        self.durable_index = 0
        self.promise_ms = 0
        self.asked = 0
        self.heard_epoch = 0
        self.heard_seq = 0
        self.flags = 0
        self.index = 0
        self.entry_term = 0
        self.overheard = 0
        self.applied_index = 0
        self.digest = 0
        self.heap = 0
        self.rssi = 0
        self.last_index = 0
        self.last_term = 0
        self.request = 0
        self.order = 0
        self.level = STALE
        self.member = NOBODY
        self.part = DATABASE
        self.kind = NOOP
        self.code = 0
        self.leader = NOBODY
        self.role = FOLLOWER
        self.vote = NOBODY
        self.uptime_s = 0
        self.dst_incarnation = 0
        self.state = VIRGIN
        self.chip = 0
        self.versions = 0
        self.offset = 0
        self.total = 0
        self.entries = []
        self.data = b""

    @property
    def sender(self):
        """The identity of its sender: see `identity`."""
        return self.incarnation << 8 | self.src


def identity(member, incarnation):
    """Who a board is, as one number: a board that lost its flash is another one, with the same id.

    The low byte is the id; 0 is nobody.
    """
    return incarnation << 8 | member
