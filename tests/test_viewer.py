"""The window, against boards that follow a script: form, table, error states, keys, end."""

import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

if sys.platform == "linux" and not os.environ.get("DISPLAY"):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PyQt6.QtWidgets", reason="the viewer's tests need PyQt6", exc_type=ImportError)
pytest.importorskip("pytestqt", reason="the viewer's tests need pytest-qt")

from PyQt6.QtCore import Qt  # noqa: E402
from PyQt6.QtWidgets import QApplication, QMenu  # noqa: E402

from host_ui import app as app_module  # noqa: E402
from host_ui import theme  # noqa: E402
from host_ui.app import Window  # noqa: E402
from raft.message import LEADER, TYPE_NAMES  # noqa: E402
from tests.fake_cluster import FakeCluster  # noqa: E402
from tools import link as link_module  # noqa: E402
from tools import pc  # noqa: E402
from tools.link import Link  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@pytest.fixture
def cluster():
    with FakeCluster() as one:
        yield one


@pytest.fixture
def open_window(qtbot):
    """Opens windows that are active, for keys to arrive, and closes them after the test."""
    links = []

    def opened(port, key, name="test", look=theme.DARK, **settings):
        QApplication.instance().setStyle("Fusion")
        link = Link("127.0.0.1", port, name, key)
        links.append(link)
        window = Window(link, "raftnow", look, **settings)
        qtbot.addWidget(window)
        window.show()
        window.activateWindow()
        qtbot.waitExposed(window)
        return window

    yield opened
    for link in links:
        link.close()


@pytest.fixture
def window(open_window, cluster, qtbot):
    one = open_window(cluster.port, cluster.key)
    qtbot.waitUntil(lambda: one.model.leader() == 1 and one.model.size() == 5, timeout=10000)
    return one


def column(window, column):
    """What the table shows in one column, by the labels of the rows."""
    table = window.table.model
    return {
        table.headerData(row, Qt.Orientation.Vertical).strip(): table.index(row, column).data()
        for row in range(table.rowCount())
    }


def title(window):
    return window.ring.notice and window.ring.notice[0]


def fill(window, node, index, value):
    window.form.node.setText(node)
    window.form.index.setText(index)
    window.form.value.setText(value)


def colours(window):
    """How many different pixels a grid over the window's picture hits."""
    image = window.grab().toImage()
    return len(
        {image.pixel(x, y) for x in range(0, image.width(), 4) for y in range(0, image.height(), 4)}
    )


def test_a_write_by_the_form_shows_in_five_equal_columns(window, qtbot):
    fill(window, "4", "2", "34")
    qtbot.mouseClick(window.form.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "committed at index 3" in window.form.outcome.text(), timeout=5000)

    def equal():
        assert window.table.model.columnCount() == 5
        for number in range(5):
            shown = column(window, number)
            assert [shown[f"index {i}"] for i in range(5)] == ["0", "0", "34", "0", "0"]

    qtbot.waitUntil(equal, timeout=5000)
    texts = [event.text for event in window.model.events]
    assert any("[2] 0 → 34" in text for text in texts)
    assert any("set index 2 to 34: committed" in text for text in texts)


def test_no_board_named_is_the_leader_and_enter_sends(window, qtbot):
    fill(window, "", "0", "7")
    qtbot.keyClick(window.form.value, Qt.Key.Key_Return)
    assert window.form.command.node == 1
    qtbot.waitUntil(lambda: window.form.command.state == pc.DONE, timeout=5000)


@pytest.mark.parametrize(
    "node, index, value, words",
    [
        ("x", "0", "1", "board must be a whole number"),
        ("300", "0", "1", "board 300 is outside 1..223"),
        ("1", "", "1", "index is missing"),
        ("1", "70000", "1", "index 70000 is outside"),
        ("1", "0", "4000000000", "does not fit into 32 bits"),
        ("1", "0", "1.5", "value must be a whole number"),
    ],
)
def test_what_is_wrong_is_said_in_the_form(window, node, index, value, words):
    fill(window, node, index, value)
    window.form.submit()
    assert words in window.form.outcome.text() and window.form.command is None


def test_a_refusal_of_the_board_is_shown(window, qtbot):
    fill(window, "3", "5", "1")
    window.form.submit()
    qtbot.waitUntil(lambda: "outside the list" in window.form.outcome.text(), timeout=5000)


