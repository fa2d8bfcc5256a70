"""How much of the channel the cluster uses, as this board hears it, so that it keeps to its share.

Only authentic frames of the own cluster count: nobody without the key can talk it into silence.
"""

from raft.message import const

_PREAMBLE_US = const(192)  # 1 Mbit/s, long preamble: ESP-NOW's default rate
_FRAMING_BYTES = const(43)  # around the payload (docs/air.md)
_DEPTH_MS = const(1000)  # a burst may use up the share of so long


def airtime_us(length):
    """Microseconds on the air of a frame of `length` bytes, at 1 Mbit/s."""
    return _PREAMBLE_US + 8 * (length + _FRAMING_BYTES)


class Meter:
    """`percent`: the share, 1 to 100."""

    def __init__(self, percent):
        self._us_per_ms = 10 * percent
        self._credit_us = self._most_us = self._us_per_ms * _DEPTH_MS
        self._at_ms = 0

    def used(self, length):
        """A frame of `length` bytes was sent or heard."""
        self._credit_us -= airtime_us(length)

    def wait_ms(self, now_ms):
        """How long what can wait has to, from `now_ms` (never less than before) on."""
        passed_ms = min(now_ms - self._at_ms, 2 * _DEPTH_MS)
        self._at_ms = now_ms
        credit_us = self._credit_us + passed_ms * self._us_per_ms
        # Not deeper than that: the share must come back within a second.
        self._credit_us = max(-self._most_us, min(self._most_us, credit_us))
        return 0 if self._credit_us >= 0 else -self._credit_us // self._us_per_ms + 1
