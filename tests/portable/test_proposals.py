"""Any board forwards a proposal to the leader; the asker never hears a false yes."""

from raft.intlist import cas_command, set_command
from raft.message import (
    ACCEPTED,
    BAD_INDEX,
    BUSY,
    COMMITTED,
    FORWARD,
    LOST,
    MISMATCH,
    NO_LEADER,
    OUTCOME,
    UNKNOWN,
    Message,
)
from raft.proposals import CAPACITY, Proposals
from tests.portable.table import Table


def ask(table, me, command):
    """Propose at `me`; returns the list of answers (code, index, term), filled in later."""
    answers = []
    table.members[me].proposals.propose(command, lambda *answer: answers.append(answer))
    table.flush(me)
    return answers


def beat(table, leader, rounds=4):
    for _ in range(rounds):
        table.tick(50, [leader])
        table.settle()


def test_at_the_leader():
    table = Table()
    table.elect(1)
    answers = ask(table, 1, set_command(2, 34))
    table.spread(1)
    assert answers == [(COMMITTED, 2, 1)]


def test_through_a_follower():
    table = Table()
    table.elect(1)
    answers = ask(table, 3, set_command(2, 34))
    table.settle()
    table.spread(1)
    assert answers == [(COMMITTED, 2, 1)] and table[3].machine.values[2] == 34


def test_what_the_state_machine_says_is_the_outcome_however_late_the_answer():
    """A compare-and-set that failed is committed, and yet a no: also where the entry was applied
    before the leader's answer came."""
    table = Table()
    table.elect(1)
    answers = ask(table, 3, cas_command(2, 1, 34))
    forward = table.frames.pop(0)
    table.hand(1, forward[2])
    answer = [f for f in table.frames if f[1] == 3 and f[2][1] == OUTCOME]
    table.frames = [f for f in table.frames if f not in answer]
    table.members[1].proposals = Proposals(table[1])  # its second answer is lost with it
    table.spread(1)
    assert table[3].applied_index == 2 and answers == [] and len(answer) == 1
    table.hand(3, answer[0][2])
    assert answers == [(MISMATCH, 2, 1)] and table[3].machine.values[2] == 0


def test_a_wrong_index_is_refused_and_nothing_is_appended():
    table = Table()
    table.elect(1)
    for me in (1, 2):
        answers = ask(table, me, set_command(5, 1))
        table.settle()
        assert answers == [(BAD_INDEX, 0, 0)]
    assert table[1].log.last_index == 1


def test_a_lost_forward_is_sent_again_and_applied_once():
    table = Table()
    table.elect(1)
    answers = ask(table, 2, set_command(0, 1))
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
    assert answers == [(COMMITTED, 2, 1)] and table[1].log.last_index == 2


def test_no_leader_is_a_no():
    table = Table()
    answers = ask(table, 2, set_command(0, 1))
    assert answers == []
    table[2].election_at_ms = 1 << 29
    table.tick(table[2].settings.proposal_ms, [2])
    assert answers == [(NO_LEADER, 0, 0)] and table[2].log.last_index == 0


def test_a_leader_that_dies_with_the_proposal_leaves_it_unknown():
    table = Table()
    table.elect(1)
    table.cut = {(1, 2), (1, 3)}
    answers = ask(table, 2, set_command(0, 1))
    table.settle()
    assert answers == []
    table.elect(3)
    table.tick(0, [2])
    assert answers == [(UNKNOWN, 0, 0)]


def test_an_entry_that_a_new_leader_replaced_is_lost_not_committed():
    table = Table(5)
    table.elect(1)
    others = (2, 3, 4, 5)
    table.cut = {(1, i) for i in others} | {(i, 1) for i in others}
    answers = ask(table, 1, set_command(0, 1))
    table.elect(2)
    table.write(2, set_command(0, 2))
    assert answers == []
    table.cut = set()
    beat(table, 2)
    assert answers == [(LOST, 2, 1)] and table[1].machine.values[0] == 2


def test_too_many_at_once_is_busy():
    table = Table()
    table.elect(1)
    table.cut = {(2, 1)}
    answers = [ask(table, 2, set_command(0, i)) for i in range(CAPACITY + 1)]
    assert answers[-1] == [(BUSY, 0, 0)] and answers[0] == []


def forward(src, request, command, epoch=1):
    message = Message()
    message.type, message.src, message.incarnation, message.epoch = FORWARD, src, 7, epoch
    message.request, message.data = request, command
    return message


def outcomes(table, me):
    """OUTCOMEs that `me` wants to send: (dst, request, code, index)."""
    found = []
    raft = table[me]

    def note(m):
        found.append((m.dst, m.request, m.code, m.index))

    if raft.unsaved:
        table.members[me].save()
    raft.outbox.drain_late(note, True)
    return [f for f in found if f[0] >= 0xE0]


def test_a_pc_hears_taken_then_committed_and_a_repeat_changes_nothing():
    table = Table()
    table.elect(1)
    proposals = table.members[1].proposals
    proposals.on_forward(forward(0xE1, 77, set_command(0, 1)))
    proposals.on_forward(forward(0xE1, 77, set_command(0, 1)))
    assert outcomes(table, 1) == [(0xE1, 77, ACCEPTED, 2)] * 2
    assert table[1].log.last_index == 2
    table.spread(1)
    assert table[1].commit_index == 2
    proposals.on_forward(forward(0xE1, 77, set_command(0, 1)))
    assert outcomes(table, 1) == [(0xE1, 77, COMMITTED, 2)]
    assert table[1].log.last_index == 2


def test_a_very_late_repeat_is_unknown_not_a_second_write():
    table = Table()
    table.elect(1)
    proposals = table.members[1].proposals
    for request in range(CAPACITY + 3):
        proposals.on_forward(forward(0xE1, 10 + request, set_command(0, request)))
        table.flush(1)
        table.spread(1)
    last = table[1].log.last_index
    proposals.on_forward(forward(0xE1, 10, set_command(0, 0)))
    assert outcomes(table, 1) == [(0xE1, 10, UNKNOWN, 0)] and table[1].log.last_index == last


def test_boards_do_not_pass_a_forward_on():
    table = Table()
    table.elect(1)
    asked = forward(3, 1, set_command(0, 1))
    asked.term = table[2].term
    table.members[2].proposals.on_forward(asked)
    found = []
    table[2].outbox.drain_late(lambda m: found.append((m.dst, m.code)), True)
    assert found == [(3, NO_LEADER)]


def test_a_board_that_may_have_led_does_not_say_a_certain_no():
    """It may have appended, sent, rebooted and forgotten: the next leader commits the entry."""
    table = Table()
    table.elect(1)
    table[1].become_follower(1, 0)
    asked = forward(3, 1, set_command(0, 1))
    asked.term = 1
    table.members[1].proposals.on_forward(asked)
    found = []
    table[1].outbox.drain_late(lambda m: found.append((m.dst, m.code)), True)
    assert (3, UNKNOWN) in found


def test_an_outcome_of_an_earlier_boot_is_no_answer():
    """The false yes: a replayed OUTCOME whose request number happens to fit."""
    table = Table()
    table.elect(1)
    table.cut = {(2, 1)}
    answers = ask(table, 2, set_command(0, 1))
    old = Message()
    old.src, old.heard_epoch, old.request, old.code = 1, 0, 1, ACCEPTED
    old.index, old.entry_term = 1, 1
    table.members[2].proposals.on_outcome(old, 1)
    beat(table, 1)
    assert answers == []
