"""What takes in bytes on a PC, each with a case: as tests/portable/targets.py, on CPython only."""

import tempfile
from pathlib import Path

from collector import envelope
from raft import intlist
from raft.auth import cluster_hash
from raft.message import FIRST_PC, LAST_PC, ORDER_TEXTS
from tests.portable.chance import Frames
from tests.portable.targets import (
    CLUSTER,
    KEY,
    commands_of,
    frames_datagram,
    some_configuration,
    some_datagram,
    some_machine,
)
from tools.cluster import Cluster, ClusterError
from tools.pc import Station

BOARDS = (1, 2, 3)


class Pc:
    """A station among datagrams of any kind, and frames of boards that answer it, or seem to."""

    sources = 256  # ids that somebody may have

    def __init__(self, chance):
        self.chance = chance
        self.station = Station(CLUSTER, KEY, chance.bytes)
        self.frames = Frames(chance, cluster_hash(CLUSTER), KEY)
        self.frames.data = commands_of(intlist, chance) + [some_configuration(chance).encode()]
        self.frames.data += [some_machine(chance, "intlist").snapshot(), bytes(20)]
        self.now_ms = 0
        self.sent = 0

    def turn(self):
        """A little time, what the user asks, a few datagrams."""
        chance, station = self.chance, self.station
        self.now_ms += chance.pick((0, 1, 20, 100, 300, 2000))
        if chance.one_in(5):
            self.ask(chance.pick(BOARDS))
        for _ in range(chance.below(4)):
            station.datagram(self.datagram(), self.now_ms)
        station.tick(self.now_ms)
        for data in station.outgoing():
            self.sent += 1
            assert envelope.kind_of(data) in (envelope.SUBSCRIBE, envelope.SEND)
            if data[3] == envelope.SEND:
                frame = data[envelope.HEAD_SIZE :]
                assert envelope.frame_length_ok(len(frame))
                self.frames.learn(frame)
        station.heard()
        for command in station.finished():
            assert command.finished and command.text
            if chance.one_in(2):
                try:
                    station.retry(command, chance.pick(BOARDS), self.now_ms)
                except ValueError:
                    pass
        assert FIRST_PC <= station.id <= LAST_PC

    def ask(self, node):
        chance, station = self.chance, self.station
        how = chance.below(4)
        if how == 0:
            station.set(node, chance.below(5), chance.below(100), self.now_ms)
        elif how == 1:
            station.add(node, chance.below(5), 1, self.now_ms)
        elif how == 2:
            station.read(node, self.now_ms, chance.below(3), chance.below(2))
        else:
            order = chance.pick(sorted(ORDER_TEXTS))
            station.order(node, order, chance.pick(BOARDS), self.now_ms)

    def datagram(self):
        chance = self.chance
        if chance.one_in(4):
            return some_datagram(chance)
        frames = []
        for _ in range(1 + chance.below(3)):
            given = {"src": chance.pick(BOARDS), "dst": self.station.id}
            if chance.one_in(8):
                given = {"src": chance.below(self.sources)}
            make = self.frames.changed if chance.one_in(2) else self.frames.some
            frames.append(make(**given))
        data = frames_datagram(chance, frames)
        return chance.damaged(data) if chance.one_in(8) else data


def station_case(chance):
    """A PC takes every datagram, and never raises."""
    pc = Pc(chance)
    for _ in range(60):
        pc.turn()
    return "%d" % pc.sent


def some_toml(chance):
    """A cluster file that is right, with up to three lines changed."""
    values = {
        "name": '"%s"' % CLUSTER,
        "key": '"%s"' % KEY.hex(),
        "nodes": "[1, 2, 3]",
        "size": "5",
        "channel": "1",
        "host": '"127.0.0.1"',
        "port": "5310",
    }
    for _ in range(chance.below(4)):
        name = chance.pick(sorted(values))
        other = (
            '"x"',
            "0",
            "-1",
            "[]",
            "[[1]]",
            "{}",
            "true",
            "1.5",
            "1979-05-27",
            "''",
            '"a\\"b"',
        )
        values[name] = chance.pick(other)
    if chance.one_in(4):
        del values[chance.pick(sorted(values))]
    lines = ["%s = %s" % (name, value) for name, value in values.items()]
    text = "\n".join(lines).encode()
    return chance.damaged(text) if chance.one_in(2) else text


def cluster_file_case(chance):
    """ClusterError, or a cluster."""
    loaded = loaded_cluster(some_toml(chance))
    return "no" if loaded is None else "yes"


def loaded_cluster(data):
    """The Cluster in a file with `data` (bytes), None if it is none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "cluster.toml")
        path.write_bytes(data)
        try:
            return Cluster.load(path)
        except ClusterError as error:
            assert len(str(error)) > 10 and "\n" not in str(error)
            return None


TARGETS = {"station": station_case, "cluster file": cluster_file_case}
