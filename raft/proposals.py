"""Proposals on their way: from whoever asked a board to the leader, into the log, and back.

    asked --> WAITING --> FORWARDED --> APPENDED --> COMMITTED | LOST
                 |            |             |
              NO_LEADER    UNKNOWN       UNKNOWN

The asker hears COMMITTED only when this board itself has applied the entry of that term at that
index. A proposal is handed to one leader in one term, once: whoever lost it says UNKNOWN, for a
second leader might append it a second time. NO_LEADER, BUSY, LOST and BAD_* mean that nothing was
or will be changed.
"""

from raft.core import Busy
from raft.message import (
    ACCEPTED,
    BUSY,
    COMMITTED,
    FIRST_PC,
    FORWARD,
    LEADER,
    LOST,
    NO_LEADER,
    NOBODY,
    OUTCOME,
    UNKNOWN,
    const,
)

CAPACITY = const(16)
RESEND_MS = const(100)

_WAITING = const(0)
_FORWARDED = const(1)
_APPENDED = const(2)
_DONE = const(3)


class _Proposal:
    def __init__(self, asker, command, answer, deadline_ms):
        self.asker = asker  # (src, incarnation, epoch, request), or None for the board's own app
        self.command = command
        self.answer = answer  # own app: called as answer(code, index, term)
        self.state = _WAITING
        self.code = ACCEPTED
        self.index = 0
        self.term = 0
        self.leader = NOBODY
        self.request = 0  # our own number for it, when we forward it
        self.resend_at_ms = 0
        self.deadline_ms = deadline_ms


