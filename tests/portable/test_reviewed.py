"""What a review of sessions, leases, members and birth found; each failed before it was mended."""

from raft.auth import KeyRing, cluster_hash
from raft.intlist import add_command, set_command
from raft.membership import order
from raft.message import (
    APPEND,
    BAD_COMMAND,
    BAD_INDEX,
    BORN,
    BUSY,
    COMMITTED,
    FORWARD,
    HELLO,
    LEADER,
    LEARNER,
    LEASE,
    LOST,
    NO_SESSION,
    OPEN_SESSION,
    OUTCOME,
    POLL,
    READ,
    READ_INDEX,
    REMOVED,
    SNAPSHOT,
    STATUS,
    UNKNOWN,
    VOTER,
    WELCOME,
    Message,
    identity,
)
from raft.proposals import CAPACITY
from raft.sessions import SESSIONS_MAX, client_name, head
from raft.settings import Settings
from raft.wire import COMMAND_MAX, FRAME_MAX, Codec
from tests.portable.memory_store import MemoryStore
from tests.portable.table import LONG_MS, Table, name, raises
from tests.portable.test_birth import SETTINGS, Board, Cradle, born, other_than
from tests.portable.test_driver import Room
from tests.portable.test_membership import led as growing
from tests.portable.test_proposals import ask, beat, cut_off, forward, led, opened, outcomes
from tests.portable.test_sessions import ALICE, give, restored
from tests.portable.test_sessions import opened as table_of

# A. Exactly once, a false no, a false yes.


def test_no_certain_no_while_a_copy_is_in_the_leader_s_log():
    """Found by fuzz: seeds 770011, 310044, 310137, 310167 ('exactly once', about 1 run in 100).

    Board 2 passes a PC's command on to leader 1 and reboots. Leader 3 has the entry, not committed
    yet, and does not know its key: with a full window it says BUSY; to board 2, which does not know
    of its first try, that is a certain no. Then the entry commits."""
    table = led(3, Settings(window=2))
    session = opened(table)
    command = head(session, 1, 0) + add_command(0, 1)
    table.members[2].proposals.on_forward(forward(77, command))
    table.flush(2)
    table.hand(1, [f for f in table.frames if f[2][1] == FORWARD][-1][2])
    table.cut = {(1, 2), (2, 1), (3, 1)}
    table.tick(0, [1])
    table.settle()
    assert table[3].log.last_index == table[1].log.last_index == table[3].commit_index + 1
    cut_off(table, 1)
    table.crash(2)
    table.now_ms += LONG_MS
    table[3].election_at_ms = table.now_ms
    table.tick(0, [3])
    while table[3].role != LEADER:
        _, dst, frame = table.frames.pop(0)
        table.hand(dst, frame)
    table.tick(0, [3])
    table.hand(2, table.frames.pop(0)[2])
    table.frames[:] = []
    table.members[2].proposals.on_forward(forward(77, command))
    only(table, 2, (FORWARD, OUTCOME), 1, 3)
    code = told(table, 2, command)
    beat(table, 3)
    assert table[3].machine.values[0] == 1
    assert code != BUSY, "the PC heard a certain no, and it was applied"


def told(table, me, command):
    """What board `me` tells a PC that asks for the outcome of its request 77 once more."""
    outcomes(table, me)
    table.members[me].proposals.on_forward(forward(77, command))
    return [code for request, code, _ in outcomes(table, me) if request == 77][-1]


def test_a_command_that_was_applied_before_its_session_closed_is_not_refused():
    """The leader forgets what it appended as soon as that is applied, and the session with all its
    outcomes when it makes room: then NO_SESSION is no certain no for a board that handed the
    command to this leader only. The PC is told 'the change was not applied'."""
    table = led()
    session = opened(table)
    table.members[2].proposals.on_forward(forward(77, head(session, 1, 0) + add_command(0, 1)))
    table.flush(2)
    table.hand(1, [f for f in table.frames if f[2][1] == FORWARD][-1][2])
    table.frames[:] = []
    cut_off(table, 2)
    table.spread(1)
    assert table[1].machine.values[0] == 1
    close(table, session)
    table.cut = set()
    only(table, 2, (FORWARD, OUTCOME))
    assert told(table, 2, head(session, 1, 0) + add_command(0, 1)) != NO_SESSION


