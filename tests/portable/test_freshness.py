"""Replay: a command counts once, and only from a sender that answered in this boot."""

from raft.freshness import CAPACITY, Freshness
from raft.message import FORWARD, PROOF, Message


class Nonces:
    def __init__(self):
        self.n = 0

    def __call__(self, size):
        self.n += 1
        return bytes([self.n] * size)


def message(kind, src, epoch, seq, data=b"", incarnation=1):
    made = Message()
    made.type, made.src, made.epoch, made.seq, made.data = kind, src, epoch, seq, data
    made.incarnation = incarnation
    return made


def test_a_stranger_must_answer_first():
    fresh = Freshness(Nonces())
    assert not fresh.accept(message(FORWARD, 0xE0, 1, 5))
    assert not fresh.prove(message(PROOF, 0xE0, 1, 6, b"\x09" * 8))
    assert not fresh.accept(message(FORWARD, 0xE0, 1, 7))
    assert fresh.prove(message(PROOF, 0xE0, 1, 8, fresh.nonce))
    assert fresh.accept(message(FORWARD, 0xE0, 1, 9))


def test_a_frame_counts_once_and_older_ones_never():
    fresh = Freshness(Nonces())
    fresh.prove(message(PROOF, 2, 3, 10, fresh.nonce))
    assert not fresh.accept(message(FORWARD, 2, 3, 9))
    assert fresh.accept(message(FORWARD, 2, 3, 11))
    assert not fresh.accept(message(FORWARD, 2, 3, 11))
    assert fresh.known(message(FORWARD, 2, 3, 11))
    assert not fresh.accept(message(FORWARD, 2, 2, 99))


def test_a_higher_epoch_is_fresh_by_itself():
    fresh = Freshness(Nonces())
    fresh.prove(message(PROOF, 2, 3, 10, fresh.nonce))
    assert fresh.accept(message(FORWARD, 2, 4, 1))
    assert not fresh.accept(message(FORWARD, 2, 3, 11))


def test_another_incarnation_is_another_sender():
    fresh = Freshness(Nonces())
    fresh.prove(message(PROOF, 2, 3, 10, fresh.nonce))
    assert not fresh.accept(message(FORWARD, 2, 4, 1, incarnation=2))


def test_a_replayed_proof_does_not_turn_the_clock_back():
    fresh = Freshness(Nonces())
    proof = message(PROOF, 2, 3, 10, fresh.nonce)
    assert fresh.prove(proof)
    assert fresh.accept(message(FORWARD, 2, 3, 20))
    assert not fresh.prove(proof)
    assert not fresh.accept(message(FORWARD, 2, 3, 15))


def test_who_is_forgotten_for_want_of_room_cannot_be_replayed():
    fresh = Freshness(Nonces())
    first = message(PROOF, 1, 1, 1, fresh.nonce)
    assert fresh.prove(first)
    for src in range(2, CAPACITY + 2):
        assert fresh.prove(message(PROOF, src, 1, 1, fresh.nonce))
    assert not fresh.accept(message(FORWARD, 1, 1, 2))
    assert not fresh.prove(first)
