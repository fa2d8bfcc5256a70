"""Snapshots (§7): a bounded log, and a way to bring up a board that lags behind it.

A snapshot goes out in chunks that fit a frame, one at a time: the receiver names the offset that
it wants next, so that lost, repeated and reordered chunks do no harm, and a board that rebooted in
the middle simply wants 0 again. A board keeps sending the snapshot it began with, even if it takes
a newer one meanwhile.

    image   length u16, configuration | length u16, sessions | the state machine's bytes

The configuration is that of the snapshot's index, and the sessions belong to it: without them a
retry could be applied twice (redisraft #568), with later ones a board could believe in members that
no log has (etcd #11510).
"""

from binascii import crc32
from struct import pack_into

from raft import election, membership
from raft.message import LEADER, SNAPSHOT, SNAPSHOT_ACK
from raft.wire import FREE_IN_SNAPSHOT


class Snapshot:
    """State after the entry of `term` at `index`; `image`: its bytes; `configuration`: the one in
    it, as soon as somebody has unpacked or packed it."""

    def __init__(self, index, term, image, configuration=None):
        self.index = index
        self.term = term
        self.image = image
        self.configuration = configuration


def pack(raft):
    """A Snapshot of what `raft` has applied."""
    configuration = membership.find_newest(raft, raft.applied_index)[1]
    parts = []
    for part in (configuration.encode(), raft.sessions.snapshot()):
        length = bytearray(2)
        pack_into("<H", length, 0, len(part))
        parts.append(length)
        parts.append(part)
    parts.append(raft.machine.snapshot())
    term = raft.log.term_at(raft.applied_index)
    return Snapshot(raft.applied_index, term, b"".join(parts), configuration)


def unpack(raft, snapshot):
    """Put what `snapshot` holds into `raft`'s state machine and sessions.

    Raises ValueError, and changes nothing, if its image is none of theirs.
    """
    image = snapshot.image
    configuration, at = _part(image, 0)
    sessions, at = _part(image, at)
    configuration = membership.decode(configuration)
    sessions = raft.sessions.read(sessions)
    raft.machine.restore(image[at:])
    raft.sessions.take_over(sessions)
    snapshot.configuration = configuration


def _part(image, at):
    """(bytes, where they end) of the part of an image that begins at `at`."""
    start = at + 2
    if start > len(image):
        raise ValueError("the snapshot is too short")
    end = start + (image[at] | image[at + 1] << 8)
    if end > len(image):
        raise ValueError("the snapshot is too short")
    return image[start:end], end


class Incoming:
    """A snapshot on its way to us, as its first chunk announced it."""

    def __init__(self, message):
        self.leader_term = message.term
        self.index = message.last_index
        self.term = message.last_term
        self.total = message.total
        self.digest = message.digest
        self.image = bytearray()

    def is_of(self, message):
        return (
            self.index == message.last_index
            and self.term == message.last_term
            and self.total == message.total
            and self.digest == message.digest
        )


def image_digest(image):
    """30 bits over an image, so that a wrong one is never taken over."""
    return crc32(image) & 0x3FFFFFFF


def take_if_due(raft):
    """Once enough entries are applied, let a snapshot stand for them, and keep a few for boards
    that lag only a little."""
    settings = raft.settings
    log = raft.log
    applied = raft.applied_index - log.base_index
    full = log.size >= settings.log_bytes // 2 and applied > 0
    if applied < settings.snapshot_entries + settings.keep_entries and not full:
        return
    raft.snapshot = pack(raft)
    raft.snapshot_unsaved = True
    keep_from = raft.applied_index - (0 if full else settings.keep_entries)
    if applied < 2 * settings.snapshot_entries and not full:
        for follower in raft.followers.values():
            if follower.snapshot is not None:
                # It will want the entries behind the snapshot that it is being sent.
                keep_from = min(keep_from, follower.snapshot.index)
    if raft.role == LEADER:
        keep_from = min(keep_from, raft.sent_index)
    if keep_from > log.base_index:
        log.compact(keep_from)


# The leader's side.


