"""`os` as the ESP32 has it: littlefs and nothing of the host (no system, no getenv)."""

from collections import namedtuple

import uos as _host
from uos import (  # noqa: F401
    VfsFat,
    VfsLfs2,
    chdir,
    getcwd,
    ilistdir,
    listdir,
    mkdir,
    mount,
    remove,
    rename,
    rmdir,
    sep,
    stat,
    statvfs,
    umount,
    unlink,
)

_Uname = namedtuple("uname", ("sysname", "nodename", "release", "version", "machine"))


def urandom(n):
    return _host.urandom(n) if n else b""


def sync():
    """Does nothing for littlefs, as on the chip: only a file's own flush or close is durable."""


def uname():
    return _Uname(
        "esp32",
        "esp32",
        "1.27.0",
        "v1.27.0 on 2025-12-09",
        "Generic ESP32 module with ESP32",
    )


def dupterm(stream=None, index=0):
    """The console of a virtual board is its standard output and cannot be moved."""
    return None
