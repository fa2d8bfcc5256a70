"""The fake chip modules, held to what the real firmware answered.

The files in golden/ are transcripts of the real ESP32 firmware v1.27.0. Each is typed, line by
line, into the prompt of virtual boards, and the answers are compared. Normalised: a traceback
counts by its last line, a TypeError by its type only (this MicroPython words them in full), log
lines of the driver are left out.
"""

import re
from pathlib import Path

import pytest

from tools.virtual.boards import VirtualBoards

GOLDEN = Path(__file__).parent / "golden"
MAC_A = bytes.fromhex("100100c40a25")
MAC_B = bytes.fromhex("100100c40a26")
NETWORK = "import network, espnow, time, gc, errno"
STATION = "sta=network.WLAN(network.STA_IF); sta.active(True)"
NAMES = r"BC=B=b'\xff'*6; U=b'\x10\x01\x00\xc4\x0a\x77'; MA=%r; MB=%r" % (MAC_A, MAC_B)


def transcript(name):
    """[(board, line, answer)] of a golden file."""
    entries = []
    for line in (GOLDEN / name).read_text().splitlines():
        match = re.match(r"([AB]?)>>> (.*)", line)
        if match:
            entries.append((match[1] or "A", match[2], []))
        elif entries and not line.startswith("# "):
            entries[-1][2].append(line)
    return [(board, line, normal(answer)) for board, line, answer in entries]


def normal(lines):
    answer = []
    for line in lines:
        if not line.strip() or line.startswith(("E (", "Traceback", "  File", "Warning: ")):
            continue
        line = line.replace("b'%s'" % ("\\x00" * 250), "<250 zero bytes>")
        answer.append(re.sub(r"^TypeError: .*", "TypeError", line.rstrip()))
    return answer


@pytest.fixture
def boards(tmp_path):
    with VirtualBoards(tmp_path, seed=1) as boards:
        yield boards


def start(boards, *setup, layout="raft"):
    """Two boards at their prompt, A and B, after the given lines."""
    for name, mac in (("A", MAC_A), ("B", MAC_B)):
        boards.add(name, mac=mac, layout=layout)
        boards.start(name)
    for name in "AB":
        boards.wait_for(name, ">>> ")
        for line in (NETWORK, NAMES, *setup):
            boards.ask(name, line)


def check(boards, name):
    different = []
    for board, line, expected in transcript(name):
        answer = normal(boards.ask(board, line).splitlines())
        if answer != expected:
            different.append("%s>>> %s\n  real: %s\n  fake: %s" % (board, line, expected, answer))
    assert not different, "\n".join(different)


def test_espnow_before_and_after_activation(boards):
    start(boards, "sta=network.WLAN(network.STA_IF)")
    check(boards, "espnow_single.txt")


# Waits until the radio has answered for every frame.
SETTLE = "exec('while e.stats()[0] != e.stats()[1]: time.sleep_ms(5)')"
ACTIVE = (STATION, "e=espnow.ESPNow(); e.active(True)")


@pytest.mark.parametrize("name", ["peers.txt", "two_boards.txt", "receive_sizes.txt"])
def test_espnow(boards, name):
    start(boards, *ACTIVE)
    check(boards, name)


def test_poisoned_ring(boards):
    start(boards, *ACTIVE, READER, TIMES)
    check(boards, "poison.txt")


READER = "exec('def one():\\n try: return e.recv(0)[1]\\n except ValueError: return \"E\"')"
TIMES = "T=lambda n: [one() for i in range(n)]"


def test_wlan(boards):
    start(boards, STATION)
    check(boards, "wlan.txt")


@pytest.mark.parametrize(
    "name, layout", [("nvs.txt", "raft"), ("partition.txt", "stock"), ("machine.txt", "raft")]
)
def test_chip(boards, name, layout):
    start(boards, "import esp32", layout=layout)
    check(boards, name)


def answer(boards, name, line):
    """The last line that a board printed to one input line."""
    lines = boards.ask(name, line).strip().splitlines()
    return lines[-1] if lines else ""


