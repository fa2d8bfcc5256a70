"""Proposals on their way: from whoever asked a board to the leader, into the log, and back.

    asked --> WAITING --> HANDED OVER --> applied here: the outcome is known
                 |             |
             NO_LEADER      UNKNOWN

Every command belongs to a session (raft.sessions): of a PC, or the board's own. So it may be handed
to one leader after the other, and is applied once. The asker hears COMMITTED only when this board
itself has applied the command, by whichever entry. UNKNOWN says that nobody could tell in time:
the command may yet be applied, once. NO_LEADER, BUSY and BAD_* mean that nothing was or will be
changed.
"""

from raft import entries
from raft.core import Busy
from raft.message import (
    ACCEPTED,
    BAD_COMMAND,
    BATCH,
    BUSY,
    COMMITTED,
    FIRST_PC,
    FORWARD,
    LEADER,
    NO_LEADER,
    NO_SESSION,
    NOBODY,
    OPEN_SESSION,
    OUTCOME,
    REJECTED,
    SESSION_COMMAND,
    UNKNOWN,
    const,
)
from raft.overhearing import likely_leader
from raft.sessions import (
    CLIENT_SIZE,
    HEAD_SIZE,
    KEY_SIZE,
    SESSIONS_MAX,
    WINDOW,
    client_name,
    head,
    u32,
)
from raft.wire import COMMAND_MAX, FREE_IN_BATCH

CAPACITY = const(32)
RESEND_MS = const(100)  # to begin with; twice as long after each copy...
_DOUBLED_MAX = const(3)  # ...so often: what is late is so because the air is full
RESEND_APPENDED_MS = const(500)  # it is in the leader's log: only a loss of leader changes that

_WAITING = const(0)
_HANDED_OVER = const(1)
_DONE = const(2)


class _Proposal:
    def __init__(self, kind, data, asker, answer, deadline_ms):
        self.kind = kind
        self.data = data  # of the entry; of our own session: only the command, until it has begun
        self.own = False  # of our own session
        self.sequence = 0
        self.asker = asker  # (src, incarnation, epoch, request), or None for the board's own app
        self.answer = answer  # own app: called as answer(code, index, term)
        self.state = _WAITING
        self.code = ACCEPTED
        self.index = 0
        self.term = 0
        self.leader = NOBODY  # to whom it was handed over last...
        self.leader_term = 0  # ...as leader of which term...
        self.times = 0  # ...and to how many such leaders so far...
        self.copies = 0  # ...in how many frames
        self.request = 0
        self.due_ms = 0
        self.deadline_ms = deadline_ms


def _key(kind, data):
    """What is the same in every copy of an entry, and in no other."""
    return data[:KEY_SIZE] if kind == SESSION_COMMAND else data


class _Commands:
    """Commands that were answered in one way: their copies, which may come late, must not be
    answered in another.

    A session has at most WINDOW commands under way; what is older than the last WINDOW noted ones
    counts as noted, too.
    """

    def __init__(self):
        self._sessions = []  # [session, floor, [sequences above it]], the lately changed last

    def clear(self):
        self._sessions.clear()

    def note(self, data):
        session, sequence = u32(data, 0), u32(data, 4)
        noted = self._find(session)
        if noted is None:
            if len(self._sessions) == SESSIONS_MAX:
                self._sessions.pop(0)
            noted = [session, 0, []]
        else:
            self._sessions.remove(noted)
        self._sessions.append(noted)
        if sequence not in noted[2]:
            noted[2].append(sequence)
            noted[2].sort()
        if len(noted[2]) > WINDOW:
            noted[1] = noted[2].pop(0)

    def holds(self, data):
        noted = self._find(u32(data, 0))
        sequence = u32(data, 4)
        return noted is not None and (sequence <= noted[1] or sequence in noted[2])

    def _find(self, session):
        for noted in self._sessions:
            if noted[0] == session:
                return noted
        return None


