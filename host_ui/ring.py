"""The boards on a ring, and every frame that was heard as a moving mark.

One custom-painted widget that draws cached sprites: that held 60 frames a second with 1000 frames
heard a second, where one scene item for each mark did not. Marks start
and end at the edge of a node and labels are drawn last, so that nothing covers them. A broadcast
leaves for every board and fades before it arrives: the collector hears what is sent, not who
received it.
"""

import math
import time
from collections import deque

from PyQt6.QtCore import QPointF, QRectF, Qt, pyqtSignal
from PyQt6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QPainter,
    QPainterPath,
    QPen,
    QPixmap,
    QPolygonF,
    QRadialGradient,
)
from PyQt6.QtWidgets import QToolTip, QWidget

from host_ui import theme
from raft.message import APPEND, CANDIDATE, FIRST_PC, LEADER, PRE_CANDIDATE

FLIGHT_MS = 450  # a frame is on the air for about a millisecond: the picture is slowed
PULSE_MS = 600
CAPACITY = 8192
DRAWN_MAX = 1500  # above it, only every n-th mark is drawn, and the picture says so
LANE = 6  # px beside the line between two boards, so that both ways are seen apart
ARRIVES = 1.0
FADES_AT = 0.78  # of its way, for a broadcast
FADING, ARRIVING = 0.3, 0.12  # the part of the way on which a mark fades
LEVELS = 4  # steps of fading
PULSES_MAX = 80
LEGEND_GAP = 14


