"""Milliseconds since boot that never wrap, from ticks that wrap at 2**30 (12.4 days)."""

import time


class Clock:
    """`now_ms` must be called at least every 6 days: half of what the ticks count."""

    def __init__(self):
        self._last = time.ticks_ms()
        self._total_ms = 0

    def now_ms(self):
        ticks = time.ticks_ms()
        self._total_ms += time.ticks_diff(ticks, self._last)
        self._last = ticks
        return self._total_ms
