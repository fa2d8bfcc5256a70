"""Any board forwards a proposal to the leader; it is applied once; nobody hears a false yes."""

from raft.intlist import add_command, cas_command, set_command
from raft.message import (
    ACCEPTED,
    BAD_INDEX,
    BATCH,
    BUSY,
    COMMITTED,
    FORWARD,
    MISMATCH,
    NO_LEADER,
    NO_SESSION,
    OPEN_SESSION,
    OUTCOME,
    SESSION_COMMAND,
    UNKNOWN,
    Message,
)
from raft.proposals import CAPACITY
from raft.sessions import SESSIONS_MAX, client_name, head
from raft.settings import Settings
from tests.portable.table import LONG_MS, Table

PC = 0xE1
CLIENT = client_name(PC, 7, 1)


def ask(table, me, command):
    """Propose at `me`; returns the list of answers (code, index, term), filled in later."""
    answers = []
    table.members[me].proposals.propose(command, lambda *answer: answers.append(answer))
    table.flush(me)
    return answers


def beat(table, leader, rounds=4):
    """Time passes, and everybody does what is due, but nobody stands."""
    for _ in range(rounds):
        table.now_ms += 50
        table[leader].tick(table.now_ms)
        for me in table.voters:
            table[me].now_ms = table.now_ms
            table.flush(me)
        table.settle()


def led(n=3, settings=None):
    """Board 1 leads, and every board has its session open."""
    table = Table(n, settings)
    table.elect(1)
    for me in table.voters:
        answers = ask(table, me, add_command(4, 1))
        beat(table, 1, 6)
        assert [a[0] for a in answers] == [COMMITTED], (me, answers)
    return table


def cut_off(table, me):
    others = [v for v in table.voters if v != me]
    table.cut = {(me, i) for i in others} | {(i, me) for i in others}


def last_of(table, me):
    """(index, term) of the last entry of board `me`'s log."""
    return table[me].log.last_index, table[me].log.last_term


def test_at_the_leader():
    table = led()
    answers = ask(table, 1, set_command(2, 34))
    table.spread(1)
    assert answers == [(COMMITTED,) + last_of(table, 1)]


def test_through_a_follower():
    table = led()
    answers = ask(table, 3, set_command(2, 34))
    table.settle()
    table.spread(1)
    assert answers == [(COMMITTED,) + last_of(table, 1)] and table[3].machine.values[2] == 34


def test_the_first_command_of_a_board_opens_its_session():
    table = Table()
    table.elect(1)
    answers = ask(table, 3, set_command(2, 34))
    beat(table, 1, 6)
    assert answers == [(COMMITTED, 3, 1)]
    kinds = [entry[1] for entry in table.entries(1)]
    assert kinds[1:] == [OPEN_SESSION, SESSION_COMMAND]
    answers = ask(table, 3, set_command(2, 35))
    beat(table, 1)
    assert answers == [(COMMITTED, 4, 1)]


def test_what_the_state_machine_says_is_the_outcome_and_no_answer_of_the_leader_is_needed():
    """A compare-and-set that failed is committed, and yet a no."""
    table = led()
    answers = ask(table, 3, cas_command(2, 1, 34))
    table.hand(1, table.frames.pop(0)[2])
    table.frames = [f for f in table.frames if f[2][1] != OUTCOME]
    table.spread(1)
    assert answers == [(MISMATCH,) + last_of(table, 1)] and table[3].machine.values[2] == 0


def test_a_wrong_index_is_refused_and_nothing_is_appended():
    table = led()
    last = table[1].log.last_index
    for me in (1, 2):
        answers = ask(table, me, set_command(5, 1))
        table.settle()
        assert answers == [(BAD_INDEX, 0, 0)]
    assert table[1].log.last_index == last


def test_a_lost_forward_is_sent_again_and_applied_once():
    table = led()
    last = table[1].log.last_index
    answers = ask(table, 2, add_command(0, 1))
    table.frames.clear()
    table.now_ms += 100
    table[1].tick(table.now_ms)
    table[2].now_ms = table.now_ms
    table.flush(2)
    forwards = list(table.frames)
    assert forwards
    for _, dst, frame in forwards + forwards:
        table.hand(dst, frame)
    table.settle()
    table.spread(1)
    assert answers == [(COMMITTED, last + 1, 1)] and table[1].log.last_index == last + 1


