"""Five virtual boards over UDP: partition and heal, freeze, clear errors at the edges."""

import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import time

import pytest

from collector import envelope
from firmware.ringstore import RingStore
from raft.keyvalue import KeyValue, set_command
from raft.message import (
    LEARNER,
    LEASE,
    MEMBERS,
    ORDER_PROMOTE,
    ORDER_REMOVE,
    REMOVED,
    SNAPSHOT,
    VOTER,
)
from tests.portable.memory_flash import MemoryFlash
from tools.demo import ROOT, VirtualCluster, firmware_files
from tools.link import Link, LinkError
from tools.pc import Station
from tools.virtual import image, nor

RAFTNOW = [sys.executable, "-m", "tools.cli"]


def link_to(demo, key=None):
    cluster = demo.cluster
    return Link(cluster.host, cluster.port, cluster.name, key or cluster.key)


@pytest.fixture(scope="module")
def demo():
    with VirtualCluster("test") as running:
        yield running


@pytest.fixture
def link(demo):
    demo.boards.air.heal()
    with link_to(demo) as link:
        link.wait_leader(20)
        yield link


def committed(link, node, index, value):
    for _ in range(4):
        command = link.set(node, index, value, 10)
        if command.state == "committed":
            return command
    raise AssertionError(command.text)


def wait_equal(link, demo, values):
    def equal():
        databases = link.databases()
        return all(n in databases and databases[n][1] == values for n in demo.cluster.nodes)

    assert link.run(equal, 20), link.databases()


def reset_values(link, demo, values):
    for index, value in enumerate(values):
        committed(link, link.wait_leader(20), index, value)
    wait_equal(link, demo, values)


def test_a_minority_is_cut_off_and_heals(demo, link):
    reset_values(link, demo, [1, 2, 3, 4, 5])
    leader = link.wait_leader(20)
    follower = next(n for n in demo.cluster.nodes if n != leader)
    majority = [n for n in demo.cluster.nodes if n not in (leader, follower)]
    term_before = link.station.leader[0]
    board = demo.board
    # The collector hears both sides, and passes nothing on between them.
    demo.boards.air.partition(
        [
            [board(leader), board(follower), "collector"],
            [*(board(n) for n in majority), "collector"],
        ]
    )
    assert link.run(lambda: link.station.leader[1] in majority, 20)
    assert link.station.leader[0] > term_before
    assert committed(link, link.station.leader[1], 0, 100).log_term > term_before
    for node in (leader, follower):
        refused = link.set(node, 1, 666, 10)
        assert refused.state in ("unknown", "rejected"), refused.text
    demo.boards.air.heal()
    wait_equal(link, demo, [100, 2, 3, 4, 5])
    # The uncommitted entry is gone: it never shows up later.
    committed(link, link.wait_leader(20), 2, 7)
    wait_equal(link, demo, [100, 2, 7, 4, 5])


def test_a_frozen_leader_is_replaced_and_comes_back_as_follower(demo, link):
    reset_values(link, demo, [1, 1, 1, 1, 1])
    leader = link.wait_leader(20)
    demo.boards.freeze(demo.board(leader))
    new = link.wait_leader(20, other_than=leader)
    committed(link, new, 3, 33)
    demo.boards.thaw(demo.board(leader))
    wait_equal(link, demo, [1, 1, 1, 33, 1])


def test_leadership_is_handed_over_on_order(demo, link):
    reset_values(link, demo, [5, 4, 3, 2, 1])
    leader = link.wait_leader(20)
    target = next(n for n in demo.cluster.nodes if n != leader)
    link.transfer(target, 10)
    assert link.wait_leader(10) == target
    committed(link, leader, 0, 50)
    with pytest.raises(LinkError, match="no voter"):
        link.transfer(99, 10)
    wait_equal(link, demo, [50, 4, 3, 2, 1])


def test_a_board_that_was_off_for_long_gets_a_snapshot(demo, link):
    """More writes than a log holds, while one board has no power."""
    leader = link.wait_leader(20)
    sleeper = next(n for n in demo.cluster.nodes if n != leader)
    demo.boards.kill(demo.board(sleeper))
    values = [0, 0, 0, 0, 0]
    for n in range(110):
        values[n % 5] = 1000 + n
        committed(link, link.wait_leader(20), n % 5, 1000 + n)
    chunks = []

    def count(heard):
        if heard.message is not None and heard.message.type == SNAPSHOT:
            chunks.append(heard.message.dst)

    link._on_heard = count
    demo.boards.start(demo.board(sleeper))
    wait_equal(link, demo, values)
    assert sleeper in chunks
    demo.boards.restart(demo.board(sleeper))
    assert demo.boards.state(demo.board(sleeper)) == "on"
    wait_equal(link, demo, values)


