"""The node driver over a wire of our own: duties in order, durability, replay, bad frames."""

from firmware.config import Config
from firmware.driver import Driver
from firmware.journal import Journal
from raft.auth import KeyRing, cluster_hash
from raft.intlist import set_command
from raft.message import (
    ACCEPTED,
    CHALLENGE,
    COMMITTED,
    FORWARD,
    GRANTED,
    LEADER,
    OPEN_SESSION,
    OUTCOME,
    POLL,
    PROOF,
    SESSION_COMMAND,
    STATUS,
    VOTE,
    Message,
)
from raft.proposals import CAPACITY
from raft.sessions import client_name, head
from raft.wire import FRAME_MAX, Codec
from tests.portable.memory_store import MemoryPlate, MemoryStore
from tests.portable.table import raises

KEY_HEX = "30" * 16
PC = 0xE5
CLIENT = client_name(PC, 77, 1)


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
    """Board `me` of `room`, switched on."""

    def __init__(self, room, me, store=None, plate=None, voters=(1, 2, 3)):
        self.me = me
        self.store = store or MemoryStore()
        self.plate = plate or MemoryPlate(me)
        self.wire = Wire()
        config = Config({"id": me, "cluster": "demo", "key": KEY_HEX, "voters": list(voters)})
        self.driver = Driver(
            config,
            self.wire,
            Journal(self.store),
            config.new_machine(),
            self.plate,
            lambda: room.now_ms,
            lambda n: bytes([me]) * n,
            lambda n: me * 40 % n,
            lambda: 100000,
        )
        self.driver.start()


class Room:
    """Three nodes that hear each other, and a PC."""

    def __init__(self):
        self.now_ms = 0
        self.nodes = {me: Node(self, me) for me in (1, 2, 3)}
        self.pc = Codec(cluster_hash("demo"), KeyRing(b"0" * 16), PC, 77, 1)
        self.for_pc = []

    def run(self, ms):
        for _ in range(ms):
            self.now_ms += 1
            self.step()

    def step(self):
        for me, node in self.nodes.items():
            node.driver.step()
            for frame in node.wire.said:
                self.for_pc.append(frame)
                for other in self.nodes:
                    if other != me:
                        self.nodes[other].wire.heard.append(frame)
            node.wire.said = []

    def open_session(self, dst):
        """The PC opens a session through board `dst`, which challenges it; returns its id."""
        self.pc_says(FORWARD, dst, 1, CLIENT, OPEN_SESSION)
        self.run(5)
        self.pc_says(PROOF, dst, 0, self.pc_hears(CHALLENGE)[0].data)
        self.pc_says(FORWARD, dst, 1, CLIENT, OPEN_SESSION)
        self.run(200)
        answer = self.pc_hears(OUTCOME)[-1]
        assert answer.code == COMMITTED
        return answer.index

    def leader(self):
        return [n for n in self.nodes.values() if n.driver.raft.role == LEADER][0]

    def pc_says(self, kind, dst, request=0, data=b"", entry=SESSION_COMMAND):
        message = Message()
        message.type, message.dst, message.request, message.data = kind, dst, request, data
        message.kind = entry
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


def test_a_pc_proves_itself_to_open_a_session_and_writes_in_it():
    room = Room()
    room.run(800)
    follower = [n for n in room.nodes.values() if n is not room.leader()][0].me
    session = room.open_session(follower)
    room.pc_says(FORWARD, follower, 5, head(session, 1, 0) + set_command(2, 34))
    room.run(200)
    codes = [m.code for m in room.pc_hears(OUTCOME)]
    assert codes[0] == ACCEPTED and codes[-1] == COMMITTED
    for node in room.nodes.values():
        assert node.driver.machine.values == [0, 0, 34, 0, 0]


