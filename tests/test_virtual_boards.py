"""Virtual boards as a whole: flash that survives what it should, boot order, power, radio faults.

Every board runs a few lines of its own here; the firmware has its own tests.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.virtual import image, nor
from tools.virtual.boards import VirtualBoardError, VirtualBoards

ROOT = Path(__file__).parent.parent
RADIO = """
import espnow, network, time
network.WLAN(network.STA_IF).active(True)
e = espnow.ESPNow()
e.config(rxbuf=8000)
e.active(True)
e.add_peer(b"\\xff" * 6)
"""


@pytest.fixture
def boards(tmp_path):
    with VirtualBoards(tmp_path, seed=1) as boards:
        yield boards


def eventually(condition, timeout_s=20):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


def alive(pid):
    """True while a process runs; a zombie that nobody reaped does not count."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path("/proc/%d/stat" % pid)
    return not status.exists() or status.read_text().rpartition(") ")[2][0] != "Z"


# --- the flash image ---


def test_program_only_clears_bits_and_erase_sets_them(tmp_path):
    nor.create(tmp_path / "flash")
    flash = nor.Flash(tmp_path / "flash")
    got = bytearray(6)
    flash.program(0x200002, b"\x0f\xf0")
    flash.program(0x200002, b"\xf3\xff")
    flash.read(0x200000, got)
    assert got == b"\xff\xff\x03\xf0\xff\xff"
    flash.erase(0x200000)
    flash.read(0x200000, got)
    assert got == b"\xff" * 6
    flash.close()


def test_erase_goes_on_in_steps_when_it_takes_time(tmp_path, monkeypatch):
    """A process that dies in the middle leaves the sector torn, as a chip does."""
    nor.create(tmp_path / "flash")
    flash = nor.Flash(tmp_path / "flash", erase_us=16)
    flash.program(0x200000, bytes(4096))
    seen = []

    def sleep(_):
        sector = bytearray(4096)
        flash.read(0x200000, sector)
        seen.append(sector.count(0xFF))

    monkeypatch.setattr(nor.time, "sleep", sleep)
    flash.erase(0x200000)
    assert seen == [256 * n for n in range(16)]
    flash.close()


def test_partition_table_is_the_one_of_esp_idf(tmp_path):
    nor.create(tmp_path / "flash", nor.RAFT)
    table = (tmp_path / "flash").read_bytes()[0x8000:0x8C00]
    assert table[96:128] == b"\xaa\x50\x01\x40\x00\x00\x20\x00\x00\x00\x04\x00raft" + bytes(16)
    labels = [entry[4] for entry in nor.unpack_table(table)]
    assert labels == ["nvs", "phy_init", "factory", "raft", "vfs"]
    stock = nor.unpack_table(nor.pack_table(nor.STOCK))
    assert stock[-1] == (1, 0x81, 0x200000, 0x200000, "vfs")


def test_files_go_onto_an_image_and_come_back(tmp_path):
    path = tmp_path / "flash"
    random_bytes = os.urandom(20_000)
    image.create(path, {"boot.py": "x = 1\n", "/raft/deep/data.bin": random_bytes, "gone": b"1"})
    image.update(path, {"/boot.py": "x = 2\n", "/copy": Path(__file__)}, remove=["gone"])
    assert image.read(path, "/raft/deep/data.bin") == random_bytes
    assert image.read(path, "boot.py") == b"x = 2\n"
    assert set(image.listing(path)) == {"/boot.py", "/raft/deep/data.bin", "/copy"}
    with pytest.raises(VirtualBoardError):
        image.read(path, "/gone")


# --- boot ---


def test_boot_order(boards):
    boards.add(
        "board",
        config={"id": 3},
        files={
            "boot.py": "import json\nprint('boot', json.load(open('config.json')))\nshared = 5\n",
            "main.py": "import lib_of_mine\nprint('main', shared)\n",
            "/lib/lib_of_mine.py": "print('lib', __name__)\n",
        },
    )
    boards.start("board")
    lines = boards.wait_for("board", ">>> ").splitlines()
    assert lines[:3] == ["boot {'id': 3}", "lib lib_of_mine", "main 5"]


