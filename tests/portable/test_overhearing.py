"""Acks in turn and overheard commits (docs/protocol.md, overhearing): one test a rule."""

from raft.intlist import set_command
from raft.message import (
    ACK,
    APPEND,
    COMMAND,
    EVERYONE,
    FOLLOWER,
    GRANTED,
    LEARNER,
    NOBODY,
    NOOP,
    PRE,
    SUCCESS,
    VOTE,
    VOTER,
    Message,
)
from raft.overhearing import likely_leader
from raft.settings import Settings
from tests.portable.table import LONG_MS, Table, name

ENTRY = (1, COMMAND, set_command(0, 7))


def told(kind, src, dst, term=1, **fields):
    message = Message()
    message.type, message.src, message.dst, message.term = kind, src, dst, term
    message.incarnation = message.dst_incarnation = message.epoch = 1
    for field, value in fields.items():
        setattr(message, field, value)
    return message


def append(entries, prev_index=0, prev_term=0, durable_index=0, asked=0, seq=1, **fields):
    return told(
        APPEND,
        1,
        EVERYONE,
        entries=list(entries),
        prev_index=prev_index,
        prev_term=prev_term,
        durable_index=durable_index,
        asked=asked,
        seq=seq,
        **fields,
    )


def ack(src, index, term=1, flags=SUCCESS):
    return told(ACK, src, 1, term=term, flags=flags, index=index)


def follower(boards=5, entries=1, durable_index=1, asked=0):
    """Board 5 of five, that has one entry (or more) of leader 1, term 1, on its flash."""
    table = Table(boards, overhears=True)
    hear(table, append([ENTRY] * entries, durable_index=durable_index, asked=asked))
    return table, table[5]


def hear(table, message, me=5):
    table[me].receive(message, table.now_ms)
    table.flush(me)


def sent(table, kind=ACK):
    """What was said of that kind since this was asked last, each once."""
    frames = []
    for _, _, frame in table.frames:
        if frame[1] == kind and frame not in frames:
            frames.append(frame)
    table.frames[:] = []
    messages = []
    for frame in frames:
        message = Message()
        assert table.members[1].codec.decode(frame, len(frame), message) is None
        messages.append(message)
    return messages


# What is committed.


def test_a_majority_that_is_overheard_commits():
    table, raft = follower()
    assert raft.commit_index == 0, "leader and this board are two of five"
    hear(table, ack(2, 1))
    assert raft.commit_index == raft.applied_index == 1


def test_a_learner_commits_so_too_and_never_counts():
    table, raft = follower()
    members = [(me, 1, VOTER if me < 5 else LEARNER, 0) for me in table.voters]
    raft.configuration = type(raft.configuration)(members)
    hear(table, ack(2, 1))
    assert raft.commit_index == 0, "two of the four voters"
    hear(table, ack(3, 1))
    assert raft.commit_index == 1
    assert not any([who in raft.configuration.voters for who in (name(5),)])


def test_the_leader_counts_as_far_as_it_says_that_its_flash_is():
    table, raft = follower(durable_index=0)
    hear(table, ack(2, 1))
    assert raft.commit_index == 0
    hear(table, append([], 1, 1, durable_index=1, seq=2))
    assert raft.commit_index == 1


def test_the_own_entry_counts_when_it_is_written():
    table = Table(5, overhears=True)
    raft = table[5]
    raft.receive(append([ENTRY], durable_index=1), 0)
    raft.receive(ack(2, 1), 0)
    assert raft.commit_index == 0
    table.flush(5)
    assert raft.commit_index == 1


def test_an_ack_counts_once_and_for_its_own_index():
    table, raft = follower(entries=2, durable_index=2)
    for _ in range(3):
        hear(table, ack(2, 1))
    assert raft.commit_index == 1
    hear(table, ack(3, 2))
    assert raft.commit_index == 2


def test_acks_of_another_term_say_nothing():
    table, raft = follower()
    hear(table, ack(2, 1, term=0))
    assert raft.commit_index == 0
    hear(table, ack(3, 1, term=2))
    assert raft.commit_index == 0 and raft.term == 1
    hear(table, ack(2, 1))
    assert raft.commit_index == 1


def test_what_was_overheard_ends_with_its_term():
    table = Table(5, overhears=True)
    raft = table[5]
    hear(table, append([ENTRY], durable_index=1))
    for acker in (2, 3, 4):
        raft.heard.acks[name(acker)] = 2  # of an entry that never came here
    raft.become_follower(2, NOBODY)
    hear(
        table,
        told(
            APPEND,
            2,
            EVERYONE,
            2,
            entries=[(2, COMMAND, b"x")],
            prev_index=1,
            prev_term=1,
            durable_index=0,
            asked=0,
            seq=1,
        ),
    )
    assert raft.log.last_index == 2 and raft.commit_index == 0


