"""One Raft member, sans-IO. Figure 2 of the extended paper, made for one radio channel.

Contract. In: one decoded frame (`receive`), the time (`tick`), a proposal (`propose`), "durable"
(`persisted`). Out, and the driver's duties in this order:

1. `outbox.drain_early`: a leader's AppendEntries may leave before its own write (thesis 10.2.1);
2. if `unsaved`: make `term`, `vote` and the entries from `log.unstable_index` on durable, then
   call `persisted`; if `snapshot_unsaved`: `snapshot` and all entries behind it, in the place of
   what was durable before;
3. `outbox.drain_late`: votes, acks and vote requests, which depend on that;
4. `apply_committed`.

Same state and same input give the same output: the only randomness is `random_below`, passed in.
Everything enters by one door that compares terms once; the role changes only in `become_*`.
"""

from raft import election, membership, overhearing, replication, snapshot
from raft.log import Log
from raft.message import (
    ACK,
    APPEND,
    CANDIDATE,
    COMMAND,
    CONFIGURATION,
    COUNTER_LIMIT,
    EVERYONE,
    FOLLOWER,
    LEADER,
    LEND,
    NOBODY,
    NOOP,
    PRE_CANDIDATE,
    SNAPSHOT,
    SNAPSHOT_ACK,
    TIMEOUT_NOW,
    VOTE,
    VOTE_REQUEST,
    const,
    identity,
)
from raft.outbox import Outbox
from raft.overhearing import Heard
from raft.sessions import Sessions
from raft.turns import Turns

_SENT_KEPT = const(32)  # more than leave within a lease, heartbeats and bursts
_LEAP = const(65536)  # elections that a board may have missed; of more it must hear again and again
_LEAP_MS = const(10000)  # for so long...
_LEAP_GAP_MS = const(2000)  # ...and at least so often


class NotLeader(Exception):
    """Only the leader appends; `Raft.leader` is the hint where to go (NOBODY: none is known)."""


class Busy(Exception):
    """No room now: too many uncommitted entries, or leadership is being handed over."""


