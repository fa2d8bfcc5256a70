"""Leases (thesis 6.4.1; design rules 4 and 5; pitfalls 16, 16b, 17): one test a rule.

The leader's clock and the followers' are the table's, so every moment is exact to the millisecond.
"""

from raft import membership
from raft.intlist import set_command
from raft.membership import order
from raft.message import (
    ACK,
    COMMITTED,
    CONFIGURATION,
    FOLLOWER,
    GRANTED,
    LEADER,
    LEARNER,
    LEASE,
    NOBODY,
    PRE,
    PROMISED,
    REMOVED,
    SUCCESS,
    TIMEOUT_NOW,
    TRANSFER,
    VOTE_REQUEST,
    VOTER,
    Message,
)
from raft.settings import Settings
from tests.portable.table import LONG_MS, Member, Table, name

PROMISE_MS = Settings().promise_ms
LEASE_MS = Settings().lease_ms


def at(table, ms):
    """The leader's clock shows `ms`: does it hold a lease?"""
    table[1].now_ms = ms
    return table[1].lease_holds()


def heartbeat(table, leader=1):
    """The leader sends one now; returns the frames, which nobody has heard yet."""
    table[leader].heartbeat_at_ms = table.now_ms
    table.tick(0, [leader])
    frames, table.frames[:] = list(table.frames), []
    return frames


def answers(table, frames, *boards):
    """The acks of `boards` to `frames`, now; the leader has not heard them yet."""
    for _, dst, frame in frames:
        if dst in boards:
            table[dst].now_ms = table.now_ms
            table.hand(dst, frame)
    acks, table.frames[:] = list(table.frames), []
    return [ack for ack in acks if ack[2][1] == ACK]


def hear(table, frames):
    for _, dst, frame in frames:
        table.hand(dst, frame)
    table.frames[:] = []


def led(n=3, settings=None):
    """Board 1 leads; by now its last lease is over, and nobody has promised anything."""
    table = Table(n, settings)
    table.elect(1)
    quiet(table)
    assert not table[1].lease_holds() or n == 1
    return table


def quiet(table):
    """Nobody says anything for long, and yet board 1 leads on."""
    table.now_ms += LONG_MS
    for me in table.voters:
        table[me].now_ms = table.now_ms
    for follower in table[1].followers.values():
        follower.heard_ms = table.now_ms


def vote_request(src, term, flags=0):
    request = Message()
    request.type, request.src, request.incarnation = VOTE_REQUEST, src, 1
    request.dst, request.term, request.flags = 255, term, flags
    request.last_index, request.last_term = 99, term
    return request


def grants(table, me, now_ms, term=9, flags=0):
    """True if board `me` would grant a vote at `now_ms` (it does, then)."""
    table[me].outbox.drain_late(lambda m: None, True)
    table[me].receive(vote_request(2 if me != 2 else 3, term, flags), now_ms)
    table.members[me].save()
    seen = []
    table[me].outbox.drain_late(lambda m: seen.append(m.flags & GRANTED), True)
    return bool(sum(seen))


# How long it lasts.


def test_a_lease_lasts_the_promise_less_the_drift():
    """Thesis 6.4.1, and a millisecond for the clocks' steps: it must end before the promise."""
    for drift, lease_ms in ((0, 149), (2, 146), (10, 134), (50, 74)):
        assert Settings(drift_percent=drift).lease_ms == lease_ms
    for drift in range(51):
        settings = Settings(election_min_ms=1000, election_max_ms=2000, drift_percent=drift)
        assert settings.lease_ms * 100 <= (settings.promise_ms - 1) * (100 - drift)


def test_it_starts_when_the_heartbeat_left_not_when_the_ack_came():
    """etcd-io/raft #166 (pitfall 16b): the follower may have promised at once."""
    table = led()
    sent_ms = table.now_ms
    frames = heartbeat(table)
    table.now_ms += 20
    acks = answers(table, frames, 2)
    table.now_ms += 80
    hear(table, acks)
    assert at(table, sent_ms + 100) and at(table, sent_ms + LEASE_MS - 1)
    assert not at(table, sent_ms + LEASE_MS) and not at(table, sent_ms + LONG_MS)


