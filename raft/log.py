"""The replicated log: (term, kind, data) tuples at base_index + 1..last_index.

What stands up to `base_index` is in a snapshot (§7); `base_term` is the term of that entry, for the
consistency check of the one behind it. Index 0 stands before the first entry and has term 0.
`unstable_index` is the first index that the driver has not yet made durable; a truncation moves it
back. `size` is the bytes of all data held.
"""

from raft.message import COUNTER_LIMIT


class Log:
    """Entries in memory. Indexes are checked by assertion: a wrong one is our own bug."""

    def __init__(self):
        self._entries = []
        self.base_index = 0
        self.base_term = 0
        self.unstable_index = 1
        self.size = 0

    @property
    def last_index(self):
        return self.base_index + len(self._entries)

    @property
    def last_term(self):
        return self._entries[-1][0] if self._entries else self.base_term

    def __len__(self):
        return len(self._entries)

    def term_at(self, index):
        """Term of the entry at `index`; None if it is not there, or in the snapshot."""
        if index == self.base_index:
            return self.base_term
        if not self.base_index < index <= self.last_index:
            return None
        return self._entries[index - self.base_index - 1][0]

    def entry(self, index):
        assert index > self.base_index
        return self._entries[index - self.base_index - 1]

    def is_at_end(self):
        """True if there is no index left: back up, and start a new cluster."""
        return self.last_index + 1 >= COUNTER_LIMIT

    def append(self, entry):
        """Append one (term, kind, data); return its index."""
        self._entries.append(entry)
        self.size += len(entry[2])
        return self.last_index

    def truncate(self, index):
        """Forget the entries from `index` on."""
        assert index > self.base_index
        while self.last_index >= index:
            self.size -= len(self._entries.pop()[2])
        self.unstable_index = min(self.unstable_index, index)

    def compact(self, index):
        """Forget the entries up to `index`: a snapshot holds what they did (§7)."""
        assert self.base_index <= index <= self.last_index
        term = self.term_at(index)
        for entry in self._entries[: index - self.base_index]:
            self.size -= len(entry[2])
        self._entries = self._entries[index - self.base_index :]
        self.base_index = index
        self.base_term = term

    def restart(self, index, term):
        """Begin anew behind a snapshot that ends at `index` with an entry of `term` (§7)."""
        self._entries = []
        self.size = 0
        self.base_index = index
        self.base_term = term
        self.unstable_index = index + 1

    def is_up_to_date(self, last_index, last_term):
        """True if a log that ends so is at least as up to date as ours (§5.4.1)."""
        if last_term != self.last_term:
            return last_term > self.last_term
        return last_index >= self.last_index

    def last_index_not_above(self, index, term):
        """Highest index <= `index` whose term is <= `term`: where two logs may still agree.

        Both sides of a repair use it, so each round trip skips whole terms (§5.3, last paragraph).
        An answer below the base says that only the snapshot can help.
        """
        index = min(index, self.last_index)
        while index >= self.base_index and self.term_at(index) > term:
            index -= 1
        return index
