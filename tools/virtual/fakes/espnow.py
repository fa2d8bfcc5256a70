"""`espnow` of firmware v1.27.0 (ESP-NOW v1 payloads, receive header of 13 bytes with the MAC).

Held to the measured transcripts: error numbers and names, the byte ring with its capacity rule and
the poisoning by frames over 250 bytes, the shared buffer of irecv, the peer table.

Different on purpose:
- ioctl is visible, because a poll of the host needs it; a poll reports writable at any time.
- Interrupt handlers run when the board calls an ESP-NOW method or sleeps with time.sleep*(), not
  between any two bytecodes, and not while asyncio waits.
- The driver takes 32 frames before it makes send() wait; the depth of the real one is unknown.
- The driver's own log lines ("E (12238) ESPNOW: Invalid argument!") are not printed.
- ETIMEDOUT has the host's number, not newlib's 116: the compiler turns errno.ETIMEDOUT into the
  host's number wherever board code says it, and both sides must agree.
- Encrypted peers exist in the table only; frames travel in clear.
"""

import errno
import io
import select
import struct
import time
from collections import deque

import _chip
import airlink
import micropython
import network
import utime

MAX_DATA_LEN = 250
ADDR_LEN = 6
KEY_LEN = 16
MAX_TOTAL_PEER_NUM = 20
MAX_ENCRYPT_PEER_NUM = 6
RATE_1M = 0
RATE_2M = 1
RATE_5M = 2
RATE_11M = 3
RATE_24M = 9
RATE_12M = 10
RATE_6M = 11
RATE_54M = 12
RATE_LORA_250K = 41
RATE_LORA_500K = 42

_MAGIC = micropython.const(0x99)
_HEADER = micropython.const(7)  # magic, length, time ms u32, RSSI
_PACKET = micropython.const(13)  # header and MAC
_MAX_V2 = micropython.const(1470)
_ENCRYPTED_MAX = micropython.const(7)  # the driver takes one more than the constant says
_DEFAULT_RXBUF = micropython.const(526)
_DEFAULT_TIMEOUT_MS = micropython.const(300000)
_RESPONSE_TIMEOUT_MS = micropython.const(100)
_QUEUE_TIMEOUT_MS = micropython.const(2000)
_QUEUE_MAX = micropython.const(32)
_SCHEDULER_DEPTH = micropython.const(8)
_NO_KEY = bytes(16)

_ERRORS = {
    "NOT_INIT": -12389,
    "ARG": -12390,
    "NO_MEM": -12391,
    "FULL": -12392,
    "NOT_FOUND": -12393,
    "EXIST": -12395,
    "IF": -12396,
    "CHAN": -12397,
}


def _error(name):
    return OSError(_ERRORS[name], "ESP_ERR_ESPNOW_" + name)


def _bytes_of(value, length):
    data = memoryview(value)
    if len(data) != length:
        raise ValueError("invalid buffer length")
    return bytes(data)


class _Ring:
    """py/ringbuf.h: a byte ring that holds at most size - 1 bytes."""

    def __init__(self, size):
        self.buffer = bytearray(size)
        self.view = memoryview(self.buffer)
        self.size = size
        self.first = 0
        self.used = 0

    def free(self):
        return self.size - 1 - self.used

    def put(self, data):
        at = (self.first + self.used) % self.size
        head = min(len(data), self.size - at)
        self.view[at : at + head] = data[:head]
        if head < len(data):
            self.view[: len(data) - head] = data[head:]
        self.used += len(data)

    def get(self, into, n):
        """Move n bytes into the buffer; False, and nothing moved, when there are fewer."""
        if self.used < n:
            return False
        head = min(n, self.size - self.first)
        into[:head] = self.view[self.first : self.first + head]
        if head < n:
            into[head:n] = self.view[: n - head]
        self.first = (self.first + n) % self.size
        self.used -= n
        return True


class _PeersTable(dict):
    """{MAC: [RSSI, ticks_ms of arrival]}; the firmware's is fixed, so items cannot be assigned."""

    def __setitem__(self, key, value):
        raise TypeError("")


class _Peer:
    def __init__(self, mac):
        self.mac = mac
        self.lmk = _NO_KEY
        self.channel = 0
        self.ifidx = network.STA_IF
        self.encrypt = False

    def set(self, lmk, channel, ifidx, encrypt):
        if lmk is not None:
            self.lmk = _bytes_of(lmk, KEY_LEN)
            self.encrypt = True if encrypt is None else bool(encrypt)
        elif encrypt is not None:
            self.encrypt = bool(encrypt)
        if not self.encrypt:
            self.lmk = _NO_KEY
        if channel is not None:
            self.channel = channel
        if ifidx is not None:
            self.ifidx = ifidx

    def info(self):
        return (self.mac, self.lmk, self.channel, self.ifidx, self.encrypt)


