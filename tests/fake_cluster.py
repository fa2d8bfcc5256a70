"""Boards and a collector in one thread, behind a real UDP socket, with the real codec.

They do by script what a healthy cluster does: elect on order, heartbeat, acknowledge, commit a
change that a proven PC forwards to any board, answer polls. No Raft runs here; tests of the PC's
end need frames that they can choose.

    with FakeCluster() as cluster:
        link = Link("127.0.0.1", cluster.port, cluster.name, cluster.key)
"""

import os
import socket
import threading
import time

from collector import envelope
from raft.auth import KeyRing, cluster_hash
from raft.freshness import Freshness
from raft.intlist import IntList
from raft.message import (
    ACCEPTED,
    ACK,
    APPEND,
    CANDIDATE,
    CHALLENGE,
    COMMITTED,
    EVERYONE,
    FOLLOWER,
    FORWARD,
    GRANTED,
    LEADER,
    NOBODY,
    NOOP,
    OPEN_SESSION,
    OUTCOME,
    POLL,
    PROOF,
    SESSION_COMMAND,
    STATUS,
    SUCCESS,
    VOTE,
    VOTE_REQUEST,
    Message,
)
from raft.sessions import HEAD_SIZE
from raft.wire import FRAME_MAX, FREE_IN_STATUS, Codec

HEARTBEAT_MS = 50
KEY = b"a key of the tests, 32 bytes....."[:32]


class FakeBoard:
    def __init__(self, node, codec, size):
        self.node = node
        self.codec = codec
        self.machine = IntList(size)
        self.fresh = Freshness(os.urandom)
        self.alive = True
        self.role = FOLLOWER
        self.vote = NOBODY
        self.applied_index = 0
        self.outcomes = {}  # (pc, request): OUTCOME fields