def test_an_ack_that_comes_too_late_gives_none():
    table = led()
    acks = answers(table, heartbeat(table), 2, 3)
    table.now_ms += LEASE_MS
    hear(table, acks)
    assert not table[1].lease_holds()


def test_it_counts_from_the_oldest_heartbeat_in_the_majority():
    """Of 5: the leader and two more. The two may have answered different heartbeats."""
    table = led(5)
    first_ms = table.now_ms
    hear(table, answers(table, heartbeat(table), 2))
    assert not table[1].lease_holds(), "two of five are no majority"
    table.now_ms += 60
    hear(table, answers(table, heartbeat(table), 3))
    assert at(table, first_ms + LEASE_MS - 1) and not at(table, first_ms + LEASE_MS)
    table.now_ms = first_ms + 100
    hear(table, answers(table, heartbeat(table), 4))
    assert at(table, first_ms + 60 + LEASE_MS - 1) and not at(table, first_ms + 60 + LEASE_MS)


def test_it_goes_on_as_long_as_heartbeats_are_answered():
    table = led()
    for _ in range(20):
        table.now_ms += 50
        hear(table, answers(table, heartbeat(table), 3))
        assert table[1].lease_holds()


def test_an_ack_that_was_played_back_does_not_make_it_longer():
    """Design rule 2, etcd #20418: each ack names the heartbeat that it answers."""
    table = led()
    sent_ms = table.now_ms
    acks = answers(table, heartbeat(table), 2, 3)
    hear(table, acks)
    table.now_ms += 100
    heartbeat(table)
    hear(table, acks + acks)
    assert not at(table, sent_ms + LEASE_MS)


def test_acks_out_of_order_do_not_make_it_shorter():
    table = led()
    old = answers(table, heartbeat(table), 2)
    table.now_ms += 50
    sent_ms = table.now_ms
    hear(table, answers(table, heartbeat(table), 2))
    hear(table, old)
    assert at(table, sent_ms + LEASE_MS - 1)


def test_an_ack_of_an_earlier_boot_s_heartbeat_is_none():
    """Its sequence may be one of this boot, too: an ack names the epoch."""
    table = led()
    heartbeat(table)
    ack = Message()
    ack.type, ack.src, ack.incarnation, ack.dst, ack.term = ACK, 2, 1, 1, table[1].term
    ack.heard_seq, ack.flags, ack.index = table[1].append_seq, SUCCESS | PROMISED, 1
    for epoch in (0, 2):
        ack.heard_epoch = epoch
        table[1].receive(ack, table.now_ms)
        assert not table[1].lease_holds()
    ack.heard_epoch = 1
    table[1].receive(ack, table.now_ms)
    assert table[1].lease_holds()


def test_an_ack_of_an_earlier_term_is_none():
    table = led()
    acks = answers(table, heartbeat(table), 2, 3)
    table[1].become_follower(table[1].term, NOBODY)
    table[1].become_pre_candidate()
    table[1].become_candidate()
    table[1].become_leader()
    table.flush(1)
    table.frames[:] = []
    hear(table, acks)
    assert table[1].role == LEADER and not table[1].lease_holds()


def test_a_heartbeat_whose_departure_is_forgotten_extends_nothing():
    """The table of departures is bounded, and never guesses."""
    table = led()
    acks = answers(table, heartbeat(table), 2, 3)
    assert table[1].sent_at_ms(table[1].append_seq) == table.now_ms
    for _ in range(32):
        table[1].append_left(table[1].append_seq + 1)
    hear(table, acks)
    assert not table[1].lease_holds()


