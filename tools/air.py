"""The radio channel between boards: airtime, carrier sense, loss, delay, cut links.

Pure logic: no clock, no IO. Time comes in as integer microseconds and randomness as a
``random.Random``, so the same calls with the same seed give the same channel bit by bit. The
real-time air process of the virtual boards and the virtual-time simulator share this module.

The model, in one paragraph. Each channel is one shared medium: a frame begins when the channel is
free, and everyone on that channel hears it. Each (sender, receiver) link then loses it, delays
it, duplicates it, or is cut, each direction on its own. A unicast frame is acknowledged by the
receiver's radio and repeated by the sender's up to 31 times; a broadcast frame is sent once.

Not modelled: collisions and hidden terminals, capture, fading, other PHY rates. A unicast frame
holds the channel for all its repetitions, so nobody gets a word in between two of them.
"""

BROADCAST = b"\xff" * 6

# name: default. Every one can be given to Air() as a keyword.
PARAMETERS = {
    # 802.11b long preamble and PLCP header, us (IEEE 802.11-2020, 15.2.2).
    "preamble_us": 192,
    # us a byte at 1 Mbit/s, the default rate of ESP-NOW (ESP-IDF, ESP-NOW guide).
    "byte_us": 8,
    # MAC header 24, category and OUI 4, random value 4, vendor element 7, FCS 4 (same guide).
    "framing_bytes": 43,
    # SIFS, us, and the ACK frame of 14 bytes at 1 Mbit/s: 192 + 8 * 14 us (IEEE 802.11).
    "sifs_us": 10,
    "ack_us": 304,
    # Transmissions of one unicast frame that nobody acknowledges, counted on the real driver.
    "unicast_attempts": 32,
    # Wait before every transmission: DIFS, and 0..backoff_slots slots. 802.11b has 50, 20 and 31;
    # the defaults leave both out, so that a frame on a free channel begins at once.
    "difs_us": 0,
    "slot_us": 20,
    "backoff_slots": 0,
    # Signal strength that a receiver reports, dBm. A placeholder until distances are modelled.
    "rssi_dbm": -40,
}

PREAMBLE_US = PARAMETERS["preamble_us"]
FRAMING_BYTES = PARAMETERS["framing_bytes"]


def airtime_us(length):
    """Microseconds that one ESP-NOW frame of ``length`` payload bytes occupies at 1 Mbit/s."""
    return PREAMBLE_US + PARAMETERS["byte_us"] * (length + FRAMING_BYTES)


def _matches(link, src, dst):
    return src in (None, link[0]) and dst in (None, link[1])


class Station:
    """One radio: where it listens, and what it has used of the air."""

    __slots__ = ("mac", "channel", "on", "frames", "attempts", "airtime_us", "received")

    def __init__(self, mac, channel, on):
        self.mac = mac
        self.channel = channel
        self.on = on
        self.frames = 0  # frames handed to the radio
        self.attempts = 0  # transmissions, MAC repetitions counted
        self.airtime_us = 0  # own transmissions, and the ACKs that answered them
        self.received = 0  # deliveries, duplicates counted


class Transmission:
    """What became of one frame.

    ``deliveries`` is a list of (receiver MAC, arrival us, RSSI dBm) in order of attachment, not of
    time. ``acked`` is what the sender's radio reports: always True for a broadcast.
    """

    __slots__ = ("start_us", "end_us", "deliveries", "acked", "attempts")

    def __init__(self, start_us, end_us, deliveries, acked, attempts):
        self.start_us = start_us
        self.end_us = end_us
        self.deliveries = deliveries
        self.acked = acked
        self.attempts = attempts


