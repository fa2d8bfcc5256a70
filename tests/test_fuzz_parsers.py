"""What takes in bytes takes whatever comes: with Hypothesis, which finds the smallest input that
breaks it, and with our own cases (tests/portable/targets.py), which run on MicroPython, too.

Each input that has broken something once has a test of its own here. One that is known to break
something stands here, too, marked xfail(strict): the mark goes when it is mended.
"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from collector import envelope
from firmware import config as config_file
from firmware.config import Config, ConfigError
from firmware.filestore import FileStore
from firmware.journal import Journal, JournalDamaged
from raft import membership, proposals, wire
from raft.auth import cluster_hash
from raft.birth import NONCE_SIZE
from raft.intlist import set_command
from raft.message import (
    APPEND,
    BORN,
    COMMAND,
    COUNTER_LIMIT,
    EVERYONE,
    FIRST_PC,
    FOLLOWER,
    HELLO,
    LEADER,
    LEARNER,
    LOST,
    MEMBERS,
    NOBODY,
    NOOP,
    SNAPSHOT,
    STATUS,
    TYPE_NAMES,
    VOTER,
    Message,
)
from raft.sessions import Sessions
from raft.snapshot import image_digest, pack
from tests import host_targets
from tests.portable import targets
from tests.portable.chance import Chance, Frames
from tests.portable.memory_store import MemoryPlate, MemoryStore
from tests.portable.test_parsers import growth
from tools import cli, parsers
from tools.cluster import Cluster, ClusterError
from tools.pc import Station

SMALL = settings(max_examples=100, deadline=None)


# Our own cases.


@pytest.mark.parametrize("target", host_targets.TARGETS)
def test_cases_on_a_pc_hold(target):
    for number in range(40):
        host_targets.TARGETS[target](Chance(number))


def test_a_campaign_counts_its_cases():
    lines = []
    result = parsers.run(1, ["frames", "cluster file"], cases=20, tell=lines.append)
    assert result["ok"] is True and result["cases"] == 60
    assert lines == ["frames: 20 on CPython, 20 on MicroPython", "cluster file: 20 on CPython"]


TRAP = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.portable import targets

def trap(chance):
    assert chance.below(20), "trapped"
    return "no"

targets.TARGETS["trap"] = trap
with open(sys.argv[1] + "/tests/portable/fuzz.py") as file:
    exec(file.read())
"""


def test_a_campaign_stops_at_a_case_that_does_not_hold(monkeypatch, tmp_path):
    monkeypatch.setattr(parsers, "FUZZ", tmp_path / "trap.py")
    monkeypatch.setitem(targets.TARGETS, "trap", None)
    parsers.FUZZ.write_text(TRAP)
    result = parsers.run(1, ["trap", "frames"], cases=100)
    failure = result["failure"]
    assert result["ok"] is False and list(result["targets"]) == ["trap"]
    assert "trapped" in failure["text"]
    again = parsers.run(1, ["trap"], first=failure["case"], cases=1)
    assert again["failure"]["text"].split("\n")[-1] == failure["text"].split("\n")[-1]


def test_a_campaign_names_the_case_that_the_interpreters_disagree_on():
    said = {"CPython": ["IS 7 no", "IS 8 yes", ""], "MicroPython": ["IS 7 no", "IS 8 no", ""]}
    failure = parsers._difference("frames", said, 7, 2)
    assert failure["case"] == 8 and "MicroPython: IS 8 no" in failure["text"]
    assert parsers._difference("frames", {"a": ["IS 7 no"], "b": ["IS 7 no"]}, 7, 1) is None


def test_a_block_with_another_check_sum_is_looked_at_case_by_case():
    said = {"CPython": ["BLOCK 0 1", "BLOCK 100 5"], "MicroPython": ["BLOCK 0 1", "BLOCK 100 6"]}
    # In truth they agree, so nothing is found in it.
    assert parsers._difference("configuration", said, 0, 0) is None


