"""N boards and the radio between them in virtual time. Everything in it comes from one seed.

    world = World(seed=7, boards=5)
    world.run_until_true(world.leader, 5000)
    asked = world.propose(3, set_command(2, 34))
    world.run(200)

Time is microseconds inside, milliseconds in the calls. An event is a frame's arrival at boards, a
board's own deadline, or an act of the caller or of `faults`; those of the same microsecond happen
in the order in which they were scheduled. Two worlds with the same seed that are driven in the same
way have the same `hash()`, in any process: nothing in here iterates over a set.
"""

from collections import deque
from functools import wraps
from hashlib import blake2b
from heapq import heappop, heappush
from random import Random
from struct import pack

from firmware.config import Config
from firmware.journal import JournalDamaged
from raft import membership
from raft.message import (
    COMMITTED,
    EVERYONE,
    FIRST_PC,
    LEADER,
    LEARNER,
    LEASE,
    LINEARIZABLE,
    OUTCOME_TEXTS,
    REMOVED,
    STALE,
    VOTER,
)
from tools.air import BROADCAST, Air
from tools.contents import contents
from tools.sim.board import RING_BYTES, Board, Ears, PowerCut, chip_of
from tools.sim.checks import Checks, Violation
from tools.sim.chip import SLEEPS
from tools.sim.client import Client

CLUSTER = "simulated"
OUTSIDER = b"\x02client"[:6]
KEY_HEX = "5a" * 32
BOOT_SPREAD_MS = 200  # the first boards are switched on within so long
_AGAIN_US = 100  # a step that left work undone is followed by the next after so long
_HEALED_WRITE_US = 2000  # of one flash write, at most, once all is repaired
_RECORDED = 2000  # frames that an attacker remembers

# Of events, in the hash.
_SENT, _HEARD, _BOOTED, _DIED, _ASKED, _ANSWERED, _LINKS = range(7)


def _act(spell):
    """Something that is done to boards or radio: while somebody keeps a `story` of the world, the
    call is noted there as the line of a scenario (tools.sim.stage) that does the same."""

    def noted(method):
        @wraps(method)
        def act(self, *arguments):
            if self.story is not None:
                self.story.append((self.now_us, spell(*arguments)))
            return method(self, *arguments)

        return act

    return noted


def _spelled_change(member, role):
    return "order %s %d" % ({REMOVED: "remove", VOTER: "promote", LEARNER: "demote"}[role], member)


def _spelled_read(me, level=LINEARIZABLE):
    return "read %d%s" % (me, {LINEARIZABLE: "", LEASE: " by lease", STALE: " as it is"}[level])


def _spelled_partition(groups):
    return "partition " + " | ".join(" ".join(map(str, group)) for group in groups)


def _spelled_jam(position, ms, loss):
    return "jam %s %s" % (_spelled_place(*position), milliseconds(ms)) + (
        "" if loss is None else " " + _spelled_share(loss)
    )


def _spelled_place(x, y):
    return "%.1f %.1f" % (x, y)


def milliseconds(ms):
    """`ms` as a scenario says it, to the microsecond: 12.5ms."""
    return ("%.3f" % ms).rstrip("0").rstrip(".") + "ms"


def _spelled_share(share):
    return ("%.1f" % (100 * share)).rstrip("0").rstrip(".") + "%"


class Asked:
    """A proposal, and what became of it: `code` is None until the board has answered."""

    def __init__(self, board, command, at_us):
        self.board = board
        self.command = command
        self.at_us = at_us
        self.answered_us = None
        self.code = None
        self.index = 0
        self.term = 0


class Reading:
    """A read of the whole database, and what it showed: `code` is None until it is answered."""

    def __init__(self, board, boot, level, at_us):
        self.board = board
        self.boot = boot
        self.level = level
        self.at_us = at_us
        self.answered_us = None
        self.code = None
        self.index = 0  # up to here the board had applied
        self.values = None


