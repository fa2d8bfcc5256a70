"""Message <-> one ESP-NOW frame of at most 250 bytes.

    0        1      2         4     5     6             8       12     16     20      n-8     n
    | ver|key | type | cluster | src | dst | incarnation | epoch | seq  | term | body  | tag   |

Little-endian. `FIELDS` is the one description of the bodies: encoder, decoder, the tables in
docs/protocol.md and the viewer's field lists all come from it.

MicroPython's struct truncates what does not fit (300 into a byte gives 44) where CPython raises, so
every number passes `_put` and its range check. The decoder never raises: it returns the reason for
which a frame is dropped, and counts it.
"""

from struct import pack_into

from raft import entries
from raft.message import (
    ACK,
    APPEND,
    BATCH,
    CHALLENGE,
    COUNTER_LIMIT,
    FORWARD,
    HELLO,
    LEND,
    ORDER,
    OUTCOME,
    POLL,
    PROOF,
    READ,
    READ_INDEX,
    SNAPSHOT,
    SNAPSHOT_ACK,
    STATUS,
    TIMEOUT_NOW,
    TYPE_NAMES,
    VOTE,
    VOTE_REQUEST,
    WELCOME,
    const,
)

VERSION = const(1)
FRAME_MAX = const(250)  # ESP-NOW v1, so that old and new firmware mix
HEADER_SIZE = const(20)
TAG_SIZE = const(8)

# What follows the fixed fields of a body.
NOTHING = const(0)
ENTRIES = const(1)
BYTES = const(2)

# Field formats: B, H: unsigned 8 and 16 bits; b: signed 8 bits; I: 32 bits that hold at most 30,
# because more is a heap object on the chip.
FIELD_SIZES = {"B": 1, "b": 1, "H": 2, "I": 4}
_RANGES = {"B": (0, 0xFF), "b": (-128, 127), "H": (0, 0xFFFF), "I": (0, COUNTER_LIMIT - 1)}
_FORMATS = {"B": "<B", "b": "<b", "H": "<H", "I": "<I"}

HEADER_FIELDS = (
    ("version_key", "B", "version in the high 4 bits, key generation in the low 4"),
    ("type", "B", "type of frame"),
    ("cluster", "H", "hash of the cluster's name: a cheap filter before any crypto"),
    ("src", "B", "member id of the sender"),
    ("dst", "B", "member id of the addressee, 255 is everyone"),
    ("incarnation", "H", "of src: a board that lost its flash comes back with a new one"),
    ("epoch", "I", "durable boot counter of src"),
    ("seq", "I", "frame counter of src in this boot"),
    ("term", "I", "current term of src (0 from a PC)"),
)
_OF_MESSAGE = HEADER_FIELDS[3:]  # those that are a message's own

