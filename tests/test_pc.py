"""The PC's end without a socket: commands, polls, what random and hostile input does."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector import envelope
from raft.auth import KeyRing, cluster_hash
from raft.intlist import IntList, set_command
from raft.message import (
    ACCEPTED,
    ACK,
    APPEND,
    BAD_INDEX,
    BUSY,
    CHALLENGE,
    COMMITTED,
    EVERYONE,
    FIRST_PC,
    FORWARD,
    LAST_PC,
    NO_SESSION,
    OPEN_SESSION,
    OUTCOME,
    POLL,
    PROOF,
    SESSION_COMMAND,
    STATUS,
    UNKNOWN,
    Message,
)
from raft.sessions import WINDOW, client_name, head
from raft.wire import FRAME_MAX, Codec
from tools import pc

NAME = "test"
KEY = bytes(range(32))


def station(seed=1, key=KEY):
    return pc.Station(NAME, key, random.Random(seed).randbytes)


class Board:
    """A board's codec and what it says, as datagrams of the collector."""

    def __init__(self, node, key=KEY, incarnation=1):
        self.codec = Codec(cluster_hash(NAME), KeyRing(key), node, incarnation, 1)
        self.batch = envelope.Batch()

    def says(self, kind, dst, **fields):
        message = Message()
        message.type = kind
        message.dst = dst
        for name, value in fields.items():
            setattr(message, name, value)
        buf = bytearray(FRAME_MAX)
        length = self.codec.encode(message, buf)
        self.batch.add(1, -50, b"\2\0\0\0\0\1", buf, length)
        return bytes(self.batch.take())

    def status(self, to, request, values, offset=0, size=None, **fields):
        machine = IntList(len(values))
        machine.values = list(values)
        image = machine.snapshot()
        given = {"applied_index": 7, "digest": machine.digest(), **fields}
        end = len(image) if size is None else offset + size
        return self.says(
            STATUS,
            to,
            request=request,
            total=len(image),
            offset=offset,
            data=image[offset:end],
            **given,
        )


def sent(one):
    """Frames that the station puts on the air, decoded, by a member that holds the key."""
    reader = Codec(cluster_hash(NAME), KeyRing(KEY), 1, 1, 1)
    messages = []
    for data in one.outgoing():
        if envelope.kind_of(data) == envelope.SEND:
            message = Message()
            frame = data[envelope.HEAD_SIZE :]
            assert reader.decode(frame, len(frame), message) is None
            messages.append(message)
    return messages


def outcome(board, one, command, code, index=0, term=0, **fields):
    given = {
        "dst_incarnation": one.codec.incarnation,
        "heard_epoch": one.codec.epoch,
        "request": command.request,
        **fields,
    }
    return board.says(OUTCOME, one.id, code=code, index=index, entry_term=term, **given)


def opened(one, board, session=6, now_ms=0):
    """The station has its session open, through `board`; a command to it began that."""
    command = one.set(board.codec.src, 4, 1, now_ms)
    (forward,) = sent(one)
    assert forward.kind == OPEN_SESSION and forward.data[0] == one.id
    one.datagram(outcome(board, one, forward, COMMITTED, session, 1), now_ms)
    one.datagram(outcome(board, one, command, COMMITTED, session + 1, 1), now_ms)
    assert command.state == pc.DONE
    sent(one)
    one.finished()


def test_identity_is_a_pc():
    ids = {station(seed).id for seed in range(200)}
    assert ids == set(range(FIRST_PC, LAST_PC + 1))
    assert all(station(seed).codec.incarnation >= 1 for seed in range(200))


def test_subscribes_each_second_and_until_it_is_heard_more_often():
    one = station()
    times = []
    counts = dict.fromkeys(envelope.COUNTERS, 0)
    for now_ms in range(0, 3500, 10):
        if now_ms == 120:
            one.datagram(envelope.welcome(1, 1, counts), now_ms)
        one.tick(now_ms)
        times += [now_ms for d in one.outgoing() if envelope.kind_of(d) == envelope.SUBSCRIBE]
    assert times == [0, 50, 100, 150, 1150, 2150, 3150]


