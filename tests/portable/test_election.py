"""Leader election (§5.2, §5.4.1): one test a rule."""

from raft.intlist import set_command
from raft.message import CANDIDATE, FOLLOWER, LEADER, NOBODY
from tests.portable.table import Table, raises


def test_a_follower_stands_when_its_timeout_has_passed():
    table = Table()
    assert table[1].role == FOLLOWER
    table.tick(149)
    assert [table[i].role for i in (1, 2, 3)] == [FOLLOWER] * 3 and not table.frames
    table.tick(151, [1])
    assert table[1].role == CANDIDATE and table[1].term == 1 and table[1].vote == 1
    table.settle()
    assert table[1].role == LEADER and table[1].leader == 1
    assert table[2].term == 1 and table[2].vote == 1


def test_one_vote_a_term_first_come_first_served():
    """§5.2. Two candidates in one term: the third votes once."""
    table = Table()
    for me in (1, 2):
        table[me].election_at_ms = 0
    table.tick(0, [1, 2])
    table.settle()
    assert table[3].vote in (1, 2)
    assert (table[1].role == LEADER) != (table[2].role == LEADER)


def test_a_vote_survives_stepping_down_and_a_power_cut():
    """§5.2, Figure 2 (votedFor is durable); redpanda #19, PySyncObj #84."""
    table = Table()
    table[1].election_at_ms = 0
    table.tick(0, [1])
    table.settle()
    assert table[3].vote == 1 and table[3].term == 1
    table[3].become_follower(1, NOBODY)
    assert table[3].vote == 1
    table.crash(3)
    assert table[3].vote == 1 and table[3].term == 1


def test_votes_do_not_leave_before_they_are_durable():
    table = Table()
    table[1].election_at_ms = 0
    table[1].tick(0)
    sent = []
    raises(RuntimeError, table[1].outbox.drain_late, sent.append, not table[1].unsaved)
    assert not sent


def test_a_log_that_lacks_committed_entries_is_not_elected():
    """§5.4.1: the later last term wins, then the longer log."""
    table = Table()
    table.cut = {(1, 3), (2, 3)}
    table.elect(1)
    table.write(1, set_command(0, 7))
    table.cut = set()
    table[3].term = 5
    table[3].election_at_ms = table.now_ms
    table.tick(0, [3])
    table.settle()
    assert table[3].role == CANDIDATE and table[1].term == 6
    table.elect(2)
    assert table.entries(3) == table.entries(2)


def test_a_higher_term_makes_a_leader_step_down():
    """§5.1."""
    table = Table()
    table.elect(1)
    table.cut = {(1, 2), (1, 3)}
    table.elect(2)
    assert table[1].role == FOLLOWER and table[1].term == table[2].term == 2


def test_an_old_leader_learns_its_fate_from_an_answer():
    """§5.1: a stale AppendEntries is refused with the newer term."""
    table = Table()
    table.elect(1)
    table.cut = {(2, 1), (3, 1)}
    table.elect(2)
    assert table[1].role == LEADER and table[1].term == 1
    table.cut = set()
    table.tick(50, [1])
    table.settle()
    assert table[1].role == FOLLOWER and table[1].term == 2


def test_a_candidate_repeats_itself_because_broadcasts_are_not_retried():
    table = Table()
    table[1].election_at_ms = 0
    table.tick(0, [1])
    table.frames.clear()
    table.tick(50, [1])
    table.settle()
    assert table[1].role == LEADER and table[1].term == 1


def test_a_minority_elects_nobody():
    table = Table(5)
    table.cut = {(a, b) for a in table.voters for b in table.voters if (a < 3) != (b < 3)}
    table[1].election_at_ms = 0
    table.tick(0, [1])
    table.settle()
    assert table[1].role == CANDIDATE and len(table[1].granted) == 2


def test_votes_of_another_term_or_from_strangers_do_not_count():
    table = Table()
    table.tick(300, [1])
    old = list(table.frames)
    table.frames.clear()
    table.tick(300, [1])
    assert table[1].term == 2
    for _, dst, frame in old:
        table.hand(dst, frame)
    for _, dst, frame in [f for f in table.frames if f[1] == 1]:
        table.hand(dst, frame)
    assert table[1].role == CANDIDATE and table[2].vote == table[3].vote == 1


def test_timeouts_are_random_within_their_bounds():
    table = Table()
    raft = table[1]
    seen = []
    for n in range(0, 151, 10):
        raft.random_below = lambda limit, n=n: n % limit
        raft.become_follower(raft.term, NOBODY)
        raft.start(1000)
        seen.append(raft.election_at_ms - 1000)
    assert min(seen) == 150 and max(seen) == 300 and len(set(seen)) == len(seen)


def test_a_cluster_of_one_elects_itself():
    table = Table(1)
    table.tick(300)
    table.tick(0)
    assert table[1].role == LEADER and table[1].commit_index == 1
