"""Client sessions: applied exactly once (thesis 6.3; rule 2; pitfall 30). One test a rule."""

from raft.intlist import add_command, set_command
from raft.message import (
    BAD_COMMAND,
    COMMAND,
    COMMITTED,
    CONFIGURATION,
    COUNTER_LIMIT,
    MISMATCH,
    NO_SESSION,
    NOOP,
    OPEN_SESSION,
    SESSION_COMMAND,
    UNKNOWN,
)
from raft.sessions import (
    CLIENT_SIZE,
    HEAD_SIZE,
    KEY_SIZE,
    SESSIONS_MAX,
    WINDOW,
    Sessions,
    client_name,
    head,
)
from raft.settings import Settings
from tests.portable.table import Table, raises

ALICE = client_name(0xE1, 7, 1)
BOB = client_name(0xE2, 7, 1)


class Machine:
    """A state machine that remembers what it was given; `code` is what it answers."""

    def __init__(self):
        self.applied = []
        self.code = COMMITTED

    def apply(self, command):
        self.applied.append(bytes(command))
        return self.code


def opened(*clients):
    """A table in which `clients` have their sessions open, at the indexes from 1 on."""
    table = Sessions(Machine())
    for index, client in enumerate(clients):
        assert table.apply(index + 1, OPEN_SESSION, client) == COMMITTED
    return table


def give(table, index, session, sequence, waiting=0, command=b"c"):
    """Apply, at `index`, command `sequence` of `session`; returns its outcome."""
    return table.apply(index, SESSION_COMMAND, head(session, sequence, waiting) + command)


def client(number):
    return client_name(0xE0, number, 1)


def restored(table):
    """Another table, made of the image of `table`."""
    other = Sessions(Machine())
    other.take_over(other.read(table.snapshot()))
    return other


# Opening.


def test_a_session_s_id_is_the_index_of_the_entry_that_opened_it():
    """Thesis 6.3, RegisterClient: so no id is ever given twice."""
    table = Sessions(Machine())
    assert table.apply(17, OPEN_SESSION, ALICE) == COMMITTED
    assert table.apply(23, OPEN_SESSION, BOB) == COMMITTED
    assert table.ids() == [17, 23]
    assert (table.of_client(ALICE), table.of_client(BOB)) == (17, 23)
    assert table.of_client(client(1)) == 0 and not table.machine.applied


def test_who_asks_twice_has_one_session():
    table = opened(ALICE)
    assert table.apply(9, OPEN_SESSION, ALICE) == COMMITTED
    assert table.ids() == [1] and table.of_client(ALICE) == 1


def test_a_client_is_one_boot_of_one_station():
    """Another id, incarnation or epoch is another client: its numbers begin at 1 again."""
    names = [client_name(*given) for given in ((1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4))]
    assert len(set(names)) == 4 and all(len(name) == CLIENT_SIZE for name in names)
    assert opened(*names).ids() == [1, 2, 3, 4]


def test_a_malformed_opening_opens_nothing():
    for size in (0, 1, CLIENT_SIZE - 1, CLIENT_SIZE + 1, 40):
        table = opened(ALICE)
        assert table.apply(2, OPEN_SESSION, bytes(size)) == BAD_COMMAND
        assert table.ids() == [1]


# Once.


def test_a_repeat_returns_the_first_outcome_and_is_not_applied():
    """Thesis 6.3; CockroachDB #10602 (pitfall 30)."""
    table = opened(ALICE)
    table.machine.code = MISMATCH
    assert give(table, 2, 1, 1) == MISMATCH
    table.machine.code = COMMITTED
    assert give(table, 3, 1, 1) == give(table, 9, 1, 1) == MISMATCH
    assert table.machine.applied == [b"c"]
    assert table.outcome(1, 1) == (MISMATCH, 2), "and where its first copy stands"


def test_a_repeat_is_told_by_its_number_not_by_its_bytes():
    table = opened(ALICE)
    give(table, 2, 1, 1, 0, b"one")
    assert give(table, 3, 1, 1, 0, b"two") == COMMITTED
    assert give(table, 4, 1, 2, 0, b"one") == COMMITTED
    assert table.machine.applied == [b"one", b"one"]


def test_two_sessions_have_numbers_of_their_own():
    table = opened(ALICE, BOB)
    assert give(table, 3, 1, 1, 0, b"a") == give(table, 4, 2, 1, 0, b"b") == COMMITTED
    assert table.machine.applied == [b"a", b"b"]
    assert table.outcome(1, 1) == (COMMITTED, 3) and table.outcome(2, 1) == (COMMITTED, 4)