def test_a_read_through_any_board_is_no_older_than_it_was_asked_for(demo, link):
    for n in range(30):
        node = demo.cluster.nodes[n % 5]
        committed(link, node, n % 5, 2000 + n)
        reading = link.read(demo.cluster.nodes[(n * 3 + 1) % 5], 10)
        assert reading.state == "committed" and reading.values[n % 5] == 2000 + n, reading


def test_a_cut_off_board_reads_nothing_rather_than_something_old(demo, link):
    leader = link.wait_leader(20)
    board = demo.board
    others = [board(n) for n in demo.cluster.nodes if n != leader]
    demo.boards.air.partition([[board(leader), "collector"], [*others, "collector"]])
    assert link.run(lambda: link.station.leader[1] != leader, 20)
    reading = link.read(leader, 10)
    assert reading.values is None and "no leader" in reading.reason


def test_writes_go_on_over_a_lossy_channel(demo, link):
    reset_values(link, demo, [0, 0, 0, 0, 0])
    demo.boards.air.set_loss(0.1)
    try:
        for index in range(5):
            committed(link, demo.cluster.nodes[index], index, 50 + index)
    finally:
        demo.boards.air.set_loss(0)
    wait_equal(link, demo, [50, 51, 52, 53, 54])


def test_a_wrong_index_is_refused_by_the_leader(demo, link):
    command = link.set(demo.cluster.nodes[0], 5, 1, 10)
    assert command.state == "rejected" and "outside the list" in command.text


def test_a_value_outside_32_bits_is_refused_with_a_sentence(demo, link):
    with pytest.raises(ValueError, match="does not fit into 32 bits"):
        link.set(1, 0, 1 << 31, 10)


def test_a_wrong_key_writes_nothing_and_stops_nothing(demo, link):
    reset_values(link, demo, [9, 9, 9, 9, 9])
    with link_to(demo, key=bytes(32)) as stranger:
        with pytest.raises(LinkError, match="wrong key"):
            stranger.wait_leader(3)
        assert stranger.set(1, 0, 666, 6).state == "rejected"
    assert link.wait_leader(5)
    wait_equal(link, demo, [9, 9, 9, 9, 9])


FOREIGNER = """
import network, time, os
from espnow import ESPNow
wlan = network.WLAN(network.STA_IF)
wlan.active(True)
wlan.config(channel=1)
radio = ESPNow()
radio.active(True)
radio.add_peer(b"\\xff" * 6)
print("foreigner up")
while True:
    for size in (300, 1, 250, 1470, 40, 256, 28, 251):
        radio.send(b"\\xff" * 6, os.urandom(size % 250 or 250) + bytes(size - (size % 250 or 250)))
        time.sleep_ms(5)
"""


def test_a_foreign_board_with_long_and_random_frames_stops_nobody(demo, link):
    """Frames over 250 bytes poison the receive ring of every board; each one cures its own."""
    reset_values(link, demo, [1, 2, 3, 4, 5])
    resets = link.station.collector_counts["resets"]
    demo.boards.add("foreigner", files={"/main.py": FOREIGNER})
    demo.boards.start("foreigner")
    try:
        for index in range(5):
            committed(link, demo.cluster.nodes[index], index, 70 + index)
        assert link.run(lambda: link.station.collector_counts["resets"] > resets + 3, 20)
        assert link.station.codec.drops["version"] + link.station.codec.drops["short"] > 0
    finally:
        demo.boards.kill("foreigner")
    wait_equal(link, demo, [70, 71, 72, 73, 74])


def members(link, node):
    """{id: (incarnation, role)} as board `node` knows them now."""
    reading = link.read(node, 10, part=MEMBERS)
    assert reading.values is not None, reading.reason
    return {member: (incarnation, role) for member, incarnation, role, _ in reading.values}


def flip_a_bit_of_the_journal(path):
    store = RingStore(MemoryFlash(image=bytearray(image.partition(path, "raft"))))
    store.find()
    with open(path, "r+b") as flash:
        flash.seek(nor.RAFT[-1][2] + store._chain[0] * nor.SECTOR + 45)
        byte = flash.read(1)[0]
        flash.seek(-1, 1)
        flash.write(bytes([byte ^ 0x10]))