class Air:
    """All channels and all stations. MACs are bytes of length 6."""

    def __init__(self, rng, **parameters):
        """``rng`` is a random.Random; keywords override PARAMETERS, an unknown one is TypeError."""
        unknown = sorted(set(parameters) - set(PARAMETERS))
        if unknown:
            raise TypeError("unknown air parameter: " + ", ".join(unknown))
        for name, default in PARAMETERS.items():
            setattr(self, name, parameters.get(name, default))
        self.rng = rng
        self.stations = {}
        self.busy_us = {}  # channel -> us occupied so far
        self.lost = {"loss": 0, "cut": 0, "absent": 0}
        self._free_us = {}  # channel -> when the medium is free again
        self._listeners = {}  # channel -> [Station], built on demand
        self._loss = {}  # (src or None, dst or None) -> probability
        self._cuts = set()  # (src or None, dst or None)
        self._groups = None  # MAC -> frozenset of group numbers
        self._open = set()  # (src, dst) healed by name, through wider cuts and partitions
        self._links = {}  # (src, dst) -> probability, or None for a cut link; a cache
        self._faulty = False  # False lets a clean channel skip the links altogether
        self._delay_min_us = 0
        self._delay_span_us = 0
        self._duplicate = 0.0

    # --- stations ---

    def station(self, mac, channel=1, on=True):
        """Attach a station, or change the channel or power of one. Returns the Station."""
        station = self.stations.get(mac)
        if station is None:
            if len(mac) != 6 or mac[0] & 1:
                raise ValueError("a station needs a unicast MAC of 6 bytes")
            station = self.stations[mac] = Station(bytes(mac), channel, on)
        station.channel = channel
        station.on = on
        self._listeners.clear()
        return station

    def hears(self, mac, channel):
        """True while the station is on and on this channel: asked again when a frame arrives."""
        station = self.stations.get(mac)
        return station is not None and station.on and station.channel == channel

    # --- the medium ---

    def airtime(self, length):
        """Microseconds of one transmission of ``length`` payload bytes, ACK not included."""
        return self.preamble_us + self.byte_us * (length + self.framing_bytes)

    def transmit(self, now_us, src, dst, length):
        """Send one frame; the outcome is settled at once and lies in the future.

        ValueError when ``src`` is off, KeyError when it was never attached.
        """
        sender = self.stations[src]
        if not sender.on:
            raise ValueError("the sending station is off")
        channel = sender.channel
        begin_us = self._free_us.get(channel, 0)
        if begin_us < now_us:
            begin_us = now_us
        begin_us += self.difs_us
        if self.backoff_slots:
            begin_us += self.rng.randrange(self.backoff_slots + 1) * self.slot_us
        frame_us = self.preamble_us + self.byte_us * (length + self.framing_bytes)
        if dst[0] & 1:
            sent = self._broadcast(sender, begin_us, frame_us)
            used_us = frame_us
        else:
            sent, used_us = self._unicast(sender, dst, begin_us, frame_us)
        self._free_us[channel] = sent.end_us
        self.busy_us[channel] = self.busy_us.get(channel, 0) + used_us
        sender.frames += 1
        sender.attempts += sent.attempts
        sender.airtime_us += used_us
        return sent

    def _broadcast(self, sender, begin_us, frame_us):
        end_us = begin_us + frame_us
        deliveries = []
        for station in self._listening(sender.channel):
            if station is sender:
                continue
            if not self._faulty or self._passes(sender.mac, station.mac):
                self._deliver(deliveries, station, end_us)
        return Transmission(begin_us, end_us, deliveries, True, 1)

    def _unicast(self, sender, dst, begin_us, frame_us):
        station = self.stations.get(dst)
        present = (
            station is not None
            and station is not sender
            and station.on
            and station.channel == sender.channel
        )
        deliveries = []
        now_us = begin_us
        used_us = 0
        for attempt in range(1, self.unicast_attempts + 1):
            now_us += frame_us
            used_us += frame_us
            if not present:
                continue
            if self._faulty and not self._passes(sender.mac, dst):
                continue
            if not deliveries:
                # A repetition of a frame whose ACK was lost is filtered by the receiver's MAC.
                self._deliver(deliveries, station, now_us)
            now_us += self.sifs_us + self.ack_us
            used_us += self.ack_us
            if not self._faulty or self._passes(dst, sender.mac):
                return Transmission(begin_us, now_us, deliveries, True, attempt), used_us
        if not present:
            self.lost["absent"] += 1
        sent = Transmission(begin_us, now_us, deliveries, False, self.unicast_attempts)
        return sent, used_us

    def _listening(self, channel):
        listeners = self._listeners.get(channel)
        if listeners is None:
            listeners = [s for s in self.stations.values() if s.on and s.channel == channel]
            self._listeners[channel] = listeners
        return listeners

    def _deliver(self, deliveries, station, heard_us):
        copies = 1
        if self._duplicate and self.rng.random() < self._duplicate:
            copies = 2
        for _ in range(copies):
            arrive_us = heard_us + self._delay_min_us
            if self._delay_span_us:
                arrive_us += self.rng.randrange(self._delay_span_us + 1)
            deliveries.append((station.mac, arrive_us, self.rssi_dbm))
        station.received += copies

    def _passes(self, src, dst):
        """One draw for one transmission on one link; counts what it loses by reason."""
        key = (src, dst)
        if key in self._links:
            loss = self._links[key]
        else:
            loss = self._links[key] = self._link_loss(src, dst)
        if loss is None:
            self.lost["cut"] += 1
            return False
        if loss and self.rng.random() < loss:
            self.lost["loss"] += 1
            return False
        return True

    def _link_loss(self, src, dst):
        scopes = ((src, dst), (src, None), (None, dst), (None, None))
        if (src, dst) not in self._open:
            if any(scope in self._cuts for scope in scopes):
                return None
            if self._groups is not None:
                nowhere = frozenset((-1,))
                if not self._groups.get(src, nowhere) & self._groups.get(dst, nowhere):
                    return None
        for scope in scopes:
            if scope in self._loss:
                return self._loss[scope]
        return 0.0

    def _links_changed(self):
        self._links.clear()
        self._faulty = bool(self._cuts or self._groups or any(self._loss.values()))

    # --- faults, at any time ---

    def set_loss(self, p, src=None, dst=None):
        """Lose a transmission with probability ``p`` (0..1); None stands for every station.

        The most specific rule wins: (src, dst), then (src, any), (any, dst), (any, any). A rule
        for every link, set_loss(p), forgets the more specific ones.
        """
        if not 0.0 <= p <= 1.0:
            raise ValueError("a probability lies between 0 and 1")
        if src is None and dst is None:
            self._loss.clear()
        self._loss[(src, dst)] = p
        self._links_changed()

    def set_delay(self, min_ms, max_ms):
        """Extra one-way delay of each delivery, uniform, ms. A spread reorders frames."""
        if not 0 <= min_ms <= max_ms:
            raise ValueError("a delay needs 0 <= min_ms <= max_ms")
        self._delay_min_us = int(min_ms * 1000)
        self._delay_span_us = int(max_ms * 1000) - self._delay_min_us

    def set_duplicate(self, p):
        """Deliver a frame twice with probability ``p``; the copy draws its own delay."""
        if not 0.0 <= p <= 1.0:
            raise ValueError("a probability lies between 0 and 1")
        self._duplicate = p

    def cut(self, src=None, dst=None):
        """Cut one direction: nothing from ``src`` reaches ``dst``; None stands for every one."""
        self._cuts.add((src, dst))
        self._open = {link for link in self._open if not _matches(link, src, dst)}
        self._links_changed()

    def heal(self, src=None, dst=None):
        """Undo the cuts that match, None matching all.

        heal() undoes partitions too. With both ends named the link works again whatever broke it:
        a wider cut or a partition stays in force for the other links only.
        """
        if src is None and dst is None:
            self._cuts.clear()
            self._open.clear()
            self._groups = None
        else:
            self._cuts = {link for link in self._cuts if not _matches(link, src, dst)}
            if src is not None and dst is not None:
                self._open.add((src, dst))
        self._links_changed()

    def partition(self, groups):
        """Split the stations: two hear each other when they share a group.

        A station may be in several groups, and then bridges them. Those in none form one more.
        """
        members = {}
        for number, group in enumerate(groups):
            for mac in group:
                members[mac] = members.get(mac, frozenset()) | {number}
        self._groups = members or None
        self._open.clear()
        self._links_changed()

    # --- counters ---

    def stats(self):
        """Counters as plain data: per station (by MAC in hex), per channel, losses by reason."""
        stations = {}
        for mac, station in self.stations.items():
            stations[mac.hex()] = {
                "channel": station.channel,
                "on": station.on,
                "frames": station.frames,
                "attempts": station.attempts,
                "airtime_us": station.airtime_us,
                "received": station.received,
            }
        return {
            "stations": stations,
            "busy_us": {str(channel): used for channel, used in self.busy_us.items()},
            "lost": dict(self.lost),
        }