def test_unicast_is_acknowledged_by_a_radio_that_is_on(boards):
    """Measured: no ACK is False and a failure; an inactive ESP-NOW acknowledges still."""
    start(boards, *ACTIVE, "D=b'\\x10\\x01\\x00\\xc4\\x0a\\x99'")
    assert answer(boards, "A", "e.add_peer(MB); e.add_peer(BC); e.add_peer(D)") == ""
    assert answer(boards, "A", "e.send(MB, b'alive'), e.stats()") == "(True, (1, 1, 0, 0, 0))"
    assert answer(boards, "A", "e.send(D, b'dead'), e.stats()") == "(False, (2, 2, 1, 0, 0))"
    assert boards.air.stats()["stations"]["A"]["attempts"] == 1 + 32
    assert answer(boards, "A", "e.send(D, b'dead', False), e.stats()[0]") == "(True, 3)"
    assert answer(boards, "A", SETTLE + "; e.stats()") == "(3, 3, 2, 0, 0)"
    assert answer(boards, "A", "e.send(None, b'all'), e.stats()") == "(False, (5, 5, 3, 0, 0))"
    assert answer(boards, "A", "e.send(BC, b'bc'), e.stats()") == "(True, (6, 6, 3, 0, 0))"
    answer(boards, "B", "sta.config(channel=6)")
    assert answer(boards, "A", "e.send(MB, b'other channel')") == "False"
    answer(boards, "B", "sta.config(channel=1); e.active(False)")
    assert answer(boards, "A", "e.send(MB, b'inactive')") == "True"
    assert answer(boards, "B", "e.active(True), e.any()") == "(True, False)"
    answer(boards, "B", "sta.active(False)")
    assert answer(boards, "A", "e.send(MB, b'radio off')") == "False"


def test_asynchronous_flood(boards):
    """Measured: 300 broadcasts of 250 bytes in a row, no exception, all True."""
    start(boards, *ACTIVE)
    answer(boards, "A", "e.add_peer(BC)")
    assert answer(boards, "A", "all([e.send(BC, bytes(250), False) for i in range(300)])") == "True"
    assert answer(boards, "A", SETTLE + "; e.stats()") == "(300, 300, 0, 0, 0)"


def test_switching_off_forgets_what_is_on_its_way(boards):
    """modespnow.c: active(False) sets tx_packets to tx_responses; late answers are lost."""
    start(boards, *ACTIVE, "D=b'\\x10\\x01\\x00\\xc4\\x0a\\x99'")
    boards.ask("A", "e.add_peer(D); [e.send(D, b'dead', False) for i in range(9)]")
    assert answer(boards, "A", "e.active(False); e.active(True); s=e.stats(); s[0]==s[1]") == "True"
    assert answer(boards, "A", "time.sleep_ms(400); e.stats() == s") == "True"


def test_lost_response_times_out(boards):
    """A response that takes over 100 ms: OSError with errno.ETIMEDOUT, one argument."""
    start(boards, *ACTIVE, "D=b'\\x10\\x01\\x00\\xc4\\x0a\\x99'")
    answer(boards, "A", "e.add_peer(D)")
    answer(boards, "A", "for i in range(30): e.send(D, b'dead', False)")
    boards.ask("A", "exec('try: e.send(D, b\\'x\\')\\nexcept OSError as error: x = error')")
    assert answer(boards, "A", "x.args == (errno.ETIMEDOUT,)") == "True"


@pytest.mark.parametrize(
    "call",
    [
        "active(True)",
        "set_pmk(b'0123456789abcdef')",
        "add_peer(BC)",
        "del_peer(BC)",
        "get_peer(BC)",
        "mod_peer(BC)",
        "peer_count()",
    ],
)
def test_panic_without_a_wlan_object(boards, call):
    """Measured: these calls reboot the board; they cannot be caught."""
    boards.add("A")
    boards.start("A")
    boards.wait_for("A", ">>> ")
    for line in (NETWORK, NAMES, "e=espnow.ESPNow()"):
        boards.ask("A", line)
    size = boards.log("A").stat().st_size
    boards.type("A", "e.%s\n" % call)
    assert "Guru Meditation Error" in boards.wait_for("A", ">>> ", start=size)
    assert boards.boots("A") == 2
    assert answer(boards, "A", "import machine; machine.reset_cause()") == "2"


def test_other_calls_without_a_wlan_object_raise(boards):
    boards.add("A")
    boards.start("A")
    boards.wait_for("A", ">>> ")
    for line in (NETWORK, NAMES, "e=espnow.ESPNow()"):
        boards.ask("A", line)
    for call in ("send(BC, b'x')", "recv(0)", "irecv(0)", "any()", "get_peers()"):
        expected = "OSError: (-12389, 'ESP_ERR_ESPNOW_NOT_INIT')"
        assert answer(boards, "A", "e." + call) == expected
    assert answer(boards, "A", "e.config(rate=0)") == "OSError: [Errno 2] ENOENT"


