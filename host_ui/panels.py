"""The table of boards, the list of events, the header and the status strip."""

import time
from itertools import islice

from PyQt6.QtCore import QAbstractTableModel, QModelIndex, Qt, pyqtSignal
from PyQt6.QtGui import QBrush, QColor, QFont, QFontDatabase
from PyQt6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableView,
    QVBoxLayout,
)

from host_ui import model as known
from host_ui import theme
from raft.message import NOBODY

FRESH_MS = 1500  # how long a changed value stays lit
COMPACT_FROM = 7  # boards: from here on the columns are narrow, and signs stand for words
WIDEST, WIDEST_COMPACT = "▲ candidate", "-12345"  # what a column must hold
SIGNS = {"leader": "♛", "candidate": "▲", "pre-candidate": "△", "follower": "●"}
SHORT = {"pre-candidate": "pre-vote"}  # a column is as wide as "candidate"
UNKNOWN = "·"
NO_PARENT = QModelIndex()


def _role(board, compact):
    if board.silent:
        return "✕" if compact else "✕ silent"
    if board.role is None:
        return None
    sign = SIGNS[board.role_name]
    return sign if compact else f"{sign} {SHORT.get(board.role_name, board.role_name)}"


def _vote(board, compact):
    return ("–" if compact else "nobody") if board.vote == NOBODY else board.vote


# Label, what it means, and how to read it off a Board, in words or `compact`.
ROWS = (
    (
        "role",
        "leader: all changes go through it. follower: repeats the leader's log.\n"
        "pre-vote: hears no leader, asks whether others do. "
        "candidate: asks for their votes.",
        _role,
    ),
    (
        "term",
        "Each election begins a new term; a term has at most one leader.",
        lambda b, compact: b.term,
    ),
    (
        "voted for",
        "The board that got this board's vote in its term. A board votes once in a term.",
        _vote,
    ),
    ("last", "Index of the last entry in the board's log.", lambda b, compact: b.last_index),
    (
        "durable",
        "Up to here the log is on flash: it survives a power cut.",
        lambda b, compact: b.durable_index,
    ),
    (
        "committed",
        "Up to here a majority holds the log: it will never change again.",
        lambda b, compact: b.commit_index,
    ),
    (
        "applied",
        "Up to here the board has carried out the log on its database.",
        lambda b, compact: b.applied_index,
    ),
)
AFTER_ROWS = (
    (
        "signal",
        "How strongly the collector hears the board (RSSI, dBm).",
        lambda b, compact: b.rssi if compact or b.rssi is None else f"{b.rssi} dBm",
    ),
    (
        "free heap",
        "Memory that is free on the board, in KiB.",
        lambda b, compact: None if b.heap is None else f"{b.heap / 1024:.0f} K",
    ),
    ("reboots", "Reboots seen since this window opened.", lambda b, compact: b.reboots),
)


