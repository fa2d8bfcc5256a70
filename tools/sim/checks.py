"""What must hold in every run, checked after every event: Figure 3 of the paper, and what a client,
a radio and a flash add to it.

    election safety        at most one leader in a term, over the whole history (§5.2)
    one vote per term      a board's frames grant one candidate in a term, restarts included (§5.2)
    leader append-only     a leader never changes or deletes what is in its log (§5.3)
    log matching           same index and term: same entry, and all before it equal (§5.3)
    leader completeness    what was committed is in the log of every later leader (§5.4)
    state machine safety   no two boards commit or apply different entries at one index (§5.4.3)
    membership             a configuration differs from the one before by one voter at most (thesis
                           4.1), and is the same on all boards at the same index
    monotonicity           term and commit index never fall; the term not across restarts either
    durable before sent    no frame speaks of a term, a vote or an entry that is not on flash yet
    durable majority       what is committed is on the flash of a majority of the voters
    database               a board's database is what the committed entries up to there make of it
    durability             what a client heard COMMITTED for is committed, that entry, for ever
    exactly once           a command is applied at most once, and never after a certain no
    linearizable reads     a read shows all that any client was told of before it was asked for
    no board fails         no assertion of the code itself, no other exception; nobody is told what
                           contradicts what it knows (rule 10)
    liveness               once all is healed: a leader, and equal databases, within a bound

The checks see all boards at once, which no board can, and believe none of them: they look at the
frames sent, at the flash (`board.DurableView`) and at the core's state. Memory goes by what is
committed, so that the prefix of a log that was compared once is not compared again.
"""

from binascii import crc32

from raft import membership
from raft.message import (
    ACK,
    APPEND,
    COMMITTED,
    CONFIGURATION,
    GRANTED,
    LEADER,
    PRE,
    REJECTED,
    ROLE_NAMES,
    SESSION_COMMAND,
    SUCCESS,
    TRANSFER,
    TYPE_NAMES,
    VOTE,
    VOTE_REQUEST,
    identity,
)
from raft.sessions import Sessions
from raft.wire import FIELD_SIZES, FIELDS, HEADER_FIELDS, HEADER_SIZE
from tools.contents import contents
from tools.sim.board import watched


def _offset(fields, name, at=0):
    for field, code, _ in fields:
        if field == name:
            return at
        at += FIELD_SIZES[code]
    raise KeyError(name)


# Where a frame says what the checks need: decoding it whole would cost more than the rest.
_TYPE, _SRC, _DST, _TERM = (_offset(HEADER_FIELDS, n) for n in ("type", "src", "dst", "term"))
_INCARNATION = _offset(HEADER_FIELDS, "incarnation")
_REQUEST_FLAGS = _offset(FIELDS[VOTE_REQUEST], "flags", HEADER_SIZE)
_VOTE_FLAGS = _offset(FIELDS[VOTE], "flags", HEADER_SIZE)
_VOTE_INCARNATION = _offset(FIELDS[VOTE], "dst_incarnation", HEADER_SIZE)
_ACK_FLAGS = _offset(FIELDS[ACK], "flags", HEADER_SIZE)
_ACK_INDEX = _offset(FIELDS[ACK], "index", HEADER_SIZE)


def spell(who):
    """An identity for a reader: 3, or 3.2 for the second board of that id."""
    return "%d" % (who & 0xFF) if who >> 8 in (0, 1) else "%d.%d" % (who & 0xFF, who >> 8)


def _number(frame, at):
    return int.from_bytes(frame[at : at + 4], "little")


def _identity(frame, at_id, at_incarnation):
    return identity(frame[at_id], frame[at_incarnation] | frame[at_incarnation + 1] << 8)


