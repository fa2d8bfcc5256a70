"""Members, voters and learners (thesis 4; Ongaro 2015; design rules 1 and 7): one test a rule."""

from struct import pack

from raft import entries, membership
from raft.core import Busy
from raft.intlist import set_command
from raft.membership import MEMBERS_MAX, Configuration, NotNow, change, decode, order
from raft.message import (
    ACK,
    CANDIDATE,
    COMMITTED,
    CONFIGURATION,
    COUNTER_LIMIT,
    FIRST_PC,
    FOLLOWER,
    GRANTED,
    LEADER,
    LEARNER,
    NOBODY,
    NOOP,
    PROMISED,
    REMOVED,
    SNAPSHOT_ACK,
    SUCCESS,
    TIMEOUT_NOW,
    VOTE,
    VOTE_REQUEST,
    VOTER,
    Message,
    identity,
)
from raft.settings import Settings
from raft.wire import FREE_IN_APPEND
from tests.portable.table import LONG_MS, Member, Table, name, raises


class Growing(Table):
    """A Table to which boards can come: they have no first configuration, as they will on radio."""

    def __init__(self, n=3, settings=None):
        self.first = list(range(1, n + 1))
        Table.__init__(self, n, settings)

    def _seat(self, me, durable):
        first = self.first if me in self.first else []
        self.members[me] = Member(me, first, durable, self.settings)
        self.members[me].raft.start(self.now_ms)

    def join(self, leader, me):
        """Board `me` is switched on, and `leader` takes it in as a learner."""
        self.voters.append(me)
        self._seat(me, None)
        change(self[leader], me, 1, LEARNER, me)
        self.beat(leader)
        assert self[me].configuration.holds(name(me))

    def beat(self, leader, ms=50, rounds=4):
        """Time passes, and only `leader` does anything by itself."""
        for _ in range(rounds):
            self.tick(ms, [leader])
            for me in self.voters:
                self[me].now_ms = self.now_ms
            self.settle()

    def order(self, leader, member, role):
        """The leader is told to, and all hear of it."""
        index = order(self[leader], member, role)
        self.flush(leader)
        self.spread(leader)
        return index

    def isolate(self, *boards):
        """Nothing passes between `boards` and the others."""
        side = {me: me in boards for me in self.voters}
        self.cut = {(a, b) for a in side for b in side if side[a] != side[b]}


def led(n=3, settings=None):
    table = Growing(n, settings)
    table.elect(1)
    return table


def roles(table, me):
    return [(m[0], m[2]) for m in table[me].configuration.members]


def says(kind, src, incarnation, term, dst=1):
    """A frame of board (`src`, `incarnation`), to be filled in."""
    message = Message()
    message.type, message.src, message.incarnation = kind, src, incarnation
    message.dst, message.term = dst, term
    return message


# The entry.


def test_a_configuration_is_what_was_encoded():
    members = [(3, 2, REMOVED, 0), (1, 1, VOTER, 77), (223, 65535, LEARNER, COUNTER_LIMIT - 1)]
    configuration = Configuration(members)
    again = decode(configuration.encode())
    assert again.members == configuration.members == tuple(sorted(members))
    assert again.voters == (identity(1, 1),) and again.learners == (identity(223, 65535),)
    assert len(configuration.encode()) == 8 * 3


def test_the_same_members_have_the_same_bytes():
    members = [(me, 1, VOTER, me) for me in (5, 2, 9, 1)]
    assert Configuration(members).encode() == Configuration(sorted(members)).encode()


def test_nobody_is_a_configuration_too():
    """A board that joins begins with it: it has no voters, so it can elect nobody."""
    assert decode(b"").members == () and Configuration().encode() == b""
    assert Configuration().majority == 1 and not Configuration().voters


def test_a_majority_is_more_than_half_of_the_voters():
    for voters, majority in ((1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)):
        members = [(me, 1, VOTER, 0) for me in range(1, voters + 1)]
        members += [(100 + me, 1, LEARNER, 0) for me in range(9)] + [(200, 1, REMOVED, 0)]
        assert Configuration(members).majority == majority


