"""The list of integers: deterministic, refuses what it does not know, survives a snapshot."""

from raft.intlist import (
    SIZE_MAX,
    IntList,
    add_command,
    cas_command,
    grow_command,
    set_command,
)
from raft.message import (
    BAD_COMMAND,
    BAD_INDEX,
    BAD_SIZE,
    COMMITTED,
    MISMATCH,
    OUTCOME_TEXTS,
    OVERFLOW,
    REJECTED,
)
from tests.portable.table import raises

LOWEST = -0x80000000
HIGHEST = 0x7FFFFFFF


def lcg(seed):
    """Numbers 0..255 without end, the same on both interpreters."""
    state = seed
    while True:
        state = (state * 1103515245 + 12345) & HIGHEST
        yield state >> 16 & 0xFF


def test_five_integers_by_default_and_any_size_by_config():
    assert IntList().values == [0] * 5
    assert len(IntList(200).values) == 200
    assert len(IntList(SIZE_MAX).values) == 1024
    raises(ValueError, IntList, 0)
    raises(ValueError, IntList, SIZE_MAX + 1)


def test_set_changes_one_index():
    machine = IntList()
    assert machine.apply(set_command(2, 34)) == COMMITTED and machine.result == 34
    assert machine.apply(set_command(4, LOWEST)) == COMMITTED and machine.result == LOWEST
    assert machine.values == [0, 0, 34, 0, LOWEST]


def test_add_counts_up_and_down():
    machine = IntList()
    assert machine.apply(add_command(1, 7)) == COMMITTED and machine.result == 7
    assert machine.apply(add_command(1, -10)) == COMMITTED and machine.result == -3
    assert machine.values == [0, -3, 0, 0, 0]


def test_add_never_leaves_32_bits():
    machine = IntList()
    for edge, step in ((HIGHEST, 1), (LOWEST, -1)):
        machine.apply(set_command(0, edge - step))
        assert machine.apply(add_command(0, step)) == COMMITTED and machine.result == edge
        assert machine.check(add_command(0, step)) == COMMITTED
        assert machine.apply(add_command(0, step)) == OVERFLOW and machine.result == edge
        assert machine.values[0] == edge


def test_cas_changes_only_what_it_expects():
    machine = IntList()
    assert machine.apply(cas_command(3, 0, LOWEST)) == COMMITTED and machine.result == LOWEST
    assert machine.apply(cas_command(3, LOWEST, HIGHEST)) == COMMITTED
    # What is applied before it may yet make it match: no reason to refuse it early.
    assert machine.check(cas_command(3, 1, 2)) == COMMITTED
    assert machine.apply(cas_command(3, 1, 2)) == MISMATCH and machine.result == HIGHEST
    assert machine.values == [0, 0, 0, HIGHEST, 0]


def test_a_list_grows_and_never_shrinks():
    machine = IntList()
    machine.apply(set_command(4, 9))
    assert machine.apply(set_command(6, 1)) == BAD_INDEX and machine.result == 0
    assert machine.apply(grow_command(7)) == COMMITTED and machine.result == 7
    assert machine.apply(set_command(6, 1)) == COMMITTED
    assert machine.values == [0, 0, 0, 0, 9, 0, 1]
    assert machine.apply(grow_command(7)) == COMMITTED
    assert machine.check(grow_command(6)) == machine.apply(grow_command(6)) == BAD_SIZE
    assert machine.apply(b"\x04\x01\x04") == BAD_SIZE  # 1025
    assert machine.values == [0, 0, 0, 0, 9, 0, 1]
    assert machine.apply(grow_command(SIZE_MAX)) == COMMITTED and len(machine.values) == 1024