def test_command_through_challenge_and_session_to_committed():
    one, board = station(), Board(3)
    command = one.set(3, 2, 34, 0)
    (opening,) = sent(one)
    assert (opening.type, opening.dst, opening.kind) == (FORWARD, 3, OPEN_SESSION)
    assert opening.data == client_name(one.id, one.codec.incarnation, one.codec.epoch)
    assert "open a session" in command.text

    one.datagram(board.says(CHALLENGE, one.id, data=b"12345678"), 20)
    proof, again = sent(one)
    assert (proof.type, proof.data) == (PROOF, b"12345678")
    assert (again.type, again.request, again.data) == (FORWARD, opening.request, opening.data)
    assert again.seq > proof.seq > opening.seq
    assert command.state == pc.CHALLENGED

    one.datagram(outcome(board, one, opening, COMMITTED, 8, 4), 22)
    (forward,) = sent(one)
    assert (forward.kind, forward.request) == (SESSION_COMMAND, command.request)
    assert forward.data == head(8, 1, 0) + set_command(2, 34)
    one.datagram(outcome(board, one, command, ACCEPTED), 25)
    assert "passes it to the leader" in command.text
    one.datagram(outcome(board, one, command, ACCEPTED, 9, 4), 30)
    assert (command.state, command.log_index, command.log_term) == (pc.IN_LOG, 9, 4)
    one.datagram(outcome(board, one, command, COMMITTED, 9, 4), 41)
    assert command.finished and command.text == "committed at index 9 in 41 ms"
    assert one.finished() == [command] and one.finished() == []


def test_resends_until_an_outcome_and_less_often_after_it():
    one, board = station(), Board(3)
    opened(one, board)
    command = one.set(3, 0, 1, 0)
    sent(one)
    times = []
    for now_ms in range(10, 3000, 10):
        if now_ms == 800:
            one.datagram(outcome(board, one, command, ACCEPTED, 5, 1), now_ms)
        one.tick(now_ms)
        times += [now_ms for m in sent(one) if m.type == FORWARD]
    assert times == [250, 500, 750, 1800, 2800]


def test_a_command_that_never_had_a_session_is_certainly_not_applied():
    one, board = station(), Board(3)
    command = one.set(3, 0, 1, 0)
    one.datagram(board.says(CHALLENGE, one.id, data=b"12345678"), 10)
    one.tick(5000)
    assert command.state == pc.REFUSED and "nothing was changed" in command.text


def test_an_order_of_an_unproven_pc_is_certainly_not_obeyed():
    one, board = station(), Board(3)
    order = one.transfer(3, 4, 0)
    one.tick(5000)
    assert order.state == pc.REFUSED
    order = one.transfer(3, 4, 6000)
    one.datagram(board.says(CHALLENGE, one.id, data=b"12345678"), 6000)
    one.tick(11_000)
    assert order.state == pc.UNSURE


def test_an_unanswered_command_is_unknown():
    one, board = station(), Board(3)
    opened(one, board)
    command = one.set(3, 0, 1, 0)
    one.tick(5000)
    assert command.state == pc.UNSURE and "may still be committed" in command.text
    late = outcome(board, one, command, COMMITTED, 9, 4)
    one.datagram(late, 5100)
    assert command.state == pc.UNSURE


def test_an_unknown_outcome_is_tried_again_under_its_number():
    """The first board may have had it applied: its session sees to it that it is not, twice."""
    one, boards = station(), {3: Board(3), 4: Board(4)}
    opened(one, boards[3])
    command = one.set(3, 0, 1, 0)
    (first,) = sent(one)
    one.tick(5000)
    one.finished()
    sent(one)
    one.retry(command, 4, 6000)
    (again,) = sent(one)
    assert (again.dst, again.data) == (4, first.data)
    one.datagram(outcome(boards[4], one, command, BAD_INDEX), 6010)
    assert command.state == pc.UNSURE, "the second board's no says nothing of the first"
    one.retry(command, 4, 7000)
    one.datagram(outcome(boards[4], one, command, COMMITTED, 9, 4), 7010)
    assert command.state == pc.DONE and one.finished() == [command, command]
    with pytest.raises(ValueError, match="too late"):
        one.retry(command, 3, 8000)


def test_a_board_that_asks_again_has_started_anew_and_its_no_is_none():
    """Found by the simulator: the boot before had appended the command, and lost power."""
    one, board = station(), Board(3)
    command = one.set(3, 0, 1, 0)
    (opening,) = sent(one)
    one.datagram(board.says(CHALLENGE, one.id, data=b"12345678"), 5)
    one.datagram(outcome(board, one, opening, COMMITTED, 6, 1), 10)
    one.datagram(board.says(CHALLENGE, one.id, data=b"another."), 20)
    one.datagram(outcome(board, one, command, BUSY), 30)
    assert command.state == pc.UNSURE
    first = one.set(3, 0, 2, 40)
    one.datagram(outcome(board, one, first, BUSY), 50)
    assert first.state == pc.REFUSED


def test_a_number_stays_wanted_while_its_command_may_be_tried_again():
    one, board = station(), Board(3)
    opened(one, board)
    one.set(3, 0, 1, 0)
    one.tick(5000)
    sent(one)
    one.set(3, 0, 2, 6000)
    (forward,) = sent(one)
    assert forward.data[:9] == head(6, 3, 1)