def test_what_is_no_configuration_is_refused():
    """Each malformed form, and the place where it is wrong."""

    def member(me=2, role=VOTER, incarnation=1, chip=0):
        return pack("<BBHI", me, role, incarnation, chip)

    bad = [member()[:size] for size in range(1, 8)]
    bad += [member() + member(3)[:size] for size in range(1, 8)]
    bad += [member(NOBODY), member(FIRST_PC), member(255)]
    bad += [member(role=VOTER + 1), member(role=255)]
    bad += [member(chip=COUNTER_LIMIT), member(chip=(1 << 32) - 1)]
    for data in bad:
        raises(ValueError, decode, data)
        assert not membership.is_configuration(data), data
    for after in (member(2), member(1)):  # twice, descending
        assert "member 2" in str(raises(ValueError, decode, member(2) + after))
    assert membership.is_configuration(member(FIRST_PC - 1))


def test_a_frame_with_a_malformed_configuration_is_dropped():
    """It would take effect at once, on every board that appends it."""
    table = led()
    good = Configuration([(1, 1, VOTER, 0)]).encode()
    for data, reason in ((good, None), (good[:-1], "body"), (good + good, "body")):
        message = says(1, 2, 1, 1, 255)
        message.entries.append((1, CONFIGURATION, data))
        buf = bytearray(250)
        length = table.members[2].codec.encode(message, buf)
        assert table.members[3].codec.decode(buf, length, Message()) == reason


def test_a_removed_id_keeps_its_incarnation():
    """Design rule 7: the highest ever used of each id, also of those that are no members."""
    first = Configuration([(1, 1, VOTER, 11), (2, 4, VOTER, 22)])
    after = first.changed(2, 4, REMOVED, 22)
    assert after.find(2) == (4, REMOVED, 22) and not after.holds(identity(2, 4))
    assert after.find(9) == (0, REMOVED, 0), "never any"
    assert first.find(2) == (4, VOTER, 22), "a configuration does not change"


def test_only_one_incarnation_of_an_id_is_a_member():
    first = Configuration([(1, 1, VOTER, 11), (2, 4, VOTER, 22)])
    after = first.changed(2, 5, LEARNER, 22)
    assert after.holds(identity(2, 5)) and not after.holds(identity(2, 4))
    assert after.voters == (identity(1, 1),)


def test_a_chip_that_is_known_is_not_replaced_by_one_that_is_heard():
    first = Configuration([(1, 1, VOTER, 11), (2, 1, VOTER, 0), (3, 1, VOTER, 0)])
    after = first.with_chips({1: 99, 2: 22, 7: 77})
    assert [m[3] for m in after.members] == [11, 22, 0]


def test_the_largest_cluster_fits_into_one_frame():
    members = [(me, 1, VOTER, 0) for me in range(1, MEMBERS_MAX + 1)]
    entry = (1, CONFIGURATION, Configuration(members).encode())
    assert entries.size_of(entry, entries.first_of(0)) <= FREE_IN_APPEND


def test_more_ids_than_fit_are_refused():
    table = led()
    others = [(me, 1, REMOVED, 0) for me in range(4, MEMBERS_MAX + 1)]
    raft = table[1]
    raft.append_own(
        CONFIGURATION, Configuration(list(raft.configuration.members) + others).encode()
    )
    table.beat(1)
    assert len(raft.configuration.members) == MEMBERS_MAX
    assert "at most" in str(raises(ValueError, change, raft, 99, 1, LEARNER, 0))
    change(raft, MEMBERS_MAX, 2, LEARNER, 0)  # an id that was used already is none more


# When it counts.


def test_the_first_entry_of_a_cluster_is_its_first_configuration():
    """A board that joins later knows nothing but the log."""
    table = Table()
    table[1].chips.update({1: 1, 2: 2, 3: 3})
    table.elect(1)
    term, kind, data = table.entries(3)[0]
    assert (term, kind) == (1, CONFIGURATION)
    assert decode(data).members == table[1].configuration.members
    table.elect(2)
    assert table.entries(2)[1][:2] == (2, NOOP), "only the first one"


