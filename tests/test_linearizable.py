"""The judge of histories: it agrees with a slow and obvious one, and says why in few lines."""

import itertools
import json
import random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from raft import intlist, keyvalue
from raft.message import BUSY, COMMITTED, MISMATCH, NO_LEADER, NOT_A_NUMBER, OVERFLOW, UNKNOWN
from tools import cli, linearizable
from tools.history import (
    LEASE,
    LINEARIZABLE,
    MACHINES,
    NOT_TOLD,
    STALE,
    History,
    HistoryError,
    Operation,
    from_text,
    to_text,
)
from tools.linearizable import cell_after, check, check_stale, check_whole, judge

ANY_ORDER = (check, check_stale, check_whole)


def history(lines, machine="intlist"):
    text = "\n".join(line.strip() for line in lines.strip().split("\n"))
    return from_text("history of %s\n%s\n" % (machine, text))


GOOD = {
    "nothing was asked": "",
    "one after the other": """
        10 20 a set 0 1 committed
        30 40 b read 0 = 1
        50 60 a add 0 2 committed = 3
        70 80 b cas 0 3 4 committed
        90 95 b read 0 = 4""",
    "a read beside a write sees the old value": """
        10 50 a set 0 1 committed
        20 30 b read 0 = 0
        60 70 b read 0 = 1""",
    "a read beside a write sees the new value": """
        10 50 a set 0 1 committed
        20 30 b read 0 = 1
        60 70 b read 0 = 1""",
    "two writes side by side, the first one last": """
        10 50 a set 0 1 committed
        20 60 b set 0 2 committed
        70 80 a read 0 = 1""",
    "two writes side by side, the second one last": """
        10 50 a set 0 1 committed
        20 60 b set 0 2 committed
        70 80 a read 0 = 2""",
    "an unknown write that shows up late": """
        10 - a set 0 1 unknown
        20 30 b set 0 2 committed
        40 50 b read 0 = 2
        60 70 b read 0 = 1""",
    "an unknown write that never shows up": """
        10 - a set 0 1 unknown
        20 30 b read 0 = 0
        40 50 b read 0 = 0""",
    "an unknown write that could have come sooner is there when it is needed": """
        10 50 a set 0 1 committed
        10 60 b set 0 2 committed
        10 - c set 0 1 unknown
        70 80 a read 0 = 1
        90 100 a set 0 3 committed
        101 102 a read 0 = 3
        110 120 a read 0 = 1""",
    "a certain no that never shows up": """
        10 20 a set 0 1 no 17
        30 40 b read 0 = 0""",
    "of two cas beside each other one wins": """
        10 50 a cas 0 0 1 committed
        10 50 b cas 0 0 2 mismatch
        60 70 a read 0 = 1""",
    "an unknown cas that was too late": """
        10 - a cas 0 0 1 unknown
        20 30 b set 0 2 committed
        40 50 b read 0 = 2""",
    "adds beside each other all count": """
        10 50 a add 0 1 committed
        10 50 b add 0 1 committed
        10 50 c add 0 1 committed
        60 70 a read 0 = 3""",
    "a sum that does not fit changes nothing": """
        start 0 2147483647
        10 20 a add 0 1 overflow
        30 40 a read 0 = 2147483647""",
    "a mismatch between two writes": """
        10 20 a set 0 1 committed
        15 50 b cas 0 0 9 mismatch = 1
        30 40 a set 0 0 committed""",
    "ends that touch may be either order": """
        10 20 a set 0 1 committed
        20 30 b read 0 = 0""",
    "a read that nobody answered": """
        10 - a read 0 unknown
        20 30 a read 0 no 16
        40 - a read all unknown""",
    "a lease read is as fresh": """
        10 20 a set 0 1 committed
        30 40 b read 0 lease = 1""",
    "a stale read sees what is over": """
        10 20 a set 0 1 committed
        30 40 a set 0 2 committed
        50 60 b read 0 stale 1/1 = 1
        70 80 b read 0 stale 1/1 = 2
        81 90 b read 0 stale 2/1 = 0""",
    "a board that rebooted may show older values": """
        10 20 a set 0 1 committed
        30 40 b read 0 stale 1/1 = 1
        50 60 b read 0 stale 1/2 = 0""",
    "the whole database at one moment": """
        10 50 a set 0 1 committed
        10 50 a set 1 1 committed
        20 30 b read all = 0=1 1=0
        60 70 b read all = 0=1 1=1""",
}