def test_a_session_that_made_room_is_opened_again_and_the_command_goes_on():
    one, board = station(), Board(3)
    opened(one, board)
    command = one.set(3, 0, 7, 0)
    sent(one)
    one.datagram(outcome(board, one, command, NO_SESSION), 10)
    (opening,) = sent(one)
    assert opening.kind == OPEN_SESSION
    one.datagram(outcome(board, one, opening, COMMITTED, 20, 1), 20)
    (forward,) = sent(one)
    assert forward.data == head(20, 1, 0) + set_command(0, 7)
    one.datagram(outcome(board, one, command, COMMITTED, 21, 1), 30)
    assert command.state == pc.DONE


def test_no_more_under_way_than_a_session_remembers():
    one, board = station(), Board(3)
    opened(one, board)
    commands = [one.set(3, 0, n, 0) for n in range(WINDOW + 3)]
    assert len(sent(one)) == WINDOW
    one.datagram(outcome(board, one, commands[0], COMMITTED, 9, 1), 10)
    one.tick(260)
    numbers = {m.data[4] for m in sent(one) if m.type == FORWARD}
    assert max(numbers) == WINDOW + 2, "the first of the session was the one that opened it"


@pytest.mark.parametrize(
    "code, state", [(BAD_INDEX, pc.REFUSED), (99, pc.REFUSED), (UNKNOWN, pc.UNSURE)]
)
def test_outcomes_that_are_final(code, state):
    one, board = station(), Board(3)
    opened(one, board)
    command = one.set(3, 500, 1, 0)
    one.datagram(outcome(board, one, command, code), 10)
    assert command.state == state and command.text


@pytest.mark.parametrize("fields", [{"heard_epoch": 77}, {"request": 5}, {"dst_incarnation": 1}])
def test_an_outcome_for_another_pc_answers_nothing(fields):
    one, board = station(), Board(3)
    opened(one, board)
    command = one.set(3, 0, 1, 0)
    one.datagram(outcome(board, one, command, COMMITTED, 9, 4, **fields), 10)
    assert command.state == pc.SENT
    one.datagram(outcome(Board(4), one, command, COMMITTED, 9, 4), 10)
    assert command.state == pc.SENT


@pytest.mark.parametrize(
    "node, index, value, word",
    [(0, 0, 0, "board"), (224, 0, 0, "board"), (1, 70000, 0, "index"), (1, 0, 1 << 31, "value")],
)
def test_out_of_range_is_a_sentence_and_sends_nothing(node, index, value, word):
    one = station()
    with pytest.raises(ValueError, match=f"^{word}"):
        one.set(node, index, value, 0)
    assert sent(one) == []


def test_two_commands_are_two_requests():
    one = station()
    assert one.set(3, 0, 1, 0).request != one.set(3, 0, 1, 0).request


def test_own_id_under_another_incarnation_makes_it_pick_another():
    """A command goes on, in its session; nobody will tell us what became of an order."""
    one, board = station(), Board(3)
    opened(one, board)
    before = one.id
    command = one.set(3, 0, 1, 0)
    order = one.transfer(3, 4, 0)
    other = Board(before, incarnation=one.codec.incarnation ^ 1)
    one.datagram(other.says(POLL, 1, request=1, offset=0), 10)
    assert one.id != before and one.counts["id_changes"] == 1
    assert order.state == pc.UNSURE and command.state == pc.SENT
    one.datagram(outcome(board, one, command, COMMITTED, 9, 4), 20)
    assert command.state == pc.DONE


def test_wrong_key_is_counted_and_nothing_of_it_is_believed():
    one, board = station(), Board(3, key=b"another key, 32 bytes long......")
    one.datagram(board.says(APPEND, EVERYONE, term=1), 10)
    assert one.wrong_key_frames == 1 and one.wrong_key_ms == 10
    assert one.boards == {} and one.authentic_ms is None
    (heard,) = one.heard()
    assert heard.message is None and heard.reason == "tag"


def poll_in(one, at_ms):
    """The poll that goes out at `at_ms`, or None."""
    one.tick(at_ms)
    polls = [m for m in sent(one) if m.type == POLL]
    assert len(polls) <= 1
    return polls[0] if polls else None


def test_polls_keep_to_their_share_of_the_airtime():
    one = station()
    boards = [Board(node) for node in range(1, 6)]
    used_us = 0
    for now_ms in range(0, 20000, 5):
        if now_ms % 50 == 0:  # every board always has news
            for board in boards:
                one.datagram(board.says(ACK, 1, applied_index=now_ms, digest=1), now_ms)
        poll = poll_in(one, now_ms)
        if poll is not None:
            values = list(range(40))
            status = boards[poll.dst - 1].status(one.id, poll.request, values)
            one.datagram(status, now_ms + 3)
            used_us += pc.airtime_us(34) + pc.airtime_us(len(status) - 20)
    assert 0.7 * 0.02 < used_us / 20e6 <= 0.02


