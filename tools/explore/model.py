"""Three real cores as a state machine that a search can step: states are bytes, actions are tuples.

What a state holds: of each board the core's volatile state and its flash, the frames on their way,
what was spent of the budget, and the past that properties speak of (who led which term, what was
committed). Time is abstracted away: timers run out when an action says so, promises to leaders and
the silence after a reboot are over, a leader notices that it hears no majority when an action says
so. So more can happen here than on boards, and leases are left to the simulator.

A step is that of the driver: one input, then the core's duties in their order, again until nothing
is due. A crash comes between steps, or in one: after the early frames have left and before the
write, or after the write and before the late frames leave.
"""

import marshal

from raft.core import Busy, Raft
from raft.membership import Configuration
from raft.message import (
    ACK,
    APPEND,
    COMMITTED,
    EVERYONE,
    FOLLOWER,
    LEADER,
    LEND,
    NOBODY,
    TIMEOUT_NOW,
    TYPE_NAMES,
    VOTE,
    VOTE_REQUEST,
    VOTER,
    Message,
)
from raft.settings import Settings

BOARDS = (1, 2, 3)
FRAMES_MAX = 4  # on their way at a time: what is more is lost, the oldest first
_ROUNDS = 4
_ALL = (1 << len(BOARDS)) - 1
_LONG = 1_000_000

# The fields that a core reads of each type of frame, but for those that only time gives a meaning.
_FIELDS = {
    APPEND: ("prev_index", "prev_term", "commit_index", "durable_index"),
    ACK: ("dst", "flags", "index", "entry_term", "overheard"),
    VOTE_REQUEST: ("last_index", "last_term", "flags"),
    VOTE: ("flags",),
    TIMEOUT_NOW: (),
    LEND: ("prev_index", "prev_term", "last_index", "last_term"),
}
_WITH_ENTRIES = (APPEND, LEND)

# How a core is packed: attributes as they are; the rest in `pack`; and those that are the same in
# every state, or times. A test holds this against the core, so that nothing is forgotten.
PLAIN = ("term", "vote", "role", "leader", "commit_index", "sent_index", "transfer_to")
PACKED = PLAIN + ("log", "granted", "followers", "heard")
FOLLOWS = (  # from what is packed, between two steps
    "applied_index",
    "configuration",
    "configuration_index",
    "durable_index",
    "snapshot",
    "snapshot_unsaved",
    "unsaved",
)
CONSTANT = (
    "append_seq",
    "chips",
    "epoch",
    "first_seq",
    "identity",
    "incoming",
    "lease_from_seq",
    "lease_is_void",
    "me",
    "outbox",
    "random_below",
    "sessions",
    "settings",
    "stranger",
    "turns",
    "waiting",
    "_sent_ms",
    "_sent_seq",
)
TIMES = (
    "election_at_ms",
    "gap_ms",
    "heard_leader_ms",
    "heartbeat_at_ms",
    "leap_heard_ms",
    "leap_since_ms",
    "now_ms",
    "promised_until_ms",
    "quiet_until_ms",
    "silent_until_ms",
    "transfer_until_ms",
)
FOLLOWER_PACKED = ("match_index", "behind", "repair_index", "joins_at")
FOLLOWER_REST = (
    "asked_ms",
    "heard_ms",
    "heard_seq",
    "owes",
    "promised_seq",
    "promised_ms",
    "caught_up_ms",
    "repair_at_ms",
    "snapshot",
    "snapshot_offset",
)


class Broken(Exception):
    """A property does not hold: its name, and the facts."""


class _Machine:
    """The database does not matter here: what is committed does."""

    def apply(self, command):
        return COMMITTED

    def check(self, command):
        return COMMITTED

    def snapshot(self):
        return b""


KINDS = ("timeout", "propose", "crash", "duplicate", "beat", "lose_quorum", "transfer")
_PROPOSE, _CRASH = KINDS.index("propose"), KINDS.index("crash")


