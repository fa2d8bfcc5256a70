"""The board's config file: who it is, which cluster, which role. A PC writes it."""

import json
from binascii import unhexlify

from raft.membership import MEMBERS_MAX, Configuration
from raft.message import COUNTER_LIMIT, FIRST_PC, VOTER
from raft.settings import Settings

PATH = "config.json"
ROLES = ("node", "collector")

# Passed on to the core; what they mean and may be stands there.
_SETTINGS = (
    "election_min_ms",
    "election_max_ms",
    "heartbeat_ms",
    "window",
    "log_bytes",
    "snapshot_entries",
    "keep_entries",
    "drift_percent",
    "planned_voters",
    "promote_ms",
    "remove_ms",
    "gather_ms",
    "slot_ms",
    "airtime_percent",
)
_KNOWN = (
    "role",
    "broadcast",
    "overhears",
    "adaptive",
    "id",
    "cluster",
    "key",
    "key_generation",
    "voters",
    "channel",
    "machine",
    "size",
    "keys_max",
    "bytes_max",
    "udp_host",
    "udp_port",
) + _SETTINGS


class ConfigError(ValueError):
    """The config cannot be used; the text says which setting, and what it may be."""


class Config:
    """The settings of one board, checked.

    Both roles: `role`, `channel` (1..13). Collector: `udp_host`, `udp_port`. Node: `id` (1..223),
    `cluster` (name), `key` (bytes), `key_generation` (0..15), `first` (the Configuration that a
    new cluster begins with; empty on a board that joins one), `new_machine()` (an empty state
    machine), `settings`.
    """

    def __init__(self, values):
        if not isinstance(values, dict):
            raise ConfigError("the config is not a JSON object")
        for name in values:
            if name not in _KNOWN:
                raise ConfigError("unknown setting %r" % name)
        self.role = values.get("role", "node")
        if self.role not in ROLES:
            raise ConfigError("role is node or collector, not %r" % (self.role,))
        self.channel = _whole(values, "channel", 1, 13, 1)
        if self.role == "collector":
            self.udp_host = _host(values.get("udp_host", "0.0.0.0"))
            self.udp_port = _whole(values, "udp_port", 1, 65535, 5310)
            return
        self.id = _whole(values, "id", 1, FIRST_PC - 1)
        self.cluster = values.get("cluster")
        if not isinstance(self.cluster, str) or not 1 <= len(self.cluster) <= 32:
            raise ConfigError("cluster is a name of 1 to 32 characters")
        self.key = _key(values.get("key"))
        self.key_generation = _whole(values, "key_generation", 0, 15, 0)
        self.first = _first(values.get("voters", []), self.id)
        self._machine = _machine(values)
        settings = {}
        for name in _SETTINGS:
            if name in values:
                settings[name] = _whole(values, name, 0, 1 << 29)
        for name, usual in (("broadcast", True), ("overhears", True), ("adaptive", False)):
            settings[name] = values.get(name, usual)
            if settings[name] not in (True, False):
                raise ConfigError("%s is true or false, not %r" % (name, settings[name]))
        try:
            self.settings = Settings(**settings)
        except ValueError as error:
            raise ConfigError(str(error))

    def new_machine(self):
        """The state machine that all boards of the cluster have, empty."""
        kind, limits = self._machine
        return kind(*limits)


def load(path=PATH):
    """Read and check a config file. Raises ConfigError, also if there is none or it is no JSON."""
    try:
        with open(path) as file:
            values = json.load(file)
    except OSError:
        raise ConfigError("there is no %s: the board must be provisioned" % path)
    except (ValueError, RuntimeError):  # the latter from too many brackets
        raise ConfigError("%s is not JSON: provision the board again" % path)
    return Config(values)


def _whole(values, name, least, most, default=None):
    value = values.get(name, default)
    if value is None:
        raise ConfigError("%s is missing" % name)
    return _check_whole(name, value, least, most)


def _check_whole(name, value, least, most):
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ConfigError("%s is a whole number of %d to %d, not %r" % (name, least, most, value))
    return value


def _host(text):
    """A name or address of our own, as a socket wants it."""
    good = isinstance(text, str) and 1 <= len(text) <= 63
    if not good or not all([" " < letter < "\x7f" for letter in text]):
        raise ConfigError("udp_host is the address to listen at, like 0.0.0.0, not %r" % (text,))
    return text


def _first(voters, me):
    """The first configuration: `voters` are ids, or [id, incarnation], or [id, incarnation, chip];
    an id alone has incarnation 1, and a chip that is found out."""
    if not isinstance(voters, list) or len(voters) > MEMBERS_MAX:
        raise ConfigError("voters is a list of at most %d ids" % MEMBERS_MAX)
    members = []
    for voter in voters:
        given = voter if isinstance(voter, list) else [voter, 1]
        if not 2 <= len(given) <= 3:
            raise ConfigError("each of voters is an id, or [id, incarnation], not %r" % (voter,))
        member = _check_whole("voters", given[0], 1, FIRST_PC - 1)
        incarnation = _check_whole("voters", given[1], 1, 65535)
        chip = _check_whole("voters", given[2], 0, COUNTER_LIMIT - 1) if given[2:] else 0
        members.append((member, incarnation, VOTER, chip))
    ids = [member[0] for member in members]
    if len(set(ids)) != len(ids):
        raise ConfigError("voters names an id twice: %r" % voters)
    if ids and me not in ids:
        raise ConfigError("voters lacks the board's own id %d: a board that joins has none" % me)
    return Configuration(members)


def _machine(values):
    """(class, arguments) of the state machine; only its module takes room on the heap."""
    name = values.get("machine", "intlist")
    if name == "intlist":
        from raft.intlist import DEFAULT_SIZE, SIZE_MAX, IntList

        return IntList, (_whole(values, "size", 1, SIZE_MAX, DEFAULT_SIZE),)
    if name == "keyvalue":
        from raft.keyvalue import DEFAULT_BYTES, DEFAULT_KEYS, KeyValue

        keys = _whole(values, "keys_max", 1, 1024, DEFAULT_KEYS)
        return KeyValue, (keys, _whole(values, "bytes_max", 1, 16384, DEFAULT_BYTES))
    raise ConfigError("machine is intlist or keyvalue, not %r" % (name,))


def _key(text):
    try:
        key = unhexlify(text)
    except (ValueError, TypeError):
        key = b""
    if not 16 <= len(key) <= 64:
        raise ConfigError("key is 16 to 64 bytes in hexadecimal digits")
    return key