def test_departures_are_told_apart_though_frames_of_other_kinds_count_too():
    table = led()
    first = table[1].append_seq
    times = {}
    for step in (1, 3, 5, 7, 11):
        table[1].now_ms += 1
        table[1].append_left(first + step)
        times[first + step] = table[1].now_ms
    for seq, sent_ms in times.items():
        assert table[1].sent_at_ms(seq) == sent_ms
    for seq in (first + 2, first + 4, first + 100, first + 11 + 32, first + 11 - 32):
        assert table[1].sent_at_ms(seq) is None, seq


# Who gives it.


def test_only_acks_that_promise_count():
    """Design rule 5: an ack without that flag is one of a board that keeps no promise so long."""
    table = led()
    heartbeat(table)
    ack = Message()
    ack.type, ack.src, ack.incarnation, ack.dst, ack.term = ACK, 2, 1, 1, table[1].term
    ack.heard_epoch, ack.heard_seq, ack.index = 1, table[1].append_seq, 1
    ack.flags = SUCCESS
    table[1].receive(ack, table.now_ms)
    assert table[1].followers[name(2)].heard_seq == ack.heard_seq and not table[1].lease_holds()


def test_a_gap_report_promises_too():
    """The promise is about votes, not about the log."""
    table = led()
    table.cut = {(1, 2), (2, 1)}
    table.write(1, set_command(0, 1))
    table.cut = set()
    quiet(table)
    acks = answers(table, heartbeat(table), 2)
    flags = Message()
    table.members[1].codec.decode(acks[0][2], len(acks[0][2]), flags)
    assert flags.flags == PROMISED
    hear(table, acks)
    assert table[1].lease_holds()


def test_a_promise_longer_than_it_keeps_is_not_given():
    """After a reboot a board is silent for its own longest promise only (design rules 4 and 5)."""
    table = led()
    short = Settings(election_min_ms=100, heartbeat_ms=50, overhears=False)
    table.members[2] = Member(2, table.voters, table.members[2].durable, short)
    table[2].start(table.now_ms - LONG_MS)
    table[2].now_ms = table.now_ms
    frames = heartbeat(table)
    acks = answers(table, frames, 2)
    message = Message()
    table.members[1].codec.decode(acks[0][2], len(acks[0][2]), message)
    assert not message.flags & PROMISED
    assert table[2].promised_until_ms == 0
    hear(table, acks)
    assert not table[1].lease_holds()
    hear(table, answers(table, frames, 3))
    assert table[1].lease_holds()


def test_an_answer_to_an_old_term_promises_nothing():
    table = led()
    frames = heartbeat(table)
    table[2].become_follower(table[1].term + 1, NOBODY)
    acks = answers(table, frames, 2)
    message = Message()
    table.members[1].codec.decode(acks[0][2], len(acks[0][2]), message)
    assert message.flags == 0 and message.term == table[1].term + 1
    assert table[2].promised_until_ms < table.now_ms


def test_learners_give_none():
    table = led(3)
    order(table[1], 3, LEARNER)
    table.spread(1)
    quiet(table)
    frames = heartbeat(table)
    hear(table, answers(table, frames, 3))
    assert not table[1].lease_holds(), "voters are 1 and 2"
    hear(table, answers(table, frames, 2))
    assert table[1].lease_holds()


def test_a_lone_voter_has_a_lease_as_long_as_it_leads():
    table = Table(1)
    table.tick(300)
    table.tick(0)
    assert table[1].role == LEADER and table[1].lease_holds()
    assert at(table, 1 << 29)
    table[1].become_follower(table[1].term, NOBODY)
    assert not table[1].lease_holds()


def test_two_voters_need_each_other():
    table = led(2)
    assert not table[1].lease_holds()
    hear(table, answers(table, heartbeat(table), 2))
    assert table[1].lease_holds()


def test_only_a_leader_has_one():
    table = led()
    hear(table, answers(table, heartbeat(table), 2, 3))
    assert not table[2].lease_holds()
    table[1].become_follower(table[1].term + 1, NOBODY)
    assert not table[1].lease_holds()


# What ends it.