def test_a_command_of_one_s_own_is_not_applied_twice_when_its_session_makes_room():
    """The same for a board's own app: on that 'certain' no the board gives the command a number in
    a new session."""
    table = Table(3, Settings(snapshot_entries=8, keep_entries=0))
    table.elect(1)
    answers = ask(table, 2, add_command(0, 1))
    for _ in range(40):
        if table.members[2].proposals._sequence:
            break
        table.now_ms += 10
        for me in (1, 2, 3):
            table[me].now_ms = table.now_ms
        table[1].tick(table.now_ms)
        table.flush(1)
        while table.frames and not table.members[2].proposals._sequence:
            table.hand(table.frames[0][1], table.frames.pop(0)[2])
    table.hand(1, [f for f in table.frames if f[2][1] == FORWARD][-1][2])
    table.frames[:] = []
    cut_off(table, 2)
    session = table.members[2].proposals._session
    table.spread(1)
    assert table[1].machine.values[0] == 1 and answers == []
    close(table, session)
    for value in range(10):
        table.write(1, set_command(1, value))
    assert table[1].log.base_index > table[1].sessions.ids()[-1], "a snapshot without it"
    table.cut = set()
    for _ in range(30):
        table.now_ms += 20
        for me in table.voters:
            table[me].now_ms = table.now_ms
        table[1].tick(table.now_ms)
        table.flush(1)
        while table.frames:
            _, dst, frame = table.frames.pop(0)
            if frame[1] != FORWARD:  # lost at first
                table.hand(dst, frame)
    assert table[2].applied_index == table[1].applied_index and answers == []
    beat(table, 1, 20)
    assert table[1].machine.values[0] == 1, "applied twice, answered %s" % answers


def close(table, session):
    """The leader's log closes `session`: others open theirs."""
    for number in range(SESSIONS_MAX):
        table[1].propose(client_name(0xE9, number, 1), OPEN_SESSION)
        table[1].heartbeat_at_ms = table.now_ms
        table.tick(0, [1])
        table.settle()
    table.spread(1)
    assert session not in table[1].sessions.ids()


def only(table, me, kinds, rounds=3, leader=1, ms=100):
    """Board `me` asks again, every `ms`; only frames of these `kinds` pass, between it and
    `leader`. Returns how many passed, 100 at most."""
    passed = 0
    for _ in range(rounds):
        table.now_ms += ms
        for board in table.voters:
            table[board].now_ms = table.now_ms
        table.flush(me)
        while table.frames and passed < 100:
            src, dst, frame = table.frames.pop(0)
            if frame[1] in kinds and {src, dst} == {leader, me}:
                table.hand(dst, frame)
                passed += 1
    table.frames[:] = []
    return passed


def test_numbers_do_not_begin_again_in_a_closed_session():
    """A board learns from the leader that its session is closed before it has applied that itself
    (it always lags by a heartbeat). It looks its session up in its own table, finds the closed one,
    counts from 1 again, and takes the outcome of its old command 1 for that of the new one: a false
    yes."""
    table = led()
    closed = table[2].sessions.ids()[1]
    cut_off(table, 2)
    close(table, closed)
    assert closed in table[2].sessions.ids()
    table.cut = set()
    answers = ask(table, 2, set_command(0, 9))
    only(table, 2, (FORWARD, OUTCOME), 1, ms=0)  # the one frame: then the no is certain
    only(table, 2, (FORWARD, OUTCOME))
    codes = [a[0] for a in answers]
    assert not (COMMITTED in codes and table[1].machine.values[0] != 9), answers