class Violation(Exception):
    """A property does not hold: its `property` name, the `facts` that contradict each other, the
    `seed`, the virtual time `at_ms`, and the command `replay` that shows it again."""

    def __init__(self, name, facts, seed, at_ms, replay):
        super().__init__(
            "%s: %s (seed %d, at %.3f ms; again: %s)" % (name, facts, seed, at_ms, replay)
        )
        self.property = name
        self.facts = facts
        self.seed = seed
        self.at_ms = at_ms
        self.replay = replay


class _Seen:
    """A board as it was after its last event."""

    def __init__(self):
        self.forget()
        self.term = 0
        self.configuration = membership.Configuration()

    def forget(self):
        """What a power cut takes; the term is the one thing that must not fall then."""
        self.state = None
        self.leads = False
        self.commit_index = 0
        self.applied_index = 0
        self.snapshot_index = 0
        self.base_index = 0
        self.entries = []


class Checks:
    """All properties over one world. `answers` takes each Asked that a board has answered."""

    def __init__(self, world):
        self.world = world
        self.leaders = {}  # term -> board
        self.votes = {}  # (term, identity) -> identity of the candidate
        self.committed = []  # entries, as the first board that committed each holds it
        self.truncations = 0  # times that a board deleted what conflicts with a leader's log
        self.snapshots = 0  # that any board took itself...
        self.installed = 0  # ...and that a leader sent it
        self.changes = 0  # of the members, committed
        self.repeats = 0  # commands that were committed once more, and not applied
        self._handed_over = {}  # term -> board that a leader told to stand in it
        self.committed_in = []  # term in which that was seen
        self.answers = []
        self.reads = 0
        self.told_index = 0  # the highest that any client knows to be committed
        self._seen = {me: _Seen() for me in world.boards}
        self._entries = {}  # (index, term) -> (entry, term of the one before)
        self._commands = []  # (index, command) given to a state machine in this step
        self._fresh_snapshots = []  # (board, Snapshot) that came in this step
        self._index = 0
        self._graveyard = []  # DurableViews of identities that are no more
        config = next(iter(world.boards.values())).config
        self._machine = watched(config.new_machine(), self._executed)
        self._sessions = Sessions(self._machine)
        self._digests = [self._machine.digest()]  # by applied index...
        self._tables = [crc32(b"")]  # ...and of the sessions
        self._configurations = [config.first]
        self._executions = {}  # index -> command that it has the state machine apply
        self._outcomes = [None]  # by index
        self._known_changes = set()  # (index, term) of configurations that were compared
        self._asked = {}  # command -> how often a client asked for it
        self._refused = {}  # command -> Asked that was told a certain no
        self._places = {}  # command -> index at which it is committed

    @property
    def transfers(self):
        """How many leaders lead because the one before handed over to them."""
        return sum(self.leaders.get(term) == me for term, me in self._handed_over.items())

    # What the world reports.

    def added(self, board):
        """A board that was not there from the beginning."""
        self._seen[board.id] = _Seen()

    def wiped(self, board):
        """`board` loses its flash. What the one that it was has acknowledged still counts: it will
        never vote for a log that lacks that."""
        self._graveyard.append(board.durable)

    def asked(self, asked):
        self._asked[asked.command] = self._asked.get(asked.command, 0) + 1

    def told(self, index):
        """A client has heard that the entry at `index` is committed, or has read what it made."""
        self.told_index = max(self.told_index, index)

    def read_ends(self, board, driver, floor):
        """A linearizable read is answered; `floor` was `told_index` when it was asked for."""
        self.reads += 1
        shown = driver.raft.applied_index
        if shown < floor:
            what = "board %d answers a read with entry %d applied, a client knew entry %d before"
            self._broken("linearizable reads", what, board.id, shown, floor)
        self.told(shown)

    def commanded(self, board, command):
        self._commands.append((board.raft.applied_index + 1, command))

    def sent(self, board, frame):
        """A frame leaves `board`."""
        kind = frame[_TYPE]
        if kind > VOTE:
            return
        durable = board.durable
        term = _number(frame, _TERM)
        if term > durable.term:
            what = "board %d sends %s of term %d, its flash holds term %d"
            self._broken(
                "durable before sent", what, board.id, TYPE_NAMES[kind], term, durable.term
            )
        if kind == APPEND:
            self._leads(term, board.id)
        elif kind == ACK:
            index = _number(frame, _ACK_INDEX)
            # An ack of an older term may name what a newer leader's frame, taken in the same step,
            # has replaced: as if it had left in between.
            current = term == durable.term
            if current and frame[_ACK_FLAGS] & SUCCESS and index > durable.last_index:
                what = "board %d acknowledges entry %d, its flash ends at %d"
                self._broken("durable before sent", what, board.id, index, durable.last_index)
        elif kind == VOTE_REQUEST:
            if not frame[_REQUEST_FLAGS] & PRE:
                who = _identity(frame, _SRC, _INCARNATION)
                self._votes(board, term, who, who)
            if frame[_REQUEST_FLAGS] & TRANSFER:
                self._handed_over[term] = board.id
        elif frame[_VOTE_FLAGS] & (GRANTED | PRE) == GRANTED:
            who = _identity(frame, _SRC, _INCARNATION)
            self._votes(board, term, who, _identity(frame, _DST, _VOTE_INCARNATION))

    def booted(self, board):
        """`board` has read its journal."""
        seen = self._seen[board.id]
        seen.forget()
        # What a frame said or the flash held survives; a term that was only in memory need not.
        # A board that lost its flash is another one, and starts from nothing.
        spoken = max((t for t, who in self.votes if who == board.raft.identity), default=0)
        spoken = max(spoken, board.raft.log.last_term)
        if board.raft.term < spoken:
            what = "board %d voted or wrote in term %d and starts again in term %d"
            self._broken("monotonicity", what, board.id, spoken, board.raft.term)
        seen.term = board.raft.term
        seen.snapshot_index = board.raft.snapshot.index
        self.after(board)

    def after(self, board):
        """`board` has had an event."""
        raft = board.raft
        log = raft.log
        seen = self._seen[board.id]
        fresh = board.durable.fresh
        state = (
            raft.term,
            raft.role,
            raft.commit_index,
            raft.applied_index,
            log.last_index,
            log.last_term,
            board.durable.writes,
        )
        # Nothing that the checks look at has changed: so it is after most heartbeats.
        if state != seen.state or self.answers:
            seen.state = state
            self._changed(board, raft, log, seen)
        fresh.clear()

    def configurations(self):
        """Those that may count: the last committed one, and what stood in any board's log when it
        was last seen, or else may stand on its flash."""
        return [self._configurations[-1]] + [
            seen.configuration for seen in self._seen.values() if seen.configuration.members
        ]

    def all_equal(self):
        """True if every board has power, and has applied all that is in any log."""
        end = len(self.committed)
        return all(
            b.alive and b.raft.applied_index == end and b.raft.log.last_index == end
            for b in self.world.originals()
        )

    def finish(self):
        """The end of a run, all healed and equal: every log holds all that was ever committed."""
        for board in self.world.alive():
            log = board.raft.log
            for i in range(log.base_index + 1, len(self.committed) + 1):
                if log.entry(i) != self.committed[i - 1]:
                    what = "board %d holds %s at index %d, committed was %s"
                    facts = (board.id, log.entry(i), i, self.committed[i - 1])
                    self._broken("durability", what, *facts)

    # The properties.

    def _changed(self, board, raft, log, seen):
        if raft.term < seen.term:
            what = "the term of board %d fell from %d to %d"
            self._broken("monotonicity", what, board.id, seen.term, raft.term)
        if raft.commit_index < seen.commit_index:
            what = "the commit index of board %d fell from %d to %d"
            self._broken("monotonicity", what, board.id, seen.commit_index, raft.commit_index)
        if raft.commit_index > log.last_index:
            what = "board %d commits up to %d, its log ends at %d"
            self._broken("state machine safety", what, board.id, raft.commit_index, log.last_index)
        if log.base_index > seen.commit_index:
            # It may append, even what takes the place of other entries, commit and compact in one
            # step: a lone voter, or one that has overheard enough before.
            for index, entry in board.durable.fresh:
                if seen.commit_index < index <= log.base_index:
                    if seen.entries[index - 1 : index] != [entry]:
                        del seen.entries[index - 1 :]
                    if index == len(seen.entries) + 1:
                        seen.entries.append(entry)
        self._compacted(board, log, seen)
        leads = raft.role == LEADER
        self._append_only(board, raft, seen, leads and seen.leads and raft.term == seen.term)
        self._log_matching(board, raft, seen)
        if leads and not (seen.leads and raft.term == seen.term):
            self._leads(raft.term, board.id)
            self._complete(board, raft)
        for index in range(seen.commit_index + 1, raft.commit_index + 1):
            entry = log.entry(index) if index > log.base_index else seen.entries[index - 1]
            self._commit(board, raft, index, entry)
        self._applied(board, raft, seen)
        while self.answers:
            self._answered(self.answers.pop(0))
        seen.term = raft.term
        seen.configuration = raft.configuration
        seen.leads = leads
        seen.commit_index = raft.commit_index
        seen.applied_index = raft.applied_index

    def _compacted(self, board, log, seen):
        """A snapshot holds nothing but committed entries; whether it holds what they make of the
        database, the digest at the applied index tells."""
        base = log.base_index
        taken = board.raft.snapshot
        if taken.index != seen.snapshot_index:
            seen.snapshot_index = taken.index
            if self._skips(seen.applied_index, taken.index):
                self.installed += 1
            else:
                self.snapshots += 1
            self._fresh_snapshots.append((board, taken))
        known = len(self.committed)
        if base > max(known, len(seen.entries)) or (
            base > 0 and base <= known and log.base_term != self.committed[base - 1][0]
        ):
            what = "board %d has a snapshot up to entry %d of term %d, committed are %d entries"
            self._broken("state machine safety", what, board.id, base, log.base_term, known)
        if base != seen.base_index:
            # What the log no longer shows is as committed, or was in the log before this event.
            seen.base_index = base
            seen.entries[: min(base, known)] = self.committed[: min(base, known)]

    def _skips(self, applied, index):
        """True if not every command from `applied` to `index` was given to the state machine."""
        given = [at for at, _ in self._commands]
        executed = self._executions
        return any(at in executed and at not in given for at in range(applied + 1, index + 1))

    def _snapshot_is_right(self, board, taken):
        """Its members and sessions are those that the committed entries make."""
        expected = self._configuration_at(taken.index)
        if taken.configuration.members != expected.members:
            what = "board %d has a snapshot up to entry %d with the members %s, they are %s"
            facts = (board.id, taken.index, taken.configuration.members, expected.members)
            self._broken("membership", what, *facts)
        if crc32(board.raft.sessions.snapshot()) != self._tables[board.raft.applied_index]:
            what = "board %d has other sessions after entry %d than the committed entries make"
            self._broken("database", what, board.id, board.raft.applied_index)

    def _configuration_at(self, index):
        return self._configurations[min(index, len(self._configurations) - 1)]

    def _leads(self, term, me):
        if self.leaders.setdefault(term, me) != me:
            what = "boards %d and %d both lead term %d"
            self._broken("election safety", what, self.leaders[term], me, term)

    def _votes(self, board, term, who, candidate):
        first = self.votes.setdefault((term, who), candidate)
        if first != candidate:
            what = "board %d votes for %s and for %s in term %d"
            facts = (board.id, spell(first), spell(candidate), term)
            self._broken("one vote per term", what, *facts)
        durable = board.durable
        if durable.term == term and durable.vote != candidate:
            what = "board %d votes for %s in term %d, its flash says %s"
            facts = (board.id, spell(candidate), term, spell(durable.vote))
            self._broken("durable before sent", what, *facts)

    def _append_only(self, board, raft, seen, leads_on):
        """Committed entries stay in any log, a leader's own entries all of them."""
        log = raft.log
        keeps = len(seen.entries) if leads_on else seen.commit_index
        name = "leader append-only" if leads_on else "state machine safety"
        if log.last_index < keeps:
            what = "%s %d shortens its log from %d to %d entries, commit index %d"
            role = ROLE_NAMES[raft.role]
            facts = (role, board.id, len(seen.entries), log.last_index, raft.commit_index)
            self._broken(name, what, *facts)
        for index in range(max(seen.commit_index, log.base_index) + 1, keeps + 1):
            if log.entry(index) != seen.entries[index - 1]:
                what = "leader %d replaces %s at index %d by %s"
                self._broken(name, what, board.id, seen.entries[index - 1], index, log.entry(index))

    def _log_matching(self, board, raft, seen):
        """Each (index, term) has one entry and one term before it; by induction one whole prefix.
        What was committed before this event has been compared, and is kept."""
        log = raft.log
        first = max(seen.commit_index, log.base_index) + 1
        held = seen.entries[first - 1 :]
        del seen.entries[first - 1 :]
        before = log.term_at(first - 1)
        for index in range(first, log.last_index + 1):
            entry = log.entry(index)
            known = (entry, before)
            if entry[0] <= board.durable.term:
                # Else it is one that a power cut can take back, and nobody has heard of it.
                known = self._entries.setdefault((index, entry[0]), known)
            if known[0] != entry or known[1] != before:
                what = "board %d holds %s behind term %d at index %d, elsewhere it is %s behind %d"
                facts = (board.id, entry, before, index, known[0], known[1])
                self._broken("log matching", what, *facts)
            if entry[1] == CONFIGURATION and (index, entry[0]) not in self._known_changes:
                self._known_changes.add((index, entry[0]))
                self._one_voter_changes(board, index, entry)
            if entry[0] > raft.term or entry[0] < before:
                what = "board %d in term %d holds an entry of term %d behind one of %d, index %d"
                self._broken("log matching", what, board.id, raft.term, entry[0], before, index)
            before = entry[0]
            seen.entries.append(entry)
        if seen.entries[first - 1 : first - 1 + len(held)] != held:
            self.truncations += 1

    def _one_voter_changes(self, board, index, entry):
        before = membership.find_newest(board.raft, index - 1)[1].voters
        after = membership.decode(entry[2]).voters
        changed = [who for who in before + after if (who in before) != (who in after)]
        if len(changed) > 1:
            what = "board %d holds a configuration at index %d that changes the voters %s at once"
            self._broken("membership", what, board.id, index, [spell(who) for who in changed])

    def _complete(self, board, raft):
        """§5.4.3, from the new leader's side: all that terms before it have committed."""
        for index, entry in enumerate(self.committed, 1):
            if index > raft.log.base_index and self.committed_in[index - 1] < raft.term:
                self._has(board, raft, index, entry)

    def _has(self, board, raft, index, entry):
        if index <= raft.log.base_index:
            return
        if raft.log.last_index < index or raft.log.entry(index) != entry:
            held = raft.log.entry(index) if index <= raft.log.last_index else "nothing"
            what = "board %d leads term %d with %s at index %d, committed in term %d was %s"
            facts = (board.id, raft.term, held, index, self.committed_in[index - 1], entry)
            self._broken("leader completeness", what, *facts)

    def _commit(self, board, raft, index, entry):
        if index <= len(self.committed):
            if self.committed[index - 1] != entry:
                what = "board %d commits %s at index %d, elsewhere %s is committed there"
                facts = (board.id, entry, index, self.committed[index - 1])
                self._broken("state machine safety", what, *facts)
            return
        views = [b.durable for b in self.world.boards.values()] + self._graveyard
        holders = [view.identity for view in views if view.holds(index, entry[0])]
        # One step may commit first, and change the members then.
        for counted in (self._seen[board.id].configuration, raft.configuration):
            voters = [who for who in counted.voters if who in holders]
            if counted.voters and len(voters) >= counted.majority:
                break
        else:
            what = "board %d commits entry %d of term %d, which is on the flash of %s only"
            facts = (board.id, index, entry[0], ", ".join(map(spell, holders)) or "nobody")
            self._broken("durable majority", what, *facts)
        self.committed.append(entry)
        self.committed_in.append(raft.term)
        self._index = index
        code = self._sessions.apply(index, entry[1], entry[2])
        if code is not None and entry[1] == SESSION_COMMAND and index not in self._executions:
            self.repeats += 1
        self._outcomes.append(code)
        self._digests.append(self._machine.digest())
        self._tables.append(crc32(self._sessions.snapshot()))
        if entry[1] == CONFIGURATION:
            self._configurations.append(membership.decode(entry[2]))
            self.changes += self._configurations[-1].members != self._configurations[-2].members
        else:
            self._configurations.append(self._configurations[-1])
        for other in self.world.alive():
            # ...and from the entry's side: a later leader may be there already.
            if other.raft.role == LEADER and other.raft.term > raft.term:
                self._has(other, other.raft, index, entry)

    def _executed(self, command):
        """The committed entry at `_index` has the state machine apply `command`."""
        self._executions[self._index] = bytes(command)
        self._once(self._index, command)

    def _once(self, index, command):
        if self._asked.get(command) != 1:
            return  # asked for more than once: the copies cannot be told apart
        place = self._places.setdefault(command, index)
        if place != index:
            what = "the command %s is applied at index %d and again at %d"
            self._broken("exactly once", what, command.hex(), place, index)
        if command in self._refused:
            self._was_refused(self._refused[command], index)

    def _was_refused(self, asked, index):
        what = "board %d answered %d, a certain no, to %s, which is applied at index %d"
        self._broken("exactly once", what, asked.board, asked.code, asked.command.hex(), index)

    def _applied(self, board, raft, seen):
        for index, command in self._commands:
            if self._executions.get(index) != command:
                entry = self.committed[index - 1] if index <= len(self.committed) else None
                what = "board %d applies %s at index %d, committed there is %s"
                self._broken("state machine safety", what, board.id, command.hex(), index, entry)
        self._commands.clear()
        for having, taken in self._fresh_snapshots:
            self._snapshot_is_right(having, taken)
        self._fresh_snapshots.clear()
        if raft.applied_index > raft.commit_index:
            what = "board %d has applied up to %d and committed up to %d"
            facts = (board.id, raft.applied_index, raft.commit_index)
            self._broken("state machine safety", what, *facts)
        if raft.applied_index != seen.applied_index:
            if board.driver.machine.digest() != self._digests[raft.applied_index]:
                what = "board %d shows %s after entry %d, which the committed entries do not make"
                values = contents(board.driver.machine)
                self._broken("database", what, board.id, values, raft.applied_index)

    def _answered(self, asked):
        if asked.code == COMMITTED:
            known = asked.index <= len(self.committed) and self.committed[asked.index - 1]
            right = known and known[2].endswith(asked.command)
            if not right or asked.term not in (0, known[0]):
                what = "board %d answered committed to %s, entry %d of term %d; there is %s"
                facts = (asked.board, asked.command.hex(), asked.index, asked.term, known)
                self._broken("durability", what, *facts)
        elif asked.code >= REJECTED and self._asked[asked.command] == 1:
            if self._executions.get(asked.index) == asked.command:
                # The state machine refused it, or so it is said.
                if self._outcomes[asked.index] != asked.code:
                    self._was_refused(asked, asked.index)
                return
            self._refused[asked.command] = asked
            if asked.command in self._places:
                self._was_refused(asked, self._places[asked.command])

    def _broken(self, name, what, *facts):
        raise self.world.violation(name, what % facts)