def test_the_first_configuration_tells_the_chips_that_were_heard():
    table = Table()
    for me in table.voters:
        table[me].configuration = Configuration([(m, 1, VOTER, 0) for m in table.voters])
    table[1].chips.update({1: 11, 3: 33})
    table.elect(1)
    assert [m[3] for m in decode(table.entries(2)[0][2]).members] == [11, 0, 33]


def test_it_counts_from_when_it_is_appended():
    """Thesis 4.1: 'a server always uses the latest configuration in its log', committed or not."""
    table = led()
    table.join(1, 4)
    order(table[1], 4, VOTER)
    assert table[1].majority() == 3 and table[1].configuration_index == table[1].log.last_index
    assert table[1].commit_index < table[1].log.last_index
    table.isolate(1, 2)
    table.flush(1)
    table.spread(1)
    assert table[2].majority() == 3, "a follower too"
    assert table[1].commit_index < table[1].log.last_index, "two of three would have been enough"
    table.cut = set()
    table.beat(1)
    assert table[1].commit_index == table[1].log.last_index


def test_it_is_taken_back_with_its_entry():
    """Thesis 4.1: a server falls back to the configuration before when the entry is deleted."""
    table = led(5)
    table.isolate(1, 2)
    order(table[1], 5, REMOVED)
    table.flush(1)
    table.tick(0, [1])
    table.settle()
    assert roles(table, 2)[4] == (5, REMOVED) and table[2].majority() == 3
    table.elect(3)
    table.cut = set()
    table.beat(3)
    for me in table.voters:
        assert roles(table, me)[4] == (5, VOTER) and table[me].configuration_index == 1, me


def test_it_outlives_a_power_cut():
    table = led()
    table.join(1, 4)
    for me in table.voters:
        before = table[me].configuration.members
        table.crash(me)
        assert table[me].configuration.members == before and table[me].configuration_index == 2


def test_it_outlives_its_entry_in_a_snapshot():
    """etcd #11510, PySyncObj #133 (pitfall 27)."""
    table = led(3, Settings(snapshot_entries=4, keep_entries=0))
    table.join(1, 4)
    for value in range(6):
        table.write(1, set_command(0, value))
    table.beat(1)
    for me in table.voters:
        assert table[me].log.base_index > table[me].configuration_index - 1
        table.crash(me)
        assert roles(table, me) == [(1, VOTER), (2, VOTER), (3, VOTER), (4, LEARNER)], me
        assert table[me].configuration_index == table[me].snapshot.index


def test_a_snapshot_holds_the_configuration_of_its_index_not_a_later_one():
    """etcd #11510: the change behind it may still be taken back."""
    table = led(3, Settings(snapshot_entries=4, keep_entries=0))
    for value in range(2):
        table.write(1, set_command(0, value))
    raft = table[1]
    raft.propose(set_command(0, 2))
    table.tick(0, [1])
    change_index = order(raft, 3, LEARNER)
    for _, dst, frame in [table.frames.pop(0) for _ in range(len(table.frames))]:
        table.hand(dst, frame)
    table.settle()
    assert raft.snapshot.index == change_index - 1 == raft.commit_index
    assert raft.configuration.find(3)[1] == LEARNER
    assert raft.snapshot.configuration.find(3)[1] == VOTER
    assert decode(raft.snapshot.image[2 : 2 + 24]).find(3)[1] == VOTER


def test_a_board_that_is_sent_a_snapshot_has_its_configuration():
    table = led(3, Settings(snapshot_entries=4, keep_entries=0))
    table.join(1, 4)
    table.isolate(4)
    order(table[1], 3, LEARNER)
    table.flush(1)
    table.spread(1)
    for value in range(9):
        table.write(1, set_command(0, value))
    assert table[1].log.base_index > table[4].log.last_index
    table.cut = set()
    table.beat(1, 50, 20)
    assert table[4].snapshot.index and roles(table, 4) == roles(table, 1)
    assert table[4].configuration.voters == (name(1), name(2))


# One at a time.


def elect_slowly(table, me, *helpers):
    """Make `me` a leader that has not heard an ack yet."""
    table.now_ms += LONG_MS
    table[me].election_at_ms = table.now_ms
    table.tick(0, [me])
    while table[me].role != LEADER:
        _, dst, frame = table.frames.pop(0)
        if dst == me or dst in helpers:
            table.hand(dst, frame)
    table.frames.clear()