def test_a_gap_report_is_no_ack():
    table, raft = follower()
    hear(table, ack(2, 1, flags=0))
    assert raft.commit_index == 0


def test_an_entry_of_an_older_term_is_not_counted():
    """Figure 8: it could still be replaced, on whatever majority it is."""
    table = Table(5, overhears=True)
    hear(table, append([ENTRY], durable_index=1))
    raft = table[5]
    raft.become_follower(2, NOBODY)
    beat = {"prev_index": 1, "prev_term": 1, "entries": [], "durable_index": 1, "asked": 0}
    hear(table, told(APPEND, 1, EVERYONE, 2, seq=9, **beat))
    for acker in (2, 3, 4):
        hear(table, ack(acker, 1, term=2))
    assert raft.heard.agreed_index == 1 and raft.commit_index == 0
    hear(
        table,
        told(
            APPEND,
            1,
            EVERYONE,
            2,
            seq=10,
            prev_index=1,
            prev_term=1,
            durable_index=2,
            asked=0,
            entries=[(2, COMMAND, set_command(0, 1))],
        ),
    )
    hear(table, ack(2, 2, term=2))
    assert raft.commit_index == 2


def test_not_beyond_what_this_leader_has_shown_to_be_equal():
    """Its own old tail is none of the leader's, whatever others acknowledge at those indexes."""
    table = Table(5, overhears=True)
    raft = table[5]
    hear(table, append([ENTRY] * 3, durable_index=0))
    raft.become_follower(2, NOBODY)
    raft.log._entries[2] = (2, COMMAND, b"of nobody")
    hear(
        table,
        told(
            APPEND,
            1,
            EVERYONE,
            2,
            seq=9,
            prev_index=2,
            prev_term=1,
            entries=[],
            durable_index=3,
            asked=0,
        ),
    )
    for acker in (2, 3, 4):
        hear(table, ack(acker, 3, term=2))
    assert raft.commit_index == 0


def test_what_is_replaced_was_not_equal():
    table, raft = follower(entries=3, durable_index=0)
    assert raft.heard.agreed_index == 3
    raft.leader = NOBODY
    raft.heard_leader_ms = -LONG_MS
    raft.log._entries[1] = raft.log._entries[2] = (0, COMMAND, b"older")
    lent = told(
        APPEND, 2, 5, 1, prev_index=1, prev_term=1, entries=[ENTRY], last_index=4, last_term=1
    )
    lent.type = 19
    hear(table, lent)
    assert raft.log.last_index == 2 and raft.heard.agreed_index == 1


def test_by_the_configuration_in_the_equal_part_only():
    table, raft = follower()
    raft.configuration_index = 2
    hear(table, ack(2, 1))
    hear(table, ack(3, 1))
    assert raft.commit_index == 0


def test_who_is_not_its_follower_counts_nothing():
    table, raft = follower()
    raft.become_pre_candidate()
    hear(table, ack(2, 1))
    assert raft.role != FOLLOWER and raft.commit_index == 0


def test_with_broadcast_off_nothing_is_overheard():
    table = Table(5)
    hear(table, append([ENTRY], durable_index=1))
    hear(table, ack(2, 1))
    assert table[5].commit_index == 0


# Who answers, and when.

SLOT_MS = Settings().slot_ms


def pass_ms(table, ms, me=5):
    table.tick(ms, [me])


def test_who_is_asked_first_answers_at_once_and_the_next_a_slot_later():
    for seq, turns in ((4, {5: 0, 2: 1}), (1, {2: 0, 5: 1})):
        for me, turn in turns.items():
            table = Table(5, overhears=True)
            hear(table, append([ENTRY], durable_index=1, asked=0b10010, seq=seq), me)
            for _ in range(turn):
                assert sent(table) == []
                pass_ms(table, SLOT_MS, me)
            answer = sent(table)[0]
            assert (answer.src, answer.index, answer.heard_seq) == (me, 1, seq)
            assert answer.flags & SUCCESS


def test_an_idle_follower_that_is_not_asked_stays_silent():
    table, raft = follower(asked=0b10000)
    sent(table)
    hear(table, append([], 1, 1, durable_index=1, asked=0b00010, seq=2))
    pass_ms(table, 20 * SLOT_MS)
    assert sent(table) == []


def test_who_was_not_asked_speaks_when_too_few_are_heard():
    table, raft = follower(asked=0b00110)
    hear(table, ack(2, 1))
    pass_ms(table, 5 * SLOT_MS)
    assert sent(table) == [], "the others may speak still"
    pass_ms(table, 15 * SLOT_MS)
    assert [answer.index for answer in sent(table)] == [1]
    pass_ms(table, 20 * SLOT_MS)
    assert sent(table) == []


