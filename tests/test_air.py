"""tools.air: airtime, carrier sense, collisions, distance, ACKs, faults and accounts."""

import itertools
import math
import random
import statistics

import pytest

from raft.intlist import set_command
from raft.message import COMMITTED
from tools.air import (
    BROADCAST,
    PARAMETERS,
    PROFILES,
    RATES,
    Air,
    Links,
    ack_us,
    airtime_us,
)
from tools.sim.campaign import prepare
from tools.sim.faults import Faults
from tools.sim.world import World

A, B, C, D, E = (b"\x02RAFT" + bytes([n]) for n in range(1, 6))
ABSENT = b"\x02RAFT\x09"
QUIET = {"shadowing_db": 0.0, "fading_m": 0, "burst_loss": 0.0}  # the radio without chance
SLOT_US = PROFILES["radio"]["slot_us"]
DIFS_US = PROFILES["radio"]["difs_us"]
ATTEMPTS = PROFILES["plain"]["unicast_attempts"]
EXCHANGE_US = airtime_us(50) + PROFILES["plain"]["sifs_us"] + ack_us()


def stations(profile="plain", seed=1, macs=(A, B, C), places=None, **parameters):
    air = Air(random.Random(seed), profile, **parameters)
    for mac in macs:
        air.station(mac)
    for mac, position in (places or {}).items():
        air.place(mac, position)
    return air


@pytest.fixture
def air():
    return stations()


def told(air, until_us=None):
    """All that the air tells until then, or until nothing happens any more."""
    found = []
    while (due_us := air.next_us()) is not None and (until_us is None or due_us <= until_us):
        found += air.advance(due_us)
    return found


class Sent:
    """One frame, alone on the air from `now_us` on until it is done."""

    def __init__(self, air, now_us, src, dst, length):
        told(air, now_us)
        air.submit(now_us, src, dst, length)
        self.heard = []  # (MAC, us, RSSI)
        self.frame = None
        while self.frame is None:
            for at_us, frame, deliveries, done in air.advance(air.next_us()):
                self.heard += [(mac, at_us, rssi) for mac, rssi in deliveries]
                if done:
                    self.frame, self.done_us = frame, at_us

    @property
    def by(self):
        return {mac for mac, _, _ in self.heard}


def heard_by(air, src, now_us=0, dst=BROADCAST):
    return Sent(air, now_us, src, dst, 50).by


# Airtime.


