"""What clients asked a cluster and what they heard, and its text form, to keep as evidence.

    history of intlist
    # called and returned (us), client, operation, cell, arguments, what became of it
    1000 2500 viewer set 3 34 committed
    1200 - cli cas 3 34 35 unknown
    3000 3900 viewer add 3 -1 committed = 33
    4000 4700 cli cas 3 34 36 mismatch = 33
    5000 5800 cli set 3 7 no 17
    6000 6900 viewer read 3 = 33
    7000 7900 viewer read all lease = 0=0 1=0 2=0 3=33 4=0
    8000 8100 viewer read 3 stale 2/7 = 34

Behind "=" stands what a read saw, or what a change left there if the client was told. `no 17`:
refused for certain, by that code of raft/message.py. `stale 2/7`: board 2 answered, in its boot 7.
A line `start CELL VALUE` says what a cell held at first. Values are 34, "text" as JSON writes it,
x'00ff' for bytes, and none.

No files and no clock in here. Times are whole numbers of any one clock, microseconds by name.
"""

import json
import re
from dataclasses import dataclass, field

from raft.intlist import IntList
from raft.keyvalue import KeyValue
from raft.message import COMMITTED, MISMATCH, NOT_A_NUMBER, OVERFLOW, REJECTED, UNKNOWN

LINEARIZABLE = "linearizable"
LEASE = "lease"
STALE = "stale"
LEVELS = (LINEARIZABLE, LEASE, STALE)

# What a cell holds that was never written.
MACHINES = {IntList.name: 0, KeyValue.name: None}

# How many arguments a kind of operation has.
KINDS = {"set": 1, "add": 1, "cas": 2, "delete": 0, "read": 0}

_CLIENT = re.compile(r"[\w.:-]+")


class HistoryError(ValueError):
    """The history is none; the text says where, and what is wrong."""


class _NotTold:
    def __repr__(self):
        return "NOT_TOLD"


NOT_TOLD = _NotTold()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What one client asked once, and what it heard. Raises HistoryError.

    `client`: one word. `kind`: one of KINDS; `arguments`: the value of a set, the delta of an add,
    the expected and the new value of a cas. `cell`: index or key; None: the whole database, to
    read. `code` (raft/message.py): UNKNOWN, and then `returned_us` is None; from REJECTED on a
    certain no. `value`: what a read saw, of the whole database {cell: value}; what a change left in
    its cell, if the client was told. Values are int, str, bytes, or None for a key that is not
    there. A stale read names the `board` that answered, and which `boot` of it.
    """

    client: str
    kind: str
    cell: int | str | None = None
    arguments: tuple = ()
    called_us: int
    returned_us: int | None
    code: int = COMMITTED
    value: object = NOT_TOLD
    level: str = LINEARIZABLE
    board: int = 0
    boot: int = 0

    def __post_init__(self):
        wrong = self._wrong()
        if wrong:
            where = "operation of %s called at %s: " % (self.client, self.called_us)
            raise HistoryError(where + wrong)

    def _wrong(self):
        if not _CLIENT.fullmatch(self.client):
            return "a client is one word of letters, digits and _.:-"
        if self.kind not in KINDS or len(self.arguments) != KINDS[self.kind]:
            return "it is set VALUE, add DELTA, cas EXPECTED VALUE, delete or read"
        if self.cell is None and self.kind != "read":
            return "the whole database can only be read"
        if (self.returned_us is None) != (self.code == UNKNOWN):
            return "what did not return is unknown, and what returned is not"
        if self.returned_us is not None and self.returned_us < self.called_us:
            return "it returned before it was called"
        if self.code not in (COMMITTED, UNKNOWN) and self.code < REJECTED:
            return "nothing ends with code %d" % self.code
        if self.code == UNKNOWN and self.value is not NOT_TOLD:
            return "of what is unknown there is no value"
        if self.kind == "read" and self.code == COMMITTED:
            if self.value is NOT_TOLD or (self.cell is None) != isinstance(self.value, dict):
                return "a read has a value, that of the whole database {cell: value}"
        if self.level not in LEVELS or self.level != LINEARIZABLE and self.kind != "read":
            return "a read is %s, %s or %s" % LEVELS
        return None


@dataclass(slots=True)
class History:
    """`operations`, in any order, on one database. `machine`: which one (a key of MACHINES);
    `start`: {cell: value} of what held another value at first than MACHINES says. Raises
    HistoryError."""

    machine: str
    operations: list = field(default_factory=list)
    start: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.machine not in MACHINES:
            raise HistoryError("a history is of one of: " + ", ".join(MACHINES))

    def cells(self):
        """All cells that it names, sorted."""
        found = set(self.start)
        for operation in self.operations:
            if operation.cell is not None:
                found.add(operation.cell)
            elif operation.code == COMMITTED:
                found.update(operation.value)
        return sorted(found, key=lambda cell: (isinstance(cell, str), cell))

    def first(self, cell):
        """What `cell` held at first."""
        return self.start.get(cell, MACHINES[self.machine])

    def several(self):
        """The number of reads that saw several cells."""
        return sum(o.cell is None and o.code == COMMITTED for o in self.operations)


# The text form.

_HEAD = "history of "
_CODE_WORDS = {
    COMMITTED: "committed",
    UNKNOWN: "unknown",
    MISMATCH: "mismatch",
    OVERFLOW: "overflow",
    NOT_A_NUMBER: "not-a-number",
}
_CODES = {word: code for code, word in _CODE_WORDS.items()}
_VALUE = r"""(?:"(?:[^"\\]|\\.)*"|x'(?:[0-9a-f]{2})*'|none|-?[0-9]+)"""
_START = re.compile("start +(%s) +(%s)" % (_VALUE, _VALUE))
_PAIR = re.compile("(%s)=(%s)" % (_VALUE, _VALUE))
_FORM = "CALLED RETURNED CLIENT OPERATION CELL [ARGUMENT...] [LEVEL] [OUTCOME] [= VALUE]"
_LINE = re.compile(
    r"([0-9]+) +([0-9]+|-) +(\S+) +(\w+) +(all|%s)((?: +%s)*)" % (_VALUE, _VALUE)
    + r"(?: +(lease)| +(stale) +([0-9]+)/([0-9]+))?"
    + r"(?: +(%s|no +[0-9]+))?(?: +=(.*))?" % "|".join(_CODES)
)


