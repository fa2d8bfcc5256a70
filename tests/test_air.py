"""tools.air: airtime, carrier sense, acknowledgements, and every fault, in virtual time."""

import random

import pytest

from tools.air import BROADCAST, Air, airtime_us

A, B, C = (b"\x02RAFT" + bytes([n]) for n in (1, 2, 3))


@pytest.fixture
def air():
    air = Air(random.Random(1))
    for mac in (A, B, C):
        air.station(mac)
    return air


def heard_by(sent):
    return {mac for mac, _, _ in sent.deliveries}


def test_airtime_at_1_mbit():
    """Preamble of 192 us, then 8 us for each of payload + 43 bytes."""
    assert airtime_us(0) == 192 + 8 * 43
    assert airtime_us(250) == 2536


def test_broadcast_reaches_everyone_when_the_frame_ends(air):
    sent = air.transmit(1000, A, BROADCAST, 50)
    assert (sent.start_us, sent.end_us) == (1000, 1000 + airtime_us(50))
    assert sent.deliveries == [(B, sent.end_us, -40), (C, sent.end_us, -40)]
    assert sent.acked and sent.attempts == 1


def test_a_channel_carries_one_frame_at_a_time(air):
    first = air.transmit(0, A, BROADCAST, 50)
    second = air.transmit(10, B, BROADCAST, 50)
    assert second.start_us == first.end_us
    air.station(C, channel=6)
    assert air.transmit(10, C, BROADCAST, 50).start_us == 10


def test_contention_delays_the_start():
    air = Air(random.Random(3), difs_us=50, backoff_slots=31)
    air.station(A)
    starts = {air.transmit(n * 100_000, A, BROADCAST, 1).start_us % 100_000 for n in range(200)}
    assert min(starts) == 50 and max(starts) == 50 + 31 * 20


def test_unknown_parameter():
    with pytest.raises(TypeError, match="wavelength"):
        Air(random.Random(), wavelength=1)


def test_unicast_is_acknowledged_at_once(air):
    sent = air.transmit(0, A, B, 50)
    assert sent.acked and sent.attempts == 1
    assert sent.deliveries == [(B, airtime_us(50), -40)]
    assert sent.end_us == airtime_us(50) + 10 + 304
    assert air.stations[A].airtime_us == airtime_us(50) + 304


@pytest.mark.parametrize("absent", ["off", "other channel", "unknown", "itself"])
def test_unicast_to_nobody_is_tried_32_times(air, absent):
    dst = B
    if absent == "off":
        air.station(B, on=False)
    elif absent == "other channel":
        air.station(B, channel=6)
    else:
        dst = A if absent == "itself" else b"\x02RAFT\x09"
    sent = air.transmit(0, A, dst, 50)
    assert not sent.acked and sent.attempts == 32 and not sent.deliveries
    assert sent.end_us == 32 * airtime_us(50)
    assert air.lost["absent"] == 1


def test_unicast_delivers_once_although_every_ack_is_lost(air):
    air.cut(B, A)
    sent = air.transmit(0, A, B, 50)
    assert not sent.acked and sent.attempts == 32
    assert sent.deliveries == [(B, airtime_us(50), -40)]


def test_unicast_repetitions_hide_loss(air):
    air.set_loss(0.3)
    results = [air.transmit(n * 100_000, A, B, 50) for n in range(200)]
    assert all(sent.acked and heard_by(sent) == {B} for sent in results)
    assert sum(sent.attempts for sent in results) > 300


def test_loss_is_per_link_and_the_most_specific_rule_wins(air):
    air.set_loss(1.0)
    air.set_loss(0.0, A, B)
    assert heard_by(air.transmit(0, A, BROADCAST, 50)) == {B}
    air.set_loss(0.0)
    assert heard_by(air.transmit(0, A, BROADCAST, 50)) == {B, C}
    air.set_loss(1.0, dst=C)
    assert heard_by(air.transmit(0, A, BROADCAST, 50)) == {B}
    assert heard_by(air.transmit(0, C, BROADCAST, 50)) == {A, B}
    with pytest.raises(ValueError):
        air.set_loss(1.5)


