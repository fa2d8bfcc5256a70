"""Around the driver: config, radio, journal and clock of a board, and the loop that runs them.

Started by main.py. Whatever goes wrong ends in a line in `crash.log` and a restart, never in a
board that is up and does nothing.
"""

import asyncio
import gc
import os
import random
import select
import sys
import time

import esp32
import machine

from firmware import config as config_file
from firmware.clock import Clock
from firmware.journal import JournalDamaged
from raft.message import const

CRASH_LOG = "crash.log"
JOURNAL = "raft.journal"
_CRASH_LOG_MAX = const(4096)
_TURN_MS = const(10)  # at most this long between two turns of other tasks
_RESTART_AFTER_MS = const(1000)  # a crash loop must not wear out the flash


def start():
    """Run this board in the role that its config gives it; returns only by an exception in the
    making, after which the board restarts."""
    try:
        config = config_file.load()
        print("raftnow: role %s, channel %d" % (config.role, config.channel))
        if config.role == "collector":
            from collector.main import run
        else:
            run = run_node
        asyncio.run(run(config))
    except KeyboardInterrupt:
        raise
    except config_file.ConfigError as error:
        # A restart would not change the file: stay at the prompt, where mpremote can.
        print("raftnow: config:", error)
    except JournalDamaged as error:
        # A restart would not change it, and a person may want to look at it.
        print("raftnow: journal not usable, this board does not take part:", error)
    except Exception as error:
        log_crash(error)
        time.sleep_ms(_RESTART_AFTER_MS)
        machine.reset()


async def run_node(config):
    """Run a node for ever."""
    from firmware.driver import Driver
    from firmware.journal import Journal
    from firmware.nameplate import Nameplate
    from firmware.radio import Radio

    radio = Radio(config.channel)
    clock = Clock()
    driver = Driver(
        config,
        radio,
        Journal(open_store()),
        config.new_machine(),
        Nameplate(),
        clock.now_ms,
        os.urandom,
        random_below,
        gc.mem_free,
    )
    poller = select.poll()
    poller.register(radio.espnow, select.POLLIN)
    driver.start()
    print("raftnow: node %d, epoch %d, up" % (config.id, driver.codec.epoch))
    if driver.lost:
        print("raftnow: no vote until the leader lets this board in:", driver.lost)
    while True:
        wait_ms = driver.step() - clock.now_ms()
        if wait_ms > 0:
            poller.poll(min(wait_ms, _TURN_MS))
        await asyncio.sleep_ms(0)


def open_store():
    """Where the journal is kept: in the raw partition `raft`, or in a file if there is none."""
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="raft")
    if found:
        from firmware.ringstore import RingStore

        return RingStore(found[0])
    from firmware.filestore import FileStore

    print("raftnow: no partition raft: the journal is a file, each write stalls this board")
    return FileStore(JOURNAL)


def random_below(n):
    """An integer of 0..n-1 from the chip's randomness (which wants Wi-Fi on)."""
    return random.getrandbits(24) % n


def log_crash(error):
    """Print the traceback and append it to CRASH_LOG, which is begun anew beyond 4 KB."""
    sys.print_exception(error)
    try:
        try:
            full = os.stat(CRASH_LOG)[6] > _CRASH_LOG_MAX
        except OSError:
            full = False
        with open(CRASH_LOG, "w" if full else "a") as log:
            log.write("at %d ms:\n" % time.ticks_ms())
            sys.print_exception(error, log)
    except OSError as second:
        print("raftnow: could not write %s: %r" % (CRASH_LOG, second))