def test_no_change_before_an_entry_of_the_own_term_is_committed():
    """Ongaro, raft-dev 2015 (pitfall 2): two leaders, each with a change from the same old one."""
    table = led(4)
    elect_slowly(table, 2, 3, 4)
    for who in table[2].followers:
        table[2].followers[who].heard_seq = 1  # they are heard, that is not why
    raises(NotNow, order, table[2], 4, REMOVED)
    table.spread(2)
    assert table[2].log.term_at(table[2].commit_index) == table[2].term
    order(table[2], 4, REMOVED)


def test_two_leaders_cannot_change_from_the_same_configuration_to_disjoint_ones():
    """The script of raft-dev 2015: 1 of {1 2 3 4} begins to remove 4 and nobody hears it; 2 leads
    and removes 3; then 1 must not lead with 1, 2 or 3 alone."""
    table = led(4)
    table.isolate(1)
    order(table[1], 4, REMOVED)
    table.flush(1)
    assert table[1].configuration.voters == (name(1), name(2), name(3))
    table.elect(2)
    table.order(2, 3, REMOVED)
    assert table[2].commit_index == table[2].configuration_index
    table.isolate(1, 3)  # a majority of what 1 believes in
    table.tick(LONG_MS, [1])
    for _ in range(30):
        table.tick(50, [1, 3])
        table.settle()
    assert table[1].role != LEADER and table[3].role != LEADER
    assert table[2].log.entry(table[2].configuration_index)[0] == 2


def test_one_change_at_a_time():
    """Thesis 4.1: the next begins only when the one before is committed."""
    table = led(5)
    index = order(table[1], 5, REMOVED)
    raises(NotNow, order, table[1], 4, REMOVED)
    raises(NotNow, order, table[1], 4, LEARNER)
    table.flush(1)
    table.spread(1)
    assert table[1].commit_index == index
    order(table[1], 4, REMOVED)


def test_no_change_while_leadership_is_handed_over():
    """Its successor could not catch up with a log that grows (thesis 3.10)."""
    table = led()
    table[1].transfer(3)
    raises(NotNow, order, table[1], 2, LEARNER)
    raises(Busy, table[1].propose, b"")


def test_two_voters_at_once_are_refused():
    """Thesis 4.1: only then have any two majorities a member in common. To put another board into
    a voter's place is two: one goes, one comes."""
    table = led()
    last = table[1].log.last_index
    error = raises(ValueError, change, table[1], 3, 2, VOTER, 33)
    assert "one voter at a time" in str(error) and table[1].log.last_index == last
    change(table[1], 3, 2, LEARNER, 33)


def test_a_change_that_leaves_no_majority_that_is_heard_is_refused():
    """It would never be committed, and nothing after it either."""
    table = led()
    table.isolate(2)
    table.beat(1, 50, 8)
    assert table[1].role == LEADER and table[1].lately_heard(name(3))
    assert "heard" in str(raises(ValueError, order, table[1], 3, REMOVED))
    assert table[1].role == LEADER and table[1].configuration_index == 1
    table.order(1, 2, REMOVED)
    assert roles(table, 3)[1] == (2, REMOVED), "the one that is silent may go"


def test_a_board_that_never_answered_this_leader_is_not_heard():
    """That a leader was elected says nothing of who hears it now."""
    table = led()
    elect_slowly(table, 2, 3)
    table[2].commit_index = table[2].log.last_index  # as if it had heard acks, and then
    for who in table[2].followers:
        assert table[2].lately_heard(who) and table[2].followers[who].heard_seq == 0
    raises(ValueError, order, table[2], 1, LEARNER)


def test_the_last_voter_cannot_go():
    table = led(1)
    assert table[1].role == LEADER
    for role in (REMOVED, LEARNER):
        raises(ValueError, order, table[1], 1, role)


def test_an_order_about_nobody_or_to_no_effect_is_refused():
    table = led()
    for member, role in ((9, VOTER), (9, REMOVED), (2, VOTER)):
        assert "board %d" % member in str(raises(ValueError, order, table[1], member, role))
    table.order(1, 3, REMOVED)
    raises(ValueError, order, table[1], 3, VOTER)


