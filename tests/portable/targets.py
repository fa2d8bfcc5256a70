"""What takes in bytes that others made, each with a case: input from a Chance, and what must hold.

A case raises AssertionError, or whatever escaped from what it tests. What it returns is the same on
both interpreters: boards and PCs must agree on what they accept.
"""

import json
from binascii import crc32

from collector import envelope
from firmware import config as config_file
from firmware.config import Config, ConfigError
from firmware.driver import Driver
from firmware.journal import Journal, JournalDamaged
from raft import intlist, keyvalue, membership, wire
from raft.auth import KeyRing, cluster_hash
from raft.core import Raft
from raft.log import Log
from raft.message import (
    COMMITTED,
    CONFIGURATION,
    COUNTER_LIMIT,
    EVERYONE,
    FIRST_PC,
    KIND_MAX,
    LEADER,
    LEARNER,
    NOBODY,
    OPEN_SESSION,
    OUTCOME_TEXTS,
    REMOVED,
    SESSION_COMMAND,
    TYPE_NAMES,
    VOTER,
    Message,
)
from raft.sessions import WINDOW, Sessions, client_name, head
from raft.settings import Settings
from raft.snapshot import Snapshot, pack, unpack
from raft.wire import Codec
from tests.portable.chance import Chance, Frames
from tests.portable.memory_store import MemoryPlate, MemoryStore

CLUSTER = "demo"
KEY = b"0123456789abcdef"

# The one place that knows how a node is made.


def node_values(me=1, voters=(1, 2, 3)):
    """A config file's contents that is right."""
    return {
        "role": "node",
        "id": me,
        "cluster": CLUSTER,
        "key": "".join(["%02x" % byte for byte in KEY]),
        "voters": list(voters),
    }


# The modules of the state machines, as a config names them, and settings that leave little room.
MODULES = {"intlist": intlist, "keyvalue": keyvalue}
LITTLE_ROOM = {"intlist": {"size": 2}, "keyvalue": {"keys_max": 2, "bytes_max": 50}}


def new_machine(name, limits=None):
    values = node_values()
    values["machine"] = name
    values.update(limits or {})
    return Config(values).new_machine()


def new_driver(config, radio, store, plate, clock_ms, chance):
    driver = Driver(
        config,
        radio,
        Journal(store),
        config.new_machine(),
        plate,
        clock_ms,
        chance.bytes,
        chance.below,
        lambda: 100000,
    )
    driver.start()
    return driver


# Frames.


def codec(src=7):
    return Codec(cluster_hash(CLUSTER), KeyRing(KEY), src, 1)


def fields_of(message):
    """Everything that the frame of `message` carried."""
    kind = message.type
    names = [f[0] for f in wire.HEADER_FIELDS[3:] + wire.FIELDS[kind]]
    values = [kind] + [getattr(message, name) for name in names]
    tail = wire.TAILS[kind]
    if tail == wire.NOTHING:
        return values
    return values + [message.data if tail == wire.BYTES else list(message.entries)]


def frames_case(chance):
    """The codec drops, with a reason that it counts, or what it takes survives the way back."""
    frames = Frames(chance, cluster_hash(CLUSTER), KEY)
    how = chance.below(4)
    if how == 0:
        frame = chance.bytes(chance.below(300))
    else:
        frame = frames.some()
        if how == 1:
            frame = chance.damaged(frame)
        elif how == 2:
            content = frame[: -wire.TAG_SIZE]
            if chance.one_in(8):
                content += chance.bytes(wire.FRAME_MAX)
            frame = frames.sealed(chance.damaged(content), 2 * wire.FRAME_MAX)
    return decoded(frame, chance.bytes(9))


