"""The node driver: one `step`, the same on a board, on a virtual board and in the simulator.

`step(now_ms)` drains the radio, feeds the core, writes the journal, sends, applies; nothing in it
sleeps or reads a clock. An exception that leaves it means that the member must restart: it may not
promise anything that it could not write.
"""

from firmware.journal import JournalDamaged
from raft.auth import KeyRing, cluster_hash
from raft.core import NotLeader, Raft
from raft.freshness import Freshness
from raft.message import (
    ACCEPTED,
    ACK,
    APPEND,
    BAD_ORDER,
    CHALLENGE,
    COMMITTED,
    EVERYONE,
    FORWARD,
    LINEARIZABLE,
    NO_LEADER,
    NOT_A_VOTER,
    ORDER,
    ORDER_TRANSFER,
    OUTCOME,
    POLL,
    PROOF,
    READ,
    READ_INDEX,
    STATUS,
    Message,
    const,
)
from raft.proposals import Proposals
from raft.reads import Reads
from raft.wire import FRAME_MAX, FREE_IN_STATUS, Codec, WireError

_FRAMES_A_STEP = const(32)  # then the journal gets its turn, however full the radio is
_ROUNDS_A_STEP = const(8)
_CHALLENGE_MS = const(20)  # replayed commands must not buy more airtime than this