# Learners.


def test_learners_never_count_for_a_commit():
    """Thesis 4.2.1; design rule 1."""
    table = led()
    table.join(1, 4)
    table.join(1, 5)
    table.isolate(1, 4, 5)
    index = table[1].propose(set_command(0, 1))
    table.spread(1)
    assert table[4].log.last_index == table[5].log.last_index == index
    assert table[1].commit_index < index
    table.cut = set()
    table.beat(1)
    assert table[1].commit_index == index


def test_learners_never_count_for_an_election():
    table = led()
    table.join(1, 4)
    table.join(1, 5)
    table.isolate(2, 4, 5)
    table.now_ms += LONG_MS
    table[2].election_at_ms = table.now_ms
    for _ in range(10):
        table.tick(50, [2])
        table.settle()
    assert table[2].role != LEADER
    table[2].become_pre_candidate()
    table[2].become_candidate()
    for me in (4, 5):
        vote = says(VOTE, me, 1, table[2].term, 2)
        vote.flags, vote.dst_incarnation = GRANTED, 1
        table[2].receive(vote, table.now_ms)
    assert table[2].role == CANDIDATE and name(4) in table[2].granted


def test_a_leader_that_hears_only_learners_steps_down():
    """Thesis 6.2: CheckQuorum is about voters."""
    table = led()
    table.join(1, 4)
    table.join(1, 5)
    table.isolate(1, 4, 5)
    table.beat(1, 50, 8)
    assert table[1].role == FOLLOWER


def test_a_learner_confirms_no_read():
    table = led()
    table.join(1, 4)
    table.join(1, 5)
    table.isolate(1, 4, 5)
    answers = []
    table.members[1].reads.begin(answers.append)
    table.spread(1)
    assert answers == []
    table.cut = set()
    table.beat(1)
    assert answers == [COMMITTED]


def test_a_learner_does_not_stand():
    table = led()
    table.join(1, 4)
    table.now_ms += LONG_MS
    for _ in range(20):
        table.tick(100, [4])
    assert table[4].role == FOLLOWER and table[4].term == 1 and not table.frames


def test_a_learner_gives_its_vote_for_it_may_be_a_voter_without_knowing():
    """raft-rs #57, etcd #10998 (pitfall 22); design rule 1: a board answers every request. Board 2
    has the entry that makes 4 a voter; 4 does not, and without its vote nobody leads."""
    table = led()
    table.join(1, 4)
    table.isolate(4)
    table.order(1, 4, VOTER)
    assert table[4].configuration.learners == (name(4),)
    assert table[2].majority() == 3
    table.isolate(1)
    table.elect(2)
    assert table[4].vote == name(2) and table[4].configuration.voters[-1] == name(4)


def test_a_promoted_learner_counts_with_what_it_has():
    table = led()
    table.join(1, 4)
    table.order(1, 4, VOTER)
    table.isolate(1, 2, 4)
    index = table.write(1, set_command(0, 3))
    assert table[1].commit_index == index and table[1].majority() == 3


# Removal.


def test_a_leader_that_is_being_removed_leads_on_and_does_not_count_itself():
    """Thesis 4.2.2."""
    table = led(3)
    table.isolate(1)
    index = order(table[1], 1, REMOVED)
    table.flush(1)
    assert table[1].role == LEADER and table[1].majority() == 2
    table.cut = {(1, 3), (3, 1)}
    table.spread(1)
    assert table[1].commit_index < index, "itself and one of two would not be a majority of two"
    assert table[1].role == LEADER


def test_a_leader_whose_removal_is_committed_steps_down_and_hands_over():
    """Thesis 4.2.2, and 3.10: the others need not wait for an election timeout."""
    table = led(3)
    table.cut = {(1, 2)}
    table.write(1, set_command(0, 1))  # board 3 has most
    table.cut = {(2, 1)}
    index = order(table[1], 1, REMOVED)
    table.flush(1)
    table.cut = set()
    table.tick(0, [1])
    table.beat(1, 20, 4)
    assert table[1].role == FOLLOWER and table[1].commit_index >= index
    leaders = [me for me in (2, 3) if table[me].role == LEADER]
    assert len(leaders) == 1 and table[leaders[0]].term == 2
    assert not table[1].followers


