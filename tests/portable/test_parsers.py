"""What takes in bytes takes whatever comes, and remembers a bounded part of it."""

import gc

from raft.auth import cluster_hash
from raft.message import Message
from raft.wire import TAG_SIZE
from tests.portable.chance import Chance, Frames
from tests.portable.memory_store import MemoryStore
from tests.portable.targets import CLUSTER, KEY, TARGETS, Boards, codec, run_case

MICROPYTHON = hasattr(gc, "mem_alloc")
# CPython counts a few objects of its own: a number that grew over 256, a list that made room.
NOISE = 0 if MICROPYTHON else 512


def hold(*names, cases):
    for name in names:
        for number in range(cases):
            try:
                run_case(name, number)
            except Exception:
                print("case %d of %s" % (number, name))
                raise


def test_parsers_hold():
    quick = [name for name in TARGETS if name not in ("sessions", "snapshot", "driver")]
    hold(*sorted(quick), cases=300)


def test_tables_and_snapshots_hold():
    hold("sessions", "snapshot", cases=60)


def test_boards_hold():
    hold("driver", cases=40)


def growth(make, times):
    """Bytes of the heap that the function made by `make()` takes from its `times`-th call to its
    2 * `times`-th."""
    if MICROPYTHON:
        used = gc.mem_alloc
    else:
        import tracemalloc

        tracemalloc.start()  # first: what is there already is not counted, but would be replaced

        def used():
            return tracemalloc.get_traced_memory()[0]

    turn = make()
    for _ in range(times):
        turn()
    gc.collect()
    before = used()
    for _ in range(times):
        turn()
    gc.collect()
    after = used()
    if not MICROPYTHON:
        tracemalloc.stop()
    return after - before


def test_a_codec_remembers_no_frame():
    chance = Chance(1)
    frames = Frames(chance, cluster_hash(CLUSTER), KEY)
    heard = []
    for _ in range(40):
        frame = frames.some()
        heard += [frame, chance.damaged(frame), frames.sealed(chance.damaged(frame[:-TAG_SIZE]))]
    readers = []

    def make():
        reader, message = codec(), Message()
        readers.append(reader)

        def turn():
            for frame in heard:
                reader.decode(frame, len(frame), message)

        return turn

    assert growth(make, 5) <= NOISE
    assert sum(readers[0].drops.values()) > 100


class Sink(MemoryStore):
    """A flash that is not the heap's business."""

    def append(self, record, sequence):
        pass

    def sync(self):
        pass

    def finish(self):
        pass


class Watched(Boards):
    """Boards that nothing of what they wrote comes back to. Databases and logs stay small."""

    def config(self, me):
        self.values.update({"keys_max": 4, "bytes_max": 100, "log_bytes": 1024})
        self.values.update({"snapshot_entries": 16, "keep_entries": 0})
        return Boards.config(self, me)

    def start(self, me, store):
        Boards.start(self, me, Sink())

    def rest(self):
        """Nobody speaks until what is under way has come to an end."""
        for _ in range(60):
            self.now_ms += 100
            for me in self.ids:
                self.drivers[me].step()
                self.radios[me].said = []
                self.radios[me].heard = []


def test_boards_remember_a_bounded_part_of_what_they_hear():
    turns = 1000

    def make():
        boards = Watched(Chance(11))

        def turn():
            for _ in range(turns):
                boards.turn()
            boards.rest()

        return turn

    # Each turn brings some ten frames: 50 bytes and more, if one of them were remembered. Sessions,
    # logs, last questions and the like vary by some kilobytes a board.
    assert growth(make, 1) < 20 * turns


def test_growth_is_seen():
    kept = []
    assert growth(lambda: lambda: kept.append(bytes(64)), 50) > 50 * 64