class _Driver:
    """The state that every ESPNow object shares."""

    def __init__(self):
        self.ring = None
        self.rxbuf = _DEFAULT_RXBUF
        self.timeout_ms = _DEFAULT_TIMEOUT_MS
        self.peers = []
        self.table = _PeersTable()
        self.tx_packets = self.tx_responses = self.tx_failures = 0
        self.rx_packets = self.rx_dropped = 0
        self.handler = None
        self.handler_arg = None
        self.interrupts = 0  # calls of the handler that are due, as many as the scheduler holds
        self.scheduled = False
        self.serial = 0
        self.forgotten = 0  # responses up to this serial belong to an earlier activation
        self.polled = False
        self.woken = False
        self.draining = False
        self.out = bytearray(airlink.DATAGRAM)
        self.out_view = memoryview(self.out)
        self.arrival = bytearray(_HEADER)
        self.header = bytearray(_HEADER)
        self.mac = bytearray(ADDR_LEN)
        _chip.link.sent = self.sent

    # --- guards ---

    def check_driver(self):
        if not network.driver.interfaces:
            _chip.panic()

    def check_init(self):
        if self.ring is None:
            raise _error("NOT_INIT")

    # --- life ---

    def activate(self):
        if self.ring is None:
            self.ring = _Ring(self.rxbuf)
            network.driver.listening = True
            network.driver.publish()

    def deactivate(self):
        if self.ring is None:
            return
        network.driver.listening = False
        network.driver.publish()
        self.drain()
        self.ring = None
        self.peers.clear()
        self.tx_packets = self.tx_responses
        self.forgotten = self.serial

    # --- receiving ---

    def drain(self):
        """Put every frame that has come into the ring, as the Wi-Fi task does."""
        if self.draining:
            return
        self.draining = True
        frame = _chip.link.frame()
        while frame:
            if frame[0] == airlink.WAKE:
                self.woken = False
            elif frame[0] == airlink.FRAME and len(frame) > airlink.FRAME_HEADER:
                self.store(frame)
            frame = _chip.link.frame()
        self.draining = False
        if self.interrupts and not self.scheduled:
            self.scheduled = True
            micropython.schedule(_run_handler, self)

    def store(self, frame):
        ring = self.ring
        if ring is None:
            return
        length = len(frame) - airlink.FRAME_HEADER
        if _PACKET + length >= ring.free():
            self.rx_dropped += 1
            return
        arrive_us, rssi, _ = airlink.unpack_frame(frame)
        ms = time._host_to_ms(arrive_us) & 0xFFFFFFFF
        # The length field has 8 bits: that is how a v2 frame desynchronises the ring.
        struct.pack_into("<BBIb", self.arrival, 0, _MAGIC, length & 0xFF, ms, rssi)
        ring.put(self.arrival)
        ring.put(memoryview(frame)[airlink.FRAME_HEADER - ADDR_LEN :])
        self.rx_packets += 1
        if self.handler is not None and self.interrupts < _SCHEDULER_DEPTH:
            self.interrupts += 1

    def stay_readable(self):
        """Data in the ring must keep a poll of the rx socket readable."""
        if self.polled and not self.woken and self.ring is not None and self.ring.used:
            self.woken = True
            _chip.link.rx.sendto(_WAKE, _chip.link.rx_address)

    def receive(self, items, timeout_ms):
        self.check_init()
        if timeout_ms is None:
            timeout_ms = self.timeout_ms
        elif isinstance(timeout_ms, (str, bytes, bytearray)):
            raise TypeError("can't convert %s to int" % type(timeout_ms).__name__)
        if not isinstance(items, list) or len(items) < 2:
            raise ValueError("ESPNow.recvinto(): Invalid argument")
        message = items[1]
        if isinstance(message, bytearray) and len(message) < MAX_DATA_LEN:
            # A message shortens the bytearray, its space stays; the C code takes it back first.
            for known in _shortened:
                if known is message:
                    message[len(message) :] = bytes(MAX_DATA_LEN - len(message))
        if len(memoryview(message)) != MAX_DATA_LEN:
            raise ValueError("invalid buffer length")
        self.drain()
        header = self.header
        ring = self.ring
        if not ring.get(header, _HEADER):
            if timeout_ms == 0 or not self.wait(timeout_ms):
                return 0
        n = header[1]
        mac = self.mac
        if (
            header[0] != _MAGIC
            or n > MAX_DATA_LEN
            or not ring.get(mac, ADDR_LEN)
            or not ring.get(message, n)
        ):
            self.stay_readable()
            raise ValueError("ESPNow.recv(): buffer error")
        rssi = header[6] - 256 if header[6] > 127 else header[6]
        ms = header[2] | header[3] << 8 | header[4] << 16 | header[5] << 24
        items[0] = self.note(bytes(mac), rssi, ms)
        if len(items) >= 4:
            items[2] = rssi
            items[3] = ms
        if isinstance(message, bytearray):
            if not any(known is message for known in _shortened):
                _shortened.append(message)
            message[n:] = b""
        self.stay_readable()
        return n

    def wait(self, timeout_ms):
        """Wait for a receive header; the frames keep coming in. False on timeout."""
        start = utime.ticks_ms()
        while True:
            left = timeout_ms - utime.ticks_diff(utime.ticks_ms(), start)
            if timeout_ms >= 0 and left <= 0:
                return False
            _chip.link.rx_poll.poll(min(left, 100) if timeout_ms >= 0 else 100)
            self.drain()
            if self.ring is None:
                raise _error("NOT_INIT")
            if self.ring.get(self.header, _HEADER):
                return True

    def note(self, mac, rssi, ms):
        for known in self.table:
            if known == mac:
                entry = self.table[known]
                entry[0] = rssi
                entry[1] = ms
                return known
        self.table.update({mac: [rssi, ms]})
        return mac

    # --- sending ---

    def sent(self, serial, acked):
        if (self.forgotten - serial) & 0xFFFF < 0x8000:
            return
        self.tx_responses += 1
        if not acked:
            self.tx_failures += 1

    def outstanding(self):
        return self.tx_packets - self.tx_responses

    def settle(self, most, timeout_ms):
        """Wait until at most ``most`` frames are unanswered. False on timeout."""
        link = _chip.link
        link.drain()
        start = utime.ticks_ms()
        while self.outstanding() > most:
            left = timeout_ms - utime.ticks_diff(utime.ticks_ms(), start)
            if left <= 0:
                return False
            link.link_poll.poll(left)
            link.drain()
        return True

    def transmit(self, peer, message):
        interface = peer.ifidx
        if not network.driver.is_active(interface):
            raise _error("IF")
        if peer.channel and peer.channel != network.driver.channel:
            raise _error("CHAN")
        self.serial = (self.serial + 1) & 0xFFFF
        airlink.pack_send_into(self.out, _chip.link.mac, peer.mac, self.serial)
        end = airlink.SEND_HEADER + len(message)
        self.out_view[airlink.SEND_HEADER : end] = message
        if not self.settle(_QUEUE_MAX - 1, _QUEUE_TIMEOUT_MS):
            raise _error("NO_MEM")
        _chip.link.link.send(self.out_view[:end])
        self.tx_packets += 1

    def send(self, mac, message, sync):
        self.check_init()
        message = memoryview(message)
        if mac is not None:
            mac = _bytes_of(mac, ADDR_LEN)
        if sync and not self.settle(0, _RESPONSE_TIMEOUT_MS):
            raise OSError(errno.ETIMEDOUT)
        failures = self.tx_failures
        if not 0 < len(message) <= _MAX_V2:
            raise _error("ARG")
        if mac is None:
            peers = [peer for peer in self.peers if not peer.mac[0] & 1]
            if not peers:
                raise _error("NOT_FOUND")
            for peer in peers:
                self.transmit(peer, message)
        else:
            self.transmit(self.find(mac), message)
        if not sync:
            return True
        if not self.settle(0, _RESPONSE_TIMEOUT_MS):
            raise OSError(errno.ETIMEDOUT)
        return self.tx_failures == failures

    # --- peers ---

    def find(self, mac):
        for peer in self.peers:
            if peer.mac == mac:
                return peer
        raise _error("NOT_FOUND")

    def add(self, mac, lmk, channel, ifidx, encrypt):
        peer = _Peer(mac)
        peer.set(lmk, channel, ifidx, encrypt)
        if self.ring is None:
            raise _error("NOT_INIT")
        if peer.ifidx not in (network.STA_IF, network.AP_IF) or not 0 <= peer.channel <= 14:
            raise _error("ARG")
        if any(known.mac == mac for known in self.peers):
            raise _error("EXIST")
        encrypted = sum(1 for known in self.peers if known.encrypt)
        if len(self.peers) >= MAX_TOTAL_PEER_NUM or (peer.encrypt and encrypted >= _ENCRYPTED_MAX):
            raise _error("FULL")
        self.peers.append(peer)


