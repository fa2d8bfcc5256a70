"""`time` of the ESP32: ticks wrap at 2**30, the epoch is 2000-01-01 and starts at power on.

The board's own clock counts from its start plus an offset, with a drift, both from its settings,
so that a run can begin just before the wrap. asyncio was imported before this module and keeps the
clock of the host: it sleeps correctly, but its own behaviour at the wrap is not covered.
"""

import utime as _host
from micropython import const

_PERIOD = const(1 << 30)
_MASK = const((1 << 30) - 1)
_HALF = const(1 << 29)
_EPOCH_2000 = const(946684800)

_start_us = _host.ticks_us()
_offset_us = 0
_ppm = 0
# Called by the sleeps with the microseconds that are left; set while an ESP-NOW interrupt handler
# wants to hear of frames. It returns when there was something to do.
_idle = None


def _configure(offset_ms, ppm):
    global _offset_us, _ppm
    _offset_us = offset_ms * 1000
    _ppm = ppm


def _uptime_us():
    """Microseconds since start by this board's clock, not wrapped."""
    elapsed = _host.ticks_us() - _start_us
    if _ppm:
        elapsed += elapsed * _ppm // 1000000
    return elapsed


def _host_to_ms(host_us):
    """The unmasked ms count of this board at a moment of the host's monotonic clock."""
    now = _host.ticks_us()
    # The host's clocks may disagree after it slept: a frame never comes from the future.
    elapsed = min(host_us, now) - _start_us
    if elapsed < 0:
        elapsed = 0
    if _ppm:
        elapsed += elapsed * _ppm // 1000000
    return (elapsed + _offset_us) // 1000


def ticks_ms():
    return ((_uptime_us() + _offset_us) // 1000) & _MASK


def ticks_us():
    return (_uptime_us() + _offset_us) & _MASK


def ticks_cpu():
    return ticks_us()


def ticks_add(ticks, delta):
    if not -_HALF < delta < _HALF:
        raise OverflowError("ticks interval overflow")
    return (ticks + delta) & _MASK


def ticks_diff(end, start):
    return ((end - start + _HALF) & _MASK) - _HALF


def sleep(seconds):
    sleep_us(int(seconds * 1000000))


def sleep_ms(ms):
    sleep_us(ms * 1000)


def sleep_us(us):
    if _idle is None:
        if us > 0:
            _host.sleep_us(us)
        return
    end = _host.ticks_us() + us
    while us > 0:
        _idle(us)
        us = end - _host.ticks_us()


def time():
    return _uptime_us() // 1000000


def time_ns():
    return _uptime_us() * 1000


def gmtime(seconds=None):
    return _host.gmtime((time() if seconds is None else seconds) + _EPOCH_2000)[:8]


localtime = gmtime


def mktime(fields):
    days = 0
    year, month, day, hour, minute, second = fields[:6]
    for y in range(2000, year):
        days += 366 if y % 4 == 0 and (y % 100 or y % 400 == 0) else 365
    leap = year % 4 == 0 and (year % 100 or year % 400 == 0)
    for m, length in enumerate((31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)):
        if m + 1 < month:
            days += length
    return ((days + day - 1) * 24 + hour) * 3600 + minute * 60 + second