def test_it_is_void_from_before_the_order_to_take_over():
    """Design rule 5; etcd-io/raft #99: the successor stands at once, whatever was promised."""
    table = led()
    hear(table, answers(table, heartbeat(table), 2, 3))
    assert table[1].lease_holds()
    table[1].transfer(3)
    assert not table[1].lease_holds() and not table.frames


def test_it_stays_void_for_the_rest_of_the_term_when_the_transfer_is_given_up():
    """The order may still be on its way, and counts in this term."""
    table = led()
    table.cut = {(1, 3), (3, 1)}
    table[1].transfer(3)
    for _ in range(8):
        table.tick(50, [1])
        table.settle()
    assert table[1].transfer_to == NOBODY and table[1].role == LEADER
    for _ in range(5):
        table.now_ms += 50
        hear(table, answers(table, heartbeat(table), 2))
        assert not table[1].lease_holds()
    table.cut = set()
    for follower in table[1].followers.values():
        follower.heard_ms = 0
    table.tick(50, [1])
    table.elect(1)
    hear(table, answers(table, heartbeat(table), 2))
    assert table[1].lease_holds(), "a new term"


def test_a_refused_transfer_ends_nothing():
    table = led()
    hear(table, answers(table, heartbeat(table), 2))
    for target in (1, 9):
        try:
            table[1].transfer(target)
        except ValueError:
            pass
    assert table[1].lease_holds()


def test_it_is_void_when_the_members_change_until_later_heartbeats_are_answered():
    """Design rule 5: what was answered before says nothing of the new majority."""
    table = led(4)
    before = heartbeat(table)
    hear(table, answers(table, before, 2, 3))
    assert table[1].lease_holds()
    late = answers(table, before, 4)
    order(table[1], 4, REMOVED)
    assert not table[1].lease_holds()
    hear(table, late)
    assert not table[1].lease_holds()
    after = heartbeat(table)
    hear(table, answers(table, after, 2))
    assert table[1].lease_holds(), "two of three"


def test_with_a_new_voter_it_needs_the_majority_of_the_new_voters():
    table = led(3)
    raft = table[1]
    raft.append_own(CONFIGURATION, raft.configuration.changed(4, 1, LEARNER, 4).encode())
    table.spread(1)
    table.tick(50, [1])
    table.settle()
    order_index = membership.change(raft, 4, 1, VOTER, 4)
    assert raft.configuration_index == order_index and raft.majority() == 3
    frames = heartbeat(table)
    hear(table, answers(table, frames, 2))
    assert not raft.lease_holds(), "two of four"
    hear(table, answers(table, frames, 3))
    assert raft.lease_holds()


def test_a_new_term_begins_without_one():
    table = led()
    hear(table, answers(table, heartbeat(table), 2, 3))
    assert table[1].lease_holds()
    table[1].become_follower(table[1].term + 1, NOBODY)
    table[1].become_pre_candidate()
    table[1].become_candidate()
    table[1].become_leader()
    assert table[1].role == LEADER and not table[1].lease_holds()


# The promise.


def test_a_promise_holds_from_when_the_heartbeat_came():
    """Thesis 4.2.3, 6.4.1: no vote and no pre-vote, not even the term counts."""
    for flags in (0, PRE):
        table = led()
        answers(table, heartbeat(table), 2)
        came_ms = table.now_ms
        assert not grants(table, 2, came_ms, 9, flags)
        assert not grants(table, 2, came_ms + PROMISE_MS - 1, 9, flags)
        assert table[2].term == 1
        assert grants(table, 2, came_ms + PROMISE_MS, 9, flags)


def test_a_promise_outlives_the_leader_s_name():
    """A follower may forget whom it follows, for a frame of a higher term, say; not what it
    promised."""
    for forget in ("same term", "higher term"):
        table = led()
        answers(table, heartbeat(table), 2)
        came_ms = table.now_ms
        table[2].become_follower(1 if forget == "same term" else 5, NOBODY)
        assert not grants(table, 2, came_ms + PROMISE_MS - 1), forget
        assert grants(table, 2, came_ms + PROMISE_MS), forget


