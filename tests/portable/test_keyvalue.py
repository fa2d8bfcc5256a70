"""Keys and values: every operation, every refusal, and the same bytes on both interpreters."""

from raft.keyvalue import (
    KEY_MAX,
    VALUE_MAX,
    KeyValue,
    add_command,
    cas_command,
    delete_command,
    set_command,
)
from raft.message import (
    BAD_COMMAND,
    COMMITTED,
    FULL,
    MISMATCH,
    NOT_A_NUMBER,
    OUTCOME_TEXTS,
    OVERFLOW,
    REJECTED,
)
from raft.wire import COMMAND_MAX
from tests.portable.table import raises

LOWEST = -0x80000000
HIGHEST = 0x7FFFFFFF
NOT_UTF8 = (
    b"\x80",  # goes on without a beginning
    b"\xbf\x80",
    b"\xc3",  # ends too early
    b"\xe2\x82",
    b"\xc3A",
    b"\xc0\x80",  # overlong
    b"\xc1\xbf",
    b"\xe0\x9f\xbf",
    b"\xf0\x8f\xbf\xbf",
    b"\xed\xa0\x80",  # half a surrogate pair
    b"\xed\xbf\xbf",
    b"\xf4\x90\x80\x80",  # beyond the last character
    b"\xf5\x80\x80\x80",
    b"\xf9\x80\x80\x80",  # no first byte of any character
    b"\xff",
)


def lcg(seed):
    """Numbers 0..255 without end, the same on both interpreters."""
    state = seed
    while True:
        state = (state * 1103515245 + 12345) & HIGHEST
        yield state >> 16 & 0xFF


def filled(*pairs):
    machine = KeyValue()
    for key, value in pairs:
        assert machine.apply(set_command(key, value)) == COMMITTED
    return machine


def test_set_and_get_ints_text_and_bytes():
    values = (0, -1, LOWEST, HIGHEST, "", "on", "für 10 €", "\U0001f4a1", b"", b"\x00\xff")
    for value in values:
        machine = filled(("lamp", "before"), ("lamp", value))
        assert machine.get("lamp") == value and type(machine.get("lamp")) is type(value)
        assert machine.result == (value if isinstance(value, int) else 0)
        assert machine.keys() == ["lamp"] and machine.get("other") is None
    assert filled(("raw", bytearray(b"ab"))).get("raw") == b"ab"
    assert filled(("b", 1), ("ab", 2), ("é", 3), ("a", 4)).keys() == ["a", "ab", "b", "é"]


def test_delete():
    machine = filled(("a", 7), ("b", 8))
    assert machine.apply(delete_command("a")) == COMMITTED and machine.result == 0
    assert machine.apply(delete_command("a")) == COMMITTED
    assert machine.keys() == ["b"] and machine.get("a") is None
    assert machine.snapshot() == filled(("b", 8)).snapshot()


def test_add_counts_from_0_and_only_numbers():
    machine = filled(("text", "7"), ("bytes", b"7"))
    assert machine.apply(add_command("n", 5)) == COMMITTED and machine.result == 5
    assert machine.apply(add_command("n", -8)) == COMMITTED and machine.result == -3
    before = machine.snapshot()
    assert machine.apply(add_command("text", 1)) == NOT_A_NUMBER and machine.result == 0
    assert machine.apply(add_command("bytes", 1)) == NOT_A_NUMBER
    assert machine.snapshot() == before and machine.get("n") == -3


def test_add_never_leaves_32_bits():
    for edge, step in ((HIGHEST, 1), (LOWEST, -1)):
        machine = filled(("n", edge - step))
        assert machine.apply(add_command("n", step)) == COMMITTED and machine.result == edge
        assert machine.apply(add_command("n", step)) == OVERFLOW and machine.result == edge
        assert machine.get("n") == edge