class Proposals:
    """The proposals that one board has taken on, CAPACITY at most.

    Finished ones are kept as long as there is room, to repeat their answer to an asker that did
    not hear it; whatever is asked again later is found in its session.
    """

    def __init__(self, raft):
        self.raft = raft
        self._proposals = []
        self._request = 0
        # Our own session: its id (0: none yet), and the number of its last command.
        self._session = 0
        self._seen_index = 0  # up to here the log was searched for what we handed over
        self._closed = 0  # the id of the last one that made room for others
        self._sequence = 0
        self._opening = None  # the proposal that opens it
        self._opening_at_ms = 0
        # What PCs were told of their commands, beyond what is remembered of each: a certain no, and
        # that nobody could tell, after which no no is certain.
        self._turned_away = _Commands()
        self._unsure = _Commands()
        # Leader, in its present term: what is in its log and not applied, and what it refused.
        self._term = 0
        self._appended = {}  # key -> index
        self._refused = _Commands()

    # What comes in.

    def propose(self, command, answer):
        """The board's own app asks; `answer(code, index, term)` is called once."""
        if len(command) > COMMAND_MAX:
            answer(BAD_COMMAND, 0, 0)
            return
        proposal = _Proposal(SESSION_COMMAND, command, None, answer, self._deadline_ms())
        proposal.own = True
        self._take(proposal)

    def on_forward(self, message):
        """A FORWARD: from a PC, or from a board that takes us for the leader. One that opens a
        session must be fresh; a command is protected by its session."""
        kind, data = message.kind, message.data
        asker = (message.src, message.incarnation, message.epoch, message.request)
        if not self._is_whole(kind, data, asker):
            return
        if message.src < FIRST_PC:
            self._take_from_board(message.term, kind, data, asker)
            return
        for proposal in self._proposals:
            if proposal.asker == asker:
                self._tell(proposal)
                return
        proposal = _Proposal(kind, data, asker, None, self._deadline_ms())
        if kind == SESSION_COMMAND and self._turned_away.holds(data):
            if not self._found_applied(proposal):
                self.send_outcome(asker, BUSY, 0, 0)
            return
        if kind == SESSION_COMMAND and self._unsure.holds(data):
            proposal.times = 1  # it was handed over before
        self._take(proposal)

    def on_batch(self, message):
        """A BATCH: several such commands of a board."""
        request = message.request
        for _, kind, data in message.entries:
            asker = (message.src, message.incarnation, message.epoch, request)
            if self._is_whole(kind, data, asker):
                self._take_from_board(message.term, kind, data, asker)
            request += 1

    def _is_whole(self, kind, data, asker):
        if kind == OPEN_SESSION:
            return len(data) == CLIENT_SIZE
        if kind != SESSION_COMMAND or len(data) < HEAD_SIZE:
            return False
        if len(data) > HEAD_SIZE + COMMAND_MAX:
            self.send_outcome(asker, BAD_COMMAND, 0, 0)  # no AppendEntries could carry it
            return False
        return True

    def _take_from_board(self, term, kind, data, asker):
        """No chains: a board forwards to the leader of one term, not to one that guesses. Who is
        not it stays silent; the board will ask the next."""
        if self.raft.role != LEADER or self.raft.term != term:
            return
        code, index = self._append_once(kind, data)
        waiting = self.raft.waiting
        if index and not self.raft.settings.broadcast and asker[0] not in waiting:
            waiting.append(asker[0])
        if code and code != ACCEPTED:  # what is in the log says so itself
            self.send_outcome(asker, code, index, self.raft.term if index else 0)

    def on_outcome(self, message, epoch):
        """The leader's answer to what we forwarded in `epoch`, our present one."""
        if message.heard_epoch != epoch or not self.raft.is_me(message):
            return
        for proposal in self._proposals:
            if proposal.state == _HANDED_OVER and proposal.request == message.request:
                break
        else:
            return
        if message.src != proposal.leader or proposal.leader_term != message.term:
            return
        if message.index:
            # In its log, or applied there already: here it is to be applied, too.
            self._note_appended(proposal, message.index, message.entry_term)
        elif message.code >= REJECTED:
            self._refuse_or_wait(proposal, message.code)

    def on_applied(self, index, entry, code):
        """This board has applied `entry` at `index` (see Raft.apply_committed)."""
        term, kind, data = entry
        if code is None:
            return
        key = _key(kind, data)
        self._appended.pop(key, None)
        for proposal in self._proposals:
            if proposal.state != _DONE and proposal.kind == kind and not self._lacks_key(proposal):
                if _key(kind, proposal.data) == key:
                    self._outcome(proposal, code, index, term)

    def tick(self):
        """Do what is due at `raft.now_ms`."""
        raft = self.raft
        self._look_for_appended()
        leader = likely_leader(raft)
        due = []
        for proposal in self._proposals:
            if proposal.state == _DONE:
                continue
            if self._found_applied(proposal):
                continue
            if raft.now_ms >= proposal.deadline_ms:
                self._finish(proposal, UNKNOWN if proposal.times else NO_LEADER)
            elif leader != NOBODY:
                leads_anew = (leader, raft.term) != (proposal.leader, proposal.leader_term)
                if leads_anew or raft.now_ms >= proposal.due_ms:
                    due.append(proposal)
        self._hand_over(due)

    def _look_for_appended(self):
        """The leader's answer to what it took is the entry itself."""
        log = self.raft.log
        seen_index = max(min(self._seen_index, log.last_index), self.raft.applied_index)
        self._seen_index = log.last_index
        waiting = [p for p in self._proposals if p.state == _HANDED_OVER and not p.index]
        if not waiting or self.raft.role == LEADER:
            return
        for index in range(seen_index + 1, log.last_index + 1):
            term, kind, data = log.entry(index)
            for proposal in waiting:
                if proposal.kind == kind and _key(kind, proposal.data) == _key(kind, data):
                    self._note_appended(proposal, index, term)
                    self._tell(proposal)

    def _note_appended(self, proposal, index, term):
        proposal.index = index
        proposal.term = term
        proposal.due_ms = self.raft.now_ms + RESEND_APPENDED_MS

    def resend_to(self, leader):
        """`leader` has just learned that we are fresh: what waits for it goes out at once."""
        for proposal in self._proposals:
            if proposal.state == _HANDED_OVER and proposal.leader == leader:
                proposal.due_ms = self.raft.now_ms

    # Steps.

    def _deadline_ms(self):
        return self.raft.now_ms + self.raft.settings.proposal_ms

    def _take(self, proposal):
        if self._found_applied(proposal):
            return
        room = CAPACITY + (1 if self._is_opening() else 0)
        if len(self._proposals) >= room and not self._forget_one():
            self._finish(proposal, BUSY if self._is_new(proposal) else UNKNOWN)
            return
        self._proposals.append(proposal)
        if likely_leader(self.raft) != NOBODY:
            self._hand_over([proposal])
        if proposal.state != _DONE:
            self._tell(proposal)

    def _is_new(self, proposal):
        """True if this board surely never handed it over: it would be found in its session. One
        that is not open here may have been closed since."""
        if proposal.times:
            return False
        if proposal.own or proposal.kind != SESSION_COMMAND:
            return True
        data = proposal.data
        return self.raft.sessions.outcome(u32(data, 0), u32(data, 4))[0] != NO_SESSION

    def _forget_one(self):
        for proposal in self._proposals:
            if proposal.state == _DONE:
                self._proposals.remove(proposal)
                return True
        return False

    def _lacks_key(self, proposal):
        return proposal.own and not proposal.sequence

    def _found_applied(self, proposal):
        """True if its outcome is known here: it came a second time, or a snapshot brought it."""
        data = proposal.data
        if proposal.kind == OPEN_SESSION:
            if not self.raft.sessions.of_client(data):
                return False
            self._finish(proposal, COMMITTED)
            return True
        if self._lacks_key(proposal):
            return False
        code, index = self.raft.sessions.outcome(u32(data, 0), u32(data, 4))
        if code in (0, NO_SESSION):
            return False
        self._outcome(proposal, code, index, self.raft.log.term_at(index) or 0)
        return True

    def _hand_over(self, due):
        """Give the leader what is `due`. What a board has to say while its last frame is under way
        waits, and goes out in one frame: one for each would fill the channel."""
        if self.raft.role == LEADER:
            for proposal in due:
                self._append_own(proposal)
            return
        if self._is_under_way() or self.raft.now_ms < self.raft.quiet_until_ms:
            return
        term = self.raft.term
        free = FREE_IN_BATCH
        before = entries.first_of(term)
        batch = []
        for proposal in due:
            if self._lacks_key(proposal) and not self._give_number(proposal):
                continue
            entry = (term, proposal.kind, proposal.data)
            free -= entries.size_of(entry, before)
            if free < 0 and batch:
                break
            batch.append(proposal)
            before = entry
        if batch:
            self._forward(batch)

    def _forward(self, batch):
        raft = self.raft
        for proposal in batch:
            self._note_leader(proposal)
            proposal.copies += 1
        kind = FORWARD if len(batch) == 1 else BATCH
        frame = raft.outbox.late(kind, batch[0].leader, raft.term)
        frame.request = batch[0].request
        if kind == FORWARD:
            frame.kind = batch[0].kind
            frame.data = batch[0].data
        else:
            for proposal in batch:
                frame.entries.append((raft.term, proposal.kind, proposal.data))

    def _is_under_way(self):
        """True if the leader may be about to take what we handed over last."""
        raft = self.raft
        for proposal in self._proposals:
            if proposal.state == _HANDED_OVER and not proposal.index:
                if proposal.leader_term == raft.term and raft.now_ms < proposal.due_ms:
                    return True
        return False

    def _append_own(self, proposal):
        if self._lacks_key(proposal) and not self._give_number(proposal):
            return
        code, index = self._append_once(proposal.kind, proposal.data)
        if not code:
            return
        self._note_leader(proposal)
        if index:
            proposal.index = index
            proposal.term = self.raft.term
        elif code >= REJECTED:
            self._refuse_or_wait(proposal, code)

    def _note_leader(self, proposal):
        raft = self.raft
        proposal.state = _HANDED_OVER
        proposal.due_ms = raft.now_ms + (RESEND_MS << min(proposal.copies, _DOUBLED_MAX))
        leader = likely_leader(raft)
        if (proposal.leader, proposal.leader_term) != (leader, raft.term):
            proposal.leader = leader
            proposal.leader_term = raft.term
            proposal.times += 1
        self._request += 1
        proposal.request = self._request

    def _give_number(self, proposal):
        """Give a command of our own its place in our session; False while there is none."""
        raft = self.raft
        client = client_name(raft.me, raft.identity >> 8, raft.epoch)
        open_now = raft.sessions.of_client(client)
        if not self._session or not open_now:
            # One that was closed is in our own table as long as we lag behind the leader.
            self._session = open_now if open_now > self._closed else 0
            self._sequence = 0
        if not self._session:
            self._begin_session(client)
            return False
        oldest = self._sequence + 1
        for other in self._proposals:
            if other.sequence and other.state != _DONE:
                if u32(other.data, 0) == self._session:
                    oldest = min(oldest, other.sequence)
        if self._sequence + 1 - oldest >= WINDOW:
            return False
        self._sequence += 1
        proposal.sequence = self._sequence
        waiting = self._sequence - oldest
        proposal.data = head(self._session, self._sequence, waiting) + proposal.data
        return True

    def _is_opening(self):
        return self._opening is not None and self._opening.state != _DONE

    def _begin_session(self, client):
        if self._is_opening() or self.raft.now_ms < self._opening_at_ms:
            return
        self._opening_at_ms = self.raft.now_ms + RESEND_MS
        if self._opening in self._proposals:
            self._proposals.remove(self._opening)
        self._opening = _Proposal(OPEN_SESSION, client, None, None, self._deadline_ms())
        self._proposals.append(self._opening)
        self._hand_over([self._opening])

    def _append_once(self, kind, data):
        """Leader: append it unless it is here already; (outcome, index), index 0: not in the log;
        (0, 0): this cannot be told yet, ask again."""
        raft = self.raft
        if raft.term != self._term:
            self._lead()
        key = _key(kind, data)
        if key in self._appended:
            return ACCEPTED, self._appended[key]
        if kind == OPEN_SESSION:
            known = raft.sessions.of_client(data)
            return (COMMITTED, known) if known else self._append(kind, data, key)
        number, sequence = u32(data, 0), u32(data, 4)
        code, index = raft.sessions.outcome(number, sequence)
        if code == NO_SESSION and number > raft.applied_index:
            return 0, 0  # its session may be opened by an entry that is not applied yet
        if code:
            return code, index
        if raft.transfer_to != NOBODY:
            return 0, 0  # the next leader will take it
        if self._refused.holds(data):
            return BUSY, 0
        code = raft.machine.check(data[HEAD_SIZE:])
        if code == COMMITTED:
            code, index = self._append(kind, data, key)
        if code >= REJECTED:
            self._refused.note(data)
        return code, index

    def _lead(self):
        """A new term of ours: copies of what the leaders before have left are in the log, too."""
        raft = self.raft
        self._term = raft.term
        self._refused.clear()
        self._appended.clear()
        for index in range(raft.applied_index + 1, raft.log.last_index + 1):
            kind, data = raft.log.entry(index)[1:]
            if kind in (OPEN_SESSION, SESSION_COMMAND):
                self._appended[_key(kind, data)] = index

    def _append(self, kind, data, key):
        try:
            index = self.raft.propose(data, kind)
        except Busy:
            return BUSY, 0
        self._appended[key] = index
        return ACCEPTED, index

    def _refuse_or_wait(self, proposal, code):
        """The leader did not take it. That is a certain no if nobody else can have taken it, nor
        the same one before: a closed session remembers nothing."""
        if code == NO_SESSION and proposal.copies > 1:
            self._finish(proposal, UNKNOWN)
        elif proposal.times == 1:
            self._no(proposal, code)

    def _outcome(self, proposal, code, index, term):
        proposal.index = index
        proposal.term = term
        if code != NO_SESSION:
            self._finish(proposal, code)
        elif proposal.times == 1 and proposal.copies <= 1:
            self._no(proposal, code)
        else:
            # An earlier copy may have been applied before the session was closed.
            self._finish(proposal, UNKNOWN)

    def _no(self, proposal, code):
        if code != NO_SESSION or not proposal.own:
            self._finish(proposal, code)
            return
        # Our session made room for others: the same command, in a new one.
        self._closed = max(self._closed, u32(proposal.data, 0))
        if self._session <= self._closed:
            self._session = 0
        proposal.data = proposal.data[HEAD_SIZE:]
        proposal.sequence = proposal.index = proposal.term = 0
        proposal.times = proposal.copies = 0
        proposal.leader = NOBODY
        proposal.state = _WAITING

    def _finish(self, proposal, code):
        proposal.state = _DONE
        proposal.code = code
        if proposal.kind == OPEN_SESSION and code == COMMITTED:
            # Its id, which is not the index of a second entry that opened it.
            proposal.index = self.raft.sessions.of_client(proposal.data)
        if proposal.asker is not None and proposal.kind == SESSION_COMMAND:
            if code >= REJECTED:
                self._turned_away.note(proposal.data)
            elif code == UNKNOWN:
                self._unsure.note(proposal.data)
        self._tell(proposal)

    def _tell(self, proposal):
        term = proposal.term if proposal.index else 0
        if proposal.asker is not None:
            self.send_outcome(proposal.asker, proposal.code, proposal.index, term)
        elif proposal.code != ACCEPTED and proposal.answer is not None:
            answer, proposal.answer = proposal.answer, None
            answer(proposal.code, proposal.index, term)

    def send_outcome(self, asker, code, index, term):
        """Tell `asker` (src, incarnation, epoch, request) what became of what it asked for."""
        outcome = self.raft.outbox.late(OUTCOME, asker[0], self.raft.term)
        outcome.dst_incarnation = asker[1]
        outcome.heard_epoch = asker[2]
        outcome.request = asker[3]
        outcome.code = code
        outcome.index = index
        outcome.entry_term = term
        outcome.leader = self.raft.leader