def test_no_leader_is_a_no():
    table = Table()
    answers = ask(table, 2, set_command(0, 1))
    assert answers == []
    table[2].election_at_ms = 1 << 29
    table.tick(table[2].settings.proposal_ms, [2])
    assert answers == [(NO_LEADER, 0, 0)] and table[2].log.last_index == 0


def test_a_proposal_goes_to_one_leader_after_the_other_and_is_applied_once():
    """Raft thesis 6.3; CockroachDB #10602. The first leader has replicated it, and dies before it
    has told anybody that it is committed. The next one knows what is in its log."""
    table = led()
    answers = ask(table, 2, add_command(0, 1))
    table.hand(1, table.frames.pop(0)[2])
    table.tick(0, [1])
    appends = [f for f in table.frames if f[1] == 3]
    table.frames.clear()
    for _, dst, frame in appends:
        table.hand(dst, frame)  # board 3 has it, and nobody hears board 3
    table.frames.clear()
    cut_off(table, 1)
    table.elect(3)
    beat(table, 3)
    assert [a[0] for a in answers] == [COMMITTED]
    added = [e for e in table.entries(3) if e[2].endswith(add_command(0, 1))]
    assert len(added) == 1
    assert table[2].machine.values[0] == table[3].machine.values[0] == 1


def test_what_only_a_dead_leader_had_is_handed_to_the_next():
    table = led(5)
    cut_off(table, 1)
    answers = ask(table, 1, set_command(0, 1))
    table.elect(2)
    table.write(2, set_command(0, 2))
    assert answers == []
    table.cut = set()
    beat(table, 2, 6)
    assert [a[0] for a in answers] == [COMMITTED]
    assert all(table[me].machine.values[0] == 1 for me in table.voters)


