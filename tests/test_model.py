"""The model: what it says of a cluster, and what it does not say. No window, no socket."""

import subprocess
import sys

import pytest

from host_ui import model as known
from host_ui.model import Model
from raft.intlist import IntList, set_command
from raft.message import (
    ACK,
    APPEND,
    CANDIDATE,
    COMMAND,
    EVERYONE,
    FIRST_PC,
    FOLLOWER,
    FORWARD,
    GRANTED,
    LEADER,
    NOOP,
    POLL,
    PRE,
    PRE_CANDIDATE,
    STATUS,
    SUCCESS,
    VOTE,
    VOTE_REQUEST,
    Message,
)
from tools.pc import Heard


class Air:
    """Frames of made-up boards, taken by the model in the order of the calls."""

    def __init__(self):
        self.model = Model()
        self.now_ms = 1000
        self.seq = {}

    def says(self, src, kind, term=1, dst=EVERYONE, **fields):
        message = Message()
        message.type, message.src, message.dst, message.term = kind, src, dst, term
        message.incarnation = message.epoch = 1
        self.seq[src] = self.seq.get(src, 0) + 1
        message.seq = self.seq[src]
        database = fields.pop("database", None)
        for name, value in fields.items():
            setattr(message, name, value)
        heard = Heard(self.now_ms, b"", message, None, 1, -50, b"\2\0\0\0\0\1", False, database)
        self.model.take([heard])
        return message

    def status(self, src, values, index, term=1, role=FOLLOWER, **fields):
        machine = IntList(len(values))
        machine.values = list(values)
        given = {
            "applied_index": index,
            "digest": machine.digest(),
            "commit_index": index,
            "last_index": index,
            "durable_index": index,
            "database": list(values),
            **fields,
        }
        return self.says(src, STATUS, term, FIRST_PC, role=role, **given)

    def append(self, src, term=1, prev=0, prev_term=0, entries=(), commit=0, **fields):
        return self.says(
            src,
            APPEND,
            term,
            prev_index=prev,
            prev_term=prev_term,
            commit_index=commit,
            durable_index=prev,
            entries=list(entries),
            **fields,
        )

    def texts(self, kind=None):
        return [e.text for e in self.model.events if kind in (None, e.kind)]


@pytest.fixture
def air():
    return Air()


def digest_of(values):
    machine = IntList(len(values))
    machine.values = list(values)
    return machine.digest()


def test_nothing_is_known_of_an_empty_air(air):
    assert air.model.leader() is None and air.model.nodes() == []
    assert air.model.reference() is None and air.model.size() == 0


def test_a_challenge_tells_the_term_and_nothing_else(air):
    air.says(3, FORWARD, term=4)
    board = air.model.boards[3]
    assert board.term == 4
    for name in ("role", "vote", "leader", "last_index", "commit_index", "values", "heap"):
        assert getattr(board, name) is None, name


def test_who_sends_append_entries_leads_the_term(air):
    air.append(2, term=3)
    assert air.model.leader() == 2
    assert air.model.boards[2].role == LEADER and air.model.boards[2].vote == 2
    assert air.texts(known.ROLE) == ["board 2 leads term 3"]


def test_an_election_as_it_is_heard(air):
    air.says(2, VOTE_REQUEST, term=5, last_index=9)
    assert air.model.boards[2].role == CANDIDATE and air.model.leader() is None
    air.says(3, VOTE, term=5, dst=2, flags=GRANTED)
    air.says(4, VOTE, term=5, dst=2, flags=0)
    assert air.model.boards[3].vote == 2 and air.model.boards[3].role == FOLLOWER
    assert air.model.boards[4].vote is None and air.model.boards[4].role is None
    air.append(2, term=5)
    assert air.model.leader() == 2


def test_a_higher_term_ends_the_role(air):
    air.append(2, term=3)
    air.says(2, VOTE, term=4, dst=3, flags=0)
    assert air.model.boards[2].role is None and air.model.leader() is None


def test_two_leaders_of_two_terms_the_newer_one_leads(air):
    air.append(1, term=3)
    air.append(2, term=4)
    air.append(1, term=3)
    assert air.model.leader() == 2 and air.model.alarms == 0
    assert air.model.boards[1].role == LEADER  # of its own term: it is cut off


