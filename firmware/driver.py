"""The node driver: one `step`, the same on a board, on a virtual board and in the simulator.

`step(now_ms)` drains the radio, feeds the core, writes the journal, sends, applies; nothing in it
sleeps or reads a clock. An exception that leaves it means that the member must restart: it may not
promise anything that it could not write.
"""

from firmware.journal import JournalDamaged
from firmware.meter import Meter
from raft import membership, overhearing
from raft.auth import KeyRing, cluster_hash
from raft.birth import Birth
from raft.core import NotLeader, Raft
from raft.freshness import Freshness
from raft.message import (
    ACCEPTED,
    ACK,
    APPEND,
    BAD_CHANGE,
    BAD_ORDER,
    BATCH,
    BORN,
    CHALLENGE,
    COMMITTED,
    EVERYONE,
    FIRST_PC,
    FORWARD,
    HELLO,
    LEADER,
    LEARNER,
    LINEARIZABLE,
    LOST,
    MEMBERS,
    NO_LEADER,
    NOBODY,
    NOT_A_VOTER,
    NOT_NOW,
    OPEN_SESSION,
    ORDER,
    ORDER_DEMOTE,
    ORDER_PROMOTE,
    ORDER_REMOVE,
    ORDER_TRANSFER,
    OUTCOME,
    POLL,
    PROOF,
    READ,
    READ_INDEX,
    REMOVED,
    STALE,
    STATUS,
    VIRGIN,
    VOTE_REQUEST,
    VOTER,
    WELCOME,
    Message,
    const,
    identity,
)
from raft.proposals import Proposals
from raft.reads import Reads
from raft.wire import FRAME_MAX, FREE_IN_STATUS, Codec, WireError

_FRAMES_A_STEP = const(32)  # then the journal gets its turn, however full the radio is
_ROUNDS_A_STEP = const(8)
_CHALLENGE_MS = const(20)  # replayed commands must not buy more airtime than this


_OF_PCS = (FORWARD, ORDER, POLL, PROOF)  # what a PC may say; all else is said among boards
_TO_EACH = (APPEND, VOTE_REQUEST)  # a frame for each member, with broadcast off
_CHANGES = {ORDER_REMOVE: REMOVED, ORDER_PROMOTE: VOTER, ORDER_DEMOTE: LEARNER}


