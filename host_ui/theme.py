"""All colours, sizes and margins of the window, light and dark.

Marks and roles use the palette of Okabe and Ito, which stays apart for colour-blind eyes, and every
colour goes with a shape. Text is never in a palette colour: on white, only the blue one reaches a
contrast of 4.5 : 1.
"""

from dataclasses import dataclass

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QColor, QPalette

from raft.message import (
    ACK,
    APPEND,
    BATCH,
    CHALLENGE,
    FORWARD,
    HELLO,
    LEND,
    ORDER,
    OUTCOME,
    POLL,
    PROOF,
    READ,
    READ_INDEX,
    SNAPSHOT,
    SNAPSHOT_ACK,
    STATUS,
    TIMEOUT_NOW,
    VOTE,
    VOTE_REQUEST,
    WELCOME,
)

ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
YELLOW = "#F0E442"
BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"

MARGIN = 12
GAP = 8
RADIUS = 8

# Shapes of marks; `ring.py` draws them.
DOT = "dot"
HOLLOW = "hollow"
TRIANGLE = "triangle"
DIAMOND = "diamond"
SQUARE = "square"
CROSS = "cross"

# Type of frame: its shape, its colour, its name in the legend. Frames of one conversation share
# an entry of the legend where the shape is the same.
MARKS = {
    APPEND: (DOT, SKY, "heartbeat"),
    ACK: (HOLLOW, GREEN, "ack"),
    VOTE_REQUEST: (TRIANGLE, ORANGE, "vote request"),
    VOTE: (DIAMOND, YELLOW, "vote"),
    FORWARD: (SQUARE, VERMILION, "command"),
    BATCH: (SQUARE, VERMILION, "command"),
    OUTCOME: (SQUARE, PURPLE, "outcome"),
    POLL: (CROSS, PURPLE, "poll"),
    STATUS: (CROSS, GREEN, "status"),
    CHALLENGE: (DIAMOND, PURPLE, "challenge"),
    PROOF: (DIAMOND, VERMILION, "proof"),
    ORDER: (SQUARE, ORANGE, "order"),
    TIMEOUT_NOW: (TRIANGLE, SKY, "take over"),
    READ: (CROSS, SKY, "read"),
    READ_INDEX: (CROSS, BLUE, "read index"),
    SNAPSHOT: (SQUARE, BLUE, "snapshot"),
    SNAPSHOT_ACK: (SQUARE, GREEN, "snapshot ack"),
    HELLO: (DIAMOND, SKY, "hello"),
    WELCOME: (DIAMOND, GREEN, "welcome"),
    LEND: (DOT, YELLOW, "lend"),
}
LOADED_APPEND = (DOT, BLUE, "entries")


@dataclass(frozen=True)
class Theme:
    """The colours of one of the two looks, as #rrggbb."""

    name: str
    window: str
    panel: str
    field: str
    line: str
    text: str
    dim: str
    accent: str
    on_accent: str
    node: str  # fill of a board
    node_line: str
    halo: str  # behind the leader
    mark_line: str  # outline of marks: keeps yellow and blue readable
    differs: str  # background of a cell that differs
    fresh: str  # background of a cell that has just changed
    good: str
    bad: str
    warn: str

    def palette(self):
        """A QPalette for the Fusion style."""
        palette = QPalette()
        role = QPalette.ColorRole
        for which, colour in (
            (role.Window, self.window),
            (role.WindowText, self.text),
            (role.Base, self.field),
            (role.AlternateBase, self.panel),
            (role.Text, self.text),
            (role.Button, self.panel),
            (role.ButtonText, self.text),
            (role.BrightText, self.text),
            (role.ToolTipBase, self.panel),
            (role.ToolTipText, self.text),
            (role.PlaceholderText, self.dim),
            (role.Highlight, self.accent),
            (role.HighlightedText, self.on_accent),
            (role.Link, self.accent),
            (role.Mid, self.line),
            (role.Dark, self.line),
            (role.Light, self.panel),
        ):
            palette.setColor(which, QColor(colour))
        for which in (role.Text, role.WindowText, role.ButtonText):
            palette.setColor(QPalette.ColorGroup.Disabled, which, QColor(self.dim))
        return palette

    def style_sheet(self):
        """Frames and fields, which a palette alone cannot shape."""
        return f"""
            QToolTip {{ color: {self.text}; background: {self.panel};
                border: 1px solid {self.line}; padding: 4px; }}
            QFrame#panel {{ background: {self.panel}; border: 1px solid {self.line};
                border-radius: {RADIUS}px; }}
            QLabel#heading {{ color: {self.dim}; font-weight: 600; letter-spacing: 1px; }}
            QLabel#dim {{ color: {self.dim}; }}
            QLineEdit {{ background: {self.field}; border: 1px solid {self.line};
                border-radius: 5px; padding: 5px 7px; selection-background-color: {self.accent}; }}
            QLineEdit:focus {{ border: 1px solid {self.accent}; }}
            QLineEdit[wrong="true"] {{ border: 1px solid {self.bad}; }}
            QPushButton {{ background: {self.field}; border: 1px solid {self.line};
                border-radius: 5px; padding: 5px 14px; }}
            QPushButton:hover, QPushButton:focus {{ border: 1px solid {self.accent}; }}
            QPushButton#primary {{ background: {self.accent}; color: {self.on_accent};
                border: 1px solid {self.accent}; font-weight: 600; }}
            QPushButton#primary:hover, QPushButton#primary:focus {{
                border: 1px solid {self.text}; }}
            QTableView, QListView {{ background: transparent; border: none; outline: none; }}
            QHeaderView, QHeaderView::section, QTableCornerButton::section {{
                background: transparent; border: none; color: {self.dim}; }}
            QSplitter::handle {{ background: transparent; }}
            QScrollBar:vertical {{ background: transparent; width: 9px; margin: 0; }}
            QScrollBar::handle:vertical {{ background: {self.line}; border-radius: 4px;
                min-height: 24px; }}
            QScrollBar:horizontal {{ background: transparent; height: 9px; margin: 0; }}
            QScrollBar::handle:horizontal {{ background: {self.line}; border-radius: 4px;
                min-width: 24px; }}
            QScrollBar::add-line, QScrollBar::sub-line {{ height: 0; width: 0; }}
            QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
        """


DARK = Theme(
    name="dark",
    window="#14171c",
    panel="#1c2027",
    field="#262b34",
    line="#363d49",
    text="#e8ebf0",
    dim="#98a2b3",
    accent="#56B4E9",
    on_accent="#0b1015",
    node="#2a303a",
    node_line="#c3cad6",
    halo="#56B4E9",
    mark_line="#0d0f12",
    differs="#7a3d10",
    fresh="#1f5c48",
    good="#35c79a",
    bad="#ff8a5c",
    warn="#E69F00",
)

LIGHT = Theme(
    name="light",
    window="#eef0f4",
    panel="#ffffff",
    field="#f6f7f9",
    line="#d3d8e0",
    text="#1b2027",
    dim="#5b6572",
    accent="#0072B2",
    on_accent="#ffffff",
    node="#f4f6f9",
    node_line="#3a434f",
    halo="#0072B2",
    mark_line="#2b323b",
    differs="#ffd9b8",
    fresh="#bfead9",
    good="#00734f",
    bad="#b84700",
    warn="#8a5f00",
)


def choose(scheme):
    """The theme for a Qt.ColorScheme; dark where the system does not say."""
    return LIGHT if scheme == Qt.ColorScheme.Light else DARK