def test_who_is_told_that_its_session_is_closed_does_not_ask_without_a_pause():
    """Each NO_SESSION is answered with the next FORWARD at once, as long as the board has not
    applied yet that its session was closed: the air is full of them, and the news cannot come."""
    table = led()
    closed = table[2].sessions.ids()[1]
    cut_off(table, 2)
    close(table, closed)
    table.cut = set()
    ask(table, 2, set_command(0, 8))
    only(table, 2, (FORWARD, OUTCOME), 1, ms=0)
    assert 0 < only(table, 2, (FORWARD, OUTCOME), 3) < 10


def test_a_refused_command_is_refused_at_once_also_after_16_others():
    """`Sessions.outcome` returns (0, index of the command 16 before) instead of (0, 0), and
    `_append_once` hands that index out beside BAD_INDEX: the board waits for an entry that does not
    exist, and after `proposal_ms` its app hears UNKNOWN."""
    table = led()
    for number in range(20):
        assert ask(table, 2, set_command(0, number)) == []
        beat(table, 1, 2)
    answers = ask(table, 2, set_command(5, 1))
    table.settle()
    assert answers == [(BAD_INDEX, 0, 0)], answers


def test_a_table_and_its_copy_say_the_same_of_what_is_not_applied():
    """The root of the one above, and a difference between boards that applied and boards that were
    sent a snapshot."""
    table = table_of(ALICE)
    for sequence in range(1, 20):
        give(table, 1 + sequence, 1, sequence, 0)
    assert table.outcome(1, 20) == restored(table).outcome(1, 20) == (0, 0)


def test_a_lost_forward_is_not_refused_because_a_later_command_was():
    """The leader's memory of refusals is one highest number a session: a copy of an earlier command
    that comes later is told BUSY."""
    table = led()
    first = ask(table, 2, add_command(0, 1))
    table.frames[:] = []
    second = ask(table, 2, set_command(5, 1))
    beat(table, 1, 8)
    assert second == [(BAD_INDEX, 0, 0)]
    assert [a[0] for a in first] == [COMMITTED], first


def test_a_no_to_a_later_command_is_none_to_an_earlier_one():
    """The board's memory of certain noes is one highest number a session, too: an earlier command
    of which it could not tell (and whose UNKNOWN the PC did not hear) is then told BUSY."""
    table = led()
    session = opened(table)
    proposals = table.members[2].proposals
    first = head(session, 1, 0) + add_command(0, 1)
    proposals.on_forward(forward(77, first))
    table.flush(2)
    table.hand(1, [f for f in table.frames if f[2][1] == FORWARD][-1][2])
    table.frames[:] = []
    table.cut = {(a, b) for a in table.voters for b in table.voters}
    table.now_ms += table[2].settings.proposal_ms + 1
    for me in table.voters:
        table[me].now_ms = table.now_ms
    for follower in table[1].followers.values():
        follower.heard_ms = table.now_ms
    table.flush(2)
    assert told(table, 2, first) == UNKNOWN
    for number in range(CAPACITY):
        ask(table, 2, set_command(1, number))
    proposals.on_forward(forward(78, head(session, 2, 1) + add_command(0, 1)))
    assert outcomes(table, 2)[-1] == (78, BUSY, 0)
    proposals.on_forward(forward(77, first))
    last = outcomes(table, 2)[-1]
    table.cut = set()
    beat(table, 1)
    assert table[1].role == LEADER
    assert not (last == (77, BUSY, 0) and table[1].machine.values[0] == 1), "a false no"


def applied(table):
    """(session, command): a PC's command that was applied through board 2."""
    session = opened(table)
    command = head(session, 1, 0) + add_command(0, 1)
    table.members[2].proposals.on_forward(forward(77, command))
    beat(table, 1, 4)
    assert table[2].machine.values[0] == 1
    return session, command


def crowd(table):
    """Board 2 has no room for one more proposal, and hears no leader."""
    table.cut = {(a, b) for a in table.voters for b in table.voters}
    for number in range(CAPACITY):
        ask(table, 2, set_command(1, number))
    outcomes(table, 2)