class Proposals:
    """The proposals that one board has taken on: at most CAPACITY unfinished ones.

    Finished ones are kept as long as there is room, to repeat their answer to an asker that did
    not hear it; `_forgotten` holds the highest request forgotten of each asker, so that a very
    late repeat is told UNKNOWN instead of being applied twice.
    """

    def __init__(self, raft):
        self.raft = raft
        self._proposals = []
        self._forgotten = []  # [(src, incarnation, epoch), request], the lately changed last
        self._applied = []  # (index, term, result) of the entries applied last
        self._request = 0

    # What comes in.

    def propose(self, command, answer):
        """The board's own app asks; `answer(code, index, term)` is called once."""
        self._take(None, command, answer)

    def on_forward(self, message):
        """A fresh FORWARD, from a PC or from a board that takes us for the leader."""
        asker = (message.src, message.incarnation, message.epoch, message.request)
        for proposal in self._proposals:
            if proposal.asker == asker:
                self._tell(proposal)
                return
        for whose, request in self._forgotten:
            if whose == asker[:3] and asker[3] <= request:
                self.send_outcome(asker, UNKNOWN, 0, 0)
                return
        raft = self.raft
        if message.src < FIRST_PC and (raft.role != LEADER or raft.term != message.term):
            # No chains: a board forwards to the leader, not to another board that guesses; and to
            # the leader of one term, so that a repeat on its way cannot be taken in a later one.
            self.send_outcome(asker, self._no_leader(message.term), 0, 0)
            return
        self._take(asker, message.data, None)

    def _no_leader(self, term):
        """NO_LEADER is a certain no. A board that may have led `term` and then rebooted forgot what
        it appended, and its entry may be committed yet: then it is UNKNOWN."""
        raft = self.raft
        may_have_led = raft.term > term or raft.term == term and raft.vote == raft.me
        return UNKNOWN if may_have_led else NO_LEADER

    def on_outcome(self, message, epoch):
        """The leader's answer to what we forwarded in `epoch`, our present one."""
        if message.heard_epoch != epoch:
            return
        for proposal in self._proposals:
            if proposal.state == _FORWARDED and proposal.request == message.request:
                break
        else:
            return
        if message.src != proposal.leader:
            return
        if message.code >= NO_LEADER or message.code == UNKNOWN:
            self._finish(proposal, message.code)
        elif message.index and message.entry_term == proposal.term:
            self._appended(proposal, message.index, message.entry_term)

    def on_applied(self, index, term, result):
        """This board has applied the entry of `term` at `index` (see Raft.apply_committed)."""
        self._applied.append((index, term, result))
        if len(self._applied) > CAPACITY:
            self._applied.pop(0)
        for proposal in self._proposals:
            if proposal.index == index and proposal.code in (ACCEPTED, UNKNOWN):
                self._outcome(proposal, term, result)

    def _outcome(self, proposal, term, result):
        if proposal.term != term:
            self._finish(proposal, LOST)
        else:
            self._finish(proposal, COMMITTED if result is None else result)

    def tick(self):
        """Do what is due at `raft.now_ms`."""
        raft = self.raft
        for proposal in self._proposals:
            if proposal.state == _DONE:
                continue
            if proposal.state == _WAITING:
                if raft.leader != NOBODY:
                    self._hand_over(proposal)
                elif raft.now_ms >= proposal.deadline_ms:
                    self._finish(proposal, NO_LEADER)
            elif 0 < proposal.index <= raft.applied_index or raft.now_ms >= proposal.deadline_ms:
                # Applied without our seeing it: a snapshot took its place.
                self._finish(proposal, UNKNOWN)
            elif proposal.state == _FORWARDED:
                if raft.term != proposal.term:
                    self._finish(proposal, UNKNOWN)
                elif raft.now_ms >= proposal.resend_at_ms:
                    self._forward(proposal)

    def resend_to(self, leader):
        """`leader` has just learned that we are fresh: what waits for it goes out at once."""
        for proposal in self._proposals:
            if proposal.state == _FORWARDED and proposal.leader == leader:
                self._forward(proposal)

    # Steps.

    def _take(self, asker, command, answer):
        deadline_ms = self.raft.now_ms + self.raft.settings.proposal_ms
        proposal = _Proposal(asker, command, answer, deadline_ms)
        if len(self._proposals) >= CAPACITY and not self._forget_one():
            proposal.code = BUSY
            if asker is not None:
                # A repeat that is on its way may find room: not after this certain no.
                self._note_forgotten(asker)
            self._tell(proposal)
            return
        self._proposals.append(proposal)
        if self.raft.leader != NOBODY:
            self._hand_over(proposal)
        self._tell(proposal)

    def _forget_one(self):
        for proposal in self._proposals:
            if proposal.state == _DONE:
                self._proposals.remove(proposal)
                if proposal.asker is not None:
                    self._note_forgotten(proposal.asker)
                return True
        return False

    def _note_forgotten(self, asker):
        for noted in self._forgotten:
            if noted[0] == asker[:3]:
                self._forgotten.remove(noted)
                noted[1] = max(noted[1], asker[3])
                self._forgotten.append(noted)
                return
        if len(self._forgotten) == CAPACITY:
            self._forgotten.pop(0)
        self._forgotten.append([asker[:3], asker[3]])

    def _hand_over(self, proposal):
        raft = self.raft
        if raft.role != LEADER:
            self._request += 1
            proposal.request = self._request
            proposal.state = _FORWARDED
            proposal.leader = raft.leader
            proposal.term = raft.term
            self._forward(proposal)
            return
        code = raft.machine.check(proposal.command)
        if code != COMMITTED:
            self._finish(proposal, code)
            return
        try:
            index = raft.propose(proposal.command)
        except Busy:
            self._finish(proposal, BUSY)
            return
        self._appended(proposal, index, raft.term)

    def _forward(self, proposal):
        proposal.resend_at_ms = self.raft.now_ms + RESEND_MS
        forward = self.raft.outbox.late(FORWARD, proposal.leader, self.raft.term)
        forward.request = proposal.request
        forward.data = proposal.command

    def _appended(self, proposal, index, term):
        proposal.state = _APPENDED
        proposal.index = index
        proposal.term = term
        for applied in self._applied:
            if applied[0] == index:
                # Committed and applied here before the leader's answer was heard.
                self._outcome(proposal, applied[1], applied[2])

    def _finish(self, proposal, code):
        proposal.state = _DONE
        proposal.code = code
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
        outcome.heard_epoch = asker[2]
        outcome.request = asker[3]
        outcome.code = code
        outcome.index = index
        outcome.entry_term = term
        outcome.leader = self.raft.leader
