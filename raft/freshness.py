"""Replay: which authentic frames are fresh (rule 2 of docs/protocol.md).

Votes, appends and acks are safe under replay by Raft itself. A command is not: somebody who
recorded 'set 2 to 34' could play it back tomorrow. So a receiver asks each sender once in this boot
with a nonce (CHALLENGE); the sender's PROOF repeats the nonce. From then on frames of that sender
are fresh if their (epoch, seq) is above the last one taken. A higher epoch is fresh by itself:
epochs are durable, so no frame of it existed when the sender answered.
"""

from raft.message import const

NONCE_SIZE = const(8)
CAPACITY = const(16)  # boards of a cluster plus eight PCs


class Freshness:
    """What this boot knows about its senders; `random_bytes(n)` gives n unpredictable bytes."""

    def __init__(self, random_bytes):
        self._random_bytes = random_bytes
        self.nonce = random_bytes(NONCE_SIZE)
        self._senders = []  # [src, incarnation, epoch, seq], the lately heard last

    def accept(self, message):
        """True if `message` is fresh, and takes note of it; False: challenge its sender."""
        sender = self._find(message)
        if sender is None or not self._later(message, sender):
            return False
        self._note(message, sender)
        return True

    def known(self, message):
        """True if the sender of `message` has answered in this boot: not fresh means a repeat."""
        return self._find(message) is not None

    def prove(self, message):
        """Take a PROOF. True if it repeats our nonce and makes its sender known."""
        if message.data != self.nonce:
            return False
        sender = self._find(message)
        if sender is None:
            if len(self._senders) == CAPACITY:
                # Whoever is forgotten could be replayed with its old proof: a new nonce voids it.
                self._senders.pop(0)
                self.nonce = self._random_bytes(NONCE_SIZE)
            sender = [message.src, message.incarnation, 0, 0]
            self._senders.append(sender)
        elif not self._later(message, sender):
            return False
        self._note(message, sender)
        return True

    def _find(self, message):
        for sender in self._senders:
            if sender[0] == message.src and sender[1] == message.incarnation:
                return sender
        return None

    def _later(self, message, sender):
        if message.epoch != sender[2]:
            return message.epoch > sender[2]
        return message.seq > sender[3]

    def _note(self, message, sender):
        sender[2] = message.epoch
        sender[3] = message.seq
        self._senders.remove(sender)
        self._senders.append(sender)
