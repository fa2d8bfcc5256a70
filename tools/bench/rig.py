"""Boards that stand close together, a radio with carrier sense and collisions, and clients in a
closed loop: what all benchmarks measure on."""

from math import cos, pi, sin
from statistics import median, quantiles

from raft.intlist import set_command
from raft.message import COMMITTED, LEADER
from tools.sim.chip import SPINS, Chip
from tools.sim.world import World

_RADIUS_M = 5.0  # all hear each other well
_LIMIT_MS = 20_000


class Rig:
    """`boards` boards, `loss` (0..1) of each frame at each receiver, `loop` of all boards, `cpu`:
    whether their processors take time; the world's own checks run."""

    def __init__(self, boards, loss=0.0, seed=1, loop=SPINS, cpu=True, **settings):
        chip = Chip(loop, cpu)
        self.world = world = World(seed, boards, boot_spread_ms=0, settings=settings, chip=chip)
        world.air.use("radio", shadowing_db=0.0, fading_m=0, burst_loss=0.0)
        for me in world.boards:
            angle = 2 * pi * me / boards
            world.place(me, round(_RADIUS_M * cos(angle), 1), round(_RADIUS_M * sin(angle), 1))
        if loss:
            world.lose(loss)
        self._written = 0
        self._last_us = {}  # board -> when its last frame was handed to the radio
        world.hear_all(self._heard)
        self.lengths = {}  # type of frame -> the longest since this was cleared
        self.settled()

    def _heard(self, frame):
        self._last_us[frame[4]] = self.world.now_us
        kind = frame[1]
        self.lengths[kind] = max(self.lengths.get(kind, 0), len(frame))

    def settled(self):
        """Let time pass until somebody leads and all logs are equal."""
        world = self.world
        self.wait(lambda: world.leader() and world.checks.all_equal())

    def wait(self, predicate):
        """Let time pass until `predicate()`. Raises RuntimeError if that takes too long."""
        if not self.world.run_until_true(predicate, _LIMIT_MS):
            raise RuntimeError("the boards do not come to what was waited for")

    def last_us(self, me):
        """When board `me` was heard last."""
        return self._last_us[me]

    def busy_us(self):
        """How long the channel was occupied so far; a collision counts once."""
        return sum(channel["busy_us"] for channel in self.world.air.stats()["channels"].values())

    def warm_up(self):
        """Every board opens its session; from now on a write is a write."""
        for me in self.world.boards:
            self.write(me)

    def write(self, me):
        """Propose a set at board `me`, and wait for the answer; returns the Asked. One that is not
        committed (nobody led) is asked for again."""
        while True:
            self._written += 1
            asked = self.world.propose(me, set_command(self._written % 5, self._written))
            self.wait(lambda asked=asked: asked.code is not None)
            if asked.code == COMMITTED:
                return asked
            self.wait(self.world.leader)

    def flood(self, rate, seconds):
        """Have the boards propose in turn, `rate` sets a second in all, whatever becomes of them;
        returns what they asked."""
        asked = []
        boards = list(self.world.boards)
        for number in range(int(rate * seconds)):
            self._written += 1
            me = boards[number % len(boards)]
            asked.append(self.world.propose(me, set_command(self._written % 5, self._written)))
            self.world.run(1000 / rate)
        return asked

    def proposers(self, count):
        """`count` boards that propose: the leader and a follower by turns."""
        followers = 0
        for number in range(count):
            leader = self.world.leader()
            others = [me for me in self.world.boards if me != leader]
            if number % 2 == 0 or not others:
                yield leader or others[0]
            else:
                yield others[followers % len(others)]
                followers += 1

    def leads(self, me):
        board = self.world.boards[me]
        return board.alive and board.raft.role == LEADER


def spread(values):
    """{"median", "p99"} of `values`, rounded to a thousandth."""
    if len(values) < 2:
        values = list(values) * 2
    return {
        "median": round(median(values), 3),
        "p99": round(quantiles(values, n=100, method="inclusive")[98], 3),
    }
