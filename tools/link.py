"""A `Station` with a UDP socket and the clock, for programs without a window.

    with Link("127.0.0.1", 5310, "demo", key) as link:
        leader = link.wait_leader(10)
        print(link.set(leader, 3, 42, 5).text)

The viewer uses the same class: it waits on `fileno()` and calls `pump()`.
"""

import os
import select
import socket
import time

from raft.message import DATABASE, LINEARIZABLE
from tools.pc import COLLECTOR_SILENT_MS, DONE, HEARD_LATELY_MS, REFUSED, UNSURE, Station

RECEIVE_MAX = 65535
DATAGRAMS_A_PUMP = 2000  # so that a flood cannot keep the caller from anything else
TICK_S = 0.02
AGAIN_S = 0.2


class LinkError(RuntimeError):
    """The cluster cannot be reached; the text says what to check."""


def clock_ms():
    """Milliseconds that never go back."""
    return time.monotonic_ns() // 1_000_000


class Link:
    """The PC's end of `cluster` (name), by the collector at `host`:`port`.

    `key` are the cluster's 16 to 64 bytes (else ValueError). Raises LinkError if the host has no
    address.
    """

    def __init__(self, host, port, cluster, key, on_heard=None):
        self.host = host
        self.port = port
        self.station = Station(cluster, key, os.urandom)
        self.refused = False  # the last datagram we sent found nobody at the port
        self._on_heard = on_heard
        self._started_ms = clock_ms()
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind)
            # A connected socket is told when nobody listens at the port (ICMP).
            self._socket.connect(address)
        except (OSError, UnicodeError) as error:
            raise LinkError("cannot reach the collector at %s: %s" % (host, error)) from error
        self._socket.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._socket.close()

    def fileno(self):
        return self._socket.fileno()

    def pump(self):
        """Read what came, do what is due, send; never blocks. Returns the frames heard."""
        for _ in range(DATAGRAMS_A_PUMP):
            try:
                data = self._socket.recv(RECEIVE_MAX)
            except BlockingIOError:
                break
            except OSError:
                self.refused = True
                continue
            self.refused = False
            self.station.datagram(data, clock_ms())
        self.station.tick(clock_ms())
        self.flush()
        heard = self.station.heard()
        if self._on_heard is not None:
            for one in heard:
                self._on_heard(one)
        return heard

    def flush(self):
        """Send what the station has to send. What the network does not take is lost, as on UDP."""
        for data in self.station.outgoing():
            try:
                self._socket.send(data)
            except BlockingIOError:
                break
            except OSError:
                self.refused = True

    def silence(self):
        """Why nothing comes from the collector, as a sentence, or None if it is heard."""
        last_ms = self.station.collector_heard_ms
        since_ms = clock_ms() - (self._started_ms if last_ms is None else last_ms)
        if since_ms < COLLECTOR_SILENT_MS:
            return None
        where = "%s port %d" % (self.host, self.port)
        if self.refused:
            return "nobody listens on %s: is the collector running there?" % where
        return "nothing heard from the collector at %s for %d s: same network? right address?" % (
            where,
            since_ms // 1000,
        )

    def run(self, until, timeout_s):
        """Pump until `until()` is true; return False if that takes longer than `timeout_s`.

        Raises LinkError if nothing is heard from the collector for 5 s.
        """
        end = time.monotonic() + timeout_s
        while True:
            self.pump()
            if until():
                return True
            left_s = end - time.monotonic()
            if left_s <= 0:
                return False
            silence = self.silence()
            if silence:
                raise LinkError(silence)
            select.select([self._socket], [], [], min(TICK_S, left_s))

    def leader(self):
        """Node id of the leader whose AppendEntries were heard in the last second, or None."""
        if self.station.leader is None:
            return None
        node = self.station.leader[1]
        lately = clock_ms() - self.station.boards[node].heard_ms < HEARD_LATELY_MS
        return node if lately else None

    def wait_leader(self, timeout_s, other_than=None):
        """Wait for a leader (other than node `other_than`) and return its node id.

        Raises LinkError, with what was heard instead, if there is none in `timeout_s`.
        """
        if self.run(lambda: self.leader() not in (None, other_than), timeout_s):
            return self.leader()
        station = self.station
        if not station.boards:
            why = "no board was heard"
            if station.wrong_key_frames:
                why = "%d frames of this cluster fail authentication: wrong key?" % (
                    station.wrong_key_frames
                )
        else:
            why = "boards heard: " + ", ".join(str(node) for node in sorted(station.boards))
        raise LinkError("no leader within %g s; %s" % (timeout_s, why))

    def set(self, node, index, value, timeout_s):
        """Set `index` to `value` at board `node`, wait for the end and return the Command.

        The Command is unfinished if `timeout_s` is shorter than the station's own 5 s. Raises
        ValueError for a number out of range, LinkError if the collector is gone.
        """
        return self._end(self.station.set(node, index, value, clock_ms()), timeout_s)

    def add(self, node, index, delta, timeout_s):
        """Add `delta` to `index`, as `set`."""
        return self._end(self.station.add(node, index, delta, clock_ms()), timeout_s)

    def cas(self, node, index, expected, value, timeout_s):
        """Set `index` to `value` if it is `expected`, as `set`."""
        return self._end(self.station.cas(node, index, expected, value, clock_ms()), timeout_s)

    def change(self, node, data, timeout_s):
        """Have board `node` propose `data`, a command of the cluster's state machine, as `set`."""
        return self._end(self.station.change(node, data, clock_ms()), timeout_s)

    def insist(self, command, timeout_s):
        """Ask other boards for a `command` that ended unknown, under its number, so that it is
        applied once; return it as soon as its outcome is known, or after `timeout_s`."""
        end = time.monotonic() + timeout_s
        asked = {command.node}
        while command.state == UNSURE and time.monotonic() < end:
            others = [n for n in sorted(self.station.boards) if n not in asked]
            if not others:
                break
            asked.add(others[0])
            self.station.retry(command, others[0], clock_ms())
            self._end(command, max(0.0, end - time.monotonic()))
        return command

    def _end(self, command, timeout_s):
        self.run(lambda: command.finished, timeout_s)
        self.station.finished()
        return command

    def read(self, node, timeout_s, level=LINEARIZABLE, part=DATABASE):
        """The database (or MEMBERS) through board `node`, by default no older than this call; the
        Reading.

        Raises ValueError for a wrong id, LinkError if the collector is gone.
        """
        reading = self.station.read(node, clock_ms(), level, part)
        self.run(lambda: reading.finished, timeout_s)
        return reading

    def transfer(self, target, timeout_s):
        """Have the present leader hand over to board `target`, and wait until that one leads.

        Raises LinkError if it does not come to that in `timeout_s`, ValueError for a wrong id.
        """
        end = time.monotonic() + timeout_s
        leader = self.wait_leader(timeout_s)
        if leader == target:
            return
        command = self.station.transfer(leader, target, clock_ms())
        self.run(lambda: command.finished or self.leader() == target, timeout_s)
        self.station.finished()
        if command.state == REFUSED:
            raise LinkError(command.text)
        if not self.run(lambda: self.leader() == target, max(0, end - time.monotonic())):
            raise LinkError("board %d did not take over within %g s" % (target, timeout_s))

    def order(self, order, target, timeout_s):
        """Have the leader do `order` (raft.message.ORDER_TEXTS) to board `target`; return when it
        has begun.

        Raises LinkError if it refuses or does not answer in `timeout_s`, ValueError for a wrong id.
        """
        end = time.monotonic() + timeout_s
        while True:
            leader = self.wait_leader(timeout_s)
            command = self._end(self.station.order(leader, order, target, clock_ms()), timeout_s)
            if command.state == DONE:
                return
            if not command.may_pass or time.monotonic() >= end:
                raise LinkError(command.text)
            self.run(lambda: False, AGAIN_S)

    def databases(self):
        """{node: (applied index, [integers])} as the boards last reported them whole."""
        return self.station.databases()
