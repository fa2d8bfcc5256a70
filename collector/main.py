"""The collector: a converter between ESP-NOW and UDP. It decodes nothing and holds no key.

Every frame that it hears goes to the subscribed PCs in batches; every frame of a subscribed PC
goes on the air, within a budget. What it loses, it counts and says (collector/envelope.py).
"""

import asyncio
import select
import socket
import time

from collector import envelope
from firmware.clock import Clock
from firmware.radio import Radio
from raft.message import const

_SUBSCRIBERS_MAX = const(4)
_BATCH_MS = const(10)  # a frame waits at most this long for company
_FRAMES_A_TURN = const(32)
_DATAGRAMS_A_TURN = const(8)
# Budget of the PCs on the air: frames saved up at most, and one more each so many ms.
_BURST = const(20)
_FRAME_EVERY_MS = const(10)


class Collector:
    """`radio`: a firmware.radio.Radio; `udp`: a bound, non-blocking UDP socket."""

    def __init__(self, radio, udp):
        self._radio = radio
        self._udp = udp
        self._batch = envelope.Batch()
        self._batch_since_ms = 0
        self._subscribers = []  # [address, until_ms]
        self._budget = _BURST
        self._budget_at_ms = 0
        self.counts = {name: 0 for name in envelope.COUNTERS}

    def step(self, now_ms):
        """Move what waits in both directions; return how long at most to wait for more (ms)."""
        self._hear(now_ms)
        self._listen(now_ms)
        if not len(self._batch):
            return 100
        wait_ms = self._batch_since_ms + _BATCH_MS - now_ms
        if wait_ms <= 0:
            self._flush(now_ms)
            return 100
        return wait_ms

    def _hear(self, now_ms):
        radio = self._radio
        for _ in range(_FRAMES_A_TURN):
            length = radio.receive()
            if not length:
                return
            if not self._subscribers:
                continue
            if not len(self._batch):
                self._batch_since_ms = now_ms
            place = radio.ticks_ms, radio.rssi, radio.mac, radio.frame, length
            if not self._batch.add(*place):
                self._flush(now_ms)
                self._batch.add(*place)
                self._batch_since_ms = now_ms

    def _flush(self, now_ms):
        datagram = self._batch.take()
        for subscriber in self._subscribers:
            self._tell(datagram, subscriber[0])

    def _tell(self, datagram, address):
        try:
            self._udp.sendto(datagram, address)
        except OSError:
            # lwIP out of buffers, no route: the sequence shows the PC that something is missing.
            self.counts["udp_drops"] += 1

    def _listen(self, now_ms):
        self._forget(now_ms)
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                datagram, address = self._udp.recvfrom(envelope.DATAGRAM_MAX)
            except OSError:
                return
            kind = envelope.kind_of(datagram)
            if kind == envelope.SUBSCRIBE:
                self._subscribe(address, now_ms)
            elif kind == envelope.SEND:
                self._send(memoryview(datagram)[envelope.HEAD_SIZE :], address, now_ms)
            else:
                self.counts["bad_datagrams"] += 1

    def _find(self, address):
        for subscriber in self._subscribers:
            if subscriber[0] == address:
                return subscriber
        return None

    def _subscribe(self, address, now_ms):
        subscriber = self._find(address)
        if subscriber is None:
            if len(self._subscribers) == _SUBSCRIBERS_MAX:
                self._subscribers.pop(0)
            subscriber = [address, 0]
            self._subscribers.append(subscriber)
        subscriber[1] = now_ms + envelope.SUBSCRIPTION_MS
        radio = self._radio
        self.counts["heard"] = radio.heard
        self.counts["resets"] = radio.resets
        self.counts["ring_drops"] = radio.ring_drops()
        self._tell(envelope.welcome(time.ticks_ms(), radio.channel, self.counts), address)

    def _forget(self, now_ms):
        for subscriber in self._subscribers:
            if now_ms >= subscriber[1]:
                self._subscribers.remove(subscriber)
                return

    def _send(self, frame, address, now_ms):
        earned = (now_ms - self._budget_at_ms) // _FRAME_EVERY_MS
        self._budget = min(_BURST, self._budget + earned)
        self._budget_at_ms += earned * _FRAME_EVERY_MS
        if self._find(address) is None:
            reason = envelope.NOT_SUBSCRIBED
        elif not envelope.frame_length_ok(len(frame)):
            reason = envelope.BAD_LENGTH
        elif self._budget == 0:
            reason = envelope.TOO_FAST
        elif not self._radio.send(frame):
            reason = envelope.RADIO_FAILED
        else:
            self._budget -= 1
            self.counts["sent"] += 1
            return
        self.counts["refused"] += 1
        self._tell(envelope.refused(reason), address)


async def run(config):
    """Run a collector for ever. Raises OSError if the UDP port is taken."""
    radio = Radio(config.channel)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(socket.getaddrinfo(config.udp_host, config.udp_port)[0][-1])
    udp.setblocking(False)
    collector = Collector(radio, udp)
    poller = select.poll()
    poller.register(radio.espnow, select.POLLIN)
    poller.register(udp, select.POLLIN)
    clock = Clock()
    print("raftnow: collector, UDP port %d, up" % config.udp_port)
    while True:
        poller.poll(collector.step(clock.now_ms()))
        await asyncio.sleep_ms(0)
