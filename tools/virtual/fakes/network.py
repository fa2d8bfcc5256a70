"""`network` of the ESP32, as far as boards without an access point in reach can see it.

One station at the air stands for both interfaces and carries the MAC of the STA interface. With
`wifi` in the board's settings ({"ssid", "key", "channel"}) there is one router to connect to; an IP
network is always there, because the sockets are the host's own.
"""

import _chip
import airlink

STA_IF = 0
AP_IF = 1

AUTH_OPEN = 0
AUTH_WEP = 1
AUTH_WPA_PSK = 2
AUTH_WPA2_PSK = 3
AUTH_WPA_WPA2_PSK = 4
AUTH_WPA3_PSK = 6
AUTH_WPA2_WPA3_PSK = 7

STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_BEACON_TIMEOUT = 200
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
STAT_ASSOC_FAIL = 203
STAT_HANDSHAKE_TIMEOUT = 204

_NOWHERE = ("0.0.0.0", "0.0.0.0", "0.0.0.0", "0.0.0.0")
_hostname = "mpy-esp32"
_country = "XX"


class _Driver:
    """The Wi-Fi driver: one radio and one channel for both interfaces."""

    def __init__(self):
        self.interfaces = {}
        self.channel = 1
        self.listening = False  # ESP-NOW is active; espnow.py sets it

    def publish(self):
        flags = 0
        if any(interface._active for interface in self.interfaces.values()):
            flags = airlink.RADIO | (airlink.LISTEN if self.listening else 0)
        _chip.link.set(self.channel, flags)

    def is_active(self, number):
        interface = self.interfaces.get(number)
        return interface is not None and interface._active


driver = _Driver()


def hostname(name=None):
    global _hostname
    if name is None:
        return _hostname
    _hostname = name


def country(code=None):
    global _country
    if code is None:
        return _country
    _country = code


class WLAN:
    IF_STA = 0
    IF_AP = 1
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2
    PROTOCOL_DEFAULT = 7
    PROTOCOL_LR = 8
    SEC_OPEN = 0
    SEC_WEP = 1
    SEC_WPA = 2
    SEC_WPA2 = 3
    SEC_WPA_WPA2 = 4
    SEC_WPA3 = 6
    SEC_WPA2_WPA3 = 7

    def __new__(cls, interface=STA_IF):
        if interface not in (STA_IF, AP_IF):
            raise ValueError("invalid WLAN interface identifier")
        self = driver.interfaces.get(interface)
        if self is None:
            self = object.__new__(cls)
            self._setup(interface)
            driver.interfaces[interface] = self
        return self

    def __init__(self, interface=STA_IF):
        # __new__ has set up the one object of this interface; a second call must not reset it.
        pass

    def _setup(self, interface):
        self._number = interface
        self._active = False
        self._status = STAT_IDLE
        self._values = {
            "pm": 1,
            "txpower": 19.5,
            "protocol": 7,
            "reconnects": -1,
            "ssid": "",
            "security": 0,
            "hidden": False,
            "max_clients": 10,
        }
        if interface == AP_IF:
            self._values["ssid"] = "ESP_" + "".join("%02X" % byte for byte in _chip.link.mac[3:])

    def __repr__(self):
        return "<WLAN>"

    def active(self, on=None):
        if on is None:
            return self._active
        if bool(on) != self._active:
            self._active = bool(on)
            if not on:
                self._status = STAT_IDLE
            driver.publish()
        return self._active

    def config(self, *names, **values):
        if names and values:
            raise TypeError("either pos or kw args are allowed")
        if names:
            return self._get(names[0])
        for name, value in values.items():
            self._set(name, value)

    def _get(self, name):
        if name == "mac":
            mac = bytearray(_chip.link.mac)
            mac[5] = (mac[5] + self._number) & 0xFF
            return bytes(mac)
        if name == "channel":
            started = any(interface._active for interface in driver.interfaces.values())
            return driver.channel if started or self._number == AP_IF else 0
        if name in ("hostname", "dhcp_hostname"):
            return _hostname
        name = _ALIASES.get(name, name)
        if name == "txpower" and not self._active:
            raise OSError("Wifi Not Started")
        if name == "pm" and not self._active:
            return 0
        if name not in self._values:
            raise ValueError("unknown config param")
        return self._values[name]

    def _set(self, name, value):
        if name in ("hostname", "dhcp_hostname"):
            hostname(value)
            return
        name = _ALIASES.get(name, name)
        if name == "channel":
            if not self._active and self._number == STA_IF:
                raise OSError("Wifi Not Started")
            if not 1 <= value <= 14:
                raise RuntimeError("Wifi Unknown Error 0x0102")
            driver.channel = value
            driver.publish()
        elif name == "mac":
            raise OSError("the MAC of a virtual board comes from its settings")
        elif name in ("key", "password"):
            pass
        elif name not in self._values:
            raise ValueError("unknown config param")
        elif name == "pm" and not self._active:
            raise OSError("Wifi Invalid Mode")
        elif name == "txpower":
            if not self._active:
                raise OSError("Wifi Not Started")
            # The driver rounds down to its own steps; 8 dBm read back as 7.0.
            self._values[name] = 7.0 if value == 8 else float(value)
        else:
            self._values[name] = value

    def connect(self, ssid=None, key=None, bssid=None):
        if not self._active:
            raise OSError("Wifi Invalid Mode")
        router = _chip.settings.get("wifi")
        if router is None or ssid != router["ssid"]:
            self._status = STAT_NO_AP_FOUND
        elif key != router.get("key", key):
            self._status = STAT_WRONG_PASSWORD
        else:
            self._status = STAT_GOT_IP
            self._values["ssid"] = ssid
            # The router decides the channel, whatever was set.
            driver.channel = router.get("channel", 1)
            driver.publish()

    def disconnect(self):
        if not self._active:
            raise OSError("Wifi Not Started")
        self._status = STAT_IDLE

    def isconnected(self):
        if self._number == AP_IF:
            return False
        return self._status == STAT_GOT_IP

    def status(self, what=None):
        if what == "rssi":
            if not self.isconnected():
                raise OSError("Wifi Not Connected")
            return -40
        if what == "stations":
            return []
        return self._status

    def scan(self):
        if self._number != STA_IF or not self._active:
            raise OSError("STA must be active")
        router = _chip.settings.get("wifi")
        if router is None:
            return []
        ssid = router["ssid"].encode()
        return [(ssid, b"\x02\x00\x00\x00\x00\xfe", router.get("channel", 1), -40, 3, False)]

    def ifconfig(self, values=None):
        if values is not None:
            return None
        if self._number == AP_IF and self._active:
            return ("192.168.4.1", "255.255.255.0", "192.168.4.1", "0.0.0.0")
        if self.isconnected():
            return ("127.0.0.1", "255.0.0.0", "127.0.0.1", "127.0.0.1")
        return _NOWHERE

    def ipconfig(self, name=None, **values):
        if name == "addr4":
            return self.ifconfig()[:2]
        if name is not None:
            raise ValueError("unknown config param")


_ALIASES = {"essid": "ssid", "authmode": "security"}


def restore(channel, active_interfaces):
    """Bring the interfaces up as a soft reset leaves them."""
    driver.channel = channel
    for number in active_interfaces:
        WLAN(number)._active = True
    driver.publish()


def survivors():
    """(channel, active interfaces): what a soft reset keeps; None without a WLAN object."""
    if not driver.interfaces:
        return None
    return driver.channel, [n for n, wlan in driver.interfaces.items() if wlan._active]