BAD = {
    "an old value after a newer read": """
        10 90 a set 0 1 committed
        20 30 b read 0 = 1
        40 50 c read 0 = 0""",
    "a lost write": """
        10 20 a set 0 1 committed
        30 40 b read 0 = 0""",
    "a lost write between two reads": """
        10 20 b read 0 = 0
        30 40 a set 0 1 committed
        50 60 b read 0 = 0""",
    "a write that comes back": """
        10 20 a set 0 1 committed
        30 40 a set 0 2 committed
        50 60 b read 0 = 2
        70 80 b read 0 = 1""",
    "two cas that both won": """
        10 50 a cas 0 0 1 committed
        20 60 b cas 0 0 2 committed""",
    "an add that counts twice": """
        10 20 a add 0 1 committed
        30 40 a read 0 = 2""",
    "an unknown add that counts twice": """
        10 - a add 0 1 unknown
        30 40 a read 0 = 1
        50 60 a read 0 = 2""",
    "a certain no that shows up": """
        10 20 a set 0 1 no 17
        30 40 b read 0 = 1""",
    "a value that nobody wrote": """
        10 20 a set 0 1 committed
        30 40 b read 0 = 7""",
    "a value before it was asked for": """
        10 20 b read 0 = 1
        30 40 a set 0 1 committed""",
    "two readers that see two writes in two orders": """
        10 90 a set 0 1 committed
        10 90 b set 0 2 committed
        20 30 c read 0 = 1
        40 50 c read 0 = 2
        60 70 d read 0 = 1""",
    "an unknown write that was there and is not": """
        10 - a set 0 1 unknown
        20 30 b read 0 = 1
        40 50 b read 0 = 0""",
    "a mismatch with the very value that is there": """
        10 20 a set 0 1 committed
        30 40 b cas 0 1 2 mismatch""",
    "an overflow that was none": """
        10 20 a add 0 1 overflow""",
    "a sum that cannot be": """
        10 20 a add 0 5 committed = 6""",
    "a read through a lease that was over": """
        10 20 a set 0 1 committed
        30 40 b read 0 lease = 0""",
    "a whole read that misses a write": """
        10 20 a set 1 1 committed
        30 40 b read all = 0=0 1=0""",
    "an unknown write from before its call": """
        10 20 b read 0 = 1
        30 - a set 0 1 unknown""",
}

BAD_STALE = {
    "a value from the future": """
        10 20 b read 0 stale 1/1 = 1
        30 40 a set 0 1 committed""",
    "a value that nobody wrote": """
        10 20 b read 0 stale 1/1 = 5""",
    "a value that was refused": """
        10 20 a set 0 1 no 16
        30 40 b read 0 stale 1/1 = 1""",
    "a board that goes back": """
        10 20 a set 0 1 committed
        30 40 b read 0 stale 1/1 = 1
        50 60 c read 0 stale 1/1 = 0""",
    "a board ahead of a linearizable read": """
        10 90 a set 0 1 committed
        20 30 b read 0 stale 1/1 = 1
        40 50 c read 0 = 0""",
    "a board ahead of the second of two reads": """
        1 - a set 0 1 unknown
        10 15 c read 0 = 0
        20 25 b read 0 stale 1/1 = 1
        30 40 c read 0 = 0""",
    "two boards that applied in two orders": """
        10 - a set 0 1 unknown
        10 - a set 0 2 unknown
        20 30 b read 0 stale 1/1 = 1
        40 50 b read 0 stale 1/1 = 2
        20 30 c read 0 stale 2/1 = 2
        40 50 c read 0 stale 2/1 = 1""",
}