class World:
    """`boards` boards with ids 1..boards, switched on within `boot_spread_ms` of time 0.

    `drift_ppm`: how far a clock may be off, parts per million; `settings`: more of a board's
    config; `born`: the boards have identities and empty logs, else they begin as virgins; `trace`:
    a `tools.sim.trace.Trace`; `replay`: the command that a violation names; `chip`: a
    `tools.sim.chip.Chip`, or None for boards that take no time. Every call that lets
    time pass may raise `tools.sim.checks.Violation`.
    """

    def __init__(
        self,
        seed,
        boards=5,
        boot_spread_ms=BOOT_SPREAD_MS,
        drift_ppm=0,
        settings=None,
        born=True,
        trace=None,
        replay=None,
        chip=None,
    ):
        self.seed = seed
        self._chip = chip
        self.now_us = 0
        self.random = Random("%d/world" % seed)
        self.air = Air(Random("%d/air" % seed))
        self._air_us = None  # when the air is looked at next
        self.trace = trace
        self.replay = replay or "World(seed=%d, boards=%d), driven as in the test" % (seed, boards)
        self.events = 0
        self.deliveries = 0
        self.crashes = 0
        self._listeners = []
        self.asked = []  # every Asked and Reading, for tools.sim.histories
        self.readings = []
        self.story = None  # [(time_us, line)] of what is done to it, once somebody keeps it
        self.clients = []
        self.recorded = None  # deque of frames once somebody records
        self._ether = None
        self._sequence = 0
        self._queue = []
        self._hash = blake2b(digest_size=16)
        self.boards = {}
        self._by_mac = {}
        self._ears = Ears()
        self._drift_ppm = drift_ppm
        self._settings = {
            "cluster": CLUSTER,
            "key": KEY_HEX,
            "voters": [[me, 1, chip_of(_mac(me))] for me in range(1, boards + 1)],
            **(settings or {}),
        }
        for me in range(1, boards + 1):
            board = self._new_board(me, {"id": me}, born)
            self.at(self.random.randrange(1000 * boot_spread_ms + 1), self._boot, board)
        self.checks = Checks(self)
        if trace:
            trace.begin(self.boards.values())

    def _new_board(self, number, settings, born=False, image=b""):
        mac = _mac(number)
        board = Board(
            number,
            Config({**self._settings, **settings}),
            mac,
            "%d/board %d" % (self.seed, number),
            self._ears,
            self._transmit,
            self._commanded,
            self.random.randint(-self._drift_ppm, self._drift_ppm),
            born,
            image,
        )
        board.chip = self._chip
        self.boards[number] = self._by_mac[mac] = board
        self.air.station(mac, on=False)
        return board

    # Time.

    @property
    def now_ms(self):
        return self.now_us / 1000

    def at(self, time_us, function, argument):
        """Call `function(argument)` at `time_us`."""
        self._sequence += 1
        heappush(self._queue, (time_us, self._sequence, function, argument))

    def run_until(self, ms):
        """Let time pass until `ms` since the beginning."""
        end_us = round(ms * 1000)
        queue = self._queue
        while queue and queue[0][0] <= end_us:
            self.now_us, _, function, argument = heappop(queue)
            self.events += 1
            function(argument)
        self.now_us = end_us

    def run(self, ms):
        """Let `ms` pass."""
        self.run_until(self.now_ms + ms)

    def run_until_true(self, predicate, limit_ms):
        """Let time pass, at most `limit_ms`, until `predicate()`; return its value."""
        end_us = self.now_us + round(limit_ms * 1000)
        queue = self._queue
        while not predicate() and queue and queue[0][0] <= end_us:
            self.now_us, _, function, argument = heappop(queue)
            self.events += 1
            function(argument)
        return predicate()

    # Boards.

    def alive(self):
        """The boards that have power, by id."""
        return [board for board in self.boards.values() if board.alive]

    def originals(self):
        """All boards but those that are clones of others."""
        return [board for board in self.boards.values() if board.id == board.member]

    def leader(self):
        """Id of the leader of the highest term, None if nobody leads."""
        leading = [b for b in self.alive() if b.raft.role == LEADER]
        return max(leading, key=lambda b: b.raft.term).id if leading else None

    def databases(self):
        """{id: contents} of the boards that have power."""
        return {board.id: contents(board.driver.machine) for board in self.alive()}

    @_act("crash %d".__mod__)
    def crash(self, me):
        """Cut the power of board `me`; nothing happens if it has none."""
        if self.boards[me].alive:
            self._die(self.boards[me], "power off")

    @_act(lambda me, writes=1: "crash %d in write %d" % (me, writes))
    def crash_in_write(self, me, writes=1):
        """Cut the power of board `me` in the middle of its next flash write but `writes` - 1."""
        self.boards[me].cut_at_sync = writes

    @_act("restart %d".__mod__)
    def restart(self, me):
        """Give board `me` power; nothing happens if it has some."""
        if not self.boards[me].alive:
            self._boot(self.boards[me])

    @_act(lambda me, ms: "stall %d %s" % (me, milliseconds(ms)))
    def stall(self, me, ms):
        """For `ms`, board `me` does nothing: it hears with its radio, and thinks later."""
        board = self.boards[me]
        if board.alive:
            board.pause(self.now_us, self.now_us + round(ms * 1000))
            self._arm(board, board.busy_until_us)

    @_act("tear %d".__mod__)
    def tear(self, me):
        """From now on a power cut leaves a part of what is being written on `me`'s flash."""
        self.boards[me].tears = True

    @_act(
        lambda me, ms, stall=0.0, stall_ms=0: (
            "slow %d %s %s %s"
            % (me, milliseconds(ms), _spelled_share(stall), milliseconds(stall_ms))
        )
    )
    def slow(self, me, ms, stall=0.0, stall_ms=0):
        """From now on each flash write of board `me` takes `ms`, and with chance `stall` (0..1, a
        multiple of 0.001) `stall_ms` more."""
        board = self.boards[me]
        board.write_us = round(ms * 1000)
        board.stall = stall
        board.stall_us = round(stall_ms * 1000)

    @_act(lambda me, size: "ring %d %d" % (me, size))
    def ring(self, me, size):
        """From now on board `me`'s receive ring has `size` bytes."""
        self.boards[me].ring_limit = size

    @_act("wipe %d".__mod__)
    def wipe(self, me):
        """Board `me` loses power and its flash, but for the config and the mark of birth."""
        if self.boards[me].alive:
            self._die(self.boards[me], "power off")
        self.checks.wiped(self.boards[me])
        self.boards[me].wipe()

    def add(self, number):
        """A new board of that number, which has no first configuration, is switched on."""
        self._added(self._new_board(number, {"id": number, "voters": []}))

    def clone(self, me, number):
        """The flash of board `me` is copied to another chip, board `number`, and that one switched
        on: the same id, the same journal."""
        board = self.boards[me]
        self._added(self._new_board(number, {"id": me}, image=board.image))

    def _added(self, board):
        self.checks.added(board)
        if self.trace:
            self.trace.begin(self.boards.values())
        self._boot(board)

    def touch(self, me, change):
        """Call `change(core)` on board `me`, at its present time, and let it step."""
        board = self.boards[me]
        board.raft.now_ms = board.local_ms(self.now_us)
        board.driver.touched = True
        change(board.raft)
        self._wake(board)

    @_act(lambda me, command: "propose %d bytes %s" % (me, command.hex()))
    def propose(self, me, command):
        """Board `me`'s own app proposes `command` (bytes); returns an Asked to look into."""
        board = self.boards[me]
        asked = Asked(me, command, self.now_us)
        self.asked.append(asked)
        self._note(_ASKED, me, command)
        self.checks.asked(asked)
        if not board.alive:
            return asked

        def answer(code, index, term):
            asked.code, asked.index, asked.term = code, index, term
            asked.answered_us = self.now_us
            if code == COMMITTED:
                self.checks.told(index)
            self._note(_ANSWERED, me, pack("<BII", code, index, term))
            self.checks.answers.append(asked)
            if self.trace:
                self.trace.board(self.now_us, board, "answers: " + OUTCOME_TEXTS[code])

        if self.trace:
            self.trace.board(self.now_us, board, "is asked for " + command.hex())
        self._call(board, lambda driver: driver.propose(command, answer))
        return asked

    @_act(_spelled_read)
    def read(self, me, level=LINEARIZABLE):
        """Board `me`'s own app asks for a read; returns a Reading; the checks look at it, too.
        STALE: what the board has applied, at once."""
        board = self.boards[me]
        reading = Reading(me, board.boots, level, self.now_us)
        self.readings.append(reading)
        if not board.alive:
            return reading
        if level == STALE:
            self._answer(reading, COMMITTED, board.driver)
            return reading
        floor = self.checks.told_index

        def begin(driver):
            def done(code):
                self._answer(reading, code, driver)
                if code == COMMITTED:
                    self.checks.read_ends(board, driver, floor)

            driver.read(done, level)

        self._call(board, begin)
        return reading

    def _answer(self, reading, code, driver):
        reading.code = code
        reading.answered_us = self.now_us
        if code == COMMITTED:
            reading.index = driver.raft.applied_index
            reading.values = contents(driver.machine)

    def _call(self, board, function):
        """The board's own app calls `function(driver)`, as soon as the processor gets to it."""
        if board.busy_until_us > self.now_us:
            board.calls.append(function)
            self._arm(board, board.busy_until_us)
        else:
            board.wake_up(self.now_us)
            function(board.driver)
            self._wake(board)

    # Clients that ask by radio (tools.sim.client).

    @_act(lambda retry_ms: "client " + milliseconds(retry_ms))
    def client(self, retry_ms):
        """One client more, which asks again after about `retry_ms` without an answer."""
        number = len(self.clients)
        random = Random("%d/client %d" % (self.seed, number))
        self.clients.append(Client(self, FIRST_PC + number, random, retry_ms))

    def hear_all(self, hear):
        """Call `hear(frame)` for every frame that a board sends."""
        self._listeners.append(hear)
        self.air.station(OUTSIDER)

    def send_from_outside(self, frame):
        """A frame of a station that is no board: every board may hear it."""
        self._sent(0, frame, OUTSIDER)

    def client_asks(self, client, command):
        """A client begins to ask for `command`; returns its Asked."""
        asked = Asked(client, command, self.now_us)
        self.asked.append(asked)
        self._note(_ASKED, client, command)
        self.checks.asked(asked)
        return asked

    def client_hears(self, asked, code, index, term):
        """What a client makes of its `asked`: `code` is final."""
        asked.code, asked.index, asked.term = code, index, term
        asked.answered_us = self.now_us
        if code == COMMITTED:
            self.checks.told(index)
        self._note(_ANSWERED, asked.board, pack("<BII", code, index, term))
        self.checks.answers.append(asked)

    @_act("order transfer %d".__mod__)
    def transfer(self, target):
        """Order whoever leads now to hand over to board `target`; False if nobody can."""
        return self._order(lambda raft: raft.transfer(target))

    @_act(_spelled_change)
    def change(self, member, role):
        """Order whoever leads now to make `member` REMOVED, LEARNER or VOTER; False if it can't."""
        return self._order(lambda raft: membership.order(raft, member, role))

    def _order(self, give):
        leader = self.leader()
        if leader is None:
            return False
        board = self.boards[leader]
        board.raft.now_ms = board.local_ms(self.now_us)
        board.driver.touched = True
        try:
            give(board.raft)
        except (ValueError, membership.NotNow):
            return False
        self._wake(board)
        return True

    # The radio.

    @property
    def ether(self):
        """ether(board, frame, deliveries): those deliveries that shall take place, or None. `board`
        is None if the frame is a client's."""
        return self._ether

    @ether.setter
    def ether(self, ether):
        self._ether = ether
        self.air.reach = ether and self._reach

    @_act(lambda a, b: "cut %d -> %d" % (a, b))
    def cut(self, a, b):
        """Nothing that board `a` sends reaches board `b`."""
        self.air.cut(self.boards[a].mac, self.boards[b].mac)
        self.links("%d is not heard by %d" % (a, b))

    @_act(lambda a, b: "mend %d -> %d" % (a, b))
    def mend(self, a, b):
        """Undo `cut`."""
        self.air.heal(self.boards[a].mac, self.boards[b].mac)
        self.links("%d is heard by %d again" % (a, b))

    @_act(_spelled_partition)
    def partition(self, groups):
        """Boards hear each other only within a group; one in two groups bridges them."""
        self.air.partition([[self.boards[me].mac for me in group] for group in groups])
        self.links("the radio is split: " + " | ".join(str(list(g))[1:-1] for g in groups))

    @_act(lambda: "mend all")
    def heal(self):
        """Undo every cut and partition."""
        self.air.heal()
        self.links("the radio is whole")

    @_act(lambda share: "lose " + _spelled_share(share))
    def lose(self, share):
        """From now on lose `share` (0..1, a multiple of 0.001) of the deliveries, by chance."""
        self.air.set_loss(share)

    @_act(lambda share: "duplicate " + _spelled_share(share))
    def duplicate(self, share):
        """From now on `share` (0..1, a multiple of 0.001) of the deliveries arrive twice."""
        self.air.set_duplicate(share)

    @_act(lambda ms: "delay " + milliseconds(ms))
    def delay(self, ms):
        """From now on each delivery takes up to `ms` longer, by chance."""
        self.air.set_delay(0, ms)

    @_act(lambda: "radio")
    def radio(self):
        """From now on the radio is that of boards that stand somewhere (docs/air.md)."""
        self.air.use("radio")

    @_act(lambda me, x, y: "place %d %s" % (me, _spelled_place(x, y)))
    def place(self, me, x, y):
        """Put board `me` at (x, y), metres, multiples of 0.1."""
        self.air.place(self.boards[me].mac, (x, y))

    @_act(lambda me, x, y, speed: "walk %d %s %.1f" % (me, _spelled_place(x, y), speed))
    def walk(self, me, x, y, speed):
        """Board `me`, which has a place, goes to (x, y), `speed` metres a second."""
        self.air.move(self.now_us, self.boards[me].mac, (x, y), speed)
        self.links("%d walks to %d m, %d m" % (me, x, y))

    @_act(_spelled_jam)
    def jam(self, position, ms, loss=None):
        """Noise from `position` (x, y) for `ms`; `loss`: what it loses (tools.air.Jammer)."""
        self.air.jam(self.now_us, self.now_us + round(ms * 1000), position=position, loss=loss)
        self.links("the radio is jammed for %d ms" % ms)

    def repair(self):
        """Everything works again, radio, flash and power of all boards; clients end."""
        self.air.calm(self.now_us)
        self._await_air(self.air.next_us())
        self.heal()
        for client in self.clients:
            client.goes_on = False
        for board in self.boards.values():
            board.cut_at_sync = 0
            board.ring_limit = RING_BYTES
            board.stall = 0.0
            board.write_us = min(board.write_us, _HEALED_WRITE_US)
            self.restart(board.id)

    def record(self):
        """From now on keep what is sent, for `play_back`."""
        if self.recorded is None:
            self.recorded = deque(maxlen=_RECORDED)

    @_act(lambda me, number: "play back frame %d -> %d" % (number, me))
    def play_back(self, me, number):
        """Let board `me` hear the recorded frame `number` (modulo their count) once more."""
        if self.recorded:
            self.deliver(me, self.recorded[number % len(self.recorded)])

    @_act(lambda me, frame: "hear %d %s" % (me, frame.hex()))
    def disturb(self, me, frame):
        """Board `me` hears a `frame` that nobody of the cluster sent so."""
        self.deliver(me, frame)

    def deliver(self, me, frame):
        """Let board `me` hear `frame` now; nothing happens if it has no power."""
        board = self.boards[me]
        if board.alive:
            self._hear(frame, [(board.mac, -70)])

    def links(self, text):
        """Say `text` of the radio: in the hash and in the trace."""
        self._note(_LINKS, 0, text.encode())
        if self.trace:
            self.trace.note(self.now_us, text)

    # The run.

    def hash(self):
        """32 hex digits over every event so far."""
        return self._hash.hexdigest()

    def violation(self, name, facts):
        """The exception for a broken property, with all that finds it again."""
        return Violation(name, facts, self.seed, self.now_ms, self.replay)

    def _note(self, kind, me, data):
        self._hash.update(pack("<QBBB", self.now_us, kind, me, len(data) & 0xFF) + data)

    def _boot(self, board):
        if board.alive:
            return
        self._note(_BOOTED, board.id, b"")
        try:
            board.boot(self.now_us)
        except PowerCut:
            self._die(board, "power off while it starts")
            return
        except JournalDamaged as error:
            raise self.violation("durability", "board %d cannot start: %s" % (board.id, error))
        self.air.station(board.mac, on=True)
        self.checks.booted(board)
        if self.trace:
            self.trace.board(self.now_us, board, "starts, boot %d" % board.boots)
        self._finish_step(board, board.local_ms(self.now_us))

    def _die(self, board, how):
        self.crashes += 1
        board.power_off()
        self._note(_DIED, board.id, b"")
        self.air.station(board.mac, on=False)
        if self.trace:
            self.trace.board(self.now_us, board, how)

    def _wake(self, board):
        """Something came in: step, or once the board is done with what it is at."""
        if board.busy_until_us > self.now_us:
            self._arm(board, board.busy_until_us)
        elif self._chip is not None and self._chip.loop == SLEEPS:
            self._arm(board, self.now_us)
        else:
            self._step(board)

    def _step(self, board):
        try:
            deadline_ms = board.step(self.now_us)
        except PowerCut:
            self.checks.after(board)
            self._die(board, "power off in a flash write")
            return
        except Violation:
            raise
        except Exception as error:
            self.checks.after(board)
            where = error.__traceback__
            while where.tb_next:
                where = where.tb_next
            name = where.tb_frame.f_code.co_name
            facts = "board %d, in %s: %s: %s" % (board.id, name, type(error).__name__, error)
            raise self.violation("no board fails", facts) from error
        self.checks.after(board)
        if board.driver.refused["contradiction"]:
            facts = "board %d is told what no board can say that works right" % board.id
            raise self.violation("no board fails", facts)
        if self.trace:
            self.trace.changed(self.now_us, board)
        self._finish_step(board, deadline_ms)

    def _finish_step(self, board, deadline_ms):
        now_us = self.now_us
        board.busy_until_us = now_us + board.elapsed_us
        self._arm(board, max(board.world_us(deadline_ms), board.busy_until_us, now_us + _AGAIN_US))

    def _arm(self, board, at_us):
        """Step at `at_us`. A deadline that moves on costs nothing until its old timer is over."""
        if self._chip is not None:
            at_us = self._chip.wakes_us(at_us, board.id)
        board.wake_us = at_us
        if board.timer_us is None or at_us < board.timer_us:
            board.timer_us = at_us
            self.at(at_us, self._on_timer, board)

    def _on_timer(self, board):
        if board.timer_us != self.now_us:
            return
        board.timer_us = None
        if not board.alive:
            return
        if board.wake_us > self.now_us:
            self._arm(board, board.wake_us)
        else:
            self._step(board)

    def _commanded(self, board, command):
        self.checks.commanded(board, command)

    def _transmit(self, board, frame, member=EVERYONE):
        if board.elapsed_us:
            # It leaves when the write is over, unless the power goes before.
            leaves_us = self.now_us + board.elapsed_us
            self.at(leaves_us, self._leave, (board, board.boots, frame, member))
        else:
            self._on_air(board, frame, member)

    def _leave(self, late):
        board, boots, frame, member = late
        if board.alive and board.boots == boots:
            self._on_air(board, frame, member)

    def _on_air(self, board, frame, member):
        self.checks.sent(board, frame)
        for hear in self._listeners:
            hear(frame)
        self._sent(board.id, frame, board.mac, self._address(member))

    def _address(self, member):
        """Of the board with that id; what is for a PC is broadcast."""
        if member != EVERYONE:
            for board in self.boards.values():
                if board.member == member and board.alive:
                    return board.mac
        return BROADCAST

    def _sent(self, number, frame, mac, to=BROADCAST):
        self._note(_SENT, number, frame)
        if self.recorded is not None:
            self.recorded.append(frame)
        air, kind = self.air, frame[1]
        self._await_air(air.submit(self.now_us, mac, to, len(frame), kind, frame))

    def _reach(self, sent, stations):
        board = self._by_mac.get(sent.sender.mac)
        heard = [(s.mac, self.air.rssi_dbm) for s in stations if s is not sent.sender]
        passed = [mac for mac, _ in self.ether(board, sent.token, heard)]
        return [s for s in stations if s.mac in passed]

    def _await_air(self, due_us):
        if due_us is not None and (self._air_us is None or due_us < self._air_us):
            self._air_us = due_us
            self.at(due_us, self._on_air_due, due_us)

    def _on_air_due(self, due_us):
        if due_us != self._air_us:
            return  # it was looked at before
        self._air_us = None
        for _, sent, heard, _ in self.air.advance(due_us):
            if heard:
                self._hear(sent.token, heard)
        self._await_air(self.air.next_us())

    def _hear(self, frame, heard):
        ids = bytearray()
        boards, wake = self._by_mac, self._wake
        for mac, rssi in heard:
            board = boards.get(mac)  # None: a client hears what it wants by itself
            if board is not None and board.driver is not None:
                ids.append(board.id)
                board.hear(frame, rssi)
                wake(board)
        self.deliveries += len(ids)
        self._hash.update(pack("<QB", self.now_us, _HEARD) + ids)


def _mac(number):
    return b"\x02raft" + bytes([number])
