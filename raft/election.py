"""Leader election (§5.2), its restriction (§5.4.1), and what keeps it from disturbing anybody:
pre-votes (thesis 9.6), voters that stay with the leader they hear (thesis 4.2.3), handing over
(thesis 3.10)."""

from raft import membership
from raft.message import (
    CANDIDATE,
    EVERYONE,
    FOLLOWER,
    GRANTED,
    LEADER,
    NOBODY,
    PRE,
    PRE_CANDIDATE,
    TRANSFER,
    VOTE,
    VOTE_REQUEST,
    const,
)

_GAPS = const(3)
_LONGER = const(3)  # election timeouts, at most


def reset_timer(raft):
    """A new random timeout, so that split votes are rare (§5.2).

    If it adapts, it is longer where heartbeats come late or get lost: never shorter, because votes
    are withheld for `election_min_ms` only (rule 5).
    """
    settings = raft.settings
    spread = settings.election_max_ms - settings.election_min_ms + 1
    raft.election_at_ms = raft.now_ms + settings.election_min_ms + raft.random_below(spread)
    if settings.adaptive and raft.gap_ms > settings.heartbeat_ms:
        longer_ms = _GAPS * (raft.gap_ms - settings.heartbeat_ms)
        raft.election_at_ms += min(longer_ms, _LONGER * settings.election_max_ms)


def note_gap(raft):
    """The leader is heard: how long were the silences before, of late?"""
    gap_ms = min(raft.now_ms - raft.heard_leader_ms, _LONGER * raft.settings.election_max_ms)
    raft.gap_ms = max(gap_ms, raft.gap_ms - raft.gap_ms // 16)


def campaign_if_due(raft):
    """No leader heard for an election timeout: stand (§5.2). A candidate repeats itself, because a
    broadcast is never retried by the radio."""
    if raft.now_ms >= raft.election_at_ms:
        if not membership.may_stand(raft):
            raft.become_follower(raft.term, NOBODY)
            reset_timer(raft)
            return
        raft.become_pre_candidate()
        _ask_for_votes(raft, PRE)
        _count(raft)
    elif raft.role != FOLLOWER and raft.now_ms >= raft.heartbeat_at_ms:
        if not _count(raft):
            _ask_for_votes(raft, PRE if raft.role == PRE_CANDIDATE else 0)


def _stand(raft, flags):
    raft.become_candidate()
    _ask_for_votes(raft, flags)
    _count(raft)


def _count(raft):
    """A majority of pre-votes makes a candidate (thesis 9.6), one of votes a leader (§5.2): of the
    voters in the candidate's own configuration, itself only if it is one (thesis 4.2.2). True if
    there is a majority."""
    if membership.count(raft, raft.granted) < raft.majority():
        return False
    if raft.log.is_at_end():
        return False  # it was lent the last index since it stands, and could append nothing
    if raft.role == PRE_CANDIDATE:
        _stand(raft, 0)
    elif raft.unsaved:
        # A lone voter, and its own vote is not durable: it could forget it, and vote for another.
        raft.heartbeat_at_ms = raft.now_ms
    else:
        raft.become_leader()
    return True


def _ask_for_votes(raft, flags):
    raft.heartbeat_at_ms = raft.now_ms + raft.settings.heartbeat_ms
    request = raft.outbox.late(VOTE_REQUEST, EVERYONE, raft.term)
    request.last_index = raft.log.last_index
    request.last_term = raft.log.last_term
    request.flags = flags


def is_bound(raft, flags):
    """True if no vote and no pre-vote may be given now, whoever asks.

    After a reboot, because promises were forgotten; else while a promise to a leader lasts, whose
    lease may depend on it (thesis 6.4.1), and while one is heard (thesis 4.2.3), unless that leader
    itself hands over (thesis 3.10): it has given up its lease before it ordered that.
    """
    if raft.now_ms < raft.silent_until_ms:
        return True
    if flags & TRANSFER:
        return False
    if raft.role == LEADER:
        return True  # it knows itself when it has lost its majority
    if raft.now_ms < raft.promised_until_ms:
        return True
    since_ms = raft.now_ms - raft.heard_leader_ms
    return raft.leader != NOBODY and since_ms < raft.settings.election_min_ms


def on_vote_request(raft, message):
    """RequestVote RPC, receiver (Figure 2), and the same for a pre-vote (thesis 9.6)."""
    pre = message.flags & PRE
    grant = (
        # 1. Reply false if the candidate's term is old (§5.1).
        message.term == raft.term
        # 2. One vote a term, first come first served (§5.2); a pre-vote is for the next term...
        and (pre or raft.vote in (NOBODY, message.sender))
        # ...and only for a log that holds all that is committed (§5.4.1).
        and raft.log.is_up_to_date(message.last_index, message.last_term)
    )
    if grant and not pre:
        if raft.vote == NOBODY:
            raft.vote = message.sender
            raft.unsaved = True
        reset_timer(raft)
    answer = raft.outbox.late(VOTE, message.src, raft.term)
    answer.flags = (GRANTED if grant else 0) | pre
    answer.dst_incarnation = message.incarnation
    if pre and not grant and message.term == raft.term:
        raft.lend(message)


def on_vote(raft, message):
    """RequestVote RPC, answer. Pre-votes count for nothing but pre-votes."""
    if message.term != raft.term or not raft.is_me(message):
        return
    if raft.role != (PRE_CANDIDATE if message.flags & PRE else CANDIDATE):
        return
    if message.flags & GRANTED and message.sender not in raft.granted:
        raft.granted.append(message.sender)
        _count(raft)


def on_timeout_now(raft, message):
    """The leader of this term hands over to us: stand at once, without asking first (thesis 3.10).

    Safe when played back: it counts in its own term only, and that term's leader has given up its
    lease before it sent it.
    """
    is_order = message.dst == raft.me and message.term == raft.term and message.src == raft.leader
    if is_order and raft.role == FOLLOWER and raft.now_ms >= raft.silent_until_ms:
        if membership.may_stand(raft):
            _stand(raft, TRANSFER)
