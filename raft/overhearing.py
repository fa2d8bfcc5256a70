"""What a follower makes of a channel on which everybody hears everybody (docs/protocol.md,
overhearing): when it answers the leader, when it may stay silent, and what it learns from the
others' answers.

Acks are broadcast, too. Who holds the leader's entry of this term and overhears that a majority
holds it durably knows that it is committed, without another frame.
"""

from raft.message import ACK, FOLLOWER, GRANTED, NOBODY, PRE, PROMISED, SUCCESS, VOTE, const

_GUARD_SLOTS = const(6)  # after the last ack that was asked for, to have heard and handled it


class Heard:
    """A follower's evidence in one term, and the ack that it owes."""

    def __init__(self):
        self.acks = {}  # identity -> up to where its log is durable and equal to the leader's
        self.votes = {}  # candidate -> who voted for it
        self.forget()

    def forget(self):
        """Another term: nothing that was said before counts."""
        self.acks.clear()
        self.votes.clear()
        self.agreed_index = 0  # up to here our log was shown equal to the leader's
        self.leader = NOBODY  # its identity...
        self.leader_durable = 0  # ...and what it said of itself
        self.leader_commit = 0
        self.epoch = 0  # the AppendEntries that an ack would name...
        self.seq = 0
        self.promised = False  # ...and whether its promise was given
        self.drop_ack()

    def drop_ack(self):
        """We owe no answer."""
        self.due_ms = None
        self.is_asked = False
        self.owed_index = 0
        self.gap_index = None
        self.gap_term = 0


# Answering.


def note_append(raft, message):
    """An AppendEntries of this term's leader is here: an ack names it from now on."""
    heard = raft.heard
    if message.sender == heard.leader and message.epoch == heard.epoch and message.seq < heard.seq:
        return  # a late copy
    heard.leader = message.sender
    heard.epoch = message.epoch
    heard.seq = message.seq
    heard.promised = message.promise_ms <= raft.settings.promise_ms


def agree(raft, message, index, is_new):
    """Our log is equal to the leader's up to `index`; `is_new`: this frame brought some of it."""
    heard = raft.heard
    heard.agreed_index = max(heard.agreed_index, index)
    heard.leader_durable = max(heard.leader_durable, message.durable_index)
    heard.leader_commit = max(heard.leader_commit, message.commit_index)
    heard.gap_index = None
    advance_commit(raft)
    slots = _slots_before(raft, message)
    if slots is not None:
        _answer_in(raft, slots, True)
    elif is_new and heard.due_ms is None:
        heard.owed_index = heard.agreed_index
        _answer_in(raft, _slots_unasked(raft, message), False)


def report_gap(raft, message, index, term):
    """We lack the entry before the frame; the logs may agree up to `index` of `term`."""
    heard = raft.heard
    heard.gap_index = index
    heard.gap_term = term
    slots = _slots_before(raft, message)
    _answer_in(raft, _slots_unasked(raft, message) if slots is None else slots, True)


def _answer_in(raft, slots, is_asked):
    heard = raft.heard
    due_ms = raft.now_ms + slots * raft.settings.slot_ms
    if heard.due_ms is None or due_ms < heard.due_ms:
        heard.due_ms = due_ms
    heard.is_asked = heard.is_asked or is_asked
    answer_if_due(raft)


def _slots_before(raft, message):
    """How many boards answer this frame before us; None: we are not asked."""
    if message.dst == raft.me or not raft.settings.overhears:
        return 0 if message.asked or message.entries else None
    place = raft.configuration.place(raft.identity)
    if place is None:
        # It does not know that we are no member, or we do not know that we are one.
        here = message.seq % 8 == raft.me % 8
        return _slots_unasked(raft, message) if here else None
    if not message.asked & 1 << place:
        return None
    return _rank(raft, message, message.asked, place)


def _slots_unasked(raft, message):
    """When it is our turn after all that were asked."""
    place = raft.configuration.place(raft.identity)
    others = ~message.asked & (1 << len(raft.configuration.members)) - 1
    asked = 0
    for i in range(len(raft.configuration.members)):
        asked += message.asked >> i & 1
    rank = asked if place is None else _rank(raft, message, others, place)
    return asked + _GUARD_SLOTS + rank