def decoded(frame, behind):
    """Why `frame` is dropped, or what it says. `behind` it is what a radio's buffer still holds."""
    reader = codec()
    message = Message()
    reason = reader.decode(frame, len(frame), message)
    assert codec().decode(frame + behind, len(frame), Message()) == reason
    if reason is not None:
        assert reader.drops[reason] == 1 and sum(reader.drops.values()) == 1
        return reason
    assert sum(reader.drops.values()) == 0 and message.type in TYPE_NAMES
    found = fields_of(message)
    writer = Codec(reader.cluster, reader.keys, message.src, message.incarnation, message.epoch)
    writer.seq = message.seq - 1
    buf = bytearray(wire.FRAME_MAX)
    length = writer.encode(message, buf)
    again = Message()
    assert reader.decode(buf, length, again) is None and fields_of(again) == found
    if wire.TAILS[message.type] == wire.ENTRIES:
        # An entry may say that its term is another one where it is not.
        spare = len(frame) - length
        assert spare % 4 == 0 and 0 <= spare <= 4 * len(message.entries)
        for _, kind, data in message.entries:
            assert kind <= KIND_MAX
            assert kind != CONFIGURATION or membership.is_configuration(data)
    else:
        assert buf[:length] == frame
    return "%d" % crc32(bytes(buf[:length]))


# Datagrams between collector and PC.


def some_datagram(chance):
    """Nearly one of those that a collector and a PC send."""
    how = chance.below(5)
    if how == 0:
        data = envelope.send(chance.bytes(chance.below(260)))
    elif how == 1:
        data = envelope.refused(chance.below(8))
    elif how == 2:
        counts = {name: chance.number(0, (1 << 30) - 1) for name in envelope.COUNTERS}
        data = envelope.welcome(chance.bits(), 1 + chance.below(13), counts)
    elif how == 3:
        data = envelope.subscribe()
    else:
        data = frames_datagram(
            chance,
            [chance.bytes(chance.below(wire.FRAME_MAX + 1)) for _ in range(chance.below(5))],
        )
    how = chance.below(4)
    if how == 0:
        return chance.bytes(chance.below(60))
    return chance.damaged(data) if how == 1 else data


def frames_datagram(chance, frames):
    """A datagram of the collector with these `frames`."""
    batch = envelope.Batch()
    for frame in frames:
        add_record(batch, (chance.bits(), chance.below(256) - 128, chance.bytes(6), frame))
    return bytes(batch.take())


def add_record(batch, record):
    """Put what `read_frames` gives into a batch; True if it had room."""
    ticks_ms, rssi, mac, frame = record
    return batch.add(ticks_ms, rssi, mac, frame, len(frame))


def envelope_case(chance):
    return unwrapped(some_datagram(chance))


def unwrapped(data):
    """Every reader takes every datagram; what one takes survives the way back."""
    told = [envelope.kind_of(data), envelope.read_refused(data)]
    welcome = envelope.read_welcome(data)
    if welcome is not None:
        # A collector counts to 2**30 only; what it says survives.
        said = envelope.read_welcome(envelope.welcome(*welcome))
        assert said[:2] == welcome[:2]
        assert envelope.read_welcome(envelope.welcome(*said)) == said
    read = envelope.read_frames(data)
    if read is not None:
        batch = envelope.Batch()
        full = []
        for record in read[1]:
            if not add_record(batch, record):
                full.append(bytes(batch.take()))
                assert add_record(batch, record)
        full.append(bytes(batch.take()))
        assert (
            len(full) > 1
            or full[0][envelope.FRAMES_HEAD_SIZE :] == data[envelope.FRAMES_HEAD_SIZE :]
        )
        records = []
        for one in full:
            assert len(one) <= envelope.DATAGRAM_MAX
            records += envelope.read_frames(one)[1]
        assert records == read[1]
        told.append(len(records))
    return repr(told + [welcome is not None])


# The config file's contents.


def anything(chance, depth=2):
    """What JSON can hold."""
    how = chance.below(9 if depth else 6)
    if how == 0:
        return None
    if how == 1:
        return chance.one_in(2)
    if how == 2:
        return chance.number(-(1 << 31), 1 << 31)
    if how == 3:
        return chance.number(-1000, 1000) / 8
    if how < 6:
        some = ("", "x", "node", "collector", "30" * 16, "3", "\u00e9" * 40, "\x00", "keyvalue")
        return chance.pick(some)
    if how == 6:
        return {"a": anything(chance, depth - 1)}
    return [anything(chance, depth - 1) for _ in range(chance.below(5))]


def config_values(chance):
    """A config that is right, with up to three settings changed; seldom something else."""
    if chance.one_in(20):
        return anything(chance)
    me = chance.number(1, FIRST_PC - 1)
    values = node_values(me, (me, 1 + me % 200))
    if chance.one_in(6):
        values["voters"] = [some_voter(chance, me) for _ in range(chance.below(4))]
    for _ in range(chance.below(4)):
        name = chance.pick(config_file._KNOWN)
        how = chance.below(4)
        if how == 0:
            values.pop(name, None)
        elif how == 1:
            values[name] = chance.number(0, 1 << 17)
        else:
            values[name] = anything(chance)
    if chance.one_in(30):
        values["colour"] = "red"
    return values


