"""The codec: what goes in comes out, and nothing that comes in gets out as an exception."""

from raft import entries, wire
from raft.auth import KeyRing, cluster_hash
from raft.message import (
    ACK,
    APPEND,
    COMMAND,
    COUNTER_LIMIT,
    EVERYONE,
    FORWARD,
    SESSION_COMMAND,
    TYPE_NAMES,
    VOTE,
    Message,
)
from raft.sessions import head
from tests.portable.table import KEY, raises


def codec(src=1, key=KEY, generation=0, cluster=7):
    return wire.Codec(cluster, KeyRing(key, generation), src, 3, 9)


def filled(kind):
    """A message of `kind` with a different number in every field."""
    message = Message()
    message.type = kind
    message.dst = 4
    message.term = 0x3FFFFFFF
    for i, (name, code, _) in enumerate(wire.FIELDS[kind]):
        setattr(message, name, {"B": 200, "b": -100, "H": 60000, "I": 0x3FFFFF00}[code] + i)
    message.data = b"some bytes"
    message.entries.append((5, COMMAND, b"one"))
    message.entries.append((5, COMMAND, b""))
    message.entries.append((6, 0, b"two"))
    return message


def encoded(message, station=None):
    buf = bytearray(wire.FRAME_MAX)
    return bytes(buf[: (station or codec()).encode(message, buf)])


def test_every_type_survives_the_air():
    for kind in TYPE_NAMES:
        sent = filled(kind)
        frame = encoded(sent)
        heard = Message()
        assert codec(2).decode(frame, len(frame), heard) is None
        names = ["type", "src", "dst", "incarnation", "epoch", "seq", "term"]
        for name in names + [field[0] for field in wire.FIELDS[kind]]:
            assert getattr(heard, name) == getattr(sent, name), (kind, name)
        if wire.TAILS[kind] == wire.ENTRIES:
            assert heard.entries == sent.entries
        if wire.TAILS[kind] == wire.BYTES:
            assert heard.data == sent.data


def test_every_value_out_of_range_is_refused_before_packing():
    limits = {"B": 255, "b": 127, "H": 65535, "I": (1 << 30) - 1}
    for kind in TYPE_NAMES:
        for name, code, _ in wire.FIELDS[kind]:
            for wrong in (limits[code] + 1, -129, -(1 << 40)):
                message = filled(kind)
                setattr(message, name, wrong)
                station = codec()
                raises(wire.WireError, encoded, message, station)
                assert station.seq == 0
            message = filled(kind)
            setattr(message, name, limits[code])
            encoded(message)


def test_every_truncation_and_every_flipped_bit_is_a_counted_drop():
    station = codec(2)
    for kind in TYPE_NAMES:
        frame = encoded(filled(kind))
        for length in range(len(frame)):
            assert station.decode(frame[:length], length, Message()) is not None
        for i in range(len(frame)):
            bad = bytearray(frame)
            bad[i] ^= 1 << (i % 8)
            before = sum(station.drops.values())
            assert station.decode(bad, len(bad), Message()) is not None, (kind, i)
            assert sum(station.drops.values()) == before + 1


def test_authentic_nonsense_is_a_counted_drop():
    """Sealed with the right key, yet no frame: lengths and numbers that lie."""
    station = codec(2)
    ring = KeyRing(KEY)
    for kind in TYPE_NAMES:
        frame = encoded(filled(kind))
        end = len(frame) - wire.TAG_SIZE
        for cut in range(wire.HEADER_SIZE, end):
            buf = bytearray(frame[:cut]) + bytearray(wire.TAG_SIZE)
            ring.seal(buf, cut)
            station.decode(buf, len(buf), Message())
        for at in range(4, end):
            buf = bytearray(frame)
            buf[at] = 0xFF
            ring.seal(buf, end)
            station.decode(buf, len(buf), Message())
    assert station.drops["body"] and station.drops["field"]


def test_each_reason_to_drop_is_told():
    frame = encoded(filled(ACK))
    heard = Message()

    def with_byte(at, value):
        bad = bytearray(frame)
        bad[at] = value
        return codec(2).decode(bad, len(bad), heard)

    assert with_byte(0, 0x70) == "version"
    assert with_byte(0, 0x15) == "key"
    assert with_byte(1, 99) == "type"
    assert with_byte(2, frame[2] ^ 1) == "cluster"
    assert with_byte(len(frame) - 1, frame[-1] ^ 1) == "tag"
    assert codec(2).decode(frame[:27], 27, heard) == "short"
    assert codec(2).decode(bytes(1470), 1470, heard) == "long"
    assert codec(2, key=b"another key here").decode(frame, len(frame), heard) == "tag"