def test_what_was_not_applied_yet_has_no_outcome():
    table = opened(ALICE)
    give(table, 2, 1, 1)
    for sequence in (2, WINDOW, WINDOW + 1, 5 * WINDOW):
        assert table.outcome(1, sequence)[0] == 0, sequence


def test_the_state_machine_gets_the_command_without_its_head():
    table = opened(ALICE)
    give(table, 2, 1, 1, 0, b"")
    give(table, 3, 1, 2, 0, b"\x00\xff")
    assert table.machine.applied == [b"", b"\x00\xff"]


# The window.


def test_commands_under_way_may_arrive_in_any_order():
    """Each says how far back the oldest is that its client still waits for."""
    table = opened(ALICE)
    order = [5, 1, 4, 2, 3]
    for index, sequence in enumerate(order):
        assert give(table, 10 + index, 1, sequence, sequence - 1) == COMMITTED
    assert len(table.machine.applied) == 5
    for index, sequence in enumerate(order):
        assert table.outcome(1, sequence) == (COMMITTED, 10 + index)
        assert give(table, 99, 1, sequence, sequence - 1) == COMMITTED
    assert len(table.machine.applied) == 5, "a repeat of each is no second time"


def test_a_window_may_be_full_and_not_more():
    table = opened(ALICE)
    assert give(table, 2, 1, WINDOW, WINDOW - 1) == COMMITTED
    for sequence in range(1, WINDOW):
        assert give(table, 2 + sequence, 1, sequence, 0) == COMMITTED
    assert len(table.machine.applied) == WINDOW
    assert give(table, 50, 1, WINDOW + 9, WINDOW) == BAD_COMMAND
    assert len(table.machine.applied) == WINDOW


def test_what_its_client_waits_for_is_kept():
    table = opened(ALICE)
    give(table, 2, 1, 1)
    give(table, 3, 1, WINDOW, WINDOW - 1)
    assert table.outcome(1, 1) == (COMMITTED, 2)
    give(table, 4, 1, WINDOW + 1, WINDOW - 1)
    assert table.outcome(1, 1) == (UNKNOWN, 0) and table.outcome(1, 2)[0] == 0


def test_what_nobody_waits_for_is_forgotten_and_never_applied():
    """A copy that comes after its client went on must not be taken for a new command."""
    table = opened(ALICE)
    give(table, 2, 1, 1)
    give(table, 3, 1, 3, 0)
    for sequence in (1, 2):
        assert table.outcome(1, sequence) == (UNKNOWN, 0)
        assert give(table, 4, 1, sequence) == UNKNOWN
    assert len(table.machine.applied) == 2


def test_a_late_command_does_not_bring_back_what_was_forgotten():
    table = opened(ALICE)
    give(table, 2, 1, 9, 0)
    assert give(table, 3, 1, 8, 7) == UNKNOWN
    assert table.outcome(1, 8) == (UNKNOWN, 0) and table.outcome(1, 9) == (COMMITTED, 2)


def test_numbers_may_jump_and_all_before_is_forgotten():
    """The slots of old outcomes are used again, each as if it were new."""
    for jump in (WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, 10 * WINDOW + 3, COUNTER_LIMIT - 40):
        table = opened(ALICE)
        for sequence in range(1, WINDOW + 1):
            give(table, 1 + sequence, 1, sequence, 0)
        sequence = WINDOW + jump
        assert give(table, 99, 1, sequence, 0) == COMMITTED
        assert len(table.machine.applied) == WINDOW + 1, jump
        for later in range(sequence + 1, sequence + WINDOW):
            assert table.outcome(1, later)[0] == 0, (jump, later)
            assert give(table, 100, 1, later, later - sequence) == COMMITTED
        assert len(table.machine.applied) == 2 * WINDOW, jump


# Malformed.


def test_a_command_shorter_than_its_head_is_refused():
    table = opened(ALICE)
    whole = head(1, 1, 0)
    assert len(whole) == HEAD_SIZE > KEY_SIZE
    for size in range(HEAD_SIZE):
        assert table.apply(2, SESSION_COMMAND, whole[:size]) == BAD_COMMAND
    assert not table.machine.applied and table.outcome(1, 1) == (0, 0)


def test_numbers_are_1_to_2_power_30_and_nobody_waits_for_number_0():
    table = opened(ALICE)
    bad = [(0, 0), (1, 1), (5, 5), (5, WINDOW), (5, 255), (WINDOW, WINDOW), (100, WINDOW)]
    for sequence, waiting in bad + [(COUNTER_LIMIT, 0), ((1 << 32) - 1, 0)]:
        assert give(table, 2, 1, sequence, waiting) == BAD_COMMAND, (sequence, waiting)
    assert not table.machine.applied
    assert give(table, 3, 1, COUNTER_LIMIT - 1, 0) == COMMITTED


