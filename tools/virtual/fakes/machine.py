"""`machine` of the ESP32: resets, identity, watchdog, RTC memory, pins.

A reset is a message to the supervisor, which ends the process and starts it again; the caller
never returns. The watchdog is kept by the supervisor too: it stops with the board when the board is
frozen, and like the real one it cannot be switched off.
"""

import _chip
import utime

PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

_PINS = 40
_INPUT_ONLY = 34
_freq = 160000000


def reset():
    _chip.end("hard")


def soft_reset():
    import network

    _chip.end("soft", wlan=network.survivors())


def reset_cause():
    return _chip.settings.get("reset_cause", PWRON_RESET)


def wake_reason():
    return 0


def unique_id():
    return _chip.link.mac


def freq(hz=None):
    global _freq
    if hz is None:
        return _freq
    if hz not in (20000000, 40000000, 80000000, 160000000, 240000000):
        raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")
    _freq = hz


def idle():
    utime.sleep_us(0)


def disable_irq():
    return 0


def enable_irq(state):
    return None


class WDT:
    """The one task watchdog; constructing it again changes its timeout."""

    _timeout_ms = 5000
    _told = 0

    def __init__(self, id=0, timeout=5000):
        if id != 0:
            raise ValueError("")
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        WDT._timeout_ms = timeout
        WDT._told = utime.ticks_ms()
        _chip.tell({"wdt": timeout})

    def __repr__(self):
        return "<WDT>"

    def feed(self):
        # A board feeds at every turn of its loop; the supervisor hears of one in a while.
        now = utime.ticks_ms()
        if utime.ticks_diff(now, WDT._told) * 8 >= WDT._timeout_ms:
            WDT._told = now
            _chip.tell({"wdt": WDT._timeout_ms})


class RTC:
    """Memory that survives every reset but power loss; the supervisor keeps it in a file."""

    def __repr__(self):
        return "<RTC>"

    def memory(self, data=None):
        store = _chip.rtc
        if data is None:
            store.seek(0)
            size = int.from_bytes(store.read(2), "little")
            return store.read(size)
        data = bytes(memoryview(data))
        if len(data) > 2048:
            raise ValueError("buffer too long")
        store.seek(0)
        store.write(len(data).to_bytes(2, "little") + data)

    def datetime(self, value=None):
        import time

        now = time.gmtime()
        return now[:3] + (now[6],) + now[3:6] + (time.time_ns() // 1000 % 1000000,)


class Pin:
    """Remembers its level; an input reads what value() or the pull-up last put there."""

    IN = 1
    OUT = 3
    OPEN_DRAIN = 7
    PULL_DOWN = 1
    PULL_UP = 2
    IRQ_RISING = 1
    IRQ_FALLING = 2

    _pins = {}

    def __new__(cls, id, *args, **options):
        pin = cls._pins.get(id)
        if pin is None:
            if not isinstance(id, int) or not 0 <= id < _PINS:
                raise ValueError("invalid pin")
            pin = object.__new__(cls)
            pin._id = id
            pin._level = 0
            cls._pins[id] = pin
        return pin

    def __init__(self, id, mode=-1, pull=-1, value=None):
        self.init(mode, pull, value)

    def init(self, mode=-1, pull=-1, value=None):
        if mode in (Pin.OUT, Pin.OPEN_DRAIN) and self._id >= _INPUT_ONLY:
            raise ValueError("pin can only be input")
        if pull == Pin.PULL_UP and mode == Pin.IN:
            self._level = 1
        if value is not None:
            self._level = 1 if value else 0

    def __repr__(self):
        return "Pin(%d)" % self._id

    def __call__(self, level=None):
        return self.value(level)

    def value(self, level=None):
        if level is None:
            return self._level
        self._level = 1 if level else 0

    def on(self):
        self._level = 1

    def off(self):
        self._level = 0

    def toggle(self):
        self._level ^= 1

    def irq(self, handler=None, trigger=3):
        """Levels change only from the board's own code, so that no interrupt ever comes."""
        return None