def test_a_board_without_room_does_not_refuse_what_it_has_applied():
    """Found by fuzz: seed 6454 with 5 boards ('exactly once', one run in 6,454). Board 3 told a PC
    COMMITTED, the PC did not hear it and asked again, and the board, which had no room for one more
    proposal, said BUSY before it looked whether the command was applied."""
    table = led()
    _, command = applied(table)
    crowd(table)
    table.members[2].proposals.on_forward(forward(77, command))
    assert outcomes(table, 2)[-1][:2] == (77, COMMITTED)


def test_a_board_without_room_is_sure_of_nothing_in_a_closed_session():
    """The same, when the session that remembered it was closed in between."""
    table = led()
    session, command = applied(table)
    close(table, session)
    crowd(table)
    table.members[2].proposals.on_forward(forward(77, command))
    assert outcomes(table, 2)[-1][:2] == (77, UNKNOWN)


# B. Leases.


def stalled_leader(room):
    """The leader stands still while the others elect another one and write."""
    room.run(800)
    leader = room.leader()
    room.run(200)
    assert leader.driver.raft.lease_holds()
    del room.nodes[leader.me]
    room.run(1000)
    room.leader().driver.propose(set_command(0, 9), lambda *answer: None)
    room.run(300)
    assert room.leader().driver.machine.values[0] == 9
    assert leader.driver.machine.values[0] == 0
    return leader


def test_a_poll_by_lease_is_not_answered_with_the_clock_of_before_a_stall():
    """Rule 5, pitfall 17. `Driver._receive` gives the time to `raft.receive` only: a POLL that is
    the first frame after a stall meets the lease as it was before."""
    room = Room()
    leader = stalled_leader(room)
    room.nodes[leader.me] = leader
    message = Message()
    message.type, message.dst, message.request, message.level = POLL, leader.me, 5, LEASE
    buf = bytearray(FRAME_MAX)
    leader.wire.heard = [bytes(buf[: room.pc.encode(message, buf)])]
    room.for_pc = []
    leader.driver.step()
    room.for_pc = list(leader.wire.said)
    stale = [m for m in room.pc_hears(STATUS) if m.data[:4] == bytes(4)]
    assert not stale, "a read by lease shows what was overwritten 300 ms ago"


def test_a_read_by_lease_for_another_board_neither():
    """The same for a follower's READ, which may come from the other side of a partition."""
    room = Room()
    leader = stalled_leader(room)
    follower = [me for me in room.nodes if me != room.leader().me][0]
    codec = Codec(cluster_hash("demo"), KeyRing(b"0" * 16), follower, 1, 1)
    codec.seq = 1 << 20
    message = Message()
    message.type, message.dst, message.request, message.level = READ, leader.me, 5, LEASE
    message.term = 1
    buf = bytearray(FRAME_MAX)
    leader.wire.heard = [bytes(buf[: codec.encode(message, buf)])]
    leader.wire.said = []
    leader.driver.step()
    assert not [frame for frame in leader.wire.said if frame[1] == READ_INDEX]


# C. Growth without bound.


def test_an_opening_that_is_refused_leaves_nothing_behind():
    """`_begin_session` appends a proposal at each tick while the leader says BUSY, past CAPACITY;
    finished ones are never taken away but one for each new one. On the chip: MemoryError."""
    table = Table(3, Settings(window=1))
    table.elect(1)
    cut_off(table, 1)
    table[1].propose(set_command(0, 1))
    ask(table, 1, set_command(0, 2))
    for _ in range(500):
        table.now_ms += 1
        table[1].now_ms = table.now_ms
        table.flush(1)
    assert len(table.members[1].proposals._proposals) <= CAPACITY + 1


def test_the_pause_between_hellos_is_no_big_number():
    """`_FIRST_MS << self._tries // 8`: a clone that is refused (or a virgin that waits) computes a
    number of `_tries` / 8 bits every 1.6 s: 800 bytes after a day, 25 KB after a month."""
    cradle = Cradle()
    cradle.boot(2)
    for _ in range(1000):
        cradle.now_ms += 2000
        cradle[2].driver.step()
    assert cradle[2].driver.birth._tries // 8 < 24, "beyond 30 bits"


