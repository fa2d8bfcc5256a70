"""The cluster file: name, key, members, where the collector is. TOML, for its owner's eyes only."""

import json
import os
import pathlib
import secrets
import tomllib

from collector.envelope import PORT

PATH = pathlib.Path("cluster.toml")


class ClusterError(Exception):
    """The cluster file cannot be used; the text says what to do."""


class Cluster:
    """`name`; `key` (32 bytes); `nodes`: ids of the first configuration; `size`: integers in the
    list; `channel` 1..13; `host`, `port`: the collector's UDP address."""

    def __init__(self, name, key, nodes, size=5, channel=1, host="127.0.0.1", port=PORT):
        self.name = name
        self.key = key
        self.nodes = list(nodes)
        self.size = size
        self.channel = channel
        self.host = host
        self.port = port

    @classmethod
    def create(cls, name, nodes, **settings):
        """A new cluster with a fresh random key."""
        return cls(name, secrets.token_bytes(32), nodes, **settings)

    @classmethod
    def load(cls, path=PATH):
        """Read a cluster file. Raises ClusterError."""
        try:
            values = tomllib.loads(pathlib.Path(path).read_text("utf-8"))
        except FileNotFoundError:
            raise ClusterError("there is no %s: start 'make demo', or name another file" % path)
        except (OSError, ValueError) as error:
            raise ClusterError("cannot read %s: %s" % (path, error))
        except RecursionError:
            raise ClusterError("%s is not a cluster file: too many brackets" % path)
        try:
            values["key"] = bytes.fromhex(values["key"])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise ClusterError("%s is not a cluster file: %s" % (path, error))

    def save(self, path=PATH):
        """Write the file, mode 0600: it holds the key. Raises ClusterError, and leaves what is
        there, if a text has no UTF-8."""
        lines = (
            "name = %s" % _quoted(self.name),
            'key = "%s"' % self.key.hex(),
            "nodes = %r" % self.nodes,
            "size = %d" % self.size,
            "channel = %d" % self.channel,
            "host = %s" % _quoted(self.host),
            "port = %d" % self.port,
        )
        path = pathlib.Path(path)
        try:
            data = ("\n".join(lines) + "\n").encode()
        except ValueError as error:
            raise ClusterError("%s cannot be written: %s" % (path, error))
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)

    def node_config(self, node):
        """config.json of board `node`."""
        return {
            "role": "node",
            "id": node,
            "cluster": self.name,
            "key": self.key.hex(),
            "voters": self.nodes,
            "channel": self.channel,
            "size": self.size,
        }

    def collector_config(self):
        """config.json of the collector, which holds no key."""
        return {
            "role": "collector",
            "channel": self.channel,
            "udp_host": self.host,
            "udp_port": self.port,
        }


def _quoted(text):
    """A basic string of TOML: as JSON's, but for DEL, which must be escaped, and pairs of
    surrogates, which must not be."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
