"""The window: wiring of link, model and panels.

The socket's notifier feeds the model; one timer draws. Data arrival never draws, so a flood of
frames costs no more painting than silence.
"""

import signal
import time

from PyQt6.QtCore import QSocketNotifier, Qt, QTimer
from PyQt6.QtGui import QAction, QIcon, QKeySequence
from PyQt6.QtWidgets import (
    QApplication,
    QMainWindow,
    QMenu,
    QMessageBox,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from host_ui import theme
from host_ui.edit import EditForm
from host_ui.model import Model
from host_ui.panels import BoardTable, EventList, Header, StatusStrip
from host_ui.ring import Ring
from tools.link import Link, clock_ms

FRAME_MS = 16
SLOW_FRAME_MS = 33
FRAME_BUDGET_MS = 12  # above it, mean over a second, the picture goes down to 30 frames a second
TEXT_MS = 100  # tables are read, not watched
WRONG_KEY_MS = 5000
NO_BOARDS_MS = 3000  # boards that start with the window deserve no advice yet

KEYS = (
    ("Space", "hold the picture; the cluster goes on"),
    ("W or C", "write: go to the form"),
    ("1 … 9", "write to that board"),
    ("Enter", "in the form: send the change"),
    ("Ctrl+T", "light or dark"),
    ("F1 or ?", "this sheet"),
    ("Ctrl+Q", "close the window"),
)


class Window(QMainWindow):
    """Shows the cluster behind `link`.

    `board_actions` are (label, callable(node)) for a board's menu, such as a demo's
    "Switch board {} off".
    """

    def __init__(self, link, title, look, board_actions=()):
        super().__init__()
        self.link = link
        self.model = Model()
        self._board_actions = board_actions
        self._silence = None
        self._was_silent = False
        self._opened_ms = clock_ms()
        self._paused = False
        self._text_due_ms = 0
        self._costs = []
        self._cost_since_ms = clock_ms()
        self.setWindowTitle(title)
        self.resize(1200, 800)
        self.header = Header(title)
        self.ring = Ring(self.model, look)
        self.table = BoardTable(self.model, look)
        self.events = EventList(self.model, look)
        self.form = EditForm(self._set, self.model.leader, look)
        self.strip = StatusStrip()
        self._lay_out()
        self._make_actions()
        self.ring.picked.connect(self.form.fill)
        self.ring.asked.connect(self._menu)
        self.table.chosen.connect(self.form.fill)
        self.table.grown.connect(self._make_room)
        self.set_theme(look)
        self._notifier = QSocketNotifier(link.fileno(), QSocketNotifier.Type.Read, self)
        self._notifier.activated.connect(self.pump)
        self.ring.setFocus()  # so that single keys work until a field is chosen
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._frame)
        self._timer.start(FRAME_MS)

    def _lay_out(self):
        right = QSplitter(Qt.Orientation.Vertical)
        right.addWidget(self.table)
        right.addWidget(self.form)
        right.addWidget(self.events)
        right.setStretchFactor(0, 0)
        right.setStretchFactor(1, 0)
        right.setStretchFactor(2, 1)
        right.setHandleWidth(theme.GAP)
        right.setChildrenCollapsible(False)
        right.setSizes([420, 120, 160])
        self._right = right
        both = QSplitter(Qt.Orientation.Horizontal)
        both.addWidget(self.ring)
        both.addWidget(right)
        both.setHandleWidth(theme.GAP)
        both.setChildrenCollapsible(False)
        both.setSizes([640, 540])
        both.setStretchFactor(0, 1)
        centre = QWidget()
        layout = QVBoxLayout(centre)
        layout.setContentsMargins(theme.GAP, theme.GAP, theme.GAP, theme.GAP)
        layout.setSpacing(theme.GAP)
        layout.addWidget(self.header)
        layout.addWidget(both, 1)
        layout.addWidget(self.strip)
        self.setCentralWidget(centre)

    def _make_actions(self):
        self._action("Ctrl+Q", self.close)
        self._action("Ctrl+T", self._other_theme)
        self._action("Space", self._pause)
        self._action("F1", self._help)
        self._action("?", self._help)
        for key in ("W", "C"):
            self._action(key, self._to_form)
        for node in range(1, 10):
            self._action(str(node), lambda _, node=node: self._to_board(node))
        self.header.look.clicked.connect(self._other_theme)
        self.header.pause.clicked.connect(self._pause)
        self.header.help.clicked.connect(self._help)

    def _action(self, key, do):
        action = QAction(self)
        action.setShortcut(QKeySequence(key))
        action.triggered.connect(do)
        self.addAction(action)

    def _make_room(self, height):
        """Give the table the height that its rows take, and what is left to the events."""
        room = sum(self._right.sizes())
        form = self.form.sizeHint().height()
        self._right.setSizes([min(height, room - form - 110), form, max(110, room - height - form)])

    def set_theme(self, look):
        """Show the window in `look`, a `theme.Theme`."""
        self._look = look
        app = QApplication.instance()
        app.setPalette(look.palette())
        app.setStyleSheet(look.style_sheet())
        for panel in (self.ring, self.table, self.events, self.form):
            panel.set_theme(look)

    def pump(self):
        """Take in what the link has heard."""
        self.model.take(self.link.pump())
        for command in self.link.station.finished():
            text = f"set index {command.cell} to {command.value}: {command.text}"
            self.model.note(clock_ms(), command.node, text)

    def _set(self, node, index, value):
        command = self.link.station.set(node, index, value, clock_ms())
        self.link.flush()
        return command

    def _frame(self):
        started = time.perf_counter()
        self.pump()
        now_ms = clock_ms()
        self.model.tick(now_ms)
        self._watch_collector(now_ms)
        self.form.refresh()
        if not self._paused:
            self.ring.advance(now_ms)
        if now_ms >= self._text_due_ms:
            self._text_due_ms = now_ms + TEXT_MS
            self._show_text(now_ms)
        spent_ms = (time.perf_counter() - started) * 1000
        self._keep_pace(now_ms, spent_ms + self.ring.paint_ms)

    def _show_text(self, now_ms):
        self.strip.show_state(self.link, self.model, self._silence, self._look, now_ms)
        if not self._paused:
            self.header.show_state(self.model)
            self.table.model.refresh(now_ms)
            self.events.model.refresh()
        self.ring.set_notice(*self._notice(now_ms))

    def _watch_collector(self, now_ms):
        self._silence = self.link.silence()
        silent = self._silence is not None
        if silent != self._was_silent:
            self._was_silent = silent
            self.model.note(now_ms, None, self._silence or "the collector is heard again")

    def _notice(self, now_ms):
        """Title and text of what keeps the picture empty, or two Nones."""
        station = self.link.station
        where = f"{self.link.host}, UDP port {self.link.port}"
        if self._silence is not None:
            return "No collector", (
                self._silence[0].upper() + self._silence[1:] + "\n\nIs it powered, is this PC in"
                " its network, does a firewall stop UDP? This window goes on by itself."
            )
        wrong_ms = station.wrong_key_ms
        if wrong_ms is not None and now_ms - wrong_ms < WRONG_KEY_MS:
            good_ms = station.authentic_ms
            if good_ms is None or now_ms - good_ms > WRONG_KEY_MS:
                return "Wrong key?", (
                    f"{station.wrong_key_frames} frames of this cluster fail authentication."
                    "\n\nThe boards hold another key than this PC, or another cluster uses the"
                    " same name. Use the cluster file with which the boards were flashed."
                )
        if station.collector_heard_ms is None:
            return "Looking for the collector", f"Asking {where} …"
        if not self.model.boards:
            if now_ms - self._opened_ms < NO_BOARDS_MS:
                return "Listening for boards", "The collector is there."
            channel = "" if station.channel is None else f" on channel {station.channel}"
            drops = {k: n for k, n in station.codec.drops.items() if n}
            seen = ", ".join(f"{n} × {reason}" for reason, n in drops.items())
            return "No boards heard", (
                f"The collector is there and listens{channel}, but no board of this cluster is"
                " heard.\n\nAre the boards powered, and on the same channel?"
                + (f"\nFrames that were dropped: {seen}." if seen else "")
            )
        return None, None

    def _keep_pace(self, now_ms, cost_ms):
        self._costs.append(cost_ms)
        if now_ms - self._cost_since_ms >= 1000:
            slow = sum(self._costs) / len(self._costs) > FRAME_BUDGET_MS
            self._timer.setInterval(SLOW_FRAME_MS if slow else FRAME_MS)
            self._costs.clear()
            self._cost_since_ms = now_ms

    def _other_theme(self):
        self.set_theme(theme.LIGHT if self._look is theme.DARK else theme.DARK)

    def _pause(self):
        self._paused = not self._paused
        self.header.pause.setText("▶ Go on" if self._paused else "❚❚ Pause")
        if self._paused:
            self.header.detail.setText("picture held: the cluster goes on")

    def _to_form(self):
        (self.form.value if self.form.index.text() else self.form.index).setFocus()

    def _to_board(self, node):
        if node in self.model.boards:
            self.form.fill(node)

    def _menu(self, node, where):
        menu = QMenu(self)
        menu.addAction(f"Write to board {node}").triggered.connect(lambda: self.form.fill(node))
        for label, do in self._board_actions:
            menu.addAction(label.format(node)).triggered.connect(lambda _, do=do: do(node))
        menu.popup(where)

    def _help(self):
        keys = "".join(f"<tr><td><b>{k}</b>&nbsp;&nbsp;</td><td>{t}</td></tr>" for k, t in KEYS)
        box = QMessageBox(self)
        box.setWindowTitle("Keys and signs")
        box.addButton("Close", QMessageBox.ButtonRole.AcceptRole)
        box.setText(
            f"<table cellpadding='2'>{keys}</table>"
            "<p>♛ square: leader &nbsp; ● circle: follower &nbsp;"
            " ▲ triangle: candidate &nbsp; ✕ hollow: silent</p>"
            "<p>Every frame that the collector hears is one mark, slowed so that it can be seen."
            "<br>A broadcast fades on its way: who received it is not known.</p>"
        )
        for button in box.buttons():
            button.setIcon(QIcon())
        # Not modal: real boards do not wait for a closed box.
        box.setModal(False)
        box.show()

    def closeEvent(self, event):
        self._timer.stop()
        self._notifier.setEnabled(False)
        super().closeEvent(event)


def run(host, port, cluster, key, title="raftnow", on_close=None, board_actions=()):
    """Open the window and return the exit code when it is closed, by the user or by a signal.

    `on_close` is called once, whatever ends the window. Raises LinkError if `host` has no
    address, ValueError if the key has a wrong length.
    """
    before = {}
    try:
        link = Link(host, port, cluster, key)
        app = QApplication.instance() or QApplication([title])
        app.setStyle("Fusion")
        app.setApplicationName(title)
        window = Window(link, title, theme.choose(app.styleHints().colorScheme()), board_actions)
        for number in (signal.SIGINT, signal.SIGTERM):
            # Python runs the handler between two ticks of the frame timer.
            before[number] = signal.signal(number, lambda *_: window.close())
        app.styleHints().colorSchemeChanged.connect(lambda s: window.set_theme(theme.choose(s)))
        window.show()
        code = app.exec()
        link.close()
        return code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if on_close is not None:
            on_close()