def test_loss_rate(air):
    air.set_loss(0.2)
    heard = sum(len(air.transmit(n * 10_000, A, BROADCAST, 9).deliveries) for n in range(5000))
    assert 0.77 < heard / 10_000 < 0.83
    assert air.lost["loss"] == 10_000 - heard


def test_cut_is_one_direction(air):
    air.cut(A, B)
    assert heard_by(air.transmit(0, A, BROADCAST, 50)) == {C}
    assert heard_by(air.transmit(0, B, BROADCAST, 50)) == {A, C}
    assert air.lost["cut"] == 1
    air.cut(None, C)
    assert heard_by(air.transmit(0, A, BROADCAST, 50)) == set()
    air.heal(A, B)
    assert heard_by(air.transmit(0, A, BROADCAST, 50)) == {B}
    air.heal()
    assert heard_by(air.transmit(0, A, BROADCAST, 50)) == {B, C}


def test_heal_of_one_station_leaves_the_other_cuts(air):
    air.cut(A, B)
    air.cut(C, None)
    air.heal(src=A)
    assert heard_by(air.transmit(0, A, BROADCAST, 50)) == {B, C}
    assert heard_by(air.transmit(0, C, BROADCAST, 50)) == set()


def test_partition_and_a_bridge(air):
    air.partition([[A, B], [B, C]])
    assert heard_by(air.transmit(0, A, BROADCAST, 50)) == {B}
    assert heard_by(air.transmit(0, B, BROADCAST, 50)) == {A, C}
    air.partition([[A]])
    assert heard_by(air.transmit(0, A, BROADCAST, 50)) == set()
    assert heard_by(air.transmit(0, B, BROADCAST, 50)) == {C}
    air.heal()
    assert heard_by(air.transmit(0, A, BROADCAST, 50)) == {B, C}


def test_healing_a_named_link_opens_it_through_a_partition(air):
    air.partition([[A], [B]])
    air.heal(A, B)
    assert heard_by(air.transmit(0, A, BROADCAST, 50)) == {B}
    assert heard_by(air.transmit(0, B, BROADCAST, 50)) == set()
    air.cut(A)
    assert heard_by(air.transmit(0, A, BROADCAST, 50)) == set()
    air.heal()
    air.heal(A, B)
    air.partition([[A], [B]])
    assert heard_by(air.transmit(0, A, BROADCAST, 50)) == set()


def test_delay_can_reorder(air):
    air.set_delay(1, 20)
    arrivals = []
    for n in range(100):
        sent = air.transmit(n * 1000, A, BROADCAST, 9)
        delay_us = sent.deliveries[0][1] - sent.end_us
        assert 1000 <= delay_us <= 20_000
        arrivals.append(sent.deliveries[0][1])
    assert arrivals != sorted(arrivals)
    with pytest.raises(ValueError):
        air.set_delay(5, 1)


def test_duplicates(air):
    air.set_duplicate(1.0)
    assert [mac for mac, _, _ in air.transmit(0, A, B, 9).deliveries] == [B, B]


def test_a_station_that_is_off_neither_sends_nor_hears(air):
    air.station(B, on=False)
    assert heard_by(air.transmit(0, A, BROADCAST, 50)) == {C}
    assert not air.hears(B, 1)
    with pytest.raises(ValueError):
        air.transmit(0, B, BROADCAST, 50)
    with pytest.raises(ValueError):
        air.station(BROADCAST)


def test_counters(air):
    air.transmit(0, A, BROADCAST, 50)
    air.transmit(0, A, B, 50)
    stats = air.stats()
    assert stats["busy_us"] == {"1": 2 * airtime_us(50) + 304}
    assert stats["stations"][A.hex()]["frames"] == 2
    assert stats["stations"][B.hex()]["received"] == 2


def test_same_seed_same_air():
    def run():
        air = Air(random.Random(7))
        for mac in (A, B, C):
            air.station(mac)
        air.set_loss(0.3)
        air.set_delay(0, 5)
        air.set_duplicate(0.1)
        return [air.transmit(n * 500, A, BROADCAST, n % 250).deliveries for n in range(300)]

    assert run() == run()
