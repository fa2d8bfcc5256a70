"""The radio channel between boards: airtime, carrier sense, collisions, distance, loss, faults.

    air = Air(random.Random(7))                      # or Air(random.Random(7), "radio")
    air.station(A); air.station(B)
    air.submit(now_us, A, BROADCAST, 50, token="hello")
    while (due_us := air.next_us()) is not None:
        for at_us, frame, deliveries, done in air.advance(due_us):
            ...                                      # frame.token is "hello", B hears it

Pure logic: no clock, no IO. Time comes in as integer microseconds and randomness as a
``random.Random``, so the same calls with the same seed give the same channel bit by bit. The
real-time air process of the virtual boards and the virtual-time simulator share this module.

What becomes of a frame is known when it ends, so nothing is told before: ``submit`` hands a frame
to a station's radio, ``next_us`` says when to come back, ``advance`` tells what has happened until
then. docs/air.md describes the model, and what it leaves out.
"""

from collections import deque
from functools import cache
from heapq import heappop, heappush
from math import dist, exp, log10

BROADCAST = b"\xff" * 6

# Mbit/s: modulation, preamble with PLCP header us, symbol us, service and tail bits, signal
# extension us, rate of the ACK Mbit/s, sensitivity dBm. IEEE 802.11, DSSS, HR/DSSS and ERP-OFDM; an
# ACK goes at the highest mandatory rate that is not above the frame's. Sensitivity: typical values
# of the ESP32-C3 data sheet. How LR looks on the air is Espressif's secret: rates and the 4 dB are
# those of the ESP-IDF Wi-Fi guide, and the preamble is taken to be as much slower as the bits.
RATES = {
    0.25: ("LR", 768, 1, 0, 0, 0.25, -102.4),
    0.5: ("LR", 384, 1, 0, 0, 0.5, -102.4),
    1: ("DSSS", 192, 1, 0, 0, 1, -98.4),
    2: ("DSSS", 192, 1, 0, 0, 2, -96.0),
    5.5: ("CCK", 192, 1, 0, 0, 5.5, -93.0),
    11: ("CCK", 192, 1, 0, 0, 11, -88.6),
    6: ("OFDM", 20, 4, 22, 6, 6, -93.8),
    9: ("OFDM", 20, 4, 22, 6, 6, -92.2),
    12: ("OFDM", 20, 4, 22, 6, 12, -91.0),
    18: ("OFDM", 20, 4, 22, 6, 12, -88.4),
    24: ("OFDM", 20, 4, 22, 6, 24, -85.8),
    36: ("OFDM", 20, 4, 22, 6, 24, -82.0),
    48: ("OFDM", 20, 4, 22, 6, 24, -78.0),
    54: ("OFDM", 20, 4, 22, 6, 24, -76.6),
}

# name, value in the plain profile, in the radio profile, unit, meaning, source. Each is a keyword
# of Air() and use().
PARAMETERS = (
    ("rate", 1, 1, "Mbit/s", "of stations without their own", "ESP-NOW guide: default"),
    ("short_preamble", 0, 0, "", "1: half a preamble at 2, 5.5, 11 Mbit/s", "802.11 HR/DSSS"),
    ("sifs_us", 10, 10, "us", "pause before an ACK", "802.11 DSSS"),
    ("difs_us", 0, 50, "us", "the channel must be idle so long, then backoff", "802.11 DSSS"),
    ("slot_us", 20, 20, "us", "one slot of backoff", "802.11 DSSS"),
    ("cw_min", 0, 31, "slots", "backoff: 0 to this", "802.11 DSSS"),
    ("cw_max", 0, 1023, "slots", "the window doubles with each retry up to this", "802.11 DSSS"),
    ("cca_us", 0, 20, "us", "who starts so soon after another did not sense it", "802.11: a slot"),
    ("unicast_attempts", 32, 32, "", "of a frame without ACK", "counted on the real driver"),
    ("queue_max", 32, 32, "", "frames in a radio; a full one drops the newest", "assumed"),
    ("rssi_dbm", -40, -40, "dBm", "if sender or receiver has no position", "assumed"),
    ("tx_dbm", 20, 20, "dBm", "of stations without their own", "ESP-IDF: default maximum"),
    ("path_loss_db", 40, 40, "dB", "over the first metre", "free space at 2.44 GHz"),
    ("path_exponent", 3.0, 3.0, "", "10 times so many dB per decade", "2 is free space, 4 walls"),
    ("shadowing_db", 0.0, 4.0, "dB", "standard deviation, per pair of stations", "usual: 3 to 8"),
    ("fading_m", 0, 3, "", "Nakagami's m per reception; 1: Rayleigh, 0: none", "assumed"),
    ("noise_dbm", -95, -95, "dBm", "interference below it does nothing", "20 MHz, figure 6 dB"),
    ("cs_dbm", -82, -82, "dBm", "carrier sense notices what is as strong", "802.11 OFDM CCA"),
    ("capture_db", 10, 10, "dB", "a signal so far above the others is received", "as in ns-2"),
    ("burst_loss", 0.0, 0.8, "", "loss within a burst, per direction", "assumed"),
    ("burst_good_ms", 1500, 1500, "ms", "mean time between bursts", "assumed"),
    ("burst_bad_ms", 50, 50, "ms", "mean length of a burst", "assumed"),
)
PROFILES = {
    "plain": {row[0]: row[1] for row in PARAMETERS},
    "radio": {row[0]: row[2] for row in PARAMETERS},
}

