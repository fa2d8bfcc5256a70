"""The demo's window on a real window system: one change, typed in, seen in all five columns."""

import os
import shutil
import subprocess
import sys

import pytest

from tools import pictures

pytest.importorskip("PyQt6.QtWidgets", reason="the window needs PyQt6", exc_type=ImportError)
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not (shutil.which("Xvfb") or os.environ.get("DISPLAY")),
    reason="the window's test needs Xvfb, which is not installed",
)


def test_a_change_typed_into_the_form_is_seen_in_all_columns(tmp_path):
    from PyQt6.QtGui import QImage

    pictures.take(tmp_path)
    for name in ("demo.png", "demo-light.png"):
        image = QImage(str(tmp_path / name))
        assert image.width() >= 1100 and image.height() >= 700
        colours = {image.pixel(x, y) for x in range(0, 1100, 7) for y in range(0, 700, 7)}
        assert len(colours) > 20, "an empty window has few colours"


# The demo as a user starts it, and a user who closes the window, or types Ctrl-C, after a while.
USER = """
import os, signal, subprocess, sys
from PyQt6.QtCore import QTimer
from host_ui import app
from tools import cli

how = sys.argv.pop()
shown = app.Window.showEvent

def show_event(window, event):
    def act():
        me = os.getpid()
        subprocess.run(["ps", "-o", "pid=", "--ppid", str(me)])
        window.close() if how == "close" else os.kill(me, signal.SIGINT)

    shown(window, event)
    QTimer.singleShot(2500, act)

app.Window.showEvent = show_event
sys.argv[0] = "raftnow"
cli.main()
"""


@pytest.mark.parametrize("how", ["close", "interrupt"])
def test_the_end_of_the_window_is_the_end_of_all_that_the_demo_started(how):
    with pictures.screen() as environment:
        command = [sys.executable, "-c", USER, "demo", "--port", "0", how]
        done = subprocess.run(
            command, cwd=pictures.ROOT, env=environment, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    children = [int(line) for line in done.stdout.split() if line.isdigit()]
    assert len(children) >= 7, "five boards, the collector and the air"
    assert not [pid for pid in children if os.path.exists("/proc/%d" % pid)]


def test_what_does_not_happen_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(pictures.PictureError, match="apt-get install xvfb"):
        pictures.take(tmp_path)