def test_an_unknown_outcome_is_called_unknown(window, qtbot, monkeypatch, cluster):
    monkeypatch.setattr(pc, "COMMAND_TIMEOUT_MS", 600)
    cluster.answer_forwards = False
    fill(window, "3", "0", "1")
    window.form.submit()
    qtbot.waitUntil(lambda: "unknown" in window.form.outcome.text(), timeout=5000)


def test_roles_terms_and_silence_are_shown(window, qtbot, cluster):
    cluster.kill(1)
    cluster.elect(2)
    qtbot.waitUntil(lambda: window.model.leader() == 2, timeout=5000)
    qtbot.waitUntil(lambda: column(window, 0).get("role") == "✕ silent", timeout=5000)
    qtbot.waitUntil(lambda: column(window, 2)["term"] == "2", timeout=5000)
    assert column(window, 1)["role"] == "♛ leader"
    assert window.model.boards[2].role == LEADER
    cluster.revive(1)
    qtbot.waitUntil(lambda: column(window, 0)["reboots"] == "1", timeout=5000)


def test_a_differing_cell_stands_out(window, qtbot, cluster):
    qtbot.waitUntil(lambda: column(window, 4).get("index 0") == "0", timeout=5000)
    cluster.kill(5)
    qtbot.waitUntil(lambda: column(window, 4).get("role") == "✕ silent", timeout=5000)
    fill(window, "1", "0", "9")
    window.form.submit()
    qtbot.waitUntil(lambda: column(window, 4)["index 0"] == "≠ 0", timeout=5000)
    table = window.table.model
    row = [table.headerData(r, Qt.Orientation.Vertical).strip() for r in range(12)].index("index 0")
    brush = table.index(row, 4).data(Qt.ItemDataRole.BackgroundRole)
    assert brush.color().name() == theme.DARK.differs


