"""What keeps the cluster busy: clients that ask for one thing after the other and note the answers.

Several share a `Link`, and there are several links, so what they ask for overlaps. Nothing blocks:
whoever pumps the links calls `step`.
"""

import time

from raft.message import COMMITTED, LEASE, LINEARIZABLE, REJECTED, STALE, UNKNOWN
from tools import history
from tools.link import clock_ms
from tools.pc import DONE, HEARD_LATELY_MS, REFUSED, UNSURE

CELLS = 12
THINK_S = 0.15  # on average between an answer and the next question
SIEGE_THINK_S = 0.02
SIEGE_S = 1.0  # longer than a board that leads nobody any more believes that it does
TRIES = 5  # of one change, through one board after the other, until its outcome is known
PATIENCE = 0.8  # the chance that an unknown outcome is not left at that
_LEVELS = {
    LINEARIZABLE: history.LINEARIZABLE,
    LEASE: history.LEASE,
    STALE: history.STALE,
}
# Values of 'set' and 'cas' lie so far apart that no sum of deltas leads from one to the other soon.
_APART = 1 << 10
_DELTA_MAX = 100


def now_us():
    """The clock of the history."""
    return time.monotonic_ns() // 1000


def ending(command):
    """The code with which a Command goes into the history."""
    if command.state == REFUSED:
        return max(command.code, REJECTED)
    return COMMITTED if command.state == DONE else UNKNOWN


class Notes:
    """The history so far, and what all clients have in common."""

    def __init__(self):
        self.history = history.History("intlist")
        self.acknowledged = 0  # changes that were said to be committed
        self.seen = {}  # cell -> the value that somebody saw last
        self.siege = None  # (board, until when (s)) that may believe wrongly that it leads
        self._value = 0
        self._boots = {}  # (board, incarnation, epoch) -> its number in the history

    def besieged(self):
        """The board under siege, or None: it is read all the time, and others are written to."""
        return self.siege[0] if self.siege and time.monotonic() < self.siege[1] else None

    def new_value(self):
        """One that nobody has written yet."""
        self._value += _APART
        return self._value

    def changed(self, client, called_us, kind, cell, arguments, code):
        """`client` asked for a change at `called_us`, and hears of its end (a code) now."""
        if code == COMMITTED:
            self.acknowledged += 1
            if kind != "add":
                self.seen[cell] = arguments[-1]
        self.history.operations.append(
            history.Operation(
                client=client,
                kind=kind,
                cell=cell,
                arguments=arguments,
                called_us=called_us,
                returned_us=None if code == UNKNOWN else now_us(),
                code=code,
            )
        )

    def read(self, client, called_us, reading):
        """`client` has read the database, or has tried to."""
        told = {"code": UNKNOWN, "returned_us": None}
        if reading.values is not None:
            values = dict(enumerate(reading.values))
            told = {"value": values, "returned_us": now_us()}
            if reading.level == STALE:
                boots = self._boots
                boot = boots.setdefault((reading.node, *reading.boot), len(boots) + 1)
                told.update(board=reading.node, boot=boot)
            else:
                self.seen.update(values)
        elif reading.level == STALE:
            return  # nobody answered, so there is no boot to name
        self.history.operations.append(
            history.Operation(
                client=client,
                kind="read",
                called_us=called_us,
                level=_LEVELS[reading.level],
                **told,
            )
        )


class Client:
    """Client `name` (one word) on `link`, of boards `nodes`; `random` decides what it asks for."""

    def __init__(self, name, link, nodes, random, notes):
        self.name = name
        self.goes_on = True
        self._link = link
        self._nodes = nodes
        self._random = random
        self._notes = notes
        self._asked = None  # the Command or Reading under way
        self._called_us = 0
        self._change = None  # (kind, cell, arguments)
        self._tries = 0
        self._next_s = time.monotonic() + random.uniform(0, THINK_S)

    @property
    def idle(self):
        return self._asked is None

    def step(self):
        """Ask for something if it is time, note what came of it; to be called again and again."""
        if self._asked is None:
            if self.goes_on and time.monotonic() >= self._next_s:
                self._ask()
        elif self._asked.finished:
            if self._change is None:
                self._notes.read(self.name, self._called_us, self._asked)
                self._rest()
            elif self._asked.state != UNSURE or not self._insist():
                self._note()

    def give_up(self):
        """What is still under way stays unknown."""
        if self._asked is not None and self._change is not None:
            self._notes.changed(self.name, self._called_us, *self._change, UNKNOWN)
        self._asked = None

    def _rest(self):
        self._asked = None
        think_s = SIEGE_THINK_S if self._notes.besieged() else THINK_S
        self._next_s = time.monotonic() + self._random.expovariate(1 / think_s)

    def _board(self):
        """One that was heard lately; now and then any, for nobody knows who is there."""
        boards = self._link.station.boards
        besieged = self._notes.besieged()
        lately = [
            node
            for node in self._nodes
            if node in boards and clock_ms() - boards[node].heard_ms < HEARD_LATELY_MS
            if node != besieged
        ]
        if not lately or self._random.random() < 0.03:
            lately = self._nodes
        return self._random.choice(lately)

    def _ask(self):
        random, station = self._random, self._link.station
        kind = random.choices(("set", "add", "cas", "read"), (30, 15, 20, 35))[0]
        board = self._board()
        self._called_us = now_us()
        self._tries = 1
        if kind == "read":
            level = random.choices((LINEARIZABLE, LEASE, STALE), (40, 30, 30))[0]
            self._change = None
            self._asked = station.read(board, clock_ms(), level)
            return
        # Sums make a cell hard to judge, and unknown ones harder: half of the cells have none.
        cell = random.randrange(CELLS // 2) if kind == "add" else random.randrange(CELLS)
        if kind == "set":
            arguments = (self._notes.new_value(),)
        elif kind == "add":
            arguments = (random.randint(1, _DELTA_MAX),)
        else:
            arguments = (self._notes.seen.get(cell, 0), self._notes.new_value())
        self._change = kind, cell, arguments
        self._asked = getattr(station, kind)(board, cell, *arguments, clock_ms())

    def _insist(self):
        """Ask another board for the same change under the same number; False: leave it unknown."""
        if self._tries == TRIES or self._random.random() > PATIENCE:
            return False
        try:
            self._link.station.retry(self._asked, self._board(), clock_ms())
        except ValueError:
            return False  # the session has moved on
        self._tries += 1
        return True

    def _note(self):
        self._notes.changed(self.name, self._called_us, *self._change, ending(self._asked))
        self._rest()


class Besieger:
    """Reads a board under siege again and again, without waiting for the answers: the moment in
    which it would answer what is old is short."""

    goes_on = True

    def __init__(self, name, link, random, notes):
        self.name = name
        self._link = link
        self._random = random
        self._notes = notes
        self._asked = []  # (called_us, Reading)
        self._next_s = 0.0

    @property
    def idle(self):
        return not self._asked

    def step(self):
        board = self._notes.besieged()
        if self.goes_on and board is not None and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + SIEGE_THINK_S
            level = self._random.choice((LINEARIZABLE, LEASE))
            called_us = now_us()
            reading = self._link.station.read(board, clock_ms(), level)
            self._asked.append((called_us, reading))
        for called_us, reading in self._asked:
            if reading.finished:
                self._notes.read(self.name, called_us, reading)
        self._asked = [one for one in self._asked if not one[1].finished]

    def give_up(self):
        self._asked.clear()