def test_a_recorded_write_played_back_changes_nothing():
    room = Room()
    room.run(800)
    leader = room.leader().me
    session = room.open_session(leader)
    recorded = room.pc_says(FORWARD, leader, 5, head(session, 1, 0) + set_command(2, 34))
    room.run(100)
    room.pc_says(FORWARD, leader, 6, head(session, 2, 0) + set_command(2, 35))
    room.run(100)
    last = room.leader().driver.raft.log.last_index
    room.nodes[leader].wire.heard.append(recorded)
    room.run(100)
    assert room.nodes[leader].driver.machine.values[2] == 35
    assert room.leader().driver.raft.log.last_index == last, "not even the log grows by it"


def test_a_recorded_opening_played_back_opens_nothing():
    """It would make live sessions lose their place."""
    room = Room()
    room.run(800)
    leader = room.leader().me
    room.open_session(leader)
    room.pc_says(FORWARD, leader, 1, CLIENT, OPEN_SESSION)
    room.run(1)
    recorded = room.pc_says(FORWARD, leader, 1, CLIENT, OPEN_SESSION)
    room.run(100)
    last = room.leader().driver.raft.log.last_index
    room.nodes[leader].wire.heard.append(recorded)
    room.run(100)
    assert room.nodes[leader].driver.refused["replay"] == 1
    assert room.leader().driver.raft.log.last_index == last


def test_a_command_that_was_refused_is_not_taken_from_a_recording_after_a_reboot():
    """Rule 2: a board forgets whom it told "rejected", so a PC is asked again who it is."""
    room = Room()
    room.run(800)
    follower = [n for n in room.nodes.values() if n is not room.leader()][0].me
    session = room.open_session(follower)
    for number in range(CAPACITY):
        room.nodes[follower].driver.propose(set_command(1, number), lambda *answer: None)
    recorded = room.pc_says(FORWARD, follower, 5, head(session, 1, 0) + set_command(2, 34))
    room.nodes[follower].driver.step()
    old = room.nodes[follower]
    room.nodes[follower] = Node(room, follower, MemoryStore(old.store.image), old.plate)
    room.run(300)
    room.nodes[follower].wire.heard.append(recorded)
    room.run(300)
    assert room.nodes[follower].driver.machine.values[2] == 0
    assert room.nodes[follower].driver.refused["unproven"] == 1


def test_a_poll_is_answered_with_state_and_database():
    room = Room()
    room.run(800)
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
            spoken.append((message.dst, found.vote & 0xFF, found.term == message.term))

    voter.wire.on_send = on_send
    room.run(800)
    assert spoken and all(dst == vote and same for dst, vote, same in spoken)


def test_a_journal_that_fails_lets_nothing_out():
    room = Room()
    room.run(800)
    leader = room.leader()
    follower = [n for n in room.nodes.values() if n is not leader][0]
    follower.store.failing = True
    leader.driver.propose(set_command(0, 1), lambda *answer: None)
    room.now_ms += 1
    leader.driver.step()
    follower.wire.heard.extend(leader.wire.said)
    follower.wire.said = []
    raises(OSError, follower.driver.step)
    assert follower.wire.said == []


def test_everything_acknowledged_survives_a_power_cut_of_all():
    room = Room()
    room.run(800)
    answers = []
    room.leader().driver.propose(set_command(1, 11), lambda *a: answers.append(a[0]))
    room.run(100)
    assert answers == [COMMITTED]
    for me in (1, 2, 3):
        old = room.nodes[me]
        room.nodes[me] = Node(room, me, MemoryStore(old.store.image), old.plate)
        assert room.nodes[me].driver.codec.epoch == 2
    room.run(800)
    for node in room.nodes.values():
        assert node.driver.machine.values[1] == 11


def test_random_frames_stop_nothing_and_are_counted():
    room = Room()
    room.run(800)
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
    room.run(800)
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
    room.run(800)
    frame = room.pc_says(FORWARD, 2, 1, CLIENT, OPEN_SESSION)
    for _ in range(100):
        room.nodes[2].wire.heard.append(frame)
        room.run(1)
    assert 1 <= len(room.pc_hears(CHALLENGE)) <= 6