def word(value):
    """A value or a cell: 34, "text" (as JSON writes it), x'00ff' (bytes), none (not there)."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, bytes):
        return "x'%s'" % value.hex()
    return "%d" % value


def _meant(word):
    if word == "none":
        return None
    if word.startswith('"'):
        return json.loads(word)
    return bytes.fromhex(word[2:-1]) if word.startswith("x'") else int(word)


def operation_line(operation):
    """One operation, as `to_text` writes it."""
    returned_us = operation.returned_us
    words = [
        str(operation.called_us),
        "-" if returned_us is None else str(returned_us),
        operation.client,
        operation.kind,
        "all" if operation.cell is None else word(operation.cell),
        *map(word, operation.arguments),
    ]
    if operation.level != LINEARIZABLE:
        words.append(operation.level)
    if operation.level == STALE:
        words.append("%d/%d" % (operation.board, operation.boot))
    if operation.kind != "read" or operation.code != COMMITTED:
        words.append(_CODE_WORDS.get(operation.code) or "no %d" % operation.code)
    if operation.cell is None and operation.code == COMMITTED:
        words.append("=")
        words += ["%s=%s" % (word(cell), word(told)) for cell, told in operation.value.items()]
    elif operation.value is not NOT_TOLD:
        words += ["=", word(operation.value)]
    return " ".join(words)


def to_text(history):
    """The history as lines; `from_text` reads them back. docs/reliability.md describes them."""
    lines = [_HEAD + history.machine]
    lines += ["start %s %s" % (word(c), word(v)) for c, v in history.start.items()]
    lines += map(operation_line, history.operations)
    return "\n".join(lines) + "\n"


def from_text(text):
    """The History in `text`. Raises HistoryError, with the number of the line."""
    history = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            if history is None:
                if not line.startswith(_HEAD):
                    raise ValueError("a history begins with: %sMACHINE" % _HEAD)
                history = History(line[len(_HEAD) :].strip())
                continue
            start = _START.fullmatch(line.strip())
            if start is not None:
                history.start[_meant(start[1])] = _meant(start[2])
            else:
                history.operations.append(_operation(line.strip()))
        except ValueError as error:
            raise HistoryError("line %d: %s: %s" % (number, error, line[:100]))
    if history is None:
        raise HistoryError("the history is empty")
    return history


def _operation(line):
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError("it is not " + _FORM)
    called, returned, client, kind, cell, arguments, lease, stale, board, boot, answer, value = (
        found.groups()
    )
    told = NOT_TOLD
    if value is not None:
        if cell != "all":
            if not re.fullmatch(_VALUE, value.strip()):
                raise ValueError("no value is written" + value)
            told = _meant(value.strip())
        elif _PAIR.sub("", value).strip():
            raise ValueError("the whole database is CELL=VALUE CELL=VALUE ...")
        else:
            told = {_meant(one): _meant(its) for one, its in _PAIR.findall(value)}
    code = COMMITTED
    if answer is not None:
        code = _CODES[answer] if answer in _CODES else int(answer[2:])
    elif kind != "read":
        raise ValueError("what became of it is missing")
    return Operation(
        client=client,
        kind=kind,
        cell=None if cell == "all" else _meant(cell),
        arguments=tuple(map(_meant, re.findall(_VALUE, arguments))),
        called_us=int(called),
        returned_us=None if returned == "-" else int(returned),
        code=code,
        value=told,
        level=lease or stale or LINEARIZABLE,
        board=int(board or 0),
        boot=int(boot or 0),
    )