@pytest.mark.parametrize(
    "frames, words",
    [
        ([(1, APPEND, 3, {}), (2, APPEND, 3, {})], "two leaders in term 3"),
        ([(1, ACK, 3, {}), (1, ACK, 2, {})], "went back from term 3 to 2"),
        (
            [
                (1, VOTE, 3, {"dst": 2, "flags": GRANTED}),
                (1, VOTE, 3, {"dst": 4, "flags": GRANTED}),
            ],
            "voted for 2 and for 4",
        ),
        (
            [
                (1, ACK, 3, {"applied_index": 8, "digest": 5}),
                (2, ACK, 3, {"applied_index": 8, "digest": 6}),
            ],
            "another database",
        ),
    ],
)
def test_what_raft_forbids_is_an_alarm_once(air, frames, words):
    for _ in range(2):
        for src, kind, term, fields in frames:
            air.says(src, kind, term, **fields)
    alarms = air.texts(known.ALARM)
    assert sum(words in text for text in alarms) == 1


def test_silence_and_return(air):
    air.append(1)
    air.now_ms += known.SILENT_MS
    air.model.tick(air.now_ms)
    assert air.model.boards[1].silent and air.model.leader() is None
    assert "it was the leader of term 1" in air.texts(known.SILENT)[0]
    air.now_ms += 500
    air.append(1)
    assert not air.model.boards[1].silent
    assert air.texts(known.BACK)[-1] == "board 1 is back after 2.0 s"


def test_a_reboot_forgets_what_is_not_on_flash(air):
    air.status(1, [1, 2], 7, vote=2)
    air.says(1, ACK, epoch=2, seq=1, applied_index=3, digest=9)
    board = air.model.boards[1]
    assert board.reboots == 1 and board.values is None and board.applied_index == 3
    assert board.vote == 2  # on flash
    assert air.texts(known.REBOOT) == ["board 1 rebooted: boot 2"]


@pytest.mark.parametrize("old", [{"seq": 1}, {"epoch": 0, "seq": 50}, {"incarnation": 0}])
def test_a_repeated_frame_changes_nothing(air, old):
    air.append(1, term=2)
    air.append(1, term=2)
    marks = air.model.mark_count
    air.says(1, VOTE_REQUEST, term=2, **old)
    assert air.model.boards[1].role == LEADER and air.model.repeated == 1
    assert air.model.mark_count == marks


def test_gaps_in_a_boards_sequence_are_frames_not_heard(air):
    air.append(1)
    air.seq[1] += 3
    air.append(1)
    assert air.model.boards[1].missed == 3 and air.model.boards[1].frames == 2


def test_the_database_of_a_status(air):
    air.status(1, [1, 2, 3], 7)
    air.status(2, [1, 9, 3], 6)
    assert air.model.reference() == (7, [1, 2, 3]) and air.model.size() == 3
    assert [air.model.differs(2, cell) for cell in range(3)] == [False, True, False]
    assert not air.model.differs(1, 1)


def test_an_old_picture_of_a_board_is_outdated_and_does_not_differ(air):
    air.status(1, [1], 7, role=LEADER)
    air.status(2, [1], 7)
    air.append(1, prev=8, prev_term=1, commit=8)
    air.status(2, [5], 8)
    assert air.model.boards[1].outdated and not air.model.differs(1, 0)
    air.status(1, [5], 8, role=LEADER)
    assert not air.model.boards[1].outdated


def test_an_ack_with_a_known_digest_shows_the_database(air):
    air.status(1, [1, 2, 3], 7)
    air.says(2, ACK, flags=SUCCESS, index=7, applied_index=7, digest=digest_of([1, 2, 3]))
    assert air.model.boards[2].values == [1, 2, 3]
    air.says(3, ACK, flags=SUCCESS, index=7, applied_index=6, digest=123)
    assert air.model.boards[3].values is None


