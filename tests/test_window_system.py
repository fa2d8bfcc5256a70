"""The demo's window on a real window system: one change, typed in, seen in all five columns."""

import os
import shutil
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


def test_what_does_not_happen_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(pictures.PictureError, match="apt-get install xvfb"):
        pictures.take(tmp_path)