def test_who_was_not_asked_stays_silent_when_the_leader_has_heard_enough():
    table, raft = follower(asked=0b00110)
    hear(table, ack(2, 1))
    assert raft.commit_index == 1, "it knows by its own entry; the leader does not"
    hear(table, ack(3, 1))
    pass_ms(table, 30 * SLOT_MS)
    assert sent(table) == []


def test_a_gap_report_is_always_sent():
    table = Table(5, overhears=True)
    hear(table, append([], 4, 1, durable_index=4, asked=0b00110))
    pass_ms(table, 10 * SLOT_MS)
    answer = sent(table)[0]
    assert not answer.flags & SUCCESS and answer.index == 0


def test_an_ack_names_the_newest_heartbeat_that_came():
    """Its promise counts from that one on, and it was given when that one came."""
    table, raft = follower(asked=0b00110)
    hear(table, append([], 1, 1, durable_index=1, seq=7))
    pass_ms(table, 20 * SLOT_MS)
    assert sent(table)[0].heard_seq == 7
    hear(table, append([], 1, 1, durable_index=1, asked=0b10000, seq=6))
    assert sent(table)[0].heard_seq == 7, "a late copy"


def test_no_ack_is_owed_in_another_term():
    table, raft = follower(asked=0b00110)
    raft.become_follower(2, NOBODY)
    pass_ms(table, 30 * SLOT_MS)
    assert sent(table) == []


def led(boards=5):
    """Board 1 leads, in our way; all is committed everywhere, and a while passed."""
    table = Table(boards, overhears=True)
    table.elect(1)
    for _ in range(10):
        beat(table)
    return table


def beat(table):
    """Let the time of one heartbeat pass; the AppendEntries in it."""
    said = []
    for ms in [SLOT_MS] * 8 + [50 - 8 * SLOT_MS]:
        table.tick(ms)
        said += sent_to(table, 2)
        table.settle()
    return said


def sent_to(table, me):
    """The AppendEntries that are on their way to board `me`."""
    said = []
    for _, dst, frame in table.frames:
        if dst == me and frame[1] == APPEND:
            message = Message()
            assert table.members[me].codec.decode(frame, len(frame), message) is None
            said.append(message)
    return said


def asked_by(table, me=1):
    """How many each AppendEntries asked that `me` sent since this was asked last."""
    return [bin(message.asked).count("1") for message in sent(table, APPEND)]


def test_entries_ask_as_many_as_make_a_majority_in_turn():
    table = led()
    bits = []
    for value in range(4):
        table[1].propose(set_command(0, value))
        table.tick(0, [1])
        bits.append(sent_to(table, 2)[0].asked)
        table.settle()
        table.tick(SLOT_MS)
        table.settle()
    assert [bin(asked).count("1") for asked in bits] == [2] * 4
    assert bits[0] | bits[1] == 0b11110 and bits[1] | bits[2] == 0b11110


def test_an_idle_heartbeat_asks_few_and_everybody_in_four():
    for boards, most in ((5, 1), (15, 4)):
        table = led(boards)
        asked = []
        for _ in range(8):
            asked += [message.asked for message in beat(table)]
        counts = [bin(bits).count("1") for bits in asked]
        assert len(asked) == 8 and max(counts) <= most and sum(counts) == 2 * (boards - 1), counts
        union = 0
        for bits in asked:
            union |= bits
        assert union == (1 << boards) - 2


def test_when_few_are_heard_all_are_asked():
    table = led()
    for _ in range(6):
        table.tick(50, [1])
    assert max(asked_by(table)) == 4


def test_the_leader_counts_acks_that_others_pass_on():
    table = led()
    table.cut = {(2, 1), (3, 1)}
    for value in range(4):
        table[1].propose(set_command(0, value))
        for _ in range(2):
            beat(table)
    follower = table[1].followers[name(2)]
    assert table[1].commit_index == table[1].log.last_index
    assert follower.match_index > table[1].log.last_index - 4, "it was passed on..."
    assert follower.heard_ms < table.now_ms - 8 * 50, "...and is not heard for that"


def test_nobody_passes_on_what_is_for_another_configuration():
    table, raft = follower()
    hear(table, ack(2, 1))
    raft.configuration_index = 9
    hear(table, append([], 1, 1, durable_index=1, asked=0b10000, seq=4))
    assert [answer.overheard for answer in sent(table)] == [0]
    raft.configuration_index = 1
    hear(table, append([], 1, 1, durable_index=1, asked=0b10000, seq=9))
    assert [answer.overheard for answer in sent(table)] == [0b00010]