def test_committed_entries_are_followed_and_told(air):
    air.append(1, entries=[(1, NOOP, b"")])
    air.append(1, prev=1, prev_term=1, commit=1)
    air.status(2, [0, 0, 0], 1)
    air.append(1, prev=1, prev_term=1, commit=1, entries=[(1, COMMAND, set_command(2, 34))])
    air.append(1, prev=2, prev_term=1, commit=2)
    assert air.texts(known.COMMIT)[-1] == "entry 2 of term 1 committed: [2] 0 → 34"
    air.says(3, ACK, flags=SUCCESS, index=2, applied_index=2, digest=digest_of([0, 0, 34]))
    assert air.model.boards[3].values == [0, 0, 34] and air.model.alarms == 0


def test_an_entry_that_was_not_heard_is_not_guessed(air):
    air.append(1, commit=0, entries=[(1, NOOP, b"")])
    air.status(2, [0], 1)
    air.append(1, prev=2, prev_term=1, commit=2)
    assert air.texts(known.COMMIT)[-1] == "entry 2 committed"
    assert air.model.boards[2].values == [0]


def test_an_entry_that_a_newer_leader_replaced_is_not_applied(air):
    """Log Matching: the old leader's entry 2 was never confirmed by the new one."""
    air.append(1, entries=[(1, NOOP, b"")])
    air.append(1, prev=1, prev_term=1, commit=1)
    air.status(3, [0], 1)
    air.append(1, prev=1, prev_term=1, commit=1, entries=[(1, COMMAND, set_command(0, 66))])
    air.append(2, term=2, prev=3, prev_term=2, commit=3)
    air.status(3, [5], 3, term=2)
    assert air.model.alarms == 0
    assert not any("66" in text for text in air.texts())


def test_a_stream_for_a_laggard_disturbs_nothing(air):
    entries = [(1, COMMAND, set_command(0, i)) for i in range(1, 6)]
    air.append(1, entries=entries)
    air.status(3, [0], 0, commit_index=0)
    air.append(1, prev=1, prev_term=1, commit=0, entries=entries[1:2], dst=3)
    air.append(1, prev=5, prev_term=1, commit=5)
    assert air.texts(known.COMMIT)[-1] == "entry 5 of term 1 committed: [0] 4 → 5"


def test_an_ack_for_all_is_drawn_to_the_leader_it_answers(air):
    append = air.append(1)
    air.says(2, ACK, heard_epoch=append.epoch, heard_seq=append.seq)
    air.says(3, ACK, heard_epoch=9, heard_seq=9)
    assert [m.dst for m in air.model.marks] == [None, 1, None]


def test_pcs_are_no_boards(air):
    air.says(FIRST_PC + 4, POLL, dst=1)
    assert air.model.nodes() == [] and list(air.model.pcs) == [FIRST_PC + 4]


def test_dropped_frames_are_counted(air):
    air.model.take([Heard(0, b"x", None, "tag")])
    assert air.model.dropped == 1 and air.model.boards == {}


def test_memory_is_bounded(air):
    for i in range(3000):
        air.append(1, prev=i, prev_term=1 if i else 0, commit=i, entries=[(1, NOOP, b"")])
        air.says(2, ACK, applied_index=i, digest=i)
    model = air.model
    assert len(model.events) == known.EVENTS_MAX and len(model._log) <= known.ENTRIES_MAX
    assert len(model._states) <= known.STATES_MAX and len(model._appends) <= known.APPENDS_MAX


def test_the_model_and_the_link_need_no_qt():
    code = (
        "import sys; import host_ui.model, tools.link;"
        "sys.exit(any(name.startswith('PyQt') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_pre_votes_are_told_and_count_for_nothing(air):
    """Thesis 9.6: a board may grant several in one term; that is no double vote, and no vote."""
    air.says(1, VOTE_REQUEST, term=3, last_index=0, last_term=0, flags=PRE)
    air.says(3, VOTE, term=3, dst=1, flags=GRANTED | PRE)
    air.says(3, VOTE, term=3, dst=2, flags=GRANTED | PRE)
    board = air.model.boards[1]
    assert board.role == PRE_CANDIDATE and board.term == 3 and board.vote is None
    assert air.model.boards[3].vote is None and air.model.alarms == 0
    assert air.texts()[-1:] == ["board 3 is heard"] and any("pre-votes" in t for t in air.texts())