class BoardModel(QAbstractTableModel):
    """One column a board; rows as in ROWS, then one for each integer, then AFTER_ROWS."""

    def __init__(self, model, look):
        super().__init__()
        self._model = model
        self.look = look
        self._nodes = []
        self._size = 0
        self._now_ms = 0
        self._mono = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
        self._mono.setBold(True)

    def refresh(self, now_ms):
        """Show what the model knows at `now_ms`."""
        self._now_ms = now_ms
        nodes, size = self._model.nodes(), self._model.size()
        if (nodes, size) != (self._nodes, self._size):
            self.beginResetModel()
            self._nodes, self._size = nodes, size
            self.endResetModel()
        if nodes:
            last = self.index(self.rowCount() - 1, len(nodes) - 1)
            self.dataChanged.emit(self.index(0, 0), last)
            self.headerDataChanged.emit(Qt.Orientation.Horizontal, 0, len(nodes) - 1)

    @property
    def compact(self):
        return len(self._nodes) >= COMPACT_FROM

    def rowCount(self, parent=NO_PARENT):
        if parent.isValid() or not self._nodes:
            return 0
        return len(ROWS) + self._size + len(AFTER_ROWS)

    def columnCount(self, parent=NO_PARENT):
        return 0 if parent.isValid() else len(self._nodes)

    def cell(self, row):
        """Which integer of the database a row shows, or None."""
        cell = row - len(ROWS)
        return cell if 0 <= cell < self._size else None

    def node(self, column):
        return self._nodes[column]

    def headerData(self, section, orientation, role=Qt.ItemDataRole.DisplayRole):
        if orientation == Qt.Orientation.Horizontal:
            node = self._nodes[section]
            leads = node == self._model.leader()
            if role == Qt.ItemDataRole.DisplayRole:
                name = str(node) if self.compact else f"board {node}"
                return "♛ " + name if leads else name
            if role == Qt.ItemDataRole.FontRole:
                font = QFont()
                font.setBold(leads)
                return font
            return None
        cell = self.cell(section)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.DisplayRole:
            name = f"index {cell}" if cell is not None else self._row(section)[0]
            return name + "  "
        if role == Qt.ItemDataRole.ToolTipRole:
            if cell is None:
                return self._row(section)[1]
            return f"Integer {cell} of the replicated database. ≠: not that of the newest one."
        return None

    def _row(self, row):
        return ROWS[row] if row < len(ROWS) else AFTER_ROWS[row - len(ROWS) - self._size]

    def data(self, index, role=Qt.ItemDataRole.DisplayRole):
        board = self._model.boards[self._nodes[index.column()]]
        cell = self.cell(index.row())
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignCenter
        if role == Qt.ItemDataRole.DisplayRole:
            if cell is None:
                value = self._row(index.row())[2](board, self.compact)
                return UNKNOWN if value is None else str(value)
            if board.values is None or cell >= len(board.values):
                return UNKNOWN
            return f"{'≠ ' if self._model.differs(board.node, cell) else ''}{board.values[cell]}"
        if role == Qt.ItemDataRole.ForegroundRole:
            old = board.silent or (cell is not None and board.outdated)
            return QBrush(QColor(self.look.dim if old else self.look.text))
        if cell is None:
            return None
        if role == Qt.ItemDataRole.FontRole:
            return self._mono
        if role == Qt.ItemDataRole.BackgroundRole:
            if self._model.differs(board.node, cell):
                return QBrush(QColor(self.look.differs))
            since_ms = self._now_ms - board.changed_ms.get(cell, -FRESH_MS)
            if since_ms < FRESH_MS:
                colour = QColor(self.look.fresh)
                colour.setAlphaF(max(0.0, 1 - since_ms / FRESH_MS))
                return QBrush(colour)
            return QBrush(QColor(self.look.field))
        if role == Qt.ItemDataRole.ToolTipRole and board.values_index is not None:
            ahead = ", the board is ahead of it" if board.outdated else ""
            return f"as of index {board.values_index}{ahead}; double-click to change it"
        return None


class BoardTable(QFrame):
    """The table; `chosen(node, cell)` when a value is double-clicked."""

    chosen = pyqtSignal(int, int)
    grown = pyqtSignal(int)  # the height (px) that shows all rows, when it has changed

    def __init__(self, model, look):
        super().__init__()
        self.setObjectName("panel")
        self.model = BoardModel(model, look)
        view = self.view = QTableView()
        view.setModel(self.model)
        view.setAccessibleName("Boards, their logs and databases")
        view.setShowGrid(False)
        view.setCornerButtonEnabled(False)
        view.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        view.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        across = view.horizontalHeader()
        across.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        across.setHighlightSections(False)
        down = view.verticalHeader()
        down.setDefaultSectionSize(view.fontMetrics().height() + 9)
        down.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        down.setHighlightSections(False)
        view.doubleClicked.connect(self._double_clicked)
        self.model.modelReset.connect(self._measure)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(theme.GAP, theme.GAP, theme.GAP, theme.GAP)
        layout.addWidget(_heading("BOARDS"))
        layout.addWidget(view)

    def set_theme(self, look):
        self.model.look = look

    def _measure(self):
        across = self.view.horizontalHeader()
        measure = self.view.fontMetrics()
        widest = WIDEST_COMPACT if self.model.compact else WIDEST
        across.setMinimumSectionSize(measure.horizontalAdvance(widest) + 6)
        heading = 2 * theme.GAP + measure.height() + 10
        rows = self.view.verticalHeader().length() + across.height()
        if self.model.compact:
            rows += self.view.horizontalScrollBar().sizeHint().height()
        self.grown.emit(heading + rows)

    def _double_clicked(self, index):
        cell = self.model.cell(index.row())
        if cell is not None:
            self.chosen.emit(self.model.node(index.column()), cell)


