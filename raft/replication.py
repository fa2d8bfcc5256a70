"""Log replication (§5.3) and the commit rule (§5.4.2), over a broadcast medium.

The leader broadcasts each AppendEntries once for all: the entries behind `sent_index`, which
advances on send. It goes back for nobody: a follower that lacks the entry before a frame says so
(an ack without SUCCESS), and gets what it misses in frames of its own.
"""

from raft import entries, membership, overhearing, snapshot, turns
from raft.election import note_gap, reset_timer
from raft.message import (
    ACK,
    APPEND,
    CONFIGURATION,
    EVERYONE,
    FOLLOWER,
    LEADER,
    LEND,
    NOBODY,
    PROMISED,
    SNAPSHOT,
    SUCCESS,
    TIMEOUT_NOW,
    const,
)
from raft.wire import FREE_IN_APPEND

_PATIENCE = const(3)  # election timeouts, of a leader whose followers may wait as long
_FRAMES_AT_ONCE = const(3)  # with new entries; what is more follows when they are committed


class Follower:
    """What the leader knows of one follower (Figure 2, volatile state on leaders)."""

    def __init__(self, now_ms):
        self.match_index = 0
        self.heard_ms = now_ms  # when the last one left that it has answered in this term
        self.heard_seq = 0  # the newest of our AppendEntries that it has answered in it
        self.promised_seq = 0  # ...whose promise it has given...
        self.promised_ms = 0  # ...and when that one left
        self.owes = False  # it was asked for an ack, and has not answered...
        self.asked_ms = 0  # ...since then
        self.caught_up_ms = None  # since when it lags but a little
        self.behind = False  # gets frames of its own until it has caught up with the broadcast
        self.repair_at_ms = 0  # not before: a repair is on its way...
        self.repair_index = 0  # ...whose entries begin behind this index...
        self.joins_at = 0  # ...and which can follow the broadcast again from here on
        self.snapshot = None  # what it is being sent, if the log no longer holds what it lacks...
        self.snapshot_offset = 0  # ...and the chunk that went out last


# The leader's side.


def lead(raft):
    """What a leader does when its time has come."""
    if raft.now_ms < raft.heartbeat_at_ms:
        return
    if not _hears_majority(raft):
        # It leads nobody, or nobody whom it hears: another may (thesis 6.2, CheckQuorum).
        raft.become_follower(raft.term, NOBODY)
        return
    membership.tend(raft)
    raft.heartbeat_at_ms = raft.now_ms + raft.settings.heartbeat_ms
    speak(raft)
    if raft.transfer_to != NOBODY:
        _hand_over(raft)


def _hears_majority(raft):
    """True if a majority, the leader included, was heard within an election timeout."""
    patience = _PATIENCE if raft.settings.adaptive else 1
    since_ms = raft.now_ms - patience * raft.settings.election_max_ms
    return turns.count(raft, lambda who: raft.followers[who].heard_ms > since_ms) >= raft.majority()


def _hand_over(raft):
    """Thesis 3.10: the successor has the whole log: it may stand at once. It does not, or cannot:
    after an election timeout this leader goes on."""
    if raft.now_ms >= raft.transfer_until_ms:
        raft.transfer_to = NOBODY
    elif raft.followers[raft.transfer_to].match_index == raft.log.last_index:
        raft.outbox.late(TIMEOUT_NOW, raft.transfer_to & 0xFF, raft.term)


def speak(raft):
    """Broadcast what is new, or an empty AppendEntries as heartbeat (§5.2)."""
    # `propose` bounds what may wait for a majority. What a leader inherited may be more, with a
    # commit index of 0 after a power cycle: its no-op must go out all the same.
    limit = raft.log.last_index
    if raft.settings.overhears and not turns.majority_follows(raft):
        limit = raft.sent_index  # what is new would only be one more gap: repairs come first
    is_new = raft.sent_index < limit
    for left in range(_FRAMES_AT_ONCE if raft.now_ms >= raft.quiet_until_ms else 1, 0, -1):
        message = _append_to(raft, EVERYONE)
        raft.sent_index = _fill(raft, message, raft.sent_index, limit)
        if raft.sent_index >= limit or left == 1:
            message.asked = turns.whom_to_ask(raft, raft.sent_index, is_new)
            return


def news_waits(raft):
    """There is something new to send. It waits while something is under way, so that what comes
    until then goes out in one frame; but a heartbeat does not wait, and takes it along."""
    if raft.sent_index <= raft.commit_index or not raft.settings.overhears:
        due_ms = max(raft.now_ms, raft.quiet_until_ms)
        raft.heartbeat_at_ms = min(raft.heartbeat_at_ms, due_ms)