def test_the_command_says_which_targets_there_are():
    done = CliRunner().invoke(cli.app, ["parsers", "--target", "moon"])
    assert done.exit_code == 1 and "no target is called moon: there are frames" in done.stderr
    done = CliRunner().invoke(cli.app, ["parsers", "--target", "envelope", "--cases", "10"])
    assert done.exit_code == 0 and json.loads(done.stdout)["cases"] == 20


# Frames.


def number_of(code):
    least, most = wire._RANGES[code]
    return st.one_of(st.integers(0, min(9, most)), st.integers(least, most))


def tail_of(kind):
    if wire.TAILS[kind] == wire.NOTHING:
        return st.one_of(st.just(b""), st.binary(max_size=4))
    return st.binary(max_size=wire.COMMAND_MAX)


@st.composite
def some_frame(draw, **given):
    """An authentic frame of any type."""
    kind = draw(st.sampled_from(sorted(TYPE_NAMES)))
    table = wire.HEADER_FIELDS + wire.FIELDS[kind]
    fields = {name: draw(number_of(code)) & 0xFFFFFFFF for name, code, _ in table}
    fields["version_key"] = wire.VERSION << 4
    fields["cluster"] = cluster_hash(targets.CLUSTER)
    fields["type"] = kind
    for name, values in given.items():
        fields[name] = draw(values)
    return frames().made(fields, draw(tail_of(kind)))


def frames():
    return Frames(Chance(0), cluster_hash(targets.CLUSTER), targets.KEY)


@st.composite
def damaged(draw, data):
    """`data` with a few bytes changed, cut off or put in."""
    data = bytearray(draw(data))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


resealed = damaged(some_frame().map(lambda frame: frame[: -wire.TAG_SIZE])).map(
    lambda content: frames().sealed(content)
)


@given(st.one_of(st.binary(max_size=300), some_frame(), damaged(some_frame()), resealed))
@SMALL
def test_the_codec_takes_every_frame(frame):
    targets.decoded(frame, b"\xff" * 9)


@given(some_frame())
@SMALL
def test_a_frame_from_the_tables_is_accepted_or_has_a_wrong_tail(frame):
    assert targets.codec().decode(frame, len(frame), Message()) in (None, "body", "field")


# Datagrams.

records = st.tuples(
    st.integers(0, 0xFFFFFFFF),
    st.integers(-128, 127),
    st.binary(min_size=6, max_size=6),
    st.binary(max_size=wire.FRAME_MAX),
)


@st.composite
def some_datagram(draw):
    batch = envelope.Batch()
    for record in draw(st.lists(records, max_size=5)):
        targets.add_record(batch, record)
    return bytes(batch.take())


@given(st.one_of(st.binary(max_size=80), some_datagram(), damaged(some_datagram())))
@SMALL
def test_every_datagram_can_be_read(data):
    targets.unwrapped(data)


@given(st.sampled_from((envelope.WELCOME, envelope.FRAMES, envelope.REFUSED)), st.binary())
@SMALL
def test_whatever_follows_the_head_can_be_read(kind, rest):
    head = bytearray(envelope.HEAD_SIZE)
    envelope.head(head, kind)
    targets.unwrapped(bytes(head) + rest)


# The config file.

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(st.sampled_from(config_file._KNOWN), json_values, max_size=4),
    st.dictionaries(st.text(), json_values, max_size=1),
)
@settings(max_examples=300, deadline=None)
def test_a_config_is_refused_with_a_sentence_or_can_be_used(changed, more):
    values = targets.node_values() | changed | more
    try:
        config = Config(values)
    except ConfigError as error:
        assert "\n" not in str(error) and len(str(error)) > 10
        return
    assert targets.settings_of(Config(dict(values))) == targets.settings_of(config)
    if config.role == "node":
        plate = MemoryPlate(1)
        targets.new_driver(
            config, targets.Radio(), MemoryStore(), plate, lambda: 0, Chance(1)
        ).step()


@given(json_values)
@SMALL
def test_a_config_that_is_no_object_is_refused(values):
    if not isinstance(values, dict):
        with pytest.raises(ConfigError):
            Config(values)