def test_a_leader_reads_no_bits_of_another_configuration():
    table = led()
    raft = table[1]
    raft.configuration_index = raft.log.last_index + 1
    before = raft.followers[name(2)].match_index
    raft.log.append((raft.term, COMMAND, set_command(0, 1)))
    passed_on = told(ACK, 3, 1, raft.term, flags=SUCCESS, index=before + 1, overheard=0b00010)
    passed_on.heard_epoch = passed_on.heard_seq = 0
    raft.configuration_index = before + 2
    raft.receive(passed_on, table.now_ms)
    assert raft.followers[name(2)].match_index == before
    raft.configuration_index = before
    raft.receive(passed_on, table.now_ms)
    assert raft.followers[name(2)].match_index == before + 1


# Votes.


def test_votes_on_the_air_tell_where_to_go_and_nothing_else():
    table = Table(5, overhears=True)
    raft = table[5]
    raft.become_follower(3, NOBODY)
    before = (raft.election_at_ms, raft.heard_leader_ms, raft.promised_until_ms)
    for voter in (3, 4):
        assert likely_leader(raft) == NOBODY
        raft.receive(told(VOTE, voter, 2, 3, flags=GRANTED), 5)
    assert likely_leader(raft) == 2 and raft.leader == NOBODY
    assert (raft.election_at_ms, raft.heard_leader_ms, raft.promised_until_ms) == before
    raft.become_follower(4, NOBODY)
    assert likely_leader(raft) == NOBODY


def test_pre_votes_and_refusals_tell_nothing():
    table = Table(3, overhears=True)
    raft = table[3]
    raft.become_follower(3, NOBODY)
    for flags in (0, GRANTED | PRE):
        raft.receive(told(VOTE, 1, 2, 3, flags=flags), 5)
    assert likely_leader(raft) == NOBODY
    raft.receive(told(VOTE, 1, 2, 3, flags=GRANTED), 5)
    assert likely_leader(raft) == 2


# Repair.


def gaps(table, followers, entries=3):
    """These miss some entries of leader 1, and say so with its next frame."""
    table.cut = {(1, me) for me in followers}
    for value in range(entries):
        table[1].propose(set_command(0, value))
        beat(table)
    table.cut = set()
    for _ in range(2):
        beat(table)


def repairs(table, followers):
    """Whom the frames were for that brought it to them, while they were behind."""
    seen = []
    leave = table._put

    def put(src, message):
        if message.type == APPEND and any([table[1].followers[name(f)].behind for f in followers]):
            if message.entries:
                seen.append(message.dst)
        leave(src, message)

    table._put = put
    gaps(table, followers)
    return seen


def test_one_that_lacks_entries_gets_a_frame_of_its_own():
    table = led()
    seen = repairs(table, [4])
    assert 4 in seen and table[4].log.last_index == table[1].log.last_index


def test_several_that_lack_the_same_get_it_with_one_frame():
    table = led()
    table[1].followers[name(5)].behind = True
    table.cut = {(1, 4), (1, 5)}
    table[1].propose(set_command(0, 1))
    beat(table)
    table.cut = {(1, 4), (1, 5), (4, 1), (5, 1)}
    gap = told(ACK, 4, 1, table[1].term, flags=0, index=1, entry_term=1, heard_epoch=1)
    gap.heard_seq = table[1].append_seq
    table[1].receive(gap, table.now_ms)
    table.cut = set()
    table.flush(1)
    frame = sent_to(table, 4)[0]
    assert (frame.dst, frame.prev_index, frame.asked) == (EVERYONE, 1, 0b11000)
    for _ in range(2):
        beat(table)
    for me in (4, 5):
        assert table[me].log.last_index == table[1].log.last_index == table[me].commit_index


def test_nothing_new_while_a_majority_lacks_what_was_sent():
    table = led()
    for who in (2, 3, 4):
        table[1].followers[name(who)].behind = True
    sent_index = table[1].sent_index
    table[1].propose(set_command(0, 1))
    table.tick(50, [1])
    assert [len(message.entries) for message in sent_to(table, 2)] == [0]
    assert table[1].sent_index == sent_index
    table[1].followers[name(2)].behind = False
    table.tick(50, [1])
    assert table[1].sent_index == sent_index + 1


def test_a_leader_that_is_deposed_does_not_say_that_it_has_written():
    """What it appended in this very step may fall to the next leader before it is on flash."""
    for deposed in (False, True):
        table = led()
        leader = table[1]
        leader.propose(set_command(0, 1))
        gap = told(ACK, 4, 1, leader.term, flags=0, index=1, entry_term=1, heard_epoch=1)
        gap.heard_seq = leader.append_seq
        leader.receive(gap, table.now_ms)
        if deposed:
            beat_of_3 = told(APPEND, 3, EVERYONE, leader.term + 1, seq=1, entries=[(2, NOOP, b"")])
            beat_of_3.prev_index, beat_of_3.prev_term, beat_of_3.asked = 1, 1, 0
            leader.receive(beat_of_3, table.now_ms)
        table.flush(1)
        said = [message.durable_index for message in sent(table, APPEND)]
        assert (max(said) == 2) if not deposed else said == []