FIELDS = {
    APPEND: (
        ("prev_index", "I", "log index right before the entries"),
        ("prev_term", "I", "term of that entry"),
        ("commit_index", "I", "leader's commit index"),
        ("durable_index", "I", "up to here the leader's own flash holds its log"),
        ("promise_ms", "H", "lease promise asked for, ms (0: none)"),
        ("asked", "I", "bits: who is to answer, by place in the configuration"),
    ),
    ACK: (
        ("heard_epoch", "I", "epoch of the AppendEntries that is answered"),
        ("heard_seq", "I", "sequence of the AppendEntries that is answered"),
        ("flags", "B", "1: success, 2: the promise asked for is given"),
        ("index", "I", "success: durable match index; else: highest index that may match"),
        ("entry_term", "I", "else: term at that index"),
        ("overheard", "I", "bits: whose acks for that index or more src has heard"),
        ("applied_index", "I", "telemetry: last applied index"),
        ("digest", "I", "telemetry: state machine digest at the applied index"),
        ("heap", "H", "telemetry: free heap, units of 64 bytes"),
        ("rssi", "b", "telemetry: RSSI of the leader, dBm"),
    ),
    VOTE_REQUEST: (
        ("last_index", "I", "index of the candidate's last entry"),
        ("last_term", "I", "term of the candidate's last entry"),
        ("flags", "B", "2: pre-vote, 4: the leader hands over"),
    ),
    VOTE: (
        ("flags", "B", "1: granted, 2: pre-vote"),
        ("dst_incarnation", "H", "of the candidate: another board may have its id"),
    ),
    FORWARD: (
        ("request", "I", "number of the proposal, counted by src in this epoch"),
        ("kind", "B", "kind of entry that is asked for: 3 open session, 4 session command"),
    ),
    BATCH: (("request", "I", "number of the first proposal, the next ones have the next numbers"),),
    OUTCOME: (
        ("dst_incarnation", "H", "of the asker..."),
        ("heard_epoch", "I", "...and its epoch: a proposal is (incarnation, epoch, request)"),
        ("request", "I", "number of the proposal that is answered"),
        ("code", "B", "what became of it"),
        ("index", "I", "log index of the entry, 0 if it has none"),
        ("entry_term", "I", "term of the entry"),
        ("leader", "B", "leader as known by src"),
    ),
    POLL: (
        ("request", "I", "number that the answer repeats"),
        ("part", "B", "what is wanted: 0 the database, 1 the members"),
        ("level", "B", "0: as applied, 1: linearizable, no older than this poll, 2: by lease"),
        ("offset", "H", "first byte wanted of it"),
    ),
    STATUS: (
        ("request", "I", "number of the poll that is answered, 0: unasked"),
        ("role", "B", "0 follower, 1 candidate, 2 leader, 3 pre-candidate"),
        ("leader", "B", "leader as known by src, 0: none"),
        ("vote", "B", "vote in this term, 0: none"),
        ("last_index", "I", "last index in the log"),
        ("last_term", "I", "term of that entry"),
        ("durable_index", "I", "last index on flash"),
        ("commit_index", "I", "commit index"),
        ("applied_index", "I", "applied index, to which the database below belongs"),
        ("digest", "I", "state machine digest at the applied index"),
        ("uptime_s", "I", "seconds since boot"),
        ("heap", "H", "free heap, units of 64 bytes"),
        ("part", "B", "what follows: 0 the database, 1 the members"),
        ("total", "H", "bytes of the whole of it"),
        ("offset", "H", "position of the bytes that follow"),
    ),
    CHALLENGE: (),
    PROOF: (),
    TIMEOUT_NOW: (),
    ORDER: (
        ("request", "I", "number of the order, counted by src in this epoch"),
        ("order", "B", "1: hand leadership over, 2: remove, 3: make a voter, 4: a learner"),
        ("member", "B", "the board that it is about"),
    ),
    SNAPSHOT: (
        ("last_index", "I", "index of the last entry that the snapshot holds"),
        ("last_term", "I", "term of that entry"),
        ("digest", "I", "of the whole image"),
        ("total", "H", "bytes of the whole image"),
        ("offset", "H", "position of the bytes that follow"),
    ),
    READ: (
        ("request", "I", "number of the read, counted by src in this epoch"),
        ("level", "B", "1: linearizable, 2: by lease"),
    ),
    READ_INDEX: (
        ("dst_incarnation", "H", "of the asker: another board may have its id..."),
        ("heard_epoch", "I", "...and its epoch"),
        ("request", "I", "number of the read that is answered"),
        ("index", "I", "whoever has applied so far may answer it"),
    ),
    SNAPSHOT_ACK: (
        ("last_index", "I", "which snapshot"),
        ("offset", "H", "first byte wanted next; all of them: it is installed and durable"),
    ),
    HELLO: (
        ("state", "B", "of src: 0 virgin, 1 ready to be born, 2 born, 3 lost its identity"),
        ("flags", "B", "1: dst is to answer"),
        ("chip", "I", "30 bits of src's chip id"),
        ("versions", "B", "that src can read: highest in the high 4 bits, lowest in the low 4"),
    ),
    WELCOME: (
        ("dst_incarnation", "H", "that the addressee has from now on"),
        ("chip", "I", "chip that is meant, as its Hello said"),
    ),
    LEND: (
        ("prev_index", "I", "log index right before the entries"),
        ("prev_term", "I", "term of that entry"),
        ("last_index", "I", "last index in src's log"),
        ("last_term", "I", "term of that entry"),
    ),
}

TAILS = {
    APPEND: ENTRIES,
    ACK: NOTHING,
    VOTE_REQUEST: NOTHING,
    VOTE: NOTHING,
    FORWARD: BYTES,  # the entry's data
    BATCH: ENTRIES,
    OUTCOME: NOTHING,
    POLL: NOTHING,
    STATUS: BYTES,  # a piece of what was asked for
    CHALLENGE: BYTES,  # the nonce
    PROOF: BYTES,  # the nonce, back
    TIMEOUT_NOW: NOTHING,
    ORDER: NOTHING,
    SNAPSHOT: BYTES,  # a piece of the image
    SNAPSHOT_ACK: NOTHING,
    READ: NOTHING,
    READ_INDEX: NOTHING,
    HELLO: BYTES,  # own nonce, then (id, nonce) for each one heard: docs/protocol.md, birth
    WELCOME: BYTES,  # the nonce of the Hello that is answered
    LEND: ENTRIES,
}

BODY_SIZES = {t: sum(FIELD_SIZES[f[1]] for f in fields) for t, fields in FIELDS.items()}
FREE_IN_APPEND = FRAME_MAX - HEADER_SIZE - TAG_SIZE - BODY_SIZES[APPEND]
FREE_IN_BATCH = FRAME_MAX - HEADER_SIZE - TAG_SIZE - BODY_SIZES[BATCH]
FREE_IN_STATUS = FRAME_MAX - HEADER_SIZE - TAG_SIZE - BODY_SIZES[STATUS]
FREE_IN_SNAPSHOT = FRAME_MAX - HEADER_SIZE - TAG_SIZE - BODY_SIZES[SNAPSHOT]
# A command must fit into any frame that carries it, beside a session's identity (16 bytes).
COMMAND_MAX = FREE_IN_APPEND - 2 - 4 - 16

