"""How a cluster is born, and how boards without an identity get one (design, 'Birth and growth' and
rule 7; pitfall 33). Real drivers over a wire of our own: one test a rule."""

from firmware.config import Config
from firmware.driver import Driver
from firmware.journal import Journal
from raft.auth import KeyRing, cluster_hash
from raft.birth import NONCE_SIZE
from raft.intlist import set_command
from raft.membership import change, order
from raft.message import (
    ACK,
    APPEND,
    BORN,
    EVERYONE,
    HELLO,
    LEADER,
    LEARNER,
    LOST,
    READY,
    REMOVED,
    VIRGIN,
    VOTE,
    VOTE_REQUEST,
    VOTER,
    WELCOME,
    Message,
    identity,
)
from raft.wire import FRAME_MAX, Codec
from tests.portable.memory_store import MemoryPlate, MemoryStore

KEY_HEX = "30" * 16
STEP_MS = 5
SETTINGS = {"gather_ms": 1000, "promote_ms": 500, "remove_ms": 5000, "snapshot_entries": 4}


class Radio:
    """`heard`: frames that this board will receive."""

    def __init__(self, said):
        self.heard = []
        self.send = said
        self.frame = bytearray(FRAME_MAX)
        self.rssi = -50

    def receive(self):
        if not self.heard:
            return 0
        frame = self.heard.pop(0)
        self.frame[: len(frame)] = frame
        return len(frame)


class Board:
    """Flash, chip and power of one board; `number` is ours, `me` its id."""

    def __init__(self, cradle, number, me, voters):
        self.cradle = cradle
        self.number = number
        values = {"id": me, "cluster": "demo", "key": KEY_HEX, "voters": voters}
        values.update(SETTINGS)
        self.config = Config(values)
        self.store = MemoryStore()
        self.plate = MemoryPlate(1000 + number)
        self.boots = 0
        self.driver = None

    def boot(self):
        self.boots += 1
        self.store = MemoryStore(self.store.image)
        self.radio = Radio(lambda view: self.cradle.said(self.number, bytes(view)))
        self.drawn = 0
        cradle = self.cradle
        self.driver = Driver(
            self.config,
            self.radio,
            Journal(self.store),
            self.config.new_machine(),
            self.plate,
            lambda: cradle.now_ms,
            self._random_bytes,
            lambda n: self.number * 40 % n,
            lambda: 100000,
        )
        self.driver.start()

    def _random_bytes(self, n):
        """Never the same twice."""
        self.drawn += 1
        return bytes([self.number, self.boots, self.drawn] + [0] * (n - 3))

    def off(self):
        self.driver = None

    def wipe(self):
        self.off()
        self.store = MemoryStore()

    @property
    def raft(self):
        return self.driver.raft

    @property
    def state(self):
        return self.driver.birth.state

    def found(self):
        """What its flash holds now."""
        return Journal(MemoryStore(self.store.image)).recover()


