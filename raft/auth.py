"""Authenticity of frames: HMAC-SHA256, cut to 8 bytes (RFC 2104, RFC 4868 for the cutting).

The stock firmware has no `hmac`, and its hash objects have no `copy`: the two padded key blocks are
made once, and a tag costs two hashes.
"""

from hashlib import sha256

from raft.message import const

_BLOCK = const(64)
_TAG_SIZE = const(8)


def cluster_hash(name):
    """16 bits of SHA-256 over the cluster's name (text), for the header's cheap filter."""
    digest = sha256(name.encode()).digest()
    return digest[0] | digest[1] << 8


class KeyRing:
    """The cluster's key, and during a key change the one before it (generations 0..15, modulo 16).

    `generation` names the key that seals; every key in the ring verifies.
    """

    def __init__(self, key, generation=0):
        self.generation = generation
        self._pads = {}
        self.add(generation, key)

    def add(self, generation, key):
        """Accept frames of key `generation` too. `key`: 16 to 64 bytes, else ValueError."""
        if not 16 <= len(key) <= _BLOCK:
            raise ValueError("a cluster key has 16 to 64 bytes, this one has %d" % len(key))
        inner = bytearray([0x36] * _BLOCK)
        outer = bytearray([0x5C] * _BLOCK)
        for i, byte in enumerate(key):
            inner[i] ^= byte
            outer[i] ^= byte
        self._pads[generation] = (bytes(inner), bytes(outer))

    def has(self, generation):
        return generation in self._pads

    def _tag(self, frame, end, generation):
        inner, outer = self._pads[generation]
        h = sha256(inner)
        h.update(memoryview(frame)[:end])
        outer_hash = sha256(outer)
        outer_hash.update(h.digest())
        return outer_hash.digest()

    def seal(self, buf, end):
        """Write the tag over buf[:end] to buf[end:end + 8]."""
        tag = self._tag(buf, end, self.generation)
        for i in range(_TAG_SIZE):
            buf[end + i] = tag[i]

    def verify(self, frame, end, generation):
        """True if frame[end:end + 8] is the tag over frame[:end]; as fast for a wrong one."""
        tag = self._tag(frame, end, generation)
        wrong = 0
        for i in range(_TAG_SIZE):
            wrong |= tag[i] ^ frame[end + i]
        return wrong == 0
