"""What goes wrong in a soak: a schedule drawn from a seed, and who carries it out.

Faults come in spells. In a spell one to three faults lie over each other; at its end everything is
healed, and the cluster has a rest. So no board stays dead, and every fault meets a cluster that has
just recovered. Who leads is known only when it is time: LEADER stands for that board.
"""

from collections import Counter
from dataclasses import dataclass
from random import Random

from raft.message import ORDER_DEMOTE, ORDER_PROMOTE, ORDER_REMOVE, ORDER_TRANSFER
from tools.demo import COLLECTOR
from tools.link import clock_ms

LEADER = "leader"
HEAL = "heal"
_FIRST_S = (1.0, 2.0)
_SPELL_S = (1.5, 8.0)
_REST_S = (1.0, 4.0)
_ORDERS = {
    "transfer": ORDER_TRANSFER,
    "remove": ORDER_REMOVE,
    "promote": ORDER_PROMOTE,
    "demote": ORDER_DEMOTE,
}
_USURPED = ("freeze", "partition", "alone", "one-way")  # faults that a leader lives through
# The leader is the one that can do harm: it is cut off more often than anybody else.
KINDS = ("kill", "kill", "freeze", "freeze", "partition", "alone", "alone", "one-way", "loss")
KINDS += ("delay", "duplicates", "noise", "collector", *_ORDERS)


@dataclass(frozen=True, slots=True)
class Act:
    """At `at_s` seconds: `kind` (a method of Nemesis, KINDS), to `boards` (ids, LEADER, COLLECTOR;
    groups of them for a partition), with the `numbers` that it takes."""

    at_s: float
    kind: str
    boards: tuple = ()
    numbers: tuple = ()

    def __str__(self):
        words = ["+".join(map(str, b)) if isinstance(b, tuple) else str(b) for b in self.boards]
        return " ".join([self.kind, *words, *("%g" % number for number in self.numbers)])


def schedule(seed, seconds, nodes):
    """All acts of `seconds`, in order, from `seed` alone. The end is up to who runs them."""
    random = Random("%d/nemesis" % seed)
    draw = _Draw(random, list(nodes))
    acts = []
    at_s = random.uniform(*_FIRST_S)
    while at_s < seconds:
        end_s = at_s + random.uniform(*_SPELL_S)
        for _ in range(random.choice((1, 1, 2, 2, 3))):
            acts += draw.fault(random.uniform(at_s, (at_s + end_s) / 2), end_s)
        acts.append(Act(end_s, HEAL))
        at_s = end_s + random.uniform(*_REST_S)
    return sorted([act for act in acts if act.at_s < seconds], key=lambda act: act.at_s)


class _Draw:
    def __init__(self, random, nodes):
        self._random = random
        self._nodes = nodes

    def fault(self, at_s, end_s):
        """One fault from `at_s` on; power comes back before `end_s`, or then."""
        kind = self._random.choice(KINDS)
        boards, numbers = getattr(self, "_" + kind.replace("-", "_"))()
        acts = [Act(at_s, kind, boards, numbers)]
        undo = {"kill": "start", "freeze": "thaw"}.get(kind)
        if undo:
            # Also while other faults last: a board that just came up is the weakest.
            acts.append(Act(self._random.uniform(at_s + 0.05, end_s), undo))
        return acts

    def _kill(self):
        return self._some(self._random.choice((1, 1, 1, 2, 3, len(self._nodes)))), ()

    def _freeze(self):
        return self._some(self._random.choice((1, 1, 2, 3))), ()

    def _some(self, count):
        """So many boards; of one alone it is the leader as often as not."""
        if count == 1 and self._random.random() < 0.5:
            return (LEADER,)
        return tuple(sorted(self._random.sample(self._nodes, min(count, len(self._nodes)))))

    def _partition(self):
        """Two groups; clients are with one of them, or hear both."""
        some = self._some(self._random.randint(1, len(self._nodes) - 1))
        if some == (LEADER,):
            return self._alone()
        groups = [some, tuple(node for node in self._nodes if node not in some)]
        with_clients = self._random.choice(((0,), (1,), (0, 1), (0, 1)))
        for number in with_clients:
            groups[number] += (COLLECTOR,)
        return tuple(groups), ()

    def _alone(self):
        """The leader is cut off from its followers, but not from clients."""
        return (LEADER,), ()

    def _one_way(self):
        """One board hears nothing, or is not heard, by all or by one other."""
        ends = [self._random.choice((LEADER, *self._nodes)), 0]
        if self._random.random() < 0.5:
            ends[1] = self._random.choice([node for node in self._nodes if node != ends[0]])
        self._random.shuffle(ends)
        return tuple(ends), ()

    def _loss(self):
        return (), (round(self._random.uniform(0.05, 0.5), 2),)

    def _delay(self):
        return (), (0, round(self._random.uniform(5, 150)))

    def _duplicates(self):
        return (), (round(self._random.uniform(0.1, 0.6), 2),)

    def _noise(self):
        return (), (round(self._random.uniform(0.05, 1.0), 2),)

    def _collector(self):
        return (COLLECTOR,), ()

    def _order(self):
        return (self._random.choice(self._nodes),), ()

    _transfer = _remove = _promote = _demote = _order