def some_voter(chance, me):
    """An id, or a list that begins with one."""
    member = me if chance.one_in(3) else chance.number(1, FIRST_PC - 1)
    return chance.pick((member, [member] + [chance.below(99) for _ in range(chance.below(5))]))


def config_case(chance):
    """ConfigError, or settings that survive being written to a file."""
    values = config_values(chance)
    try:
        config = Config(values)
    except ConfigError as error:
        assert len(str(error)) > 10
        return "no"
    told = settings_of(config)
    assert settings_of(Config(json.loads(json.dumps(values)))) == told
    return repr([(name, type(value).__name__) for name, value in told])


def settings_of(config):
    """[(name, value)] of all that a Config says."""
    told = []
    for name in sorted(dir(config)):
        value = getattr(config, name)
        if name[0] == "_" or callable(value):
            continue
        if hasattr(value, "members"):
            value = value.members
            assert membership.decode(membership.Configuration(value).encode()).members == value
        elif name == "settings":
            value = [(n, getattr(value, n)) for n in sorted(dir(value)) if n[0] != "_"]
        told.append((name, value))
    return told


def accepted_config_case(chance):
    """A board can be made of every config of a node that is accepted."""
    try:
        config = Config(config_values(chance))
    except ConfigError:
        return "no"
    if config.role == "node":
        plate = MemoryPlate(chance.below(1 << 30))
        new_driver(config, Radio(), MemoryStore(), plate, lambda: 0, chance).step()
    return config.role


def collector_config_case(chance):
    """What a collector is told can be given to a socket."""
    values = {"role": "collector"}
    for name in ("channel", "udp_host", "udp_port"):
        if chance.one_in(2):
            values[name] = anything(chance)
    try:
        config = Config(values)
    except ConfigError:
        return "no"
    assert isinstance(config.udp_host, str), "a host is text"
    return "yes"


# The journal.


class WildJournal(Journal):
    """Notes records of any type and payload."""

    def record(self, kind, payload):
        self._buf[self._payload_at : self._payload_at + len(payload)] = payload
        self._append(kind, len(payload))

    @classmethod
    def measure(cls):
        """Learn where a payload begins in a record."""
        store = MemoryStore()
        journal = cls(store)
        journal.recover()
        journal.epoch(0x2A2B2C2D)
        journal.sync()
        cls._payload_at = store.image.find(b"\x2d\x2c\x2b\x2a")


WildJournal.measure()


class WatchedStore(MemoryStore):
    """One that knows where each record in it ends."""

    def __init__(self):
        super().__init__()
        self.ends = [0]

    def append(self, record, sequence):
        super().append(record, sequence)
        self.ends.append(self.ends[-1] + len(record))

    def begin(self):
        super().begin()
        self.ends = [0]


def journal_image(chance, wild=False):
    """(image, what is in it) of a journal with random but lawful notes; some `wild` ones, too."""
    store = WatchedStore()
    journal = WildJournal(store)
    journal.recover()
    known = {"identity": None, "epoch": 0, "term": 0, "vote": 0, "snapshot": None, "whole": 0}
    log = Log()
    for _ in range(chance.below(12)):
        how = chance.below(7)
        if how == 0:
            known["epoch"] += 1
            journal.epoch(known["epoch"])
        elif how == 1:
            known["term"] += chance.below(3)
            known["vote"] = chance.below(1 << 24)
            journal.hard_state(known["term"], known["vote"])
        elif how == 2:
            known["identity"] = (1, chance.number(1, 65535), chance.number(0, (1 << 30) - 1))
            journal.identity(*known["identity"])
        elif how < 6:
            entry = (known["term"], chance.below(3), chance.bytes(chance.below(9)))
            if len(log) and chance.one_in(4):
                log.truncate(log.base_index + 1 + chance.below(len(log)))
            journal.entry(log.append(entry), entry)
        elif log.last_index and known["identity"]:
            index = max(1, log.base_index + chance.below(len(log) + 1))
            known["snapshot"] = (index, log.term_at(index), chance.bytes(chance.below(500)))
            log.compact(index)
            journal.rewrite(known["term"], known["vote"], Snapshot(*known["snapshot"]), log)
            known["whole"] = len(store.image)
        if wild and chance.one_in(4):
            payload = chance.bytes(chance.pick((0, 1, 4, 5, 7, 8, 9, 12, 13, 40)))
            if chance.one_in(2):
                # Small numbers, so that some of them are plausible.
                payload = bytes([b & 3 if i % 4 == 0 else 0 for i, b in enumerate(payload)])
            journal.record(chance.below(8), payload)
    journal.sync()
    known["ends"] = store.ends
    known["entries"] = [log.entry(i) for i in range(log.base_index + 1, log.last_index + 1)]
    return bytes(store.image), known