def test_reset_keeps_rtc_memory_and_power_loss_does_not(boards):
    """Measured: what soft reset, reset and power loss leave."""
    start(boards, "import machine", *ACTIVE)
    answer(boards, "A", "machine.RTC().memory(b'keep'); e.add_peer(BC); e.send(BC, b'x')")
    question = "machine.reset_cause(), machine.RTC().memory()"

    def reset(call):
        size = boards.log("A").stat().st_size
        boards.type("A", call + "\n")
        boards.wait_for("A", ">>> ", start=size)
        boards.ask("A", "import machine, network, espnow")

    reset("machine.soft_reset()")
    assert answer(boards, "A", question) == "(5, b'keep')"
    # Wi-Fi stays up over a soft reset, ESP-NOW does not, its counters begin again.
    assert answer(boards, "A", "network.WLAN(0).active()") == "True"
    assert answer(boards, "A", "e=espnow.ESPNow(); e.active(), e.stats()") == (
        "(False, (0, 0, 0, 0, 0))"
    )
    reset("machine.reset()")
    assert answer(boards, "A", question) == "(2, b'keep')"
    assert answer(boards, "A", "network.WLAN(0).active()") == "False"
    size = boards.log("A").stat().st_size
    boards.restart("A")
    boards.wait_for("A", ">>> ", start=size)
    assert answer(boards, "A", "import machine; " + question) == "(1, b'')"


def test_watchdog_bites_and_can_be_fed(boards):
    start(boards, "import machine")
    fed = (
        "w=machine.WDT(timeout=900); [(time.sleep_ms(100), w.feed()) for i in range(12)] and 'fed'"
    )
    size = boards.log("A").stat().st_size
    assert answer(boards, "A", fed) == "'fed'"
    boards.wait_for("A", "watchdog got triggered", start=size)
    boards.wait_for("A", "virtual board", start=size)
    assert answer(boards, "A", "import machine; machine.reset_cause()") == "3"


def test_nvs_survives_a_power_cut_and_a_full_log(boards):
    start(boards, "import esp32; n=esp32.NVS('t')")
    answer(boards, "A", "n.set_i32('term', 7); n.set_blob('key', b'secret')")
    # 12 KiB halves: 400 records of some 45 bytes fill one and move to the other.
    answer(boards, "A", "for i in range(400): n.set_blob('vote', b'%030d' % i)")
    size = boards.log("A").stat().st_size
    boards.restart("A")
    boards.wait_for("A", ">>> ", start=size)
    boards.ask("A", "import esp32; n=esp32.NVS('t'); b=bytearray(30)")
    assert answer(boards, "A", "n.get_i32('term'), n.get_blob('key', b), bytes(b[:6])") == (
        "(7, 6, b'secret')"
    )
    assert answer(boards, "A", "n.get_blob('vote', b), int(b)") == "(30, 399)"


def test_raft_partition_lies_behind_the_application(boards):
    """Measured: `vfs` registers itself behind it."""
    start(boards, "import esp32, os")
    assert answer(
        boards, "A", "[p.info() for p in esp32.Partition.find(esp32.Partition.TYPE_DATA)]"
    ) == (
        "[(1, 2, 36864, 24576, 'nvs', False), (1, 1, 61440, 4096, 'phy_init', False),"
        " (1, 64, 2097152, 262144, 'raft', False), (1, 129, 2359296, 1835008, 'vfs', False)]"
    )
    assert answer(boards, "A", "os.statvfs('/')[:3]") == "(4096, 4096, 448)"
    boards.ask("A", "p=esp32.Partition('raft'); p.ioctl(6, 0); r=bytearray(4)")
    boards.ask("A", "p.writeblocks(0, b'\\x0f' * 4, 0); p.writeblocks(0, b'\\xf0', 1)")
    assert answer(boards, "A", "p.readblocks(0, r); r") == "bytearray(b'\\x0f\\x00\\x0f\\x0f')"
    assert answer(boards, "A", "p.writeblocks(-1, b'x', 0)").startswith("OSError: (-258")
    assert answer(boards, "A", "p.writeblocks(63, b'xy', 4095)").startswith("OSError: (-260")