class EventModel(QAbstractTableModel):
    """The events of the model, the newest first: time, sign, text."""

    SIGNS = {
        known.ROLE: "♛",
        known.ELECTION: "▲",
        known.COMMIT: "✓",
        known.REBOOT: "↻",
        known.SILENT: "✕",
        known.BACK: "●",
        known.ALARM: "⚠",
        known.NOTE: "✎",
    }

    def __init__(self, model, look):
        super().__init__()
        self._model = model
        self.look = look
        self._events = []
        self._count = 0
        # Events carry a clock that only counts; people read the time of day.
        self._wall_offset_ms = (time.time_ns() - time.monotonic_ns()) // 1_000_000

    def refresh(self):
        """Take over the events since the last call; what is scrolled to stays in view."""
        new = min(self._model.event_count - self._count, len(self._model.events))
        if not new:
            return
        self._count = self._model.event_count
        self.beginInsertRows(NO_PARENT, 0, new - 1)
        self._events[:0] = islice(reversed(self._model.events), new)
        self.endInsertRows()
        last = len(self._events) - 1
        if last >= known.EVENTS_MAX:
            self.beginRemoveRows(NO_PARENT, known.EVENTS_MAX, last)
            del self._events[known.EVENTS_MAX :]
            self.endRemoveRows()

    def rowCount(self, parent=NO_PARENT):
        return 0 if parent.isValid() else len(self._events)

    def columnCount(self, parent=NO_PARENT):
        return 0 if parent.isValid() else 3

    def data(self, index, role=Qt.ItemDataRole.DisplayRole):
        event = self._events[index.row()]
        column = index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            if column == 0:
                at_s, at_ms = divmod(event.at_ms + self._wall_offset_ms, 1000)
                return time.strftime("%H:%M:%S", time.localtime(at_s)) + f".{at_ms:03}"
            return self.SIGNS.get(event.kind, "") if column == 1 else event.text
        if role == Qt.ItemDataRole.ToolTipRole and column == 2:
            return event.text
        if role == Qt.ItemDataRole.ForegroundRole:
            if event.kind in (known.ALARM, known.SILENT) and column:
                return QBrush(QColor(self.look.bad))
            if column == 0:
                return QBrush(QColor(self.look.dim))
            if column == 1 and event.kind in (known.COMMIT, known.BACK):
                return QBrush(QColor(self.look.good))
            if column == 1 and event.kind in (known.ROLE, known.ELECTION, known.REBOOT):
                return QBrush(QColor(self.look.warn))
        return None


