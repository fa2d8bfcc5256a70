"""The list of integers: deterministic, refuses what it does not know, survives a snapshot."""

from raft.intlist import IntList, set_command
from raft.message import BAD_COMMAND, BAD_INDEX, COMMITTED
from tests.portable.table import raises


def test_five_integers_by_default_and_any_size_by_config():
    assert IntList().values == [0] * 5
    assert len(IntList(200).values) == 200
    raises(ValueError, IntList, 0)


def test_set_changes_one_index():
    machine = IntList()
    assert machine.apply(set_command(2, 34)) == COMMITTED
    assert machine.apply(set_command(4, -0x80000000)) == COMMITTED
    assert machine.values == [0, 0, 34, 0, -0x80000000]


def test_what_does_not_fit_is_refused_with_a_sentence():
    assert "32 bits" in str(raises(ValueError, set_command, 0, 1 << 31))
    assert "32 bits" in str(raises(ValueError, set_command, 0, -(1 << 31) - 1))
    assert "index" in str(raises(ValueError, set_command, -1, 0))
    set_command(0, (1 << 31) - 1)


def test_a_bad_command_changes_nothing():
    machine = IntList()
    assert machine.apply(set_command(5, 1)) == BAD_INDEX
    assert machine.apply(b"") == BAD_COMMAND
    assert machine.apply(b"\x09" + bytes(6)) == BAD_COMMAND
    assert machine.apply(bytes(8)) == BAD_COMMAND
    assert machine.values == [0] * 5


def test_snapshot_and_digest():
    one, two = IntList(), IntList()
    one.apply(set_command(1, -7))
    assert one.digest() != two.digest() and 0 <= one.digest() < 1 << 30
    two.restore(one.snapshot())
    assert two.values == [0, -7, 0, 0, 0] and two.digest() == one.digest()
    raises(ValueError, two.restore, b"123")