class Model:
    """`budget`: {kind of action: how often it may be on a path}. Kinds: timeout, propose, crash,
    duplicate, beat, lose_quorum, transfer."""

    KINDS = KINDS

    def __init__(self, budget):
        self.budget = tuple(budget.get(kind, 0) for kind in self.KINDS)
        first = Configuration([(me, 1, VOTER, 0) for me in BOARDS])
        settings = Settings(snapshot_entries=60_000, log_bytes=1 << 29, window=1 << 20)
        self.cores = {me: Raft(me, 1, first, _Machine(), settings, lambda n: 0) for me in BOARDS}
        for core in self.cores.values():
            core.start(-_LONG)
        self._first = first
        self._message = Message()
        # Of the present step: what has left, what is on flash, and where the power could have gone.
        self._sent = []
        self._durable = None
        self._cuts = []

    def initial(self):
        """The state in which all boards are blank."""
        boards = tuple((pack(core), (0, NOBODY, ())) for core in self.cores.values())
        return dump((boards, (), (0,) * len(self.budget), (), ()))

    def actions(self, state):
        """Every action that is possible in `state` (as `load` gives it)."""
        boards, frames, spent, leaders, _ = state
        left = [most - used for most, used in zip(self.budget, spent, strict=True)]
        timeout, propose, crash, duplicate, beat, lose_quorum, transfer = left
        found = []
        blank = [me for me in BOARDS if boards[me - 1] == _BLANK_BOARD]
        for at, frame in enumerate(frames):
            if at and frames[at - 1] == frame:
                continue
            me, content = frame
            if me in blank and any((other, content) in frames for other in blank if other < me):
                continue  # boards that nothing has happened to are alike: one stands for all
            found.append(("deliver", frame))
            if duplicate:
                found.append(("duplicate", frame))
        for me in BOARDS:
            if me in blank[1:]:
                continue
            role = boards[me - 1][0][2]
            if role == LEADER:
                if propose:
                    found.append(("propose", me))
                if beat:
                    found.append(("beat", me))
                if lose_quorum:
                    found.append(("lose_quorum", me))
                if transfer:
                    found += [("transfer", me, other) for other in BOARDS if other != me]
            elif timeout:
                found.append(("timeout", me))
            if crash and me not in blank:
                found.append(("crash", me))
        return found

    def outcomes(self, state, action):
        """What `action` can lead to: [(how, state)]; `how` is "", or where the power went: "before
        the write", "after the write". Raises Broken, AssertionError."""
        boards, frames, spent, leaders, committed = state
        kind = action[0]
        frames = list(frames)
        self._sent = []
        self._cuts = []
        if kind in self.KINDS:
            spent = self._spend(spent, kind)
        me = action[1]
        if kind in ("deliver", "duplicate"):
            me = action[1][0]
            if kind == "deliver":
                frames.remove(action[1])
        before, self._durable = boards[me - 1]
        past = (leaders, committed)
        if kind == "crash":
            packed = self._restarted(me, self._durable)
            return [("", self._state(boards, me, packed, frames, [], spent, past, None))]
        core = self.cores[me]
        unpack(core, before, self._durable)
        self._act(core, kind, action, spent)
        self._duties(core)
        after = self._state(boards, me, pack(core), frames, self._sent, spent, past, before)
        found = [("", after)]
        if spent[_CRASH] < self.budget[_CRASH]:
            spent = self._spend(spent, "crash")
            for how, durable, sent in self._cuts:
                self._durable = durable
                packed = self._restarted(me, durable)
                cut = self._state(boards, me, packed, frames, sent, spent, past, None)
                found.append((how, cut))
        return found

    # A step.

    def _receive(self, core, frame):
        message = self._message
        message.type, message.src, message.term, values, entries = frame
        # A repair names its addressee, a broadcast does not: the core makes no difference.
        message.dst = EVERYONE if message.type in (APPEND, VOTE_REQUEST) else core.me
        message.heard_seq = 1  # of an AppendEntries in this term
        message.incarnation = message.dst_incarnation = 1
        for name, value in zip(_FIELDS[message.type], values, strict=True):
            setattr(message, name, value)
        message.promise_ms = 0
        message.asked = _ALL  # whose ack is not asked for, it may be lost on its way
        message.entries = list(entries)
        if message.type == VOTE_REQUEST:
            core.heard_leader_ms = -_LONG
        if not core.receive(message, 0):
            raise Broken("board %d refuses what another one said: %s" % (core.me, frame))

    def _act(self, core, kind, action, spent):
        if kind in ("deliver", "duplicate"):
            self._receive(core, action[1][1])
        elif kind == "timeout":
            core.election_at_ms = 0
        elif kind == "propose":
            try:
                core.propose(b"%d" % spent[_PROPOSE])
            except Busy:
                pass
        elif kind == "beat":
            core.heartbeat_at_ms = 0
        elif kind == "lose_quorum":
            core.become_follower(core.term, NOBODY)
        elif kind == "transfer":
            core.transfer(action[2])

    def _duties(self, core):
        """As firmware.driver does them; notes where the power could go in between."""
        outbox = core.outbox
        for _ in range(_ROUNDS):
            if core.heard.due_ms is not None:
                core.heard.due_ms = 0  # its turn comes at once: the frame may come late
            core.tick(0)
            outbox.drain_early(self._send(core))
            if core.unsaved:
                self._cuts.append(("before the write", self._durable, list(self._sent)))
                self._durable = (core.term, core.vote, tuple(core.log._entries))
                core.persisted()
                self._cuts.append(("after the write", self._durable, list(self._sent)))
            outbox.drain_late(self._send(core), True)
            core.apply_committed(_applied)
            if core.deadline_ms() > 0:
                break

    def _send(self, core):
        def send(message):
            values = tuple(getattr(message, name) for name in _FIELDS[message.type])
            entries = tuple(message.entries) if message.type in _WITH_ENTRIES else ()
            frame = (message.type, core.me, message.term, values, entries)
            overheard = message.type == ACK
            for dst in BOARDS:
                if dst != core.me and (overheard or message.dst in (dst, EVERYONE)):
                    self._sent.append((dst, frame))

        return send

    def _restarted(self, me, durable):
        """Board `me` after a power cut, packed."""
        core = self.cores[me]
        unpack(core, _BLANK, durable)
        return pack(core)

    def _spend(self, spent, kind):
        at = self.KINDS.index(kind)
        return spent[:at] + (spent[at] + 1,) + spent[at + 1 :]

    def _state(self, boards, me, packed, frames, sent, spent, past, before):
        boards = boards[: me - 1] + ((packed, self._durable),) + boards[me:]
        new = [frame for frame in sent if frame not in frames]
        room = max(0, FRAMES_MAX - len(new))
        frames = tuple(sorted(frames[max(0, len(frames) - room) :] + new))[:FRAMES_MAX]
        leaders, committed = check(boards, me, before, *past)
        return boards, frames, spent, leaders, committed