def test_the_successor_is_a_voter_that_has_all_that_is_committed():
    table = led(5)
    table.isolate(2)
    order(table[1], 1, REMOVED)
    table.tick(0, [1])
    told = []
    while table.frames:
        _, dst, frame = table.frames.pop(0)
        if frame[1] == TIMEOUT_NOW:
            told.append(dst)
        table.hand(dst, frame)
    assert table[1].role == FOLLOWER and len(told) == 1 and told[0] in (3, 4, 5)
    assert table[told[0]].role == LEADER, "and board 2 was not waited for"


def test_a_leader_that_is_demoted_steps_down_too():
    table = led(3)
    order(table[1], 1, LEARNER)
    table.flush(1)
    table.spread(1)
    table.beat(1, 20, 4)
    assert table[1].role == FOLLOWER and roles(table, 2)[0] == (1, LEARNER)
    assert [table[me].role for me in (2, 3)].count(LEADER) == 1


def test_a_candidate_that_is_no_voter_does_not_count_itself():
    """Thesis 4.2.2: it may stand until its removal is committed, as the only one that has it."""
    table = led(3)
    table.isolate(3)
    table.cut |= {(2, 1)}
    order(table[1], 1, REMOVED)
    table.flush(1)
    table.tick(0, [1])
    table.settle()
    table[1].become_follower(1, NOBODY)
    assert membership.may_stand(table[1]) and name(1) not in table[1].configuration.voters
    table.cut = {(1, 3), (3, 1), (2, 3), (3, 2)}
    table[1].election_at_ms = table.now_ms = table.now_ms + LONG_MS
    table.tick(0, [1])
    table.settle()
    assert table[1].role != LEADER, "itself and board 2 are one voter of two"
    table.cut = set()
    table.elect(1)
    assert table[1].commit_index > table[1].configuration_index and table[1].role == FOLLOWER


def test_a_board_whose_removal_is_committed_does_not_stand():
    table = led(3)
    table.order(1, 3, REMOVED)
    table.beat(1)
    assert table[3].commit_index >= table[3].configuration_index
    table.now_ms += LONG_MS
    for _ in range(10):
        table.tick(100, [3])
    assert table[3].role == FOLLOWER and table[3].term == 1 and not table.frames


def test_a_removed_board_that_does_not_know_deposes_nobody():
    """canonical/raft #137 (pitfall 21); thesis 4.2.3."""
    table = led(4)
    table.isolate(4)
    table.order(1, 4, REMOVED)
    table.now_ms += LONG_MS
    table.tick(0, [4])
    assert table[4].configuration.voters[-1] == name(4)
    table[1].heartbeat_at_ms = table.now_ms
    for follower in table[1].followers.values():
        follower.heard_ms = table.now_ms
    table.cut = set()
    for _ in range(40):
        table.tick(20)
        table.settle()
    assert table[1].role == LEADER and table[1].term == 1


# Who has a say.


def test_the_answers_of_others_have_no_say_and_neither_has_their_term():
    """Design rule 1: who was removed must not depose anybody; and is noted as a stranger."""
    table = led()
    table.order(1, 3, REMOVED)
    for kind in (ACK, VOTE, SNAPSHOT_ACK):
        for src, incarnation in ((3, 1), (9, 1), (2, 2), (2, 0)):
            table[1].stranger = NOBODY
            message = says(kind, src, incarnation, 99)
            message.flags = SUCCESS | PROMISED
            table[1].receive(message, table.now_ms)
            assert table[1].role == LEADER and table[1].term == 1, (kind, src)
            assert table[1].stranger == src
    table[1].receive(says(ACK, 2, 1, 99), table.now_ms)
    assert table[1].term == 99, "a member's term counts"


