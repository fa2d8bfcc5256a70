"""Log replication (§5.3) and the commit rule (§5.4.2): one test a rule."""

from raft.core import Busy, NotLeader
from raft.intlist import set_command
from raft.membership import may_change
from raft.message import (
    APPEND,
    COMMAND,
    COUNTER_LIMIT,
    FOLLOWER,
    LEADER,
    NOOP,
    PROMISED,
    SUCCESS,
    Message,
)
from raft.replication import advance_commit, on_append
from tests.portable.table import LONG_MS, Table, name, raises


def values(table, me):
    return table[me].machine.values


def test_a_write_reaches_everybody():
    table = Table(5)
    table.elect(3)
    index = table.write(3, set_command(2, 34))
    assert index == 2
    for me in table.voters:
        assert values(table, me) == [0, 0, 34, 0, 0]
        assert table.members[me].applied == [(1, 1), (2, 1)]


def test_only_the_leader_appends():
    table = Table()
    table.elect(1)
    raises(NotLeader, table[2].propose, set_command(0, 1))


def test_several_entries_travel_in_one_frame():
    table = Table()
    table.elect(1)
    for i in range(10):
        table[1].propose(set_command(i % 5, i))
    table.frames.clear()
    table.tick(0, [1])
    assert len(table.frames) == 2
    table.settle()
    assert table[2].log.last_index == 11


def test_more_entries_than_fit_into_a_frame_go_out_in_several():
    table = Table()
    table.elect(1)
    for i in range(50):
        table[1].propose(set_command(i % 5, i))
    table.tick(0, [1])
    assert len(table.frames) > 4
    table.settle()
    table.tick(0, [1])
    table.settle()
    assert table[1].commit_index == table[2].commit_index == 51


def test_the_leader_says_how_far_its_own_flash_is():
    """Thesis 10.2.1: it sends before its own write, and counts itself only after it."""
    table = Table(5)
    table.elect(1)
    raft = table[1]
    raft.propose(set_command(0, 1))
    sent = []
    raft.tick(table.now_ms)
    raft.outbox.drain_early(lambda m: sent.append((m.durable_index, len(m.entries))))
    assert sent == [(1, 1)] and raft.unsaved
    for peer in (2, 3):
        raft.followers[name(peer)].match_index = 2 if peer == 2 else 0
    raft.followers[name(3)].match_index = 2
    advance_commit(raft)
    assert raft.commit_index == 1, "two followers and an own entry that is not durable: no majority"
    raft.persisted()
    assert raft.commit_index == 2


def test_nothing_commits_without_a_majority():
    table = Table(5)
    table.elect(1)
    table.cut = {(1, 3), (1, 4), (1, 5)}
    table.write(1, set_command(0, 9))
    assert table[1].commit_index == 1 and values(table, 1)[0] == 0


def test_an_entry_of_an_older_term_is_not_committed_by_counting():
    """§5.4.2, Figure 8; logcabin #44."""
    table = Table(5)
    table.elect(1)
    table.cut = {(1, 3), (1, 4), (1, 5)}
    table[1].propose(set_command(0, 1))
    table.tick(0, [1])
    table.settle()
    table.cut = set()
    table.crash(1)
    # Leads again in term 2, with the old entry, and copies only that one to a majority.
    raft = table[1]
    raft.become_candidate()
    raft.become_leader()
    raft.persisted()
    for peer in (2, 3, 4):
        raft.followers[name(peer)].match_index = 2
    raft.commit_index = 1
    advance_commit(raft)
    assert raft.log.term_at(2) == 1 and raft.commit_index == 1
    for peer in (2, 3):
        raft.followers[name(peer)].match_index = 3
    advance_commit(raft)
    assert raft.commit_index == 3


def test_a_follower_that_missed_frames_is_repaired():
    table = Table()
    table.elect(1)
    table.cut = {(1, 3)}
    for i in range(40):
        table.write(1, set_command(i % 5, i))
    table.cut = set()
    for _ in range(20):
        table.tick(50, [1])
        table.settle()
    assert table.entries(3) == table.entries(1) and values(table, 3) == values(table, 1)


def test_an_uncommitted_tail_is_replaced_whole():
    """§5.3, Figure 7; mofa #1150: a shorter batch over a longer old tail."""
    table = Table(5)
    table.elect(1)
    table.cut = {(1, i) for i in (2, 3, 4, 5)} | {(i, 1) for i in (2, 3, 4, 5)}
    for i in range(6):
        table[1].propose(set_command(0, 100 + i))
    table.tick(0, [1])
    table.frames.clear()
    table.elect(2)
    table.write(2, set_command(1, 5))
    assert table[1].log.last_index == 7
    table.cut = set()
    for _ in range(5):
        table.tick(50, [2])
        table.settle()
    assert table.entries(1) == table.entries(2) and table[1].role == FOLLOWER
    assert values(table, 1) == [0, 5, 0, 0, 0]


def test_a_conflict_skips_a_whole_term_in_each_round_trip():
    """§5.3, last paragraph; databend #3914."""
    table = Table()
    table.elect(1)
    table.cut = {(1, 2), (1, 3)}
    for i in range(60):
        table[1].propose(set_command(0, i))
    table.tick(0, [1])
    table.frames.clear()
    table.elect(2)
    table.write(2, set_command(1, 5))
    table.cut = {(1, 3), (3, 1)}
    frames = 0
    for _ in range(10):
        table.tick(50, [2])
        frames += len([f for f in table.frames if f[1] == 1])
        table.settle()
    assert table.entries(1) == table.entries(2)
    assert frames <= 14, "heartbeats and one repair, not one frame for each of 60 entries"