class Driver:
    """Binds core, codec, journal and radio of one node.

    `config`: a node's `firmware.config.Config`; `radio`: has receive(), frame, rssi, send(view),
    and with broadcast off note(member) and send_to(member, view); `journal`: opened here, before
    the first frame leaves; `machine`: the state machine;
    `plate`: a `firmware.nameplate.Nameplate`; `clock_ms()`: milliseconds that never wrap;
    `random_bytes(n)`, `random_below(n)`: the board's randomness; `free_heap()`: bytes.

    `lost` says why the board has no identity, None if it has one. Raises
    firmware.journal.JournalDamaged if the journal is that of another state machine.
    """

    def __init__(
        self,
        config,
        radio,
        journal,
        machine,
        plate,
        clock_ms,
        random_bytes,
        random_below,
        free_heap,
    ):
        self.radio = radio
        self.journal = journal
        self.machine = machine
        self.lost = None
        self._plate = plate
        self._clock_ms = clock_ms
        self._free_heap = free_heap
        found = self._open_journal(config)
        if self.lost is None:
            incarnation = config.first.find(config.id)[0]
            if found.identity is not None:
                incarnation = found.identity[1]
                plate.mark_born()
            epoch = found.epoch + 1
            journal.epoch(epoch)
            journal.sync()
        else:
            # Nothing that it says counts for anybody's Raft: it needs no durable counter.
            incarnation = 0
            epoch = int.from_bytes(random_bytes(4), "little") & 0x3FFFFFFF
        keys = KeyRing(config.key, config.key_generation)
        self.codec = Codec(cluster_hash(config.cluster), keys, config.id, incarnation, epoch)
        first = membership.Configuration() if self.lost else config.first
        self.raft = Raft(config.id, incarnation, first, machine, config.settings, random_below)
        self._saved_term = self._saved_vote = 0
        if self.lost is None:
            try:
                self.raft.restore(found.term, found.vote, found.entries, found.snapshot)
            except ValueError as error:
                raise JournalDamaged("the snapshot is none of this state machine: %s" % error)
            self._saved_term, self._saved_vote = found.term, found.vote
        self.raft.epoch = epoch
        state = LOST if self.lost else BORN if found.identity else VIRGIN
        self.birth = Birth(self.raft, state, plate.chip, random_bytes, self._adopt)
        self.freshness = Freshness(random_bytes)
        self.meter = Meter(config.settings.airtime_percent)
        self.proposals = Proposals(self.raft)
        self.reads = Reads(self.raft)
        # Frames that were authentic, but not for us to act on.
        self.refused = {"replay": 0, "unproven": 0, "own": 0, "no board": 0, "contradiction": 0}
        self._message = Message()
        self._out = bytearray(FRAME_MAX)
        self._out_view = memoryview(self._out)
        self._leader_rssi = 0
        self._digest = machine.digest()
        self._digest_index = 0
        self._started_ms = 0
        self._due_ms = 0
        self.touched = True  # the core has been changed since the last step
        self._challenge_at_ms = 0

    def _open_journal(self, config):
        """What the journal holds; `lost` says why it cannot be this board's memory (rule 7)."""
        try:
            found = self.journal.recover()
        except JournalDamaged as error:
            self.lost = str(error)
            return None
        whose = found.identity
        if whose is None:
            if self._plate.was_born():
                self.lost = "the journal is empty, and this board has had one"
            elif config.first.find(config.id)[1] != VOTER:
                self.lost = "it joins a cluster that is there already"
            elif config.first.find(config.id)[2] not in (0, self._plate.chip):
                self.lost = "the first configuration means another board"
        elif whose[0] != config.id or whose[2] != self._plate.chip:
            self.lost = "the journal is that of another board"
        return found

    def _adopt(self, incarnation):
        """This board is (id, incarnation) from now on: durable before anybody hears of it."""
        raft = self.raft
        if self.lost is None:
            self.journal.identity(raft.me, incarnation, self._plate.chip)
            self.journal.sync()
        else:
            self.journal.begin_anew(raft.me, incarnation, self._plate.chip)
            self.lost = None
            self.codec.epoch = raft.epoch = 1
            self.codec.seq = 0
        self._plate.mark_born()
        self.codec.incarnation = incarnation
        raft.identity = identity(raft.me, incarnation)
        raft.start(self._clock_ms())

    def start(self):
        """Begin; `step` from now on."""
        self._started_ms = self._clock_ms()
        if self.birth.state == BORN:
            self.raft.start(self._started_ms)
        self.birth.start(self._started_ms)

    def propose(self, command, answer):
        """Propose `command` (bytes) from this board; `answer(code, index, term)` is called once."""
        self.raft.now_ms = self._clock_ms()
        self.touched = True
        self.proposals.propose(command, answer)

    def read(self, done, level=LINEARIZABLE):
        """`done(code)` is called once: if COMMITTED, the state machine may be read at once, and is
        no older than this call; what it must not be read for is in `raft.reads.Reads.begin`."""
        # Since the last step, a lease may have ended.
        self.raft.now_ms = self._clock_ms()
        self.touched = True
        self.reads.begin(done, level)

    def step(self):
        """Do all that is due; return when to come back at the latest (ms), frames aside."""
        is_idle = True
        for _ in range(_FRAMES_A_STEP):
            length = self.radio.receive()
            if not length:
                break
            # The clock is read after the radio: a frame that came during a stall must not meet a
            # lease as it was before (rule 5).
            if self._receive(length, self._clock_ms()):
                self.touched = True
            is_idle = False
        if self.touched or self._clock_ms() >= self._due_ms:  # most frames are for others
            self.touched = False
            self._due_ms = self._work()
        elif is_idle and self.journal.store.dirty and self._is_quiet():
            self.journal.store.tend()
        return self._due_ms

    def _is_quiet(self):
        """True if nothing will miss this board while it erases a sector: everything is committed,
        and it is not to speak for a while."""
        raft = self.raft
        if not self.birth.takes_part() or raft.leader == NOBODY:
            return False
        if raft.commit_index != raft.log.last_index:
            return False
        return self._due_ms - self._clock_ms() >= raft.settings.heartbeat_ms // 2

    def _work(self):
        """What time, frames and the app have brought; return when there is more to do."""
        for _ in range(_ROUNDS_A_STEP):
            now_ms = self._clock_ms()
            self.raft.quiet_until_ms = now_ms + self.meter.wait_ms(now_ms)
            deadline_ms = self._tick(now_ms)
            self._deliver()
            if deadline_ms > now_ms:
                break
        return deadline_ms

    def _tick(self, now_ms):
        """Let time do its part; return when it has something to do again."""
        raft = self.raft
        self.birth.tick(now_ms)
        if self.birth.takes_part():
            raft.tick(now_ms)
        else:
            raft.now_ms = now_ms
        self.proposals.tick()
        birth_ms = self.birth.deadline_ms()
        if not self.birth.takes_part():
            return birth_ms
        raft_ms = raft.deadline_ms()
        return raft_ms if birth_ms is None else min(raft_ms, birth_ms)

    def _deliver(self):
        """The four duties of the core's contract, in their order."""
        raft = self.raft
        outbox = raft.outbox
        if outbox.waiting:
            outbox.drain_early(self._send)
        if raft.unsaved or raft.snapshot_unsaved:
            self._save()
            raft.now_ms = self._clock_ms()  # writing takes time, and a lease may have ended in it
        if outbox.waiting:
            outbox.drain_late(self._send, not raft.unsaved)
        raft.apply_committed(self.proposals.on_applied)
        self.reads.tick()
        if outbox.waiting:
            outbox.drain_late(self._send, not raft.unsaved)

    def _save(self):
        raft = self.raft
        if raft.snapshot_unsaved or self.journal.is_crowded():
            self.journal.rewrite(raft.term, raft.vote, raft.snapshot, raft.log)
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
        """Handle one frame; True if it can have changed anything here."""
        message = self._message
        if self.codec.decode(self.radio.frame, length, message) is not None:
            return False
        self.meter.used(length)
        if message.src == self.codec.src:
            # Our own frame played back, or another board that has our id.
            if message.type == HELLO:
                self.birth.on_namesake(message)
            self.refused["own"] += 1
            return False
        kind = message.type
        if message.dst != self.codec.src and message.dst != EVERYONE:
            return self._overhear(message, now_ms)
        if not self.raft.settings.broadcast:
            self.radio.note(message.src)
        self.raft.now_ms = now_ms
        if message.src == NOBODY or message.src >= FIRST_PC and kind not in _OF_PCS:
            self.refused["no board"] += 1
            return False
        if kind == HELLO:
            self.birth.on_hello(message, now_ms)
        elif kind == WELCOME:
            self.birth.on_welcome(message)
        elif not self.birth.takes_part():
            return False
        elif kind == FORWARD:
            # A session protects its commands from being applied twice, not a PC that was told
            # "rejected" from a recording. Boards give no such answer on another board's behalf.
            known = message.src < FIRST_PC and message.kind != OPEN_SESSION
            if known or self._is_fresh(message, now_ms):
                self.proposals.on_forward(message)
        elif kind == BATCH:
            self.proposals.on_batch(message)
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
            if not self.raft.receive(message, now_ms):
                self.refused["contradiction"] += 1
            if message.src == self.raft.leader:
                self._leader_rssi = self.radio.rssi
        return True

    def _overhear(self, message, now_ms):
        """A frame for somebody else; True if it has changed anything here."""
        raft = self.raft
        is_of_use = message.type in overhearing.HANDLERS and message.src < FIRST_PC
        if not is_of_use or not self.birth.takes_part():
            return False
        commit_index = raft.commit_index
        raft.receive(message, now_ms)
        return raft.commit_index != commit_index

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
        code = ACCEPTED
        if message.order == ORDER_TRANSFER:
            try:
                self.raft.transfer(message.member)
            except NotLeader:
                code = NO_LEADER
            except ValueError:
                code = NOT_A_VOTER
        elif message.order not in _CHANGES:
            code = BAD_ORDER
        elif self.raft.role != LEADER:
            code = NO_LEADER
        else:
            try:
                membership.order(self.raft, message.member, _CHANGES[message.order])
            except membership.NotNow:
                code = NOT_NOW
            except ValueError:
                code = BAD_CHANGE
        asker = (message.src, message.incarnation, message.epoch, message.request)
        self.proposals.send_outcome(asker, code, 0, 0)

    def _on_poll(self, message, now_ms):
        dst, request, offset, part = message.src, message.request, message.offset, message.part
        if message.level == STALE:
            self._send_status(dst, request, part, offset, now_ms)
            return
        asker = (dst, message.incarnation, message.epoch, request)

        def done(code):
            if code == COMMITTED:
                self._send_status(dst, request, part, offset, self.raft.now_ms)
            else:
                self.proposals.send_outcome(asker, code, 0, 0)

        self.reads.begin(done, message.level, asker)

    def _send_status(self, dst, request, part, offset, now_ms):
        raft = self.raft
        image = raft.configuration.encode() if part == MEMBERS else self.machine.snapshot()
        status = raft.outbox.late(STATUS, dst, raft.term)
        status.request = request
        status.role = raft.role
        status.leader = raft.leader
        status.vote = raft.vote & 0xFF
        status.last_index = raft.log.last_index
        status.last_term = raft.log.last_term
        status.durable_index = raft.durable_index
        status.commit_index = raft.commit_index
        status.applied_index = raft.applied_index
        status.digest = self._digest_now()
        status.uptime_s = (now_ms - self._started_ms) // 1000
        status.heap = self._heap_units()
        status.part = part
        status.total = len(image)
        status.offset = min(offset, len(image))
        status.data = image[status.offset : status.offset + FREE_IN_STATUS]

    def _send(self, message):
        if message.type == ACK:
            message.applied_index = self.raft.applied_index
            message.digest = self._digest_now()
            message.heap = self._heap_units()
            message.rssi = self._leader_rssi
        if self.raft.settings.broadcast or message.type not in _TO_EACH or message.dst != EVERYONE:
            self._seal_and_send(message)
            return
        for who in self.raft.configuration.identities:
            if who != self.raft.identity and self.raft.configuration.holds(who):
                message.dst = who & 0xFF
                self._seal_and_send(message)

    def _seal_and_send(self, message):
        try:
            length = self.codec.encode(message, self._out)
        except WireError:
            # A proof of somebody's overlong nonce, say: our own frames are tested to fit.
            self.codec.drops["long"] += 1
            return
        if message.type == APPEND:
            self.raft.append_left(message.seq)
        self.meter.used(length)
        frame = self._out_view[:length]
        if self.raft.settings.broadcast or message.dst == EVERYONE:
            self.radio.send(frame)
        else:
            self.radio.send_to(message.dst, frame)

    def _heap_units(self):
        return min(self._free_heap() >> 6, 0xFFFF)

    def _digest_now(self):
        if self._digest_index != self.raft.applied_index:
            self._digest_index = self.raft.applied_index
            self._digest = self.machine.digest()
        return self._digest
