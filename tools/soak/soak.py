"""One soak: virtual boards, clients over UDP, faults in real time, and a verdict in the end."""

import random
import select
import time

from raft.message import APPEND, MEMBERS, VOTER
from tools.demo import ROOT, VirtualCluster
from tools.history import to_text
from tools.link import Link, LinkError
from tools.pc import DONE
from tools.soak.clients import CELLS, SIEGE_S, Besieger, Client, Notes, ending, now_us
from tools.soak.nemesis import Nemesis, schedule
from tools.soak.verdict import FINAL, verdict

BOARDS = 5
# The collector serves four PCs at once: these, and the one that gives orders and looks on.
LINKS = 3
CLIENTS_A_LINK = 3
HISTORY = ROOT / "build" / "soak" / "history.txt"
SETTLE_S = 60  # for a leader, all voters, a write and equal databases after the last fault
DRAIN_S = 30  # until every client knows, or has given up
TURN_S = 0.01
# A flash that takes its time, so that power fails while it writes and while it erases, too; a fast
# one, for who leads wrongly does so for a moment, and others must come to write in that.
FLASH = {"program_us": 200, "erase_us": 4000}
# Removed and demoted boards are to vote again in the next rest.
SETTINGS = {"promote_ms": 2000}


def run(minutes, seed=None, say=print, boards=BOARDS, history=HISTORY, name="soak", root=ROOT):
    """Soak for `minutes` with the faults of `seed` (None: any); return the result as a dict, and
    leave the `history` in that file. `say(line)` hears of progress; the boards carry the firmware
    under `root`. Raises LinkError, VirtualBoardError if it cannot even begin."""
    if seed is None:
        seed = random.SystemRandom().randrange(1_000_000)
    say("seed %d" % seed)
    with VirtualCluster(
        name, nodes=boards, size=CELLS, root=root, seed=seed, settings=SETTINGS, **FLASH
    ) as demo:
        soak = _Soak(demo, seed, minutes * 60, say)
        try:
            soak.run()
            wrong = soak.settle()
        finally:
            soak.close()
            # Also of a soak that was ended early: it is all that is left of it.
            history.parent.mkdir(parents=True, exist_ok=True)
            history.write_text(to_text(soak.notes.history))
    say("judging %d operations" % len(soak.notes.history.operations))
    judged = verdict(soak.notes.history)
    for line in wrong + judged.undecided + judged.reasons:
        say(line)
    return {
        "ok": judged.ok and not wrong,
        "minutes": minutes,
        "seed": seed,
        "operations": len(soak.notes.history.operations),
        "writes_acknowledged": soak.notes.acknowledged,
        "lost": judged.lost,
        "stale_reads": judged.stale_reads,
        "board_reads_wrong": judged.board_reads,
        "undecided": len(judged.undecided),
        "wrong": wrong,
        "leader_changes": soak.leader_changes,
        "faults": dict(sorted(soak.nemesis.done.items())),
        "history": str(history.relative_to(ROOT) if history.is_relative_to(ROOT) else history),
    }


class _Soak:
    def __init__(self, demo, seed, seconds, say):
        self.demo = demo
        self.notes = Notes()
        self._say = say
        self._seconds = seconds
        self._leaders = {}  # term -> boards that were heard to lead in it
        self._watch = self._link()
        self._watch.wait_leader(SETTLE_S)
        acts = schedule(seed, seconds, demo.cluster.nodes)
        self.nemesis = Nemesis(acts, demo, self._watch, say, self._besiege)
        self._links = [self._link() for _ in range(LINKS)]
        self._clients = []
        for number, link in enumerate(self._links, 1):
            for letter in "abcdefgh"[:CLIENTS_A_LINK]:
                client = "pc%d%s" % (number, letter)
                draws = random.Random("%d/%s" % (seed, client))
                self._clients.append(Client(client, link, demo.cluster.nodes, draws, self.notes))
        draws = random.Random("%d/siege" % seed)
        self._clients.append(Besieger("siege", self._links[0], draws, self.notes))

    def _link(self):
        cluster = self.demo.cluster
        return Link(cluster.host, cluster.port, cluster.name, cluster.key, self._on_heard)

    def _besiege(self, board):
        self.notes.siege = board, time.monotonic() + SIEGE_S

    def close(self):
        for link in [self._watch, *self._links]:
            link.close()

    @property
    def leader_changes(self):
        """Terms with a leader that somebody heard, beyond the first."""
        return max(0, len(self._leaders) - 1)

    def run(self):
        """Faults and questions, until the time is over and the clients know what they can know."""
        begin_s = time.monotonic()
        while time.monotonic() - begin_s < self._seconds:
            self._turn()
            self.nemesis.step(time.monotonic() - begin_s)
        self.nemesis.heal()
        for client in self._clients:
            client.goes_on = False
        end_s = time.monotonic() + DRAIN_S
        while time.monotonic() < end_s and not all(client.idle for client in self._clients):
            self._turn()
        for client in self._clients:
            client.give_up()
        for link in self._links:
            link.close()

    def _turn(self):
        links = [self._watch, *self._links]
        select.select(links, [], [], TURN_S)
        for link in links:
            link.pump()
            link.station.finished()
        for client in self._clients:
            client.step()

    def _on_heard(self, heard):
        message = heard.message
        if message is not None and message.type == APPEND and not heard.ours:
            self._leaders.setdefault(message.term, set()).add(message.src)

    def settle(self):
        """Everything works again. Demand all voters, a write, equal databases, and read these;
        return what is wrong, in sentences."""
        wrong = []
        for term, leaders in self._leaders.items():
            if len(leaders) > 1:
                text = "boards %s all led in term %d"
                wrong.append(text % (", ".join(map(str, sorted(leaders))), term))
        # A new PC, which has heard nothing yet: what it is told comes from the healed cluster.
        self._watch.close()
        self._watch = self._link()
        end_s = time.monotonic() + SETTLE_S
        for demand in (self._all_vote, self._write, self._equal):
            try:
                while not demand():
                    if time.monotonic() > end_s:
                        raise LinkError(demand.__doc__)
            except LinkError as error:
                wrong.append("%d s after the last fault: %s" % (SETTLE_S, error))
                break
        resets = self.nemesis.resets()
        if resets:
            text = "boards have failed and restarted %d times; see crash.log and console.log"
            wrong.append(text % resets)
        return wrong

    def _all_vote(self):
        """not all boards vote again"""
        reading = self._watch.read(self._watch.wait_leader(SETTLE_S), 5, part=MEMBERS)
        voters = [member[0] for member in reading.values or () if member[2] == VOTER]
        return voters == self.demo.cluster.nodes

    def _write(self):
        """no write is committed"""
        called_us = now_us()
        value = self.notes.new_value()
        command = self._watch.set(self._watch.wait_leader(SETTLE_S), 0, value, 5)
        self._watch.insist(command, 10)
        self.notes.changed(FINAL, called_us, "set", 0, (value,), ending(command))
        return command.state == DONE

    def _equal(self):
        """the boards have different databases"""
        boards = self._watch.station.boards
        nodes = self.demo.cluster.nodes

        def reported():
            return {boards[node].status if node in boards else None for node in nodes}

        if not self._watch.run(lambda: len(reported()) == 1 and None not in reported(), 5):
            return False
        readings = []
        for node in nodes:
            called_us = now_us()
            reading = self._watch.read(node, 5)
            if reading.values is None:
                return False
            self.notes.read(FINAL, called_us, reading)
            readings.append(reading.values)
        return all(values == readings[0] for values in readings)