def found_in(store):
    """What recovery finds, as a tuple; JournalDamaged passes."""
    found = Journal(store).recover()
    snapshot = found.snapshot
    if snapshot is not None:
        assert isinstance(snapshot.image, bytes)
        snapshot = (snapshot.index, snapshot.term, snapshot.image)
    return found.identity, found.term, found.vote, found.epoch, snapshot, found.entries


def journal_case(chance):
    """JournalDamaged, or what was noted: all of it, or without the last records if it was cut."""
    image, known = journal_image(chance)
    original = image
    wrong = chance.below(4)
    if wrong == 1:
        # What was rewritten came by one atomic step: a cut is behind it.
        whole = known["whole"]
        image = image[: whole + chance.below(len(image) - whole + 1)]
    elif wrong == 2:
        how = chance.below(4)
        image = chance.damaged(image) if how > 1 else chance.bytes(chance.below(80))
    elif wrong == 3:
        image = without_a_record(chance, image, known["ends"])
    store = MemoryStore(image)
    try:
        found = found_in(store)
    except JournalDamaged as error:
        assert len(str(error)) > 10
        assert wrong > 1, "a cut is no damage"
        return "damaged"
    assert wrong != 3 or len(known["ends"]) < 3, "a record is missing"
    if wrong == 2:
        assert found in prefixes(original, known["ends"]), "other contents"
    if not wrong:
        names = ("identity", "term", "vote", "epoch", "snapshot", "entries")
        assert found == tuple([known[name] for name in names])
    return recovered(store, found)


def prefixes(image, ends):
    """What is found in `image` up to the end of each record."""
    found = []
    for end in ends:
        try:
            found.append(found_in(MemoryStore(image[:end])))
        except JournalDamaged:
            pass  # in the middle of a snapshot
    return found


def without_a_record(chance, image, ends):
    """`image` that lacks one record, but for the last one."""
    if len(ends) < 3:
        return image
    at = chance.below(len(ends) - 2)
    return image[: ends[at]] + image[ends[at + 1] :]


def recovered(store, found):
    """What was found once is found again, and can be added to and rewritten."""
    identity, term, vote, epoch, snapshot, entries = found
    assert found_in(MemoryStore(store.image)) == found
    store = MemoryStore(store.image)
    journal = Journal(store)
    journal.recover()
    journal.hard_state(7, 3)
    journal.sync()
    assert found_in(MemoryStore(store.image)) == (identity, 7, 3, epoch, snapshot, entries)
    if snapshot is not None and identity is not None:
        log = Log()
        log.restart(snapshot[0], snapshot[1])
        for entry in entries:
            log.append(entry)
        journal.rewrite(term, vote, Snapshot(*snapshot), log)
        assert found_in(MemoryStore(store.image)) == found
    return "%d" % crc32(repr((identity, term, vote, epoch, entries)).encode())


def wild_journal_case(chance):
    """Records that are whole, but of no type or size that we write: JournalDamaged, or readable."""
    store = MemoryStore(journal_image(chance, wild=True)[0])
    try:
        found = found_in(store)
    except JournalDamaged:
        return "damaged"
    return recovered(store, found)


# State machines.


def commands_of(module, chance):
    """Some commands that the functions *_command of `module` make, whatever they want."""
    made = []
    for name in sorted(dir(module)):
        if not name.endswith("_command") or name[0] == "_":
            continue
        for _ in range(6):
            for count in (1, 2, 3):
                arguments = [some_argument(chance) for _ in range(count)]
                try:
                    made.append(getattr(module, name)(*arguments))
                except (TypeError, ValueError):
                    pass
    return made or [b""]


