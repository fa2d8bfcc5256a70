"""Leader election (§5.2, §5.4.1; thesis 3.10, 4.2.3, 6.2, 9.6): one test a rule."""

from raft.core import Busy
from raft.election import note_gap, reset_timer
from raft.intlist import set_command
from raft.message import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    NOBODY,
    PRE,
    PRE_CANDIDATE,
    VOTE_REQUEST,
    Message,
)
from raft.settings import Settings
from tests.portable.table import LONG_MS, Table, name, raises


def stand(table, me):
    """Make `me` a candidate of a new term, whatever the others would say to a pre-vote."""
    table.now_ms += LONG_MS
    raft = table[me]
    raft.now_ms = table.now_ms
    raft.become_pre_candidate()
    raft.become_candidate()
    raft.heartbeat_at_ms = table.now_ms
    raft.election_at_ms = table.now_ms + 200
    table.tick(0, [me])


def split(table, *sides):
    """Cut every link between boards of different `sides`."""
    side = {me: n for n, members in enumerate(sides) for me in members}
    table.cut = {(a, b) for a in side for b in side if side[a] != side[b]}


def test_a_follower_stands_when_its_timeout_has_passed():
    table = Table()
    assert table[1].role == FOLLOWER
    table.tick(149)
    assert [table[i].role for i in (1, 2, 3)] == [FOLLOWER] * 3 and not table.frames
    table.tick(151, [1])
    assert table[1].role == PRE_CANDIDATE and table[1].term == 0
    table.settle()
    assert table[1].role == LEADER and table[1].leader == 1
    assert table[1].term == table[2].term == 1 and table[2].vote == name(1)


def test_one_vote_a_term_first_come_first_served():
    """§5.2. Two candidates in one term: the third votes once."""
    table = Table()
    stand(table, 1)
    stand(table, 2)
    table.settle()
    assert table[3].vote in (name(1), name(2))
    assert (table[1].role == LEADER) != (table[2].role == LEADER)


def test_a_vote_survives_stepping_down_and_a_power_cut():
    """§5.2, Figure 2 (votedFor is durable); redpanda #19, PySyncObj #84."""
    table = Table()
    table.elect(1)
    assert table[3].vote == name(1) and table[3].term == 1
    table[3].become_follower(1, NOBODY)
    assert table[3].vote == name(1)
    table.crash(3)
    assert table[3].vote == name(1) and table[3].term == 1


def test_a_term_is_durable_before_anything_is_said_in_it():
    """Figure 2 (currentTerm is durable), also where no vote is given."""
    table = Table()
    table.elect(1)
    table.cut = {(1, 3)}
    table.elect(2)
    assert all(table.members[me].durable["term"] == table[me].term == 2 for me in (1, 2, 3))
    table[1].become_follower(9, NOBODY)
    assert table[1].unsaved


def test_votes_do_not_leave_before_they_are_durable():
    table = Table()
    table[1].become_candidate()
    request = table[1].outbox.late(VOTE_REQUEST, 2, 1)
    assert request is not None and table[1].unsaved
    sent = []
    raises(RuntimeError, table[1].outbox.drain_late, sent.append, not table[1].unsaved)
    assert not sent


def test_a_log_that_lacks_committed_entries_is_not_elected():
    """§5.4.1: the later last term wins, then the longer log. A high term does not help."""
    table = Table()
    table.elect(1)
    table.cut = {(1, 3), (2, 3)}
    table.write(1, set_command(0, 7))
    table.cut = set()
    table[3].term = 5
    stand(table, 3)
    table.settle()
    assert table[3].role == CANDIDATE and table[2].term == 6
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
    for follower in table[1].followers.values():
        follower.heard_ms = table.now_ms
    table.tick(50, [1])
    table.settle()
    assert table[1].role == FOLLOWER and table[1].term == 2


def test_a_candidate_repeats_itself_because_broadcasts_are_not_retried():
    table = Table()
    table.tick(300, [1])
    table.frames.clear()
    table.tick(50, [1])
    pre_votes = len(table.frames)
    table.frames.clear()
    assert pre_votes == 2 and table[1].role == PRE_CANDIDATE
    stand(table, 1)
    table.frames.clear()
    table.tick(50, [1])
    table.settle()
    assert table[1].role == LEADER and table[1].term == 1


def test_a_minority_elects_nobody_and_its_term_does_not_climb():
    """Thesis 9.6: without a majority of pre-votes there is no new term."""
    table = Table(5)
    split(table, (1, 2), (3, 4, 5))
    for _ in range(10):
        table.tick(300, [1, 2])
        table.settle()
    assert table[1].role in (FOLLOWER, PRE_CANDIDATE) and table[1].term == table[2].term == 0


def test_votes_of_another_term_do_not_count():
    table = Table()
    stand(table, 1)
    old = list(table.frames)
    table.frames.clear()
    stand(table, 1)
    assert table[1].term == 2
    for _, dst, frame in old:
        table.hand(dst, frame)
    for _, dst, frame in [f for f in table.frames if f[1] == 1]:
        table.hand(dst, frame)
    assert table[1].role == CANDIDATE