class Ring(QWidget):
    """Draws `model`; `advance(now_ms)` takes over new marks and repaints."""

    picked = pyqtSignal(int)  # a board was clicked
    asked = pyqtSignal(int, object)  # a board's menu is wanted at a global position

    def __init__(self, model, look, parent=None):
        super().__init__(parent)
        self._model = model
        # On their way, the oldest first: (start ms, x, y, dx, dy, reach, sprite), in units of the
        # ring; reach is the part of the way after which a mark has faded.
        self._marks = deque(maxlen=CAPACITY)
        self._pulses = []  # (start_ms, node)
        self._taken = 0  # of model.mark_count
        self._pc_seen = False
        self._now_ms = 0
        self._sprites = {}
        self._kinds = list(theme.MARKS) + [0]  # 0: an AppendEntries with entries
        self.notice = None  # (title, text) over the picture
        self.drawn_share = 1  # one mark of so many is drawn
        self.painted = 0  # times
        self.paint_ms = 0.0  # what the last time cost
        self.set_theme(look)
        self.setMinimumSize(360, 320)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setAccessibleName("Boards on a ring")
        self.setAccessibleDescription("The table beside it holds the same as text")

    def set_theme(self, look):
        self._look = look
        self._sprites.clear()
        self.update()

    def set_notice(self, title, text):
        """Show a text instead of the boards' traffic, or None for both to show none."""
        self.notice = (title, text) if title else None

    def advance(self, now_ms):
        """Take over the marks since the last call, and draw the moment `now_ms`."""
        self._now_ms = now_ms
        model = self._model
        new = min(model.mark_count - self._taken, len(model.marks))
        self._taken = model.mark_count
        if new:
            places = self._places()
            for i in range(len(model.marks) - new, len(model.marks)):
                if now_ms - model.marks[i].at_ms < FLIGHT_MS:
                    self._start(model.marks[i], places)
        while self._marks and now_ms - self._marks[0][0] >= FLIGHT_MS:
            self._marks.popleft()
        self._pulses = [p for p in self._pulses if now_ms - p[0] < PULSE_MS][-PULSES_MAX:]
        self.update()

    # Geometry: units of the ring, its centre at 0, 0 and its radius 1.

    def _places(self):
        nodes = self._model.nodes()
        step = 2 * math.pi / max(1, len(nodes))
        return {node: (math.sin(i * step), -math.cos(i * step)) for i, node in enumerate(nodes)}

    def layout_px(self):
        """Centre, ring radius and node radius, px."""
        rows, _, line = self._legend()
        width, height = self.width(), self.height() - line * len(rows) - theme.MARGIN
        node = min(40.0, max(17.0, min(width, height) / (5 + 1.1 * len(self._model.boards))))
        radius = max(60.0, min(width / 2 - node - 28, height / 2 - node - 44))
        return QPointF(width / 2, height / 2 + 2), radius, node

    def node_at(self, point):
        """The board at `point` (widget coordinates), or None."""
        centre, radius, size = self.layout_px()
        for node, (x, y) in self._places().items():
            dx = point.x() - centre.x() - x * radius
            dy = point.y() - centre.y() - y * radius
            if math.hypot(dx, dy) < size + 6:
                return node
        return None

    def _start(self, mark, places):
        self._pc_seen = self._pc_seen or mark.ours or mark.src >= FIRST_PC
        source = self._place(mark.src, places)
        if source is None:
            return
        kind = 0 if mark.type == APPEND and mark.loaded else mark.type
        if kind not in self._kinds:
            return
        sprite = self._kinds.index(kind)
        if mark.dst is not None:
            target = self._place(mark.dst, places)
            if target is not None and target != source:
                self._fly(mark.at_ms, source, target, ARRIVES, sprite)
            return
        if kind != APPEND:  # idle heartbeats would be a dense pattern, not a sign
            self._pulses.append((mark.at_ms, mark.src))
        for node, target in places.items():
            if node != mark.src:
                self._fly(mark.at_ms, source, target, FADES_AT, sprite)

    def _place(self, member, places):
        return (0.0, 0.0) if member >= FIRST_PC else places.get(member)

    def _fly(self, start_ms, source, target, reach, sprite):
        _, radius, node = self.layout_px()
        dx, dy = target[0] - source[0], target[1] - source[1]
        length = math.hypot(dx, dy)
        dx, dy = dx / length, dy / length
        edge = (node + 4) / radius
        side = LANE / radius
        way = length - 2 * edge
        x = source[0] + dx * edge - dy * side
        y = source[1] + dy * edge + dx * side
        self._marks.append((start_ms, x, y, dx * way, dy * way, reach, sprite))

    # Painting.

    def paintEvent(self, _event):
        started = time.perf_counter()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        centre, radius, size = self.layout_px()
        places = {
            node: QPointF(centre.x() + x * radius, centre.y() + y * radius)
            for node, (x, y) in self._places().items()
        }
        if places:
            painter.setPen(QPen(QColor(self._look.line), 1.5, Qt.PenStyle.DotLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(centre, radius, radius)
        leader = self._model.leader()
        if leader in places:
            self._paint_halo(painter, places[leader], size)
        self._paint_pulses(painter, places, size)
        self._paint_marks(painter, centre, radius)
        if self._pc_seen:
            self._paint_pc(painter, centre, size)
        for node, point in places.items():
            self._paint_node(painter, self._model.boards[node], point, size, node == leader)
        for node, point in places.items():
            self._paint_label(painter, self._model.boards[node], point, size, node == leader)
        self._paint_legend(painter)
        if self.notice:
            self._paint_notice(painter, centre)
        painter.end()
        self.painted += 1
        self.paint_ms = (time.perf_counter() - started) * 1000

    def _paint_halo(self, painter, point, size):
        gradient = QRadialGradient(point, size * 2.1)
        colour = QColor(self._look.halo)
        colour.setAlpha(90)
        gradient.setColorAt(0.3, colour)
        colour.setAlpha(0)
        gradient.setColorAt(1.0, colour)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(gradient)
        painter.drawEllipse(point, size * 2.1, size * 2.1)

    def _paint_pulses(self, painter, places, size):
        painter.setBrush(Qt.BrushStyle.NoBrush)
        colour = QColor(self._look.halo)
        for start_ms, node in self._pulses:
            done = (self._now_ms - start_ms) / PULSE_MS
            if node in places and 0 <= done < 1:
                colour.setAlpha(int(110 * (1 - done) ** 2))
                painter.setPen(QPen(colour, 1.4))
                reach = size * (1.1 + 1.0 * done)
                painter.drawEllipse(places[node], reach, reach)

    def _paint_marks(self, painter, centre, radius):
        step = self.drawn_share = 1 + len(self._marks) // DRAWN_MAX
        left, top = centre.x(), centre.y()
        for number, (start_ms, x, y, dx, dy, reach, kind) in enumerate(self._marks):
            done = (self._now_ms - start_ms) / FLIGHT_MS
            if number % step or not 0 <= done < reach:
                continue
            fading = (reach - done) / (FADING if reach < ARRIVES else ARRIVING)
            sprite = self._sprite(kind, min(LEVELS - 1, int(fading * LEVELS)))
            half = sprite.deviceIndependentSize().width() / 2
            px = left + (x + dx * done) * radius
            py = top + (y + dy * done) * radius
            painter.drawPixmap(QPointF(px - half, py - half), sprite)

    def _sprite(self, kind, level):
        key = (kind, level, self.devicePixelRatioF())
        sprite = self._sprites.get(key)
        if sprite is None:
            name = self._kinds[kind]
            shape, colour, _ = theme.LOADED_APPEND if name == 0 else theme.MARKS[name]
            reach = 3.4 if name == APPEND else 6.5 if name == 0 else 4.6
            sprite = QPixmap(int(20 * key[2]), int(20 * key[2]))
            sprite.setDevicePixelRatio(key[2])
            sprite.fill(Qt.GlobalColor.transparent)
            painter = QPainter(sprite)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setOpacity((level + 1) / LEVELS)
            _paint_shape(painter, shape, QPointF(10, 10), reach, colour, self._look.mark_line)
            painter.end()
            self._sprites[key] = sprite
        return sprite

    def _paint_pc(self, painter, centre, size):
        look = self._look
        w, h = size * 1.15, size * 0.72
        painter.setPen(QPen(QColor(look.dim), 1.6))
        painter.setBrush(QColor(look.panel))
        painter.drawRoundedRect(QRectF(centre.x() - w / 2, centre.y() - h / 2 - 5, w, h), 4, 4)
        base = centre.y() + h / 2
        painter.drawLine(QPointF(centre.x() - w * 0.62, base), QPointF(centre.x() + w * 0.62, base))
        painter.setFont(self._font(-1))
        painter.setPen(QColor(look.dim))
        box = QRectF(centre.x() - 80, base + 3, 160, 18)
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, "this PC")

    def _paint_node(self, painter, board, point, size, leads):
        look = self._look
        pen = QPen(QColor(look.node_line), 2.2)
        painter.setBrush(QColor(look.node))
        if board.silent:
            pen = QPen(QColor(look.dim), 1.8, Qt.PenStyle.DashLine)
            painter.setBrush(Qt.BrushStyle.NoBrush)
        elif board.role is None:
            pen.setStyle(Qt.PenStyle.DotLine)
        if leads:
            pen.setColor(QColor(look.accent))
            pen.setWidthF(3)
        painter.setPen(pen)
        if board.role == LEADER and not board.silent:
            side = size * 0.9
            box = QRectF(point.x() - side, point.y() - side, 2 * side, 2 * side)
            painter.drawRoundedRect(box, size * 0.22, size * 0.22)
            self._paint_crown(painter, QPointF(point.x(), point.y() - side), size, leads)
        elif board.role in (CANDIDATE, PRE_CANDIDATE) and not board.silent:
            painter.drawPolygon(_triangle(point, size * 1.25))
        else:
            painter.drawEllipse(point, size, size)
        if board.silent:
            reach = size * 0.7
            painter.setPen(QPen(QColor(look.line), 1.6))
            for way in (-1, 1):
                painter.drawLine(
                    QPointF(point.x() - reach, point.y() - way * reach),
                    QPointF(point.x() + reach, point.y() + way * reach),
                )

    def _paint_crown(self, painter, top, size, leads):
        w, h = size * 0.55, size * 0.5
        x, y = top.x(), top.y() - 5
        crown = QPolygonF(
            [
                QPointF(x - w, y),
                QPointF(x - w, y - h * 0.85),
                QPointF(x - w * 0.5, y - h * 0.4),
                QPointF(x, y - h * 1.1),
                QPointF(x + w * 0.5, y - h * 0.4),
                QPointF(x + w, y - h * 0.85),
                QPointF(x + w, y),
            ]
        )
        painter.save()
        painter.setPen(QPen(QColor(self._look.mark_line), 1.2))
        painter.setBrush(QColor(theme.ORANGE) if leads else Qt.BrushStyle.NoBrush)
        painter.drawPolygon(crown)
        painter.restore()

    def _paint_label(self, painter, board, point, size, leads):
        look = self._look
        centre = Qt.AlignmentFlag.AlignCenter
        painter.setPen(QColor(look.dim if board.silent else look.text))
        standing = board.role in (CANDIDATE, PRE_CANDIDATE) and not board.silent
        lift = size * 0.2 if standing else 0
        big = self._font(8 if size > 30 else 3, bold=True)
        painter.setFont(big)
        high = QFontMetricsF(big).height()
        box = QRectF(point.x() - size, point.y() - high * 0.72 + lift, 2 * size, high)
        painter.drawText(box, centre, str(board.node))
        if size > 24 and not board.silent:
            painter.setFont(self._font(-2))
            painter.setPen(QColor(look.dim))
            box = QRectF(point.x() - size, point.y() + high * 0.2 + lift, 2 * size, 14)
            painter.drawText(box, centre, "" if board.term is None else f"term {board.term}")
        text = board.role_name or "role not known"
        if board.silent:
            text = f"silent {(self._now_ms - board.heard_ms) / 1000:.1f} s"
        painter.setFont(self._font(0, bold=leads))
        painter.setPen(QColor(look.dim if board.silent or not leads else look.text))
        wide = QFontMetricsF(painter.font()).horizontalAdvance(text) + 10
        box = QRectF(point.x() - wide / 2, point.y() + size + 5, wide, 18)
        painter.save()
        painter.setPen(Qt.PenStyle.NoPen)
        backing = QColor(look.panel)
        backing.setAlpha(210)
        painter.setBrush(backing)
        painter.drawRoundedRect(box, 6, 6)
        painter.restore()
        painter.drawText(box, centre, text)

    def _legend(self):
        """Rows of (mark, its x) that fit, each with its width; the font; the height of a row."""
        font = self._font(-1)
        measure = QFontMetricsF(font)
        entries = [theme.MARKS[APPEND], theme.LOADED_APPEND]
        entries += [look for kind, look in theme.MARKS.items() if kind != APPEND]
        rows, row, used = [], [], 0.0
        for entry in entries:
            width = 20 + measure.horizontalAdvance(entry[2])
            if row and used + width > self.width() - 2 * theme.MARGIN:
                rows.append((row, used - LEGEND_GAP))
                row, used = [], 0.0
            row.append((entry, used))
            used += width + LEGEND_GAP
        rows.append((row, used - LEGEND_GAP))
        return rows, font, measure.height() + 6

    def _paint_legend(self, painter):
        """The shapes and what they are."""
        rows, font, line = self._legend()
        painter.setFont(font)
        ascent = QFontMetricsF(font).ascent()
        y = self.height() - line * len(rows) + line / 2
        for row, whole in rows:
            left = (self.width() - whole) / 2
            for (shape, colour, name), at in row:
                size = 3.4 if name == "heartbeat" else 5.0
                middle = QPointF(left + at + 10, y)
                _paint_shape(painter, shape, middle, size, colour, self._look.mark_line)
                painter.setPen(QColor(self._look.dim))
                painter.drawText(QPointF(left + at + 20, y + ascent / 2 - 1), name)
            y += line
        colour, text = self._look.dim, "click a board to write to it, right-click for its menu"
        if self.drawn_share > 1:
            colour, text = self._look.warn, f"busy: 1 of {self.drawn_share} marks is drawn"
        if self._model.boards:
            painter.setPen(QColor(colour))
            painter.drawText(QPointF(theme.GAP, theme.MARGIN + 6), text)

    def _paint_notice(self, painter, centre):
        title, text = self.notice
        wide = min(460.0, self.width() - 40.0)
        flags = Qt.AlignmentFlag.AlignHCenter | Qt.TextFlag.TextWordWrap
        head, body = self._font(4, bold=True), self._font(0)
        room = QRectF(0, 0, wide - 48, 1000)
        head_high = QFontMetricsF(head).boundingRect(room, flags, title).height()
        body_high = QFontMetricsF(body).boundingRect(room, flags, text).height()
        high = head_high + body_high + 58
        box = QRectF(centre.x() - wide / 2, centre.y() - high / 2, wide, high)
        painter.setPen(QPen(QColor(self._look.warn), 1.5))
        painter.setBrush(QColor(self._look.panel))
        painter.drawRoundedRect(box, 10, 10)
        painter.setPen(QColor(self._look.text))
        painter.setFont(head)
        painter.drawText(box.adjusted(24, 22, -24, 0), flags, title)
        painter.setFont(body)
        painter.setPen(QColor(self._look.dim))
        painter.drawText(box.adjusted(24, 22 + head_high + 12, -24, 0), flags, text)

    def _font(self, bigger, bold=False):
        font = QFont(self.font())
        font.setPointSizeF(max(7.0, font.pointSizeF() + bigger))
        font.setBold(bold)
        return font

    # Mouse.

    def mousePressEvent(self, event):
        node = self.node_at(event.position())
        if node is None:
            return
        if event.button() == Qt.MouseButton.RightButton:
            self.asked.emit(node, event.globalPosition().toPoint())
        else:
            self.picked.emit(node)

    def mouseMoveEvent(self, event):
        node = self.node_at(event.position())
        shape = Qt.CursorShape.ArrowCursor if node is None else Qt.CursorShape.PointingHandCursor
        self.setCursor(shape)
        if node is not None:
            QToolTip.showText(event.globalPosition().toPoint(), self._describe(node), self)

    def _describe(self, node):
        board = self._model.boards[node]
        known = [f"board {node}: {board.role_name or 'role not known'}"]
        if board.mac is not None:
            known.append("MAC " + board.mac.hex(":"))
        if board.rssi is not None:
            known.append(f"heard by the collector with {board.rssi} dBm")
        if board.uptime_s is not None:
            known.append(f"up for {board.uptime_s} s, boot {board.epoch}")
        known.append("click: write to this board; right click: its menu")
        return "\n".join(known)


def _triangle(point, reach):
    return QPolygonF(
        [
            QPointF(point.x(), point.y() - reach),
            QPointF(point.x() + reach * 0.95, point.y() + reach * 0.7),
            QPointF(point.x() - reach * 0.95, point.y() + reach * 0.7),
        ]
    )


def _paint_shape(painter, shape, at, reach, colour, line):
    """One mark of `theme.MARKS`, `reach` px from its middle to its edge."""
    painter.setPen(QPen(QColor(line), 1))
    painter.setBrush(QColor(colour))
    if shape == theme.DOT:
        painter.drawEllipse(at, reach, reach)
    elif shape == theme.HOLLOW:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(colour), 2))
        painter.drawEllipse(at, reach - 1, reach - 1)
    elif shape == theme.TRIANGLE:
        painter.drawPolygon(_triangle(at, reach * 1.3))
    elif shape == theme.SQUARE:
        painter.drawRect(QRectF(at.x() - reach, at.y() - reach, 2 * reach, 2 * reach))
    elif shape == theme.DIAMOND:
        path = QPainterPath(QPointF(at.x(), at.y() - reach * 1.25))
        for dx, dy in ((1.25, 0), (0, 1.25), (-1.25, 0)):
            path.lineTo(at.x() + dx * reach, at.y() + dy * reach)
        path.closeSubpath()
        painter.drawPath(path)
    else:
        painter.setPen(QPen(QColor(colour), 2.2))
        painter.drawLine(QPointF(at.x() - reach, at.y()), QPointF(at.x() + reach, at.y()))
        painter.drawLine(QPointF(at.x(), at.y() - reach), QPointF(at.x(), at.y() + reach))