def _append_to(raft, dst):
    """A new AppendEntries. It leaves after our own write, and says so: then fewer acks make a
    majority for those who overhear them. Where nobody does, it leaves early (thesis 10.2.1)."""
    if raft.settings.overhears:
        message = raft.outbox.late(APPEND, dst, raft.term)
        message.durable_index = raft.log.last_index
    else:
        message = raft.outbox.early(APPEND, dst, raft.term)
        message.durable_index = raft.durable_index
    message.commit_index = raft.commit_index
    message.promise_ms = raft.settings.promise_ms
    message.asked = 0
    return message


def _fill(raft, message, prev_index, limit):
    """Put the entries behind `prev_index` into a frame; return the last one's index."""
    message.prev_index = prev_index
    message.prev_term = raft.log.term_at(prev_index)
    free = FREE_IN_APPEND
    before = entries.first_of(raft.term)
    index = prev_index
    while index < limit:
        entry = raft.log.entry(index + 1)
        free -= entries.size_of(entry, before)
        if free < 0:
            break
        message.entries.append(entry)
        before = entry
        index += 1
    return index


def on_ack(raft, message):
    """AppendEntries RPC, answer. Acks come late, twice and out of order; none may do harm."""
    if message.term != raft.term:
        return
    if raft.role != LEADER:
        if not message.flags & SUCCESS:
            lend(raft, message.src, message.index, message.entry_term)
        return
    follower = raft.followers[message.sender]
    if message.heard_epoch == raft.epoch and message.heard_seq > follower.heard_seq:
        # Only the answer to something newer shows that it hears us still: acks can be played back.
        if raft.now_ms - follower.heard_ms > 2 * raft.settings.election_max_ms:
            follower.caught_up_ms = None
        follower.owes = False
        follower.heard_seq = message.heard_seq
        sent_ms = raft.sent_at_ms(message.heard_seq)
        if sent_ms is not None:
            # It was there when that one came: the ack itself may have waited here for long.
            follower.heard_ms = max(follower.heard_ms, sent_ms)
            if message.flags & PROMISED:
                follower.promised_seq = message.heard_seq
                follower.promised_ms = sent_ms
    if message.flags & SUCCESS:
        _note_overheard(raft, message)
        if raft.role != LEADER:
            return  # its own removal is committed
        if follower.match_index < message.index <= raft.log.last_index:
            follower.match_index = message.index
            follower.repair_at_ms = raft.now_ms
            advance_commit(raft)
            if raft.role != LEADER:
                return  # its own removal is committed
            if raft.transfer_to == message.sender:
                raft.heartbeat_at_ms = raft.now_ms
        membership.note_progress(raft, follower)
        if message.index >= follower.joins_at:
            # What was broadcast since the repair follows on it, and is on its way.
            follower.behind = False
    elif message.index >= follower.match_index and message.heard_seq > raft.first_seq:
        # What is acknowledged is durable there: an index below it is an old answer (CCF #6000). So
        # is one to a frame of an older term of ours, which was refused for its term.
        follower.behind = True
        follower.caught_up_ms = None
        agreed = raft.log.last_index_not_above(message.index, message.entry_term)
        agreed = max(agreed, follower.match_index)
        if agreed < follower.repair_index:
            # The repair itself began too high. The next gap report will name its index again, not
            # this lower one: to wait here would be to repeat that repair for ever.
            follower.repair_at_ms = raft.now_ms
        _repair(raft, message.src, follower, agreed)
        return
    if follower.behind:
        _repair(raft, message.src, follower, follower.match_index)


def _note_overheard(raft, message):
    """An ack that did not reach us may have reached another board, which passes it on: it counts
    for the commit index, and not as heard (rule 1, rule 5)."""
    if not message.overheard or not raft.configuration_index <= message.index:
        return
    if message.index > raft.log.last_index:
        return
    for place, follower in turns.places(raft):
        if message.overheard >> place & 1:
            follower.match_index = max(follower.match_index, message.index)
    advance_commit(raft)


def on_snapshot_ack(raft, message):
    """InstallSnapshot RPC, answer: once it has all of it, the log goes on behind it."""
    follower = snapshot.on_snapshot_ack(raft, message)
    if follower is not None:
        follower.behind = True
        advance_commit(raft)
        _repair(raft, message.src, follower, follower.match_index)