def test_a_pre_vote_is_no_vote():
    """Design rule 3: pre-votes never count for anything but pre-votes."""
    table = Table()
    table.tick(300, [1])
    requests = list(table.frames)
    table.frames.clear()
    for _, dst, frame in requests:
        table.hand(dst, frame)
    assert table[2].vote == table[3].vote == NOBODY and not table[2].unsaved
    answers = list(table.frames)
    table.frames.clear()
    stand(table, 1)
    table.frames.clear()
    table[1].term = 0  # the very term that the pre-votes name
    for _, dst, frame in answers:
        table.hand(dst, frame)
    assert table[1].role == CANDIDATE and table[1].granted == [name(1)]


def test_a_pre_vote_is_refused_to_a_log_that_could_not_win():
    """ClickHouse/NuRaft #134: asked for liveness only, a hopeless candidate deposes leaders."""
    table = Table()
    table.elect(1)
    table.cut = {(1, 3), (2, 3)}
    table.write(1, set_command(0, 7))
    table.cut = set()
    for _ in range(5):
        table.now_ms += LONG_MS
        table.tick(0, [3])
        table.settle()
    assert table[3].role == PRE_CANDIDATE and table[2].term == 1


def test_who_hears_a_leader_helps_nobody_against_it():
    """Thesis 4.2.3: not even the candidate's term counts."""
    table = Table()
    table.elect(1)
    request = Message()
    request.type, request.src, request.dst, request.term = VOTE_REQUEST, 3, 255, 9
    request.last_index, request.last_term, request.flags = 99, 9, 0
    for me in (1, 2):
        table[me].receive(request, table.now_ms + 149)
        assert table[me].term == 1, me
    assert table[1].role == LEADER
    table[2].receive(request, table.now_ms + 150)
    assert table[2].term == 9 and table[2].vote == 3


def test_a_board_that_hears_no_leader_disturbs_nobody_who_does():
    """Cloudflare 2020: one-way link from the leader to board 3."""
    table = Table()
    table.elect(1)
    table.cut = {(1, 3)}
    for _ in range(40):
        table.tick(50)
        table.settle()
    assert table[1].role == LEADER and table[1].term == 1


def test_a_leader_that_nobody_answers_steps_down():
    """Thesis 6.2: its frames go out, but no ack comes in; the others find another."""
    table = Table(5)
    table.elect(1)
    table.cut = {(i, 1) for i in (2, 3, 4, 5)}
    table.tick(299, [1])
    assert table[1].role == LEADER
    table.frames.clear()
    table.tick(50, [1])
    assert table[1].role == FOLLOWER and table[1].term == 1
    table.elect(2)
    assert table[2].role == LEADER


def test_a_board_with_the_only_quorum_links_becomes_leader():
    """OmniPaxos, quorum loss: all hear board 3 only; the leader that lost its quorum yields."""
    table = Table(5)
    table.elect(1)
    table.cut = {(a, b) for a in table.voters for b in table.voters if a != b and 3 not in (a, b)}
    for _ in range(60):
        table.tick(20)
        table.settle()
    assert table[3].role == LEADER
    term = table[3].term
    for _ in range(60):
        table.tick(20)
        table.settle()
    assert table[3].role == LEADER and table[3].term == term, "and stays it"


def test_a_chain_keeps_its_leader():
    """OmniPaxos, chained: 1 - 2 - 3, board 3 never hears the leader."""
    table = Table()
    table.elect(1)
    table.cut = {(1, 3), (3, 1)}
    for _ in range(60):
        table.tick(20)
        table.settle()
    assert table[1].role == LEADER and table[1].term == 1


def test_a_healed_board_with_a_higher_term_is_no_dead_end():
    """etcd #8334: PreVote and stickiness must not refuse each other for ever."""
    table = Table()
    table.elect(1)
    table[3].become_follower(7, NOBODY)
    table.flush(3)
    for _ in range(40):
        table.tick(20)
        table.settle()
    leaders = [me for me in table.voters if table[me].role == LEADER]
    assert len(leaders) == 1 and table[leaders[0]].term >= 7


def test_a_rebooted_voter_gives_no_vote_before_its_promises_have_run_out():
    """Design rule 4: transfer votes included."""
    table = Table()
    table.elect(1)
    table.now_ms += LONG_MS
    table.crash(2)
    for flags in (0, PRE, 4):
        request = Message()
        request.type, request.src, request.dst, request.term = VOTE_REQUEST, 3, 255, 5
        request.last_index, request.last_term, request.flags = 99, 9, flags
        table[2].receive(request, table.now_ms + 149)
        assert table[2].term == 1
    table[2].receive(request, table.now_ms + 150)
    assert table[2].vote == 3


