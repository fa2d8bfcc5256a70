"""What is known of the cluster, from the frames that were heard. No Qt, no clock, no socket.

`Model.take` consumes what the Station heard, `Model.tick` notices silence. Nothing here is a
guess: what no frame said is None. Two things are deduced, and both are proofs: a board whose ack
states the applied index and the digest of a database that is known holds that database; and the
entries that a leader says are committed, applied to a known database, give the next one.

The radio repeats and reorders, and anyone may replay: a board's frames count only if their
(incarnation, epoch, seq) is above the last one taken of that board.
"""

from collections import deque
from dataclasses import dataclass, field

from raft.intlist import IntList
from raft.message import (
    ACK,
    APPEND,
    CANDIDATE,
    COMMAND,
    COMMITTED,
    CONFIGURATION,
    EVERYONE,
    FIRST_PC,
    FOLLOWER,
    GRANTED,
    LEADER,
    NOBODY,
    NOOP,
    OPEN_SESSION,
    OUTCOME,
    PRE,
    PRE_CANDIDATE,
    ROLE_NAMES,
    SESSION_COMMAND,
    STATUS,
    SUCCESS,
    VOTE,
    VOTE_REQUEST,
)
from raft.sessions import HEAD_SIZE, KEY_SIZE

# Entries that no client asked for, in words.
OWN_ENTRIES = {
    NOOP: "the leader's own first entry",
    CONFIGURATION: "who belongs to the cluster",
    OPEN_SESSION: "a client begins a session",
}

SILENT_MS = 1500  # many heartbeats: a healthy board acks or is polled far more often
HEAP_UNIT = 64  # bytes, of the heap field
EVENTS_MAX = 1000
MARKS_MAX = 8192
APPENDS_MAX = 512  # AppendEntries remembered, to say whom an ack answers
ENTRIES_MAX = 512
STATES_MAX = 64

# Kinds of events.
ROLE = "role"
ELECTION = "election"
COMMIT = "commit"
REBOOT = "reboot"
SILENT = "silent"
BACK = "back"
ALARM = "alarm"
NOTE = "note"  # of the viewer itself: what became of a command


@dataclass(slots=True, frozen=True)
class Event:
    """Something worth a line: `kind`, the board it happened to (or None), and a sentence."""

    at_ms: int
    kind: str
    node: int | None
    text: str


@dataclass(slots=True, frozen=True)
class Mark:
    """A frame that was heard, for the picture; `dst` None: for everyone."""

    at_ms: int
    type: int
    src: int
    dst: int | None
    loaded: bool  # an AppendEntries that carries entries, a Vote or an Ack that says yes
    ours: bool


@dataclass(slots=True)
class Board:
    """One board, as its own frames tell. None: not known."""

    node: int
    heard_ms: int
    silent: bool = False
    role: int | None = None
    term: int | None = None
    vote: int | None = None  # in `term`; NOBODY: stated that it has not voted
    leader: int | None = None
    last_index: int | None = None
    durable_index: int | None = None
    commit_index: int | None = None
    applied_index: int | None = None
    digest: int | None = None
    values: list[int] | None = None  # at `values_index`, which may lie behind applied_index
    values_index: int | None = None
    changed_ms: dict[int, int] = field(default_factory=dict)  # cell: when its value changed
    heap: int | None = None  # bytes free
    uptime_s: int | None = None
    rssi: int | None = None  # dBm, at the collector
    leader_rssi: int | None = None  # dBm of the leader, at this board
    mac: bytes | None = None
    incarnation: int | None = None
    epoch: int | None = None
    seq: int | None = None
    reboots: int = 0
    frames: int = 0
    missed: int = 0  # gaps in its sequence: sent, but not heard here

    @property
    def role_name(self):
        return None if self.role is None else ROLE_NAMES[self.role]

    @property
    def outdated(self):
        """True if the board is known to be ahead of the `values` that we know of it."""
        if self.values is None:
            return False
        stated = self.applied_index
        if self.role == LEADER:  # it applies at once what it commits, and states only that
            stated = self.commit_index
        return stated is not None and stated > self.values_index


