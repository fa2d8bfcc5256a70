"""Timing and limits of the core. Milliseconds."""


class Settings:
    """`election_min_ms`..`election_max_ms`: a follower waits a random time between them (§5.2);
    `heartbeat_ms`: the leader speaks at least so often; `proposal_ms`: how long a board looks for
    an outcome before it answers UNKNOWN; `window`: entries that may wait for a majority;
    `log_bytes`: data that the log may hold; `snapshot_entries`: applied entries after which a
    snapshot stands for them (§7); `keep_entries`: how many of them stay for boards that lag a
    little. `drift_percent`: how far two boards' clocks may run apart; `planned_voters`: odd;
    `promote_ms`: a learner that was caught up so long may vote; `remove_ms`: a voter that was
    silent so long makes room for one; `gather_ms`: a new cluster waits at most so long for all of
    its first boards. `broadcast`: the radio sends one frame for all, else one for each;
    `overhears`: acks come in turn, and are of use to all who hear them, else all answer at once, as
    in the paper; `slot_ms`: how long the next board in turn waits with its ack, an ack's airtime
    and the handling of one; `airtime_percent`: the share of the channel that the
    cluster may use; `adaptive`: election timeouts grow where the leader is heard badly.

    `promise_ms`, the longest that a voter may promise to withhold votes (thesis 4.2.3, 6.4.1) and
    so the time after a reboot in which it grants none, is `election_min_ms`. A lease on such a
    promise lasts `lease_ms` on the leader's clock.

    A follower takes no more than `log_bytes_max` of data, and `waiting_max` entries that are not
    committed, whatever a leader sends: twice what a leader that keeps to `log_bytes` and `window`
    has (lent entries can double it), and many first entries of leaders that came to nothing.

    Raises ValueError, with a sentence that says what to change, if they do not fit together.
    """

    def __init__(
        self,
        election_min_ms=150,
        election_max_ms=300,
        heartbeat_ms=50,
        proposal_ms=3000,
        window=64,
        log_bytes=8192,
        snapshot_entries=64,
        keep_entries=16,
        drift_percent=2,
        planned_voters=5,
        promote_ms=60_000,
        remove_ms=600_000,
        gather_ms=10_000,
        broadcast=True,
        overhears=True,
        slot_ms=3,
        airtime_percent=30,
        adaptive=False,
    ):
        if not 0 < election_min_ms < election_max_ms <= 60000:
            raise ValueError(
                "it must be 0 < election_min_ms < election_max_ms <= 60000, not %r and %r"
                % (election_min_ms, election_max_ms)
            )
        if not 0 < heartbeat_ms <= election_min_ms // 2:
            raise ValueError(
                "heartbeat_ms must be at most half of election_min_ms: one lost frame would cost"
                " an election"
            )
        if proposal_ms <= election_max_ms:
            raise ValueError("proposal_ms must be longer than election_max_ms")
        if window < 1:
            raise ValueError("window must be at least 1 entry")
        self.election_min_ms = election_min_ms
        self.election_max_ms = election_max_ms
        # No shorter than any election timeout may be, or it would delay elections.
        self.promise_ms = election_min_ms
        if not 0 <= drift_percent <= 50:
            raise ValueError("drift_percent is 0 to 50")
        # Both ends count whole milliseconds: one is lost to that.
        self.lease_ms = (self.promise_ms - 1) * (100 - drift_percent) // 100
        self.heartbeat_ms = heartbeat_ms
        self.proposal_ms = proposal_ms
        if log_bytes < 1024:
            raise ValueError("log_bytes must be at least 1024")
        if snapshot_entries < 1 or keep_entries < 0:
            raise ValueError("snapshot_entries must be at least 1, keep_entries at least 0")
        if planned_voters < 1 or planned_voters % 2 == 0:
            raise ValueError("planned_voters is odd: an even number bears no more deaths")
        self.planned_voters = planned_voters
        self.promote_ms = promote_ms
        self.remove_ms = remove_ms
        self.gather_ms = gather_ms
        if not 1 <= slot_ms < heartbeat_ms:
            raise ValueError("slot_ms must be at least 1, and shorter than heartbeat_ms")
        if not 1 <= airtime_percent <= 100:
            raise ValueError("airtime_percent is 1 to 100: the share of the channel")
        self.airtime_percent = airtime_percent
        self.adaptive = bool(adaptive)
        self.broadcast = bool(broadcast)
        # What is sent to one is heard by one.
        self.overhears = bool(overhears) and self.broadcast
        self.slot_ms = slot_ms
        self.window = window
        self.log_bytes = log_bytes
        self.log_bytes_max = 2 * log_bytes
        self.waiting_max = 2 * window + 512
        self.snapshot_entries = snapshot_entries
        self.keep_entries = keep_entries