def some_argument(chance):
    how = chance.below(6)
    if how < 2:
        return chance.below(6)
    if how == 2:
        most = (1 << 31) - 1
        return most if chance.one_in(4) else chance.number(-most - 1, most)
    if how == 3:
        return chance.pick((b"\x00\xff", None, "x" * 40, "\u00e9"))
    return "key %d" % chance.below(6)


def some_machine(chance, name):
    """A state machine that has applied something."""
    machine = new_machine(name)
    for command in commands_of(MODULES[name], chance):
        machine.apply(command)
    return machine


def images_case(chance):
    """A state machine refuses an image and stays as it was, or holds that very image."""
    name = chance.pick(sorted(MODULES))
    machine = some_machine(chance, name)
    how = chance.below(5)
    if how == 0:
        image = chance.bytes(chance.below(120))
    elif how == 1:
        image = chance.damaged(machine.snapshot())
    else:
        image = some_machine(chance, name).snapshot()
    if how == 3:
        machine = new_machine(name, LITTLE_ROOM[name])
    elif how == 4:
        image += some_machine(chance, name).snapshot()
    return taken_over(machine, image, how != 2)


def taken_over(machine, image, may_refuse):
    before = machine.snapshot()
    try:
        machine.restore(image)
    except ValueError as error:
        assert may_refuse and len(str(error)) > 10
        assert machine.snapshot() == before
        return "no"
    assert machine.snapshot() == image
    assert_sound(machine)
    return "%d" % machine.digest()


def assert_sound(machine):
    """What it holds can be read, and keeps to its limits."""
    assert 0 <= machine.digest() < 1 << 30
    if hasattr(machine, "keys"):
        keys = machine.keys()
        assert len(keys) <= machine.keys_max and len(machine.snapshot()) <= machine.bytes_max
        for key in keys:
            assert machine.get(key) is not None


def commands_case(chance):
    """No command raises; one that is refused changes nothing; the state can always be restored."""
    name = chance.pick(sorted(MODULES))
    limits = chance.pick((None, LITTLE_ROOM[name]))
    machine = new_machine(name, limits)
    told = []
    for command in commands_of(MODULES[name], chance):
        if chance.one_in(2):
            command = chance.damaged(command)
        told.append(applied(machine, command))
        other = new_machine(name, limits)
        other.restore(machine.snapshot())
        assert other.digest() == machine.digest() and other.snapshot() == machine.snapshot()
    return "%d" % crc32(bytes(told), machine.digest())


def applied(machine, command):
    """The code of one command."""
    before = machine.snapshot()
    checked = machine.check(command)
    code = machine.apply(command)
    assert checked in OUTCOME_TEXTS and code in OUTCOME_TEXTS
    assert -(1 << 31) <= machine.result < 1 << 31
    assert code != COMMITTED or checked == COMMITTED
    assert code == COMMITTED or machine.snapshot() == before
    assert_sound(machine)
    return code


# What else is in a snapshot: the configuration, and the sessions.


def some_configuration(chance):
    members = []
    for member in range(1, 1 + chance.below(6)):
        if chance.below(4):
            role = chance.pick((REMOVED, LEARNER, VOTER, VOTER))
            members.append((member, 1 + chance.below(3), role, chance.below(1 << 30)))
    return membership.Configuration(members)


def configuration_case(chance):
    """`decode` takes what `encode` wrote, and nothing else."""
    data = some_configuration(chance).encode()
    how = chance.below(3)
    if how:
        data = chance.damaged(data) if how == 1 else chance.bytes(chance.below(40))
    try:
        found = membership.decode(data)
    except ValueError:
        assert how and not membership.is_configuration(data)
        return "no"
    assert membership.is_configuration(data) and found.encode() == data
    assert all([member[3] < COUNTER_LIMIT for member in found.members])
    return repr((found.members, found.voters, found.learners, found.majority))