class Cradle:
    """Boards 1..n that have never had power. `frames` takes (number, frame) of all that is said;
    `drop(message, to)` is True for what board `to` shall not hear."""

    def __init__(self, n=3, chips=True):
        self.now_ms = 0
        self.voters = [[me, 1, 1000 + me] if chips else me for me in range(1, n + 1)]
        self.boards = {me: Board(self, me, me, self.voters) for me in range(1, n + 1)}
        self.cut = set()  # (from, to), numbers
        self.drop = lambda message, to: False
        self.frames = []
        self.ears = Codec(cluster_hash("demo"), KeyRing(b"0" * 16), 0xE0, 1, 1)
        self._heard = Message()

    def __getitem__(self, number):
        return self.boards[number]

    def said(self, number, frame):
        message = self._heard
        assert self.ears.decode(frame, len(frame), message) is None
        self.frames.append((number, frame))
        for to, board in self.boards.items():
            if to != number and board.driver and (number, to) not in self.cut:
                if not self.drop(message, to):
                    board.radio.heard.append(frame)

    def run(self, ms):
        for _ in range(ms // STEP_MS):
            self.now_ms += STEP_MS
            for board in self.boards.values():
                if board.driver:
                    board.driver.step()

    def boot(self, *numbers):
        for number in numbers:
            self.boards[number].boot()

    def join(self, number, me):
        """A new board, which has no first configuration, is switched on."""
        self.boards[number] = Board(self, number, me, [])
        self.boot(number)

    def clone(self, of, number):
        """The flash of board `of` is copied to another chip."""
        board = Board(self, number, of, self.voters)
        board.store = MemoryStore(self.boards[of].store.image)
        self.boards[number] = board
        self.boot(number)

    def leader(self):
        found = [b for b in self.boards.values() if b.driver and b.raft.role == LEADER]
        return max(found, key=lambda b: b.raft.term) if found else None

    def remove(self, number):
        """Order the leader to remove board `number`, and give it the time to."""
        leader = self.leader()
        leader.raft.now_ms = self.now_ms
        order(leader.raft, number, REMOVED)
        leader.driver.touched = True
        self.run(300)

    def members(self):
        """What the leader's configuration says: {id: (incarnation, role)}"""
        return {m[0]: (m[1], m[2]) for m in self.leader().raft.configuration.members}

    def of(self, kind, number=None):
        """What was said of that kind (by board `number`)."""
        found = []
        for frame in self.recorded(kind, number):
            message = Message()
            assert self.ears.decode(frame, len(frame), message) is None
            found.append(message)
        return found

    def recorded(self, kind, number=None):
        """The same as frames."""
        return [f for n, f in self.frames if f[1] == kind and number in (None, n)]

    def kinds(self, number=None):
        """The types of what was said."""
        return {f[1] for n, f in self.frames if number in (None, n)}

    def hello(self, src, incarnation, state, chip, answers=(), dst=EVERYONE):
        """A frame of a board that is not there: `answers` are boards whose nonce it repeats."""
        message = Message()
        message.type, message.dst, message.state, message.chip = HELLO, dst, state, chip
        message.versions = 0x11
        data = bytes([src]) * NONCE_SIZE
        for number in answers:
            board = self.boards[number]
            data += bytes([board.config.id]) + board.driver.birth._nonce
        message.data = data
        return self.made(message, src, incarnation)

    def made(self, message, src, incarnation):
        codec = Codec(cluster_hash("demo"), KeyRing(b"0" * 16), src, incarnation, 9)
        buf = bytearray(FRAME_MAX)
        return bytes(buf[: codec.encode(message, buf)])

    def write(self, value):
        answers = []
        self.leader().driver.propose(set_command(0, value), lambda *a: answers.append(a[0]))
        self.run(300)
        assert answers == [2], answers


def born(n=3, chips=True):
    """A cluster of `n`, all there from the beginning, with a leader and one write."""
    cradle = Cradle(n, chips)
    cradle.boot(*range(1, n + 1))
    cradle.run(1500)
    cradle.write(7)
    assert all(b.state == BORN for b in cradle.boards.values())
    return cradle


def other_than(cradle, *numbers):
    """A board that does not lead and is none of `numbers`."""
    leader = cradle.leader().number
    return [n for n in cradle.boards if n != leader and n not in numbers][0]


# Virgins.


def test_a_board_alone_waits_and_says_so():
    """It cannot know whether it is new or has forgotten: no vote, no ack, no candidacy."""
    cradle = Cradle()
    cradle.boot(2)
    cradle.run(4000)
    assert cradle[2].state == VIRGIN and cradle[2].found().identity is None
    assert cradle.kinds() == {HELLO}
    assert {m.state for m in cradle.of(HELLO)} == {VIRGIN}


def test_a_hello_goes_out_less_often_after_a_while():
    cradle = Cradle()
    cradle.boot(2)
    cradle.run(1000)
    first = len(cradle.of(HELLO))
    cradle.run(20_000)
    before = len(cradle.of(HELLO))
    cradle.run(10_000)
    assert first >= 6 and len(cradle.of(HELLO)) - before <= 8


def test_virgins_take_part_when_they_are_a_majority():
    """Design: 'only after a majority of that configuration has told it'."""
    cradle = Cradle(5)
    cradle.boot(1, 2)
    cradle.run(2000)
    assert cradle[1].state == cradle[2].state == VIRGIN
    cradle.boot(3)
    cradle.run(500)
    for number in (1, 2, 3):
        assert cradle[number].state == READY and cradle[number].driver.birth.takes_part()


def test_an_identity_is_durable_before_anybody_hears_of_it():
    cradle = Cradle()
    durable = []

    def watch(message, to):
        if message.type == HELLO and message.state == READY:
            board = cradle[message.src]
            durable.append((board.found().identity, board.plate.born))
        return False

    cradle.drop = watch
    cradle.boot(1, 2, 3)
    cradle.run(1000)
    assert durable and all(born for _, born in durable)
    assert {who for who, _ in durable} <= {(me, 1, 1000 + me) for me in (1, 2, 3)}


def test_when_all_are_ready_one_is_elected_at_once():
    cradle = Cradle(5)
    cradle.boot(1, 2, 3, 4, 5)
    cradle.run(990)
    assert cradle.leader() is not None and len(cradle.of(VOTE_REQUEST)) > 0


def test_a_majority_waits_for_the_others_for_a_while():
    """Who comes after the first election is taken for one that has forgotten."""
    cradle = Cradle()
    cradle.boot(1, 2)
    cradle.run(950)
    assert cradle[1].state == READY and not cradle.of(VOTE_REQUEST)
    cradle.run(900)
    assert cradle.leader() is not None and cradle[1].state == BORN


def test_who_comes_in_that_while_is_one_of_the_first():
    cradle = Cradle()
    cradle.boot(1, 2)
    cradle.run(700)
    cradle.boot(3)
    cradle.run(1200)
    assert cradle.members() == {me: (1, VOTER) for me in (1, 2, 3)}
    assert cradle[3].state == BORN and cradle[3].raft.identity == identity(3, 1)


def test_a_lone_board_is_born_by_itself():
    cradle = Cradle(1)
    cradle.boot(1)
    cradle.run(500)
    assert cradle.leader() is cradle[1] and cradle[1].state == BORN


def test_the_first_configuration_names_the_chips_of_those_that_were_heard():
    cradle = born(3, chips=False)
    for board in cradle.boards.values():
        chips = [m[3] for m in board.raft.configuration.members]
        assert chips == [1001, 1002, 1003]


def test_a_board_that_was_ready_is_born_after_a_power_cut():
    """It may have voted: its journal says whose it is."""
    cradle = Cradle()
    cradle.boot(1, 2)
    cradle.run(500)
    assert cradle[1].state == READY
    cradle[1].off()
    cradle.boot(1)
    assert cradle[1].state == BORN and cradle[1].driver.birth.takes_part()


def test_a_power_cut_before_that_leaves_a_virgin():
    cradle = Cradle()
    cradle.boot(1)
    cradle.run(500)
    cradle[1].off()
    cradle.boot(1)
    assert cradle[1].state == VIRGIN and cradle[1].found().epoch == 2


def test_a_virgin_of_another_configuration_is_no_help():
    """Only those count that the first configuration names."""
    cradle = Cradle()
    cradle.boot(1)
    cradle.run(200)
    for src, incarnation in ((9, 1), (2, 2), (2, 0)):
        cradle[1].radio.heard.append(cradle.hello(src, incarnation, VIRGIN, 1, [1]))
        cradle.run(50)
        assert cradle[1].state == VIRGIN, (src, incarnation)
    cradle[1].radio.heard.append(cradle.hello(2, 1, VIRGIN, 1, [1]))
    cradle.run(50)
    assert cradle[1].state == READY


def test_a_hello_that_does_not_repeat_our_nonce_makes_no_virgin_ready():
    """Design rule 2: it may be a recording, of before the cluster was born."""
    cradle = Cradle()
    cradle.boot(1)
    cradle.run(200)
    cradle[1].radio.heard.append(cradle.hello(2, 1, VIRGIN, 1))
    cradle[1].radio.heard.append(cradle.hello(3, 1, READY, 1))
    cradle.run(200)
    assert cradle[1].state == VIRGIN


def test_a_recorded_hello_of_an_older_boot_is_worth_nothing():
    """Both ways: it makes no virgin ready, and none of the first boards a stranger."""
    cradle = Cradle()
    cradle.boot(1, 2)
    cradle.run(400)
    recorded = cradle.recorded(HELLO, 2)
    states = [m.state for m in cradle.of(HELLO, 2)]
    assert VIRGIN in states and READY in states
    for number in (1, 2):
        cradle[number].wipe()
    cradle[1].plate.born = False
    cradle.boot(1)
    recorded.append(cradle.hello(2, 1, BORN, 1))
    for frame in recorded:
        cradle[1].radio.heard.append(frame)
        cradle.run(20)
    assert cradle[1].state == VIRGIN


def test_a_malformed_hello_is_ignored():
    cradle = born()
    leader = cradle.leader()
    before = leader.raft.log.last_index
    for size in (0, 1, NONCE_SIZE - 1, NONCE_SIZE + 1, NONCE_SIZE + 8, NONCE_SIZE + 17):
        message = Message()
        message.type, message.dst, message.state, message.chip = HELLO, EVERYONE, LOST, 5
        message.data = bytes(size)
        leader.radio.heard.append(cradle.made(message, 9, 0))
        cradle.run(50)
    assert leader.raft.log.last_index == before and leader.raft.role == LEADER


# Who has lost, or never had, an identity.


def test_a_late_board_is_one_that_may_have_forgotten():
    """One answer 'born' makes it a learner."""
    cradle = Cradle()
    cradle.boot(1, 2)
    cradle.run(2500)
    cradle.write(7)
    cradle.frames = []
    cradle.boot(3)
    cradle.run(100)
    assert cradle[3].state in (LOST, BORN)
    cradle.run(500)
    assert cradle.members()[3] == (2, LEARNER) and cradle[3].raft.identity == identity(3, 2)
    assert not [m for m in cradle.of(VOTE, 3) + cradle.of(ACK, 3) if m.incarnation != 2]
    cradle.run(1500)
    assert cradle.members()[3] == (2, VOTER) and cradle[3].driver.machine.values[0] == 7


def test_a_lost_board_says_nothing_but_hello():
    cradle = born()
    number = other_than(cradle)
    leader = cradle.leader().number
    cradle[number].wipe()
    cradle.frames = []
    cradle.drop = lambda message, to: message.type == WELCOME
    cradle.boot(number)
    cradle.run(1500)
    assert cradle[number].state == LOST
    assert cradle.kinds(number) == {HELLO}
    assert cradle[number].raft.term == 0 and cradle[number].raft.log.last_index == 0
    assert cradle[leader].raft.role == LEADER


def test_why_a_board_is_lost():
    """Design rule 7, each case; and what is not one."""
    cradle = born()
    number = other_than(cradle)
    board = cradle[number]
    board.off()
    whole = bytes(board.store.image)

    def boots(image, chip=1000 + number, mark=True):
        board.store = MemoryStore(image)
        board.plate = MemoryPlate(chip, mark)
        board.boot()
        return board.state, board.driver.lost

    assert boots(whole) == (BORN, None)
    assert "another board" in boots(whole, chip=5)[1]
    assert "empty" in boots(b"")[1]
    assert "damaged" in boots(whole[:30] + bytes([whole[30] ^ 1]) + whole[31:])[1]
    assert boots(b"", mark=False) == (VIRGIN, None)
    assert board.plate.born is False
    assert boots(whole, mark=False) == (BORN, None)
    assert board.plate.born is True, "flashing MicroPython wipes NVS: the mark is written again"


def test_a_journal_of_another_id_is_none_of_ours():
    cradle = born()
    board = Board(cradle, 9, 9, [])
    board.plate.chip = 1001
    board.store = MemoryStore(cradle[1].store.image)
    board.boot()
    assert board.state == LOST and "another board" in board.driver.lost


def test_a_board_that_forgot_gets_the_next_incarnation():
    """Never one that its id had: a learner with an empty journal."""
    cradle = born()
    number = other_than(cradle)
    cradle[number].wipe()
    cradle.run(400)
    cradle.boot(number)
    cradle.run(400)
    assert cradle.members()[number] == (2, LEARNER)
    found = cradle[number].found()
    assert found.identity == (number, 2, 1000 + number)
    assert cradle[number].state == BORN and cradle[number].driver.lost is None
    cradle.run(1500)
    assert cradle.members()[number] == (2, VOTER)
    assert cradle[number].driver.machine.values[0] == 7
    cradle[number].wipe()
    cradle.run(400)
    cradle.boot(number)
    cradle.run(400)
    assert cradle.members()[number] == (3, LEARNER), "and so on"


def test_its_new_identity_counts_its_boots_anew():
    cradle = born()
    number = other_than(cradle)
    cradle[number].wipe()
    cradle.run(400)
    cradle.boot(number)
    cradle.run(400)
    board = cradle[number]
    assert board.driver.codec.incarnation == 2
    assert board.driver.codec.epoch == board.raft.epoch == board.found().epoch == 1
    board.off()
    cradle.boot(number)
    assert board.state == BORN and board.raft.identity == identity(number, 2)
    assert board.driver.codec.epoch == board.raft.epoch == 2


def test_a_welcome_is_durable_before_a_word_is_said_under_the_new_name():
    cradle = born()
    number = other_than(cradle)
    cradle[number].wipe()
    cradle.run(400)
    early = []

    def watch(message, to):
        if message.src == number and message.incarnation == 2:
            early.append(cradle[number].found().identity)
        return False

    cradle.drop = watch
    cradle.boot(number)
    cradle.run(600)
    assert early and {who for who in early} == {(number, 2, 1000 + number)}


def test_after_its_new_name_it_is_silent_for_a_promise_s_time():
    """Design rule 4: it is a reboot in all but name."""
    cradle = born()
    number = other_than(cradle)
    cradle[number].wipe()
    cradle.run(400)
    cradle.boot(number)
    while cradle[number].state == LOST:
        cradle.run(STEP_MS)
    raft = cradle[number].raft
    assert raft.silent_until_ms == cradle.now_ms + raft.settings.promise_ms


def test_a_new_board_joins_as_a_learner_with_incarnation_1():
    cradle = born()
    cradle.join(4, 4)
    cradle.run(600)
    assert cradle.members()[4] == (1, LEARNER) and cradle[4].driver.machine.values[0] == 7
    assert cradle.leader().raft.configuration.find(4) == (1, LEARNER, 1004)


def test_nobody_is_let_in_on_a_recorded_hello():
    """Of an older boot of the leader: it names a nonce that is no more."""
    cradle = born()
    cradle.join(4, 4)
    cradle.run(600)
    recorded = [f for f in cradle.recorded(HELLO, 4)]
    assert [m.state for m in cradle.of(HELLO, 4)].count(LOST) > 0
    cradle[4].off()
    for number in (1, 2, 3):
        cradle[number].off()
    cradle.boot(1, 2, 3)
    cradle.run(1000)
    leader = cradle.leader()
    before = leader.raft.configuration.members
    for frame in recorded:
        leader.radio.heard.append(frame)
        cradle.run(30)
    cradle.run(300)
    assert cradle.leader() is leader and leader.raft.configuration.members == before


def test_only_who_repeats_the_leader_s_nonce_is_let_in():
    cradle = born()
    leader = cradle.leader()
    followers = [n for n in cradle.boards if n != leader.number]
    for answers in ([], followers):
        leader.radio.heard.append(cradle.hello(9, 0, LOST, 5, answers))
        cradle.run(100)
        assert 9 not in cradle.members()
    leader.radio.heard.append(cradle.hello(9, 0, LOST, 5, [leader.number]))
    cradle.run(100)
    assert cradle.members()[9] == (1, LEARNER)


def test_only_the_leader_lets_anybody_in():
    cradle = born()
    follower = cradle[other_than(cradle)]
    before = cradle.members()
    follower.radio.heard.append(cradle.hello(9, 0, LOST, 5, [follower.number]))
    cradle.run(300)
    assert cradle.members() == before and not cradle.of(WELCOME)


def test_no_welcome_before_the_identity_is_committed():
    """Else the next leader could give the same incarnation away once more."""
    cradle = born()
    leader = cradle.leader()
    number = other_than(cradle)
    cradle[number].wipe()
    cradle.run(400)
    other = other_than(cradle, number)
    cradle.cut = {(other, leader.number)}
    cradle.frames = []
    cradle.boot(number)
    cradle.run(250)
    if leader.raft.configuration.find(number)[0] == 2:
        assert leader.raft.commit_index < leader.raft.configuration_index
    assert not cradle.of(WELCOME) and cradle[number].state == LOST
    cradle.cut = set()
    cradle.run(1500)
    assert cradle[number].state == BORN


def test_a_welcome_is_repeated_until_it_is_heard():
    cradle = born()
    number = other_than(cradle)
    cradle[number].wipe()
    cradle.run(400)
    cradle.drop = lambda message, to: message.type == WELCOME
    cradle.boot(number)
    cradle.run(1200)
    assert len(cradle.of(WELCOME)) > 2 and cradle[number].state == LOST
    assert cradle.members()[number] == (2, LEARNER), "the same identity, not a new one each time"
    cradle.drop = lambda message, to: False
    cradle.run(500)
    assert cradle[number].state == BORN and cradle[number].raft.identity == identity(number, 2)


def test_a_welcome_to_another_chip_or_an_older_boot_is_none():
    cradle = born()
    number = other_than(cradle)
    cradle[number].wipe()
    cradle.run(400)
    cradle.drop = lambda message, to: message.type == WELCOME
    cradle.boot(number)
    cradle.run(400)
    old = cradle.recorded(WELCOME, cradle.leader().number)[-1]
    cradle[number].off()
    cradle.cut = {(n, number) for n in cradle.boards}
    cradle.boot(number)
    board = cradle[number]
    board.radio.heard.append(old)
    cradle.run(20)
    assert board.state == LOST, "it repeats a nonce of the boot before"
    for chip, nonce in ((5, board.driver.birth._nonce), (1000 + number, bytes(NONCE_SIZE))):
        welcome = Message()
        welcome.type, welcome.dst, welcome.dst_incarnation = WELCOME, number, 2
        welcome.chip, welcome.data = chip, nonce
        board.radio.heard.append(cradle.made(welcome, 1, 1))
        cradle.run(20)
        assert board.state == LOST
    welcome.data = board.driver.birth._nonce
    board.radio.heard.append(cradle.made(welcome, 1, 1))
    cradle.run(20)
    assert board.state == BORN


def test_a_recorded_welcome_takes_nobody_s_identity():
    """In the same boot, even: nothing lower and nothing equal is taken."""
    cradle = born()
    number = other_than(cradle)
    board = cradle[number]
    cradle.write(8)
    last = board.raft.log.last_index
    for incarnation in (0, 1):
        welcome = Message()
        welcome.type, welcome.dst, welcome.dst_incarnation = WELCOME, number, incarnation
        welcome.chip, welcome.data = 1000 + number, board.driver.birth._nonce
        board.radio.heard.append(cradle.made(welcome, 1, 1))
        cradle.run(20)
        assert board.raft.identity == identity(number, 1) and board.raft.log.last_index == last


def test_a_board_whose_identity_was_superseded_gets_another_that_nobody_had():
    """It was let in twice, by two leaders, and took the first: what it has written stays."""
    cradle = born()
    number = other_than(cradle)
    board = cradle[number]
    leader = cradle.leader()
    cradle.write(8)
    leader.raft.now_ms = cradle.now_ms
    change(leader.raft, number, 2, LEARNER, 1000 + number)
    leader.driver.touched = True
    last = board.raft.log.last_index
    cradle.run(2500)
    assert board.raft.identity == identity(number, 3) and board.found().identity[1] == 3
    assert board.raft.log.last_index > last and board.raft.term == leader.raft.term
    assert cradle.members()[number][0] == 3


# Clones, and boards that come back.


def test_a_clone_gets_no_identity_while_the_original_is_heard():
    """moby/swarmkit #1148, cockroach #42769 (pitfall 33)."""
    cradle = born()
    number = other_than(cradle)
    before = cradle.members()
    cradle.clone(number, 9)
    cradle.frames = []
    cradle.run(4000)
    assert cradle[9].state == LOST and cradle.members() == before and not cradle.of(WELCOME)
    assert cradle.kinds(9) == {HELLO}
    cradle.write(9)
    assert cradle[number].driver.machine.values[0] == 9


def test_a_clone_of_the_leader_gets_none_either():
    cradle = born()
    leader = cradle.leader()
    before = cradle.members()
    cradle.clone(leader.number, 9)
    cradle.run(3000)
    assert cradle[9].state == LOST and cradle.members() == before and cradle.leader() is leader


def test_another_board_takes_an_id_whose_board_is_silent_for_long():
    """The first keeps it while it lives; when it comes back after all, it is nobody."""
    cradle = born()
    number = other_than(cradle)
    cradle.clone(number, 9)
    cradle[number].off()
    cradle.run(SETTINGS["remove_ms"] - 1000)
    assert cradle[9].state == LOST
    cradle.run(5000)
    assert cradle[9].state == BORN and cradle.members()[number][0] == 2
    cradle.boot(number)
    cradle.frames = []
    cradle.run(3000)
    assert cradle[number].raft.identity == identity(number, 1) and not cradle.of(WELCOME)
    assert cradle.members()[number] == (2, VOTER)
    assert cradle.leader().raft.configuration.find(number)[2] == 1009


def test_a_board_that_was_removed_and_comes_back_stands_by():
    """With its own identity: it has forgotten nothing."""
    cradle = born()
    number = other_than(cradle)
    cradle[number].off()
    cradle.run(400)
    cradle.remove(number)
    assert cradle.members()[number] == (1, REMOVED)
    cradle.boot(number)
    cradle.run(1500)
    assert cradle.members()[number][0] == 1 and cradle.members()[number][1] != REMOVED
    assert cradle[number].driver.machine.values[0] == 7


def test_a_removed_id_is_not_given_the_incarnation_that_it_had():
    """Design rule 7: the configuration keeps the highest one ever used."""
    cradle = born()
    number = other_than(cradle)
    cradle[number].wipe()
    cradle.run(400)
    cradle.remove(number)
    cradle.boot(number)
    cradle.run(1000)
    assert cradle.members()[number][0] == 2 and cradle[number].raft.identity == identity(number, 2)


def test_what_the_first_incarnation_said_counts_for_nothing_afterwards():
    """Design rule 1: recorded acks of a board that has lost its flash since."""
    cradle = born()
    number = other_than(cradle)
    recorded = cradle.recorded(ACK, number)
    cradle[number].wipe()
    cradle.run(400)
    cradle.boot(number)
    cradle.run(600)
    leader = cradle.leader()
    other = other_than(cradle, number)
    cradle.cut = {(other, leader.number), (number, leader.number)}
    term = leader.raft.term
    leader.driver.propose(set_command(0, 9), lambda *a: None)
    for frame in recorded[-20:]:
        leader.radio.heard.append(frame)
    cradle.run(100)
    assert leader.raft.term == term and leader.raft.commit_index < leader.raft.log.last_index
    assert identity(number, 1) not in leader.raft.followers


def test_two_thirds_that_forgot_stop_the_cluster_rather_than_begin_anew():
    """No majority remembers: nobody may lead, and what the last one holds is not overwritten."""
    cradle = born()
    numbers = [n for n in cradle.boards if n != cradle.leader().number]
    survivor = cradle.leader()
    last = survivor.raft.log.last_index
    for number in numbers:
        cradle[number].wipe()
    cradle.run(400)
    cradle.frames = []
    cradle.boot(*numbers)
    cradle.run(4000)
    assert cradle.leader() is None and not cradle.kinds() & {APPEND, ACK, VOTE, WELCOME}
    assert all(cradle[n].state == LOST for n in numbers)
    assert survivor.raft.log.last_index == last