def test_a_malformed_command_does_not_keep_its_session_open():
    """It changes nothing at all, so it cannot depend on the order of checks."""
    table = opened(ALICE, BOB)
    before = table.snapshot()
    give(table, 3, 1, 0)
    table.apply(4, SESSION_COMMAND, head(1, 1, 0)[:5])
    assert table.snapshot() == before


def test_entries_that_are_no_client_s_have_no_outcome():
    table = opened(ALICE)
    assert table.apply(2, NOOP, b"") is None and table.apply(3, CONFIGURATION, b"") is None
    assert not table.machine.applied
    assert table.apply(4, COMMAND, b"plain") == COMMITTED
    assert table.machine.applied == [b"plain"]


# Who makes room.


def full():
    return opened(*[client(number) for number in range(SESSIONS_MAX)])


def test_the_session_that_was_used_least_lately_makes_room():
    """Thesis 6.3: which one must be agreed; here it follows from the log."""
    table = full()
    give(table, 100, 1, 1)
    assert table.apply(101, OPEN_SESSION, ALICE) == COMMITTED
    assert len(table.ids()) == SESSIONS_MAX and table.of_client(ALICE) == 101
    assert 1 in table.ids() and 2 not in table.ids()


def test_a_repeat_and_a_second_opening_are_uses():
    table = full()
    give(table, 100, 2, 1)
    give(table, 101, 1, 1)
    give(table, 102, 2, 1)
    table.apply(103, OPEN_SESSION, client(2))
    for index in range(SESSIONS_MAX - 2):
        table.apply(200 + index, OPEN_SESSION, client(100 + index))
    assert table.ids()[:2] == [2, 3], "session 1 was used before the repeat of 2"


def test_a_command_of_a_closed_session_is_refused_and_never_applied():
    table = full()
    assert give(table, 100, 1, 1, 0, b"first") == COMMITTED
    for number in range(SESSIONS_MAX):
        table.apply(200 + number, OPEN_SESSION, client(100 + number))
    for sequence in (1, 2):
        assert give(table, 300, 1, sequence) == NO_SESSION
        assert table.outcome(1, sequence) == (NO_SESSION, 0)
    assert table.machine.applied == [b"first"]


def test_a_client_that_comes_again_gets_a_new_id():
    """So a command of its closed session can never be taken for one of the new."""
    table = full()
    give(table, 100, 2, 1)
    for number in range(SESSIONS_MAX):
        table.apply(200 + number, OPEN_SESSION, client(100 + number))
    assert table.apply(300, OPEN_SESSION, client(1)) == COMMITTED
    assert table.of_client(client(1)) == 300
    assert give(table, 301, 2, 2) == NO_SESSION and give(table, 302, 300, 1) == COMMITTED


def test_a_session_that_never_was_is_refused():
    table = opened(ALICE)
    for number in (0, 2, COUNTER_LIMIT, (1 << 32) - 1):
        assert give(table, 2, number, 1) == NO_SESSION
    assert not table.machine.applied


# Snapshots.


def drive(table, begin, steps):
    """Entries `begin`..: a fixed mixture of openings, commands, repeats and nonsense."""
    outcomes = []
    for index in range(begin, begin + steps):
        ids = table.ids()
        session = ids[index * 7 % len(ids)]
        if index % 5 == 0:
            outcomes.append(table.apply(index, OPEN_SESSION, client(index * 3 % 61)))
        elif index % 11 == 0:
            outcomes.append(table.apply(index, SESSION_COMMAND, b"nonsense"))
        else:
            sequence = 1 + index // 4 + index % 3
            outcomes.append(give(table, index, session, sequence, index % 4, bytes([index & 255])))
    return outcomes


def test_a_table_is_what_its_snapshot_says():
    table = full()
    drive(table, 100, 400)
    other = restored(table)
    assert other.ids() == table.ids() and other.snapshot() == table.snapshot()
    for session in table.ids():
        for sequence in range(1, 140):
            code, index = table.outcome(session, sequence)
            assert other.outcome(session, sequence)[0] == code, (session, sequence)
            if code:
                assert other.outcome(session, sequence) == (code, index)


