"""The replicated log: entries 1..last_index as (term, kind, data) tuples.

`unstable_index` is the first index that the driver has not yet made durable; a truncation moves it
back. Index 0 stands before the first entry and has term 0.
"""


class Log:
    """Entries in memory. Indexes are checked by assertion: a wrong one is our own bug."""

    def __init__(self):
        self._entries = []
        self.unstable_index = 1

    @property
    def last_index(self):
        return len(self._entries)

    @property
    def last_term(self):
        return self._entries[-1][0] if self._entries else 0

    def term_at(self, index):
        """Term of the entry at `index`, or None if there is none."""
        if index == 0:
            return 0
        if index > len(self._entries):
            return None
        return self._entries[index - 1][0]

    def entry(self, index):
        return self._entries[index - 1]

    def append(self, entry):
        """Append one (term, kind, data); return its index."""
        self._entries.append(entry)
        return len(self._entries)

    def truncate(self, index):
        """Forget the entries from `index` on."""
        assert 1 <= index
        while len(self._entries) >= index:
            self._entries.pop()
        self.unstable_index = min(self.unstable_index, index)

    def is_up_to_date(self, last_index, last_term):
        """True if a log that ends so is at least as up to date as ours (§5.4.1)."""
        if last_term != self.last_term:
            return last_term > self.last_term
        return last_index >= self.last_index

    def last_index_not_above(self, index, term):
        """Highest index <= `index` whose term is <= `term`: where two logs may still agree.

        Both sides of a repair use it, so each round trip skips whole terms (§5.3, last paragraph).
        """
        index = min(index, self.last_index)
        while index > 0 and self.term_at(index) > term:
            index -= 1
        return index
