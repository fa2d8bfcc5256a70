"""The UDP protocol between the collector and a PC, version 1.

Every datagram begins with `RN`, a version and a kind. All numbers are little-endian.

| kind | way | after the 4 bytes |
|---|---|---|
| SUBSCRIBE | PC -> collector | nothing; renewed every second, forgotten after 5 s |
| WELCOME | collector -> PC | answer: ticks u32 ms, channel u8, then COUNTERS as u32 |
| FRAMES | collector -> PC | datagram sequence u32, then records |
| SEND | PC -> collector | one frame, 28..250 bytes, to put on the air |
| REFUSED | collector -> PC | reason u8: why a SEND did not go on the air |

A record is ticks u32 ms, RSSI i8 dBm, MAC 6 bytes, length u8, frame. A gap in the datagram sequence
is loss between collector and PC; what the collector itself lost on the radio stands in COUNTERS.
The collector holds no cluster key and decodes nothing: PC and boards authenticate end to end.
"""

from struct import pack_into, unpack_from

from raft.message import const
from raft.wire import FRAME_MAX, HEADER_SIZE, TAG_SIZE

MAGIC = b"RN"
VERSION = const(1)
PORT = const(5310)
DATAGRAM_MAX = const(1400)  # below every usual MTU
SUBSCRIPTION_MS = const(5000)

SUBSCRIBE = const(1)
WELCOME = const(2)
FRAMES = const(3)
SEND = const(4)
REFUSED = const(5)

HEAD_SIZE = const(4)
FRAMES_HEAD_SIZE = const(8)
RECORD_HEAD_SIZE = const(12)

# Counted by the collector since its boot, in this order.
COUNTERS = (
    "heard",  # frames received from the radio
    "ring_drops",  # frames that found the radio's receive ring full
    "resets",  # times the receive ring was poisoned and the radio restarted
    "udp_drops",  # datagrams that the network would not take
    "sent",  # frames put on the air for the PC
    "refused",  # frames of the PC that were not
    "bad_datagrams",  # datagrams that were none of ours
)

NOT_SUBSCRIBED = const(1)
TOO_FAST = const(2)
BAD_LENGTH = const(3)
RADIO_FAILED = const(4)
REFUSED_TEXTS = {
    NOT_SUBSCRIBED: "this PC is not subscribed: subscribe first",
    TOO_FAST: "more than the collector puts on the air: slow down",
    BAD_LENGTH: "a frame has 28 to 250 bytes",
    RADIO_FAILED: "the collector's radio did not take the frame",
}


def head(buf, kind):
    """Write the four bytes that begin a datagram of `kind`; return their number."""
    buf[0:2] = MAGIC
    buf[2] = VERSION
    buf[3] = kind
    return HEAD_SIZE


def kind_of(datagram):
    """Kind of a datagram, or None if it is none of ours or of another version."""
    if len(datagram) < HEAD_SIZE or bytes(datagram[0:2]) != MAGIC or datagram[2] != VERSION:
        return None
    return datagram[3]


def subscribe():
    """A SUBSCRIBE datagram."""
    buf = bytearray(HEAD_SIZE)
    head(buf, SUBSCRIBE)
    return bytes(buf)


def send(frame):
    """A SEND datagram that carries `frame`."""
    buf = bytearray(HEAD_SIZE)
    head(buf, SEND)
    return bytes(buf) + bytes(frame)


def refused(reason):
    """A REFUSED datagram."""
    buf = bytearray(HEAD_SIZE + 1)
    head(buf, REFUSED)
    buf[HEAD_SIZE] = reason
    return bytes(buf)


def frame_length_ok(length):
    """True for the lengths that a frame of ours can have."""
    return HEADER_SIZE + TAG_SIZE <= length <= FRAME_MAX


def welcome(ticks_ms, channel, counts):
    """A WELCOME datagram; `counts` is a dict with the keys COUNTERS."""
    buf = bytearray(HEAD_SIZE + 5 + 4 * len(COUNTERS))
    at = head(buf, WELCOME)
    pack_into("<IB", buf, at, ticks_ms, channel)
    at += 5
    for name in COUNTERS:
        pack_into("<I", buf, at, counts[name] & 0x3FFFFFFF)
        at += 4
    return bytes(buf)


def read_welcome(datagram):
    """(ticks_ms, channel, dict of COUNTERS), or None if the datagram is too short."""
    if len(datagram) < HEAD_SIZE + 5 + 4 * len(COUNTERS):
        return None
    ticks_ms, channel = unpack_from("<IB", datagram, HEAD_SIZE)
    numbers = unpack_from("<%dI" % len(COUNTERS), datagram, HEAD_SIZE + 5)
    return ticks_ms, channel, {n: numbers[i] for i, n in enumerate(COUNTERS)}


def read_refused(datagram):
    """Reason of a REFUSED datagram, or None if it is too short."""
    return datagram[HEAD_SIZE] if len(datagram) > HEAD_SIZE else None


class Batch:
    """Frames on their way to the PC, gathered into one datagram.

    `add` returns False when the frame does not fit any more: `take` the datagram, then add again.
    """

    def __init__(self):
        self._buf = bytearray(DATAGRAM_MAX)
        self._view = memoryview(self._buf)
        self._sequence = 0
        self._end = FRAMES_HEAD_SIZE
        head(self._buf, FRAMES)

    def __len__(self):
        return self._end - FRAMES_HEAD_SIZE

    def add(self, ticks_ms, rssi, mac, frame, length):
        at = self._end
        if at + RECORD_HEAD_SIZE + length > DATAGRAM_MAX:
            return False
        pack_into("<Ib", self._buf, at, ticks_ms, rssi)
        self._buf[at + 5 : at + 11] = mac
        self._buf[at + 11] = length
        at += RECORD_HEAD_SIZE
        self._view[at : at + length] = frame[:length]
        self._end = at + length
        return True

    def take(self):
        """The datagram as a memoryview, valid until the next `add`."""
        self._sequence = self._sequence + 1 & 0x3FFFFFFF
        pack_into("<I", self._buf, HEAD_SIZE, self._sequence)
        end, self._end = self._end, FRAMES_HEAD_SIZE
        return self._view[:end]


def read_frames(datagram):
    """(sequence, [(ticks_ms, rssi, mac, frame)]), or None if the datagram is damaged."""
    size = len(datagram)
    if size < FRAMES_HEAD_SIZE:
        return None
    sequence = unpack_from("<I", datagram, HEAD_SIZE)[0]
    records = []
    at = FRAMES_HEAD_SIZE
    while at < size:
        if at + RECORD_HEAD_SIZE > size:
            return None
        ticks_ms, rssi = unpack_from("<Ib", datagram, at)
        length = datagram[at + 11]
        end = at + RECORD_HEAD_SIZE + length
        if end > size:
            return None
        mac = bytes(datagram[at + 5 : at + 11])
        records.append((ticks_ms, rssi, mac, bytes(datagram[at + RECORD_HEAD_SIZE : end])))
        at = end
    return sequence, records