class Raft:
    """One member.

    `me`: own id; `incarnation`: which board of that id this is; `first`: the Configuration that
    counts until the log holds one (an empty one for a board that joins); `machine`: the state
    machine; `random_below(n)`: an integer of 0..n-1. Times are milliseconds that never wrap.
    """

    def __init__(self, me, incarnation, first, machine, settings, random_below):
        self.me = me
        self.identity = identity(me, incarnation)
        self.sessions = Sessions(machine)
        self.settings = settings
        self.random_below = random_below
        self.log = Log()
        self.outbox = Outbox()
        # Must be durable before anything is sent that depends on it (Figure 2, persistent state).
        # `vote` is an identity: two boards of one id must not share a vote.
        self.term = 0
        self.vote = NOBODY
        self.unsaved = False
        self.durable_index = 0
        self.snapshot = snapshot.Snapshot(0, 0, b"", first)
        self.snapshot_unsaved = False
        # The newest in the log, committed or not (thesis 4.1), and where it stands.
        self.configuration = first
        self.configuration_index = 0
        # May be lost (Figure 2, volatile state).
        self.role = FOLLOWER
        self.leader = NOBODY
        self.commit_index = 0
        self.applied_index = 0
        self.now_ms = 0
        self.election_at_ms = 0
        self.heard_leader_ms = 0
        self.gap_ms = 0  # the longest silence of a leader of late
        self.promised_until_ms = 0
        self.silent_until_ms = 0
        self.leap_since_ms = 0  # since when terms are heard that are too far ahead...
        self.leap_heard_ms = 0  # ...and when the last one was
        # Candidates: who granted. Leader: what each follower has, when to speak next, and whom it
        # hands over to until when. All by identity.
        self.granted = []
        self.followers = {}
        self.sent_index = 0
        self.append_seq = 0  # sequence of the AppendEntries that left last, told by the driver
        self.epoch = 0  # of this boot, told by the driver: acks of it name these sequences
        self.heartbeat_at_ms = 0
        self.transfer_to = NOBODY
        self.transfer_until_ms = 0
        self.first_seq = 0  # what left before we led in this term
        self.lease_from_seq = 0  # only acks of AppendEntries behind it extend the lease...
        self.lease_is_void = False  # ...unless it was given up, for the rest of the term
        self.chips = {}  # id -> chip, as heard before the cluster was born
        self.stranger = NOBODY  # id of a board that is no member, and answers us
        self._sent_seq = [0] * _SENT_KEPT  # the AppendEntries that left last, and when
        self._sent_ms = [0] * _SENT_KEPT
        self.turns = Turns()
        self.quiet_until_ms = 0  # the channel is used up: new entries and forwards wait
        self.waiting = []  # ids of members that wait to hear of a commit, with broadcast off
        self.heard = Heard()
        # Follower: the snapshot that a leader is sending us, or None.
        self.incoming = None

    def restore(self, term, vote, entries, taken=None):
        """Take over what the journal holds, before the first step.

        `taken` is the Snapshot that `entries` follow, or None. Raises ValueError if the state
        machine does not take its image.
        """
        self.term = term
        self.vote = vote
        if taken is not None:
            snapshot.unpack(self, taken)
            self.snapshot = taken
            self.log.restart(taken.index, taken.term)
            self.commit_index = self.applied_index = taken.index
        for entry in entries:
            self.log.append(entry)
        self.log.unstable_index = self.log.last_index + 1
        self.durable_index = self.log.last_index
        self.find_configuration()

    def find_configuration(self):
        """The log was cut, restored or replaced: see which configuration counts now."""
        index, newest = membership.find_newest(self, self.log.last_index)
        membership.take_effect(self, index, newest)

    def start(self, now_ms):
        """Begin as follower (§5.2) at `now_ms`.

        A reboot forgets what was promised to a leader: for the longest promise there is, no vote
        is given (docs/protocol.md, rule 4).
        """
        self.now_ms = now_ms
        self.silent_until_ms = now_ms + self.settings.promise_ms
        self.become_follower(self.term, NOBODY)
        election.reset_timer(self)

    def hold_back(self, until_ms):
        """Do not stand before `until_ms`, unless a vote is asked for or a leader is heard first."""
        election.reset_timer(self)
        self.election_at_ms += until_ms - self.now_ms

    @property
    def machine(self):
        """The state machine; entries reach it through `sessions`."""
        return self.sessions.machine

    # The one door.

    def receive(self, message, now_ms):
        """Handle one authentic frame addressed to us or to everyone.

        False if no member that keeps to the rules can have sent it, as far as we know: it is
        ignored then (docs/protocol.md, rule 10).
        """
        self.now_ms = now_ms
        if message.type not in _HANDLERS:
            return True
        if message.type in _ANSWERS and not self.configuration.holds(message.sender):
            # It has no say here, nor has its term: who was removed must not depose anybody. What
            # leaders and candidates ask is another matter: they may be members in a configuration
            # that has not come to us.
            if self.role == LEADER:
                self.stranger = message.src
            return True
        if message.dst not in (self.me, EVERYONE):
            if self.settings.overhears and message.type in overhearing.HANDLERS:
                overhearing.HANDLERS[message.type](self, message)
            return True
        if message.type == VOTE_REQUEST and election.is_bound(self, message.flags):
            # Not even its term counts: else a board that hears no leader would depose the one that
            # all others hear (thesis 4.2.3).
            return True
        if message.term > self.term:
            if message.term - self.term > _LEAP and not self._leap_lasts():
                return False
            # All servers: a higher term makes us its follower (§5.1).
            self.become_follower(message.term, NOBODY)
        if message.type in _OF_LEADERS and message.term == self.term:
            if replication.is_impossible(self, message):
                return False
        _HANDLERS[message.type](self, message)
        return True

    def _leap_lasts(self):
        """One stray frame of the last term would end elections for ever, on every board that
        believes it. A cluster that really has gone on so far without us says so all the time."""
        if self.now_ms - self.leap_heard_ms > _LEAP_GAP_MS:
            self.leap_since_ms = self.now_ms
        self.leap_heard_ms = self.now_ms
        return self.now_ms - self.leap_since_ms >= _LEAP_MS

    def tick(self, now_ms):
        """The time is now `now_ms`: do what is due."""
        self.now_ms = now_ms
        if self.role == LEADER:
            replication.lead(self)
        else:
            overhearing.answer_if_due(self)
            election.campaign_if_due(self)

    def deadline_ms(self):
        """When `tick` has something to do again."""
        if self.role == LEADER:
            return self.heartbeat_at_ms
        if self.role == FOLLOWER:
            due_ms = self.heard.due_ms
            return self.election_at_ms if due_ms is None else min(due_ms, self.election_at_ms)
        return min(self.election_at_ms, self.heartbeat_at_ms)

    def is_me(self, message):
        """True if `message` is for this board, not for another one of the same id."""
        return message.dst == self.me and message.dst_incarnation == self.identity >> 8

    def propose(self, data, kind=COMMAND):
        """Append an entry (bytes) to the leader's log; return its index (§5.3).

        Raises NotLeader, or Busy if `settings.window` entries wait already, if there is no index
        left, or if leadership is being handed over: a log that grows would never let its successor
        catch up (thesis 3.10).
        """
        if self.role != LEADER:
            raise NotLeader()
        if self.transfer_to != NOBODY or self.log.is_at_end():
            raise Busy()
        if self.log.last_index - self.commit_index >= self.settings.window:
            raise Busy()
        if self.log.size + len(data) > self.settings.log_bytes:
            raise Busy()
        index = self.append_own(kind, data)
        replication.news_waits(self)
        return index

    def transfer(self, target):
        """Hand leadership over to voter `target` (id; thesis 3.10), or try to for an election
        timeout. The lease ends here, for the rest of the term.

        Raises NotLeader, or ValueError if `target` is no other voter.
        """
        if self.role != LEADER:
            raise NotLeader()
        who = identity(target, self.configuration.find(target)[0])
        if target == self.me or who not in self.configuration.voters:
            raise ValueError("board %d is no voter that could take over" % target)
        self.lease_is_void = True
        self.transfer_to = who
        self.transfer_until_ms = self.now_ms + self.settings.election_max_ms
        self.heartbeat_at_ms = self.now_ms

    def append_own(self, kind, data):
        """Leader append-only (§5.4.3): the one place where a leader's log grows."""
        assert self.role == LEADER and not self.log.is_at_end()
        self.unsaved = True
        index = self.log.append((self.term, kind, data))
        if kind == CONFIGURATION:
            membership.take_effect(self, index, membership.decode(data))
        return index

    def lend(self, message):
        """A candidate with a shorter log has asked us."""
        replication.lend(self, message.src, message.last_index, message.last_term)

    def new_follower(self):
        return replication.Follower(self.now_ms)

    def lately_heard(self, who):
        """Leader: True if follower `who` (identity) was heard within an election timeout."""
        follower = self.followers.get(who)
        if follower is None:
            return False
        return self.now_ms - follower.heard_ms < self.settings.election_max_ms

    def sent_at_ms(self, seq):
        """When the AppendEntries of sequence `seq` left, None if that is long ago."""
        place = seq % _SENT_KEPT
        return self._sent_ms[place] if self._sent_seq[place] == seq else None

    def lease_holds(self):
        """True if no other board can have become leader yet (thesis 6.4.1; rule 5).

        A majority has promised, in acks, to give no vote for `promise_ms` from when it received a
        heartbeat: the lease begins when the oldest of these heartbeats was sent.
        """
        if self.role != LEADER or self.lease_is_void:
            return False
        since_ms = self.now_ms - self.settings.lease_ms
        promised = 0
        for who in self.configuration.voters:
            if who == self.identity:
                promised += 1
            else:
                follower = self.followers[who]
                if follower.promised_seq > self.lease_from_seq and follower.promised_ms > since_ms:
                    promised += 1
        return promised >= self.majority()

    # What the driver reports back.

    def append_left(self, seq):
        """An AppendEntries leaves with sequence `seq`."""
        self.append_seq = seq
        self._sent_seq[seq % _SENT_KEPT] = seq
        self._sent_ms[seq % _SENT_KEPT] = self.now_ms

    def persisted(self):
        """`term`, `vote` and the whole log are durable now."""
        self.unsaved = False
        self.snapshot_unsaved = False
        self.log.unstable_index = self.log.last_index + 1
        self.durable_index = self.log.last_index
        if self.role == LEADER:
            replication.advance_commit(self)
        else:
            overhearing.advance_commit(self)

    def apply_committed(self, applied):
        """Apply what is committed, in order (§5.3); `applied(index, entry, result)` hears of each.

        `result` is what became of it (raft.message, outcomes), None if it is no command.
        """
        while self.applied_index < self.commit_index:
            index = self.applied_index + 1
            entry = self.log.entry(index)
            result = self.sessions.apply(index, entry[1], entry[2])
            self.applied_index = index
            applied(index, entry, result)
        snapshot.take_if_due(self)

    # Roles.

    def become_follower(self, term, leader):
        """Follower in `term`; the vote survives within a term, whatever the role was (§5.2)."""
        assert term >= self.term
        if term > self.term:
            self.term = term
            self.vote = NOBODY
            self.unsaved = True
            self.heard.forget()
            # They say that our log is durable: it may be cut before it is written.
            self.outbox.forget(APPEND)
        if self.role == LEADER:
            # A leader had no election timer running.
            election.reset_timer(self)
        self.role = FOLLOWER
        self.leader = leader
        self.heard.drop_ack()
        self.granted.clear()
        self.followers.clear()
        self.transfer_to = NOBODY

    def become_pre_candidate(self):
        """Ask first whether others would vote for us, in no new term (thesis 9.6)."""
        assert self.role != LEADER
        self.role = PRE_CANDIDATE
        self.heard.drop_ack()
        self.leader = NOBODY
        self.granted.clear()
        self.granted.append(self.identity)
        election.reset_timer(self)

    def become_candidate(self):
        """A new term, a vote for oneself (§5.2)."""
        assert self.role != LEADER and self.term + 1 < COUNTER_LIMIT
        self.role = CANDIDATE
        self.leader = NOBODY
        self.term += 1
        self.heard.forget()
        self.vote = self.identity
        self.unsaved = True
        self.granted.clear()
        self.granted.append(self.identity)
        election.reset_timer(self)

    def become_leader(self):
        """A majority granted. Its first entry lets those of older terms commit (§5.4.2, §8): a
        no-op, or the first configuration, so that boards that join later learn of it."""
        assert self.role == CANDIDATE
        self.role = LEADER
        self.leader = self.me
        self.granted.clear()
        self.followers.clear()
        self.lease_is_void = False
        self.stranger = NOBODY
        self.sent_index = self.log.last_index
        self.first_seq = self.turns.confirm_seq = self.append_seq
        membership.take_effect(self, self.configuration_index, self.configuration)
        if self.configuration_index:
            self.append_own(NOOP, b"")
        else:
            self.append_own(CONFIGURATION, self.configuration.with_chips(self.chips).encode())
        self.heartbeat_at_ms = self.now_ms

    def majority(self):
        return self.configuration.majority

    def commit_by(self, matched, limit):
        """Commit what a majority holds durably, up to `limit`; `matched`: an index for each voter,
        up to which it does. True if something new is.

        Only an entry of the current term is committed by counting (§5.3, §5.4.2): an older one
        could still be replaced, Figure 8; it is committed with the next one that is.
        """
        matched.sort()
        index = min(limit, matched[len(matched) - self.majority()])
        if index <= self.commit_index or self.log.term_at(index) != self.term:
            return False
        self.commit_index = index
        return True


# What only a member may say.
_ANSWERS = (ACK, VOTE, SNAPSHOT_ACK)
# What only the leader of its term says.
_OF_LEADERS = (APPEND, SNAPSHOT)

_HANDLERS = {
    APPEND: replication.on_append,
    ACK: replication.on_ack,
    VOTE_REQUEST: election.on_vote_request,
    VOTE: election.on_vote,
    TIMEOUT_NOW: election.on_timeout_now,
    SNAPSHOT: snapshot.on_snapshot,
    SNAPSHOT_ACK: replication.on_snapshot_ack,
    LEND: replication.on_lend,
}
