"""The node driver over a wire of our own: duties in order, durability, replay, bad frames."""

from firmware.config import Config
from firmware.driver import Driver
from firmware.journal import Journal
from raft.auth import KeyRing, cluster_hash
from raft.intlist import IntList, set_command
from raft.message import (
    ACCEPTED,
    CHALLENGE,
    COMMITTED,
    FORWARD,
    GRANTED,
    LEADER,
    OUTCOME,
    POLL,
    PROOF,
    STATUS,
    VOTE,
    Message,
)
from raft.wire import FRAME_MAX, Codec
from tests.portable.memory_store import MemoryStore
from tests.portable.table import raises

KEY_HEX = "30" * 16
PC = 0xE5


class Wire:
    """One node's radio. `heard` are the frames it will receive, `said` those it has sent."""

    def __init__(self):
        self.heard = []
        self.said = []
        self.frame = bytearray(1500)
        self.rssi = -50
        self.on_send = None

    def receive(self):
        if not self.heard:
            return 0
        frame = self.heard.pop(0)
        self.frame[: len(frame)] = frame
        return len(frame)

    def send(self, view):
        if self.on_send:
            self.on_send(bytes(view))
        self.said.append(bytes(view))
        return True


class Node:
    def __init__(self, me, store=None, voters=(1, 2, 3)):
        self.me = me
        self.store = store or MemoryStore()
        self.wire = Wire()
        config = Config(
            {"id": me, "cluster": "demo", "key": KEY_HEX, "voters": list(voters)}
        )
        self.driver = Driver(
            config,
            self.wire,
            Journal(self.store),
            IntList(),
            lambda n: bytes([me]) * n,
            lambda n: me * 40 % n,
            lambda: 100000,
        )
        self.driver.start(0)


class Room:
    """Three nodes that hear each other, and a PC."""

    def __init__(self):
        self.nodes = {me: Node(me) for me in (1, 2, 3)}
        self.pc = Codec(cluster_hash("demo"), KeyRing(b"0" * 16), PC, 77, 1)
        self.for_pc = []
        self.now_ms = 0

    def run(self, ms):
        for _ in range(ms):
            self.now_ms += 1
            self.step()

    def step(self):
        for me in (1, 2, 3):
            self.nodes[me].driver.step(self.now_ms)
            for frame in self.nodes[me].wire.said:
                self.for_pc.append(frame)
                for other in (1, 2, 3):
                    if other != me:
                        self.nodes[other].wire.heard.append(frame)
            self.nodes[me].wire.said = []

    def leader(self):
        return [n for n in self.nodes.values() if n.driver.raft.role == LEADER][0]

    def pc_says(self, kind, dst, request=0, data=b""):
        message = Message()
        message.type, message.dst, message.request, message.data = kind, dst, request, data
        buf = bytearray(FRAME_MAX)
        frame = bytes(buf[: self.pc.encode(message, buf)])
        self.nodes[dst].wire.heard.append(frame)
        return frame

    def pc_hears(self, kind):
        found = []
        for frame in self.for_pc:
            message = Message()
            if self.pc.decode(frame, len(frame), message) is None and message.dst == PC:
                if message.type == kind:
                    found.append(message)
        self.for_pc = []
        return found


def test_a_write_of_a_pc_is_challenged_proven_and_committed():
    room = Room()
    room.run(500)
    follower = [n for n in room.nodes.values() if n is not room.leader()][0].me
    room.pc_says(FORWARD, follower, 5, set_command(2, 34))
    room.run(5)
    challenge = room.pc_hears(CHALLENGE)[0]
    room.pc_says(PROOF, follower, 0, challenge.data)
    room.pc_says(FORWARD, follower, 5, set_command(2, 34))
    room.run(200)
    codes = [m.code for m in room.pc_hears(OUTCOME)]
    assert codes[0] == ACCEPTED and codes[-1] == COMMITTED
    for node in room.nodes.values():
        assert node.driver.machine.values == [0, 0, 34, 0, 0]


