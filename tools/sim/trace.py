"""A run in lines: one for each event that changed something, a column for each board.

          ms  1             2             3
     183.212  .             ? 1 0/0       .             stands, term 1
     187.235  .             * 1 0/1       .             leads, appends 1
     189.691  . 1 0/1       *             .             appends 1

A column shows its board's role: `*` leader, `?` candidate, `~` pre-candidate, `.` follower, `x` no
power; of the board that has just changed also term and commit index/last index. Heartbeats and acks
that change nothing are not shown.
"""

from raft.message import CANDIDATE, FOLLOWER, LEADER, PRE_CANDIDATE

GLYPHS = {FOLLOWER: ".", PRE_CANDIDATE: "~", CANDIDATE: "?", LEADER: "*"}
_BECAME = {
    FOLLOWER: "follows",
    PRE_CANDIDATE: "asks whether to stand",
    CANDIDATE: "stands",
    LEADER: "leads",
}
_COLUMN = 14


class Trace:
    """Passes each line to `write(line)`."""

    def __init__(self, write=print):
        self._write = write
        self._boards = []
        self._states = {}

    def begin(self, boards):
        """The boards of the world, in the order of their columns."""
        self._boards = list(boards)
        heads = "".join(str(b.id).ljust(_COLUMN) for b in self._boards)
        self._write(("%12s  " % "ms") + heads.rstrip())

    def changed(self, now_us, board):
        """A line if the board's term, role, vote, commit index or log is another one now."""
        raft = board.raft
        state = (raft.term, raft.role, raft.commit_index, raft.log.last_index, raft.log.last_term)
        before = self._states.get(board.id)
        if state != before:
            self._states[board.id] = state
            self.board(now_us, board, _what_changed(before or state, state))

    def board(self, now_us, board, text):
        """Something that happens to one board."""
        cells = "".join(self._cell(b, b is board) for b in self._boards)
        self._write(("%12.3f  %s%s" % (now_us / 1000, cells, text)).rstrip())

    def note(self, now_us, text):
        """Something that happens to the radio."""
        self._write("%12.3f  %s" % (now_us / 1000, ("-- " + text + " ").ljust(_COLUMN, "-")))

    def _cell(self, board, is_subject):
        if not board.alive:
            return "x".ljust(_COLUMN)
        raft = board.raft
        cell = GLYPHS[raft.role]
        if is_subject:
            cell += " %d %d/%d" % (raft.term, raft.commit_index, raft.log.last_index)
        return cell.ljust(_COLUMN)


def _what_changed(before, state):
    term, role, commit_index, last_index, last_term = state
    texts = []
    if role != before[1]:
        texts.append(_BECAME[role])
    if term != before[0]:
        texts.append("term %d" % term)
    if commit_index != before[2]:
        texts.append("commits %d" % commit_index)
    if last_index > before[3]:
        texts.append("appends %d" % last_index)
    elif (last_index, last_term) != before[3:]:
        texts.append("replaces its tail")
    return ", ".join(texts)
