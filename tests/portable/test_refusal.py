"""Rule 10: what no member that keeps to the rules can have said is ignored, and nothing is lost by
it; a follower's log has an end, whatever a leader sends."""

from raft.intlist import set_command
from raft.message import (
    ACK,
    APPEND,
    COMMAND,
    EVERYONE,
    FOLLOWER,
    LEADER,
    NOOP,
    SNAPSHOT,
    SUCCESS,
    VOTE_REQUEST,
    Message,
)
from raft.settings import Settings
from tests.portable.table import Table


def told(kind, term, src=3, **fields):
    message = Message()
    message.type, message.src, message.dst, message.incarnation, message.term = (
        kind,
        src,
        EVERYONE,
        1,
        term,
    )
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def written():
    """Board 1 leads term 1; entries 1 (its first) and 2 are committed everywhere."""
    table = Table()
    table.elect(1)
    table.write(1, set_command(0, 5))
    assert table[2].commit_index == 2
    return table


def state(raft):
    return (raft.role, raft.leader, raft.commit_index, raft.log.last_index, raft.log.last_term)


def refuses(raft, message, now_ms):
    """It is ignored: nothing is answered, and no timer begins anew."""
    before = state(raft) + (raft.election_at_ms, raft.heard_leader_ms, raft.outbox.waiting)
    refused = raft.receive(message, now_ms) is False
    after = state(raft) + (raft.election_at_ms, raft.heard_leader_ms, raft.outbox.waiting)
    return refused and after == before


def test_a_leader_refuses_another_one_of_its_term():
    table = written()
    leader = table[1]
    assert refuses(leader, told(APPEND, 1, prev_index=2, prev_term=1), table.now_ms)
    assert refuses(leader, told(SNAPSHOT, 1, last_index=9, last_term=1), table.now_ms)


def test_a_leader_that_lacks_what_is_committed_is_refused():
    table = written()
    raft, now_ms = table[2], table.now_ms
    other = [(1, NOOP, b""), (1, COMMAND, set_command(0, 5))]
    for prev_index, prev_term, entries in (
        (1, 0, []),
        (2, 0, []),
        (7, 0, []),
        (0, 0, [(0, NOOP, b"")]),
        (0, 0, [other[0], (0, COMMAND, b"")]),
    ):
        message = told(APPEND, 1, prev_index=prev_index, prev_term=prev_term, entries=entries)
        assert refuses(raft, message, now_ms), (prev_index, prev_term, entries)
    assert refuses(raft, told(SNAPSHOT, 1, last_index=2, last_term=0), now_ms)
    assert refuses(raft, told(SNAPSHOT, 1, last_index=9, last_term=0), now_ms)
    assert raft.receive(told(APPEND, 1, src=1, prev_index=0, prev_term=0, entries=other), now_ms)
    assert table.entries(2) == table.entries(1)


def test_what_can_be_no_log_is_refused():
    table = written()
    raft, now_ms = table[2], table.now_ms
    falling = [(1, NOOP, b""), (3, NOOP, b""), (2, NOOP, b"")]
    raft.receive(told(APPEND, 4, prev_index=2, prev_term=1), now_ms)
    for entries in (falling, falling[:1] + [(5, NOOP, b"")]):
        message = told(APPEND, 4, prev_index=2, prev_term=1, entries=entries)
        assert refuses(raft, message, now_ms)
    assert refuses(raft, told(SNAPSHOT, 4, last_index=9, last_term=5), now_ms)


def test_a_term_far_ahead_is_believed_only_when_it_is_heard_again_and_again():
    table = written()
    raft = table[2]
    now_ms = table.now_ms + 10_000  # no promise, no leader
    far = told(VOTE_REQUEST, 1 + 65537, last_index=9, last_term=1, flags=0)
    assert refuses(raft, far, now_ms)
    for _ in range(9):
        now_ms += 1000
        assert refuses(raft, far, now_ms)
    assert refuses(raft, far, now_ms + 3000), "a gap: it begins anew"
    now_ms += 3000
    for _ in range(5):
        now_ms += 1900
        assert refuses(raft, far, now_ms)
    assert raft.term == 1
    assert raft.receive(far, now_ms + 500) and raft.term == 1 + 65537


def test_terms_that_were_missed_are_believed_at_once():
    table = written()
    raft = table[2]
    message = told(VOTE_REQUEST, 1 + 65536, last_index=9, last_term=1, flags=0)
    assert raft.receive(message, table.now_ms + 10_000) and raft.term == 1 + 65536


def test_one_far_term_does_not_open_the_door_for_another_one_later():
    table = written()
    raft = table[2]
    far = told(VOTE_REQUEST, 1 << 20, last_index=9, last_term=1, flags=0)
    for hour in range(1, 5):
        assert refuses(raft, far, table.now_ms + hour * 3_600_000)


def full(**settings):
    """Board 2 hears a leader of term 2 that commits nothing, until it takes no more."""
    table = Table(3, Settings(**settings))
    raft = table[2]
    index = 0
    answers = []
    while True:
        entry = (2, COMMAND, bytes(settings.get("log_bytes", 0) // 16))
        message = told(APPEND, 2, prev_index=index, prev_term=2 if index else 0, entries=[entry])
        message.commit_index = 0
        assert raft.receive(message, table.now_ms)
        answers.clear()
        raft.outbox.drain_late(lambda m: answers.append((m.type, m.flags & SUCCESS, m.index)), True)
        if raft.log.last_index == index:
            assert answers == [(ACK, SUCCESS, index)], "it says how far it has them"
            return table, raft
        index += 1


def test_a_follower_s_log_is_bounded_in_bytes_and_in_entries():
    raft = full(log_bytes=1024)[1]
    assert raft.log.size == 2048
    raft = full(window=10)[1]
    assert len(raft.log) == 2 * 10 + 512


def test_a_follower_that_is_full_goes_on_when_something_is_committed():
    table, raft = full(log_bytes=1024)
    last = raft.log.last_index
    entries = [(2, COMMAND, bytes(64))]
    message = told(APPEND, 2, prev_index=last, prev_term=2, entries=list(entries))
    message.commit_index = last
    assert raft.receive(message, table.now_ms) and raft.commit_index == last
    table.flush(2)
    assert raft.receive(message, table.now_ms) and raft.log.last_index == last + 1


def test_what_an_honest_leader_has_always_fits():
    """A follower that knows of no commit, and a leader with as much as it may have."""
    table = Table(3, Settings(log_bytes=1024, window=1000))
    table.elect(1)
    table.cut = {(2, 1), (3, 1), (1, 3)}
    while table[1].log.size <= 1024 - 16:
        table[1].propose(bytes(16))
    for _ in range(4):
        table.tick(50, [1])
        table.settle()
    assert len(table[1].log) > 60 and table[2].log.last_index == table[1].log.last_index
    table.cut = set()
    table.elect(2)
    assert table[2].role == LEADER and table[2].commit_index == table[2].log.last_index
    assert table[1].role == FOLLOWER and table[1].log.last_index == table[2].log.last_index