def test_one_poll_in_flight_and_none_without_a_collector():
    one, board = station(), Board(3)
    assert poll_in(one, 0) is None
    one.datagram(board.says(ACK, 1, applied_index=1), 10)
    assert poll_in(one, 20).dst == 3
    assert poll_in(one, 160) is None
    one.poll(3, 400)
    sent(one)
    assert poll_in(one, 9000) is None  # the collector is silent


def test_a_board_with_news_is_polled_before_its_turn():
    one, boards = station(), {node: Board(node) for node in (1, 2, 3)}
    now_ms = 0
    for board in boards.values():
        one.datagram(board.says(ACK, 1, applied_index=7, digest=5), now_ms)
    for _ in range(3):
        now_ms += 300
        poll = poll_in(one, now_ms)
        one.datagram(boards[poll.dst].status(one.id, poll.request, [0] * 5, digest=5), now_ms)
    now_ms += 500
    assert poll_in(one, now_ms) is None
    one.datagram(boards[2].says(ACK, 1, applied_index=8, digest=6), now_ms)
    assert poll_in(one, now_ms).dst == 2


def answer(one, board, values, offset=0, size=None, **fields):
    """Poll `board` and answer with a piece of `values`."""
    one.poll(board.codec.src, 0)
    poll = sent(one)[-1]
    one.datagram(board.status(one.id, poll.request, values, offset, size, **fields), 0)


def test_a_recorded_status_is_not_believed():
    one, board = station(), Board(3)
    recorded = board.status(one.id, 77, [6, 6, 6])
    answer(one, board, [1, 2, 3])
    one.datagram(recorded, 10)
    one.datagram(board.status(one.id + 1, one.boards[3].request, [6, 6, 6]), 20)
    assert one.databases() == {3: (7, [1, 2, 3])}


def test_a_reboot_forgets_the_database():
    one, board = station(), Board(3)
    answer(one, board, [1, 2, 3])
    board.codec.epoch = 2
    one.datagram(board.says(ACK, 1, applied_index=1), 10)
    assert one.databases() == {}


def test_a_database_in_pieces():
    one, board = station(), Board(3)
    values = [i * i for i in range(100)]
    one.datagram(board.says(ACK, 1, applied_index=1), 0)
    now_ms, offsets = 0, []
    while not one.databases() and now_ms < 3000:
        now_ms += 10
        poll = poll_in(one, now_ms)
        if poll is not None:
            offsets.append(poll.offset)
            piece = board.status(one.id, poll.request, values, poll.offset, 150)
            one.datagram(piece, now_ms)
    assert offsets == [0, 150, 300]
    assert one.databases() == {3: (7, values)}
    assert [h.database for h in one.heard() if h.database] == [values]


def test_pieces_of_two_applied_indexes_are_never_joined():
    one, board = station(), Board(3)
    old, new = [1] * 60, [2] * 60
    answer(one, board, old, 0, 120)
    answer(one, board, new, 120, 120, applied_index=8)
    assert one.databases() == {}
    answer(one, board, new, 0, 120, applied_index=8)
    answer(one, board, new, 120, 120, applied_index=8)
    assert one.databases() == {3: (8, new)}


def test_a_database_that_does_not_fit_its_digest_is_refused():
    one, board = station(), Board(3)
    answer(one, board, [1, 2, 3], digest=12345)
    assert one.databases() == {} and one.counts["torn_databases"] == 1


def test_gaps_in_the_datagram_sequence_are_loss_and_a_reboot_is_not():
    one, board = station(), Board(3)
    datagrams = [board.says(ACK, 1) for _ in range(200)]
    for i in (0, 1, 4, 3, 150):
        one.datagram(datagrams[i], 0)
    assert one.counts["lost_datagrams"] == 2 - 1 + 145
    one.datagram(Board(3).says(ACK, 1), 0)
    assert one.counts["lost_datagrams"] == 146


def test_refusals_are_counted_and_said():
    one = station()
    one.datagram(envelope.refused(envelope.TOO_FAST), 0)
    assert one.counts["refused"] == 1 and "slow down" in one.refusal
    one.datagram(envelope.refused(200), 0)
    assert "200" in one.refusal


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(0, 9))
def test_random_datagrams_are_counted_and_never_raise(datagrams, kind):
    one = station()
    for data in datagrams:
        one.datagram(data, 0)
        one.datagram(b"RN\1" + bytes([kind]) + data, 0)
        one.tick(0)
    assert one.counts["datagrams"] == 2 * len(datagrams)


def test_frames_cut_at_every_byte_never_raise():
    board = Board(3)
    whole = board.status(0xE0, 1, [1, 2, 3, 4, 5])
    one = station()
    for end in range(len(whole)):
        one.datagram(whole[:end], 0)
        one.datagram(whole[:end] + bytes(len(whole) - end), 0)
    assert one.databases() == {}