def test_an_ack_of_an_incarnation_that_is_no_member_counts_for_nothing():
    """Design rule 1: board 2 lost its flash, and what its predecessor acknowledged is gone."""
    table = led()
    table.isolate(2, 3)
    index = table[1].propose(set_command(0, 1))
    table.flush(1)
    ack = says(ACK, 2, 2, 1)
    ack.heard_epoch, ack.heard_seq = 1, table[1].append_seq
    ack.flags, ack.index = SUCCESS | PROMISED, index
    table[1].receive(ack, table.now_ms)
    assert table[1].commit_index < index and table[1].followers[name(2)].match_index < index
    ack.incarnation = 1
    table[1].receive(ack, table.now_ms)
    assert table[1].commit_index == index


def test_a_vote_of_an_incarnation_that_is_no_member_counts_for_nothing():
    table = Table()
    table[1].become_pre_candidate()
    table[1].become_candidate()
    table.flush(1)
    for src, incarnation in ((2, 2), (2, 0), (9, 1)):
        vote = says(VOTE, src, incarnation, 1)
        vote.flags, vote.dst_incarnation = GRANTED, 1
        table[1].receive(vote, table.now_ms)
    assert table[1].role == CANDIDATE and table[1].granted == [name(1)]
    vote.src, vote.incarnation = 2, 1
    table[1].receive(vote, table.now_ms)
    assert table[1].role == LEADER


def test_what_leaders_and_candidates_ask_counts_from_anybody():
    """They may be members in a configuration that has not come to us (design rule 1)."""
    table = led()
    table[2].receive(_request(9, 1, 5), table.now_ms + LONG_MS)
    assert table[2].term == 5 and table[2].vote == name(9)
    append = says(1, 9, 1, 5, 255)
    append.prev_index, append.prev_term = table[2].log.last_index, table[2].log.last_term
    append.commit_index, append.promise_ms = 0, 0
    table[2].receive(append, table.now_ms + LONG_MS)
    assert table[2].leader == 9


def _request(src, incarnation, term, flags=0):
    request = says(VOTE_REQUEST, src, incarnation, term, 255)
    request.last_index, request.last_term, request.flags = 99, term, flags
    return request


def test_two_incarnations_of_one_id_do_not_share_a_vote():
    """Design rule 7; logcabin #195, cockroach #29524 (pitfall 33)."""
    table = Table()
    table.now_ms = LONG_MS
    table[3].receive(_request(1, 1, 1), table.now_ms)
    assert table[3].vote == identity(1, 1)
    answers = []
    table.members[3].save()

    def note(m):
        answers.append((m.dst, m.dst_incarnation, m.flags))

    table[3].outbox.drain_late(note, True)
    for incarnation in (2, 1):
        table[3].receive(_request(1, incarnation, 1), table.now_ms)
    table[3].outbox.drain_late(note, True)
    assert answers == [(1, 1, GRANTED), (1, 2, 0), (1, 1, GRANTED)]


def test_a_vote_for_another_incarnation_is_none_for_this_one():
    table = Table()
    for incarnation in (2, 0):
        table[1].become_follower(table[1].term, NOBODY)
        table[1].become_pre_candidate()
        table[1].become_candidate()
        vote = says(VOTE, 2, 1, table[1].term)
        vote.flags, vote.dst_incarnation = GRANTED, incarnation
        table[1].receive(vote, table.now_ms)
        assert table[1].role == CANDIDATE


def test_the_vote_of_an_identity_outlives_a_power_cut():
    table = Table()
    table.now_ms = LONG_MS
    table[3].receive(_request(1, 7, 4), table.now_ms)
    table.flush(3)
    table.crash(3)
    assert table[3].vote == identity(1, 7)
    table[3].receive(_request(1, 8, 4), table.now_ms + LONG_MS)
    table[3].receive(_request(2, 7, 4), table.now_ms + LONG_MS)
    assert table[3].vote == identity(1, 7)


# What a leader does by itself.

QUICK = Settings(promote_ms=500, remove_ms=2000, planned_voters=5)


def test_a_learner_becomes_a_voter_when_that_makes_their_number_odd():
    """Design, growth: 2 -> 3 with one that was caught up for `promote_ms`, and not sooner."""
    table = led(2, QUICK)
    table.join(1, 3)
    caught_up_ms = table[1].followers[name(3)].caught_up_ms
    while table.now_ms < caught_up_ms + 450:
        table.beat(1, 50, 1)
        assert name(3) in table[1].configuration.learners
    table.beat(1, 50, 3)
    assert len(table[1].configuration.voters) == 3 and table[1].configuration.learners == ()
    assert table[3].configuration.members == table[1].configuration.members