def test_cas_changes_only_what_it_expects():
    machine = KeyValue()
    assert machine.apply(cas_command("owner", None, 3)) == COMMITTED and machine.result == 3
    assert machine.apply(cas_command("owner", None, 4)) == MISMATCH and machine.result == 3
    assert machine.apply(cas_command("owner", 3, "nobody")) == COMMITTED and machine.result == 0
    # The same characters or number in another kind are another value.
    assert machine.apply(cas_command("owner", b"nobody", 1)) == MISMATCH and machine.result == 0
    assert machine.check(cas_command("owner", 3, 4)) == COMMITTED
    assert machine.get("owner") == "nobody"
    assert machine.apply(cas_command("owner", "nobody", None)) == COMMITTED
    assert machine.get("owner") is None and machine.snapshot() == b""


def test_what_does_not_fit_is_refused_with_a_sentence():
    for build in (set_command, add_command, lambda key, value: cas_command(key, None, value)):
        for key in ("", "k" * (KEY_MAX + 1), "é" * 17, b"key", 1, None):
            assert "key" in str(raises(ValueError, build, key, 1))
        for value in (HIGHEST + 1, LOWEST - 1):
            assert "32 bits" in str(raises(ValueError, build, "k", value))
        for value in (1.5, True, [1]):
            assert "whole number" in str(raises(ValueError, build, "k", value))
    for value in ("v" * (VALUE_MAX + 1), "é" * 65, bytes(VALUE_MAX + 1)):
        assert "128" in str(raises(ValueError, set_command, "k", value))
    assert "delete" in str(raises(ValueError, set_command, "k", None))
    for value in ("1", None):
        assert "whole number" in str(raises(ValueError, add_command, "k", value))
    raises(ValueError, delete_command, "")
    raises(ValueError, KeyValue().get, "")
    raises(ValueError, KeyValue, 0)
    raises(ValueError, KeyValue, 1, 0)
    raises(ValueError, KeyValue, 1, 0x10000)


def test_half_a_character_is_no_text():
    half = chr(0xD800)
    assert "utf-8" in str(raises(ValueError, set_command, half, 1))
    assert "utf-8" in str(raises(ValueError, set_command, "k", half))


def test_the_longest_command_fits_into_every_frame():
    key, value = "k" * KEY_MAX, "v" * VALUE_MAX
    assert len(set_command(key, value)) == 1 + 33 + 130 <= COMMAND_MAX
    assert len(cas_command(key, None, value)) <= COMMAND_MAX
    assert len(cas_command(key, 1, value)) <= COMMAND_MAX
    sentence = "at most %d" % COMMAND_MAX
    assert sentence in str(raises(ValueError, cas_command, key, value, value))
    # The longest cas of two texts: op, key "k", and two heads of 2 bytes.
    room = COMMAND_MAX - 3 - 4
    assert len(cas_command("k", "e" * (room - 60), "v" * 60)) == COMMAND_MAX
    raises(ValueError, cas_command, "k", "e" * (room - 60), "v" * 61)


def test_commands_are_small():
    assert set_command("é", 258) == b"\x01\x02\xc3\xa9\x01\x02\x01\x00\x00"
    assert set_command("k", "on") == b"\x01\x01k\x02\x02on"
    assert delete_command("k") == b"\x01\x01k\x00"
    assert add_command("k", -1) == b"\x02\x01k\x01\xff\xff\xff\xff"
    assert cas_command("k", None, b"\x07") == b"\x03\x01k\x00\x03\x01\x07"