def test_main_is_skipped_when_boot_raises(boards):
    boards.add("board", files={"boot.py": "1/0\n", "main.py": "print('never')\n"})
    boards.start("board")
    console = boards.wait_for("board", ">>> ")
    assert "ZeroDivisionError" in console and "never" not in console
    assert 'File "boot.py", line 1' in console and "board.py" not in console


def test_exception_in_main_leaves_the_prompt(boards):
    boards.add("board", files={"main.py": "y = 7\nraise ValueError('bad')\n"})
    boards.start("board")
    assert "ValueError: bad" in boards.wait_for("board", ">>> ")
    assert boards.ask("board", "y") == "7\n"


def test_reset_boots_again_and_runs_nothing_more(boards):
    boards.add(
        "board",
        files={
            "main.py": """
import machine
n = machine.RTC().memory()
print("boot", len(n), machine.reset_cause())
if len(n) < 2:
    machine.RTC().memory(n + b"x")
    try:
        machine.reset()
    except BaseException:
        print("caught")
    finally:
        print("ran on")
"""
        },
    )
    boards.start("board")
    console = boards.wait_for("board", ">>> ")
    assert console.splitlines()[:3] == ["boot 0 1", "boot 1 2", "boot 2 2"]
    assert "caught" not in console and "ran on" not in console
    assert boards.boots("board") == 3


def test_system_exit_is_a_soft_reset(boards):
    main = """
import machine, sys
if machine.reset_cause() != machine.SOFT_RESET:
    sys.exit()
print("second")
"""
    boards.add("board", files={"main.py": main})
    boards.start("board")
    boards.wait_for("board", "second")


def test_damaged_file_system_stops_the_board(boards):
    boards.add("board", files={"main.py": "print('main')\n"})
    flash = nor.Flash(boards.image("board"))
    address = next(entry[2] for entry in flash.partitions if entry[4] == "vfs")
    flash.program(address, bytes(8192))
    flash.close()
    boards.start("board")
    assert "main" not in boards.wait_for("board", "appears to be corrupted")


def test_heap_is_limited(boards):
    boards.add("board", heap_kib=400)
    boards.start("board")
    boards.wait_for("board", ">>> ")
    assert "MemoryError" in boards.ask("board", "x = bytearray(350000)")


# --- power ---


def test_a_power_cut_loses_exactly_what_was_not_flushed(boards):
    """What was flushed is there, what was only written is not, and the old file system mounts."""
    boards.add(
        "board",
        files={
            "main.py": """
with open("closed", "w") as f:
    f.write("closed" * 100)
a = open("flushed", "w")
a.write("kept" * 100)
a.flush()
a.write("lost" * 100)
b = open("written", "w")
b.write("lost" * 100)
print("ready")
while True:
    pass
"""
        },
    )
    boards.start("board")
    boards.wait_for("board", "ready")
    boards.kill("board")
    assert boards.state("board") == "off" and boards.pid("board") is None
    assert boards.read_file("board", "closed") == b"closed" * 100
    assert boards.read_file("board", "flushed") == b"kept" * 100
    assert boards.read_file("board", "written") == b""


def test_power_cuts_in_the_middle_of_writing(boards):
    """A file that is replaced and the raw partition: both hold at least what was reported."""
    main = """
import esp32, os
p = esp32.Partition("raft")
block = bytearray(4096)
p.readblocks(0, block)
at = sum(1 for byte in block if byte == 0)
n = int(open("count").read())
print("boot", n, at)
while at < 4096:
    n += 1
    with open("new", "w") as f:
        f.write(str(n))
    os.rename("new", "count")
    p.writeblocks(0, b"\\x00", at)
    at += 1
    print("did", n, at)
"""
    boards.add("board", files={"main.py": main, "count": "0"})
    for cut in range(6):
        size = boards.log("board").stat().st_size if cut else 0
        boards.start("board")
        boards.wait_for("board", "did", start=size)
        time.sleep(0.013 * cut)
        boards.kill("board")
        lines = boards.log("board").read_text()[size:].splitlines(keepends=True)
        reported = [line.split() for line in lines if re.fullmatch(r"did \d+ \d+\n", line)]
        _, n, at = reported[-1] if reported else lines[0].split()
        assert int(boards.read_file("board", "count")) in (int(n), int(n) + 1)
        marks = image.partition(boards.image("board"), "raft")[:4096].count(0)
        assert marks in (int(at), int(at) + 1)