def test_two_boards_do_not_greet_each_other_for_ever():
    """A born board answers a HELLO of a born board to itself, which answers that: each challenge of
    a stranger begins an exchange that only a lost frame ends."""
    cradle = born()
    number = other_than(cradle)
    cradle[number].off()
    cradle.run(400)
    cradle.remove(number)
    cradle.boot(number)
    cradle.run(3000)
    assert cradle.members()[number][1] != REMOVED, "it is in again"
    cradle.frames = []
    cradle.run(5000)
    assert len(cradle.of(HELLO)) < 10, "%d Hellos in 5 s" % len(cradle.of(HELLO))


# D. Members and identities.


def test_a_learner_is_caught_up_only_while_it_is_heard():
    """Design: 'after 60 s caught up'. `caught_up_ms` is reset by nothing but a SUCCESS that lags: a
    learner that was there for a moment and then switched off is promoted with its first ack, or
    gap report, after that time."""
    table = growing(2, Settings(promote_ms=2000))
    table.join(1, 3)
    table.isolate(3)
    table.beat(1, 50, 60)
    table.cut = set()
    table.beat(1, 50, 2)
    assert name(3) in table[1].configuration.learners, "a voter at once"


def test_a_learner_that_lags_far_is_not_promoted_on_its_gap_report():
    table = growing(2, Settings(promote_ms=1000, snapshot_entries=8, keep_entries=0))
    table.join(1, 3)
    table.isolate(3)
    for value in range(60):
        table.write(1, set_command(0, value))
        table.beat(1, 50, 1)
    table.cut = set()
    table[1].heartbeat_at_ms = table.now_ms
    table.tick(0, [1])
    for _ in range(2):  # heartbeat, gap report
        for _, dst, frame in [table.frames.pop(0) for _ in range(len(table.frames))]:
            table.hand(dst, frame)
    lag = table[1].log.last_index - table[1].followers[name(3)].match_index
    table.tick(50, [1])
    assert lag > 50 and name(3) in table[1].configuration.learners, "it lacks %d entries" % lag


def test_a_recorded_hello_of_a_lost_board_takes_no_voter_away():
    """Rule 2. The nonce is one a boot: what a board said while it was lost counts as fresh for as
    long as the leader is up. Played back, or only late, it makes a live voter a learner, whose
    identity is superseded; one frame for each voter leaves a cluster of one."""
    cradle = born()
    number = other_than(cradle)
    cradle[number].wipe()
    cradle.run(400)
    cradle.boot(number)
    cradle.run(2500)
    assert cradle.members()[number] == (2, VOTER)
    leader = cradle.leader()
    recorded = []
    for frame in cradle.recorded(HELLO, number):
        message = Message()
        cradle.ears.decode(frame, len(frame), message)
        if message.state == LOST:
            recorded.append(frame)
    for frame in recorded:
        leader.radio.heard.append(frame)
    cradle.run(100)
    assert cradle.members()[number] == (2, VOTER), cradle.members()


def test_a_recorded_hello_takes_nobody_away_under_the_next_leader_either():
    """All boards heard that it was lost, and each has a nonce of its own that it repeated: what has
    had its effect at one leader is fresh to the next."""
    cradle = born()
    number = other_than(cradle)
    cradle[number].wipe()
    cradle.run(400)
    cradle.boot(number)
    cradle.run(2500)
    assert cradle.members()[number] == (2, VOTER)
    first = cradle.leader()
    first.raft.now_ms = cradle.now_ms
    first.raft.transfer(other_than(cradle, number))
    first.driver.touched = True
    cradle.run(300)
    assert cradle.leader() not in (first, cradle[number])
    for frame in cradle.recorded(HELLO, number):
        cradle.leader().radio.heard.append(frame)
    cradle.run(100)
    assert cradle.members()[number] == (2, VOTER), cradle.members()