def test_a_board_with_a_damaged_journal_comes_back_as_another_one(demo, link):
    """What a power cut cannot explain: the board may have forgotten a vote. It gives none until the
    leader has let it in, as a learner; an order makes it a voter again."""
    reset_values(link, demo, [3, 3, 3, 3, 3])
    leader = link.wait_leader(20)
    victim = next(n for n in demo.cluster.nodes if n != leader)
    board = demo.board(victim)
    assert members(link, victim)[victim] == (1, VOTER)
    demo.boards.kill(board)
    flip_a_bit_of_the_journal(demo.boards.image(board))
    begin = demo.boards.log(board).stat().st_size
    demo.boards.start(board)
    demo.boards.wait_for(board, "damaged", 10, begin)
    assert link.run(lambda: members(link, leader)[victim] == (2, LEARNER), 20)
    committed(link, leader, 0, 30)
    wait_equal(link, demo, [30, 3, 3, 3, 3])
    link.order(ORDER_PROMOTE, victim, 10)
    assert link.run(lambda: members(link, victim)[victim] == (2, VOTER), 20)
    demo.boards.restart(board)
    wait_equal(link, demo, [30, 3, 3, 3, 3])
    assert members(link, victim)[victim] == (2, VOTER), "its new journal knows who it is"


def test_a_dead_board_is_removed_and_stands_by_when_it_returns(demo, link):
    leader = link.wait_leader(20)
    victim = next(n for n in demo.cluster.nodes if n != leader)
    incarnation = members(link, leader)[victim][0]
    demo.boards.kill(demo.board(victim))
    link.order(ORDER_REMOVE, victim, 10)
    assert link.run(lambda: members(link, leader)[victim] == (incarnation, REMOVED), 20)
    demo.boards.start(demo.board(victim))
    assert link.run(lambda: members(link, leader)[victim] == (incarnation, LEARNER), 20)
    wait_equal(link, demo, link.read(leader, 10).values)
    link.order(ORDER_PROMOTE, victim, 10)
    assert link.run(lambda: members(link, leader)[victim] == (incarnation, VOTER), 20)
    with pytest.raises(LinkError, match="not be fit"):
        link.order(ORDER_PROMOTE, victim, 10)


def test_a_board_joins_a_running_cluster(demo, link):
    config = dict(demo.cluster.node_config(9), voters=[])
    demo.boards.add("newcomer", config, files=firmware_files())
    demo.boards.start("newcomer")
    leader = link.wait_leader(20)
    assert link.run(lambda: members(link, leader).get(9) == (1, LEARNER), 20)
    values = link.read(leader, 10).values
    assert link.run(lambda: link.databases().get(9, (0, None))[1] == values, 20)
    demo.boards.kill("newcomer")
    link.order(ORDER_REMOVE, 9, 10)


def test_a_board_with_keys_and_values(demo):
    """The state machine is a setting; only its module is loaded."""
    settings = {"cluster": "other", "voters": [7], "machine": "keyvalue"}
    demo.boards.add("keys", dict(demo.cluster.node_config(7), **settings), files=firmware_files())
    with Link(demo.cluster.host, demo.cluster.port, "other", demo.cluster.key) as other:
        other.station = Station("other", demo.cluster.key, os.urandom, KeyValue)
        demo.boards.start("keys")
        assert other.wait_leader(20) == 7
        command = other.change(7, set_command("lamp", "on"), 10)
        assert command.state == "committed", command.text
        assert other.read(7, 10).values == {"lamp": "on"}
    demo.boards.kill("keys")


def test_a_read_by_lease_is_no_older_than_it_was_asked_for(demo, link):
    for n in range(10):
        committed(link, demo.cluster.nodes[n % 5], n % 5, 3000 + n)
        reading = link.read(demo.cluster.nodes[(n * 3 + 1) % 5], 10, level=LEASE)
        assert reading.state == "committed" and reading.values[n % 5] == 3000 + n, reading


def test_a_wrong_config_is_named_on_the_console(demo):
    config = dict(demo.cluster.node_config(1), channel=77)
    demo.boards.add("misled", config, files=firmware_files())
    demo.boards.start("misled")
    demo.boards.wait_for("misled", "channel is a whole number of 1 to 13, not 77", 10)
    demo.boards.kill("misled")


