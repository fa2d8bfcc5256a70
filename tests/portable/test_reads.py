"""Linearizable reads (§8; thesis 6.4): never older than the moment they were asked for."""

from raft.intlist import set_command
from raft.message import ACK, BUSY, COMMITTED, LINEARIZABLE, NO_LEADER, READ_INDEX, Message
from raft.reads import CAPACITY
from tests.portable.table import LONG_MS, Table


def ask(table, me):
    """Read at `me`; returns the list of (code, first value then), filled in later."""
    answers = []

    def done(code):
        answers.append((code, table[me].machine.values[0]))

    table.members[me].reads.begin(done)
    table.flush(me)
    return answers


def written():
    table = Table()
    table.elect(1)
    table.write(1, set_command(0, 5))
    return table


def test_at_the_leader_after_a_majority_has_answered():
    table = written()
    answers = ask(table, 1)
    assert answers == []
    table.tick(0, [1])
    assert answers == []
    table.settle()
    assert answers == [(COMMITTED, 5)]


def test_through_a_follower():
    table = written()
    answers = ask(table, 3)
    table.settle()
    table.tick(0, [1])
    table.settle()
    assert answers == [(COMMITTED, 5)]


def test_a_follower_waits_until_it_has_applied_so_far():
    table = written()
    table.cut = {(1, 3)}
    table.write(1, set_command(0, 6))
    table.cut = set()
    answers = ask(table, 3)
    assert table[3].machine.values[0] == 5
    for _ in range(4):
        table.tick(50, [1])
        table.settle()
    assert answers == [(COMMITTED, 6)]


def test_a_leader_without_a_majority_answers_nothing():
    """d-engine #381: an old leader in a minority must not serve stale reads."""
    table = written()
    table.cut = {(1, 2), (1, 3), (2, 1), (3, 1)}
    table.elect(2)
    table.write(2, set_command(0, 9))
    answers = ask(table, 1)
    table.tick(50, [1])
    table.settle()
    assert answers == []
    table.tick(table[1].settings.proposal_ms, [1])
    assert answers == [(NO_LEADER, 5)], "a no, not a stale value"


def test_old_acks_confirm_nothing():
    """etcd #20418: acks of heartbeats sent before the read came in, duplicated and delayed."""
    table = written()
    table.tick(50, [1])
    for _, dst, frame in [f for f in table.frames if f[1] != 1]:
        table.hand(dst, frame)
    old = [f for f in table.frames if f[1] == 1 and f[2][1] == ACK]
    table.frames.clear()
    assert len(old) == 2
    answers = ask(table, 1)
    for _, dst, frame in old + old:
        table.hand(dst, frame)
    assert answers == []


def test_not_before_an_entry_of_its_own_term_is_committed():
    """etcd #7331: a new leader does not know yet what older terms committed."""
    table = written()
    table.cut = {(1, 2), (1, 3)}
    table.now_ms += LONG_MS
    table[2].election_at_ms = table.now_ms
    table.tick(0, [2])
    while table[2].role != 2:
        _, dst, frame = table.frames.pop(0)
        table.hand(dst, frame)
    answers = ask(table, 2)
    assert table[2].applied_index < table[2].log.last_index and answers == []
    table.tick(0, [2])
    table.settle()
    table.tick(0, [2])
    table.settle()
    assert answers == [(COMMITTED, 5)] and table[2].commit_index == table[2].log.last_index


def test_what_the_leader_has_sent_counts_not_what_it_knows_to_be_committed():
    """Design rule 6: boards 4 and 5 hold the entry, and may have told somebody; their acks were
    lost, and only 2 and 3, which lack it, confirm that the leader leads."""
    table = Table(5)
    table.elect(1)
    table.write(1, set_command(0, 5))
    table.cut = {(1, 2), (1, 3), (4, 1), (5, 1)}
    table[1].propose(set_command(0, 7))
    table.tick(0, [1])
    table.settle()
    assert table[1].commit_index == 2 and table[4].log.last_index == 3
    table.cut = {(1, 4), (1, 5), (4, 1), (5, 1)}
    answers = ask(table, 1)
    table.tick(50, [1])
    for _, dst, frame in [table.frames.pop(0) for _ in range(len(table.frames))]:
        table.hand(dst, frame)
    for _, dst, frame in [table.frames.pop(0) for _ in range(len(table.frames))]:
        table.hand(dst, frame)
    assert table[1].commit_index == 2 and answers == []
    table.settle()
    table.spread(1)
    assert answers == [(COMMITTED, 7)]


def test_an_index_beyond_what_is_applied_is_waited_for():
    table = written()
    answers = ask(table, 3)
    message = Message()
    message.type, message.src, message.heard_epoch = READ_INDEX, 1, 1
    message.dst, message.dst_incarnation = 3, 1
    message.request, message.index = 1, 3
    table.members[3].reads.on_read_index(message, 1)
    assert answers == []
    table.frames.clear()
    table.write(1, set_command(0, 6))
    assert answers == [(COMMITTED, 6)]


def test_an_index_noted_by_a_deposed_leader_is_worth_nothing():
    """It leads again before any ack came: what it noted was stale already."""
    table = written()
    table.cut = {(1, 2), (1, 3), (2, 1), (3, 1)}
    table.elect(2)
    table.write(2, set_command(0, 9))
    answers = ask(table, 1)
    table.cut = set()
    for follower in table[1].followers.values():
        follower.heard_ms = table.now_ms
    for _ in range(3):
        table.tick(50, [2])
        table.settle()
    table.elect(1)
    table.spread(1)
    assert answers == [(COMMITTED, 9)]


def test_a_read_survives_a_change_of_leader():
    table = written()
    table.cut = {(1, 2), (1, 3), (2, 1), (3, 1)}
    answers = ask(table, 3)
    table.elect(2)
    table.write(2, set_command(0, 8))
    for _ in range(4):
        table.tick(100, [2, 3])
        table.settle()
    assert answers == [(COMMITTED, 8)]


def test_an_answer_of_an_earlier_boot_or_read_or_for_a_namesake_is_none():
    table = written()
    answers = ask(table, 3)
    table.frames.clear()
    for incarnation, epoch, request in ((1, 0, 1), (1, 1, 2), (2, 1, 1)):
        message = Message()
        message.type, message.src, message.heard_epoch = READ_INDEX, 1, epoch
        message.dst, message.dst_incarnation = 3, incarnation
        message.request, message.index = request, 1
        table.members[3].reads.on_read_index(message, 1)
    assert answers == []


def test_too_many_at_once_is_busy():
    table = written()
    table.cut = {(3, 1)}
    answers = [ask(table, 3) for _ in range(CAPACITY + 1)]
    assert answers[-1] == [(BUSY, 5)] and answers[0] == []


def test_a_repeated_question_takes_no_room():
    table = written()
    table.cut = {(3, 1)}
    asked = []
    for _ in range(CAPACITY + 3):
        table.members[3].reads.begin(asked.append, LINEARIZABLE, (0xE1, 7, 1, 99))
    assert asked == [] and ask(table, 3) == []


def test_a_cluster_of_one_reads_at_once():
    table = Table(1)
    table.tick(300)
    table.tick(0)
    assert ask(table, 1) == [(COMMITTED, 0)]