class Model:
    """The cluster as heard; `machine` makes the state machine that the boards run."""

    def __init__(self, machine=IntList):
        self._machine = machine
        self.boards = {}
        self.pcs = {}  # id: last heard ms
        self.events = deque(maxlen=EVENTS_MAX)
        self.event_count = 0  # ever, so that a view knows how many are new
        self.marks = deque(maxlen=MARKS_MAX)
        self.mark_count = 0
        self.term = None  # the highest heard
        self.commit_index = None  # the highest that a leader stated
        self.repeated = 0  # frames at or below the last (incarnation, epoch, seq) of their board
        self.dropped = 0  # frames that could not be decoded
        self.alarms = 0
        self._leaders = {}  # term: node that sent AppendEntries in it
        self._appends = {}  # (node, epoch, seq) of AppendEntries, oldest first: node
        self._log = {}  # index: (term, kind, data), a contiguous piece of the leader's log
        self._log_term = None  # the term whose leader confirmed it
        self._matched = 0  # up to here that leader's log and ours are equal
        self._states = {}  # applied index: (digest, values or None, True if a board said so)
        self._replica = None  # (applied index, machine): follows what is committed
        self._commands = deque(maxlen=STATES_MAX)  # (session, sequence) that it has applied
        self._raised = set()  # texts of alarms: each is raised once

    def leader(self):
        """Node of the leader in the highest term that is heard, or None."""
        if self.term is None:
            return None
        node = self._leaders.get(self.term)
        if node is None or self.boards[node].silent or self.boards[node].role != LEADER:
            return None
        return node

    def nodes(self):
        """Ids of the boards ever heard, ascending."""
        return sorted(self.boards)

    def size(self):
        """Number of integers in the longest known database, 0 if none is known."""
        return max((len(b.values) for b in self.boards.values() if b.values), default=0)

    def reference(self):
        """The newest known database: (applied index, values), or None."""
        known = [b for b in self.boards.values() if b.values is not None]
        if not known:
            return None
        newest = max(known, key=lambda b: (b.values_index, b.term or 0))
        return newest.values_index, newest.values

    def differs(self, node, cell):
        """True if the board's value of `cell` is known and is not that of the newest database."""
        board = self.boards[node]
        values = board.values
        if values is None or cell >= len(values) or board.outdated:
            return False
        newest = self.reference()[1]
        return cell >= len(newest) or values[cell] != newest[cell]

    def note(self, at_ms, node, text):
        """Put a line of the viewer's own among the events."""
        self._event(at_ms, NOTE, node, text)

    def take(self, frames):
        """Take `Heard` frames in the order in which they were heard."""
        for heard in frames:
            self._take(heard)

    def _take(self, heard):
        message = heard.message
        if message is None:
            self.dropped += 1
            return
        if heard.ours:
            self._mark(heard, self._addressee(message))
            return
        if message.src >= FIRST_PC:
            self.pcs[message.src] = heard.at_ms
            self._mark(heard, self._addressee(message))
            return
        if message.src == NOBODY:
            return
        board = self.boards.get(message.src)
        if board is None:
            board = self.boards[message.src] = Board(message.src, heard.at_ms)
            self._event(heard.at_ms, BACK, board.node, "board %d is heard" % board.node)
        if not self._in_order(board, message, heard.at_ms):
            self.repeated += 1
            return
        self._present(board, heard)
        self._new_term(board, message.term, heard.at_ms)
        if message.type == APPEND:
            self._append(board, message, heard.at_ms)
        elif message.type == ACK:
            self._ack(board, message, heard.at_ms)
        elif message.type == VOTE_REQUEST:
            self._vote_request(board, message, heard.at_ms)
        elif message.type == VOTE:
            self._vote(board, message, heard.at_ms)
        elif message.type == STATUS:
            self._status(board, message, heard)
        elif message.type == OUTCOME:
            board.leader = message.leader
        self._mark(heard, self._addressee(message))

    def tick(self, now_ms):
        """Notice the boards that fell silent."""
        for board in self.boards.values():
            if not board.silent and now_ms - board.heard_ms >= SILENT_MS:
                board.silent = True
                text = "board %d is silent" % board.node
                if board.role == LEADER:
                    text += ": it was the leader of term %d" % board.term
                self._event(now_ms, SILENT, board.node, text)

    def _event(self, at_ms, kind, node, text):
        if kind == ALARM:
            if text in self._raised:
                return
            self._raised.add(text)
            self.alarms += 1
        self.events.append(Event(at_ms, kind, node, text))
        self.event_count += 1

    def _mark(self, heard, dst):
        message = heard.message
        loaded = bool(message.entries) or (
            message.type in (VOTE, ACK) and message.flags & GRANTED == GRANTED
        )
        self.marks.append(Mark(heard.at_ms, message.type, message.src, dst, loaded, heard.ours))
        self.mark_count += 1

    def _addressee(self, message):
        """Whom a frame is for: an ack for all is for the sender of what it answers."""
        if message.dst != EVERYONE:
            return message.dst
        if message.type == ACK:
            leader = self._leaders.get(message.term)
            if (leader, message.heard_epoch, message.heard_seq) in self._appends:
                return leader
        return None

    def _in_order(self, board, message, now_ms):
        """True if the frame is newer than all taken of this board; counts gaps and reboots."""
        if board.incarnation is not None and message.incarnation != board.incarnation:
            # Incarnations count up; a lower one is a replay unless the higher one has gone.
            if message.incarnation < board.incarnation and not board.silent:
                return False
            self._event(
                now_ms,
                REBOOT,
                board.node,
                "board %d is back without its flash: incarnation %d"
                % (board.node, message.incarnation),
            )
            self._forget(board)
        elif board.epoch is not None:
            if (message.epoch, message.seq) <= (board.epoch, board.seq):
                return False
            if message.epoch != board.epoch:
                board.reboots += message.epoch - board.epoch
                text = "board %d rebooted: boot %d" % (board.node, message.epoch)
                self._event(now_ms, REBOOT, board.node, text)
                self._reset_volatile(board)
            else:
                board.missed += message.seq - board.seq - 1
        board.incarnation = message.incarnation
        board.epoch = message.epoch
        board.seq = message.seq
        return True

    def _reset_volatile(self, board):
        """A reboot forgets what is not on flash: the role and what was applied (Figure 2)."""
        board.role = board.leader = board.commit_index = board.applied_index = None
        board.digest = board.values = board.values_index = board.uptime_s = None

    def _forget(self, board):
        self._reset_volatile(board)
        board.term = board.vote = board.last_index = board.durable_index = None
        board.reboots += 1

    def _present(self, board, heard):
        if board.silent:
            away_s = (heard.at_ms - board.heard_ms) / 1000
            text = "board %d is back after %.1f s" % (board.node, away_s)
            self._event(heard.at_ms, BACK, board.node, text)
            board.silent = False
        board.heard_ms = heard.at_ms
        board.rssi = heard.rssi
        board.mac = heard.mac
        board.frames += 1

    def _new_term(self, board, term, now_ms):
        if board.term is not None and term < board.term:
            text = "board %d went back from term %d to %d" % (board.node, board.term, term)
            self._event(now_ms, ALARM, board.node, text)
        if board.term != term:
            board.term = term
            # A new term begins without a vote, and a leader or candidate of the old one is neither.
            board.role = board.vote = board.leader = None
        if self.term is None or term > self.term:
            self.term = term

    def _role(self, board, role, now_ms):
        if board.role == role:
            return
        board.role = role
        if role == LEADER:
            text = "board %d leads term %d" % (board.node, board.term)
            self._event(now_ms, ROLE, board.node, text)

    def _append(self, board, message, now_ms):
        term = message.term
        other = self._leaders.setdefault(term, board.node)
        if other != board.node:  # Election Safety, Figure 3
            text = "two leaders in term %d: boards %d and %d" % (term, other, board.node)
            self._event(now_ms, ALARM, board.node, text)
        self._role(board, LEADER, now_ms)
        board.leader = board.vote = board.node  # who wins an election voted for itself
        end = message.prev_index + len(message.entries)
        board.last_index = max(board.last_index or 0, end)
        board.durable_index = message.durable_index
        board.commit_index = message.commit_index
        self._appends[(board.node, message.epoch, message.seq)] = None
        if len(self._appends) > APPENDS_MAX:
            del self._appends[next(iter(self._appends))]
        if term == self.term:
            self._record(message)
            self._committed(message.commit_index, now_ms)

    def _record(self, message):
        """Take over the entries as a follower would, so that `_log` is a piece of the leader's.

        Log Matching (§5.3): where index and term of one entry agree, all before it agree. A gap
        or a conflict throws away what is no longer known to agree.
        """
        log = self._log
        if self._log_term != message.term:
            self._log_term = message.term
            self._matched = 0
        prev = message.prev_index
        end = prev + len(message.entries)
        if end <= self._matched:
            return  # a stream for a laggard: a leader never changes what it has sent (§5.3)
        if prev not in log or log[prev][0] != message.prev_term:
            log.clear()
        for at, entry in enumerate(message.entries, prev + 1):
            if at in log and log[at][0] != entry[0]:
                for stale in [i for i in log if i >= at]:
                    del log[stale]
            log[at] = entry
        while len(log) > ENTRIES_MAX:
            del log[min(log)]
        self._matched = end

    def _committed(self, index, now_ms):
        """A leader says that all up to `index` is committed."""
        before = self.commit_index
        if before is None or index <= before:
            self.commit_index = max(index, before or 0)
            self._advance(self.commit_index)
            return
        for at in range(max(before + 1, index - ENTRIES_MAX), index + 1):
            self.commit_index = at
            what = self._advance(at)
            entry = self._log.get(at) if at <= self._matched else None
            text = "entry %d committed" % at
            if entry is not None:
                text = "entry %d of term %d committed" % (at, entry[0])
                what = OWN_ENTRIES.get(entry[1], what)
            self._event(now_ms, COMMIT, None, text + (": " + what if what else ""))

    def _advance(self, index):
        """Apply committed entries to the replica up to `index`; in words, what the last changed."""
        what = ""
        while self._replica is not None and self._replica[0] < min(index, self._matched):
            at, machine = self._replica[0] + 1, self._replica[1]
            entry = self._log.get(at)
            if entry is None:
                return ""
            before = list(machine.values)
            done = self._apply(machine, entry)
            what = _change(before, machine.values) if done else "refused, nothing changed"
            self._replica = (at, machine)
            known = self._states.get(at)
            if known is not None and known[0] != machine.digest():
                self._replica = None  # a repeat that we could not know for one
            elif known is None or known[1] is None:
                self._remember(at, machine.digest(), list(machine.values), known is not None)
        return what

    def _apply(self, machine, entry):
        """Have the replica apply `entry`; False if it changed nothing. Which commands a session has
        had before we came, nobody tells us: boards have the last word on what a state is."""
        if entry[1] == COMMAND:
            return machine.apply(entry[2]) == COMMITTED
        if entry[1] != SESSION_COMMAND:
            return True
        key = entry[2][:KEY_SIZE]
        if key in self._commands:
            return False
        self._commands.append(key)
        return machine.apply(entry[2][HEAD_SIZE:]) == COMMITTED

    def _know(self, index, digest, values):
        """A board states what it has at `index`. False: another one said otherwise, an alarm."""
        known = self._states.get(index)
        if known is not None and known[0] != digest:
            if known[2]:
                return False
            self._replica = known = None
        if known is None or known[1] is None:
            self._remember(index, digest, values, True)
        elif not known[2]:
            self._remember(index, digest, known[1], True)
        return True

    def _remember(self, index, digest, values, told):
        """A state by its index; `told`: a board said so, else the replica came to it."""
        self._states[index] = (digest, values, told)
        if len(self._states) > STATES_MAX:
            del self._states[min(self._states)]

    def _ack(self, board, message, now_ms):
        self._role(board, FOLLOWER, now_ms)
        board.leader = self._leaders.get(message.term)
        if message.flags & SUCCESS:
            board.durable_index = message.index
            board.last_index = max(board.last_index or 0, message.index)
        board.heap = message.heap * HEAP_UNIT
        board.leader_rssi = message.rssi
        self._applied(board, message.applied_index, message.digest, now_ms)

    def _applied(self, board, index, digest, now_ms, values=None):
        """The board states what it applied; `values` come with a whole database."""
        board.applied_index = index
        board.digest = digest
        board.commit_index = max(board.commit_index or 0, index)
        if not self._know(index, digest, values):  # State Machine Safety, Figure 3
            text = "board %d holds another database than the others at index %d"
            self._event(now_ms, ALARM, board.node, text % (board.node, index))
        elif values is None:
            values = self._states.get(index, (digest, None))[1]
        if values is None:
            return
        if board.values is not None:
            for cell, value in enumerate(values):
                if cell >= len(board.values) or board.values[cell] != value:
                    board.changed_ms[cell] = now_ms
        board.values = values
        board.values_index = index
        if self._replica is None or self._replica[0] < index:
            machine = self._machine()
            machine.values = list(values)
            self._replica = (index, machine)
            if self.commit_index is not None:
                self._advance(self.commit_index)

    def _vote_request(self, board, message, now_ms):
        if message.flags & PRE:
            # Thesis 9.6: it asks in no new term, votes for nobody, and hears no leader.
            if board.role not in (PRE_CANDIDATE, CANDIDATE):
                text = "board %d hears no leader and asks for pre-votes" % board.node
                self._event(now_ms, ELECTION, board.node, text)
            self._role(board, PRE_CANDIDATE, now_ms)
            board.leader = NOBODY
            return
        if board.role != CANDIDATE:
            text = "board %d stands for election in term %d" % (board.node, message.term)
            self._event(now_ms, ELECTION, board.node, text)
        self._role(board, CANDIDATE, now_ms)
        board.vote = board.node  # §5.2: a candidate votes for itself
        board.leader = NOBODY
        board.last_index = message.last_index

    def _vote(self, board, message, now_ms):
        if message.flags & PRE:
            return
        if message.flags & GRANTED and message.dst < FIRST_PC:
            if board.vote not in (None, NOBODY, message.dst):
                text = "board %d voted for %d and for %d in term %d" % (
                    board.node,
                    board.vote,
                    message.dst,
                    message.term,
                )
                self._event(now_ms, ALARM, board.node, text)
            elif board.vote != message.dst:
                text = "board %d votes for board %d in term %d" % (
                    board.node,
                    message.dst,
                    message.term,
                )
                self._event(now_ms, ELECTION, board.node, text)
            board.vote = message.dst
            self._role(board, FOLLOWER, now_ms)

    def _status(self, board, message, heard):
        if message.role < len(ROLE_NAMES):
            self._role(board, message.role, heard.at_ms)
        board.leader = message.leader
        board.vote = message.vote
        board.last_index = message.last_index
        board.durable_index = message.durable_index
        board.commit_index = message.commit_index
        board.heap = message.heap * HEAP_UNIT
        board.uptime_s = message.uptime_s
        self._applied(board, message.applied_index, message.digest, heard.at_ms, heard.database)


def _change(before, after):
    """Which integers an entry changed, in words."""
    changes = [
        "[%d] %d → %d" % (cell, before[cell], value)
        for cell, value in enumerate(after)
        if before[cell] != value
    ]
    return ", ".join(changes) if changes else "the value was there already"