def test_a_crash_is_logged_and_the_board_restarts(demo, link):
    """A driver that raises: a traceback in crash.log, a restart, and no zombie that holds votes."""
    broken = dict(firmware_files())
    driver = broken["/firmware/driver.py"].read_text()
    broken["/firmware/driver.py"] = driver.replace(
        "    def _on_poll(self, message, now_ms):\n",
        "    def _on_poll(self, message, now_ms):\n        raise RuntimeError('planted')\n",
    )
    victim = next(n for n in demo.cluster.nodes if n != link.wait_leader(20))
    board = demo.board(victim)
    demo.boards.kill(board)
    demo.boards.write_files(board, {"/firmware/driver.py": broken["/firmware/driver.py"]})
    boots = demo.boards.boots(board)
    demo.boards.start(board)
    assert link.run(lambda: demo.boards.boots(board) >= boots + 2, 20)
    demo.boards.kill(board)
    assert b"planted" in demo.boards.read_file(board, "/crash.log")
    demo.boards.write_files(board, {"/firmware/driver.py": driver})
    demo.boards.start(board)
    committed(link, victim, 4, 44)


def test_random_datagrams_are_counted_by_the_collector(demo, link):
    chance = random.Random(7)
    before = link.station.collector_counts["bad_datagrams"]
    address = (demo.cluster.host, demo.cluster.port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
        for _ in range(200):
            noise.sendto(chance.randbytes(chance.randrange(1, 1400)), address)
            time.sleep(0.001)
        noise.sendto(envelope.send(bytes(40)), address)
        noise.settimeout(5)
        answer = noise.recv(100)
    assert envelope.kind_of(answer) == envelope.REFUSED
    assert envelope.read_refused(answer) == envelope.NOT_SUBSCRIBED
    counted = lambda: link.station.collector_counts["bad_datagrams"] - before  # noqa: E731
    assert link.run(lambda: counted() >= 100, 5), counted()
    assert committed(link, link.wait_leader(5), 4, 44)


def test_a_busy_port_is_said_in_one_line(demo):
    port = str(demo.cluster.port)
    done = subprocess.run(
        [*RAFTNOW, "demo", "--port", port], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == (
        "raftnow: UDP port %s is taken: is another demo running? "
        "End it, or choose another with --port\n" % port
    )


def test_set_and_get_on_the_command_line(demo, link, tmp_path):
    reset_values(link, demo, [0, 0, 0, 0, 0])
    file = str(tmp_path / "cluster.toml")
    demo.cluster.save(file)
    assert pathlib.Path(file).stat().st_mode & 0o777 == 0o600

    def raftnow(*arguments):
        return subprocess.run(
            [*RAFTNOW, *arguments, "--cluster", file],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )

    done = raftnow("set", "2", "2", "34")
    assert done.returncode == 0 and done.stdout.startswith("committed at index "), done
    done = raftnow("get")
    assert done.returncode == 0 and done.stdout.count("[0, 0, 34, 0, 0]") == 5, done
    done = raftnow("add", "1", "2", "-4")
    assert done.returncode == 0, done
    done = raftnow("cas", "3", "2", "30", "31")
    assert done.returncode == 0, done
    done = raftnow("cas", "3", "2", "30", "32")
    assert done.returncode == 1 and "present value is another one" in done.stdout, done
    done = raftnow("get", "--board", "4")
    assert done.returncode == 0 and '"values": [0, 0, 31, 0, 0]' in done.stdout, done
    done = raftnow("get", "--board", "2", "--lease")
    assert done.returncode == 0 and '"values": [0, 0, 31, 0, 0]' in done.stdout, done
    victim = next(n for n in demo.cluster.nodes if n != link.wait_leader(20))
    done = raftnow("cluster", "demote", str(victim))
    assert done.returncode == 0 and "make the board a learner" in done.stdout, done
    assert link.run(lambda: members(link, link.wait_leader(20))[victim][1] == LEARNER, 10)
    done = raftnow("cluster", "show")
    roles = {m: told["role"] for m, told in json.loads(done.stdout)["members"].items()}
    assert roles[str(victim)] == "learner" and list(roles.values()).count("voter") == 4, done
    done = raftnow("cluster", "promote", str(victim))
    assert done.returncode == 0, done
    assert link.run(lambda: members(link, link.wait_leader(20))[victim][1] == VOTER, 10)
    done = raftnow("cluster", "promote", "99")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done
    done = raftnow("set", "2", "99", "34")
    assert done.returncode == 1 and "outside the list" in done.stdout
    done = raftnow("set", "2", "0", "99999999999")
    assert done.returncode == 1 and "32 bits" in done.stderr
    done = raftnow("watch", "--seconds", "2")
    assert done.returncode == 0 and "leads term" in done.stdout


def test_the_demo_without_a_screen_prints_lines_and_leaves_no_process():
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [*RAFTNOW, "demo", "--port", "0", "--seconds", "4"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "leads term" in done.stdout and "Traceback" not in done.stderr
    mine = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert "virtual/demo" not in mine
