"""What the fake modules share: the board's settings, its flash, its supervisor, its radio link.

Private to the fakes: board.py fills it in, and takes it out of sys.modules before the firmware
starts, so that no board code can reach the host through it.
"""

import json
import select
import socket

import airlink
import utime

# How long the air process may take to confirm a change of channel or power.
_AIR_TIMEOUT_MS = 5000

settings = {}
flash = None
rtc = None
supervisor = None
link = None


def tell(message):
    """One JSON line to the supervisor. Errors mean that it is gone, and so is this board soon."""
    try:
        supervisor.write(json.dumps(message) + "\n")
    except OSError:
        pass


def end(reason, **details):
    """Reset the chip: nothing of this program runs on, not even an except or finally clause."""
    tell(dict(reset=reason, **details))
    while True:
        utime.sleep(1)


def panic():
    """What a call into the Wi-Fi driver does before any WLAN object exists (measured)."""
    print("Guru Meditation Error: Core  1 panic'ed (LoadProhibited). Exception was unhandled.")
    end("panic")


class Link:
    """The two sockets to the air process, and what the radio last told it."""

    def __init__(self, port, mac):
        self.mac = mac
        self.channel = 1
        self.flags = 0
        self._serial = 0
        self._confirmed = 0
        self.air = socket.getaddrinfo("127.0.0.1", port)[0][-1]
        here = socket.getaddrinfo("127.0.0.1", 0)[0][-1]
        self.link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.link.bind(here)
        self.link.connect(self.air)
        self.link.setblocking(False)
        self.rx = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.rx.bind(here)
        self.rx.sendto(airlink.pack_rx(mac), self.air)
        self.rx_address = None
        self.rx.setblocking(False)
        self.link_poll = select.poll()
        self.link_poll.register(self.link, select.POLLIN)
        self.rx_poll = select.poll()
        self.rx_poll.register(self.rx, select.POLLIN)
        self.buffer = bytearray(airlink.REPLY)
        # Called with (serial, acked) for each frame that the radio is done with.
        self.sent = None

    def set(self, channel, flags):
        """Tell the air where this board listens; returns when it is in force."""
        self.channel = channel
        self.flags = flags
        self._serial = (self._serial + 1) & 0xFFFF
        self.link.send(airlink.pack_state(self.mac, channel, flags, self._serial))
        start = utime.ticks_ms()
        while self._confirmed != self._serial:
            if utime.ticks_diff(utime.ticks_ms(), start) > _AIR_TIMEOUT_MS:
                raise OSError("the air process does not answer")
            self.link_poll.poll(10)
            self.drain()

    def frame(self):
        """The next datagram on the rx socket, or None; nothing is allocated when there is none."""
        for _ in self.rx_poll.ipoll(0):
            return self.rx.recv(airlink.DATAGRAM)

    def drain(self):
        """Take in all that the air has told on the link socket."""
        buffer = self.buffer
        while self.link.readinto(buffer):
            serial = buffer[1] | buffer[2] << 8
            if buffer[0] == airlink.STATE:
                self._confirmed = serial
                if self.rx_address is None:
                    # MicroPython's sockets cannot tell their own port: the air does.
                    port = buffer[3] | buffer[4] << 8
                    self.rx_address = socket.getaddrinfo("127.0.0.1", port)[0][-1]
            elif buffer[0] == airlink.SENT and self.sent:
                self.sent(serial, buffer[3])
