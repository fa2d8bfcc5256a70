"""What goes wrong in one run, drawn from its seed.

Swarm testing: each run first draws which faults exist at all, then how strong each is, so that runs
differ in kind and not only in noise. A fault that recurs does so after exponentially distributed
times. In the end all is healed, and the cluster must come to a leader and equal databases.
"""

from random import Random

from raft.message import COMMITTED, LEARNER, LEASE, LINEARIZABLE, REMOVED, STALE, VOTER
from raft.wire import FRAME_MAX
from tools.sim.workload import workload_for

LIVENESS_MS = 10_000  # 33 of the longest election timeouts
_CHANCE = 0.5  # that a run has a given fault
_SILENT_US = 400_000  # longer than a leader believes that it hears a board
_SIEGE_US = 500_000  # longer than a lease lasts and an election takes
_USURPED_US = 600_000  # longer than an election takes
_LOOK_US = 2000
_LEASE_US = 150_000  # about as long as a lease lasts
_SIEGE_ACTS = 8
_LAST_VALUES = 1 << 24  # what nobody has asked for before


class Faults:
    """The faults of `world` from now on, for `seconds`. `kinds`: the names of those that exist."""

    def __init__(self, world, seconds):
        self.world = world
        self.random = random = Random("%d/faults" % world.seed)
        self._ids = list(world.boards)
        self._workload = workload_for(world.boards[1].config.new_machine())
        self._end_us = world.now_us + int(seconds * 1_000_000)
        self._value = 0
        self._heal_us = 0
        self.kinds = []
        for start in (
            self._loss,
            self._delay,
            self._duplicates,
            self._cuts,
            self._partitions,
            self._crashes,
            self._power_cuts,
            self._blackouts,
            self._slow_flash,
            self._replays,
            self._transfers,
            self._changes,
            self._wipes,
            self._pauses,
            self._small_rings,
            self._clients,
            self._noise,
            self._radio,
        ):
            # Drawn for all alike, so that switching one off by hand leaves the others as they are.
            exists, strength = random.random() < _CHANCE, random.random()
            if exists:
                self.kinds.append(start.__name__[1:])
                start(strength)
        self._repair_ms = random.uniform(100, 3000)
        self._every(self._repair_ms, self._repair)
        self._every(random.uniform(20, 1000), self._ask)
        self._every(random.uniform(20, 1000), self._read)
        world.links("faults: " + (", ".join(self.kinds) or "none"))

    # Which, and how strong: `strength` 0..1.

    def _loss(self, strength):
        self.world.lose(round(0.02 + 0.4 * strength, 3))

    def _delay(self, strength):
        self.world.delay(round(5 + 200 * strength * strength, 3))

    def _duplicates(self, strength):
        self.world.duplicate(round(0.05 + 0.5 * strength, 3))

    def _cuts(self, strength):
        self._heal_us = 1000 * self.random.randrange(100, 3000)
        self._every(2000 - 1800 * strength, self._cut)

    def _partitions(self, strength):
        self._heal_us = 1000 * self.random.randrange(100, 3000)
        self._every(4000 - 3500 * strength, self._split)
        self._every(4000 - 3500 * strength, self._usurp)

    def _crashes(self, strength):
        self._every(5000 - 4500 * strength, self._crash)

    def _power_cuts(self, strength):
        for me in self._ids:
            if self.random.random() < 0.7:
                self.world.tear(me)
        self._every(4000 - 3500 * strength, self._crash_in_write)

    def _blackouts(self, strength):
        self._every(15_000 - 10_000 * strength, self._crash_all)

    def _slow_flash(self, strength):
        for me in self._ids:
            write_us = self.random.randrange(int(1000 + 60_000 * strength))
            stall_us = self.random.randrange(50_000, 400_000)
            self.world.slow(me, write_us / 1000, round(0.05 * strength, 3), stall_us / 1000)

    def _replays(self, strength):
        self.world.record()
        self._every(200 - 180 * strength, self._play_back)

    def _transfers(self, strength):
        self._every(3000 - 2700 * strength, self._transfer)

    def _changes(self, strength):
        """Orders to remove, promote and demote members; the leader brings them back by itself."""
        self._every(3000 - 2500 * strength, self._change)

    def _wipes(self, strength):
        """Boards lose their flash, a minority of the voters at a time."""
        self._every(8000 - 6000 * strength, self._wipe)

    def _pauses(self, strength):
        """A processor stands still: garbage collection, a flash erase, a scheduler."""
        self._longest_pause_ms = 20 + 600 * strength
        self._every(1000 - 900 * strength, self._pause)

    def _small_rings(self, strength):
        for me in self._ids:
            self.world.ring(me, int(300 + 2000 * (1 - strength)))

    def _clients(self, strength):
        """PCs with sessions, which repeat what they got no answer to, through any board."""
        for _ in range(1 + int(3 * strength)):
            self.world.client(self.random.randrange(50, 1000))

    def _noise(self, strength):
        """Frames that nobody of the cluster sent, and frames that came damaged."""
        self.world.record()
        self._every(100 - 90 * strength, self._bad_frame)

    def _radio(self, strength):
        self._side_m = 10 + 100 * strength
        world = self.world
        world.radio()
        for me in self._ids:
            world.place(me, *self._somewhere())
        if self.random.random() < 0.3:
            # Two that all others hear and that do not sense each other.
            for me, x in zip(self._ids, (0, 180), strict=False):
                world.place(me, x, 0)
            for me in self._ids[2:]:
                world.place(me, 90, 10 * me)
        if self.random.random() < 0.5:
            self._every(5000 - 4000 * strength, self._jam)
        if self.random.random() < 0.5:
            self._every(5000 - 4000 * strength, self._walk)

    # What recurs.

    def _every(self, mean_ms, act):
        due_us = self.world.now_us + int(1000 * self.random.expovariate(1 / mean_ms)) + 1
        if due_us < self._end_us:
            self.world.at(due_us, self._recur, (mean_ms, act))

    def _recur(self, what):
        mean_ms, act = what
        act()
        self._every(mean_ms, act)

    def _someone(self):
        """The leader more often than others: that is where it hurts."""
        leader = self.world.leader()
        if leader is not None and self.random.random() < 0.4:
            return leader
        return self.random.choice(self._ids)

    def _cut(self):
        a, b = self._someone(), self.random.choice(self._ids)
        if self.random.random() < 0.5:
            a, b = b, a
        if a != b:
            self.world.cut(a, b)
            self._later(self.random.randrange(2 * self._heal_us), self.world.mend, a, b)

    def _usurp(self):
        """One follower and the leader do not hear each other: soon that one asks the others for
        votes. When it has them, nobody hears the leader any more, and it nobody."""
        leader = self.world.leader()
        rival = self.random.choice(self._ids)
        if leader not in (None, rival):
            self.world.cut(leader, rival)
            self.world.cut(rival, leader)
            self._isolate(leader, self.world.now_us + _USURPED_US)

    def _isolate(self, leader, until_us):
        """Isolate `leader` as soon as another one leads, at the latest at `until_us`."""
        world = self.world
        if world.leader() == leader and world.now_us < until_us:
            self._later(_LOOK_US, self._isolate, leader, until_us)
            return
        world.partition([[leader], [me for me in self._ids if me != leader]])
        self._besiege(leader, _LEASE_US)
        self._later(self.random.randrange(2 * self._heal_us), self.world.heal)

    def _split(self):
        count = self.random.choice((2, 2, 3))
        groups = [[] for _ in range(count)]
        for me in self._ids:
            self.random.choice(groups).append(me)
        if self.random.random() < 0.25:
            bridge = self.random.choice(self._ids)
            for group in groups:
                if bridge not in group:
                    group.append(bridge)
        if self.random.random() < 0.2:
            # A star: all hear one board, which may lack entries, and nobody else.
            hub = self.random.choice(self._ids)
            groups = [[hub, me] for me in self._ids if me != hub]
        leader = self.world.leader()
        self.world.partition([group for group in groups if group])
        if leader is not None:
            self._besiege(leader, _SIEGE_US)
        self._later(self.random.randrange(2 * self._heal_us), self.world.heal)

    def _later(self, delay_us, function, *arguments):
        self.world.at(self.world.now_us + delay_us, lambda given: function(*given), arguments)

    def _somewhere(self):
        side_m = self._side_m
        return round(self.random.uniform(0, side_m), 1), round(self.random.uniform(0, side_m), 1)

    def _jam(self):
        ms = self.random.randrange(10_000, 2_000_000) / 1000
        self.world.jam(self._somewhere(), ms, self.random.choice((None, 0.3, 0.9)))

    def _walk(self):
        me = self.random.choice(self._ids)
        x, y = self._somewhere()
        self.world.walk(me, 2 * x, 2 * y, self.random.randrange(1, 50))

    def _crash(self):
        self.world.crash(self._someone())

    def _crash_in_write(self):
        self.world.crash_in_write(self._someone(), self.random.randint(1, 3))

    def _crash_all(self):
        for me in self._ids:
            self.world.crash(me)

    def _repair(self):
        dead = [me for me in self._ids if not self.world.boards[me].alive]
        if dead:
            self.world.restart(self.random.choice(dead))

    def _play_back(self):
        self.world.play_back(self.random.choice(self._ids), self.random.randrange(1 << 30))

    def _bad_frame(self):
        random = self.random
        recorded = self.world.recorded
        if recorded and random.random() < 0.8:
            frame = bytearray(recorded[random.randrange(len(recorded))])
            if random.random() < 0.7:
                for _ in range(random.choice((1, 1, 3))):
                    frame[random.randrange(len(frame))] ^= 1 << random.randrange(8)
            else:
                frame = frame[: random.randrange(1, len(frame))]
        else:
            frame = random.randbytes(random.randrange(1, FRAME_MAX + 1))
        self.world.disturb(random.choice(self._ids), bytes(frame))

    def _ask(self):
        alive = self.world.alive()
        if alive:
            self._propose(self.random.choice(alive).id)

    def _propose(self, me):
        self._value += 1
        self.world.propose(me, self._workload.command(self.random, self._value))

    def _transfer(self):
        self.world.transfer(self.random.choice(self._ids))

    def _read(self):
        alive = self.world.alive()
        if alive:
            self._read_at(self.random.choice(alive).id)

    def _read_at(self, me):
        self.world.read(me, self.random.choice((LINEARIZABLE, LEASE, LEASE, STALE)))

    def _change(self):
        role = self.random.choice((REMOVED, VOTER, LEARNER))
        self.world.change(self.random.choice(self._ids), role)

    def _wipe(self):
        """A board dies, and its flash with it. A leader that believes that it is alive may count on
        it in a change of the members: so it is silent for a while first."""
        me = self.random.choice(self._ids)
        self.world.crash(me)
        boots = self.world.boards[me].boots
        self._later(_SILENT_US, self._wipe_if_dead, me, boots)

    def _wipe_if_dead(self, me, boots):
        """Unless that left no majority of voters that remember: then nobody could ever lead."""
        world = self.world
        if world.boards[me].alive or world.boards[me].boots != boots:
            return
        intact = [b.durable.identity for b in world.boards.values() if b.id != me]
        for configuration in world.checks.configurations():
            if sum(who in intact for who in configuration.voters) < configuration.majority:
                return
        world.wipe(me)

    def _pause(self):
        me = self._someone()
        ms = round(self.random.uniform(1, self._longest_pause_ms), 3)
        self.world.stall(me, ms)
        if me == self.world.leader():
            self._besiege(me, round(1000 * ms))

    def _besiege(self, leader, us):
        """The worst moment: for `us` it may not know that it leads nobody any more. What others
        write it must not miss when it is read; or what it appends now is to be deleted again, and
        then it answers no read, because that waits for what it has sent (rule 6)."""
        if self.random.random() < 0.3:
            self._propose(leader)
        for _ in range(_SIEGE_ACTS):
            self._later(self.random.randrange(us), self._read_at, leader)
            self._later(self.random.randrange(us), self._ask_but, leader)
        self._later(us - 1, self._read_at, leader)

    def _ask_but(self, leader):
        others = [board.id for board in self.world.alive() if board.id != leader]
        if others:
            self._propose(self.random.choice(others))

    def finish(self):
        """The faults are over: see `settle`."""
        settle(self.world)