def send_chunk(raft, dst, follower, offset):
    """Send the chunk at `offset` of the snapshot that `follower` is being sent."""
    snapshot = follower.snapshot
    follower.snapshot_offset = offset
    follower.repair_at_ms = raft.now_ms + raft.settings.heartbeat_ms // 2
    message = raft.outbox.late(SNAPSHOT, dst, raft.term)
    message.last_index = snapshot.index
    message.last_term = snapshot.term
    message.total = len(snapshot.image)
    message.digest = image_digest(snapshot.image)
    message.offset = offset
    message.data = snapshot.image[offset : offset + FREE_IN_SNAPSHOT]


def on_snapshot_ack(raft, message):
    """InstallSnapshot RPC, answer: the offset that is wanted next, all of it once it is durable.

    Returns the follower if it has the whole snapshot now, else None.
    """
    if raft.role != LEADER or message.term != raft.term or message.dst != raft.me:
        return None
    follower = raft.followers[message.sender]
    snapshot = follower.snapshot
    if snapshot is None or message.last_index != snapshot.index:
        return None
    if message.offset >= len(snapshot.image):
        follower.snapshot = None
        follower.match_index = max(follower.match_index, snapshot.index)
        follower.repair_at_ms = raft.now_ms
        return follower
    # Less than was sent is wanted by a board that rebooted in between (logcabin #174); the very
    # chunk that is on its way is not sent twice.
    if message.offset != follower.snapshot_offset or raft.now_ms >= follower.repair_at_ms:
        send_chunk(raft, message.src, follower, message.offset)
    return None


# The follower's side.


def on_snapshot(raft, message):
    """InstallSnapshot RPC, receiver (Figure 13), chunk by chunk."""
    if message.term < raft.term:
        # 1. Reply with our term, so that an old leader steps down.
        _answer(raft, message, 0)
        return
    if raft.leader != message.src:
        raft.become_follower(message.term, message.src)
    raft.heard_leader_ms = raft.now_ms
    election.reset_timer(raft)
    if message.dst != raft.me:
        return
    if message.last_index <= raft.commit_index:
        # What it holds is committed here too, and durable.
        raft.incoming = None
        _answer(raft, message, message.total)
        return
    incoming = raft.incoming
    if incoming is None or not incoming.is_of(message):
        if incoming is not None and incoming.leader_term == message.term:
            if message.last_index < incoming.index:
                return  # a late chunk of an older snapshot must not undo the newer one
        # 2. Create a new one at its first chunk.
        incoming = raft.incoming = Incoming(message)
    incoming.leader_term = message.term
    # 3. Write the data where it belongs: a gap or a repeat only names again what is wanted.
    if message.offset == len(incoming.image):
        incoming.image.extend(message.data)
    if len(incoming.image) < incoming.total or not _install(raft, incoming):
        _answer(raft, message, len(incoming.image))
        return
    _answer(raft, message, message.total)


def _install(raft, incoming):
    """Figure 13, 5 to 8. False if the image is not what its digest says: it is wanted again."""
    image = bytes(incoming.image)
    taken = Snapshot(incoming.index, incoming.term, image)
    try:
        if len(image) != incoming.total or image_digest(image) != incoming.digest:
            raise ValueError("not the image that was announced")
        unpack(raft, taken)
    except ValueError:
        incoming.image = bytearray()
        return False
    raft.incoming = None
    raft.snapshot = taken
    if raft.log.term_at(incoming.index) == incoming.term:
        # 6. We hold that very entry: what follows it stays.
        raft.log.compact(incoming.index)
    else:
        # 7. Discard the entire log.
        raft.log.restart(incoming.index, incoming.term)
    raft.durable_index = max(incoming.index, min(raft.durable_index, raft.log.last_index))
    raft.heard.agreed_index = min(raft.heard.agreed_index, raft.log.last_index)
    raft.log.unstable_index = max(raft.log.unstable_index, incoming.index + 1)
    raft.commit_index = raft.applied_index = incoming.index
    raft.find_configuration()
    raft.snapshot_unsaved = True
    raft.unsaved = True
    return True


def _answer(raft, message, offset):
    answer = raft.outbox.late(SNAPSHOT_ACK, message.src, raft.term)
    answer.last_index = message.last_index
    answer.offset = offset