def test_ticks_wrap_at_2_to_the_30(boards):
    boards.add("A", ticks_offset_ms=2**30 - 400)
    boards.start("A")
    boards.wait_for("A", ">>> ")
    boards.ask("A", "import time; a=time.ticks_ms()")
    wrapped = answer(boards, "A", "time.sleep_ms(600); b=time.ticks_ms(); b < a, b < 2**30")
    assert wrapped == "(True, True)"
    assert 600 <= int(answer(boards, "A", "time.ticks_diff(b, a)")) < 30000
    assert answer(boards, "A", "time.ticks_add(0, -1), time.ticks_add(2**30 - 1, 1)") == (
        "(1073741823, 0)"
    )
    assert answer(boards, "A", "time.ticks_add(0, 2**29)") == (
        "OverflowError: ticks interval overflow"
    )
    assert (
        answer(boards, "A", "time.ticks_diff(0, 2**30 - 1), time.ticks_diff(2**29, 0)")
        == "(1, -536870912)"
    )
    assert answer(boards, "A", "time.gmtime(0)") == "(2000, 1, 1, 0, 0, 0, 5, 1)"
    assert answer(boards, "A", "time.gmtime(time.mktime((2026, 11, 23, 1, 2, 3, 0, 0)))[:6]") == (
        "(2026, 11, 23, 1, 2, 3)"
    )


RECEIVER = r"""
import asyncio, espnow, network, select, time
sta = network.WLAN(network.STA_IF)
sta.active(True)
e = espnow.ESPNow()
e.config(rxbuf=4096)
e.active(True)
e.add_peer(b"\xff" * 6)

# Registered once for good: a poll must see a frame that waits in the ring, not only a new one.
poll = select.poll()
poll.register(e, select.POLLIN)
print("ready", poll.poll(0))
while len(poll.poll(20000)) == 0:
    pass
time.sleep_ms(100)
print("first", e.recv(0)[1])  # moves all ten into the ring, nothing new comes any more
seen = []
while len(seen) < 9:
    if not poll.poll(5000):
        break
    seen.append(e.recv(0)[1])
print("polled", seen == [b"%d" % i for i in range(1, 10)])
print("empty", poll.poll(50))
print("registered")

import aioespnow

async def main():
    got = []
    radio = aioespnow.AIOESPNow()
    async for mac, message in radio:
        got.append(int(message))
        if len(got) == 10:
            break
    print("async", got)

asyncio.run(main())
"""


def test_polls_and_asyncio_see_every_frame(boards):
    boards.add("B", files={"main.py": RECEIVER})
    start_one = (NETWORK, NAMES, *ACTIVE, "e.add_peer(BC)")
    boards.add("A")
    boards.start_all()
    boards.wait_for("A", ">>> ")
    for line in start_one:
        boards.ask("A", line)
    boards.wait_for("B", "ready []")
    boards.ask("A", "for i in range(10): e.send(BC, b'%d' % i, False)")
    console = boards.wait_for("B", "registered")
    assert "first b'0'" in console
    assert "polled True" in console
    assert "empty []" in console
    boards.ask("A", "for i in range(10): e.send(BC, b'%d' % i)")
    boards.wait_for("B", "async [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]")


def test_interrupt_handler_runs_in_sleep_and_must_drain(boards):
    """Measured: the scheduler is short; what it loses stays in the ring."""
    start(boards, *ACTIVE, "L=[]")
    boards.ask("A", "e.add_peer(MB)")
    boards.ask("B", "e.irq(lambda o: L.append(o.recv(0)[1]))")
    boards.ask("A", "[e.send(MB, b'q%d' % i) for i in range(3)]")
    assert answer(boards, "B", "time.sleep_ms(100); L") == "[b'q0', b'q1', b'q2']"
    boards.ask("B", "L.clear(); e.config(rxbuf=4000)")
    boards.ask("A", "[e.send(MB, b'q%d' % i) for i in range(30)]")
    handled = int(answer(boards, "B", "time.sleep_ms(100); len(L)"))
    assert 8 <= handled < 30
    boards.ask("B", "e.irq(None)")
    assert answer(boards, "B", "1 + sum(1 for i in range(40) if e.recv(0)[0])") == str(31 - handled)


def test_the_host_is_out_of_reach(boards, tmp_path):
    start(boards, "import os, sys")
    assert answer(boards, "A", "os.listdir('/'), sys.path") == (
        "(['boot.py'], ['', '.frozen', '/lib'])"
    )
    assert answer(boards, "A", "hasattr(os, 'system'), os.uname().sysname") == "(False, 'esp32')"
    assert answer(boards, "A", "import _chip").startswith("ImportError")
    assert answer(boards, "A", "open(%r)" % str(tmp_path / "A" / "settings.json")) == (
        "OSError: [Errno 2] ENOENT"
    )
    assert answer(boards, "A", "os.sync(), os.urandom(0)") == "(None, b'')"
