"""The share of the channel that a cluster keeps to."""

from firmware.meter import Meter, airtime_us


def test_a_burst_passes_and_then_the_share_is_kept():
    meter = Meter(30)
    assert meter.wait_ms(5000) == 0
    used_us = 0
    while meter.wait_ms(5000) == 0:
        meter.used(100)
        used_us += airtime_us(100)
    assert 300_000 < used_us <= 300_000 + airtime_us(100)
    wait_ms = meter.wait_ms(5000)
    assert 0 < wait_ms <= airtime_us(100) // 300 + 1
    assert meter.wait_ms(5000 + wait_ms) == 0


def test_the_wait_is_bounded_and_the_credit_too():
    meter = Meter(1)
    for _ in range(10_000):
        meter.used(250)
    assert 0 < meter.wait_ms(10) <= 1001
    assert meter.wait_ms(20_000) == 0
    for _ in range(3):
        meter.used(250)
    assert meter.wait_ms(20_000) == 0
    for _ in range(4):
        meter.used(250)
    assert meter.wait_ms(20_000) > 0