def test_from_an_odd_number_only_when_two_are_ready():
    """An even number bears no more deaths than the odd one below: 3 -> 5 in two changes."""
    table = led(3, QUICK)
    table.join(1, 4)
    table.beat(1, 50, 30)
    assert len(table[1].configuration.voters) == 3
    table.join(1, 5)
    table.beat(1, 50, 30)
    assert len(table[1].configuration.voters) == 5
    kinds = [e for e in table.entries(1) if e[1] == CONFIGURATION]
    assert [len(decode(e[2]).voters) for e in kinds] == [3, 3, 3, 4, 5], "one at a time"


def test_not_more_voters_than_planned():
    table = led(3, Settings(promote_ms=500, planned_voters=3))
    table.join(1, 4)
    table.join(1, 5)
    table.beat(1, 50, 40)
    assert len(table[1].configuration.voters) == 3


def test_a_learner_that_is_silent_is_not_promoted():
    table = led(2, QUICK)
    table.join(1, 3)
    table.isolate(3)
    table.beat(1, 50, 40)
    assert name(3) in table[1].configuration.learners


def test_a_learner_that_lags_is_not_promoted():
    """It would count at once, and everything would wait for it (thesis 4.2.1)."""
    table = led(2, QUICK)
    table.join(1, 3)
    lag = table[1].settings.window // 4 + 1
    follower = table[1].followers[name(3)]
    for _ in range(30):
        ack = says(ACK, 3, 1, 1)
        ack.heard_epoch, ack.heard_seq = 1, table[1].append_seq
        ack.flags, ack.index = SUCCESS, follower.match_index
        while table[1].log.last_index - follower.match_index < lag:
            table[1].append_own(NOOP, b"")
        table.cut = {(3, 1), (1, 3)}
        table[1].receive(ack, table.now_ms)
        assert follower.caught_up_ms is None
        table.beat(1, 50, 1)
    assert name(3) in table[1].configuration.learners


def test_time_that_a_new_leader_did_not_see_does_not_count():
    table = led(4, QUICK)
    table.join(1, 5)
    table.beat(1, 50, 6)
    table.elect(2)
    table.beat(2, 50, 9)
    assert name(5) in table[2].configuration.learners
    table.beat(2, 50, 4)
    assert name(5) in table[2].configuration.voters


def test_a_voter_that_is_silent_for_long_makes_room_for_one_that_stands_by():
    """Design, growth: the dead one goes first, then the ready one comes."""
    table = led(3, QUICK)
    table.join(1, 4)
    table.isolate(3)
    table.beat(1, 50, 36)
    assert roles(table, 1)[2] == (3, VOTER), "not before remove_ms"
    table.beat(1, 50, 12)
    assert table[1].configuration.voters == (name(1), name(2), name(4))
    steps = [decode(e[2]).voters for e in table.entries(1) if e[1] == CONFIGURATION]
    assert (name(1), name(2)) in steps, "one at a time"


def test_a_silent_voter_keeps_its_seat_if_nobody_stands_by():
    table = led(3, QUICK)
    table.isolate(3)
    table.beat(1, 50, 100)
    assert len(table[1].configuration.voters) == 3
    table.cut = set()
    table.join(1, 4)
    table.beat(1, 50, 100)
    assert len(table[1].configuration.voters) == 3, "nor if it is heard again"


def test_nothing_is_changed_by_itself_before_a_commit_in_the_own_term():
    """Ongaro 2015 once more: the policy passes by the same door."""
    table = led(2, QUICK)
    table.join(1, 3)
    table.beat(1, 50, 6)
    table[1].commit_index = 0
    table[1].followers[name(3)].caught_up_ms = 0
    table.now_ms += 400
    table[1].followers[name(3)].heard_ms = table[1].now_ms = table.now_ms
    last = table[1].log.last_index
    membership.tend(table[1])
    assert table[1].log.last_index == last
