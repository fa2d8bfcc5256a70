"""What a virtual board's process runs: `micropython board.py SETTINGS.json`.

Puts the fake modules in place, takes the host's file system away, mounts the littlefs of the flash
image and runs /boot.py and /main.py in the order of the ESP32. Standard output is the console.

The fakes go straight into sys.modules, where an import looks first: the firmware sees them under
their real names, and no path of the host is left on sys.path or under `/`.
"""

import asyncio  # before the fake `time`: asyncio keeps the clock of the host
import asyncio.event
import asyncio.funcs
import asyncio.lock
import asyncio.stream  # noqa: F401
import gc
import io
import json
import sys

import utime
import vfs

_BLOCK = 4096
_HERE = __file__[: -len("/board.py")]


def install(settings, here):
    """Fill in _chip and load the fakes; returns the module that mounts the file system."""
    sys.path.insert(0, here)
    sys.path.insert(0, here + "/fakes")
    import _chip
    import nor

    _chip.settings = settings
    _chip.supervisor = open(settings["supervisor_fd"], "w")
    _chip.flash = nor.Flash(
        settings["image"], settings.get("program_us", 0), settings.get("erase_us", 0)
    )
    _chip.rtc = open(settings["rtc"], "r+b")
    mac = bytes(int(settings["mac"][i : i + 2], 16) for i in range(0, 12, 2))
    _chip.link = _chip.Link(settings["air_port"], mac)

    import time

    time._configure(settings.get("ticks_offset_ms", 0), settings.get("clock_ppm", 0))
    import os  # noqa: F401

    import aioespnow  # noqa: F401
    import esp32
    import espnow  # noqa: F401
    import machine  # noqa: F401
    import network

    # A soft reset leaves the interfaces up.
    wlan = settings.get("wlan")
    if wlan:
        network.restore(*wlan)
    for name in ("_chip", "nor", "airlink"):
        del sys.modules[name]
    return esp32


def mount(esp32):
    """As _boot.py: mount `vfs` at /, format it when it is blank. False when it is damaged."""
    vfs.umount("/")
    block_device = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="vfs")[0]
    try:
        vfs.mount(vfs.VfsLfs2(block_device), "/")
        return True
    except OSError:
        pass
    first = bytearray(_BLOCK)
    block_device.readblocks(0, first)
    if first != b"\xff" * _BLOCK:
        return False
    print("Performing initial setup")
    vfs.VfsLfs2.mkfs(block_device)
    vfs.mount(vfs.VfsLfs2(block_device), "/")
    with open("boot.py", "w") as f:
        f.write("# This file is executed on every boot (including wake-boot from deepsleep)\n")
    return True


def run(name, namespace):
    """Run one file like the firmware. True when it ended well or is missing."""
    try:
        with open(name) as source:
            code = compile(source.read(), name, "exec")
    except OSError:
        return True
    except Exception as error:
        report(error)
        return False
    try:
        exec(code, namespace)
        return True
    except SystemExit:
        sys.modules["machine"].soft_reset()
    except BaseException as error:
        report(error)
    return False


def report(error):
    """Print a traceback as the board would: without the frames of this file and the fakes."""
    text = io.StringIO()
    sys.print_exception(error, text)
    for line in text.getvalue().split("\n"):
        if line and _HERE not in line:
            print(line)


def prompt(namespace):
    """The prompt, one line at a time, on standard input, as at a serial console without echo.

    Returns, and the process ends, when the input is closed: then the supervisor is gone.
    """
    print("MicroPython v1.27.0 on 2025-12-09; virtual board")
    while True:
        sys.stdout.write(">>> ")
        line = sys.stdin.readline()
        if not line:
            return
        try:
            exec(compile(line, "<stdin>", "single"), namespace)
        except SystemExit:
            sys.modules["machine"].soft_reset()
        except BaseException as error:
            report(error)


def main(settings):
    esp32 = install(settings, _HERE)
    if not mount(esp32):
        while True:
            print("The filesystem appears to be corrupted.")
            utime.sleep(3)
    sys.path[:] = ["", ".frozen", "/lib"]
    sys.argv[:] = []
    gc.collect()
    namespace = {"__name__": "__main__"}
    # An exception in boot.py keeps main.py from running.
    if run("boot.py", namespace):
        run("main.py", namespace)
    prompt(namespace)


with open(sys.argv[1]) as _f:
    _settings = json.load(_f)
main(_settings)
