"""What is wrong with the history of a soak, in numbers: lost writes, and reads that broke order.

A cell's history that fits no order may have a lost write or a stale read at fault. So its writes
and what the healed database holds (reads of client FINAL) are judged alone first: if they fit no
order, writes are lost, whatever else was read. If they do, reads are at fault.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from operator import attrgetter

from raft.message import COMMITTED, UNKNOWN
from tools.history import NOT_TOLD, STALE, History, word
from tools.linearizable import STATES_MAX, check, check_stale

FINAL = "final"
COUNTED_MAX = 8  # of a kind in one cell; there may be more


@dataclass(slots=True)
class Verdict:
    """`lost`: acknowledged writes; `stale_reads`: linearizable and lease reads; `board_reads`:
    reads of one board as it was, that saw what never was or went back. `undecided`: a sentence for
    each cell that took too many states. `reasons`: lines that show one violation of each cell."""

    lost: int = 0
    stale_reads: int = 0
    board_reads: int = 0
    undecided: list = field(default_factory=list)
    reasons: list = field(default_factory=list)

    @property
    def ok(self):
        return not (self.lost or self.stale_reads or self.board_reads or self.undecided)


def verdict(history, states_max=STATES_MAX):
    """The Verdict on a `History`, cell by cell."""
    result = Verdict()
    for cell, operations in _by_cell(history):
        part = History(history.machine, operations, {cell: history.first(cell)})
        found = check_stale(part, states_max)
        result.undecided += found.undecided
        if found.ok is False:
            result.reasons += found.violation.timeline()
            try:
                _count(part, states_max, result)
            except _Undecided:
                text = "cell %s is wrong, but whether a write is lost is undecided"
                result.undecided.append(text % word(cell))
    return result


class _Undecided(Exception):
    pass


def _by_cell(history):
    """(cell, its operations); a read of the whole database is one of each cell."""
    of = defaultdict(list)
    for operation in history.operations:
        if operation.cell is not None:
            of[operation.cell].append(operation)
        elif operation.code == COMMITTED:
            for cell, value in operation.value.items():
                of[cell].append(replace(operation, cell=cell, value=value))
    return sorted(of.items())


def _count(part, states_max, result):
    """Add what is wrong in `part`, the history of one cell."""

    def some(wanted):
        return replace(part, operations=[o for o in part.operations if wanted(o)])

    def violation(history, look=check):
        found = look(history, states_max)
        if found.ok is None:
            raise _Undecided
        return found.violation

    lost = _lost(some(lambda o: o.kind != "read" or o.client == FINAL), violation)
    result.lost += lost
    if lost:
        return
    fresh = some(lambda o: o.level != STALE)
    odd = _odd_reads(fresh, violation, lambda o: o.client != FINAL)
    result.stale_reads += len(odd)
    rest = some(lambda o: id(o) not in odd)
    odd = _odd_reads(rest, lambda h: violation(h, check_stale), lambda o: o.level == STALE)
    result.board_reads += len(odd)


def _lost(writes, violation):
    """How many acknowledged writes must have had no effect for the rest to fit."""
    found = violation(writes)
    count = 0
    while found is not None and count < COUNTED_MAX:
        count += 1
        suspects = [o for o in found.operations if o.kind != "read" and o.code == COMMITTED]
        # The one without which all fits; if there is none, more than one is lost: the last first.
        tried = []
        for suspect in sorted(suspects, key=attrgetter("returned_us"), reverse=True):
            other = replace(writes, operations=[_doubted(o, suspect) for o in writes.operations])
            tried.append((other, violation(other)))
            if tried[-1][1] is None:
                return count
        if not tried:
            break
        writes, found = tried[0]
    return count


def _doubted(operation, suspect):
    """The operation; the `suspect` as if nobody had said that it was done."""
    if operation is not suspect:
        return operation
    return replace(operation, returned_us=None, code=UNKNOWN, value=NOT_TOLD)


def _odd_reads(history, violation, wanted):
    """{id: read}: those of the reads `wanted` that must go for the rest to fit. Without one of its
    reads a violation is none, for it names as few as it can: the last one broke the order."""
    odd = {}
    while len(odd) < COUNTED_MAX:
        found = violation(history)
        reads = [o for o in found.operations if o.kind == "read" and wanted(o)] if found else []
        if not reads:
            break
        last = max(reads, key=attrgetter("returned_us"))
        odd[id(last)] = last
        operations = [o for o in history.operations if o is not last]
        history = replace(history, operations=operations)
    return odd