def test_what_comes_after_a_snapshot_is_the_same_with_and_without_it():
    """Pitfall 30 (redisraft #568), and which session makes room: boards that were sent a snapshot
    must go on as those that applied every entry."""
    table = full()
    drive(table, 100, 200)
    other = restored(table)
    for begin in range(300, 900, 50):
        assert drive(table, begin, 50) == drive(other, begin, 50)
        assert table.ids() == other.ids() and table.snapshot() == other.snapshot()
        other = restored(other)
    assert min(table.ids()) > 1, "sessions have made room in the meantime"


def test_equal_tables_have_equal_bytes():
    """Whatever was forgotten on the way: the digest of a snapshot must not depend on history."""
    table, other = opened(ALICE), opened(ALICE)
    for sequence in range(1, 40):
        give(table, 1 + sequence, 1, sequence, min(sequence - 1, 3))
    give(table, 90, 1, 100, 0)
    give(other, 90, 1, 100, 0)
    assert table.snapshot() == other.snapshot() and len(table.snapshot()) == 20 + 6


def test_every_outcome_fits_into_an_image():
    table = opened(ALICE)
    for sequence in range(1, WINDOW + 1):
        table.machine.code = 255 - sequence
        give(table, COUNTER_LIMIT - sequence, 1, sequence, sequence - 1)
    other = restored(table)
    for sequence in range(1, WINDOW + 1):
        assert other.outcome(1, sequence) == (255 - sequence, COUNTER_LIMIT - sequence)


def test_an_empty_table_is_no_bytes():
    assert Sessions(Machine()).snapshot() == b"" and restored(opened()).ids() == []


def test_a_damaged_image_is_refused_and_changes_nothing():
    table = opened(ALICE, BOB)
    for sequence in (1, 2):
        give(table, 2 + sequence, 1, sequence, sequence - 1)
    image = table.snapshot()
    whole = (0, 20 + 2 * 6, len(image))  # no session, one, both
    for size in range(len(image)):
        if size not in whole:
            assert "session" in str(raises(ValueError, table.read, image[:size])), size
    raises(ValueError, table.read, image + b"\x00")
    assert table.snapshot() == image


def test_more_sessions_than_there_can_be_are_no_table():
    table = full()
    raises(ValueError, table.read, table.snapshot() + opened(ALICE).snapshot())


def test_a_full_table_is_bounded():
    """It is a part of every snapshot, and its length must fit into 16 bits there."""
    table = full()
    index = 100
    for session in table.ids():
        for sequence in range(1, WINDOW + 1):
            index += 1
            give(table, index, session, sequence, sequence - 1)
    assert len(table.snapshot()) == SESSIONS_MAX * (20 + 6 * WINDOW) < 3000


# On boards.


def write_in_session(table, leader, session, sequence, command):
    data = head(session, sequence, 0) + command
    table[leader].propose(data, SESSION_COMMAND)
    table.flush(leader)
    table.spread(leader)


def test_a_restart_from_a_snapshot_forgets_no_session():
    """The first copy is in the snapshot, the second comes after the restart (redisraft #568)."""
    table = Table(3, Settings(snapshot_entries=4, keep_entries=0))
    table.elect(1)
    session = table[1].propose(ALICE, OPEN_SESSION)
    table.flush(1)
    table.spread(1)
    write_in_session(table, 1, session, 1, add_command(0, 5))
    for value in range(6):
        table.write(1, set_command(1, value))
    assert table[1].log.base_index > session + 1
    table.crash_all()
    table.elect(2)
    write_in_session(table, 2, session, 1, add_command(0, 5))
    assert [table[me].machine.values[0] for me in table.voters] == [5, 5, 5]
    assert [table[me].sessions.ids() for me in table.voters] == [[session]] * 3


def test_a_board_that_is_sent_a_snapshot_knows_the_sessions():
    table = Table(3, Settings(snapshot_entries=4, keep_entries=0))
    table.elect(1)
    table.cut = {(1, 3), (2, 3), (3, 1), (3, 2)}
    session = table[1].propose(ALICE, OPEN_SESSION)
    table.flush(1)
    table.spread(1)
    write_in_session(table, 1, session, 1, add_command(0, 5))
    for value in range(8):
        table.write(1, set_command(1, value))
    assert table[1].log.base_index > table[3].log.last_index
    table.cut = set()
    for _ in range(20):
        table.tick(50, [1])
        table.settle()
    assert table[3].snapshot.index and table[3].sessions.ids() == [session]
    write_in_session(table, 1, session, 1, add_command(0, 5))
    assert table[3].machine.values[0] == table[1].machine.values[0] == 5
    assert table[3].sessions.snapshot() == table[1].sessions.snapshot()
