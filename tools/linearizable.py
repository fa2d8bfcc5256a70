"""Is a history of what clients asked and heard (tools/history.py) linearizable?

Linearizable (Herlihy & Wing, 1990): each operation took effect at one moment between its call and
its return, and the answers are those of that order. The search is Wing & Gong's (1993): which
operation may have been next? With Lowe's memory (2017): the same operations done and the same
values lead to nothing new. It is exact, and bounded: a history that would take more states than
`states_max` is "undecided".

An operation whose outcome is unknown may take effect at any time after its call, or never. What was
refused for certain has no effect; a refusal by the state machine (MISMATCH, OVERFLOW, NOT_A_NUMBER)
is also a statement about the value at that moment. FULL is none here: how full a database is
depends on all of its keys.

`check` looks at each cell alone, for linearizability is local: a history is linearizable if it is
so for each object (Herlihy & Wing, theorem 1). A read of the whole database is one read of each
cell then, which gives up the order across cells: a read that saw cell 1 before some moment and cell
2 after it goes unnoticed. `check_whole` takes such a read as one, at a price that only short
histories can pay. `check_stale` looks at the reads that promise no freshness.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass, field, replace
from math import inf
from operator import attrgetter, itemgetter

from raft.message import COMMITTED, MISMATCH, NOT_A_NUMBER, OVERFLOW, UNKNOWN
from tools.history import MACHINES, NOT_TOLD, STALE, operation_line, word

STATES_MAX = 500_000
_SHRINK_STATES_MAX = 20_000  # of one look at fewer operations; there are hundreds
_EARLIER_MAX = 4  # other beginnings that are tried
_SHOWN_MAX = 40  # operations of a timeline
_BAR = 32  # characters of its bars
_STATED = (COMMITTED, MISMATCH, OVERFLOW, NOT_A_NUMBER)  # by the cell's value alone


@dataclass(slots=True)
class Verdict:
    """`ok`: True; False: see `violation`; None: undecided, see `undecided` (a sentence a cell)."""

    ok: bool | None
    operations: int
    cells: int
    states: int = 0
    violation: "Violation | None" = None
    undecided: list = field(default_factory=list)


def check(history, states_max=STATES_MAX):
    """Verdict on all but the stale reads, cell by cell, up to the first violation."""
    return _check_cells(history, states_max, with_stale=False)


def check_stale(history, states_max=STATES_MAX):
    """Verdict on the stale reads, cell by cell, up to the first violation.

    Each must fit into one order with everything else, at any place before its return: it saw a
    prefix of the committed order, written by what was called by then. Those of one board in one
    boot must not go back in that order. Two of one board that overlap in time may have been
    answered in either order: one of them is then looked at by itself. That all cells of a read are
    of the same prefix is what `check_whole` sees.
    """
    return _check_cells(history, states_max, with_stale=True)


def check_whole(history, states_max=STATES_MAX):
    """Verdict on everything, stale reads too; a read of several cells is one moment.

    One search for all cells: exact, but only for short histories.
    """
    cells = history.cells()
    verdict = Verdict(True, len(history.operations), len(cells))
    operations = [o for o in history.operations if _says_something(o)]
    _add(_System.of(history, cells, operations), verdict, states_max, "the whole database")
    return verdict


def judge(history, whole=False, states_max=STATES_MAX, tell=print):
    """All of it: `check`, `check_stale` if there are stale reads, `check_whole` if it is asked for.

    Returns a dict that JSON can hold: `ok` is True only if nothing was found and nothing left
    undecided; `tell(line)` hears what was.
    """
    result = {"ok": True, "operations": len(history.operations), "cells": len(history.cells())}
    checks = {"linearizable": check}
    if any(operation.level == STALE for operation in history.operations):
        checks["stale"] = check_stale
    if whole:
        checks["whole"] = check_whole
    for name, look in checks.items():
        verdict = look(history, states_max)
        result[name] = {True: "ok", False: "violation", None: "undecided"}[verdict.ok]
        result["ok"] = result["ok"] and verdict.ok is True
        for line in verdict.undecided:
            tell(line)
        if verdict.violation is not None:
            for line in verdict.violation.timeline():
                tell(line)
            break
    if not whole and history.several():
        text = "%d reads saw several cells; that they fit together is what --whole looks at"
        tell(text % history.several())
    return result


def _check_cells(history, states_max, with_stale):
    cells = history.cells()
    verdict = Verdict(True, len(history.operations), len(cells))
    of = {cell: [] for cell in cells}
    whole = []
    for operation in history.operations:
        if _says_something(operation) and (with_stale or operation.level != STALE):
            (whole if operation.cell is None else of[operation.cell]).append(operation)
    for cell in sorted(cells, key=lambda cell: len(of[cell])):
        system = _System.of(history, [cell], of.pop(cell) + whole)
        # One hard cell must not use up what the others need.
        share = max((states_max - verdict.states) // 2, 4 * len(system.steps))
        if not _add(system, verdict, share, "cell " + word(cell)):
            break
    return verdict


def _says_something(operation):
    """Not so: what was refused for certain, and a read that brought nothing."""
    if operation.kind == "read":
        return operation.code == COMMITTED
    return operation.code == UNKNOWN or operation.code in _STATED


def _add(system, verdict, states_max, what):
    """Add to `verdict` what is found about `system`; False after a violation."""
    found = _search(system, states_max)
    verdict.states += found.states
    if found.ok:
        return True
    if found.ok is None:
        verdict.ok = None
        text = "%s is undecided: %d states were tried, and there are more"
        verdict.undecided.append(text % (what, found.states))
        return True
    verdict.ok = False
    verdict.violation = _explain(system, found.until)
    return False


# What an operation does to a cell, and what its answer says about it.


def cell_after(kind, arguments, present):
    """(value, code) of a cell that held `present` and was changed: the rules of IntList and of
    KeyValue for one cell, without the limits of the whole database."""
    if kind == "set":
        return arguments[0], COMMITTED
    if kind == "delete":
        return None, COMMITTED
    if kind == "cas":
        return (arguments[1], COMMITTED) if present == arguments[0] else (present, MISMATCH)
    if not isinstance(present, int | None):
        return present, NOT_A_NUMBER
    total = (present or 0) + arguments[0]
    return (total, COMMITTED) if -(1 << 31) <= total < 1 << 31 else (present, OVERFLOW)


class _Open:
    """What a cell holds that is only known to hold one of `values`; None: anything."""

    def __init__(self, values):
        self.values = values

    def may(self, value):
        return self.values is None or value in self.values

    def after(self, step):
        """The value after a change, as far as it tells: never less than there may be."""
        kind, arguments, told = step.kind, step.arguments, step.told
        if kind in ("set", "delete"):
            return cell_after(kind, arguments, None)[0]
        if kind == "cas" and step.code == COMMITTED:
            return arguments[1] if self.may(arguments[0]) else _IMPOSSIBLE
        if step.code != COMMITTED:
            return self if told is NOT_TOLD else told if self.may(told) else _IMPOSSIBLE
        return _ANYTHING if told is NOT_TOLD else told


_ANYTHING = _Open(None)
_IMPOSSIBLE = object()


class _Step:
    """One operation as the search takes it.

    `place`: that of its cell among the values. `changes`: False for what only tells something.
    `asked`: equal for those that may stand for each other, times aside. `made`: what it leaves in
    its cell, `needs`: [(place, value)] without which it cannot be; _ANYTHING in there is a value
    that depends, or more than one.
    """

    __slots__ = (
        *("source", "kind", "arguments", "code", "told", "place", "called", "returned"),
        *("changes", "asked", "made", "needs"),
    )

    def __init__(self, source, place, told):
        self.source = source
        self.kind = kind = source.kind
        self.arguments = source.arguments
        # Unknown, it is of use only if it took effect: that it may have failed is left out.
        self.code = COMMITTED if source.code == UNKNOWN else source.code
        self.told = told  # of a read ((place, value), ...)
        self.place = place
        self.called = source.called_us
        self.returned = inf if source.returned_us is None else source.returned_us
        self.changes = kind != "read" and self.code == COMMITTED
        self.asked = kind, place, self.arguments, self.code, told
        self.made = _ANYTHING
        if self.changes and told is not NOT_TOLD:
            self.made = told
        elif self.changes and kind != "add":
            self.made = self.arguments[-1] if self.arguments else None
        if kind == "read":
            self.needs = told
        elif kind == "cas" and self.changes:
            self.needs = [(place, self.arguments[0])]
        elif kind == "add" or not self.changes:
            known = not self.changes and told is not NOT_TOLD
            self.needs = [(place, told if known else _ANYTHING)]
        else:
            self.needs = []

    def maybe(self):
        """The same, if it took effect in the time that is looked at, which is not known."""
        other = _Step.__new__(_Step)
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        other.returned = inf
        return other

    def after(self, values):
        """The tuple of all values after it, `values` itself if it changes none; _IMPOSSIBLE if its
        answer cannot be with them."""
        if self.kind == "read":
            for place, told in self.told:
                present = values[place]
                if present.__class__ is _Open:
                    if not present.may(told):
                        return _IMPOSSIBLE
                    values = values[:place] + (told,) + values[place + 1 :]
                elif present != told:
                    return _IMPOSSIBLE
            return values
        place = self.place
        present = values[place]
        if present.__class__ is _Open:
            value = present.after(self)
            if value is _IMPOSSIBLE:
                return _IMPOSSIBLE
        else:
            value, code = cell_after(self.kind, self.arguments, present)
            if code != self.code or self.told is not NOT_TOLD and self.told != value:
                return _IMPOSSIBLE
        if value == present:
            return values
        return values[:place] + (value,) + values[place + 1 :]


class _System:
    """The `steps` of some `cells`, what these held at `start`, and `chains` of stale reads: steps
    of one board in one boot, each of which was over before the next began."""

    def __init__(self, cells, start, steps, chains):
        self.cells = cells
        self.start = start
        self.steps = steps
        self.chains = chains

    @classmethod
    def of(cls, history, cells, operations):
        """`operations` as far as they are about `cells`."""
        places = {cell: place for place, cell in enumerate(cells)}
        # A key that a read of the whole database does not name is not there.
        absent = MACHINES[history.machine] is None
        steps, reads, stale = [], [], {}
        for operation in operations:
            if operation.kind != "read":
                steps.append(_Step(operation, places[operation.cell], operation.value))
                continue
            if operation.cell is not None:
                told = ((places[operation.cell], operation.value),)
            else:
                told = tuple(
                    [
                        (place, operation.value.get(cell))
                        for cell, place in places.items()
                        if absent or cell in operation.value
                    ]
                )
            if operation.level == STALE:
                of = stale.setdefault((operation.board, operation.boot), [])
                of.append(_Step(operation, None, told))
            else:
                reads.append((operation.called_us, operation.returned_us, told, operation))
        ends = [(step.returned, step.told) for of in stale.values() for step in of]
        steps += [_Step(read[3], None, read[2]) for read in _not_implied(reads, steps, ends)]
        start = tuple(history.first(cell) for cell in cells)
        return cls(cells, start, steps, _chains(stale.values()))

    def all_steps(self):
        return self.steps + [step for chain in self.chains for step in chain]

    def without(self, gone):
        """Without the steps of the set `gone`."""
        chains = [[step for step in chain if step not in gone] for chain in self.chains]
        steps = [step for step in self.steps if step not in gone]
        return _System(self.cells, self.start, steps, [chain for chain in chains if chain])

    def unseen(self, steps):
        """Those of `steps` that wrote what no operation depends on. Without one of them, an order
        that was possible still is: between it and the next write of its cell nothing looked."""
        needed = {need for step in self.all_steps() for need in step.needs}
        return [
            step
            for step in steps
            if step.changes
            and step.made is not _ANYTHING
            and not needed & {(step.place, step.made), (step.place, _ANYTHING)}
        ]

    def overwritten(self, steps):
        """Those of `steps` whose value a set or delete replaced for certain before anything that
        depends on the value can have come: to leave out one of them costs no order either."""
        return [step for step in steps if step.changes and self._is_overwritten(step)]

    def _is_overwritten(self, step):
        here = [s for s in self.all_steps() if s is not step and step.place in _places(s)]
        ends = [s.returned for s in here if not s.needs and s.called > step.returned]
        end = min(ends, default=inf)
        if end == inf:
            return False
        for other in here:
            # A stale read may be older than its call. An unknown one can have failed instead.
            later = other.called > end and other.source.level != STALE
            if other.needs and not later and step.called <= other.returned < inf:
                return False
        return True


def _not_implied(reads, others, stale_ends):
    """Those of `reads`, (called, returned, told, ...), without which another history may fit. Reads
    of the whole database are many, and changes of one cell are few.

    A read that lasted all the time of another one that told the same fits wherever that one fits.
    And a read fits right behind an earlier one that told the same, if the same changes had returned
    before both and were called by their ends, and no read that told something else (`stale_ends`:
    (returned, told) of stale ones) returned from the call of the one to that of the other.
    """
    calls = sorted(step.called for step in others)
    returns = sorted(step.returned for step in others)
    ends = sorted([(read[1], read[2]) for read in reads] + stale_ends, key=itemgetter(0))
    end = 0
    last_us, last_told = -inf, None  # the last end...
    other_us = -inf  # ...and the last of a read that told otherwise
    kept = {}
    implied = set()
    reads = sorted(reads, key=itemgetter(0, 1))
    for number, (called, returned, told, _) in enumerate(reads):
        while end < len(ends) and ends[end][0] < called:
            if ends[end][1] != last_told:
                other_us = last_us
            last_us, last_told = ends[end]
            end += 1
        among = bisect_left(returns, called), bisect_right(calls, returned)
        before = kept.get(told)
        if before is not None and before[2] >= returned:
            implied.add(before[0])
        elif before is not None and before[3] == among:
            if (other_us if told == last_told else last_us) < before[1]:
                implied.add(number)
                continue
        kept[told] = number, called, returned, among
    return [read for number, read in enumerate(reads) if number not in implied]


def _chains(stale):
    """Lists of steps, each of which was over before the next began; equal ones once."""
    chains = []
    alone = {}
    for steps in stale:
        chain = []
        end = -inf
        for step in sorted(steps, key=attrgetter("returned")):
            if step.called > end:
                end = step.returned
                if not chain or chain[-1].told != step.told:
                    chain.append(step)
            elif step.told not in alone or step.returned < alone[step.told].returned:
                alone[step.told] = step
        chains.append(chain)
    return chains + [[step] for step in alone.values()]


@dataclass(slots=True)
class _Found:
    """`ok` None: `states` were too few. No order that was tried comes beyond the return at `until`;
    to give up early, it may have come less far than one can."""

    ok: bool | None
    states: int
    until: float = -inf


def _search(system, states_max):
    """Is there an order?"""
    return _Search(system).run(states_max)


class _Search:
    """Depth first over what may have been next: what returned first, then what is unknown.

    A state is (low, done, used, heads, values): of the known steps, as they were called, the first
    `low` are done, and those of the bits of `done` behind; of the unknown those of the bits of
    `used`; of each chain as many as `heads` says; `values` are in the cells then.
    """

    def __init__(self, system):
        steps = sorted(system.steps, key=attrgetter("called", "returned"))
        self._known = [step for step in steps if step.returned < inf]
        unknown = [step for step in steps if step.returned == inf]
        useless = set(system.unseen(unknown))
        self._unknown = [step for step in unknown if step not in useless]
        self._twins = _twins(self._unknown)
        self._chains = system.chains
        self._start = system.start
        self._needers = {}
        for number, step in enumerate(self._known):
            for need in step.needs:
                self._needers.setdefault(need, []).append(number)
        self._made_once = self._find_made_once()

    def _find_made_once(self):
        """The (place, value) that one change alone can make, or the start: gone, they are gone."""
        made = []
        for place, value in enumerate(self._start):
            if value.__class__ is _Open:
                made += [(place, one) for one in value.values or [_ANYTHING]]
            else:
                made.append((place, value))
        made += [(s.place, s.made) for s in self._known + self._unknown if s.changes]
        times = Counter(made)
        return {one for one in times if times[one] == 1 and (one[0], _ANYTHING) not in times}

    def run(self, states_max):
        """The _Found."""
        known, chains = self._known, self._chains
        ends = tuple(len(chain) for chain in chains)
        tried = {}
        states = 0
        until = -inf
        stack = [iter([(0, 0, 0, (0,) * len(chains), self._start)])]
        while stack:
            state = next(stack[-1], None)
            if state is None:
                stack.pop()
                continue
            low, done, used, heads, values = state
            horizon = inf
            if chains:
                heads = _advanced(chains, heads, values)
                for chain, head in zip(chains, heads, strict=True):
                    if head < len(chain):
                        horizon = min(horizon, chain[head].returned)
            # Whatever was called before the first return of all that is left may be next.
            candidates = []
            number, bits = low, done
            while number < len(known):
                step = known[number]
                if step.called > horizon:
                    break
                if not bits & 1:
                    if not step.changes and step.after(values) is values:
                        # It fits here and changes nothing: to wait can bring no more.
                        done |= 1 << (number - low)
                    else:
                        candidates.append(number)
                        horizon = min(horizon, step.returned)
                number += 1
                bits >>= 1
            while done & 1:
                low += 1
                done >>= 1
            if low == len(known) and heads == ends:
                return _Found(True, states)
            until = max(until, horizon)
            # With fewer of the unknown used up, more is possible.
            subsets = tried.setdefault((low, done, heads, values), [])
            if any(subset & used == subset for subset in subsets):
                continue
            if states == states_max:
                return _Found(None, states, until)
            states += 1
            subsets.append(used)
            stack.append(self._next((low, done, used, heads, values), candidates, horizon))
        return _Found(False, states, until)

    def _next(self, state, candidates, horizon):
        """The states that may follow."""
        low, done, used, heads, values = state
        kept = self._kept(low, done, values)
        for number in self._sorted(candidates):
            step = self._known[number]
            after = step.after(values)
            if after is not _IMPOSSIBLE and _leaves(kept, number, after, values):
                yield low, done | 1 << (number - low), used, heads, after
        for number, step in enumerate(self._unknown):
            if step.called > horizon:
                break
            twin = self._twins[number]
            if used >> number & 1 or twin is not None and not used >> twin & 1:
                continue
            after = step.after(values)
            if after not in (_IMPOSSIBLE, values) and _leaves(kept, None, after, values):
                yield low, done, used | 1 << number, heads, after

    def _sorted(self, candidates):
        """The first return first; of those that asked for the very same only that one."""
        known = self._known
        asked = {}
        for number in sorted(candidates, key=lambda number: known[number].returned):
            asked.setdefault(known[number].asked, number)
        return asked.values()

    def _kept(self, low, done, values):
        """{place: steps to come that need the value which is there, and which cannot come back}"""
        kept = {}
        for one in enumerate(values):
            if one in self._made_once:
                left = [
                    number
                    for number in self._needers.get(one, ())
                    if number >= low and not done >> (number - low) & 1
                ]
                if left:
                    kept[one[0]] = left
        return kept


def _leaves(kept, number, after, values):
    """True if step `number`, which makes `after` of `values`, takes from no other what it needs."""
    for place, needers in kept.items():
        if after[place] != values[place] and needers != [number]:
            return False
    return True


def _twins(unknown):
    """For each, the number of the one before that asked for the very same, or None. Either may
    stand for the other, so they need to be tried in one order only."""
    last = {}
    twins = []
    for number, step in enumerate(unknown):
        twins.append(last.get(step.asked))
        last[step.asked] = number
    return twins


def _advanced(chains, heads, values):
    """`heads` after all stale reads that fit here: where they fit first is as good as later."""
    moved = list(heads)
    for place, chain in enumerate(chains):
        head = moved[place]
        while head < len(chain) and chain[head].after(values) is values:
            head += 1
        moved[place] = head
    return tuple(moved)


# Why a history is not linearizable.


@dataclass(slots=True)
class Violation:
    """`operations` that fit no order, whatever else happened, as few as were found. `start`: {cell:
    [values]} that may have been there before them; an empty list: whatever was there."""

    operations: list
    start: dict

    def timeline(self):
        """Lines for a reader: who asked what when, from which values."""
        operations = sorted(self.operations, key=attrgetter("called_us"))
        yield "no order fits these operations; before them"
        for cell, values in self.start.items():
            if not values:
                yield "  cell %s may have held anything" % word(cell)
            else:
                words = [word(value) for value in values[:_SHOWN_MAX]]
                text = ", ".join(words) + (", ..." if len(values) > _SHOWN_MAX else "")
                text = text if len(values) == 1 else "one of " + text
                yield "  cell %s held %s" % (word(cell), text)
        yield from _drawn(operations)


def _broken(system):
    return _search(system, max(_SHRINK_STATES_MAX, 2 * len(system.steps))).ok is False


def _explain(system, until):
    """The Violation in a `system` for which no order comes beyond `until`."""
    ends = sorted({step.returned for step in system.all_steps() if until <= step.returned < inf})
    system = _first([lambda end=end: _until(system, end) for end in ends]) or system
    if len(system.cells) > 1:
        for place in range(len(system.cells)):
            fewer = _without_place(system, place)
            if _broken(fewer):
                system = fewer
    fresh = _System(system.cells, system.start, system.steps, [])
    if system.chains and _broken(fresh):
        system = fresh
    # Of a stale read it is not known since when its value may have been there.
    system = _thinned(system) if system.chains else _windowed(system)
    used = {place for step in system.all_steps() for place in _places(step)}
    return Violation(
        [_narrowed(step, system.cells) for step in system.all_steps()],
        {system.cells[place]: _values(system.start[place]) for place in sorted(used)},
    )


def _windowed(system):
    """The fewest steps of a broken system without stale reads, from some time on."""
    calls = sorted({step.called for step in system.steps}, reverse=True)
    window = _first([lambda call=call: _since(system, call) for call in calls]) or system
    window = _thinned(_from_anything(window))
    # What was under way when it began says less than if it had begun a little earlier.
    under_way = [s for s in window.steps if s.returned == inf and s.source.returned_us is not None]
    for step in sorted(under_way, key=attrgetter("called"), reverse=True)[:_EARLIER_MAX]:
        earlier = _since(system, step.called)
        if _broken(earlier):
            window = min(window, _thinned(_from_anything(earlier)), key=lambda s: len(s.steps))
    return window


def _from_anything(system):
    """Whatever was in its cells at first, if it is broken then."""
    for place in range(len(system.cells)):
        start = (*system.start[:place], _ANYTHING, *system.start[place + 1 :])
        other = _System(system.cells, start, system.steps, system.chains)
        if _broken(other):
            system = other
    return system


def _first(make):
    """The first system made by the functions `make` that is broken, or None, if all behind it are.
    They grow, so it is looked for in steps that double, then halve."""
    low, step = 0, 1
    found = None
    high = len(make)
    while low < high:
        at = min(low + step, high) - 1 if found is None else (low + high - 1) // 2
        system = make[at]()
        if _broken(system):
            found, high = system, at
        else:
            low = at + 1
            step *= 2
    return found


def _until(system, until):
    """What is known at the time `until`: what returns later may have been, or not."""
    steps = []
    for step in system.steps:
        if step.returned <= until:
            steps.append(step)
        elif step.called <= until and step.changes:
            steps.append(step.maybe())
    chains = [[step for step in chain if step.returned <= until] for chain in system.chains]
    return _System(system.cells, system.start, steps, [chain for chain in chains if chain])


def _since(system, since):
    """Without what returned before the time `since`: each cell may have held whatever was written
    by then, and what was under way may have been, or not. Whatever fits `system` fits this."""
    steps = []
    values = [set(_values(first)) or {_ANYTHING} for first in system.start]
    for step in system.steps:
        if step.called >= since:
            steps.append(step)
        elif step.changes:
            if step.returned >= since:
                steps.append(step.maybe())
            values[step.place].add(step.made)
    start = tuple(_ANYTHING if _ANYTHING in found else _Open(frozenset(found)) for found in values)
    return _System(system.cells, start, steps, [])


def _without_place(system, place):
    """All but the cell at `place`."""
    steps = [_past_place(step, place) for step in system.steps]
    chains = [[_past_place(step, place) for step in chain] for chain in system.chains]
    chains = [[step for step in chain if step] for chain in chains]
    return _System(
        system.cells,
        system.start,
        [step for step in steps if step],
        [chain for chain in chains if chain],
    )


def _past_place(step, place):
    if step.place == place:
        return None
    if step.kind != "read" or all(at != place for at, _ in step.told):
        return step
    told = tuple(pair for pair in step.told if pair[0] != place)
    return _Step(step.source, None, told) if told else None


def _thinned(system):
    """Fewer steps, as long as it is broken: reads and refusals can always go, changes if nothing
    that is left has seen them."""
    size = len(system.all_steps())
    changed = True
    while changed or size > 1:
        size = (size + 1) // 2
        changed = False
        left = system.all_steps()
        for at in range(0, len(left), size):
            some = left[at : at + size]
            gone = {step for step in some if not step.changes}
            gone.update(system.without(gone).overwritten(some))
            gone.update(system.without(gone).unseen(some))
            fewer = system.without(gone)
            if gone and _broken(fewer):
                system = fewer
                changed = True
    return system


def _places(step):
    return [place for place, _ in step.told] if step.kind == "read" else [step.place]


def _narrowed(step, cells):
    """The operation, of a read of the whole database only what matters."""
    if step.source.cell is not None:
        return step.source
    return replace(step.source, value={cells[place]: told for place, told in step.told})


def _values(start):
    if start.__class__ is not _Open:
        return [start]
    return sorted(start.values or (), key=lambda value: (type(value).__name__, value))


def _drawn(operations):
    """A line each: when, by whom, a bar, what, and the answer."""
    times = sorted({o.called_us for o in operations} | {o.returned_us for o in operations} - {None})
    column = {time: rank * (_BAR - 1) // max(len(times) - 1, 1) for rank, time in enumerate(times)}
    for number, operation in enumerate(operations):
        if number == _SHOWN_MAX:
            yield "  and %d more" % (len(operations) - number)
            return
        start = column[operation.called_us]
        if operation.returned_us is None:
            bar = "|" + "=" * (_BAR - 2 - start) + ">"
        else:
            bar = "|" + "=" * (column[operation.returned_us] - start - 1) + "|"
        yield "  " + " " * start + bar.ljust(_BAR - start) + "  " + operation_line(operation)