class Driver:
    """Binds core, codec, journal and radio of one node.

    `config`: a node's `firmware.config.Config`; `radio`: has receive(), frame, rssi and
    send(view); `journal`: opened here, before the first frame leaves; `machine`: the state machine;
    `random_bytes(n)`, `random_below(n)`: the board's randomness; `free_heap()`: bytes.
    Raises firmware.journal.JournalDamaged.
    """

    def __init__(self, config, radio, journal, machine, random_bytes, random_below, free_heap):
        self.radio = radio
        self.journal = journal
        self.machine = machine
        self._free_heap = free_heap
        found = journal.recover()
        journal.epoch(found.epoch + 1)
        journal.sync()
        keys = KeyRing(config.key, config.key_generation)
        self.codec = Codec(
            cluster_hash(config.cluster), keys, config.id, config.incarnation, found.epoch + 1
        )
        self.raft = Raft(config.id, config.voters, machine, config.settings, random_below)
        try:
            self.raft.restore(found.term, found.vote, found.entries, found.snapshot)
        except ValueError as error:
            raise JournalDamaged("the snapshot is none of this state machine: %s" % error)
        self.freshness = Freshness(random_bytes)
        self.raft.epoch = self.codec.epoch
        self.proposals = Proposals(self.raft)
        self.reads = Reads(self.raft)
        # Frames that were authentic, but not for us to act on.
        self.refused = {"replay": 0, "unproven": 0, "own": 0}
        self._saved_term = found.term
        self._saved_vote = found.vote
        self._message = Message()
        self._out = bytearray(FRAME_MAX)
        self._out_view = memoryview(self._out)
        self._leader_rssi = 0
        self._digest = machine.digest()
        self._digest_index = 0
        self._started_ms = 0
        self._challenge_at_ms = 0

    def start(self, now_ms):
        """Begin as follower; `now_ms` is on the clock that `step` will use."""
        self._started_ms = now_ms
        self.raft.start(now_ms)

    def propose(self, command, answer):
        """Propose `command` (bytes) from this board; `answer(code, index, term)` is called once."""
        self.proposals.propose(command, answer)

    def read(self, done):
        """`done(code)` is called once: if COMMITTED, the state machine may be read at once, and is
        no older than this call; what it must not be read for is in `raft.reads.Reads.begin`."""
        self.reads.begin(done)

    def step(self, now_ms):
        """Do all that is due; return when to come back at the latest (ms), frames aside."""
        for _ in range(_FRAMES_A_STEP):
            length = self.radio.receive()
            if not length:
                break
            self._receive(length, now_ms)
        for _ in range(_ROUNDS_A_STEP):
            self.raft.tick(now_ms)
            self.proposals.tick()
            self._deliver()
            if self.raft.deadline_ms() > now_ms:
                break
        return self.raft.deadline_ms()

    def _deliver(self):
        """The four duties of the core's contract, in their order."""
        raft = self.raft
        outbox = raft.outbox
        if outbox.waiting:
            outbox.drain_early(self._send)
        if raft.unsaved or raft.snapshot_unsaved:
            self._save()
        if outbox.waiting:
            outbox.drain_late(self._send, not raft.unsaved)
        raft.apply_committed(self.proposals.on_applied)
        self.reads.tick()
        if outbox.waiting:
            outbox.drain_late(self._send, not raft.unsaved)

    def _save(self):
        raft = self.raft
        if raft.snapshot_unsaved:
            self.journal.rewrite(self.codec.epoch, raft.term, raft.vote, raft.snapshot, raft.log)
        else:
            if raft.term != self._saved_term or raft.vote != self._saved_vote:
                self.journal.hard_state(raft.term, raft.vote)
            for index in range(raft.log.unstable_index, raft.log.last_index + 1):
                self.journal.entry(index, raft.log.entry(index))
            self.journal.sync()
        self._saved_term = raft.term
        self._saved_vote = raft.vote
        raft.persisted()

    def _receive(self, length, now_ms):
        message = self._message
        if self.codec.decode(self.radio.frame, length, message) is not None:
            return
        if message.src == self.codec.src:
            # Our own frame played back, or a clone of this board.
            self.refused["own"] += 1
            return
        if message.dst != self.codec.src and message.dst != EVERYONE:
            return
        kind = message.type
        if kind == FORWARD:
            if self._is_fresh(message, now_ms):
                self.proposals.on_forward(message)
        elif kind == ORDER:
            if self._is_fresh(message, now_ms):
                self._obey(message)
        elif kind == OUTCOME:
            self.proposals.on_outcome(message, self.codec.epoch)
        elif kind == POLL:
            self._on_poll(message, now_ms)
        elif kind == READ:
            self.reads.on_read(message)
        elif kind == READ_INDEX:
            self.reads.on_read_index(message, self.codec.epoch)
        elif kind == CHALLENGE:
            proof = self.raft.outbox.late(PROOF, message.src, self.raft.term)
            proof.data = message.data
            self.proposals.resend_to(message.src)
        elif kind == PROOF:
            if not self.freshness.prove(message):
                self.refused["unproven"] += 1
        else:
            self.raft.receive(message, now_ms)
            if message.src == self.raft.leader:
                self._leader_rssi = self.radio.rssi

    def _is_fresh(self, message, now_ms):
        if self.freshness.accept(message):
            return True
        self.refused["replay" if self.freshness.known(message) else "unproven"] += 1
        if not self.freshness.known(message) and now_ms >= self._challenge_at_ms:
            self._challenge_at_ms = now_ms + _CHALLENGE_MS
            challenge = self.raft.outbox.late(CHALLENGE, message.src, self.raft.term)
            challenge.data = self.freshness.nonce
        return False

    def _obey(self, message):
        """Only the leader can; ACCEPTED says that it has begun."""
        code = BAD_ORDER
        if message.order == ORDER_TRANSFER:
            try:
                self.raft.transfer(message.member)
                code = ACCEPTED
            except NotLeader:
                code = NO_LEADER
            except ValueError:
                code = NOT_A_VOTER
        asker = (message.src, message.incarnation, message.epoch, message.request)
        self.proposals.send_outcome(asker, code, 0, 0)

    def _on_poll(self, message, now_ms):
        dst, request, offset = message.src, message.request, message.offset
        if message.level != LINEARIZABLE:
            self._send_status(dst, request, offset, now_ms)
            return
        asker = (dst, message.incarnation, message.epoch, request)

        def done(code):
            if code == COMMITTED:
                self._send_status(dst, request, offset, self.raft.now_ms)
            else:
                self.proposals.send_outcome(asker, code, 0, 0)

        self.reads.begin(done, asker)

    def _send_status(self, dst, request, offset, now_ms):
        raft = self.raft
        image = self.machine.snapshot()
        status = raft.outbox.late(STATUS, dst, raft.term)
        status.request = request
        status.role = raft.role
        status.leader = raft.leader
        status.vote = raft.vote
        status.last_index = raft.log.last_index
        status.last_term = raft.log.last_term
        status.durable_index = raft.durable_index
        status.commit_index = raft.commit_index
        status.applied_index = raft.applied_index
        status.digest = self._digest_now()
        status.uptime_s = (now_ms - self._started_ms) // 1000
        status.heap = self._heap_units()
        status.total = len(image)
        status.offset = min(offset, len(image))
        status.data = image[status.offset : status.offset + FREE_IN_STATUS]

    def _send(self, message):
        if message.type == ACK:
            message.applied_index = self.raft.applied_index
            message.digest = self._digest_now()
            message.heap = self._heap_units()
            message.rssi = self._leader_rssi
        try:
            length = self.codec.encode(message, self._out)
        except WireError:
            # A proof of somebody's overlong nonce, say: our own frames are tested to fit.
            self.codec.drops["long"] += 1
            return
        if message.type == APPEND:
            self.raft.append_seq = message.seq
        self.radio.send(self._out_view[:length])

    def _heap_units(self):
        return min(self._free_heap() >> 6, 0xFFFF)

    def _digest_now(self):
        if self._digest_index != self.raft.applied_index:
            self._digest_index = self.raft.applied_index
            self._digest = self.machine.digest()
        return self._digest