@given(data=st.one_of(st.binary(), st.text().map(str.encode)))
@SMALL
def test_a_config_file_with_anything_in_it_is_refused(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "config.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError):
        config_file.load(str(path))


def test_a_deeply_nested_config_file_is_refused(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b"[" * 100_000)
    with pytest.raises(ConfigError, match="is not JSON"):
        config_file.load(str(path))


# The journal.


@given(st.binary(max_size=200))
@SMALL
def test_a_store_with_anything_in_it_is_damaged_or_torn(data):
    store = MemoryStore(data)
    try:
        found = targets.found_in(store)
    except JournalDamaged:
        return
    targets.recovered(store, found)


@given(st.integers(0, 300), st.data())
@SMALL
def test_a_journal_with_a_few_bytes_changed_is_damaged_or_as_it_was(number, data):
    image = targets.journal_image(Chance(number))[0]
    store = MemoryStore(data.draw(damaged(st.just(image))))
    try:
        found = targets.found_in(store)
    except JournalDamaged:
        return
    targets.recovered(store, found)


@pytest.mark.parametrize("number", range(30))
def test_a_journal_in_a_file_is_recovered_as_in_memory(number, tmp_path):
    chance = Chance(number)
    image = targets.journal_image(chance)[0]
    image = (image, image[: chance.below(len(image) + 1)], chance.damaged(image))[number % 3]
    path = tmp_path / "journal"
    path.write_bytes(image)
    store = MemoryStore(image)
    assert found_or_damaged(FileStore(str(path))) == found_or_damaged(store)
    assert path.read_bytes() == store.image


def found_or_damaged(store):
    try:
        return targets.found_in(store)
    except JournalDamaged as error:
        return str(error)


@pytest.mark.parametrize("kind", (1, 2, 3, 4, 5))
def test_a_record_that_is_too_short_is_damage(kind):
    """A whole record (check sum right, marked) with an empty payload."""
    store = MemoryStore()
    journal = targets.WildJournal(store)
    journal.recover()
    journal.record(kind, b"")
    journal.sync()
    with pytest.raises(JournalDamaged, match="has 0 bytes"):
        Journal(MemoryStore(store.image)).recover()


def test_a_record_that_counts_too_far_or_is_of_no_kind_is_damage():
    for kind, payload, why in (
        (1, b"\xff" * 8, "counts beyond"),
        (2, bytes((1, 0, 0, 0, 1, 0, 0, 0, 5)), "unknown kind 5"),
        (6, b"", "unknown record type 6"),
    ):
        store = MemoryStore()
        journal = targets.WildJournal(store)
        journal.recover()
        journal.record(kind, payload)
        journal.sync()
        with pytest.raises(JournalDamaged, match=why):
            Journal(MemoryStore(store.image)).recover()


# State machines, and what else is in a snapshot.

machines = st.sampled_from(sorted(targets.MODULES))


@given(machines, st.integers(0, 50), st.data())
@SMALL
def test_a_state_machine_takes_over_an_image_or_stays_as_it_was(name, number, data):
    machine = targets.some_machine(Chance(number), name)
    image = st.just(machine.snapshot())
    given_image = data.draw(st.one_of(st.binary(max_size=80), damaged(image), image))
    targets.taken_over(machine, given_image, may_refuse=True)


@given(machines, st.integers(0, 50), st.data())
@SMALL
def test_a_state_machine_takes_every_command(name, number, data):
    machine = targets.new_machine(name)
    known = st.sampled_from(targets.commands_of(targets.MODULES[name], Chance(number)))
    for command in data.draw(st.lists(st.one_of(known, damaged(known), st.binary(max_size=40)))):
        targets.applied(machine, command)


@given(st.one_of(st.binary(max_size=60), damaged(st.just(bytes((1, 2, 1, 0, 0, 0, 0, 0))))))
@SMALL
def test_a_configuration_is_decoded_or_refused(data):
    try:
        found = membership.decode(data)
    except ValueError:
        return
    assert found.encode() == data


@given(st.integers(0, 50), st.data())
@SMALL
def test_a_table_of_sessions_is_read_or_refused(number, data):
    table = targets.some_sessions(Chance(number), "intlist")
    image = st.just(table.snapshot())
    given_image = data.draw(st.one_of(st.binary(max_size=80), damaged(image), image))
    try:
        table.take_over(table.read(given_image))
    except ValueError:
        return
    kept = table.snapshot()
    other = Sessions(targets.new_machine("intlist"))
    other.take_over(other.read(kept))
    assert other.snapshot() == kept and other.ids() == table.ids()


# A board, and a PC.


def need(true):
    """For what a test starts from: no assertion of what it tests, which could be marked xfail."""
    if not true:
        raise RuntimeError("the test itself does not come to its point")


class Lone:
    """Board 1, the only voter, with frames of others around it; leads after a while."""

    def __init__(self, **values):
        self.now_ms = 0
        self.values = targets.node_values(1, [1]) | values
        self.plate = MemoryPlate(1)
        self.frames = frames()
        self.start(MemoryStore())

    def start(self, store):
        self.store = store
        self.radio = targets.Radio()
        config = Config(self.values)
        self.driver = targets.new_driver(
            config, self.radio, store, self.plate, lambda: self.now_ms, Chance(1)
        )

    def restart(self):
        self.start(MemoryStore(self.store.image))

    def run(self, ms):
        for _ in range(ms // 10):
            self.now_ms += 10
            self.driver.step()

    def hears(self, kind, src, term, tail=b"", **fields):
        """One authentic frame."""
        self.radio.heard.append(self.frame(kind, src, term, tail, **fields))
        self.driver.step()

    def frame(self, kind, src, term, tail=b"", **fields):
        table = wire.HEADER_FIELDS + wire.FIELDS[kind]
        values = {name: 0 for name, _, _ in table} | {
            "version_key": wire.VERSION << 4,
            "cluster": cluster_hash(targets.CLUSTER),
            "type": kind,
            "src": src,
            "dst": EVERYONE,
            "incarnation": 1,
            "epoch": 1,
            "seq": 1,
            "term": term,
        }
        return self.frames.made(values | fields, tail)

    def append(self, src, term, prev_index, prev_term, *entries):
        """It hears an AppendEntries with (kind, data) of that `term`."""
        tail = b"".join(bytes([kind, len(data)]) + data for kind, data in entries)
        self.hears(APPEND, src, term, tail, prev_index=prev_index, prev_term=prev_term)

    def leads(self):
        self.run(2000)
        need(self.driver.raft.role == LEADER)
        return self.driver.raft


@given(st.lists(some_frame(src=st.integers(0, 4), dst=st.sampled_from((1, 255))), max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_board_takes_all_authentic_frames(heard):
    board = Lone(voters=[1, 2, 3])
    board.run(100)
    for frame in heard:
        board.radio.heard.append(frame)
        board.now_ms += 20
        board.driver.step()
    board.restart()


def test_a_board_that_cannot_open_its_session_forgets_its_tries():
    """The board's own app asks while the leader does not answer: again and again it tries to open
    its session."""
    board = Lone(voters=[1, 2, 3])
    driver = board.driver
    driver.birth.state = BORN
    for _ in range(40):
        driver.propose(set_command(0, 1), lambda *_: None)
        for _ in range(40):
            board.now_ms += 100
            board.append(2, 5, 0, 0)
    assert len(driver.proposals._proposals) <= proposals.CAPACITY + 1


def test_a_second_leader_of_a_term_stops_nobody():
    """An AppendEntries of the leader's own term, from whoever has the key, even no member."""
    board = Lone()
    raft = board.leads()
    board.append(2, raft.term, 0, 0)
    assert raft.role == LEADER and board.driver.refused["contradiction"] == 1


def test_an_entry_in_the_place_of_a_committed_one_stops_nobody():
    """An AppendEntries of a higher term with another entry at a committed index."""
    board = Lone()
    raft = board.leads()
    need(raft.commit_index >= 1)
    before = raft.log.entry(1)
    board.append(2, raft.term + 1, 0, 0, (NOOP, b""))
    assert raft.log.entry(1) == before and board.driver.refused["contradiction"] == 1
    board.leads()


def test_the_last_term_stops_nobody():
    """A frame of term 2**30 - 1: who took that over could never stand again, after no restart."""
    board = Lone()
    term = board.leads().term
    board.now_ms += 10_000
    board.hears(APPEND, 2, COUNTER_LIMIT - 1)
    assert board.driver.raft.term == term and board.driver.refused["contradiction"] == 1
    board.restart()
    board.leads()


def test_the_last_term_heard_again_and_again_ends_elections_only():
    """From a liar who does not give up: the database can be read still."""
    board = Lone()
    board.leads()
    for _ in range(12):
        board.now_ms += 1000
        board.hears(APPEND, 2, COUNTER_LIMIT - 1)
    for _ in range(2):
        board.run(2000)
        raft = board.driver.raft
        assert (raft.term, raft.role) == (COUNTER_LIMIT - 1, FOLLOWER)
        board.restart()


def test_the_last_index_stops_nobody():
    """A snapshot that ends with entry 2**30 - 1 or the one before: an entry more, or none, and
    nobody can append any more."""
    for last in (COUNTER_LIMIT - 1, COUNTER_LIMIT - 2):
        board = Lone()
        raft = board.leads()
        image = pack(raft).image
        fields = {"last_index": last, "last_term": raft.term, "total": len(image)}
        fields.update(dst=1, digest=image_digest(image))
        board.hears(SNAPSHOT, 2, raft.term + 1, image, **fields)
        assert raft.log.last_index == last
        board.append(2, raft.term, last, raft.log.last_term, *[(NOOP, b"")] * 3)
        board.run(2000)
        board.driver.propose(set_command(0, 1), lambda *_: None)
        board.run(2000)
        assert raft.log.last_index == COUNTER_LIMIT - 1
        board.restart()
        board.run(2000)


def test_a_log_that_contradicts_a_snapshot_is_refused():
    """An AppendEntries that claims an older term for the last entry of our snapshot: the logs agree
    at no index that could be named in an ack."""
    board = Lone(snapshot_entries=1, keep_entries=0)
    raft = board.leads()
    board.driver.propose(set_command(0, 1), lambda *_: None)
    board.run(2000)
    log = raft.log
    need(log.base_index and log.base_term)
    board.append(2, raft.term + 1, log.base_index, log.base_term - 1)
    assert board.driver.refused["contradiction"] == 1


@pytest.mark.parametrize("member", (NOBODY, FIRST_PC))
def test_who_can_be_no_member_is_not_let_in(member):
    """A fresh HELLO with state LOST of an id that is no board's: a configuration with that could be
    read by nobody."""
    board = Lone()
    raft = board.leads()
    last = raft.log.last_index
    nonce = board.driver.birth._nonce
    tail = bytes(NONCE_SIZE) + bytes([1]) + nonce
    board.hears(HELLO, member, 0, tail, incarnation=0, state=LOST, chip=9)
    assert raft.log.last_index == last and board.driver.refused["no board"] == 1
    with pytest.raises(ValueError, match="boards have the ids 1 to 223"):
        membership.change(raft, member, 1, LEARNER, 9)


def test_the_last_incarnation_of_an_id_stops_nobody():
    """A board of incarnation 65535 has lost its flash: there is no other one left to give it.
    MicroPython's struct would make 65536 to 0, an identity that the cluster has had."""
    board = Lone()
    raft = board.leads()
    membership.change(raft, 2, 65535, LEARNER, 7)
    board.run(100)
    last = raft.log.last_index
    tail = bytes(NONCE_SIZE) + bytes([1]) + board.driver.birth._nonce
    board.hears(HELLO, 2, 0, tail, incarnation=0, state=LOST, chip=7)
    assert raft.log.last_index == last == raft.commit_index and raft.role == LEADER
    with pytest.raises(ValueError, match="give it another id"):
        membership.change(raft, 2, 65536, LEARNER, 7)


def test_a_leader_that_never_commits_does_not_fill_a_board():
    """AppendEntries in order, none of them committed."""
    board = Lone(voters=[1, 2, 3])
    board.run(500)
    driver = board.driver
    driver.birth.state = BORN
    raft = driver.raft
    for index in range(400):
        board.append(2, 5, index, 5 if index else 0, (COMMAND, bytes(100)))
    need(raft.log.last_index)
    assert raft.log.size <= 2 * raft.settings.log_bytes


@given(st.lists(st.one_of(st.binary(max_size=60), some_datagram(), damaged(some_datagram()))))
@SMALL
def test_a_pc_takes_every_datagram(heard):
    station = Station(targets.CLUSTER, targets.KEY, Chance(1).bytes)
    for at, data in enumerate(heard):
        station.datagram(data, 100 * at)
        station.tick(100 * at)
    assert station.counts["datagrams"] == len(heard)


def test_an_answer_that_is_no_configuration_stops_no_pc():
    """A STATUS with 20 bytes that are none, in answer to a read of the members: asked again."""
    station = Station(targets.CLUSTER, targets.KEY, Chance(1).bytes)
    reading = station.read(1, 0, part=MEMBERS)
    frame = Lone().frame(
        STATUS, 1, 1, b"\xff" * 20, dst=station.id, request=reading.request, part=MEMBERS, total=20
    )
    station.datagram(targets.frames_datagram(Chance(1), [frame]), 1)
    assert not reading.finished and not reading.image
    members = membership.Configuration([(1, 1, VOTER, 7)])
    frame = Lone().frame(
        *(STATUS, 1, 1, members.encode()),
        **{"dst": station.id, "request": reading.request, "part": MEMBERS, "total": 8},
    )
    station.datagram(targets.frames_datagram(Chance(1), [frame]), 2)
    assert reading.values == members.members


class QuietPc(host_targets.Pc):
    """One that hears few boards: it remembers something of each."""

    sources = 5

    def ask(self, node):
        self.station.read(node, self.now_ms, self.chance.below(3), self.chance.below(2))
        self.station.set(node, 0, 1, self.now_ms)


def test_a_pc_remembers_a_bounded_part_of_what_it_hears():
    turns = 500

    def make():
        pc = QuietPc(Chance(2))

        def turn():
            for _ in range(turns):
                pc.turn()
            pc.now_ms += 20_000
            pc.station.tick(pc.now_ms)
            pc.turn()

        return turn

    # Each turn brings some three frames.
    assert growth(make, 1) < 4 * turns


# The cluster file.


@given(st.one_of(st.binary(), st.text().map(str.encode)))
@SMALL
def test_a_cluster_file_with_anything_in_it_is_refused(data):
    assert host_targets.loaded_cluster(data) is None


@pytest.mark.parametrize("name", ('my "demo"', "back\\slash"))
def test_a_cluster_file_keeps_its_name(name, tmp_path):
    path = tmp_path / "cluster.toml"
    Cluster(name, bytes(32), [1]).save(path)
    assert Cluster.load(path).name == name


@given(st.text(), st.text())
@SMALL
def test_a_cluster_file_keeps_every_name_that_can_be_written(tmp_path_factory, name, host):
    path = tmp_path_factory.mktemp("cluster") / "cluster.toml"
    Cluster(name, bytes(32), [1], host=host).save(path)
    loaded = Cluster.load(path)
    assert (loaded.name, loaded.host) == (name, host)


def test_a_name_that_cannot_be_written_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "cluster.toml"
    Cluster("demo", bytes(32), [1]).save(path)
    with pytest.raises(ClusterError, match="cannot be written"):
        Cluster("\ud800", bytes(32), [1]).save(path)
    assert Cluster.load(path).name == "demo"


def test_a_deeply_nested_cluster_file_is_refused():
    assert host_targets.loaded_cluster(b"name = " + b"[" * 5000) is None
