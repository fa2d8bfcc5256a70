"""Whom the leader asks for an ack with an AppendEntries (docs/protocol.md, acks in turn).

Each ack costs the channel as much as the frame that it answers. An idle follower is asked with
every fourth heartbeat; entries, and a read that waits for it, ask as many as make a majority with
the leader. All are asked when that was not enough, or when too few were heard lately.
"""

from raft.message import NOBODY, const

_BEATS = const(4)  # between two turns of an idle follower
_FRESH_BEATS = const(3)  # a majority shall have been heard within: what a lease lasts


class Turns:
    """Whose turn it is."""

    def __init__(self):
        self.beat = 0
        self.beat_at_ms = 0
        self.next_place = 0
        self.confirm_seq = 0  # a majority shall answer something newer than this


def want_confirmation(raft):
    """Somebody waits to hear that we lead still: the next AppendEntries asks a majority."""
    raft.turns.confirm_seq = max(raft.turns.confirm_seq, raft.append_seq)
    raft.heartbeat_at_ms = raft.now_ms


def is_confirmed(raft, seq):
    """True if a majority of the voters has answered AppendEntries newer than `seq`."""
    return count(raft, lambda who: raft.followers[who].heard_seq > seq) >= raft.majority()


def majority_follows(raft):
    """True if a majority of the voters can take what is broadcast."""
    return count(raft, lambda who: not raft.followers[who].behind) >= raft.majority()


def whom_to_ask(raft, last_index, is_new):
    """Bits, by place in the configuration, for an AppendEntries up to `last_index`; `is_new`: with
    entries that were not sent before."""
    members = places(raft)
    if not raft.settings.overhears:
        return _all(raft, members)
    turns = raft.turns
    asked = 0
    if raft.now_ms >= turns.beat_at_ms:
        turns.beat_at_ms = raft.now_ms + raft.settings.heartbeat_ms
        turns.beat += 1
        for place, follower in members:
            if (place - turns.beat) % _BEATS == 0 or _owes(raft, follower):
                asked |= _ask(raft, place, follower)
        if _too_few_heard(raft):
            return _all(raft, members)
    if is_new or not is_confirmed(raft, turns.confirm_seq):
        asked = _fill_up(raft, members, asked)
    if raft.transfer_to != NOBODY:
        target = raft.followers[raft.transfer_to]
        asked |= _ask(raft, raft.configuration.place(raft.transfer_to), target)
    if not is_new and raft.commit_index < last_index:
        # They were sent once, and a majority's acks did not come.
        for place, follower in members:
            if follower.match_index < last_index:
                asked |= _ask(raft, place, follower)
    return asked


def places(raft):
    """[(place, Follower)] of all that can be asked."""
    found = []
    for place, who in enumerate(raft.configuration.identities):
        if who in raft.followers:
            found.append((place, raft.followers[who]))
    return found


def _all(raft, members):
    asked = 0
    for place, follower in members:
        asked |= _ask(raft, place, follower)
    return asked


def _ask(raft, place, follower):
    if not follower.owes:
        follower.owes = True
        follower.asked_ms = raft.now_ms
    return 1 << place


def _owes(raft, follower):
    """True if its ack, or what asked for it, seems to be lost."""
    return follower.owes and raft.now_ms - follower.asked_ms >= raft.settings.heartbeat_ms // 2


def _too_few_heard(raft):
    since_ms = raft.now_ms - _FRESH_BEATS * raft.settings.heartbeat_ms - raft.settings.slot_ms
    return count(raft, lambda who: raft.followers[who].heard_ms > since_ms) < raft.majority()


def count(raft, is_good):
    """How many voters (identities), the leader included, are good."""
    good = 0
    for who in raft.configuration.voters:
        if who == raft.identity or is_good(who):
            good += 1
    return good


def _fill_up(raft, members, asked):
    """Ask voters in turn until, with those that are `asked` and answer, they are a majority; all,
    if there are not so many that answered when they were asked last."""
    turns = raft.turns
    voters = raft.configuration.voters
    missing = raft.majority() - (raft.identity in voters)
    size = len(raft.configuration.members)
    able = []
    for place, follower in members:
        if raft.configuration.identities[place] not in voters or _owes(raft, follower):
            continue
        if asked & 1 << place:
            missing -= 1
        else:
            able.append(((place - turns.next_place) % size, place, follower))
    if missing > len(able):
        return _all(raft, members)
    able.sort(key=lambda one: one[0])
    for _, place, follower in able[: max(missing, 0)]:
        asked |= _ask(raft, place, follower)
        turns.next_place = place + 1
    return asked