def _repair(raft, dst, follower, prev_index):
    if raft.now_ms < follower.repair_at_ms or prev_index >= raft.log.last_index:
        return
    follower.repair_index = prev_index
    follower.joins_at = raft.sent_index
    if prev_index < raft.log.base_index:
        if follower.snapshot is None:
            follower.snapshot = raft.snapshot
            follower.snapshot_offset = 0
        snapshot.send_chunk(raft, dst, follower, follower.snapshot_offset)
    else:
        follower.snapshot = None
        follower.repair_at_ms = raft.now_ms + raft.settings.heartbeat_ms // 2
        message = _append_to(raft, dst)
        if raft.settings.overhears:
            _serve_others_too(raft, message, follower, prev_index)
        _fill(raft, message, prev_index, raft.log.last_index)


def _serve_others_too(raft, message, follower, prev_index):
    """Who lacks the same gets it with the same frame: it is for one board if only one needs it,
    else for everyone, and those answer."""
    asked = 0
    count = 0
    for place, other in turns.places(raft):
        lacks = other.behind and other.snapshot is None and other.match_index >= prev_index
        lacks = lacks and raft.lately_heard(raft.configuration.identities[place])
        if other is follower or lacks:
            count += 1
            asked |= 1 << place
            other.repair_index = prev_index
            other.repair_at_ms = follower.repair_at_ms
            other.joins_at = raft.sent_index
    if count > 1:
        message.dst = EVERYONE
        message.asked = asked


def advance_commit(raft):
    """Leader: count what is durable here, and what followers have acknowledged."""
    matched = []
    for who in raft.configuration.voters:
        mine = who == raft.identity
        matched.append(raft.durable_index if mine else raft.followers[who].match_index)
    if raft.commit_by(matched, raft.log.last_index):
        if not raft.settings.broadcast:
            _tell_who_waits(raft)
        elif not raft.settings.overhears:
            raft.heartbeat_at_ms = raft.now_ms  # followers wait for this news
        if raft.sent_index < raft.log.last_index:
            news_waits(raft)
        _step_down_if_removed(raft)


def _tell_who_waits(raft):
    """A frame goes to one board: a follower that has forwarded a command must be told that it is
    committed, to answer its client. All others hear of it with the next AppendEntries."""
    for who, follower in raft.followers.items():
        if who & 0xFF in raft.waiting:
            message = _append_to(raft, who & 0xFF)
            _fill(raft, message, max(follower.match_index, raft.log.base_index), 0)
    raft.waiting.clear()


def _step_down_if_removed(raft):
    """The leader's own removal is committed (thesis 4.2.2): let the voter that has most take over,
    or the others would notice only after an election timeout."""
    voters = raft.configuration.voters
    if raft.identity in voters or raft.commit_index < raft.configuration_index:
        return
    successor = max(voters, key=lambda who: raft.followers[who].match_index)
    speak(raft)
    raft.outbox.late(TIMEOUT_NOW, successor & 0xFF, raft.term)
    raft.become_follower(raft.term, NOBODY)


# The follower's side.


def is_impossible(raft, message):
    """True if an AppendEntries or InstallSnapshot of our term cannot be from its leader: that is we
    ourselves, or it lacks what is committed here (§5.4)."""
    if raft.role == LEADER:
        return True
    if message.type == SNAPSHOT:
        return message.last_term > message.term or _differs(
            raft, message.last_index, message.last_term
        )
    return _contradicts(raft, message)


def _contradicts(raft, message):
    """True if the sender's log lacks what is committed here, or can be none of its term."""
    index = message.prev_index
    term = message.prev_term
    if _differs(raft, index, term):
        return True
    for entry in message.entries:
        index += 1
        if entry[0] < term or _differs(raft, index, entry[0]):
            return True
        term = entry[0]
    return term > message.term


def _differs(raft, index, term):
    """True if no log with an entry of `term` at `index` can hold all that is committed here; terms
    never fall in a log."""
    log = raft.log
    if index > raft.commit_index:
        return term < log.term_at(raft.commit_index)
    return index >= log.base_index and term != log.term_at(index)


