"""Leader election (§5.2) and its restriction (§5.4.1)."""

from raft.message import CANDIDATE, EVERYONE, GRANTED, NOBODY, VOTE, VOTE_REQUEST


def reset_timer(raft):
    """A new random timeout, so that split votes are rare (§5.2)."""
    settings = raft.settings
    spread = settings.election_max_ms - settings.election_min_ms + 1
    raft.election_at_ms = raft.now_ms + settings.election_min_ms + raft.random_below(spread)


def campaign_if_due(raft):
    """No leader heard for an election timeout: stand (§5.2). A candidate repeats itself, because a
    broadcast is never retried by the radio."""
    if raft.now_ms >= raft.election_at_ms:
        raft.become_candidate()
        if len(raft.granted) >= raft.majority():
            raft.become_leader()
        else:
            _ask_for_votes(raft)
    elif raft.role == CANDIDATE and raft.now_ms >= raft.heartbeat_at_ms:
        _ask_for_votes(raft)


def _ask_for_votes(raft):
    raft.heartbeat_at_ms = raft.now_ms + raft.settings.heartbeat_ms
    request = raft.outbox.late(VOTE_REQUEST, EVERYONE, raft.term)
    request.last_index = raft.log.last_index
    request.last_term = raft.log.last_term
    request.flags = 0


def on_vote_request(raft, message):
    """RequestVote RPC, receiver (Figure 2)."""
    grant = (
        # 1. Reply false if the candidate's term is old (§5.1).
        message.term == raft.term
        # 2. One vote a term, first come first served (§5.2)...
        and raft.vote in (NOBODY, message.src)
        # ...and only for a log that holds all that is committed (§5.4.1).
        and raft.log.is_up_to_date(message.last_index, message.last_term)
    )
    if grant:
        if raft.vote == NOBODY:
            raft.vote = message.src
            raft.unsaved = True
        reset_timer(raft)
    answer = raft.outbox.late(VOTE, message.src, raft.term)
    answer.flags = GRANTED if grant else 0


def on_vote(raft, message):
    """RequestVote RPC, answer: votes from a majority make a leader (§5.2)."""
    if raft.role != CANDIDATE or message.term != raft.term or message.dst != raft.me:
        return
    if message.flags & GRANTED and message.src not in raft.granted:
        raft.granted.append(message.src)
        if len(raft.granted) >= raft.majority():
            raft.become_leader()