class Nemesis:
    """Carries out the acts of a schedule on `demo` (tools.demo.VirtualCluster); `link` is for the
    orders, and knows who leads. `say(line)` hears of every act, `besiege(board)` of a leader that
    may soon be none and not know it."""

    def __init__(self, acts, demo, link, say, besiege):
        self.done = Counter()  # faults, by kind
        self.boots = Counter()  # by board: how often it was switched on
        self.crashes = 0  # boards that were found dead, without having been killed
        self._acts = list(reversed(acts))
        self._demo = demo
        self._boards = demo.boards
        self._link = link
        self._say = say
        self._besiege = besiege
        for name in self._boards.names:
            self.boots[name] = self._boards.boots(name)

    def step(self, now_s):
        """Do what is due `now_s` seconds after the start."""
        while self._acts and self._acts[-1].at_s <= now_s:
            self._do(self._acts.pop(), now_s)

    def heal(self):
        """Everything works again; removed boards come back by themselves."""
        air = self._boards.air
        air.heal()
        air.calm()
        self.thaw()
        self.start()

    def thaw(self):
        for name in self._boards.names:
            self._boards.thaw(name)

    def start(self):
        for name in self._boards.names:
            state = self._boards.state(name)
            self.crashes += state == "dead"
            self.boots[name] += state in ("off", "dead")
            self._boards.start(name)

    def resets(self):
        """How often boards started that nobody had switched on: their program had failed."""
        boots = sum(self._boards.boots(name) for name in self._boards.names)
        return boots - self.boots.total() + self.crashes

    def _do(self, act, now_s):
        leader = self._link.leader()
        text = str(act)
        if LEADER in act.boards:
            if leader is None:
                return  # nobody leads now: there is nobody to harm
            text += " (%d)" % leader
        self._say("%6.1f s  %s" % (now_s, text))
        if act.kind in (HEAL, "thaw", "start"):
            getattr(self, act.kind)()
            return
        if act.kind in _ORDERS:
            if leader is None:
                return
            station = self._link.station
            station.order(leader, _ORDERS[act.kind], act.boards[0], clock_ms())
        else:
            names = [self._name(board, leader) for board in act.boards]
            getattr(self, "_" + act.kind.replace("-", "_"))(names, *act.numbers)
            if leader is not None and act.kind in _USURPED:
                self._besiege(leader)
        self.done[act.kind] += 1

    def _name(self, board, leader):
        """The name of a board, or those of a group; None (any) for 0."""
        if isinstance(board, tuple):
            return [self._name(one, leader) for one in board]
        if board == COLLECTOR or not board:
            return board or None
        return self._demo.board(leader if board == LEADER else board)

    def _kill(self, names):
        for name in names:
            self._boards.kill(name)

    def _freeze(self, names):
        for name in names:
            self._boards.freeze(name)

    def _partition(self, names):
        if not isinstance(names[0], list):
            return self._alone(names)
        self._boards.air.partition(names)

    def _alone(self, names):
        others = [name for name in self._boards.names if name not in names]
        self._boards.air.partition([[*names, COLLECTOR], others])

    def _one_way(self, names):
        self._boards.air.cut(*names)

    def _loss(self, _, p):
        self._boards.air.set_loss(p)

    def _delay(self, _, min_ms, max_ms):
        self._boards.air.set_delay(min_ms, max_ms)

    def _duplicates(self, _, p):
        self._boards.air.set_duplicate(p)

    def _noise(self, _, seconds):
        self._boards.air.jam(seconds)

    def _collector(self, names):
        self._boards.restart(names[0])
        self.boots[COLLECTOR] += 1