def test_a_recorded_write_played_back_changes_nothing():
    room = Room()
    room.run(500)
    leader = room.leader().me
    room.pc_says(FORWARD, leader, 5, set_command(2, 34))
    room.run(5)
    room.pc_says(PROOF, leader, 0, room.pc_hears(CHALLENGE)[0].data)
    recorded = room.pc_says(FORWARD, leader, 5, set_command(2, 34))
    room.run(100)
    room.pc_says(FORWARD, leader, 6, set_command(2, 35))
    room.run(100)
    room.nodes[leader].wire.heard.append(recorded)
    room.run(100)
    assert room.nodes[leader].driver.refused["replay"] == 1
    assert room.nodes[leader].driver.machine.values[2] == 35


def test_a_poll_is_answered_with_state_and_database():
    room = Room()
    room.run(500)
    room.pc_says(POLL, 2, 9)
    room.run(5)
    status = room.pc_hears(STATUS)[0]
    assert (status.src, status.request, status.leader) == (2, 9, room.leader().me)
    assert status.total == 20 and status.data == bytes(20)
    assert status.commit_index == status.applied_index == 1
    assert status.digest == room.nodes[2].driver.machine.digest()


def test_votes_and_acks_leave_after_the_write_they_promise():
    """Design section 3, duties 1 and 2; CurvineIO #1368."""
    room = Room()
    voter = room.nodes[2]
    spoken = []

    def on_send(frame):
        message = Message()
        room.pc.decode(frame, len(frame), message)
        if message.type == VOTE and message.flags == GRANTED:
            found = Journal(MemoryStore(voter.store.image)).recover()
            spoken.append((message.dst, found.vote, found.term == message.term))

    voter.wire.on_send = on_send
    room.run(500)
    assert spoken and all(dst == vote and same for dst, vote, same in spoken)


def test_a_journal_that_fails_lets_nothing_out():
    room = Room()
    room.run(500)
    leader = room.leader()
    follower = [n for n in room.nodes.values() if n is not leader][0]
    follower.store.failing = True
    leader.driver.propose(set_command(0, 1), lambda *answer: None)
    leader.driver.step(room.now_ms + 1)
    follower.wire.heard.extend(leader.wire.said)
    follower.wire.said = []
    raises(OSError, follower.driver.step, room.now_ms + 1)
    assert follower.wire.said == []


def test_everything_acknowledged_survives_a_power_cut_of_all():
    room = Room()
    room.run(500)
    answers = []
    room.leader().driver.propose(set_command(1, 11), lambda *a: answers.append(a[0]))
    room.run(100)
    assert answers == [COMMITTED]
    for me in (1, 2, 3):
        room.nodes[me] = Node(me, MemoryStore(room.nodes[me].store.image))
        assert room.nodes[me].driver.codec.epoch == 2
    room.now_ms = 0
    room.run(800)
    for node in room.nodes.values():
        assert node.driver.machine.values[1] == 11


def test_random_frames_stop_nothing_and_are_counted():
    room = Room()
    room.run(500)
    node = room.nodes[1]
    for n in range(300):
        node.wire.heard.append(bytes((n * 7 + i * 13) & 0xFF for i in range(n % 260 + 1)))
    room.run(50)
    assert sum(node.driver.codec.drops.values()) == 300
    room.pc_says(POLL, 1, 3)
    room.run(5)
    assert room.pc_hears(STATUS)


def test_our_own_frame_played_back_is_refused():
    room = Room()
    room.run(500)
    leader = room.leader()
    said = []
    leader.wire.on_send = said.append
    room.run(60)
    leader.wire.heard.append(said[0])
    room.run(1)
    assert leader.driver.refused["own"] == 1 and leader.driver.raft.role == LEADER


def test_challenges_cost_a_bounded_share_of_the_air():
    """A recorded command played back at full rate buys at most one challenge in 20 ms."""
    room = Room()
    room.run(500)
    frame = room.pc_says(FORWARD, 2, 1, set_command(0, 1))
    for _ in range(100):
        room.nodes[2].wire.heard.append(frame)
        room.run(1)
    assert 1 <= len(room.pc_hears(CHALLENGE)) <= 6
