"""The log: indexes from 1, terms that never fall, up-to-date as §5.4.1 says."""

from raft.log import Log
from raft.message import COMMAND


def log_of(*terms):
    log = Log()
    for term in terms:
        log.append((term, COMMAND, b""))
    return log


def test_before_the_first_entry_there_is_term_0():
    log = log_of()
    assert (log.last_index, log.last_term, log.term_at(0), log.term_at(1)) == (0, 0, 0, None)


def test_up_to_date_is_the_later_last_term_then_the_longer_log():
    log = log_of(1, 1, 2)
    assert log.is_up_to_date(3, 2) and log.is_up_to_date(4, 2) and log.is_up_to_date(1, 3)
    assert not log.is_up_to_date(2, 2)
    assert not log.is_up_to_date(99, 1), "longer, but of an older term"


def test_where_two_logs_may_still_agree():
    log = log_of(1, 1, 2, 2, 5, 5)
    assert log.last_index_not_above(6, 5) == 6
    assert log.last_index_not_above(6, 4) == 4
    assert log.last_index_not_above(9, 1) == 2
    assert log.last_index_not_above(3, 0) == 0


def test_a_truncation_moves_back_what_is_durable():
    log = log_of(1, 1, 2, 2)
    log.unstable_index = 5
    log.truncate(3)
    assert (log.last_index, log.unstable_index) == (2, 3)
    log.truncate(3)
    assert (log.last_index, log.unstable_index) == (2, 3)