def test_freeze_and_thaw(boards):
    main = "import time\nn = 0\nwhile True:\n    n += 1\n    print(n)\n    time.sleep_ms(10)\n"
    boards.add("board", files={"main.py": main})
    boards.start("board")
    boards.wait_for("board", "3\n")
    boards.freeze("board")
    assert boards.state("board") == "frozen"
    time.sleep(0.05)
    size = boards.log("board").stat().st_size
    time.sleep(0.2)
    assert boards.log("board").stat().st_size == size
    boards.thaw("board")
    eventually(lambda: boards.log("board").stat().st_size > size)
    boards.freeze("board")
    boards.kill("board")
    assert boards.state("board") == "off"


def test_watchdog_stops_while_frozen(boards):
    main = """
import machine, time
w = machine.WDT(timeout=1000)
print("armed", machine.reset_cause())
while True:
    w.feed()
    time.sleep_ms(20)
"""
    boards.add("board", files={"main.py": main})
    boards.start("board")
    boards.wait_for("board", "armed 1")
    boards.freeze("board")
    time.sleep(1.3)
    boards.thaw("board")
    time.sleep(0.3)
    assert boards.boots("board") == 1
    boards.kill("board")


def test_a_board_that_dies_is_seen(boards):
    boards.add("board")
    boards.start("board")
    boards.wait_for("board", ">>> ")
    os.kill(boards.pid("board"), signal.SIGSEGV)
    eventually(lambda: boards.state("board") == "dead")
    boards.start("board")
    assert boards.state("board") == "on"


def test_six_boards_start_in_good_time(boards):
    began = time.monotonic()
    for n in range(6):
        boards.add("board%d" % n, files={"main.py": "print('up')\n"})
    boards.start_all()
    for name in boards.names:
        boards.wait_for(name, "up")
    # 0.3 s on an idle machine; the bound only catches a start that waits for something.
    assert time.monotonic() - began < 10


# --- radio ---


def radio_boards(boards, n):
    for number in range(n):
        boards.add("n%d" % number, files={"main.py": RADIO})
    boards.start_all()
    for name in boards.names:
        boards.wait_for(name, ">>> ")


def check_heard(boards, sender, message, *by):
    """One broadcast is heard by these boards and by no other."""
    boards.ask(sender, "e.send(b'\\xff' * 6, %r)" % message)

    def hears(name):
        return repr(message) in boards.ask(name, "e.recv(0)")

    for name in by:
        eventually(lambda name=name: hears(name))
    time.sleep(0 if by else 0.1)
    assert not any(hears(name) for name in boards.names if name not in by)


def test_faults_of_the_air(boards):
    radio_boards(boards, 3)
    check_heard(boards, "n0", b"all", "n1", "n2")
    boards.air.cut("n0", "n1")
    check_heard(boards, "n0", b"cut", "n2")
    check_heard(boards, "n1", b"other way", "n0", "n2")
    boards.air.heal("n0", "n1")
    boards.air.partition([["n0", "n1"], ["n2"]])
    check_heard(boards, "n0", b"part", "n1")
    check_heard(boards, "n2", b"alone")
    boards.air.heal()
    boards.cut_off("n2")
    check_heard(boards, "n0", b"off", "n1")
    check_heard(boards, "n2", b"off too")
    boards.rejoin("n2")
    check_heard(boards, "n0", b"again", "n1", "n2")
    boards.air.set_loss(1.0, "n0")
    check_heard(boards, "n0", b"lost")
    boards.air.set_loss(0.0)
    boards.air.set_delay(30, 30)
    check_heard(boards, "n0", b"late", "n1", "n2")
    with pytest.raises(VirtualBoardError, match="nobody"):
        boards.air.cut("nobody")
    with pytest.raises(VirtualBoardError, match="probability"):
        boards.air.set_loss(2)
    stats = boards.air.stats()
    assert stats["stations"]["n0"]["frames"] == 7 and stats["lost"]["cut"] > 0