def test_what_a_member_said_does_not_let_it_in_once_it_is_removed():
    """A member's HELLO changes nothing, and is fresh for as long as the leader is up: played back
    after its removal, it brings back a board that is not there."""
    cradle = born()
    number = other_than(cradle)
    leader = cradle.leader()
    greeting = cradle.hello(number, 1, BORN, 1000 + number, [leader.number], leader.number)
    cradle[number].off()
    cradle.run(400)
    cradle.remove(number)
    leader.radio.heard.append(greeting)
    cradle.run(100)
    assert cradle.members()[number] == (1, REMOVED)


def test_a_leader_that_is_none_any_more_gives_no_identity_twice():
    """A leader lets 4 in, and stands still before it hears it. Another makes (4, 1) a voter, which
    votes and acknowledges, and loses its flash. The first leader wakes, still believes that (4, 1)
    never heard its name, and gives it again: a voter that has forgotten (rule 7)."""
    cradle = born()
    stale = cradle.leader()
    cradle.join(4, 4)
    while cradle[4].state != BORN:
        cradle.run(5)
        cradle.cut = {(4, stale.number)} if cradle[4].state == BORN else set()
    greeting = cradle.recorded(HELLO, stale.number)[-1]
    assert stale.raft.followers[identity(4, 1)].heard_seq == 0
    sleeping = stale.driver
    stale.driver = None  # it stands still
    cradle.run(1500)
    leader = cradle.leader()
    leader.raft.now_ms = cradle.now_ms
    order(leader.raft, 4, VOTER)
    leader.driver.touched = True
    cradle.write(9)
    assert cradle.members()[4] == (1, VOTER) and cradle[4].driver.machine.values[0] == 9
    cradle[4].wipe()
    # One board hears it when it comes back: the one that stood still. The other two do not.
    cradle.cut = {(4, n) for n in cradle.boards if n != stale.number}
    cradle.cut |= {(n, 4) for n in cradle.boards if n != stale.number}
    cradle.boot(4)
    cradle[4].radio.heard.append(greeting)  # played back, or late
    stale.radio.heard = []
    stale.driver = sleeping
    awake, cradle.boards = cradle.boards, {4: cradle[4], stale.number: stale}
    cradle[4].driver.step()
    cradle.now_ms += 200
    cradle[4].driver.step()
    stale.radio.heard = [f for f in stale.radio.heard if f[1] == HELLO]
    stale.driver.step()
    cradle[4].driver.step()
    cradle.boards = awake
    assert not cradle.of(WELCOME, stale.number)[1:], "the identity was used, and is given again"
    assert cradle[4].state == LOST


def test_an_old_image_on_the_same_chip_does_not_become_the_newest_identity():
    """A backup of the flash is written back after the board got its next incarnation: it says that
    it is (n, 1), with the right chip. The leader takes that for one that 'was let in twice' and
    gives it (n, 2), under which votes and acks were given that this image does not hold."""
    cradle = born()
    number = other_than(cradle)
    board = cradle[number]
    backup = bytes(board.store.image)
    board.wipe()
    cradle.run(400)
    cradle.boot(number)
    cradle.run(2500)
    cradle.write(9)
    assert cradle.members()[number] == (2, VOTER)
    held = board.raft.log.last_index
    board.off()
    cradle.run(400)
    board.store = MemoryStore(backup)
    cradle.boot(number)
    before = board.raft.log.last_index
    assert before < held
    cradle.run(1500)
    assert board.raft.identity != identity(number, 2), "a used identity, with an old log"


def test_two_new_boards_of_one_id_do_not_both_vote():
    """Pitfall 33, 'boot two boards with one image', before the cluster is born: both are virgin.
    The first configuration names the chip of id 3, and no board looks whether that is its own."""
    cradle = Cradle(3)
    cradle.boards[9] = Board(cradle, 9, 3, cradle.voters)
    cradle.boot(1, 2, 3, 9)
    cradle.run(600)
    assert not cradle[9].driver.birth.takes_part()