def test_a_leader_that_stepped_down_keeps_what_it_promised_before():
    table = led()
    answers(table, heartbeat(table), 2)
    came_ms = table.now_ms
    table[2].become_pre_candidate()
    table[2].become_candidate()
    table[2].become_follower(table[2].term, NOBODY)
    assert not grants(table, 2, came_ms + PROMISE_MS - 1)


def test_who_promised_does_not_stand_itself():
    """Its own vote is one that it has promised to withhold."""
    for me in (2, 3):
        table = led()
        answers(table, heartbeat(table), me)
        came_ms = table.now_ms
        assert table[me].election_at_ms >= came_ms + PROMISE_MS
        table[me].tick(came_ms + PROMISE_MS - 1)
        assert table[me].role == FOLLOWER


def test_no_promise_binds_against_the_leader_s_own_successor():
    """Thesis 3.10: it gave up its lease before it ordered that."""
    table = led()
    answers(table, heartbeat(table), 2)
    assert grants(table, 2, table.now_ms, 9, TRANSFER)


def test_a_promise_is_at_least_as_long_as_the_lease_on_clocks_that_drift():
    """Pitfalls 16b, 17: the leader's clock as slow, a follower's as fast as `drift_percent` allows.
    In the world's time the lease ends before the first vote against it."""
    for drift in (0, 2, 10):
        settings = Settings(drift_percent=drift)
        for begin in range(0, 1000, 37):  # parts of a millisecond, both clocks count whole ones
            sent_us = 1000 * begin + 999
            leader_ms = sent_us // 1000  # its clock runs right, the follower's too fast
            ends_us = 1000 * (leader_ms + settings.lease_ms)  # first moment without a lease
            rate = 100 / (100 - drift)
            came = int(sent_us * rate) // 1000
            votes_us = 1000 * (came + settings.promise_ms) / rate
            assert ends_us <= votes_us + 1, (drift, begin)


def test_a_leader_is_isolated_right_after_the_ack_and_the_others_elect_as_early_as_they_may():
    """Pitfall 16b: at every moment, a lease or another leader, never both."""
    table = led(3)
    hear(table, answers(table, heartbeat(table), 2, 3))
    table.cut = {(1, 2), (1, 3), (2, 1), (3, 1)}
    table[2].election_at_ms = table.now_ms
    start_ms = table.now_ms
    elected_ms = None
    while elected_ms is None:
        table.now_ms += 1
        for me in table.voters:
            table[me].now_ms = table.now_ms
        if table[2].role == FOLLOWER or table.now_ms % 10 == 0:
            table[2].election_at_ms = table.now_ms  # it asks again and again
        table.tick(0, [2])
        table.settle()
        if table[2].role == LEADER:
            elected_ms = table.now_ms
            assert not table[1].lease_holds()
    assert start_ms + PROMISE_MS <= elected_ms <= start_ms + PROMISE_MS + 20


# After a reboot.


def test_a_rebooted_voter_is_silent_for_the_longest_promise():
    """Design rule 4: it forgot what it promised. No vote, no pre-vote, no vote for a successor."""
    for flags in (0, PRE, TRANSFER):
        table = led()
        answers(table, heartbeat(table), 2)
        table.crash(2)
        boot_ms = table.now_ms
        assert not grants(table, 2, boot_ms + PROMISE_MS - 1, 9, flags)
        assert table[2].term == 1
        assert grants(table, 2, boot_ms + PROMISE_MS, 9, flags)


def test_a_rebooted_voter_does_not_stand_either():
    table = led()
    table.crash(2)
    boot_ms = table.now_ms
    assert table[2].election_at_ms >= boot_ms + PROMISE_MS
    table[2].tick(boot_ms + PROMISE_MS - 1)
    assert table[2].role == FOLLOWER and not table[2].outbox.waiting


