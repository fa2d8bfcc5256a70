"""Frames that the core wants sent, in the order in which they may leave.

`early` frames depend on nothing that is not durable yet: a leader's AppendEntries may leave before
its own write (thesis 10.2.1). `late` frames (vote requests, votes, acks, answers) may only leave
after the term, vote and entries that they speak of are durable; asking for them before is an error
of the driver, and it is told so.
"""

from raft.message import Message, const

CAPACITY = const(24)


class Outbox:
    """A bounded queue of reused Messages. What does not fit is dropped and counted: radio loses
    frames anyway, and every sender here repeats itself."""

    def __init__(self):
        self._free = [Message() for _ in range(CAPACITY)]
        self._early = []
        self._late = []
        self.waiting = 0  # messages in both queues
        self.dropped = 0
        self._spare = Message()

    def early(self, kind, dst, term):
        """A message to fill in, sent before the write of this step."""
        return self._new(self._early, kind, dst, term)

    def late(self, kind, dst, term):
        """A message to fill in, sent after the write of this step."""
        return self._new(self._late, kind, dst, term)

    def _new(self, queue, kind, dst, term):
        if self._free:
            message = self._free.pop()
            queue.append(message)
            self.waiting += 1
        else:
            message = self._spare
            self.dropped += 1
        message.type = kind
        message.dst = dst
        message.term = term
        message.entries.clear()
        return message

    def forget(self, kind):
        """Messages of this kind that have not left are not to leave any more."""
        for queue in (self._early, self._late):
            for message in [m for m in queue if m.type == kind]:
                queue.remove(message)
                self._free.append(message)
                self.waiting -= 1

    def drain_early(self, send):
        """Pass each early message to `send(message)`."""
        self._drain(self._early, send)

    def drain_late(self, send, is_durable):
        """Pass each late message to `send(message)`. RuntimeError unless all is durable."""
        if not is_durable:
            raise RuntimeError("votes and acks must not leave before what they promise is durable")
        self._drain(self._late, send)

    def _drain(self, queue, send):
        while queue:
            message = queue.pop(0)
            self.waiting -= 1
            self._free.append(message)
            send(message)