def _rank(raft, message, places, place):
    """How many of `places` (bits) come before `place`, in an order that turns with each frame."""
    count = len(raft.configuration.members)
    at = message.seq % count
    rank = 0
    while at != place:
        rank += places >> at & 1
        at = at + 1 if at + 1 < count else 0
    return rank


def answer_if_due(raft):
    """Send the ack that is owed, if it is time and somebody needs it."""
    heard = raft.heard
    if heard.due_ms is None or raft.now_ms < heard.due_ms:
        return
    if not heard.is_asked and _leader_knows(raft, heard.owed_index):
        if heard.owed_index < heard.agreed_index:
            heard.owed_index = heard.agreed_index
            heard.due_ms = raft.now_ms + _GUARD_SLOTS * raft.settings.slot_ms
        else:
            heard.drop_ack()
        return
    answer = raft.outbox.late(ACK, raft.leader, raft.term)
    answer.heard_epoch = heard.epoch
    answer.heard_seq = heard.seq
    answer.flags = PROMISED if heard.promised else 0
    answer.overheard = 0
    if heard.gap_index is None:
        answer.flags |= SUCCESS
        answer.index = heard.agreed_index
        answer.entry_term = 0
        answer.overheard = _overheard(raft, heard.agreed_index)
    else:
        answer.index = heard.gap_index
        answer.entry_term = heard.gap_term
    heard.drop_ack()


def _leader_knows(raft, index):
    """True if the leader must know that `index` is committed, or has no need of us to learn it."""
    heard = raft.heard
    if heard.leader_commit >= index:
        return True
    count = 0
    for who in raft.configuration.voters:
        if who == heard.leader:
            count += heard.leader_durable >= index
        elif who != raft.identity:
            count += heard.acks.get(who, 0) >= index
    return count >= raft.majority()


def _overheard(raft, index):
    """For a leader that missed them: the members (bits, in the order of the configuration) whose
    acks of this term for `index` or more we have heard.

    Only in a configuration that is a part of the equal logs: the leader reads the bits by its own.
    """
    bits = 0
    if raft.configuration_index <= index:
        for place, member in enumerate(raft.configuration.identities):
            if raft.heard.acks.get(member, -1) >= index:
                bits |= 1 << place
    return bits


# Overhearing.


def on_ack(raft, message):
    """An ack to this term's leader, which is not we. It sets no timer, and counts for no lease."""
    if message.term != raft.term or not message.flags & SUCCESS:
        return
    acks = raft.heard.acks
    if acks.get(message.sender, -1) < message.index:
        acks[message.sender] = message.index
        advance_commit(raft)


def advance_commit(raft):
    """Commit what a majority of the voters holds durably, as far as our log is the leader's; the
    proof is in docs/protocol.md, overhearing.

    Ours counts after our own write, the leader's as far as it says, the others' by their acks of
    this term; learners never. The voters are those of the newest configuration in the equal part.
    """
    heard = raft.heard
    limit = heard.agreed_index
    if not raft.settings.overhears or raft.role != FOLLOWER or limit <= raft.commit_index:
        return
    if raft.configuration_index > limit:
        return
    matched = []
    for who in raft.configuration.voters:
        if who == raft.identity:
            matched.append(raft.durable_index)
        elif who == heard.leader:
            matched.append(heard.leader_durable)
        else:
            matched.append(heard.acks.get(who, 0))
    raft.commit_by(matched, limit)


def on_vote(raft, message):
    """A vote for somebody else: who has a majority of them leads this term. A hint where to go
    with a proposal, and nothing else: it sets no timer and binds nobody (rule 3)."""
    if message.term != raft.term or message.flags & (GRANTED | PRE) != GRANTED:
        return
    votes = raft.heard.votes.setdefault(message.dst_incarnation << 8 | message.dst, [])
    if message.sender not in votes:
        votes.append(message.sender)


HANDLERS = {ACK: on_ack, VOTE: on_vote}  # what is of use to others than its addressee


def likely_leader(raft):
    """The leader, or who must have become it by the votes on the air; NOBODY."""
    if raft.leader != NOBODY:
        return raft.leader
    for candidate, votes in raft.heard.votes.items():
        # A candidate votes for itself, which nobody hears.
        count = 0
        for who in raft.configuration.voters:
            mine = who == raft.identity and raft.vote == candidate
            count += mine or who == candidate or who in votes
        if count >= raft.majority():
            return candidate & 0xFF
    return NOBODY