def test_nobody_can_tell_in_time():
    table = led()
    cut_off(table, 1)
    answers = ask(table, 1, set_command(0, 1))
    beat(table, 1, table[1].settings.proposal_ms // 50 + 1)
    assert answers == [(UNKNOWN,) + last_of(table, 1)]


def test_a_snapshot_that_takes_the_entry_s_place_brings_its_outcome():
    table = led(3, Settings(snapshot_entries=8, keep_entries=0))
    answers = ask(table, 3, add_command(0, 1))
    table.hand(1, table.frames.pop(0)[2])
    table.frames.clear()
    cut_off(table, 3)
    for value in range(40):
        table.write(1, set_command(1, value))
    assert answers == [] and table[1].log.base_index > table[3].log.last_index
    table.cut = set()
    beat(table, 1, 30)
    assert table[3].snapshot.index > 20 and [a[0] for a in answers] == [COMMITTED]
    assert table[3].machine.values[0] == 1


def test_too_many_at_once_is_busy():
    table = led()
    table.cut = {(2, 1)}
    answers = [ask(table, 2, set_command(0, i)) for i in range(CAPACITY + 1)]
    assert answers[-1] == [(BUSY, 0, 0)] and answers[0] == []


def test_a_full_log_is_busy_and_its_copies_are_refused_too():
    """A second copy on its way must not be taken after the certain no."""
    table = led(3, Settings(window=2))
    cut_off(table, 3)
    table.cut = {(2, 1), (3, 1)}
    for _ in range(2):
        ask(table, 1, add_command(1, 1))
    answers = ask(table, 2, add_command(0, 1))
    table.cut = set()
    table[2].now_ms = table.now_ms = table.now_ms + 100
    table.flush(2)
    copy = [f for f in table.frames if f[2][1] == FORWARD][-1]
    table.frames.clear()
    table.hand(1, copy[2])
    table.settle()
    assert answers == [(BUSY, 0, 0)]
    beat(table, 1)
    last = table[1].log.last_index
    table.hand(1, copy[2])
    beat(table, 1)
    assert table[1].log.last_index == last and table[1].machine.values[0] == 0


# A PC's own session.


def forward(request, data, kind=SESSION_COMMAND, src=PC, incarnation=7):
    message = Message()
    message.type, message.src, message.incarnation, message.epoch = FORWARD, src, incarnation, 1
    message.request, message.data, message.kind = request, data, kind
    return message


def outcomes(table, me):
    """OUTCOMEs that `me` wants to send to the PC: (request, code, index)."""
    found = []
    raft = table[me]

    def note(m):
        if m.dst == PC:
            found.append((m.request, m.code, m.index))

    if raft.unsaved:
        table.members[me].save()
    raft.outbox.drain_late(note, True)
    return found


def opened(table, me=1):
    """The id of the PC's session, opened through board `me`."""
    proposals = table.members[me].proposals
    proposals.on_forward(forward(1, CLIENT, OPEN_SESSION))
    beat(table, 1, 6)
    proposals.on_forward(forward(1, CLIENT, OPEN_SESSION))
    request, code, index = outcomes(table, me)[-1]
    assert (request, code) == (1, COMMITTED) and index > 0
    return index


def test_a_pc_hears_taken_then_committed_and_a_repeat_changes_nothing():
    table = led()
    session = opened(table)
    proposals = table.members[1].proposals
    last = table[1].log.last_index
    command = head(session, 1, 0) + add_command(0, 1)
    proposals.on_forward(forward(77, command))
    proposals.on_forward(forward(77, command))
    assert outcomes(table, 1) == [(77, ACCEPTED, last + 1)] * 2
    table.spread(1)
    assert table[1].commit_index == last + 1
    proposals.on_forward(forward(77, command))
    assert outcomes(table, 1) == [(77, COMMITTED, last + 1)]
    assert table[1].log.last_index == last + 1


def test_the_same_command_through_another_board_and_much_later_is_applied_once():
    table = led()
    session = opened(table)
    command = head(session, 1, 0) + add_command(0, 1)
    table.members[1].proposals.on_forward(forward(77, command))
    table.flush(1)
    table.spread(1)
    index = table[1].log.last_index
    for number in range(CAPACITY + 3):
        ask(table, 1, set_command(1, number))
        table.spread(1)
    for me in (1, 2):
        table.members[me].proposals.on_forward(forward(78, command))
        assert outcomes(table, me)[-1] == (78, COMMITTED, index)
    beat(table, 1)
    assert table[1].machine.values[0] == table[2].machine.values[0] == 1


def test_a_command_that_its_client_has_given_up_is_never_applied():
    table = led()
    session = opened(table)
    table.members[1].proposals.on_forward(forward(78, head(session, 9, 0) + add_command(0, 1)))
    table.flush(1)
    table.spread(1)
    table.members[1].proposals.on_forward(forward(77, head(session, 8, 0) + add_command(0, 1)))
    assert outcomes(table, 1)[-1] == (77, UNKNOWN, 0)
    beat(table, 1)
    assert table[1].machine.values[0] == 1


def test_a_command_of_a_session_that_made_room_is_refused_never_applied():
    table = led()
    session = opened(table)
    for number in range(SESSIONS_MAX):
        table[1].propose(client_name(0xE2, number, 1), OPEN_SESSION)
    beat(table, 1)
    table.members[1].proposals.on_forward(forward(77, head(session, 1, 0) + add_command(0, 1)))
    assert outcomes(table, 1)[-1] == (77, NO_SESSION, 0)
    # Neither is one that is in the log already.
    table[1].propose(head(session, 1, 0) + add_command(0, 1), SESSION_COMMAND)
    beat(table, 1)
    assert table[1].machine.values[0] == 0


def test_a_board_whose_session_made_room_opens_another():
    table = led()
    for number in range(SESSIONS_MAX):
        table[1].propose(client_name(0xE2, number, 1), OPEN_SESSION)
    beat(table, 1)
    answers = [ask(table, 2, add_command(0, 1)) for _ in range(3)]
    beat(table, 1, 12)
    assert [a[0][0] for a in answers] == [COMMITTED] * 3 and table[1].machine.values[0] == 3


def test_the_same_client_asks_twice_and_has_one_session():
    table = led()
    session = opened(table)
    table[1].propose(CLIENT, OPEN_SESSION)
    beat(table, 1)
    assert table[1].sessions.of_client(CLIENT) == table[2].sessions.of_client(CLIENT) == session


def test_who_is_told_busy_is_not_taken_by_a_copy():
    table = led()
    session = opened(table)
    proposals = table.members[2].proposals
    table.cut = {(2, 1)}
    for number in range(CAPACITY):
        ask(table, 2, set_command(1, number))
    command = head(session, 1, 0) + add_command(0, 1)
    proposals.on_forward(forward(77, command))
    assert outcomes(table, 2)[-1] == (77, BUSY, 0)
    table.cut = set()
    beat(table, 1, 6)
    proposals.on_forward(forward(77, command))
    assert outcomes(table, 2)[-1] == (77, BUSY, 0)
    beat(table, 1, 6)
    assert table[1].machine.values[0] == 0


def test_boards_do_not_pass_a_forward_on():
    table = led()
    asked = forward(1, head(2, 1, 0) + add_command(0, 1), src=3, incarnation=1)
    asked.term = table[2].term
    table.members[2].proposals.on_forward(asked)
    assert table[2].outbox.waiting == 0


def test_an_outcome_of_an_earlier_boot_or_for_another_board_is_no_answer():
    """A replayed OUTCOME whose request number happens to fit; a board that had our id."""
    table = led(3, Settings(proposal_ms=LONG_MS))
    table.cut = {(2, 1)}
    answers = ask(table, 2, set_command(0, 1))
    asked = table.members[2].proposals._proposals[-1]
    old = Message()
    old.src, old.dst, old.term, old.code = 1, 2, asked.leader_term, BUSY
    old.request = asked.request
    for epoch, incarnation in ((0, 1), (1, 2)):
        old.heard_epoch, old.dst_incarnation = epoch, incarnation
        table.members[2].proposals.on_outcome(old, 1)
    assert answers == []
    old.heard_epoch, old.dst_incarnation = 1, 1
    table.members[2].proposals.on_outcome(old, 1)
    assert answers == [(BUSY, 0, 0)]


def test_two_copies_in_the_log_are_applied_once():
    table = led()
    session = opened(table)
    for _ in range(2):
        table[1].propose(head(session, 1, 0) + add_command(0, 1), SESSION_COMMAND)
    beat(table, 1)
    assert table[1].machine.values[0] == table[2].machine.values[0] == 1


# Several at once.


def frames_of(table, kind):
    return [frame for _, _, frame in table.frames if frame[1] == kind]


def test_what_waits_for_a_frame_under_way_goes_out_in_one():
    table = led()
    first = ask(table, 2, set_command(0, 1))
    held = list(table.frames)
    assert len(frames_of(table, FORWARD)) == 1
    table.frames[:] = []
    others = [ask(table, 2, set_command(1, value)) for value in range(5)]
    assert table.frames == [], "the first one may arrive still"
    table.frames[:] = held
    beat(table, 1, 6)
    assert [a[0][0] for a in [first] + others] == [COMMITTED] * 6
    assert table[1].machine.values[:2] == [1, 4]


def test_a_batch_is_taken_one_by_one():
    """One that cannot be is refused alone, with its own number; copies of all do no harm."""
    table = led()
    ask(table, 2, set_command(0, 1))
    table.frames[:] = []
    answers = [ask(table, 2, command) for command in (set_command(1, 1), set_command(9, 1))]
    table.now_ms += LONG_MS // 5
    table.flush(2)
    table.tick(0, [2])
    copies = [frame for frame in table.frames if frame[2][1] == BATCH]
    assert len(copies) == 1
    table.frames += copies
    beat(table, 1, 8)
    assert [a[0][0] for a in answers] == [COMMITTED, BAD_INDEX]
    assert table[1].machine.values[:2] == [1, 1]
