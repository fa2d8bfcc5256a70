"""The cluster in lines: one per event, for terminals, pipes and computers without a screen."""

import os
import sys
import time

from host_ui.model import Model
from tools.link import Link, clock_ms

PUMP_S = 0.05


def watch_lines(cluster, seconds=0, out=None):
    """Print events of `cluster` until `seconds` are over (0: until interrupted or nobody reads)."""
    out = out or sys.stdout
    model = Model()
    started_ms = clock_ms()
    printed = 0
    silence = None
    try:
        with Link(cluster.host, cluster.port, cluster.name, cluster.key) as link:
            while not seconds or clock_ms() - started_ms < seconds * 1000:
                model.take(link.pump())
                model.tick(clock_ms())
                if link.silence() != silence:
                    silence = link.silence()
                    model.note(clock_ms(), None, silence or "the collector is heard again")
                new = model.event_count - printed
                printed = model.event_count
                for event in list(model.events)[-new:] if new else ():
                    board = "     -" if event.node is None else "board %d" % event.node
                    at_s = (event.at_ms - started_ms) / 1000
                    print("%8.3f s  %-9s %-9s %s" % (at_s, event.kind, board, event.text), file=out)
                out.flush()
                time.sleep(PUMP_S)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:
        # The reader, `head` say, has seen enough; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
