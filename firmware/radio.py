"""The radio over MicroPython's `espnow`, which is hostile ground (measured on v1.27.0):

- any call before a WLAN object exists panics the chip: WLAN first;
- the default receive ring holds one frame: ask for more before `active(True)`;
- a foreign frame over 250 bytes poisons the ring (ValueError for ever): switch off and on;
- `active(False)` forgets all peers: add the broadcast peer again;
- soft reset leaves Wi-Fi as it was, and power save loses frames: set both up anew.

All frames are broadcast, so that everybody, the collector too, hears everything; but not in a
cluster with `broadcast` off, which is there to be compared with.
"""

import network
from espnow import ESPNow

from raft.message import const
from raft.wire import FRAME_MAX

BROADCAST = b"\xff\xff\xff\xff\xff\xff"
RING_BYTES = const(8192)  # 31 full frames: a burst of all boards
_RESTART_AFTER = const(20)  # failed sends in a row: the transmit leak (esp-idf #18682) or the like


class Radio:
    """ESP-NOW on `channel` (1..13).

    `receive` leaves the frame in `frame`, with `mac` (6 bytes), `rssi` (dBm) and `ticks_ms`
    beside it; all four are valid until the next call.
    """

    def __init__(self, channel):
        self.channel = channel
        self.frame = bytearray(FRAME_MAX)
        self.heard = 0
        self.resets = 0
        self.failed_sends = 0
        self._failed_in_a_row = 0
        # recvinto fills in mac, message, RSSI and ticks, and keeps using the same bytearray.
        self._slot = [None, self.frame, 0, 0]
        self._wlan = network.WLAN(network.STA_IF)
        self._wlan.active(False)
        self._wlan.active(True)
        self._wlan.disconnect()
        self._wlan.config(channel=channel)
        self._wlan.config(pm=network.WLAN.PM_NONE)
        self.espnow = ESPNow()
        self._start()

    def _start(self):
        self.espnow.active(False)
        self.espnow.config(rxbuf=RING_BYTES)
        self.espnow.active(True)
        self.espnow.add_peer(BROADCAST)
        self._macs = {}  # member -> address, as heard; those that are peers

    def _restart(self):
        self.resets += 1
        self._failed_in_a_row = 0
        self._start()

    @property
    def mac(self):
        return self._slot[0]

    @property
    def rssi(self):
        return self._slot[2]

    @property
    def ticks_ms(self):
        # The C code hands out the raw 32-bit counter; ticks_diff wants 30 bits.
        return self._slot[3] & 0x3FFFFFFF

    def receive(self):
        """Length of the next frame, 0 if there is none. Never blocks, never raises."""
        try:
            length = self.espnow.recvinto(self._slot, 0)
        except (ValueError, OSError):
            self._restart()
            return 0
        if length:
            self.heard += 1
        return length

    def note(self, member):
        """The frame that was received last is from `member`: that is its address."""
        mac = bytes(self.mac)
        if self._macs.get(member) == mac:
            return
        try:
            if member in self._macs:
                self.espnow.del_peer(self._macs.pop(member))
            self.espnow.add_peer(mac)
        except OSError:
            return  # 20 peers at most, or it is one already: what is for it is broadcast
        self._macs[member] = mac

    def send_to(self, member, frame):
        """Like `send`, to `member` alone, acked and repeated by the radio, if it was heard."""
        return self.send(frame, self._macs.get(member, BROADCAST))

    def send(self, frame, mac=BROADCAST):
        """Broadcast `frame` (memoryview, at most 250 bytes). True if the radio took it."""
        try:
            self.espnow.send(mac, frame, False)
        except OSError:
            self.failed_sends += 1
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= _RESTART_AFTER:
                self._restart()
            return False
        self._failed_in_a_row = 0
        return True

    def ring_drops(self):
        """Frames that found the receive ring full, since boot."""
        return self.espnow.stats()[4]
