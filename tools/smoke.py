"""The main job from end to end, without a window, on real parts: `make smoke`.

Knows the cluster only by the collector's UDP socket and the demo's key, touches the boards only by
process id. Every write goes to an index of its own, so that a lost one is seen.
"""

import os
import signal
import subprocess
import time

from tools.demo import VirtualCluster
from tools.link import Link
from tools.virtual.image import find_interpreter

WRITES = 40
BOARDS = 5
LEADER_S = 20
EQUAL_S = 20
TRIES = 4  # of one write: a busy computer may cost an election, and an unknown outcome


class SmokeFailed(Exception):
    """The sentence that says what went wrong."""


def run(say=print, **cluster_settings):
    """Run it; return the result as a dict. Raises SmokeFailed, LinkError, VirtualBoardError."""
    settings = {"nodes": BOARDS, "size": WRITES}
    settings.update(cluster_settings)
    with VirtualCluster("smoke", **settings) as demo:
        return _Smoke(demo, say).run()


def interpreter_version():
    """What the boards run on, by its own word."""
    code = "import sys; v = sys.implementation; print(v[0], *v[1])"
    done = subprocess.run([find_interpreter(), "-c", code], capture_output=True, text=True)
    name, *version = done.stdout.split()
    return "%s %s" % (name, ".".join(version[:3]) + "".join("-" + v for v in version[3:]))


class _Smoke:
    def __init__(self, demo, say):
        self.demo = demo
        self.cluster = demo.cluster
        self.say = say
        self.expected = [0] * self.cluster.size
        self.acknowledged = 0
        self.addressed = []
        self.leaders = []
        self.link = self._link()

    def _link(self):
        cluster = self.cluster
        return Link(cluster.host, cluster.port, cluster.name, cluster.key)

    def run(self):
        leader = self._leader("the first leader")
        self._write_through_follower(WRITES // 2)
        leader = self._leader("a leader")
        self._kill(leader)
        killed = time.monotonic()
        self.link.wait_leader(LEADER_S, other_than=leader)
        failover_ms = round((time.monotonic() - killed) * 1000)
        self.say("the leader's process is killed; another leads after %d ms" % failover_ms)
        self._write_through_follower(WRITES - WRITES // 2)
        self.demo.boards.start(self.demo.board(leader))
        self.say("the dead board is started again")
        self._wait_equal("after the dead board came back")
        self.say("all five databases are equal; all five boards are killed at once")
        self._kill(*self.cluster.nodes)
        # A new PC, which has heard nothing yet: what it reads comes from the new boots.
        self.link.close()
        self.link = self._link()
        for node in self.cluster.nodes:
            self.demo.boards.start(self.demo.board(node))
        self._leader("a leader after the power cut")
        self._wait_equal("after the power cut")
        databases = self.link.databases()
        lost = sum(
            1
            for index, value in enumerate(self.expected)
            if any(databases[node][1][index] != value for node in self.cluster.nodes)
        )
        self.link.close()
        return {
            "ok": True,
            "boards": len(self.cluster.nodes),
            "interpreter": interpreter_version(),
            "writes_acknowledged": self.acknowledged,
            "writes_lost": lost,
            "addressed": self.addressed,
            "leaders": self.leaders,
            "failover_ms": failover_ms,
            "digest_equal": len(self._reported()) == 1,
        }

    def _leader(self, what):
        leader = self.link.wait_leader(LEADER_S)
        self.say("%s is board %d" % (what, leader))
        return leader

    def _kill(self, *nodes):
        """A power cut; returns when the processes are gone."""
        for node in nodes:
            os.kill(self.demo.boards.pid(self.demo.board(node)), signal.SIGKILL)
        while any(self._is_alive(node) for node in nodes):
            time.sleep(0.005)

    def _write_through_follower(self, count):
        leader = self.link.wait_leader(LEADER_S)
        free = [n for n in self.cluster.nodes if n != leader and self._is_alive(n)]
        follower = next((n for n in free if n not in self.addressed), free[0])
        for _ in range(count):
            index = self.acknowledged
            self._write(follower, index, 1000 + index)
            self.expected[index] = 1000 + index
            self.acknowledged += 1
        self.addressed.append(follower)
        self.leaders.append(leader)
        if self.link.wait_leader(LEADER_S) == follower:
            raise SmokeFailed("board %d was addressed as follower and became leader" % follower)
        self.say("%d values written through board %d, leader is %d" % (count, follower, leader))

    def _is_alive(self, node):
        return self.demo.boards.state(self.demo.board(node)) == "on"

    def _write(self, node, index, value):
        for _ in range(TRIES):
            command = self.link.set(node, index, value, 10)
            if command.state == "committed":
                return
        raise SmokeFailed("write %d to board %d failed: %s" % (index, node, command.text))

    def _wait_equal(self, when):
        def equal():
            databases = self.link.databases()
            return len(self._reported()) == 1 and all(
                node in databases and databases[node][1] == self.expected
                for node in self.cluster.nodes
            )

        if self.link.run(equal, EQUAL_S):
            return
        databases = self.link.databases()
        for node in self.cluster.nodes:
            if node not in databases:
                raise SmokeFailed("%s, board %d does not report its database" % (when, node))
            wrong = [i for i, v in enumerate(self.expected) if databases[node][1][i] != v]
            if wrong:
                raise SmokeFailed(
                    "%s, board %d has lost %d of %d acknowledged writes"
                    % (when, node, len(wrong), self.acknowledged)
                )
        raise SmokeFailed("%s, the boards report different digests: %r" % (when, self._reported()))

    def _reported(self):
        """The different (applied index, digest) pairs that the boards last reported."""
        boards = self.link.station.boards
        return {boards[n].status if n in boards else None for n in self.cluster.nodes}