def settle(world):
    """Everything works again: radio, flash and power of all boards. Then demand a leader, a write
    and equal databases. Raises Violation."""
    world.repair()

    def quiet():
        return world.leader() and world.checks.all_equal()

    demand(world, quiet, "a leader, equal logs")
    demand(world, _committed_everywhere(world), "a write on every board")
    world.checks.finish()


def _committed_everywhere(world):
    """A predicate: a client that asks the leader again after each no has its write."""
    workload = workload_for(world.boards[1].config.new_machine())
    tries = []

    def done():
        if not tries or (tries[-1].code or COMMITTED) != COMMITTED:
            leader = world.leader()
            if leader is None:
                return False
            command = workload.sure_command(_LAST_VALUES + len(tries))
            tries.append(world.propose(leader, command))
        return tries[-1].code == COMMITTED and world.checks.all_equal()

    return done


def demand(world, predicate, what):
    """Let time pass until `predicate()`. Raises Violation if it takes too long."""
    if not world.run_until_true(predicate, LIVENESS_MS):
        boards = "; ".join(
            "board %d term %d, %d/%d"
            % (b.id, b.raft.term, b.raft.applied_index, b.raft.log.last_index)
            for b in world.alive()
        )
        facts = "%d ms after the last fault there is not %s: leader %s; %s"
        raise world.violation("liveness", facts % (LIVENESS_MS, what, world.leader(), boards))