BAD_WHOLE = {
    "half of two writes, the later half": """
        10 20 a set 0 1 committed
        30 40 a set 1 1 committed
        15 60 b read all = 0=0 1=1""",
    "two readers that disagree on which cell was first": """
        10 90 a set 0 1 committed
        10 90 b set 1 1 committed
        20 30 c read all = 0=1 1=0
        20 30 d read all = 0=0 1=1""",
    "a stale read of two moments": """
        10 20 a set 0 1 committed
        30 40 a set 1 1 committed
        50 60 b read all stale 1/1 = 0=0 1=1""",
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("look", ANY_ORDER)
def test_what_can_have_been_is_accepted(name, look):
    verdict = look(history(GOOD[name]))
    assert verdict.ok is True and verdict.violation is None, explained(verdict)


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("look", ANY_ORDER)
def test_what_cannot_have_been_is_refused(name, look):
    assert look(history(BAD[name])).ok is False


@pytest.mark.parametrize("name", BAD_STALE)
def test_a_stale_read_is_old_but_not_wrong(name):
    told = history(BAD_STALE[name])
    assert check(told).ok is True
    assert check_stale(told).ok is False and check_whole(told).ok is False


@pytest.mark.parametrize("name", BAD_WHOLE)
def test_several_cells_belong_to_one_moment(name):
    told = history(BAD_WHOLE[name])
    # Cell by cell there is nothing to see: this is what the split into cells gives up.
    assert check(told).ok is True and check_stale(told).ok is True
    assert check_whole(told).ok is False


def test_keys_can_be_absent_and_hold_text():
    good = """
        10 20 a set "lamp" "on" committed
        30 40 b read all = "lamp"="on"
        50 60 a add "lamp" 1 not-a-number
        70 80 a cas "lamp" "on" none committed
        90 95 b read "lamp" = none
        96 97 a cas "lamp" none x'00ff' committed
        98 99 b read all = "lamp"=x'00ff'"""
    assert check_whole(history(good, "keyvalue")).ok is True
    gone = """
        10 20 a set "lamp" "on" committed
        30 40 a delete "lamp" committed
        50 60 b read all = "lamp"="on\""""
    assert check(history(gone, "keyvalue")).ok is False
    missing = """
        10 20 a set "lamp" "on" committed
        30 40 b read all ="""
    assert check(history(missing, "keyvalue")).ok is False


# A slow and obvious judge, with the real state machines.


def machine_of(told):
    if told.machine == "intlist":
        machine = intlist.IntList(1 + max([c for c in told.cells()], default=0))
        for cell, value in told.start.items():
            machine.values[cell] = value
        return machine
    machine = keyvalue.KeyValue()
    for cell, value in told.start.items():
        machine.apply(keyvalue.set_command(cell, value))
    return machine


def value_in(machine, cell):
    return machine.values[cell] if machine.name == "intlist" else machine.get(cell)


def command(machine, operation):
    module = intlist if machine.name == "intlist" else keyvalue
    return getattr(module, operation.kind + "_command")(operation.cell, *operation.arguments)


def fits(machine, operation):
    """True if the answer is that of `machine`, which has then applied it."""
    if operation.kind == "read":
        values = operation.value if operation.cell is None else {operation.cell: operation.value}
        if machine.name == "keyvalue" and operation.cell is None:
            return values == {key: machine.get(key) for key in machine.keys()}
        return all(value_in(machine, cell) == value for cell, value in values.items())
    code = machine.apply(command(machine, operation))
    if operation.code == UNKNOWN:
        return True
    told = operation.value is NOT_TOLD or value_in(machine, operation.cell) == operation.value
    return code == operation.code and told


def precedes(a, b):
    if a.returned_us is None:
        return False
    if b.level == STALE and (a.level, a.board, a.boot) != (b.level, b.board, b.boot):
        return False
    return a.returned_us < b.called_us


def can_be(told, operations=None):
    """True if some order of some of what is unknown and all of the rest gives these answers."""
    operations = told.operations if operations is None else operations
    stated = (COMMITTED, MISMATCH, OVERFLOW, NOT_A_NUMBER)
    left = [o for o in operations if o.code in stated or o.code == UNKNOWN and o.kind != "read"]

    def goes_on(image, left):
        if all(operation.code == UNKNOWN for operation in left):
            return True
        for operation in left:
            rest = [other for other in left if other is not operation]
            if any(precedes(other, operation) for other in rest):
                continue
            machine = machine_of(told)
            machine.restore(image)
            if fits(machine, operation) and goes_on(machine.snapshot(), rest):
                return True
        return False

    return goes_on(machine_of(told).snapshot(), left)


def of_cell(told, cell):
    """What `told` says of one cell."""
    absent = MACHINES[told.machine]
    found = []
    for o in told.operations:
        if o.cell == cell:
            found.append(o)
        elif o.cell is None and o.code == COMMITTED and (cell in o.value or absent is None):
            found.append(
                Operation(
                    **{name: getattr(o, name) for name in o.__slots__}
                    | {"cell": cell, "value": o.value.get(cell)}
                )
            )
    start = {cell: told.start[cell]} if cell in told.start else {}
    return History(told.machine, found, start)


def without_stale(told):
    fresh = [o for o in told.operations if o.level != STALE]
    return History(told.machine, fresh, told.start)


# Small histories of all kinds, most of them impossible.

CELLS = {"intlist": (0, 1), "keyvalue": ("a", "b")}
VALUES = {"intlist": st.integers(0, 2), "keyvalue": st.sampled_from((0, 1, "x", None))}
NEAR_MAX = (1 << 31) - 2


@st.composite
def moment(draw, number):
    """Times of operation `number`: most overlap a few others."""
    called = 4 * number + draw(st.integers(0, 6))
    return called, called + draw(st.integers(0, 9))


@st.composite
def any_change(draw, machine):
    kinds = ["set", "add", "cas"] + ["delete"] * (machine == "keyvalue")
    kind = draw(st.sampled_from(kinds))
    value = VALUES[machine]
    arguments = {
        "set": st.tuples(value.filter(lambda v: v is not None)),
        "add": st.tuples(st.sampled_from((1, 2, -1, NEAR_MAX))),
        "cas": st.tuples(value, value),
        "delete": st.just(()),
    }[kind]
    return kind, draw(arguments)


@st.composite
def any_operation(draw, machine, number, cells):
    called, returned = draw(moment(number))
    cell = draw(st.sampled_from(cells))
    common = {"client": "c", "called_us": called, "returned_us": returned}
    what = draw(st.sampled_from(("change", "change", "unknown", "read", "read", "whole")))
    value = VALUES[machine]
    if what == "read":
        level = draw(st.sampled_from((LINEARIZABLE, LEASE)))
        return Operation(kind="read", cell=cell, value=draw(value), level=level, **common)
    if what == "whole":
        values = {one: draw(value) for one in CELLS[machine]}
        told = {one: v for one, v in values.items() if v is not None}
        return Operation(kind="read", value=told, **common)
    kind, arguments = draw(any_change(machine))
    common.update(kind=kind, cell=cell, arguments=arguments)
    if what == "unknown":
        return Operation(**common | {"returned_us": None, "code": UNKNOWN})
    codes = [COMMITTED] * 4 + [NO_LEADER, BUSY]
    codes += {"add": [OVERFLOW, NOT_A_NUMBER], "cas": [MISMATCH] * 4}.get(kind, [])
    code = draw(st.sampled_from(codes))
    told = draw(st.one_of(st.just(NOT_TOLD), value)) if code < NO_LEADER else NOT_TOLD
    return Operation(**common, code=code, value=told)


@st.composite
def any_history(draw):
    machine = draw(st.sampled_from(sorted(MACHINES)))
    cells = CELLS[machine][: draw(st.integers(1, 2))]
    count = draw(st.integers(0, 7))
    operations = [draw(any_operation(machine, number, cells)) for number in range(count)]
    start = {}
    if draw(st.booleans()):
        start[CELLS[machine][0]] = draw(VALUES[machine].filter(lambda v: v is not None))
    return History(machine, operations, start)


@st.composite
def real_history(draw, operations_max=7, stale=True):
    """What clients of a real state machine hear, each answer from a moment within its time."""
    name = draw(st.sampled_from(sorted(MACHINES)))
    told = History(name)
    for cell in CELLS[name]:
        told.start[cell] = draw(VALUES[name].filter(lambda v: v is not None))
    machine = machine_of(told)
    cells = draw(st.integers(1, 2))
    asked = []
    stale_at = 0
    for number in range(draw(st.integers(0, operations_max))):
        called, returned = draw(moment(number))
        at = draw(st.integers(called, returned))
        what = draw(
            st.sampled_from(("change", "change", "unknown", "no", "read", "whole", "stale"))
        )
        if what == "stale":
            if not stale:
                continue
            # Of one board, one after the other.
            called = stale_at + draw(st.integers(1, 4))
            stale_at = returned = at = called + draw(st.integers(0, 4))
        elif what == "unknown":
            at = called + draw(st.integers(0, 30))
            what = draw(st.sampled_from(("unknown", "never")))
        change = draw(any_change(name)) if what in ("change", "unknown", "never", "no") else None
        cell = draw(st.sampled_from(CELLS[name][:cells]))
        tell = draw(st.booleans())
        asked.append((at, number, what, cell, change, called, returned, tell))
    images = [machine.snapshot()]
    shown = 0
    for _, _, what, cell, change, called, returned, tell in sorted(asked, key=lambda a: a[:2]):
        common = {"client": "c", "called_us": called, "returned_us": returned}
        if what in ("read", "whole", "stale"):
            shows = machine_of(told)
            if what == "stale":
                shown = draw(st.integers(shown, len(images) - 1))
                common.update(level=STALE, board=1, boot=1)
            shows.restore(images[shown if what == "stale" else -1])
            if what == "whole" or tell:
                values = {one: value_in(shows, one) for one in CELLS[name]}
                values = {one: value for one, value in values.items() if value is not None}
                told.operations.append(Operation(kind="read", value=values, **common))
                continue
            common["value"] = value_in(shows, cell)
            told.operations.append(Operation(kind="read", cell=cell, **common))
            continue
        kind, arguments = change
        common.update(kind=kind, cell=cell, arguments=arguments)
        if what == "no":
            told.operations.append(Operation(**common, code=BUSY))
        elif what == "change":
            operation = Operation(**common)
            code = machine.apply(command(machine, operation))
            value = value_in(machine, cell) if tell else NOT_TOLD
            told.operations.append(Operation(**common, code=code, value=value))
        else:
            operation = Operation(**common | {"returned_us": None, "code": UNKNOWN})
            if what == "unknown":
                machine.apply(command(machine, operation))
            told.operations.append(operation)
        images.append(machine.snapshot())
    return told


@st.composite
def mutated_history(draw):
    """A real one, but one operation has another value or another time."""
    told = draw(real_history())
    if not told.operations:
        return told
    place = draw(st.integers(0, len(told.operations) - 1))
    old = told.operations[place]
    changed = {name: getattr(old, name) for name in old.__slots__}
    # Times of stale reads stay: those of one board must not overlap, to compare exactly.
    if draw(st.booleans()) and old.level != STALE:
        called, returned = draw(moment(draw(st.integers(0, 7))))
        changed["called_us"] = called
        if old.returned_us is not None:
            changed["returned_us"] = returned
    elif old.kind == "read":
        value = VALUES[told.machine]
        if old.cell is None:
            cell = draw(st.sampled_from(CELLS[told.machine]))
            changed["value"] = old.value | {cell: draw(value.filter(lambda v: v is not None))}
        else:
            changed["value"] = draw(value)
    else:
        changed["kind"], changed["arguments"] = draw(any_change(told.machine))
        if old.code == MISMATCH:
            changed["code"] = COMMITTED
    told.operations[place] = Operation(**changed)
    return told


def agrees(told):
    """Both judges say the same, and the reason that is given is one by itself."""
    cells = told.cells()
    fresh = without_stale(told)
    for look, expected in (
        (check, all(can_be(of_cell(fresh, cell)) for cell in cells)),
        (check_stale, all(can_be(of_cell(told, cell)) for cell in cells)),
        (check_whole, can_be(told)),
    ):
        verdict = look(told)
        event("%s: %s" % (look.__name__, "can be" if expected else "cannot"))
        assert verdict.ok is expected, (look.__name__, expected, to_text(told))
        if not verdict.ok:
            stands_alone(told, verdict.violation)


def stands_alone(told, violation):
    """What `violation` shows is impossible, whatever else happened."""
    cells = list(violation.start)
    mentioned = {0, 1, 2, 3, -1, NEAR_MAX, None, "x"}
    if told.machine == "intlist":
        mentioned -= {None, "x"}
    for values in itertools.product(*(violation.start[c] or mentioned for c in cells)):
        start = {c: v for c, v in zip(cells, values, strict=True) if v is not None}
        small = History(told.machine, violation.operations, start)
        if told.machine == "keyvalue":
            small = absent_is_unsaid(small, cells)
        assert not can_be(small), (to_text(told), to_text(small))


def absent_is_unsaid(told, cells):
    """Reads of the whole database say nothing of other cells than `cells` here."""
    split = []
    for number, o in enumerate(told.operations):
        if o.kind == "read" and o.cell is None and len(cells) == 1:
            value = o.value.get(cells[0])
            fields = {name: getattr(o, name) for name in o.__slots__}
            split.append(Operation(**fields | {"cell": cells[0], "value": value}))
        else:
            split.append(told.operations[number])
    return History(told.machine, split, told.start)


@given(any_history())
@settings(max_examples=400, deadline=None)
def test_any_small_history_is_judged_as_by_trying_all_orders(told):
    agrees(told)


@given(mutated_history())
@settings(max_examples=300, deadline=None)
def test_a_real_history_with_one_change_is_judged_as_by_trying_all_orders(told):
    agrees(told)


@given(real_history(operations_max=30))
@settings(max_examples=150, deadline=None)
def test_what_a_real_state_machine_answers_is_always_accepted(told):
    for look in ANY_ORDER:
        verdict = look(told)
        assert verdict.ok is True, to_text(told)


@given(real_history(operations_max=12))
@settings(max_examples=150, deadline=None)
def test_what_the_reason_leaves_out_is_not_missed(told):
    """Of what can have been, each part that may be looked at alone can have been, too."""
    operations = [o for o in told.operations if linearizable._says_something(o)]
    fresh = [o for o in operations if o.level != STALE]
    cells = told.cells()
    for some, of in ((cells, operations), (cells, fresh), (cells[:1], fresh)):
        of = [o for o in of if o.cell is None or o.cell in some]
        system = linearizable._System.of(told, some, of)
        steps = system.all_steps()
        parts = [system.without({step}) for step in steps if not step.changes]
        parts += [system.without({step}) for step in system.unseen(steps)]
        parts += [system.without({step}) for step in system.overwritten(steps)]
        parts += [linearizable._until(system, step.returned) for step in steps]
        parts += [linearizable._without_place(system, place) for place in range(len(some))]
        if not system.chains:
            parts += [linearizable._since(system, step.called) for step in steps]
        for part in parts:
            assert linearizable._search(part, 100_000).ok, to_text(told)


def test_a_stale_read_may_have_looked_before_a_write_that_came_before_it():
    told = history("""
        10 20 a set 0 1 committed
        30 40 a set 0 2 committed
        50 60 b read 0 stale 1/1 = 1""")
    system = linearizable._System.of(told, [0], told.operations)
    assert system.overwritten(system.steps) == []


@given(st.sampled_from(sorted(MACHINES)), st.data())
@settings(max_examples=300, deadline=None)
def test_a_cell_changes_as_in_the_real_state_machines(name, data):
    present = data.draw(VALUES[name].filter(lambda v: v is not None))
    cell = CELLS[name][0]
    kind, arguments = data.draw(any_change(name))
    machine = machine_of(History(name, start={cell: present}))
    asked = Operation(
        client="c", kind=kind, cell=cell, arguments=arguments, called_us=0, returned_us=1
    )
    code = machine.apply(command(machine, asked))
    assert cell_after(kind, arguments, present) == (value_in(machine, cell), code)


def test_a_cell_that_is_not_there_changes_as_in_the_real_state_machine():
    for kind, arguments in (("add", (3,)), ("cas", (None, 3)), ("cas", (0, 3)), ("delete", ())):
        machine = keyvalue.KeyValue()
        asked = Operation(
            client="c", kind=kind, cell="a", arguments=arguments, called_us=0, returned_us=1
        )
        code = machine.apply(command(machine, asked))
        assert cell_after(kind, arguments, None) == (machine.get("a"), code)


# Long ones.


ALL_KINDS = ("set", "set", "cas", "add", "read", "read", "all")


def long_history(seed, clients=20, operations=4000, cells=10, kinds=ALL_KINDS):
    """Clients in closed loops at a real list: sets, cas, adds, reads of one cell and of all."""
    rng = random.Random(seed)
    free_at = {client: rng.randrange(1000) for client in range(clients)}
    asked = []
    for number in range(operations):
        client = min(free_at, key=free_at.get)
        called = free_at[client]
        returned = called + rng.randrange(500, 20000)
        at = rng.randint(called, returned)
        free_at[client] = returned + rng.randrange(1, 100)
        kind = rng.choice(kinds)
        unknown = kind in ("set", "add") and rng.random() < 0.03
        asked.append((at, number, "c%d" % client, kind, called, None if unknown else returned))
    machine = intlist.IntList(cells)
    told = History("intlist")
    for _, number, client, kind, called, returned in sorted(asked):
        cell = rng.randrange(cells)
        common = {"client": client, "called_us": called, "returned_us": returned}
        if kind == "all":
            value = dict(enumerate(machine.values))
            told.operations.append(Operation(kind="read", value=value, **common))
            continue
        common["cell"] = cell
        if kind == "read":
            told.operations.append(Operation(kind="read", value=machine.values[cell], **common))
            continue
        arguments = {"set": (number,), "add": (1,), "cas": (machine.values[cell], number)}[kind]
        common.update(kind=kind, arguments=arguments)
        if returned is None:
            common["code"] = UNKNOWN
        operation = Operation(**common)
        if returned is not None or rng.random() < 0.5:
            assert machine.apply(command(machine, operation)) == COMMITTED
        told.operations.append(operation)
    return told


@pytest.mark.parametrize("seed", range(3))
def test_a_long_history_takes_few_states(seed):
    told = long_history(seed)
    for look in (check, check_stale):
        verdict = look(told)
        assert verdict.ok is True and verdict.states < 10 * len(told.operations)
    assert judge(told, tell=lambda line: None)["ok"] is True


@pytest.mark.parametrize("seed", range(3))
def test_all_clients_at_one_cell_take_few_states_if_they_do_not_add(seed):
    told = long_history(seed, cells=1, kinds=("set", "cas", "read", "all"))
    verdict = check(told)
    assert verdict.ok is True and verdict.states < 10 * len(told.operations)


@pytest.mark.parametrize("seed", range(3))
def test_one_old_value_in_a_long_history_is_found_and_told_in_few_lines(seed):
    told = long_history(seed, operations=2000, cells=20)
    reads = [n for n, o in enumerate(told.operations) if o.kind == "read" and o.cell is not None]
    place = reads[len(reads) * 3 // 4]
    old = told.operations[place]
    fields = {name: getattr(old, name) for name in old.__slots__}
    told.operations[place] = Operation(**fields | {"value": told.start.get(old.cell, 0)})
    verdict = check(told)
    assert verdict.ok is False
    assert told.operations[place] in verdict.violation.operations
    assert len(verdict.violation.operations) <= 5, explained(verdict)


def test_too_many_states_are_undecided_and_said_so():
    told = long_history(0, operations=200, cells=1)
    verdict = check(told, states_max=10)
    lines = []
    assert verdict.ok is None and verdict.violation is None
    assert judge(told, states_max=10, tell=lines.append)["ok"] is False
    assert "cell 0 is undecided" in lines[0]


def test_a_hard_cell_leaves_states_for_the_others():
    told = long_history(0, operations=300, cells=1, kinds=("set", "add", "read"))
    for at in range(400):
        common = {"client": "z", "cell": 9, "called_us": 2 * at, "returned_us": 2 * at + 1}
        told.operations.append(Operation(kind="set", arguments=(at,), **common))
    told.operations.append(
        Operation(client="z", kind="read", cell=9, value=0, called_us=900, returned_us=901)
    )
    assert check(told, states_max=100).ok is False


def test_reads_of_everything_cost_a_cell_nothing_that_nobody_writes():
    reads = [
        Operation(client="c", kind="read", value={0: 0, 1: 0}, called_us=at, returned_us=at + 5)
        for at in range(500)
    ]
    write = Operation(
        client="w", kind="set", cell=0, arguments=(1,), called_us=600, returned_us=601
    )
    told = History("intlist", [*reads, write])
    assert len(linearizable._System.of(told, [1], reads).steps) == 1
    # Beside a write: those before its call, and those that were under way then.
    assert len(linearizable._System.of(told, [0], told.operations).steps) == 2


# What a reader gets.


def explained(verdict):
    return "\n".join(verdict.violation.timeline()) if verdict.violation else "no violation"


def test_the_reason_is_a_small_timeline():
    lines = (
        BAD["a write that comes back"]
        + "\n"
        + "\n".join("%d %d x set 0 %d committed" % (at, at + 1, at) for at in range(1000, 1400, 10))
    )
    assert explained(check(history(lines))).split("\n") == [
        "no order fits these operations; before them",
        "  cell 0 may have held anything",
        "  |=========|                       50 60 b read 0 = 2",
        "                      |==========|  70 80 b read 0 = 1",
    ]


def test_the_reason_names_what_may_have_been_there():
    text = explained(check(history(BAD["a value that nobody wrote"])))
    assert "cell 0 held one of 0, 1" in text and "read 0 = 7" in text


def test_the_reason_leaves_out_what_only_happened_meanwhile():
    lines = """
        10 20 a set 0 1 committed
        21 25 c read 0 = 1
        30 80 a set 0 2 committed
        31 82 b read 0 = 1
        32 84 c cas 0 1 5 mismatch
        33 86 d read 0 = 2
        90 95 e read 0 = 1"""
    assert explained(check(history(lines))).split("\n")[2:] == [
        "  |=========|                       30 80 a set 0 2 committed",
        "                      |==========|  90 95 e read 0 = 1",
    ]


def test_the_reason_may_be_one_operation():
    lines = """
        10 20 a set 0 1 committed
        30 40 b cas 0 7 8 committed"""
    text = explained(check(history(lines)))
    assert "held one of 0, 1\n" in text and text.count("\n") == 2


def test_the_reason_across_cells_names_only_these_cells():
    lines = BAD_WHOLE["half of two writes, the later half"].replace("0=0 1=1", "0=0 1=1 2=0 3=0")
    verdict = check_whole(history(lines))
    assert set(verdict.violation.start) == {0, 1}
    assert "read all = 0=0 1=1" in explained(verdict)


# The text form.


@given(st.one_of(any_history(), real_history()))
@settings(max_examples=200, deadline=None)
def test_the_text_form_keeps_everything(told):
    again = from_text(to_text(told))
    assert (again.machine, again.start) == (told.machine, told.start)
    assert again.operations == told.operations


@given(st.text(max_size=30), st.binary(max_size=9))
@settings(max_examples=200, deadline=None)
def test_any_text_and_bytes_are_kept(text, data):
    text = text.encode("utf-8", "replace").decode()
    told = History("keyvalue")
    for cell, value in ((text, data), ("k", text), ("all", None)):
        told.operations.append(
            Operation(client="c", kind="read", cell=cell, value=value, called_us=1, returned_us=2)
        )
    assert from_text(to_text(told)).operations == told.operations


@pytest.mark.parametrize(
    "line,why",
    (
        ("10 20 a set 0 committed", "set VALUE, add DELTA"),
        ("10 20 a set 0 1", "what became of it is missing"),
        ("10 20 a put 0 1 committed", "set VALUE, add DELTA"),
        ("10 5 a set 0 1 committed", "returned before"),
        ("10 - a set 0 1 committed", "did not return"),
        ("10 20 a set 0 1 unknown", "did not return"),
        ("10 20 a set all 1 committed", "only be read"),
        ("10 20 a set 0 1 maybe", "it is not CALLED RETURNED CLIENT"),
        ("10 20 a read 0", "a read has a value"),
        ("10 20 a read 0 = x", "no value is written x"),
        ("10 20 a read all = 0=1 2", "CELL=VALUE CELL=VALUE"),
        ("10 20 a read all = 0=1=2", "CELL=VALUE CELL=VALUE"),
        ("10 20 a read 0 stale = 1", "it is not CALLED RETURNED CLIENT"),
        ("10 20 a b read 0 = 1", "it is not CALLED RETURNED CLIENT"),
        ("10 20 a/b read 0 = 1", "one word of letters"),
        ('10 20 a read 0 = "\\q"', "escape"),
        ("start 0", "it is not"),
        ("nonsense", "it is not"),
        ("10 20 a set 0 1 no 5", "nothing ends with code 5"),
    ),
)
def test_a_line_that_is_wrong_is_named(line, why):
    with pytest.raises(HistoryError, match="line 2: .*" + why):
        from_text("history of intlist\n" + line)


def test_a_text_that_is_no_history_is_refused():
    for text in ("", "history of fish\n", "diary\n"):
        with pytest.raises(HistoryError):
            from_text(text)


# The command.


def run_command(tmp_path, text, *options):
    path = tmp_path / "history.txt"
    path.write_text(text)
    done = CliRunner().invoke(cli.app, ["linearizable", str(path), *options])
    return done, json.loads(done.stdout.strip().split("\n")[-1]) if done.stdout else None


def test_the_command_judges_a_file(tmp_path):
    done, result = run_command(tmp_path, to_text(history(GOOD["one after the other"])))
    assert done.exit_code == 0
    assert result["ok"] is True and (result["operations"], result["cells"]) == (5, 1)
    done, result = run_command(tmp_path, to_text(history(BAD["a lost write"])))
    assert done.exit_code == 1 and result["ok"] is False
    assert "no order fits" in done.stderr


def test_the_command_says_what_it_did_not_look_at(tmp_path):
    text = to_text(history(BAD_WHOLE["half of two writes, the later half"]))
    done, result = run_command(tmp_path, text)
    assert result["ok"] is True and "1 reads saw several cells" in done.stderr
    done, result = run_command(tmp_path, text, "--whole")
    assert result["ok"] is False and result["whole"] == "violation"


def test_the_command_says_what_is_wrong_with_a_file(tmp_path):
    done, _ = run_command(tmp_path, "history of intlist\nnonsense\n")
    assert done.exit_code == 1 and "line 2" in done.stderr