def some_sessions(chance, name):
    """A table of sessions after entries of any kind."""
    table = Sessions(new_machine(name))
    for index in range(1, 1 + chance.below(30)):
        kind = OPEN_SESSION
        data = client_name(chance.below(256), chance.below(3), chance.below(3))
        if chance.below(3):
            kind = SESSION_COMMAND
            numbers = (chance.pick(table.ids() or [1]), 1 + chance.below(40))
            data = head(*numbers, chance.below(WINDOW + 2))
            data += chance.pick(commands_of(MODULES[name], chance))
        if chance.one_in(8):
            data = chance.damaged(data)
        code = table.apply(index, chance.pick((kind, kind, kind, chance.below(16))), data)
        assert code is None or code in OUTCOME_TEXTS
    return table


def sessions_case(chance):
    """ValueError, or a table that gives the same image again and goes on working."""
    name = chance.pick(sorted(MODULES))
    filled = some_sessions(chance, name)
    image = filled.snapshot()
    how = chance.below(3)
    if how:
        image = chance.damaged(image) if how == 1 else chance.bytes(chance.below(80))
    table = Sessions(new_machine(name))
    try:
        table.take_over(table.read(image))
    except ValueError:
        assert how
        return "no"
    if not how:
        assert table.snapshot() == image and table.ids() == filled.ids()
        for number in table.ids():
            for sequence in range(60):
                outcome = filled.outcome(number, sequence)
                assert table.outcome(number, sequence) == (outcome if outcome[0] else (0, 0))
    kept = table.snapshot()
    table.take_over(table.read(kept))
    assert table.snapshot() == kept
    for index, number in enumerate(table.ids()):
        for sequence in (1, 5, 40):
            data = head(number & 0x3FFFFFFF, sequence, 0)
            assert table.apply(1000 + index, SESSION_COMMAND, data + b"?") in range(256)
    return "%d" % crc32(table.snapshot())


def snapshot_case(chance):
    """ValueError and nothing is changed, or a snapshot that can be packed and taken over again."""
    name = chance.pick(sorted(MODULES))
    raft = some_raft(chance, name)
    image = pack(some_raft(chance, name)).image
    how = chance.below(3)
    if how:
        image = chance.damaged(image) if how == 1 else chance.bytes(chance.below(80))
    before = pack(raft).image
    taken = Snapshot(0, 0, image)
    try:
        unpack(raft, taken)
    except ValueError as error:
        assert how and len(str(error)) > 10
        assert pack(raft).image == before
        return "no"
    raft.snapshot = taken
    again = pack(raft)
    assert how or again.image == image
    unpack(raft, again)
    assert pack(raft).image == again.image
    return "%d" % crc32(again.image)


def some_raft(chance, name):
    """A core with something in its state."""
    first = some_configuration(chance)
    raft = Raft(1, 1, first, new_machine(name), Settings(), chance.below)
    raft.sessions = some_sessions(chance, name)
    return raft


# Whole boards.


class Radio:
    """What a driver needs of one: the frames in `heard` come in, `said` went out."""

    def __init__(self):
        self.heard = []
        self.said = []
        self.frame = bytearray(wire.FRAME_MAX)
        self.rssi = -50

    def receive(self):
        if not self.heard:
            return 0
        frame = self.heard.pop(0)
        self.frame[: len(frame)] = frame
        return len(frame)

    def send(self, view):
        self.said.append(bytes(view))
        return True