def test_what_does_not_fit_is_refused_with_a_sentence():
    for wrong in (HIGHEST + 1, LOWEST - 1, 1.5, "1", None, True):
        assert "32 bits" in str(raises(ValueError, set_command, 0, wrong))
        assert "32 bits" in str(raises(ValueError, add_command, 0, wrong))
        assert "32 bits" in str(raises(ValueError, cas_command, 0, wrong, 0))
        assert "32 bits" in str(raises(ValueError, cas_command, 0, 0, wrong))
    for wrong in (-1, 0x10000, 0.0, "1", None):
        assert "index" in str(raises(ValueError, set_command, wrong, 0))
        assert "index" in str(raises(ValueError, add_command, wrong, 0))
        assert "index" in str(raises(ValueError, cas_command, wrong, 0, 0))
    for wrong in (0, SIZE_MAX + 1, 5.0, "7"):
        assert "1024" in str(raises(ValueError, grow_command, wrong))
    set_command(0xFFFF, HIGHEST)


def test_commands_are_small():
    assert set_command(2, 34) == b"\x01\x02\x00\x22\x00\x00\x00"
    assert add_command(2, -1) == b"\x02\x02\x00\xff\xff\xff\xff"
    assert cas_command(258, 1, 2) == b"\x03\x02\x01\x01\x00\x00\x00\x02\x00\x00\x00"
    assert grow_command(512) == b"\x04\x00\x02"


def test_a_bad_command_changes_nothing():
    machine = IntList()
    for command in (set_command(5, 1), add_command(5, 1), cas_command(5, 0, 1)):
        assert machine.check(command) == machine.apply(command) == BAD_INDEX
        assert machine.apply(command[:-1]) == machine.apply(command + b"\x00") == BAD_COMMAND
    assert machine.apply(b"") == BAD_COMMAND
    assert machine.apply(b"\x09" + bytes(6)) == BAD_COMMAND
    assert machine.apply(bytes(8)) == BAD_COMMAND
    assert machine.values == [0] * 5 and machine.result == 0


def test_every_refusal_has_a_text():
    for code in (BAD_COMMAND, BAD_INDEX, BAD_SIZE, OVERFLOW, MISMATCH):
        assert code >= REJECTED and OUTCOME_TEXTS[code].startswith("rejected: ")


def test_random_commands_never_raise():
    numbers = lcg(1)
    sizes = (0, 1, 2, 3, 7, 7, 8, 11, 11, 12)
    one, two = IntList(), IntList()
    done = 0
    for _ in range(3000):
        size = sizes[next(numbers) % len(sizes)]
        command = bytearray([next(numbers) for _ in range(size)])
        if size > 2:
            # Mostly near what is valid, or nothing would ever be changed.
            command[0], command[1], command[2] = command[0] % 6, command[1] % 8, command[2] % 2
        command = bytes(command)
        checked, before = one.check(command), one.snapshot()
        code = one.apply(command)
        assert code == two.apply(command) and one.result == two.result
        assert code == COMMITTED or code >= REJECTED and one.snapshot() == before
        assert checked in (COMMITTED, code)
        assert LOWEST <= one.result <= HIGHEST
        done += code == COMMITTED
    assert done > 100 and one.digest() == two.digest()


def test_snapshot_and_digest():
    one, two = IntList(), IntList()
    one.apply(set_command(1, -7))
    assert one.digest() != two.digest() and 0 <= one.digest() < 1 << 30
    one.apply(grow_command(6))
    assert len(one.snapshot()) == 24
    two.restore(one.snapshot())
    assert two.values == [0, -7, 0, 0, 0, 0] and two.digest() == one.digest()
    two.apply(set_command(5, 1))
    assert one.values[5] == 0


def test_a_bad_snapshot_changes_nothing():
    machine = IntList()
    machine.apply(set_command(1, 7))
    for image in (b"", b"123", b"12345", bytes(4 * SIZE_MAX + 4)):
        raises(ValueError, machine.restore, image)
        assert machine.values == [0, 7, 0, 0, 0]
    machine.restore(bytes(4 * SIZE_MAX))
    assert len(machine.values) == SIZE_MAX