def test_boards_stand_at_places(boards):
    """The profile `radio` in real time: range, levels, a walk and a jammer."""
    radio_boards(boards, 3)
    boards.air.use("radio", shadowing_db=0, fading_m=0, burst_loss=0)
    for name, metres in (("n0", 0), ("n1", 100), ("n2", 5000)):
        boards.air.place(name, (metres, 0))
    check_heard(boards, "n0", b"near", "n1")
    assert "[-80," in boards.ask("n1", "e.peers_table")
    boards.air.move("n2", (10, 0), 1e5)  # takes 50 ms
    time.sleep(0.1)
    check_heard(boards, "n0", b"all", "n1", "n2")
    assert "[-50," in boards.ask("n2", "e.peers_table")
    boards.air.jam(0.3, position=(0, 0))
    before = time.monotonic()
    check_heard(boards, "n0", b"late", "n1", "n2")
    assert time.monotonic() - before > 0.25
    boards.air.jam(60, loss=1.0)
    check_heard(boards, "n0", b"lost")
    boards.air.calm()
    check_heard(boards, "n2", b"calm", "n0", "n1")
    with pytest.raises(VirtualBoardError, match="wavelength"):
        boards.air.use("radio", wavelength=1)
    assert boards.air.stats()["lost"]["jammed"]


def test_a_killed_board_is_off_the_air_and_comes_back(boards):
    radio_boards(boards, 2)
    boards.ask("n0", "mac = b'\\x02RAFT\\x02'; e.add_peer(mac)")
    assert boards.ask("n0", "e.send(mac, b'there?')") == "True\n"
    boards.freeze("n1")
    assert boards.ask("n0", "e.send(mac, b'there?')") == "True\n"
    boards.kill("n1")
    assert boards.ask("n0", "e.send(mac, b'there?')") == "False\n"
    size = boards.log("n1").stat().st_size
    boards.start("n1")
    boards.wait_for("n1", ">>> ", start=size)
    assert boards.ask("n0", "e.send(mac, b'there?')") == "True\n"
    assert "b'there?'" in boards.ask("n1", "e.recv(0)")


def test_host_sockets_work_on_a_board(boards):
    main = """
import socket, asyncio
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(socket.getaddrinfo("127.0.0.1", 0)[0][-1])
t = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("sockets", s.fileno() != t.fileno())
"""
    boards.add("board", files={"main.py": main})
    boards.start("board")
    boards.wait_for("board", "sockets True")


# --- nothing outlives its parent ---


def test_close_ends_everything(tmp_path):
    boards = VirtualBoards(tmp_path)
    boards.add("on")
    boards.add("frozen")
    boards.start_all()
    boards.freeze("frozen")
    pids = [boards.pid(name) for name in boards.names] + [boards._air.pid]
    boards.close()
    boards.close()
    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT, None])
def test_children_do_not_outlive_the_parent(tmp_path, ending):
    program = """
import sys, time
from tools.virtual.boards import VirtualBoards
boards = VirtualBoards(%r)
for name in ("busy", "idle", "frozen"):
    boards.add(name, files={"main.py": "while True: pass" if name == "busy" else ""})
boards.start_all()
boards.freeze("frozen")
print(boards._air.pid, *[boards.pid(name) for name in boards.names], flush=True)
if %r:
    time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program % (str(tmp_path), ending is not None)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    try:
        assert len(pids) == 4
        if ending is not None:
            assert all(alive(pid) for pid in pids)
            parent.send_signal(ending)
        parent.wait(20)
        eventually(lambda: not any(alive(pid) for pid in pids))
    finally:
        parent.stdout.close()
        for pid in filter(alive, pids):
            os.kill(pid, signal.SIGKILL)


def test_errors_are_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(VirtualBoardError, match="no MicroPython at"):
        VirtualBoards(tmp_path, interpreter=tmp_path / "nothing")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VirtualBoardError, match="pip install"):
        VirtualBoards(tmp_path)


def test_misuse_is_refused(boards):
    boards.add("board")
    with pytest.raises(VirtualBoardError, match="already"):
        boards.add("board")
    with pytest.raises(TypeError, match="volume"):
        boards.add("other", volume=11)
    with pytest.raises(VirtualBoardError, match="is off"):
        boards.type("board", "x")
    boards.start("board")
    with pytest.raises(VirtualBoardError, match="switch board off"):
        boards.read_file("board", "boot.py")