def _applied(index, entry, result):
    pass


# One buffer.


def pack(core):
    """The core between two steps, as a tuple; its flash is packed beside it."""
    followers = tuple(
        (who, f.match_index, f.behind, f.repair_index, f.joins_at)
        for who, f in sorted(core.followers.items())
    )
    plain = (core.term, core.vote, core.role, core.leader, core.commit_index, core.sent_index)
    heard = core.heard
    evidence = (heard.agreed_index, heard.leader, heard.leader_durable, heard.leader_commit)
    evidence += (tuple(sorted(heard.acks.items())),)
    entries = tuple(core.log._entries)
    return plain + (core.transfer_to, entries, tuple(core.granted), followers, evidence)


def unpack(core, packed, durable):
    """Put `core` into the state that `pack` wrote, at a moment without any bounds of time."""
    (core.term, core.vote, core.role, core.leader, core.commit_index, core.sent_index) = packed[:6]
    if packed is _BLANK:
        core.term, core.vote = durable[:2]
        entries = durable[2]
    else:
        entries = packed[7]
    core.transfer_to = packed[6]
    log = core.log
    log._entries = list(entries)
    log.unstable_index = len(entries) + 1
    core.durable_index = len(entries)
    core.applied_index = core.commit_index
    core.unsaved = core.snapshot_unsaved = False
    core.granted[:] = packed[8]
    core.followers.clear()
    for who, match_index, behind, repair_index, joins_at in packed[9]:
        follower = core.followers[who] = core.new_follower()
        follower.match_index = match_index
        follower.behind = behind
        follower.repair_index = repair_index
        follower.joins_at = joins_at
        follower.heard_ms = 0
        follower.repair_at_ms = -1
    heard = core.heard
    heard.forget()
    heard.agreed_index, heard.leader, heard.leader_durable, heard.leader_commit = packed[10][:4]
    heard.acks.update(packed[10][4])
    core.configuration_index = 1 if entries else 0
    core.now_ms = 0
    core.heard_leader_ms = core.promised_until_ms = core.silent_until_ms = -_LONG
    core.election_at_ms = core.heartbeat_at_ms = core.transfer_until_ms = _LONG


