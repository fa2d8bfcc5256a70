"""Lending (docs/protocol.md): where the one board that a majority hears has a short log, it is
brought up by those that refuse it; nothing else may come of it."""

from raft.intlist import set_command
from raft.message import ACK, COMMAND, FOLLOWER, LEADER, LEND, NOBODY, PRE, VOTE_REQUEST, Message
from tests.portable.table import LONG_MS, Table


def constrained():
    """Board 3 lacks what 1 and 2 have committed; by now nobody hears a leader."""
    table = Table()
    table.elect(1)
    table.write(1, set_command(0, 1))
    table.cut = {(1, 3), (2, 3)}
    table.write(1, set_command(0, 2))
    table.cut = set()
    alone(table)
    return table


def alone(table):
    """No leader since longer than ordinary elections take."""
    table.frames[:] = []
    table.now_ms += 3 * LONG_MS
    for me in table.voters:
        table[me].now_ms = table.now_ms
        table[me].become_follower(table[me].term, NOBODY)
        table[me].heard_leader_ms = table.now_ms - 3 * LONG_MS


def stands(table, me, *at):
    """Board `me` asks for pre-votes, which `at` hear; returns the frames of LEND they answer."""
    table[me].election_at_ms = table.now_ms
    table.tick(0, [me])
    asked, table.frames[:] = list(table.frames), []
    for _, dst, frame in asked:
        if frame[1] == VOTE_REQUEST and dst in at:
            table.hand(dst, frame)
    lent = [frame for _, _, frame in table.frames if frame[1] == LEND]
    table.frames[:] = []
    return lent


def lend_of(table, frame):
    message = Message()
    assert table.members[3].codec.decode(frame, len(frame), message) is None
    return message


def test_who_refuses_a_short_log_lends_it_what_it_lacks():
    table = constrained()
    (lent,) = stands(table, 3, 2)
    before = table[3].log.last_index
    table.hand(3, lent)
    assert table[3].log.last_index == table[2].log.last_index == before + 1
    assert table.entries(3) == table.entries(2)


def test_what_was_lent_is_durable_and_not_committed():
    table = constrained()
    committed = table[3].commit_index
    (lent,) = stands(table, 3, 2)
    table.hand(3, lent)
    assert table[3].commit_index == committed
    assert table.members[3].durable["entries"][-1] == table.entries(2)[-1]


def test_then_it_is_elected():
    table = constrained()
    table.cut = {(1, 2), (2, 1)}
    for _ in range(4):
        table[3].election_at_ms = table.now_ms
        table.tick(0, [3])
        table.settle()
    assert table[3].role == LEADER
    table.spread(3)
    assert [table[me].machine.values[0] for me in (1, 2, 3)] == [2, 2, 2]


def test_only_a_log_that_is_more_up_to_date_is_taken_over():
    """5.4.1: an older log may lack what is committed, however much longer its tail looks."""
    table = Table()
    table.elect(1)
    table.write(1, set_command(0, 1))
    # An entry of board 2's term 2 that nobody else has; then the others commit in term 3.
    table.cut = {(1, 2), (3, 2), (2, 1), (2, 3)}
    table[2].become_candidate()
    table[2].become_leader()
    table[2].propose(set_command(0, 8))
    table[2].propose(set_command(0, 9))
    table.flush(2)
    table[1].become_follower(2, NOBODY)
    table.elect(1)
    table.write(1, set_command(0, 2))
    table.cut = set()
    table.crash(3)  # it has forgotten what of its log is committed
    alone(table)
    table[2].become_follower(3, NOBODY)
    held = table.entries(3)
    lend = Message()
    lend.type, lend.src, lend.dst, lend.term = LEND, 2, 3, table[3].term
    lend.incarnation = 1
    lend.last_index, lend.last_term = table[2].log.last_index, table[2].log.last_term
    assert lend.last_term < table[3].log.last_term and lend.last_index > table[3].log.base_index
    lend.prev_index, lend.prev_term = 2, 1
    lend.entries = [table[2].log.entry(3), table[2].log.entry(4)]
    table[3].receive(lend, table.now_ms)
    assert table.entries(3) == held


def test_nothing_is_lent_while_a_leader_is_heard_or_was_lately():
    table = constrained()
    table[2].heard_leader_ms = table.now_ms - 2 * table[2].settings.election_max_ms + 1
    assert stands(table, 3, 2) == []
    table = constrained()
    table[2].leader = 1
    assert stands(table, 3, 2) == []


def test_nothing_is_taken_over_while_a_leader_is_heard():
    table = constrained()
    (lent,) = stands(table, 3, 2)
    table[3].become_follower(table[3].term, 1)
    before = table.entries(3)
    table.hand(3, lent)
    assert table.entries(3) == before


def test_what_was_lent_in_an_older_term_is_dropped():
    table = constrained()
    (lent,) = stands(table, 3, 2)
    table[3].become_follower(table[3].term + 1, NOBODY)
    before = table.entries(3)
    table.hand(3, lent)
    assert table.entries(3) == before


def test_who_lends_is_asked_again_where_the_logs_part_earlier():
    """The lender begins behind what the borrower has: it says where they may agree."""
    table = constrained()
    (lent,) = stands(table, 3, 2)
    message = lend_of(table, lent)
    message.prev_index += 1
    table[3].receive(message, table.now_ms)
    table.flush(3)
    answers = [lend_of(table, f) for _, dst, f in table.frames if f[1] == ACK and dst == 2]
    assert [a.heard_seq for a in answers] == [0]
    assert answers[0].index < message.prev_index


def test_what_is_lent_replaces_nothing_that_is_committed():
    """Entry 3 of term 1 was committed by a leader of term 3, which board 3 heard of before that
    leader's own entry came. Board 2 has another entry 3, of a leader of term 2, and knows nothing
    of it: with its last term it is more up to date than board 3."""
    table = constrained()
    table.settle()
    lender, raft = table[2], table[3]
    raft.log.append((1, COMMAND, set_command(0, 2)))
    raft.commit_index = 3
    lender.log.truncate(3)
    lender.log.append((2, COMMAND, set_command(0, 9)))
    lender.commit_index = 2
    for member in (lender, raft):
        member.become_follower(3, NOBODY)
        member.persisted()
    before = table.entries(3)
    (lent,) = stands(table, 3, 2)
    message = lend_of(table, lent)
    assert message.prev_index == 2 and [entry[0] for entry in message.entries] == [2]
    assert raft.receive(message, table.now_ms) is True
    assert table.entries(3) == before


def test_a_lender_keeps_its_vote_and_its_role():
    table = constrained()
    vote, term = table[2].vote, table[2].term
    stands(table, 3, 2)
    assert (table[2].vote, table[2].term, table[2].role) == (vote, term, FOLLOWER)


def test_a_candidate_that_asks_for_votes_proper_gets_a_no_only():
    table = constrained()
    table[3].election_at_ms = table.now_ms
    table[3].become_pre_candidate()
    request = Message()
    request.type, request.src, request.dst, request.term = VOTE_REQUEST, 3, 2, table[2].term
    request.incarnation = 1
    request.last_index, request.last_term, request.flags = 1, 1, 0
    table[2].receive(request, table.now_ms)
    table.flush(2)
    assert not [f for f in table.frames if f[2][1] == LEND]
    request.flags = PRE
    table[2].receive(request, table.now_ms)
    table.flush(2)
    assert [f for f in table.frames if f[2][1] == LEND]
