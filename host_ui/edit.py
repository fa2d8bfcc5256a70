"""The form that changes the database: board, index, value."""

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
)

from host_ui import theme
from tools import pc

SIGNS = {
    pc.SENT: "→",
    pc.CHALLENGED: "→",
    pc.IN_LOG: "⏳",
    pc.DONE: "✓",
    pc.REFUSED: "✕",
    pc.UNSURE: "?",
}


class EditForm(QFrame):
    """`send(node, index, value)` starts a command and returns it; ValueErrors are shown here.

    `leader()` gives the leader's node or None: it is written to when no board is named.
    """

    def __init__(self, send, leader, look):
        super().__init__()
        self.setObjectName("panel")
        self._send = send
        self._leader = leader
        self._look = look
        self.command = None
        self._shown = None
        self.node = self._field("board", "leader", "Any board takes it and passes it to the leader")
        self.index = self._field("index", "0", "Which integer of the database, from 0")
        self.value = self._field("value", "42", "-2147483648 to 2147483647")
        self.button = QPushButton("Set")
        self.button.setObjectName("primary")
        self.button.setToolTip("Replicate this change (Enter)")
        self.button.setAutoDefault(True)
        self.button.clicked.connect(self.submit)
        self.outcome = QLabel("Any board takes a change; the leader replicates it to all.")
        self.outcome.setWordWrap(True)
        self.outcome.setMinimumHeight(2 * self.outcome.fontMetrics().height() + 4)
        self.outcome.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.outcome.setAccessibleName("What became of the change")
        self.outcome.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._lay_out()

    def _field(self, name, hint, tip):
        field = QLineEdit()
        field.setPlaceholderText(hint)
        field.setAccessibleName(name)
        field.setToolTip(tip)
        field.returnPressed.connect(self.submit)
        field.textEdited.connect(lambda: self._mark(None))
        return field

    def _lay_out(self):
        heading = QLabel("CHANGE THE DATABASE")
        heading.setObjectName("heading")
        font = heading.font()
        font.setPointSizeF(max(7.0, font.pointSizeF() - 1))
        heading.setFont(font)
        grid = QGridLayout()
        grid.setHorizontalSpacing(theme.GAP)
        grid.setVerticalSpacing(2)
        for column, (name, field) in enumerate(
            (("board", self.node), ("index", self.index), ("value", self.value))
        ):
            label = QLabel(name)
            label.setObjectName("dim")
            label.setBuddy(field)
            grid.addWidget(label, 0, column)
            grid.addWidget(field, 1, column)
        grid.setColumnStretch(2, 1)
        for field in (self.node, self.index):
            field.setFixedWidth(field.fontMetrics().horizontalAdvance("leader") + 40)
        row = QHBoxLayout()
        row.setSpacing(theme.GAP)
        row.addLayout(grid, 1)
        row.addWidget(self.button, 0, Qt.AlignmentFlag.AlignBottom)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(theme.MARGIN, theme.GAP, theme.MARGIN, theme.GAP)
        layout.addWidget(heading)
        layout.addLayout(row)
        layout.addWidget(self.outcome)

    def set_theme(self, look):
        self._look = look
        self._shown = None

    def fill(self, node, cell=None):
        """Take over a board, and an index, that were picked elsewhere; then the value is next."""
        self.node.setText(str(node))
        if cell is not None:
            self.index.setText(str(cell))
        (self.value if self.index.text() else self.index).setFocus()
        self.value.selectAll()

    def submit(self):
        """Check the fields and send; what is wrong is said in the form, beside the field."""
        self._mark(None)
        node = self._number(self.node, "board", self._leader())
        if node is None:
            return
        index = self._number(self.index, "index")
        if index is None:
            return
        value = self._number(self.value, "value")
        if value is None:
            return
        try:
            self.command = self._send(node, index, value)
        except ValueError as error:
            text = str(error)
            named = (self.node, "board"), (self.index, "index"), (self.value, "value")
            self._wrong(next((f for f, name in named if text.startswith(name)), None), text)
            return
        self._shown = None
        self.refresh()

    def refresh(self):
        """Show what has become of the last command."""
        command = self.command
        if command is None or self._shown == (command, command.state, command.text):
            return
        self._shown = (command, command.state, command.text)
        what = f"set index {command.cell} to {command.value} at board {command.node}"
        self._say(f"{SIGNS[command.state]}  {command.text}\n{what}", self._colour(command.state))

    def _colour(self, state):
        look = self._look
        return {pc.DONE: look.good, pc.REFUSED: look.bad, pc.UNSURE: look.warn}.get(
            state, look.text
        )

    def _number(self, field, name, default=None):
        text = field.text().strip()
        if not text and default is not None:
            return default
        try:
            return int(text)
        except ValueError:
            wrong = f"{name} must be a whole number, not “{text}”"
            if not text:
                wrong = f"{name} is missing"
                if field is self.node:
                    wrong = "no leader is known now: name a board, or wait"
            self._wrong(field, wrong)
            return None

    def _wrong(self, field, text):
        self.command = None
        self._mark(field)
        self._say("✕  " + text, self._look.bad)
        if field is not None:
            field.setFocus()
            field.selectAll()

    def _mark(self, wrong):
        for field in (self.node, self.index, self.value):
            field.setProperty("wrong", field is wrong)
            field.style().unpolish(field)
            field.style().polish(field)

    def _say(self, text, colour):
        self.outcome.setStyleSheet(f"color: {colour};")
        self.outcome.setText(text)