def test_a_frame_never_exceeds_250_bytes():
    message = filled(APPEND)
    message.entries.clear()
    free = wire.FREE_IN_APPEND
    entry = (9, COMMAND, bytes(40))
    before = entries.first_of(0)
    while free >= entries.size_of(entry, before):
        free -= entries.size_of(entry, before)
        message.entries.append(entry)
        before = entry
    assert len(message.entries) > 3 and len(encoded(message)) <= wire.FRAME_MAX
    message.entries.append(entry)
    raises(wire.WireError, encoded, message)
    forward = filled(FORWARD)
    forward.data = bytes(wire.COMMAND_MAX)
    assert len(encoded(forward)) <= wire.FRAME_MAX
    forward.data = bytes(250)
    raises(wire.WireError, encoded, forward)


def test_two_key_generations_are_valid_during_a_change():
    ring = KeyRing(b"the new key, 1234", 1)
    ring.add(0, KEY)
    station = wire.Codec(7, ring, 2, 1, 1)
    heard = Message()
    old = encoded(filled(VOTE))
    assert station.decode(old, len(old), heard) is None
    new = encoded(filled(VOTE), codec(key=b"the new key, 1234", generation=1))
    assert station.decode(new, len(new), heard) is None
    assert codec(3).decode(new, len(new), heard) == "key"


def test_the_tag_is_hmac_sha256():
    """RFC 4231, test case 3; the short key of case 2 is refused."""
    ring = KeyRing(b"\xaa" * 20)
    buf = bytearray(b"\xdd" * 50) + bytearray(8)
    ring.seal(buf, 50)
    assert bytes(buf[50:]) == b"\x77\x3e\xa9\x1e\x36\x80\x0e\x46"
    raises(ValueError, KeyRing, b"Jefe")


def test_frames_are_numbered():
    station = codec()
    message = filled(VOTE)
    message.dst = EVERYONE
    for n in range(1, 4):
        encoded(message, station)
        assert (message.src, message.incarnation, message.epoch, message.seq) == (1, 3, 9, n)
    station.seq = (1 << 30) - 1
    raises(wire.WireError, encoded, message, station)


def test_clusters_have_different_hashes():
    assert cluster_hash("demo") != cluster_hash("garden") and 0 <= cluster_hash("demo") < 65536


# Entries of one session.


def command(session, sequence, size=5):
    return (9, SESSION_COMMAND, head(session, sequence, 0) + bytes(size))


def there_and_back(several):
    message = filled(APPEND)
    message.term = 9
    message.entries[:] = several
    frame = encoded(message)
    heard = Message()
    assert codec(2).decode(frame, len(frame), heard) is None
    assert heard.entries == several
    return len(frame)


def test_a_session_is_named_once_in_a_row():
    one = there_and_back([command(7, 1)])
    row = there_and_back([command(7, n) for n in (1, 2, 3)])
    assert row == one + 2 * (2 + 1 + 5)
    for odd in ([7, 1, 7, 3], [7, 2, 7, 1], [7, 1, 8, 2], [7, 1, 7, 1]):
        several = [command(odd[0], odd[1]), command(odd[2], odd[3])]
        assert there_and_back(several) == one + 2 + 9 + 5, odd
    there_and_back([command(7, 1), (9, COMMAND, b"x" * 20), command(7, 2)])
    there_and_back([command(7, 1), (8, SESSION_COMMAND, command(7, 2)[2])])


def test_who_follows_nothing_is_refused():
    message = filled(APPEND)
    message.term = 9
    message.entries[:] = [command(7, 1), command(7, 2)]
    frame = bytearray(encoded(message))
    frame[wire.HEADER_SIZE + wire.BODY_SIZES[APPEND]] |= 0x40
    KeyRing(KEY).seal(frame, len(frame) - wire.TAG_SIZE)
    assert codec(2).decode(frame, len(frame), Message()) == "body"
    message.entries[:] = [command(7, COUNTER_LIMIT - 1), command(7, COUNTER_LIMIT)]
    frame = encoded(message)
    assert codec(2).decode(frame, len(frame), Message()) == "field"