def test_a_rebooted_voter_does_not_take_over_either():
    """Design rule 4: 'does not vote for itself, transfer votes included'."""
    table = led()
    table.crash(2)
    boot_ms = table.now_ms
    answers(table, heartbeat(table), 2)
    take_over = Message()
    take_over.type, take_over.src, take_over.incarnation, take_over.dst = TIMEOUT_NOW, 1, 1, 2
    take_over.term = table[1].term
    table[2].receive(take_over, boot_ms + PROMISE_MS - 1)
    assert table[2].role == FOLLOWER and table[2].term == 1
    table[2].receive(take_over, boot_ms + PROMISE_MS)
    assert table[2].role != FOLLOWER and table[2].term == 2


def test_a_rebooted_voter_may_promise_again_at_once():
    table = led()
    table.crash(2)
    hear(table, answers(table, heartbeat(table), 2))
    assert table[1].lease_holds()


# Reads by it.


def read(table, me, level=LEASE):
    answered = []

    def done(code):
        answered.append((code, table[me].machine.values[0]))

    table.members[me].reads.begin(done, level)
    return answered


def written():
    table = led()
    table.write(1, set_command(0, 5))
    return table


def test_a_read_by_lease_is_answered_without_a_round_trip():
    """Thesis 6.4.1."""
    table = written()
    hear(table, answers(table, heartbeat(table), 2))
    assert read(table, 1) == [(COMMITTED, 5)]
    assert table[1].outbox.waiting == 0


def test_without_a_lease_it_is_a_read_by_index():
    """Design rule 5: a stall in between makes it a ReadIndex."""
    table = written()
    hear(table, answers(table, heartbeat(table), 2))
    table.now_ms += LEASE_MS
    table[1].now_ms = table.now_ms
    answered = read(table, 1)
    assert answered == []
    table.tick(0, [1])
    table.settle()
    assert answered == [(COMMITTED, 5)]


def test_the_other_level_does_not_trust_clocks():
    table = written()
    hear(table, answers(table, heartbeat(table), 2))
    assert read(table, 1, 1) == []


def test_a_follower_asks_the_leader_for_what_its_lease_allows():
    table = written()
    hear(table, answers(table, heartbeat(table), 2))
    table.now_ms += 10
    for me in table.voters:
        table[me].now_ms = table.now_ms
    answered = read(table, 3)
    table.flush(3)
    sent = table[1].append_seq
    table.settle()
    assert answered == [(COMMITTED, 5)] and table[1].append_seq == sent, "no heartbeat for it"


def test_a_lease_before_the_first_commit_of_the_term_shows_nothing_old():
    """Thesis 6.4, step 1; etcd #7331 (pitfall 13): what older terms committed is not known yet."""
    table = written()
    table.cut = {(1, 2), (1, 3)}
    table.now_ms += LONG_MS
    table[2].election_at_ms = table.now_ms
    table.tick(0, [2])
    while table[2].role != LEADER:
        _, dst, frame = table.frames.pop(0)
        table.hand(dst, frame)
    table.frames[:] = []
    frames = heartbeat(table, 2)
    acks = answers(table, frames, 3)
    message = Message()
    table.members[2].codec.decode(acks[0][2], len(acks[0][2]), message)
    message.index = 0  # as if it had promised, and its log were behind
    message.flags = PROMISED
    table[2].receive(message, table.now_ms)
    assert table[2].lease_holds() and table[2].commit_index < table[2].log.last_index
    answered = read(table, 2)
    assert answered == []
    table.cut = set()
    for _ in range(3):
        table.tick(50, [2])
        table.settle()
    assert answered == [(COMMITTED, 5)]


def test_its_index_is_what_was_sent_too():
    """Design rule 6: a follower may have told a client of what the leader does not know to be
    committed."""
    table = written()
    hear(table, answers(table, heartbeat(table), 2))
    table[1].propose(set_command(0, 6))
    frames = heartbeat(table)
    answered = read(table, 1)
    assert answered == [] and table[1].lease_holds()
    hear(table, answers(table, frames, 2))
    assert answered == [(COMMITTED, 6)]