class EventList(QFrame):
    """What happened, the newest on top."""

    def __init__(self, model, look):
        super().__init__()
        self.setObjectName("panel")
        self.model = EventModel(model, look)
        view = self.view = QTableView()
        view.setModel(self.model)
        view.setAccessibleName("Events, the newest first")
        view.setShowGrid(False)
        view.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        view.horizontalHeader().hide()
        view.verticalHeader().hide()
        measure = view.fontMetrics()
        view.verticalHeader().setDefaultSectionSize(measure.height() + 7)
        view.setColumnWidth(0, measure.horizontalAdvance("00:00:00.000") + 14)
        view.setColumnWidth(1, measure.horizontalAdvance("⚠") + 12)
        view.horizontalHeader().setStretchLastSection(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(theme.GAP, theme.GAP, theme.GAP, theme.GAP)
        layout.addWidget(_heading("EVENTS"))
        layout.addWidget(view)

    def set_theme(self, look):
        self.model.look = look


class Header(QFrame):
    """Who leads, in large letters, and the buttons of the window."""

    def __init__(self, title):
        super().__init__()
        self.setObjectName("panel")
        name = QLabel(title)
        font = name.font()
        font.setPointSizeF(font.pointSizeF() + 3)
        font.setBold(True)
        name.setFont(font)
        self.state = QLabel()
        self.state.setFont(font)
        self.state.setAccessibleName("State of the cluster")
        self.detail = QLabel()
        self.detail.setObjectName("dim")
        self.pause = QPushButton("❚❚ Pause")
        self.pause.setToolTip("Hold the picture; the cluster goes on (Space)")
        self.look = QPushButton("◐")
        self.look.setToolTip("Light or dark (Ctrl+T)")
        self.look.setAccessibleName("Light or dark")
        self.help = QPushButton("?")
        self.help.setToolTip("Keys and signs (F1)")
        self.help.setAccessibleName("Help")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(theme.MARGIN, theme.GAP, theme.GAP, theme.GAP)
        layout.setSpacing(theme.GAP)
        layout.addWidget(name)
        layout.addSpacing(theme.MARGIN * 2)
        layout.addWidget(self.state)
        layout.addSpacing(theme.GAP)
        layout.addWidget(self.detail)
        layout.addStretch(1)
        for button in (self.pause, self.look, self.help):
            layout.addWidget(button)

    def show_state(self, model):
        leader = model.leader()
        heard = [b for b in model.boards.values() if not b.silent]
        if leader is not None:
            state = f"♛ board {leader} leads term {model.term}"
        elif not heard:
            state = "no boards"
        else:
            state = "no leader" + ("" if model.term is None else f", term {model.term}")
        self.state.setText(state)
        parts = []
        if model.boards:
            parts.append(f"{len(heard)} of {len(model.boards)} boards heard")
        if model.commit_index is not None:
            parts.append(f"committed up to index {model.commit_index}")
        if model.alarms:
            parts.append(f"⚠ {model.alarms} alarms")
        self.detail.setText("   ·   ".join(parts))


class StatusStrip(QLabel):
    """The collector, what comes from it, and what was lost on which way."""

    def __init__(self):
        super().__init__()
        self.setObjectName("dim")
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setContentsMargins(theme.MARGIN, 0, theme.MARGIN, 0)
        self.setToolTip(
            "not heard: sent by boards, by their sequence, but not heard by the collector.\n"
            "UDP lost: datagrams between collector and this PC.\n"
            "dropped: frames that are damaged, foreign or fail authentication."
        )
        self._last = (None, 0)
        self._rate = 0.0

    def show_state(self, link, model, silence, look, now_ms):
        station = link.station
        at_ms, frames = self._last
        now_frames = station.counts["frames"]
        if at_ms is None or now_ms - at_ms >= 1000:
            if at_ms is not None:
                self._rate = (now_frames - frames) * 1000 / (now_ms - at_ms)
            self._last = (now_ms, now_frames)
        heard = station.collector_heard_ms is not None and not silence
        colour = look.good if heard else look.bad if silence else look.warn
        parts = [
            f"<span style='color:{colour}'>{'●' if heard else '○'}</span> collector "
            f"{link.host}:{link.port}"
        ]
        if heard:
            if station.channel is not None:
                parts.append(f"channel {station.channel}")
            parts.append(f"{self._rate:.0f} frames/s")
            sent = sum(b.frames + b.missed for b in model.boards.values())
            missed = sum(b.missed for b in model.boards.values())
            parts.append(f"not heard {100 * missed / sent:.1f} %" if sent else "not heard 0 %")
            parts.append(f"UDP lost {station.counts['lost_datagrams']}")
            parts.append(f"dropped {sum(station.codec.drops.values())}")
        if station.wrong_key_frames:
            parts.append(
                f"<span style='color:{look.bad}'>{station.wrong_key_frames} frames of this cluster"
                " fail authentication: wrong key?</span>"
            )
        elif station.counts["refused"]:
            parts.append(f"collector refused {station.counts['refused']}: {station.refusal}")
        self.setText(" &nbsp; · &nbsp; ".join(parts))


def _heading(text):
    label = QLabel(text)
    label.setObjectName("heading")
    font = label.font()
    font.setPointSizeF(max(7.0, font.pointSizeF() - 1))
    label.setFont(font)
    return label