def test_a_bad_command_changes_nothing():
    machine = filled(("k", 1))
    before = machine.snapshot()
    good = (
        set_command("k", "on"),
        set_command("k", 2),
        delete_command("k"),
        add_command("k", 1),
        cas_command("k", 1, b"\x01\x02"),
    )
    for command in good:
        assert machine.check(command) == COMMITTED
        for size in range(len(command)):
            assert machine.check(command[:size]) == machine.apply(command[:size]) == BAD_COMMAND
        assert machine.apply(command + b"\x00") == BAD_COMMAND
        assert machine.apply(b"\x04" + command[1:]) == BAD_COMMAND
    bad = [
        b"\x01\x00\x00",  # no key
        b"\x01\x21" + b"k" * 33 + b"\x00",  # a long one
        b"\x01\x01k\x04\x00",  # a kind that does not exist
        b"\x01\x01k\x03\x81" + bytes(129),
        b"\x02\x01k\x00",  # add nothing
        b"\x02\x01k\x02\x011",  # add text
    ]
    for wrong in NOT_UTF8:
        bad.append(b"\x01" + bytes([len(wrong)]) + wrong + b"\x00")
        bad.append(b"\x01\x01k\x02" + bytes([len(wrong)]) + wrong)
    for command in bad:
        assert machine.check(command) == machine.apply(command) == BAD_COMMAND, command
    assert machine.result == 0 and machine.snapshot() == before


def test_the_edges_of_utf8_are_text():
    edges = (0x00, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF)
    for point in edges:
        assert filled(("k", chr(point))).get("k") == chr(point)


def test_the_number_of_keys_is_bounded():
    machine = KeyValue()
    for i in range(64):
        assert machine.apply(add_command("key%d" % i, i)) == COMMITTED
    before = machine.snapshot()
    for command in (set_command("x", 1), add_command("x", 1), cas_command("x", None, 1)):
        assert machine.check(command) == COMMITTED
        assert machine.apply(command) == FULL and machine.result == 0
    assert machine.snapshot() == before
    assert machine.apply(set_command("key0", "other")) == COMMITTED
    assert machine.apply(delete_command("key0")) == COMMITTED
    assert machine.apply(set_command("x", 1)) == COMMITTED


def test_the_bytes_of_the_state_are_bounded():
    machine = KeyValue(64, 20)
    assert machine.apply(set_command("a", bytes(8))) == COMMITTED  # 2 + 10
    assert machine.apply(set_command("b", bytes(5))) == FULL  # 2 + 7
    assert machine.apply(set_command("b", bytes(4))) == COMMITTED
    assert len(machine.snapshot()) == 20
    assert machine.apply(set_command("a", bytes(9))) == FULL
    assert machine.apply(set_command("a", 1)) == COMMITTED  # 2 + 5
    assert machine.apply(set_command("b", bytes(9))) == COMMITTED
    assert machine.apply(cas_command("a", 1, bytes(4))) == FULL and machine.result == 1
    assert machine.apply(delete_command("b")) == COMMITTED
    assert machine.apply(cas_command("a", 1, bytes(16))) == COMMITTED
    assert len(machine.snapshot()) == 20


def test_every_refusal_has_a_text():
    for code in (BAD_COMMAND, OVERFLOW, MISMATCH, NOT_A_NUMBER, FULL):
        assert code >= REJECTED and OUTCOME_TEXTS[code].startswith("rejected: ")


def test_snapshot_and_digest_do_not_know_the_order():
    pairs = [("key%d" % (i * 7 % 50), i) for i in range(50)] + [("text", "on"), ("raw", b"\x00")]
    one = filled(*pairs)
    two = filled(("gone", 1), *[(key, value) for key, value in reversed(pairs)])
    assert one.digest() != two.digest()
    two.apply(delete_command("gone"))
    assert one.snapshot() == two.snapshot()
    assert one.digest() == two.digest() and 0 <= one.digest() < 1 << 30
    assert KeyValue().digest() == 0
    # Numbers, so that both interpreters have to find the same.
    machine = filled(("é", "on"), ("a", 1))
    assert machine.snapshot() == b"\x01a\x01\x01\x00\x00\x00\x02\xc3\xa9\x02\x02on"
    assert machine.digest() == 432844739


def test_a_snapshot_is_the_whole_state():
    one = filled(("n", LOWEST), ("text", "für"), ("raw", b"\xff\x00"), ("empty", ""))
    two = filled(("other", 1))
    two.restore(one.snapshot())
    assert two.keys() == one.keys() == ["empty", "n", "raw", "text"]
    assert [two.get(key) for key in two.keys()] == ["", LOWEST, b"\xff\x00", "für"]
    assert two.digest() == one.digest()
    assert two.apply(set_command("n", 1)) == COMMITTED and one.get("n") == LOWEST
    two.restore(b"")
    assert two.keys() == [] and two.digest() == KeyValue().digest()
    # The bound counts from what was restored.
    small = KeyValue(64, len(one.snapshot()))
    small.restore(one.snapshot())
    assert small.apply(set_command("x", 1)) == FULL


