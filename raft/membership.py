"""Who belongs to the cluster (thesis 4): members are (id, incarnation), voters or learners.

    configuration   id u8, role u8 (0 removed, 1 learner, 2 voter), incarnation u16, chip u32 (0 if
                    nobody knows it); for each id that was ever used, ids ascending

A configuration is an entry of the log, and counts from the moment it is there, committed or not
(thesis 4.1). One change at a time, of one voter at most: then any majority of the old voters has a
member in common with any majority of the new ones. A leader begins a change only after an entry of
its own term is committed (Ongaro 2015): else two leaders could each change from the same old
configuration to new ones without a common member.

A board that lost its flash has forgotten its votes: it is another member from then on, with the
same id and the next incarnation. So the configuration keeps the highest incarnation that each id
ever had, removed ones too, and the chip that it was given to: who comes with an id that is taken
can be told from the board that lost its memory.
"""

from struct import pack_into, unpack_from

from raft.message import (
    CONFIGURATION,
    COUNTER_LIMIT,
    FIRST_PC,
    LEADER,
    LEARNER,
    NOBODY,
    REMOVED,
    VOTER,
    const,
    identity,
)

_SIZE = const(8)
_INCARNATION_MAX = const(0xFFFF)
MEMBERS_MAX = const(22)  # ids ever used: more do not fit into one entry


class NotNow(Exception):
    """Another change is under way, or this leader has not yet committed in its term."""


class Configuration:
    """Immutable. `members`: (id, incarnation, role, chip), ids ascending; `identities`: theirs, in
    that order; `voters` and `learners`: those of them; `majority`: how many voters are one."""

    def __init__(self, members=()):
        self.members = tuple(sorted(members))
        self.identities = tuple([identity(m[0], m[1]) for m in self.members])
        self.voters = tuple([identity(m[0], m[1]) for m in self.members if m[2] == VOTER])
        self.learners = tuple([identity(m[0], m[1]) for m in self.members if m[2] == LEARNER])
        self.majority = len(self.voters) // 2 + 1

    def holds(self, who):
        """True if identity `who` is a voter or a learner."""
        return who in self.voters or who in self.learners

    def place(self, who):
        """Where identity `who`, a voter or learner, stands in `members`; None if it is neither."""
        return self.identities.index(who) if self.holds(who) else None

    def find(self, member):
        """(incarnation, role, chip) that id `member` had last; (0, REMOVED, 0): never any."""
        for found in self.members:
            if found[0] == member:
                return found[1:]
        return 0, REMOVED, 0

    def changed(self, member, incarnation, role, chip):
        """The same with one member changed or added."""
        others = [m for m in self.members if m[0] != member]
        return Configuration(others + [(member, incarnation, role, chip)])

    def with_chips(self, chips):
        """The same with the chips that were not known, by id."""
        return Configuration([m[:3] + (m[3] or chips.get(m[0], 0),) for m in self.members])

    def encode(self):
        data = bytearray(_SIZE * len(self.members))
        for i, (member, incarnation, role, chip) in enumerate(self.members):
            pack_into("<BBHI", data, _SIZE * i, member, role, incarnation, chip)
        return bytes(data)


def decode(data):
    """The Configuration that `encode` wrote. Raises ValueError if it did not."""
    members = []
    before = NOBODY
    for at in range(0, len(data) - _SIZE + 1, _SIZE):
        member, role, incarnation, chip = unpack_from("<BBHI", data, at)
        if not before < member < FIRST_PC or role > VOTER or chip >= COUNTER_LIMIT:
            break
        members.append((member, incarnation, role, chip))
        before = member
    if len(members) * _SIZE != len(data):
        raise ValueError("not a configuration: wrong at member %d" % (len(members) + 1))
    return Configuration(members)


def is_configuration(data):
    """True if `decode` takes `data`."""
    try:
        decode(data)
    except ValueError:
        return False
    return True


def find_newest(raft, index):
    """(index, Configuration) of the newest one at or below `index`: in the log, else the one that
    the snapshot holds, else the first one."""
    log = raft.log
    while index > raft.snapshot.index:
        kind, data = log.entry(index)[1:]
        if kind == CONFIGURATION:
            return index, decode(data)
        index -= 1
    return raft.snapshot.index, raft.snapshot.configuration


def take_effect(raft, index, configuration):
    """From now on `configuration`, at `index` of the log, is the one that counts (thesis 4.1)."""
    raft.configuration = configuration
    raft.configuration_index = index
    if raft.role != LEADER:
        return
    # No ack of a heartbeat sent before says anything about the new majority (rule 5).
    raft.lease_from_seq = raft.append_seq
    followers = {}
    for who in configuration.voters + configuration.learners:
        if who != raft.identity:
            follower = raft.followers.get(who)
            followers[who] = follower or raft.new_follower()
    raft.followers.clear()
    raft.followers.update(followers)