@pytest.mark.parametrize(
    "length, rate, us",
    [
        # 192 us and 8 bits for each of payload + 43 bytes
        (0, 1, 192 + 8 * 43),
        (250, 1, 192 + 8 * 293),
        (250, 2, 192 + 8 * 293 // 2),
        (250, 5.5, 192 + 427),  # 2344 bits / 5.5 = 426.2
        (250, 11, 192 + 214),  # 213.1
        # 20 us, symbols of 4 us with 4 bits per Mbit/s for 16 + 8 n + 6 bits, 6 us
        (250, 6, 20 + 4 * 99 + 6),  # 2366 / 24 = 98.6
        (250, 24, 20 + 4 * 25 + 6),  # 24.6
        (250, 54, 20 + 4 * 11 + 6),  # 10.95
        # four and two times 1 Mbit/s
        (250, 0.25, 4 * (192 + 8 * 293)),
        (250, 0.5, 2 * (192 + 8 * 293)),
        # six vendor elements
        (1470, 1, 192 + 8 * (36 + 6 * 7 + 1470)),
    ],
)
def test_airtime_by_the_formulas_of_the_standard(length, rate, us):
    assert airtime_us(length, rate) == us


def test_a_short_preamble_takes_half_the_time_where_there_is_one():
    saved = [rate for rate in RATES if airtime_us(9, rate, 1) == airtime_us(9, rate) - 96]
    same = [rate for rate in RATES if airtime_us(9, rate, 1) == airtime_us(9, rate)]
    assert saved == [2, 5.5, 11] and len(same) == len(RATES) - 3


@pytest.mark.parametrize(
    "rate, us", [(1, 304), (2, 248), (5.5, 213), (11, 203), (6, 50), (9, 50), (54, 34), (0.5, 608)]
)
def test_an_ack_of_14_bytes(rate, us):
    assert ack_us(rate) == us


@pytest.mark.parametrize("profile", ["plain", "radio"])
def test_a_station_sends_at_its_own_rate(profile):
    air = stations(profile, macs=(A, B), **QUIET)
    air.station(A, rate=11)
    assert Sent(air, 0, A, B, 50).frame.acked
    assert air.stations[A].airtime == {None: airtime_us(50, 11) + ack_us(11)}
    frame = Sent(air, 10_000, A, BROADCAST, 50).frame
    assert frame.end_us - frame.begin_us == airtime_us(50, 11)
    with pytest.raises(ValueError, match="3 Mbit/s"):
        air.station(A, rate=3)
    with pytest.raises(ValueError, match="3 Mbit/s"):
        Air(random.Random(), rate=3)


# The plain medium.


def test_broadcast_reaches_everyone_when_the_frame_ends(air):
    sent = Sent(air, 1000, A, BROADCAST, 50)
    end_us = 1000 + airtime_us(50)
    assert (sent.frame.begin_us, sent.done_us) == (1000, end_us)
    assert sent.heard == [(B, end_us, -40), (C, end_us, -40)]
    assert sent.frame.acked and sent.frame.attempts == 1


def test_nothing_is_told_before_it_has_happened(air):
    assert air.next_us() is None
    due_us = air.submit(1000, A, BROADCAST, 50, token="mine")
    assert due_us == air.next_us() == 1000 + airtime_us(50)
    assert air.advance(due_us - 1) == []
    ((at_us, frame, deliveries, done),) = air.advance(due_us + 500)
    assert (at_us, frame.token, len(deliveries), done) == (due_us, "mine", 2, True)
    assert air.next_us() is None


def test_a_channel_carries_one_frame_at_a_time(air):
    air.station(C, channel=6)
    for mac in (A, B, C):
        air.submit(10, mac, BROADCAST, 50)
    begun = {frame.sender.mac: frame.begin_us for _, frame, _, _ in told(air)}
    assert begun == {A: 10, B: 10 + airtime_us(50), C: 10}


def test_waiting_frames_go_in_the_order_in_which_they_were_handed_over(air):
    for number, mac in enumerate((A, B, A, C, B)):
        air.submit(number, mac, BROADCAST, 50, token=number)
    assert [frame.token for _, frame, _, _ in told(air)] == [0, 1, 2, 3, 4]


def plain_traffic(seed, jammed):
    air = stations(seed=seed, macs=(A, B, C, D))
    if jammed:
        air.jam(0, 10**9, loss=0.0)
    dice = random.Random(seed)
    found = []
    now_us = 0
    for _ in range(300):
        now_us += dice.choice((0, 0, 7, 900, 2500))
        found += told(air, now_us)
        air.submit(now_us, dice.choice((A, B, C, D)), BROADCAST, dice.randrange(1, 250))
        if dice.random() < 0.05:
            air.station(dice.choice((A, B)), channel=1, on=True)
    found += told(air, 10**9 - 1)
    return [(at, f.sender.mac, f.begin_us, f.attempts, heard, done) for at, f, heard, done in found]


@pytest.mark.parametrize("seed", range(5))
def test_the_short_way_and_carrier_sense_come_to_the_same(seed):
    """Noise that harms nobody is enough for every frame to go by way of carrier sense."""
    short = plain_traffic(seed, jammed=False)
    assert len(short) == 300 and short == plain_traffic(seed, jammed=True)


def test_mixed_traffic_stays_in_order(air):
    for number, dst in enumerate((BROADCAST, C, BROADCAST, C, BROADCAST)):
        air.submit(number, A if number % 2 else B, dst, 50, token=number)
    done = [frame.token for _, frame, _, done in told(air) if done]
    assert done == [0, 1, 2, 3, 4]
    assert air.stats()["channels"]["1"]["overlap_us"] == 0


def test_what_no_radio_can_be_told():
    with pytest.raises(TypeError, match="wavelength"):
        Air(random.Random(), wavelength=1)
    with pytest.raises(KeyError, match="loud"):
        Air(random.Random(), "loud")
    with pytest.raises(ValueError, match="slot"):
        Air(random.Random(), slot_us=0)
    air = stations(macs=())
    with pytest.raises(ValueError, match="unicast"):
        air.station(BROADCAST)
    with pytest.raises(KeyError):
        air.submit(0, A, B, 1)


def test_a_full_radio_drops_the_newest(air):
    room = PROFILES["plain"]["queue_max"]
    for number in range(room + 2):
        air.submit(0, A, BROADCAST, 50, token=number)
    found = told(air)
    assert [frame.token for _, frame, _, _ in found[:2]] == [room, room + 1]
    assert not any(frame.acked for _, frame, _, _ in found[:2])
    assert [frame.token for _, frame, _, _ in found[2:]] == list(range(room))
    assert air.lost["overflow"] == 2


# Unicast.


def test_unicast_is_acknowledged_at_once(air):
    sent = Sent(air, 0, A, B, 50)
    assert sent.frame.acked and sent.frame.attempts == 1
    assert sent.heard == [(B, airtime_us(50), -40)]
    assert sent.done_us == airtime_us(50) + 10 + 304
    assert air.stations[A].airtime == {None: airtime_us(50) + 304}


@pytest.mark.parametrize("absent", ["off", "other channel", "unknown", "itself"])
def test_unicast_to_nobody_is_tried_32_times(air, absent):
    dst = B
    if absent == "off":
        air.station(B, on=False)
    elif absent == "other channel":
        air.station(B, channel=6)
    else:
        dst = A if absent == "itself" else ABSENT
    sent = Sent(air, 0, A, dst, 50)
    assert not sent.frame.acked and sent.frame.attempts == ATTEMPTS == 32 and not sent.heard
    # It waits for the ACK each time.
    assert sent.done_us == 32 * EXCHANGE_US
    assert air.stations[A].airtime == {None: 32 * airtime_us(50)}
    assert air.lost["absent"] == (absent != "itself")


def test_others_get_a_word_in_between_two_attempts(air):
    air.submit(0, A, ABSENT, 50)
    air.submit(100, B, BROADCAST, 50)
    air.submit(200, C, BROADCAST, 50)
    found = told(air)
    begun = [frame.begin_us for _, frame, _, _ in found]
    assert [frame.sender.mac for _, frame, _, _ in found] == [B, C, A]
    assert begun[:2] == [EXCHANGE_US, EXCHANGE_US + airtime_us(50)]
    assert found[-1][0] == 32 * EXCHANGE_US + 2 * airtime_us(50)


def test_unicast_delivers_once_although_every_ack_is_lost(air):
    air.cut(B, A)
    sent = Sent(air, 0, A, B, 50)
    assert not sent.frame.acked and sent.frame.attempts == 32
    assert sent.heard == [(B, airtime_us(50), -40)]
    assert air.stations[A].airtime == {None: 32 * (airtime_us(50) + ack_us())}
    assert air.lost["absent"] == 0


def test_unicast_repetitions_hide_loss(air):
    air.set_loss(0.3)
    results = [Sent(air, n * 100_000, A, B, 50) for n in range(200)]
    assert all(sent.frame.acked and sent.by == {B} for sent in results)
    assert sum(sent.frame.attempts for sent in results) > 300


def test_the_window_doubles_with_each_retry():
    class Dice(random.Random):
        windows = []

        def randrange(self, stop):
            self.windows.append(stop)
            return 0

    air = Air(Dice(1), "radio", **QUIET)
    air.station(A)
    Sent(air, 0, A, ABSENT, 50)
    assert Dice.windows == [32, 64, 128, 256, 512] + [1024] * 27


# Carrier sense.


def test_contention_delays_the_start():
    air = stations("radio", macs=(A,), **QUIET)
    starts = {Sent(air, n * 100_000, A, BROADCAST, 1).frame.begin_us % 100_000 for n in range(300)}
    assert starts == {DIFS_US + n * SLOT_US for n in range(32)}


class Draws(random.Random):
    """Draws these backoffs, one after the other."""

    def __init__(self, *slots):
        super().__init__(1)
        self._slots = list(slots)

    def randrange(self, stop):
        return self._slots.pop(0)


def test_backoff_that_was_interrupted_goes_on_where_it_stood():
    air = Air(Draws(10, 2), "radio", **QUIET)
    air.station(A), air.station(B)
    air.submit(0, A, BROADCAST, 50)  # would begin at 50 + 200
    air.submit(45, B, BROADCAST, 50)  # begins at 45 + 50 + 40: four of A's slots are over
    (b, a) = [frame for _, frame, _, _ in told(air)]
    assert b.begin_us == 135 and a.begin_us == b.end_us + DIFS_US + (10 - 4) * SLOT_US


@pytest.mark.parametrize("apart_us, collide", [(0, True), (19, True), (20, False), (300, False)])
def test_who_starts_within_a_slot_of_another_collides(apart_us, collide):
    air = Air(Draws(3, 3, 0), "radio", **QUIET)
    for mac in (A, B, C):
        air.station(mac)
    air.submit(0, A, BROADCAST, 50)
    air.submit(apart_us, B, BROADCAST, 50)
    found = told(air)
    assert [len(heard) for _, _, heard, _ in found] == ([0, 0] if collide else [2, 2])
    channel = air.stats()["channels"]["1"]
    assert channel["collisions"] == (2 if collide else 0)
    assert channel["overlap_us"] == (airtime_us(50) - apart_us if collide else 0)
    assert air.lost["collision"] == air.lost["deaf"] == (2 if collide else 0)


def saturated(seed, profile="radio", seconds=2, **parameters):
    """Five stations within 30 m that always have something to send, and all that is told."""
    dice = random.Random(seed)
    places = {mac: (dice.uniform(0, 30), dice.uniform(0, 30)) for mac in (A, B, C, D, E)}
    air = stations(profile, seed, (A, B, C, D, E), places, **parameters)
    found = []
    for now_us in range(0, seconds * 1_000_000, 20_000):
        found += told(air, now_us)
        for mac in air.stations:
            for kind in (1, 2):
                dst = A if kind == 2 and mac != A else BROADCAST
                air.submit(now_us + dice.randrange(2), mac, dst, dice.randrange(20, 200), kind)
    return air, found + told(air)


@pytest.mark.parametrize("seed", range(3))
def test_who_hears_another_never_talks_over_it_but_from_the_same_slot(seed):
    air, found = saturated(seed, **QUIET)
    # Broadcasts: those have one attempt, so that begin and end are known afterwards.
    sent = [frame for _, frame, _, done in found if done and frame.dst == BROADCAST]
    assert len(sent) > 200
    meetings = 0
    for one, other in itertools.combinations(sorted(sent, key=lambda f: f.begin_us), 2):
        if other.begin_us < one.end_us:
            meetings += 1
            assert other.begin_us - one.begin_us < SLOT_US
    assert meetings > 0, "five stations in a window of 32 slots meet now and then"


# Hidden terminals and capture.


HIDDEN = {A: (0, 0), B: (300, 0), C: (150, 0)}  # A and B are heard at C, and not by each other


def test_a_hidden_pair_collides_in_the_middle():
    air = stations("radio", places=HIDDEN, **QUIET)
    air.submit(0, A, BROADCAST, 250)
    air.submit(900, B, BROADCAST, 250)  # long after A has begun
    found = told(air)
    assert [heard for _, _, heard, _ in found] == [[], []]
    assert air.lost["collision"] == 2 and air.lost["deaf"] == 2
    assert {*Sent(air, 10_000, A, BROADCAST, 250).by} == {B, C}


def test_a_pair_that_hears_each_other_does_not():
    air = stations("radio", places={**HIDDEN, B: (100, 0)}, **QUIET)
    air.submit(0, A, BROADCAST, 250)
    air.submit(900, B, BROADCAST, 250)
    assert [len(heard) for _, _, heard, _ in told(air)] == [2, 2]


@pytest.mark.parametrize("metres, captured", [(80, True), (95, True), (96, False), (150, False)])
def test_capture_saves_the_much_stronger(metres, captured):
    """Where distance costs 30 dB a decade, 10 dB are a ratio of 10 ** (1/3) = 2.15."""
    assert captured == ((300 - metres) / metres > 10 ** (1 / 3))
    air = stations("radio", places={**HIDDEN, C: (metres, 0)}, cs_dbm=-70, **QUIET)
    air.submit(0, A, BROADCAST, 250)
    air.submit(900, B, BROADCAST, 250)
    heard = {frame.sender.mac: [mac for mac, _ in h] for _, frame, h, _ in told(air)}
    assert heard == {A: [C] if captured else [], B: []}


def test_interferers_add_up():
    """Each of two is 11.6 dB below the signal, both together 8.6 dB."""
    for others, heard in (((B,), [C]), ((B, D), [])):
        places = {A: (100, 0), C: (0, 0), B: (-243, 0), D: (0, 243)}
        air = stations("radio", macs=(A, B, C, D), places=places, cs_dbm=0, **QUIET)
        for mac in (A, *others):
            air.submit(0, mac, BROADCAST, 250)
        found = {frame.sender.mac: [mac for mac, _ in h] for _, frame, h, _ in told(air)}
        assert (C in found[A]) == (heard == [C])


def test_interference_below_the_noise_does_nothing():
    for metres, received in ((600, True), (300, False)):
        places = {A: (350, 0), B: (-metres, 0), C: (0, 0)}
        air = stations("radio", places=places, cs_dbm=0, **QUIET)
        air.submit(0, A, BROADCAST, 250)
        air.submit(0, B, BROADCAST, 250)
        found = {frame.sender.mac: [mac for mac, _ in h] for _, frame, h, _ in told(air)}
        assert (C in found[A]) == received


def test_a_collision_of_unicast_counts_at_each_attempt():
    air = Air(Draws(0, 0, 0, 63), "radio", **QUIET)
    for mac in (A, B, C):
        air.station(mac)
    air.submit(0, A, C, 50)
    air.submit(0, B, C, 50)
    frames = [frame for _, frame, _, done in told(air) if done]
    assert [frame.attempts for frame in frames] == [2, 2] and all(f.acked for f in frames)
    assert air.stats()["channels"]["1"]["collisions"] == 2
    assert air.lost["collision"] == 2


def test_an_ack_can_be_lost_to_a_hidden_terminal():
    places = {A: (0, 0), B: (80, 0), C: (-110, 0)}
    air = stations("radio", places=places, cs_dbm=0, **QUIET)
    air.rng = Draws(0, 0, 0)
    air.submit(0, A, B, 50)
    ack_begins_us = DIFS_US + airtime_us(50) + PROFILES["radio"]["sifs_us"]
    air.submit(ack_begins_us + 20 - DIFS_US, C, BROADCAST, 20)
    found = {frame.sender.mac: frame for _, frame, _, done in told(air) if done}
    assert found[A].attempts == 2 and found[A].acked
    # The ACK at A; and what C says, to B that answers and A that repeats.
    assert air.lost["collision"] == 1 and air.lost["deaf"] == 2
    assert air.stats()["channels"]["1"]["collisions"] == 2


def test_a_station_that_has_begun_to_send_gives_no_ack():
    # B gets what A sends, but does not sense it, and begins between frame and ACK.
    air = stations("radio", macs=(A, B), places={A: (0, 0), B: (150, 0)}, **QUIET)
    air.rng = Draws(0, 0, 200)
    air.submit(0, A, B, 50)
    end_us = DIFS_US + airtime_us(50)
    air.submit(end_us + 5 - DIFS_US, B, BROADCAST, 200)
    found = [(frame.sender.mac, frame.attempts) for _, frame, _, done in told(air) if done]
    assert found == [(B, 1), (A, 2)]
    # The frame, the other one's frame, the repetition and its ACK.
    assert sum(air.stations[A].airtime.values()) == 2 * airtime_us(50) + ack_us()


def test_hidden_unicast_comes_through_by_retries():
    air = stations("radio", places=HIDDEN, **QUIET)
    for n in range(20):
        air.submit(n * 500_000, A, C, 100)
        air.submit(n * 500_000, B, C, 100)
        assert [frame.acked for _, frame, _, done in told(air) if done] == [True, True]
    attempts = air.stations[A].attempts + air.stations[B].attempts
    assert attempts > 60 and air.lost["collision"] > 20


def test_a_station_that_sends_does_not_hear():
    air = stations("radio", places=HIDDEN, **QUIET)
    air.submit(0, A, BROADCAST, 250)
    air.submit(900, B, A, 20)  # A is still sending, and will not answer
    attempts = [f.attempts for _, f, _, done in told(air) if done and f.sender.mac == B]
    assert attempts[0] > 1 and air.lost["deaf"] >= 2


# Distance.


def test_the_level_falls_with_the_logarithm_of_the_distance():
    air = stations("radio", places={A: (0, 0), B: (0, 10), C: (60, 80)}, **QUIET)
    assert {mac: rssi for mac, _, rssi in Sent(air, 0, A, BROADCAST, 9).heard} == {B: -50, C: -80}
    air.station(A, dbm=8)
    sent = Sent(air, 10_000, A, BROADCAST, 9)
    assert {mac: rssi for mac, _, rssi in sent.heard} == {B: -62, C: -92}
    air.place(B, None)
    assert Sent(air, 20_000, A, BROADCAST, 9).heard[0][2] == -40


def test_each_rate_has_its_range():
    air = stations("radio", macs=(A, B), places={A: (0, 0), B: (1, 0)}, **QUIET)
    budget_db = 20 - 40
    for rate, row in RATES.items():
        air.station(A, rate=rate)
        metres = 10 ** ((budget_db - row[6]) / 30)
        for share, heard in ((0.99, {B}), (1.01, set())):
            air.place(B, (metres * share, 0))
            assert heard_by(air, A, 10**7 * (1 + round(100 * rate + share))) == heard, rate
    assert air.lost["weak"] == len(RATES)


def test_a_fast_rate_needs_more_over_the_interference():
    """54 Mbit/s: -76.6 dBm against a floor of -95, so 18.4 dB and not 10."""
    for rate, heard in ((1, [C]), (54, [])):
        places = {A: (0, 0), B: (300, 0), C: (80, 0)}  # 13.2 dB
        air = stations("radio", places=places, rate=rate, cs_dbm=-70, tx_dbm=35, **QUIET)
        air.station(B, rate=1)
        air.submit(0, B, BROADCAST, 250)
        air.submit(900, A, BROADCAST, 20)
        found = [h for _, f, h, _ in told(air) if f.sender.mac == A]
        assert [mac for mac, _ in found[0]] == heard


def test_shadowing_is_a_property_of_the_pair():
    levels = []
    for seed in range(200):
        air = stations("radio", seed, (A, B), {A: (0, 0), B: (10, 0)}, fading_m=0, burst_loss=0)
        there = [Sent(air, n * 10_000, A, BROADCAST, 9).heard[0][2] for n in range(2)]
        back = Sent(air, 30_000, B, BROADCAST, 9).heard[0][2]
        assert there == [back, back]
        levels.append(back)
    assert abs(statistics.mean(levels) + 50) < 1 and 3.3 < statistics.stdev(levels) < 4.7


def test_fading_is_drawn_for_each_reception_and_keeps_the_mean_power():
    quiet = dict(QUIET, fading_m=3)
    air = stations("radio", macs=(A, B), places={A: (0, 0), B: (10, 0)}, **quiet)
    levels = [Sent(air, n * 10_000, A, BROADCAST, 9).heard[0][2] for n in range(2000)]
    gains = [10 ** ((level + 50) / 10) for level in levels]
    assert 0.95 < statistics.mean(gains) < 1.05
    # Of Nakagami's power, variance is mean squared / m.
    assert 0.28 < statistics.variance(gains) < 0.4


def test_losses_of_a_burst_come_together():
    air = stations("plain", macs=(A, B), burst_loss=1.0)
    step_ms = 20
    lost = [not Sent(air, n * step_ms * 1000, A, BROADCAST, 9).heard for n in range(20_000)]
    good_ms, bad_ms = air.burst_good_ms, air.burst_bad_ms
    share = bad_ms / (good_ms + bad_ms)
    assert abs(sum(lost) / len(lost) - share) < 0.3 * share
    again = [after for before, after in itertools.pairwise(lost) if before]
    expected = share + (1 - share) * math.exp(-step_ms * (1 / good_ms + 1 / bad_ms))
    assert abs(sum(again) / len(again) - expected) < 0.07
    assert air.lost["burst"] == sum(lost)


def test_directions_have_bursts_of_their_own():
    air = stations("plain", macs=(A, B), burst_loss=1.0, burst_good_ms=50)
    pairs = [
        (heard_by(air, A, n * 10**6) == {B}, heard_by(air, B, n * 10**6 + 10_000) == {A})
        for n in range(200)
    ]
    assert 60 < sum(there != back for there, back in pairs) < 140


def test_walking_out_of_range_and_back():
    air = stations("radio", macs=(A, B), places={A: (0, 0), B: (100, 0)}, **QUIET)
    assert heard_by(air, A) == {B}
    air.move(1_000_000, B, (1100, 0), 100)
    seen = {s: heard_by(air, A, s * 1_000_000) == {B} for s in range(1, 14)}
    # Heard up to 10 ** (78.4 / 30) = 410 m.
    assert seen == {s: s <= 4 for s in range(1, 14)}
    assert air.position(6_000_000, B) == (1100, 0)
    assert air.position(20_000_000, B) == (1100, 0)
    air.move(20_000_000, B, (100, 0), 100)
    assert air.position(25_000_000, B) == (600, 0)
    assert heard_by(air, A, 26_000_000) == set() and heard_by(air, A, 28_000_000) == {B}
    with pytest.raises(ValueError, match="position"):
        stations().move(0, A, (1, 1), 1)
    with pytest.raises(ValueError, match="speed"):
        air.move(0, A, (1, 1), 0)


# Faults of links.


def test_loss_is_per_link_and_the_most_specific_rule_wins(air):
    air.set_loss(1.0)
    air.set_loss(0.0, A, B)
    assert heard_by(air, A) == {B}
    air.set_loss(0.0)
    assert heard_by(air, A, 10_000) == {B, C}
    air.set_loss(1.0, dst=C)
    assert heard_by(air, A, 20_000) == {B}
    assert heard_by(air, C, 30_000) == {A, B}
    with pytest.raises(ValueError):
        air.set_loss(1.5)


def test_loss_rate(air):
    air.set_loss(0.2)
    heard = sum(len(Sent(air, n * 10_000, A, BROADCAST, 9).heard) for n in range(5000))
    assert 0.77 < heard / 10_000 < 0.83
    assert air.lost["loss"] == 10_000 - heard


def test_cut_is_one_direction(air):
    air.cut(A, B)
    assert heard_by(air, A) == {C}
    assert heard_by(air, B, 10_000) == {A, C}
    assert air.lost["cut"] == 1
    air.cut(None, C)
    assert heard_by(air, A, 20_000) == set()
    air.heal(A, B)
    assert heard_by(air, A, 30_000) == {B}
    air.heal()
    assert heard_by(air, A, 40_000) == {B, C}


def test_a_cut_strikes_what_is_handed_over_from_then_on(air):
    air.submit(0, A, BROADCAST, 50)
    air.submit(0, B, BROADCAST, 50)
    air.cut()
    air.submit(1, C, BROADCAST, 50)
    assert [len(heard) for _, _, heard, _ in told(air)] == [2, 2, 0]


def test_a_repetition_is_struck_by_what_is_cut_meanwhile(air):
    air.cut(A, B)
    air.submit(0, A, B, 50)
    told(air, 5 * EXCHANGE_US - 1)
    air.heal(A, B)
    found = told(air)
    assert found[-1][1].acked and found[-1][1].attempts == 6


def test_heal_of_one_station_leaves_the_other_cuts(air):
    air.cut(A, B)
    air.cut(C, None)
    air.heal(src=A)
    assert heard_by(air, A) == {B, C}
    assert heard_by(air, C, 10_000) == set()


def test_partition_and_a_bridge(air):
    air.partition([[A, B], [B, C]])
    assert heard_by(air, A) == {B}
    assert heard_by(air, B, 10_000) == {A, C}
    air.partition([[A]])
    assert heard_by(air, A, 20_000) == set()
    assert heard_by(air, B, 30_000) == {C}
    air.heal()
    assert heard_by(air, A, 40_000) == {B, C}


def test_healing_a_named_link_opens_it_through_a_partition(air):
    air.partition([[A], [B]])
    air.heal(A, B)
    assert heard_by(air, A) == {B}
    assert heard_by(air, B, 10_000) == set()
    air.cut(A)
    assert heard_by(air, A, 20_000) == set()
    air.heal()
    air.heal(A, B)
    air.partition([[A], [B]])
    assert heard_by(air, A, 30_000) == set()


def test_links_need_no_air():
    links = Links(random.Random(1))
    links.cut(A, None)
    assert not links._passes(A, B) and links._passes(B, A)


def test_a_caller_may_choose_whom_a_frame_reaches(air):
    air.reach = lambda frame, listeners: [s for s in listeners if s.mac == frame.token]
    air.submit(0, A, BROADCAST, 50, token=C)
    assert [mac for _, _, heard, _ in told(air) for mac, _ in heard] == [C]


# Faults of the whole air.


def test_delay_can_reorder(air):
    air.set_delay(1, 20)
    arrivals = []
    for n in range(100):
        air.submit(n * 1000, A, BROADCAST, 9, token=n)
    for at_us, frame, heard, done in told(air):
        assert done == (not heard)
        if heard:
            assert 1000 <= at_us - frame.end_us <= 20_000
            arrivals += [frame.token for mac, _ in heard if mac == B]
    assert len(arrivals) == 100 and arrivals != sorted(arrivals)
    with pytest.raises(ValueError):
        air.set_delay(5, 1)


def test_who_leaves_does_not_hear_what_is_delayed(air):
    air.set_delay(5, 5)
    air.submit(0, A, BROADCAST, 9)
    told(air, airtime_us(9))
    air.station(B, on=False)
    air.station(C, channel=6)
    assert told(air) == []


def test_duplicates(air):
    air.set_duplicate(1.0)
    assert [mac for mac, _, _ in Sent(air, 0, A, B, 9).heard] == [B, B]
    assert [mac for mac, _, _ in Sent(air, 10_000, A, BROADCAST, 9).heard] == [B, B, C, C]


def test_a_carrier_holds_everybody_back(air):
    air.jam(0, 50_000)
    assert Sent(air, 1000, A, BROADCAST, 50).frame.begin_us == 50_000
    assert heard_by(air, B, 60_000) == {A, C}


def test_after_a_jammer_all_go_the_short_way_again(air):
    for loss in (None, 0.5):
        air.jam(0, 10, loss=loss)
        told(air)
        assert Sent(air, 1_000_000, A, BROADCAST, 50).frame.in_line
        air = stations()


def test_who_was_not_held_back_keeps_its_backoff():
    places = {A: (0, 0), B: (3000, 0)}
    air = stations("radio", macs=(A, B), places=places, **QUIET)
    air.rng = Draws(9)
    air.jam(0, 10**6, position=(3000, 0))
    air.submit(1000, A, BROADCAST, 50)
    air.silence(1100)
    assert told(air)[0][1].begin_us == 1000 + DIFS_US + 9 * SLOT_US


def test_a_carrier_spoils_what_it_meets(air):
    air.submit(0, A, BROADCAST, 50)
    air.submit(0, B, BROADCAST, 50)
    air.jam(100, 200)
    assert [len(heard) for _, _, heard, _ in told(air)] == [0, 0]
    assert air.lost["jammed"] == 4 and air.stats()["channels"]["1"]["collisions"] == 0


def test_a_carrier_that_falls_silent_early_lets_all_go_on(air):
    for profile in ("plain", "radio"):
        air = stations(profile)
        air.jam(0, 10**9)
        air.submit(1000, A, BROADCAST, 50)
        air.submit(1000, A, BROADCAST, 50)
        assert told(air, 100_000) == []
        air.silence(100_000)
        first, second = (frame for _, frame, _, _ in told(air, 10**9 - 1))
        assert 100_000 <= first.begin_us <= 100_000 + DIFS_US + 31 * SLOT_US < second.begin_us


def test_pulses_raise_the_loss_and_hold_nobody_back(air):
    air.jam(0, 10**10, loss=0.25)
    sent = [Sent(air, n * 10_000, A, BROADCAST, 9) for n in range(2000)]
    assert all(one.frame.begin_us == n * 10_000 for n, one in enumerate(sent))
    heard = sum(len(one.heard) for one in sent)
    assert 0.72 < heard / 4000 < 0.78 and air.lost["jammed"] == 4000 - heard
    with pytest.raises(ValueError):
        air.jam(0, 1, loss=2)


def test_a_jammer_is_at_a_place():
    places = {A: (0, 0), B: (20, 0), C: (150, 0)}
    air = stations("radio", places=places, **QUIET)
    air.jam(0, 10**9, position=(170, 0), loss=1.0)
    assert heard_by(air, A) == {B}
    air.silence(10_000)
    assert heard_by(air, A, 20_000) == {B, C}
    air.jam(30_000, 10**9, position=(170, 0), dbm=-20, loss=1.0)
    assert heard_by(air, A, 40_000) == {B, C}
    # Near the jammer its carrier is sensed, 170 m away it is not.
    air.silence(50_000)
    air.jam(50_000, 10**9, position=(170, 0))
    assert heard_by(air, A, 60_000) == {B}
    assert air.stations[C].attempts == 0
    air.submit(70_000, C, BROADCAST, 50)
    assert told(air, 10**9 - 1) == [] and air.stations[C].attempts == 0


def test_a_jammer_has_one_channel(air):
    air.jam(0, 10**9, channel=6)
    assert heard_by(air, A, 10) == {B, C}


def test_calm_is_a_plain_air():
    air = stations("radio", places={A: (0, 0), B: (5000, 0), C: (9000, 0)})
    air.set_loss(0.5, A, B)
    air.set_delay(5, 9)
    air.set_duplicate(0.5)
    air.jam(0, 10**9)
    air.move(0, B, (7000, 0), 1)
    air.cut(C, A)
    air.submit(0, A, BROADCAST, 50)
    air.calm(5000)
    (held,) = (frame for _, frame, _, _ in told(air))
    assert 5000 <= held.begin_us < 6000
    sent = Sent(air, 20_000, A, BROADCAST, 50)
    assert sent.heard == [(mac, 20_000 + airtime_us(50), -40) for mac in (B, C)]
    assert heard_by(air, C, 30_000) == {B}, "cuts are heal()'s"
    for name, value in PROFILES["plain"].items():
        assert getattr(air, name) == value


# Stations that come and go.


def test_a_station_that_is_off_neither_sends_nor_hears(air):
    air.station(B, on=False)
    assert heard_by(air, A) == {C}
    assert not air.hears(B, 1)
    with pytest.raises(ValueError):
        air.submit(10_000, B, BROADCAST, 50)


def test_a_station_hears_only_what_ends_while_it_listens(air):
    air.submit(0, A, BROADCAST, 50)
    air.station(B, on=False)
    air.station(C, channel=6)
    assert [heard for _, _, heard, _ in told(air)] == [[]]


def test_what_a_radio_was_handed_leaves_without_power_once(air):
    air.submit(0, A, BROADCAST, 50)
    air.submit(0, A, ABSENT, 50)
    air.submit(0, A, BROADCAST, 50)
    air.station(A, on=False)
    found = told(air)
    assert [(f.attempts, f.acked, len(h)) for _, f, h, _ in found] == [
        (1, True, 2),
        (1, False, 0),
        (1, True, 2),
    ]


def test_waiting_frames_follow_their_station_to_another_channel(air):
    air.station(D, channel=6)
    air.submit(0, A, ABSENT, 250)
    air.submit(0, B, D, 50)
    air.submit(1, B, BROADCAST, 50)
    air.station(B, channel=6)
    found = [(f.sender.mac, f.attempts, f.acked) for _, f, _, done in told(air) if done]
    assert found == [(B, 1, True), (B, 1, True), (A, 32, False)]
    assert heard_by(air, B, 10**6) == {D}
    assert all(medium.others == 0 for medium in air._media.values())


@pytest.mark.parametrize("dst", [ABSENT, BROADCAST])
def test_a_frame_on_the_air_ends_on_its_channel(air, dst):
    air.station(D, channel=6)
    air.submit(0, A, dst, 250)
    told(air, 0)
    air.submit(0, A, BROADCAST, 50)
    air.station(A, channel=6)
    found = told(air)
    assert [f.attempts for _, f, _, _ in found] == [32 if dst == ABSENT else 1, 1]
    assert [mac for mac, _ in found[-1][2]] == ([D] if dst == ABSENT else [B, C])
    # A repetition goes out where the station is by then.
    lengths = [airtime_us(250)] if dst == ABSENT else [airtime_us(250), airtime_us(50)]
    assert air.stats()["channels"]["1"]["busy_us"] == sum(lengths)
    assert heard_by(air, A, 10**6) == {D}
    assert all(medium.others == 0 for medium in air._media.values())


def test_another_level_is_told_at_once(air):
    assert Sent(air, 0, A, BROADCAST, 50).heard[0][2] == -40
    air.use("plain", rssi_dbm=-60)
    assert Sent(air, 10_000, A, BROADCAST, 50).heard[0][2] == -60


# Accounts.


def test_counters(air):
    air.submit(1000, A, BROADCAST, 50, 3)
    air.submit(1000, A, B, 50, 4)
    air.submit(1000, B, BROADCAST, 50)
    told(air)
    air.advance(1000 + 10 * airtime_us(50))
    stats = air.stats()
    busy_us = 3 * airtime_us(50) + 304
    assert stats["channels"] == {
        "1": {
            "busy_us": busy_us,
            "overlap_us": 0,
            "collisions": 0,
            "utilisation": round(busy_us / (10 * airtime_us(50)), 4),
        }
    }
    assert stats["stations"][A.hex()] == {
        "channel": 1,
        "on": True,
        "frames": 2,
        "attempts": 2,
        "airtime_us": 2 * airtime_us(50) + 304,
        "kinds": {"3": airtime_us(50), "4": airtime_us(50) + 304},
    }
    assert stats["stations"][C.hex()]["airtime_us"] == 0
    assert set(stats["lost"].values()) == {0}


def union_us(spans):
    covered_us = until_us = 0
    for begin_us, end_us in sorted(spans):
        covered_us += max(0, end_us - max(begin_us, until_us))
        until_us = max(until_us, end_us)
    return covered_us


@pytest.mark.parametrize("profile", ["plain", "radio"])
def test_busy_time_is_the_union_of_what_was_sent(profile):
    dice = random.Random(4)
    air = stations(profile, places=HIDDEN if profile == "radio" else None)
    spans = []
    for n in range(400):
        air.submit(n * 1500, dice.choice((A, B, C)), BROADCAST, dice.randrange(20, 200), n % 3)
        spans += [(f.begin_us, f.end_us) for _, f, _, _ in told(air, n * 1500)]
    spans += [(f.begin_us, f.end_us) for _, f, _, _ in told(air)]
    stats = air.stats()
    channel = stats["channels"]["1"]
    assert channel["busy_us"] == union_us(spans)
    assert (channel["overlap_us"] > 0) == (profile == "radio")
    assert channel["busy_us"] + channel["overlap_us"] == sum(end - begin for begin, end in spans)


@pytest.mark.parametrize("seed", range(3))
def test_the_parts_add_up(seed):
    """With unicast, retries, ACKs and collisions."""
    air, found = saturated(seed)
    stats = air.stats()
    channel = stats["channels"]["1"]
    parts = [station["airtime_us"] for station in stats["stations"].values()]
    assert sum(parts) == channel["busy_us"] + channel["overlap_us"] and channel["overlap_us"]
    for station in stats["stations"].values():
        assert sum(station["kinds"].values()) == station["airtime_us"]
        assert set(station["kinds"]) == {"1", "2"}
    attempts = sum(frame.attempts for _, frame, _, done in found if done)
    assert attempts == sum(station["attempts"] for station in stats["stations"].values())
    assert 0.3 < channel["utilisation"] < 1


def test_every_frame_is_done_once():
    air, found = saturated(3)
    done = [frame for _, frame, _, done in found if done]
    frames = sum(station.frames for station in air.stations.values())
    assert len(done) == len({id(frame) for frame in done}) == frames


# The same again.


def everything(seed):
    dice = random.Random(seed)
    air, found = saturated(seed, seconds=1)
    air.set_loss(0.1)
    air.set_delay(0, 5)
    air.set_duplicate(0.1)
    air.move(1_000_000, B, (200, 0), 50)
    for n in range(300):
        now_us = 1_500_000 + n * 2000
        found += told(air, now_us)
        if n % 50 == 0:
            air.jam(
                now_us, now_us + 20_000, position=(dice.uniform(0, 99), 0), loss=(None, 0.5)[n % 2]
            )
        air.submit(now_us, dice.choice((A, B, C, D, E)), dice.choice((BROADCAST, C)), 60)
    found += told(air)
    return [
        (at, f.sender.mac, f.attempts, f.acked, heard) for at, f, heard, _ in found
    ], air.stats()


def test_same_seed_same_air():
    assert everything(7) == everything(7)
    assert everything(7) != everything(8)


# In the simulator.


def test_every_parameter_has_a_meaning_and_a_source():
    for name, plain, radio, _, meaning, source in PARAMETERS:
        assert meaning and source, name
        assert type(plain) is type(radio) or not plain, name


def test_boards_agree_in_the_radio_profile():
    world = World(seed=3, boards=5)
    world.air.use("radio")
    for me, board in world.boards.items():
        world.air.place(board.mac, (20 * me, 0))
    assert world.run_until_true(world.leader, 5000)
    asked = [world.propose(world.leader(), set_command(0, 1))]
    world.run(2000)
    assert asked[0].code == COMMITTED and world.checks.all_equal()
    rssi = [board.rssi for board in world.boards.values()]
    assert len(set(rssi)) > 1 and all(-100 < level < 0 for level in rssi)
    kinds = world.air.stats()["stations"][world.boards[1].mac.hex()]["kinds"]
    assert "3" in kinds or len(kinds) > 1


def test_a_world_looks_at_an_air_that_was_calmed():
    world = World(seed=3, boards=3)
    world.run_until_true(world.leader, 5000)
    world.air.jam(world.now_us, world.now_us + 10**8)
    world.run(100)
    held, before = world.air.next_us(), world.deliveries
    world.repair()
    assert world.air.next_us() == world._air_us < held
    world.run(2)
    assert world.deliveries > before


def test_the_fault_radio_is_healed():
    world = World(seed=5, boards=3)
    faults = Faults(world, 5)
    faults._radio(0.9)
    faults._jam()
    faults._walk()
    assert world.air.cw_min and world.air.position(world.now_us, world.boards[1].mac)
    world.repair()
    assert not world.air.cw_min and not world.air._jammers
    assert {world.air.position(world.now_us, b.mac) for b in world.boards.values()} == {None}


def test_some_runs_have_the_fault_radio():
    having = [seed for seed in range(1, 21) if "radio" in prepare(seed)[1].kinds]
    assert 5 <= len(having) <= 15