def test_a_late_first_board_whose_chip_nobody_knows_need_not_wait_for_minutes():
    """Its chip is 0 in the configuration when the first leader has not heard its HELLO; that counts
    as 'another chip', and (3, 1), which never existed, as 'heard' since the leader was elected: it
    is let in after `remove_ms`, ten minutes by default, of one leader's reign. So is a board that
    loses its flash if its chip was not heard at birth."""
    cradle = Cradle(3, chips=False)
    cradle.boot(1, 2)
    cradle.run(2500)
    cradle.boot(3)
    cradle.run(SETTINGS["remove_ms"] - 2500)
    assert cradle[3].state == BORN


# E. Load.


def test_an_opening_or_a_command_that_fits_into_no_append_entries_is_refused():
    """A FORWARD carries more than an AppendEntries has room for: a leader that took it would never
    come to the end of its log in `replication.speak`."""
    table = led()
    session = opened(table)
    before = table[1].log.last_index
    table.members[1].proposals.on_forward(forward(77, bytes(210), OPEN_SESSION))
    long = head(session, 1, 0) + bytes(COMMAND_MAX + 1)
    table.members[1].proposals.on_forward(forward(78, long))
    assert table[1].log.last_index == before
    assert outcomes(table, 1) == [(78, BAD_COMMAND, 0)]
    answers = []
    table.members[1].proposals.propose(
        bytes(COMMAND_MAX + 1), lambda code, index, term: answers.append(code)
    )
    assert answers == [BAD_COMMAND]


def test_copies_of_what_is_not_taken_grow_rare():
    """Repeated every 100 ms by every board for every proposal, they fill the air, and so are the
    reason why nothing is answered."""
    table = led()
    session = opened(table)
    table.cut = {(1, 2)}
    table.members[2].proposals.on_forward(forward(77, head(session, 1, 0) + add_command(0, 1)))
    sent = []
    for passed in range(0, 2000, 50):
        table.flush(2)
        sent += [passed for f in table.frames if f[2][1] == FORWARD]
        table.frames[:] = []
        table.now_ms += 50
        table[2].now_ms = table.now_ms
    assert sent == [0, 100, 300, 700, 1500]


# F. Minor.


def test_the_refusal_of_an_old_frame_is_no_gap_report():
    """A follower in the leader's new term refuses a late heartbeat of the old one with index 0. The
    leader takes that for 'I have nothing', and sends a whole snapshot to a board that lacks
    nothing."""
    table = Table(3, Settings(snapshot_entries=4, keep_entries=0))
    table.elect(1)
    for value in range(12):
        table.write(1, set_command(0, value))
    table.now_ms += 50
    for follower in table[1].followers.values():
        follower.heard_ms = table.now_ms
    table.tick(0, [1])
    late = [f for f in table.frames if f[1] == 2][0][2]
    table.frames[:] = []
    table.now_ms += LONG_MS
    table[1].become_follower(1, 0)
    table[1].election_at_ms = table.now_ms
    table.tick(0, [1])
    while table[1].role != LEADER:
        _, dst, frame = table.frames.pop(0)
        table.hand(dst, frame)
    table.frames[:] = []
    table.hand(2, late)
    answer = [f for f in table.frames if f[1] == 1][0][2]
    table.frames[:] = []
    table.hand(1, answer)
    assert not [f for f in table.frames if f[2][1] == SNAPSHOT]


def test_an_ack_that_waited_shows_nothing_of_now():
    """Found by fuzz, seed 10387 (liveness): board 3 dies, its last ack lies in the receive ring of
    a leader that stands still for long. If that counts as heard when it is read, the leader
    believes that 3 is there, and takes a voter away: the two that are left need 3."""
    table = led(3)
    for _ in range(4):
        beat(table, 1)
        table.now_ms += 50
    table.tick(0, [1])
    acks = []
    while table.frames:
        src, dst, frame = table.frames.pop(0)
        if frame[1] == APPEND:
            table.hand(dst, frame)
        elif src == 3:
            acks.append(frame)
    table.now_ms += table[1].settings.election_max_ms + 1
    for frame in acks:
        table.hand(1, frame)
    assert acks and not table[1].lately_heard(name(3))
    raises(ValueError, order, table[1], 2, LEARNER)
