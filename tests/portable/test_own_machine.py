"""The state machine of docs/state-machines.md, taken from the page, does what the page says."""

from raft.message import BAD_COMMAND, COMMITTED, FULL
from raft.wire import COMMAND_MAX
from tests.portable.table import Table, raises

PAGE = __file__.rsplit("tests/", 1)[0] + "docs/state-machines.md"


def block():
    """The page's one block of Python."""
    with open(PAGE) as page:
        parts = page.read().split("```python\n")
    assert len(parts) == 2
    return parts[1].split("```")[0]


def names():
    space = {}
    exec(block(), space)
    return space


OWN = names()
LampPlan = OWN["LampPlan"]
plan_command = OWN["plan_command"]
FORGET = OWN["FORGET"]


def lit(*plan):
    machine = LampPlan()
    for minute, percent in plan:
        assert machine.apply(plan_command(minute, percent)) == COMMITTED
    return machine


def test_a_cluster_agrees_on_it():
    table = Table(3)
    for me in table.voters:
        table[me].sessions.machine = LampPlan()
    table.elect(1)
    table.write(1, plan_command(420, 80))
    table.write(1, plan_command(1320, 0))
    for me in table.voters:
        assert table[me].machine.plan == {420: 80, 1320: 0}
        assert table[me].machine.digest() == table[1].machine.digest()


def test_plan_and_forget():
    machine = lit((420, 80), (420, 60))
    assert machine.plan == {420: 60} and machine.result == 60
    assert machine.apply(plan_command(420, FORGET)) == COMMITTED and machine.result == 0
    assert machine.apply(plan_command(420, FORGET)) == COMMITTED and machine.plan == {}
    assert len(plan_command(1439, 100)) <= COMMAND_MAX


def test_what_does_not_fit_is_refused():
    for minute, percent in ((-1, 0), (1440, 0), (0, -1), (0, 101), (0, 256)):
        raises(ValueError, plan_command, minute, percent)
    machine = lit((420, 80))
    for command in (b"", b"\x00\x00", bytes(4), b"\xa0\x05\x00", b"\x00\x00\x65"):
        assert machine.check(command) == machine.apply(command) == BAD_COMMAND
    assert machine.plan == {420: 80}


def test_it_is_bounded():
    machine = lit(*[(minute, 1) for minute in range(OWN["TIMES_MAX"])])
    assert machine.check(plan_command(1000, 1)) == COMMITTED
    assert machine.apply(plan_command(1000, 1)) == FULL and 1000 not in machine.plan
    assert machine.apply(plan_command(0, 2)) == COMMITTED
    assert machine.apply(plan_command(1, FORGET)) == COMMITTED
    assert machine.apply(plan_command(1000, 1)) == COMMITTED


def test_snapshot_and_digest_do_not_know_the_order():
    pairs = [(i * 37 % 1440, i) for i in range(40)]
    one, two = lit(*pairs), lit(*reversed(pairs))
    assert one.snapshot() == two.snapshot() and one.digest() == two.digest()
    copy = lit((1, 1))
    assert copy.digest() != one.digest()
    copy.restore(one.snapshot())
    assert copy.plan == one.plan and 0 <= copy.digest() == one.digest() < 1 << 30
    copy.restore(b"")
    assert copy.plan == {}


def test_a_bad_snapshot_changes_nothing():
    machine = lit((420, 80))
    bad = (
        b"\x00\x00",
        plan_command(420, 80) + b"\x00",
        plan_command(420, FORGET),
        plan_command(2, 1) + plan_command(1, 1),
        plan_command(1, 1) + plan_command(1, 1),
        b"\xff\xff\x00",
        b"".join([plan_command(minute, 1) for minute in range(OWN["TIMES_MAX"] + 1)]),
    )
    for image in bad:
        raises(ValueError, machine.restore, image)
        assert machine.plan == {420: 80}


def test_random_commands_never_raise():
    state = 1
    one, two = LampPlan(), LampPlan()
    codes = []
    for i in range(2000):
        command = bytearray()
        for limit in (256, 7, 128, 256)[: (3, 0, 3, 1, 3, 2, 3, 4)[i % 8]]:
            state = (state * 1103515245 + 12345) & 0x7FFFFFFF
            command.append((state >> 16) % limit)
        code = one.apply(bytes(command))
        assert code == two.apply(bytes(command))
        codes.append(code)
    assert set(codes) == {COMMITTED, BAD_COMMAND, FULL} and one.digest() == two.digest()
