"""Log entries in a frame.

    kind u8 | length u8 | [term u32] | [session u32, sequence u32] | the rest of the data

Kind has 0x80 set if the term follows: else it is that of the entry before, of the first one that of
the frame. It has 0x40 set if session and sequence do not follow: the same session as the entry
before, the next sequence. `length` is of what stands in the frame of the data.
"""

from struct import pack_into

from raft.membership import is_configuration
from raft.message import CONFIGURATION, COUNTER_LIMIT, KIND_MAX, NOOP, SESSION_COMMAND, const
from raft.sessions import HEAD_SIZE, KEY_SIZE, u32

_OTHER_TERM = const(0x80)
_NEXT = const(0x40)
_HEAD = const(2)


def first_of(term):
    """What stands "before" the first entry of a frame of `term`."""
    return (term, NOOP, b"")


def size_of(entry, before):
    """Bytes that `entry` takes in a frame, after the entry `before`."""
    size = _HEAD + len(entry[2])
    if entry[0] != before[0]:
        size += 4
    return size - KEY_SIZE if _is_next(entry, before) else size


def _is_next(entry, before):
    if entry[1] != SESSION_COMMAND or before[1] != SESSION_COMMAND:
        return False
    data, past = entry[2], before[2]
    return (
        len(data) >= HEAD_SIZE
        and len(past) >= HEAD_SIZE
        and data[:4] == past[:4]
        and u32(data, 4) == u32(past, 4) + 1
    )


def write(entries, term, buf, at, end):
    """Write them into `buf` from `at` on, in a frame of `term`; return where they end, -1 if that
    would be behind `end`."""
    if not entries:
        return at  # a heartbeat: it costs nothing
    before = first_of(term)
    for entry in entries:
        if at + size_of(entry, before) > end:
            return -1
        data = entry[2]
        head = entry[1]
        start = 0
        if entry[0] != before[0]:
            head |= _OTHER_TERM
        if _is_next(entry, before):
            head |= _NEXT
            start = KEY_SIZE
        buf[at] = head
        buf[at + 1] = len(data) - start
        at += _HEAD
        if head & _OTHER_TERM:
            pack_into("<I", buf, at, entry[0])
            at += 4
        buf[at : at + len(data) - start] = data[start:] if start else data
        at += len(data) - start
        before = entry
    return at


def read(frame, at, end, term, entries):
    """Put what stands in `frame` from `at` to `end` into the list `entries`; return None, or the
    reason for which it cannot be: "body", or "field" for a number beyond 30 bits."""
    entries.clear()
    if at == end:
        return None
    before = first_of(term)
    while at < end:
        if at + _HEAD > end:
            return "body"
        head = frame[at]
        size = frame[at + 1]
        at += _HEAD
        if head & _OTHER_TERM:
            if at + 4 > end:
                return "body"
            term = u32(frame, at) if frame[at + 3] < 0x40 else COUNTER_LIMIT
            if term == COUNTER_LIMIT:
                return "field"
            at += 4
        if at + size > end:
            return "body"
        kind = head & 0x0F
        data = bytes(memoryview(frame)[at : at + size])
        if head & _NEXT:
            past = before[2]
            if kind != SESSION_COMMAND or before[1] != kind or len(past) < HEAD_SIZE or not size:
                return "body"
            if past[7] >= 0x40 or u32(past, 4) + 1 == COUNTER_LIMIT:
                return "field"
            key = bytearray(past[:KEY_SIZE])
            pack_into("<I", key, 4, u32(past, 4) + 1)
            data = bytes(key) + data
        if kind > KIND_MAX or kind == CONFIGURATION and not is_configuration(data):
            return "body"
        before = (term, kind, data)
        entries.append(before)
        at += size
    return None