def may_stand(raft):
    """True if this board is a voter, or was one and its removal is not committed yet: it may hold
    what nobody else does (thesis 4.2.2). Not if there is no term or index left to lead with."""
    if raft.term + 1 >= COUNTER_LIMIT or raft.log.is_at_end():
        return False
    if raft.identity in raft.configuration.voters:
        return True
    if raft.commit_index >= raft.configuration_index:
        return False
    return raft.identity in find_newest(raft, raft.configuration_index - 1)[1].voters


def count(raft, identities):
    """How many of `identities` are voters, each once."""
    voters = raft.configuration.voters
    return sum([1 for voter in voters if voter in identities])


def may_change(raft):
    """Whether a change can begin: none is under way, and an entry of this term is committed."""
    return (
        raft.transfer_to == NOBODY
        and not raft.log.is_at_end()
        and raft.commit_index >= raft.configuration_index
        and raft.log.term_at(raft.commit_index) == raft.term
    )


def change(raft, member, incarnation, role, chip):
    """Leader: append the configuration with one member changed; return its index.

    Raises NotNow; ValueError, with a sentence, if no such member can be, or if the voters that
    would then be needed are not heard now: such a change would end in a cluster that commits
    nothing any more.
    """
    assert raft.role == LEADER
    if not NOBODY < member < FIRST_PC:
        raise ValueError("boards have the ids 1 to %d, not %d" % (FIRST_PC - 1, member))
    if incarnation > _INCARNATION_MAX:
        raise ValueError("board %d was let in too often: give it another id" % member)
    if not may_change(raft):
        raise NotNow()
    new = raft.configuration.changed(member, incarnation, role, chip)
    if len(new.members) > MEMBERS_MAX:
        raise ValueError("a cluster has at most %d ids, those of removed boards too" % MEMBERS_MAX)
    added = [v for v in new.voters if v not in raft.configuration.voters]
    removed = [v for v in raft.configuration.voters if v not in new.voters]
    if len(added) + len(removed) > 1:
        raise ValueError("one voter at a time: let board %d be a learner first" % member)
    heard = [v for v in new.voters if v == raft.identity or _answers(raft, v)]
    if len(heard) < new.majority:
        raise ValueError(
            "of the %d voters that there would be only %d are heard" % (len(new.voters), len(heard))
        )
    raft.heartbeat_at_ms = raft.now_ms
    return raft.append_own(CONFIGURATION, new.encode())


def _answers(raft, who):
    """True if `who` has lately answered this leader; that it was elected says nothing of that."""
    return raft.lately_heard(who) and raft.followers[who].heard_seq > 0


def order(raft, member, role):
    """Leader: what a person asked for; see `change`. Raises ValueError also if `member` is none."""
    incarnation, present, chip = raft.configuration.find(member)
    if present == REMOVED or present == role:
        raise ValueError("board %d is not what could be changed so" % member)
    return change(raft, member, incarnation, role, chip)


# What a leader does by itself.


def note_progress(raft, follower):
    """An ack of `follower` has come: since when has it been caught up?"""
    if raft.log.last_index - follower.match_index > raft.settings.window // 4:
        follower.caught_up_ms = None
    elif follower.caught_up_ms is None:
        follower.caught_up_ms = raft.now_ms


def tend(raft):
    """Leader, with each heartbeat: bring the voters to their planned number, one change at a time.

    A learner that has been caught up for `promote_ms` becomes a voter while there are too few; from
    an odd number only when two are ready, as an even one bears no more deaths. A voter that was
    silent for `remove_ms` makes room for a ready learner, if there is one.
    """
    configuration = raft.configuration
    if not configuration.learners or not may_change(raft):
        return
    ready = [who for who in configuration.learners if _is_ready(raft, raft.followers[who])]
    if not ready:
        return
    for who in configuration.voters:
        if who != raft.identity:
            if raft.now_ms - raft.followers[who].heard_ms >= raft.settings.remove_ms:
                _try(raft, who, REMOVED)
                return
    voters = len(configuration.voters)
    if voters < raft.settings.planned_voters and (voters % 2 == 0 or len(ready) > 1):
        _try(raft, ready[0], VOTER)


def _is_ready(raft, follower):
    since_ms = follower.caught_up_ms
    if since_ms is None or raft.now_ms - follower.heard_ms > raft.settings.election_max_ms:
        return False
    return raft.now_ms - since_ms >= raft.settings.promote_ms


def _try(raft, who, role):
    try:
        order(raft, who & 0xFF, role)
    except ValueError:
        pass  # too few are heard: later, perhaps
