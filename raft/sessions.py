"""Client sessions: a command is applied exactly once, however often it comes (thesis 6.3).

    open       client: src u8, incarnation u16, epoch u32
    command    session u32, sequence u32, waiting u8 | command of the state machine
    image      for each session, the longest open first: id u32, client, oldest u32, used u32,
               count u8, then for each outcome that is kept: place u8, outcome u8, index u32

A session is opened through the log, and its id is the index of the entry that opened it: no other
session ever has the same, so a command of a session that was forgotten can never be taken for one
of a newer session. A client numbers its commands from 1 on, and has at most WINDOW of them under
way: `waiting` says how far back the oldest is whose outcome it still wants. For these the table
keeps the outcome, to be told again instead of applying a repeat.

The table is a part of the replicated state, snapshots included: what it holds, and which session
makes room for a new one (the one that was used least lately), follows from the log alone.
"""

from struct import pack_into, unpack_from

from raft.message import (
    BAD_COMMAND,
    COMMAND,
    COMMITTED,
    COUNTER_LIMIT,
    NO_SESSION,
    OPEN_SESSION,
    SESSION_COMMAND,
    UNKNOWN,
    const,
)

SESSIONS_MAX = const(24)
WINDOW = const(16)
HEAD_SIZE = const(9)
KEY_SIZE = const(8)  # session and sequence: what is the same in every copy of a command
CLIENT_SIZE = const(7)
_RESULT = const(5)
_RECORD = const(20)  # without the outcomes


def client_name(src, incarnation, epoch):
    """The 7 bytes that name one boot of one client."""
    name = bytearray(CLIENT_SIZE)
    pack_into("<BHI", name, 0, src, incarnation, epoch)
    return bytes(name)


def head(session, sequence, waiting):
    """The 9 bytes before a session's command; `waiting` is 0..WINDOW - 1."""
    data = bytearray(HEAD_SIZE)
    pack_into("<IIB", data, 0, session, sequence, waiting)
    return bytes(data)


def u32(data, at):
    """The little-endian number at `at`: session at 0, sequence at 4 of a command. By hand, so that
    no tuple is made of it."""
    return data[at] | data[at + 1] << 8 | data[at + 2] << 16 | data[at + 3] << 24


class _Session:
    def __init__(self, number, client):
        self.id = number
        self.client = client
        self.oldest = 1  # below it, nobody waits for an outcome any more
        self.used = number  # index of its last entry
        self.results = bytearray(_RESULT * WINDOW)

    def outcome(self, sequence):
        """(outcome, index) of what was applied; (0, 0): nothing yet; (UNKNOWN, 0): forgotten."""
        if sequence < self.oldest:
            return UNKNOWN, 0
        at = sequence % WINDOW * _RESULT
        if sequence >= self.oldest + WINDOW or not self.results[at]:
            return 0, 0
        return unpack_from("<BI", self.results, at)

    def forget_below(self, oldest):
        while self.oldest < oldest:
            self.results[self.oldest % WINDOW * _RESULT] = 0
            self.oldest += 1
            if oldest - self.oldest > WINDOW:
                self.oldest = oldest - WINDOW


class Sessions:
    """The table, in front of a state machine `machine`: entries are applied through it."""

    def __init__(self, machine):
        self.machine = machine
        self._open = []  # the longest open first

    def apply(self, index, kind, data):
        """Apply the entry at `index`; return its outcome, None if it is no client's.

        A repeat returns what its first copy returned. NO_SESSION: never applied.
        """
        if kind == COMMAND:
            return self.machine.apply(data)
        if kind == OPEN_SESSION:
            return self._begin(index, data)
        if kind != SESSION_COMMAND:
            return None
        if len(data) < HEAD_SIZE:
            return BAD_COMMAND
        number, sequence, waiting = unpack_from("<IIB", data)
        session = self._find(number)
        if session is None:
            return NO_SESSION
        if waiting >= WINDOW or not waiting < sequence < COUNTER_LIMIT:
            return BAD_COMMAND
        session.used = index
        session.forget_below(sequence - waiting)
        code = session.outcome(sequence)[0]
        if code == 0:
            code = self.machine.apply(data[HEAD_SIZE:])
            pack_into("<BI", session.results, sequence % WINDOW * _RESULT, code, index)
        return code

    def outcome(self, number, sequence):
        """(outcome, index) of a command: (NO_SESSION, 0), (UNKNOWN, 0): forgotten, as its client
        asked for a later one and waited for it no more; (0, 0): not applied so far."""
        session = self._find(number)
        return (NO_SESSION, 0) if session is None else session.outcome(sequence)

    def of_client(self, client):
        """Id of the session that `client` (7 bytes) has open, 0 if none."""
        for session in self._open:
            if session.client == client:
                return session.id
        return 0

    def ids(self):
        """The ids of the open sessions, the longest open first."""
        return [session.id for session in self._open]

    def _find(self, number):
        for session in self._open:
            if session.id == number:
                return session
        return None

    def _begin(self, index, client):
        if len(client) != CLIENT_SIZE:
            return BAD_COMMAND
        for session in self._open:
            if session.client == client:
                session.used = index  # it asked twice
                return COMMITTED
        if len(self._open) == SESSIONS_MAX:
            self._open.remove(min(self._open, key=lambda session: session.used))
        self._open.append(_Session(index, client))
        return COMMITTED

    def snapshot(self):
        """The table as bytes."""
        parts = []
        for session in self._open:
            record = bytearray(_RECORD)
            pack_into("<I", record, 0, session.id)
            record[4:11] = session.client
            pack_into("<II", record, 11, session.oldest, session.used)
            results = session.results
            for place in range(WINDOW):
                at = place * _RESULT
                if results[at]:
                    record[19] += 1
                    record += bytes([place]) + results[at : at + _RESULT]
            parts.append(record)
        return b"".join(parts)

    def read(self, image):
        """The sessions in `image`, for `take_over`. Raises ValueError if it is no table."""
        found = []
        at = 0
        while at < len(image):
            end = at + _RECORD
            if end <= len(image):
                end += image[end - 1] * (1 + _RESULT)
            if end > len(image) or len(found) == SESSIONS_MAX:
                raise ValueError("not a table of sessions: wrong at byte %d" % at)
            session = _Session(unpack_from("<I", image, at)[0], bytes(image[at + 4 : at + 11]))
            session.oldest, session.used = unpack_from("<II", image, at + 11)
            for result in range(at + _RECORD, end, 1 + _RESULT):
                place = image[result] % WINDOW * _RESULT
                session.results[place : place + _RESULT] = image[result + 1 : result + 1 + _RESULT]
            found.append(session)
            at = end
        return found

    def take_over(self, found):
        """Go on with the sessions that `read` returned."""
        self._open = found
