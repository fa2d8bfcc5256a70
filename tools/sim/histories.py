"""What clients of a World asked and heard, as a history for the judge (tools.linearizable).

The properties in tools.sim.checks look into the boards; this looks only at what came out of them.
"""

from struct import unpack_from

from raft import intlist, keyvalue
from raft.message import COMMITTED, LEASE, LINEARIZABLE, REJECTED, STALE, UNKNOWN
from tools import history, linearizable
from tools.history import History, Operation

LINEARIZABILITY = "linearizability"  # as a property that may break
_STATES = 5000  # that the judge may try; what it finds, it finds soon
_LEVELS = {STALE: history.STALE, LINEARIZABLE: history.LINEARIZABLE, LEASE: history.LEASE}
_KINDS = {1: "set", 2: "add", 3: "cas"}  # both state machines count them alike
_NONE, _INT, _TEXT = range(3)


def history_of(world):
    """The History of all that was asked for and read in `world` so far."""
    machine = world.boards[1].config.new_machine().name
    told = History(machine)
    for asked in world.asked:
        meant = _MEANT[machine](asked.command)
        if meant is not None:
            told.operations.append(_change(asked, *meant))
    told.operations += [_read(reading) for reading in world.readings if reading.code == COMMITTED]
    return told


def judge(world):
    """Was all that clients of `world` heard possible in some order? Raises Violation if not;
    returns how many cells are undecided, because too many orders are possible."""
    told = history_of(world)
    for look in (linearizable.check, linearizable.check_stale):
        verdict = look(told, _STATES)
        if verdict.violation is not None:
            facts = "no order fits what clients heard\n" + "\n".join(verdict.violation.timeline())
            raise world.violation(LINEARIZABILITY, facts)
    return len(verdict.undecided)


def _change(asked, kind, cell, arguments):
    code = asked.code
    if code is None or code != COMMITTED and code < REJECTED:
        code = UNKNOWN
    return Operation(
        client="b%d" % asked.board,
        kind=kind,
        cell=cell,
        arguments=arguments,
        called_us=asked.at_us,
        returned_us=None if code == UNKNOWN else asked.answered_us,
        code=code,
    )


def _read(reading):
    values = reading.values
    if not isinstance(values, dict):
        values = dict(enumerate(values))
    stale = reading.level == STALE
    return Operation(
        client="b%d" % reading.board,
        kind="read",
        called_us=reading.at_us,
        returned_us=reading.answered_us,
        value=values,
        level=_LEVELS[reading.level],
        board=reading.board if stale else 0,
        boot=reading.boot if stale else 0,
    )


# (kind, cell, arguments) of a command; None if it is about no cell, or malformed.


def _of_list(command):
    if intlist.IntList(intlist.SIZE_MAX).check(command) != COMMITTED or command[0] not in _KINDS:
        return None
    arguments = unpack_from("<ii" if len(command) > 7 else "<i", command, 3)
    return _KINDS[command[0]], command[1] | command[2] << 8, arguments


def _of_keys(command):
    if keyvalue.KeyValue().check(command) != COMMITTED:
        return None
    end = 2 + command[1]
    key = str(command[2:end], "utf-8")
    arguments = []
    while end < len(command):
        value, end = _value(command, end)
        arguments.append(value)
    if command[0] == keyvalue.SET and arguments == [None]:
        return "delete", key, ()
    return _KINDS[command[0]], key, tuple(arguments)


def _value(data, at):
    """(the value that begins there, where it ends)"""
    kind = data[at]
    if kind == _NONE:
        return None, at + 1
    if kind == _INT:
        return unpack_from("<i", data, at + 1)[0], at + 5
    end = at + 2 + data[at + 1]
    value = data[at + 2 : end]
    return (str(value, "utf-8") if kind == _TEXT else bytes(value)), end


_MEANT = {intlist.IntList.name: _of_list, keyvalue.KeyValue.name: _of_keys}
