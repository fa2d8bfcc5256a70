"""The board's config file: who it is, which cluster, which role. A PC writes it."""

import json
from binascii import unhexlify

from raft.intlist import DEFAULT_SIZE
from raft.message import FIRST_PC
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
)
_KNOWN = (
    "role",
    "id",
    "incarnation",
    "cluster",
    "key",
    "key_generation",
    "voters",
    "channel",
    "size",
    "udp_host",
    "udp_port",
) + _SETTINGS


class ConfigError(ValueError):
    """The config cannot be used; the text says which setting, and what it may be."""


class Config:
    """The settings of one board, checked.

    Both roles: `role`, `channel` (1..13). Collector: `udp_host`, `udp_port`. Node: `id` (1..223),
    `incarnation` (1..65535), `cluster` (name), `key` (bytes), `key_generation` (0..15), `voters`
    (ids of the first configuration), `size` (integers in the list), `settings`.
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
            self.udp_host = values.get("udp_host", "0.0.0.0")
            self.udp_port = _whole(values, "udp_port", 1, 65535, 5310)
            return
        self.id = _whole(values, "id", 1, FIRST_PC - 1)
        self.incarnation = _whole(values, "incarnation", 1, 65535, 1)
        self.cluster = values.get("cluster")
        if not isinstance(self.cluster, str) or not 1 <= len(self.cluster) <= 32:
            raise ConfigError("cluster is a name of 1 to 32 characters")
        self.key = _key(values.get("key"))
        self.key_generation = _whole(values, "key_generation", 0, 15, 0)
        self.voters = values.get("voters")
        if not isinstance(self.voters, list) or self.id not in self.voters:
            raise ConfigError("voters is a list of ids, with the board's own id %d" % self.id)
        for voter in self.voters:
            _check_whole("voters", voter, 1, FIRST_PC - 1)
        if len(set(self.voters)) != len(self.voters):
            raise ConfigError("voters names an id twice: %r" % self.voters)
        self.size = _whole(values, "size", 1, 1024, DEFAULT_SIZE)
        settings = {}
        for name in _SETTINGS:
            if name in values:
                settings[name] = _whole(values, name, 0, 65535)
        try:
            self.settings = Settings(**settings)
        except ValueError as error:
            raise ConfigError(str(error))


def load(path=PATH):
    """Read and check a config file. Raises ConfigError, also if there is none or it is no JSON."""
    try:
        with open(path) as file:
            values = json.load(file)
    except OSError:
        raise ConfigError("there is no %s: the board must be provisioned" % path)
    except ValueError:
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


def _key(text):
    try:
        key = unhexlify(text)
    except (ValueError, TypeError):
        key = b""
    if not 16 <= len(key) <= 64:
        raise ConfigError("key is 16 to 64 bytes in hexadecimal digits")
    return key