def test_after_a_full_power_cut_a_leader_within_two_timeouts():
    """Design rule 4, the price: counted from the boot of the board that makes the majority."""
    table = Table(5)
    table.elect(1)
    table.crash_all()
    start = table.now_ms
    while not any(table[me].role == LEADER for me in table.voters):
        table.tick(5)
        table.settle()
        assert table.now_ms - start <= 600
    assert table.now_ms - start >= 150


def test_leadership_is_handed_over():
    """Thesis 3.10."""
    table = Table()
    table.elect(1)
    table[1].transfer(3)
    raises(Busy, table[1].propose, set_command(0, 1))
    table.tick(0, [1])
    table.settle()
    assert table[3].role == LEADER and table[3].term == 2 and table[1].role == FOLLOWER


def test_a_successor_that_lags_is_brought_up_first():
    """hashicorp/raft #487: an entry that the target lacks would let the old leader win again."""
    table = Table()
    table.elect(1)
    table.cut = {(1, 3)}
    for i in range(30):
        table.write(1, set_command(0, i))
    table.cut = set()
    table[1].transfer(3)
    for _ in range(6):
        table.tick(20, [1])
        table.settle()
    assert table[3].role == LEADER and table.entries(3)[:31] == table.entries(1)[:31]


def test_a_transfer_that_comes_to_nothing_is_given_up():
    table = Table()
    table.elect(1)
    table.cut = {(1, 3), (3, 1)}
    table[1].transfer(3)
    for _ in range(8):
        table.tick(50, [1])
        table.settle()
    assert table[1].role == LEADER and table[1].transfer_to == NOBODY
    assert table.write(1, set_command(0, 5)) == table[1].commit_index


def test_only_another_voter_can_take_over():
    table = Table()
    table.elect(1)
    for target in (1, 9):
        assert "voter" in str(raises(ValueError, table[1].transfer, target))


def test_an_old_order_to_take_over_does_nothing():
    """Played back in a later term, TimeoutNow must not start an election."""
    table = Table()
    table.elect(1)
    table[1].transfer(3)
    table.tick(0, [1])
    order = [f for f in table.frames if f[1] == 3][-1][2]
    table.settle()
    table.elect(2)
    term = table[3].term
    table.hand(3, order)
    assert table[3].role == FOLLOWER and table[3].term == term


def test_timeouts_are_random_within_their_bounds():
    table = Table()
    raft = table[1]
    seen = []
    for n in range(0, 151, 10):
        raft.random_below = lambda limit, n=n: n % limit
        raft.start(1000)
        seen.append(raft.election_at_ms - 1000)
    assert min(seen) == 150 and max(seen) == 300 and len(set(seen)) == len(seen)


def test_a_cluster_of_one_elects_itself():
    table = Table(1)
    table.tick(300)
    table.tick(0)
    assert table[1].role == LEADER and table[1].commit_index == 1


def test_a_lone_voter_leads_only_when_its_vote_is_durable():
    """Found by the simulator: it stood and led in one step, a power cut took the vote, and then it
    voted for another candidate of that term: it was the last voter left, and that one's removal was
    not committed. Nor may its AppendEntries leave before its term (Figure 2)."""
    table = Table(1)
    raft = table[1]
    raft.election_at_ms = table.now_ms = LONG_MS
    raft.tick(table.now_ms)
    early = []
    raft.outbox.drain_early(lambda m: early.append(m.type))
    assert raft.role == CANDIDATE and raft.unsaved and early == []
    assert raft.deadline_ms() <= table.now_ms
    table.flush(1)
    table.tick(0)
    assert raft.role == LEADER and table.members[1].durable["vote"] == name(1)
    table.tick(0)
    assert table[1].commit_index == 1


# Timeouts that adapt.


def waits_ms(table, gaps_ms):
    """How long follower 2 waits for a leader whose heartbeats came with these silences between."""
    raft = table[2]
    for gap_ms in gaps_ms:
        table.now_ms += gap_ms
        raft.now_ms = table.now_ms
        note_gap(raft)
        raft.heard_leader_ms = raft.now_ms
        reset_timer(raft)
    return raft.election_at_ms - table.now_ms


def test_a_follower_that_hears_badly_waits_longer_if_it_adapts():
    calm, bad = [50] * 5, [50, 250, 50]
    usual = waits_ms(Table(3), calm)
    assert waits_ms(Table(3), bad) == usual
    assert waits_ms(Table(3, Settings(adaptive=True)), calm) == usual
    longer = waits_ms(Table(3, Settings(adaptive=True)), bad)
    assert usual + 400 < longer <= usual + 3 * 300
    assert waits_ms(Table(3, Settings(adaptive=True)), bad + [50] * 60) < usual + 100


def test_a_leader_that_hears_few_is_as_patient_if_it_adapts():
    for adaptive, leads in ((False, False), (True, True)):
        table = Table(3, Settings(adaptive=adaptive))
        table.elect(1)
        table.cut = {(2, 1), (3, 1)}
        for _ in range(10):
            table.tick(50, [1])
        assert (table[1].role == LEADER) == leads
        for _ in range(20):
            table.tick(50, [1])
        assert table[1].role != LEADER
