"""The air between virtual boards, in real time, as a process of its own.

`python -m tools.virtual.air_process [SEED]` binds an ephemeral UDP port on loopback, prints
`port N`, and then passes frames between boards by the rules of tools.air.Air.

It lives as long as its standard input stays open, so it never outlives the supervisor. It is also
the boards' guardian: on its input it reads `watch PID` and `drop PID`, and when the input ends it
kills the watched processes by pid. A board that is stopped by a signal could not end by itself.

Control: a JSON object `{"id": any, "do": name, "args": [...]}` sent to the same port is answered
with `{"id": same, "ok": result}` or `{"id": same, "error": sentence}`. Names are those of Air
(set_loss, set_delay, set_duplicate, cut, heal, partition, place, calm, stats; use and jam, whose
arguments are in an object, and move, all without the time), and `off` (switch a station off: its
board lost power). Stations are MACs in hex, null stands for every one.
"""

import json
import os
import random
import select
import signal
import socket
import sys
import time

from tools.air import Air
from tools.virtual import airlink


def now_us():
    return time.monotonic_ns() // 1000


class AirProcess:
    def __init__(self, rng):
        self.air = Air(rng)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        self.rx = {}  # MAC -> address of the rx socket
        self.listening = {}  # MAC -> ESP-NOW is active
        self.overflowed = 0  # datagrams that a board had no room for
        self.watched = set()
        self._input = b""

    def run(self):
        """Serve until standard input ends."""
        while True:
            due_us = self.air.next_us()
            timeout = None if due_us is None else max(0, due_us - now_us()) / 1e6
            readable, _, _ = select.select([self.socket, 0], [], [], timeout)
            if self.socket in readable:
                self._receive()
            self._deliver()
            if 0 in readable and not self._guard():
                return

    def _guard(self):
        """Read the supervisor's lines; False when it is gone."""
        chunk = os.read(0, 4096)
        self._input += chunk
        *lines, self._input = self._input.split(b"\n")
        for line in lines:
            verb, _, pid = line.partition(b" ")
            if verb == b"watch":
                self.watched.add(int(pid))
            elif verb == b"drop":
                self.watched.discard(int(pid))
        return bool(chunk)

    def kill_watched(self):
        for pid in self.watched:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def _receive(self):
        # A bounded batch, so that due frames leave on time under load.
        for _ in range(64):
            try:
                datagram, address = self.socket.recvfrom(65536)
            except (BlockingIOError, ConnectionError):
                return
            kind = datagram[0] if datagram else 0
            if kind == airlink.SEND:
                self._send(datagram, address)
            elif kind == airlink.STATE:
                self._state(datagram, address)
            elif kind == airlink.RX:
                self.rx[airlink.unpack_rx(datagram)] = address
            elif kind == ord("{"):
                self.socket.sendto(self._control(datagram), address)

    def _state(self, datagram, address):
        mac, channel, flags, serial = airlink.unpack_state(datagram)
        self.air.station(mac, channel, bool(flags & airlink.RADIO))
        self.listening[mac] = bool(flags & airlink.LISTEN)
        self._post(address, airlink.pack_reply(airlink.STATE, serial, self.rx[mac][1]))

    def _send(self, datagram, address):
        src, dst, serial = airlink.unpack_send(datagram)
        station = self.air.stations.get(src)
        if station is None or not station.on:
            return
        payload = datagram[airlink.SEND_HEADER :]
        kind = payload[1] if len(payload) > 1 else None  # the type byte of our frames
        token = (address, serial, payload)
        self.air.submit(now_us(), src, dst, len(payload), kind, token)

    def _deliver(self):
        for at_us, sent, heard, done in self.air.advance(now_us()):
            address, serial, payload = sent.token
            for receiver, rssi in heard:
                if self.listening[receiver]:
                    frame = airlink.pack_frame(at_us, rssi, sent.sender.mac, payload)
                    self._post(self.rx[receiver], frame)
            if done:
                self._post(address, airlink.pack_reply(airlink.SENT, serial, sent.acked))

    def _post(self, address, datagram):
        try:
            self.socket.sendto(datagram, address)
        except (BlockingIOError, ConnectionError):
            # A board that just died refuses; one that never reads has a full buffer.
            self.overflowed += 1

    def _control(self, datagram):
        answer = {"id": None}
        try:
            request = json.loads(datagram)
            answer["id"] = request.get("id")
            answer["ok"] = self._do(request["do"], request.get("args", []))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            answer["error"] = "%s: %s" % (type(error).__name__, error)
        return json.dumps(answer).encode()

    def _do(self, name, args):
        air = self.air
        if name == "stats":
            return dict(air.stats(), overflowed=self.overflowed)
        if name == "partition":
            return air.partition([[_mac(mac) for mac in group] for group in args[0]])
        if name == "set_loss":
            return air.set_loss(args[0], *map(_mac, args[1:]))
        if name in ("set_delay", "set_duplicate"):
            return getattr(air, name)(*args)
        if name in ("cut", "heal"):
            return getattr(air, name)(*map(_mac, args))
        if name == "use":
            return air.use(args[0], **args[1])
        if name == "place":
            return air.place(_mac(args[0]), args[1])
        if name == "move":
            return air.move(now_us(), _mac(args[0]), *args[1:])
        if name == "jam":
            air.jam(now_us(), now_us() + int(1e6 * args[0]), **args[1])
            return None
        if name == "calm":
            return air.calm(now_us())
        if name == "off":
            mac = _mac(args[0])
            if mac in air.stations:
                air.station(mac, air.stations[mac].medium.channel, False)
            return None
        raise ValueError("no such control: %s" % name)


def _mac(text):
    return None if text is None else bytes.fromhex(text)


def main(argv):
    process = AirProcess(random.Random(int(argv[1]) if len(argv) > 1 else None))
    print("port", process.port, flush=True)
    try:
        process.run()
    finally:
        process.kill_watched()


if __name__ == "__main__":
    main(sys.argv)