def test_a_delayed_append_deletes_nothing():
    """§5.3: only a conflict deletes; akka-raft #66, hashicorp/raft #113."""
    table = Table()
    table.elect(1)
    table[1].propose(set_command(0, 1))
    table.tick(0, [1])
    old = [f for f in table.frames if f[1] == 2][0][2]
    table.settle()
    table.write(1, set_command(0, 2))
    before = table.entries(2)
    table.hand(2, old)
    assert table.entries(2) == before and len(before) == 3


def test_an_ack_names_the_end_of_its_own_frame():
    """CCF #6016: not the follower's whole, maybe divergent, log."""
    table = Table()
    table.elect(1)
    follower = table[2]
    for value in (66, 67):
        follower.log.append((1, COMMAND, set_command(0, value)))
    table.members[2].save()
    table.tick(50, [1])
    table.settle()
    assert follower.log.last_index == 3
    assert table[1].followers[name(2)].match_index == table[1].log.last_index == 1
    answers = []
    message = Message()
    message.type, message.src, message.term = APPEND, 1, 1
    message.asked = 2
    message.prev_index, message.prev_term, message.commit_index = 1, 1, 1
    on_append(follower, message)
    follower.outbox.drain_late(lambda m: answers.append((m.flags, m.index)), True)
    assert answers == [(SUCCESS | PROMISED, 1)]


def test_commit_goes_only_as_far_as_the_frame_proves():
    """§5.3, Figure 2 rule 5; atomix #265: a high commit index over a divergent tail."""
    table = Table()
    table.elect(1)
    follower = table[2]
    follower.log.append((1, COMMAND, set_command(0, 66)))
    follower.log.append((1, COMMAND, set_command(0, 67)))
    table.members[2].save()
    message = Message()
    message.type, message.src, message.term = APPEND, 1, 1
    message.prev_index, message.prev_term, message.commit_index = 1, 1, 3
    on_append(follower, message)
    assert follower.commit_index == 1


def test_an_old_refusal_moves_no_match_index_back():
    """CCF #6000: a NACK held back and delivered after a later ACK."""
    table = Table()
    table.elect(1)
    table.cut = {(1, 2)}
    table.write(1, set_command(0, 1))
    table.cut = set()
    table.tick(50, [1])
    for _, dst, frame in [f for f in table.frames if f[1] == 2]:
        table.hand(dst, frame)
    refusal = [f for f in table.frames if f[0] == 2][-1][2]
    table.settle()
    table.tick(50, [1])
    table.settle()
    match = table[1].followers[name(2)].match_index
    assert match == table[1].log.last_index
    table.hand(1, refusal)
    assert (
        table[1].followers[name(2)].match_index == match and not table[1].followers[name(2)].behind
    )


def test_acks_of_another_term_do_not_count():
    table = Table()
    table.elect(1)
    table[1].propose(set_command(0, 1))
    table.tick(0, [1])
    for _, dst, frame in list(table.frames):
        table.hand(dst, frame)
    acks = [f for f in table.frames if f[1] == 1]
    table.frames.clear()
    table.crash(1)
    table[1].become_candidate()
    table[1].become_leader()
    for _, _, frame in acks:
        table.hand(1, frame)
    assert all(f.match_index == 0 for f in table[1].followers.values())


def test_a_window_of_uncommitted_entries_is_the_limit():
    table = Table()
    table.elect(1)
    table.cut = {(1, 2), (1, 3)}
    for i in range(table[1].settings.window):
        table[1].propose(set_command(0, i))
    raises(Busy, table[1].propose, set_command(0, 0))
    assert table[1].role == LEADER


def test_the_new_leader_s_no_op_commits_what_came_before():
    """§5.4.2, §8."""
    table = Table()
    table.elect(1)
    table.cut = {(2, 1), (3, 1)}
    table[1].propose(set_command(4, 44))
    table.tick(0, [1])
    table.settle()
    assert table[1].commit_index == 1
    table.cut = {(1, 2), (1, 3), (2, 1), (3, 1)}
    table.elect(2)
    assert table.entries(2)[-1] == (2, NOOP, b"")
    assert values(table, 2)[4] == values(table, 3)[4] == 44


def test_what_was_acknowledged_survives_all_boards_losing_power():
    """PySyncObj #84."""
    table = Table()
    table.elect(1)
    table.write(1, set_command(0, 5))
    for me in table.voters:
        table.crash(me)
    table.elect(3)
    assert all(values(table, me) == [5, 0, 0, 0, 0] for me in table.voters)


def test_who_has_no_term_or_index_left_does_not_stand():
    table = Table(1)
    raft = table[1]
    raft.term = COUNTER_LIMIT - 1
    table.tick(LONG_MS)
    assert (raft.role, raft.term) == (FOLLOWER, COUNTER_LIMIT - 1)
    raft.term = 5
    raft.log.restart(COUNTER_LIMIT - 1, 5)
    raft.persisted()
    raft.commit_index = raft.applied_index = raft.snapshot.index = COUNTER_LIMIT - 1
    table.tick(LONG_MS)
    assert (raft.role, raft.term) == (FOLLOWER, 5)


def test_the_last_index_is_not_given_away_twice():
    table = Table(1)
    raft = table[1]
    raft.log.restart(COUNTER_LIMIT - 2, 0)
    raft.persisted()
    raft.commit_index = raft.applied_index = raft.snapshot.index = COUNTER_LIMIT - 2
    raft.configuration_index = COUNTER_LIMIT - 2
    table.elect(1)
    assert raft.log.last_index == raft.commit_index == COUNTER_LIMIT - 1
    raises(Busy, raft.propose, set_command(0, 1))
    assert not may_change(raft)