_NOTHING_HEARD = (0, NOBODY, 0, 0, ())
_BLANK = (0, NOBODY, FOLLOWER, NOBODY, 0, 0, NOBODY, (), (), (), _NOTHING_HEARD)
_BLANK_BOARD = (_BLANK, (0, NOBODY, ()))


def dump(state):
    """A state as bytes: equal states, equal bytes (marshal 2 writes no references)."""
    return marshal.dumps(state, 2)


load = marshal.loads


# What must hold.


def check(boards, me, before, leaders, committed):
    """The properties, after a step of board `me`; returns the past with what is new. Raises
    Broken."""
    packed, durable = boards[me - 1]
    term, _, role, _, commit = packed[:5]
    log = packed[7]
    if role == LEADER:
        led = dict(leaders)
        if led.setdefault(term, me) != me:
            raise Broken("election safety: boards %d and %d lead term %d" % (led[term], me, term))
        if len(led) > len(leaders):
            leaders = tuple(sorted(led.items()))
            for index, (entry, commit_term) in enumerate(committed):
                if commit_term < term and (len(log) <= index or log[index] != entry):
                    raise Broken(
                        "leader completeness: board %d leads term %d without entry %d, %r"
                        % (me, term, index + 1, entry)
                    )
    if before is not None:
        if term < before[0] or commit < before[4]:
            raise Broken("monotonicity: term or commit index of board %d fell" % me)
        if role == before[2] == LEADER and term == before[0]:
            if log[: len(before[7])] != before[7]:
                raise Broken("leader append-only: board %d replaced entries" % me)
    if commit > len(log):
        raise Broken("board %d commits %d of %d entries" % (me, commit, len(log)))
    for index in range(min(commit, len(committed))):
        if log[index] != committed[index][0]:
            raise Broken(
                "state machine safety: board %d commits %r at %d, elsewhere it is %r"
                % (me, log[index], index + 1, committed[index][0])
            )
    if commit > len(committed):
        _new_commits(boards, me, term, log, commit, len(committed))
        new = tuple((entry, term) for entry in log[len(committed) : commit])
        for other in BOARDS:
            # A leader of a later term may be there already.
            theirs = boards[other - 1][0]
            if theirs[2] == LEADER and theirs[0] > term:
                for at, (entry, _) in enumerate(new, len(committed)):
                    if len(theirs[7]) <= at or theirs[7][at] != entry:
                        raise Broken("leader completeness: board %d lacks entry %d" % (other, at))
        committed += new
    for other in BOARDS:
        if other != me:
            _logs_match(log, boards[other - 1][0][7], me, other)
    return leaders, committed


def _new_commits(boards, me, term, log, commit, known):
    for index in range(known, commit):
        holders = [
            b
            for b in BOARDS
            if len(boards[b - 1][1][2]) > index and boards[b - 1][1][2][index] == log[index]
        ]
        if len(holders) < 2:
            raise Broken(
                "durability: board %d commits entry %d in term %d, which is on the flash of %r"
                % (me, index + 1, term, holders)
            )


def _logs_match(log, theirs, me, other):
    """Log matching: same index and term: all equal up to there."""
    for index in range(min(len(log), len(theirs)) - 1, -1, -1):
        if log[index][0] == theirs[index][0]:
            if log[: index + 1] != theirs[: index + 1]:
                raise Broken(
                    "log matching: boards %d and %d differ below index %d" % (me, other, index + 1)
                )
            return


def told(action, how):
    """An action, and where the power went in it, in words."""
    if how:
        return "%s, power off %s" % (told(action, ""), how)
    if action[0] in ("deliver", "duplicate"):
        dst, (kind, src, term, values, entries) = action[1]
        text = "%s %s %d -> %d, term %d, %s" % (
            action[0],
            TYPE_NAMES[kind],
            src,
            dst,
            term,
            dict(zip(_FIELDS[kind], values, strict=True)),
        )
        return text + (" with %r" % (entries,) if entries else "")
    return " ".join(map(str, action))