def _run_handler(driver):
    while driver.interrupts:
        driver.interrupts -= 1
        if driver.handler is None:
            continue
        try:
            driver.handler(driver.handler_arg)
        except Exception as error:
            import sys

            sys.print_exception(error)
    driver.scheduled = False


_WAKE = bytes((airlink.WAKE,))
# Bytearrays that a message has shortened, the latest callers' own.
_shortened = deque((), 8)
_driver = _Driver()


def _idle(us):
    """time.sleep*() with an interrupt handler set: wake for frames."""
    _chip.link.rx_poll.poll(max(1, min(us // 1000, 10)))
    if _driver.ring is not None:
        _driver.drain()


class ESPNowBase(io.IOBase):
    def active(self, on=None):
        if on is None:
            return _driver.ring is not None
        if on:
            _driver.check_driver()
            _driver.activate()
        else:
            _driver.deactivate()
        return _driver.ring is not None

    def config(self, *names, **values):
        if names:
            if names[0] == "rxbuf":
                return _driver.rxbuf
            if names[0] == "timeout_ms":
                return _driver.timeout_ms
            raise ValueError("unknown config param")
        for name in values:
            if name not in ("rxbuf", "timeout_ms", "rate"):
                raise TypeError("extra keyword arguments given")
        if "rxbuf" in values:
            _driver.rxbuf = values["rxbuf"]
        if "timeout_ms" in values:
            _driver.timeout_ms = values["timeout_ms"]
        if "rate" in values and not (
            network.driver.is_active(network.STA_IF) or network.driver.is_active(network.AP_IF)
        ):
            raise OSError(errno.ENOENT)

    def irq(self, handler, arg=None):
        if handler is not None and not callable(handler):
            raise ValueError("invalid handler")
        _driver.handler = handler
        _driver.handler_arg = arg
        _driver.interrupts = 0
        time._idle = _idle if handler is not None else None

    def stats(self):
        _driver.drain()
        _chip.link.drain()
        return (
            _driver.tx_packets,
            _driver.tx_responses,
            _driver.tx_failures,
            _driver.rx_packets,
            _driver.rx_dropped,
        )

    def recvinto(self, items, timeout_ms=None):
        return _driver.receive(items, timeout_ms)

    def any(self):
        _driver.check_init()
        _driver.drain()
        _driver.stay_readable()
        return _driver.ring.used != 0

    def send(self, *args):
        if not 1 <= len(args) <= 3:
            raise TypeError("function missing 1 required positional arguments")
        if len(args) == 1:
            return _driver.send(None, args[0], True)
        return _driver.send(args[0], args[1], len(args) < 3 or args[2] is None or bool(args[2]))

    def set_pmk(self, key):
        _driver.check_driver()
        _bytes_of(key, KEY_LEN)
        _driver.check_init()

    def add_peer(self, mac, lmk=None, channel=None, ifidx=None, encrypt=None):
        _driver.check_driver()
        _driver.add(_bytes_of(mac, ADDR_LEN), lmk, channel, ifidx, encrypt)

    def mod_peer(self, mac, lmk=None, channel=None, ifidx=None, encrypt=None):
        _driver.check_driver()
        mac = _bytes_of(mac, ADDR_LEN)
        _driver.check_init()
        _driver.find(mac).set(lmk, channel, ifidx, encrypt)

    def del_peer(self, mac):
        _driver.check_driver()
        mac = _bytes_of(mac, ADDR_LEN)
        _driver.check_init()
        _driver.peers.remove(_driver.find(mac))

    def get_peer(self, mac):
        _driver.check_driver()
        mac = _bytes_of(mac, ADDR_LEN)
        _driver.check_init()
        return _driver.find(mac).info()

    def get_peers(self):
        _driver.check_init()
        return tuple(peer.info() for peer in _driver.peers if not peer.mac[0] & 1)

    def peer_count(self):
        _driver.check_driver()
        _driver.check_init()
        return (len(_driver.peers), sum(1 for peer in _driver.peers if peer.encrypt))

    @property
    def peers_table(self):
        return _driver.table

    @peers_table.setter
    def peers_table(self, value):
        pass  # the firmware ignores the assignment without an error

    def ioctl(self, request, flags):
        if request == 3:
            _driver.polled = True
            if _driver.ring is None:
                return 0
            _driver.drain()
            _chip.link.drain()
            ready = select.POLLIN if _driver.ring.used else 0
            if _driver.outstanding() == 0:
                ready |= select.POLLOUT
            return ready & flags
        if request == 10:
            # The host's poll waits on the rx socket itself; stay_readable keeps it truthful.
            _driver.polled = True
            _driver.stay_readable()
            return _chip.link.rx.fileno()
        return -errno.EINVAL


class ESPNow(ESPNowBase):
    # One buffer for all objects: the next irecv() or recv() overwrites it.
    _data = [None, bytearray(MAX_DATA_LEN)]
    _none_tuple = (None, None)

    def irecv(self, timeout_ms=None):
        n = self.recvinto(self._data, timeout_ms)
        return self._data if n else self._none_tuple

    def recv(self, timeout_ms=None):
        n = self.recvinto(self._data, timeout_ms)
        return [bytes(x) for x in self._data] if n else self._none_tuple

    def irq(self, callback):
        super().irq(callback, self)

    def __iter__(self):
        return self

    def __next__(self):
        return self.irecv()

    def __repr__(self):
        return "<ESPNow object>"