def test_a_bad_snapshot_changes_nothing():
    machine = filled(("k", 1))
    before = machine.snapshot()
    good = filled(("a", 1), ("b", "on"), ("c", b"\x00")).snapshot()
    whole = (0, 7, 13)  # bytes after which a key and its value end
    for size in range(len(good)):
        if size not in whole:
            raises(ValueError, machine.restore, good[:size])
    bad = [
        b"\x01a\x00",  # a key without a value
        b"\x01b\x02\x00\x01a\x02\x00",  # not sorted
        b"\x01a\x02\x00\x01a\x02\x00",  # twice
        b"\x00\x02\x00",  # no key
        b"\x21" + b"k" * 33 + b"\x02\x00",
        b"\x01a\x04\x00",
        b"\x01a\x03\x81" + bytes(129),
        good + b"\x00",
    ]
    for wrong in NOT_UTF8:
        bad.append(bytes([len(wrong)]) + wrong + b"\x02\x00")
        bad.append(b"\x01a\x02" + bytes([len(wrong)]) + wrong)
    for image in bad:
        raises(ValueError, machine.restore, image)
    assert machine.snapshot() == before and machine.get("k") == 1
    for small in (KeyValue(2, 4096), KeyValue(64, len(good) - 1)):
        assert "room" in str(raises(ValueError, small.restore, good))
        assert small.keys() == []


def test_random_bytes_never_raise():
    numbers = lcg(1)
    one, two = KeyValue(8, 100), KeyValue(8, 100)
    alphabet = b"\x00\x01\x01\x01\x02\x02\x03\x04\x21ab\xc3\xa9\xff"
    codes = set()
    for _ in range(6000):
        # Few bytes, so that many commands are almost or entirely valid.
        size = next(numbers) % 14
        command = bytes([alphabet[next(numbers) % len(alphabet)] for _ in range(size)])
        checked, before = one.check(command), one.snapshot()
        code = one.apply(command)
        assert code == two.apply(command) and one.result == two.result
        assert code == COMMITTED or code >= REJECTED and one.snapshot() == before
        assert checked in (COMMITTED, code)
        codes.add(code)
        try:
            KeyValue().restore(command)
        except ValueError:
            pass
    assert COMMITTED in codes and BAD_COMMAND in codes and one.digest() == two.digest()


def test_random_operations_keep_the_bounds():
    numbers = lcg(7)
    one, copy = KeyValue(6, 90), KeyValue(6, 90)
    model = {}
    codes = set()
    for _ in range(3000):
        key = "k" * (1 + next(numbers) % 9)
        value = (next(numbers) - 128, "t" * (next(numbers) % 30), b"b" * (next(numbers) % 30))
        value = value[next(numbers) % 3]
        op = next(numbers) % 4
        if op == 0:
            command, after = set_command(key, value), value
        elif op == 1:
            command, after = delete_command(key), None
        elif op == 2:
            value = next(numbers)
            command, after = add_command(key, value), value
            if isinstance(model.get(key), int):
                after += model[key]
        else:
            expected = model.get(key) if next(numbers) % 2 else 1
            command, after = cas_command(key, expected, value), value
        code = one.apply(command)
        codes.add(code)
        if code == COMMITTED:
            model[key] = after
        model = {k: model[k] for k in model if model[k] is not None}
        assert one.keys() == sorted(model) and len(model) <= 6
        assert one.get(key) == model.get(key)
        image = one.snapshot()
        assert len(image) <= 90
        copy.restore(image)
        assert copy.digest() == one.digest()
    assert codes == {COMMITTED, FULL, MISMATCH, NOT_A_NUMBER}