@pytest.mark.parametrize("look", [theme.DARK, theme.LIGHT])
def test_the_picture_is_not_blank(window, look):
    window.set_theme(look)
    window.resize(1200, 800)
    window.ring.advance(link_module.clock_ms())
    image = window.grab().toImage()
    assert image.pixelColor(2, image.height() // 2).name() == look.window
    assert colours(window) > 30


def test_the_event_list_is_bounded_and_the_newest_is_on_top(window):
    for number in range(1200):
        window.model.note(number, None, f"line {number}")
        if number % 7 == 0:
            window.events.model.refresh()
    window.events.model.refresh()
    model = window.events.model
    assert model.rowCount() == 1000
    assert [model.index(row, 2).data() for row in range(2)] == ["line 1199", "line 1198"]
    assert model.index(999, 2).data() == "line 200"


def test_the_menu_of_a_board(open_window, qtbot, cluster):
    asked = []
    one = open_window(
        cluster.port, cluster.key, board_actions=[("Switch board {} off", asked.append)]
    )
    qtbot.waitUntil(lambda: one.model.leader() == 1, timeout=5000)
    one.ring.asked.emit(4, one.pos())
    menu = one.findChildren(QMenu)[-1]
    assert [a.text() for a in menu.actions()] == ["Write to board 4", "Switch board 4 off"]
    menu.actions()[1].trigger()
    menu.actions()[0].trigger()
    assert asked == [4] and one.form.node.text() == "4"
    menu.close()


def test_random_datagrams_do_no_harm(window, qtbot, cluster):
    for size in range(0, 1400, 28):
        cluster.inject(os.urandom(size))
        cluster.inject(b"RN\1\3" + os.urandom(size))
    qtbot.waitUntil(lambda: window.link.station.counts["bad_datagrams"] >= 50, timeout=5000)
    assert window.model.leader() == 1


def test_a_wrong_key_is_named(open_window, qtbot, cluster):
    one = open_window(cluster.port, b"not the key of the boards.......")
    qtbot.waitUntil(lambda: title(one) == "Wrong key?", timeout=5000)
    assert "fail authentication: wrong key?" in one.strip.text()
    assert one.model.boards == {}


def test_another_cluster_is_no_wrong_key(open_window, qtbot, cluster):
    one = open_window(cluster.port, cluster.key, name="another")
    qtbot.waitUntil(lambda: title(one) == "No boards heard", timeout=5000)
    qtbot.waitUntil(lambda: "× cluster" in one.ring.notice[1], timeout=5000)


def test_the_collector_goes_and_comes_back(window, qtbot, cluster, monkeypatch):
    monkeypatch.setattr(link_module, "COLLECTOR_SILENT_MS", 400)
    cluster.mute = True
    qtbot.waitUntil(lambda: title(window) == "No collector", timeout=5000)
    cluster.mute = False
    qtbot.waitUntil(lambda: window.ring.notice is None, timeout=5000)
    assert any(e.text == "the collector is heard again" for e in window.model.events)


def test_nobody_at_the_port(open_window, qtbot, monkeypatch):
    monkeypatch.setattr(link_module, "COLLECTOR_SILENT_MS", 400)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    one = open_window(port, b"x" * 32)
    qtbot.waitUntil(lambda: "obody listens" in (one.ring.notice or ("", ""))[1], timeout=5000)


def test_a_click_on_a_board_and_on_a_value_fill_the_form(window, qtbot):
    window.ring.advance(link_module.clock_ms())
    centre, radius, _ = window.ring.layout_px()
    point = centre.toPoint()
    point.setY(int(centre.y() - radius))
    qtbot.mouseClick(window.ring, Qt.MouseButton.LeftButton, pos=point)
    assert window.form.node.text() == "1"
    window.table.chosen.emit(3, 4)
    assert (window.form.node.text(), window.form.index.text()) == ("3", "4")


def test_letters_typed_into_a_field_trigger_nothing(window, qtbot):
    qtbot.waitUntil(window.isActiveWindow, timeout=5000)
    window.form.value.setFocus()
    window.form.value.clear()
    for key in "w 3":
        qtbot.keyClicks(window.form.value, key)
    assert window.form.value.text() == "w 3" and window.form.node.text() == ""


def test_keys(window, qtbot):
    qtbot.waitUntil(window.isActiveWindow, timeout=5000)
    window.ring.setFocus()
    qtbot.keyClick(window, Qt.Key.Key_3)
    assert window.form.node.text() == "3"
    window.ring.setFocus()
    qtbot.keyClick(window, Qt.Key.Key_Space)
    assert "Go on" in window.header.pause.text()
    qtbot.keyClick(window, Qt.Key.Key_T, Qt.KeyboardModifier.ControlModifier)
    assert window.palette().window().color().name() == theme.LIGHT.window
    qtbot.keyClick(window, Qt.Key.Key_Q, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=5000)


def test_a_flood_costs_no_frames(open_window, qtbot):
    with FakeCluster(nodes=20) as cluster:
        window = open_window(cluster.port, cluster.key)
        qtbot.waitUntil(lambda: window.model.leader() == 1, timeout=10000)
        frame = bytes(range(200))
        stop = threading.Event()

        def flood():
            while not stop.wait(0.01):
                for _ in range(10):
                    cluster.inject(b"RN\1\3\0\0\0\0" + bytes(11) + bytes([200]) + frame)

        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        qtbot.wait(1500)
        stop.set()
        thread.join()
        assert window.ring.painted > 20
        assert window.link.station.counts["frames"] > 500


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_window_with_exit_code_0(cluster, how):
    code = (
        "import sys; from host_ui import app;"
        f"sys.exit(app.run('127.0.0.1', {cluster.port}, 'test', {cluster.key!r}, 'x',"
        " lambda: print('closed', flush=True)))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", "print('up', flush=True);" + code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout.readline() == "up\n"
        while cluster.counts["heard"] < 50 or not cluster.subscribed:
            assert child.poll() is None, child.stderr.read()
            cluster.wait(0.05)
        child.send_signal(how)
        out, err = child.communicate(timeout=20)
    finally:
        child.kill()
        child.wait()
    assert (child.returncode, out) == (0, "closed\n"), err
    assert "Traceback" not in err


def test_keys_of_the_sheet_are_the_windows_keys(window):
    shortcuts = {action.shortcut().toString() for action in window.actions()}
    assert {"Space", "W", "C", "1", "9", "Ctrl+T", "F1", "?", "Ctrl+Q"} <= shortcuts
    sheet = " ".join(key for key, _ in app_module.KEYS)
    assert all(key in sheet for key in ("Space", "W", "Ctrl+T", "F1", "Ctrl+Q"))


def test_every_type_of_frame_has_its_mark():
    assert set(theme.MARKS) == set(TYPE_NAMES)