class Boards:
    """A few drivers that hear each other, and among them authentic frames of any kind: of members,
    of one that is none, of PCs, of nobody."""

    def __init__(self, chance):
        self.chance = chance
        self.ids = list(range(1, 1 + chance.pick((1, 2, 3, 3, 3, 5))))
        name = chance.pick(sorted(MODULES))
        self.module = MODULES[name]
        self.values = {"machine": name}
        for setting in config_file._SETTINGS:
            if chance.one_in(2):
                self.values[setting] = chance.number(0, 3000)
                try:
                    self.config(1)
                except ConfigError:
                    del self.values[setting]
        self.sources = self.ids + [1 + len(self.ids), FIRST_PC, FIRST_PC + 1, NOBODY]
        self.frames = Frames(chance, cluster_hash(CLUSTER), KEY)
        self.now_ms = chance.below(1000)
        self.told = 0  # a check sum of all that they said
        self.stores = {}
        self.plates = {me: MemoryPlate(me) for me in self.ids}
        self.radios = {}
        self.drivers = {}
        for me in self.ids:
            self.start(me, MemoryStore())

    def config(self, me):
        values = node_values(me, self.ids)
        values.update(self.values)
        return Config(values)

    def start(self, me, store):
        """Power on board `me`, with what is in `store`."""
        self.stores[me] = store
        self.radios[me] = Radio()
        self.drivers[me] = new_driver(
            self.config(me), self.radios[me], store, self.plates[me], self.clock_ms, self.chance
        )

    def clock_ms(self):
        return self.now_ms

    def restart(self, me):
        """A power cut."""
        self.start(me, MemoryStore(self.stores[me].image))

    def turn(self):
        """A little time, a few frames that nobody sent so, a step of each."""
        chance = self.chance
        self.now_ms += chance.pick((0, 1, 1, 5, 20, 60, 200))
        asked = chance.pick(self.ids)
        driver = self.drivers[asked]
        if chance.one_in(10):
            self.learn_data(driver.raft)
        for _ in range(chance.below(4)):
            self.disturb(chance.pick(self.ids))
        if driver.birth.takes_part():
            self.ask(driver)
        for me in self.ids:
            self.step(me)

    def accident(self):
        """Seldom, a board loses its power, more seldom its flash (but for its nameplate)."""
        me = self.chance.pick(self.ids)
        if self.chance.one_in(50):
            self.restart(me)
        elif self.chance.one_in(200):
            self.start(me, MemoryStore())

    def ask(self, driver):
        """What the board's own app wants."""
        chance = self.chance
        if self.frames.data and chance.one_in(5):
            driver.propose(chance.pick(self.frames.data)[: wire.COMMAND_MAX], self.answered)
        if chance.one_in(10):
            driver.read(self.answered)

    def learn_data(self, raft):
        """What may stand in an entry or a snapshot: commands, with and without a session."""
        chance = self.chance
        data = commands_of(self.module, chance)
        for number in raft.sessions.ids():
            numbers = (number, 1 + chance.below(20), chance.below(3))
            data.append(head(*numbers) + chance.pick(data))
        data.append(client_name(FIRST_PC, 1, 1))
        data.append(raft.configuration.encode())
        if raft.applied_index:
            data.append(pack(raft).image)
        self.frames.data = data

    def disturb(self, dst):
        """A frame that nobody sent so, to board `dst`."""
        chance = self.chance
        given = {"src": chance.pick(self.sources), "dst": chance.pick((dst, dst, EVERYONE))}
        if chance.one_in(8):
            given["dst"] = chance.below(256)
        make = self.frames.changed if chance.one_in(2) else self.frames.some
        self.radios[dst].heard.append(make(**given))

    def step(self, me):
        driver = self.drivers[me]
        driver.step()
        raft = driver.raft
        assert raft.applied_index == raft.commit_index <= raft.log.last_index
        settings = raft.settings
        assert raft.role == LEADER or raft.log.size <= settings.log_bytes_max
        assert raft.log.last_index - raft.commit_index <= settings.waiting_max
        assert driver.codec.drops["long"] == 0, "it could not say what it wanted to"
        said, self.radios[me].said = self.radios[me].said, []
        for frame in said:
            assert codec().decode(frame, len(frame), Message()) is None, "nobody can read it"
            self.frames.learn(frame)
            self.told = crc32(frame, self.told)
            for other in self.ids:
                if other != me and self.chance.below(8):
                    self.radios[other].heard.append(frame)

    def answered(self, code, *_):
        assert code in OUTCOME_TEXTS
        self.told = crc32(bytes([code]), self.told)


def driver_case(chance):
    """A board takes all authentic frames, never raises, and says only what can be understood."""
    boards = Boards(chance)
    for _ in range(60):
        boards.turn()
        boards.accident()
    for me in boards.ids:
        boards.restart(me)
        boards.step(me)
    return "%d" % (boards.told & 0x3FFFFFFF)


TARGETS = {
    "frames": frames_case,
    "envelope": envelope_case,
    "config": config_case,
    "accepted config": accepted_config_case,
    "collector config": collector_config_case,
    "journal": journal_case,
    "wild journal": wild_journal_case,
    "images": images_case,
    "commands": commands_case,
    "configuration": configuration_case,
    "sessions": sessions_case,
    "snapshot": snapshot_case,
    "driver": driver_case,
}


def run_case(name, number):
    """What case `number` of target `name` returns."""
    return TARGETS[name](Chance(number))