DROP_REASONS = ("short", "long", "version", "type", "cluster", "key", "tag", "field", "body")


class WireError(ValueError):
    """Our own side asked for a frame that cannot be: a value out of range, a body too long."""


def _put(buf, at, code, value, name):
    least, most = _RANGES[code]
    if not least <= value <= most:
        raise WireError("%s %d is not within %d..%d" % (name, value, least, most))
    pack_into(_FORMATS[code], buf, at, value)
    return at + FIELD_SIZES[code]


def _get_fields(fields, buf, at, message):
    """Read `fields` into `message`; return where they end, -1 if one is beyond 30 bits.

    By hand: `unpack_from` would make a tuple, and such a number a heap object. On MicroPython it
    was no faster, its garbage counted.
    """
    for name, code, _ in fields:
        if code == "I":
            if buf[at + 3] >= 0x40:
                return -1
            value = buf[at] | buf[at + 1] << 8 | buf[at + 2] << 16 | buf[at + 3] << 24
            at += 4
        elif code == "H":
            value = buf[at] | buf[at + 1] << 8
            at += 2
        else:
            value = buf[at]
            if code == "b" and value > 127:
                value -= 256
            at += 1
        setattr(message, name, value)
    return at


class Codec:
    """Encodes and decodes the frames of one cluster, as one station.

    `cluster` is the 16-bit hash of the cluster's name, `keys` an `auth.KeyRing`. `epoch` (durable
    boot counter) must be set before the first frame leaves; `seq` counts the frames sent in it.
    """

    def __init__(self, cluster, keys, src, incarnation, epoch=0):
        self.cluster = cluster
        self.keys = keys
        self.src = src
        self.incarnation = incarnation
        self.epoch = epoch
        self.seq = 0
        self.drops = {reason: 0 for reason in DROP_REASONS}

    def encode(self, message, buf):
        """Write `message` into `buf` (FRAME_MAX bytes) as our next frame; return its length.

        Stamps src, incarnation, epoch and seq into `message`. Raises WireError before anything
        is counted if a value is out of range or the frame would be too long.
        """
        kind = message.type
        message.src = self.src
        message.incarnation = self.incarnation
        message.epoch = self.epoch
        message.seq = self.seq + 1
        buf[0] = VERSION << 4 | self.keys.generation
        at = _put(buf, 1, "B", kind, "type")
        at = _put(buf, at, "H", self.cluster, "cluster")
        for name, code, _ in _OF_MESSAGE:
            at = _put(buf, at, code, getattr(message, name), name)
        for name, code, _ in FIELDS[kind]:
            at = _put(buf, at, code, getattr(message, name), name)
        tail = TAILS[kind]
        if tail == ENTRIES:
            at = entries.write(message.entries, message.term, buf, at, FRAME_MAX - TAG_SIZE)
            if at < 0:
                raise WireError("%d entries do not fit into a frame" % len(message.entries))
        elif tail == BYTES:
            at = _put_bytes(message.data, buf, at)
        self.keys.seal(buf, at)
        self.seq += 1
        return at + TAG_SIZE

    def decode(self, frame, length, message):
        """Read `length` bytes of `frame` into `message`.

        Returns None, or the reason (one of DROP_REASONS) for which the frame is dropped and
        counted; `message` is then not to be used. Never raises, whatever the bytes are.
        """
        reason = self._decode(frame, length, message)
        if reason is not None:
            self.drops[reason] += 1
        return reason

    def _decode(self, frame, length, message):
        if length < HEADER_SIZE + TAG_SIZE:
            return "short"
        if length > FRAME_MAX:
            return "long"
        if frame[0] >> 4 != VERSION:
            return "version"
        kind = frame[1]
        if kind not in TYPE_NAMES:
            return "type"
        if frame[2] | frame[3] << 8 != self.cluster:
            return "cluster"
        generation = frame[0] & 0x0F
        if not self.keys.has(generation):
            return "key"
        end = length - TAG_SIZE
        if end < HEADER_SIZE + BODY_SIZES[kind]:
            return "body"
        if not self.keys.verify(frame, end, generation):
            return "tag"
        message.type = kind
        at = _get_fields(_OF_MESSAGE, frame, 4, message)
        if at >= 0:
            at = _get_fields(FIELDS[kind], frame, at, message)
        if at < 0:
            return "field"
        tail = TAILS[kind]
        if tail == ENTRIES:
            return entries.read(frame, at, end, message.term, message.entries)
        if tail == BYTES:
            message.data = bytes(frame[at:end])
        elif at != end:
            return "body"
        return None


def _put_bytes(data, buf, at):
    end = at + len(data)
    if end > FRAME_MAX - TAG_SIZE:
        raise WireError("%d bytes do not fit into a frame" % len(data))
    buf[at:end] = data
    return end