# ESP-NOW around a payload (ESP-IDF, ESP-NOW guide): MAC header 24, category 1, OUI 3, random value
# 4, FCS 4; and 7 of a vendor element for each 250 bytes (v1 has one element).
_FRAME_BYTES = 36
_ELEMENT_BYTES = 7
_ELEMENT_MAX = 250
_ACK_BYTES = 14

# Why a reception fails, or a frame at all; see docs/air.md.
_REASONS = ("cut", "loss", "weak", "burst", "collision", "deaf", "jammed", "absent", "overflow")

# Of what happens in the same microsecond, signals end first, then exchanges, then others begin.
_ENDS, _CLOSES, _BEGINS = range(3)


@cache
def airtime_us(length, rate=1, short_preamble=0):
    """Microseconds on the air of one ESP-NOW frame of ``length`` payload bytes, ACK not included.

    ``rate`` in Mbit/s, a key of RATES.
    """
    elements = max(1, -(-length // _ELEMENT_MAX))
    return _phy_us(_FRAME_BYTES + _ELEMENT_BYTES * elements + length, rate, short_preamble)


@cache
def ack_us(rate=1, short_preamble=0):
    """Microseconds on the air of the ACK to a frame sent at ``rate``."""
    return _phy_us(_ACK_BYTES, RATES[rate][5], short_preamble)


def _phy_us(size, rate, short_preamble):
    _, preamble_us, symbol_us, extra_bits, extension_us, _, _ = RATES[rate]
    if short_preamble and rate in (2, 5.5, 11):
        preamble_us //= 2
    bits = extra_bits + 8 * size
    symbols = -(-1000 * bits // int(1000 * rate * symbol_us))
    return preamble_us + symbol_us * symbols + extension_us


def _check_rate(rate):
    if rate not in RATES:
        raise ValueError("no rate of %s Mbit/s" % rate)


def _order(station):
    return station.queue[0].order


class Emitter:
    """What sends from somewhere: ``position`` in metres, None is heard alike by everyone."""

    def __init__(self):
        self.position = None
        self.path = None  # (from, to, begin us, end us) while it moves
        self.dbm = None  # transmit power; None: that of the profile

    def stand(self, now_us):
        """Bring ``position`` up to date on the way along ``path``."""
        begin, end, begin_us, end_us = self.path
        if now_us >= end_us:
            self.position, self.path = end, None
        else:
            share = (now_us - begin_us) / (end_us - begin_us)
            self.position = tuple(a + (b - a) * share for a, b in zip(begin, end, strict=True))


class Station(Emitter):
    """One radio: where it listens, what it has to send, and what it has used of the air."""

    def __init__(self, mac):
        super().__init__()
        self.mac = mac
        self.medium = None  # the channel that it is tuned to
        self.on = False
        self.rate = None  # Mbit/s; None: that of the profile
        self.queue = deque()  # Frames; the first one waits or is on the air
        self.slots = 0  # of backoff, still to wait...
        self.idle_us = 0  # ...counted from DIFS after this
        self.start_us = None  # when the first frame would begin, None if it does not wait
        self.frames = 0  # frames handed to the radio
        self.attempts = 0  # transmissions, MAC repetitions counted
        self.airtime = {}  # kind -> us of own transmissions, and of the ACKs that answered them


class Signal:
    """What is on the air from ``begin_us`` to ``end_us``.

    Who senses it keeps silent until ``release_us``: of a unicast frame, the end of its ACK.
    """

    begin_us = end_us = release_us = None
    medium = None  # the channel
    rate = None  # Mbit/s
    listeners = ()  # Stations that it reaches, as far as links go
    against = None  # Signals that overlap in time, if there are any
    collided = False  # somebody lost it to one of them
    loss = None  # of a jammer

    def __init__(self, sender):
        self.sender = sender

    def meet(self, other):
        if self.against is None:
            self.against = []
        self.against.append(other)


class Frame(Signal):
    """One frame on its way, and what became of it.

    ``acked`` is what the sender's radio reports in the end: of a broadcast, that it left.
    """

    attempts = 0
    in_line = False  # see Air._line_up()
    heard = False  # a repetition is filtered by the receiver's MAC
    acked = False

    def __init__(self, sender, dst, length, kind, token, order, window):
        self.sender = sender
        self.dst = dst
        self.length = length
        self.kind = kind
        self.token = token
        self.order = order  # of waiting frames that may begin together
        self.window = window  # of backoff, slots


class _Ack(Signal):
    """The answer to ``frame``."""

    def __init__(self, sender, frame):
        self.sender = sender
        self.frame = frame


class Jammer(Signal):
    """Noise from one place. With ``loss`` None a carrier, which also holds back those who sense it;
    otherwise pulses too short for that, which spoil a frame with that probability."""

    def __init__(self, sender, loss):
        self.sender = sender
        self.loss = loss

    def meet(self, other):
        pass


class _Medium:
    """One channel."""

    def __init__(self, channel):
        self.channel = channel
        self.line_us = 0  # when the last frame in line is over, see _line_up()
        self.others = 0  # frames and jammers that are not in line
        self.active = []  # Signals that can be sensed, in the order in which they began
        self.pulses = []  # Jammers that cannot
        self.waiting = []  # Stations with a frame that waits to begin
        self.due_us = None  # when they are looked at next
        self.listeners = None  # Stations that are on, built on demand...
        self.everyone = {}  # ...and for a sender, the deliveries when all the others hear it
        self.busy_us = 0  # time in which anybody sent...
        self.busy_until_us = 0
        self.overlap_us = 0  # ...and what was sent beside it
        self.collisions = 0


def _matches(link, src, dst):
    return src in (None, link[0]) and dst in (None, link[1])


def _check_probability(p):
    if not 0.0 <= p <= 1.0:
        raise ValueError("a probability lies between 0 and 1")


class Links:
    """Which links are cut, and with what probability the others lose; src and dst are MACs.

    A change strikes what a radio is handed from then on, not what already waits or is on the air.
    """

    def __init__(self, rng):
        self.rng = rng
        self.lost = dict.fromkeys(_REASONS, 0)  # receptions, and frames that nobody was there for
        self._loss = {}  # (src or None, dst or None) -> probability
        self._cuts = set()  # (src or None, dst or None)
        self._groups = None  # MAC -> frozenset of group numbers
        self._open = set()  # (src, dst) healed by name, through wider cuts and partitions
        self._known = {}  # (src, dst) -> probability, or None for a cut link; a cache
        self._faulty = False  # False lets clean links cost nothing

    def set_loss(self, p, src=None, dst=None):
        """Lose a transmission with probability ``p`` (0..1); None stands for every station.

        The most specific rule wins: (src, dst), then (src, any), (any, dst), (any, any). A rule
        for every link, set_loss(p), forgets the more specific ones.
        """
        _check_probability(p)
        if src is None and dst is None:
            self._loss.clear()
        self._loss[(src, dst)] = p
        self._changed()

    def cut(self, src=None, dst=None):
        """Cut one direction: nothing from ``src`` reaches ``dst``; None stands for every one."""
        self._cuts.add((src, dst))
        self._open = {link for link in self._open if not _matches(link, src, dst)}
        self._changed()

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
        self._changed()

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
        self._changed()

    def _changed(self):
        self._known.clear()
        self._faulty = bool(self._cuts or self._groups or any(self._loss.values()))

    def _passes(self, src, dst):
        """One draw for one transmission on one link; counts what it loses by reason."""
        key = (src, dst)
        if key in self._known:
            loss = self._known[key]
        else:
            loss = self._known[key] = self._link_loss(src, dst)
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


class Air(Links):
    """All channels and all stations. MACs are bytes of length 6."""

    def __init__(self, rng, profile="plain", **parameters):
        """``rng`` is a random.Random; ``profile`` and keywords as in use()."""
        super().__init__(rng)
        self.stations = {}
        # reach(frame, stations), asked before each attempt: those that it can reach at all.
        self.reach = None
        self._now_us = None
        self._began_us = None
        self._media = {}  # channel -> _Medium
        self._jammers = []
        self._events = []  # heap of (us, phase, serial, method, argument)
        self._serial = 0
        self._order = 0
        self._told = []  # what advance() tells next
        self._delay_min_us = 0
        self._delay_span_us = 0
        self._duplicate = 0.0
        self._placed = False  # somebody has a position
        self._sure = True  # who is reached by a frame that meets no other hears it, once, now
        self._orderly = True  # everybody hears everybody, and begins once the others are silent
        self._means = {}  # (Emitter, Station) -> dBm; a cache, of those who stand still
        self._shadows = {}  # (Emitter, Station) -> standard normal, both ways
        self._bursts = {}  # (Emitter, Station) -> (in a burst, us when that was looked at)
        self.use(profile, **parameters)

    def use(self, profile, **parameters):
        """Take the values of a profile, "plain" or "radio", at any time.

        Keywords override PARAMETERS. KeyError: no such profile; TypeError: no such parameter;
        ValueError: a rate that is not in RATES, or a slot without length.
        """
        values = dict(PROFILES[profile])
        unknown = sorted(set(parameters) - set(values))
        if unknown:
            raise TypeError("unknown air parameter: " + ", ".join(unknown))
        values.update(parameters)
        _check_rate(values["rate"])
        if values["slot_us"] < 1:
            raise ValueError("a slot takes at least 1 us")
        for name, value in values.items():
            setattr(self, name, value)
        self._look()

    # --- stations ---

    def station(self, mac, channel=1, on=True, rate=None, dbm=None):
        """Attach a station, or change the channel, power, rate (Mbit/s) or level of one.

        ``rate`` and ``dbm`` None: as before. A station that is switched off hears nothing; what its
        radio was handed still leaves, once: the power goes slower than the frames of a moment.
        Returns the Station.
        """
        station = self.stations.get(mac)
        if station is None:
            if len(mac) != 6 or mac[0] & 1:
                raise ValueError("a station needs a unicast MAC of 6 bytes")
            station = self.stations[mac] = Station(bytes(mac))
        if rate is not None:
            _check_rate(rate)
            station.rate = rate
        if dbm is not None:
            station.dbm = dbm
            self._means.clear()
        was, medium = station.medium, self._medium(channel)
        waits = station.start_us is not None
        station.medium = medium
        station.on = on
        for changed in (was, medium):
            if changed is not None:
                changed.listeners = None
        if was is not medium and station.queue:
            for frame in station.queue:
                if waits or frame.begin_us is None:
                    self._retune(frame)
            if waits:
                was.waiting.remove(station)
                self._contend(station, medium)
        return station

    def _retune(self, frame):
        """The next attempt of the frame goes out where its sender is now."""
        frame.medium.others -= 1
        frame.medium = frame.sender.medium
        frame.medium.others += 1
        self._aim(frame)

    def hears(self, mac, channel):
        """True while the station is on and on this channel."""
        station = self.stations.get(mac)
        return station is not None and station.on and station.medium.channel == channel

    def _medium(self, channel):
        medium = self._media.get(channel)
        if medium is None:
            medium = self._media[channel] = _Medium(channel)
        return medium

    def place(self, mac, position):
        """Put a station at (x, y) metres, or at None: heard by all, and hearing all, alike."""
        station = self.stations[mac]
        station.position = None if position is None else tuple(position)
        station.path = None
        self._look()

    def move(self, now_us, mac, to, speed):
        """From now on go in a straight line to ``to`` (x, y), at ``speed`` metres a second.

        ValueError if the station stands nowhere, or would not move.
        """
        if speed <= 0:
            raise ValueError("a speed is above 0")
        begin = self.position(now_us, mac)
        if begin is None:
            raise ValueError("a station needs a position before it can move")
        end_us = now_us + int(1e6 * dist(begin, to) / speed)
        self.stations[mac].path = (begin, tuple(to), now_us, end_us)
        self._look()

    def position(self, now_us, mac):
        """Where the station is, (x, y) metres or None."""
        station = self.stations[mac]
        if station.path:
            station.stand(now_us)
        return station.position

    def _look(self):
        """Something was changed by hand: see what need not be looked at for each frame."""
        self._means.clear()
        self._placed = any(s.position for s in self.stations.values())
        level = not (self._placed or self.fading_m or self.burst_loss)
        self._sure = level and not (self._delay_min_us or self._delay_span_us or self._duplicate)
        for medium in self._media.values():
            medium.everyone.clear()
        self._orderly = not (self._placed or self.cca_us or self.difs_us or self.cw_min)

    # --- frames ---

    def submit(self, now_us, src, dst, length, kind=None, token=None):
        """Hand a frame of ``length`` payload bytes to the radio of ``src``; returns next_us().

        ``kind`` is what the accounts sort airtime by, ``token`` whatever the caller wants to find
        again in Frame.token. ValueError when ``src`` is off, KeyError when it was never attached.
        """
        sender = self.stations[src]
        if not sender.on:
            raise ValueError("the sending station is off")
        if now_us != self._now_us:
            self._run(now_us)
        self._order += 1
        frame = Frame(sender, dst, length, kind, token, self._order, self.cw_min)
        sender.frames += 1
        queue = sender.queue
        ahead = len(queue)
        if ahead >= self.queue_max:
            self.lost["overflow"] += 1
            self._told.append((now_us, frame, [], True))
            return now_us
        queue.append(frame)
        self._aim(frame)
        medium = frame.medium = sender.medium
        if self._orderly and not medium.others and dst[0] & 1:
            self._line_up(frame, medium)
        else:
            medium.others += 1
            if not ahead:
                self._contend(sender, medium)
        return now_us if self._told else self._events[0][0]

    def next_us(self):
        """When to call advance() next, None if nothing will happen by itself."""
        if self._told:
            return self._now_us
        return self._events[0][0] if self._events else None

    def advance(self, now_us):
        """All that has happened until ``now_us`` and was not told yet, in order.

        A list of (us when it happened, Frame, deliveries, done). ``deliveries``: (MAC, RSSI dBm) of
        those who hear it at that moment, in order of attachment. ``done``: the sender's radio
        reports Frame.acked; only deliveries that were delayed may still follow.
        """
        self._run(now_us)
        told = self._told
        self._told = []
        return told

    def _run(self, now_us):
        events = self._events
        if self._began_us is None:
            self._began_us = now_us
        while events and events[0][0] <= now_us:
            self._now_us, _, _, method, argument = heappop(events)
            method(argument)
        self._now_us = now_us

    def _at(self, at_us, phase, method, argument):
        self._serial += 1
        heappush(self._events, (at_us, phase, self._serial, method, argument))

    def _aim(self, frame):
        """Find out whom the next attempt of the frame reaches, as far as links go."""
        sender = frame.sender
        medium = sender.medium
        if frame.dst[0] & 1:
            listeners = medium.listeners or self._listeners(medium)
        else:
            station = self.stations.get(frame.dst)
            present = station is not None and station.on and station.medium is medium
            listeners = [station] if present else []
        if self._faulty:
            others = [s for s in listeners if s is not sender]
            listeners = [s for s in others if self._passes(sender.mac, s.mac)]
        if self.reach is not None:
            listeners = self.reach(frame, listeners)
        frame.listeners = listeners

    def _listeners(self, medium):
        medium.listeners = [s for s in self.stations.values() if s.on and s.medium is medium]
        medium.everyone.clear()
        return medium.listeners

    # --- the short way ---

    def _line_up(self, frame, medium):
        """Where everybody hears everybody, a broadcast begins when all before it are over.

        Carrier sense comes to the same (tests/test_air.py), at a multiple of the cost.
        """
        begin_us = medium.line_us
        if begin_us < self._now_us:
            begin_us = self._now_us
        rate = frame.rate = frame.sender.rate or self.rate
        frame.in_line = True
        frame.begin_us = begin_us
        frame.end_us = end_us = begin_us + airtime_us(frame.length, rate, self.short_preamble)
        medium.line_us = end_us
        self._at(end_us, _ENDS, self._line_moves, frame)

    def _line_moves(self, frame):
        sender, medium = frame.sender, frame.medium
        frame.attempts = 1
        frame.acked = True
        sender.attempts += 1
        end_us = frame.end_us
        self._account(frame, medium, frame.begin_us, end_us)
        self._told.append((end_us, frame, self._heard(frame, medium), True))
        queue = sender.queue
        queue.popleft()
        if queue and not queue[0].in_line:
            self._contend(sender, sender.medium)

    # --- carrier sense ---

    def _contend(self, station, medium):
        """Join those who wait for the channel, with the first frame of the queue."""
        medium.waiting.append(station)
        self._plan(station, medium)
        self._await(medium)

    def _plan(self, station, medium):
        """Draw the backoff, and find the moment at which it will be over."""
        window = station.queue[0].window
        station.slots = self.rng.randrange(window + 1) if window else 0
        station.idle_us = max(self._now_us, medium.line_us)
        station.start_us = station.idle_us + self.difs_us + station.slots * self.slot_us
        for signal in medium.active:
            self._defer(station, signal)

    def _defer(self, station, signal):
        """Put off the start of ``station`` if it senses ``signal`` by then."""
        if signal.sender is not station:
            if station.start_us < signal.begin_us + self.cca_us:
                return
            if self._placed and self._mean_dbm(signal.sender, station) < self.cs_dbm:
                return
        if station.slots:
            counted_us = max(0, signal.begin_us - station.idle_us - self.difs_us)
            station.slots -= min(station.slots, counted_us // self.slot_us)
        station.idle_us = max(station.idle_us, signal.release_us)
        station.start_us = station.idle_us + self.difs_us + station.slots * self.slot_us

    def _await(self, medium):
        """Look at those who wait when the first of them may begin, or before."""
        due_us = min([station.start_us for station in medium.waiting])
        if medium.due_us is None or due_us < medium.due_us:
            medium.due_us = due_us
            self._at(due_us, _BEGINS, self._begins, medium)

    def _begins(self, medium):
        now_us = self._now_us
        if medium.due_us != now_us:
            return  # it was looked at before
        medium.due_us = None
        for station in sorted([s for s in medium.waiting if s.start_us == now_us], key=_order):
            if station.start_us == now_us:  # the one before may have put it off
                medium.waiting.remove(station)
                self._start(station, medium)
        if medium.waiting:
            self._await(medium)

    def _start(self, station, medium):
        """The first frame of the queue begins."""
        station.start_us = None
        station.attempts += 1
        frame = station.queue[0]
        frame.attempts += 1
        rate = frame.rate = station.rate or self.rate
        end_us = self._now_us + airtime_us(frame.length, rate, self.short_preamble)
        if frame.dst[0] & 1:
            self._begin(frame, medium, end_us, end_us)
            self._at(end_us, _ENDS, self._broadcast_ends, frame)
        else:
            release_us = end_us + self.sifs_us + ack_us(rate, self.short_preamble)
            self._begin(frame, medium, end_us, release_us)
            self._at(end_us, _ENDS, self._unicast_ends, frame)
            self._at(release_us, _CLOSES, self._close, frame)
        self._account(frame, medium, self._now_us, end_us)

    def _begin(self, signal, medium, end_us, release_us):
        signal.begin_us = now_us = self._now_us
        signal.end_us = end_us
        signal.release_us = release_us
        for other in medium.active:
            if other.end_us > now_us:
                signal.meet(other)
                other.meet(signal)
        for jammer in medium.pulses:
            signal.meet(jammer)
        medium.active.append(signal)
        for station in medium.waiting:
            self._defer(station, signal)

    def _account(self, frame, medium, begin_us, end_us):
        """For this frame somebody sends in this time."""
        us = end_us - begin_us
        airtime = frame.sender.airtime
        airtime[frame.kind] = airtime.get(frame.kind, 0) + us
        beside_us = medium.busy_until_us - begin_us
        if beside_us <= 0:
            medium.busy_us += us
            medium.busy_until_us = end_us
        else:
            beside_us = min(us, beside_us)
            medium.busy_us += us - beside_us
            medium.busy_until_us += us - beside_us
            medium.overlap_us += beside_us

    # --- what became of it ---

    def _heard(self, frame, medium):
        """The deliveries of a broadcast that ends now."""
        unchanged = frame.listeners is medium.listeners
        if unchanged and self._sure and frame.against is None:
            sender = frame.sender
            deliveries = medium.everyone.get(sender)
            if deliveries is None:
                rssi = self.rssi_dbm
                deliveries = [(s.mac, rssi) for s in frame.listeners if s is not sender]
                medium.everyone[sender] = deliveries
            return deliveries
        deliveries = []
        for station in frame.listeners:
            if self._tuned(station, frame):
                rssi = self._receives(frame, station)
                if rssi is not None:
                    self._deliver(deliveries, frame, station, rssi)
        medium.collisions += frame.collided
        return deliveries

    def _broadcast_ends(self, frame):
        medium = frame.medium
        medium.active.remove(frame)
        self._finish(frame, self._heard(frame, medium), True)

    def _unicast_ends(self, frame):
        for station in frame.listeners:
            if not self._tuned(station, frame):
                continue
            rssi = self._receives(frame, station)
            if rssi is not None:
                if not frame.heard:
                    frame.heard = True
                    deliveries = []
                    self._deliver(deliveries, frame, station, rssi)
                    self._told.append((self._now_us, frame, deliveries, False))
                self._at(self._now_us + self.sifs_us, _CLOSES, self._acknowledge, frame)
        frame.medium.collisions += frame.collided

    def _acknowledge(self, frame):
        station = self.stations[frame.dst]
        medium = frame.medium
        sends = any(s.sender is station and s.end_us > self._now_us for s in medium.active)
        if sends or not self._tuned(station, frame):
            return
        ack = _Ack(station, frame)
        ack.medium = medium
        ack.rate = RATES[frame.rate][5]
        if not self._faulty or self._passes(station.mac, frame.sender.mac):
            ack.listeners = [frame.sender]
        self._begin(ack, medium, frame.release_us, frame.release_us)
        self._account(frame, medium, self._now_us, frame.release_us)
        self._at(frame.release_us, _ENDS, self._ack_ends, ack)

    def _ack_ends(self, ack):
        medium = ack.medium
        medium.active.remove(ack)
        for station in ack.listeners:
            if self._tuned(station, ack):
                ack.frame.acked = self._receives(ack, station) is not None
        medium.collisions += ack.collided

    def _close(self, frame):
        """The time for the ACK is over."""
        medium = frame.medium
        medium.active.remove(frame)
        sender = frame.sender
        if frame.acked or not sender.on or frame.attempts >= self.unicast_attempts:
            if not frame.acked and not self.hears(frame.dst, medium.channel):
                self.lost["absent"] += 1
            self._finish(frame, [], frame.acked)
        else:
            frame.window = min(2 * frame.window + 1, self.cw_max)
            frame.against = None
            frame.collided = False
            self._order += 1
            frame.order = self._order
            self._retune(frame)
            self._contend(sender, sender.medium)

    def _finish(self, frame, deliveries, acked):
        frame.acked = acked
        frame.medium.others -= 1
        self._told.append((self._now_us, frame, deliveries, True))
        queue = frame.sender.queue
        queue.popleft()
        if queue:
            self._contend(frame.sender, frame.sender.medium)

    def _tuned(self, station, signal):
        return station.on and station.medium is signal.medium and station is not signal.sender

    def _deliver(self, deliveries, frame, station, rssi):
        copies = 1
        if self._duplicate and self.rng.random() < self._duplicate:
            copies = 2
        for _ in range(copies):
            delay_us = self._delay_min_us
            if self._delay_span_us:
                delay_us += self.rng.randrange(self._delay_span_us + 1)
            if delay_us:
                late = (frame, station, rssi)
                self._at(self._now_us + delay_us, _ENDS, self._arrives, late)
            else:
                deliveries.append((station.mac, rssi))

    def _arrives(self, late):
        frame, station, rssi = late
        if self._tuned(station, frame):
            self._told.append((self._now_us, frame, [(station.mac, rssi)], False))

    # --- reception ---

    def _receives(self, signal, station):
        """RSSI, dBm, with which ``station`` gets ``signal`` whole.

        None if it does not get it: then the reason is counted.
        """
        reason, dbm = self._judge(signal, station)
        if reason is None:
            return max(-127, min(0, round(dbm)))
        self.lost[reason] += 1
        if reason in ("deaf", "collision"):
            signal.collided = True
        return None

    def _judge(self, signal, station):
        """(reason of the loss or None, dBm)"""
        sender = signal.sender
        against = signal.against
        if against and any(other.sender is station for other in against):
            return "deaf", None
        dbm = self._mean_dbm(sender, station)
        if self.fading_m:
            gain = self.rng.gammavariate(self.fading_m, 1 / self.fading_m)
            dbm += 10 * log10(max(gain, 1e-9))
        sensitivity_dbm = RATES[signal.rate][6]
        if dbm < sensitivity_dbm:
            return "weak", None
        if against:
            margin_db = max(self.capture_db, sensitivity_dbm - self.noise_dbm)
            reason = self._spoilt(against, station, dbm - margin_db)
            if reason is not None:
                return reason, None
        if self.burst_loss and self._in_burst((sender, station)):
            if self.rng.random() < self.burst_loss:
                return "burst", None
        return None, dbm

    def _spoilt(self, against, station, limit_dbm):
        """Why a signal that bears interference up to ``limit_dbm`` is lost; None if it is not."""
        total_mw = 0.0
        jammed = False
        for other in against:
            dbm = self._mean_dbm(other.sender, station)
            if dbm <= self.noise_dbm:
                continue
            if other.loss is not None:
                if dbm > limit_dbm and self.rng.random() < other.loss:
                    return "jammed"
            else:
                total_mw += 10 ** (dbm / 10)
                jammed = jammed or isinstance(other, Jammer)
        if total_mw and 10 * log10(total_mw) > limit_dbm:
            return "jammed" if jammed else "collision"
        return None

    def _mean_dbm(self, sender, station):
        """What arrives at ``station`` from ``sender``, without fading."""
        link = (sender, station)
        mean = self._means.get(link)
        if mean is not None:
            return mean
        for end in link:
            if end.path:
                end.stand(self._now_us)
        if sender.position is None or station.position is None:
            return self.rssi_dbm
        distance = max(1.0, dist(sender.position, station.position))
        mean = self.tx_dbm if sender.dbm is None else sender.dbm
        mean -= self.path_loss_db + 10 * self.path_exponent * log10(distance)
        if self.shadowing_db:
            mean += self.shadowing_db * self._shadow(link)
        if not (sender.path or station.path):
            self._means[link] = mean
        return mean

    def _shadow(self, link):
        if link not in self._shadows:
            self._shadows[link] = self._shadows[link[::-1]] = self.rng.gauss(0, 1)
        return self._shadows[link]

    def _in_burst(self, link):
        """Whether the link is in a burst now: the two-state chain, looked at when it matters."""
        share = self.burst_bad_ms / (self.burst_good_ms + self.burst_bad_ms)
        was, looked_us = self._bursts.get(link, (share, self._now_us))
        passed_ms = (self._now_us - looked_us) / 1000
        memory = exp(-passed_ms * (1 / self.burst_good_ms + 1 / self.burst_bad_ms))
        bad = self.rng.random() < share + (was - share) * memory
        self._bursts[link] = (bad, self._now_us)
        return bad

    # --- faults of the whole air, at any time ---

    def set_delay(self, min_ms, max_ms):
        """Extra one-way delay of each delivery, uniform, ms. A spread reorders frames."""
        if not 0 <= min_ms <= max_ms:
            raise ValueError("a delay needs 0 <= min_ms <= max_ms")
        self._delay_min_us = int(min_ms * 1000)
        self._delay_span_us = int(max_ms * 1000) - self._delay_min_us
        self._look()

    def set_duplicate(self, p):
        """Deliver a frame twice with probability ``p``; the copy draws its own delay."""
        _check_probability(p)
        self._duplicate = p
        self._look()

    def jam(self, now_us, until_us, channel=1, position=None, dbm=None, loss=None):
        """Noise on ``channel`` until ``until_us``; returns the Jammer.

        From ``position`` (x, y) with ``dbm`` of power (None: the profile's), or from nowhere and
        then as strong as any station. ``loss``: see Jammer.
        """
        if loss is not None:
            _check_probability(loss)
        self._run(now_us)
        place = Emitter()
        place.position = None if position is None else tuple(position)
        place.dbm = dbm
        jammer = Jammer(place, loss)
        medium = jammer.medium = self._medium(channel)
        medium.others += 1
        for station in self.stations.values():
            for frame in station.queue:
                if frame.medium is medium and frame.in_line:
                    frame.meet(jammer)
        if loss is None:
            self._begin(jammer, medium, until_us, until_us)
        else:
            medium.pulses.append(jammer)
            for signal in medium.active:
                signal.meet(jammer)
        self._jammers.append(jammer)
        self._at(until_us, _ENDS, self._fall_silent, jammer)
        return jammer

    def silence(self, now_us):
        """End all jammers early."""
        self._run(now_us)
        for jammer in tuple(self._jammers):
            self._fall_silent(jammer)

    def _fall_silent(self, jammer):
        if jammer not in self._jammers:
            return  # it was silenced before
        self._jammers.remove(jammer)
        medium = jammer.medium
        medium.others -= 1
        if jammer.loss is not None:
            medium.pulses.remove(jammer)
            return
        medium.active.remove(jammer)
        for station in medium.waiting:
            if station.idle_us > self._now_us:
                self._plan(station, medium)
        if medium.waiting:
            self._await(medium)

    def calm(self, now_us):
        """Back to the plain profile: no places, jammers, loss, delays or copies.

        Cuts and partitions stay: they are heal()'s.
        """
        self.silence(now_us)
        for mac in self.stations:
            self.place(mac, None)
        self.use("plain")
        self.set_loss(0.0)
        self.set_delay(0, 0)
        self.set_duplicate(0.0)

    # --- accounts ---

    def stats(self):
        """Counters as plain data: per station (by MAC in hex), per channel, losses by reason.

        Airtime, us: preamble and bytes of every transmission, of MAC repetitions and of ACKs, which
        count for the station whose frame they answer; without DIFS, SIFS and backoff. ``busy_us``
        of a channel is the time in which at least one of them was sent, wherever: the airtime of
        its stations is ``busy_us`` + ``overlap_us``. ``collisions``: transmissions that somebody
        lost to another one. ``utilisation``: ``busy_us`` / time since the first call.
        """
        stations = {}
        for mac, station in self.stations.items():
            stations[mac.hex()] = {
                "channel": station.medium.channel,
                "on": station.on,
                "frames": station.frames,
                "attempts": station.attempts,
                "airtime_us": sum(station.airtime.values()),
                "kinds": {str(kind): used for kind, used in station.airtime.items()},
            }
        passed_us = self._now_us - (self._began_us or 0)
        channels = {}
        for channel, medium in self._media.items():
            channels[str(channel)] = {
                "busy_us": medium.busy_us,
                "overlap_us": medium.overlap_us,
                "collisions": medium.collisions,
                "utilisation": round(medium.busy_us / passed_us, 4) if passed_us else 0.0,
            }
        return {"stations": stations, "channels": channels, "lost": dict(self.lost)}