def on_append(raft, message):
    """AppendEntries RPC, receiver (Figure 2)."""
    if message.term < raft.term:
        # 1. Reply false, with our term, so that an old leader steps down (§5.1).
        _refuse(raft, message)
        return
    assert raft.role != LEADER, "two leaders in term %d" % raft.term
    if raft.role != FOLLOWER or raft.leader != message.src:
        # A candidate that hears the term's leader returns to follower (§5.2).
        raft.become_follower(message.term, message.src)
    note_gap(raft)
    raft.heard_leader_ms = raft.now_ms
    if message.promise_ms <= raft.settings.promise_ms:
        # After a reboot no more than that is kept: nothing longer is promised (rule 5).
        raft.promised_until_ms = max(raft.promised_until_ms, raft.now_ms + message.promise_ms)
    reset_timer(raft)
    overhearing.note_append(raft, message)
    index = message.prev_index
    skip = raft.log.base_index - index
    if skip > 0:
        # What our snapshot holds is committed: it cannot conflict, and is not to be deleted
        # (openraft #511). What is left of the frame follows the snapshot.
        if skip > len(message.entries):
            overhearing.agree(raft, message, index + len(message.entries), False)
            return
        del message.entries[:skip]
        index += skip
    elif raft.log.term_at(index) != message.prev_term:
        # 2. Our log does not hold the entry before (§5.3): say where it may still agree.
        agreed = raft.log.last_index_not_above(message.prev_index, message.prev_term)
        overhearing.report_gap(raft, message, agreed, raft.log.term_at(agreed))
        return
    had_index = raft.heard.agreed_index
    index = _take_over(raft, index, message.entries)
    # 5. Commit only as far as this frame has proven the logs equal (§5.3).
    raft.commit_index = max(raft.commit_index, min(message.commit_index, index))
    overhearing.agree(raft, message, index, index > had_index and len(message.entries) > 0)


def _take_over(raft, index, entries):
    """Have `entries` behind `index`, where the logs are equal, as far as there is room; return the
    last one's index."""
    changed = False
    for entry in entries:
        index += 1
        term = raft.log.term_at(index)
        if term is not None and term != entry[0]:
            # 3. Only a conflict deletes: a delayed frame that ends earlier must not (§5.3).
            assert index > raft.commit_index, "a committed entry would be replaced"
            raft.log.truncate(index)
            raft.durable_index = min(raft.durable_index, index - 1)
            raft.heard.agreed_index = min(raft.heard.agreed_index, index - 1)
            term = None
            changed = True
        if term is None:
            if not _has_room(raft, entry):
                index -= 1
                break
            # 4. Append what is new (§5.3).
            raft.log.append(entry)
            raft.unsaved = True
            changed = changed or entry[1] == CONFIGURATION
    if changed:
        raft.find_configuration()
    return index


def _has_room(raft, entry):
    """Whether a follower can take `entry`. What it acknowledges ends before it, if not, and it gets
    the rest when something is committed."""
    log = raft.log
    settings = raft.settings
    return (
        log.size + len(entry[2]) <= settings.log_bytes_max
        and log.last_index - raft.commit_index < settings.waiting_max
        and not log.is_at_end()
    )


def _refuse(raft, message):
    answer = raft.outbox.late(ACK, message.src, raft.term)
    answer.heard_epoch = message.epoch
    answer.heard_seq = message.seq
    answer.flags = answer.index = answer.entry_term = answer.overheard = 0


# Without a leader.


def lend(raft, dst, last_index, last_term):
    """A candidate whose log is too short may be the only board that a majority hears. Nobody could
    lead then, ever: so who refuses it lets it have what it lacks (docs/protocol.md, lending).

    `last_index` and `last_term`: where its log may agree with ours. Only after a long time without
    a leader, in which ordinary elections have failed.
    """
    if raft.leader != NOBODY or raft.role == LEADER:
        return
    if raft.now_ms - raft.heard_leader_ms < 2 * raft.settings.election_max_ms:
        return
    agreed = raft.log.last_index_not_above(last_index, last_term)
    if not raft.log.base_index <= agreed < raft.log.last_index:
        return
    message = raft.outbox.late(LEND, dst, raft.term)
    message.last_index = raft.log.last_index
    message.last_term = raft.log.last_term
    _fill(raft, message, agreed, raft.log.last_index)


def on_lend(raft, message):
    """Take over what a more up-to-date log holds beyond ours. Nothing is committed by it, and
    nothing that may be committed is lost by it: that log would hold it, too (§5.4.1)."""
    log = raft.log
    if message.dst != raft.me or message.term != raft.term or raft.leader != NOBODY:
        return
    theirs = (message.last_term, message.last_index)
    if raft.role == LEADER or theirs <= (log.last_term, log.last_index):
        return
    if _contradicts(raft, message):
        # No lie: it may lack what a leader has committed since, and told us of before its last
        # entry came, which makes a log win (§5.4.2). Somebody else in a majority has both.
        return
    if log.term_at(message.prev_index) == message.prev_term:
        _take_over(raft, message.prev_index, message.entries)
        return
    agreed = log.last_index_not_above(message.prev_index, message.prev_term)
    if agreed >= log.base_index:
        answer = raft.outbox.late(ACK, message.src, raft.term)
        # It names no AppendEntries: should the lender lead one day, it must not count as heard.
        answer.heard_epoch = answer.heard_seq = answer.flags = answer.overheard = 0
        answer.index = agreed
        answer.entry_term = log.term_at(agreed)
