"""VirtualBoards: starts, cuts off, freezes, kills and restarts virtual boards.

One supervisor in the caller's process, one air process, one MicroPython process per board:

    with VirtualBoards("build/virtual/demo") as boards:
        for n in range(1, 6):
            boards.add("node%d" % n, config={"id": n}, files=firmware_files)
        boards.start_all()
        boards.kill("node1")            # power cut
        boards.air.set_loss(0.2)
        boards.air.partition([["node2", "node3"], ["node4", "node5"]])
        boards.restart("node1")

Everything of a board lies in DIRECTORY/NAME: flash.bin, rtc.bin, console.log, settings.json. A
board that resets itself is started again. Children are signalled by pid only. They do not outlive
this process: the air process kills them when its standard input ends, whatever ended us.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from tools.virtual import image
from tools.virtual.image import VirtualBoardError

# machine.reset_cause() after each way to go down.
CAUSES = {"power": 1, "hard": 2, "panic": 2, "wdt": 3, "soft": 5}

# A board that resets at once in a loop is slowed down to this, s; a real boot takes longer.
REBOOT_PAUSE = 0.2

# Ends each answer of the serial console, and nothing that a program prints should contain it.
PROMPT = ">>> "

_ANSWER_TIMEOUT = 2.0
_ROOT = Path(__file__).resolve().parents[2]


class Board:
    """What the supervisor knows of one board. ``state`` is off, on, frozen or dead (it crashed)."""

    def __init__(self, name, directory, mac, options):
        self.name = name
        self.directory = directory
        self.mac = mac
        self.options = options
        self.state = "off"
        self.process = None
        self.pipe = None  # read end of the board's messages
        self.unread = b""
        self.cause = "power"
        self.wlan = None  # the Wi-Fi state that a soft reset keeps
        self.wdt_s = None
        self.deadline = None  # when the watchdog bites
        self.reboot_at = None  # when a board that has reset itself starts again
        self.boots = 0
        self.last_start = 0.0


class AirControl:
    """The faults of the air, by board names. Names of stations may be None: every one."""

    def __init__(self, boards):
        self._boards = boards
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._serial = 0
        self._lock = threading.Lock()

    def set_loss(self, p, src=None, dst=None):
        """Lose transmissions with probability p, on all links or from src, to dst."""
        self._ask("set_loss", p, self._mac(src), self._mac(dst))

    def set_delay(self, min_ms, max_ms):
        """Extra one-way delay, ms."""
        self._ask("set_delay", min_ms, max_ms)

    def set_duplicate(self, p):
        """Deliver frames twice with probability p."""
        self._ask("set_duplicate", p)

    def cut(self, src=None, dst=None):
        """Nothing from src reaches dst any more; the other direction stays."""
        self._ask("cut", self._mac(src), self._mac(dst))

    def heal(self, src=None, dst=None):
        """Undo matching cuts; heal() undoes all of them and every partition."""
        self._ask("heal", self._mac(src), self._mac(dst))

    def partition(self, groups):
        """Boards hear each other within a group only; one may be in several groups."""
        self._ask("partition", [[self._mac(name) for name in group] for group in groups])

    def use(self, profile, **parameters):
        """Another profile, "plain" or "radio", with other values for some parameters."""
        self._ask("use", profile, parameters)

    def place(self, name, position):
        """Put a board at (x, y) metres, or nowhere (None)."""
        self._ask("place", self._mac(name), position)

    def move(self, name, to, speed):
        """Let a board go straight to (x, y), at so many metres a second."""
        self._ask("move", self._mac(name), to, speed)

    def jam(self, seconds, **where):
        """Noise for so long; keywords of tools.air.Air.jam."""
        self._ask("jam", seconds, where)

    def calm(self):
        """The plain profile, no places, no noise, no loss, delay or copies."""
        self._ask("calm")

    def stats(self):
        """Counters of tools.air.Air; stations by board name."""
        stats = self._ask("stats")
        names = {board.mac.hex(): board.name for board in self._boards._boards.values()}
        stats["stations"] = {
            names.get(mac, mac): values for mac, values in stats["stations"].items()
        }
        return stats

    def _mac(self, name):
        return None if name is None else self._boards._board(name).mac.hex()

    def _ask(self, name, *args):
        with self._lock:
            self._serial += 1
            request = json.dumps({"id": self._serial, "do": name, "args": args}).encode()
            # Loopback loses a datagram only when a buffer is full: asking again is enough, and
            # every control may be repeated.
            for _ in range(3):
                self._socket.sendto(request, ("127.0.0.1", self._boards.air_port))
                self._socket.settimeout(_ANSWER_TIMEOUT)
                try:
                    answer = json.loads(self._socket.recv(65536))
                    while answer["id"] != self._serial:
                        answer = json.loads(self._socket.recv(65536))
                except (TimeoutError, ConnectionError):
                    continue
                if "error" in answer:
                    raise VirtualBoardError("the air refused %s: %s" % (name, answer["error"]))
                return answer["ok"]
        raise VirtualBoardError("the air process does not answer")

    def _close(self):
        self._socket.close()


class VirtualBoards:
    """Supervisor of the boards in one directory; close() or leaving the block ends them all."""

    def __init__(self, directory, interpreter=None, seed=None):
        """``interpreter`` is a micropython command; ``seed`` makes the air's random numbers known.

        VirtualBoardError when MicroPython is missing.
        """
        self.directory = Path(directory).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._interpreter = image.find_interpreter(interpreter)
        self._boards = {}
        self._lock = threading.RLock()
        self._closing = False
        command = [sys.executable, "-m", "tools.virtual.air_process"]
        if seed is not None:
            command.append(str(seed))
        self._air = subprocess.Popen(
            command,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # a Ctrl-C at the terminal is for us alone
        )
        first = self._air.stdout.readline().split()
        if len(first) != 2:
            self._air.kill()
            self._air.wait()
            raise VirtualBoardError("the air process did not start")
        self.air_port = int(first[1])
        self.air = AirControl(self)
        self._wake_read, self._wake_write = os.pipe()
        self._monitor = threading.Thread(target=self._watch, daemon=True, name="virtual-boards")
        self._monitor.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- boards ---

    def add(self, name, config=None, mac=None, files=None, layout="raft", **options):
        """Add a board and make its image, unless the directory already holds one for it.

        ``config`` becomes /config.json. ``files`` is {board path: bytes, text or Path}; given for
        an existing image they are written over. ``mac`` is 6 bytes, by default 02:52:41:46:54:n.

        Options: heap_kib (2048), program_us and erase_us (0: flash takes no time),
        ticks_offset_ms (0; 2**30 - 5000 wraps after 5 s), clock_ppm (0), wifi ({"ssid", "key",
        "channel"}: a router in reach).
        """
        known = {"heap_kib", "program_us", "erase_us", "ticks_offset_ms", "clock_ppm", "wifi"}
        if set(options) - known:
            raise TypeError("unknown board option: %s" % sorted(set(options) - known)[0])
        if name in self._boards:
            raise VirtualBoardError("there is already a board %s" % name)
        if mac is None:
            mac = b"\x02RAFT" + bytes([len(self._boards) + 1])
        if any(board.mac == mac for board in self._boards.values()):
            raise VirtualBoardError("two boards cannot have the same MAC")
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        board = Board(name, directory, mac, options)
        contents = dict(files or {})
        if config is not None:
            contents["/config.json"] = json.dumps(config)
        if not self.image(board).exists():
            image.create(self.image(board), contents, layout, self._interpreter)
        elif contents:
            image.update(self.image(board), contents, interpreter=self._interpreter)
        self._boards[name] = board
        return board

    def image(self, name):
        """Path of a board's flash image; change it only while the board is off."""
        board = name if isinstance(name, Board) else self._board(name)
        return board.directory / "flash.bin"

    def log(self, name):
        """Path of a board's console; all boots go into one file."""
        return self._board(name).directory / "console.log"

    def type(self, name, text):
        """Send text to the board's serial input; a line reaches the prompt after main.py ended."""
        process = self._board(name).process
        if process is None:
            raise VirtualBoardError("%s is off" % name)
        try:
            os.write(process.stdin.fileno(), text.encode())
        except (BlockingIOError, BrokenPipeError):
            raise VirtualBoardError("%s does not read its serial input" % name) from None

    def wait_for(self, name, text, timeout_s=20.0, start=0):
        """Console of a board from byte ``start``, as soon as it contains ``text``."""
        log = self.log(name)
        end = time.monotonic() + timeout_s
        while True:
            console = log.read_bytes()[start:].decode(errors="replace") if log.exists() else ""
            if text in console:
                return console
            if time.monotonic() > end:
                tail = console.splitlines()[-1:] or [""]
                raise VirtualBoardError(
                    "%s did not print %r in %g s; its last line is %r"
                    % (name, text, timeout_s, tail[0])
                )
            time.sleep(0.005)

    def ask(self, name, line, timeout_s=20.0):
        """Type one line at a board's prompt and return what it printed."""
        start = self.log(name).stat().st_size
        self.type(name, line + "\n")
        return self.wait_for(name, PROMPT, timeout_s, start).rpartition(PROMPT)[0]

    def write_files(self, name, files, remove=()):
        """Put files on a board that is off."""
        if self._board(name).state in ("on", "frozen"):
            raise VirtualBoardError("switch %s off before you write its flash" % name)
        image.update(self.image(name), files, remove, self._interpreter)

    def read_file(self, name, path):
        """Bytes of a file of a board that is off."""
        if self._board(name).state in ("on", "frozen"):
            raise VirtualBoardError("switch %s off before you read its flash" % name)
        return image.read(self.image(name), path, self._interpreter)

    @property
    def names(self):
        return list(self._boards)

    def state(self, name):
        """off, on, frozen, or dead when the process ended without being asked to."""
        return self._board(name).state

    def boots(self, name):
        """How often the board has started, its own resets counted."""
        return self._board(name).boots

    def pid(self, name):
        """Process id, or None when the board is off."""
        process = self._board(name).process
        return None if process is None else process.pid

    # --- power ---

    def start(self, name):
        """Switch a board on; nothing when it is on already."""
        board = self._board(name)
        with self._lock:
            if board.state in ("off", "dead"):
                self._launch(board, "power")

    def start_all(self):
        for name in self.names:
            self.start(name)

    def kill(self, name):
        """Cut the power: SIGKILL. What was not programmed to flash is gone, RTC memory too."""
        board = self._board(name)
        with self._lock:
            self._end(board)
            board.state = "off"

    def restart(self, name):
        """Cut the power and switch on again."""
        with self._lock:
            self.kill(name)
            self.start(name)

    def freeze(self, name):
        """Stop a board between two instructions, watchdog included; its radio still answers."""
        board = self._board(name)
        with self._lock:
            if board.state == "on" and board.process is not None:
                os.kill(board.process.pid, signal.SIGSTOP)
                board.state = "frozen"
                board.deadline = None

    def thaw(self, name):
        board = self._board(name)
        with self._lock:
            if board.state == "frozen":
                os.kill(board.process.pid, signal.SIGCONT)
                board.state = "on"
                if board.wdt_s is not None:
                    board.deadline = time.monotonic() + board.wdt_s
                self._wake()

    def cut_off(self, name):
        """Cut a board's radio in both directions; it runs on."""
        self.air.cut(name, None)
        self.air.cut(None, name)

    def rejoin(self, name):
        self.air.heal(name, None)
        self.air.heal(None, name)

    def close(self):
        """End every process. Images and logs stay."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            for board in self._boards.values():
                self._end(board)
                board.state = "off"
        self._wake()
        self._monitor.join()
        self._air.stdin.close()
        try:
            self._air.wait(5)
        except subprocess.TimeoutExpired:
            self._air.kill()
            self._air.wait()
        self._air.stdout.close()
        self.air._close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    # --- inside ---

    def _board(self, name):
        try:
            return self._boards[name]
        except KeyError:
            raise VirtualBoardError("there is no board %s" % name) from None

    def _launch(self, board, cause):
        rtc = board.directory / "rtc.bin"
        if cause == "power" or not rtc.exists():
            rtc.write_bytes(bytes(2050))
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        settings = {
            "name": board.name,
            "image": str(self.image(board)),
            "rtc": str(rtc),
            "mac": board.mac.hex(),
            "air_port": self.air_port,
            "supervisor_fd": write_end,
            "reset_cause": CAUSES[cause],
            "wlan": board.wlan if cause == "soft" else None,
        }
        settings.update(board.options)
        path = board.directory / "settings.json"
        path.write_text(json.dumps(settings))
        heap_kib = board.options.get("heap_kib", 2048)
        with open(board.directory / "console.log", "ab") as console:
            board.process = subprocess.Popen(
                [
                    self._interpreter,
                    "-X",
                    "heapsize=%dK" % heap_kib,
                    str(image.HERE / "board.py"),
                    str(path),
                ],
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=console,
                pass_fds=(write_end,),
                process_group=0,
            )
        os.close(write_end)
        os.set_blocking(board.process.stdin.fileno(), False)
        board.pipe = read_end
        board.unread = b""
        board.state = "on"
        board.cause = cause
        board.wdt_s = board.deadline = None
        board.boots += 1
        board.last_start = time.monotonic()
        self._guardian("watch", board.process.pid)
        self._wake()

    def _end(self, board):
        """Kill and reap a board's process, and take its radio off the air."""
        board.reboot_at = None
        process, board.process = board.process, None
        if process is None:
            return
        process.kill()
        process.wait()
        process.stdin.close()
        self._guardian("drop", process.pid)
        os.close(board.pipe)
        board.pipe = None
        board.deadline = None
        if self._air.poll() is None:
            self.air._ask("off", board.mac.hex())

    def _guardian(self, verb, pid):
        try:
            self._air.stdin.write(b"%s %d\n" % (verb.encode(), pid))
            self._air.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # the air is gone: the next control says so

    def _wake(self):
        os.write(self._wake_write, b"x")

    def _watch(self):
        """Thread: hear the boards' messages and deaths, keep their watchdogs."""
        while not self._closing:
            with self._lock:
                boards = list(self._boards.values())
                pipes = {board.pipe: board for board in boards if board.pipe is not None}
                times = [board.deadline for board in boards] + [b.reboot_at for b in boards]
            times = [due for due in times if due is not None]
            timeout = max(0.0, min(times) - time.monotonic()) if times else None
            try:
                readable, _, _ = select.select([self._wake_read, *pipes], [], [], timeout)
            except OSError:
                continue  # a board was switched off between the two lines
            if self._wake_read in readable:
                os.read(self._wake_read, 4096)
            with self._lock:
                for pipe in readable:
                    board = pipes.get(pipe)
                    # The number may belong to a newer pipe by now: a spurious read is harmless.
                    if board is not None and board.pipe == pipe and not self._closing:
                        self._hear(board)
                for board in boards:
                    if self._closing:
                        return
                    if _past(board.deadline):
                        self._hear(board)  # a feed may be waiting to be read
                        if _past(board.deadline):
                            self._log(board, "Task watchdog got triggered.")
                            self._reset(board, "wdt")
                    if _past(board.reboot_at):
                        board.reboot_at = None
                        self._launch(board, board.cause)

    def _hear(self, board):
        try:
            chunk = os.read(board.pipe, 65536)
        except BlockingIOError:
            return
        if not chunk:
            self._end(board)
            board.state = "dead"
            return
        *lines, board.unread = (board.unread + chunk).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "wdt" in message:
                board.wdt_s = message["wdt"] / 1000
                if board.state == "on":
                    board.deadline = time.monotonic() + board.wdt_s
            elif "reset" in message:
                board.wlan = message.get("wlan")
                self._reset(board, message["reset"])
                return

    def _reset(self, board, cause):
        """Down now, up again at once, or after a pause when it has reset in a row."""
        self._end(board)
        board.cause = cause
        board.reboot_at = max(time.monotonic(), board.last_start + REBOOT_PAUSE)

    def _log(self, board, line):
        with open(board.directory / "console.log", "a") as console:
            console.write(line + "\n")


def _past(due):
    return due is not None and due <= time.monotonic()