class FakeCluster:
    """`nodes` boards with databases of `size` integers; `node` 1 leads from the start."""

    def __init__(self, nodes=5, size=5, name="test", key=KEY, leader=1):
        self.name = name
        self.key = key
        self.term = 0
        self.leader = None
        self.log = []  # (term, kind, data)
        self.commit_index = 0
        self.sent_index = 0
        self.mute = False  # True: the collector answers nobody
        self.answer_forwards = True
        self.boards = {}
        for node in range(1, nodes + 1):
            codec = Codec(cluster_hash(name), KeyRing(key), node, 1, 1)
            self.boards[node] = FakeBoard(node, codec, size)
        self.counts = {n: 0 for n in envelope.COUNTERS}
        self._first_leader = leader
        self._buf = bytearray(FRAME_MAX)
        self._batch = envelope.Batch()
        self._subscriber = None
        self._answers = []  # (due ms, board, pc, request, index)
        self._orders = []
        self._heartbeat_ms = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.005)
        self.port = self._socket.getsockname()[1]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        if self._first_leader is not None:
            self.elect(self._first_leader)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(5)
        self._socket.close()

    # Orders of a test; carried out by the cluster's own thread.

    def elect(self, node):
        self._orders.append(lambda: self._elect(node))

    def stand(self, node):
        """Board `node` asks for votes and gets none."""
        self._orders.append(lambda: self._stand(node))

    def kill(self, node):
        self._orders.append(lambda: self._kill(node))

    def revive(self, node):
        self._orders.append(lambda: self._revive(node))

    def inject(self, datagram):
        """Send a datagram of the test's own to the PC."""
        self._orders.append(lambda: self._to_pc(datagram))

    @property
    def subscribed(self):
        return self._subscriber is not None

    def wait(self, seconds):
        self._stop.wait(seconds)

    # The thread.

    def _run(self):
        while not self._stop.is_set():
            try:
                data, address = self._socket.recvfrom(2048)
                self._from_pc(data, address)
            except (TimeoutError, ConnectionError):
                pass
            while self._orders:
                self._orders.pop(0)()
            now_ms = time.monotonic_ns() // 1_000_000
            for answer in [a for a in self._answers if now_ms >= a[0]]:
                self._answers.remove(answer)
                self._commit(*answer[1:])
            if now_ms - self._heartbeat_ms >= HEARTBEAT_MS:
                self._heartbeat_ms = now_ms
                self._heartbeat()
            self._flush()

    def _to_pc(self, data):
        if self._subscriber is not None and not self.mute:
            self._socket.sendto(data, self._subscriber)

    def _flush(self):
        if len(self._batch):
            self._to_pc(bytes(self._batch.take()))

    def _from_pc(self, data, address):
        kind = envelope.kind_of(data)
        if kind == envelope.SUBSCRIBE:
            self._subscriber = address
            ticks_ms = time.monotonic_ns() // 1_000_000 & 0x3FFFFFFF
            self._to_pc(envelope.welcome(ticks_ms, 6, self.counts))
        elif kind == envelope.SEND and not self.mute:
            frame = data[envelope.HEAD_SIZE :]
            message = Message()
            for board in self.boards.values():
                dst = frame[5]
                if board.alive and dst == board.node:
                    if board.codec.decode(frame, len(frame), message) is None:
                        self._receive(board, message)

    def _send(self, board, frame_type, dst, **fields):
        message = Message()
        message.type = frame_type
        message.dst = dst
        message.term = self.term
        for name, value in fields.items():
            setattr(message, name, value)
        length = board.codec.encode(message, self._buf)
        self.counts["heard"] += 1
        ticks_ms = time.monotonic_ns() // 1_000_000 & 0x3FFFFFFF
        mac = bytes([2, 0, 0, 0, 0, board.node])
        if not self._batch.add(ticks_ms, -40 - 3 * board.node, mac, self._buf, length):
            self._flush()
            self._batch.add(ticks_ms, -40 - 3 * board.node, mac, self._buf, length)
        return message

    def _elect(self, node):
        self._stand(node)
        for board in self._alive():
            if board.node != node:
                board.vote = node
                self._send(board, VOTE, node, flags=GRANTED)
        self.leader = node
        self.boards[node].role = LEADER
        self.log.append((self.term, NOOP, b""))
        self._heartbeat()
        self._advance(len(self.log))

    def _stand(self, node):
        self.term += 1
        self.leader = None
        for board in self.boards.values():
            board.role = FOLLOWER
            board.vote = NOBODY
        self.boards[node].role = CANDIDATE
        self.boards[node].vote = node
        last_term = self.log[-1][0] if self.log else 0
        fields = {"last_index": len(self.log), "last_term": last_term, "flags": 0}
        self._send(self.boards[node], VOTE_REQUEST, EVERYONE, **fields)

    def _kill(self, node):
        self.boards[node].alive = False
        if self.leader == node:
            self.leader = None

    def _revive(self, node):
        board = self.boards[node]
        board.alive = True
        board.role = FOLLOWER
        board.fresh = Freshness(os.urandom)
        board.codec.epoch += 1
        board.codec.seq = 0

    def _alive(self):
        return [b for b in self.boards.values() if b.alive]

    def _heartbeat(self):
        if self.leader is None:
            return
        leader = self.boards[self.leader]
        prev = self.sent_index
        append = self._send(
            leader,
            APPEND,
            EVERYONE,
            prev_index=prev,
            prev_term=self.log[prev - 1][0] if prev else 0,
            commit_index=self.commit_index,
            durable_index=prev,
            promise_ms=0,
            entries=self.log[prev:],
        )
        self.sent_index = len(self.log)
        for board in self._alive():
            if board is not leader:
                self._send(
                    board,
                    ACK,
                    leader.node,
                    heard_epoch=append.epoch,
                    heard_seq=append.seq,
                    flags=SUCCESS,
                    index=len(self.log),
                    applied_index=board.applied_index,
                    digest=board.machine.digest(),
                    heap=1500,
                    rssi=-50,
                )

    def _advance(self, index):
        self.commit_index = index
        for board in self._alive():
            while board.applied_index < index:
                _, kind, data = self.log[board.applied_index]
                if kind == SESSION_COMMAND:
                    board.machine.apply(data[HEAD_SIZE:])
                board.applied_index += 1

    def _receive(self, board, message):
        pc = message.src
        if message.type == PROOF:
            board.fresh.prove(message)
        elif message.type == POLL:
            self._status(board, message)
        elif message.type == FORWARD:
            if not board.fresh.accept(message):
                if not board.fresh.known(message):
                    self._send(board, CHALLENGE, pc, data=board.fresh.nonce)
            elif self.answer_forwards or message.kind == OPEN_SESSION:
                self._forward(board, message)

    def _forward(self, board, message):
        pc, request = message.src, message.request
        asked = (pc, message.incarnation, request)
        if asked not in board.outcomes:
            kind, data = message.kind, message.data
            code = COMMITTED
            if kind == SESSION_COMMAND:
                code = board.machine.check(data[HEAD_SIZE:])
            board.outcomes[asked] = (code, 0)
            if code == COMMITTED and self.leader is not None:
                if board.node != self.leader:
                    self._send(board, FORWARD, self.leader, request=1, kind=kind, data=data)
                self.log.append((self.term, kind, data))
                board.outcomes[asked] = (ACCEPTED, len(self.log))
                self._heartbeat()
                due_ms = time.monotonic_ns() // 1_000_000 + 30
                self._answers.append((due_ms, board, asked, message.epoch, len(self.log)))
        self._outcome(board, asked, message.epoch)

    def _commit(self, board, asked, epoch, index):
        self._advance(max(index, self.commit_index))
        self._heartbeat()
        board.outcomes[asked] = (COMMITTED, index)
        self._outcome(board, asked, epoch)

    def _outcome(self, board, asked, epoch):
        code, index = board.outcomes[asked]
        self._send(
            board,
            OUTCOME,
            asked[0],
            dst_incarnation=asked[1],
            heard_epoch=epoch,
            request=asked[2],
            code=code,
            index=index,
            entry_term=self.log[index - 1][0] if index else 0,
            leader=self.leader or NOBODY,
        )

    def _status(self, board, message):
        image = board.machine.snapshot()
        offset = min(message.offset, len(image))
        self._send(
            board,
            STATUS,
            message.src,
            request=message.request,
            role=board.role,
            leader=self.leader or NOBODY,
            vote=board.vote,
            last_index=len(self.log),
            last_term=self.log[-1][0] if self.log else 0,
            durable_index=len(self.log),
            commit_index=self.commit_index,
            applied_index=board.applied_index,
            digest=board.machine.digest(),
            uptime_s=12,
            heap=1500,
            total=len(image),
            offset=offset,
            data=image[offset : offset + FREE_IN_STATUS],
        )
